//! What the gateway remembers of its configurations: whom it trusts, what was live, what was taken back, and the latest wall time seen.
//!
//! ```text
//!  put as good ------------------> good (newest: live) --another good one--> good (kept for a while)
//!  put as trial --> trial (live) --confirm--> good
//!                        '---------revert---> gone, its digest refused; the newest good one is live again
//! ```
//!
//! Rows are written in the transaction that applies a configuration, before it is published (rule C3). A text holds references to
//! secrets and never a secret.

use super::error::{StoreError, damaged, from_sql, to_sql};
use super::fleet_config::{self, FleetConfigs};
use super::{Admin, Store};
use crate::domain::clock::UnixMillis;
use crate::limits::{CONFIG_REVERTS_KEPT, CONFIG_TEXTS_KEPT, STORE_BUSY_DEADLINE};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use std::path::Path;

/// Who may sign configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTrust {
    /// What the command line pinned when this began.
    pub pins: String,
    /// What grew from it.
    pub in_force: String,
}

/// Whether a configuration has proved itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextState {
    /// Still watched; taken back should requests begin to fail.
    Trial,
    /// Proved, or applied without a trial.
    Good,
}

/// A configuration that is or was live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredText {
    /// SHA-256 of the text in hexadecimal digits, as snapshots name it.
    pub digest: String,
    /// The line of versions it belongs to, if it says so.
    pub config_id: Option<String>,
    /// Its version.
    pub version: u64,
    /// Whether it has proved itself.
    pub state: TextState,
    /// How long it was to be watched, milliseconds; 0 without a trial.
    pub watch_ms: u64,
    /// The file.
    pub text: String,
    /// Its `.minisig`, where signatures were asked for.
    pub signature: Option<String>,
    /// Whom to trust while it is live.
    pub trust: Option<String>,
}

/// A configuration that was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reverted {
    /// SHA-256 of its text.
    pub digest: String,
    /// Its version.
    pub version: u64,
    /// One sentence.
    pub why: String,
    /// When.
    pub at: UnixMillis,
}

/// All of it, as a start wants to know it before the store is its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigHistory {
    /// Whom to trust, once somebody was pinned.
    pub trust: Option<StoredTrust>,
    /// The configuration that was live last.
    pub live: Option<StoredText>,
    /// The newest one that has proved itself.
    pub good: Option<StoredText>,
    /// What was taken back, the latest first.
    pub reverted: Vec<Reverted>,
    /// The latest wall time seen.
    pub latest: Option<UnixMillis>,
    /// What this machine knows of the fleet's, if it ever was in one.
    pub fleet: FleetConfigs,
}

impl Store {
    /// Reads the history without taking the store: another process may have it open, as while a new one takes over. A file that is not
    /// there, or has no such tables yet, has no history.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn config_history_of(path: &Path) -> Result<ConfigHistory, StoreError> {
        if !path.exists() {
            return Ok(ConfigHistory::default());
        }
        // Not read-only: the first reader after a crash has to bring in the write-ahead log.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(STORE_BUSY_DEADLINE)?;
        connection.pragma_update(None, "query_only", true)?;
        let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'config_texts'";
        let there: u32 = connection.query_row(sql, [], |row| row.get(0))?;
        if there == 0 { Ok(ConfigHistory::default()) } else { history(&connection) }
    }
}

