//! Which signed configurations were accepted, so that an older one never comes back (rule C3).
//!
//! The version is stored durably before the configuration is published.

use super::Admin;
use super::error::{StoreError, from_sql, to_sql};
use crate::domain::clock::UnixMillis;
use crate::limits::CONFIG_VERSION_LEAP_MAX;
use rusqlite::{OptionalExtension, params};

/// A configuration that is offered, or the newest that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigVersion {
    /// Which line of configurations.
    pub config_id: String,
    /// Its number in that line.
    pub version: u64,
    /// SHA-512 of the body.
    pub hash: [u8; 64],
}

/// What became of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is the newest now.
    New,
    /// It was the newest already: nothing to do (rule C6).
    Same,
    /// Older than the newest: refused.
    Older,
    /// The newest's number with another body: refused.
    Different,
    /// Further ahead than versions grow: refused, because no later one could follow (rule C4).
    Leap,
}

impl Admin<'_> {
    /// Judges a configuration by its version and, if it is new, stores that before answering.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn accept_config(&mut self, offer: &ConfigVersion, now: UnixMillis) -> Result<Accepted, StoreError> {
        if let Some(newest) = self.newest_config(&offer.config_id)? {
            let verdict = match offer.version.checked_sub(newest.version) {
                None => Accepted::Older,
                Some(0) if offer.hash == newest.hash => Accepted::Same,
                Some(0) => Accepted::Different,
                Some(leap) if leap > CONFIG_VERSION_LEAP_MAX => Accepted::Leap,
                Some(_) => Accepted::New,
            };
            if verdict != Accepted::New {
                return Ok(verdict);
            }
        } else if offer.version > CONFIG_VERSION_LEAP_MAX {
            return Ok(Accepted::Leap);
        }
        let values = params![offer.config_id, to_sql(offer.version), offer.hash, to_sql(now.0)];
        self.store.connection.execute("INSERT INTO config_versions VALUES (?1, ?2, ?3, ?4)", values)?;
        Ok(Accepted::New)
    }

    /// The newest accepted configuration of this line.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn newest_config(&mut self, config_id: &str) -> Result<Option<ConfigVersion>, StoreError> {
        let sql = "SELECT version, hash FROM config_versions WHERE config_id = ?1 ORDER BY version DESC LIMIT 1";
        let mut statement = self.store.connection.prepare_cached(sql)?;
        let row = statement.query_row([config_id], |row| {
            Ok(ConfigVersion { config_id: config_id.to_owned(), version: from_sql(row.get(0)?), hash: row.get(1)? })
        });
        Ok(row.optional()?)
    }
}
