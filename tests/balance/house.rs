//! A gateway before three providers that fail now and then, and three tenants with provider keys of their own at each of them: by the key
//! that a provider is shown it knows whose request it is, whatever the gateway says.

use crate::support::{ACCESS_KEY, Builder, Gateway, STRANGER_KEY, bearer, post_with, wait_until};
use igris_load::Simulator;
use igris_load::simulator::{Behaviour, Fault, Latency, Surface, When, masked};
use std::time::Duration;

/// A tenant with its access key.
#[derive(Clone, Copy, Debug)]
pub struct Tenant {
    pub id: &'static str,
    pub access_key: &'static str,
}

/// The operator's own tenant, and two others.
pub const TENANTS: [Tenant; 3] = [
    Tenant { id: "default", access_key: ACCESS_KEY },
    Tenant { id: "other", access_key: STRANGER_KEY },
    Tenant { id: "third", access_key: "sk-igris-canary-third-tenant-0123456789abcdef" },
];

/// Providers with the wire format that they speak. The second is in no price list: what it does costs an unknown amount.
pub const PROVIDERS: [(&str, Surface); 3] =
    [("openai", Surface::OpenAi), ("local", Surface::OpenAi), ("anthropic", Surface::Anthropic)];

/// The share of requests that a provider fails.
const FAULTS: f64 = 0.1;
/// Receipts that a provider keeps: more than any run makes.
const RECEIPTS_MAX: usize = 2_000_000;

/// The stand.
pub struct House {
    pub gateway: Gateway,
    pub simulators: Vec<(&'static str, Simulator)>,
}

/// The key of a tenant at a provider; its last four characters are its own.
pub fn key_of(tenant: usize, provider: usize) -> String {
    format!("sk-canary-balance-0123456789abcdef-t{tenant}p{provider}")
}

/// Whose key it is, by what a provider's log shows of it.
pub fn tenant_of(shown: &str, provider: usize) -> Option<&'static str> {
    let known = |tenant: &usize| masked(&key_of(*tenant, provider)) == shown;
    (0..TENANTS.len()).find(known).map(|tenant| TENANTS[tenant].id)
}

impl House {
    /// Starts everything; `more` describes the gateway further.
    pub fn new(seed: u64, more: impl FnOnce(Builder) -> Builder) -> Self {
        let mut builder = Gateway::builder().workers(2);
        let mut simulators = Vec::new();
        for (number, (name, surface)) in PROVIDERS.into_iter().enumerate() {
            let simulator = Simulator::builder()
                .dialect(surface)
                .models(Vec::<String>::new())
                .keys((0..TENANTS.len()).map(|tenant| key_of(tenant, number)))
                .seed(seed.wrapping_add(number as u64))
                .behaviour(behaviour())
                .counters_only()
                .receipts("x-request-id", RECEIPTS_MAX)
                .start()
                .expect("a loopback port");
            // A stalled answer is given up soon.
            let patience = "first_byte_timeout = \"500ms\"\ntimeout = \"2s\"\n";
            builder = match name {
                "local" => builder.own_provider(name, &simulator.base_url(), patience),
                _ => builder.provider_at(name, &simulator.base_url(), patience),
            };
            builder = builder.key(Some(&key_of(0, number)));
            simulators.push((name, simulator));
        }
        let gateway = more(builder.config_toml(&models()).config_toml(&third_tenant()))
            .env("IGRIS_TEST_THIRD_KEY", TENANTS[2].access_key)
            .start();
        let house = Self { gateway, simulators };
        house.bring_keys();
        house
    }

    /// The other tenants bring their own provider keys, which stay in the store.
    fn bring_keys(&self) {
        for (number, tenant) in TENANTS.iter().enumerate().skip(1) {
            for (provider, (name, _)) in PROVIDERS.iter().enumerate() {
                let path = format!("/v1/tenants/{}/providers/{name}/keys", tenant.id);
                let body = format!(r#"{{"api_key":"{}"}}"#, key_of(number, provider));
                let answer = self.gateway.ask(&post_with(&path, &bearer(tenant.access_key), body.as_bytes()));
                assert!(matches!(answer.status, 200 | 201), "{path}: {}", answer.text());
            }
        }
        // Before that, a tenant is served with the operator's keys.
        std::thread::sleep(Duration::from_secs(1));
    }

    /// Nothing is under way at any provider.
    pub fn settle(&self) {
        for (name, simulator) in &self.simulators {
            let settled = || simulator.truth().wait_settled(Duration::from_millis(100));
            wait_until(Duration::from_secs(20), &format!("{name} has ended everything"), settled);
        }
    }
}

/// Well for the most part. The faults are those after which a request may go to somebody else, and those that cost a client its answer.
fn behaviour() -> Behaviour {
    let faults = [
        Fault::status(503),
        Fault::status(500),
        Fault::status(429),
        Fault::CloseBeforeResponse,
        Fault::GarbageHead,
        Fault::Reset { after_bytes: 300 },
        Fault::CutMidEvent { after_events: 3 },
        Fault::ErrorInStream { after_events: 2 },
        Fault::Stall { after_events: 2 },
        Fault::SlowFirstByte { delay: Duration::from_millis(200) },
    ];
    let latency = Latency::LogNormal { median: Duration::from_millis(4), sigma: 0.8 };
    let well = Behaviour { latency, ..Behaviour::default() };
    let share = FAULTS / faults.len() as f64;
    faults.into_iter().fold(well, |behaviour, fault| behaviour.with_fault(fault, When::Probability(share)))
}

/// `any` asks one after the other, `late` hedges.
fn models() -> String {
    let target = |provider: &str, model: &str| format!(r#"{{ provider = "{provider}", model = "{model}" }}"#);
    let (openai, local) = (target("openai", "gpt-4o"), target("local", "gpt-4o"));
    let anthropic = target("anthropic", "claude-sonnet-4-6");
    format!(
        "[[models]]\nname = \"any\"\npolicy = \"ordered\"\ntargets = [{openai}, {anthropic}, {local}]\n\
         [[models]]\nname = \"late\"\npolicy = \"hedged\"\ntargets = [{local}, {openai}]\n\
         [[models]]\nname = \"claude\"\npolicy = \"ordered\"\ntargets = [{anthropic}, {openai}]\n\
         [routing]\nhedged_share = \"20%\"\nwaste_share = \"90%\"\nrepeat = \"all\"\n"
    )
}

fn third_tenant() -> String {
    let scopes = r#"["inference", "keys", "costs", "admin"]"#;
    format!(
        "[[tenants]]\nid = \"third\"\n[[access_keys]]\nname = \"third\"\ntenant = \"third\"\n\
         key = {{ env = \"IGRIS_TEST_THIRD_KEY\" }}\nscopes = {scopes}\n"
    )
}
