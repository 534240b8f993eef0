//! An answer that is one JSON text: collected, then passed on with `metadata`, or said again in the client's dialect.
//!
//! Collected first, so that it leaves in one write and can still be had elsewhere if it breaks off or turns out to be an error in disguise.

use super::attempt::{self, Answer, Failure};
use super::downstream::Downstream;
use super::draft::Carriage;
use super::exchange::Exchange;
use super::meter;
use super::object_ids;
use super::relay::{self, Passage, Relayed};
use super::reply;
use super::splice_metadata::Splice;
use super::stream::StreamFacts;
use super::surface::Task;
use crate::chat::fault;
use crate::dialects::cohere::embeddings::Encoding;
use crate::dialects::{Setting, Wire, anthropic, cohere, gemini, responses};
use crate::domain::clock::UnixMillis;
use crate::domain::token::Usage;
use crate::json::scan;
use crate::limits;
use crate::metering::terms::Tier;
use crate::metering::{tap, usage};
use crate::providers::Dialect;
use crate::report::Outcome;

/// An answer as the client gets it.
struct Ready {
    body: Vec<u8>,
    usage: Option<Usage>,
    content_type: Vec<u8>,
}

/// Relays an answer that is one JSON text.
pub async fn unary(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    passage: &Passage<'_>,
    mut answer: Answer,
) -> Relayed {
    let passes = passage.draft.carriage == Carriage::Pass;
    let max = if passes { limits::UNARY_BUFFER_BYTES_MAX } else { limits::TRANSLATED_BUFFER_BYTES_MAX };
    if answer.remaining().is_some_and(|length| length > max as u64) {
        return match passes {
            true => relay::opaque(exchange, down, passage, answer).await,
            false => Relayed::Failed(Failure::Broken),
        };
    }
    let body = match relay::collect(exchange, down, &mut answer, max).await {
        Ok(body) => body,
        Err(failure) => return Relayed::Failed(failure),
    };
    // Where only the end of a connection ends a body, the text itself must say that it is whole.
    if answer.until_close && scan::validate(body.bytes(), limits::JSON_DEPTH_MAX).is_err() {
        return Relayed::Failed(Failure::Broken);
    }
    let book = &passage.provider.spec.faults;
    // What a provider's own API says under our authentication is the client's to read, errors in a 200 included.
    let is_raw = matches!(passage.inquiry.ask.task, Task::Raw(_));
    let read = || fault::classify_success(book, &|_| None, body.bytes(), UnixMillis::now());
    if let Some(fault) = (!is_raw).then(read).flatten() {
        attempt::give_back(exchange.core, &passage.provider.origin, answer);
        return Relayed::Fault(fault);
    }
    let (status, kept) = (answer.status, std::mem::take(&mut answer.kept));
    let content_type = std::mem::take(&mut answer.content_type);
    attempt::give_back(exchange.core, &passage.provider.origin, answer);
    let usage = if passes {
        let usage = usage_of(passage, body.bytes());
        if let Some(tier) = meter::tier_of_answer(body.bytes()) {
            passage.folio.served_by(tier);
        }
        let marked = match passage.inquiry.ask.task {
            Task::Object(ref call) if !object_ids::is_content(&call.target) => {
                object_ids::mark_body(body.bytes(), passage.provider.id.as_str())
            }
            _ => None,
        };
        let body = marked.as_deref().unwrap_or(body.bytes());
        write(exchange, down, passage, (status, &kept, &content_type), body, usage);
        usage
    } else {
        let Some(ready) = said_again(exchange, passage, body.bytes()) else { return Relayed::Failed(Failure::Broken) };
        write(exchange, down, passage, (status, &kept, &ready.content_type), &ready.body, ready.usage);
        ready.usage
    };
    let facts = StreamFacts::stated(usage);
    passage.folio.answers(Outcome::Completed, &facts);
    relay::served(exchange.finish(down).await, Outcome::Completed, &facts)
}

/// What an answer that passes says it used, by its own format.
pub(super) fn usage_of(passage: &Passage<'_>, body: &[u8]) -> Option<Usage> {
    let task = &passage.inquiry.ask.task;
    let dialect = passage.provider.spec.dialect;
    match (passage.draft.wire, dialect) {
        _ if matches!(task, Task::CountTokens | Task::Object(_)) => None,
        (Wire::Messages, _) => anthropic::tap::usage_of_response(body),
        (_, Dialect::Anthropic) => anthropic::tap::usage_of_response(body),
        (Wire::Gemini, _) | (_, Dialect::Gemini) => gemini::tap::usage_of_response(body),
        (Wire::Responses, _) => responses::tap::usage_of_response(body),
        _ => usage::usage_from_body(body, passage.provider.spec.quirks.accounting),
    }
}

/// The answer in the client's dialect; `None` if the provider's cannot be read.
fn said_again(exchange: &Exchange<'_>, passage: &Passage<'_>, body: &[u8]) -> Option<Ready> {
    let content_type = b"application/json".to_vec();
    let model = &*passage.candidate.target.model;
    let mut written = Vec::with_capacity(body.len() + 512);
    if let Carriage::Vectors { base64 } = passage.draft.carriage {
        let usage = match passage.draft.wire {
            Wire::Cohere => {
                let encoding = if base64 { Encoding::Base64 } else { Encoding::Float };
                cohere::embeddings::read_response(body, encoding, model, &mut written).ok()?
            }
            // Gemini does not say what it counted; the answer has to.
            _ => {
                let estimate = tap::estimate_tokens(passage.inquiry.body().len());
                gemini::embeddings::read_batch(body, model, base64, estimate, &mut written).ok()?;
                None
            }
        };
        return Some(Ready { body: written, usage, content_type });
    }
    let side = passage.inquiry.ask.wire.client_side()?;
    let response = (passage.draft.wire.provider_side().read_response)(body).ok()?;
    if let Some(tier) = &response.service_tier {
        passage.folio.served_by(Tier::named(tier));
    }
    let id = exchange.id_letters();
    (side.write_response)(&response, &setting(passage, &id), &mut written);
    Some(Ready { body: written, usage: response.usage, content_type })
}

/// What an answer in the client's dialect is written with.
pub fn setting<'a>(passage: &Passage<'a>, id: &'a str) -> Setting<'a> {
    Setting {
        id,
        model: &passage.candidate.target.model,
        created: UnixMillis::now().0 / 1_000,
        usage_event: passage.inquiry.ask.usage_event,
        request: passage.inquiry.body(),
    }
}

/// Writes a whole answer with its head.
pub fn write(
    exchange: &Exchange<'_>,
    down: &mut Downstream,
    passage: &Passage<'_>,
    (status, kept, content_type): (u16, &[u8], &[u8]),
    body: &[u8],
    usage: Option<Usage>,
) {
    let mut member = Vec::new();
    if passage.shows_metadata(exchange) {
        relay::metadata(exchange, passage, usage).write_members(&mut member);
    }
    let splice = Splice::plan(body, &member);
    let length = splice.length(body, &member);
    let out = down.output().vec_mut();
    out.reserve(length + kept.len() + 1024);
    relay::begin(exchange, out, status, kept, content_type);
    relay::identify(exchange, passage, out);
    if let Some(cost) = passage.folio.cost(usage.as_ref()) {
        reply::number_field(out, "x-igris-cost-usd", cost.total);
    }
    reply::number_field(out, "content-length", length);
    reply::end_head(out);
    splice.write(body, &member, out);
}
