//! Rotations as rows: each step of the state machine and the credential states it implies in one transaction (rule V8).
//!
//! What the states mean belongs to the control plane; the store only keeps them, one open rotation a credential.

use super::credentials::{CredentialState, CredentialStep, apply};
use super::error::{StoreError, damaged, from_sql, to_sql};
use super::{Admin, Store};
use crate::domain::clock::UnixMillis;
use crate::domain::id::{CredentialId, ProviderId, RotationId, TenantId};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// One rotation, without the tenant that asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationRow {
    /// Its id.
    pub id: RotationId,
    /// Whose key turns.
    pub provider: ProviderId,
    /// The credential that goes.
    pub old: CredentialId,
    /// The credential that comes.
    pub new: CredentialId,
    /// The state's name.
    pub state: String,
    /// Whether it still has steps to take.
    pub open: bool,
    /// Counters and reasons as JSON, opaque to the store; no secret belongs there.
    pub detail: String,
    /// When it began.
    pub created: UnixMillis,
    /// When its grace ends.
    pub deadline: UnixMillis,
    /// When it last moved.
    pub updated: UnixMillis,
}

impl Store {
    /// Begins a rotation together with the credential states it implies.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the old credential is rotating already; [`StoreError::NotFound`] when either credential is not
    /// a living one of this tenant and provider; [`StoreError::Changed`] from the steps.
    pub fn begin_rotation(
        &mut self,
        tenant: &TenantId,
        row: &RotationRow,
        steps: &[CredentialStep],
    ) -> Result<(), StoreError> {
        let transaction = self.write()?;
        let (old, new) = (row.old.bits().to_be_bytes(), row.new.bits().to_be_bytes());
        // A new key that has left `pending` is nobody's but the old one's matter any more, and may itself be replaced.
        let rotating = "SELECT 1 FROM rotations JOIN credentials ON credentials.id = new_credential
                        WHERE open = 1 AND (old_credential IN (?1, ?2)
                            OR (new_credential IN (?1, ?2) AND credentials.state = 'pending'))";
        if transaction.prepare_cached(rotating)?.exists(params![old, new])? {
            return Err(StoreError::Exists("rotation"));
        }
        let living = "SELECT count(*) FROM credentials
                      WHERE tenant = ?1 AND provider = ?2 AND id IN (?3, ?4) AND record IS NOT NULL";
        let values = params![tenant.as_str(), row.provider.as_str(), old, new];
        if transaction.query_row(living, values, |row| row.get::<_, i64>(0))? != 2 {
            return Err(StoreError::NotFound("provider key"));
        }
        apply(&transaction, tenant, steps, row.updated)?;
        transaction.execute(
            "INSERT INTO rotations VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                row.id.bits().to_be_bytes(),
                tenant.as_str(),
                row.provider.as_str(),
                old,
                new,
                row.state,
                row.open,
                row.detail,
                to_sql(row.created.0),
                to_sql(row.deadline.0),
                to_sql(row.updated.0),
            ],
        )?;
        transaction.commit()
    }

    /// Takes one step: refused unless the rotation is open and in state `from`.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when it has moved on, or is not this tenant's.
    pub fn step_rotation(
        &mut self,
        tenant: &TenantId,
        from: &str,
        row: &RotationRow,
        steps: &[CredentialStep],
    ) -> Result<(), StoreError> {
        let transaction = self.write()?;
        write_step(&transaction, tenant, from, row)?;
        apply(&transaction, tenant, steps, row.updated)?;
        transaction.commit()?;
        if steps.iter().any(|step| step.to == CredentialState::Revoked) {
            self.flush_log()?;
        }
        Ok(())
    }

    /// One rotation of this tenant.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also when it is another tenant's.
    pub fn rotation(&self, tenant: &TenantId, id: RotationId) -> Result<RotationRow, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM rotations WHERE tenant = ?1 AND id = ?2");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let row = statement.query_row(params![tenant.as_str(), id.bits().to_be_bytes()], |row| Ok(read(row)));
        row.optional()?.ok_or(StoreError::NotFound("rotation"))?
    }

    /// This tenant's rotations, oldest first, of one provider or of all.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn rotations(&self, tenant: &TenantId, provider: Option<&ProviderId>) -> Result<Vec<RotationRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM rotations WHERE tenant = ?1 AND (?2 IS NULL OR provider = ?2) ORDER BY created, id"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![tenant.as_str(), provider.map(ProviderId::as_str)])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }
}

