//! Frames of `application/vnd.amazon.eventstream`, the binary stream that AWS answers with instead of server-sent events.
//!
//! A frame is `[total u32][headers u32][CRC-32 of these 8 bytes][headers][payload][CRC-32 of all before]`, integers big-endian. Both
//! checksums are checked before anything of a frame is believed; a frame is at most [`EVENT_FRAME_BYTES_MAX`]. Any split of the bytes gives
//! the same frames and the same fault, and after a fault nothing more comes: where the next frame begins can no longer be known.
//! Source: Smithy, "Amazon Event Stream specification", read 2026-11-26.

use crate::limits::EVENT_FRAME_BYTES_MAX;

/// Both lengths and their checksum.
const PRELUDE_BYTES: usize = 12;
/// The checksum at the end.
const CHECKSUM_BYTES: usize = 4;

/// Why a stream of frames cannot be read any further: always the sender's doing, or that of what lies between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// The lengths contradict each other, or the frame is larger than allowed.
    #[error("the length of an event frame is impossible")]
    Length,
    /// A checksum is wrong.
    #[error("the checksum of an event frame is wrong")]
    Checksum,
    /// The headers are not of the format.
    #[error("the headers of an event frame cannot be read")]
    Headers,
}

/// The value of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderValue<'f> {
    /// Types 0 and 1.
    Bool(bool),
    /// Type 2.
    Byte(i8),
    /// Type 3.
    Short(i16),
    /// Type 4.
    Integer(i32),
    /// Type 5.
    Long(i64),
    /// Type 6.
    Bytes(&'f [u8]),
    /// Type 7.
    Text(&'f str),
    /// Type 8: milliseconds since the Unix epoch.
    Timestamp(i64),
    /// Type 9.
    Uuid([u8; 16]),
}

/// A whole frame whose checksums are right and whose headers can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'f> {
    headers: &'f [u8],
    /// What the frame carries; JSON, in the streams read here.
    pub payload: &'f [u8],
}

impl<'f> Frame<'f> {
    /// Its headers, in order.
    pub fn headers(&self) -> Headers<'f> {
        Headers { rest: self.headers }
    }

    /// The text of the header called `name`, if there is one and it is text.
    pub fn text(&self, name: &str) -> Option<&'f str> {
        match self.headers().find(|(known, _)| *known == name)?.1 {
            HeaderValue::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Iterator of [`Frame::headers`]: name and value.
#[derive(Clone, Debug)]
pub struct Headers<'f> {
    rest: &'f [u8],
}

impl<'f> Iterator for Headers<'f> {
    type Item = (&'f str, HeaderValue<'f>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value, rest) = header(self.rest)?;
        self.rest = rest;
        Some((name, value))
    }
}

/// Cuts a stream into frames.
#[derive(Debug, Default)]
pub struct Frames {
    /// The frame that is not whole yet.
    unfinished: Vec<u8>,
    gave_up: bool,
}

// === impl Frames ===

