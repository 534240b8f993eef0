//! Indexes that keep the cost of one change, and of a reload, apart from how much there is in all.

pub(super) const STEP: &str = r#"
    CREATE INDEX access_keys_by_end ON access_keys (expires) WHERE revoked IS NULL AND expires IS NOT NULL;
    CREATE INDEX access_keys_of_config ON access_keys (id)
        WHERE revoked IS NULL AND instr(limits, '"origin":"config"') > 0;
    CREATE INDEX credentials_by_provider ON credentials (provider) WHERE record IS NOT NULL;
"#;
