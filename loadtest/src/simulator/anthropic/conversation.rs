//! A conversation as Anthropic checks it: who may say what, results that follow their calls, and thoughts that come back
//! unchanged.

use super::models::Caps;
use super::refusal::invalid;
use crate::simulator::seal;
use crate::simulator::surface::Denial;
use crate::simulator::text::{digest_value, mix};
use serde_json::Value;

/// What the answer depends on.
pub(super) struct Conversation {
    /// Digest of messages and system.
    pub(super) digest: u64,
    /// Bytes of all text, tool inputs and thoughts.
    pub(super) text_bytes: usize,
    /// The text of the last user turn that has any.
    pub(super) last_user: String,
    /// Whether the last turn answers calls of tools.
    pub(super) after_tool: bool,
}

/// How the request wants the model to think.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Thinking {
    Off,
    /// With a budget: the last call of a tool must show its thoughts, whoever made it.
    Budget,
    /// At the model's discretion: a call that came with thoughts must come back with them.
    Adaptive,
}

/// One block and where it is.
struct Block<'a> {
    message: usize,
    position: usize,
    value: &'a Value,
}

impl Block<'_> {
    fn kind(&self) -> &str {
        self.value["type"].as_str().unwrap_or("text")
    }

    fn place(&self) -> String {
        format!("messages.{}.content.{}", self.message, self.position)
    }
}

/// Consecutive messages of one role are one turn.
struct Turn<'a> {
    assistant: bool,
    blocks: Vec<Block<'a>>,
}

/// What a conversation is checked against besides itself.
pub(super) struct Rules {
    pub(super) caps: Caps,
    pub(super) thinking: Thinking,
    /// What thoughts are sealed for.
    pub(super) purpose: String,
    /// The stricter of the two versions of the interface.
    pub(super) strict_version: bool,
}

/// Checks the messages of a request that fits the tables.
///
/// # Errors
/// The 400 that Anthropic would send.
pub(super) fn check(body: &Value, rules: &Rules) -> Result<Conversation, Denial> {
    let no_messages = Vec::new();
    let messages = body["messages"].as_array().unwrap_or(&no_messages);
    if messages.is_empty() {
        return Err(invalid("messages: at least one message is required"));
    }
    let turns = turns(messages)?;
    if rules.caps.prefill && turns[0].assistant {
        return Err(invalid("messages: first message must use the \"user\" role"));
    }
    for turn in &turns {
        turn.blocks.iter().try_for_each(|block| check_block(turn.assistant, block, rules))?;
    }
    pair_calls(&turns)?;
    check_last(&turns, rules)?;
    let mut sum = Conversation {
        digest: mix(digest_value(&body["messages"]), digest_value(&body["system"])),
        text_bytes: text_of(&body["system"]).len(),
        last_user: String::new(),
        after_tool: false,
    };
    for turn in &turns {
        sum.text_bytes += turn.blocks.iter().map(|block| block_bytes(block.value)).sum::<usize>();
        let said: String = turn.blocks.iter().filter_map(|block| block_text(block.value)).collect();
        if !turn.assistant && !said.is_empty() {
            sum.last_user = said;
        }
        sum.after_tool = !turn.assistant && turn.blocks.iter().any(|block| block.kind() == "tool_result");
    }
    Ok(sum)
}

fn turns(messages: &[Value]) -> Result<Vec<Turn<'_>>, Denial> {
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for (message, value) in messages.iter().enumerate() {
        let assistant = value["role"] == "assistant";
        let block = |position, value| Block { message, position, value };
        let blocks: Vec<_> = match &value["content"] {
            Value::Array(parts) => parts.iter().enumerate().map(|(at, part)| block(at, part)).collect(),
            Value::String(text) if text.is_empty() => Vec::new(),
            text => vec![block(0, text)],
        };
        let last = message + 1 == messages.len();
        if blocks.is_empty() && !(last && assistant) {
            let message = format!(
                "messages.{message}: all messages must have non-empty content except for the optional final assistant \
                 message"
            );
            return Err(invalid(&message));
        }
        match turns.last_mut().filter(|turn| turn.assistant == assistant) {
            Some(turn) => turn.blocks.extend(blocks),
            None => turns.push(Turn { assistant, blocks }),
        }
    }
    Ok(turns)
}

fn check_block(assistant: bool, block: &Block<'_>, rules: &Rules) -> Result<(), Denial> {
    let (place, kind) = (block.place(), block.kind());
    let only = |role| Err(invalid(&format!("{place}: `{kind}` blocks can only be in `{role}` messages")));
    match kind {
        "tool_use" | "thinking" | "redacted_thinking" | "server_tool_use" if !assistant => only("assistant"),
        "tool_result" | "image" | "search_result" if assistant => only("user"),
        "document" if assistant && rules.strict_version => only("user"),
        "text" if !assistant && rules.strict_version => match block.value["citations"].as_array() {
            Some(citations) if !citations.is_empty() => {
                Err(invalid(&format!("{place}.text.citations: citations are not permitted on user text blocks")))
            }
            _ => Ok(()),
        },
        "thinking" => {
            let text = block.value["thinking"].as_str().unwrap_or_default();
            let signature = block.value["signature"].as_str().unwrap_or_default();
            let hidden = text.is_empty() && seal::unwrap(&rules.purpose, signature).is_some();
            if hidden || seal::is_sealed(&rules.purpose, text, signature) {
                return Ok(());
            }
            Err(invalid(&format!("{place}: Invalid `signature` in `thinking` block")))
        }
        "redacted_thinking" => match seal::unwrap(&rules.purpose, block.value["data"].as_str().unwrap_or_default()) {
            Some(_) => Ok(()),
            None => Err(invalid(&format!("{place}: Invalid `data` in `redacted_thinking` block"))),
        },
        "tool_use" | "tool_result" => {
            let name = if kind == "tool_use" { "id" } else { "tool_use_id" };
            if is_name(block.value[name].as_str().unwrap_or_default()) {
                return Ok(());
            }
            Err(invalid(&format!("{place}.{kind}.{name}: String should match pattern '^[a-zA-Z0-9_-]+$'")))
        }
        _ => Ok(()),
    }
}

