//! The columns: what each is called, of which kind it is, and how it is read out of a report.

use crate::domain::clock::UnixMillis;
use crate::domain::money::Money;
use crate::report::AttemptReport;
use std::borrow::Cow;

/// An attempt, and where it stands in the journal.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The attempt.
    pub report: &'a AttemptReport,
    /// Its lane.
    pub lane: &'a str,
    /// The number of its close in that lane.
    pub record: u64,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A count, or microseconds.
    Count,
    /// A number that only names something; all 64 bits may be used.
    Mark,
    /// True or false.
    Flag,
    /// An instant, milliseconds, UTC.
    Time,
    /// US dollars, exact to a picodollar.
    Dollars,
    /// The same in whole picodollars.
    Pico,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Nothing is known, or there is none.
    Nothing,
    /// [`Kind::Text`].
    Text(Cow<'a, str>),
    /// [`Kind::Count`], [`Kind::Mark`].
    Number(u64),
    /// [`Kind::Flag`].
    Flag(bool),
    /// [`Kind::Time`].
    Time(UnixMillis),
    /// [`Kind::Dollars`], [`Kind::Pico`].
    Money(Money),
}

/// A column.
pub struct Column {
    /// Its name in every format.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether a row may have nothing there.
    pub may_be_empty: bool,
    /// Reads it.
    pub cell: for<'a> fn(&Row<'a>) -> Cell<'a>,
}

const fn always(name: &'static str, kind: Kind, cell: for<'a> fn(&Row<'a>) -> Cell<'a>) -> Column {
    Column { name, kind, may_be_empty: false, cell }
}

const fn maybe(name: &'static str, kind: Kind, cell: for<'a> fn(&Row<'a>) -> Cell<'a>) -> Column {
    Column { name, kind, may_be_empty: true, cell }
}

fn shown<'a>(value: impl ToString) -> Cell<'a> {
    Cell::Text(Cow::Owned(value.to_string()))
}

fn text(value: &str) -> Cell<'_> {
    Cell::Text(Cow::Borrowed(value))
}

fn number<'a>(value: impl Into<u64>) -> Cell<'a> {
    Cell::Number(value.into())
}

/// Every column, in its order. New ones come at the end, so that who reads by place is not surprised.
pub const COLUMNS: &[Column] = &[
    always("attempt_id", Kind::Text, |row| shown(row.report.attempt)),
    always("exchange_id", Kind::Text, |row| shown(row.report.exchange)),
    always("started_at", Kind::Time, |row| Cell::Time(row.report.started)),
    always("tenant", Kind::Text, |row| text(row.report.tenant.as_str())),
    always("access_key_id", Kind::Text, |row| shown(row.report.access_key)),
    always("provider", Kind::Text, |row| text(row.report.provider.as_str())),
    always("model", Kind::Text, |row| text(&row.report.model)),
    always("policy", Kind::Text, |row| text(row.report.policy.as_str())),
    maybe("credential_id", Kind::Text, |row| row.report.credential.map_or(Cell::Nothing, shown)),
    always("outcome", Kind::Text, |row| text(row.report.outcome.name())),
    always("status", Kind::Count, |row| number(row.report.status)),
    always("stream", Kind::Flag, |row| Cell::Flag(row.report.stream)),
    always("last", Kind::Flag, |row| Cell::Flag(row.report.last)),
    always("input_tokens", Kind::Count, |row| number(row.report.usage.input)),
    always("output_tokens", Kind::Count, |row| number(row.report.usage.output)),
    always("cached_input_tokens", Kind::Count, |row| number(row.report.usage.cached_input)),
    always("cache_write_tokens", Kind::Count, |row| number(row.report.usage.cache_write)),
    always("cache_write_long_tokens", Kind::Count, |row| number(row.report.usage.cache_write_long)),
    always("audio_input_tokens", Kind::Count, |row| number(row.report.usage.audio_input)),
    always("audio_output_tokens", Kind::Count, |row| number(row.report.usage.audio_output)),
    always("reasoning_tokens", Kind::Count, |row| number(row.report.usage.reasoning)),
    always("usage_source", Kind::Text, |row| text(row.report.usage_source.name())),
    maybe("cost_usd", Kind::Dollars, |row| row.report.cost.map_or(Cell::Nothing, Cell::Money)),
    maybe("cost_picodollars", Kind::Pico, |row| row.report.cost.map_or(Cell::Nothing, Cell::Money)),
    always("price_version", Kind::Mark, |row| number(row.report.price_version)),
    always("connect_us", Kind::Count, |row| number(row.report.connect_us)),
    always("tls_us", Kind::Count, |row| number(row.report.tls_us)),
    always("first_byte_us", Kind::Count, |row| number(row.report.first_byte_us)),
    always("first_token_us", Kind::Count, |row| number(row.report.first_token_us)),
    always("total_us", Kind::Count, |row| number(row.report.total_us)),
    always("lane", Kind::Text, |row| text(row.lane)),
    always("record", Kind::Count, |row| number(row.record)),
];

/// An instant to the millisecond (RFC 3339 §5.6).
pub(super) fn instant(at: UnixMillis) -> String {
    let seconds = at.to_rfc3339();
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), at.0 % 1_000)
}
