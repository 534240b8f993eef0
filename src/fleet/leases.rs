//! A round of leases: a machine says that it lives and what it used of the limits that all share, and hears what it may use.
//!
//! ```text
//!   BEGIN; I live; who else; pools made and locked in the order of their keys; their leases; what moved   -> one answer
//!   share::give for each                                                                                  (here)
//!   leases and pools written; COMMIT                                                                      -> one answer
//! ```
//!
//! The rounds of one machine are numbered, so that one that comes late is refused and never undoes what a later one did. A machine
//! whose row another process has taken hears that and changes nothing.

use super::connect::words;
use super::pipeline::all;
use super::share::{Decided, LeaseRow, Mine, Nature, Peer, Pool};
use crate::limits::fleet::{LEASE_TERM_FLEET, MACHINE_KEPT, POOL_KEPT, ROUND_OVERLAP};
use deadpool_postgres::ClientWrapper as Client;
use std::collections::HashMap;
use std::pin::Pin;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// Of what a lease is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quantity {
    /// Money in a period, by the period's place among all of them.
    Money(u8),
    /// Requests in a minute.
    Requests,
    /// Tokens in a minute.
    Tokens,
    /// Requests at a time.
    Places,
}

/// Names one limit in one period, whoever asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolName {
    /// An access key or a tenant, as the store writes it.
    pub holder: Vec<u8>,
    /// Of what.
    pub quantity: Quantity,
    /// When the period began, milliseconds since the Unix epoch; 0 where there is none.
    pub epoch: i64,
}

/// What a machine wants of one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseAsk {
    /// Which limit.
    pub pool: PoolName,
    /// When its period ends, milliseconds since the Unix epoch; `i64::MAX`: never.
    pub ends: i64,
    /// The limit: nanodollars, or a count.
    pub limit: u64,
    /// What it has used, may still use, and wants.
    pub mine: Mine,
    /// Of what flows: whether nothing is owed of what it let go.
    pub is_full: bool,
}

/// Who says what in a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// The machine.
    pub machine: [u8; 16],
    /// This run of its process.
    pub incarnation: [u8; 16],
    /// What people call it.
    pub name: String,
    /// Its number, from 1; larger than that of every round before.
    pub turn: u64,
    /// Whether it takes its row from whoever has it: the first round of a process.
    pub claims: bool,
    /// The database's time of the last round whose answer was taken in; 0: none was.
    pub knows: i64,
    /// How many machines there were by that answer.
    pub peers: u64,
    /// Whether its leases stay its own when it is not heard of.
    pub is_bound: bool,
    /// What it wants.
    pub asks: Vec<LeaseAsk>,
}

/// What a machine hears.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoundAnswer {
    /// The database's time, milliseconds since the Unix epoch.
    pub seen: i64,
    /// Machines that live.
    pub machines: u64,
    /// What may be used, in the order of the asks, and what others have used.
    pub grants: Vec<Granted>,
    /// Pools that moved since the last answer, and those of the asks.
    pub pools: Vec<PoolNews>,
}

/// What comes of one ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// What the machine may use beyond what it said it had used.
    pub may: u64,
    /// What all others have used.
    pub elsewhere: u64,
    /// Of what flows: whether what is new in it was used by nobody for a minute.
    pub is_full: bool,
}

/// What is known of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolNews {
    /// Which one.
    pub pool: PoolName,
    /// When its period ends.
    pub ends: i64,
    /// What all have used.
    pub used: u64,
    /// Whether there is no more credit in it.
    pub is_closed: bool,
}

/// Why a round was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoundError {
    /// Another process goes by this machine's name.
    #[error("another process goes by this machine's name")]
    Displaced,
    /// It did not get there, or came too late; nothing is known of it.
    #[error("the database took no round of leases: {0}")]
    Lost(String),
}

impl From<tokio_postgres::Error> for RoundError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Lost(words(&error))
    }
}

// === impl LeaseAsk ===

impl LeaseAsk {
    /// What comes of it, by what the database has.
    pub fn decide(&self, pool: &Pool, peers: &HashMap<[u8; 16], Peer>, seen: i64) -> Decided {
        pool.decide((self.pool.quantity.nature(), self.limit), (self.mine, self.is_full), peers, seen)
    }
}

// === impl Quantity ===

impl Quantity {
    /// As the tables write it.
    pub fn to_sql(self) -> i16 {
        match self {
            Self::Money(period) => i16::from(period),
            Self::Requests => 100,
            Self::Tokens => 101,
            Self::Places => 102,
        }
    }

    fn from_sql(kind: i16) -> Option<Self> {
        match kind {
            0..=99 => u8::try_from(kind).ok().map(Self::Money),
            100 => Some(Self::Requests),
            101 => Some(Self::Tokens),
            102 => Some(Self::Places),
            _ => None,
        }
    }

