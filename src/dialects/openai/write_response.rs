//! A whole answer and an error as Chat Completions have them.
//!
//! Beside the documented members: `reasoning_content` has the words of thinking, `reasoning_details` its seals, `images` pictures as data
//! URLs. Clients that drop such members still bring sealed thinking back, since it travels in the ids of tool calls too.

use super::reasoning;
use crate::chat::carry::{self, Carried};
use crate::chat::request::{Thinking, ToolCall};
use crate::chat::response::{Choice, Finish, Piece, Response};
use crate::chat::shown::Shown;
use crate::dialects::Setting;
use crate::domain::token::Usage;
use crate::json::splice::escape_into;
use serde_json::Value;

/// Writes an answer.
pub(super) fn write(response: &Response, setting: &Setting<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":");
    escape_into(&format!("chatcmpl-{}", setting.id), out);
    out.extend_from_slice(b",\"object\":\"chat.completion\",\"created\":");
    out.extend_from_slice(itoa::Buffer::new().format(setting.created).as_bytes());
    out.extend_from_slice(b",\"model\":");
    escape_into(setting.model, out);
    out.extend_from_slice(b",\"choices\":[");
    for (place, choice) in response.choices.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_choice(choice, out);
    }
    out.push(b']');
    if let Some(usage) = &response.usage {
        out.extend_from_slice(b",\"usage\":");
        write_usage(usage, out);
    }
    if let Some(tier) = &response.service_tier {
        out.extend_from_slice(b",\"service_tier\":");
        escape_into(tier, out);
    }
    out.push(b'}');
}

/// Writes the body of an error.
pub(super) fn error(shown: &Shown<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"error\":{\"message\":");
    escape_into(shown.message, out);
    out.extend_from_slice(b",\"type\":");
    escape_into(shown.kind, out);
    out.extend_from_slice(b",\"param\":");
    match shown.param {
        Some(param) => escape_into(param, out),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"code\":");
    escape_into(shown.code, out);
    out.extend_from_slice(b"}}");
}

/// The word for why an answer ended.
pub(super) const fn finish_word(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopText(_) | Finish::Pause => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter => "content_filter",
    }
}

/// Appends a `usage` object.
pub(super) fn write_usage(usage: &Usage, out: &mut Vec<u8>) {
    let mut figures = itoa::Buffer::new();
    let mut figure = |name: &str, value: u64, out: &mut Vec<u8>| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(figures.format(value).as_bytes());
    };
    figure("{\"prompt_tokens\":", usage.input, out);
    figure(",\"completion_tokens\":", usage.output, out);
    figure(",\"total_tokens\":", usage.input.saturating_add(usage.output), out);
    figure(",\"prompt_tokens_details\":{\"cached_tokens\":", usage.cached_input, out);
    figure(",\"cache_write_tokens\":", usage.cache_write, out);
    figure(",\"audio_tokens\":", usage.audio_input, out);
    figure("},\"completion_tokens_details\":{\"reasoning_tokens\":", usage.reasoning, out);
    figure(",\"audio_tokens\":", usage.audio_output, out);
    out.extend_from_slice(b"}}");
}

/// Appends a picture as a part.
pub(super) fn write_image(media_type: &str, data: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"image_url\",\"image_url\":{\"url\":");
    escape_into(&format!("data:{media_type};base64,{data}"), out);
    out.extend_from_slice(b"}}");
}

/// Appends any JSON.
pub(super) fn write_value(value: &Value, out: &mut Vec<u8>) {
    // A `Value` always has a text; a failing writer is not possible here.
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.extend_from_slice(b"null");
    }
}

// === One choice ===

/// A choice's pieces by the member they go to.
#[derive(Default)]
struct Sorted<'a> {
    text: Option<String>,
    refusal: Option<String>,
    reasoning: Option<String>,
    sealed: Vec<&'a Thinking>,
    calls: Vec<(&'a ToolCall, Carried)>,
    annotations: Vec<&'a Value>,
    images: Vec<(&'a str, &'a str)>,
    audio: Option<&'a Value>,
}

// === impl Sorted ===

