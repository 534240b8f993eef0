//! The database that several machines share: PostgreSQL and what speaks its protocol (control plane only).
//!
//! A thread of its own holds the connections, so that whoever waits for a commit waits with a deadline and nobody waits for anything
//! else. The thread migrates the tables, listens for what other machines change, and looks by itself as well: where the engine has no
//! `LISTEN`, looking is all there is. What a store keeps of it, and in which order things happen, is told in `store/shared`.
//!
//! ```text
//!  control thread                       fleet thread                              PostgreSQL
//!  Store::commit --- Ask::Commit ---->  transaction, pool            ---------->  rows, generation + 1, NOTIFY
//!  adopt  <--------- News -----------   rows since the copy's own    <----------  NOTIFY, or the next look
//!  a page's thread - Ask::Sums ------>  transaction, another pool    ---------->  usage_hours, usage_days
//!  igris-ship: journal -- Shipment ---  books, a connection of its own ---------->  attempts, once each, and their sums
//! ```

mod books;
mod commit;
mod connect;
mod hearsay;
mod key;
mod leases;
mod news;
mod pipeline;
mod schema;
mod service;
pub mod share;
mod sums;
#[cfg(test)]
pub(crate) mod testing;
mod text;
mod value;

pub use books::{Books, BooksFault, Close, Keep, LaneEnd, Shipment, Tended};
pub use connect::{Encryption, Place};
pub use hearsay::{Heard, Hearsay};
pub use leases::{Granted, LeaseAsk, PoolName, PoolNews, Quantity, Round, RoundAnswer, RoundError};
pub use sums::{SharedSums, SumsError};

use crate::limits::fleet::{COMMIT_DEADLINE, CONNECT_DEADLINE, FIRST_PULL_DEADLINE, IDLE_TIMEOUT};
use crate::store::{News, RowChange, ShareError, Shared};
use service::Ask;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How it stands with the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which database this is, once it was reached.
    pub fleet: Option<[u8; 16]>,
    /// Whether the last look at it was answered.
    pub is_reachable: bool,
    /// Since when that is so.
    pub since: Instant,
    /// The generation it had at the last look.
    pub generation: u64,
    /// Whether it says by itself that something changed.
    pub listens: bool,
    /// Why it cannot be reached.
    pub trouble: Option<String>,
}

/// The connection to the database, from the control plane's side. Clones talk to the same thread, which ends with the last of them.
#[derive(Clone, Debug)]
pub struct Fleet {
    asks: mpsc::UnboundedSender<Ask>,
    standing: Arc<Mutex<Standing>>,
    /// For the books, which have a connection of their own.
    connector: Arc<connect::Connector>,
}

/// Why the database cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The URL or what belongs to it.
    #[error("[store] url {0}")]
    Place(String),
    /// It holds tables of a newer build.
    #[error(
        "the database was brought to tables version {found} by a newer igris, and this build knows {known}; run the newer one"
    )]
    TooNew {
        /// Version there.
        found: u32,
        /// Newest version this build knows.
        known: u32,
    },
    /// It does not answer, or says no.
    #[error("the database cannot be used: {0}")]
    Unreachable(String),
    /// The operating system gives no thread.
    #[error("the thread for the database cannot be started: {0}")]
    Thread(std::io::Error),
}

// === impl Fleet ===

impl Fleet {
    /// Starts the thread, which connects and keeps trying. `news` is filled whenever the database is ahead of what [`Fleet::is_at`] last
    /// said. `fresh`, random bytes, is what a database is called that has no name yet.
    ///
    /// # Errors
    /// [`FleetError::Place`], [`FleetError::Thread`].
    pub fn start(place: &Place, news: mpsc::UnboundedSender<News>, fresh: [u8; 16]) -> Result<Self, FleetError> {
        let (asks, asked) = mpsc::unbounded_channel();
        let standing = Arc::new(Mutex::new(Standing {
            fleet: None,
            is_reachable: false,
            since: Instant::now(),
            generation: 0,
            listens: false,
            trouble: None,
        }));
        let connector = Arc::new(connect::Connector::new(place)?);
        let service = service::Service::new(connector.clone(), asked, news, standing.clone(), fresh);
        thread::Builder::new().name("igris-fleet".to_owned()).spawn(|| service.run()).map_err(FleetError::Thread)?;
        Ok(Self { asks, standing, connector })
    }

