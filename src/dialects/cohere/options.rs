//! How Cohere draws, thinks and shapes its answer: figures within its bounds, and JSON by a schema where no tools are offered.

use super::write_request::Writing;
use crate::chat::request::{Effort, Format, Reasoning};
use crate::dialects::Aim;
use serde::Serialize;
use serde_json::{Map, Value};

/// Texts that may end an answer.
const STOPS_MAX: usize = 5;
/// Whole tokens to draw from, at most.
const TOP_K_MAX: u64 = 500;

/// The members of a request that are figures, switches or texts.
#[derive(Default, Serialize)]
pub(super) struct Options<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop_sequences: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_format: Option<ResponseFormat<'a>>,
}

/// Whether and how much to think.
#[derive(Serialize)]
pub(super) struct Thinking {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_budget: Option<u64>,
}

/// JSON, perhaps by a schema.
#[derive(Serialize)]
pub(super) struct ResponseFormat<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<&'a Map<String, Value>>,
}

/// The options of a request.
pub(super) fn options<'a>(writing: &mut Writing<'a>) -> Options<'a> {
    let (request, abilities) = (writing.request, writing.aim.abilities);
    let sampling = &request.sampling;
    let most = abilities.output_max.unwrap_or(u64::MAX);
    let max_tokens = request.output_max.map(|wanted| wanted.min(most));
    let thinking = thinking(writing, max_tokens);
    let mut options = Options {
        max_tokens,
        stop_sequences: request
            .stop
            .iter()
            .map(String::as_str)
            .filter(|stop| !stop.is_empty())
            .take(STOPS_MAX)
            .collect(),
        temperature: sampling.temperature.map(|temperature| temperature.max(0.0)),
        // Its bounds are open: 1 means the same as 0.99 to anyone but Cohere, which refuses it.
        p: sampling.top_p.map(|top_p| top_p.clamp(0.01, 0.99)),
        k: sampling.top_k.map(|top_k| top_k.min(TOP_K_MAX)),
        seed: sampling.seed.filter(|seed| *seed >= 0),
        frequency_penalty: penalty(writing, "frequency_penalty", sampling.frequency_penalty),
        presence_penalty: penalty(writing, "presence_penalty", sampling.presence_penalty),
        logprobs: request.logprobs.map(|_| true),
        thinking,
        response_format: response_format(writing),
    };
    if abilities.sampling_params == Some(false) {
        let lost = [("temperature", options.temperature.take().is_some()), ("top_p", options.p.take().is_some())];
        for (name, _) in lost.into_iter().filter(|(_, lost)| *lost) {
            writing.drop(name);
        }
        if options.k.take().is_some() {
            writing.drop("top_k");
        }
    }
    if options.stop_sequences.len() < request.stop.len() {
        writing.drop("stop");
    }
    if options.seed != sampling.seed {
        writing.drop("seed");
    }
    options
}

/// Between 0 and 1 at Cohere. A reward for repetition has no counterpart.
fn penalty(writing: &mut Writing<'_>, name: &str, wanted: Option<f64>) -> Option<f64> {
    let wanted = wanted?;
    if !(0.0..=1.0).contains(&wanted) {
        writing.drop(name);
    }
    (wanted >= 0.0).then(|| wanted.min(1.0))
}

/// It thinks by default where it can; a budget is the only measure it has.
fn thinking(writing: &mut Writing<'_>, max_tokens: Option<u64>) -> Option<Thinking> {
    let (reasoning, abilities) = (&writing.request.reasoning, writing.aim.abilities);
    if !reasoning.is_stated() {
        return None;
    }
    let off = is_off(reasoning);
    if !can_think(writing.aim) {
        if !off {
            writing.drop("reasoning_effort");
        }
        return None;
    }
    if off && abilities.thinking_always_on == Some(true) {
        writing.drop("reasoning_effort");
        return None;
    }
    if off {
        return Some(Thinking { r#type: "disabled", token_budget: None });
    }
    let by_effort = match reasoning.effort {
        Some(Effort::None | Effort::Minimal | Effort::Low) => Some(1024),
        Some(Effort::Medium) => Some(4096),
        // As long as it likes.
        Some(Effort::High | Effort::XHigh | Effort::Max) | None => None,
    };
    let budget = reasoning.budget.or(by_effort).map(|budget| budget.min(max_tokens.unwrap_or(u64::MAX)).max(1));
    Some(Thinking { r#type: "enabled", token_budget: budget })
}

/// Whether a model thinks: by the catalogue, and where it says nothing by the names of those that came before thinking
/// (<https://docs.cohere.com/docs/models>, read 2026-11-23).
fn can_think(aim: &Aim<'_>) -> bool {
    let before = ["command-r", "command-a-03", "command-a-translate", "command-a-vision", "c4ai-"];
    aim.abilities.reasoning.unwrap_or_else(|| !before.iter().any(|start| aim.model.starts_with(start)))
}

fn is_off(reasoning: &Reasoning) -> bool {
    reasoning.enabled == Some(false) || reasoning.effort == Some(Effort::None) || reasoning.budget == Some(0)
}

/// Cohere refuses a format beside tools, and goes on for ever when told to write JSON without having been asked for some: a sentence then
/// says it, instead or as well.
fn response_format<'a>(writing: &mut Writing<'a>) -> Option<ResponseFormat<'a>> {
    let request = writing.request;
    let can = writing.aim.abilities.json_schema != Some(false) && request.tools.is_empty();
    match &request.format {
        Format::Text => None,
        Format::JsonSchema { schema: Value::Object(schema), .. } if can => {
            Some(ResponseFormat { r#type: "json_object", json_schema: Some(schema) })
        }
        Format::JsonSchema { schema, .. } => {
            let told =
                "Answer with one JSON value that conforms to this JSON schema, and nothing else, without code fences:";
            writing.told.push(format!("{told} {schema}"));
            writing.drop("response_format");
            None
        }
        Format::JsonObject => {
            writing.told.push("Answer with one JSON object and nothing else, without code fences.".to_owned());
            if can {
                return Some(ResponseFormat { r#type: "json_object", json_schema: None });
            }
            writing.drop("response_format");
            None
        }
    }
}
