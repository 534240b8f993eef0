//! `generationConfig` for a provider: sampling, limits, the form of the answer, and thinking as the model's generation
//! asks for it.
//!
//! Gemini 2.5 takes a budget of tokens and Gemini 3 a level; both together are refused, and earlier models take
//! neither. What a model refuses without effect on the answer's truth is left out and noted. Source: ai.google.dev
//! (thinking, structured output), 2026-11-23.

use super::generation::{self, Generation};
use crate::chat::request::{Effort, Format, Reasoning, Refusal, Request, Sampling};
use crate::dialects::Aim;
use serde_json::{Map, Value, json};

/// Stop texts at most.
const STOPS_MAX: usize = 5;
/// Tokens that a light 2.5 model thinks for at least, if it thinks.
const LITE_BUDGET_MIN: i64 = 512;
/// Answers at most.
const CHOICES_MAX: u32 = 8;

/// Writes the configuration; `dropped` gets the names of what the model does not take.
pub(super) fn config(
    request: &Request,
    aim: &Aim<'_>,
    dropped: &mut Vec<String>,
) -> Result<Map<String, Value>, Refusal> {
    let mut config = Map::new();
    sampling(&request.sampling, aim, &mut config, dropped);
    if let Some(output_max) = request.output_max {
        let bounded = aim.abilities.output_max.map_or(output_max, |most| output_max.min(most));
        config.insert("maxOutputTokens".into(), bounded.into());
    }
    if request.stop.len() > STOPS_MAX {
        return Err(Refusal::new("stop", "Gemini takes five stop texts at most: send fewer."));
    }
    if !request.stop.is_empty() {
        config.insert("stopSequences".into(), json!(request.stop));
    }
    match request.choices {
        Some(choices) if choices > CHOICES_MAX => {
            return Err(Refusal::new("n", "Gemini gives eight answers at most: ask for fewer."));
        }
        Some(choices) if choices != 1 => {
            config.insert("candidateCount".into(), choices.into());
        }
        _ => {}
    }
    if let Some(alternatives) = request.logprobs {
        config.insert("responseLogprobs".into(), true.into());
        if alternatives > 0 {
            config.insert("logprobs".into(), alternatives.into());
        }
    }
    format(request, aim, &mut config)?;
    if let Some(thinking) = thinking(&request.reasoning, aim, dropped) {
        config.insert("thinkingConfig".into(), Value::Object(thinking));
    }
    Ok(config)
}

fn sampling(sampling: &Sampling, aim: &Aim<'_>, config: &mut Map<String, Value>, dropped: &mut Vec<String>) {
    let takes = aim.abilities.sampling_params != Some(false);
    let figures = [
        ("temperature", "temperature", sampling.temperature.map(|value| json!(value.clamp(0.0, 2.0)))),
        ("topP", "top_p", sampling.top_p.map(|value| json!(value))),
        ("topK", "top_k", sampling.top_k.map(|value| json!(value))),
        ("presencePenalty", "presence_penalty", sampling.presence_penalty.map(|value| json!(value))),
        ("frequencyPenalty", "frequency_penalty", sampling.frequency_penalty.map(|value| json!(value))),
    ];
    for (theirs, ours, value) in figures {
        match value {
            Some(value) if takes => {
                config.insert(theirs.into(), value);
            }
            Some(_) => dropped.push(ours.into()),
            None => {}
        }
    }
    if let Some(seed) = sampling.seed {
        // The interface holds 32 bits; folding keeps the promise that the same seed is the same seed.
        let folded = i32::try_from(seed).unwrap_or((seed ^ (seed >> 32)) as i32);
        config.insert("seed".into(), folded.into());
    }
    if sampling.logit_bias.is_some() {
        dropped.push("logit_bias".into());
    }
}

