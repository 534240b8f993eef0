//! The frames of `application/vnd.amazon.eventstream`, each with its two checksums checked.
//!
//! Layout (AWS event stream encoding, Smithy specification, read 2026-11), numbers big-endian:
//! `length:4 headers_length:4 prelude_crc:4 headers payload message_crc:4`.

/// Takes frames out of pieces of a body.
#[derive(Debug, Default)]
pub(super) struct Frames {
    rest: Vec<u8>,
}

/// Bytes that are no frame; the text says why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken(pub(super) &'static str);

/// One frame taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// The header `:message-type`: `event`, `exception` or `error`.
    pub(super) message_type: &'a [u8],
    /// The header `:event-type` or `:exception-type`; of an error, its code.
    pub(super) kind: &'a [u8],
    pub(super) payload: &'a [u8],
}

impl Frames {
    /// Hands every frame that is whole now to `take`.
    ///
    /// # Errors
    /// Bytes that are no frame.
    pub(super) fn push(&mut self, bytes: &[u8], mut take: impl FnMut(&Frame<'_>)) -> Result<(), Broken> {
        if self.rest.is_empty() {
            let taken = cut(bytes, &mut take)?;
            self.rest.extend_from_slice(&bytes[taken..]);
        } else {
            self.rest.extend_from_slice(bytes);
            let taken = cut(&self.rest, &mut take)?;
            self.rest.drain(..taken);
        }
        Ok(())
    }

    /// Whether part of a frame is waiting for its rest.
    pub(super) fn is_unfinished(&self) -> bool {
        !self.rest.is_empty()
    }
}

/// Hands over whole frames; returns how many bytes they were.
fn cut(bytes: &[u8], take: &mut impl FnMut(&Frame<'_>)) -> Result<usize, Broken> {
    let mut start = 0;
    while let Some((length, headers)) = prelude(&bytes[start..])? {
        let Some(whole) = bytes.get(start..start + length) else { break };
        let (message, sum) = whole.split_at(length - 4);
        if crc32fast::hash(message).to_be_bytes() != sum {
            return Err(Broken("a frame whose checksum is wrong"));
        }
        let mut frame = Frame { payload: &message[PRELUDE + headers..], ..Frame::default() };
        read_headers(&message[PRELUDE..PRELUDE + headers], &mut frame)?;
        take(&frame);
        start += length;
    }
    Ok(start)
}

/// The lengths of a frame and of its headers, once its prelude is there.
fn prelude(bytes: &[u8]) -> Result<Option<(usize, usize)>, Broken> {
    let Some((prelude, _)) = bytes.split_first_chunk::<PRELUDE>() else { return Ok(None) };
    let number = |at: usize| u32::from_be_bytes([prelude[at], prelude[at + 1], prelude[at + 2], prelude[at + 3]]);
    let (length, headers) = (number(0) as usize, number(4) as usize);
    if crc32fast::hash(&prelude[..8]) != number(8) {
        return Err(Broken("a frame's start whose checksum is wrong"));
    }
    if length > FRAME_BYTES_MAX || headers > length || length - headers < PRELUDE + 4 {
        return Err(Broken("a frame of an impossible length"));
    }
    Ok(Some((length, headers)))
}

/// Reads the headers that say what a frame is: `name_length:1 name type:1 value`, where a text has `length:2` before it.
fn read_headers<'a>(mut bytes: &'a [u8], frame: &mut Frame<'a>) -> Result<(), Broken> {
    const WRONG: Broken = Broken("a frame with wrong headers");
    while let Some((length, rest)) = bytes.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(*length)).ok_or(WRONG)?;
        let (kind, rest) = rest.split_first().ok_or(WRONG)?;
        let (size, rest) = match kind {
            0 | 1 => (0, rest),
            2 => (1, rest),
            3 => (2, rest),
            4 => (4, rest),
            5 | 8 => (8, rest),
            6 | 7 => {
                let (size, rest) = rest.split_first_chunk::<2>().ok_or(WRONG)?;
                (usize::from(u16::from_be_bytes(*size)), rest)
            }
            9 => (16, rest),
            _ => return Err(WRONG),
        };
        let (value, rest) = rest.split_at_checked(size).ok_or(WRONG)?;
        match name {
            b":message-type" => frame.message_type = value,
            b":event-type" | b":exception-type" | b":error-code" => frame.kind = value,
            _ => {}
        }
        bytes = rest;
    }
    Ok(())
}

/// Bytes of a frame before its headers.
const PRELUDE: usize = 12;
/// Bytes of a frame at most: Amazon's limit of 16 MiB for a payload, and of 128 KiB for headers.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024 + 128 * 1024 + 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// The published examples of an empty message, and of one with a payload and no headers.
    const EMPTY: [u8; 16] = [0, 0, 0, 0x10, 0, 0, 0, 0, 5, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff];

    #[test]
    fn frames_are_checked() {
        let mut seen = 0;
        let mut frames = Frames::default();
        for byte in EMPTY.repeat(2) {
            frames.push(&[byte], |frame| seen += usize::from(*frame == Frame::default())).expect("frames");
        }
        assert!(seen == 2 && !frames.is_unfinished());
        for at in 0..EMPTY.len() {
            let mut wrong = EMPTY;
            wrong[at] ^= 1;
            assert!(Frames::default().push(&wrong, |_| panic!("byte {at} was wrong")).is_err(), "{at}");
        }
        let length = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        let prelude = [&length[..], &crc32fast::hash(&length).to_be_bytes()].concat();
        assert_eq!(Frames::default().push(&prelude, |_| ()), Err(Broken("a frame of an impossible length")));
    }

    #[test]
    fn headers_of_every_kind_are_stepped_over() {
        let mut headers = Vec::new();
        for (kind, value) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (8, 8), (9, 16)] {
            headers.extend_from_slice(&[1, b'x', kind]);
            headers.extend(vec![7; value]);
        }
        headers.extend_from_slice(b"\x0d:message-type\x07\x00\x05event\x0b:event-type\x07\x00\x01e");
        let mut frame = Frame::default();
        read_headers(&headers, &mut frame).expect("headers");
        assert_eq!((frame.message_type, frame.kind), (&b"event"[..], &b"e"[..]));
        for end in headers.len() - 8..headers.len() {
            assert!(read_headers(&headers[..end], &mut Frame::default()).is_err(), "{end}");
        }
    }
}
