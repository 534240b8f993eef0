//! A plain HTTP/1.1 client over a blocking socket: sends the bytes it is given, reads one answer at a time, and knows whether it was whole.
//!
//! It adds nothing and repairs nothing. Any byte of an answer that is not HTTP/1.1 as RFC 9112 has it fails the test.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// What a client may read from and write to.
trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// One connection.
pub struct Client {
    wire: Box<dyn Wire>,
    /// The same socket, for what only a socket can do.
    tcp: Option<TcpStream>,
    input: Vec<u8>,
    /// Everything received so far, for tests that look for what must not be there.
    pub received: Vec<u8>,
}

/// A whole answer, or as much of it as came.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// Without transfer coding.
    pub body: Vec<u8>,
    /// Whether the body ended as its framing says; false where the connection was cut.
    pub whole: bool,
}

/// One server-sent event with the moment its last byte came.
#[derive(Clone, Debug)]
pub struct Event {
    pub at: Instant,
    /// From its first byte to its empty line.
    pub bytes: Vec<u8>,
}

/// An answer read as a stream of events.
#[derive(Debug)]
pub struct Stream {
    pub answer: Answer,
    pub events: Vec<Event>,
}

enum Framing {
    Nothing,
    Length(usize),
    Chunked,
    Close,
}

/// Patience of a read; longer than any deadline that a test waits for.
const PATIENCE: Duration = Duration::from_secs(15);

