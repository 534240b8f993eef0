//! One thread of a run: an event loop over its connections that sends what is due and notes what comes back.
//!
//! It sleeps in the kernel between events and planned instants, and never spins.

use super::agenda::{Agenda, Due};
use super::clock::{Clock, SECOND, Timer, nanos, thread_cpu};
use super::deadlines::Deadlines;
use super::flight::{Ending, Flight};
use super::link::Link;
use super::pool::{Connection, Phase, Place, Pool};
use super::route::Route;
use super::{Health, Observer, Stop};
use crate::dialect;
use crate::measure::Outcome;
use crate::workload::{Plan, WORDLESS};
use hdrhistogram::Histogram;
use mio::event::Event;
use mio::{Events, Poll, Token};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

/// What a thread is given.
pub(super) struct Task<'a> {
    pub(super) plan: &'a Plan,
    pub(super) routes: &'a [Route],
    pub(super) stop: &'a Stop,
    pub(super) clock: Clock,
    /// Which thread this is, and of how many.
    pub(super) part: usize,
    pub(super) parts: usize,
}

/// How a thread ended.
pub(super) struct Worked<O> {
    pub(super) observer: O,
    pub(super) health: Health,
    /// When its last request ended.
    pub(super) last: u64,
    /// Whether it was stopped with something left to do.
    pub(super) stopped: bool,
}

/// Readiness of the timer; no connection has this number.
const TIMER: Token = Token(usize::MAX);
/// Room for what one read brings; one for all connections of a thread.
const ROOM_BYTES: usize = 64 * 1024;
/// Readiness taken from the kernel at once.
const EVENTS_MAX: usize = 1024;
/// Requests that leave before the sockets are looked at again.
const STARTS_MAX: usize = 64;
/// How often the observer is told the time, and the wish to stop is looked at.
const TICK: u64 = 50_000_000;
/// What is in flight has so long to end once the run is stopped.
const GRACE: u64 = SECOND;
/// The longest lateness that is told apart from longer ones: one hour.
const LATE_MAX: u64 = 3600 * SECOND;

/// One thread at work.
pub(super) struct Worker<'a, O> {
    task: Task<'a>,
    poll: Poll,
    timer: Timer,
    agenda: Agenda,
    /// Due, and waiting for a connection, oldest first.
    waiting: VecDeque<Due>,
    pool: Pool,
    deadlines: Deadlines,
    in_flight: usize,
    connections: usize,
    timeout: u64,
    observer: O,
    health: Health,
    room: Vec<u8>,
    output: Vec<u8>,
    /// When everything ends, once the run is stopped.
    stopping: Option<u64>,
    last: u64,
    next_tick: u64,
}

impl<'a, O: Observer> Worker<'a, O> {
    /// A thread with its share of connections and arrivals.
    ///
    /// # Errors
    /// The plan cannot be carried out, or the system has no descriptor left.
    pub(super) fn new(task: Task<'a>, observer: O) -> anyhow::Result<Self> {
        let (plan, part, parts) = (task.plan, task.part, task.parts);
        let connections = plan.connections / parts + usize::from(part < plan.connections % parts);
        let poll = Poll::new()?;
        let timer = Timer::new(task.clock, poll.registry(), TIMER)?;
        // Three digits from 100 ns to an hour; the bounds are constants that the library accepts.
        let histogram = || Histogram::new_with_bounds(100, LATE_MAX, 3).expect("constant bounds are valid");
        Ok(Self {
            agenda: Agenda::new(plan, part, parts)?,
            pool: Pool::new(connections, task.routes.len()),
            deadlines: Deadlines::new(connections),
            timeout: nanos(plan.timeout.0),
            task,
            poll,
            timer,
            waiting: VecDeque::new(),
            in_flight: 0,
            connections,
            observer,
            health: Health { late: histogram(), turn: histogram(), cpu: Duration::ZERO, queued: 0, unsent: 0 },
            room: vec![0; ROOM_BYTES],
            output: Vec::with_capacity(8 * 1024),
            stopping: None,
            last: 0,
            next_tick: TICK,
        })
    }

