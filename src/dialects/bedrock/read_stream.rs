//! A Converse stream into deltas: frames to events, events to deltas.
//!
//! The answer is whole with `messageStop`; `metadata` with the usage follows it. Text blocks have no start event, tool calls do. A block's
//! seal and picture are held until the block ends, since they mean nothing in part. An exception frame, a broken frame and an event that
//! is no JSON end the stream with an error.

use super::frames::{Frame, FrameFault, Frames};
use super::read_response::{TokenUsage, annotation, finish, free_text, is_malformed, seal, stop_text};
use super::tools::FREE_TEXT;
use crate::chat::delta::Delta;
use crate::dialects::{Sink, StreamReader};
use crate::json::splice::escape_into;
use crate::limits::EVENT_FRAME_BYTES_MAX;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;

/// Blocks that may be open at once; the service opens one after the other.
const OPEN_BLOCKS_MAX: usize = 64;

/// Reads a Converse stream.
#[derive(Default)]
pub struct ConverseReader {
    frames: Frames,
    decoder: Decoder,
}

impl ConverseReader {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }
}

impl StreamReader for ConverseReader {
    fn push(&mut self, bytes: &[u8], sink: Sink<'_>) {
        let Self { frames, decoder } = self;
        frames.push(bytes, |frame| match frame {
            Ok(frame) => decoder.frame(&frame, sink),
            Err(fault) => decoder.broken(fault, sink),
        });
    }

    fn is_complete(&self) -> bool {
        self.decoder.state == State::Stopped && !self.frames.gave_up()
    }
}

/// Where a stream is.
///
/// ```text
/// Waiting -- messageStart --> Open -- messageStop --> Stopped
///    |                          |                        |
///    +--------- exception, broken frame, no JSON --------+--> Failed
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Waiting,
    Open,
    Stopped,
    Failed,
}

#[derive(Default)]
struct Decoder {
    state: State,
    /// Blocks with something to do at their end.
    open: Vec<OpenBlock>,
    /// Tool calls so far.
    tools: u32,
    /// Letters of text so far, for the place of a citation.
    chars: usize,
    /// Where the text of the present block began.
    block_start: usize,
    has_content: bool,
}

struct OpenBlock {
    index: u64,
    kind: Kind,
}

enum Kind {
    Tool(u32),
    /// A call of a tool that takes free text; its input as the model writes it.
    FreeText {
        index: u32,
        input: String,
    },
    Thought {
        signature: String,
        redacted: String,
    },
    Image {
        media_type: String,
        data: String,
    },
    /// Of the service's own tools.
    Hidden,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockStart<'a> {
    #[serde(default)]
    content_block_index: u64,
    #[serde(borrow)]
    start: Option<StartOf<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartOf<'a> {
    #[serde(borrow)]
    tool_use: Option<ToolUseStart<'a>>,
    #[serde(borrow)]
    image: Option<ImageStart<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolUseStart<'a> {
    #[serde(borrow)]
    tool_use_id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    r#type: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct ImageStart<'a> {
    #[serde(borrow)]
    format: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockDelta<'a> {
    #[serde(default)]
    content_block_index: u64,
    #[serde(borrow)]
    delta: Option<DeltaOf<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeltaOf<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    tool_use: Option<ToolUseDelta<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<ReasoningDelta<'a>>,
    citation: Option<Value>,
    #[serde(borrow)]
    image: Option<ImageDelta<'a>>,
}

#[derive(Deserialize)]
struct ToolUseDelta<'a> {
    #[serde(borrow)]
    input: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReasoningDelta<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    signature: Option<Text<'a>>,
    #[serde(borrow)]
    redacted_content: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct ImageDelta<'a> {
    #[serde(borrow)]
    source: Option<ImageSource<'a>>,
}

#[derive(Deserialize)]
struct ImageSource<'a> {
    #[serde(borrow)]
    bytes: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockStop {
    #[serde(default)]
    content_block_index: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageStop<'a> {
    #[serde(borrow)]
    stop_reason: Option<Text<'a>>,
    additional_model_response_fields: Option<Value>,
}

#[derive(Deserialize)]
struct Metadata {
    usage: Option<TokenUsage>,
}

/// A string that borrows where it has no escapes; inside an `Option` a bare `Cow` would not.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

// === impl Decoder ===

