//! Partitions of days: made ahead and when they are needed, and dropped when they are no longer kept.
//!
//! The database's own clock says which day it is: a machine whose clock is wrong drops nothing. Of all machines one tends the tables, once an
//! hour: the one that moves the time of the last in `igris.books`. Where the engine has no partitions, rows are deleted, some at a time.

use super::shipment::DAY_MS;
use super::{BooksFault, Keep, Link, Tended, begin, fault_of};
use crate::domain::clock::UnixMillis;
use crate::limits::fleet::{DELETE_ROWS, PARTITIONS_AHEAD, TEND_LOCK_TIMEOUT, TEND_TICK};
use std::collections::BTreeSet;
use tokio_postgres::{Client, Error};

/// Whether the tables have partitions here.
pub(super) async fn has_partitions(client: &Client) -> Result<bool, Error> {
    let sql =
        "SELECT count(*) FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = 'igris' AND c.relname = 'attempts' AND c.relkind = 'p'";
    Ok(client.query_one(sql, &[]).await?.get::<_, i64>(0) > 0)
}

/// Makes the partitions of these days, but for those that are there.
pub(super) async fn make(link: &mut Link, days: &BTreeSet<i32>) -> Result<(), BooksFault> {
    if !link.has_partitions {
        return Ok(());
    }
    for day in days.iter().filter(|day| !link.days.contains(day)).copied().collect::<Vec<_>>() {
        if missing(&link.client, day).await.map_err(|error| fault_of(&error))?.is_empty() {
            link.days.insert(day);
            continue;
        }
        in_transaction(&link.client, async |client| {
            // One machine at a time, and it looks again.
            client.query_one("SELECT tended FROM igris.books WHERE one = 1 FOR UPDATE", &[]).await?;
            for table in missing(client, day).await? {
                client.batch_execute(&partition(table, day)).await?;
            }
            Ok(())
        })
        .await?;
        link.days.insert(day);
    }
    Ok(())
}

/// Makes partitions ahead and lets go what is no longer kept, if it is time for it.
pub(super) async fn tend(link: &mut Link, keep: &Keep) -> Result<Tended, BooksFault> {
    let now = clock(&link.client).await.map_err(|error| fault_of(&error))?;
    let (today, least) = (now / DAY, Least::of(now, keep));
    let ahead = (today..=today + PARTITIONS_AHEAD).filter_map(|day| i32::try_from(day).ok()).collect();
    make(link, &ahead).await?;
    let has_partitions = link.has_partitions;
    let dropped = in_transaction(&link.client, async |client| {
        let hour = i64::try_from(TEND_TICK.as_millis()).unwrap_or(i64::MAX);
        let sql = "UPDATE igris.books SET tended = $1 WHERE one = 1 AND tended <= $2";
        if client.execute(sql, &[&now, &(now - hour)]).await? == 0 {
            return Ok(None);
        }
        let mut gone = 0;
        for (table, least) in [("attempts", least.attempts), ("usage_hours", least.hours)] {
            let Some(least) = least.filter(|_| has_partitions) else { continue };
            for name in before(client, table, least).await? {
                client.batch_execute(&format!("DROP TABLE igris.{name}")).await?;
                gone += 1;
            }
        }
        Ok(Some(gone))
    })
    .await?;
    // A day that was dropped may come again, with a machine that was away for long.
    link.days.retain(|day| least.attempts.is_none_or(|least| i64::from(*day) >= least));
    link.days.retain(|day| least.hours.is_none_or(|least| i64::from(*day) >= least));
    match dropped {
        None => Ok(Tended::Done),
        Some(_) if has_partitions => Ok(Tended::Done),
        Some(_) => delete(link, keep).await,
    }
}

/// Deletes some rows that are no longer kept, where there are no partitions.
pub(super) async fn delete(link: &Link, keep: &Keep) -> Result<Tended, BooksFault> {
    let client = &link.client;
    let deleted = async {
        let least = Least::of(clock(client).await?, keep);
        let mut rows = 0;
        for (sql, least) in [(DELETE_ATTEMPTS, least.attempts), (DELETE_HOURS, least.hours.map(|day| day * 24))] {
            if let Some(least) = least {
                rows += client.execute(sql, &[&least, &DELETE_ROWS]).await?;
            }
        }
        Ok::<u64, Error>(rows)
    };
    match deleted.await.map_err(|error| fault_of(&error))? {
        0 => Ok(Tended::Done),
        _ => Ok(Tended::Part),
    }
}

