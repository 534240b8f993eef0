//! What a client puts into `input`: a text, or items of a conversation.
//!
//! Neighbouring items of the model (reasoning, text, calls) become one turn, and so do neighbouring results of tools.
//! Items of tools that OpenAI runs mean nothing elsewhere and are noted; items that only point to something stored are
//! refused.

use super::fields::{Dropped, Fields, Path};
use super::names::flat;
use super::read_parts::{self, Side};
use super::read_tools;
use super::seal;
use crate::chat::carry;
use crate::chat::request::{Block, Body, Refusal, Request, Thinking, ToolCall, ToolResult, Turn};
use serde_json::Value;

/// Reads `input` into the request's turns, and instructions that stand before the first turn into its system.
pub(super) fn input(value: Value, request: &mut Request, dropped: &mut Dropped) -> Result<(), Refusal> {
    let root = Path::Root;
    let list = Path::Member(&root, "input");
    let items = match value {
        Value::String(text) => {
            request.turns.push(Turn::User(vec![Block::text(text)]));
            return Ok(());
        }
        Value::Array(items) => items,
        _ => return Err(list.wrong("a text or a list of items")),
    };
    for (index, value) in items.into_iter().enumerate() {
        let path = Path::Index(&list, index);
        item(Fields::of(value, &path)?, request, dropped)?;
    }
    Ok(())
}

fn item(mut fields: Fields<'_>, request: &mut Request, dropped: &mut Dropped) -> Result<(), Refusal> {
    // The short form of a message has a role and no type.
    let kind = match fields.string("type")? {
        None if fields.has("role") => "message".to_owned(),
        kind => kind.ok_or_else(|| fields.at("type").missing("the item's type"))?,
    };
    fields.ignore(&["id", "status", "caller"]);
    match kind.as_str() {
        "message" => message(&mut fields, request, dropped)?,
        "reasoning" => reasoning(&mut fields, request)?,
        "function_call" => call(&mut fields, "arguments", request)?,
        "custom_tool_call" => call(&mut fields, "input", request)?,
        "function_call_output" | "custom_tool_call_output" => result(&mut fields, request, dropped)?,
        // Codex offers its tools here where it knows the model, and has no `tools` then.
        "additional_tools" => {
            fields.ignore(&["role"]);
            let tools = fields.array("tools")?.unwrap_or_default();
            read_tools::add(tools, &fields.at("tools"), &mut request.tools, dropped)?;
        }
        "item_reference" => {
            return Err(fields.path.refuse(
                "An `item_reference` points to an item that is stored elsewhere, and the gateway keeps none: send the \
                 item itself (SDKs do with `store` false).",
            ));
        }
        "compaction" | "compaction_trigger" | "context_compaction" => {
            return Err(fields
                .path
                .refuse("A compacted history can be read by OpenAI alone: send the messages themselves."));
        }
        kind if HOSTED.contains(&kind) => {
            dropped.note(format!("input.{kind}"));
            return Ok(());
        }
        _ => {
            return Err(fields
                .at("type")
                .refuse(format!("`{}` is no known type of item: `{kind}`.", fields.at("type"))));
        }
    }
    fields.rest().for_each(|name| dropped.note(format!("input.{name}")));
    Ok(())
}

/// Items of tools that OpenAI runs, or that only its own models know.
const HOSTED: &[&str] = &[
    "apply_patch_call",
    "apply_patch_call_output",
    "code_interpreter_call",
    "computer_call",
    "computer_call_output",
    "configuration_update",
    "file_search_call",
    "image_generation_call",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "program",
    "program_output",
    "shell_call",
    "shell_call_output",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
];

