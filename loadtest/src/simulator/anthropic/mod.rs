//! Anthropic's surface: messages, token counts and models, refused and answered as the real service does.
//!
//! Shapes and words: Messages API reference, error reference and official clients (read 2026-11). Thoughts are sealed, so a
//! gateway that loses or bends one on the way back is refused.

mod answer;
mod conversation;
mod limits;
mod models;
mod refusal;
mod tables;

pub(super) use refusal::{failure, invalid, out_of_tokens, quota};

use super::Site;
use super::fault::Directives;
use super::plan::{Question, Speech};
use super::shape::{Shape, Spelling};
use super::surface::{Asked, Call, Denial, Script, Seen, Told, Work, bearer};
use super::wire::Head;
use conversation::{Conversation, Rules, Thinking};
use models::{Caps, caps};
use serde_json::Value;
use std::io::Write as _;

/// Whether a path is one of Anthropic's; the list of models is shared with others and goes by the version field.
pub(super) fn claims(head: &Head) -> bool {
    let path = head.path();
    let models = path == "/v1/models" || path.starts_with("/v1/models/");
    path == "/v1/messages" || path.starts_with("/v1/messages/") || (models && head.field("anthropic-version").is_some())
}

/// `x-api-key` wins over a bearer key.
pub(super) fn key(head: &Head) -> Option<&str> {
    head.field("x-api-key").map(str::trim).or_else(|| bearer(head))
}

/// Decides what a request asks for: key, path, version, body, model.
pub(super) fn read(call: &Call<'_>, seen: &mut Seen) -> Result<Asked, Denial> {
    let (site, head) = (call.site, call.head);
    let body = call.object();
    if let Some(body) = &body {
        seen.model = body["model"].as_str().map(str::to_owned);
        seen.stream = body["stream"] == true;
    }
    if call.key.is_empty() {
        return Err(refusal::denial(401, "authentication_error", "x-api-key header is required"));
    }
    if !call.key_accepted {
        let word = if head.field("x-api-key").is_some() { "invalid x-api-key" } else { "Invalid bearer token" };
        return Err(refusal::denial(401, "authentication_error", word));
    }
    let strict = match head.field("anthropic-version") {
        Some("2023-06-01") => false,
        Some("2026-10-21") => true,
        None => return Err(invalid("anthropic-version: header is required")),
        Some(other) => return Err(invalid(&format!("anthropic-version: {other:?} is not a valid version"))),
    };
    match (head.method.as_str(), head.path()) {
        ("POST", "/v1/messages") => messages(call, body.as_ref(), strict, &tables::MESSAGES),
        ("POST", "/v1/messages/count_tokens") => messages(call, body.as_ref(), strict, &tables::COUNT),
        ("GET", "/v1/models") => {
            let query = head.target.split_once('?').map_or("", |(_, query)| query);
            models::list(&site.models, query).map(Asked::Ready)
        }
        ("GET", path) => match path.strip_prefix("/v1/models/") {
            Some(name) if site.knows_model(name) => Ok(Asked::Ready(models::entry(name))),
            Some(name) => Err(refusal::unknown_model(name)),
            None => Err(refusal::unknown_path()),
        },
        _ => Err(refusal::unknown_path()),
    }
}

/// Members that are known only to those who ask for a beta that starts so; what is in them is not looked at.
const BETAS: [(&str, &str); 3] = [
    ("context_management", "context-management-"),
    ("mcp_servers", "mcp-client-"),
    ("output_format", "structured-outputs-"),
];

/// A body without the members that its betas make known.
fn without_betas(head: &Head, body: &Value) -> Value {
    let mut body = body.clone();
    let fields = head.fields.iter().filter(|(name, _)| name == "anthropic-beta");
    let asked: Vec<_> = fields.flat_map(|(_, value)| value.split(',')).map(str::trim).collect();
    for (member, start) in BETAS {
        if let Some(members) = body.as_object_mut().filter(|_| asked.iter().any(|beta| beta.starts_with(start))) {
            members.remove(member);
        }
    }
    body
}

