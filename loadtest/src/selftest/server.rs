//! A server that does what its script says and writes down when it truly did it: the known truth of the self-test.
//!
//! Plain threads and blocking sockets, one thread a connection, so that it shares nothing with the engine it is the truth for.
//! Instants are taken right after a request was read and right before bytes are written.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What the server does.
pub(super) struct Script {
    /// How long it thinks about the request of this number, from 0.
    pub(super) delay: Box<dyn Fn(u64) -> Duration + Send + Sync>,
    /// Events of an answer that is a stream, and the time between two; none answers whole.
    pub(super) stream: Option<(u32, Duration)>,
    /// Stands wholly still once.
    pub(super) stall: Option<Stall>,
}

/// A stand-still of the whole server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    /// When it begins, from the first request's arrival.
    pub(super) after: Duration,
    /// How long it lasts.
    pub(super) length: Duration,
}

impl Script {
    /// Whole answers after always the same time.
    pub(super) fn fixed(delay: Duration) -> Self {
        Self { delay: Box::new(move |_| delay), stream: None, stall: None }
    }
}

/// What the server did with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Served {
    /// Its number in the order of arrival, from 0.
    pub(super) number: u64,
    /// From the request's last byte read to the first token about to be written, nanoseconds.
    pub(super) first: u64,
    /// ... to the last byte about to be written.
    pub(super) last: u64,
    /// Between two tokens.
    pub(super) gaps: Vec<u64>,
}

struct Site {
    script: Script,
    arrivals: AtomicU64,
    start: Mutex<Option<Instant>>,
    served: Mutex<Vec<Served>>,
    stopping: AtomicBool,
}

/// The server at work; it ends when dropped.
pub(super) struct Server {
    address: SocketAddr,
    site: Arc<Site>,
    acceptor: Option<JoinHandle<()>>,
}

/// Connections at once.
const CONNECTIONS_MAX: usize = 512;
/// How often a silent connection looks whether the server is to end.
const LOOK: Duration = Duration::from_millis(50);

impl Server {
    /// Listens on a free loopback port.
    pub(super) fn start(script: Script) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let site = Arc::new(Site {
            script,
            arrivals: AtomicU64::new(0),
            start: Mutex::default(),
            served: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let of_acceptor = Arc::clone(&site);
        let acceptor = thread::Builder::new().name("truth".into()).spawn(move || accept(&listener, &of_acceptor))?;
        Ok(Self { address, site, acceptor: Some(acceptor) })
    }

    /// What a plan names.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it did so far, in the order of arrival.
    pub(super) fn served(&self) -> Vec<Served> {
        let mut served = self.site.served.lock().unwrap_or_else(PoisonError::into_inner).clone();
        served.sort_by_key(|served| served.number);
        served
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.site.stopping.store(true, Ordering::Relaxed);
        // The acceptor waits for a connection: here is one.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
    }
}

fn accept(listener: &TcpListener, site: &Arc<Site>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for socket in listener.incoming() {
        if site.stopping.load(Ordering::Relaxed) {
            break;
        }
        threads.retain(|thread| !thread.is_finished());
        let Ok(socket) = socket else { continue };
        if threads.len() >= CONNECTIONS_MAX {
            continue;
        }
        let site = Arc::clone(site);
        // Little stack: there may be hundreds.
        let thread = thread::Builder::new().name("truth".into()).stack_size(128 * 1024);
        threads.extend(thread.spawn(move || drop(converse(socket, &site))));
    }
    for thread in threads {
        drop(thread.join());
    }
}

/// One connection, until its client leaves.
fn converse(mut socket: TcpStream, site: &Site) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(LOOK))?;
    let mut input = Vec::new();
    while read_request(&mut socket, &mut input, site)? {
        let arrived = Instant::now();
        let number = site.arrivals.fetch_add(1, Ordering::Relaxed);
        thread::sleep((site.script.delay)(number));
        site.stand_still(arrived);
        let served = answer(&mut socket, &site.script, number, arrived)?;
        site.served.lock().unwrap_or_else(PoisonError::into_inner).push(served);
    }
    socket.shutdown(Shutdown::Both)
}

impl Site {
    /// Sleeps until the stall is over, for whoever arrived in it.
    fn stand_still(&self, arrived: Instant) {
        let Some(stall) = self.script.stall else { return };
        let start = *self.start.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(arrived);
        let (from, until) = (start + stall.after, start + stall.after + stall.length);
        if (from..until).contains(&arrived) {
            thread::sleep(until.saturating_duration_since(Instant::now()));
        }
    }
}

