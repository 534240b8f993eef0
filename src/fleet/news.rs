//! What was changed since a generation, read as of one instant.

use super::connect::words;
use super::key;
use super::text::since as select;
use super::value;
use crate::store::{ESTATE, News, RowChange, ShareError, Table};
use tokio_postgres::{Client, IsolationLevel};

/// The generation the estate is at.
pub(super) async fn generation(client: &Client) -> Result<u64, tokio_postgres::Error> {
    let row = client.query_one("SELECT generation FROM igris.fleet WHERE one = 1", &[]).await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}

/// Everything after a generation.
pub(super) async fn news(client: &mut Client, fleet: [u8; 16], since: u64) -> Result<News, ShareError> {
    read(client, fleet, since).await.map_err(|error| ShareError::Unreachable(words(&error)))?
}

async fn read(
    client: &mut Client,
    fleet: [u8; 16],
    since: u64,
) -> Result<Result<News, ShareError>, tokio_postgres::Error> {
    let build = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    let transaction = build.start().await?;
    let row = transaction.query_one("SELECT id, generation FROM igris.fleet WHERE one = 1", &[]).await?;
    let (id, generation): (Vec<u8>, i64) = (row.get(0), row.get(1));
    if id != fleet {
        return Ok(Err(ShareError::Refused("it is another database than before".to_owned())));
    }
    let generation = u64::try_from(generation).unwrap_or(0);
    if generation < since {
        // A database that was put back to an older state: what is here cannot be taken back row by row.
        let sentence = format!(
            "it is at generation {generation}, and this machine knows {since}: it was put back to an older state"
        );
        return Ok(Err(ShareError::Refused(sentence)));
    }
    let after = i64::try_from(since).unwrap_or(i64::MAX);
    let mut rows = Vec::new();
    for table in ESTATE {
        for row in transaction.query(&select(table), &[&after]).await? {
            rows.push(value::read(table, &row)?);
        }
    }
    let sql = "SELECT tbl, key FROM igris.gone WHERE fleet_generation > $1";
    for row in transaction.query(sql, &[&after]).await? {
        let (table, gone): (String, String) = (row.get(0), row.get(1));
        let (Some(table), Some(key)) = (Table::named(&table), key::read(&gone)) else { continue };
        rows.push(RowChange { table, key, row: None });
    }
    transaction.commit().await?;
    Ok(Ok(News { fleet, since, generation, rows }))
}
