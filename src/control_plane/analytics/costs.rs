//! What it cost, told apart as the asker likes, with the time before it for comparison.

use super::window::{Window, instant};
use super::{Books, ControlError, exact};
use crate::domain::money::Money;
use crate::store::{Bucket, Dimension, SumQuestion, SumRow, Sums};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostsQuestion {
    /// Which time.
    pub window: Window,
    /// What to tell apart, each once.
    pub group_by: Vec<Dimension>,
    /// Pieces of time to tell apart.
    pub bucket: Option<Bucket>,
    /// Lines to answer at most.
    pub limit: u64,
    /// Lines that were answered before.
    pub after: u64,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CostsAnswer {
    /// `list`.
    pub object: &'static str,
    /// Whose costs; null for all tenants together.
    pub tenant: Option<String>,
    /// `hour`, `day`, `week`, `month` or `custom`.
    pub period: &'static str,
    /// RFC 3339, UTC; the first instant counted.
    pub from: String,
    /// RFC 3339, UTC; up to when.
    pub to: String,
    /// As asked.
    pub group_by: Vec<&'static str>,
    /// As asked.
    pub bucket: Option<&'static str>,
    /// Everything in that time, whatever page this is.
    pub total: Sums,
    /// Everything in as many hours before it.
    pub previous: Previous,
    /// From then to now.
    pub trend: Trend,
    /// The lines: bucket by bucket, the costliest first.
    pub data: Vec<Line>,
    /// What `after` must say for the next lines; null when there are no more.
    pub next: Option<String>,
}

/// The time before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Previous {
    /// RFC 3339.
    pub from: String,
    /// RFC 3339.
    pub to: String,
    /// What it came to.
    #[serde(flatten)]
    pub total: Sums,
}

/// A change between two times of equal length.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trend {
    /// Dollars more, exactly; less with a minus.
    #[serde(serialize_with = "exact")]
    pub change: Money,
    /// The same as a float.
    pub change_usd: f64,
    /// In percent of what it was; null if that was nothing.
    pub change_percent: Option<f64>,
    /// Requests in percent of what they were; null if there were none.
    pub requests_change_percent: Option<f64>,
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// RFC 3339: where its bucket begins.
    bucket: Option<String>,
    names: Vec<(&'static str, String)>,
    sums: Sums,
}

/// Answers a question about costs.
///
/// # Errors
/// The store cannot be read, or it takes too long.
pub fn costs(books: &Books, question: &CostsQuestion) -> Result<CostsAnswer, ControlError> {
    let counted = question.window.counted(books.now);
    let hours = counted.hours.clone();
    let before = hours.start.saturating_sub(hours.end - hours.start)..hours.start;
    let (total, previous) = (books.total(hours.clone())?, books.total(before.clone())?);
    let mut rows = match (question.bucket, question.group_by.is_empty()) {
        (None, true) => Vec::new(),
        (bucket, _) => books.sums(&SumQuestion {
            hours,
            group_by: question.group_by.clone(),
            bucket,
            skip: question.after,
            most: question.limit + 1,
        })?,
    };
    let limit = usize::try_from(question.limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    Ok(CostsAnswer {
        object: "list",
        tenant: books.tenant().map(ToString::to_string),
        period: counted.period,
        from: counted.from,
        to: counted.to,
        group_by: question.group_by.iter().map(|dimension| dimension.name()).collect(),
        bucket: question.bucket.map(Bucket::name),
        trend: Trend::between(&previous, &total),
        total,
        previous: Previous { from: instant(before.start), to: instant(before.end), total: previous },
        data: rows.into_iter().map(|row| Line::of(row, question)).collect(),
        next: more.then(|| (question.after + question.limit).to_string()),
    })
}

// === impl Trend ===

impl Trend {
    fn between(before: &Sums, now: &Sums) -> Self {
        let change = Money::from_pico(now.cost.pico() - before.cost.pico());
        // Two decimals say enough of a percentage.
        let percent = |change: f64, of: f64| (of != 0.0).then(|| (change / of * 10_000.0).round() / 100.0);
        let (was, is) = (before.requests as f64, now.requests as f64);
        Self {
            change,
            change_usd: change.to_usd(),
            change_percent: percent(change.to_usd(), before.cost.to_usd()),
            requests_change_percent: percent(is - was, was),
        }
    }
}

// === impl Line ===

impl Line {
    fn of(row: SumRow, question: &CostsQuestion) -> Self {
        Self {
            bucket: question.bucket.map(|_| instant(row.hour)),
            names: question.group_by.iter().map(|dimension| dimension.name()).zip(row.names).collect(),
            sums: row.sums,
        }
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Flat<'l> {
            #[serde(skip_serializing_if = "Option::is_none")]
            bucket: &'l Option<String>,
            #[serde(flatten)]
            names: Names<'l>,
            #[serde(flatten)]
            sums: &'l Sums,
        }
        struct Names<'l>(&'l [(&'static str, String)]);
        impl Serialize for Names<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(Some(self.0.len()))?;
                for (name, value) in self.0 {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
        Flat { bucket: &self.bucket, names: Names(&self.names), sums: &self.sums }.serialize(serializer)
    }
}
