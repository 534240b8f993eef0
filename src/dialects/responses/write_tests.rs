//! What the writers for clients promise beside the golden files.

use super::CLIENT;
use super::golden_tests::{events, setting};
use crate::chat::delta::Delta;
use crate::chat::request::{Maker, Seal, Thinking, ToolCall};
use crate::chat::response::{Choice, Finish, Piece, Response};
use crate::chat::shown::Shown;
use crate::domain::token::Usage;
use serde_json::{Value, json};
use std::borrow::Cow;

const REQUEST: &[u8] =
    br#"{"model":"m","input":"hi","instructions":"Be brief.","metadata":{"job":"7"},"temperature":0.20,
    "tools":[{"type":"function","name":"look","parameters":null,"strict":false}],"reasoning":null}"#;

fn answer(pieces: Vec<Piece>, finish: Finish) -> Response {
    let usage = Usage {
        input: 20,
        output: 9,
        cached_input: 8,
        cache_write: 5,
        cache_write_long: 2,
        reasoning: 4,
        ..Usage::default()
    };
    let choices = vec![Choice { index: 0, pieces, finish, logprobs: None }];
    Response { id: "msg_1".into(), model: "m".into(), choices, usage: Some(usage), service_tier: Some("flex".into()) }
}

fn written(response: &Response) -> Value {
    let mut out = Vec::new();
    (CLIENT.write_response)(response, &setting(REQUEST), &mut out);
    assert!(!out.contains(&b'\n'));
    serde_json::from_slice(&out).expect("JSON")
}

fn call(id: &str, seal: Option<Seal>) -> Piece {
    Piece::ToolCall(ToolCall { id: id.into(), name: "look".into(), input: r#"{"q":1.0}"#.into(), custom: false, seal })
}

#[test]
fn a_whole_answer_has_what_typed_clients_need() {
    let seal = Seal { maker: Maker::Anthropic, data: "sig".into(), redacted: false };
    let thought = Thinking { text: "Hm.".into(), seal: Some(seal) };
    let on_call = Seal { maker: Maker::Google, data: "CiQ".into(), redacted: false };
    let pieces = vec![
        Piece::Thinking(thought),
        Piece::Text("Let me ".into()),
        Piece::Text("see.".into()),
        call("call_1", Some(on_call)),
    ];
    let response = written(&answer(pieces, Finish::ToolCalls));
    assert_eq!(
        response["output"],
        json!([
            {"id": "rs_01J_0", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}],
                "encrypted_content": "igc1.a.s.c2ln"},
            {"id": "msg_01J_1", "type": "message", "status": "completed", "role": "assistant",
                "content": [{"type": "output_text", "text": "Let me see.", "annotations": [], "logprobs": []}]},
            {"id": "fc_01J_2", "type": "function_call", "status": "completed",
                "call_id": response["output"][2]["call_id"], "name": "look", "arguments": "{\"q\":1.0}"},
        ])
    );
    let packed = response["output"][2]["call_id"].as_str().expect("an id");
    assert!(packed.starts_with("call_1-igc1-"), "{packed}");
    assert_eq!(
        response["usage"],
        json!({"input_tokens": 20, "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 5,
            "cache_write_tokens_details": {"ttl_12h_tokens": 2, "ttl_30m_tokens": 3}}, "output_tokens": 9,
            "output_tokens_details": {"reasoning_tokens": 4}, "total_tokens": 29})
    );
    for (name, value) in [
        ("id", json!("resp_01J")),
        ("object", json!("response")),
        ("status", json!("completed")),
        ("created_at", json!(1_795_416_713)),
        ("model", json!("claude-opus-5-5")),
        ("error", json!(null)),
        ("incomplete_details", json!(null)),
        ("instructions", json!("Be brief.")),
        ("parallel_tool_calls", json!(true)),
        ("temperature", json!(0.2)),
        ("tool_choice", json!("auto")),
        ("tools", json!([{"type": "function", "name": "look", "parameters": null, "strict": false}])),
        ("reasoning", json!({"effort": null, "summary": null})),
        ("text", json!({"format": {"type": "text"}})),
        ("service_tier", json!("flex")),
        ("truncation", json!("disabled")),
        ("metadata", json!({"job": "7"})),
    ] {
        assert_eq!(response[name], value, "{name}");
    }
}

