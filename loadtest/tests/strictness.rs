//! The simulator refuses what the real service refuses, in its words, and notes what no provider should have seen.

use igris_load::Simulator;
use igris_load::simulator::Outcome;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const KEY: &str = "sk-sim-0123456789abcdef";

fn simulator() -> Simulator {
    Simulator::builder().keys([KEY]).models(["gpt-4o", "gpt-5.6-sol"]).start().expect("a loopback port")
}

/// Sends raw bytes, half-closes nothing, and reads until the answer is whole by its length or the peer closes.
fn raw(simulator: &Simulator, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(simulator.addr()).expect("the simulator listens");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout can be set");
    stream.write_all(bytes).expect("the simulator reads");
    let mut answer = Vec::new();
    let mut room = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if length.is_some_and(|length| body.len() >= length.parse::<usize>().expect("a number")) {
                return text;
            }
        }
        match stream.read(&mut room) {
            Ok(0) => return text,
            Ok(read) => answer.extend_from_slice(&room[..read]),
            Err(reason) => panic!("no whole answer: {reason}; so far {text:?}"),
        }
    }
}

fn post(simulator: &Simulator, fields: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\ncontent-type: application/json\r\n{fields}content-length: {length}\r\n\r\n{body}"
    );
    let answer = raw(simulator, request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    (status, serde_json::from_str(body).expect("a JSON body"))
}

fn ask(simulator: &Simulator, body: &Value) -> (u16, Value) {
    post(simulator, &format!("authorization: Bearer {KEY}\r\n"), &body.to_string())
}

fn chat(extra: Value) -> Value {
    let mut body = json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": "hello" }] });
    for (name, value) in extra.as_object().expect("an object of fields") {
        body[name] = value.clone();
    }
    body
}

#[test]
fn a_good_request_is_answered_in_full() {
    let simulator = simulator();
    let (status, answer) = ask(&simulator, &chat(json!({ "n": 2, "max_completion_tokens": 3 })));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "gpt-4o");
    assert_eq!(answer["choices"].as_array().map(Vec::len), Some(2));
    assert_eq!(answer["choices"][1]["finish_reason"], "length");
    assert_eq!(answer["usage"]["prompt_tokens"], 2, "five bytes are two tokens");
    assert_eq!(answer["usage"]["completion_tokens"], 6);
    assert_eq!(answer["usage"]["total_tokens"], 8);
    let (_, again) = ask(&simulator, &chat(json!({ "n": 2, "max_completion_tokens": 3 })));
    assert_eq!(answer, again, "the answer is a function of the request");
    let (_, other) = ask(&simulator, &chat(json!({ "n": 2, "max_completion_tokens": 3, "seed": 4 })));
    assert_ne!(answer["id"], other["id"]);
    assert!(simulator.truth().wait_settled(Duration::from_secs(5)));
    let record = simulator.truth().last().expect("three requests");
    assert_eq!(
        (record.outcome, record.completion_tokens, record.key.as_deref()),
        (Outcome::Completed, 6, Some("…cdef"))
    );
    assert!(simulator.truth().violations().is_empty(), "{:?}", simulator.truth().violations());
}

