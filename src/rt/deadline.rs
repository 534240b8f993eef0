//! Deadlines: one wheel and one ticker task per core, no kernel timer per operation.
//!
//! The ticker sleeps until the next slot of the wheel that holds anything, or for good while it holds nothing. Granularity is
//! [`DEADLINE_TICK`]: a deadline fires up to a tick late and never early. After warm-up nothing here allocates.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::task::{self, coarse_now};
use super::wheel::{Key, Wheel};
use crate::limits::DEADLINE_TICK;

/// How long a task that must let others run sits out.
const SOON: Duration = Duration::from_millis(1);

thread_local! {
    static WHEEL: RefCell<Wheel> = const { RefCell::new(Wheel::new()) };
    /// Where tick 0 of this core lies.
    static ORIGIN: Instant = Instant::now();
    static TICKER: RefCell<Option<Waker>> = const { RefCell::new(None) };
    /// What the ticker sleeps until; `None` while it sleeps for good.
    static PLANNED: Cell<Option<Instant>> = const { Cell::new(None) };
    /// Tasks that sit out, and until when.
    static SITTING_OUT: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
    static SITTING_OUT_UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The deadline passed before the work was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the deadline passed")]
pub struct Elapsed;

/// A deadline that is set again and again: one per connection, no work to move it later.
///
/// ```text
/// let mut deadline = Deadline::new();
/// deadline.at(rt::coarse_now() + HEAD_DEADLINE);
/// deadline.run(read_head(&mut conn)).await?;
/// ```
#[derive(Default)]
pub struct Deadline {
    at: Option<Instant>,
    key: Option<Key>,
    /// Its entry lives in this core's wheel.
    local: PhantomData<*const ()>,
}

impl Deadline {
    /// A deadline that never passes.
    pub const fn new() -> Deadline {
        Deadline { at: None, key: None, local: PhantomData }
    }

    /// Sets or moves it. Moving later costs a store.
    pub fn at(&mut self, at: Instant) {
        self.at = Some(at);
        let Some(key) = self.key else {
            return;
        };
        let tick = tick_of(at);
        if WHEEL.with_borrow_mut(|wheel| wheel.postpone(key, tick)) {
            plan(instant_of(tick));
        }
    }

    /// Lifts it: it never passes until set again.
    pub fn clear(&mut self) {
        self.at = None;
        self.forget();
    }

    /// When it passes.
    pub fn instant(&self) -> Option<Instant> {
        self.at
    }

    /// Whether it has passed.
    pub fn has_passed(&self) -> bool {
        self.at.is_some_and(|at| coarse_now() >= at)
    }

    /// Ready once it has passed; wakes the task then. Pending for good while it is not set.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else {
            return Poll::Pending;
        };
        if coarse_now() >= at {
            return Poll::Ready(());
        }
        let tick = tick_of(at);
        let (key, replaced) = WHEEL.with_borrow_mut(|wheel| {
            let key = self.key.unwrap_or_else(|| wheel.insert());
            (key, wheel.arm(key, tick, cx.waker()))
        });
        self.key = Some(key);
        // Outside of the borrow: a waker may be the last owner of a task.
        drop(replaced);
        plan(instant_of(tick));
        Poll::Pending
    }

    /// Polls `future` until it ends or the deadline passes. The future is asked first, so work that is done counts.
    ///
    /// # Errors
    /// [`Elapsed`], and `future` was dropped.
    pub async fn run<F: Future>(&mut self, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(out) => Poll::Ready(Ok(out)),
            Poll::Pending => self.poll(cx).map(|()| Err(Elapsed)),
        })
        .await
    }

    fn forget(&mut self) {
        if let Some(key) = self.key.take() {
            let waker = WHEEL.try_with(|wheel| wheel.borrow_mut().remove(key));
            drop(waker);
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.forget();
    }
}

