//! A provider's stream: named events become deltas.
//!
//! An event is scanned once for the few members that matter; a plain delta is lent from the event, or from a buffer
//! that is used again, so it allocates nothing. Which event it is says its `type`, for proxies lose names. What is not
//! known is skipped; what is no JSON ends the answer as an error.

use super::read_response::{finish, image_type, nested_annotation, seal};
use super::read_usage::{self, object};
use crate::chat::delta::Delta;
use crate::dialects::Sink;
use crate::dialects::sse::EventDecoder;
use crate::json::scan::{self, Names};
use crate::json::{Kind, Member, Span, text};
use serde_json::Value;
use std::borrow::Cow;

/// How far the answer is.
///
/// ```text
/// Fresh --first delta--> Running --completed, incomplete--> Complete
///    \-----------------------\------failed, error, no JSON--> Failed
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// No delta is out.
    #[default]
    Fresh,
    /// `Start` is.
    Running,
    /// The final event came.
    Complete,
    /// An error came; nothing follows.
    Failed,
}

/// Decodes events of this format.
#[derive(Default)]
pub(super) struct Decoder {
    phase: Phase,
    calls: Vec<Call>,
    next_call: u32,
    thought: Thought,
    /// The text of the string that is read, if it has escapes.
    scratch: Vec<u8>,
}

/// A call that is open.
struct Call {
    /// Its item's place in the answer.
    output: u64,
    index: u32,
    /// Whether some of its input came.
    fed: bool,
}

/// Of a reasoning item's two texts, the summary and the thing itself, the one that comes first is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Thought {
    #[default]
    None,
    Summary,
    Content,
}

/// The members of an event that matter.
struct Event<'d> {
    data: &'d [u8],
    delta: Option<Member>,
    output_index: Option<u64>,
    item: Option<Span>,
    response: Option<Span>,
    summary_index: Option<u64>,
    annotation: Option<Span>,
    logprobs: Option<Span>,
}

// === impl Event ===

impl<'d> Event<'d> {
    /// The event and its type; nothing if it is no JSON object.
    fn read(data: &'d [u8]) -> Option<(&'d str, Self)> {
        static NAMES: Names = Names::new(&[
            "type",
            "delta",
            "output_index",
            "item",
            "response",
            "summary_index",
            "annotation",
            "logprobs",
        ]);
        let mut found = [None; 8];
        scan::members(data, &NAMES, &mut found).ok()?;
        let [kind, delta, output_index, item, response, summary_index, annotation, logprobs] = found;
        let count = |member: Option<Member>| text::as_u64(data, member?.value);
        let kind = kind.and_then(|kind| text::text(data, kind.value)).unwrap_or_default();
        let filled = logprobs.filter(|logprobs| logprobs.kind == Kind::Array && logprobs.value.len() > 2);
        let event = Self {
            data,
            delta,
            output_index: count(output_index),
            item: object(item),
            response: object(response),
            summary_index: count(summary_index),
            annotation: object(annotation),
            logprobs: filled.map(|logprobs| logprobs.value),
        };
        Some((kind, event))
    }
}

/// The text of a string, lent from the event or from `scratch`; empty if it is none.
fn lent<'t>(data: &'t [u8], member: Option<Member>, scratch: &'t mut Vec<u8>) -> Cow<'t, str> {
    let Some(Member { kind: Kind::String, value, .. }) = member else { return Cow::Borrowed("") };
    if let Some(plain) = text::text(data, value) {
        return Cow::Borrowed(plain);
    }
    scratch.clear();
    text::unescape(data, value, scratch);
    Cow::Borrowed(std::str::from_utf8(scratch).unwrap_or_default())
}

fn owned(data: &[u8], member: Option<Member>) -> String {
    lent(data, member, &mut Vec::new()).into_owned()
}

const CHOICE: u32 = 0;

// === impl Decoder ===

