//! A whole answer of any OpenAI-shaped vendor.
//!
//! Read as one chunk by the reader of streams, so that both even out the same differences, and its deltas put together to pieces. Blank
//! lines before the object (DeepSeek, while it thinks) and a byte order mark are fine.

use super::heard::Heard;
use super::read_stream::{Reading, fails};
use crate::chat::delta::Delta;
use crate::chat::request::{Seal, Thinking, ToolCall};
use crate::chat::response::{Choice, Finish, Piece, Response, Unreadable};
use serde_json::Value;

/// Reads an answer.
pub(super) fn read(body: &[u8]) -> Result<Response, Unreadable> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    let heard: Heard<'_> = serde_json::from_slice(body).map_err(|_| Unreadable("it is no chat completion"))?;
    if fails(&heard) {
        return Err(Unreadable("it says itself that it failed"));
    }
    let choices = heard.choices.as_deref().unwrap_or_default();
    if choices.is_empty() {
        return Err(Unreadable("it has no choices"));
    }
    let sounds: Vec<Option<Value>> = choices.iter().map(sound).collect();
    let service_tier = heard.service_tier.as_ref().map(|tier| tier.0.clone().into_owned());
    let mut built = Response { service_tier, ..Response::default() };
    let mut reading = Reading::default();
    reading.take(heard, body, &mut |delta| add(&mut built, delta));
    reading.end(&mut |delta| add(&mut built, delta));
    for (choice, sound) in built.choices.iter_mut().zip(sounds) {
        choice.pieces.extend(sound.map(Piece::Audio));
        choice.pieces.iter_mut().for_each(complete);
    }
    built.choices.sort_by_key(|choice| choice.index);
    Ok(built)
}

fn sound(choice: &super::heard::Choice<'_>) -> Option<Value> {
    let raw = choice.message.as_ref()?.audio?;
    serde_json::from_str(raw.get()).ok()
}

/// A function that got no input has the empty object.
fn complete(piece: &mut Piece) {
    if let Piece::ToolCall(call) = piece
        && call.input.is_empty()
        && !call.custom
    {
        call.input.push_str("{}");
    }
}

// === Deltas to pieces ===

fn add(built: &mut Response, delta: Delta<'_>) {
    match delta {
        Delta::Start { id, model } => {
            built.id = id.into_owned();
            built.model = model.into_owned();
        }
        Delta::Text { choice, text } => match pieces(built, choice).last_mut() {
            Some(Piece::Text(words)) => words.push_str(&text),
            _ => pieces(built, choice).push(Piece::Text(text.into_owned())),
        },
        Delta::Refusal { choice, text } => pieces(built, choice).push(Piece::Refusal(text.into_owned())),
        Delta::Thinking { choice, text } => match pieces(built, choice).last_mut() {
            Some(Piece::Thinking(Thinking { text: words, seal: None })) => words.push_str(&text),
            _ => pieces(built, choice).push(Piece::Thinking(Thinking { text: text.into_owned(), seal: None })),
        },
        Delta::Seal { choice, seal } => add_seal(pieces(built, choice), seal),
        Delta::ToolStart { choice, id, name, custom, seal, .. } => {
            let (id, name) = (id.into_owned(), name.into_owned());
            pieces(built, choice).push(Piece::ToolCall(ToolCall { id, name, input: String::new(), custom, seal }));
        }
        Delta::ToolInput { choice, index, json } => {
            let mut calls = pieces(built, choice).iter_mut().filter_map(|piece| match piece {
                Piece::ToolCall(call) => Some(call),
                _ => None,
            });
            if let Some(call) = calls.nth(usize::try_from(index).unwrap_or(usize::MAX)) {
                call.input.push_str(&json);
            }
        }
        Delta::Image { choice, media_type, data } => {
            let (media_type, data) = (media_type.into_owned(), data.into_owned());
            pieces(built, choice).push(Piece::Image { media_type, data });
        }
        Delta::Annotation { choice, annotation } => pieces(built, choice).push(Piece::Annotation(annotation)),
        Delta::Logprobs { choice, logprobs } => answer(built, choice).logprobs = Some(logprobs),
        Delta::Finish { choice, reason } => answer(built, choice).finish = reason,
        Delta::Usage(usage) => built.usage = Some(usage),
        Delta::ToolEnd { .. } | Delta::Ping | Delta::Error { .. } => {}
    }
}

/// A seal goes on the words before it, unless it is a thought by itself.
fn add_seal(pieces: &mut Vec<Piece>, seal: Seal) {
    match pieces.last_mut() {
        Some(Piece::Thinking(thinking)) if thinking.seal.is_none() && !seal.redacted => thinking.seal = Some(seal),
        _ => pieces.push(Piece::Thinking(Thinking { text: String::new(), seal: Some(seal) })),
    }
}

fn pieces(built: &mut Response, index: u32) -> &mut Vec<Piece> {
    &mut answer(built, index).pieces
}

fn answer(built: &mut Response, index: u32) -> &mut Choice {
    let known = built.choices.iter().position(|choice| choice.index == index);
    let place = known.unwrap_or_else(|| {
        built.choices.push(Choice { index, pieces: Vec::new(), finish: Finish::Stop, logprobs: None });
        built.choices.len() - 1
    });
    &mut built.choices[place]
}
