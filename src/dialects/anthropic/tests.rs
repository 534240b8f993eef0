//! What the goldens do not show: histories of clients that know no seals, streams of other makers, broken streams, bounds.

use super::golden_tests::{deltas, dump_delta, setting};
use super::{CLIENT, PROVIDER, write_count_tokens};
use crate::chat::ability::Abilities;
use crate::chat::carry::{self, Carried};
use crate::chat::delta::Delta;
use crate::chat::request::{Block, Body, Maker, Request, Seal, Thinking, ToolCall, ToolResult, Turn};
use crate::chat::response::{Choice, Finish, Piece, Response};
use crate::chat::shown::Shown;
use crate::dialects::Aim;
use crate::domain::token::Usage;
use crate::http::sse::{self, EventAssembler};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::borrow::Cow;

fn seal(maker: Maker, data: &str, redacted: bool) -> Seal {
    Seal { maker, data: data.to_owned(), redacted }
}

fn call(id: &str, name: &str, input: &str) -> ToolCall {
    ToolCall { id: id.to_owned(), name: name.to_owned(), input: input.to_owned(), custom: false, seal: None }
}

fn result(id: &str, text: &str) -> Block {
    let content = vec![Block::text(text)];
    Block::of(Body::ToolResult(ToolResult { id: id.to_owned(), name: None, content, is_error: false }))
}

fn written(request: &Request) -> Value {
    let abilities = Abilities::default();
    let aim = Aim { model: "claude-opus-4-5", abilities: &abilities, provider: "anthropic" };
    let written = (PROVIDER.write_request)(request, &aim).expect("a request");
    serde_json::from_slice(&written.body).expect("JSON")
}

