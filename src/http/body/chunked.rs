//! The chunked transfer coding, one byte of framing at a time, payload in runs (RFC 9112 §7.1, rule H8).
//!
//! Nothing is kept but counters. Extensions are checked and dropped, trailers are checked and dropped. Whitespace around
//! extensions ("bad whitespace" in the RFC) is refused: no client of ours sends it, and parsers disagree about it.

use super::{BodyFault, Step};
use crate::http::syntax::{hex_value, is_token_byte};
use crate::limits::{CHUNK_EXTENSION_BYTES_MAX, CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX};

/// Digits of a chunk size at most.
const SIZE_DIGITS_MAX: usize = 16;
/// Digits of a chunk size that is read in one step.
const PLAIN_DIGITS_MAX: usize = 8;

/// ```text
/// Size --CR--> SizeFeed --LF--> Data --left = 0--> DataReturn --CR--> DataFeed --LF--> Size
///  |  ;           ^  |                       (size 0) LF
///  v              |  +--------------------------------> TrailerStart --CR--> EndFeed --LF--> End
/// Extension* -CR--+                                       |       ^
///                                                   Trailer*-CR-> TrailerFeed -LF-+      any --fault--> Failed
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size { digits: usize },
    ExtensionNameStart,
    ExtensionName,
    ExtensionValueStart,
    ExtensionToken,
    ExtensionQuoted,
    ExtensionQuotedPair,
    ExtensionQuotedEnd,
    SizeFeed,
    Data,
    DataReturn,
    DataFeed,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerFeed,
    EndFeed,
    End,
    Failed(BodyFault),
}

/// Incremental reader of a chunked body.
#[derive(Debug)]
pub struct ChunkedReader {
    state: State,
    /// Size of the chunk being announced, then payload bytes of it still to come.
    left: u64,
    /// Payload bytes announced so far.
    announced: u64,
    line_bytes: usize,
    extension_bytes: usize,
    trailer_bytes: usize,
}

impl Default for ChunkedReader {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkedReader {
    /// A reader at the first chunk-size line.
    pub fn new() -> Self {
        Self {
            state: State::Size { digits: 0 },
            left: 0,
            announced: 0,
            line_bytes: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
        }
    }

    /// Takes the next input; see [`super::BodyReader::feed`].
    ///
    /// # Errors
    /// A [`BodyFault`] at the first byte that breaks the grammar or a limit; from then on the same fault.
    pub fn feed(&mut self, input: &[u8]) -> Result<Step, BodyFault> {
        if self.state == State::DataReturn
            && let Some(step) = self.next_plain(input)
        {
            return Ok(step);
        }
        let mut consumed = 0_usize;
        loop {
            match self.state {
                State::End => return Ok(Step::End { consumed }),
                State::Failed(fault) => return Err(fault),
                State::Data => {
                    let start = consumed;
                    let here = self.take_payload(input.len().saturating_sub(start));
                    let end = start.saturating_add(here);
                    return Ok(if here == 0 {
                        Step::NeedMore { consumed }
                    } else {
                        Step::Data { consumed: end, data: start..end }
                    });
                }
                _ => match self.plain_framing(input.get(consumed..).unwrap_or_default()) {
                    Ok(0) => {}
                    Ok(run) => {
                        consumed = consumed.saturating_add(run);
                        continue;
                    }
                    Err(fault) => {
                        self.state = State::Failed(fault);
                        return Err(fault);
                    }
                },
            }
            let Some(byte) = input.get(consumed) else { return Ok(Step::NeedMore { consumed }) };
            self.state = match self.framing_byte(*byte) {
                Ok(next) => next,
                Err(fault) => {
                    self.state = State::Failed(fault);
                    return Err(fault);
                }
            };
            consumed = consumed.saturating_add(1);
        }
    }

