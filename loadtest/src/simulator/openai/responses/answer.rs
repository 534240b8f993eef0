//! A response: its items, its usage, and the object around them, whole or at any moment of a stream.

use super::items::{PLAIN_CALL, THOUGHT_CALL, encrypted};
use crate::simulator::plan::{Ending, Speech, SpokenCall};
use crate::simulator::text::{alphanumeric, mix, quote};
use serde_json::Value;

/// What a response needs besides what is said.
pub(super) struct Frame<'a> {
    /// The request as it was checked.
    pub(super) request: &'a Value,
    pub(super) model: &'a str,
    pub(super) seed: u64,
    pub(super) prompt_tokens: u32,
    pub(super) cached: u32,
    pub(super) written: u32,
    /// Whether reasoning is told in a summary.
    pub(super) summarizes: bool,
    /// Whether reasoning is handed out encrypted.
    pub(super) encrypts: bool,
}

/// Where a response or an item stands.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Stage {
    Begun,
    Done,
}

/// One item of the output.
pub(super) enum Item<'a> {
    Reasoning,
    Message,
    Call(usize, &'a SpokenCall),
}

/// The items of the output in their order.
pub(super) fn items<'a>(said: &'a Speech) -> Vec<Item<'a>> {
    let mut items = Vec::new();
    if !said.thought.is_empty() {
        items.push(Item::Reasoning);
    }
    if !said.text.is_empty() {
        items.push(Item::Message);
    }
    items.extend(said.calls.iter().enumerate().map(|(position, call)| Item::Call(position, call)));
    items
}

