//! A breach of the tables, in OpenAI's words.

use super::chat::kind;
use super::refusal::Refusal;
use crate::simulator::shape::{Breach, Shape, Spelling, Step, Wrong};
use serde_json::Value;
use std::fmt::Write as _;

/// Checks a body against a table and gives it back without its nulls.
///
/// # Errors
/// The 400 that OpenAI would send.
pub(super) fn fit(table: &Shape, body: &Value) -> Result<Value, Refusal> {
    table.check(body, Spelling::Exact).map_err(|found| refusal(&found))
}

/// The 400 for a breach.
pub(super) fn refusal(found: &Breach) -> Refusal {
    let at = place(&found.path);
    match &*found.wrong {
        Wrong::Unknown => Refusal::unknown_parameter(&at),
        Wrong::Missing => Refusal::missing(&at),
        Wrong::Kind(expected, value) => Refusal::wrong_type(&at, expected_words(expected), kind(value)),
        Wrong::Range(low, high, value) => {
            let below = value.as_f64().zip(low.parse().ok()).is_some_and(|(value, low): (f64, f64)| value < low);
            let number = if value.is_f64() || low.contains('.') { "decimal" } else { "integer" };
            let (code, side, sign, bound) = match (below, number) {
                (true, "integer") => ("integer_below_min_value", "below minimum", ">=", low),
                (false, "integer") => ("integer_above_max_value", "above maximum", "<=", high),
                (true, _) => ("decimal_below_min_value", "below minimum", ">=", low),
                (false, _) => ("decimal_above_max_value", "above maximum", "<=", high),
            };
            let message = format!(
                "Invalid '{at}': {number} {side} value. Expected a value {sign} {bound}, but got {value} instead."
            );
            Refusal::invalid(Some(code), &at, message)
        }
        Wrong::Word(known, value) => {
            Refusal::wrong_value(&at, format!("Invalid value: {}. {}", single(value), supported(known)))
        }
        Wrong::Tag(tag, known, value) => {
            let at = format!("{at}.{tag}");
            Refusal::wrong_value(at.trim_start_matches('.'), format!("Invalid value: '{value}'. {}", supported(known)))
        }
        Wrong::Blank => Refusal::wrong_value(&at, format!("Invalid '{at}': empty string.")),
    }
}

fn single(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |word| format!("'{word}'"))
}

/// A list of words as OpenAI reads it out.
fn supported(known: &[&str]) -> String {
    let quoted: Vec<_> = known.iter().map(|word| format!("'{word}'")).collect();
    let list = match &quoted[..] {
        [one] => one.clone(),
        [first, second] => format!("{first} and {second}"),
        [start @ .., last] => format!("{}, and {last}", start.join(", ")),
        [] => String::new(),
    };
    format!("Supported values are: {list}.")
}

fn expected_words(kind: &str) -> &'static str {
    match kind {
        "boolean" => "a boolean",
        "string" => "a string",
        "integer" => "an integer",
        "number" => "a decimal",
        "array" => "an array of objects",
        _ => "an object",
    }
}

/// A place as OpenAI writes it: `input[0].content[1].text`.
fn place(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Member(name) if out.is_empty() => out.push_str(name),
            Step::Member(name) => {
                let _ = write!(out, ".{name}");
            }
            Step::Item(position) => {
                let _ = write!(out, "[{position}]");
            }
            Step::Tag(_) => {}
        }
    }
    out
}
