//! A conversation as Converse checks it: turns that alternate, blocks of one kind, results that follow their calls, and
//! reasoning that comes back unchanged.

use super::refusal::invalid;
use super::tables::BLOCK_KINDS;
use crate::simulator::seal;
use crate::simulator::surface::Denial;
use crate::simulator::text::{digest_value, mix};
use serde_json::Value;

/// What the answer depends on.
pub(super) struct Conversation {
    pub(super) digest: u64,
    pub(super) text_bytes: usize,
    pub(super) last_user: String,
    pub(super) after_tool: bool,
}

/// What reasoning is sealed for.
pub(super) const PURPOSE: &str = "bedrock";
/// How the ids of calls start that came with reasoning.
pub(super) const THOUGHT_ID: &str = "tooluse_T";
/// How the ids of other calls start.
pub(super) const PLAIN_ID: &str = "tooluse_N";

/// Checks the messages of a request that fits the tables.
///
/// # Errors
/// The 400 that Bedrock would send.
pub(super) fn check(body: &Value, thinks: bool) -> Result<Conversation, Denial> {
    let no_messages = Vec::new();
    let messages = body["messages"].as_array().unwrap_or(&no_messages);
    let role = |message: &Value| message["role"] == "assistant";
    match messages.first() {
        None => {
            return Err(invalid(
                "1 validation error detected: Value '[]' at 'messages' failed to satisfy constraint: Member must have \
                 length greater than or equal to 1",
            ));
        }
        Some(first) if role(first) => {
            return Err(invalid(
                "A conversation must start with a user message. Try again with a conversation that starts with a user \
                 message.",
            ));
        }
        _ => {}
    }
    if messages.windows(2).any(|two| role(&two[0]) == role(&two[1])) {
        return Err(invalid(
            "A conversation must alternate between user and assistant roles. Make sure the conversation alternates between \
             user and assistant roles and try again.",
        ));
    }
    if messages.last().is_some_and(role) {
        return Err(invalid(
            "A conversation must end with a user message. Try again with a conversation that ends with a user message.",
        ));
    }
    for (position, message) in messages.iter().enumerate() {
        check_blocks(&format!("messages.{position}"), message)?;
    }
    pair_calls(messages, body.get("toolConfig").is_some())?;
    if thinks {
        check_reasoning(messages)?;
    }
    Ok(sum(body, messages))
}

fn sum(body: &Value, messages: &[Value]) -> Conversation {
    let system = body["system"].as_array().into_iter().flatten();
    let mut sum = Conversation {
        digest: mix(digest_value(&body["messages"]), digest_value(&body["system"])),
        text_bytes: system.filter_map(|block| block["text"].as_str()).map(str::len).sum(),
        last_user: String::new(),
        after_tool: false,
    };
    for message in messages {
        sum.text_bytes += blocks(message).map(block_bytes).sum::<usize>();
        let text: String = blocks(message).filter_map(|block| block["text"].as_str()).collect();
        if message["role"] == "user" && !text.is_empty() {
            sum.last_user = text;
        }
        sum.after_tool = blocks(message).any(|block| block.get("toolResult").is_some());
    }
    sum
}

fn blocks(message: &Value) -> impl Iterator<Item = &Value> {
    message["content"].as_array().into_iter().flatten()
}

fn block_bytes(block: &Value) -> usize {
    let json = |value: &Value| if value.is_null() { 0 } else { value.to_string().len() };
    let result = block["toolResult"]["content"].as_array().into_iter().flatten();
    let result: usize = result.map(|part| part["text"].as_str().map_or(0, str::len) + json(&part["json"])).sum();
    block["text"].as_str().map_or(0, str::len)
        + json(&block["toolUse"]["input"])
        + block["reasoningContent"]["reasoningText"]["text"].as_str().map_or(0, str::len)
        + result
}

