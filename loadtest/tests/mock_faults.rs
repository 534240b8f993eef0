//! Faults written in words strike when they say, look on the wire as they say, and are in the log with their rule's number.

mod wire;

use igris_load::Simulator;
use igris_load::simulator::{Behaviour, FaultRule, Outcome, Record, Surface};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use wire::{Reply, Request, SOON, with};

const KEY: &str = "sk-sim-0123456789abcdef";

fn simulator(rules: &str) -> Simulator {
    let rules = FaultRule::parse_all(rules).unwrap_or_else(|reason| panic!("{rules}: {reason}"));
    Simulator::builder().tokens(40).rules(rules).start().expect("a loopback port")
}

fn chat(extra: Value) -> Value {
    with(&json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": "hello" }] }), &extra)
}

fn request(extra: Value) -> Request {
    Request::post("/v1/chat/completions", &chat(extra)).field("authorization", &format!("Bearer {KEY}"))
}

fn stream(simulator: &Simulator) -> Reply {
    request(json!({ "stream": true })).send(simulator)
}

fn unary(simulator: &Simulator) -> Reply {
    request(json!({})).send(simulator)
}

/// The last record, once nothing is open any more.
fn last(simulator: &Simulator) -> Record {
    assert!(simulator.truth().wait_settled(SOON));
    simulator.truth().last().expect("a request")
}

/// A faulted record of rule 1 with this name.
fn assert_struck(simulator: &Simulator, name: &str) -> Record {
    let record = last(simulator);
    assert_eq!(record.outcome, Outcome::Faulted(name.into()));
    assert_eq!((record.fault.as_deref(), record.fault_rule), (Some(name), Some(1)));
    record
}

#[test]
fn a_status_comes_with_its_fields_and_body() {
    let simulator =
        simulator("-> 429 retry-after=2 header x-foo='b ar' header content-type=text/plain body='slow; down'");
    for reply in [unary(&simulator), stream(&simulator)] {
        assert_eq!((reply.status, reply.text(), reply.whole), (429, "slow; down".into(), true), "{}", reply.head);
        for (name, value) in
            [("retry-after", "2"), ("retry-after-ms", "2000"), ("x-foo", "b ar"), ("content-type", "text/plain")]
        {
            assert_eq!(reply.field(name), Some(value), "{}", reply.head);
        }
        assert_eq!(reply.head.matches("content-type").count(), 1);
        assert_struck(&simulator, "429");
    }
    let simulator = self::simulator("-> 503");
    assert_eq!(unary(&simulator).json()["error"]["code"], "engine_overloaded", "the provider's own words");
}

#[test]
fn streams_are_cut_between_inside_and_within_characters() {
    let whole = stream(&simulator("")).body;
    let simulator = self::simulator("-> cut mid event after 3 events");
    let reply = stream(&simulator);
    assert!(!reply.whole && whole.starts_with(&reply.body) && !reply.body.ends_with(b"\n\n"), "{}", reply.text());
    assert_eq!(assert_struck(&simulator, "cut@3").events, 3);

    let simulator = self::simulator("-> cut inside utf8 after 2 events");
    let reply = stream(&simulator);
    assert!(!reply.whole && whole.starts_with(&reply.body));
    let reason = std::str::from_utf8(&reply.body).expect_err("a character is cut");
    assert_eq!(reason.error_len(), None, "what is there is the beginning of a character: {}", reply.text());
    assert!(assert_struck(&simulator, "cut-utf8@2").events >= 2);

    let whole = unary(&self::simulator("")).body;
    for (rule, name) in [("-> cut mid event", "cut@0"), ("-> cut inside utf8", "cut-utf8@0")] {
        let simulator = self::simulator(rule);
        let reply = unary(&simulator);
        assert!(!reply.whole && whole.starts_with(&reply.body) && reply.body.len() < whole.len(), "{rule}");
        let cut = std::str::from_utf8(&reply.body).is_err_and(|reason| reason.error_len().is_none());
        assert!(cut || name == "cut@0");
        assert_struck(&simulator, name);
    }
}

#[test]
fn an_answer_of_ascii_is_cut_within_a_character_all_the_same() {
    let simulator = simulator("-> cut inside utf8");
    let tool = json!({ "type": "function", "function": { "name": "a", "parameters": { "type": "object" } } });
    let wish = json!({ "stream": true, "tools": [tool], "messages": [{ "role": "user", "content": "use the tool" }] });
    for extra in [with(&wish, &json!({ "stream": false })), wish] {
        let reply = request(extra).send(&simulator);
        assert!(!reply.whole && reply.body.ends_with(b"\xe6\x97"), "{}", reply.text());
    }
}

#[test]
fn connections_end_where_the_rule_says() {
    let simulator = simulator("-> reset after 200 bytes");
    let reply = stream(&simulator);
    assert!(reply.reset && reply.raw.len() <= 200, "{} bytes", reply.raw.len());
    assert_struck(&simulator, "reset@200");

    let simulator = self::simulator("-> close before response");
    let reply = stream(&simulator);
    assert_eq!((reply.raw.len(), reply.reset), (0, false));
    assert_struck(&simulator, "close");

    let simulator = self::simulator("-> garbage");
    assert!(!stream(&simulator).head.starts_with("HTTP/1.1"));
    assert_struck(&simulator, "garbage");
}

#[test]
fn a_stream_stalls_after_its_events() {
    let simulator = simulator("stream -> stall after 3 events");
    let mut open = request(json!({ "stream": true })).open(&simulator);
    let bytes = open.read_until(|bytes| bytes.windows(2).filter(|two| two == b"\n\n").count() == 3);
    open.read_until(|bytes| bytes == b"\r\n");
    assert!(bytes.starts_with(b"HTTP/1.1 200 "));
    assert!(open.is_silent(Duration::from_millis(150)), "nothing more comes");
    drop(open);
    assert_eq!(assert_struck(&simulator, "stall@3").events, 3);
    assert!(unary(&simulator).whole, "the rule is for streams");
}

#[test]
fn slow_answers_are_slow_where_the_rule_says_and_end_well() {
    let delay = Duration::from_millis(150);
    let simulator = simulator("-> slow first token 150ms");
    let started = Instant::now();
    let mut open = request(json!({ "stream": true })).open(&simulator);
    let head = open.read_until(|bytes| bytes.ends_with(b"\r\n\r\n"));
    assert!(
        head.starts_with(b"HTTP/1.1 200 ") && !head.windows(5).any(|five| five == b"data:"),
        "the head comes alone"
    );
    let all = open.read_until(|bytes| bytes.ends_with(b"0\r\n\r\n"));
    assert!(started.elapsed() >= delay && all.windows(6).any(|six| six == b"[DONE]"));
    let record = last(&simulator);
    assert_eq!(record.outcome, Outcome::Completed);
    assert_eq!((record.fault.as_deref(), record.fault_rule), (Some("slow-token@150ms"), Some(1)));

    let simulator = self::simulator("-> slow first byte 150ms");
    let started = Instant::now();
    assert!(unary(&simulator).whole && started.elapsed() >= delay);
    assert_eq!(last(&simulator).fault.as_deref(), Some("slow@150ms"));

    let plain = unary(&self::simulator("")).body;
    let simulator = self::simulator("-> drip 100 bytes every 10ms");
    let started = Instant::now();
    let reply = unary(&simulator);
    assert_eq!(reply.body, plain);
    let pauses = u32::try_from((reply.raw.len() - 1) / 100).expect("a short answer");
    assert!(
        pauses > 5 && started.elapsed() >= pauses * Duration::from_millis(10),
        "{pauses} in {:?}",
        started.elapsed()
    );
}

#[test]
fn streams_break_with_garbage_or_with_the_error_that_is_named() {
    let simulator = simulator("-> garbage after 2 events");
    let reply = stream(&simulator);
    assert!(reply.whole && std::str::from_utf8(&reply.body).is_err(), "the framing holds, the content does not");
    assert_eq!(assert_struck(&simulator, "garbage@2").events, 2);

    let rule = "-> error in stream after 2 events 'overloaded_error'";
    let simulator = self::simulator(rule);
    let events = stream(&simulator).events();
    assert_eq!((events.len(), &events[2].1["error"]["type"]), (3, &"overloaded_error".into()));
    assert_struck(&simulator, "error@2:overloaded_error");
    let reply = unary(&simulator);
    assert_eq!((reply.status, &reply.json()["error"]["type"]), (500, &"overloaded_error".into()));
}

#[test]
fn every_dialect_names_the_error_in_its_own_place() {
    let rules = || FaultRule::parse_all("-> error in stream after 1 event slow_down").expect("a rule");
    let hello = json!([{ "role": "user", "content": "hello" }]);
    let anthropic = json!({ "model": "claude-sonnet-5-5", "max_tokens": 9, "stream": true, "messages": hello });
    let gemini = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hello" }] }] });
    let bedrock = json!({ "messages": [{ "role": "user", "content": [{ "text": "hello" }] }] });
    let cohere = json!({ "model": "command-a-03-2025", "stream": true, "messages": hello });
    let bearer = format!("Bearer {KEY}");
    let table = [
        (
            Surface::Anthropic,
            Request::post("/v1/messages", &anthropic).field("x-api-key", KEY).field("anthropic-version", "2023-06-01"),
            r#""error":{"type":"slow_down""#,
        ),
        (
            Surface::Gemini,
            Request::post("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", &gemini)
                .field("x-goog-api-key", KEY),
            r#""status":"slow_down""#,
        ),
        (
            Surface::Bedrock,
            Request::post("/model/amazon.nova-pro-v1%3A0/converse-stream", &bedrock)
                .field("authorization", "Bearer ABSKQmVkcm9ja0FQSUtleS0wMTIzNDU2Nzg5"),
            "slow_down",
        ),
        (
            Surface::Cohere,
            Request::post("/v2/chat", &cohere).field("authorization", &bearer),
            r#""finish_reason":"slow_down""#,
        ),
    ];
    for (surface, request, part) in table {
        let simulator = Simulator::builder().dialect(surface).rules(rules()).start().expect("a loopback port");
        let reply = request.send(&simulator);
        assert!(reply.status == 200 && reply.text().contains(part), "{surface}: {}{}", reply.head, reply.text());
        assert_struck(&simulator, "error@1:slow_down");
    }
}

#[test]
fn rules_choose_by_number_and_by_what_a_request_is() {
    let simulator = simulator(
        "after 2 requests, every 2nd -> 500\n\
         model=gpt-4.1* -> 501 # not made yet\n\
         key=*beef -> 502\n\
         header x-tenant=acme -> 504\n\
         unary dialect=openai first 1 -> 505",
    );
    let send = |request: Request| {
        let status = request.send(&simulator).status;
        (status, last(&simulator).fault_rule)
    };
    let plain = || request(json!({ "stream": true }));
    assert_eq!(send(request(json!({ "model": "gpt-4.1" }))), (501, Some(2)));
    assert_eq!(send(plain().without("authorization").field("authorization", "Bearer sk-dead-beef")), (502, Some(3)));
    assert_eq!(
        send(plain().field("x-tenant", "acme")),
        (504, Some(4)),
        "the first rule let two pass, and counts from here"
    );
    assert_eq!(send(plain()), (500, Some(1)));
    assert_eq!(send(request(json!({}))), (505, Some(5)));
    assert_eq!(send(request(json!({}))).0, 500);
    assert_eq!(send(plain()), (200, None));
    let by_rule = simulator.truth().counts().by_rule;
    assert_eq!(by_rule.into_iter().collect::<Vec<_>>(), [(1, 2), (2, 1), (3, 1), (4, 1), (5, 1)]);
}

#[test]
fn a_share_is_a_share_and_the_seed_decides_which() {
    let rules = || FaultRule::parse_all("25% -> 503").expect("a rule");
    let struck = |seed| {
        let simulator = Simulator::builder().seed(seed).rules(rules()).start().expect("a loopback port");
        (0..200).map(|_| unary(&simulator).status == 503).collect::<Vec<_>>()
    };
    let (first, again, other) = (struck(4), struck(4), struck(5));
    let count = first.iter().filter(|struck| **struck).count();
    assert!((30..=70).contains(&count), "{count} of 200");
    assert!(first == again && first != other);
}

#[test]
fn a_window_opens_and_closes_and_counts_from_the_moment_it_was_set() {
    let simulator = simulator("");
    let rules = FaultRule::parse_all("from 0s to 1200ms -> 503\nfrom 60s -> 500").expect("rules");
    simulator.set_behaviour(Behaviour { faults: rules, ..Behaviour::default() });
    let set = Instant::now();
    let first = unary(&simulator).status;
    assert!(first == 503 || set.elapsed() > Duration::from_secs(1), "inside the window");
    std::thread::sleep(Duration::from_millis(1_250).saturating_sub(set.elapsed()));
    assert_eq!(unary(&simulator).status, 200, "after the window");
}

#[test]
fn a_request_that_asks_for_its_own_fault_has_no_rule() {
    let simulator = simulator("always -> 500");
    for (directive, status) in [("404", 404), ("slow-token@1ms", 200), ("drip@500/1ms", 200)] {
        let reply = request(json!({ "user": format!("sim:fault={directive}") })).send(&simulator);
        let record = last(&simulator);
        assert_eq!((reply.status, record.fault_rule), (status, None));
        assert!(record.fault.is_some(), "{directive}");
    }
}

#[test]
fn the_examples_of_the_documentation_are_rules() {
    let text = include_str!("../../docs/load-mock.md");
    let (_, after) = text.split_once("Examples:\n\n```\n").expect("the examples");
    let (examples, _) = after.split_once("```").expect("their end");
    let rules = FaultRule::parse_all(examples).unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!(rules.len(), examples.lines().count());
    let (_, table) = text.split_once("| what | on the wire |\n|---|---|\n").expect("the table");
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    for row in rows {
        let what = row.split('`').nth(1).expect("a fault in back quotes");
        assert!(format!("-> {what}").parse::<FaultRule>().is_ok(), "{what}");
    }
    let (_, names) = text.split_once("take too: ").expect("the short names");
    for name in names.split("`stale`").next().unwrap_or_default().split('`').skip(1).step_by(2) {
        assert!(format!("-> {name}").parse::<FaultRule>().is_ok(), "{name}");
    }
}