fn format(request: &Request, aim: &Aim<'_>, config: &mut Map<String, Value>) -> Result<(), Refusal> {
    if request.format == Format::Text {
        return Ok(());
    }
    let with_tools = matches!(Generation::of(aim.model), Generation::Early | Generation::TwoFive);
    if with_tools && !request.tools.is_empty() {
        let message = "Gemini 2 models cannot be held to JSON while they have tools: leave one out, or use Gemini 3.";
        return Err(Refusal::new("response_format", message));
    }
    config.insert("responseMimeType".into(), "application/json".into());
    if let Format::JsonSchema { schema, .. } = &request.format {
        if aim.abilities.json_schema == Some(false) {
            let message = "This model cannot be held to a JSON schema: ask for a JSON object and describe it.";
            return Err(Refusal::new("response_format", message));
        }
        config.insert("responseJsonSchema".into(), schema.clone());
    }
    Ok(())
}

// === Thinking ===

fn thinking(reasoning: &Reasoning, aim: &Aim<'_>, dropped: &mut Vec<String>) -> Option<Map<String, Value>> {
    let mut config = Map::new();
    let thinks = aim.abilities.reasoning != Some(false);
    match Generation::of(aim.model) {
        Generation::ThreeOn if thinks => {
            if let Some(level) = level(reasoning, aim) {
                config.insert("thinkingLevel".into(), level.into());
            }
        }
        Generation::TwoFive if thinks => {
            if let Some(budget) = budget(reasoning, aim) {
                config.insert("thinkingBudget".into(), budget.into());
            }
        }
        _ => {
            let wanted = reasoning.effort.is_some_and(|effort| effort > Effort::None) || reasoning.budget.is_some();
            if wanted || reasoning.enabled == Some(true) {
                dropped.push("reasoning_effort".into());
            }
            return None;
        }
    }
    // Thoughts cannot be shown where there are none.
    if reasoning.shown == Some(true) && config.get("thinkingBudget") != Some(&json!(0)) {
        config.insert("includeThoughts".into(), true.into());
    }
    (!config.is_empty()).then_some(config)
}

