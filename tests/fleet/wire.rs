//! A wire between a gateway and its database that can be slow, cut, or dead without a word: a TCP proxy in this process.
//!
//! It passes bytes and knows nothing of what they mean. A delay is a delay and no narrower pipe: what is under way travels together.
//! Started inside of a network namespace (`Namespace::within`), it listens and connects there.

use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Pieces of up to [`PIECE_BYTES`] that one direction of a connection has under way before its sender is made to wait.
const PIECES: usize = 1024;
const PIECE_BYTES: usize = 16 * 1024;

/// What the wire does with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Whole,
    /// Connections are closed, and new ones as soon as they come.
    Cut,
    /// Nothing passes and nothing is closed; new connections are not answered.
    Hole,
    /// The wire is taken down.
    Down,
}

struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
    /// Each way, microseconds.
    delay_us: AtomicU64,
    connections: Mutex<Vec<Arc<Connection>>>,
    opened: AtomicU64,
    passed: AtomicU64,
}

/// The two sockets of one connection.
struct Connection {
    near: TcpStream,
    far: TcpStream,
    /// One direction has ended.
    half_closed: AtomicBool,
    closed: AtomicBool,
}

/// A wire; taken down when it is dropped.
pub struct Wire {
    shared: Arc<Shared>,
    address: SocketAddr,
    listener: Arc<TcpListener>,
    acceptor: Option<JoinHandle<()>>,
}

impl Wire {
    /// A wire from a free port of 127.0.0.1 to this address.
    pub fn to(target: SocketAddr) -> Self {
        Self::from(IpAddr::V4(Ipv4Addr::LOCALHOST), target)
    }

    /// A wire from a free port of an address.
    pub fn from(here: IpAddr, target: SocketAddr) -> Self {
        let listener = Arc::new(TcpListener::bind((here, 0)).expect("a free port"));
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            target,
            state: Mutex::new(State::Whole),
            changed: Condvar::new(),
            delay_us: AtomicU64::new(0),
            connections: Mutex::default(),
            opened: AtomicU64::new(0),
            passed: AtomicU64::new(0),
        });
        let acceptor = thread::spawn({
            let (shared, listener) = (shared.clone(), listener.clone());
            move || accept(&shared, &listener)
        });
        Self { shared, address, listener, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What arrives from now on is passed on so much later, in both directions.
    pub fn delay(&self, delay: Duration) {
        let delay_us = u64::try_from(delay.as_micros()).expect("less than an age");
        self.shared.delay_us.store(delay_us, Ordering::Relaxed);
    }

    /// Closes all connections, with what is under way, and every new one at once, as a server that went down.
    pub fn cut(&self) {
        self.shared.set(State::Cut);
        self.shared.close_all();
    }

    /// Passes nothing more and closes nothing, as a network that drops everything. A new connection is made, and nobody answers on it.
    pub fn hole(&self) {
        self.shared.set(State::Hole);
    }

    /// Passes again. What a hole held back arrives now, as what is sent again after a loss does.
    pub fn heal(&self) {
        self.shared.set(State::Whole);
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.shared.connections().iter().filter(|connection| !connection.is_closed()).count()
    }

    /// Connections that were ever made through it.
    pub fn opened(&self) -> u64 {
        self.shared.opened.load(Ordering::Relaxed)
    }

    /// Bytes that arrived at the other end, both directions together.
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::Relaxed)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.set(State::Down);
        self.shared.close_all();
        let _ = SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.shared.close_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        *self.state() = state;
        self.changed.notify_all();
    }

    fn close_all(&self) {
        self.connections().drain(..).for_each(|connection| connection.close());
        self.changed.notify_all();
    }

    /// Waits until something may pass, or this connection is closed.
    fn until_whole(&self, connection: &Connection) {
        let held = |state: &mut State| *state == State::Hole && !connection.is_closed();
        drop(self.changed.wait_while(self.state(), held).unwrap_or_else(PoisonError::into_inner));
    }
}

impl Connection {
    /// Where bytes of one direction come from and go to.
    fn ends(&self, towards_target: bool) -> (&TcpStream, &TcpStream) {
        if towards_target { (&self.near, &self.far) } else { (&self.far, &self.near) }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let _ = self.near.shutdown(Shutdown::Both);
        let _ = self.far.shutdown(Shutdown::Both);
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    loop {
        let accepted = listener.accept();
        let state = shared.changed.wait_while(shared.state(), |state| *state == State::Hole);
        let state = *state.unwrap_or_else(PoisonError::into_inner);
        match (state, accepted) {
            (State::Down, _) => return,
            (State::Whole, Ok((near, _))) => open(shared, near),
            _ => {}
        }
    }
}

/// Joins a new connection with one to the target; without one it is closed.
fn open(shared: &Arc<Shared>, near: TcpStream) {
    let Ok(far) = TcpStream::connect_timeout(&shared.target, Duration::from_secs(5)) else { return };
    for socket in [&near, &far] {
        let _ = socket.set_nodelay(true);
    }
    let connection =
        Arc::new(Connection { near, far, half_closed: AtomicBool::new(false), closed: AtomicBool::new(false) });
    shared.opened.fetch_add(1, Ordering::Relaxed);
    {
        let mut connections = shared.connections();
        connections.retain(|known| !known.is_closed());
        connections.push(connection.clone());
    }
    // A cut that came in between found it in no list.
    let state = *shared.state();
    if matches!(state, State::Cut | State::Down) {
        return connection.close();
    }
    for towards_target in [true, false] {
        let (sender, receiver) = sync_channel(PIECES);
        let (reading, reading_shared) = (connection.clone(), shared.clone());
        thread::spawn(move || read(&reading_shared, reading.ends(towards_target).0, &sender));
        let (writing, writing_shared) = (connection.clone(), shared.clone());
        thread::spawn(move || write(&writing_shared, &writing, towards_target, &receiver));
    }
}

/// Takes what comes, with the moment when it is due at the other end; an empty piece is the end.
fn read(shared: &Shared, mut from: &TcpStream, pieces: &SyncSender<(Instant, Vec<u8>)>) {
    let mut room = vec![0; PIECE_BYTES];
    loop {
        let length = from.read(&mut room).unwrap_or(0);
        let due = Instant::now() + Duration::from_micros(shared.delay_us.load(Ordering::Relaxed));
        if pieces.send((due, room[..length].to_vec())).is_err() || length == 0 {
            return;
        }
    }
}

fn write(shared: &Shared, connection: &Connection, towards_target: bool, pieces: &Receiver<(Instant, Vec<u8>)>) {
    let mut to = connection.ends(towards_target).1;
    for (due, piece) in pieces {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        shared.until_whole(connection);
        if connection.is_closed() {
            return;
        }
        if piece.is_empty() {
            let _ = to.shutdown(Shutdown::Write);
            // The second direction to end ends the connection.
            if connection.half_closed.swap(true, Ordering::AcqRel) {
                connection.close();
            }
            return;
        }
        if to.write_all(&piece).is_err() {
            return connection.close();
        }
        shared.passed.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
}
