//! Streams as clients of Google's SDKs get them, and that an echo of one means the same again.
//!
//! The same deltas go through both frames; Google's own golden streams go through reader and writer and must say the
//! same afterwards.

use super::*;
use crate::chat::request::{Block, Body, ToolCall, Turn};
use crate::chat::response::Finish;
use crate::dialects::gemini::{CLIENT, PROVIDER, array_stream_writer};
use serde_json::{Value, json};

const SETTING: Setting<'_> = Setting { id: "abc", model: "m", created: 1, usage_event: false, request: b"{}" };

fn anthropic() -> Seal {
    Seal { maker: Maker::Anthropic, data: "EqQB+/==".into(), redacted: false }
}

/// A turn with a sealed thought, words, and two calls whose inputs come in turns.
fn deltas() -> Vec<Delta<'static>> {
    let thinking = |text: &'static str| Delta::Thinking { choice: 0, text: text.into() };
    let start = |index, id: &'static str| Delta::ToolStart {
        choice: 0,
        index,
        id: id.into(),
        name: "f".into(),
        custom: false,
        seal: None,
    };
    let input = |index, json: &'static str| Delta::ToolInput { choice: 0, index, json: json.into() };
    vec![
        Delta::Start { id: "up".into(), model: "x".into() },
        thinking("Let me"),
        Delta::Ping,
        thinking(" \"see\"."),
        Delta::Seal { choice: 0, seal: anthropic() },
        Delta::Text { choice: 0, text: "I ".into() },
        Delta::Text { choice: 0, text: "call.".into() },
        start(0, "a"),
        input(0, "{\"x\":"),
        start(1, "b"),
        input(1, "{}"),
        input(0, "\n1.0}"),
        Delta::ToolEnd { choice: 0, index: 1 },
        Delta::Finish { choice: 0, reason: Finish::ToolCalls },
        Delta::Usage(Usage::default()),
    ]
}

fn usage() -> Usage {
    Usage { input: 5, output: 3, ..Usage::default() }
}

fn run(mut writer: Box<dyn StreamWriter>) -> String {
    let mut out = Vec::new();
    for delta in deltas() {
        writer.write(&delta, &mut out);
    }
    writer.finish(Some(&usage()), None, &mut out);
    String::from_utf8(out).expect("UTF-8")
}

/// The answers of a stream of events, read by their lines.
fn answers(stream: &str) -> Vec<Value> {
    assert!(stream.ends_with("\r\n\r\n"));
    let events = stream.split("\r\n\r\n").filter(|event| !event.is_empty());
    events
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").expect("one line of data")).expect("JSON"))
        .collect()
}

#[test]
fn every_event_is_an_answer_and_the_last_says_why_it_ended() {
    let answers = answers(&run((CLIENT.stream_writer)(&SETTING)));
    assert_eq!(answers.len(), 8, "{answers:#?}");
    let part = |part: Value| {
        json!({
            "candidates": [{"content": {"parts": [part], "role": "model"}, "index": 0}],
            "modelVersion": "m", "responseId": "abc",
        })
    };
    assert_eq!(answers[0], part(json!({"text": "Let me", "thought": true})));
    assert_eq!(answers[3], part(json!({"text": "I "})));
    let call = &answers[5]["candidates"][0]["content"]["parts"][0];
    assert_eq!(call["functionCall"], json!({"id": "b", "name": "f", "args": {}}));
    let last = json!({
        "candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8},
        "modelVersion": "m", "responseId": "abc",
    });
    assert_eq!(answers[7], last);
}

