//! A JSON schema as Anthropic's structured output takes it: every object closed, and constraints that it refuses told in words.
//!
//! The keywords that go (`minLength`, `maximum`, …) are appended to the description beside them, so the model still reads them. Only places
//! where the specification has schemas are walked: a property that is called `maximum` stays. Source: Anthropic's structured outputs page,
//! read 2026-11-23.

use serde_json::{Map, Value};

/// Constraints that are refused.
const REFUSED: [&str; 16] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "contains",
    "minContains",
    "maxContains",
    "minProperties",
    "maxProperties",
    "propertyNames",
];

/// Texts of `format` that are taken.
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

/// The schema as it is taken, and each keyword that it lost, once.
pub(super) fn conform(schema: &Value) -> (Value, Vec<String>) {
    let mut schema = schema.clone();
    let mut lost = Vec::new();
    close(&mut schema, &mut lost);
    (schema, lost)
}

/// Whether every object of the schema is closed and demands all of its properties: what others mean by a strict schema.
pub(super) fn is_strict(schema: &Value) -> bool {
    let Some(members) = schema.as_object() else { return true };
    let properties = members.get("properties").and_then(Value::as_object);
    let is_object = properties.is_some() || members.get("type").is_some_and(names_object);
    let demanded = |name: &String| {
        let required = members.get("required").and_then(Value::as_array);
        required.is_some_and(|names| names.iter().any(|known| known.as_str() == Some(name)))
    };
    let is_closed = members.get("additionalProperties") == Some(&Value::Bool(false));
    if is_object && !(is_closed && properties.is_none_or(|properties| properties.keys().all(demanded))) {
        return false;
    }
    members.iter().all(|(name, value)| match (name.as_str(), value) {
        ("properties" | "$defs" | "definitions", Value::Object(schemas)) => schemas.values().all(is_strict),
        ("anyOf" | "allOf" | "oneOf" | "prefixItems", Value::Array(schemas)) => schemas.iter().all(is_strict),
        ("items", schema) => is_strict(schema),
        _ => true,
    })
}

fn close(schema: &mut Value, lost: &mut Vec<String>) {
    let Some(members) = schema.as_object_mut() else { return };
    tell_in_words(members, lost);
    if let Some(variants) = members.remove("oneOf") {
        // The nearest that is taken: the difference (exactly one) is seldom meant.
        members.entry("anyOf").or_insert(variants);
    }
    let is_object = members.get("type").is_some_and(names_object) || members.contains_key("properties");
    if is_object {
        members.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    for (name, value) in members.iter_mut() {
        match (name.as_str(), value) {
            ("properties" | "$defs" | "definitions", Value::Object(schemas)) => {
                schemas.values_mut().for_each(|schema| close(schema, lost));
            }
            ("anyOf" | "allOf" | "prefixItems", Value::Array(schemas)) => {
                schemas.iter_mut().for_each(|schema| close(schema, lost));
            }
            ("items", schema) => close(schema, lost),
            _ => {}
        }
    }
}

fn names_object(kind: &Value) -> bool {
    kind == "object" || kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "object"))
}

/// Moves refused constraints into the description.
fn tell_in_words(members: &mut Map<String, Value>, lost: &mut Vec<String>) {
    let mut words = Vec::new();
    let refused = |name: &str, value: &Value| match name {
        // None and one are taken.
        "minItems" => value.as_u64().is_none_or(|least| least > 1),
        "format" => value.as_str().is_some_and(|format| !FORMATS.contains(&format)),
        _ => REFUSED.contains(&name),
    };
    members.retain(|name, value| {
        let goes = refused(name, value);
        if goes {
            words.push(format!("{name}: {value}"));
            if !lost.iter().any(|known| known == name) {
                lost.push(name.clone());
            }
        }
        !goes
    });
    if words.is_empty() {
        return;
    }
    let words = format!("Must satisfy {{{}}}.", words.join(", "));
    let told = match members.get("description").and_then(Value::as_str) {
        Some(description) if !description.is_empty() => format!("{description} {words}"),
        _ => words,
    };
    members.insert("description".to_owned(), Value::String(told));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn constraints_become_words_and_objects_are_closed() {
        let (schema, lost) = conform(&json!({
            "type": "object",
            "properties": {
                "maximum": {"type": "integer", "maximum": 9, "description": "Largest."},
                "tags": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"type": "string", "minLength": 2}},
                "when": {"oneOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "week"}]},
                "inner": {"$ref": "#/$defs/inner"}
            },
            "$defs": {"inner": {"type": ["object", "null"], "properties": {}, "additionalProperties": true}},
            "required": ["maximum"]
        }));
        assert_eq!(
            schema,
            json!({
                "type": "object",
                "properties": {
                    "maximum": {"type": "integer", "description": "Largest. Must satisfy {maximum: 9}."},
                    "tags": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "description": "Must satisfy {minLength: 2}."},
                        "description": "Must satisfy {maxItems: 3}."
                    },
                    "when": {"anyOf": [
                        {"type": "string", "format": "date"},
                        {"type": "string", "description": "Must satisfy {format: \"week\"}."}
                    ]},
                    "inner": {"$ref": "#/$defs/inner"}
                },
                "$defs": {"inner": {"type": ["object", "null"], "properties": {}, "additionalProperties": false}},
                "required": ["maximum"],
                "additionalProperties": false
            })
        );
        assert_eq!(lost, ["maximum", "maxItems", "minLength", "format"]);
    }

    #[test]
    fn a_strict_schema_is_closed_and_demands_everything() {
        let inner = |closed: bool| json!({ "type": "object", "properties": {}, "additionalProperties": !closed });
        let outer = |inner: Value, required: Value| {
            json!({ "type": "object", "properties": { "a": { "type": "array", "items": inner } },
                "required": required, "additionalProperties": false })
        };
        assert!(is_strict(&outer(inner(true), json!(["a"]))));
        assert!(!is_strict(&outer(inner(false), json!(["a"]))), "an open object inside");
        assert!(!is_strict(&outer(inner(true), json!([]))), "an optional property");
        assert!(!is_strict(&json!({ "type": "object" })));
        assert!(is_strict(&json!({ "type": "string" })));
    }

    #[test]
    fn what_is_no_schema_stays() {
        for other in [json!(true), json!([1]), json!("x"), json!({"enum": [{"maximum": 1}]})] {
            assert_eq!(conform(&other), (other.clone(), vec![]));
        }
    }
}
