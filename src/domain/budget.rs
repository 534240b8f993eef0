//! Money that may be spent in a period: when periods begin and end, and what happens at the end of the money.
//!
//! Calendar periods are those of UTC; weeks are ISO weeks, which begin on Monday.

use super::clock::{UnixMillis, civil_from_days};
use super::money::Money;
use std::fmt;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// How often a budget begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Period {
    /// Each clock hour.
    Hour,
    /// Each day, UTC.
    Day,
    /// Each ISO week, UTC.
    Week,
    /// Each calendar month, UTC.
    Month,
    /// Never: all that is ever spent.
    Total,
}

/// What happens when a budget is spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cap {
    /// Requests are refused.
    #[default]
    Hard,
    /// Requests are served, and it is said.
    Soft,
}

/// Money that may be spent in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Dollars, exactly.
    pub amount: Money,
    /// How often it begins anew.
    pub period: Period,
    /// What happens when it is spent.
    pub cap: Cap,
}

// === impl Period ===

impl Period {
    /// All of them, the shortest first.
    pub const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Total];

    /// The name in configuration and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Total => "total",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.name() == name)
    }

    /// When the period that `at` falls in began.
    pub fn start(self, at: UnixMillis) -> UnixMillis {
        let days = at.0 / DAY_MS;
        UnixMillis(match self {
            Self::Hour => at.0 / HOUR_MS * HOUR_MS,
            Self::Day => days * DAY_MS,
            // The epoch was a Thursday: its week began three days before.
            Self::Week => days.saturating_sub((days + 3) % 7) * DAY_MS,
            Self::Month => (days + 1 - civil_from_days(days).2) * DAY_MS,
            Self::Total => 0,
        })
    }

    /// When the period that `at` falls in is over, the first instant of the next one; `None`: never.
    pub fn end(self, at: UnixMillis) -> Option<UnixMillis> {
        let start = self.start(at).0;
        let end = match self {
            Self::Hour => start.checked_add(HOUR_MS)?,
            Self::Day => start.checked_add(DAY_MS)?,
            // The first week of all lacks its first three days.
            Self::Week => start.checked_add((7 - (start / DAY_MS + 3) % 7) * DAY_MS)?,
            // No month has more than 31 days, and every month begins within 31 days of the last one's beginning.
            Self::Month => Self::Month.start(UnixMillis(start.checked_add(31 * DAY_MS)?)).0,
            Self::Total => return None,
        };
        Some(UnixMillis(end))
    }
}

// === impl Cap ===

impl Cap {
    /// The name in configuration and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Hard, Self::Soft].into_iter().find(|cap| cap.name() == name)
    }
}

// === impl Budget ===

/// As configuration writes it: `$50/month`, `$5/day soft`.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}/{}", self.amount, self.period.name())?;
        match self.cap {
            Cap::Hard => Ok(()),
            Cap::Soft => f.write_str(" soft"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-26T10:31:50Z, a Thursday.
    const NOW: UnixMillis = UnixMillis(1_795_689_110_000);

    #[test]
    fn periods_begin_and_end_with_the_calendar() {
        let bounds = |period: Period| {
            let end = period.end(NOW).map(UnixMillis::to_rfc3339);
            (period.start(NOW).to_rfc3339(), end.unwrap_or_default())
        };
        let expected = [
            (Period::Hour, "2026-11-26T10:00:00Z", "2026-11-26T11:00:00Z"),
            (Period::Day, "2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z"),
            (Period::Week, "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
            (Period::Month, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
            (Period::Total, "1970-01-01T00:00:00Z", ""),
        ];
        for (period, start, end) in expected {
            assert_eq!(bounds(period), (start.to_owned(), end.to_owned()), "{period:?}");
        }
    }

    #[test]
    fn every_period_ends_where_the_next_begins() {
        for period in [Period::Hour, Period::Day, Period::Week, Period::Month] {
            let mut at = UnixMillis(0);
            // Across a leap day of a year that is divisible by 400.
            for _ in 0..420 {
                let (start, end) = (period.start(at), period.end(at).expect("it ends"));
                assert!(start <= at && at < end, "{period:?} {at:?}");
                assert_eq!(period.start(UnixMillis(end.0 - 1)), start, "{period:?} {at:?}");
                assert_eq!(period.start(end), end, "{period:?} {at:?}");
                at = end;
            }
        }
    }

    #[test]
    fn a_budget_prints_as_it_is_written() {
        let amount = Money::parse_usd("5.50").expect("an amount");
        let budget = Budget { amount, period: Period::Day, cap: Cap::Soft };
        assert_eq!(budget.to_string(), "$5.5/day soft");
        assert_eq!(Budget { cap: Cap::Hard, period: Period::Total, ..budget }.to_string(), "$5.5/total");
    }
}
