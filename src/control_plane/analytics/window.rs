//! Which time a question is about.
//!
//! Books are kept by the clock hour, UTC, so whatever is asked for is widened to whole hours; answers say from when to when they counted. A
//! period is the hour under way and as many whole hours before it as the period has, so that it is never shorter than its name.

use crate::domain::clock::UnixMillis;
use crate::store::UsageRow;
use std::ops::Range;

/// How far back to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsagePeriod {
    /// One hour.
    Hour,
    /// 24 hours.
    Day,
    /// 7 days.
    Week,
    /// 30 days.
    Month,
}

/// Some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// So far back from now.
    Last(UsagePeriod),
    /// From one instant to another, which is later.
    Between(UnixMillis, UnixMillis),
}

/// A window in hours, and how answers tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    /// Hours since the Unix epoch, the end excluded.
    pub(super) hours: Range<u64>,
    /// `hour`, `day`, `week`, `month` or `custom`.
    pub(super) period: &'static str,
    /// RFC 3339: the first instant counted.
    pub(super) from: String,
    /// RFC 3339: up to when; now for a period.
    pub(super) to: String,
}

// === impl UsagePeriod ===

impl UsagePeriod {
    /// Reads `hour`, `day`, `week` or `month`.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Hour, Self::Day, Self::Week, Self::Month].into_iter().find(|period| period.name() == name)
    }

    /// The name in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    const fn hours(self) -> u64 {
        match self {
            Self::Hour => 1,
            Self::Day => 24,
            Self::Week => 7 * 24,
            Self::Month => 30 * 24,
        }
    }
}

// === impl Window ===

impl Window {
    /// As whole hours.
    pub(super) fn counted(self, now: UnixMillis) -> Counted {
        match self {
            Self::Last(period) => {
                let hour = UsageRow::hour_of(now);
                let hours = hour.saturating_sub(period.hours())..hour.saturating_add(1);
                Counted { period: period.name(), from: instant(hours.start), to: now.to_rfc3339(), hours }
            }
            Self::Between(from, to) => {
                let hours = UsageRow::hour_of(from)..to.0.div_ceil(super::HOUR_MS);
                Counted { period: "custom", from: instant(hours.start), to: instant(hours.end), hours }
            }
        }
    }
}

/// The beginning of an hour, RFC 3339.
pub(super) fn instant(hour: u64) -> String {
    UnixMillis(hour.saturating_mul(super::HOUR_MS)).to_rfc3339()
}
