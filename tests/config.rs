//! The promise of the configuration: what is wrong is refused with its place and a remedy, all of it at once, and nothing panics.

#[path = "config/bad.rs"]
mod bad;

use bad::BAD;
use igris::config::{
    Budget, Config, Durability, Io, KeySource, Known, KnownProvider, Metadata, Policy, Store, check, raw,
};
use igris::domain::money::Money;
use igris::domain::role::Roles;
use igris::domain::scope::{Scope, Scopes};
use igris::limits;
use proptest::prelude::*;
use std::time::Duration;

const fn known(name: &'static str, url: Option<&'static str>) -> KnownProvider<'static> {
    KnownProvider { name, aliases: &[], key_envs: &[], dialect: "openai", base_url: url }
}

const PROVIDERS: &[KnownProvider<'static>] = &[
    KnownProvider { key_envs: &["OPENAI_API_KEY"], ..known("openai", Some("https://api.openai.com/v1")) },
    KnownProvider {
        dialect: "anthropic",
        aliases: &["claude"],
        key_envs: &["ANTHROPIC_API_KEY"],
        ..known("anthropic", Some("https://api.anthropic.com"))
    },
    KnownProvider {
        dialect: "gemini",
        aliases: &["gemini"],
        key_envs: &["GOOGLE_API_KEY", "GEMINI_API_KEY"],
        ..known("google", Some("https://generativelanguage.googleapis.com"))
    },
    known("ollama", Some("http://127.0.0.1:11434/v1")),
    KnownProvider { dialect: "azure", key_envs: &["AZURE_OPENAI_API_KEY"], ..known("azure", None) },
    KnownProvider {
        dialect: "bedrock",
        key_envs: &["AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID"],
        ..known("bedrock", None)
    },
    KnownProvider { dialect: "vertex", key_envs: &["GOOGLE_APPLICATION_CREDENTIALS"], ..known("vertex", None) },
];
const DIALECTS: &[&str] = &["openai", "anthropic", "gemini", "azure", "bedrock", "vertex"];
const KNOWN: Known<'static> = Known { providers: PROVIDERS, dialects: DIALECTS };
const EXAMPLE: &str = include_str!("../config/igris.toml");
/// What cannot stand beside the rest: a store that machines share.
const FLEET_EXAMPLE: &str = include_str!("../config/fleet.toml");

