//! A streamed answer as Google's clients read it: every event a whole `GenerateContentResponse`.
//!
//! Calls of tools are whole in this format, so their input is gathered until the call ends. Reasons, counts and
//! whatever is still open come with the last event; nothing terminates the stream. Without `alt=sse` the same answers
//! are the elements of one JSON array. Words cost no allocation.

use super::finish;
use super::parts::{FunctionCall, Part};
use super::seal;
use super::usage::Stated;
use super::write_response::{self, args_of, is_foreign};
use crate::chat::carry::Carried;
use crate::chat::delta::Delta;
use crate::chat::request::{Maker, Seal, Thinking};
use crate::chat::shown::Shown;
use crate::dialects::{Setting, StreamWriter};
use crate::domain::token::Usage;
use crate::json::splice::escape_into;
use serde_json::Value;

/// How answers stand in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// As server-sent events.
    Events,
    /// As the elements of a JSON array; whether one was written.
    Array {
        /// Whether an element stands before the next one.
        begun: bool,
    },
}

/// Deltas in, answers out.
pub(super) struct Writer {
    frame: Frame,
    /// What ends every answer: the model and the id, with the closing brace.
    tail: Vec<u8>,
    choices: Vec<Progress>,
}

/// What is gathered for one choice.
#[derive(Default)]
struct Progress {
    index: u32,
    /// Words of the thought that has no seal yet.
    thought: String,
    /// Thoughts that other makers sealed, since the last call of a tool.
    sealed: Vec<Thinking>,
    /// Calls that have begun and not ended.
    open: Vec<Call>,
    finish: Option<&'static str>,
}

struct Call {
    index: u32,
    id: String,
    name: String,
    custom: bool,
    input: String,
    carried: Carried,
}

impl Writer {
    /// A writer at the start of a stream.
    pub(super) fn new(setting: &Setting<'_>, frame: Frame) -> Self {
        let mut tail = b",\"modelVersion\":".to_vec();
        escape_into(setting.model, &mut tail);
        tail.extend_from_slice(b",\"responseId\":");
        escape_into(setting.id, &mut tail);
        tail.push(b'}');
        Self { frame, tail, choices: Vec::new() }
    }

    fn progress(&mut self, index: u32) -> &mut Progress {
        let known = self.choices.iter().position(|choice| choice.index == index);
        let at = known.unwrap_or_else(|| {
            self.choices.push(Progress { index, ..Progress::default() });
            self.choices.len() - 1
        });
        &mut self.choices[at]
    }

    /// Writes one part of a choice as an answer; `members` follow the part's content.
    fn part(
        &mut self,
        choice: u32,
        out: &mut Vec<u8>,
        part: impl FnOnce(&mut Vec<u8>),
        members: impl FnOnce(&mut Vec<u8>),
    ) {
        begin(&mut self.frame, out);
        out.extend_from_slice(b"{\"candidates\":[{\"content\":{\"parts\":[");
        part(out);
        out.extend_from_slice(b"],\"role\":\"model\"},\"index\":");
        out.extend_from_slice(itoa::Buffer::new().format(choice).as_bytes());
        members(out);
        out.extend_from_slice(b"}]");
        out.extend_from_slice(&self.tail);
        end(self.frame, out);
    }

    fn words(&mut self, choice: u32, text: &str, thought: bool, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        self.part(choice, out, |out| write_words(text, thought, out), |_| {});
    }

    /// A thought that words follow will get no seal any more: one that comes stands on the words.
    fn text(&mut self, choice: u32, text: &str, out: &mut Vec<u8>) {
        self.progress(choice).thought.clear();
        self.words(choice, text, false, out);
    }

    fn thought(&mut self, choice: u32, text: &str, out: &mut Vec<u8>) {
        self.progress(choice).thought.push_str(text);
        self.words(choice, text, true, out);
    }

    /// A seal on a part of its own, after the words that it seals.
    fn sealed(&mut self, choice: u32, seal: &Seal, out: &mut Vec<u8>) {
        let progress = self.progress(choice);
        let text = std::mem::take(&mut progress.thought);
        let thought = !(seal.maker == Maker::Google && text.is_empty());
        let thinking = Thinking { text, seal: Some(seal.clone()) };
        if is_foreign(&thinking) {
            progress.sealed.push(thinking);
        }
        let part = Part { thought, thought_signature: Some(seal::written(seal)), ..Part::text("") };
        self.part(choice, out, |out| write_part(&part, out), |_| {});
    }

    fn open_call(&mut self, choice: u32, call: Call) {
        let progress = self.progress(choice);
        let thinking = std::mem::take(&mut progress.sealed);
        let carried = Carried { thinking, ..call.carried };
        progress.thought.clear();
        progress.open.push(Call { carried, ..call });
    }

    fn end_call(&mut self, choice: u32, index: u32, out: &mut Vec<u8>) {
        let open = &mut self.progress(choice).open;
        let Some(at) = open.iter().position(|call| call.index == index) else { return };
        let call = open.remove(at);
        self.call(choice, &call, out);
    }

    fn call(&mut self, choice: u32, call: &Call, out: &mut Vec<u8>) {
        let function_call =
            Some(FunctionCall { id: &call.id, name: &call.name, args: args_of(&call.input, call.custom) });
        let part = Part { function_call, thought_signature: seal::on_call(&call.carried), ..Part::default() };
        self.part(choice, out, |out| write_part(&part, out), |_| {});
    }

