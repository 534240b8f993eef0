//! Attempts until one answers: which failure allows another try, where, and what the client hears when none is left.
//!
//! At most [`limits::ATTEMPTS_MAX`] attempts over all layers (rule Q2). A try that was not sent, that the provider refused, or whose
//! connection broke before a byte of an answer may be repeated elsewhere; one that timed out is not: the time is gone, and the provider
//! may bill it (rule Q1). A large body is sent once only (rule Q6). Every attempt leaves exactly one report.

use super::ask::Ask;
use super::attempt::{self, Answer, Call, Content, Failure};
use super::downstream::Downstream;
use super::draft::{self, Carriage, Draft};
use super::exchange::{Exchange, Next, Received};
use super::fault::{Fault, Tried};
use super::outbound::Outbound;
use super::plan::{Candidate, Plan};
use super::relay::{self, Passage, Relayed};
use super::surface::Task;
use super::upload::Upload;
use super::{events, realtime, unary};
use crate::chat::fault::{self, Elsewhere, FaultClass, UpstreamFault};
use crate::chat::request;
use crate::domain::clock::UnixMillis;
use crate::domain::id::CredentialId;
use crate::domain::text::bounded;
use crate::domain::token::{Usage, UsageSource};
use crate::http::head::{KnownField, Method, RequestHead};
use crate::limits;
use crate::metering::tap;
use crate::metering::terms::Terms;
use crate::report::{AttemptReport, Outcome};
use crate::snapshot::{AccessKey, Provider, ProviderIx};
use std::cell::{Cell, OnceCell, RefCell};
use std::time::{Duration, Instant};

/// A request, read and understood.
pub struct Inquiry<'a> {
    /// Who asks.
    pub key: &'a AccessKey,
    /// For what.
    pub ask: &'a Ask,
    /// The request's head.
    pub head: &'a RequestHead,
    /// Its bytes.
    pub received: &'a Received,
    /// The request in the inner language, read when the first candidate of another dialect needs it.
    inner: OnceCell<Result<request::Request, request::Refusal>>,
    /// The rest of a body that is longer than what is kept; taken by the one attempt that can send it.
    upload: RefCell<Option<Upload>>,
    /// Bytes of that rest, if the client said how many.
    rest: Option<Rest>,
    /// Whether bytes of the body are still on the wire.
    unread: Cell<bool>,
}

/// How much of a body is not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// So many bytes.
    Length(u64),
    /// Until its last chunk.
    Chunked,
}

impl<'a> Inquiry<'a> {
    /// An inquiry whose body has not been read into the inner language.
    pub fn new(key: &'a AccessKey, ask: &'a Ask, head: &'a RequestHead, received: &'a Received) -> Self {
        let (upload, unread) = (RefCell::new(None), Cell::new(false));
        Self { key, ask, head, received, inner: OnceCell::new(), upload, rest: None, unread }
    }

    /// The same with a rest that streams.
    pub fn with_upload(mut self, upload: Option<Upload>) -> Self {
        self.rest = upload.as_ref().map(|upload| upload.remaining().map_or(Rest::Chunked, Rest::Length));
        self.unread = Cell::new(upload.is_some());
        self.upload = RefCell::new(upload);
        self
    }

    /// How much of the body is not in memory, if any is not.
    pub fn rest(&self) -> Option<Rest> {
        self.rest
    }

    /// Whether bytes of the body are still on the wire: then the connection is not at a message border.
    pub fn is_unread(&self) -> bool {
        self.unread.get()
    }

    /// The request's method towards the provider.
    pub fn method(&self) -> Method {
        match &self.ask.task {
            Task::Raw(call) | Task::Object(call) => call.method,
            Task::Realtime => Method::Get,
            _ => Method::Post,
        }
    }

    /// The client's body.
    pub fn body(&self) -> &'a [u8] {
        self.received.body()
    }

    /// What the body is, for the provider: JSON, unless it was not read as such.
    pub fn content_type(&self) -> Option<&'a [u8]> {
        match self.ask.object {
            Some(_) => Some(b"application/json"),
            None => self.head.find(self.received.head(), KnownField::ContentType),
        }
    }

    /// The request in the inner language.
    ///
    /// # Errors
    /// When it is malformed, or means something that the inner language has no word for.
    pub fn request(&self) -> Result<&request::Request, request::Refusal> {
        self.inner.get_or_init(|| draft::read_request(self)).as_ref().map_err(Clone::clone)
    }
}

