//! A conversation as OpenAI checks it: roles, contents, and tool answers that follow their calls.

use super::chat::kind;
use super::refusal::Refusal;
use crate::simulator::text::{digest_value, mix};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// What the rest of the simulator needs to know of a conversation.
pub struct Conversation {
    /// Digest of all messages.
    pub digest: u64,
    /// Bytes of text in all messages and tool-call arguments.
    pub text_bytes: usize,
    /// The text of the last user message.
    pub last_user: String,
    /// Whether the last message is an answer of a tool.
    pub ends_in_tool_answer: bool,
    /// Whether any message says "json" in any case.
    pub mentions_json: bool,
}

/// Checks all messages.
///
/// # Errors
/// The 400 that OpenAI would send for the first one that is wrong.
pub fn check(messages: &[Value]) -> Result<Conversation, Refusal> {
    if messages.is_empty() {
        let message =
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array.";
        return Err(Refusal::invalid(Some("empty_array"), "messages", message));
    }
    let mut sum = Conversation {
        digest: 11,
        text_bytes: 0,
        last_user: String::new(),
        ends_in_tool_answer: false,
        mentions_json: false,
    };
    let mut calls = OpenCalls::default();
    for (position, message) in messages.iter().enumerate() {
        let at = At(position);
        let role = check_message(at, message)?;
        calls.step(at, role, message)?;
        let text = text_of(&message["content"]);
        sum.digest = mix(sum.digest, digest_value(message));
        sum.text_bytes += text.len() + argument_bytes(message);
        sum.mentions_json |= mentions_json(&text);
        sum.ends_in_tool_answer = role == "tool";
        if role == "user" {
            sum.last_user = text.into_owned();
        }
    }
    calls.end()?;
    Ok(sum)
}

/// A message by its place, put into words only where something is wrong.
#[derive(Clone, Copy)]
struct At(usize);

impl fmt::Display for At {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "messages[{}]", self.0)
    }
}

fn mentions_json(text: &str) -> bool {
    text.as_bytes().windows(4).any(|four| four[0] | 0x20 == b'j' && four.eq_ignore_ascii_case(b"json"))
}

fn check_message(at: At, message: &Value) -> Result<&str, Refusal> {
    let Some(members) = message.as_object() else {
        return Err(Refusal::wrong_type(&at.to_string(), "an object", kind(message)));
    };
    let Some(role) = message["role"].as_str() else { return Err(Refusal::missing(&format!("{at}.role"))) };
    if !ROLES.contains(&role) {
        let message = format!("Invalid value: '{role}'. Supported values are: {}.", ROLES.join(", "));
        return Err(Refusal::wrong_value(&format!("{at}.role"), message));
    }
    if let Some(unknown) = members.keys().find(|name| !MESSAGE_FIELDS.contains(&name.as_str())) {
        return Err(Refusal::unknown_parameter(&format!("{at}.{unknown}")));
    }
    let calls = !message["tool_calls"].is_null() || !message["function_call"].is_null();
    let silent = role == "assistant" && (calls || !message["audio"].is_null() || !message["refusal"].is_null());
    check_content(at, &message["content"], silent)?;
    Ok(role)
}

fn check_content(at: At, content: &Value, may_be_null: bool) -> Result<(), Refusal> {
    match content {
        Value::String(_) => Ok(()),
        Value::Null if may_be_null => Ok(()),
        Value::Array(parts) if !parts.is_empty() => parts.iter().enumerate().try_for_each(|(position, part)| {
            let at = || format!("{at}.content[{position}]");
            let kind = part["type"].as_str().ok_or_else(|| Refusal::missing(&format!("{}.type", at())))?;
            if !PART_KINDS.contains(&kind) {
                let message = format!("Invalid value: '{kind}'. Supported values are: {}.", PART_KINDS.join(", "));
                return Err(Refusal::wrong_value(&format!("{}.type", at()), message));
            }
            if part[kind].is_null() { Err(Refusal::missing(&format!("{}.{kind}", at()))) } else { Ok(()) }
        }),
        other => {
            let message = format!("Invalid value for 'content': expected a string, got {}.", kind(other));
            Err(Refusal::invalid(None, &format!("{at}.content"), message))
        }
    }
}

/// Tool calls of the last assistant message that no tool has answered yet.
#[derive(Default)]
struct OpenCalls {
    called: Vec<String>,
    unanswered: Vec<String>,
}

impl OpenCalls {
    fn step(&mut self, at: At, role: &str, message: &Value) -> Result<(), Refusal> {
        if role == "tool" {
            let id = message["tool_call_id"].as_str().ok_or_else(|| Refusal::missing(&format!("{at}.tool_call_id")))?;
            if !self.called.iter().any(|called| called == id) {
                let message = "Invalid parameter: messages with role 'tool' must be a response to a preceeding message \
                               with 'tool_calls'.";
                return Err(Refusal::invalid(None, &format!("{at}.role"), message));
            }
            self.unanswered.retain(|open| open != id);
            return Ok(());
        }
        self.end()?;
        self.called.clear();
        for (position, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
            let id = call["id"].as_str();
            let id = id.ok_or_else(|| Refusal::missing(&format!("{at}.tool_calls[{position}].id")))?;
            if call["function"]["name"].as_str().or(call["custom"]["name"].as_str()).is_none() {
                return Err(Refusal::missing(&format!("{at}.tool_calls[{position}].function.name")));
            }
            self.called.push(id.to_owned());
        }
        self.unanswered.clone_from(&self.called);
        Ok(())
    }

    fn end(&self) -> Result<(), Refusal> {
        if self.unanswered.is_empty() {
            return Ok(());
        }
        let message = format!(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. \
             The following tool_call_ids did not have response messages: {}",
            self.unanswered.join(", ")
        );
        Err(Refusal::invalid(None, "messages", message))
    }
}

/// The text of a content: the string, or all text parts joined.
fn text_of(content: &Value) -> Cow<'_, str> {
    match content {
        Value::String(text) => Cow::Borrowed(text),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => Cow::Borrowed(""),
    }
}

fn argument_bytes(message: &Value) -> usize {
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    calls.filter_map(|call| call["function"]["arguments"].as_str()).map(str::len).sum()
}

const ROLES: [&str; 6] = ["system", "assistant", "user", "function", "tool", "developer"];
const PART_KINDS: [&str; 5] = ["text", "image_url", "input_audio", "file", "refusal"];
const MESSAGE_FIELDS: [&str; 9] =
    ["role", "content", "name", "tool_calls", "tool_call_id", "refusal", "audio", "function_call", "annotations"];