    /// Whether what is used comes back.
    pub fn nature(self) -> Nature {
        match self {
            Self::Money(_) => Nature::Spent,
            _ => Nature::Flowing,
        }
    }
}

// ---- One round --------------------------------------------------------------------------------------------------------------

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, tokio_postgres::Error>> + Send + 'a>>;

/// The columns of the asks, in the order in which pools are locked.
struct Columns {
    holders: Vec<Vec<u8>>,
    kinds: Vec<i16>,
    epochs: Vec<i64>,
    ends: Vec<i64>,
}

/// Says and hears all of it in one transaction; the connection is not to be used again after [`RoundError::Lost`].
pub(super) async fn round(client: &Client, round: &Round) -> Result<RoundAnswer, RoundError> {
    let mut order: Vec<usize> = (0..round.asks.len()).collect();
    order.sort_by(|one, other| round.asks[*one].pool.cmp(&round.asks[*other].pool));
    let asks: Vec<&LeaseAsk> = order.iter().map(|place| &round.asks[*place]).collect();
    let columns = Columns::of(&asks);
    let answers = open(client, round, &columns).await?;
    let Some(own) = answers[0].first() else {
        client.batch_execute("ROLLBACK").await?;
        return Err(RoundError::Displaced);
    };
    if !own.try_get::<_, bool>(1)? {
        client.batch_execute("ROLLBACK").await?;
        return Err(RoundError::Lost("a later round was there before".to_owned()));
    }
    let seen: i64 = own.try_get(0)?;
    let peers = peers(&answers[1], round, seen)?;
    let mut locked = locked(&answers[3], &answers[4], round)?;
    let mut given = Vec::with_capacity(asks.len());
    let mut told: Vec<PoolNews> =
        answers[5].iter().map(news).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    for ask in &asks {
        let pool = locked.remove(&ask.pool).unwrap_or_default();
        given.push(ask.decide(&pool, &peers, seen));
    }
    for (ask, one) in asks.iter().zip(&given) {
        let used = one.used.saturating_add(one.elsewhere);
        told.push(PoolNews { pool: ask.pool.clone(), ends: ask.ends, used, is_closed: one.closed != 0 });
    }
    close(client, round, &columns, &asks, &given).await?;
    let mut grants = vec![Granted { may: 0, elsewhere: 0, is_full: false }; asks.len()];
    for (place, one) in order.into_iter().zip(&given) {
        grants[place] = Granted { may: one.given.may, elsewhere: one.elsewhere, is_full: one.is_full };
    }
    let machines = 1 + peers.values().filter(|peer| peer.lives).count() as u64;
    Ok(RoundAnswer { seen, machines, grants, pools: told })
}

/// Deletes what no period under way needs.
pub(super) async fn tidy(client: &Client) -> Result<(), tokio_postgres::Error> {
    let (pools, machines) = (millis(POOL_KEPT), millis(MACHINE_KEPT));
    client.execute(TIDY_LEASES, &[&pools]).await?;
    client.execute(TIDY_POOLS, &[&pools]).await?;
    client.execute(TIDY_MACHINES, &[&machines]).await?;
    Ok(())
}

impl Columns {
    fn of(asks: &[&LeaseAsk]) -> Self {
        Self {
            holders: asks.iter().map(|ask| ask.pool.holder.clone()).collect(),
            kinds: asks.iter().map(|ask| ask.pool.quantity.to_sql()).collect(),
            epochs: asks.iter().map(|ask| ask.pool.epoch).collect(),
            ends: asks.iter().map(|ask| ask.ends).collect(),
        }
    }
}

/// Everything that is asked before anything can be decided, sent in one go.
async fn open(client: &Client, round: &Round, columns: &Columns) -> Result<Vec<Vec<Row>>, tokio_postgres::Error> {
    let (machine, incarnation) = (round.machine.as_slice(), round.incarnation.as_slice());
    let (turn, peers) = (signed(round.turn), signed(round.peers));
    let overlap = round.knows.saturating_sub(millis(ROUND_OVERLAP));
    let Columns { holders, kinds, epochs, ends } = columns;
    let live: [&(dyn ToSql + Sync); 8] =
        [&machine, &incarnation, &round.name, &turn, &round.knows, &peers, &round.is_bound, &round.claims];
    let no: [&(dyn ToSql + Sync); 0] = [];
    let keys: [&(dyn ToSql + Sync); 3] = [holders, kinds, epochs];
    let made: [&(dyn ToSql + Sync); 4] = [holders, kinds, epochs, ends];
    let since: [&(dyn ToSql + Sync); 1] = [&overlap];
    let steps: [(&str, &[&(dyn ToSql + Sync)]); 6] =
        [(LIVE, &live), (MACHINES, &no), (MAKE, &made), (LOCK, &keys), (LEASES, &keys), (MOVED, &since)];
    let statements = all(steps.iter().map(|(sql, _)| Box::pin(client.prepare_cached(sql))).collect()).await?;
    let begin: Answer<'_> = Box::pin(async { client.batch_execute(BEGIN).await.map(|()| Vec::new()) });
    let runs = statements.iter().zip(&steps).map(|(statement, (_, values))| -> Answer<'_> {
        Box::pin(async move { client.query(statement, values).await })
    });
    let mut answers = all(std::iter::once(begin).chain(runs).collect()).await?;
    Ok(answers.split_off(1))
}

