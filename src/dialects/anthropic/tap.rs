//! A look at the events of a stream that passes unchanged, client and provider both speaking Messages: usage, content, error, end.
//!
//! Nearly every event is a content delta, and of those only the length is taken: no JSON is read, nothing is allocated. Whether an event is one
//! is told by its `event` name, or where a platform sends none by how its data begins. The bytes are never changed here (rule H18).

use super::usage::{self, Stated};
use crate::domain::token::Usage;
use crate::json::scan::{self, Names};
use crate::json::shape::{HOLES_MAX, Values};
use crate::json::{Kind as Json, text};
use crate::metering::answer::Answer;
use memchr::memmem::{self, Finder};
use std::sync::LazyLock;

/// What an event is to the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One that goes on, known or not.
    Plain,
    /// The answer's own part has ended: `message_delta` with a stop reason.
    Finish,
    /// The provider failed after its 200.
    Error,
    /// `message_stop`: nothing follows.
    Done,
}

/// What one event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventFacts {
    /// Something that a user waits for is in it; the first of these is the first token.
    pub content: bool,
    /// Bytes of generated text in it, about: the data less its frame. Exact figures come with the usage.
    pub content_bytes: usize,
    /// What it is.
    pub kind: Kind,
}

/// Takes the events of one stream in order and keeps the cumulative usage.
#[derive(Clone, Copy, Debug, Default)]
pub struct UsageTap {
    stated: Stated,
}

static SIGNATURE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("signature_delta"));

/// What is not text in a delta.
const DELTA_FRAME_BYTES: usize =
    br#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}"#.len();
/// Where a delta says its own kind.
const DELTA_HEAD_BYTES: usize = 96;

impl UsageTap {
    /// Looks at one event: its name, if it has one, and its data.
    pub fn look(&mut self, name: Option<&[u8]>, data: &[u8]) -> EventFacts {
        match name.unwrap_or_else(|| kind_of(data)) {
            b"content_block_delta" => {
                let head = data.get(..DELTA_HEAD_BYTES).unwrap_or(data);
                // A signature is no text, and a sign of life all the same.
                let sealed = SIGNATURE.find(head).is_some();
                let content_bytes = if sealed { 0 } else { data.len().saturating_sub(DELTA_FRAME_BYTES) };
                EventFacts { content: sealed || content_bytes > 0, content_bytes, kind: Kind::Plain }
            }
            b"content_block_start" => {
                let begins = [&b"\"tool_use\""[..], b"\"redacted_thinking\""];
                let content = begins.into_iter().any(|word| memmem::find(data, word).is_some());
                EventFacts { content, content_bytes: 0, kind: Kind::Plain }
            }
            b"message_start" => {
                self.take_nested(data);
                EventFacts::of(Kind::Plain)
            }
            b"message_delta" => EventFacts::of(self.message_delta(data)),
            b"message_stop" => EventFacts::of(Kind::Done),
            b"error" => EventFacts::of(Kind::Error),
            _ => EventFacts::of(Kind::Plain),
        }
    }

    /// What was used so far; `None` before anything was stated.
    pub fn usage(&self) -> Option<Usage> {
        self.stated.usage()
    }

    fn take_nested(&mut self, data: &[u8]) {
        static MESSAGE: Names = Names::new(&["message"]);
        static USAGE: Names = Names::new(&["usage"]);
        let mut found = [None; 1];
        if scan::members(data, &MESSAGE, &mut found).is_err() {
            return;
        }
        let Some(message) = found[0] else { return };
        if scan::members_at(data, message.value, &USAGE, &mut found).is_err() {
            return;
        }
        if let Some(usage) = found[0] {
            self.stated.take(data, usage.value);
        }
    }

    fn message_delta(&mut self, data: &[u8]) -> Kind {
        static MEMBERS: Names = Names::new(&["delta", "usage"]);
        static STOP: Names = Names::new(&["stop_reason"]);
        let mut found = [None; 2];
        if scan::members(data, &MEMBERS, &mut found).is_err() {
            return Kind::Plain;
        }
        let [delta, usage] = found;
        if let Some(usage) = usage {
            self.stated.take(data, usage.value);
        }
        let mut stop = [None; 1];
        let stopped = delta.is_some_and(|delta| scan::members_at(data, delta.value, &STOP, &mut stop).is_ok())
            && stop[0].is_some_and(|reason| reason.kind == Json::String);
        if stopped { Kind::Finish } else { Kind::Plain }
    }
}

