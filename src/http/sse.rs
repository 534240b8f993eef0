//! Server-sent events: where each event lies in a stream of bytes, and what its data is (WHATWG HTML §9.2, rule H18).
//!
//! Line ends are CR, LF or CR LF, split anywhere. The scanner looks at each byte once and copies nothing; the assembler joins
//! the events that straddle two reads, up to a bound. Neither changes a byte of what is relayed.

use memchr::memchr2;
use std::ops::Range;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

// === EventScanner ===

/// Finds events in a buffer that starts where the last event ended and grows at its end.
///
/// An event is the range of its lines with their line ends, without the empty line that closes it: the same bytes however
/// the stream was cut into reads.
#[derive(Debug, Default)]
pub struct EventScanner {
    /// Start of the event that is not whole yet.
    event: usize,
    /// Start of the line that is not whole yet.
    line: usize,
    searched: usize,
    /// The last line ended in CR at the end of the buffer: an LF that follows belongs to it.
    after_return: bool,
    past_mark: bool,
}

impl EventScanner {
    /// A scanner at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next whole event in `buffer`, or `None` until more bytes come. Comments count as events, empty lines do not.
    pub fn next_event(&mut self, buffer: &[u8]) -> Option<Range<usize>> {
        if !self.past_mark && !self.skip_mark(buffer) {
            return None;
        }
        loop {
            if self.after_return {
                let next = *buffer.get(self.searched)?;
                self.after_return = false;
                self.skip_line_feed(next);
            }
            let Some(found) = memchr2(b'\r', b'\n', buffer.get(self.searched..).unwrap_or_default()) else {
                self.searched = self.searched.max(buffer.len());
                return None;
            };
            let end = self.searched.saturating_add(found);
            let is_empty = end == self.line;
            let (event, lines_end) = (self.event, self.line);
            self.searched = end.saturating_add(1);
            self.line = self.searched;
            self.after_return = buffer.get(end) == Some(&b'\r');
            if is_empty {
                self.event = self.line;
                if lines_end > event {
                    return Some(event..lines_end);
                }
            }
        }
    }

    /// Where the next event begins, whether or not a part of it has been searched; the LF of a CR LF before it is taken on the way. `None` at
    /// the start of a stream, and while that LF may still come.
    #[inline]
    pub fn border(&mut self, buffer: &[u8]) -> Option<usize> {
        if !self.past_mark {
            return None;
        }
        if self.after_return && self.searched == self.event {
            let next = *buffer.get(self.searched)?;
            self.after_return = false;
            self.skip_line_feed(next);
        }
        Some(self.event)
    }

    /// Steps over a whole event of so many bytes, its closing empty line included, that the caller knows by other means to begin at the
    /// [`border`](Self::border). `ends_in_return` says that its last byte is a CR.
    #[inline]
    pub fn step_over(&mut self, event_bytes: usize, ends_in_return: bool) {
        self.event = self.event.saturating_add(event_bytes);
        (self.line, self.searched, self.after_return) = (self.event, self.event, ends_in_return);
    }

    /// Bytes at the front of the buffer that belong to no unfinished event.
    pub fn consumed(&self) -> usize {
        self.event
    }

    /// Tells that the caller has removed [`Self::consumed`] bytes from the front of the buffer.
    pub fn discard_consumed(&mut self) {
        let gone = self.event;
        self.event = 0;
        self.line = self.line.saturating_sub(gone);
        self.searched = self.searched.saturating_sub(gone);
    }

    /// One leading byte order mark is ignored. False while its bytes may still be coming.
    fn skip_mark(&mut self, buffer: &[u8]) -> bool {
        if buffer.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(buffer) {
            return false;
        }
        self.past_mark = true;
        if buffer.starts_with(BYTE_ORDER_MARK) {
            (self.event, self.line, self.searched) = (3, 3, 3);
        }
        true
    }

    fn skip_line_feed(&mut self, next: u8) {
        if next != b'\n' {
            return;
        }
        if self.event == self.line {
            self.event = self.event.saturating_add(1);
        }
        self.line = self.line.saturating_add(1);
        self.searched = self.searched.saturating_add(1);
    }
}

// === EventAssembler ===

/// Who events are lent to.
pub trait EventTaker {
    /// Takes the event that begins where the scanner stands without having it scanned, and steps over it; whether it did.
    fn takes(&mut self, _scanner: &mut EventScanner, _buffer: &[u8]) -> bool {
        false
    }

    /// Takes an event; `closed` is the same with the empty line that closes it.
    fn event(&mut self, event: &[u8], closed: &[u8]);
}

struct Plain<'e, F>(&'e mut F);

impl<F: FnMut(&[u8])> EventTaker for Plain<'_, F> {
    fn event(&mut self, event: &[u8], _closed: &[u8]) {
        (self.0)(event);
    }
}

