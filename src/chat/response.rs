//! A whole answer in the one inner language.

use super::request::{Thinking, ToolCall};
use crate::domain::token::Usage;
use serde_json::Value;

/// What a provider answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// The provider's id for it; empty if it gave none.
    pub id: String,
    /// The model that ran, by the provider's name; empty if it did not say.
    pub model: String,
    /// The answers, by index. One, unless several were asked for.
    pub choices: Vec<Choice>,
    /// What it used; `None` if the provider did not say.
    pub usage: Option<Usage>,
    /// Class of service that was given, if told.
    pub service_tier: Option<String>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Which of several.
    pub index: u32,
    /// Its pieces in order.
    pub pieces: Vec<Piece>,
    /// Why it ended.
    pub finish: Finish,
    /// Log probabilities in OpenAI's form (`{"content":[…]}`).
    pub logprobs: Option<Value>,
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Words.
    Text(String),
    /// A refusal in the model's own words.
    Refusal(String),
    /// What it thought.
    Thinking(Thinking),
    /// A call of a tool.
    ToolCall(ToolCall),
    /// A picture it made.
    Image {
        /// As in `image/png`.
        media_type: String,
        /// Standard base64.
        data: String,
    },
    /// Sound it made, OpenAI's `audio` object whole.
    Audio(Value),
    /// Notes on the text before (citations), OpenAI's `annotations` entry each.
    Annotation(Value),
}

/// Why an answer ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Finish {
    /// The model was done.
    #[default]
    Stop,
    /// One of the stop texts came, and which, where told.
    StopText(Option<String>),
    /// The limit on tokens, or the window, was reached.
    Length,
    /// It calls tools and waits.
    ToolCalls,
    /// Filtered, or refused.
    ContentFilter,
    /// A hosted tool runs on: send the turn back to go on (Anthropic's `pause_turn`).
    Pause,
}

/// An answer that cannot be read although its status said success: the provider's doing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer cannot be read: {0}")]
pub struct Unreadable(pub &'static str);
