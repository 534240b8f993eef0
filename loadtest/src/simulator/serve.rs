//! One connection served: read a request, check it, note it, decide what becomes of it, until somebody leaves.
//!
//! How an answer is played is in `play`, how a conversation over a WebSocket goes in `socket`.

use super::accounts::{Account, Arrival};
use super::fault::Fault;
use super::link::{Gone, Link, Wire};
use super::openai::realtime::Opening;
use super::rule::{Behaviour, Struck, Subject};
use super::stamps::{self, Stamp};
use super::surface::{Asked, Call, Denial, Seen, Surface, Work};
use super::text::{decimal, hexadecimal};
use super::truth::{Ending, Outcome, Record, Ticket, masked, unix_ms};
use super::wire::Head;
use super::{Current, Site, control, manners, quota};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Serves one connection to its end.
pub(super) async fn connection<W: Wire>(wire: W, site: Arc<Site>) {
    let number = site.truth.connected();
    let mut session = Session {
        link: Link::new(wire),
        site,
        connection: number,
        served: 0,
        output: Vec::new(),
        scratch: Vec::new(),
        shown: Shown::default(),
    };
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
    pub(super) output: Vec<u8>,
    /// Room for a body before its head is known.
    pub(super) scratch: Vec<u8>,
    shown: Shown,
}

/// The key and model of the last request, whose account the next one most likely shares.
struct Shown {
    key: String,
    account: Account,
}

/// A request on its way to its end: what its record needs to know.
pub(super) struct Exchange {
    pub(super) ticket: Ticket,
    pub(super) surface: Surface,
    quota: Option<quota::Standing>,
    /// The fault that strikes it.
    pub(super) struck: Option<Struck>,
    /// When it was read and when its answer leaves, where it named itself.
    stamp: Option<Stamp>,
    pub(super) status: u16,
    pub(super) events: u32,
    pub(super) prompt_tokens: u32,
    pub(super) completion_tokens: u32,
}

/// What is to be done about a request.
enum Due {
    Say(Box<Denial>),
    Converse(Box<Opening>, Arc<Behaviour>),
    Work(Box<Work>, Arc<Behaviour>),
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

impl Default for Shown {
    fn default() -> Self {
        Self { key: String::new(), account: Account::of("", "") }
    }
}

impl Exchange {
    fn new(ticket: Ticket, surface: Surface) -> Self {
        Self {
            ticket,
            surface,
            quota: None,
            struck: None,
            stamp: None,
            status: 0,
            events: 0,
            prompt_tokens: 0,
            completion_tokens: 0,
        }
    }

    /// A piece of its answer is about to be written.
    pub(super) fn leaves(&mut self) {
        if let Some(stamp) = &mut self.stamp {
            stamp.leaves();
        }
    }

    /// The fault that strikes it.
    pub(super) fn fault(&self) -> Option<&Fault> {
        self.struck.as_ref().map(|struck| &struck.fault)
    }

    fn end(&mut self, site: &Site, outcome: Outcome) {
        let struck = self.struck.take();
        let ending = Ending {
            status: self.status,
            outcome,
            events: self.events,
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            fault: struck.as_ref().map(|struck| struck.fault.name()),
            fault_rule: struck.and_then(|struck| struck.rule),
        };
        site.truth.end(&mut self.ticket, ending);
    }
}

impl<W: Wire> Session<W> {
    async fn exchange(&mut self) -> Result<Next, Gone> {
        let head = self.link.head(self.site.idle).await?;
        let body = self.link.body(&head).await?;
        let received = stamps::now();
        self.link.next_answer();
        if self.site.control && control::claims(&head) {
            return self.control(&head, &body).await;
        }
        // Nothing of the request but what its answer needs is held while the answer leaves: streams may be many and long.
        let close = head.close;
        let (mut exchange, due) = self.take_in(&head, body);
        drop(head);
        let result = match due {
            Due::Work(work, behaviour) => {
                exchange.stamp = work.directives.id.map(|id| Stamp::new(id, received));
                self.work(&mut exchange, &behaviour, &work).await
            }
            Due::Say(denial) => self.send_whole(&mut exchange, &denial).await,
            Due::Converse(opening, behaviour) => self.converse(&mut exchange, &behaviour, &opening).await,
        };
        let (outcome, next) = match result {
            Ok(Done::Well) => (Outcome::Completed, Ok(if close { Next::Close } else { Next::Reuse })),
            Ok(Done::Closed) => (Outcome::Completed, Ok(Next::Close)),
            Ok(Done::Failed { fault, close: ends }) => {
                (Outcome::Faulted(fault), Ok(if ends || close { Next::Close } else { Next::Reuse }))
            }
            Err(Gone::Reset) => (Outcome::Faulted(format!("reset@{}", self.link.written())), Err(Gone::Reset)),
            Err(gone) => (Outcome::ClientClosed { after: exchange.ticket.arrived.elapsed() }, Err(gone)),
        };
        if let (Outcome::Completed, Some(stamp)) = (&outcome, exchange.stamp) {
            self.site.stamps.keep(stamp);
        }
        exchange.end(&self.site, outcome);
        next
    }

