//! `[fleet]`: what machines that share a database do without it, and how long it keeps what they did.

use super::leaf::{Reading, duration, one_of, truth};
use super::problem::Findings;
use super::raw;
use super::read::Typed;
use crate::limits::books::{KEEP_CEILING, KEEP_DEFAULT};
use crate::limits::fleet::{KEEP_HOURS_DEFAULT, KEEP_SHARED_FLOOR};
use std::time::Duration;

/// `[fleet]`; it means something only where `[store] url` names a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// What becomes of budgets and rates while the database cannot be reached.
    pub without_database: WithoutDatabase,
    /// How long the database keeps the record of each single attempt; `None`: for ever.
    pub keep_attempts: Option<Duration>,
    /// Whether machines tell each other how providers do.
    pub share_scores: bool,
    /// How long it keeps sums by the hour; `None`: for ever. Sums by the day are never let go.
    pub keep_hours: Option<Duration>,
}

/// `[fleet] without_database`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutDatabase {
    /// A machine goes on with what it has leased, and no further.
    #[default]
    Lease,
    /// What a machine has leased ends with the lease's term; then whoever has a budget or a rate is refused.
    Refuse,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            without_database: WithoutDatabase::default(),
            keep_attempts: Some(KEEP_DEFAULT),
            keep_hours: Some(KEEP_HOURS_DEFAULT),
            share_scores: true,
        }
    }
}

impl WithoutDatabase {
    /// The word of the configuration.
    pub fn name(self) -> &'static str {
        WORDS.iter().find(|(_, known)| *known == self).map_or("lease", |(word, _)| word)
    }
}

const WORDS: &[(&str, WithoutDatabase)] = &[("lease", WithoutDatabase::Lease), ("refuse", WithoutDatabase::Refuse)];

/// `[fleet]` as meant.
pub(super) fn fleet(raw: Option<raw::Fleet>, findings: &mut Findings) -> Fleet {
    let usual = Fleet::default();
    let Some(raw) = raw else { return usual };
    Fleet {
        without_database: findings.value("without_database", raw.without_database, one_of(WORDS)).unwrap_or_default(),
        keep_attempts: findings.value("keep_attempts", raw.keep_attempts, keep).unwrap_or(usual.keep_attempts),
        keep_hours: findings.value("keep_hours", raw.keep_hours, keep).unwrap_or(usual.keep_hours),
        share_scores: findings.value("share_scores", raw.share_scores, truth).unwrap_or(usual.share_scores),
    }
}

/// `"90d"`, or `"forever"`.
fn keep(typed: &Typed) -> Reading<Option<Duration>> {
    if matches!(typed, Typed::Text(text) if text == "forever") {
        return Ok(None);
    }
    duration(KEEP_SHARED_FLOOR, KEEP_CEILING)(typed).map(Some)
}

#[cfg(test)]
mod tests {
    use super::{Fleet, WithoutDatabase};
    use crate::config::{Config, Known};
    use std::time::Duration;

    const DAY: Duration = Duration::from_secs(86_400);

    fn read(lines: &str) -> Result<Fleet, String> {
        let known = Known { providers: &[], dialects: &[] };
        let parsed = Config::parse("igris.toml", &format!("[fleet]\n{lines}\n"), &known);
        parsed.map(|config| config.fleet).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_fleet_has_its_own_terms() {
        let usual = Fleet {
            without_database: WithoutDatabase::Lease,
            keep_attempts: Some(90 * DAY),
            keep_hours: Some(400 * DAY),
            share_scores: true,
        };
        assert_eq!(read("").expect("read"), usual);
        let said = read(
            "without_database = \"refuse\"\nkeep_attempts = \"7d\"\nkeep_hours = \"forever\"\nshare_scores = false",
        )
        .expect("read");
        assert_eq!(
            said,
            Fleet {
                without_database: WithoutDatabase::Refuse,
                keep_attempts: Some(7 * DAY),
                keep_hours: None,
                share_scores: false
            }
        );
        for word in ["lease", "refuse"] {
            assert_eq!(read(&format!("without_database = \"{word}\"")).expect("read").without_database.name(), word);
        }
        for (lines, part) in [
            ("without_database = \"open\"", "lease"),
            ("keep_attempts = \"1h\"", "below the least"),
            ("keep_hours = 90", "unit"),
        ] {
            assert!(read(lines).is_err_and(|error| error.contains(part)), "{lines}: {:?}", read(lines).err());
        }
    }
}
