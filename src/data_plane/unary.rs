//! An answer that is one JSON text: collected, then passed on with `metadata`, or said again in the client's dialect.
//!
//! Collected first, so that it leaves in one write and can still be had elsewhere if it breaks off or turns out to be an error in disguise.

use super::attempt::{self, Answer, Failure};
use super::downstream::Downstream;
use super::draft::Carriage;
use super::exchange::Exchange;
use super::object_ids;
use super::relay::{self, Passage, Relayed};
use super::reply;
use super::splice_metadata::{self, Splice};
use super::stream::StreamFacts;
use super::surface::Task;
use crate::chat::fault;
use crate::dialects::cohere::embeddings::Encoding;
use crate::dialects::{Setting, Wire, anthropic, cohere, gemini, responses};
use crate::domain::token::Usage;
use crate::json::{Element, scan};
use crate::limits;
use crate::metering::terms::Tier;
use crate::metering::usage::Accounting;
use crate::metering::{self, tap, usage};
use crate::providers::Dialect;
use crate::report::Outcome;
use crate::rt::{self, Buf};

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
    let in_disguise = || fault::classify_success(book, &|_| None, body.bytes(), rt::wall(rt::coarse_now()));
    if let Some(fault) = (book.in_success && !is_raw).then(in_disguise).flatten() {
        attempt::give_back(exchange.core, &passage.provider.origin, answer);
        return Relayed::Fault(fault);
    }
    let usage = if passes {
        let found = read(passage, body.bytes(), |body, accounting| {
            exchange.core.read_answer(passage.candidate.target.provider, body, accounting)
        });
        let usage = found.usage;
        if let Some(tier) = found.tier {
            passage.folio.served_by(tier);
        }
        let marked = match passage.inquiry.ask.task {
            Task::Object(ref call) if !object_ids::is_content(&call.target) => {
                object_ids::mark_body(body.bytes(), passage.provider.id.as_str())
            }
            _ => None,
        };
        // An answer that was marked shows no metadata of ours, so that where its own is does not matter.
        let (text, metadata) = marked.as_deref().map_or((body.bytes(), found.metadata), |marked| (marked, None));
        let said = Said { body: text, metadata, usage };
        settle(passage, usage);
        write(exchange, down, passage, (answer.status, &answer.kept, &answer.content_type), &said);
        usage
    } else {
        let Some(ready) = said_again(exchange, passage, body.bytes()) else {
            attempt::give_back(exchange.core, &passage.provider.origin, answer);
            return Relayed::Failed(Failure::Broken);
        };
        let said = Said::unread(&ready.body, ready.usage);
        settle(passage, ready.usage);
        write(exchange, down, passage, (answer.status, &answer.kept, &ready.content_type), &said);
        ready.usage
    };
    attempt::give_back(exchange.core, &passage.provider.origin, answer);
    // The clock was read when the head was written.
    let next = exchange.finish_from(down, rt::coarse_now()).await;
    relay::served(next, Outcome::Completed, &StreamFacts::stated(usage))
}

/// The answer is whole: closed in the books before a byte of it goes out (rule L3), and before its head says what the time was spent on.
fn settle(passage: &Passage<'_>, usage: Option<Usage>) {
    passage.folio.answers(Outcome::Completed, &StreamFacts::stated(usage));
}

/// What an answer that passes says it used, by its own format.
pub(super) fn usage_of(passage: &Passage<'_>, body: &[u8]) -> Option<Usage> {
    read(passage, body, usage::answer_of_body).usage
}

/// What one pass over an answer that is passed on finds, by its own format; `openai` reads the one of most.
fn read(
    passage: &Passage<'_>,
    body: &[u8],
    openai: impl FnOnce(&[u8], Accounting) -> metering::answer::Answer,
) -> metering::answer::Answer {
    let task = &passage.inquiry.ask.task;
    let mut read = match (passage.draft.wire, passage.provider.spec.dialect) {
        (Wire::Messages, _) | (_, Dialect::Anthropic) => anthropic::tap::read_answer(body),
        (Wire::Gemini, _) | (_, Dialect::Gemini) => gemini::tap::read_answer(body),
        (Wire::Responses, _) => responses::tap::read_answer(body),
        _ => openai(body, passage.provider.spec.quirks.accounting),
    };
    if matches!(task, Task::CountTokens | Task::Object(_)) {
        read.usage = None;
    }
    read
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
        created: rt::wall(rt::coarse_now()).0 / 1_000,
        usage_event: passage.inquiry.ask.usage_event,
        request: passage.inquiry.body(),
    }
}

/// An answer to be written, in the client's dialect.
pub struct Said<'a> {
    /// All of it.
    pub body: &'a [u8],
    /// The `metadata` member that it has.
    pub metadata: Option<Element>,
    /// What it used, if known.
    pub usage: Option<Usage>,
}

impl<'a> Said<'a> {
    /// One that was written here, and not looked at since.
    pub fn unread(body: &'a [u8], usage: Option<Usage>) -> Self {
        Self { body, metadata: splice_metadata::existing(body), usage }
    }
}

/// Writes a whole answer with its head.
pub fn write(
    exchange: &Exchange<'_>,
    down: &mut Downstream,
    passage: &Passage<'_>,
    (status, kept, content_type): (u16, &[u8], &[u8]),
    said: &Said<'_>,
) {
    let (now, cost) = (rt::now(), passage.folio.cost(said.usage.as_ref()));
    let mut member = Buf::new();
    if passage.shows_metadata(exchange) {
        relay::metadata(exchange, passage, (said.usage, cost), now).write_members(member.vec_mut());
    }
    let splice = Splice::plan(said.body, said.metadata, member.bytes());
    let length = splice.length(said.body, member.bytes());
    let output = down.output();
    output.reserve(length + kept.len() + HEAD_BYTES);
    let out = output.vec_mut();
    relay::begin(exchange, out, status, kept, content_type);
    relay::identify(exchange, passage, now, out);
    if let Some(cost) = cost {
        reply::number_field(out, "x-igris-cost-usd", cost.total);
    }
    reply::number_field(out, "content-length", length);
    reply::end_head(out);
    splice.write(said.body, member.bytes(), out);
}

/// What the head of an answer takes, nearly always; it may be more, and then the buffer grows.
const HEAD_BYTES: usize = 1024;
