//! A change, committed: if nothing was changed since, the rows are written under the next generation, in one transaction.

use super::connect::words;
use super::key;
use super::pipeline::all;
use super::text::{clear, delete, upsert};
use super::value::{Parameter, array, unstorable};
use crate::limits::fleet::ROWS_PER_STATEMENT;
use crate::store::{ESTATE, RowChange, ShareError, Table, Value};
use deadpool_postgres::ClientWrapper as Client;
use std::pin::Pin;
use tokio_postgres::types::ToSql;

/// What went wrong, and how far it had come.
pub(super) enum Fault {
    /// Nothing was changed.
    Before(tokio_postgres::Error),
    /// It may have been changed.
    While(tokio_postgres::Error),
    /// Nothing was changed, and for good.
    Refused(ShareError),
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Before(error)
    }
}

impl From<Fault> for ShareError {
    fn from(fault: Fault) -> Self {
        let is_said = |error: &tokio_postgres::Error| error.as_db_error().is_some();
        match fault {
            Fault::Refused(error) => error,
            // Two that wrote at once, on an engine that lets neither wait.
            Fault::Before(error) | Fault::While(error) if is_conflict(&error) => Self::Behind,
            Fault::Before(error) | Fault::While(error) if is_said(&error) && !is_passing(&error) => {
                Self::Refused(words(&error))
            }
            Fault::Before(error) => Self::Unreachable(words(&error)),
            Fault::While(error) => Self::Unknown(words(&error)),
        }
    }
}

/// `serialization_failure` and `deadlock_detected`.
pub(super) fn is_conflict(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| matches!(code.code(), "40001" | "40P01"))
}

/// What the server says when it is about to be gone, or has no room: classes 53, 57 and 58, and a server that only reads.
pub(super) fn is_passing(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| matches!(&code.code()[..2], "53" | "57" | "58" | "08") || code.code() == "25006")
}

/// Writes changes if the estate is at `since`; answers the generation it is at then.
///
/// Everything up to the commit is sent in one go and answered in one: what a change costs on a slow line is two round trips, not two for
/// each table. Where another machine was faster, what was written in vain is rolled back.
pub(super) async fn commit(client: &Client, since: u64, changes: &[RowChange], tells: bool) -> Result<u64, Fault> {
    if let Some(place) = unstorable(changes) {
        return Err(Fault::Refused(zero_byte(&place)));
    }
    let since = i64::try_from(since).unwrap_or(i64::MAX);
    let next = since.saturating_add(1);
    let sql = "UPDATE igris.fleet SET generation = generation + 1 WHERE one = 1 AND generation = $1";
    let mut steps = vec![Step::new(sql, vec![Box::new(since)])];
    write(&mut steps, changes, next);
    if tells {
        steps.push(Step::tell(next));
    }
    match run(client, &steps).await {
        Ok(counts) if counts.first() == Some(&1) => {
            client.batch_execute("COMMIT").await.map_err(Fault::While)?;
            Ok(u64::try_from(next).unwrap_or(0))
        }
        Ok(_) => Err(undone(client, Fault::Refused(ShareError::Behind)).await),
        Err(error) => Err(undone(client, Fault::Before(error)).await),
    }
}

/// Puts a whole estate into a database that has none. `None`: there is one.
pub(super) async fn replace(client: &Client, rows: &[RowChange], tells: bool) -> Result<Option<u64>, Fault> {
    if let Some(place) = unstorable(rows) {
        return Err(Fault::Refused(zero_byte(&place)));
    }
    client.batch_execute(&super::begin()).await?;
    let row = client.query_one("SELECT generation FROM igris.fleet WHERE one = 1 FOR UPDATE", &[]).await?;
    let next = row.get::<_, i64>(0).saturating_add(1);
    if client.query_opt("SELECT 1 FROM igris.vault", &[]).await?.is_some() {
        client.batch_execute("ROLLBACK").await?;
        return Ok(None);
    }
    let mut steps = vec![Step::new("UPDATE igris.fleet SET generation = $1 WHERE one = 1", vec![Box::new(next)])];
    steps.extend(ESTATE.iter().map(|table| Step::new(clear(table), Vec::new())));
    write(&mut steps, rows, next);
    if tells {
        steps.push(Step::tell(next));
    }
    if let Err(error) = steps_in_turn(client, &steps).await {
        return Err(undone(client, Fault::Before(error)).await);
    }
    client.batch_execute("COMMIT").await.map_err(Fault::While)?;
    Ok(Some(u64::try_from(next).unwrap_or(0)))
}

