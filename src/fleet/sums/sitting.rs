//! One asker's connection, on the fleet's thread: from its first question to its last.

use super::super::FleetError;
use super::super::connect::{Connector, Stopper, words};
use super::super::pipeline::all;
use super::{SumsError, silent};
use crate::limits::fleet::{CONNECTION_IDLE, READERS_MAX, SUMS_OPEN_DEADLINE};
use deadpool_postgres::{Object, Pool, PoolError};
use std::pin::Pin;
use std::sync::mpsc::SyncSender;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{timeout, timeout_at};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

/// One parameter that owns what it is.
pub(super) type Parameter = Box<dyn ToSql + Sync + Send>;

/// Somebody who wants to ask.
pub(in crate::fleet) struct Sitting {
    /// When the last answer must be there.
    pub(super) until: Instant,
    /// Closed when nobody waits for any answer any more.
    pub(super) left: oneshot::Receiver<()>,
    /// The questions, one after the other.
    pub(super) asked: mpsc::UnboundedReceiver<Wanted>,
    /// Whether questions can be asked.
    pub(super) opened: SyncSender<Result<(), SumsError>>,
}

/// One question.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) text: String,
    pub(super) parameters: Vec<(Parameter, Type)>,
    pub(super) reply: SyncSender<Result<Vec<Row>, SumsError>>,
}

/// Connections for who only reads. Changes have others, so that no page is in their way.
#[derive(Clone)]
pub(in crate::fleet) struct Readers {
    pool: Pool,
    stopper: Stopper,
}

// === impl Readers ===

impl Readers {
    /// # Errors
    /// [`FleetError::Place`].
    pub(in crate::fleet) fn new(connector: &Connector) -> Result<Self, FleetError> {
        Ok(Self { pool: connector.pool(READERS_MAX, SUMS_OPEN_DEADLINE)?, stopper: connector.stopper() })
    }

    /// Closes connections that nobody has used for a while.
    pub(in crate::fleet) fn let_go(&self) {
        self.pool.retain(|_, metrics| metrics.last_used() < CONNECTION_IDLE);
    }

    /// A connection in a transaction.
    async fn open(&self, until: Instant) -> Result<Object, SumsError> {
        let deadline = until.min(Instant::now() + SUMS_OPEN_DEADLINE).into();
        let client = match timeout_at(deadline, self.pool.get()).await {
            Ok(Ok(client)) => client,
            Ok(Err(PoolError::Backend(error))) => return Err(said(&error)),
            Ok(Err(PoolError::Timeout(_))) | Err(_) => return Err(silent()),
            Ok(Err(other)) => return Err(SumsError::Unreachable(other.to_string())),
        };
        let error = match timeout_at(deadline, begin(&client, until)).await {
            Ok(Ok(())) => return Ok(client),
            Ok(Err(error)) => said(&error),
            Err(_) => silent(),
        };
        // What is half begun is nobody else's connection.
        drop(Object::take(client));
        Err(error)
    }

    /// Closes a connection, and has the database stop what it does there: it would notice only with the first line of the answer.
    async fn close(&self, client: Object) {
        let token = client.cancel_token();
        drop(Object::take(client));
        // Whether it was heard does not matter: the statement has a deadline of its own there.
        let _ = timeout(SUMS_OPEN_DEADLINE, self.stopper.stop(token)).await;
    }
}

/// One instant, reading alone, and no statement longer than the asker waits: begun in one round trip.
async fn begin(client: &Object, until: Instant) -> Result<(), tokio_postgres::Error> {
    type Step<'a> = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send + 'a>>;
    let left = until.saturating_duration_since(Instant::now()).as_millis().max(1).to_string();
    let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&left, Type::TEXT)];
    let begin: Step<'_> = Box::pin(client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"));
    let bound: Step<'_> = Box::pin(async { client.query_typed(BOUND, &parameters).await.map(drop) });
    all(vec![begin, bound]).await.map(drop)
}

/// Answers questions until there are no more, the deadline is over or nobody waits.
pub(in crate::fleet) async fn sit(readers: Readers, sitting: Sitting) {
    let Sitting { until, mut left, mut asked, opened } = sitting;
    let client = match readers.open(until).await {
        Ok(client) => client,
        Err(error) => return drop(opened.try_send(Err(error))),
    };
    if opened.try_send(Ok(())).is_err() {
        return readers.close(client).await;
    }
    loop {
        let wanted = match timeout_at(until.into(), asked.recv()).await {
            Ok(Some(wanted)) => wanted,
            Ok(None) => break,
            Err(_) => return readers.close(client).await,
        };
        let parameters: Vec<(&(dyn ToSql + Sync), Type)> =
            wanted.parameters.iter().map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone())).collect();
        let rows = tokio::select! {
            answered = timeout_at(until.into(), client.query_typed(&wanted.text, &parameters)) => match answered {
                Ok(rows) => rows.map_err(|error| said(&error)),
                Err(_) => Err(SumsError::TooLong),
            },
            _ = &mut left => Err(SumsError::TooLong),
        };
        let is_broken = rows.is_err();
        drop(wanted.reply.try_send(rows));
        if is_broken {
            return readers.close(client).await;
        }
    }
    match timeout(SUMS_OPEN_DEADLINE, client.batch_execute("ROLLBACK")).await {
        Ok(Ok(())) => {}
        _ => drop(Object::take(client)),
    }
}

fn said(error: &tokio_postgres::Error) -> SumsError {
    match error.code() {
        Some(&SqlState::QUERY_CANCELED) => SumsError::TooLong,
        _ => SumsError::Unreachable(words(error)),
    }
}

/// Milliseconds, for this transaction.
const BOUND: &str = "SELECT set_config('statement_timeout', $1, true)";
