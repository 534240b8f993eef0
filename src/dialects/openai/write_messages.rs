//! The conversation as an OpenAI-shaped vendor takes it.
//!
//! One leading system message, instructions of ours at its end. Results of tools become messages of their own right after the calls, and
//! pictures in them follow in a message of the user, since tool messages hold text. Thinking goes back where the vendor wants it, as words:
//! seals of other makers mean nothing here.

use super::ways::{History, Ways};
use super::write_request::Draft;
use crate::chat::carry::conform_nine;
use crate::chat::request::{Block, Body, Maker, Media, Refusal, Request, Source, ToolCall, ToolResult, Turn};
use crate::dialects::openai::write_parts::{self, parts_or_text};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// Writes `messages`.
pub(super) fn write(draft: &mut Draft<'_>) -> Result<Vec<Value>, Refusal> {
    let request = draft.request;
    let mut messages = Vec::new();
    let mut system = request.system.clone();
    system.extend(draft.instructions.drain(..).map(Block::text));
    if !system.is_empty() {
        messages.push(message("system", parts_or_text(&system, draft, "\n\n")?));
    }
    let mut turns = request.turns.iter().peekable();
    while let Some(turn) = turns.next() {
        match turn {
            Turn::System(blocks) => messages.push(message("system", parts_or_text(blocks, draft, "\n\n")?)),
            Turn::User(blocks) => user(blocks, draft, &mut messages)?,
            Turn::Assistant(blocks) => {
                // Neighbours are one turn: its calls must be together before their results.
                let mut all: Cow<'_, [Block]> = Cow::Borrowed(blocks);
                while let Some(Turn::Assistant(more)) = turns.peek() {
                    all.to_mut().extend_from_slice(more);
                    turns.next();
                }
                let mut written = assistant(&all, draft)?;
                if turns.peek().is_none() && !written.contains_key("tool_calls") {
                    prefill(&mut written, draft)?;
                }
                messages.push(Value::Object(written));
            }
        }
    }
    Ok(messages)
}

/// Whether the conversation speaks of JSON.
pub(super) fn mentions_json(request: &Request) -> bool {
    let speaks = |block: &Block| match &block.body {
        Body::Text(text) => text.as_bytes().windows(4).any(|word| word.eq_ignore_ascii_case(b"json")),
        _ => false,
    };
    let turn_speaks = |turn: &Turn| {
        let (Turn::User(blocks) | Turn::Assistant(blocks) | Turn::System(blocks)) = turn;
        blocks.iter().any(speaks)
    };
    request.system.iter().any(speaks) || request.turns.iter().any(turn_speaks)
}

fn message(role: &str, content: Value) -> Value {
    json!({"role": role, "content": content})
}

/// A last turn of the model is a prefix that it continues.
fn prefill(written: &mut Map<String, Value>, draft: &Draft<'_>) -> Result<(), Refusal> {
    if draft.aim.abilities.assistant_prefill == Some(false) {
        let remedy = "This model continues no answer of its own: let the last message be the user's.";
        return Err(Refusal::new("messages", remedy));
    }
    if let Some(mark) = draft.ways.prefill {
        written.insert(mark.to_owned(), Value::from(true));
    }
    Ok(())
}

// === The user's side ===

fn user(blocks: &[Block], draft: &mut Draft<'_>, messages: &mut Vec<Value>) -> Result<(), Refusal> {
    let mut said: Vec<Block> = Vec::new();
    for block in blocks {
        match &block.body {
            Body::ToolResult(result) => messages.push(tool_message(result, draft, &mut said)?),
            _ => said.push(block.clone()),
        }
    }
    if !said.is_empty() {
        messages.push(message("user", parts_or_text(&said, draft, "\n\n")?));
    }
    Ok(())
}