/// What a Chat client gives back: it keeps text, calls and ids, and drops the rest.
#[test]
fn thinking_carried_in_ids_comes_back_first_with_its_signature() {
    let answer = br#"{"id":"msg_1","model":"m","content":[
        {"type":"thinking","thinking":"Two cities.","signature":"EqQB+/=="},
        {"type":"redacted_thinking","data":"opaque"},
        {"type":"text","text":"Let me look."},
        {"type":"tool_use","id":"toolu_01A","name":"weather","input":{"city":"Paris"}},
        {"type":"tool_use","id":"toolu_01B","name":"weather","input":{"city":"Rome"}}],
        "stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":1}}"#;
    let response = (PROVIDER.read_response)(answer).expect("an answer");
    let mut carried = Carried::default();
    let mut ids = Vec::new();
    for piece in &response.choices[0].pieces {
        match piece {
            Piece::Thinking(thinking) => carried.thinking.push(thinking.clone()),
            Piece::ToolCall(call) => ids.push(carry::pack(&call.id, &std::mem::take(&mut carried)).into_owned()),
            _ => {}
        }
    }
    let mut assistant = vec![Block::text("Let me look.")];
    let mut results = Vec::new();
    for id in &ids {
        let (own, carried) = carry::unpack(id);
        assistant.extend(carried.thinking.into_iter().map(|thinking| Block::of(Body::Thinking(thinking))));
        assistant.push(Block::of(Body::ToolCall(call(own, "weather", r#"{"city": 1e5}"#))));
        results.push(Turn::User(vec![result(own, "18 °C")]));
    }
    let mut turns = vec![Turn::User(vec![Block::text("Weather?")]), Turn::Assistant(assistant)];
    turns.extend(results);
    turns.push(Turn::User(vec![Block::text("Quick.")]));
    let mut request = Request { turns, output_max: Some(8_000), ..Request::default() };
    request.reasoning.budget = Some(2_000);
    let body = written(&request);
    assert_eq!(
        body["messages"][1]["content"],
        json!([
            { "type": "thinking", "thinking": "Two cities.", "signature": "EqQB+/==" },
            { "type": "redacted_thinking", "data": "opaque" },
            { "type": "text", "text": "Let me look." },
            { "type": "tool_use", "id": "toolu_01A", "name": "weather", "input": { "city": 1e5 } },
            { "type": "tool_use", "id": "toolu_01B", "name": "weather", "input": { "city": 1e5 } },
        ])
    );
    let answers: Vec<_> = body["messages"][2]["content"].as_array().expect("blocks").iter().collect();
    assert_eq!(answers.iter().map(|block| &block["type"]).collect::<Vec<_>>(), ["tool_result", "tool_result", "text"]);
    assert_eq!(body["thinking"], json!({ "type": "enabled", "budget_tokens": 2000 }), "the loop is signed");
}

#[test]
fn thinking_after_a_call_stays_there() {
    let thought = |data: &str| {
        let seal = Some(seal(Maker::Anthropic, data, false));
        Block::of(Body::Thinking(Thinking { text: String::new(), seal }))
    };
    let made = |id: &str| Block::of(Body::ToolCall(call(id, "f", "{}")));
    let kinds = |blocks: Vec<Block>| -> Vec<String> {
        let turns = vec![
            Turn::User(vec![Block::text("Go.")]),
            Turn::Assistant(blocks),
            Turn::User(vec![result("a", "1"), result("b", "2")]),
        ];
        let body = written(&Request { turns, ..Request::default() });
        let blocks = body["messages"][1]["content"].as_array().expect("blocks").clone();
        blocks.iter().map(|block| block["type"].as_str().expect("a type").to_owned()).collect()
    };
    let between = vec![Block::text("x"), made("a"), thought("s"), made("b")];
    assert_eq!(kinds(between), ["text", "tool_use", "thinking", "tool_use"]);
    let twice = vec![Block::text("x"), thought("s"), thought("t"), made("a"), thought("u"), made("b")];
    assert_eq!(kinds(twice), ["thinking", "thinking", "text", "tool_use", "thinking", "tool_use"]);
}

#[test]
fn a_loop_whose_thinking_is_lost_goes_on_without_a_budget() {
    let assistant = vec![Block::of(Body::ToolCall(call("a", "f", "")))];
    let turns =
        vec![Turn::User(vec![Block::text("Go.")]), Turn::Assistant(assistant), Turn::User(vec![result("a", "done")])];
    let mut request = Request { turns, ..Request::default() };
    request.reasoning.budget = Some(2_000);
    let body = written(&request);
    assert_eq!(body["thinking"], Value::Null);
    assert_eq!(body["messages"][1]["content"][0]["input"], json!({}));
}

#[test]
fn inputs_stay_the_bytes_that_they_were() {
    let input = r#"{"b": 1.50, "a": 1e5, "long": 12345678901234567890123}"#;
    let turns = vec![
        Turn::User(vec![Block::text("Go.")]),
        Turn::Assistant(vec![
            Block::of(Body::ToolCall(call("a", "f", input))),
            Block::of(Body::ToolCall(call("b", "f", "{\"cut"))),
        ]),
        Turn::User(vec![result("a", "done"), result("b", "no JSON")]),
    ];
    let abilities = Abilities::default();
    let aim = Aim { model: "claude-opus-5", abilities: &abilities, provider: "anthropic" };
    let written = (PROVIDER.write_request)(&Request { turns, ..Request::default() }, &aim).expect("a request");
    let body = String::from_utf8(written.body).expect("UTF-8");
    assert!(body.contains(input), "{body}");
    assert!(body.contains(r#""input":{"_raw":"{\"cut"}"#), "{body}");
    assert_eq!(written.dropped, ["tool_calls.arguments"]);
    let history = format!(
        r#"{{"max_tokens":1,"messages":[{{"role":"assistant","content":[
            {{"type":"tool_use","id":"a","name":"f","input":{input}}}]}}]}}"#
    );
    let request = (CLIENT.read_request)(history.as_bytes()).expect("a request");
    let Turn::Assistant(blocks) = &request.turns[0] else { panic!("an assistant turn") };
    assert_eq!(blocks[0].body, Body::ToolCall(call("a", "f", input)));
}

