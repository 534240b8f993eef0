//! Refusals in Google's words and shape (its error reference and observed answers, read 2026-11).

use crate::simulator::shape::{Breach, Step, Wrong, snake};
use crate::simulator::surface::Denial;
use crate::simulator::text::quote;
use std::fmt::Write as _;
use std::time::Duration;

const SERVICE: &str = "generativelanguage.googleapis.com";

/// An error with details, which are JSON texts.
fn denial(code: u16, status: &str, message: &str, details: &[String]) -> Denial {
    Denial::new(code, body(code, status, message, details))
}

fn body(code: u16, status: &str, message: &str, details: &[String]) -> String {
    let mut out = format!(
        "{{\n  \"error\": {{\n    \"code\": {code},\n    \"message\": {},\n    \"status\": \"{status}\"",
        quote(message)
    );
    if !details.is_empty() {
        let _ = write!(out, ",\n    \"details\": [\n      {}\n    ]", details.join(",\n      "));
    }
    out.push_str("\n  }\n}\n");
    out
}

/// A 400 about the meaning of a request.
pub(super) fn invalid(message: &str) -> Denial {
    denial(400, "INVALID_ARGUMENT", message, &[])
}

/// A model nobody has, or one that cannot do this.
pub(super) fn unknown_model(model: &str, version: &str, verb: &str) -> Denial {
    let message = format!(
        "models/{model} is not found for API version {version}, or is not supported for {verb}. Call ListModels to see the \
         list of available models and their supported methods."
    );
    denial(404, "NOT_FOUND", &message, &[])
}

/// A path nobody serves.
pub(super) fn unknown_path(path: &str) -> Denial {
    denial(404, "NOT_FOUND", &format!("The requested URL {path} was not found on this server."), &[])
}

/// No key at all.
pub(super) fn missing_key() -> Denial {
    let message = "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or \
                   other form of API consumer identity to call this API.";
    denial(403, "PERMISSION_DENIED", message, &[])
}

/// A key nobody knows: a 400 here.
pub(super) fn unknown_key() -> Denial {
    let message = "API key not valid. Please pass a valid API key.";
    let local = format!(
        r#"{{"@type":"type.googleapis.com/google.rpc.LocalizedMessage","locale":"en-US","message":"{message}"}}"#
    );
    denial(400, "INVALID_ARGUMENT", message, &[reason("API_KEY_INVALID"), local])
}

/// A key shown as a bearer, where only OAuth tokens belong.
pub(super) fn bearer_key() -> Denial {
    let message = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other \
                   valid authentication credential. See \
                   https://developers.google.com/identity/sign-in/web/devconsole-project.";
    denial(401, "UNAUTHENTICATED", message, &[reason("ACCESS_TOKEN_TYPE_UNSUPPORTED")])
}

fn reason(word: &str) -> String {
    format!(
        r#"{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"{word}","domain":"googleapis.com","metadata":{{"service":"{SERVICE}"}}}}"#
    )
}

/// A bare status; the wait is told in the details, never in a field.
pub(in crate::simulator) fn failure(code: u16, retry_after: Option<Duration>) -> Denial {
    let (status, message) = status(code);
    match code {
        400 => unknown_key(),
        429 => limited("GenerateRequestsPerMinutePerProjectPerModel", retry_after),
        _ => denial(code, status, message, &[]),
    }
}

/// The 429 of a day's allowance.
pub(in crate::simulator) fn quota() -> Denial {
    limited("GenerateRequestsPerDayPerProjectPerModel-FreeTier", None)
}

fn limited(id: &str, wait: Option<Duration>) -> Denial {
    let mut message =
        "You exceeded your current quota, please check your plan and billing details. For more information \
                       on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits."
            .to_owned();
    let mut details = vec![
        format!(
            r#"{{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{{"quotaMetric":"{SERVICE}/generate_content_requests","quotaId":"{id}"}}]}}"#
        ),
        r#"{"@type":"type.googleapis.com/google.rpc.Help","links":[{"description":"Learn more about Gemini API quotas","url":"https://ai.google.dev/gemini-api/docs/rate-limits"}]}"#.to_owned(),
    ];
    if let Some(wait) = wait {
        let seconds = wait.as_secs_f64();
        let _ = write!(message, " Please retry in {seconds}s.");
        details.push(format!(r#"{{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"{seconds}s"}}"#));
    }
    denial(429, "RESOURCE_EXHAUSTED", &message, &details)
}

fn status(code: u16) -> (&'static str, &'static str) {
    match code {
        401 => ("UNAUTHENTICATED", "Request is missing required authentication credential."),
        403 => ("PERMISSION_DENIED", "The caller does not have permission"),
        404 => ("NOT_FOUND", "Requested entity was not found."),
        499 => ("CANCELLED", "The operation was cancelled."),
        503 => ("UNAVAILABLE", "The model is overloaded. Please try again later."),
        504 => ("DEADLINE_EXCEEDED", "The request timed out. Please try again."),
        500..=599 => (
            "INTERNAL",
            "An internal error has occurred. Please retry or report in \
             https://developers.generativeai.google/guide/troubleshooting",
        ),
        _ => ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    }
}

/// The error object that breaks a stream.
pub(super) fn event() -> String {
    let (status, message) = status(503);
    format!(r#"{{"error":{{"code":503,"message":"{message}","status":"{status}"}}}}"#)
}

/// A breach of the tables, in the words of the JSON reader in front of the service.
pub(super) fn breach(found: &Breach) -> Denial {
    let (last, above) = found.path.split_last().map_or((None, &[][..]), |(last, above)| (Some(last), above));
    let at = place(&found.path);
    let (field, message) = match &*found.wrong {
        Wrong::Unknown => {
            let name = match last {
                Some(Step::Member(name)) => name.as_str(),
                _ => "",
            };
            let above = place(above);
            let at = if above.is_empty() { String::new() } else { format!(" at '{above}'") };
            let message = format!("Invalid JSON payload received. Unknown name \"{name}\"{at}: Cannot find field.");
            (above, message)
        }
        Wrong::Kind(kind, value) => (at.clone(), format!("Invalid value at '{at}' ({}), {value}", kind_word(kind))),
        Wrong::Word(_, value) => (
            at.clone(),
            format!("Invalid value at '{at}' (type.googleapis.com/google.ai.generativelanguage.v1beta.Enum), {value}"),
        ),
        Wrong::Range(low, high, value) => {
            let message = format!("* {at}: value must be in the range [{low}, {high}], got {value}\n");
            return invalid(&message);
        }
        Wrong::Missing | Wrong::Blank | Wrong::Tag(..) => return invalid(&format!("* {at}: must be set\n")),
    };
    let description = quote(&message);
    let violation = format!(
        r#"{{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{{"field":{},"description":{description}}}]}}"#,
        quote(&field)
    );
    denial(400, "INVALID_ARGUMENT", &message, &[violation])
}

fn kind_word(kind: &str) -> &'static str {
    match kind {
        "string" => "TYPE_STRING",
        "boolean" => "TYPE_BOOL",
        "integer" => "TYPE_INT32",
        "number" => "TYPE_FLOAT",
        _ => "type.googleapis.com/google.ai.generativelanguage.v1beta.Message",
    }
}

/// A place as Google writes it: `contents[0].parts[1].function_call`.
fn place(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Member(name) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(&snake(name));
            }
            Step::Item(position) => {
                let _ = write!(out, "[{position}]");
            }
            Step::Tag(_) => {}
        }
    }
    out
}
