//! Access keys as rows: digests, never texts (rule V9).
//!
//! Built for a million of them: the load for a snapshot lends each row out of SQLite's own memory and keeps none.

use super::error::{StoreError, damaged, from_sql, to_sql};
use super::{Admin, Store};
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, TenantId};
use crate::domain::scope::Scopes;
use rusqlite::{OptionalExtension, Row, params};

/// An access key to store.
#[derive(Clone, Debug)]
pub struct NewAccessKey<'a> {
    /// Its public id.
    pub id: AccessKeyId,
    /// The owner's name for it.
    pub name: &'a str,
    /// Which pepper made the digest.
    pub pepper_version: u32,
    /// `HMAC-SHA-256(pepper, key)`.
    pub digest: &'a [u8; 32],
    /// The last four characters, for display.
    pub last4: &'a str,
    /// What it may do.
    pub scopes: Scopes,
    /// Its limits as JSON, opaque to the store.
    pub limits: &'a str,
    /// When it was made.
    pub created: UnixMillis,
    /// When it ends, if ever.
    pub expires: Option<UnixMillis>,
}

/// A stored access key, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAccessKey {
    /// Its public id.
    pub id: AccessKeyId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The owner's name for it.
    pub name: String,
    /// The last four characters.
    pub last4: String,
    /// What it may do.
    pub scopes: Scopes,
    /// Its limits as JSON.
    pub limits: String,
    /// When it was made.
    pub created: UnixMillis,
    /// When it ends, if ever.
    pub expires: Option<UnixMillis>,
    /// When it was revoked, if it was.
    pub revoked: Option<UnixMillis>,
}

/// A living access key as a snapshot needs it, lent for one call.
#[derive(Clone, Copy, Debug)]
pub struct AccessKeyRow<'r> {
    /// Its public id.
    pub id: AccessKeyId,
    /// Whose it is; rows come tenant by tenant, so that a name can be interned.
    pub tenant: &'r str,
    /// The owner's name for it.
    pub name: &'r str,
    /// Which pepper made the digest.
    pub pepper_version: u32,
    /// What a presented key must digest to.
    pub digest: [u8; 32],
    /// What it may do.
    pub scopes: Scopes,
    /// Its limits as JSON.
    pub limits: &'r str,
    /// When it ends, if ever.
    pub expires: Option<UnixMillis>,
}

// === impl Store ===

impl Store {
    /// Stores an access key.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such tenant, [`StoreError::Exists`] when the digest is known.
    pub fn insert_access_key(&mut self, tenant: &TenantId, new: &NewAccessKey<'_>) -> Result<(), StoreError> {
        if !self.has_tenant(tenant)? {
            return Err(StoreError::NotFound("tenant"));
        }
        let inserted = self.connection.execute(
            "INSERT INTO access_keys VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, NULL) ON CONFLICT (digest) DO NOTHING",
            params![
                new.id.bits().to_be_bytes(),
                tenant.as_str(),
                new.name,
                new.pepper_version,
                new.digest,
                new.last4,
                new.scopes.bits(),
                new.limits,
                to_sql(new.created.0),
                new.expires.map(|at| to_sql(at.0)),
            ],
        )?;
        if inserted == 1 { Ok(()) } else { Err(StoreError::Exists("access key")) }
    }

