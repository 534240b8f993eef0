//! Refusals in Anthropic's words and shape (its error reference, read 2026-11).

use crate::simulator::quota::Level;
use crate::simulator::shape::{Breach, Step, Wrong};
use crate::simulator::surface::{Denial, REQUEST_ID};
use crate::simulator::text::quote;
use std::time::Duration;

/// An error of this kind.
pub(super) fn denial(status: u16, kind: &str, message: &str) -> Denial {
    let message = quote(message);
    let body =
        format!(r#"{{"type":"error","error":{{"type":"{kind}","message":{message}}},"request_id":"{REQUEST_ID}"}}"#);
    Denial::new(status, body)
}

/// A 400 about the request.
pub(in crate::simulator) fn invalid(message: &str) -> Denial {
    denial(400, "invalid_request_error", message)
}

/// A model nobody has.
pub(super) fn unknown_model(model: &str) -> Denial {
    denial(404, "not_found_error", &format!("model: {model}"))
}

/// A path or method nobody serves.
pub(super) fn unknown_path() -> Denial {
    denial(404, "not_found_error", "Not Found")
}

/// A bare status.
pub(in crate::simulator) fn failure(status: u16, retry_after: Option<Duration>) -> Denial {
    let (kind, message) = match status {
        401 => ("authentication_error", "invalid x-api-key"),
        402 => ("billing_error", "Your credit balance is too low to access the Anthropic API."),
        403 => ("permission_error", "Your API key does not have permission to use the specified resource."),
        404 => ("not_found_error", "The requested resource could not be found."),
        408 | 504 => ("timeout_error", "Request timed out."),
        409 => ("conflict_error", "The request conflicts with the present state of the resource."),
        413 => ("request_too_large", "Request exceeds the maximum size"),
        429 => (
            "rate_limit_error",
            "This request would exceed your organization's rate limit of 50 requests per minute. For details, refer to: \
             https://docs.claude.com/en/api/rate-limits.",
        ),
        529 => ("overloaded_error", "Overloaded"),
        500..=599 => ("api_error", "Internal server error"),
        _ => ("invalid_request_error", "The request could not be served."),
    };
    denial(status, kind, message).retry_after(retry_after)
}

/// The 429 that no waiting cures: it names no wait.
pub(in crate::simulator) fn quota() -> Denial {
    let body = format!(
        r#"{{"type":"error","error":{{"type":"rate_limit_error","message":"You have reached your specified API usage limits. You will regain access next month.","details":{{"error_code":"enforced_spend_limit_reached"}}}},"request_id":"{REQUEST_ID}"}}"#
    );
    Denial::new(429, body)
}

/// The 429 of a key that has used up its tokens of a minute.
pub(in crate::simulator) fn out_of_tokens(level: &Level) -> String {
    let message = format!(
        "This request would exceed your organization's rate limit of {} tokens per minute. For details, refer to: \
         https://docs.claude.com/en/api/rate-limits.",
        level.limit
    );
    denial(429, "rate_limit_error", &message).body
}

/// The event that breaks a stream.
pub(super) fn event() -> Vec<u8> {
    b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n"
        .to_vec()
}

/// A breach of the tables, in the words of Anthropic's validation.
pub(super) fn breach(breach: &Breach) -> Denial {
    let at = place(&breach.path);
    let words = |words: &[&str]| words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ");
    let message = match &*breach.wrong {
        Wrong::Unknown => format!("{at}: Extra inputs are not permitted"),
        Wrong::Missing => format!("{at}: Field required"),
        Wrong::Kind(kind, _) => format!("{at}: Input should be a valid {}", kind_word(kind)),
        Wrong::Range(low, high, found) => {
            let below = found.as_f64().zip(low.parse().ok()).is_some_and(|(found, low): (f64, f64)| found < low);
            let (side, bound) = if below { ("greater", low) } else { ("less", high) };
            format!("{at}: Input should be {side} than or equal to {bound}")
        }
        Wrong::Word(known, _) => format!("{at}: Input should be {}", words(known)),
        Wrong::Tag(tag, known, found) => format!(
            "{at}: Input tag '{found}' found using '{tag}' does not match any of the expected tags: {}",
            words(known)
        ),
        Wrong::Blank => {
            let top = at.split('.').next().unwrap_or_default();
            format!("{top}: text content blocks must contain non-whitespace text")
        }
    };
    invalid(&message)
}

fn kind_word(kind: &str) -> &str {
    match kind {
        "object" => "dictionary",
        "array" => "list",
        other => other,
    }
}

/// A place as Anthropic writes it: `messages.0.content.1.text.cache_control`.
fn place(path: &[Step]) -> String {
    let step = |step: &Step| match step {
        Step::Member(name) => name.clone(),
        Step::Item(position) => position.to_string(),
        Step::Tag(tag) => (*tag).to_owned(),
    };
    path.iter().map(step).collect::<Vec<_>>().join(".")
}
