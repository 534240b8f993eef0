//! The shared tables of `store::ESTATE`, each with the generation of its rows, and the rows that are gone.

pub(super) const STEP: &str = "
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
