//! The books by hour and by day, with the policy that chose and money that the database itself can add.
//!
//! An amount is two whole numbers: millionths of a dollar, and the picodollars that are left (below a million). Both add up without rounding
//! and without overflow as far as 9.2 billion dollars; whoever reads puts them together.

pub(super) const STEP: &str = r"
    CREATE TABLE usage_hours (
        tenant TEXT NOT NULL,
        hour INTEGER NOT NULL,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        policy TEXT NOT NULL,
        credential BLOB NOT NULL,
        access_key BLOB NOT NULL,
        requests INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        estimated INTEGER NOT NULL,
        unpriced INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        cost_micro INTEGER NOT NULL,
        cost_pico INTEGER NOT NULL,
        PRIMARY KEY (tenant, hour, provider, model, policy, credential, access_key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX usage_hours_by_hour ON usage_hours (hour);
    CREATE TABLE usage_days (
        tenant TEXT NOT NULL,
        day INTEGER NOT NULL,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        policy TEXT NOT NULL,
        credential BLOB NOT NULL,
        access_key BLOB NOT NULL,
        requests INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        estimated INTEGER NOT NULL,
        unpriced INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        cost_micro INTEGER NOT NULL,
        cost_pico INTEGER NOT NULL,
        PRIMARY KEY (tenant, day, provider, model, policy, credential, access_key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX usage_days_by_day ON usage_days (day);
    INSERT INTO usage_hours
        SELECT tenant, hour, provider, model, '', credential, access_key, requests, attempts, 0, 0, 0,
               input_tokens, output_tokens, cached_tokens,
               CASE WHEN length(cost_pico) > 6 THEN CAST(substr(cost_pico, 1, length(cost_pico) - 6) AS INTEGER) ELSE 0 END,
               CAST(substr(cost_pico, -6) AS INTEGER)
        FROM usage;
    INSERT INTO usage_days
        SELECT tenant, hour / 24, provider, model, policy, credential, access_key, sum(requests), sum(attempts), sum(failed),
               sum(estimated), sum(unpriced), sum(input_tokens), sum(output_tokens), sum(cached_tokens),
               sum(cost_micro) + sum(cost_pico) / 1000000, sum(cost_pico) % 1000000
        FROM usage_hours GROUP BY tenant, hour / 24, provider, model, policy, credential, access_key;
    DROP TABLE usage;
";
