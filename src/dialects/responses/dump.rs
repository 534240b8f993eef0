//! Requests, answers and deltas as plain JSON, so that golden files can say what is expected. For tests.

use crate::chat::delta::Delta;
use crate::chat::request::{
    Block, Body, CacheHint, Format, Maker, Media, Request, Seal, Source, Thinking, Tool, ToolCall, ToolChoice,
    ToolKind, Turn,
};
use crate::chat::response::{Choice, Finish, Piece, Response};
use crate::domain::token::Usage;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// An object of what is there: `null`, `false`, empty texts, lists and objects are left out.
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let worth = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    };
    let kept = members.into_iter().filter(|(_, value)| worth(value)).map(|(name, value)| (name.to_owned(), value));
    Value::Object(kept.collect::<Map<_, _>>())
}

pub(super) fn request(request: &Request) -> Value {
    let sampling = &request.sampling;
    object([
        ("system", blocks(&request.system)),
        ("turns", request.turns.iter().map(turn).collect()),
        ("tools", request.tools.iter().map(tool).collect()),
        ("tool_choice", request.tool_choice.as_ref().map(choice).unwrap_or_default()),
        ("parallel_tools", stated(request.parallel_tools)),
        ("output_max", json!(request.output_max)),
        ("temperature", json!(sampling.temperature)),
        ("top_p", json!(sampling.top_p)),
        ("logprobs", json!(request.logprobs)),
        ("format", format(&request.format)),
        ("effort", json!(request.reasoning.effort.map(|effort| effort.as_str()))),
        ("shown", stated(request.reasoning.shown)),
        ("verbosity", json!(request.verbosity)),
        ("user", json!(request.user)),
        ("service_tier", json!(request.service_tier)),
        ("prompt_cache_key", json!(request.prompt_cache_key)),
        ("stream", json!(request.stream)),
        ("dropped", json!(request.dropped)),
    ])
}

/// A stated "no" is worth saying too.
fn stated(value: Option<bool>) -> Value {
    value.map(|value| if value { json!(true) } else { json!("no") }).unwrap_or_default()
}

fn turn(turn: &Turn) -> Value {
    match turn {
        Turn::User(inner) => json!({"user": blocks(inner)}),
        Turn::Assistant(inner) => json!({"assistant": blocks(inner)}),
        Turn::System(inner) => json!({"system": blocks(inner)}),
    }
}

fn blocks(blocks: &[Block]) -> Value {
    blocks.iter().map(block).collect()
}

fn block(block: &Block) -> Value {
    let mut value = match &block.body {
        Body::Text(text) => json!({"text": text}),
        Body::Refusal(text) => json!({"refusal": text}),
        Body::Image(it) => json!({"image": media(it)}),
        Body::Document(it) => json!({"document": media(it)}),
        Body::Audio(it) => json!({"audio": media(it)}),
        Body::Video(it) => json!({"video": media(it)}),
        Body::Thinking(it) => thinking(it),
        Body::ToolCall(it) => call(it),
        Body::ToolResult(it) => json!({"result": object([
            ("id", json!(it.id)),
            ("name", json!(it.name)),
            ("content", blocks(&it.content)),
            ("is_error", json!(it.is_error)),
        ])}),
    };
    if let (Some(cache), Some(members)) = (block.cache, value.as_object_mut()) {
        members.insert("cache".into(), json!(if cache == CacheHint::Long { "long" } else { "short" }));
    }
    value
}

fn media(media: &Media) -> Value {
    let source = match &media.source {
        Source::Url { url, .. } => json!({"url": url}),
        Source::Base64 { media_type, data } => json!({"media_type": media_type, "data": data}),
        Source::Text(text) => json!({"text": text}),
        Source::File { maker: its, id } => json!({"file": id, "maker": maker(*its)}),
    };
    object([("source", source), ("name", json!(media.name)), ("detail", json!(media.detail))])
}

