//! One try at one provider, from its intent in the journal to the last byte relayed, with the one close that it leaves.

use super::attempt::{self, Answer, Call, Content, Failure, unless_lost};
use super::books::Standing;
use super::downstream::Downstream;
use super::draft::{Carriage, Draft};
use super::exchange::{Apart, Exchange, Next};
use super::explain::trace_of;
use super::folio::{Folio, Sending, micros};
use super::inquiry::Inquiry;
use super::outbound::{Addressed, Outbound};
use super::per_core::Core;
use super::plan::{Candidate, Plan};
use super::prime::{Patience, Primed};
use super::relay::{self, Passage, Passed, Relayed};
use super::steer::{Permit, Refused};
use super::stream::StreamFacts;
use super::surface::Task;
use super::trail::{Refusal, is_about_the_key};
use super::upload::Upload;
use super::{events, realtime, rota, unary};
use crate::chat::fault::{self, BreakerWeight, FaultClass, UpstreamFault};
use crate::chat::response::Response;
use crate::domain::id::RequestId;
use crate::domain::text::bounded;
use crate::limits;
use crate::metering::tap;
use crate::metering::terms::{Terms, Tier};
use crate::report::{AttemptReport, Opening, Outcome};
use crate::routing::observed::{Sample, Verdict};
use crate::rt;
use crate::snapshot::{Provider, Role, Settings};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How one try came out.
pub enum Ended {
    /// The client has its answer, or as much of it as there will be.
    Served(Next),
    /// The client has a part of its answer, and another provider may go on from there.
    Interrupted,
    /// Nothing has gone to the client.
    Failed(Refusal),
    /// The client has gone.
    Gone,
}

/// A candidate that is being asked.
pub struct Entrant<'a> {
    /// Who passes what to whom.
    pub passage: Passage<'a>,
    /// Its place on the lane, until the lane has learnt from it.
    permit: Option<Permit>,
    /// How its failure, if it failed, speaks of the provider.
    weight: BreakerWeight,
    /// What its failure, if it failed, says of the key.
    key_refused: Option<Refused>,
    /// Whether the head of its answer is there.
    pub headed: Cell<bool>,
    /// Whether it was given up for being late.
    late: bool,
}

impl<'a> Entrant<'a> {
    /// A candidate's turn: counts as an attempt from here on, and its intent is in the journal.
    pub fn enter(
        exchange: &mut Exchange<'_>,
        inquiry: &'a Inquiry<'a>,
        candidate: &'a Candidate,
        provider: &'a Provider,
        plan: &'a Plan,
        draft: Draft,
    ) -> Self {
        exchange.attempts += 1;
        let price = candidate.target.price.as_ref();
        let opening = Opening {
            exchange: exchange.id,
            attempt: exchange.core.attempt_id(),
            tenant: &candidate.tenant,
            access_key: inquiry.key.id,
            provider: &candidate.lane.provider,
            credential: candidate.credential.as_ref().map(|credential| credential.id),
            model: &candidate.target.model,
            policy: plan.policy,
            stream: inquiry.ask.stream,
            price_version: price.map_or(0, |list| list.version()),
            started: rt::wall(rt::coarse_now()),
        };
        let terms = Terms { service_tier: inquiry.ask.service_tier, at: opening.started };
        let bytes = inquiry.body().len() + draft.replayed;
        let tokens = plan.need.input_tokens + tap::estimate_tokens(draft.replayed);
        let folio = Folio::open(&exchange.books, &opening, price, terms, Sending { bytes, tokens });
        let permit = exchange.core.steer.begin(&candidate.lane, &candidate.known, tokens, folio.began());
        if rota::role(candidate) == Role::Standby {
            exchange.core.steer.begin_trial(&candidate.lane, folio.began());
        }
        let passage = Passage { inquiry, draft, candidate, provider, plan, folio, together: None };
        let (weight, headed) = (BreakerWeight::None, Cell::new(false));
        Self { passage, permit: Some(permit), weight, key_refused: None, headed, late: false }
    }

    /// Asks, and passes the answer on.
    pub async fn run(&mut self, exchange: &mut Exchange<'_>, down: &mut Downstream) -> (Ended, Outcome) {
        let ended = match ask(exchange, down, &self.passage).await {
            Err(failure) => {
                exchange.waited += self.passage.folio.began().elapsed();
                self.failed(failure)
            }
            Ok(answer) => self.settle(exchange, down, answer).await,
        };
        self.passage.folio.close(Standing::Ended);
        self.teach(exchange);
        (ended, self.passage.folio.outcome())
    }

