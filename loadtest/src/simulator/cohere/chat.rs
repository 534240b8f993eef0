//! Cohere's chat: a conversation checked, and its answer whole or as named events.

use super::refusal::{self, invalid};
use crate::simulator::plan::{Choice, Ending, Format, Question, Speech, SpokenCall, Tool};
use crate::simulator::surface::{Denial, Told};
use crate::simulator::text::{alphanumeric, digest_value, mix, quote};
use serde_json::Value;

/// What the answer depends on.
pub(super) struct Conversation {
    pub(super) digest: u64,
    pub(super) text_bytes: usize,
    pub(super) last_user: String,
    pub(super) after_tool: bool,
}

/// Checks the messages of a request that fits the tables.
///
/// # Errors
/// The 400 that Cohere would send.
pub(super) fn check(body: &Value) -> Result<Conversation, Denial> {
    let no_messages = Vec::new();
    let messages = body["messages"].as_array().unwrap_or(&no_messages);
    if messages.is_empty() {
        return Err(invalid("messages must be at least 1 long."));
    }
    let mut sum = Conversation {
        digest: mix(digest_value(&body["documents"]), digest_value(&body["seed"])),
        text_bytes: 0,
        last_user: String::new(),
        after_tool: false,
    };
    let mut open: Vec<&str> = Vec::new();
    for (position, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if role == "tool" {
            let id = message["tool_call_id"].as_str().unwrap_or_default();
            let called = open.iter().position(|call| *call == id);
            let called = called.ok_or_else(|| {
                invalid(&format!("messages[{position}].tool_call_id '{id}' does not match any tool call of the last assistant message"))
            })?;
            open.remove(called);
        } else {
            all_answered(&open)?;
        }
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        open.extend(calls.clone().filter_map(|call| call["id"].as_str()));
        let text = text_of(&message["content"]);
        if role == "assistant" && text.is_empty() && open.is_empty() {
            return Err(invalid(&format!("messages[{position}] of role assistant must have content or tool_calls")));
        }
        sum.digest = mix(sum.digest, digest_value(message));
        sum.text_bytes += text.len() + message["tool_plan"].as_str().map_or(0, str::len);
        sum.text_bytes += calls.filter_map(|call| call["function"]["arguments"].as_str()).map(str::len).sum::<usize>();
        sum.after_tool = role == "tool";
        if role == "user" {
            sum.last_user = text;
        }
    }
    all_answered(&open)?;
    match messages.last().map(|message| &message["role"]) {
        Some(role) if role == "assistant" || role == "system" => {
            Err(invalid("the last message must be of role user or tool"))
        }
        _ => Ok(sum),
    }
}

fn all_answered(open: &[&str]) -> Result<(), Denial> {
    match open {
        [] => Ok(()),
        open => {
            Err(invalid(&format!("all tool calls must be answered by tool messages, missing: {}", open.join(", "))))
        }
    }
}

fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .map(|part| match part["text"].as_str().or(part["thinking"].as_str()) {
                Some(text) => text.to_owned(),
                None => part.get("document").map_or(String::new(), Value::to_string),
            })
            .collect(),
        _ => String::new(),
    }
}

/// What a request asks of the model.
///
/// # Errors
/// The 400 that Cohere would send.
pub(super) fn question<'a>(body: &'a Value, conversation: &'a Conversation) -> Result<Question<'a>, Denial> {
    let offered = body["tools"].as_array().map_or(&[][..], Vec::as_slice);
    let tools: Vec<_> = offered
        .iter()
        .map(|tool| Tool {
            name: tool["function"]["name"].as_str().unwrap_or_default(),
            schema: &tool["function"]["parameters"],
            custom: false,
        })
        .collect();
    if body.get("tool_choice").is_some() && tools.is_empty() {
        return Err(invalid("tool_choice requires tools to be specified"));
    }
    let format = &body["response_format"];
    if format["type"] == "json_object" && !(tools.is_empty() && body.get("documents").is_none()) {
        return Err(invalid("response_format of type json_object is not supported with tools or documents"));
    }
    let schema = format.get("json_schema").or(format.get("schema"));
    let stops: Vec<_> = body["stop_sequences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if stops.len() > 5 {
        return Err(invalid("stop_sequences must have at most 5 items"));
    }
    let model = body["model"].as_str().unwrap_or_default();
    let thinking = &body["thinking"];
    let able = model.contains("reasoning") || model.contains("-plus-05-2026");
    if thinking["type"] == "enabled" && !able {
        return Err(invalid(&format!("thinking is not supported by model '{model}'")));
    }
    Ok(Question {
        seed: conversation.digest,
        last_user: &conversation.last_user,
        after_tool: conversation.after_tool,
        tools,
        choice: match body["tool_choice"].as_str() {
            Some("REQUIRED") => Choice::Any,
            Some(_) => Choice::Never,
            None => Choice::Auto,
        },
        parallel: true,
        format: match (format["type"] == "json_object", schema) {
            (true, Some(schema)) => Format::Schema(schema),
            (true, None) => Format::Json,
            _ => Format::Words,
        },
        tokens_max: body["max_tokens"].as_u64().map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
        stops,
        thinks: able && thinking["type"] != "disabled",
    })
}

