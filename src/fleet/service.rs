//! The thread that holds the connections.
//!
//! ```text
//! gone --connected, tables there--> listening --an answer that does not come--> gone (tried again every second)
//! ```

use super::connect::{Connector, Listening, words};
use super::leases::{self, Round, RoundAnswer, RoundError};
use super::news::Glance;
use super::sums::{Readers, Sitting, sit};
use super::{FleetError, Heard, Hearsay, Standing, commit, hearsay, news, schema, text};
use crate::limits::fleet::{
    COMMIT_DEADLINE, CONNECT_DEADLINE, CONNECTION_IDLE, CONNECTIONS_MAX, FIRST_PULL_DEADLINE, LEARN_DEADLINE,
    LISTENING_TICK, LOOK_DEADLINE, LOOK_TICK, PULL_DEADLINE, RECONNECT_TICK, ROUND_DEADLINE,
};
use crate::store::{News, RowChange, ShareError};
use deadpool_postgres::{Object, Pool};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

/// What the control plane wants.
pub(super) enum Ask {
    /// An answer once the database was reached, or was not.
    Meet(SyncSender<Result<[u8; 16], FleetError>>),
    /// The copy is at this generation.
    At(u64),
    /// A look at once.
    Look,
    /// A change.
    Commit { since: u64, changes: Vec<RowChange>, until: Instant, reply: SyncSender<Result<u64, ShareError>> },
    /// What was changed since.
    Pull { since: u64, reply: SyncSender<Result<News, ShareError>> },
    /// What was seen here, for what others saw.
    Learn { told: Vec<Hearsay>, after: Option<i64>, reply: oneshot::Sender<Result<Heard, ShareError>> },
    /// A whole estate in an empty database.
    Replace { rows: Vec<RowChange>, reply: SyncSender<Result<Option<u64>, ShareError>> },
    /// The books of all machines, for one asker.
    Sums(Sitting),
    /// What this machine uses and wants of limits that all share.
    Round { round: Round, tidies: bool, reply: oneshot::Sender<Result<RoundAnswer, RoundError>> },
}

/// The thread's state.
pub(super) struct Service {
    connector: Arc<Connector>,
    asks: mpsc::UnboundedReceiver<Ask>,
    news: mpsc::UnboundedSender<News>,
    standing: Arc<Mutex<Standing>>,
    listening: Option<Listening>,
    /// The generation of the copy here; `None`: nobody has said, and nothing is fetched by itself.
    at: Option<u64>,
    /// Who waits for the first answer.
    waiting: Vec<SyncSender<Result<[u8; 16], FleetError>>>,
    /// What a database is called that has no name yet.
    fresh: [u8; 16],
    fetching: Arc<Fetching>,
}

/// News on its way.
#[derive(Default)]
struct Fetching {
    is_on: AtomicBool,
    /// How far that goes which came last.
    generation: AtomicU64,
    /// Rung when some came.
    came: Notify,
}

// === impl Service ===

impl Service {
    pub(super) fn new(
        connector: Arc<Connector>,
        asks: mpsc::UnboundedReceiver<Ask>,
        news: mpsc::UnboundedSender<News>,
        standing: Arc<Mutex<Standing>>,
        fresh: [u8; 16],
    ) -> Self {
        Self {
            connector,
            asks,
            news,
            standing,
            listening: None,
            at: None,
            waiting: Vec::new(),
            fresh,
            fetching: Arc::default(),
        }
    }

    /// Until the last [`super::Fleet`] is gone.
    pub(super) fn run(mut self) {
        let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match built {
            Ok(runtime) => runtime.block_on(self.serve()),
            Err(error) => self.gone(format!("no runtime for its connections: {error}")),
        }
    }

