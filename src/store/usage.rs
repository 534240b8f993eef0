//! The usage rollup: what was used, by hour and tenant, provider, model, credential and access key.
//!
//! Sums are exact: money is two whole numbers that the database adds (`schema/books.rs`). A batch is added in one transaction with
//! the number that names it, so that adding it again (after a crash, rule L6) adds nothing. The same amounts go to the table of days.

use super::error::{StoreError, damaged, from_sql, to_sql};
use super::{Admin, Store, allowances};
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, CredentialId, ProviderId, TenantId};
use crate::domain::money::Money;
use crate::domain::token::{Usage, UsageSource};
use crate::limits::books::ATTEMPT_TOKENS_MAX;
use crate::report::brief::Brief;
use crate::report::{AttemptReport, Outcome};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;
use std::ops::Range;

/// One line of the rollup, or an amount to add to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// Who pays.
    pub tenant: TenantId,
    /// Hours since the Unix epoch: [`UsageRow::hour_of`].
    pub hour: u64,
    /// Who served.
    pub provider: ProviderId,
    /// The model as the provider names it.
    pub model: String,
    /// The policy that chose; empty for what was counted before policies were.
    pub policy: String,
    /// With which credential; all zero for a provider without keys.
    pub credential: CredentialId,
    /// For which access key.
    pub access_key: AccessKeyId,
    /// Exchanges, each counted once however many attempts it took.
    pub requests: u64,
    /// Calls made to the provider.
    pub attempts: u64,
    /// Those of them that failed: no answer, or an error of the provider.
    pub failed: u64,
    /// Those whose tokens were counted by us, because the provider's figure never came.
    pub estimated: u64,
    /// Those that used tokens without a known price.
    pub unpriced: u64,
    /// Tokens in, cached ones among them.
    pub input_tokens: u64,
    /// Tokens out.
    pub output_tokens: u64,
    /// Of the tokens in, those read from the provider's cache.
    pub cached_tokens: u64,
    /// What it cost.
    pub cost: Money,
}

/// Amounts from one source, in that source's order.
#[derive(Clone, Copy, Debug)]
pub struct UsageBatch<'a> {
    /// Where they come from, such as a journal's name.
    pub source: &'a str,
    /// The batch's number in that source; greater than every number before it.
    pub sequence: u64,
    /// The amounts.
    pub rows: &'a [UsageRow],
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingested {
    /// Its amounts were added.
    Added,
    /// Its number, or a greater one, was there already: nothing was added.
    Known,
}

/// Which lines to read.
#[derive(Clone, Debug)]
pub struct UsageFilter {
    /// Hours since the Unix epoch, the end excluded.
    pub hours: Range<u64>,
}

// === impl UsageRow ===

impl UsageRow {
    /// The hour an instant falls in.
    pub const fn hour_of(at: UnixMillis) -> u64 {
        at.0 / 3_600_000
    }

    /// The line that one attempt is by itself: what it adds to the books, wherever that is counted.
    pub fn of(report: &AttemptReport) -> Self {
        let brief = Brief::of(report);
        let mut line = Self::empty_for(&brief);
        line.take(&brief);
        line
    }

    /// The line that an attempt belongs to, with nothing in it.
    pub fn empty_for(attempt: &Brief<'_>) -> Self {
        Self {
            tenant: TenantId::new(attempt.tenant),
            hour: Self::hour_of(attempt.started),
            provider: ProviderId::new(attempt.provider),
            model: attempt.model.to_owned(),
            policy: attempt.policy.as_str().to_owned(),
            credential: attempt.credential.unwrap_or(CredentialId::from_bits(0)),
            access_key: attempt.access_key,
            requests: 0,
            attempts: 0,
            failed: 0,
            estimated: 0,
            unpriced: 0,
            input_tokens: 0,
            output_tokens: 0,
            cached_tokens: 0,
            cost: Money::ZERO,
        }
    }

    /// Whether an attempt belongs to this line.
    pub fn is_for(&self, attempt: &Brief<'_>) -> bool {
        self.access_key == attempt.access_key
            && self.credential == attempt.credential.unwrap_or(CredentialId::from_bits(0))
            && self.hour == Self::hour_of(attempt.started)
            && self.model == attempt.model
            && self.provider.as_str() == attempt.provider
            && self.tenant.as_str() == attempt.tenant
            && self.policy == attempt.policy.as_str()
    }

