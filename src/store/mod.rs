//! The embedded store: what must outlive the process, in one SQLite file (control plane only).
//!
//! Promises: one writer at a time, held by a lock; every commit survives power loss (WAL, synchronous FULL, rule L10); the file
//! belongs to its owner alone; erased rows are overwritten. Every call names its tenant, but for those of [`Admin`] (rule T2),
//! and no SQL text is built from input. It keeps sealed records and digests and never sees a secret.

mod access_keys;
mod admin;
mod alerts;
mod allowances;
mod analytics;
mod audit;
mod backup;
mod budgets;
mod config_history;
mod config_versions;
mod credentials;
mod error;
mod files;
mod fleet_config;
mod history;
mod keyring;
mod machine;
mod rotations;
mod schema;
mod shared;
mod tenants;
mod usage;
mod webhooks;

pub use access_keys::{AccessKeyRow, NewAccessKey, StoredAccessKey};
pub use admin::Admin;
pub use alerts::{AlertFilter, AlertRow, NewAlert};
pub use allowances::{HolderName, RateState};
pub use analytics::{Bucket, Dimension, RollupReader, Spans, SumQuestion, SumRow, Sums};
pub use audit::{AuditEntry, AuditFilter, AuditHead, AuditRow};
pub use budgets::{BudgetMark, BudgetOrigin, BudgetRow};
pub use config_history::{ConfigHistory, Reverted, StoredText, StoredTrust, TextState};
pub use config_versions::{Accepted, ConfigVersion};
pub use credentials::{CredentialRow, CredentialState, CredentialStep, NewCredential, Origin};
pub use error::StoreError;
pub use fleet_config::{FleetConfig, FleetConfigs};
pub use history::HourSum;
pub use machine::{MachineLease, MachineRow};
pub use rotations::RotationRow;
pub use shared::{Adopted, Column, ESTATE, Kind, News, RowChange, ShareError, Shared, Table, Value};
pub use usage::{Ingested, UsageBatch, UsageFilter, UsageRow};
pub use webhooks::{DeliveryRow, DeliveryState, NewDelivery, WebhookRow};

use crate::limits::STORE_BUSY_DEADLINE;
use crate::vault::AuditKey;
use files::Lock;
use rusqlite::{Connection, OptionalExtension};
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The open store. Dropping it releases the lock.
pub struct Store {
    connection: Connection,
    /// Erased bytes still lie in the log, because a transaction was open when they were erased.
    flush_due: Cell<bool>,
    /// Binds the audit log; there once the hierarchy is open. It cannot be read out of its type.
    audit_key: Option<Arc<AuditKey>>,
    /// Held for as long as the connection, but by who only reads; the field order closes the connection first. `None` also while the
    /// store is released.
    lock: Option<Lock>,
    /// The other machines, where the estate is shared.
    share: Option<shared::Share>,
}

impl Store {
    /// Opens the store, making it and its directory when they are missing, and brings its tables up to date.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it, [`StoreError::TooNew`], [`StoreError::Foreign`], [`StoreError::Copy`],
    /// [`StoreError::File`], [`StoreError::Database`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self::open_copy(path)?;
        // Changed by itself, a copy would tell another story than the database it is of.
        if shared::position(&store.connection)?.is_some() {
            Err(StoreError::Copy { path: path.to_owned() })
        } else {
            Ok(store)
        }
    }

    /// As [`Store::open`], for a file that is or shall be the copy of what machines share: [`Store::share`] says of which.
    ///
    /// # Errors
    /// As there, but for [`StoreError::Copy`].
    pub fn open_copy(path: &Path) -> Result<Self, StoreError> {
        let lock = files::prepare(path)?;
        let mut connection = Connection::open(path)?;
        schema::configure(&connection)?;
        schema::migrate(&mut connection, path)?;
        let store = Self { connection, flush_due: Cell::new(false), audit_key: None, lock: Some(lock), share: None };
        // A crash may have left erased rows in the log.
        store.flush_log()?;
        Ok(store)
    }

    /// Closes the file and releases the lock, for another process (rule S3). From here on every call fails until
    /// [`Store::take_back`]: there are no tables behind it.
    ///
    /// # Errors
    /// [`StoreError::Database`]; then the store is open as before.
    pub fn release(&mut self) -> Result<(), StoreError> {
        self.flush_log()?;
        let nothing = Connection::open_in_memory()?;
        let open = std::mem::replace(&mut self.connection, nothing);
        if let Err((open, error)) = open.close() {
            self.connection = open;
            return Err(error.into());
        }
        self.lock = None;
        Ok(())
    }

    /// Opens a released store again.
    ///
    /// # Errors
    /// As [`Store::open`]; then it is still released.
    pub fn take_back(&mut self, path: &Path) -> Result<(), StoreError> {
        if self.lock.is_none() {
            let mut open = Self::open_copy(path)?;
            open.audit_key = self.audit_key.take();
            if let Some(share) = self.share.take() {
                open.share_again(share)?;
            }
            *self = open;
        }
        Ok(())
    }

    /// The calls that see every tenant: snapshots, ingest, rotation of master keys.
    pub fn admin(&mut self) -> Admin<'_> {
        Admin::new(self)
    }

    /// Checks every page and index, as `igris vault verify` does. Takes seconds on a large store.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] with SQLite's first finding.
    pub fn verify(&self) -> Result<(), StoreError> {
        let finding: String = self.connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if finding != "ok" {
            return Err(StoreError::Damaged(finding));
        }
        let orphan =
            self.connection.query_row("PRAGMA foreign_key_check", [], |row| row.get::<_, String>(0)).optional()?;
        orphan.map_or(Ok(()), |table| Err(StoreError::Damaged(format!("a row of {table} points at nothing"))))
    }

    /// Runs many calls as one transaction: an error from `work` undoes all of them, and there is one sync instead of one a call.
    /// A key ring is adopted after the end, never within: it would be ahead of what may yet be undone.
    ///
    /// # Errors
    /// Whatever `work` answers; [`StoreError::Database`] when the transaction cannot begin or end, then nothing changed.
    pub fn all_or_nothing<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&mut Store) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut whole = self.write()?;
        let answer = work(whole.store())?;
        whole.commit()?;
        if self.flush_due.get() {
            self.flush_log()?;
        }
        Ok(answer)
    }

    /// Moves what the write-ahead log holds into the file and empties the log, so that erased bytes are gone from both; after
    /// the end of the transaction, if one is open, and after the end of a reader, if one reads: nobody waits for it here, and
    /// [`Store::flush_if_due`] takes it up.
    pub(crate) fn flush_log(&self) -> Result<(), StoreError> {
        self.flush_due.set(true);
        if self.connection.is_autocommit() {
            self.connection.busy_timeout(Duration::ZERO)?;
            let busy = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
            self.connection.busy_timeout(STORE_BUSY_DEADLINE)?;
            self.flush_due.set(busy?);
        }
        Ok(())
    }

    /// Empties the log if erased bytes are still in it. Costs nothing otherwise; called at every tick.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn flush_if_due(&self) -> Result<(), StoreError> {
        if self.flush_due.get() { self.flush_log() } else { Ok(()) }
    }
}

#[cfg(test)]
pub(crate) mod tests;
