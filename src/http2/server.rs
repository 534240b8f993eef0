//! The server's side: the streams that a client opens, each as a connection of one exchange.
//!
//! ```text
//!   HEADERS --text--> input     DATA --as body--> input          output --head--> HEADERS     output --body--> DATA
//! ```
//!
//! A stream that the client resets looks like a client that hung up. One that is dropped before its answer was whole is reset after what was
//! sent of it, never ended (rule H17).

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;

use super::flow::{self, Incoming, Outgoing, Piece};
use super::socket::{Line, Side, Socket};
use super::{fields, flow::broken};
use crate::http::body::BodyReader;
use crate::http::head::{Method, Progress, ResponseFraming, ResponseHead};
use crate::limits;
use crate::limits::http2 as bounds;
use crate::rt::{self, Buf, Duplex};
use crate::tls::{Channel, Transport};

/// A client's connection, to be driven by one task: nothing moves on any of its streams while nobody polls it.
pub struct Requests {
    connection: Connection<Socket, Piece>,
    line: Line,
}

/// One request and its answer.
pub struct ServerStream {
    input: Buf,
    output: Buf,
    incoming: Incoming,
    /// Whether all of the request was given.
    received: bool,
    method: Method,
    head: ResponseHead,
    answer: Answer,
    is_tls: bool,
    peer: Option<SocketAddr>,
}

enum Answer {
    /// Its head has not been written.
    Awaited(SendResponse<Piece>),
    /// Its body is on its way, or over.
    Sending(Outgoing),
    /// The stream was left to itself.
    Left,
}

impl Requests {
    /// Begins to speak HTTP/2 on a connection whose client wants that; `head_bytes` bounds a request's fields, counted as RFC 9113 §6.5.2 has it.
    /// Takes what the client takes; whoever calls it has a deadline.
    ///
    /// # Errors
    /// The client does not speak HTTP/2, or the connection ended.
    pub async fn open(transport: Transport, head_bytes: usize) -> io::Result<Requests> {
        let (socket, line) = Socket::new(transport, Side::Server);
        let mut builder = Builder::new();
        builder
            .max_concurrent_streams(bounds::STREAMS_MAX)
            .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
            .initial_window_size(bounds::STREAM_WINDOW_BYTES)
            .initial_connection_window_size(bounds::CONNECTION_WINDOW_BYTES)
            .max_send_buffer_size(bounds::SEND_BUFFER_BYTES)
            .max_concurrent_reset_streams(bounds::RESET_STREAMS_KEPT)
            .max_pending_accept_reset_streams(bounds::STREAMS_MAX as usize)
            .max_local_error_reset_streams(Some(bounds::BROKEN_STREAMS_MAX));
        let connection = builder.handshake(socket).await.map_err(broken)?;
        Ok(Requests { connection, line })
    }

    /// Drives the connection; ready with the next request, and with `None` once it is over.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<ServerStream>> {
        loop {
            match ready!(self.connection.poll_accept(cx)) {
                Some(Ok((request, respond))) => {
                    if let Some(stream) = ServerStream::new(request, respond, &self.line) {
                        return Poll::Ready(Some(stream));
                    }
                }
                Some(Err(_)) | None => return Poll::Ready(None),
            }
        }
    }

    /// Takes no more requests, and ends once those under way are answered.
    pub fn leave(&mut self) {
        self.connection.graceful_shutdown();
    }

    /// Ends at once, because the client made us do more than it may.
    pub fn throw_out(&mut self) {
        self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
    }

    /// Whether the client made us do more than it may (rule H22).
    pub fn is_flooded(&self) -> bool {
        self.line.is_flooded()
    }

    /// Since when a head is on its way that is not whole yet.
    pub fn head_since(&self) -> Option<Instant> {
        self.line.block_since()
    }

    /// Lets the client have the last frames; as the line underneath does it.
    pub async fn linger(self) {
        drop(self.connection);
        self.line.linger().await;
    }
}

