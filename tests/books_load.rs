//! Whoever looks at the books does not slow those who are served: pages of costs and usage over a large rollup, asked without a pause while
//! requests run.
//!
//! The usual run is small and asserts only that nothing fails. `cargo xtask bench books` runs it with a million rows and prints figures:
//! latency, and processor time of the cores that serve and of the control plane, without and with the pages.

mod support;

use igris::domain::clock::UnixMillis;
use igris::domain::id::{AccessKeyId, CredentialId, ProviderId, TenantId};
use igris::domain::money::Money;
use igris::store::{Store, UsageBatch, UsageRow};
use igris_load::Simulator;
use igris_load::engine::Stop;
use igris_load::measure::{self, Measured};
use igris_load::workload::{Arrivals, Endpoint, Plan, Secret, Share, Span, Tenant};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{ACCESS_KEY, Client, Gateway, bare, bearer};

/// Rows of one transaction.
const BATCH: usize = 10_000;
/// Lines of one hour: so many providers, models and access keys.
const LINES_AN_HOUR: u64 = 5 * 10 * 10;
/// What people and machines look at. A page that this gateway does not have is left out.
const PAGES: [&str; 6] = [
    "/v1/tenants/default/usage?period=month",
    "/v1/tenants/default/costs?period=month",
    "/v1/tenants/default/costs/forecast",
    "/v1/tenants/default/costs?period=month&group_by=model",
    "/v1/tenants/default/alerts",
    "/v1/providers",
];
/// The same on the admin socket, as the dashboard asks for them.
const ADMIN_PAGES: [&str; 5] = ["/costs", "/status", "/scores", "/metrics", "/ledger"];

fn number(name: &str, usual: u64) -> u64 {
    let name = format!("IGRIS_BOOKS_{name}");
    std::env::var(&name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Adds so many lines to the rollup, the newest of them of this hour.
fn fill(store: &Path, rows: u64) {
    let mut store = Store::open(store).expect("the gateway has let go of it");
    let now = UsageRow::hour_of(UnixMillis::now());
    let mut batch = Vec::with_capacity(BATCH);
    let mut sequence = 0;
    for number in 0..rows {
        batch.push(row(now.saturating_sub(number / LINES_AN_HOUR), number % LINES_AN_HOUR));
        if batch.len() == BATCH || number + 1 == rows {
            sequence += 1;
            let batch_of = UsageBatch { source: "generated", sequence, rows: &batch };
            store.admin().add_usage(&batch_of).expect("it is added");
            batch.clear();
        }
    }
}

fn row(hour: u64, line: u64) -> UsageRow {
    let (provider, model, key) = (line % 5, line / 5 % 10, line / 50);
    UsageRow {
        tenant: TenantId::new("default"),
        hour,
        provider: ProviderId::new(&format!("provider-{provider}")),
        model: format!("model-{provider}-{model}"),
        policy: "thompson".to_owned(),
        credential: CredentialId::from_bits(u128::from(provider) + 1),
        access_key: AccessKeyId::from_bits(u128::from(key) + 1),
        requests: 10,
        attempts: 11,
        failed: 1,
        estimated: 1,
        unpriced: 0,
        input_tokens: 12_000 + line,
        output_tokens: 3_000 + hour % 100,
        cached_tokens: 1_000,
        cost: Money::from_pico(1_234_567_890 * i128::from(line + 1)),
    }
}

fn load(gateway: &Gateway, rate: f64, duration: Duration) -> Measured {
    let plan = Plan {
        endpoints: vec![Endpoint { url: gateway.url(), ..Endpoint::default() }],
        tenants: vec![Tenant { key: Secret { text: ACCESS_KEY.to_owned(), ..Secret::default() }, ..Tenant::default() }],
        traffic: vec![Share { model: "any".to_owned(), prompt_bytes: 500, ..Share::default() }],
        arrivals: Arrivals::Constant { rate },
        duration: Some(Span(duration)),
        connections: 64,
        timeout: Span(Duration::from_secs(20)),
        ..Plan::default()
    };
    measure::run(&plan, &Stop::default(), |_| {}).expect("it runs")
}

/// Processor time of each kind of thread, clock ticks: names without their numbers (proc(5)).
fn ticks(pid: u32) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    for stat in threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok()) {
        let Some((before, rest)) = stat.rsplit_once(") ") else { continue };
        let name = before.split_once('(').map_or("", |(_, name)| name).trim_end_matches(|c: char| c.is_ascii_digit());
        let times: u64 = rest.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        *sums.entry(name.to_owned()).or_default() += times;
    }
    sums
}

