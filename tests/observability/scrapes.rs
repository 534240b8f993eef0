//! `GET /metrics`: the values are the traffic, in every format, and no client can make a series.

use crate::lint::Page;
use crate::support::{
    Builder, Client, Gateway, SOON, bare, bearer, chat, chat_of, closed_address, post_with, stream_of, wait_until,
};
use crate::wire::{Message, unzigzag};
use igris_load::Simulator;
use igris_load::simulator::{Fault, When};
use std::net::SocketAddr;

const PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0";

fn builder(simulator: &Simulator) -> (Builder, SocketAddr) {
    let address = closed_address();
    (
        Gateway::builder().own_provider("p1", &simulator.base_url(), "").admin(&format!("metrics = \"{address}\"")),
        address,
    )
}

fn scrape(address: SocketAddr, accept: &str) -> (String, Vec<u8>) {
    let mut client = Client::connect(address);
    let answer = client.ask(&bare("GET", "/metrics", &format!("Accept: {accept}\r\nConnection: close\r\n")));
    assert_eq!(answer.status, 200);
    (answer.header("content-type").expect("a type").to_owned(), answer.body)
}

fn page(address: SocketAddr) -> Page {
    Page::read(&String::from_utf8(scrape(address, "text/plain").1).expect("text"))
}

/// The page once so many attempts are on it.
fn page_with(address: SocketAddr, attempts: f64) -> Page {
    let all = |page: &Page| {
        page.sum("igris_attempts_total") == attempts && page.sum("igris_attempt_duration_seconds_count") <= attempts
    };
    wait_until(SOON, "the attempts are on the page", || all(&page(address)));
    // Durations come with the next hand-over of the cores.
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    page(address)
}

#[test]
fn the_page_is_the_traffic() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let (builder, address) = builder(&simulator);
    let gateway = builder.start();
    for _ in 0..5 {
        assert_eq!(gateway.chat(&chat("hello")).status, 200);
    }
    for _ in 0..3 {
        assert!(gateway.stream(&stream_of("hello", "")).answer.whole);
    }
    assert_eq!(gateway.chat(&chat_of("no-such-model", "hello", "")).status, 404);
    assert_eq!(gateway.ask(&bare("GET", "/nowhere", "")).status, 404);
    assert_eq!(gateway.ask(&post_with("/v1/chat/completions", &bearer("sk-wrong"), b"{}")).status, 401);
    let page = page_with(address, 8.0);
    for (series, value) in [
        ("igris_requests_total{surface=\"chat\",status=\"2xx\"}", 8.0),
        ("igris_requests_total{surface=\"chat\",status=\"4xx\"}", 2.0),
        ("igris_requests_total{surface=\"unknown\",status=\"4xx\"}", 1.0),
        ("igris_attempts_total{provider=\"p1\",model=\"gpt-4o\",outcome=\"completed\"}", 8.0),
        ("igris_overhead_seconds_count", 8.0),
        ("igris_request_first_byte_seconds_count", 8.0),
        ("igris_attempt_duration_seconds_count{provider=\"p1\",model=\"gpt-4o\"}", 8.0),
        ("igris_first_token_seconds_count{provider=\"p1\",model=\"gpt-4o\"}", 3.0),
        ("igris_circuit_breaker_state{provider=\"p1\"}", 0.0),
    ] {
        assert_eq!(page.value(series), value, "{series}");
    }
    // Beside these there are only the stand's own looks at whether it is ready.
    assert!(page.value("igris_requests_finished_total{finish=\"completed\"}") >= 8.0);
    assert_eq!(page.sum("igris_requests_finished_total"), page.sum("igris_requests_total"));
    assert!(page.value("igris_overhead_seconds_sum") < page.value("igris_request_duration_seconds_sum"));
    assert!(page.value("process_resident_memory_bytes") > 1e6 && page.value("process_cpu_seconds_total") > 0.0);
    assert_eq!(page.lint(), Vec::<String>::new());
    // For promtool, where there is one (xtask/src/promtool.rs).
    let scraped = scrape(address, "text/plain").1;
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/metrics.prom"), scraped).expect("a folder for tests");
    assert_eq!(gateway.chat(&chat("hello")).status, 200);
    assert_eq!(page.shrunk(&page_with(address, 9.0)), Vec::<String>::new());
}

