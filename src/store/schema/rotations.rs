//! What rotations keep beyond their rows: which credentials took the place of a configured one, and which texts were rotated away.

pub(super) const STEP: &str = r"
    ALTER TABLE credentials ADD COLUMN rotated INTEGER NOT NULL DEFAULT 0 CHECK (rotated IN (0, 1));
    CREATE TABLE retired_keys (
        tenant TEXT NOT NULL REFERENCES tenants,
        provider TEXT NOT NULL,
        pepper_version INTEGER NOT NULL,
        digest BLOB NOT NULL CHECK (length(digest) = 32),
        retired INTEGER NOT NULL,
        PRIMARY KEY (tenant, provider, digest)
    ) STRICT, WITHOUT ROWID;
";
