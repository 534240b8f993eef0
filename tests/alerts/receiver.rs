//! A receiver of webhooks: takes requests, answers as it is told, and checks signatures by itself.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How a request is answered.
#[derive(Clone, Debug)]
pub enum Manner {
    /// With this status.
    Status(u16),
    /// With a redirect to here.
    Redirect(String),
    /// Never, for a long while.
    Hang,
    /// By closing.
    Close,
}

/// A message as it came.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: String,
    pub timestamp: String,
    pub signature: String,
    pub body: String,
}

pub struct Receiver {
    port: u16,
    heard: Arc<Mutex<Vec<Message>>>,
}

impl Receiver {
    /// `manner` says how the n-th request, from 0, is answered.
    pub fn start(manner: impl Fn(usize) -> Manner + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
        let port = listener.local_addr().expect("bound").port();
        let heard: Arc<Mutex<Vec<Message>>> = Arc::default();
        let (kept, manner) = (heard.clone(), Arc::new(manner));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (kept, manner) = (kept.clone(), manner.clone());
                thread::spawn(move || serve(stream, &kept, &*manner));
            }
        });
        Self { port, heard }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    pub fn heard(&self) -> Vec<Message> {
        self.heard.lock().expect("whole").clone()
    }

    /// What was heard, each message once, in the order in which they first came.
    pub fn distinct(&self) -> Vec<Message> {
        let mut found: Vec<Message> = Vec::new();
        for message in self.heard() {
            if !found.iter().any(|known| known.id == message.id) {
                found.push(message);
            }
        }
        found
    }
}

impl Message {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// Whether any of its signatures is of this secret, `whsec_…`, and how many there are.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        let bytes = STANDARD.decode(secret.strip_prefix("whsec_").expect("a secret")).expect("base64");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        let signed = format!("{}.{}.{}", self.id, self.timestamp, self.body);
        let mut signatures = self.signature.split(' ').filter_map(|part| part.strip_prefix("v1,"));
        signatures.any(|tag| hmac::verify(&key, signed.as_bytes(), &STANDARD.decode(tag).expect("base64")).is_ok())
    }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Vec<Message>>, manner: &dyn Fn(usize) -> Manner) {
    let Some(message) = read(&mut stream) else { return };
    let place = {
        let mut kept = kept.lock().expect("whole");
        kept.push(message);
        kept.len() - 1
    };
    let answer = match manner(place) {
        Manner::Status(status) => format!("HTTP/1.1 {status} Said\r\ncontent-length: 0\r\n\r\n"),
        Manner::Redirect(to) => format!("HTTP/1.1 307 There\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"),
        Manner::Hang => {
            thread::sleep(Duration::from_secs(60));
            return;
        }
        Manner::Close => return,
    };
    let _ = stream.write_all(answer.as_bytes());
}

fn read(stream: &mut TcpStream) -> Option<Message> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4_096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let field = |name: &str| {
                let fields = head.lines().filter_map(|line| line.split_once(':'));
                let mut values = fields.filter(|(known, _)| known.eq_ignore_ascii_case(name));
                values.next().map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
            };
            if body.len() >= field("content-length").parse().unwrap_or(0) {
                let (id, timestamp) = (field("webhook-id"), field("webhook-timestamp"));
                return Some(Message { id, timestamp, signature: field("webhook-signature"), body: body.to_owned() });
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
        }
    }
}
