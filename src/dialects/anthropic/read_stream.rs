//! A Messages stream, event by event, into deltas.
//!
//! ```text
//! Waiting --message_start--> Running --message_delta with a stop reason--> Stopping --message_stop--> Complete
//!    |                          |                                             |
//!    +--------------------------+--------- error, or what is no JSON ---------+--> Failed
//! ```
//!
//! A block's own event opens the answer where `message_start` is missing. Blocks are known by their index; those of tools that the provider
//! runs itself are let pass unread. Usage is cumulative: the last figure of each that is a number counts.

use super::read_response::{self, Known, StopDetails};
use super::usage::Stated;
use super::walk::Text;
use super::{ANSWER_TOOL, FREE_TEXT};
use crate::chat::delta::Delta;
use crate::chat::response::Finish;
use crate::dialects::sse::{EventDecoder, EventReader};
use crate::dialects::{Sink, StreamReader};
use crate::json::{Span, text};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A reader at the start of a stream.
pub(super) fn make() -> Box<dyn StreamReader> {
    Box::new(EventReader::new(Decoder::default()))
}

/// Where the stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Waiting,
    Running,
    Stopping,
    Complete,
    Failed,
}

/// A block that is open.
#[derive(Debug)]
enum Open {
    Text {
        /// Where its text begins in the answer, in characters.
        start: usize,
        citations: Vec<Value>,
    },
    Thinking {
        signature: String,
    },
    Tool {
        call: u32,
        /// What it was opened with; the input if no fragment comes.
        input: String,
        fragments: bool,
    },
    /// A free-text tool: its text is known when its whole input is.
    FreeText {
        call: u32,
        input: String,
    },
    /// The answer tool: its input is text.
    Answer {
        input: String,
        fragments: bool,
    },
    /// Left out.
    Other,
}

#[derive(Debug, Default)]
struct Decoder {
    stage: Stage,
    id: String,
    open: Vec<(u64, Open)>,
    stated: Stated,
    calls: u32,
    /// Characters of text so far.
    chars: usize,
    answered: bool,
}

/// An event. Every member that any known kind has.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    r#type: Option<Text<'a>>,
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    message: Option<Start<'a>>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<Change<'a>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Start<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// The `delta` of a block or of the message.
#[derive(Default, Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    partial_json: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    signature: Option<Text<'a>>,
    citation: Option<Value>,
    #[serde(borrow)]
    stop_reason: Option<Text<'a>>,
    #[serde(borrow)]
    stop_sequence: Option<Text<'a>>,
    stop_details: Option<StopDetails>,
}

