//! A stream of Cohere's into deltas. Each event says its `type`; `message-end` ends the answer, with reason and usage.
//!
//! The plan of a tool call streams as text. Calls come one after the other, by an index of Cohere's own counting. `message-end` with an
//! error, an object without a type, and what is no JSON end the stream with an error.

use super::read_response::{LogprobItem, TokenUsage, annotation, failure, finish, free_text};
use super::write_request::FREE_TEXT;
use crate::chat::delta::Delta;
use crate::dialects::Sink;
use crate::dialects::sse::EventDecoder;
use crate::json::splice::escape_into;
use crate::limits::SSE_EVENT_BYTES_MAX;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;

/// Calls that one answer may hold; more are left out.
const CALLS_MAX: usize = 1024;

/// Where a stream is.
///
/// ```text
/// Waiting -- message-start --> Open -- message-end --> Ended
///    |                          |
///    +-- error, no JSON --------+--> Failed
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Waiting,
    Open,
    Ended,
    Failed,
}

/// Reads the events.
#[derive(Default)]
pub(super) struct Decoder {
    state: State,
    /// Calls in the order of their starts.
    calls: Vec<Started>,
}

struct Started {
    /// Cohere's own count.
    theirs: u64,
    /// The input so far of a tool that takes free text; nothing for others, and after its end.
    free: Option<String>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    r#type: Option<Text<'a>>,
    index: Option<u64>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    logprobs: Option<LogprobItem>,
}

/// What most events carry.
#[derive(Deserialize)]
struct Inner<'a> {
    #[serde(borrow)]
    message: Option<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<Content<'a>>,
    #[serde(borrow)]
    tool_plan: Option<Text<'a>>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
    citations: Option<Value>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct End<'a> {
    #[serde(borrow)]
    error: Option<Text<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
    usage: Option<TokenUsage>,
}

/// A string that borrows where it has no escapes; inside an `Option` a bare `Cow` would not.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl EventDecoder for Decoder {
    fn event(&mut self, _name: Option<&[u8]>, data: &[u8], sink: Sink<'_>) {
        if matches!(self.state, State::Ended | State::Failed) || data == b"[DONE]" {
            return;
        }
        if self.read(data, sink).is_none() {
            self.fail(data, sink);
        }
    }

    fn is_complete(&self) -> bool {
        self.state == State::Ended
    }
}

// === impl Decoder ===

impl Decoder {
    /// `None` when the event is not of the format.
    fn read(&mut self, data: &[u8], sink: Sink<'_>) -> Option<()> {
        let event: Event<'_> = serde_json::from_slice(data).ok()?;
        let Text(kind) = event.r#type.as_ref()?;
        match kind.as_ref() {
            "content-delta" | "content-start" => self.content(&event, sink),
            "tool-plan-delta" => {
                let Some(Text(text)) = self.message(&event, sink)?.tool_plan else { return Some(()) };
                sink(Delta::Text { choice: 0, text });
                Some(())
            }
            "tool-call-start" => self.start_call(&event, sink),
            "tool-call-delta" => self.call_input(&event, sink),
            "tool-call-end" => {
                if let Some(index) = self.call_index(event.index) {
                    self.release(index, sink);
                    sink(Delta::ToolEnd { choice: 0, index });
                }
                Some(())
            }
            "citation-start" => {
                let citations = self.message(&event, sink)?.citations;
                if let Some(annotation) = citations.as_ref().and_then(annotation) {
                    sink(Delta::Annotation { choice: 0, annotation });
                }
                Some(())
            }
            "message-start" => {
                self.begin(&event, sink);
                Some(())
            }
            "message-end" => self.end(&event, sink),
            _ => Some(()),
        }
    }

    fn begin(&mut self, event: &Event<'_>, sink: Sink<'_>) {
        if self.state == State::Waiting {
            self.state = State::Open;
            let id = event.id.as_ref().map_or("", |Text(id)| id);
            sink(Delta::Start { id: Cow::Borrowed(id), model: Cow::Borrowed("") });
        }
    }

    fn message<'a>(&mut self, event: &Event<'a>, sink: Sink<'_>) -> Option<Message<'a>> {
        self.begin(event, sink);
        let empty = Message { content: None, tool_plan: None, tool_calls: None, citations: None };
        let Some(delta) = event.delta else { return Some(empty) };
        let inner: Inner<'a> = serde_json::from_str(delta.get()).ok()?;
        Some(inner.message.unwrap_or(empty))
    }

    fn content(&mut self, event: &Event<'_>, sink: Sink<'_>) -> Option<()> {
        if let Some(Content { text, thinking }) = self.message(event, sink)?.content {
            if let Some(Text(text)) = thinking.filter(|Text(text)| !text.is_empty()) {
                sink(Delta::Thinking { choice: 0, text });
            }
            if let Some(Text(text)) = text.filter(|Text(text)| !text.is_empty()) {
                sink(Delta::Text { choice: 0, text });
            }
        }
        if let Some(item) = &event.logprobs {
            sink(Delta::Logprobs { choice: 0, logprobs: json!({"content": [item.entry()]}) });
        }
        Some(())
    }

