//! Request and response heads: bytes in, spans and verdicts out (rules H1 to H7, H9, H10, H13, H16, H21).
//!
//! A head is parsed line by line as it arrives and keeps offsets, never borrows, so that the buffer may move between reads.
//! Every question is answered against the same bytes: `head.path(bytes)`. Offsets count from the start of the buffer that
//! was given to `parse`, skipped empty lines included. The vectors inside are kept and refilled for the next head.
//!
//! Nearly every head comes whole, and plain. Such a one is taken in a single pass, eight bytes at a time; whatever that pass does not
//! know to be good goes line by line as if it had never been looked at, so that there is one place where heads are refused. And most heads
//! on a connection are like the one before: what stands where it stood is not read again (`kept.rs`).

mod credential;
mod fault;
mod field;
mod kept;
mod known;
mod line;
mod request;
mod response;
mod target;

pub use credential::Presented;
pub use fault::HeadFault;
pub use field::{Field, Fields};
pub use known::{KnownField, KnownSet};
pub use request::{Method, RequestFraming, RequestHead};
pub use response::{ResponseFraming, ResponseHead};

use crate::http::syntax::next_control;
use crate::limits;
use field::FieldTable;
use kept::Kept;
use line::{LineCutter, LineLimit};
use std::ops::Range;

/// How far a head has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The head is not whole: call again with the same bytes and more behind them.
    Partial,
    /// The head is whole and took this many bytes, its closing empty line included.
    Complete {
        /// Bytes from the start of the buffer to the first byte of the body.
        consumed: usize,
    },
}

/// The two versions that we speak (rule H3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// `HTTP/1.0`
    Http10,
    /// `HTTP/1.1`
    #[default]
    Http11,
}

impl Version {
    fn of(text: &[u8]) -> Option<Self> {
        match text {
            b"HTTP/1.1" => Some(Self::Http11),
            b"HTTP/1.0" => Some(Self::Http10),
            _ => None,
        }
    }
}

/// Bounds of a head, in bytes and counts. Lines are measured without their CR LF, the head with everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the request line or status line.
    pub start_line_bytes: usize,
    /// Bytes of one field line.
    pub field_bytes: usize,
    /// Bytes of the whole head.
    pub head_bytes: usize,
    /// Fields in the head.
    pub fields: usize,
}

impl HeadLimits {
    /// What clients may send (security rules, section 7).
    pub const REQUEST: Self = Self {
        start_line_bytes: limits::REQUEST_LINE_BYTES_MAX,
        field_bytes: limits::FIELD_BYTES_MAX,
        head_bytes: limits::HEAD_BYTES_MAX,
        fields: limits::FIELDS_MAX,
    };
    /// What providers may send (security rules, section 7).
    pub const UPSTREAM: Self = Self {
        start_line_bytes: limits::REQUEST_LINE_BYTES_MAX,
        field_bytes: limits::FIELD_BYTES_MAX,
        head_bytes: limits::UPSTREAM_HEAD_BYTES_MAX,
        fields: limits::UPSTREAM_FIELDS_MAX,
    };
}

/// A range of the head as offsets: what a head keeps instead of a borrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Heads are far below 4 GiB; a span beyond would read as empty.
    fn new(start: usize, end: usize) -> Self {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: place(start), end: place(end) }
    }

    fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    fn text(self, bytes: &[u8]) -> &str {
        std::str::from_utf8(self.of(bytes)).unwrap_or_default()
    }
}

/// Where a head stands:
///
/// ```text
/// Start --first line--> Fields --empty line--> Done --next parse--> Start
///   |                     |                     ^
///   +------- fault -------+---------------------+
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Start,
    Fields,
    Done,
}

/// Who sent the head. Only clients may send empty lines first (RFC 9112 §2.2); before a response they are extra bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Provider,
}

/// What a first look at the bytes says of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// It is the head before, byte for byte, and has this length: all that is known of it holds.
    Same(usize),
    /// Its first line and the names of its fields are those of the head before; the table says where its values lie.
    Alike {
        /// Its length.
        length: usize,
        /// The fields that have another value.
        changed: KnownSet,
    },
    /// It is whole and plain.
    Plain {
        /// Its length.
        length: usize,
        /// Where its first line ends.
        line_end: usize,
    },
    /// It is to be read line by line.
    Unknown,
}

/// What both kinds of head share: lines, then fields.
#[derive(Debug, Default)]
struct HeadReader {
    stage: Stage,
    lines: LineCutter,
    empty_lines: u32,
    /// The fields of this head; before its first look, those of the kept one.
    table: FieldTable,
    kept: Kept,
}

impl HeadReader {
    /// Begins a new head if the last one ended.
    fn begin(&mut self) {
        if self.stage == Stage::Done {
            self.reset();
        }
    }

