//! One core at work: accepts connections, starts their sessions, and ends when it is told to.
//!
//! Draining (rule S1): listeners stop, idle connections close, exchanges in flight finish; then, at the application's word, what is left
//! is cut. The phase is polled by a slow tick, so that telling it needs no wake across threads.

use super::idempotency::Outcomes;
use super::per_core::{Core, Phase, PhaseSwitch};
use super::vitals::Vitals;
use super::{probes, session};
use crate::board::Board;
use crate::domain::pressure::Stage;
use crate::limits;
use crate::report::CoreReports;
use crate::rt::{self, Conn, Listener, Stop};
use crate::snapshot::Published;
use crate::tls::{Stream, Transport};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What a worker is started with.
pub struct Post {
    /// Which core.
    pub index: usize,
    /// Sockets to accept on, one per address.
    pub listeners: Vec<TcpListener>,
    /// Where snapshots come from.
    pub published: Published,
    /// Where reports go.
    pub reports: Arc<CoreReports>,
    /// What the cores tell each other.
    pub board: Arc<Board>,
    /// Where the process is on its way down.
    pub phase: PhaseSwitch,
    /// What the process uses of the machine.
    pub vitals: Arc<Vitals>,
    /// What requests with a key of their client's came to, on all cores.
    pub outcomes: Arc<Outcomes>,
    /// Connections this core takes at a time.
    pub connections_max: usize,
}

/// Works until drained.
pub async fn run(post: Post) {
    let core = Core::new(post.index, post.published, post.reports, post.board, post.phase, post.vitals, post.outcomes);
    let stop = Stop::new();
    let door = Rc::new(Door { connections_max: post.connections_max, by_address: RefCell::default() });
    for listener in post.listeners {
        match Listener::from_std(listener) {
            Ok(listener) => rt::spawn(accept(core.clone(), door.clone(), listener, stop.clone())),
            Err(error) => eprintln!("igris: core {}: cannot accept connections: {error}", post.index),
        }
    }
    // One core asks for all.
    if core.index == 0 {
        rt::spawn(probes::run(core.clone()));
    }
    tick(&core, &stop).await;
    core.steer.hand_over(&core.reports);
    core.pools.borrow_mut().clear();
    core.reports.gauges.drained.store(true, Ordering::Release);
}

/// Watches the phase and the room there is, and sweeps, until nothing is left to do.
async fn tick(core: &Rc<Core>, stop: &Stop) {
    let mut swept = Instant::now();
    let mut cut_at = None;
    loop {
        let due = Instant::now() + limits::WORKER_TICK;
        rt::sleep(limits::WORKER_TICK).await;
        let now = Instant::now();
        core.steer.hand_over_due(&core.reports, now);
        core.feel(due, now);
        if now.duration_since(swept) >= Duration::from_secs(1) {
            swept = now;
            core.sweep(now);
        }
        let phase = core.phase();
        if phase == Phase::Serving {
            continue;
        }
        stop.stop();
        core.wake_sessions();
        if phase == Phase::Cutting {
            let since = *cut_at.get_or_insert(now);
            if now.duration_since(since) > limits::CUT_GRACE {
                return;
            }
        }
        if core.session_count() == 0 {
            return;
        }
    }
}

async fn accept(core: Rc<Core>, door: Rc<Door>, listener: Listener, stop: Stop) {
    loop {
        // Whoever comes meanwhile waits in the kernel's queue (rule O2); at most one is already on its way in.
        while core.stage() == Stage::Closed && !stop.is_stopped() {
            rt::sleep(limits::WORKER_TICK).await;
        }
        let Some(accepted) = listener.accept(&stop).await else { return };
        match accepted {
            Ok((conn, peer)) => {
                core.reports.gauges.connections_accepted.fetch_add(1, Ordering::Relaxed);
                // Refusing is closing: there is no room to talk about it.
                if let Some(place) = door.enter(&core, peer.ip()) {
                    rt::spawn(welcome(core.clone(), conn, place));
                }
            }
            // That one connection failed before it was ours.
            Err(_) => rt::sleep(limits::WORKER_TICK).await,
        }
    }
}

/// TLS where the listener has it, then the session.
async fn welcome(core: Rc<Core>, conn: Conn, _place: Place) {
    let snapshot = core.snapshot();
    let config = snapshot.listener_tls.clone();
    let transport = match config {
        None => Transport::from(conn),
        Some(config) => {
            let deadline = Instant::now() + snapshot.settings.tls_handshake;
            let Ok(mut stream) = Stream::server(conn, config) else { return };
            match rt::with_deadline(deadline, stream.handshake()).await {
                Ok(Ok(())) => Transport::from(stream),
                _ => return,
            }
        }
    };
    session::run(core, transport).await;
}

// ---- The door ---------------------------------------------------------------------------------------------------------------

/// Counts who is inside, in all and per client address.
struct Door {
    connections_max: usize,
    by_address: RefCell<HashMap<IpAddr, u32>>,
}

/// One connection's place, given back when dropped.
struct Place {
    door: Rc<Door>,
    address: IpAddr,
}

impl Door {
    fn enter(self: &Rc<Self>, core: &Core, address: IpAddr) -> Option<Place> {
        if core.session_count() >= self.connections_max {
            return None;
        }
        let mut by_address = self.by_address.borrow_mut();
        let count = by_address.entry(address).or_default();
        // The sidecar's own application comes from loopback with as many connections as it likes.
        if *count >= limits::CONNECTIONS_PER_ADDRESS_MAX && !address.is_loopback() {
            return None;
        }
        *count += 1;
        Some(Place { door: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_address = self.door.by_address.borrow_mut();
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}