    /// Takes what a stream is made of in one step: the CR LF after a chunk, a size line without extension, and payload. Anything else, the
    /// last chunk and every fault among it, is left to the steps.
    #[inline]
    fn next_plain(&mut self, input: &[u8]) -> Option<Step> {
        let (size, digits) = plain_size(input.strip_prefix(b"\r\n")?)?;
        let start = digits.checked_add(4)?;
        let here = size.min(input.len().checked_sub(start)? as u64);
        let announced = self.announced.checked_add(size).filter(|sum| i64::try_from(*sum).is_ok())?;
        let end = start.checked_add(usize::try_from(here).ok()?)?;
        if here == 0 {
            return None;
        }
        (self.announced, self.line_bytes, self.left) = (announced, digits, size.saturating_sub(here));
        self.state = if self.left == 0 { State::DataReturn } else { State::Data };
        Some(Step::Data { consumed: end, data: start..end })
    }

    /// Takes what nearly always stands between two pieces of payload in one step: the CR LF after a chunk, or a whole size line without
    /// extension. 0 if `rest` begins with something else, or less; then it is read byte by byte.
    fn plain_framing(&mut self, rest: &[u8]) -> Result<usize, BodyFault> {
        match self.state {
            State::DataReturn if rest.starts_with(b"\r\n") => {
                self.state = State::Size { digits: 0 };
                Ok(2)
            }
            State::Size { digits: 0 } => {
                let Some((size, digits)) = plain_size(rest) else { return Ok(0) };
                (self.left, self.line_bytes) = (size, digits);
                self.state = self.size_line_end(b'\n')?;
                Ok(digits.saturating_add(2))
            }
            _ => Ok(0),
        }
    }

    /// Payload bytes that the chunk sizes so far have announced: what a body limit is compared with before reading on.
    pub fn announced(&self) -> u64 {
        self.announced
    }

    /// Whether the body has ended, trailers included.
    pub fn is_end(&self) -> bool {
        self.state == State::End
    }

    fn take_payload(&mut self, available: usize) -> usize {
        let here = usize::try_from(self.left).map_or(available, |left| left.min(available));
        self.left = self.left.saturating_sub(here as u64);
        if self.left == 0 {
            self.state = State::DataReturn;
        }
        here
    }

    fn framing_byte(&mut self, byte: u8) -> Result<State, BodyFault> {
        match self.state {
            State::Size { digits } => self.size_byte(digits, byte),
            State::SizeFeed => self.size_line_end(byte),
            State::DataReturn => expect(byte, b'\r', State::DataFeed),
            State::DataFeed => expect(byte, b'\n', State::Size { digits: 0 }),
            State::TrailerStart | State::TrailerName | State::TrailerValue | State::TrailerFeed => {
                self.trailer_byte(byte)
            }
            State::EndFeed => expect(byte, b'\n', State::End),
            _ => self.extension_byte(byte),
        }
    }

    fn size_byte(&mut self, digits: usize, byte: u8) -> Result<State, BodyFault> {
        if let Some(value) = hex_value(byte) {
            let digits = digits.saturating_add(1);
            if digits > SIZE_DIGITS_MAX {
                return Err(BodyFault::ChunkSize);
            }
            // Sixteen digits are 64 bits: the shift cannot lose any. The first digit sets aside the last chunk's rest.
            self.left = if digits == 1 { 0 } else { self.left.wrapping_shl(4) } | u64::from(value);
            self.line_bytes = digits;
            return Ok(State::Size { digits });
        }
        match byte {
            _ if digits == 0 => Err(BodyFault::ChunkSize),
            b'\r' => Ok(State::SizeFeed),
            b';' => self.count_extension().map(|()| State::ExtensionNameStart),
            b'\n' => Err(BodyFault::ChunkDelimiter),
            _ => Err(BodyFault::ChunkSize),
        }
    }

