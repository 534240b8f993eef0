//! Tests of turns where the goldens, written in Chat's words, cannot say it: documents, sound, seals of other makers, cache marks, failed
//! tools, numbers.

use crate::chat::ability::Abilities;
use crate::chat::request::*;
use crate::dialects::Aim;
use crate::dialects::bedrock::PROVIDER;
use serde_json::{Value, json};

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

fn write(request: &Request, model: &str) -> Result<String, Refusal> {
    let abilities = Abilities::default();
    let written = (PROVIDER.write_request)(request, &Aim { model, abilities: &abilities, provider: "bedrock" })?;
    Ok(String::from_utf8(written.body).expect("UTF-8"))
}

fn messages(turns: Vec<Turn>, model: &str) -> Value {
    let body = write(&Request { turns, ..Request::default() }, model).expect("written");
    serde_json::from_str::<Value>(&body).expect("JSON")["messages"].take()
}

fn base64(media_type: &str, name: Option<&str>) -> Media {
    let source = Source::Base64 { media_type: media_type.to_owned(), data: "YQ==".to_owned() };
    Media { source, name: name.map(str::to_owned), detail: None }
}

fn call(id: &str, input: &str) -> Block {
    let call = ToolCall { id: id.into(), name: "f".into(), input: input.into(), custom: false, seal: None };
    Block::of(Body::ToolCall(call))
}

fn result(id: &str, content: Vec<Block>, is_error: bool) -> Block {
    Block::of(Body::ToolResult(ToolResult { id: id.into(), name: None, content, is_error }))
}

fn thought(maker: Maker, data: &str, redacted: bool) -> Block {
    let seal = Some(Seal { maker, data: data.into(), redacted });
    Block::of(Body::Thinking(Thinking { text: if redacted { String::new() } else { "Hm.".into() }, seal }))
}

#[test]
fn documents_have_distinct_plain_names_and_words_beside_them() {
    let pdf = |name| Block::of(Body::Document(base64("application/pdf", name)));
    let text = Media { source: Source::Text("words".into()), name: None, detail: None };
    let blocks = vec![
        pdf(Some("Q3_report  (final).pdf")),
        pdf(Some("Q3_report (final).pdf")),
        pdf(None),
        Block::of(Body::Document(text)),
    ];
    let sent = messages(vec![Turn::User(blocks)], CLAUDE);
    let content = sent[0]["content"].as_array().expect("blocks");
    let names: Vec<_> = content.iter().filter_map(|block| block["document"]["name"].as_str()).collect();
    assert_eq!(names, ["Q3-report (final)", "Q3-report (final) 2", "document", "document 2"]);
    let plain = json!({"document": {"format": "txt", "name": "document 2", "source": {"bytes": "d29yZHM="}}});
    assert_eq!((&content[3], &content[4]), (&plain, &json!({"text": "."})));
}

#[test]
fn sound_and_films_go_along_by_their_formats() {
    let blocks = vec![
        Block::of(Body::Audio(base64("audio/mpeg", None))),
        Block::of(Body::Video(base64("video/quicktime", None))),
    ];
    let sent = messages(vec![Turn::User(blocks)], "amazon.nova-premier-v1:0");
    let source = json!({"bytes": "YQ=="});
    assert_eq!(sent[0]["content"][0], json!({"audio": {"format": "mp3", "source": source}}));
    assert_eq!(sent[0]["content"][1], json!({"video": {"format": "mov", "source": source}}));
}

#[test]
fn a_format_or_a_place_that_cannot_be_sent_is_refused() {
    let file = Media { source: Source::File { maker: Maker::OpenAi, id: "file-1".into() }, name: None, detail: None };
    let refused = [
        Body::Image(base64("image/tiff", None)),
        Body::Document(base64("application/zip", None)),
        Body::Document(file),
        Body::Video(base64("video/avi", None)),
    ];
    for body in refused {
        let request = Request { turns: vec![Turn::User(vec![Block::of(body)])], ..Request::default() };
        assert_eq!(write(&request, CLAUDE).expect_err("refused").param, "messages");
    }
    for turns in [vec![], vec![Turn::User(vec![Block::text(" \n")])]] {
        assert!(write(&Request { turns, ..Request::default() }, CLAUDE).is_err(), "nothing to say");
    }
}

