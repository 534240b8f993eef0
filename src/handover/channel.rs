//! The conversation between two processes over a connected Unix socket: blocking, each wait with a deadline and an ear for other news.

use super::message::{self, Message, MessageFault};
use crate::limits::{HANDOVER_ANSWER_DEADLINE, HANDOVER_SLICE};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// One end.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    /// Bytes that came and are not yet a message.
    input: Vec<u8>,
}

/// Why the conversation ended.
#[derive(Debug, thiserror::Error)]
pub enum HandoverFault {
    /// The other end is closed: its process is gone.
    #[error("the other process ended; see what it wrote to its log")]
    Gone,
    /// Nothing came in time.
    #[error("the other process did not answer in time; see its log, or allow it more with --timeout")]
    Late,
    /// Bytes that are no message.
    #[error(transparent)]
    Message(#[from] MessageFault),
    /// A message at the wrong time.
    #[error("the other process said `{0}` out of turn; is the binary an igris of this kind?")]
    OutOfTurn(&'static str),
    /// The other end gave up, and says why.
    #[error("{0}")]
    Refused(String),
    /// Something else came first.
    #[error("{0}")]
    Interrupted(String),
    /// The kernel refused.
    #[error("the hand-over failed ({0}); try again")]
    Io(#[from] io::Error),
}

impl Channel {
    /// Speaks over `stream`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn over(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(HANDOVER_SLICE))?;
        stream.set_write_timeout(Some(HANDOVER_ANSWER_DEADLINE))?;
        Ok(Self { stream, input: Vec::new() })
    }

    /// Says something.
    ///
    /// # Errors
    /// [`HandoverFault::Gone`] and the kernel's other answers.
    pub fn send(&mut self, message: &Message) -> Result<(), HandoverFault> {
        self.stream.write_all(&message::frame(message)?).map_err(gone_or)
    }

    /// Waits for the next message until `deadline`; looks at `news` many times a second, and gives up when there is any.
    ///
    /// # Errors
    /// [`HandoverFault`].
    pub fn receive(
        &mut self,
        deadline: Instant,
        news: &mut dyn FnMut() -> Option<String>,
    ) -> Result<Message, HandoverFault> {
        let mut room = [0; 16 * 1024];
        loop {
            if let Some((message, bytes)) = message::decode(&self.input)? {
                self.input.drain(..bytes);
                return Ok(message);
            }
            if let Some(why) = news() {
                return Err(HandoverFault::Interrupted(why));
            }
            match self.stream.read(&mut room) {
                Ok(0) => return Err(HandoverFault::Gone),
                Ok(read) => self.input.extend_from_slice(&room[..read]),
                Err(error) if is_patience(&error) => {
                    if Instant::now() >= deadline {
                        return Err(HandoverFault::Late);
                    }
                }
                Err(error) => return Err(gone_or(error)),
            }
        }
    }

    /// Waits for a message for as long as it takes: until one comes, the other end is gone, or there is news.
    ///
    /// # Errors
    /// [`HandoverFault`], never [`HandoverFault::Late`].
    pub fn listen(&mut self, news: &mut dyn FnMut() -> Option<String>) -> Result<Message, HandoverFault> {
        loop {
            match self.receive(Instant::now() + HANDOVER_ANSWER_DEADLINE, news) {
                Err(HandoverFault::Late) => {}
                other => return other,
            }
        }
    }

    /// Hands a batch over and waits until it is in the books.
    ///
    /// # Errors
    /// [`HandoverFault`]; then it is unknown whether it was booked, and it must be offered again under the same number.
    pub fn book(&mut self, batch: message::Batch) -> Result<(), HandoverFault> {
        let (source, number) = (batch.source.clone(), batch.number);
        self.send(&Message::Batch(batch))?;
        let deadline = Instant::now() + HANDOVER_ANSWER_DEADLINE;
        loop {
            match self.receive(deadline, &mut || None)? {
                Message::Booked { source: of, number: which } if of == source && which == number => return Ok(()),
                // The late answer to an earlier question.
                Message::Booked { .. } => {}
                other => return Err(HandoverFault::OutOfTurn(other.name())),
            }
        }
    }
}

fn is_patience(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn gone_or(error: io::Error) -> HandoverFault {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => HandoverFault::Gone,
        _ => HandoverFault::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::{Batch, Prepared};
    use std::time::Duration;

    fn pair() -> (Channel, Channel) {
        let (old, new) = UnixStream::pair().expect("a pair");
        (Channel::over(old).expect("set up"), Channel::over(new).expect("set up"))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn messages_arrive_in_order_also_in_pieces() {
        let (mut old, mut new) = pair();
        let prepared = Message::Prepared(Prepared { version: "1".to_owned(), pid: 2 });
        let bytes = message::frame(&prepared).expect("framed");
        let (first, rest) = bytes.split_at(3);
        new.stream.write_all(first).expect("written");
        let mut looks = 0;
        let mut news = || {
            looks += 1;
            if looks == 3 {
                new.stream.write_all(rest).expect("written");
            }
            None
        };
        assert_eq!(old.receive(soon(), &mut news).expect("whole"), prepared);
        new.send(&Message::Ready).expect("sent");
        new.send(&Message::Serving).expect("sent");
        assert_eq!(old.receive(soon(), &mut || None).expect("came"), Message::Ready);
        assert_eq!(old.receive(soon(), &mut || None).expect("came"), Message::Serving);
    }

    #[test]
    fn silence_news_and_the_end_are_told_apart() {
        let (mut old, new) = pair();
        assert!(matches!(old.receive(Instant::now(), &mut || None), Err(HandoverFault::Late)));
        let news = &mut || Some("stop".to_owned());
        assert!(matches!(old.receive(soon(), news), Err(HandoverFault::Interrupted(_))));
        drop(new);
        assert!(matches!(old.receive(soon(), &mut || None), Err(HandoverFault::Gone)));
        assert!(matches!(old.send(&Message::Take), Err(HandoverFault::Gone)));
    }

    #[test]
    fn a_batch_is_booked_when_its_own_number_comes_back() {
        let (mut old, mut new) = pair();
        let batch = Batch { source: "a".to_owned(), number: 7, lines: Vec::new() };
        for number in [6, 7] {
            new.send(&Message::Booked { source: "a".to_owned(), number }).expect("sent");
        }
        old.book(batch.clone()).expect("booked");
        assert_eq!(new.receive(soon(), &mut || None).expect("came"), Message::Batch(batch.clone()));
        new.send(&Message::Ready).expect("sent");
        assert!(matches!(old.book(batch), Err(HandoverFault::OutOfTurn("ready"))));
    }
}