/// How one try came out.
enum Tryout {
    /// The client has its answer, or as much of it as there will be.
    Served(Next),
    /// Nothing has gone to the client.
    Failed(Refusal),
    /// The client has gone.
    Gone,
}

/// A failure, and what the client needs if it turns out to be the last.
struct Refusal {
    fault: UpstreamFault,
    /// The provider's status; 0 if none came.
    status: u16,
    /// The member of the request that the provider blames.
    param: Option<String>,
}

/// What the failures so far rule out.
#[derive(Default)]
struct Trail {
    tried: Vec<Tried>,
    last: Option<Refusal>,
    classes: Vec<FaultClass>,
    retry_after: Option<Duration>,
    dead_providers: Vec<ProviderIx>,
    dead_credentials: Vec<CredentialId>,
    /// Why candidates could not be asked at all, the first of them.
    unsuited: Option<request::Refusal>,
    /// How many of them broke off.
    broken: usize,
    over: bool,
    /// Whether the call is the provider's own: then its refusals are its own, too.
    is_carried: bool,
}

/// Tries the candidates in order.
pub async fn run(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    inquiry: &Inquiry<'_>,
    plan: &Plan,
) -> Result<Next, Fault> {
    let is_carried = matches!(inquiry.ask.task, Task::Raw(_) | Task::Object(_));
    let mut trail = Trail { is_carried, ..Trail::default() };
    let mut reports = Reports::default();
    for candidate in &plan.candidates {
        if trail.over || exchange.attempts >= budget(candidate) {
            break;
        }
        if trail.rules_out(candidate) {
            continue;
        }
        let snapshot = exchange.snapshot.clone();
        let Some(provider) = snapshot.provider(candidate.target.provider) else { continue };
        let draft = match Draft::of(inquiry, &candidate.target, provider) {
            Ok(draft) => draft,
            // Nothing was sent: this is no attempt, and another candidate's format may have the words.
            Err(refusal) => {
                trail.unsuited.get_or_insert(refusal);
                continue;
            }
        };
        exchange.attempts += 1;
        let mut report = open_report(exchange, inquiry, candidate, provider);
        let terms = Cell::new(Terms { service_tier: inquiry.ask.service_tier, at: report.started });
        let passage = Passage { inquiry, draft: &draft, candidate, provider, policy: plan.policy, terms };
        let began = Instant::now();
        let outcome = try_one(exchange, down, &passage, &mut report).await;
        report.total_us = micros(began.elapsed());
        let (sent, broken) = (report.outcome != Outcome::Unreachable, report.outcome == Outcome::Broken);
        reports.push(exchange, report);
        match outcome {
            Tryout::Served(next) => {
                reports.close(exchange);
                return Ok(next);
            }
            Tryout::Gone => {
                reports.close(exchange);
                return Ok(Next::Abort);
            }
            Tryout::Failed(refusal) => {
                park(exchange, candidate, &refusal.fault);
                trail.broken += usize::from(broken);
                let large = inquiry.body().len() > limits::REPLAY_BYTES_MAX || inquiry.rest().is_some();
                trail.over |= sent && large;
                trail.note(candidate, provider, refusal);
            }
        }
    }
    reports.close(exchange);
    Err(trail.verdict())
}

/// A credential that was told to wait, or has no money left, lets others go first for a while.
fn park(exchange: &Exchange<'_>, candidate: &Candidate, fault: &UpstreamFault) {
    let wait = match fault.class {
        FaultClass::RateLimit => fault.retry_after.unwrap_or(limits::RETRY_AFTER_UNKNOWN),
        FaultClass::NoCredit => limits::PARKED_WITHOUT_CREDIT,
        _ => return,
    };
    if let Some(credential) = &candidate.credential {
        exchange.core.park(credential.id, Instant::now() + wait);
    }
}

/// Attempts allowed when this candidate's turn comes.
fn budget(candidate: &Candidate) -> u32 {
    let configured = candidate.credential.as_ref().and_then(|credential| credential.max_retries);
    limits::ATTEMPTS_MAX.min(configured.map_or(limits::ATTEMPTS_MAX, |retries| retries.saturating_add(1)))
}

