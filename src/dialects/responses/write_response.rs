//! A whole answer for a client, and the body of an error.
//!
//! The whole answer is the object that its stream would have ended with: its pieces go through the writer of streams,
//! whose events nobody reads here. So both can never differ.

use super::write_stream::Writer;
use crate::chat::delta::Delta;
use crate::chat::response::{Choice, Piece, Response};
use crate::chat::shown::Shown;
use crate::dialects::{Setting, StreamWriter};
use crate::json::splice::escape_into;
use serde_json::Value;
use std::borrow::Cow;

/// Writes a `response` object. Of several answers the first: this dialect cannot ask for more.
pub fn write_response(response: &Response, setting: &Setting<'_>, out: &mut Vec<u8>) {
    let mut writer = Writer::new(setting, response.service_tier.as_deref());
    let mut events = Vec::new();
    if let Some(choice) = response.choices.first() {
        write_choice(choice, &mut writer, &mut events);
    }
    writer.close(&mut events);
    writer.object(response.usage.as_ref(), out);
}

fn write_choice(choice: &Choice, writer: &mut Writer, events: &mut Vec<u8>) {
    let mut calls = 0;
    let mut logprobs = choice.logprobs.as_ref();
    for piece in &choice.pieces {
        write_piece(piece, &mut calls, &mut |delta| {
            events.clear();
            writer.write(&delta, events);
        });
        // They stand with the first text, whatever number of texts they are about.
        if let Some(logprobs) = logprobs.take_if(|_| matches!(piece, Piece::Text(_))) {
            writer.write(&Delta::Logprobs { choice: 0, logprobs: logprobs.clone() }, events);
        }
    }
    writer.write(&Delta::Finish { choice: 0, reason: choice.finish.clone() }, events);
}

fn write_piece(piece: &Piece, calls: &mut u32, write: &mut dyn FnMut(Delta<'_>)) {
    let choice = 0;
    match piece {
        Piece::Text(text) => write(Delta::Text { choice, text: Cow::Borrowed(text) }),
        Piece::Refusal(text) => write(Delta::Refusal { choice, text: Cow::Borrowed(text) }),
        Piece::Thinking(thinking) => {
            write(Delta::Thinking { choice, text: Cow::Borrowed(&thinking.text) });
            if let Some(seal) = &thinking.seal {
                write(Delta::Seal { choice, seal: seal.clone() });
            }
        }
        Piece::ToolCall(call) => {
            let index = *calls;
            *calls += 1;
            write(Delta::ToolStart {
                choice,
                index,
                id: Cow::Borrowed(&call.id),
                name: Cow::Borrowed(&call.name),
                custom: call.custom,
                seal: call.seal.clone(),
            });
            write(Delta::ToolInput { choice, index, json: Cow::Borrowed(&call.input) });
            write(Delta::ToolEnd { choice, index });
        }
        Piece::Image { media_type, data } => {
            write(Delta::Image { choice, media_type: Cow::Borrowed(media_type), data: Cow::Borrowed(data) });
        }
        // There is no place for sound here, but for what was said.
        Piece::Audio(audio) => {
            if let Some(text) = audio.get("transcript").and_then(Value::as_str) {
                write(Delta::Text { choice, text: Cow::Borrowed(text) });
            }
        }
        Piece::Annotation(annotation) => write(Delta::Annotation { choice, annotation: annotation.clone() }),
    }
}

/// Writes `{"error":{"message","type","param","code"}}`.
pub fn write_error(fault: &Shown<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"error\":{\"message\":");
    escape_into(fault.message, out);
    out.extend_from_slice(b",\"type\":");
    escape_into(fault.kind, out);
    out.extend_from_slice(b",\"param\":");
    match fault.param {
        Some(param) => escape_into(param, out),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"code\":");
    escape_into(fault.code, out);
    out.extend_from_slice(b"}}");
}
