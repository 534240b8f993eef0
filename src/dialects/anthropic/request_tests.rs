//! Requests that no Messages client can send but others can: free-text tools, repeated ids, members without a word, other makers' parts.

use super::PROVIDER;
use crate::chat::ability::Abilities;
use crate::chat::delta::Delta;
use crate::chat::request::{
    AudioOut, Block, Body, CacheHint, Format, Maker, Media, Request, Source, Tool, ToolCall, ToolChoice, ToolKind,
    ToolResult, Turn,
};
use crate::chat::response::Piece;
use crate::dialects::Aim;
use serde_json::{Value, json};

fn user(text: &str) -> Turn {
    Turn::User(vec![Block::text(text)])
}

fn request(turns: Vec<Turn>) -> Request {
    Request { turns, ..Request::default() }
}

fn call(id: &str, custom: bool, input: &str) -> Block {
    let (id, name, input) = (id.to_owned(), "patch".to_owned(), input.to_owned());
    Block::of(Body::ToolCall(ToolCall { id, name, input, custom, seal: None }))
}

fn result(id: &str, text: &str) -> Block {
    let content = vec![Block::text(text)];
    Block::of(Body::ToolResult(ToolResult { id: id.to_owned(), name: None, content, is_error: false }))
}

fn write(request: &Request, model: &str) -> Result<(Value, Vec<String>), String> {
    let abilities = Abilities::default();
    let aim = Aim { model, abilities: &abilities, provider: "anthropic" };
    let written = (PROVIDER.write_request)(request, &aim).map_err(|refusal| refusal.param.into_owned())?;
    Ok((serde_json::from_slice(&written.body).expect("JSON"), written.dropped))
}

fn patch_tool() -> Tool {
    let format = json!({ "type": "grammar", "syntax": "lark", "definition": "start: /.+/" });
    let kind = ToolKind::Custom { format: Some(format) };
    Tool { kind, name: "patch".into(), description: Some("Edits files.".into()), cache: None }
}

/// What Codex sends: a tool whose input is a patch, in words.
#[test]
fn a_free_text_tool_goes_out_as_a_function_and_its_text_comes_back() {
    let turns = vec![
        user("Fix it."),
        Turn::Assistant(vec![call("a", true, "*** Begin\n\"x\"")]),
        Turn::User(vec![result("a", "done")]),
    ];
    let request =
        Request { tools: vec![patch_tool()], tool_choice: Some(ToolChoice::Named("patch".into())), ..request(turns) };
    let (body, dropped) = write(&request, "claude-opus-5").expect("a request");
    assert_eq!(body["tools"][0]["name"], "patch__igris_text");
    let told = "Edits files.\n\nThe input must match this lark grammar:\nstart: /.+/";
    assert_eq!(body["tools"][0]["description"], told);
    assert_eq!(body["tool_choice"], json!({ "type": "tool", "name": "patch__igris_text" }));
    let used = &body["messages"][1]["content"][0];
    assert_eq!((&used["name"], &used["input"]), (&json!("patch__igris_text"), &json!({ "input": "*** Begin\n\"x\"" })));
    assert_eq!(dropped, ["tools.format"]);

    let answer = json!({ "content": [{ "type": "tool_use", "id": "b", "name": "patch__igris_text",
        "input": { "input": "*** End\n" } }], "stop_reason": "tool_use" });
    let response = (PROVIDER.read_response)(answer.to_string().as_bytes()).expect("an answer");
    let Piece::ToolCall(read) = &response.choices[0].pieces[0] else { panic!("a call") };
    assert_eq!((read.name.as_str(), read.input.as_str(), read.custom), ("patch", "*** End\n", true));

    let stream = concat!(
        r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"b","name":"patch__igris_text","input":{}}}"#,
        "\n\n",
        r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"input\": \"*** E"}}"#,
        "\n\n",
        r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"nd\\n\"}"}}"#,
        "\n\n",
        r#"data: {"type":"content_block_stop","index":0}"#,
        "\n\n",
    );
    let mut inputs = Vec::new();
    (PROVIDER.stream_reader)().push(stream.as_bytes(), &mut |delta| match delta {
        Delta::ToolStart { name, custom, .. } => inputs.push(format!("{name} {custom}")),
        Delta::ToolInput { json, .. } => inputs.push(json.into_owned()),
        _ => {}
    });
    assert_eq!(inputs, ["patch true", "*** End\n"]);
}

