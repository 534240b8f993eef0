//! The answer to a checked request, as a pure function of it: the same bytes today, tomorrow and on another machine.
//!
//! A stream is not built ahead: event `i` is written when its turn comes, so that ten thousand open streams cost little.

use super::chat::{ChatRequest, Reply};
use crate::simulator::plan::pieces;
use crate::simulator::text::{alphanumeric, decimal, hexadecimal, mix, word};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write as _;

/// An answer, ready to be written whole or event by event.
pub struct Answer<'a> {
    request: Cow<'a, ChatRequest>,
    content: Content,
    /// `"id":…` up to the value of `choices`, differing between unary answers and chunks in the object's name only.
    id: String,
    created: u64,
    /// As a JSON string.
    model: Vec<u8>,
    fingerprint: Vec<u8>,
    include_usage: bool,
    /// Says what a content filter thinks of prompt and answer, as Azure does.
    filtered: bool,
}

/// What every choice of an answer says.
enum Content {
    /// So many words, other ones in each choice; `cut` if the request's limit ended them.
    Words { count: u32, cut: bool },
    /// One text in pieces.
    Pieces(Vec<String>),
    /// Tool calls.
    Calls(Vec<Call>),
}

struct Call {
    id: String,
    name: String,
    pieces: Vec<String>,
    custom: bool,
}

impl<'a> Answer<'a> {
    /// The answer to `request` by a server that says `tokens` words unless asked otherwise.
    pub fn new(request: &'a ChatRequest, tokens: u32) -> Self {
        Self::of(Cow::Borrowed(request), tokens)
    }

