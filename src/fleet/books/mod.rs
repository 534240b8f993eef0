//! The books of all machines: what one has closed is shipped there, at least once, and counts once by the attempt's id (rule L11).
//!
//! [`Books`] is a connection of its own, used by one thread that may wait for it (`control_plane/journal/ship.rs`). How far each lane of each
//! journal is there stands in the database and nowhere else, and moves in the transaction that adds what was closed: an acknowledgement that
//! is lost costs a look.

mod days;
mod ship;
mod shipment;
#[cfg(test)]
mod tests;

pub use shipment::{Close, LaneEnd, Shipment};

use super::commit::{is_conflict, is_passing};
use super::connect::{Connector, words};
use super::{Fleet, FleetError};
use crate::domain::clock::UnixMillis;
use crate::limits::fleet::{SHIP_DEADLINE, SHIP_TRIES};
use ship::Statements;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_postgres::{Client, Error};

/// The books of all machines, for one thread that may wait.
pub struct Books {
    connector: Arc<Connector>,
    fleet: [u8; 16],
    runtime: Runtime,
    link: Option<Link>,
    /// Rows are still to be deleted.
    deletes: bool,
}

/// How long the database keeps what; `None`: for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Single attempts.
    pub attempts: Option<Duration>,
    /// Sums by the hour.
    pub hours: Option<Duration>,
}

/// What tending came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tended {
    /// There is no more to do, or another machine does it.
    Done,
    /// There is more: call again soon.
    Part,
}

/// Why the books did not take something. Nothing of it counts, but for [`BooksFault::Gone`], where that is unknown and the lanes tell.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BooksFault {
    /// It cannot be reached, or went while it was asked; it is tried again.
    #[error("the database does not take the books: {0}; they are kept here and shipped when it does")]
    Gone(String),
    /// Two got into each other's way; to be done again at once.
    #[error("two machines wrote to the same lines of the books at once")]
    Busy,
    /// A lane is elsewhere than was believed: its number is to be asked for again.
    #[error("another process of this machine has shipped a lane of the journal")]
    Behind,
    /// It says no.
    #[error("the database refuses the books: {0}; see the tables of the schema igris and the rights of its role")]
    Refused(String),
    /// It does not have what it was given.
    #[error(
        "the database has {there} of {sent} attempts that it was given; nothing of this counts, and it is tried again: look for triggers, rules and row security on igris.attempts"
    )]
    Uncounted {
        /// Attempts that were sent.
        sent: u64,
        /// Those of them that are there.
        there: u64,
    },
}

/// A connection, and what is known of the tables behind it.
struct Link {
    client: Client,
    /// Ends the connection's task when it is dropped.
    _notes: tokio::sync::mpsc::UnboundedReceiver<()>,
    statements: Statements,
    has_partitions: bool,
    /// Days whose partitions are there.
    days: BTreeSet<i32>,
}

// === impl Books ===

impl Fleet {
    /// The books in the database of this id: no other one takes them.
    ///
    /// # Errors
    /// [`FleetError::Thread`]: the operating system gives nothing to wait with.
    pub fn books(&self, fleet: [u8; 16]) -> Result<Books, FleetError> {
        Books::new(self.connector.clone(), fleet)
    }
}

