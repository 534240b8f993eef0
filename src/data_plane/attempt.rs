//! One try at one provider: connect, send, and wait for the head of its answer. Who waits watches the client beside it.
//!
//! A request that dies on a reused connection before any byte of an answer was most likely never read: the provider had closed the
//! connection in the same instant. It is sent once more on a new connection, once in an exchange; the provider may have read it all the same, so
//! that the books have both (rule L1). Nothing else is repeated here.

use super::downstream::Downstream;
use super::exchange::Apart;
use super::per_core::Core;
use super::upload::Upload;
use super::upstream::{self, Upstream};
use crate::domain::protocol::ProviderHttp;
use crate::http::body::BodyReader;
use crate::http::head::{Field, HeadLimits, KnownField, KnownSet, Method, Progress, ResponseFraming, ResponseHead};
use crate::limits;
use crate::routing::quota::Allowances;
use crate::rt::{self, Buf};
use crate::snapshot::Origin;
use std::borrow::Cow;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// The content type of server-sent events, as clients compare it.
pub const EVENT_STREAM: &[u8] = b"text/event-stream; charset=utf-8";
/// Fields of a provider's answer that the client gets: what its SDK reads, nothing else (rules H10, H11).
const KEPT: KnownSet = KnownSet::of(&[
    KnownField::ContentEncoding,
    KnownField::RateLimit,
    KnownField::RetryAfter,
    KnownField::RetryAfterMs,
    KnownField::OpenaiProcessingMs,
    KnownField::OpenaiVersion,
]);
/// Room for the lines of these that the usual answer has.
const KEPT_BYTES: usize = 512;

/// Where and how long one try goes.
pub struct Call<'a> {
    /// Where to.
    pub origin: &'a Origin,
    /// A connection must stand by then.
    pub connect_timeout: Duration,
    /// First byte of the answer.
    pub first_byte: Duration,
    /// The request's method.
    pub method: Method,
    /// Whether it asks to switch protocols: only then may a 101 come (rule H12).
    pub switch: bool,
    /// A kept connection lost the request: whether it may be sent once more, which is an attempt of its own in the books (rule L1).
    pub again: &'a dyn Fn() -> bool,
    /// Writes the whole request, head and body.
    pub write: &'a dyn Fn(&mut Vec<u8>),
    /// Bytes the request takes at most, so that no growing buffer leaves a copy of the credential behind (rule V12).
    pub size_hint: usize,
    /// Set when a byte of it may leave.
    pub sent: &'a Cell<bool>,
}

/// A provider's answer, its head read and its body to come. What its head says lies beside the connection, so that passing an answer on
/// moves a pointer.
pub struct Answer {
    /// The connection; its input holds the beginning of the body.
    pub upstream: Box<Upstream>,
}

/// What the head of an answer says. A connection keeps one for its latest answer, whose memory the next one uses again.
pub struct Facts {
    /// HTTP status.
    pub status: u16,
    /// What the body is.
    pub content: Content,
    /// The body's framing.
    pub body: BodyReader,
    /// Whether only the end of the connection ends the body.
    pub until_close: bool,
    /// Whether the connection may be used again after it.
    pub persist: bool,
    /// Header lines that the client gets, written out; the content type is apart.
    pub kept: Vec<u8>,
    /// `Content-Type` as a client gets it if the body passes; empty if the provider named none.
    pub content_type: Cow<'static, [u8]>,
    /// All fields, for the classification of an error answer and the proof of a switch; empty for any other success.
    pub fields: Vec<(String, String)>,
    /// What it says of its lane's limits.
    pub allowances: Allowances,
    /// How long connecting took; zero for a reused connection.
    pub connecting: Duration,
    /// Payload that has been read ahead, to find out what the answer is; the rest of the body follows it.
    pub early: Buf,
    /// From the request's first byte to the answer's.
    pub waited: Duration,
}

impl Default for Facts {
    /// Of a connection that nothing has come on yet.
    fn default() -> Self {
        Self {
            status: 0,
            content: Content::Opaque,
            body: BodyReader::Length(0),
            until_close: false,
            persist: false,
            kept: Vec::new(),
            content_type: Cow::Borrowed(b""),
            fields: Vec::new(),
            allowances: Allowances::default(),
            connecting: Duration::ZERO,
            early: Buf::new(),
            waited: Duration::ZERO,
        }
    }
}

impl Deref for Answer {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.upstream.facts
    }
}

impl DerefMut for Answer {
    fn deref_mut(&mut self) -> &mut Facts {
        &mut self.upstream.facts
    }
}

impl Answer {
    /// Bytes of the body that are still to be passed on, what was read ahead included; `None` where only its end will tell.
    pub fn remaining(&self) -> Option<u64> {
        Some(self.body.remaining()? + self.early.len() as u64)
    }
}