    async fn serve(&mut self) {
        let pools = self.connector.pool(CONNECTIONS_MAX, CONNECT_DEADLINE);
        let (pool, readers) = match pools.and_then(|pool| Ok((pool, Readers::new(&self.connector)?))) {
            Ok(pools) => pools,
            Err(error) => return self.gone(error.to_string()),
        };
        let mut due = Instant::now();
        let fetching = self.fetching.clone();
        loop {
            tokio::select! {
                ask = self.asks.recv() => match ask {
                    // A server that is gone is asked for at its own pace.
                    Some(Ask::Look) if self.listening.is_some() => due = Instant::now(),
                    Some(ask) => self.answer(ask, &pool, &readers),
                    None => return,
                },
                noted = noted(&mut self.listening) => if noted {
                    due = Instant::now();
                } else {
                    self.gone("the connection was closed".to_owned());
                    // A server that went may be back at once; one that is gone is asked again soon enough.
                    due = Instant::now() + LOOK_TICK;
                },
                () = fetching.came.notified() => due = Instant::now(),
                () = tokio::time::sleep_until(due.into()) => {
                    self.look(&pool).await;
                    due = Instant::now() + self.pause();
                    pool.retain(|_, metrics| metrics.last_used() < CONNECTION_IDLE);
                    readers.let_go();
                }
            }
        }
    }

    fn pause(&self) -> Duration {
        match (&self.listening, self.standing().listens) {
            (None, _) => RECONNECT_TICK,
            (Some(_), true) => LISTENING_TICK,
            (Some(_), false) => LOOK_TICK,
        }
    }

