//! The relay of a stream whose format both sides speak and which is not Chat: bytes pass event by event, and only what a bill needs is read.
//!
//! What leaves is what came. Two exceptions: the last event of a Responses stream gains the gateway's `metadata` inside its `response`, and a
//! Gemini client that did not ask for server-sent events gets the same objects as elements of a JSON array. An event whose end has not come is
//! kept, so that a cut stream leaves no half event behind (rule H17).

use super::stream::{Progress, StreamFacts, WriteMetadata};
use crate::dialects::refrain::Refrain;
use crate::dialects::{Wire, anthropic, gemini, responses};
use crate::domain::token::Usage;
use crate::http::sse::{self, DataLines, EventScanner};
use crate::json::shape::Values;
use crate::limits;

/// What stands around the inside of the `metadata` member.
const OPEN: &[u8] = b"\"metadata\":{";

/// One stream being relayed.
pub struct NativeRelay {
    tap: Tap,
    scanner: EventScanner,
    /// Knows the events that are like one before them but for their words: nearly all.
    refrain: Refrain,
    /// The beginning of an event whose end has not come.
    partial: Vec<u8>,
    progress: Progress,
    framing: Framing,
    /// Whether the last event gains `metadata`, where its format has a place for it.
    metadata: bool,
    /// An event outgrew the tap; from there on bytes pass unseen.
    blind: bool,
    facts: StreamFacts,
    error: Option<Vec<u8>>,
}

/// How the client gets the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// As they came.
    Events,
    /// As elements of an array; whether one has gone out.
    Array { begun: bool },
}

/// The reader of a format's events.
enum Tap {
    Messages(anthropic::tap::UsageTap),
    Gemini(gemini::tap::UsageTap),
    /// What the final event says was used.
    Responses(Option<Usage>),
}

/// What one event is to the exchange.
struct Seen {
    progress: Progress,
    content: bool,
    content_bytes: usize,
}

impl NativeRelay {
    /// A relay at the start of a stream; `None` for a format that has a relay of its own or never passes.
    pub fn new(wire: Wire, array: bool, metadata: bool) -> Option<Self> {
        let tap = match wire {
            Wire::Messages => Tap::Messages(Default::default()),
            Wire::Gemini => Tap::Gemini(Default::default()),
            Wire::Responses => Tap::Responses(None),
            Wire::Chat | Wire::Converse | Wire::Cohere => return None,
        };
        Some(Self {
            tap,
            scanner: EventScanner::new(),
            refrain: if array { Refrain::never() } else { Refrain::default() },
            partial: Vec::new(),
            progress: Progress::Open,
            framing: if array { Framing::Array { begun: false } } else { Framing::Events },
            metadata,
            blind: false,
            facts: StreamFacts::default(),
            error: None,
        })
    }

    /// Reads every event in full from here on.
    #[cfg(test)]
    pub(super) fn reads_all(&mut self) {
        self.refrain = Refrain::never();
    }

    /// How many events were known by the refrain.
    #[cfg(test)]
    pub(super) fn verses(&self) -> usize {
        self.refrain.verses
    }

    /// What is known so far.
    pub fn facts(&self) -> &StreamFacts {
        &self.facts
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Whether its format's own end may still be missing when its bytes end; unknown once an event outgrew the tap.
    pub fn is_cut(&self) -> bool {
        self.progress == Progress::Open && !self.blind
    }

    /// Whether its figures are final: its format has come to its end, and nothing can follow that changes them. Gemini's last object may not be.
    pub fn is_final(&self) -> bool {
        self.progress == Progress::Done && !matches!(self.tap, Tap::Gemini(_))
    }

    /// The provider's words, if it failed inside the stream.
    pub fn error(&self) -> Option<&[u8]> {
        self.error.as_deref()
    }

    /// Takes what one upstream read brought and appends to `out` what may leave now.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>, metadata: WriteMetadata<'_>) {
        if self.blind {
            return out.extend_from_slice(bytes);
        }
        if self.partial.is_empty() {
            let rest = self.settle_all(bytes, out, metadata);
            self.partial.extend_from_slice(&bytes[rest..]);
        } else {
            // Taken out while it is read, so that the rest of `self` can be used beside it.
            let mut joined = std::mem::take(&mut self.partial);
            joined.extend_from_slice(bytes);
            let rest = self.settle_all(&joined, out, metadata);
            joined.drain(..rest);
            self.partial = joined;
        }
        self.scanner.discard_consumed();
        if self.partial.len() > limits::SSE_EVENT_BYTES_MAX && self.framing == Framing::Events {
            self.blind = true;
            out.append(&mut self.partial);
        }
    }

    /// Settles every whole event of `buffer`; returns where the unfinished rest begins.
    fn settle_all(&mut self, buffer: &[u8], out: &mut Vec<u8>, metadata: WriteMetadata<'_>) -> usize {
        let mut start = self.scanner.consumed();
        loop {
            if let Some(end) = self.take_known(buffer) {
                out.extend_from_slice(&buffer[start..end]);
                start = end;
            }
            let Some(event) = self.scanner.next_event(buffer) else { break };
            let end = self.scanner.consumed();
            let (first, whole) = (event.start - start, &buffer[start..end]);
            self.settle(&buffer[event], first, whole, out, metadata);
            start = end;
        }
        let end = self.scanner.consumed();
        // Empty lines between events belong to what stands before them.
        if self.framing == Framing::Events {
            out.extend_from_slice(&buffer[start..end]);
        }
        end
    }

