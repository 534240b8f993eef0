//! What every answer tells a browser, and what browsers report of it.
//!
//! The policy allows our own scripts, styles and requests and nothing else. A browser that had to stop something says so at
//! `/csp-report`; reports are counted and the last one is kept in two words, for the tests and for whoever wonders.

use super::Door;
use super::gate::signed_out;
use crate::admin::Refusal;
use crate::domain::text::bounded;
use crate::limits::LOG_TEXT_BYTES_MAX;
use crate::limits::dashboard::POLICY_REPORT_BYTES_MAX;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;

/// What browsers have reported.
#[derive(Debug, Default)]
pub(super) struct Reports {
    count: u64,
    /// Directive and place of the last one.
    last: Option<(String, String)>,
}

/// Adds the fields that every answer has.
pub(super) async fn fields(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in FIELDS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// `POST /csp-report`: what a browser stopped. Anybody may say so: it is counted, and nothing else comes of it.
pub(super) async fn take(State(door): State<Arc<Door>>, body: Bytes) -> StatusCode {
    let report = (body.len() <= POLICY_REPORT_BYTES_MAX).then(|| serde_json::from_slice::<Value>(&body).ok()).flatten();
    let word = |name: &str| {
        let text = report.as_ref().and_then(|report| report["csp-report"][name].as_str()).unwrap_or_default();
        // A place may hold a query; its path is enough.
        bounded(text.split(['?', '#']).next().unwrap_or_default(), LOG_TEXT_BYTES_MAX)
    };
    let mut reports = door.reports();
    reports.count = reports.count.saturating_add(1);
    reports.last = Some((word("effective-directive"), word("blocked-uri")));
    StatusCode::NO_CONTENT
}

/// `GET /csp-report`: how many there were, for who is signed in.
pub(super) async fn show(State(door): State<Arc<Door>>, fields: HeaderMap) -> Result<Response, Refusal> {
    door.seated(&fields).ok_or_else(signed_out)?;
    let reports = door.reports();
    let last = reports.last.as_ref().map(|(directive, blocked)| json!({ "directive": directive, "blocked": blocked }));
    Ok(Json(json!({ "count": reports.count, "last": last })).into_response())
}

/// The same on every answer. `same-origin` and not `no-referrer`: without a referrer the login form would have no `Origin` either.
const FIELDS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'; \
         report-uri /csp-report",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];
