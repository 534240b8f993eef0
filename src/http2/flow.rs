//! Bodies between the two framings: DATA frames on one side, HTTP/1.1 bodies on the other.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};

use crate::http::body::{BodyReader, Step};
use crate::http::write::chunk;
use crate::rt::Buf;

/// The last chunk of a chunked body, with no trailers (RFC 9112 §7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A piece of a body on its way into a frame. It is known how many have not left yet: the `h2` crate forgets them when their stream is reset.
pub struct Piece {
    bytes: Bytes,
    unsent: Rc<Cell<usize>>,
}

impl Piece {
    fn new(bytes: Bytes, unsent: &Rc<Cell<usize>>) -> Piece {
        unsent.set(unsent.get() + 1);
        Piece { bytes, unsent: unsent.clone() }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.unsent.set(self.unsent.get().saturating_sub(1));
    }
}

impl bytes::Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        bytes::Buf::advance(&mut self.bytes, count);
    }
}

/// What comes: the DATA frames of one stream as the body of an HTTP/1.1 message.
pub struct Incoming {
    stream: RecvStream,
    /// Whether the head that was written before it promised the chunked coding; else it promised a length.
    chunked: bool,
    ended: bool,
}

impl Incoming {
    /// The body that follows a head.
    pub fn new(stream: RecvStream, chunked: bool) -> Incoming {
        Incoming { stream, chunked, ended: false }
    }

    /// Whether all of it was given.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Appends the next piece of the body to `input` and says how many bytes; 0 once the body has ended and all of it was given.
    /// Room in the flow-control window goes back to the peer as pieces are taken, so that whoever reads slowly is sent slowly.
    ///
    /// # Errors
    /// The stream was reset, or the connection ended.
    pub fn poll(&mut self, cx: &mut Context<'_>, input: &mut Buf) -> Poll<io::Result<usize>> {
        while !self.ended {
            let before = input.len();
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    self.stream.flow_control().release_capacity(data.len()).map_err(broken)?;
                    match self.chunked {
                        true if !data.is_empty() => chunk(input.vec_mut(), &data),
                        true => {}
                        false => input.extend(&data),
                    }
                }
                // Who has answered whole may say so that it wants no more of the request (RFC 9113 §8.1).
                Some(Err(error)) if !is_nothing_lost(&error) => return Poll::Ready(Err(broken(error))),
                Some(Err(_)) | None => {
                    // Trailers say nothing that a body of ours could hold (rule H4).
                    self.ended = true;
                    if self.chunked {
                        input.extend(LAST_CHUNK);
                    }
                }
            }
            if input.len() > before {
                return Poll::Ready(Ok(input.len() - before));
            }
        }
        Poll::Ready(Ok(0))
    }
}

/// What goes: the body of an HTTP/1.1 message as DATA frames of one stream.
pub struct Outgoing {
    stream: SendStream<Piece>,
    body: BodyReader,
    /// Payload bytes at the front of the output that the framing has given free.
    payload: usize,
    ended: bool,
    /// Pieces that the socket has not taken.
    unsent: Rc<Cell<usize>>,
}

impl Outgoing {
    /// The body that follows a head of this framing.
    pub fn new(stream: SendStream<Piece>, body: BodyReader) -> Outgoing {
        Outgoing { stream, body, payload: 0, ended: false, unsent: Rc::default() }
    }

    /// One that ended with its head.
    pub fn ended(stream: SendStream<Piece>, body: BodyReader) -> Outgoing {
        Outgoing { ended: true, ..Outgoing::new(stream, body) }
    }

    /// Whether the stream has ended on our side.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether pieces that were sent have not left for the socket yet.
    pub fn is_leaving(&self) -> bool {
        self.unsent.get() > 0
    }

    /// Sends all of `output`, as the peer's window allows, and ends the stream with the body.
    ///
    /// # Errors
    /// The stream was reset, the connection ended, or the output is no body of its framing.
    pub fn poll(&mut self, cx: &mut Context<'_>, output: &mut Buf) -> Poll<io::Result<()>> {
        loop {
            if self.payload > 0 {
                ready!(self.send_payload(cx, output))?;
                continue;
            }
            if self.ended {
                output.clear();
                return Poll::Ready(Ok(()));
            }
            let step =
                self.body.feed(output.bytes()).map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?;
            match step {
                Step::Data { consumed, data } => {
                    debug_assert_eq!(consumed, data.end, "payload ends a step");
                    output.consume(data.start);
                    self.payload = data.len();
                }
                Step::NeedMore { consumed } => {
                    output.consume(consumed);
                    output.release_if_empty();
                    return Poll::Ready(Ok(()));
                }
                Step::End { consumed } => {
                    output.consume(consumed);
                    self.end()?;
                }
            }
        }
    }

    /// Ready when the peer, or the loss of the connection, has ended the stream before its time.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.stream.poll_reset(cx).map(reset)
    }

    /// Ends the stream if its body is one that only the end of a connection would end. Any other has ended, or was cut: then the stream must
    /// not look complete (rule H17).
    ///
    /// # Errors
    /// As for [`Outgoing::poll`]; and the body is not whole.
    pub fn close(&mut self) -> io::Result<()> {
        match self.body.close() {
            Ok(()) => self.end(),
            Err(fault) => Err(io::Error::new(io::ErrorKind::InvalidData, fault)),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.ended, true) {
            self.stream.send_data(Piece::new(Bytes::new(), &self.unsent), true).map_err(broken)?;
        }
        Ok(())
    }

    fn send_payload(&mut self, cx: &mut Context<'_>, output: &mut Buf) -> Poll<io::Result<()>> {
        self.stream.reserve_capacity(self.payload);
        // Its poll is ready for news alone: room that is there already is asked for apart.
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(room) => room.map_err(broken)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        let here = self.stream.capacity().min(self.payload);
        self.payload -= here;
        let is_last = self.payload == 0 && self.body.is_end();
        let piece = Piece::new(Bytes::copy_from_slice(&output.bytes()[..here]), &self.unsent);
        self.stream.send_data(piece, is_last).map_err(broken)?;
        self.ended |= is_last;
        output.consume(here);
        Poll::Ready(Ok(()))
    }
}

/// Whether a stream was reset by a peer to whom nothing is missing, and who has said all itself.
fn is_nothing_lost(error: &h2::Error) -> bool {
    error.is_reset() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}

/// How a stream's end looks to those who know connections alone. What says that nothing was done looks like a connection that was lost, and
/// what says that something went wrong like one that broke its protocol.
pub(super) fn broken(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
    }
    let untouched = error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM);
    let kind = if untouched { io::ErrorKind::ConnectionReset } else { io::ErrorKind::InvalidData };
    io::Error::new(kind, error)
}

/// The same for a reset that was waited for.
pub(super) fn reset(outcome: Result<Reason, h2::Error>) -> io::Error {
    match outcome {
        Ok(reason) => broken(reason.into()),
        Err(error) => broken(error),
    }
}
