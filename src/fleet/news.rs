//! What was changed since a generation, read as of one instant, and from no more tables than have something new.

use super::connect::words;
use super::key;
use super::pipeline::all;
use super::text::since as select;
use super::value;
use crate::store::{ESTATE, News, RowChange, ShareError, Table};
use deadpool_postgres::ClientWrapper;
use std::pin::Pin;
use tokio_postgres::{Client, Row, Statement};

/// How far the estate is, and which of its tables have something new.
#[derive(Clone, Debug)]
pub(super) struct Glance {
    pub(super) generation: u64,
    tables: Vec<&'static Table>,
}

/// Looks how far the estate is, by the statement of [`look`](super::text::look).
pub(super) async fn glance(client: &Client, look: &Statement, since: u64) -> Result<Glance, tokio_postgres::Error> {
    let row = client.query_one(look, &[&i64::try_from(since).unwrap_or(i64::MAX)]).await?;
    let generation = u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0);
    let mut tables = Vec::new();
    for (place, table) in ESTATE.iter().enumerate() {
        if row.try_get(place + 1)? {
            tables.push(table);
        }
    }
    Ok(Glance { generation, tables })
}

/// Everything after a generation. Where it was seen before what has something new, only that is read, if nothing came since.
pub(super) async fn news(
    client: &ClientWrapper,
    fleet: [u8; 16],
    since: u64,
    seen: Option<&Glance>,
) -> Result<News, ShareError> {
    let unreachable = |error: tokio_postgres::Error| ShareError::Unreachable(words(&error));
    if let Some(Glance { generation, tables }) = seen {
        let news = read(client, fleet, since, tables).await.map_err(unreachable)??;
        if news.generation == *generation {
            return Ok(news);
        }
    }
    read(client, fleet, since, &ESTATE.iter().collect::<Vec<_>>()).await.map_err(unreachable)?
}

async fn read(
    client: &ClientWrapper,
    fleet: [u8; 16],
    since: u64,
    tables: &[&'static Table],
) -> Result<Result<News, ShareError>, tokio_postgres::Error> {
    type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, tokio_postgres::Error>> + Send + 'a>>;
    let after = i64::try_from(since).unwrap_or(i64::MAX);
    let selects: Vec<String> = tables.iter().map(|table| select(table)).chain([GONE.to_owned()]).collect();
    let texts = std::iter::once(WHERE).chain(selects.iter().map(String::as_str));
    let statements = all(texts.map(|sql| Box::pin(client.prepare_cached(sql))).collect()).await?;
    let plain = |sql: &'static str| -> Answer<'_> {
        Box::pin(async move { client.batch_execute(sql).await.map(|()| Vec::new()) })
    };
    let rows = statements.iter().enumerate().map(|(place, statement)| -> Answer<'_> {
        Box::pin(async move {
            match place {
                0 => client.query(statement, &[]).await,
                _ => client.query(statement, &[&after]).await,
            }
        })
    });
    // As of one instant, and sent in one go.
    let begin = plain("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY");
    let mut answers = all(std::iter::once(begin).chain(rows).chain([plain("COMMIT")]).collect()).await?;
    answers.pop();
    told(&answers[1..], fleet, since, tables)
}

/// Makes news of the answers: the database's own row, the rows of each table, the rows that are gone.
fn told(
    answers: &[Vec<Row>],
    fleet: [u8; 16],
    since: u64,
    tables: &[&'static Table],
) -> Result<Result<News, ShareError>, tokio_postgres::Error> {
    let Some(own) = answers.first().and_then(|rows| rows.first()) else {
        return Ok(Err(ShareError::Refused("its tables are damaged (igris.fleet)".to_owned())));
    };
    let (id, generation): (Vec<u8>, i64) = (own.try_get(0)?, own.try_get(1)?);
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
    let mut changes = Vec::new();
    for (table, rows) in tables.iter().zip(&answers[1..]) {
        for row in rows {
            changes.push(value::read(table, row)?);
        }
    }
    for row in answers.last().into_iter().flatten() {
        let (table, gone): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let (Some(table), Some(key)) = (Table::named(&table), key::read(&gone)) else { continue };
        changes.push(RowChange { table, key, row: None });
    }
    Ok(Ok(News { fleet, since, generation, rows: changes }))
}

const WHERE: &str = "SELECT id, generation FROM igris.fleet WHERE one = 1";
const GONE: &str = "SELECT tbl, key FROM igris.gone WHERE fleet_generation > $1";
