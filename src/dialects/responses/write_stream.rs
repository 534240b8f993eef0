//! A stream for a client: deltas become the named events of this dialect, each with its number.
//!
//! Items are announced, filled and completed; the last event carries the whole object. Clients resend the request if a
//! stream ends without one of `response.completed`, `response.incomplete` and `response.failed`, so exactly one of them
//! is the last event. There is no `[DONE]`.

use super::names::{ClientNames, unwrapped};
use super::object::{Frame, State};
use super::write_items::{self as items, Call, Message, Part, Place, Reasoning};
use crate::chat::carry::{self, Carried};
use crate::chat::delta::Delta;
use crate::chat::request::Seal;
use crate::chat::response::Finish;
use crate::chat::shown::Shown;
use crate::dialects::{Setting, StreamWriter, sse};
use crate::domain::token::Usage;

/// Where the stream is.
///
/// ```text
/// Fresh --anything--> Running --finish, fail--> Ended
///   \-----------------------------fail-----------^
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is written.
    Fresh,
    /// `response.created` is.
    Running,
    /// The last event is.
    Ended,
}

/// The item that takes words. Calls stand beside it, for several may be open at once.
///
/// ```text
///            Thinking                     Text, Refusal
/// Reasoning <---------\             /----------------> Message
///     |    Seal, Text  >  Nothing  <   Thinking, Seal,    |
///     \---------------/             \--ToolStart, Image---/
/// ```
#[derive(Debug)]
enum Open {
    Nothing,
    Reasoning(Reasoning),
    Message(Message),
}

/// Writes the events of one answer.
pub(super) struct Writer {
    frame: Frame,
    names: ClientNames,
    /// The answer's id without prefix, for the ids of items.
    id: String,
    phase: Phase,
    events: Events,
    next_output: u32,
    open: Open,
    calls: Vec<Call>,
    /// Complete items and their places.
    done: Vec<(u32, Vec<u8>)>,
    finish: Finish,
}

/// Frames events and counts them.
struct Events {
    sequence: u64,
}

// === impl Events ===

impl Events {
    /// Writes one event; `members` appends what stands after the number, each with a comma before it.
    fn write(&mut self, name: &str, out: &mut Vec<u8>, members: impl FnOnce(&mut Vec<u8>)) {
        sse::event(out, Some(name), |out| {
            out.extend_from_slice(b"{\"type\":\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\",\"sequence_number\":");
            out.extend_from_slice(itoa::Buffer::new().format(self.sequence).as_bytes());
            members(out);
            out.push(b'}');
        });
        self.sequence += 1;
    }

    /// Writes `response.output_item.added` or `.done`.
    fn item(&mut self, name: &str, place: &Place, out: &mut Vec<u8>, item: impl FnOnce(&mut Vec<u8>)) {
        self.write(name, out, |out| {
            place.write_output(out);
            out.extend_from_slice(b",\"item\":");
            item(out);
        });
    }

    /// Writes an event about the open part of a message.
    fn part(&mut self, name: &str, message: &Message, out: &mut Vec<u8>, members: impl FnOnce(&mut Vec<u8>)) {
        self.write(name, out, |out| {
            message.write_place(out);
            members(out);
        });
    }

    /// Writes an event about the summary of a reasoning item.
    fn summary(&mut self, name: &str, place: &Place, out: &mut Vec<u8>, members: impl FnOnce(&mut Vec<u8>)) {
        self.write(name, out, |out| {
            place.write(out);
            out.extend_from_slice(b",\"summary_index\":0");
            members(out);
        });
    }
}

const ADDED: &str = "response.output_item.added";
const DONE: &str = "response.output_item.done";

// === impl Writer ===

impl Writer {
    /// A writer at the start of an answer. `service_tier` is what the provider gave, if that is known already.
    pub(super) fn new(setting: &Setting<'_>, service_tier: Option<&str>) -> Self {
        Self {
            frame: Frame::of(setting, service_tier),
            names: ClientNames::of(setting.request),
            id: setting.id.to_owned(),
            phase: Phase::Fresh,
            events: Events { sequence: 0 },
            next_output: 0,
            open: Open::Nothing,
            calls: Vec::new(),
            done: Vec::new(),
            finish: Finish::Stop,
        }
    }

    /// Writes the object as it is now.
    pub(super) fn object(&self, usage: Option<&Usage>, out: &mut Vec<u8>) {
        self.frame.write(State::after(&self.finish), |out| self.output(out), usage, None, out);
    }

