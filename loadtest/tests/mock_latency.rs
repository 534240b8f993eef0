//! Waits on the wire follow their distributions: first bytes, gaps between events, and the reading of long prompts.

mod wire;

use igris_load::Simulator;
use igris_load::simulator::{Builder, Latency};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use wire::Request;

const KEY: &str = "sk-sim-0123456789abcdef";

fn latency(text: &str) -> Latency {
    text.parse().unwrap_or_else(|reason| panic!("{text}: {reason}"))
}

fn start(builder: Builder) -> Simulator {
    builder.seed(7).start().expect("a loopback port")
}

fn request(content: &str, extra: &str, stream: bool) -> Request {
    let body = json!({ "model": "gpt-4o", "user": extra, "stream": stream,
        "messages": [{ "role": "user", "content": content }] });
    Request::post("/v1/chat/completions", &body).field("authorization", &format!("Bearer {KEY}"))
}

fn took(simulator: &Simulator, request: &Request) -> Duration {
    let started = Instant::now();
    assert_eq!(request.send(simulator).status, 200);
    started.elapsed()
}

#[test]
fn first_bytes_wait_for_the_mode_that_was_drawn() {
    let simulator = start(Simulator::builder().latency(latency("bimodal:1ms,150ms,0.3")));
    let slow = |simulator: &Simulator| {
        let waits = (0..30).map(|_| took(simulator, &request("hello", "x", false)));
        waits.map(|wait| wait >= Duration::from_millis(150)).collect::<Vec<_>>()
    };
    let first = slow(&simulator);
    let count = first.iter().filter(|slow| **slow).count();
    assert!((3..=18).contains(&count), "{count} of 30 are slow");
    // The machine may make a fast one slow, but no slow one fast.
    let again = slow(&start(Simulator::builder().latency(latency("bimodal:1ms,150ms,0.3"))));
    let differ = first.iter().zip(&again).filter(|(first, again)| first != again).count();
    assert!(differ <= 5, "the same seed draws the same waits: {first:?} {again:?}");
}

#[test]
fn gaps_are_drawn_for_every_event() {
    let simulator = start(Simulator::builder().gap(latency("uniform:4ms,8ms")).tokens(20));
    // A role, twenty words, an end and [DONE] have 22 gaps between them.
    let wait = took(&simulator, &request("hello", "x", true));
    assert!(wait >= Duration::from_millis(22 * 4), "{wait:?}");
    let wished = took(&simulator, &request("hello", "sim:gap=0ms", true));
    assert!(wished < wait, "the request's own wish wins: {wished:?} against {wait:?}");
}

#[test]
fn a_stream_with_gaps_is_the_stream_without_them() {
    let plain = start(Simulator::builder());
    let paced =
        start(Simulator::builder().gap(latency("lognormal:1ms,0.5")).prefill_per_token(Duration::from_micros(10)));
    let hello = request("hello", "x", true);
    assert_eq!(hello.send(&plain).body, hello.send(&paced).body);
}

#[test]
fn long_prompts_take_longer_unless_the_cache_knows_them() {
    let simulator = start(Simulator::builder().prefill_per_token(Duration::from_millis(1)));
    let long = "word ".repeat(80);
    let wait = took(&simulator, &request(&long, "x", false));
    assert!(wait >= Duration::from_millis(100), "a hundred tokens: {wait:?}");
    let cached = took(&simulator, &request(&long, "sim:cached=95", false));
    assert!(cached >= Duration::from_millis(5) && cached < wait, "{cached:?} against {wait:?}");
}

#[test]
fn a_file_says_how_long_it_took() {
    let folder = std::env::temp_dir();
    let name = |end: &str| folder.join(format!("igris-load-recorded-{}.{end}", std::process::id()));
    let report: Value = json!({ "tool": "igris-load", "ttft": { "min": 60e3, "p50": 60e3, "p99": 61e3, "max": 62e3 } });
    let table = [
        ("csv", "wait_ms\n60\n61\n62\n".to_owned(), ""),
        ("samples.json", r#"{"unit":"s","samples":[0.06,0.061]}"#.to_owned(), ""),
        ("report.json", report.to_string(), "#ttft"),
    ];
    for (end, text, member) in table {
        let path = name(end);
        std::fs::write(&path, text).expect("a file");
        let simulator = start(Simulator::builder().latency(latency(&format!("recorded:{}{member}", path.display()))));
        std::fs::remove_file(&path).expect("the file was read already");
        let wait = took(&simulator, &request("hello", "x", false));
        assert!(wait >= Duration::from_millis(60), "{end}: {wait:?}");
    }
}
