//! The body of `POST /v1/messages` as a client sends it, into the inner request.
//!
//! `model` is read by the gateway before this, so it is let pass here. What steers Anthropic's own services alone (context management, betas,
//! diagnostics) is left out silently; what changes the answer (containers, remote tool servers, residency) is noted.

use super::read_turns::{TurnReader, cache};
use super::schema;
use super::walk::{Fields, at, inside, missing, text, wrong};
use crate::chat::request::{
    Body, CacheHint, Effort, Format, Maker, Reasoning, Refusal, Request, Sampling, Tool, ToolChoice, ToolKind, Turn,
};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A conversation that the provider keeps: only Anthropic has it. Its SDKs go on without one when they hear of it (see `write_response`).
pub(super) const THREAD: &str = "thread";

/// Members that leave the answer as it is when another provider gives it.
const WITHOUT_EFFECT: [&str; 5] = ["anthropic_version", "anthropic_beta", "betas", "context_management", "diagnostics"];

/// Reads the request.
pub(super) fn read(body: &[u8]) -> Result<Request, Refusal> {
    let request = read_count_tokens(body)?;
    if request.output_max.is_none() {
        return Err(missing("max_tokens"));
    }
    Ok(request)
}

/// Reads the request of `POST /v1/messages/count_tokens`: the same, without a limit for an answer that nobody will write.
///
/// # Errors
/// When it is malformed, or means something that the inner language has no word for.
pub fn read_count_tokens(body: &[u8]) -> Result<Request, Refusal> {
    let raw: &RawValue = serde_json::from_slice(body).map_err(|error| {
        Refusal::new("", format!("The body is not JSON: {error}. Serialise it with a JSON library."))
    })?;
    let mut fields = Fields::of(raw)?;
    if fields.take(THREAD).is_some() {
        let message = "Threads are kept by Anthropic alone: send the whole conversation without `thread`.";
        return Err(Refusal::new(THREAD, message));
    }
    let mut reader = TurnReader::default();
    let mut request = Request { output_max: fields.whole("max_tokens")?, ..Request::default() };
    if let Some(system) = fields.take("system") {
        request.system = reader.system(system).map_err(|refusal| inside("system", refusal))?;
    }
    let messages = fields.list("messages")?.ok_or_else(|| missing("messages"))?;
    request.turns = reader.turns(messages).map_err(|refusal| inside("messages", refusal))?;
    mark_the_end(&mut request.turns, cache(&mut fields)?);
    for (index, raw) in fields.list("tools")?.unwrap_or_default().into_iter().enumerate() {
        let tool = tool(raw, &mut reader.dropped).map_err(|refusal| inside("tools", at(index, refusal)))?;
        request.tools.push(tool);
    }
    choice(&mut fields, &mut request).map_err(|refusal| inside("tool_choice", refusal))?;
    request.sampling = Sampling {
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        top_k: fields.whole("top_k")?,
        ..Sampling::default()
    };
    request.stop = stop(&mut fields)?;
    request.stream = fields.flag("stream")?.unwrap_or(false);
    thinking(&mut fields, &mut request.reasoning, &mut reader.dropped)
        .map_err(|refusal| inside("thinking", refusal))?;
    output_config(&mut fields, &mut request, &mut reader.dropped)?;
    if let Some(mut metadata) = fields.object("metadata")? {
        let user = metadata.text("user_id").map_err(|refusal| inside("metadata", refusal))?;
        request.user = user.filter(|user| !user.is_empty()).map(Cow::into_owned);
    }
    request.service_tier = service_tier(&mut fields)?;
    fields.take("model");
    let left_out = fields.rest().filter(|name| !WITHOUT_EFFECT.contains(&name.as_ref()));
    reader.dropped.extend(left_out.map(Cow::into_owned));
    request.dropped = reader.dropped;
    Ok(request)
}

/// `cache_control` of the whole request means its last block.
fn mark_the_end(turns: &mut [Turn], mark: Option<CacheHint>) {
    let Some(Turn::User(blocks) | Turn::Assistant(blocks) | Turn::System(blocks)) = turns.last_mut() else { return };
    if let Some(last) = blocks.last_mut().filter(|last| !matches!(last.body, Body::Thinking(_))) {
        last.cache = last.cache.or(mark);
    }
}

fn tool(raw: &RawValue, dropped: &mut Vec<String>) -> Result<Tool, Refusal> {
    let mut fields = Fields::of(raw)?;
    let kind = fields.text("type")?;
    if let Some(kind) = kind.filter(|kind| kind != "custom") {
        let raw = serde_json::from_str(raw.get()).map_err(|_| wrong("a tool that is not nested too deeply"))?;
        let kind = kind.into_owned();
        let hosted = ToolKind::Hosted { maker: Maker::Anthropic, raw };
        return Ok(Tool { kind: hosted, name: kind, description: None, cache: None });
    }
    let name = fields.need_text("name")?.into_owned();
    let description = fields.text("description")?.map(Cow::into_owned);
    let cache = cache(&mut fields)?;
    let parameters = fields.value("input_schema")?;
    if parameters.as_ref().is_some_and(|schema| !schema.is_object()) {
        return Err(inside("input_schema", wrong("a JSON schema")));
    }
    let strict = fields.flag("strict")?;
    for name in ["eager_input_streaming", "allowed_callers"] {
        fields.take(name);
    }
    for name in fields.rest().map(|name| format!("tools.{name}")) {
        if !dropped.contains(&name) {
            dropped.push(name);
        }
    }
    Ok(Tool { kind: ToolKind::Function { parameters, strict }, name, description, cache })
}