/// What an answer's body is, by its `Content-Type` and `Content-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A JSON text that we can read.
    Json,
    /// Server-sent events that we can read.
    Events,
    /// Binary event frames that we can read (`application/vnd.amazon.eventstream`).
    Frames,
    /// Anything else, compressed answers included (rule H19).
    Opaque,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection: not sent.
    Unreachable,
    /// The credential cannot sign the request: not sent.
    Unsigned,
    /// Sent, and no head in time.
    TimedOut,
    /// Sent, and the connection broke or spoke nonsense.
    Broken,
    /// The client went away.
    ClientGone,
    /// The client's body broke off, or came too slowly, while it was being passed on.
    BodyBroken,
}

/// How waiting for a head failed, before it is known whether another connection may help.
enum HeadTrouble {
    /// The connection ended before any byte of an answer.
    Ended,
    /// Everything else.
    Failed(Failure),
}

/// Makes the try. Dropped before it ends, it closes the connection it had begun to use.
pub async fn send(core: &Rc<Core>, call: &Call<'_>) -> Result<Answer, Failure> {
    let began = rt::coarse_now();
    let mut pooled = core.pools.borrow_mut().checkout(call.origin, began, call.switch);
    if pooled.is_none() && call.origin.http != ProviderHttp::One && !call.switch {
        pooled = Box::pin(upstream::shared_soon(core, call.origin, call.connect_timeout)).await;
    }
    if let Some(mut upstream) = pooled {
        match ask(&mut upstream, call, began + call.first_byte).await {
            Ok(()) => return Ok(answer(upstream, call.method, Duration::ZERO)),
            Err(HeadTrouble::Failed(failure)) => return Err(failure),
            Err(HeadTrouble::Ended) if (call.again)() => {}
            Err(HeadTrouble::Ended) => return Err(Failure::Broken),
        }
    }
    send_anew(core, call).await
}

/// Makes the try on a new connection. Boxed, as all that is rare: what is not shall not carry its size about.
#[cold]
fn send_anew<'c>(core: &'c Rc<Core>, call: &'c Call<'_>) -> Apart<'c, Result<Answer, Failure>> {
    Box::pin(async move {
        let connecting = rt::now();
        let connected = upstream::connect(core, call.origin, call.connect_timeout, call.switch).await;
        let mut upstream = connected.map_err(|_| Failure::Unreachable)?;
        core.pools.borrow_mut().note_use(call.origin, connecting);
        let connected = rt::now();
        match ask(&mut upstream, call, connected + call.first_byte).await {
            Ok(()) => Ok(answer(upstream, call.method, connected - connecting)),
            Err(HeadTrouble::Ended) => Err(Failure::Broken),
            Err(HeadTrouble::Failed(failure)) => Err(failure),
        }
    })
}

/// Makes the try with a body whose rest streams from the client: on a new connection, since it cannot be sent twice.
pub async fn send_streamed(
    core: &Rc<Core>,
    down: &mut Downstream,
    call: &Call<'_>,
    upload: &mut Upload,
) -> Result<Answer, Failure> {
    let connecting = Instant::now();
    let connected = upstream::connect(core, call.origin, call.connect_timeout, call.switch).await;
    let mut upstream = connected.map_err(|_| Failure::Unreachable)?;
    core.pools.borrow_mut().note_use(call.origin, connecting);
    let connected = Instant::now();
    write_request(&mut upstream, call);
    let whole = upload.pass_on(down, &mut upstream).await?;
    let head = rt::with_deadline(Instant::now() + call.first_byte, read_head(&mut upstream));
    match unless_gone(down, head).await? {
        Ok(Ok(())) => {
            let mut answer = answer(upstream, call.method, connected - connecting);
            // Half a request on a line would make the next one its other half.
            answer.persist &= whole;
            Ok(answer)
        }
        Ok(Err(HeadTrouble::Ended)) => Err(Failure::Broken),
        Ok(Err(HeadTrouble::Failed(failure))) => Err(failure),
        Err(_elapsed) => Err(Failure::TimedOut),
    }
}

/// Polls `work` and the client beside it; the client's going ends the wait.
pub async fn unless_gone<T>(down: &mut Downstream, work: impl Future<Output = T>) -> Result<T, Failure> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        down.poll_gone(cx).map(|()| Err(Failure::ClientGone))
    })
    .await
}

/// The same, but a tenant who wants answers read to their end although the client has gone has it so (rule L5).
pub async fn unless_lost<T>(down: &mut Downstream, work: impl Future<Output = T>) -> Result<T, Failure> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        down.poll_lost(cx).map(|()| Err(Failure::ClientGone))
    })
    .await
}

/// Sends the request and reads the head of the final answer.
async fn ask(upstream: &mut Upstream, call: &Call<'_>, deadline: Instant) -> Result<(), HeadTrouble> {
    write_request(upstream, call);
    let work = rt::with_deadline(deadline, async {
        // A provider may answer and close without reading all of a large body: its answer counts, not the failed write.
        let sent = upstream.transport.flush().await;
        match read_head(upstream).await {
            Err(HeadTrouble::Ended) if sent.is_err() && !upstream.reused => Err(HeadTrouble::Failed(Failure::Broken)),
            other => other,
        }
    });
    work.await.unwrap_or(Err(HeadTrouble::Failed(Failure::TimedOut)))
}