    fn standing(&self) -> std::sync::MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&mut self, ask: Ask, pool: &Pool, readers: &Readers) {
        let tells = self.standing().listens;
        match ask {
            Ask::Meet(reply) => {
                let met = self.listening.is_some().then(|| self.standing().fleet).flatten();
                match met {
                    Some(fleet) => drop(reply.try_send(Ok(fleet))),
                    None => self.waiting.push(reply),
                }
            }
            // What was fetched and could not be taken in is fetched again.
            Ask::At(generation) => {
                self.at = Some(generation);
                self.fetching.generation.store(generation, Ordering::Relaxed);
            }
            Ask::Look => {}
            Ask::Commit { since, changes, until, reply } => {
                let pool = pool.clone();
                tokio::spawn(async move {
                    let _ = reply.try_send(commit_within(&pool, since, &changes, until, tells).await);
                });
            }
            Ask::Pull { since, reply } => {
                let (pool, fleet) = (pool.clone(), self.standing().fleet);
                tokio::spawn(async move {
                    let _ = reply.try_send(pull(&pool, fleet, since, None).await);
                });
            }
            Ask::Learn { told, after, reply } => {
                let (pool, machine, is_there) = (pool.clone(), self.fresh, self.listening.is_some());
                tokio::spawn(async move {
                    let learnt = if is_there { learn(&pool, machine, &told, after).await } else { Err(silent()) };
                    let _ = reply.send(learnt);
                });
            }
            Ask::Replace { rows, reply } => {
                let pool = pool.clone();
                tokio::spawn(async move {
                    let _ = reply.try_send(replace(&pool, &rows, tells).await);
                });
            }
            Ask::Sums(sitting) => drop(tokio::spawn(sit(readers.clone(), sitting))),
            Ask::Round { reply, .. } if self.listening.is_none() => {
                let trouble = self.standing().trouble.clone().unwrap_or_else(|| "no connection yet".to_owned());
                let _ = reply.send(Err(RoundError::Lost(trouble)));
            }
            Ask::Round { round, tidies, reply } => {
                let pool = pool.clone();
                tokio::spawn(async move {
                    let _ = reply.send(round_within(&pool, &round, tidies).await);
                });
            }
        }
    }

    /// Connects if need be, and asks how far the estate is; what the copy here does not know is fetched.
    async fn look(&mut self, pool: &Pool) {
        if self.listening.is_none() {
            match self.connect().await {
                Ok(listening) => self.listening = Some(listening),
                Err(error) => {
                    let trouble = error.to_string();
                    self.waiting.drain(..).for_each(|reply| drop(reply.try_send(Err(copied(&error)))));
                    return self.gone(trouble);
                }
            }
        }
        let Some(listening) = &self.listening else { return };
        let Some(look) = &listening.look else { return };
        let at = self.at.unwrap_or(u64::MAX);
        let seen = match timeout(LOOK_DEADLINE, news::glance(&listening.client, look, at)).await {
            Ok(Ok(seen)) => seen,
            Ok(Err(error)) => return self.gone(words(&error)),
            Err(_) => return self.gone("it does not answer in time".to_owned()),
        };
        let fleet = {
            let mut standing = self.standing();
            if !standing.is_reachable {
                (standing.is_reachable, standing.since, standing.trouble) = (true, Instant::now(), None);
            }
            standing.generation = seen.generation;
            standing.fleet
        };
        if let Some(fleet) = fleet {
            self.waiting.drain(..).for_each(|reply| drop(reply.try_send(Ok(fleet))));
        }
        let Some(since) = self.at else { return };
        let generation = seen.generation;
        let fetched = self.fetching.generation.load(Ordering::Relaxed).max(since);
        if (generation > fetched || generation < since) && !self.fetching.is_on.swap(true, Ordering::Relaxed) {
            // Beside the loop: who wants to change something does not wait for it.
            let pool = pool.clone();
            let (news, standing, fetching) = (self.news.clone(), self.standing.clone(), self.fetching.clone());
            tokio::spawn(async move {
                let fetched = pull(&pool, fleet, since, Some(&seen)).await;
                fetching.is_on.store(false, Ordering::Relaxed);
                match fetched {
                    Ok(some) => {
                        standing.lock().unwrap_or_else(PoisonError::into_inner).trouble = None;
                        fetching.generation.store(some.generation, Ordering::Relaxed);
                        drop(news.send(some));
                        // More may have been said meanwhile.
                        fetching.came.notify_one();
                    }
                    Err(error) => {
                        standing.lock().unwrap_or_else(PoisonError::into_inner).trouble = Some(error.to_string());
                    }
                }
            });
        }
    }

    async fn connect(&self) -> Result<Listening, FleetError> {
        let mut listening = self.connector.listen().await.map_err(FleetError::Unreachable)?;
        let ready = timeout(FIRST_PULL_DEADLINE, schema::migrate(&mut listening.client, self.fresh)).await;
        let fleet = ready.map_err(|_| FleetError::Unreachable("its tables are locked".to_owned()))??;
        let known = self.standing().fleet;
        if known.is_some_and(|known| known != fleet) {
            return Err(FleetError::Unreachable("it is another database than before".to_owned()));
        }
        let look = listening.client.prepare(&text::look()).await;
        listening.look = Some(look.map_err(|error| FleetError::Unreachable(words(&error)))?);
        let listens = self.connector.listens && listening.client.batch_execute("LISTEN igris_estate").await.is_ok();
        let mut standing = self.standing();
        (standing.fleet, standing.listens) = (Some(fleet), listens);
        drop(standing);
        Ok(listening)
    }

    fn gone(&mut self, trouble: String) {
        self.listening = None;
        let mut standing = self.standing();
        if standing.is_reachable {
            (standing.is_reachable, standing.since) = (false, Instant::now());
        }
        standing.trouble = Some(trouble);
    }
}

/// Waits for a notification; false: the connection has ended. Without one it waits for ever.
async fn noted(listening: &mut Option<Listening>) -> bool {
    match listening {
        Some(listening) => {
            let noted = listening.notes.recv().await.is_some();
            // Many at once are one look.
            while listening.notes.try_recv().is_ok() {}
            noted
        }
        None => std::future::pending().await,
    }
}

async fn client(pool: &Pool) -> Result<Object, ShareError> {
    pool.get().await.map_err(|error| {
        ShareError::Unreachable(match &error {
            deadpool_postgres::PoolError::Backend(error) => words(error),
            other => other.to_string(),
        })
    })
}