    /// Writes calls that nobody ended.
    fn end_calls(&mut self, choice: u32, out: &mut Vec<u8>) {
        for call in std::mem::take(&mut self.progress(choice).open) {
            self.call(choice, &call, out);
        }
    }

    fn with_note(&mut self, choice: u32, name: &str, note: Option<Value>, out: &mut Vec<u8>) {
        let Some(note) = note else { return };
        let members = |out: &mut Vec<u8>| {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            out.extend_from_slice(note.to_string().as_bytes());
        };
        self.part(choice, out, |out| write_words("", false, out), members);
    }
}

impl StreamWriter for Writer {
    fn write(&mut self, delta: &Delta<'_>, out: &mut Vec<u8>) {
        match delta {
            Delta::Text { choice, text } | Delta::Refusal { choice, text } => self.text(*choice, text, out),
            Delta::Thinking { choice, text } => self.thought(*choice, text, out),
            Delta::Seal { choice, seal } => self.sealed(*choice, seal, out),
            Delta::ToolStart { choice, index, id, name, custom, seal } => {
                let carried = Carried { thinking: Vec::new(), seal: seal.clone() };
                let (id, name) = (id.to_string(), name.to_string());
                let call = Call { index: *index, id, name, custom: *custom, input: String::new(), carried };
                self.open_call(*choice, call);
            }
            Delta::ToolInput { choice, index, json } => {
                let open = &mut self.progress(*choice).open;
                if let Some(call) = open.iter_mut().find(|call| call.index == *index) {
                    call.input.push_str(json);
                }
            }
            Delta::ToolEnd { choice, index } => self.end_call(*choice, *index, out),
            Delta::Image { choice, media_type, data } => {
                let part = Part::inline(media_type, &**data);
                self.part(*choice, out, |out| write_part(&part, out), |_| {});
            }
            Delta::Logprobs { choice, logprobs } => {
                self.with_note(*choice, "logprobsResult", write_response::logprobs(logprobs), out);
            }
            Delta::Annotation { choice, annotation } => {
                self.with_note(*choice, "groundingMetadata", write_response::grounding(&[annotation]), out);
            }
            Delta::Finish { choice, reason } => {
                self.end_calls(*choice, out);
                self.progress(*choice).finish = Some(finish::word(reason));
            }
            Delta::Start { .. } | Delta::Usage(_) | Delta::Ping | Delta::Error { .. } => {}
        }
    }

    fn finish(&mut self, usage: Option<&Usage>, _metadata: Option<&[u8]>, out: &mut Vec<u8>) {
        for at in 0..self.choices.len() {
            let choice = self.choices[at].index;
            self.end_calls(choice, out);
        }
        if self.choices.is_empty() {
            self.choices.push(Progress::default());
        }
        begin(&mut self.frame, out);
        out.extend_from_slice(b"{\"candidates\":[");
        for (at, choice) in self.choices.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            // The SDKs' chats forget a turn with an event that has no part.
            out.extend_from_slice(b"{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"},\"finishReason\":\"");
            out.extend_from_slice(choice.finish.unwrap_or("STOP").as_bytes());
            out.extend_from_slice(b"\",\"index\":");
            out.extend_from_slice(itoa::Buffer::new().format(choice.index).as_bytes());
            out.push(b'}');
        }
        out.push(b']');
        if let Some(usage) = usage {
            out.extend_from_slice(b",\"usageMetadata\":");
            write_json(&Stated::of(usage), out);
        }
        out.extend_from_slice(&self.tail);
        end(self.frame, out);
        self.close(out);
    }

    fn fail(&mut self, fault: &Shown<'_>, out: &mut Vec<u8>) {
        begin(&mut self.frame, out);
        write_response::error(fault, out);
        end(self.frame, out);
        self.close(out);
    }
}

impl Writer {
    fn close(&mut self, out: &mut Vec<u8>) {
        if matches!(self.frame, Frame::Array { .. }) {
            out.extend_from_slice(b"]\n");
        }
    }
}

fn begin(frame: &mut Frame, out: &mut Vec<u8>) {
    match frame {
        Frame::Events => out.extend_from_slice(b"data: "),
        Frame::Array { begun } => out.extend_from_slice(if std::mem::replace(begun, true) { b",\n" } else { b"[" }),
    }
}

fn end(frame: Frame, out: &mut Vec<u8>) {
    match frame {
        Frame::Events => out.extend_from_slice(b"\r\n\r\n"),
        Frame::Array { .. } => out.push(b'\n'),
    }
}

fn write_words(text: &str, thought: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"text\":");
    escape_into(text, out);
    out.extend_from_slice(if thought { b",\"thought\":true}" } else { b"}" });
}

/// Writes a part on one line: input of tools keeps its text, and may have line ends between its values.
fn write_part(part: &Part<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    write_json(part, out);
    for byte in out.iter_mut().skip(start) {
        // Inside a string they are escaped, so these are white space.
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

fn write_json(value: &impl serde::Serialize, out: &mut Vec<u8>) {
    // Into memory, and out of strings, numbers and JSON alone: this cannot fail.
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "what is written is JSON");
}

#[cfg(test)]
#[path = "write_stream_tests.rs"]
mod tests;
