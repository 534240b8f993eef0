//! A whole answer, and an error, as Google's clients read them.
//!
//! The SDKs refuse members they do not know, so nothing of ours is added. A turn without content still has a part,
//! since their chats forget turns without one. Thoughts carry their seals; calls of tools also carry what came sealed
//! before them, for clients that keep no thoughts.

use super::finish;
use super::parts::{Args, FunctionCall, Part};
use super::seal;
use super::usage::Stated;
use crate::chat::carry::Carried;
use crate::chat::request::{Maker, Thinking, ToolCall};
use crate::chat::response::{Choice, Piece, Response};
use crate::chat::shown::Shown;
use crate::dialects::Setting;
use crate::json::splice::escape_into;
use serde::Serialize;
use serde_json::{Value, json};
use std::borrow::Cow;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    candidates: Vec<Candidate<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_metadata: Option<Stated>,
    model_version: &'a str,
    response_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    content: Content<'a>,
    finish_reason: &'static str,
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs_result: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grounding_metadata: Option<Value>,
}

#[derive(Serialize)]
struct Content<'a> {
    parts: Vec<Part<'a>>,
    role: &'static str,
}

/// Writes an answer.
pub(super) fn write(response: &Response, setting: &Setting<'_>, out: &mut Vec<u8>) {
    let answer = Answer {
        candidates: response.choices.iter().map(candidate).collect(),
        usage_metadata: response.usage.as_ref().map(Stated::of),
        model_version: setting.model,
        response_id: setting.id,
    };
    // Into memory, and out of strings, numbers and JSON alone: this cannot fail.
    let written = serde_json::to_writer(&mut *out, &answer);
    debug_assert!(written.is_ok(), "an answer is JSON");
}

fn candidate(choice: &Choice) -> Candidate<'_> {
    let mut parts = Vec::with_capacity(choice.pieces.len());
    let mut citations = Vec::new();
    let mut sealed: Vec<Thinking> = Vec::new();
    for piece in &choice.pieces {
        match piece {
            Piece::Text(text) | Piece::Refusal(text) => parts.push(Part::text(text.as_str())),
            Piece::Thinking(thinking) => {
                parts.push(thought(thinking));
                sealed.extend(is_foreign(thinking).then(|| thinking.clone()));
            }
            Piece::ToolCall(call) => parts.push(called(call, std::mem::take(&mut sealed))),
            Piece::Image { media_type, data } => parts.push(Part::inline(media_type, data.as_str())),
            Piece::Audio(audio) => parts.extend(transcript(audio)),
            Piece::Annotation(annotation) => citations.push(annotation),
        }
    }
    if parts.is_empty() {
        parts.push(Part::text(""));
    }
    Candidate {
        content: Content { parts, role: "model" },
        finish_reason: finish::word(&choice.finish),
        index: choice.index,
        logprobs_result: choice.logprobs.as_ref().and_then(logprobs),
        grounding_metadata: grounding(&citations),
    }
}

/// A thought; one of Google's without words is a signature on an empty text, as Google sends it.
fn thought(thinking: &Thinking) -> Part<'_> {
    let googles = thinking.seal.as_ref().is_some_and(|seal| seal.maker == Maker::Google);
    Part {
        thought: !(googles && thinking.text.is_empty()),
        thought_signature: thinking.seal.as_ref().map(seal::written),
        ..Part::text(thinking.text.as_str())
    }
}

/// Whether a thought is sealed by another maker than Google.
pub(super) fn is_foreign(thinking: &Thinking) -> bool {
    thinking.seal.as_ref().is_some_and(|seal| seal.maker != Maker::Google)
}

fn called(call: &ToolCall, thinking: Vec<Thinking>) -> Part<'_> {
    let carried = Carried { thinking, seal: call.seal.clone() };
    let signature = seal::on_call(&carried).map(|signature| Cow::Owned(signature.into_owned()));
    let args = args_of(&call.input, call.custom);
    let function_call = Some(FunctionCall { id: &call.id, name: &call.name, args });
    Part { function_call, thought_signature: signature, ..Part::default() }
}

/// The input of a call as an object; what is none (free text, or JSON that the limit cut) is wrapped.
pub(super) fn args_of(input: &str, custom: bool) -> Args<'_> {
    if custom {
        return Args::wrapped("input", input);
    }
    Args::object(input).unwrap_or_else(|| Args::wrapped("_raw", input))
}

fn transcript(audio: &Value) -> Option<Part<'_>> {
    audio.get("transcript").and_then(Value::as_str).map(Part::text)
}

/// OpenAI's log probabilities in Google's form.
pub(super) fn logprobs(logprobs: &Value) -> Option<Value> {
    let content = logprobs.get("content")?.as_array()?;
    let one = |entry: &Value| json!({"token": entry.get("token"), "logProbability": entry.get("logprob")});
    let chosen: Vec<Value> = content.iter().map(one).collect();
    let top = content.iter().map(|entry| {
        let alternatives = entry.get("top_logprobs").and_then(Value::as_array).into_iter().flatten();
        json!({"candidates": alternatives.map(one).collect::<Vec<_>>()})
    });
    Some(json!({"topCandidates": top.collect::<Vec<_>>(), "chosenCandidates": chosen}))
}

/// The web pages of OpenAI's annotations in Google's form; nothing for none.
pub(super) fn grounding(annotations: &[&Value]) -> Option<Value> {
    let pages = annotations.iter().filter_map(|annotation| annotation.get("url_citation"));
    let pages = pages.map(|page| json!({"web": {"uri": page.get("url"), "title": page.get("title")}}));
    let pages: Vec<Value> = pages.collect();
    (!pages.is_empty()).then(|| json!({"groundingChunks": pages}))
}

// === Errors ===

/// Writes the body of an error.
pub(super) fn error(shown: &Shown<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"error\":{\"code\":");
    out.extend_from_slice(itoa::Buffer::new().format(shown.status).as_bytes());
    out.extend_from_slice(b",\"message\":");
    escape_into(shown.message, out);
    out.extend_from_slice(b",\"status\":\"");
    out.extend_from_slice(status_word(shown.status).as_bytes());
    out.extend_from_slice(b"\",\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":");
    escape_into(&shown.code.to_ascii_uppercase(), out);
    out.extend_from_slice(b",\"domain\":\"igris\",\"metadata\":{");
    if let Some(param) = shown.param {
        out.extend_from_slice(b"\"param\":");
        escape_into(param, out);
    }
    out.extend_from_slice(b"}}]}}");
}

/// The name of the canonical code for an HTTP status (google.rpc.Code).
fn status_word(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        402 => "FAILED_PRECONDITION",
        403 => "PERMISSION_DENIED",
        404 | 410 => "NOT_FOUND",
        408 | 504 => "DEADLINE_EXCEEDED",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        501 => "UNIMPLEMENTED",
        502 | 503 | 529 => "UNAVAILABLE",
        500..=599 => "INTERNAL",
        400..=499 => "INVALID_ARGUMENT",
        _ => "UNKNOWN",
    }
}

#[cfg(test)]
#[path = "write_response_tests.rs"]
mod tests;
