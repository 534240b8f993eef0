//! What the two processes say to each other, and how it looks as bytes: pure.
//!
//! A frame is the length of what follows (4 bytes, big-endian), one byte that says which message, and its body. Both ends are our own
//! user's, but the other one may be any program that was put where the new binary should be: nothing is believed beyond its bounds.

use crate::limits::{HANDOVER_FRAME_BYTES_MAX, HANDOVER_SOCKETS_MAX, HANDOVER_TEXT_BYTES_MAX};
use serde::{Deserialize, Serialize};

/// The number of this protocol. A new process that does not know it says so, and nothing has happened.
pub const FORMAT: u32 = 1;

/// Bytes before the body: length and kind.
pub(super) const HEAD_BYTES: usize = 5;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Old to new, at once: the sockets that it was given.
    Offer(Offer),
    /// New to old: everything that needs no store is read and good.
    Prepared(Prepared),
    /// Old to new: the store is closed and its lock released.
    StoreFree,
    /// New to old: the snapshot is built; it could serve.
    Ready,
    /// Old to new: nobody accepts any more; accept.
    Take,
    /// New to old: it accepts. From here on there is no way back.
    Serving,
    /// New to old, instead of any of the above: why it gives up.
    Refused(String),
    /// Old to new: amounts for the books.
    Batch(Batch),
    /// New to old: this batch is in the books.
    Booked {
        /// Whose.
        source: String,
        /// Its number.
        number: u64,
    },
    /// Old to new: there will be no more of this source.
    Done {
        /// Which source.
        source: String,
    },
}

/// The sockets of the old process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// [`FORMAT`] of the sender.
    pub format: u32,
    /// Its process id.
    pub pid: u32,
    /// Each one, at most [`HANDOVER_SOCKETS_MAX`].
    pub sockets: Vec<Offered>,
}

/// One listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// What is served there.
    pub kind: SocketKind,
    /// What it was bound for, as the configuration has it: an address (perhaps with port 0) or a path.
    pub asked: String,
    /// Whether it came from systemd and stays whatever the configuration says.
    pub lasting: bool,
    /// Device and inode of a Unix socket's name.
    pub file: Option<(u64, u64)>,
    /// The inherited descriptor's number.
    pub descriptor: i32,
}

/// What a listening socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SocketKind {
    /// Clients.
    Public,
    /// The operator.
    Admin,
    /// Requests that the data plane forwards.
    Control,
    /// The page for people.
    Dashboard,
    /// Prometheus.
    Metrics,
}

/// Who is prepared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// Version of the new binary.
    pub version: String,
    /// Process id of the new process.
    pub pid: u32,
}

/// Amounts for the books. The same number of the same source twice is booked once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Which process counted them.
    pub source: String,
    /// Its number, from 1.
    pub number: u64,
    /// The lines, as the control plane writes and reads them.
    pub lines: Vec<u8>,
}

/// Why bytes are no message. The other end's fault; the conversation is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageFault {
    /// A length that no message has.
    #[error("a message of {0} bytes is none of ours; is the binary an igris of this kind?")]
    Length(u64),
    /// A kind that we do not know.
    #[error("a message of the unknown kind {0} came; is the binary an igris of this kind?")]
    Kind(u8),
    /// A body that is not what its kind says.
    #[error("a message of kind {0} does not hold what it should; is the binary an igris of this kind?")]
    Body(u8),
    /// A message of ours beyond its bounds.
    #[error("a message is larger than {HANDOVER_FRAME_BYTES_MAX} bytes; this is a defect of igris")]
    TooLarge,
}

// === impl Message ===

impl Message {
    /// The byte that says which.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Offer(_) => 1,
            Self::Prepared(_) => 2,
            Self::StoreFree => 3,
            Self::Ready => 4,
            Self::Take => 5,
            Self::Serving => 6,
            Self::Refused(_) => 7,
            Self::Batch(_) => 8,
            Self::Booked { .. } => 9,
            Self::Done { .. } => 10,
        }
    }

    /// For people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Offer(_) => "offer",
            Self::Prepared(_) => "prepared",
            Self::StoreFree => "store free",
            Self::Ready => "ready",
            Self::Take => "take",
            Self::Serving => "serving",
            Self::Refused(_) => "refused",
            Self::Batch(_) => "batch",
            Self::Booked { .. } => "booked",
            Self::Done { .. } => "done",
        }
    }
}

