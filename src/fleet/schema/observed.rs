//! How providers do, as machines tell each other: of each machine the last that it saw of each model, soon forgotten.
//!
//! `at` is milliseconds since the Unix epoch by the database's clock.

pub(super) const STEP: &str = "
    CREATE TABLE igris.observed (
        machine bytea NOT NULL,
        provider text NOT NULL,
        model text NOT NULL,
        at bigint NOT NULL,
        seen text NOT NULL,
        PRIMARY KEY (machine, provider, model)
    );
    CREATE INDEX observed_by_time ON igris.observed (at)";