/// Lends whole events out of a stream of reads. Events inside one read are lent in place; what straddles reads is copied.
#[derive(Debug)]
pub struct EventAssembler {
    scanner: EventScanner,
    carried: Vec<u8>,
    event_bytes_max: usize,
    gave_up: bool,
}

impl EventAssembler {
    /// An assembler that gives up on the stream at an event longer than `event_bytes_max` (rule H18).
    pub fn new(event_bytes_max: usize) -> Self {
        Self { scanner: EventScanner::new(), carried: Vec::new(), event_bytes_max, gave_up: false }
    }

    /// Takes the next read and calls `each` with every event that it completes.
    pub fn push(&mut self, read: &[u8], mut each: impl FnMut(&[u8])) {
        self.push_with(read, &mut Plain(&mut each));
    }

    /// As [`push`](Self::push), for one who may know events without their being scanned.
    pub fn push_with(&mut self, read: &[u8], taker: &mut impl EventTaker) {
        if self.gave_up {
            return;
        }
        // Taken out while it is lent, so that the scanner can be used beside it.
        let mut carried = std::mem::take(&mut self.carried);
        if carried.is_empty() {
            self.lend(read, taker);
            carried.extend_from_slice(read.get(self.scanner.consumed()..).unwrap_or_default());
        } else {
            carried.extend_from_slice(read);
            self.lend(&carried, taker);
            carried.drain(..self.scanner.consumed().min(carried.len()));
        }
        self.scanner.discard_consumed();
        self.gave_up |= carried.len() > self.event_bytes_max;
        if !self.gave_up {
            self.carried = carried;
        }
    }

    /// Whether an event was too long: what came after it is unknown.
    pub fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// Bytes of an event that has begun and not ended: not nothing at the end of a stream means that it was cut.
    pub fn unfinished(&self) -> &[u8] {
        &self.carried
    }

    /// Makes ready for another stream, keeping the memory.
    pub fn reset(&mut self) {
        self.scanner = EventScanner::new();
        self.carried.clear();
        self.gave_up = false;
    }

    fn lend(&mut self, buffer: &[u8], taker: &mut impl EventTaker) {
        loop {
            while taker.takes(&mut self.scanner, buffer) {}
            let Some(range) = self.scanner.next_event(buffer) else { return };
            if range.len() > self.event_bytes_max {
                self.gave_up = true;
                return;
            }
            let closed = range.start..self.scanner.consumed();
            let [event, closed] = [range, closed].map(|range| buffer.get(range).unwrap_or_default());
            taker.event(event, closed);
        }
    }
}

// === One event ===

/// The `data` of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataLines<'a> {
    /// No `data` line.
    None,
    /// One `data` line: its value, lent.
    One(&'a [u8]),
    /// Several: the event they are in, from the first of them on.
    Several(&'a [u8]),
}

impl<'a> DataLines<'a> {
    /// The data as one slice. `spare` is used, after clearing, only if there are several lines: they are joined by LF.
    pub fn joined<'s>(self, spare: &'s mut Vec<u8>) -> Option<&'s [u8]>
    where
        'a: 's,
    {
        match self {
            Self::None => None,
            Self::One(value) => Some(value),
            Self::Several(event) => {
                spare.clear();
                for value in values(event, b"data") {
                    spare.extend_from_slice(value);
                    spare.push(b'\n');
                }
                spare.pop();
                Some(spare)
            }
        }
    }
}

/// The `data` lines of an event.
pub fn data(event: &[u8]) -> DataLines<'_> {
    let mut lines = Lines { rest: event };
    let mut from = event;
    while let Some(line) = lines.next() {
        if let Some(value) = field_value(line, b"data") {
            let several = values(lines.rest, b"data").next().is_some();
            return if several { DataLines::Several(from) } else { DataLines::One(value) };
        }
        from = lines.rest;
    }
    DataLines::None
}

/// The name of an event: its last `event` line.
pub fn name(event: &[u8]) -> Option<&[u8]> {
    values(event, b"event").last()
}

/// Whether every line is a comment, as keep-alive pings are.
pub fn is_comment(event: &[u8]) -> bool {
    Lines { rest: event }.all(|line| line.first() == Some(&b':'))
}

fn values<'a>(event: &'a [u8], field: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    Lines { rest: event }.filter_map(move |line| field_value(line, field))
}

/// `field [":" [SP] value]`; the name has case.
fn field_value<'a>(line: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(field)? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

/// The lines of a whole event, without their ends.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr2(b'\r', b'\n', self.rest).unwrap_or(self.rest.len());
        let (line, tail) = self.rest.split_at_checked(end).unwrap_or_default();
        self.rest = match tail {
            [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
            [] => &[],
        };
        Some(line)
    }
}

#[cfg(test)]
mod tests;
