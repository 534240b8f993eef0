//! Deltas as a Messages stream. Its blocks follow one another, so what comes while a tool call is open and is not its own waits for its end.
//!
//! ```text
//! block:  Nothing --text--> Text      --anything else--> closed
//!         Nothing --thinking--> Thinking --seal, anything else--> closed
//!         Nothing --ToolStart--> Tool --its ToolEnd, Finish, the end--> closed; then what waited is written in order
//! ```
//!
//! Every event has its name: Anthropic's SDKs drop the others silently. A stream that broke off ends with `error` and has no `message_stop`.

use super::{foreign, usage, write_response};
use crate::chat::carry::{self, Carried};
use crate::chat::delta::Delta;
use crate::chat::request::Seal;
use crate::chat::response::Finish;
use crate::chat::shown::Shown;
use crate::dialects::{Setting, StreamWriter, sse};
use crate::domain::token::Usage;
use crate::json::splice::escape_into;
use std::collections::VecDeque;

/// A writer at the start of a stream.
pub(super) fn make(setting: &Setting<'_>) -> Box<dyn StreamWriter> {
    Box::new(Writer { id: write_response::message_id(setting), model: setting.model.to_owned(), ..Writer::default() })
}

/// The block that is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Open {
    #[default]
    Nothing,
    Text,
    Thinking,
    Tool {
        call: u32,
        /// Its input is free text: held back in [`Writer::free_text`] until it is whole.
        custom: bool,
    },
}

/// What waits while a call is open.
#[derive(Debug)]
enum Waiting {
    Text(String),
    Thinking(String),
    Seal(Seal),
    Tool { call: u32, id: String, name: String, custom: bool, input: String, ended: bool },
}

#[derive(Debug, Default)]
struct Writer {
    id: String,
    model: String,
    started: bool,
    open: Open,
    /// Index of the open block, or of the next one.
    index: u64,
    waiting: VecDeque<Waiting>,
    free_text: String,
    calls: bool,
    refuses: bool,
    finish: Option<Finish>,
}

impl StreamWriter for Writer {
    fn write(&mut self, delta: &Delta<'_>, out: &mut Vec<u8>) {
        match delta {
            Delta::Start { .. } => self.start(out),
            Delta::Text { choice: 0, text } => self.text(text, out),
            Delta::Refusal { choice: 0, text } => {
                self.refuses = true;
                self.text(text, out);
            }
            Delta::Thinking { choice: 0, text } if !text.is_empty() => match self.tool_is_open() {
                true => self.wait_thinking(text),
                false => self.thinking(text, out),
            },
            Delta::Seal { choice: 0, seal } => match self.tool_is_open() {
                true => self.waiting.push_back(Waiting::Seal(seal.clone())),
                false => self.seal(seal, out),
            },
            Delta::ToolStart { choice: 0, index, id, name, custom, seal } => {
                self.calls = true;
                let id = carry::pack(id, &Carried { thinking: Vec::new(), seal: seal.clone() });
                if self.tool_is_open() {
                    let (id, name) = (id.into_owned(), name.clone().into_owned());
                    let input = String::new();
                    let call = Waiting::Tool { call: *index, id, name, custom: *custom, input, ended: false };
                    return self.waiting.push_back(call);
                }
                self.open_tool(*index, &id, name, *custom, out);
            }
            Delta::ToolInput { choice: 0, index, json } => self.input(*index, json, out),
            Delta::ToolEnd { choice: 0, index } => self.tool_end(*index, out),
            Delta::Image { choice: 0, media_type, data } => self.text(&write_response::picture(media_type, data), out),
            Delta::Finish { choice: 0, reason } => {
                self.close_all(out);
                self.finish = Some(reason.clone());
            }
            // Other choices, figures, signs of life and errors: not this stream's, or the caller's.
            _ => {}
        }
    }

