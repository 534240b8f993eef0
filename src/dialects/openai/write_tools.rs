//! Tools and the choice among them as an OpenAI-shaped vendor takes them.
//!
//! A tool with free text for input becomes, where the vendor knows functions only, a function with the one string `input`. A choice that
//! the vendor has no word for becomes the nearest it has, and an instruction. Tools that another maker runs are left out.

use super::ways::Ways;
use super::write_request::Draft;
use crate::chat::request::{Refusal, Tool, ToolChoice, ToolKind};
use serde_json::{Value, json};

/// Writes `tools` and everything that only makes sense beside it.
pub(super) fn write(draft: &mut Draft<'_>) -> Result<(), Refusal> {
    let (request, ways) = (draft.request, draft.ways);
    let mut sent: Vec<&Tool> = Vec::new();
    for tool in &request.tools {
        if matches!(tool.kind, ToolKind::Hosted { .. }) {
            draft.drop(&format!("tools.{}", tool.name));
        } else {
            sent.push(tool);
        }
    }
    if sent.is_empty() {
        return match &request.tool_choice {
            Some(ToolChoice::Named(_) | ToolChoice::Required) if !request.tools.is_empty() => {
                Err(Refusal::new("tool_choice", "The tool that must be called is run by another provider."))
            }
            _ => Ok(()),
        };
    }
    if draft.aim.abilities.tools == Some(false) {
        return Err(Refusal::new("tools", "This model calls no tools: leave them out, or choose another model."));
    }
    let choice = choose(draft, &mut sent);
    if sent.is_empty() {
        return match &request.tool_choice {
            Some(ToolChoice::None) => Ok(()),
            _ => Err(Refusal::new("tool_choice", "It names no tool of this request: name one of `tools`.")),
        };
    }
    for tool in &sent {
        if matches!(tool.kind, ToolKind::Custom { format: Some(_) }) && !ways.custom_tools {
            draft.drop("tools.format");
        }
    }
    let tools: Vec<Value> = sent.iter().map(|tool| described(tool, ways)).collect();
    draft.set("tools", tools);
    if let Some(choice) = choice {
        draft.set("tool_choice", choice);
    }
    match request.parallel_tools {
        Some(wanted) if ways.parallel_tools => draft.set("parallel_tool_calls", wanted),
        Some(false) => draft.drop("parallel_tool_calls"),
        _ => {}
    }
    Ok(())
}

/// The choice in the vendor's words; tools that must not be called are taken out where it has none for that.
fn choose(draft: &mut Draft<'_>, sent: &mut Vec<&Tool>) -> Option<Value> {
    let ways = draft.ways;
    match draft.request.tool_choice.as_ref()? {
        ToolChoice::Auto => Some(Value::from("auto")),
        ToolChoice::None if ways.named_tools => Some(Value::from("none")),
        // Where the choice is always the model's, tools that must not be called are not shown.
        ToolChoice::None => {
            sent.clear();
            None
        }
        ToolChoice::Required => forced(draft),
        ToolChoice::Named(name) if !sent.iter().any(|tool| tool.name == *name) => {
            sent.clear();
            None
        }
        ToolChoice::Named(name) if ways.named_tools => {
            let custom = sent.iter().any(|tool| tool.name == *name && is_custom(tool));
            Some(reference(name, custom && ways.custom_tools))
        }
        ToolChoice::Named(name) => {
            sent.retain(|tool| tool.name == *name);
            draft.instructions.push(format!("You must call the tool `{name}` before you answer."));
            draft.drop("tool_choice");
            Some(Value::from("auto"))
        }
        ToolChoice::Allowed { names, required } if ways.allowed_tools => {
            let custom = |name: &String| sent.iter().any(|tool| tool.name == *name && is_custom(tool));
            let tools: Vec<Value> = names.iter().map(|name| reference(name, custom(name))).collect();
            let mode = if *required { "required" } else { "auto" };
            Some(json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}))
        }
        ToolChoice::Allowed { names, required } => {
            sent.retain(|tool| names.contains(&tool.name));
            if *required { forced(draft) } else { Some(Value::from("auto")) }
        }
    }
}

fn forced(draft: &mut Draft<'_>) -> Option<Value> {
    if let Some(word) = draft.ways.forced_tools {
        return Some(Value::from(word));
    }
    draft.instructions.push("You must call one of the tools before you answer.".to_owned());
    draft.drop("tool_choice");
    Some(Value::from("auto"))
}

fn reference(name: &str, custom: bool) -> Value {
    if custom {
        json!({"type": "custom", "custom": {"name": name}})
    } else {
        json!({"type": "function", "function": {"name": name}})
    }
}

const fn is_custom(tool: &Tool) -> bool {
    matches!(tool.kind, ToolKind::Custom { .. })
}

fn described(tool: &Tool, ways: &Ways) -> Value {
    let mut inside = json!({"name": tool.name});
    if let Some(description) = &tool.description {
        inside["description"] = Value::from(description.as_str());
    }
    let kind = match &tool.kind {
        ToolKind::Custom { format } if ways.custom_tools => {
            if let Some(format) = format {
                inside["format"] = format.clone();
            }
            "custom"
        }
        ToolKind::Custom { .. } | ToolKind::Hosted { .. } => {
            inside["parameters"] = json!({
                "type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]
            });
            "function"
        }
        ToolKind::Function { parameters, strict } => {
            let nothing = || json!({"type": "object", "properties": {}});
            inside["parameters"] = parameters.clone().unwrap_or_else(nothing);
            if let Some(strict) = strict.filter(|_| ways.strict) {
                inside["strict"] = Value::from(strict);
            }
            "function"
        }
    };
    let mut tool_value = json!({"type": kind, kind: inside});
    if tool.cache.is_some() && ways.cache_marks {
        tool_value["cache_control"] = json!({"type": "ephemeral"});
    }
    tool_value
}
