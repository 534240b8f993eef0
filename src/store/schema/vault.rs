//! What the key hierarchy and the audit log keep beyond their first tables: the key that binds the log, and where the log ends.

pub(super) const STEP: &str = r"
    CREATE TABLE audit_key (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        kek_version INTEGER NOT NULL REFERENCES kek_versions,
        record BLOB NOT NULL
    ) STRICT;
    CREATE TABLE audit_head (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        sequence INTEGER NOT NULL,
        keyed_from INTEGER NOT NULL,
        broken_at INTEGER NOT NULL,
        bond BLOB NOT NULL CHECK (length(bond) = 32)
    ) STRICT;
    CREATE INDEX audit_by_tenant ON audit (tenant, sequence);
";
