//! Credentials as rows: a sealed record and what may be shown beside it.
//!
//! A lookup uses tenant and id together (rule V7). Revoking erases the sealed record in the same statement, so that no state
//! exists in which a revoked credential could still be opened.
//!
//! ```text
//! pending -> active -> retiring -> revoked      (any living state may go straight to revoked)
//! ```

use super::error::{StoreError, damaged, from_sql, to_sql};
use super::{Admin, Store};
use crate::domain::clock::UnixMillis;
use crate::domain::id::{CredentialId, ProviderId, TenantId};
use crate::vault::keyring::WrappedDataKey;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Where a credential stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialState {
    /// Stored, not yet in use.
    Pending,
    /// In use.
    Active,
    /// Replaced, and still a fallback.
    Retiring,
    /// Erased: nothing is left but this row.
    Revoked,
}

/// Who brought a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The keys API: it stays until it is removed there.
    Api,
    /// Configuration or environment: it goes when they no longer name it.
    Config,
    /// The API, by a rotation of a key that configuration had brought: it serves whom that one served and stays like one of the API.
    Rotated,
}

/// One row, without the tenant that asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialRow {
    /// Its id.
    pub id: CredentialId,
    /// Whose key it is.
    pub provider: ProviderId,
    /// The address it was sealed for (rule T5).
    pub base_url: String,
    /// Where it stands.
    pub state: CredentialState,
    /// Who brought it.
    pub origin: Origin,
    /// Grows each time the record is sealed anew.
    pub generation: u64,
    /// The active master key when it was sealed; part of the record's place.
    pub kek_version: u32,
    /// The sealed record; `None` once revoked.
    pub record: Option<Vec<u8>>,
    /// Redacted form, `prefix…last4`.
    pub display: String,
    /// Whole-exchange timeout in milliseconds.
    pub timeout_ms: u32,
    /// Retries after the first attempt.
    pub max_retries: u32,
    /// When it was stored.
    pub created: UnixMillis,
    /// When it was revoked.
    pub retired: Option<UnixMillis>,
}

/// A credential to store, with the count of its data key after sealing it.
#[derive(Debug)]
pub struct NewCredential<'a> {
    /// The row; its record must be there.
    pub row: &'a CredentialRow,
    /// Generation of the data key that sealed it.
    pub data_key_generation: u64,
    /// Seals of that data key, this one included.
    pub seals: u64,
}

/// One change of state, refused unless the credential is in `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialStep {
    /// Which credential.
    pub id: CredentialId,
    /// The state it must be in.
    pub from: CredentialState,
    /// The state it goes to.
    pub to: CredentialState,
}

// === impl CredentialState ===

impl CredentialState {
    /// The name in the store and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Revoked => "revoked",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Pending, Self::Active, Self::Retiring, Self::Revoked].into_iter().find(|state| state.name() == name)
    }
}

// === impl Origin ===

impl Origin {
    /// As stored: who brought it first, and whether a rotation did.
    const fn columns(self) -> (&'static str, bool) {
        match self {
            Self::Api => ("api", false),
            Self::Config => ("config", false),
            Self::Rotated => ("config", true),
        }
    }

    fn parse(origin: &str, rotated: bool) -> Self {
        match (origin, rotated) {
            ("config", true) => Self::Rotated,
            ("config", false) => Self::Config,
            _ => Self::Api,
        }
    }
}

// === impl Store ===

impl Store {
    /// Stores a sealed credential and its data key's count in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when the data key is not the one it was sealed with, or sealed something in between.
    pub fn insert_credential(&mut self, tenant: &TenantId, new: &NewCredential<'_>) -> Result<(), StoreError> {
        let transaction = self.write()?;
        store_count(&transaction, tenant, new.data_key_generation, new.seals)?;
        let row = new.row;
        let (origin, rotated) = row.origin.columns();
        transaction.execute(
            "INSERT INTO credentials VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, NULL, ?14)",
            params![
                row.id.bits().to_be_bytes(),
                tenant.as_str(),
                row.provider.as_str(),
                row.base_url,
                row.state.name(),
                origin,
                to_sql(row.generation),
                row.kek_version,
                row.record,
                row.display,
                row.timeout_ms,
                row.max_retries,
                to_sql(row.created.0),
                rotated,
            ],
        )?;
        transaction.commit()
    }

    /// Makes a key that came by a rotation one of the configuration, which names it by now.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also when it is another tenant's or revoked.
    pub fn adopt_credential(&mut self, tenant: &TenantId, id: CredentialId) -> Result<(), StoreError> {
        let sql = "UPDATE credentials SET rotated = 0 WHERE tenant = ?1 AND id = ?2 AND record IS NOT NULL";
        let changed = self.change(sql, params![tenant.as_str(), id.bits().to_be_bytes()])?;
        if changed == 1 { Ok(()) } else { Err(StoreError::NotFound("provider key")) }
    }