/// A history of Gemini's goes through a Messages client and comes back whole.
#[test]
fn foreign_seals_come_back_from_a_messages_client() {
    let thinking = Thinking { text: "Hm.".into(), seal: Some(seal(Maker::Google, "CiQB.x", false)) };
    let hidden = Thinking { text: String::new(), seal: Some(seal(Maker::OpenAi, "gAAAA", true)) };
    let mut sealed_call = call("call_1", "f", "{}");
    sealed_call.seal = Some(seal(Maker::Google, "EjQ=", false));
    let pieces =
        vec![Piece::Thinking(thinking.clone()), Piece::Thinking(hidden.clone()), Piece::ToolCall(sealed_call.clone())];
    let choice = Choice { index: 0, pieces, finish: Finish::Stop, logprobs: None };
    let response = Response { choices: vec![choice], ..Response::default() };
    let mut out = Vec::new();
    (CLIENT.write_response)(&response, &setting(), &mut out);
    let answer: Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!(answer["stop_reason"], "tool_use");
    assert_eq!(answer["content"][0]["signature"], "igc1.g.CiQB.x");
    assert_eq!(answer["content"][1], json!({ "type": "redacted_thinking", "data": "igc1.o.gAAAA" }));
    let id = &answer["content"][2]["id"];
    let history = json!({ "max_tokens": 9, "messages": [
        { "role": "assistant", "content": answer["content"] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": id, "content": "ok" }] },
    ] });
    let request = (CLIENT.read_request)(history.to_string().as_bytes()).expect("a request");
    let expected = [Body::Thinking(thinking), Body::Thinking(hidden), Body::ToolCall(sealed_call)];
    assert_eq!(request.turns[0], Turn::Assistant(expected.map(Block::of).into()));
    assert_eq!(request.turns[1], Turn::User(vec![result("call_1", "ok")]));
}

fn start() -> Delta<'static> {
    Delta::Start { id: "x".into(), model: "m".into() }
}

fn text(text: &str) -> Delta<'_> {
    Delta::Text { choice: 0, text: Cow::Borrowed(text) }
}

fn tool_start(index: u32, id: &'static str) -> Delta<'static> {
    Delta::ToolStart { choice: 0, index, id: id.into(), name: "f".into(), custom: false, seal: None }
}

fn tool_input(index: u32, json: &str) -> Delta<'_> {
    Delta::ToolInput { choice: 0, index, json: Cow::Borrowed(json) }
}

fn finish(reason: Finish) -> Delta<'static> {
    Delta::Finish { choice: 0, reason }
}

