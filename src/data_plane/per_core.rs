//! What one core owns: its view of the snapshot, its upstream pools, its report queue, its clock and its dice.
//!
//! Nothing here is shared with another core but the snapshot itself and the report queue, which only this core fills.

use super::allowance::Leases;
use super::budget::Budget;
use super::fairness::Fairness;
use super::idempotency::Outcomes;
use super::lineups::Lineups;
use super::overload::{Lag, Loads, Overload, percent};
use super::steer::Steering;
use super::upstream::Pools;
use super::vitals::Vitals;
use crate::board::Board;
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AttemptId, RequestId};
use crate::domain::pressure::{ShedReason, Stage};
use crate::ledger::Journal;
use crate::limits;
use crate::metering::answer::Answer;
use crate::metering::mould::Recall;
use crate::metering::usage::Accounting;
use crate::report::CoreReports;
use crate::snapshot::{ProviderIx, Published, Snapshot};
use crate::tls::{self, ClientConfig};
use arc_swap::Cache;
use slab::Slab;
use std::cell::{Cell, Ref, RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime};

/// How far the process is on its way down (rule S1). Stored in one byte that every core polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Taking requests.
    Serving = 0,
    /// Another process accepts at the same addresses: as draining, but idle connections stay for one more request, and who asks whether
    /// the gateway is ready hears that it is (rule S2).
    Leaving = 1,
    /// No new connections, `connection: close` on answers, exchanges in flight finish.
    Draining = 2,
    /// What is still there is cut.
    Cutting = 3,
}

/// The phase, as the application sets it.
#[derive(Clone, Default)]
pub struct PhaseSwitch(Arc<Words>);

/// What all cores read with every request, on cache lines of its own: what stands beside it in memory may be written all the time.
#[derive(Default)]
#[repr(align(128))]
struct Words {
    phase: AtomicU8,
    /// Odd while no core is to accept, also though the process serves; grows with every change.
    hold: AtomicU32,
}

impl PhaseSwitch {
    /// The current phase.
    pub fn phase(&self) -> Phase {
        match self.0.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Leaving,
            2 => Phase::Draining,
            _ => Phase::Cutting,
        }
    }

    /// Moves on; a phase never goes back.
    pub fn advance(&self, phase: Phase) {
        self.0.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }

    /// Tells the cores to stop accepting for now, or to go on. Answers the word that each of them repeats in its gauge
    /// [`hold_seen`](crate::report::CoreGauges::hold_seen) once it does.
    pub fn hold(&self, held: bool) -> u32 {
        let changed = |hold: u32| (is_held(hold) != held).then(|| hold.wrapping_add(1));
        match self.0.hold.fetch_update(Ordering::AcqRel, Ordering::Acquire, changed) {
            Ok(before) => before.wrapping_add(1),
            Err(same) => same,
        }
    }

    /// The last word about accepting.
    pub fn hold_word(&self) -> u32 {
        self.0.hold.load(Ordering::Acquire)
    }
}

/// Whether a word about accepting says not to.
pub fn is_held(word: u32) -> bool {
    word % 2 == 1
}

/// A snapshot in the hands of one core: the inner count is shared with other cores and moves once a publication, the outer one is the
/// core's own and moves with every exchange.
pub type Loaded = Rc<Arc<Snapshot>>;

/// One core's world. Lives in an `Rc`: sessions of this core share it, nobody else can.
pub struct Core {
    /// Which core, from 0.
    pub index: usize,
    /// Where closed attempts and gauges go.
    pub reports: Arc<CoreReports>,
    /// The journal of attempts, unless the owner wants none.
    pub journal: Option<Journal>,
    /// Unused upstream connections.
    pub pools: RefCell<Pools>,
    /// What this core knows of the lanes.
    pub steer: Steering,
    /// What it has taken in advance of limits and budgets.
    pub leases: Leases,
    /// Who could serve the names that are asked for.
    pub lineups: Lineups,
    /// The last answers, by the place of their providers in the snapshot.
    recalls: RefCell<Vec<Recall>>,
    /// Exchanges under way by tenant.
    pub fairness: Fairness,
    /// Bytes held for bodies.
    pub bodies: Rc<Budget>,
    /// What requests with a key of their client's came to, on all cores.
    pub outcomes: Arc<Outcomes>,
    overload: Cell<Overload>,
    lag: Cell<Lag>,
    vitals: Arc<Vitals>,
    phase: PhaseSwitch,
    cache: RefCell<Cache<Published, Arc<Snapshot>>>,
    current: RefCell<Loaded>,
    dice: RefCell<fastrand::Rng>,
    date: RefCell<DateLine>,
    sessions: RefCell<Slab<Option<Waker>>>,
    in_flight: Cell<usize>,
    /// Answers that are read to their end although their clients have gone.
    pub(super) drains: Cell<usize>,
    /// TLS settings of the snapshot, each with this core's own session cache.
    tls: RefCell<Vec<(Arc<ClientConfig>, Arc<ClientConfig>)>>,
}

