//! What the model may and must call, as Converse has it.
//!
//! Converse wants `toolConfig` whenever the history holds a call or a result, and has no word for "call nothing": then the tools stay and a
//! sentence says it. A tool for free text becomes a function with the one member `input`.

use super::body::{Choice, InputSchema, Tool as Written, ToolConfig, ToolSpec};
use super::schema::narrowed;
use super::write_request::Writing;
use crate::chat::request::{Block, Body, Refusal, Tool, ToolChoice, ToolKind, Turn};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// The tools and the choice; what only the model's own members can say goes to `fields`.
pub(super) fn config<'a>(
    writing: &mut Writing<'a>,
    fields: &mut Map<String, Value>,
) -> Result<Option<ToolConfig<'a>>, Refusal> {
    let request = writing.request;
    let called = names_called(&request.turns);
    if request.tool_choice == Some(ToolChoice::None) && called.is_empty() {
        return Ok(None);
    }
    let mut tools = Vec::new();
    for tool in &request.tools {
        if is_allowed(tool, request.tool_choice.as_ref()) {
            push_tool(writing, tool, &mut tools)?;
        }
    }
    let forced = forced(request.tool_choice.as_ref(), &tools)?;
    if tools.is_empty() {
        tools.extend(called.into_iter().map(remembered));
    }
    if tools.is_empty() {
        return Ok(None);
    }
    if request.tool_choice == Some(ToolChoice::None) {
        writing.told.push("Do not call any tool. Answer with text.".to_owned());
        writing.drop("tool_choice");
    }
    let tool_choice = match forced {
        Some(choice) if writing.family.claude().is_some_and(|claude| claude.refuses_forced_tools()) => {
            tell_to_call(writing, &choice);
            None
        }
        other => other,
    };
    if request.parallel_tools == Some(false) {
        one_at_a_time(writing, tool_choice.is_some(), fields);
    }
    Ok(Some(ToolConfig { tools, tool_choice }))
}

/// Whether something must be called.
pub(super) fn is_forced(choice: Option<&ToolChoice>) -> bool {
    matches!(choice, Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. }))
}

/// Names of the tools that the history calls, each once.
fn names_called(turns: &[Turn]) -> Vec<&str> {
    let mut names = Vec::new();
    let blocks = turns.iter().flat_map(|turn| match turn {
        Turn::User(blocks) | Turn::Assistant(blocks) | Turn::System(blocks) => blocks,
    });
    for Block { body, .. } in blocks {
        if let Body::ToolCall(call) = body
            && !names.contains(&call.name.as_str())
        {
            names.push(call.name.as_str());
        }
    }
    names
}

fn is_allowed(tool: &Tool, choice: Option<&ToolChoice>) -> bool {
    match choice {
        Some(ToolChoice::Allowed { names, .. }) => names.contains(&tool.name),
        _ => true,
    }
}

fn push_tool<'a>(writing: &mut Writing<'a>, tool: &'a Tool, tools: &mut Vec<Written<'a>>) -> Result<(), Refusal> {
    let (schema, strict) = match &tool.kind {
        ToolKind::Function { parameters, strict } => {
            function_schema(writing, parameters.as_ref(), *strict == Some(true))
        }
        ToolKind::Custom { format } => {
            if format.is_some() {
                writing.drop("tools.format");
            }
            (Cow::Owned(free_text()), None)
        }
        ToolKind::Hosted { .. } => {
            writing.drop(&format!("tools.{}", tool.name));
            return Ok(());
        }
    };
    if !is_name(&tool.name) {
        let message =
            format!("Bedrock takes 1 to 64 letters, digits, `_` and `-` as a tool's name; rename {:?}.", tool.name);
        return Err(Refusal::new("tools", message));
    }
    let description = tool.description.as_deref().filter(|text| !text.is_empty());
    tools.push(Written::ToolSpec(ToolSpec {
        name: &tool.name,
        description,
        input_schema: InputSchema { json: schema },
        strict,
    }));
    // Nova keeps instructions and messages, but no tools.
    if writing.family.claude().is_some() {
        tools.extend(writing.cache_point(tool.cache).map(Written::CachePoint));
    }
    Ok(())
}

