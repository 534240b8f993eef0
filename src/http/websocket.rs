//! WebSocket frames (RFC 6455): read from one side, written anew to the other. Pure: no sockets, no randomness, no digest.
//!
//! A relay never passes a frame's head on: lengths, masks and reserved bits of one side mean nothing on the other (rule H12). No extension is
//! negotiated, so a reserved bit is a fault. A frame is read whole, up to a bound.

use std::ops::Range;

/// What a key is joined with before it is digested (RFC 6455 §1.3).
pub const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of payload that a control frame may have (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message before.
    Continuation,
    /// A message of text begins.
    Text,
    /// A message of bytes begins.
    Binary,
    /// The sender has said all.
    Close,
    /// Asks for a [`Opcode::Pong`].
    Ping,
    /// Answers a [`Opcode::Ping`].
    Pong,
}

/// One frame in a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whether it ends its message.
    pub last: bool,
    /// What it is.
    pub opcode: Opcode,
    /// Where its payload lies, still masked if it was.
    pub payload: Range<usize>,
    /// What masks it.
    pub mask: Option<[u8; 4]>,
    /// Bytes of the buffer that the whole frame takes.
    pub consumed: usize,
}

/// Why a side's frames cannot be read on; the connection ends with this status (RFC 6455 §7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// Reserved bits, an unknown opcode, a mask where none belongs or none where one does, or a broken control frame.
    #[error("a frame breaks the protocol")]
    Protocol,
    /// Longer than allowed.
    #[error("a frame is too long")]
    TooLong,
}

impl FrameFault {
    /// The status that a close frame gives for it.
    pub const fn status(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            Self::TooLong => 1009,
        }
    }
}

impl Opcode {
    const fn of(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Continuation),
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            8 => Some(Self::Close),
            9 => Some(Self::Ping),
            10 => Some(Self::Pong),
            _ => None,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// Whether it may stand between the frames of a message.
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The frame at the front of `input`; `None` until it is whole. `masked` says which side it must be from: clients mask, servers do not (§5.1).
///
/// # Errors
/// [`FrameFault`], as soon as it shows.
pub fn read(input: &[u8], masked: bool, payload_max: usize) -> Result<Option<Frame>, FrameFault> {
    let [first, second, rest @ ..] = input else { return Ok(None) };
    let opcode = Opcode::of(first & 0x0f).ok_or(FrameFault::Protocol)?;
    let last = first & 0x80 != 0;
    if first & 0x70 != 0 || (second & 0x80 != 0) != masked {
        return Err(FrameFault::Protocol);
    }
    let (length, length_bytes) = match second & 0x7f {
        126 => match rest.first_chunk::<2>() {
            Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 2),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(bytes) => (u64::from_be_bytes(*bytes), 8),
            None => return Ok(None),
        },
        short => (u64::from(short), 0),
    };
    // The shortest form that holds the length is the only one (§5.2).
    let is_shortest = match length_bytes {
        0 => true,
        2 => length > 125,
        _ => length > 0xffff,
    };
    if !is_shortest {
        return Err(FrameFault::Protocol);
    }
    let length = usize::try_from(length).map_err(|_| FrameFault::TooLong)?;
    if opcode.is_control() && (length > CONTROL_BYTES_MAX || !last) {
        return Err(FrameFault::Protocol);
    }
    if length > payload_max {
        return Err(FrameFault::TooLong);
    }
    let rest = rest.get(length_bytes..).unwrap_or_default();
    let mask = match (masked, rest.first_chunk::<4>()) {
        (false, _) => None,
        (true, Some(mask)) => Some(*mask),
        (true, None) => return Ok(None),
    };
    let start = if masked { 6usize } else { 2 }.saturating_add(length_bytes);
    let end = start.saturating_add(length);
    Ok((end <= input.len()).then_some(Frame { last, opcode, payload: start..end, mask, consumed: end }))
}

/// Masks or unmasks; the same operation both ways (§5.3).
pub fn mask(payload: &mut [u8], mask: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// Appends a frame. `masking` is a fresh random key towards a server, nothing towards a client.
pub fn write(out: &mut Vec<u8>, last: bool, opcode: Opcode, payload: &[u8], masking: Option<[u8; 4]>) {
    out.push(opcode.bits() | if last { 0x80 } else { 0 });
    let flag = if masking.is_some() { 0x80 } else { 0 };
    match payload.len() {
        short @ 0..=125 => out.push(flag | short as u8),
        middle @ 126..=0xffff => {
            out.push(flag | 126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(flag | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    let key = masking.unwrap_or_default();
    if masking.is_some() {
        out.extend_from_slice(&key);
    }
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(written) = out.get_mut(start..).filter(|_| masking.is_some()) {
        mask(written, key);
    }
}

/// Appends a close frame with a status.
pub fn write_close(out: &mut Vec<u8>, status: u16, masking: Option<[u8; 4]>) {
    write(out, true, Opcode::Close, &status.to_be_bytes(), masking);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 1 << 20;

    #[test]
    fn the_examples_of_the_standard() {
        // RFC 6455 §5.7.
        let hello = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
        let frame = read(&hello, false, MAX).expect("valid").expect("whole");
        assert_eq!((frame.last, frame.opcode, &hello[frame.payload]), (true, Opcode::Text, b"Hello".as_slice()));
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let frame = read(&masked, true, MAX).expect("valid").expect("whole");
        let mut payload = masked[frame.payload].to_vec();
        mask(&mut payload, frame.mask.expect("masked"));
        assert_eq!(payload, b"Hello");
        let fragment = [0x01, 0x03, 0x48, 0x65, 0x6c];
        assert!(!read(&fragment, false, MAX).expect("valid").expect("whole").last);
    }

    #[test]
    fn what_breaks_the_protocol_is_refused() {
        let table: [(&[u8], bool); 8] = [
            (&[0xc1, 0x00], false),
            (&[0x83, 0x00], false),
            (&[0x81, 0x00], true),
            (&[0x81, 0x80, 0, 0, 0, 0], false),
            (&[0x08, 0x00], false),
            (&[0x89, 0x7e, 0x00, 0x7e], false),
            (&[0x82, 0x7e, 0x00, 0x7d], false),
            (&[0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff], false),
        ];
        for (bytes, masked) in table {
            assert_eq!(read(bytes, masked, MAX), Err(FrameFault::Protocol), "{bytes:x?}");
        }
        let long = [0x82, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(read(&long, false, MAX), Err(FrameFault::TooLong));
        assert_eq!(read(&[0x82, 0x05], false, 4), Err(FrameFault::TooLong));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            payload in proptest::collection::vec(any::<u8>(), 0..70_000),
            key: Option<[u8; 4]>,
            last: bool,
        ) {
            let mut bytes = Vec::new();
            write(&mut bytes, last, Opcode::Binary, &payload, key);
            for cut in [0, 1, 2, 3, bytes.len() / 2, bytes.len() - 1] {
                prop_assert_eq!(read(&bytes[..cut.min(bytes.len() - 1)], key.is_some(), MAX), Ok(None));
            }
            let frame = read(&bytes, key.is_some(), MAX).expect("valid").expect("whole");
            prop_assert_eq!((frame.last, frame.consumed), (last, bytes.len()));
            let mut back = bytes[frame.payload].to_vec();
            if let Some(key) = frame.mask {
                mask(&mut back, key);
            }
            prop_assert_eq!(back, payload);
        }

        #[test]
        fn nothing_breaks_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..40), masked: bool) {
            let _ = read(&bytes, masked, 64);
        }
    }
}
