//! One request and its answer: the phases by name, in order.
//!
//! route -> authenticate -> read -> plan -> attempt (until one answers) -> relay -> meter -> report. Each phase can end the exchange
//! with a fault; only `attempt` repeats, and never after a byte of an answer has gone to the client.

use super::allowance::Grant;
use super::ask::Ask;
use super::books::Books;
use super::budget::Hold;
use super::continuation::{Continuation, Legs};
use super::downstream::{BodyClock, BodyTrouble, Downstream};
use super::explain::{Notes, Refusal};
use super::failover;
use super::fairness::Seat;
use super::fault::Fault;
use super::idempotency::{self, Outcome, Turn};
use super::inquiry::{Inquiry, is_sent_once};
use super::per_core::{Core, Loaded, Phase};
use super::reply::{self, Stamp};
use super::surface::{self, Asked, Surface, Task};
use super::timing::{self, Clock, Lap};
use super::{closing, count, courier, explain, forward, local, preview};
use crate::dialects::Wire;
use crate::domain::clock::UnixMillis;
use crate::domain::id::RequestId;
use crate::domain::pressure::{ShedReason, Stage};
use crate::domain::scope::Scope;
use crate::http::body::BodyReader;
use crate::http::head::{KnownField, Method, Presented, RequestFraming, RequestHead, Version};
use crate::limits;
use crate::report::exchange::Surface as Named;
use crate::report::{Held, count_one};
use crate::rt::{self, Buf};
use crate::snapshot::AccessKey;
use std::cell::Cell;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What becomes of the client connection after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It stands at a message border: read the next head.
    Continue,
    /// The answer was the last one: close once the client has it.
    Close,
    /// Cut it now: the client is gone, or the answer broke off (rule H17).
    Abort,
}

/// One exchange under way.
pub struct Exchange<'a> {
    /// This core.
    pub core: &'a Rc<Core>,
    /// What everything in this exchange is decided from.
    pub snapshot: Loaded,
    /// Its id.
    pub id: RequestId,
    /// When its head was there.
    pub began: Instant,
    /// The same as wall time.
    pub at: UnixMillis,
    /// Time spent waiting for others so far: the rest is our own.
    pub waited: Duration,
    /// Attempts made.
    pub attempts: u32,
    /// The other end of the client's connection.
    pub peer: IpAddr,
    /// Whether the client connection may stay open.
    pub persist: bool,
    /// Whether the client was told so.
    promised: Cell<bool>,
    /// Whether the answer may be chunked.
    pub version: Version,
    /// The dialect in which this client understands errors.
    pub face: Wire,
    /// Where our own time goes.
    pub clock: Clock,
    /// What is to be remembered of it.
    pub notes: Notes,
    /// The client's stream, while it is between two providers.
    pub continuation: Option<Box<Continuation>>,
    /// The answers that broke off before the one that goes on.
    pub legs: Legs,
    /// Memory held for its bodies, until it ends.
    pub hold: Hold,
    /// Its attempts, in the journal and in the report queue.
    pub books: Rc<Books>,
    /// What the limits of its access key grant it, if there are any.
    pub grant: Option<Rc<Grant>>,
    head_only: bool,
    date: Rc<str>,
}

/// Serves the request whose head fills the first `head_bytes` bytes of the input.
pub async fn serve(core: &Rc<Core>, down: &mut Downstream, head: &RequestHead, head_bytes: usize, last: bool) -> Next {
    let _open = Held::one(&core.reports.gauges.exchanges);
    count_one(&core.reports.gauges.exchanges_begun);
    let (began, at) = (down.headed, rt::wall(down.headed));
    let clock = Clock::start(down.arrived, began, timing::is_wished(head, down.input().bytes()));
    let mut exchange = Exchange {
        core,
        snapshot: core.snapshot(),
        id: core.request_id(),
        began,
        at,
        waited: Duration::ZERO,
        attempts: 0,
        peer: down.peer,
        persist: head.persist() && !last,
        promised: Cell::new(false),
        version: head.version(),
        face: face_of(head, down.input().bytes()),
        clock,
        notes: Notes::default(),
        continuation: None,
        legs: Legs::default(),
        hold: core.bodies.open(),
        books: down.books.clone(),
        grant: None,
        head_only: head.method() == Method::Head,
        date: core.date(at),
    };
    down.begin(exchange.id, exchange.face);
    closing::open(&mut exchange, head, head_bytes, down.input().bytes());
    let next = dispatch(&mut exchange, down, head, head_bytes).await;
    exchange.books.finish();
    closing::close(&mut exchange, down, head, next);
    exchange.books.end();
    next
}

