//! Writers: heads and chunk framing into a `Vec<u8>`, with the guarantee that no value can end its line (rule H1).
//!
//! A writer appends whole lines or nothing, so a refused value leaves no half line behind. The framing of the body is
//! written by the call that ends the head: a head cannot carry both `Content-Length` and `Transfer-Encoding`, or none by
//! accident.

use super::head::Method;
use super::syntax::{is_field_text, is_token};
use std::num::NonZeroUsize;
use thiserror::Error;

/// The interim response that lets a client send its body (RFC 9110 §15.2.1, rule H13).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// The chunk that ends a chunked body, without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// What follows the payload of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// Room that the longest chunk-size line takes: 16 digits and CR LF.
pub const CHUNK_PREFIX_BYTES_MAX: usize = 18;

/// Something that may not go on the wire. Ours or a client's value, never sent in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WriteFault {
    /// Request target empty, or with a space, a control character or a non-ASCII byte.
    #[error("the request target cannot be written")]
    Target,
    /// Status outside 100 to 599.
    #[error("the status cannot be written")]
    Status,
    /// Field name that is no token, or one that frames the body.
    #[error("the field name cannot be written")]
    FieldName,
    /// Field value with CR, LF, NUL or another control character but tab.
    #[error("the field value cannot be written")]
    FieldValue,
}

macro_rules! head_writer {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[must_use = "a head without its end is not a message"]
        pub struct $name<'a> {
            out: &'a mut Vec<u8>,
        }

        impl $name<'_> {
            /// Adds a field line.
            ///
            /// # Errors
            /// [`WriteFault::FieldName`] and [`WriteFault::FieldValue`]; nothing is written then.
            pub fn field(self, name: &str, value: &[u8]) -> Result<Self, WriteFault> {
                field(self.out, name, &[value])?;
                Ok(self)
            }

            /// Adds a field line whose value is given in parts, such as a scheme and a secret.
            ///
            /// # Errors
            /// As [`Self::field`].
            pub fn field_of_parts(self, name: &str, parts: &[&[u8]]) -> Result<Self, WriteFault> {
                field(self.out, name, parts)?;
                Ok(self)
            }

            /// Adds a field line under a name that is written in our own code; only the value is looked at.
            ///
            /// # Errors
            /// [`WriteFault::FieldValue`]; nothing is written then.
            pub fn own_field(self, name: &'static str, parts: &[&[u8]]) -> Result<Self, WriteFault> {
                debug_assert!(is_own_name(name), "`{name}` cannot be written");
                line(self.out, name, parts)?;
                Ok(self)
            }

            /// Adds a field line that stands in our own code: name, value and CR LF.
            #[inline]
            pub fn own_line(self, line: &'static str) -> Self {
                debug_assert!(is_own_line(line), "`{line}` cannot be written");
                self.out.extend_from_slice(line.as_bytes());
                self
            }

            /// Adds a field line under a name that is written in our own code, with a value that this program makes: letters, digits, marks.
            #[inline]
            pub fn own_value(self, name: &'static str, parts: &[&[u8]]) -> Self {
                debug_assert!(is_own_name(name) && parts.iter().all(|part| is_field_text(part)), "`{name}` cannot be written");
                put(self.out, name, parts);
                self
            }

            /// Adds lines that were written out before.
            pub fn lines(self, lines: &FieldLines) -> Self {
                self.out.extend_from_slice(&lines.0);
                self
            }

            /// Adds a field line with a decimal value.
            ///
            /// # Errors
            /// [`WriteFault::FieldName`]; nothing is written then.
            pub fn number(self, name: &str, value: u64) -> Result<Self, WriteFault> {
                let mut digits = itoa::Buffer::new();
                field(self.out, name, &[digits.format(value).as_bytes()])?;
                Ok(self)
            }

            /// Ends the head of a message with a body of known length.
            pub fn end_with_length(self, length: u64) {
                let mut digits = itoa::Buffer::new();
                self.out.extend_from_slice(b"content-length: ");
                self.out.extend_from_slice(digits.format(length).as_bytes());
                self.out.extend_from_slice(b"\r\n\r\n");
            }

            /// Ends the head of a message with a chunked body.
            pub fn end_chunked(self) {
                self.out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
            }

            /// Ends the head of a message whose body, if any, nothing announces: GET requests; 204, 304 and close-delimited
            /// responses.
            pub fn end_unframed(self) {
                self.out.extend_from_slice(b"\r\n");
            }
        }
    };
}

