//! The control plane over a real store in a directory of its own, with providers on loopback that nobody needs to answer.

use super::*;
use crate::domain::id::{AccessKeyId, AttemptId, CredentialId, ProviderId, RequestId, TenantId};
use crate::domain::money::Money;
use crate::domain::scope::{Scope, Scopes};
use crate::domain::secret::Secret;
use crate::domain::token::{Usage, UsageSource};
use crate::report::{AttemptReport, Outcome};
use crate::snapshot::{AccessKey, ProviderIx};
use crate::store::tests::NOW;
use crate::vault::OsEntropy;
use crate::vault::access_key::digest;
use std::cell::Cell;
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::time::Duration;

mod alerts;
mod breakers;
mod estate;
mod fleetwide;
mod journal;
mod listener;
mod pricing;
mod refused_keys;
mod reloading;
mod rollout;
mod rotation_faults;
mod rotations;
mod signed;
mod succession;
mod tokens;

thread_local! {
    static CLOCK: Cell<u64> = const { Cell::new(NOW.0) };
}

fn clock() -> UnixMillis {
    UnixMillis(CLOCK.get())
}

const APP_KEY: &str = "app-CANARYkey-0123456789";
const OPENAI_KEY: &str = "sk-proj-CANARY0123456789-conf";
const WHO: &str = "uid:1000";

pub(super) const CONFIG: &str = r#"
version = 3
[[providers]]
name = "local-vllm"
dialect = "openai"
base_url = "http://127.0.0.1:8000/v1"
allow_private_address = true
models = ["llama"]
headers = { "x-team" = "a" }
[[providers]]
name = "openai"
base_url = "http://127.0.0.1:9001/v1"
allow_private_address = true
api_key = { env = "OPENAI_API_KEY" }
max_retries = 1
[[models]]
name = "gpt-4"
policy = "ordered"
targets = [ { provider = "openai", model = "gpt-4o" }, { provider = "local-vllm", model = "llama", weight = 2 } ]
[[tenants]]
id = "default"
name = "Us"
[[tenants]]
id = "acme"
[[access_keys]]
name = "app"
tenant = "acme"
key = { env = "APP_KEY" }
scopes = ["inference", "costs"]
limits = { models = ["gpt-4*"], providers = ["openai"], budget = "$50/month" }
"#;

/// A directory and an environment; controls are opened over it, one after the other.
pub(super) struct House {
    directory: PathBuf,
    env: HashMap<String, String>,
    pub(super) reports: Arc<CoreReports>,
}

impl House {
    pub(super) fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("igris-control-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        let env = [("OPENAI_API_KEY", OPENAI_KEY), ("APP_KEY", APP_KEY)].map(|(k, v)| (k.to_owned(), v.to_owned()));
        Self { directory, env: env.into(), reports: Arc::new(CoreReports::new(64)) }
    }

    fn start(&self, config: Config, stamp: ConfigStamp, source: ConfigSource) -> Result<Opened, ControlError> {
        let env = self.env.clone();
        Control::open(Start {
            config,
            stamp,
            footing: Default::default(),
            source,
            data_dir: self.directory.clone(),
            reports: vec![self.reports.clone()],
            board: Arc::default(),
            driver: "epoll".to_owned(),
            workers: 1,
            control_socket: self.directory.join("control.sock"),
            env: Box::new(move |name| env.get(name).cloned()),
            clock,
            entropy: Box::new(OsEntropy),
        })
    }

    fn file(&self) -> PathBuf {
        self.directory.join("igris.toml")
    }

    fn try_open(&self, text: &str) -> Result<Control, ControlError> {
        fs::create_dir_all(&self.directory).expect("a directory");
        fs::write(self.file(), text).expect("written");
        let (config, stamp, _) = read_config(&self.file())?;
        let opened = self.start(config, stamp, ConfigSource::File(self.file()))?;
        assert!(opened.minted.is_none(), "a file says who may ask");
        Ok(opened.control)
    }

