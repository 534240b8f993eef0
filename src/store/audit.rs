//! The audit log: who changed what, each row bound to the one before by a hash (rule A4).
//!
//! `hash = SHA-256(hash before | at | tenant | who | what | target | before | after)`, each field behind its length. The chain
//! shows a changed, missing or inserted row; it cannot show a log that was cut at its end.

use super::Admin;
use super::error::{StoreError, from_sql, to_sql};
use crate::domain::clock::UnixMillis;
use crate::domain::id::TenantId;
use aws_lc_rs::digest::{Context, SHA256};
use rusqlite::{OptionalExtension, params};

/// A change to be noted. No secret belongs in any field.
#[derive(Clone, Copy, Debug)]
pub struct AuditEntry<'a> {
    /// When.
    pub at: UnixMillis,
    /// Whose things changed; `None` for the whole gateway's.
    pub tenant: Option<&'a TenantId>,
    /// Who did it: `uid:1000`, an access key's id, `start`.
    pub who: &'a str,
    /// What was done: `credential.add`, `config.put`.
    pub what: &'a str,
    /// To which object, by id.
    pub target: &'a str,
    /// The version before, or empty.
    pub before: &'a str,
    /// The version after, or empty.
    pub after: &'a str,
}

/// A noted change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// From 1, without gaps.
    pub sequence: u64,
    /// When.
    pub at: UnixMillis,
    /// Whose things changed.
    pub tenant: Option<String>,
    /// Who did it.
    pub who: String,
    /// What was done.
    pub what: String,
    /// To which object.
    pub target: String,
    /// The version before.
    pub before: String,
    /// The version after.
    pub after: String,
}

impl Admin<'_> {
    /// Notes a change; answers its sequence number.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn append_audit(&mut self, entry: &AuditEntry<'_>) -> Result<u64, StoreError> {
        let transaction = self.store.connection.savepoint()?;
        let sql = "SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1";
        let last: Option<(i64, [u8; 32])> =
            transaction.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let (sequence, before) = last.unwrap_or((0, [0; 32]));
        let sequence = sequence.saturating_add(1);
        transaction.execute(
            "INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                sequence,
                to_sql(entry.at.0),
                entry.tenant.map(TenantId::as_str),
                entry.who,
                entry.what,
                entry.target,
                entry.before,
                entry.after,
                link(&before, from_sql(sequence), entry),
            ],
        )?;
        transaction.commit()?;
        Ok(from_sql(sequence))
    }

    /// The newest changes, newest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn audit_tail(&mut self, most: u32) -> Result<Vec<AuditRow>, StoreError> {
        let sql =
            "SELECT sequence, at, tenant, who, what, target, before, after FROM audit ORDER BY sequence DESC LIMIT ?1";
        let mut statement = self.store.connection.prepare_cached(sql)?;
        let rows = statement.query_map([most], read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Walks the whole chain; answers how many rows it holds.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] naming the first row that does not follow from the one before.
    pub fn verify_audit(&mut self) -> Result<u64, StoreError> {
        let sql = "SELECT sequence, at, tenant, who, what, target, before, after, hash FROM audit ORDER BY sequence";
        let mut statement = self.store.connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let (mut count, mut before) = (0_u64, [0; 32]);
        while let Some(row) = rows.next()? {
            let (noted, hash): (AuditRow, [u8; 32]) = (read(row)?, row.get(8)?);
            let tenant = noted.tenant.as_deref().map(TenantId::new);
            let entry = AuditEntry {
                at: noted.at,
                tenant: tenant.as_ref(),
                who: &noted.who,
                what: &noted.what,
                target: &noted.target,
                before: &noted.before,
                after: &noted.after,
            };
            count += 1;
            if noted.sequence != count || link(&before, count, &entry) != hash {
                return Err(StoreError::Damaged(format!("audit row {count} does not follow from the one before")));
            }
            before = hash;
        }
        Ok(count)
    }
}

fn link(before: &[u8; 32], sequence: u64, entry: &AuditEntry<'_>) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(before);
    let tenant = entry.tenant.map_or("", TenantId::as_str);
    let named: [&[u8]; 2] = [&sequence.to_be_bytes(), &entry.at.0.to_be_bytes()];
    let texts = [tenant, entry.who, entry.what, entry.target, entry.before, entry.after].map(str::as_bytes);
    for field in named.into_iter().chain(texts) {
        context.update(&(field.len() as u64).to_be_bytes());
        context.update(field);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<AuditRow> {
    Ok(AuditRow {
        sequence: from_sql(row.get(0)?),
        at: UnixMillis(from_sql(row.get(1)?)),
        tenant: row.get(2)?,
        who: row.get(3)?,
        what: row.get(4)?,
        target: row.get(5)?,
        before: row.get(6)?,
        after: row.get(7)?,
    })
}
