//! The configuration as typed: every table and key that may be written, each value with its position.
//!
//! One place names the keys, so that the reader, the suggestions for unknown keys and the test of the commented example cannot differ.
//! Nothing has a default here and nothing is interpreted; that is the parent's part.

use super::problem::Findings;
use super::read::{At, Leaf, Pairs, Read, TABLE, table_of, tree, unknown_key};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Declares tables: the struct, its keys, and how it is read.
macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident like $example:literal { $($field:ident: $shape:ty),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[derive(Default)]
            pub struct $name {
                /// Where the table stands, as a byte offset.
                pub at: usize,
                $(#[doc = concat!("`", stringify!($field), "`, if typed.")] pub $field: Option<$shape>,)*
            }

            impl $name {
                /// Every key of this table.
                pub const KEYS: &'static [&'static str] = &[$(stringify!($field)),*];

                fn fill(at: usize, table: DeTable<'_>, findings: &mut Findings) -> Self {
                    let mut filled = Self { at, ..Self::default() };
                    for (key, value) in table {
                        match key.get_ref().as_ref() {
                            $(stringify!($field) => filled.$field = Read::read(stringify!($field), value, findings),)*
                            other => unknown_key(other, key.span().start, Self::KEYS, findings),
                        }
                    }
                    filled
                }
            }

            impl Read for $name {
                const NOUN: &'static str = TABLE;
                const EXAMPLE: &'static str = $example;

                fn read(key: &str, value: Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Self> {
                    let (at, table) = table_of::<Self>(key, value, findings)?;
                    Some(Self::fill(at, table, findings))
                }
            }
        )*

        /// Every table with its keys, for documentation and the test of the commented example.
        pub const TABLES: &[(&str, &[&str])] = &[$((stringify!($name), $name::KEYS)),*];
    };
}