impl Admin<'_> {
    /// What is remembered.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn config_history(&mut self) -> Result<ConfigHistory, StoreError> {
        history(&self.store.connection)
    }

    /// The digest of what is live. Texts can be megabytes: they are read at a start alone.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn live_config_digest(&mut self) -> Result<Option<String>, StoreError> {
        let sql = "SELECT digest FROM config_texts ORDER BY sequence DESC LIMIT 1";
        Ok(self.store.connection.query_row(sql, [], |row| row.get(0)).optional()?)
    }

    /// Whether a configuration was taken back, and why.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn reverted_config(&mut self, digest: &str) -> Result<Option<Reverted>, StoreError> {
        let sql = "SELECT digest, version, why, at FROM config_reverted WHERE digest = ?1";
        Ok(self.store.connection.query_row(sql, [digest], reverted_row).optional()?)
    }

    /// Says whom to trust from now on.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn put_trust(&mut self, trust: &StoredTrust, now: UnixMillis) -> Result<(), StoreError> {
        let sql = "INSERT INTO config_trust VALUES (1, ?1, ?2, ?3)
                   ON CONFLICT (one) DO UPDATE SET pins = ?1, in_force = ?2, changed = ?3";
        self.store.connection.execute(sql, params![trust.pins, trust.in_force, to_sql(now.0)])?;
        Ok(())
    }

    /// Notes a configuration that is about to be live. The one that is live already keeps its state. A good one pushes out all but the
    /// latest few before it; one on trial leaves the good one there is.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn put_config_text(&mut self, text: &StoredText, now: UnixMillis) -> Result<(), StoreError> {
        if self.live_config_digest()?.as_ref() == Some(&text.digest) {
            return Ok(());
        }
        let connection = &self.store.connection;
        // One that was on trial and gave way to another change proved nothing, and is nothing to go back to.
        connection.execute("DELETE FROM config_texts WHERE state = 'trial'", [])?;
        let state = if text.state == TextState::Trial { "trial" } else { "good" };
        let sql =
            "INSERT INTO config_texts (digest, config_id, version, state, watch_ms, text, signature, trust, applied)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let StoredText { digest, config_id, version, watch_ms, text, signature, trust, .. } = text;
        let (version, watch_ms, now) = (to_sql(*version), to_sql(*watch_ms), to_sql(now.0));
        let values = params![digest, config_id, version, state, watch_ms, text, signature, trust, now];
        connection.execute(sql, values)?;
        self.forget_old_texts()
    }

    /// The trial is over and went well.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn confirm_config(&mut self, digest: &str) -> Result<(), StoreError> {
        let sql = "UPDATE config_texts SET state = 'good' WHERE digest = ?1 AND state = 'trial'";
        self.store.connection.execute(sql, [digest])?;
        self.forget_old_texts()
    }

    /// The trial went badly: its text is gone and its digest stays refused.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn revert_config(&mut self, reverted: &Reverted) -> Result<(), StoreError> {
        let connection = &self.store.connection;
        connection.execute("DELETE FROM config_texts WHERE digest = ?1", [&reverted.digest])?;
        let Reverted { digest, version, why, at } = reverted;
        let sql = "INSERT OR REPLACE INTO config_reverted VALUES (?1, ?2, ?3, ?4)";
        connection.execute(sql, params![digest, to_sql(*version), why, to_sql(at.0)])?;
        let sql = "DELETE FROM config_reverted WHERE digest NOT IN
                   (SELECT digest FROM config_reverted ORDER BY at DESC, digest LIMIT ?1)";
        connection.execute(sql, [to_sql(CONFIG_REVERTS_KEPT as u64)])?;
        Ok(())
    }

    /// Notes the wall time unless a later one was seen (rule L9); answers the latest.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn mark_clock(&mut self, now: UnixMillis) -> Result<UnixMillis, StoreError> {
        let sql = "INSERT INTO wall_clock VALUES (1, ?1)
                   ON CONFLICT (one) DO UPDATE SET latest = max(latest, ?1) RETURNING latest";
        let latest = self.store.connection.query_row(sql, [to_sql(now.0)], |row| row.get(0))?;
        Ok(UnixMillis(from_sql(latest)))
    }

    /// Begins anew with other trust, with this wall time as the latest, and open to another line of configurations; accepted versions
    /// and what was taken back stay (rule C3).
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn repin(&mut self, trust: &StoredTrust, now: UnixMillis) -> Result<(), StoreError> {
        self.put_trust(trust, now)?;
        let sql = "INSERT INTO wall_clock VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET latest = ?1";
        self.store.connection.execute(sql, [to_sql(now.0)])?;
        self.store.connection.execute("DELETE FROM config_texts", [])?;
        Ok(())
    }

    fn forget_old_texts(&mut self) -> Result<(), StoreError> {
        let sql = "DELETE FROM config_texts WHERE state = 'good' AND sequence NOT IN
                   (SELECT sequence FROM config_texts WHERE state = 'good' ORDER BY sequence DESC LIMIT ?1)";
        self.store.connection.execute(sql, [to_sql(CONFIG_TEXTS_KEPT as u64)])?;
        Ok(())
    }
}

fn reverted_row(row: &Row<'_>) -> rusqlite::Result<Reverted> {
    let (version, at) = (from_sql(row.get(1)?), UnixMillis(from_sql(row.get(3)?)));
    Ok(Reverted { digest: row.get(0)?, version, why: row.get(2)?, at })
}

fn history(connection: &Connection) -> Result<ConfigHistory, StoreError> {
    let trust = connection.query_row("SELECT pins, in_force FROM config_trust", [], |row| {
        Ok(StoredTrust { pins: row.get(0)?, in_force: row.get(1)? })
    });
    let latest = connection.query_row("SELECT latest FROM wall_clock", [], |row| row.get(0)).optional()?;
    let mut statement = connection.prepare("SELECT digest, version, why, at FROM config_reverted ORDER BY at DESC")?;
    let reverted = statement.query_map([], reverted_row)?;
    Ok(ConfigHistory {
        trust: trust.optional()?,
        live: newest(connection, false)?,
        good: newest(connection, true)?,
        reverted: reverted.collect::<Result<_, _>>()?,
        latest: latest.map(|latest| UnixMillis(from_sql(latest))),
        fleet: fleet_config::read(connection)?,
    })
}

/// The newest text, or the newest good one.
fn newest(connection: &Connection, good: bool) -> Result<Option<StoredText>, StoreError> {
    let sql = "SELECT digest, version, state, watch_ms, text, signature, config_id, trust FROM config_texts
               WHERE state = 'good' OR NOT ?1 ORDER BY sequence DESC LIMIT 1";
    let row = connection.query_row(sql, [good], |row| Ok(stored_text(row))).optional()?;
    row.transpose()
}

