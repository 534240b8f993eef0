//! Tools and the choice among them, as Messages takes them.
//!
//! Models that refuse a forced call are asked for it in the system prompt instead; models without structured output answer a schema through
//! [`ANSWER_TOOL`], and a free-text tool is a function whose name ends in [`super::FREE_TEXT`]: the readers turn the input of both back.

use super::ANSWER_TOOL;
use super::model::Claude;
use super::outgoing::{Choice, Marks, Notes, Tool};
use super::schema;
use super::write_blocks::tool_name;
use crate::chat::request::{self, Body, Format, Maker, Refusal, Request, ToolChoice, ToolKind, Turn};
use serde_json::{Value, json};
use std::borrow::Cow;

/// What is written.
#[derive(Default)]
pub(super) struct Plan<'r> {
    pub(super) tools: Vec<Tool<'r>>,
    pub(super) choice: Option<Choice<'r>>,
    /// A sentence for the system prompt, where the model refuses to be forced.
    pub(super) plea: Option<String>,
}

/// Decides it.
pub(super) fn plan<'r>(
    request: &'r Request,
    claude: &Claude,
    marks: &mut Marks,
    notes: &mut Notes,
) -> Result<Plan<'r>, Refusal> {
    let mut tools = Vec::with_capacity(request.tools.len());
    for tool in request.tools.iter().filter(|tool| is_allowed(tool, request.tool_choice.as_ref())) {
        tools.extend(write(tool, claude, marks, notes)?);
    }
    let mut choice = choice(request)?;
    let answers = !claude.json_schema && matches!(request.format, Format::JsonSchema { .. });
    if tools.is_empty() && !answers {
        return without_tools(request, choice);
    }
    if answers {
        let alone = tools.is_empty() || request.tool_choice == Some(ToolChoice::None);
        tools.push(answer_tool(&request.format)?);
        let (r#type, name) = if alone { ("tool", Some(Cow::Borrowed(ANSWER_TOOL))) } else { ("any", None) };
        choice = Some(Choice { r#type, name, disable_parallel_tool_use: true });
    }
    if request.parallel_tools == Some(false) {
        let choice = choice.get_or_insert(Choice { r#type: "auto", name: None, disable_parallel_tool_use: false });
        choice.disable_parallel_tool_use = choice.r#type != "none";
    }
    let mut plea = None;
    if let Some(choice) = choice.as_mut().filter(|choice| choice.is_forced() && !claude.forced_tools) {
        notes.drop("tool_choice");
        plea = Some(match &choice.name {
            Some(name) => format!("You must call the tool `{name}` in your next turn."),
            None => "You must call one of the tools in your next turn.".to_owned(),
        });
        (choice.r#type, choice.name) = ("auto", None);
    }
    Ok(Plan { tools, choice, plea })
}

/// A request without tools: those that the history used are told again, for calls without any tool are refused, and must not be called.
fn without_tools<'r>(request: &'r Request, choice: Option<Choice<'r>>) -> Result<Plan<'r>, Refusal> {
    if choice.is_some_and(|choice| choice.is_forced()) {
        let remedy = "Send the tools that may be called, or leave the choice out.";
        return Err(Refusal::new("tool_choice", format!("A call is demanded but no tool is there. {remedy}")));
    }
    let mut names: Vec<Cow<'_, str>> = Vec::new();
    for block in request.turns.iter().filter_map(assistant_blocks).flatten() {
        if let Body::ToolCall(call) = &block.body {
            let name = tool_name(&call.name, call.custom, "messages")?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    if names.is_empty() {
        return Ok(Plan::default());
    }
    let stub = |name| Tool::Function {
        name,
        description: None,
        input_schema: Cow::Owned(json!({ "type": "object" })),
        strict: false,
        cache_control: None,
    };
    let choice = Some(Choice { r#type: "none", name: None, disable_parallel_tool_use: false });
    Ok(Plan { tools: names.into_iter().map(stub).collect(), choice, plea: None })
}

fn assistant_blocks(turn: &Turn) -> Option<&[request::Block]> {
    match turn {
        Turn::Assistant(blocks) => Some(blocks),
        Turn::User(_) | Turn::System(_) => None,
    }
}

fn is_allowed(tool: &request::Tool, choice: Option<&ToolChoice>) -> bool {
    match choice {
        Some(ToolChoice::Allowed { names, .. }) => names.iter().any(|name| is_called(tool, name)),
        _ => true,
    }
}

/// Whether a choice by that name means the tool: hosted ones have a name beside their type.
fn is_called(tool: &request::Tool, name: &str) -> bool {
    let hosted = match &tool.kind {
        ToolKind::Hosted { raw, .. } => raw.get("name").and_then(Value::as_str),
        ToolKind::Function { .. } | ToolKind::Custom { .. } => None,
    };
    tool.name == name || hosted == Some(name)
}

fn choice(request: &Request) -> Result<Option<Choice<'_>>, Refusal> {
    let bare = |r#type| Choice { r#type, name: None, disable_parallel_tool_use: false };
    let known = |name: &str| request.tools.iter().find(|tool| is_called(tool, name));
    let unknown = |name: &str| {
        let remedy = "Name one of the tools of the request.";
        Err(Refusal::new("tool_choice", format!("There is no tool `{name}`. {remedy}")))
    };
    Ok(match &request.tool_choice {
        None => None,
        Some(ToolChoice::Auto) => Some(bare("auto")),
        Some(ToolChoice::None) => Some(bare("none")),
        Some(ToolChoice::Required) => Some(bare("any")),
        Some(ToolChoice::Named(name)) => {
            let Some(tool) = known(name) else { return unknown(name) };
            let custom = matches!(tool.kind, ToolKind::Custom { .. });
            Some(Choice { name: Some(tool_name(name, custom, "tool_choice")?), ..bare("tool") })
        }
        Some(ToolChoice::Allowed { names, required }) => {
            if let Some(name) = names.iter().find(|name| known(name).is_none()) {
                return unknown(name);
            }
            Some(bare(if *required { "any" } else { "auto" }))
        }
    })
}

fn write<'r>(
    tool: &'r request::Tool,
    claude: &Claude,
    marks: &mut Marks,
    notes: &mut Notes,
) -> Result<Option<Tool<'r>>, Refusal> {
    let (input_schema, strict) = match &tool.kind {
        ToolKind::Hosted { maker: Maker::Anthropic, raw } => return Ok(Some(Tool::Hosted(raw))),
        ToolKind::Hosted { .. } => {
            notes.drop(&format!("tools.{}", tool.name));
            return Ok(None);
        }
        ToolKind::Function { parameters, strict } => function(tool, parameters.as_ref(), *strict, claude, notes)?,
        ToolKind::Custom { format } => return free_text(tool, format.as_ref(), marks, notes).map(Some),
    };
    Ok(Some(Tool::Function {
        name: tool_name(&tool.name, false, "tools")?,
        description: description(tool),
        input_schema,
        strict,
        cache_control: marks.next(tool.cache),
    }))
}

fn description(tool: &request::Tool) -> Option<Cow<'_, str>> {
    tool.description.as_deref().filter(|text| !text.is_empty()).map(Cow::Borrowed)
}

/// A free-text tool as a function with one text. A grammar cannot be held to; the model is told of it.
fn free_text<'r>(
    tool: &'r request::Tool,
    format: Option<&Value>,
    marks: &mut Marks,
    notes: &mut Notes,
) -> Result<Tool<'r>, Refusal> {
    let mut description = description(tool);
    let grammar = format.filter(|format| format.get("type").is_some_and(|kind| kind == "grammar"));
    if let Some(grammar) = grammar {
        notes.drop("tools.format");
        // OpenAI's Responses has the parts beside the type, its Chat Completions in an object of their own.
        let parts = grammar.get("grammar").unwrap_or(grammar);
        let part = |name: &str| parts.get(name).and_then(Value::as_str).unwrap_or_default();
        let told = format!("The input must match this {} grammar:\n{}", part("syntax"), part("definition"));
        description = Some(Cow::Owned(match description {
            Some(text) => format!("{text}\n\n{told}"),
            None => told,
        }));
    }
    let input_schema = json!({
        "type": "object",
        "properties": { "input": { "type": "string" } },
        "required": ["input"],
        "additionalProperties": false
    });
    Ok(Tool::Function {
        name: tool_name(&tool.name, true, "tools")?,
        description,
        input_schema: Cow::Owned(input_schema),
        strict: false,
        cache_control: marks.next(tool.cache),
    })
}

fn function<'r>(
    tool: &request::Tool,
    parameters: Option<&'r Value>,
    strict: Option<bool>,
    claude: &Claude,
    notes: &mut Notes,
) -> Result<(Cow<'r, Value>, bool), Refusal> {
    let rooted = rooted(parameters).ok_or_else(|| {
        let remedy = "Send a JSON schema of `\"type\": \"object\"`.";
        Refusal::new("tools", format!("The input of the tool `{}` is no object. {remedy}", tool.name))
    })?;
    if strict != Some(true) {
        return Ok((rooted, false));
    }
    if !claude.json_schema {
        notes.drop("tools.strict");
        return Ok((rooted, false));
    }
    let (closed, lost) = schema::conform(&rooted);
    lost.iter().for_each(|keyword| notes.drop(&format!("tools.parameters.{keyword}")));
    Ok((Cow::Owned(closed), true))
}

/// The schema with an object at its root, which is demanded; `None` if it is about something else.
fn rooted(parameters: Option<&Value>) -> Option<Cow<'_, Value>> {
    match parameters {
        None | Some(Value::Null) => Some(Cow::Owned(json!({ "type": "object", "properties": {} }))),
        Some(Value::Object(members)) if members.is_empty() => rooted(None),
        Some(schema @ Value::Object(members)) => match members.get("type") {
            Some(kind) if kind == "object" => Some(Cow::Borrowed(schema)),
            Some(_) => None,
            None => {
                let mut typed = members.clone();
                typed.insert("type".to_owned(), Value::String("object".to_owned()));
                Some(Cow::Owned(Value::Object(typed)))
            }
        },
        Some(_) => None,
    }
}

/// The tool whose input is the answer.
fn answer_tool(format: &Format) -> Result<Tool<'_>, Refusal> {
    let (description, schema) = match format {
        Format::JsonSchema { description, schema, .. } => (description.as_deref(), rooted(Some(schema))),
        Format::Text | Format::JsonObject => (None, rooted(None)),
    };
    let input_schema = schema.ok_or_else(|| {
        let remedy = "Wrap the schema in an object, or choose a newer one.";
        Refusal::new("response_format", format!("This model answers with JSON objects alone. {remedy}"))
    })?;
    let description = Some(Cow::Borrowed(description.unwrap_or("Give the final answer by calling this tool.")));
    Ok(Tool::Function {
        name: Cow::Borrowed(ANSWER_TOOL),
        description,
        input_schema,
        strict: false,
        cache_control: None,
    })
}