    /// Works until everything has ended.
    ///
    /// # Errors
    /// The system's own event queue failed.
    pub(super) fn run(mut self) -> io::Result<Worked<O>> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut woke = self.task.clock.now();
        let cpu = thread_cpu();
        loop {
            self.heed_stop();
            self.expire();
            let more = self.send_what_is_due();
            self.tick();
            if self.agenda.is_empty() && self.waiting.is_empty() && self.in_flight == 0 {
                break;
            }
            let wait = self.wait(more)?;
            self.health.turn.saturating_record(self.task.clock.now().saturating_sub(woke));
            match self.poll.poll(&mut events, Some(wait)) {
                Err(reason) if reason.kind() != io::ErrorKind::Interrupted => return Err(reason),
                _ => {}
            }
            woke = self.task.clock.now();
            for event in &events {
                if event.token() != TIMER {
                    self.on_event(event.token().0, event);
                }
            }
        }
        self.health.cpu = thread_cpu().saturating_sub(cpu);
        let Self { observer, health, last, stopping, .. } = self;
        Ok(Worked { observer, health, last, stopped: stopping.is_some() })
    }

    /// Sets the timer for the next planned instant and returns how long to sleep at most besides.
    fn wait(&mut self, more: bool) -> io::Result<Duration> {
        if more {
            return Ok(Duration::ZERO);
        }
        if !self.task.clock.has_started() {
            self.timer.arm(0)?;
        } else if let Some(at) = self.agenda.next_at() {
            self.timer.arm(at)?;
        }
        let expiry = |since: u64| since.saturating_add(self.timeout);
        let oldest = self.deadlines.oldest().map(|(_, since)| expiry(since));
        let waiting = self.waiting.front().map(|due| expiry(due.planned));
        let until = [oldest, waiting, self.stopping].into_iter().flatten().fold(self.next_tick, u64::min);
        Ok(Duration::from_nanos(until.saturating_sub(self.task.clock.now())))
    }

    /// Tells the observer the time, now and then.
    fn tick(&mut self) {
        let now = self.task.clock.now();
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.observer.tick(Duration::from_nanos(now), self.in_flight);
        }
    }

    /// Sends nothing more once the run is to stop.
    fn heed_stop(&mut self) {
        if self.stopping.is_some() || !self.task.stop.is_stopped() {
            return;
        }
        let now = self.task.clock.now();
        self.stopping = Some(now + GRACE);
        self.health.unsent += self.agenda.close(now);
        for due in std::mem::take(&mut self.waiting) {
            let ending = Ending::bad(Outcome::Abandoned, "the run was stopped while it waited for a connection");
            self.report(&mut Flight::new(due), ending, now);
        }
    }

    /// Ends what has taken too long.
    fn expire(&mut self) {
        let now = self.task.clock.now();
        if self.stopping.is_some_and(|end| now >= end) {
            while let Some((slot, _)) = self.deadlines.oldest() {
                self.end(slot, Ending::bad(Outcome::Abandoned, "the run was stopped before the answer was whole"), now);
            }
        }
        while let Some((slot, since)) = self.deadlines.oldest() {
            if since.saturating_add(self.timeout) > now {
                break;
            }
            let reason = format!("no whole answer within {}", self.task.plan.timeout);
            self.end(slot, Ending::bad(Outcome::Timeout, reason), now);
        }
        while self.waiting.front().is_some_and(|due| due.planned.saturating_add(self.timeout) <= now) {
            let Some(due) = self.waiting.pop_front() else { return };
            let reason = format!("no free connection within {}", self.task.plan.timeout);
            self.report(&mut Flight::new(due), Ending::bad(Outcome::Timeout, reason), now);
        }
    }

    /// Sends what is due, as far as connections are free; returns whether more is due already.
    fn send_what_is_due(&mut self) -> bool {
        if !self.task.clock.has_started() {
            return false;
        }
        for _ in 0..STARTS_MAX {
            let Some(front) = self.waiting.front() else { break };
            let Some(place) = self.pool.place(front.ask.endpoint) else { break };
            let Some(due) = self.waiting.pop_front() else { break };
            self.start(due, place);
        }
        for _ in 0..STARTS_MAX {
            let now = self.task.clock.now();
            let busy = self.in_flight + self.waiting.len() + self.agenda.thinking();
            let Some(due) = self.agenda.due(now, busy < self.connections) else { return false };
            if due.fixed {
                let late = now.saturating_sub(due.planned);
                self.health.late.saturating_record(late);
                self.observer.late(late);
            }
            // Whoever waits already goes first.
            let place = if self.waiting.is_empty() { self.pool.place(due.ask.endpoint) } else { None };
            match place {
                Some(place) => self.start(due, place),
                None => {
                    self.health.queued += 1;
                    self.waiting.push_back(due);
                }
            }
        }
        true
    }

    fn start(&mut self, due: Due, place: Place) {
        let (now, route) = (self.task.clock.now(), due.ask.endpoint);
        let mut flight = Flight::new(due);
        match place {
            Place::Kept(slot) => {
                let Some(connection) = self.pool.at(slot) else { return };
                (connection.flight, connection.phase) = (Some(flight), Phase::Busy);
                self.begin(slot, now);
                self.send(slot);
            }
            Place::Fresh(slot) => match Link::open(&self.task.routes[route], self.poll.registry(), Token(slot)) {
                Ok(link) => {
                    let phase = Phase::Opening(now);
                    let connection = Connection { link, route, phase, flight: Some(flight), unsent: Vec::new() };
                    self.pool.open(slot, connection);
                    self.begin(slot, now);
                }
                Err(reason) => {
                    self.pool.close(slot);
                    let reason = unreachable(&self.task.routes[route], &reason);
                    self.report(&mut flight, Ending::bad(Outcome::ConnectFailed, reason), now);
                }
            },
        }
    }

    fn begin(&mut self, slot: usize, now: u64) {
        self.deadlines.begin(slot, now);
        self.in_flight += 1;
    }

    /// Writes the request of a connection that is ready for it.
    fn send(&mut self, slot: usize) {
        let Some(connection) = self.pool.at(slot) else { return };
        let Some(flight) = &mut connection.flight else { return };
        let plan = self.task.plan;
        let key = plan.tenants.get(flight.ask().tenant).map_or("", |tenant| tenant.key.text.as_str());
        self.output.clear();
        dialect::compose(flight.ask(), &self.task.routes[connection.route].address, key, &mut self.output);
        flight.bytes_out = self.output.len() as u64;
        if flight.is_verifiable(plan) {
            let head = memchr::memmem::find(&self.output, b"\r\n\r\n").map_or(0, |at| at + 4);
            flight.asked.extend_from_slice(&self.output[head..]);
        }
        let now = self.task.clock.now();
        flight.sent = Some(now);
        if !flight.due.fixed {
            flight.due.planned = now;
            flight.due.counts = now >= nanos(plan.warm_up.0);
        }
        match write_all(&mut connection.link, &self.output) {
            Ok(taken) => connection.unsent.extend_from_slice(&self.output[taken..]),
            // An answer may have come before the other side closed: reading will tell.
            Err(_) => self.receive(slot, true),
        }
    }

    fn on_event(&mut self, slot: usize, event: &Event) {
        let Some(connection) = self.pool.at(slot) else { return };
        let ended = event.is_read_closed() || event.is_error();
        match connection.phase {
            Phase::Opening(_) | Phase::Securing(_) => self.carry_on_opening(slot),
            Phase::Idle => {
                // An idle connection has nothing to say: whatever is not TLS's own business ends it.
                let read = connection.link.read(&mut self.room);
                if !matches!(read, Err(reason) if reason.kind() == io::ErrorKind::WouldBlock) {
                    self.pool.close(slot);
                }
            }
            Phase::Busy => {
                if event.is_writable() {
                    self.resume(slot);
                }
                if event.is_readable() || ended {
                    self.receive(slot, ended);
                }
            }
        }
    }

    /// Connects, agrees on TLS, and sends, as far as that goes now.
    fn carry_on_opening(&mut self, slot: usize) {
        let Some(connection) = self.pool.at(slot) else { return };
        match open(connection) {
            Ok(None) => {}
            Ok(Some(since)) => {
                let now = self.task.clock.now();
                connection.phase = Phase::Busy;
                if let Some(flight) = &mut connection.flight {
                    flight.connect_ns = Some(now.saturating_sub(since));
                }
                self.send(slot);
            }
            Err(reason) => {
                let reason = unreachable(&self.task.routes[connection.route], &reason);
                self.end(slot, Ending::bad(Outcome::ConnectFailed, reason), self.task.clock.now());
            }
        }
    }

    /// Sends what the system did not take before.
    fn resume(&mut self, slot: usize) {
        let Some(connection) = self.pool.at(slot) else { return };
        let sent = connection.link.flush().and_then(|()| write_all(&mut connection.link, &connection.unsent));
        match sent {
            Ok(taken) if taken == connection.unsent.len() => connection.unsent = Vec::new(),
            Ok(taken) => {
                connection.unsent.drain(..taken);
            }
            Err(reason) if reason.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.receive(slot, true),
        }
    }

    /// Reads what has come. `ended`: the other side is known to have closed, or the connection to be broken.
    fn receive(&mut self, slot: usize, ended: bool) {
        loop {
            let Some(connection) = self.pool.at(slot) else { return };
            let Some(flight) = &mut connection.flight else { return };
            let read = connection.link.read(&mut self.room);
            let now = self.task.clock.now();
            let ending = match read {
                Ok(0) => Some(flight.cut(None, now, self.task.plan)),
                Ok(bytes) => {
                    let ending = flight.take(&self.room[..bytes], now, self.task.plan, &mut self.observer);
                    if ending.is_none()
                        && bytes < self.room.len()
                        && !ended
                        && connection.link.is_drained_by_short_read()
                    {
                        return;
                    }
                    ending
                }
                Err(reason) if reason.kind() == io::ErrorKind::Interrupted => None,
                Err(reason) if reason.kind() == io::ErrorKind::WouldBlock => return,
                Err(reason) => Some(flight.cut(Some(&reason), now, self.task.plan)),
            };
            if let Some(mut ending) = ending {
                // A request that is still leaving when its answer is whole would mix with the next one.
                ending.reusable &= connection.unsent.is_empty() && !ended;
                self.end(slot, ending, now);
                return;
            }
        }
    }

    /// Ends the request on a connection, and the connection too unless it may be used again.
    fn end(&mut self, slot: usize, ending: Ending, now: u64) {
        self.deadlines.end(slot);
        let flight = self.pool.at(slot).and_then(|connection| connection.flight.take());
        if ending.reusable {
            self.pool.rest(slot);
        } else {
            self.pool.close(slot);
        }
        if let Some(mut flight) = flight {
            self.in_flight -= 1;
            self.report(&mut flight, ending, now);
        }
    }

    /// Tells what became of a request, exactly once for each.
    fn report(&mut self, flight: &mut Flight, mut ending: Ending, now: u64) {
        let text = std::mem::take(&mut ending.told.text);
        let went_well = ending.outcome == Outcome::Ok;
        self.last = self.last.max(now);
        self.observer.done(&flight.done(now, ending));
        if self.stopping.is_none() {
            let answer = match (went_well, text.as_str()) {
                (true, "") => WORDLESS,
                (true, text) => text,
                (false, _) => "",
            };
            self.agenda.follow(flight.ask(), answer, now);
        }
    }
}

/// Carries a connection's opening on; returns since when it was being opened, once it stands.
fn open(connection: &mut Connection) -> io::Result<Option<u64>> {
    if let Phase::Opening(since) = connection.phase {
        if !connection.link.is_connected()? {
            return Ok(None);
        }
        connection.phase = Phase::Securing(since);
    }
    let Phase::Securing(since) = connection.phase else { return Ok(None) };
    Ok(connection.link.shake_hands()?.then_some(since))
}

/// Writes as much as the system takes.
fn write_all(link: &mut Link, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match link.write(&bytes[taken..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => taken += more,
            Err(reason) if reason.kind() == io::ErrorKind::WouldBlock => break,
            Err(reason) if reason.kind() == io::ErrorKind::Interrupted => {}
            Err(reason) => return Err(reason),
        }
    }
    Ok(taken)
}

fn unreachable(route: &Route, reason: &io::Error) -> String {
    let whose = if route.tls.is_some() { "https" } else { "http" };
    format!("no connection to {whose}://{} ({}): {reason}", route.address.host, route.addr)
}