    /// Checks a request, notes it, and decides what is to be done about it.
    fn take_in(&mut self, head: &Head, body: Vec<u8>) -> (Exchange, Due) {
        let site = Arc::clone(&self.site);
        manners::check_head(&site.truth, self.connection, head);
        let surface = site.surface_of(head);
        let key = surface.key(head).unwrap_or_default();
        let current = site.current();
        let key_accepted = site.accepts(key, Instant::now());
        let mut seen = Seen::default();
        let call = Call {
            site: &site,
            surface,
            connection: self.connection,
            head,
            key,
            key_accepted,
            body: &body,
            model: None,
            tokens: current.behaviour.tokens,
        };
        let asked = surface.read(&call, &mut seen);
        let stream = seen.stream;
        let ticket = self.note(head, surface, (key, key_accepted), body, seen);
        let mut exchange = Exchange::new(ticket, surface);
        let since = current.since.elapsed();
        let subject = |model, reused| Subject { key, model, surface, stream, fields: &head.fields, since, reused };
        let due = match asked {
            Ok(Asked::Ready(text)) => Due::Say(Box::new(Denial::new(200, text))),
            Err(denial) => Due::Say(Box::new(denial)),
            Ok(Asked::Socket(opening)) => {
                exchange.struck = current.behaviour.strike(site.seed, &subject(&opening.model, true));
                Due::Converse(opening, current.behaviour)
            }
            Ok(Asked::Work(work)) => {
                let subject = subject(&work.model, self.served > 0);
                exchange.struck = judge(&site, &mut exchange, &current, &subject, &work);
                Due::Work(work, current.behaviour)
            }
        };
        (exchange, due)
    }

    fn note(&mut self, head: &Head, surface: Surface, shown: (&str, bool), body: Vec<u8>, seen: Seen) -> Ticket {
        let truth = &self.site.truth;
        let (key, key_accepted) = shown;
        let model = seen.model.as_deref().unwrap_or_default();
        if self.shown.key != key || &*self.shown.account.model != model {
            self.shown = Shown { key: key.to_owned(), account: Account::of(key, model) };
        }
        let id = truth.receipt_field().and_then(|field| head.fields.iter().find(|(name, _)| name == field));
        let id = id.map(|(_, value)| value.as_str());
        let arrival = Arrival { account: &self.shown.account, key_accepted, stream: seen.stream, id };
        truth.arrive(&arrival, |sequence| Record {
            sequence,
            connection: self.connection,
            arrived: Instant::now(),
            arrived_unix_ms: unix_ms(),
            method: head.method.clone(),
            path: masked_target(&head.target),
            key: (!key.is_empty()).then(|| masked(key)),
            key_accepted,
            surface: surface.name(),
            model: seen.model,
            stream: seen.stream,
            headers: head.fields.iter().map(masked_field).collect(),
            body_bytes: body.len(),
            body: truth.keeps_bodies().then_some(body),
            status: 0,
            outcome: Outcome::Open,
            fault: None,
            fault_rule: None,
            events: 0,
            prompt_tokens: 0,
            completion_tokens: 0,
            took: None,
        })
    }

