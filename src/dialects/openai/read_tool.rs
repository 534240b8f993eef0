//! A client's tools, and what it says about calling them, in the present form and in the older one of `functions`.

use super::member::{self, Path};
use super::read_part::cache_hint;
use crate::chat::request::{Maker, Refusal, Tool, ToolChoice, ToolKind};
use serde_json::{Map, Value};

/// `tools`.
pub(super) fn tools(items: Vec<Value>, at: &Path<'_>) -> Result<Vec<Tool>, Refusal> {
    items.into_iter().enumerate().map(|(index, item)| tool(item, &at.item(index))).collect()
}

/// The older `functions`.
pub(super) fn functions(items: Vec<Value>, at: &Path<'_>) -> Result<Vec<Tool>, Refusal> {
    let function_at = |(index, item)| {
        let here = at.item(index);
        function(member::object(item, &here)?, &here)
    };
    items.into_iter().enumerate().map(function_at).collect()
}

fn tool(item: Value, at: &Path<'_>) -> Result<Tool, Refusal> {
    let mut map = member::object(item, at)?;
    let cache = cache_hint(&map, at)?;
    let kind = member::optional_text(&mut map, "type", at)?.unwrap_or_else(|| "function".to_owned());
    let read = match kind.as_str() {
        "function" => {
            let here = at.member("function");
            function(member::object(taken(&mut map, "function"), &here)?, &here)?
        }
        "custom" => {
            let here = at.member("custom");
            custom(member::object(taken(&mut map, "custom"), &here)?, &here)?
        }
        _ => {
            // Taken out above; the maker gets the tool whole.
            map.insert("type".to_owned(), Value::String(kind.clone()));
            let kind_name = kind;
            let hosted = ToolKind::Hosted { maker: Maker::OpenAi, raw: Value::Object(map) };
            Tool { kind: hosted, name: kind_name, description: None, cache: None }
        }
    };
    Ok(Tool { cache, ..read })
}

fn function(mut map: Map<String, Value>, at: &Path<'_>) -> Result<Tool, Refusal> {
    let here = at.member("parameters");
    let parameters = match taken(&mut map, "parameters") {
        Value::Null => None,
        value => Some(Value::Object(member::object(value, &here)?)),
    };
    Ok(Tool {
        name: member::needed_text(&mut map, "name", at)?,
        description: member::optional_text(&mut map, "description", at)?,
        kind: ToolKind::Function { parameters, strict: map.get("strict").and_then(Value::as_bool) },
        cache: None,
    })
}

fn custom(mut map: Map<String, Value>, at: &Path<'_>) -> Result<Tool, Refusal> {
    let format = Some(taken(&mut map, "format")).filter(|format| !format.is_null());
    Ok(Tool {
        name: member::needed_text(&mut map, "name", at)?,
        description: member::optional_text(&mut map, "description", at)?,
        kind: ToolKind::Custom { format },
        cache: None,
    })
}

/// `tool_choice`.
pub(super) fn choice(value: Value, at: &Path<'_>) -> Result<ToolChoice, Refusal> {
    let mut map = match value {
        Value::String(word) => return choice_word(&word, at),
        value => member::object(value, at)?,
    };
    let kind = member::optional_text(&mut map, "type", at)?.unwrap_or_else(|| "function".to_owned());
    match kind.as_str() {
        "function" | "custom" => {
            let here = at.member(&kind);
            let mut inside = member::object(taken(&mut map, &kind), &here)?;
            Ok(ToolChoice::Named(member::needed_text(&mut inside, "name", &here)?))
        }
        "allowed_tools" => allowed(member::object(taken(&mut map, &kind), &at.member(&kind))?, &at.member(&kind)),
        _ => choice_word(&kind, &at.member("type")),
    }
}

fn choice_word(word: &str, at: &Path<'_>) -> Result<ToolChoice, Refusal> {
    match word {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        // Mistral's word, sent by clients that were written for it.
        "required" | "any" => Ok(ToolChoice::Required),
        _ => Err(at.refuse("Use `auto`, `none`, `required`, a tool of yours, or `allowed_tools`.")),
    }
}

fn allowed(mut map: Map<String, Value>, at: &Path<'_>) -> Result<ToolChoice, Refusal> {
    let tools_at = at.member("tools");
    let mut names = Vec::new();
    for (index, item) in member::array(taken(&mut map, "tools"), &tools_at)?.into_iter().enumerate() {
        let here = tools_at.item(index);
        let mut entry = member::object(item, &here)?;
        let kind = member::optional_text(&mut entry, "type", &here)?.unwrap_or_else(|| "function".to_owned());
        let inside_at = here.member(&kind);
        let mut inside = member::object(taken(&mut entry, &kind), &inside_at)?;
        names.push(member::needed_text(&mut inside, "name", &inside_at)?);
    }
    let mode = member::optional_text(&mut map, "mode", at)?;
    match mode.as_deref() {
        None | Some("auto") => Ok(ToolChoice::Allowed { names, required: false }),
        Some("required") => Ok(ToolChoice::Allowed { names, required: true }),
        Some(_) => Err(at.member("mode").refuse("Use `auto` or `required`.")),
    }
}

/// The older `function_call`.
pub(super) fn function_choice(value: Value, at: &Path<'_>) -> Result<ToolChoice, Refusal> {
    match value {
        Value::String(word) => choice_word(&word, at),
        value => Ok(ToolChoice::Named(member::needed_text(&mut member::object(value, at)?, "name", at)?)),
    }
}

/// The member's value, `null` left in its place.
fn taken(map: &mut Map<String, Value>, name: &str) -> Value {
    map.get_mut(name).map(Value::take).unwrap_or_default()
}
