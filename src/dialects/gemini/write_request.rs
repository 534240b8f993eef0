//! A request as Gemini takes it: the body of `:generateContent` and `:streamGenerateContent`. The model stands in the
//! address, not here.
//!
//! Instructions stand apart from the conversation wherever the client put them; schemas of tools go as the JSON schemas
//! they are. Hosted tools of other makers are left out and noted, unless the request demands one. Source:
//! ai.google.dev, read 2026-11-23.

use super::generation::Generation;
use super::parts::Part;
use super::write_config;
use super::write_contents::{self, Content};
use crate::chat::request::{Body as Inner, Maker, Refusal, Request, Tool, ToolChoice, ToolKind, Turn};
use crate::dialects::{Aim, Written};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    contents: Vec<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Instruction<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolSet<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    generation_config: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    safety_settings: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
}

#[derive(Serialize)]
struct Instruction<'a> {
    parts: Vec<Part<'a>>,
}

/// An entry of `tools`.
#[derive(Serialize)]
#[serde(untagged)]
enum ToolSet<'a> {
    Declared {
        #[serde(rename = "functionDeclarations")]
        declarations: Vec<Declaration<'a>>,
    },
    Hosted(&'a Value),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaration<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<&'a Value>,
}

/// Writes a request for a Gemini model.
///
/// # Errors
/// When the request means something that Gemini or the model cannot express.
pub(super) fn write(request: &Request, aim: &Aim<'_>) -> Result<Written, Refusal> {
    let mut dropped = request.dropped.clone();
    refuse_what_cannot_be(request, aim)?;
    let tools = tools(request, &mut dropped)?;
    let declared = tools.iter().any(|set| matches!(set, ToolSet::Declared { .. }));
    let tool_config = if declared { tool_config(request, &mut dropped) } else { None };
    if request.verbosity.is_some() {
        dropped.push("verbosity".into());
    }
    let body = Body {
        contents: write_contents::contents(&request.turns, Generation::of(aim.model))?,
        system_instruction: instruction(request),
        tools,
        tool_config,
        generation_config: write_config::config(request, aim, &mut dropped)?,
        safety_settings: request.safety.as_ref(),
        service_tier: service_tier(request, &mut dropped),
    };
    // Strings, numbers and JSON that was parsed before: only a defect of this program could make it fail.
    let body = serde_json::to_vec(&body)
        .map_err(|_| Refusal::new("messages", "The request cannot be written as JSON: send plain JSON values."))?;
    Ok(Written { body, dropped })
}

fn refuse_what_cannot_be(request: &Request, aim: &Aim<'_>) -> Result<(), Refusal> {
    if request.audio.is_some() {
        return Err(Refusal::new("audio", "Gemini does not speak its answers through this interface: ask for text."));
    }
    let lacks = |ability: Option<bool>| ability == Some(false);
    let blocks = request.turns.iter().flat_map(|turn| match turn {
        Turn::User(blocks) | Turn::Assistant(blocks) | Turn::System(blocks) => blocks,
    });
    for block in blocks {
        let what = match &block.body {
            Inner::Image(_) if lacks(aim.abilities.vision) => "pictures",
            Inner::Document(_) if lacks(aim.abilities.pdf_input) => "documents",
            Inner::Audio(_) if lacks(aim.abilities.audio_input) => "sound",
            _ => continue,
        };
        return Err(Refusal::new("messages", format!("The model {} takes no {what}: use another.", aim.model)));
    }
    let prefills = matches!(request.turns.last(), Some(Turn::Assistant(_)));
    if prefills && lacks(aim.abilities.assistant_prefill) {
        let message = "This model does not continue a turn of its own: end with a message of the user.";
        return Err(Refusal::new("messages", message));
    }
    if !request.tools.is_empty() && lacks(aim.abilities.tools) {
        return Err(Refusal::new("tools", format!("The model {} takes no tools: use another.", aim.model)));
    }
    Ok(())
}