/// Everything that was decided, and the commit.
async fn close(
    client: &Client,
    round: &Round,
    columns: &Columns,
    asks: &[&LeaseAsk],
    given: &[Decided],
) -> Result<(), tokio_postgres::Error> {
    if asks.is_empty() {
        return client.batch_execute("COMMIT").await;
    }
    let numbers = |pick: fn(&Decided) -> u64| given.iter().map(|one| signed(pick(one))).collect::<Vec<i64>>();
    let (used, granted) = (numbers(|one| one.used), numbers(|one| one.given.noted));
    let all_used = numbers(|one| one.used.saturating_add(one.elsewhere));
    let stamps = |pick: fn(&Decided) -> i64| given.iter().map(pick).collect::<Vec<i64>>();
    let (closed, spilled) = (stamps(|one| one.closed), stamps(|one| one.spilled));
    let wants: Vec<i64> = asks.iter().map(|ask| signed(ask.mine.want)).collect();
    let machine = round.machine.as_slice();
    let Columns { holders, kinds, epochs, ends } = columns;
    let lease: [&(dyn ToSql + Sync); 8] = [holders, kinds, epochs, &machine, ends, &used, &granted, &wants];
    let pool: [&(dyn ToSql + Sync); 6] = [holders, kinds, epochs, &all_used, &closed, &spilled];
    let statements = all([WRITE, TELL].into_iter().map(|sql| Box::pin(client.prepare_cached(sql))).collect()).await?;
    let steps: [&[&(dyn ToSql + Sync)]; 2] = [&lease, &pool];
    let runs = statements
        .iter()
        .zip(steps)
        .map(|(statement, values)| -> Answer<'_> { Box::pin(async move { client.query(statement, values).await }) });
    // A commit after a step that failed is a rollback, and the step's error is what is heard.
    let commit: Answer<'_> = Box::pin(async { client.batch_execute("COMMIT").await.map(|()| Vec::new()) });
    all(runs.chain([commit]).collect()).await.map(drop)
}

fn peers(rows: &[Row], round: &Round, seen: i64) -> Result<HashMap<[u8; 16], Peer>, tokio_postgres::Error> {
    let mut peers = HashMap::new();
    for row in rows {
        let (id, last): (Vec<u8>, i64) = (row.try_get(0)?, row.try_get(1)?);
        let Ok(id) = <[u8; 16]>::try_from(id) else { continue };
        if id != round.machine {
            let lives = last > seen.saturating_sub(millis(LEASE_TERM_FLEET));
            let (knows, peers_known) = (row.try_get(2)?, unsigned(row.try_get(3)?));
            peers.insert(id, Peer { lives, seen: last, bound: row.try_get(4)?, knows, peers: peers_known });
        }
    }
    Ok(peers)
}

fn locked(pools: &[Row], leases: &[Row], round: &Round) -> Result<HashMap<PoolName, Pool>, tokio_postgres::Error> {
    let mut locked: HashMap<PoolName, Pool> = HashMap::new();
    for row in pools {
        if let Some(name) = name(row)? {
            let pool = locked.entry(name).or_default();
            (pool.closed, pool.spilled) = (row.try_get(3)?, row.try_get(4)?);
        }
    }
    for row in leases {
        let Some(pool) = name(row)?.and_then(|name| locked.get_mut(&name)) else { continue };
        let machine: Vec<u8> = row.try_get(3)?;
        let number = |place| row.try_get(place).map(unsigned);
        let (used, granted, want) = (number(4)?, number(5)?, number(6)?);
        let Ok(machine) = <[u8; 16]>::try_from(machine) else { continue };
        let lease = LeaseRow { used, granted, want };
        match machine == round.machine {
            true => pool.mine = lease,
            false => pool.others.push((machine, lease)),
        }
    }
    Ok(locked)
}

fn name(row: &Row) -> Result<Option<PoolName>, tokio_postgres::Error> {
    let quantity = Quantity::from_sql(row.try_get(1)?);
    let (holder, epoch) = (row.try_get(0)?, row.try_get(2)?);
    Ok(quantity.map(|quantity| PoolName { holder, quantity, epoch }))
}

fn news(row: &Row) -> Result<Option<PoolNews>, tokio_postgres::Error> {
    let (closed, used, ends): (i64, i64, i64) = (row.try_get(3)?, row.try_get(4)?, row.try_get(5)?);
    Ok(name(row)?.map(|pool| PoolNews { pool, ends, used: unsigned(used), is_closed: closed != 0 }))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Nobody holds locks for longer than a round may last: a machine that went silent in the middle of one is undone by the database.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '1500ms';
    SET LOCAL idle_in_transaction_session_timeout = '2s'";

/// No row: it is another process's. False: a later round was there before.
const LIVE: &str = "INSERT INTO igris.machines AS m (id, incarnation, name, turn, seen, knows, peers, is_bound)
    VALUES ($1, $2, $3, $4, (extract(epoch FROM clock_timestamp()) * 1000)::bigint, $5, $6, $7)
    ON CONFLICT (id) DO UPDATE SET incarnation = excluded.incarnation, name = excluded.name,
        turn = CASE WHEN m.incarnation = excluded.incarnation THEN greatest(m.turn, excluded.turn) ELSE excluded.turn END,
        seen = excluded.seen, knows = excluded.knows, peers = excluded.peers, is_bound = excluded.is_bound
    WHERE m.incarnation = excluded.incarnation OR $8
    RETURNING m.seen, m.turn = $4";
const MACHINES: &str = "SELECT id, seen, knows, peers, is_bound FROM igris.machines";
const MAKE: &str = "INSERT INTO igris.pools (holder, kind, epoch, ends, used, closed, spilled, moved)
    SELECT u.*, 0, 0, 0, 0 FROM unnest($1::bytea[], $2::smallint[], $3::bigint[], $4::bigint[]) AS u
    ON CONFLICT (holder, kind, epoch) DO NOTHING";
const LOCK: &str = "SELECT p.holder, p.kind, p.epoch, p.closed, p.spilled FROM igris.pools AS p
    JOIN unnest($1::bytea[], $2::smallint[], $3::bigint[]) AS u (holder, kind, epoch)
        ON p.holder = u.holder AND p.kind = u.kind AND p.epoch = u.epoch
    ORDER BY p.holder, p.kind, p.epoch FOR UPDATE OF p";
const LEASES: &str = "SELECT l.holder, l.kind, l.epoch, l.machine, l.used, l.granted, l.want FROM igris.leases AS l
    JOIN unnest($1::bytea[], $2::smallint[], $3::bigint[]) AS u (holder, kind, epoch)
        ON l.holder = u.holder AND l.kind = u.kind AND l.epoch = u.epoch";
const MOVED: &str = "SELECT holder, kind, epoch, closed, used, ends FROM igris.pools
    WHERE moved > $1 AND ends > (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
const WRITE: &str = "INSERT INTO igris.leases (holder, kind, epoch, machine, ends, used, granted, want)
    SELECT u.holder, u.kind, u.epoch, $4::bytea, u.ends, u.used, u.granted, u.want
    FROM unnest($1::bytea[], $2::smallint[], $3::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
        AS u (holder, kind, epoch, ends, used, granted, want)
    ON CONFLICT (holder, kind, epoch, machine) DO UPDATE SET used = excluded.used, granted = excluded.granted, want = excluded.want";
/// Last, so that next to no time lies between its stamp and the commit.
const TELL: &str = "UPDATE igris.pools AS p SET closed = u.closed, used = u.used, spilled = u.spilled,
        moved = (extract(epoch FROM clock_timestamp()) * 1000)::bigint
    FROM unnest($1::bytea[], $2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
        AS u (holder, kind, epoch, used, closed, spilled)
    WHERE p.holder = u.holder AND p.kind = u.kind AND p.epoch = u.epoch AND (p.used <> u.used OR p.closed <> u.closed OR p.spilled <> u.spilled)";

const TIDY_LEASES: &str =
    "DELETE FROM igris.leases WHERE ends < (extract(epoch FROM clock_timestamp()) * 1000)::bigint - $1";
const TIDY_POOLS: &str =
    "DELETE FROM igris.pools WHERE ends < (extract(epoch FROM clock_timestamp()) * 1000)::bigint - $1";
const TIDY_MACHINES: &str =
    "DELETE FROM igris.machines WHERE seen < (extract(epoch FROM clock_timestamp()) * 1000)::bigint - $1";

#[cfg(test)]
#[path = "leases_tests.rs"]
mod tests;
