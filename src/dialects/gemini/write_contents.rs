//! The conversation as `contents`: roles merged, results of tools in the order of their calls, signatures where Gemini
//! 3 wants them.
//!
//! Never empty, since the interface refuses that: what would be empty says a space. A conversation that begins with the
//! model gets such a turn before it. Seals of other makers stay away, and unsealed thinking with them: the model
//! neither needs nor knows it.

use super::generation::Generation;
use super::media;
use super::parts::{Args, FunctionCall, FunctionResponse, Part};
use super::seal;
use crate::chat::request::{Block, Body, Maker, Refusal, Seal, Thinking, ToolCall, ToolResult, Turn};
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;

/// One entry of `contents`.
#[derive(Debug, Serialize)]
pub(super) struct Content<'a> {
    pub role: Role,
    pub parts: Vec<Part<'a>>,
}

/// Whose content it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    /// The client's side.
    User,
    /// The model's side.
    Model,
}

/// Writes the turns; system turns are not among them.
pub(super) fn contents(turns: &[Turn], generation: Generation) -> Result<Vec<Content<'_>>, Refusal> {
    let mut walk = Walk { generation, calls: HashMap::new(), written: Vec::new() };
    for turn in turns {
        match turn {
            Turn::User(blocks) => walk.user(blocks)?,
            Turn::Assistant(blocks) => walk.model(blocks)?,
            Turn::System(_) => {}
        }
    }
    Ok(walk.finish())
}

/// The conversation so far.
struct Walk<'a> {
    generation: Generation,
    /// Calls by id: their order in the conversation, and the tool's name.
    calls: HashMap<&'a str, (usize, &'a str)>,
    written: Vec<Open<'a>>,
}

/// A content that neighbours of its role still join.
struct Open<'a> {
    role: Role,
    /// Results of tools, each with the order of its call.
    results: Vec<(usize, Part<'a>)>,
    others: Vec<Part<'a>>,
}

