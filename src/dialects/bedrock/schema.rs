//! JSON schemas as Bedrock's structured outputs take them: closed objects, and none of the keywords that bound numbers, texts and lists.
//!
//! An open object or an unknown keyword is refused with the whole request. What is taken out is told in the description beside it, so that
//! the model still sees it; the provider no longer enforces it. Source: Bedrock user guide, "Get validated JSON results from models".

use serde_json::{Map, Value};

/// Keywords that the service refuses.
const REFUSED: &[&str] = &[
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
];

/// Members whose value is a map from names to schemas.
const MAPS: &[&str] = &["properties", "$defs", "definitions"];

/// The schema as it may be sent, and whether a keyword had to go.
pub(super) fn narrowed(schema: &Value) -> (Value, bool) {
    let mut narrowed = schema.clone();
    let lost = narrow(&mut narrowed);
    (narrowed, lost)
}

/// Depth is bounded by the request reader's cap on nesting (rule H20).
fn narrow(schema: &mut Value) -> bool {
    match schema {
        Value::Object(members) => narrow_object(members),
        Value::Array(schemas) => schemas.iter_mut().fold(false, |lost, schema| narrow(schema) | lost),
        _ => false,
    }
}

fn narrow_object(members: &mut Map<String, Value>) -> bool {
    let mut lost = Vec::new();
    members.retain(|name, value| {
        // A list may be told not to be empty, and no more.
        let goes = match name.as_str() {
            "minItems" => value.as_u64().is_none_or(|least| least > 1),
            name => REFUSED.contains(&name),
        };
        if goes {
            lost.push(format!("{name}: {value}"));
        }
        !goes
    });
    let mut any_lost = !lost.is_empty();
    if any_lost {
        let said = members.get("description").and_then(Value::as_str).unwrap_or_default();
        let told = format!("{said}{}({})", if said.is_empty() { "" } else { " " }, lost.join(", "));
        members.insert("description".to_owned(), Value::String(told));
    }
    if let Some(variants) = members.remove("oneOf") {
        // The nearest that is taken: the difference, exactly one, is seldom meant.
        members.entry("anyOf").or_insert(variants);
    }
    for (name, value) in members.iter_mut() {
        if MAPS.contains(&name.as_str()) {
            let schemas = value.as_object_mut().into_iter().flat_map(Map::values_mut);
            any_lost |= schemas.fold(false, |lost, schema| narrow(schema) | lost);
        } else if !matches!(name.as_str(), "enum" | "const" | "default" | "examples" | "required") {
            any_lost |= narrow(value);
        }
    }
    let names_object = |kind: &Value| {
        kind == "object" || kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "object"))
    };
    let is_object = members.get("type").is_some_and(names_object) || members.contains_key("properties");
    if is_object {
        let before = members.insert("additionalProperties".to_owned(), Value::Bool(false));
        any_lost |= before.is_some_and(|before| before != Value::Bool(false));
    }
    any_lost
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_are_closed_and_bounds_become_words() {
        let schema = json!({"type": "object", "properties": {
            "minimum": {"type": "integer", "description": "Least.", "minimum": 1, "maximum": 9},
            "tags": {"type": "array", "minItems": 1, "items": {"type": "object", "properties": {"a": {"enum": [{"minimum": 1}]}}}}},
            "$defs": {"x": {"type": "object", "additionalProperties": false}}});
        let (sent, lost) = narrowed(&schema);
        assert!(lost);
        let expected = json!({"type": "object", "properties": {
            "minimum": {"type": "integer", "description": "Least. (minimum: 1, maximum: 9)"},
            "tags": {"type": "array", "minItems": 1, "items": {"type": "object", "properties": {"a": {"enum": [{"minimum": 1}]}},
                "additionalProperties": false}}},
            "$defs": {"x": {"type": "object", "additionalProperties": false}}, "additionalProperties": false});
        assert_eq!(sent, expected);
    }

    #[test]
    fn a_schema_that_fits_loses_nothing() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
        assert_eq!(narrowed(&schema), (schema, false));
        let (sent, lost) = narrowed(&json!({"oneOf": [{"type": ["object", "null"]}, {"type": "string"}]}));
        let variants = json!([{"type": ["object", "null"], "additionalProperties": false}, {"type": "string"}]);
        assert_eq!((sent, lost), (json!({ "anyOf": variants }), false));
        let open = json!({"type": "object", "additionalProperties": true});
        assert!(narrowed(&open).1, "an open object is another schema");
    }
}
