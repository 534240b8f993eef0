//! What is written for Gemini, from requests as the inner language has them.
//!
//! These are requests that a client of another dialect would make; what Google's own clients send is in the golden
//! files. Bodies are compared as trees, the input of tools also as text.

use super::super::seal::SKIP;
use super::*;
use crate::chat::ability::Abilities;
use crate::chat::request::{Block, Body as Inner, Media, Seal, Source, Thinking, ToolCall, ToolResult};

const MODEL: &str = "gemini-3.8-flash";

fn written(request: &Request, model: &str) -> Result<(Value, Vec<String>), Refusal> {
    let abilities = Abilities::default();
    let written = write(request, &Aim { model, abilities: &abilities, provider: "google" })?;
    Ok((serde_json::from_slice(&written.body).expect("JSON"), written.dropped))
}

fn contents(turns: Vec<Turn>, model: &str) -> Value {
    let request = Request { turns, ..Request::default() };
    written(&request, model).expect("can be said").0["contents"].take()
}

fn user(text: &str) -> Turn {
    Turn::User(vec![Block::text(text)])
}

fn call(id: &str, name: &str, seal: Option<Seal>) -> Block {
    let (id, name) = (id.to_owned(), name.to_owned());
    Block::of(Inner::ToolCall(ToolCall { id, name, input: "{\"x\": 1.0}".into(), custom: false, seal }))
}

fn result(id: &str, content: Vec<Block>, is_error: bool) -> Turn {
    let result = ToolResult { id: id.into(), name: None, content, is_error };
    Turn::User(vec![Block::of(Inner::ToolResult(result))])
}

fn picture() -> Block {
    let source = Source::Base64 { media_type: "image/png".into(), data: "AAAA".into() };
    Block::of(Inner::Image(Media { source, name: None, detail: None }))
}

fn seal(maker: Maker, data: &str) -> Seal {
    Seal { maker, data: data.into(), redacted: false }
}

#[test]
fn nothing_is_never_empty() {
    let space = json!([{"role": "user", "parts": [{"text": " "}]}]);
    assert_eq!(contents(vec![], MODEL), space);
    assert_eq!(contents(vec![user("")], MODEL), space);
    assert_eq!(contents(vec![user(""), Turn::Assistant(vec![])], MODEL), space);
    let begun = contents(vec![Turn::Assistant(vec![Block::text("Hi")]), user("a"), user("b")], MODEL);
    let expected = json!([
        {"role": "user", "parts": [{"text": " "}]},
        {"role": "model", "parts": [{"text": "Hi"}]},
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
    ]);
    assert_eq!(begun, expected);
}

