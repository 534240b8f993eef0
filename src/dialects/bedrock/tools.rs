//! What the model may and must call, as Converse has it.
//!
//! Converse wants `toolConfig` whenever the history holds a call or a result, and has no word for "call nothing": then the tools stay and a
//! sentence says it. A tool for free text becomes a function with the one member `input`, whose name ends in [`FREE_TEXT`]: the readers turn
//! its calls back.

use super::body::{Choice, InputSchema, Tool as Written, ToolConfig, ToolSpec};
use super::schema::narrowed;
use super::write_request::Writing;
use crate::chat::request::{Block, Body, Refusal, Request, Tool, ToolChoice, ToolKind, Turn};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// How the name of a function ends that stands for a tool that takes free text.
pub(super) const FREE_TEXT: &str = "__igris_text";

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
    let forced = forced(request, &tools)?;
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
fn names_called(turns: &[Turn]) -> Vec<Cow<'_, str>> {
    let mut names = Vec::new();
    let blocks = turns.iter().flat_map(|turn| match turn {
        Turn::User(blocks) | Turn::Assistant(blocks) | Turn::System(blocks) => blocks,
    });
    for Block { body, .. } in blocks {
        let Body::ToolCall(call) = body else { continue };
        let name = sent_name(&call.name, call.custom);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The name that goes out.
pub(super) fn sent_name(name: &str, custom: bool) -> Cow<'_, str> {
    if custom { Cow::Owned(format!("{name}{FREE_TEXT}")) } else { Cow::Borrowed(name) }
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
    let name = sent_name(&tool.name, matches!(tool.kind, ToolKind::Custom { .. }));
    if !is_name(&name) {
        return Err(unfit_name("tools", &tool.name));
    }
    let description = tool.description.as_deref().filter(|text| !text.is_empty());
    tools.push(Written::ToolSpec(ToolSpec { name, description, input_schema: InputSchema { json: schema }, strict }));
    // Nova keeps instructions and messages, but no tools.
    if writing.family.claude().is_some() {
        tools.extend(writing.cache_point(tool.cache).map(Written::CachePoint));
    }
    Ok(())
}

/// A refusal of a tool's name.
pub(super) fn unfit_name(param: &'static str, name: &str) -> Refusal {
    Refusal::new(
        param,
        format!("Bedrock takes letters, digits, `_` and `-`, 64 at most, as a tool's name; rename {name:?}."),
    )
}

/// Whether a tool may be called so.
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
fn remembered(name: Cow<'_, str>) -> Written<'_> {
    let description = Some("Was called earlier in this conversation.");
    Written::ToolSpec(ToolSpec {
        name,
        description,
        input_schema: InputSchema { json: Cow::Owned(nothing()) },
        strict: None,
    })
}

/// The choice to send; `Auto` is what happens without one, and several models refuse to be told so.
fn forced(request: &Request, tools: &[Written<'_>]) -> Result<Option<Choice>, Refusal> {
    let choice = request.tool_choice.as_ref();
    if let Some(ToolChoice::Named(wanted)) = choice {
        let chosen = request.tools.iter().find(|tool| tool.name == *wanted);
        let name = sent_name(wanted, chosen.is_some_and(|tool| matches!(tool.kind, ToolKind::Custom { .. })));
        if tools.iter().any(|tool| matches!(tool, Written::ToolSpec(spec) if spec.name == name)) {
            return Ok(Some(Choice::Tool { name: name.into_owned() }));
        }
        let message = format!("Bedrock can only be told to call a function of `tools`; {wanted:?} is none.");
        return Err(Refusal::new("tool_choice", message));
    }
    match is_forced(choice) {
        false => Ok(None),
        true if tools.is_empty() => {
            Err(Refusal::new("tool_choice", "A tool must be called, but none is given; add `tools`."))
        }
        true => Ok(Some(Choice::Any {})),
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