/// Serves the request by its path.
async fn dispatch(exchange: &mut Exchange<'_>, down: &mut Downstream, head: &RequestHead, head_bytes: usize) -> Next {
    let bytes = down.input().bytes();
    let surface = surface::route(head.method(), head.path(bytes), head.query(bytes));
    exchange.notes.surface.set(surface.as_ref().map_or(Named::Unknown, Surface::name));
    match surface {
        Ok(Surface::Inquiry(asked)) if !courier::is_form(&asked.task, head, bytes) => {
            inquire(exchange, down, head, head_bytes, &asked).await
        }
        Ok(surface) => apart(exchange, down, head, head_bytes, surface).await,
        Err(fault) => exchange.refuse_unread(down, head, head_bytes, &fault).await,
    }
}

/// Work that lies apart, so that the way of a usual request is short and its state small.
pub type Apart<'w, T> = Pin<Box<dyn Future<Output = T> + 'w>>;

/// Serves what is no question to a model in a JSON body.
#[cold]
fn apart<'w>(
    exchange: &'w mut Exchange<'_>,
    down: &'w mut Downstream,
    head: &'w RequestHead,
    head_bytes: usize,
    surface: Surface,
) -> Apart<'w, Next> {
    match surface {
        Surface::Inquiry(asked) | Surface::Courier(asked) => {
            Box::pin(courier::run(exchange, down, head, head_bytes, asked))
        }
        Surface::Local(page) => Box::pin(exchange.local(down, head, head_bytes, page)),
        Surface::Preview => Box::pin(preview::run(exchange, down, head, head_bytes)),
        Surface::Control => Box::pin(control(exchange, down, head, head_bytes)),
    }
}

/// The dialect of the path; on pages that several share, what the client says of itself.
fn face_of(head: &RequestHead, bytes: &[u8]) -> Wire {
    let path = head.path(bytes);
    let says_anthropic = || head.find(bytes, KnownField::AnthropicVersion).is_some();
    let says_google = || matches!(head.credentials(bytes), Presented::XGoogApiKey(_));
    match surface::face(path) {
        Wire::Chat if path.starts_with("/v1/models") && says_anthropic() => Wire::Messages,
        Wire::Chat if path.starts_with("/v1/models") && says_google() => Wire::Gemini,
        face => face,
    }
}

/// A request that a model answers, phase by phase.
async fn inquire(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    head: &RequestHead,
    head_bytes: usize,
    asked: &Asked,
) -> Next {
    if let Err(reason) = exchange.core.admit() {
        return exchange.shed(down, reason).await;
    }
    // Borrowed of the snapshot: a count that all cores share is not touched for each request.
    let snapshot = exchange.snapshot.clone();
    let key = match exchange.authenticate_task(&snapshot, head, down.input().bytes(), &asked.task) {
        Ok(key) => key,
        Err(fault) => return exchange.refuse_unread(down, head, head_bytes, &fault).await,
    };
    exchange.clock.mark(Lap::Auth, rt::now());
    // Who may be given an answer again learns first whether it is: that costs nothing.
    let may_replay = idempotency::has_key(head, down.input().bytes());
    if !may_replay
        && let Err(fault) = exchange.enter(key, &asked.task)
        && let Err(fault) = exchange.enter_later(key, &asked.task, fault).await
    {
        return exchange.refuse_unread(down, head, head_bytes, &fault).await;
    }
    let _seat = match Seat::take(exchange.core, &key.tenant) {
        Ok(seat) => seat,
        Err(reason) => return exchange.shed(down, reason).await,
    };
    let received = match exchange.receive(down, head, head_bytes).await {
        Ok(received) => received,
        Err(next) => return next,
    };
    // Where the body was there with its head, no time has passed.
    exchange.clock.mark(Lap::Read, rt::coarse_now());
    let claim = match idempotency::begin(exchange, &key.tenant, head, &received) {
        Turn::Work(claim) => claim,
        Turn::Replay(outcome) => return replay(exchange, down, outcome).await,
        Turn::Refuse(fault) => return exchange.refuse(down, &fault, false).await,
        Turn::Shed(reason) => return exchange.shed(down, reason).await,
    };
    if may_replay
        && let Err(fault) = exchange.enter(key, &asked.task)
        && let Err(fault) = exchange.enter_later(key, &asked.task, fault).await
    {
        return exchange.refuse(down, &fault, false).await;
    }
    if claim.is_some() {
        down.record();
    }
    let next = answer(exchange, down, key, head, &received, asked).await;
    idempotency::end(claim, down, next);
    next
}

