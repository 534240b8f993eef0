//! Server-sent events out of a body, however its bytes are cut (WHATWG HTML, section 9.2).

use std::ops::Range;

/// A growing body from which whole events can be taken.
#[derive(Debug, Default)]
pub struct Events {
    buffer: Vec<u8>,
    searched: usize,
    taken: usize,
}

impl Events {
    /// Adds bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken == self.buffer.len() {
            self.buffer.clear();
            (self.taken, self.searched) = (0, 0);
        } else if self.taken > COMPACT_BYTES {
            self.buffer.drain(..self.taken);
            self.searched -= self.taken;
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes the next whole event, from its first byte to its empty line.
    pub fn next_event(&mut self) -> Option<&[u8]> {
        let event = self.find()?;
        self.taken = event.end;
        self.searched = event.end;
        Some(&self.buffer[event])
    }

    /// Bytes of an event that is not whole yet.
    pub fn unfinished(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    /// An event ends where a line end follows a line end; LF and CRLF count.
    fn find(&mut self) -> Option<Range<usize>> {
        let mut at = self.searched.saturating_sub(3).max(self.taken);
        while let Some(step) = self.buffer[at..].iter().position(|byte| *byte == b'\n') {
            let after = at + step + 1;
            match self.buffer[after..] {
                [b'\n', ..] => return Some(self.taken..after + 1),
                [b'\r', b'\n', ..] => return Some(self.taken..after + 2),
                _ => at = after,
            }
        }
        self.searched = self.buffer.len();
        None
    }
}

/// The payload of an event's `data` lines joined by LF, or nothing for comments and other fields.
pub fn data(event: &[u8]) -> Option<Vec<u8>> {
    let mut payload: Option<Vec<u8>> = None;
    for line in event.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(value) = line.strip_prefix(b"data:") else { continue };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &mut payload {
            None => payload = Some(value.to_vec()),
            Some(known) => {
                known.push(b'\n');
                known.extend_from_slice(value);
            }
        }
    }
    payload
}

/// Spent bytes that are worth moving the rest for.
const COMPACT_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_gives_the_same_events() {
        let body = b": hello\n\ndata: one\n\ndata: two\r\ndata: more\r\n\r\nevent: x\ndata:three\n\ndata: rest";
        for first in 0..body.len() {
            for second in first..body.len() {
                let mut events = Events::default();
                let mut found = Vec::new();
                for piece in [&body[..first], &body[first..second], &body[second..]] {
                    events.push(piece);
                    while let Some(event) = events.next_event() {
                        found.push(data(event));
                    }
                }
                let expected =
                    [None, Some(b"one".to_vec()), Some(b"two\nmore".to_vec()), Some(b"three".to_vec())].to_vec();
                assert_eq!(found, expected, "cut at {first} and {second}");
                assert_eq!(events.unfinished(), b"data: rest");
            }
        }
    }
}