    /// This tenant's access keys, oldest first, revoked ones among them.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn access_keys(&self, tenant: &TenantId) -> Result<Vec<StoredAccessKey>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, tenant, name, last4, scopes, limits, created, expires, revoked FROM access_keys
             WHERE tenant = ?1 ORDER BY created, id",
        )?;
        let mut rows = statement.query([tenant.as_str()])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    /// Changes what an access key is called and may do; its digest stays.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also when it is another tenant's or revoked.
    pub fn update_access_key(
        &mut self,
        tenant: &TenantId,
        id: AccessKeyId,
        name: &str,
        scopes: Scopes,
        limits: &str,
        expires: Option<UnixMillis>,
    ) -> Result<(), StoreError> {
        let changed = self.connection.execute(
            "UPDATE access_keys SET name = ?3, scopes = ?4, limits = ?5, expires = ?6
             WHERE tenant = ?1 AND id = ?2 AND revoked IS NULL",
            params![
                tenant.as_str(),
                id.bits().to_be_bytes(),
                name,
                scopes.bits(),
                limits,
                expires.map(|at| to_sql(at.0))
            ],
        )?;
        if changed == 1 { Ok(()) } else { Err(StoreError::NotFound("access key")) }
    }

    /// Revokes an access key; the row stays for the books and its digest can never be registered again.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also when it is another tenant's or revoked already.
    pub fn revoke_access_key(&mut self, tenant: &TenantId, id: AccessKeyId, now: UnixMillis) -> Result<(), StoreError> {
        let changed = self.connection.execute(
            "UPDATE access_keys SET revoked = ?3 WHERE tenant = ?1 AND id = ?2 AND revoked IS NULL",
            params![tenant.as_str(), id.bits().to_be_bytes(), to_sql(now.0)],
        )?;
        if changed == 1 { Ok(()) } else { Err(StoreError::NotFound("access key")) }
    }
}

// === impl Admin ===

impl Admin<'_> {
    /// The access key with this digest, whoever's it is, revoked or not.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn access_key_by_digest(&mut self, digest: &[u8; 32]) -> Result<Option<StoredAccessKey>, StoreError> {
        let mut statement = self.store.connection.prepare_cached(
            "SELECT id, tenant, name, last4, scopes, limits, created, expires, revoked FROM access_keys WHERE digest = ?1",
        )?;
        statement.query_row([digest], |row| Ok(read(row))).optional()?.transpose()
    }

    /// How many access keys are living and not past their end: what a snapshot will hold.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn access_key_count(&mut self, now: UnixMillis) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM access_keys WHERE revoked IS NULL AND (expires IS NULL OR expires > ?1)";
        Ok(self.store.connection.query_row(sql, [to_sql(now.0)], |row| row.get(0).map(from_sql))?)
    }

    /// Every living access key, tenant by tenant, each lent for one call.
    ///
    /// # Errors
    /// Whatever `each` answers; [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn for_each_access_key<E: From<StoreError>>(
        &mut self,
        now: UnixMillis,
        mut each: impl FnMut(AccessKeyRow<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = "SELECT id, tenant, name, pepper_version, digest, scopes, limits, expires FROM access_keys
                   WHERE revoked IS NULL AND (expires IS NULL OR expires > ?1) ORDER BY tenant";
        let mut statement = self.store.connection.prepare_cached(sql).map_err(StoreError::from)?;
        let mut rows = statement.query([to_sql(now.0)]).map_err(StoreError::from)?;
        while let Some(row) = rows.next().map_err(StoreError::from)? {
            each(lend(row)?)?;
        }
        Ok(())
    }
}

fn lend<'r>(row: &'r Row<'_>) -> Result<AccessKeyRow<'r>, StoreError> {
    Ok(AccessKeyRow {
        id: AccessKeyId::from_bits(u128::from_be_bytes(row.get(0)?)),
        tenant: text(row, 1)?,
        name: text(row, 2)?,
        pepper_version: row.get(3)?,
        digest: row.get(4)?,
        scopes: scopes(row.get(5)?)?,
        limits: text(row, 6)?,
        expires: instant(row.get(7)?),
    })
}

fn read(row: &Row<'_>) -> Result<StoredAccessKey, StoreError> {
    Ok(StoredAccessKey {
        id: AccessKeyId::from_bits(u128::from_be_bytes(row.get(0)?)),
        tenant: TenantId::new(text(row, 1)?),
        name: row.get(2)?,
        last4: row.get(3)?,
        scopes: scopes(row.get(4)?)?,
        limits: row.get(5)?,
        created: UnixMillis(from_sql(row.get(6)?)),
        expires: instant(row.get(7)?),
        revoked: instant(row.get(8)?),
    })
}

fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, StoreError> {
    row.get_ref(column)?.as_str().map_err(|_| damaged("an access key's text"))
}

fn scopes(bits: u8) -> Result<Scopes, StoreError> {
    Scopes::from_bits(bits).ok_or_else(|| damaged("an access key's scopes"))
}

fn instant(at: Option<i64>) -> Option<UnixMillis> {
    at.map(|at| UnixMillis(from_sql(at)))
}
