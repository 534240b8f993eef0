//! Sums over the books, for pages that people look at: read beside the writer, which does not wait for them.
//!
//! A [`RollupReader`] is a connection of its own that only reads and sees one instant. The database groups and adds; what comes back is
//! bounded by the question. A question runs no longer than its asker wants: SQLite asks `stop` every few thousand steps. Hours are read
//! from the table of hours and whole days, where a question has enough of them, from the table of days; both hold the same amounts, so the
//! answer is the same to the last picodollar.

use super::Store;
use super::error::{StoreError, damaged, from_sql, to_sql};
use super::usage::whole;
use crate::domain::id::{AccessKeyId, CredentialId, TenantId};
use crate::domain::money::Money;
use crate::limits::analytics::{DAYS_FROM, STOP_CHECK_STEPS};
use rusqlite::{Row, params};
use std::ops::Range;
use std::path::Path;

/// Reads sums over the books.
pub struct RollupReader {
    store: Store,
}

/// What sums may be told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// Who pays; for the operator.
    Tenant,
    /// Who served.
    Provider,
    /// The model as the provider names it.
    Model,
    /// The provider key. To a tenant, keys that are not its own are one: `shared`. `none` for a provider without keys.
    Key,
    /// The access key.
    AccessKey,
    /// The policy that chose; `unknown` for what was counted before policies were.
    Policy,
}

/// Pieces of time, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// Clock hours.
    Hour,
    /// Days.
    Day,
    /// ISO weeks, which begin on Monday.
    Week,
    /// Calendar months.
    Month,
}

/// Which sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SumQuestion {
    /// Hours since the Unix epoch, the end excluded.
    pub hours: Range<u64>,
    /// What to tell apart; each at most once.
    pub group_by: Vec<Dimension>,
    /// Pieces of time to tell apart.
    pub bucket: Option<Bucket>,
    /// How many lines to leave out at the beginning.
    pub skip: u64,
    /// How many lines to answer at most.
    pub most: u64,
}

/// What was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Exchanges.
    pub requests: u64,
    /// Calls made to providers, each counted once.
    pub attempts: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Those whose tokens were counted by us.
    pub estimated: u64,
    /// Those that used tokens without a known price.
    pub unpriced: u64,
    /// Tokens in, cached ones among them.
    pub input_tokens: u64,
    /// Tokens out.
    pub output_tokens: u64,
    /// Of the tokens in, those read from a cache.
    pub cached_tokens: u64,
    /// Money.
    pub cost: Money,
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SumRow {
    /// The first hour of its bucket; of a question without buckets 0. A bucket may begin before the question does.
    pub hour: u64,
    /// One name for each dimension, in the question's order.
    pub names: Vec<String>,
    /// The sums.
    pub sums: Sums,
}

/// Which hours and days a question reads: each hour of it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spans {
    /// Hours before the first whole day, or all of them.
    pub head: Range<u64>,
    /// Whole days, counted from the Unix epoch.
    pub days: Range<u64>,
    /// Hours after the last whole day.
    pub tail: Range<u64>,
}

/// For whom lines are read.
#[derive(Clone, Copy)]
enum Scope<'t> {
    Tenant(&'t TenantId),
    Operator(Option<&'t TenantId>),
}

// === impl Dimension ===

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Tenant, Self::Provider, Self::Model, Self::Key, Self::AccessKey, Self::Policy];

    /// The name in questions and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Provider => "provider",
            Self::Model => "model",
            Self::Key => "key",
            Self::AccessKey => "access_key",
            Self::Policy => "policy",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Its column in the books, of one machine and of all.
    pub const fn column(self) -> &'static str {
        match self {
            Self::Key => "credential",
            other => other.name(),
        }
    }

    /// Whether that column holds 16 bytes of an id; else it holds a text.
    pub const fn is_id(self) -> bool {
        matches!(self, Self::Key | Self::AccessKey)
    }

    /// The name in answers of an id; `None`: a key that is not to be told. `None` for bytes that are no id.
    pub fn told_id(self, bytes: Option<&[u8]>) -> Option<String> {
        let Some(bytes) = bytes else { return Some(SHARED.to_owned()) };
        let bits = u128::from_be_bytes(bytes.try_into().ok()?);
        Some(match self {
            Self::AccessKey => AccessKeyId::from_bits(bits).to_string(),
            _ if bits == 0 => NONE.to_owned(),
            _ => CredentialId::from_bits(bits).to_string(),
        })
    }

    /// The name in answers of a text.
    pub fn told_text(self, text: String) -> String {
        if self == Self::Policy && text.is_empty() { UNKNOWN.to_owned() } else { text }
    }

    fn read(self, row: &Row<'_>, place: usize) -> Result<String, StoreError> {
        if !self.is_id() {
            return Ok(self.told_text(row.get(place)?));
        }
        let fault = || damaged("the id in a usage line");
        let bytes = row.get_ref(place)?.as_blob_or_null().map_err(|_| fault())?;
        self.told_id(bytes).ok_or_else(fault)
    }
}

