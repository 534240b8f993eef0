//! The built-in providers as configuration sees them: names, key variables, addresses, and which dialects are spoken.

use crate::config::{Known, KnownProvider};
use crate::providers::{Dialect, Row, table};
use std::sync::LazyLock;

/// What a configuration file may name without explaining it.
pub fn known() -> Known<'static> {
    static PROVIDERS: LazyLock<Vec<KnownProvider<'static>>> =
        LazyLock::new(|| table::ROWS.iter().map(known_provider).collect());
    static DIALECTS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        let spoken = Dialect::ALL.into_iter().filter(|dialect| dialect.is_spoken());
        spoken.map(Dialect::as_str).collect()
    });
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