fn message(fields: &mut Fields<'_>, request: &mut Request, dropped: &mut Dropped) -> Result<(), Refusal> {
    let role = fields.required("role")?;
    let side = match role.as_str() {
        "user" => Side::User,
        "assistant" => Side::Assistant,
        "system" | "developer" => Side::System,
        _ => return Err(fields.at("role").wrong("`user`, `assistant`, `system` or `developer`")),
    };
    let content = fields.value("content").ok_or_else(|| fields.at("content").missing("a text or a list of parts"))?;
    let blocks = read_parts::content(content, &fields.at("content"), side, dropped)?;
    match side {
        Side::User => request.turns.push(Turn::User(blocks)),
        Side::Assistant => say(request, blocks),
        Side::System if request.turns.is_empty() => request.system.extend(blocks),
        Side::System => request.turns.push(Turn::System(blocks)),
    }
    Ok(())
}

/// Adds to the turn of the model that is going on, or begins one.
fn say(request: &mut Request, blocks: Vec<Block>) {
    match request.turns.last_mut() {
        Some(Turn::Assistant(there)) => there.extend(blocks),
        _ => request.turns.push(Turn::Assistant(blocks)),
    }
}

/// Whether the turn that is going on has this thought already: reasoning items say natively what ids of calls carry.
fn is_known(request: &Request, thinking: &Thinking) -> bool {
    let Some(Turn::Assistant(blocks)) = request.turns.last() else { return false };
    blocks.iter().any(|block| match &block.body {
        Body::Thinking(there) => there == thinking || (there.seal.is_some() && there.seal == thinking.seal),
        _ => false,
    })
}

fn reasoning(fields: &mut Fields<'_>, request: &mut Request) -> Result<(), Refusal> {
    let summary = texts(fields, "summary")?;
    let content = texts(fields, "content")?;
    let text = if summary.is_empty() { content } else { summary };
    let seal = fields.string("encrypted_content")?.filter(|sealed| !sealed.is_empty()).map(seal::read);
    if !text.is_empty() || seal.is_some() {
        say(request, vec![Block::of(Body::Thinking(Thinking { text, seal }))]);
    }
    Ok(())
}

/// The texts of a list of parts, as paragraphs.
fn texts(fields: &mut Fields<'_>, name: &str) -> Result<String, Refusal> {
    let parts = fields.array(name)?.unwrap_or_default();
    let list = fields.at(name);
    let mut joined = String::new();
    for (index, value) in parts.into_iter().enumerate() {
        let text = Fields::of(value, &Path::Index(&list, index))?.required("text")?;
        if !joined.is_empty() {
            joined.push_str("\n\n");
        }
        joined.push_str(&text);
    }
    Ok(joined)
}

fn call(fields: &mut Fields<'_>, input: &str, request: &mut Request) -> Result<(), Refusal> {
    let custom = input == "input";
    let packed = fields.required("call_id")?;
    let namespace = fields.string("namespace")?;
    let name = flat(namespace.as_deref(), fields.required("name")?);
    let mut input = fields.string(input)?.unwrap_or_default();
    if input.trim().is_empty() && !custom {
        input = "{}".to_owned();
    }
    let (id, carried) = carry::unpack(&packed);
    for thinking in carried.thinking {
        if !is_known(request, &thinking) {
            say(request, vec![Block::of(Body::Thinking(thinking))]);
        }
    }
    let call = ToolCall { id: id.to_owned(), name, input, custom, seal: carried.seal };
    say(request, vec![Block::of(Body::ToolCall(call))]);
    Ok(())
}

fn result(fields: &mut Fields<'_>, request: &mut Request, dropped: &mut Dropped) -> Result<(), Refusal> {
    let packed = fields.required("call_id")?;
    let namespace = fields.string("namespace")?;
    let name = fields.string("name")?.map(|name| flat(namespace.as_deref(), name));
    let content = match fields.value("output") {
        Some(output) => read_parts::content(output, &fields.at("output"), Side::User, dropped)?,
        None => Vec::new(),
    };
    let id = carry::unpack(&packed).0.to_owned();
    let block = Block::of(Body::ToolResult(ToolResult { id, name, content, is_error: false }));
    match request.turns.last_mut() {
        Some(Turn::User(blocks)) if blocks.iter().all(|block| matches!(block.body, Body::ToolResult(_))) => {
            blocks.push(block);
        }
        _ => request.turns.push(Turn::User(vec![block])),
    }
    Ok(())
}
