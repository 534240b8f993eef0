//! The relay of server-sent events: bytes pass as they arrive, whole events at a time, and only the last one is touched.
//!
//! Pure: bytes in, bytes out. What leaves is what came, except that the event which ends the answer gains `metadata`, and the usage event
//! that only we asked for is taken out. An event is held back only when it may be that last one, and only until the next one is seen
//! (rule H18; the held event carries a finish reason or the usage, so no text waits). A truncated stream never ends cleanly (rule H17).

use crate::dialects::refrain::Refrain;
use crate::domain::token::Usage;
use crate::http::sse::{self, DataLines, EventScanner};
use crate::limits;
use crate::metering::tap::{self, EventFacts, EventKind};
use crate::metering::usage::Accounting;

/// What the client and the configuration want of this stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamWishes {
    /// Whether the last event gains the `metadata` member.
    pub metadata: bool,
    /// Whether the client asked for the usage event itself.
    pub usage_event: bool,
    /// How the provider counts.
    pub accounting: Accounting,
}

/// How far the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Events may follow.
    Open,
    /// The provider said `[DONE]`.
    Done,
    /// The provider reported an error inside the stream.
    Failed,
}

/// One stream being relayed.
pub struct StreamRelay {
    wishes: StreamWishes,
    scanner: EventScanner,
    /// Knows the events that are like one before them but for their words: nearly all.
    refrain: Refrain,
    /// A whole event that may be the last one.
    held: Vec<u8>,
    /// Where its object closes, if another member may stand before that.
    held_brace: Option<usize>,
    /// The beginning of an event whose end has not come.
    partial: Vec<u8>,
    progress: Progress,
    /// An event outgrew the tap; from there on bytes pass unseen.
    blind: bool,
    facts: StreamFacts,
}

/// What was learnt on the way.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamFacts {
    /// The provider's own figure, the last one stated.
    pub usage: Option<Usage>,
    /// Bytes of generated content seen, for an estimate when no figure came.
    pub content_bytes: usize,
    /// The part of them that came after the figure was stated.
    pub unstated_bytes: usize,
    /// Whether any generated content has passed.
    pub content_seen: bool,
}

// === impl StreamFacts ===

impl StreamFacts {
    /// A figure that the provider has stated, and nothing of its text.
    pub fn stated(usage: Option<Usage>) -> Self {
        Self { usage, ..Self::default() }
    }

    /// Takes in what an event brought: a figure covers the content that came with it and before.
    pub fn note(&mut self, usage: Option<Usage>, content_bytes: usize, is_content: bool) {
        self.content_bytes += content_bytes;
        self.content_seen |= is_content;
        self.unstated_bytes = if usage.is_some() { 0 } else { self.unstated_bytes + content_bytes };
        self.usage = usage.or(self.usage);
    }
}

/// Appends the member `"metadata":{…}` for these facts.
pub type WriteMetadata<'w> = &'w mut dyn FnMut(&StreamFacts, &mut Vec<u8>);

impl StreamRelay {
    /// A relay at the start of a stream.
    pub fn new(wishes: StreamWishes) -> Self {
        Self {
            wishes,
            scanner: EventScanner::new(),
            refrain: Refrain::default(),
            held: Vec::new(),
            held_brace: None,
            partial: Vec::new(),
            progress: Progress::Open,
            blind: false,
            facts: StreamFacts::default(),
        }
    }