/// All instructions, from wherever they stand.
fn instruction(request: &Request) -> Option<Instruction<'_>> {
    let later = request.turns.iter().filter_map(|turn| match turn {
        Turn::System(blocks) => Some(blocks),
        _ => None,
    });
    let texts = request.system.iter().chain(later.flatten()).filter_map(|block| match &block.body {
        Inner::Text(text) if !text.is_empty() => Some(Part::text(text.as_str())),
        _ => None,
    });
    let parts: Vec<Part<'_>> = texts.collect();
    (!parts.is_empty()).then_some(Instruction { parts })
}

fn tools<'a>(request: &'a Request, dropped: &mut Vec<String>) -> Result<Vec<ToolSet<'a>>, Refusal> {
    let mut declarations = Vec::new();
    let mut sets = Vec::new();
    for tool in &request.tools {
        match &tool.kind {
            ToolKind::Function { parameters, .. } => declarations.push(declaration(tool, parameters.as_ref())),
            ToolKind::Custom { format } => {
                if format.is_some() {
                    dropped.push("tools.format".to_owned());
                }
                declarations.push(declaration(tool, Some(&FREE_TEXT)));
            }
            ToolKind::Hosted { maker: Maker::Google, raw } => sets.push(ToolSet::Hosted(raw)),
            ToolKind::Hosted { .. } if is_demanded(request, &tool.name) => {
                let message = format!("The tool {} runs at another provider: choose one of your own.", tool.name);
                return Err(Refusal::new("tool_choice", message));
            }
            ToolKind::Hosted { .. } => dropped.push(format!("tools.{}", tool.name)),
        }
    }
    if !declarations.is_empty() {
        sets.insert(0, ToolSet::Declared { declarations });
    }
    Ok(sets)
}

/// What stands for free text: a function with the one string `input`.
static FREE_TEXT: LazyLock<Value> = LazyLock::new(
    || json!({ "type": "object", "properties": { "input": { "type": "string" } }, "required": ["input"] }),
);

fn declaration<'a>(tool: &'a Tool, parameters: Option<&'a Value>) -> Declaration<'a> {
    Declaration {
        name: &tool.name,
        description: tool.description.as_deref(),
        parameters_json_schema: parameters.filter(|schema| !says_nothing(schema)),
    }
}

/// Whether a schema is that of an object without members: the interface wants it left out.
fn says_nothing(schema: &Value) -> bool {
    let Some(members) = schema.as_object() else { return false };
    members.iter().all(|(name, value)| match name.as_str() {
        "type" => value == "object",
        "properties" => value.as_object().is_some_and(Map::is_empty),
        "required" => value.as_array().is_some_and(Vec::is_empty),
        "additionalProperties" => value == &Value::Bool(false),
        "$schema" => true,
        _ => false,
    })
}

fn is_demanded(request: &Request, name: &str) -> bool {
    matches!(&request.tool_choice, Some(ToolChoice::Named(wanted)) if wanted == name)
}

fn tool_config(request: &Request, dropped: &mut Vec<String>) -> Option<Value> {
    if request.parallel_tools == Some(false) {
        dropped.push("parallel_tool_calls".into());
    }
    let calling = match request.tool_choice.as_ref()? {
        ToolChoice::Auto => json!({"mode": "AUTO"}),
        ToolChoice::None => json!({"mode": "NONE"}),
        ToolChoice::Required => json!({"mode": "ANY"}),
        ToolChoice::Named(name) => json!({"mode": "ANY", "allowedFunctionNames": [name]}),
        ToolChoice::Allowed { names, required: true } => json!({"mode": "ANY", "allowedFunctionNames": names}),
        // Names go with ANY and VALIDATED alone, and VALIDATED leaves the model free to answer in words.
        ToolChoice::Allowed { names, required: false } => json!({"mode": "VALIDATED", "allowedFunctionNames": names}),
    };
    Some(json!({"functionCallingConfig": calling}))
}

fn service_tier(request: &Request, dropped: &mut Vec<String>) -> Option<&'static str> {
    match request.service_tier.as_deref()? {
        "auto" => None,
        "default" | "standard" => Some("standard"),
        "flex" => Some("flex"),
        "priority" => Some("priority"),
        _ => {
            dropped.push("service_tier".into());
            None
        }
    }
}

#[cfg(test)]
#[path = "write_request_tests.rs"]
mod tests;
