//! Copies of the store, and stores that are only read.
//!
//! A copy is one file, consistent as of one instant while writes go on, synced with its directory, and never written over another. It
//! holds what the store holds: sealed records and digests, of no use without the root key. Reading happens over a connection of its own,
//! which the writer does not wait for.

use super::error::StoreError;
use super::{Store, files, schema};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// SQLite opens a file with the first statement.
fn open_at_once(opened: rusqlite::Result<Connection>) -> rusqlite::Result<Connection> {
    let connection = opened?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// A path as SQLite's URI of a file that nobody writes (<https://www.sqlite.org/uri.html>, read 2026-11-26).
fn immutable(path: &Path) -> String {
    let escaped = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    format!("file:{escaped}?immutable=1")
}

impl Store {
    /// Opens a store for reading alone, also while another process or thread writes it: everything is seen as of this instant.
    ///
    /// # Errors
    /// [`StoreError::File`] when there is none; [`StoreError::Foreign`]; [`StoreError::TooNew`]; [`StoreError::TooOld`], because
    /// tables are not brought up to date here; [`StoreError::Database`].
    pub fn open_reading(path: &Path) -> Result<Self, StoreError> {
        File::open(path).map_err(|cause| StoreError::File { path: path.to_owned(), cause })?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match open_at_once(Connection::open_with_flags(path, flags)) {
            // Where nothing can be written, not even what readers and writers agree by: there is no writer then.
            Err(rusqlite::Error::SqliteFailure(error, _)) if error.code == ErrorCode::CannotOpen => {
                open_at_once(Connection::open_with_flags(immutable(path), flags | OpenFlags::SQLITE_OPEN_URI))?
            }
            other => other?,
        };
        schema::configure_reading(&connection)?;
        schema::check(&connection, path)?;
        // A transaction that is never ended: the first statement in it fixes the instant.
        connection.execute_batch("BEGIN")?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(Self { connection, flush_due: Cell::new(false), audit_key: None, lock: None, share: None })
    }

    /// Copies the store to a new file of mode 0600. Takes as long as reading and writing it takes; meant for a store from
    /// [`Store::open_reading`], so that nobody waits.
    ///
    /// # Errors
    /// [`StoreError::Occupied`] when there is a file of that name, which stays as it is; [`StoreError::File`];
    /// [`StoreError::Database`]. A copy that failed leaves nothing.
    pub fn back_up(&self, to: &Path) -> Result<(), StoreError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |cause: io::Error| match cause.kind() {
                io::ErrorKind::AlreadyExists => StoreError::Occupied { path },
                _ => StoreError::File { path, cause },
            }
        };
        if fs::symlink_metadata(to).is_ok() {
            return Err(StoreError::Occupied { path: to.to_owned() });
        }
        let mut part = to.as_os_str().to_owned();
        part.push(format!(".{}.part", std::process::id()));
        let part = PathBuf::from(part);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).map_err(at(&part))?;
        let copied = self.copy_into(&part).and_then(|()| {
            File::open(&part).and_then(|file| file.sync_all()).map_err(at(&part))?;
            fs::hard_link(&part, to).map_err(at(to))
        });
        let removed = fs::remove_file(&part).map_err(at(&part));
        copied?;
        removed?;
        File::open(files::directory_of(to)).and_then(|directory| directory.sync_all()).map_err(at(to))
    }

    fn copy_into(&self, path: &Path) -> Result<(), StoreError> {
        let mut copy = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        {
            let backup = Backup::new(&self.connection, &mut copy)?;
            // All pages in one step: in several, a write between two of them would begin it anew.
            match backup.step(-1)? {
                StepResult::Done => {}
                _ => return Err(StoreError::Damaged("the copy did not come to its end".to_owned())),
            }
        }
        // Closing takes the copy's own log into it: one file is left.
        copy.close().map_err(|(_, error)| error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NOW, Place, tenant};
    use super::*;

    #[test]
    fn a_reader_sees_one_instant_and_nobody_waits_for_it() {
        let place = Place::new("reader");
        let (mut store, keyring) = place.open();
        let acme = tenant(&mut store, &keyring, "acme");
        let record = store.data_key(&acme).expect("a row").record;
        let mut reader = Store::open_reading(&place.database()).expect("opened");
        assert!(matches!(Store::open(&place.database()), Err(StoreError::InUse { .. })), "writing takes the lock");

        let began = std::time::Instant::now();
        store.admin().destroy_tenant(&acme, NOW).expect("destroyed");
        assert!(began.elapsed() < crate::limits::STORE_BUSY_DEADLINE, "it did not wait for the reader");
        assert!(reader.data_key(&acme).is_ok(), "the reader still sees it");
        assert!(!place.files_with(&record).is_empty(), "and so it is still on disk");
        store.flush_if_due().expect("no error");
        assert!(!place.files_with(&record).is_empty(), "as long as somebody reads");
        let refused = reader.admin().destroy_tenant(&tenant_of("acme"), NOW);
        assert!(refused.is_err(), "a reader does not write");
        drop(reader);
        store.flush_if_due().expect("flushed");
        assert!(place.files_with(&record).is_empty(), "then it is gone");
    }

    fn tenant_of(name: &str) -> crate::domain::id::TenantId {
        crate::domain::id::TenantId::new(name)
    }

    #[test]
    fn only_a_store_of_this_build_is_read() {
        let place = Place::new("reader-refuses");
        assert!(matches!(Store::open_reading(&place.database()), Err(StoreError::File { .. })));
        assert!(!place.database().exists(), "looking makes nothing");
        drop(place.open());
        let raw = Connection::open(place.database()).expect("opened");
        raw.pragma_update(None, "user_version", 1).expect("set");
        assert!(matches!(Store::open_reading(&place.database()), Err(StoreError::TooOld { found: 1, .. })));
        raw.pragma_update(None, "user_version", 9_999).expect("set");
        assert!(matches!(Store::open_reading(&place.database()), Err(StoreError::TooNew { .. })));
        raw.pragma_update(None, "application_id", 1).expect("set");
        assert!(matches!(Store::open_reading(&place.database()), Err(StoreError::Foreign { .. })));
    }
}
