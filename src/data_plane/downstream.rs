//! One client connection as the exchange sees it: bytes in, bytes out, and whether the client is still there.
//!
//! While an exchange waits for its provider, the next read of the client connection is already under way: its end of file is how we learn
//! that the client has gone (rule L5), and whatever it brings instead is the start of a pipelined request, kept up to 16 KiB (rule H15).
//! A client that closes its sending half is taken for gone, as nginx does: on the wire the two look alike.

use super::books::Books;
use super::fault::Fault;
use super::idempotency::{Outcome, Recorder};
use super::per_core::{Core, Phase, SessionPlace};
use super::reply::{self, Stamp};
use crate::dialects::Wire;
use crate::domain::id::RequestId;
use crate::domain::pressure::ShedReason;
use crate::http::body::{BodyReader, ChunkedReader, Step};
use crate::limits;
use crate::rt::{self, Buf};
use crate::tls::Transport;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A client connection.
pub struct Downstream {
    transport: Transport,
    place: SessionPlace,
    /// When waiting for a head ends. It stays armed between waits: moving it later costs next to nothing.
    deadline: rt::Deadline,
    core: Rc<Core>,
    /// Copies what leaves, while an exchange is on whose outcome may be given again.
    recorder: Option<Recorder>,
    /// The attempts of the exchange that is under way.
    pub books: Rc<Books>,
    /// Whether a byte of an attempt's answer may have gone.
    has_spoken: bool,
    /// Whether an answer is read to its end although the client has gone.
    may_drain: bool,
    /// The client has gone, and the answer is read on without it.
    absence: Option<Absence>,
    /// The other end of the connection: the client, or a proxy before it.
    pub peer: IpAddr,
    /// What a client may take to accept bytes.
    pub stall: Duration,
    /// When the first bytes of the latest head were there.
    pub arrived: Instant,
    /// When the bytes were there that made it whole.
    pub headed: Instant,
    /// What sending has taken in this exchange, the client's time included.
    pub flushed: Duration,
    /// When the first byte of the answer left in this exchange, and the answer's status.
    pub first: Option<(Instant, u16)>,
    /// Bytes sent in this exchange.
    pub sent: u64,
}

/// How a wait for a first byte ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Bytes are there.
    Bytes,
    /// The client closed.
    Closed,
    /// The process is going down and nothing had begun.
    Drained,
    /// The deadline passed.
    Late,
}

/// How a body read ended when it did not succeed.
#[derive(Debug)]
pub enum BodyTrouble {
    /// The client closed.
    Closed,
    /// Too slow.
    Late,
    /// More than allowed.
    TooLarge,
    /// More than there is memory for.
    NoRoom,
    /// Broken framing.
    Malformed(String),
}

impl Downstream {
    /// Takes a connection over.
    pub fn new(core: &Rc<Core>, transport: Transport, peer: IpAddr) -> Self {
        let now = rt::coarse_now();
        Self {
            transport,
            place: core.enter_session(),
            deadline: rt::Deadline::new(),
            core: core.clone(),
            recorder: None,
            books: Books::new(core),
            has_spoken: false,
            may_drain: false,
            absence: None,
            peer,
            stall: limits::CLIENT_STALL_DEADLINE,
            arrived: now,
            headed: now,
            flushed: Duration::ZERO,
            first: None,
            sent: 0,
        }
    }

    /// Gives the connection out again, with what was read of it.
    pub fn into_transport(self) -> Transport {
        self.transport
    }

    /// An exchange begins.
    pub fn begin(&mut self, request: RequestId, face: Wire) {
        (self.has_spoken, self.may_drain) = (false, false);
        (self.flushed, self.first, self.sent) = (Duration::ZERO, None, 0);
        self.books.begin(request, face);
    }

    /// Bytes received and not yet consumed.
    pub fn input(&mut self) -> &mut Buf {
        self.transport.input()
    }

    /// Bytes to be sent by the next flush.
    pub fn output(&mut self) -> &mut Buf {
        self.transport.output()
    }

