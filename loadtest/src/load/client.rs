//! The tester's own HTTP/1.1 client: one connection, one request at a time, strict about what comes back (RFC 9112).

use super::sse::{self, Events};
use super::target::Target;
use std::io;
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What kept an answer from being whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No connection.
    Connect,
    /// Closed or reset before the first byte of an answer.
    Closed,
    /// Closed or reset inside an answer, or a stream without its terminator.
    Truncated,
    /// Not HTTP/1.1, or not its own framing.
    Malformed(&'static str),
    /// An error event inside a stream.
    StreamError,
}

/// A whole answer.
#[derive(Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// The first byte of the answer.
    pub first_byte: Instant,
    /// The first event with text or a tool call; of a unary answer, the first byte.
    pub first_token: Instant,
    /// The last byte.
    pub end: Instant,
    /// Data events, `[DONE]` included.
    pub events: u64,
    /// Body bytes, without transfer coding.
    pub body_bytes: u64,
    /// The gateway's own account of its time, microseconds (`x-igris-overhead-us`).
    pub overhead_us: Option<u64>,
    /// The whole body, where it was asked for; events of a stream without comments.
    pub body: Vec<u8>,
    /// Moments between data events, microseconds.
    pub gaps_us: Vec<u64>,
}

/// What the reader of an answer shall do besides reading.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// A stream is expected.
    pub stream: bool,
    /// Keep the body.
    pub keep_body: bool,
}

/// How the body of an answer ends.
#[derive(Clone, Copy)]
enum Framing {
    Length(u64),
    Chunked,
    Close,
}

struct Head {
    status: u16,
    framing: Framing,
    close: bool,
    overhead_us: Option<u64>,
    event_stream: bool,
}

/// One connection to the target.
pub struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    reusable: bool,
}

/// Bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Room for one read.
const READ_BYTES: usize = 32 * 1024;

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// [`Trouble::Connect`].
    pub async fn open(target: &Target) -> Result<Self, Trouble> {
        let stream = TcpStream::connect(target.addr).await.map_err(|_| Trouble::Connect)?;
        stream.set_nodelay(true).map_err(|_| Trouble::Connect)?;
        Ok(Self { stream, input: Vec::new(), reusable: true })
    }

    /// Whether another request may be sent: the last answer was whole and the other side has not closed since.
    pub fn usable(&mut self) -> bool {
        let mut byte = [0];
        self.reusable
            && self.input.is_empty()
            && matches!(self.stream.try_read(&mut byte), Err(reason) if reason.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends a request's bytes and reads its answer.
    ///
    /// # Errors
    /// What kept the answer from being whole; the connection must not be used again.
    pub async fn exchange(&mut self, request: &[u8], reading: Reading) -> Result<Response, Trouble> {
        self.reusable = false;
        self.stream.write_all(request).await.map_err(|_| Trouble::Closed)?;
        let head = self.head().await?;
        let first_byte = Instant::now();
        let mut answer = Answer::new(&head, reading, first_byte);
        match head.framing {
            Framing::Length(bytes) => self.sized_body(bytes, &mut answer).await?,
            Framing::Chunked => self.chunked_body(&mut answer).await?,
            Framing::Close => self.body_to_close(&mut answer).await?,
        }
        self.reusable = !head.close && !matches!(head.framing, Framing::Close);
        answer.finish()
    }

    async fn head(&mut self) -> Result<Head, Trouble> {
        let mut skipped_interim = 0;
        loop {
            if let Some(end) = self.input.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = parse_head(&self.input[..end])?;
                self.input.drain(..end + 4);
                if head.status >= 200 {
                    return Ok(head);
                }
                skipped_interim += 1;
                if skipped_interim > 8 {
                    return Err(Trouble::Malformed("too many interim answers"));
                }
                continue;
            }
            if self.input.len() > HEAD_BYTES_MAX {
                return Err(Trouble::Malformed("head too large"));
            }
            let trouble = if self.input.is_empty() { Trouble::Closed } else { Trouble::Truncated };
            self.fill().await.map_err(|_| trouble)?;
        }
    }

    async fn sized_body(&mut self, bytes: u64, answer: &mut Answer) -> Result<(), Trouble> {
        let mut left = usize::try_from(bytes).map_err(|_| Trouble::Malformed("body too large"))?;
        loop {
            let here = left.min(self.input.len());
            answer.push(&self.input[..here]);
            self.input.drain(..here);
            left -= here;
            if left == 0 {
                return Ok(());
            }
            self.fill().await.map_err(|_| Trouble::Truncated)?;
        }
    }

    async fn chunked_body(&mut self, answer: &mut Answer) -> Result<(), Trouble> {
        let mut spent = 0;
        loop {
            while let Some((size, data, next)) = chunk(&self.input[spent..])? {
                answer.push(&self.input[spent + data..spent + data + size]);
                spent += next;
                if size == 0 {
                    self.input.drain(..spent);
                    return Ok(());
                }
            }
            self.input.drain(..spent);
            spent = 0;
            self.fill().await.map_err(|_| Trouble::Truncated)?;
        }
    }

    async fn body_to_close(&mut self, answer: &mut Answer) -> Result<(), Trouble> {
        loop {
            answer.push(&self.input);
            self.input.clear();
            match self.fill().await {
                Ok(()) => {}
                Err(reason) if reason.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(_) => return Err(Trouble::Truncated),
            }
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.input.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn parse_head(bytes: &[u8]) -> Result<Head, Trouble> {
    let text = std::str::from_utf8(bytes).map_err(|_| Trouble::Malformed("head is not text"))?;
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    let status = status.ok_or(Trouble::Malformed("no status line"))?;
    let (mut length, mut chunked) = (None, false);
    let mut head = Head { status, framing: Framing::Close, close: false, overhead_us: None, event_stream: false };
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Trouble::Malformed("field without a colon"))?;
        if name.is_empty() || name.contains([' ', '\t']) || line.contains(['\r', '\n']) {
            return Err(Trouble::Malformed("field name"));
        }
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" if length.is_some() => return Err(Trouble::Malformed("repeated Content-Length")),
            "content-length" => length = Some(value.parse().map_err(|_| Trouble::Malformed("Content-Length"))?),
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") && !chunked => chunked = true,
            "transfer-encoding" => return Err(Trouble::Malformed("transfer coding")),
            "connection" => head.close = value.eq_ignore_ascii_case("close"),
            "content-type" => head.event_stream = value.starts_with("text/event-stream"),
            "x-igris-overhead-us" => head.overhead_us = value.parse().ok(),
            _ => {}
        }
    }
    head.framing = match (length, chunked) {
        (Some(_), true) => return Err(Trouble::Malformed("Content-Length and Transfer-Encoding")),
        (Some(bytes), false) => Framing::Length(bytes),
        (None, true) => Framing::Chunked,
        (None, false) if matches!(status, 100..200 | 204 | 304) => Framing::Length(0),
        (None, false) => Framing::Close,
    };
    Ok(head)
}

/// Reads one chunk: its size, where its data starts, where the next chunk starts. `None` while it is incomplete.
fn chunk(input: &[u8]) -> Result<Option<(usize, usize, usize)>, Trouble> {
    let Some(line_end) = input.iter().position(|byte| *byte == b'\n') else {
        return if input.len() > 256 { Err(Trouble::Malformed("chunk line")) } else { Ok(None) };
    };
    let line = input[..line_end].strip_suffix(b"\r").ok_or(Trouble::Malformed("chunk line"))?;
    let digits = std::str::from_utf8(line).map_err(|_| Trouble::Malformed("chunk line"))?;
    let digits = digits.split(';').next().unwrap_or_default();
    if digits.is_empty() || digits.len() > 7 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Trouble::Malformed("chunk size"));
    }
    let size = usize::from_str_radix(digits, 16).map_err(|_| Trouble::Malformed("chunk size"))?;
    let data = line_end + 1;
    let Some(end) = input.get(data + size..data + size + 2) else { return Ok(None) };
    if end != b"\r\n" {
        return Err(Trouble::Malformed("chunk end"));
    }
    Ok(Some((size, data, data + size + 2)))
}