    /// What is known so far.
    pub fn facts(&self) -> &StreamFacts {
        &self.facts
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Takes what one upstream read brought and appends to `out` what may leave now. `metadata` is called at most once a stream.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>, metadata: WriteMetadata<'_>) {
        if self.blind {
            out.extend_from_slice(bytes);
            return;
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
        if self.partial.len() > limits::SSE_EVENT_BYTES_MAX {
            self.go_blind(out);
        }
    }

    /// Settles every whole event of `buffer`, its closing empty line included; returns where the unfinished rest begins.
    fn settle_all(&mut self, buffer: &[u8], out: &mut Vec<u8>, metadata: WriteMetadata<'_>) -> usize {
        let mut start = self.scanner.consumed();
        loop {
            if let Some(end) = self.take_known(buffer) {
                self.pass(&buffer[start..end], out);
                start = end;
            }
            let Some(event) = self.scanner.next_event(buffer) else { break };
            let end = self.scanner.consumed();
            let (first, whole) = (event.start - start, &buffer[start..end]);
            self.settle(&buffer[event], first, whole, out, metadata);
            start = end;
        }
        let end = self.scanner.consumed();
        // Empty lines between events, such as the LF of a CR LF that was split: they belong to what stands before them.
        let before = if self.held.is_empty() { out } else { &mut self.held };
        before.extend_from_slice(&buffer[start..end]);
        end
    }

    /// Takes the events at the front that are like one before them; where they end, if there are any.
    fn take_known(&mut self, buffer: &[u8]) -> Option<usize> {
        let mut end = None;
        while let Some(verse) = self.refrain.next(&mut self.scanner, buffer) {
            self.facts.note(None, verse.content_bytes, verse.content_bytes > 0);
            end = Some(self.scanner.consumed());
        }
        end
    }

    /// Ends a stream whose body ended cleanly: what is held leaves, with its metadata unless `[DONE]` has taken it along.
    pub fn finish(&mut self, out: &mut Vec<u8>, metadata: WriteMetadata<'_>) {
        if self.progress == Progress::Open && !self.held.is_empty() {
            self.release_last(out, metadata);
        }
        out.append(&mut self.held);
        out.append(&mut self.partial);
    }

    /// Ends a stream that broke off: a held event is whole and leaves as it is, an unfinished one is dropped.
    pub fn abandon(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
        self.partial.clear();
    }

    /// Decides on one event; `whole` is its bytes with the empty lines around it, in which it begins at `first`.
    fn settle(&mut self, event: &[u8], first: usize, whole: &[u8], out: &mut Vec<u8>, metadata: WriteMetadata<'_>) {
        let DataLines::One(data) = sse::data(event) else {
            // Comments keep the connection alive, and no OpenAI-shaped provider writes data of several lines.
            return self.pass(whole, out);
        };
        let seen = tap::look(data, self.wishes.accounting);
        let is_content = matches!(seen.kind, EventKind::Delta { content: true, .. });
        self.facts.note(seen.usage, seen.content_bytes, is_content);
        match seen.kind {
            EventKind::Delta { finish: true, .. } => self.hold(data, &seen, whole, out),
            EventKind::UsageOnly if self.wishes.usage_event => self.hold(data, &seen, whole, out),
            // Only we asked for it: the client sees the figure in `metadata` instead.
            EventKind::UsageOnly => {}
            EventKind::Delta { finish: false, .. } | EventKind::Opaque => {
                if is_content && self.refrain.is_open() {
                    self.learn(data, &seen, &whole[first..]);
                }
                self.pass(whole, out);
            }
            EventKind::Error => {
                self.progress = Progress::Failed;
                self.pass(whole, out);
            }
            EventKind::Done => {
                self.release_last(out, metadata);
                out.extend_from_slice(whole);
                self.progress = Progress::Done;
            }
        }
    }

    fn learn(&mut self, data: &[u8], seen: &EventFacts, event: &[u8]) {
        if let Some(values) = tap::values(data, seen, self.wishes.accounting) {
            self.refrain.learn(event, data, &values, seen.content_bytes);
        }
    }

    fn pass(&mut self, whole: &[u8], out: &mut Vec<u8>) {
        out.append(&mut self.held);
        out.extend_from_slice(whole);
    }

    fn hold(&mut self, data: &[u8], seen: &EventFacts, whole: &[u8], out: &mut Vec<u8>) {
        if !self.wishes.metadata {
            return self.pass(whole, out);
        }
        out.append(&mut self.held);
        self.held.extend_from_slice(whole);
        let object = seen.object.filter(|_| !seen.has_metadata);
        // `data` is a part of `whole`: where it begins there is the distance of the two.
        let offset = (data.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        self.held_brace = object.map(|object| offset + object.closing_brace()).filter(|brace| *brace < whole.len());
    }

    /// Writes the held event with `metadata` before the closing brace of its object, or an event of its own where none is held.
    fn release_last(&mut self, out: &mut Vec<u8>, metadata: WriteMetadata<'_>) {
        if !self.wishes.metadata {
            return out.append(&mut self.held);
        }
        match self.held_brace.filter(|_| !self.held.is_empty()) {
            Some(brace) => {
                out.extend_from_slice(&self.held[..brace]);
                out.push(b',');
                metadata(&self.facts, out);
                out.extend_from_slice(&self.held[brace..]);
                self.held.clear();
            }
            None => {
                out.append(&mut self.held);
                out.extend_from_slice(b"data: {\"object\":\"chat.completion.chunk\",\"choices\":[],");
                metadata(&self.facts, out);
                out.extend_from_slice(b"}\n\n");
            }
        }
    }

    fn go_blind(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
        out.append(&mut self.partial);
        self.blind = true;
    }
}

#[cfg(test)]
#[path = "stream_twin_tests.rs"]
mod twins;

#[cfg(test)]
mod tests {
    use super::*;

    const DELTA: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}]}\n\n";
    const FINISH: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    const USAGE: &str =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    fn wishes(metadata: bool, usage_event: bool) -> StreamWishes {
        StreamWishes { metadata, usage_event, accounting: Accounting::OpenAi }
    }

    fn write(facts: &StreamFacts, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("\"metadata\":{{\"out\":{}}}", facts.usage.map_or(0, |u| u.output)).as_bytes());
    }

    /// Relays `text` cut into pieces of `size` bytes, to its clean end.
    fn relay(text: &str, size: usize, wishes: StreamWishes) -> (String, StreamRelay) {
        let mut relay = StreamRelay::new(wishes);
        let mut out = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            relay.feed(piece, &mut out, &mut write);
        }
        relay.finish(&mut out, &mut write);
        (String::from_utf8(out).expect("text"), relay)
    }

    #[test]
    fn the_finishing_event_gains_metadata_and_our_own_usage_event_is_taken_out() {
        let text = [DELTA, FINISH, USAGE, DONE].concat();
        let finish = FINISH.replace("]}\n", "],\"metadata\":{\"out\":2}}\n");
        let (out, relay) = relay(&text, text.len(), wishes(true, false));
        assert_eq!(out, [DELTA, &finish, DONE].concat());
        assert_eq!(relay.progress(), Progress::Done);
        assert_eq!(relay.facts().content_bytes, 2);
    }

    #[test]
    fn a_usage_event_that_the_client_asked_for_carries_the_metadata() {
        let text = [DELTA, FINISH, USAGE, DONE].concat();
        let usage = USAGE.replace("}}\n", "},\"metadata\":{\"out\":2}}\n");
        let (out, _) = relay(&text, text.len(), wishes(true, true));
        assert_eq!(out, [DELTA, FINISH, &usage, DONE].concat());
    }

    #[test]
    fn without_metadata_the_bytes_are_the_providers() {
        let text = [DELTA, ": keep-alive\n\n", FINISH, USAGE, DONE].concat();
        for size in 1..text.len() {
            assert_eq!(relay(&text, size, wishes(false, true)).0, text, "pieces of {size}");
        }
    }

    #[test]
    fn any_split_gives_the_same_result() {
        let text = [DELTA, ": ping\r\n\r\n", DELTA, FINISH, USAGE, DONE].concat();
        for usage_event in [false, true] {
            let whole = relay(&text, text.len(), wishes(true, usage_event)).0;
            for size in 1..text.len() {
                assert_eq!(relay(&text, size, wishes(true, usage_event)).0, whole, "pieces of {size}");
            }
        }
    }

    #[test]
    fn plain_events_do_not_wait() {
        let mut relay = StreamRelay::new(wishes(true, false));
        let mut out = Vec::new();
        relay.feed(DELTA.as_bytes(), &mut out, &mut write);
        assert_eq!(out, DELTA.as_bytes());
    }

    #[test]
    fn a_stream_without_a_finishing_event_still_says_what_it_cost() {
        let text = [DELTA, DONE].concat();
        let (out, _) = relay(&text, 7, wishes(true, false));
        let own = "data: {\"object\":\"chat.completion.chunk\",\"choices\":[],\"metadata\":{\"out\":0}}\n\n";
        assert_eq!(out, [DELTA, own, DONE].concat());
    }

    #[test]
    fn an_error_event_is_passed_on_and_noted() {
        let error = "data: {\"error\":{\"message\":\"no\"}}\n\n";
        let (out, relay) = relay(error, 5, wishes(true, false));
        assert_eq!((out.as_str(), relay.progress()), (error, Progress::Failed));
    }

    #[test]
    fn a_broken_stream_leaves_no_half_event() {
        let mut relay = StreamRelay::new(wishes(true, false));
        let mut out = Vec::new();
        relay.feed([DELTA, &FINISH[..20]].concat().as_bytes(), &mut out, &mut write);
        relay.abandon(&mut out);
        assert_eq!(out, DELTA.as_bytes());
    }

    #[test]
    fn an_event_beyond_the_bound_passes_unseen() {
        let long = format!("data: {}", "x".repeat(2 * limits::SSE_EVENT_BYTES_MAX));
        let (out, relay) = relay(&[&long, "\n\n", USAGE].concat(), 64 * 1024, wishes(true, false));
        assert_eq!(out, [&long, "\n\n", USAGE].concat());
        assert!(relay.blind && relay.facts().usage.is_none());
    }
}
