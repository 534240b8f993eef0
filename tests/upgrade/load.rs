//! Clients of three kinds that never pause and remember every failure: connections that are kept, connections for one request, streams.

use crate::support::{Client, post, stream_of};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Served {
    pub kept_alive: u64,
    pub anew: u64,
    pub streams: u64,
    pub failures: Vec<String>,
}

/// The clients at work.
pub struct Load {
    over: Arc<AtomicBool>,
    served: Arc<Mutex<Served>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn on(address: SocketAddr) -> Self {
        let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Served::default())));
        let kinds: [fn(SocketAddr, &AtomicBool, &Mutex<Served>); 3] = [keep_alive, anew, streams];
        let clients = kinds.into_iter().flat_map(|kind| [kind, kind]).map(|kind| {
            let (over, served) = (over.clone(), served.clone());
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    kind(address, &over, &served);
                }
            })
        });
        Self { clients: clients.collect(), over, served }
    }

    pub fn let_flow(&self, time: Duration) {
        thread::sleep(time);
    }

    /// Lets what is under way end.
    pub fn end(self) -> Served {
        self.over.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a client does not panic");
        }
        self.served.lock().expect("nobody panicked").clone()
    }
}

fn note(served: &Mutex<Served>, outcome: Result<fn(&mut Served), String>) {
    let mut served = served.lock().expect("nobody panicked");
    match outcome {
        Ok(count) => count(&mut served),
        Err(failure) => served.failures.push(failure),
    }
}

fn body(content: &str) -> String {
    crate::support::chat(content)
}

/// One connection for as long as the gateway keeps it.
fn keep_alive(address: SocketAddr, over: &AtomicBool, served: &Mutex<Served>) {
    let mut client = match Client::try_connect(address) {
        Ok(client) => client,
        Err(error) => return note(served, Err(format!("kept: refused: {error}"))),
    };
    while !over.load(Ordering::Relaxed) {
        client.send(&post(&body("kept")));
        match client.try_answer() {
            Ok(answer) if answer.status == 200 && answer.whole => {
                note(served, Ok(|served| served.kept_alive += 1));
                if answer.header("connection") == Some("close") {
                    return;
                }
            }
            Ok(answer) => return note(served, Err(format!("kept: {} {}", answer.status, answer.text()))),
            Err(trouble) => return note(served, Err(format!("kept: {trouble}"))),
        }
        thread::sleep(Duration::from_millis(4));
    }
}

fn anew(address: SocketAddr, _over: &AtomicBool, served: &Mutex<Served>) {
    let outcome = Client::try_connect(address).map_err(|error| format!("anew: refused: {error}"));
    let outcome = outcome.and_then(|mut client| {
        client.send(&post(&body("anew")));
        match client.try_answer() {
            Ok(answer) if answer.status == 200 && answer.whole => Ok((|served| served.anew += 1) as fn(&mut Served)),
            Ok(answer) => Err(format!("anew: {} {}", answer.status, answer.text())),
            Err(trouble) => Err(format!("anew: {trouble}")),
        }
    });
    note(served, outcome);
    thread::sleep(Duration::from_millis(4));
}

fn streams(address: SocketAddr, _over: &AtomicBool, served: &Mutex<Served>) {
    let outcome = Client::try_connect(address).map_err(|error| format!("stream: refused: {error}"));
    let outcome = outcome.and_then(|mut client| {
        client.send(&post(&stream_of("streamed", r#","user":"sim:tokens=30;gap=20ms""#)));
        match client.try_answer() {
            Ok(answer) if answer.status == 200 && answer.whole && answer.body.ends_with(b"data: [DONE]\n\n") => {
                Ok((|served| served.streams += 1) as fn(&mut Served))
            }
            Ok(answer) => Err(format!("stream: {} {} {}", answer.status, answer.whole, answer.text())),
            Err(trouble) => Err(format!("stream: {trouble}")),
        }
    });
    note(served, outcome);
}