head_writer!(
    /// Writes a request head: first line, fields, end.
    RequestWriter
);
head_writer!(
    /// Writes a response head: status line, fields, end.
    ResponseWriter
);

impl<'a> RequestWriter<'a> {
    /// Begins a request on HTTP/1.1.
    ///
    /// # Errors
    /// [`WriteFault::Target`]; nothing is written then.
    pub fn new(out: &'a mut Vec<u8>, method: Method, target: &str) -> Result<Self, WriteFault> {
        // Every byte is looked at, so that many are looked at at once.
        if target.is_empty() || !target.bytes().fold(true, |good, byte| good & matches!(byte, 0x21..=0x7e)) {
            return Err(WriteFault::Target);
        }
        for part in [method.as_str(), " ", target, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        Ok(Self { out })
    }

    /// Begins a request with lines that were written out before.
    pub fn opened(out: &'a mut Vec<u8>, opening: &Opening) -> Self {
        out.extend_from_slice(&opening.0);
        Self { out }
    }

    /// Leaves a head without its end, for others to go on with.
    fn stop(self) {}
}

impl<'a> ResponseWriter<'a> {
    /// Begins a response on HTTP/1.1 with the registered reason phrase.
    ///
    /// # Errors
    /// [`WriteFault::Status`]; nothing is written then.
    pub fn new(out: &'a mut Vec<u8>, status: u16) -> Result<Self, WriteFault> {
        if !matches!(status, 100..=599) {
            return Err(WriteFault::Status);
        }
        let mut digits = itoa::Buffer::new();
        for part in ["HTTP/1.1 ", digits.format(status), " ", reason(status), "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        Ok(Self { out })
    }
}

fn field(out: &mut Vec<u8>, name: &str, parts: &[&[u8]]) -> Result<(), WriteFault> {
    if !is_own_name(name) {
        return Err(WriteFault::FieldName);
    }
    line(out, name, parts)
}

/// Whether a name may be written by anybody but the call that ends the head.
fn is_own_name(name: &str) -> bool {
    let frames = name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding");
    !frames && is_token(name.as_bytes())
}

fn line(out: &mut Vec<u8>, name: &str, parts: &[&[u8]]) -> Result<(), WriteFault> {
    if !parts.iter().all(|part| is_field_text(part)) {
        return Err(WriteFault::FieldValue);
    }
    put(out, name, parts);
    Ok(())
}

#[inline]
fn put(out: &mut Vec<u8>, name: &str, parts: &[&[u8]]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether this is one whole line that may stand in a head.
fn is_own_line(line: &str) -> bool {
    let parts = line.strip_suffix("\r\n").and_then(|line| line.split_once(": "));
    parts.is_some_and(|(name, value)| is_own_name(name) && is_field_text(value.as_bytes()))
}

// === FieldLines ===

/// Field lines that are checked and written out once and stand in many heads. They hold no credential: nothing wipes them.
#[derive(Debug, Clone, Default)]
pub struct FieldLines(Vec<u8>);

impl FieldLines {
    /// Adds a line.
    ///
    /// # Errors
    /// [`WriteFault::FieldName`] and [`WriteFault::FieldValue`]; nothing is added then.
    pub fn push(&mut self, name: &str, value: &[u8]) -> Result<(), WriteFault> {
        field(&mut self.0, name, &[value])
    }

    /// Bytes of all lines.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

// === Opening ===

/// The first lines of a request head, checked and written out once, where many requests begin alike. They hold no credential.
#[derive(Debug, Clone)]
pub struct Opening(Vec<u8>);

impl Opening {
    /// The request line, `host`, and lines that stand in every head.
    ///
    /// # Errors
    /// [`WriteFault::Target`], and [`WriteFault::FieldValue`] for a host that cannot be written.
    pub fn new(method: Method, target: &str, host: &str, lines: &FieldLines) -> Result<Self, WriteFault> {
        let mut out = Vec::new();
        RequestWriter::new(&mut out, method, target)?.own_field("host", &[host.as_bytes()])?.lines(lines).stop();
        Ok(Self(out))
    }

    /// Bytes of all lines.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none; there always is the first.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

// === Chunks ===

/// The size line of a chunk: its bytes and how many of them count. There is none for an empty chunk, which would end the body.
pub fn chunk_prefix(length: NonZeroUsize) -> ([u8; CHUNK_PREFIX_BYTES_MAX], usize) {
    let mut line = [0; CHUNK_PREFIX_BYTES_MAX];
    let digits = hex_digits(length);
    for (place, slot) in line.iter_mut().take(digits).enumerate() {
        *slot = hex_digit(length, digits.saturating_sub(place).saturating_sub(1));
    }
    if let Some(end) = line.get_mut(digits..digits.saturating_add(2)) {
        end.copy_from_slice(b"\r\n");
    }
    (line, digits.saturating_add(2))
}

/// Writes the size line of a chunk so that it ends at `payload`, where the payload of `length` bytes already lies in `buffer`.
/// Answers where the line starts; `None`, with nothing written, if there is not enough room in front.
pub fn write_chunk_prefix(buffer: &mut [u8], payload: usize, length: NonZeroUsize) -> Option<usize> {
    let (line, line_bytes) = chunk_prefix(length);
    let start = payload.checked_sub(line_bytes)?;
    buffer.get_mut(start..payload)?.copy_from_slice(line.get(..line_bytes)?);
    Some(start)
}

/// Appends a whole chunk; nothing for an empty payload, which would end the body.
pub fn chunk(out: &mut Vec<u8>, payload: &[u8]) {
    let Some(length) = NonZeroUsize::new(payload.len()) else { return };
    let (line, line_bytes) = chunk_prefix(length);
    out.extend_from_slice(line.get(..line_bytes).unwrap_or_default());
    out.extend_from_slice(payload);
    out.extend_from_slice(CHUNK_END);
}

fn hex_digits(length: NonZeroUsize) -> usize {
    (length.ilog2() as usize / 4).saturating_add(1)
}

fn hex_digit(length: NonZeroUsize, place: usize) -> u8 {
    let digit = length.get().checked_shr(u32::try_from(place).unwrap_or(u32::MAX).saturating_mul(4)).unwrap_or(0) & 15;
    b"0123456789abcdef".get(digit).copied().unwrap_or(b'0')
}

// === Reasons ===

/// The reason phrase of a status (IANA registry of HTTP status codes, and 529 as Anthropic uses it); empty if unknown.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        529 => "Overloaded",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(value: usize) -> NonZeroUsize {
        NonZeroUsize::new(value).unwrap()
    }

    #[test]
    fn a_request_head_is_exactly_its_lines() {
        let mut out = Vec::new();
        let head = RequestWriter::new(&mut out, Method::Post, "/v1/chat/completions?a=b").unwrap();
        let head = head.field("host", b"api.openai.com").unwrap();
        let head = head.field_of_parts("authorization", &[b"Bearer ", b"sk-1"]).unwrap();
        head.end_with_length(12);
        let wanted = "POST /v1/chat/completions?a=b HTTP/1.1\r\nhost: api.openai.com\r\nauthorization: Bearer sk-1\r\n\
                      content-length: 12\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    #[test]
    fn lines_written_before_are_as_those_written_now() {
        let mut lines = FieldLines::default();
        lines.push("via", b"1.1 igris").unwrap();
        assert_eq!(lines.push("x", b"a\r\nb"), Err(WriteFault::FieldValue));
        assert_eq!(lines.push("Content-Length", b"1"), Err(WriteFault::FieldName));
        let mut out = Vec::new();
        let head = RequestWriter::new(&mut out, Method::Get, "/").unwrap().lines(&lines);
        let head = head.own_field("x-a", &[b"b", b"c"]).unwrap();
        assert_eq!(head.own_field("x-a", &[b"\n"]).err(), Some(WriteFault::FieldValue));
        assert_eq!(out, b"GET / HTTP/1.1\r\nvia: 1.1 igris\r\nx-a: bc\r\n");
    }

    #[test]
    fn an_opening_is_as_what_is_written_now() {
        let mut lines = FieldLines::default();
        lines.push("via", b"1.1 igris").unwrap();
        let opening = Opening::new(Method::Post, "/a", "b:1", &lines).unwrap();
        let mut out = Vec::new();
        let head = RequestWriter::opened(&mut out, &opening).own_line("accept: */*\r\n");
        head.own_value("x-request-id", &[b"req_", b"1"]).end_unframed();
        let wanted = "POST /a HTTP/1.1\r\nhost: b:1\r\nvia: 1.1 igris\r\naccept: */*\r\nx-request-id: req_1\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
        assert_eq!(Opening::new(Method::Post, "/a b", "b", &lines).err(), Some(WriteFault::Target));
        assert_eq!(Opening::new(Method::Post, "/a", "b\r\nc: d", &lines).err(), Some(WriteFault::FieldValue));
        assert!(is_own_line("a: b\r\n"));
        for line in ["a: b", "a: b\r\nc: d\r\n", "a\r\n", "content-length: 1\r\n"] {
            assert!(!is_own_line(line), "{line:?}");
        }
    }

    #[test]
    fn a_response_head_is_exactly_its_lines() {
        let mut out = Vec::new();
        let head = ResponseWriter::new(&mut out, 529).unwrap().number("retry-after", 7).unwrap();
        head.end_chunked();
        assert_eq!(out, b"HTTP/1.1 529 Overloaded\r\nretry-after: 7\r\ntransfer-encoding: chunked\r\n\r\n");
        out.clear();
        ResponseWriter::new(&mut out, 204).unwrap().end_unframed();
        assert_eq!(out, b"HTTP/1.1 204 No Content\r\n\r\n");
    }

    /// Rule H1: nothing given to a writer can end a line, start another, or frame the body a second time.
    #[test]
    fn injection_is_refused_and_leaves_nothing_behind() {
        let mut out = Vec::new();
        for value in [&b"a\r\nx: y"[..], b"a\nb", b"a\rb", b"a\0b", b"\x1b[0m", b"\x7f"] {
            let head = ResponseWriter::new(&mut out, 200).unwrap();
            assert_eq!(head.field("x-igris-model", value).err(), Some(WriteFault::FieldValue), "{value:?}");
            assert_eq!(out, b"HTTP/1.1 200 OK\r\n");
            out.clear();
        }
        for name in ["", "a b", "a:", "a\r\nb", "é", "Content-Length", "TRANSFER-ENCODING"] {
            let head = ResponseWriter::new(&mut out, 200).unwrap();
            assert_eq!(head.field(name, b"1").err(), Some(WriteFault::FieldName), "{name:?}");
            out.clear();
        }
        for target in ["", "/a b", "/a\r\nhost: x", "/é", "/\0"] {
            assert_eq!(RequestWriter::new(&mut out, Method::Get, target).err(), Some(WriteFault::Target), "{target:?}");
        }
        for status in [0, 99, 600, 1000] {
            assert_eq!(ResponseWriter::new(&mut out, status).err(), Some(WriteFault::Status));
        }
        assert!(out.is_empty());
    }

    #[test]
    fn chunk_prefixes_are_what_the_formatter_says() {
        let powers = (0..usize::BITS).map(|bit| 1_usize << bit);
        for value in powers.flat_map(|power| [power.saturating_sub(1).max(1), power, power + 1]).chain([usize::MAX]) {
            let (line, line_bytes) = chunk_prefix(length(value));
            assert_eq!(line[..line_bytes], *format!("{value:x}\r\n").as_bytes());
        }
    }

    #[test]
    fn a_prefix_is_written_in_front_of_its_payload() {
        let mut buffer = *b"........hello";
        assert_eq!(write_chunk_prefix(&mut buffer, 8, length(5)), Some(5));
        assert_eq!(&buffer, b".....5\r\nhello");
        let mut tight = *b"..hello";
        assert_eq!(write_chunk_prefix(&mut tight, 2, length(5)), None, "three bytes do not fit in two");
        assert_eq!(&tight, b"..hello");
        assert_eq!(write_chunk_prefix(&mut tight, 99, length(5)), None);
    }

    #[test]
    fn an_empty_chunk_never_ends_the_body() {
        let mut out = Vec::new();
        chunk(&mut out, b"");
        assert!(out.is_empty());
        chunk(&mut out, b"data: {}\n\n");
        assert_eq!(out, b"a\r\ndata: {}\n\n\r\n");
    }
}