    pub(super) fn open(&self, text: &str) -> Control {
        self.try_open(text).expect("opened")
    }

    fn sidecar(&self) -> Opened {
        let env = self.env.clone();
        let (config, stamp) = sidecar_config(&|name| env.get(name).cloned()).expect("a fine environment");
        self.start(config, stamp, ConfigSource::Environment).expect("opened")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name)
}

fn secret(text: &str) -> Secret {
    Secret::copy_of(text.as_bytes())
}

/// The access key behind a text, as the data plane finds it.
fn shown(control: &Control, text: &[u8]) -> Option<Arc<AccessKey>> {
    let snapshot = control.published().load_full();
    snapshot.access.find(&digest(&snapshot.access.pepper, text)).cloned()
}

/// What a tenant would show a provider.
fn keys_for(control: &Control, tenant_name: &str, provider: &str) -> Vec<String> {
    let snapshot = control.published().load_full();
    let found = snapshot.credentials.find(&tenant(tenant_name), &ProviderId::new(provider));
    found.iter().map(|key| String::from_utf8(key.secret.expose().to_vec()).expect("text")).collect()
}

fn providers(control: &Control) -> Vec<String> {
    control.published().load().providers.iter().map(|provider| provider.id.to_string()).collect()
}

fn events(control: &Control) -> String {
    control.recent_events().iter().map(|event| format!("{}: {}\n", event.kind, event.text)).collect()
}

fn add(control: &mut Control, name: &str, provider: &str, key: &str) -> Result<CredentialView, ControlError> {
    control.add_credential(WHO, &tenant(name), provider, secret(key), KeyConfig::default())
}

#[test]
fn callers_may_hand_it_to_their_thread() {
    fn send<T: Send>() {}
    send::<Arc<Mutex<Control>>>();
}

#[test]
fn a_sidecar_mints_one_access_key_and_keeps_it() {
    let mut house = House::new("mint");
    house.env.remove("APP_KEY");
    let Opened { control, minted } = house.sidecar();
    let text = minted.expect("the first start shows a key");
    assert_eq!(fs::metadata(&house.directory).expect("directory").permissions().mode() & 0o777, 0o700);
    let key = shown(&control, text.expose()).expect("it works at once");
    assert_eq!((key.tenant.as_str(), key.scopes), ("default", Scopes::ALL));
    assert_eq!(keys_for(&control, "default", "openai"), [OPENAI_KEY]);
    assert_eq!(providers(&control), ["openai"]);
    drop(control);

    let Opened { control, minted } = house.sidecar();
    assert!(minted.is_none(), "shown once");
    assert_eq!(shown(&control, text.expose()).map(|key| key.id), Some(key.id));
    drop(control);

    // The owner's own key joins it, and goes with its variable; the minted one stays.
    house.env.insert("IGRIS_API_KEY".to_owned(), "an-owner-CANARY-key-1".to_owned());
    let Opened { control, .. } = house.sidecar();
    assert!(shown(&control, b"an-owner-CANARY-key-1").is_some_and(|key| key.scopes == Scopes::ALL));
    drop(control);
    house.env.remove("IGRIS_API_KEY");
    let Opened { control, minted } = house.sidecar();
    assert!(minted.is_none() && shown(&control, b"an-owner-CANARY-key-1").is_none());
    assert!(shown(&control, text.expose()).is_some());
}