impl Frame<'_> {
    /// An id of this response's own.
    fn id(&self, start: &str, salt: u64) -> String {
        let mut id = String::from(start);
        alphanumeric(mix(self.seed, salt), 40, &mut id);
        id
    }

    pub(super) fn response_id(&self) -> String {
        self.id("resp_", 1)
    }

    pub(super) fn item_id(&self, item: &Item<'_>, said: &Speech) -> String {
        match item {
            Item::Reasoning => self.id("rs_", 2),
            Item::Message => self.id("msg_", 3),
            Item::Call(position, call) if call.custom => self.id("ctc_", 5 + *position as u64),
            Item::Call(position, _) => {
                let start = if said.thought.is_empty() { PLAIN_CALL } else { THOUGHT_CALL };
                self.id(&format!("{start}{}", position % 10), 2)
            }
        }
    }

    pub(super) fn call_id(&self, position: usize) -> String {
        let mut id = String::from("call_");
        alphanumeric(mix(self.seed, position as u64 + 50), 24, &mut id);
        id
    }

    /// One item as it begins, or whole.
    pub(super) fn item(&self, item: &Item<'_>, said: &Speech, stage: Stage) -> String {
        let id = self.item_id(item, said);
        let begun = stage == Stage::Begun;
        let cut = said.ending == Ending::Limit && said.calls.is_empty();
        let status = match stage {
            Stage::Begun => "in_progress",
            Stage::Done if cut => "incomplete",
            Stage::Done => "completed",
        };
        match item {
            Item::Reasoning => {
                let summary = match self.summarizes && !begun {
                    true => format!(r#"{{"type":"summary_text","text":{}}}"#, quote(&said.thought.concat())),
                    false => String::new(),
                };
                let crypt = match self.encrypts {
                    true => format!(r#","encrypted_content":{}"#, quote(&encrypted(&said.thought.concat()))),
                    false => String::new(),
                };
                format!(r#"{{"id":"{id}","type":"reasoning","summary":[{summary}]{crypt}}}"#)
            }
            Item::Message => {
                let part = if begun { String::new() } else { text_part(&said.text.concat()) };
                format!(r#"{{"id":"{id}","type":"message","status":"{status}","content":[{part}],"role":"assistant"}}"#)
            }
            Item::Call(position, call) => {
                let (kind, member) = call_words(call);
                let input = if begun { String::new() } else { call.input.concat() };
                let (call_id, name, input) = (self.call_id(*position), quote(&call.name), quote(&input));
                format!(
                    r#"{{"id":"{id}","type":"{kind}","status":"{status}","{member}":{input},"call_id":"{call_id}","name":{name}}}"#
                )
            }
        }
    }

    /// The whole object, before or after its work.
    pub(super) fn response(&self, said: &Speech, stage: Stage) -> String {
        let request = self.request;
        let echo = |name: &str, default: &str| request.get(name).map_or(default.to_owned(), Value::to_string);
        let (status, details) = match (&said.ending, stage) {
            (_, Stage::Begun) => ("in_progress", "null"),
            (Ending::Limit, _) => ("incomplete", r#"{"reason":"max_output_tokens"}"#),
            (Ending::Blocked, _) => ("incomplete", r#"{"reason":"content_filter"}"#),
            _ => ("completed", "null"),
        };
        let created = 1_764_000_000 + self.seed % 8_640_000;
        let (output, usage, completed) = match stage {
            Stage::Begun => (String::new(), "null".to_owned(), "null".to_owned()),
            Stage::Done => {
                let all: Vec<_> = items(said).iter().map(|item| self.item(item, said, stage)).collect();
                (all.join(","), self.usage(said), (created + 1).to_string())
            }
        };
        let format = request["text"].get("format").map_or(r#"{"type":"text"}"#.to_owned(), Value::to_string);
        let verbosity = request["text"].get("verbosity").map_or("\"medium\"".to_owned(), Value::to_string);
        let reasoning = &request["reasoning"];
        let (effort, summary) = (&reasoning["effort"], &reasoning["summary"]);
        [
            format!(
                r#"{{"id":"{}","object":"response","created_at":{created},"status":"{status}""#,
                self.response_id()
            ),
            format!(r#""background":false,"completed_at":{completed},"error":null,"incomplete_details":{details}"#),
            format!(r#""instructions":{}"#, echo("instructions", "null")),
            format!(r#""max_output_tokens":{}"#, echo("max_output_tokens", "null")),
            format!(r#""max_tool_calls":{}"#, echo("max_tool_calls", "null")),
            format!(r#""model":{},"output":[{output}]"#, quote(self.model)),
            format!(r#""parallel_tool_calls":{}"#, echo("parallel_tool_calls", "true")),
            format!(r#""previous_response_id":{}"#, echo("previous_response_id", "null")),
            format!(r#""prompt_cache_key":{}"#, echo("prompt_cache_key", "null")),
            format!(r#""reasoning":{{"effort":{effort},"summary":{summary}}}"#),
            format!(r#""safety_identifier":{}"#, echo("safety_identifier", "null")),
            format!(r#""service_tier":"default","store":{}"#, echo("store", "true")),
            format!(r#""temperature":{}"#, echo("temperature", "1.0")),
            format!(r#""text":{{"format":{format},"verbosity":{verbosity}}}"#),
            format!(r#""tool_choice":{},"tools":{}"#, echo("tool_choice", "\"auto\""), echo("tools", "[]")),
            format!(r#""top_logprobs":{},"top_p":{}"#, echo("top_logprobs", "0"), echo("top_p", "1.0")),
            format!(r#""truncation":{}"#, echo("truncation", "\"disabled\"")),
            format!(r#""usage":{usage},"user":{}"#, echo("user", "null")),
            format!(r#""metadata":{}}}"#, echo("metadata", "{}")),
        ]
        .join(",")
    }

    fn usage(&self, said: &Speech) -> String {
        let output = said.tokens();
        format!(
            concat!(
                r#"{{"input_tokens":{},"input_tokens_details":{{"cached_tokens":{},"cache_write_tokens":{}}},"#,
                r#""output_tokens":{},"output_tokens_details":{{"reasoning_tokens":{}}},"total_tokens":{}}}"#
            ),
            self.prompt_tokens,
            self.cached,
            self.written,
            output,
            said.thought_tokens(),
            self.prompt_tokens + output
        )
    }
}

/// The type of a call's item and the member that holds its input.
pub(super) fn call_words(call: &SpokenCall) -> (&'static str, &'static str) {
    if call.custom { ("custom_tool_call", "input") } else { ("function_call", "arguments") }
}

/// A part of text.
pub(super) fn text_part(text: &str) -> String {
    format!(r#"{{"type":"output_text","annotations":[],"logprobs":[],"text":{}}}"#, quote(text))
}
