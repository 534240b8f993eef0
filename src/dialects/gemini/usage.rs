//! `usageMetadata`, read and written.
//!
//! Google counts thinking beside the answer and prompts of its own tools beside the prompt; our accounting includes
//! both. A count that is absent is zero, and one that is no whole number too: a bill must not fail over a figure.

use crate::domain::token::Usage;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The counts as Google states them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Counts {
    pub prompt_token_count: Count,
    pub tool_use_prompt_token_count: Count,
    pub candidates_token_count: Count,
    pub thoughts_token_count: Count,
    pub cached_content_token_count: Count,
    pub prompt_tokens_details: Sound,
    pub candidates_tokens_details: Sound,
}

impl Counts {
    /// In our accounting.
    pub(super) fn usage(&self) -> Usage {
        let input = self.prompt_token_count.0.saturating_add(self.tool_use_prompt_token_count.0);
        let output = self.candidates_token_count.0.saturating_add(self.thoughts_token_count.0);
        Usage {
            input,
            output,
            cached_input: self.cached_content_token_count.0.min(input),
            audio_input: self.prompt_tokens_details.0.min(input),
            audio_output: self.candidates_tokens_details.0.min(output),
            reasoning: self.thoughts_token_count.0,
            ..Usage::default()
        }
    }
}

/// `usageMetadata` as clients get it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stated {
    prompt_token_count: u64,
    candidates_token_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    thoughts_token_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    cached_content_token_count: u64,
    total_token_count: u64,
}

impl Stated {
    /// Out of our accounting.
    pub(super) fn of(usage: &Usage) -> Self {
        Self {
            prompt_token_count: usage.input,
            candidates_token_count: usage.output.saturating_sub(usage.reasoning),
            thoughts_token_count: usage.reasoning.min(usage.output),
            cached_content_token_count: usage.cached_input,
            total_token_count: usage.input.saturating_add(usage.output),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

// === Lenient numbers ===

/// A count: a whole number, also written as a float or a string; anything else is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count(pub u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lenient;
        impl<'de> Visitor<'de> for Lenient {
            type Value = Count;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a count")
            }

            fn visit_u64<E: Error>(self, count: u64) -> Result<Count, E> {
                Ok(Count(count))
            }

            fn visit_i64<E: Error>(self, count: i64) -> Result<Count, E> {
                Ok(Count(u64::try_from(count).unwrap_or(0)))
            }

            fn visit_f64<E: Error>(self, count: f64) -> Result<Count, E> {
                // Saturates, and takes what is no number for zero.
                Ok(Count(count as u64))
            }

            fn visit_str<E: Error>(self, count: &str) -> Result<Count, E> {
                Ok(Count(count.parse().unwrap_or(0)))
            }

            fn visit_unit<E: Error>(self) -> Result<Count, E> {
                Ok(Count(0))
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Count, E> {
                Ok(Count(0))
            }
        }
        deserializer.deserialize_any(Lenient)
    }
}

/// Tokens of sound among the entries of a `…TokensDetails` list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sound(pub u64);

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Detail {
            modality: Modality,
            token_count: Count,
        }
        #[derive(Default, PartialEq, Eq, Deserialize)]
        enum Modality {
            #[serde(rename = "AUDIO")]
            Audio,
            #[default]
            #[serde(other)]
            Other,
        }
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Sound;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list of counts by modality")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Sound, A::Error> {
                let mut sound = 0_u64;
                while let Some(detail) = list.next_element::<Detail>()? {
                    if detail.modality == Modality::Audio {
                        sound = sound.saturating_add(detail.token_count.0);
                    }
                }
                Ok(Sound(sound))
            }

            fn visit_unit<E: Error>(self) -> Result<Sound, E> {
                Ok(Sound(0))
            }
        }
        deserializer.deserialize_any(List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(text: &str) -> Usage {
        serde_json::from_str::<Counts>(text).expect("counts").usage()
    }

    #[test]
    fn thoughts_and_tool_prompts_are_included() {
        let stated = r#"{"promptTokenCount":100,"toolUsePromptTokenCount":7,"candidatesTokenCount":20,
            "thoughtsTokenCount":30,"cachedContentTokenCount":64,"totalTokenCount":157,"trafficType":"ON_DEMAND",
            "promptTokensDetails":[{"modality":"TEXT","tokenCount":90},{"modality":"AUDIO","tokenCount":10}],
            "candidatesTokensDetails":[{"modality":"AUDIO","tokenCount":5},{"modality":"SMELL"}]}"#;
        let expected = Usage {
            input: 107,
            output: 50,
            cached_input: 64,
            audio_input: 10,
            audio_output: 5,
            reasoning: 30,
            ..Usage::default()
        };
        assert_eq!(usage(stated), expected);
    }

    #[test]
    fn odd_figures_do_not_fail_a_bill() {
        let odd = r#"{"promptTokenCount":"12","candidatesTokenCount":-3,"thoughtsTokenCount":null,
            "cachedContentTokenCount":99.0,"promptTokensDetails":null}"#;
        assert_eq!(usage(odd), Usage { input: 12, cached_input: 12, ..Usage::default() });
    }

    #[test]
    fn what_is_written_reads_back() {
        let stated = Usage { input: 9, output: 5, cached_input: 3, reasoning: 2, ..Usage::default() };
        let text = serde_json::to_string(&Stated::of(&stated)).expect("JSON");
        assert!(text.contains(r#""candidatesTokenCount":3"#) && text.contains(r#""totalTokenCount":14"#), "{text}");
        assert_eq!(usage(&text), stated);
    }
}
