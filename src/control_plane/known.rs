//! The built-in providers as configuration sees them: names, key variables, addresses, and dialects.

use crate::config::{Known, KnownProvider};
use crate::providers::{Dialect, Row, table};
use std::sync::LazyLock;

/// What a configuration file may name without explaining it.
pub fn known() -> Known<'static> {
    static PROVIDERS: LazyLock<Vec<KnownProvider<'static>>> =
        LazyLock::new(|| table::ROWS.iter().map(known_provider).collect());
    static DIALECTS: [&str; Dialect::ALL.len()] = {
        let mut names = [""; Dialect::ALL.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = Dialect::ALL[at].as_str();
            at += 1;
        }
        names
    };
    Known { providers: &PROVIDERS, dialects: &DIALECTS }
}

fn known_provider(row: &'static Row) -> KnownProvider<'static> {
    KnownProvider {
        name: row.id,
        aliases: row.aliases,
        key_envs: row.env_keys,
        dialect: row.dialect.as_str(),
        base_url: row.base_url,
    }
}