tables! {
    /// The whole file.
    Document like "{ … }" {
        version: Leaf, format: Leaf, config_id: Leaf, issued_at: Leaf, expires_at: Leaf, not_for: Vec<Leaf>,
        server: Server, admin: Admin, store: Store, fleet: Fleet, vault: Vault, ledger: Ledger, log: Log, trust: Trust,
        rollout: Rollout, rotation: Rotation, alerts: Alerts, telemetry: Telemetry,
        routing: Routing,
        providers: Vec<Provider>, models: Vec<Model>, prices: Vec<Price>, tenants: Vec<Tenant>, access_keys: Vec<AccessKey>,
    }
    /// `[server]`.
    Server like "{ listen = [\"127.0.0.1:8081\"] }" {
        listen: Vec<Leaf>, workers: Leaf, io: Leaf, tls: Tls, drain_timeout: Leaf, trusted_proxies: Vec<Leaf>,
        metadata: Leaf, http2: Leaf, limits: ServerLimits,
    }
    /// `[server] tls`.
    Tls like "{ cert = \"cert.pem\", key = \"key.pem\" }" { cert: Leaf, key: Leaf, client_ca: Leaf }
    /// `[server.limits]`.
    ServerLimits like "{ body_bytes = \"32MiB\" }" {
        head_bytes: Leaf, fields: Leaf, body_bytes: Leaf, head_deadline: Leaf, body_deadline: Leaf,
        tls_handshake_deadline: Leaf, keep_alive_idle: Leaf, exchanges_per_connection: Leaf, connections_per_core: Leaf,
        first_byte_streaming_deadline: Leaf, first_byte_unary_deadline: Leaf, stream_silence_deadline: Leaf,
        exchange_deadline: Leaf, client_stall_deadline: Leaf, relay_buffer_bytes: Leaf, memory_bytes: Leaf,
        exchanges_per_core: Leaf,
    }
    /// `[admin]`.
    Admin like "{ socket = \"igris-data/admin.sock\" }" {
        socket: Leaf, dashboard: Leaf, dashboard_hosts: Vec<Leaf>, metrics: Leaf, allowed_uids: Vec<Allowed>, tokens: Vec<AdminToken>,
    }
    /// One of `allowed_uids`.
    AllowedUser like "[1000, { uid = 1001, roles = [\"operate\"] }]" { uid: Leaf, roles: Vec<Leaf> }
    /// `[[admin.tokens]]`.
    AdminToken like "[ { name = \"deploy\", roles = [\"operate\"], key = { env = \"NAME\" } } ]" {
        name: Leaf, roles: Vec<Leaf>, key: KeyReference,
    }
    /// `[store]`.
    Store like "{ url = \"sqlite:igris-data/igris.db\" }" { url: Leaf, password: KeyReference }
    /// `[fleet]`.
    Fleet like "{ without_database = \"lease\" }" { without_database: Leaf, keep_attempts: Leaf, keep_hours: Leaf, share_scores: Leaf }
    /// `[vault]`.
    Vault like "{ root_key = { file = \"igris-data/root.key\" } }" { root_key: KeyReference }
    /// `[ledger]`.
    Ledger like "{ durability = \"process\" }" { durability: Leaf, keep: Leaf, directory: Leaf }
    /// `[log]`.
    Log like "{ format = \"json\" }" { format: Leaf, level: Leaf }
    /// `[trust]`.
    Trust like "{ keys = [\"RW…\"], threshold = 1 }" { keys: Vec<Leaf>, threshold: Leaf }
    /// `[rollout]`.
    Rollout like "{ watch = \"30s\" }" { watch: Leaf, error_rate: Leaf, min_requests: Leaf }
    /// `[rotation]`.
    Rotation like "{ remind_after = \"90d\" }" { remind_after: Leaf, max_age: Leaf }
    /// `[alerts]`.
    Alerts like "{ thresholds = [75, 90, 100] }" {
        thresholds: Vec<Leaf>, unusual: Leaf, sensitivity: Leaf, min_spend: Leaf, cool_down: Leaf, webhooks: Vec<AlertWebhook>,
    }
    /// `[[alerts.webhooks]]`.
    AlertWebhook like "[ { name = \"pager\", url = \"https://hooks.example.com/igris\", secret = { env = \"NAME\" } } ]" {
        name: Leaf, url: Leaf, secret: KeyReference, former_secret: KeyReference, events: Vec<Leaf>, tenants: Vec<Leaf>,
        allow_private_address: Leaf,
    }
    /// `[telemetry]`.
    Telemetry like "{ metrics_tenant_label = true }" { metrics_tenant_label: Leaf, otlp: Otlp, access_log: AccessLog }
    /// `[telemetry.otlp]`.
    Otlp like "{ endpoint = \"http://127.0.0.1:4318\" }" {
        endpoint: Leaf, protocol: Leaf, headers: References, ca: Leaf, traces: Leaf, metrics: Leaf,
        metrics_interval: Leaf, sample: Leaf, always: Vec<Leaf>, slow: Leaf, resource: Pairs,
    }
    /// `[telemetry.access_log]`.
    AccessLog like "{ path = \"stdout\" }" {
        path: Leaf, format: Leaf, sample: Leaf, always: Vec<Leaf>, client_address: Leaf, fields: Vec<Leaf>,
    }
    /// `{ env = … }`, `{ file = … }` or `{ fd = … }`: where a secret is, never the secret.
    KeyReference like "{ env = \"NAME\" }` or `{ file = \"PATH\" }" { env: Leaf, file: Leaf, fd: Leaf }
    /// `[[providers]]`.
    Provider like "[ { name = \"openai\" } ]" {
        name: Leaf, dialect: Leaf, base_url: Leaf, api_key: KeyReference, timeout: Leaf, connect_timeout: Leaf,
        first_byte_timeout: Leaf, max_retries: Leaf, allow_private_address: Leaf, headers: Pairs, models: Vec<Leaf>, ca: Leaf,
        api_version: Leaf, region: Leaf, project: Leaf, http: Leaf, ready_connections: Leaf,
    }
    /// `[[models]]`.
    Model like "[ { name = \"gpt-4\" } ]" {
        name: Leaf, policy: Leaf, percentile: Leaf, targets: Vec<Target>,
    }
    /// One of `targets`.
    Target like "{ provider = \"openai\", model = \"gpt-4o\" }" { provider: Leaf, model: Leaf, weight: Leaf }
    /// `[[prices]]`.
    Price like "[ { provider = \"local-vllm\", model = \"qwen3-32b\", input = \"$0.50/Mtok\", output = \"$1.50/Mtok\" } ]" {
        provider: Leaf, model: Leaf, input: Leaf, output: Leaf, cached_input: Leaf, cache_write: Leaf, cache_write_long: Leaf,
    }
    /// `[[tenants]]`.
    Tenant like "[ { id = \"default\" } ]" { id: Leaf, name: Leaf, routing: TenantRouting, limits: TenantLimits }
    /// `limits` of a tenant.
    TenantLimits like "{ requests_per_minute = 6000 }" {
        requests_per_minute: Leaf, tokens_per_minute: Leaf, concurrent: Leaf, budget: Leaf, budgets: Vec<Spend>,
    }
    /// `routing` of a tenant.
    TenantRouting like "{ optimization = \"cost\" }" {
        optimization: Leaf, repeat: Leaf, hedging: Leaf, hedged_share: Leaf, waste_share: Leaf, continue_streams: Leaf,
        on_client_gone: Leaf,
    }
    /// `[routing]`.
    Routing like "{ optimization = \"balanced\" }" {
        optimization: Leaf, repeat: Leaf, hedging: Leaf, hedged_share: Leaf, waste_share: Leaf, continue_streams: Leaf,
        on_client_gone: Leaf,
        affinity: Leaf, breaker: Breaker, probe_interval: Leaf, decisions: Leaf, quality: Vec<Quality>, rules: Vec<Rule>,
    }
    /// `[routing] breaker`.
    Breaker like "{ failures = 3, open = \"30s\" }" { failures: Leaf, open: Leaf }
    /// `[[routing.quality]]`.
    Quality like "[ { model = \"gpt-5*\", score = 0.95 } ]" { model: Leaf, score: Leaf }
    /// `[[routing.rules]]`.
    Rule like "[ { category = \"coding\", model = \"gpt-4o\" } ]" {
        category: Leaf, model: Leaf, keywords: Vec<Leaf>, keywords_all: Vec<Leaf>, min_tokens: Leaf, max_tokens: Leaf, tools: Leaf,
        languages: Vec<Leaf>, code_share: Leaf,
    }
    /// `[[access_keys]]`.
    AccessKey like "[ { name = \"app\" } ]" {
        name: Leaf, tenant: Leaf, key: KeyReference, scopes: Vec<Leaf>, limits: KeyLimits, expires_at: Leaf,
    }
    /// `limits` of an access key.
    KeyLimits like "{ requests_per_minute = 600 }" {
        requests_per_minute: Leaf, tokens_per_minute: Leaf, concurrent: Leaf, budget: Leaf, models: Vec<Leaf>, providers: Vec<Leaf>,
        endpoints: Vec<Leaf>, sources: Vec<Leaf>, budgets: Vec<Spend>,
    }
    /// One of `budgets`, written as a table.
    Budget like "{ amount = \"$100\", period = \"total\", cap = \"soft\" }" { amount: Leaf, period: Leaf, cap: Leaf }
}