    /// One credential of this tenant.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also when it is another tenant's (rule T1).
    pub fn credential(&self, tenant: &TenantId, id: CredentialId) -> Result<CredentialRow, StoreError> {
        let sql = select(" WHERE tenant = ?1 AND id = ?2");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let row = statement.query_row(params![tenant.as_str(), id.bits().to_be_bytes()], |row| Ok(read(row)));
        row.optional()?.ok_or(StoreError::NotFound("provider key"))?
    }

    /// This tenant's credentials, oldest first, of one provider or of all.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn credentials(
        &self,
        tenant: &TenantId,
        provider: Option<&ProviderId>,
    ) -> Result<Vec<CredentialRow>, StoreError> {
        let sql = select(" WHERE tenant = ?1 AND (?2 IS NULL OR provider = ?2) ORDER BY created, id");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![tenant.as_str(), provider.map(ProviderId::as_str)])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    /// Changes the limits of a living credential; its record stays.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also when it is another tenant's or revoked.
    pub fn configure_credential(
        &mut self,
        tenant: &TenantId,
        id: CredentialId,
        timeout_ms: u32,
        max_retries: u32,
    ) -> Result<(), StoreError> {
        let changed = self.change(
            "UPDATE credentials SET timeout_ms = ?3, max_retries = ?4 WHERE tenant = ?1 AND id = ?2 AND record IS NOT NULL",
            params![tenant.as_str(), id.bits().to_be_bytes(), timeout_ms, max_retries],
        )?;
        if changed == 1 { Ok(()) } else { Err(StoreError::NotFound("provider key")) }
    }

    /// Moves credentials, all or none.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when one is not in its `from` state, or not this tenant's.
    pub fn move_credentials(
        &mut self,
        tenant: &TenantId,
        steps: &[CredentialStep],
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let transaction = self.write()?;
        apply(&transaction, tenant, steps, now)?;
        transaction.commit()?;
        if steps.iter().any(|step| step.to == CredentialState::Revoked) {
            self.flush_log()?;
        }
        Ok(())
    }

    /// Puts a tenant on another data key, with every living record sealed anew under it, in one transaction (rule V6).
    ///
    /// # Errors
    /// [`StoreError::Changed`] when a record was added or removed since `resealed` was made.
    pub fn replace_data_key(
        &mut self,
        tenant: &TenantId,
        key: &WrappedDataKey,
        resealed: &[CredentialRow],
    ) -> Result<(), StoreError> {
        let transaction = self.write()?;
        let sql = "SELECT count(*) FROM credentials WHERE tenant = ?1 AND record IS NOT NULL";
        let living: i64 = transaction.query_row(sql, [tenant.as_str()], |row| row.get(0))?;
        for row in resealed {
            let changed = transaction.execute(
                "UPDATE credentials SET generation = ?3, kek_version = ?4, record = ?5
                 WHERE tenant = ?1 AND id = ?2 AND record IS NOT NULL AND generation = ?3 - 1",
                params![
                    tenant.as_str(),
                    row.id.bits().to_be_bytes(),
                    to_sql(row.generation),
                    row.kek_version,
                    row.record
                ],
            )?;
            if changed != 1 {
                return Err(StoreError::Changed("provider key"));
            }
        }
        let changed = transaction.execute(
            "UPDATE tenants SET dek_generation = ?2, dek_kek_version = ?3, dek_record = ?4, dek_seals = ?5
             WHERE id = ?1 AND destroyed IS NULL AND dek_generation = ?2 - 1",
            params![tenant.as_str(), to_sql(key.generation), key.kek_version, key.record, to_sql(key.seals)],
        )?;
        if changed != 1 || from_sql(living) != u64::try_from(resealed.len()).unwrap_or(u64::MAX) {
            return Err(StoreError::Changed("tenant's data key"));
        }
        transaction.commit()?;
        self.flush_log()
    }
}

// === impl Admin ===

impl Admin<'_> {
    /// Every living credential with its tenant's data key, tenant by tenant, one row in memory at a time; of all tenants or of one.
    ///
    /// # Errors
    /// Whatever `each` answers; [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn for_each_credential<E: From<StoreError>>(
        &mut self,
        of: Option<&TenantId>,
        mut each: impl FnMut(&TenantId, &WrappedDataKey, CredentialRow) -> Result<(), E>,
    ) -> Result<(), E> {
        let connection = &self.store.connection;
        let sql = match of {
            Some(_) => format!("SELECT {COLUMNS}, {WITH_DATA_KEY} WHERE tenant = ?1 AND {IN_ORDER}"),
            None => format!("SELECT {COLUMNS}, {WITH_DATA_KEY} WHERE ?1 IS NULL AND {IN_ORDER}"),
        };
        let mut statement = connection.prepare_cached(&sql).map_err(StoreError::from)?;
        let mut rows = statement.query([of.map(TenantId::as_str)]).map_err(StoreError::from)?;
        let mut current: Option<(TenantId, WrappedDataKey)> = None;
        while let Some(row) = rows.next().map_err(StoreError::from)? {
            let (tenant, key) = with_tenant(current.take(), row)?;
            each(&tenant, &key, read(row)?)?;
            current = Some((tenant, key));
        }
        Ok(())
    }

    /// The providers that living credentials are for, by name. Costs as many look-ups as there are providers, however many credentials.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn keyed_providers(&mut self) -> Result<Vec<String>, StoreError> {
        let sql = "WITH RECURSIVE names (name) AS (
                       SELECT min(provider) FROM credentials WHERE record IS NOT NULL
                       UNION ALL
                       SELECT (SELECT min(provider) FROM credentials WHERE record IS NOT NULL AND provider > name)
                       FROM names WHERE name IS NOT NULL)
                   SELECT name FROM names WHERE name IS NOT NULL";
        let mut statement = self.store.connection.prepare_cached(sql)?;
        let names = statement.query_map([], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }
}