/// The rest of it, once the request is read and nobody else works on it.
async fn answer(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    key: &AccessKey,
    head: &RequestHead,
    received: &Received,
    asked: &Asked,
) -> Next {
    let mut ask = match Ask::read(received.body(), head, received.head(), asked) {
        Ok(ask) => ask,
        Err(fault) => return exchange.refuse(down, &fault, false).await,
    };
    ask.once = is_sent_once(received.body(), false);
    exchange.clock.mark(Lap::Parse, rt::now());
    let mut plan = match super::plan::plan(exchange.core, &exchange.snapshot, key, &ask, received.body()) {
        Ok(plan) => plan,
        Err(fault) => return exchange.refuse(down, &fault, false).await,
    };
    exchange.clock.mark(Lap::Plan, rt::now());
    if let Err(fault) = exchange.reserve_for(&ask, &plan)
        && let Err(fault) = exchange.reserve_later(&ask, &plan, fault).await
    {
        return exchange.refuse(down, &fault, false).await;
    }
    let mut inquiry = Inquiry::new(key, &ask, head, received);
    inquiry.prefix = plan.need.prefix;
    if ask.task == Task::CountTokens && !count::keep_native(exchange, &mut plan, &ask) {
        return count_here(exchange, down, &inquiry).await;
    }
    let next = match failover::run(exchange, down, &inquiry, &plan).await {
        Ok(next) => next,
        Err(fault) => exchange.refuse(down, &fault, false).await,
    };
    explain::record(exchange, down, &inquiry, &mut plan);
    next
}

#[cold]
fn count_here<'w>(
    exchange: &'w mut Exchange<'_>,
    down: &'w mut Downstream,
    inquiry: &'w Inquiry<'_>,
) -> Apart<'w, Next> {
    Box::pin(count::estimate(exchange, down, inquiry))
}

#[cold]
fn replay<'w>(exchange: &'w mut Exchange<'_>, down: &'w mut Downstream, outcome: Arc<Outcome>) -> Apart<'w, Next> {
    Box::pin(async move { idempotency::replay(exchange, down, &outcome).await })
}

/// A request for the control plane: authenticated here, answered there.
async fn control(exchange: &mut Exchange<'_>, down: &mut Downstream, head: &RequestHead, head_bytes: usize) -> Next {
    let snapshot = exchange.snapshot.clone();
    let key = match exchange.authenticate_any(&snapshot, head, down.input().bytes()) {
        Ok(key) => key,
        Err(fault) => return exchange.refuse_unread(down, head, head_bytes, &fault).await,
    };
    exchange.clock.mark(Lap::Auth, rt::now());
    let received = match exchange.receive(down, head, head_bytes).await {
        Ok(received) => received,
        Err(next) => return next,
    };
    exchange.clock.mark(Lap::Read, rt::coarse_now());
    match forward::run(exchange, down, key, head, &received).await {
        Ok(next) => next,
        Err(fault) => exchange.refuse(down, &fault, false).await,
    }
}

