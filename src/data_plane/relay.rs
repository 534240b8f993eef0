//! Passing an answer on: whole when it is one JSON text, as it comes when it is a stream, untouched when we cannot read it.
//!
//! Nothing goes to the client before the first piece of the answer is there, so an answer that fails at once can still be had from
//! somewhere else. The client is watched all the while. The provider's connection goes back to its pool before the client is written to.

use super::attempt::{self, Answer, Failure, unless_gone};
use super::downstream::Downstream;
use super::exchange::{Exchange, Next};
use super::failover::Chat;
use super::meter::{self, Metadata};
use super::plan::Candidate;
use super::reply;
use super::splice_metadata::Splice;
use super::stream::{Progress, StreamFacts, StreamRelay, StreamWishes};
use crate::chat::fault::{self, FaultClass, UpstreamFault};
use crate::domain::clock::UnixMillis;
use crate::domain::token::Usage;
use crate::http::body::Step;
use crate::http::head::Version;
use crate::http::write;
use crate::json::scan;
use crate::limits;
use crate::metering::usage;
use crate::report::{Held, Outcome};
use crate::routing::policy::Policy;
use crate::rt::{self, Buf};
use crate::snapshot::Provider;
use crate::vault::scrub::Scrubber;
use memchr::memmem;
use std::time::Instant;

/// Who passes what to whom.
pub struct Passage<'a> {
    /// What was asked.
    pub chat: &'a Chat<'a>,
    /// Who answers.
    pub candidate: &'a Candidate,
    /// The provider behind it.
    pub provider: &'a Provider,
    /// Why this one.
    pub policy: Policy,
}

impl Passage<'_> {
    /// Takes out of a provider's words the credential that they may quote (rule R3).
    pub fn scrub(&self, fault: &mut UpstreamFault) {
        let secret = self.candidate.credential.as_deref().map(|credential| &credential.secret);
        let scrubber = Scrubber::new(secret.as_slice());
        let clean = |text: &str| String::from_utf8_lossy(&scrubber.scrub(text.as_bytes())).into_owned();
        fault.message = clean(&fault.message);
        fault.code = fault.code.take().map(|code| clean(&code));
    }

    /// The same for header lines; a look for the key itself decides whether more is to be done.
    pub fn scrub_lines(&self, lines: &mut Vec<u8>) {
        let Some(credential) = self.candidate.credential.as_deref() else { return };
        if memmem::find(lines, credential.secret.expose()).is_some() {
            *lines = Scrubber::new(&[&credential.secret]).scrub(lines).into_owned();
        }
    }
}

/// How a relay ended.
pub enum Relayed {
    /// The client has had something.
    Served {
        /// What becomes of its connection.
        next: Next,
        /// How the attempt ended.
        outcome: Outcome,
        /// The provider's figure.
        usage: Option<Usage>,
        /// Bytes of generated text seen.
        content_bytes: usize,
    },
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
    let mut body = Buf::lease(answer.body.remaining().map_or(0, |length| length.min(max as u64) as usize));
    while take_available(answer, |piece| body.extend(piece))? == More::Wanted {
        if body.len() > max {
            return Err(Failure::Broken);
        }
        wait(exchange, down, answer).await?;
    }
    Ok(body)
}

#[derive(PartialEq, Eq)]
enum More {
    Wanted,
    Ended,
}

