//! The configurations of the fleet, as `store::ESTATE` has them.

pub(super) const STEP: &str = "
    CREATE TABLE igris.fleet_config (
        number bigint PRIMARY KEY,
        digest text NOT NULL,
        config_id text,
        version bigint NOT NULL,
        text text,
        signature text,
        who text NOT NULL,
        at bigint NOT NULL,
        fleet_generation bigint NOT NULL
    );
    CREATE INDEX fleet_config_since ON igris.fleet_config (fleet_generation)";
