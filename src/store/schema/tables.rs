//! The tables of the first release.

pub(super) const STEP: &str = r"
    CREATE TABLE vault (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        root_check BLOB NOT NULL,
        kek_version_min INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE kek_versions (
        version INTEGER PRIMARY KEY,
        record BLOB NOT NULL,
        created INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE peppers (
        version INTEGER PRIMARY KEY,
        kek_version INTEGER NOT NULL REFERENCES kek_versions,
        record BLOB NOT NULL,
        created INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE tenants (
        id TEXT PRIMARY KEY,
        created INTEGER NOT NULL,
        destroyed INTEGER,
        dek_generation INTEGER NOT NULL,
        dek_kek_version INTEGER REFERENCES kek_versions,
        dek_record BLOB,
        dek_seals INTEGER NOT NULL,
        CHECK ((dek_record IS NULL) = (destroyed IS NOT NULL)),
        CHECK ((dek_record IS NULL) = (dek_kek_version IS NULL))
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tenants_by_kek ON tenants (dek_kek_version);
    CREATE TABLE access_keys (
        id BLOB PRIMARY KEY,
        tenant TEXT NOT NULL REFERENCES tenants,
        name TEXT NOT NULL,
        pepper_version INTEGER NOT NULL REFERENCES peppers,
        digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
        last4 TEXT NOT NULL,
        scopes INTEGER NOT NULL,
        limits TEXT NOT NULL,
        created INTEGER NOT NULL,
        expires INTEGER,
        revoked INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX access_keys_by_tenant ON access_keys (tenant, created);
    CREATE TABLE credentials (
        id BLOB PRIMARY KEY,
        tenant TEXT NOT NULL REFERENCES tenants,
        provider TEXT NOT NULL,
        base_url TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('pending', 'active', 'retiring', 'revoked')),
        origin TEXT NOT NULL CHECK (origin IN ('api', 'config')),
        generation INTEGER NOT NULL,
        kek_version INTEGER NOT NULL,
        record BLOB,
        display TEXT NOT NULL,
        timeout_ms INTEGER NOT NULL,
        max_retries INTEGER NOT NULL,
        created INTEGER NOT NULL,
        retired INTEGER,
        CHECK ((record IS NULL) = (state = 'revoked'))
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX credentials_by_tenant ON credentials (tenant, provider, created);
    CREATE TABLE rotations (
        id BLOB PRIMARY KEY,
        tenant TEXT NOT NULL REFERENCES tenants,
        provider TEXT NOT NULL,
        old_credential BLOB NOT NULL REFERENCES credentials,
        new_credential BLOB NOT NULL REFERENCES credentials,
        state TEXT NOT NULL,
        open INTEGER NOT NULL CHECK (open IN (0, 1)),
        detail TEXT NOT NULL,
        created INTEGER NOT NULL,
        deadline INTEGER NOT NULL,
        updated INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX rotations_one_open ON rotations (old_credential) WHERE open = 1;
    CREATE INDEX rotations_by_tenant ON rotations (tenant, provider, created);
    CREATE TABLE audit (
        sequence INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        tenant TEXT,
        who TEXT NOT NULL,
        what TEXT NOT NULL,
        target TEXT NOT NULL,
        before TEXT NOT NULL,
        after TEXT NOT NULL,
        hash BLOB NOT NULL CHECK (length(hash) = 32)
    ) STRICT;
    CREATE TABLE config_versions (
        config_id TEXT NOT NULL,
        version INTEGER NOT NULL,
        hash BLOB NOT NULL CHECK (length(hash) = 64),
        accepted INTEGER NOT NULL,
        PRIMARY KEY (config_id, version)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE usage (
        tenant TEXT NOT NULL,
        hour INTEGER NOT NULL,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        credential BLOB NOT NULL,
        access_key BLOB NOT NULL,
        requests INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        cost_pico TEXT NOT NULL,
        PRIMARY KEY (tenant, hour, provider, model, credential, access_key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE usage_sources (
        source TEXT PRIMARY KEY,
        sequence INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
";
