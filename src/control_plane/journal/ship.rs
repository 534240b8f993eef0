//! Ships what the journal says to the books of all machines, where this one is one of several (rule L11).
//!
//! ```text
//!  control thread                        thread igris-ship                         the database
//!  ends of the lanes, retention ------>  lane --read behind its mark--> Shipment -->  attempts, sums, mark of the lane
//!  what may be pruned, status  <-------  marks that were acknowledged  <------------  committed, and all of it counted
//! ```
//!
//! A second reader beside the machine's own books ([`super::lanes`]). It waits for the database as long as it likes: nobody waits for it, and
//! it never holds the control lock. Whatever goes wrong, it asks the database again how far each lane is and sends what comes after; each
//! attempt counts once by its id, so nothing has to be remembered here. What is not acknowledged is not pruned ([`super::retention`]).

use super::{Control, ControlError};
use crate::control_plane::lock;
use crate::domain::clock::UnixMillis;
use crate::fleet::{Books, BooksFault, Close, Keep, LaneEnd, Shipment, Tended};
use crate::ledger::{Entry, LaneName, Reader};
use crate::limits::fleet::{
    RECONNECT_TICK, SHIP_LAST_DEADLINE, SHIP_RECORDS, SHIP_RECORDS_FLOOR, SHIP_TICK, SHIPPED_MARK_TICK,
    TEND_AGAIN_TICK, TEND_ASK_TICK, UNSHIPPED_AGE_ALARM, UNSHIPPED_RECORDS_ALARM,
};
use crate::report::AttemptReport;
use crate::store::UsageRow;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// When everything was shipped last, milliseconds since the Unix epoch: so that a machine that starts while the database is gone knows for how
/// long it has been behind.
const MARK_SHIPPED: &str = "fleet.shipped";

/// Where shipments go.
pub(in crate::control_plane) trait Depot: Send + 'static {
    /// See [`Books::marks`].
    fn marks(&mut self, lanes: &[LaneName]) -> Result<BTreeMap<LaneName, u64>, BooksFault>;
    /// See [`Books::ship`].
    fn ship(&mut self, shipment: &Shipment) -> Result<u64, BooksFault>;
    /// See [`Books::forget`].
    fn forget(&mut self, lanes: &[LaneName]) -> Result<(), BooksFault>;
    /// See [`Books::tend`].
    fn tend(&mut self, keep: &Keep) -> Result<Tended, BooksFault>;
}

impl Depot for Books {
    fn marks(&mut self, lanes: &[LaneName]) -> Result<BTreeMap<LaneName, u64>, BooksFault> {
        self.marks(lanes)
    }

    fn ship(&mut self, shipment: &Shipment) -> Result<u64, BooksFault> {
        self.ship(shipment)
    }

    fn forget(&mut self, lanes: &[LaneName]) -> Result<(), BooksFault> {
        self.forget(lanes)
    }

    fn tend(&mut self, keep: &Keep) -> Result<Tended, BooksFault> {
        self.tend(keep)
    }
}

/// The shipping thread from the control plane's side; it ends with this.
pub(in crate::control_plane) struct Shipper {
    desk: Arc<Desk>,
    /// When the thread was last told how far the journal is.
    ordered: Option<Instant>,
    /// When it was last noted that everything was shipped.
    marked: Option<Instant>,
    /// What was said of it last.
    trouble: Option<String>,
}

/// What both sides look at.
struct Desk {
    state: Mutex<State>,
    bell: Condvar,
}

struct State {
    order: Order,
    standing: Standing,
}

/// What the control plane wants.
#[derive(Clone)]
struct Order {
    /// When it was read.
    taken: Instant,
    /// How far each lane is written, as the machine's own books have seen it.
    ends: BTreeMap<LaneName, u64>,
    /// Lanes that are pruned away.
    gone: Vec<LaneName>,
    keep: Keep,
    /// Another process of this machine has the store, and ships.
    rests: bool,
    /// Not to wait for the next tick.
    is_hurried: bool,
    is_over: bool,
}

/// How it stands.
#[derive(Clone)]
struct Standing {
    /// How far each lane is in the database, as far as it has said so to this process.
    acknowledged: BTreeMap<LaneName, u64>,
    /// Whether it has said so at all.
    is_met: bool,
    /// When everything was last shipped.
    complete: Instant,
    /// When something last went wrong.
    failed: Option<Instant>,
    /// Attempts that this process has brought there.
    shipped: u64,
    trouble: Option<Trouble>,
}

