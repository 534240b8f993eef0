//! What clients of Google's SDKs get, and that what they echo means the same again.
//!
//! A client may keep whole turns, calls with their signatures alone, or thoughts without signatures: other makers'
//! seals must come back from each of these.

use super::*;
use crate::chat::request::{Block, Body, Request, Seal, Turn};
use crate::chat::response::Finish;
use crate::dialects::gemini::CLIENT;
use crate::domain::token::Usage;

const SETTING: Setting<'_> = Setting { id: "abc", model: "claude-x", created: 1, usage_event: false, request: b"{}" };

fn written(response: &Response) -> Value {
    let mut out = Vec::new();
    write(response, &SETTING, &mut out);
    serde_json::from_slice(&out).expect("JSON")
}

fn of(pieces: Vec<Piece>, finish: Finish) -> Response {
    let choice = Choice { index: 0, pieces, finish, logprobs: None };
    Response { choices: vec![choice], ..Response::default() }
}

fn seal(maker: Maker, redacted: bool) -> Option<Seal> {
    Some(Seal { maker, data: "EqQB+/==".into(), redacted })
}

fn tool_call(seal: Option<Seal>) -> ToolCall {
    ToolCall { id: "toolu_1".into(), name: "f".into(), input: "{\"x\":1.0}".into(), custom: false, seal }
}

