//! One connection served: read a request, check it, note it, answer it or fail it as planned, until somebody leaves.

use super::accounts::Arrival;
use super::fault::{Behaviour, Directives, Fault};
use super::link::{Gone, Link, Wire};
use super::surface::{Asked, Call, Denial, Script, Seen, Surface, Work};
use super::text::mix;
use super::truth::{Ending, Outcome, Record, Ticket, masked, unix_ms};
use super::wire::Head;
use super::{Site, manners, quota};
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Serves one connection to its end.
pub(super) async fn connection<W: Wire>(wire: W, site: Arc<Site>) {
    let number = site.truth.connected();
    let mut session = Session { link: Link::new(wire), site, connection: number, served: 0, output: Vec::new() };
    loop {
        match session.exchange().await {
            Ok(Next::Reuse) => session.served += 1,
            Ok(Next::Close) => return session.link.close().await,
            Err(Gone::Malformed(reason)) => return session.refuse_grammar(&reason.0).await,
            Err(Gone::Client | Gone::Reset) => return,
        }
    }
}

enum Next {
    Reuse,
    Close,
}

pub(super) struct Session<W> {
    pub(super) link: Link<W>,
    pub(super) site: Arc<Site>,
    pub(super) connection: u64,
    served: u64,
    output: Vec<u8>,
}

/// A request on its way to its end: what its record needs to know.
pub(super) struct Exchange {
    ticket: Ticket,
    surface: Surface,
    quota: Option<quota::Standing>,
    pub(super) status: u16,
    pub(super) events: u32,
    pub(super) prompt_tokens: u32,
    pub(super) completion_tokens: u32,
}

impl Exchange {
    fn end(&self, site: &Site, outcome: Outcome) {
        let ending = Ending {
            status: self.status,
            outcome,
            events: self.events,
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
        };
        site.truth.end(&self.ticket, ending);
    }
}

impl<W: Wire> Session<W> {
    async fn exchange(&mut self) -> Result<Next, Gone> {
        let head = self.link.head(self.site.idle).await?;
        let body = self.link.body(&head).await?;
        self.link.next_answer();
        manners::check_head(&self.site.truth, self.connection, &head);
        let site = Arc::clone(&self.site);
        let surface = site.surface_of(&head);
        let key = surface.key(&head).unwrap_or_default().to_owned();
        let behaviour = site.behaviour();
        let key_accepted = site.accepts(&key, Instant::now());
        let mut seen = Seen::default();
        let asked = {
            let (connection, tokens) = (self.connection, behaviour.tokens);
            let call = Call {
                site: &site,
                surface,
                connection,
                head: &head,
                key: &key,
                key_accepted,
                body: &body,
                model: None,
                tokens,
            };
            surface.read(&call, &mut seen)
        };
        let ticket = self.note(&head, surface, (&key, key_accepted), body, seen);
        let mut exchange =
            Exchange { ticket, surface, quota: None, status: 0, events: 0, prompt_tokens: 0, completion_tokens: 0 };
        let result = match asked {
            Ok(Asked::Ready(text)) => self.send_whole(&mut exchange, &Denial::new(200, text)).await,
            Ok(Asked::Socket(opening)) => self.converse(&mut exchange, &behaviour, &key, &opening).await,
            Ok(Asked::Work(work)) => self.work(&mut exchange, &behaviour, &key, &work).await,
            Err(denial) => self.send_whole(&mut exchange, &denial).await,
        };
        match result {
            Ok(Done::Well) => {
                exchange.end(&site, Outcome::Completed);
                Ok(if head.close { Next::Close } else { Next::Reuse })
            }
            Ok(Done::Closed) => {
                exchange.end(&site, Outcome::Completed);
                Ok(Next::Close)
            }
            Ok(Done::Failed { fault, close }) => {
                exchange.end(&site, Outcome::Faulted(fault));
                Ok(if close || head.close { Next::Close } else { Next::Reuse })
            }
            Err(Gone::Reset) => {
                exchange.end(&site, Outcome::Faulted(format!("reset@{}", self.link.written())));
                Err(Gone::Reset)
            }
            Err(gone) => {
                exchange.end(&site, Outcome::ClientClosed { after: exchange.ticket.arrived.elapsed() });
                Err(gone)
            }
        }
    }