#[derive(Clone)]
struct Trouble {
    sentence: String,
    /// Whether it goes by itself when the database is back.
    is_passing: bool,
}

impl Trouble {
    fn of(fault: &BooksFault) -> Self {
        let is_passing = matches!(fault, BooksFault::Gone(_) | BooksFault::Behind | BooksFault::Busy);
        Self { sentence: fault.to_string(), is_passing }
    }
}

// === impl Shipper ===

impl Shipper {
    /// Starts the thread. `complete` is when everything was shipped, as far as is known.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(in crate::control_plane) fn start(
        depot: impl Depot,
        reader: Reader,
        complete: Instant,
    ) -> std::io::Result<Self> {
        let desk = Arc::new(Desk::new(complete));
        let carrier = Carrier::new(depot, reader, desk.clone());
        thread::Builder::new().name("igris-ship".to_owned()).spawn(|| carrier.run())?;
        Ok(Self { desk, ordered: None, marked: None, trouble: None })
    }

    /// Of what the machine's own books have of each lane, that which is acknowledged too.
    pub(super) fn acknowledged_of(&self, booked: BTreeMap<LaneName, u64>) -> BTreeMap<LaneName, u64> {
        let state = self.desk.state();
        let known = &state.standing.acknowledged;
        let both = |(lane, number): (LaneName, u64)| {
            let shipped = known.get(&lane).copied().unwrap_or(0);
            (lane, number.min(shipped))
        };
        booked.into_iter().map(both).collect()
    }

    /// Lanes that are pruned away need no mark any more.
    pub(super) fn forget(&self, gone: &[LaneName]) {
        self.desk.state().order.gone.extend_from_slice(gone);
    }

    /// Whether another process ships.
    pub(super) fn rest(&self, rests: bool) {
        self.desk.state().order.rests = rests;
    }

    /// Records that are not acknowledged; `None`: the database has not said yet how far it is.
    fn unshipped(&self) -> Option<u64> {
        let state = self.desk.state();
        state.standing.is_met.then(|| unshipped(&state))
    }
}

impl Drop for Shipper {
    fn drop(&mut self) {
        self.desk.state().order.is_over = true;
        self.desk.bell.notify_all();
    }
}

/// Records behind the marks. What ends a lane without a close, an answer under way, is none.
fn unshipped(state: &State) -> u64 {
    let State { order, standing } = state;
    if standing.complete.elapsed() < 2 * SHIP_TICK {
        return 0;
    }
    let behind =
        |(lane, end): (&LaneName, &u64)| end.saturating_sub(standing.acknowledged.get(lane).copied().unwrap_or(0));
    order.ends.iter().map(behind).sum()
}

impl Default for Order {
    fn default() -> Self {
        let (ends, gone, keep) = (BTreeMap::new(), Vec::new(), Keep::default());
        Self { taken: Instant::now(), ends, gone, keep, rests: false, is_hurried: false, is_over: false }
    }
}

// === impl Desk ===

