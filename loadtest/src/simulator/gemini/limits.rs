//! What a request may ask of a model: sampling, thinking, functions and formats.

use super::models::Caps;
use super::refusal::invalid;
use crate::simulator::plan::{Choice, Format, Tool};
use crate::simulator::surface::Denial;
use serde_json::Value;

/// Everything in `generationConfig` that the tables cannot say.
pub(super) fn check_config(config: &Value, caps: Caps, model: &str, stream: bool) -> Result<(), Denial> {
    for (name, said) in [("temperature", "Temperature"), ("topP", "TopP"), ("topK", "TopK")] {
        if config.get(name).is_some() && !caps.sampling {
            return Err(invalid(&format!("{said} is not supported for models/{model}")));
        }
    }
    if config["stopSequences"].as_array().is_some_and(|stops| stops.len() > 5) {
        return Err(invalid("* GenerateContentRequest.generation_config.stop_sequences: at most 5 are supported\n"));
    }
    if config["responseLogprobs"] == true || config.get("logprobs").is_some() {
        return Err(invalid(&format!("Logprobs is not enabled for models/{model}")));
    }
    if stream && config["candidateCount"].as_u64().is_some_and(|count| count > 1) {
        return Err(invalid("Multiple candidates is not enabled for streaming"));
    }
    let thinking = &config["thinkingConfig"];
    if thinking.get("thinkingBudget").is_some() && thinking.get("thinkingLevel").is_some() {
        return Err(invalid("You can only set only one of thinking budget and thinking level."));
    }
    if thinking.get("thinkingLevel").is_some() && !caps.levels {
        return Err(invalid("Thinking level is not supported for this model."));
    }
    if thinking["thinkingBudget"] == 0 && caps.always_thinks && !caps.levels {
        return Err(invalid("The thinking budget 0 is invalid. Please choose a value between 128 and 32768."));
    }
    Ok(())
}

/// Whether the model thinks, and whether it shows its thoughts.
pub(super) fn thinking(config: &Value, caps: Caps) -> (bool, bool) {
    let thinking = &config["thinkingConfig"];
    let budget = thinking["thinkingBudget"].as_i64();
    let thinks = match budget {
        Some(0) => caps.always_thinks,
        Some(_) => true,
        None => caps.thinks || thinking.get("thinkingLevel").is_some(),
    };
    (thinks, thinks && thinking["includeThoughts"] == true)
}

/// The declared functions.
pub(super) fn tools(body: &Value) -> Result<Vec<Tool<'_>>, Denial> {
    let mut found: Vec<Tool<'_>> = Vec::new();
    for (tool, declared) in body["tools"].as_array().into_iter().flatten().enumerate() {
        for (position, function) in declared["functionDeclarations"].as_array().into_iter().flatten().enumerate() {
            let at = format!("GenerateContentRequest.tools[{tool}].function_declarations[{position}]");
            let name = function["name"].as_str().unwrap_or_default();
            check_name(&at, name)?;
            if found.iter().any(|known| known.name == name) {
                return Err(invalid(&format!("Duplicate function declaration found: {name}")));
            }
            let (short, whole) = (function.get("parameters"), function.get("parametersJsonSchema"));
            if short.is_some() && whole.is_some() {
                return Err(invalid(&format!(
                    "* {at}: only one of parameters and parameters_json_schema can be set\n"
                )));
            }
            let kind = short.and_then(|schema| schema["type"].as_str()).unwrap_or_default();
            let empty = short.is_some_and(|schema| schema["properties"].as_object().is_none_or(|all| all.is_empty()));
            if kind.eq_ignore_ascii_case("object") && empty {
                return Err(invalid(&format!("* {at}.parameters.properties: should be non-empty for OBJECT type\n")));
            }
            found.push(Tool { name, schema: short.or(whole).unwrap_or(&Value::Null), custom: false });
        }
    }
    Ok(found)
}

fn check_name(at: &str, name: &str) -> Result<(), Denial> {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte));
    if first && rest && name.len() <= 64 {
        return Ok(());
    }
    Err(invalid(&format!(
        "* {at}.name: Invalid function name. Must start with a letter or an underscore. Must be alphanumeric (a-z, A-Z, \
         0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of 64.\n"
    )))
}

/// Whether functions are to be called.
pub(super) fn choice<'a>(body: &'a Value, tools: &[Tool<'_>]) -> Result<Choice<'a>, Denial> {
    let config = &body["toolConfig"]["functionCallingConfig"];
    let mode = config["mode"].as_str().unwrap_or("AUTO");
    let allowed = config["allowedFunctionNames"].as_array().filter(|names| !names.is_empty());
    if mode == "ANY" && tools.is_empty() {
        return Err(invalid("Function calling config is set without function_declarations."));
    }
    if allowed.is_some() && !matches!(mode, "ANY" | "VALIDATED") {
        return Err(invalid("Please set allowed_function_names only when function calling mode is ANY."));
    }
    let names = allowed.into_iter().flatten().filter_map(Value::as_str);
    if names.into_iter().any(|name| !tools.iter().any(|tool| tool.name == name)) {
        return Err(invalid("allowed_function_names contains a name that is not in function_declarations."));
    }
    let first = allowed.and_then(|names| names.first()?.as_str());
    Ok(match (mode, first) {
        ("NONE", _) => Choice::Never,
        ("ANY", Some(name)) => Choice::Named(name),
        ("ANY", None) => Choice::Any,
        _ => Choice::Auto,
    })
}

/// The format of the answer's text.
pub(super) fn format<'a>(config: &'a Value, tools: &[Tool<'_>], caps: Caps) -> Result<Format<'a>, Denial> {
    let (short, whole) = (config.get("responseSchema"), config.get("responseJsonSchema"));
    if short.is_some() && whole.is_some() {
        return Err(invalid("Only one of response_schema and response_json_schema can be set."));
    }
    let kind = config["responseMimeType"].as_str().unwrap_or("text/plain");
    if !matches!(kind, "text/plain" | "application/json" | "text/x.enum") {
        return Err(invalid(&format!(
            "* GenerateContentRequest.generation_config.response_mime_type: allowed mimetypes are `text/plain`, \
             `application/json` and `text/x.enum`, got `{kind}`\n"
        )));
    }
    let schema = short.or(whole);
    if schema.is_some() && kind == "text/plain" {
        return Err(invalid("response_schema only supported with response mime type application/json."));
    }
    if kind != "text/plain" && !tools.is_empty() && !caps.tools_with_format {
        return Err(invalid(&format!("Function calling with a response mime type: '{kind}' is unsupported")));
    }
    Ok(match schema {
        Some(schema) => Format::Schema(schema),
        None if kind == "application/json" => Format::Json,
        None => Format::Words,
    })
}