    /// Answers what is asked of the simulator itself; the log knows nothing of it.
    async fn control(&mut self, head: &Head, body: &[u8]) -> Result<Next, Gone> {
        let is_near = self.link.peer().is_some_and(|addr| addr.ip().is_loopback());
        let (status, text) = control::answer(&self.site, head, body, is_near);
        let (reason, length) = (reason(status), text.len());
        let answer = format!(
            "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{text}"
        );
        self.link.send(answer.as_bytes()).await?;
        Ok(if head.close { Next::Close } else { Next::Reuse })
    }

    /// Sends a status with a whole JSON text.
    pub(super) async fn send_whole(&mut self, exchange: &mut Exchange, answer: &Denial) -> Result<Done, Gone> {
        self.send_as(exchange, answer, "application/json").await
    }

    /// Sends a status with a whole text of this media type.
    pub(super) async fn send_as(&mut self, exchange: &mut Exchange, answer: &Denial, kind: &str) -> Result<Done, Gone> {
        exchange.status = answer.status;
        self.output.clear();
        let body = answer.body_for(exchange.surface, &self.site, exchange.ticket.sequence);
        head_fields(&mut self.output, &self.site, exchange, Some(body.len()), kind);
        answer.write_fields(&mut self.output);
        self.output.extend_from_slice(b"\r\n");
        self.output.extend_from_slice(body.as_bytes());
        drop(body);
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

    /// Appends a head as its provider sends it.
    pub(super) fn head(&mut self, exchange: &Exchange, length: Option<usize>, kind: &str) {
        head_fields(&mut self.output, &self.site, exchange, length, kind);
        self.output.extend_from_slice(b"\r\n");
    }

    /// Appends one chunk of the chunked coding.
    pub(super) fn chunk(&mut self, data: &[u8]) {
        hexadecimal(data.len() as u64, 0, &mut self.output);
        self.output.extend_from_slice(b"\r\n");
        self.output.extend_from_slice(data);
        self.output.extend_from_slice(b"\r\n");
    }
}

/// The fault that strikes a request for work: an empty bucket, what it asked for itself, or what a rule says.
fn judge(
    site: &Site,
    exchange: &mut Exchange,
    current: &Current,
    subject: &Subject<'_>,
    work: &Work,
) -> Option<Struck> {
    let behaviour = &current.behaviour;
    if let Some(quota) = behaviour.quota {
        let tokens = work.prompt_tokens.saturating_add(work.script.completion_tokens());
        let standing = site.buckets.take(quota, subject.key, subject.model, tokens, Instant::now());
        exchange.quota = Some(standing);
        if let Some(wait) = standing.wait() {
            let retry_after = (wait != quota::FOR_EVER).then_some(wait);
            let body = standing
                .short_of_tokens()
                .and_then(|level| subject.surface.out_of_tokens(&site.name, subject.model, level, tokens));
            return Some(Struck { fault: Fault::Status { code: 429, retry_after, body }, rule: None });
        }
    }
    let wish = work.directives.fault.clone().map(|fault| Struck { fault, rule: None });
    let is_due = |struck: &Struck| struck.fault != Fault::StaleKeepAlive || subject.reused;
    wish.or_else(|| behaviour.strike(site.seed, subject)).filter(is_due)
}

/// Appends a head as its provider sends it, but for its last empty line.
fn head_fields(out: &mut Vec<u8>, site: &Site, exchange: &Exchange, length: Option<usize>, kind: &str) {
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(exchange.status.into(), out);
    for part in [" ", reason(exchange.status), "\r\ncontent-type: ", kind, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let took = exchange.ticket.arrived.elapsed();
    exchange.surface.head(out, site, exchange.ticket.sequence, took);
    quota::write_fields(exchange.surface, exchange.quota.as_ref(), out);
    match length {
        Some(bytes) => {
            out.extend_from_slice(b"content-length: ");
            decimal(bytes as u64, out);
            out.extend_from_slice(b"\r\n");
        }
        None => out.extend_from_slice(b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n"),
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
        405 => "Method Not Allowed",
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::size_of;

    fn size_of_future<A, B, F: Future>(_: fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_open_connection_is_small() {
        let bytes = size_of_future(connection::<tokio::net::TcpStream>);
        assert!(bytes <= 2_000, "a connection's future takes {bytes} bytes");
    }
}
