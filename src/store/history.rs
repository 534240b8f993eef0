//! The hours of one access key or one provider key, summed over everything else: what unusual ones are compared with.
//!
//! Read by an index of its own, so that the cost is that of one key's lines.

use super::Admin;
use super::error::{StoreError, damaged, from_sql, to_sql};
use super::usage::whole;
use crate::domain::id::{AccessKeyId, CredentialId, TenantId};
use crate::domain::money::Money;
use rusqlite::{OptionalExtension, params};

/// One hour of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HourSum {
    /// Hours since the Unix epoch.
    pub hour: u64,
    /// What it cost.
    pub cost: Money,
    /// Calls made to providers.
    pub attempts: u64,
    /// Those of them that failed.
    pub failed: u64,
}

impl Admin<'_> {
    /// The hours of an access key from one on, rising; those without use are left out.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn hours_of_access_key(&mut self, id: AccessKeyId, from: u64) -> Result<Vec<HourSum>, StoreError> {
        self.hours("access_key", id.bits(), from)
    }

    /// The hours of a provider key from one on, over all tenants, rising; those without use are left out.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn hours_of_credential(&mut self, id: CredentialId, from: u64) -> Result<Vec<HourSum>, StoreError> {
        self.hours("credential", id.bits(), from)
    }

    /// Whose a provider key is; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn tenant_of_credential(&mut self, id: CredentialId) -> Result<Option<TenantId>, StoreError> {
        let sql = "SELECT tenant FROM credentials WHERE id = ?1";
        let mut statement = self.store.connection.prepare_cached(sql)?;
        let tenant: Option<String> = statement.query_row([id.bits().to_be_bytes()], |row| row.get(0)).optional()?;
        Ok(tenant.map(|tenant| TenantId::new(&tenant)))
    }

    /// `column` is one of two words of ours.
    fn hours(&mut self, column: &'static str, id: u128, from: u64) -> Result<Vec<HourSum>, StoreError> {
        let sql = match column {
            "access_key" => {
                "SELECT hour, sum(cost_micro), sum(cost_pico), sum(attempts), sum(failed) FROM usage_hours
                 WHERE access_key = ?1 AND hour >= ?2 GROUP BY hour ORDER BY hour"
            }
            "credential" => {
                "SELECT hour, sum(cost_micro), sum(cost_pico), sum(attempts), sum(failed) FROM usage_hours
                 WHERE credential = ?1 AND hour >= ?2 GROUP BY hour ORDER BY hour"
            }
            _ => return Err(damaged("a column's name")),
        };
        let mut statement = self.store.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![id.to_be_bytes(), to_sql(from)])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(HourSum {
                hour: from_sql(row.get(0)?),
                cost: whole(row.get(1)?, row.get(2)?),
                attempts: from_sql(row.get(3)?),
                failed: from_sql(row.get(4)?),
            });
        }
        Ok(found)
    }
}