    /// Completes what is open, and writes nothing that is not an item.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) {
        let status = match State::after(&self.finish) {
            State::Incomplete(_) => "incomplete",
            _ => "completed",
        };
        self.close_open(status, None, out);
        for call in std::mem::take(&mut self.calls) {
            self.close_call(call, status, out);
        }
    }

    /// The complete items in order.
    fn output(&self, out: &mut Vec<u8>) {
        let mut done: Vec<&(u32, Vec<u8>)> = self.done.iter().collect();
        done.sort_unstable_by_key(|(place, _)| *place);
        for (nth, (_, item)) in done.into_iter().enumerate() {
            if nth > 0 {
                out.push(b',');
            }
            out.extend_from_slice(item);
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if self.phase != Phase::Fresh {
            return;
        }
        self.phase = Phase::Running;
        for name in ["response.created", "response.in_progress"] {
            self.events.write(name, out, |out| {
                out.extend_from_slice(b",\"response\":");
                self.frame.write(State::InProgress, |_| {}, None, None, out);
            });
        }
    }

    fn last_event(
        &mut self,
        name: &str,
        state: State<'_>,
        usage: Option<&Usage>,
        metadata: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) {
        let mut output = Vec::new();
        self.output(&mut output);
        self.events.write(name, out, |out| {
            out.extend_from_slice(b",\"response\":");
            self.frame.write(state, |out| out.extend_from_slice(&output), usage, metadata, out);
        });
    }

    fn place(&mut self, prefix: &str) -> Place {
        let output = self.next_output;
        self.next_output += 1;
        Place { output, id: format!("{prefix}_{}_{output}", self.id) }
    }

    /// Writes the last event of an item and keeps the item for the last event of all.
    fn item_done(&mut self, place: &Place, item: Vec<u8>, out: &mut Vec<u8>) {
        self.events.item(DONE, place, out, |out| out.extend_from_slice(&item));
        self.done.push((place.output, item));
    }

    // ---- Thinking ----

    fn thinking(&mut self, text: &str, out: &mut Vec<u8>) {
        if !matches!(self.open, Open::Reasoning(_)) {
            self.open_reasoning(out);
        }
        let Self { open: Open::Reasoning(reasoning), events, .. } = self else { return };
        if !reasoning.has_summary {
            reasoning.has_summary = true;
            events.summary("response.reasoning_summary_part.added", &reasoning.place, out, |out| {
                out.extend_from_slice(b",\"part\":");
                reasoning.part(out);
            });
        }
        let Reasoning { place, text: kept, .. } = reasoning;
        events.summary("response.reasoning_summary_text.delta", place, out, |out| {
            out.extend_from_slice(b",\"delta\":");
            items::escape_and_keep(text, kept, out);
        });
    }

    fn open_reasoning(&mut self, out: &mut Vec<u8>) {
        self.close_open("completed", None, out);
        let reasoning = Reasoning { place: self.place("rs"), has_summary: false, text: Vec::new() };
        self.events.item(ADDED, &reasoning.place, out, |out| reasoning.item(None, out));
        self.open = Open::Reasoning(reasoning);
    }

    /// A seal ends the thinking before it, or is a thought of its own.
    fn seal(&mut self, seal: &Seal, out: &mut Vec<u8>) {
        if !matches!(self.open, Open::Reasoning(_)) {
            self.open_reasoning(out);
        }
        self.close_open("completed", Some(seal), out);
    }

    // ---- Words ----

    /// Makes sure that a part of this kind is open.
    fn open_part(&mut self, refusal: bool, out: &mut Vec<u8>) {
        if !matches!(self.open, Open::Message(_)) {
            self.close_open("completed", None, out);
            let message = Message { place: self.place("msg"), parts: Vec::new(), content: 0, part: None };
            self.events.item(ADDED, &message.place, out, |out| message.item("in_progress", out));
            self.open = Open::Message(message);
        }
        let Self { open: Open::Message(message), events, .. } = self else { return };
        if message.part.as_ref().is_some_and(|part| part.refusal != refusal) {
            close_part(message, events, out);
        }
        if message.part.is_none() {
            let part = Part { refusal, ..Part::default() };
            events.part("response.content_part.added", message, out, |out| {
                out.extend_from_slice(b",\"part\":");
                part.write(out);
            });
            message.part = Some(part);
        }
    }

    fn words(&mut self, text: &str, refusal: bool, logprobs: &[u8], out: &mut Vec<u8>) {
        self.open_part(refusal, out);
        let Self { open: Open::Message(message), events, .. } = self else { return };
        let Some(mut part) = message.part.take() else { return };
        if !logprobs.is_empty() {
            items::add_entry(&mut part.logprobs, logprobs);
        }
        let name = if refusal { "response.refusal.delta" } else { "response.output_text.delta" };
        events.part(name, message, out, |out| {
            out.extend_from_slice(b",\"delta\":");
            items::escape_and_keep(text, &mut part.text, out);
            if !refusal {
                out.extend_from_slice(b",\"logprobs\":[");
                out.extend_from_slice(logprobs);
                out.push(b']');
            }
        });
        message.part = Some(part);
    }

    fn annotation(&mut self, annotation: &[u8], out: &mut Vec<u8>) {
        self.open_part(false, out);
        let Self { open: Open::Message(message), events, .. } = self else { return };
        let Some(mut part) = message.part.take() else { return };
        events.part("response.output_text.annotation.added", message, out, |out| {
            items::number(",\"annotation_index\":", part.annotation_count, out);
            out.extend_from_slice(b",\"annotation\":");
            out.extend_from_slice(annotation);
        });
        items::add_entry(&mut part.annotations, annotation);
        part.annotation_count += 1;
        message.part = Some(part);
    }

    /// Completes the item that takes words.
    fn close_open(&mut self, status: &str, seal: Option<&Seal>, out: &mut Vec<u8>) {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => {}
            Open::Reasoning(reasoning) => {
                if reasoning.has_summary {
                    close_summary(&reasoning, &mut self.events, out);
                }
                let mut item = Vec::new();
                reasoning.item(seal, &mut item);
                self.item_done(&reasoning.place, item, out);
            }
            Open::Message(mut message) => {
                close_part(&mut message, &mut self.events, out);
                let mut item = Vec::new();
                message.item(status, &mut item);
                self.item_done(&message.place, item, out);
            }
        }
    }

    // ---- Calls ----

    fn open_call(&mut self, index: u32, call: (&str, &str, bool), seal: Option<&Seal>, out: &mut Vec<u8>) {
        let (id, name, custom) = call;
        self.close_open("completed", None, out);
        let id = carry::pack(id, &Carried { thinking: Vec::new(), seal: seal.cloned() });
        let named = self.names.find(name, custom);
        let head = Call::head(&id, named.namespace, named.name);
        let wrapped = (named.custom && !custom).then(String::new);
        let custom = named.custom;
        let place = self.place(if custom { "ctc" } else { "fc" });
        let call = Call { place, index, head, custom, input: Vec::new(), wrapped };
        self.events.item(ADDED, &call.place, out, |out| call.item("in_progress", out));
        self.calls.push(call);
    }

    fn call_input(&mut self, index: u32, fragment: &str, out: &mut Vec<u8>) {
        let Some(call) = self.calls.iter_mut().find(|call| call.index == index) else { return };
        match &mut call.wrapped {
            Some(kept) => kept.push_str(fragment),
            None => call_delta(call, fragment, &mut self.events, out),
        }
    }

    fn end_call(&mut self, index: u32, out: &mut Vec<u8>) {
        if let Some(at) = self.calls.iter().position(|call| call.index == index) {
            let call = self.calls.remove(at);
            self.close_call(call, "completed", out);
        }
    }

    fn close_call(&mut self, mut call: Call, status: &str, out: &mut Vec<u8>) {
        if let Some(kept) = call.wrapped.take() {
            call_delta(&mut call, &unwrapped(&kept), &mut self.events, out);
        } else if call.input.is_empty() && !call.custom {
            call_delta(&mut call, "{}", &mut self.events, out);
        }
        let (name, member) = match call.custom {
            true => ("response.custom_tool_call_input.done", ",\"input\":"),
            false => ("response.function_call_arguments.done", ",\"arguments\":"),
        };
        self.events.write(name, out, |out| {
            call.place.write(out);
            items::quoted(member, &call.input, out);
        });
        let mut item = Vec::new();
        call.item(status, &mut item);
        self.item_done(&call.place, item, out);
    }

    fn image(&mut self, media_type: &str, data: &str, out: &mut Vec<u8>) {
        self.close_open("completed", None, out);
        let place = self.place("ig");
        self.events.item(ADDED, &place, out, |out| items::image_item(&place, media_type, None, out));
        let mut item = Vec::new();
        items::image_item(&place, media_type, Some(data), &mut item);
        self.item_done(&place, item, out);
    }
}

