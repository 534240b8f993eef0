//! `finishReason` in both directions.
//!
//! Google ends calls of tools with `STOP`, so that a call was made must be seen elsewhere. Some reasons are failures of
//! the model: with no content before them they are errors of the provider, after content an end like another. Source:
//! ai.google.dev, read 2026-11-23.

use crate::chat::response::Finish;

/// What a reason says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The model was done.
    Stop,
    /// The limit was reached.
    Length,
    /// A filter cut it.
    Filtered,
    /// The model produced what its own interface cannot read.
    Broken,
}

impl Ending {
    /// Reads the word. An unknown one ends the answer plainly.
    pub(super) fn of(reason: &str) -> Self {
        match reason {
            "MAX_TOKENS" => Self::Length,
            "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "LANGUAGE" | "MODEL_ARMOR"
            | "ESCALATION" => Self::Filtered,
            "MALFORMED_FUNCTION_CALL"
            | "UNEXPECTED_TOOL_CALL"
            | "MISSING_THOUGHT_SIGNATURE"
            | "TOO_MANY_TOOL_CALLS"
            | "MALFORMED_RESPONSE" => Self::Broken,
            image if image.starts_with("IMAGE_") => Self::Filtered,
            _ => Self::Stop,
        }
    }

    /// The reason in the inner language.
    pub(super) fn finish(self, has_calls: bool) -> Finish {
        match self {
            _ if has_calls => Finish::ToolCalls,
            Self::Length => Finish::Length,
            Self::Filtered => Finish::ContentFilter,
            Self::Stop | Self::Broken => Finish::Stop,
        }
    }
}

/// The word for clients.
pub(super) fn word(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopText(_) | Finish::ToolCalls | Finish::Pause => "STOP",
        Finish::Length => "MAX_TOKENS",
        Finish::ContentFilter => "SAFETY",
    }
}