#[test]
fn results_stand_in_the_order_of_their_calls_and_have_their_names() {
    let turns = vec![
        user("go"),
        Turn::Assistant(vec![call("a", "f", None), call("b", "g", None)]),
        result("b", vec![Block::text("[1]")], false),
        result("a", vec![Block::text(" {\"n\": 1.50} ")], false),
        user("and?"),
        Turn::Assistant(vec![call("c", "f", None)]),
        result("c", vec![Block::text("no"), picture()], true),
    ];
    let expected = json!([
        {"role": "user", "parts": [{"text": "go"}]},
        {"role": "model", "parts": [
            {"functionCall": {"id": "a", "name": "f", "args": {"x": 1.0}}, "thoughtSignature": SKIP},
            {"functionCall": {"id": "b", "name": "g", "args": {"x": 1.0}}},
        ]},
        {"role": "user", "parts": [
            {"functionResponse": {"id": "a", "name": "f", "response": {"n": 1.5}}},
            {"functionResponse": {"id": "b", "name": "g", "response": {"result": "[1]"}}},
            {"text": "and?"},
        ]},
        {"role": "model", "parts": [
            {"functionCall": {"id": "c", "name": "f", "args": {"x": 1.0}}, "thoughtSignature": SKIP},
        ]},
        {"role": "user", "parts": [
            {"functionResponse": {"id": "c", "name": "f", "response": {"error": "no"},
                "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}},
        ]},
    ]);
    assert_eq!(contents(turns.clone(), MODEL), expected);
    let early = contents(turns, "gemini-2.5-flash");
    assert_eq!(early[1]["parts"][0].get("thoughtSignature"), None, "only Gemini 3 asks for it");
    assert_eq!(early[4]["parts"][1], json!({"inlineData": {"mimeType": "image/png", "data": "AAAA"}}));
}

#[test]
fn tool_input_keeps_its_digits() {
    let turns = vec![user("go"), Turn::Assistant(vec![call("a", "f", None)])];
    let abilities = Abilities::default();
    let request = Request { turns, ..Request::default() };
    let written = write(&request, &Aim { model: MODEL, abilities: &abilities, provider: "google" }).expect("written");
    let text = String::from_utf8(written.body).expect("UTF-8");
    assert!(text.contains(r#""args":{"x": 1.0}"#), "{text}");
}

#[test]
fn only_googles_seals_go_back() {
    let thought = |text: &str, seal| Block::of(Inner::Thinking(Thinking { text: text.into(), seal }));
    let turns = vec![
        user("go"),
        Turn::Assistant(vec![
            thought("foreign", Some(seal(Maker::Anthropic, "E"))),
            thought("bare", None),
            thought("own", Some(seal(Maker::Google, "G1"))),
            Block::text("Well."),
            thought("", Some(seal(Maker::Google, "G2"))),
            thought("", Some(seal(Maker::Google, "G3"))),
            call("a", "f", Some(seal(Maker::Google, "G4"))),
            call("b", "f", Some(seal(Maker::Anthropic, "E"))),
        ]),
    ];
    let expected = json!([
        {"text": "own", "thought": true, "thoughtSignature": "G1"},
        {"text": "Well.", "thoughtSignature": "G2"},
        {"text": "", "thoughtSignature": "G3"},
        {"functionCall": {"id": "a", "name": "f", "args": {"x": 1.0}}, "thoughtSignature": "G4"},
        {"functionCall": {"id": "b", "name": "f", "args": {"x": 1.0}}},
    ]);
    assert_eq!(contents(turns, MODEL)[1]["parts"], expected);
}

#[test]
fn tools_keep_their_schemas_and_say_what_may_be_called() {
    let function = |name: &str, parameters| Tool {
        kind: ToolKind::Function { parameters, strict: Some(true) },
        name: name.into(),
        description: None,
        cache: None,
    };
    let hosted = |maker, name: &str, raw| Tool { kind: ToolKind::Hosted { maker, raw }, ..function(name, None) };
    let schema =
        json!({"type": "object", "properties": {"x": {"type": ["string", "null"]}}, "additionalProperties": false});
    let empty = json!({"type": "object", "properties": {}, "additionalProperties": false});
    let request = Request {
        system: vec![Block::text("Be brief.")],
        turns: vec![user("go"), Turn::System(vec![Block::text("Later.")])],
        tools: vec![
            hosted(Maker::Google, "googleSearch", json!({"googleSearch": {}})),
            function("f", Some(schema.clone())),
            function("g", Some(empty)),
            hosted(Maker::OpenAi, "web_search", json!({})),
        ],
        tool_choice: Some(ToolChoice::Allowed { names: vec!["f".into()], required: false }),
        parallel_tools: Some(false),
        service_tier: Some("default".into()),
        safety: Some(json!([{"category": "c", "threshold": "t"}])),
        ..Request::default()
    };
    let (body, dropped) = written(&request, MODEL).expect("can be said");
    let expected = json!({
        "contents": [{"role": "user", "parts": [{"text": "go"}]}],
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Later."}]},
        "tools": [
            {"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}, {"name": "g"}]},
            {"googleSearch": {}},
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}},
        "safetySettings": [{"category": "c", "threshold": "t"}],
        "serviceTier": "standard",
    });
    assert_eq!(body, expected);
    assert_eq!(dropped, ["tools.web_search", "parallel_tool_calls"]);
}

#[test]
fn media_go_where_they_can() {
    let media = |source| Media { source, name: None, detail: None };
    let url = |url: &str, media_type: Option<&str>| Source::Url {
        url: url.into(),
        media_type: media_type.map(str::to_owned),
    };
    let blocks = vec![
        picture(),
        Block::of(Inner::Document(media(Source::Text("Hi".into())))),
        Block::of(Inner::Image(media(url("https://a.example/b.jpg", None)))),
        Block::of(Inner::Document(media(url("https://a.example/b", Some("application/pdf"))))),
        Block::of(Inner::Video(media(Source::File { maker: Maker::Google, id: "files/1".into() }))),
    ];
    let expected = json!([
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"inlineData": {"mimeType": "text/plain", "data": "SGk="}},
        {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://a.example/b.jpg"}},
        {"fileData": {"mimeType": "application/pdf", "fileUri": "https://a.example/b"}},
        {"fileData": {"fileUri": "files/1"}},
    ]);
    assert_eq!(contents(vec![Turn::User(blocks)], MODEL)[0]["parts"], expected);
    let refused = [url("https://a.example/b", None), Source::File { maker: Maker::OpenAi, id: "file-1".into() }];
    for source in refused {
        let turns = vec![Turn::User(vec![Block::of(Inner::Image(media(source)))])];
        assert!(written(&Request { turns, ..Request::default() }, MODEL).is_err());
    }
}

#[test]
fn a_tool_for_free_text_becomes_a_function() {
    let kind = ToolKind::Custom { format: Some(json!({ "type": "text" })) };
    let tool = Tool { kind, name: "t".into(), description: None, cache: None };
    let turns = vec![Turn::User(vec![Block::text("x")])];
    let request = Request { turns, tools: vec![tool], ..Request::default() };
    let (body, dropped) = written(&request, MODEL).expect("it can be said");
    let declared = &body["tools"][0]["functionDeclarations"][0];
    assert_eq!((&declared["name"], &declared["parametersJsonSchema"]["required"]), (&json!("t"), &json!(["input"])));
    assert_eq!(dropped, ["tools.format"]);
}

#[test]
fn what_cannot_be_said_is_refused() {
    let hosted = ToolKind::Hosted { maker: Maker::Anthropic, raw: json!({}) };
    let hosted = Tool { kind: hosted, name: "bash".into(), description: None, cache: None };
    let bad_call = ToolCall { id: "a".into(), name: "f".into(), input: "[1]".into(), custom: false, seal: None };
    let rows = [
        (
            "tool_choice",
            Request { tools: vec![hosted], tool_choice: Some(ToolChoice::Named("bash".into())), ..Request::default() },
        ),
        ("messages", Request { turns: vec![result("x", vec![], false)], ..Request::default() }),
        (
            "messages",
            Request { turns: vec![Turn::Assistant(vec![Block::of(Inner::ToolCall(bad_call))])], ..Request::default() },
        ),
    ];
    for (param, request) in rows {
        assert_eq!(written(&request, MODEL).expect_err(param).param, param);
    }
}
