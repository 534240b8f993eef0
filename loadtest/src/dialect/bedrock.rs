//! Amazon Bedrock Converse and ConverseStream (API reference, read 2026-11).

use super::frames::Frame;
use super::notes::Notes;
use super::text::{Count, Many, Metadata, SCHEMA, Text, list, number, raw, string, tool};
use crate::workload::{Ask, Role};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// Appends the body of a request; the model and whether to stream are in the path.
pub(super) fn write(ask: &Ask, out: &mut Vec<u8>) {
    raw(out, "{\"messages\":[");
    for (position, turn) in ask.turns.iter().enumerate() {
        raw(out, if position == 0 { "{\"role\":" } else { ",{\"role\":" });
        raw(out, if turn.role == Role::User { "\"user\"" } else { "\"assistant\"" });
        raw(out, ",\"content\":[{\"text\":");
        string(out, &turn.text);
        raw(out, "}]}");
    }
    raw(out, "]");
    if let Some(system) = &ask.system {
        raw(out, ",\"system\":[{\"text\":");
        string(out, system);
        raw(out, "}]");
    }
    if let Some(tokens) = ask.output_tokens {
        raw(out, ",\"inferenceConfig\":{\"maxTokens\":");
        number(out, tokens.into());
        raw(out, "}");
    }
    if ask.tools > 0 {
        raw(out, ",\"toolConfig\":{\"tools\":[");
        list(out, ask.tools, |out, index| {
            raw(out, "{\"toolSpec\":{");
            tool(out, index);
            raw(out, ",\"inputSchema\":{\"json\":");
            raw(out, SCHEMA);
            raw(out, "}}}");
        });
        raw(out, "]}");
    }
    raw(out, "}");
}

/// Notes one frame of a stream; whether it brought generated tokens.
pub(super) fn event(frame: &Frame<'_>, notes: &mut Notes) -> bool {
    if frame.message_type != b"event" {
        let named = Value::from(String::from_utf8_lossy(frame.kind));
        let value = serde_json::from_slice::<Value>(frame.payload).ok().filter(|value| value["message"].is_string());
        notes.fail(value.as_ref().unwrap_or(&named));
        return false;
    }
    if notes.ended {
        notes.malformed("a frame after the metadata");
        return false;
    }
    match frame.kind {
        b"contentBlockDelta" | b"contentBlockStart" => {
            let Some(event) = notes.parse::<Event<'_>>(frame.payload) else { return false };
            let Some(block) = event.delta.or(event.start) else { return false };
            notes.say(&block.text.0);
            if block.tool_use.as_ref().is_some_and(|tool| !tool.name.is_empty()) {
                notes.call(None);
            }
            block.is_generated()
        }
        b"messageStop" => {
            notes.stopped = true;
            false
        }
        b"metadata" => {
            let Some(event) = notes.parse::<Tail>(frame.payload) else { return false };
            note_usage(event.usage, notes);
            notes.charge(event.metadata);
            notes.ended = notes.stopped;
            if !notes.ended {
                notes.malformed("metadata before messageStop");
            }
            false
        }
        _ => false,
    }
}

/// Notes a whole answer.
pub(super) fn whole(body: &[u8], notes: &mut Notes) {
    let Some(answer) = notes.parse::<Answer<'_>>(body) else { return };
    let Some(output) = answer.output else { return notes.malformed("an answer without output") };
    for block in output.message.iter().flat_map(|message| &message.content.0) {
        notes.say(&block.text.0);
        if block.tool_use.is_some() {
            notes.call(None);
        }
    }
    note_usage(answer.usage, notes);
    notes.charge(answer.metadata);
}

/// What the cache gave or took is input as well.
fn note_usage(usage: Option<Usage>, notes: &mut Notes) {
    let Some(usage) = usage else { return };
    let cache = usage.cache_read_input_tokens.0.unwrap_or(0) + usage.cache_write_input_tokens.0.unwrap_or(0);
    notes.count_input(usage.input_tokens.0.map(|tokens| tokens + cache));
    notes.count_output(usage.output_tokens.0);
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    delta: Option<Block<'a>>,
    #[serde(borrow, default)]
    start: Option<Block<'a>>,
}

/// The payload of a `metadata` frame.
#[derive(Deserialize)]
struct Tail {
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    output: Option<Output<'a>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow, default)]
    message: Option<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Many<Block<'a>>,
}

/// A block of content, or a piece of one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block<'a> {
    #[serde(borrow, default)]
    text: Text<'a>,
    #[serde(borrow, default)]
    tool_use: Option<ToolUse<'a>>,
    #[serde(borrow, default)]
    reasoning_content: Option<Reasoning<'a>>,
}

#[derive(Deserialize)]
struct ToolUse<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    /// A piece of text in a stream; an object in a whole answer, where it is not looked at.
    #[serde(borrow, default)]
    input: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reasoning<'a> {
    #[serde(borrow, default)]
    text: Text<'a>,
    #[serde(default)]
    redacted_content: Option<IgnoredAny>,
}

impl Block<'_> {
    fn is_generated(&self) -> bool {
        let called = self.tool_use.as_ref().is_some_and(|tool| !tool.name.is_empty() || !tool.input.is_empty());
        let thought = self.reasoning_content.as_ref();
        let thought = thought.is_some_and(|thought| !thought.text.is_empty() || thought.redacted_content.is_some());
        called || thought || !self.text.is_empty()
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    cache_read_input_tokens: Count,
    #[serde(default)]
    cache_write_input_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
}
