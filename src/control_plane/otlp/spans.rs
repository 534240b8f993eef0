//! Exchanges as spans: a server's span for each, and below it a client's span for each attempt.

use super::Telling;
use super::attributes::{Attributes, SCHEMA, operation, provider, resource, scope};
use super::proto::{KeyValue, ResourceSpans, ScopeSpans, Span, Status, Traces};
use crate::config::Otlp;
use crate::control_plane::access_log::cost;
use crate::domain::trace::{attempt_span, exchange_span};
use crate::report::exchange::{ExchangeReport, Finish};
use crate::report::{AttemptReport, Outcome};

/// `SPAN_KIND_SERVER`.
const SERVER: i32 = 2;
/// `SPAN_KIND_CLIENT`.
const CLIENT: i32 = 3;
/// `STATUS_CODE_ERROR`.
const ERROR: i32 = 2;
/// The parent is known to be ours.
const PARENT_IS_LOCAL: u32 = 0x100;
/// The parent is known to be another process's.
const PARENT_IS_REMOTE: u32 = 0x300;

/// What is sent for a batch.
pub(super) fn request(batch: &[Telling], terms: &Otlp) -> Traces {
    let spans = batch.iter().flat_map(spans_of).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans }];
    let schema_url = SCHEMA.to_owned();
    Traces { resource_spans: vec![ResourceSpans { resource: Some(resource(terms)), scope_spans, schema_url }] }
}

/// Whether an exchange ended as nobody wants it to: by the conventions for HTTP servers, a client's own mistake is none.
pub(super) fn failed(exchange: &ExchangeReport) -> bool {
    exchange.status >= 500 || matches!(exchange.finish, Finish::Broken | Finish::Shed)
}

fn spans_of(telling: &Telling) -> Vec<Span> {
    let Telling { exchange, servers } = telling;
    let start = exchange.began.0.saturating_mul(1_000_000);
    let whole = start..start + u64::from(exchange.times.total_us) * 1_000;
    let mut spans = Vec::with_capacity(1 + exchange.attempts.len());
    spans.push(Span {
        trace_id: exchange.trace.id.to_be_bytes().to_vec(),
        span_id: exchange_span(exchange.id).to_be_bytes().to_vec(),
        parent_span_id: exchange.trace.parent.map_or_else(Vec::new, |parent| parent.to_be_bytes().to_vec()),
        name: format!("{} {}", exchange.method, exchange.surface.template()),
        kind: SERVER,
        start_time_unix_nano: whole.start,
        end_time_unix_nano: whole.end,
        attributes: exchange_attributes(exchange),
        status: status(failed(exchange).then(|| error_of(exchange))),
        flags: u32::from(exchange.trace.sampled) | if exchange.trace.parent.is_some() { PARENT_IS_REMOTE } else { 0 },
    });
    for (attempt, server) in exchange.attempts.iter().zip(servers) {
        // Clocks of a millisecond must not let a child outlive its parent.
        let start = (attempt.started.0.saturating_mul(1_000_000)).clamp(whole.start, whole.end);
        let end = (start + u64::from(attempt.total_us) * 1_000).clamp(start, whole.end);
        let error = (!matches!(attempt.outcome, Outcome::Completed | Outcome::Superseded | Outcome::ClientGone))
            .then(|| attempt_error(attempt));
        spans.push(Span {
            trace_id: exchange.trace.id.to_be_bytes().to_vec(),
            span_id: attempt_span(attempt.attempt).to_be_bytes().to_vec(),
            parent_span_id: exchange_span(exchange.id).to_be_bytes().to_vec(),
            name: format!("{} {}", operation(exchange.surface), attempt.model).trim_end().to_owned(),
            kind: CLIENT,
            start_time_unix_nano: start,
            end_time_unix_nano: end,
            attributes: attempt_attributes(exchange, attempt, server.as_ref(), error.as_deref()),
            status: status(error),
            flags: u32::from(exchange.trace.sampled) | PARENT_IS_LOCAL,
        });
    }
    spans
}