    fn start_call(&mut self, event: &Event<'_>, sink: Sink<'_>) -> Option<()> {
        let raw = self.message(event, sink)?.tool_calls?;
        for Call { id, function } in calls(raw)? {
            let (Text(id), Function { name, arguments }) = (id?, function?);
            let Text(name) = name?;
            if self.calls.len() >= CALLS_MAX {
                return Some(());
            }
            let index = u32::try_from(self.calls.len()).ok()?;
            let own = name.strip_suffix(FREE_TEXT);
            let (custom, shown) = (own.is_some(), Cow::Borrowed(own.unwrap_or(&name)));
            let theirs = event.index.unwrap_or(u64::from(index));
            self.calls.push(Started { theirs, free: custom.then(String::new) });
            sink(Delta::ToolStart { choice: 0, index, id, name: shown, custom, seal: None });
            if let Some(Text(json)) = arguments.filter(|Text(json)| !json.is_empty()) {
                self.input(index, json, sink);
            }
        }
        Some(())
    }

    fn call_input(&mut self, event: &Event<'_>, sink: Sink<'_>) -> Option<()> {
        let Some(raw) = self.message(event, sink)?.tool_calls else { return Some(()) };
        for Call { function, .. } in calls(raw)? {
            if let Some(Function { arguments: Some(Text(json)), .. }) = function
                && let Some(index) = self.call_index(event.index)
            {
                self.input(index, json, sink);
            }
        }
        Some(())
    }

    /// Passes input on; free text waits until it is whole, for it stands inside of JSON.
    fn input(&mut self, index: u32, json: Cow<'_, str>, sink: Sink<'_>) {
        let call = usize::try_from(index).ok().and_then(|at| self.calls.get_mut(at));
        match call.and_then(|call| call.free.as_mut()) {
            Some(free) if free.len() + json.len() <= SSE_EVENT_BYTES_MAX => free.push_str(&json),
            Some(_) => {}
            None => sink(Delta::ToolInput { choice: 0, index, json }),
        }
    }

    fn release(&mut self, index: u32, sink: Sink<'_>) {
        let call = usize::try_from(index).ok().and_then(|at| self.calls.get_mut(at));
        if let Some(free) = call.and_then(|call| call.free.take()) {
            sink(Delta::ToolInput { choice: 0, index, json: free_text(&free).into() });
        }
    }

    /// Our number of the call that Cohere counts as `index`; without one, the last call.
    fn call_index(&self, index: Option<u64>) -> Option<u32> {
        let at = match index {
            Some(index) => self.calls.iter().rposition(|call| call.theirs == index)?,
            None => self.calls.len().checked_sub(1)?,
        };
        u32::try_from(at).ok()
    }

    fn end(&mut self, event: &Event<'_>, sink: Sink<'_>) -> Option<()> {
        self.begin(event, sink);
        let end = match event.delta {
            Some(delta) => serde_json::from_str(delta.get()).ok()?,
            None => End { error: None, finish_reason: None, usage: None },
        };
        let reason = end.finish_reason.as_ref().map_or("", |Text(reason)| reason);
        let said = end.error.as_ref().map_or("", |Text(error)| error);
        if let Some(kind) = failure(reason).or_else(|| (!said.is_empty()).then_some("server_error")) {
            let said = if said.is_empty() { "The answer failed." } else { said };
            self.fail(&error_body(reason, kind, said), sink);
            return Some(());
        }
        for index in 0..self.calls.len() {
            self.release(u32::try_from(index).ok()?, sink);
        }
        if let Some(usage) = end.usage {
            sink(Delta::Usage(usage.usage()));
        }
        self.state = State::Ended;
        sink(Delta::Finish { choice: 0, reason: finish(reason) });
        Some(())
    }

    fn fail(&mut self, body: &[u8], sink: Sink<'_>) {
        self.state = State::Failed;
        sink(Delta::Error { body });
    }
}

/// One call as an object, or several in a list: Cohere's pages show both.
fn calls<'a>(raw: &'a RawValue) -> Option<Vec<Call<'a>>> {
    if raw.get().starts_with('[') {
        serde_json::from_str(raw.get()).ok()
    } else {
        serde_json::from_str(raw.get()).ok().map(|call| vec![call])
    }
}

/// An error's reason as Cohere says it, and its type as every reader of faults knows it.
fn error_body(reason: &str, kind: &str, message: &str) -> Vec<u8> {
    let mut out = b"{\"message\":".to_vec();
    escape_into(message, &mut out);
    out.extend_from_slice(b",\"code\":");
    escape_into(reason, &mut out);
    out.extend_from_slice(b",\"type\":");
    escape_into(kind, &mut out);
    out.push(b'}');
    out
}

#[cfg(test)]
#[path = "read_stream_tests.rs"]
mod tests;