/// The first days that are kept, since the Unix epoch; `None`: all.
struct Least {
    attempts: Option<i64>,
    hours: Option<i64>,
}

impl Least {
    fn of(now: i64, keep: &Keep) -> Self {
        let least = |keep: std::time::Duration| {
            now.saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX)).max(0) / DAY
        };
        Self { attempts: keep.attempts.map(least), hours: keep.hours.map(least) }
    }
}

/// What the database's clock says, milliseconds since the Unix epoch.
async fn clock(client: &Client) -> Result<i64, Error> {
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    Ok(client.query_one(sql, &[]).await?.get(0))
}

async fn in_transaction<T>(
    client: &Client,
    work: impl AsyncFnOnce(&Client) -> Result<T, Error>,
) -> Result<T, BooksFault> {
    let done = async {
        client.batch_execute(&begin(TEND_LOCK_TIMEOUT)).await?;
        let done = work(client).await?;
        client.batch_execute("COMMIT").await?;
        Ok(done)
    };
    match done.await {
        Ok(done) => Ok(done),
        Err(error) => {
            // What cannot be rolled back is a connection that is gone, and the next statement says so.
            let _ = client.batch_execute("ROLLBACK").await;
            Err(fault_of(&error))
        }
    }
}

/// The tables that have no partition of a day.
async fn missing(client: &Client, day: i32) -> Result<Vec<&'static str>, Error> {
    let names = TABLES.map(|table| name(table, day.into()));
    let sql = "SELECT c.relname::text FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = 'igris' AND c.relname = ANY($1::text[])";
    let rows = client.query(sql, &[&names.as_slice()]).await?;
    let there: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(TABLES.into_iter().filter(|table| !there.contains(&name(table, day.into()))).collect())
}

/// Makes a partition beside its table and then attaches it: that locks out nobody who reads or writes.
fn partition(table: &str, day: i32) -> String {
    let (name, day) = (name(table, day.into()), i64::from(day));
    let (from, to) = if table == "attempts" { (day, day + 1) } else { (day * 24, day * 24 + 24) };
    format!(
        "CREATE TABLE igris.{name} (LIKE igris.{table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
         ALTER TABLE igris.{table} ATTACH PARTITION igris.{name} FOR VALUES FROM ({from}) TO ({to})"
    )
}

/// Partitions of days before this one. Their names sort by date; nothing else that hangs below a table is touched.
async fn before(client: &Client, table: &str, least: i64) -> Result<Vec<String>, Error> {
    let sql =
        "SELECT c.relname::text FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
        JOIN pg_catalog.pg_class AS p ON p.oid = i.inhparent JOIN pg_catalog.pg_namespace AS n ON n.oid = p.relnamespace
        WHERE n.nspname = 'igris' AND p.relname = $1::text ORDER BY 1";
    let least = name(table, least);
    let rows = client.query(sql, &[&table]).await?;
    let is_ours = |name: &String| {
        let date = name.strip_prefix(table).and_then(|rest| rest.strip_prefix('_')).unwrap_or_default();
        date.len() == "2026_11_27".len() && date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
    };
    Ok(rows.iter().map(|row| row.get(0)).filter(|name| is_ours(name) && *name < least).collect())
}

/// `attempts_2026_11_27`
fn name(table: &str, day: i64) -> String {
    let date = UnixMillis(u64::try_from(day).unwrap_or(0) * DAY_MS).to_rfc3339();
    format!("{table}_{}", date.get(..10).unwrap_or_default().replace('-', "_"))
}

const TABLES: [&str; 2] = ["attempts", "usage_hours"];
const DAY: i64 = 86_400_000;

const DELETE_ATTEMPTS: &str = "DELETE FROM igris.attempts WHERE (day, attempt) IN
    (SELECT day, attempt FROM igris.attempts WHERE day < $1::bigint ORDER BY day, attempt LIMIT $2::bigint)";

const DELETE_HOURS: &str = "DELETE FROM igris.usage_hours
    WHERE (tenant, hour, provider, model, policy, credential, access_key) IN
    (SELECT tenant, hour, provider, model, policy, credential, access_key FROM igris.usage_hours
     WHERE hour < $1::bigint ORDER BY hour LIMIT $2::bigint)";