impl<'a> Walk<'a> {
    /// The content that the next part of `role` goes to.
    fn open(&mut self, role: Role) -> &mut Open<'a> {
        if self.written.last().is_none_or(|last| last.role != role) {
            self.written.push(Open { role, results: Vec::new(), others: Vec::new() });
        }
        let last = self.written.len().saturating_sub(1);
        &mut self.written[last]
    }

    fn user(&mut self, blocks: &'a [Block]) -> Result<(), Refusal> {
        // Opened even for nothing: an empty turn of the user is a turn.
        self.open(Role::User);
        for block in blocks {
            match &block.body {
                Body::ToolResult(result) => self.result(result)?,
                Body::Text(text) | Body::Refusal(text) => self.words(Role::User, text),
                Body::Thinking(_) | Body::ToolCall(_) => {}
                other => {
                    let part = media::part(other)?;
                    self.open(Role::User).others.extend(part);
                }
            }
        }
        Ok(())
    }

    fn model(&mut self, blocks: &'a [Block]) -> Result<(), Refusal> {
        for block in blocks {
            match &block.body {
                Body::Text(text) | Body::Refusal(text) => self.words(Role::Model, text),
                Body::Thinking(thinking) => self.thought(thinking),
                Body::ToolCall(call) => self.call(call)?,
                Body::ToolResult(_) => {}
                other => {
                    let part = media::part(other)?;
                    self.open(Role::Model).others.extend(part);
                }
            }
        }
        Ok(())
    }

    fn words(&mut self, role: Role, text: &'a str) {
        if !text.is_empty() {
            self.open(role).others.push(Part::text(text));
        }
    }

    /// A thought goes back only with Google's own seal. A seal without words stood on the text before it, or on a text
    /// of its own.
    fn thought(&mut self, thinking: &'a Thinking) {
        let Some(data) = thinking.seal.as_ref().and_then(googles) else { return };
        let parts = &mut self.open(Role::Model).others;
        let signature = Some(Cow::Borrowed(data));
        match parts.last_mut() {
            Some(last) if thinking.text.is_empty() && is_plain_text(last) => last.thought_signature = signature,
            _ => {
                let thought = !thinking.text.is_empty();
                parts.push(Part { thought, thought_signature: signature, ..Part::text(thinking.text.as_str()) });
            }
        }
    }

    fn call(&mut self, call: &'a ToolCall) -> Result<(), Refusal> {
        let order = self.calls.len();
        self.calls.insert(&call.id, (order, &call.name));
        let args =
            if call.custom { Some(Args::wrapped("input", call.input.as_str())) } else { Args::object(&call.input) };
        let Some(args) = args else {
            let message = format!("The input of the call of the tool {:?} must be a JSON object.", call.name);
            return Err(Refusal::new("messages", message));
        };
        let function_call = Some(FunctionCall { id: &call.id, name: &call.name, args });
        let thought_signature = call.seal.as_ref().and_then(googles).map(Cow::Borrowed);
        self.open(Role::Model).others.push(Part { function_call, thought_signature, ..Part::default() });
        Ok(())
    }

    fn result(&mut self, result: &'a ToolResult) -> Result<(), Refusal> {
        let known = self.calls.get(result.id.as_str()).copied();
        let name = result.name.as_deref().or(known.map(|(_, name)| name));
        let Some(name) = name else {
            let message =
                format!("No call before this result of a tool has its id {:?}: send the call too.", result.id);
            return Err(Refusal::new("messages", message));
        };
        let mut text = String::new();
        let mut attached = Vec::new();
        for block in &result.content {
            match &block.body {
                Body::Text(words) | Body::Refusal(words) => text.push_str(words),
                other => attached.extend(media::part(other)?),
            }
        }
        let response = response_of(text, result.is_error);
        let nested = self.generation == Generation::ThreeOn;
        let (parts, beside) = if nested { (attached, Vec::new()) } else { (Vec::new(), attached) };
        let function_response = Some(FunctionResponse { id: &result.id, name, response, parts });
        // A result whose call is not there comes last.
        let order = known.map_or(usize::MAX, |(order, _)| order);
        let open = self.open(Role::User);
        open.results.push((order, Part { function_response, ..Part::default() }));
        open.others.extend(beside);
        Ok(())
    }

    fn finish(self) -> Vec<Content<'a>> {
        let skip = self.generation == Generation::ThreeOn;
        let starts_with_model = self.written.first().is_none_or(|first| first.role == Role::Model);
        let mut contents = Vec::with_capacity(self.written.len() + 1);
        if starts_with_model {
            contents.push(Content { role: Role::User, parts: vec![Part::text(" ")] });
        }
        for Open { role, mut results, others } in self.written {
            results.sort_by_key(|(order, _)| *order);
            let mut parts: Vec<Part<'a>> = results.into_iter().map(|(_, part)| part).chain(others).collect();
            if parts.is_empty() {
                parts.push(Part::text(" "));
            }
            if skip && let Some(first) = parts.iter_mut().find(|part| part.function_call.is_some()) {
                first.thought_signature.get_or_insert(Cow::Borrowed(seal::SKIP));
            }
            contents.push(Content { role, parts });
        }
        contents
    }
}

fn googles(seal: &Seal) -> Option<&str> {
    (seal.maker == Maker::Google).then_some(seal.data.as_str())
}

fn is_plain_text(part: &Part<'_>) -> bool {
    part.text.is_some() && !part.thought && part.thought_signature.is_none()
}

/// The result as the object that the interface wants.
fn response_of<'a>(text: String, is_error: bool) -> Args<'a> {
    if is_error {
        return Args::wrapped("error", text);
    }
    if text.trim_start().starts_with('{')
        && let Ok(raw) = serde_json::from_str::<Box<RawValue>>(&text)
    {
        return Args::Raw(Cow::Owned(raw));
    }
    Args::wrapped("result", text)
}
