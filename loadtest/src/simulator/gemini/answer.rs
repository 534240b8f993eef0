//! A Gemini answer: whole, as server-sent events, or as one JSON list that grows.

use super::conversation::{CALL_PURPOSE, TEXT_PURPOSE, call_text};
use super::refusal;
use crate::simulator::plan::{Ending, Speech, SpokenCall};
use crate::simulator::seal;
use crate::simulator::surface::Told;
use crate::simulator::text::{alphanumeric, mix, quote};
use serde_json::Value;

/// What an answer needs besides what is said.
pub(super) struct Frame<'a> {
    pub(super) model: &'a str,
    pub(super) seed: u64,
    pub(super) prompt_tokens: u32,
    pub(super) cached: u32,
    /// Whether thoughts are shown.
    pub(super) shows_thoughts: bool,
    /// Whether calls are signed and have ids.
    pub(super) signs: bool,
    /// Whether the prompt is refused as a whole.
    pub(super) blocked: bool,
}

/// How the answer is to travel.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
    Whole,
    /// `alt=sse`.
    Events,
    /// A stream without it.
    List,
}

/// Writes what each candidate says, in the one form that was asked for.
pub(super) fn told(candidates: &[Speech], frame: &Frame<'_>, form: Form) -> Told {
    let tokens = candidates.iter().map(Speech::tokens).sum();
    let Some(first) = candidates.first().filter(|_| form != Form::Whole) else {
        let mut told = Told::json(whole(candidates, frame), tokens);
        told.kind = "application/json; charset=UTF-8";
        return told;
    };
    let objects = if frame.blocked { vec![(blocked(frame), 0)] } else { stream(first, frame) };
    let last = objects.len() - 1;
    let dress = |(position, (object, tokens)): (usize, (String, u32))| match form {
        Form::List if position == 0 && last == 0 => (format!("[{object}\n]").into_bytes(), tokens),
        Form::List if position == 0 => (format!("[{object}").into_bytes(), tokens),
        Form::List if position == last => (format!(",\r\n{object}\n]").into_bytes(), tokens),
        Form::List => (format!(",\r\n{object}").into_bytes(), tokens),
        _ => (format!("data: {object}\r\n\r\n").into_bytes(), tokens),
    };
    let kind = if form == Form::List { "application/json; charset=UTF-8" } else { "text/event-stream" };
    let broken: fn(u32) -> Vec<u8> = match form {
        Form::List => |_| format!(",\r\n{}\n]", refusal::event()).into_bytes(),
        _ => |_| format!("data: {}\r\n\r\n", refusal::event()).into_bytes(),
    };
    Told {
        kind,
        events: objects.into_iter().enumerate().map(dress).collect(),
        completion_tokens: tokens,
        broken: Some(broken),
        ..Told::default()
    }
}

