//! What a request needs of whoever serves it, and why a candidate does not do.

use crate::chat::ability::Abilities;

/// What a request needs. Found by one scan of its body; a need that nobody could see is not stated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Need {
    /// It has tools.
    pub tools: bool,
    /// It shows pictures.
    pub vision: bool,
    /// It wants an answer by a JSON schema.
    pub json_schema: bool,
    /// Tokens of the prompt, estimated from its bytes.
    pub input_tokens: u64,
    /// Tokens of the answer that it allows, where it says.
    pub output_tokens_max: Option<u64>,
    /// Digest of the beginning that a provider's cache would keep; `None` where it is too short to be kept.
    pub prefix: Option<u64>,
    /// Tokens of that beginning, estimated.
    pub prefix_tokens: u64,
    /// The least quality that will do, 0 to 1.
    pub quality_min: Option<f64>,
}

/// Why a candidate is not asked, or not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// The model takes no tools.
    NoTools,
    /// The model sees no pictures.
    NoVision,
    /// The model cannot be held to a schema.
    NoJsonSchema,
    /// The prompt does not fit the model's window.
    ContextTooLong,
    /// The owner ranks the model too low.
    QualityTooLow,
    /// Its breaker is open.
    BreakerOpen,
    /// Its quota is used up, or it asked us to wait.
    QuotaShort,
    /// No address of the provider is known.
    Unresolved,
    /// The access key may not use the provider.
    NotAllowed,
    /// There is no credential for it.
    NoCredential,
    /// Its format has no words for the request.
    Unsuited,
}

impl Rejection {
    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoTools => "no_tools",
            Self::NoVision => "no_vision",
            Self::NoJsonSchema => "no_json_schema",
            Self::ContextTooLong => "context_too_long",
            Self::QualityTooLow => "quality_too_low",
            Self::BreakerOpen => "breaker_open",
            Self::QuotaShort => "quota_short",
            Self::Unresolved => "unresolved",
            Self::NotAllowed => "not_allowed",
            Self::NoCredential => "no_credential",
            Self::Unsuited => "unsuited",
        }
    }
}

impl Need {
    /// What a model lacks, if the catalogue is sure that it lacks it.
    pub fn lacking(&self, abilities: &Abilities) -> Option<Rejection> {
        let lacks = |needed: bool, able: Option<bool>| needed && able == Some(false);
        if lacks(self.tools, abilities.tools) {
            return Some(Rejection::NoTools);
        }
        if lacks(self.vision, abilities.vision) {
            return Some(Rejection::NoVision);
        }
        if lacks(self.json_schema, abilities.json_schema) {
            return Some(Rejection::NoJsonSchema);
        }
        let long = abilities.context_window.is_some_and(|window| self.input_tokens > window);
        long.then_some(Rejection::ContextTooLong)
    }
}