#[test]
fn a_configuration_becomes_a_snapshot() {
    let house = House::new("snapshot");
    let control = house.open(CONFIG);
    let snapshot = control.published().load_full();
    assert_eq!((snapshot.generation, snapshot.config.version, snapshot.config.digest.len()), (1, 3, 64));
    assert_eq!(providers(&control), ["local-vllm", "openai"]);

    let own = snapshot.provider(ProviderIx(0)).expect("the first");
    assert_eq!(
        (&*own.origin.key, &*own.origin.authority, &*own.base_path),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", "/v1")
    );
    assert_eq!(own.origin.addresses, ["127.0.0.1:8000".parse().expect("an address")]);
    assert!(own.keyless && own.origin.tls.is_none() && own.headers == [("x-team".into(), "a".into())]);
    let openai = snapshot.provider(ProviderIx(1)).expect("the second");
    assert!(!openai.keyless && openai.models.iter().any(|model| &**model == "gpt-5.6-sol"));
    assert!(!openai.models.iter().any(|model| &**model == "gpt-4"), "retired");

    let route = snapshot.routes.models.resolve("gpt-4").expect("the owner's name");
    let offers: Vec<_> = route.candidates.iter().map(|c| (c.offer, &*c.model, c.weight)).collect();
    assert_eq!(offers, [(1, "gpt-4o", 1), (0, "llama", 2)]);
    assert_eq!(snapshot.routes.policies[0].policy, crate::routing::policy::Policy::Ordered);
    let listed =
        |name: &str| snapshot.routes.listed.iter().find(|model| &*model.name == name).map(|m| m.providers.clone());
    assert_eq!(listed("gpt-4"), Some(vec![ProviderIx(1), ProviderIx(0)]), "the owner's names are always shown");
    assert_eq!(listed("llama"), Some(vec![ProviderIx(0)]));
    assert_eq!(listed("gpt-4-turbo"), None, "nobody serves it any more");
    assert!(snapshot.routes.listed.is_sorted_by(|a, b| a.name < b.name));

    let key = shown(&control, APP_KEY.as_bytes()).expect("registered");
    assert_eq!(key.tenant.as_str(), "acme");
    assert!(
        key.models[0].matches("gpt-4-x")
            && !key.models[0].matches("o3")
            && key.providers == [ProviderId::new("openai")]
    );
    let settings = &snapshot.settings;
    assert!(settings.metadata && settings.control_socket.ends_with("control.sock"));
}

#[test]
fn what_cannot_be_read_is_told_at_once_and_nothing_is_stored() {
    let mut house = House::new("faults");
    house.env.clear();
    let text = CONFIG.replace("models = [\"llama\"]", "ca = \"/nowhere/ca.pem\"");
    let error = house.try_open(&text).err().expect("refused");
    let lines = error.lines();
    assert_eq!((error.status(), error.code(), lines.len()), (422, "invalid_config", 3), "{lines:?}");
    for part in ["OPENAI_API_KEY", "APP_KEY", "/nowhere/ca.pem"] {
        assert!(lines.iter().any(|line| line.contains(part)), "{part}: {lines:?}");
    }
    assert!(!house.directory.join("igris.db").exists());
}

#[test]
fn the_operators_keys_serve_everyone_and_a_tenants_own_come_first() {
    let house = House::new("shared");
    let mut control = house.open(CONFIG);
    assert_eq!(keys_for(&control, "default", "openai"), [OPENAI_KEY]);
    assert_eq!(keys_for(&control, "acme", "openai"), [OPENAI_KEY]);
    control.create_tenant(WHO, "other").expect("made");
    let before = control.published().load().generation;
    add(&mut control, "acme", "oai", "sk-CANARY-acme-0123456789").expect("added");
    add(&mut control, "default", "openai", "sk-CANARY-default-0123456789").expect("added");
    assert_eq!(control.published().load().generation, before + 2);
    assert_eq!(keys_for(&control, "acme", "openai"), ["sk-CANARY-acme-0123456789"]);
    assert_eq!(keys_for(&control, "other", "openai"), [OPENAI_KEY], "isolation: nobody else's key");
    assert_eq!(keys_for(&control, "default", "openai"), ["sk-CANARY-default-0123456789", OPENAI_KEY]);
    let snapshot = control.published().load_full();
    let found = snapshot.credentials.find(&tenant("other"), &ProviderId::new("openai"));
    assert_eq!((found[0].timeout, found[0].max_retries), (None, Some(1)), "the provider's own terms");
    assert_eq!(snapshot.credentials.count(&ProviderId::new("openai")), 3);
}

