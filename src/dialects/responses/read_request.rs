//! A client's request: the body's own members. What stands in `input` is read by `read_items`, tools by `read_tools`.
//!
//! What needs a store of conversations is refused, naming the member: the gateway keeps none, and an answer without the
//! history would be a wrong one.

use super::fields::{Dropped, Fields, Path};
use super::{read_items, read_tools};
use crate::chat::request::{Block, Effort, Format, Reasoning, Refusal, Request};
use crate::json::JsonFault;
use serde_json::Value;

/// Reads a request of `POST /v1/responses`.
///
/// # Errors
/// When it is no JSON object, a member has the wrong type, or it asks for what only OpenAI's own store has.
pub fn read_request(body: &[u8]) -> Result<Request, Refusal> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|fault| Refusal::new("", format!("The body is not JSON: {fault}. {}", remedy())))?;
    let root = Path::Root;
    let mut fields = Fields::of(value, &root)
        .map_err(|_| Refusal::new("", format!("The body is not an object. {}", JsonFault::NotAnObject.remedy())))?;
    refuse_what_needs_a_store(&mut fields)?;
    let mut dropped = Dropped::default();
    let mut request = Request::default();
    if let Some(text) = fields.string("instructions")?.filter(|text| !text.is_empty()) {
        request.system.push(Block::text(text));
    }
    let input = fields.value("input").ok_or_else(|| fields.at("input").missing("a text or a list of items"))?;
    read_items::input(input, &mut request, &mut dropped)?;
    if let Some(tools) = fields.array("tools")? {
        read_tools::add(tools, &fields.at("tools"), &mut request.tools, &mut dropped)?;
    }
    request.tool_choice =
        fields.value("tool_choice").map(|value| read_tools::choice(value, &mut dropped)).transpose()?;
    request.parallel_tools = fields.boolean("parallel_tool_calls")?;
    request.output_max = fields.count("max_output_tokens")?;
    request.sampling.temperature = fields.number("temperature")?;
    request.sampling.top_p = fields.number("top_p")?;
    request.logprobs = logprobs(&mut fields)?;
    if let Some(text) = fields.value("text") {
        read_text(text, &mut request, &mut dropped)?;
    }
    if let Some(reasoning) = fields.value("reasoning") {
        request.reasoning = read_reasoning(reasoning, &mut dropped)?;
    }
    let user = fields.string("user")?;
    request.user = fields.string("safety_identifier")?.or(user);
    request.service_tier = fields.string("service_tier")?.map(tier);
    request.prompt_cache_key = fields.string("prompt_cache_key")?;
    request.stream = fields.boolean("stream")?.unwrap_or(false);
    note_the_rest(fields, &mut dropped)?;
    request.dropped = dropped.0;
    Ok(request)
}

fn remedy() -> &'static str {
    JsonFault::Syntax { offset: 0 }.remedy()
}

/// What refers to something that only OpenAI has.
fn refuse_what_needs_a_store(fields: &mut Fields<'_>) -> Result<(), Refusal> {
    for name in ["previous_response_id", "conversation"] {
        if fields.has(name) {
            return Err(fields.at(name).refuse(format!(
                "`{name}` points to a conversation that is stored elsewhere, and the gateway keeps none: send the \
                 whole history in `input`, with `store` false."
            )));
        }
    }
    if fields.has("prompt") {
        return Err(fields.at("prompt").refuse(
            "`prompt` points to a template that is stored at OpenAI: send its text in `instructions` and `input`.",
        ));
    }
    if fields.boolean("background")? == Some(true) {
        return Err(fields.at("background").refuse(
            "Answers in the background have to be stored, and the gateway stores none: leave `background` out and use \
             `stream`.",
        ));
    }
    Ok(())
}

/// How many alternatives, if log probabilities are wanted at all.
fn logprobs(fields: &mut Fields<'_>) -> Result<Option<u32>, Refusal> {
    let top = fields.count("top_logprobs")?;
    if top.is_some_and(|top| top > 20) {
        return Err(fields.at("top_logprobs").wrong("at most 20"));
    }
    let top = top.and_then(|top| u32::try_from(top).ok());
    let include = fields.array("include")?.unwrap_or_default();
    let included = include.iter().any(|name| name == "message.output_text.logprobs");
    Ok(top.filter(|top| *top > 0).or(included.then_some(0)))
}

fn read_text(value: Value, request: &mut Request, dropped: &mut Dropped) -> Result<(), Refusal> {
    let root = Path::Root;
    let path = Path::Member(&root, "text");
    let mut fields = Fields::of(value, &path)?;
    request.verbosity = fields.string("verbosity")?;
    if let Some(format) = fields.value("format") {
        request.format = read_format(format, &fields.at("format"))?;
    }
    fields.rest().for_each(|name| dropped.note(format!("text.{name}")));
    Ok(())
}

fn read_format(value: Value, path: &Path<'_>) -> Result<Format, Refusal> {
    let mut fields = Fields::of(value, path)?;
    match fields.required("type")?.as_str() {
        "text" => Ok(Format::Text),
        "json_object" => Ok(Format::JsonObject),
        "json_schema" => Ok(Format::JsonSchema {
            name: fields.string("name")?.unwrap_or_default(),
            description: fields.string("description")?,
            schema: fields.value("schema").ok_or_else(|| fields.at("schema").missing("a JSON schema"))?,
            strict: fields.boolean("strict")?,
        }),
        _ => Err(fields.at("type").wrong("`text`, `json_object` or `json_schema`")),
    }
}

fn read_reasoning(value: Value, dropped: &mut Dropped) -> Result<Reasoning, Refusal> {
    let root = Path::Root;
    let path = Path::Member(&root, "reasoning");
    let mut fields = Fields::of(value, &path)?;
    let effort = match fields.string("effort")? {
        None => None,
        Some(word) => Some(Effort::parse(&word).ok_or_else(|| {
            fields.at("effort").wrong("one of `none`, `minimal`, `low`, `medium`, `high`, `xhigh` and `max`")
        })?),
    };
    let older = fields.string("generate_summary")?;
    let summary = fields.string("summary")?.or(older);
    let shown = summary.map(|word| word != "none");
    fields.rest().for_each(|name| dropped.note(format!("reasoning.{name}")));
    Ok(Reasoning { effort, shown, ..Reasoning::default() })
}

/// `fast` is the newer word for what answers call `priority`.
fn tier(word: String) -> String {
    if word == "fast" { "priority".to_owned() } else { word }
}

/// Members without a word inside: those without an effect on the answer go quietly, the others are noted.
fn note_the_rest(mut fields: Fields<'_>, dropped: &mut Dropped) -> Result<(), Refusal> {
    fields.ignore(&[
        "model",
        "metadata",
        "client_metadata",
        "stream_options",
        "prompt_cache_retention",
        "prompt_cache_options",
        "background_options",
    ]);
    if fields.boolean("store")? == Some(true) {
        dropped.note("store");
    }
    if fields.string("truncation")?.is_some_and(|word| word != "disabled") {
        dropped.note("truncation");
    }
    fields.rest().for_each(|name| dropped.note(name));
    Ok(())
}
