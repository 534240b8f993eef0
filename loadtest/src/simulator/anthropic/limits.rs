//! What a request may ask of a model: sampling, thinking, effort, tools and formats, each model by its own rules.

use super::conversation::Thinking;
use super::models::Caps;
use super::refusal::{breach, invalid};
use super::tables::{CUSTOM_TOOL, OWN_TOOLS};
use crate::simulator::plan::{Choice, Format, Tool};
use crate::simulator::shape::{Spelling, Step};
use crate::simulator::surface::Denial;
use serde_json::Value;

/// Temperature and its kin: not under the stricter version, not with models that refuse them, not two at once.
pub(super) fn check_sampling(body: &Value, caps: Caps, strict_version: bool) -> Result<(), Denial> {
    for name in ["temperature", "top_p", "top_k"] {
        let Some(value) = body.get(name) else { continue };
        if strict_version {
            return Err(invalid(&format!("{name}: Extra inputs are not permitted")));
        }
        let default = name != "top_k" && value.as_f64() == Some(1.0);
        if !caps.sampling && !default {
            return Err(invalid(&format!("`{name}` is not supported for this model.")));
        }
    }
    if body.get("temperature").is_some() && body.get("top_p").is_some() {
        let message = "`temperature` and `top_p` cannot both be specified for this model. Please use only one.";
        return Err(invalid(message));
    }
    Ok(())
}

/// How the model is to think, and whether it can.
pub(super) fn thinking(body: &Value, caps: Caps, model: &str) -> Result<Thinking, Denial> {
    let thinking = &body["thinking"];
    let found = match thinking["type"].as_str() {
        None if caps.always_thinks => Thinking::Adaptive,
        None => Thinking::Off,
        Some("disabled") if caps.always_thinks => {
            return Err(invalid("\"thinking.type.disabled\" is not supported for this model."));
        }
        Some("disabled") => {
            let effort = body["output_config"]["effort"].as_str();
            if model.starts_with("claude-opus-5") && matches!(effort, Some("xhigh" | "max")) {
                return Err(invalid("thinking: `disabled` requires an effort of `high` or less for this model."));
            }
            Thinking::Off
        }
        Some("enabled") if !caps.budget => {
            let message = "\"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\" and \
                           \"output_config.effort\" to control thinking behavior.";
            return Err(invalid(message));
        }
        Some("enabled") => {
            if body["max_tokens"].as_i64().is_some_and(|most| Some(most) <= thinking["budget_tokens"].as_i64()) {
                return Err(invalid("`max_tokens` must be greater than `thinking.budget_tokens`."));
            }
            Thinking::Budget
        }
        Some(_) if !caps.adaptive => return Err(invalid("adaptive thinking is not supported on this model")),
        Some(_) => Thinking::Adaptive,
    };
    check_thinking_with(body, found, caps)?;
    Ok(found)
}

/// What thinking rules out. A model that cannot do without it takes a forced call all the same, unless it takes none at all.
fn check_thinking_with(body: &Value, thinking: Thinking, caps: Caps) -> Result<(), Denial> {
    if thinking == Thinking::Off {
        return Ok(());
    }
    if body["temperature"].as_f64().is_some_and(|value| value != 1.0) {
        return Err(invalid("`temperature` may only be set to 1 when thinking is enabled."));
    }
    if body.get("top_k").is_some() {
        return Err(invalid("`top_k` must be unset when thinking is enabled."));
    }
    if body["top_p"].as_f64().is_some_and(|value| value < 0.95) {
        return Err(invalid("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled."));
    }
    if !caps.always_thinks && matches!(body["tool_choice"]["type"].as_str(), Some("any" | "tool")) {
        return Err(invalid("Thinking may not be enabled when tool_choice forces tool use."));
    }
    Ok(())
}

/// Limits of everything else in a request that has one.
pub(super) fn check_rest(body: &Value, caps: Caps, model: &str) -> Result<(), Denial> {
    if let Some(most) = body["max_tokens"].as_i64().filter(|most| *most > caps.tokens_max) {
        let limit = caps.tokens_max;
        return Err(invalid(&format!(
            "max_tokens: {most} > {limit}, which is the maximum allowed number of output tokens for {model}"
        )));
    }
    let stops = body["stop_sequences"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if stops.into_iter().any(|stop| stop.trim().is_empty()) {
        return Err(invalid("stop_sequences: each stop sequence must contain non-whitespace"));
    }
    let user = body["metadata"]["user_id"].as_str().unwrap_or_default();
    if user.len() > 256 {
        return Err(invalid("metadata.user_id: String should have at most 256 characters"));
    }
    if user.contains('@') && user.rsplit('@').next().is_some_and(|host| host.contains('.')) {
        return Err(invalid("metadata.user_id: user_id appears to contain an email address"));
    }
    if let Some(effort) = body["output_config"]["effort"].as_str().filter(|effort| !caps.efforts.contains(effort)) {
        return Err(invalid(&format!("output_config.effort: '{effort}' is not supported for this model")));
    }
    match marks(body) {
        0..=4 => Ok(()),
        found => Err(invalid(&format!("A maximum of 4 blocks with cache_control may be provided. Found {found}."))),
    }
}

/// Blocks and tools that carry a mark for the cache.
fn marks(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(marks).sum(),
        Value::Object(members) => {
            let own = usize::from(members.get("cache_control").is_some_and(Value::is_object));
            let inner = members.iter().filter(|(name, _)| !matches!(name.as_str(), "input" | "input_schema"));
            own + inner.map(|(_, member)| marks(member)).sum::<usize>()
        }
        _ => 0,
    }
}

