//! An OpenTelemetry collector of the tests: takes what is posted, and can be slow, or of another mind.

use super::wire::{Field, Message};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One request.
#[derive(Clone, Debug)]
pub struct Posted {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// A collector; its thread ends with the process.
pub struct Collector {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    posted: Mutex<Vec<Posted>>,
    status: AtomicU16,
    silent: AtomicBool,
}

/// A span as it was received.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    pub kind: u64,
    pub start: u64,
    pub end: u64,
    pub attributes: BTreeMap<String, String>,
    pub status: u64,
    pub flags: u64,
}

impl Collector {
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (posted, status, silent) = (Mutex::default(), AtomicU16::new(200), AtomicBool::new(false));
        let shared = Arc::new(Shared { posted, status, silent });
        let site = shared.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let site = site.clone();
                std::thread::spawn(move || drop(serve(connection, &site)));
            }
        });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers with this status from now on.
    pub fn answer(&self, status: u16) {
        self.shared.status.store(status, Ordering::SeqCst);
    }

    /// Reads and answers nothing from now on.
    pub fn fall_silent(&self) {
        self.shared.silent.store(true, Ordering::SeqCst);
    }

    pub fn posted(&self, path: &str) -> Vec<Posted> {
        let posted = self.shared.posted.lock().expect("no thread panics with the lock");
        posted.iter().filter(|post| post.path == path).cloned().collect()
    }

    /// All spans that were taken.
    pub fn spans(&self) -> Vec<Span> {
        self.posted("/v1/traces").iter().flat_map(|post| spans_of(&post.body)).collect()
    }
}

fn serve(connection: TcpStream, shared: &Shared) -> std::io::Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut reader = BufReader::new(connection.try_clone()?);
    let (mut line, mut headers) = (String::new(), BTreeMap::new());
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    loop {
        let mut field = String::new();
        reader.read_line(&mut field)?;
        let Some((name, value)) = field.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if shared.silent.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_secs(60));
        return Ok(());
    }
    let status = shared.status.load(Ordering::SeqCst);
    if status == 200 {
        shared.posted.lock().expect("no thread panics with the lock").push(Posted { path, headers, body });
    }
    write!(
        &connection,
        "HTTP/1.1 {status} X\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
}

/// `ExportTraceServiceRequest` by its field numbers.
fn spans_of(body: &[u8]) -> Vec<Span> {
    let request = Message::read(body);
    let scopes = request.messages(1).into_iter().flat_map(|resource| resource.messages(2));
    let spans = scopes.flat_map(|scope| scope.messages(2));
    let span = |span: Message<'_>| Span {
        trace: hex(span.bytes(1)),
        id: hex(span.bytes(2)),
        parent: hex(span.bytes(4)),
        name: span.text(5),
        kind: span.whole(6),
        start: span.whole(7),
        end: span.whole(8),
        attributes: attributes(&span, 9),
        status: span.messages(15).first().map_or(0, |status| status.whole(3)),
        flags: span.whole(16),
    };
    spans.map(span).collect()
}

/// `KeyValue`s under a number, as texts.
pub fn attributes(message: &Message<'_>, number: u32) -> BTreeMap<String, String> {
    let pair = |pair: &Message<'_>| {
        let value = pair.message(2);
        let text = match (value.all(1).next(), value.all(2).next(), value.all(3).next(), value.double(4)) {
            (Some(Field::Bytes(text)), ..) => String::from_utf8_lossy(text).into_owned(),
            (_, Some(Field::Varint(truth)), ..) => (*truth == 1).to_string(),
            (_, _, Some(Field::Varint(whole)), _) => whole.to_string(),
            (.., Some(number)) => number.to_string(),
            _ => panic!("an attribute without a value: {pair:?}"),
        };
        (pair.text(1), text)
    };
    message.messages(number).iter().map(pair).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
