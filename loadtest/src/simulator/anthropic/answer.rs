//! An Anthropic answer, whole or as its exact sequence of named events.

use super::conversation::{PLAIN_ID, THOUGHT_ID};
use super::refusal;
use crate::simulator::plan::{Ending, Speech, SpokenCall};
use crate::simulator::seal;
use crate::simulator::surface::Told;
use crate::simulator::text::{alphanumeric, mix, quote};
use std::fmt::Write as _;

/// What an answer needs besides what is said.
pub(super) struct Frame<'a> {
    pub(super) model: &'a str,
    pub(super) seed: u64,
    /// What thoughts are sealed for.
    pub(super) purpose: &'a str,
    /// Whether thoughts are shown; their seals always are.
    pub(super) shows_thoughts: bool,
    /// Prompt tokens, those of the cache included.
    pub(super) prompt_tokens: u32,
    pub(super) cached: u32,
    pub(super) written: u32,
    /// The cache keeps what it wrote for an hour instead of five minutes.
    pub(super) long_cache: bool,
    pub(super) tier: &'a str,
}

/// Writes what is said, in the one form that was asked for.
pub(super) fn told(said: &Speech, frame: &Frame<'_>, stream: bool) -> Told {
    if stream {
        let mut teller = Teller { frame, events: Vec::new(), produced: 0, block: 0 };
        teller.tell(said);
        return Told {
            kind: "text/event-stream; charset=utf-8",
            events: teller.events.into(),
            completion_tokens: said.tokens(),
            broken: Some(|_| refusal::event()),
            ..Told::default()
        };
    }
    Told::json(unary(said, frame), said.tokens())
}

