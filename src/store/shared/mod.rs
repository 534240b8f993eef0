//! The store as one machine's copy of an estate that many machines share (a fleet).
//!
//! What machines share lies in a database, and each of them has all of it in its own SQLite file too, sealed as ever. Reading never leaves
//! the machine. A change is made here first, inside a transaction; the rows it touched are then offered to the database, which takes them
//! only if nobody changed anything since this copy was last brought up to date; and only then is the transaction here committed. So
//! changes of all machines stand in one order, each made by somebody who knew all before it, and a machine that cannot reach the database
//! changes nothing and goes on serving what it has.
//!
//! ```text
//!  this machine                        the database                        another machine
//!  BEGIN; change; rows touched ----->  generation still 41? rows, 42
//!  COMMIT                      <-----  taken                     -------->  rows since 41, in one transaction
//! ```
//!
//! What is not shared (the books of this machine's own journal, rates, messages under way, which configurations were live here) is
//! written as in a store of one machine. [`ESTATE`] is the list of what is.

mod adopt;
mod capture;
mod tables;
#[cfg(test)]
mod tests;
mod text;

pub use tables::{Column, ESTATE, Kind, Table};

use super::error::StoreError;
use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, ValueRef};

pub use adopt::Adopted;
pub(super) use adopt::position;

/// A value in a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// No value.
    Null,
    /// Of a [`Kind::Integer`].
    Integer(i64),
    /// Of a [`Kind::Text`].
    Text(String),
    /// Of a [`Kind::Blob`].
    Blob(Vec<u8>),
}

/// What became of a row: all of it as it is now, or that it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// Whose row.
    pub table: &'static Table,
    /// The values of its primary key, in the order of the columns.
    pub key: Vec<Value>,
    /// Every column; `None`: the row is gone.
    pub row: Option<Vec<Value>>,
}

/// Everything that was changed after one generation, up to and with another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Which database says so: 16 random bytes that it was given once.
    pub fleet: [u8; 16],
    /// What whoever takes it in must have.
    pub since: u64,
    /// What they have then.
    pub generation: u64,
    /// The rows, each once.
    pub rows: Vec<RowChange>,
}

/// Why the database did not take a change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// Somebody else changed something since this copy was brought up to date.
    #[error("the estate was changed by another machine meanwhile; try again")]
    Behind,
    /// It cannot be reached now. Nothing was changed.
    #[error("the database cannot be reached ({0}); requests go on as they are, changes wait until it is back")]
    Unreachable(String),
    /// The connection broke while the change was being committed: it may have been made.
    #[error(
        "the connection to the database broke while the change was made ({0}); look whether it is there before you repeat it"
    )]
    Unknown(String),
    /// It can be reached and says no, which trying again does not change.
    #[error("the database refuses the change: {0}")]
    Refused(String),
}

/// The database's side of a shared store. It is called while the control plane waits, and so has a deadline of its own.
pub trait Shared: Send {
    /// Takes changes in if the estate is still at `since`; answers the generation it is at then.
    ///
    /// # Errors
    /// [`ShareError`].
    fn commit(&mut self, since: u64, changes: &[RowChange]) -> Result<u64, ShareError>;
}

/// What a store that is shared keeps of it.
pub(super) struct Share {
    pub(super) link: Box<dyn Shared>,
    /// How far this copy is.
    pub(super) generation: u64,
    /// What this machine is called where it says who did something.
    pub(super) machine: String,
}

/// A change under way; dropped without its end, also by a panic, it undoes what was changed since it began.
///
/// The outermost one is the transaction: what it commits is offered to the other machines first.
pub(super) struct Write<'s> {
    store: &'s mut super::Store,
    is_outermost: bool,
    is_over: bool,
}

// === impl Write ===

impl<'s> Write<'s> {
    pub(super) fn begin(store: &'s mut super::Store) -> Result<Self, StoreError> {
        let is_outermost = store.connection.is_autocommit();
        store.connection.execute_batch(if is_outermost { "BEGIN IMMEDIATE" } else { "SAVEPOINT igris_write" })?;
        let write = Self { store, is_outermost, is_over: false };
        if is_outermost && write.store.share.is_some() {
            capture::begin(&write.store.connection)?;
        }
        Ok(write)
    }

    /// The store, for calls within the transaction.
    pub(super) fn store(&mut self) -> &mut super::Store {
        self.store
    }

    /// Makes the change last.
    ///
    /// # Errors
    /// [`StoreError::Database`], and [`StoreError::Share`] where it is shared; then nothing was changed here.
    pub(super) fn commit(mut self) -> Result<(), StoreError> {
        if !self.is_outermost {
            self.store.connection.execute_batch("RELEASE igris_write")?;
            self.is_over = true;
            return Ok(());
        }
        let next = self.offer()?;
        self.store.connection.execute_batch("COMMIT")?;
        self.is_over = true;
        if let (Some(share), Some(next)) = (&mut self.store.share, next) {
            share.generation = next;
        }
        Ok(())
    }

    /// Offers what was changed to the others; answers the generation it made, if there was anything.
    fn offer(&mut self) -> Result<Option<u64>, StoreError> {
        let super::Store { connection, share, .. } = &mut *self.store;
        let Some(share) = share else { return Ok(None) };
        let changes = capture::end(connection)?;
        if changes.is_empty() {
            return Ok(None);
        }
        let next = share.link.commit(share.generation, &changes)?;
        adopt::set_generation(connection, next)?;
        Ok(Some(next))
    }
}

impl std::ops::Deref for Write<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.store.connection
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if self.is_over || (self.is_outermost && self.store.connection.is_autocommit()) {
            return;
        }
        let undo = if self.is_outermost { "ROLLBACK" } else { "ROLLBACK TO igris_write; RELEASE igris_write" };
        // What cannot be rolled back is undone when the connection closes: nothing was committed.
        let _ = self.store.connection.execute_batch(undo);
    }
}

// === impl Value ===

impl Value {
    fn of(value: ValueRef<'_>) -> Result<Self, StoreError> {
        Ok(match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Text(bytes) => {
                let text = std::str::from_utf8(bytes).map_err(|_| StoreError::Damaged("a text".to_owned()))?;
                Self::Text(text.to_owned())
            }
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_owned()),
            ValueRef::Real(_) => return Err(StoreError::Damaged("a fraction where none is".to_owned())),
        })
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}
