//! Frames by hand, for what no library sends.

use crate::support::SOON;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const PROTOCOL_ERROR: u32 = 1;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// One frame that came.
#[derive(Debug, Clone)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The reason in a reset or a GOAWAY.
    pub fn reason(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }
}

/// A connection on which the preface and empty settings were said.
pub struct Raw {
    tcp: TcpStream,
    received: Vec<u8>,
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Fields as literals that no table keeps (RFC 7541 §6.2.2), without Huffman.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        text(&mut bytes, name);
        text(&mut bytes, value);
    }
    bytes
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    let mut left = text.len();
    if left < 127 {
        bytes.push(left as u8);
    } else {
        bytes.push(127);
        left -= 127;
        while left >= 128 {
            bytes.push((left % 128) as u8 | 128);
            left /= 128;
        }
        bytes.push(left as u8);
    }
    bytes.extend_from_slice(text.as_bytes());
}

/// The pseudo-header fields of a request, and more fields behind them.
pub fn request<'a>(method: &'a str, path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![(":method", method), (":scheme", "http"), (":authority", "gateway"), (":path", path)];
    fields.extend_from_slice(more);
    fields
}

impl Raw {
    pub fn open(address: SocketAddr) -> Raw {
        Raw::open_with(address, &[])
    }

    /// With these settings.
    pub fn open_with(address: SocketAddr, settings: &[(u16, u32)]) -> Raw {
        let tcp = TcpStream::connect(address).expect("it listens");
        tcp.set_nodelay(true).expect("a TCP socket");
        tcp.set_write_timeout(Some(SOON)).expect("a TCP socket");
        let mut raw = Raw { tcp, received: Vec::new() };
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend_from_slice(&name.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend_from_slice(&frame(SETTINGS, 0, 0, &payload));
        assert!(raw.send(&bytes));
        raw
    }

    /// Whether the other side still took it.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.tcp.write_all(bytes).is_ok()
    }

    /// A whole head in one frame.
    pub fn head(&mut self, stream: u32, flags: u8, fields: &[(&str, &str)]) -> bool {
        self.send(&frame(HEADERS, flags | END_HEADERS, stream, &block(fields)))
    }

    /// The next frame; `None` at the end of the connection.
    pub fn next(&mut self, patience: Duration) -> Option<Frame> {
        let end = Instant::now() + patience;
        loop {
            if let Some(frame) = self.parse() {
                return Some(frame);
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "neither a frame nor an end within {patience:?}");
            self.tcp.set_read_timeout(Some(left)).expect("a TCP socket");
            let mut room = [0; 16 * 1024];
            match self.tcp.read(&mut room) {
                Ok(0) => return None,
                Ok(count) => self.received.extend_from_slice(&room[..count]),
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                }
                Err(_) => return None,
            }
        }
    }

    fn parse(&mut self) -> Option<Frame> {
        let head: [u8; 9] = self.received.get(..9)?.try_into().expect("nine bytes");
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = self.received.get(9..9 + length)?.to_vec();
        self.received.drain(..9 + length);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads until a frame of this kind comes.
    pub fn wait_for(&mut self, kind: u8) -> Frame {
        self.wait_for_any(&[kind])
    }

    /// Reads until a frame of one of these kinds comes.
    pub fn wait_for_any(&mut self, kinds: &[u8]) -> Frame {
        loop {
            let frame = self.next(SOON).unwrap_or_else(|| panic!("the connection ended before a frame of {kinds:?}"));
            if kinds.contains(&frame.kind) {
                return frame;
            }
        }
    }

    /// Reads to the connection's end, within so long; all frames that came.
    pub fn until_end(&mut self, patience: Duration) -> Vec<Frame> {
        std::iter::from_fn(|| self.next(patience)).collect()
    }
}
