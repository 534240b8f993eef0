//! A whole answer of `:generateContent`.
//!
//! A blocked prompt has no candidates and a status of 200: it becomes an answer without content that the filter ended,
//! as OpenAI would have it. A model that broke down before it said anything is an answer that cannot be read.

use super::answer::{self, Answer, Candidate, Part};
use super::finish::Ending;
use crate::chat::request::{Maker, Seal, Thinking, ToolCall};
use crate::chat::response::{Choice, Finish, Piece, Response, Unreadable};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Reads an answer.
///
/// # Errors
/// When it is not of this format, or holds no answer at all.
pub(super) fn read(body: &[u8]) -> Result<Response, Unreadable> {
    let answer = Answer::read(body).ok_or(Unreadable("it is no generateContent answer"))?;
    let blocked = answer.prompt_feedback.is_some_and(|feedback| feedback.block_reason.is_some());
    let candidates = answer.candidates.unwrap_or_default();
    let mut choices = Vec::with_capacity(candidates.len());
    let mut broken = false;
    for candidate in candidates {
        let (choice, ending) = choice(candidate);
        broken |= ending == Ending::Broken && choice.pieces.is_empty();
        choices.push(choice);
    }
    if broken && choices.iter().all(|choice| choice.pieces.is_empty()) {
        return Err(Unreadable("the model ended on an error of its own and said nothing"));
    }
    if choices.is_empty() {
        if !blocked {
            return Err(Unreadable("it has no candidates"));
        }
        choices.push(Choice { index: 0, pieces: Vec::new(), finish: Finish::ContentFilter, logprobs: None });
    }
    Ok(Response {
        id: answer::or_empty(answer.response_id).into_owned(),
        model: answer::or_empty(answer.model_version).into_owned(),
        choices,
        usage: answer.usage_metadata.map(|counts| counts.usage()),
        service_tier: None,
    })
}

fn choice(candidate: Candidate<'_>) -> (Choice, Ending) {
    let mut pieces = Vec::new();
    for part in candidate.content.and_then(|content| content.parts).unwrap_or_default() {
        push(part, &mut pieces);
    }
    if let Some(grounding) = candidate.grounding_metadata {
        annotate(grounding, &mut pieces);
    }
    let has_calls = pieces.iter().any(|piece| matches!(piece, Piece::ToolCall(_)));
    let ending = candidate.finish_reason.map_or(Ending::Stop, |reason| Ending::of(&reason.0));
    let logprobs = candidate.logprobs_result.and_then(answer::logprobs);
    let index = candidate.index.unwrap_or(0);
    (Choice { index, pieces, finish: ending.finish(has_calls), logprobs }, ending)
}

/// A signature on a call is the call's; on words it is a thought that follows them.
fn push(mut part: Part<'_>, pieces: &mut Vec<Piece>) {
    let seal = part.thought_signature.take().map(|text| googles(text.0));
    if let Some(call) = &mut part.function_call {
        let id = answer::id_of(call).into_owned();
        let input = answer::input_of(call).to_owned();
        let name = answer::or_empty(call.name.take()).into_owned();
        return pieces.push(Piece::ToolCall(ToolCall { id, name, input, custom: false, seal }));
    }
    if part.thought == Some(true) {
        let text = answer::or_empty(part.text.take()).into_owned();
        return add_thought(Thinking { text, seal }, pieces);
    }
    if let Some(text) = part.text.take().map(|text| text.0).or_else(|| part.fenced().map(Cow::Owned)) {
        add_text(text, pieces);
    } else if let Some(blob) = part.inline_data.take() {
        let media_type = answer::or_empty(blob.mime_type).into_owned();
        pieces.push(Piece::Image { media_type, data: answer::or_empty(blob.data).into_owned() });
    }
    if seal.is_some() {
        pieces.push(Piece::Thinking(Thinking { text: String::new(), seal }));
    }
}

pub(super) fn googles(data: Cow<'_, str>) -> Seal {
    Seal { maker: Maker::Google, data: data.into_owned(), redacted: false }
}

fn add_text(text: Cow<'_, str>, pieces: &mut Vec<Piece>) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Text(last)) => last.push_str(&text),
        _ => pieces.push(Piece::Text(text.into_owned())),
    }
}

fn add_thought(thought: Thinking, pieces: &mut Vec<Piece>) {
    match pieces.last_mut() {
        Some(Piece::Thinking(last)) if last.seal.is_none() => {
            last.text.push_str(&thought.text);
            last.seal = thought.seal;
        }
        _ if thought.text.is_empty() && thought.seal.is_none() => {}
        _ => pieces.push(Piece::Thinking(thought)),
    }
}

/// Google counts the bytes of the text, OpenAI its characters.
fn annotate(grounding: &RawValue, pieces: &mut Vec<Piece>) {
    let text: String = pieces
        .iter()
        .filter_map(|piece| if let Piece::Text(text) = piece { Some(text.as_str()) } else { None })
        .collect();
    let characters = |bytes: usize| text.char_indices().take_while(|(at, _)| *at < bytes).count();
    let citations = answer::citations(grounding, |start, end| (characters(start), characters(end)));
    pieces.extend(citations.into_iter().map(Piece::Annotation));
}
