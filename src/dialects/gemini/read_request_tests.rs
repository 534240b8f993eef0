//! What clients of Google's SDKs send, in every spelling, and what it means.
//!
//! Bodies are built the way the Python SDK builds them: camelCase around members in snake_case, floats for
//! whole numbers, a streamed turn as many contents. Refusals must name the member by its path.

use super::*;
use crate::chat::request::{
    Body, Effort, Format, Maker, Media, Reasoning, Seal, Source, Thinking, Tool, ToolCall, ToolChoice, ToolKind,
    ToolResult, Turn,
};
use serde_json::{Value, json};

fn read_json(body: &Value) -> Result<Request, Refusal> {
    read(body.to_string().as_bytes())
}

fn turns(contents: Value) -> Vec<Turn> {
    let request = read_json(&json!({"contents": contents})).expect("a request");
    assert_eq!(request.dropped, [""; 0]);
    request.turns
}

fn call(id: &str, name: &str, input: &str, seal: Option<Seal>) -> Block {
    let (id, name, input) = (id.to_owned(), name.to_owned(), input.to_owned());
    Block::of(Body::ToolCall(ToolCall { id, name, input, custom: false, seal }))
}

fn result(id: &str, name: &str, text: &str, is_error: bool) -> Block {
    let (id, name) = (id.to_owned(), Some(name.to_owned()));
    Block::of(Body::ToolResult(ToolResult { id, name, content: vec![Block::text(text)], is_error }))
}

fn thinking(text: &str, seal: Option<Seal>) -> Block {
    Block::of(Body::Thinking(Thinking { text: text.into(), seal }))
}

fn google(data: &str) -> Option<Seal> {
    Some(Seal { maker: Maker::Google, data: data.into(), redacted: false })
}

fn media(source: Source) -> Media {
    Media { source, name: None, detail: None }
}

#[test]
fn contents_come_in_many_shapes() {
    let hi = vec![Turn::User(vec![Block::text("Hi")])];
    for contents in [
        json!("Hi"),
        json!(["Hi"]),
        json!({"parts": [{"text": "Hi"}]}),
        json!({"role": "user", "parts": {"text": "Hi"}}),
        json!([{"role": null, "parts": [{"text": "Hi", "thought": null, "inlineData": null}]}]),
    ] {
        assert_eq!(turns(contents.clone()), hi, "{contents}");
    }
}

#[test]
fn calls_and_results_find_each_other() {
    let contents = json!([
        {"role": "user", "parts": [{"text": "go"}]},
        {"role": "model", "parts": [
            {"function_call": {"name": "f", "args": {"x": 1}}, "thought_signature": "CvcQ"},
            {"functionCall": {"name": "f"}, "thoughtSignature": "skip_thought_signature_validator"},
            {"functionCall": {"name": "g", "id": "own"}},
        ]},
        {"role": "function", "parts": [
            {"functionResponse": {"name": "g", "response": {"error": "broken"}}},
            {"function_response": {"name": "f", "response": {"result": "one"}}},
            {"functionResponse": {"name": "f", "id": "", "response": {"n": 1.50}}},
        ]},
    ]);
    let expected = vec![
        Turn::User(vec![Block::text("go")]),
        Turn::Assistant(vec![
            call("call_1_0", "f", "{\"x\":1}", google("CvcQ")),
            call("call_1_1", "f", "{}", None),
            call("own", "g", "{}", None),
        ]),
        Turn::User(vec![
            result("own", "g", "broken", true),
            result("call_1_0", "f", "one", false),
            result("call_1_1", "f", "{\"n\":1.5}", false),
        ]),
    ];
    assert_eq!(turns(contents), expected);
}

#[test]
fn input_and_results_keep_their_text() {
    let body = br#"{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f","args":{ "x" : 1.0e2 }}}]},
        {"parts":[{"functionResponse":{"name":"f","response":{"a": 1.00,"b":2}}}]}]}"#;
    let turns = read(body).expect("a request").turns;
    assert_eq!(turns[0], Turn::Assistant(vec![call("call_0_0", "f", "{ \"x\" : 1.0e2 }", None)]));
    assert_eq!(turns[1], Turn::User(vec![result("call_0_0", "f", "{\"a\": 1.00,\"b\":2}", false)]));
}

#[test]
fn a_streamed_turn_is_joined_again() {
    let model = |part: Value| json!({"role": "model", "parts": [part]});
    let contents = json!([
        model(json!({"text": "Let me", "thought": true})),
        model(json!({"text": " see.", "thought": true})),
        model(json!({"text": "", "thought": true, "thoughtSignature": "aWdjMS5hLnMuRXFRQg=="})),
        model(json!({"text": "We"})),
        model(json!({"text": "ll."})),
        model(json!({"text": "", "thoughtSignature": "CiQB"})),
        model(json!({"text": ""})),
    ]);
    let anthropic = Some(Seal { maker: Maker::Anthropic, data: "EqQB".into(), redacted: false });
    let expected = vec![Turn::Assistant(vec![
        thinking("Let me see.", anthropic),
        Block::text("Well."),
        thinking("", google("CiQB")),
    ])];
    assert_eq!(turns(contents), expected);
}

