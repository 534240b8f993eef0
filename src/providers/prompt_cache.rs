//! How long providers keep the beginning of a prompt, and whether a request must ask for it.
//!
//! Lifetimes are the shortest that a vendor's page on prompt caching gives after the last use (read 2026-11-26): five minutes at OpenAI
//! ("5 to 10 minutes of inactivity") and at Anthropic, and that is what we assume where nobody says.

use super::{Dialect, ProviderSpec};
use crate::domain::token::Usage;
use std::time::Duration;

/// How a provider caches prompts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptCache {
    /// How long a beginning is kept after its last use.
    pub life: Duration,
    /// Whether nothing is kept unless the request marks it; then the answer's usage tells what was.
    pub marked: bool,
}

const USUAL: Duration = Duration::from_secs(5 * 60);

/// Providers that keep prompts for another time than the usual one.
const LIVES: &[(&str, Duration)] = &[
    // On disk, "a few hours to a few days" (api-docs.deepseek.com/guides/kv_cache).
    ("deepseek", Duration::from_secs(3_600)),
    // Servers of one's own keep what fits until something else needs the place.
    ("ollama", Duration::from_secs(10 * 60)),
    ("vllm", Duration::from_secs(10 * 60)),
];

impl ProviderSpec {
    /// How this provider caches prompts for a model.
    pub fn prompt_cache(&self, model: &str) -> PromptCache {
        let own = LIVES.iter().find(|(id, _)| *id == self.id.as_str()).map(|(_, life)| *life);
        PromptCache {
            life: own.unwrap_or(USUAL),
            marked: match self.dialect {
                Dialect::Anthropic | Dialect::Bedrock => true,
                Dialect::Vertex => model.starts_with("claude"),
                Dialect::OpenAi | Dialect::Gemini | Dialect::Cohere | Dialect::Azure => false,
            },
        }
    }
}

impl PromptCache {
    /// Whether an answer with this usage left its prompt in the cache.
    pub fn keeps(&self, usage: &Usage) -> bool {
        !self.marked || usage.cached_input > 0 || usage.cache_write > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::table;

    #[test]
    fn every_row_keeps_prompts_for_a_while() {
        for (id, _) in LIVES {
            assert!(table::find(id).is_some_and(|row| row.id == *id), "{id} is no row");
        }
        let of = |dialect, model| ProviderSpec::custom("mine", dialect, "https://a.example").prompt_cache(model);
        let anthropic = of(Dialect::Anthropic, "claude-sonnet-4-5");
        assert_eq!(anthropic, PromptCache { life: USUAL, marked: true });
        assert!(!anthropic.keeps(&Usage { input: 5_000, ..Usage::default() }));
        assert!(anthropic.keeps(&Usage { input: 5_000, cache_write: 4_000, ..Usage::default() }));
        assert!(anthropic.keeps(&Usage { input: 5_000, cached_input: 4_000, ..Usage::default() }));
        assert!(of(Dialect::Vertex, "claude-sonnet-4-5").marked && !of(Dialect::Vertex, "gemini-2.5-pro").marked);
        let openai = of(Dialect::OpenAi, "gpt-4o");
        assert!(!openai.marked && openai.keeps(&Usage::default()));
    }
}
