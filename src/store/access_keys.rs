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
    /// The key whose place it took, if a rotation made it.
    pub succeeds: Option<AccessKeyId>,
    /// The latest key that took its place and was not revoked, if it was rotated.
    pub successor: Option<AccessKeyId>,
}

/// A living access key as a snapshot needs it, lent for one call.
#[derive(Clone, Copy, Debug)]
pub struct AccessKeyRow<'r> {
    /// Its public id.
    pub id: AccessKeyId,
    /// The first key of its line, itself unless a rotation made it: all keys of a line share what that one may do.
    pub holder: AccessKeyId,
    /// Whose it is.
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
    /// Whether it works: neither revoked nor past its end.
    pub living: bool,
}

/// What [`read`] reads. A macro, since `concat!` takes no constants and no SQL text is built at run time (rule T2).
macro_rules! columns {
    () => {
        "SELECT id, tenant, name, last4, scopes, limits, created, expires, revoked, succeeds,
             (SELECT later.id FROM access_keys later WHERE later.succeeds = access_keys.id AND later.revoked IS NULL
              ORDER BY later.created DESC, later.id DESC LIMIT 1)
         FROM access_keys"
    };
}

/// What [`lend`] reads.
macro_rules! lent {
    () => {
        "SELECT id, tenant, name, pepper_version, digest, scopes, limits, expires, coalesce(holder, id), revoked IS NULL
         FROM access_keys"
    };
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
        let inserted = self.change(
            "INSERT INTO access_keys VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, NULL, NULL, NULL)
             ON CONFLICT (digest) DO NOTHING",
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
        let mut statement =
            self.connection.prepare_cached(concat!(columns!(), " WHERE tenant = ?1 ORDER BY created, id"))?;
        let mut rows = statement.query([tenant.as_str()])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    /// One access key of this tenant, revoked or not.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also when it is another tenant's (rule T1); [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn access_key(&self, tenant: &TenantId, id: AccessKeyId) -> Result<StoredAccessKey, StoreError> {
        let sql = concat!(columns!(), " WHERE tenant = ?1 AND id = ?2");
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_row(params![tenant.as_str(), id.bits().to_be_bytes()], |row| Ok(read(row)));
        found.optional()?.unwrap_or(Err(StoreError::NotFound("access key")))
    }

    /// Stores an access key that takes the place of another, whose end is `ends` from now on. Both are counted as one. For use within a
    /// transaction: it takes several statements.
    ///
    /// # Errors
    /// As [`Store::insert_access_key`]; [`StoreError::NotFound`] when this tenant has no such living key.
    pub fn succeed_access_key(
        &mut self,
        tenant: &TenantId,
        old: AccessKeyId,
        ends: UnixMillis,
        new: &NewAccessKey<'_>,
    ) -> Result<(), StoreError> {
        let old = old.bits().to_be_bytes();
        let ended = self.change(
            "UPDATE access_keys SET expires = ?3 WHERE tenant = ?1 AND id = ?2 AND revoked IS NULL",
            params![tenant.as_str(), old, to_sql(ends.0)],
        )?;
        if ended != 1 {
            return Err(StoreError::NotFound("access key"));
        }
        self.insert_access_key(tenant, new)?;
        self.change(
            "UPDATE access_keys SET succeeds = ?2,
                 holder = (SELECT coalesce(holder, id) FROM access_keys WHERE tenant = ?1 AND id = ?2)
             WHERE tenant = ?1 AND id = ?3",
            params![tenant.as_str(), old, new.id.bits().to_be_bytes()],
        )?;
        Ok(())
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
        let changed = self.change(
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
        let changed = self.change(
            "UPDATE access_keys SET revoked = ?3 WHERE tenant = ?1 AND id = ?2 AND revoked IS NULL",
            params![tenant.as_str(), id.bits().to_be_bytes(), to_sql(now.0)],
        )?;
        if changed == 1 { Ok(()) } else { Err(StoreError::NotFound("access key")) }
    }

    /// Lets an access key end at `now`; it may get another end later.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also when it is another tenant's or revoked.
    pub fn end_access_key(&mut self, tenant: &TenantId, id: AccessKeyId, now: UnixMillis) -> Result<(), StoreError> {
        let changed = self.change(
            "UPDATE access_keys SET expires = ?3 WHERE tenant = ?1 AND id = ?2 AND revoked IS NULL",
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
        let mut statement = self.store.connection.prepare_cached(concat!(columns!(), " WHERE digest = ?1"))?;
        statement.query_row([digest], |row| Ok(read(row))).optional()?.transpose()
    }

    /// Every key that a rotation made, with the first key of its line: what it used is counted as that one's.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn access_key_holders(&mut self) -> Result<Vec<(AccessKeyId, AccessKeyId)>, StoreError> {
        let sql = "SELECT id, coalesce(holder, id) FROM access_keys WHERE succeeds IS NOT NULL";
        let mut statement = self.store.connection.prepare_cached(sql)?;
        let id = |bits: [u8; 16]| AccessKeyId::from_bits(u128::from_be_bytes(bits));
        let rows = statement.query_map([], |row| Ok((id(row.get(0)?), id(row.get(1)?))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How many access keys are living and not past their end: what a snapshot will hold.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn access_key_count(&mut self, now: UnixMillis) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM access_keys WHERE revoked IS NULL AND (expires IS NULL OR expires > ?1)";
        Ok(self.store.connection.query_row(sql, [to_sql(now.0)], |row| row.get(0).map(from_sql))?)
    }

    /// Whether any access key is living and not past its end.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn has_access_key(&mut self, now: UnixMillis) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM access_keys WHERE revoked IS NULL AND (expires IS NULL OR expires > ?1) LIMIT 1";
        Ok(self.store.connection.prepare_cached(sql)?.exists([to_sql(now.0)])?)
    }

    /// Every living access key, each lent for one call, in the order in which they lie in the file: any other would look each up.
    ///
    /// # Errors
    /// Whatever `each` answers; [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn for_each_access_key<E: From<StoreError>>(
        &mut self,
        now: UnixMillis,
        mut each: impl FnMut(AccessKeyRow<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = concat!(lent!(), " WHERE revoked IS NULL AND (expires IS NULL OR expires > ?1)");
        let mut statement = self.store.connection.prepare_cached(sql).map_err(StoreError::from)?;
        let mut rows = statement.query([to_sql(now.0)]).map_err(StoreError::from)?;
        while let Some(row) = rows.next().map_err(StoreError::from)? {
            each(lend(row, now)?)?;
        }
        Ok(())
    }

    /// One access key, whoever's it is and whether it works or not, lent for one call; answers what `read` does.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn lend_access_key<T>(
        &mut self,
        id: AccessKeyId,
        now: UnixMillis,
        read: impl FnOnce(AccessKeyRow<'_>) -> T,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.store.connection.prepare_cached(concat!(lent!(), " WHERE id = ?1"))?;
        let mut rows = statement.query([id.bits().to_be_bytes()])?;
        rows.next()?.map(|row| lend(row, now).map(read)).transpose()
    }

    /// The access keys that ended after one instant and up to another, both in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn access_keys_ended(&mut self, after: UnixMillis, until: UnixMillis) -> Result<Vec<AccessKeyId>, StoreError> {
        let sql = "SELECT id FROM access_keys WHERE revoked IS NULL AND expires > ?1 AND expires <= ?2";
        let mut statement = self.store.connection.prepare_cached(sql)?;
        let ids = statement.query_map([to_sql(after.0), to_sql(until.0)], |row| {
            Ok(AccessKeyId::from_bits(u128::from_be_bytes(row.get(0)?)))
        })?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// When the next access key ends.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn next_access_key_end(&mut self, now: UnixMillis) -> Result<Option<UnixMillis>, StoreError> {
        let sql = "SELECT min(expires) FROM access_keys WHERE revoked IS NULL AND expires > ?1";
        let mut statement = self.store.connection.prepare_cached(sql)?;
        Ok(statement.query_row([to_sql(now.0)], |row| row.get(0).map(instant))?)
    }

    /// The living access keys whose limits hold the mark of a configuration, with those limits.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn marked_access_keys(&mut self, now: UnixMillis) -> Result<Vec<(TenantId, AccessKeyId, String)>, StoreError> {
        // The same words as in the index, which SQLite therefore walks instead of a million rows.
        let sql = "SELECT tenant, id, limits FROM access_keys
                   WHERE revoked IS NULL AND instr(limits, '\"origin\":\"config\"') > 0 AND (expires IS NULL OR expires > ?1)";
        let mut statement = self.store.connection.prepare_cached(sql)?;
        let mut rows = statement.query([to_sql(now.0)])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let id = AccessKeyId::from_bits(u128::from_be_bytes(row.get(1)?));
            found.push((TenantId::new(text(row, 0)?), id, row.get(2)?));
        }
        Ok(found)
    }
}

fn lend<'r>(row: &'r Row<'_>, now: UnixMillis) -> Result<AccessKeyRow<'r>, StoreError> {
    let expires = instant(row.get(7)?);
    Ok(AccessKeyRow {
        id: AccessKeyId::from_bits(u128::from_be_bytes(row.get(0)?)),
        tenant: text(row, 1)?,
        name: text(row, 2)?,
        pepper_version: row.get(3)?,
        digest: row.get(4)?,
        scopes: scopes(row.get(5)?)?,
        limits: text(row, 6)?,
        expires,
        living: row.get::<_, bool>(9)? && expires.is_none_or(|end| end > now),
        holder: AccessKeyId::from_bits(u128::from_be_bytes(row.get(8)?)),
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
        succeeds: other(row.get(9)?),
        successor: other(row.get(10)?),
    })
}

fn other(id: Option<[u8; 16]>) -> Option<AccessKeyId> {
    id.map(|id| AccessKeyId::from_bits(u128::from_be_bytes(id)))
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
