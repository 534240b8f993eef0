//! One warm connection to one target, used by one thread that waits for each answer.
//!
//! Blocking on purpose: between a byte's arrival and its stamp lie one wake-up and one read, the same for every target.

use crate::dialect::{self, Flaw, Reading};
use crate::engine::route::Route;
use crate::measure::Outcome;
use crate::simulator::monotonic_ns;
use crate::wire::{Body, Framing, Head};
use crate::workload::{Ask, Endpoint};
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Where requests of a target go.
#[derive(Clone, Debug)]
pub struct Place(Route);

impl Place {
    /// Takes a URL apart and looks its host up; `ca` is a file of PEM certificates to trust besides the usual roots.
    ///
    /// # Errors
    /// It is no URL, its host has no address, or a certificate cannot be read.
    pub fn parse(url: &str, ca: Option<&str>) -> anyhow::Result<Self> {
        Route::to(&Endpoint { url: url.into(), ca: ca.map(Into::into), ..Endpoint::default() }).map(Self)
    }

    /// The value of `Host`.
    pub fn host(&self) -> &str {
        &self.0.address.host
    }

    /// Opens a connection, TLS included.
    pub(super) fn connect(&self, timeout: Duration) -> io::Result<Pipe> {
        let stream = TcpStream::connect_timeout(&self.0.addr, timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        let Some((config, name)) = &self.0.tls else { return Ok(Pipe::Plain(stream)) };
        let connection = ClientConnection::new(config.clone(), name.clone()).map_err(io::Error::other)?;
        let mut sealed = StreamOwned::new(connection, stream);
        while sealed.conn.is_handshaking() {
            sealed.conn.complete_io(&mut sealed.sock)?;
        }
        Ok(Pipe::Sealed(Box::new(sealed)))
    }
}

/// An open connection.
pub(super) enum Pipe {
    Plain(TcpStream),
    Sealed(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Pipe {
    /// Whether it is still open while it is idle, as far as this side can know.
    fn is_alive(&self) -> bool {
        let (stream, sealed) = match self {
            Self::Plain(stream) => (stream, false),
            Self::Sealed(sealed) => (&sealed.sock, true),
        };
        let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
        let alive = match peeked {
            // Session tickets may wait to be read; plain bytes that nobody asked for are no good sign.
            Ok(count) => sealed && count > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        alive && stream.set_nonblocking(false).is_ok()
    }
}

impl Read for Pipe {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(room),
            Self::Sealed(sealed) => sealed.read(room),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Sealed(sealed) => sealed.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Sealed(sealed) => sealed.flush(),
        }
    }
}

/// What one request became; nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Just before its bytes were handed to the kernel.
    pub sent: u64,
    /// The read that brought the first byte of the answer had returned.
    pub first_byte: u64,
    /// The same for the first event with generated tokens; of an answer that is no stream, for its last byte.
    pub first_token: u64,
    /// The same for its last byte.
    pub ended: u64,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// What went wrong, in words.
    pub reason: String,
    /// Between events with generated tokens, nanoseconds.
    pub gaps: Vec<u32>,
}

impl Reply {
    /// Whether the answer was whole and good.
    pub fn is_ok(&self) -> bool {
        self.outcome == Some(Outcome::Ok)
    }

    fn failed(mut self, outcome: Outcome, reason: impl Into<String>) -> Self {
        self.outcome = Some(outcome);
        self.reason = reason.into();
        self.ended = monotonic_ns();
        self
    }
}

/// A connection, kept while both sides keep it.
pub struct Link {
    place: Place,
    timeout: Duration,
    pipe: Option<Pipe>,
    input: Vec<u8>,
    room: Box<[u8]>,
    /// Connections opened so far.
    pub opened: u64,
}

/// Room for one read.
const READ_BYTES: usize = 64 * 1024;

impl Link {
    /// A link that is not connected yet.
    pub fn new(place: Place, timeout: Duration) -> Self {
        let room = vec![0; READ_BYTES].into_boxed_slice();
        Self { place, timeout, pipe: None, input: Vec::new(), room, opened: 0 }
    }

    /// Opens a connection unless there is one that the other side has not closed. Never part of what is timed.
    ///
    /// # Errors
    /// The system's own, or those of TLS.
    pub fn warm(&mut self) -> io::Result<()> {
        if !self.pipe.as_ref().is_some_and(Pipe::is_alive) {
            self.pipe = None;
            self.pipe = Some(self.place.connect(self.timeout)?);
            self.opened += 1;
        }
        Ok(())
    }

