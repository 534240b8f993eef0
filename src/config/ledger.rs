//! `[ledger]`: what the journal of attempts survives, where it lies, and how long it is kept.

use super::leaf::{Reading, duration, one_of, path};
use super::problem::Findings;
use super::raw;
use super::read::Typed;
use crate::limits::books::{KEEP_CEILING, KEEP_DEFAULT, KEEP_FLOOR};
use std::path::PathBuf;
use std::time::Duration;

/// `[ledger] durability`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Intents survive SIGKILL.
    #[default]
    Process,
    /// Intents also survive power loss: synced before the first byte to the client (rule L2).
    Power,
    /// No journal: what was not yet in the store is lost with the process. For measurements.
    None,
}

/// `[ledger]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// What records survive.
    pub durability: Durability,
    /// How long the record of each single attempt is kept; `None`: for ever. Sums are never let go.
    pub keep: Option<Duration>,
    /// Where it lies; `None` means `ledger` in the data directory.
    pub directory: Option<PathBuf>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { durability: Durability::default(), keep: Some(KEEP_DEFAULT), directory: None }
    }
}

impl Durability {
    /// The word of the configuration.
    pub fn name(self) -> &'static str {
        DURABILITY.iter().find(|(_, known)| *known == self).map_or("none", |(word, _)| word)
    }
}

const DURABILITY: &[(&str, Durability)] =
    &[("process", Durability::Process), ("power", Durability::Power), ("none", Durability::None)];

/// `[ledger]` as meant.
pub(super) fn ledger(raw: Option<raw::Ledger>, findings: &mut Findings) -> Ledger {
    let usual = Ledger::default();
    let Some(raw) = raw else { return usual };
    Ledger {
        durability: findings.value("durability", raw.durability, one_of(DURABILITY)).unwrap_or_default(),
        keep: findings.value("keep", raw.keep, keep).unwrap_or(usual.keep),
        directory: findings.value("directory", raw.directory, path),
    }
}

/// `"90d"`, or `"forever"`.
fn keep(typed: &Typed) -> Reading<Option<Duration>> {
    if matches!(typed, Typed::Text(text) if text == "forever") {
        return Ok(None);
    }
    duration(KEEP_FLOOR, KEEP_CEILING)(typed).map(Some)
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Durability, Known};
    use std::time::Duration;

    fn read(lines: &str) -> Result<Config, String> {
        let known = Known { providers: &[], dialects: &[] };
        Config::parse("igris.toml", &format!("[ledger]\n{lines}\n"), &known).map_err(|problems| problems.to_string())
    }

    #[test]
    fn the_journal_is_kept_for_a_time_with_a_unit() {
        let kept = |lines: &str| read(lines).expect(lines).ledger.keep.map(|keep| keep.as_secs() / 3_600);
        assert_eq!(kept(""), Some(90 * 24));
        assert_eq!((kept("keep = \"400d\""), kept("keep = \"1h\"")), (Some(400 * 24), Some(1)));
        assert_eq!(kept("keep = \"forever\""), None);
        let config = read("durability = \"power\"\ndirectory = \"/var/lib/igris/ledger\"").expect("read");
        assert_eq!(config.ledger.durability, Durability::Power);
        assert_eq!(config.ledger.directory.as_deref(), Some(std::path::Path::new("/var/lib/igris/ledger")));
        assert_eq!(config.ledger.keep, Some(Duration::from_secs(90 * 86_400)));
        for (lines, part) in [
            ("keep = 90", "unit"),
            ("keep = \"59m\"", "below the least"),
            ("keep = \"always\"", "keep"),
            ("durability = \"disk\"", "durability"),
            ("retention = \"90d\"", "retention"),
        ] {
            assert!(read(lines).is_err_and(|error| error.contains(part)), "{lines}: {:?}", read(lines).err());
        }
    }

    #[test]
    fn every_durability_is_known_by_its_word() {
        for word in ["process", "power", "none"] {
            assert_eq!(read(&format!("durability = \"{word}\"")).expect("read").ledger.durability.name(), word);
        }
    }
}