#[test]
fn a_key_makes_a_built_in_provider_routable_and_its_removal_undoes_that() {
    let house = House::new("bring-in");
    let mut control = house.open(CONFIG);
    let view = add(&mut control, "acme", "mistral", "CANARY0123456789mistral-key").expect("added");
    assert_eq!(providers(&control), ["local-vllm", "openai", "mistral"]);
    let snapshot = control.published().load_full();
    let resolved = snapshot.routes.models.resolve("mistral-large-latest").expect("listed by mistral");
    assert_eq!(resolved.candidates[0].offer, 2);
    let mistral = snapshot.provider(ProviderIx(2)).expect("the third");
    assert!(mistral.origin.tls.is_some() && mistral.origin.addresses.is_empty());
    assert_eq!((&*mistral.origin.key, &*mistral.origin.authority), ("https://api.mistral.ai:443", "api.mistral.ai"));
    assert_eq!(control.names_due(Instant::now()), ["api.mistral.ai"]);

    let id = CredentialId::parse(&view.id).expect("an id");
    assert_eq!(
        control.credential(&tenant("acme"), "mistral", id).expect("there"),
        CredentialView { warnings: vec![], ..view }
    );
    for (owner, provider) in [("default", "mistral"), ("acme", "openai"), ("nobody", "mistral")] {
        let error = control.remove_credential(WHO, &tenant(owner), provider, id).expect_err("rules T1, V7");
        assert_eq!((error.status(), error.code()), (404, "not_found"));
    }
    assert_eq!(control.remove_credential(WHO, &tenant("acme"), "mistral", id).expect("removed").status, "revoked");
    assert_eq!(providers(&control), ["local-vllm", "openai"]);
    assert!(keys_for(&control, "acme", "mistral").is_empty() && control.names_due(Instant::now()).is_empty());
}

#[test]
fn a_refused_key_says_why() {
    let house = House::new("refused");
    let mut control = house.open(CONFIG);
    let generation = control.published().load().generation;
    let unknown = add(&mut control, "acme", "opnai", "sk-CANARY-0123456789").expect_err("unknown");
    assert_eq!(unknown.status(), 404);
    assert!(unknown.to_string().contains("local-vllm") && unknown.to_string().contains("openai"), "{unknown}");
    let bedrock = add(&mut control, "acme", "bedrock", "sk-CANARY-0123456789").expect_err("no address of its own");
    assert_eq!(bedrock.status(), 400, "{bedrock}");
    let nobody = add(&mut control, "nobody", "openai", "sk-CANARY-0123456789").expect_err("no tenant");
    assert_eq!(nobody.status(), 404);
    let odd = add(&mut control, "acme", "openai", "sk-CANARY\n0123").expect_err("an injection");
    assert_eq!((odd.status(), odd.code()), (400, "invalid_request"));
    assert!(![unknown, bedrock, nobody, odd].iter().any(|error| error.to_string().contains("CANARY")), "rule R1");
    let configured = control.credentials(&tenant("default"), None).expect("listed");
    let id = CredentialId::parse(&configured[0].id).expect("an id");
    let error = control.remove_credential(WHO, &tenant("default"), "openai", id).expect_err("it would come back");
    assert_eq!(error.status(), 409);
    assert_eq!(control.published().load().generation, generation);
}

