//! Server-sent events out of a body, handed over where they lie (WHATWG HTML, section 9.2).
//!
//! However the bytes are cut, the same events come out. A whole event is never copied, so that ten thousand open streams hold
//! no buffers; only what is cut is kept until its rest comes. Lines end in LF or CRLF.

use memchr::memchr;
use std::borrow::Cow;

/// Takes events out of pieces of a body.
#[derive(Debug, Default)]
pub struct Cutter {
    rest: Vec<u8>,
    /// Bytes of `rest` in which no event ends.
    searched: usize,
}

/// A body that is no stream: an event without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endless;

impl Cutter {
    /// Hands every event that is whole now to `take`, from its first byte to its empty line.
    ///
    /// # Errors
    /// An event is longer than `EVENT_BYTES_MAX`.
    pub fn push(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) -> Result<(), Endless> {
        if self.rest.is_empty() {
            let (taken, searched) = cut(bytes, 0, &mut take)?;
            self.rest.extend_from_slice(&bytes[taken..]);
            self.searched = searched;
        } else {
            self.rest.extend_from_slice(bytes);
            let (taken, searched) = cut(&self.rest, self.searched, &mut take)?;
            self.rest.drain(..taken);
            self.searched = searched;
            if self.rest.is_empty() {
                self.rest.shrink_to(KEPT_BYTES);
            }
        }
        if self.rest.len() > EVENT_BYTES_MAX { Err(Endless) } else { Ok(()) }
    }

    /// Bytes of an event that is not whole.
    pub fn unfinished(&self) -> &[u8] {
        &self.rest
    }
}

/// Hands over whole events; returns how many bytes they were, and how many of the others need no second look.
fn cut(bytes: &[u8], searched: usize, take: &mut impl FnMut(&[u8])) -> Result<(usize, usize), Endless> {
    let (mut start, mut at) = (0, searched);
    while let Some(step) = memchr(b'\n', &bytes[at..]) {
        let after = at + step + 1;
        let end = match bytes[after..] {
            [b'\n', ..] => after + 1,
            [b'\r', b'\n', ..] => after + 2,
            [] | [b'\r'] => return Ok((start, after - 1 - start)),
            _ => {
                at = after;
                continue;
            }
        };
        if end - start > EVENT_BYTES_MAX {
            return Err(Endless);
        }
        take(&bytes[start..end]);
        (start, at) = (end, end);
    }
    Ok((start, bytes.len() - start))
}

/// One event taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event<'a> {
    /// The value of its `event` line.
    pub name: &'a [u8],
    /// Its `data` lines joined by LF; `None` for comments and other fields alone.
    pub data: Option<Cow<'a, [u8]>>,
}

impl<'a> Event<'a> {
    /// Reads an event; `None` where it is nothing but line ends.
    pub fn parse(event: &'a [u8]) -> Option<Self> {
        let mut found = Self::default();
        let mut blank = true;
        let mut rest = event;
        while let Some(end) = memchr(b'\n', rest) {
            let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
            rest = &rest[end + 1..];
            blank &= line.is_empty();
            if let Some(value) = field(line, b"data") {
                found.data = Some(match found.data.take() {
                    None => Cow::Borrowed(value),
                    Some(known) => Cow::Owned([&known, b"\n".as_slice(), value].concat()),
                });
            } else if let Some(value) = field(line, b"event") {
                found.name = value;
            }
        }
        (!blank).then_some(found)
    }
}

/// The value of a line with this name.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(name)?;
    if rest.is_empty() {
        return Some(rest);
    }
    let value = rest.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

/// An event longer than this is taken for none: a body that is no stream must not fill the memory.
pub const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Room that stays with a stream for the next event that is cut.
const KEPT_BYTES: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_gives_the_same_events() {
        let body = b": hello\n\n\r\n\ndata: one\n\ndata: two\r\ndata: more\r\n\r\nevent: x\ndata:three\n\n\n\ndata\n\ndata: rest";
        let event = |name: &str, data: &str| (name.as_bytes().to_vec(), Some(data.as_bytes().to_vec()));
        let expected =
            [(Vec::new(), None), event("", "one"), event("", "two\nmore"), event("x", "three"), event("", "")];
        for first in 0..body.len() {
            for second in first..body.len() {
                let mut cutter = Cutter::default();
                let mut found = Vec::new();
                for piece in [&body[..first], &body[first..second], &body[second..]] {
                    let take = |event: &[u8]| {
                        let event = Event::parse(event);
                        found.extend(event.map(|event| (event.name.to_vec(), event.data.map(Cow::into_owned))));
                    };
                    cutter.push(piece, take).expect("short events");
                }
                assert_eq!(found, expected, "cut at {first} and {second}");
                assert_eq!(cutter.unfinished(), b"data: rest");
            }
        }
    }

    #[test]
    fn an_event_without_an_end_is_given_up() {
        let mut cutter = Cutter::default();
        let block = vec![b'x'; 1024 * 1024];
        let pushed = (0..9).try_for_each(|_| cutter.push(&block, |_| panic!("there is no event")));
        assert_eq!(pushed, Err(Endless));
    }
}