#[test]
fn what_an_answer_gives_comes_back_as_history() {
    let seal = Seal { maker: Maker::Google, data: "CiQB+/==".into(), redacted: false };
    let redacted = Seal { maker: Maker::Anthropic, data: "opaque".into(), redacted: true };
    let pieces = vec![
        Piece::Thinking(Thinking { text: String::new(), seal: Some(redacted.clone()) }),
        Piece::Refusal("No.".into()),
        call("call_1", Some(seal.clone())),
        call("call_2", None),
    ];
    let output = written(&answer(pieces, Finish::ToolCalls))["output"].clone();
    let mut input = output.as_array().expect("items").clone();
    for item in &output.as_array().expect("items")[2..] {
        input.push(json!({"type": "function_call_output", "call_id": item["call_id"], "output": "ok"}));
    }
    let body = json!({"model": "m", "input": input}).to_string();
    let request = (CLIENT.read_request)(body.as_bytes()).expect("a request");
    let dumped = super::dump::request(&request);
    assert_eq!(
        dumped["turns"],
        json!([
            {"assistant": [
                {"thinking": {"seal": {"maker": "anthropic", "data": "opaque", "redacted": true}}},
                {"refusal": "No."},
                {"call": {"id": "call_1", "name": "look", "input": "{\"q\":1.0}",
                    "seal": {"maker": "google", "data": "CiQB+/=="}}},
                {"call": {"id": "call_2", "name": "look", "input": "{\"q\":1.0}"}},
            ]},
            {"user": [
                {"result": {"id": "call_1", "content": [{"text": "ok"}]}},
                {"result": {"id": "call_2", "content": [{"text": "ok"}]}},
            ]},
        ])
    );
    assert_eq!(dumped.get("dropped"), None);
}

/// Codex has no `tools` where it knows the model: they stand in an item, most of them in the namespace of tools that are in none.
#[test]
fn tools_in_an_item_of_the_input_are_tools() {
    let offer = |tools: Value| json!({ "type": "additional_tools", "role": "developer", "tools": tools });
    let function = |name: &str, about: &str| json!({ "type": "function", "name": name, "description": about });
    let plain = json!({ "type": "namespace", "name": "functions", "description": "",
        "tools": [{ "type": "custom", "name": "exec" }, function("wait", "old")] });
    let other = json!({ "type": "namespace", "name": "team", "tools": [function("spawn", "")] });
    let input = json!([offer(json!([plain, other])), { "role": "user", "content": "x" },
        offer(json!([function("wait", "new")]))]);
    let body = json!({ "model": "m", "input": input }).to_string();
    let request = (CLIENT.read_request)(body.as_bytes()).expect("a request");
    let tools: Vec<_> = request.tools.iter().map(|tool| (&*tool.name, tool.description.as_deref())).collect();
    assert_eq!(tools, [("exec", None), ("wait", Some("new")), ("team__spawn", Some(""))]);
    assert_eq!((request.turns.len(), &request.dropped[..]), (1, &[][..]));
}

#[test]
fn the_limits_of_an_answer_are_told() {
    for (finish, reason) in [(Finish::Length, "max_output_tokens"), (Finish::ContentFilter, "content_filter")] {
        let response = written(&answer(vec![Piece::Text("Half a".into())], finish));
        assert_eq!(response["status"], "incomplete");
        assert_eq!(response["incomplete_details"], json!({"reason": reason}));
        assert_eq!(response["output"][0]["status"], "incomplete");
    }
    let empty = written(&answer(Vec::new(), Finish::Stop));
    assert_eq!((&empty["status"], &empty["output"]), (&json!("completed"), &json!([])));
}