struct DateLine {
    second: u64,
    text: Rc<str>,
}

impl Core {
    /// A core at its start, with where its attempts are told of: the queue, and the journal if there is one.
    pub fn new(
        index: usize,
        published: Published,
        (reports, journal): (Arc<CoreReports>, Option<Journal>),
        board: Arc<Board>,
        phase: PhaseSwitch,
        vitals: Arc<Vitals>,
        outcomes: Arc<Outcomes>,
    ) -> Rc<Self> {
        let mut cache = Cache::new(published);
        let current = Rc::new(cache.load().clone());
        let steer = Steering::new(board);
        steer.adopt(&current.settings.routing);
        let lineups = Lineups::default();
        lineups.adopt(&current);
        Rc::new(Self {
            lineups,
            index,
            reports,
            journal,
            pools: RefCell::new(Pools::default()),
            steer,
            leases: Leases::new(vitals.cores()),
            recalls: RefCell::default(),
            fairness: Fairness::default(),
            bodies: Rc::default(),
            outcomes,
            overload: Cell::default(),
            lag: Cell::default(),
            vitals,
            phase,
            cache: RefCell::new(cache),
            current: RefCell::new(current),
            dice: RefCell::new(fastrand::Rng::new()),
            date: RefCell::new(DateLine { second: 0, text: Rc::from("") }),
            sessions: RefCell::new(Slab::new()),
            in_flight: Cell::new(0),
            drains: Cell::new(0),
            tls: RefCell::default(),
        })
    }

    /// The snapshot to serve one exchange from.
    pub fn snapshot(&self) -> Loaded {
        let mut cache = self.cache.borrow_mut();
        let latest = cache.load();
        let mut current = self.current.borrow_mut();
        if !Arc::ptr_eq(latest, &current) {
            // Before the snapshot that it was made from goes.
            self.lineups.adopt(latest);
            *current = Rc::new(latest.clone());
            self.steer.adopt(&current.settings.routing);
        }
        current.clone()
    }