/// Messages, or the count of their tokens where the table has no `max_tokens`.
fn messages(call: &Call<'_>, body: Option<&Value>, strict: bool, table: &'static Shape) -> Result<Asked, Denial> {
    let Some(body) = body.filter(|_| call.says_json()) else {
        return Err(invalid("The request body is not valid JSON."));
    };
    let body = &without_betas(call.head, body);
    if strict {
        limits::check_sampling(body, models::caps(""), strict)?;
    }
    let body = &table.check(body, Spelling::Exact).map_err(|found| refusal::breach(&found))?;
    let model = body["model"].as_str().unwrap_or_default();
    if !call.site.knows_model(model) {
        return Err(refusal::unknown_model(model));
    }
    let caps = caps(model);
    limits::check_sampling(body, caps, strict)?;
    limits::check_rest(body, caps, model)?;
    let thinking = limits::thinking(body, caps, model)?;
    let purpose = if caps.bound_thoughts { format!("anthropic {model}") } else { "anthropic".to_owned() };
    let rules = Rules { caps, thinking, purpose, strict_version: strict };
    let conversation = conversation::check(body, &rules)?;
    let directives = directives(body, &conversation.last_user)?;
    let prompt_tokens = u32::try_from(conversation.text_bytes.div_ceil(4)).unwrap_or(u32::MAX).max(1);
    let tools = limits::tools(body)?;
    let (choice, parallel) = limits::choice(body, &tools, caps)?;
    let format = limits::format(body)?;
    let stream = body["stream"] == true;
    let work = |prompt_tokens, directives, told| {
        let script = Script::Told(told);
        Asked::Work(Box::new(Work { model: model.to_owned(), stream, prompt_tokens, directives, script }))
    };
    let Some(most) = body["max_tokens"].as_u64() else {
        let told = Told::json(format!(r#"{{"input_tokens":{prompt_tokens}}}"#), 0);
        return Ok(work(0, directives, told));
    };
    let mut question = Question {
        seed: conversation.digest,
        last_user: &conversation.last_user,
        after_tool: conversation.after_tool,
        tools,
        choice,
        parallel,
        format,
        tokens_max: Some(u32::try_from(most).unwrap_or(u32::MAX)),
        stops: body["stop_sequences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
        thinks: thinking != Thinking::Off && most > 0,
    };
    // Thoughts count against the limit, but at least a word is left for the answer.
    if question.thinks {
        let thought = Speech::of(&question, &directives, 0).thought_tokens();
        question.tokens_max = question.tokens_max.map(|most| most.saturating_sub(thought).max(1));
    }
    let said = Speech::of(&question, &directives, call.tokens);
    let frame = frame(body, &rules, &conversation, prompt_tokens, &directives);
    let told = answer::told(&said, &frame, stream);
    Ok(work(prompt_tokens, directives, told))
}

fn frame<'a>(
    body: &'a Value,
    rules: &'a Rules,
    conversation: &Conversation,
    prompt_tokens: u32,
    directives: &Directives,
) -> answer::Frame<'a> {
    let Caps { silent, .. } = rules.caps;
    let cached = directives.cached.min(prompt_tokens);
    answer::Frame {
        model: body["model"].as_str().unwrap_or_default(),
        seed: conversation.digest,
        purpose: &rules.purpose,
        shows_thoughts: match body["thinking"]["display"].as_str() {
            Some(display) => display == "summarized",
            None => !silent,
        },
        prompt_tokens,
        cached,
        written: directives.written.min(prompt_tokens - cached),
        long_cache: body.to_string().contains(r#""ttl":"1h""#),
        tier: "standard",
    }
}

/// Directives of the caller's own name for its user, else of the last user turn.
fn directives(body: &Value, last_user: &str) -> Result<Directives, Denial> {
    let user = body["metadata"]["user_id"].as_str().unwrap_or_default();
    Directives::first_of(&[user, last_user]).map_err(|reason| invalid(&format!("sim: {reason}")))
}

/// The id of a request, in its head and in errors.
pub(super) fn request_id(site: &Site, sequence: u64) -> String {
    format!("req_011C{:012x}{sequence:08x}", site.seed)
}

/// The fields of every answer.
pub(super) fn head(out: &mut Vec<u8>, site: &Site, sequence: u64) {
    let _ = write!(out, "request-id: {}\r\nanthropic-organization-id: {}\r\n", request_id(site, sequence), site.name,);
}

/// Bytes that are not HTTP.
pub(super) fn malformed(reason: &str) -> Denial {
    invalid(&format!("Bad request: {reason}"))
}
