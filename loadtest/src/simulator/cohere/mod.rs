//! Cohere's own surface, version 2: chat, vectors and the order of documents.

mod chat;
mod refusal;
mod tables;

pub(super) use refusal::{failure, invalid, quota};

use super::Site;
use super::fault::Directives;
use super::plan::Speech;
use super::seal::base64;
use super::shape::{Shape, Spelling};
use super::surface::{Asked, Call, Denial, Script, Seen, Told, Work};
use super::text::{digest, digest_value, mix, numbers, quote, vector};
use super::wire::Head;
use refusal::denial;
use serde_json::Value;
use std::io::Write as _;

/// Whether a path is one of Cohere's.
pub(super) fn claims(head: &Head) -> bool {
    matches!(head.path(), "/v2/chat" | "/v2/embed" | "/v2/rerank")
}

/// Decides what a request asks for: path, key, body, model.
pub(super) fn read(call: &Call<'_>, seen: &mut Seen) -> Result<Asked, Denial> {
    let (site, head) = (call.site, call.head);
    let body = call.object();
    if let Some(body) = &body {
        seen.model = body["model"].as_str().map(str::to_owned);
        seen.stream = body["stream"] == true;
    }
    if call.key.is_empty() {
        return Err(denial(401, "no api key supplied"));
    }
    if !call.key_accepted {
        return Err(denial(401, "invalid api token"));
    }
    let table: &'static Shape = match (head.method.as_str(), head.path()) {
        ("POST", "/v2/chat") => &tables::CHAT,
        ("POST", "/v2/embed") => &tables::EMBED,
        ("POST", "/v2/rerank") => &tables::RERANK,
        ("GET", "/v1/models") => return Ok(Asked::Ready(models(&site.models))),
        (method, path) => return Err(denial(404, &format!("{method} {path} not found"))),
    };
    let body = body.filter(|_| call.says_json()).ok_or_else(|| invalid("the body must be valid JSON"))?;
    let body = table.check(&body, Spelling::Exact).map_err(|found| refusal::breach(&found))?;
    let model = body["model"].as_str().unwrap_or_default();
    if !site.knows_model(model) {
        return Err(refusal::unknown_model(model));
    }
    let refused = || invalid(&format!("model '{model}' is not supported by this endpoint"));
    match head.path() {
        "/v2/chat" if model.starts_with("embed") || model.starts_with("rerank") => Err(refused()),
        "/v2/chat" => converse(call, &body),
        "/v2/embed" if !model.contains("embed") => Err(refused()),
        "/v2/embed" => embed(&body),
        _ if !model.contains("rerank") => Err(refused()),
        _ => rerank(&body),
    }
}

fn work(body: &Value, stream: bool, prompt_tokens: u32, directives: Directives, told: Told) -> Asked {
    let model = body["model"].as_str().unwrap_or_default().to_owned();
    Asked::Work(Box::new(Work { model, stream, prompt_tokens, directives, script: Script::Told(told) }))
}

fn tokens(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(4)).unwrap_or(u32::MAX).max(1)
}

fn directives(text: &str) -> Result<Directives, Denial> {
    Directives::first_of(&[text]).map_err(|reason| invalid(&format!("sim: {reason}")))
}

fn converse(call: &Call<'_>, body: &Value) -> Result<Asked, Denial> {
    let conversation = chat::check(body)?;
    let mut question = chat::question(body, &conversation)?;
    let directives = directives(&conversation.last_user)?;
    let thought = Speech::of(&question, &directives, 0).thought_tokens();
    question.tokens_max =
        question.tokens_max.map(|most| most.saturating_sub(if question.thinks { thought } else { 0 }));
    let said = Speech::of(&question, &directives, call.tokens);
    let prompt_tokens = tokens(conversation.text_bytes);
    let stream = body["stream"] == true;
    let cached = directives.cached.min(prompt_tokens);
    let told = chat::told(&said, conversation.digest, prompt_tokens, cached, stream);
    Ok(work(body, stream, prompt_tokens, directives, told))
}

/// Texts at most in one request.
const TEXTS_MAX: usize = 96;

