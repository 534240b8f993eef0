//! A client's `generationConfig`.
//!
//! Forms of answers that the inner language has no word for (sound, pictures, one word of a list) are refused by name,
//! since the answer would be another one; hints such as the resolution of media are noted as dropped.

use super::members::Members;
use super::read_tools::json_schema;
use crate::chat::request::{Effort, Format, Reasoning, Refusal, Request};

/// Reads the configuration into the request.
pub(super) fn config(mut members: Members<'_>, request: &mut Request) -> Result<(), Refusal> {
    let sampling = &mut request.sampling;
    sampling.temperature = members.number("temperature")?;
    sampling.top_p = members.number("topP")?;
    sampling.top_k = members.count("topK")?;
    sampling.presence_penalty = members.number("presencePenalty")?;
    sampling.frequency_penalty = members.number("frequencyPenalty")?;
    sampling.seed = members.whole("seed")?;
    request.output_max = members.count("maxOutputTokens")?;
    request.stop = members.texts("stopSequences")?;
    request.choices = members.count("candidateCount")?.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    let alternatives = members.count("logprobs")?.unwrap_or(0);
    if members.flag("responseLogprobs")? == Some(true) {
        request.logprobs = Some(u32::try_from(alternatives).unwrap_or(u32::MAX));
    }
    request.format = format(&mut members)?;
    if let Some(thinking) = members.object("thinkingConfig")? {
        request.reasoning = reasoning(thinking, &mut request.dropped)?;
    }
    words_only(&mut members)?;
    members.note_rest(&mut request.dropped);
    Ok(())
}

fn format(members: &mut Members<'_>) -> Result<Format, Refusal> {
    let path = members.path_of("responseMimeType");
    let media_type = members.text("responseMimeType")?.unwrap_or_default();
    let subset = members.value("responseSchema")?.map(json_schema);
    let schema = members.value("responseJsonSchema")?.or(subset);
    match (&*media_type, schema) {
        ("application/json", Some(schema)) => {
            Ok(Format::JsonSchema { name: String::new(), description: None, schema, strict: None })
        }
        ("application/json", None) => Ok(Format::JsonObject),
        ("" | "text/plain", None) => Ok(Format::Text),
        ("" | "text/plain", Some(_)) => {
            Err(Refusal::new(path, "A schema for the answer wants the type `application/json`."))
        }
        _ => Err(Refusal::new(path, "Answers are `text/plain` or `application/json`.")),
    }
}

fn reasoning(mut members: Members<'_>, dropped: &mut Vec<String>) -> Result<Reasoning, Refusal> {
    let mut reasoning = Reasoning { shown: members.flag("includeThoughts")?, ..Reasoning::default() };
    match members.whole("thinkingBudget")? {
        None => {}
        Some(0) => reasoning.enabled = Some(false),
        Some(budget) => match u64::try_from(budget) {
            Ok(budget) => reasoning.budget = Some(budget),
            // As many as the model likes.
            Err(_) => reasoning.enabled = Some(true),
        },
    }
    let path = members.path_of("thinkingLevel");
    if let Some(level) = members.text("thinkingLevel")?.filter(|level| !level.ends_with("_UNSPECIFIED")) {
        let effort = Effort::parse(&level);
        let message = "The level is `minimal`, `low`, `medium`, `high` or `xhigh`.";
        reasoning.effort = Some(effort.ok_or_else(|| Refusal::new(path, message))?);
    }
    // Gemini thinks unasked; who wants to see thoughts wants them thought elsewhere too.
    if reasoning.shown == Some(true) && !reasoning.is_stated() {
        reasoning.enabled = Some(true);
    }
    members.note_rest(dropped);
    Ok(reasoning)
}

/// Refuses answers that are not words.
fn words_only(members: &mut Members<'_>) -> Result<(), Refusal> {
    let path = members.path_of("responseModalities");
    let modalities = members.texts("responseModalities")?;
    let words = |modality: &String| matches!(modality.to_ascii_uppercase().as_str(), "TEXT" | "MODALITY_UNSPECIFIED");
    if !modalities.iter().all(words) {
        return Err(Refusal::new(path, "Only answers in text are translated: ask a Gemini model for others."));
    }
    let path = members.path_of("responseFormat");
    if members.take("responseFormat")?.is_some() {
        return Err(Refusal::new(path, "Say the form of the answer by `responseMimeType` and `responseJsonSchema`."));
    }
    Ok(())
}
