//! The tables in the database, as a list of steps that only ever grows at its end.
//!
//! `igris.fleet` has one row: which database this is, the generation of the estate, and how many steps were taken. A step and its number
//! are one transaction that holds this row, so that of two machines that start at once one takes the step and the other finds it taken.
//! Tables that a newer build made are refused, never guessed at.
//!
//! There are no foreign keys: a change was made in a machine's own SQLite first, which has them, and by one who knew all changes
//! before it. Not every engine of this protocol can put them off to the end of a transaction.

mod books;
mod config;
mod estate;
mod leases;
mod observed;
mod told;

use super::FleetError;
use super::connect::words;
use crate::limits::fleet::MIGRATION_TRIES;
use std::time::Duration;
use tokio_postgres::{Client, Transaction};

/// The id of a database is made here, not by the engine: every engine can store it.
pub(super) async fn migrate(client: &mut Client, fresh: [u8; 16]) -> Result<[u8; 16], FleetError> {
    let mut last = String::new();
    for _ in 0..MIGRATION_TRIES {
        match attempt(client, fresh).await {
            Ok(fleet) => return fleet,
            // Two at once: the other one makes the tables, and the next try finds them.
            Err(error) => last = words(&error),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(FleetError::Unreachable(format!("its tables cannot be made: {last}; the role needs CREATE on the database")))
}

async fn attempt(client: &mut Client, fresh: [u8; 16]) -> Result<Result<[u8; 16], FleetError>, tokio_postgres::Error> {
    if !has_fleet(client).await? {
        client.batch_execute(FLEET).await?;
        let sql = "INSERT INTO igris.fleet VALUES (1, $1, 0, 0) ON CONFLICT (one) DO NOTHING";
        client.execute(sql, &[&fresh.as_slice()]).await?;
    }
    let known = i32::try_from(STEPS.len()).unwrap_or(i32::MAX);
    loop {
        let transaction = client.transaction().await?;
        let row = transaction.query_one("SELECT id, steps FROM igris.fleet WHERE one = 1 FOR UPDATE", &[]).await?;
        let (id, taken): (Vec<u8>, i32) = (row.get(0), row.get(1));
        let Ok(id) = <[u8; 16]>::try_from(id) else {
            return Ok(Err(FleetError::Unreachable("its tables are damaged (igris.fleet)".to_owned())));
        };
        if taken > known {
            let count = |steps: i32| u32::try_from(steps).unwrap_or(0);
            return Ok(Err(FleetError::TooNew { found: count(taken), known: count(known) }));
        }
        let Some(step) = usize::try_from(taken).ok().and_then(|taken| STEPS.get(taken)) else { return Ok(Ok(id)) };
        take(&transaction, step).await?;
        transaction.execute("UPDATE igris.fleet SET steps = steps + 1 WHERE one = 1", &[]).await?;
        transaction.commit().await?;
    }
}

/// Takes a step. An engine that does not know declarative partitions takes the same with plain tables: they hold the same rows, and only what
/// is no longer kept goes more slowly.
async fn take(transaction: &Transaction<'_>, step: &str) -> Result<(), tokio_postgres::Error> {
    if !step.contains(PARTITIONED) {
        return transaction.batch_execute(step).await;
    }
    transaction.batch_execute("SAVEPOINT partitioned").await?;
    match transaction.batch_execute(step).await {
        // Class 42 is what is not understood, 0A what is not supported.
        Err(error) if error.code().is_some_and(|code| matches!(&code.code()[..2], "42" | "0A")) => {
            transaction.batch_execute("ROLLBACK TO SAVEPOINT partitioned").await?;
            transaction.batch_execute(&plain(step)).await
        }
        taken => taken,
    }
}

/// A step without its partitions.
pub(super) fn plain(step: &str) -> String {
    let mut pieces = step.split(PARTITIONED);
    let mut text = pieces.next().unwrap_or_default().to_owned();
    pieces.for_each(|piece| text.push_str(piece.split_once(')').map_or(piece, |(_, rest)| rest)));
    text
}

const PARTITIONED: &str = " PARTITION BY RANGE (";

/// Asked first, so that a role without `CREATE` can use tables that somebody else made.
async fn has_fleet(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let sql = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'igris' AND table_name = 'fleet'";
    Ok(client.query_one(sql, &[]).await?.get::<_, i64>(0) > 0)
}

const FLEET: &str = "
    CREATE SCHEMA IF NOT EXISTS igris;
    CREATE TABLE IF NOT EXISTS igris.fleet (
        one integer PRIMARY KEY CHECK (one = 1),
        id bytea NOT NULL CHECK (length(id) = 16),
        generation bigint NOT NULL,
        steps integer NOT NULL
    )";

/// For tests of an engine without partitions.
#[cfg(test)]
pub(super) const BOOKS: &str = books::STEP;

/// In their order. Never edit a step that was released: add one at the end.
const STEPS: &[&str] = &[estate::STEP, books::STEP, told::STEP, observed::STEP, config::STEP, leases::STEP];
