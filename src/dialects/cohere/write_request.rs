//! A request of the inner language as Cohere's `/v2/chat` takes it.
//!
//! Text before calls becomes their plan, results of tools become messages of their own, and what those hold beside text follows in a user
//! message. Choosing one tool is said by offering no other. A tool for free text is a function whose name ends in [`FREE_TEXT`]; the readers turn
//! its calls back. The input of a call is text at Cohere too and goes along unchanged.

use super::options::{Options, options};
use crate::chat::request::{
    Block, Body, Media, Refusal, Request, Source, Tool, ToolCall, ToolChoice, ToolKind, ToolResult, Turn,
};
use crate::dialects::{Aim, Written};
use serde::Serialize;
use serde_json::{Value, json};
use std::borrow::Cow;

/// How the name of a function ends that stands for a tool that takes free text.
pub(super) const FREE_TEXT: &str = "__igris_text";

#[derive(Serialize)]
struct Chat<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Offer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict_tools: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<&'static str>,
    #[serde(flatten)]
    options: Options<'a>,
    stream: bool,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum Message<'a> {
    System {
        content: String,
    },
    User {
        content: Content<'a>,
    },
    Assistant {
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<Content<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tool_plan: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<Call<'a>>,
    },
    Tool {
        tool_call_id: &'a str,
        content: Content<'a>,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Plain(Cow<'a, str>),
    Parts(Vec<Part<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    Text { text: Cow<'a, str> },
    Thinking { thinking: &'a str },
    ImageUrl { image_url: ImageUrl<'a> },
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    url: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    r#type: &'static str,
    function: CalledFunction<'a>,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: Cow<'a, str>,
    arguments: Cow<'a, str>,
}

#[derive(Serialize)]
struct Offer<'a> {
    r#type: &'static str,
    function: OfferedFunction<'a>,
}

#[derive(Serialize)]
struct OfferedFunction<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: Cow<'a, Value>,
}

/// A request on its way, and what was noticed.
pub(super) struct Writing<'a> {
    pub request: &'a Request,
    pub aim: &'a Aim<'a>,
    /// Sentences that stand in for members that Cohere lacks.
    pub told: Vec<String>,
    dropped: Vec<String>,
}

impl Writing<'_> {
    /// Notes a member that is left out, by the name that OpenAI has for it.
    pub fn drop(&mut self, name: &str) {
        if !self.dropped.iter().any(|known| known == name) {
            self.dropped.push(name.to_owned());
        }
    }
}

/// Writes a request for Cohere.
///
/// # Errors
/// When it wants what neither Cohere nor a sentence can ask for.
pub(super) fn write_request(request: &Request, aim: &Aim<'_>) -> Result<Written, Refusal> {
    refuse_what_changes_the_answer(request)?;
    let mut writing = Writing { request, aim, told: Vec::new(), dropped: Vec::new() };
    drop_what_does_not(&mut writing);
    let tools = offers(&mut writing)?;
    let strict_tools = strict_tools(&mut writing, &tools);
    let tool_choice = tool_choice(&mut writing, &tools)?;
    let options = options(&mut writing);
    let messages = messages(&writing)?;
    let chat = Chat { model: aim.model, messages, tools, strict_tools, tool_choice, options, stream: request.stream };
    let body = serde_json::to_vec(&chat)
        .map_err(|_| Refusal::new("messages", "The request cannot be written as JSON; check its numbers."))?;
    Ok(Written { body, dropped: writing.dropped })
}

fn refuse_what_changes_the_answer(request: &Request) -> Result<(), Refusal> {
    if request.choices.is_some_and(|choices| choices > 1) {
        return Err(Refusal::new("n", "Cohere gives one answer a request; send the request several times."));
    }
    if request.logprobs.is_some_and(|alternatives| alternatives > 0) {
        let message = "Cohere gives log probabilities of the tokens it chose only; leave `top_logprobs` out.";
        return Err(Refusal::new("top_logprobs", message));
    }
    if request.audio.is_some() {
        return Err(Refusal::new("audio", "Cohere answers with text; ask for text alone."));
    }
    Ok(())
}

fn drop_what_does_not(writing: &mut Writing<'_>) {
    let request = writing.request;
    let lost = [
        ("logit_bias", request.sampling.logit_bias.is_some()),
        ("verbosity", request.verbosity.as_deref().is_some_and(|verbosity| verbosity != "medium")),
        ("safety", request.safety.is_some()),
        ("service_tier", request.service_tier.as_deref().is_some_and(|tier| !matches!(tier, "auto" | "default"))),
        ("parallel_tool_calls", request.parallel_tools == Some(false) && !request.tools.is_empty()),
    ];
    for (name, _) in lost.into_iter().filter(|(_, lost)| *lost) {
        writing.drop(name);
    }
}

// ---- Tools ------------------------------------------------------------------------------------------------------------------------