impl Books {
    fn new(connector: Arc<Connector>, fleet: [u8; 16]) -> Result<Self, FleetError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(FleetError::Thread)?;
        Ok(Self { connector, fleet, runtime, link: None, deletes: false })
    }

    /// How far these lanes are there; a lane that is missing in the answer has nothing there.
    ///
    /// # Errors
    /// [`BooksFault::Gone`], [`BooksFault::Refused`].
    pub fn marks(&mut self, lanes: &[String]) -> Result<BTreeMap<String, u64>, BooksFault> {
        self.ask(async |link| {
            let sql = "SELECT lane, number FROM igris.lanes WHERE lane = ANY($1::text[])";
            let rows = link.client.query(sql, &[&lanes]).await.map_err(|error| fault_of(&error))?;
            let mark = |row: &tokio_postgres::Row| (row.get(0), u64::try_from(row.get::<_, i64>(1)).unwrap_or(0));
            Ok(rows.iter().map(mark).collect())
        })
    }

    /// Ships, wholly or not at all; answers how many of the attempts the database did not know before.
    ///
    /// # Errors
    /// [`BooksFault`].
    pub fn ship(&mut self, shipment: &Shipment) -> Result<u64, BooksFault> {
        let now = i64::try_from(UnixMillis::now().0).unwrap_or(i64::MAX);
        let mut tries = 1;
        loop {
            let shipped = self.ask(async |link| {
                days::make(link, &shipment.days()).await?;
                let shipped = ship::ship(link, shipment, now).await;
                // A partition may have been dropped meanwhile.
                if shipped.is_err() {
                    link.days.clear();
                }
                shipped
            });
            match shipped {
                Err(BooksFault::Busy) if tries < SHIP_TRIES => tries += 1,
                Err(BooksFault::Busy) => return Err(BooksFault::Gone(BooksFault::Busy.to_string())),
                shipped => return shipped,
            }
        }
    }

    /// Forgets lanes that are gone from the journal, so that nobody will ask for them again.
    ///
    /// # Errors
    /// [`BooksFault::Gone`], [`BooksFault::Refused`].
    pub fn forget(&mut self, lanes: &[String]) -> Result<(), BooksFault> {
        self.ask(async |link| {
            let sql = "DELETE FROM igris.lanes WHERE lane = ANY($1::text[])";
            link.client.execute(sql, &[&lanes]).await.map(drop).map_err(|error| fault_of(&error))
        })
    }

    /// Makes partitions ahead, and lets go what is no longer kept. Of all machines that ask, one does it, once an hour.
    ///
    /// # Errors
    /// [`BooksFault`].
    pub fn tend(&mut self, keep: &Keep) -> Result<Tended, BooksFault> {
        let deletes = self.deletes;
        let tended =
            self.ask(async |link| if deletes { days::delete(link, keep).await } else { days::tend(link, keep).await })?;
        self.deletes = tended == Tended::Part;
        Ok(tended)
    }

    /// Connects if need be, and asks within the deadline. A connection that broke, or on which something may still be at work, is given up.
    fn ask<T>(&mut self, work: impl AsyncFnOnce(&mut Link) -> Result<T, BooksFault>) -> Result<T, BooksFault> {
        let Self { connector, fleet, runtime, link, .. } = self;
        let late = || Err(BooksFault::Gone("it does not answer in time".to_owned()));
        let done = runtime.block_on(async {
            let asked = async {
                let mut open = match link.take() {
                    Some(open) => open,
                    None => connect(connector, *fleet).await?,
                };
                let done = work(&mut open).await;
                if !matches!(done, Err(BooksFault::Gone(_))) {
                    *link = Some(open);
                }
                done
            };
            timeout(SHIP_DEADLINE, asked).await
        });
        done.unwrap_or_else(|_| late())
    }
}

async fn connect(connector: &Connector, fleet: [u8; 16]) -> Result<Link, BooksFault> {
    let listening = connector.listen().await.map_err(BooksFault::Gone)?;
    let client = listening.client;
    let ready = async {
        let id: Vec<u8> = client.query_one("SELECT id FROM igris.fleet WHERE one = 1", &[]).await?.get(0);
        if id != fleet {
            return Ok(None);
        }
        Ok::<_, Error>(Some((days::has_partitions(&client).await?, Statements::prepare(&client).await?)))
    };
    match ready.await {
        Ok(Some((has_partitions, statements))) => {
            Ok(Link { client, _notes: listening.notes, statements, has_partitions, days: BTreeSet::new() })
        }
        Ok(None) => Err(BooksFault::Refused("it is another one than this machine's estate is in".to_owned())),
        // Its tables are made by the thread that holds the estate.
        Err(error) if error.code().is_some_and(|code| code.code() == "42P01") => {
            Err(BooksFault::Gone("its tables are not there yet".to_owned()))
        }
        Err(error) => Err(fault_of(&error)),
    }
}

/// Begins a transaction that waits so long for locks, and that ends if this machine is cut off.
fn begin(lock_timeout: &str) -> String {
    format!("{}; SET LOCAL lock_timeout = '{lock_timeout}'", super::begin())
}

/// What the database said, or that it said nothing.
fn fault_of(error: &Error) -> BooksFault {
    let is_code = |codes: &[&str]| error.code().is_some_and(|code| codes.contains(&code.code()));
    match error.as_db_error() {
        // 40: serialization; 55P03: a lock was not given in time; 23514: no partition of that day any more.
        Some(_) if is_conflict(error) || is_code(&["55P03", "23514"]) => BooksFault::Busy,
        // Ended by somebody: class 57, which is passing too.
        Some(said) if !is_passing(error) => BooksFault::Refused(said.message().to_owned()),
        _ => BooksFault::Gone(words(error)),
    }
}
