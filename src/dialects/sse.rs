//! Server-sent events as the frame of most formats: a decoder of single events becomes a [`StreamReader`], and writers share the frame.

use super::refrain::{Refrain, Verse, written};
use super::{Sink, StreamReader};
use crate::chat::delta::Delta;
use crate::http::sse::{self, DataLines, EventAssembler, EventScanner, EventTaker};
use crate::json::shape::Values;
use crate::limits::SSE_EVENT_BYTES_MAX;
use std::borrow::Cow;

/// One format's decoder: an event in, deltas out.
pub trait EventDecoder {
    /// Takes one event that has data: its name, if it has one, and its data, the lines joined.
    fn event(&mut self, name: Option<&[u8]>, data: &[u8], sink: Sink<'_>);

    /// What may differ in an event that would say the same as this one, which was just taken, if that is known.
    fn values(&mut self, _data: &[u8]) -> Option<Values> {
        None
    }

    /// Takes an event like the one last named by [`values`](Self::values): its words, and the numbers that stand in the places of
    /// [`Values::others`].
    fn again(&mut self, _words: Cow<'_, str>, _number: &dyn Fn(usize) -> Option<u64>, _sink: Sink<'_>) {}

    /// A comment: the provider lives.
    fn comment(&mut self, sink: Sink<'_>) {
        sink(Delta::Ping);
    }

    /// Whether the format's own end has been seen.
    fn is_complete(&self) -> bool;
}

/// Bytes to events to deltas.
pub struct EventReader<D> {
    assembler: EventAssembler,
    decoder: D,
    refrain: Refrain,
    joined: Vec<u8>,
    /// The provider has failed: nothing follows, whatever comes.
    failed: bool,
}

impl<D: EventDecoder> EventReader<D> {
    /// A reader at the start of a stream.
    pub fn new(decoder: D) -> Self {
        let assembler = EventAssembler::new(SSE_EVENT_BYTES_MAX);
        Self { assembler, decoder, refrain: Refrain::default(), joined: Vec::new(), failed: false }
    }
}

impl<D: EventDecoder> StreamReader for EventReader<D> {
    fn push(&mut self, bytes: &[u8], sink: Sink<'_>) {
        let Self { assembler, decoder, refrain, joined, failed } = self;
        assembler.push_with(bytes, &mut Push { decoder, refrain, joined, failed, sink });
    }

    fn is_complete(&self) -> bool {
        // After an event beyond the bound nothing is known: what follows cannot be told from a cut.
        self.decoder.is_complete() && !self.assembler.gave_up()
    }
}

/// One read on its way through a decoder.
struct Push<'p, D> {
    decoder: &'p mut D,
    refrain: &'p mut Refrain,
    joined: &'p mut Vec<u8>,
    failed: &'p mut bool,
    sink: Sink<'p>,
}

impl<D: EventDecoder> EventTaker for Push<'_, D> {
    fn takes(&mut self, scanner: &mut EventScanner, buffer: &[u8]) -> bool {
        let Self { decoder, refrain, failed, sink, .. } = self;
        let Some(verse) = refrain.next(scanner, buffer) else { return false };
        let Verse { words, .. } = verse;
        let words = written(words);
        decoder.again(words, &|other| refrain.number(&verse, other), &mut until_error(failed, sink));
        true
    }

    fn event(&mut self, event: &[u8], closed: &[u8]) {
        let Self { decoder, refrain, joined, failed, sink } = self;
        let lines = sse::data(event);
        match lines.joined(joined) {
            Some(data) => {
                decoder.event(sse::name(event), data, &mut until_error(failed, sink));
                if let (DataLines::One(data), true, false) = (lines, refrain.is_open(), **failed)
                    && let Some(values) = decoder.values(data)
                {
                    refrain.learn(closed, data, &values, values.words.len());
                }
            }
            None if sse::is_comment(event) => decoder.comment(&mut until_error(failed, sink)),
            None => {}
        }
    }
}

/// A sink that takes nothing after an error.
fn until_error<'f>(failed: &'f mut bool, sink: &'f mut dyn FnMut(Delta<'_>)) -> impl FnMut(Delta<'_>) + 'f {
    move |delta| {
        if !*failed {
            *failed = matches!(delta, Delta::Error { .. });
            sink(delta);
        }
    }
}

/// Writes one event. `data` appends its single line of data.
pub fn event(out: &mut Vec<u8>, name: Option<&str>, data: impl FnOnce(&mut Vec<u8>)) {
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    data(out);
    out.extend_from_slice(b"\n\n");
}
