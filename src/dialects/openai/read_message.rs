//! A client's `messages`, read into turns.
//!
//! Instructions before the conversation go to the request, later ones keep their place. Neighbouring tool messages become one turn of the
//! user. What was carried in ids of tool calls is taken out and put where it was, unless the client kept the same thinking itself.

use super::member::{self, Path};
use super::read_part::{cache_hint, content, pictures};
use super::reasoning;
use crate::chat::carry::{self, Carried};
use crate::chat::request::{
    Block, Body, CacheHint, Maker, Refusal, Request, Seal, Thinking, ToolCall, ToolResult, Turn,
};
use serde_json::{Map, Value};

/// Reads the conversation into `request`.
pub(super) fn read(messages: Vec<Value>, at: &Path<'_>, request: &mut Request) -> Result<(), Refusal> {
    if messages.is_empty() {
        return Err(at.refuse("`messages` is empty: send at least one message."));
    }
    let mut conversation = Conversation { request, functions_called: Vec::new() };
    for (index, item) in messages.into_iter().enumerate() {
        let here = at.item(index);
        let message = Message::read(member::object(item, &here)?, &here, &mut conversation.request.dropped)?;
        conversation.take(message, &here)?;
    }
    Ok(())
}

/// One message, its members taken apart.
#[derive(Default)]
struct Message {
    role: String,
    content: Option<Value>,
    name: Option<String>,
    tool_call_id: Option<String>,
    tool_calls: Option<Value>,
    function_call: Option<Value>,
    refusal: Option<String>,
    reasoning: Option<String>,
    reasoning_details: Option<Value>,
    images: Option<Value>,
    cache: Option<CacheHint>,
}

// === impl Message ===

impl Message {
    fn read(map: Map<String, Value>, at: &Path<'_>, dropped: &mut Vec<String>) -> Result<Self, Refusal> {
        let mut message = Self { cache: cache_hint(&map, at)?, ..Self::default() };
        for (name, value) in member::given(map) {
            let here = at.member(&name);
            match name.as_str() {
                "role" => message.role = member::text(value, &here)?,
                "content" => message.content = Some(value),
                "name" => message.name = Some(member::text(value, &here)?),
                "tool_call_id" => message.tool_call_id = Some(member::text(value, &here)?),
                "tool_calls" => message.tool_calls = Some(value),
                "function_call" => message.function_call = Some(value),
                "refusal" => message.refusal = Some(member::text(value, &here)?),
                "reasoning_content" => message.reasoning = Some(member::text(value, &here)?),
                // Several vendors' name for the same; where both are sent, the former is kept.
                "reasoning" if message.reasoning.is_none() => message.reasoning = value.as_str().map(str::to_owned),
                "reasoning_details" => message.reasoning_details = Some(value),
                "images" => message.images = Some(value),
                "audio" => {
                    return Err(here.refuse("An earlier answer's audio is kept by its maker: send its transcript."));
                }
                // Marks were read above; the rest says nothing that the conversation does not.
                "cache_control" | "prompt_cache_breakpoint" | "reasoning" | "annotations" | "prefix" | "partial" => {}
                _ => note(dropped, format!("messages.{name}")),
            }
        }
        Ok(message)
    }
}

/// Notes a name once.
fn note(dropped: &mut Vec<String>, name: String) {
    if !dropped.contains(&name) {
        dropped.push(name);
    }
}

/// The turns so far.
struct Conversation<'r> {
    request: &'r mut Request,
    /// Calls of the older `function_call` form, by name, with the ids that were made for them.
    functions_called: Vec<(String, String)>,
}

// === impl Conversation ===

impl Conversation<'_> {
    fn take(&mut self, message: Message, at: &Path<'_>) -> Result<(), Refusal> {
        match message.role.as_str() {
            "system" | "developer" => self.instructions(message, at),
            "user" => {
                let blocks = marked(content(message.content, &at.member("content"))?, message.cache);
                if blocks.is_empty() {
                    return Err(at
                        .member("content")
                        .refuse("A user message needs content: a string or an array of parts."));
                }
                self.request.turns.push(Turn::User(blocks));
                Ok(())
            }
            "assistant" => self.assistant(message, at),
            "tool" | "function" => self.result(message, at),
            _ => Err(at.member("role").refuse("Use `system`, `developer`, `user`, `assistant` or `tool`.")),
        }
    }

    fn instructions(&mut self, message: Message, at: &Path<'_>) -> Result<(), Refusal> {
        let blocks = marked(content(message.content, &at.member("content"))?, message.cache);
        if let Some(other) = blocks.iter().position(|block| !matches!(block.body, Body::Text(_))) {
            return Err(at.member("content").item(other).member("type").refuse("Instructions are text only."));
        }
        if self.request.turns.is_empty() {
            self.request.system.extend(blocks);
        } else {
            self.request.turns.push(Turn::System(blocks));
        }
        Ok(())
    }

    fn assistant(&mut self, message: Message, at: &Path<'_>) -> Result<(), Refusal> {
        let mut calls = Vec::new();
        if let Some(value) = message.tool_calls {
            let here = at.member("tool_calls");
            for (index, item) in member::array(value, &here)?.into_iter().enumerate() {
                calls.push(tool_call(item, &here.item(index))?);
            }
        }
        if let Some(value) = message.function_call {
            let here = at.member("function_call");
            let (name, input) = function(member::object(value, &here)?, &here)?;
            let id = format!("call_{}", self.functions_called.len());
            self.functions_called.push((name.clone(), id.clone()));
            calls.push((ToolCall { id, name, input, custom: false, seal: None }, Carried::default()));
        }
        let mut said = content(message.content, &at.member("content"))?;
        if let Some(refusal) = message.refusal {
            said.push(Block::of(Body::Refusal(refusal)));
        }
        if let Some(value) = message.images {
            said.extend(pictures(value, &at.member("images"))?);
        }
        said.retain(|block| !matches!(&block.body, Body::Text(text) if text.is_empty()));
        let thoughts = reasoning::read(message.reasoning, message.reasoning_details.as_ref());
        let blocks = marked(in_order(thoughts, said, calls), message.cache);
        if !blocks.is_empty() {
            self.request.turns.push(Turn::Assistant(blocks));
        }
        Ok(())
    }

    fn result(&mut self, message: Message, at: &Path<'_>) -> Result<(), Refusal> {
        let id = match (message.tool_call_id, &message.name) {
            (Some(id), _) => carry::unpack(&id).0.to_owned(),
            (None, Some(name)) if message.role == "function" => {
                let called = self.functions_called.iter().rev().find(|(called, _)| called == name);
                let missing = || at.member("name").refuse("No `function_call` before this message has its name.");
                called.ok_or_else(missing)?.1.clone()
            }
            _ => return Err(at.member("tool_call_id").refuse("A tool message needs the id of the call it answers.")),
        };
        let content = content(message.content, &at.member("content"))?;
        let result = ToolResult { id, name: message.name, content, is_error: false };
        let block = Block { body: Body::ToolResult(result), cache: message.cache };
        match self.request.turns.last_mut() {
            Some(Turn::User(blocks)) if blocks.iter().all(|block| matches!(block.body, Body::ToolResult(_))) => {
                blocks.push(block);
            }
            _ => self.request.turns.push(Turn::User(vec![block])),
        }
        Ok(())
    }
}

