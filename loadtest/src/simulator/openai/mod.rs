//! OpenAI's surface: chat completions, responses and models, refused and answered as the real service does.
//!
//! Shapes and words: OpenAI API reference and its official clients (read 2026-11).

mod answer;
mod breach;
mod chat;
mod messages;
mod refusal;
mod reply;
mod responses;

pub use answer::Answer;
pub use chat::{Body, ChatRequest, Reply};
pub use refusal::Refusal;

use super::Site;
use super::surface::{Asked, Call, Denial, Script, Seen, Surface, Work};
use std::io::Write as _;
use std::time::Duration;

/// Decides what a request asks for, in the order in which the real service refuses: key, path, body, model.
pub(super) fn read(call: &Call<'_>, seen: &mut Seen) -> Result<Asked, Denial> {
    let body = (!call.body.is_empty()).then(|| Body::parse(call.body));
    if let Some(Ok(body)) = &body {
        seen.model = body.model().map(str::to_owned);
        seen.stream = body.truth("stream");
    }
    route(call, body.as_ref()).map_err(Denial::from)
}

fn route(call: &Call<'_>, body: Option<&Result<Body, Refusal>>) -> Result<Asked, Refusal> {
    let (site, head) = (call.site, call.head);
    let unknown = || Refusal::unknown_path(&head.method, head.path());
    let path = site.prefixes.iter().find_map(|prefix| head.path().strip_prefix(prefix.as_str()));
    let path = path.ok_or_else(unknown)?;
    if call.key.is_empty() {
        return Err(Refusal::missing_key());
    }
    if !site.knows_key(call.key) {
        return Err(Refusal::unknown_key(call.key));
    }
    match (head.method.as_str(), path) {
        ("POST", "/chat/completions") => read_chat(call, body),
        (method, path) if call.surface != Surface::Compatible && is_own(path) => own(call, method, path),
        ("GET", "/models") => Ok(Asked::Ready(answer::models(&site.models))),
        ("GET", path) => match path.strip_prefix("/models/") {
            Some(name) if site.knows_model(name) => Ok(Asked::Ready(answer::model(name))),
            Some(name) => Err(Refusal::unknown_model(name)),
            None => Err(unknown()),
        },
        _ => Err(unknown()),
    }
}

/// Whether a path is one that few besides OpenAI itself serve.
fn is_own(path: &str) -> bool {
    path.split('/').nth(1) == Some("responses")
}

fn own(call: &Call<'_>, method: &str, path: &str) -> Result<Asked, Refusal> {
    let unknown = || Refusal::unknown_path(method, call.head.path());
    let steps: Vec<_> = path.split('/').skip(1).collect();
    match (method, &steps[..]) {
        ("POST", ["responses"]) => responses::create(call, &json_body(call)?, false),
        ("POST", ["responses", "input_tokens"]) => responses::create(call, &json_body(call)?, true),
        ("GET" | "DELETE", ["responses", id]) => responses::kept(call, id, method == "DELETE"),
        _ => Err(unknown()),
    }
}

/// The body of a request that must be a JSON object.
fn json_body(call: &Call<'_>) -> Result<serde_json::Value, Refusal> {
    match call.object().filter(|_| call.says_json()) {
        Some(body) => Ok(body),
        None if call.body.is_empty() || !call.says_json() => {
            Err(Refusal::invalid(None, "", "you must provide a model parameter"))
        }
        None => Err(Refusal::not_json()),
    }
}

fn read_chat(call: &Call<'_>, body: Option<&Result<Body, Refusal>>) -> Result<Asked, Refusal> {
    let body = match body {
        Some(parsed) if call.says_json() => parsed.as_ref(),
        _ => return Err(Refusal::invalid(None, "", "you must provide a model parameter")),
    };
    let body = body.map_err(Clone::clone)?;
    for (rule, detail) in body.violations() {
        call.truth().violate(call.connection, rule, detail);
    }
    let chat = body.check()?;
    if !call.site.knows_model(&chat.model) {
        return Err(Refusal::unknown_model(&chat.model));
    }
    if chat::Model::of(&chat.model).responses_only {
        let message = "This model is only supported in v1/responses and not in v1/chat/completions.";
        return Err(Refusal { status: 404, ..Refusal::invalid(None, "model", message) });
    }
    Ok(Asked::Work(Box::new(Work {
        model: chat.model.clone(),
        stream: chat.stream,
        prompt_tokens: chat.prompt_tokens,
        directives: chat.directives.clone(),
        script: Script::Chat(Answer::owned(chat, call.tokens)),
    })))
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.status, refusal.body())
    }
}

/// A bare status in OpenAI's words; the wait is told twice, in seconds and in milliseconds.
pub(super) fn failure(status: u16, retry_after: Option<Duration>) -> Denial {
    let mut denial = Denial::from(Refusal::for_status(status)).retry_after(retry_after);
    denial.fields.extend(retry_after.map(|wait| format!("retry-after-ms: {}", wait.as_millis())));
    denial
}

/// The 429 that no waiting cures.
pub(super) fn quota() -> Denial {
    let body = concat!(
        r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","#,
        r#""type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#
    );
    Denial::new(429, body)
}

/// The id of a request.
pub(super) fn request_id(site: &Site, sequence: u64) -> String {
    format!("req_{:016x}{sequence:08x}", site.seed)
}

/// The fields of every answer.
pub(super) fn head(out: &mut Vec<u8>, site: &Site, sequence: u64, took: Duration) {
    let _ = write!(
        out,
        "x-request-id: {}\r\nopenai-version: 2020-10-01\r\nopenai-organization: {}\r\n\
         openai-processing-ms: {}\r\nx-ratelimit-limit-requests: 10000\r\nx-ratelimit-remaining-requests: 9999\r\n\
         x-ratelimit-reset-requests: 6ms\r\n",
        request_id(site, sequence),
        site.name,
        took.as_millis(),
    );
}
