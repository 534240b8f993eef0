//! When a provider fails, the next one answers; when none can, the client hears why, once, and whether waiting helps.

mod support;

use igris_load::Simulator;
use igris_load::simulator::{Behaviour, Fault, FaultRule, When};
use serde_json::json;
use std::time::{Duration, Instant};
use support::{Answer, Builder, Gateway, SOON, Scripted, chat_of, closed_address, post, provider_key, stream_of};

fn healthy() -> Simulator {
    Simulator::builder().start().expect("a loopback port")
}

fn failing(fault: Fault) -> Simulator {
    Simulator::builder().fault(fault, When::Always).start().expect("a loopback port")
}

fn any(members: &str) -> String {
    chat_of("any", "hello", members)
}

/// The model `any` asks these simulators in order; they are called p1, p2 ….
fn chain(simulators: &[&Simulator]) -> Builder {
    let names: Vec<String> = (1..=simulators.len()).map(|number| format!("p{number}")).collect();
    let mut builder = Gateway::builder();
    for (name, simulator) in names.iter().zip(simulators) {
        builder = builder.own_provider(name, &simulator.base_url(), "");
    }
    builder.ordered(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

#[track_caller]
fn must_be_served_by(answer: &Answer, provider: &str, attempts: &str) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-igris-provider"), Some(provider), "{:?}", answer.headers);
    assert_eq!(answer.header("x-igris-attempts"), Some(attempts), "{:?}", answer.headers);
}

#[test]
fn a_provider_that_is_down_is_passed_over() {
    let second = healthy();
    let gateway = Gateway::builder()
        .own_provider("p1", &format!("http://{}/v1", closed_address()), "")
        .own_provider("p2", &second.base_url(), "")
        .ordered(&["p1", "p2"])
        .start();
    for _ in 0..3 {
        let answer = gateway.chat(&any(""));
        assert_eq!((answer.status, answer.header("x-igris-provider")), (200, Some("p2")), "{}", answer.text());
        assert_eq!(answer.json()["metadata"]["provider"], "p2");
    }
    let stream = gateway.stream(&any(r#","stream":true"#));
    assert!(stream.answer.whole && stream.answer.text().ends_with("data: [DONE]\n\n"), "{}", stream.answer.text());
}

#[test]
fn a_refusal_that_another_may_not_share_goes_to_the_next() {
    let faults = [
        Fault::status(503),
        Fault::status(429),
        Fault::Status { code: 429, retry_after: Some(Duration::from_secs(30)), body: None },
        Fault::insufficient_quota(),
        Fault::status(401),
        Fault::status(403),
        Fault::status(404),
    ];
    for fault in faults {
        let name = fault.name();
        let (first, second) = (failing(fault), healthy());
        let gateway = chain(&[&first, &second]).start();
        let answer = gateway.chat(&any(""));
        must_be_served_by(&answer, "p2", "2");
        assert_eq!(answer.json()["metadata"]["attempts"], 2, "{name}");
        assert_eq!((first.truth().counts().requests, second.truth().counts().requests), (1, 1), "{name}");
    }
}

#[test]
fn a_stream_that_fails_before_its_first_word_goes_to_the_next() {
    for fault in [Fault::ErrorInStream { after_events: 0 }, Fault::status(503)] {
        let (first, second) = (failing(fault.clone()), healthy());
        let gateway = chain(&[&first, &second]).start();
        let stream = gateway.stream(&any(r#","stream":true"#));
        must_be_served_by(&stream.answer, "p2", "2");
        assert!(stream.answer.whole, "{}", fault.name());
        assert_eq!(stream.answer.text().matches("[DONE]").count(), 1, "{}", fault.name());
        assert!(!stream.answer.text().contains("\"error\""), "{}", stream.answer.text());
    }
}

#[test]
fn after_the_first_word_nothing_is_repeated() {
    let (first, second) = (failing(Fault::CutMidEvent { after_events: 3 }), healthy());
    let gateway = chain(&[&first, &second]).start();
    let stream = gateway.stream(&any(r#","stream":true"#));
    assert!(!stream.answer.whole);
    assert_eq!(second.truth().counts().requests, 0, "an answer begun is not begun again elsewhere");
}

#[test]
fn a_provider_that_breaks_before_its_first_byte_is_answered_for_by_the_next() {
    // Decision 005: a dead process, not work under way.
    for fault in [Fault::CloseBeforeResponse, Fault::GarbageHead, Fault::Reset { after_bytes: 0 }] {
        let (first, second) = (failing(fault.clone()), healthy());
        let gateway = chain(&[&first, &second]).start();
        must_be_served_by(&gateway.chat(&any("")), "p2", "2");
        assert_eq!(first.truth().counts().requests, 1, "{}", fault.name());
    }
}

#[test]
fn a_lone_provider_that_breaks_is_a_bad_gateway() {
    for fault in [Fault::CloseBeforeResponse, Fault::GarbageHead, Fault::Reset { after_bytes: 0 }] {
        let only = failing(fault.clone());
        let gateway = chain(&[&only]).start();
        let answer = gateway.chat(&any(""));
        answer.must_be_fault(502, "upstream_broken");
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        assert_eq!(only.truth().counts().requests, 2, "once more after a moment: {}", fault.name());
    }
}

#[test]
fn all_keys_refused_is_a_bad_gateway_and_not_the_clients_fault() {
    let (first, second) =
        (failing(Fault::status(401)), Simulator::builder().keys(["sk-another"]).start().expect("a port"));
    let gateway = chain(&[&first, &second]).start();
    let answer = gateway.chat(&any(""));
    answer.must_be_fault(502, "provider_authentication_failed");
    assert!(answer.message().starts_with("Provider authentication failed"), "{}", answer.text());
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert_eq!(answer.header("x-igris-attempts"), Some("2"));
}

#[test]
fn a_key_that_a_provider_quotes_never_reaches_the_client() {
    for name in ["plain", "json"] {
        let secret = provider_key("p1");
        let message = format!("Incorrect API key provided: {secret} (Authorization: Bearer {secret})");
        let body = match name {
            "plain" => message.clone(),
            _ => {
                json!({ "error": { "message": message, "type": "invalid_request_error", "code": secret } }).to_string()
            }
        };
        for code in [400, 401, 403, 404, 429, 500] {
            let simulator = failing(Fault::Status { code, retry_after: None, body: Some(body.clone()) });
            let gateway = chain(&[&simulator]).start();
            let mut client = gateway.client();
            let answer = client.ask(&post(&any("")));
            assert!(answer.status >= 400, "{code}");
            let received = String::from_utf8_lossy(&client.received).into_owned();
            assert!(
                !received.contains("sk-canary") && !received.contains("0123456789abcdef"),
                "{name} {code}: {received}"
            );
        }
    }
}

#[test]
fn everybody_asks_to_wait_and_so_do_we() {
    let wait = |seconds| Fault::Status { code: 429, retry_after: Some(Duration::from_secs(seconds)), body: None };
    let (first, second) = (failing(wait(9)), failing(wait(4)));
    let gateway = chain(&[&first, &second]).start();
    let answer = gateway.chat(&any(""));
    answer.must_be_fault(429, "rate_limit_exceeded");
    assert!(answer.message().starts_with("Rate limit exceeded"), "{}", answer.text());
    assert_eq!(answer.header("retry-after"), Some("4"), "the sooner of the two");
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert_eq!((first.truth().counts().requests, second.truth().counts().requests), (1, 1));
}

#[test]
fn a_provider_that_asked_to_wait_is_left_alone_for_so_long() {
    let rule = FaultRule::new(
        Fault::Status { code: 429, retry_after: Some(Duration::from_secs(30)), body: None },
        When::First(1),
    );
    let first = Simulator::builder().behaviour(Behaviour { faults: vec![rule], ..Behaviour::default() });
    let (first, second) = (first.start().expect("a loopback port"), healthy());
    let gateway = chain(&[&first, &second]).start();
    must_be_served_by(&gateway.chat(&any("")), "p2", "2");
    for _ in 0..3 {
        must_be_served_by(&gateway.chat(&any("")), "p2", "1");
    }
    assert_eq!(first.truth().counts().requests, 1);
}

#[test]
fn all_down_is_told_with_who_was_tried() {
    let dead = format!("http://{}/v1", closed_address());
    let busy = failing(Fault::status(503));
    let gateway = Gateway::builder()
        .own_provider("p1", &dead, "")
        .own_provider("p2", &busy.base_url(), "")
        .ordered(&["p1", "p2"])
        .start();
    let answer = gateway.chat(&any(""));
    answer.must_be_fault(503, "all_providers_unavailable");
    assert!(answer.message().starts_with("All providers unavailable"), "{}", answer.text());
    assert!(answer.message().contains("p1") && answer.message().contains("p2"), "{}", answer.text());
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert!(answer.header("retry-after").is_some_and(|wait| wait.parse::<u32>().is_ok_and(|wait| wait <= 120)));
    let stream = gateway.chat(&any(r#","stream":true"#));
    stream.must_be_fault(503, "all_providers_unavailable");
}

#[test]
fn no_answer_in_time_is_a_timeout_and_is_not_repeated() {
    let (slow, second) = (healthy(), healthy());
    let gateway = Gateway::builder()
        .own_provider("p1", &slow.base_url(), "timeout = \"400ms\"")
        .own_provider("p2", &second.base_url(), "")
        .ordered(&["p1", "p2"])
        .start();
    for members in [r#","user":"sim:latency=8s""#, r#","stream":true,"user":"sim:latency=8s""#] {
        let began = Instant::now();
        let answer = gateway.chat(&any(members));
        let took = began.elapsed();
        answer.must_be_fault(504, "upstream_timeout");
        assert!(took > Duration::from_millis(380) && took < Duration::from_secs(3), "{took:?}");
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    }
    assert_eq!(second.truth().counts().requests, 0, "rule Q1: it may have been done");
    assert!(slow.truth().wait_ended(2, SOON), "the provider is not kept at work");
}

#[test]
fn first_byte_deadlines_of_the_server_hold() {
    let slow = healthy();
    let limits = "first_byte_unary_deadline = \"500ms\"\nfirst_byte_streaming_deadline = \"300ms\"";
    let gateway = chain(&[&slow]).limits(limits).start();
    for (members, least) in [(r#","user":"sim:latency=8s""#, 480), (r#","stream":true,"user":"sim:latency=8s""#, 280)] {
        let began = Instant::now();
        let answer = gateway.chat(&any(members));
        let took = began.elapsed();
        answer.must_be_fault(504, "upstream_timeout");
        assert!(took >= Duration::from_millis(least) && took < Duration::from_secs(3), "{members}: {took:?}");
    }
}

#[test]
fn at_most_three_attempts_are_made() {
    let simulators: Vec<Simulator> = (0..5).map(|_| failing(Fault::status(503))).collect();
    let gateway = chain(&simulators.iter().collect::<Vec<_>>()).start();
    let answer = gateway.chat(&any(""));
    answer.must_be_fault(503, "all_providers_unavailable");
    let requests: Vec<u64> = simulators.iter().map(|simulator| simulator.truth().counts().requests).collect();
    assert_eq!(requests, [1, 1, 1, 0, 0]);
    assert_eq!(answer.header("x-igris-attempts"), Some("3"));
}

#[test]
fn a_connection_that_died_unseen_costs_nobody_anything() {
    let simulator = failing(Fault::StaleKeepAlive);
    let gateway = chain(&[&simulator]).start();
    for round in 0..6 {
        let members = if round % 2 == 0 { "" } else { r#","stream":true"# };
        let answer = gateway.chat(&any(members));
        must_be_served_by(&answer, "p1", "1");
        assert!(answer.whole);
    }
}

#[test]
fn a_connection_that_the_provider_closed_is_not_used_again() {
    let simulator = Simulator::builder().idle_timeout(Duration::from_millis(60)).start().expect("a loopback port");
    let gateway = chain(&[&simulator]).start();
    for _ in 0..4 {
        must_be_served_by(&gateway.chat(&any("")), "p1", "1");
        std::thread::sleep(Duration::from_millis(120));
    }
    let counts = simulator.truth().counts();
    assert_eq!((counts.requests, counts.connections_opened), (4, 4));
}

#[test]
fn what_is_wrong_with_the_request_is_not_tried_elsewhere() {
    let body = json!({ "error": { "message": "temperature is out of range", "type": "invalid_request_error", "param": "temperature", "code": null } });
    let (first, second) =
        (failing(Fault::Status { code: 400, retry_after: None, body: Some(body.to_string()) }), healthy());
    let gateway = chain(&[&first, &second]).start();
    let answer = gateway.chat(&any(""));
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.message().contains("temperature is out of range"), "{}", answer.text());
    assert_eq!(second.truth().counts().requests, 0);
}

#[test]
fn a_unary_answer_that_breaks_off_is_not_passed_on_in_part() {
    let simulator = failing(Fault::CutMidEvent { after_events: 0 });
    let gateway = chain(&[&simulator]).start();
    let answer = gateway.chat(&any(""));
    assert!(matches!(answer.status, 502..=504), "{} {}", answer.status, answer.text());
    assert!(answer.whole && answer.json()["error"]["message"].is_string(), "{}", answer.text());
}

#[test]
fn a_provider_without_a_key_is_told_apart_from_one_that_is_down() {
    let simulator = healthy();
    let gateway = Gateway::builder().provider("openai", &simulator).key(None).start();
    let answer = gateway.chat(&stream_of("x", ""));
    answer.must_be_fault(503, "all_providers_unavailable");
    assert!(answer.message().contains("key"), "{}", answer.text());
    let providers = gateway.page("/v1/providers").json();
    assert_ne!(providers["providers"][0]["status"], "active", "{providers}");
}

#[test]
fn a_large_request_is_sent_whole_and_once() {
    let (first, second) = (failing(Fault::status(503)), Simulator::builder().keep_bodies().start().expect("a port"));
    // So long a prompt fits the window of this model, as far as it can be estimated.
    let roomy = "[[models]]\nname = \"roomy\"\npolicy = \"ordered\"\ntargets = [{ provider = \"p1\", model = \"gpt-4.1\" }, { provider = \"p2\", model = \"gpt-4.1\" }]\n";
    let gateway = chain(&[&first, &second]).config_toml(roomy).start();
    // Rule Q6: 1 MiB is kept for another attempt.
    let body = chat_of("any", &"x".repeat(900_000), "");
    must_be_served_by(&gateway.chat(&body), "p2", "2");
    let sent = second.truth().last().and_then(|record| record.body).expect("bodies are kept");
    assert_eq!(sent.len(), body.len() + "gpt-4o".len() - "any".len());
    let body = chat_of("roomy", &"x".repeat(3_000_000), "");
    assert_eq!(gateway.chat(&body).status, 503, "above that there is one attempt");
    gateway.chat(&chat_of("any", &"x".repeat(3_000_000), "")).must_be_fault(400, "context_length_exceeded");
    assert_eq!((first.truth().counts().requests, second.truth().counts().requests), (2, 1));
}

#[test]
fn answers_of_odd_shapes_are_passed_on_or_refused_but_never_mangled() {
    let upstream = Scripted::start(b"");
    let gateway = Gateway::builder().own_provider("scripted", &upstream.base_url(), "").start();
    let ask = |answer: &str| {
        upstream.say(answer.as_bytes());
        gateway.chat(&chat_of("gpt-4o", "x", ""))
    };
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let own = r#"{"id":"x","metadata":{"mine":"kept","provider":"forged"},"usage":null}"#;
    let answer = ask(&format!("{json}connection: close\r\n\r\n{own}"));
    assert_eq!(answer.status, 200, "a body may end with its connection: {}", answer.text());
    let metadata = answer.json()["metadata"].clone();
    assert_eq!(
        (&metadata["mine"], &metadata["provider"]),
        (&json!("kept"), &json!("scripted")),
        "ours wins: {metadata}"
    );
    assert_eq!(
        (&metadata["cost_usd"], &metadata["cost_breakdown"]),
        (&json!(null), &json!(null)),
        "nothing is made up"
    );
    let answer = ask(&format!("{json}transfer-encoding: chunked\r\n\r\n1;x=y\r\n{{\r\n1\r\n}}\r\n0\r\nx-t: 1\r\n\r\n"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["metadata"]["provider"], "scripted");
    let answer = ask(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x08zz",
    );
    assert_eq!((answer.status, answer.header("content-encoding")), (200, Some("gzip")), "rule H19: opaque");
    assert_eq!(answer.body, b"\x1f\x08zz");
    let answer = ask("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nplain");
    assert_eq!((answer.status, answer.text().as_str()), (200, "plain"));
    let served = upstream.requests();
    for code in [301, 302, 307, 308] {
        let answer =
            ask(&format!("HTTP/1.1 {code} Moved\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", upstream.base_url()));
        assert!(
            answer.status >= 500,
            "rule T5: a redirect is never followed and never shown: {code} {}",
            answer.status
        );
        assert_eq!(answer.header("location"), None);
    }
    assert_eq!(upstream.requests(), served + 4);
}

#[test]
fn a_very_long_answer_passes_whole() {
    let simulator = healthy();
    let gateway = chain(&[&simulator]).start();
    let body = any(r#","user":"sim:tokens=900000""#);
    let answer = gateway.chat(&body);
    assert_eq!((answer.status, answer.whole), (200, true));
    assert!(answer.body.len() > 5_000_000, "{} bytes", answer.body.len());
    let expected = igris_load::dialect::Expectation::new(body.as_bytes(), Some("gpt-4o")).expect("good");
    expected.check(&answer.body).expect("the same bytes");
}

#[test]
fn a_name_leads_to_the_address_where_somebody_listens() {
    // The simulator listens on 127.0.0.1; `localhost` may stand for ::1 as well, and that one is refused first (RFC 8305).
    let simulator = healthy();
    let url = simulator.base_url().replace("127.0.0.1", "localhost");
    let gateway = Gateway::builder().own_provider("p1", &url, "").ordered(&["p1"]).start();
    let began = Instant::now();
    let answer = loop {
        let answer = gateway.chat(&any(""));
        // The name is looked up beside the start: until then there is no address.
        if answer.status != 503 || began.elapsed() > SOON {
            break answer;
        }
    };
    must_be_served_by(&answer, "p1", "1");
}