/// The caller's own tools; those the provider runs are checked by name alone.
pub(super) fn tools(body: &Value) -> Result<Vec<Tool<'_>>, Denial> {
    let mut found = Vec::new();
    let mut names = Vec::new();
    for (position, tool) in body["tools"].as_array().into_iter().flatten().enumerate() {
        let kind = tool["type"].as_str().unwrap_or("custom");
        let name = tool["name"].as_str().unwrap_or_default();
        if kind == "custom" {
            check_tool(position, tool)?;
            found.push(Tool { name, schema: &tool["input_schema"], custom: false });
        } else if !OWN_TOOLS.iter().any(|own| kind.starts_with(own)) {
            return Err(invalid(&format!(
                "tools.{position}: Input tag '{kind}' found using 'type' does not match any of the expected tags"
            )));
        } else if name.is_empty() {
            return Err(invalid(&format!("tools.{position}.{kind}.name: Field required")));
        }
        if names.contains(&name) {
            return Err(invalid("tools: Tool names must be unique."));
        }
        names.push(name);
    }
    Ok(found)
}

fn check_tool(position: usize, tool: &Value) -> Result<(), Denial> {
    let at = format!("tools.{position}.custom");
    CUSTOM_TOOL.check(tool, Spelling::Exact).map_err(|mut found| {
        let steps = [Step::Member("tools".into()), Step::Item(position), Step::Tag("custom")];
        found.path.splice(0..0, steps);
        breach(&found)
    })?;
    let name = tool["name"].as_str().unwrap_or_default();
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if name.is_empty() || name.len() > 128 || !letters {
        return Err(invalid(&format!("{at}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")));
    }
    let schema = &tool["input_schema"];
    match schema["type"].as_str() {
        None => return Err(invalid(&format!("{at}.input_schema.type: Field required"))),
        Some("object") => {}
        Some(_) => return Err(invalid(&format!("{at}.input_schema.type: Input should be 'object'"))),
    }
    if ["oneOf", "allOf", "anyOf"].iter().any(|word| schema.get(*word).is_some()) {
        return Err(invalid(&format!(
            "{at}.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level"
        )));
    }
    Ok(())
}

/// Whether tools are to be called, and whether several at once.
pub(super) fn choice<'a>(body: &'a Value, tools: &[Tool<'_>], caps: Caps) -> Result<(Choice<'a>, bool), Denial> {
    let choice = &body["tool_choice"];
    let Some(kind) = choice["type"].as_str() else { return Ok((Choice::Auto, true)) };
    if body["tools"].as_array().is_none_or(Vec::is_empty) {
        return Err(invalid("tool_choice: tool_choice may only be specified while providing tools"));
    }
    if matches!(kind, "any" | "tool") && !caps.forced_tools {
        return Err(invalid("tool_choice: forced tool use is not supported for this model."));
    }
    let parallel = choice["disable_parallel_tool_use"] != true;
    let found = match kind {
        "any" => Choice::Any,
        "none" => Choice::Never,
        "tool" => {
            let name = choice["name"].as_str().unwrap_or_default();
            if !tools.iter().any(|tool| tool.name == name) {
                return Err(invalid(&format!("Tool '{name}' not found in provided tools")));
            }
            Choice::Named(name)
        }
        _ => Choice::Auto,
    };
    Ok((found, parallel))
}

/// The format of the answer's text, and whether its schema is one the provider can hold to.
pub(super) fn format(body: &Value) -> Result<Format<'_>, Denial> {
    let Some(schema) = body["output_config"]["format"].get("schema") else { return Ok(Format::Words) };
    check_schema(schema)?;
    Ok(Format::Schema(schema))
}

fn check_schema(schema: &Value) -> Result<(), Denial> {
    let refuse = |message: String| Err(invalid(&format!("output_config.format.schema: {message}")));
    let kind = schema["type"].as_str().unwrap_or_default();
    if kind == "object" && schema["additionalProperties"] != false {
        return refuse("For 'object' type, 'additionalProperties' must be explicitly set to false".into());
    }
    if let Some(word) = UNSUPPORTED.iter().find(|word| schema.get(**word).is_some()) {
        return refuse(format!("For '{kind}' type, property '{word}' is not supported"));
    }
    for word in ["properties", "$defs", "definitions"] {
        schema[word].as_object().into_iter().flatten().try_for_each(|(_, inner)| check_schema(inner))?;
    }
    for word in ["anyOf", "oneOf", "allOf"] {
        schema[word].as_array().into_iter().flatten().try_for_each(check_schema)?;
    }
    schema.get("items").map_or(Ok(()), check_schema)
}

/// Words of JSON Schema that structured outputs do not support.
const UNSUPPORTED: [&str; 9] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
];
