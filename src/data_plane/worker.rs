//! One core at work: accepts connections, starts their sessions, and ends when it is told to.
//!
//! Draining (rule S1): listeners stop, idle connections close, exchanges in flight finish; then, at the application's word, what is left
//! is cut. The phase is polled by a slow tick, so that telling it needs no wake across threads.

use super::idempotency::Outcomes;
use super::per_core::{Core, Phase, PhaseSwitch, is_held};
use super::vitals::Vitals;
use super::{probes, ready, session};
use crate::board::Board;
use crate::domain::pressure::Stage;
use crate::ledger::Journal;
use crate::limits;
use crate::report::{CoreReports, HoldSeen};
use crate::rt::{self, Conn, Listener, Stop};
use crate::snapshot::Published;
use crate::tls::{Stream, Transport};
use std::cell::{Cell, RefCell};
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
    /// The journal of attempts, unless the owner wants none.
    pub journal: Option<Journal>,
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
    let core = Core::new(
        post.index,
        post.published,
        (post.reports, post.journal),
        post.board,
        post.phase,
        post.vitals,
        post.outcomes,
    );
    let door = Rc::new(Door::new(post.connections_max));
    for listener in post.listeners {
        match Listener::from_std(listener) {
            Ok(listener) => rt::spawn(accept(core.clone(), door.clone(), listener, door.open_listener())),
            Err(error) => eprintln!("igris: core {}: cannot accept connections: {error}", post.index),
        }
    }
    // One core asks for all.
    if core.index == 0 {
        rt::spawn(probes::run(core.clone()));
    }
    tick(&core, &door).await;
    core.steer.hand_over(&core.reports);
    core.leases.clear();
    core.pools.borrow_mut().clear();
    core.reports.gauges.drained.store(true, Ordering::Release);
}

/// Watches the phase and the room there is, and sweeps, until nothing is left to do.
async fn tick(core: &Rc<Core>, door: &Door) {
    let mut swept = Instant::now();
    let mut cut_at = None;
    loop {
        door.obey(core.hold_word(), &core.reports.gauges.hold_seen);
        let due = Instant::now() + limits::WORKER_TICK;
        rt::sleep(limits::WORKER_TICK).await;
        let now = Instant::now();
        core.steer.hand_over_due(&core.reports, now);
        core.leases.sweep_due(now);
        core.feel(due, now);
        ready::keep(core, now);
        if now.duration_since(swept) >= Duration::from_secs(1) {
            swept = now;
            core.sweep(now);
        }
        let phase = core.phase();
        if phase == Phase::Serving {
            continue;
        }
        door.shut();
        core.wake_sessions();
        if phase == Phase::Cutting {
            let since = *cut_at.get_or_insert(now);
            if now.duration_since(since) > limits::CUT_GRACE {
                return;
            }
        }
        // A connection whose handshake is under way, or that an ending accept may still bring, is inside as well.
        if core.session_count() == 0 && door.is_empty() {
            return;
        }
    }
}

async fn accept(core: Rc<Core>, door: Rc<Door>, listener: Listener, _open: OpenListener) {
    loop {
        // Whoever comes meanwhile waits in the kernel's queue (rule O2); at most one is already on its way in.
        while (core.stage() == Stage::Closed || door.held.get()) && !door.shut.get() {
            rt::sleep(limits::WORKER_TICK).await;
        }
        let stop = door.stop.borrow().clone();
        let armed = door.arm();
        let accepted = listener.accept(&stop).await;
        drop(armed);
        match accepted {
            // Nothing is on its way any more: for good, or until the hold is over.
            None if door.shut.get() => return,
            None => {}
            Some(Ok((conn, peer))) => {
                core.reports.gauges.connections_accepted.fetch_add(1, Ordering::Relaxed);
                // Refusing is closing: there is no room to talk about it.
                if let Some(place) = door.enter(&core, peer.ip()) {
                    rt::spawn(welcome(core.clone(), conn, place));
                }
            }
            // That one connection failed before it was ours.
            Some(Err(_)) => rt::sleep(limits::WORKER_TICK).await,
        }
    }
}

/// TLS where the listener has it, then the session.
async fn welcome(core: Rc<Core>, conn: Conn, place: Place) {
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
    session::run(core, transport, place.address, place.door.connections_max).await;
}

// ---- The door ---------------------------------------------------------------------------------------------------------------

/// Counts who is inside, in all and per client address, and lets nobody in while it is held or shut.
struct Door {
    connections_max: usize,
    by_address: RefCell<HashMap<IpAddr, u32>>,
    /// Connections inside, those in their handshake among them.
    inside: Cell<usize>,
    /// Listeners whose task has not ended.
    listeners: Cell<usize>,
    /// Accepts that are waited for.
    armed: Cell<usize>,
    /// Ends the accepts of this time; after a hold there is a new one.
    stop: RefCell<Stop>,
    held: Cell<bool>,
    shut: Cell<bool>,
}

/// One connection's place, given back when dropped.
struct Place {
    door: Rc<Door>,
    address: IpAddr,
}

/// A listener's task, or an accept, for as long as it lives.
struct Counted {
    door: Rc<Door>,
    of: fn(&Door) -> &Cell<usize>,
}

type OpenListener = Counted;

impl Counted {
    fn one(door: &Rc<Door>, of: fn(&Door) -> &Cell<usize>) -> Self {
        of(door).set(of(door).get() + 1);
        Self { door: door.clone(), of }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let count = (self.of)(&self.door);
        count.set(count.get().saturating_sub(1));
    }
}

impl Door {
    fn new(connections_max: usize) -> Self {
        Self {
            connections_max,
            by_address: RefCell::default(),
            inside: Cell::default(),
            listeners: Cell::default(),
            armed: Cell::default(),
            stop: RefCell::default(),
            held: Cell::default(),
            shut: Cell::default(),
        }
    }

    fn open_listener(self: &Rc<Self>) -> OpenListener {
        Counted::one(self, |door| &door.listeners)
    }

    fn arm(self: &Rc<Self>) -> Counted {
        Counted::one(self, |door| &door.armed)
    }

    /// Does what the word says, and repeats it once it is true: nothing is accepted after a hold was repeated.
    fn obey(&self, word: u32, seen: &HoldSeen) {
        let held = is_held(word);
        if held && !self.held.replace(held) {
            self.stop.replace(Stop::new()).stop();
        }
        self.held.set(held);
        if !held || self.armed.get() == 0 {
            seen.repeat(word);
        }
    }

    /// Accepts no more, for good.
    fn shut(&self) {
        self.shut.set(true);
        self.stop.borrow().stop();
    }

    /// Whether nobody is inside and nobody can come any more.
    fn is_empty(&self) -> bool {
        self.inside.get() == 0 && self.listeners.get() == 0
    }

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
        self.inside.set(self.inside.get() + 1);
        Some(Place { door: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.door.inside.set(self.door.inside.get().saturating_sub(1));
        let mut by_address = self.door.by_address.borrow_mut();
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}