async fn try_one(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    passage: &Passage<'_>,
    report: &mut AttemptReport,
) -> Tryout {
    let began = Instant::now();
    match ask(exchange, down, passage).await {
        Err(failure) => {
            exchange.waited += began.elapsed();
            failed(failure, report)
        }
        Ok(mut answer) => {
            passage.scrub_lines(&mut answer.kept);
            // An answer that came before the body's end: what follows on this line is no request (rule H14).
            exchange.persist &= !passage.inquiry.is_unread();
            exchange.waited += answer.waited + answer.connecting;
            report.status = answer.status;
            report.connect_us = micros(answer.connecting);
            report.first_byte_us = micros(answer.connecting + answer.waited);
            if answer.status == 101 {
                let (next, outcome, usage) = realtime::session(exchange, down, passage, answer).await;
                report.outcome = outcome;
                report.stream = true;
                meter(passage, usage, 0, report);
                Tryout::Served(next)
            } else if (200..300).contains(&answer.status) && passage.inquiry.ask.task == Task::Realtime {
                // A success that is no session is nothing that a WebSocket client could read.
                failed(Failure::Broken, report)
            } else if (200..300).contains(&answer.status) {
                pass_on(exchange, down, passage, answer, report).await
            } else {
                refused(exchange, down, passage, answer, report).await
            }
        }
    }
}

async fn ask(exchange: &Exchange<'_>, down: &mut Downstream, passage: &Passage<'_>) -> Result<Answer, Failure> {
    let Passage { inquiry, draft, candidate, provider, .. } = passage;
    let credential = candidate.credential.as_deref();
    let target = &candidate.target;
    let outbound = Outbound { provider, credential, target, inquiry, draft, request: exchange.id };
    let addressed = outbound.address().map_err(|_| Failure::Unsigned)?;
    let settings = &exchange.snapshot.settings;
    let usual = if inquiry.ask.stream { settings.first_byte_streaming } else { settings.first_byte_unary };
    let call = Call {
        origin: &provider.origin,
        connect_timeout: provider.connect_timeout,
        first_byte: credential.and_then(|credential| credential.timeout).or(provider.timeout).unwrap_or(usual),
        method: inquiry.method(),
        switch: inquiry.ask.task == Task::Realtime,
        write: &|out| addressed.write(out),
        size_hint: addressed.size_hint(),
    };
    match inquiry.upload.take() {
        None if inquiry.rest().is_some() => Err(Failure::Broken),
        None => attempt::send(exchange.core, down, &call).await,
        Some(mut upload) => {
            let sent = attempt::send_streamed(exchange.core, down, &call, &mut upload).await;
            inquiry.unread.set(!upload.is_end());
            if matches!(sent, Err(Failure::Unreachable)) {
                // Nothing of it has gone: the next candidate can still have it.
                inquiry.upload.replace(Some(upload));
            }
            sent
        }
    }
}

/// Notes a try that brought no answer.
fn failed(failure: Failure, report: &mut AttemptReport) -> Tryout {
    let (outcome, class, words) = match failure {
        Failure::ClientGone | Failure::BodyBroken => {
            report.outcome = Outcome::ClientGone;
            return Tryout::Gone;
        }
        Failure::Unreachable => (Outcome::Unreachable, FaultClass::Overloaded, "the provider cannot be reached"),
        Failure::Unsigned => (Outcome::Unreachable, FaultClass::BadKey, "the stored key cannot sign requests"),
        Failure::TimedOut => (Outcome::TimedOut, FaultClass::Timeout, "the provider sent no answer in time"),
        Failure::Broken => (Outcome::Broken, FaultClass::Unknown, "the provider's answer broke off"),
    };
    report.outcome = outcome;
    Tryout::Failed(UpstreamFault::without_answer(class, words).into())
}

