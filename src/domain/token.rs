//! Tokens: what a model counts, and what the bill is made of.

/// What one exchange used, in tokens, in our one accounting: `input` includes cached and cache-written tokens, `output` includes
/// reasoning tokens. Where a provider counts otherwise, its adapter converts before it fills this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Prompt tokens in all.
    pub input: u64,
    /// Generated tokens in all.
    pub output: u64,
    /// The part of `input` read from the provider's prompt cache.
    pub cached_input: u64,
    /// The part of `input` written to the provider's prompt cache.
    pub cache_write: u64,
    /// The part of `cache_write` that is kept for an hour or longer, at another price.
    pub cache_write_long: u64,
    /// The part of `input` that is sound.
    pub audio_input: u64,
    /// The part of `output` that is sound.
    pub audio_output: u64,
    /// The part of `output` spent on reasoning.
    pub reasoning: u64,
}

impl Usage {
    /// Each count, but no more than so many: what a provider states is a figure, not a fact, and sums of it have to fit somewhere.
    #[must_use]
    pub fn at_most(&self, most: u64) -> Self {
        Self {
            input: self.input.min(most),
            output: self.output.min(most),
            cached_input: self.cached_input.min(most),
            cache_write: self.cache_write.min(most),
            cache_write_long: self.cache_write_long.min(most),
            audio_input: self.audio_input.min(most),
            audio_output: self.audio_output.min(most),
            reasoning: self.reasoning.min(most),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cached_input: self.cached_input.saturating_add(other.cached_input),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            cache_write_long: self.cache_write_long.saturating_add(other.cache_write_long),
            audio_input: self.audio_input.saturating_add(other.audio_input),
            audio_output: self.audio_output.saturating_add(other.audio_output),
            reasoning: self.reasoning.saturating_add(other.reasoning),
        }
    }
}

/// How a usage figure was obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageSource {
    /// The provider stated it.
    Provider,
    /// Counted from what was relayed, because the provider's figure never came.
    Estimated,
    /// Neither was possible (opaque or compressed answer).
    Unknown,
}

impl UsageSource {
    /// The name in rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Estimated => "estimated",
            Self::Unknown => "unknown",
        }
    }
}
