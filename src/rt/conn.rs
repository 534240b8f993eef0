//! A connection: TCP or Unix stream, with an input and an output buffer, whose operations may be waited for and abandoned.
//!
//! A read belongs to the connection, not to the caller: dropping the future of [`Conn::fill`] (in a race, at a deadline) leaves the
//! kernel operation where it is, and the next fill takes it up again. No byte is lost or reordered, on either driver. The same holds
//! for writes. A read left armed on an unused connection doubles as its liveness check: while it is pending, the peer is there.
//!
//! Memory: a read that waits holds none on epoll, where bytes get a buffer when they have come. On io_uring it holds one from the pool, whose
//! size follows the traffic, from [`READ_BUFFER_BYTES_MIN`] to [`READ_BUFFER_BYTES`]; a connection that waits for small events holds a
//! small one. (Waiting for readiness first would need no buffer, but costs a submission per read.)

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::task::{Context, Poll, ready};

use monoio::io::Splitable;
use monoio::net::{TcpStream, UnixStream};

use super::pump::{Job, Pump};
use super::{Buf, Driver, Duplex, driver, fd, task};
use crate::limits::{READ_BUFFER_BYTES, READ_BUFFER_BYTES_MIN};

/// What the first read on a connection asks for: a request or response head with a small body.
const FIRST_READ_BYTES: usize = 4 * 1024;

/// A connection of this core. See the module for what may be dropped when.
pub struct Conn {
    reader: Pump,
    writer: Pump,
    /// The socket of the two pumps, open while they live.
    fd: RawFd,
    input: Buf,
    output: Buf,
    /// What the next read asks for, in bytes.
    read_bytes: usize,
    /// How reading ended, if it did: an error comes again on every further fill, an end of stream as `Ok(0)`.
    read_end: Option<Result<(), io::ErrorKind>>,
    write_end: Option<io::ErrorKind>,
    peer: Option<SocketAddr>,
}

impl Conn {
    /// Connects to an address, with `TCP_NODELAY` set.
    ///
    /// The future may be dropped: the attempt is cancelled and the socket closed once the kernel has let go of it, that is in the
    /// next turns of this core.
    ///
    /// # Errors
    /// The kernel's: refused, unreachable, out of descriptors. There is no time limit here; see
    /// [`with_deadline`](super::with_deadline).
    pub async fn connect(addr: SocketAddr) -> io::Result<Conn> {
        let stream = TcpStream::connect_addr(addr).await?;
        Conn::from_tcp(stream, addr)
    }

    /// Connects to a Unix socket. May be dropped like [`Conn::connect`].
    ///
    /// # Errors
    /// The kernel's, and a path that does not fit a socket address.
    pub async fn connect_unix(path: impl AsRef<Path>) -> io::Result<Conn> {
        Ok(Conn::from_unix(UnixStream::connect(path).await?))
    }