/// A success: relays it, unless it turns out to be a failure before anything has gone to the client.
async fn pass_on(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    passage: &Passage<'_>,
    answer: Answer,
    report: &mut AttemptReport,
) -> Tryout {
    report.stream = matches!(answer.content, Content::Events | Content::Frames);
    let passes = passage.draft.carriage == Carriage::Pass;
    let relayed = match answer.content {
        Content::Json if passes && answer.body.is_end() => relay::opaque(exchange, down, passage, answer).await,
        Content::Json => unary::unary(exchange, down, passage, answer).await,
        Content::Events => events::events(exchange, down, passage, answer).await,
        Content::Frames if !passes => events::events(exchange, down, passage, answer).await,
        Content::Frames | Content::Opaque if passes => relay::opaque(exchange, down, passage, answer).await,
        // Not of the provider's own format: nobody can say it again.
        Content::Frames | Content::Opaque => Relayed::Failed(Failure::Broken),
    };
    match relayed {
        Relayed::Served { next, outcome, usage, content_bytes } => {
            report.outcome = outcome;
            meter(passage, usage, content_bytes, report);
            Tryout::Served(next)
        }
        Relayed::Fault(fault) => {
            report.outcome = Outcome::Refused;
            Tryout::Failed(fault.into())
        }
        Relayed::Failed(failure) => failed(failure, report),
    }
}

/// The provider's figure, or an estimate from what went by.
fn meter(passage: &Passage<'_>, usage: Option<Usage>, content_bytes: usize, report: &mut AttemptReport) {
    (report.usage, report.usage_source) = match usage {
        Some(usage) => (usage, UsageSource::Provider),
        None if report.outcome == Outcome::Completed && content_bytes == 0 => (Usage::default(), UsageSource::Unknown),
        None => {
            let input = tap::estimate_tokens(passage.inquiry.body().len());
            let output = tap::estimate_tokens(content_bytes);
            (Usage { input, output, ..Usage::default() }, UsageSource::Estimated)
        }
    };
    if report.usage_source != UsageSource::Unknown {
        report.cost = passage.cost(Some(&report.usage)).map(|cost| cost.total);
    }
}

/// An error answer: reads it and says what kind it is.
async fn refused(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    passage: &Passage<'_>,
    mut answer: Answer,
    report: &mut AttemptReport,
) -> Tryout {
    let body = match relay::collect(exchange, down, &mut answer, limits::ERROR_BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(Failure::ClientGone) => return failed(Failure::ClientGone, report),
        // The status alone will have to do.
        Err(_) => crate::rt::Buf::new(),
    };
    let fields = std::mem::take(&mut answer.fields);
    let header = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_bytes());
    let book = &passage.provider.spec.faults;
    let mut fault = fault::classify(book, answer.status, &header, body.bytes(), UnixMillis::now());
    attempt::give_back(exchange.core, &passage.provider.origin, answer);
    passage.scrub(&mut fault);
    report.outcome = Outcome::Refused;
    let param = blamed(body.bytes()).map(|param| bounded(&passage.scrubbed(&param), limits::FAULT_CODE_BYTES_MAX));
    Tryout::Failed(Refusal { fault, status: report.status, param })
}

/// `error.param` of an OpenAI-shaped error body.
fn blamed(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    body.get("error")?.get("param")?.as_str().map(str::to_owned)
}

impl From<UpstreamFault> for Refusal {
    fn from(fault: UpstreamFault) -> Self {
        Self { fault, status: 0, param: None }
    }
}

// === impl Trail ===

impl Trail {
    fn rules_out(&self, candidate: &Candidate) -> bool {
        let dead_credential =
            candidate.credential.as_ref().is_some_and(|credential| self.dead_credentials.contains(&credential.id));
        dead_credential || self.dead_providers.contains(&candidate.target.provider)
    }

    fn note(&mut self, candidate: &Candidate, provider: &Provider, refusal: Refusal) {
        let fault = &refusal.fault;
        let again = fault.class.again();
        if let Some(credential) = &candidate.credential {
            self.dead_credentials.push(credential.id);
        }
        if !again.other_key {
            self.dead_providers.push(candidate.target.provider);
        }
        // Without window sizes to compare, a prompt that is too long for one model is answered as such.
        self.over |= again.other_provider != Elsewhere::Any || is_uncertain(fault.class);
        self.tried.push(Tried { provider: provider.id.as_str().to_owned(), why: fault.class.as_str() });
        self.classes.push(fault.class);
        self.retry_after = match (self.retry_after, fault.retry_after) {
            (Some(known), Some(new)) => Some(known.min(new)),
            (known, new) => known.or(new),
        };
        self.last = Some(refusal);
    }

