//! Bodies: where the payload lies in the bytes that arrive, and where the message ends (RFC 9112 §6 and §7, rule H8).
//!
//! A reader never buffers: it is given what was read and answers with ranges of it. One type covers the four framings, so
//! that the relay has one loop.

mod chunked;

pub use chunked::ChunkedReader;

use super::head::{RequestFraming, ResponseFraming};
use std::ops::Range;
use thiserror::Error;

/// A body that we refuse. The connection closes: nobody knows where the message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BodyFault {
    /// Chunk size without digits, with a sign, a space, more than 16 digits, or more than 63 bits.
    #[error("a chunk size is malformed")]
    ChunkSize,
    /// CR without LF, LF without CR, or chunk data not followed by CR LF.
    #[error("a chunk is not delimited by CR LF")]
    ChunkDelimiter,
    /// Chunk extension outside the grammar of RFC 9112 §7.1.1.
    #[error("a chunk extension is malformed")]
    ChunkExtension,
    /// Size line longer than `CHUNK_LINE_BYTES_MAX`, or extensions longer than `CHUNK_EXTENSION_BYTES_MAX` in all.
    #[error("the chunk extensions are too long")]
    ChunkExtensionTooLong,
    /// All chunks together exceed 63 bits.
    #[error("the chunked body is longer than can be counted")]
    Overflow,
    /// A trailer line that is no header field (rule H4).
    #[error("a trailer field is malformed")]
    Trailer,
    /// Trailer section longer than `TRAILER_BYTES_MAX`.
    #[error("the trailer section is too long")]
    TrailerTooLong,
    /// The connection closed before the body ended (RFC 9112 §8, rule H17).
    #[error("the body is incomplete")]
    Incomplete,
}

/// What a piece of input was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `data` is a range of the input that is payload, never empty; `consumed` ends with it. There may be more input.
    Data {
        /// Bytes of the input that are done with.
        consumed: usize,
        /// Where the payload lies in the input.
        data: Range<usize>,
    },
    /// The whole input was framing, or empty: read more.
    NeedMore {
        /// Bytes of the input that are done with: all of them.
        consumed: usize,
    },
    /// The body ended; what follows `consumed` belongs to the next message.
    End {
        /// Bytes of the input that are done with.
        consumed: usize,
    },
}

impl Step {
    /// Bytes of the input that are done with.
    pub fn consumed(&self) -> usize {
        match self {
            Self::Data { consumed, .. } | Self::NeedMore { consumed } | Self::End { consumed } => *consumed,
        }
    }
}

/// Reads a body of any framing.
///
/// ```text
/// Length(n) --n bytes--> Length(0) = end      Chunked: see ChunkedReader
/// UntilClose --close--> Length(0) = end       no body = Length(0)
/// ```
#[derive(Debug)]
pub enum BodyReader {
    /// So many bytes are still to come; 0 is the end.
    Length(u64),
    /// The chunked transfer coding.
    Chunked(ChunkedReader),
    /// Everything until the peer closes.
    UntilClose,
}

impl From<RequestFraming> for BodyReader {
    fn from(framing: RequestFraming) -> Self {
        match framing {
            RequestFraming::None => Self::Length(0),
            RequestFraming::Length(length) => Self::Length(length),
            RequestFraming::Chunked => Self::Chunked(ChunkedReader::new()),
        }
    }
}

impl From<ResponseFraming> for BodyReader {
    fn from(framing: ResponseFraming) -> Self {
        match framing {
            ResponseFraming::None => Self::Length(0),
            ResponseFraming::Length(length) => Self::Length(length),
            ResponseFraming::Chunked => Self::Chunked(ChunkedReader::new()),
            ResponseFraming::UntilClose => Self::UntilClose,
        }
    }
}

impl BodyReader {
    /// Takes the next input and says what its beginning is. Call again with the rest until `NeedMore` or `End`.
    ///
    /// # Errors
    /// A [`BodyFault`] of the chunked coding; the reader then repeats it.
    pub fn feed(&mut self, input: &[u8]) -> Result<Step, BodyFault> {
        match self {
            Self::Length(0) => Ok(Step::End { consumed: 0 }),
            Self::Length(left) => {
                let here = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left = left.saturating_sub(here as u64);
                Ok(data_or_more(here))
            }
            Self::Chunked(chunked) => chunked.feed(input),
            Self::UntilClose => Ok(data_or_more(input.len())),
        }
    }

    /// Payload bytes still to come, where the framing says so.
    pub fn remaining(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(chunked) => chunked.is_end().then_some(0),
            Self::UntilClose => None,
        }
    }

    /// Whether the parser stands exactly at the end of the message (rule H14).
    pub fn is_end(&self) -> bool {
        self.remaining() == Some(0)
    }

    /// The peer closed its side.
    ///
    /// # Errors
    /// [`BodyFault::Incomplete`] unless the body had ended or the close is what ends it.
    pub fn close(&mut self) -> Result<(), BodyFault> {
        if matches!(self, Self::UntilClose) {
            *self = Self::Length(0);
        }
        if self.is_end() { Ok(()) } else { Err(BodyFault::Incomplete) }
    }
}

fn data_or_more(here: usize) -> Step {
    if here == 0 { Step::NeedMore { consumed: 0 } } else { Step::Data { consumed: here, data: 0..here } }
}

#[cfg(test)]
mod tests;
