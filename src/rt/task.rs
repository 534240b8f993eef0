//! Tasks of one core: spawning, panics, fairness, and an end that leaves nothing behind.
//!
//! A panic in a task is counted and costs that task only (rule O6). Every task is known to its core, so that when the runtime ends
//! all of them are dropped while the driver still runs: their operations are cancelled and their descriptors closed, which monoio
//! alone would leave to the end of the process.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::deadline;
use crate::limits::OPERATIONS_PER_TURN_MAX;

static PANICS: AtomicU64 = AtomicU64::new(0);

type BoxFuture = Pin<Box<dyn Future<Output = ()>>>;

/// The future of a task; `None` once it ended or was ended.
struct Task(RefCell<Option<BoxFuture>>);

#[derive(Default)]
struct Tasks {
    slots: Vec<Option<Rc<Task>>>,
    vacant: Vec<usize>,
}

thread_local! {
    static TASKS: RefCell<Tasks> = RefCell::default();
    /// The clock as read in this turn, if it was.
    static TURN_CLOCK: Cell<Option<Instant>> = const { Cell::new(None) };
    /// Reads and writes that finished at once in this turn.
    static TURN_OPERATIONS: Cell<u32> = const { Cell::new(0) };
}

/// Panics caught in tasks and workers of this process so far.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

pub(super) fn count_panic() {
    PANICS.fetch_add(1, Ordering::Relaxed);
}

/// Runs `future` on this core until it ends, panics, or the runtime ends.
///
/// # Panics
/// When called outside of a runtime.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    let task = Rc::new(Task(RefCell::new(Some(Box::pin(future)))));
    let slot = TASKS.with_borrow_mut(|tasks| {
        let slot = tasks.vacant.pop().unwrap_or_else(|| {
            tasks.slots.push(None);
            tasks.slots.len() - 1
        });
        tasks.slots[slot] = Some(task.clone());
        slot
    });
    // Dropping the join handle detaches the task.
    drop(monoio::spawn(Turns { task, slot }));
}

/// Tasks of this core that have not ended.
pub fn tasks() -> usize {
    TASKS.with_borrow(|tasks| tasks.slots.len() - tasks.vacant.len())
}

/// Polls a task, each time as one turn, and gives its slot back at the end.
struct Turns {
    task: Rc<Task>,
    slot: usize,
}

impl Future for Turns {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        begin_turn();
        let mut future = self.task.0.borrow_mut();
        let Some(running) = future.as_mut() else {
            return Poll::Ready(());
        };
        match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) => {}
            Err(_) => count_panic(),
        }
        let ended = future.take();
        drop(future);
        drop_caught(ended);
        Poll::Ready(())
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        let _ = TASKS.try_with(|tasks| {
            let mut tasks = tasks.borrow_mut();
            // After `end_all` the list is empty and the slot no longer ours.
            if tasks.slots.get(self.slot).and_then(Option::as_ref).is_some_and(|task| Rc::ptr_eq(task, &self.task)) {
                tasks.slots[self.slot] = None;
                tasks.vacant.push(self.slot);
            }
        });
    }
}

/// Drops every task of this core. The caller then lets the driver run so that cancelled operations end.
pub(super) fn end_all() {
    let tasks = TASKS.with_borrow_mut(std::mem::take);
    for task in tasks.slots.into_iter().flatten() {
        // A task that is running now ends itself; none is, since the caller is no task.
        let ended = task.0.try_borrow_mut().map(|mut future| future.take());
        drop_caught(ended.ok().flatten());
    }
}

fn drop_caught(future: Option<BoxFuture>) {
    if catch_unwind(AssertUnwindSafe(|| drop(future))).is_err() {
        count_panic();
    }
}

// ---- Turns ------------------------------------------------------------------------------------------------------------------

pub(super) fn begin_turn() {
    TURN_CLOCK.set(None);
    TURN_OPERATIONS.set(0);
}

/// The time, exactly. What is asked for less exactly in the rest of this turn is this.
pub fn now() -> Instant {
    let now = Instant::now();
    TURN_CLOCK.set(Some(now));
    now
}

/// The time as it was last read in this turn of the task, or read now if it was not: one clock read a turn, however many deadlines are set.
pub fn coarse_now() -> Instant {
    TURN_CLOCK.get().unwrap_or_else(now)
}

/// Counts an operation that finished without waiting.
pub(super) fn spend_turn() {
    TURN_OPERATIONS.set(TURN_OPERATIONS.get() + 1);
}

/// Pending once a task finished too many operations without waiting; a short timer then wakes it. (A task that wakes itself would
/// be put in front of its siblings.)
pub(super) fn poll_turn(cx: &mut Context<'_>) -> Poll<()> {
    if TURN_OPERATIONS.get() < OPERATIONS_PER_TURN_MAX {
        return Poll::Ready(());
    }
    deadline::wake_soon(cx.waker());
    Poll::Pending
}

/// Lets the siblings of a busy task run: comes back after one to two milliseconds.
pub async fn breathe() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        deadline::wake_soon(cx.waker());
        Poll::Pending
    })
    .await;
}

// ---- Time and choice --------------------------------------------------------------------------------------------------------

/// Waits. Granularity one millisecond; a kernel timer each, so not for deadlines (see [`with_deadline`](super::with_deadline)).
pub async fn sleep(duration: Duration) {
    monoio::time::sleep(duration).await;
}

/// Calls `tick` every `period` on a task of this core until it breaks. The way a worker watches a flag set by another thread.
pub fn every(period: Duration, mut tick: impl FnMut() -> ControlFlow<()> + 'static) {
    spawn(async move {
        while tick().is_continue() {
            sleep(period).await;
        }
    });
}

/// Which of two futures ended first.
#[derive(Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first.
    Left(A),
    /// The second.
    Right(B),
}

/// Waits for the first of two futures and drops the other. Who is polled first alternates, so that neither starves.
///
/// Made for fills and flushes, connects and waits, all of which may be dropped; also `&mut` of a pinned future.
pub async fn race<A: Future, B: Future>(a: A, b: B) -> Either<A::Output, B::Output> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let mut b_first = false;
    poll_fn(|cx| {
        b_first = !b_first;
        if b_first && let Poll::Ready(out) = b.as_mut().poll(cx) {
            return Poll::Ready(Either::Right(out));
        }
        if let Poll::Ready(out) = a.as_mut().poll(cx) {
            return Poll::Ready(Either::Left(out));
        }
        match b_first {
            true => Poll::Pending,
            false => b.as_mut().poll(cx).map(Either::Right),
        }
    })
    .await
}
