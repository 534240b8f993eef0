//! Sends what a plan says when it says so, and tells an [`Observer`] what became of each request, exactly once.
//!
//! One event loop a thread. The clock of a request starts at its planned instant, whether or not a connection was free.

mod agenda;
mod clock;
mod deadlines;
mod descriptors;
mod flight;
mod link;
mod pool;
pub(crate) mod route;
mod trust;
mod worker;

use crate::measure::Outcome;
use crate::workload::{Ask, Plan};
use anyhow::{Context as _, bail};
use clock::Clock;
use hdrhistogram::Histogram;
use route::Route;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use worker::{Task, Worked, Worker};

/// What became of one request. All instants are nanoseconds from the run's start.
#[derive(Debug)]
pub struct Done<'a> {
    /// What was asked.
    pub ask: &'a Ask,
    /// Whether it counts, or was warm-up.
    pub counts: bool,
    /// When it should have left; when it did in a closed loop.
    pub planned: u64,
    /// When its first byte left; `None` if it never did.
    pub sent: Option<u64>,
    /// The first byte of the answer.
    pub first_byte: Option<u64>,
    /// The first generated token on any channel; of an answer that is not a stream, its last byte.
    pub first_token: Option<u64>,
    /// The last event with generated tokens.
    pub last_token: Option<u64>,
    /// The longest time between two events with generated tokens, nanoseconds; `None` with fewer than two.
    pub longest_gap: Option<u64>,
    /// When it ended, one way or the other.
    pub ended: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Status of the answer; 0 without one.
    pub status: u16,
    /// What went wrong, in words; empty where nothing did.
    pub reason: String,
    /// Events of a stream.
    pub events: u32,
    /// Events that brought generated tokens.
    pub generated: u32,
    /// Input tokens as the answer states them.
    pub input_tokens: Option<u64>,
    /// Output tokens as the answer states them.
    pub output_tokens: Option<u64>,
    /// Bytes of the request, head included.
    pub bytes_out: u64,
    /// Bytes of the answer, head included.
    pub bytes_in: u64,
    /// Whether it went over a connection that was opened for it, and how long that took, TLS included.
    pub connect_ns: Option<u64>,
    /// The gateway's own account of its time, microseconds (`x-igris-overhead-us`).
    pub overhead_us: Option<u64>,
    /// Whether the answer was compared with what it must be.
    pub verified: bool,
}

/// Who is told. Each thread has its own; nothing is shared on the way.
pub trait Observer: Send {
    /// The time between two events with generated tokens of one stream.
    fn gap(&mut self, counts: bool, nanos: u64);
    /// By how much later than planned the loop came to an arrival, as in [`Health::late`].
    fn late(&mut self, nanos: u64) {
        let _ = nanos;
    }
    /// A request has ended.
    fn done(&mut self, done: &Done<'_>);
    /// Called at least every 100 ms with the time since the run's start, and what is in flight now.
    fn tick(&mut self, since_start: Duration, in_flight: usize);
}

/// How well the engine itself did on one thread: what would make its figures wrong.
#[derive(Clone, Debug)]
pub struct Health {
    /// By how much later than planned the loop came to an arrival, nanoseconds; waiting for a free connection is not in it.
    pub late: Histogram<u64>,
    /// How long the loop was away between two looks at its sockets, nanoseconds.
    pub turn: Histogram<u64>,
    /// CPU time this thread used.
    pub cpu: Duration,
    /// How often an arrival found no free connection.
    pub queued: u64,
    /// Arrivals whose instant came before the run was stopped, and that it had not come to. What was planned for later is not
    /// counted: nobody wanted it any more.
    pub unsent: u64,
}

/// A run that has ended.
pub struct Driven<O> {
    /// What each thread's observer knows.
    pub observers: Vec<O>,
    /// How each thread did.
    pub health: Vec<Health>,
    /// From the start to the last answer.
    pub elapsed: Duration,
    /// Whether it was stopped before its plan was at its end.
    pub stopped: bool,
}

/// Ends a run early: nothing more is sent, and what is in flight has a second to end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks for it.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked for.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Carries a plan out to its end, with one observer for each of its threads.
///
/// # Errors
/// The plan cannot be carried out, an endpoint has no address, or a thread could not be started.
pub fn drive<O: Observer>(plan: &Plan, stop: &Stop, mut observer: impl FnMut(usize) -> O) -> anyhow::Result<Driven<O>> {
    check(plan)?;
    descriptors::make_room(plan.connections)?;
    let routes = plan.endpoints.iter().map(Route::to).collect::<anyhow::Result<Vec<_>>>()?;
    let parts = plan.threads.clamp(1, plan.connections);
    let clock = Clock::starting_in(LEAD);
    let mut workers = Vec::with_capacity(parts);
    for part in 0..parts {
        let task = Task { plan, routes: &routes, stop, clock, part, parts };
        workers.push(Worker::new(task, observer(part))?);
    }
    let worked: Vec<io::Result<Worked<O>>> = std::thread::scope(|scope| {
        let start =
            |worker| std::thread::Builder::new().name("load".into()).spawn_scoped(scope, || Worker::run(worker));
        let threads: Vec<_> = workers.into_iter().map(start).collect();
        threads
            .into_iter()
            .map(|thread| thread.and_then(|thread| thread.join().map_err(|_| io::Error::other("it panicked"))?))
            .collect()
    });
    let mut driven = Driven { observers: Vec::new(), health: Vec::new(), elapsed: Duration::ZERO, stopped: false };
    for worked in worked {
        let worked = worked.context("a thread of the tester could not do its work")?;
        driven.elapsed = driven.elapsed.max(Duration::from_nanos(worked.last));
        driven.stopped |= worked.stopped;
        driven.observers.push(worked.observer);
        driven.health.push(worked.health);
    }
    Ok(driven)
}

/// Refuses what would never end, or never begin.
fn check(plan: &Plan) -> anyhow::Result<()> {
    if plan.endpoints.is_empty() {
        bail!("the plan has no endpoint: name one with --url http://127.0.0.1:8081");
    }
    if plan.connections == 0 {
        bail!("the plan has no connections: allow at least one with --connections 1");
    }
    // What bounds an open loop, the source knows best: a trace or steps end by themselves.
    if !plan.arrivals.is_open() && plan.requests.is_none() && plan.duration.is_none() {
        bail!("the plan has no end: bound it with --requests 1000 or --duration 30s");
    }
    Ok(())
}

/// Time for the threads to be ready before the first request.
const LEAD: Duration = Duration::from_millis(10);