#[test]
fn an_echo_of_a_stream_is_the_same_turn() {
    let answers = answers(&run((CLIENT.stream_writer)(&SETTING)));
    let contents: Vec<&Value> = answers.iter().map(|answer| &answer["candidates"][0]["content"]).collect();
    let body = json!({"contents": contents}).to_string();
    let request = (CLIENT.read_request)(body.as_bytes()).expect("a request");
    let call = |id: &str, input: &str| {
        let (id, input) = (id.to_owned(), input.to_owned());
        Block::of(Body::ToolCall(ToolCall { id, name: "f".into(), input, custom: false, seal: None }))
    };
    let thought = Thinking { text: "Let me \"see\".".into(), seal: Some(anthropic()) };
    let expected = Turn::Assistant(vec![
        Block::of(Body::Thinking(thought)),
        Block::text("I call."),
        call("b", "{}"),
        call("a", "{\"x\":1.0}"),
    ]);
    assert_eq!(request.turns, [expected]);
}

#[test]
fn the_array_holds_the_same_answers() {
    let events = answers(&run((CLIENT.stream_writer)(&SETTING)));
    let array: Vec<Value> = serde_json::from_str(&run(array_stream_writer(&SETTING))).expect("a JSON array");
    assert_eq!(array, events);
    let mut out = Vec::new();
    array_stream_writer(&SETTING).finish(None, None, &mut out);
    assert_eq!(serde_json::from_slice::<Vec<Value>>(&out).expect("an array").len(), 1);
}

#[test]
fn our_own_reader_reads_it_and_an_error_ends_it() {
    let shown = Shown { status: 503, code: "upstream", kind: "k", message: "Gone.", param: None, request_id: "r" };
    let mut out = Vec::new();
    let mut writer = (CLIENT.stream_writer)(&SETTING);
    writer.write(&Delta::Text { choice: 0, text: "Hi".into() }, &mut out);
    writer.fail(&shown, &mut out);
    let mut reader = (PROVIDER.stream_reader)();
    let mut dump = Vec::new();
    reader.push(&out, &mut |delta| super::super::golden_tests::push_delta(&delta, &mut dump));
    assert!(!reader.is_complete());
    assert_eq!(dump[1], json!({"choice": 0, "text": "Hi"}));
    assert!(dump[2]["error"].as_str().expect("an error").contains("UNAVAILABLE"), "{dump:?}");

    let mut array = array_stream_writer(&SETTING);
    out.clear();
    array.write(&Delta::Text { choice: 0, text: "Hi".into() }, &mut out);
    array.fail(&shown, &mut out);
    let array: Vec<Value> = serde_json::from_slice(&out).expect("a JSON array");
    assert_eq!(array[1]["error"]["code"], 503);
}

#[test]
fn googles_streams_pass_through_the_inner_language() {
    for (name, bytes) in super::super::golden_tests::files("stream-", ".txt") {
        let mut first = Vec::new();
        let (written, complete) = through(&bytes, &mut first);
        if !complete {
            continue;
        }
        let mut second = Vec::new();
        let (_, complete) = through(&written, &mut second);
        assert!(complete, "{name}");
        let content = |dump: &[Value]| -> Vec<Value> {
            let mut content = dump.to_vec();
            content.retain(|entry| entry.get("choice").is_some());
            content.sort_by_key(|entry| (entry["choice"].as_u64(), entry.get("finish").is_some()));
            content
        };
        let calls = |text: String| text.replace(": ", ":");
        assert_eq!(calls(format!("{:?}", content(&second))), calls(format!("{:?}", content(&first))), "{name}");
    }
}

/// Reads a stream and writes it again.
fn through(bytes: &[u8], dump: &mut Vec<Value>) -> (Vec<u8>, bool) {
    let mut reader = (PROVIDER.stream_reader)();
    let mut writer = (CLIENT.stream_writer)(&SETTING);
    let mut out = Vec::new();
    reader.push(bytes, &mut |delta| {
        // Counts and citations come at other places.
        if !matches!(delta, Delta::Usage(_) | Delta::Annotation { .. }) {
            super::super::golden_tests::push_delta(&delta, dump);
        }
        writer.write(&delta, &mut out);
    });
    writer.finish(None, None, &mut out);
    (out, reader.is_complete())
}
