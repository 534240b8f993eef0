//! The tables in the database, as a list of steps that only ever grows at its end.
//!
//! `igris.fleet` has one row: which database this is, the generation of the estate, and how many steps were taken. A step and its number
//! are one transaction that holds this row, so that of two machines that start at once one takes the step and the other finds it taken.
//! Tables that a newer build made are refused, never guessed at.
//!
//! There are no foreign keys: a change was made in a machine's own SQLite first, which has them, and by one who knew all changes
//! before it. Not every engine of this protocol can put them off to the end of a transaction.

use super::FleetError;
use super::connect::words;
use crate::limits::fleet::MIGRATION_TRIES;
use std::time::Duration;
use tokio_postgres::Client;

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
        transaction.batch_execute(step).await?;
        transaction.execute("UPDATE igris.fleet SET steps = steps + 1 WHERE one = 1", &[]).await?;
        transaction.commit().await?;
    }
}

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

/// In their order. Never edit a step that was released: add one at the end.
const STEPS: &[&str] = &[ESTATE];

/// The shared tables of `store::ESTATE`, each with the generation of its rows, and the rows that are gone.
const ESTATE: &str = "
    CREATE TABLE igris.gone (
        tbl text NOT NULL,
        key text NOT NULL,
        fleet_generation bigint NOT NULL,
        PRIMARY KEY (tbl, key)
    );
    CREATE INDEX gone_since ON igris.gone (fleet_generation);
    CREATE TABLE igris.vault (
        one bigint PRIMARY KEY CHECK (one = 1),
        root_check bytea NOT NULL,
        kek_version_min bigint NOT NULL,
        fleet_generation bigint NOT NULL
    );
    CREATE TABLE igris.kek_versions (
        version bigint PRIMARY KEY,
        record bytea NOT NULL,
        created bigint NOT NULL,
        fleet_generation bigint NOT NULL
    );
    CREATE TABLE igris.peppers (
        version bigint PRIMARY KEY,
        kek_version bigint NOT NULL,
        record bytea NOT NULL,
        created bigint NOT NULL,
        fleet_generation bigint NOT NULL
    );
    CREATE TABLE igris.audit_key (
        one bigint PRIMARY KEY CHECK (one = 1),
        kek_version bigint NOT NULL,
        record bytea NOT NULL,
        fleet_generation bigint NOT NULL
    );
    CREATE TABLE igris.tenants (
        id text PRIMARY KEY,
        created bigint NOT NULL,
        destroyed bigint,
        dek_generation bigint NOT NULL,
        dek_kek_version bigint,
        dek_record bytea,
        dek_seals bigint NOT NULL,
        fleet_generation bigint NOT NULL
    );
    CREATE INDEX tenants_since ON igris.tenants (fleet_generation);
    CREATE TABLE igris.access_keys (
        id bytea PRIMARY KEY,
        tenant text NOT NULL,
        name text NOT NULL,
        pepper_version bigint NOT NULL,
        digest bytea NOT NULL,
        last4 text NOT NULL,
        scopes bigint NOT NULL,
        limits text NOT NULL,
        created bigint NOT NULL,
        expires bigint,
        revoked bigint,
        succeeds bytea,
        holder bytea,
        fleet_generation bigint NOT NULL
    );
    CREATE INDEX access_keys_since ON igris.access_keys (fleet_generation);
    CREATE TABLE igris.credentials (
        id bytea PRIMARY KEY,
        tenant text NOT NULL,
        provider text NOT NULL,
        base_url text NOT NULL,
        state text NOT NULL,
        origin text NOT NULL,
        generation bigint NOT NULL,
        kek_version bigint NOT NULL,
        record bytea,
        display text NOT NULL,
        timeout_ms bigint NOT NULL,
        max_retries bigint NOT NULL,
        created bigint NOT NULL,
        retired bigint,
        rotated bigint NOT NULL,
        fleet_generation bigint NOT NULL
    );
    CREATE INDEX credentials_since ON igris.credentials (fleet_generation);
    CREATE TABLE igris.rotations (
        id bytea PRIMARY KEY,
        tenant text NOT NULL,
        provider text NOT NULL,
        old_credential bytea NOT NULL,
        new_credential bytea NOT NULL,
        state text NOT NULL,
        open bigint NOT NULL,
        detail text NOT NULL,
        created bigint NOT NULL,
        deadline bigint NOT NULL,
        updated bigint NOT NULL,
        fleet_generation bigint NOT NULL
    );
    CREATE INDEX rotations_since ON igris.rotations (fleet_generation);
    CREATE TABLE igris.retired_keys (
        tenant text NOT NULL,
        provider text NOT NULL,
        pepper_version bigint NOT NULL,
        digest bytea NOT NULL,
        retired bigint NOT NULL,
        fleet_generation bigint NOT NULL,
        PRIMARY KEY (tenant, provider, digest)
    );
    CREATE INDEX retired_keys_since ON igris.retired_keys (fleet_generation);
    CREATE TABLE igris.audit (
        sequence bigint PRIMARY KEY,
        at bigint NOT NULL,
        tenant text,
        who text NOT NULL,
        what text NOT NULL,
        target text NOT NULL,
        before text NOT NULL,
        after text NOT NULL,
        hash bytea NOT NULL,
        fleet_generation bigint NOT NULL
    );
    CREATE INDEX audit_since ON igris.audit (fleet_generation);
    CREATE TABLE igris.audit_head (
        one bigint PRIMARY KEY CHECK (one = 1),
        sequence bigint NOT NULL,
        keyed_from bigint NOT NULL,
        broken_at bigint NOT NULL,
        bond bytea NOT NULL,
        fleet_generation bigint NOT NULL
    );
    CREATE TABLE igris.budgets (
        tenant text NOT NULL,
        holder bytea NOT NULL,
        origin text NOT NULL,
        period text NOT NULL,
        cap text NOT NULL,
        amount_pico text NOT NULL,
        alert_at text NOT NULL,
        created bigint NOT NULL,
        updated bigint NOT NULL,
        fleet_generation bigint NOT NULL,
        PRIMARY KEY (tenant, holder, origin, period)
    );
    CREATE INDEX budgets_since ON igris.budgets (fleet_generation);
    CREATE TABLE igris.webhooks (
        tenant text NOT NULL,
        id bytea NOT NULL,
        url text NOT NULL,
        events text NOT NULL,
        secret_version bigint NOT NULL,
        former_until bigint,
        created bigint NOT NULL,
        fleet_generation bigint NOT NULL,
        PRIMARY KEY (tenant, id)
    );
    CREATE INDEX webhooks_since ON igris.webhooks (fleet_generation)";