fn parsed(text: &str) -> Config {
    Config::parse("igris.toml", text, &KNOWN).unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

fn refused(text: &str) -> String {
    match Config::parse("f", text, &KNOWN) {
        Ok(_) => panic!("this should have been refused:\n{text}"),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn every_bad_file_is_refused_at_its_place_with_a_remedy() {
    for (text, place, phrase) in BAD {
        let shown = refused(text);
        let errors: Vec<&str> = shown.lines().filter(|line| line.contains(": error: ")).collect();
        let expected = format!("f:{place}");
        assert!(
            errors.len() == 1 && errors[0].starts_with(&expected),
            "expected one error at {expected}:\n{text}\n{shown}"
        );
        let exact = place.ends_with(':') || errors[0].starts_with(&format!("{expected}: error: "));
        assert!(exact && errors[0].contains(phrase), "expected {expected} and {phrase:?}:\n{text}\n{shown}");
        assert!(errors[0].contains("; "), "a remedy: {shown}");
        // Rules R1 and R4: what may be a secret is never repeated.
        assert!(!shown.contains("marker"), "{shown}");
    }
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_text() {
    let text = "[server]\nworkers = -1\nlisen = []\n\n[[providers]]\nname = \"openai\"\ntimeout = 30\n[log]\nlevel = \"loud\"\n";
    let problems = Config::parse("dir/igris.toml", text, &KNOWN).expect_err("four problems");
    assert_eq!(problems.count(), 4);
    let lines: Vec<String> = problems.to_string().lines().map(str::to_owned).collect();
    let places = ["2:11", "3:1", "7:11", "9:9"].map(|place| format!("dir/igris.toml:{place}: error: "));
    assert!(lines.iter().zip(&places).all(|(line, place)| line.starts_with(place)) && lines.len() == 4, "{lines:#?}");
}

#[test]
fn all_syntax_errors_come_at_once() {
    let shown = refused("version = \n[server\nlisten = [\"127.0.0.1:1\"]\n[log]\nlevel = 'x\n");
    assert!(shown.contains("f:1:") && shown.contains("f:2:") && shown.contains("f:5:"), "{shown}");
}

#[test]
fn columns_count_characters_not_bytes() {
    assert!(refused("[[tenants]]\nid = \"a\"\nname = \"ä€\"; x = 1").starts_with("f:3:12: "));
    assert!(refused("tenants = [{ name = \"ä€\", id = \"?\" }]").starts_with("f:1:32: "));
}

#[test]
fn an_empty_file_means_the_defaults() {
    let config = parsed("");
    assert_eq!(config.server.listen, ["127.0.0.1:8081".parse().expect("an address")]);
    assert_eq!((config.server.workers, config.server.io, config.server.metadata), (0, Io::Auto, Metadata::Auto));
    assert_eq!(config.server.limits.body_bytes, limits::BODY_BYTES_MAX);
    assert_eq!(
        (config.store, config.ledger.durability, config.root_key),
        (Store::Sqlite(None), Durability::Process, None)
    );
    assert_eq!(config.tenants.len(), 1);
    assert_eq!(config.tenants[0].id.as_str(), "default");
}

#[test]
fn the_example_means_what_its_comments_say() {
    let (config, warnings) =
        Config::parse_with_warnings("igris.toml", EXAMPLE, &KNOWN).unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(warnings.count(), 0, "{warnings}");
    assert_eq!(config.version, 7);
    assert_eq!(config.identity.not_for, ["staging"]);
    assert_eq!(config.server.limits, igris::config::Limits::default(), "the example shows the defaults");
    let openai = &config.providers[0];
    assert_eq!(openai.base_url.as_ref().map(|url| url.as_str()), Some("https://api.openai.com/v1"));
    assert_eq!((openai.timeout, openai.max_retries), (Some(Duration::from_secs(30)), Some(3)));
    assert_eq!(openai.api_key, Some(KeySource::Env("OPENAI_API_KEY".to_owned())));
    assert_eq!(openai.headers[0].name, "openai-project");
    let azure = &config.providers[2].platform;
    assert_eq!(azure.api_version.as_deref(), Some("2024-10-21"));
    let vertex = &config.providers[4];
    assert_eq!(vertex.platform.project.as_deref(), Some("my-project"));
    assert_eq!(vertex.base_url.as_ref().map(|url| url.host()), Some("us-east5-aiplatform.googleapis.com"));
    assert!(config.providers[5].allow_private_address && !config.providers[5].built_in);
    assert_eq!((config.models[0].policy, config.models[0].targets[1].weight), (Policy::Latency, 2));
    assert_eq!((config.routing.rules.len(), config.routing.tenants.len()), (3, 1));
    assert_eq!(config.routing.usual, igris::routing::terms::TenantTerms::default(), "the example shows the defaults");
    assert_eq!(config.models[1].targets[0].model, None);
    let own = &config.prices[0];
    assert_eq!(
        (own.provider.as_str(), own.model.as_str(), own.price.input.pico()),
        ("local-vllm", "qwen3-32b", 100_000)
    );
    assert_eq!(own.price.cache_write_long.map(|price| price.pico()), Some(200_000));
    let key = &config.access_keys[0];
    assert_eq!(key.scopes, Scopes::NONE.with(Scope::Inference));
    assert_eq!(key.limits.tokens_per_minute, Some(1_000_000));
    let amount = Money::parse_usd("50").expect("an amount");
    let hard = Budget { amount, period: igris::config::Period::Month, cap: igris::config::Cap::Hard };
    assert_eq!(key.limits.budgets[0], hard);
    let written: Vec<String> = key.limits.budgets.iter().map(Budget::to_string).collect();
    assert_eq!(written, ["$50/month", "$5/day soft", "$500/total"]);
    let tenant = &config.tenants[0].limits;
    assert_eq!((tenant.requests_per_minute, tenant.concurrent, tenant.budgets.len()), (Some(6_000), Some(256), 2));
}

/// Where each table of the reader stands in the example.
const TABLE_PLACES: &[(&str, &str)] = &[
    ("Document", ""),
    ("Server", "server"),
    ("Tls", "server.tls"),
    ("ServerLimits", "server.limits"),
    ("Admin", "admin"),
    ("AllowedUser", "admin.allowed_uids"),
    ("AdminToken", "admin.tokens"),
    ("Store", "store"),
    ("Price", "prices"),
    ("Vault", "vault"),
    ("Fleet", "fleet"),
    ("Ledger", "ledger"),
    ("Log", "log"),
    ("Trust", "trust"),
    ("Rollout", "rollout"),
    ("Rotation", "rotation"),
    ("Alerts", "alerts"),
    ("AlertWebhook", "alerts.webhooks"),
    ("Telemetry", "telemetry"),
    ("Otlp", "telemetry.otlp"),
    ("AccessLog", "telemetry.access_log"),
    ("Provider", "providers"),
    ("Routing", "routing"),
    ("Breaker", "routing.breaker"),
    ("Quality", "routing.quality"),
    ("Rule", "routing.rules"),
    ("TenantRouting", "tenants.routing"),
    ("Model", "models"),
    ("Target", "models.targets"),
    ("Tenant", "tenants"),
    ("AccessKey", "access_keys"),
    ("KeyLimits", "access_keys.limits"),
    ("TenantLimits", "tenants.limits"),
    ("Budget", "access_keys.limits.budgets"),
];

#[test]
fn every_key_that_can_be_written_is_in_an_example() {
    let tree: toml::Value = toml::from_str(EXAMPLE).expect("the example is TOML");
    let fleet: toml::Value = toml::from_str(FLEET_EXAMPLE).expect("the fleet's example is TOML");
    for (table, keys) in raw::TABLES {
        if *table == "KeyReference" {
            assert!(["{ env = ", "{ file = ", "{ fd = "].iter().all(|form| EXAMPLE.contains(form)));
            continue;
        }
        let (_, path) =
            TABLE_PLACES.iter().find(|(name, _)| name == table).unwrap_or_else(|| panic!("place of {table}"));
        let mut tables = vec![&tree, &fleet];
        for part in path.split('.').filter(|part| !part.is_empty()) {
            let found = tables.iter().filter_map(|value| value.get(part));
            tables =
                found.flat_map(|value| value.as_array().map_or(vec![value], |items| items.iter().collect())).collect();
        }
        for key in *keys {
            assert!(tables.iter().any(|table| table.get(key).is_some()), "`{key}` of `{path}` is not in the example");
        }
    }
}

#[test]
fn aliases_become_canonical_everywhere() {
    let config = parsed(
        "[[providers]]\nname = \"gemini\"\n[[models]]\nname = \"m\"\npolicy = \"cost-optimized\"\n\
         targets = [{ provider = \"google\" }, { provider = \"claude\", model = \"c\" }]\n\
         [[access_keys]]\nname = \"a\"\nkey = { file = \"k\" }\nlimits = { providers = [\"gemini\"] }",
    );
    assert_eq!(config.providers[0].id.as_str(), "google");
    let targets: Vec<&str> = config.models[0].targets.iter().map(|target| target.provider.as_str()).collect();
    assert_eq!((targets, config.models[0].policy), (vec!["google", "anthropic"], Policy::Cost));
    assert_eq!(config.access_keys[0].limits.providers[0].as_str(), "google");
}

#[test]
fn a_built_in_server_of_ones_own_machine_needs_no_word() {
    assert!(parsed("[[providers]]\nname = \"ollama\"").providers[0].allow_private_address);
    assert!(!parsed("[[providers]]\nname = \"openai\"").providers[0].allow_private_address);
    // An address typed beside it is the operator's and needs the word.
    assert!(refused("[[providers]]\nname = \"ollama\"\nbase_url = \"http://10.0.0.1/v1\"").contains("is plain http"));
}

#[test]
fn ceilings_hold_at_the_limit_and_one_beyond() {
    for (key, at_ceiling, beyond) in [
        ("head_bytes", "64KiB", "65537B"),
        ("body_bytes", "256MiB", "268435457B"),
        ("relay_buffer_bytes", "256KiB", "262145B"),
        ("head_deadline", "60s", "60001ms"),
        ("body_deadline", "600s", "600001ms"),
        ("client_stall_deadline", "300s", "300001ms"),
        ("first_byte_unary_deadline", "900s", "900001ms"),
        ("exchange_deadline", "3600s", "3600001ms"),
        ("fields", "256", "257"),
    ] {
        parsed(&format!("[server.limits]\n{key} = \"{at_ceiling}\""));
        assert!(refused(&format!("[server.limits]\n{key} = \"{beyond}\"")).contains("above the ceiling"), "{key}");
    }
}

#[test]
fn size_and_depth_are_bounded_before_anything_is_built() {
    let most = limits::CONFIG_BYTES_MAX as usize;
    parsed(&format!("#{}", "x".repeat(most - 1)));
    assert!(refused(&format!("#{}", "x".repeat(most))).contains("above the limit"));
    assert!(refused(&format!("{}=1", "a.".repeat(500_000) + "a")).contains("dotted parts"));
    assert!(refused(&format!("a = {}", "[".repeat(500_000))).contains("not valid TOML"));
    // The deepest tree that passes both bounds: dotted keys inside inline tables.
    assert!(refused(&format!("a = {}1{}", "{a.a.a.a.a.a.a.a=".repeat(79), "}".repeat(79))).contains("unknown key `a`"));
}

#[test]
fn a_report_ends_in_a_verdict_and_its_exit_code() {
    let (text, code) = check::report("c.toml", EXAMPLE, &KNOWN);
    assert_eq!(text, "c.toml: fine: version 7, 6 providers, 2 models, 1 tenant, 1 access key\n");
    assert_eq!(code, 0);
    let (text, code) = check::report("c.toml", "[[tenants]]\nid = \"a\"\n[admin]\ndashboard = \"0.0.0.0:80\"", &KNOWN);
    assert!(text.contains("c.toml:2:6: warning: no access key names the tenant `a`; "), "{text}");
    assert!(text.contains("c.toml:4:13: warning: `dashboard` listens beyond this machine"), "{text}");
    assert!(text.ends_with("c.toml: fine: version 0, 0 providers, 0 models, 1 tenant, 0 access keys\n"), "{text}");
    assert_eq!(code, 0);
    let (text, code) = check::report("c.toml", "a = 1\nb = 2", &KNOWN);
    assert!(text.ends_with("c.toml: refused: 2 problems\n"), "{text}");
    assert_eq!(code, 2);
}

// === Without a file ===

fn sidecar(variables: &'static [(&str, &str)]) -> Result<Config, String> {
    let env = |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
    Config::sidecar(&env, &KNOWN).map_err(|problems| problems.to_string())
}

#[test]
fn without_a_file_the_environment_configures() {
    let config = sidecar(&[
        ("OPENAI_API_KEY", "sk-x"),
        ("ANTHROPIC_API_KEY", " "),
        ("GEMINI_API_KEY", "g"),
        ("AZURE_OPENAI_API_KEY", "a"),
        ("AWS_BEARER_TOKEN_BEDROCK", "b"),
        ("IGRIS_API_KEY", "sk-igris-whatever"),
        ("IGRIS_OPENAI_BASE_URL", "http://127.0.0.1:9/v1/"),
    ])
    .expect("a working sidecar");
    let names: Vec<&str> = config.providers.iter().map(|provider| provider.id.as_str()).collect();
    assert_eq!(names, ["openai", "google"], "blank and addressless ones are left out");
    assert_eq!(config.providers[0].base_url.as_ref().map(|url| url.as_str()), Some("http://127.0.0.1:9/v1"));
    assert!(config.providers[0].allow_private_address && !config.providers[1].allow_private_address);
    assert_eq!(config.providers[1].api_key, Some(KeySource::Env("GEMINI_API_KEY".to_owned())));
    assert_eq!(config.access_keys[0].scopes, Scopes::ALL);
    assert_eq!(config.access_keys[0].key, KeySource::Env("IGRIS_API_KEY".to_owned()));
    assert_eq!(config.server.listen, parsed("").server.listen);
}

#[test]
fn clouds_are_configured_by_the_variables_of_their_own_tools() {
    let config = sidecar(&[
        ("ANTHROPIC_API_KEY", "sk-ant-x"),
        ("AZURE_OPENAI_API_KEY", "a"),
        ("AZURE_OPENAI_ENDPOINT", "https://r.openai.azure.com/"),
        ("AWS_ACCESS_KEY_ID", "AKIA1"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_REGION", "eu-west-1"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "keys/account.json"),
        ("GOOGLE_CLOUD_PROJECT", "my-project"),
        ("GOOGLE_CLOUD_LOCATION", "global"),
    ])
    .expect("a working sidecar");
    let shown = |name: &str| {
        let provider = config.providers.iter().find(|provider| provider.id.as_str() == name).expect("configured");
        let region = provider.platform.region.as_deref().map(str::to_owned);
        (provider.base_url.as_ref().map(|url| url.as_str().to_owned()), region, provider.api_key.clone())
    };
    let env = |name: &str| Some(KeySource::Env(name.to_owned()));
    assert_eq!(shown("anthropic"), (None, None, env("ANTHROPIC_API_KEY")));
    let azure = Some("https://r.openai.azure.com/openai/v1".to_owned());
    assert_eq!(shown("azure"), (azure, None, env("AZURE_OPENAI_API_KEY")));
    let bedrock = Some("https://bedrock-runtime.eu-west-1.amazonaws.com".to_owned());
    assert_eq!(shown("bedrock"), (bedrock, Some("eu-west-1".to_owned()), env("AWS_ACCESS_KEY_ID")));
    let vertex = Some("https://aiplatform.googleapis.com".to_owned());
    let account = Some(KeySource::File("keys/account.json".into()));
    assert_eq!(shown("vertex"), (vertex, Some("global".to_owned()), account));
    assert!(config.providers.iter().all(|provider| !provider.allow_private_address));
}

#[test]
fn half_a_cloud_is_none_or_is_refused() {
    let names = |variables| {
        let config: Config = sidecar(variables).expect("a working sidecar");
        config.providers.iter().map(|provider| provider.id.to_string()).collect::<Vec<_>>()
    };
    assert!(names(&[("AWS_ACCESS_KEY_ID", "AKIA1"), ("AWS_REGION", "eu-west-1")]).is_empty(), "no secret half");
    assert!(names(&[("AWS_BEARER_TOKEN_BEDROCK", "ABSK1")]).is_empty(), "no region");
    assert!(names(&[("GOOGLE_APPLICATION_CREDENTIALS", "f"), ("GOOGLE_CLOUD_PROJECT", "p")]).is_empty());
    let moved = [("AWS_BEARER_TOKEN_BEDROCK", "ABSK1"), ("IGRIS_BEDROCK_BASE_URL", "http://127.0.0.1:9")];
    let moved: &'static [(&str, &str)] = Box::leak(Box::new(moved));
    assert_eq!(names(moved), ["bedrock"], "a bearer key needs no region");
    let refused = sidecar(&[("AWS_BEARER_TOKEN_BEDROCK", "b"), ("AWS_REGION", "a/b")]).expect_err("no region");
    assert!(refused.starts_with("environment:AWS_REGION: error: the value is `a/b`, not a region"), "{refused}");
    let refused = sidecar(&[("IGRIS_VERTEX_BASE_URL", "http://127.0.0.1:9")]).expect_err("no project");
    assert!(refused.contains("environment:GOOGLE_CLOUD_PROJECT: error:"), "{refused}");
}

#[test]
fn older_azure_resources_are_asked_by_version() {
    let config = sidecar(&[
        ("AZURE_OPENAI_API_KEY", "a"),
        ("AZURE_OPENAI_ENDPOINT", "https://r.openai.azure.com/"),
        ("OPENAI_API_VERSION", "2024-10-21"),
    ])
    .expect("a working sidecar");
    let azure = &config.providers[0];
    assert_eq!(azure.base_url.as_ref().map(|url| url.as_str()), Some("https://r.openai.azure.com"));
    assert_eq!(azure.platform.api_version.as_deref(), Some("2024-10-21"));
}

#[test]
fn the_host_tells_the_region_that_is_signed_for() {
    let url = "base_url = \"https://bedrock-runtime.us-west-2.amazonaws.com\"";
    let config = parsed(&format!("[[providers]]\nname = \"bedrock\"\n{url}\nregion = \"eu-west-1\""));
    assert_eq!(config.providers[0].platform.region.as_deref(), Some("us-west-2"));
    let own = "[[providers]]\nname = \"mine\"\ndialect = \"bedrock\"\nregion = \"eu-west-1\"";
    let config = parsed(own);
    let url = config.providers[0].base_url.as_ref().map(|url| url.as_str());
    assert_eq!(url, Some("https://bedrock-runtime.eu-west-1.amazonaws.com"));
}

#[test]
fn without_anything_there_is_no_provider_and_no_access_key() {
    let config = sidecar(&[]).expect("an empty sidecar");
    assert!(config.providers.is_empty() && config.access_keys.is_empty());
    assert_eq!(config.tenants[0].id.as_str(), "default");
}

#[test]
fn a_bad_base_url_names_its_variable_and_shows_no_secret() {
    let shown = sidecar(&[("OPENAI_API_KEY", "k"), ("IGRIS_OPENAI_BASE_URL", "https://u:marker@a.example")])
        .expect_err("userinfo");
    assert!(shown.starts_with("environment:IGRIS_OPENAI_BASE_URL: error: the value holds a user name"), "{shown}");
    assert!(!shown.contains("marker"));
    assert!(sidecar(&[("IGRIS_OLLAMA_BASE_URL", "http://169.254.169.254/")]).is_err(), "metadata is never allowed");
}

// === Whatever the text ===

/// Every line of what is shown has its place, severity and remedy, whatever the text.
fn shown_well(text: &str) -> Result<(), TestCaseError> {
    if let Err(problems) = Config::parse("f", text, &KNOWN) {
        prop_assert!(problems.count() > 0);
        for line in problems.to_string().lines() {
            let whole = line.starts_with("f:")
                && (line.contains(": error: ") || line.contains(": warning: ") || line.contains(" more; "));
            prop_assert!(whole && line.contains("; ") && !line.contains(char::is_control), "{line:?}");
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        shown_well(&text)?;
    }

    #[test]
    fn text_of_toml_pieces_never_panics(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        shown_well(&pieces.concat())?;
    }

    #[test]
    fn a_damaged_example_never_panics(from in 0..EXAMPLE.len(), length in 0..60_usize, patch in "[\\[\\]{}=.,\"'# a-z0-9\\n\u{202e}ä-]{0,6}") {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        let end = (from + length).min(bytes.len());
        bytes.splice(from..end, patch.bytes());
        shown_well(&String::from_utf8_lossy(&bytes))?;
    }
}

const PIECES: &[&str] = &[
    "[server]\n",
    "[[providers]]\n",
    "[[models]]\n",
    "[[access_keys]]\n",
    "[[tenants]]\n",
    "[access_keys.limits]\n",
    "name = ",
    "id = ",
    "key = ",
    "targets = ",
    "base_url = ",
    "timeout = ",
    "headers = ",
    "listen = ",
    "budget = ",
    "[[prices]]\n",
    "input = ",
    "\"$2.50/Mtok\"",
    "\"openai\"",
    "\"https://[::1\"",
    "\"ä\"",
    "\"$5/day\"",
    "\"30s\"",
    "30",
    "-0x1",
    "1e400",
    "inf",
    "2026-02-30T00:00:00Z",
    "{ env = \"A\" }",
    "{ provider = \"x\" }",
    "{",
    "}",
    "[",
    "]",
    ",",
    ".",
    "=",
    "\n",
    "\"",
    "'''",
    "#",
    " ",
    "\u{2028}",
    "\r",
];

#[test]
fn a_user_of_the_admin_socket_may_look_unless_more_is_said() {
    let admin = parsed(
        "[admin]\nallowed_uids = [1000, { uid = 1001, roles = [\"operate\"] }]\n[[admin.tokens]]\nname = \"deploy\"\n\
         roles = [\"keys\", \"operate\"]\nkey = { env = \"T\" }\n",
    )
    .admin;
    let users: Vec<_> = admin.allowed_uids.iter().map(|user| (user.uid, user.roles)).collect();
    assert_eq!(users, [(1000, Roles::READ), (1001, Roles::OPERATE)]);
    assert_eq!((admin.tokens[0].name.as_str(), admin.tokens[0].roles), ("deploy", Roles::ALL));
    for (lines, sign) in [
        ("allowed_uids = [1000, 1000]", "1000"),
        ("allowed_uids = [{ roles = [\"keys\"] }]", "`uid` is missing"),
        ("allowed_uids = [{ uid = 1, roles = [\"root\"] }]", "keys"),
        ("allowed_uids = [\"me\"]", "allowed_uids"),
        ("[[admin.tokens]]\nname = \"t\"\nkey = { env = \"T\" }", "allows nothing"),
        ("[[admin.tokens]]\nname = \"t\"\nroles = [\"keys\"]", "has no `key`"),
        ("[[admin.tokens]]\nroles = [\"keys\"]\nkey = { env = \"T\" }", "name"),
        ("[[admin.tokens]]\nname = \"t\"\nroles = [\"keys\"]\nkey = { fd = 3 }", "descriptor"),
    ] {
        let problems = refused(&format!("[admin]\n{lines}\n"));
        assert!(problems.contains(sign), "{lines}: {problems}");
    }
}
