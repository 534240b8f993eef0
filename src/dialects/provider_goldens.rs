//! For tests of the formats that only providers speak: golden files, and inner values as plain JSON to compare with them.
//!
//! A golden request is written in OpenAI's Chat form. The small reader here knows just the members that those files use, so that these
//! formats can be tested by themselves; the sweep over all formats reads the same files with the real reader.

use super::{Aim, ProviderSide, StreamReader};
use crate::chat::ability::Abilities;
use crate::chat::carry;
use crate::chat::delta::Delta;
use crate::chat::request::*;
use crate::chat::response::{Finish, Piece, Response};
use crate::domain::token::Usage;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The golden files of a provider whose names begin and end so: the case's name and the text.
pub fn cases(provider: &str, start: &str, end: &str) -> Vec<(String, String)> {
    let root = std::env::var_os("IGRIS_GOLDEN")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")), PathBuf::from);
    let mut cases: Vec<_> = std::fs::read_dir(root.join(provider))
        .expect("a folder of goldens")
        .map(|entry| entry.expect("a readable folder").path())
        .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)))
        .filter(|(name, _)| name.starts_with(start) && name.ends_with(end))
        .map(|(name, path)| (name, std::fs::read_to_string(path).expect("a readable golden")))
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "{provider} has no {start}*{end}");
    cases
}

fn parse(name: &str, text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Writes every golden request and compares.
pub fn check_requests(provider: &str, side: &ProviderSide) {
    for (name, text) in cases(provider, "request-", ".json") {
        let golden = parse(&name, &text);
        let abilities = abilities(&golden["aim"]["abilities"]);
        let model = golden["aim"]["model"].as_str().expect("a model");
        let request = request(&golden["request"]);
        let written = (side.write_request)(&request, &Aim { model, abilities: &abilities, provider });
        match written {
            Ok(written) => {
                let body: Value = serde_json::from_slice(&written.body).expect("JSON");
                assert_eq!(pretty(&body), pretty(&golden["expect"]), "{name}");
                assert_eq!(json!(written.dropped), golden["dropped"], "{name}");
            }
            Err(refusal) => {
                assert_eq!(json!({"param": refusal.param}), golden["refused"], "{name}: {}", refusal.message)
            }
        }
    }
}

/// A golden answer. The body stays text: a tree would write its numbers anew.
#[derive(serde::Deserialize)]
struct Answered<'a> {
    #[serde(borrow)]
    body: &'a serde_json::value::RawValue,
    expect: Value,
}