impl Decoder {
    fn start(&mut self, response: Option<(&[u8], Span)>, sink: Sink<'_>) {
        static NAMES: Names = Names::new(&["id", "model"]);
        if self.phase != Phase::Fresh {
            return;
        }
        self.phase = Phase::Running;
        let mut found = [None; 2];
        let data = match response {
            Some((data, span)) if scan::members_at(data, span, &NAMES, &mut found).is_ok() => data,
            _ => b"",
        };
        let [id, model] = found.map(|member| Cow::Owned(owned(data, member)));
        sink(Delta::Start { id, model });
    }

    fn words(&mut self, event: &Event<'_>, refusal: bool, sink: Sink<'_>) {
        let text = lent(event.data, event.delta, &mut self.scratch);
        sink(match refusal {
            true => Delta::Refusal { choice: CHOICE, text },
            false => Delta::Text { choice: CHOICE, text },
        });
        let entries = event.logprobs.and_then(|span| serde_json::from_slice::<Value>(span.of(event.data)).ok());
        if let Some(entries) = entries {
            sink(Delta::Logprobs { choice: CHOICE, logprobs: serde_json::json!({"content": entries}) });
        }
    }

    fn thinking(&mut self, event: &Event<'_>, kind: Thought, sink: Sink<'_>) {
        if self.thought == Thought::None {
            self.thought = kind;
        }
        if self.thought == kind {
            sink(Delta::Thinking { choice: CHOICE, text: lent(event.data, event.delta, &mut self.scratch) });
        }
    }

    fn call_input(&mut self, event: &Event<'_>, sink: Sink<'_>) {
        let Some(call) = self.calls.iter_mut().find(|call| Some(call.output) == event.output_index) else { return };
        let json = lent(event.data, event.delta, &mut self.scratch);
        if !json.is_empty() {
            call.fed = true;
            sink(Delta::ToolInput { choice: CHOICE, index: call.index, json });
        }
    }

    fn item(&mut self, event: &Event<'_>, done: bool, sink: Sink<'_>) {
        static NAMES: Names = Names::new(&[
            "type",
            "call_id",
            "name",
            "arguments",
            "input",
            "encrypted_content",
            "result",
            "output_format",
            "id",
        ]);
        let data = event.data;
        let mut found = [None; 9];
        let read = event.item.map(|span| scan::members_at(data, span, &NAMES, &mut found));
        if !matches!(read, Some(Ok(_))) {
            return;
        }
        let [kind, call_id, name, arguments, input, encrypted, result, format, id] = found;
        match kind.and_then(|kind| text::text(data, kind.value)).unwrap_or_default() {
            "function_call" => self.call(event, [call_id.or(id), name, arguments], false, done, sink),
            "custom_tool_call" => self.call(event, [call_id.or(id), name, input], true, done, sink),
            "reasoning" => {
                self.thought = Thought::None;
                if done && let Some(seal) = seal(owned(data, encrypted)) {
                    sink(Delta::Seal { choice: CHOICE, seal });
                }
            }
            "image_generation_call" if done => {
                let image = lent(data, result, &mut self.scratch);
                if !image.is_empty() {
                    let media_type = Cow::Owned(image_type(Some(&owned(data, format))));
                    sink(Delta::Image { choice: CHOICE, media_type, data: image });
                }
            }
            _ => {}
        }
    }

    /// A call that was announced, or is done: then what was not announced or fed before is told now.
    fn call(&mut self, event: &Event<'_>, parts: [Option<Member>; 3], custom: bool, done: bool, sink: Sink<'_>) {
        let [id, name, input] = parts;
        let Some(output) = event.output_index else { return };
        let at = match self.calls.iter().position(|call| call.output == output) {
            Some(at) => at,
            None => {
                let index = self.next_call;
                self.next_call += 1;
                let mut id = owned(event.data, id);
                if id.is_empty() {
                    id = format!("call_{index}");
                }
                let (id, name) = (Cow::Owned(id), Cow::Owned(owned(event.data, name)));
                sink(Delta::ToolStart { choice: CHOICE, index, id, name, custom, seal: None });
                self.calls.push(Call { output, index, fed: false });
                self.calls.len() - 1
            }
        };
        if !done {
            return;
        }
        let call = self.calls.swap_remove(at);
        let json = lent(event.data, input, &mut self.scratch);
        if !call.fed && !json.is_empty() {
            sink(Delta::ToolInput { choice: CHOICE, index: call.index, json });
        }
        sink(Delta::ToolEnd { choice: CHOICE, index: call.index });
    }

