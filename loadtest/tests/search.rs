#![cfg(feature = "load")]
//! `igris-load search` against targets whose capacity is known: a bucket that refills at a known rate, and a server that serves one
//! request after the other.

use igris_load::Simulator;
use igris_load::engine::Stop;
use igris_load::search::{Bounds, Ending, Found, Quest, Slo, Verdict, find};
use igris_load::workload::{Endpoint, Plan, Secret, Span, Tenant};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_igris-load");

fn quest(url: &str, slo: &str, min: f64, max: f64) -> Quest {
    let key = Secret { text: "sk-search-00000000".into(), ..Secret::default() };
    Quest {
        plan: Plan {
            endpoints: vec![Endpoint { url: url.into(), ..Endpoint::default() }],
            tenants: vec![Tenant { key, ..Tenant::default() }],
            connections: 200,
            timeout: Span(Duration::from_secs(2)),
            ..Plan::default()
        },
        slos: vec![slo.parse::<Slo>().expect(slo)],
        bounds: Bounds { min, max, resolution: 0.2, steps: 20 },
        step: Duration::from_millis(800),
        warm_up: Duration::from_millis(300),
        cool_down: Duration::from_millis(50),
        rest: Duration::from_millis(50),
        repeats: 2,
        confidence: 0.95,
    }
}

fn seen(quest: &Quest) -> Found {
    let mut text = String::new();
    let found = find(quest, &Stop::default(), |step| text.push_str(&format!("{step}\n"))).expect("a search");
    println!("{text}{found}");
    found
}

/// A server with one hand: each request takes it for so long.
fn one_hand(takes: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("its address");
    let hand = Arc::new(Mutex::new(()));
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let (mut socket, hand) = (socket, Arc::clone(&hand));
            std::thread::spawn(move || {
                let mut bytes = [0; 16 * 1024];
                // The tester's requests are small and come whole.
                while socket.read(&mut bytes).is_ok_and(|count| count > 0) {
                    let held = hand.lock().expect("nobody panics with it");
                    std::thread::sleep(takes);
                    drop(held);
                    let body = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Yes."},"finish_reason":"stop"}]}"#;
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    if socket.write_all((head + body).as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn a_refilling_bucket_is_measured_by_its_refusals() {
    // A hundred a second: at 125/s a fifth is refused. Time alone decides, however busy this machine is.
    let simulator =
        Simulator::builder().quota(5, Duration::from_millis(50)).counters_only().start().expect("a loopback port");
    let found = seen(&quest(&simulator.base_url(), "error_rate<20%", 40.0, 640.0));
    let (low, high) = (found.confirmed.expect("a rate below"), found.refuted.expect("a rate above"));
    assert!(low < high && (60.0..=140.0).contains(&low), "{low}..{high} around 125");
    assert!((110.0..=400.0).contains(&high), "{low}..{high} around 125");
    assert_eq!((found.verdict(), found.ending), (Verdict::Confirmed, Ending::Found));
}

#[test]
fn a_server_with_one_hand_is_measured_by_its_queue() {
    // Ten milliseconds a request: beyond 100/s the queue grows without end.
    let url = format!("http://{}", one_hand(Duration::from_millis(10)));
    let found = seen(&quest(&url, "p90(e2e)<150ms", 20.0, 640.0));
    let high = found.refuted.expect("a rate above what one hand can do");
    let low = found.confirmed.expect("a rate below");
    assert!(low < high && low <= 105.0 && (40.0..=320.0).contains(&high), "{low}..{high} around 100");
    let json = found.to_json();
    let steps = json["steps"].as_array().expect("steps");
    assert!(steps.len() >= 4, "{json:#}");
    for step in steps {
        let finding = &step["findings"][0];
        assert_eq!(finding["verdict"], step["verdict"]);
        let (missed, allowed) = (&finding["missed"], finding["allowed"].as_f64().expect("a share"));
        match step["verdict"].as_str().expect("a word") {
            "confirmed" => assert!(missed["high"].as_f64().expect("a share") <= allowed, "{step:#}"),
            "refuted" => assert!(missed["low"].as_f64().expect("a share") > allowed, "{step:#}"),
            other => assert_eq!(other, "unclear"),
        }
    }
}

fn search(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).arg("search").args(arguments).env_remove("IGRIS_LOAD_KEY").output().expect("the program")
}

#[test]
fn a_target_that_never_meets_it_is_missed_and_one_that_is_away_too() {
    let simulator = Simulator::builder().latency(Duration::from_millis(80)).start().expect("a loopback port");
    let short =
        ["--min", "100", "--max", "400", "--step-duration", "500ms", "--warm-up", "100ms", "--cool-down", "0ms"];
    let url = simulator.base_url();
    let found =
        search(&[&["--url", &url, "--slo", "p90(ttft)<20ms", "--rest", "0ms", "--json", "-"], &short[..]].concat());
    let json: Value = serde_json::from_slice(&found.stdout).expect("JSON alone");
    // A starved tester may be the limit here too, and must then say so.
    let missed = (json["refuted"].as_f64(), found.status.code()) == (Some(100.0), Some(3));
    let unfit = json["ending"] == "tester_is_the_limit" && found.status.code() == Some(4);
    assert!(missed || unfit, "{json:#}");
    assert_eq!(json["confirmed"], Value::Null);
    assert!(!String::from_utf8_lossy(&found.stdout).contains("sk-"), "no key is written down");
}

#[test]
fn wrong_use_says_what_to_type() {
    let base = ["--url", "http://127.0.0.1:9", "--min", "10", "--max", "100"];
    for (more, hint) in [
        (vec!["--slo", "ttft<500ms"], "p99(ttft)<500ms"),
        (vec!["--slo", "p99.99(ttft)<500ms"], "--step-duration"),
        (vec!["--slo", "p99(ttft)<500ms", "--resolution", "x%"], "5%"),
        (vec![], "--slo"),
    ] {
        let output = search(&[&base[..], &more[..]].concat());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(hint), "{text}");
    }
    let turned = search(&["--url", "http://127.0.0.1:9", "--slo", "p99(ttft)<1s", "--min", "100", "--max", "10"]);
    assert!(String::from_utf8_lossy(&turned.stderr).contains("--max"));
}
