//! The client's side: requests read, answers and streams written, and both together over a turn of a tool loop.

use super::CLIENT;
use crate::chat::carry::{self, Carried};
use crate::chat::delta::Delta;
use crate::chat::request::{
    Block, Body, CacheHint, Effort, Format, Maker, Request, Seal, Source, Thinking, ToolCall, ToolChoice, ToolKind,
    Turn,
};
use crate::chat::response::{Choice, Finish, Piece, Response};
use crate::chat::shown::Shown;
use crate::dialects::Setting;
use crate::domain::token::Usage;
use serde_json::{Value, json};

fn read(body: &Value) -> Request {
    (CLIENT.read_request)(body.to_string().as_bytes()).unwrap_or_else(|refusal| panic!("{}: {refusal}", refusal.param))
}

fn refused(body: &Value) -> String {
    (CLIENT.read_request)(body.to_string().as_bytes()).expect_err("is refused").param.into_owned()
}

fn with(members: Value) -> Value {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
    body.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
    body
}

fn seal(maker: Maker, data: &str, redacted: bool) -> Option<Seal> {
    Some(Seal { maker, data: data.to_owned(), redacted })
}

const SETTING: Setting<'static> = Setting { id: "7", model: "m-1", created: 5, usage_event: false, request: b"{}" };

#[test]
fn every_member_finds_its_word() {
    let request = read(&with(json!({
        "temperature": 0.7, "top_p": 0.9, "top_k": 40, "frequency_penalty": 0.5, "presence_penalty": -0.5, "seed": -3,
        "logit_bias": {"50256": -100}, "logprobs": true, "top_logprobs": 2, "n": 2, "stop": "END", "max_tokens": 5,
        "max_completion_tokens": 4096.0, "parallel_tool_calls": false, "reasoning_effort": "xhigh", "verbosity": "low",
        "thinking": {"type": "enabled", "budget_tokens": 2048}, "user": "u", "safety_identifier": "s",
        "service_tier": "flex", "prompt_cache_key": "k", "stream": true, "stream_options": {"include_usage": true},
        "store": false, "metadata": {"a": "b"}, "modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"},
        "prediction": {"type": "content", "content": "x"}, "unheard_of": 1, "tools": null
    })));
    let sampling = &request.sampling;
    assert_eq!((sampling.temperature, sampling.top_p, sampling.top_k), (Some(0.7), Some(0.9), Some(40)));
    assert_eq!(
        (sampling.frequency_penalty, sampling.presence_penalty, sampling.seed),
        (Some(0.5), Some(-0.5), Some(-3))
    );
    assert_eq!(sampling.logit_bias, Some(json!({"50256": -100})));
    assert_eq!((request.logprobs, request.choices, request.output_max), (Some(2), Some(2), Some(4096)));
    assert_eq!((request.stop, request.parallel_tools), (vec!["END".to_owned()], Some(false)));
    let reasoning = &request.reasoning;
    assert_eq!((reasoning.effort, reasoning.budget, reasoning.enabled), (Some(Effort::XHigh), Some(2048), Some(true)));
    assert_eq!((request.user.as_deref(), request.verbosity.as_deref()), (Some("s"), Some("low")));
    assert_eq!((request.service_tier.as_deref(), request.prompt_cache_key.as_deref()), (Some("flex"), Some("k")));
    assert!(request.stream && request.audio.is_some());
    assert_eq!(request.dropped, ["prediction", "unheard_of"]);
}

#[test]
fn instructions_lead_or_keep_their_place() {
    let request = read(&json!({"messages": [
        {"role": "system", "content": "One"}, {"role": "developer", "content": [{"type": "text", "text": "Two"}]},
        {"role": "user", "content": "Hi"}, {"role": "developer", "content": "Three"}
    ]}));
    assert_eq!(request.system, [Block::text("One"), Block::text("Two")]);
    assert_eq!(request.turns, [Turn::User(vec![Block::text("Hi")]), Turn::System(vec![Block::text("Three")])]);
}