impl Desk {
    fn new(complete: Instant) -> Self {
        let standing = Standing {
            acknowledged: BTreeMap::new(),
            is_met: false,
            complete,
            failed: None,
            shipped: 0,
            trouble: None,
        };
        Self { state: Mutex::new(State { order: Order::default(), standing }), bell: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits so long, or until there is a hurry; `None` at the end.
    fn wait(&self, pause: Duration) -> Option<Order> {
        let has_time = |state: &mut State| !state.order.is_over && !state.order.is_hurried;
        let waited = self.bell.wait_timeout_while(self.state(), pause, has_time);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (state.order.is_hurried, state.order.taken) = (false, Instant::now());
        (!state.order.is_over).then(|| state.order.clone())
    }
}

// === The thread ===

/// Reads and ships.
struct Carrier<D> {
    depot: D,
    reader: Reader,
    desk: Arc<Desk>,
    lanes: BTreeMap<LaneName, Place>,
    /// What is wrong with a lane; the others go on.
    faults: BTreeMap<LaneName, String>,
    /// How many records go at a time.
    room: usize,
    /// When to ask next whether the tables are to be tended.
    tend_due: Instant,
    /// What was wrong with that the last time; shipping goes on beside it.
    untended: Option<BooksFault>,
}

/// How far a lane is.
#[derive(Clone, Copy)]
struct Place {
    /// In the database.
    acknowledged: u64,
    /// Read; what lies between is in the shipment at hand, or is no close.
    at: u64,
}

/// What one turn came to.
enum Turn {
    /// There is more to ship.
    More,
    /// Everything that was written is there.
    All,
}

impl<D: Depot> Carrier<D> {
    fn new(depot: D, reader: Reader, desk: Arc<Desk>) -> Self {
        let (lanes, faults) = (BTreeMap::new(), BTreeMap::new());
        Self { depot, reader, desk, lanes, faults, room: SHIP_RECORDS, tend_due: Instant::now(), untended: None }
    }

    fn run(mut self) {
        let mut pause = Duration::ZERO;
        while let Some(order) = self.desk.wait(pause) {
            pause = self.turn(&order);
        }
    }

    /// One shipment, and what else is due. Answers how long to wait until the next.
    fn turn(&mut self, order: &Order) -> Duration {
        if order.rests {
            self.lanes.clear();
            return SHIP_TICK;
        }
        match self.ship(order) {
            Ok(turn) => {
                let untended = self.tend(order);
                let broken = self.faults.iter().next().map(|(lane, fault)| {
                    let sentence = format!("lane {lane} of the journal cannot be read to its end: {fault}; its attempts are not in the books of all machines: igris ledger verify");
                    Trouble { sentence, is_passing: false }
                });
                let mut state = self.desk.state();
                let standing = &mut state.standing;
                if broken.is_none() && matches!(turn, Turn::All) {
                    standing.complete = order.taken;
                }
                standing.failed = broken.is_some().then(Instant::now);
                standing.trouble = broken.or(untended);
                if matches!(turn, Turn::More) { Duration::ZERO } else { SHIP_TICK }
            }
            Err(fault) => {
                // Whether it was taken is unknown, or somebody else was here: the database knows how far.
                self.lanes.clear();
                self.room = (self.room / 4).max(SHIP_RECORDS_FLOOR);
                let mut state = self.desk.state();
                state.standing.failed = Some(Instant::now());
                state.standing.trouble = Some(Trouble::of(&fault));
                RECONNECT_TICK
            }
        }
    }

    fn ship(&mut self, order: &Order) -> Result<Turn, BooksFault> {
        self.meet(order)?;
        let (shipment, records) = self.read(order);
        let is_full = records >= self.room;
        if !shipment.lanes().is_empty() {
            let fresh = self.depot.ship(&shipment)?;
            let mut state = self.desk.state();
            state.standing.shipped += fresh;
            for end in shipment.lanes() {
                if let Some(place) = self.lanes.get_mut(&end.lane) {
                    place.acknowledged = end.number;
                }
                state.standing.acknowledged.insert(end.lane.clone(), end.number);
            }
        }
        self.room = (2 * self.room).min(SHIP_RECORDS);
        Ok(if is_full { Turn::More } else { Turn::All })
    }

    /// Asks how far the lanes are that are not known. With nothing to ship nobody is asked: while the database is gone, a machine that has
    /// nothing for it is not behind.
    fn meet(&mut self, order: &Order) -> Result<(), BooksFault> {
        let known = self.desk.state().standing.acknowledged.clone();
        let is_new = |(lane, end): (&LaneName, &u64)| {
            !self.lanes.contains_key(lane) && known.get(lane).is_none_or(|number| number < end)
        };
        let new: Vec<LaneName> =
            order.ends.iter().filter(|entry| is_new(*entry)).map(|(lane, _)| lane.clone()).collect();
        if new.is_empty() {
            return Ok(());
        }
        let marks = self.depot.marks(&new)?;
        let mut state = self.desk.state();
        state.standing.is_met = true;
        for lane in new {
            let acknowledged = marks.get(&lane).copied().unwrap_or(0);
            self.lanes.insert(lane.clone(), Place { acknowledged, at: acknowledged });
            state.standing.acknowledged.insert(lane, acknowledged);
        }
        Ok(())
    }

    /// Reads the next piece over all lanes. Answers how many records there were, too.
    fn read(&mut self, order: &Order) -> (Shipment, usize) {
        let (mut shipment, mut records) = (Shipment::default(), 0);
        for (lane, end) in &order.ends {
            let room = self.room - records;
            let Some(place) = self.lanes.get_mut(lane).filter(|place| place.at < *end) else { continue };
            if room == 0 {
                break;
            }
            let (mut closes, mut at) = (0, place.at);
            let read = self.reader.read(lane, place.at, room, &mut |number, entry| {
                (at, records) = (number, records + 1);
                if let Entry::Close(report) = entry {
                    closes += 1;
                    shipment.add(&close(&report));
                }
            });
            place.at = at;
            if closes > 0 {
                shipment.end(LaneEnd { lane: lane.clone(), since: place.acknowledged, number: at, closes });
            }
            match read {
                Ok(_) => drop(self.faults.remove(lane)),
                Err(fault) => drop(self.faults.insert(lane.clone(), fault.to_string())),
            }
        }
        (shipment, records)
    }

    /// What is due beside shipping. What goes wrong with it is tried again, and told until then; shipping goes on.
    fn tend(&mut self, order: &Order) -> Option<Trouble> {
        let now = Instant::now();
        if now >= self.tend_due || (!order.gone.is_empty() && self.untended.is_none()) {
            let (next, untended) = match self.try_to_tend(order) {
                Ok(Tended::Done) => (TEND_ASK_TICK, None),
                Ok(Tended::Part) => (Duration::ZERO, None),
                Err(fault) if Trouble::of(&fault).is_passing => (RECONNECT_TICK, Some(fault)),
                Err(fault) => (TEND_AGAIN_TICK, Some(fault)),
            };
            (self.tend_due, self.untended) = (now + next, untended);
        }
        self.untended.as_ref().map(Trouble::of)
    }

    fn try_to_tend(&mut self, order: &Order) -> Result<Tended, BooksFault> {
        if !order.gone.is_empty() {
            self.depot.forget(&order.gone)?;
            let mut state = self.desk.state();
            state.order.gone.retain(|lane| !order.gone.contains(lane));
            for lane in &order.gone {
                self.lanes.remove(lane);
                self.faults.remove(lane);
                state.standing.acknowledged.remove(lane);
            }
        }
        self.depot.tend(&order.keep)
    }
}

/// A closed attempt as it is shipped. Whether it failed, and whether it had a price, is what the machine's own books say.
fn close(report: &AttemptReport) -> Close<'_> {
    let line = UsageRow::of(report);
    Close {
        attempt: report.attempt,
        exchange: report.exchange,
        started: report.started,
        tenant: report.tenant.as_str(),
        access_key: report.access_key,
        provider: report.provider.as_str(),
        model: &report.model,
        policy: report.policy.as_str(),
        credential: report.credential,
        outcome: report.outcome.name(),
        status: report.status,
        last: report.last,
        failed: line.failed > 0,
        unpriced: line.unpriced > 0,
        source: report.usage_source.name(),
        input_tokens: report.usage.input,
        output_tokens: report.usage.output,
        cached_tokens: report.usage.cached_input,
        cost: report.cost,
    }
}

// === The control plane's side ===

impl Control {
    /// Begins to ship the journal, where this machine is one of several.
    ///
    /// # Errors
    /// The store refuses, or the operating system gives no thread.
    pub(super) fn begin_to_ship(&mut self) -> Result<(), ControlError> {
        let (Some(fleet), Some(id)) = (self.shares(), self.store.copy_of()?) else { return Ok(()) };
        let key = self.ledger_key().ok();
        let shipped = self.store.admin().usage_sequence(MARK_SHIPPED)?;
        let behind = shipped.map_or(0, |at| self.now().0.saturating_sub(at));
        let Some(books) = &mut self.journal else { return Ok(()) };
        let mut reader = Reader::new(&books.directory, key);
        reader.trust(books.ledger.run());
        let now = Instant::now();
        let complete = now.checked_sub(Duration::from_millis(behind)).unwrap_or(now);
        let depot = fleet.books(id).map_err(|error| ControlError::Config(vec![error.to_string()]))?;
        let started = Shipper::start(depot, reader, complete);
        let none = |error| ControlError::Config(vec![format!("no thread for the books of all machines: {error}")]);
        books.shipper = Some(started.map_err(none)?);
        self.order_shipping();
        Ok(())
    }

