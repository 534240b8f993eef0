//! Which generation of Gemini a model is, by its name: the generations differ in how thinking is asked for and what
//! history must carry.
//!
//! A name without a number (`gemini-flash-latest`) is taken for the newest, since that is what such aliases point at.
//! Source: the thinking and thought-signature pages of ai.google.dev, read 2026-11-23.

/// What a model's name says about its ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generation {
    /// Gemini up to 2.0: does not think.
    Early,
    /// Gemini 2.5: thinks for a budget of tokens.
    TwoFive,
    /// Gemini 3 and later: thinks by a level, and wants its signatures back on calls of tools.
    ThreeOn,
    /// Another model behind the same interface (Gemma): does not think by request.
    Other,
}

impl Generation {
    /// Reads a model's name, with or without the path before it (`models/`, `publishers/google/models/`).
    pub(super) fn of(model: &str) -> Self {
        let Some(rest) = last_segment(model).strip_prefix("gemini-") else { return Self::Other };
        let number = rest.split_once('-').map_or(rest, |(number, _)| number);
        let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
        match (major.parse::<u32>(), minor.parse::<u32>()) {
            (Ok(0..=1), _) | (Ok(2), Ok(0..=4)) => Self::Early,
            (Ok(2), _) => Self::TwoFive,
            _ => Self::ThreeOn,
        }
    }
}

/// Whether the model is one of the large ones, whose thinking cannot be turned off.
pub(super) fn is_pro(model: &str) -> bool {
    last_segment(model).split('-').any(|word| word == "pro")
}

/// Whether the model is one of the light ones.
pub(super) fn is_lite(model: &str) -> bool {
    last_segment(model).split('-').any(|word| word == "lite")
}

fn last_segment(model: &str) -> &str {
    model.rsplit_once('/').map_or(model, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_generation() {
        let rows = [
            ("gemini-1.5-pro-002", Generation::Early),
            ("gemini-2.0-flash", Generation::Early),
            ("gemini-2.5-flash-lite", Generation::TwoFive),
            ("models/gemini-2.5-pro", Generation::TwoFive),
            ("gemini-3-flash-preview", Generation::ThreeOn),
            ("publishers/google/models/gemini-3.8-flash", Generation::ThreeOn),
            ("gemini-4-argon", Generation::ThreeOn),
            ("gemini-flash-latest", Generation::ThreeOn),
            ("gemma-3-27b-it", Generation::Other),
            ("", Generation::Other),
        ];
        for (model, generation) in rows {
            assert_eq!(Generation::of(model), generation, "{model}");
        }
        assert!(is_pro("models/gemini-pro-latest") && !is_pro("gemini-3-flash-preview"));
    }
}