#[test]
fn parts_of_every_kind() {
    let request = read(&json!({"messages": [{"role": "user", "content": [
        {"type": "text", "text": "Look", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "here", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:image/PNG;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": "data:text/plain;base64,aGk="}},
        {"type": "file", "file": {"file_id": "file-1"}}
    ]}]}));
    let [Turn::User(blocks)] = &request.turns[..] else { panic!("one turn") };
    assert_eq!((blocks[0].cache, blocks[1].cache), (Some(CacheHint::Long), Some(CacheHint::Long)));
    let source = |index: usize| match &blocks[index].body {
        Body::Image(media) | Body::Audio(media) | Body::Document(media) => media.source.clone(),
        other => panic!("{other:?}"),
    };
    let here = |media_type: &str| Source::Base64 { media_type: media_type.to_owned(), data: "AAAA".to_owned() };
    assert_eq!(source(2), Source::Url { url: "https://x/y.png".to_owned(), media_type: None });
    assert_eq!((source(3), source(4), source(5)), (here("image/png"), here("audio/mpeg"), here("application/pdf")));
    assert_eq!(source(6), Source::Text("hi".to_owned()));
    assert_eq!(source(7), Source::File { maker: Maker::OpenAi, id: "file-1".to_owned() });
}

#[test]
fn tools_and_choices_of_every_form() {
    let request = read(&with(json!({
        "tools": [
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true},
             "cache_control": {"type": "ephemeral"}},
            {"type": "custom", "custom": {"name": "c", "format": {"type": "text"}}},
            {"type": "web_search", "size": 1}
        ],
        "functions": [{"name": "old"}],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [
            {"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "c"}}]}}
    })));
    let names: Vec<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["f", "c", "web_search", "old"]);
    assert_eq!(request.tools[0].cache, Some(CacheHint::Short));
    assert!(matches!(&request.tools[1].kind, ToolKind::Custom { format: Some(_) }));
    let ToolKind::Hosted { maker: Maker::OpenAi, raw } = &request.tools[2].kind else { panic!("hosted") };
    assert_eq!(raw, &json!({"type": "web_search", "size": 1}));
    let allowed = ToolChoice::Allowed { names: vec!["f".to_owned(), "c".to_owned()], required: true };
    assert_eq!(request.tool_choice, Some(allowed));
    for (choice, expected) in [
        (json!("required"), ToolChoice::Required),
        (json!("none"), ToolChoice::None),
        (json!({"type": "function", "function": {"name": "f"}}), ToolChoice::Named("f".to_owned())),
    ] {
        assert_eq!(read(&with(json!({"tool_choice": choice}))).tool_choice, Some(expected));
    }
    assert_eq!(
        read(&with(json!({"function_call": {"name": "f"}}))).tool_choice,
        Some(ToolChoice::Named("f".to_owned()))
    );
}

#[test]
fn a_turn_in_which_nothing_was_said_is_none() {
    let request = read(&json!({"messages": [
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": ""}, {"role": "assistant", "content": null}
    ]}));
    assert_eq!(request.turns, [Turn::User(vec![Block::text("Hi")])]);
}

#[test]
fn results_of_one_turn_come_together() {
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": ""}});
    let request = read(&json!({"messages": [
        {"role": "assistant", "content": null, "tool_calls": [call("a"), call("b")]},
        {"role": "tool", "tool_call_id": "a", "content": "1"}, {"role": "tool", "tool_call_id": "b", "content": "2"},
        {"role": "user", "content": "and?"},
        {"role": "assistant", "function_call": {"name": "g", "arguments": "{\"n\":1.0}"}},
        {"role": "function", "name": "g", "content": "3"}
    ]}));
    let ids = |turn: &Turn| -> Vec<String> {
        let (Turn::User(blocks) | Turn::Assistant(blocks) | Turn::System(blocks)) = turn;
        let id = |block: &Block| match &block.body {
            Body::ToolCall(call) => Some(format!("{}{}", call.id, call.input)),
            Body::ToolResult(result) => Some(result.id.clone()),
            _ => None,
        };
        blocks.iter().filter_map(id).collect()
    };
    let turns: Vec<Vec<String>> = request.turns.iter().map(ids).collect();
    assert_eq!(turns, [vec!["a{}", "b{}"], vec!["a", "b"], vec![], vec!["call_0{\"n\":1.0}"], vec!["call_0"]]);
}

