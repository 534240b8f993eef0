//! What is known of limits over a restart: all that an access key or a tenant ever spent, and how full its rates were.
//!
//! Totals are added in the transaction that adds the usage they come from, once and exactly. Rates are written after it, for those that
//! changed; after a kill they are at most one tick old.

use super::Admin;
use super::error::{StoreError, damaged, from_sql, to_sql};
use super::usage::UsageRow;
use crate::domain::id::{AccessKeyId, TenantId};
use crate::domain::money::Money;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;

/// Whose limits they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HolderName {
    /// One access key's.
    AccessKey(AccessKeyId),
    /// Those of all access keys of a tenant together.
    Tenant(TenantId),
}

/// How full the rates of one holder were: when each would be full again, nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateState {
    /// Requests in a minute.
    pub requests_full_at: u64,
    /// Tokens in a minute.
    pub tokens_full_at: u64,
}

impl HolderName {
    /// As the tables write it, here and in the database of all machines.
    pub fn to_sql(&self) -> Vec<u8> {
        match self {
            Self::AccessKey(id) => [b"k".as_slice(), &id.bits().to_be_bytes()].concat(),
            Self::Tenant(id) => [b"t", id.as_str().as_bytes()].concat(),
        }
    }

    /// From what the tables have; `None`: nobody's name.
    pub fn from_sql(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (b'k', id) => Some(Self::AccessKey(AccessKeyId::from_bits(u128::from_be_bytes(id.try_into().ok()?)))),
            (b't', id) => Some(Self::Tenant(TenantId::new(std::str::from_utf8(id).ok()?))),
            _ => None,
        }
    }
}

impl Admin<'_> {
    /// All that a holder ever spent.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn spent_total(&mut self, holder: &HolderName) -> Result<Money, StoreError> {
        total(&self.store.connection, &holder.to_sql())
    }

    /// Writes down how full rates are, all or none.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn keep_rates(&mut self, states: &[(HolderName, RateState)]) -> Result<(), StoreError> {
        let transaction = self.store.connection.savepoint()?;
        {
            let mut upsert = transaction.prepare_cached(
                "INSERT INTO rate_states VALUES (?1, ?2, ?3) ON CONFLICT (holder) DO UPDATE SET
                     requests_full_at = excluded.requests_full_at, tokens_full_at = excluded.tokens_full_at",
            )?;
            for (holder, state) in states {
                upsert.execute(params![
                    holder.to_sql(),
                    to_sql(state.requests_full_at),
                    to_sql(state.tokens_full_at)
                ])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// How full rates were, of those that are not full again by `now`, nanoseconds since the Unix epoch; the others are forgotten.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn rates(&mut self, now: u64) -> Result<Vec<(HolderName, RateState)>, StoreError> {
        let connection = &self.store.connection;
        let sql = "DELETE FROM rate_states WHERE max(requests_full_at, tokens_full_at) <= ?1";
        connection.execute(sql, [to_sql(now)])?;
        let mut statement = connection.prepare_cached("SELECT * FROM rate_states")?;
        let mut rows = statement.query([])?;
        let mut states = Vec::new();
        while let Some(row) = rows.next()? {
            let holder = row.get_ref(0)?.as_blob().ok().and_then(HolderName::from_sql);
            let holder = holder.ok_or_else(|| damaged("the holder of a rate"))?;
            let state = RateState { requests_full_at: from_sql(row.get(1)?), tokens_full_at: from_sql(row.get(2)?) };
            states.push((holder, state));
        }
        Ok(states)
    }
}

/// Adds what lines of usage cost to the totals of their access keys and tenants.
pub(super) fn add_totals(transaction: &Connection, rows: &[UsageRow]) -> Result<(), StoreError> {
    let mut sums: BTreeMap<HolderName, Money> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.cost > Money::ZERO) {
        *sums.entry(HolderName::AccessKey(row.access_key)).or_default() += row.cost;
        *sums.entry(HolderName::Tenant(row.tenant.clone())).or_default() += row.cost;
    }
    let mut upsert = transaction.prepare_cached(
        "INSERT INTO spent_totals VALUES (?1, ?2) ON CONFLICT (holder) DO UPDATE SET cost_pico = excluded.cost_pico",
    )?;
    for (holder, cost) in sums {
        let holder = holder.to_sql();
        let after = total(transaction, &holder)? + cost;
        upsert.execute(params![holder, after.pico().to_string()])?;
    }
    Ok(())
}

fn total(connection: &Connection, holder: &[u8]) -> Result<Money, StoreError> {
    let mut select = connection.prepare_cached("SELECT cost_pico FROM spent_totals WHERE holder = ?1")?;
    let text: Option<String> = select.query_row([holder], |row| row.get(0)).optional()?;
    let Some(text) = text else { return Ok(Money::ZERO) };
    text.parse().map(Money::from_pico).map_err(|_| damaged("a total's money"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{CredentialId, ProviderId};
    use crate::store::tests::Place;
    use crate::store::{Store, UsageBatch};

    fn row(key: u128, cost: i128) -> UsageRow {
        UsageRow {
            tenant: TenantId::new("acme"),
            hour: 7,
            provider: ProviderId::new("openai"),
            model: "gpt-4o".to_owned(),
            policy: "ordered".to_owned(),
            credential: CredentialId::from_bits(0),
            access_key: AccessKeyId::from_bits(key),
            requests: 1,
            attempts: 1,
            failed: 0,
            estimated: 0,
            unpriced: 0,
            input_tokens: 1,
            output_tokens: 1,
            cached_tokens: 0,
            cost: Money::from_pico(cost),
        }
    }

    #[test]
    fn totals_grow_once_with_each_batch() {
        let place = Place::new("totals");
        let (mut store, _) = place.open();
        let rows = [row(1, 5), row(1, 6), row(2, 7)];
        for _ in 0..2 {
            store.admin().add_usage(&UsageBatch { source: "a", sequence: 1, rows: &rows }).expect("taken");
        }
        let total = |store: &mut Store, holder| store.admin().spent_total(&holder).expect("read").pico();
        let key = |bits| HolderName::AccessKey(AccessKeyId::from_bits(bits));
        assert_eq!((total(&mut store, key(1)), total(&mut store, key(2)), total(&mut store, key(3))), (11, 7, 0));
        assert_eq!(total(&mut store, HolderName::Tenant(TenantId::new("acme"))), 18);
    }

    #[test]
    fn rates_that_are_not_full_come_back() {
        let place = Place::new("rates");
        let (mut store, _) = place.open();
        let state = |full_at| RateState { requests_full_at: full_at, tokens_full_at: 3 };
        let (key, tenant) = (HolderName::AccessKey(AccessKeyId::from_bits(1)), HolderName::Tenant(TenantId::new("t")));
        store.admin().keep_rates(&[(key.clone(), state(10)), (tenant.clone(), state(20))]).expect("kept");
        store.admin().keep_rates(&[(tenant.clone(), state(30))]).expect("kept");
        assert_eq!(store.admin().rates(10).expect("read"), [(tenant, state(30))]);
    }
}
