//! The items of a conversation as the Responses API checks them: who says which parts, outputs that follow their calls, and
//! reasoning that comes back whole.

use crate::simulator::openai::Refusal;
use crate::simulator::seal;
use crate::simulator::text::{digest_value, mix};
use serde_json::Value;

/// What the answer depends on.
pub(super) struct Conversation {
    /// Digest of items and instructions.
    pub(super) digest: u64,
    /// Bytes of all text, arguments and outputs.
    pub(super) text_bytes: usize,
    /// The text of the last user message that has any.
    pub(super) last_user: String,
    /// Whether the last item is the output of a tool.
    pub(super) after_tool: bool,
    /// Whether any input says "json" in any case.
    pub(super) mentions_json: bool,
}

/// What encrypted reasoning starts with.
const CRYPT_START: &str = "gAAAAA";
const PURPOSE: &str = "openai reasoning";
/// How the ids of calls start that came with reasoning; the rest is that of their reasoning item's id.
pub(super) const THOUGHT_CALL: &str = "fc_T";
/// How the ids of other calls start.
pub(super) const PLAIN_CALL: &str = "fc_N";

/// Reasoning as only we can read it.
pub(super) fn encrypted(text: &str) -> String {
    format!("{CRYPT_START}{}", seal::wrap(PURPOSE, text))
}

/// The items that a request means: a bare text is one user message, and a message need not say that it is one.
pub(super) fn normal(input: &Value) -> Value {
    match input {
        Value::String(text) => {
            let part = serde_json::json!({ "type": "input_text", "text": text });
            serde_json::json!([{ "type": "message", "role": "user", "content": [part] }])
        }
        Value::Array(items) => items
            .iter()
            .map(|item| {
                let mut item = item.clone();
                if item.get("role").is_some() && item.get("type").is_none() {
                    item["type"] = "message".into();
                }
                item
            })
            .collect(),
        other => other.clone(),
    }
}

/// Checks all items of a conversation: those that came before, and from `new_from` on those of this request.
///
/// # Errors
/// The refusal that OpenAI would send.
pub(super) fn check(items: &[Value], new_from: usize, instructions: &Value) -> Result<Conversation, Refusal> {
    for (position, item) in items.iter().enumerate().skip(new_from) {
        check_item(position - new_from, item)?;
    }
    pair_calls(items)?;
    pair_reasoning(items)?;
    let mut sum = Conversation {
        digest: digest_value(instructions),
        text_bytes: instructions.as_str().map_or(0, str::len),
        last_user: String::new(),
        after_tool: false,
        mentions_json: false,
    };
    for item in items {
        let text = text_of(&item["content"]);
        sum.digest = mix(sum.digest, digest_value(&without_id(item)));
        sum.text_bytes += text.len() + call_bytes(item);
        sum.mentions_json |= text.as_bytes().windows(4).any(|four| four.eq_ignore_ascii_case(b"json"));
        sum.after_tool = matches!(kind(item), "function_call_output" | "custom_tool_call_output");
        if item["role"] == "user" && !text.is_empty() {
            sum.last_user = text;
        }
    }
    Ok(sum)
}

fn kind(item: &Value) -> &str {
    item["type"].as_str().unwrap_or_default()
}

/// An item without what only names it.
fn without_id(item: &Value) -> Value {
    let mut item = item.clone();
    if let Some(members) = item.as_object_mut() {
        members.remove("id");
        members.remove("status");
    }
    item
}

fn check_item(position: usize, item: &Value) -> Result<(), Refusal> {
    match kind(item) {
        "message" => check_parts(position, item),
        "item_reference" => {
            let id = item["id"].as_str().unwrap_or_default();
            Err(not_found(&format!("Item with id '{id}' not found.")))
        }
        "reasoning" => {
            let Some(crypt) = item["encrypted_content"].as_str() else {
                let id = item["id"].as_str().unwrap_or_default();
                return Err(not_found(&format!(
                    "Item with id '{id}' not found. Items are not persisted when `store` is set to false. Try again with \
                     `store` set to true, or remove this item from your input."
                )));
            };
            let whole = crypt.strip_prefix(CRYPT_START).and_then(|rest| seal::unwrap(PURPOSE, rest));
            if whole.is_some() {
                return Ok(());
            }
            let head: String = crypt.chars().take(4).collect();
            let message = format!("The encrypted content {head}... could not be verified.");
            Err(Refusal::invalid(Some("invalid_encrypted_content"), "", message))
        }
        _ => Ok(()),
    }
}

fn not_found(message: &str) -> Refusal {
    Refusal { status: 404, ..Refusal::invalid(None, "input", message) }
}

/// The assistant speaks in output parts, everybody else in input parts.
fn check_parts(position: usize, item: &Value) -> Result<(), Refusal> {
    let assistant = item["role"] == "assistant";
    for (at, part) in item["content"].as_array().into_iter().flatten().enumerate() {
        let kind = kind(part);
        if matches!(kind, "output_text" | "refusal") != assistant {
            let known = match assistant {
                true => "'output_text' and 'refusal'",
                false => "'input_text', 'input_image', and 'input_file'",
            };
            let message = format!("Invalid value: '{kind}'. Supported values are: {known}.");
            return Err(Refusal::wrong_value(&format!("input[{position}].content[{at}].type"), message));
        }
    }
    Ok(())
}

/// Every output belongs to a call before it, and every call has its output.
fn pair_calls(items: &[Value]) -> Result<(), Refusal> {
    let mut called: Vec<&str> = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    for item in items {
        let id = item["call_id"].as_str().unwrap_or_default();
        match kind(item) {
            "function_call" | "custom_tool_call" => {
                called.push(id);
                open.push(id);
            }
            "function_call_output" | "custom_tool_call_output" => {
                if !called.contains(&id) {
                    let message = format!("No tool call found for function call output with call_id {id}.");
                    return Err(Refusal::invalid(None, "input", message));
                }
                open.retain(|call| *call != id);
            }
            _ => {}
        }
    }
    match open.first() {
        Some(id) => Err(Refusal::invalid(None, "input", format!("No tool output found for function call {id}."))),
        None => Ok(()),
    }
}

/// Reasoning is followed by what it led to, and a call that came with reasoning comes back with it.
fn pair_reasoning(items: &[Value]) -> Result<(), Refusal> {
    for (position, item) in items.iter().enumerate() {
        let id = item["id"].as_str().unwrap_or_default();
        if kind(item) == "reasoning" {
            let next = items.get(position + 1).map_or("", kind);
            if !matches!(next, "message" | "function_call" | "custom_tool_call" | "reasoning") {
                let message =
                    format!("Item '{id}' of type 'reasoning' was provided without its required following item.");
                return Err(Refusal::invalid(None, "input", message));
            }
        }
        if let Some(rest) = id.strip_prefix(THOUGHT_CALL).filter(|_| kind(item) == "function_call") {
            let reasoning = format!("rs_{}", rest.get(1..).unwrap_or_default());
            if !items[..position].iter().any(|earlier| earlier["id"] == reasoning.as_str()) {
                let message = format!(
                    "Item '{id}' of type 'function_call' was provided without its required 'reasoning' item: '{reasoning}'."
                );
                return Err(Refusal::invalid(None, "input", message));
            }
        }
    }
    Ok(())
}

fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part["text"].as_str().or(part["refusal"].as_str())).collect()
        }
        _ => String::new(),
    }
}

fn call_bytes(item: &Value) -> usize {
    let text = |name: &str| item[name].as_str().map_or(0, str::len);
    text("arguments") + text("input") + text_of(&item["output"]).len()
}
