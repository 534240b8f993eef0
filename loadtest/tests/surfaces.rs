//! One simulator shows every surface at once, and every fault strikes on each of them as it does on the first.

mod wire;

use igris_load::Simulator;
use igris_load::simulator::{Behaviour, Fault, Outcome, Surface, When};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use wire::{Reply, Request, SOON};

const KEY: &str = "ABSK-sim-0123456789abcdef";

const SURFACES: [Surface; 6] =
    [Surface::OpenAi, Surface::Anthropic, Surface::Gemini, Surface::Azure, Surface::Cohere, Surface::Bedrock];

fn simulator() -> Simulator {
    let builder = SURFACES.into_iter().fold(Simulator::builder(), igris_load::simulator::Builder::dialect);
    builder.keys([KEY]).start().expect("a loopback port")
}

/// The same words asked on each surface.
fn ask(surface: Surface, words: &str, stream: bool) -> Request {
    let messages = json!([{ "role": "user", "content": words }]);
    let bearer = format!("Bearer {KEY}");
    match surface {
        Surface::Anthropic => {
            let body = json!({ "model": "claude-haiku-4-5", "max_tokens": 50, "messages": messages, "stream": stream });
            Request::post("/v1/messages", &body).field("x-api-key", KEY).field("anthropic-version", "2023-06-01")
        }
        Surface::Gemini => {
            let body = json!({ "contents": [{ "role": "user", "parts": [{ "text": words }] }] });
            let verb = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
            Request::post(&format!("/v1/models/gemini-2.5-flash-lite:{verb}"), &body).field("x-goog-api-key", KEY)
        }
        Surface::Azure => {
            let body = json!({ "messages": messages, "stream": stream });
            let path = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
            Request::post(path, &body).field("api-key", KEY)
        }
        Surface::Cohere => {
            let body = json!({ "model": "command-a-03-2025", "messages": messages, "stream": stream });
            Request::post("/v2/chat", &body).field("authorization", &bearer)
        }
        Surface::Bedrock => {
            let body = json!({ "messages": [{ "role": "user", "content": [{ "text": words }] }] });
            let verb = if stream { "converse-stream" } else { "converse" };
            Request::post(&format!("/model/us.anthropic.claude-opus-4-7/{verb}"), &body).field("authorization", &bearer)
        }
        _ => {
            let body = json!({ "model": "gpt-4o", "messages": messages, "stream": stream });
            Request::post("/v1/chat/completions", &body).field("authorization", &bearer)
        }
    }
}

/// The sentence of an error, wherever its surface puts it.
fn sentence(reply: &Reply) -> String {
    let body = reply.json();
    let message = body["error"]["message"].as_str().or(body["message"].as_str());
    message.unwrap_or_else(|| panic!("{body}")).to_owned()
}

#[test]
fn every_path_finds_its_surface() {
    let simulator = simulator();
    assert!(simulator.base_url().ends_with("/v1"), "the first names the base URL");
    assert_eq!(simulator.base_url_of(Surface::Anthropic), simulator.origin());
    for surface in SURFACES {
        for stream in [false, true] {
            let reply = ask(surface, "sim:tokens=4", stream).send(&simulator);
            assert!(reply.status == 200 && reply.whole, "{surface}: {}", reply.text());
            assert!(simulator.truth().wait_settled(SOON));
            let record = simulator.truth().last().expect("a request");
            assert_eq!((record.surface, record.stream, record.status), (surface.name(), stream, 200));
            assert_eq!((record.completion_tokens, record.key.as_deref()), (4, Some("…cdef")), "{surface}");
            assert!(record.prompt_tokens > 0 && record.model.is_some(), "{surface}");
        }
    }
    assert_eq!(simulator.truth().violations(), []);
    let list = |field: &str, value: &str| Request::new("GET", "/v1/models").field(field, value);
    let lists = [
        (list("authorization", &format!("Bearer {KEY}")), "gpt-4o"),
        (list("x-api-key", KEY).field("anthropic-version", "2023-06-01"), "claude-haiku-4-5"),
        (list("x-goog-api-key", KEY), "gemini-2.5-pro"),
    ];
    for (request, model) in lists {
        assert!(request.send(&simulator).text().contains(model), "{model}");
    }
}

#[test]
fn a_refusal_is_worded_by_its_surface() {
    let simulator = simulator();
    let said: Vec<_> =
        SURFACES.iter().map(|surface| sentence(&ask(*surface, "sim:fault=503", true).send(&simulator))).collect();
    let mut unlike = said.clone();
    unlike.sort();
    unlike.dedup();
    assert_eq!(unlike.len(), SURFACES.len(), "{said:?}");
    simulator.set_keys(["ABSK-another-key-0001"]);
    for surface in SURFACES {
        let reply = ask(surface, "hello", false).send(&simulator);
        let expected = match surface {
            Surface::Gemini => 400,
            Surface::Bedrock => 403,
            _ => 401,
        };
        assert_eq!(reply.status, expected, "{surface}: {}", reply.text());
        assert!(!reply.text().contains(KEY), "{surface} echoes the key");
    }
}