// === impl Bucket ===

impl Bucket {
    /// All of them, the shortest first.
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Week, Self::Month];

    /// The name in questions and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// The first hour of the bucket that `hour` is in, as SQL. The Unix epoch was a Thursday.
    const fn sql(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "hour - hour % 24",
            Self::Week => "hour - (hour + 72) % 168",
            Self::Month => "unixepoch(hour * 3600, 'unixepoch', 'start of month') / 3600",
        }
    }
}

// === impl SumQuestion ===

impl SumQuestion {
    /// What of the tables of hours and of days answers it.
    pub fn spans(&self) -> Spans {
        let Range { start, end } = self.hours;
        let days = start.div_ceil(HOURS_PER_DAY)..end / HOURS_PER_DAY;
        if self.bucket == Some(Bucket::Hour) || days.end.saturating_sub(days.start) < DAYS_FROM {
            return Spans { head: start..end, days: 0..0, tail: 0..0 };
        }
        let (first, last) = (days.start * HOURS_PER_DAY, days.end * HOURS_PER_DAY);
        Spans { head: start..first, days, tail: last..end }
    }
}

// === impl RollupReader ===

impl RollupReader {
    /// Opens the store beside its writer. Once `stop` answers true, the question under way fails and so does every later one.
    ///
    /// # Errors
    /// As [`Store::open_reading`].
    pub fn open(path: &Path, stop: impl FnMut() -> bool + Send + 'static) -> Result<Self, StoreError> {
        let store = Store::open_reading(path)?;
        store.connection.progress_handler(STOP_CHECK_STEPS, Some(stop));
        Ok(Self { store })
    }

    /// Whether a tenant exists.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn has_tenant(&self, tenant: &TenantId) -> Result<bool, StoreError> {
        self.store.has_tenant(tenant)
    }

    /// A tenant's sums, as that tenant may see them: provider keys of others are one. With buckets in their order; within them, and
    /// without, the costliest first.
    ///
    /// # Errors
    /// [`StoreError::Database`], also when it was stopped; [`StoreError::Damaged`].
    pub fn for_tenant(&self, tenant: &TenantId, question: &SumQuestion) -> Result<Vec<SumRow>, StoreError> {
        self.sums(Scope::Tenant(tenant), question)
    }

    /// Sums of one tenant or of all, with every provider key by its id: for the operator.
    ///
    /// # Errors
    /// As [`RollupReader::for_tenant`].
    pub fn for_operator(&self, tenant: Option<&TenantId>, question: &SumQuestion) -> Result<Vec<SumRow>, StoreError> {
        self.sums(Scope::Operator(tenant), question)
    }

    fn sums(&self, scope: Scope<'_>, question: &SumQuestion) -> Result<Vec<SumRow>, StoreError> {
        let Spans { head, days, tail } = question.spans();
        let tenant = match scope {
            Scope::Tenant(tenant) | Scope::Operator(Some(tenant)) => tenant.as_str(),
            Scope::Operator(None) => "",
        };
        let mut statement = self.store.connection.prepare_cached(&statement(scope, question))?;
        let mut rows = statement.query(params![
            tenant,
            to_sql(head.start),
            to_sql(head.end),
            to_sql(days.start),
            to_sql(days.end),
            to_sql(tail.start),
            to_sql(tail.end),
            to_sql(question.most),
            to_sql(question.skip),
        ])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row, &question.group_by)?);
        }
        Ok(found)
    }
}