/// A request that has been read whole: head, then body.
pub struct Received {
    head: Buf,
    body: Option<Buf>,
    head_bytes: usize,
}

impl Received {
    /// A head and a body that were read apart.
    pub fn of(head: Buf, head_bytes: usize, body: Buf) -> Self {
        Self { head, body: Some(body), head_bytes }
    }

    /// The bytes that the parsed head's offsets point into.
    pub fn head(&self) -> &[u8] {
        self.head.bytes()
    }

    /// The body, de-chunked.
    pub fn body(&self) -> &[u8] {
        match &self.body {
            Some(body) => body.bytes(),
            None => self.head.bytes().get(self.head_bytes..).unwrap_or_default(),
        }
    }
}

/// Why a request was not read whole.
pub enum ReadTrouble {
    /// The client is gone.
    Gone,
    /// There is no room for its body.
    NoRoom,
    /// An answer is due; `unread` says that the connection is not at a message border.
    Fault { fault: Fault, unread: bool },
}

impl Exchange<'_> {
    /// What stands in every answer of this exchange.
    pub fn stamp(&self) -> Stamp<'_> {
        self.promised.set(self.persists());
        Stamp {
            request: self.id,
            face: self.face,
            date: &self.date,
            persist: self.promised.get(),
            head_only: self.head_only,
            receipt: self.clock.receipt(self),
            grant: self.grant.as_deref(),
        }
    }

    /// Whether the connection stays open: not if the process has begun to go down in the meantime (rule S1), or is short of room (rule O2).
    fn persists(&self) -> bool {
        self.persist && self.core.phase() == Phase::Serving && self.core.stage() < Stage::Tight
    }

    /// The exchange's id as letters and digits, for ids in answers of our own.
    pub fn id_letters(&self) -> String {
        String::from_utf8_lossy(&crate::domain::id::encode(self.id.bits())).into_owned()
    }

    /// Our own time so far, microseconds; reads the clock.
    pub fn overhead_us(&self) -> u64 {
        self.own_us(rt::now())
    }

    /// The same up to `now`.
    pub fn own_us(&self, now: Instant) -> u64 {
        timing::whole_micros(now.saturating_duration_since(self.began).saturating_sub(self.waited))
    }

    /// Reads the whole request, or answers why not.
    pub(super) async fn receive(
        &mut self,
        down: &mut Downstream,
        head: &RequestHead,
        head_bytes: usize,
    ) -> Result<Received, Next> {
        match self.read(down, head, head_bytes).await {
            Ok(received) => {
                self.notes.received(received.body().len());
                Ok(received)
            }
            Err(trouble) => Err(self.refuse_trouble(down, trouble).await),
        }
    }

    /// Answers a request that could not be read.
    #[cold]
    pub fn refuse_trouble<'w>(&'w mut self, down: &'w mut Downstream, trouble: ReadTrouble) -> Apart<'w, Next> {
        Box::pin(async move {
            match trouble {
                ReadTrouble::Gone => Next::Abort,
                ReadTrouble::NoRoom => self.shed(down, ShedReason::Bodies).await,
                ReadTrouble::Fault { fault, unread } => self.refuse(down, &fault, unread).await,
            }
        })
    }

    async fn read(
        &self,
        down: &mut Downstream,
        head: &RequestHead,
        head_bytes: usize,
    ) -> Result<Received, ReadTrouble> {
        let settings = &self.snapshot.settings;
        check_encoding(down, head)?;
        let max = settings.body_bytes_max;
        let too_large = || ReadTrouble::Fault { fault: Fault::RequestTooLarge { max }, unread: true };
        let clock = BodyClock::start(self.began, settings.body_deadline);
        let body_bytes = match head.framing() {
            RequestFraming::None => 0,
            RequestFraming::Length(length) if length > max => return Err(too_large()),
            RequestFraming::Length(length) => usize::try_from(length).map_err(|_| too_large())?,
            RequestFraming::Chunked => return Box::pin(self.read_chunked(down, head, head_bytes, clock)).await,
        };
        if !self.reserve(body_bytes as u64) {
            return Err(ReadTrouble::NoRoom);
        }
        if body_bytes > 0 && head.expect_continue() && down.input().len() == head_bytes {
            Box::pin(invite(down)).await?;
        }
        let whole = down.take(head_bytes + body_bytes, clock).await.map_err(|trouble| read_trouble(trouble, max))?;
        Ok(Received { head: whole, body: None, head_bytes })
    }

    async fn read_chunked(
        &self,
        down: &mut Downstream,
        head: &RequestHead,
        head_bytes: usize,
        clock: BodyClock,
    ) -> Result<Received, ReadTrouble> {
        let max = self.snapshot.settings.body_bytes_max;
        let at_head = down.take(head_bytes, clock).await.map_err(|trouble| read_trouble(trouble, max))?;
        if head.expect_continue() && down.input().is_empty() {
            invite(down).await?;
        }
        let mut body = Buf::new();
        let mut room = |bytes: usize| self.reserve(bytes as u64);
        down.take_chunked(&mut body, max, clock, &mut room).await.map_err(|trouble| read_trouble(trouble, max))?;
        Ok(Received { head: at_head, body: Some(body), head_bytes })
    }

    /// Holds memory for so much of a request body, if there is room (rule O1).
    pub fn reserve(&self, bytes: u64) -> bool {
        bytes == 0 || self.hold.grow(bytes.saturating_mul(limits::BODY_COPIES), self.core.body_bytes_max())
    }

    async fn local(&mut self, down: &mut Downstream, head: &RequestHead, head_bytes: usize, page: local::Page) -> Next {
        let bytes = down.input().bytes();
        let snapshot = self.snapshot.clone();
        let key = match page.needs_key() {
            false => None,
            true => match self.authenticate(&snapshot, head, bytes, Scope::Inference) {
                Ok(key) => Some(key),
                Err(fault) => return self.refuse_unread(down, head, head_bytes, &fault).await,
            },
        };
        self.clock.mark(Lap::Auth, rt::now());
        let mut answer = Vec::new();
        let written = local::write(self, &page, key, &mut answer);
        if let Err(fault) = written {
            return self.refuse_unread(down, head, head_bytes, &fault).await;
        }
        self.settle_body(down, head, head_bytes).await;
        let mut out = Vec::new();
        reply::json(&mut out, 200, self.stamp(), &answer);
        down.output().extend(&out);
        self.finish(down).await
    }

    /// Answers a fault to a request whose body is still on the wire.
    #[cold]
    pub fn refuse_unread<'w>(
        &'w mut self,
        down: &'w mut Downstream,
        head: &'w RequestHead,
        head_bytes: usize,
        fault: &'w Fault,
    ) -> Apart<'w, Next> {
        Box::pin(async move {
            if fault.closes() {
                self.persist = false;
            } else {
                self.settle_body(down, head, head_bytes).await;
            }
            self.refuse(down, fault, false).await
        })
    }

    /// Leaves the connection at the next message border, or marks it as the last answer (rule H14).
    async fn settle_body(&mut self, down: &mut Downstream, head: &RequestHead, head_bytes: usize) {
        down.input().consume(head_bytes);
        let mut reader = BodyReader::from(head.framing());
        let waiting = head.expect_continue() && down.input().is_empty();
        // A client that waits for our 100 sends nothing now, and may or may not send its body later: nobody can tell.
        if !reader.is_end() && (waiting || !down.discard(&mut reader).await) {
            self.persist = false;
        }
    }

    /// Answers a fault. `unread` says that bytes of this request are still to come.
    #[cold]
    pub fn refuse<'w>(&'w mut self, down: &'w mut Downstream, fault: &Fault, unread: bool) -> Apart<'w, Next> {
        self.core.reports.gauges.refused.fetch_add(1, Ordering::Relaxed);
        if self.attempts == 0 && fault.is_unserved() {
            self.core.reports.gauges.unserved.fetch_add(1, Ordering::Relaxed);
        }
        self.persist &= !unread && !fault.closes();
        let refusal = if matches!(fault, Fault::Shed { .. }) { Refusal::Shed } else { Refusal::Refused };
        self.notes.told(fault.status());
        self.notes.refused(refusal, fault.code());
        let mut out = Vec::new();
        reply::fault(&mut out, fault, self.stamp(), self.attempts);
        down.output().extend(&out);
        Box::pin(self.finish(down))
    }

    /// Turns a request away before anything was done for it (rule O3): what is left of it is not read, and its connection ends.
    #[cold]
    pub fn shed<'w>(&'w mut self, down: &'w mut Downstream, reason: ShedReason) -> Apart<'w, Next> {
        self.core.reports.gauges.shed[reason.place()].fetch_add(1, Ordering::Relaxed);
        let retry_after_s = 1 + self.core.roll(limits::SHED_WAIT_SECONDS_MAX);
        self.refuse(down, &Fault::Shed { reason, retry_after_s }, true)
    }

    /// Sends what is in the output and says what becomes of the connection. A client that was told that it stays open may be sending its
    /// next request already: it is answered, unless the process is going down.
    pub async fn finish(&mut self, down: &mut Downstream) -> Next {
        self.finish_from(down, rt::now()).await
    }

    /// The same for a caller who knows that it is about `now`.
    pub async fn finish_from(&mut self, down: &mut Downstream, now: Instant) -> Next {
        match down.flush_from(now).await {
            Err(_) => Next::Abort,
            Ok(_) if down.is_absent() => Next::Abort,
            Ok(_) if self.persist && self.promised.get() && self.core.phase() < Phase::Draining => Next::Continue,
            Ok(_) => Next::Close,
        }
    }
}