impl<'a> Sorted<'a> {
    fn of(pieces: &'a [Piece]) -> Self {
        let mut sorted = Self::default();
        let mut before_call = Carried::default();
        for piece in pieces {
            match piece {
                Piece::Text(text) => sorted.text.get_or_insert_default().push_str(text),
                Piece::Refusal(text) => sorted.refusal.get_or_insert_default().push_str(text),
                Piece::Thinking(thinking) => {
                    sorted.think(thinking);
                    if thinking.seal.is_some() {
                        before_call.thinking.push(thinking.clone());
                    }
                }
                Piece::ToolCall(call) => {
                    let carried = Carried { seal: call.seal.clone(), ..std::mem::take(&mut before_call) };
                    sorted.calls.push((call, carried));
                }
                Piece::Image { media_type, data } => sorted.images.push((media_type, data)),
                Piece::Audio(audio) => sorted.audio = Some(audio),
                Piece::Annotation(annotation) => sorted.annotations.push(annotation),
            }
        }
        sorted
    }

    fn think(&mut self, thinking: &'a Thinking) {
        if !thinking.text.is_empty() {
            let words = self.reasoning.get_or_insert_default();
            if !words.is_empty() {
                words.push_str("\n\n");
            }
            words.push_str(&thinking.text);
        }
        if thinking.seal.is_some() {
            self.sealed.push(thinking);
        }
    }
}

fn write_choice(choice: &Choice, out: &mut Vec<u8>) {
    let sorted = Sorted::of(&choice.pieces);
    out.extend_from_slice(b"{\"index\":");
    out.extend_from_slice(itoa::Buffer::new().format(choice.index).as_bytes());
    out.extend_from_slice(b",\"message\":{\"role\":\"assistant\",\"content\":");
    text_or_null(sorted.text.as_deref(), out);
    if let Some(reasoning) = &sorted.reasoning {
        out.extend_from_slice(b",\"reasoning_content\":");
        escape_into(reasoning, out);
    }
    list(",\"reasoning_details\":[", sorted.sealed.iter().enumerate(), out, |(index, thinking), out| {
        if let Some(seal) = &thinking.seal {
            reasoning::write_entry(&thinking.text, seal, index, out);
        }
    });
    out.extend_from_slice(b",\"refusal\":");
    text_or_null(sorted.refusal.as_deref(), out);
    list(",\"tool_calls\":[", sorted.calls.iter(), out, |(call, carried), out| write_call(call, carried, out));
    list(",\"annotations\":[", sorted.annotations.iter(), out, |annotation, out| write_value(annotation, out));
    list(",\"images\":[", sorted.images.iter(), out, |(media_type, data), out| write_image(media_type, data, out));
    if let Some(audio) = sorted.audio {
        out.extend_from_slice(b",\"audio\":");
        write_value(audio, out);
    }
    out.extend_from_slice(b"},\"logprobs\":");
    write_value(choice.logprobs.as_ref().unwrap_or(&Value::Null), out);
    out.extend_from_slice(b",\"finish_reason\":\"");
    out.extend_from_slice(finish_word(&choice.finish).as_bytes());
    out.extend_from_slice(b"\"}");
}

fn write_call(call: &ToolCall, carried: &Carried, out: &mut Vec<u8>) {
    let (kind, input) = if call.custom { ("custom", "input") } else { ("function", "arguments") };
    out.extend_from_slice(b"{\"id\":");
    escape_into(&carry::pack(&call.id, carried), out);
    out.extend_from_slice(format!(",\"type\":\"{kind}\",\"{kind}\":{{\"name\":").as_bytes());
    escape_into(&call.name, out);
    out.extend_from_slice(format!(",\"{input}\":").as_bytes());
    escape_into(&call.input, out);
    out.extend_from_slice(b"}}");
}

fn text_or_null(text: Option<&str>, out: &mut Vec<u8>) {
    match text {
        Some(text) => escape_into(text, out),
        None => out.extend_from_slice(b"null"),
    }
}

/// A member that is an array, left out when it is empty. `open` is its name up to the bracket.
fn list<T>(
    open: &str,
    items: impl ExactSizeIterator<Item = T>,
    out: &mut Vec<u8>,
    mut each: impl FnMut(T, &mut Vec<u8>),
) {
    if items.len() == 0 {
        return;
    }
    out.extend_from_slice(open.as_bytes());
    for (place, item) in items.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        each(item, out);
    }
    out.push(b']');
}