/// The stream that the deltas make.
fn streamed(deltas: &[Delta<'_>]) -> Vec<u8> {
    let mut writer = (CLIENT.stream_writer)(&setting());
    let mut out = Vec::new();
    deltas.iter().for_each(|delta| writer.write(delta, &mut out));
    let usage = Usage { input: 30, cached_input: 20, output: 7, ..Usage::default() };
    writer.finish(Some(&usage), Some(br#""provider":"xai""#), &mut out);
    out
}

/// Names and data of a stream; every event has a name, and its data says the same.
fn events(stream: &[u8]) -> Vec<Value> {
    let mut events = Vec::new();
    EventAssembler::new(1 << 20).push(stream, |event| {
        let mut joined = Vec::new();
        let data: Value = serde_json::from_slice(sse::data(event).joined(&mut joined).expect("data")).expect("JSON");
        let name = sse::name(event).expect("a name");
        assert_eq!(data["type"].as_str().map(str::as_bytes), Some(name));
        events.push(data);
    });
    events
}

/// Checks that blocks follow one another, and gives each as `kind: content`.
fn blocks(stream: &[u8]) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut open = None;
    for event in events(stream) {
        match event["type"].as_str().expect("a type") {
            "content_block_start" => {
                assert_eq!(open.replace(event["index"].clone()), None, "one block at a time");
                assert_eq!(event["index"], blocks.len());
                blocks.push(format!("{}:", event["content_block"]["type"].as_str().expect("a kind")));
            }
            "content_block_delta" => {
                assert_eq!(open.as_ref(), Some(&event["index"]));
                let delta = &event["delta"];
                let parts = ["text", "thinking", "signature", "partial_json"].map(|name| delta[name].as_str());
                blocks.last_mut().expect("a block").extend(parts.into_iter().flatten());
            }
            "content_block_stop" => assert_eq!(open.take().as_ref(), Some(&event["index"])),
            _ => assert_eq!(open, None),
        }
    }
    blocks
}

#[test]
fn interleaved_calls_become_blocks_one_after_another() {
    let out = streamed(&[
        start(),
        text("Hm"),
        tool_start(0, "a"),
        tool_input(0, "{\"x\""),
        tool_start(1, "b"),
        tool_input(1, "{\"y\""),
        text("between"),
        Delta::Thinking { choice: 0, text: "so".into() },
        Delta::Seal { choice: 0, seal: seal(Maker::Anthropic, "EqQB", false) },
        tool_input(0, ":1}"),
        tool_input(1, ":2}"),
        Delta::ToolEnd { choice: 0, index: 0 },
        tool_start(2, "c"),
        Delta::ToolEnd { choice: 0, index: 1 },
        finish(Finish::ToolCalls),
    ]);
    let expected =
        ["text:Hm", "tool_use:{\"x\":1}", "tool_use:{\"y\":2}", "text:between", "thinking:soEqQB", "tool_use:"];
    assert_eq!(blocks(&out), expected);
    let all = events(&out);
    let [.., delta, stop] = all.as_slice() else { panic!("events") };
    assert_eq!(delta["delta"], json!({ "stop_reason": "tool_use", "stop_sequence": null }));
    let usage = json!({
        "input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 20, "output_tokens": 7
    });
    assert_eq!((&delta["usage"], &delta["metadata"]), (&usage, &json!({ "provider": "xai" })));
    assert_eq!(stop["type"], "message_stop");
    assert_eq!(all[0]["message"]["id"], "msg_01");
}

/// Claude Code takes the last block of a message for its result.
#[test]
fn googles_seal_on_its_last_words_is_no_block() {
    let google = |data| seal(Maker::Google, data, false);
    let thought = |text: &'static str| Delta::Thinking { choice: 0, text: text.into() };
    let sealed = |data| Delta::Seal { choice: 0, seal: google(data) };
    let out = streamed(&[start(), thought("so"), sealed("A"), text("Hm"), sealed("B"), finish(Finish::Stop)]);
    assert_eq!(blocks(&out), ["thinking:soigc1.g.A", "text:Hm"]);
    let thinking = |text: &str, data| Piece::Thinking(Thinking { text: text.into(), seal: Some(google(data)) });
    let pieces = vec![thinking("so", "A"), Piece::Text("Hm".into()), thinking("", "B")];
    let choices = vec![Choice { index: 0, pieces, finish: Finish::Stop, logprobs: None }];
    let mut body = Vec::new();
    (CLIENT.write_response)(&Response { choices, ..Response::default() }, &setting(), &mut body);
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let kinds: Vec<_> = body["content"].as_array().expect("blocks").iter().map(|block| &block["type"]).collect();
    assert_eq!(kinds, ["thinking", "text"]);
}

#[test]
fn calls_that_nobody_ends_end_with_the_stream() {
    let deltas = [
        start(),
        tool_start(0, "a"),
        tool_start(1, "b"),
        tool_start(2, "c"),
        tool_input(2, "{}"),
        text("x"),
        tool_input(1, "{\"q\":1}"),
    ];
    assert_eq!(blocks(&streamed(&deltas)), ["tool_use:", "tool_use:{\"q\":1}", "tool_use:{}", "text:x"]);
}

#[test]
fn free_text_and_pictures_have_a_form() {
    let custom = Delta::ToolStart { choice: 0, index: 0, id: "a".into(), name: "f".into(), custom: true, seal: None };
    let image = Delta::Image { choice: 0, media_type: "image/png".into(), data: "iVBO".into() };
    let end = Delta::ToolEnd { choice: 0, index: 0 };
    let out = streamed(&[start(), custom, tool_input(0, "a \"b"), tool_input(0, "\"\n"), end, image]);
    let expected = ["tool_use:{\"input\":\"a \\\"b\\\"\\n\"}", "text:![image](data:image/png;base64,iVBO)"];
    assert_eq!(blocks(&out), expected);
}

#[test]
fn a_stream_that_breaks_has_no_clean_end() {
    let shown = Shown {
        status: 529,
        code: "provider_overloaded",
        kind: "server_error",
        message: "The provider is \"busy\".",
        param: None,
        request_id: "req_1",
    };
    let mut writer = (CLIENT.stream_writer)(&setting());
    let mut out = Vec::new();
    [start(), text("Hel")].iter().for_each(|delta| writer.write(delta, &mut out));
    writer.fail(&shown, &mut out);
    let (deltas, complete) = deltas(&out, 5);
    assert!(!complete && deltas.last().is_some_and(|last| last["error"].is_string()));
    let last = events(&out).pop().expect("an event");
    let error = json!({ "type": "overloaded_error", "message": "The provider is \"busy\".",
        "details": { "error_code": "provider_overloaded" } });
    assert_eq!(last, json!({ "type": "error", "error": error, "request_id": "req_1" }));
}

#[test]
fn errors_have_the_types_that_sdks_raise_on() {
    let rows = [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ];
    for (status, kind) in rows {
        let shown = Shown { status, code: "c", kind: "k", message: "m", param: Some("messages[0]"), request_id: "r" };
        let mut out = Vec::new();
        (CLIENT.write_error)(&shown, &mut out);
        let body: Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!(kind)), "{status}");
        assert_eq!(body["error"]["details"], json!({ "error_code": "c", "param": "messages[0]" }));
    }
    let mut out = Vec::new();
    write_count_tokens(42, &mut out);
    assert_eq!(out, br#"{"input_tokens":42}"#);
}

#[test]
fn answers_that_are_none_are_unreadable() {
    for body in
        ["", "[]", "{}", r#"{"content":"x"}"#, r#"{"content":[1]}"#, r#"{"content":[{"type":"text","text":1}]}"#]
    {
        assert!((PROVIDER.read_response)(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn tokens_are_counted_without_a_limit_and_answers_given_only_with_one() {
    let body = br#"{"model":"m","messages":[{"role":"user","content":"a"}]}"#;
    assert_eq!((CLIENT.read_request)(body).expect_err("no limit").param, "max_tokens");
    let request = super::read_count_tokens(body).expect("a limit is not asked for");
    assert_eq!((request.turns.len(), request.output_max), (1, None));
}

/// The tool runner of Anthropic's SDK opens a thread and then sends only what is new, unless it hears that there are none.
#[test]
fn a_thread_is_refused_in_the_words_that_its_sdk_knows() {
    let body = br#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"a"}],"thread":{"type":"create"}}"#;
    let refusal = (CLIENT.read_request)(body).expect_err("a thread");
    let (param, message) = (Some(refusal.param.as_ref()), refusal.message.as_ref());
    let shown = Shown { status: 400, code: "invalid_request", kind: "", message, param, request_id: "r" };
    let mut out = Vec::new();
    (CLIENT.write_error)(&shown, &mut out);
    let error: Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!(error["error"]["details"]["error_code"], "thread_unsupported_request", "{error}");
}

#[test]
fn thinking_by_budget_is_shown_unless_told_otherwise() {
    for (thinking, shown) in [
        (json!({ "type": "enabled", "budget_tokens": 2048 }), Some(true)),
        (json!({ "type": "enabled", "budget_tokens": 2048, "display": "omitted" }), Some(false)),
        (json!({ "type": "adaptive" }), None),
        (json!({ "type": "adaptive", "display": "summarized" }), Some(true)),
    ] {
        let messages = json!([{ "role": "user", "content": "a" }]);
        let body = json!({ "max_tokens": 4096, "messages": messages, "thinking": thinking }).to_string();
        let request = (CLIENT.read_request)(body.as_bytes()).expect("a request");
        assert_eq!(request.reasoning.shown, shown, "{thinking}");
    }
}

#[test]
fn requests_that_are_none_are_refused() {
    for body in ["", "[]", "1", "{", "{\"max_tokens\":1}", "{\"max_tokens\":-1,\"messages\":[]}"] {
        assert!((CLIENT.read_request)(body.as_bytes()).is_err(), "{body}");
    }
    let twice = br#"{"max_tokens":1,"max_tokens":2,"messages":[]}"#;
    assert_eq!((CLIENT.read_request)(twice).expect_err("twice").param, "max_tokens");
}

/// Deltas in the usual spelling are read by their prefix, others member by member: they say the same.
#[test]
fn the_spelling_of_an_event_changes_nothing() {
    const KINDS: [(&str, &str); 3] =
        [("text", "text_delta"), ("thinking", "thinking_delta"), ("partial_json", "input_json_delta")];
    const BLOCK: [&str; 3] = ["text", "thinking", "tool_use"];
    for (kind, words) in (0..3).flat_map(|kind| ["a", "", "\"}}", "\\", "é漢😀\n", "}}"].map(|words| (kind, words)))
    {
        let (member, name) = KINDS[kind];
        let start = json!({ "type": "content_block_start", "index": 3, "content_block": { "type": BLOCK[kind] } });
        let words = json!(words);
        let usual =
            format!(r#"{{"type":"content_block_delta","index":3,"delta":{{"type":"{name}","{member}":{words}}}}}"#);
        let other = format!(
            r#"{{"delta": {{"{member}": {words}, "type": "{name}"}}, "type": "content_block_delta", "index": 3}}"#
        );
        let read = |event: &str| deltas(format!("data: {start}\n\ndata: {event}\n\n").as_bytes(), 999).0;
        assert_eq!(read(&usual), read(&other), "{usual}");
        assert_eq!(read(&usual).len(), 1 + usize::from(kind == 2) + usize::from(words != ""), "{usual}");
    }
}

#[test]
fn comments_are_signs_of_life_until_the_end() {
    let error = b": a\n\nevent: error\ndata: {\"type\":\"error\"}\n\n: b\n\n";
    assert_eq!(deltas(error, 9).0, [json!("ping"), json!({ "error": "{\"type\":\"error\"}" })]);
}

proptest! {
    /// Whatever comes, nothing panics, a cut changes nothing, and what is written has a form.
    #[test]
    fn no_stream_breaks_reader_or_writer(
        kinds in proptest::collection::vec((0usize..14, 0u64..3), 0..12),
        noise in proptest::collection::vec(any::<u8>(), 0..40),
        step in 1usize..40,
    ) {
        const EVENTS: [&str; 14] = [
            r#"{"type":"message_start","message":{"id":"i","usage":{"input_tokens":1}}}"#,
            r#"{"type":"content_block_start","index":#,"content_block":{"type":"text","text":"a"}}"#,
            r#"{"type":"content_block_start","index":#,"content_block":{"type":"tool_use","name":"f","input":{}}}"#,
            r#"{"type":"content_block_start","index":#,"content_block":{"type":"thinking","thinking":""}}"#,
            r#"{"type":"content_block_start","index":#,"content_block":{"type":"redacted_thinking","data":"d"}}"#,
            r#"{"type":"content_block_delta","index":#,"delta":{"text":"b"}}"#,
            r#"{"type":"content_block_delta","index":#,"delta":{"partial_json":"{}"}}"#,
            r#"{"type":"content_block_delta","index":#,"delta":{"thinking":"c","signature":"s"}}"#,
            r#"{"type":"content_block_stop","index":#}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":#}}"#,
            r#"{"type":"message_stop"}"#,
            r#"{"type":"error","error":{}}"#,
            r#"{"type":"content_block_start","index":#}"#,
            r#"{"type":"content_block_delta","index":"x"}"#,
        ];
        let mut stream = Vec::new();
        for (kind, index) in kinds {
            stream.extend_from_slice(format!("data: {}\n\n", EVENTS[kind].replace('#', &index.to_string())).as_bytes());
        }
        stream.extend_from_slice(&noise);
        let whole = deltas(&stream, stream.len().max(1));
        prop_assert_eq!(&deltas(&stream, step), &whole);
        let errors = whole.0.iter().position(|delta| delta.get("error").is_some());
        prop_assert!(errors.is_none_or(|place| place + 1 == whole.0.len()), "nothing follows an error");
        let mut reader = (PROVIDER.stream_reader)();
        let mut writer = (CLIENT.stream_writer)(&setting());
        let mut out = Vec::new();
        let mut seen = Vec::new();
        reader.push(&stream, &mut |delta| {
            seen.push(dump_delta(&delta));
            writer.write(&delta, &mut out);
        });
        writer.finish(None, None, &mut out);
        prop_assert_eq!(seen, whole.0);
        blocks(&out);
    }

    #[test]
    fn no_body_breaks_a_reader(body in "\\PC{0,60}|[{}\\[\\]\":,a-z0-9]{0,60}") {
        let _ = (CLIENT.read_request)(body.as_bytes());
        let _ = (PROVIDER.read_response)(body.as_bytes());
    }
}