    /// Waits until the database was reached or its first answer was no; answers which database it is.
    ///
    /// # Errors
    /// [`FleetError::TooNew`], [`FleetError::Unreachable`].
    pub fn met(&self) -> Result<[u8; 16], FleetError> {
        let (reply, answer) = sync_channel(1);
        self.ask(Ask::Meet(reply));
        match answer.recv_timeout(CONNECT_DEADLINE) {
            Ok(met) => met,
            Err(_) => {
                let trouble = self.standing().trouble.unwrap_or_else(|| "it does not answer in time".to_owned());
                Err(FleetError::Unreachable(trouble))
            }
        }
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The copy here has this generation now: what is looked for is newer.
    pub fn is_at(&self, generation: u64) {
        self.ask(Ask::At(generation));
    }

    /// Looks at once, not at the next tick.
    pub fn look(&self) {
        self.ask(Ask::Look);
    }

    /// What was changed since a generation.
    ///
    /// # Errors
    /// [`ShareError::Unreachable`], [`ShareError::Refused`].
    pub fn pull(&self, since: u64) -> Result<News, ShareError> {
        let (reply, answer) = sync_channel(1);
        self.ask(Ask::Pull { since, reply });
        waited(&answer, FIRST_PULL_DEADLINE + LEEWAY, ShareError::Unreachable)
    }

    /// Tells other machines what was seen here, and answers what they told since `after`; see [`Heard::until`].
    ///
    /// # Errors
    /// [`ShareError::Unreachable`].
    pub async fn learn(&self, told: Vec<Hearsay>, after: Option<i64>) -> Result<Heard, ShareError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Learn { told, after, reply });
        answer.await.unwrap_or_else(|_| Err(ShareError::Unreachable("its thread has ended".to_owned())))
    }

    /// Puts an estate into a database that has none; answers its generation, or `None` when the database has one.
    ///
    /// # Errors
    /// [`ShareError`].
    pub fn replace(&self, rows: Vec<RowChange>) -> Result<Option<u64>, ShareError> {
        let (reply, answer) = sync_channel(1);
        self.ask(Ask::Replace { rows, reply });
        waited(&answer, FIRST_PULL_DEADLINE + LEEWAY, ShareError::Unknown)
    }

    /// One round of leases; waits on no thread. `tidies`: what is no longer kept is deleted after it.
    ///
    /// # Errors
    /// [`RoundError`].
    pub async fn round(&self, round: Round, tidies: bool) -> Result<RoundAnswer, RoundError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Round { round, tidies, reply });
        answer.await.unwrap_or_else(|_| Err(RoundError::Lost("its thread has ended".to_owned())))
    }

    fn ask(&self, ask: Ask) {
        // Without its thread the answer's other end is gone too, and whoever waits hears of it at once.
        let _ = self.asks.send(ask);
    }
}

impl Shared for Fleet {
    fn commit(&mut self, since: u64, changes: &[RowChange]) -> Result<u64, ShareError> {
        let standing = self.standing();
        if !standing.is_reachable {
            // Known for a while: nobody waits for a deadline again and again.
            let trouble = standing.trouble.unwrap_or_else(|| "no connection yet".to_owned());
            return Err(ShareError::Unreachable(trouble));
        }
        let (reply, answer): (SyncSender<_>, _) = sync_channel(1);
        self.ask(Ask::Commit { since, changes: changes.to_vec(), until: Instant::now() + COMMIT_DEADLINE, reply });
        let next = waited(&answer, COMMIT_DEADLINE + LEEWAY, ShareError::Unknown)?;
        // Nobody needs to be told of their own change.
        self.is_at(next);
        Ok(next)
    }
}

/// Begins a transaction that the database ends by itself if nothing more comes: whoever is cut off in the middle holds no locks for long.
fn begin() -> String {
    format!("BEGIN; SET LOCAL idle_in_transaction_session_timeout = '{IDLE_TIMEOUT}'")
}

/// So that the thread, which keeps the same deadline, is the one to say what happened.
const LEEWAY: Duration = Duration::from_millis(250);

fn waited<T>(
    answer: &Receiver<Result<T, ShareError>>,
    deadline: Duration,
    late: fn(String) -> ShareError,
) -> Result<T, ShareError> {
    match answer.recv_timeout(deadline) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Timeout) => Err(late("it does not answer in time".to_owned())),
        Err(RecvTimeoutError::Disconnected) => Err(ShareError::Unreachable("its thread has ended".to_owned())),
    }
}
