//! Passing an answer on: what `unary` and `events` share, and bytes that nobody here reads.
//!
//! Nothing goes to the client before the first piece of the answer is there, so an answer that fails at once can still be had from
//! somewhere else. The attempt is closed in the books before the last byte goes out (rule L3). The client is watched all the while. The provider's connection goes back to its pool before the client is written to.

use super::attempt::{self, Answer, Facts, Failure, unless_lost};
use super::downstream::Downstream;
use super::draft::Draft;
use super::exchange::{Exchange, Next};
use super::folio::Folio;
use super::inquiry::Inquiry;
use super::limit_fields;
use super::meter::{Choice, Metadata};
use super::plan::{Candidate, Plan};
use super::reply;
use super::stream::StreamFacts;
use super::surface::Task;
use super::timing::whole_millis;
use super::together::Together;
use super::upstream::Upstream;
use crate::chat::fault::UpstreamFault;
use crate::dialects::Wire;
use crate::domain::token::Usage;
use crate::http::body::Step;
use crate::http::head::{Method, Version};
use crate::http::write;
use crate::limits;
use crate::metering::price::Cost;
use crate::report::Outcome;
use crate::rt::{self, Buf, Deadline, Elapsed};
use crate::snapshot::Provider;
use crate::vault::scrub::Scrubber;
use std::io;
use std::time::Instant;

/// Who passes what to whom.
pub struct Passage<'a> {
    /// What was asked.
    pub inquiry: &'a Inquiry<'a>,
    /// What was sent for it.
    pub draft: Draft,
    /// Who answers.
    pub candidate: &'a Candidate,
    /// The provider behind it.
    pub provider: &'a Provider,
    /// Why this one.
    pub plan: &'a Plan,
    /// Its page in the books.
    pub folio: Folio,
    /// Who else was asked at the same time, for the answer to tell.
    pub together: Option<Box<Together>>,
}

impl Passage<'_> {
    /// Whether answers in the client's dialect show the gateway's `metadata` (the OpenAI family alone, so that native clients see nothing
    /// foreign).
    pub fn shows_metadata(&self, exchange: &Exchange<'_>) -> bool {
        let ask = self.inquiry.ask;
        let is_carried = matches!(ask.task, Task::Raw(_) | Task::Object(_));
        exchange.snapshot.settings.metadata && !is_carried && matches!(ask.wire, Wire::Chat | Wire::Responses)
    }

    /// Takes out of a provider's words the credential that they may quote (rule R3).
    pub fn scrub(&self, fault: &mut UpstreamFault) {
        fault.message = self.scrubbed(&fault.message);
        fault.code = fault.code.take().map(|code| self.scrubbed(&code));
    }

    /// The same for one of its words.
    pub fn scrubbed(&self, text: &str) -> String {
        let secret = self.candidate.credential.as_deref().map(|credential| &*credential.secret);
        String::from_utf8_lossy(&Scrubber::new(secret.as_slice()).scrub(text.as_bytes())).into_owned()
    }

    /// The same for header lines; a look for the key itself decides whether more is to be done.
    pub fn scrub_lines(&self, lines: &mut Vec<u8>) {
        let Some(credential) = self.candidate.credential.as_deref() else { return };
        // The last letter of a key is in few lines, and no search has to be prepared for it.
        let key = credential.secret.expose();
        let Some(last) = key.last() else { return };
        let is_quoted = |at| lines.get(..=at).is_some_and(|until| until.ends_with(key));
        if memchr::memchr_iter(*last, lines).any(is_quoted) {
            *lines = Scrubber::new(&[&credential.secret]).scrub(lines).into_owned();
        }
    }
}

/// What has passed to the client.
pub struct Passed {
    /// What becomes of its connection.
    pub next: Next,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// What was learnt on the way.
    pub facts: StreamFacts,
}

/// How a relay ended.
pub enum Relayed {
    /// The client has had something.
    Served(Passed),
    /// The client has had a part, and another provider may go on from there: see `exchange.continuation`.
    Interrupted(Passed),
    /// The client has had nothing, and the answer is an error in disguise.
    Fault(UpstreamFault),
    /// The client has had nothing, and there is no answer.
    Failed(Failure),
}

/// Reads an answer's body whole, up to `max` bytes; longer is [`Failure::Broken`].
pub async fn collect(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    answer: &mut Answer,
    max: usize,
) -> Result<Buf, Failure> {
    let mut body = Buf::lease(answer.remaining().map_or(0, |length| length.min(max as u64) as usize));
    let mut counted = 0;
    while take_available(answer, |piece| body.extend(piece))? == More::Wanted {
        exchange.hold.count((body.len() - counted) as u64);
        counted = body.len();
        if body.len() > max {
            return Err(Failure::Broken);
        }
        wait(exchange, down, answer).await?;
    }
    Ok(body)
}