    /// Takes over a connected stream of the standard library.
    ///
    /// # Errors
    /// The kernel's, when the stream cannot be registered with the driver.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<Conn> {
        let peer = stream.peer_addr()?;
        stream.set_nonblocking(driver::current() == Some(Driver::Epoll))?;
        Conn::from_tcp(TcpStream::from_std(stream)?, peer)
    }

    /// Two connections to each other over an unnamed Unix socket pair.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn pair() -> io::Result<(Conn, Conn)> {
        let (a, b) = std::os::unix::net::UnixStream::pair()?;
        let blocking = driver::current() != Some(Driver::Epoll);
        a.set_nonblocking(!blocking)?;
        b.set_nonblocking(!blocking)?;
        Ok((Conn::from_unix(UnixStream::from_std(a)?), Conn::from_unix(UnixStream::from_std(b)?)))
    }

    pub(super) fn from_tcp(stream: TcpStream, peer: SocketAddr) -> io::Result<Conn> {
        // A small event must leave at once.
        stream.set_nodelay(true)?;
        if driver::current() == Some(Driver::IoUring) {
            fd::close_on_exec(stream.as_raw_fd())?;
        }
        let fd = stream.as_raw_fd();
        let (reader, writer) = stream.into_split();
        Ok(Conn::new(Pump::reading(reader), Pump::writing(writer), fd, Some(peer)))
    }

    fn from_unix(stream: UnixStream) -> Conn {
        let fd = stream.as_raw_fd();
        let (reader, writer) = stream.into_split();
        Conn::new(Pump::reading(reader), Pump::writing(writer), fd, None)
    }

    fn new(reader: Pump, writer: Pump, fd: RawFd, peer: Option<SocketAddr>) -> Conn {
        Conn {
            reader,
            writer,
            fd,
            input: Buf::new(),
            output: Buf::new(),
            read_bytes: FIRST_READ_BYTES,
            read_end: None,
            write_end: None,
            peer,
        }
    }

    /// The address of the other side; none on Unix sockets.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The bytes read and not consumed yet. Always visible, also while a read is pending (which fills another buffer).
    pub fn input(&mut self) -> &mut Buf {
        &mut self.input
    }

    /// The input, moved out.
    pub fn take_input(&mut self) -> Buf {
        std::mem::take(&mut self.input)
    }

    /// What the next [`flush`](Conn::flush) writes. May be appended to while a flush is pending.
    pub fn output(&mut self) -> &mut Buf {
        &mut self.output
    }

    /// Whether a read is pending in the kernel.
    pub fn is_filling(&self) -> bool {
        self.reader.is_busy()
    }

    /// Whether there is output that the kernel has not taken yet.
    pub fn is_flushing(&self) -> bool {
        self.writer.is_busy() || !self.output.is_empty()
    }

    /// Whether the other side ended the stream (FIN), rather than an error.
    pub fn clean_eof(&self) -> bool {
        self.read_end == Some(Ok(()))
    }

    /// Tells what size of read to expect next: `1` for a connection that is only watched, a content length for a body. Clamped to
    /// [`READ_BUFFER_BYTES_MIN`]`..=`[`READ_BUFFER_BYTES`]; without it the size follows the traffic. On epoll nothing waits for it.
    pub fn expect_bytes(&mut self, bytes: usize) {
        self.read_bytes = bytes.clamp(READ_BUFFER_BYTES_MIN, READ_BUFFER_BYTES);
    }

    /// Appends what comes next to the input and says how many bytes; 0 is the end of the stream.
    ///
    /// A read that is already pending is taken up again. Woken by the last task that polled. With a waker that does nothing this is
    /// a liveness check: pending means alive.
    ///
    /// # Errors
    /// The kernel's; reading is over then, and the error comes again.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Some(end) = self.read_end {
            return Poll::Ready(end.map(|()| 0).map_err(io::Error::from));
        }
        let waited = self.reader.is_busy();
        if !waited {
            ready!(task::poll_turn(cx));
            let buf = self.lease_for_read();
            self.reader.start(Job::Move(buf));
        }
        let (result, buf) = ready!(self.reader.poll(cx));
        if !waited {
            task::spend_turn();
        }
        if matches!(&result, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
            return self.poll_fill(cx);
        }
        Poll::Ready(self.accept_read(result, buf))
    }

    /// [`poll_fill`](Conn::poll_fill) as a future. May be dropped at any time.
    ///
    /// # Errors
    /// As there.
    pub async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// Writes all of the output.
    ///
    /// # Errors
    /// The kernel's; writing is over then, and the error comes again.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(kind) = self.write_end {
                return Poll::Ready(Err(kind.into()));
            }
            if !self.writer.is_busy() {
                if self.output.is_empty() {
                    self.output.release_if_empty();
                    return Poll::Ready(Ok(()));
                }
                ready!(task::poll_turn(cx));
                task::spend_turn();
                let sent = self.send_now();
                let buf = std::mem::take(&mut self.output);
                if let Some(result) = sent {
                    self.accept_write(result, buf);
                    continue;
                }
                self.writer.start(Job::Move(buf));
            }
            let (result, buf) = ready!(self.writer.poll(cx));
            self.accept_write(result, buf);
        }
    }

    /// [`poll_flush`](Conn::poll_flush) as a future. May be dropped at any time; the next flush goes on where this one was.
    ///
    /// # Errors
    /// As there.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Writes all of the output, then says that no more will come (FIN).
    ///
    /// # Errors
    /// As for [`poll_flush`](Conn::poll_flush).
    pub async fn shutdown_write(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.writer.start(Job::ShutdownWrite);
        let (result, _) = poll_fn(|cx| self.writer.poll(cx)).await;
        self.write_end = Some(io::ErrorKind::BrokenPipe);
        result.map(|_| ())
    }

    /// Offers the output to the kernel at once; `None` is left to an operation that waits.
    ///
    /// On epoll the operation would make the same call behind two more futures. A ring takes it with its next batch instead, which
    /// costs less than a call of its own.
    fn send_now(&self) -> Option<io::Result<usize>> {
        if driver::current() != Some(Driver::Epoll) {
            return None;
        }
        match fd::send_now(self.fd, self.output.bytes()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            result => Some(result),
        }
    }

    fn lease_for_read(&mut self) -> Buf {
        if driver::current() == Some(Driver::Epoll) {
            self.input.release_if_empty();
            return Buf::landing();
        }
        // The emptied input serves again if it fits; one much larger goes back, for the read may wait long.
        let fits = (self.read_bytes..self.read_bytes * 4).contains(&self.input.capacity());
        if self.input.is_empty() && fits {
            return std::mem::take(&mut self.input);
        }
        self.input.release_if_empty();
        Buf::lease(self.read_bytes)
    }

    fn accept_read(&mut self, result: io::Result<usize>, buf: Buf) -> io::Result<usize> {
        match result {
            Ok(0) => {
                self.read_end = Some(Ok(()));
                Ok(0)
            }
            Ok(n) => {
                self.read_bytes = size_after(n, buf.spare() == 0);
                if self.input.is_empty() {
                    self.input = buf;
                } else {
                    self.input.extend(buf.bytes());
                }
                Ok(n)
            }
            Err(error) => {
                self.read_end = Some(Err(error.kind()));
                Err(error)
            }
        }
    }

    fn accept_write(&mut self, result: io::Result<usize>, mut buf: Buf) {
        match result {
            Ok(0) => self.write_end = Some(io::ErrorKind::WriteZero),
            Ok(n) => {
                buf.consume(n);
                if !buf.is_empty() {
                    // What was appended meanwhile comes after.
                    buf.extend(self.output.bytes());
                    self.output = buf;
                } else if self.output.capacity() == 0 {
                    self.output = buf;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                buf.extend(self.output.bytes());
                self.output = buf;
            }
            Err(error) => self.write_end = Some(error.kind()),
        }
    }
}

impl Duplex for Conn {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        Conn::poll_fill(self, cx)
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
        Conn::poll_flush(self, cx)
    }
}

/// What to ask for after a read of `n` bytes: four times more after a full buffer, else what would have held it.
fn size_after(n: usize, full: bool) -> usize {
    let bytes = if full { n.saturating_mul(4) } else { n.next_power_of_two() };
    bytes.clamp(READ_BUFFER_BYTES_MIN, READ_BUFFER_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_reads_follows_the_traffic() {
        assert_eq!(size_after(150, false), READ_BUFFER_BYTES_MIN);
        assert_eq!(size_after(2500, false), 4096);
        assert_eq!(size_after(4096, true), READ_BUFFER_BYTES);
        assert_eq!(size_after(usize::MAX, true), READ_BUFFER_BYTES);
    }
}