/// A message as one frame.
///
/// # Errors
/// [`MessageFault::TooLarge`].
pub fn frame(message: &Message) -> Result<Vec<u8>, MessageFault> {
    let mut bytes = vec![0; HEAD_BYTES];
    match message {
        Message::StoreFree | Message::Ready | Message::Take | Message::Serving => {}
        Message::Offer(offer) => bytes.extend(serde_json::to_vec(offer).map_err(|_| MessageFault::TooLarge)?),
        Message::Prepared(prepared) => bytes.extend(serde_json::to_vec(prepared).map_err(|_| MessageFault::TooLarge)?),
        Message::Refused(why) => {
            bytes.extend_from_slice(crate::domain::text::bounded(why, HANDOVER_TEXT_BYTES_MAX).as_bytes())
        }
        Message::Batch(batch) => {
            named(&mut bytes, &batch.source, Some(batch.number))?;
            bytes.extend_from_slice(&batch.lines);
        }
        Message::Booked { source, number } => named(&mut bytes, source, Some(*number))?,
        Message::Done { source } => named(&mut bytes, source, None)?,
    }
    let length = bytes.len() - HEAD_BYTES + 1;
    let length = u32::try_from(length).ok().filter(|length| *length as usize <= HANDOVER_FRAME_BYTES_MAX);
    let length = length.ok_or(MessageFault::TooLarge)?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes[4] = message.kind();
    Ok(bytes)
}

/// The first message in `input` and how many bytes it takes; `None` while more must come.
///
/// # Errors
/// [`MessageFault`]; nothing behind it can be trusted.
pub fn decode(input: &[u8]) -> Result<Option<(Message, usize)>, MessageFault> {
    let Some((length, rest)) = input.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length == 0 || length > HANDOVER_FRAME_BYTES_MAX {
        return Err(MessageFault::Length(length as u64));
    }
    let Some(whole) = rest.get(..length) else { return Ok(None) };
    let Some((kind, body)) = whole.split_first() else { return Ok(None) };
    Ok(Some((message(*kind, body)?, 4 + length)))
}

fn message(kind: u8, body: &[u8]) -> Result<Message, MessageFault> {
    let bad = || MessageFault::Body(kind);
    let empty = |message: Message| if body.is_empty() { Ok(message) } else { Err(bad()) };
    match kind {
        1 => {
            let offer: Offer = serde_json::from_slice(body).map_err(|_| bad())?;
            let fits = |socket: &Offered| socket.asked.len() <= HANDOVER_TEXT_BYTES_MAX;
            let bounded = offer.sockets.len() <= HANDOVER_SOCKETS_MAX && offer.sockets.iter().all(fits);
            if bounded { Ok(Message::Offer(offer)) } else { Err(bad()) }
        }
        2 => {
            let prepared: Prepared = serde_json::from_slice(body).map_err(|_| bad())?;
            if prepared.version.len() <= HANDOVER_TEXT_BYTES_MAX { Ok(Message::Prepared(prepared)) } else { Err(bad()) }
        }
        3 => empty(Message::StoreFree),
        4 => empty(Message::Ready),
        5 => empty(Message::Take),
        6 => empty(Message::Serving),
        7 if body.len() <= HANDOVER_TEXT_BYTES_MAX => {
            // It goes into a log: controls in it are blanked on arrival, too.
            let why = std::str::from_utf8(body).map_err(|_| bad())?;
            Ok(Message::Refused(crate::domain::text::bounded(why, HANDOVER_TEXT_BYTES_MAX)))
        }
        8 => {
            let (source, rest) = name(body).ok_or_else(bad)?;
            let (number, lines) = number(rest).ok_or_else(bad)?;
            Ok(Message::Batch(Batch { source, number, lines: lines.to_vec() }))
        }
        9 => {
            let (source, rest) = name(body).ok_or_else(bad)?;
            match number(rest) {
                Some((number, [])) => Ok(Message::Booked { source, number }),
                _ => Err(bad()),
            }
        }
        10 => match name(body) {
            Some((source, [])) => Ok(Message::Done { source }),
            _ => Err(bad()),
        },
        7 => Err(bad()),
        kind => Err(MessageFault::Kind(kind)),
    }
}