#[test]
fn access_keys_come_and_go_at_once_and_end_in_time() {
    let house = House::new("access");
    let mut control = house.open(CONFIG);
    let new = |expires| NewAccess {
        name: "ci".to_owned(),
        scopes: Scopes::INFERENCE.with(Scope::Keys),
        limits: serde_json::from_str(r#"{"models":["o3"],"requests_per_minute":"1k"}"#).expect("an object"),
        expires,
    };
    let (view, text) = control.make_access_key(WHO, &tenant("acme"), new(None)).expect("made");
    assert_eq!(view.limits["requests_per_minute"], 1_000);
    assert!(shown(&control, text.expose()).is_some_and(|key| key.models[0].matches("o3")));
    let listed = control.access_keys(&tenant("acme")).expect("listed");
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|view| view.limits.get("origin").is_none()), "a mark of ours");
    let id = AccessKeyId::parse(&view.id).expect("an id");
    assert_eq!(control.revoke_access_key(WHO, &tenant("default"), id).expect_err("rule T1").status(), 404);
    control.revoke_access_key(WHO, &tenant("acme"), id).expect("revoked");
    assert!(shown(&control, text.expose()).is_none());

    let (_, text) = control.make_access_key(WHO, &tenant("acme"), new(Some(UnixMillis(NOW.0 + 1_000)))).expect("made");
    control.tick();
    assert!(shown(&control, text.expose()).is_some());
    CLOCK.set(NOW.0 + 1_000);
    control.tick();
    assert!(shown(&control, text.expose()).is_none(), "ended without anybody's doing");
    let bad = NewAccess { scopes: Scopes::NONE, ..new(None) };
    assert_eq!(control.make_access_key(WHO, &tenant("acme"), bad).expect_err("no scope").status(), 400);
}

#[test]
fn tenants_are_made_and_destroyed_but_not_behind_the_configurations_back() {
    let house = House::new("tenants");
    let mut control = house.open(CONFIG);
    control.create_tenant(WHO, "beta").expect("made");
    assert_eq!(control.create_tenant(WHO, "beta").expect_err("twice").status(), 409);
    for bad in ["", ".x", "a/b", "a b", "ü", &"x".repeat(129)] {
        assert_eq!(control.create_tenant(WHO, bad).expect_err(bad).status(), 400);
    }
    let views = control.tenants().expect("listed");
    let rows: Vec<_> = views.iter().map(|view| (view.id.as_str(), view.name.as_deref(), view.configured)).collect();
    assert_eq!(rows, [("acme", None, true), ("beta", None, false), ("default", Some("Us"), true)]);
    add(&mut control, "beta", "openai", "sk-CANARY-beta-0123456789").expect("added");
    for kept in ["default", "acme"] {
        assert_eq!(control.delete_tenant(WHO, &tenant(kept)).expect_err(kept).status(), 409);
    }
    control.delete_tenant(WHO, &tenant("beta")).expect("destroyed");
    assert_eq!(keys_for(&control, "beta", "openai"), [OPENAI_KEY], "only the operator's is left");
    assert_eq!(control.delete_tenant(WHO, &tenant("beta")).expect_err("gone").status(), 404);
    assert_eq!(control.access_keys(&tenant("beta")).expect_err("gone").status(), 404);
    let rows = control.store.admin().verify_audit().expect("a whole chain (rule A4)");
    let last = control.store.admin().audit_tail(1).expect("read").remove(0);
    assert_eq!((rows, last.what.as_str(), last.who.as_str()), (4, "tenant.delete", WHO));
}

// ---- Reports ----------------------------------------------------------------------------------------------------------------

fn attempt(tenant_name: &str, outcome: Outcome, cost: Option<&str>) -> AttemptReport {
    AttemptReport {
        exchange: RequestId::from_bits(1),
        attempt: AttemptId::from_bits(2),
        last: true,
        tenant: tenant(tenant_name),
        access_key: AccessKeyId::from_bits(3),
        provider: ProviderId::new("openai"),
        credential: Some(CredentialId::from_bits(4)),
        model: Arc::from("gpt-4o"),
        policy: crate::routing::policy::Policy::Ordered,
        outcome,
        status: if outcome == Outcome::Completed { 200 } else { 500 },
        key_refused: false,
        stream: false,
        usage: Usage { input: 10, output: 3, cached_input: 4, ..Usage::default() },
        usage_source: UsageSource::Provider,
        cost: cost.map(|text| Money::parse_usd(text).expect("an amount")),
        price_version: 0,
        started: clock(),
        connect_us: 0,
        tls_us: 0,
        first_token_us: 0,
        first_byte_us: 1_000,
        total_us: 40_000,
    }
}