/// Keys that the file chooses, such as header names, with where their secret values are.
#[derive(Default)]
pub struct References(pub Vec<(At<String>, KeyReference)>);

impl Read for References {
    const NOUN: &'static str = TABLE;
    const EXAMPLE: &'static str = "{ authorization = { env = \"NAME\" } }";

    fn read(key: &str, value: Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Self> {
        let (_, table) = table_of::<Self>(key, value, findings)?;
        let entry = |(name, value): (Spanned<_>, Spanned<DeValue<'_>>)| {
            let at = name.span().start;
            let name = At { value: std::borrow::Cow::into_owned(name.into_inner()), at };
            KeyReference::read(key, value, findings).map(|reference| (name, reference))
        };
        Some(Self(table.into_iter().filter_map(entry).collect()))
    }
}

/// One of `budgets`: `"$5/day"`, or a table.
pub enum Spend {
    /// In one text.
    Text(Leaf),
    /// In parts.
    Table(Budget),
}

impl Read for Spend {
    const NOUN: &'static str = "a budget";
    const EXAMPLE: &'static str = "[ \"$5/day\", { amount = \"$100\", period = \"total\", cap = \"soft\" } ]";

    fn read(key: &str, value: Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(_) => Budget::read(key, value, findings).map(Self::Table),
            _ => Leaf::read(key, value, findings).map(Self::Text),
        }
    }
}

/// An entry of `allowed_uids`: a number, or a table with more.
pub enum Allowed {
    /// The user's number.
    Number(Leaf),
    /// The number and roles.
    User(AllowedUser),
}

impl Read for Allowed {
    const NOUN: &'static str = "a user's number, or a table with `uid` and `roles`";
    const EXAMPLE: &'static str = AllowedUser::EXAMPLE;

    fn read(key: &str, value: Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(_) => AllowedUser::read(key, value, findings).map(Self::User),
            _ => Leaf::read(key, value, findings).map(Self::Number),
        }
    }
}

impl Document {
    /// Reads the shape of the whole text; `None` when it is not TOML at all.
    pub(super) fn read_text(text: &str, findings: &mut Findings) -> Option<Self> {
        tree(text, findings).map(|table| Self::fill(0, table, findings))
    }
}