// === Keys that were rotated away ===

impl Store {
    /// Remembers the text of a key that was rotated away, as a digest under a pepper.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn retire_key(
        &mut self,
        tenant: &TenantId,
        provider: &ProviderId,
        (pepper_version, digest): (u32, &[u8; 32]),
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO retired_keys VALUES (?1, ?2, ?3, ?4, ?5)";
        let values = params![tenant.as_str(), provider.as_str(), pepper_version, digest, to_sql(now.0)];
        self.change(sql, values)?;
        Ok(())
    }

    /// Whether a text was rotated away, by its digest.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn is_retired_key(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        digest: &[u8; 32],
    ) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM retired_keys WHERE tenant = ?1 AND provider = ?2 AND digest = ?3";
        Ok(self.connection.prepare_cached(sql)?.exists(params![tenant.as_str(), provider.as_str(), digest])?)
    }

    /// Forgets that a text was rotated away: somebody wants it back.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn readmit_key(
        &mut self,
        tenant: &TenantId,
        provider: &ProviderId,
        digest: &[u8; 32],
    ) -> Result<(), StoreError> {
        let sql = "DELETE FROM retired_keys WHERE tenant = ?1 AND provider = ?2 AND digest = ?3";
        self.change(sql, params![tenant.as_str(), provider.as_str(), digest])?;
        Ok(())
    }
}

impl Admin<'_> {
    /// Every open rotation, to be taken up after a start and at each deadline.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn open_rotations(&mut self) -> Result<Vec<(TenantId, RotationRow)>, StoreError> {
        let sql = format!("SELECT {COLUMNS}, tenant FROM rotations WHERE open = 1 ORDER BY deadline, id");
        let mut statement = self.store.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let tenant = row.get_ref(10)?.as_str().map_err(|_| damaged("a tenant's name"))?;
            found.push((TenantId::new(tenant), read(row)?));
        }
        Ok(found)
    }
}

fn write_step(transaction: &Connection, tenant: &TenantId, from: &str, row: &RotationRow) -> Result<(), StoreError> {
    let changed = transaction.execute(
        "UPDATE rotations SET state = ?4, open = ?5, detail = ?6, deadline = ?7, updated = ?8
         WHERE tenant = ?1 AND id = ?2 AND state = ?3 AND open = 1",
        params![
            tenant.as_str(),
            row.id.bits().to_be_bytes(),
            from,
            row.state,
            row.open,
            row.detail,
            to_sql(row.deadline.0),
            to_sql(row.updated.0),
        ],
    )?;
    if changed == 1 { Ok(()) } else { Err(StoreError::Changed("rotation")) }
}

fn read(row: &Row<'_>) -> Result<RotationRow, StoreError> {
    Ok(RotationRow {
        id: RotationId::from_bits(u128::from_be_bytes(row.get(0)?)),
        provider: ProviderId::new(row.get_ref(1)?.as_str().map_err(|_| damaged("a provider's name"))?),
        old: CredentialId::from_bits(u128::from_be_bytes(row.get(2)?)),
        new: CredentialId::from_bits(u128::from_be_bytes(row.get(3)?)),
        state: row.get(4)?,
        open: row.get(5)?,
        detail: row.get(6)?,
        created: UnixMillis(from_sql(row.get(7)?)),
        deadline: UnixMillis(from_sql(row.get(8)?)),
        updated: UnixMillis(from_sql(row.get(9)?)),
    })
}

const COLUMNS: &str = "id, provider, old_credential, new_credential, state, open, detail, created, deadline, updated";