    /// The snapshot as it was looked at last, for what need not be of this very moment. Not to be held while something is waited for.
    pub fn latest(&self) -> Ref<'_, Loaded> {
        self.current.borrow()
    }

    /// How far the process is on its way down.
    pub fn phase(&self) -> Phase {
        self.phase.phase()
    }

    /// The last word about accepting; see [`PhaseSwitch::hold`].
    pub fn hold_word(&self) -> u32 {
        self.phase.hold_word()
    }

    /// A fresh exchange id. Uniqueness matters here, secrecy does not.
    pub fn request_id(&self) -> RequestId {
        RequestId::from_bits(self.dice.borrow_mut().u128(..))
    }

    /// A fresh attempt id.
    pub fn attempt_id(&self) -> AttemptId {
        AttemptId::from_bits(self.dice.borrow_mut().u128(..))
    }

    /// A number below `bound`, which must not be 0.
    pub fn roll(&self, bound: u64) -> u64 {
        self.dice.borrow_mut().u64(..bound)
    }

    /// What an answer in OpenAI's shape says of its usage, read by the last one of its provider if it is like that.
    pub fn read_answer(&self, provider: ProviderIx, body: &[u8], accounting: Accounting) -> Answer {
        let mut recalls = self.recalls.borrow_mut();
        let place = usize::from(provider.0);
        if recalls.len() <= place {
            recalls.resize_with(place + 1, Recall::default);
        }
        recalls[place].read(body, accounting)
    }

    /// The core's dice, for draws that are more than a number. Not to be held while something is waited for.
    pub fn dice(&self) -> RefMut<'_, fastrand::Rng> {
        self.dice.borrow_mut()
    }

    /// The `Date` of a moment that is about now (RFC 9110 §6.6.1), formatted once a second.
    pub fn date(&self, at: UnixMillis) -> Rc<str> {
        let second = at.0 / 1_000;
        let mut line = self.date.borrow_mut();
        if line.second != second {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            *line = DateLine { second, text: Rc::from(httpdate::fmt_http_date(time)) };
        }
        line.text.clone()
    }

    /// Whether one more exchange may begin: not if the core is shedding, nor if its records would have no room in the report queue or in the
    /// journal, nor while the disk does not take them (rules O3, L4, L8). Its place is taken by its [`Seat`](super::fairness::Seat), once it is known whose it is.
    ///
    /// # Errors
    /// Why it is turned away.
    pub fn admit(&self) -> Result<(), ShedReason> {
        if self.is_shedding() {
            return Err(ShedReason::Strain(self.overload.get().pressure().strain));
        }
        let exchanges = self.in_flight.get() + 1;
        if !self.reports.has_room(exchanges, limits::ATTEMPTS_BOOKED_MAX as usize) {
            return Err(ShedReason::Reports);
        }
        match &self.journal {
            Some(journal) if !journal.has_room(exchanges) => Err(ShedReason::Ledger),
            _ => Ok(()),
        }
    }

    /// One exchange more is under way.
    pub fn begin_exchange(&self) {
        self.count_in_flight(self.in_flight.get() + 1);
    }

    /// One is over.
    pub fn end_exchange(&self) {
        self.count_in_flight(self.in_flight.get().saturating_sub(1));
    }

    /// How much room there is.
    pub fn stage(&self) -> Stage {
        self.overload.get().pressure().stage
    }

    /// Whether new requests are turned away; nothing is repeated or raced meanwhile (rule Q2).
    pub fn is_shedding(&self) -> bool {
        self.stage() >= Stage::Shedding
    }

    /// A tick that was due at one instant and came at another: judges anew how much room there is.
    pub fn feel(&self, due: Instant, now: Instant) {
        let mut lag = self.lag.get();
        lag.note(due, now);
        self.lag.set(lag);
        self.vitals.refresh(now);
        let (was, loads) = (self.stage(), self.overload.get().loads());
        self.judge(Loads {
            memory: self.vitals.memory_percent(self.snapshot().settings.memory_bytes_max),
            descriptors: self.vitals.descriptors_percent(),
            lag: lag.percent(),
            ..loads
        });
        if was < Stage::Tight && self.stage() >= Stage::Tight {
            self.sweep(now);
        }
    }

    /// Bytes that bodies may take on this core.
    pub fn body_bytes_max(&self) -> u64 {
        let memory = self.latest().settings.memory_bytes_max.unwrap_or(self.vitals.memory_bytes_max());
        memory / 100 * limits::BODY_SHARE_PERCENT / self.vitals.cores()
    }

    fn count_in_flight(&self, count: usize) {
        self.in_flight.set(count);
        let places = self.latest().settings.exchanges_per_core_max;
        let (in_flight, known) = (percent(count as u64, places as u64), self.overload.get().loads());
        // The same loads are judged the same.
        if in_flight != known.in_flight {
            self.judge(Loads { in_flight, ..known });
        }
    }

    fn judge(&self, loads: Loads) {
        let mut overload = self.overload.get();
        overload.judge(loads);
        self.overload.set(overload);
        self.steer.retries.allow(overload.pressure().stage < Stage::Shedding);
        self.reports.gauges.overload.store(overload.pressure().pack(), Ordering::Relaxed);
    }

    /// Enters a session in the list of those to wake when the phase changes.
    pub fn enter_session(self: &Rc<Self>) -> SessionPlace {
        let place = self.sessions.borrow_mut().insert(None);
        SessionPlace { core: self.clone(), place }
    }

    /// Wakes every idle session, so that it sees the new phase.
    pub fn wake_sessions(&self) {
        let wakers: Vec<Waker> = self.sessions.borrow_mut().iter_mut().filter_map(|(_, slot)| slot.take()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Sessions open.
    pub fn session_count(&self) -> usize {
        self.sessions.borrow().len()
    }

    /// The same TLS settings with a session cache of this core, so that cores do not meet at its lock.
    pub fn tls_config(&self, shared: &Arc<ClientConfig>) -> Arc<ClientConfig> {
        let mut known = self.tls.borrow_mut();
        if let Some((_, own)) = known.iter().find(|(source, _)| Arc::ptr_eq(source, shared)) {
            return own.clone();
        }
        let own = tls::per_core(shared);
        known.push((shared.clone(), own.clone()));
        own
    }

    /// Closes upstream connections that have been unused for too long, and forgets TLS settings that are gone.
    pub fn sweep(&self, now: Instant) {
        let idle_max = if self.stage() >= Stage::Tight { limits::UPSTREAM_IDLE_TIGHT } else { limits::UPSTREAM_IDLE };
        self.pools.borrow_mut().sweep(now, idle_max);
        // Settings that only we still hold belong to snapshots that are gone.
        self.tls.borrow_mut().retain(|(source, _)| Arc::strong_count(source) > 1);
    }
}

/// A session's place in the wake list.
pub struct SessionPlace {
    core: Rc<Core>,
    place: usize,
}

impl SessionPlace {
    /// Remembers whom to wake when the phase changes.
    pub fn park(&self, waker: &Waker) {
        let mut sessions = self.core.sessions.borrow_mut();
        if let Some(slot) = sessions.get_mut(self.place) {
            match slot {
                Some(known) if known.will_wake(waker) => {}
                _ => *slot = Some(waker.clone()),
            }
        }
    }
}

impl Drop for SessionPlace {
    fn drop(&mut self) {
        self.core.sessions.borrow_mut().try_remove(self.place);
    }
}