/// Writes what is said, in the one form that was asked for.
pub(super) fn told(said: &Speech, seed: u64, prompt_tokens: u32, cached: u32, stream: bool) -> Told {
    let usage = usage(said, prompt_tokens, cached);
    let finish = finish(said);
    if !stream {
        let message = message(said, seed);
        let text = format!(
            r#"{{"id":"{}","finish_reason":"{finish}","message":{{"role":"assistant",{message}}},"usage":{usage}}}"#,
            uuid(seed)
        );
        return Told::json(text, said.tokens());
    }
    let mut teller = Teller { events: Vec::new(), produced: 0 };
    teller.event("message-start", &format!(
        r#","id":"{}","delta":{{"message":{{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}}"#,
        uuid(seed)
    ));
    teller.tell(said, seed);
    teller.produced = said.tokens();
    teller.event("message-end", &format!(r#","delta":{{"finish_reason":"{finish}","usage":{usage}}}"#));
    Told {
        kind: "text/event-stream",
        events: teller.events.into(),
        completion_tokens: said.tokens(),
        broken: Some(|_| refusal::event()),
        ..Told::default()
    }
}

fn finish(said: &Speech) -> &'static str {
    match said.ending {
        Ending::Limit => "MAX_TOKENS",
        Ending::Stop(_) => "STOP_SEQUENCE",
        Ending::Blocked => "ERROR",
        Ending::Done if said.calls.is_empty() => "COMPLETE",
        Ending::Done => "TOOL_CALL",
    }
}

fn message(said: &Speech, seed: u64) -> String {
    let mut content = Vec::new();
    if !said.thought.is_empty() {
        content.push(format!(r#"{{"type":"thinking","thinking":{}}}"#, quote(&said.thought.concat())));
    }
    if !said.calls.is_empty() {
        let call = |(position, call): (usize, &SpokenCall)| {
            let (id, name, input) = (call_id(call, seed, position), quote(&call.name), quote(&call.input.concat()));
            format!(r#"{{"id":{id},"type":"function","function":{{"name":{name},"arguments":{input}}}}}"#)
        };
        let calls: Vec<_> = said.calls.iter().enumerate().map(call).collect();
        let plan = match said.text.is_empty() {
            true => String::new(),
            false => format!(r#""tool_plan":{},"#, quote(&said.text.concat())),
        };
        let content = match content.is_empty() {
            true => String::new(),
            false => format!(r#","content":[{}]"#, content.join(",")),
        };
        return format!(r#"{plan}"tool_calls":[{}]{content}"#, calls.join(","));
    }
    content.push(format!(r#"{{"type":"text","text":{}}}"#, quote(&said.text.concat())));
    format!(r#""content":[{}]"#, content.join(","))
}

fn usage(said: &Speech, prompt: u32, cached: u32) -> String {
    let output = said.tokens();
    format!(
        r#"{{"billed_units":{{"input_tokens":{prompt},"output_tokens":{output}}},"tokens":{{"input_tokens":{prompt},"output_tokens":{output}}},"cached_tokens":{cached}}}"#
    )
}

fn call_id(call: &SpokenCall, seed: u64, position: usize) -> String {
    let mut id = format!("{}_", call.name);
    alphanumeric(mix(seed, position as u64 + 5), 12, &mut id);
    quote(&id.to_lowercase())
}

/// An id in the form of a UUID.
pub(super) fn uuid(seed: u64) -> String {
    let (first, second) = (mix(seed, 1), mix(seed, 2));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        first >> 32,
        first >> 16 & 0xffff,
        first & 0xfff,
        second >> 52,
        second & 0xffff_ffff_ffff
    )
}

struct Teller {
    events: Vec<(Vec<u8>, u32)>,
    produced: u32,
}

impl Teller {
    fn tell(&mut self, said: &Speech, seed: u64) {
        let mut index = 0;
        if !said.thought.is_empty() {
            self.tell_content(index, "thinking", &said.thought);
            index += 1;
        }
        if said.calls.is_empty() {
            self.tell_content(index, "text", &said.text);
        } else {
            for piece in &said.text {
                self.produced += 1;
                self.event("tool-plan-delta", &format!(r#","delta":{{"message":{{"tool_plan":{}}}}}"#, quote(piece)));
            }
        }
        for (index, call) in said.calls.iter().enumerate() {
            self.tell_call(index, &call_id(call, seed, index), call);
        }
    }

    fn tell_content(&mut self, index: usize, kind: &str, pieces: &[String]) {
        self.event(
            "content-start",
            &format!(r#","index":{index},"delta":{{"message":{{"content":{{"type":"{kind}","{kind}":""}}}}}}"#),
        );
        for piece in pieces {
            self.produced += 1;
            let delta =
                format!(r#","index":{index},"delta":{{"message":{{"content":{{"{kind}":{}}}}}}}"#, quote(piece));
            self.event("content-delta", &delta);
        }
        self.event("content-end", &format!(r#","index":{index}"#));
    }

    fn tell_call(&mut self, index: usize, id: &str, call: &SpokenCall) {
        self.produced += 1;
        let name = quote(&call.name);
        self.event("tool-call-start", &format!(
            r#","index":{index},"delta":{{"message":{{"tool_calls":{{"id":{id},"type":"function","function":{{"name":{name},"arguments":""}}}}}}}}"#
        ));
        for piece in &call.input {
            self.produced += 1;
            let piece = quote(piece);
            self.event(
                "tool-call-delta",
                &format!(
                    r#","index":{index},"delta":{{"message":{{"tool_calls":{{"function":{{"arguments":{piece}}}}}}}}}"#
                ),
            );
        }
        self.event("tool-call-end", &format!(r#","index":{index}"#));
    }

    fn event(&mut self, name: &str, members: &str) {
        let event = format!("event: {name}\ndata: {{\"type\":\"{name}\"{members}}}\n\n");
        self.events.push((event.into_bytes(), self.produced));
    }
}