    fn size_line_end(&mut self, byte: u8) -> Result<State, BodyFault> {
        if byte != b'\n' {
            return Err(BodyFault::ChunkDelimiter);
        }
        if self.left == 0 {
            return Ok(State::TrailerStart);
        }
        if i64::try_from(self.left).is_err() {
            return Err(BodyFault::ChunkSize);
        }
        let announced = self.announced.checked_add(self.left).filter(|sum| i64::try_from(*sum).is_ok());
        self.announced = announced.ok_or(BodyFault::Overflow)?;
        Ok(State::Data)
    }

    /// `*( ";" token [ "=" ( token / quoted-string ) ] )` (RFC 9112 §7.1.1, RFC 9110 §5.6.4)
    fn extension_byte(&mut self, byte: u8) -> Result<State, BodyFault> {
        let next = match (self.state, byte) {
            (State::ExtensionQuoted, b'"') => State::ExtensionQuotedEnd,
            (State::ExtensionQuoted, b'\\') => State::ExtensionQuotedPair,
            (State::ExtensionQuoted | State::ExtensionQuotedPair, b'\t' | 0x20..=0x7e | 0x80..) => {
                State::ExtensionQuoted
            }
            (State::ExtensionName | State::ExtensionToken | State::ExtensionQuotedEnd, b'\r') => {
                return Ok(State::SizeFeed);
            }
            (_, b'\r' | b'\n') => return Err(BodyFault::ChunkDelimiter),
            (State::ExtensionName | State::ExtensionToken | State::ExtensionQuotedEnd, b';') => {
                State::ExtensionNameStart
            }
            (State::ExtensionName, b'=') => State::ExtensionValueStart,
            (State::ExtensionValueStart, b'"') => State::ExtensionQuoted,
            (State::ExtensionNameStart | State::ExtensionName, _) if is_token_byte(byte) => State::ExtensionName,
            (State::ExtensionValueStart | State::ExtensionToken, _) if is_token_byte(byte) => State::ExtensionToken,
            _ => return Err(BodyFault::ChunkExtension),
        };
        self.count_extension().map(|()| next)
    }

    fn count_extension(&mut self) -> Result<(), BodyFault> {
        self.line_bytes = self.line_bytes.saturating_add(1);
        self.extension_bytes = self.extension_bytes.saturating_add(1);
        let fits = self.line_bytes <= CHUNK_LINE_BYTES_MAX && self.extension_bytes <= CHUNK_EXTENSION_BYTES_MAX;
        if fits { Ok(()) } else { Err(BodyFault::ChunkExtensionTooLong) }
    }

    /// Field lines by rule H4, counted with their CR LF, then an empty line (RFC 9112 §7.1.2).
    fn trailer_byte(&mut self, byte: u8) -> Result<State, BodyFault> {
        if self.state == State::TrailerStart && byte == b'\r' {
            return Ok(State::EndFeed);
        }
        self.trailer_bytes = self.trailer_bytes.saturating_add(1);
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(BodyFault::TrailerTooLong);
        }
        match (self.state, byte) {
            (State::TrailerStart | State::TrailerName, _) if is_token_byte(byte) => Ok(State::TrailerName),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerFeed),
            (State::TrailerValue, b'\t' | 0x20..=0x7e | 0x80..) => Ok(State::TrailerValue),
            (State::TrailerFeed, b'\n') => Ok(State::TrailerStart),
            _ => Err(BodyFault::Trailer),
        }
    }
}

/// The chunk size at the front of `rest`, and its digits, if they are few and CR LF follows at once.
fn plain_size(rest: &[u8]) -> Option<(u64, usize)> {
    let mut size = 0_u64;
    for (digits, byte) in rest.iter().take(PLAIN_DIGITS_MAX.saturating_add(1)).enumerate() {
        match hex_value(*byte) {
            Some(value) => size = size << 4 | u64::from(value),
            None => return (digits > 0 && rest.get(digits..)?.starts_with(b"\r\n")).then_some((size, digits)),
        }
    }
    None
}

fn expect(byte: u8, wanted: u8, next: State) -> Result<State, BodyFault> {
    if byte == wanted { Ok(next) } else { Err(BodyFault::ChunkDelimiter) }
}