/// Whether an id has the letters that ids may have.
fn is_name(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Every call is answered at the start of the next turn, and every answer belongs to a call of the turn before.
fn pair_calls(turns: &[Turn<'_>]) -> Result<(), Denial> {
    let id = |block: &Block<'_>, name: &str| block.value[name].as_str().unwrap_or_default().to_owned();
    let mut ever: Vec<String> = Vec::new();
    let mut open: Vec<String> = Vec::new();
    for turn in turns {
        let leading = turn.blocks.iter().take_while(|block| block.kind() == "tool_result");
        let answered: Vec<_> = leading.map(|block| id(block, "tool_use_id")).collect();
        let missing: Vec<_> = open.iter().filter(|call| !answered.contains(call)).cloned().collect();
        if !missing.is_empty() {
            let at = turn.blocks.first().map_or(0, |block| block.message);
            return Err(unanswered(at, &missing));
        }
        let mut seen: Vec<String> = Vec::new();
        for block in turn.blocks.iter().filter(|block| block.kind() == "tool_result") {
            let result = id(block, "tool_use_id");
            if !open.contains(&result) {
                let message = format!(
                    "{}: unexpected `tool_use_id` found in `tool_result` blocks: {result}. Each `tool_result` block must \
                     have a corresponding `tool_use` block in the previous message.",
                    block.place()
                );
                return Err(invalid(&message));
            }
            if seen.contains(&result) {
                let message = format!(
                    "{}: each tool_use must have a single result. Found multiple `tool_result` blocks with id: {result}",
                    block.place()
                );
                return Err(invalid(&message));
            }
            seen.push(result);
        }
        open = turn.blocks.iter().filter(|block| block.kind() == "tool_use").map(|block| id(block, "id")).collect();
        if open.iter().enumerate().any(|(at, call)| ever.contains(call) || open[..at].contains(call)) {
            return Err(invalid("messages: `tool_use` ids must be unique"));
        }
        ever.extend(open.iter().cloned());
    }
    let end = turns.last().and_then(|turn| turn.blocks.last()).map_or(0, |block| block.message);
    if open.is_empty() { Ok(()) } else { Err(unanswered(end, &open)) }
}

fn unanswered(message: usize, ids: &[String]) -> Denial {
    let ids = ids.join(", ");
    invalid(&format!(
        "messages.{message}: `tool_use` ids were found without `tool_result` blocks immediately after: {ids}. Each \
         `tool_use` block must have a corresponding `tool_result` block in the next message."
    ))
}

/// The last turn may be the assistant's only where the model goes on with it, and a call that goes on must show its thoughts.
fn check_last(turns: &[Turn<'_>], rules: &Rules) -> Result<(), Denial> {
    let Some(last) = turns.last() else { return Ok(()) };
    if last.assistant {
        if !rules.caps.prefill || rules.thinking != Thinking::Off {
            let message = "This model does not support assistant message prefill. The conversation must end with a user \
                           message.";
            return Err(invalid(message));
        }
        let text = last.blocks.last().and_then(|block| block_text(block.value)).unwrap_or_default();
        if text.ends_with(char::is_whitespace) {
            return Err(invalid("messages: final assistant content cannot end with trailing whitespace"));
        }
        return Ok(());
    }
    let answers = last.blocks.iter().any(|block| block.kind() == "tool_result");
    let Some(calls) = turns.iter().rev().nth(1).filter(|_| answers && rules.thinking != Thinking::Off) else {
        return Ok(());
    };
    let Some(first) = calls.blocks.first() else { return Ok(()) };
    let thought = calls.blocks.iter().any(|block| block.value["id"].as_str().is_some_and(was_thought));
    let must_show = rules.thinking == Thinking::Budget || thought;
    if !must_show || matches!(first.kind(), "thinking" | "redacted_thinking") {
        return Ok(());
    }
    Err(invalid(&format!(
        "{}.type: Expected `thinking` or `redacted_thinking`, but found `{}`. When `thinking` is enabled, a final \
         `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` \
         blocks). We recommend you include thinking blocks from previous turns. To avoid this requirement, disable \
         `thinking`.",
        first.place(),
        first.kind()
    )))
}

/// How the ids of calls start that came with a thought.
pub(super) const THOUGHT_ID: &str = "toolu_01T";
/// How the ids of other calls start.
pub(super) const PLAIN_ID: &str = "toolu_01N";

fn was_thought(id: &str) -> bool {
    id.starts_with(THOUGHT_ID)
}

/// The text of a message that is a string, or of a text block.
fn block_text(block: &Value) -> Option<&str> {
    block.as_str().or_else(|| block["text"].as_str())
}

/// The text of a string or of all text blocks of a list.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

fn block_bytes(block: &Value) -> usize {
    let input = block.get("input").map_or(0, |input| input.to_string().len());
    let thought = block["thinking"].as_str().map_or(0, str::len);
    let result = block.get("content").map_or(0, |content| text_of(content).len());
    block_text(block).map_or(0, str::len) + input + thought + result
}