    /// Adds what one attempt is, whatever line that is.
    pub fn take(&mut self, attempt: &Brief<'_>) {
        // A journal of an earlier build may have what a provider made up.
        let Usage { input, output, cached_input, .. } = attempt.usage.at_most(ATTEMPT_TOKENS_MAX);
        for (sum, amount) in [
            (&mut self.requests, u64::from(attempt.last)),
            (&mut self.attempts, 1),
            (&mut self.failed, u64::from(is_failed(attempt.outcome))),
            (&mut self.estimated, u64::from(attempt.usage_source == UsageSource::Estimated)),
            (&mut self.unpriced, u64::from(attempt.cost.is_none() && attempt.usage != Usage::default())),
            (&mut self.input_tokens, input),
            (&mut self.output_tokens, output),
            (&mut self.cached_tokens, cached_input),
        ] {
            *sum = sum.saturating_add(amount);
        }
        self.cost += attempt.cost.unwrap_or_default();
    }

    /// Adds the amounts of another line, whatever that one is for.
    pub fn add(&mut self, other: &Self) {
        for (sum, amount) in [
            (&mut self.requests, other.requests),
            (&mut self.attempts, other.attempts),
            (&mut self.failed, other.failed),
            (&mut self.estimated, other.estimated),
            (&mut self.unpriced, other.unpriced),
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.output_tokens, other.output_tokens),
            (&mut self.cached_tokens, other.cached_tokens),
        ] {
            *sum = sum.saturating_add(amount);
        }
        self.cost += other.cost;
    }
}

/// Whether an attempt failed for the books: by the provider, not by who asked.
fn is_failed(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Refused | Outcome::Unreachable | Outcome::TimedOut | Outcome::Broken)
}

// === impl Store ===

impl Store {
    /// This tenant's lines, hour by hour, one in memory at a time.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn for_each_usage(
        &self,
        tenant: &TenantId,
        filter: &UsageFilter,
        mut each: impl FnMut(UsageRow),
    ) -> Result<(), StoreError> {
        let sql = "SELECT * FROM usage_hours WHERE tenant = ?1 AND hour >= ?2 AND hour < ?3 ORDER BY hour";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows =
            statement.query(params![tenant.as_str(), to_sql(filter.hours.start), to_sql(filter.hours.end)])?;
        while let Some(row) = rows.next()? {
            each(read(row)?);
        }
        Ok(())
    }
}

// === impl Admin ===

impl Admin<'_> {
    /// Adds a batch, wholly and once.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`]; then nothing was added.
    pub fn add_usage(&mut self, batch: &UsageBatch<'_>) -> Result<Ingested, StoreError> {
        self.add_usage_of(&[(batch.source, batch.sequence)], batch.rows)
    }

    /// Adds amounts that come from several sources, each with the number of its last record in them, wholly and once: where any of the
    /// sources is that far already, nothing is added.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`]; then nothing was added.
    pub fn add_usage_of(&mut self, sources: &[(&str, u64)], rows: &[UsageRow]) -> Result<Ingested, StoreError> {
        let transaction = self.store.connection.savepoint()?;
        for (source, sequence) in sources {
            let mut step = transaction.prepare_cached(
                "INSERT INTO usage_sources VALUES (?1, ?2)
                 ON CONFLICT (source) DO UPDATE SET sequence = excluded.sequence WHERE excluded.sequence > sequence",
            )?;
            if step.execute(params![source, to_sql(*sequence)])? == 0 {
                return Ok(Ingested::Known);
            }
        }
        for row in rows {
            add(&transaction, row)?;
        }
        allowances::add_totals(&transaction, rows)?;
        transaction.commit()?;
        Ok(Ingested::Added)
    }

    /// Every source whose name begins like this, with the number of its last batch.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn usage_sources(&mut self, prefix: &str) -> Result<BTreeMap<String, u64>, StoreError> {
        let sql = "SELECT source, sequence FROM usage_sources WHERE substr(source, 1, length(?1)) = ?1";
        let mut statement = self.store.connection.prepare_cached(sql)?;
        let rows = statement.query_map([prefix], |row| Ok((row.get(0)?, from_sql(row.get(1)?))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Writes a number under a name, as sources have theirs, whichever was there: a mark of the books, not a batch.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn set_usage_mark(&mut self, name: &str, number: u64) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO usage_sources VALUES (?1, ?2) ON CONFLICT (source) DO UPDATE SET sequence = excluded.sequence";
        self.store.connection.execute(sql, params![name, to_sql(number)])?;
        Ok(())
    }

    /// Whether any usage was ever counted.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn has_usage(&mut self) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM usage_hours)";
        Ok(self.store.connection.query_row(sql, [], |row| row.get(0))?)
    }

    /// The number of the last batch added from a source; a reader goes on after it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn usage_sequence(&mut self, source: &str) -> Result<Option<u64>, StoreError> {
        let mut statement =
            self.store.connection.prepare_cached("SELECT sequence FROM usage_sources WHERE source = ?1")?;
        Ok(statement.query_row([source], |row| row.get(0).map(from_sql)).optional()?)
    }

    /// Forgets a source of which there will be no more.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn forget_usage_source(&mut self, source: &str) -> Result<(), StoreError> {
        self.store.connection.execute("DELETE FROM usage_sources WHERE source = ?1", [source])?;
        Ok(())
    }

    /// Every tenant's lines, for the books and the dashboard.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn for_each_usage(&mut self, filter: &UsageFilter, mut each: impl FnMut(UsageRow)) -> Result<(), StoreError> {
        let sql = "SELECT * FROM usage_hours WHERE hour >= ?1 AND hour < ?2 ORDER BY tenant, hour";
        let mut statement = self.store.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![to_sql(filter.hours.start), to_sql(filter.hours.end)])?;
        while let Some(row) = rows.next()? {
            each(read(row)?);
        }
        Ok(())
    }
}