/// The text of a question, put together from constants alone.
fn statement(scope: Scope<'_>, question: &SumQuestion) -> String {
    let whose = if matches!(scope, Scope::Operator(None)) { "" } else { "tenant = ?1 AND " };
    let mut sql = String::from("SELECT ");
    sql.push_str(question.bucket.map_or("0", Bucket::sql));
    sql.push_str(SUMS);
    for dimension in &question.group_by {
        sql.push_str(", ");
        sql.push_str(match (dimension, scope) {
            (Dimension::Key, Scope::Tenant(_)) => OWN_KEYS,
            (dimension, _) => dimension.column(),
        });
    }
    sql.push_str(" FROM (SELECT hour");
    let parts = [
        (" FROM usage_hours WHERE ", "hour >= ?2 AND hour < ?3 UNION ALL SELECT day * 24 AS hour"),
        (" FROM usage_days WHERE ", "day >= ?4 AND day < ?5 UNION ALL SELECT hour"),
        (" FROM usage_hours WHERE ", "hour >= ?6 AND hour < ?7)"),
    ];
    for (table, span) in parts {
        for dimension in &question.group_by {
            sql.push_str(", ");
            sql.push_str(dimension.column());
        }
        sql.push_str(AMOUNTS);
        sql.push_str(table);
        sql.push_str(whose);
        sql.push_str(span);
    }
    let names = &PLACES[..question.group_by.len()];
    if question.bucket.is_some() || !names.is_empty() {
        sql.push_str(" GROUP BY 1");
        names.iter().for_each(|place| sql.push_str(place));
    }
    // By the exact amount, and names settle what is left: the books of all machines have the same order.
    sql.push_str(COSTLIEST);
    names.iter().for_each(|place| sql.push_str(place));
    sql.push_str(" LIMIT ?8 OFFSET ?9");
    sql
}

fn read(row: &Row<'_>, group_by: &[Dimension]) -> Result<SumRow, StoreError> {
    let count = |place: usize| row.get::<_, i64>(place).map(from_sql);
    let name = |(place, dimension): (usize, &Dimension)| dimension.read(row, FIRST_NAME + place);
    Ok(SumRow {
        hour: count(0)?,
        names: group_by.iter().enumerate().map(name).collect::<Result<_, _>>()?,
        sums: Sums {
            requests: count(1)?,
            attempts: count(2)?,
            failed: count(3)?,
            estimated: count(4)?,
            unpriced: count(5)?,
            input_tokens: count(6)?,
            output_tokens: count(7)?,
            cached_tokens: count(8)?,
            cost: whole(row.get(9)?, row.get(10)?),
        },
    })
}

const SUMS: &str = ", coalesce(sum(requests), 0), coalesce(sum(attempts), 0), coalesce(sum(failed), 0), coalesce(sum(estimated), 0), \
    coalesce(sum(unpriced), 0), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(cached_tokens), 0), \
    coalesce(sum(cost_micro), 0), coalesce(sum(cost_pico), 0)";
const COSTLIEST: &str = " ORDER BY 1, sum(cost_micro) + sum(cost_pico) / 1000000 DESC, sum(cost_pico) % 1000000 DESC";
const AMOUNTS: &str = ", requests, attempts, failed, estimated, unpriced, input_tokens, output_tokens, cached_tokens, cost_micro, cost_pico";
/// A tenant without keys of its own is served with the operator's, whose ids are not its business (rule T3).
const OWN_KEYS: &str = "CASE WHEN credential = zeroblob(16) OR credential IN (SELECT id FROM credentials WHERE tenant = ?1) \
    THEN credential END";
/// Where names stand in a line: after the bucket and the ten sums.
const FIRST_NAME: usize = 11;
const PLACES: [&str; 6] = [", 12", ", 13", ", 14", ", 15", ", 16", ", 17"];
const HOURS_PER_DAY: u64 = 24;
const SHARED: &str = "shared";
const NONE: &str = "none";
const UNKNOWN: &str = "unknown";

#[cfg(test)]
#[path = "analytics_tests.rs"]
mod tests;