/// The blocks of the model's turn that a client's echo is read as.
fn echoed(contents: Value) -> Vec<Block> {
    let body = json!({"contents": contents}).to_string();
    let Request { mut turns, .. } = (CLIENT.read_request)(body.as_bytes()).expect("a request");
    match turns.pop() {
        Some(Turn::Assistant(blocks)) => blocks,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_has_the_shape_of_googles() {
    let usage = Usage { input: 10, output: 7, reasoning: 4, cached_input: 8, ..Usage::default() };
    let pieces = vec![
        Piece::Thinking(Thinking { text: "Hm.".into(), seal: None }),
        Piece::Text("Hi".into()),
        Piece::Image { media_type: "image/png".into(), data: "AAAA".into() },
    ];
    let response = Response { usage: Some(usage), ..of(pieces, Finish::Length) };
    let expected = json!({
        "candidates": [{
            "content": {"parts": [
                {"text": "Hm.", "thought": true},
                {"text": "Hi"},
                {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
            ], "role": "model"},
            "finishReason": "MAX_TOKENS", "index": 0,
        }],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 3, "thoughtsTokenCount": 4,
            "cachedContentTokenCount": 8, "totalTokenCount": 17},
        "modelVersion": "claude-x", "responseId": "abc",
    });
    assert_eq!(written(&response), expected);
}

#[test]
fn nothing_has_a_part_and_odd_input_is_an_object() {
    let empty = written(&of(vec![], Finish::ContentFilter));
    assert_eq!(empty["candidates"][0]["content"]["parts"], json!([{"text": ""}]));
    assert_eq!(empty["candidates"][0]["finishReason"], "SAFETY");
    for (input, custom, args) in [
        ("", false, json!({})),
        ("{\"x\":", false, json!({"_raw": "{\"x\":"})),
        ("[1]", false, json!({"_raw": "[1]"})),
        ("free", true, json!({"input": "free"})),
    ] {
        let call = ToolCall { input: input.into(), custom, ..tool_call(None) };
        let written = written(&of(vec![Piece::ToolCall(call)], Finish::ToolCalls));
        let expected = json!({"functionCall": {"id": "toolu_1", "name": "f", "args": args}});
        assert_eq!(written["candidates"][0]["content"]["parts"][0], expected);
        assert_eq!(written["candidates"][0]["finishReason"], "STOP");
    }
}

#[test]
fn foreign_seals_survive_an_echo_of_any_care() {
    let thought = Thinking { text: "Let me see.".into(), seal: seal(Maker::Anthropic, false) };
    let hidden = Thinking { text: String::new(), seal: seal(Maker::Anthropic, true) };
    let pieces = vec![
        Piece::Thinking(thought.clone()),
        Piece::Thinking(hidden.clone()),
        Piece::Text("I call.".into()),
        Piece::ToolCall(tool_call(None)),
    ];
    let answer = written(&of(pieces, Finish::ToolCalls));
    let content = &answer["candidates"][0]["content"];
    let expected = vec![
        Block::of(Body::Thinking(thought.clone())),
        Block::of(Body::Thinking(hidden.clone())),
        Block::text("I call."),
        Block::of(Body::ToolCall(tool_call(None))),
    ];
    assert_eq!(echoed(content.clone()), expected, "kept whole");

    // A client that keeps calls with their signatures alone.
    let calls = json!({"role": "model", "parts": [content["parts"][3]]});
    let expected = vec![
        Block::of(Body::Thinking(thought.clone())),
        Block::of(Body::Thinking(hidden)),
        Block::of(Body::ToolCall(tool_call(None))),
    ];
    assert_eq!(echoed(calls), expected);

    // One that keeps thoughts, but no signature on them.
    let mut bare = content["parts"][0].clone();
    bare.as_object_mut().expect("a part").remove("thoughtSignature");
    let blocks = echoed(json!({"role": "model", "parts": [bare, content["parts"][3]]}));
    assert_eq!(blocks[0], Block::of(Body::Thinking(thought)), "its seal comes back to it");
}

#[test]
fn googles_seals_stay_as_they_came() {
    let pieces = vec![
        Piece::Thinking(Thinking { text: String::new(), seal: seal(Maker::Google, false) }),
        Piece::ToolCall(tool_call(seal(Maker::Google, false))),
    ];
    let answer = written(&of(pieces, Finish::ToolCalls));
    let expected = json!([
        {"text": "", "thoughtSignature": "EqQB+/=="},
        {"functionCall": {"id": "toolu_1", "name": "f", "args": {"x": 1.0}}, "thoughtSignature": "EqQB+/=="},
    ]);
    assert_eq!(answer["candidates"][0]["content"]["parts"], expected);
}

#[test]
fn notes_take_googles_form() {
    let page =
        json!({"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A", "start_index": 0}});
    let mut response = of(vec![Piece::Text("a".into()), Piece::Annotation(page)], Finish::Stop);
    let entry = json!({"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -1.0}]});
    response.choices[0].logprobs = Some(json!({"content": [entry]}));
    let candidate = written(&response)["candidates"][0].take();
    let chunks = json!([{"web": {"uri": "https://a.example", "title": "A"}}]);
    assert_eq!(candidate["groundingMetadata"], json!({"groundingChunks": chunks}));
    let expected = json!({
        "topCandidates": [{"candidates": [{"token": "b", "logProbability": -1.0}]}],
        "chosenCandidates": [{"token": "a", "logProbability": -0.5}],
    });
    assert_eq!(candidate["logprobsResult"], expected);
}

#[test]
fn errors_have_googles_form() {
    let mut out = Vec::new();
    let shown = Shown {
        status: 429,
        code: "rate_limit_exceeded",
        kind: "rate_limit_error",
        message: "Wait \"a\" bit.",
        param: None,
        request_id: "r",
    };
    error(&shown, &mut out);
    let details = json!([{
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "RATE_LIMIT_EXCEEDED", "domain": "igris", "metadata": {},
    }]);
    let error_body = json!({
        "code": 429, "message": "Wait \"a\" bit.", "status": "RESOURCE_EXHAUSTED", "details": details,
    });
    let expected = json!({"error": error_body});
    assert_eq!(serde_json::from_slice::<Value>(&out).expect("JSON"), expected);
    out.clear();
    error(&Shown { status: 400, param: Some("contents"), ..shown }, &mut out);
    let body: Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!(body["error"]["status"], "INVALID_ARGUMENT");
    assert_eq!(body["error"]["details"][0]["metadata"], json!({"param": "contents"}));
}