    fn note(&self, head: &Head, surface: Surface, shown: (&str, bool), body: Vec<u8>, seen: Seen) -> Ticket {
        let truth = &self.site.truth;
        let (key, key_accepted) = shown;
        let key = (!key.is_empty()).then_some(key);
        let id = truth.receipt_field().and_then(|field| head.fields.iter().find(|(name, _)| name == field));
        let id = id.map(|(_, value)| value.as_str());
        let model = seen.model.clone();
        let arrival = Arrival { key, key_accepted, model: model.as_deref(), stream: seen.stream, id };
        truth.arrive(&arrival, |sequence| Record {
            sequence,
            connection: self.connection,
            arrived: Instant::now(),
            arrived_unix_ms: unix_ms(),
            method: head.method.clone(),
            path: masked_target(&head.target),
            key: key.map(masked),
            key_accepted,
            surface: surface.name(),
            model: seen.model,
            stream: seen.stream,
            headers: head.fields.iter().map(masked_field).collect(),
            body_bytes: body.len(),
            body: truth.keeps_bodies().then_some(body),
            status: 0,
            outcome: Outcome::Open,
            events: 0,
            prompt_tokens: 0,
            completion_tokens: 0,
            took: None,
        })
    }

    async fn work(
        &mut self,
        exchange: &mut Exchange,
        behaviour: &Behaviour,
        key: &str,
        work: &Work,
    ) -> Result<Done, Gone> {
        let wishes = &work.directives;
        exchange.quota = behaviour.quota.map(|quota| self.site.buckets.take(quota, key, &work.model, Instant::now()));
        if let Some(wait) = exchange.quota.and_then(|standing| standing.wait) {
            return self.fail(exchange, &Fault::Status { code: 429, retry_after: Some(wait), body: None }).await;
        }
        let fault = wishes.fault.clone().or_else(|| behaviour.strike(self.site.seed, key, &work.model));
        let fault = fault.filter(|fault| *fault != Fault::StaleKeepAlive || self.served > 0);
        if let Some(fault) = fault.as_ref().filter(|fault| !matters_later(fault)) {
            return self.fail(exchange, fault).await;
        }
        let draw = mix(self.site.seed, exchange.ticket.sequence);
        let mut wait = wishes.latency.unwrap_or_else(|| behaviour.latency.draw(draw));
        if let Some(Fault::SlowFirstByte { delay }) = &fault {
            wait += *delay;
        }
        self.link.write_bytes = wishes.write_bytes.or(behaviour.write_bytes);
        if let Some(Fault::Reset { after_bytes }) = &fault {
            self.link.reset_after = Some(*after_bytes);
        }
        exchange.prompt_tokens = work.prompt_tokens;
        if !wait.is_zero() {
            self.link.pause(exchange.ticket.arrived + wait).await?;
        }
        // A reset beyond the end of the answer does not happen, and a slow answer is an answer: both end well.
        if work.stream {
            let pace = Pace::new(wishes, behaviour);
            self.stream(exchange, &work.script, fault.as_ref(), &pace).await
        } else {
            self.unary(exchange, &work.script, fault.as_ref()).await
        }
    }