    fn reset(&mut self) {
        self.stage = Stage::Start;
        self.lines = LineCutter::default();
        self.empty_lines = 0;
        if self.kept.is_empty() {
            self.table.clear();
        }
    }

    /// Keeps a head that was whole and good, as the table describes it.
    fn keep(&mut self, head: Option<&[u8]>) {
        self.kept.keep(head.unwrap_or_default());
    }

    /// The next head is read as if there had been none.
    #[cold]
    fn forget(&mut self) {
        self.kept.forget();
    }

    /// Takes a whole head that is like the one before, or a plain one in one pass. Of an unknown one nothing has happened.
    ///
    /// Only the first look at a head is such a pass: one that arrives in many pieces is not read from its beginning for each.
    fn look(&mut self, bytes: &[u8], limits: &HeadLimits) -> Look {
        if self.stage != Stage::Start || !self.lines.is_fresh() {
            return Look::Unknown;
        }
        if !self.kept.is_empty() {
            let look = self.compare(bytes, limits);
            if look != Look::Unknown {
                return look;
            }
            self.forget();
            self.table.clear();
        }
        match self.plain(bytes, limits) {
            Some((length, line_end)) => Look::Plain { length, line_end },
            None => {
                self.table.clear();
                Look::Unknown
            }
        }
    }

    /// Compares a head with the kept one; if it is unknown, the table is in disorder.
    fn compare(&mut self, bytes: &[u8], limits: &HeadLimits) -> Look {
        let former = self.kept.bytes();
        // A head that is no longer than any of its lines may be holds no line that is too long.
        let most = limits.head_bytes.min(limits.start_line_bytes).min(limits.field_bytes);
        if former.len() > most || self.table.len() > limits.fields {
            return Look::Unknown;
        }
        if bytes.starts_with(former) {
            return Look::Same(former.len());
        }
        match self.table.follow(former, bytes).filter(|(length, _)| *length <= most) {
            Some((length, changed)) => {
                self.kept.keep(bytes.get(..length).unwrap_or_default());
                if self.kept.is_empty() { Look::Unknown } else { Look::Alike { length, changed } }
            }
            None => Look::Unknown,
        }
    }

    fn plain(&mut self, bytes: &[u8], limits: &HeadLimits) -> Option<(usize, usize)> {
        let line_end = next_control(bytes, 0)?;
        let mut at = line_end.checked_add(2)?;
        let is_line = bytes.get(line_end..at) == Some(b"\r\n") && line_end > 0;
        if !is_line || line_end > limits.start_line_bytes {
            return None;
        }
        while bytes.get(at) != Some(&b'\r') {
            at = self.table.push_plain(bytes, at, limits.field_bytes, limits.fields)?;
        }
        let end = at.checked_add(2)?;
        (bytes.get(at..end) == Some(b"\r\n") && end <= limits.head_bytes).then_some((end, line_end))
    }

    /// Takes all whole lines of `bytes`; the first goes to `start_line`. `Some` is the length of a complete head.
    fn advance(
        &mut self,
        bytes: &[u8],
        limits: &HeadLimits,
        side: Side,
        mut start_line: impl FnMut(Range<usize>) -> Result<(), HeadFault>,
    ) -> Result<Option<usize>, HeadFault> {
        loop {
            let (line_bytes, too_long) = match (self.stage, side) {
                (Stage::Start, Side::Client) => (limits.start_line_bytes, HeadFault::RequestLineTooLong),
                (Stage::Start, Side::Provider) => (limits.start_line_bytes, HeadFault::StatusLine),
                _ => (limits.field_bytes, HeadFault::FieldTooLong),
            };
            let limit = LineLimit { line_bytes, head_bytes: limits.head_bytes, too_long };
            let Some(line) = self.lines.next_line(bytes, limit)? else { return Ok(None) };
            match (self.stage, line.is_empty()) {
                (Stage::Start, true) if side == Side::Client => self.skip_empty_line()?,
                (Stage::Start, _) => {
                    start_line(line)?;
                    self.stage = Stage::Fields;
                }
                (_, false) => self.table.push(bytes, line, limits.fields)?,
                (_, true) => return Ok(Some(self.lines.consumed())),
            }
        }
    }

    /// RFC 9112 §2.2: a server should ignore at least one empty line before the request line.
    fn skip_empty_line(&mut self) -> Result<(), HeadFault> {
        self.empty_lines = self.empty_lines.saturating_add(1);
        let allowed = u32::try_from(limits::EMPTY_LINES_MAX).unwrap_or(u32::MAX);
        if self.empty_lines > allowed { Err(HeadFault::EmptyLines) } else { Ok(()) }
    }
}

#[cfg(test)]
mod kept_tests;
#[cfg(test)]
mod tests;
