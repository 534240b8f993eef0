//! What the provider's side promises beside the golden files: requests that only other formats' clients can make, and
//! any bytes at all.

use super::PROVIDER;
use crate::chat::ability::Abilities;
use crate::chat::request::{
    AudioOut, Block, Body, Effort, Maker, Media, Reasoning, Refusal, Request, Seal, Source, Thinking, Tool, ToolCall,
    ToolKind, ToolResult, Turn,
};
use crate::chat::response::Finish;
use crate::dialects::{Aim, Written};
use proptest::prelude::*;
use serde_json::{Value, json};

fn write(request: &Request, abilities: &Abilities) -> Result<Written, Refusal> {
    (PROVIDER.write_request)(request, &Aim { model: "gpt-5.5-pro", abilities, provider: "openai" })
}

fn written(request: &Request) -> (Value, Vec<String>) {
    let written = write(request, &Abilities::default()).expect("can be said");
    (serde_json::from_slice(&written.body).expect("JSON"), written.dropped)
}

fn asks(blocks: Vec<Block>) -> Request {
    Request { turns: vec![Turn::User(blocks)], ..Request::default() }
}

fn media(source: Source) -> Media {
    Media { source, name: None, detail: None }
}

#[test]
fn what_has_no_word_is_noted_or_refused() {
    let mut request = asks(vec![Block::text("hi")]);
    request.stop = vec!["x".into()];
    request.sampling.seed = Some(7);
    request.sampling.top_k = Some(3);
    request.sampling.frequency_penalty = Some(0.0);
    request.sampling.presence_penalty = Some(0.5);
    request.sampling.logit_bias = Some(json!({"1": 2}));
    assert_eq!(written(&request).1, ["top_k", "presence_penalty", "seed", "logit_bias", "stop"]);

    let refused = |request: &Request| write(request, &Abilities::default()).expect_err("refused").param;
    assert_eq!(refused(&Request { choices: Some(2), ..request.clone() }), "n");
    assert_eq!(refused(&Request { audio: Some(AudioOut { raw: json!({}) }), ..request.clone() }), "audio");
    let foreign = Source::File { maker: Maker::Google, id: "files/1".into() };
    for body in [
        Body::Video(media(Source::Url { url: "https://example.com/a.mp4".into(), media_type: None })),
        Body::Image(media(foreign.clone())),
        Body::Document(media(foreign)),
        Body::Audio(media(Source::Base64 { media_type: "audio/wav".into(), data: "UklG".into() })),
    ] {
        assert_eq!(refused(&asks(vec![Block::of(body)])), "messages");
    }
}

#[test]
fn results_follow_their_calls_under_ids_that_openai_takes() {
    let long = "toolu_".to_owned() + &"x".repeat(80);
    let call = |id: &str, custom| ToolCall { id: id.into(), name: "f".into(), input: "{}".into(), custom, seal: None };
    let result = |id: &str, content, is_error| {
        Block::of(Body::ToolResult(ToolResult { id: id.into(), name: None, content, is_error }))
    };
    let seal = |maker| Some(Seal { maker, data: "s".into(), redacted: false });
    let request = Request {
        system: vec![Block::text("A."), Block::text("B.")],
        turns: vec![
            Turn::User(vec![Block::text("Go.")]),
            Turn::Assistant(vec![
                Block::of(Body::Thinking(Thinking { text: "t".into(), seal: seal(Maker::Anthropic) })),
                Block::text("One."),
                Block::of(Body::Thinking(Thinking { text: String::new(), seal: seal(Maker::OpenAi) })),
                Block::of(Body::ToolCall(call(&long, false))),
                Block::of(Body::ToolCall(call("c2", true))),
            ]),
            Turn::User(vec![
                result(&long, vec![Block::text("No such file.")], true),
                result("c2", vec![], false),
                Block::text("And?"),
            ]),
        ],
        ..Request::default()
    };
    let (body, dropped) = written(&request);
    let id = body["input"][3]["call_id"].as_str().expect("an id").to_owned();
    assert!(id.len() <= 64);
    assert_eq!(body["instructions"], "A.\n\nB.");
    assert_eq!(
        body["input"],
        json!([
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go."}]},
            {"type": "message", "role": "assistant",
                "content": [{"type": "output_text", "text": "One.", "annotations": []}]},
            {"type": "reasoning", "summary": [], "encrypted_content": "s"},
            {"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"},
            {"type": "custom_tool_call", "call_id": "c2", "name": "f", "input": "{}"},
            {"type": "function_call_output", "call_id": id, "output": "Error: No such file."},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": ""},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "And?"}]},
        ])
    );
    assert!(dropped.is_empty());
    assert_eq!((&body["store"], &body["include"]), (&json!(false), &json!(["reasoning.encrypted_content"])));
}