#[test]
fn wrong_fields_are_named() {
    let simulator = simulator();
    let message = |role: &str| json!({ "messages": [{ "role": role, "content": "x" }] });
    let tool = json!({ "type": "function", "function": { "name": "f" } });
    let table = [
        (json!({ "frobnicate": 1 }), "frobnicate", json!("unknown_parameter")),
        (json!({ "routing_policy": "cost" }), "routing_policy", json!("unknown_parameter")),
        (json!({ "temperature": "hot" }), "temperature", json!("invalid_type")),
        (json!({ "temperature": 2.5 }), "temperature", json!("invalid_value")),
        (json!({ "max_tokens": 1.5 }), "max_tokens", json!("invalid_type")),
        (json!({ "max_tokens": 0 }), "max_tokens", json!("invalid_value")),
        (json!({ "stream": "yes" }), "stream", json!("invalid_type")),
        (json!({ "stream_options": { "include_usage": true } }), "stream_options", Value::Null),
        (json!({ "n": 0 }), "n", json!("invalid_value")),
        (json!({ "stop": ["a", "b", "c", "d", "e"] }), "stop", json!("invalid_value")),
        (json!({ "reasoning_effort": "enormous" }), "reasoning_effort", json!("invalid_value")),
        (json!({ "messages": [] }), "messages", json!("empty_array")),
        (json!({ "messages": null }), "messages", json!("invalid_type")),
        (message("wizard"), "messages[0].role", json!("invalid_value")),
        (json!({ "messages": [{ "role": "user" }] }), "messages[0].content", Value::Null),
        (
            json!({ "messages": [{ "role": "user", "content": "x", "mood": 1 }] }),
            "messages[0].mood",
            json!("unknown_parameter"),
        ),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "film" }] }] }),
            "messages[0].content[0].type",
            json!("invalid_value"),
        ),
        (
            json!({ "messages": [{ "role": "tool", "content": "x", "tool_call_id": "c" }] }),
            "messages[0].role",
            Value::Null,
        ),
        (json!({ "tool_choice": "auto" }), "tool_choice", Value::Null),
        (json!({ "tools": [{ "type": "function" }] }), "tools[0].function.name", json!("missing_required_parameter")),
        (
            json!({ "tools": [tool.clone()], "tool_choice": { "type": "function", "function": { "name": "g" } } }),
            "tool_choice",
            json!("invalid_value"),
        ),
        (json!({ "response_format": { "type": "json_object" } }), "messages", Value::Null),
        (json!({ "model": "gpt-5.6-sol", "max_tokens": 5 }), "max_tokens", json!("unsupported_parameter")),
        (json!({ "model": "gpt-5.6-sol", "temperature": 0 }), "temperature", json!("unsupported_value")),
        (json!({ "user": "sim:fault=nonsense" }), "sim", json!("invalid_value")),
    ];
    for (extra, param, code) in table {
        let (status, answer) = ask(&simulator, &chat(extra.clone()));
        assert_eq!(status, 400, "{extra} gave {answer}");
        assert_eq!(answer["error"]["param"], param, "{extra} gave {answer}");
        assert_eq!(answer["error"]["code"], code, "{extra} gave {answer}");
        assert_eq!(answer["error"]["type"], "invalid_request_error");
    }
    assert!(simulator.truth().wait_settled(Duration::from_secs(5)));
    let counts = simulator.truth().counts();
    assert_eq!((counts.prompt_tokens, counts.completion_tokens), (0, 0), "refusals cost nothing");
    assert_eq!(simulator.truth().violations()[0].rule, "gateway-field");
}

#[test]
fn what_is_inside_a_field_is_known_too() {
    let simulator = simulator();
    let said = |role: &str, part: Value| json!({ "messages": [{ "role": role, "content": [part] }] });
    let tool = |function: Value| json!({ "tools": [{ "type": "function", "function": function }] });
    let image = |more: Value| {
        let mut image = json!({ "url": "https://example.com/a.png" });
        for (name, value) in more.as_object().expect("an object of fields") {
            image[name] = value.clone();
        }
        json!({ "type": "image_url", "image_url": image })
    };
    let marked = json!({ "type": "text", "text": "x", "cache_control": { "type": "ephemeral" } });
    let call = json!([{ "role": "user", "content": "x" },
        { "role": "assistant", "tool_calls": [{ "id": "c1", "type": "function", "function": { "name": "f", "arguments": {} } }] },
        { "role": "tool", "tool_call_id": "c1", "content": "42" }]);
    let format = json!({ "type": "json_schema", "json_schema": { "name": "s", "schema": {}, "colour": 1 } });
    let table = [
        (said("user", marked), "messages[0].content[0].cache_control", "unknown_parameter"),
        (said("user", json!({ "type": "text", "text": 4 })), "messages[0].content[0].text", "invalid_type"),
        (said("user", image(json!({ "detail": "vast" }))), "messages[0].content[0].image_url.detail", "invalid_value"),
        (said("user", image(json!({ "colour": 1 }))), "messages[0].content[0].image_url.colour", "unknown_parameter"),
        (said("system", image(json!({}))), "messages[0].content[0].type", "invalid_value"),
        (said("user", json!({ "type": "refusal", "refusal": "no" })), "messages[0].content[0].type", "invalid_value"),
        (json!({ "messages": call }), "messages[1].tool_calls[0].function.arguments", "invalid_type"),
        (tool(json!({ "name": "f", "input_schema": {} })), "tools[0].function.input_schema", "unknown_parameter"),
        (tool(json!({ "name": "f", "parameters": "x" })), "tools[0].function.parameters", "invalid_type"),
        (json!({ "response_format": format }), "response_format.json_schema.colour", "unknown_parameter"),
        (json!({ "metadata": { "a": 1 } }), "metadata.a", "invalid_type"),
        (json!({ "stream": true, "stream_options": { "x": 1 } }), "stream_options.x", "unknown_parameter"),
    ];
    for (extra, param, code) in table {
        let (status, answer) = ask(&simulator, &chat(extra.clone()));
        assert_eq!((status, &answer["error"]["param"]), (400, &json!(param)), "{extra} gave {answer}");
        assert_eq!(answer["error"]["code"], code, "{extra} gave {answer}");
    }
    assert_eq!(ask(&simulator, &chat(said("user", image(json!({ "detail": "low" }))))).0, 200);
}