    /// Waits until bytes are there, between exchanges or inside a head.
    pub async fn arrive(&mut self, deadline: Instant, idle: bool) -> Arrival {
        let Self { transport, place, core, deadline: wait, .. } = self;
        let arrival = poll_fn(|cx| {
            place.park(cx.waker());
            match core.phase() {
                Phase::Draining if idle => return Poll::Ready(Arrival::Drained),
                Phase::Cutting => return Poll::Ready(Arrival::Drained),
                _ => {}
            }
            transport.poll_fill(cx).map(|filled| match filled {
                Ok(0) | Err(_) => Arrival::Closed,
                Ok(_) => Arrival::Bytes,
            })
        });
        wait.at(deadline);
        wait.run(arrival).await.unwrap_or(Arrival::Late)
    }

    /// Ready when bytes have come beside those in the input, or none will: for a conversation that goes both ways at once.
    pub fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        self.place.park(cx.waker());
        if self.core.phase() == Phase::Cutting {
            return Poll::Ready(Arrival::Drained);
        }
        self.transport.poll_fill(cx).map(|filled| match filled {
            Ok(0) | Err(_) => Arrival::Closed,
            Ok(_) => Arrival::Bytes,
        })
    }

    /// Ready when the client has gone or the process cuts what is left; to be polled beside the wait for a provider.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.place.park(cx.waker());
        if self.absence.is_some() || self.core.phase() == Phase::Cutting {
            return Poll::Ready(());
        }
        loop {
            if self.transport.input().len() >= limits::PIPELINE_BYTES_MAX {
                return Poll::Pending;
            }
            match self.transport.poll_fill(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
            }
        }
    }

    /// The same, for work that goes on without the client where its tenant wants that: then ready only when that has taken too long, or the
    /// process cuts.
    pub fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.absence.is_none() {
            match self.poll_gone(cx) {
                Poll::Ready(()) if self.step_out() => {}
                other => return other,
            }
        }
        self.place.park(cx.waker());
        match &mut self.absence {
            Some(_) if self.core.phase() == Phase::Cutting => Poll::Ready(()),
            Some(absence) => absence.over.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }

    /// Whether answers of this exchange are read to their end although the client has gone (rule L5).
    pub fn may_drain(&mut self, may: bool) {
        self.may_drain = may;
    }

    /// Whether the client has gone, and what is written leads nowhere.
    pub fn is_absent(&self) -> bool {
        self.absence.is_some()
    }

    /// The client has gone: whether work goes on without it.
    fn step_out(&mut self) -> bool {
        let drains = &self.core.drains;
        if !self.may_drain || self.core.phase() == Phase::Cutting || drains.get() >= limits::ledger::DRAINS_PER_CORE_MAX
        {
            return false;
        }
        drains.set(drains.get() + 1);
        self.books.note_gone();
        let over = Box::pin(rt::sleep(limits::ledger::DRAIN_DEADLINE));
        self.absence = Some(Absence { over, core: self.core.clone() });
        true
    }

    /// Reads until the input holds `total` bytes and takes them; what came beyond stays in the input.
    pub async fn take(&mut self, total: usize, clock: BodyClock) -> Result<Buf, BodyTrouble> {
        let mut clock = clock;
        let missing = total.saturating_sub(self.transport.input().len());
        self.transport.expect_bytes(missing);
        while self.transport.input().len() < total {
            self.fill_by(&mut clock).await?;
        }
        // What is read next only watches the client, and waits as long as the answer takes.
        self.transport.expect_bytes(limits::READ_BUFFER_BYTES_MIN);
        let mut taken = self.transport.take_input();
        if taken.len() > total {
            self.transport.input().extend(&taken.bytes()[total..]);
            taken.truncate(total);
        }
        taken.shrink();
        Ok(taken)
    }

    /// Decodes the chunked body at the front of the input into `body`, at most `max` bytes, each piece as `room` has it.
    pub async fn take_chunked(
        &mut self,
        body: &mut Buf,
        max: u64,
        clock: BodyClock,
        room: &mut dyn FnMut(usize) -> bool,
    ) -> Result<(), BodyTrouble> {
        let mut clock = clock;
        let mut reader = ChunkedReader::new();
        loop {
            let input = self.transport.input();
            while !input.is_empty() {
                let step = reader.feed(input.bytes()).map_err(|fault| BodyTrouble::Malformed(fault.to_string()))?;
                if let Step::Data { data, .. } = &step {
                    if (body.len() + data.len()) as u64 > max {
                        return Err(BodyTrouble::TooLarge);
                    }
                    if !room(data.len()) {
                        return Err(BodyTrouble::NoRoom);
                    }
                    body.extend(&input.bytes()[data.clone()]);
                }
                input.consume(step.consumed());
                if matches!(step, Step::End { .. }) {
                    return Ok(());
                }
            }
            self.fill_by(&mut clock).await?;
        }
    }

    /// Moves up to `max` bytes of payload from the front of the input into `out`, waiting for bytes if none are there.
    pub async fn take_piece(
        &mut self,
        reader: &mut BodyReader,
        out: &mut Buf,
        max: usize,
        clock: &mut BodyClock,
    ) -> Result<(), BodyTrouble> {
        let mut taken = 0;
        loop {
            let input = self.transport.input();
            while !reader.is_end() && taken < max && !input.is_empty() {
                let step = {
                    let bytes = input.bytes();
                    let visible = bytes.len().min(max - taken);
                    reader.feed(&bytes[..visible]).map_err(|fault| BodyTrouble::Malformed(fault.to_string()))?
                };
                if let Step::Data { data, .. } = &step {
                    out.extend(&input.bytes()[data.clone()]);
                    taken += data.len();
                }
                input.consume(step.consumed());
            }
            if taken > 0 || reader.is_end() {
                return Ok(());
            }
            self.fill_by(clock).await?;
        }
    }

    /// Reads and forgets what is left of a body that nobody wants, within bounds; whether its end was reached (rule H14).
    pub async fn discard(&mut self, reader: &mut BodyReader) -> bool {
        let deadline = Instant::now() + limits::DRAIN_DEADLINE;
        let mut drained = 0;
        loop {
            let input = self.transport.input();
            while !input.is_empty() && !reader.is_end() {
                let Ok(step) = reader.feed(input.bytes()) else { return false };
                drained += step.consumed() as u64;
                input.consume(step.consumed());
            }
            if reader.is_end() {
                return true;
            }
            if drained > limits::DRAIN_BYTES_MAX {
                return false;
            }
            match rt::with_deadline(deadline, self.transport.fill()).await {
                Ok(Ok(count)) if count > 0 => {}
                _ => return false,
            }
        }
    }

    /// Begins to copy what leaves.
    pub fn record(&mut self) {
        self.recorder = Some(Recorder::default());
    }

    /// What leaves is no outcome to give again: it was cut, or says that something failed.
    pub fn spoil_record(&mut self) {
        if let Some(recorder) = &mut self.recorder {
            recorder.spoil();
        }
    }

    /// Ends the copying; the outcome that left, if it is one to give again.
    pub fn recorded(&mut self) -> Option<Outcome> {
        self.recorder.take().and_then(|recorder| recorder.outcome())
    }

    /// Sends all output, giving up on a client that does not read.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.flush_at(None).await.map(|_| ())
    }

    /// The same for a caller who knows that it is about `now`; when it was done.
    pub async fn flush_from(&mut self, now: Instant) -> io::Result<Instant> {
        self.flush_at(Some(now)).await
    }

    async fn flush_at(&mut self, now: Option<Instant>) -> io::Result<Instant> {
        if self.absence.is_some() {
            self.transport.output().clear();
            return Ok(now.unwrap_or_else(rt::coarse_now));
        }
        let now = match self.books.is_unsynced() {
            false => now.unwrap_or_else(rt::coarse_now),
            // What is waited for takes time: it is not read before.
            true if self.books.synced().await => rt::coarse_now(),
            true => return self.refuse_unsynced().await,
        };
        match self.send(now).await {
            Err(_) if self.step_out() => Ok(Instant::now()),
            sent => sent,
        }
    }

    /// Nothing may be told of an attempt that power loss could make unknown (rules L2, L8): the client is told that instead, and may come back.
    async fn refuse_unsynced(&mut self) -> io::Result<Instant> {
        self.spoil_record();
        self.transport.output().clear();
        if let Some((request, face)) = self.books.whose().filter(|_| !self.has_spoken) {
            let date = self.core.date(rt::wall(rt::coarse_now()));
            let stamp =
                Stamp { request, face, date: &date, persist: false, head_only: false, receipt: None, grant: None };
            let fault = Fault::Shed { reason: ShedReason::Ledger, retry_after_s: limits::SHED_WAIT_SECONDS_MAX };
            reply::fault(self.transport.output().vec_mut(), &fault, stamp, 1);
            self.send(Instant::now()).await?;
        }
        Err(io::ErrorKind::Other.into())
    }

    async fn send(&mut self, began: Instant) -> io::Result<Instant> {
        self.has_spoken |= self.books.has_asked();
        if let Some(recorder) = &mut self.recorder {
            recorder.note(self.transport.output().bytes());
        }
        let leaving = self.transport.output().bytes();
        self.sent += leaving.len() as u64;
        if self.first.is_none() && !leaving.is_empty() {
            self.first = Some((began, status_of(leaving)));
        }
        let flushed = rt::with_deadline(began + self.stall, self.transport.flush()).await;
        let now = rt::now();
        self.flushed += now.saturating_duration_since(began);
        flushed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(|()| now)
    }

    /// Closes the sending half, so that the last answer is read before a reset can overtake it, and waits briefly for the client to close.
    pub async fn linger(&mut self) {
        let deadline = Instant::now() + limits::DRAIN_DEADLINE;
        let _ = rt::with_deadline(deadline, async {
            self.transport.shutdown_write().await?;
            let mut drained = 0u64;
            while drained <= limits::DRAIN_BYTES_MAX {
                let count = self.transport.fill().await?;
                if count == 0 {
                    break;
                }
                drained += count as u64;
                self.transport.input().clear();
            }
            io::Result::Ok(())
        })
        .await;
    }

    async fn fill_by(&mut self, clock: &mut BodyClock) -> Result<(), BodyTrouble> {
        match rt::with_deadline(clock.next_deadline(), self.transport.fill()).await {
            Ok(Ok(0) | Err(_)) => Err(BodyTrouble::Closed),
            Ok(Ok(count)) => {
                clock.received(count, rt::now());
                Ok(())
            }
            Err(_) => Err(BodyTrouble::Late),
        }
    }
}