/// A delta with one text and nothing else, in the spelling in which nearly every event comes: read without looking for members. `None` says
/// nothing about the event; it is then read whole.
fn plain_delta(data: &[u8]) -> Option<(u64, Change<'_>)> {
    let rest = data.strip_prefix(br#"{"type":"content_block_delta","index":"#)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let index = text::as_u64(rest, Span { start: 0, end: digits })?;
    let delta = rest.get(digits..)?.strip_prefix(br#","delta":{"type":""#)?.strip_suffix(b"}}")?;
    // The parser refuses whatever is not one string to the end.
    fn one(text: &[u8]) -> Option<Text<'_>> {
        serde_json::from_slice(text).ok()
    }
    let mut change = Change::default();
    if let Some(text) = delta.strip_prefix(br#"text_delta","text":"#) {
        change.text = Some(one(text)?);
    } else if let Some(text) = delta.strip_prefix(br#"input_json_delta","partial_json":"#) {
        change.partial_json = Some(one(text)?);
    } else {
        change.thinking = Some(one(delta.strip_prefix(br#"thinking_delta","thinking":"#)?)?);
    }
    Some((index, change))
}

impl EventDecoder for Decoder {
    fn event(&mut self, name: Option<&[u8]>, data: &[u8], sink: Sink<'_>) {
        if matches!(self.stage, Stage::Complete | Stage::Failed) {
            return;
        }
        if let Some((index, change)) = plain_delta(data) {
            self.start(None, sink);
            return self.block_delta(index, Some(change), sink);
        }
        let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else { return self.fail(data, sink) };
        let kind = match &event.r#type {
            Some(kind) => kind.0.as_bytes(),
            None => name.unwrap_or_default(),
        };
        match kind {
            b"content_block_delta" => {
                self.start(None, sink);
                self.block_delta(event.index, event.delta, sink);
            }
            b"content_block_start" => {
                self.start(None, sink);
                if !self.block_start(event.index, event.content_block, sink) {
                    self.fail(data, sink);
                }
            }
            b"content_block_stop" => self.block_stop(event.index, sink),
            b"message_start" => {
                let usage = event.message.as_ref().and_then(|message| message.usage);
                self.start(event.message, sink);
                self.usage(usage, sink);
            }
            b"message_delta" => {
                self.start(None, sink);
                self.usage(event.usage, sink);
                self.message_delta(event.delta, sink);
            }
            b"message_stop" => {
                self.start(None, sink);
                self.finish(Finish::Stop, sink);
                self.stage = Stage::Complete;
            }
            b"ping" => sink(Delta::Ping),
            b"error" => self.fail(data, sink),
            _ => {}
        }
    }

    fn comment(&mut self, sink: Sink<'_>) {
        if !matches!(self.stage, Stage::Complete | Stage::Failed) {
            sink(Delta::Ping);
        }
    }

    fn is_complete(&self) -> bool {
        self.stage == Stage::Complete
    }
}

impl Decoder {
    /// Nothing follows a failure.
    fn fail(&mut self, data: &[u8], sink: Sink<'_>) {
        self.stage = Stage::Failed;
        sink(Delta::Error { body: data });
    }

    fn start(&mut self, message: Option<Start<'_>>, sink: Sink<'_>) {
        if self.stage != Stage::Waiting {
            return;
        }
        self.stage = Stage::Running;
        let (id, model) = message.map(|message| (message.id, message.model)).unwrap_or_default();
        let id = id.unwrap_or_default().0;
        self.id = id.as_ref().to_owned();
        sink(Delta::Start { id, model: model.unwrap_or_default().0 });
    }

    fn usage(&mut self, usage: Option<&RawValue>, sink: Sink<'_>) {
        let Some(raw) = usage.map(|usage| usage.get().as_bytes()) else { return };
        self.stated.take(raw, Span { start: 0, end: raw.len() });
        if let Some(usage) = self.stated.usage() {
            sink(Delta::Usage(usage));
        }
    }

    /// Whether the block could be read.
    fn block_start(&mut self, index: u64, raw: Option<&RawValue>, sink: Sink<'_>) -> bool {
        let Some(Ok(block)) = raw.map(read_response::block) else { return false };
        let open = match block {
            Known::Text(block) => {
                let open = Open::Text { start: self.chars, citations: block.citations.unwrap_or_default() };
                self.text(block.text, sink);
                open
            }
            Known::Thinking(block) => {
                if let Some(text) = block.thinking.map(|text| text.0).filter(|text| !text.is_empty()) {
                    sink(Delta::Thinking { choice: 0, text });
                }
                Open::Thinking { signature: block.signature.unwrap_or_default().0.into_owned() }
            }
            Known::Redacted(block) => {
                if let Some(seal) = read_response::seal(block.data.unwrap_or_default().0.into_owned(), true) {
                    sink(Delta::Seal { choice: 0, seal });
                }
                Open::Other
            }
            Known::ToolUse(block) => self.tool_start(block, sink),
            Known::Other => Open::Other,
        };
        self.open.retain(|(known, _)| *known != index);
        self.open.push((index, open));
        true
    }

    fn tool_start(&mut self, block: read_response::Block<'_>, sink: Sink<'_>) -> Open {
        // An empty object stands for an input that is still to come.
        let input = block.input.map(read_response::input).filter(|input| *input != "{}").unwrap_or_default().to_owned();
        let name = block.name.unwrap_or_default().0;
        if name == ANSWER_TOOL {
            self.answered = true;
            return Open::Answer { input, fragments: false };
        }
        let call = self.calls;
        self.calls = call.saturating_add(1);
        let id = Cow::Owned(read_response::call_id(block.id, &self.id, call as usize));
        if let Some(own) = name.strip_suffix(FREE_TEXT) {
            let name = Cow::Borrowed(own);
            sink(Delta::ToolStart { choice: 0, index: call, id, name, custom: true, seal: None });
            return Open::FreeText { call, input };
        }
        sink(Delta::ToolStart { choice: 0, index: call, id, name, custom: false, seal: None });
        Open::Tool { call, input, fragments: false }
    }

    fn text(&mut self, text: Option<Text<'_>>, sink: Sink<'_>) {
        if let Some(text) = text.map(|text| text.0).filter(|text| !text.is_empty()) {
            self.chars = self.chars.saturating_add(text.chars().count());
            sink(Delta::Text { choice: 0, text });
        }
    }

    fn block_delta(&mut self, index: u64, change: Option<Change<'_>>, sink: Sink<'_>) {
        let Some(change) = change else { return };
        let Some(place) = self.open.iter().position(|(known, _)| *known == index) else { return };
        let Some((_, open)) = self.open.get_mut(place) else { return };
        match open {
            Open::Text { citations, .. } => {
                citations.extend(change.citation);
                self.text(change.text, sink);
            }
            Open::Thinking { signature } => {
                if let Some(part) = change.signature {
                    signature.push_str(&part.0);
                }
                if let Some(text) = change.thinking.map(|text| text.0).filter(|text| !text.is_empty()) {
                    sink(Delta::Thinking { choice: 0, text });
                }
            }
            Open::Tool { call, fragments, .. } => {
                // The first fragment is often empty, and says nothing.
                if let Some(json) = change.partial_json.map(|json| json.0).filter(|json| !json.is_empty()) {
                    *fragments = true;
                    sink(Delta::ToolInput { choice: 0, index: *call, json });
                }
            }
            Open::FreeText { input, .. } => {
                if let Some(part) = change.partial_json {
                    input.push_str(&part.0);
                }
            }
            Open::Answer { fragments, .. } => {
                *fragments |= change.partial_json.as_ref().is_some_and(|json| !json.0.is_empty());
                self.text(change.partial_json, sink);
            }
            Open::Other => {}
        }
    }

    fn block_stop(&mut self, index: u64, sink: Sink<'_>) {
        let Some(place) = self.open.iter().position(|(known, _)| *known == index) else { return };
        let (_, open) = self.open.remove(place);
        self.close(open, sink);
    }

    fn close(&mut self, open: Open, sink: Sink<'_>) {
        match open {
            Open::Text { start, citations } => {
                for annotation in citations.iter().filter_map(|it| read_response::annotation(it, start, self.chars)) {
                    sink(Delta::Annotation { choice: 0, annotation });
                }
            }
            Open::Thinking { signature } => {
                if let Some(seal) = read_response::seal(signature, false) {
                    sink(Delta::Seal { choice: 0, seal });
                }
            }
            Open::Tool { call, input, fragments } => {
                if !fragments && !input.is_empty() {
                    sink(Delta::ToolInput { choice: 0, index: call, json: Cow::Owned(input) });
                }
                sink(Delta::ToolEnd { choice: 0, index: call });
            }
            Open::FreeText { call, input } => {
                let json = Cow::Owned(read_response::free_text(&input).unwrap_or(input));
                sink(Delta::ToolInput { choice: 0, index: call, json });
                sink(Delta::ToolEnd { choice: 0, index: call });
            }
            Open::Answer { input, fragments } => {
                if !fragments {
                    let input = if input.is_empty() { "{}".to_owned() } else { input };
                    self.text(Some(Text(Cow::Owned(input))), sink);
                }
            }
            Open::Other => {}
        }
    }

    fn message_delta(&mut self, change: Option<Change<'_>>, sink: Sink<'_>) {
        let Some(change) = change else { return };
        let Some(reason) = change.stop_reason else { return };
        let reason = match read_response::finish(&reason.0, change.stop_sequence.map(|text| text.0.into_owned())) {
            Finish::ToolCalls if self.answered && self.calls == 0 => Finish::Stop,
            reason => reason,
        };
        let explanation = change.stop_details.and_then(|details| details.explanation);
        if let (Finish::ContentFilter, 0, Stage::Running, Some(text)) = (&reason, self.chars, self.stage, explanation) {
            sink(Delta::Refusal { choice: 0, text: Cow::Owned(text) });
        }
        self.finish(reason, sink);
    }

    /// The choice ends, once; what is still open ends before it.
    fn finish(&mut self, reason: Finish, sink: Sink<'_>) {
        if self.stage != Stage::Running {
            return;
        }
        for (_, open) in std::mem::take(&mut self.open) {
            self.close(open, sink);
        }
        self.stage = Stage::Stopping;
        sink(Delta::Finish { choice: 0, reason });
    }
}
