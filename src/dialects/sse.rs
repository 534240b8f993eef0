//! Server-sent events as the frame of most formats: a decoder of single events becomes a [`StreamReader`], and writers share the frame.

use super::{Sink, StreamReader};
use crate::chat::delta::Delta;
use crate::http::sse::{self, EventAssembler};
use crate::limits::SSE_EVENT_BYTES_MAX;

/// One format's decoder: an event in, deltas out.
pub trait EventDecoder {
    /// Takes one event that has data: its name, if it has one, and its data, the lines joined.
    fn event(&mut self, name: Option<&[u8]>, data: &[u8], sink: Sink<'_>);

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
    joined: Vec<u8>,
    /// The provider has failed: nothing follows, whatever comes.
    failed: bool,
}

impl<D: EventDecoder> EventReader<D> {
    /// A reader at the start of a stream.
    pub fn new(decoder: D) -> Self {
        Self { assembler: EventAssembler::new(SSE_EVENT_BYTES_MAX), decoder, joined: Vec::new(), failed: false }
    }
}

impl<D: EventDecoder> StreamReader for EventReader<D> {
    fn push(&mut self, bytes: &[u8], sink: Sink<'_>) {
        let Self { assembler, decoder, joined, failed } = self;
        assembler.push(bytes, |event| {
            let mut until_error = |delta: Delta<'_>| {
                if !*failed {
                    *failed = matches!(delta, Delta::Error { .. });
                    sink(delta);
                }
            };
            match sse::data(event).joined(joined) {
                Some(data) => decoder.event(sse::name(event), data, &mut until_error),
                None if sse::is_comment(event) => decoder.comment(&mut until_error),
                None => {}
            }
        });
    }

    fn is_complete(&self) -> bool {
        // After an event beyond the bound nothing is known: what follows cannot be told from a cut.
        self.decoder.is_complete() && !self.assembler.gave_up()
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