/// Work that goes on although the client has gone.
struct Absence {
    /// Ready when it has taken too long.
    over: Pin<Box<dyn Future<Output = ()>>>,
    core: Rc<Core>,
}

impl Drop for Absence {
    fn drop(&mut self) {
        self.core.drains.set(self.core.drains.get().saturating_sub(1));
    }
}

/// Watches a body's arrival: a total deadline, and a least rate once the grace is over (section 7 of the rules).
#[derive(Clone, Copy, Debug)]
pub struct BodyClock {
    end: Instant,
    window_end: Instant,
    window_bytes: u64,
}

impl BodyClock {
    /// Starts now.
    pub fn start(now: Instant, total: Duration) -> Self {
        Self { end: now + total, window_end: now + limits::BODY_RATE_GRACE, window_bytes: 0 }
    }

    fn next_deadline(&self) -> Instant {
        self.end.min(self.window_end)
    }

    /// Counts what came; each [`limits::BODY_RATE_GRACE`] must bring its share, or the wait ends there.
    fn received(&mut self, bytes: usize, now: Instant) {
        self.window_bytes += bytes as u64;
        if self.window_bytes >= limits::BODY_RATE_MIN * limits::BODY_RATE_GRACE.as_secs() {
            self.window_bytes = 0;
            self.window_end = now + limits::BODY_RATE_GRACE;
        }
    }
}

/// The status in the first line of an answer; 0 where there is none.
fn status_of(head: &[u8]) -> u16 {
    let digits = head.get(b"HTTP/1.1 ".len()..).and_then(|rest| rest.get(..3)).unwrap_or_default();
    digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit.wrapping_sub(b'0') % 10))
}