/// An answer being read.
struct Answer {
    response: Response,
    reading: Reading,
    events: Option<Events>,
    first_token: Option<Instant>,
    last_event: Option<Instant>,
    done: bool,
    error: bool,
}

impl Answer {
    fn new(head: &Head, reading: Reading, first_byte: Instant) -> Self {
        let stream = reading.stream && head.status == 200;
        let response = Response {
            status: head.status,
            first_byte,
            first_token: first_byte,
            end: first_byte,
            events: 0,
            body_bytes: 0,
            overhead_us: head.overhead_us,
            body: Vec::new(),
            gaps_us: Vec::new(),
        };
        let events = (stream && head.event_stream).then(Events::default);
        Self { response, reading, events, first_token: None, last_event: None, done: !stream, error: false }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.response.body_bytes += bytes.len() as u64;
        let Some(events) = &mut self.events else {
            if self.reading.keep_body {
                self.response.body.extend_from_slice(bytes);
            }
            return;
        };
        events.push(bytes);
        let now = Instant::now();
        while let Some(event) = events.next_event() {
            if !event.starts_with(b"data:") && sse::data(event).is_none() {
                continue;
            }
            self.response.events += 1;
            if let Some(before) = self.last_event.replace(now) {
                let gap = now.saturating_duration_since(before).as_micros();
                self.response.gaps_us.push(u64::try_from(gap).unwrap_or(u64::MAX));
            }
            if self.first_token.is_none() && carries_text(event) {
                self.first_token = Some(now);
            }
            self.done |= event.starts_with(b"data: [DONE]") || event.starts_with(b"data:[DONE]");
            self.error |= event.starts_with(b"data: {\"error\"") || event.starts_with(b"event: error");
            if self.reading.keep_body {
                self.response.body.extend_from_slice(event);
            }
        }
    }

    fn finish(mut self) -> Result<Response, Trouble> {
        if self.error {
            return Err(Trouble::StreamError);
        }
        let whole = self.events.as_ref().is_none_or(|events| events.unfinished().is_empty());
        if !self.done || !whole {
            return Err(Trouble::Truncated);
        }
        self.response.end = Instant::now();
        if self.events.is_some() {
            self.response.first_token = self.first_token.unwrap_or(self.response.first_byte);
        }
        Ok(self.response)
    }
}

/// Whether a chunk event brings text or a tool call: looked for, not parsed, since the sender's own cost counts too.
fn carries_text(event: &[u8]) -> bool {
    const CONTENT: &[u8] = b"\"content\":\"";
    let content = event.windows(CONTENT.len()).position(|window| window == CONTENT);
    let spoken = content.is_some_and(|at| event.get(at + CONTENT.len()).is_some_and(|byte| *byte != b'"'));
    spoken || event.windows(12).any(|window| window == b"\"tool_calls\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_strictly() {
        assert!(parse_head(b"HTTP/1.1 200 OK\r\ncontent-length: 2").is_ok_and(|head| head.status == 200));
        let wrong = [
            "HTP/1.1 200 OK",
            "HTTP/1.1 2x0 OK",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked",
            "HTTP/1.1 200 OK\r\nno colon",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip",
        ];
        for text in wrong {
            assert!(parse_head(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn chunks_are_read_strictly() {
        assert_eq!(chunk(b"3\r\nabc\r\n"), Ok(Some((3, 3, 8))));
        assert_eq!(chunk(b"0\r\n\r\n"), Ok(Some((0, 3, 5))));
        assert_eq!(chunk(b"3\r\nab"), Ok(None));
        for wrong in [&b"3\nabc\r\n"[..], b"g\r\n", b"\r\n", b"3\r\nabcde"] {
            assert!(chunk(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_first_token_is_the_first_text() {
        assert!(!carries_text(br#"data: {"choices":[{"delta":{"role":"assistant","content":""}}]}"#));
        assert!(carries_text(br#"data: {"choices":[{"delta":{"content":"a"}}]}"#));
        assert!(carries_text(br#"data: {"choices":[{"delta":{"tool_calls":[]}}]}"#));
    }
}
