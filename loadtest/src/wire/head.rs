//! The head of an answer (RFC 9112, sections 2 to 4 and 6), read in one pass over its bytes.

use super::{Framing, Malformed};
use std::borrow::Cow;

/// What the tester needs to know of an answer's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// HTTP status; 200 or more.
    pub status: u16,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the connection ends with this answer.
    pub close: bool,
    /// The media type, in lower case, without parameters; empty without one.
    pub media_type: Cow<'a, str>,
    /// The gateway's own account of its time, microseconds (`x-igris-overhead-us`).
    pub overhead_us: Option<u64>,
    /// Seconds to wait (`retry-after`), where it is a number.
    pub retry_after: Option<u64>,
}

/// Bytes of an answer's head, with the interim ones before it.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Interim answers before the final one.
const INTERIM_MAX: usize = 8;
/// How every answer begins.
const VERSION: &[u8] = b"HTTP/1.1 ";

impl<'a> Head<'a> {
    /// Reads the final head at the start of `input`, past interim ones, with the bytes they take. `None` while it is incomplete.
    ///
    /// # Errors
    /// It is no head of an HTTP/1.1 answer, or is too large.
    pub fn parse(input: &'a [u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let mut start = 0;
        for _ in 0..=INTERIM_MAX {
            let Some((head, taken)) = one(&input[start..])? else {
                return if input.len() > HEAD_BYTES_MAX { Err(Malformed("head too large")) } else { Ok(None) };
            };
            start += taken;
            if head.status >= 200 {
                return Ok(Some((head, start)));
            }
        }
        Err(Malformed("too many interim answers"))
    }
}

/// Reads one head, interim or final.
fn one(input: &[u8]) -> Result<Option<(Head<'_>, usize)>, Malformed> {
    let known = input.len().min(VERSION.len());
    if input[..known] != VERSION[..known] {
        return Err(Malformed("no status line"));
    }
    let Some((line, mut at)) = line(input, 0)? else { return Ok(None) };
    let mut head = Head {
        status: status(&line[VERSION.len().min(line.len())..])?,
        framing: Framing::Close,
        close: false,
        media_type: Cow::Borrowed(""),
        overhead_us: None,
        retry_after: None,
    };
    let (mut length, mut chunked) = (None, false);
    loop {
        let Some((field, next)) = self::line(input, at)? else { return Ok(None) };
        at = next;
        if field.is_empty() {
            break;
        }
        let (name, value) = split(field)?;
        read_field(&mut head, name, value, &mut length, &mut chunked)?;
    }
    head.framing = match (length, chunked) {
        (Some(_), true) => return Err(Malformed("Content-Length and Transfer-Encoding")),
        (Some(bytes), false) => Framing::Length(bytes),
        (None, true) => Framing::Chunked,
        (None, false) if matches!(head.status, 100..200 | 204 | 304) => Framing::Length(0),
        (None, false) => Framing::Close,
    };
    Ok(Some((head, at)))
}

/// The line that starts at `at` without its CRLF, and where the next one starts. `None` while it is incomplete.
fn line(input: &[u8], at: usize) -> Result<Option<(&[u8], usize)>, Malformed> {
    let rest = &input[at.min(input.len())..];
    let Some(end) = memchr::memchr(b'\n', rest) else { return Ok(None) };
    let line = rest[..end].strip_suffix(b"\r").ok_or(Malformed("line end"))?;
    Ok(Some((line, at + end + 1)))
}

/// `200 OK` behind the version: three digits, then nothing or a space and words.
fn status(rest: &[u8]) -> Result<u16, Malformed> {
    match *rest {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ref words @ ..] if matches!(words, [] | [b' ', ..]) => {
            if !words.iter().all(|byte| is_text(*byte)) {
                return Err(Malformed("status line"));
            }
            match u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0') {
                101 => Err(Malformed("an upgrade that was not asked for")),
                status => Ok(status),
            }
        }
        _ => Err(Malformed("status line")),
    }
}

/// Name and value of a field; the value without the white space around it.
fn split(field: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let colon = memchr::memchr(b':', field).ok_or(Malformed("field without a colon"))?;
    let (name, value) = (&field[..colon], field[colon + 1..].trim_ascii());
    if name.is_empty() || !name.iter().all(|byte| is_name(*byte)) {
        return Err(Malformed("field name"));
    }
    if !value.iter().all(|byte| is_text(*byte)) {
        return Err(Malformed("field value"));
    }
    Ok((name, value))
}

