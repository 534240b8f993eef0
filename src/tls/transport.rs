//! What the data plane holds: a connection, plain or encrypted, or one stream of a connection that carries many, with one face.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use super::Stream;
use crate::rt::{Buf, Conn, Duplex};

/// A plain or an encrypted connection, or a part of one.
pub enum Transport {
    /// As it is.
    Plain(Conn),
    /// Inside of TLS.
    Tls(Box<Stream<Conn>>),
    /// One exchange's share of a connection that carries several at once; its bytes are those of HTTP/1.1.
    Shared(Box<dyn Channel>),
}

/// Something that speaks like a connection of its own although it shares one with others.
pub trait Channel: Duplex {
    /// Sends all of the output, then says that no more will come.
    ///
    /// # Errors
    /// As for [`Duplex::poll_flush`].
    fn poll_shutdown_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Whether reading ended as the protocol underneath wants it.
    fn clean_eof(&self) -> bool;
    /// Whether the connection underneath is encrypted.
    fn is_tls(&self) -> bool;
    /// The address of the other side; none on Unix sockets.
    fn peer_addr(&self) -> Option<SocketAddr>;
}

impl From<Conn> for Transport {
    fn from(conn: Conn) -> Transport {
        Transport::Plain(conn)
    }
}

impl From<Stream<Conn>> for Transport {
    fn from(stream: Stream<Conn>) -> Transport {
        Transport::Tls(Box::new(stream))
    }
}

impl Transport {
    /// As [`Conn::poll_fill`].
    ///
    /// # Errors
    /// As there.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self {
            Transport::Plain(conn) => conn.poll_fill(cx),
            Transport::Tls(stream) => stream.poll_fill(cx),
            Transport::Shared(channel) => channel.poll_fill(cx),
        }
    }

    /// As [`Conn::fill`]: appends to the input; 0 is the end. May be dropped at any time.
    ///
    /// # Errors
    /// As there.
    pub async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// As [`Conn::poll_flush`].
    ///
    /// # Errors
    /// As there.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Plain(conn) => conn.poll_flush(cx),
            Transport::Tls(stream) => stream.poll_flush(cx),
            Transport::Shared(channel) => channel.poll_flush(cx),
        }
    }

    /// As [`Conn::flush`]: writes all of the output. May be dropped at any time.
    ///
    /// # Errors
    /// As there.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Writes all of the output and says that no more will come, in the manner of the transport.
    ///
    /// # Errors
    /// As for [`poll_flush`](Transport::poll_flush).
    pub async fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Transport::Plain(conn) => conn.shutdown_write().await,
            Transport::Tls(stream) => {
                stream.close_notify().await?;
                stream.io().shutdown_write().await
            }
            Transport::Shared(channel) => poll_fn(|cx| channel.poll_shutdown_write(cx)).await,
        }
    }

    /// The bytes read and not consumed yet.
    pub fn input(&mut self) -> &mut Buf {
        match self {
            Transport::Plain(conn) => conn.input(),
            Transport::Tls(stream) => stream.input(),
            Transport::Shared(channel) => channel.input(),
        }
    }

    /// The input, moved out.
    pub fn take_input(&mut self) -> Buf {
        std::mem::take(self.input())
    }

    /// What the next flush writes.
    pub fn output(&mut self) -> &mut Buf {
        match self {
            Transport::Plain(conn) => conn.output(),
            Transport::Tls(stream) => stream.output(),
            Transport::Shared(channel) => channel.output(),
        }
    }

    /// As [`Conn::expect_bytes`].
    pub fn expect_bytes(&mut self, bytes: usize) {
        match self {
            Transport::Plain(conn) => conn.expect_bytes(bytes),
            Transport::Tls(stream) => stream.io().expect_bytes(bytes),
            Transport::Shared(_) => {}
        }
    }

    /// Whether a read is pending in the kernel; of a shared connection nobody knows for one of its parts.
    pub fn is_filling(&mut self) -> bool {
        self.conn().is_some_and(|conn| conn.is_filling())
    }

    /// Whether there is output that the kernel has not taken yet.
    pub fn is_flushing(&mut self) -> bool {
        let waits = !matches!(self, Transport::Plain(_)) && !self.output().is_empty();
        waits || self.conn().is_some_and(|conn| conn.is_flushing())
    }

    /// Whether an unused connection may be taken for another exchange: nothing came, and the peer is there.
    ///
    /// Leaves a read armed, which is what makes the next check cheap and a message in between not lost. On io_uring a read armed
    /// just now has seen nothing yet: ask once when the connection is put away, and again when it is taken.
    pub fn is_idle(&mut self) -> bool {
        let nothing_came = self.input().is_empty();
        nothing_came && self.poll_fill(&mut Context::from_waker(std::task::Waker::noop())).is_pending()
    }

    /// Whether reading ended as the transport wants it: on TLS the peer said so, on plain TCP there is nothing more to say.
    pub fn clean_eof(&self) -> bool {
        match self {
            Transport::Plain(conn) => conn.clean_eof(),
            Transport::Tls(stream) => stream.clean_eof(),
            Transport::Shared(channel) => channel.clean_eof(),
        }
    }

    /// The address of the other side; none on Unix sockets.
    pub fn peer_addr(&mut self) -> Option<SocketAddr> {
        match self {
            Transport::Plain(conn) => conn.peer_addr(),
            Transport::Tls(stream) => stream.io().peer_addr(),
            Transport::Shared(channel) => channel.peer_addr(),
        }
    }

    /// Whether it is encrypted.
    pub fn is_tls(&self) -> bool {
        match self {
            Transport::Plain(_) => false,
            Transport::Tls(_) => true,
            Transport::Shared(channel) => channel.is_tls(),
        }
    }

    /// The protocol agreed on in the handshake, if there was one and it did.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Transport::Plain(_) | Transport::Shared(_) => None,
            Transport::Tls(stream) => stream.alpn(),
        }
    }

    /// The connection underneath, unless it is shared. Its buffers hold records when it is encrypted.
    pub fn conn(&mut self) -> Option<&mut Conn> {
        match self {
            Transport::Plain(conn) => Some(conn),
            Transport::Tls(stream) => Some(stream.io()),
            Transport::Shared(_) => None,
        }
    }
}

impl Duplex for Transport {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        Transport::poll_fill(self, cx)
    }

    fn input(&mut self) -> &mut Buf {
        Transport::input(self)
    }

    fn output(&mut self) -> &mut Buf {
        Transport::output(self)
    }

    fn buffers(&mut self) -> (&mut Buf, &mut Buf) {
        match self {
            Transport::Plain(conn) => conn.buffers(),
            Transport::Tls(stream) => stream.buffers(),
            Transport::Shared(channel) => channel.buffers(),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Transport::poll_flush(self, cx)
    }
}
