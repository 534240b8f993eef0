//! WebSockets by hand (RFC 6455), both sides of them: a scripted provider that takes sessions, and a client that opens one.
//!
//! Frames are written and read here bit by bit, so that the gateway's own reading of the standard is checked against another.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::SOON;

/// Opcodes (RFC 6455 §5.2).
pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The key of RFC 6455 §1.3, whose proof the standard states.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// Its proof.
pub const PROOF: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A frame as it was on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub last: bool,
    pub opcode: u8,
    pub mask: Option<[u8; 4]>,
    /// Unmasked.
    pub payload: Vec<u8>,
}

/// The bytes of a frame, masked if there is a mask.
pub fn frame(last: bool, opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let flag = if mask.is_some() { 0x80 } else { 0 };
    let mut out = vec![opcode | if last { 0x80 } else { 0 }];
    match payload.len() {
        short @ 0..=125 => out.push(flag | short as u8),
        middle @ 126..=65_535 => {
            out.push(flag | 126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(flag | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend(mask.into_iter().flatten());
    let key = mask.unwrap_or_default();
    out.extend(payload.iter().enumerate().map(|(place, byte)| byte ^ key[place % 4]));
    out
}

/// The payload of a close frame.
pub fn goodbye(status: u16, reason: &str) -> Vec<u8> {
    [&status.to_be_bytes(), reason.as_bytes()].concat()
}

/// One side of a session.
pub struct Peer {
    stream: TcpStream,
    input: Vec<u8>,
    /// What every frame of this side is masked with.
    mask: Option<[u8; 4]>,
}

impl Peer {
    /// Sends a frame.
    pub fn send(&mut self, last: bool, opcode: u8, payload: &[u8]) {
        let bytes = frame(last, opcode, payload, self.mask);
        self.send_bytes(&bytes);
    }

    /// Sends a message of one frame of text.
    pub fn say(&mut self, text: &str) {
        self.send(true, TEXT, text.as_bytes());
    }

    /// Sends whatever it is.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next frame; nothing if the other side closes the connection.
    pub fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = parse(&self.input) {
                self.input.drain(..length);
                return Some(frame);
            }
            let mut room = [0; 65_536];
            match self.stream.read(&mut room) {
                Ok(0) => return None,
                Ok(count) => self.input.extend_from_slice(&room[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error} after {:?}", self.input),
            }
        }
    }

    /// The next frame, which must be there.
    #[track_caller]
    pub fn frame(&mut self) -> Frame {
        self.next().expect("the connection is open")
    }

    /// Whether nothing more comes and the other side closes.
    pub fn is_closed(&mut self) -> bool {
        self.next().is_none()
    }
}

fn parse(input: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (input.first()?, input.get(1)?);
    assert_eq!(first & 0x70, 0, "a reserved bit is set");
    let (length, start) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(input.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(input.get(2..10)?.try_into().ok()?) as usize, 10),
        short => (usize::from(short), 2),
    };
    let masked = second & 0x80 != 0;
    let mask: Option<[u8; 4]> = if masked { Some(input.get(start..start + 4)?.try_into().ok()?) } else { None };
    let start = start + if masked { 4 } else { 0 };
    let key = mask.unwrap_or_default();
    let payload = input.get(start..start + length)?.iter().enumerate().map(|(place, byte)| byte ^ key[place % 4]);
    let frame = Frame { last: first & 0x80 != 0, opcode: first & 0x0f, mask, payload: payload.collect() };
    Some((frame, start + length))
}

// ---- The client's side ----------------------------------------------------------------------------------------------------

/// The head of a handshake; `fields` are further whole header lines.
pub fn handshake(path: &str, fields: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {KEY}\r\n{fields}\r\n"
    )
    .into_bytes()
}

/// Opens a session: the answer's head, and the session if it is a 101.
pub fn open(address: SocketAddr, request: &[u8]) -> (String, Peer) {
    let mut stream = TcpStream::connect(address).expect("it takes connections");
    stream.set_read_timeout(Some(SOON)).expect("a timeout above zero can be set");
    stream.set_nodelay(true).expect("a TCP socket");
    stream.write_all(request).expect("it reads");
    let (head, input) = read_head(&mut stream);
    (head, Peer { stream, input, mask: Some([0x37, 0xfa, 0x21, 0x3d]) })
}

/// Reads a head; whatever came behind it is the second part.
fn read_head(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let (mut bytes, mut room) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return (String::from_utf8(bytes).expect("a head is text"), rest);
        }
        match stream.read(&mut room) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&room[..count]),
            other => panic!("no head: {other:?} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
}

/// The value of a field in a head.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

// ---- The provider's side --------------------------------------------------------------------------------------------------

/// A provider that takes handshakes and hands each session, with the head that opened it, to the test.
pub struct Sessions {
    address: SocketAddr,
    opened: Receiver<(String, Peer)>,
    thread: Option<JoinHandle<()>>,
}

/// How a provider answers a handshake.
#[derive(Clone)]
pub enum Manner {
    /// As the standard has it, with further whole header lines.
    Proper(&'static str),
    /// With a proof that is none.
    Unproven,
    /// With these bytes.
    Instead(String),
}

impl Sessions {
    /// A provider of this manner.
    pub fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (tell, opened) = channel();
        let thread = std::thread::spawn(move || accept(&listener, &manner, &tell));
        Self { address, opened, thread: Some(thread) }
    }

    /// What stands before `/realtime`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The next session.
    #[track_caller]
    pub fn next(&self) -> (String, Peer) {
        self.opened.recv_timeout(SOON).expect("a session is opened")
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        let (_, closed) = channel();
        self.opened = closed;
        let _ = TcpStream::connect(self.address).map(|mut stream| stream.write_all(b"\r\n\r\n"));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, manner: &Manner, tell: &Sender<(String, Peer)>) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(15)));
        let (head, input) = read_head(&mut stream);
        let Some(key) = field(&head, "sec-websocket-key") else { return };
        let proof = if matches!(manner, Manner::Unproven) { PROOF.to_owned() } else { proof_of(key) };
        let fields = if let Manner::Proper(fields) = manner { fields } else { "" };
        let answer = match manner {
            Manner::Instead(answer) => answer.clone(),
            _ => format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {proof}\r\n{fields}\r\n"
            ),
        };
        let _ = stream.write_all(answer.as_bytes());
        if tell.send((head, Peer { stream, input, mask: None })).is_err() {
            return;
        }
    }
}

/// What proves that a key was read (RFC 6455 §4.2.2).
pub fn proof_of(key: &str) -> String {
    use base64::Engine as _;
    let digest = sha1(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    base64::engine::general_purpose::STANDARD.encode(digest)
}

/// SHA-1 (FIPS 180-4 §6.1), of the standard's own few lines.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks_exact(64) {
        let mut words: Vec<u32> =
            block.chunks_exact(4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]])).collect();
        for place in 16..80 {
            let word = words[place - 3] ^ words[place - 8] ^ words[place - 14] ^ words[place - 16];
            words.push(word.rotate_left(1));
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (place, word) in words.iter().enumerate() {
            let (mixed, constant) = match place / 20 {
                0 => ((b & c) | (!b & d), 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e).wrapping_add(constant).wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut out = [0; 20];
    for (four, word) in out.chunks_exact_mut(4).zip(state) {
        four.copy_from_slice(&word.to_be_bytes());
    }
    out
}