#[test]
fn what_has_no_word_is_refused_by_its_path() {
    let message = |message: Value| json!({"messages": [{"role": "user", "content": "x"}, message]});
    let cases = [
        (json!({"model": "m"}), "messages"),
        (json!({"messages": []}), "messages"),
        (with(json!({"temperature": "hot"})), "temperature"),
        (with(json!({"n": 0})), "n"),
        (with(json!({"stop": [1]})), "stop[0]"),
        (with(json!({"reasoning_effort": "enormous"})), "reasoning_effort"),
        (with(json!({"modalities": ["audio"]})), "audio"),
        (with(json!({"response_format": {"type": "xml"}})), "response_format.type"),
        (with(json!({"response_format": {"type": "json_schema"}})), "response_format.json_schema"),
        (with(json!({"tools": [{"type": "function"}]})), "tools[0].function"),
        (with(json!({"tools": [{"type": "function", "function": {}}]})), "tools[0].function.name"),
        (with(json!({"tool_choice": "perhaps"})), "tool_choice"),
        (message(json!({"role": "robot"})), "messages[1].role"),
        (message(json!({"role": "user"})), "messages[1].content"),
        (message(json!({"role": "user", "content": [{"type": "hologram"}]})), "messages[1].content[0].type"),
        (
            message(json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]})),
            "messages[1].content[0].image_url.url",
        ),
        (message(json!({"role": "tool", "content": "x"})), "messages[1].tool_call_id"),
        (
            message(
                json!({"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}]}),
            ),
            "messages[1].tool_calls[0].function.arguments",
        ),
        (message(json!({"role": "assistant", "audio": {"id": "a"}})), "messages[1].audio"),
    ];
    for (body, param) in cases {
        assert_eq!(refused(&body), param, "{body}");
    }
    assert!((CLIENT.read_request)(b"[]").is_err() && (CLIENT.read_request)(b"{").is_err());
}

#[test]
fn a_schema_keeps_the_order_of_its_members() {
    let body = r#"{"messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":
        {"name":"n","strict":true,"schema":{"z":1,"a":{"y":2,"b":3}}}}}"#;
    let request = (CLIENT.read_request)(body.as_bytes()).expect("reads");
    let Format::JsonSchema { name, schema, strict, .. } = request.format else { panic!("a schema") };
    assert_eq!((name.as_str(), strict), ("n", Some(true)));
    assert_eq!(schema.to_string(), r#"{"z":1,"a":{"y":2,"b":3}}"#);
}

// === Thinking, out and back ===

fn thought(text: &str, seal: Option<Seal>) -> Thinking {
    Thinking { text: text.to_owned(), seal }
}

fn call(id: &str, seal: Option<Seal>) -> ToolCall {
    ToolCall { id: id.to_owned(), name: "f".to_owned(), input: "{\"a\": 1.50}".to_owned(), custom: false, seal }
}

fn answer() -> Response {
    let pieces = vec![
        Piece::Thinking(thought("Hm.", seal(Maker::Anthropic, "sig", false))),
        Piece::Thinking(thought("", seal(Maker::Anthropic, "red", true))),
        Piece::Text("Let me look.".to_owned()),
        Piece::ToolCall(call("toolu_1", None)),
        Piece::ToolCall(call("toolu_2", seal(Maker::Google, "g", false))),
    ];
    let usage = Usage { input: 10, output: 5, cached_input: 4, cache_write: 2, reasoning: 3, ..Usage::default() };
    Response {
        choices: vec![Choice { index: 0, pieces, finish: Finish::ToolCalls, logprobs: None }],
        usage: Some(usage),
        ..Response::default()
    }
}

fn blocks_of(pieces: &[Piece]) -> Vec<Block> {
    let block = |piece: &Piece| match piece {
        Piece::Text(text) => Block::text(text.clone()),
        Piece::Thinking(thinking) => Block::of(Body::Thinking(thinking.clone())),
        Piece::ToolCall(call) => Block::of(Body::ToolCall(call.clone())),
        other => panic!("{other:?}"),
    };
    pieces.iter().map(block).collect()
}

fn written(response: &Response) -> Value {
    let mut out = Vec::new();
    (CLIENT.write_response)(response, &SETTING, &mut out);
    serde_json::from_slice(&out).expect("JSON")
}

#[test]
fn an_answer_is_written_with_everything_in_its_place() {
    let body = written(&answer());
    assert_eq!(
        (&body["id"], &body["object"], &body["model"]),
        (&json!("chatcmpl-7"), &json!("chat.completion"), &json!("m-1"))
    );
    let message = &body["choices"][0]["message"];
    assert_eq!((&message["content"], &message["reasoning_content"]), (&json!("Let me look."), &json!("Hm.")));
    assert_eq!(message["reasoning_details"][1]["data"], "red");
    assert_eq!(message["tool_calls"][0]["function"]["arguments"], "{\"a\": 1.50}");
    assert_eq!(carry::unpack(message["tool_calls"][1]["id"].as_str().expect("an id")).0, "toolu_2");
    assert_eq!(body["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(
        body["usage"],
        json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 0}})
    );
}