    async fn unary(&mut self, exchange: &mut Exchange, script: &Script, fault: Option<&Fault>) -> Result<Done, Gone> {
        let mut body = Vec::with_capacity(1024);
        match fault {
            Some(fault @ Fault::ErrorInStream { .. }) => {
                exchange.prompt_tokens = 0;
                self.send_whole(exchange, &exchange.surface.failure(500, None)).await?;
                return Ok(Done::Failed { fault: fault.name(), close: false });
            }
            Some(fault @ Fault::Stall { .. }) => {
                self.link.outwait().await;
                return Ok(Done::Failed { fault: fault.name(), close: true });
            }
            _ => script.unary(&mut body),
        }
        exchange.completion_tokens = script.completion_tokens();
        exchange.status = 200;
        self.output.clear();
        self.head(exchange, Some(body.len()), script.kind(false));
        let cut = matches!(fault, Some(Fault::CutMidEvent { .. }));
        self.output.extend_from_slice(if cut { &body[..body.len() / 2] } else { &body });
        self.link.send(&self.output).await?;
        match fault {
            Some(fault) if cut => Ok(Done::Failed { fault: fault.name(), close: true }),
            _ => Ok(Done::Well),
        }
    }

    async fn stream(
        &mut self,
        exchange: &mut Exchange,
        script: &Script,
        fault: Option<&Fault>,
        pace: &Pace,
    ) -> Result<Done, Gone> {
        exchange.status = 200;
        self.output.clear();
        self.head(exchange, None, script.kind(true));
        let stop_at = fault.and_then(stops_after).unwrap_or(u32::MAX).min(script.events());
        let started = Instant::now();
        let mut event = Vec::with_capacity(512);
        let mut pending = 0;
        for index in 0..stop_at {
            event.clear();
            script.event(index, &mut event);
            self.chunk(&event);
            pending += 1;
            let last = index + 1 == script.events();
            if last {
                self.output.extend_from_slice(b"0\r\n\r\n");
            }
            if last || index + 1 == stop_at || !pace.gap.is_zero() || pending >= pace.events_per_write {
                self.link.send(&self.output).await?;
                self.output.clear();
                exchange.events += pending;
                exchange.completion_tokens = script.tokens_after(exchange.events);
                pending = 0;
            }
            if !last && !pace.gap.is_zero() {
                self.link.pause(started + pace.gap * (index + 1)).await?;
            }
        }
        match fault {
            Some(fault) if stops_after(fault).is_some() => self.break_stream(script, fault, stop_at).await,
            _ => Ok(Done::Well),
        }
    }

    /// Ends a stream the way its fault says, after the whole events have left.
    async fn break_stream(&mut self, script: &Script, fault: &Fault, sent: u32) -> Result<Done, Gone> {
        let mut event = Vec::new();
        match fault {
            Fault::CutMidEvent { .. } => {
                script.event(sent.min(script.events() - 1), &mut event);
                event.truncate(event.len() / 2);
                self.chunk(&event);
                self.link.send(&self.output).await?;
            }
            Fault::ErrorInStream { .. } => {
                script.broken(sent, &mut event);
                self.chunk(&event);
                self.output.extend_from_slice(b"0\r\n\r\n");
                self.link.send(&self.output).await?;
            }
            _ => {
                self.link.send(&self.output).await?;
                self.link.outwait().await;
            }
        }
        Ok(Done::Failed { fault: fault.name(), close: true })
    }

    /// Plays a fault that needs no answer.
    pub(super) async fn fail(&mut self, exchange: &mut Exchange, fault: &Fault) -> Result<Done, Gone> {
        let mut close = true;
        match fault {
            Fault::Status { code, retry_after, body } => {
                let mut denial = exchange.surface.failure(*code, *retry_after);
                if let Some(body) = body {
                    denial.body.clone_from(body);
                }
                self.send_whole(exchange, &denial).await?;
                close = false;
            }
            Fault::Quota => {
                self.send_whole(exchange, &exchange.surface.quota()).await?;
                close = false;
            }
            Fault::GarbageHead => self.link.send(b"HTP/1.l 2OO\r\n\x00\x01\xff: garbage\n\r\n\r\n").await?,
            Fault::StaleKeepAlive => self.link.reset(),
            _ => {}
        }
        Ok(Done::Failed { fault: fault.name(), close })
    }

