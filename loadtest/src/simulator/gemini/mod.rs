//! Gemini's surface: content in both stream forms, token counts, embeddings and models, refused and answered as the real
//! service does.
//!
//! Shapes and words: Gemini API reference and the official client (read 2026-11). Calls are signed, so a gateway that loses
//! or bends a signature on the way back is refused.

mod answer;
mod conversation;
mod limits;
mod models;
mod refusal;
mod tables;

pub(super) use refusal::{failure, quota};

use super::fault::Directives;
use super::plan::{Question, Speech};
use super::shape::{Shape, Spelling};
use super::surface::{Asked, Call, Denial, Script, Seen, Told, Work, bearer};
use super::text::{digest_value, mix, numbers, vector};
use super::wire::Head;
use answer::{Form, Frame};
use models::{Caps, caps};
use refusal::invalid;
use serde_json::Value;

/// Whether a path is one of Gemini's; the list of models under `/v1` is shared with others and goes by the key's field.
pub(super) fn claims(head: &Head) -> bool {
    let Some((version, rest)) = split(head.path()) else { return false };
    version == "v1beta" || rest.contains(':') || head.field("x-goog-api-key").is_some()
}

/// The version and what follows `models` in a path: nothing, or `/model:verb`.
fn split(path: &str) -> Option<(&str, &str)> {
    let (version, rest) = path.strip_prefix('/')?.split_once('/')?;
    let rest = rest.strip_prefix("models")?;
    (matches!(version, "v1" | "v1beta") && (rest.is_empty() || rest.starts_with('/'))).then_some((version, rest))
}

/// The key in its own field, or in the query.
pub(super) fn key(head: &Head) -> Option<&str> {
    head.field("x-goog-api-key").map(str::trim).or_else(|| query(head, "key"))
}

fn query<'a>(head: &'a Head, name: &str) -> Option<&'a str> {
    let (_, query) = head.target.split_once('?')?;
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// Decides what a request asks for: key, path, model, body.
pub(super) fn read(call: &Call<'_>, seen: &mut Seen) -> Result<Asked, Denial> {
    let (site, head) = (call.site, call.head);
    let body = call.object();
    let at = split(head.path());
    let (model, verb) = at.and_then(|(_, rest)| rest.strip_prefix('/')).and_then(|rest| rest.rsplit_once(':')).unzip();
    seen.model = model.map(str::to_owned);
    seen.stream = verb == Some("streamGenerateContent");
    if query(head, "key").is_some() {
        call.truth().violate(call.connection, "key-in-url", head.path());
    }
    if call.key.is_empty() {
        return Err(if bearer(head).is_some() { refusal::bearer_key() } else { refusal::missing_key() });
    }
    if !call.key_accepted {
        return Err(refusal::unknown_key());
    }
    let unknown = || refusal::unknown_path(head.path());
    let (version, rest) = at.ok_or_else(unknown)?;
    if head.method == "GET" {
        return match rest.strip_prefix('/') {
            None => Ok(Asked::Ready(models::list(&site.models))),
            Some(name) if site.knows_model(name) => Ok(Asked::Ready(models::entry(name))),
            Some(name) => Err(refusal::unknown_model(name, version, "GetModel")),
        };
    }
    let (Some(model), Some(verb), "POST") = (model, verb, head.method.as_str()) else { return Err(unknown()) };
    let caps = caps(model);
    let embeds = match verb {
        "generateContent" | "streamGenerateContent" | "countTokens" => false,
        "embedContent" | "batchEmbedContents" => true,
        _ => return Err(unknown()),
    };
    if !site.knows_model(model) || caps.embeds != embeds {
        return Err(refusal::unknown_model(model, version, verb));
    }
    let Some(body) = body.filter(|_| call.says_json()) else {
        return Err(invalid("Invalid JSON payload received. Unexpected end of string. Expected a value.\n"));
    };
    match verb {
        "embedContent" => embed(model, &fit(&tables::EMBED, &body)?, false),
        "batchEmbedContents" => embed(model, &fit(&tables::EMBED_BATCH, &body)?, true),
        "countTokens" => count(model, &fit(&tables::COUNT, &body)?, caps),
        _ => generate(call, model, &fit(&tables::GENERATE, &body)?, caps, seen.stream),
    }
}

fn fit(table: &'static Shape, body: &Value) -> Result<Value, Denial> {
    table.check(body, Spelling::Either).map_err(|found| refusal::breach(&found))
}

fn work(model: &str, stream: bool, prompt_tokens: u32, directives: Directives, told: Told) -> Asked {
    let script = Script::Told(told);
    Asked::Work(Box::new(Work { model: model.to_owned(), stream, prompt_tokens, directives, script }))
}

fn tokens(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(4)).unwrap_or(u32::MAX).max(1)
}