/// Whatever the deltas, the last event has the items that were completed before, in order, and each was added first.
#[test]
fn the_last_event_repeats_the_items() {
    let mut writer = (CLIENT.stream_writer)(&setting(REQUEST));
    let mut out = Vec::new();
    let (choice, text) = (0, Cow::Borrowed("a\n\"b\""));
    let start = |index, id: &'static str| Delta::ToolStart {
        choice,
        index,
        id: Cow::Borrowed(id),
        name: Cow::Borrowed("look"),
        custom: false,
        seal: None,
    };
    let input = |index, json: &'static str| Delta::ToolInput { choice, index, json: Cow::Borrowed(json) };
    for delta in [
        Delta::Text { choice, text: text.clone() },
        start(0, "c0"),
        start(1, "c1"),
        input(1, "{\"b\":"),
        input(0, "{\"a\":1}"),
        input(1, "2}"),
        Delta::Text { choice, text: text.clone() },
        Delta::ToolEnd { choice, index: 1 },
        Delta::Text { choice: 1, text },
        Delta::Finish { choice, reason: Finish::ToolCalls },
    ] {
        writer.write(&delta, &mut out);
    }
    writer.finish(None, None, &mut out);
    let events = events(&out);
    let of = |kind: &str| -> Vec<&Value> { events.iter().filter(|event| event["type"] == kind).collect() };
    let mut done: Vec<(u64, &Value)> = of("response.output_item.done")
        .into_iter()
        .map(|event| (event["output_index"].as_u64().expect("an index"), &event["item"]))
        .collect();
    done.sort_by_key(|(index, _)| *index);
    let items: Vec<&Value> = done.into_iter().map(|(_, item)| item).collect();
    let last = events.last().expect("events");
    assert_eq!(last["type"], "response.completed");
    assert_eq!(json!(items), last["response"]["output"]);
    let added: Vec<&Value> = of("response.output_item.added").into_iter().map(|event| &event["item"]["id"]).collect();
    assert_eq!(json!(added), json!(["msg_01J_0", "fc_01J_1", "fc_01J_2", "msg_01J_3"]));
    assert_eq!(items[2]["arguments"], "{\"b\":2}");
    assert_eq!(items[0]["content"][0]["text"], "a\n\"b\"");
}

#[test]
fn a_failure_is_no_clean_end() {
    let shown = |status| Shown {
        status,
        code: "upstream_error",
        kind: "api_error",
        message: "It \"broke\".",
        param: None,
        request_id: "r",
    };
    for (status, code) in [(429, "rate_limit_exceeded"), (503, "server_error")] {
        let mut writer = (CLIENT.stream_writer)(&setting(REQUEST));
        let mut out = Vec::new();
        writer.write(&Delta::Text { choice: 0, text: Cow::Borrowed("Half") }, &mut out);
        writer.fail(&shown(status), &mut out);
        writer.finish(None, None, &mut out);
        writer.write(&Delta::Text { choice: 0, text: Cow::Borrowed("more") }, &mut out);
        let events = events(&out);
        let last = events.last().expect("events");
        assert_eq!(last["type"], "response.failed");
        assert_eq!(last["response"]["error"], json!({"code": code, "message": "It \"broke\"."}));
        assert_eq!(last["response"]["status"], "failed");
    }
}

#[test]
fn errors_have_openais_shape() {
    let mut out = Vec::new();
    let shown = Shown {
        status: 400,
        code: "bad",
        kind: "invalid_request_error",
        message: "No.",
        param: Some("input"),
        request_id: "r",
    };
    (CLIENT.write_error)(&shown, &mut out);
    assert_eq!(out, br#"{"error":{"message":"No.","type":"invalid_request_error","param":"input","code":"bad"}}"#);
}
