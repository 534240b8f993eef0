//! What a Claude model takes, by the catalogue where it speaks and by the generation in its name where it does not.
//!
//! Names differ by platform: `claude-opus-4-6`, `claude-opus-4@20250514`, `us.anthropic.claude-3-7-sonnet-20250219-v1:0`. A name without a
//! generation is taken for one of the newest. Sources: Anthropic's model and thinking pages, read 2026-11-23.

use crate::chat::ability::Abilities;
use crate::chat::request::Effort;

/// How a model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ThinkingForm {
    /// Not at all: it cannot.
    None,
    /// By a budget in tokens (3.7 to 4.5).
    Budget,
    /// By an effort; the model decides how long (4.6 and later).
    Adaptive,
}

/// The facts that decide how a request is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claude {
    pub(super) thinking: ThinkingForm,
    /// Cannot be told not to think.
    pub(super) always_thinks: bool,
    /// Takes temperature, top_p and top_k.
    pub(super) samples: bool,
    /// Takes temperature beside top_p.
    pub(super) samples_both_ways: bool,
    /// Takes `tool_choice` `any` and `tool`.
    pub(super) forced_tools: bool,
    /// Can be held to a JSON schema by `output_config.format`.
    pub(super) json_schema: bool,
    /// Continues a last assistant turn.
    pub(super) prefill: bool,
    efforts: Vec<Effort>,
}

impl Claude {
    /// The facts of a model.
    pub(super) fn of(name: &str, abilities: &Abilities) -> Self {
        let generation = generation(name);
        let since = |wanted: (u32, u32)| generation.is_none_or(|generation| generation >= wanted);
        let by_name = if since((4, 6)) {
            ThinkingForm::Adaptive
        } else if since((3, 7)) {
            ThinkingForm::Budget
        } else {
            ThinkingForm::None
        };
        let thinking = match abilities.reasoning {
            Some(false) => ThinkingForm::None,
            _ if !abilities.efforts.is_empty() => ThinkingForm::Adaptive,
            _ => by_name,
        };
        let efforts = match (abilities.efforts.is_empty(), since((4, 7))) {
            (false, _) => abilities.efforts.clone(),
            (true, true) => vec![Effort::Low, Effort::Medium, Effort::High, Effort::XHigh, Effort::Max],
            (true, false) => vec![Effort::Low, Effort::Medium, Effort::High, Effort::Max],
        };
        Self {
            thinking,
            always_thinks: abilities.thinking_always_on.unwrap_or_else(|| always_thinks(name)),
            samples: abilities.sampling_params.unwrap_or(!since((4, 7))),
            samples_both_ways: generation.is_some_and(|generation| generation < (4, 0)),
            forced_tools: !["opus-5-5", "fable-5-1"].iter().any(|refusing| name.contains(refusing)),
            json_schema: abilities.json_schema.unwrap_or(since((4, 5))),
            // An unknown name is left to the provider: a prefill that it refuses is refused in its own words.
            prefill: abilities.assistant_prefill.unwrap_or(generation.is_none_or(|generation| generation < (4, 6))),
            efforts,
        }
    }

    /// The effort to send for a wanted one; never less than the lowest it takes.
    pub(super) fn nearest_effort(&self, wanted: Effort) -> Effort {
        let taken = Abilities { efforts: self.efforts.clone(), ..Abilities::default() };
        taken.nearest_effort(wanted.max(Effort::Low))
    }
}

fn always_thinks(name: &str) -> bool {
    ["opus-5-5", "sonnet-5-5", "fable-5", "mythos"].iter().any(|family| name.contains(family))
}

/// The generation that a name tells: the first one or two short numbers in it (`claude-3-5-haiku`, `claude-opus-4-1`).
fn generation(name: &str) -> Option<(u32, u32)> {
    let claude = name.get(name.find("claude")?..)?;
    let mut numbers = claude.split(['-', '@', '.', ':', '_']).skip_while(|word| short_number(word).is_none());
    let major = short_number(numbers.next()?)?;
    let minor = numbers.next().and_then(short_number).unwrap_or(0);
    Some((major, minor))
}

/// A number of at most two digits: longer ones are dates.
fn short_number(word: &str) -> Option<u32> {
    let short = (1..=2).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit());
    if short { word.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_generations_on_every_platform() {
        let rows = [
            ("claude-opus-4-6", Some((4, 6))),
            ("claude-opus-4@20250514", Some((4, 0))),
            ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", Some((3, 7))),
            ("anthropic.claude-sonnet-4-5-20250929-v1:0", Some((4, 5))),
            ("claude-3-haiku-20240307", Some((3, 0))),
            ("claude-fable-5", Some((5, 0))),
            ("claude-mythos-preview", None),
            ("kimi-k3.1-pro", None),
            ("", None),
        ];
        for (name, expected) in rows {
            assert_eq!(generation(name), expected, "{name}");
        }
    }

    #[test]
    fn the_catalogue_speaks_before_the_name() {
        let silent = Abilities::default();
        let old = Claude::of("claude-opus-4-5", &silent);
        assert_eq!((old.thinking, old.samples, old.prefill), (ThinkingForm::Budget, true, true));
        assert_eq!(Claude::of("claude-3-5-haiku", &silent).thinking, ThinkingForm::None);
        let new = Claude::of("claude-opus-5-5", &silent);
        assert_eq!((new.thinking, new.samples, new.prefill), (ThinkingForm::Adaptive, false, false));
        assert!(new.always_thinks && !new.forced_tools);
        let says = Abilities { sampling_params: Some(true), reasoning: Some(false), ..Abilities::default() };
        let told = Claude::of("claude-opus-5", &says);
        assert_eq!((told.thinking, told.samples), (ThinkingForm::None, true));
        assert_eq!(Claude::of("claude-opus-4-6", &silent).nearest_effort(Effort::XHigh), Effort::High);
        assert_eq!(Claude::of("claude-opus-4-6", &silent).nearest_effort(Effort::Minimal), Effort::Low);
    }
}