#[test]
fn a_failover_and_a_tenant_are_counted_where_they_belong() {
    let (first, second) = (
        Simulator::builder().fault(Fault::status(503), When::Always).start().expect("a loopback port"),
        Simulator::builder().start().expect("a loopback port"),
    );
    let (builder, address) = builder(&first);
    let builder = builder.own_provider("p2", &second.base_url(), "").ordered(&["p1", "p2"]);
    let gateway = builder.config_toml("[telemetry]\nmetrics_tenant_label = true").start();
    assert_eq!(gateway.chat(&chat_of("any", "hello", "")).status, 200);
    let page = page_with(address, 2.0);
    assert_eq!(page.value("igris_attempt_failovers_total{provider=\"p1\",model=\"gpt-4o\"}"), 1.0);
    assert_eq!(page.value("igris_attempt_failovers_total{provider=\"p2\",model=\"gpt-4o\"}"), 0.0);
    assert_eq!(page.value("igris_tenant_attempts_total{tenant=\"default\"}"), 2.0);
    assert_eq!(page.lint(), Vec::<String>::new());
}

#[test]
fn every_format_says_the_same() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let (builder, address) = builder(&simulator);
    let gateway = builder.start();
    for _ in 0..4 {
        assert_eq!(gateway.chat(&chat("hello")).status, 200);
    }
    let text = page_with(address, 4.0);
    let (kind, open) = scrape(address, OPEN_METRICS);
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let open = String::from_utf8(open).expect("text");
    assert!(open.ends_with("# EOF\n") && open.contains("# TYPE igris_attempts counter\n"), "{open}");
    let steady = ["igris_attempts_total", "igris_tokens_total", "igris_overhead_seconds_count", "igris_cost_usd_total"];
    let open = Page::read(&open);
    for name in steady {
        assert_eq!(open.sum(name), text.sum(name), "{name}");
    }
    let (kind, bytes) = scrape(address, &format!("{PROTOBUF};q=0.6,{OPEN_METRICS};q=0.5,text/plain;q=0.3"));
    assert_eq!(kind, PROTOBUF.replace(';', "; "));
    let families = Message::read_delimited(&bytes);
    let named = |name: &str| families.iter().find(|family| family.text(1) == name).unwrap_or_else(|| panic!("{name}"));
    let attempts: f64 =
        named("igris_attempts_total").messages(4).iter().filter_map(|one| one.message(3).double(1)).sum();
    assert_eq!(attempts, 4.0);
    let histogram = named("igris_overhead_seconds").message(4).message(7);
    assert_eq!((histogram.whole(1), histogram.signed(5)), (4, 3), "count, schema");
    // Deltas in buckets, plus what is nothing, are all there is.
    let (mut count, mut sum) = (0, 0);
    let deltas = histogram.all(13).map(|field| match field {
        crate::wire::Field::Varint(number) => unzigzag(*number),
        other => panic!("{other:?}"),
    });
    for delta in deltas {
        count += delta;
        sum += count;
    }
    assert_eq!(sum as u64 + histogram.whole(7), 4, "every value is in one native bucket");
    let lengths: u64 = histogram.messages(12).iter().map(|span| span.whole(2)).sum();
    assert_eq!(lengths, histogram.all(13).count() as u64);
    assert!(histogram.double(2).is_some_and(|sum| sum > 0.0));
    assert!(families.len() >= text.kinds.len() - 1, "{} of {}", families.len(), text.kinds.len());
}

#[test]
fn rule_r5_no_client_makes_a_series() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let simulator = Simulator::builder().start().expect("a loopback port");
    let address = closed_address();
    // A provider without a list of models passes any name on.
    let members = "dialect = \"openai\"\n";
    let gateway = Gateway::builder()
        .provider_at("p1", &simulator.base_url(), members)
        .admin(&format!("metrics = \"{address}\""))
        .start();
    let word = |dice: &mut fastrand::Rng| (0..12).map(|_| dice.lowercase()).collect::<String>();
    let attack = |dice: &mut fastrand::Rng| {
        for _ in 0..60 {
            let (model, key) = (word(dice), word(dice));
            gateway.chat(&chat_of(&model, "hello", ",\"provider\":\"p1\""));
            gateway.chat(&chat_of(&model, "hello", ""));
            gateway.ask(&post_with(&format!("/v1/{key}"), &bearer(&key), b"{}"));
            gateway.ask(&post_with("/v1/chat/completions", &bearer(&key), b"{}"));
            gateway.ask(&bare("GET", &format!("/v1/passthrough/p1/{model}"), &bearer(&key)));
        }
        std::thread::sleep(std::time::Duration::from_millis(1_500));
    };
    attack(&mut dice);
    let before = page(address);
    attack(&mut dice);
    let after = page(address);
    let fresh: Vec<&String> = after.series.keys().filter(|series| !before.series.contains_key(*series)).collect();
    assert!(fresh.is_empty(), "seed {seed}: {fresh:?}");
    assert!(after.sum("igris_requests_total") >= before.sum("igris_requests_total") + 300.0, "they were counted");
}
