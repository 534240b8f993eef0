//! Refusals in the words and shape of Bedrock: an exception's name in a field, its message in the body.

use crate::simulator::shape::{Breach, Step, Wrong};
use crate::simulator::surface::Denial;
use crate::simulator::text::quote;
use serde_json::Value;
use std::time::Duration;

/// An exception.
pub(super) fn denial(status: u16, kind: &str, message: &str) -> Denial {
    let mut denial = Denial::new(status, format!(r#"{{"message":{}}}"#, quote(message)));
    denial.fields.push(format!("x-amzn-ErrorType: {kind}"));
    denial
}

/// A 400 about the meaning of a request.
pub(in crate::simulator) fn invalid(message: &str) -> Denial {
    denial(400, "ValidationException", message)
}

/// A bare status.
pub(in crate::simulator) fn failure(status: u16, retry_after: Option<Duration>) -> Denial {
    let (kind, message) = match status {
        401 | 403 => (
            "AccessDeniedException",
            "User is not authorized to perform: bedrock:InvokeModel on resource because no identity-based policy allows it",
        ),
        404 => ("ResourceNotFoundException", "The specified resource ARN was not found."),
        408 => ("ModelTimeoutException", "Model has timed out in processing the request. Try your request again."),
        424 => ("ModelErrorException", "The system encountered an unexpected error during processing."),
        429 => ("ThrottlingException", "Too many requests, please wait before trying again."),
        503 => ("ServiceUnavailableException", "Bedrock is unable to process your request."),
        500..=599 => ("InternalServerException", "The system encountered an unexpected error during processing."),
        _ => ("ValidationException", "The request could not be served."),
    };
    denial(status, kind, message).retry_after(retry_after)
}

/// The 429 of a day's allowance.
pub(in crate::simulator) fn quota() -> Denial {
    denial(429, "ThrottlingException", "Too many tokens per day, please wait before trying again.")
}

/// A breach of the tables, in the words of AWS's validation.
pub(super) fn breach(found: &Breach) -> Denial {
    let at = place(&found.path);
    let constraint = |value: &dyn std::fmt::Display, rule: String| {
        invalid(&format!(
            "1 validation error detected: Value '{value}' at '{at}' failed to satisfy constraint: Member must {rule}"
        ))
    };
    match &*found.wrong {
        Wrong::Unknown => denial(400, "SerializationException", &format!("Unexpected field '{at}'")),
        Wrong::Missing => constraint(&"null", "not be null".into()),
        Wrong::Kind(kind, value) => {
            let message = format!("{} can not be converted to {kind} at '{at}'", token_of(value));
            denial(400, "SerializationException", &message)
        }
        Wrong::Range(low, high, value) => {
            let below = value.as_f64().zip(low.parse().ok()).is_some_and(|(value, low): (f64, f64)| value < low);
            let (side, bound) = if below { ("greater", low) } else { ("less", high) };
            constraint(value, format!("have value {side} than or equal to {bound}"))
        }
        Wrong::Word(known, value) => {
            constraint(&value.as_str().unwrap_or_default(), format!("satisfy enum value set: [{}]", known.join(", ")))
        }
        Wrong::Tag(_, _, value) => constraint(value, "be of a known kind".into()),
        Wrong::Blank => constraint(&"", "have length greater than or equal to 1".into()),
    }
}

fn token_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(number) if number.is_f64() => "DECIMAL_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => "START_ARRAY",
        Value::Object(_) => "START_OBJECT",
    }
}

/// A place as AWS writes it: `messages.1.member.content`, counted from one.
fn place(path: &[Step]) -> String {
    let step = |step: &Step| match step {
        Step::Member(name) => name.clone(),
        Step::Item(position) => format!("{}.member", position + 1),
        Step::Tag(_) => String::new(),
    };
    path.iter().map(step).filter(|step| !step.is_empty()).collect::<Vec<_>>().join(".")
}
