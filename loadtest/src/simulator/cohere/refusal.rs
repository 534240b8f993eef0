//! Refusals in Cohere's words and shape: one message and an id (its error pages, read 2026-11).

use crate::simulator::shape::{Breach, Step, Wrong};
use crate::simulator::surface::{Denial, REQUEST_ID};
use crate::simulator::text::quote;
use serde_json::Value;
use std::time::Duration;

pub(super) fn denial(status: u16, message: &str) -> Denial {
    Denial::new(status, format!(r#"{{"id":"{REQUEST_ID}","message":{}}}"#, quote(message)))
}

/// A 400 about the request.
pub(in crate::simulator) fn invalid(message: &str) -> Denial {
    denial(400, &format!("invalid request: {message}"))
}

/// A model nobody has.
pub(super) fn unknown_model(model: &str) -> Denial {
    denial(
        404,
        &format!(
            "model '{model}' not found, make sure the correct model ID was used and that you have access to the model."
        ),
    )
}

/// A bare status.
pub(in crate::simulator) fn failure(status: u16, retry_after: Option<Duration>) -> Denial {
    let message = match status {
        401 => "invalid api token",
        402 => {
            "please add or update your payment method at https://dashboard.cohere.com/billing?tab=payment to continue"
        }
        403 => "your api key does not have access to this resource",
        404 => "resource not found",
        422 => "unprocessable entity",
        429 => "You are past the per minute request limit, please wait and try again later.",
        498 => "invalid token",
        499 => "request cancelled",
        503 => "service unavailable",
        504 => "gateway timeout",
        500..=599 => "internal server error, this has been reported to our developers.",
        _ => "invalid request",
    };
    denial(status, message).retry_after(retry_after)
}

/// The 429 of a month's allowance.
pub(in crate::simulator) fn quota() -> Denial {
    let message = "You are using a Trial key, which is limited to 1000 API calls / month. You can continue to use the Trial \
                   key for free or upgrade to a Production key with higher rate limits at \
                   'https://dashboard.cohere.com/api-keys'.";
    denial(429, message)
}

/// The last event of a stream that breaks.
pub(super) fn event() -> Vec<u8> {
    concat!(
        "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"ERROR\",",
        "\"error\":\"internal server error, this has been reported to our developers.\"}}\n\n"
    )
    .into()
}

/// A breach of the tables.
pub(super) fn breach(found: &Breach) -> Denial {
    let at = place(&found.path);
    match &*found.wrong {
        Wrong::Unknown => denial(400, &format!("unknown field: parameter {at} is not a valid field")),
        Wrong::Missing => invalid(&format!("{at} is a required field")),
        Wrong::Kind(kind, value) => denial(
            400,
            &format!("invalid type: parameter {at} is of type {} but should be of type {kind}.", kind_of(value)),
        ),
        Wrong::Range(low, high, value) => invalid(&format!("{at} must be between {low} and {high}, got {value}")),
        Wrong::Word(known, value) => invalid(&format!("{at} must be one of {}, got {value}", known.join(", "))),
        Wrong::Tag(tag, known, value) => {
            invalid(&format!("{at}.{tag} must be one of {}, got \"{value}\"", known.join(", ")))
        }
        Wrong::Blank => invalid(&format!("{at} must be at least 1 token long")),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn place(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Member(name) if out.is_empty() => out.push_str(name),
            Step::Member(name) => out.push_str(&format!(".{name}")),
            Step::Item(position) => out.push_str(&format!("[{position}]")),
            Step::Tag(_) => {}
        }
    }
    out
}