#[test]
fn a_tool_conversation_must_be_whole() {
    let simulator = simulator();
    let call = json!({ "role": "assistant", "content": null,
        "tool_calls": [{ "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{}" } }] });
    let user = json!({ "role": "user", "content": "x" });
    let answer = json!({ "role": "tool", "tool_call_id": "c1", "content": "42" });
    let good = chat(json!({ "messages": [user, call, answer] }));
    assert_eq!(ask(&simulator, &good).0, 200);
    for bad in [json!([user, call]), json!([user, call, user]), json!([user, answer])] {
        assert_eq!(ask(&simulator, &chat(json!({ "messages": bad }))).0, 400, "{bad}");
    }
}

#[test]
fn keys_models_paths_and_json_are_checked() {
    let simulator = simulator();
    let good = chat(json!({})).to_string();
    let (status, answer) = post(&simulator, "", &good);
    assert_eq!((status, &answer["error"]["code"]), (401, &Value::Null));
    let (status, answer) = post(&simulator, "authorization: Bearer sk-wrong-000000001234\r\n", &good);
    assert_eq!((status, &answer["error"]["code"]), (401, &json!("invalid_api_key")));
    let message = answer["error"]["message"].as_str().expect("a sentence");
    assert!(
        message.contains("sk-wrong****") && message.contains("1234") && !message.contains("000000001234"),
        "{message}"
    );
    let (status, answer) = ask(&simulator, &chat(json!({ "model": "gpt-9" })));
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("model_not_found")));
    let (status, _) = post(&simulator, &format!("authorization: Bearer {KEY}\r\n"), "{\"model\":");
    assert_eq!(status, 400);
    for line in ["GET /v1/chat/completions", "POST /v1/models", "POST /v2/chat/completions", "GET /v1/nothing"] {
        let request = format!("{line} HTTP/1.1\r\nhost: sim\r\nauthorization: Bearer {KEY}\r\n\r\n");
        assert!(raw(&simulator, request.as_bytes()).starts_with("HTTP/1.1 404 "), "{line}");
    }
    let request = format!("GET /v1/models HTTP/1.1\r\nhost: sim\r\nauthorization: Bearer {KEY}\r\n\r\n");
    assert!(raw(&simulator, request.as_bytes()).contains(r#""id":"gpt-5.6-sol","object":"model""#));
    simulator.set_keys(["sk-sim-another-key-0001"]);
    assert_eq!(ask(&simulator, &chat(json!({}))).0, 401, "a revoked key is refused from the next request on");
}

#[test]
fn malformed_http_is_refused_and_noted() {
    let simulator = simulator();
    let table = [
        "GET /v1/models HTTP/1.1\nhost: a\n\n",
        "GET /v1/models HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET /v1/models HTTP/1.1\r\n\r\n",
        "GET http://sim/v1/models HTTP/1.1\r\nhost: sim\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ];
    for (position, text) in table.iter().enumerate() {
        assert!(raw(&simulator, text.as_bytes()).starts_with("HTTP/1.1 400 "), "{text:?}");
        let violations = simulator.truth().violations();
        assert_eq!(violations.len(), position + 1, "{text:?} gave {violations:?}");
        assert_eq!(violations[position].rule, "malformed-http");
    }
}

#[test]
fn what_a_gateway_must_keep_back_is_noted() {
    let simulator = simulator();
    let fields = format!(
        "authorization: Bearer {KEY}\r\nx-igris-provider: openai\r\naccept-encoding: gzip, br\r\nte: trailers\r\n\
         x-forwarded: sk-igris-secret\r\n"
    );
    let body = r#"{"model":"gpt-4o","model":"gpt-4o","messages":[{"role":"user","content":"x"}]}"#;
    assert_eq!(post(&simulator, &fields, body).0, 200);
    let mut rules: Vec<_> = simulator.truth().violations().iter().map(|violation| violation.rule).collect();
    rules.sort_unstable();
    let expected = ["accept-encoding", "access-key-leaked", "gateway-header", "hop-by-hop-header", "repeated-field"];
    assert_eq!(rules, expected);
}

#[test]
fn the_answer_is_pinned() {
    // Recorded runs and other machines rely on these bytes: change them knowingly.
    let (_, answer) = ask(&simulator(), &chat(json!({ "max_tokens": 5 })));
    assert_eq!(answer["id"], "chatcmpl-7kczv0a6EqiUndBCxKTQtHmvq4DzY");
    assert_eq!(answer["created"], 1_765_060_763);
    assert_eq!(answer["choices"][0]["message"]["content"], "morning a 3.14 engine tab\there");
}
