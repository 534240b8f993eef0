//! Tests of the stream reader where a golden file says less: exceptions, broken frames, odd orders, and speed.

use super::super::frames::tests::{frame, text_header};
use super::*;
use crate::dialects::provider_goldens::delta_json;
use proptest::prelude::*;
use serde_json::json;

fn event(name: &str, payload: &str) -> Vec<u8> {
    let headers = [
        text_header(":event-type", name),
        text_header(":content-type", "application/json"),
        text_header(":message-type", "event"),
    ];
    frame(&headers.concat(), payload.as_bytes())
}

fn read(frames: &[Vec<u8>]) -> (Vec<Value>, bool) {
    let mut reader = ConverseReader::new();
    let mut deltas = Vec::new();
    reader.push(&frames.concat(), &mut |delta| deltas.push(delta_json(&delta)));
    (deltas, reader.is_complete())
}

const START: &str = r#"{"role":"assistant"}"#;

#[test]
fn an_exception_keeps_its_name_and_ends_the_stream() {
    let headers =
        [text_header(":exception-type", "throttlingException"), text_header(":message-type", "exception")].concat();
    let exception = frame(&headers, br#"{"message":"Too many \"tokens\", please wait."}"#);
    let stop = event("messageStop", r#"{"stopReason":"end_turn"}"#);
    let (deltas, complete) = read(&[event("messageStart", START), exception, stop]);
    let error = r#"{"__type":"throttlingException","code":"throttlingException","message":"Too many \"tokens\", please wait."}"#;
    assert_eq!(deltas, [json!({"start": {"id": "", "model": ""}}), json!({ "error": error })]);
    assert!(!complete);
}

#[test]
fn an_error_without_payload_says_what_its_headers_say() {
    let headers = [
        text_header(":error-code", "InternalError"),
        text_header(":error-message", "Oops"),
        text_header(":message-type", "error"),
    ];
    let (deltas, _) = read(&[frame(&headers.concat(), b"")]);
    assert_eq!(deltas, [json!({"error": r#"{"__type":"InternalError","code":"InternalError","message":"Oops"}"#})]);
}

#[test]
fn what_is_broken_ends_the_stream_once() {
    let mut bent = event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"x"}}"#);
    let last = bent.len() - 1;
    bent[last] ^= 1;
    for broken in
        [bent, event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":}}"#), event("messageStop", "[]")]
    {
        let after = event("messageStop", r#"{"stopReason":"end_turn"}"#);
        let (deltas, complete) = read(&[event("messageStart", START), broken, after]);
        assert_eq!(deltas.len(), 2, "{deltas:?}");
        assert!(deltas[1].get("error").is_some() && !complete);
    }
}

#[test]
fn a_malformed_end_is_an_error_only_when_nothing_came_before() {
    let stop = event("messageStop", r#"{"stopReason":"malformed_tool_use"}"#);
    let (deltas, complete) = read(&[event("messageStart", START), stop.clone()]);
    assert!(deltas[1]["error"].as_str().is_some_and(|error| error.contains("malformed_tool_use")) && !complete);
    let text = event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"x"}}"#);
    let (deltas, complete) = read(&[event("messageStart", START), text, stop]);
    assert_eq!(deltas[2], json!({"finish": "stop"}));
    assert!(complete);
}

#[test]
fn parts_of_a_sealed_block_are_joined() {
    let part = |delta: &str| {
        event("contentBlockDelta", &format!(r#"{{"contentBlockIndex":3,"delta":{{"reasoningContent":{delta}}}}}"#))
    };
    let stop = event("contentBlockStop", r#"{"contentBlockIndex":3}"#);
    let (deltas, _) =
        read(&[part(r#"{"redactedContent":"YQ=="}"#), part(r#"{"redactedContent":"Yg=="}"#), stop.clone()]);
    assert_eq!(deltas[1], json!({"seal": {"maker": "anthropic", "data": "YWI=", "redacted": true}}));
    let (deltas, _) = read(&[part(r#"{"signature":"Eq"}"#), part(r#"{"signature":"Ab"}"#), stop]);
    assert_eq!(deltas[1], json!({"seal": {"maker": "anthropic", "data": "EqAb", "redacted": false}}));
}

#[test]
fn free_text_comes_out_of_its_function_whole() {
    let start = |index: u32, name: &str| {
        let text =
            format!(r#"{{"contentBlockIndex":{index},"start":{{"toolUse":{{"toolUseId":"t","name":"{name}"}}}}}}"#);
        event("contentBlockStart", &text)
    };
    let part = |json: &str| {
        event("contentBlockDelta", &json!({"contentBlockIndex": 0, "delta": {"toolUse": {"input": json}}}).to_string())
    };
    let stop = event("messageStop", r#"{"stopReason":"tool_use"}"#);
    let (deltas, _) = read(&[start(0, "sh__igris_text"), part(r#"{"input": "ls \"#), part(r#"n-l"}"#), stop]);
    assert_eq!(deltas[1], json!({"tool_start": {"index": 0, "id": "t", "name": "sh"}}));
    assert_eq!(deltas[2], json!({"tool_input": {"index": 0, "json": "ls \n-l"}}));
    assert_eq!(deltas[3..], [json!({"tool_end": 0}), json!({"finish": "tool_calls"})]);
}

#[test]
fn after_the_end_only_usage_comes() {
    let stop = event("messageStop", r#"{"stopReason":"end_turn"}"#);
    let text = event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"x"}}"#);
    let usage = event("metadata", r#"{"usage":{"inputTokens":1,"outputTokens":2}}"#);
    let (deltas, complete) = read(&[event("messageStart", START), stop.clone(), text, stop, usage]);
    assert_eq!(deltas[1..], [json!({"finish": "stop"}), json!({"usage": {"input": 1, "output": 2}})]);
    assert!(complete);
}

#[test]
fn a_cut_stream_is_not_complete() {
    assert!(!read(&[]).1);
    let text = event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"x"}}"#);
    assert!(!read(&[event("messageStart", START), text]).1);
}

#[test]
fn plain_text_borrows_from_its_event() {
    let bytes = event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"Hello"},"p":"abcdefgh"}"#);
    let mut reader = ConverseReader::new();
    let mut borrowed = 0;
    reader.push(&bytes, &mut |delta| {
        if let Delta::Text { text: Cow::Borrowed(_), .. } = delta {
            borrowed += 1;
        }
    });
    assert_eq!(borrowed, 1);
}

#[test]
#[ignore = "a measurement; run it in release"]
fn a_text_event_costs_little() {
    let bytes = event(
        "contentBlockDelta",
        r#"{"contentBlockIndex":0,"delta":{"text":" eight words or so, as they come"},"p":"abcdefghijklmnop"}"#,
    );
    let mut reader = ConverseReader::new();
    let mut letters = 0;
    let best = (0..100).map(|_| {
        let start = std::time::Instant::now();
        for _ in 0..2_000 {
            reader.push(&bytes, &mut |delta| letters += delta.content_bytes());
        }
        start.elapsed() / 2_000
    });
    let best = best.min();
    println!("{best:?} an event, {letters} bytes");
}

proptest! {
    #[test]
    fn no_events_break_the_reader(
        events in proptest::collection::vec(
            (
                prop_oneof![Just("messageStart"), Just("contentBlockStart"), Just("contentBlockDelta"), Just("contentBlockStop"), Just("messageStop"), Just("metadata")],
                prop_oneof![
                    Just(r#"{"contentBlockIndex":1,"start":{"toolUse":{"toolUseId":"t","name":"n"}}}"#),
                    Just(r#"{"contentBlockIndex":1,"start":{"image":{"format":"png"}},"delta":{"image":{"source":{"bytes":"YQ=="}}}}"#),
                    Just(r#"{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{}"},"text":"é"}}"#),
                    Just(r#"{"contentBlockIndex":1,"delta":{"reasoningContent":{"signature":"s","redactedContent":"!"}}}"#),
                    Just(r#"{"stopReason":"tool_use","usage":{"inputTokens":18446744073709551615,"cacheReadInputTokens":9}}"#),
                    Just("{}"),
                    Just("nonsense"),
                ],
            ),
            0..20,
        ),
    ) {
        let frames: Vec<Vec<u8>> = events.iter().map(|(name, payload)| event(name, payload)).collect();
        let (deltas, _) = read(&frames);
        let errors = deltas.iter().position(|delta| delta.get("error").is_some());
        prop_assert!(errors.is_none_or(|at| at + 1 == deltas.len()), "something follows an error");
        let finishes = deltas.iter().filter(|delta| delta.get("finish").is_some()).count();
        prop_assert!(finishes <= 1);
    }
}