    /// Takes a whole answer in the inner language out of what was read ahead, instead of passing it on.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn listen(&mut self, exchange: &Exchange<'_>, primed: Primed) -> Result<Response, Failure> {
        let Primed { answer, .. } = primed;
        self.see(exchange, &answer);
        if answer.content != Content::Json || !answer.body.is_end() {
            return Err(Failure::Broken);
        }
        let read = (self.passage.draft.wire.provider_side().read_response)(answer.early.bytes());
        let response = read.map_err(|_| Failure::Broken)?;
        attempt::give_back(exchange.core, &self.passage.provider.origin, answer);
        if let Some(tier) = &response.service_tier {
            self.passage.folio.served_by(Tier::named(tier));
        }
        self.passage.folio.report_mut().stream = false;
        self.passage.folio.settle(Outcome::Completed, &StreamFacts::stated(response.usage));
        Ok(response)
    }

    /// The attempt is over, and another may follow: what is known of the lane learns from it. How it ended.
    pub fn close(mut self, exchange: &Exchange<'_>) -> Outcome {
        self.passage.folio.close(Standing::Ended);
        self.teach(exchange);
        self.passage.folio.outcome()
    }

    /// The same for one that is settled and whose answer is still to be told: it is closed by whoever tells it.
    pub fn part(mut self, exchange: &Exchange<'_>) -> Passage<'a> {
        self.teach(exchange);
        self.passage
    }

    /// What is known of the lane learns from an attempt that is settled; once.
    fn teach(&mut self, exchange: &Exchange<'_>) {
        let Self { passage, permit, weight, key_refused, late, .. } = self;
        let Some(mut permit) = permit.take() else { return };
        let now = rt::coarse_now();
        let (report, began) = (passage.folio.report(), passage.folio.began());
        let first_content = passage.folio.first_content();
        let mut sample = sample(&report, *weight, first_content.map(|at| now.saturating_duration_since(at)));
        if *late {
            sample.verdict = Verdict::Outrun;
        }
        if report.outcome == Outcome::Unreachable {
            // A name that has not been looked up yet says nothing of the provider.
            permit.mark_unreachable(!passage.provider.origin.addresses.is_empty());
        }
        let (steer, lane) = (&exchange.core.steer, &passage.candidate.lane);
        steer.close(permit, lane, &sample, now);
        match key_refused {
            Some(refused) => steer.key_refused(lane, *refused, began, now),
            None if report.outcome == Outcome::Completed => {
                steer.key_accepted(lane, is_usual(passage.candidate), began, now)
            }
            None => {}
        }
        if let Some(prefix) = passage.inquiry.prefix.filter(|_| report.outcome == Outcome::Completed) {
            let cache = passage.provider.spec.prompt_cache(&passage.candidate.target.model);
            steer.warmed(prefix, lane, cache, &report.usage, now);
        }
    }

    /// The same of an answer that was read ahead: its first content was there then, and not when it is passed on.
    pub async fn settle_primed(&mut self, exchange: &mut Exchange<'_>, down: &mut Downstream, primed: Primed) -> Ended {
        self.passage.folio.was_read_ahead(primed.at);
        self.settle(exchange, down, primed.answer).await
    }

    /// Notes that another attempt was first; `late` says that this one had its chance before. The provider may bill what it was sent, and
    /// what it had said by then.
    pub fn superseded(&mut self, exchange: &Exchange<'_>, primed: Option<&Primed>, late: bool) {
        self.late = late;
        let mut facts = StreamFacts::default();
        if let Some(primed) = primed {
            self.see(exchange, &primed.answer);
            facts = primed.facts;
        }
        let folio = &self.passage.folio;
        folio.has_content(primed.map_or_else(rt::coarse_now, |primed| primed.at));
        folio.settle(Outcome::Superseded, &facts);
    }

    /// Notes an error that came under a success's status.
    pub fn faulted(&mut self, exchange: &Exchange<'_>, answer: &Answer, fault: UpstreamFault) -> Ended {
        self.see(exchange, answer);
        self.blame(fault.class);
        Ended::Failed(fault.into())
    }

    /// Notes a refusal, and whom it speaks of: the provider, or the key.
    fn blame(&mut self, class: FaultClass) {
        self.note_key(class);
        self.passage.folio.settle_failed(Outcome::Refused);
    }

    fn note_key(&mut self, class: FaultClass) {
        let is_carried = matches!(self.passage.inquiry.ask.task, Task::Raw(_) | Task::Object(_));
        self.passage.folio.report_mut().key_refused = is_about_the_key(class);
        self.key_refused = Refused::of(class, is_carried);
        self.weight = class.counts_against_breaker();
    }

    fn see(&mut self, exchange: &Exchange<'_>, answer: &Answer) {
        let (lane, now) = (&self.passage.candidate.lane, rt::coarse_now());
        if let Some(permit) = &self.permit {
            exchange.core.steer.learn_quota(permit, lane, &answer.allowances, now);
        }
        let is_success = (200..300).contains(&answer.status) || answer.status == 101;
        if is_success && !self.passage.provider.spec.faults.in_success {
            // A key that is good again is not kept waiting for the end of a long stream.
            let began = self.passage.folio.began();
            exchange.core.steer.key_accepted(lane, is_usual(self.passage.candidate), began, now);
        }
        let mut report = self.passage.folio.report_mut();
        report.status = answer.status;
        report.connect_us = micros(answer.connecting);
        report.tls_us = micros(answer.upstream.tls);
        report.first_byte_us = micros(answer.connecting + answer.waited);
    }

    /// Makes something of an answer whose head is there.
    pub async fn settle(&mut self, exchange: &mut Exchange<'_>, down: &mut Downstream, mut answer: Answer) -> Ended {
        self.see(exchange, &answer);
        let passage = &self.passage;
        passage.scrub_lines(&mut answer.kept);
        // An answer that came before the body's end: what follows on this line is no request (rule H14).
        exchange.persist &= !passage.inquiry.is_unread();
        exchange.waited += answer.waited + answer.connecting;
        exchange.clock.answered(&answer);
        let relayed = match self.way(exchange, &answer) {
            Way::Unary => unary::unary(exchange, down, passage, answer).await,
            // A stream is long, and its state large: it lies apart, so that a connection without one is the smaller.
            Way::Events => Box::pin(events::events(exchange, down, passage, answer)).await,
            Way::Seldom(way) => return self.settle_apart(exchange, down, answer, way).await,
        };
        self.relayed(exchange, down, relayed)
    }

    /// The same where it is seldom, and long or large: the work lies apart, so that every other attempt is the smaller.
    #[cold]
    fn settle_apart<'w>(
        &'w mut self,
        exchange: &'w mut Exchange<'_>,
        down: &'w mut Downstream,
        answer: Answer,
        way: Seldom,
    ) -> Apart<'w, Ended> {
        Box::pin(async move {
            let passage = &self.passage;
            match way {
                Seldom::Opaque => {
                    let relayed = relay::opaque(exchange, down, passage, answer).await;
                    self.relayed(exchange, down, relayed)
                }
                Seldom::Session => Ended::Served(realtime::session(exchange, down, passage, answer).await),
                Seldom::Refused => self.refused(exchange, down, answer).await,
                Seldom::Broken => self.failed(Failure::Broken),
            }
        })
    }

    /// What is to become of an answer, by its head.
    fn way(&self, exchange: &Exchange<'_>, answer: &Answer) -> Way {
        let passage = &self.passage;
        if answer.status == 101 {
            passage.folio.report_mut().stream = true;
            return Way::Seldom(Seldom::Session);
        }
        if !(200..300).contains(&answer.status) {
            return Way::Seldom(Seldom::Refused);
        }
        if passage.inquiry.ask.task == Task::Realtime {
            // A success that is no session is nothing that a WebSocket client could read.
            return Way::Seldom(Seldom::Broken);
        }
        passage.folio.report_mut().stream = matches!(answer.content, Content::Events | Content::Frames);
        let passes = passage.draft.carriage == Carriage::Pass;
        match answer.content {
            // Nothing but a stream can go on in a stream.
            Content::Json | Content::Opaque if exchange.continuation.is_some() => Way::Seldom(Seldom::Broken),
            Content::Json if passes && answer.remaining() == Some(0) => Way::Seldom(Seldom::Opaque),
            Content::Json => Way::Unary,
            Content::Events => Way::Events,
            Content::Frames if !passes => Way::Events,
            Content::Frames | Content::Opaque if passes => Way::Seldom(Seldom::Opaque),
            // Not of the provider's own format: nobody can say it again.
            Content::Frames | Content::Opaque => Way::Seldom(Seldom::Broken),
        }
    }

    /// Notes a try that brought no answer.
    #[cold]
    pub fn failed(&mut self, failure: Failure) -> Ended {
        let (outcome, class, words) = match failure {
            Failure::ClientGone | Failure::BodyBroken => {
                self.passage.folio.settle_failed(Outcome::ClientGone);
                return Ended::Gone;
            }
            Failure::Unreachable => (Outcome::Unreachable, FaultClass::Overloaded, "the provider cannot be reached"),
            Failure::Unsigned => (Outcome::Unreachable, FaultClass::BadKey, "the stored key cannot sign requests"),
            Failure::TimedOut => (Outcome::TimedOut, FaultClass::Timeout, "the provider sent no answer in time"),
            Failure::Broken => (Outcome::Broken, FaultClass::Unknown, "the provider's answer broke off"),
        };
        self.weight = BreakerWeight::Full;
        if failure == Failure::Unsigned {
            self.note_key(class);
        }
        self.passage.folio.settle_failed(outcome);
        Ended::Failed(UpstreamFault::without_answer(class, words).into())
    }

    /// A success was relayed, or turned out to be a failure before anything had gone to the client.
    fn relayed(&mut self, exchange: &mut Exchange<'_>, down: &mut Downstream, relayed: Relayed) -> Ended {
        let passage = &self.passage;
        match relayed {
            Relayed::Served(Passed { next, outcome, facts }) => {
                if outcome != Outcome::Completed {
                    down.spoil_record();
                }
                // Most have been closed before their last byte went out.
                passage.folio.answers(outcome, &facts);
                if matches!(outcome, Outcome::Broken | Outcome::TimedOut) {
                    self.weight = BreakerWeight::Full;
                }
                Ended::Served(next)
            }
            Relayed::Interrupted(Passed { outcome, facts, .. }) => {
                passage.folio.settle(outcome, &facts);
                let usage = passage.folio.report().usage;
                exchange.legs.add(&usage, passage.folio.cost(Some(&usage)), passage.provider.id.clone());
                self.weight = BreakerWeight::Full;
                Ended::Interrupted
            }
            Relayed::Fault(fault) => {
                self.blame(fault.class);
                Ended::Failed(fault.into())
            }
            Relayed::Failed(failure) => self.failed(failure),
        }
    }

    /// An error answer: reads it and says what kind it is.
    async fn refused(&mut self, exchange: &mut Exchange<'_>, down: &mut Downstream, mut answer: Answer) -> Ended {
        let passage = &self.passage;
        let body = match relay::collect(exchange, down, &mut answer, limits::ERROR_BODY_BYTES_MAX).await {
            Ok(body) => body,
            Err(Failure::ClientGone) => return self.failed(Failure::ClientGone),
            // The status alone will have to do.
            Err(_) => rt::Buf::new(),
        };
        let fields = std::mem::take(&mut answer.fields);
        let header = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_bytes());
        let book = &passage.provider.spec.faults;
        let mut fault = fault::classify(book, answer.status, &header, body.bytes(), rt::wall(rt::coarse_now()));
        attempt::give_back(exchange.core, &passage.provider.origin, answer);
        passage.scrub(&mut fault);
        let param = blamed(body.bytes()).map(|param| bounded(&passage.scrubbed(&param), limits::FAULT_CODE_BYTES_MAX));
        let status = passage.folio.report().status;
        self.blame(fault.class);
        Ended::Failed(Refusal { fault, status, param })
    }
}

