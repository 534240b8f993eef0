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
    pub(super) events: Events,
    /// Completion tokens of the whole answer.
    pub(super) completion_tokens: u32,
    /// What breaks the stream when the provider fails after so many events.
    pub(super) broken: Option<fn(u32) -> Vec<u8>>,
}

/// Events in one piece of memory: a stream may wait with all of them for long, beside thousands of others.
#[derive(Default)]
pub(super) struct Events {
    bytes: Box<[u8]>,
    /// Where each event ends, and the tokens produced once it has left.
    ends: Box<[(u32, u32)]>,
}

impl Events {
    fn count(&self) -> u32 {
        self.ends.len() as u32
    }

    fn get(&self, index: u32) -> &[u8] {
        let index = index as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before].0);
        &self.bytes[start as usize..self.ends[index].0 as usize]
    }

    fn tokens_after(&self, events: u32) -> u32 {
        events.checked_sub(1).map_or(0, |last| self.ends[last as usize].1)
    }
}

impl FromIterator<(Vec<u8>, u32)> for Events {
    fn from_iter<I: IntoIterator<Item = (Vec<u8>, u32)>>(events: I) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for (event, tokens) in events {
            bytes.extend_from_slice(&event);
            ends.push((bytes.len() as u32, tokens));
        }
        Self { bytes: bytes.into(), ends: ends.into() }
    }
}

impl From<Vec<(Vec<u8>, u32)>> for Events {
    fn from(events: Vec<(Vec<u8>, u32)>) -> Self {
        events.into_iter().collect()
    }
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
            Self::Told(told) => told.events.count(),
        }
    }

    pub(super) fn event(&self, index: u32, out: &mut Vec<u8>) {
        match self {
            Self::Chat(answer) => answer.event(index, out),
            Self::Told(told) => out.extend_from_slice(told.events.get(index)),
        }
    }

    /// Completion tokens produced by the time so many events have left.
    pub(super) fn tokens_after(&self, events: u32) -> u32 {
        match self {
            Self::Chat(answer) => answer.tokens_after(events),
            Self::Told(told) => told.events.tokens_after(events),
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