pub(super) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// The schema to send, and whether it is enforced. Enforcing wants a closed schema without bounds; where that would be another schema,
/// the client's own is sent and not enforced.
fn function_schema<'a>(
    writing: &mut Writing<'_>,
    parameters: Option<&'a Value>,
    strict: bool,
) -> (Cow<'a, Value>, Option<bool>) {
    let Some(members) = parameters.and_then(Value::as_object) else { return (Cow::Owned(nothing()), None) };
    let schema = match parameters {
        Some(schema) if members.contains_key("type") => Cow::Borrowed(schema),
        _ => Cow::Owned(rooted(members)),
    };
    if !strict {
        return (schema, None);
    }
    let (closed, lost) = narrowed(&schema);
    if lost || !enforces_schemas(writing) {
        writing.drop("tools.strict");
        return (schema, None);
    }
    (Cow::Owned(closed), Some(true))
}

/// Whether the model can be held to a schema.
pub(super) fn enforces_schemas(writing: &Writing<'_>) -> bool {
    let newer_claude = || writing.family.claude().is_some_and(|claude| claude.is_at_least(4, 5));
    writing.aim.abilities.json_schema.unwrap_or_else(newer_claude)
}

fn rooted(members: &Map<String, Value>) -> Value {
    let mut rooted = Map::new();
    rooted.insert("type".to_owned(), Value::String("object".to_owned()));
    rooted.extend(members.iter().map(|(name, value)| (name.clone(), value.clone())));
    Value::Object(rooted)
}

fn nothing() -> Value {
    json!({"type": "object", "properties": {}})
}

fn free_text() -> Value {
    json!({"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]})
}

/// A tool that is no longer offered but was called before.
fn remembered(name: &str) -> Written<'_> {
    let description = Some("Was called earlier in this conversation.");
    Written::ToolSpec(ToolSpec {
        name,
        description,
        input_schema: InputSchema { json: Cow::Owned(nothing()) },
        strict: None,
    })
}

/// The choice to send; `Auto` is what happens without one, and several models refuse to be told so.
fn forced(choice: Option<&ToolChoice>, tools: &[Written<'_>]) -> Result<Option<Choice>, Refusal> {
    let is_offered = |name: &str| tools.iter().any(|tool| matches!(tool, Written::ToolSpec(spec) if spec.name == name));
    match choice {
        Some(ToolChoice::Named(name)) if !is_offered(name) => {
            let message = format!("Bedrock can only be told to call a function of `tools`; {name:?} is none.");
            Err(Refusal::new("tool_choice", message))
        }
        Some(ToolChoice::Named(name)) => Ok(Some(Choice::Tool { name: name.clone() })),
        _ if !is_forced(choice) => Ok(None),
        _ if tools.is_empty() => {
            Err(Refusal::new("tool_choice", "A tool must be called, but none is given; add `tools`."))
        }
        _ => Ok(Some(Choice::Any {})),
    }
}

fn tell_to_call(writing: &mut Writing<'_>, choice: &Choice) {
    writing.told.push(match choice {
        Choice::Tool { name } => format!("You must call the tool `{name}` in your next turn."),
        _ => "You must call at least one tool in your next turn.".to_owned(),
    });
    writing.drop("tool_choice");
}

/// Claude's own member says it, from 4.5 on, beside a free choice only.
fn one_at_a_time(writing: &mut Writing<'_>, is_forced: bool, fields: &mut Map<String, Value>) {
    if !is_forced && writing.family.claude().is_some_and(|claude| claude.is_at_least(4, 5)) {
        fields.insert("tool_choice".to_owned(), json!({"type": "auto", "disable_parallel_tool_use": true}));
    } else {
        writing.drop("parallel_tool_calls");
    }
}