/// The message's own mark stands after its last block.
fn marked(mut blocks: Vec<Block>, cache: Option<CacheHint>) -> Vec<Block> {
    if let (Some(last), Some(_)) = (blocks.last_mut(), cache) {
        last.cache = cache;
    }
    blocks
}

/// The assistant's blocks in the order in which they were made: thinking, then words, then calls.
///
/// What the first call carries goes before the words, since that is how a turn begins and its makers insist on it; what a later call
/// carries goes right before that call. Thinking that the client kept with its seal is not put there again, and plain reasoning text
/// gives way to the sealed original.
fn in_order(mut thoughts: Vec<Thinking>, said: Vec<Block>, calls: Vec<(ToolCall, Carried)>) -> Vec<Block> {
    if calls.iter().any(|(_, carried)| !carried.thinking.is_empty()) {
        thoughts.retain(|thought| thought.seal.is_some());
    }
    let is_new = |thought: &Thinking| !thoughts.iter().any(|kept| kept.seal == thought.seal);
    let restored: Vec<Vec<Block>> = calls
        .iter()
        .map(|(_, carried)| carried.thinking.iter().filter(|it| is_new(it)).map(thinking).collect())
        .collect();
    let mut restored = restored.into_iter();
    let mut blocks: Vec<Block> = thoughts.iter().map(thinking).collect();
    blocks.extend(restored.next().unwrap_or_default());
    blocks.extend(said);
    for (index, (call, carried)) in calls.into_iter().enumerate() {
        if index > 0 {
            blocks.extend(restored.next().unwrap_or_default());
        }
        let seal = call.seal.clone().or(carried.seal);
        blocks.push(Block::of(Body::ToolCall(ToolCall { seal, ..call })));
    }
    blocks
}

fn thinking(thought: &Thinking) -> Block {
    Block::of(Body::Thinking(thought.clone()))
}

fn tool_call(item: Value, at: &Path<'_>) -> Result<(ToolCall, Carried), Refusal> {
    let mut map = member::object(item, at)?;
    let shown_id = member::needed_text(&mut map, "id", at)?;
    let (id, carried) = carry::unpack(&shown_id);
    let kind = member::optional_text(&mut map, "type", at)?.unwrap_or_else(|| "function".to_owned());
    let custom = match kind.as_str() {
        "function" => false,
        "custom" => true,
        _ => return Err(at.member("type").refuse("Use `function` or `custom`.")),
    };
    let here = at.member(&kind);
    let mut inside = member::object(map.get_mut(kind.as_str()).map(Value::take).unwrap_or_default(), &here)?;
    let (name, input) = if custom {
        (member::needed_text(&mut inside, "name", &here)?, member::needed_text(&mut inside, "input", &here)?)
    } else {
        function(inside, &here)?
    };
    let google = map.get("extra_content").and_then(|extra| extra.get("google")?.get("thought_signature")?.as_str());
    let seal = google.map(|data| Seal { maker: Maker::Google, data: data.to_owned(), redacted: false });
    Ok((ToolCall { id: id.to_owned(), name, input, custom, seal }, carried))
}

/// A called function's name and its input, the JSON text of an object.
fn function(mut map: Map<String, Value>, at: &Path<'_>) -> Result<(String, String), Refusal> {
    let name = member::needed_text(&mut map, "name", at)?;
    let here = at.member("arguments");
    let input = match map.get_mut("arguments").map(Value::take).unwrap_or_default() {
        Value::String(input) => input,
        // Some clients keep the object itself.
        value @ Value::Object(_) => value.to_string(),
        Value::Null => String::new(),
        _ => return Err(here.refuse("`arguments` must be a string that holds a JSON object.")),
    };
    match input.trim() {
        "" | "null" => Ok((name, "{}".to_owned())),
        inside if inside.starts_with('{') && is_json(inside) => Ok((name, input)),
        _ => Err(here.refuse("`arguments` must be a string that holds one JSON object, as the model wrote it.")),
    }
}

fn is_json(text: &str) -> bool {
    crate::json::scan::validate(text.as_bytes(), crate::limits::JSON_DEPTH_MAX).is_ok()
}
