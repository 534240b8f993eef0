//! A response as its exact sequence of named and numbered events.

use super::answer::{Frame, Item, Stage, call_words, items, text_part};
use crate::simulator::plan::{Ending, Speech, SpokenCall};
use crate::simulator::text::{alphanumeric, mix, quote};

/// The events, each with the tokens produced once it has left.
pub(super) fn events(said: &Speech, frame: &Frame<'_>, obfuscates: bool) -> Vec<(Vec<u8>, u32)> {
    let mut teller = Teller { frame, said, obfuscates, events: Vec::new(), produced: 0 };
    let begun = format!(r#""response":{}"#, frame.response(said, Stage::Begun));
    teller.event("response.created", &begun);
    teller.event("response.in_progress", &begun);
    for (index, item) in items(said).iter().enumerate() {
        teller.tell(index, item);
    }
    teller.produced = said.tokens();
    let last = match said.ending {
        Ending::Limit | Ending::Blocked => "response.incomplete",
        _ => "response.completed",
    };
    teller.event(last, &format!(r#""response":{}"#, frame.response(said, Stage::Done)));
    teller.events
}

/// The event that breaks a stream after so many others.
pub(super) fn broken(sent: u32) -> Vec<u8> {
    let message = "The server had an error while processing your request. Sorry about that!";
    format!(
        "event: error\ndata: {{\"type\":\"error\",\"sequence_number\":{sent},\"code\":\"server_error\",\"message\":\"{message}\",\"param\":null}}\n\n"
    )
    .into_bytes()
}

struct Teller<'a> {
    frame: &'a Frame<'a>,
    said: &'a Speech,
    obfuscates: bool,
    events: Vec<(Vec<u8>, u32)>,
    produced: u32,
}

impl Teller<'_> {
    fn tell(&mut self, index: usize, item: &Item<'_>) {
        let at = format!(r#""output_index":{index}"#);
        let begun = self.frame.item(item, self.said, Stage::Begun);
        self.event("response.output_item.added", &format!(r#"{at},"item":{begun}"#));
        let at = format!(r#""item_id":"{}",{at}"#, self.frame.item_id(item, self.said));
        match item {
            Item::Reasoning => self.tell_reasoning(&at),
            Item::Message => self.tell_text(&at),
            Item::Call(_, call) => self.tell_call(&at, call),
        }
        let done = self.frame.item(item, self.said, Stage::Done);
        self.event("response.output_item.done", &format!(r#""output_index":{index},"item":{done}"#));
    }

    fn tell_reasoning(&mut self, at: &str) {
        if !self.frame.summarizes {
            self.produced += self.said.thought.len() as u32;
            return;
        }
        let at = format!(r#"{at},"summary_index":0"#);
        let part = |text: &str| format!(r#"{at},"part":{{"type":"summary_text","text":{}}}"#, quote(text));
        self.event("response.reasoning_summary_part.added", &part(""));
        for piece in &self.said.thought {
            self.delta("response.reasoning_summary_text.delta", &at, piece, "");
        }
        let whole = self.said.thought.concat();
        self.event("response.reasoning_summary_text.done", &format!(r#"{at},"text":{}"#, quote(&whole)));
        self.event("response.reasoning_summary_part.done", &part(&whole));
    }

    fn tell_text(&mut self, at: &str) {
        let at = format!(r#"{at},"content_index":0"#);
        let part = |text: &str| format!(r#"{at},"part":{}"#, text_part(text));
        self.event("response.content_part.added", &part(""));
        for piece in &self.said.text {
            self.delta("response.output_text.delta", &at, piece, r#","logprobs":[]"#);
        }
        let whole = self.said.text.concat();
        let done = format!(r#"{at},"text":{},"logprobs":[]"#, quote(&whole));
        self.event("response.output_text.done", &done);
        self.event("response.content_part.done", &part(&whole));
    }

    fn tell_call(&mut self, at: &str, call: &SpokenCall) {
        let (kind, member) = call_words(call);
        let start = match kind {
            "function_call" => "response.function_call_arguments",
            _ => "response.custom_tool_call_input",
        };
        self.produced += 1;
        for piece in &call.input {
            self.delta(&format!("{start}.delta"), at, piece, "");
        }
        let whole = quote(&call.input.concat());
        self.event(&format!("{start}.done"), &format!(r#"{at},"{member}":{whole}"#));
    }

    /// One piece, padded so that its length tells nothing.
    fn delta(&mut self, name: &str, at: &str, piece: &str, more: &str) {
        self.produced += 1;
        let mut members = format!(r#"{at},"delta":{}{more}"#, quote(piece));
        if self.obfuscates {
            let mut pad = String::new();
            let seed = mix(self.frame.seed, self.events.len() as u64);
            alphanumeric(seed, 1 + (seed % 15) as usize, &mut pad);
            members.push_str(&format!(r#","obfuscation":"{pad}""#));
        }
        self.event(name, &members);
    }

    fn event(&mut self, name: &str, members: &str) {
        let number = self.events.len();
        let event = format!("event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":{number},{members}}}\n\n");
        self.events.push((event.into_bytes(), self.produced));
    }
}
