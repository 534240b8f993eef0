//! Anthropic Messages (API reference and streaming guide, read 2026-11).

use super::notes::Notes;
use super::openai::turns;
use super::text::{Count, Many, Metadata, SCHEMA, Text, list, number, raw, string, tool};
use crate::workload::Ask;
use serde::Deserialize;
use serde_json::Value;

/// Appends the body of a request. The limit is not optional here.
pub(super) fn write(ask: &Ask, out: &mut Vec<u8>) {
    raw(out, "{\"model\":");
    string(out, &ask.model);
    raw(out, ",\"max_tokens\":");
    number(out, ask.output_tokens.unwrap_or(TOKENS_UNLESS_SAID).into());
    if let Some(system) = &ask.system {
        raw(out, ",\"system\":");
        string(out, system);
    }
    raw(out, ",\"messages\":[");
    turns(ask, out);
    raw(out, "]");
    if ask.tools > 0 {
        raw(out, ",\"tools\":[");
        list(out, ask.tools, |out, index| {
            raw(out, "{");
            tool(out, index);
            raw(out, ",\"input_schema\":");
            raw(out, SCHEMA);
            raw(out, "}");
        });
        raw(out, "]");
    }
    raw(out, if ask.stream { ",\"stream\":true}" } else { "}" });
}

/// Notes one event of a stream; whether it brought generated tokens.
pub(super) fn event(name: &[u8], data: &[u8], notes: &mut Notes) -> bool {
    let Some(event) = notes.parse::<Event<'_>>(data) else { return false };
    let kind = &*event.kind.0;
    if name != kind.as_bytes() {
        // The official clients go by the name alone.
        notes.malformed("an event whose name is not its type");
        return false;
    }
    if notes.ended {
        notes.malformed("an event after message_stop");
        return false;
    }
    notes.charge(event.metadata);
    match kind {
        "content_block_delta" => {
            let Some(delta) = &event.delta else { return false };
            notes.say(&delta.text.0);
            return !delta.is_empty();
        }
        "content_block_start" => {
            let Some(block) = &event.content_block else { return false };
            notes.say(&block.text.0);
            if block.calls() {
                notes.call(None);
            }
            return !block.is_empty();
        }
        "message_start" => note_usage(event.message.and_then(|message| message.usage), notes),
        "message_delta" => note_usage(event.usage, notes),
        "message_stop" => notes.ended = true,
        "error" => notes.fail(&event.error.unwrap_or_default()),
        _ => {}
    }
    false
}

/// Notes a whole answer.
pub(super) fn whole(body: &[u8], notes: &mut Notes) {
    let Some(message) = notes.parse::<Message<'_>>(body) else { return };
    if let Some(error) = &message.error {
        return notes.fail(error);
    }
    let Some(Many(blocks)) = message.content else { return notes.malformed("an answer without content") };
    for block in &blocks {
        notes.say(&block.text.0);
        if block.calls() {
            notes.call(None);
        }
    }
    note_usage(message.usage, notes);
    notes.charge(message.metadata);
}

/// Counts are those of the whole answer so far; what the cache gave or took is input as well.
fn note_usage(usage: Option<Usage>, notes: &mut Notes) {
    let Some(usage) = usage else { return };
    let cache = usage.cache_creation_input_tokens.0.unwrap_or(0) + usage.cache_read_input_tokens.0.unwrap_or(0);
    notes.count_input(usage.input_tokens.0.map(|tokens| tokens + cache));
    notes.count_output(usage.output_tokens.0);
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Text<'a>,
    #[serde(borrow, default)]
    delta: Option<Block<'a>>,
    #[serde(borrow, default)]
    content_block: Option<Block<'a>>,
    #[serde(borrow, default)]
    message: Option<Message<'a>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Option<Many<Block<'a>>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

/// A block of content, or a piece of one.
#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Text<'a>,
    #[serde(borrow, default)]
    text: Text<'a>,
    #[serde(borrow, default)]
    thinking: Text<'a>,
    #[serde(borrow, default)]
    partial_json: Text<'a>,
    /// Of a tool.
    #[serde(borrow, default)]
    name: Text<'a>,
    /// Thoughts that are told in secret.
    #[serde(borrow, default)]
    data: Text<'a>,
}

impl Block<'_> {
    fn is_empty(&self) -> bool {
        [&self.text, &self.thinking, &self.partial_json, &self.name, &self.data].iter().all(|text| text.is_empty())
    }

    /// Whether it is the call of a tool, ours or the provider's own.
    fn calls(&self) -> bool {
        self.kind.0.ends_with("tool_use")
    }
}

#[derive(Clone, Copy, Deserialize)]
struct Usage {
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    cache_creation_input_tokens: Count,
    #[serde(default)]
    cache_read_input_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
}

/// The limit of an answer whose length is left to the model.
const TOKENS_UNLESS_SAID: u32 = 4096;
