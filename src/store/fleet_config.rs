//! The configuration that all machines of a fleet serve, and which ones it served before.
//!
//! The rows are shared: one is written in the transaction that applies a configuration on the machine that accepted it, and the database
//! puts it in order with all other changes. A text holds references to secrets and never a secret.

use super::error::{StoreError, from_sql, to_sql};
use super::{Admin, StoredText};
use crate::domain::clock::UnixMillis;
use crate::limits::fleet::CONFIGS_KEPT;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// The configuration of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetConfig {
    /// Counted from 1, over all machines.
    pub number: u64,
    /// SHA-256 of the text in hexadecimal digits.
    pub digest: String,
    /// The line of versions it belongs to, if it says so.
    pub config_id: Option<String>,
    /// Its version.
    pub version: u64,
    /// The file.
    pub text: String,
    /// Its `.minisig`, where the machine that accepted it asked for signatures.
    pub signature: Option<String>,
    /// Who brought it.
    pub who: String,
    /// When.
    pub at: UnixMillis,
}

/// What is known of a fleet's configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetConfigs {
    /// The one that counts; `None`: no machine has brought one yet.
    pub newest: Option<FleetConfig>,
    /// Digests of those before it.
    pub older: Vec<String>,
}

impl Admin<'_> {
    /// What this copy knows of the fleet's configurations. Texts can be megabytes: read when one came, at a start and at a reload.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn fleet_configs(&mut self) -> Result<FleetConfigs, StoreError> {
        read(&self.store.connection)
    }

    /// Makes a configuration the fleet's, unless it is already. Those before it lose their texts, and the oldest of them are forgotten.
    /// Part of a change of many calls.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn put_fleet_config(&mut self, text: &StoredText, who: &str, now: UnixMillis) -> Result<(), StoreError> {
        let sql = "SELECT number, digest FROM fleet_config ORDER BY number DESC LIMIT 1";
        let newest = self.store.connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)));
        let (last, digest): (i64, String) = newest.optional()?.unwrap_or_default();
        if digest == text.digest {
            return Ok(());
        }
        let number = last.saturating_add(1);
        let sql = "UPDATE fleet_config SET text = NULL, signature = NULL WHERE text IS NOT NULL";
        self.store.change(sql, [])?;
        let StoredText { digest, config_id, version, text, signature, .. } = text;
        let values = params![number, digest, config_id, to_sql(*version), text, signature, who, to_sql(now.0)];
        self.store.change("INSERT INTO fleet_config VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)", values)?;
        let oldest = number.saturating_sub(to_sql(CONFIGS_KEPT));
        self.store.change("DELETE FROM fleet_config WHERE number < ?1", [oldest])?;
        Ok(())
    }
}

/// Nothing, of a file that was made before there was such a table.
pub(super) fn read(connection: &Connection) -> Result<FleetConfigs, StoreError> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'fleet_config'";
    if connection.query_row(sql, [], |row| row.get::<_, u32>(0))? == 0 {
        return Ok(FleetConfigs::default());
    }
    let sql = "SELECT number, digest, config_id, version, text, signature, who, at FROM fleet_config
               WHERE text IS NOT NULL ORDER BY number DESC LIMIT 1";
    let newest = connection.query_row(sql, [], config).optional()?;
    let mut statement = connection.prepare("SELECT digest FROM fleet_config WHERE text IS NULL ORDER BY number")?;
    let older = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(FleetConfigs { newest, older })
}

fn config(row: &Row<'_>) -> rusqlite::Result<FleetConfig> {
    Ok(FleetConfig {
        number: from_sql(row.get(0)?),
        digest: row.get(1)?,
        config_id: row.get(2)?,
        version: from_sql(row.get(3)?),
        text: row.get(4)?,
        signature: row.get(5)?,
        who: row.get(6)?,
        at: UnixMillis(from_sql(row.get(7)?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{NOW, Place};
    use crate::store::{Store, TextState};

    fn text(digest: &str) -> StoredText {
        StoredText {
            digest: digest.to_owned(),
            config_id: None,
            version: 7,
            state: TextState::Good,
            watch_ms: 0,
            text: format!("# {digest}\nversion = 7\n"),
            signature: None,
            trust: None,
        }
    }

    #[test]
    fn the_newest_counts_and_those_before_it_are_known_as_old() {
        let place = Place::new("fleet-config");
        let (mut store, _) = place.open();
        let mut put = |digest: &str| {
            store.all_or_nothing(|store| store.admin().put_fleet_config(&text(digest), "test", NOW)).expect("put");
            let known = store.admin().fleet_configs().expect("read");
            let newest = known.newest.expect("there");
            assert_eq!((newest.digest.as_str(), newest.text.starts_with(&format!("# {digest}"))), (digest, true));
            (newest.number, known.older)
        };
        assert_eq!(put("a"), (1, vec![]));
        assert_eq!(put("b"), (2, vec!["a".to_owned()]));
        assert_eq!(put("b"), (2, vec!["a".to_owned()]), "the same again is none");
        assert_eq!(put("a"), (3, vec!["a".to_owned(), "b".to_owned()]), "back to it is another one");
        for number in 0..CONFIGS_KEPT + 3 {
            put(&format!("more-{number}"));
        }
        let known = store.admin().fleet_configs().expect("read");
        assert_eq!((known.older.len() as u64, known.older.iter().any(|digest| digest == "b")), (CONFIGS_KEPT, false));
        let peeked = Store::config_history_of(&place.database()).expect("read");
        assert_eq!(peeked.fleet, known, "a start knows it before the store is its own");
    }
}
