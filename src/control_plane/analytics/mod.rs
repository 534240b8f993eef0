//! Usage, costs and forecasts: questions about the books, answered beside the control plane.
//!
//! A question takes the control lock only to have everything booked that was reported so far. Then it runs on a thread of its own, over a
//! connection of its own that only reads, so that neither a publication nor a request ever waits for a page. It ends at its deadline, and
//! when nobody waits for it any more.
//!
//! Where several machines share a database, the question goes to the books of all of them there. While those cannot be read, the books of this
//! machine answer, and the answer says so.

mod backtest;
mod costs;
mod forecast;
#[cfg(test)]
mod histories;
mod outlook;
mod usage;
mod window;

pub use costs::{CostsAnswer, CostsQuestion, costs};
pub use outlook::{ForecastAnswer, forecast};
pub use usage::{UsageAnswer, usage};
pub use window::{UsagePeriod, Window};

use super::{Control, ControlError};
use crate::domain::clock::UnixMillis;
use crate::domain::id::TenantId;
use crate::domain::money::Money;
use crate::fleet::{Fleet, SharedSums, SumsError};
use crate::limits::analytics::{DEADLINE, QUESTIONS_AT_ONCE};
use crate::store::{RollupReader, StoreError, SumQuestion, SumRow, Sums};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

/// For whom a question is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A tenant, about itself (rule T3).
    Tenant(TenantId),
    /// The operator, about one tenant or all of them.
    Operator(Option<TenantId>),
}

/// Whose books answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BooksOf {
    /// All machines that share an estate.
    Fleet,
    /// This machine alone.
    Machine,
}

/// An answer, and of whose books it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answered<T> {
    /// The answer.
    #[serde(flatten)]
    pub answer: T,
    /// Whose books it is of.
    pub scope: BooksOf,
    /// Where it is not of the books that were asked: a sentence about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
}

/// Who looks things up in the books: made under the control lock, used without it.
pub struct Analyst {
    store: PathBuf,
    /// Where the books of all machines are.
    fleet: Option<Fleet>,
    seats: Arc<Semaphore>,
    now: UnixMillis,
}

/// The books as one asker may see them, as of one instant.
pub struct Books {
    reader: Reader,
    asker: Asker,
    /// Now, as the answer tells it.
    pub now: UnixMillis,
}

/// What sums are read by.
enum Reader {
    Machine(Box<RollupReader>),
    Fleet(SharedSums),
}

/// How many questions run at a time.
#[derive(Clone)]
pub(super) struct Seats(Arc<Semaphore>);

/// Tells a question that nobody waits for it any more.
struct Leaving {
    /// Looked at by SQLite.
    has_left: Arc<AtomicBool>,
    /// Its other end is the database's.
    _held: oneshot::Sender<()>,
}

impl Control {
    /// Somebody to ask about the books, which hold everything that was reported until now.
    ///
    /// # Errors
    /// The store refuses, or is another process's at this moment: ask again.
    pub fn analyst(&mut self) -> Result<Analyst, ControlError> {
        let store = self.place.store.clone();
        if self.rests {
            return Err(StoreError::InUse { path: store }.into());
        }
        self.ingest()?;
        Ok(Analyst { store, fleet: self.shares(), seats: self.seats.0.clone(), now: self.now() })
    }
}

// === impl Analyst ===

impl Analyst {
    /// The same for other books. A machine that shares nothing has its own alone.
    #[must_use]
    pub fn of(self, books: BooksOf) -> Self {
        match books {
            BooksOf::Fleet => self,
            BooksOf::Machine => Self { fleet: None, ..self },
        }
    }

    /// Asks, on a thread of its own. The question is put twice where the books of all machines break off.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] for a tenant that does not exist (rule T1), [`ControlError::Busy`] when it took too long, and whatever
    /// the question answers.
    pub async fn ask<T: Send + 'static>(
        self,
        asker: Asker,
        question: impl Fn(&Books) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<Answered<T>, ControlError> {
        let began = Instant::now();
        let Ok(Ok(seat)) = timeout(DEADLINE, self.seats.clone().acquire_owned()).await else {
            return Err(ControlError::Busy(CROWDED.to_owned()));
        };
        let has_left = Arc::new(AtomicBool::new(false));
        let (held, left) = oneshot::channel();
        let leaving = Leaving { has_left: has_left.clone(), _held: held };
        let Self { store, fleet, now, .. } = self;
        let stop = move || has_left.load(Ordering::Relaxed) || began.elapsed() > DEADLINE;
        let work = tokio::task::spawn_blocking(move || {
            let _seat = seat;
            // Which tenants exist is known here too, and without the database (rule T1).
            let books = Books::open(RollupReader::open(&store, stop)?, asker, now)?;
            let Some(fleet) = fleet else { return Answered::of(BooksOf::Machine, None, question(&books)) };
            let opened = fleet.sums(began + DEADLINE, left).map_err(ControlError::from);
            match opened.and_then(|sums| question(&books.of_fleet(sums))) {
                Err(ControlError::Sums(SumsError::Unreachable(_))) => {
                    Answered::of(BooksOf::Machine, Some(ALONE), question(&books))
                }
                answered => Answered::of(BooksOf::Fleet, None, answered),
            }
        });
        let answer = work.await;
        drop(leaving);
        match answer {
            Ok(Err(ControlError::Store(StoreError::Database(_)))) if began.elapsed() > DEADLINE => {
                Err(ControlError::Busy(TOO_LONG.to_owned()))
            }
            Ok(answer) => answer,
            Err(_) => Err(ControlError::Busy(BROKE_OFF.to_owned())),
        }
    }
}