fn directives(text: &str) -> Result<Directives, Denial> {
    Directives::first_of(&[text]).map_err(|reason| invalid(&format!("sim: {reason}")))
}

fn generate(call: &Call<'_>, model: &str, body: &Value, caps: Caps, stream: bool) -> Result<Asked, Denial> {
    let config = &body["generationConfig"];
    let conversation = conversation::check(body, caps)?;
    limits::check_config(config, caps, model, stream)?;
    let tools = limits::tools(body)?;
    let choice = limits::choice(body, &tools)?;
    let format = limits::format(config, &tools, caps)?;
    let (thinks, shows_thoughts) = limits::thinking(config, caps);
    let directives = directives(&conversation.last_user)?;
    let most = config["maxOutputTokens"].as_u64().map(|most| u32::try_from(most).unwrap_or(u32::MAX));
    let mut question = Question {
        seed: conversation.digest,
        last_user: &conversation.last_user,
        after_tool: conversation.after_tool,
        tools,
        choice,
        parallel: true,
        format,
        tokens_max: most,
        stops: config["stopSequences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
        thinks,
    };
    // Thoughts count against the limit: a small one leaves no room for text.
    let thought = Speech::of(&question, &directives, 0).thought_tokens();
    question.tokens_max = most.map(|most| most.saturating_sub(if thinks { thought } else { 0 }));
    let count = config["candidateCount"].as_u64().unwrap_or(1);
    let mut candidates = Vec::new();
    for number in 0..count {
        let seed = if number == 0 { conversation.digest } else { mix(conversation.digest, number) };
        question.seed = seed;
        candidates.push(Speech::of(&question, &directives, call.tokens));
    }
    if directives.block {
        candidates = vec![Speech::default()];
    }
    let prompt_tokens = tokens(conversation.text_bytes);
    let frame = Frame {
        model,
        seed: conversation.digest,
        prompt_tokens,
        cached: directives.cached.min(prompt_tokens),
        shows_thoughts,
        signs: caps.signs,
        blocked: directives.block,
    };
    let form = match (stream, query(call.head, "alt")) {
        (false, _) => Form::Whole,
        (true, Some("sse")) => Form::Events,
        (true, _) => Form::List,
    };
    let told = answer::told(&candidates, &frame, form);
    Ok(work(model, stream, prompt_tokens, directives, told))
}

fn count(model: &str, body: &Value, caps: Caps) -> Result<Asked, Denial> {
    let inner = body.get("generateContentRequest");
    if inner.is_some() && body.get("contents").is_some() {
        return Err(invalid("Exactly one of contents and generate_content_request must be set."));
    }
    let conversation = conversation::check(inner.unwrap_or(body), caps)?;
    let total = tokens(conversation.text_bytes);
    let text =
        format!(r#"{{"totalTokens":{total},"promptTokensDetails":[{{"modality":"TEXT","tokenCount":{total}}}]}}"#);
    Ok(work(model, false, 0, directives(&conversation.last_user)?, Told::json(text, 0)))
}

/// One vector, or one for each request of a batch.
fn embed(model: &str, body: &Value, batch: bool) -> Result<Asked, Denial> {
    let one = std::slice::from_ref(body);
    let requests = if batch { body["requests"].as_array().map_or(&[][..], Vec::as_slice) } else { one };
    if requests.is_empty() {
        return Err(invalid("* BatchEmbedContentsRequest.requests: must not be empty\n"));
    }
    let mut vectors = Vec::new();
    let mut bytes = 0;
    for (position, request) in requests.iter().enumerate() {
        let named = request["model"].as_str();
        if named.map_or(batch, |named| named.strip_prefix("models/") != Some(model)) {
            return Err(invalid(&format!(
                "* BatchEmbedContentsRequest.requests[{position}].model: must be models/{model}\n"
            )));
        }
        conversation::check_parts("content", &request["content"])?;
        bytes += conversation::content_bytes(&request["content"]);
        let dimensions = request["outputDimensionality"].as_u64().unwrap_or(3072) as usize;
        vectors.push(format!(
            r#"{{"values":{}}}"#,
            numbers(&vector(digest_value(&request["content"]["parts"]), dimensions))
        ));
    }
    let text = match batch {
        true => format!(r#"{{"embeddings":[{}]}}"#, vectors.join(",")),
        false => format!(r#"{{"embedding":{}}}"#, vectors.concat()),
    };
    let asked = requests[0]["content"]["parts"][0]["text"].as_str().unwrap_or_default();
    Ok(work(model, false, tokens(bytes), directives(asked)?, Told::json(text, 0)))
}

/// Bytes that are not HTTP.
pub(super) fn malformed(reason: &str) -> Denial {
    invalid(&format!("Bad request: {reason}"))
}
