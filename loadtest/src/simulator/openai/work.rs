//! The work of models that do one thing: completions, vectors, moderation, images.
//!
//! Shapes: OpenAI API reference and its official clients (read 2026-11). Every answer is a pure function of its request.

use super::Refusal;
use super::breach::fit;
use super::chat::Model;
use crate::simulator::fault::Directives;
use crate::simulator::plan::{Choice, Ending, Format, Question, Speech};
use crate::simulator::seal::base64;
use crate::simulator::shape::{Shape, must, null};
use crate::simulator::surface::{Asked, Call, Script, Told, Work};
use crate::simulator::text::{alphanumeric, digest_value, mix, numbers, quote, vector};
use serde_json::Value;
use std::fmt::Write as _;

/// Work of one model, or its refusal where nobody has that model.
pub(super) fn work(
    call: &Call<'_>,
    model: &str,
    stream: bool,
    prompt_tokens: u32,
    directives: Directives,
    told: Told,
) -> Result<Asked, Refusal> {
    if !call.site.knows_model(model) {
        return Err(Refusal::unknown_model(model));
    }
    let script = Script::Told(told);
    Ok(Asked::Work(Box::new(Work { model: model.to_owned(), stream, prompt_tokens, directives, script })))
}

/// Tokens of so many bytes.
pub(super) fn tokens(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(4)).unwrap_or(u32::MAX).max(1)
}

/// The directives of the first text that has any.
pub(super) fn directives(texts: &[&str]) -> Result<Directives, Refusal> {
    Directives::first_of(texts).map_err(|reason| Refusal::wrong_value("sim", reason))
}

fn id(start: &str, seed: u64) -> String {
    let mut id = String::from(start);
    alphanumeric(seed, 29, &mut id);
    id
}

/// A moment that belongs to a seed, in seconds since 1970.
pub(super) fn created(seed: u64) -> u64 {
    1_764_000_000 + seed % 8_640_000
}

// === Completions ===

static COMPLETIONS: Shape = Shape::Object(&[
    must("model", Shape::Text),
    must("prompt", Shape::Or(&Shape::Text, &Shape::List(&Shape::Any))),
    null("best_of", Shape::Integer(1, 20)),
    null("echo", Shape::Bool),
    null("frequency_penalty", Shape::Number(-2.0, 2.0)),
    null("logit_bias", Shape::Free),
    null("logprobs", Shape::Integer(0, 5)),
    null("max_tokens", Shape::Integer(0, u32::MAX as i64)),
    null("n", Shape::Integer(1, 128)),
    null("presence_penalty", Shape::Number(-2.0, 2.0)),
    null("seed", Shape::Integer(i64::MIN, i64::MAX)),
    null("stop", Shape::Or(&Shape::Text, &Shape::List(&Shape::Text))),
    null("stream", Shape::Bool),
    null(
        "stream_options",
        Shape::Object(&[null("include_usage", Shape::Bool), null("include_obfuscation", Shape::Bool)]),
    ),
    null("suffix", Shape::Text),
    null("temperature", Shape::Number(0.0, 2.0)),
    null("top_p", Shape::Number(0.0, 1.0)),
    null("user", Shape::Text),
]);