#[test]
fn thinking_is_asked_for_in_words_the_model_takes() {
    let efforts = vec![Effort::Low, Effort::High];
    let abilities = Abilities { reasoning: Some(true), efforts, ..Abilities::default() };
    let asked = |reasoning: Reasoning| {
        let request = Request { reasoning, ..asks(vec![Block::text("hi")]) };
        let written = write(&request, &abilities).expect("can be said");
        serde_json::from_slice::<Value>(&written.body).expect("JSON")["reasoning"].clone()
    };
    let effort = |effort| Reasoning { effort: Some(effort), ..Reasoning::default() };
    assert_eq!(asked(Reasoning::default()), Value::Null);
    assert_eq!(asked(effort(Effort::Max)), json!({"effort": "high"}));
    assert_eq!(asked(Reasoning { enabled: Some(false), ..effort(Effort::High) }), json!({"effort": "low"}));
    let budget = Reasoning { budget: Some(4_000), shown: Some(true), ..Reasoning::default() };
    assert_eq!(asked(budget), json!({"effort": "low", "summary": "auto"}));
}

#[test]
fn tools_of_other_makers_are_noted() {
    let hosted = |maker, raw: Value| Tool {
        name: raw["type"].as_str().unwrap_or("google_search").into(),
        kind: ToolKind::Hosted { maker, raw },
        description: None,
        cache: None,
    };
    let mut request = asks(vec![Block::text("hi")]);
    request.tools = vec![
        hosted(Maker::Google, json!({"googleSearch": {}})),
        hosted(Maker::OpenAi, json!({"type": "web_search", "search_context_size": "low"})),
    ];
    request.parallel_tools = Some(false);
    let (body, dropped) = written(&request);
    assert_eq!(body["tools"], json!([{"type": "web_search", "search_context_size": "low"}]));
    assert_eq!(body["parallel_tool_calls"], false);
    assert_eq!(dropped, ["tools.google_search"]);
}

proptest! {
    #[test]
    fn no_bytes_break_the_readers(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 1..40usize) {
        let _ = (PROVIDER.read_response)(&bytes);
        let _ = (super::CLIENT.read_request)(&bytes);
        let mut reader = (PROVIDER.stream_reader)();
        for piece in bytes.chunks(size) {
            reader.push(piece, &mut |_| {});
        }
    }

    /// Whatever members an event has and lacks, deltas keep their order: calls open before their input, nothing after
    /// the end.
    #[test]
    fn deltas_keep_their_order(kinds in proptest::collection::vec((0..KINDS.len(), 0..4u64), 0..40)) {
        let mut reader = (PROVIDER.stream_reader)();
        let (mut open, mut ended, mut started) = (Vec::new(), false, false);
        for (kind, place) in kinds {
            let (kind, item) = KINDS[kind];
            let event = json!({"type": kind, "output_index": place, "delta": "{", "summary_index": place,
                "item": {"type": item, "call_id": place.to_string(), "name": "f", "arguments": "{}", "input": "x",
                    "encrypted_content": "g"}, "response": {"error": {"message": "m"}, "usage": {"input_tokens": 1}}});
            let bytes = format!("data: {event}\n\n");
            let mut wrong = false;
            reader.push(bytes.as_bytes(), &mut |delta| {
                let dumped = super::dump::delta(&delta);
                let index = |name: &str| dumped[name]["index"].as_u64();
                wrong |= ended && !matches!(delta, crate::chat::delta::Delta::Usage(_));
                if let Some(index) = index("tool_start") {
                    wrong |= open.contains(&index);
                    open.push(index);
                }
                if let Some(index) = index("tool_input").or(dumped["tool_end"].as_u64()) {
                    wrong |= !open.contains(&index);
                }
                if let Some(index) = dumped["tool_end"].as_u64() {
                    open.retain(|there| *there != index);
                }
                let error = dumped.get("error").is_some();
                wrong |= dumped.get("start").is_some() == started && !error;
                started = true;
                ended |= error || dumped.get("finish").is_some();
            });
            prop_assert!(!wrong, "{}", event);
        }
        prop_assert!(!reader.is_complete() || open.is_empty());
    }
}

const KINDS: [(&str, &str); 9] = [
    ("response.created", ""),
    ("response.output_text.delta", ""),
    ("response.output_item.added", "function_call"),
    ("response.output_item.added", "custom_tool_call"),
    ("response.function_call_arguments.delta", ""),
    ("response.output_item.done", "function_call"),
    ("response.output_item.done", "reasoning"),
    ("response.completed", ""),
    ("response.failed", ""),
];

#[test]
fn an_answer_says_why_it_ended() {
    let read = |text: &str| (PROVIDER.read_response)(text.as_bytes());
    let ended = |text: &str| read(text).expect("readable").choices[0].finish.clone();
    assert_eq!(ended(r#"{"output":[]}"#), Finish::Stop);
    assert_eq!(ended(r#"{"output":[],"status":"incomplete"}"#), Finish::Length);
    assert_eq!(ended(r#"{"output":[{"type":"function_call","name":"f"}]}"#), Finish::ToolCalls);
    for text in ["", "[]", "{}", r#"{"output":{}}"#, r#"{"output":[],"status":"in_progress"}"#] {
        assert!(read(text).is_err(), "{text}");
    }
}
