//! One shipment as one transaction: lanes move on, attempts that are new come in, and what is new is added to the sums.
//!
//! | what may happen | why nothing is lost and nothing counts twice |
//! |---|---|
//! | the answer is lost | the lane says whether it was taken; where it was not, the same goes again |
//! | two processes ship one lane | only who knows the lane's number moves it on, the other one is rolled back |
//! | a close stands twice in the journal | the attempt's id is its key; sums are made of the rows that were really added |
//! | the engine adds less than it was given | rows are counted before the commit, and not all is none |

use super::shipment::Shipment;
use super::{BooksFault, Link, begin, fault_of};
use crate::fleet::pipeline::all;
use crate::limits::fleet::SHIP_LOCK_TIMEOUT;
use std::pin::Pin;
use tokio_postgres::{Client, Error, Statement};

/// The statements, prepared on a connection.
pub(super) struct Statements {
    meet: Statement,
    advance: Statement,
    closes: Statement,
    count: Statement,
}

impl Statements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
        Ok(Self {
            meet: client.prepare(MEET).await?,
            advance: client.prepare(ADVANCE).await?,
            closes: client.prepare(CLOSES).await?,
            count: client.prepare(COUNT).await?,
        })
    }
}

/// Ships; answers how many of the attempts were new. `now` is milliseconds since the Unix epoch, a label.
pub(super) async fn ship(link: &Link, shipment: &Shipment, now: i64) -> Result<u64, BooksFault> {
    let shipped = attempt(link, shipment, now).await;
    match shipped {
        Ok(fresh) => link.client.batch_execute("COMMIT").await.map(|()| fresh).map_err(|error| fault_of(&error)),
        Err(fault) => {
            // A connection that cannot even do that is given up by who asked.
            let rolled_back = link.client.batch_execute("ROLLBACK").await;
            Err(rolled_back.err().map_or(fault, |error| fault_of(&error)))
        }
    }
}

/// Everything up to the commit is sent in one go and answered in one.
async fn attempt(link: &Link, shipment: &Shipment, now: i64) -> Result<u64, BooksFault> {
    type Running<'a> = Pin<Box<dyn Future<Output = Result<u64, Error>> + 'a>>;
    let (client, statements) = (&link.client, &link.statements);
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let lanes: Vec<&str> = shipment.lanes().iter().map(|end| end.lane.as_str()).collect();
    let since: Vec<i64> = shipment.lanes().iter().map(|end| number(end.since)).collect();
    let numbers: Vec<i64> = shipment.lanes().iter().map(|end| number(end.number)).collect();
    let closes: Vec<i64> = shipment.lanes().iter().map(|end| number(end.closes)).collect();
    let columns = shipment.columns();
    let begin = format!("{}; SET LOCAL synchronous_commit = on", begin(SHIP_LOCK_TIMEOUT));
    let steps: Vec<Running<'_>> = vec![
        Box::pin(async { client.batch_execute(&begin).await.map(|()| 0) }),
        Box::pin(async { client.execute(&statements.meet, &[&lanes, &since, &now]).await }),
        Box::pin(async { client.execute(&statements.advance, &[&lanes, &since, &numbers, &closes, &now]).await }),
        Box::pin(async { client.query_one(&statements.closes, &columns).await.map(|row| of(row.get(0))) }),
    ];
    let counts = all(steps).await.map_err(|error| fault_of(&error))?;
    let (moved, fresh) = (counts.get(2).copied().unwrap_or(0), counts.get(3).copied().unwrap_or(0));
    if moved != lanes.len() as u64 {
        return Err(BooksFault::Behind);
    }
    let sent = shipment.len() as u64;
    // What was added is there. Only where some were known it is looked whether they are.
    if fresh != sent {
        let counted = client.query_one(&statements.count, &shipment.keys()).await;
        let there = of(counted.map_err(|error| fault_of(&error))?.get(0));
        if there != sent {
            return Err(BooksFault::Uncounted { sent, there });
        }
    }
    Ok(fresh)
}

fn of(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// Lanes that come for the first time.
const MEET: &str = "
    INSERT INTO igris.lanes (lane, number, closes, told)
    SELECT lane, 0, 0, $3::bigint FROM unnest($1::text[], $2::bigint[]) AS sent (lane, since) WHERE since = 0 ORDER BY lane
    ON CONFLICT (lane) DO NOTHING";

/// Lanes move on from where the shipper believes them, and only from there.
const ADVANCE: &str = "
    UPDATE igris.lanes AS old SET number = sent.number, closes = old.closes + sent.closes, told = $5::bigint
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) AS sent (lane, since, number, closes)
    WHERE old.lane = sent.lane AND old.number = sent.since AND sent.number > sent.since";

