//! Everything that will be said in answer to one request, in the bytes of its surface, whole or event by event.

use super::fault::Directives;
use super::openai;

/// Work that a model does for a request.
pub(super) struct Work {
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) prompt_tokens: u32,
    pub(super) directives: Directives,
    pub(super) script: Script,
}

/// Everything that will be said in answer.
pub(super) enum Script {
    /// A chat answer whose events are written when their turn comes.
    Chat(Box<openai::Answer<'static>>),
    /// An answer written ahead.
    Told(Told),
}

/// An answer written ahead, whole or event by event.
#[derive(Default)]
pub(super) struct Told {
    /// Media type of the answer.
    pub(super) kind: &'static str,
    /// The unary body.
    pub(super) whole: Vec<u8>,
    /// The events of a stream, each with the completion tokens that have been produced once it has left.
    pub(super) events: Vec<(Vec<u8>, u32)>,
    /// Completion tokens of the whole answer.
    pub(super) completion_tokens: u32,
    /// What breaks the stream when the provider fails after so many events.
    pub(super) broken: Option<fn(u32) -> Vec<u8>>,
}

impl Told {
    /// A unary JSON answer.
    pub(super) fn json(whole: impl Into<Vec<u8>>, completion_tokens: u32) -> Self {
        Self { kind: "application/json", whole: whole.into(), completion_tokens, ..Self::default() }
    }
}

impl Script {
    pub(super) fn kind(&self, stream: bool) -> &'static str {
        match self {
            Self::Chat(_) if stream => "text/event-stream; charset=utf-8",
            Self::Chat(_) => "application/json",
            Self::Told(told) => told.kind,
        }
    }

    pub(super) fn unary(&self, out: &mut Vec<u8>) {
        match self {
            Self::Chat(answer) => answer.unary(out),
            Self::Told(told) => out.extend_from_slice(&told.whole),
        }
    }

    pub(super) fn events(&self) -> u32 {
        match self {
            Self::Chat(answer) => answer.events(),
            Self::Told(told) => told.events.len() as u32,
        }
    }

    pub(super) fn event(&self, index: u32, out: &mut Vec<u8>) {
        match self {
            Self::Chat(answer) => answer.event(index, out),
            Self::Told(told) => out.extend_from_slice(&told.events[index as usize].0),
        }
    }

    /// Completion tokens produced by the time so many events have left.
    pub(super) fn tokens_after(&self, events: u32) -> u32 {
        match self {
            Self::Chat(answer) => answer.tokens_after(events),
            Self::Told(told) => events.checked_sub(1).map_or(0, |last| told.events[last as usize].1),
        }
    }

    pub(super) fn completion_tokens(&self) -> u32 {
        match self {
            Self::Chat(answer) => answer.completion_tokens(),
            Self::Told(told) => told.completion_tokens,
        }
    }

    /// The error event that breaks its stream after so many events.
    pub(super) fn broken(&self, sent: u32, out: &mut Vec<u8>) {
        match self {
            Self::Chat(_) => out.extend_from_slice(openai::Refusal::for_status(500).event().as_bytes()),
            Self::Told(told) => out.extend(told.broken.into_iter().flat_map(|broken| broken(sent))),
        }
    }
}
