//! A provider's whole answer: its items become the pieces of the one answer there is.

use super::read_usage;
use crate::chat::request::{Maker, Seal, Thinking, ToolCall};
use crate::chat::response::{Choice, Finish, Piece, Response, Unreadable};
use crate::json::Span;
use serde_json::{Map, Value};

/// Reads a `response` object.
///
/// # Errors
/// When it is none, when it failed, or when it is not finished (nobody asks for an answer in the background).
pub fn read_response(body: &[u8]) -> Result<Response, Unreadable> {
    let value: Value = serde_json::from_slice(body).map_err(|_| Unreadable("it is not JSON"))?;
    let Value::Object(mut answer) = value else { return Err(Unreadable("it is not an object")) };
    let Some(Value::Array(output)) = answer.remove("output") else { return Err(Unreadable("it has no output")) };
    match answer.get("status").and_then(Value::as_str) {
        Some("failed" | "cancelled") => return Err(Unreadable("it failed")),
        Some("queued" | "in_progress") => return Err(Unreadable("it is not finished")),
        _ => {}
    }
    let mut read = Read::default();
    for item in output {
        if let Value::Object(item) = item {
            read.item(item);
        }
    }
    let called = read.pieces.iter().any(|piece| matches!(piece, Piece::ToolCall(_)));
    let reason = answer.get("incomplete_details").and_then(|details| details.get("reason")?.as_str());
    let incomplete = answer.get("status").is_some_and(|status| status == "incomplete");
    let logprobs = (!read.logprobs.is_empty()).then(|| serde_json::json!({"content": read.logprobs}));
    let choice = Choice { index: 0, pieces: read.pieces, finish: finish(incomplete, reason, called), logprobs };
    Ok(Response {
        id: text(&mut answer, "id"),
        model: text(&mut answer, "model"),
        choices: vec![choice],
        usage: read_usage::in_object(body, Span { start: 0, end: body.len() }),
        service_tier: answer.get("service_tier").and_then(Value::as_str).map(str::to_owned),
    })
}

/// Why an answer ended.
pub(super) fn finish(incomplete: bool, reason: Option<&str>, called: bool) -> Finish {
    match reason {
        Some("content_filter") if incomplete => Finish::ContentFilter,
        _ if incomplete => Finish::Length,
        _ if called => Finish::ToolCalls,
        _ => Finish::Stop,
    }
}

/// The seal in `encrypted_content`; OpenAI's, for nobody else speaks this format to us.
pub(super) fn seal(data: String) -> Option<Seal> {
    (!data.is_empty()).then_some(Seal { maker: Maker::OpenAi, data, redacted: false })
}

/// An annotation in Chat's form, which is the one inside: the members of a citation lie one level deeper there.
pub(super) fn nested_annotation(annotation: Value) -> Value {
    match annotation {
        Value::Object(mut members) if members.get("type").is_some_and(|kind| kind == "url_citation") => {
            if members.contains_key("url_citation") {
                return Value::Object(members);
            }
            members.shift_remove("type");
            serde_json::json!({"type": "url_citation", "url_citation": members})
        }
        other => other,
    }
}

/// What a picture is, by the `output_format` beside it.
pub(super) fn image_type(format: Option<&str>) -> String {
    format!("image/{}", format.filter(|format| !format.is_empty()).unwrap_or("png"))
}

#[derive(Default)]
struct Read {
    pieces: Vec<Piece>,
    logprobs: Vec<Value>,
}

// === impl Read ===

impl Read {
    /// One item. Those of tools that OpenAI runs are steps towards the answer, not parts of it.
    fn item(&mut self, mut item: Map<String, Value>) {
        match text(&mut item, "type").as_str() {
            "message" => {
                for part in list(&mut item, "content") {
                    if let Value::Object(part) = part {
                        self.part(part);
                    }
                }
            }
            "reasoning" => {
                let summary = texts(list(&mut item, "summary"));
                let text_read = if summary.is_empty() { texts(list(&mut item, "content")) } else { summary };
                let seal = seal(text(&mut item, "encrypted_content"));
                if !text_read.is_empty() || seal.is_some() {
                    self.pieces.push(Piece::Thinking(Thinking { text: text_read, seal }));
                }
            }
            "function_call" => self.call(item, "arguments"),
            "custom_tool_call" => self.call(item, "input"),
            "image_generation_call" => {
                let data = text(&mut item, "result");
                if !data.is_empty() {
                    let media_type = image_type(item.get("output_format").and_then(Value::as_str));
                    self.pieces.push(Piece::Image { media_type, data });
                }
            }
            _ => {}
        }
    }

    fn part(&mut self, mut part: Map<String, Value>) {
        match text(&mut part, "type").as_str() {
            "output_text" => {
                self.pieces.push(Piece::Text(text(&mut part, "text")));
                let notes = list(&mut part, "annotations").into_iter().map(nested_annotation);
                self.pieces.extend(notes.map(Piece::Annotation));
                self.logprobs.extend(list(&mut part, "logprobs"));
            }
            "refusal" => self.pieces.push(Piece::Refusal(text(&mut part, "refusal"))),
            _ => {}
        }
    }

    fn call(&mut self, mut item: Map<String, Value>, input: &str) {
        let custom = input == "input";
        let mut input = text(&mut item, input);
        if !custom && input.trim().is_empty() {
            input = "{}".to_owned();
        }
        let mut id = text(&mut item, "call_id");
        if id.is_empty() {
            id = format!("call_{}", self.pieces.len());
        }
        let name = text(&mut item, "name");
        self.pieces.push(Piece::ToolCall(ToolCall { id, name, input, custom, seal: None }));
    }
}

/// The string under `name`; empty if there is none.
fn text(object: &mut Map<String, Value>, name: &str) -> String {
    match object.get_mut(name).map(Value::take) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    }
}

fn list(object: &mut Map<String, Value>, name: &str) -> Vec<Value> {
    match object.get_mut(name).map(Value::take) {
        Some(Value::Array(values)) => values,
        _ => Vec::new(),
    }
}

/// The texts of parts, as paragraphs.
fn texts(parts: Vec<Value>) -> String {
    let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
    texts.join("\n\n")
}