/// Some makers count their calls from zero in every turn; here an id may come once.
#[test]
fn ids_that_come_twice_are_told_apart_with_their_results() {
    let turns = vec![
        user("Go."),
        Turn::Assistant(vec![call("call_0", false, "{}")]),
        Turn::User(vec![result("call_0", "first")]),
        Turn::Assistant(vec![call("call_0", false, "{}")]),
        Turn::User(vec![result("call_0", "second")]),
    ];
    let (body, _) = write(&request(turns), "claude-opus-5").expect("a request");
    let ids = [(1, "id"), (2, "tool_use_id"), (3, "id"), (4, "tool_use_id")]
        .map(|(message, name)| body["messages"][message]["content"][0][name].as_str().expect("an id").to_owned());
    assert_eq!(ids, ["call_0", "call_0", "call_0_2", "call_0_2"]);
    let same_turn = vec![
        user("Go."),
        Turn::Assistant(vec![call("a", false, "{}"), call("a", false, "{}")]),
        Turn::User(vec![result("a", "1"), result("a", "2")]),
    ];
    assert_eq!(write(&request(same_turn), "claude-opus-5"), Err("messages".to_owned()), "nobody knows which is which");
}

#[test]
fn what_changes_the_answer_and_has_no_word_is_refused() {
    let plain = || request(vec![user("Hi")]);
    let media = |source| Media { source, name: None, detail: None };
    let here = |media_type: &str| media(Source::Base64 { media_type: media_type.into(), data: "eA==".into() });
    let said = |body| request(vec![Turn::User(vec![Block::of(body)])]);
    let elsewhere = media(Source::File { maker: Maker::OpenAi, id: "file-1".into() });
    let rows = [
        (Request { choices: Some(2), ..plain() }, "n"),
        (Request { logprobs: Some(0), ..plain() }, "logprobs"),
        (Request { audio: Some(AudioOut { raw: json!({}) }), ..plain() }, "audio"),
        (said(Body::Audio(here("audio/wav"))), "messages"),
        (said(Body::Video(here("video/mp4"))), "messages"),
        (said(Body::Document(here("application/zip"))), "messages"),
        (said(Body::Image(elsewhere)), "messages"),
        (request(vec![user("a"), Turn::Assistant(vec![Block::of(Body::Image(here("image/png")))])]), "messages"),
        (request(vec![]), "messages"),
    ];
    for (request, param) in rows {
        assert_eq!(write(&request, "claude-opus-5"), Err(param.to_owned()), "{request:?}");
    }
    let text = said(Body::Document(here("text/csv")));
    let (body, _) = write(&text, "claude-opus-5").expect("a request");
    let source = json!({ "type": "text", "media_type": "text/plain", "data": "x" });
    assert_eq!(body["messages"][0]["content"][0]["source"], source);
}

