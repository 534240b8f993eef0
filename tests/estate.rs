//! A large estate behaves as a small one: a change of one key holds at once, and a reload under load fails no request.
//!
//! The usual run is small. For the figures: `cargo xtask bench estate`, or `IGRIS_ESTATE_KEYS=100000 IGRIS_ESTATE_TENANTS=10000
//! IGRIS_ESTATE_ROUTES=1000 IGRIS_ESTATE_RATE=1000 IGRIS_ESTATE_SECONDS=20 cargo test --release --test estate -- --nocapture`.

mod support;

use igris_load::Simulator;
use igris_load::engine::Stop;
use igris_load::measure::{self, Measured};
use igris_load::workload::{Arrivals, Endpoint, Plan, Secret, Share, Span, Tenant};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{ACCESS_KEY, Gateway, bare, bearer, wait_until};

fn number(name: &str, usual: u32) -> u32 {
    let name = format!("IGRIS_ESTATE_{name}");
    std::env::var(&name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// A gateway with so many routes and tenants in its configuration and so many access keys in its store.
fn gateway(simulator: &Simulator, keys: u32, tenants: u32, routes: u32) -> Gateway {
    let mut sections = String::new();
    for n in 0..routes {
        let target = r#"{ provider = "openai", model = "gpt-4o" }"#;
        write!(sections, "[[models]]\nname = \"route-{n}\"\ntargets = [{target}]\n")
            .expect("a String takes everything");
    }
    for n in 0..tenants {
        write!(sections, "[[tenants]]\nid = \"t{n}\"\n").expect("a String takes everything");
    }
    let mut gateway = Gateway::builder().provider("openai", simulator).config_toml(&sections).start();
    gateway.kill();
    let store = rusqlite::Connection::open(gateway.home().join("data/igris.db")).expect("opened");
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                INSERT INTO access_keys (id, tenant, name, pepper_version, digest, last4, scopes, limits, created)
                SELECT randomblob(16), 't' || (i % ?2), 'app', 1, randomblob(32), 'abcd', 1, '{}', 0 FROM n";
    store.execute(fill, [keys, tenants]).expect("filled");
    drop(store);
    let began = Instant::now();
    gateway.restart();
    println!("start with {keys} access keys, {tenants} tenants, {routes} routes: {:?}", began.elapsed());
    println!("resident memory {} KiB", gateway.resident_bytes() / 1024);
    gateway
}

fn load(gateway: &Gateway, rate: u32, seconds: u32) -> Measured {
    let plan = Plan {
        endpoints: vec![Endpoint { url: gateway.url(), ..Endpoint::default() }],
        tenants: vec![Tenant { key: Secret { text: ACCESS_KEY.to_owned(), ..Secret::default() }, ..Tenant::default() }],
        traffic: vec![Share { model: "route-1".to_owned(), prompt_bytes: 256, ..Share::default() }],
        arrivals: Arrivals::Constant { rate: rate.into() },
        duration: Some(Span(Duration::from_secs(seconds.into()))),
        connections: 32,
        timeout: Span(Duration::from_secs(10)),
        verify: true,
        verify_model: Some("gpt-4o".to_owned()),
        ..Plan::default()
    };
    let measured = measure::run(&plan, &Stop::default(), |_| {}).expect("the load is sent");
    assert!(measured.is_success(), "{:?} {:?}", measured.sums.outcomes, measured.failures);
    measured
}

fn figures(what: &str, measured: &Measured) -> Duration {
    let at = |percent| Duration::from_nanos(measured.timings.e2e.value_at_percentile(percent));
    println!(
        "{what}: {} requests, p50 {:?}, p99 {:?}, p99.9 {:?}",
        measured.sums.total(),
        at(50.0),
        at(99.0),
        at(99.9)
    );
    at(99.9)
}

#[test]
fn reloads_of_a_large_estate_under_load_fail_no_request() {
    let (keys, tenants, routes) = (number("KEYS", 2_000), number("TENANTS", 300), number("ROUTES", 100));
    let (rate, seconds) = (number("RATE", 50), number("SECONDS", 3));
    let simulator = Simulator::builder().counters_only().start().expect("a loopback port");
    let gateway = gateway(&simulator, keys, tenants, routes);
    load(&gateway, rate, 1);
    let quiet = figures("quiet", &load(&gateway, rate, seconds));
    let stop = AtomicBool::new(false);
    let reloading = std::thread::scope(|scope| {
        let reloads = scope.spawn(|| {
            let (mut count, mut longest) = (0_u32, Duration::ZERO);
            while !stop.load(Ordering::Relaxed) {
                count += 1;
                gateway.write_config(&gateway.config().replacen(
                    "version = 1\n",
                    &format!("version = {}\n", count + 1),
                    1,
                ));
                let began = Instant::now();
                let answer = gateway.admin_ask("POST", "/reload", "");
                assert_eq!(answer.status, 200, "{}", answer.text());
                longest = longest.max(began.elapsed());
                std::thread::sleep(Duration::from_millis(250));
            }
            println!("{count} reloads, the longest took {longest:?}");
            count
        });
        let measured = load(&gateway, rate, seconds);
        stop.store(true, Ordering::Relaxed);
        assert!(reloads.join().expect("every reload was taken") > 0);
        measured
    });
    let reloading = figures("reloading", &reloading);
    println!("p99.9 added by reloads: {:?}", reloading.saturating_sub(quiet));
    println!("resident memory {} KiB", gateway.resident_bytes() / 1024);
}

#[test]
fn one_key_among_many_is_revoked_at_once() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let gateway = gateway(&simulator, number("KEYS", 2_000), number("TENANTS", 300), 1);
    let made = gateway.admin_ask("POST", "/access-keys?tenant=t7", r#"{"name":"one"}"#).json();
    let (id, key) = (made["id"].as_str().expect("an id"), made["key"].as_str().expect("a text"));
    let status = || gateway.ask(&bare("GET", "/v1/models", &bearer(key))).status;
    wait_until(Duration::from_secs(1), "the new key works", || status() == 200);
    let gone = gateway.admin_ask("DELETE", &format!("/access-keys/{id}?tenant=t7"), "");
    assert_eq!(gone.status, 200, "{}", gone.text());
    let began = Instant::now();
    wait_until(Duration::from_secs(1), "the revoked key is refused", || status() == 401);
    println!("refused {:?} after the answer", began.elapsed());
}
