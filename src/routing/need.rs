//! What a request needs of whoever serves it, and why a candidate does not do.

use crate::chat::ability::Abilities;

/// What a request needs. Found by one scan of its body; a need that nobody could see is not stated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Need {
    /// It has tools.
    pub tools: bool,
    /// It shows pictures.
    pub vision: bool,
    /// It has PDF documents.
    pub pdf: bool,
    /// It has sound.
    pub audio: bool,
    /// It wants an answer by a JSON schema.
    pub json_schema: bool,
    /// Tokens of the prompt, estimated from its bytes.
    pub input_tokens: u64,
    /// Tokens of the answer that it allows, where it says.
    pub output_tokens_max: Option<u64>,
    /// Digest of the beginning that a provider's cache would keep; `None` where it is too short to be kept.
    pub prefix: Option<u64>,
    /// Tokens that a cache which keeps the beginning would spare, estimated: the beginning itself, in a later turn all that was sent
    /// before the last answer.
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
    /// The model reads no PDF documents.
    NoPdf,
    /// The model hears no sound.
    NoAudio,
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
    /// Its provider refused the key.
    KeyRefused,
}

impl Rejection {
    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoTools => "no_tools",
            Self::NoVision => "no_vision",
            Self::NoPdf => "no_pdf",
            Self::NoAudio => "no_audio",
            Self::NoJsonSchema => "no_json_schema",
            Self::ContextTooLong => "context_too_long",
            Self::QualityTooLow => "quality_too_low",
            Self::BreakerOpen => "breaker_open",
            Self::QuotaShort => "quota_short",
            Self::Unresolved => "unresolved",
            Self::NotAllowed => "not_allowed",
            Self::NoCredential => "no_credential",
            Self::Unsuited => "unsuited",
            Self::KeyRefused => "key_refused",
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
        if lacks(self.pdf, abilities.pdf_input) {
            return Some(Rejection::NoPdf);
        }
        if lacks(self.audio, abilities.audio_input) {
            return Some(Rejection::NoAudio);
        }
        if lacks(self.json_schema, abilities.json_schema) {
            return Some(Rejection::NoJsonSchema);
        }
        // Bytes tell tokens roughly: what an estimate puts just beyond the window may well fit, and its provider knows.
        let sure = |window: u64| self.input_tokens > window.saturating_add(window / WINDOW_SLACK);
        abilities.context_window.is_some_and(sure).then_some(Rejection::ContextTooLong)
    }
}

/// An estimate is believed when it is this part of the window beyond it.
const WINDOW_SLACK: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_surely_lacking_is_named_and_the_rest_is_left_to_the_provider() {
        let needs = |set: fn(&mut Need)| {
            let mut need = Need::default();
            set(&mut need);
            need
        };
        let nothing = Abilities {
            tools: Some(false),
            vision: Some(false),
            pdf_input: Some(false),
            audio_input: Some(false),
            json_schema: Some(false),
            context_window: Some(1_000),
            ..Abilities::default()
        };
        let all = [
            (needs(|need| need.tools = true), Rejection::NoTools, "no_tools"),
            (needs(|need| need.vision = true), Rejection::NoVision, "no_vision"),
            (needs(|need| need.pdf = true), Rejection::NoPdf, "no_pdf"),
            (needs(|need| need.audio = true), Rejection::NoAudio, "no_audio"),
            (needs(|need| need.json_schema = true), Rejection::NoJsonSchema, "no_json_schema"),
            (needs(|need| need.input_tokens = 1_251), Rejection::ContextTooLong, "context_too_long"),
        ];
        for (need, rejection, word) in all {
            assert_eq!(need.lacking(&nothing), Some(rejection));
            assert_eq!(need.lacking(&Abilities::default()), None, "nobody says that it cannot: {word}");
            assert_eq!(rejection.as_str(), word);
        }
        assert_eq!(needs(|need| need.input_tokens = 1_250).lacking(&nothing), None);
        assert_eq!(Need::default().lacking(&nothing), None);
    }
}