fn check_blocks(at: &str, message: &Value) -> Result<(), Denial> {
    let assistant = message["role"] == "assistant";
    if blocks(message).next().is_none() {
        return Err(invalid(&format!(
            "The content field in the Message object at {at} is empty. Add a ContentBlock object to the content field and try again."
        )));
    }
    for (position, block) in blocks(message).enumerate() {
        let at = format!("{at}.content.{position}");
        let kinds: Vec<_> = BLOCK_KINDS.iter().filter(|kind| block.get(**kind).is_some()).collect();
        let [kind] = kinds[..] else {
            return Err(invalid(&format!(
                "The ContentBlock object at {at} must set one of the following keys: {}.",
                BLOCK_KINDS.join(", ")
            )));
        };
        if block["text"].as_str().is_some_and(|text| text.trim().is_empty()) {
            return Err(invalid(&format!(
                "The text field in the ContentBlock object at {at} is blank. Add text to the text field, and try again."
            )));
        }
        let wrong = match *kind {
            "toolUse" | "reasoningContent" => !assistant,
            "toolResult" | "image" | "document" | "video" => assistant,
            _ => false,
        };
        if wrong {
            let role = if assistant { "assistant" } else { "user" };
            return Err(invalid(&format!("The {kind} block at {at} is not allowed in a message of role {role}.")));
        }
        for source in ["image", "document"] {
            if block[source]["source"]["bytes"].as_str().is_some_and(|bytes| seal::unbase64(bytes).is_none()) {
                return Err(invalid(&format!("The bytes at {at}.{source}.source are not valid base64.")));
            }
        }
        check_seal(&at, &block["reasoningContent"])?;
    }
    Ok(())
}

fn check_seal(at: &str, reasoning: &Value) -> Result<(), Denial> {
    let text = &reasoning["reasoningText"];
    let whole = match (text["text"].as_str(), reasoning["redactedContent"].as_str()) {
        (Some(text_of), _) => seal::is_sealed(PURPOSE, text_of, text["signature"].as_str().unwrap_or_default()),
        (None, Some(hidden)) => seal::unwrap(PURPOSE, hidden).is_some(),
        (None, None) => true,
    };
    if whole {
        return Ok(());
    }
    Err(invalid(&format!("The model returned the following errors: {at}: Invalid `signature` in `thinking` block")))
}

fn ids<'a>(message: &'a Value, kind: &'a str) -> Vec<&'a str> {
    blocks(message).filter_map(|block| block[kind]["toolUseId"].as_str()).collect()
}

fn pair_calls(messages: &[Value], configured: bool) -> Result<(), Denial> {
    let mut open: Vec<&str> = Vec::new();
    for (position, message) in messages.iter().enumerate() {
        let (calls, results) = (ids(message, "toolUse"), ids(message, "toolResult"));
        let tools_are_used = !calls.is_empty() || !results.is_empty();
        if tools_are_used && !configured {
            return Err(invalid(
                "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
            ));
        }
        if message["role"] == "assistant" {
            if let Some(id) = calls.iter().find(|id| !is_name(id)) {
                return Err(invalid(&format!(
                    "1 validation error detected: Value '{id}' at 'messages.{}.member.content.1.member.toolUse.toolUseId' \
                     failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.:-]+",
                    position + 1
                )));
            }
            open = calls;
            continue;
        }
        if results.len() > open.len() {
            return Err(invalid(&format!(
                "The number of toolResult blocks at messages.{position}.content exceeds the number of toolUse blocks of \
                 previous turn."
            )));
        }
        let missing: Vec<_> = open.iter().filter(|id| !results.contains(id)).copied().collect();
        if !missing.is_empty() {
            return Err(invalid(&format!(
                "Expected toolResult blocks at messages.{position}.content for the following Ids: {}, but found: {}",
                missing.join(", "),
                results.join(", ")
            )));
        }
        open = Vec::new();
    }
    Ok(())
}

fn is_name(id: &str) -> bool {
    !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte))
}

/// A call that came with reasoning comes back with it while its results are being told.
fn check_reasoning(messages: &[Value]) -> Result<(), Denial> {
    let Some([calls, last]) = messages.last_chunk::<2>() else { return Ok(()) };
    let position = messages.len() - 2;
    let thought = ids(calls, "toolUse").iter().any(|id| id.starts_with(THOUGHT_ID));
    let shown = blocks(calls).next().is_some_and(|block| block.get("reasoningContent").is_some());
    if ids(last, "toolResult").is_empty() || !thought || shown {
        return Ok(());
    }
    Err(invalid(&format!(
        "The model returned the following errors: messages.{position}.content.0.type: Expected `thinking` or \
         `redacted_thinking`, but found `tool_use`. When `thinking` is enabled, a final `assistant` message must start with \
         a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks)."
    )))
}
