//! The conversation as Messages wants it: user first, turns of one role merged, signed thinking first, results first, every call answered.

use super::outgoing::{Message, Piece, Role};
use super::write_blocks::{BlockWriter, NOTHING_SAID};
use crate::chat::carry;
use crate::chat::request::{Block, Body, Refusal, Turn};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// The messages of a conversation.
pub(super) fn messages<'r>(
    turns: &'r [Turn],
    writer: &mut BlockWriter<'_>,
    prefill: bool,
) -> Result<Vec<Message<'r>>, Refusal> {
    let mut messages = merged(turns, writer)?;
    for message in &mut messages {
        match message.role {
            Role::User => results_first(&mut message.content),
            Role::Assistant => thinking_first(&mut message.content),
        }
    }
    distinguish_calls(&mut messages);
    if messages.first().is_some_and(|first| first.role == Role::Assistant) {
        messages.insert(0, Message { role: Role::User, content: vec![Piece::text(NOTHING_SAID)] });
    }
    if messages.is_empty() {
        return Err(Refusal::new("messages", "The conversation is empty: send at least one user message."));
    }
    every_call_is_answered(&messages)?;
    if let Some(last) = messages.last_mut().filter(|last| last.role == Role::Assistant) {
        if !prefill {
            let remedy =
                "This model does not continue a last assistant message: end the conversation with a user message.";
            return Err(Refusal::new("messages", remedy));
        }
        trim_end(&mut last.content);
    }
    Ok(messages)
}

/// Turns to messages, neighbours of one role as one.
fn merged<'r>(turns: &'r [Turn], writer: &mut BlockWriter<'_>) -> Result<Vec<Message<'r>>, Refusal> {
    let mut messages: Vec<Message<'r>> = Vec::with_capacity(turns.len());
    for turn in turns {
        let (role, content) = match turn {
            Turn::User(blocks) => (Role::User, user(blocks, writer)?),
            Turn::Assistant(blocks) => (Role::Assistant, assistant(blocks, writer)?),
            Turn::System(blocks) => (Role::User, instructions(blocks, writer)?),
        };
        match messages.last_mut().filter(|last| last.role == role) {
            Some(last) => last.content.extend(content),
            None if content.is_empty() && role == Role::Assistant => {}
            None if content.is_empty() => messages.push(Message { role, content: vec![Piece::text(NOTHING_SAID)] }),
            None => messages.push(Message { role, content }),
        }
    }
    Ok(messages)
}

fn user<'r>(blocks: &'r [Block], writer: &mut BlockWriter<'_>) -> Result<Vec<Piece<'r>>, Refusal> {
    blocks.iter().filter_map(|block| writer.of_user(block).transpose()).collect()
}

fn assistant<'r>(blocks: &'r [Block], writer: &mut BlockWriter<'_>) -> Result<Vec<Piece<'r>>, Refusal> {
    blocks.iter().filter_map(|block| writer.of_assistant(block).transpose()).collect()
}

/// Instructions in the middle keep their place, as words of the user that say what they are.
fn instructions<'r>(blocks: &'r [Block], writer: &mut BlockWriter<'_>) -> Result<Vec<Piece<'r>>, Refusal> {
    let mut pieces = Vec::new();
    for block in blocks {
        match &block.body {
            Body::Text(text) if text.trim().is_empty() => {}
            Body::Text(text) => pieces.push(Piece::Text {
                text: format!("[system] {text}").into(),
                cache_control: writer.marks.next(block.cache),
            }),
            _ => return Err(Refusal::new("messages", "System messages hold text alone.")),
        }
    }
    Ok(pieces)
}

/// The results of a turn come before what the user says.
fn results_first(content: &mut [Piece<'_>]) {
    content.sort_by_key(|piece| !matches!(piece, Piece::ToolResult { .. }));
}

/// Signed thinking comes before the text that it led to, which clients that carry it in ids put first. Thinking after a call stays where it is:
/// the provider checks its place.
fn thinking_first(content: &mut [Piece<'_>]) {
    let Some(start) = content.iter().position(Piece::is_thinking) else { return };
    let after_a_call = content.iter().take(start).any(|piece| matches!(piece, Piece::ToolUse { .. }));
    if after_a_call {
        return;
    }
    let run = content.iter().skip(start).take_while(|piece| piece.is_thinking()).count();
    if let Some(through_run) = content.get_mut(..start.saturating_add(run)) {
        through_run.rotate_left(start);
    }
}

/// Ids of calls are unique in a conversation. Some makers count from zero in every turn: the second of a name, and its result, get another.
fn distinguish_calls(messages: &mut [Message<'_>]) {
    let mut seen: HashMap<String, u32> = HashMap::new();
    for piece in messages.iter_mut().flat_map(|message| &mut message.content) {
        let (id, times) = match piece {
            Piece::ToolUse { id, .. } => {
                let times = seen.entry(id.as_ref().to_owned()).or_insert(0);
                *times = times.saturating_add(1);
                (id, *times)
            }
            Piece::ToolResult { tool_use_id, .. } => {
                let times = seen.get(tool_use_id.as_ref()).copied().unwrap_or(1);
                (tool_use_id, times)
            }
            _ => continue,
        };
        if times > 1 {
            let another = format!("{id}_{times}");
            *id = Cow::Owned(carry::conform(&another).into_owned());
        }
    }
}

/// Each call has its result in the message after it, and each result its call in the message before.
fn every_call_is_answered(messages: &[Message<'_>]) -> Result<(), Refusal> {
    let mut open: HashSet<&str> = HashSet::new();
    for message in messages {
        for piece in &message.content {
            if let Piece::ToolResult { tool_use_id, .. } = piece
                && !open.remove(tool_use_id.as_ref())
            {
                let remedy = "Send one result for each tool call, right after the message that calls.";
                return Err(Refusal::new(
                    "messages",
                    format!("A result answers no open call: `{tool_use_id}`. {remedy}"),
                ));
            }
        }
        unanswered(&open)?;
        for piece in &message.content {
            if let Piece::ToolUse { id, .. } = piece {
                open.insert(id.as_ref());
            }
        }
    }
    unanswered(&open)
}

fn unanswered(open: &HashSet<&str>) -> Result<(), Refusal> {
    let Some(id) = open.iter().min() else { return Ok(()) };
    let remedy = "Send a result for each call, right after the message that calls.";
    Err(Refusal::new("messages", format!("The tool call `{id}` has no result. {remedy}")))
}

/// White space at the end of a turn to be continued is refused.
fn trim_end(content: &mut Vec<Piece<'_>>) {
    if let Some(Piece::Text { text, .. }) = content.last_mut() {
        let length = text.trim_end().len();
        if length < text.len() {
            text.to_mut().truncate(length);
        }
    }
}

/// Whether the conversation waits in a tool loop whose calling turn has no signed thinking first: with a thinking budget, that is refused.
pub(super) fn loop_lacks_thinking(messages: &[Message<'_>]) -> bool {
    let [.., calling, last] = messages else { return false };
    let in_loop = last.content.iter().any(|piece| matches!(piece, Piece::ToolResult { .. }));
    in_loop && calling.content.first().is_some_and(|first| !first.is_thinking())
}