impl Client {
    /// Connects over TCP.
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("{address} does not take connections: {error}"))
    }

    /// Connects over TCP, or says why not.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let tcp = TcpStream::connect_timeout(&address, PATIENCE)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { wire: Box::new(tcp.try_clone()?), tcp: Some(tcp), input: Vec::new(), received: Vec::new() })
    }

    /// Connects over a Unix socket.
    pub fn unix(path: &Path) -> io::Result<Self> {
        let socket = UnixStream::connect(path)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { wire: Box::new(socket), tcp: None, input: Vec::new(), received: Vec::new() })
    }

    /// Takes over a stream that is encrypted over `tcp`.
    pub fn over(wire: impl Read + Write + Send + 'static, tcp: TcpStream) -> Self {
        Self { wire: Box::new(wire), tcp: Some(tcp), input: Vec::new(), received: Vec::new() }
    }

    /// Sends bytes. A peer that has stopped reading is no failure here: its answer says why.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.wire.write_all(bytes).and_then(|()| self.wire.flush());
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, bytes: &[u8]) -> Answer {
        self.send(bytes);
        self.answer()
    }

    /// Reads the next answer that is no interim one.
    pub fn answer(&mut self) -> Answer {
        loop {
            let answer = self.next_answer();
            if answer.status >= 200 {
                return answer;
            }
        }
    }

    /// Reads the next answer, interim ones included.
    pub fn next_answer(&mut self) -> Answer {
        self.read_answer(true, |_, _| {}).unwrap_or_else(|trouble| panic!("no answer: {trouble}"))
    }

    /// Reads the answer to a HEAD request: there is no body whatever the head says.
    pub fn answer_to_head(&mut self) -> Answer {
        self.read_answer(false, |_, _| {}).unwrap_or_else(|trouble| panic!("no answer: {trouble}"))
    }

    /// Reads an answer, or says that the connection was closed or reset before its head was whole.
    pub fn try_answer(&mut self) -> Result<Answer, String> {
        self.read_answer(true, |_, _| {})
    }

    /// Reads an answer as events.
    pub fn stream(&mut self) -> Stream {
        let (mut events, mut open) = (Vec::new(), Vec::new());
        let answer = self.read_answer(true, |bytes, at| {
            open.extend_from_slice(bytes);
            while let Some(end) = end_of_event(&open) {
                events.push(Event { at, bytes: open.drain(..end).collect() });
            }
        });
        let answer = answer.unwrap_or_else(|trouble| panic!("no answer: {trouble}"));
        if !open.is_empty() {
            events.push(Event { at: Instant::now(), bytes: open });
        }
        Stream { answer, events }
    }

    /// Reads whatever comes until the other side closes.
    pub fn read_to_close(&mut self) -> Vec<u8> {
        while self.fill().unwrap_or(false) {}
        std::mem::take(&mut self.input)
    }

    /// Reads at least so many bytes, whatever they are.
    pub fn read_bytes(&mut self, least: usize) -> Vec<u8> {
        while self.input.len() < least {
            assert!(self.fill().expect("bytes are on their way"), "closed after {} bytes", self.input.len());
        }
        std::mem::take(&mut self.input)
    }

    /// Whether the other side closes within `patience`, and nothing more comes before that.
    pub fn closes_within(&mut self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        if !self.input.is_empty() {
            return false;
        }
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.set_patience(left);
            let filled = self.fill();
            self.set_patience(PATIENCE);
            match filled {
                Ok(false) => return true,
                Ok(true) => return false,
                Err(error) if is_patience(&error) => {}
                // A reset is a way to close, too.
                Err(_) => return true,
            }
        }
    }

    /// Whether an answer, or the end, begins to arrive within `patience`.
    pub fn is_readable(&mut self, patience: Duration) -> bool {
        if !self.input.is_empty() {
            return true;
        }
        self.set_patience(patience);
        let filled = self.fill();
        self.set_patience(PATIENCE);
        !matches!(filled, Err(error) if is_patience(&error))
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&mut self) {
        if let Some(tcp) = &self.tcp {
            let _ = tcp.shutdown(Shutdown::Write);
        }
    }

    fn set_patience(&mut self, patience: Duration) {
        if let Some(tcp) = &self.tcp {
            tcp.set_read_timeout(Some(patience)).expect("a timeout above zero can be set");
        }
    }

    /// Reads once; false at the end of the stream.
    fn fill(&mut self) -> io::Result<bool> {
        let mut room = [0; 16 * 1024];
        let read = loop {
            match self.wire.read(&mut room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // TLS that ends without its goodbye is an end.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break 0,
                other => break other?,
            }
        };
        self.input.extend_from_slice(&room[..read]);
        self.received.extend_from_slice(&room[..read]);
        Ok(read > 0)
    }

    fn read_answer(&mut self, body: bool, mut on_data: impl FnMut(&[u8], Instant)) -> Result<Answer, String> {
        let head_end = loop {
            if let Some(end) = find(&self.input, b"\r\n\r\n") {
                break end;
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return Err(format!("closed after {:?}", String::from_utf8_lossy(&self.input))),
                Err(error) => return Err(format!("{error} after {:?}", String::from_utf8_lossy(&self.input))),
            }
        };
        let head: Vec<u8> = self.input.drain(..head_end + 4).take(head_end).collect();
        let mut answer = parse_head(&head);
        let framing = if body { framing(&answer) } else { Framing::Nothing };
        let mut keep = |bytes: &[u8], answer: &mut Answer| {
            on_data(bytes, Instant::now());
            answer.body.extend_from_slice(bytes);
        };
        answer.whole = match framing {
            Framing::Nothing => true,
            Framing::Length(length) => self.read_length(length, &mut |bytes| keep(bytes, &mut answer)),
            Framing::Chunked => self.read_chunks(&mut |bytes| keep(bytes, &mut answer)),
            Framing::Close => self.read_to_end(&mut |bytes| keep(bytes, &mut answer)),
        };
        Ok(answer)
    }

    fn read_length(&mut self, mut left: usize, keep: &mut dyn FnMut(&[u8])) -> bool {
        loop {
            let here = left.min(self.input.len());
            keep(&self.input[..here]);
            self.input.drain(..here);
            left -= here;
            if left == 0 {
                return true;
            }
            if !self.more() {
                return false;
            }
        }
    }

    fn read_chunks(&mut self, keep: &mut dyn FnMut(&[u8])) -> bool {
        loop {
            let Some(line_end) = self.until(b"\r\n") else { return false };
            let line: Vec<u8> = self.input.drain(..line_end + 2).take(line_end).collect();
            let digits = String::from_utf8(line).expect("a chunk size is text");
            let size = usize::from_str_radix(&digits, 16).unwrap_or_else(|_| panic!("{digits:?} is no chunk size"));
            while self.input.len() < size + 2 {
                if !self.more() {
                    return false;
                }
            }
            assert_eq!(&self.input[size..size + 2], b"\r\n", "chunk data must end with CR LF");
            if size > 0 {
                keep(&self.input[..size]);
            }
            self.input.drain(..size + 2);
            if size == 0 {
                return true;
            }
        }
    }

    fn read_to_end(&mut self, keep: &mut dyn FnMut(&[u8])) -> bool {
        loop {
            keep(&self.input);
            self.input.clear();
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return true,
                Err(_) => return false,
            }
        }
    }

    fn until(&mut self, mark: &[u8]) -> Option<usize> {
        loop {
            match find(&self.input, mark) {
                Some(place) => return Some(place),
                None if self.more() => {}
                None => return None,
            }
        }
    }

    /// Reads more of an answer; false if it was cut. Silence is a failure of the test.
    fn more(&mut self) -> bool {
        match self.fill() {
            Ok(more) => more,
            Err(error) if is_patience(&error) => {
                panic!("the answer stood still; so far {:?}", String::from_utf8_lossy(&self.received))
            }
            Err(_) => false,
        }
    }
}