    /// Sends a request that is already written and waits for its answer.
    pub fn exchange(&mut self, ask: &Ask, request: &[u8]) -> Reply {
        let mut reply = Reply { sent: monotonic_ns(), ..Reply::default() };
        let Some(mut pipe) = self.pipe.take() else {
            return reply.failed(Outcome::ConnectFailed, "no connection");
        };
        self.input.clear();
        if let Err(error) = pipe.write_all(request).and_then(|()| pipe.flush()) {
            return reply.failed(Outcome::Closed, error.to_string());
        }
        let begun = self.head(&mut pipe, &mut reply, ask);
        match begun.and_then(|begun| self.body(&mut pipe, &mut reply, ask, begun)) {
            Ok(close) => {
                reply.outcome = Some(Outcome::Ok);
                self.pipe = Some(pipe).filter(|_| !close);
                reply
            }
            Err((outcome, reason)) => reply.failed(outcome, reason),
        }
    }

    /// Reads up to the head's end; what came after it stays in `input`.
    fn head(&mut self, pipe: &mut Pipe, reply: &mut Reply, ask: &Ask) -> Result<Begun, Failure> {
        loop {
            let count = read(pipe, &mut self.room, reply.first_byte == 0)?;
            reply.ended = monotonic_ns();
            if reply.first_byte == 0 {
                reply.first_byte = reply.ended;
            }
            self.input.extend_from_slice(&self.room[..count]);
            let parsed = Head::parse(&self.input).map_err(|wrong| (Outcome::Malformed, wrong.0.to_owned()))?;
            let Some((head, used)) = parsed else { continue };
            let reading = Reading::new(ask, head.status, &head.media_type, false);
            let begun = Begun { status: head.status, framing: head.framing, close: head.close, reading };
            self.input.drain(..used);
            return Ok(begun);
        }
    }

    /// Reads the body and returns whether the connection ends with it.
    fn body(&mut self, pipe: &mut Pipe, reply: &mut Reply, ask: &Ask, begun: Begun) -> Result<bool, Failure> {
        let Begun { status, framing, close, mut reading } = begun;
        let mut body = Body::new(framing);
        let mut last_token = 0;
        loop {
            let mut generated = 0;
            let used = body.push(&self.input, |bytes| generated += reading.push(bytes).generated);
            self.input.drain(..used.map_err(|wrong| (Outcome::Malformed, wrong.0.to_owned()))?);
            note_tokens(reply, &mut last_token, generated);
            if body.is_ended() {
                break;
            }
            match read(pipe, &mut self.room, false) {
                Ok(count) => self.input.extend_from_slice(&self.room[..count]),
                Err((Outcome::Truncated, _)) if body.may_close() => break,
                Err(failure) => return Err(failure),
            }
            reply.ended = monotonic_ns();
        }
        if !ask.stream {
            reply.first_token = reply.ended;
        }
        let outcome = Outcome::of_status(status);
        if outcome != Outcome::Ok {
            return Err((outcome, format!("status {status}")));
        }
        reading.finish().map_err(|flaw| match flaw {
            Flaw::Truncated => (Outcome::Truncated, "cut off".to_owned()),
            Flaw::StreamError(text) => (Outcome::StreamError, text),
            Flaw::Malformed(text) => (Outcome::Malformed, text.to_owned()),
        })?;
        Ok(close || framing == Framing::Close)
    }

    /// Writes a request to the end of `out`.
    pub fn compose(&self, ask: &Ask, key: &str, out: &mut Vec<u8>) {
        dialect::compose(ask, &self.place.0.address, key, out);
    }
}

/// How a request failed, and why in words.
type Failure = (Outcome, String);

/// An answer whose head has been read.
struct Begun {
    status: u16,
    framing: Framing,
    close: bool,
    reading: Reading,
}

/// Events with tokens that the last read brought; those that came together have no gap between them.
fn note_tokens(reply: &mut Reply, last_token: &mut u64, generated: u32) {
    if generated == 0 {
        return;
    }
    let now = reply.ended;
    if *last_token == 0 {
        reply.first_token = now;
    } else {
        reply.gaps.push(u32::try_from(now - *last_token).unwrap_or(u32::MAX));
    }
    reply.gaps.extend(std::iter::repeat_n(0, generated as usize - 1));
    *last_token = now;
}

/// Reads some bytes; `fresh` says that none of the answer has come yet.
fn read(pipe: &mut Pipe, room: &mut [u8], fresh: bool) -> Result<usize, Failure> {
    let cut = if fresh { Outcome::Closed } else { Outcome::Truncated };
    loop {
        match pipe.read(room) {
            Ok(0) => return Err((cut, "the other side closed the connection".into())),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err((Outcome::Timeout, "no answer in time".into()));
            }
            Err(error) => return Err((cut, error.to_string())),
        }
    }
}