#[test]
fn media_by_their_types() {
    let contents = json!({"parts": [
        {"inlineData": {"mimeType": "image/PNG", "data": "_-8"}},
        {"inline_data": {"mime_type": "audio/wav", "data": "AAAA"}},
        {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}},
        {"inlineData": {"mimeType": "text/plain", "data": "SMO2"}},
        {"fileData": {"fileUri": "https://a.example/b", "mimeType": "image/jpeg"}},
        {"file_data": {"file_uri": "gs://b/c.png"}},
        {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/1", "mimeType": "audio/mp3"}},
        {"fileData": {"fileUri": "https://youtu.be/1"}},
    ]});
    let base64 =
        |media_type: &str, data: &str| media(Source::Base64 { media_type: media_type.into(), data: data.into() });
    let url = |url: &str, media_type: Option<&str>| {
        media(Source::Url { url: url.into(), media_type: media_type.map(str::to_owned) })
    };
    let file = |id: &str| media(Source::File { maker: Maker::Google, id: id.into() });
    let expected = [
        Body::Image(base64("image/png", "/+8=")),
        Body::Audio(base64("audio/wav", "AAAA")),
        Body::Video(base64("video/mp4", "AAAA")),
        Body::Document(base64("application/pdf", "AAAA")),
        Body::Document(media(Source::Text("Hö".into()))),
        Body::Image(url("https://a.example/b", Some("image/jpeg"))),
        Body::Image(file("gs://b/c.png")),
        Body::Audio(file("https://generativelanguage.googleapis.com/v1beta/files/1")),
        Body::Video(url("https://youtu.be/1", None)),
    ];
    assert_eq!(turns(contents), [Turn::User(expected.into_iter().map(Block::of).collect())]);
}

