//! What one model can do and takes, as far as the catalogue knows: facts that decide how a request is written for it.
//!
//! `None` means that nobody says: a writer then does what the dialect's newest models take, or leaves the matter to the provider.

use super::request::Effort;

/// Facts of one model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Takes pictures.
    pub vision: Option<bool>,
    /// Takes PDF documents.
    pub pdf_input: Option<bool>,
    /// Takes sound.
    pub audio_input: Option<bool>,
    /// Takes tools.
    pub tools: Option<bool>,
    /// Calls several tools at once.
    pub parallel_tools: Option<bool>,
    /// Can be held to a JSON schema.
    pub json_schema: Option<bool>,
    /// Thinks before it answers.
    pub reasoning: Option<bool>,
    /// The efforts it takes, least first; empty where nobody says.
    pub efforts: Vec<Effort>,
    /// Always thinks: cannot be told not to.
    pub thinking_always_on: Option<bool>,
    /// Takes temperature, top_p and top_k other than the default.
    pub sampling_params: Option<bool>,
    /// Continues a last assistant turn.
    pub assistant_prefill: Option<bool>,
    /// Tokens of the answer at most.
    pub output_max: Option<u64>,
    /// Tokens of prompt and answer together.
    pub context_window: Option<u64>,
    /// Paths it is served at (`/v1/chat/completions`, `/v1/responses`, …); empty where nobody says.
    pub endpoints: Vec<Box<str>>,
}

impl Abilities {
    /// The effort to send for a wanted one: itself if the model takes it, else the nearest lower one it takes, else its lowest.
    /// Where nobody says what it takes, the wanted one.
    pub fn nearest_effort(&self, wanted: Effort) -> Effort {
        let lower = self.efforts.iter().copied().filter(|effort| *effort <= wanted).max();
        lower.or(self.efforts.iter().copied().min()).unwrap_or(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_effort_is_lower_before_it_is_higher() {
        let of = |efforts: &[Effort]| Abilities { efforts: efforts.to_vec(), ..Abilities::default() };
        assert_eq!(of(&[]).nearest_effort(Effort::XHigh), Effort::XHigh);
        assert_eq!(of(&[Effort::Low, Effort::High, Effort::Max]).nearest_effort(Effort::Medium), Effort::Low);
        assert_eq!(of(&[Effort::Low, Effort::High]).nearest_effort(Effort::Max), Effort::High);
        assert_eq!(of(&[Effort::Low, Effort::High]).nearest_effort(Effort::None), Effort::Low);
    }
}