/// Reads one request and takes it out of `input`; false when the client has left or the server ends.
fn read_request(socket: &mut TcpStream, input: &mut Vec<u8>, site: &Site) -> io::Result<bool> {
    let mut room = [0; 16 * 1024];
    loop {
        if let Some(length) = request_length(input) {
            input.drain(..length);
            return Ok(true);
        }
        match socket.read(&mut room) {
            Ok(0) => return Ok(false),
            Ok(count) => input.extend_from_slice(&room[..count]),
            Err(reason)
                if matches!(reason.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) =>
            {
                if site.stopping.load(Ordering::Relaxed) {
                    return Ok(false);
                }
            }
            Err(reason) => return Err(reason),
        }
    }
}

/// The length of the first request, head and body, once it is whole.
fn request_length(input: &[u8]) -> Option<usize> {
    let head = memchr::memmem::find(input, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&input[..head]).ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let whole = head + length.unwrap_or(0);
    (input.len() >= whole).then_some(whole)
}

fn answer(socket: &mut TcpStream, script: &Script, number: u64, arrived: Instant) -> io::Result<Served> {
    let since = |at: Instant| u64::try_from(at.duration_since(arrived).as_nanos()).unwrap_or(u64::MAX);
    let Some((events, gap)) = script.stream else {
        let body = format!(
            "{{\"id\":\"truth-{number}\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[{{\"index\":0,\
             \"message\":{{\"role\":\"assistant\",\"content\":\"Yes.\"}},\"finish_reason\":\"stop\"}}],\
             \"usage\":{{\"prompt_tokens\":9,\"completion_tokens\":2,\"total_tokens\":11}}}}"
        );
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        let at = since(Instant::now());
        socket.write_all((head + &body).as_bytes())?;
        return Ok(Served { number, first: at, last: at, gaps: Vec::new() });
    };
    let mut bytes =
        String::from("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut stamps = Vec::with_capacity(events as usize);
    let mut due = Instant::now();
    for _ in 0..events.max(1) {
        if !stamps.is_empty() {
            due += gap;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        bytes.push_str(&chunk(
            "{\"id\":\"truth\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\
             \"choices\":[{\"index\":0,\"delta\":{\"content\":\"word \"},\"finish_reason\":null}]}",
        ));
        stamps.push(since(Instant::now()));
        socket.write_all(bytes.as_bytes())?;
        bytes.clear();
    }
    let end = "{\"id\":\"truth\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\
               \"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}";
    let last = since(Instant::now());
    socket.write_all((chunk(end) + &chunk("[DONE]") + "0\r\n\r\n").as_bytes())?;
    let gaps = stamps.windows(2).map(|pair| pair[1] - pair[0]).collect();
    Ok(Served { number, first: stamps[0], last, gaps })
}

fn chunk(data: &str) -> String {
    let event = format!("data: {data}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(socket: &mut TcpStream) {
        socket
            .write_all(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
            .expect("it listens");
    }

    #[test]
    fn it_sleeps_as_told_and_writes_down_what_it_did() {
        let server = Server::start(Script::fixed(Duration::from_millis(5))).expect("a loopback port");
        let mut socket = TcpStream::connect(server.address).expect("it listens");
        let start = Instant::now();
        ask(&mut socket);
        let mut bytes = [0; 4096];
        let count = socket.read(&mut bytes).expect("an answer");
        let took = u64::try_from(start.elapsed().as_nanos()).expect("a short time");
        assert!(bytes[..count].starts_with(b"HTTP/1.1 200 OK\r\n"));
        // It notes what it did after it did it.
        while server.served().is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
        let served = server.served();
        assert_eq!((served.len(), served[0].number), (1, 0));
        assert!((5_000_000..=took).contains(&served[0].first), "{served:?} of {took}");
    }

    #[test]
    fn streams_end_and_their_gaps_are_written_down() {
        let script = Script { stream: Some((3, Duration::from_millis(2))), ..Script::fixed(Duration::ZERO) };
        let server = Server::start(script).expect("a loopback port");
        let mut socket = TcpStream::connect(server.address).expect("it listens");
        ask(&mut socket);
        let mut answer = Vec::new();
        while !answer.ends_with(b"data: [DONE]\n\n\r\n0\r\n\r\n") {
            let mut bytes = [0; 4096];
            let count = socket.read(&mut bytes).expect("an answer");
            assert!(count > 0, "it ended early: {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&bytes[..count]);
        }
        while server.served().is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
        let served = &server.served()[0];
        assert_eq!(served.gaps.len(), 2);
        // Later gaps make up for a late wake-up, so that only their sum has a floor.
        assert!(served.first <= served.last && served.gaps.iter().sum::<u64>() >= 3_000_000, "{served:?}");
    }
}