fn close_summary(reasoning: &Reasoning, events: &mut Events, out: &mut Vec<u8>) {
    events.summary("response.reasoning_summary_text.done", &reasoning.place, out, |out| {
        items::quoted(",\"text\":", &reasoning.text, out);
    });
    events.summary("response.reasoning_summary_part.done", &reasoning.place, out, |out| {
        out.extend_from_slice(b",\"part\":");
        reasoning.part(out);
    });
}

fn close_part(message: &mut Message, events: &mut Events, out: &mut Vec<u8>) {
    let Some(part) = message.part.take() else { return };
    let (name, member) = match part.refusal {
        true => ("response.refusal.done", ",\"refusal\":"),
        false => ("response.output_text.done", ",\"text\":"),
    };
    events.part(name, message, out, |out| {
        items::quoted(member, &part.text, out);
        if !part.refusal {
            part.write_logprobs(out);
        }
    });
    let mut whole = Vec::new();
    part.write(&mut whole);
    events.part("response.content_part.done", message, out, |out| {
        out.extend_from_slice(b",\"part\":");
        out.extend_from_slice(&whole);
    });
    items::add_entry(&mut message.parts, &whole);
    message.content += 1;
}

fn call_delta(call: &mut Call, fragment: &str, events: &mut Events, out: &mut Vec<u8>) {
    let Call { place, custom, input, .. } = call;
    let name = if *custom { "response.custom_tool_call_input.delta" } else { "response.function_call_arguments.delta" };
    events.write(name, out, |out| {
        place.write(out);
        out.extend_from_slice(b",\"delta\":");
        items::escape_and_keep(fragment, input, out);
    });
}

