//! What somebody was told: alerts, and the thresholds of budgets that were passed.

pub(super) const STEP: &str = "
    CREATE TABLE igris.budget_marks (
        tenant text NOT NULL,
        holder bytea NOT NULL,
        origin text NOT NULL,
        period text NOT NULL,
        started bigint NOT NULL,
        threshold bigint NOT NULL,
        amount_pico text NOT NULL,
        ends bigint,
        fleet_generation bigint NOT NULL,
        PRIMARY KEY (holder, origin, period, started, threshold)
    );
    CREATE INDEX budget_marks_since ON igris.budget_marks (fleet_generation);
    CREATE TABLE igris.alerts (
        sequence bigint PRIMARY KEY,
        id bytea NOT NULL,
        tenant text NOT NULL,
        kind text NOT NULL,
        subject text NOT NULL,
        sentence text NOT NULL,
        data text NOT NULL,
        created bigint NOT NULL,
        resolved bigint,
        acknowledged bigint,
        acknowledged_by text,
        fleet_generation bigint NOT NULL
    );
    CREATE INDEX alerts_since ON igris.alerts (fleet_generation)";