fn read_field<'a>(
    head: &mut Head<'a>,
    name: &[u8],
    value: &'a [u8],
    length: &mut Option<u64>,
    chunked: &mut bool,
) -> Result<(), Malformed> {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    // By length first: most fields are none of these.
    match name.len() {
        14 if is("content-length") => {
            let known = length.replace(number(value).ok_or(Malformed("Content-Length"))?);
            known.map_or(Ok(()), |_| Err(Malformed("repeated Content-Length")))?;
        }
        17 if is("transfer-encoding") => {
            if *chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed("transfer coding"));
            }
            *chunked = true;
        }
        10 if is("connection") => {
            head.close |=
                value.split(|byte| *byte == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"));
        }
        12 if is("content-type") => head.media_type = media_type(value),
        19 if is("x-igris-overhead-us") => head.overhead_us = number(value),
        11 if is("retry-after") => head.retry_after = number(value),
        _ => {}
    }
    Ok(())
}

fn media_type(value: &[u8]) -> Cow<'_, str> {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let text = std::str::from_utf8(value[..end].trim_ascii()).unwrap_or_default();
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

/// Digits and nothing else, as a number.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

/// What may stand in a field's name (RFC 9110, section 5.6.2).
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What may stand in a field's value: no control character but the tab (RFC 9110, section 5.5).
fn is_text(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f || byte == b'\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\
        x-Igris-Overhead-Us:  31 \r\nretry-after: 2\r\nx-other:\r\nconnection: keep-alive, Close\r\ncontent-length: 2\r\n\r\nab";

    #[test]
    fn a_head_is_read_when_it_is_whole_and_not_before() {
        let whole = GOOD.len() - 2;
        for end in 0..whole {
            assert_eq!(Head::parse(&GOOD[..end]), Ok(None), "{end}");
        }
        for end in whole..=GOOD.len() {
            let (head, taken) = Head::parse(&GOOD[..end]).expect("good").expect("whole");
            assert_eq!((head.status, head.framing, head.close, taken), (200, Framing::Length(2), true, whole));
            assert_eq!(head.media_type, "text/event-stream");
            assert_eq!((head.overhead_us, head.retry_after), (Some(31), Some(2)));
        }
    }

    #[test]
    fn framing_follows_the_fields() {
        let table = [
            ("HTTP/1.1 200\r\n\r\n", Framing::Close),
            ("HTTP/1.1 204 No Content\r\n\r\n", Framing::Length(0)),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n", Framing::Chunked),
            ("HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n", Framing::Length(u64::MAX)),
        ];
        for (text, framing) in table {
            assert_eq!(Head::parse(text.as_bytes()).expect(text).expect(text).0.framing, framing, "{text}");
        }
    }

    #[test]
    fn heads_are_read_strictly() {
        let wrong = [
            "HTP/1.1 200 OK",
            "HTTP/1.0 200 OK",
            "HTTP/1.1 2x0 OK",
            "HTTP/1.1 +20 OK",
            "HTTP/1.1 2000 OK",
            "HTTP/1.1  200 OK",
            "HTTP/1.1 099 OK",
            "HTTP/1.1 101 Switching Protocols",
            "HTTP/1.1 200 O\u{1}K",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked",
            "HTTP/1.1 200 OK\r\ncontent-length: -2",
            "HTTP/1.1 200 OK\r\ncontent-length: +2",
            "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616",
            "HTTP/1.1 200 OK\r\ncontent-length:",
            "HTTP/1.1 200 OK\r\ncontent-length: 2, 2",
            "HTTP/1.1 200 OK\r\nno colon",
            "HTTP/1.1 200 OK\r\n: nameless",
            "HTTP/1.1 200 OK\r\nspace : x",
            "HTTP/1.1 200 OK\r\na: b\r\n folded: c",
            "HTTP/1.1 200 OK\r\na: b\rc",
            "HTTP/1.1 200 OK\r\na: b\0c",
            "HTTP/1.1 200 OK\na: b",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked",
        ];
        for text in wrong {
            assert!(Head::parse(format!("{text}\r\n\r\n").as_bytes()).is_err(), "{text}");
        }
        assert!(Head::parse(b"HTP").is_err(), "what cannot become a head is none at once");
        assert_eq!(
            Head::parse(&b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(9)),
            Err(Malformed("too many interim answers"))
        );
        let endless = [&b"HTTP/1.1 200 OK\r\na: "[..], &vec![b'x'; HEAD_BYTES_MAX]].concat();
        assert_eq!(Head::parse(&endless), Err(Malformed("head too large")));
    }
}
