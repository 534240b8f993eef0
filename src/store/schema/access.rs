//! What access keys keep beyond their first table: which key one took the place of, and as which one it is counted.
//!
//! A rotation makes a new row beside the old one. All rows of such a line are counted as its first, so that a rotation never doubles what
//! its holder may do.

pub(super) const STEP: &str = r"
    ALTER TABLE access_keys ADD COLUMN succeeds BLOB CHECK (length(succeeds) = 16);
    ALTER TABLE access_keys ADD COLUMN holder BLOB CHECK (length(holder) = 16);
    CREATE INDEX access_keys_by_predecessor ON access_keys (succeeds) WHERE succeeds IS NOT NULL;
";