/// `POST /completions`.
pub(super) fn completions(call: &Call<'_>, body: &Value) -> Result<Asked, Refusal> {
    let body = &fit(&COMPLETIONS, body)?;
    let model = body["model"].as_str().unwrap_or_default();
    if Model::of(model).reasons || model.starts_with("gpt-4") {
        let message = "This is a chat model and not supported in the v1/completions endpoint. Did you mean to use \
                       v1/chat/completions?";
        return Err(Refusal { status: 404, ..Refusal::invalid(None, "model", message) });
    }
    let prompts = prompts(&body["prompt"]);
    let stream = body["stream"] == true;
    if body.get("stream_options").is_some() && !stream {
        let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(Refusal::invalid(None, "stream_options", message));
    }
    let first = prompts.first().and_then(|prompt| prompt.as_str()).unwrap_or_default();
    let directives = directives(&[body["user"].as_str().unwrap_or_default(), first])?;
    let seed = mix(digest_value(&body["prompt"]), digest_value(&body["seed"]));
    let stops = match &body["stop"] {
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
        word => word.as_str().into_iter().collect::<Vec<_>>(),
    };
    let count = body["n"].as_u64().unwrap_or(1);
    let speak = |number: u64| {
        let question = Question {
            seed: mix(seed, number),
            last_user: "",
            after_tool: false,
            tools: Vec::new(),
            choice: Choice::Never,
            parallel: false,
            format: Format::Words,
            tokens_max: Some(u32::try_from(body["max_tokens"].as_u64().unwrap_or(16)).unwrap_or(u32::MAX)),
            stops: stops.clone(),
            thinks: false,
        };
        Speech::of(&question, &directives, call.tokens)
    };
    let said: Vec<Speech> = (0..prompts.len() as u64 * count).map(speak).collect();
    let prompt_tokens = prompts.iter().map(|prompt| prompt_tokens(prompt)).sum();
    let completion_tokens: u32 = said.iter().map(Speech::spoken_tokens).sum();
    let usage = format!(
        r#"{{"prompt_tokens":{prompt_tokens},"completion_tokens":{completion_tokens},"total_tokens":{}}}"#,
        prompt_tokens + completion_tokens
    );
    let opening = format!(
        r#"{{"id":"{}","object":"text_completion","created":{},"model":{},"choices":["#,
        id("cmpl-", seed),
        created(seed),
        quote(model)
    );
    let told = if stream {
        let counts = body["stream_options"]["include_usage"] == true;
        told_stream(&said, &opening, counts.then_some(usage.as_str()), completion_tokens)
    } else {
        let choices: Vec<_> =
            said.iter().enumerate().map(|(at, said)| choice(at, &said.text.concat(), Some(said))).collect();
        Told::json(format!(r#"{opening}{}],"usage":{usage}}}"#, choices.join(",")), completion_tokens)
    };
    work(call, model, stream, prompt_tokens, directives, told)
}

/// One text, one list of tokens, or several of either.
fn prompts(prompt: &Value) -> Vec<&Value> {
    match prompt.as_array() {
        Some(list) if list.first().is_some_and(|first| !first.is_number()) => list.iter().collect(),
        _ => vec![prompt],
    }
}

fn prompt_tokens(prompt: &Value) -> u32 {
    prompt.as_array().map_or_else(|| tokens(prompt.as_str().map_or(0, str::len)), |list| list.len() as u32)
}

fn choice(index: usize, text: &str, ended: Option<&Speech>) -> String {
    let finish = match ended.map(|said| &said.ending) {
        None => "null",
        Some(Ending::Limit) => "\"length\"",
        Some(Ending::Blocked) => "\"content_filter\"",
        Some(_) => "\"stop\"",
    };
    format!(r#"{{"text":{},"index":{index},"logprobs":null,"finish_reason":{finish}}}"#, quote(text))
}

fn told_stream(said: &[Speech], opening: &str, usage: Option<&str>, completion_tokens: u32) -> Told {
    let mut events = Vec::new();
    let mut produced = 0;
    let tail = if usage.is_some() { r#"],"usage":null}"# } else { "]}" };
    for (index, said) in said.iter().enumerate() {
        for piece in &said.text {
            produced += 1;
            let chunk = choice(index, piece, None);
            events.push((format!("data: {opening}{chunk}{tail}\n\n").into_bytes(), produced));
        }
        let chunk = choice(index, "", Some(said));
        events.push((format!("data: {opening}{chunk}{tail}\n\n").into_bytes(), produced));
    }
    if let Some(usage) = usage {
        events.push((format!("data: {opening}],\"usage\":{usage}}}\n\n").into_bytes(), produced));
    }
    events.push((b"data: [DONE]\n\n".to_vec(), produced));
    Told {
        kind: "text/event-stream; charset=utf-8",
        events: events.into(),
        completion_tokens,
        broken: Some(|_| Refusal::for_status(500).event().into_bytes()),
        ..Told::default()
    }
}

// === Embeddings ===

static EMBEDDINGS: Shape = Shape::Object(&[
    must("model", Shape::Text),
    must("input", Shape::Or(&Shape::Text, &Shape::List(&Shape::Any))),
    null("encoding_format", Shape::OneOf(&["float", "base64"])),
    null("dimensions", Shape::Integer(1, 3072)),
    null("user", Shape::Text),
]);

/// `POST /embeddings`.
pub(super) fn embeddings(call: &Call<'_>, body: &Value) -> Result<Asked, Refusal> {
    let body = &fit(&EMBEDDINGS, body)?;
    let model = body["model"].as_str().unwrap_or_default();
    if !model.contains("embed") && call.site.knows_model(model) {
        let message = "You are not allowed to generate embeddings from this model";
        return Err(Refusal { status: 403, ..Refusal::invalid(None, "", message) });
    }
    if body.get("dimensions").is_some() && model.contains("ada-002") {
        return Err(Refusal::invalid(None, "dimensions", "This model does not support specifying dimensions."));
    }
    let inputs = prompts(&body["input"]);
    if inputs.len() > 2048 || body["input"].as_array().is_some_and(Vec::is_empty) {
        let message = "Invalid 'input': expected an array with between 1 and 2048 items.";
        return Err(Refusal::wrong_value("input", message));
    }
    let fits = |input: &&Value| match input {
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty() && list.iter().all(Value::is_u64),
        _ => false,
    };
    if let Some(wrong) = inputs.iter().position(|input| !fits(input)) {
        let name = if body["input"].is_array() { format!("input[{wrong}]") } else { "input".to_owned() };
        let message = format!("Invalid '{name}': expected a text that is not empty, or a list of tokens.");
        return Err(Refusal::wrong_value(&name, message));
    }
    let whole = if model.contains("large") { 3072 } else { 1536 };
    let dimensions = body["dimensions"].as_u64().map_or(whole, |wanted| wanted.min(whole));
    let coded = body["encoding_format"] == "base64";
    let mut data = String::new();
    for (index, input) in inputs.iter().enumerate() {
        let vector = vector(digest_value(input), dimensions as usize);
        let shown = match coded {
            true => format!("\"{}\"", base64(&vector.iter().flat_map(|part| part.to_le_bytes()).collect::<Vec<_>>())),
            false => numbers(&vector),
        };
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(data, r#"{comma}{{"object":"embedding","index":{index},"embedding":{shown}}}"#);
    }
    let count: u32 = inputs.iter().map(|input| prompt_tokens(input)).sum();
    let text = format!(
        r#"{{"object":"list","data":[{data}],"model":{},"usage":{{"prompt_tokens":{count},"total_tokens":{count}}}}}"#,
        quote(model)
    );
    let first = inputs[0].as_str().unwrap_or_default();
    let directives = directives(&[body["user"].as_str().unwrap_or_default(), first])?;
    work(call, model, false, count, directives, Told::json(text, 0))
}

// === Moderation ===

static MODERATIONS: Shape = Shape::Object(&[
    must("input", Shape::Or(&Shape::Text, &Shape::List(&Shape::Or(&Shape::Text, &MODERATED)))),
    null("model", Shape::Text),
]);
static MODERATED: Shape = Shape::Tagged(
    "type",
    &[
        ("text", &[must("text", Shape::Text)]),
        ("image_url", &[must("image_url", Shape::Object(&[must("url", Shape::Text)]))]),
    ],
);

const CATEGORIES: [&str; 13] = [
    "harassment",
    "harassment/threatening",
    "sexual",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm/intent",
    "self-harm/instructions",
    "self-harm",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

/// `POST /moderations`: a text that says "violence" is flagged for it.
pub(super) fn moderations(call: &Call<'_>, body: &Value) -> Result<Asked, Refusal> {
    let body = &fit(&MODERATIONS, body)?;
    let model = body["model"].as_str().unwrap_or("omni-moderation-latest");
    let parts = body["input"].as_array().is_some_and(|list| list.iter().any(Value::is_object));
    let inputs = if parts { vec![&body["input"]] } else { prompts(&body["input"]) };
    let mut results = Vec::new();
    for input in &inputs {
        let flagged = input.to_string().contains("violence");
        let seed = digest_value(input);
        let each = |show: &dyn Fn(usize, &str) -> String| {
            let all: Vec<_> =
                CATEGORIES.iter().enumerate().map(|(at, name)| format!(r#""{name}":{}"#, show(at, name))).collect();
            all.join(",")
        };
        let categories = each(&|_, name| (flagged && name == "violence").to_string());
        let scores = each(&|at, name| match flagged && name == "violence" {
            true => "0.97".to_owned(),
            false => format!("{:.6}", (mix(seed, at as u64) % 1000) as f64 / 1e6),
        });
        let applied = each(&|_, _| r#"["text"]"#.to_owned());
        results.push(format!(
            r#"{{"flagged":{flagged},"categories":{{{categories}}},"category_scores":{{{scores}}},"category_applied_input_types":{{{applied}}}}}"#
        ));
    }
    let text = format!(
        r#"{{"id":"{}","model":{},"results":[{}]}}"#,
        id("modr-", digest_value(&body["input"])),
        quote(model),
        results.join(",")
    );
    let directives = directives(&[inputs[0].as_str().unwrap_or_default()])?;
    if body.get("model").is_none() {
        // The provider's own default is there whatever models the simulator was given.
        let script = Script::Told(Told::json(text, 0));
        let work = Work { model: model.to_owned(), stream: false, prompt_tokens: 0, directives, script };
        return Ok(Asked::Work(Box::new(work)));
    }
    work(call, model, false, 0, directives, Told::json(text, 0))
}

// === Images ===

static IMAGES: Shape = Shape::Object(&[
    must("prompt", Shape::Ink),
    null("model", Shape::Text),
    null("n", Shape::Integer(1, 10)),
    null("quality", Shape::OneOf(&["standard", "hd", "low", "medium", "high", "auto"])),
    null("response_format", Shape::OneOf(&["url", "b64_json"])),
    null("size", Shape::Text),
    null("style", Shape::OneOf(&["vivid", "natural"])),
    null("background", Shape::OneOf(&["transparent", "opaque", "auto"])),
    null("moderation", Shape::OneOf(&["low", "auto"])),
    null("output_compression", Shape::Integer(0, 100)),
    null("output_format", Shape::OneOf(&["png", "jpeg", "webp"])),
    null("partial_images", Shape::Integer(0, 3)),
    null("stream", Shape::Bool),
    null("user", Shape::Text),
]);

/// A picture of one pixel, as PNG.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";
/// Tokens of one picture.
const PICTURE_TOKENS: u32 = 272;

/// `POST /images/generations`, without streams.
pub(super) fn images(call: &Call<'_>, body: &Value) -> Result<Asked, Refusal> {
    let body = &fit(&IMAGES, body)?;
    let model = body["model"].as_str().unwrap_or("gpt-image-1");
    let newer = !model.starts_with("dall-e");
    if newer && body.get("response_format").is_some() {
        return Err(Refusal::unknown_parameter("response_format"));
    }
    if body["stream"] == true {
        let message = "Unsupported parameter: 'stream' is not supported by this simulator.";
        return Err(Refusal::invalid(Some("unsupported_parameter"), "stream", message));
    }
    let prompt = body["prompt"].as_str().unwrap_or_default();
    let seed = digest_value(&body["prompt"]);
    let count = body["n"].as_u64().unwrap_or(1) as usize;
    let picture = match !newer && body["response_format"] != "b64_json" {
        true => format!(r#"{{"revised_prompt":{},"url":"https://images.invalid/{seed:016x}.png"}}"#, quote(prompt)),
        false => format!(r#"{{"b64_json":"{PIXEL}"}}"#),
    };
    let pictures = vec![picture; count].join(",");
    let (input, output) = (tokens(prompt.len()), PICTURE_TOKENS * count as u32);
    let usage = match newer {
        true => format!(
            r#","background":"opaque","output_format":"png","quality":"low","size":"1024x1024","usage":{{"input_tokens":{input},"input_tokens_details":{{"image_tokens":0,"text_tokens":{input}}},"output_tokens":{output},"total_tokens":{}}}"#,
            input + output
        ),
        false => String::new(),
    };
    let text = format!(r#"{{"created":{},"data":[{pictures}]{usage}}}"#, created(seed));
    let directives = directives(&[body["user"].as_str().unwrap_or_default(), prompt])?;
    let billed = if newer { output } else { 0 };
    work(call, model, false, input, directives, Told::json(text, billed))
}
