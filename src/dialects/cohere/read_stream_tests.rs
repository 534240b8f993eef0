//! Tests of the stream reader where a golden file says less: failures, odd shapes, and what must not be copied.

use super::*;
use crate::dialects::StreamReader;
use crate::dialects::provider_goldens::delta_json;
use crate::dialects::sse::EventReader;
use proptest::prelude::*;

fn read(events: &[&str]) -> (Vec<Value>, bool) {
    let mut reader = EventReader::new(Decoder::default());
    let mut deltas = Vec::new();
    for event in events {
        reader.push(format!("data: {event}\n\n").as_bytes(), &mut |delta| deltas.push(delta_json(&delta)));
    }
    (deltas, reader.is_complete())
}

const START: &str =
    r#"{"type":"message-start","id":"m","delta":{"message":{"role":"assistant","content":[],"tool_calls":[]}}}"#;
const END: &str = r#"{"type":"message-end","delta":{"finish_reason":"COMPLETE"}}"#;

#[test]
fn a_failed_end_is_an_error_and_the_last_word() {
    let cases = [
        (
            r#"{"finish_reason":"ERROR","error":"worker \"a\" died"}"#,
            r#"{"message":"worker \"a\" died","code":"ERROR","type":"server_error"}"#,
        ),
        (
            r#"{"finish_reason":"TIMEOUT"}"#,
            r#"{"message":"The answer failed.","code":"TIMEOUT","type":"timeout_error"}"#,
        ),
        (r#"{"error":"gone"}"#, r#"{"message":"gone","code":"","type":"server_error"}"#),
    ];
    for (delta, body) in cases {
        let (deltas, complete) = read(&[START, &format!(r#"{{"type":"message-end","delta":{delta}}}"#), END]);
        assert_eq!(deltas[1..], [json!({ "error": body })]);
        assert!(!complete);
    }
}

#[test]
fn what_is_not_of_the_format_is_an_error_with_its_bytes() {
    for event in
        ["nonsense", "[]", r#"{"message":"internal server error","id":"x"}"#, r#"{"type":"content-delta","delta":[]}"#]
    {
        let (deltas, complete) = read(&[START, event, END]);
        assert_eq!(deltas[1..], [json!({ "error": event })]);
        assert!(!complete);
    }
}

#[test]
fn calls_are_counted_by_us_whatever_cohere_counts() {
    let start = |index: u32, id: &str| {
        format!(
            r#"{{"type":"tool-call-start","index":{index},"delta":{{"message":{{"tool_calls":[{{"id":"{id}","type":"function","function":{{"name":"f","arguments":"{{"}}}}]}}}}}}"#
        )
    };
    let input =
        r#"{"type":"tool-call-delta","index":4,"delta":{"message":{"tool_calls":{"function":{"arguments":"}"}}}}}"#;
    let stray =
        r#"{"type":"tool-call-delta","index":9,"delta":{"message":{"tool_calls":{"function":{"arguments":"!"}}}}}"#;
    let (deltas, _) = read(&[&start(3, "a"), &start(4, "b"), input, stray, r#"{"type":"tool-call-end","index":4}"#]);
    let expected = [
        json!({"start": {"id": "", "model": ""}}),
        json!({"tool_start": {"index": 0, "id": "a", "name": "f"}}),
        json!({"tool_input": {"index": 0, "json": "{"}}),
        json!({"tool_start": {"index": 1, "id": "b", "name": "f"}}),
        json!({"tool_input": {"index": 1, "json": "{"}}),
        json!({"tool_input": {"index": 1, "json": "}"}}),
        json!({"tool_end": 1}),
    ];
    assert_eq!(deltas, expected);
}

#[test]
fn free_text_comes_out_of_its_function_whole() {
    let start = r#"{"type":"tool-call-start","index":0,"delta":{"message":{"tool_calls":{"id":"t","function":{"name":"sh__igris_text","arguments":""}}}}}"#;
    let part = |json: &str| {
        let calls = json!({"message": {"tool_calls": {"function": {"arguments": json}}}});
        json!({"type": "tool-call-delta", "index": 0, "delta": calls}).to_string()
    };
    let (first, second) = (part(r#"{"input": "ls \"#), part(r#"n-l"}"#));
    let expected = [
        json!({"tool_start": {"index": 0, "id": "t", "name": "sh"}}),
        json!({"tool_input": {"index": 0, "json": "ls \n-l"}}),
    ];
    let (deltas, _) = read(&[start, &first, &second, r#"{"type":"tool-call-end","index":0}"#, END]);
    assert_eq!(deltas[1..3], expected);
    assert_eq!(deltas[3..], [json!({"tool_end": 0}), json!({"finish": "stop"})]);
    let (deltas, _) = read(&[start, &first, &second, END]);
    assert_eq!(deltas[1..], [&expected[..], &[json!({"finish": "stop"})]].concat(), "without its own end");
}

#[test]
fn plain_text_borrows_and_a_cut_stream_is_not_complete() {
    let mut reader = EventReader::new(Decoder::default());
    let mut borrowed = 0;
    let event =
        "data: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"Hi\"}}}}\n\n";
    reader.push(event.as_bytes(), &mut |delta| {
        borrowed += usize::from(matches!(delta, Delta::Text { text: Cow::Borrowed(_), .. }))
    });
    assert_eq!((borrowed, reader.is_complete()), (1, false));
}

#[test]
#[ignore = "a measurement; run it in release"]
fn a_text_event_costs_little() {
    let event = "event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\" eight words or so\"}}}}\n\n";
    let mut reader = EventReader::new(Decoder::default());
    let mut letters = 0;
    let best = (0..100).map(|_| {
        let start = std::time::Instant::now();
        for _ in 0..2_000 {
            reader.push(event.as_bytes(), &mut |delta| letters += delta.content_bytes());
        }
        start.elapsed() / 2_000
    });
    let best = best.min();
    println!("{best:?} an event, {letters} bytes");
}

proptest! {
    #[test]
    fn no_events_break_the_reader(
        kinds in proptest::collection::vec(
            (
                prop_oneof![Just("message-start"), Just("content-start"), Just("content-delta"), Just("tool-plan-delta"), Just("tool-call-start"),
                    Just("tool-call-delta"), Just("tool-call-end"), Just("citation-start"), Just("message-end"), Just("debug")],
                prop_oneof![
                    Just(r#"{"message":{"content":{"text":"é","thinking":null}}}"#),
                    Just(r#"{"message":{"tool_calls":{"id":"i","function":{"name":"n","arguments":"{}"}},"tool_plan":"p"}}"#),
                    Just(r#"{"message":{"citations":{"start":1,"end":2,"sources":[{}]}}}"#),
                    Just(r#"{"usage":{"tokens":{"input_tokens":1e300}},"finish_reason":"LATER"}"#),
                    Just("null"), Just("{}"), Just("7"),
                ],
            ),
            0..20,
        ),
    ) {
        let events: Vec<String> = kinds.iter().map(|(kind, delta)| format!(r#"{{"type":"{kind}","index":0,"delta":{delta}}}"#)).collect();
        let (deltas, _) = read(&events.iter().map(String::as_str).collect::<Vec<_>>());
        let last = deltas.iter().position(|delta| delta.get("error").is_some() || delta.get("finish").is_some());
        prop_assert!(last.is_none_or(|at| at + 1 == deltas.len()), "something follows the end: {deltas:?}");
    }
}
