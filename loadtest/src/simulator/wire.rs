//! HTTP/1.1 as a suspicious provider reads it: pure functions from bytes to a request head or a reason to refuse.
//!
//! It accepts exactly the grammar of RFC 9112 with none of its leniencies (no bare LF, no folding, no HTTP/1.0, no absolute
//! targets): a gateway has no business sending any of those.

use std::fmt;

/// Bytes of a request head; longer is refused.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a request body; longer is refused.
pub const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of one chunk-size line.
const CHUNK_LINE_BYTES_MAX: usize = 256;

/// How a request body is delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes follow; zero where no length is given.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
}

/// A request head that passed every check.
#[derive(Clone, Debug)]
pub struct Head {
    /// The method, as sent.
    pub method: String,
    /// The request target in origin form, query included.
    pub target: String,
    /// Field names in lower case with their values, in order of arrival.
    pub fields: Vec<(String, String)>,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether the client asked to close the connection after the answer.
    pub close: bool,
    /// Whether the client waits for `100 Continue` before it sends its body.
    pub expects_continue: bool,
}

impl Head {
    /// The value of the first field of this (lower case) name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// Why a head or body is not HTTP/1.1 as we accept it; the text names the rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

fn malformed<T>(reason: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed(reason.into()))
}

/// Reads a head from the front of `input`: `None` while it is incomplete, else the head and the number of bytes it took.
///
/// # Errors
/// Returns the broken rule as soon as it shows, even before the head is complete.
pub fn head(input: &[u8], searched: usize) -> Result<Option<(Head, usize)>, Malformed> {
    let seen = match scan(input, searched)? {
        Some(end) => end,
        None if input.len() > HEAD_BYTES_MAX => return malformed("request head too large"),
        None => return Ok(None),
    };
    if seen > HEAD_BYTES_MAX {
        return malformed("request head too large");
    }
    let text = std::str::from_utf8(&input[..seen]).map_err(|_| Malformed("head is not UTF-8".into()))?;
    parse(text).map(|head| Some((head, seen + 4)))
}

/// Where the head ends, if it does, having seen that no line before that ends wrongly: a lone LF or a lone CR is no line end here (RFC 9112
/// §2.2). The first `searched` bytes were seen before, but for the last three, whose rest was not there yet.
fn scan(input: &[u8], searched: usize) -> Result<Option<usize>, Malformed> {
    let mut at = searched.saturating_sub(3);
    while let Some(found) = input[at..].iter().position(|byte| *byte < 0x0e && (*byte == b'\r' || *byte == b'\n')) {
        at += found;
        if input[at] == b'\n' {
            if at == 0 || input[at - 1] != b'\r' {
                return malformed("bare LF in head");
            }
        } else {
            match input.get(at + 1..) {
                Some([b'\n', b'\r', b'\n', ..]) => return Ok(Some(at)),
                Some([b'\n', ..] | []) | None => {}
                Some(_) => return malformed("bare CR in head"),
            }
        }
        at += 1;
    }
    Ok(None)
}

fn parse(text: &str) -> Result<Head, Malformed> {
    // Every CR is followed by an LF here.
    let mut lines = text.split('\r').map(|line| line.strip_prefix('\n').unwrap_or(line));
    let (method, target) = request_line(lines.next().unwrap_or_default())?;
    let mut fields = Vec::with_capacity(8);
    for line in lines {
        fields.push(field(line)?);
    }
    refuse_repeats(&fields)?;
    let mut head = Head {
        method: method.into(),
        target: target.into(),
        fields,
        framing: Framing::Length(0),
        close: false,
        expects_continue: false,
    };
    match head.field("host") {
        None => return malformed("missing Host"),
        Some("") => return malformed("empty Host"),
        Some(_) => {}
    }
    head.framing = framing(&head)?;
    head.close = head.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    head.expects_continue = head.field("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"));
    Ok(head)
}

fn request_line(line: &str) -> Result<(&str, &str), Malformed> {
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return malformed("request line is not METHOD SP TARGET SP VERSION");
    };
    if version != "HTTP/1.1" {
        return malformed(format!("version {version:?} is not HTTP/1.1"));
    }
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return malformed("method is not an upper-case token");
    }
    if !target.starts_with('/') || target.contains('#') || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return malformed("target is not in origin form");
    }
    Ok((method, target))
}

