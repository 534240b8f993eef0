//! Gemini generateContent (Gemini API reference, read 2026-11).
//!
//! A stream has no last word: it ends where its body does, and must have told why the model fell silent by then.

use super::notes::Notes;
use super::text::{Count, Many, Metadata, SCHEMA, Text, list, number, raw, string, tool};
use crate::workload::{Ask, Role};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// Appends the body of a request; the model is in the path.
pub(super) fn write(ask: &Ask, out: &mut Vec<u8>) {
    raw(out, "{\"contents\":[");
    for (position, turn) in ask.turns.iter().enumerate() {
        raw(out, if position == 0 { "{\"role\":" } else { ",{\"role\":" });
        raw(out, if turn.role == Role::User { "\"user\"" } else { "\"model\"" });
        raw(out, ",\"parts\":[{\"text\":");
        string(out, &turn.text);
        raw(out, "}]}");
    }
    raw(out, "]");
    if let Some(system) = &ask.system {
        raw(out, ",\"systemInstruction\":{\"parts\":[{\"text\":");
        string(out, system);
        raw(out, "}]}");
    }
    if let Some(tokens) = ask.output_tokens {
        raw(out, ",\"generationConfig\":{\"maxOutputTokens\":");
        number(out, tokens.into());
        raw(out, "}");
    }
    if ask.tools > 0 {
        raw(out, ",\"tools\":[{\"functionDeclarations\":[");
        list(out, ask.tools, |out, index| {
            raw(out, "{");
            tool(out, index);
            raw(out, ",\"parameters\":");
            raw(out, SCHEMA);
            raw(out, "}");
        });
        raw(out, "]}]");
    }
    raw(out, "}");
}

/// Notes one event of a stream; whether it brought generated tokens.
pub(super) fn event(data: &[u8], notes: &mut Notes) -> bool {
    let Some(answer) = notes.parse::<Answer<'_>>(data) else { return false };
    answer.note(notes)
}

/// Notes a whole answer.
pub(super) fn whole(body: &[u8], notes: &mut Notes) {
    let Some(answer) = notes.parse::<Answer<'_>>(body) else { return };
    answer.note(notes);
    if !notes.ended {
        notes.malformed("an answer that does not say why it ends");
    }
}

/// A whole answer, or a piece of one in the same form.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow, default)]
    candidates: Many<Candidate<'a>>,
    #[serde(default)]
    prompt_feedback: Option<Feedback>,
    #[serde(default)]
    usage_metadata: Option<Usage>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(default)]
    index: u32,
    #[serde(borrow, default)]
    content: Option<Content<'a>>,
    #[serde(default)]
    finish_reason: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    parts: Many<Part<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Text<'a>,
    #[serde(default)]
    thought: bool,
    #[serde(default)]
    function_call: Option<IgnoredAny>,
    #[serde(default)]
    executable_code: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback {
    #[serde(default)]
    block_reason: Option<IgnoredAny>,
}

/// Counts of the whole answer so far; what would be zero is absent.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    #[serde(default)]
    prompt_token_count: Count,
    #[serde(default)]
    candidates_token_count: Count,
    #[serde(default)]
    thoughts_token_count: Count,
}

impl Answer<'_> {
    fn note(&self, notes: &mut Notes) -> bool {
        if let Some(error) = &self.error {
            notes.fail(error);
            return false;
        }
        if let Some(usage) = self.usage_metadata {
            notes.count_input(usage.prompt_token_count.0);
            // Thoughts are output, and paid for as such.
            let counts = [usage.candidates_token_count.0, usage.thoughts_token_count.0];
            notes.count_output(counts.into_iter().flatten().reduce(|sum, count| sum + count));
        }
        notes.charge(self.metadata);
        // A prompt that is refused has no candidates.
        notes.ended |= self.prompt_feedback.as_ref().is_some_and(|feedback| feedback.block_reason.is_some());
        let mut generated = false;
        for candidate in &self.candidates.0 {
            notes.ended |= candidate.finish_reason.is_some();
            for part in candidate.content.iter().flat_map(|content| &content.parts.0) {
                if candidate.index == 0 && !part.thought {
                    notes.say(&part.text.0);
                }
                if part.function_call.is_some() {
                    notes.call(None);
                }
                generated |= !part.text.is_empty() || part.function_call.is_some() || part.executable_code.is_some();
            }
        }
        generated
    }
}