/// Hands the payload that has arrived to `each`, piece by piece.
fn take_available(answer: &mut Answer, mut each: impl FnMut(&[u8])) -> Result<More, Failure> {
    let Answer { upstream, body: reader, .. } = answer;
    let input = upstream.transport.input();
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
async fn wait(exchange: &mut Exchange<'_>, down: &mut Downstream, answer: &mut Answer) -> Result<(), Failure> {
    let settings = &exchange.snapshot.settings;
    let began = Instant::now();
    let deadline = (began + settings.stream_silence).min(exchange.began + settings.exchange_deadline);
    let fill = rt::with_deadline(deadline, answer.upstream.transport.fill());
    let filled = unless_gone(down, fill).await;
    exchange.waited += began.elapsed();
    match filled? {
        Err(_elapsed) => Err(Failure::TimedOut),
        Ok(Err(_)) => Err(Failure::Broken),
        Ok(Ok(0)) if answer.upstream.transport.clean_eof() => answer.body.close().map_err(|_| Failure::Broken),
        Ok(Ok(0)) => Err(Failure::Broken),
        Ok(Ok(_)) => Ok(()),
    }
}

// ---- One JSON text ----------------------------------------------------------------------------------------------------------

/// Relays an answer that is one JSON text, with `metadata` as its last member.
pub async fn unary(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    passage: &Passage<'_>,
    mut answer: Answer,
) -> Relayed {
    if answer.body.remaining().is_some_and(|length| length > limits::UNARY_BUFFER_BYTES_MAX as u64) {
        return opaque(exchange, down, passage, answer).await;
    }
    let body = match collect(exchange, down, &mut answer, limits::UNARY_BUFFER_BYTES_MAX).await {
        Ok(body) => body,
        Err(failure) => return Relayed::Failed(failure),
    };
    // Where only the end of a connection ends a body, the text itself must say that it is whole.
    if answer.until_close && scan::validate(body.bytes(), limits::JSON_DEPTH_MAX).is_err() {
        return Relayed::Failed(Failure::Broken);
    }
    if let Some(fault) =
        fault::classify_success(&passage.provider.spec.faults, &|_| None, body.bytes(), UnixMillis::now())
    {
        attempt::give_back(exchange.core, &passage.provider.origin, answer);
        return Relayed::Fault(fault);
    }
    let usage = usage::usage_from_body(body.bytes(), passage.provider.spec.quirks.accounting);
    let (status, kept) = (answer.status, std::mem::take(&mut answer.kept));
    attempt::give_back(exchange.core, &passage.provider.origin, answer);
    write_unary(exchange, down, passage, status, &kept, body.bytes(), usage);
    let next = exchange.finish(down).await;
    let outcome = if next == Next::Abort { Outcome::ClientGone } else { Outcome::Completed };
    Relayed::Served { next, outcome, usage, content_bytes: 0 }
}

fn write_unary(
    exchange: &Exchange<'_>,
    down: &mut Downstream,
    passage: &Passage<'_>,
    status: u16,
    kept: &[u8],
    body: &[u8],
    usage: Option<Usage>,
) {
    let mut member = Vec::new();
    if exchange.snapshot.settings.metadata {
        metadata(exchange, passage, usage).write_members(&mut member);
    }
    let splice = Splice::plan(body, &member);
    let length = splice.length(body, &member);
    let out = down.output().vec_mut();
    out.reserve(length + kept.len() + 1024);
    begin(exchange, out, status, kept);
    identify(exchange, passage, out);
    if let Some(cost) = meter::cost(passage.candidate.target.price.as_ref(), usage.as_ref()) {
        reply::number_field(out, "x-igris-cost-usd", cost.total);
    }
    reply::number_field(out, "content-length", length);
    reply::end_head(out);
    splice.write(body, &member, out);
}

// ---- A stream ---------------------------------------------------------------------------------------------------------------

/// Relays server-sent events as they arrive, one flush per upstream read.
pub async fn events(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    passage: &Passage<'_>,
    mut answer: Answer,
) -> Relayed {
    let core = exchange.core.clone();
    let _open = Held::one(&core.reports.gauges.streams);
    let mut relay = StreamRelay::new(StreamWishes {
        metadata: exchange.snapshot.settings.metadata,
        usage_event: passage.chat.ask.usage_event,
        accounting: passage.provider.spec.quirks.accounting,
    });
    let framer = Framer::of(exchange);
    let mut begun = false;
    let mut piece = Vec::new();
    let ended = loop {
        let mut write =
            |facts: &StreamFacts, out: &mut Vec<u8>| metadata(exchange, passage, facts.usage).write_member(out);
        let fed = take_available(&mut answer, |bytes| relay.feed(bytes, &mut piece, &mut write));
        if relay.progress() == Progress::Failed && !begun && !relay.facts().content_seen {
            return Relayed::Fault(error_in_stream(passage, &piece));
        }
        // Where only the end of a connection ends a stream, one without its terminator may as well have been cut (rule H17).
        let unsure = answer.until_close && relay.progress() == Progress::Open;
        let fed = if unsure && matches!(fed, Ok(More::Ended)) { Err(Failure::Broken) } else { fed };
        if let Ok(More::Ended) = fed {
            relay.finish(&mut piece, &mut write);
        }
        if !piece.is_empty() {
            let out = down.output().vec_mut();
            if !std::mem::replace(&mut begun, true) {
                begin_stream(exchange, passage, &answer, framer, out);
            }
            framer.piece(out, &piece);
            piece.clear();
        }
        match fed {
            Err(failure) => break Err(failure),
            Ok(More::Ended) => break Ok(()),
            Ok(More::Wanted) => {}
        }
        if begun && down.flush().await.is_err() {
            break Err(Failure::ClientGone);
        }
        if let Err(failure) = wait(exchange, down, &mut answer).await {
            break Err(failure);
        }
    };
    match ended {
        Err(failure) if !begun => Relayed::Failed(failure),
        // The provider has said all; that it then closed badly is between it and us.
        Err(Failure::TimedOut | Failure::Broken) if relay.progress() == Progress::Done => {
            end_stream(exchange, down, passage, answer, &mut relay, framer, begun).await
        }
        Err(Failure::ClientGone) => served(Next::Abort, Outcome::ClientGone, relay.facts()),
        Err(failure) => {
            let next = cut(exchange, down, &mut relay, framer).await;
            let outcome = if failure == Failure::TimedOut { Outcome::TimedOut } else { Outcome::Broken };
            served(next, outcome, relay.facts())
        }
        Ok(()) => end_stream(exchange, down, passage, answer, &mut relay, framer, begun).await,
    }
}

fn begin_stream(exchange: &Exchange<'_>, passage: &Passage<'_>, answer: &Answer, framer: Framer, out: &mut Vec<u8>) {
    begin(exchange, out, answer.status, &answer.kept);
    identify(exchange, passage, out);
    reply::field(out, "cache-control", b"no-cache");
    reply::field(out, "x-accel-buffering", b"no");
    framer.end_head(out);
}

/// The body has ended as HTTP has it; whether the stream has is another matter.
async fn end_stream(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    passage: &Passage<'_>,
    answer: Answer,
    relay: &mut StreamRelay,
    framer: Framer,
    begun: bool,
) -> Relayed {
    if !begun {
        begin_stream(exchange, passage, &answer, framer, down.output().vec_mut());
    }
    attempt::give_back(exchange.core, &passage.provider.origin, answer);
    framer.end(down.output().vec_mut());
    let next = exchange.finish(down).await;
    let outcome = match (next, relay.progress()) {
        (Next::Abort, _) => Outcome::ClientGone,
        (_, Progress::Failed) => Outcome::Broken,
        _ => Outcome::Completed,
    };
    served(next, outcome, relay.facts())
}

/// Ends a stream that broke off: an error event, and no clean end (rule H17).
async fn cut(exchange: &mut Exchange<'_>, down: &mut Downstream, relay: &mut StreamRelay, framer: Framer) -> Next {
    let mut piece = Vec::new();
    relay.abandon(&mut piece);
    let message = "The provider's stream broke off before its end; send the request again.";
    reply::stream_fault(&mut piece, message, "upstream_stream_broken");
    framer.piece(down.output().vec_mut(), &piece);
    exchange.persist = false;
    let _ = down.flush().await;
    Next::Abort
}

/// The error with which a stream began, in words fit to show.
fn error_in_stream(passage: &Passage<'_>, piece: &[u8]) -> UpstreamFault {
    let body = piece.strip_prefix(b"data:").unwrap_or(piece).trim_ascii();
    let mut fault = fault::classify(&passage.provider.spec.faults, 200, &|_| None, body, UnixMillis::now());
    passage.scrub(&mut fault);
    if fault.class == FaultClass::Unknown {
        fault.class = FaultClass::ServerError;
    }
    fault
}

fn served(next: Next, outcome: Outcome, facts: &StreamFacts) -> Relayed {
    Relayed::Served { next, outcome, usage: facts.usage, content_bytes: facts.content_bytes }
}

// ---- Anything else ----------------------------------------------------------------------------------------------------------

/// Relays bytes that we cannot or need not read, with the provider's own length where it gave one.
pub async fn opaque(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    passage: &Passage<'_>,
    mut answer: Answer,
) -> Relayed {
    let framer = match answer.body.remaining() {
        Some(length) => Framer::Length(length),
        None => Framer::of(exchange),
    };
    let out = down.output().vec_mut();
    begin(exchange, out, answer.status, &answer.kept);
    identify(exchange, passage, out);
    framer.end_head(out);
    let facts = StreamFacts::default();
    let mut body = Buf::new();
    loop {
        let taken = take_available(&mut answer, |piece| body.extend(piece));
        if !body.is_empty() {
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
                // What has been received goes out; the missing end tells the client.
                let _ = down.flush().await;
                return served(Next::Abort, Outcome::Broken, &facts);
            }
        }
    }
    attempt::give_back(exchange.core, &passage.provider.origin, answer);
    framer.end(down.output().vec_mut());
    let next = exchange.finish(down).await;
    let outcome = if next == Next::Abort { Outcome::ClientGone } else { Outcome::Completed };
    served(next, outcome, &facts)
}

