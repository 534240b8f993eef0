//! Cohere Chat, version 2 (API reference and streaming guide, read 2026-11).

use super::notes::Notes;
use super::openai::{messages, tools};
use super::text::{Count, Many, Metadata, Text, number, raw, string};
use crate::workload::Ask;
use serde::Deserialize;
use serde_json::Value;

/// Appends the body of a request.
pub(super) fn write(ask: &Ask, out: &mut Vec<u8>) {
    raw(out, "{\"model\":");
    string(out, &ask.model);
    raw(out, ",\"messages\":[");
    messages(ask, out);
    raw(out, "]");
    if let Some(tokens) = ask.output_tokens {
        raw(out, ",\"max_tokens\":");
        number(out, tokens.into());
    }
    tools(ask.tools, out);
    raw(out, if ask.stream { ",\"stream\":true}" } else { ",\"stream\":false}" });
}

/// Notes one event of a stream; whether it brought generated tokens.
pub(super) fn event(data: &[u8], notes: &mut Notes) -> bool {
    if notes.ended {
        // The stream of version 1 ends so, and some gateways keep it.
        if data != b"[DONE]" {
            notes.malformed("an event after message-end");
        }
        return false;
    }
    let Some(event) = notes.parse::<Event<'_>>(data) else { return false };
    notes.charge(event.metadata);
    let delta = event.delta.unwrap_or_default();
    match &*event.kind.0 {
        "message-end" => {
            note_usage(delta.usage, notes);
            match &*delta.finish_reason.0 {
                "ERROR" | "TIMEOUT" => notes.fail(&reason(&delta)),
                _ => notes.ended = true,
            }
            false
        }
        "content-start" | "content-delta" | "tool-plan-delta" | "tool-call-start" | "tool-call-delta" => {
            let message = delta.message.unwrap_or_default();
            message.note(notes)
        }
        "" => {
            // What breaks a stream is an error's body without a type.
            let value = serde_json::from_slice::<Value>(data).unwrap_or_default();
            if value["message"].is_string() {
                notes.fail(&value);
            } else {
                notes.malformed("an event without a type");
            }
            false
        }
        _ => false,
    }
}

/// Notes a whole answer.
pub(super) fn whole(body: &[u8], notes: &mut Notes) {
    let Some(answer) = notes.parse::<Delta<'_>>(body) else { return };
    let Some(message) = &answer.message else { return notes.malformed("an answer without a message") };
    message.note(notes);
    note_usage(answer.usage, notes);
    notes.charge(answer.metadata);
    if matches!(&*answer.finish_reason.0, "ERROR" | "TIMEOUT") {
        notes.fail(&reason(&answer));
    }
}

/// Why the model gave up.
fn reason(delta: &Delta<'_>) -> Value {
    let said = if delta.error.is_empty() { &delta.finish_reason } else { &delta.error };
    Value::from(&*said.0)
}

/// Counts of the model are preferred to what is billed.
fn note_usage(usage: Option<Usage>, notes: &mut Notes) {
    let counts = usage.and_then(|usage| usage.tokens.or(usage.billed_units));
    if let Some(counts) = counts {
        notes.count_input(counts.input_tokens.0);
        notes.count_output(counts.output_tokens.0);
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Text<'a>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

/// A piece of an answer, or a whole one in the same form.
#[derive(Default, Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    message: Option<Message<'a>>,
    #[serde(borrow, default)]
    finish_reason: Text<'a>,
    #[serde(borrow, default)]
    error: Text<'a>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

/// Lists in a whole message, single items in a piece of one.
#[derive(Default, Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Many<Part<'a>>,
    #[serde(borrow, default)]
    tool_plan: Text<'a>,
    #[serde(borrow, default)]
    tool_calls: Many<Call<'a>>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Text<'a>,
    #[serde(borrow, default)]
    thinking: Text<'a>,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow, default)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    arguments: Text<'a>,
}

impl Message<'_> {
    fn note(&self, notes: &mut Notes) -> bool {
        let mut generated = !self.tool_plan.is_empty();
        for part in &self.content.0 {
            notes.say(&part.text.0);
            generated |= !part.text.is_empty() || !part.thinking.is_empty();
        }
        for function in self.tool_calls.0.iter().filter_map(|call| call.function.as_ref()) {
            if !function.name.is_empty() {
                notes.call(None);
            }
            generated |= !function.name.is_empty() || !function.arguments.is_empty();
        }
        generated
    }
}

#[derive(Clone, Copy, Deserialize)]
struct Usage {
    #[serde(default)]
    tokens: Option<Counts>,
    #[serde(default)]
    billed_units: Option<Counts>,
}

#[derive(Clone, Copy, Deserialize)]
struct Counts {
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
}