fn maker(maker: Maker) -> &'static str {
    match maker {
        Maker::OpenAi => "openai",
        Maker::Anthropic => "anthropic",
        Maker::Google => "google",
    }
}

fn seal(seal: Option<&Seal>) -> Value {
    let Some(seal) = seal else { return Value::Null };
    object([("maker", json!(maker(seal.maker))), ("data", json!(seal.data)), ("redacted", json!(seal.redacted))])
}

fn seal_of(value: &Value) -> Option<Seal> {
    let maker = match value["maker"].as_str()? {
        "openai" => Maker::OpenAi,
        "anthropic" => Maker::Anthropic,
        "google" => Maker::Google,
        other => panic!("no maker: {other}"),
    };
    Some(Seal { maker, data: text_of(&value["data"]), redacted: value["redacted"] == true })
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn thinking(thinking: &Thinking) -> Value {
    json!({"thinking": object([("text", json!(thinking.text)), ("seal", seal(thinking.seal.as_ref()))])})
}

fn call(call: &ToolCall) -> Value {
    json!({"call": object([
        ("id", json!(call.id)),
        ("name", json!(call.name)),
        ("input", json!(call.input)),
        ("custom", json!(call.custom)),
        ("seal", seal(call.seal.as_ref())),
    ])})
}

fn tool(tool: &Tool) -> Value {
    let kind = match &tool.kind {
        ToolKind::Function { parameters, strict } => {
            json!({"function": object([("parameters", json!(parameters)), ("strict", stated(*strict))])})
        }
        ToolKind::Custom { format } => json!({"custom": format}),
        ToolKind::Hosted { maker: whose, raw } => json!({"hosted": raw, "maker": maker(*whose)}),
    };
    object([("name", json!(tool.name)), ("description", json!(tool.description)), ("kind", kind)])
}

fn choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Named(name) => json!({"named": name}),
        ToolChoice::Allowed { names, required } => json!({"allowed": names, "required": required}),
    }
}

fn format(format: &Format) -> Value {
    match format {
        Format::Text => Value::Null,
        Format::JsonObject => json!("json"),
        Format::JsonSchema { name, description, schema, strict } => object([
            ("name", json!(name)),
            ("description", json!(description)),
            ("schema", schema.clone()),
            ("strict", stated(*strict)),
        ]),
    }
}

pub(super) fn usage(usage: &Usage) -> Value {
    json!({"input": usage.input, "output": usage.output, "cached_input": usage.cached_input,
        "cache_write": usage.cache_write, "cache_write_long": usage.cache_write_long, "reasoning": usage.reasoning})
}

pub(super) fn usage_of(value: &Value) -> Option<Usage> {
    let figure = |name: &str| value[name].as_u64().unwrap_or(0);
    value.as_object().map(|_| Usage {
        input: figure("input"),
        output: figure("output"),
        cached_input: figure("cached_input"),
        cache_write: figure("cache_write"),
        cache_write_long: figure("cache_write_long"),
        reasoning: figure("reasoning"),
        ..Usage::default()
    })
}

fn finish(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::StopText(_) => "stop_text",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter => "content_filter",
        Finish::Pause => "pause",
    }
}

fn finish_of(word: &str) -> Finish {
    match word {
        "stop" => Finish::Stop,
        "length" => Finish::Length,
        "tool_calls" => Finish::ToolCalls,
        "content_filter" => Finish::ContentFilter,
        other => panic!("no finish: {other}"),
    }
}

pub(super) fn response(response: &Response) -> Value {
    object([
        ("id", json!(response.id)),
        ("model", json!(response.model)),
        ("choices", response.choices.iter().map(answer).collect()),
        ("usage", response.usage.as_ref().map(usage).unwrap_or_default()),
        ("service_tier", json!(response.service_tier)),
    ])
}