fn write_request(upstream: &mut Upstream, call: &Call<'_>) {
    call.sent.set(true);
    let output = upstream.transport.output();
    output.secret();
    output.reserve(call.size_hint);
    (call.write)(output.vec_mut());
    debug_assert!(
        output.len() <= call.size_hint,
        "the request outgrew its buffer and left a copy of the credential behind"
    );
    upstream.head.expect_switch(call.switch);
    upstream.asked_at = rt::now();
}

async fn read_head(upstream: &mut Upstream) -> Result<(), HeadTrouble> {
    let limits = HeadLimits::UPSTREAM;
    let mut received = false;
    let mut interim = 0;
    upstream.head.reset();
    loop {
        let Upstream { transport, head, head_bytes, .. } = upstream;
        if !transport.input().is_empty() {
            received = true;
            match head.parse(transport.input().bytes(), &limits) {
                Ok(Progress::Partial) => {}
                Ok(Progress::Complete { consumed }) if head.is_interim() => {
                    interim += 1;
                    if interim > limits::INTERIM_RESPONSES_MAX {
                        return Err(HeadTrouble::Failed(Failure::Broken));
                    }
                    transport.input().consume(consumed);
                    head.reset();
                    continue;
                }
                Ok(Progress::Complete { consumed }) => {
                    *head_bytes = consumed;
                    return Ok(());
                }
                Err(_) => return Err(HeadTrouble::Failed(Failure::Broken)),
            }
        }
        match transport.fill().await {
            // Whoever broke the protocol, or gave this one request up, has read it: that is no connection that was lost.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(HeadTrouble::Failed(Failure::Broken));
            }
            Ok(0) | Err(_) if !received => return Err(HeadTrouble::Ended),
            Ok(0) | Err(_) => return Err(HeadTrouble::Failed(Failure::Broken)),
            Ok(_) => {}
        }
    }
}

/// Takes what matters out of the head and leaves the connection at the first byte of the body.
fn answer(mut upstream: Box<Upstream>, method: Method, connecting: Duration) -> Answer {
    let now = rt::now();
    let Upstream { transport, head, head_bytes, asked_at, facts, .. } = &mut *upstream;
    let input = transport.input();
    let bytes = input.bytes();
    (facts.status, facts.connecting, facts.waited) =
        (head.status(), connecting, now.saturating_duration_since(*asked_at));
    facts.kept.clear();
    facts.kept.reserve(KEPT_BYTES);
    facts.allowances.clear();
    for field in head.fields_among(bytes, KEPT) {
        keep(&field, &mut facts.kept);
        if field.known == KnownField::RateLimit {
            facts.allowances.read(field.name, field.value, rt::wall(now));
        }
    }
    facts.fields.clear();
    if facts.status == 101 || facts.status >= 300 {
        list_fields(head, bytes, &mut facts.fields);
    }
    let content_type = head.find(bytes, KnownField::ContentType);
    facts.content = content_of(content_type, head.find(bytes, KnownField::ContentEncoding));
    facts.content_type = match (facts.content, content_type.unwrap_or_default()) {
        // Clients compare this one to the letter.
        (Content::Events, _) => Cow::Borrowed(EVENT_STREAM),
        (_, b"application/json") => Cow::Borrowed(&b"application/json"[..]),
        (_, other) => Cow::Owned(other.to_vec()),
    };
    let framing = head.framing(method);
    facts.persist = head.persist(method);
    facts.until_close = framing == ResponseFraming::UntilClose;
    facts.body = BodyReader::from(framing);
    input.consume(*head_bytes);
    Answer { upstream }
}

/// Lists all fields, for what is seldom: an error answer, or a switch of protocols.
#[cold]
fn list_fields(head: &ResponseHead, bytes: &[u8], fields: &mut Vec<(String, String)>) {
    let text = |field: Field<'_>| (field.name.to_ascii_lowercase(), String::from_utf8_lossy(field.value).into_owned());
    fields.extend(head.fields(bytes).map(text));
}

/// Writes a field for the client, its name in lower case.
fn keep(field: &Field<'_>, kept: &mut Vec<u8>) {
    let start = kept.len();
    super::reply::field(kept, field.name, field.value);
    if let Some(name) = kept.get_mut(start..start + field.name.len()) {
        name.make_ascii_lowercase();
    }
}

fn content_of(content_type: Option<&[u8]>, encoding: Option<&[u8]>) -> Content {
    if encoding.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        return Content::Opaque;
    }
    let media = content_type.unwrap_or_default();
    let media = media.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if media.eq_ignore_ascii_case(b"application/json") {
        Content::Json
    } else if media.eq_ignore_ascii_case(b"text/event-stream") {
        Content::Events
    } else if media.eq_ignore_ascii_case(b"application/vnd.amazon.eventstream") {
        Content::Frames
    } else {
        Content::Opaque
    }
}

/// Gives the connection back to its pool if the answer ended at a message border and the connection may be used again (rule H14).
pub fn give_back(core: &Core, origin: &Origin, mut answer: Answer) {
    if answer.persist && answer.body.is_end() {
        answer.early = Buf::new();
        core.pools.borrow_mut().give_back(origin, answer.upstream, rt::coarse_now());
    }
}
