//! Answers of the control plane: JSON, and refusals in the shape that OpenAI clients read.
//!
//! A refusal has a status, a stable code and one sentence with its remedy. Its sentence never repeats a value of the request, only
//! names of members and paths, bounded (rules R1 and R5).

use super::again::Again;
use crate::control_plane::ControlError;
use crate::domain::text::bounded;
use crate::limits::LOG_TEXT_BYTES_MAX;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

/// Why a request was not served.
#[derive(Debug)]
pub struct Refusal {
    status: u16,
    code: String,
    message: String,
    param: Option<String>,
    problems: Vec<String>,
    /// Whether the same request may be made again at once: another machine changed something meanwhile.
    again: bool,
}

/// What a route answers: a response, or why not.
pub type Outcome = Result<Response, Refusal>;

/// A JSON answer. It is never cached: it may be about keys, and it is about now.
pub fn json_answer(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => plain(status, "application/json", body),
        // Our own values are maps with text keys; a new one that is not must not take the process down.
        Err(_) => Refusal::new(500, "internal_error", "The answer could not be written as JSON; report this.").into(),
    }
}

/// 200 with a JSON body.
pub fn fine(value: &impl Serialize) -> Outcome {
    Ok(json_answer(StatusCode::OK, value))
}

/// 201 with a JSON body.
pub fn created(value: &impl Serialize) -> Outcome {
    Ok(json_answer(StatusCode::CREATED, value))
}

/// 200 with text of some type.
pub fn text(content_type: &'static str, body: String) -> Response {
    plain(StatusCode::OK, content_type, body.into_bytes())
}

/// An answer of any kind.
pub fn bytes(content_type: &'static str, body: Vec<u8>) -> Response {
    plain(StatusCode::OK, content_type, body)
}

fn plain(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response {
    let fields = [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store")];
    (status, fields, body).into_response()
}

// === impl Refusal ===

impl Refusal {
    /// A refusal in our own words.
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into(), param: None, problems: Vec::new(), again: false }
    }

    /// 400 that blames a member of the body or of the query.
    pub fn member(name: &str, message: impl Into<String>) -> Self {
        let param = Some(bounded(name, LOG_TEXT_BYTES_MAX));
        Self { param, ..Self::new(400, "invalid_request", message) }
    }

    /// 404, the same for a path that nothing serves and for what belongs to another tenant (rule T1).
    pub fn no_such_path(path: &str) -> Self {
        let path = bounded(path, LOG_TEXT_BYTES_MAX);
        let message = format!("There is nothing at {path}; chat is served at POST /v1/chat/completions.");
        Self::new(404, "not_found", message)
    }

    /// 404 for an object that is not there.
    pub fn no_such(what: &str, list: &str) -> Self {
        Self::new(404, "not_found", format!("There is no such {what}; see {list} for those that exist."))
    }

    /// 405 for a path that answers other methods.
    pub fn wrong_method() -> Self {
        Self::new(
            405,
            "method_not_allowed",
            "This path exists but does not answer that method; check whether GET, POST, PATCH or DELETE was meant.",
        )
    }

    /// With every reason, as a refused configuration has many.
    pub fn with_problems(self, problems: Vec<String>) -> Self {
        Self { problems, ..self }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The `type` of the OpenAI error object (<https://platform.openai.com/docs/guides/error-codes>, read 2026-11-23).
    fn kind(&self) -> &'static str {
        match self.status {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        }
    }
}

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Self {
        Self { again: error.is_behind(), ..Self::new(error.status(), error.code(), error.to_string()) }
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let error = json!({
            "message": refusal.message,
            "type": refusal.kind(),
            "param": refusal.param,
            "code": refusal.code,
        });
        let body = if refusal.problems.is_empty() {
            json!({ "error": error })
        } else {
            json!({ "error": error, "problems": refusal.problems })
        };
        let mut response = plain(status, "application/json", body.to_string().into_bytes());
        if refusal.again {
            response.extensions_mut().insert(Again);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.into()
    }
}