/// Polls `future` until it ends or `at` passes. For a single wait; a connection keeps a [`Deadline`] instead.
///
/// # Errors
/// [`Elapsed`], and `future` was dropped. Fills and flushes lose nothing by that.
pub async fn with_deadline<F: Future>(at: Instant, future: F) -> Result<F::Output, Elapsed> {
    let mut deadline = Deadline::new();
    deadline.at(at);
    deadline.run(future).await
}

// ---- The ticker -------------------------------------------------------------------------------------------------------------

/// Starts the ticker of this core.
pub(super) fn start() {
    PLANNED.set(None);
    task::spawn(async {
        loop {
            let next = fire();
            PLANNED.set(next);
            wait(next).await;
        }
    });
}

/// Forgets what the ended ticker left; the next runtime on this thread starts anew.
pub(super) fn stop() {
    drop(TICKER.take());
    drop(SITTING_OUT.take());
    SITTING_OUT_UNTIL.set(None);
}

/// Wakes the task about a millisecond from now.
pub(super) fn wake_soon(waker: &Waker) {
    SITTING_OUT.with_borrow_mut(|sitting| sitting.push(waker.clone()));
    let until = SITTING_OUT_UNTIL.get().unwrap_or_else(|| Instant::now() + SOON);
    SITTING_OUT_UNTIL.set(Some(until));
    plan(until);
}

/// Makes sure that the ticker looks at the wheel at `at`.
fn plan(at: Instant) {
    if PLANNED.get().is_none_or(|planned| at < planned) {
        PLANNED.set(Some(at));
        // Taken out first: waking puts the ticker into the run queue, and nothing else may hold the cell meanwhile.
        if let Some(ticker) = TICKER.take() {
            ticker.wake();
        }
    }
}

/// Sleeps until `next`, or until the plan changes.
async fn wait(next: Option<Instant>) {
    let mut timer = pin!(next.map(|at| monoio::time::sleep(at.saturating_duration_since(Instant::now()))));
    poll_fn(|cx| {
        if PLANNED.get() != next {
            return Poll::Ready(());
        }
        drop(TICKER.replace(Some(cx.waker().clone())));
        match timer.as_mut().as_pin_mut() {
            Some(timer) => timer.poll(cx),
            None => Poll::Pending,
        }
    })
    .await;
}

/// Wakes everything that is due and says when to come back.
fn fire() -> Option<Instant> {
    let now = Instant::now();
    let tick = passed_ticks(now);
    while let Some(waker) = WHEEL.with_borrow_mut(|wheel| wheel.pop(tick)) {
        waker.wake();
    }
    if SITTING_OUT_UNTIL.get().is_some_and(|until| now >= until) {
        SITTING_OUT_UNTIL.set(None);
        while let Some(waker) = SITTING_OUT.with_borrow_mut(Vec::pop) {
            waker.wake();
        }
    }
    let wheel = WHEEL.with_borrow(Wheel::next).map(instant_of);
    match (wheel, SITTING_OUT_UNTIL.get()) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Nanoseconds of a tick.
#[allow(clippy::cast_possible_truncation)] // A few million.
const TICK_NANOS: u64 = DEADLINE_TICK.as_nanos() as u64;

/// Whole ticks that have passed.
fn passed_ticks(now: Instant) -> u64 {
    nanos_of(now) / TICK_NANOS
}

/// Nanoseconds from tick 0 to `at`, in 64 bits, which are enough for centuries and divide in a few instructions.
fn nanos_of(at: Instant) -> u64 {
    let since = at.saturating_duration_since(ORIGIN.with(|origin| *origin));
    since.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(since.subsec_nanos()))
}

/// The first tick at which `at` has passed.
fn tick_of(at: Instant) -> u64 {
    // Far below u64::MAX, so that the wheel can add to it.
    nanos_of(at).div_ceil(TICK_NANOS).min(u64::MAX >> 8)
}

fn instant_of(tick: u64) -> Instant {
    ORIGIN.with(|origin| *origin) + Duration::from_nanos(tick.saturating_mul(TICK_NANOS).min(u64::MAX >> 1))
}