async fn commit_within(
    pool: &Pool,
    since: u64,
    changes: &[RowChange],
    until: Instant,
    tells: bool,
) -> Result<u64, ShareError> {
    // What waited in the queue until nobody waits for it any more is not begun.
    if until.saturating_duration_since(Instant::now()) < COMMIT_DEADLINE / 2 {
        return Err(ShareError::Unreachable("it does not answer in time".to_owned()));
    }
    let client = client(pool).await?;
    let within = until.saturating_duration_since(Instant::now());
    let outcome = match timeout(within, commit::commit(&client, since, changes, tells)).await {
        Ok(outcome) => outcome.map_err(ShareError::from),
        Err(_) => Err(ShareError::Unknown("it does not answer in time".to_owned())),
    };
    settle(client, &outcome);
    outcome
}

async fn replace(pool: &Pool, rows: &[RowChange], tells: bool) -> Result<Option<u64>, ShareError> {
    let client = client(pool).await?;
    let outcome = match timeout(FIRST_PULL_DEADLINE, commit::replace(&client, rows, tells)).await {
        Ok(outcome) => outcome.map_err(ShareError::from),
        Err(_) => Err(ShareError::Unknown("it does not answer in time".to_owned())),
    };
    settle(client, &outcome);
    outcome
}

async fn pull(pool: &Pool, fleet: Option<[u8; 16]>, since: u64, seen: Option<&Glance>) -> Result<News, ShareError> {
    let fleet = fleet.ok_or_else(|| ShareError::Unreachable("no connection yet".to_owned()))?;
    let client = client(pool).await?;
    let deadline = if since == 0 { FIRST_PULL_DEADLINE } else { PULL_DEADLINE };
    let outcome = match timeout(deadline, news::news(&client, fleet, since, seen)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ShareError::Unreachable("it does not answer in time".to_owned())),
    };
    settle(client, &outcome);
    outcome
}

async fn learn(pool: &Pool, machine: [u8; 16], told: &[Hearsay], after: Option<i64>) -> Result<Heard, ShareError> {
    let client = client(pool).await?;
    let outcome = timeout(LEARN_DEADLINE, hearsay::exchange(&client, machine, told, after)).await;
    let outcome = outcome.unwrap_or_else(|_| Err(silent()));
    settle(client, &outcome);
    outcome
}

fn silent() -> ShareError {
    ShareError::Unreachable("it does not answer in time".to_owned())
}

async fn round_within(pool: &Pool, round: &Round, tidies: bool) -> Result<RoundAnswer, RoundError> {
    let late = || RoundError::Lost("it does not answer in time".to_owned());
    let until = Instant::now() + ROUND_DEADLINE;
    let client = timeout(ROUND_DEADLINE, client(pool)).await.map_err(|_| late())?;
    let client = client.map_err(|error| RoundError::Lost(error.to_string()))?;
    let outcome = match tokio::time::timeout_at(until.into(), leases::round(&client, round)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(late()),
    };
    if outcome.is_ok() && tidies {
        // It is done again in a while, by whoever finds it due.
        let _ = timeout(ROUND_DEADLINE, leases::tidy(&client)).await;
    }
    if matches!(outcome, Err(RoundError::Lost(_))) {
        // It may still be in the middle of it.
        drop(Object::take(client));
    }
    outcome
}

/// A connection that broke, or that may still be at work for somebody who has left, is not used again.
fn settle<T>(client: Object, outcome: &Result<T, ShareError>) {
    if matches!(outcome, Err(ShareError::Unreachable(_) | ShareError::Unknown(_))) {
        drop(Object::take(client));
    }
}

fn copied(error: &FleetError) -> FleetError {
    match error {
        FleetError::TooNew { found, known } => FleetError::TooNew { found: *found, known: *known },
        FleetError::Place(text) => FleetError::Place(text.clone()),
        other => FleetError::Unreachable(match other {
            FleetError::Unreachable(text) => text.clone(),
            other => other.to_string(),
        }),
    }
}
