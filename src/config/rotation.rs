//! `[rotation]`: how old a provider key may become before somebody is told.

use super::leaf::{Reading, duration};
use super::problem::Findings;
use super::raw;
use super::read::{Leaf, Typed};
use crate::limits::{KEY_AGE_CEILING, KEY_AGE_MAX, KEY_REMIND_AFTER};
use std::time::Duration;

/// `[rotation]`. `None` says nothing, however old a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// From this age on a key is to be rotated, and its owner is reminded once a day.
    pub remind_after: Option<Duration>,
    /// From this age on the reminder is an alarm.
    pub max_age: Option<Duration>,
}

// === impl Rotation ===

impl Default for Rotation {
    fn default() -> Self {
        Self { remind_after: Some(KEY_REMIND_AFTER), max_age: Some(KEY_AGE_MAX) }
    }
}

/// `[rotation]` as meant.
pub(super) fn rotation(raw: Option<raw::Rotation>, findings: &mut Findings) -> Rotation {
    let usual = Rotation::default();
    let Some(raw) = raw else { return usual };
    let mut age = |key: &str, leaf: Option<Leaf>, default| findings.value(key, leaf, age).unwrap_or(default);
    let meant = Rotation {
        remind_after: age("remind_after", raw.remind_after, usual.remind_after),
        max_age: age("max_age", raw.max_age, usual.max_age),
    };
    if let (Some(remind), Some(most)) = (meant.remind_after, meant.max_age)
        && most < remind
    {
        let remedy = "write a `max_age` that is not below `remind_after`, or \"never\" for one of them";
        findings.error(raw.at, "`max_age` comes before `remind_after`", remedy);
    }
    meant
}

/// `"90d"`, or `"never"`.
fn age(typed: &Typed) -> Reading<Option<Duration>> {
    if matches!(typed, Typed::Text(text) if text == "never") {
        return Ok(None);
    }
    duration(Duration::from_secs(3_600), KEY_AGE_CEILING)(typed).map(Some)
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Known};

    fn read(lines: &str) -> Result<[Option<u64>; 2], String> {
        let known = Known { providers: &[], dialects: &[] };
        let config = Config::parse("igris.toml", &format!("[rotation]\n{lines}\n"), &known);
        let config = config.map_err(|problems| problems.to_string())?;
        Ok([config.rotation.remind_after, config.rotation.max_age].map(|age| age.map(|age| age.as_secs() / 86_400)))
    }

    #[test]
    fn ages_have_units_an_order_and_an_end() {
        assert_eq!(read(""), Ok([Some(90), Some(180)]));
        assert_eq!(read("remind_after = \"30d\""), Ok([Some(30), Some(180)]));
        assert_eq!(read("remind_after = \"never\"\nmax_age = \"1d\""), Ok([None, Some(1)]));
        assert_eq!(read("max_age = \"never\""), Ok([Some(90), None]));
        for (lines, part) in [
            ("max_age = \"89d\"", "before `remind_after`"),
            ("remind_after = 90", "unit"),
            ("remind_after = \"59m\"", "below the least"),
            ("max_age = \"sometimes\"", "max_age"),
            ("rotate_after = \"1d\"", "rotate_after"),
        ] {
            assert!(read(lines).is_err_and(|error| error.contains(part)), "{lines}: {:?}", read(lines));
        }
    }
}
