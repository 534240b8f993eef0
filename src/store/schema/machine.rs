//! Which machine this is among those that share a database, and what it had leased: its own, never shared.

pub(super) const STEP: &str = r"
    CREATE TABLE machine (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        id BLOB NOT NULL CHECK (length(id) = 16),
        incarnation BLOB NOT NULL CHECK (length(incarnation) = 16),
        peers INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE machine_leases (
        holder BLOB NOT NULL,
        kind INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        ends INTEGER NOT NULL,
        most INTEGER NOT NULL,
        elsewhere INTEGER NOT NULL,
        PRIMARY KEY (holder, kind)
    ) STRICT, WITHOUT ROWID;
";
