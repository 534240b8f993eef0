//! The configurations of a fleet: the newest row is the one that all machines serve. Those before it keep their digest, so that an old
//! text is known as old, and lose their text.

pub(super) const STEP: &str = r"
    CREATE TABLE fleet_config (
        number INTEGER PRIMARY KEY,
        digest TEXT NOT NULL,
        config_id TEXT,
        version INTEGER NOT NULL,
        text TEXT,
        signature TEXT,
        who TEXT NOT NULL,
        at INTEGER NOT NULL
    ) STRICT;
";