fn report(house: &House, tenant_name: &str, outcome: Outcome, last: bool, cost: Option<&str>) {
    assert!(house.reports.push(&AttemptReport { last, ..attempt(tenant_name, outcome, cost) }), "room");
}

#[test]
fn reports_become_exact_sums_for_their_tenant_alone() {
    let house = House::new("usage");
    let mut control = house.open(CONFIG);
    for _ in 0..3 {
        report(&house, "acme", Outcome::Completed, true, Some("0.000000000001"));
    }
    report(&house, "acme", Outcome::Refused, false, None);
    report(&house, "default", Outcome::Completed, true, Some("7"));
    let answer = control.usage(&tenant("acme"), UsagePeriod::Day, clock()).expect("summed");
    let json = serde_json::to_value(&answer).expect("json");
    assert_eq!((answer.total.requests, answer.total.attempts, answer.total.cost.pico()), (3, 4, 3));
    assert_eq!((json["input_tokens"].as_u64(), json["output_tokens"].as_u64()), (Some(40), Some(12)));
    assert_eq!((&json["period"], &json["cost_usd"]), (&"day".into(), &3e-12.into()));
    assert_eq!(json["by_provider"]["openai"], json["by_model"]["gpt-4o"]);
    assert_eq!(json["by_model"]["gpt-4o"]["attempts"], 4);
    assert_eq!((&json["from"], &json["to"]), (&"2026-11-22T06:00:00Z".into(), &"2026-11-23T06:51:53Z".into()));
    assert_eq!(control.usage(&tenant("nobody"), UsagePeriod::Day, clock()).expect_err("rule T1").status(), 404);
    drop(control);

    // Again in a later hour, by another process: sums go on, old hours leave the shorter periods.
    CLOCK.set(NOW.0 + 3 * 3_600_000);
    let mut control = house.open(CONFIG);
    report(&house, "acme", Outcome::Completed, true, Some("1"));
    assert_eq!(control.ingest().expect("taken"), 1);
    assert_eq!(control.ingest().expect("nothing left"), 0);
    let mut requests = |period| control.usage(&tenant("acme"), period, clock()).expect("summed").total.requests;
    assert_eq!((requests(UsagePeriod::Hour), requests(UsagePeriod::Day), requests(UsagePeriod::Month)), (1, 4, 4));
}