/// The level of a Gemini 3 model; `None` leaves it to the model.
fn level(reasoning: &Reasoning, aim: &Aim<'_>) -> Option<&'static str> {
    let wanted = match (reasoning.effort, reasoning.enabled, reasoning.budget) {
        (Some(effort), ..) => effort,
        (None, Some(false), _) => Effort::None,
        (None, _, Some(0)) => Effort::None,
        (None, _, Some(1..2_048)) => Effort::Low,
        (None, _, Some(2_048..8_192)) => Effort::Medium,
        (None, _, Some(_)) => Effort::High,
        (None, _, None) => return None,
    };
    let efforts = &aim.abilities.efforts;
    let least = if generation::is_pro(aim.model) { Effort::Low } else { Effort::Minimal };
    let most = if efforts.contains(&Effort::XHigh) { Effort::XHigh } else { Effort::High };
    let known = if efforts.is_empty() { wanted.max(least) } else { aim.abilities.nearest_effort(wanted) };
    Some(known.clamp(Effort::Minimal, most).as_str())
}

/// The budget of a Gemini 2.5 model in tokens, -1 for as many as it likes; `None` leaves it to the model.
fn budget(reasoning: &Reasoning, aim: &Aim<'_>) -> Option<i64> {
    let pro = generation::is_pro(aim.model);
    let (least, most) = if pro { (128, 32_768) } else { (0, 24_576) };
    let wanted = match (reasoning.budget, reasoning.effort, reasoning.enabled) {
        (Some(budget), ..) => i64::try_from(budget).unwrap_or(most),
        (None, Some(effort), _) => match effort {
            Effort::None => 0,
            Effort::Minimal => 512,
            Effort::Low => 1_024,
            Effort::Medium => 8_192,
            Effort::High => 24_576,
            Effort::XHigh | Effort::Max => most,
        },
        (None, None, Some(false)) => 0,
        (None, None, Some(true)) => return Some(-1),
        (None, None, None) => return None,
    };
    // The light models take no thinking at all, or this much.
    let least = if wanted > 0 && generation::is_lite(aim.model) { LITE_BUDGET_MIN } else { least };
    Some(wanted.clamp(least, most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::ability::Abilities;

    fn written(request: &Request, model: &str, abilities: &Abilities) -> (Value, Vec<String>) {
        let mut dropped = Vec::new();
        let aim = Aim { model, abilities, provider: "google" };
        let config = config(request, &aim, &mut dropped).expect("can be said");
        (Value::Object(config), dropped)
    }

    fn thinks(reasoning: Reasoning, model: &str, efforts: &[Effort]) -> Value {
        let abilities = Abilities { efforts: efforts.to_vec(), ..Abilities::default() };
        let request = Request { reasoning, ..Request::default() };
        written(&request, model, &abilities).0.get("thinkingConfig").cloned().unwrap_or(Value::Null)
    }

    #[test]
    fn thinking_by_generation() {
        let effort = |effort| Reasoning { effort: Some(effort), ..Reasoning::default() };
        let budget = |budget| Reasoning { budget: Some(budget), ..Reasoning::default() };
        let three = [Effort::Low, Effort::Medium, Effort::High];
        let rows: [(Reasoning, &str, &[Effort], Value); 16] = [
            (Reasoning::default(), "gemini-3.8-flash", &[], Value::Null),
            (effort(Effort::None), "gemini-3-flash", &[], json!({"thinkingLevel": "minimal"})),
            (effort(Effort::None), "gemini-3-pro", &[], json!({"thinkingLevel": "low"})),
            (effort(Effort::None), "gemini-3.8-flash", &three, json!({"thinkingLevel": "low"})),
            (effort(Effort::Max), "gemini-3.8-flash", &three, json!({"thinkingLevel": "high"})),
            (effort(Effort::Max), "gemini-4-argon", &[Effort::XHigh], json!({"thinkingLevel": "xhigh"})),
            (budget(4_000), "gemini-3-flash", &[], json!({"thinkingLevel": "medium"})),
            (effort(Effort::None), "gemini-2.5-flash", &[], json!({"thinkingBudget": 0})),
            (effort(Effort::None), "gemini-2.5-pro", &[], json!({"thinkingBudget": 128})),
            (effort(Effort::Max), "gemini-2.5-pro", &[], json!({"thinkingBudget": 32_768})),
            (budget(100), "gemini-2.5-flash-lite", &[], json!({"thinkingBudget": 512})),
            (effort(Effort::None), "gemini-2.5-flash-lite", &[], json!({"thinkingBudget": 0})),
            (budget(99_999), "gemini-2.5-flash", &[], json!({"thinkingBudget": 24_576})),
            (
                Reasoning { enabled: Some(true), shown: Some(true), ..Reasoning::default() },
                "gemini-2.5-flash",
                &[],
                json!({"thinkingBudget": -1, "includeThoughts": true}),
            ),
            (
                Reasoning { shown: Some(true), ..effort(Effort::None) },
                "gemini-2.5-flash",
                &[],
                json!({"thinkingBudget": 0}),
            ),
            (effort(Effort::High), "gemini-2.0-flash", &[], Value::Null),
        ];
        for (reasoning, model, efforts, expected) in rows {
            assert_eq!(thinks(reasoning.clone(), model, efforts), expected, "{model} {reasoning:?}");
        }
    }

    #[test]
    fn what_a_model_does_not_sample_by_is_noted() {
        let sampling = Sampling { temperature: Some(0.2), top_k: Some(4), seed: Some(1 << 40), ..Sampling::default() };
        let request = Request { sampling, ..Request::default() };
        let takes_none = Abilities { sampling_params: Some(false), ..Abilities::default() };
        let (config, dropped) = written(&request, "gemini-3.8-flash", &takes_none);
        assert_eq!(config, json!({"seed": 256}));
        assert_eq!(dropped, ["temperature", "top_k"]);
    }

    #[test]
    fn limits_are_refused_by_name() {
        let abilities = Abilities::default();
        let aim = Aim { model: "gemini-2.5-flash", abilities: &abilities, provider: "google" };
        let tool = crate::chat::request::Tool {
            kind: crate::chat::request::ToolKind::Function { parameters: None, strict: None },
            name: "f".into(),
            description: None,
            cache: None,
        };
        let rows = [
            ("stop", Request { stop: vec!["x".into(); 6], ..Request::default() }),
            ("n", Request { choices: Some(9), ..Request::default() }),
            ("response_format", Request { format: Format::JsonObject, tools: vec![tool], ..Request::default() }),
        ];
        for (param, request) in rows {
            let refusal = config(&request, &aim, &mut Vec::new()).expect_err(param);
            assert_eq!(refusal.param, param);
        }
    }
}