    /// Sends a status with a whole JSON text.
    async fn send_whole(&mut self, exchange: &mut Exchange, answer: &Denial) -> Result<Done, Gone> {
        exchange.status = answer.status;
        self.output.clear();
        let body = answer.body_for(exchange.surface, &self.site, exchange.ticket.sequence).into_owned();
        self.head_fields(exchange, Some(body.len()), "application/json");
        answer.write_fields(&mut self.output);
        self.output.extend_from_slice(b"\r\n");
        self.output.extend_from_slice(body.as_bytes());
        self.link.send(&self.output).await?;
        Ok(Done::Well)
    }

    async fn refuse_grammar(&mut self, reason: &str) {
        self.site.truth.violate(self.connection, "malformed-http", reason);
        self.link.next_answer();
        let body = self.site.surfaces[0].malformed(reason).body;
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        if self.link.send(answer.as_bytes()).await.is_ok() {
            self.link.close().await;
            // What the client still sends is read away for a moment, lest a reset overtakes the answer.
            let _ = tokio::time::timeout(Duration::from_millis(200), self.link.outwait()).await;
        }
    }

    fn head(&mut self, exchange: &Exchange, length: Option<usize>, kind: &str) {
        self.head_fields(exchange, length, kind);
        self.output.extend_from_slice(b"\r\n");
    }

    /// Appends a head as its provider sends it, but for its last empty line.
    fn head_fields(&mut self, exchange: &Exchange, length: Option<usize>, kind: &str) {
        let (status, reason) = (exchange.status, reason(exchange.status));
        let _ = write!(self.output, "HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\n");
        let took = exchange.ticket.arrived.elapsed();
        exchange.surface.head(&mut self.output, &self.site, exchange.ticket.sequence, took);
        quota::write_fields(exchange.surface, exchange.quota.as_ref(), &mut self.output);
        let _ = match length {
            Some(bytes) => write!(self.output, "content-length: {bytes}\r\n"),
            None => write!(self.output, "cache-control: no-cache\r\ntransfer-encoding: chunked\r\n"),
        };
    }

    /// Appends one chunk of the chunked coding.
    fn chunk(&mut self, data: &[u8]) {
        let _ = write!(self.output, "{:x}\r\n", data.len());
        self.output.extend_from_slice(data);
        self.output.extend_from_slice(b"\r\n");
    }
}

/// How an answer that met no obstacle ended.
pub(super) enum Done {
    Well,
    /// Well, and the connection is of no more use.
    Closed,
    Failed {
        fault: String,
        close: bool,
    },
}

/// When events leave.
struct Pace {
    gap: Duration,
    events_per_write: u32,
}

impl Pace {
    fn new(wishes: &Directives, behaviour: &Behaviour) -> Self {
        Self { gap: wishes.gap.unwrap_or(behaviour.event_gap), events_per_write: behaviour.events_per_write.max(1) }
    }
}

/// Faults that shape an answer instead of replacing it.
fn matters_later(fault: &Fault) -> bool {
    matches!(fault, Fault::Reset { .. } | Fault::SlowFirstByte { .. }) || stops_after(fault).is_some()
}

/// Whole events that leave before the fault.
pub(super) fn stops_after(fault: &Fault) -> Option<u32> {
    match fault {
        Fault::Stall { after_events } | Fault::CutMidEvent { after_events } | Fault::ErrorInStream { after_events } => {
            Some(*after_events)
        }
        _ => None,
    }
}

fn masked_field((name, value): &(String, String)) -> (String, String) {
    let secret =
        matches!(name.as_str(), "authorization" | "x-api-key" | "api-key" | "x-goog-api-key" | "x-amz-security-token");
    (name.clone(), if secret { masked(value) } else { value.clone() })
}

/// The target without a key that its query may show.
fn masked_target(target: &str) -> String {
    match target.split_once("key=") {
        Some((before, rest)) => {
            let (key, after) = rest.split_at(rest.find('&').unwrap_or(rest.len()));
            format!("{before}key={}{after}", masked(key))
        }
        None => target.to_owned(),
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Payload Too Large",
        422 => "Unprocessable Entity",
        424 => "Failed Dependency",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Other",
    }
}