/// One byte of length and the name, then the number.
fn named(bytes: &mut Vec<u8>, source: &str, number: Option<u64>) -> Result<(), MessageFault> {
    bytes.push(u8::try_from(source.len()).map_err(|_| MessageFault::TooLarge)?);
    bytes.extend_from_slice(source.as_bytes());
    if let Some(number) = number {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    Ok(())
}

fn name(body: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = body.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(name).ok()?.to_owned(), rest))
}

fn number(body: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = body.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn every_kind() -> Vec<Message> {
        let socket = Offered {
            kind: SocketKind::Public,
            asked: "127.0.0.1:0".to_owned(),
            lasting: false,
            file: Some((u64::MAX, 1)),
            descriptor: 7,
        };
        vec![
            Message::Offer(Offer { format: FORMAT, pid: 12, sockets: vec![socket] }),
            Message::Prepared(Prepared { version: "0.2.0".to_owned(), pid: 13 }),
            Message::StoreFree,
            Message::Ready,
            Message::Take,
            Message::Serving,
            Message::Refused("the certificate has ended; renew it".to_owned()),
            Message::Batch(Batch { source: "handover/12-99".to_owned(), number: u64::MAX, lines: vec![0, 255, 10] }),
            Message::Booked { source: "handover/12-99".to_owned(), number: 0 },
            Message::Done { source: String::new() },
        ]
    }

    #[test]
    fn every_message_comes_back_and_never_before_its_last_byte() {
        for message in every_kind() {
            let bytes = frame(&message).expect("framed");
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes[..cut]), Ok(None), "{message:?} cut at {cut}");
            }
            let two = [bytes.as_slice(), bytes.as_slice()].concat();
            assert_eq!(decode(&two), Ok(Some((message, bytes.len()))));
        }
    }

    #[test]
    fn a_length_is_believed_up_to_its_bound_only() {
        let longest = u32::try_from(HANDOVER_FRAME_BYTES_MAX).expect("fits");
        assert_eq!(decode(&longest.to_be_bytes()), Ok(None));
        for length in [0, longest + 1, u32::MAX] {
            assert_eq!(decode(&length.to_be_bytes()), Err(MessageFault::Length(u64::from(length))));
        }
        let most = HANDOVER_FRAME_BYTES_MAX - 1 - 1 - 8;
        let batch = |bytes| Message::Batch(Batch { source: String::new(), number: 1, lines: vec![0; bytes] });
        assert!(frame(&batch(most)).is_ok());
        assert_eq!(frame(&batch(most + 1)), Err(MessageFault::TooLarge));
    }

    #[test]
    fn what_a_shell_would_say_is_no_message() {
        for text in [&b"sh: 1: not found\n"[..], b"HTTP/1.1 200 OK\r\n", b"hello"] {
            assert!(decode(text).is_err(), "{text:?}");
        }
        assert_eq!(decode(&[0, 0, 0, 1, 99]), Err(MessageFault::Kind(99)));
        assert_eq!(decode(&[0, 0, 0, 2, 3, 0]), Err(MessageFault::Body(3)));
        assert_eq!(decode(&[0, 0, 0, 3, 8, 4, b'a']), Err(MessageFault::Body(8)));
    }

    #[test]
    fn more_sockets_than_anybody_has_are_refused() {
        let socket =
            Offered { kind: SocketKind::Metrics, asked: String::new(), lasting: true, file: None, descriptor: 3 };
        let offer = |count| Message::Offer(Offer { format: FORMAT, pid: 1, sockets: vec![socket.clone(); count] });
        let bytes = frame(&offer(HANDOVER_SOCKETS_MAX)).expect("framed");
        assert!(decode(&bytes).is_ok_and(|found| found.is_some()));
        let bytes = frame(&offer(HANDOVER_SOCKETS_MAX + 1)).expect("framed");
        assert_eq!(decode(&bytes), Err(MessageFault::Body(1)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn a_changed_byte_is_another_message_or_none(which in 0..10usize, place in 0..200usize, to in any::<u8>()) {
            let message = every_kind().swap_remove(which);
            let mut bytes = frame(&message).expect("framed");
            let place = place % bytes.len();
            bytes[place] = to;
            // Whatever it reads as, it reads back the same.
            if let Ok(Some((read, _))) = decode(&bytes) {
                let again = frame(&read).expect("framed");
                prop_assert_eq!(decode(&again).expect("decoded").map(|found| found.0), Some(read));
            }
        }
    }
}
