//! A streamed answer in the one inner language: one delta a piece, in order.
//!
//! A dialect's stream reader makes them out of bytes, a dialect's stream writer makes bytes out of them. They borrow from the event they came
//! in, so that a plain text delta costs no allocation. Order: `Start` first; deltas of one choice as they come; each tool call is opened
//! before its input; a `Seal` belongs to the thinking before it; `Finish` once a choice; `Usage` anywhere, the last one counts.

use super::request::Seal;
use super::response::Finish;
use crate::domain::token::Usage;
use serde_json::Value;
use std::borrow::Cow;

/// A piece of a streamed answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta<'a> {
    /// The answer has begun.
    Start {
        /// The provider's id for it; empty if none.
        id: Cow<'a, str>,
        /// The model that runs, by the provider's name; empty if it did not say.
        model: Cow<'a, str>,
    },
    /// Words.
    Text {
        /// Which of several answers.
        choice: u32,
        /// The words.
        text: Cow<'a, str>,
    },
    /// Words of a refusal.
    Refusal {
        /// Which of several answers.
        choice: u32,
        /// The words.
        text: Cow<'a, str>,
    },
    /// Words of thinking.
    Thinking {
        /// Which of several answers.
        choice: u32,
        /// The words.
        text: Cow<'a, str>,
    },
    /// The seal on the thinking before it, which ends there; without words before it, a thought of its own (redacted or summarised away).
    Seal {
        /// Which of several answers.
        choice: u32,
        /// The seal, whole.
        seal: Seal,
    },
    /// A tool call begins.
    ToolStart {
        /// Which of several answers.
        choice: u32,
        /// Counts the calls of this choice from 0.
        index: u32,
        /// Its id, never empty: a reader makes one where the provider gave none.
        id: Cow<'a, str>,
        /// Which tool.
        name: Cow<'a, str>,
        /// Whether its input is free text instead of JSON.
        custom: bool,
        /// A seal on the call itself (Gemini).
        seal: Option<Seal>,
    },
    /// A fragment of a call's input. Fragments of several calls may alternate. A call without any has the input `{}`.
    ToolInput {
        /// Which of several answers.
        choice: u32,
        /// Which call.
        index: u32,
        /// The fragment; never parsed alone.
        json: Cow<'a, str>,
    },
    /// A call's input is complete.
    ToolEnd {
        /// Which of several answers.
        choice: u32,
        /// Which call.
        index: u32,
    },
    /// A picture, whole.
    Image {
        /// Which of several answers.
        choice: u32,
        /// As in `image/png`.
        media_type: Cow<'a, str>,
        /// Standard base64.
        data: Cow<'a, str>,
    },
    /// Log probabilities of what came with it, OpenAI's form.
    Logprobs {
        /// Which of several answers.
        choice: u32,
        /// `{"content":[…]}`.
        logprobs: Value,
    },
    /// A note on the text before (a citation), OpenAI's `annotations` entry.
    Annotation {
        /// Which of several answers.
        choice: u32,
        /// The entry.
        annotation: Value,
    },
    /// A choice has ended.
    Finish {
        /// Which of several answers.
        choice: u32,
        /// Why.
        reason: Finish,
    },
    /// What was used so far, cumulative.
    Usage(Usage),
    /// The provider lives; nothing to show.
    Ping,
    /// The provider failed inside the stream: its own words, JSON if it is what it should be. Nothing follows.
    Error {
        /// The bytes of the error, to be classified by the provider's fault book and scrubbed before anyone sees them.
        body: &'a [u8],
    },
}

impl Delta<'_> {
    /// Whether a user waits for what is in it: the first such delta is the first token, and ends what may be tried elsewhere.
    pub fn is_content(&self) -> bool {
        match self {
            Self::Text { text, .. } | Self::Refusal { text, .. } | Self::Thinking { text, .. } => !text.is_empty(),
            Self::ToolStart { .. } | Self::ToolInput { .. } | Self::Image { .. } => true,
            // An opaque thought is the first sign of life of some models.
            Self::Seal { .. } => true,
            _ => false,
        }
    }

    /// Bytes of generated text in it, for an estimate when no usage comes.
    pub fn content_bytes(&self) -> usize {
        match self {
            Self::Text { text, .. } | Self::Refusal { text, .. } | Self::Thinking { text, .. } => text.len(),
            Self::ToolStart { name, .. } => name.len(),
            Self::ToolInput { json, .. } => json.len(),
            _ => 0,
        }
    }
}