impl StreamWriter for Writer {
    fn write(&mut self, delta: &Delta<'_>, out: &mut Vec<u8>) {
        // Nobody can ask for several answers in this dialect.
        if self.phase == Phase::Ended || choice_of(delta) > 0 {
            return;
        }
        if matches!(delta, Delta::Usage(_) | Delta::Ping | Delta::Error { .. }) {
            return;
        }
        self.begin(out);
        match delta {
            Delta::Text { text, .. } if !text.is_empty() => self.words(text, false, b"", out),
            Delta::Refusal { text, .. } if !text.is_empty() => self.words(text, true, b"", out),
            Delta::Thinking { text, .. } if !text.is_empty() => self.thinking(text, out),
            Delta::Seal { seal, .. } => self.seal(seal, out),
            Delta::ToolStart { index, id, name, custom, seal, .. } => {
                self.open_call(*index, (id, name, *custom), seal.as_ref(), out);
            }
            Delta::ToolInput { index, json, .. } if !json.is_empty() => self.call_input(*index, json, out),
            Delta::ToolEnd { index, .. } => self.end_call(*index, out),
            Delta::Image { media_type, data, .. } => self.image(media_type, data, out),
            Delta::Logprobs { logprobs, .. } => {
                let entries = items::logprob_entries(logprobs);
                // They belong to words that are out already, so they come with none.
                if !entries.is_empty() {
                    self.words("", false, &entries, out);
                }
            }
            Delta::Annotation { annotation, .. } => self.annotation(&items::flat_annotation(annotation), out),
            Delta::Finish { reason, .. } => self.finish = reason.clone(),
            _ => {}
        }
    }

    fn finish(&mut self, usage: Option<&Usage>, metadata: Option<&[u8]>, out: &mut Vec<u8>) {
        if self.phase == Phase::Ended {
            return;
        }
        self.begin(out);
        self.close(out);
        self.phase = Phase::Ended;
        let state = State::after(&self.finish);
        let name = match state {
            State::Incomplete(_) => "response.incomplete",
            _ => "response.completed",
        };
        self.last_event(name, state, usage, metadata, out);
    }

    fn fail(&mut self, fault: &Shown<'_>, out: &mut Vec<u8>) {
        if self.phase == Phase::Ended {
            return;
        }
        self.begin(out);
        self.phase = Phase::Ended;
        // Of the closed list of codes these two say whether to slow down.
        let code = if fault.status == 429 { "rate_limit_exceeded" } else { "server_error" };
        let state = State::Failed { code, message: fault.message };
        self.last_event("response.failed", state, None, None, out);
    }
}

fn choice_of(delta: &Delta<'_>) -> u32 {
    match delta {
        Delta::Text { choice, .. }
        | Delta::Refusal { choice, .. }
        | Delta::Thinking { choice, .. }
        | Delta::Seal { choice, .. }
        | Delta::ToolStart { choice, .. }
        | Delta::ToolInput { choice, .. }
        | Delta::ToolEnd { choice, .. }
        | Delta::Image { choice, .. }
        | Delta::Logprobs { choice, .. }
        | Delta::Annotation { choice, .. }
        | Delta::Finish { choice, .. } => *choice,
        Delta::Start { .. } | Delta::Usage(_) | Delta::Ping | Delta::Error { .. } => 0,
    }
}