    /// Tells the thread how far the journal is and how long the database keeps what.
    fn order_shipping(&mut self) {
        let Some(super::JournalBooks { lanes, shipper: Some(shipper), .. }) = &mut self.journal else { return };
        shipper.ordered = Some(Instant::now());
        let keep = Keep { attempts: self.config.fleet.keep_attempts, hours: self.config.fleet.keep_hours };
        let mut state = shipper.desk.state();
        state.order.keep = keep;
        state.order.ends.retain(|lane, _| lanes.has(lane));
        for (lane, end) in lanes.ends() {
            match state.order.ends.get_mut(lane) {
                Some(known) => *known = end,
                None => drop(state.order.ends.insert(lane.clone(), end)),
            }
        }
    }

    /// The journal's part of a tick, for the books of all machines: what is to be shipped, and alarms by age and by size.
    pub(super) fn tend_shipping(&mut self, now: UnixMillis) {
        let Some(shipper) = self.journal.as_ref().and_then(|books| books.shipper.as_ref()) else { return };
        if shipper.ordered.is_some_and(|last| last.elapsed() < SHIP_TICK) {
            return;
        }
        self.order_shipping();
        let Some(shipper) = self.journal.as_mut().and_then(|books| books.shipper.as_mut()) else { return };
        let standing = shipper.desk.state().standing.clone();
        let age = standing.complete.elapsed();
        let lasting = standing.trouble.filter(|trouble| !trouble.is_passing).map(|trouble| trouble.sentence);
        let trouble = lasting.or_else(|| {
            let is_large = shipper.unshipped().is_some_and(|records| records > UNSHIPPED_RECORDS_ALARM);
            match (is_large, age > UNSHIPPED_AGE_ALARM) {
                (true, _) => Some(LARGE.to_owned()),
                (false, true) => Some(OLD.to_owned()),
                (false, false) => None,
            }
        });
        let is_marked = shipper.marked.is_some_and(|last| last.elapsed() < SHIPPED_MARK_TICK);
        let marks = !is_marked && age < 2 * SHIP_TICK;
        if marks {
            shipper.marked = Some(Instant::now());
        }
        let before = std::mem::replace(&mut shipper.trouble, trouble.clone());
        match trouble {
            Some(sentence) if before.as_ref() != Some(&sentence) => self.note("alarm", sentence),
            None if before.is_some() => {
                self.note("fleet", "the books of all machines have everything of this one again")
            }
            _ => {}
        }
        if marks {
            // At worst the age begins anew at the next start.
            let _ = self.store.admin().set_usage_mark(MARK_SHIPPED, now.0);
        }
    }

