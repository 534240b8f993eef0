//! The client's side: a connection to a provider on which many exchanges have a stream each.
//!
//! A stream takes the text of one request and gives the text of its answer, as a connection of its own would. One that is dropped before
//! its answer was whole is reset. What the provider never looked at (a refused stream, one above the last that its GOAWAY names) ends like a
//! kept connection that was lost, and may be sent again; what it looked at and broke off does not.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use h2::client::{Builder, Connection, ResponseFuture, SendRequest};

use super::fields;
use super::flow::{Incoming, Outgoing, Piece, broken};
use super::socket::{Line, Side, Socket};
use crate::http::body::BodyReader;
use crate::http::head::{Method, Progress, RequestFraming, RequestHead};
use crate::limits;
use crate::limits::http2 as bounds;
use crate::rt::{self, Buf, Duplex, Latch};
use crate::tls::{Channel, Transport};

/// One connection to a provider, for as many exchanges at once as the provider allows. Lives as long as this or one of its streams does.
pub struct SharedConnection {
    sender: SendRequest<Piece>,
    line: Line,
    standing: Rc<Standing>,
}

/// What is known of a connection on either end of its handle.
struct Standing {
    streams: Cell<usize>,
    /// When the last of them ended.
    last_end: Cell<Instant>,
    /// Whether it is gone.
    over: Cell<bool>,
    /// Whether it seems to lead nowhere: it is given to nobody any more.
    retired: Cell<bool>,
    /// Open once the provider has said how many streams it allows, and when it is gone.
    settled: Latch,
}

/// A connection whose provider has not said yet how many streams it allows.
pub struct Settling(Rc<Standing>);

impl Settling {
    /// Waits until it has, or the connection is gone.
    pub async fn over(&self) {
        self.0.settled.opened().await;
    }
}

/// Stands for what the provider has not said: no SETTINGS frame can say so much (RFC 9113 section 6.5.1).
const UNSAID: usize = usize::MAX - 1;

/// One request and its answer.
pub struct ClientStream {
    input: Buf,
    output: Buf,
    sender: SendRequest<Piece>,
    request: Sending,
    answer: Receiving,
    /// Whether it asks for a head alone.
    bodiless: bool,
    began: Instant,
    line: Line,
    standing: Rc<Standing>,
}

enum Sending {
    /// Its head is not whole yet.
    Head,
    /// Its body is on its way, or over.
    Body(Outgoing),
}

enum Receiving {
    /// There is no request yet.
    Nothing,
    /// The head is awaited.
    Head(ResponseFuture),
    /// The body is on its way, or over.
    Body(Incoming),
}

impl SharedConnection {
    /// Begins to speak HTTP/2 on a connection whose other side agreed to it, and drives it on a task of this core. Does not wait for the other
    /// side.
    ///
    /// # Errors
    /// The connection's.
    pub async fn open(transport: Transport) -> io::Result<SharedConnection> {
        let (socket, line) = Socket::new(transport, Side::Client);
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_max_send_streams(UNSAID)
            .max_header_list_size(u32::try_from(limits::UPSTREAM_HEAD_BYTES_MAX).unwrap_or(u32::MAX))
            .initial_window_size(bounds::STREAM_WINDOW_BYTES)
            .initial_connection_window_size(bounds::CONNECTION_WINDOW_BYTES)
            .max_send_buffer_size(bounds::SEND_BUFFER_BYTES)
            .max_concurrent_reset_streams(bounds::RESET_STREAMS_KEPT)
            .max_local_error_reset_streams(Some(bounds::BROKEN_STREAMS_MAX));
        let (sender, connection) = builder.handshake(socket).await.map_err(broken)?;
        let standing = Rc::new(Standing {
            streams: Cell::new(0),
            last_end: Cell::new(Instant::now()),
            over: Cell::new(false),
            retired: Cell::new(false),
            settled: Latch::default(),
        });
        rt::spawn(drive(connection, line.clone(), standing.clone()));
        Ok(SharedConnection { sender, line, standing })
    }

