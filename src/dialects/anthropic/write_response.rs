//! An inner answer as a Messages client reads it, and errors in the form on which Anthropic's SDKs raise.

use super::read_request::THREAD;
use super::{foreign, usage};
use crate::chat::carry::{self, Carried};
use crate::chat::request::{Thinking, ToolCall};
use crate::chat::response::{Choice, Finish, Piece, Response};
use crate::chat::shown::Shown;
use crate::dialects::Setting;
use crate::json::scan;
use crate::json::splice::escape_into;
use crate::limits::JSON_DEPTH_MAX;
use std::borrow::Cow;

/// Writes a message. The format has one answer: the first.
pub(super) fn write(response: &Response, setting: &Setting<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"id":"#);
    escape_into(&message_id(setting), out);
    out.extend_from_slice(br#","type":"message","role":"assistant","model":"#);
    escape_into(setting.model, out);
    out.extend_from_slice(br#","content":["#);
    let choice = response.choices.first();
    let before = out.len();
    let mut previous = None;
    for piece in choice.map(|choice| choice.pieces.as_slice()).unwrap_or_default() {
        if matches!(previous.replace(piece), Some(Piece::Text(_))) && is_seal_on_text(piece) {
            continue;
        }
        let mark = out.len();
        if mark > before {
            out.push(b',');
        }
        if !write_piece(piece, out) {
            out.truncate(mark);
        }
    }
    out.extend_from_slice(br#"],"stop_reason":"#);
    stop(&choice.map(finish_of).unwrap_or_default(), out);
    out.extend_from_slice(br#","usage":"#);
    usage::write(response.usage.as_ref(), out);
    out.push(b'}');
}

fn is_seal_on_text(piece: &Piece) -> bool {
    let Piece::Thinking(thinking) = piece else { return false };
    thinking.text.is_empty() && thinking.seal.as_ref().is_some_and(foreign::is_on_text)
}

/// Our id for an answer, with the format's prefix.
pub(super) fn message_id(setting: &Setting<'_>) -> String {
    format!("msg_{}", setting.id)
}

/// Why an answer ended, seen beside what is in it: some providers say `stop` although calls wait for their results.
fn finish_of(choice: &Choice) -> Finish {
    let calls = choice.pieces.iter().any(|piece| matches!(piece, Piece::ToolCall(_)));
    let refuses = choice.pieces.iter().any(|piece| matches!(piece, Piece::Refusal(_)));
    match &choice.finish {
        Finish::Stop if calls => Finish::ToolCalls,
        Finish::Stop if refuses => Finish::ContentFilter,
        finish => finish.clone(),
    }
}

/// Appends the value of `stop_reason`, and the member `stop_sequence` after it.
pub(super) fn stop(finish: &Finish, out: &mut Vec<u8>) {
    let (reason, text) = match finish {
        Finish::Stop => ("end_turn", None),
        Finish::StopText(text) => ("stop_sequence", text.as_deref()),
        Finish::Length => ("max_tokens", None),
        Finish::ToolCalls => ("tool_use", None),
        Finish::ContentFilter => ("refusal", None),
        Finish::Pause => ("pause_turn", None),
    };
    escape_into(reason, out);
    out.extend_from_slice(br#","stop_sequence":"#);
    match text {
        Some(text) => escape_into(text, out),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends one content block; whether there is one for the piece.
fn write_piece(piece: &Piece, out: &mut Vec<u8>) -> bool {
    match piece {
        Piece::Text(text) | Piece::Refusal(text) => text_block(text, out),
        Piece::Thinking(thinking) => thinking_block(thinking, out),
        Piece::ToolCall(call) => call_block(call, out),
        Piece::Image { media_type, data } => text_block(&picture(media_type, data), out),
        // The format has no sound, and its citations need a proof that only its own provider can give.
        Piece::Audio(_) | Piece::Annotation(_) => return false,
    }
    true
}

fn text_block(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"text","text":"#);
    escape_into(text, out);
    out.push(b'}');
}

/// A picture that a model made: the format has none in answers, so it is shown as Markdown does.
pub(super) fn picture(media_type: &str, data: &str) -> String {
    format!("![image](data:{media_type};base64,{data})")
}

fn thinking_block(thinking: &Thinking, out: &mut Vec<u8>) {
    let seal = thinking.seal.as_ref();
    let data = seal.map(foreign::to_client).unwrap_or_default();
    if seal.is_some_and(|seal| seal.redacted) {
        out.extend_from_slice(br#"{"type":"redacted_thinking","data":"#);
    } else {
        out.extend_from_slice(br#"{"type":"thinking","thinking":"#);
        escape_into(&thinking.text, out);
        out.extend_from_slice(br#","signature":"#);
    }
    escape_into(&data, out);
    out.push(b'}');
}

fn call_block(call: &ToolCall, out: &mut Vec<u8>) {
    let carried = Carried { thinking: Vec::new(), seal: call.seal.clone() };
    out.extend_from_slice(br#"{"type":"tool_use","id":"#);
    escape_into(&carry::pack(&call.id, &carried), out);
    out.extend_from_slice(br#","name":"#);
    escape_into(&call.name, out);
    out.extend_from_slice(br#","input":"#);
    out.extend_from_slice(input(call).as_bytes());
    out.push(b'}');
}

/// The input as an object: itself wherever it is one.
fn input(call: &ToolCall) -> Cow<'_, str> {
    let wrapped = |name: &str| {
        let mut object = format!("{{\"{name}\":").into_bytes();
        escape_into(&call.input, &mut object);
        object.push(b'}');
        Cow::Owned(String::from_utf8(object).unwrap_or_else(|_| "{}".to_owned()))
    };
    if call.custom {
        return wrapped("input");
    }
    let text = call.input.trim();
    if text.is_empty() {
        return Cow::Borrowed("{}");
    }
    let is_object = text.starts_with('{') && scan::validate(text.as_bytes(), JSON_DEPTH_MAX).is_ok();
    if is_object { Cow::Borrowed(text) } else { wrapped("_raw") }
}

/// What Anthropic says of a request that cannot be part of a thread.
const NO_THREADS: &str = "thread_unsupported_request";

/// Writes the body of an error. Our stable code stands where Anthropic has its finer ones, in `details.error_code`; a thread is refused with
/// Anthropic's own code, on which its SDKs send the whole conversation instead.
pub(super) fn write_error(shown: &Shown<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"error","error":{"type":"#);
    escape_into(error_type(shown.status), out);
    out.extend_from_slice(br#","message":"#);
    escape_into(shown.message, out);
    out.extend_from_slice(br#","details":{"error_code":"#);
    let thread = shown.status == 400 && shown.param == Some(THREAD);
    escape_into(if thread { NO_THREADS } else { shown.code }, out);
    if let Some(param) = shown.param {
        out.extend_from_slice(br#","param":"#);
        escape_into(param, out);
    }
    out.extend_from_slice(br#"}},"request_id":"#);
    escape_into(shown.request_id, out);
    out.push(b'}');
}

/// The type on which Anthropic's SDKs and their users branch.
fn error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        408 | 504 => "timeout_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        400..500 => "invalid_request_error",
        _ => "api_error",
    }
}

/// Writes the answer of `POST /v1/messages/count_tokens`.
pub fn write_count_tokens(input_tokens: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"input_tokens":"#);
    out.extend_from_slice(itoa::Buffer::new().format(input_tokens).as_bytes());
    out.push(b'}');
}
