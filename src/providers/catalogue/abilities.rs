//! Reads `config/abilities.csv`: what a model can do and takes, one model a line.

use super::csv::{self, CatalogueError};
use crate::chat::ability::Abilities;
use crate::chat::request::Effort;

const FILE: &str = "abilities.csv";

const COLUMNS: [&str; 14] = [
    "provider",
    "model",
    "vision",
    "pdf_input",
    "audio_input",
    "tools",
    "parallel_tools",
    "json_schema",
    "reasoning",
    "efforts",
    "thinking_always_on",
    "sampling_params",
    "assistant_prefill",
    "endpoints",
];

/// Shows every line to `each`, which may refuse it. Bounds in tokens are not in this file.
pub(super) fn read(
    text: &str,
    mut each: impl FnMut(&str, &str, Abilities) -> Result<(), String>,
) -> Result<(), CatalogueError> {
    csv::for_each_row(FILE, text, COLUMNS, |_, fields| {
        let [
            provider,
            model,
            vision,
            pdf,
            audio,
            tools,
            parallel,
            schema,
            reasoning,
            efforts,
            always,
            sampling,
            prefill,
            endpoints,
        ] = fields;
        let abilities = Abilities {
            vision: csv::yes_or_no(vision)?,
            pdf_input: csv::yes_or_no(pdf)?,
            audio_input: csv::yes_or_no(audio)?,
            tools: csv::yes_or_no(tools)?,
            parallel_tools: csv::yes_or_no(parallel)?,
            json_schema: csv::yes_or_no(schema)?,
            reasoning: csv::yes_or_no(reasoning)?,
            efforts: parse_efforts(efforts)?,
            thinking_always_on: csv::yes_or_no(always)?,
            sampling_params: csv::yes_or_no(sampling)?,
            assistant_prefill: csv::yes_or_no(prefill)?,
            output_max: None,
            context_window: None,
            endpoints: csv::listed(endpoints).map(parse_endpoint).collect::<Result<_, _>>()?,
        };
        each(provider, model, abilities)
    })
}

fn parse_efforts(text: &str) -> Result<Vec<Effort>, String> {
    let effort = |word| Effort::parse(word).ok_or_else(|| format!("no effort \"{word}\""));
    let efforts = csv::listed(text).map(effort).collect::<Result<Vec<_>, _>>()?;
    if efforts.is_sorted_by(|a, b| a < b) {
        Ok(efforts)
    } else {
        Err("efforts stand once each, least first".to_owned())
    }
}

fn parse_endpoint(path: &str) -> Result<Box<str>, String> {
    if path.starts_with('/') { Ok(path.into()) } else { Err(format!("\"{path}\" is no path")) }
}