/// For tenants as well, so without what the database said; that is in `/status`.
const ALONE: &str =
    "The database that all machines share cannot be reached: this is what this machine alone has counted.";
const CROWDED: &str = "too many questions about costs are being answered; ask again in a moment";
const TOO_LONG: &str = "adding that up takes too long; ask for a shorter time, or with fewer words in `group_by`";
const BROKE_OFF: &str = "adding that up broke off; ask again, and report it if it goes on";

impl Default for Seats {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(QUESTIONS_AT_ONCE)))
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.has_left.store(true, Ordering::Relaxed);
    }
}

// === impl Answered ===

impl<T> Answered<T> {
    fn of(scope: BooksOf, note: Option<&'static str>, answer: Result<T, ControlError>) -> Result<Self, ControlError> {
        Ok(Self { answer: answer?, scope, note })
    }
}

// === impl Books ===

impl Books {
    /// The books of an asker.
    ///
    /// # Errors
    /// The tenant does not exist; the store cannot be read.
    pub(super) fn open(reader: RollupReader, asker: Asker, now: UnixMillis) -> Result<Self, ControlError> {
        if let Asker::Tenant(tenant) | Asker::Operator(Some(tenant)) = &asker
            && !reader.has_tenant(tenant)?
        {
            return Err(StoreError::NotFound("tenant").into());
        }
        Ok(Self { reader: Reader::Machine(Box::new(reader)), asker, now })
    }

    /// The same for the books of all machines.
    fn of_fleet(&self, sums: SharedSums) -> Self {
        Self { reader: Reader::Fleet(sums), asker: self.asker.clone(), now: self.now }
    }

    /// The tenant that is asked about; `None`: all together.
    fn tenant(&self) -> Option<&TenantId> {
        match &self.asker {
            Asker::Tenant(tenant) => Some(tenant),
            Asker::Operator(tenant) => tenant.as_ref(),
        }
    }

    fn sums(&self, question: &SumQuestion) -> Result<Vec<SumRow>, ControlError> {
        Ok(match (&self.reader, &self.asker) {
            (Reader::Machine(reader), Asker::Tenant(tenant)) => reader.for_tenant(tenant, question)?,
            (Reader::Machine(reader), Asker::Operator(tenant)) => reader.for_operator(tenant.as_ref(), question)?,
            (Reader::Fleet(sums), Asker::Tenant(tenant)) => sums.for_tenant(tenant, question)?,
            (Reader::Fleet(sums), Asker::Operator(tenant)) => sums.for_operator(tenant.as_ref(), question)?,
        })
    }

    /// Everything of some hours.
    fn total(&self, hours: std::ops::Range<u64>) -> Result<Sums, ControlError> {
        let question = SumQuestion { hours, group_by: Vec::new(), bucket: None, skip: 0, most: 1 };
        Ok(self.sums(&question)?.first().map(|row| row.sums).unwrap_or_default())
    }
}

// === The JSON edge ===

/// Members of one object, money as exact text and as a float of dollars.
impl Serialize for Sums {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(10))?;
        for (name, count) in [
            ("requests", self.requests),
            ("attempts", self.attempts),
            ("failed", self.failed),
            ("estimated", self.estimated),
            ("unpriced", self.unpriced),
            ("input_tokens", self.input_tokens),
            ("output_tokens", self.output_tokens),
            ("cached_tokens", self.cached_tokens),
        ] {
            map.serialize_entry(name, &count)?;
        }
        map.serialize_entry("cost", &self.cost.to_string())?;
        map.serialize_entry("cost_usd", &self.cost.to_usd())?;
        map.end()
    }
}

/// An amount as exact text.
fn exact<S: Serializer>(amount: &Money, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(amount)
}

/// Dollars of an estimate to a ten-thousandth of a cent: more would be pretence.
fn rounded(dollars: f64) -> f64 {
    (dollars * 1e6).round() / 1e6
}

const HOUR_MS: u64 = 3_600_000;
const DAY_HOURS: u64 = 24;

#[cfg(test)]
mod tests;