/// Whether an answer's body goes on.
#[derive(PartialEq, Eq)]
pub enum More {
    /// More bytes must come.
    Wanted,
    /// That was all.
    Ended,
}

/// Hands the payload that has arrived to `each`, piece by piece.
pub fn take_available(answer: &mut Answer, mut each: impl FnMut(&[u8])) -> Result<More, Failure> {
    let Upstream { transport, facts: Facts { body: reader, early, .. }, .. } = &mut *answer.upstream;
    if !early.is_empty() {
        each(early.bytes());
        early.clear();
    }
    let input = transport.input();
    loop {
        if reader.is_end() {
            return Ok(More::Ended);
        }
        let step = reader.feed(input.bytes()).map_err(|_| Failure::Broken)?;
        if let Step::Data { data, .. } = &step {
            each(&input.bytes()[data.clone()]);
        }
        input.consume(step.consumed());
        if matches!(step, Step::NeedMore { .. }) {
            return Ok(More::Wanted);
        }
    }
}

/// Waits for the next bytes of an answer; its clean end by closing counts as progress.
pub async fn wait(exchange: &mut Exchange<'_>, down: &mut Downstream, answer: &mut Answer) -> Result<(), Failure> {
    wait_from(exchange, down, answer, &mut Deadline::new(), rt::now()).await.map(|_| ())
}

/// The same from `began` on, which is about now, with a deadline that is kept from one wait to the next; when the bytes were there.
pub async fn wait_from(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    answer: &mut Answer,
    deadline: &mut Deadline,
    began: Instant,
) -> Result<Instant, Failure> {
    let settings = &exchange.snapshot.settings;
    deadline.at((began + settings.stream_silence).min(exchange.began + settings.exchange_deadline));
    let filled = unless_lost(down, deadline.run(answer.upstream.transport.fill())).await;
    let now = rt::now();
    exchange.waited += now.saturating_duration_since(began);
    settle_fill(answer, filled?).map(|()| now)
}

/// The same without a client beside it.
pub async fn fill(answer: &mut Answer, deadline: Instant) -> Result<(), Failure> {
    let filled = rt::with_deadline(deadline, answer.upstream.transport.fill()).await;
    settle_fill(answer, filled)
}

fn settle_fill(answer: &mut Answer, filled: Result<io::Result<usize>, Elapsed>) -> Result<(), Failure> {
    match filled {
        Err(_elapsed) => Err(Failure::TimedOut),
        Ok(Err(_)) => Err(Failure::Broken),
        Ok(Ok(0)) if answer.upstream.transport.clean_eof() => answer.body.close().map_err(|_| Failure::Broken),
        Ok(Ok(0)) => Err(Failure::Broken),
        Ok(Ok(_)) => Ok(()),
    }
}

// ---- Anything else ----------------------------------------------------------------------------------------------------------

/// Relays bytes that we cannot or need not read, with the provider's own length where it gave one.
pub async fn opaque(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    passage: &Passage<'_>,
    mut answer: Answer,
) -> Relayed {
    let framer = match answer.remaining() {
        _ if answer.status == 204 || passage.inquiry.method() == Method::Head => Framer::Nothing,
        Some(length) => Framer::Length(length),
        None => Framer::of(exchange),
    };
    let out = down.output().vec_mut();
    begin(exchange, out, answer.status, &answer.kept, &answer.content_type);
    identify(exchange, passage, rt::now(), out);
    framer.end_head(out);
    let facts = StreamFacts::default();
    let mut body = Buf::new();
    loop {
        let taken = take_available(&mut answer, |piece| body.extend(piece));
        if !body.is_empty() {
            passage.folio.passed(&facts, body.len(), rt::coarse_now());
            framer.piece(down.output().vec_mut(), body.bytes());
            body.clear();
        }
        let more = match taken {
            Ok(More::Ended) => break,
            Ok(More::Wanted) => match down.flush().await {
                Ok(()) => wait(exchange, down, &mut answer).await,
                Err(_) => Err(Failure::ClientGone),
            },
            Err(failure) => Err(failure),
        };
        match more {
            Ok(()) => {}
            Err(Failure::ClientGone) => return served(Next::Abort, Outcome::ClientGone, &facts),
            Err(_) => {
                passage.folio.answers(Outcome::Broken, &facts);
                // What has been received goes out; the missing end tells the client.
                let _ = down.flush().await;
                return served(Next::Abort, Outcome::Broken, &facts);
            }
        }
    }
    attempt::give_back(exchange.core, &passage.provider.origin, answer);
    framer.end(down.output().vec_mut());
    passage.folio.answers(Outcome::Completed, &facts);
    served(exchange.finish(down).await, Outcome::Completed, &facts)
}

/// The client has had something, and this is how it ended.
pub fn served(next: Next, outcome: Outcome, facts: &StreamFacts) -> Relayed {
    Relayed::Served(Passed { next, outcome, facts: *facts })
}