impl EventFacts {
    fn of(kind: Kind) -> Self {
        Self { content: false, content_bytes: 0, kind }
    }
}

/// What may differ in a delta that says the same as this one: its words.
pub fn values(data: &[u8]) -> Option<Values> {
    static TOP: Names = Names::new(&["type", "delta"]);
    static DELTA: Names = Names::new(&["text", "thinking", "partial_json", "signature"]);
    let mut found = [None; 2];
    scan::members(data, &TOP, &mut found).ok()?;
    let [kind, delta] = found;
    if text::text(data, kind?.value) != Some("content_block_delta") {
        return None;
    }
    let mut found = [None; 4];
    scan::members_at(data, delta?.value, &DELTA, &mut found).ok()?;
    let words = match found {
        [Some(words), None, None, None] | [None, Some(words), None, None] | [None, None, Some(words), None] => words,
        _ => return None,
    };
    (words.kind == Json::String).then_some(Values { words: words.value, others: [None; HOLES_MAX - 1] })
}

/// What a whole answer says it used, and all else that one pass over it finds; nothing if it is no Messages answer.
pub fn read_answer(body: &[u8]) -> Answer {
    usage::of_answer(body)
}

/// The kind by the data, for events without a name: nearly always its first member says it.
fn kind_of(data: &[u8]) -> &[u8] {
    if let Some(rest) = data.strip_prefix(br#"{"type":""#) {
        let end = memchr::memchr(b'"', rest).unwrap_or(rest.len());
        return rest.get(..end).unwrap_or_default();
    }
    static TYPE: Names = Names::new(&["type"]);
    let mut found = [None; 1];
    if scan::members(data, &TYPE, &mut found).is_err() {
        return b"";
    }
    found[0].and_then(|kind| text::text(data, kind.value)).map(str::as_bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_told_by_names_or_by_data() {
        let start = br#"{"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}"#;
        let text = br#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}"#;
        let seal = br#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQB"}}"#;
        let tool =
            br#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"a","name":"b"}}"#;
        let end = br#"{"usage":{"output_tokens":40},"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#;
        let plain = |content, content_bytes| EventFacts { content, content_bytes, kind: Kind::Plain };
        let rows: [(&[u8], &[u8], EventFacts); 8] = [
            (b"message_start", start, plain(false, 0)),
            (b"ping", br#"{"type":"ping"}"#, plain(false, 0)),
            (b"content_block_delta", text, plain(true, 5)),
            (b"content_block_delta", seal, plain(true, 0)),
            (b"content_block_start", tool, plain(true, 0)),
            (b"message_delta", end, EventFacts::of(Kind::Finish)),
            (b"message_stop", br#"{"type":"message_stop"}"#, EventFacts::of(Kind::Done)),
            (b"error", br#"{"type":"error","error":{"type":"overloaded_error"}}"#, EventFacts::of(Kind::Error)),
        ];
        let (mut named, mut bare) = (UsageTap::default(), UsageTap::default());
        assert_eq!(named.usage(), None);
        for (name, data, facts) in rows {
            assert_eq!(named.look(Some(name), data), facts, "{}", String::from_utf8_lossy(name));
            assert_eq!(bare.look(None, data), facts, "{}", String::from_utf8_lossy(data));
        }
        let usage = Usage { input: 9, output: 40, ..Usage::default() };
        assert_eq!((named.usage(), bare.usage()), (Some(usage), Some(usage)));
    }

    #[test]
    fn what_is_broken_is_plain() {
        for name in [None, Some(&b"message_start"[..]), Some(b"message_delta"), Some(b"content_block_delta")] {
            for data in [&b""[..], b"{", b"[]", b"{\"message\":1}", b"{\"delta\":[],\"usage\":3}", b"\xff"] {
                let mut tap = UsageTap::default();
                assert_eq!(tap.look(name, data), EventFacts::of(Kind::Plain));
                assert_eq!(tap.usage(), None);
            }
        }
    }

    #[test]
    fn a_whole_answer_tells_its_usage() {
        let body = br#"{"content":[{"usage":1}],"usage":{"input_tokens":3,"output_tokens":4}}"#;
        assert_eq!(read_answer(body).usage, Some(Usage { input: 3, output: 4, ..Usage::default() }));
        assert_eq!(read_answer(b"{}").usage, None);
    }
}