/// Attempts that are not there yet, and their sums by hour and by day. Lines are touched in the order of their keys, so that machines that add
/// to the same ones wait for each other and never in a circle.
pub(super) const CLOSES: &str = "
    WITH fresh AS (
        INSERT INTO igris.attempts (day, attempt, exchange, started, tenant, access_key, provider, model, policy, credential,
            outcome, status, last, failed, unpriced, source, input_tokens, output_tokens, cached_tokens, cost_pico)
        SELECT day, attempt, exchange, started, tenant, access_key, provider, model, policy, credential,
            outcome, status, last, failed, unpriced, source, input_tokens, output_tokens, cached_tokens, cost::numeric
        FROM unnest($1::integer[], $2::bytea[], $3::bytea[], $4::bigint[], $5::text[], $6::bytea[], $7::text[], $8::text[],
            $9::text[], $10::bytea[], $11::text[], $12::integer[], $13::boolean[], $14::boolean[], $15::boolean[], $16::text[],
            $17::bigint[], $18::bigint[], $19::bigint[], $20::text[]) AS sent (day, attempt, exchange, started, tenant,
            access_key, provider, model, policy, credential, outcome, status, last, failed, unpriced, source, input_tokens,
            output_tokens, cached_tokens, cost)
        ON CONFLICT (day, attempt) DO NOTHING
        RETURNING day, started, tenant, access_key, provider, model, policy, credential, last, failed, unpriced, source,
            input_tokens, output_tokens, cached_tokens, cost_pico
    ), lines AS (
        SELECT tenant, started / 3600000 AS hour, provider, model, policy, credential, access_key,
            count(*) FILTER (WHERE last) AS requests, count(*) AS attempts, count(*) FILTER (WHERE failed) AS failed,
            count(*) FILTER (WHERE source = 'estimated') AS estimated, count(*) FILTER (WHERE unpriced) AS unpriced,
            sum(input_tokens)::bigint AS input_tokens, sum(output_tokens)::bigint AS output_tokens,
            sum(cached_tokens)::bigint AS cached_tokens, coalesce(sum(cost_pico), 0) AS cost_pico
        FROM fresh GROUP BY tenant, started / 3600000, provider, model, policy, credential, access_key
    ), hours AS (
        INSERT INTO igris.usage_hours AS old (tenant, hour, provider, model, policy, credential, access_key, requests, attempts,
            failed, estimated, unpriced, input_tokens, output_tokens, cached_tokens, cost_pico)
        SELECT tenant, hour, provider, model, policy, credential, access_key, requests, attempts,
            failed, estimated, unpriced, input_tokens, output_tokens, cached_tokens, cost_pico
        FROM lines ORDER BY tenant, hour, provider, model, policy, credential, access_key
        ON CONFLICT (tenant, hour, provider, model, policy, credential, access_key) DO UPDATE SET
            requests = old.requests + excluded.requests, attempts = old.attempts + excluded.attempts,
            failed = old.failed + excluded.failed, estimated = old.estimated + excluded.estimated,
            unpriced = old.unpriced + excluded.unpriced, input_tokens = old.input_tokens + excluded.input_tokens,
            output_tokens = old.output_tokens + excluded.output_tokens,
            cached_tokens = old.cached_tokens + excluded.cached_tokens, cost_pico = old.cost_pico + excluded.cost_pico
        RETURNING 1
    ), days AS (
        INSERT INTO igris.usage_days AS old (tenant, day, provider, model, policy, credential, access_key, requests, attempts,
            failed, estimated, unpriced, input_tokens, output_tokens, cached_tokens, cost_pico)
        SELECT tenant, hour / 24 AS day, provider, model, policy, credential, access_key, sum(requests)::bigint,
            sum(attempts)::bigint, sum(failed)::bigint, sum(estimated)::bigint, sum(unpriced)::bigint,
            sum(input_tokens)::bigint, sum(output_tokens)::bigint, sum(cached_tokens)::bigint, sum(cost_pico)
        FROM lines GROUP BY tenant, hour / 24, provider, model, policy, credential, access_key
        ORDER BY tenant, day, provider, model, policy, credential, access_key
        ON CONFLICT (tenant, day, provider, model, policy, credential, access_key) DO UPDATE SET
            requests = old.requests + excluded.requests, attempts = old.attempts + excluded.attempts,
            failed = old.failed + excluded.failed, estimated = old.estimated + excluded.estimated,
            unpriced = old.unpriced + excluded.unpriced, input_tokens = old.input_tokens + excluded.input_tokens,
            output_tokens = old.output_tokens + excluded.output_tokens,
            cached_tokens = old.cached_tokens + excluded.cached_tokens, cost_pico = old.cost_pico + excluded.cost_pico
        RETURNING 1
    )
    SELECT count(*) FROM fresh";

/// How many of the attempts are there, this transaction's among them. Looked up one by one, whatever the planner believes of tables that have
/// just grown: it must not read days from end to end.
const COUNT: &str = "
    SELECT count(*) FROM unnest($1::integer[], $2::bytea[]) AS sent (day, attempt) CROSS JOIN LATERAL
        (SELECT 1 FROM igris.attempts AS kept WHERE kept.day = sent.day AND kept.attempt = sent.attempt LIMIT 1) AS found";
