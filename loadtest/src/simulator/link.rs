//! One connection at byte level: what has been read, what has left, and whether the other side is still there.
//!
//! While an answer waits, the link keeps reading, so that a client's hang-up is noticed when it happens and not when the
//! next write fails.

use super::wire::{self, Chunk, Framing, Head, Malformed};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// A byte stream over TCP, plain or encrypted.
pub trait Wire: AsyncRead + AsyncWrite + Unpin {
    /// The connection below.
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

/// Why a connection cannot go on.
#[derive(Debug)]
pub enum Gone {
    /// The client closed or reset it.
    Client,
    /// A planned reset was reached.
    Reset,
    /// What arrived is not HTTP/1.1; answered with 400.
    Malformed(Malformed),
}

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self::Client
    }
}

/// A connection with its read-ahead and its plan for writing.
pub struct Link<W> {
    wire: W,
    input: Vec<u8>,
    /// Bytes of the current answer that have left.
    written: u64,
    /// The connection ends in a reset: an orderly end must not come first.
    resetting: bool,
    /// Reset once so many bytes of the answer have left.
    pub reset_after: Option<u64>,
    /// Bytes of one write at most.
    pub write_bytes: Option<usize>,
    /// A pause after each write but the last.
    pub drip: Option<Duration>,
    /// Rings when the connection may have been silent too long. It is set once for many requests: setting it for each would cost more than
    /// reading one does.
    idle: Option<Pin<Box<Sleep>>>,
}

/// Bytes a client may send ahead of its answer before we stop reading.
const AHEAD_BYTES_MAX: usize = 64 * 1024;
/// Room for one read.
const READ_BYTES: usize = 4 * 1024;
/// Room for one read of a long body.
const BODY_READ_BYTES: usize = 64 * 1024;
/// Room for what a client sends while its answer leaves: nothing, as a rule.
const PAUSE_BYTES: usize = 64;

impl<W: Wire> Link<W> {
    /// Wraps a fresh connection.
    pub fn new(wire: W) -> Self {
        Self {
            wire,
            input: Vec::new(),
            written: 0,
            resetting: false,
            reset_after: None,
            write_bytes: None,
            drip: None,
            idle: None,
        }
    }

    /// Forgets the plan of the answer that just ended.
    pub fn next_answer(&mut self) {
        self.written = 0;
        self.reset_after = None;
        self.write_bytes = None;
        self.drip = None;
    }