/// Compressed bodies are not taken (rule H19).
pub fn check_encoding(down: &mut Downstream, head: &RequestHead) -> Result<(), ReadTrouble> {
    let encoded = head.find(down.input().bytes(), KnownField::ContentEncoding);
    match encoded.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        true => Err(ReadTrouble::Fault { fault: Fault::UnsupportedEncoding, unread: true }),
        false => Ok(()),
    }
}

/// Tells the client to send its body (RFC 9110 §10.1.1, rule H13).
pub async fn invite(down: &mut Downstream) -> Result<(), ReadTrouble> {
    down.output().extend(b"HTTP/1.1 100 Continue\r\n\r\n");
    let flushed = down.flush().await.map_err(|_| ReadTrouble::Gone);
    // The answer is still to come.
    down.first = None;
    flushed
}

/// What a client hears whose body could not be read.
pub fn read_trouble(trouble: BodyTrouble, max: u64) -> ReadTrouble {
    let fault = match trouble {
        BodyTrouble::Closed => return ReadTrouble::Gone,
        BodyTrouble::NoRoom => return ReadTrouble::NoRoom,
        BodyTrouble::Late => Fault::RequestTimeout,
        BodyTrouble::TooLarge => Fault::RequestTooLarge { max },
        BodyTrouble::Malformed(what) => {
            Fault::Malformed { status: 400, remedy: format!("Bad request body: {what}; send valid chunks.").into() }
        }
    };
    ReadTrouble::Fault { fault, unread: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of what a call returns, without the call.
    fn bytes_of<A, B, C, D, E, F>(_: impl FnOnce(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    /// Each connection has one of these in memory while it serves a request, and writes its beginning at each.
    #[test]
    fn the_work_of_an_exchange_is_bounded_in_memory() {
        fn all<'a>(
            core: &'a Rc<Core>,
            down: &'a mut Downstream,
            head: &'a RequestHead,
            head_bytes: usize,
            last: bool,
        ) -> impl Future<Output = Next> + 'a {
            serve(core, down, head, head_bytes, last)
        }
        let bytes = bytes_of(all);
        println!("an exchange under way: {bytes} bytes, of which the exchange itself {}", size_of::<Exchange<'_>>());
        assert!(bytes <= limits::EXCHANGE_BYTES_MAX, "{bytes} bytes");
    }
}