    fn complete(&mut self, event: &Event<'_>, incomplete: bool, sink: Sink<'_>) {
        for call in self.calls.drain(..) {
            sink(Delta::ToolEnd { choice: CHOICE, index: call.index });
        }
        let reason = event.response.and_then(|span| incomplete_reason(event.data, span));
        let called = self.next_call > 0;
        sink(Delta::Finish { choice: CHOICE, reason: finish(incomplete, reason, called) });
        if let Some(usage) = event.response.and_then(|span| read_usage::in_object(event.data, span)) {
            sink(Delta::Usage(usage));
        }
        self.phase = Phase::Complete;
    }

    fn fail(&mut self, body: &[u8], sink: Sink<'_>) {
        self.phase = Phase::Failed;
        sink(Delta::Error { body });
    }
}

fn incomplete_reason(data: &[u8], response: Span) -> Option<&str> {
    static DETAILS: Names = Names::new(&["incomplete_details"]);
    static REASON: Names = Names::new(&["reason"]);
    let mut found = [None];
    scan::members_at(data, response, &DETAILS, &mut found).ok()?;
    let details = object(found[0])?;
    scan::members_at(data, details, &REASON, &mut found).ok()?;
    text::text(data, found[0]?.value)
}

/// The error of a failed response as the body of an error. The rest of the object repeats the request and can be long.
fn error_of(data: &[u8], response: Span) -> Option<Vec<u8>> {
    static NAMES: Names = Names::new(&["error"]);
    let mut found = [None];
    scan::members_at(data, response, &NAMES, &mut found).ok()?;
    Some([b"{\"error\":", object(found[0])?.of(data), b"}"].concat())
}

impl EventDecoder for Decoder {
    fn event(&mut self, _name: Option<&[u8]>, data: &[u8], sink: Sink<'_>) {
        // Some servers of this format end as Chat does.
        if matches!(self.phase, Phase::Complete | Phase::Failed) || data.trim_ascii() == b"[DONE]" {
            return;
        }
        let Some((kind, event)) = Event::read(data) else { return self.fail(data, sink) };
        match kind {
            // An error before anything else must be able to go elsewhere: it is no start.
            "error" => return self.fail(data, sink),
            "response.failed" => {
                let error = event.response.and_then(|span| error_of(data, span));
                return self.fail(error.as_deref().unwrap_or(data), sink);
            }
            "response.created" => return self.start(event.response.map(|span| (data, span)), sink),
            _ => self.start(event.response.map(|span| (data, span)), sink),
        }
        match kind {
            "response.output_text.delta" => self.words(&event, false, sink),
            "response.refusal.delta" => self.words(&event, true, sink),
            "response.reasoning_summary_text.delta" => self.thinking(&event, Thought::Summary, sink),
            "response.reasoning_text.delta" => self.thinking(&event, Thought::Content, sink),
            // Parts of a summary are paragraphs.
            "response.reasoning_summary_part.added"
                if event.summary_index > Some(0) && self.thought == Thought::Summary =>
            {
                sink(Delta::Thinking { choice: CHOICE, text: Cow::Borrowed("\n\n") });
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                self.call_input(&event, sink);
            }
            "response.output_item.added" => self.item(&event, false, sink),
            "response.output_item.done" => self.item(&event, true, sink),
            "response.output_text.annotation.added" => {
                let annotation = event.annotation.and_then(|span| serde_json::from_slice(span.of(data)).ok());
                if let Some(annotation) = annotation.map(nested_annotation) {
                    sink(Delta::Annotation { choice: CHOICE, annotation });
                }
            }
            "response.completed" => self.complete(&event, false, sink),
            "response.incomplete" => self.complete(&event, true, sink),
            _ => {}
        }
    }

    fn is_complete(&self) -> bool {
        self.phase == Phase::Complete
    }
}
