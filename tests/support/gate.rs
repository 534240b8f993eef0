//! An upstream that answers nobody until it is told to, so that a test decides how many requests are under way at a time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A server that holds every request until it is opened, or lets some through.
pub struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    answer: Vec<u8>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    arrived: u64,
    /// How many may be answered, first come, first served.
    allowed: u64,
}

/// A short chat answer.
pub const SHORT_ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"Done."},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;

impl Gate {
    /// A closed gate that will answer with this JSON.
    pub fn closed(body: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let shared = Arc::new(Shared { answer: answer.into_bytes(), state: Mutex::default(), changed: Condvar::new() });
        let site = shared.clone();
        // Ends with the process of the test: nobody waits for it.
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let site = site.clone();
                std::thread::spawn(move || site.serve(connection));
            }
        });
        Self { address, shared }
    }

    /// What stands before `/chat/completions`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Requests that have come whole so far.
    pub fn arrived(&self) -> u64 {
        self.shared.state.lock().expect("no thread panics with the lock").arrived
    }

    /// Waits until so many have come; false if they did not in time.
    pub fn wait_arrived(&self, count: u64, at_most: Duration) -> bool {
        let state = self.shared.state.lock().expect("no thread panics with the lock");
        let waited = self.shared.changed.wait_timeout_while(state, at_most, |state| state.arrived < count);
        waited.expect("no thread panics with the lock").0.arrived >= count
    }

    /// Lets so many more be answered.
    pub fn let_through(&self, count: u64) {
        let mut state = self.shared.state.lock().expect("no thread panics with the lock");
        state.allowed = state.allowed.saturating_add(count);
        self.shared.changed.notify_all();
    }

    /// Lets all be answered from now on.
    pub fn open(&self) {
        self.let_through(u64::MAX);
    }
}

impl Shared {
    fn serve(&self, mut connection: TcpStream) {
        let mut input = Vec::new();
        while take_request(&mut connection, &mut input).is_some() {
            let mut state = self.state.lock().expect("no thread panics with the lock");
            let turn = state.arrived;
            state.arrived += 1;
            self.changed.notify_all();
            drop(
                self.changed.wait_while(state, |state| turn >= state.allowed).expect("no thread panics with the lock"),
            );
            if connection.write_all(&self.answer).is_err() {
                return;
            }
        }
    }
}

/// Reads one request with a `content-length` and forgets it; `None` when no more come.
fn take_request(connection: &mut TcpStream, input: &mut Vec<u8>) -> Option<()> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        if let Some(head) = input.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&input[..head]).to_ascii_lowercase();
            let length =
                text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
            let total = head + 4 + length.unwrap_or_default();
            if input.len() >= total {
                input.drain(..total);
                return Some(());
            }
        }
        match connection.read(&mut piece) {
            Ok(0) | Err(_) => return None,
            Ok(count) => input.extend_from_slice(&piece[..count]),
        }
    }
}
