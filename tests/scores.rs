//! What the gateway knows of its providers: within about a second of the traffic, in figures that add up and histograms that decode.

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use igris_load::Simulator;
use igris_load::simulator::{Fault, When};
use serde_json::Value;
use std::time::Duration;
use support::{Gateway, SOON, chat_of, closed_address, stream_of, wait_until};

const ASKED: u64 = 12;

fn after(latency: Duration) -> Simulator {
    Simulator::builder().latency(latency).start().expect("a loopback port")
}

/// The row of a provider's one lane, once so many attempts are behind it.
#[track_caller]
fn row_of(gateway: &Gateway, provider: &str, samples: f64) -> Value {
    let mut found = Value::Null;
    wait_until(SOON, &format!("{samples} attempts of {provider} in /scores"), || {
        let page = gateway.admin("/scores").json();
        let rows = page["data"].as_array().expect("a list");
        found = rows.iter().find(|row| row["provider"] == provider).cloned().unwrap_or_default();
        // Counts fade by some percent a second.
        found["samples"].as_f64().is_some_and(|known| known > samples * 0.7)
    });
    found
}

fn generation(gateway: &Gateway) -> u64 {
    gateway.admin("/status").json()["snapshot"]["generation"].as_u64().expect("a number")
}

#[test]
fn a_fast_and_a_slow_provider_are_told_apart() {
    let (fast, slow) = (after(Duration::from_millis(1)), after(Duration::from_millis(300)));
    let gateway = Gateway::builder()
        .own_provider("fast", &fast.base_url(), "")
        .own_provider("slow", &slow.base_url(), "")
        .start();
    let before = generation(&gateway);
    for provider in ["fast", "slow"] {
        for _ in 0..ASKED {
            let answer = gateway.chat(&chat_of(&format!("{provider}/gpt-4o"), "hello", ""));
            assert_eq!((answer.status, answer.header("x-igris-provider")), (200, Some(provider)), "{}", answer.text());
        }
    }
    let rows = ["fast", "slow"].map(|provider| row_of(&gateway, provider, ASKED as f64));
    for row in &rows {
        assert_eq!((&row["model"], &row["error_rate"]), (&"gpt-4o".into(), &0.0.into()), "{row}");
        assert!(row["credential"].as_str().is_some_and(|id| id.starts_with("key_")), "{row}");
        assert!(row["halted"].is_null() && row["output_tokens"].as_f64().is_some_and(|tokens| tokens > 0.0), "{row}");
        for lap in ["first_byte_ms", "total_ms"] {
            let points = row[lap].as_object().expect("percentiles").values();
            let points: Vec<f64> = points.map(|point| point.as_f64().expect("a number")).collect();
            assert!(points.len() == 7 && points.is_sorted(), "{lap} of {row}");
        }
    }
    let p50 = |row: &Value| row["first_byte_ms"]["p50"].as_f64().expect("a number");
    assert!(p50(&rows[1]) >= 294.0 && p50(&rows[0]) < p50(&rows[1]), "{rows:?}");
    let score = |row: &Value| row["score"].as_f64().expect("a number");
    assert!(score(&rows[0]) > score(&rows[1]), "of two of one name the faster earns more: {rows:?}");
    assert_eq!(generation(&gateway), before, "scores alone are no new generation");

    for (provider, least) in [("fast", 0), ("slow", 298_000)] {
        let mut total = Value::Null;
        wait_until(SOON, &format!("all answers of {provider} in its histogram"), || {
            let page = gateway.admin(&format!("/histograms/{provider}/gpt-4o"));
            assert_eq!(page.status, 200, "{}", page.text());
            total = page.json()["phases"]["total"].clone();
            total["count"] == ASKED
        });
        let bytes = STANDARD.decode(total["hdr"].as_str().expect("text")).expect("base64");
        let decoded: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).expect("a histogram");
        assert_eq!(decoded.len(), ASKED, "{provider}");
        assert!(decoded.min() >= least && decoded.max() < 60_000_000, "{provider}: {}", decoded.min());
    }
    let unheard = gateway.admin("/histograms/fast/unheard-of");
    assert_eq!((unheard.status, &unheard.json()["error"]["code"]), (404, &"not_found".into()), "{}", unheard.text());

    let stats = gateway.page("/v1/providers/slow/stats").json();
    assert_eq!(stats["circuit_breaker_state"], "closed");
    assert!(stats["alpha"].as_f64().is_some_and(|alpha| alpha > 3.0), "{stats}");
    let metrics = gateway.admin("/metrics").text();
    for line in [
        "igris_thompson_sampling_score{provider=\"fast\",model=\"gpt-4o\"} 0.",
        "igris_circuit_breaker_state{provider=\"fast\"} 0",
        "igris_first_byte_seconds_count{provider=\"fast\",model=\"gpt-4o\"} 12",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[test]
fn streams_are_measured_by_their_first_words() {
    let provider = after(Duration::from_millis(20));
    let gateway = Gateway::before(&provider);
    for _ in 0..ASKED {
        assert!(gateway.stream(&stream_of("hello", "")).answer.whole);
    }
    let row = row_of(&gateway, "openai", ASKED as f64);
    let p50 = |lap: &str| row[lap]["p50"].as_f64().expect("a number");
    assert!(p50("first_token_ms") >= 19.0 && p50("total_ms") >= p50("first_token_ms") * 0.98, "{row}");
    assert!(row["inter_token_ms"].is_object(), "{row}");
}

#[test]
fn failures_count_where_they_happened_and_the_clients_own_nowhere() {
    let refusing =
        |code| Simulator::builder().fault(Fault::status(code), When::Always).start().expect("a loopback port");
    let (limited, picky) = (refusing(429), refusing(400));
    let gateway = Gateway::builder()
        .own_provider("gone", &format!("http://{}/v1", closed_address()), "")
        .own_provider("limited", &limited.base_url(), "")
        .own_provider("picky", &picky.base_url(), "")
        .start();
    for provider in ["gone", "limited"] {
        assert!(gateway.chat(&chat_of(&format!("{provider}/gpt-4o"), "hello", "")).status >= 429, "{provider}");
    }
    // The request's own fault says nothing of a provider.
    assert_eq!(gateway.chat(&chat_of("picky/gpt-4o", "hello", "")).status, 400);
    let gone = row_of(&gateway, "gone", 1.0);
    assert_eq!((&gone["error_rate"], &gone["limited_rate"]), (&1.0.into(), &0.0.into()), "{gone}");
    let sent_away = row_of(&gateway, "limited", 1.0);
    assert_eq!((&sent_away["error_rate"], &sent_away["limited_rate"]), (&0.0.into(), &1.0.into()), "{sent_away}");
    let rows = gateway.admin("/scores").json();
    assert!(rows["data"].as_array().expect("a list").iter().all(|row| row["provider"] != "picky"), "{rows}");
}
