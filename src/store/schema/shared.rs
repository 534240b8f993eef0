//! Which database a store is the copy of, and how far it is. No row: the store stands by itself.

pub(super) const STEP: &str = r"
    CREATE TABLE shared_position (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        fleet BLOB NOT NULL CHECK (length(fleet) = 16),
        generation INTEGER NOT NULL
    ) STRICT;
";
