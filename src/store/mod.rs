//! The embedded store: what must outlive the process, in one SQLite file (control plane only).
//!
//! Promises: one writer at a time, held by a lock; every commit survives power loss (WAL, synchronous FULL, rule L10); the file
//! belongs to its owner alone; erased rows are overwritten. Every call names its tenant, but for those of [`Admin`] (rule T2),
//! and no SQL text is built from input. It keeps sealed records and digests and never sees a secret.

mod access_keys;
mod admin;
mod audit;
mod config_versions;
mod credentials;
mod error;
mod files;
mod keyring;
mod rotations;
mod schema;
mod tenants;
mod usage;

pub use access_keys::{AccessKeyRow, NewAccessKey, StoredAccessKey};
pub use admin::Admin;
pub use audit::{AuditEntry, AuditRow};
pub use config_versions::{Accepted, ConfigVersion};
pub use credentials::{CredentialRow, CredentialState, CredentialStep, NewCredential, Origin};
pub use error::StoreError;
pub use rotations::RotationRow;
pub use usage::{Ingested, UsageBatch, UsageFilter, UsageRow};

use files::Lock;
use rusqlite::Connection;
use std::cell::Cell;
use std::path::Path;

/// The open store. Dropping it releases the lock.
pub struct Store {
    connection: Connection,
    /// Erased bytes still lie in the log, because a transaction was open when they were erased.
    flush_due: Cell<bool>,
    /// Held for as long as the connection; the field order closes the connection first.
    _lock: Lock,
}

/// A transaction over many calls; dropped without its end, also by a panic, it undoes them.
struct Whole<'s>(&'s mut Store);

impl Store {
    /// Opens the store, making it and its directory when they are missing, and brings its tables up to date.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it, [`StoreError::TooNew`], [`StoreError::Foreign`],
    /// [`StoreError::File`], [`StoreError::Database`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = files::prepare(path)?;
        let mut connection = Connection::open(path)?;
        schema::configure(&connection)?;
        schema::migrate(&mut connection, path)?;
        let store = Self { connection, flush_due: Cell::new(false), _lock: lock };
        // A crash may have left erased rows in the log.
        store.flush_log()?;
        Ok(store)
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
        if finding == "ok" { Ok(()) } else { Err(StoreError::Damaged(finding)) }
    }

    /// Runs many calls as one transaction: an error from `work` undoes all of them, and there is one sync instead of one a call.
    /// Not for the rotations of root and master keys, whose key ring would be ahead of what was undone.
    ///
    /// # Errors
    /// Whatever `work` answers; [`StoreError::Database`] when the transaction cannot begin or end, then nothing changed.
    pub fn all_or_nothing<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&mut Store) -> Result<T, E>,
    ) -> Result<T, E> {
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::from)?;
        let whole = Whole(self);
        let answer = work(whole.0)?;
        whole.0.connection.execute_batch("COMMIT").map_err(StoreError::from)?;
        drop(whole);
        if self.flush_due.get() {
            self.flush_log()?;
        }
        Ok(answer)
    }

    /// Moves what the write-ahead log holds into the file and empties the log, so that erased bytes are gone from both; after
    /// the end of the transaction, if one is open.
    pub(crate) fn flush_log(&self) -> Result<(), StoreError> {
        self.flush_due.set(!self.connection.is_autocommit());
        if self.connection.is_autocommit() {
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        }
        Ok(())
    }
}

// === impl Whole ===

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        if !self.0.connection.is_autocommit() {
            // A rollback that fails leaves the transaction to be undone when the connection closes: nothing was committed.
            let _ = self.0.connection.execute_batch("ROLLBACK");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