/// Reads every golden answer and compares.
pub fn check_responses(provider: &str, side: &ProviderSide) {
    for (name, text) in cases(provider, "response-", ".json") {
        let golden: Answered = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let read = (side.read_response)(golden.body.get().as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(pretty(&answer_json(&read)), pretty(&golden.expect), "{name}");
    }
}

/// Reads a golden stream in several splits and compares.
pub fn check_stream(name: &str, bytes: &[u8], reader: fn() -> Box<dyn StreamReader>, golden: &str) {
    let golden = parse(name, golden);
    for step in [bytes.len().max(1), 1, 7, 61] {
        let mut reader = reader();
        let mut deltas = Vec::new();
        for part in bytes.chunks(step) {
            reader.push(part, &mut |delta| deltas.push(delta_json(&delta)));
        }
        assert_eq!(pretty(&Value::Array(deltas)), pretty(&golden["deltas"]), "{name} in steps of {step}");
        assert_eq!(json!(reader.is_complete()), golden["complete"], "{name}");
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON")
}

fn abilities(value: &Value) -> Abilities {
    let flag = |name: &str| value[name].as_bool();
    let efforts = value["efforts"].as_array().into_iter().flatten();
    Abilities {
        vision: flag("vision"),
        tools: flag("tools"),
        json_schema: flag("json_schema"),
        reasoning: flag("reasoning"),
        efforts: efforts.map(|effort| Effort::parse(effort.as_str().expect("a word")).expect("an effort")).collect(),
        thinking_always_on: flag("thinking_always_on"),
        sampling_params: flag("sampling_params"),
        assistant_prefill: flag("assistant_prefill"),
        output_max: value["output_max"].as_u64(),
        ..Abilities::default()
    }
}

/// A request in OpenAI's Chat form.
pub fn request(body: &Value) -> Request {
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let mut request = Request {
        output_max: body["max_completion_tokens"].as_u64().or(body["max_tokens"].as_u64()),
        parallel_tools: body["parallel_tool_calls"].as_bool(),
        choices: body["n"].as_u64().map(|n| n as u32),
        logprobs: body["logprobs"]
            .as_bool()
            .filter(|on| *on)
            .map(|_| body["top_logprobs"].as_u64().unwrap_or(0) as u32),
        service_tier: text("service_tier"),
        verbosity: text("verbosity"),
        user: text("user"),
        stream: body["stream"] == true,
        ..Request::default()
    };
    request.sampling = Sampling {
        temperature: body["temperature"].as_f64(),
        top_p: body["top_p"].as_f64(),
        frequency_penalty: body["frequency_penalty"].as_f64(),
        presence_penalty: body["presence_penalty"].as_f64(),
        seed: body["seed"].as_i64(),
        ..Sampling::default()
    };
    request.reasoning.effort = body["reasoning_effort"].as_str().and_then(Effort::parse);
    request.stop = match &body["stop"] {
        Value::String(stop) => vec![stop.clone()],
        stop => stop.as_array().into_iter().flatten().filter_map(|stop| stop.as_str().map(str::to_owned)).collect(),
    };
    request.tools = body["tools"].as_array().into_iter().flatten().map(tool).collect();
    request.tool_choice = tool_choice(&body["tool_choice"]);
    request.format = format(&body["response_format"]);
    for message in body["messages"].as_array().into_iter().flatten() {
        read_message(&mut request, message);
    }
    request
}

fn tool(value: &Value) -> Tool {
    let function = &value["function"];
    let parameters = Some(function["parameters"].clone()).filter(|schema| !schema.is_null());
    Tool {
        kind: ToolKind::Function { parameters, strict: function["strict"].as_bool() },
        name: function["name"].as_str().expect("a name").to_owned(),
        description: function["description"].as_str().map(str::to_owned),
        cache: None,
    }
}

fn tool_choice(value: &Value) -> Option<ToolChoice> {
    match value {
        Value::Null => None,
        Value::String(word) if word == "auto" => Some(ToolChoice::Auto),
        Value::String(word) if word == "none" => Some(ToolChoice::None),
        Value::String(_) => Some(ToolChoice::Required),
        named => Some(ToolChoice::Named(named["function"]["name"].as_str().expect("a name").to_owned())),
    }
}

fn format(value: &Value) -> Format {
    match value["type"].as_str() {
        Some("json_object") => Format::JsonObject,
        Some("json_schema") => {
            let inner = &value["json_schema"];
            Format::JsonSchema {
                name: inner["name"].as_str().unwrap_or_default().to_owned(),
                description: None,
                schema: inner["schema"].clone(),
                strict: inner["strict"].as_bool(),
            }
        }
        _ => Format::Text,
    }
}

fn read_message(request: &mut Request, message: &Value) {
    let blocks = parts(&message["content"]);
    match message["role"].as_str().expect("a role") {
        "system" if request.turns.is_empty() => request.system.extend(blocks),
        "system" => request.turns.push(Turn::System(blocks)),
        "user" => request.turns.push(Turn::User(blocks)),
        "tool" => {
            let (id, _) = carry::unpack(message["tool_call_id"].as_str().expect("an id"));
            let result = ToolResult { id: id.to_owned(), name: None, content: blocks, is_error: false };
            request.turns.push(Turn::User(vec![Block::of(Body::ToolResult(result))]));
        }
        _ => {
            let mut blocks = blocks;
            for call in message["tool_calls"].as_array().into_iter().flatten() {
                let (id, carried) = carry::unpack(call["id"].as_str().expect("an id"));
                blocks.extend(carried.thinking.into_iter().map(|thinking| Block::of(Body::Thinking(thinking))));
                blocks.push(Block::of(Body::ToolCall(ToolCall {
                    id: id.to_owned(),
                    name: call["function"]["name"].as_str().expect("a name").to_owned(),
                    input: call["function"]["arguments"].as_str().expect("text").to_owned(),
                    custom: false,
                    seal: None,
                })));
            }
            request.turns.push(Turn::Assistant(blocks));
        }
    }
}

fn parts(content: &Value) -> Vec<Block> {
    let part = |part: &Value| {
        let Some(url) = part["image_url"]["url"].as_str() else {
            return Block::text(part["text"].as_str().expect("text"));
        };
        let inline = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
        let source = match inline {
            Some((media_type, data)) => Source::Base64 { media_type: media_type.to_owned(), data: data.to_owned() },
            None => Source::Url { url: url.to_owned(), media_type: None },
        };
        let detail = part["image_url"]["detail"].as_str().map(str::to_owned);
        Block::of(Body::Image(Media { source, name: None, detail }))
    };
    match content {
        Value::String(text) => vec![Block::text(text)],
        parts => parts.as_array().into_iter().flatten().map(part).collect(),
    }
}

/// An answer, one object a piece.
pub fn answer_json(answer: &Response) -> Value {
    let choice = answer.choices.first().expect("a choice");
    let mut out = json!({
        "id": answer.id,
        "model": answer.model,
        "pieces": choice.pieces.iter().map(piece_json).collect::<Vec<_>>(),
        "finish": finish_json(&choice.finish),
        "usage": answer.usage.as_ref().map(usage_json),
    });
    if let Some(tier) = &answer.service_tier {
        out["service_tier"] = json!(tier);
    }
    if let Some(logprobs) = &choice.logprobs {
        out["logprobs"] = logprobs.clone();
    }
    out
}

fn piece_json(piece: &Piece) -> Value {
    match piece {
        Piece::Text(text) => json!({"text": text}),
        Piece::Refusal(text) => json!({"refusal": text}),
        Piece::Thinking(Thinking { text, seal }) => match seal {
            Some(seal) => json!({"thinking": text, "seal": seal_json(seal)}),
            None => json!({"thinking": text}),
        },
        Piece::ToolCall(call) => json!({"tool_call": {"id": call.id, "name": call.name, "input": call.input}}),
        Piece::Image { media_type, data } => json!({"image": {"media_type": media_type, "data": data}}),
        Piece::Audio(audio) => json!({"audio": audio}),
        Piece::Annotation(annotation) => json!({"annotation": annotation}),
    }
}

fn seal_json(seal: &Seal) -> Value {
    json!({"maker": format!("{:?}", seal.maker).to_lowercase(), "data": seal.data, "redacted": seal.redacted})
}

fn finish_json(finish: &Finish) -> Value {
    match finish {
        Finish::Stop => json!("stop"),
        Finish::StopText(text) => json!({"stop_text": text}),
        Finish::Length => json!("length"),
        Finish::ToolCalls => json!("tool_calls"),
        Finish::ContentFilter => json!("content_filter"),
        Finish::Pause => json!("pause"),
    }
}

fn usage_json(usage: &Usage) -> Value {
    let figures = [
        ("input", usage.input),
        ("output", usage.output),
        ("cached_input", usage.cached_input),
        ("cache_write", usage.cache_write),
        ("cache_write_long", usage.cache_write_long),
        ("reasoning", usage.reasoning),
    ];
    figures
        .into_iter()
        .filter(|(_, figure)| *figure > 0)
        .map(|(name, figure)| (name.to_owned(), json!(figure)))
        .collect()
}

/// A delta, one object; choices are not shown, for there is one.
pub fn delta_json(delta: &Delta<'_>) -> Value {
    match delta {
        Delta::Start { id, model } => json!({"start": {"id": id, "model": model}}),
        Delta::Text { text, .. } => json!({"text": text}),
        Delta::Refusal { text, .. } => json!({"refusal": text}),
        Delta::Thinking { text, .. } => json!({"thinking": text}),
        Delta::Seal { seal, .. } => json!({"seal": seal_json(seal)}),
        Delta::ToolStart { index, id, name, .. } => json!({"tool_start": {"index": index, "id": id, "name": name}}),
        Delta::ToolInput { index, json, .. } => json!({"tool_input": {"index": index, "json": json}}),
        Delta::ToolEnd { index, .. } => json!({"tool_end": index}),
        Delta::Image { media_type, data, .. } => json!({"image": {"media_type": media_type, "data": data}}),
        Delta::Logprobs { logprobs, .. } => json!({"logprobs": logprobs}),
        Delta::Annotation { annotation, .. } => json!({"annotation": annotation}),
        Delta::Finish { reason, .. } => json!({"finish": finish_json(reason)}),
        Delta::Usage(usage) => json!({"usage": usage_json(usage)}),
        Delta::Ping => json!("ping"),
        Delta::Error { body } => json!({"error": String::from_utf8_lossy(body)}),
    }
}