#[test]
fn figures_show_in_stats_metrics_and_status_and_hold_no_secret() {
    let house = House::new("figures");
    let mut control = house.open(CONFIG);
    assert_eq!(control.provider_stats("oai").expect("configured")["requests"], 0);
    for outcome in [Outcome::Completed, Outcome::Completed, Outcome::Completed, Outcome::TimedOut, Outcome::ClientGone]
    {
        report(&house, "acme", outcome, true, Some("0.5"));
    }
    assert_eq!(control.status()["reports_waiting"], 5);
    control.tick();
    let stats = control.provider_stats("openai").expect("configured");
    assert_eq!((&stats["requests"], &stats["alpha"], &stats["beta"]), (&5.into(), &1.0.into(), &1.0.into()));
    assert_eq!((&stats["error_rate"], &stats["cost_usd"]), (&0.2.into(), &2.5.into()));
    assert_eq!(
        (&stats["last_error"]["outcome"], &stats["circuit_breaker_state"]),
        (&"timed_out".into(), &"closed".into())
    );
    assert!((39.0..=41.0).contains(&stats["latency_ms_p50"].as_f64().expect("a number")), "{stats}");
    assert!(control.provider_stats("mistral").is_none());

    let metrics = control.metrics();
    for line in [
        "igris_attempts_total{provider=\"openai\",model=\"gpt-4o\",outcome=\"completed\"} 3",
        "igris_tokens_total{provider=\"openai\",model=\"gpt-4o\",direction=\"input\"} 50",
        "igris_cost_usd_total{provider=\"openai\",model=\"gpt-4o\"} 2.5",
        "igris_request_duration_seconds_bucket{le=\"0.025\"} 0",
        "igris_request_duration_seconds_count 0",
        "igris_config_version 3",
        "# TYPE igris_request_duration_seconds histogram",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    let status = control.status();
    assert_eq!((&status["config"]["version"], &status["store"]["ok"]), (&3.into(), &true.into()));
    let openai = &status["providers"][1];
    assert_eq!((&openai["credentials"], &openai["addresses"][0]), (&1.into(), &"127.0.0.1:9001".into()));
    assert_eq!(control.routes()["entries"][0]["targets"][1]["provider"], "local-vllm");
    let views = serde_json::to_string(&control.credentials(&tenant("default"), None).expect("listed")).expect("json");
    let all = [metrics, status.to_string(), control.routes().to_string(), events(&control), views].concat();
    assert!(!all.contains("CANARY"), "rule R4: {all}");
}

#[test]
fn a_model_that_a_client_made_up_makes_no_series() {
    let house = House::new("series");
    let mut control = house.open(CONFIG);
    for n in 0..3 {
        let made_up =
            AttemptReport { model: Arc::from(format!("evil-\"{n}")), ..attempt("acme", Outcome::Completed, None) };
        assert!(house.reports.push(&made_up), "room");
    }
    control.tick();
    let metrics = control.metrics();
    assert!(metrics.contains("model=\"other\",outcome=\"completed\"} 3") && !metrics.contains("evil"), "rule R5");
}

#[test]
fn a_store_that_refuses_loses_nothing_and_counts_nothing_twice() {
    let house = House::new("refusing");
    let mut control = house.open(CONFIG);
    let raw = rusqlite::Connection::open(house.directory.join("igris.db")).expect("opened");
    raw.execute_batch("ALTER TABLE usage_hours RENAME TO away").expect("renamed");
    report(&house, "acme", Outcome::Completed, true, Some("1"));
    control.tick();
    assert!(control.status()["trouble"].is_string() && control.status()["store"]["ok"] == false);
    assert!(events(&control).contains("ledger: "), "{}", events(&control));
    report(&house, "acme", Outcome::Completed, true, Some("1"));
    control.tick();
    assert_eq!(house.reports.waiting(), 1, "rule L4: what cannot be booked stays in its queue");
    raw.execute_batch("ALTER TABLE away RENAME TO usage_hours").expect("renamed");
    control.tick();
    assert!(control.status()["trouble"].is_null() && house.reports.waiting() == 0);
    let total = control.usage(&tenant("acme"), UsagePeriod::Hour, clock()).expect("summed").total;
    assert_eq!((total.requests, total.cost), (2, Money::parse_usd("2").expect("an amount")));
}

#[test]
fn a_model_that_retires_overnight_leaves_the_list() {
    let house = House::new("retires");
    let mut control = house.open(CONFIG);
    let listed = |control: &Control| {
        let snapshot = control.published().load_full();
        let routes = snapshot.routes.listed.iter().any(|model| &*model.name == "gpt-4o");
        (routes, snapshot.providers[1].models.iter().any(|model| &**model == "gpt-4o"))
    };
    control.tick();
    assert_eq!(listed(&control), (true, true));
    // 2027-01-14T00:00:00Z, its last day.
    CLOCK.set(1_799_884_800_000);
    control.tick();
    assert_eq!(listed(&control), (false, false));
}

// ---- Names ------------------------------------------------------------------------------------------------------------------

#[test]
fn a_resolved_name_is_published_once_and_checked() {
    let house = House::new("names");
    let text =
        CONFIG.replace("http://127.0.0.1:9001/v1\"\nallow_private_address = true", "https://api.example.com/v1\"");
    let mut control = house.open(&text);
    let generation = |control: &Control| control.published().load().generation;
    let addresses = |control: &Control| control.published().load().providers[1].origin.addresses.clone();
    let found = |text: &str| {
        Some(resolve::Found { addresses: vec![text.parse().expect("an address")], ttl: Duration::from_secs(60) })
    };
    assert!(addresses(&control).is_empty());
    let (now, before) = (Instant::now(), generation(&control));
    assert!(!control.learn_addresses("api.example.com", None, now));
    assert!(control.learn_addresses("api.example.com", found("1.1.1.1"), now));
    assert_eq!(
        (addresses(&control), generation(&control)),
        (vec!["1.1.1.1:443".parse().expect("an address")], before + 1)
    );
    assert!(!control.learn_addresses("api.example.com", found("1.1.1.1"), now));
    assert_eq!(generation(&control), before + 1);
    assert!(control.learn_addresses("api.example.com", found("127.0.0.1"), now));
    assert!(addresses(&control).is_empty(), "rule T5: a public name may not lead inside");
    let events = events(&control);
    assert!(events.contains("cannot be resolved") && events.contains("allow_private_address"), "{events}");
}

#[test]
fn the_loop_takes_reports_in_and_stops_with_nothing_left() {
    let house = House::new("loop");
    let control = Arc::new(Mutex::new(house.open(CONFIG)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let running = tokio::spawn(run(control.clone(), stopped));
        report(&house, "acme", Outcome::Completed, true, None);
        let taken = async {
            while house.reports.waiting() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), taken).await.expect("taken by itself");
        report(&house, "acme", Outcome::Completed, true, None);
        stop.send(true).expect("still running");
        tokio::time::timeout(Duration::from_secs(10), running).await.expect("in time").expect("no panic");
    });
    assert_eq!(house.reports.waiting(), 0);
    let answer = lock(&control).usage(&tenant("acme"), UsagePeriod::Hour, clock()).expect("summed");
    assert_eq!(answer.total.requests, 2);
}

