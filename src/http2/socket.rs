//! What the `h2` crate reads from and writes to: a connection of this core in the shape of tokio's traits (the traits alone: nothing of
//! tokio runs here).

use std::cell::{RefCell, RefMut};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::watch::{FrameWatch, Sender};
use crate::limits;
use crate::rt;
use crate::tls::Transport;

/// Which side of a connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A client connected to us.
    Server,
    /// We connected to a provider.
    Client,
}

/// A connection, plain or encrypted, for frames; whoever drives it keeps a [`Line`] to the same connection.
pub struct Socket {
    line: Line,
}

/// What is known of a connection beside its frames.
#[derive(Clone)]
pub struct Line(Rc<RefCell<Wire>>);

struct Wire {
    transport: Transport,
    received: FrameWatch,
    sent: FrameWatch,
    last_read: Instant,
    /// Whether credentials are written to it: then its memory is wiped before it is lent again (rule V12).
    secret: bool,
}

impl Socket {
    /// Takes a connection over; bytes that it has read already come first.
    pub fn new(transport: Transport, side: Side) -> (Socket, Line) {
        let wire = Wire {
            transport,
            received: FrameWatch::new(Sender::Peer, side == Side::Server),
            sent: FrameWatch::new(Sender::Us, side == Side::Client),
            last_read: Instant::now(),
            secret: side == Side::Client,
        };
        let line = Line(Rc::new(RefCell::new(wire)));
        (Socket { line: line.clone() }, line)
    }
}

impl Line {
    /// Whether the peer made us do more than it may (rule H22). Nothing of it is read any more.
    pub fn is_flooded(&self) -> bool {
        let wire = self.0.borrow();
        wire.received.is_flooded() || wire.sent.is_flooded()
    }

    /// Since when a head is on its way that is not whole yet.
    pub fn block_since(&self) -> Option<Instant> {
        self.0.borrow().received.block_since()
    }

    /// When bytes came last.
    pub fn last_read(&self) -> Instant {
        self.0.borrow().last_read
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        self.0.borrow().transport.is_tls()
    }

    /// The address of the other side.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.0.borrow_mut().transport.peer_addr()
    }

    /// Says that no more will come, and reads on until the peer has ended too, so that a reset cannot overtake the last frame.
    /// Takes what it takes; whoever calls it has a deadline.
    pub async fn linger(&self) {
        if poll_fn(|cx| self.0.borrow_mut().transport.poll_flush(cx)).await.is_err() {
            return;
        }
        self.0.borrow_mut().half_close();
        let mut drained = 0;
        while drained <= limits::DRAIN_BYTES_MAX {
            match poll_fn(|cx| self.0.borrow_mut().poll_discard(cx)).await {
                Ok(0) | Err(_) => return,
                Ok(count) => drained += count as u64,
            }
        }
    }
}

impl Wire {
    /// Begins to say that no more will come; what does not leave at once leaves with the connection's end.
    fn half_close(&mut self) {
        let mut closing = std::pin::pin!(self.transport.shutdown_write());
        let _ = closing.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()));
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let filled = ready!(self.transport.poll_fill(cx));
        self.transport.input().clear();
        Poll::Ready(filled)
    }
}

impl Socket {
    fn wire(&self) -> RefMut<'_, Wire> {
        self.line.0.borrow_mut()
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.wire();
        let Wire { transport, received, last_read, .. } = &mut *wire;
        if received.is_flooded() {
            // Whoever drives the connection looks at that after each of its turns.
            return Poll::Pending;
        }
        // A fill may report bytes that were taken already: those that a handshake brought to light.
        while transport.input().is_empty() {
            if ready!(transport.poll_fill(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        let now = rt::coarse_now();
        *last_read = now;
        let input = transport.input();
        let here = input.len().min(buf.remaining());
        let bytes = &input.bytes()[..here];
        received.note(bytes, now);
        if received.is_flooded() {
            return Poll::Pending;
        }
        buf.put_slice(bytes);
        input.consume(here);
        input.release_if_empty();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut wire = self.wire();
        let Wire { transport, sent, secret, .. } = &mut *wire;
        if transport.output().len() >= limits::RELAY_BUFFER_BYTES {
            ready!(transport.poll_flush(cx))?;
        }
        sent.note(bytes, rt::coarse_now());
        if *secret {
            transport.output().secret();
        }
        transport.output().extend(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire().transport.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire().transport.poll_flush(cx)
    }
}