/// A statement with its parameters.
struct Step {
    sql: String,
    values: Vec<Parameter>,
}

impl Step {
    fn new(sql: impl Into<String>, values: Vec<Parameter>) -> Self {
        Self { sql: sql.into(), values }
    }

    fn tell(next: i64) -> Self {
        Self::new("SELECT pg_notify('igris_estate', $1)", vec![Box::new(next.to_string())])
    }
}

/// Begins a transaction and runs the statements in it, all sent before the first is answered; answers how many rows each touched.
async fn run(client: &Client, steps: &[Step]) -> Result<Vec<u64>, tokio_postgres::Error> {
    type Running<'a> = Pin<Box<dyn Future<Output = Result<u64, tokio_postgres::Error>> + Send + 'a>>;
    let prepared = all(steps.iter().map(|step| Box::pin(client.prepare_cached(&step.sql))).collect()).await?;
    let begin: Running<'_> = Box::pin(async { client.batch_execute(&super::begin()).await.map(|()| 0) });
    let values: Vec<_> = steps.iter().map(|step| lent(&step.values)).collect();
    let runs = prepared
        .iter()
        .zip(&values)
        .map(|(statement, values)| -> Running<'_> { Box::pin(async move { client.execute(statement, values).await }) });
    let mut counts = all(std::iter::once(begin).chain(runs).collect()).await?;
    Ok(counts.split_off(1))
}

async fn steps_in_turn(client: &Client, steps: &[Step]) -> Result<(), tokio_postgres::Error> {
    for step in steps {
        let statement = client.prepare_cached(&step.sql).await?;
        client.execute(&statement, &lent(&step.values)).await?;
    }
    Ok(())
}

/// Rolls back, so that the connection can be used again; one that cannot is not.
async fn undone(client: &Client, fault: Fault) -> Fault {
    match client.batch_execute("ROLLBACK").await {
        Ok(()) => fault,
        Err(error) => Fault::Before(error),
    }
}

fn zero_byte(place: &str) -> ShareError {
    ShareError::Refused(format!("a text with a zero byte cannot be kept there ({place})"))
}

fn write(steps: &mut Vec<Step>, changes: &[RowChange], next: i64) {
    for table in ESTATE {
        let of_table = || changes.iter().filter(|change| change.table.name == table.name);
        let rows: Vec<&[Value]> = of_table().filter_map(|change| change.row.as_deref()).collect();
        steps.extend(rows.chunks(ROWS_PER_STATEMENT).map(|some| put(table, some, next)));
        if can_go(table) && !rows.is_empty() {
            let back: Vec<String> =
                of_table().filter(|change| change.row.is_some()).map(|change| key::write(&change.key)).collect();
            let sql = "DELETE FROM igris.gone WHERE tbl = $1 AND key = ANY($2)";
            steps.push(Step::new(sql, vec![Box::new(table.name), Box::new(back)]));
        }
        for change in of_table().filter(|change| change.row.is_none()) {
            steps.push(Step::new(delete(table), super::value::key(table, &change.key)));
            let values: Vec<Parameter> = vec![Box::new(table.name), Box::new(key::write(&change.key)), Box::new(next)];
            steps.push(Step::new(GONE, values));
        }
    }
}

fn put(table: &Table, rows: &[&[Value]], next: i64) -> Step {
    let columns = table.columns.iter().enumerate();
    let mut values: Vec<Parameter> = columns.map(|(place, column)| array(column.kind, place, rows)).collect();
    values.push(Box::new(next));
    Step::new(upsert(table), values)
}

/// A row is gone since this generation.
const GONE: &str = "INSERT INTO igris.gone VALUES ($1, $2, $3)
    ON CONFLICT (tbl, key) DO UPDATE SET fleet_generation = excluded.fleet_generation";

/// Whether rows of a table are ever deleted, so that one may come back.
fn can_go(table: &Table) -> bool {
    matches!(table.name, "budgets" | "webhooks" | "retired_keys" | "rotations" | "kek_versions")
}

fn lent(values: &[Parameter]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
}