fn stored_text(row: &Row<'_>) -> Result<StoredText, StoreError> {
    let state = match row.get_ref(2)?.as_str().map_err(|_| damaged("the state of a configuration"))? {
        "trial" => TextState::Trial,
        "good" => TextState::Good,
        _ => return Err(damaged("the state of a configuration")),
    };
    Ok(StoredText {
        digest: row.get(0)?,
        version: from_sql(row.get(1)?),
        state,
        watch_ms: from_sql(row.get(3)?),
        text: row.get(4)?,
        signature: row.get(5)?,
        config_id: row.get(6)?,
        trust: row.get(7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{NOW, Place};

    fn text(version: u64, state: TextState) -> StoredText {
        let (text, digest) = (format!("version = {version}\n"), format!("digest-{version}"));
        let (config_id, signature, trust) = (Some("prod".to_owned()), Some("signed".to_owned()), None);
        StoredText { digest, config_id, version, state, watch_ms: 0, text, signature, trust }
    }

    #[test]
    fn a_new_store_has_no_history_and_neither_has_none() {
        let place = Place::new("history-none");
        assert_eq!(Store::config_history_of(&place.database()).expect("read"), ConfigHistory::default());
        let (mut store, _) = place.open();
        assert_eq!(store.admin().config_history().expect("read"), ConfigHistory::default());
    }

    #[test]
    fn it_can_be_read_while_another_process_has_the_store() {
        let place = Place::new("history-peek");
        let (mut store, _) = place.open();
        let trust = StoredTrust { pins: "1 a".to_owned(), in_force: "2 b c".to_owned() };
        store.admin().put_trust(&trust, NOW).expect("put");
        store.admin().put_config_text(&text(7, TextState::Good), NOW).expect("put");
        let seen = Store::config_history_of(&place.database()).expect("read");
        assert_eq!((seen.trust, seen.live.map(|live| live.version)), (Some(trust), Some(7)));
    }

    #[test]
    fn a_trial_ends_as_good_or_gone() {
        let place = Place::new("history-trial");
        let (mut store, _) = place.open();
        let mut admin = store.admin();
        admin.put_config_text(&text(1, TextState::Good), NOW).expect("put");
        admin.put_config_text(&text(2, TextState::Trial), NOW).expect("put");
        admin.put_config_text(&text(2, TextState::Good), NOW).expect("put again");
        let seen = admin.config_history().expect("read");
        let versions =
            |seen: &ConfigHistory| (seen.live.as_ref().map(|l| l.version), seen.good.as_ref().map(|g| g.version));
        assert_eq!(versions(&seen), (Some(2), Some(1)), "what is live keeps its state");
        admin.confirm_config("digest-2").expect("confirmed");
        assert_eq!(versions(&admin.config_history().expect("read")), (Some(2), Some(2)));
        admin.put_config_text(&text(3, TextState::Trial), NOW).expect("put");
        let why = "8 of 10 failed".to_owned();
        admin.revert_config(&Reverted { digest: "digest-3".to_owned(), version: 3, why, at: NOW }).expect("reverted");
        let seen = admin.config_history().expect("read");
        assert_eq!((versions(&seen), seen.reverted.len(), seen.reverted[0].version), ((Some(2), Some(2)), 1, 3));
        admin.put_config_text(&text(4, TextState::Trial), NOW).expect("put");
        admin.put_config_text(&text(5, TextState::Trial), NOW).expect("put");
        assert_eq!(
            versions(&admin.config_history().expect("read")),
            (Some(5), Some(2)),
            "unproved ones are not gone back to"
        );
    }

    #[test]
    fn only_the_latest_texts_and_reverts_are_kept() {
        let place = Place::new("history-kept");
        let (mut store, _) = place.open();
        let mut admin = store.admin();
        for version in 1..=9 {
            admin.put_config_text(&text(version, TextState::Good), NOW).expect("put");
        }
        for number in 0..CONFIG_REVERTS_KEPT as u64 + 5 {
            let at = UnixMillis(NOW.0 + number);
            let (digest, why) = (format!("{number}"), String::new());
            admin.revert_config(&Reverted { digest, version: number, why, at }).expect("reverted");
        }
        let seen = admin.config_history().expect("read");
        assert_eq!(
            (seen.reverted.len(), seen.reverted[0].version),
            (CONFIG_REVERTS_KEPT, CONFIG_REVERTS_KEPT as u64 + 4)
        );
        let rows: u32 =
            store.connection.query_row("SELECT count(*) FROM config_texts", [], |row| row.get(0)).expect("counted");
        assert_eq!(rows as usize, CONFIG_TEXTS_KEPT);
    }

    #[test]
    fn the_clock_never_runs_backwards_but_by_hand() {
        let place = Place::new("history-clock");
        let (mut store, _) = place.open();
        let earlier = UnixMillis(NOW.0 - 5);
        assert_eq!(store.admin().mark_clock(NOW).expect("marked"), NOW);
        assert_eq!(store.admin().mark_clock(earlier).expect("marked"), NOW);
        let trust = StoredTrust { pins: "1 a".to_owned(), in_force: "1 a".to_owned() };
        store.admin().repin(&trust, earlier).expect("pinned");
        assert_eq!(store.admin().config_history().expect("read").latest, Some(earlier));
    }
}
