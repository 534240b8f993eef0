//! A client of bytes for the simulator's tests: it sends exactly what it is told and reads exactly what comes.
//!
//! Transcripts are whole requests and answers under `transcripts/`, byte for byte but for fields that tell the time. Set
//! `IGRIS_WRITE_TRANSCRIPTS=1` to record them anew, and read the difference before it is committed.
#![allow(dead_code, reason = "every test file uses its own part")]

use igris_load::Simulator;
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

/// Longer than anything here takes.
pub const SOON: Duration = Duration::from_secs(5);

/// An answer as it came.
pub struct Reply {
    pub raw: Vec<u8>,
    pub status: u16,
    pub head: String,
    /// The body without its chunks.
    pub body: Vec<u8>,
    /// Whether the body had its end.
    pub whole: bool,
    /// Whether the connection ended in a reset.
    pub reset: bool,
}

/// A request in the making.
#[derive(Clone)]
pub struct Request {
    line: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request without a body.
    pub fn new(method: &str, path: &str) -> Self {
        Self { line: format!("{method} {path}"), fields: Vec::new(), body: Vec::new() }
    }

    /// A POST of JSON.
    pub fn post(path: &str, body: &Value) -> Self {
        Self::new("POST", path).field("content-type", "application/json").body(body.to_string())
    }

    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same without this field.
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = format!("{} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\n", self.line);
        for (name, value) in &self.fields {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        out.push_str(&format!("content-length: {}\r\n\r\n", self.body.len()));
        let mut out = out.into_bytes();
        out.extend_from_slice(&self.body);
        out
    }

    /// Sends it on a connection of its own and reads to the end.
    pub fn send(&self, simulator: &Simulator) -> Reply {
        exchange(simulator, &self.bytes())
    }

    /// Sends it on a connection of its own and leaves that open.
    pub fn open(&self, simulator: &Simulator) -> Open {
        let mut stream = TcpStream::connect(simulator.addr()).expect("the simulator listens");
        stream.write_all(&self.bytes()).expect("the simulator reads");
        Open(stream)
    }

    /// Sends it and compares both sides with the transcript of this name.
    pub fn transcript(&self, simulator: &Simulator, name: &str) -> Reply {
        let reply = self.send(simulator);
        compare(&format!("{name}.request"), &self.bytes());
        compare(&format!("{name}.answer"), &timeless(&reply.raw));
        reply
    }
}

/// Sends bytes on a connection of their own, and reads until the other side closes it.
pub fn exchange(simulator: &Simulator, bytes: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(simulator.addr()).expect("the simulator listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout can be set");
    stream.write_all(bytes).expect("the simulator reads");
    let mut raw = Vec::new();
    let mut room = [0; 4096];
    let reset = loop {
        match stream.read(&mut room) {
            Ok(0) => break false,
            Ok(read) => raw.extend_from_slice(&room[..read]),
            Err(reason) if reason.kind() == ErrorKind::ConnectionReset => break true,
            Err(reason) => panic!("{reason}; so far {:?}", String::from_utf8_lossy(&raw)),
        }
    };
    Reply::read(raw, reset)
}

/// A connection whose answer is read bit by bit.
pub struct Open(TcpStream);

impl Open {
    /// Reads until what was read since the call fits.
    pub fn read_until(&mut self, fits: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        self.0.set_read_timeout(Some(SOON)).expect("a timeout can be set");
        let mut found = Vec::new();
        let mut room = [0; 1];
        while !fits(&found) {
            match self.0.read(&mut room) {
                Ok(1..) => found.push(room[0]),
                other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&found)),
            }
        }
        found
    }

    /// Whether nothing comes for so long, not even an end.
    pub fn is_silent(&mut self, how_long: Duration) -> bool {
        self.0.set_read_timeout(Some(how_long)).expect("a timeout can be set");
        let blocked = |reason: std::io::Error| matches!(reason.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        self.0.read(&mut [0; 1]).is_err_and(blocked)
    }
}

impl Reply {
    fn read(raw: Vec<u8>, reset: bool) -> Self {
        let split = raw.windows(4).position(|four| four == b"\r\n\r\n").map_or(raw.len(), |at| at + 4);
        let head = String::from_utf8_lossy(&raw[..split]).into_owned();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let (body, whole) = if head.contains("transfer-encoding: chunked") {
            unchunk(&raw[split..])
        } else {
            let length = format!("content-length: {}\r\n", raw.len() - split);
            (raw[split..].to_vec(), head.contains(&length))
        };
        Self { raw, status, head, body, whole, reset }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|reason| panic!("{reason}: {}{}", self.head, self.text()))
    }

    /// The value of a field of the head.
    pub fn field(&self, name: &str) -> Option<&str> {
        let start = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(start.as_str()))
    }

    /// The events of a stream: name, if any, and data.
    pub fn events(&self) -> Vec<(String, Value)> {
        assert_eq!(self.status, 200, "{}{}", self.head, self.text());
        assert!(self.head.contains("content-type: text/event-stream"), "{}", self.head);
        let text = self.text().replace("\r\n", "\n");
        let events = text.split("\n\n").filter(|event| !event.is_empty()).map(|event| {
            let line = |start| event.lines().find_map(|line: &str| line.strip_prefix(start));
            let data = line("data: ").unwrap_or_else(|| panic!("{event:?}"));
            let name = line("event: ").unwrap_or_default().to_owned();
            (name, serde_json::from_str(data).unwrap_or_else(|_| Value::from(data)))
        });
        events.collect()
    }
}

/// Undoes the chunked coding; the second value is false if its end is missing.
fn unchunk(mut body: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    while let Some(line) = body.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&body[..line]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.expect("a chunk size");
        let rest = &body[line + 2..];
        if size == 0 {
            return (out, rest == b"\r\n");
        }
        let Some(data) = rest.get(..size) else { break };
        out.extend_from_slice(data);
        body = rest[size..].strip_prefix(b"\r\n").expect("a chunk ends in CRLF");
    }
    (out, false)
}

/// Fields of heads that tell the time.
const CLOCKS: [&str; 2] = ["openai-processing-ms: ", "-reset: "];

/// The bytes of an answer with every clock stopped.
fn timeless(raw: &[u8]) -> Vec<u8> {
    let split = raw.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(raw.len());
    let head = String::from_utf8_lossy(&raw[..split]);
    let still = head.split("\r\n").map(|line| match CLOCKS.iter().find_map(|clock| line.split_once(clock)) {
        Some((start, _)) => format!("{start}-clock: stopped"),
        None => line.to_owned(),
    });
    let mut out = still.collect::<Vec<_>>().join("\r\n").into_bytes();
    out.extend_from_slice(&raw[split..]);
    out
}

fn compare(name: &str, found: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(name);
    if std::env::var_os("IGRIS_WRITE_TRANSCRIPTS").is_some() {
        std::fs::write(&path, found).expect("the transcripts can be written");
    }
    let known = std::fs::read(&path).unwrap_or_else(|reason| panic!("{}: {reason}", path.display()));
    assert!(known == found, "{name} differs:\n{}\n", String::from_utf8_lossy(found));
}

/// `base` with the members of `extra` set; null takes a member away.
pub fn with(base: &Value, extra: &Value) -> Value {
    let mut out = base.clone();
    for (name, value) in extra.as_object().expect("an object of fields") {
        match value {
            Value::Null => drop(out.as_object_mut().expect("an object").remove(name)),
            value => out[name] = value.clone(),
        }
    }
    out
}