fn whole(candidates: &[Speech], frame: &Frame<'_>) -> String {
    if frame.blocked {
        return blocked(frame);
    }
    let spoken = candidates.iter().map(Speech::spoken_tokens).sum();
    let thought = candidates.iter().map(Speech::thought_tokens).sum();
    let candidate = |(position, said): (usize, &Speech)| {
        let mut parts = Vec::new();
        if frame.shows_thoughts && !said.thought.is_empty() {
            parts.push(format!(r#"{{"text":{},"thought":true}}"#, quote(&said.thought.concat())));
        }
        if !said.text.is_empty() {
            parts.push(format!(r#"{{"text":{}{}}}"#, quote(&said.text.concat()), text_mark(said, frame)));
        }
        for (position, call) in said.calls.iter().enumerate() {
            parts.push(call_part(call, position, frame));
        }
        candidate(&parts, Some(finish(said)), position)
    };
    let candidates: Vec<_> = candidates.iter().enumerate().map(candidate).collect();
    response(&candidates.join(","), frame, spoken, thought)
}

/// The objects of a stream, each with the tokens produced once it has left.
fn stream(said: &Speech, frame: &Frame<'_>) -> Vec<(String, u32)> {
    let mut objects = Vec::new();
    let (mut spoken, mut thought) = (0, 0);
    let mut say = |part: String, spoken: u32, thought: u32, finish: Option<&str>| {
        let candidate = candidate(&[part], finish, 0);
        objects.push((response(&candidate, frame, spoken, thought), spoken + thought));
    };
    if frame.shows_thoughts {
        for piece in &said.thought {
            thought += 1;
            say(format!(r#"{{"text":{},"thought":true}}"#, quote(piece)), spoken, thought, None);
        }
    }
    thought = said.thought_tokens();
    for piece in &said.text {
        spoken += 1;
        say(format!(r#"{{"text":{}}}"#, quote(piece)), spoken, thought, None);
    }
    for (position, call) in said.calls.iter().enumerate() {
        spoken += 1 + call.input.len() as u32;
        say(call_part(call, position, frame), spoken, thought, None);
    }
    say(format!(r#"{{"text":""{}}}"#, text_mark(said, frame)), spoken, thought, Some(finish(said)));
    objects
}

fn candidate(parts: &[String], finish: Option<&str>, index: usize) -> String {
    let content = match parts.is_empty() {
        true => r#"{"role":"model"}"#.to_owned(),
        false => format!(r#"{{"parts":[{}],"role":"model"}}"#, parts.join(",")),
    };
    let finish = finish.map_or(String::new(), |word| format!(r#","finishReason":"{word}""#));
    format!(r#"{{"content":{content}{finish},"index":{index}}}"#)
}

fn response(candidates: &str, frame: &Frame<'_>, spoken: u32, thought: u32) -> String {
    let (usage, model, id) = (usage(frame, spoken, thought), quote(frame.model), id(frame));
    format!(r#"{{"candidates":[{candidates}],"usageMetadata":{usage},"modelVersion":{model},"responseId":"{id}"}}"#)
}

/// The answer to a prompt that was refused: 200 without candidates.
fn blocked(frame: &Frame<'_>) -> String {
    let (usage, model, id) = (usage(frame, 0, 0), quote(frame.model), id(frame));
    format!(
        r#"{{"promptFeedback":{{"blockReason":"PROHIBITED_CONTENT"}},"usageMetadata":{usage},"modelVersion":{model},"responseId":"{id}"}}"#
    )
}

/// Counts that are zero are absent.
fn usage(frame: &Frame<'_>, spoken: u32, thought: u32) -> String {
    let count = |name: &str, tokens: u32| match tokens {
        0 => String::new(),
        _ => format!(r#","{name}":{tokens}"#),
    };
    let prompt = frame.prompt_tokens;
    format!(
        r#"{{"promptTokenCount":{prompt}{},"totalTokenCount":{}{},"promptTokensDetails":[{{"modality":"TEXT","tokenCount":{prompt}}}]{}}}"#,
        count("candidatesTokenCount", spoken),
        prompt + spoken + thought,
        count("cachedContentTokenCount", frame.cached),
        count("thoughtsTokenCount", thought),
    )
}

/// Calls end like everything else.
fn finish(said: &Speech) -> &'static str {
    match said.ending {
        Ending::Limit => "MAX_TOKENS",
        _ => "STOP",
    }
}

/// The signature that the last text of a thinking model carries.
fn text_mark(said: &Speech, frame: &Frame<'_>) -> String {
    if !frame.signs || said.thought.is_empty() || !said.calls.is_empty() {
        return String::new();
    }
    let mark = seal::wrap(TEXT_PURPOSE, &format!("{:016x}", frame.seed));
    format!(r#","thoughtSignature":"{mark}""#)
}

/// One call; the first of a turn carries the signature of all.
fn call_part(call: &SpokenCall, position: usize, frame: &Frame<'_>) -> String {
    let input = call.input.concat();
    let name = quote(&call.name);
    if !frame.signs {
        return format!(r#"{{"functionCall":{{"name":{name},"args":{input}}}}}"#);
    }
    let mut id = String::new();
    alphanumeric(mix(frame.seed, position as u64 + 5), 8, &mut id);
    let args: Value = serde_json::from_str(&input).unwrap_or(Value::Null);
    let mark = match position {
        0 => format!(r#","thoughtSignature":"{}""#, seal::seal(CALL_PURPOSE, &call_text(&call.name, &args))),
        _ => String::new(),
    };
    format!(r#"{{"functionCall":{{"name":{name},"args":{input},"id":"{}"}}{mark}}}"#, id.to_lowercase())
}

fn id(frame: &Frame<'_>) -> String {
    let mut id = String::new();
    alphanumeric(frame.seed, 22, &mut id);
    id
}