    /// Takes the events at the front that are like one before them; where they end, if there are any.
    fn take_known(&mut self, buffer: &[u8]) -> Option<usize> {
        let mut end = None;
        while let Some(verse) = self.refrain.next(&mut self.scanner, buffer) {
            if let Tap::Gemini(tap) = &mut self.tap {
                tap.repeat(|other| self.refrain.number(&verse, other));
            }
            let usage = self.tap.usage().filter(|usage| self.facts.usage != Some(*usage));
            self.facts.note(usage, verse.content_bytes, verse.content_bytes > 0);
            end = Some(self.scanner.consumed());
        }
        end
    }

    /// Ends a stream whose body ended cleanly.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match self.framing {
            Framing::Events => out.append(&mut self.partial),
            Framing::Array { begun: true } => out.extend_from_slice(b"]"),
            Framing::Array { begun: false } => out.extend_from_slice(b"[]"),
        }
    }

    fn settle(&mut self, event: &[u8], first: usize, whole: &[u8], out: &mut Vec<u8>, metadata: WriteMetadata<'_>) {
        let mut spare = Vec::new();
        let Some(data) = sse::data(event).joined(&mut spare) else {
            // Comments keep the connection alive; an array has no place for them.
            if self.framing == Framing::Events {
                out.extend_from_slice(whole);
            }
            return;
        };
        let seen = self.tap.look(sse::name(event), data);
        // What was stated before is no news: only a figure that changes covers what came until now.
        let usage = self.tap.usage().filter(|usage| self.facts.usage != Some(*usage));
        self.facts.note(usage, seen.content_bytes, seen.content);
        if seen.progress == Progress::Failed && self.error.is_none() {
            self.error = Some(data.to_vec());
        }
        if self.progress != Progress::Failed && seen.progress != Progress::Open {
            self.progress = seen.progress;
        }
        if seen.content_bytes > 0 && seen.progress == Progress::Open && self.refrain.is_open() {
            self.learn(event, &whole[first..], seen.content_bytes);
        }
        match &mut self.framing {
            Framing::Array { begun } => {
                out.extend_from_slice(if std::mem::replace(begun, true) { b",\r\n" } else { b"[" });
                out.extend_from_slice(data);
            }
            Framing::Events => {
                let changed = (self.metadata && seen.progress == Progress::Done)
                    .then(|| self.with_metadata(data, metadata))
                    .flatten();
                match changed {
                    Some(data) => {
                        let name = sse::name(event).and_then(|name| std::str::from_utf8(name).ok());
                        crate::dialects::sse::event(out, name, |out| out.extend_from_slice(&data));
                    }
                    None => out.extend_from_slice(whole),
                }
            }
        }
    }

    fn learn(&mut self, event: &[u8], whole: &[u8], content_bytes: usize) {
        // Only data of one line stands in the event as it is.
        let DataLines::One(data) = sse::data(event) else { return };
        if let Some(values) = self.tap.values(data) {
            self.refrain.learn(whole, data, &values, content_bytes);
        }
    }

    fn with_metadata(&self, data: &[u8], metadata: WriteMetadata<'_>) -> Option<Vec<u8>> {
        let Tap::Responses(_) = self.tap else { return None };
        let mut member = Vec::new();
        metadata(&self.facts, &mut member);
        responses::tap::with_metadata(data, member.strip_prefix(OPEN)?.strip_suffix(b"}")?)
    }
}

impl Tap {
    fn look(&mut self, name: Option<&[u8]>, data: &[u8]) -> Seen {
        match self {
            Self::Messages(tap) => {
                use anthropic::tap::Kind;
                let facts = tap.look(name, data);
                let progress = match facts.kind {
                    // The reason is not the end: `message_stop` is.
                    Kind::Plain | Kind::Finish => Progress::Open,
                    Kind::Error => Progress::Failed,
                    Kind::Done => Progress::Done,
                };
                Seen { progress, content: facts.content, content_bytes: facts.content_bytes }
            }
            Self::Gemini(tap) => {
                use gemini::tap::Kind;
                let facts = tap.look(data);
                let progress = match facts.kind {
                    Kind::Plain => Progress::Open,
                    Kind::Error => Progress::Failed,
                    Kind::Finish => Progress::Done,
                };
                Seen { progress, content: facts.content, content_bytes: facts.content_bytes }
            }
            Self::Responses(usage) => {
                use responses::tap::Kind;
                let facts = responses::tap::look(name, data);
                *usage = facts.usage.or(*usage);
                let progress = match facts.kind {
                    Kind::Plain => Progress::Open,
                    Kind::Error => Progress::Failed,
                    Kind::Done => Progress::Done,
                };
                Seen { progress, content: facts.content, content_bytes: facts.content_bytes }
            }
        }
    }

    /// What may differ in an event that says the same as this one, which was just looked at.
    fn values(&mut self, data: &[u8]) -> Option<Values> {
        match self {
            Self::Messages(_) => anthropic::tap::values(data),
            Self::Gemini(tap) => tap.values(data),
            Self::Responses(_) => responses::tap::values(data),
        }
    }

    fn usage(&self) -> Option<Usage> {
        match self {
            Self::Messages(tap) => tap.usage(),
            Self::Gemini(tap) => tap.usage(),
            Self::Responses(usage) => *usage,
        }
    }
}
