//! OpenAI's surface: chat completions, responses, the work of smaller models, files and batches, refused and answered as
//! the real service does.
//!
//! Shapes and words: OpenAI API reference and its official clients (read 2026-11).

mod answer;
mod audio;
mod breach;
mod chat;
mod files;
mod messages;
mod nested;
pub(super) mod realtime;
mod refusal;
mod reply;
mod responses;
mod work;

pub use answer::Answer;
pub use chat::{Body, ChatRequest, Reply};
pub use refusal::Refusal;

use super::Site;
use super::quota::{FOR_EVER, Level};
use super::surface::{Asked, Call, Denial, Script, Seen, Surface, Work};
use super::text::{decimal, hexadecimal};
use std::time::Duration;

/// Decides what a request asks for, in the order in which the real service refuses: path, key, body, model.
pub(super) fn read(call: &Call<'_>, seen: &mut Seen) -> Result<Asked, Denial> {
    let body = body_of(call, seen);
    let (site, head) = (call.site, call.head);
    let path = site.prefixes.iter().find_map(|prefix| head.path().strip_prefix(prefix.as_str()));
    let path = path.ok_or_else(|| Refusal::unknown_path(&head.method, head.path()))?;
    if call.key.is_empty() {
        return Err(Refusal::missing_key().into());
    }
    if !call.key_accepted {
        return Err(Refusal::unknown_key(call.key).into());
    }
    serve(call, path, body.as_ref(), false).map_err(Denial::from)
}

/// The body as chat completions read it, and what the record needs to know of it.
pub(super) fn body_of(call: &Call<'_>, seen: &mut Seen) -> Option<Result<Body, Refusal>> {
    let mut body = (!call.body.is_empty()).then(|| Body::parse(call.body));
    if let Some(Ok(body)) = &mut body {
        if let Some(model) = call.model {
            body.name_model(model);
        }
        seen.stream = body.truth("stream");
        seen.model = body.model().map(str::to_owned);
    }
    seen.model = seen.model.take().or_else(|| call.model.map(str::to_owned));
    body
}

/// Serves a path below the prefix for a caller who has shown a key; `filtered`: with the remarks of a content filter.
pub(super) fn serve(
    call: &Call<'_>,
    path: &str,
    body: Option<&Result<Body, Refusal>>,
    filtered: bool,
) -> Result<Asked, Refusal> {
    let (site, head) = (call.site, call.head);
    match (head.method.as_str(), path) {
        ("POST", "/chat/completions") => read_chat(call, body, filtered),
        ("POST", "/embeddings") => work::embeddings(call, &json_body(call)?),
        (method, path) if call.surface != Surface::Compatible && is_own(path) => own(call, method, path),
        ("GET", "/models") => Ok(Asked::Ready(answer::models(&site.models))),
        ("GET", path) => match path.strip_prefix("/models/") {
            Some(name) if site.knows_model(name) => Ok(Asked::Ready(answer::model(name))),
            Some(name) => Err(Refusal::unknown_model(name)),
            None => Err(Refusal::unknown_path(&head.method, head.path())),
        },
        _ => Err(Refusal::unknown_path(&head.method, head.path())),
    }
}

/// Whether a path is one that few besides OpenAI itself serve.
fn is_own(path: &str) -> bool {
    let known = ["responses", "realtime", "completions", "moderations", "images", "audio", "files", "batches"];
    path.split('/').nth(1).is_some_and(|first| known.contains(&first))
}