impl Answer {
    /// The value of the only field of this name; a field that comes twice fails the test.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let first = values.next();
        assert_eq!(values.next(), None, "{name} comes twice in {:?}", self.headers);
        first
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// `error.code` of the body.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// `error.message` of the body.
    pub fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }

    /// Fails unless this is a fault of this status and code in the shape that OpenAI clients read.
    #[track_caller]
    pub fn must_be_fault(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert!(self.whole, "the fault was cut: {}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"), "{:?}", self.headers);
        assert!(self.header("x-request-id").is_some_and(|id| id.len() >= 8), "{:?}", self.headers);
        let body = self.json();
        let error = body["error"].as_object().unwrap_or_else(|| panic!("no error object: {}", self.text()));
        for member in ["message", "type", "param", "code"] {
            assert!(error.contains_key(member), "no {member} in {}", self.text());
        }
        assert_eq!(error["code"], code, "{}", self.text());
        assert!(error["message"].as_str().is_some_and(|text| text.len() > 10), "{}", self.text());
    }
}

/// Cuts a body into its events, each with its empty line.
pub fn events_of(body: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = body;
    let mut events = Vec::new();
    while let Some(end) = end_of_event(rest) {
        events.push(rest[..end].to_vec());
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        events.push(rest.to_vec());
    }
    events
}

fn end_of_event(bytes: &[u8]) -> Option<usize> {
    // Google separates its events by CR LF.
    let ends = [find(bytes, b"\n\n").map(|place| place + 2), find(bytes, b"\r\n\r\n").map(|place| place + 4)];
    ends.into_iter().flatten().min()
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}

fn is_patience(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn parse_head(head: &[u8]) -> Answer {
    let text = std::str::from_utf8(head).expect("a head is text");
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let rest = status_line.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("{status_line:?} is no status line"));
    let status = rest.get(..3).and_then(|code| code.parse().ok()).expect("a status of three digits");
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{line:?} is no header field"));
        assert!(!name.is_empty() && !name.contains([' ', '\t']), "{line:?} has no proper name");
        assert!(!value.contains(['\r', '\n', '\0']), "{line:?} has a control character");
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Answer { status, headers, body: Vec::new(), whole: false }
}

fn framing(answer: &Answer) -> Framing {
    if matches!(answer.status, 100..200 | 204 | 304) {
        return Framing::Nothing;
    }
    match (answer.header("content-length"), answer.header("transfer-encoding")) {
        (Some(_), Some(_)) => panic!("both framings: {:?}", answer.headers),
        (Some(length), None) => Framing::Length(length.parse().expect("a length is a number")),
        (None, Some(coding)) => {
            assert_eq!(coding, "chunked");
            Framing::Chunked
        }
        (None, None) => Framing::Close,
    }
}