fn answer(choice: &Choice) -> Value {
    object([
        ("pieces", choice.pieces.iter().map(piece).collect()),
        ("finish", json!(finish(&choice.finish))),
        ("logprobs", choice.logprobs.clone().unwrap_or_default()),
    ])
}

fn piece(piece: &Piece) -> Value {
    match piece {
        Piece::Text(text) => json!({"text": text}),
        Piece::Refusal(text) => json!({"refusal": text}),
        Piece::Thinking(it) => thinking(it),
        Piece::ToolCall(it) => call(it),
        Piece::Image { media_type, data } => json!({"image": {"media_type": media_type, "data": data}}),
        Piece::Audio(audio) => json!({"sound": audio}),
        Piece::Annotation(annotation) => json!({"annotation": annotation}),
    }
}

pub(super) fn delta(delta: &Delta<'_>) -> Value {
    match delta {
        Delta::Start { id, model } => json!({"start": {"id": id, "model": model}}),
        Delta::Text { text, .. } => json!({"text": text}),
        Delta::Refusal { text, .. } => json!({"refusal": text}),
        Delta::Thinking { text, .. } => json!({"thinking": text}),
        Delta::Seal { seal: it, .. } => json!({"seal": seal(Some(it))}),
        Delta::ToolStart { index, id, name, custom, seal: it, .. } => json!({"tool_start": object([
            ("index", json!(index)),
            ("id", json!(id)),
            ("name", json!(name)),
            ("custom", json!(custom)),
            ("seal", seal(it.as_ref())),
        ])}),
        Delta::ToolInput { index, json, .. } => json!({"tool_input": {"index": index, "json": json}}),
        Delta::ToolEnd { index, .. } => json!({"tool_end": index}),
        Delta::Image { media_type, data, .. } => json!({"image": {"media_type": media_type, "data": data}}),
        Delta::Logprobs { logprobs, .. } => json!({"logprobs": logprobs}),
        Delta::Annotation { annotation, .. } => json!({"annotation": annotation}),
        Delta::Finish { reason, .. } => json!({"finish": finish(reason)}),
        Delta::Usage(it) => json!({"usage": usage(it)}),
        Delta::Ping => json!("ping"),
        Delta::Error { body } => json!({"error": String::from_utf8_lossy(body)}),
    }
}

/// The delta that a golden file says: the inverse of [`delta`].
pub(super) fn delta_of(value: &Value) -> Delta<'static> {
    let choice = 0;
    let Some((name, inner)) = value.as_object().and_then(|members| members.iter().next()) else { return Delta::Ping };
    let text = |value: &Value| Cow::Owned(text_of(value));
    let index = u32::try_from(inner["index"].as_u64().or(inner.as_u64()).unwrap_or(0)).expect("small");
    match name.as_str() {
        "start" => Delta::Start { id: text(&inner["id"]), model: text(&inner["model"]) },
        "text" => Delta::Text { choice, text: text(inner) },
        "refusal" => Delta::Refusal { choice, text: text(inner) },
        "thinking" => Delta::Thinking { choice, text: text(inner) },
        "seal" => Delta::Seal { choice, seal: seal_of(inner).expect("a seal") },
        "tool_start" => Delta::ToolStart {
            choice,
            index,
            id: text(&inner["id"]),
            name: text(&inner["name"]),
            custom: inner["custom"] == true,
            seal: seal_of(&inner["seal"]),
        },
        "tool_input" => Delta::ToolInput { choice, index, json: text(&inner["json"]) },
        "tool_end" => Delta::ToolEnd { choice, index },
        "image" => Delta::Image { choice, media_type: text(&inner["media_type"]), data: text(&inner["data"]) },
        "logprobs" => Delta::Logprobs { choice, logprobs: inner.clone() },
        "annotation" => Delta::Annotation { choice, annotation: inner.clone() },
        "finish" => Delta::Finish { choice, reason: finish_of(inner.as_str().expect("a word")) },
        other => panic!("no delta: {other}"),
    }
}