fn own(call: &Call<'_>, method: &str, path: &str) -> Result<Asked, Refusal> {
    let steps: Vec<_> = path.split('/').skip(1).collect();
    match (method, &steps[..]) {
        ("POST", ["responses"]) => responses::create(call, &json_body(call)?, false),
        ("POST", ["responses", "input_tokens"]) => responses::create(call, &json_body(call)?, true),
        ("GET" | "DELETE", ["responses", id]) => responses::kept(call, id, method == "DELETE"),
        ("GET", ["realtime"]) => realtime::open(call).map(|opening| Asked::Socket(Box::new(opening))),
        ("POST", ["completions"]) => work::completions(call, &json_body(call)?),
        ("POST", ["moderations"]) => work::moderations(call, &json_body(call)?),
        ("POST", ["images", "generations"]) => work::images(call, &json_body(call)?),
        ("POST", ["audio", "speech"]) => audio::speech(call, &json_body(call)?),
        ("POST", ["audio", "transcriptions" | "translations"]) => audio::transcriptions(call),
        ("POST", ["files"]) => files::upload(call),
        ("GET", ["files"]) => Ok(files::list(call, "file-")),
        ("GET", ["files", id]) => files::show(call, id),
        ("GET", ["files", id, "content"]) => files::content(call, id),
        ("DELETE", ["files", id]) => files::delete(call, id),
        ("POST", ["batches"]) => files::batch(call, &json_body(call)?),
        ("GET", ["batches"]) => Ok(files::list(call, "batch_")),
        ("GET", ["batches", id]) => files::look(call, id),
        ("POST", ["batches", id, "cancel"]) => files::cancel(call, id),
        _ => Err(Refusal::unknown_path(method, call.head.path())),
    }
}

/// The body of a request that must be a JSON object.
fn json_body(call: &Call<'_>) -> Result<serde_json::Value, Refusal> {
    match call.object().filter(|_| call.says_json()) {
        Some(mut body) => {
            if let Some(model) = call.model {
                body["model"] = model.into();
            }
            Ok(body)
        }
        None if call.body.is_empty() || !call.says_json() => {
            Err(Refusal::invalid(None, "", "you must provide a model parameter"))
        }
        None => Err(Refusal::not_json()),
    }
}

fn read_chat(call: &Call<'_>, body: Option<&Result<Body, Refusal>>, filtered: bool) -> Result<Asked, Refusal> {
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
    if filtered && chat.directives.block {
        let message = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. \
                       Please modify your prompt and retry.";
        return Err(Refusal::invalid(Some("content_filter"), "prompt", message));
    }
    Ok(Asked::Work(Box::new(Work {
        model: chat.model.clone(),
        stream: chat.stream,
        prompt_tokens: chat.prompt_tokens,
        directives: chat.directives.clone(),
        script: Script::Chat(Box::new(Answer::owned(chat, call.tokens).filtered(filtered))),
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

/// The 429 of a key that has used up its tokens of a minute.
pub(super) fn out_of_tokens(name: &str, model: &str, level: &Level, asked: u32) -> String {
    let (limit, used) = (level.limit, level.limit - level.remaining);
    let wait = level.wait.filter(|wait| *wait != FOR_EVER);
    let remedy = match wait {
        Some(wait) => format!("Please try again in {}ms.", wait.as_millis() + 1),
        None => "The request is too large for this limit.".to_owned(),
    };
    let message = format!(
        "Rate limit reached for {model} in organization {name} on tokens per min (TPM): Limit {limit}, Used {used}, \
         Requested {asked}. {remedy}"
    );
    Refusal { message, kind: "tokens", ..Refusal::for_status(429) }.body()
}

/// The id of a request.
pub(super) fn request_id(site: &Site, sequence: u64) -> String {
    let mut out = Vec::with_capacity(32);
    write_request_id(site, sequence, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn write_request_id(site: &Site, sequence: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"req_");
    hexadecimal(site.seed, 16, out);
    hexadecimal(sequence, 8, out);
}

/// The fields of every answer.
pub(super) fn head(out: &mut Vec<u8>, site: &Site, sequence: u64, took: Duration) {
    out.extend_from_slice(b"x-request-id: ");
    write_request_id(site, sequence, out);
    out.extend_from_slice(b"\r\nopenai-version: 2020-10-01\r\nopenai-organization: ");
    out.extend_from_slice(site.name.as_bytes());
    out.extend_from_slice(b"\r\nopenai-processing-ms: ");
    decimal(u64::try_from(took.as_millis()).unwrap_or(u64::MAX), out);
    out.extend_from_slice(b"\r\n");
}
