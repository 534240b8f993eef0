//! A streamed answer as Chat Completions have it: one chunk a delta, in unnamed events, `[DONE]` at the proper end and only there.
//!
//! The role comes with a choice's first delta and not before, so that nothing has been said while an early failure may still be hidden.
//! Finish chunks wait for the end of the stream, since the gateway's `metadata` belongs on the last chunk and is known only then.
//!
//! ```text
//! a choice:  Silent --first delta--> Speaking --Finish--> Ended (its chunk waits) --finish()--> written
//! ```

use super::reasoning;
use super::write_response::{error, finish_word, write_image, write_usage, write_value};
use crate::chat::carry::{self, Carried};
use crate::chat::delta::Delta;
use crate::chat::request::{Seal, Thinking};
use crate::chat::response::Finish;
use crate::chat::shown::Shown;
use crate::dialects::{Setting, StreamWriter};
use crate::domain::token::Usage;
use crate::json::splice::escape_into;

/// Makes the writer of one stream.
pub(super) fn writer(setting: &Setting<'_>) -> Box<dyn StreamWriter> {
    Box::new(ChunkWriter::new(setting))
}

struct ChunkWriter {
    /// Every chunk up to its choices.
    head: Vec<u8>,
    usage_event: bool,
    choices: Vec<Answer>,
}

/// One of several answers.
struct Answer {
    index: u32,
    state: State,
    /// Words of the thinking that no seal has ended yet.
    thinking: String,
    /// Sealed thinking since the last tool call.
    sealed: Vec<Thinking>,
    /// How many seals there were.
    seals: usize,
    calls: Vec<Call>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Silent,
    Speaking,
    /// With the word that its finish chunk will say.
    Ended(&'static str),
}

/// A tool call that was opened.
struct Call {
    index: u32,
    custom: bool,
    has_input: bool,
}

// === impl ChunkWriter ===

impl ChunkWriter {
    fn new(setting: &Setting<'_>) -> Self {
        let mut head = b"data: {\"id\":".to_vec();
        escape_into(&format!("chatcmpl-{}", setting.id), &mut head);
        head.extend_from_slice(b",\"object\":\"chat.completion.chunk\",\"created\":");
        head.extend_from_slice(itoa::Buffer::new().format(setting.created).as_bytes());
        head.extend_from_slice(b",\"model\":");
        escape_into(setting.model, &mut head);
        head.extend_from_slice(b",\"choices\":[");
        Self { head, usage_event: setting.usage_event, choices: Vec::new() }
    }

    /// One chunk with a delta of `choice`, whose members `write` appends.
    fn chunk(&mut self, choice: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Answer, &mut Vec<u8>)) {
        let answer = answer(&mut self.choices, choice);
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":");
        out.extend_from_slice(itoa::Buffer::new().format(choice).as_bytes());
        out.extend_from_slice(b",\"delta\":{");
        if answer.state == State::Silent {
            answer.state = State::Speaking;
            out.extend_from_slice(b"\"role\":\"assistant\",");
        }
        write(answer, out);
        out.extend_from_slice(b"},\"finish_reason\":null}]");
        self.close(out);
    }

    fn close(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.usage_event { b",\"usage\":null}\n\n" } else { b"}\n\n" });
    }

    fn words(&mut self, choice: u32, member: &str, text: &str, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        self.chunk(choice, out, |_, out| {
            out.extend_from_slice(member.as_bytes());
            escape_into(text, out);
        });
    }

    fn seal(&mut self, choice: u32, seal: &Seal, out: &mut Vec<u8>) {
        self.chunk(choice, out, |answer, out| {
            out.extend_from_slice(b"\"reasoning_details\":[");
            let words = std::mem::take(&mut answer.thinking);
            // A redacted thought has no words: those before it are a thought of their own, without a seal.
            let text = if seal.redacted { String::new() } else { words };
            reasoning::write_entry(&text, seal, answer.seals, out);
            out.push(b']');
            answer.seals += 1;
            answer.sealed.push(Thinking { text, seal: Some(seal.clone()) });
        });
    }

    fn tool_start(&mut self, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let Delta::ToolStart { choice, index, id, name, custom, seal } = delta else { return };
        self.chunk(*choice, out, |answer, out| {
            answer.thinking.clear();
            let carried = Carried { thinking: std::mem::take(&mut answer.sealed), seal: seal.clone() };
            answer.calls.push(Call { index: *index, custom: *custom, has_input: *custom });
            call_head(*index, out);
            out.extend_from_slice(b",\"id\":");
            escape_into(&carry::pack(id, &carried), out);
            out.extend_from_slice(if *custom {
                b",\"type\":\"custom\",\"custom\":{\"name\":"
            } else {
                b",\"type\":\"function\",\"function\":{\"name\":"
            });
            escape_into(name, out);
            out.extend_from_slice(if *custom { b",\"input\":\"\"}}]" } else { b",\"arguments\":\"\"}}]" });
        });
    }

    fn tool_input(&mut self, choice: u32, index: u32, fragment: &str, out: &mut Vec<u8>) {
        if fragment.is_empty() {
            return;
        }
        self.chunk(choice, out, |answer, out| {
            let call = answer.calls.iter_mut().rev().find(|call| call.index == index);
            let custom = call.is_some_and(|call| {
                call.has_input = true;
                call.custom
            });
            call_head(index, out);
            out.extend_from_slice(if custom { b",\"custom\":{\"input\":" } else { b",\"function\":{\"arguments\":" });
            escape_into(fragment, out);
            out.extend_from_slice(b"}}]");
        });
    }

    /// Gives every call of `choice` that got no input an empty object; of one call, or of all.
    fn complete_inputs(&mut self, choice: u32, only: Option<u32>, out: &mut Vec<u8>) {
        let calls = answer(&mut self.choices, choice).calls.iter();
        let bare: Vec<u32> = calls.filter(|call| !call.has_input).map(|call| call.index).collect();
        for index in bare.into_iter().filter(|index| only.is_none_or(|only| only == *index)) {
            self.tool_input(choice, index, "{}", out);
        }
    }

    fn logprobs(&mut self, choice: u32, logprobs: &serde_json::Value, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":");
        out.extend_from_slice(itoa::Buffer::new().format(choice).as_bytes());
        out.extend_from_slice(b",\"delta\":{},\"logprobs\":");
        write_value(logprobs, out);
        out.extend_from_slice(b",\"finish_reason\":null}]");
        self.close(out);
    }

    /// The finish chunks, `metadata` on the last of them.
    fn finish_chunks(&self, metadata: Option<&[u8]>, out: &mut Vec<u8>) {
        for (place, answer) in self.choices.iter().enumerate() {
            let word = match answer.state {
                State::Ended(word) => word,
                State::Silent | State::Speaking => finish_word(&Finish::Stop),
            };
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"{\"index\":");
            out.extend_from_slice(itoa::Buffer::new().format(answer.index).as_bytes());
            out.extend_from_slice(b",\"delta\":{},\"finish_reason\":\"");
            out.extend_from_slice(word.as_bytes());
            out.extend_from_slice(b"\"}]");
            if place + 1 == self.choices.len() {
                write_metadata(metadata, out);
            }
            self.close(out);
        }
    }
}