#[test]
fn other_pieces_have_members_of_their_own() {
    let pieces = vec![
        Piece::Refusal("No.".to_owned()),
        Piece::Image { media_type: "image/png".to_owned(), data: "AAAA".to_owned() },
        Piece::Annotation(json!({"type": "url_citation"})),
        Piece::Audio(json!({"id": "a"})),
    ];
    let choice = Choice { index: 0, pieces, finish: Finish::ContentFilter, logprobs: Some(json!({"content": []})) };
    let body = written(&Response { choices: vec![choice], ..Response::default() });
    let message = &body["choices"][0]["message"];
    assert_eq!((&message["content"], &message["refusal"]), (&Value::Null, &json!("No.")));
    assert_eq!(message["images"][0]["image_url"]["url"], "data:image/png;base64,AAAA");
    assert_eq!((&message["annotations"][0]["type"], &message["audio"]["id"]), (&json!("url_citation"), &json!("a")));
    assert_eq!(body["choices"][0]["logprobs"], json!({"content": []}));
    assert!(body.get("usage").is_none());
}

/// Whatever a client keeps of an answer, sealed thinking comes back as it was, once, and in front.
#[test]
fn sealed_thinking_survives_every_client() {
    let response = answer();
    let message = written(&response)["choices"][0]["message"].clone();
    let keep: [&[&str]; 4] =
        [&["reasoning_content", "reasoning_details"], &["reasoning_content"], &["reasoning_details"], &[]];
    for kept in keep {
        let mut echoed = message.clone();
        for name in ["reasoning_content", "reasoning_details"] {
            if !kept.contains(&name) {
                echoed.as_object_mut().expect("an object").remove(name);
            }
        }
        let answer_id = message["tool_calls"][0]["id"].clone();
        let request = read(&json!({"messages": [echoed, {"role": "tool", "tool_call_id": answer_id, "content": "x"}]}));
        let [Turn::Assistant(blocks), Turn::User(results)] = &request.turns[..] else { panic!("two turns") };
        assert_eq!(blocks, &blocks_of(&response.choices[0].pieces), "{kept:?}");
        assert!(matches!(&results[0].body, Body::ToolResult(result) if result.id == "toolu_1"));
    }
}

// === Streams ===

fn streamed(deltas: &[Delta<'_>], usage_event: bool, metadata: Option<&[u8]>) -> String {
    let setting = Setting { usage_event, ..SETTING };
    let mut writer = (CLIENT.stream_writer)(&setting);
    let mut out = Vec::new();
    for delta in deltas {
        writer.write(delta, &mut out);
    }
    writer.finish(Some(&Usage { input: 1, output: 2, ..Usage::default() }), metadata, &mut out);
    String::from_utf8(out).expect("UTF-8")
}

fn chunks(stream: &str) -> Vec<Value> {
    let events = stream.strip_suffix("data: [DONE]\n\n").expect("the end").split_terminator("\n\n");
    events.map(|event| serde_json::from_str(event.strip_prefix("data: ").expect("data")).expect("JSON")).collect()
}

fn tool_turn() -> Vec<Delta<'static>> {
    vec![
        Delta::Start { id: "x".into(), model: "y".into() },
        Delta::Thinking { choice: 0, text: "H".into() },
        Delta::Thinking { choice: 0, text: "m.".into() },
        Delta::Seal { choice: 0, seal: Seal { maker: Maker::Anthropic, data: "sig".to_owned(), redacted: false } },
        Delta::Text { choice: 0, text: "Let \"me\"".into() },
        Delta::ToolStart { choice: 0, index: 0, id: "t1".into(), name: "f".into(), custom: false, seal: None },
        Delta::ToolInput { choice: 0, index: 0, json: "{\"a\"".into() },
        Delta::ToolInput { choice: 0, index: 0, json: ":1}".into() },
        Delta::ToolEnd { choice: 0, index: 0 },
        Delta::ToolStart { choice: 0, index: 1, id: "t2".into(), name: "g".into(), custom: false, seal: None },
        Delta::Finish { choice: 0, reason: Finish::ToolCalls },
    ]
}