    /// Who is on the other side.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.wire.tcp().peer_addr().ok()
    }

    /// What has been read and not yet used.
    pub fn input(&mut self) -> &mut Vec<u8> {
        &mut self.input
    }

    /// Reads more, however long that takes.
    ///
    /// # Errors
    /// The client is gone.
    pub async fn more(&mut self) -> Result<(), Gone> {
        self.fill().await
    }

    /// Bytes of the current answer that have left.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Reads the next head, waiting for its first byte at most `idle`.
    ///
    /// # Errors
    /// The client left, stayed silent, or broke the grammar.
    pub async fn head(&mut self, idle: Duration) -> Result<Head, Gone> {
        let mut searched = 0;
        loop {
            if !self.input.is_empty() {
                if let Some((head, used)) = wire::head(&self.input, searched).map_err(Gone::Malformed)? {
                    self.spend(used);
                    return Ok(head);
                }
                searched = self.input.len();
            }
            self.fill_within(idle).await?;
        }
    }

    /// Reads more, unless the other side stays silent for so long.
    async fn fill_within(&mut self, idle: Duration) -> Result<(), Gone> {
        self.input.reserve(READ_BYTES);
        let awaited = Instant::now();
        let bell = self.idle.get_or_insert_with(|| Box::pin(tokio::time::sleep_until((awaited + idle).into())));
        loop {
            tokio::select! {
                biased;
                read = self.wire.read_buf(&mut self.input) => {
                    return if read? == 0 { Err(Gone::Client) } else { Ok(()) };
                }
                () = bell.as_mut() => {
                    let silent_until = awaited + idle;
                    if silent_until <= Instant::now() {
                        return Err(Gone::Client);
                    }
                    bell.as_mut().reset(silent_until.into());
                }
            }
        }
    }

    /// Reads the body that a head announced.
    ///
    /// # Errors
    /// As for [`Link::head`].
    pub async fn body(&mut self, head: &Head) -> Result<Vec<u8>, Gone> {
        if head.expects_continue && head.framing != Framing::Length(0) && self.input.is_empty() {
            self.wire.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        match head.framing {
            Framing::Length(bytes) => {
                let bytes = bytes as usize;
                // Room grows with what arrives and not with what is announced.
                while self.input.len() < bytes {
                    self.input.reserve((bytes - self.input.len()).min(BODY_READ_BYTES));
                    self.fill().await?;
                }
                // A short body is copied, so that the room for reading stays; a long one takes the room along.
                if bytes <= READ_BYTES {
                    let body = self.input[..bytes].to_vec();
                    self.spend(bytes);
                    return Ok(body);
                }
                let rest = if self.input.len() == bytes { Vec::new() } else { self.input.split_off(bytes) };
                Ok(std::mem::replace(&mut self.input, rest))
            }
            Framing::Chunked => self.chunked_body().await,
        }
    }

    async fn chunked_body(&mut self) -> Result<Vec<u8>, Gone> {
        let mut body = Vec::new();
        loop {
            match wire::chunk(&self.input).map_err(Gone::Malformed)? {
                Chunk::Incomplete => self.fill().await?,
                Chunk::Data { data, used } => {
                    body.extend_from_slice(&self.input[data]);
                    self.spend(used);
                    if body.len() as u64 > wire::BODY_BYTES_MAX {
                        return Err(Gone::Malformed(Malformed("request body too large".into())));
                    }
                }
                Chunk::Last { used } => {
                    self.spend(used);
                    return Ok(body);
                }
            }
        }
    }

    /// Sends bytes of the answer, cut where the plan says so.
    ///
    /// # Errors
    /// The client is gone, or the planned reset was reached.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        let left = self.reset_after.map(|limit| limit.saturating_sub(self.written));
        let reset_here = left.is_some_and(|left| left < bytes.len() as u64);
        let bytes = if reset_here { &bytes[..left.unwrap_or_default() as usize] } else { bytes };
        match self.write_bytes {
            None => self.wire.write_all(bytes).await?,
            Some(most) => self.send_pieces(bytes, most).await?,
        }
        self.wire.flush().await?;
        self.written += bytes.len() as u64;
        if reset_here {
            self.reset();
            return Err(Gone::Reset);
        }
        Ok(())
    }

    async fn send_pieces(&mut self, bytes: &[u8], most: usize) -> Result<(), Gone> {
        let mut pieces = bytes.chunks(most.max(1)).peekable();
        while let Some(piece) = pieces.next() {
            self.wire.write_all(piece).await?;
            self.wire.flush().await?;
            match self.drip {
                Some(every) if pieces.peek().is_some() => self.pause(Instant::now() + every).await?,
                _ => tokio::task::yield_now().await,
            }
        }
        Ok(())
    }

    /// Waits until `until` and notices a hang-up at once.
    ///
    /// # Errors
    /// The client is gone.
    pub async fn pause(&mut self, until: Instant) -> Result<(), Gone> {
        if self.input.is_empty() {
            // Ten thousand open streams wait here: none of them keeps a buffer for it.
            self.input.shrink_to(PAUSE_BYTES);
        }
        let wake = tokio::time::sleep_until(until.into());
        tokio::pin!(wake);
        loop {
            if self.input.len() >= AHEAD_BYTES_MAX {
                wake.await;
                return Ok(());
            }
            self.input.reserve(PAUSE_BYTES);
            tokio::select! {
                biased;
                read = self.wire.read_buf(&mut self.input) => if read? == 0 { return Err(Gone::Client) },
                () = &mut wake => return Ok(()),
            }
        }
    }

    /// Waits until the client is gone, however long that takes.
    pub async fn outwait(&mut self) {
        loop {
            self.input.clear();
            if self.fill().await.is_err() {
                return;
            }
        }
    }

    /// Ends the sending side in good order.
    pub async fn close(&mut self) {
        if self.resetting {
            return;
        }
        // The client may be gone already; there is no one left to tell.
        let _ = self.wire.shutdown().await;
    }

    /// Makes the coming drop of the connection a reset instead of an orderly end.
    pub fn reset(&mut self) {
        self.resetting = true;
        let _ = self.wire.tcp().set_zero_linger();
    }

    fn spend(&mut self, used: usize) {
        if used == self.input.len() {
            self.input.clear();
        } else {
            self.input.drain(..used);
        }
    }

    async fn fill(&mut self) -> Result<(), Gone> {
        self.input.reserve(READ_BYTES);
        match self.wire.read_buf(&mut self.input).await? {
            0 => Err(Gone::Client),
            _ => Ok(()),
        }
    }
}
