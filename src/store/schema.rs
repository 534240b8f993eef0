//! The tables, as a list of steps that only ever grows at its end.
//!
//! `user_version` says how many steps a file has taken; each step runs once, in a transaction with the number that records it.
//! A file from a newer build is refused, never guessed at.

mod access;
mod alerts;
mod allowances;
mod books;
mod config;
mod estate;
mod fleet_config;
mod machine;
mod rotations;
mod shared;
mod tables;
mod told;
mod vault;

use super::error::StoreError;
use crate::limits::STORE_BUSY_DEADLINE;
use rusqlite::Connection;
use std::path::Path;

/// Sets what must hold for every connection before the first statement.
pub(super) fn configure(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(STORE_BUSY_DEADLINE)?;
    // secure_delete overwrites erased rows with zeros; temporary tables stay off the disk.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA secure_delete = ON;
         PRAGMA foreign_keys = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA temp_store = MEMORY;
         PRAGMA cell_size_check = ON;",
    )?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// The same for a connection that only reads.
pub(super) fn configure_reading(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(STORE_BUSY_DEADLINE)?;
    connection.execute_batch(
        "PRAGMA query_only = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA temp_store = MEMORY;
         PRAGMA cell_size_check = ON;",
    )?;
    Ok(())
}

/// Refuses tables of another build or program, and changes nothing.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let known = u32::try_from(STEPS.len()).unwrap_or(u32::MAX);
    match version(connection, path)? {
        found if found == known => Ok(()),
        0 => Err(StoreError::Foreign { path: path.to_owned() }),
        found => Err(StoreError::TooOld { path: path.to_owned(), found, known }),
    }
}

/// How many steps a file has taken; 0 for an empty one.
fn version(connection: &Connection, path: &Path) -> Result<u32, StoreError> {
    let known = u32::try_from(STEPS.len()).unwrap_or(u32::MAX);
    let application: u32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION && (tables > 0 || found > 0) {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    if found > known {
        return Err(StoreError::TooNew { path: path.to_owned(), found, known });
    }
    Ok(found)
}

/// Brings the tables up to date.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let mut version = version(connection, path)?;
    for step in STEPS.iter().skip(usize::try_from(version).unwrap_or(usize::MAX)) {
        version += 1;
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

/// `IGRS`, as `file(1)` and a second program on the same path can tell.
const APPLICATION: u32 = 0x4947_5253;

/// In their order. Never edit a step that was released: add one at the end.
const STEPS: &[&str] = &[
    tables::STEP,
    rotations::STEP,
    allowances::STEP,
    config::STEP,
    vault::STEP,
    access::STEP,
    estate::STEP,
    books::STEP,
    alerts::STEP,
    shared::STEP,
    told::STEP,
    fleet_config::STEP,
    machine::STEP,
];