#[test]
fn every_fault_strikes_on_every_surface() {
    let simulator = simulator();
    for surface in SURFACES {
        let wish = |directives: &str, stream: bool| ask(surface, &format!("sim:{directives}"), stream).send(&simulator);
        let whole = wish("tokens=4;split=7", true);
        assert!(whole.whole, "{surface}: small writes change nothing");
        for stream in [false, true] {
            let cut = wish("fault=cut@2", stream);
            assert!(cut.status == 200 && !cut.whole && !cut.reset, "{surface}: {}", cut.text());
            for bytes in [0, 1, 90, 260] {
                let reset = wish(&format!("fault=reset@{bytes}"), stream);
                assert_eq!((reset.raw.len(), reset.reset), (bytes, true), "{surface}");
            }
            let started = Instant::now();
            assert_eq!(wish("fault=slow@60ms", stream).status, 200);
            assert!(started.elapsed() >= Duration::from_millis(60), "{surface}");
            assert!(!wish("fault=garbage", stream).raw.starts_with(b"HTTP/1.1"), "{surface}");
            assert_eq!(wish("fault=close", stream).raw, b"", "{surface}");
        }
        assert_eq!(wish("fault=error@1", false).status, 500, "{surface}: a unary answer becomes a 500");
        let broken = wish("fault=error@2", true);
        assert!(broken.status == 200 && broken.whole, "{surface}: {}", broken.text());
        assert!(simulator.truth().wait_settled(SOON));
        let last = simulator.truth().last().expect("requests");
        assert_eq!((last.surface, last.outcome), (surface.name(), Outcome::Faulted("error@2".into())));
    }
}

#[test]
fn rules_and_answers_are_the_same_for_all() {
    let simulator = simulator();
    let first = |surface| ask(surface, "hello", false).send(&simulator).body;
    for surface in SURFACES {
        assert_eq!(first(surface), first(surface), "{surface}: an answer is a function of its request");
    }
    simulator
        .set_behaviour(Behaviour { tokens: 3, ..Behaviour::default() }.with_fault(Fault::status(500), When::Every(2)));
    let statuses: Vec<Value> =
        SURFACES.iter().map(|surface| ask(*surface, "hello", true).send(&simulator).status.into()).collect();
    assert_eq!(json!(statuses), json!([200, 500, 200, 500, 200, 500]));
    assert!(simulator.truth().wait_settled(SOON));
    let records = simulator.truth().requests();
    let told: Vec<_> = records[records.len() - 6..].iter().map(|record| record.completion_tokens).collect();
    assert_eq!(told, [3, 0, 3, 0, 3, 0]);
}

#[test]
fn a_key_outside_its_time_is_refused_as_an_unknown_one_is() {
    let simulator = simulator();
    for surface in SURFACES {
        simulator.truth().clear();
        let question = ask(surface, "Hello", false);
        let began = Instant::now();
        assert_eq!(question.send(&simulator).status, 200, "{surface}");
        assert!(simulator.key_was_good(KEY, began, Instant::now()));
        simulator.set_keys(["ABSK-sim-fedcba9876543210"]);
        let unknown = question.send(&simulator);
        simulator.set_keys([KEY]);
        simulator.refuse_key(KEY);
        let revoked = question.send(&simulator);
        assert!(matches!(revoked.status, 400 | 401 | 403), "{surface}: {}", revoked.status);
        assert_eq!(revoked.status, unknown.status, "{surface}");
        // All but the ids of the requests.
        let said = |reply: &Reply| reply.text().replace(|letter: char| letter.is_ascii_hexdigit() || letter == '-', "");
        if surface != Surface::Anthropic {
            assert_eq!(said(&revoked), said(&unknown), "{surface}");
        }
        assert_eq!(ask(surface, "Hello", true).send(&simulator).status, revoked.status, "{surface}: a stream");
        assert!(!simulator.key_was_good(KEY, began, Instant::now()), "it was revoked in between");
        simulator.accept_key(KEY);
        assert_eq!(question.send(&simulator).status, 200, "{surface}");
        assert!(simulator.truth().wait_settled(SOON));
        let counts = simulator.truth().key_counts(KEY);
        assert_eq!((counts.accepted, counts.refused), (2, 3), "{surface}");
        let accepted: Vec<bool> = simulator.truth().requests().iter().map(|record| record.key_accepted).collect();
        assert_eq!(accepted, [true, false, false, false, true], "{surface}");
    }
}

#[test]
fn a_stream_goes_on_when_its_key_is_revoked() {
    let simulator = simulator();
    let long = ask(Surface::OpenAi, "sim:tokens=20;gap=20ms Hello", true);
    std::thread::scope(|scope| {
        let stream = scope.spawn(|| long.send(&simulator));
        assert!(simulator.truth().wait_arrived(1, SOON));
        simulator.refuse_key(KEY);
        let stream = stream.join().expect("the client");
        assert!(stream.status == 200 && stream.whole && stream.text().contains("[DONE]"), "{}", stream.text());
    });
    assert_eq!(ask(Surface::OpenAi, "Hello", false).send(&simulator).status, 401);
}