#[test]
fn thoughts_go_back_to_claude_alone() {
    let turn = || {
        Turn::Assistant(vec![
            thought(Maker::Anthropic, "Eq==", false),
            thought(Maker::Anthropic, "RW1n", true),
            thought(Maker::Anthropic, "no base64", true),
            thought(Maker::Google, "CiQB", false),
            Block::of(Body::Thinking(Thinking { text: "words".into(), seal: None })),
            Block::text("So."),
        ])
    };
    let turns = || vec![Turn::User(vec![Block::text("a")]), turn(), Turn::User(vec![Block::text("b")])];
    let sealed = json!([{"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "Eq=="}}},
        {"reasoningContent": {"redactedContent": "RW1n"}}, {"text": "So."}]);
    assert_eq!(messages(turns(), CLAUDE)[1]["content"], sealed);
    let profile = "arn:aws:bedrock:us-east-1:1:application-inference-profile/a1b2";
    assert_eq!(messages(turns(), profile)[1]["content"], sealed);
    assert_eq!(messages(turns(), "us.deepseek.r1-v1:0")[1]["content"], json!([{"text": "So."}]));
}

#[test]
fn inputs_keep_every_digit_and_must_be_objects() {
    let turns = |input: &str| {
        let answer = result("t", vec![Block::text("1")], false);
        vec![Turn::User(vec![Block::text("a")]), Turn::Assistant(vec![call("t", input)]), Turn::User(vec![answer])]
    };
    let written = write(
        &Request { turns: turns(r#" {"n": 1.50e1, "m":12345678901234567890123} "#), ..Request::default() },
        CLAUDE,
    );
    assert!(written.expect("written").contains(r#""input":{"n": 1.50e1, "m":12345678901234567890123}"#));
    for input in ["[1]", "{", "text", "null"] {
        let request = Request { turns: turns(input), ..Request::default() };
        assert_eq!(write(&request, CLAUDE).expect_err("refused").param, "messages", "{input}");
    }
}

#[test]
fn a_failed_tool_says_so_where_the_model_can_hear_it() {
    let turns = |content| {
        let calls = Turn::Assistant(vec![call("t", "{}")]);
        vec![Turn::User(vec![Block::text("a")]), calls, Turn::User(vec![result("t", content, true)])]
    };
    let sent = messages(turns(vec![]), CLAUDE);
    let failed = json!({"toolUseId": "t", "content": [{"text": "The tool failed."}], "status": "error"});
    assert_eq!(sent[2]["content"][0]["toolResult"], failed);
    let sent = messages(turns(vec![Block::text("no route")]), "meta.llama4-scout-17b-instruct-v1:0");
    let told = json!({"toolUseId": "t", "content": [{"text": "Error:"}, {"text": "no route"}]});
    assert_eq!(sent[2]["content"][0]["toolResult"], told);
}

#[test]
fn cache_marks_become_cache_points_where_there_are_any() {
    let marked = |text: &str, hint| Block { body: Body::Text(text.into()), cache: Some(hint) };
    let tool = Tool {
        kind: ToolKind::Function { parameters: None, strict: None },
        name: "f".into(),
        description: None,
        cache: Some(CacheHint::Short),
    };
    let request = Request {
        system: vec![marked("s", CacheHint::Long)],
        turns: vec![Turn::User(vec![marked("a", CacheHint::Short)])],
        tools: vec![tool],
        ..Request::default()
    };
    let body = |model| serde_json::from_str::<Value>(&write(&request, model).expect("written")).expect("JSON");
    let (claude, short) = (body(CLAUDE), json!({"cachePoint": {"type": "default"}}));
    assert_eq!(claude["system"], json!([{"text": "s"}, {"cachePoint": {"type": "default", "ttl": "1h"}}]));
    assert_eq!((&claude["messages"][0]["content"][1], &claude["toolConfig"]["tools"][1]), (&short, &short));
    let nova = body("amazon.nova-lite-v1:0");
    assert_eq!((&nova["system"][1], &nova["toolConfig"]["tools"][1]), (&short, &Value::Null));
    assert!(!write(&request, "meta.llama3-8b-instruct-v1:0").expect("written").contains("cachePoint"));
}

#[test]
fn tools_for_free_text_are_functions_with_one_text() {
    let tool = |kind, name: &str| Tool { kind, name: name.into(), description: Some("d".into()), cache: None };
    let custom = ToolCall { id: "t".into(), name: "sh".into(), input: "ls \"a\"".into(), custom: true, seal: None };
    let request = Request {
        turns: vec![
            Turn::User(vec![Block::text("a")]),
            Turn::Assistant(vec![Block::of(Body::ToolCall(custom))]),
            Turn::User(vec![result("t", vec![Block::text("x")], false)]),
        ],
        tools: vec![
            tool(ToolKind::Custom { format: None }, "sh"),
            tool(ToolKind::Hosted { maker: Maker::OpenAi, raw: json!({"type": "web_search"}) }, "web_search"),
        ],
        ..Request::default()
    };
    let abilities = Abilities::default();
    let written =
        (PROVIDER.write_request)(&request, &Aim { model: CLAUDE, abilities: &abilities, provider: "bedrock" })
            .expect("written");
    let body: Value = serde_json::from_slice(&written.body).expect("JSON");
    let sent = json!({"toolUseId": "t", "name": "sh__igris_text", "input": {"input": "ls \"a\""}});
    assert_eq!(body["messages"][1]["content"][0]["toolUse"], sent);
    assert_eq!(body["toolConfig"]["tools"][0]["toolSpec"]["name"], "sh__igris_text");
    assert_eq!(body["toolConfig"]["tools"].as_array().map(Vec::len), Some(1));
    assert_eq!(written.dropped, ["tools.web_search"]);
    let named = Request { tool_choice: Some(ToolChoice::Named("sh".into())), ..request.clone() };
    assert!(write(&named, CLAUDE).expect("written").contains(r#""toolChoice":{"tool":{"name":"sh__igris_text"}}"#));
    let named = Request { tool_choice: Some(ToolChoice::Named("web_search".into())), ..request };
    assert_eq!(write(&named, CLAUDE).expect_err("refused").param, "tool_choice");
}

#[test]
fn a_strict_tool_is_enforced_only_where_its_schema_survives() {
    let tool = |schema: Value| Tool {
        kind: ToolKind::Function { parameters: Some(schema), strict: Some(true) },
        name: "f".into(),
        description: None,
        cache: None,
    };
    let spec = |schema| {
        let request = Request {
            turns: vec![Turn::User(vec![Block::text("a")])],
            tools: vec![tool(schema)],
            ..Request::default()
        };
        let body: Value = serde_json::from_str(&write(&request, CLAUDE).expect("written")).expect("JSON");
        body["toolConfig"]["tools"][0]["toolSpec"].clone()
    };
    let closed = json!({"type": "object", "properties": {}, "additionalProperties": false});
    assert_eq!(spec(closed.clone()), json!({"name": "f", "inputSchema": {"json": closed}, "strict": true}));
    let bounded = json!({"type": "object", "properties": {"n": {"type": "integer", "maximum": 3}}});
    assert_eq!(spec(bounded.clone()), json!({"name": "f", "inputSchema": {"json": bounded}}));
}

#[test]
fn ids_that_return_are_told_apart() {
    let round = || {
        let answer = result("f:0", vec![Block::text("1")], false);
        [Turn::Assistant(vec![call("f:0", "{}")]), Turn::User(vec![answer])]
    };
    let turns = [Turn::User(vec![Block::text("a")])].into_iter().chain(round()).chain(round()).collect();
    let sent = messages(turns, CLAUDE);
    let ids = |at: usize, kind: &str| sent[at]["content"][0][kind]["toolUseId"].as_str().map(str::to_owned);
    let (first, second) = (ids(1, "toolUse"), ids(3, "toolUse"));
    assert_eq!((&ids(2, "toolResult"), &ids(4, "toolResult")), (&first, &second));
    assert!(first.is_some() && second.is_some() && first != second);
}

#[test]
fn a_budget_waits_where_its_thoughts_are_lost() {
    let reasoning = Reasoning { effort: Some(Effort::Low), ..Reasoning::default() };
    let with = |turns: Vec<Turn>| Request { turns, reasoning: reasoning.clone(), ..Request::default() };
    let start = || Turn::User(vec![Block::text("a")]);
    let answer = || Turn::User(vec![result("t", vec![Block::text("1")], false)]);
    let unsealed = vec![start(), Turn::Assistant(vec![call("t", "{}")]), answer()];
    let sealed =
        vec![start(), Turn::Assistant(vec![thought(Maker::Anthropic, "Eq==", false), call("t", "{}")]), answer()];
    let prefix = vec![start(), Turn::Assistant(vec![Block::text("So")])];
    for (turns, thinks) in [(vec![start()], true), (unsealed, false), (sealed, true), (prefix, false)] {
        let body = write(&with(turns), CLAUDE).expect("written");
        assert_eq!(body.contains("budget_tokens"), thinks, "{body}");
    }
}
