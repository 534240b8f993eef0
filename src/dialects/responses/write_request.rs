//! A request for a provider of this format: OpenAI's models that speak nothing else, and histories that OpenAI sealed.
//!
//! Nothing is ever stored there: `store` is false, and sealed reasoning is asked for and given back instead. What the
//! format has no word for is left out and noted where the answer stays right without it, and refused otherwise.

use super::write_input;
use crate::chat::ability::Abilities;
use crate::chat::request::{
    Block, Body, Effort, Format, Maker, Reasoning, Refusal, Request, Tool, ToolChoice, ToolKind, Turn,
};
use crate::dialects::{Aim, Written};
use crate::json::splice::escape_into;
use serde_json::{Map, Value, json};

/// Writes the body of `POST /v1/responses`.
///
/// # Errors When several answers or sound are wanted, a forced tool is not there, or the conversation holds what only
/// another maker can read.
pub fn write_request(request: &Request, aim: &Aim<'_>) -> Result<Written, Refusal> {
    refuse_what_has_no_word(request)?;
    let mut dropped = Vec::new();
    let mut body = Members::new();
    body.text("model", aim.model);
    let instructions = joined(&request.system);
    // Input must not be empty, so instructions alone stand there.
    if !instructions.is_empty() && !request.turns.is_empty() {
        body.text("instructions", &instructions);
    }
    write_input::input(request, &instructions, body.member("input"), &mut dropped)?;
    write_tools(request, aim.abilities, &mut body, &mut dropped)?;
    if let Some(most) = request.output_max {
        let most = aim.abilities.output_max.map_or(most, |limit| most.min(limit));
        body.value("max_output_tokens", &json!(most.max(OUTPUT_LEAST)));
    }
    write_sampling(request, aim.abilities, &mut body, &mut dropped);
    write_include(request, aim.abilities, &mut body);
    write_text(request, &mut body);
    write_reasoning(&request.reasoning, aim.abilities, &mut body, &mut dropped);
    if let Some(tier) = &request.service_tier {
        body.text("service_tier", tier);
    }
    if let Some(key) = &request.prompt_cache_key {
        body.text("prompt_cache_key", key);
    }
    match &request.user {
        Some(user) if user.chars().count() <= USER_CHARACTERS_MAX => body.text("safety_identifier", user),
        Some(_) => dropped.push("user".to_owned()),
        None => {}
    }
    body.value("store", &json!(false));
    if request.stream {
        body.value("stream", &json!(true));
    }
    Ok(Written { body: body.end(), dropped })
}

/// OpenAI refuses a smaller limit.
const OUTPUT_LEAST: u64 = 16;
/// OpenAI refuses a longer identifier.
const USER_CHARACTERS_MAX: usize = 128;

/// A JSON object while it is written.
struct Members {
    out: Vec<u8>,
}

// === impl Members ===

impl Members {
    fn new() -> Self {
        Self { out: b"{".to_vec() }
    }

    /// Begins a member; its value is to be appended.
    fn member(&mut self, name: &str) -> &mut Vec<u8> {
        if self.out.len() > 1 {
            self.out.push(b',');
        }
        escape_into(name, &mut self.out);
        self.out.push(b':');
        &mut self.out
    }

    fn text(&mut self, name: &str, text: &str) {
        escape_into(text, self.member(name));
    }

    fn value(&mut self, name: &str, value: &Value) {
        self.member(name).extend_from_slice(value.to_string().as_bytes());
    }

    fn end(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }
}

fn refuse_what_has_no_word(request: &Request) -> Result<(), Refusal> {
    if request.choices.is_some_and(|choices| choices > 1) {
        return Err(Refusal::new("n", "This model gives one answer at a time: leave `n` out, or ask several times."));
    }
    if request.audio.is_some() {
        return Err(Refusal::new(
            "audio",
            "This model does not speak: leave `audio` out, or choose a model with sound.",
        ));
    }
    Ok(())
}