    /// How the books of all machines are, from here; null where nothing is shared.
    pub(in crate::control_plane) fn shipping_status(&self) -> Value {
        let Some(books) = &self.journal else {
            return json!({ "shipping": false, "trouble": NO_JOURNAL });
        };
        let Some(shipper) = &books.shipper else { return Value::Null };
        let standing = shipper.desk.state().standing.clone();
        json!({
            "shipping": true,
            "behind_seconds": standing.complete.elapsed().as_secs(),
            "unshipped": shipper.unshipped(),
            "shipped": standing.shipped,
            "trouble": standing.trouble.map(|trouble| trouble.sentence).or_else(|| shipper.trouble.clone()),
        })
    }

    /// Seconds since everything was shipped, and records that are not; `None` where nothing is shipped.
    pub(in crate::control_plane) fn shipping_figures(&self) -> Option<(u64, Option<u64>)> {
        let shipper = self.journal.as_ref()?.shipper.as_ref()?;
        let behind = shipper.desk.state().standing.complete.elapsed().as_secs();
        Some((behind, shipper.unshipped()))
    }

    /// Hurries the thread; answers where to see what came of it, and since when. `None`: there is nothing to ship to.
    fn hurry_shipping(&mut self) -> Option<(Arc<Desk>, Instant)> {
        if self.rests || !self.standing_of_fleet().is_some_and(|standing| standing.is_reachable) {
            return None;
        }
        // What the store refuses is not known to be shipped, and stays in the journal.
        let _ = self.ingest_journal(true);
        self.order_shipping();
        let shipper = self.journal.as_ref()?.shipper.as_ref()?;
        let begun = {
            let mut state = shipper.desk.state();
            state.order.is_hurried = true;
            Instant::now()
        };
        shipper.desk.bell.notify_all();
        Some((shipper.desk.clone(), begun))
    }
}

/// Ships what is left before the process ends, as far as the database takes it in time: a machine may be taken away with its disk.
pub(in crate::control_plane) async fn ship_rest(control: &Mutex<Control>) {
    let Some((desk, begun)) = lock(control).hurry_shipping() else { return };
    let is_over = || {
        let standing = &desk.state().standing;
        standing.complete >= begun || standing.failed.is_some_and(|failed| failed >= begun)
    };
    while !is_over() && begun.elapsed() < SHIP_LAST_DEADLINE {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What the owner should know of a machine without a journal.
pub(super) const NO_JOURNAL: &str = "[ledger] durability = \"none\" keeps no journal, so that nothing of this machine comes into the books of all machines; set \"process\" or \"power\"";

const OLD: &str = "for more than an hour the books of all machines have not had everything of this one; it is kept in the journal and shipped when the database takes it: see `fleet.books` in GET /status";

const LARGE: &str = "more than 5000000 records of the journal wait for the books of all machines; none is deleted before they have it: bring the database back, or give the disk room";

#[cfg(test)]
pub(in crate::control_plane) mod tests;