// ---- Heads and framing ------------------------------------------------------------------------------------------------------

/// Begins the head of an answer, with what is kept of the provider's.
pub fn begin(exchange: &Exchange<'_>, out: &mut Vec<u8>, status: u16, kept: &[u8], content_type: &[u8]) {
    exchange.notes.told(status);
    reply::begin_head(out, status, exchange.stamp());
    match &exchange.grant {
        None => out.extend_from_slice(kept),
        Some(grant) => limit_fields::keep_others(out, kept, grant, exchange.face),
    }
    if !content_type.is_empty() {
        reply::field(out, "content-type", content_type);
    }
}

/// Who answered, after how many attempts, and what of the time was ours.
pub fn identify(exchange: &Exchange<'_>, passage: &Passage<'_>, now: Instant, out: &mut Vec<u8>) {
    reply::field(out, "x-igris-provider", passage.provider.id.as_str().as_bytes());
    if !passage.candidate.target.model.is_empty() {
        reply::field(out, "x-igris-model", passage.candidate.target.model.as_bytes());
    }
    reply::number_field(out, "x-igris-attempts", exchange.attempts);
    reply::number_field(out, "x-igris-overhead-us", exchange.own_us(now));
    if !passage.draft.dropped.is_empty() {
        reply::field(out, "x-igris-dropped", &dropped_line(&passage.draft.dropped));
    }
}

/// The names of left-out members in one field value. They may be a client's own words: only what member names and paths are made of passes.
fn dropped_line(names: &[String]) -> Vec<u8> {
    let mut line = Vec::new();
    for name in names {
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'[' | b']' | b':');
        let name: Vec<u8> = name.bytes().filter(fits).take(limits::DROPPED_NAME_BYTES_MAX).collect();
        if line.len() + name.len() + 1 > limits::DROPPED_LINE_BYTES_MAX {
            break;
        }
        if !line.is_empty() {
            line.push(b',');
        }
        line.extend_from_slice(&name);
    }
    line
}

/// The facts of the `metadata` member of an answer that has used this, as of now.
pub fn metadata_of<'m>(exchange: &'m Exchange<'_>, passage: &'m Passage<'_>, usage: Option<Usage>) -> Metadata<'m> {
    let cost = passage.folio.cost(usage.as_ref());
    metadata(exchange, passage, (usage, cost), rt::coarse_now())
}

/// The same where its cost is known, as of `now`.
pub fn metadata<'m>(
    exchange: &'m Exchange<'_>,
    passage: &'m Passage<'_>,
    (usage, cost): (Option<Usage>, Option<Cost>),
    now: Instant,
) -> Metadata<'m> {
    let legs = &exchange.legs;
    Metadata {
        provider: passage.provider.id.as_str(),
        model_used: &passage.candidate.target.model,
        model_requested: &passage.inquiry.ask.model_name,
        usage: usage.map(|last| legs.usage.plus(&last)),
        cost: legs.with_cost(cost),
        latency_ms: whole_millis(now.saturating_duration_since(exchange.began)),
        trace_id: exchange.id,
        tenant: &passage.inquiry.key.tenant,
        choice: Choice {
            policy: passage.plan.policy,
            exploration: passage.plan.exploration,
            lane: &passage.candidate.lane,
            considered: &passage.plan.considered,
        },
        attempts: exchange.attempts,
        continued_from: &legs.from,
        together: passage.together.as_deref(),
    }
}

/// How the client learns where the body ends.
#[derive(Clone, Copy)]
pub enum Framer {
    /// It was told beforehand.
    Length(u64),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection: HTTP/1.0.
    Close,
    /// There is none: a 204, or the answer to a HEAD (RFC 9110 §8.6).
    Nothing,
}

impl Framer {
    /// How a body of unknown length is framed for this client.
    pub fn of(exchange: &mut Exchange<'_>) -> Self {
        match exchange.version {
            Version::Http11 => Framer::Chunked,
            Version::Http10 => {
                exchange.persist = false;
                Framer::Close
            }
        }
    }

    /// Ends the head with what frames the body.
    pub fn end_head(self, out: &mut Vec<u8>) {
        match self {
            Framer::Length(length) => reply::number_field(out, "content-length", length),
            Framer::Chunked => reply::field(out, "transfer-encoding", b"chunked"),
            Framer::Close | Framer::Nothing => {}
        }
        reply::end_head(out);
    }

    /// Writes a piece of the body.
    pub fn piece(self, out: &mut Vec<u8>, bytes: &[u8]) {
        match self {
            Framer::Chunked if bytes.is_empty() => {}
            Framer::Chunked => write::chunk(out, bytes),
            Framer::Nothing => {}
            Framer::Length(_) | Framer::Close => out.extend_from_slice(bytes),
        }
    }

    /// Writes what ends the body.
    pub fn end(self, out: &mut Vec<u8>) {
        if let Framer::Chunked = self {
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }
}