impl Admin<'_> {
    /// Every tenant's lines of days: in each, the hour is the number of the day.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn for_each_usage_day(&mut self, mut each: impl FnMut(UsageRow)) -> Result<(), StoreError> {
        let mut statement = self.store.connection.prepare_cached("SELECT * FROM usage_days ORDER BY tenant, day")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            each(read(row)?);
        }
        Ok(())
    }
}

/// Adds to the line of its hour and the line of its day; each is made if it is not there.
fn add(transaction: &Connection, row: &UsageRow) -> Result<(), StoreError> {
    const SUMS: &str = "ON CONFLICT DO UPDATE SET
        requests = requests + excluded.requests, attempts = attempts + excluded.attempts,
        failed = failed + excluded.failed, estimated = estimated + excluded.estimated, unpriced = unpriced + excluded.unpriced,
        input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens,
        cached_tokens = cached_tokens + excluded.cached_tokens,
        cost_micro = cost_micro + excluded.cost_micro + (cost_pico + excluded.cost_pico) / 1000000,
        cost_pico = (cost_pico + excluded.cost_pico) % 1000000";
    const VALUES: &str = "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
    let (credential, access_key) = (row.credential.bits().to_be_bytes(), row.access_key.bits().to_be_bytes());
    let (micro, pico) = parts(row.cost);
    let (hours, days) = (
        format!("INSERT INTO usage_hours VALUES {VALUES} {SUMS}"),
        format!("INSERT INTO usage_days VALUES {VALUES} {SUMS}"),
    );
    for (sql, period) in [(hours, row.hour), (days, row.hour / HOURS_PER_DAY)] {
        let mut upsert = transaction.prepare_cached(&sql)?;
        upsert.execute(params![
            row.tenant.as_str(),
            to_sql(period),
            row.provider.as_str(),
            row.model,
            row.policy,
            credential,
            access_key,
            to_sql(row.requests),
            to_sql(row.attempts),
            to_sql(row.failed),
            to_sql(row.estimated),
            to_sql(row.unpriced),
            to_sql(row.input_tokens),
            to_sql(row.output_tokens),
            to_sql(row.cached_tokens),
            micro,
            pico,
        ])?;
    }
    Ok(())
}

fn read(row: &Row<'_>) -> Result<UsageRow, StoreError> {
    let text = |column: usize| row.get_ref(column)?.as_str().map_err(|_| damaged("a usage line's text"));
    Ok(UsageRow {
        tenant: TenantId::new(text(0)?),
        hour: from_sql(row.get(1)?),
        provider: ProviderId::new(text(2)?),
        model: row.get(3)?,
        policy: row.get(4)?,
        credential: CredentialId::from_bits(u128::from_be_bytes(row.get(5)?)),
        access_key: AccessKeyId::from_bits(u128::from_be_bytes(row.get(6)?)),
        requests: from_sql(row.get(7)?),
        attempts: from_sql(row.get(8)?),
        failed: from_sql(row.get(9)?),
        estimated: from_sql(row.get(10)?),
        unpriced: from_sql(row.get(11)?),
        input_tokens: from_sql(row.get(12)?),
        output_tokens: from_sql(row.get(13)?),
        cached_tokens: from_sql(row.get(14)?),
        cost: whole(row.get(15)?, row.get(16)?),
    })
}

/// An amount as the tables hold it: whole millionths of a dollar, and the picodollars that are left.
fn parts(cost: Money) -> (i64, i64) {
    let (micro, pico) = (cost.pico().div_euclid(PICO_PER_MICRO), cost.pico().rem_euclid(PICO_PER_MICRO));
    (i64::try_from(micro).unwrap_or(i64::MAX), i64::try_from(pico).unwrap_or(0))
}

/// The amount that two sums of its parts make.
pub(super) fn whole(micro: i64, pico: i64) -> Money {
    Money::from_pico(i128::from(micro) * PICO_PER_MICRO + i128::from(pico))
}

const PICO_PER_MICRO: i128 = 1_000_000;
const HOURS_PER_DAY: u64 = 24;