/// What is to become of an answer whose head is there.
enum Way {
    /// JSON in one piece.
    Unary,
    /// Events as they come.
    Events,
    /// Anything else.
    Seldom(Seldom),
}

/// What is seldom to become of an answer.
enum Seldom {
    /// Bytes that nobody here reads.
    Opaque,
    /// A WebSocket.
    Session,
    /// An error.
    Refused,
    /// Nothing that this client can have.
    Broken,
}

/// What attempts of one exchange are sent with.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    /// This core.
    pub core: &'a Rc<Core>,
    /// The exchange.
    pub request: RequestId,
    /// How long anything may take.
    pub settings: &'a Settings,
    /// When the exchange must be over.
    pub end: Instant,
}

impl Sender<'_> {
    /// How long reading ahead may take.
    pub fn patience(&self) -> Patience {
        Patience { silence: self.settings.stream_silence, end: self.end }
    }
}

async fn ask(exchange: &Exchange<'_>, down: &mut Downstream, passage: &Passage<'_>) -> Result<Answer, Failure> {
    let inquiry = passage.inquiry;
    let settings = &exchange.snapshot.settings;
    let end = exchange.began + settings.exchange_deadline;
    let sender = Sender { core: exchange.core, request: exchange.id, settings, end };
    match inquiry.upload.take() {
        None if inquiry.rest().is_some() => Err(Failure::Broken),
        None => unless_lost(down, open(sender, passage)).await?,
        Some(upload) => ask_streamed(sender, down, passage, upload).await,
    }
}