/// The message of a result; what it cannot hold goes to `rest`, for the user's message after it.
fn tool_message(result: &ToolResult, draft: &mut Draft<'_>, rest: &mut Vec<Block>) -> Result<Value, Refusal> {
    let is_words = |block: &&Block| match &block.body {
        Body::Text(_) | Body::Refusal(_) => true,
        Body::Document(media) => matches!(media.source, Source::Text(_)),
        _ => false,
    };
    let words: Vec<Block> = result.content.iter().filter(is_words).cloned().collect();
    let others = result.content.iter().filter(|block| !is_words(block)).cloned();
    rest.extend(others);
    let text = write_parts::joined(&words, "\n\n");
    let content = if result.is_error { format!("Error: {text}") } else { text };
    let mut written = json!({"role": "tool", "tool_call_id": id(&result.id, draft.ways), "content": content});
    if !words.is_empty() && words.iter().any(|block| block.cache.is_some()) && draft.ways.cache_marks {
        written["content"] =
            json!([{"type": "text", "text": written["content"].take(), "cache_control": {"type": "ephemeral"}}]);
    }
    Ok(written)
}

fn id<'i>(id: &'i str, ways: &Ways) -> Cow<'i, str> {
    if ways.nine_ids { conform_nine(id) } else { Cow::Borrowed(id) }
}

// === The model's side ===

fn assistant(blocks: &[Block], draft: &mut Draft<'_>) -> Result<Map<String, Value>, Refusal> {
    let mut said: Vec<Block> = Vec::new();
    let mut thoughts: Vec<&str> = Vec::new();
    let mut calls: Vec<Value> = Vec::new();
    for block in blocks {
        match &block.body {
            Body::Text(_) => said.push(block.clone()),
            Body::Refusal(refusal) => said.push(Block::text(refusal.clone())),
            Body::Thinking(thinking) if !thinking.text.is_empty() => thoughts.push(&thinking.text),
            Body::Thinking(_) => {}
            Body::ToolCall(call) => calls.push(tool_call(call, draft.ways)),
            // A picture that a model made has no place in its turn here.
            Body::Image(_) => draft.drop("messages.images"),
            Body::Document(Media { source: Source::Text(text), .. }) => said.push(Block::text(text.clone())),
            _ => {
                return Err(Refusal::new(
                    "messages",
                    "A model's own turn holds text, thinking and calls of tools only.",
                ));
            }
        }
    }
    let content = if said.is_empty() && !calls.is_empty() { Value::Null } else { parts_or_text(&said, draft, "")? };
    let mut written = Map::new();
    written.insert("role".to_owned(), Value::from("assistant"));
    written.insert("content".to_owned(), content);
    reasoning(&thoughts, !calls.is_empty(), draft, &mut written);
    if !calls.is_empty() {
        written.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    Ok(written)
}

fn reasoning(thoughts: &[&str], calls: bool, draft: &Draft<'_>, written: &mut Map<String, Value>) {
    let text = thoughts.join("\n\n");
    match draft.ways.history {
        History::Refused | History::Passed => {}
        History::Welcome(name) if !text.is_empty() => {
            written.insert(name.to_owned(), Value::from(text));
        }
        History::Details if !text.is_empty() => {
            let details = json!([{"type": "reasoning.text", "text": text}]);
            written.insert("reasoning_details".to_owned(), details);
        }
        History::Demanded if !text.is_empty() => {
            written.insert("reasoning_content".to_owned(), Value::from(text));
        }
        // It was lost on the way, and the vendor takes a space for it.
        History::Demanded if calls && draft.aim.abilities.reasoning != Some(false) => {
            written.insert("reasoning_content".to_owned(), Value::from(" "));
        }
        History::Welcome(_) | History::Details | History::Demanded => {}
    }
}

fn tool_call(call: &ToolCall, ways: &Ways) -> Value {
    let id = id(&call.id, ways);
    if call.custom && ways.custom_tools {
        return json!({"id": id, "type": "custom", "custom": {"name": call.name, "input": call.input}});
    }
    let arguments = if call.custom { json!({"input": call.input}).to_string() } else { call.input.clone() };
    json!({"id": id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
}

/// Whether ids in `maker`'s file store mean something to the vendor.
pub(super) fn knows_file(maker: Maker, ways: &Ways) -> bool {
    maker == Maker::OpenAi && ways.file_ids
}
