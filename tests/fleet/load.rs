//! Clients that never pause and remember every failure.
//!
//! A client of one machine is strict: whatever is no whole answer with status 200 is a failure. A client of several does what a client
//! behind a balancer does: where a connection is refused, or breaks before an answer, it goes to the next machine; it fails when none
//! answers, and on any answer that is not 200.

use super::machine::{Door, Machine};
use crate::support::{Client, chat, post};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What a client waits between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(4);

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// Requests with a whole answer of status 200.
    pub answered: u64,
    /// Tries that went on to the next machine.
    pub moved: u64,
    /// Requests without, each with when it was and why.
    pub failures: Vec<String>,
    /// From sending to the whole answer, for those that were answered, in the order in which they ended.
    pub latencies: Vec<Duration>,
}

impl Served {
    /// The latency that so large a share of the requests did not exceed; zero without requests.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort();
        let last = sorted.len().saturating_sub(1);
        sorted.get((share * last as f64).round() as usize).copied().unwrap_or_default()
    }
}

/// The clients at work.
pub struct Load {
    over: Arc<AtomicBool>,
    served: Arc<Mutex<Served>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// So many clients of these machines, each sending a chat every few milliseconds. Client `n` begins at machine `n`, modulo their number.
    pub fn on(machines: &[&Machine], clients: usize) -> Self {
        Self::with(machines, clients, PAUSE, |number| post(&chat(&format!("request {number}"))))
    }

    /// The same with a request of one's own; its argument is a number that no other request of this load has.
    pub fn with(
        machines: &[&Machine],
        clients: usize,
        pause: Duration,
        request: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        assert!(!machines.is_empty(), "a client has a machine");
        let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Served::default())));
        let doors: Arc<[Arc<Door>]> = machines.iter().map(|machine| machine.door()).collect();
        let request = Arc::new(request);
        let began = Instant::now();
        let client = |first: usize| {
            let (over, served, doors, request) = (over.clone(), served.clone(), doors.clone(), request.clone());
            thread::spawn(move || {
                let mut caller = Caller { doors, at: first, connection: None, moved: 0 };
                for round in 0_u64.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let number = round * clients as u64 + first as u64;
                    let asked = Instant::now();
                    let outcome = caller.ask(&request(number));
                    note(&served, began, asked, std::mem::take(&mut caller.moved), outcome);
                    thread::sleep(pause);
                }
            })
        };
        let clients = (0..clients).map(client).collect();
        Self { over, served, clients }
    }

    /// What has come of it so far.
    pub fn so_far(&self) -> Served {
        locked(&self.served).clone()
    }

    /// Lets what is under way end.
    pub fn end(mut self) -> Served {
        self.over.store(true, Ordering::Relaxed);
        for client in std::mem::take(&mut self.clients) {
            client.join().expect("a client does not panic");
        }
        let served = locked(&self.served).clone();
        println!(
            "{} answered, {} moved, {} failed; p50 {:?}, p99 {:?}",
            served.answered,
            served.moved,
            served.failures.len(),
            served.quantile(0.5),
            served.quantile(0.99)
        );
        served
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// One client with the connection that it keeps.
struct Caller {
    doors: Arc<[Arc<Door>]>,
    at: usize,
    connection: Option<Client>,
    moved: u64,
}

impl Caller {
    fn ask(&mut self, request: &[u8]) -> Result<(), String> {
        let mut troubles = Vec::new();
        for _ in 0..self.doors.len() {
            let machine = self.at % self.doors.len();
            match self.try_ask(machine, request) {
                Ok(outcome) => return outcome,
                Err(trouble) => troubles.push(format!("door {machine}: {trouble}")),
            }
            self.at += 1;
            self.moved += u64::from(self.doors.len() > 1);
        }
        Err(troubles.join("; "))
    }

    /// An answer and what it is worth, or that there was none.
    fn try_ask(&mut self, machine: usize, request: &[u8]) -> Result<Result<(), String>, String> {
        let mut client = match self.connection.take() {
            Some(client) => client,
            None => self.doors[machine].connect().map_err(|error| format!("refused: {error}"))?,
        };
        client.send(request);
        let answer = client.try_answer()?;
        if answer.status != 200 {
            return Ok(Err(format!("status {}: {}", answer.status, answer.text())));
        }
        if !answer.whole {
            return Ok(Err(format!("cut: {}", answer.text())));
        }
        if answer.header("connection") != Some("close") {
            // What a client keeps of its past would grow with the test.
            client.received.clear();
            self.connection = Some(client);
        }
        Ok(Ok(()))
    }
}

fn note(served: &Mutex<Served>, began: Instant, asked: Instant, moved: u64, outcome: Result<(), String>) {
    let mut served = locked(served);
    served.moved += moved;
    match outcome {
        Ok(()) => {
            served.answered += 1;
            served.latencies.push(asked.elapsed());
        }
        Err(why) => served.failures.push(format!("after {:?}: {why}", began.elapsed())),
    }
}

fn locked(served: &Mutex<Served>) -> MutexGuard<'_, Served> {
    served.lock().unwrap_or_else(PoisonError::into_inner)
}