impl ServerStream {
    fn new(request: Request<RecvStream>, mut respond: SendResponse<Piece>, line: &Line) -> Option<ServerStream> {
        let mut input = Buf::new();
        let chunked = match fields::write_request(&request, &mut input) {
            Ok(chunked) => chunked,
            Err(reason) => {
                respond.send_reset(reason);
                return None;
            }
        };
        // Only whether it is HEAD matters for an answer's framing.
        let method = if request.method() == http::Method::HEAD { Method::Head } else { Method::Get };
        Some(ServerStream {
            input,
            output: Buf::new(),
            incoming: Incoming::new(request.into_body(), chunked),
            received: false,
            method,
            head: ResponseHead::default(),
            answer: Answer::Awaited(respond),
            is_tls: line.is_tls(),
            peer: line.peer_addr(),
        })
    }

    /// Turns it away unanswered: nothing was done, and the client may ask again.
    pub fn refuse(mut self) {
        if let Answer::Awaited(respond) = &mut self.answer {
            respond.send_reset(Reason::REFUSED_STREAM);
        }
    }

    fn is_over(&self) -> bool {
        matches!(&self.answer, Answer::Sending(outgoing) if outgoing.is_ended())
    }

    /// Ready when the client has given the stream up, or is gone.
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        match &mut self.answer {
            Answer::Awaited(respond) => respond.poll_reset(cx).map(flow::reset),
            Answer::Sending(outgoing) => outgoing.poll_reset(cx),
            Answer::Left => Poll::Ready(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Takes heads from the front of the output until the final one was sent; whether it was.
    fn send_head(&mut self) -> io::Result<bool> {
        while let Answer::Awaited(respond) = &mut self.answer {
            let bytes = self.output.bytes();
            let parsed = self.head.parse(bytes, &fields::ANSWER);
            let Progress::Complete { consumed } =
                parsed.map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?
            else {
                return Ok(false);
            };
            let response = fields::response(&self.head, bytes)?;
            if self.head.is_interim() {
                respond.send_informational(response).map_err(broken)?;
                self.output.consume(consumed);
                continue;
            }
            let framing = self.head.framing(self.method);
            let ends = matches!(framing, ResponseFraming::None | ResponseFraming::Length(0));
            let stream = respond.send_response(response, ends).map_err(broken)?;
            self.output.consume(consumed);
            let body = BodyReader::from(framing);
            self.answer =
                Answer::Sending(if ends { Outgoing::ended(stream, body) } else { Outgoing::new(stream, body) });
        }
        Ok(true)
    }
}

/// An answer that was cut is reset, but only once what there was of it has left: a reset takes back what still waits (rule H17).
impl Drop for ServerStream {
    fn drop(&mut self) {
        if let Answer::Sending(outgoing) = std::mem::replace(&mut self.answer, Answer::Left)
            && !outgoing.is_ended()
            && outgoing.is_leaving()
        {
            rt::spawn(async move {
                let end = Instant::now() + limits::DRAIN_DEADLINE;
                while outgoing.is_leaving() && Instant::now() < end {
                    rt::breathe().await;
                }
            });
        }
    }
}

impl Duplex for ServerStream {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.is_over() {
            return Poll::Ready(Ok(0));
        }
        if !self.received {
            match ready!(self.incoming.poll(cx, &mut self.input)) {
                Ok(0) => self.received = true,
                filled => return Poll::Ready(filled),
            }
        }
        // The end of a request is no end of a client, as it is of a connection's.
        self.poll_reset(cx).map(Err)
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
        match &mut self.answer {
            Answer::Sending(outgoing) => outgoing.poll(cx, &mut self.output),
            Answer::Awaited(_) | Answer::Left => Poll::Ready(Ok(())),
        }
    }
}

impl Channel for ServerStream {
    fn poll_shutdown_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        match &mut self.answer {
            Answer::Sending(outgoing) => Poll::Ready(outgoing.close()),
            Answer::Awaited(_) | Answer::Left => Poll::Ready(Ok(())),
        }
    }

    fn clean_eof(&self) -> bool {
        self.is_over()
    }

    fn is_tls(&self) -> bool {
        self.is_tls
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }
}