/// The same where the rest of the body is still to come from the client.
#[cold]
fn ask_streamed<'w>(
    sender: Sender<'w>,
    down: &'w mut Downstream,
    passage: &'w Passage<'_>,
    mut upload: Box<Upload>,
) -> Apart<'w, Result<Answer, Failure>> {
    Box::pin(async move {
        let outbound = outbound(sender, passage);
        let addressed = outbound.address().map_err(|_| Failure::Unsigned)?;
        let write = |out: &mut Vec<u8>| addressed.write(out);
        let call = call(sender, passage, &addressed, &write, &|| false);
        let sent = attempt::send_streamed(sender.core, down, &call, &mut upload).await;
        passage.inquiry.unread.set(!upload.is_end());
        if matches!(sent, Err(Failure::Unreachable)) {
            // Nothing of it has gone: the next candidate can still have it.
            passage.inquiry.upload.replace(Some(upload));
        }
        sent
    })
}

/// Asks, and waits for the head of the answer; the client is not looked at. Dropped before it ends, it closes its connection.
///
/// # Errors
/// There is no answer.
pub async fn open(sender: Sender<'_>, passage: &Passage<'_>) -> Result<Answer, Failure> {
    let outbound = outbound(sender, passage);
    let addressed = outbound.address().map_err(|_| Failure::Unsigned)?;
    let write = |out: &mut Vec<u8>| addressed.write(out);
    let again = || passage.folio.begins_again(sender.core.attempt_id());
    attempt::send(sender.core, &call(sender, passage, &addressed, &write, &again)).await
}