/// The tools that may be called.
fn offers<'a>(writing: &mut Writing<'a>) -> Result<Vec<Offer<'a>>, Refusal> {
    let request = writing.request;
    let mut offers = Vec::new();
    for tool in &request.tools {
        let is_chosen = match &request.tool_choice {
            Some(ToolChoice::Named(name)) => *name == tool.name,
            Some(ToolChoice::Allowed { names, .. }) => names.contains(&tool.name),
            _ => true,
        };
        if is_chosen {
            offers.extend(offer(writing, tool));
        }
    }
    Ok(offers)
}

fn offer<'a>(writing: &mut Writing<'a>, tool: &'a Tool) -> Option<Offer<'a>> {
    let parameters = match &tool.kind {
        ToolKind::Function { parameters: Some(schema @ Value::Object(_)), .. } => Cow::Borrowed(schema),
        ToolKind::Function { .. } => Cow::Owned(json!({"type": "object", "properties": {}})),
        ToolKind::Custom { format } => {
            if format.is_some() {
                writing.drop("tools.format");
            }
            let input = json!({"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]});
            Cow::Owned(input)
        }
        ToolKind::Hosted { .. } => {
            writing.drop(&format!("tools.{}", tool.name));
            return None;
        }
    };
    let name = sent_name(&tool.name, matches!(tool.kind, ToolKind::Custom { .. }));
    let description = tool.description.as_deref().filter(|text| !text.is_empty());
    Some(Offer { r#type: "function", function: OfferedFunction { name, description, parameters } })
}

/// The name that goes out.
fn sent_name(name: &str, custom: bool) -> Cow<'_, str> {
    if custom { Cow::Owned(format!("{name}{FREE_TEXT}")) } else { Cow::Borrowed(name) }
}

/// Strictness is for all tools or none, and each must then require something.
fn strict_tools(writing: &mut Writing<'_>, offers: &[Offer<'_>]) -> Option<bool> {
    let is_strict = |tool: &Tool| matches!(tool.kind, ToolKind::Function { strict: Some(true), .. });
    let tools = &writing.request.tools;
    if offers.is_empty() || !tools.iter().any(is_strict) {
        return None;
    }
    let requires = |offer: &Offer<'_>| {
        offer.function.parameters.get("required").and_then(Value::as_array).is_some_and(|names| !names.is_empty())
    };
    if tools.iter().all(is_strict) && offers.iter().all(requires) {
        return Some(true);
    }
    writing.drop("tools.strict");
    None
}

fn tool_choice(writing: &mut Writing<'_>, offers: &[Offer<'_>]) -> Result<Option<&'static str>, Refusal> {
    let choice = match &writing.request.tool_choice {
        None | Some(ToolChoice::Auto | ToolChoice::Allowed { required: false, .. }) => return Ok(None),
        Some(ToolChoice::None) if offers.is_empty() => return Ok(None),
        Some(ToolChoice::None) => return Ok(Some("NONE")),
        Some(choice) => choice,
    };
    if !offers.is_empty() {
        return Ok(Some("REQUIRED"));
    }
    let message = match choice {
        ToolChoice::Named(name) => format!("Cohere can only be told to call a function of `tools`; {name:?} is none."),
        _ => "A tool must be called, but none is given; add `tools`.".to_owned(),
    };
    Err(Refusal::new("tool_choice", message))
}

// ---- Messages ---------------------------------------------------------------------------------------------------------------------

fn messages<'a>(writing: &Writing<'a>) -> Result<Vec<Message<'a>>, Refusal> {
    let mut messages = Vec::new();
    for turn in &writing.request.turns {
        match turn {
            Turn::User(blocks) => push_user(writing, blocks, &mut messages)?,
            Turn::Assistant(blocks) => push_assistant(writing, blocks, &mut messages)?,
            Turn::System(blocks) => messages.extend(instructions(blocks, &[])),
        }
    }
    if messages.is_empty() {
        return Err(Refusal::new("messages", "The conversation is empty; send at least one message with text."));
    }
    let continues = matches!(messages.last(), Some(Message::Assistant { .. }));
    if continues && writing.aim.abilities.assistant_prefill == Some(false) {
        let message = "This model does not continue a turn of its own; end the conversation with a user message.";
        return Err(Refusal::new("messages", message));
    }
    if let Some(instructions) = instructions(&writing.request.system, &writing.told) {
        messages.insert(0, instructions);
    }
    Ok(messages)
}

fn instructions<'a>(blocks: &[Block], told: &[String]) -> Option<Message<'a>> {
    let texts = blocks.iter().filter_map(|block| match &block.body {
        Body::Text(text) if !text.trim().is_empty() => Some(text.as_str()),
        _ => None,
    });
    let content = texts.chain(told.iter().map(String::as_str)).collect::<Vec<_>>().join("\n\n");
    (!content.is_empty()).then_some(Message::System { content })
}

fn push_user<'a>(writing: &Writing<'a>, blocks: &'a [Block], messages: &mut Vec<Message<'a>>) -> Result<(), Refusal> {
    let mut parts = Vec::new();
    for block in blocks {
        match &block.body {
            Body::ToolResult(result) => messages.push(tool_message(writing, result, &mut parts)?),
            body => parts.extend(part(writing, body)?),
        }
    }
    messages.extend(content(parts).map(|content| Message::User { content }));
    Ok(())
}

