//! A Converse answer: whole as JSON, or as a stream of binary frames.

use super::conversation::{PLAIN_ID, PURPOSE, THOUGHT_ID};
use super::frame::{event, exception};
use crate::simulator::plan::{Ending, Speech};
use crate::simulator::seal;
use crate::simulator::surface::Told;
use crate::simulator::text::{alphanumeric, mix, quote};

/// What an answer needs besides what is said.
pub(super) struct Frame {
    pub(super) seed: u64,
    /// Prompt tokens, those of the cache included.
    pub(super) prompt_tokens: u32,
    pub(super) cached: u32,
    pub(super) written: u32,
}

/// Writes what is said, in the one form that was asked for.
pub(super) fn told(said: &Speech, frame: &Frame, stream: bool) -> Told {
    if !stream {
        return Told::json(whole(said, frame), said.tokens());
    }
    Told {
        kind: "application/vnd.amazon.eventstream",
        events: events(said, frame).into(),
        completion_tokens: said.tokens(),
        broken: Some(|_| exception("internalServerException", "The system encountered an unexpected error.")),
        ..Told::default()
    }
}

fn whole(said: &Speech, frame: &Frame) -> String {
    let mut blocks = Vec::new();
    if !said.thought.is_empty() {
        blocks.push(format!(r#"{{"reasoningContent":{}}}"#, reasoning(said)));
    }
    if !said.text.is_empty() {
        blocks.push(format!(r#"{{"text":{}}}"#, quote(&said.text.concat())));
    }
    for (position, call) in said.calls.iter().enumerate() {
        let (id, name, input) = (call_id(said, frame, position), quote(&call.name), call.input.concat());
        blocks.push(format!(r#"{{"toolUse":{{"input":{input},"name":{name},"toolUseId":"{id}"}}}}"#));
    }
    format!(
        r#"{{"metrics":{{"latencyMs":{}}},"output":{{"message":{{"content":[{}],"role":"assistant"}}}},"stopReason":"{}","usage":{}}}"#,
        latency(said),
        blocks.join(","),
        stop_reason(said),
        usage(said, frame)
    )
}

fn reasoning(said: &Speech) -> String {
    let text = said.thought.concat();
    if said.secret {
        return format!(r#"{{"redactedContent":"{}"}}"#, seal::wrap(PURPOSE, &text));
    }
    format!(r#"{{"reasoningText":{{"signature":"{}","text":{}}}}}"#, seal::seal(PURPOSE, &text), quote(&text))
}

fn stop_reason(said: &Speech) -> &'static str {
    match said.ending {
        Ending::Limit => "max_tokens",
        Ending::Stop(_) => "stop_sequence",
        Ending::Blocked => "content_filtered",
        Ending::Done if said.calls.is_empty() => "end_turn",
        Ending::Done => "tool_use",
    }
}

/// A made-up duration, so that the answer stays a function of the request.
fn latency(said: &Speech) -> u32 {
    100 + 10 * said.tokens()
}

fn usage(said: &Speech, frame: &Frame) -> String {
    let output = said.tokens();
    format!(
        r#"{{"cacheReadInputTokens":{},"cacheWriteInputTokens":{},"inputTokens":{},"outputTokens":{output},"totalTokens":{}}}"#,
        frame.cached,
        frame.written,
        frame.prompt_tokens - frame.cached - frame.written,
        frame.prompt_tokens + output
    )
}

fn call_id(said: &Speech, frame: &Frame, position: usize) -> String {
    let mut id = String::from(if said.thought.is_empty() { PLAIN_ID } else { THOUGHT_ID });
    alphanumeric(mix(frame.seed, position as u64 + 5), 21, &mut id);
    id
}

/// The exception of this type that breaks a stream.
pub(in crate::simulator) fn breakdown(kind: &str) -> Vec<u8> {
    exception(kind, "The system encountered an unexpected error.")
}

/// The frames of a stream, each with the tokens produced once it has left.
fn events(said: &Speech, frame: &Frame) -> Vec<(Vec<u8>, u32)> {
    let mut teller = Teller { seed: frame.seed, events: Vec::new(), produced: 0, block: 0 };
    teller.event("messageStart", r#""role":"assistant""#);
    if !said.thought.is_empty() {
        if said.secret {
            let hidden = seal::wrap(PURPOSE, &said.thought.concat());
            teller.produced += said.thought.len() as u32;
            teller.delta(&format!(r#"{{"reasoningContent":{{"redactedContent":"{hidden}"}}}}"#), 0);
        } else {
            for piece in &said.thought {
                teller.delta(&format!(r#"{{"reasoningContent":{{"text":{}}}}}"#, quote(piece)), 1);
            }
            let mark = seal::seal(PURPOSE, &said.thought.concat());
            teller.delta(&format!(r#"{{"reasoningContent":{{"signature":"{mark}"}}}}"#), 0);
        }
        teller.close();
    }
    if !said.text.is_empty() {
        for piece in &said.text {
            teller.delta(&format!(r#"{{"text":{}}}"#, quote(piece)), 1);
        }
        teller.close();
    }
    for (position, call) in said.calls.iter().enumerate() {
        let (id, name) = (call_id(said, frame, position), quote(&call.name));
        let start = format!(
            r#""contentBlockIndex":{},"start":{{"toolUse":{{"name":{name},"toolUseId":"{id}"}}}}"#,
            teller.block
        );
        teller.produced += 1;
        teller.event("contentBlockStart", &start);
        for piece in &call.input {
            teller.delta(&format!(r#"{{"toolUse":{{"input":{}}}}}"#, quote(piece)), 1);
        }
        teller.close();
    }
    teller.produced = said.tokens();
    teller.event("messageStop", &format!(r#""stopReason":"{}""#, stop_reason(said)));
    teller.event("metadata", &format!(r#""metrics":{{"latencyMs":{}}},"usage":{}"#, latency(said), usage(said, frame)));
    teller.events
}

struct Teller {
    seed: u64,
    events: Vec<(Vec<u8>, u32)>,
    produced: u32,
    block: u32,
}

impl Teller {
    fn delta(&mut self, delta: &str, tokens: u32) {
        self.produced += tokens;
        let members = format!(r#""contentBlockIndex":{},"delta":{delta}"#, self.block);
        self.event("contentBlockDelta", &members);
    }

    fn close(&mut self) {
        self.event("contentBlockStop", &format!(r#""contentBlockIndex":{}"#, self.block));
        self.block += 1;
    }

    /// One frame, padded by a member `p` as the real ones are.
    fn event(&mut self, kind: &str, members: &str) {
        let mut pad = String::new();
        let seed = mix(self.seed, self.events.len() as u64);
        alphanumeric(seed, 1 + (seed % 30) as usize, &mut pad);
        self.events.push((event(kind, &format!(r#"{{{members},"p":"{pad}"}}"#)), self.produced));
    }
}