/// Asks for all pages in turn until it is told to stop; answers how often each was had, and how long all of that took at most.
fn look(gateway: &Gateway, stop: &AtomicBool) -> BTreeMap<&'static str, (u64, Duration)> {
    let mut seen: BTreeMap<&'static str, (u64, Duration)> = BTreeMap::new();
    let mut client: Option<Client> = None;
    while !stop.load(Ordering::Relaxed) {
        for page in PAGES.into_iter().chain(ADMIN_PAGES) {
            let began = Instant::now();
            let answer = if PAGES.contains(&page) {
                let client = client.get_or_insert_with(|| gateway.client());
                client.ask(&bare("GET", page, &bearer(ACCESS_KEY)))
            } else {
                gateway.admin(page)
            };
            if answer.header("connection").is_some_and(|value| value == "close") || answer.status != 200 {
                client = None;
            }
            assert!(matches!(answer.status, 200 | 404 | 429), "{page}: {} {}", answer.status, answer.text());
            if answer.status == 200 {
                let (count, longest) = seen.entry(page).or_default();
                (*count, *longest) = (*count + 1, (*longest).max(began.elapsed()));
            }
        }
    }
    seen
}

fn report(name: &str, gateway: &Gateway, rate: f64, duration: Duration) {
    let before = ticks(gateway.pid());
    let measured = load(gateway, rate, duration);
    let after = ticks(gateway.pid());
    assert!(measured.is_success(), "{:?} {:?}", measured.sums.outcomes, measured.failures);
    let at = |quantile: f64| measured.timings.e2e.value_at_quantile(quantile) as f64 / 1e6;
    let requests = measured.sums.total();
    println!("{name}: {requests} requests; ms p50 {:.2}, p99 {:.2}, p99.9 {:.2}", at(0.5), at(0.99), at(0.999));
    for (thread, ticks) in after {
        let used = ticks.saturating_sub(before.get(&thread).copied().unwrap_or(0));
        println!("    {thread:<16} {used:>6} ticks, {:.1} us a request", used as f64 * 1e4 / requests as f64);
    }
}

#[test]
fn whoever_looks_at_the_books_fails_no_request() {
    let (rows, rate) = (number("ROWS", 3_000), number("RATE", 50));
    let duration = Duration::from_secs(number("SECONDS", 2));
    let simulator = Simulator::builder().threads(1).counters_only().latency(Duration::from_millis(5)).start();
    let simulator = simulator.expect("a loopback port");
    let mut gateway = Gateway::builder().own_provider("p1", &simulator.base_url(), "").ordered(&["p1"]).start();
    gateway.kill();
    let began = Instant::now();
    fill(&gateway.home().join("data/igris.db"), rows);
    println!("{rows} rows in {:.1} s; {rate} requests a second for {duration:?}", began.elapsed().as_secs_f64());
    gateway.restart();
    let rate = rate as f64;
    load(&gateway, rate, duration / 2);
    for round in 1..=number("ROUNDS", 1) {
        report(&format!("{round}: nobody looks"), &gateway, rate, duration);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| look(&gateway, &stop));
            report(&format!("{round}: all pages in turn"), &gateway, rate, duration);
            stop.store(true, Ordering::Relaxed);
            for (page, (count, longest)) in looking.join().expect("no page failed") {
                println!("    {page:<50} {count:>6} times, at most {longest:?}");
            }
        });
    }
    assert_eq!(simulator.truth().counts().violations, 0);
}
