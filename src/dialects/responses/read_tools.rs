//! A client's tools, and its choice among them.
//!
//! Functions and custom tools are the client's to run and go to any provider; so do those in a namespace, under a flat
//! name. Tools that OpenAI runs are kept whole for OpenAI.

use super::fields::{Dropped, Fields, Path};
use super::names::flat;
use crate::chat::request::{Maker, Refusal, Tool, ToolChoice, ToolKind};
use serde_json::{Map, Value};

/// Adds the tools of a list. One whose name is there already takes its place: a conversation may change its tools on the way.
pub(super) fn add(
    values: Vec<Value>,
    list: &Path<'_>,
    tools: &mut Vec<Tool>,
    dropped: &mut Dropped,
) -> Result<(), Refusal> {
    let mut new = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        tool(value, &Path::Index(list, index), &mut new, dropped)?;
    }
    for tool in new {
        match tools.iter_mut().find(|there| there.name == tool.name) {
            Some(there) => *there = tool,
            None => tools.push(tool),
        }
    }
    Ok(())
}

fn tool(value: Value, path: &Path<'_>, tools: &mut Vec<Tool>, dropped: &mut Dropped) -> Result<(), Refusal> {
    let raw = value.clone();
    let mut fields = Fields::of(value, path)?;
    let kind = fields.required("type")?;
    match kind.as_str() {
        "function" => tools.push(function(fields, None, dropped)?),
        "custom" => tools.push(custom(fields, None, dropped)?),
        "namespace" => namespace(fields, tools, dropped)?,
        _ => tools.push(Tool {
            kind: ToolKind::Hosted { maker: Maker::OpenAi, raw },
            name: kind,
            description: None,
            cache: None,
        }),
    }
    Ok(())
}

fn function(mut fields: Fields<'_>, namespace: Option<&str>, dropped: &mut Dropped) -> Result<Tool, Refusal> {
    let name = fields.required("name")?;
    let parameters = fields.value("parameters");
    if parameters.as_ref().is_some_and(|schema| !schema.is_object()) {
        return Err(fields.at("parameters").wrong("a JSON schema"));
    }
    let strict = fields.boolean("strict")?;
    let description = fields.string("description")?;
    fields.ignore(&["defer_loading", "output_schema", "allowed_callers"]);
    fields.rest().for_each(|name| dropped.note(format!("tools.{name}")));
    let kind = ToolKind::Function { parameters, strict };
    Ok(Tool { kind, name: flat(namespace, name), description, cache: None })
}

fn custom(mut fields: Fields<'_>, namespace: Option<&str>, dropped: &mut Dropped) -> Result<Tool, Refusal> {
    let name = fields.required("name")?;
    let description = fields.string("description")?;
    let format = fields.value("format").map(nested_format);
    fields.ignore(&["defer_loading", "allowed_callers"]);
    fields.rest().for_each(|name| dropped.note(format!("tools.{name}")));
    Ok(Tool { kind: ToolKind::Custom { format }, name: flat(namespace, name), description, cache: None })
}

fn namespace(mut fields: Fields<'_>, tools: &mut Vec<Tool>, dropped: &mut Dropped) -> Result<(), Refusal> {
    let name = fields.required("name")?;
    let about = fields.string("description")?.filter(|about| !about.is_empty());
    let inner = fields.array("tools")?.unwrap_or_default();
    let list = fields.at("tools");
    for (index, value) in inner.into_iter().enumerate() {
        let path = Path::Index(&list, index);
        let mut fields = Fields::of(value, &path)?;
        let kind = fields.required("type")?;
        let mut tool = match kind.as_str() {
            "function" => function(fields, Some(&name), dropped)?,
            "custom" => custom(fields, Some(&name), dropped)?,
            _ => {
                dropped.note(format!("tools.{name}.{kind}"));
                continue;
            }
        };
        // What the namespace is for is said nowhere else.
        if let Some(about) = &about {
            let own = tool.description.take().unwrap_or_default();
            tool.description = Some(if own.is_empty() { about.clone() } else { format!("{about}\n\n{own}") });
        }
        tools.push(tool);
    }
    Ok(())
}

/// A grammar lies flat in this dialect and one level deeper in Chat's form, which is the one inside.
fn nested_format(format: Value) -> Value {
    let Value::Object(mut members) = format else { return format };
    let is_flat = members.get("type").is_some_and(|kind| kind == "grammar") && !members.contains_key("grammar");
    if !is_flat {
        return Value::Object(members);
    }
    let mut grammar = Map::new();
    for name in ["syntax", "definition"] {
        if let Some(value) = members.shift_remove(name) {
            grammar.insert(name.to_owned(), value);
        }
    }
    members.insert("grammar".to_owned(), Value::Object(grammar));
    Value::Object(members)
}

/// The choice in `tool_choice`.
pub(super) fn choice(value: Value, dropped: &mut Dropped) -> Result<ToolChoice, Refusal> {
    let root = Path::Root;
    let path = Path::Member(&root, "tool_choice");
    if let Value::String(word) = &value {
        return match word.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Err(path.wrong("`auto`, `none`, `required` or an object")),
        };
    }
    let mut fields = Fields::of(value, &path)?;
    let kind = fields.required("type")?;
    match kind.as_str() {
        "function" | "custom" => named(&mut fields).map(ToolChoice::Named),
        "allowed_tools" => allowed(&mut fields, dropped),
        _ => Err(path.refuse(format!(
            "The tool `{kind}` runs at OpenAI alone and cannot be forced here: name a function of your own, or `auto`."
        ))),
    }
}

fn named(fields: &mut Fields<'_>) -> Result<String, Refusal> {
    let namespace = fields.string("namespace")?;
    Ok(flat(namespace.as_deref(), fields.required("name")?))
}

fn allowed(fields: &mut Fields<'_>, dropped: &mut Dropped) -> Result<ToolChoice, Refusal> {
    let mode = fields.string("mode")?;
    let required = match mode.as_deref() {
        None | Some("auto") => false,
        Some("required") => true,
        Some(_) => return Err(fields.at("mode").wrong("`auto` or `required`")),
    };
    let values = fields.array("tools")?.unwrap_or_default();
    let list = fields.at("tools");
    let mut names = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        let path = Path::Index(&list, index);
        let mut tool = Fields::of(value, &path)?;
        match tool.required("type")?.as_str() {
            "function" | "custom" => names.push(named(&mut tool)?),
            other => dropped.note(format!("tool_choice.{other}")),
        }
    }
    if names.is_empty() {
        return Err(list.refuse("None of these tools can be called here; allow a function of your own."));
    }
    Ok(ToolChoice::Allowed { names, required })
}
