//! Budgets that the API set, what was told of them, alerts, and the webhooks they go to.
//!
//! `holder` is one letter and what it names, as in the table of totals. A mark says that a threshold of a budget was told of in a period, and
//! at which amount, so that it is told once whatever happens to the process. A delivery is written with the alert it tells of. The two indexes of usage give
//! the hours of one key by themselves.

pub(super) const STEP: &str = r"
    CREATE TABLE budgets (
        tenant TEXT NOT NULL REFERENCES tenants,
        holder BLOB NOT NULL,
        origin TEXT NOT NULL CHECK (origin IN ('operator', 'tenant')),
        period TEXT NOT NULL,
        cap TEXT NOT NULL CHECK (cap IN ('hard', 'soft')),
        amount_pico TEXT NOT NULL,
        alert_at TEXT NOT NULL,
        created INTEGER NOT NULL,
        updated INTEGER NOT NULL,
        PRIMARY KEY (tenant, holder, origin, period)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE budget_marks (
        tenant TEXT NOT NULL,
        holder BLOB NOT NULL,
        origin TEXT NOT NULL,
        period TEXT NOT NULL,
        started INTEGER NOT NULL,
        threshold INTEGER NOT NULL,
        amount_pico TEXT NOT NULL,
        ends INTEGER,
        PRIMARY KEY (holder, origin, period, started, threshold)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX budget_marks_by_end ON budget_marks (ends) WHERE ends IS NOT NULL;
    CREATE TABLE alerts (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
        tenant TEXT NOT NULL REFERENCES tenants,
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        sentence TEXT NOT NULL,
        data TEXT NOT NULL,
        created INTEGER NOT NULL,
        resolved INTEGER,
        acknowledged INTEGER,
        acknowledged_by TEXT
    ) STRICT;
    CREATE INDEX alerts_by_tenant ON alerts (tenant, sequence);
    CREATE INDEX alerts_open ON alerts (kind, subject) WHERE resolved IS NULL;
    CREATE TABLE webhooks (
        tenant TEXT NOT NULL REFERENCES tenants,
        id BLOB NOT NULL CHECK (length(id) = 16),
        url TEXT NOT NULL,
        events TEXT NOT NULL,
        secret_version INTEGER NOT NULL,
        former_until INTEGER,
        created INTEGER NOT NULL,
        PRIMARY KEY (tenant, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE deliveries (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        message BLOB NOT NULL UNIQUE CHECK (length(message) = 16),
        tenant TEXT NOT NULL REFERENCES tenants,
        webhook TEXT NOT NULL,
        event TEXT NOT NULL,
        body TEXT NOT NULL,
        created INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
        attempts INTEGER NOT NULL,
        due INTEGER NOT NULL,
        outcome TEXT NOT NULL
    ) STRICT;
    CREATE INDEX usage_hours_by_access_key ON usage_hours (access_key, hour);
    CREATE INDEX usage_hours_by_credential ON usage_hours (credential, hour);
    CREATE INDEX deliveries_due ON deliveries (due) WHERE state = 'waiting';
    CREATE INDEX deliveries_by_webhook ON deliveries (tenant, webhook, sequence);
";