#[test]
fn a_stream_says_each_thing_once() {
    let stream = streamed(&tool_turn(), false, Some(b"\"provider\":\"p\""));
    let chunks = chunks(&stream);
    let delta = |index: usize| &chunks[index]["choices"][0]["delta"];
    assert_eq!(delta(0), &json!({"role": "assistant", "reasoning_content": "H"}));
    assert_eq!(delta(1), &json!({"reasoning_content": "m."}));
    assert_eq!(
        (&delta(2)["reasoning_details"][0]["text"], &delta(2)["reasoning_details"][0]["signature"]),
        (&json!("Hm."), &json!("sig"))
    );
    assert_eq!(delta(3), &json!({"content": "Let \"me\""}));
    let (id, carried) = carry::unpack(delta(4)["tool_calls"][0]["id"].as_str().expect("an id"));
    assert_eq!((id, carried.thinking), ("t1", vec![thought("Hm.", seal(Maker::Anthropic, "sig", false))]));
    assert_eq!(delta(6), &json!({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}));
    assert_eq!(delta(7)["tool_calls"][0]["id"], "t2", "carried once");
    assert_eq!(delta(8)["tool_calls"][0]["function"]["arguments"], "{}", "a call without input gets one");
    assert_eq!(chunks[9]["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(chunks[9]["metadata"], json!({"provider": "p"}));
    assert_eq!(chunks.len(), 10);
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none() && chunk["object"] == "chat.completion.chunk"));
}

#[test]
fn a_wanted_usage_event_comes_last_and_has_the_metadata() {
    let chunks = chunks(&streamed(&tool_turn(), true, Some(b"\"provider\":\"p\"")));
    let (last, before) = chunks.split_last().expect("chunks");
    assert_eq!((&last["choices"], &last["usage"]["total_tokens"]), (&json!([]), &json!(3)));
    assert_eq!(last["metadata"], json!({"provider": "p"}));
    assert!(before.iter().all(|chunk| chunk["usage"].is_null() && chunk.get("metadata").is_none()));
}

#[test]
fn empty_and_broken_streams_have_their_own_ends() {
    let silent = chunks(&streamed(&[Delta::Finish { choice: 0, reason: Finish::Stop }], false, None));
    assert_eq!(silent[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    assert_eq!(silent[1]["choices"][0]["finish_reason"], "stop");
    let mut writer = (CLIENT.stream_writer)(&SETTING);
    let mut out = Vec::new();
    writer.write(&Delta::Text { choice: 0, text: "Hal".into() }, &mut out);
    writer.write(&Delta::Finish { choice: 0, reason: Finish::Stop }, &mut out);
    let shown = Shown { status: 502, code: "c", kind: "k", message: "m\n", param: None, request_id: "r" };
    writer.fail(&shown, &mut out);
    let text = String::from_utf8(out).expect("UTF-8");
    assert!(!text.contains("[DONE]") && !text.contains("\"stop\""), "{text}");
    let error = "data: {\"error\":{\"message\":\"m\\n\",\"type\":\"k\",\"param\":null,\"code\":\"c\"}}\n\n";
    assert!(text.ends_with(error), "{text}");
}

#[test]
fn custom_tools_take_text() {
    let deltas = [
        Delta::ToolStart { choice: 0, index: 0, id: "c".into(), name: "p".into(), custom: true, seal: None },
        Delta::ToolInput { choice: 0, index: 0, json: "ls".into() },
        Delta::Finish { choice: 0, reason: Finish::ToolCalls },
    ];
    let chunks = chunks(&streamed(&deltas, false, None));
    let start = &chunks[0]["choices"][0]["delta"]["tool_calls"][0];
    assert_eq!(start, &json!({"index": 0, "id": "c", "type": "custom", "custom": {"name": "p", "input": ""}}));
    assert_eq!(chunks[1]["choices"][0]["delta"]["tool_calls"][0], json!({"index": 0, "custom": {"input": "ls"}}));
    assert_eq!(chunks.len(), 3);
}

#[test]
fn a_seal_on_a_call_is_carried_with_it() {
    let google = seal(Maker::Google, "sig+/=", false);
    let packed = carry::pack("c1", &Carried { thinking: Vec::new(), seal: google.clone() }).into_owned();
    let natively = json!({"id": "c1", "function": {"name": "f", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "sig+/="}}});
    let inside_the_id = json!({"id": packed, "function": {"name": "f", "arguments": "{}"}});
    for tool_call in [natively, inside_the_id] {
        let request = read(&json!({"messages": [{"role": "assistant", "tool_calls": [tool_call]}]}));
        let [Turn::Assistant(blocks)] = &request.turns[..] else { panic!("one turn") };
        assert!(
            matches!(&blocks[..], [Block { body: Body::ToolCall(call), .. }] if call.id == "c1" && call.seal == google)
        );
    }
}