    /// A stream for one more exchange, if there is room for it and the connection leads anywhere.
    ///
    /// The first need not wait for what the provider allows (RFC 9113 section 3.4). Further ones do: those beyond it would wait on this
    /// connection for the ends of others, where one more connection has room at once.
    pub fn stream(&self) -> Option<ClientStream> {
        let mut sender = self.sender.clone();
        let room = match self.standing.settled.is_open() {
            true => sender.current_max_send_streams().min(bounds::STREAMS_MAX as usize),
            false => 1,
        };
        let is_open = matches!(sender.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())));
        let standing = &self.standing;
        if self.is_over() || standing.retired.get() || !is_open || standing.streams.get() >= room {
            return None;
        }
        standing.streams.set(standing.streams.get() + 1);
        Some(ClientStream {
            input: Buf::new(),
            output: Buf::new(),
            sender,
            request: Sending::Head,
            answer: Receiving::Nothing,
            bodiless: false,
            began: Instant::now(),
            line: self.line.clone(),
            standing: standing.clone(),
        })
    }

    /// What to wait for, if the provider has not said yet how many streams it allows.
    pub fn settling(&self) -> Option<Settling> {
        (self.is_usable() && !self.standing.settled.is_open()).then(|| Settling(self.standing.clone()))
    }

    /// Whether it is gone.
    pub fn is_over(&self) -> bool {
        self.standing.over.get()
    }

    /// Whether further exchanges may come to it: it is there, the provider has not said goodbye, and it does not seem dead.
    pub fn is_usable(&self) -> bool {
        let ready = self.sender.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
        !self.is_over() && !self.standing.retired.get() && matches!(ready, Poll::Ready(Ok(())))
    }

    /// How long no exchange has been on it; zero while one is.
    pub fn idle_for(&self, now: Instant) -> Duration {
        match self.standing.streams.get() {
            0 => now.saturating_duration_since(self.standing.last_end.get()),
            _ => Duration::ZERO,
        }
    }
}

/// Moves frames until the connection is over, or the provider makes us do more than it may (rule H22).
async fn drive(connection: Connection<Socket, Piece>, line: Line, standing: Rc<Standing>) {
    // Also when this task is dropped or panics.
    let over = Over(standing);
    let mut connection = pin!(connection);
    poll_fn(|cx| {
        let moved = connection.as_mut().poll(cx);
        let settled = &over.0.settled;
        if !settled.is_open() && connection.max_concurrent_send_streams() != UNSAID {
            settled.open();
        }
        match moved {
            Poll::Pending if !line.is_flooded() => Poll::Pending,
            _ => Poll::Ready(()),
        }
    })
    .await;
}

struct Over(Rc<Standing>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.over.set(true);
        self.0.settled.open();
    }
}

impl ClientStream {
    /// Takes the request's head from the front of the output once it is whole, and sends it; whether it has left.
    fn send_head(&mut self) -> io::Result<bool> {
        if matches!(self.request, Sending::Body(_)) {
            return Ok(true);
        }
        let mut head = RequestHead::default();
        let bytes = self.output.bytes();
        let parsed = head.parse(bytes, &fields::REQUEST);
        let parsed = parsed.map_err(|fault| io::Error::new(io::ErrorKind::InvalidInput, fault))?;
        let Progress::Complete { consumed } = parsed else { return Ok(false) };
        let request = fields::request(&head, bytes, self.line.is_tls())?;
        let framing = head.framing();
        let ends = matches!(framing, RequestFraming::None | RequestFraming::Length(0));
        let (response, stream) = self.sender.send_request(request, ends).map_err(broken)?;
        self.bodiless = head.method() == Method::Head;
        self.output.consume(consumed);
        let body = BodyReader::from(framing);
        self.request = Sending::Body(if ends { Outgoing::ended(stream, body) } else { Outgoing::new(stream, body) });
        self.answer = Receiving::Head(response);
        Ok(true)
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        let waited = matches!(self.answer, Receiving::Head(_)) && self.began.elapsed() >= bounds::SILENT_CONNECTION;
        if waited && self.line.last_read() < self.began {
            self.standing.retired.set(true);
        }
        self.standing.streams.set(self.standing.streams.get().saturating_sub(1));
        self.standing.last_end.set(Instant::now());
    }
}

impl Duplex for ClientStream {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let incoming = match &mut self.answer {
            Receiving::Nothing => return Poll::Pending,
            Receiving::Body(incoming) => return incoming.poll(cx, &mut self.input),
            Receiving::Head(response) => {
                let response = ready!(Pin::new(response).poll(cx)).map_err(broken)?;
                let before = self.input.len();
                let chunked = fields::write_response(&response, self.bodiless, &mut self.input);
                (Incoming::new(response.into_body(), chunked), self.input.len() - before)
            }
        };
        self.answer = Receiving::Body(incoming.0);
        Poll::Ready(Ok(incoming.1))
    }

    fn input(&mut self) -> &mut Buf {
        &mut self.input
    }

    fn output(&mut self) -> &mut Buf {
        &mut self.output
    }

    fn buffers(&mut self) -> (&mut Buf, &mut Buf) {
        (&mut self.input, &mut self.output)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.output.is_empty() || !self.send_head()? {
            return Poll::Ready(Ok(()));
        }
        match &mut self.request {
            Sending::Body(outgoing) => outgoing.poll(cx, &mut self.output),
            Sending::Head => Poll::Ready(Ok(())),
        }
    }
}

impl Channel for ClientStream {
    fn poll_shutdown_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        match &mut self.request {
            Sending::Body(outgoing) => Poll::Ready(outgoing.close()),
            Sending::Head => Poll::Ready(Ok(())),
        }
    }

    fn clean_eof(&self) -> bool {
        matches!(&self.answer, Receiving::Body(incoming) if incoming.is_ended())
    }

    fn is_tls(&self) -> bool {
        self.line.is_tls()
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        self.line.peer_addr()
    }
}
