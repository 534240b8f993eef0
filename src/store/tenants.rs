//! Tenants and their wrapped data keys.
//!
//! A tenant is destroyed by erasing its data key: whatever was sealed for it is noise from then on (rule V1). The row stays, so
//! that the books still name who paid.

use super::error::{StoreError, from_sql, to_sql};
use super::{Admin, Store};
use crate::domain::clock::UnixMillis;
use crate::domain::id::TenantId;
use crate::vault::keyring::WrappedDataKey;
use crate::vault::{Entropy, Keyring};
use rusqlite::{OptionalExtension, params};

impl Store {
    /// Whether this tenant exists and is not destroyed.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn has_tenant(&self, tenant: &TenantId) -> Result<bool, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT 1 FROM tenants WHERE id = ?1 AND destroyed IS NULL")?;
        Ok(statement.exists([tenant.as_str()])?)
    }

    /// A tenant's wrapped data key.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such tenant or it was destroyed.
    pub fn data_key(&self, tenant: &TenantId) -> Result<WrappedDataKey, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT dek_generation, dek_kek_version, dek_record, dek_seals FROM tenants WHERE id = ?1 AND destroyed IS NULL",
        )?;
        let row = statement.query_row([tenant.as_str()], |row| {
            Ok(WrappedDataKey {
                generation: from_sql(row.get(0)?),
                kek_version: row.get(1)?,
                record: row.get(2)?,
                seals: from_sql(row.get(3)?),
            })
        });
        row.optional()?.ok_or(StoreError::NotFound("tenant"))
    }
}

impl Admin<'_> {
    /// Makes a tenant with a data key of its own; one that exists is left as it is. A destroyed one begins anew with another
    /// data key. Answers whether there was anything to do.
    ///
    /// # Errors
    /// Those of vault and database.
    pub fn ensure_tenant(
        &mut self,
        tenant: &TenantId,
        keyring: &Keyring,
        entropy: &mut dyn Entropy,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        if self.store.has_tenant(tenant)? {
            return Ok(false);
        }
        let sql = "SELECT dek_generation FROM tenants WHERE id = ?1";
        let last: Option<i64> = self.store.connection.query_row(sql, [tenant.as_str()], |row| row.get(0)).optional()?;
        let generation = last.map_or(1, |last| from_sql(last).saturating_add(1));
        let key = keyring.make_data_key(tenant, generation, entropy)?;
        self.store.change(
            "INSERT INTO tenants VALUES (?1, ?2, NULL, ?3, ?4, ?5, 0)
             ON CONFLICT (id) DO UPDATE SET destroyed = NULL, dek_generation = excluded.dek_generation,
                 dek_kek_version = excluded.dek_kek_version, dek_record = excluded.dek_record, dek_seals = 0",
            params![tenant.as_str(), to_sql(now.0), to_sql(generation), key.kek_version, key.record],
        )?;
        Ok(true)
    }

    /// Shreds a tenant: data key erased, sealed records erased, access keys revoked, rotations gone, in one transaction.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such tenant.
    pub fn destroy_tenant(&mut self, tenant: &TenantId, now: UnixMillis) -> Result<(), StoreError> {
        let transaction = self.store.write()?;
        let values = params![tenant.as_str(), to_sql(now.0)];
        let sql = "UPDATE tenants SET destroyed = ?2, dek_kek_version = NULL, dek_record = NULL
                   WHERE id = ?1 AND destroyed IS NULL";
        if transaction.execute(sql, values)? != 1 {
            return Err(StoreError::NotFound("tenant"));
        }
        let sql = "UPDATE credentials SET state = 'revoked', record = NULL, retired = ?2 WHERE tenant = ?1 AND record IS NOT NULL";
        transaction.execute(sql, values)?;
        transaction.execute("UPDATE access_keys SET revoked = ?2 WHERE tenant = ?1 AND revoked IS NULL", values)?;
        // Whoever takes the name next finds nothing of them.
        transaction.execute("DELETE FROM rotations WHERE tenant = ?1", [tenant.as_str()])?;
        transaction.execute("DELETE FROM retired_keys WHERE tenant = ?1", [tenant.as_str()])?;
        for sql in [
            "DELETE FROM budgets WHERE tenant = ?1",
            "DELETE FROM budget_marks WHERE tenant = ?1",
            "DELETE FROM alerts WHERE tenant = ?1",
            "DELETE FROM webhooks WHERE tenant = ?1",
            "DELETE FROM deliveries WHERE tenant = ?1",
        ] {
            transaction.execute(sql, [tenant.as_str()])?;
        }
        transaction.commit()?;
        self.store.flush_log()
    }

    /// How many tenants are living.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn tenant_count(&mut self) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM tenants WHERE destroyed IS NULL";
        Ok(self.store.connection.prepare_cached(sql)?.query_row([], |row| row.get(0).map(from_sql))?)
    }

    /// The living tenants, by name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn tenants(&mut self) -> Result<Vec<(TenantId, UnixMillis)>, StoreError> {
        let sql = "SELECT id, created FROM tenants WHERE destroyed IS NULL ORDER BY id";
        let mut statement = self.store.connection.prepare_cached(sql)?;
        let rows = statement
            .query_map([], |row| Ok((TenantId::new(row.get_ref(0)?.as_str()?), UnixMillis(from_sql(row.get(1)?)))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