fn outbound<'p>(sender: Sender<'_>, passage: &'p Passage<'_>) -> Outbound<'p> {
    let Passage { inquiry, draft, candidate, provider, .. } = passage;
    let credential = candidate.credential.as_deref();
    let (request, target) = (sender.request, &candidate.target);
    let traceparent = sender.settings.telemetry.sampling.map(|sampling| {
        trace_of(inquiry.head, inquiry.received.head(), request, sampling).onward(passage.folio.report().attempt)
    });
    Outbound { provider, credential, target, inquiry, draft, request, traceparent }
}

fn call<'c>(
    sender: Sender<'_>,
    passage: &'c Passage<'_>,
    addressed: &Addressed<'_>,
    write: &'c dyn Fn(&mut Vec<u8>),
    again: &'c dyn Fn() -> bool,
) -> Call<'c> {
    let Passage { inquiry, candidate, provider, .. } = passage;
    let settings = sender.settings;
    let usual = if inquiry.ask.stream { settings.first_byte_streaming } else { settings.first_byte_unary };
    let own = candidate.credential.as_deref().and_then(|credential| credential.timeout);
    Call {
        origin: &provider.origin,
        connect_timeout: provider.connect_timeout,
        first_byte: own.or(provider.timeout).unwrap_or(usual),
        method: inquiry.method(),
        switch: inquiry.ask.task == Task::Realtime,
        again,
        write,
        size_hint: addressed.size_hint(),
        sent: passage.folio.sent(),
    }
}

/// `error.param` of an OpenAI-shaped error body.
fn blamed(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    body.get("error")?.get("param")?.as_str().map(str::to_owned)
}

/// Whether a candidate's credential is no part of a rotation.
fn is_usual(candidate: &Candidate) -> bool {
    rota::role(candidate) == Role::Usual
}

/// What an attempt teaches. `streamed` is the time from the first content to the end.
fn sample(report: &AttemptReport, weight: BreakerWeight, streamed: Option<Duration>) -> Sample {
    let verdict = match (report.outcome, weight) {
        (Outcome::Completed, _) => Verdict::Good,
        (_, BreakerWeight::Full) => Verdict::Bad,
        (_, BreakerWeight::Soft) => Verdict::Limited,
        _ => Verdict::Neutral,
    };
    let stated = |micros: u32| (micros > 0).then_some(micros);
    let gaps = report.usage.output.saturating_sub(1);
    let inter_token = streamed.filter(|_| gaps > 0 && verdict == Verdict::Good);
    Sample {
        tenant: report.tenant.clone(),
        verdict,
        connect_us: stated(report.connect_us),
        first_byte_us: stated(report.first_byte_us.saturating_sub(report.connect_us)),
        first_token_us: stated(report.first_token_us),
        inter_token_us: inter_token
            .map(|streamed| u32::try_from(streamed.as_micros() / u128::from(gaps)).unwrap_or(u32::MAX)),
        total_us: report.total_us,
        usage: report.usage,
        cost: report.cost,
    }
}
