//! An upstream that answers with exactly the bytes it is told, for what a well-behaved simulator would never send.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A server that answers each request with the next line of its script; the last one again and again.
pub struct Scripted {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Makes an answer of a request, head and body.
type Says = Box<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

struct Shared {
    says: Option<Says>,
    answer: Mutex<Vec<u8>>,
    heard: Mutex<Vec<u8>>,
    connections: AtomicU64,
    requests: AtomicU64,
    stop: AtomicBool,
}

impl Scripted {
    /// A server that answers with these bytes.
    pub fn start(answer: &[u8]) -> Self {
        Self::of(answer, None)
    }

    /// A server that makes its answer of each request, head and body.
    pub fn answering(says: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::of(b"", Some(Box::new(says)))
    }

    fn of(answer: &[u8], says: Option<Says>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            says,
            answer: Mutex::new(answer.to_vec()),
            heard: Mutex::new(Vec::new()),
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let site = shared.clone();
        let thread = std::thread::spawn(move || accept(&listener, &site));
        Self { address, shared, thread: Some(thread) }
    }

    /// Answers with these bytes from now on.
    pub fn say(&self, answer: &[u8]) {
        *self.shared.answer.lock().expect("no thread panics with the lock") = answer.to_vec();
    }

    /// The last request, head and body.
    pub fn heard(&self) -> String {
        String::from_utf8_lossy(&self.shared.heard.lock().expect("no thread panics with the lock")).into_owned()
    }

    /// What stands before `/chat/completions`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The body of the request read last.
    pub fn last_body(&self) -> Vec<u8> {
        let heard = self.shared.heard.lock().expect("no thread panics with the lock");
        let head_end = heard.windows(4).position(|four| four == b"\r\n\r\n").map_or(heard.len(), |end| end + 4);
        heard[head_end..].to_vec()
    }

    /// Requests read so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let shared = shared.clone();
        std::thread::spawn(move || serve(stream, &shared));
    }
}

/// Answers requests on one connection; an answer that says `connection: close` is its last one.
fn serve(mut stream: TcpStream, shared: &Shared) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(15)));
    let mut input = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut input) {
        let said = shared.says.as_ref().map(|says| says(&String::from_utf8_lossy(&request)));
        *shared.heard.lock().expect("no thread panics with the lock") = request;
        shared.requests.fetch_add(1, Ordering::SeqCst);
        let answer = said.unwrap_or_else(|| shared.answer.lock().expect("no thread panics with the lock").clone());
        if stream.write_all(&answer).is_err() || answer.windows(17).any(|part| part == b"connection: close") {
            return;
        }
    }
}

/// Reads one request with a length; nothing if the connection ended.
fn read_request(stream: &mut TcpStream, input: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut room = [0; 8192];
    loop {
        if let Some(end) = input.windows(4).position(|part| part == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&input[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let whole = end + 4 + length.map_or(0, |digits| digits.trim().parse().unwrap_or(0));
            if input.len() >= whole {
                return Some(input.drain(..whole).collect());
            }
        }
        match stream.read(&mut room) {
            Ok(read) if read > 0 => input.extend_from_slice(&room[..read]),
            _ => return None,
        }
    }
}