    /// What the client hears.
    fn verdict(self) -> Fault {
        let Some(last) = self.last else {
            return match self.unsuited {
                Some(request::Refusal { param, message }) => Fault::InvalidRequest { message, param: Some(param) },
                None => Fault::AllUnavailable { tried: self.tried },
            };
        };
        let all = |class: FaultClass| self.classes.iter().all(|seen| *seen == class);
        let keys_refused =
            self.classes.iter().all(|class| matches!(class, FaultClass::BadKey | FaultClass::NoPermission));
        if keys_refused {
            let provider = self.tried.last().map(|tried| tried.provider.clone()).unwrap_or_default();
            return Fault::ProviderAuthentication { provider };
        }
        if all(FaultClass::RateLimit) {
            let wait = self.retry_after.unwrap_or(limits::RETRY_AFTER_UNKNOWN);
            return Fault::RateLimited { retry_after_s: wait.as_secs_f64().ceil() as u64 };
        }
        if self.broken == self.classes.len() {
            let provider = self.tried.last().map(|tried| tried.provider.clone()).unwrap_or_default();
            return Fault::UpstreamBroken { provider };
        }
        match last.fault.class {
            FaultClass::Timeout => Fault::UpstreamTimeout,
            _ if self.is_carried && speaks_of_request(last.status) => refused_as(last.status, last),
            FaultClass::BadRequest | FaultClass::ContextTooLong | FaultClass::ContentFilter => refused_as(400, last),
            FaultClass::ModelNotFound => refused_as(404, last),
            _ => Fault::AllUnavailable { tried: self.tried },
        }
    }
}

/// Whether the provider may have done the work, and bill it, although no answer came (rule Q1).
fn is_uncertain(class: FaultClass) -> bool {
    matches!(class, FaultClass::Timeout)
}

/// Whether a refusal with this status is about what was asked, and not about our key, our money or our rate.
fn speaks_of_request(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 401..=403 | 407 | 408 | 429)
}

/// The provider's own refusal, with its own status where that speaks of the request and not of our key or our rate.
fn refused_as(usual: u16, refusal: Refusal) -> Fault {
    let Refusal { fault, status, param } = refusal;
    let status = if matches!(status, 400 | 404 | 405 | 409 | 410 | 413 | 415 | 422) { status } else { usual };
    // A bare number, Google's status or a vendor's own catalogue, tells a client less than the class.
    let code = fault.code.filter(|code| !code.bytes().all(|byte| byte.is_ascii_digit()));
    Fault::Refused { status, class: fault.class, message: fault.message, code, param }
}

// === Reports ===

/// Holds the latest report back until it is known whether it is the exchange's last.
#[derive(Default)]
struct Reports {
    latest: Option<AttemptReport>,
}

impl Reports {
    fn push(&mut self, exchange: &Exchange<'_>, report: AttemptReport) {
        if let Some(earlier) = self.latest.replace(report) {
            deliver(exchange, earlier);
        }
    }

    fn close(&mut self, exchange: &Exchange<'_>) {
        if let Some(mut last) = self.latest.take() {
            last.last = true;
            deliver(exchange, last);
        }
    }
}

fn deliver(exchange: &Exchange<'_>, report: AttemptReport) {
    let delivered = exchange.core.reports.push(report);
    debug_assert!(delivered, "a report found no room although admission had reserved it");
}

fn open_report(
    exchange: &Exchange<'_>,
    inquiry: &Inquiry<'_>,
    candidate: &Candidate,
    provider: &Provider,
) -> AttemptReport {
    AttemptReport {
        exchange: exchange.id,
        attempt: exchange.core.attempt_id(),
        last: false,
        tenant: inquiry.key.tenant.clone(),
        access_key: inquiry.key.id,
        provider: provider.id.clone(),
        credential: candidate.credential.as_ref().map(|credential| credential.id),
        model: candidate.target.model.clone(),
        outcome: Outcome::Broken,
        status: 0,
        stream: inquiry.ask.stream,
        usage: Usage::default(),
        usage_source: UsageSource::Unknown,
        cost: None,
        started: UnixMillis::now(),
        connect_us: 0,
        first_byte_us: 0,
        total_us: 0,
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
