//! The body of an answer without its transfer coding (RFC 9112, sections 6 and 7).
//!
//! Nothing is buffered: what arrives is handed on at once, wherever it was cut.

use super::Malformed;

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    Close,
}

/// A body being read.
///
/// ```text
/// Length(n) --n bytes--> Ended        Chunked --chunk of size 0, trailer, empty line--> Ended        Close --(end of the connection)--> Ended
/// ```
#[derive(Debug)]
pub struct Body {
    state: State,
}

/// ```text
/// Size --CR--> SizeEnd --LF--> Data --n bytes--> DataCr --CR--> DataLf --LF--> Size
///   \--;--> Extension --CR--> SizeEnd
/// SizeEnd --LF, size 0--> Line --CR, empty--> LineEnd --LF--> Ended
///                          ^--LF, not empty-----/
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ended,
    Close,
    Length(u64),
    /// Hexadecimal digits seen, their value.
    Size(u8, u64),
    /// Size of the chunk, bytes of its extension.
    Extension(u64, u16),
    SizeEnd(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// Bytes of the trailer section, bytes of its present line.
    Line(u16, u16),
    LineEnd(u16, u16),
}

/// Bytes of a chunk's extension, and of the trailer section.
const EXTRA_BYTES_MAX: u16 = 4096;
/// Digits of a chunk's size.
const SIZE_DIGITS_MAX: u8 = 15;

impl Body {
    /// A body that ends so.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Length(0) => State::Ended,
            Framing::Length(bytes) => State::Length(bytes),
            Framing::Chunked => State::Size(0, 0),
            Framing::Close => State::Close,
        };
        Self { state }
    }

    /// Whether the body has ended; the next byte of the connection belongs to another answer.
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether the end of the connection now is the body's own end.
    pub fn may_close(&self) -> bool {
        matches!(self.state, State::Ended | State::Close)
    }

    /// Hands the content in `input` to `take`, piece by piece, and returns the bytes that were used up: all of them unless the
    /// body has ended.
    ///
    /// # Errors
    /// The transfer coding is wrong.
    pub fn push(&mut self, input: &[u8], mut take: impl FnMut(&[u8])) -> Result<usize, Malformed> {
        let mut spent = 0;
        while spent < input.len() {
            let rest = &input[spent..];
            spent += match self.state {
                State::Ended => break,
                State::Close => {
                    take(rest);
                    rest.len()
                }
                State::Length(left) | State::Data(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    take(&rest[..here]);
                    self.state = after_content(self.state, left - here as u64);
                    here
                }
                state => {
                    self.state = coding(state, rest[0])?;
                    1
                }
            };
        }
        Ok(spent)
    }
}

fn after_content(state: State, left: u64) -> State {
    match (state, left) {
        (State::Length(_), 0) => State::Ended,
        (State::Length(_), left) => State::Length(left),
        (_, 0) => State::DataCr,
        (_, left) => State::Data(left),
    }
}

/// One byte of the chunked coding that is not content.
fn coding(state: State, byte: u8) -> Result<State, Malformed> {
    Ok(match (state, byte) {
        (State::Size(digits, value), _) if byte.is_ascii_hexdigit() && digits < SIZE_DIGITS_MAX => {
            let digit = (byte as char).to_digit(16).unwrap_or_default();
            State::Size(digits + 1, value * 16 + u64::from(digit))
        }
        (State::Size(1.., value), b';') => State::Extension(value, 0),
        (State::Size(1.., value), b'\r') => State::SizeEnd(value),
        (State::Size(..), _) => return Err(Malformed("chunk size")),
        (State::Extension(value, _), b'\r') => State::SizeEnd(value),
        (State::Extension(_, _), b'\n') => return Err(Malformed("chunk line")),
        (State::Extension(value, bytes), _) if bytes < EXTRA_BYTES_MAX => State::Extension(value, bytes + 1),
        (State::Extension(..), _) => return Err(Malformed("chunk line")),
        (State::SizeEnd(0), b'\n') => State::Line(0, 0),
        (State::SizeEnd(size), b'\n') => State::Data(size),
        (State::SizeEnd(_), _) => return Err(Malformed("chunk line")),
        (State::DataCr, b'\r') => State::DataLf,
        (State::DataLf, b'\n') => State::Size(0, 0),
        (State::DataCr | State::DataLf, _) => return Err(Malformed("chunk end")),
        (State::Line(total, line), b'\r') => State::LineEnd(total, line),
        (State::Line(_, _), b'\n') => return Err(Malformed("trailer")),
        (State::Line(total, line), _) if total < EXTRA_BYTES_MAX => State::Line(total + 1, line + 1),
        (State::LineEnd(_, 0), b'\n') => State::Ended,
        (State::LineEnd(total, _), b'\n') => State::Line(total, 0),
        (State::Line(..) | State::LineEnd(..), _) => return Err(Malformed("trailer")),
        (state, _) => state,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(framing: Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, usize), Malformed> {
        let (mut body, mut content, mut used) = (Body::new(framing), Vec::new(), 0);
        for piece in pieces {
            used += body.push(piece, |bytes| content.extend_from_slice(bytes))?;
        }
        Ok((content, body.is_ended(), used))
    }

    #[test]
    fn any_cut_gives_the_same_content() {
        let table: [(Framing, &[u8], &[u8]); 5] = [
            (Framing::Chunked, b"3\r\nabc\r\n0A;x=\"y\"\r\n0123456789\r\n0\r\n\r\n", b"abc0123456789"),
            (Framing::Chunked, b"1\r\na\r\n0\r\nx-a: b\r\nx-c: d\r\n\r\n", b"a"),
            (Framing::Length(4), b"abcd", b"abcd"),
            (Framing::Length(0), b"", b""),
            (Framing::Close, b"abcd", b"abcd"),
        ];
        for (framing, body, content) in table {
            let more: &[u8] = if framing == Framing::Close { b"" } else { b"HTTP/1.1 200 OK" };
            let input = [body, more].concat();
            for first in 0..=input.len() {
                for second in first..=input.len() {
                    let found = read(framing, &[&input[..first], &input[first..second], &input[second..]]);
                    let expected = (content.to_vec(), framing != Framing::Close, body.len());
                    assert_eq!(found, Ok(expected), "{framing:?} cut at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn chunks_are_read_strictly() {
        let wrong: [&[u8]; 11] = [
            b"3\nabc\r\n",
            b"g\r\n",
            b"\r\n",
            b"3\r\nabcde",
            b"3 \r\nabc\r\n",
            b"+3\r\nabc\r\n",
            b"0x3\r\nabc\r\n",
            b"1111111111111111\r\n",
            b"3;a\nabc\r\n",
            b"0\r\nx: y\n\r\n",
            b"3\r\nabc\n0\r\n\r\n",
        ];
        for text in wrong {
            assert!(read(Framing::Chunked, &[text]).is_err(), "{:?}", String::from_utf8_lossy(text));
        }
        assert_eq!(
            read(Framing::Chunked, &[b"3\r\nab"]),
            Ok((b"ab".to_vec(), false, 5)),
            "content does not wait for its chunk"
        );
        assert!(!Body::new(Framing::Chunked).may_close() && !Body::new(Framing::Length(1)).may_close());
        assert!(Body::new(Framing::Close).may_close() && Body::new(Framing::Length(0)).may_close());
    }
}