fn status(error: Option<String>) -> Option<Status> {
    error.map(|message| Status { message, code: ERROR })
}

fn exchange_attributes(exchange: &ExchangeReport) -> Vec<KeyValue> {
    let mut told = Attributes::default();
    told.text("http.request.method", exchange.method)
        .text("http.route", exchange.surface.template())
        .text("igris.request_id", exchange.id.to_string())
        .text("igris.finish", exchange.finish.as_str())
        .whole("igris.attempts", exchange.attempts.len() as u64)
        .whole("igris.overhead_us", exchange.times.overhead_us.into())
        .whole("http.request.size", exchange.bytes_in)
        .whole("http.response.size", exchange.bytes_out);
    if exchange.status > 0 {
        told.whole("http.response.status_code", exchange.status.into());
    }
    if failed(exchange) {
        told.text("error.type", error_of(exchange));
    }
    if let Some(asker) = &exchange.asker {
        told.text("igris.tenant", asker.tenant.as_str()).text("igris.access_key", asker.access_key.to_string());
    }
    if let Some(model) = &exchange.model {
        told.text("gen_ai.request.model", &**model);
    }
    if let Some(policy) = exchange.policy {
        told.text("igris.policy", policy.as_str());
    }
    if let Some(cost) = cost(&exchange.attempts) {
        told.number("igris.cost_usd", cost.to_usd());
    }
    told.0
}

fn attempt_attributes(
    exchange: &ExchangeReport,
    attempt: &AttemptReport,
    server: Option<&(String, u16)>,
    error: Option<&str>,
) -> Vec<KeyValue> {
    let mut told = Attributes::default();
    let provider = provider(attempt.provider.as_str());
    told.text("gen_ai.operation.name", operation(exchange.surface))
        .text("gen_ai.provider.name", provider)
        .text("gen_ai.system", provider)
        .text("igris.provider", attempt.provider.as_str())
        .text("igris.policy", attempt.policy.as_str())
        .text("igris.attempt_id", attempt.attempt.to_string())
        .text("igris.outcome", attempt.outcome.name())
        .truth("igris.stream", attempt.stream);
    if !attempt.model.is_empty() {
        told.text("gen_ai.request.model", &*attempt.model);
        if attempt.outcome == Outcome::Completed {
            told.text("gen_ai.response.model", &*attempt.model);
        }
    }
    if attempt.usage != Default::default() {
        told.whole("gen_ai.usage.input_tokens", attempt.usage.input);
        told.whole("gen_ai.usage.output_tokens", attempt.usage.output);
        told.whole("gen_ai.usage.cache_read.input_tokens", attempt.usage.cached_input);
    }
    if let Some((host, port)) = server {
        told.text("server.address", host.as_str()).whole("server.port", (*port).into());
    }
    if attempt.status > 0 {
        told.whole("http.response.status_code", attempt.status.into());
    }
    if attempt.first_token_us > 0 {
        told.number("gen_ai.response.time_to_first_chunk", f64::from(attempt.first_token_us) / 1e6);
    }
    if let Some(cost) = attempt.cost {
        told.number("igris.cost_usd", cost.to_usd());
    }
    if let Some(error) = error {
        told.text("error.type", error);
    }
    told.0
}

/// A code of ours, else what became of it, else the status.
fn error_of(exchange: &ExchangeReport) -> String {
    match (&exchange.error, exchange.finish) {
        (Some(code), _) => code.to_string(),
        (None, Finish::Completed) => exchange.status.to_string(),
        (None, finish) => finish.as_str().to_owned(),
    }
}

fn attempt_error(attempt: &AttemptReport) -> String {
    match attempt.outcome {
        Outcome::Refused if attempt.status > 0 => attempt.status.to_string(),
        outcome => outcome.name().to_owned(),
    }
}