fn field(line: &str) -> Result<(String, String), Malformed> {
    if line.starts_with([' ', '\t']) {
        return malformed("folded field line");
    }
    let Some((name, value)) = line.split_once(':') else { return malformed("field line without a colon") };
    if name.is_empty() || !name.bytes().all(is_token) {
        return malformed("field name is not a token");
    }
    let value = value.trim_matches([' ', '\t']);
    if value.bytes().any(|byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f) {
        return malformed("control character in a field value");
    }
    Ok((name.to_ascii_lowercase(), value.into()))
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let (mut table, mut byte, others) = ([false; 256], 0, b"!#$%&'*+-.^_`|~");
        while byte < 128 {
            table[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let mut at = 0;
        while at < others.len() {
            table[others[at] as usize] = true;
            at += 1;
        }
        table
    };
    TOKEN[usize::from(byte)]
}

fn refuse_repeats(fields: &[(String, String)]) -> Result<(), Malformed> {
    const ONCE: [&str; 7] = [
        "host",
        "content-length",
        "transfer-encoding",
        "authorization",
        "content-type",
        "connection",
        "accept-encoding",
    ];
    for name in ONCE {
        if fields.iter().filter(|(known, _)| known == name).count() > 1 {
            return malformed(format!("repeated {name}"));
        }
    }
    Ok(())
}

fn framing(head: &Head) -> Result<Framing, Malformed> {
    let length = head.field("content-length");
    let coding = head.field("transfer-encoding");
    match (length, coding) {
        (Some(_), Some(_)) => malformed("Content-Length and Transfer-Encoding together"),
        (None, Some(coding)) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        (None, Some(_)) => malformed("unknown transfer coding"),
        (Some(length), None) => {
            if length.is_empty() || length.len() > 18 || !length.bytes().all(|byte| byte.is_ascii_digit()) {
                return malformed("Content-Length is not a number");
            }
            let bytes: u64 = length.parse().map_err(|_| Malformed("Content-Length is not a number".into()))?;
            if bytes > BODY_BYTES_MAX { malformed("request body too large") } else { Ok(Framing::Length(bytes)) }
        }
        (None, None) => Ok(Framing::Length(0)),
    }
}

/// One step of reading a chunked body (RFC 9112 §7.1).
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Nothing whole yet.
    Incomplete,
    /// A chunk whose data is `data` of the input, after which `used` bytes are spent.
    Data {
        /// The range of the chunk's data.
        data: std::ops::Range<usize>,
        /// Bytes to drop from the input, line ends included.
        used: usize,
    },
    /// The last chunk and its (empty) trailer section; `used` bytes are spent.
    Last {
        /// Bytes to drop from the input.
        used: usize,
    },
}

/// Reads one chunk from the front of `input`. Extensions and trailers are refused: no gateway needs them here.
///
/// # Errors
/// Returns the broken rule.
pub fn chunk(input: &[u8]) -> Result<Chunk, Malformed> {
    let Some(line_end) = input.iter().take(CHUNK_LINE_BYTES_MAX).position(|byte| *byte == b'\n') else {
        return if input.len() >= CHUNK_LINE_BYTES_MAX {
            malformed("chunk line too long")
        } else {
            Ok(Chunk::Incomplete)
        };
    };
    if line_end == 0 || input[line_end - 1] != b'\r' {
        return malformed("bare LF in a chunk line");
    }
    let digits = &input[..line_end - 1];
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return malformed("chunk size is not a hexadecimal number");
    }
    let text = std::str::from_utf8(digits).map_err(|_| Malformed("chunk size".into()))?;
    let size = usize::from_str_radix(text, 16).map_err(|_| Malformed("chunk size".into()))?;
    let start = line_end + 1;
    let Some(rest) = input.get(start + size..start + size + 2) else {
        return if size as u64 > BODY_BYTES_MAX { malformed("chunk too large") } else { Ok(Chunk::Incomplete) };
    };
    if rest != b"\r\n" {
        return malformed(if size == 0 { "trailer section" } else { "chunk data does not end in CRLF" });
    }
    let used = start + size + 2;
    Ok(if size == 0 { Chunk::Last { used } } else { Chunk::Data { data: start..start + size, used } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> String {
        head(text.as_bytes(), 0).expect_err(text).0
    }

    #[test]
    fn a_plain_head_is_read() {
        let text = "POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
        let (head, used) = head(text.as_bytes(), 0).expect("well-formed").expect("complete");
        assert_eq!((head.path(), head.framing, used), ("/v1/chat/completions", Framing::Length(3), text.len() - 3));
    }

    #[test]
    fn every_leniency_is_refused() {
        let table = [
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", "bare LF"),
            ("GET / HTTP/1.1\r\nHost: a\r\nx: a\rb\r\n\r\n", "bare CR"),
            ("GET / HTTP/1.0\r\nHost: a\r\n\r\n", "not HTTP/1.1"),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "request line"),
            ("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "origin form"),
            ("GET / HTTP/1.1\r\n\r\n", "missing Host"),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "repeated host"),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "token"),
            ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", "folded"),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "together"),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "repeated content-length"),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", "not a number"),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "transfer coding"),
        ];
        for (text, part) in table {
            assert!(reason(text).contains(part), "{text:?} gave {:?}", reason(text));
        }
    }

    #[test]
    fn a_head_may_arrive_in_any_two_pieces() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for cut in 0..text.len() {
            assert!(head(&text[..cut], 0).expect("a prefix breaks no rule").is_none(), "cut at {cut}");
            assert!(head(text, cut).expect("well-formed").is_some(), "cut at {cut}");
        }
    }

    #[test]
    fn chunks_are_read_strictly() {
        assert_eq!(chunk(b"3\r\nabc\r\n0\r\n\r\n"), Ok(Chunk::Data { data: 3..6, used: 8 }));
        assert_eq!(chunk(b"0\r\n\r\n"), Ok(Chunk::Last { used: 5 }));
        assert_eq!(chunk(b"3\r\nab"), Ok(Chunk::Incomplete));
        for bad in
            [&b"3\nabc\r\n"[..], b"\r\n", b"3;x=1\r\nabc\r\n", b"3\r\nabcd\r\n", b"0x3\r\nabc\r\n", b"0\r\nA: b\r\n"]
        {
            assert!(chunk(bad).is_err(), "{bad:?}");
        }
    }
}
