//! The usage rollup: what was used, by hour and tenant, provider, model, credential and access key.
//!
//! Sums are exact: money is added as a 128-bit integer and stored as its decimal text. A batch is added in one transaction with
//! the number that names it, so that adding it again (after a crash, rule L6) adds nothing.

use super::error::{StoreError, damaged, from_sql, to_sql};
use super::{Admin, Store, allowances};
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, CredentialId, ProviderId, TenantId};
use crate::domain::money::Money;
use rusqlite::{Connection, OptionalExtension, Row, params};
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
    /// With which credential; all zero for a provider without keys.
    pub credential: CredentialId,
    /// For which access key.
    pub access_key: AccessKeyId,
    /// Exchanges, each counted once however many attempts it took.
    pub requests: u64,
    /// Calls made to the provider.
    pub attempts: u64,
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
        let sql = "SELECT * FROM usage WHERE tenant = ?1 AND hour >= ?2 AND hour < ?3 ORDER BY hour";
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
        let transaction = self.store.connection.savepoint()?;
        let moved = transaction.execute(
            "INSERT INTO usage_sources VALUES (?1, ?2)
             ON CONFLICT (source) DO UPDATE SET sequence = excluded.sequence WHERE excluded.sequence > sequence",
            params![batch.source, to_sql(batch.sequence)],
        )?;
        if moved == 0 {
            return Ok(Ingested::Known);
        }
        for row in batch.rows {
            add(&transaction, row)?;
        }
        allowances::add_totals(&transaction, batch.rows)?;
        transaction.commit()?;
        Ok(Ingested::Added)
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
        let sql = "SELECT * FROM usage WHERE hour >= ?1 AND hour < ?2 ORDER BY tenant, hour";
        let mut statement = self.store.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![to_sql(filter.hours.start), to_sql(filter.hours.end)])?;
        while let Some(row) = rows.next()? {
            each(read(row)?);
        }
        Ok(())
    }
}

/// Adds to the line if it is there, and makes it otherwise. The money is summed here, where it cannot round or overflow.
fn add(transaction: &Connection, row: &UsageRow) -> Result<(), StoreError> {
    let (credential, access_key) = (row.credential.bits().to_be_bytes(), row.access_key.bits().to_be_bytes());
    let mut select = transaction.prepare_cached(
        "SELECT cost_pico FROM usage
         WHERE tenant = ?1 AND hour = ?2 AND provider = ?3 AND model = ?4 AND credential = ?5 AND access_key = ?6",
    )?;
    let (tenant, hour, provider) = (row.tenant.as_str(), to_sql(row.hour), row.provider.as_str());
    let key = params![tenant, hour, provider, row.model, credential, access_key];
    let before = match select.query_row(key, |found| Ok(money(found.get_ref(0)?.as_str()?))).optional()? {
        Some(before) => before?,
        None => Money::ZERO,
    };
    let mut upsert = transaction.prepare_cached(
        "INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT DO UPDATE SET requests = requests + excluded.requests, attempts = attempts + excluded.attempts,
             input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens,
             cached_tokens = cached_tokens + excluded.cached_tokens, cost_pico = excluded.cost_pico",
    )?;
    upsert.execute(params![
        tenant,
        hour,
        provider,
        row.model,
        credential,
        access_key,
        to_sql(row.requests),
        to_sql(row.attempts),
        to_sql(row.input_tokens),
        to_sql(row.output_tokens),
        to_sql(row.cached_tokens),
        (before + row.cost).pico().to_string(),
    ])?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<UsageRow, StoreError> {
    let text = |column: usize| row.get_ref(column)?.as_str().map_err(|_| damaged("a usage line's text"));
    Ok(UsageRow {
        tenant: TenantId::new(text(0)?),
        hour: from_sql(row.get(1)?),
        provider: ProviderId::new(text(2)?),
        model: row.get(3)?,
        credential: CredentialId::from_bits(u128::from_be_bytes(row.get(4)?)),
        access_key: AccessKeyId::from_bits(u128::from_be_bytes(row.get(5)?)),
        requests: from_sql(row.get(6)?),
        attempts: from_sql(row.get(7)?),
        input_tokens: from_sql(row.get(8)?),
        output_tokens: from_sql(row.get(9)?),
        cached_tokens: from_sql(row.get(10)?),
        cost: money(text(11)?)?,
    })
}

fn money(text: &str) -> Result<Money, StoreError> {
    text.parse().map(Money::from_pico).map_err(|_| damaged("a usage line's money"))
}
