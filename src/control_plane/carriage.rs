//! An estate carried between a file of one machine and a database that several share, with the gateways stopped.
//!
//! What is shared is carried: tenants, keys, rotations, the key hierarchy, budgets, webhooks, the audit log. Everything in it is sealed or a
//! digest as before; the root key stays where it is. The books of a machine's own journal stay in its file.

use super::ControlError;
use super::Environment;
use super::fleet::place;
use crate::config::{Database, Store as StorePlace};
use crate::fleet::{Fleet, FleetError};
use crate::store::{News, RowChange, Store, StoreError};
use crate::vault::{Entropy, OsEntropy};
use serde::Serialize;
use std::collections::HashSet;
use std::path::Path;
use tokio::sync::mpsc;

/// What a carriage came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// Rows of shared tables.
    pub rows: usize,
    /// The generation of the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Where the estate is now.
    pub to: String,
    /// What is left to do.
    pub remedy: String,
}

/// Puts the estate of a file into an empty database, and makes the file this machine's copy of it. Cut in between, it may be called again.
///
/// # Errors
/// The file is a copy already or in use, the database has another estate or cannot be reached.
pub fn migrate(path: &Path, database: &Database, env: &Environment) -> Result<Carried, ControlError> {
    let mut store = Store::open(path)?;
    if !store.has_hierarchy()? {
        let sentence =
            format!("{} has no estate yet; start igris with this configuration, which begins one", path.display());
        return Err(ControlError::Conflict(sentence));
    }
    let rows = store.estate()?;
    let (fleet, id) = meet(database, env)?;
    let generation = match fleet.replace(rows.clone()).map_err(StoreError::from)? {
        Some(generation) => generation,
        // It may be ours, from a call that was cut.
        None => already(&fleet.pull(0).map_err(StoreError::from)?, &rows)?,
    };
    store.become_copy(id, generation)?;
    Ok(Carried {
        rows: rows.len(),
        generation: Some(generation),
        to: "the database of [store] url".to_owned(),
        remedy: format!("start igris; {} is this machine's copy now", path.display()),
    })
}

/// Makes a copy a store of its own, with everything that the database has. The database stays as it is.
///
/// # Errors
/// The file is no copy of this database or in use, or the database cannot be reached.
pub fn migrate_back(path: &Path, database: &Database, env: &Environment) -> Result<Carried, ControlError> {
    let mut store = Store::open_copy(path)?;
    let (fleet, id) = meet(database, env)?;
    store.share(id, Box::new(fleet.clone()))?;
    let news = fleet.pull(store.shared_generation().unwrap_or(0)).map_err(StoreError::from)?;
    store.adopt(&news)?;
    if !store.has_hierarchy()? {
        return Err(ControlError::Conflict("the database has no estate yet; nothing is to be carried".to_owned()));
    }
    let rows = store.estate()?.len();
    store.stand_alone()?;
    Ok(Carried {
        rows,
        generation: Some(news.generation),
        to: path.display().to_string(),
        remedy: format!(
            "set [store] url to \"sqlite:{}\" here, and stop every other machine that used the database",
            path.display()
        ),
    })
}

/// Copies an estate into an empty file or an empty database; where it comes from stays as it is.
///
/// # Errors
/// There is an estate there already, a file is in use, or a database cannot be reached.
pub fn copy(from: &StorePlace, path: &Path, to: &StorePlace, env: &Environment) -> Result<Carried, ControlError> {
    let rows = match from {
        StorePlace::Sqlite(_) => Store::open_reading(path)?.estate()?,
        StorePlace::Database(database) => meet(database, env)?.0.pull(0).map_err(StoreError::from)?.rows,
    };
    if rows.is_empty() {
        return Err(ControlError::Conflict(
            "there is no estate to copy; look at [store] url and --data-dir".to_owned(),
        ));
    }
    let (generation, to) = match to {
        StorePlace::Sqlite(Some(file)) => {
            Store::open(file)?.fill(&rows)?;
            (None, file.display().to_string())
        }
        StorePlace::Sqlite(None) => return Err(ControlError::Invalid("name the file to copy to".to_owned())),
        StorePlace::Database(database) => {
            match meet(database, env)?.0.replace(rows.clone()).map_err(StoreError::from)? {
                Some(generation) => (Some(generation), "the database".to_owned()),
                None => return Err(occupied()),
            }
        }
    };
    let remedy = "the root key is not in it: whoever opens the copy needs the same one".to_owned();
    Ok(Carried { rows: rows.len(), generation, to, remedy })
}

fn meet(database: &Database, env: &Environment) -> Result<(Fleet, [u8; 16]), ControlError> {
    let (sender, _) = mpsc::unbounded_channel();
    let mut fresh = [0; 16];
    OsEntropy.fill(&mut fresh).map_err(StoreError::from)?;
    let refused = |error: FleetError| ControlError::Config(vec![error.to_string()]);
    let fleet = Fleet::start(&place(database, env)?, sender, fresh).map_err(refused)?;
    let id = fleet.met().map_err(refused)?;
    Ok((fleet, id))
}

/// The generation of a database that has exactly these rows.
fn already(news: &News, rows: &[RowChange]) -> Result<u64, ControlError> {
    let ours: HashSet<_> = rows.iter().map(|change| (change.table.name, &change.row)).collect();
    let theirs: HashSet<_> =
        news.rows.iter().filter(|change| change.row.is_some()).map(|change| (change.table.name, &change.row)).collect();
    if ours == theirs { Ok(news.generation) } else { Err(occupied()) }
}

fn occupied() -> ControlError {
    ControlError::Conflict(
        "the database has another estate; name an empty one, or start this machine with an empty --data-dir".to_owned(),
    )
}
