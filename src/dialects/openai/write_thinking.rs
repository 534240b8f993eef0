//! How a provider is told how much to think: one wish of the client's, in the words of the vendor.
//!
//! A wish in words becomes tokens where the vendor counts them, and one in tokens becomes a word where it does not. What a model cannot do
//! is left out and noted; nothing is sent where nothing was wished.

use super::ways::{Thinking, Ways};
use crate::chat::ability::Abilities;
use crate::chat::request::{Effort, Reasoning};
use serde_json::{Map, Value, json};

/// Writes the wish. Returns whether the model has been told not to think.
pub(super) fn write(
    wish: &Reasoning,
    ways: &Ways,
    abilities: &Abilities,
    out: &mut Map<String, Value>,
    dropped: &mut Vec<String>,
) -> bool {
    let Some(on) = wanted(wish) else { return false };
    let cannot = if on { abilities.reasoning == Some(false) } else { abilities.thinking_always_on == Some(true) };
    if cannot || (ways.thinking == Thinking::Unsaid && abilities.reasoning != Some(false)) {
        dropped.push("reasoning_effort".to_owned());
        return false;
    }
    if abilities.reasoning == Some(false) {
        // It does not think anyway.
        return true;
    }
    match ways.thinking {
        Thinking::Effort => {
            // Plain "on" has no word of its own here, and some think only when they are given one.
            let sent = nearest(effort(wish).unwrap_or(Effort::Medium), ways, abilities);
            if !on && sent != Effort::None {
                dropped.push("reasoning_effort".to_owned());
            }
            out.insert("reasoning_effort".to_owned(), Value::from(sent.as_str()));
            return sent == Effort::None;
        }
        Thinking::Switch => switch(on, out),
        Thinking::SwitchAndEffort => {
            switch(on, out);
            if let Some(effort) = effort(wish).filter(|effort| *effort != Effort::None) {
                out.insert("reasoning_effort".to_owned(), Value::from(nearest(effort, ways, abilities).as_str()));
            }
        }
        Thinking::Budget => {
            out.insert("enable_thinking".to_owned(), Value::from(on));
            if let Some(budget) = wish.budget.or(wish.effort.map(tokens_of)).filter(|_| on) {
                out.insert("thinking_budget".to_owned(), Value::from(budget));
            }
        }
        Thinking::Unsaid => {}
    }
    !on
}

fn switch(on: bool, out: &mut Map<String, Value>) {
    out.insert("thinking".to_owned(), json!({"type": if on { "enabled" } else { "disabled" }}));
}

/// Whether thinking is wished at all; `None` if the client did not say.
fn wanted(wish: &Reasoning) -> Option<bool> {
    let by_effort = wish.effort.map(|effort| effort != Effort::None);
    wish.enabled.or(by_effort).or(wish.budget.map(|budget| budget > 0))
}

/// The wish as a word. Plain "on" has none: that is the vendor's own measure.
fn effort(wish: &Reasoning) -> Option<Effort> {
    if wish.enabled == Some(false) {
        return Some(Effort::None);
    }
    wish.effort.or(wish.budget.map(|budget| match budget {
        0 => Effort::None,
        1..2_048 => Effort::Low,
        2_048..8_192 => Effort::Medium,
        _ => Effort::High,
    }))
}

/// The word that the model takes and that is nearest, lower before higher; the catalogue knows better than the vendor's row. A wish for
/// some thinking never becomes none.
fn nearest(wanted: Effort, ways: &Ways, abilities: &Abilities) -> Effort {
    let taken = if abilities.efforts.is_empty() { ways.efforts } else { abilities.efforts.as_slice() };
    let fits = |effort: &Effort| wanted == Effort::None || *effort != Effort::None;
    let lower = taken.iter().copied().filter(fits).filter(|effort| *effort <= wanted).max();
    lower.or(taken.iter().copied().filter(fits).min()).unwrap_or(wanted)
}

/// A word in tokens.
const fn tokens_of(effort: Effort) -> u64 {
    match effort {
        Effort::None => 0,
        Effort::Minimal | Effort::Low => 1_024,
        Effort::Medium => 2_048,
        Effort::High => 4_096,
        Effort::XHigh => 8_192,
        Effort::Max => 16_384,
    }
}