    /// The same, keeping the request.
    pub fn owned(request: ChatRequest, tokens: u32) -> Answer<'static> {
        Answer::of(Cow::Owned(request), tokens)
    }

    fn of(request: Cow<'a, ChatRequest>, tokens: u32) -> Self {
        let mut id = String::from("chatcmpl-");
        alphanumeric(request.seed, 29, &mut id);
        let mut fingerprint = b"fp_".to_vec();
        hexadecimal(mix(request.seed, 3) & 0xff_ffff_ffff, 10, &mut fingerprint);
        let mut model = Vec::with_capacity(request.model.len() + 2);
        // A text always has a JSON form, and a vector takes it.
        let _ = serde_json::to_writer(&mut model, &request.model);
        Self {
            content: Content::new(&request, tokens),
            id,
            created: 1_764_000_000 + request.seed % 8_640_000,
            model,
            fingerprint,
            include_usage: request.include_usage,
            filtered: false,
            request,
        }
    }

    /// The same answer as if `stream_options.include_usage` had been asked for, or not.
    #[must_use]
    pub fn with_usage(mut self, include: bool) -> Self {
        self.include_usage = include;
        self
    }

    /// The same answer with the remarks of a content filter, or without.
    #[must_use]
    pub fn filtered(mut self, filtered: bool) -> Self {
        self.filtered = filtered;
        self
    }

    /// Completion tokens of the whole answer.
    pub fn completion_tokens(&self) -> u32 {
        (self.content.tokens() * self.request.choices).saturating_add(self.request.directives.reasoning)
    }

    /// Completion tokens produced by the time so many events have left.
    pub fn tokens_after(&self, events: u32) -> u32 {
        let events = events.saturating_sub(self.filtered.into());
        let produced = events.saturating_sub(self.request.choices).min(self.content.steps() * self.request.choices);
        if produced == self.content.steps() * self.request.choices { self.completion_tokens() } else { produced }
    }

    /// Appends the body of a unary answer.
    pub fn unary(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"id":""#);
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(br#"","object":"chat.completion","created":"#);
        decimal(self.created, out);
        out.extend_from_slice(br#","model":"#);
        out.extend_from_slice(&self.model);
        out.extend_from_slice(br#","choices":["#);
        for choice in 0..self.request.choices {
            out.extend_from_slice(if choice == 0 { br#"{"index":"# } else { br#",{"index":"# });
            decimal(choice.into(), out);
            out.extend_from_slice(br#","message":{"role":"assistant","content":"#);
            self.content.message(self.choice_seed(choice), out);
            out.extend_from_slice(br#","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":""#);
            out.extend_from_slice(self.content.finish_reason().as_bytes());
            out.push(b'"');
            if self.filtered {
                let _ = write!(out, r#","content_filter_results":{SAFE}"#);
            }
            out.push(b'}');
        }
        out.push(b']');
        if self.filtered {
            let _ = write!(out, r#","prompt_filter_results":[{{"prompt_index":0,"content_filter_results":{SAFE}}}]"#);
        }
        out.extend_from_slice(br#","usage":"#);
        self.usage(out);
        out.extend_from_slice(br#","service_tier":"default","system_fingerprint":""#);
        out.extend_from_slice(&self.fingerprint);
        out.extend_from_slice(b"\"}\n");
    }

    /// Events of the stream, `[DONE]` included.
    pub fn events(&self) -> u32 {
        let choices = self.request.choices;
        choices * (self.content.steps() + 2) + u32::from(self.include_usage) + u32::from(self.filtered) + 1
    }

    /// Appends event number `index` of the stream, from `data:` to its empty line.
    pub fn event(&self, index: u32, out: &mut Vec<u8>) {
        let choices = self.request.choices;
        let steps = self.content.steps() * choices;
        if index + 1 >= self.events() {
            out.extend_from_slice(b"data: [DONE]\n\n");
            return;
        }
        if self.filtered && index == 0 {
            let _ = write!(
                out,
                concat!(
                    r#"data: {{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":"#,
                    r#"[{{"prompt_index":0,"content_filter_results":{}}}]}}"#,
                    "\n\n"
                ),
                SAFE
            );
            return;
        }
        let index = index - u32::from(self.filtered);
        out.extend_from_slice(br#"data: {"id":""#);
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(br#"","object":"chat.completion.chunk","created":"#);
        decimal(self.created, out);
        out.extend_from_slice(br#","model":"#);
        out.extend_from_slice(&self.model);
        out.extend_from_slice(br#","service_tier":"default","system_fingerprint":""#);
        out.extend_from_slice(&self.fingerprint);
        out.extend_from_slice(br#"","choices":["#);
        if index < choices {
            self.delta(index, r#""role":"assistant","content":"#, out);
            out.extend_from_slice(if matches!(self.content, Content::Calls(_)) { b"null" } else { b"\"\"" });
            out.extend_from_slice(br#","refusal":null},"logprobs":null,"finish_reason":null}"#);
        } else if index - choices < steps {
            let (step, choice) = ((index - choices) / choices, (index - choices) % choices);
            self.delta(choice, "", out);
            self.content.delta(self.choice_seed(choice), step, out);
            out.extend_from_slice(br#"},"logprobs":null,"finish_reason":null}"#);
        } else if index - choices - steps < choices {
            self.delta(index - choices - steps, "", out);
            let _ = write!(out, r#"}},"logprobs":null,"finish_reason":"{}"}}"#, self.content.finish_reason());
        } else {
            out.extend_from_slice(br#"],"usage":"#);
            self.usage(out);
            out.extend_from_slice(b"}\n\n");
            return;
        }
        out.extend_from_slice(if self.include_usage { b"],\"usage\":null}\n\n" } else { b"]}\n\n" });
    }

    fn delta(&self, choice: u32, opening: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"index":"#);
        decimal(choice.into(), out);
        out.extend_from_slice(br#","delta":{"#);
        out.extend_from_slice(opening.as_bytes());
    }

    fn choice_seed(&self, choice: u32) -> u64 {
        mix(self.request.seed, u64::from(choice) + 17)
    }

    fn usage(&self, out: &mut Vec<u8>) {
        let (prompt, completion) = (self.request.prompt_tokens, self.completion_tokens());
        let total = u64::from(prompt) + u64::from(completion);
        let cached = self.request.directives.cached.min(prompt);
        let reasoning = self.request.directives.reasoning;
        let figures: [(&[u8], u64); 5] = [
            (br#"{"prompt_tokens":"#, prompt.into()),
            (br#","completion_tokens":"#, completion.into()),
            (br#","total_tokens":"#, total),
            (br#","prompt_tokens_details":{"cached_tokens":"#, cached.into()),
            (
                br#","cache_write_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":"#,
                reasoning.into(),
            ),
        ];
        for (name, figure) in figures {
            out.extend_from_slice(name);
            decimal(figure, out);
        }
        out.extend_from_slice(br#","audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#);
    }
}

// === impl Content ===

impl Content {
    fn new(request: &ChatRequest, tokens: u32) -> Self {
        match &request.reply {
            Reply::Text => {
                let wanted = request.directives.tokens.unwrap_or(tokens);
                let count = request.tokens_max.map_or(wanted, |most| most.min(wanted));
                Self::Words { count, cut: count < wanted }
            }
            Reply::Json(text) => Self::Pieces(pieces(text)),
            Reply::Calls(calls) => {
                let call = |(position, (name, input, custom)): (usize, &(String, String, bool))| {
                    let mut id = String::from("call_");
                    alphanumeric(mix(request.seed, position as u64 + 5), 24, &mut id);
                    Call { id, name: name.clone(), pieces: pieces(input), custom: *custom }
                };
                Self::Calls(calls.iter().enumerate().map(call).collect())
            }
        }
    }

    /// Deltas of one choice between its role and its end.
    fn steps(&self) -> u32 {
        match self {
            Self::Words { count, .. } => *count,
            Self::Pieces(pieces) => pieces.len() as u32,
            Self::Calls(calls) => calls.iter().map(|call| 1 + call.pieces.len() as u32).sum(),
        }
    }

    /// Tokens of one choice: one to a delta.
    fn tokens(&self) -> u32 {
        self.steps()
    }

    fn finish_reason(&self) -> &'static str {
        match self {
            Self::Words { cut: true, .. } => "length",
            Self::Words { .. } | Self::Pieces(_) => "stop",
            Self::Calls(_) => "tool_calls",
        }
    }

    /// Appends the value of `message.content`, and `tool_calls` where there are any.
    fn message(&self, seed: u64, out: &mut Vec<u8>) {
        match self {
            Self::Words { count, .. } => {
                out.push(b'"');
                for position in 0..*count {
                    escape(word(seed, position), out);
                }
                out.push(b'"');
            }
            Self::Pieces(pieces) => {
                out.push(b'"');
                pieces.iter().for_each(|piece| escape(piece, out));
                out.push(b'"');
            }
            Self::Calls(calls) => {
                out.extend_from_slice(br#"null,"tool_calls":["#);
                for (position, call) in calls.iter().enumerate() {
                    if position > 0 {
                        out.push(b',');
                    }
                    let input = call.pieces.concat();
                    call.write(None, &input, out);
                }
                out.push(b']');
            }
        }
    }

    /// Appends the members of one `delta`.
    fn delta(&self, seed: u64, step: u32, out: &mut Vec<u8>) {
        match self {
            Self::Words { .. } => quoted_member("content", word(seed, step), out),
            Self::Pieces(pieces) => quoted_member("content", &pieces[step as usize], out),
            Self::Calls(calls) => {
                let mut left = step as usize;
                for (position, call) in calls.iter().enumerate() {
                    if left <= call.pieces.len() {
                        out.extend_from_slice(br#""tool_calls":["#);
                        match left {
                            0 => call.write(Some(position), "", out),
                            _ => call.write_piece(position, &call.pieces[left - 1], out),
                        }
                        out.push(b']');
                        return;
                    }
                    left -= call.pieces.len() + 1;
                }
            }
        }
    }
}

impl Call {
    fn kind(&self) -> (&'static str, &'static str) {
        if self.custom { ("custom", "input") } else { ("function", "arguments") }
    }

    /// A whole call, or the first delta of one (`index`).
    fn write(&self, index: Option<usize>, input: &str, out: &mut Vec<u8>) {
        out.push(b'{');
        if let Some(index) = index {
            let _ = write!(out, r#""index":{index},"#);
        }
        let (kind, member) = self.kind();
        let _ = write!(out, r#""id":"{}","type":"{kind}","{kind}":{{"name":"{}","#, self.id, self.name);
        quoted_member(member, input, out);
        out.extend_from_slice(b"}}");
    }

    fn write_piece(&self, index: usize, piece: &str, out: &mut Vec<u8>) {
        let (kind, member) = self.kind();
        let _ = write!(out, r#"{{"index":{index},"{kind}":{{"#);
        quoted_member(member, piece, out);
        out.extend_from_slice(b"}}");
    }
}

fn quoted_member(name: &str, text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    escape(text, out);
    out.push(b'"');
}

/// Appends text as the inside of a JSON string (RFC 8259 §7).
fn escape(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                out.extend_from_slice(b"\\u");
                hexadecimal(control.into(), 4, out);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// What a content filter says of something harmless.
const SAFE: &str = concat!(
    r#"{"hate":{"filtered":false,"severity":"safe"},"self_harm":{"filtered":false,"severity":"safe"},"#,
    r#""sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}"#
);

/// The body of `GET /models`.
pub fn models(names: &[String]) -> String {
    let mut out = String::from(r#"{"object":"list","data":["#);
    for (position, name) in names.iter().enumerate() {
        let comma = if position == 0 { "" } else { "," };
        let _ = write!(out, "{comma}{}", model(name));
    }
    out.push_str("]}");
    out
}

/// One entry of `GET /models`.
pub fn model(name: &str) -> String {
    let name = Value::from(name);
    format!(r#"{{"id":{name},"object":"model","created":1764000000,"owned_by":"system","shutdown_date":null}}"#)
}
