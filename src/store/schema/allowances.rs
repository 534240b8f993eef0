//! What access keys and tenants have used, so that a restart does not forget.
//!
//! `holder` is one letter and what it names: `k` and the 16 bytes of an access key's id, or `t` and a tenant's name.

pub(super) const STEP: &str = r"
    CREATE TABLE spent_totals (
        holder BLOB PRIMARY KEY,
        cost_pico TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE rate_states (
        holder BLOB PRIMARY KEY,
        requests_full_at INTEGER NOT NULL,
        tokens_full_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
";