/// Run alone with `--ignored --nocapture` and `--release` for the figures.
#[test]
#[ignore = "a measurement"]
fn how_long_opening_and_publishing_take() {
    let house = House::new("speed");
    let timed = |what: &str, since: Instant| println!("{what}: {:?}", since.elapsed());
    let start = Instant::now();
    let mut control = house.open(CONFIG);
    timed("first start", start);
    let none = serde_json::Map::new();
    control
        .store
        .all_or_nothing(|store| {
            for n in 0..10_000 {
                let name = tenant(&format!("t{n}"));
                store.admin().ensure_tenant(&name, &control.keyring, &mut OsEntropy, NOW)?;
                for _ in 0..10 {
                    let terms = access::Terms { name: "app", scopes: Scopes::INFERENCE, limits: &none, expires: None };
                    access::Access::new(store, &control.keyring, &mut OsEntropy, NOW).make(&name, &terms)?;
                }
            }
            Ok::<(), ControlError>(())
        })
        .expect("stored");
    let start = Instant::now();
    control.dirty.access = true;
    control.publish().expect("published");
    timed("publishing 100 000 access keys", start);
    let start = Instant::now();
    let reloaded = control.reload(WHO, Some(&CONFIG.replace("version = 3", "version = 4"))).expect("fine");
    timed("reload with 10 000 tenants and 100 000 access keys", start);
    assert!(reloaded.changed);
    drop(control);
    let start = Instant::now();
    let control = house.open(CONFIG);
    timed("start with them", start);
    assert_eq!(control.published().load().access.len(), 100_001);
    drop(control);
    let bare = House::new("speed-bare");
    drop(bare.open(CONFIG));
    let start = Instant::now();
    drop(bare.open(CONFIG));
    timed("start with an existing small store", start);
}