impl Frames {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what one read brought, and hands out the frames that are whole now. A fault is the last thing handed out.
    pub fn push(&mut self, bytes: &[u8], mut take: impl FnMut(Result<Frame<'_>, FrameFault>)) {
        if self.gave_up {
            return;
        }
        if self.unfinished.is_empty() {
            // The usual case: frames lie whole in the read and are not copied.
            let used = self.cut(bytes, &mut take);
            self.unfinished.extend_from_slice(bytes.get(used..).unwrap_or_default());
            return;
        }
        let mut buffer = std::mem::take(&mut self.unfinished);
        buffer.extend_from_slice(bytes);
        let used = self.cut(&buffer, &mut take);
        buffer.drain(..used.min(buffer.len()));
        self.unfinished = buffer;
    }

    /// Whether a fault ended the stream.
    pub fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// Hands out the whole frames at the start of `bytes`; returns how many bytes they have together.
    fn cut(&mut self, bytes: &[u8], take: &mut impl FnMut(Result<Frame<'_>, FrameFault>)) -> usize {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..) {
            match first_frame(rest) {
                Ok(Some((frame, length))) => {
                    take(Ok(frame));
                    used += length;
                }
                Ok(None) => return used,
                Err(fault) => {
                    self.gave_up = true;
                    take(Err(fault));
                    return bytes.len();
                }
            }
        }
        used
    }
}

/// The frame at the start of `bytes` and its length; `None` until more bytes come.
fn first_frame(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, FrameFault> {
    let Some((prelude, _)) = bytes.split_at_checked(PRELUDE_BYTES) else { return Ok(None) };
    let (lengths, _) = prelude.split_at(PRELUDE_BYTES - CHECKSUM_BYTES);
    if u32_at(prelude, 8) != Some(crc32fast::hash(lengths)) {
        return Err(FrameFault::Checksum);
    }
    let length_at = |at| u32_at(prelude, at).and_then(|length| usize::try_from(length).ok()).ok_or(FrameFault::Length);
    let (total, headers_length) = (length_at(0)?, length_at(4)?);
    let content = total.checked_sub(PRELUDE_BYTES + CHECKSUM_BYTES).ok_or(FrameFault::Length)?;
    if total > EVENT_FRAME_BYTES_MAX || headers_length > content {
        return Err(FrameFault::Length);
    }
    let Some(whole) = bytes.get(..total) else { return Ok(None) };
    let (summed, checksum) = whole.split_at(total - CHECKSUM_BYTES);
    if u32_at(checksum, 0) != Some(crc32fast::hash(summed)) {
        return Err(FrameFault::Checksum);
    }
    let (headers, payload) = summed.split_at(PRELUDE_BYTES).1.split_at(headers_length);
    if !are_headers(headers) {
        return Err(FrameFault::Headers);
    }
    Ok(Some((Frame { headers, payload }, total)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn are_headers(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let Some((_, _, rest)) = header(bytes) else { return false };
        bytes = rest;
    }
    true
}

/// The first header of `bytes`, and what follows it: `[length u8][name][type u8][value]`.
fn header(bytes: &[u8]) -> Option<(&str, HeaderValue<'_>, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
    let (kind, rest) = rest.split_first()?;
    let (value, rest) = value(*kind, rest)?;
    Some((name, value, rest))
}

fn value(kind: u8, bytes: &[u8]) -> Option<(HeaderValue<'_>, &[u8])> {
    Some(match kind {
        0 => (HeaderValue::Bool(true), bytes),
        1 => (HeaderValue::Bool(false), bytes),
        2 => fixed(bytes, |raw: &[u8; 1]| HeaderValue::Byte(i8::from_be_bytes(*raw)))?,
        3 => fixed(bytes, |raw: &[u8; 2]| HeaderValue::Short(i16::from_be_bytes(*raw)))?,
        4 => fixed(bytes, |raw: &[u8; 4]| HeaderValue::Integer(i32::from_be_bytes(*raw)))?,
        5 => fixed(bytes, |raw: &[u8; 8]| HeaderValue::Long(i64::from_be_bytes(*raw)))?,
        6 => {
            let (raw, rest) = sized(bytes)?;
            (HeaderValue::Bytes(raw), rest)
        }
        7 => {
            let (raw, rest) = sized(bytes)?;
            (HeaderValue::Text(std::str::from_utf8(raw).ok()?), rest)
        }
        8 => fixed(bytes, |raw: &[u8; 8]| HeaderValue::Timestamp(i64::from_be_bytes(*raw)))?,
        9 => fixed(bytes, |raw: &[u8; 16]| HeaderValue::Uuid(*raw))?,
        _ => return None,
    })
}

fn fixed<'b, const N: usize>(
    bytes: &'b [u8],
    read: impl Fn(&'b [u8; N]) -> HeaderValue<'b>,
) -> Option<(HeaderValue<'b>, &'b [u8])> {
    let (raw, rest) = bytes.split_first_chunk()?;
    Some((read(raw), rest))
}

/// Bytes after their length as a `u16`.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
#[path = "frames_tests.rs"]
pub(super) mod tests;