#[test]
fn results_keep_their_pictures() {
    let contents = json!([
        {"role": "model", "parts": [{"functionCall": {"name": "f", "id": "a"}}]},
        {"parts": [{"functionResponse": {"id": "a", "name": "f", "response": {"output": {"n": 1}},
            "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}}]},
    ]);
    let picture = Body::Image(media(Source::Base64 { media_type: "image/png".into(), data: "AAAA".into() }));
    let content = vec![Block::text("{\"n\":1}"), Block::of(picture)];
    let expected = ToolResult { id: "a".into(), name: Some("f".into()), content, is_error: false };
    assert_eq!(turns(contents)[1], Turn::User(vec![Block::of(Body::ToolResult(expected))]));
}

#[test]
fn tools_and_what_may_be_called() {
    let body = json!({
        "contents": "go",
        "tools": [
            {"function_declarations": [
                {"name": "f", "description": "F",
                    "parameters": {"type": "OBJECT", "properties": {"x": {"type": "STRING"}}}},
                {"name": "g", "parameters_json_schema": {"type": "object", "additionalProperties": false},
                    "response": {}},
            ]},
            {"googleSearch": {}, "codeExecution": null},
        ],
        "tool_config": {
            "function_calling_config": {"mode": "any", "allowed_function_names": ["f", "g"]}, "retrievalConfig": {},
        },
    });
    let request = read_json(&body).expect("a request");
    let function = |name: &str, description: Option<&str>, parameters| Tool {
        kind: ToolKind::Function { parameters: Some(parameters), strict: None },
        name: name.into(),
        description: description.map(str::to_owned),
        cache: None,
    };
    let hosted = ToolKind::Hosted { maker: Maker::Google, raw: json!({"googleSearch": {}}) };
    let expected = [
        function("f", Some("F"), json!({"type": "object", "properties": {"x": {"type": "string"}}})),
        function("g", None, json!({"type": "object", "additionalProperties": false})),
        Tool { kind: hosted, name: "googleSearch".into(), description: None, cache: None },
    ];
    assert_eq!(request.tools, expected);
    let names = vec!["f".into(), "g".into()];
    assert_eq!(request.tool_choice, Some(ToolChoice::Allowed { names, required: true }));
    assert_eq!(request.dropped, ["tools[0].functionDeclarations[1].response", "toolConfig.retrievalConfig"]);
}

#[test]
fn the_configuration_in_either_spelling() {
    let body = json!({
        "contents": "go",
        "system_instruction": {"parts": [{"text": "Be brief."}]},
        "generation_config": {
            "temperature": 0.5, "top_p": 1, "topK": 40.0, "seed": 7, "max_output_tokens": 100, "stopSequences": ["X"],
            "candidateCount": 2, "response_logprobs": true, "logprobs": 3,
            "presencePenalty": 1, "frequency_penalty": -1,
            "response_mime_type": "application/json", "response_schema": {"type": "OBJECT"},
            "thinking_config": {"include_thoughts": true, "thinking_level": "HIGH"},
            "mediaResolution": "MEDIA_RESOLUTION_LOW",
        },
        "safetySettings": [{"category": "c"}], "serviceTier": "standard", "labels": {"a": "b"}, "store": true,
    });
    let request = read_json(&body).expect("a request");
    assert_eq!(request.system, [Block::text("Be brief.")]);
    let sampling = &request.sampling;
    assert_eq!((sampling.temperature, sampling.top_p, sampling.top_k), (Some(0.5), Some(1.0), Some(40)));
    let penalties = (sampling.presence_penalty, sampling.frequency_penalty);
    assert_eq!((penalties, sampling.seed), ((Some(1.0), Some(-1.0)), Some(7)));
    assert_eq!((request.output_max, request.choices, request.logprobs), (Some(100), Some(2), Some(3)));
    assert_eq!(request.stop, ["X"]);
    let schema = json!({"type": "object"});
    let format = Format::JsonSchema { name: String::new(), description: None, schema, strict: None };
    assert_eq!(request.format, format);
    let reasoning = Reasoning { effort: Some(Effort::High), shown: Some(true), ..Reasoning::default() };
    assert_eq!(request.reasoning, reasoning);
    assert_eq!(request.safety, Some(json!([{"category": "c"}])));
    assert_eq!(request.service_tier.as_deref(), Some("default"));
    assert_eq!(request.dropped, ["generationConfig.mediaResolution", "labels", "store"]);
}

#[test]
fn budgets_of_thinking() {
    let of = |budget: Value| {
        let config = json!({"thinkingConfig": {"thinkingBudget": budget}});
        read_json(&json!({"contents": "go", "generationConfig": config})).expect("a request").reasoning
    };
    assert_eq!(of(json!(0)), Reasoning { enabled: Some(false), ..Reasoning::default() });
    assert_eq!(of(json!(-1)), Reasoning { enabled: Some(true), ..Reasoning::default() });
    assert_eq!(of(json!(512)), Reasoning { budget: Some(512), ..Reasoning::default() });
}

#[test]
fn refusals_name_the_member() {
    let part = |part: Value| json!({"contents": [{"parts": [{"text": "a"}, part]}]});
    let config = |name: &str, value: Value| json!({"contents": "a", "generationConfig": {name: value}});
    let rows = [
        (json!([]), "body"),
        (json!({}), "contents"),
        (json!({"contents": []}), "contents"),
        (json!({"contents": [{"role": "robot", "parts": []}]}), "contents[0].role"),
        (json!({"contents": [3]}), "contents[0]"),
        (json!({"contents": "a", "cachedContent": "cachedContents/1"}), "cachedContent"),
        (part(json!({"text": 1})), "contents[0].parts[1].text"),
        (part(json!({"functionCall": {"args": {}}})), "contents[0].parts[1].functionCall"),
        (part(json!({"functionCall": {"name": "f", "args": [1]}})), "contents[0].parts[1].functionCall.args"),
        (part(json!({"functionResponse": {"name": "f"}})), "contents[0].parts[1].functionResponse"),
        (part(json!({"inlineData": {"data": "AAAA"}})), "contents[0].parts[1].inlineData"),
        (part(json!({"fileData": {}})), "contents[0].parts[1].fileData"),
        (config("temperature", json!("hot")), "generationConfig.temperature"),
        (config("maxOutputTokens", json!(-1)), "generationConfig.maxOutputTokens"),
        (config("responseModalities", json!(["AUDIO"])), "generationConfig.responseModalities"),
        (config("responseMimeType", json!("text/x.enum")), "generationConfig.responseMimeType"),
        (config("thinkingConfig", json!({"thinkingLevel": "huge"})), "generationConfig.thinkingConfig.thinkingLevel"),
        (json!({"contents": "a", "systemInstruction": {"parts": [{"inlineData": {}}]}}), "systemInstruction.parts[0]"),
        (
            json!({"contents": "a", "toolConfig": {"functionCallingConfig": {"mode": "SOME"}}}),
            "toolConfig.functionCallingConfig.mode",
        ),
    ];
    for (body, param) in rows {
        assert_eq!(read_json(&body).expect_err(param).param, param, "{body}");
    }
}

proptest::proptest! {
    #[test]
    fn no_body_breaks_the_reader(at in 0_usize..400, byte in 0_u8..=255, len in 0_usize..500) {
        let body = br#"{"contents":[{"role":"model","parts":[{"functionCall":{"id":"a-igc1-W10","name":"f","args":{}},
            "thoughtSignature":"aWdjMS5hLnMuRXFRQg=="},{"text":"a","thought":true}]},{"parts":[{"functionResponse":
            {"name":"f","response":{"result":1},"parts":[{"inlineData":{"mimeType":"a/b","data":"_"}}]}}]}],
            "tools":[{"functionDeclarations":[{"name":"f","parameters":{"type":"OBJECT","properties":{"x":{}}}}]}]}"#;
        let mut body = body.to_vec();
        if let Some(place) = body.get_mut(at) {
            *place = byte;
        }
        body.truncate(body.len().min(len.max(1)));
        let _ = read(&body);
    }
}