impl Decoder {
    fn frame(&mut self, frame: &Frame<'_>, sink: Sink<'_>) {
        if self.state == State::Failed {
            return;
        }
        match frame.text(":message-type") {
            Some("event") => {
                let read = self.event(frame.text(":event-type").unwrap_or_default(), frame.payload, sink);
                if read.is_err() {
                    self.fail(frame.payload, sink);
                }
            }
            Some("exception") => {
                let name = frame.text(":exception-type").unwrap_or("exception");
                self.fail(&named_error(name, &message_of(frame.payload)), sink);
            }
            Some("error") => {
                let name = frame.text(":error-code").unwrap_or("error");
                let message = frame.text(":error-message").unwrap_or_default();
                self.fail(&named_error(name, message), sink);
            }
            _ => {}
        }
    }

    fn broken(&mut self, fault: FrameFault, sink: Sink<'_>) {
        if self.state != State::Failed {
            self.fail(&named_error("brokenEventStream", &fault.to_string()), sink);
        }
    }

    fn fail(&mut self, body: &[u8], sink: Sink<'_>) {
        self.state = State::Failed;
        self.open.clear();
        sink(Delta::Error { body });
    }

    fn event(&mut self, name: &str, data: &[u8], sink: Sink<'_>) -> Result<(), serde_json::Error> {
        match name {
            // After the end only the usage is awaited.
            name if self.state == State::Stopped && name != "metadata" => {}
            "contentBlockDelta" => self.delta(serde_json::from_slice(data)?, sink),
            "contentBlockStart" => self.start(serde_json::from_slice(data)?, sink),
            "contentBlockStop" => {
                let stop: BlockStop = serde_json::from_slice(data)?;
                self.close(stop.content_block_index, sink);
            }
            "messageStart" => self.begin(sink),
            "messageStop" => self.stop(&serde_json::from_slice(data)?, sink),
            "metadata" => {
                let metadata: Metadata = serde_json::from_slice(data)?;
                if let Some(usage) = metadata.usage {
                    sink(Delta::Usage(usage.usage()));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, sink: Sink<'_>) {
        if self.state == State::Waiting {
            self.state = State::Open;
            sink(Delta::Start { id: Cow::Borrowed(""), model: Cow::Borrowed("") });
        }
    }

    fn start(&mut self, event: BlockStart<'_>, sink: Sink<'_>) {
        self.begin(sink);
        self.block_start = self.chars;
        let Some(start) = event.start else { return };
        let kind = if let Some(call) = start.tool_use {
            self.start_call(call, sink)
        } else if let Some(ImageStart { format: Some(Text(format)) }) = start.image {
            Kind::Image { media_type: format!("image/{format}"), data: String::new() }
        } else {
            return;
        };
        self.keep(event.content_block_index, kind);
    }

    fn start_call(&mut self, call: ToolUseStart<'_>, sink: Sink<'_>) -> Kind {
        let (Some(Text(id)), Some(Text(name)), None) = (call.tool_use_id, call.name, call.r#type) else {
            return Kind::Hidden;
        };
        let index = self.tools;
        self.tools = self.tools.saturating_add(1);
        self.has_content = true;
        let own = name.strip_suffix(FREE_TEXT);
        let (custom, shown) = (own.is_some(), Cow::Borrowed(own.unwrap_or(&name)));
        sink(Delta::ToolStart { choice: 0, index, id, name: shown, custom, seal: None });
        if custom { Kind::FreeText { index, input: String::new() } } else { Kind::Tool(index) }
    }

    fn keep(&mut self, index: u64, kind: Kind) -> Option<&mut Kind> {
        if self.open.len() >= OPEN_BLOCKS_MAX {
            return None;
        }
        self.open.push(OpenBlock { index, kind });
        self.open.last_mut().map(|block| &mut block.kind)
    }

    fn kind(&mut self, index: u64) -> Option<&mut Kind> {
        self.open.iter_mut().rev().find(|block| block.index == index).map(|block| &mut block.kind)
    }

    fn delta(&mut self, event: BlockDelta<'_>, sink: Sink<'_>) {
        self.begin(sink);
        let Some(delta) = event.delta else { return };
        let index = event.content_block_index;
        if let Some(Text(text)) = delta.text {
            self.has_content |= !text.is_empty();
            self.chars += text.chars().count();
            sink(Delta::Text { choice: 0, text });
        }
        if let Some(ToolUseDelta { input: Some(Text(json)) }) = delta.tool_use {
            match self.kind(index) {
                Some(Kind::Tool(index)) => sink(Delta::ToolInput { choice: 0, index: *index, json }),
                Some(Kind::FreeText { input, .. }) if input.len() + json.len() <= EVENT_FRAME_BYTES_MAX => {
                    input.push_str(&json);
                }
                _ => {}
            }
        }
        if let Some(reasoning) = delta.reasoning_content {
            self.think(index, reasoning, sink);
        }
        if let Some(annotation) = delta.citation.and_then(|cited| annotation(&cited, self.block_start, self.chars)) {
            sink(Delta::Annotation { choice: 0, annotation });
        }
        if let Some(ImageDelta { source: Some(ImageSource { bytes: Some(Text(bytes)) }) }) = delta.image
            && let Some(Kind::Image { data, .. }) = self.kind(index)
        {
            join_base64(data, &bytes);
        }
    }

    fn think(&mut self, index: u64, delta: ReasoningDelta<'_>, sink: Sink<'_>) {
        if let Some(Text(text)) = delta.text {
            self.has_content = true;
            sink(Delta::Thinking { choice: 0, text });
        }
        if delta.signature.is_none() && delta.redacted_content.is_none() {
            return;
        }
        self.has_content = true;
        if self.kind(index).is_none() {
            self.keep(index, Kind::Thought { signature: String::new(), redacted: String::new() });
        }
        let Some(Kind::Thought { signature, redacted }) = self.kind(index) else { return };
        if let Some(Text(part)) = delta.signature
            && signature.len() + part.len() <= EVENT_FRAME_BYTES_MAX
        {
            signature.push_str(&part);
        }
        if let Some(Text(part)) = delta.redacted_content {
            join_base64(redacted, &part);
        }
    }

    fn close(&mut self, index: u64, sink: Sink<'_>) {
        if let Some(at) = self.open.iter().rposition(|block| block.index == index) {
            let block = self.open.remove(at);
            self.end(block.kind, sink);
        }
        self.block_start = self.chars;
    }

    fn end(&mut self, kind: Kind, sink: Sink<'_>) {
        match kind {
            Kind::Tool(index) => sink(Delta::ToolEnd { choice: 0, index }),
            Kind::FreeText { index, input } => {
                sink(Delta::ToolInput { choice: 0, index, json: free_text(&input).into() });
                sink(Delta::ToolEnd { choice: 0, index });
            }
            Kind::Thought { signature, redacted } => {
                if !redacted.is_empty() {
                    sink(Delta::Seal { choice: 0, seal: seal(redacted, true) });
                }
                if !signature.is_empty() {
                    sink(Delta::Seal { choice: 0, seal: seal(signature, false) });
                }
            }
            Kind::Image { media_type, data } if !data.is_empty() => {
                self.has_content = true;
                sink(Delta::Image { choice: 0, media_type: media_type.into(), data: data.into() });
            }
            Kind::Image { .. } | Kind::Hidden => {}
        }
    }

    fn stop(&mut self, event: &MessageStop<'_>, sink: Sink<'_>) {
        if self.state == State::Stopped {
            return;
        }
        self.begin(sink);
        for block in std::mem::take(&mut self.open) {
            self.end(block.kind, sink);
        }
        let reason = event.stop_reason.as_ref().map_or("", |Text(reason)| reason);
        if is_malformed(reason) && !self.has_content {
            return self.fail(&named_error(reason, "The model's output was malformed."), sink);
        }
        self.state = State::Stopped;
        let stop_text = event.additional_model_response_fields.as_ref().and_then(stop_text);
        sink(Delta::Finish { choice: 0, reason: finish(reason, stop_text) });
    }
}

/// Appends base64 to base64. Each part is padded for itself, so a second one is joined by the bytes.
fn join_base64(whole: &mut String, part: &str) {
    if whole.is_empty() {
        whole.push_str(part);
    } else if whole.len() + part.len() <= EVENT_FRAME_BYTES_MAX
        && let (Ok(mut bytes), Ok(more)) = (STANDARD.decode(whole.as_bytes()), STANDARD.decode(part))
    {
        bytes.extend(more);
        *whole = STANDARD.encode(bytes);
    }
}

/// The sentence of an exception's payload, or the payload itself.
fn message_of(payload: &[u8]) -> Cow<'_, str> {
    #[derive(Deserialize)]
    struct Exception<'a> {
        #[serde(borrow, alias = "Message")]
        message: Option<Text<'a>>,
    }
    match serde_json::from_slice(payload) {
        Ok(Exception { message }) => message.map_or(Cow::Borrowed(""), |Text(message)| message),
        Err(_) => String::from_utf8_lossy(payload),
    }
}

/// An error as AWS writes it in bodies. The name stands in `code` too, where every reader of faults looks for it.
fn named_error(name: &str, message: &str) -> Vec<u8> {
    let mut out = b"{\"__type\":".to_vec();
    escape_into(name, &mut out);
    out.extend_from_slice(b",\"code\":");
    escape_into(name, &mut out);
    out.extend_from_slice(b",\"message\":");
    escape_into(message, &mut out);
    out.push(b'}');
    out
}

#[cfg(test)]
#[path = "read_stream_tests.rs"]
mod tests;
