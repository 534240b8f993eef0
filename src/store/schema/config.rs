//! Signed configurations: who is trusted, what was accepted, what was taken back.
//!
//! `config_trust`: the keys that the command line pinned, and those in force that grew from them. `config_texts`: what was live, the
//! newest last; `trial` has not proved itself yet. `config_reverted`: what failed its trial and stays refused. `wall_clock`: the latest
//! wall time ever seen.

pub(super) const STEP: &str = r"
    CREATE TABLE config_trust (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        pins TEXT NOT NULL,
        in_force TEXT NOT NULL,
        changed INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE config_texts (
        sequence INTEGER PRIMARY KEY,
        digest TEXT NOT NULL,
        config_id TEXT,
        version INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('trial', 'good')),
        watch_ms INTEGER NOT NULL,
        text TEXT NOT NULL,
        signature TEXT,
        trust TEXT,
        applied INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE config_reverted (
        digest TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        why TEXT NOT NULL,
        at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE wall_clock (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        latest INTEGER NOT NULL
    ) STRICT;
";
