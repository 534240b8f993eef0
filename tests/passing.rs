//! What both sides speak passes: members that no version of the gateway has heard of arrive at the provider and come back to the client, at
//! any depth, for every format that clients and providers share.

mod support;

use serde_json::{Value, json};
use support::{ACCESS_KEY, Gateway, Scripted, bearer, post_with};

/// A member that does not exist anywhere.
const NEW: &str = "x_of_tomorrow";

struct Case {
    provider: &'static str,
    /// What stands between the provider's origin and the format's own paths.
    base: &'static str,
    path: &'static str,
    request: Value,
    answer: Value,
}

/// Whatever JSON can hold, with numbers and escapes in forms that a reader would write otherwise.
const ODD: &str = r#"{"deep":[{"er":[1.50,-0.0,1e2,"\u00e9",null,true]}],"":{} }"#;

/// Stands for [`ODD`] where cases are written as values.
fn odd() -> Value {
    json!("@odd@")
}

/// A case's text, with what `odd` stands for.
fn text_of(value: &Value) -> String {
    value.to_string().replace("\"@odd@\"", ODD)
}

fn cases() -> [Case; 4] {
    [
        Case {
            provider: "openai",
            base: "/v1",
            path: "/v1/chat/completions",
            request: json!({ "model": "openai/gpt-4.1", NEW: odd(),
                "messages": [{ "role": "user", NEW: odd(), "content": [{ "type": "text", "text": "Hi", NEW: odd() }] }],
                "tools": [{ "type": "function", NEW: 1, "function": { "name": "f", NEW: odd(),
                    "parameters": { "type": "object", NEW: 2 } } }] }),
            answer: json!({ "id": "c", "object": "chat.completion", "model": "gpt-4.1", NEW: odd(),
                "choices": [{ "index": 0, NEW: 1,
                "message": { "role": "assistant", "content": "Hi", NEW: odd() }, "finish_reason": "stop" }],
                "usage": { "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, NEW: 3 } }),
        },
        Case {
            provider: "openai",
            base: "/v1",
            path: "/v1/responses",
            request: json!({ "model": "openai/gpt-5.4", "store": false, NEW: odd(),
                "input": [{ "role": "user", NEW: odd(), "content": [{ "type": "input_text", "text": "Hi",
                    NEW: odd() }] },
                    { "type": "item_of_tomorrow", NEW: odd() }],
                "tools": [{ "type": "tool_of_tomorrow", NEW: odd() }] }),
            answer: json!({ "id": "resp_1", "object": "response", "status": "completed", "model": "gpt-5.4", NEW: odd(),
                "output": [{ "type": "item_of_tomorrow", NEW: odd() }],
                "usage": { "input_tokens": 1, "output_tokens": 1, "total_tokens": 2, NEW: 3 } }),
        },
        Case {
            provider: "anthropic",
            base: "",
            path: "/v1/messages",
            request: json!({ "model": "anthropic/claude-opus-5", "max_tokens": 10, NEW: odd(),
                "messages": [{ "role": "user", NEW: odd(), "content": [{ "type": "block_of_tomorrow", NEW: odd() }] }],
                "tools": [{ "name": "f", NEW: odd(), "input_schema": { "type": "object", NEW: 2 } }] }),
            answer: json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-5", NEW: odd(),
                "content": [{ "type": "block_of_tomorrow", NEW: odd() }], "stop_reason": "end_turn",
                "usage": { "input_tokens": 1, "output_tokens": 1, NEW: 3 } }),
        },
        Case {
            provider: "google",
            base: "",
            path: "/v1beta/models/google/gemini-2.5-flash:generateContent",
            request: json!({ NEW: odd(), "contents": [{ "role": "user", NEW: odd(), "parts": [{ "text": "Hi",
                NEW: odd() }, { NEW: {} }] }],
                "generationConfig": { NEW: odd() }, "tools": [{ NEW: odd() }] }),
            answer: json!({ NEW: odd(), "candidates": [{ "index": 0, NEW: odd(), "finishReason": "STOP",
                "content": { "role": "model", "parts": [{ NEW: odd() }] } }],
                "usageMetadata": { "promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2, NEW: 3 } }),
        },
    ]
}

/// A body without the members in which the gateway has a say, the model's name and its own note; and how often the odd text is in it, to the
/// letter.
fn compared(text: &str) -> (String, usize) {
    let mut body: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    if let Value::Object(members) = &mut body {
        members.shift_remove("model");
        members.shift_remove("metadata");
    }
    (body.to_string(), text.matches(ODD).count())
}

#[test]
fn members_of_tomorrow_pass_at_every_depth() {
    for case in cases() {
        let answer = text_of(&case.answer);
        let upstream = Scripted::start(
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
                answer.len()
            )
            .as_bytes(),
        );
        let origin = upstream.base_url().trim_end_matches("/v1").to_owned();
        let gateway = Gateway::builder().provider_at(case.provider, &format!("{origin}{}", case.base), "").start();
        let sent = text_of(&case.request);
        let answer = gateway.ask(&post_with(case.path, &bearer(ACCESS_KEY), sent.as_bytes()));
        assert_eq!(answer.status, 200, "{}: {}", case.path, answer.text());
        let arrived = String::from_utf8(upstream.last_body()).expect("JSON is text");
        assert_eq!(compared(&arrived), compared(&sent), "{}", case.path);
        assert_eq!(compared(&answer.text()), compared(&text_of(&case.answer)), "{}", case.path);
    }
}
