//! One connection served: read a request, check it, note it, answer it or fail it as planned, until somebody leaves.

use super::answer::{self, Answer};
use super::chat::{Body, ChatRequest};
use super::fault::{Behaviour, Directives, Fault};
use super::link::{Gone, Link, Wire};
use super::refusal::Refusal;
use super::text::mix;
use super::truth::{Ending, Outcome, Record, Ticket, masked, unix_ms};
use super::wire::Head;
use super::{Site, manners};
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

struct Session<W> {
    link: Link<W>,
    site: Arc<Site>,
    connection: u64,
    served: u64,
    output: Vec<u8>,
}

/// A request on its way to its end: what its record needs to know.
struct Exchange {
    ticket: Ticket,
    status: u16,
    events: u32,
    prompt_tokens: u32,
    completion_tokens: u32,
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
        let key = bearer(&head).unwrap_or_default().to_owned();
        let parsed = (!body.is_empty()).then(|| Body::parse(&body));
        let request = self.read_request(&site, &head, &key, parsed.as_ref());
        let ticket = self.note(&head, &key, body, parsed.as_ref().and_then(|parsed| parsed.as_ref().ok()));
        let mut exchange = Exchange { ticket, status: 0, events: 0, prompt_tokens: 0, completion_tokens: 0 };
        let behaviour = site.behaviour();
        let result = match request {
            Ok(Asked::Text(text)) => self.send_json(&mut exchange, 200, &text, None).await,
            Ok(Asked::Chat(chat)) => self.chat(&mut exchange, &behaviour, &key, &chat).await,
            Err(refusal) => self.send_json(&mut exchange, refusal.status, &refusal.body(), None).await,
        };
        match result {
            Ok(Done::Well) => {
                exchange.end(&site, Outcome::Completed);
                Ok(if head.close { Next::Close } else { Next::Reuse })
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

    /// Decides what a request asks for, in the order in which the real service refuses: key, path, body, model.
    fn read_request(
        &self,
        site: &Site,
        head: &Head,
        key: &str,
        body: Option<&Result<Body, Refusal>>,
    ) -> Result<Asked, Refusal> {
        let unknown = || Refusal::unknown_path(&head.method, head.path());
        let path = site.prefixes.iter().find_map(|prefix| head.path().strip_prefix(prefix.as_str()));
        let path = path.ok_or_else(unknown)?;
        if key.is_empty() {
            return Err(Refusal::missing_key());
        }
        if !site.knows_key(key) {
            return Err(Refusal::unknown_key(key));
        }
        match (head.method.as_str(), path) {
            ("POST", "/chat/completions") => self.read_chat(site, head, body).map(|chat| Asked::Chat(Box::new(chat))),
            ("GET", "/models") => Ok(Asked::Text(answer::models(&site.models))),
            ("GET", path) => match path.strip_prefix("/models/") {
                Some(name) if site.knows_model(name) => Ok(Asked::Text(answer::model(name))),
                Some(name) => Err(Refusal::unknown_model(name)),
                None => Err(unknown()),
            },
            _ => Err(unknown()),
        }
    }

    fn read_chat(
        &self,
        site: &Site,
        head: &Head,
        body: Option<&Result<Body, Refusal>>,
    ) -> Result<ChatRequest, Refusal> {
        let kind = head.field("content-type").and_then(|value| value.split(';').next()).unwrap_or_default();
        let body = match body {
            Some(parsed) if kind.trim().eq_ignore_ascii_case("application/json") => parsed.as_ref(),
            _ => return Err(Refusal::invalid(None, "", "you must provide a model parameter")),
        };
        let body = body.map_err(Clone::clone)?;
        for (rule, detail) in body.violations() {
            site.truth.violate(self.connection, rule, detail);
        }
        let chat = body.check()?;
        if site.knows_model(&chat.model) { Ok(chat) } else { Err(Refusal::unknown_model(&chat.model)) }
    }

    fn note(&self, head: &Head, key: &str, body: Vec<u8>, parsed: Option<&Body>) -> Ticket {
        let truth = &self.site.truth;
        let key = (!key.is_empty()).then_some(key);
        truth.arrive(key, |sequence| Record {
            sequence,
            connection: self.connection,
            arrived: Instant::now(),
            arrived_unix_ms: unix_ms(),
            method: head.method.clone(),
            path: head.target.clone(),
            key: key.map(masked),
            model: parsed.and_then(Body::model).map(str::to_owned),
            stream: parsed.is_some_and(|body| body.truth("stream")),
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

    async fn chat(
        &mut self,
        exchange: &mut Exchange,
        behaviour: &Behaviour,
        key: &str,
        chat: &ChatRequest,
    ) -> Result<Done, Gone> {
        let wishes = &chat.directives;
        let fault = wishes.fault.clone().or_else(|| behaviour.strike(self.site.seed, key, &chat.model));
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
        exchange.prompt_tokens = chat.prompt_tokens;
        if !wait.is_zero() {
            self.link.pause(exchange.ticket.arrived + wait).await?;
        }
        let answer = Answer::new(chat, behaviour.tokens);
        // A reset beyond the end of the answer does not happen, and a slow answer is an answer: both end well.
        if chat.stream {
            let pace = Pace::new(wishes, behaviour);
            self.stream(exchange, &answer, fault.as_ref(), &pace).await
        } else {
            self.unary(exchange, &answer, fault.as_ref()).await
        }
    }

    async fn unary(
        &mut self,
        exchange: &mut Exchange,
        answer: &Answer<'_>,
        fault: Option<&Fault>,
    ) -> Result<Done, Gone> {
        let mut body = Vec::with_capacity(1024);
        match fault {
            Some(fault @ Fault::ErrorInStream { .. }) => {
                exchange.prompt_tokens = 0;
                self.send_json(exchange, 500, &Refusal::for_status(500).body(), None).await?;
                return Ok(Done::Failed { fault: fault.name(), close: false });
            }
            Some(fault @ Fault::Stall { .. }) => {
                self.link.outwait().await;
                return Ok(Done::Failed { fault: fault.name(), close: true });
            }
            _ => answer.unary(&mut body),
        }
        exchange.completion_tokens = answer.completion_tokens();
        exchange.status = 200;
        self.output.clear();
        self.head(exchange, Some(body.len()), "application/json");
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
        answer: &Answer<'_>,
        fault: Option<&Fault>,
        pace: &Pace,
    ) -> Result<Done, Gone> {
        exchange.status = 200;
        self.output.clear();
        self.head(exchange, None, "text/event-stream; charset=utf-8");
        let stop_at = fault.and_then(stops_after).unwrap_or(u32::MAX).min(answer.events());
        let started = Instant::now();
        let mut event = Vec::with_capacity(512);
        let mut pending = 0;
        for index in 0..stop_at {
            event.clear();
            answer.event(index, &mut event);
            self.chunk(&event);
            pending += 1;
            let last = index + 1 == answer.events();
            if last {
                self.output.extend_from_slice(b"0\r\n\r\n");
            }
            if last || index + 1 == stop_at || !pace.gap.is_zero() || pending >= pace.events_per_write {
                self.link.send(&self.output).await?;
                self.output.clear();
                exchange.events += pending;
                exchange.completion_tokens = answer.tokens_after(exchange.events);
                pending = 0;
            }
            if !last && !pace.gap.is_zero() {
                self.link.pause(started + pace.gap * (index + 1)).await?;
            }
        }
        match fault {
            Some(fault) if stops_after(fault).is_some() => self.break_stream(answer, fault, stop_at).await,
            _ => Ok(Done::Well),
        }
    }

    /// Ends a stream the way its fault says, after the whole events have left.
    async fn break_stream(&mut self, answer: &Answer<'_>, fault: &Fault, sent: u32) -> Result<Done, Gone> {
        let mut event = Vec::new();
        match fault {
            Fault::CutMidEvent { .. } => {
                answer.event(sent.min(answer.events() - 1), &mut event);
                event.truncate(event.len() / 2);
                self.chunk(&event);
                self.link.send(&self.output).await?;
            }
            Fault::ErrorInStream { .. } => {
                event.extend_from_slice(Refusal::for_status(500).event().as_bytes());
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
    async fn fail(&mut self, exchange: &mut Exchange, fault: &Fault) -> Result<Done, Gone> {
        let mut close = true;
        match fault {
            Fault::Status { code, retry_after, body } => {
                let body = body.clone().unwrap_or_else(|| Refusal::for_status(*code).body());
                self.send_json(exchange, *code, &body, *retry_after).await?;
                close = false;
            }
            Fault::GarbageHead => self.link.send(b"HTP/1.l 2OO\r\n\x00\x01\xff: garbage\n\r\n\r\n").await?,
            Fault::StaleKeepAlive => self.link.reset(),
            _ => {}
        }
        Ok(Done::Failed { fault: fault.name(), close })
    }

    async fn send_json(
        &mut self,
        exchange: &mut Exchange,
        status: u16,
        body: &str,
        retry_after: Option<Duration>,
    ) -> Result<Done, Gone> {
        exchange.status = status;
        self.output.clear();
        self.head_fields(exchange, Some(body.len()), "application/json");
        if let Some(wait) = retry_after {
            let (seconds, millis) = (wait.as_secs_f64().ceil(), wait.as_millis());
            let _ = write!(self.output, "retry-after: {seconds}\r\nretry-after-ms: {millis}\r\n");
        }
        self.output.extend_from_slice(b"\r\n");
        self.output.extend_from_slice(body.as_bytes());
        self.link.send(&self.output).await?;
        Ok(Done::Well)
    }

    async fn refuse_grammar(&mut self, reason: &str) {
        self.site.truth.violate(self.connection, "malformed-http", reason);
        self.link.next_answer();
        let body = Refusal::invalid(None, "", format!("Bad request: {reason}")).body();
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

    /// Appends a head as OpenAI sends it, but for its last empty line.
    fn head_fields(&mut self, exchange: &Exchange, length: Option<usize>, kind: &str) {
        let (status, reason) = (exchange.status, reason(exchange.status));
        let sequence = exchange.ticket.sequence;
        let _ = write!(
            self.output,
            "HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\nx-request-id: req_{:016x}{sequence:08x}\r\n\
             openai-version: 2020-10-01\r\nopenai-organization: {}\r\nopenai-processing-ms: {}\r\n\
             x-ratelimit-limit-requests: 10000\r\nx-ratelimit-remaining-requests: 9999\r\n\
             x-ratelimit-reset-requests: 6ms\r\n",
            self.site.seed,
            self.site.name,
            exchange.ticket.arrived.elapsed().as_millis(),
        );
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

/// What a request turned out to ask for.
enum Asked {
    Text(String),
    Chat(Box<ChatRequest>),
}

/// How an answer that met no obstacle ended.
enum Done {
    Well,
    Failed { fault: String, close: bool },
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
fn stops_after(fault: &Fault) -> Option<u32> {
    match fault {
        Fault::Stall { after_events } | Fault::CutMidEvent { after_events } | Fault::ErrorInStream { after_events } => {
            Some(*after_events)
        }
        _ => None,
    }
}

fn bearer(head: &Head) -> Option<&str> {
    let (scheme, key) = head.field("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn masked_field((name, value): &(String, String)) -> (String, String) {
    let secret = matches!(name.as_str(), "authorization" | "x-api-key" | "api-key" | "x-goog-api-key");
    (name.clone(), if secret { masked(value) } else { value.clone() })
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Other",
    }
}