fn embed(body: &Value) -> Result<Asked, Denial> {
    let given: Vec<_> = ["texts", "images", "inputs"].into_iter().filter(|name| body.get(*name).is_some()).collect();
    let [name] = given[..] else {
        return Err(invalid("exactly one of texts, images and inputs must be specified"));
    };
    let inputs = body[name].as_array().map_or(&[][..], Vec::as_slice);
    if inputs.is_empty() || inputs.len() > TEXTS_MAX {
        return Err(invalid(&format!("{name} must have between 1 and {TEXTS_MAX} items, got {}", inputs.len())));
    }
    let dimensions = body["output_dimension"].as_u64().unwrap_or(1536);
    if ![256, 512, 1024, 1536].contains(&dimensions) {
        return Err(invalid("output_dimension must be one of 256, 512, 1024 and 1536"));
    }
    let vectors: Vec<_> = inputs.iter().map(|input| vector(digest_value(input), dimensions as usize)).collect();
    let wanted = body["embedding_types"]
        .as_array()
        .map_or_else(|| vec!["float"], |all| all.iter().filter_map(Value::as_str).collect());
    let shown: Vec<_> = wanted
        .iter()
        .map(|kind| {
            let all: Vec<_> = vectors.iter().map(|vector| coded(vector, kind)).collect();
            format!(r#""{kind}":[{}]"#, all.join(","))
        })
        .collect();
    let texts = if name == "texts" { format!(r#""texts":{},"#, body["texts"]) } else { String::new() };
    let bytes: usize =
        inputs.iter().map(|input| input.as_str().map_or_else(|| input.to_string().len(), str::len)).sum();
    let (id, count) = (chat::uuid(digest_value(&body[name])), tokens(bytes));
    let text = format!(
        r#"{{"id":"{id}","embeddings":{{{}}},{texts}"meta":{{"api_version":{{"version":"2"}},"billed_units":{{"input_tokens":{count}}}}},"response_type":"embeddings_by_type"}}"#,
        shown.join(",")
    );
    let directives = directives(inputs[0].as_str().unwrap_or_default())?;
    Ok(work(body, false, count, directives, Told::json(text, 0)))
}

/// A vector in one of the types it may have.
fn coded(vector: &[f32], kind: &str) -> String {
    let bits = |offset: i16| {
        let byte = |eight: &[f32]| eight.iter().fold(0_i16, |byte, part| byte << 1 | i16::from(*part > 0.0)) - offset;
        let bytes: Vec<_> = vector.chunks(8).map(|eight| byte(eight).to_string()).collect();
        format!("[{}]", bytes.join(","))
    };
    let whole = |shift: f32| {
        let parts: Vec<_> = vector.iter().map(|part| ((part * 127.0).round() + shift).to_string()).collect();
        format!("[{}]", parts.join(","))
    };
    match kind {
        "int8" => whole(0.0),
        "uint8" => whole(128.0),
        "binary" => bits(128),
        "ubinary" => bits(0),
        "base64" => quote(&base64(&vector.iter().flat_map(|part| part.to_le_bytes()).collect::<Vec<_>>())),
        _ => numbers(vector),
    }
}

/// Documents that share more words with the query come first.
fn rerank(body: &Value) -> Result<Asked, Denial> {
    let documents = body["documents"].as_array().map_or(&[][..], Vec::as_slice);
    if documents.is_empty() || documents.len() > 1000 {
        return Err(invalid("documents must have between 1 and 1000 items"));
    }
    let query = body["query"].as_str().unwrap_or_default();
    let words: Vec<_> = query.split_whitespace().map(str::to_lowercase).collect();
    let score = |document: &str| {
        let lower = document.to_lowercase();
        let shared = words.iter().filter(|word| lower.contains(word.as_str())).count();
        let noise = (mix(digest(query.as_bytes()), digest(document.as_bytes())) % 1000) as f64 / 1e5;
        (0.98 * shared as f64 / words.len().max(1) as f64 + noise).min(0.999)
    };
    let mut scored: Vec<_> =
        documents.iter().map(|text| score(text.as_str().unwrap_or_default())).enumerate().collect();
    scored.sort_by(|(_, first), (_, second)| second.total_cmp(first));
    scored.truncate(body["top_n"].as_u64().map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX)));
    let results: Vec<_> =
        scored.iter().map(|(index, score)| format!(r#"{{"index":{index},"relevance_score":{score:.6}}}"#)).collect();
    let units = documents.len().div_ceil(100);
    let text = format!(
        r#"{{"id":"{}","results":[{}],"meta":{{"api_version":{{"version":"2"}},"billed_units":{{"search_units":{units}}}}}}}"#,
        chat::uuid(digest_value(&body["query"])),
        results.join(",")
    );
    Ok(work(body, false, 0, directives(query)?, Told::json(text, 0)))
}

fn models(names: &[String]) -> String {
    let entry = |name: &String| {
        let endpoint = ["embed", "rerank"].into_iter().find(|word| name.contains(word)).unwrap_or("chat");
        format!(r#"{{"name":{},"endpoints":["{endpoint}"],"finetuned":false,"context_length":128000}}"#, quote(name))
    };
    format!(r#"{{"models":[{}]}}"#, names.iter().map(entry).collect::<Vec<_>>().join(","))
}

/// The id of a request, in its head and in errors.
pub(super) fn request_id(site: &Site, sequence: u64) -> String {
    chat::uuid(mix(site.seed, sequence))
}

/// The fields of every answer.
pub(super) fn head(out: &mut Vec<u8>, site: &Site, sequence: u64) {
    let _ = write!(
        out,
        "x-debug-trace-id: {}\r\nx-endpoint-monthly-call-limit: 1000\r\nx-trial-endpoint-call-limit: 40\r\n\
         x-trial-endpoint-call-remaining: 39\r\n",
        request_id(site, sequence)
    );
}