impl StreamWriter for ChunkWriter {
    fn write(&mut self, delta: &Delta<'_>, out: &mut Vec<u8>) {
        match delta {
            Delta::Text { choice, text } => {
                // Words of thinking that no seal ended are not carried.
                answer(&mut self.choices, *choice).thinking.clear();
                self.words(*choice, "\"content\":", text, out);
            }
            Delta::Refusal { choice, text } => self.words(*choice, "\"refusal\":", text, out),
            Delta::Thinking { choice, text } => {
                answer(&mut self.choices, *choice).thinking.push_str(text);
                self.words(*choice, "\"reasoning_content\":", text, out);
            }
            Delta::Seal { choice, seal } => self.seal(*choice, seal, out),
            Delta::ToolStart { .. } => self.tool_start(delta, out),
            Delta::ToolInput { choice, index, json } => self.tool_input(*choice, *index, json, out),
            Delta::ToolEnd { choice, index } => self.complete_inputs(*choice, Some(*index), out),
            Delta::Image { choice, media_type, data } => self.chunk(*choice, out, |_, out| {
                out.extend_from_slice(b"\"images\":[");
                write_image(media_type, data, out);
                out.push(b']');
            }),
            Delta::Annotation { choice, annotation } => self.chunk(*choice, out, |_, out| {
                out.extend_from_slice(b"\"annotations\":[");
                write_value(annotation, out);
                out.push(b']');
            }),
            Delta::Logprobs { choice, logprobs } => self.logprobs(*choice, logprobs, out),
            Delta::Finish { choice, reason } => {
                self.complete_inputs(*choice, None, out);
                if answer(&mut self.choices, *choice).state == State::Silent {
                    self.chunk(*choice, out, |_, out| out.extend_from_slice(b"\"content\":\"\""));
                }
                answer(&mut self.choices, *choice).state = State::Ended(finish_word(reason));
            }
            Delta::Start { .. } | Delta::Usage(_) | Delta::Ping | Delta::Error { .. } => {}
        }
    }

    fn finish(&mut self, usage: Option<&Usage>, metadata: Option<&[u8]>, out: &mut Vec<u8>) {
        let usage = usage.filter(|_| self.usage_event);
        let on_its_own = usage.is_some() || self.choices.is_empty();
        self.finish_chunks(metadata.filter(|_| !on_its_own), out);
        if usage.is_some() || (on_its_own && metadata.is_some()) {
            out.extend_from_slice(&self.head);
            out.push(b']');
            if let Some(usage) = usage {
                out.extend_from_slice(b",\"usage\":");
                write_usage(usage, out);
            }
            write_metadata(metadata, out);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn fail(&mut self, fault: &Shown<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: ");
        error(fault, out);
        out.extend_from_slice(b"\n\n");
    }
}

/// The state of one answer, made when it is first heard of.
fn answer(choices: &mut Vec<Answer>, index: u32) -> &mut Answer {
    let place = choices.iter().position(|answer| answer.index == index).unwrap_or_else(|| {
        choices.push(Answer {
            index,
            state: State::Silent,
            thinking: String::new(),
            sealed: Vec::new(),
            seals: 0,
            calls: Vec::new(),
        });
        choices.len() - 1
    });
    &mut choices[place]
}

fn call_head(index: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"tool_calls\":[{\"index\":");
    out.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
}

fn write_metadata(metadata: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(inside) = metadata {
        out.extend_from_slice(b",\"metadata\":{");
        out.extend_from_slice(inside);
        out.push(b'}');
    }
}