fn choice(fields: &mut Fields<'_>, request: &mut Request) -> Result<(), Refusal> {
    let Some(raw) = fields.take("tool_choice") else { return Ok(()) };
    let mut choice = Fields::of(raw)?;
    let kind = choice.need_text("type")?;
    request.tool_choice = Some(match kind.as_ref() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Named(choice.need_text("name")?.into_owned()),
        _ => return Err(Refusal::new("type", "The choice is not known: send `auto`, `any`, `tool` or `none`.")),
    });
    request.parallel_tools = choice.flag("disable_parallel_tool_use")?.map(|disabled| !disabled);
    Ok(())
}

fn stop(fields: &mut Fields<'_>) -> Result<Vec<String>, Refusal> {
    let raws = fields.list("stop_sequences")?.unwrap_or_default();
    let read = |(index, raw)| {
        let refused = || inside("stop_sequences", at(index, wrong("a string")));
        text(raw).map(Cow::into_owned).ok_or_else(refused)
    };
    raws.into_iter().enumerate().map(read).collect()
}

fn thinking(fields: &mut Fields<'_>, reasoning: &mut Reasoning, dropped: &mut Vec<String>) -> Result<(), Refusal> {
    let Some(raw) = fields.take("thinking") else { return Ok(()) };
    let mut thinking = Fields::of(raw)?;
    let kind = thinking.need_text("type")?;
    match kind.as_ref() {
        "enabled" => {
            reasoning.enabled = Some(true);
            reasoning.budget = thinking.whole("budget_tokens")?;
        }
        "adaptive" => reasoning.enabled = Some(true),
        "disabled" => reasoning.enabled = Some(false),
        "between_tools" => {
            // Where it thinks has no word of its own; that it thinks has.
            reasoning.enabled = Some(true);
            dropped.push("thinking.type".to_owned());
        }
        _ => {
            let remedy = "Send `enabled`, `adaptive`, `disabled` or `between_tools`.";
            return Err(Refusal::new("type", format!("The kind of thinking is not known. {remedy}")));
        }
    }
    reasoning.shown = match thinking.text("display")?.as_deref() {
        // The models that take a budget show their thinking unless told otherwise; of the others some do.
        None => (kind == "enabled").then_some(true),
        Some("omitted") => Some(false),
        Some(_) => Some(true),
    };
    Ok(())
}

fn output_config(fields: &mut Fields<'_>, request: &mut Request, dropped: &mut Vec<String>) -> Result<(), Refusal> {
    // The beta's name for what is now `output_config.format`.
    if let Some(mut format) = fields.object("output_format")? {
        request.format = format_of(&mut format).map_err(|refusal| inside("output_format", refusal))?;
    }
    let Some(mut config) = fields.object("output_config")? else { return Ok(()) };
    let located = |refusal| inside("output_config", refusal);
    if let Some(word) = config.text("effort").map_err(located)? {
        let unknown =
            || Refusal::new("output_config.effort", "The effort is not known: send `low`, `medium` or `high`.");
        request.reasoning.effort = Some(Effort::parse(&word).ok_or_else(unknown)?);
    }
    if let Some(mut format) = config.object("format").map_err(located)? {
        request.format = format_of(&mut format).map_err(|refusal| inside("output_config.format", refusal))?;
    }
    dropped.extend(config.rest().map(|name| format!("output_config.{name}")));
    Ok(())
}

fn format_of(format: &mut Fields<'_>) -> Result<Format, Refusal> {
    if format.need_text("type")? != "json_schema" {
        return Err(Refusal::new("type", "The format is not known: send `json_schema`, or leave it out for text."));
    }
    let schema = format.value("schema")?.filter(serde_json::Value::is_object).ok_or_else(|| missing("schema"))?;
    // Anthropic holds to every schema; others only to strict ones, and refuse the promise for the rest.
    let strict = schema::is_strict(&schema).then_some(true);
    Ok(Format::JsonSchema { name: String::new(), description: None, schema, strict })
}

/// Classes of service by their OpenAI names; a fast one is what others sell as priority.
fn service_tier(fields: &mut Fields<'_>) -> Result<Option<String>, Refusal> {
    let tier = fields.text("service_tier")?;
    if fields.text("speed")?.as_deref() == Some("fast") {
        return Ok(Some("priority".to_owned()));
    }
    Ok(tier.map(|tier| if tier == "standard_only" { "default".to_owned() } else { tier.into_owned() }))
}