fn unary(said: &Speech, frame: &Frame<'_>) -> String {
    let mut blocks = Vec::new();
    if let Some((block, text, mark)) = thought(said, frame) {
        blocks.push(match block {
            Thought::Shown => format!(r#"{{"type":"thinking","thinking":{},"signature":{mark}}}"#, quote(&text)),
            Thought::Redacted => format!(r#"{{"type":"redacted_thinking","data":{mark}}}"#),
        });
    }
    if !said.text.is_empty() {
        blocks.push(format!(r#"{{"type":"text","text":{}}}"#, quote(&said.text.concat())));
    }
    for (position, call) in said.calls.iter().enumerate() {
        let (id, name, input) = (call_id(said, frame, position), quote(&call.name), call.input.concat());
        blocks.push(format!(r#"{{"type":"tool_use","id":"{id}","name":{name},"input":{input}}}"#));
    }
    let mut out = opening(frame, &blocks.join(","));
    let _ = write!(out, r#"{},"usage":{}}}"#, ending(said), usage(frame, said.tokens(), said.thought_tokens()));
    out
}

/// A message up to its content.
fn opening(frame: &Frame<'_>, content: &str) -> String {
    let mut id = String::from("msg_01");
    alphanumeric(frame.seed, 22, &mut id);
    let model = quote(frame.model);
    format!(r#"{{"model":{model},"id":"{id}","type":"message","role":"assistant","content":[{content}],"#)
}

/// The members that say why the model fell silent.
fn ending(said: &Speech) -> String {
    let (reason, stop, details) = match &said.ending {
        Ending::Limit => ("max_tokens", "null".to_owned(), "null"),
        Ending::Stop(stop) => ("stop_sequence", quote(stop), "null"),
        Ending::Blocked => (
            "refusal",
            "null".to_owned(),
            r#"{"type":"refusal","category":"cyber","explanation":"The request was declined."}"#,
        ),
        Ending::Done if said.calls.is_empty() => ("end_turn", "null".to_owned(), "null"),
        Ending::Done => ("tool_use", "null".to_owned(), "null"),
    };
    format!(r#""stop_reason":"{reason}","stop_sequence":{stop},"stop_details":{details}"#)
}

fn usage(frame: &Frame<'_>, output: u32, thought: u32) -> String {
    let input = frame.prompt_tokens - frame.cached - frame.written;
    let (short, long) = if frame.long_cache { (0, frame.written) } else { (frame.written, 0) };
    format!(
        concat!(
            r#"{{"input_tokens":{},"cache_creation_input_tokens":{},"cache_read_input_tokens":{},"#,
            r#""cache_creation":{{"ephemeral_5m_input_tokens":{},"ephemeral_1h_input_tokens":{}}},"#,
            r#""output_tokens":{},"output_tokens_details":{{"thinking_tokens":{}}},"#,
            r#""service_tier":"{}","inference_geo":"global"}}"#
        ),
        input, frame.written, frame.cached, short, long, output, thought, frame.tier
    )
}

enum Thought {
    Shown,
    Redacted,
}

/// The block of thoughts, its visible text, and its seal as a JSON string.
fn thought(said: &Speech, frame: &Frame<'_>) -> Option<(Thought, String, String)> {
    if said.thought.is_empty() {
        return None;
    }
    let text = said.thought.concat();
    if said.secret {
        return Some((Thought::Redacted, String::new(), quote(&seal::wrap(frame.purpose, &text))));
    }
    if frame.shows_thoughts {
        let mark = quote(&seal::seal(frame.purpose, &text));
        return Some((Thought::Shown, text, mark));
    }
    Some((Thought::Shown, String::new(), quote(&seal::wrap(frame.purpose, &text))))
}

fn call_id(said: &Speech, frame: &Frame<'_>, position: usize) -> String {
    let mut id = String::from(if said.thought.is_empty() { PLAIN_ID } else { THOUGHT_ID });
    alphanumeric(mix(frame.seed, position as u64 + 5), 21, &mut id);
    id
}

/// Writes the events of a stream one after the other.
struct Teller<'a> {
    frame: &'a Frame<'a>,
    events: Vec<(Vec<u8>, u32)>,
    /// Tokens produced so far.
    produced: u32,
    /// The number of the open block.
    block: u32,
}

impl Teller<'_> {
    fn tell(&mut self, said: &Speech) {
        let usage = usage(self.frame, said.tokens().min(1), 0);
        let start = opening(self.frame, "");
        let message =
            format!(r#"{start}"stop_reason":null,"stop_sequence":null,"stop_details":null,"usage":{usage}}}"#);
        self.event("message_start", &format!(r#""message":{message}"#));
        self.tell_thought(said);
        if !said.text.is_empty() {
            self.open(r#"{"type":"text","text":""}"#);
            for piece in &said.text {
                self.delta("text_delta", "text", piece, 1);
            }
            self.close();
        }
        for (position, call) in said.calls.iter().enumerate() {
            self.tell_call(&call_id(said, self.frame, position), call);
        }
        if self.block == 0 {
            self.event("ping", "");
        }
        self.produced = said.tokens();
        let (ending, usage) = (ending(said), self::usage(self.frame, said.tokens(), said.thought_tokens()));
        self.event("message_delta", &format!(r#""delta":{{{ending}}},"usage":{usage}"#));
        self.event("message_stop", "");
    }

    fn tell_thought(&mut self, said: &Speech) {
        let Some((block, text, mark)) = thought(said, self.frame) else { return };
        match block {
            Thought::Redacted => {
                self.open(&format!(r#"{{"type":"redacted_thinking","data":{mark}}}"#));
                self.produced += said.thought.len() as u32;
            }
            Thought::Shown => {
                self.open(r#"{"type":"thinking","thinking":"","signature":""}"#);
                if text.is_empty() {
                    self.produced += said.thought.len() as u32;
                } else {
                    for piece in &said.thought {
                        self.delta("thinking_delta", "thinking", piece, 1);
                    }
                }
                self.event(
                    "content_block_delta",
                    &self.at(&format!(r#""delta":{{"type":"signature_delta","signature":{mark}}}"#)),
                );
            }
        }
        self.close();
    }

    fn tell_call(&mut self, id: &str, call: &SpokenCall) {
        self.open(&format!(r#"{{"type":"tool_use","id":"{id}","name":{},"input":{{}}}}"#, quote(&call.name)));
        self.delta("input_json_delta", "partial_json", "", 1);
        for piece in &call.input {
            self.delta("input_json_delta", "partial_json", piece, 1);
        }
        self.close();
    }

    fn open(&mut self, block: &str) {
        self.event("content_block_start", &self.at(&format!(r#""content_block":{block}"#)));
        if self.block == 0 {
            self.event("ping", "");
        }
    }

    fn close(&mut self) {
        self.event("content_block_stop", &format!(r#""index":{}"#, self.block));
        self.block += 1;
    }

    fn delta(&mut self, kind: &str, member: &str, piece: &str, tokens: u32) {
        self.produced += tokens;
        let piece = quote(piece);
        self.event("content_block_delta", &self.at(&format!(r#""delta":{{"type":"{kind}","{member}":{piece}}}"#)));
    }

    fn at(&self, members: &str) -> String {
        format!(r#""index":{},{members}"#, self.block)
    }

    /// One event whose name is its type.
    fn event(&mut self, name: &str, members: &str) {
        let comma = if members.is_empty() { "" } else { "," };
        let event = format!("event: {name}\ndata: {{\"type\":\"{name}\"{comma}{members}}}\n\n");
        self.events.push((event.into_bytes(), self.produced));
    }
}