/// What a credential's secret is opened with, beside its own columns.
const WITH_DATA_KEY: &str = "tenant, dek_generation, dek_kek_version, dek_record, dek_seals
     FROM credentials JOIN tenants ON tenants.id = credentials.tenant";
/// The living ones, tenant by tenant.
const IN_ORDER: &str = "record IS NOT NULL AND destroyed IS NULL
     ORDER BY tenant, provider, credentials.created, credentials.id";

/// The tenant of this row, kept from the row before when it is the same.
fn with_tenant(
    before: Option<(TenantId, WrappedDataKey)>,
    row: &Row<'_>,
) -> Result<(TenantId, WrappedDataKey), StoreError> {
    let name = row.get_ref(COLUMN_COUNT)?.as_str().map_err(|_| damaged("a tenant's name"))?;
    if let Some(same) = before.filter(|(tenant, _)| tenant.as_str() == name) {
        return Ok(same);
    }
    let key = WrappedDataKey {
        generation: from_sql(row.get(COLUMN_COUNT + 1)?),
        kek_version: row.get(COLUMN_COUNT + 2)?,
        record: row.get(COLUMN_COUNT + 3)?,
        seals: from_sql(row.get(COLUMN_COUNT + 4)?),
    };
    Ok((TenantId::new(name), key))
}

/// Applies steps inside someone's transaction.
pub(super) fn apply(
    transaction: &Connection,
    tenant: &TenantId,
    steps: &[CredentialStep],
    now: UnixMillis,
) -> Result<(), StoreError> {
    for step in steps {
        let erase = step.to == CredentialState::Revoked;
        let changed = transaction.execute(
            "UPDATE credentials SET state = ?4, record = CASE WHEN ?5 THEN NULL ELSE record END,
                 retired = CASE WHEN ?5 THEN ?6 ELSE retired END
             WHERE tenant = ?1 AND id = ?2 AND state = ?3",
            params![
                tenant.as_str(),
                step.id.bits().to_be_bytes(),
                step.from.name(),
                step.to.name(),
                erase,
                to_sql(now.0)
            ],
        )?;
        if changed != 1 {
            return Err(StoreError::Changed("provider key"));
        }
    }
    Ok(())
}

fn store_count(transaction: &Connection, tenant: &TenantId, generation: u64, seals: u64) -> Result<(), StoreError> {
    let changed = transaction.execute(
        "UPDATE tenants SET dek_seals = ?3
         WHERE id = ?1 AND destroyed IS NULL AND dek_generation = ?2 AND dek_seals = ?3 - 1",
        params![tenant.as_str(), to_sql(generation), to_sql(seals)],
    )?;
    if changed == 1 { Ok(()) } else { Err(StoreError::Changed("tenant's data key")) }
}

/// The select of all columns with a fixed tail; the tail is a literal of this file, never input.
fn select(tail: &'static str) -> String {
    format!("SELECT {COLUMNS} FROM credentials{tail}")
}

fn read(row: &Row<'_>) -> Result<CredentialRow, StoreError> {
    let state: String = row.get(3)?;
    let origin: String = row.get(4)?;
    Ok(CredentialRow {
        id: CredentialId::from_bits(u128::from_be_bytes(row.get(0)?)),
        provider: ProviderId::new(row.get_ref(1)?.as_str().map_err(|_| damaged("a provider's name"))?),
        base_url: row.get(2)?,
        state: CredentialState::parse(&state).ok_or_else(|| damaged("a credential's state"))?,
        origin: Origin::parse(&origin, row.get(13)?),
        generation: from_sql(row.get(5)?),
        kek_version: row.get(6)?,
        record: row.get(7)?,
        display: row.get(8)?,
        timeout_ms: row.get(9)?,
        max_retries: row.get(10)?,
        created: UnixMillis(from_sql(row.get(11)?)),
        retired: row.get::<_, Option<i64>>(12)?.map(|at| UnixMillis(from_sql(at))),
    })
}

const COLUMNS: &str = "credentials.id, provider, base_url, state, origin, generation, kek_version, record, display, \
                       timeout_ms, max_retries, credentials.created, retired, rotated";
const COLUMN_COUNT: usize = 14;
