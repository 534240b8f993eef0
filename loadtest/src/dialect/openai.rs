//! OpenAI Chat Completions, as OpenAI and the many that copy it speak it (API reference, chat completions, read 2026-11).

use super::notes::Notes;
use super::text::{Count, Metadata, SCHEMA, Text, list, number, raw, string, tool};
use crate::workload::{Ask, Role};
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
        raw(out, ",\"max_completion_tokens\":");
        number(out, tokens.into());
    }
    tools(ask.tools, out);
    if ask.stream {
        raw(out, ",\"stream\":true");
        if ask.include_usage {
            raw(out, ",\"stream_options\":{\"include_usage\":true}");
        }
    }
    raw(out, "}");
}

/// Appends the messages of a conversation, as Cohere takes them too.
pub(super) fn messages(ask: &Ask, out: &mut Vec<u8>) {
    if let Some(system) = &ask.system {
        raw(out, "{\"role\":\"system\",\"content\":");
        string(out, system);
        raw(out, if ask.turns.is_empty() { "}" } else { "}," });
    }
    turns(ask, out);
}

/// Appends the turns of a conversation alone, as Responses and Anthropic take them too.
pub(super) fn turns(ask: &Ask, out: &mut Vec<u8>) {
    for (position, turn) in ask.turns.iter().enumerate() {
        raw(out, if position == 0 { "{\"role\":" } else { ",{\"role\":" });
        raw(out, if turn.role == Role::User { "\"user\"" } else { "\"assistant\"" });
        raw(out, ",\"content\":");
        string(out, &turn.text);
        raw(out, "}");
    }
}

/// Appends the member `tools` with so many functions, as Cohere takes it too.
pub(super) fn tools(count: u32, out: &mut Vec<u8>) {
    if count == 0 {
        return;
    }
    raw(out, ",\"tools\":[");
    list(out, count, |out, index| {
        raw(out, "{\"type\":\"function\",\"function\":{");
        tool(out, index);
        raw(out, ",\"parameters\":");
        raw(out, SCHEMA);
        raw(out, "}}");
    });
    raw(out, "]");
}

/// Notes one event of a stream; whether it brought generated tokens.
pub(super) fn event(data: &[u8], notes: &mut Notes) -> bool {
    if notes.ended {
        notes.malformed("an event after [DONE]");
        return false;
    }
    if data.trim_ascii() == b"[DONE]" {
        notes.ended = true;
        return false;
    }
    let Some(chunk) = notes.parse::<Chunk<'_>>(data) else { return false };
    chunk.note(notes, |choice| choice.delta.as_ref())
}

/// Notes a whole answer.
pub(super) fn whole(body: &[u8], notes: &mut Notes) {
    let Some(chunk) = notes.parse::<Chunk<'_>>(body) else { return };
    if chunk.choices.as_ref().is_none_or(Vec::is_empty) && chunk.error.is_none() {
        return notes.malformed("an answer without choices");
    }
    chunk.note(notes, |choice| choice.message.as_ref());
}

/// A chunk of a stream, or a whole answer.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    x_groq: Option<Groq>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: u32,
    /// Of a stream.
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    /// Of a whole answer.
    #[serde(borrow, default)]
    message: Option<Delta<'a>>,
    /// Where Kimi's older streams state it.
    #[serde(default)]
    usage: Option<Usage>,
}

/// A piece of a message, or a whole one.
#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Text<'a>,
    #[serde(borrow, default)]
    reasoning_content: Text<'a>,
    #[serde(borrow, default)]
    reasoning: Text<'a>,
    #[serde(borrow, default)]
    refusal: Text<'a>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow, default)]
    function_call: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(default)]
    index: Option<u32>,
    #[serde(borrow, default)]
    function: Option<Function<'a>>,
    #[serde(borrow, default)]
    custom: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, alias = "input", default)]
    arguments: Text<'a>,
}

#[derive(Clone, Copy, Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: Count,
    #[serde(default)]
    completion_tokens: Count,
}

#[derive(Deserialize)]
struct Groq {
    #[serde(default)]
    usage: Option<Usage>,
}

// === impl Chunk ===

impl<'a> Chunk<'a> {
    /// Notes the messages that `part` finds in the choices; whether they bring generated tokens.
    fn note(&self, notes: &mut Notes, part: impl for<'c> Fn(&'c Choice<'a>) -> Option<&'c Delta<'a>>) -> bool {
        if let Some(error) = &self.error {
            notes.fail(error);
            return false;
        }
        let choices = self.choices.as_deref().unwrap_or_default();
        let usage = self.usage.or(self.x_groq.as_ref().and_then(|groq| groq.usage));
        if self.choices.is_none() && usage.is_none() {
            notes.malformed("a chunk without choices");
            return false;
        }
        if let Some(usage) = usage.or(choices.first().and_then(|choice| choice.usage)) {
            notes.count_input(usage.prompt_tokens.0);
            notes.count_output(usage.completion_tokens.0);
        }
        notes.charge(self.metadata);
        let mut generated = false;
        for choice in choices {
            let Some(delta) = part(choice) else { continue };
            if choice.index == 0 {
                notes.say(&delta.content.0);
            }
            generated |= delta.note(choice.index, notes);
        }
        generated
    }
}

impl Delta<'_> {
    fn note(&self, choice: u32, notes: &mut Notes) -> bool {
        let texts = [&self.content, &self.reasoning_content, &self.reasoning, &self.refusal];
        let mut generated = texts.iter().any(|text| !text.is_empty());
        for call in self.tool_calls.iter().flatten() {
            let Some(function) = call.function.as_ref().or(call.custom.as_ref()) else { continue };
            if !function.name.is_empty() {
                notes.call(call.index.map(|index| (choice, index)));
            }
            generated |= function.is_generated();
        }
        if let Some(function) = &self.function_call {
            if !function.name.is_empty() {
                notes.call(None);
            }
            generated |= function.is_generated();
        }
        generated
    }
}

impl Function<'_> {
    fn is_generated(&self) -> bool {
        !self.name.is_empty() || !self.arguments.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_brings_tokens_and_nothing_else_does() {
        let table = [
            (r#"{"content":"a"}"#, true),
            (r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"a"}]}]}"#, true),
            (r#"{"reasoning_content":"a"}"#, true),
            (r#"{"reasoning":"a"}"#, true),
            (r#"{"refusal":"a"}"#, true),
            (r#"{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":""}}]}"#, true),
            (r#"{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}"#, true),
            (r#"{"tool_calls":[{"index":0,"custom":{"input":"x"}}]}"#, true),
            (r#"{"function_call":{"name":"f"}}"#, true),
            (r#"{"tool_calls":[{"index":0,"function":{"arguments":""}}]}"#, false),
            (r#"{"role":"assistant","content":"","refusal":null}"#, false),
            (r#"{"audio":{"data":"xxxx"}}"#, false),
            ("{}", false),
        ];
        for (delta, generated) in table {
            let mut notes = Notes::new(false);
            let data = format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#);
            assert_eq!(event(data.as_bytes(), &mut notes), generated, "{delta}");
            assert_eq!(notes.flaw, None, "{delta}");
        }
    }
}