/// Pictures in a result have no place there and go to `beside`.
fn tool_message<'a>(
    writing: &Writing<'a>,
    result: &'a ToolResult,
    beside: &mut Vec<Part<'a>>,
) -> Result<Message<'a>, Refusal> {
    let mut texts = Vec::new();
    if result.is_error {
        texts.push(Part::Text { text: "Error:".into() });
    }
    for block in &result.content {
        match part(writing, &block.body)? {
            Some(picture @ Part::ImageUrl { .. }) => beside.push(picture),
            other => texts.extend(other),
        }
    }
    let content = content(texts).unwrap_or(Content::Plain(Cow::Borrowed("")));
    Ok(Message::Tool { tool_call_id: &result.id, content })
}

fn push_assistant<'a>(
    writing: &Writing<'a>,
    blocks: &'a [Block],
    messages: &mut Vec<Message<'a>>,
) -> Result<(), Refusal> {
    let tool_calls: Vec<Call<'a>> = blocks.iter().filter_map(|block| call(&block.body)).collect();
    let mut parts = Vec::new();
    let mut plan = String::new();
    for block in blocks {
        match &block.body {
            Body::ToolCall(_) => {}
            Body::Thinking(thinking) if keeps_thoughts(writing) && !thinking.text.is_empty() => {
                parts.push(Part::Thinking { thinking: &thinking.text });
            }
            Body::Thinking(_) => {}
            Body::Text(text) | Body::Refusal(text) if !tool_calls.is_empty() => plan.push_str(text),
            body => parts.extend(part(writing, body)?),
        }
    }
    let tool_plan = (!plan.trim().is_empty()).then_some(plan);
    let content = content(parts);
    if content.is_some() || !tool_calls.is_empty() {
        messages.push(Message::Assistant { content, tool_plan, tool_calls });
    }
    Ok(())
}

/// Thoughts are words here, nobody's seal: a model that thinks may read them again, another refuses them.
fn keeps_thoughts(writing: &Writing<'_>) -> bool {
    writing.aim.abilities.reasoning == Some(true)
}

fn call(body: &Body) -> Option<Call<'_>> {
    let Body::ToolCall(ToolCall { id, name, input, custom, .. }) = body else { return None };
    let arguments = match input.trim() {
        _ if *custom => Cow::Owned(json!({ "input": input }).to_string()),
        "" => Cow::Borrowed("{}"),
        _ => Cow::Borrowed(input.as_str()),
    };
    Some(Call { id, r#type: "function", function: CalledFunction { name: sent_name(name, *custom), arguments } })
}

/// One text is said plainly, anything else in parts.
fn content(mut parts: Vec<Part<'_>>) -> Option<Content<'_>> {
    match parts.pop()? {
        Part::Text { text } if parts.is_empty() => Some(Content::Plain(text)),
        last => {
            parts.push(last);
            Some(Content::Parts(parts))
        }
    }
}

fn part<'a>(writing: &Writing<'a>, body: &'a Body) -> Result<Option<Part<'a>>, Refusal> {
    Ok(match body {
        Body::Text(text) | Body::Refusal(text) => {
            (!text.trim().is_empty()).then_some(Part::Text { text: Cow::Borrowed(text) })
        }
        Body::Image(media) => Some(picture(writing, media)?),
        Body::Document(Media { source: Source::Text(text), name, .. }) => {
            let named = name.as_ref().map(|name| Cow::Owned(format!("{name}:\n{text}")));
            Some(Part::Text { text: named.unwrap_or(Cow::Borrowed(text)) })
        }
        Body::Document(_) => return Err(unable("documents other than plain text")),
        Body::Audio(_) => return Err(unable("sound")),
        Body::Video(_) => return Err(unable("films")),
        Body::Thinking(_) | Body::ToolCall(_) | Body::ToolResult(_) => None,
    })
}

fn picture<'a>(writing: &Writing<'_>, media: &'a Media) -> Result<Part<'a>, Refusal> {
    if writing.aim.abilities.vision == Some(false) {
        return Err(unable("pictures"));
    }
    let url = match &media.source {
        Source::Url { url, .. } => Cow::Borrowed(url.as_str()),
        Source::Base64 { media_type, data } => Cow::Owned(format!("data:{media_type};base64,{data}")),
        Source::Text(_) | Source::File { .. } => {
            return Err(Refusal::new("messages", "Cohere takes a picture inside the request or at an address."));
        }
    };
    let detail = media.detail.as_deref().filter(|detail| matches!(*detail, "auto" | "low" | "high"));
    Ok(Part::ImageUrl { image_url: ImageUrl { url, detail } })
}

fn unable(what: &str) -> Refusal {
    Refusal::new("messages", format!("This model of Cohere's does not take {what}; leave them out or choose another."))
}

#[cfg(test)]
#[path = "write_request_tests.rs"]
mod tests;
