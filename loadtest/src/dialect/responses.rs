//! OpenAI Responses (API reference, responses and their streaming events, read 2026-11).

use super::notes::Notes;
use super::openai::turns;
use super::text::{Count, Many, Metadata, SCHEMA, Text, list, number, raw, string, tool};
use crate::workload::Ask;
use serde::Deserialize;
use serde_json::Value;

/// Appends the body of a request. Tools are not held to their schema: a strict one would have to name every member as required.
pub(super) fn write(ask: &Ask, out: &mut Vec<u8>) {
    raw(out, "{\"model\":");
    string(out, &ask.model);
    if let Some(system) = &ask.system {
        raw(out, ",\"instructions\":");
        string(out, system);
    }
    raw(out, ",\"input\":[");
    turns(ask, out);
    raw(out, "]");
    if let Some(tokens) = ask.output_tokens {
        raw(out, ",\"max_output_tokens\":");
        number(out, tokens.into());
    }
    if ask.tools > 0 {
        raw(out, ",\"tools\":[");
        list(out, ask.tools, |out, index| {
            raw(out, "{\"type\":\"function\",");
            tool(out, index);
            raw(out, ",\"parameters\":");
            raw(out, SCHEMA);
            raw(out, ",\"strict\":false}");
        });
        raw(out, "]");
    }
    raw(out, if ask.stream { ",\"stream\":true}" } else { "}" });
}

/// Notes one event of a stream; whether it brought generated tokens.
pub(super) fn event(data: &[u8], notes: &mut Notes) -> bool {
    if notes.ended {
        // Some that copy OpenAI end this stream as they end the other.
        if data != b"[DONE]" {
            notes.malformed("an event after the end of the response");
        }
        return false;
    }
    let Some(event) = notes.parse::<Event<'_>>(data) else { return false };
    notes.charge(event.metadata);
    match &*event.kind.0 {
        "response.output_text.delta" => {
            notes.say(&event.delta.0);
            !event.delta.is_empty()
        }
        "response.audio.delta" | "response.output_audio.delta" => false,
        kind if kind.ends_with(".delta") => !event.delta.is_empty(),
        "response.output_item.added" => {
            let calls = event.item.as_ref().is_some_and(Item::calls);
            if calls {
                notes.call(None);
            }
            calls
        }
        "response.completed" | "response.incomplete" => {
            notes.ended = true;
            if let Some(response) = &event.response {
                response.note(notes);
            }
            false
        }
        "response.failed" | "error" => {
            let value = serde_json::from_slice::<Value>(data).unwrap_or_default();
            notes.fail(value.pointer("/response/error").unwrap_or(&value));
            false
        }
        _ => false,
    }
}

/// Notes a whole answer.
pub(super) fn whole(body: &[u8], notes: &mut Notes) {
    let Some(response) = notes.parse::<Response<'_>>(body) else { return };
    if let Some(error) = &response.error {
        return notes.fail(error);
    }
    let Some(Many(items)) = &response.output else { return notes.malformed("an answer without output") };
    for item in items {
        if item.calls() {
            notes.call(None);
        }
        if item.kind.0 == "message" {
            notes.say(&item.content.0);
        }
    }
    response.note(notes);
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Text<'a>,
    #[serde(borrow, default)]
    delta: Text<'a>,
    #[serde(borrow, default)]
    item: Option<Item<'a>>,
    #[serde(borrow, default)]
    response: Option<Response<'a>>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow, default)]
    output: Option<Many<Item<'a>>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

impl Response<'_> {
    /// Notes what stands beside the output.
    fn note(&self, notes: &mut Notes) {
        if let Some(usage) = self.usage {
            notes.count_input(usage.input_tokens.0);
            notes.count_output(usage.output_tokens.0);
        }
        notes.charge(self.metadata);
    }
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    content: Text<'a>,
}

impl Item<'_> {
    /// Whether it is the call of a tool with a name; calls of the provider's own tools, such as searches, have none.
    fn calls(&self) -> bool {
        self.kind.0.ends_with("_call") && !self.name.is_empty()
    }
}

#[derive(Clone, Copy, Deserialize)]
struct Usage {
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
}
