//! A client's `tools` and `toolConfig`.
//!
//! A function's schema comes as JSON schema or in Google's subset of OpenAPI, which becomes JSON schema: lower-case
//! types, `nullable` as a type, bounds as numbers. Tools that Google runs are kept whole for Google's models.

use super::members::Members;
use crate::chat::request::{Maker, Refusal, Request, Tool, ToolChoice, ToolKind};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// Reads the entries of `tools`.
pub(super) fn tools(entries: Vec<(&RawValue, String)>, request: &mut Request) -> Result<(), Refusal> {
    for (raw, path) in entries {
        let mut members = Members::of(raw, path)?;
        for (raw, path) in members.list("functionDeclarations")? {
            let tool = function(Members::of(raw, path)?, &mut request.dropped)?;
            request.tools.push(tool);
        }
        for (name, value) in members.remaining() {
            if value.get() == "null" {
                continue;
            }
            let Ok(value) = serde_json::from_str::<Value>(value.get()) else {
                let path = members.path_of(&name);
                return Err(Refusal::new(path.clone(), format!("`{path}` must be JSON nested less deeply.")));
            };
            let raw = Value::Object(Map::from_iter([(name.to_string(), value)]));
            let kind = ToolKind::Hosted { maker: Maker::Google, raw };
            request.tools.push(Tool { kind, name: name.into_owned(), description: None, cache: None });
        }
    }
    Ok(())
}

fn function(mut members: Members<'_>, dropped: &mut Vec<String>) -> Result<Tool, Refusal> {
    let Some(name) = members.text("name")? else { return Err(members.refusal("A function needs a `name`.")) };
    let description = members.text("description")?.map(Into::into);
    let subset = members.value("parameters")?.map(json_schema);
    let parameters = members.value("parametersJsonSchema")?.or(subset);
    members.note_rest(dropped);
    let kind = ToolKind::Function { parameters, strict: None };
    Ok(Tool { kind, name: name.into_owned(), description, cache: None })
}

/// Reads `toolConfig`.
pub(super) fn config(mut members: Members<'_>, request: &mut Request) -> Result<(), Refusal> {
    if let Some(mut calling) = members.object("functionCallingConfig")? {
        let mode = calling.text("mode")?.map(|mode| mode.to_ascii_uppercase());
        let names = calling.texts("allowedFunctionNames")?;
        request.tool_choice = match mode.as_deref() {
            None | Some("MODE_UNSPECIFIED" | "") => None,
            Some("AUTO") => Some(ToolChoice::Auto),
            Some("NONE") => Some(ToolChoice::None),
            Some("ANY") => Some(must_call(names)),
            Some("VALIDATED") if names.is_empty() => Some(ToolChoice::Auto),
            Some("VALIDATED") => Some(ToolChoice::Allowed { names, required: false }),
            Some(_) => {
                let message = "The mode is `AUTO`, `ANY`, `NONE` or `VALIDATED`.";
                return Err(Refusal::new(calling.path_of("mode"), message));
            }
        };
        // Whether arguments arrive in pieces is not for the client of a gateway to see.
        calling.take("streamFunctionCallArguments")?;
        calling.note_rest(&mut request.dropped);
    }
    members.note_rest(&mut request.dropped);
    Ok(())
}

fn must_call(mut names: Vec<String>) -> ToolChoice {
    match (names.pop(), names.is_empty()) {
        (None, _) => ToolChoice::Required,
        (Some(only), true) => ToolChoice::Named(only),
        (Some(last), false) => {
            names.push(last);
            ToolChoice::Allowed { names, required: true }
        }
    }
}

// === Schemas ===

/// A schema in Google's subset of OpenAPI as JSON schema. What is JSON schema already stays as it is.
pub(super) fn json_schema(schema: Value) -> Value {
    let Value::Object(members) = schema else { return schema };
    let mut converted = Map::with_capacity(members.len());
    let mut nullable = false;
    for (key, value) in members {
        match &*camel(&key) {
            "nullable" => nullable = value == Value::Bool(true),
            // They order and illustrate, and JSON schema does not know them.
            "propertyOrdering" | "example" => {}
            "type" => converted.extend(lower(value).map(|kind| ("type".to_owned(), kind))),
            "properties" | "defs" | "$defs" | "definitions" => {
                let named = match value {
                    Value::Object(named) => named.into_iter().map(|(name, inner)| (name, json_schema(inner))).collect(),
                    other => other,
                };
                converted.insert(key, named);
            }
            name @ ("items" | "additionalProperties") => {
                converted.insert(name.into(), json_schema(value));
            }
            name @ ("anyOf" | "oneOf" | "allOf" | "prefixItems") => {
                let list = match value {
                    Value::Array(list) => Value::Array(list.into_iter().map(json_schema).collect()),
                    other => other,
                };
                converted.insert(name.into(), list);
            }
            name @ ("minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties") => {
                converted.insert(name.into(), as_number(value));
            }
            name => {
                converted.insert(name.into(), value);
            }
        }
    }
    if nullable {
        make_nullable(&mut converted);
    }
    Value::Object(converted)
}

/// Names of members in snake_case, as Google also takes them.
fn camel(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    let mut after_line = false;
    for letter in key.chars() {
        match letter {
            '_' if !name.is_empty() => after_line = true,
            letter if after_line => {
                name.push(letter.to_ascii_uppercase());
                after_line = false;
            }
            letter => name.push(letter),
        }
    }
    name
}

/// The type in lower case; nothing for the one that says nothing.
fn lower(kind: Value) -> Option<Value> {
    match kind {
        Value::String(kind) if kind == "TYPE_UNSPECIFIED" => None,
        Value::String(kind) => Some(Value::String(kind.to_ascii_lowercase())),
        Value::Array(kinds) => Some(Value::Array(kinds.into_iter().filter_map(lower).collect())),
        other => Some(other),
    }
}

/// 64-bit numbers come as strings in this interface.
fn as_number(value: Value) -> Value {
    let number = value.as_str().and_then(|text| text.parse::<u64>().ok());
    number.map_or(value, Value::from)
}

fn make_nullable(schema: &mut Map<String, Value>) {
    if let Some(kind @ Value::String(_)) = schema.get("type").cloned() {
        schema.insert("type".into(), json!([kind, "null"]));
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
    if let Some(Value::Array(alternatives)) = schema.get_mut("anyOf") {
        alternatives.push(json!({"type": "null"}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subset_becomes_json_schema() {
        let subset = json!({
            "type": "OBJECT", "propertyOrdering": ["type"], "required": ["type"],
            "properties": {
                "type": {"type": "STRING", "nullable": true, "enum": ["A", "B"], "format": "enum"},
                "property_ordering": {"type": "ARRAY", "min_items": "1", "items": {"type": "INTEGER", "example": 3}},
                "any": {"any_of": [{"type": "NUMBER"}, {"type": "TYPE_UNSPECIFIED"}], "nullable": true},
            },
        });
        let expected = json!({
            "type": "object", "required": ["type"],
            "properties": {
                "type": {"type": ["string", "null"], "enum": ["A", "B", null], "format": "enum"},
                "property_ordering": {"type": "array", "minItems": 1, "items": {"type": "integer"}},
                "any": {"anyOf": [{"type": "number"}, {}, {"type": "null"}]},
            },
        });
        assert_eq!(json_schema(subset), expected);
        assert_eq!(json_schema(expected.clone()), expected, "JSON schema stays");
    }
}