/// The texts as paragraphs.
fn joined(blocks: &[Block]) -> String {
    let texts = blocks.iter().filter_map(|block| match &block.body {
        Body::Text(text) if !text.is_empty() => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n\n")
}

fn write_sampling(request: &Request, abilities: &Abilities, body: &mut Members, dropped: &mut Vec<String>) {
    let sampling = &request.sampling;
    let allowed = abilities.sampling_params != Some(false);
    for (name, figure) in [("temperature", sampling.temperature), ("top_p", sampling.top_p)] {
        match figure {
            Some(figure) if allowed => body.value(name, &json!(figure)),
            // At its default it says nothing.
            Some(figure) if figure != 1.0 => dropped.push(name.to_owned()),
            _ => {}
        }
    }
    let unsaid = [
        ("top_k", sampling.top_k.is_some()),
        ("frequency_penalty", sampling.frequency_penalty.is_some_and(|penalty| penalty != 0.0)),
        ("presence_penalty", sampling.presence_penalty.is_some_and(|penalty| penalty != 0.0)),
        ("seed", sampling.seed.is_some()),
        ("logit_bias", sampling.logit_bias.is_some()),
        ("stop", !request.stop.is_empty()),
        ("safety", request.safety.is_some()),
    ];
    dropped.extend(unsaid.into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_owned()));
}

/// Whether the history holds thoughts that OpenAI sealed: then a model that thinks had a part in it.
fn has_own_seals(request: &Request) -> bool {
    let own = |block: &Block| match &block.body {
        Body::Thinking(thinking) => thinking.seal.as_ref().is_some_and(|seal| seal.maker == Maker::OpenAi),
        _ => false,
    };
    request.turns.iter().any(|turn| matches!(turn, Turn::Assistant(blocks) if blocks.iter().any(own)))
}

fn write_include(request: &Request, abilities: &Abilities, body: &mut Members) {
    let mut include = Vec::new();
    // A model that does not think refuses to be asked for its sealed thoughts.
    let asked = request.reasoning.is_stated() || has_own_seals(request);
    if abilities.reasoning.unwrap_or(asked) {
        include.push("reasoning.encrypted_content");
    }
    if let Some(top) = request.logprobs {
        include.push("message.output_text.logprobs");
        body.value("top_logprobs", &json!(top));
    }
    if !include.is_empty() {
        body.value("include", &json!(include));
    }
}

fn write_text(request: &Request, body: &mut Members) {
    let mut text = Map::new();
    match &request.format {
        Format::Text => {}
        Format::JsonObject => {
            text.insert("format".to_owned(), json!({"type": "json_object"}));
        }
        Format::JsonSchema { name, description, schema, strict } => {
            let name = if name.is_empty() { "answer" } else { name };
            let mut format = json!({"type": "json_schema", "name": name, "schema": schema});
            if let Some(description) = description {
                format["description"] = json!(description);
            }
            if let Some(strict) = strict {
                format["strict"] = json!(strict);
            }
            text.insert("format".to_owned(), format);
        }
    }
    if let Some(verbosity) = &request.verbosity {
        text.insert("verbosity".to_owned(), json!(verbosity));
    }
    if !text.is_empty() {
        body.value("text", &Value::Object(text));
    }
}

fn write_reasoning(wanted: &Reasoning, abilities: &Abilities, body: &mut Members, dropped: &mut Vec<String>) {
    let effort = effort(wanted);
    if abilities.reasoning == Some(false) {
        if effort.is_some_and(|effort| effort != Effort::None) {
            dropped.push("reasoning_effort".to_owned());
        }
        return;
    }
    let mut reasoning = Map::new();
    if let Some(effort) = effort {
        reasoning.insert("effort".to_owned(), json!(abilities.nearest_effort(effort).as_str()));
    }
    if wanted.shown == Some(true) {
        reasoning.insert("summary".to_owned(), json!("auto"));
    }
    if !reasoning.is_empty() {
        body.value("reasoning", &Value::Object(reasoning));
    }
}

/// The effort in words: a budget of tokens is one too.
fn effort(wanted: &Reasoning) -> Option<Effort> {
    let by_budget = wanted.budget.map(|budget| match budget {
        0 => Effort::None,
        1..2_048 => Effort::Low,
        2_048..8_192 => Effort::Medium,
        _ => Effort::High,
    });
    match wanted.enabled {
        Some(false) => Some(Effort::None),
        _ => wanted.effort.or(by_budget),
    }
}

// ---- Tools ----

fn write_tools(
    request: &Request,
    abilities: &Abilities,
    body: &mut Members,
    dropped: &mut Vec<String>,
) -> Result<(), Refusal> {
    let mut tools = Vec::with_capacity(request.tools.len());
    for tool in &request.tools {
        match tool_value(tool) {
            Some(value) => tools.push(value),
            None => dropped.push(format!("tools.{}", tool.name)),
        }
    }
    let choice = request.tool_choice.as_ref().map(|choice| choice_value(choice, request)).transpose()?;
    if tools.is_empty() {
        return match request.tool_choice {
            Some(ToolChoice::Required) => Err(Refusal::new(
                "tool_choice",
                "A tool must be called, but there is none that this model can call: send one in `tools`.",
            )),
            _ => Ok(()),
        };
    }
    body.value("tools", &Value::Array(tools));
    if let Some(choice) = choice {
        body.value("tool_choice", &choice);
    }
    match request.parallel_tools {
        Some(true) if abilities.parallel_tools == Some(false) => dropped.push("parallel_tool_calls".to_owned()),
        Some(parallel) => body.value("parallel_tool_calls", &json!(parallel)),
        None => {}
    }
    Ok(())
}

/// A tool in this format's flat form; nothing if another maker runs it.
fn tool_value(tool: &Tool) -> Option<Value> {
    let mut value = match &tool.kind {
        ToolKind::Function { parameters, strict } => json!({
            "type": "function",
            "name": tool.name,
            "parameters": parameters.clone().unwrap_or_else(|| json!({"type": "object", "properties": {}})),
            // Where nothing is said this format is strict and the others are not.
            "strict": strict.unwrap_or(false),
        }),
        ToolKind::Custom { format } => {
            let mut value = json!({"type": "custom", "name": tool.name});
            if let Some(format) = format {
                value["format"] = flat_format(format);
            }
            value
        }
        ToolKind::Hosted { maker: Maker::OpenAi, raw } if raw["type"].is_string() => return Some(raw.clone()),
        ToolKind::Hosted { .. } => return None,
    };
    if let Some(description) = &tool.description {
        value["description"] = json!(description);
    }
    Some(value)
}

/// A grammar lies one level deeper in Chat's form.
fn flat_format(format: &Value) -> Value {
    match format.get("grammar").and_then(Value::as_object) {
        Some(grammar) => {
            let mut flat = grammar.clone();
            flat.insert("type".to_owned(), json!("grammar"));
            Value::Object(flat)
        }
        None => format.clone(),
    }
}

fn choice_value(choice: &ToolChoice, request: &Request) -> Result<Value, Refusal> {
    let by_name = |name: &String| {
        let tool = request.tools.iter().find(|tool| tool.name == *name);
        match tool.map(|tool| &tool.kind) {
            Some(ToolKind::Function { .. }) => Ok(json!({"type": "function", "name": name})),
            Some(ToolKind::Custom { .. }) => Ok(json!({"type": "custom", "name": name})),
            Some(ToolKind::Hosted { maker: Maker::OpenAi, .. }) => Ok(json!({"type": name})),
            _ => Err(Refusal::new(
                "tool_choice",
                format!("The tool `{name}` is not among those that this model can call: send it in `tools`."),
            )),
        }
    };
    Ok(match choice {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Named(name) => by_name(name)?,
        ToolChoice::Allowed { names, required } => {
            let tools = names.iter().map(by_name).collect::<Result<Vec<_>, _>>()?;
            json!({"type": "allowed_tools", "mode": if *required { "required" } else { "auto" }, "tools": tools})
        }
    })
}