// ---- Heads and framing ------------------------------------------------------------------------------------------------------

fn begin(exchange: &Exchange<'_>, out: &mut Vec<u8>, status: u16, kept: &[u8]) {
    reply::begin_head(out, status, exchange.stamp());
    out.extend_from_slice(kept);
}

/// Who answered, after how many attempts, and what of the time was ours.
fn identify(exchange: &Exchange<'_>, passage: &Passage<'_>, out: &mut Vec<u8>) {
    reply::field(out, "x-igris-provider", passage.provider.id.as_str().as_bytes());
    reply::field(out, "x-igris-model", passage.candidate.target.model.as_bytes());
    reply::number_field(out, "x-igris-attempts", exchange.attempts);
    reply::number_field(out, "x-igris-overhead-us", exchange.overhead_us());
}

fn metadata<'a>(exchange: &Exchange<'a>, passage: &Passage<'a>, usage: Option<Usage>) -> Metadata<'a> {
    Metadata {
        provider: passage.provider.id.as_str(),
        model_used: &passage.candidate.target.model,
        model_requested: &passage.chat.ask.model_name,
        usage,
        cost: meter::cost(passage.candidate.target.price.as_ref(), usage.as_ref()),
        latency_ms: u64::try_from(exchange.began.elapsed().as_millis()).unwrap_or(u64::MAX),
        trace_id: exchange.id,
        tenant: &passage.chat.key.tenant,
        policy: passage.policy,
        attempts: exchange.attempts,
    }
}

/// How the client learns where the body ends.
#[derive(Clone, Copy)]
enum Framer {
    /// It was told beforehand.
    Length(u64),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection: HTTP/1.0.
    Close,
}

impl Framer {
    fn of(exchange: &mut Exchange<'_>) -> Self {
        match exchange.version {
            Version::Http11 => Framer::Chunked,
            Version::Http10 => {
                exchange.persist = false;
                Framer::Close
            }
        }
    }

    fn end_head(self, out: &mut Vec<u8>) {
        match self {
            Framer::Length(length) => reply::number_field(out, "content-length", length),
            Framer::Chunked => reply::field(out, "transfer-encoding", b"chunked"),
            Framer::Close => {}
        }
        reply::end_head(out);
    }

    fn piece(self, out: &mut Vec<u8>, bytes: &[u8]) {
        match self {
            Framer::Chunked if bytes.is_empty() => {}
            Framer::Chunked => write::chunk(out, bytes),
            Framer::Length(_) | Framer::Close => out.extend_from_slice(bytes),
        }
    }

    fn end(self, out: &mut Vec<u8>) {
        if let Framer::Chunked = self {
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }
}