    fn finish(&mut self, usage: Option<&Usage>, metadata: Option<&[u8]>, out: &mut Vec<u8>) {
        self.start(out);
        self.close_all(out);
        let finish = match self.finish.take().unwrap_or_default() {
            Finish::Stop if self.calls => Finish::ToolCalls,
            Finish::Stop if self.refuses => Finish::ContentFilter,
            finish => finish,
        };
        sse::event(out, Some("message_delta"), |out| {
            out.extend_from_slice(br#"{"type":"message_delta","delta":{"stop_reason":"#);
            write_response::stop(&finish, out);
            out.extend_from_slice(br#"},"usage":"#);
            usage::write(usage, out);
            if let Some(inside) = metadata {
                out.extend_from_slice(br#","metadata":{"#);
                out.extend_from_slice(inside);
                out.push(b'}');
            }
            out.push(b'}');
        });
        sse::event(out, Some("message_stop"), |out| out.extend_from_slice(br#"{"type":"message_stop"}"#));
    }

    fn fail(&mut self, fault: &Shown<'_>, out: &mut Vec<u8>) {
        sse::event(out, Some("error"), |out| write_response::write_error(fault, out));
    }
}

impl Writer {
    fn start(&mut self, out: &mut Vec<u8>) {
        if self.started {
            return;
        }
        self.started = true;
        sse::event(out, Some("message_start"), |out| {
            out.extend_from_slice(br#"{"type":"message_start","message":{"id":"#);
            escape_into(&self.id, out);
            out.extend_from_slice(br#","type":"message","role":"assistant","model":"#);
            escape_into(&self.model, out);
            out.extend_from_slice(br#","content":[],"stop_reason":null,"stop_sequence":null,"usage":"#);
            // The figures are known at the end: `message_delta` has them.
            usage::write(None, out);
            out.extend_from_slice(b"}}");
        });
    }

    fn tool_is_open(&self) -> bool {
        matches!(self.open, Open::Tool { .. })
    }

    fn text(&mut self, text: &str, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if self.tool_is_open() {
            match self.waiting.back_mut() {
                Some(Waiting::Text(last)) => last.push_str(text),
                _ => self.waiting.push_back(Waiting::Text(text.to_owned())),
            }
            return;
        }
        if self.open != Open::Text {
            self.open_block(Open::Text, br#"{"type":"text","text":""}"#, out);
        }
        self.delta(br#"{"type":"text_delta","text":"#, text, out);
    }

    fn thinking(&mut self, text: &str, out: &mut Vec<u8>) {
        if self.open != Open::Thinking {
            self.open_thinking(out);
        }
        self.delta(br#"{"type":"thinking_delta","thinking":"#, text, out);
    }

    fn wait_thinking(&mut self, text: &str) {
        match self.waiting.back_mut() {
            Some(Waiting::Thinking(last)) => last.push_str(text),
            _ => self.waiting.push_back(Waiting::Thinking(text.to_owned())),
        }
    }

    fn open_thinking(&mut self, out: &mut Vec<u8>) {
        self.open_block(Open::Thinking, br#"{"type":"thinking","thinking":"","signature":""}"#, out);
    }

    /// A seal ends the thinking before it; without any it is a thought of its own.
    fn seal(&mut self, seal: &Seal, out: &mut Vec<u8>) {
        if self.open == Open::Text && foreign::is_on_text(seal) {
            return;
        }
        let data = foreign::to_client(seal);
        if seal.redacted {
            let mut block = br#"{"type":"redacted_thinking","data":"#.to_vec();
            escape_into(&data, &mut block);
            block.push(b'}');
            self.open_block(Open::Thinking, &block, out);
        } else {
            if self.open != Open::Thinking {
                self.open_thinking(out);
            }
            self.delta(br#"{"type":"signature_delta","signature":"#, &data, out);
        }
        self.close_block(out);
    }

    fn open_tool(&mut self, call: u32, id: &str, name: &str, custom: bool, out: &mut Vec<u8>) {
        let mut block = br#"{"type":"tool_use","id":"#.to_vec();
        escape_into(id, &mut block);
        block.extend_from_slice(br#","name":"#);
        escape_into(name, &mut block);
        block.extend_from_slice(br#","input":{}}"#);
        self.open_block(Open::Tool { call, custom }, &block, out);
    }

    fn input(&mut self, call: u32, json: &str, out: &mut Vec<u8>) {
        match self.open {
            Open::Tool { call: open, custom: false } if open == call => self.input_delta(json, out),
            Open::Tool { call: open, custom: true } if open == call => self.free_text.push_str(json),
            _ => {
                let waiting = self.waiting.iter_mut().find_map(|waiting| match waiting {
                    Waiting::Tool { call: known, input, .. } if *known == call => Some(input),
                    _ => None,
                });
                if let Some(input) = waiting {
                    input.push_str(json);
                }
            }
        }
    }

    fn input_delta(&mut self, json: &str, out: &mut Vec<u8>) {
        if !json.is_empty() {
            self.delta(br#"{"type":"input_json_delta","partial_json":"#, json, out);
        }
    }

    fn tool_end(&mut self, call: u32, out: &mut Vec<u8>) {
        if matches!(self.open, Open::Tool { call: open, .. } if open == call) {
            self.close_block(out);
            return self.write_waiting(out);
        }
        for waiting in &mut self.waiting {
            if let Waiting::Tool { call: known, ended, .. } = waiting
                && *known == call
            {
                *ended = true;
            }
        }
    }

    /// Writes what waited, up to a call whose end has not come.
    fn write_waiting(&mut self, out: &mut Vec<u8>) {
        while !self.tool_is_open() {
            match self.waiting.pop_front() {
                None => return,
                Some(Waiting::Text(text)) => self.text(&text, out),
                Some(Waiting::Thinking(text)) => self.thinking(&text, out),
                Some(Waiting::Seal(seal)) => self.seal(&seal, out),
                Some(Waiting::Tool { call, id, name, custom, input, ended }) => {
                    self.open_tool(call, &id, &name, custom, out);
                    self.input(call, &input, out);
                    if ended {
                        self.close_block(out);
                    }
                }
            }
        }
    }

    /// Everything that was begun has ended.
    fn close_all(&mut self, out: &mut Vec<u8>) {
        self.close_block(out);
        self.write_waiting(out);
        while self.tool_is_open() {
            self.close_block(out);
            self.write_waiting(out);
        }
        self.close_block(out);
    }

    fn open_block(&mut self, open: Open, block: &[u8], out: &mut Vec<u8>) {
        self.start(out);
        self.close_block(out);
        self.open = open;
        sse::event(out, Some("content_block_start"), |out| {
            out.extend_from_slice(br#"{"type":"content_block_start","index":"#);
            out.extend_from_slice(itoa::Buffer::new().format(self.index).as_bytes());
            out.extend_from_slice(br#","content_block":"#);
            out.extend_from_slice(block);
            out.push(b'}');
        });
    }

    fn close_block(&mut self, out: &mut Vec<u8>) {
        match self.open {
            Open::Nothing => return,
            Open::Tool { custom: true, .. } => {
                let mut input = br#"{"input":"#.to_vec();
                escape_into(&std::mem::take(&mut self.free_text), &mut input);
                input.push(b'}');
                self.input_delta(&String::from_utf8_lossy(&input), out);
            }
            Open::Tool { custom: false, .. } | Open::Text | Open::Thinking => {}
        }
        self.open = Open::Nothing;
        sse::event(out, Some("content_block_stop"), |out| {
            out.extend_from_slice(br#"{"type":"content_block_stop","index":"#);
            out.extend_from_slice(itoa::Buffer::new().format(self.index).as_bytes());
            out.push(b'}');
        });
        self.index = self.index.saturating_add(1);
    }

    /// One `content_block_delta`: `head` is the delta up to its text.
    fn delta(&self, head: &[u8], text: &str, out: &mut Vec<u8>) {
        sse::event(out, Some("content_block_delta"), |out| {
            out.extend_from_slice(br#"{"type":"content_block_delta","index":"#);
            out.extend_from_slice(itoa::Buffer::new().format(self.index).as_bytes());
            out.extend_from_slice(br#","delta":"#);
            out.extend_from_slice(head);
            escape_into(text, out);
            out.extend_from_slice(b"}}");
        });
    }
}