#[test]
fn what_only_shapes_the_answer_is_left_out_and_noted() {
    let mut asked = request(vec![user("Hi")]);
    asked.choices = Some(1);
    asked.sampling.seed = Some(7);
    asked.sampling.logit_bias = Some(json!({ "1": 2 }));
    asked.sampling.frequency_penalty = Some(0.0);
    asked.sampling.presence_penalty = Some(0.5);
    asked.sampling.temperature = Some(1.7);
    asked.verbosity = Some("low".into());
    asked.prompt_cache_key = Some("k".into());
    asked.service_tier = Some("flex".into());
    asked.user = Some("somebody@example.com".into());
    let hosted = ToolKind::Hosted { maker: Maker::OpenAi, raw: json!({ "type": "web_search" }) };
    asked.tools = vec![Tool { kind: hosted, name: "web_search".into(), description: None, cache: None }];
    let (body, dropped) = write(&asked, "claude-opus-4-5").expect("a request");
    let expected =
        ["tools.web_search", "temperature", "seed", "logit_bias", "presence_penalty", "verbosity", "service_tier"];
    assert_eq!(dropped, expected);
    assert_eq!((&body["temperature"], &body["max_tokens"]), (&json!(1.0), &json!(4096)));
    assert_eq!((&body["tools"], &body["service_tier"]), (&Value::Null, &Value::Null));
    let user = body["metadata"]["user_id"].as_str().expect("a pseudonym");
    assert!(user.starts_with("user_") && !user.contains('@'), "{user}");
    for (tier, expected) in [("auto", "auto"), ("default", "standard_only"), ("priority", "auto")] {
        let asked = Request { service_tier: Some(tier.into()), ..request(vec![Turn::User(vec![Block::text("Hi")])]) };
        let (body, dropped) = write(&asked, "claude-opus-5").expect("a request");
        assert_eq!((&body["service_tier"], dropped.len()), (&json!(expected), 0));
    }
}

#[test]
fn tools_are_closed_filtered_and_marked() {
    let function = |name: &str, strict, cache| Tool {
        kind: ToolKind::Function {
            parameters: Some(json!({ "properties": { "n": { "type": "integer", "maximum": 3 } } })),
            strict,
        },
        name: name.into(),
        description: Some(String::new()),
        cache,
    };
    let mut asked = request(vec![user("Hi")]);
    asked.tools =
        vec![function("a", Some(true), None), function("b", None, Some(CacheHint::Long)), function("c", None, None)];
    asked.tool_choice = Some(ToolChoice::Allowed { names: vec!["a".into(), "b".into()], required: true });
    asked.parallel_tools = Some(false);
    let (body, dropped) = write(&asked, "claude-opus-5").expect("a request");
    let n = json!({ "type": "integer", "description": "Must satisfy {maximum: 3}." });
    let expected = json!([
        { "name": "a", "strict": true, "input_schema":
            { "type": "object", "properties": { "n": n }, "additionalProperties": false } },
        { "name": "b", "cache_control": { "type": "ephemeral", "ttl": "1h" }, "input_schema":
            { "type": "object", "properties": { "n": { "type": "integer", "maximum": 3 } } } },
    ]);
    assert_eq!(body["tools"], expected);
    assert_eq!(body["tool_choice"], json!({ "type": "any", "disable_parallel_tool_use": true }));
    assert_eq!(dropped, ["tools.parameters.maximum"]);
    asked.tool_choice = Some(ToolChoice::None);
    let (body, _) = write(&asked, "claude-opus-5").expect("a request");
    assert_eq!(body["tool_choice"], json!({ "type": "none" }));
}

#[test]
fn json_without_a_schema_is_asked_for_in_words_and_beside_tools_one_must_be_called() {
    let object = Request { format: Format::JsonObject, ..request(vec![user("Hi")]) };
    let (body, _) = write(&object, "claude-opus-5").expect("a request");
    assert!(body["system"][0]["text"].as_str().is_some_and(|text| text.contains("JSON object")));
    let schema = json!({ "type": "object", "properties": {} });
    let format = Format::JsonSchema { name: "x".into(), description: None, schema, strict: None };
    let kind = ToolKind::Function { parameters: None, strict: None };
    let tools = vec![Tool { kind, name: "f".into(), description: None, cache: None }];
    let both = Request { format, tools, ..request(vec![user("Hi")]) };
    let (body, _) = write(&both, "claude-3-5-haiku").expect("a request");
    assert_eq!(body["tool_choice"], json!({ "type": "any", "disable_parallel_tool_use": true }));
    assert_eq!(body["tools"].as_array().map(Vec::len), Some(2));
    let list =
        Format::JsonSchema { name: "x".into(), description: None, schema: json!({ "type": "array" }), strict: None };
    let refused = Request { format: list, ..request(vec![user("Hi")]) };
    assert_eq!(write(&refused, "claude-3-5-haiku"), Err("response_format".to_owned()));
}
