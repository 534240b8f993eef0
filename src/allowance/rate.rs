//! So many a minute, of requests or tokens: a bucket that holds a whole minute's worth and fills evenly, in one instant of time.
//!
//! The generic cell rate algorithm (ITU-T I.371): the instant at which the bucket would be full again is all there is to know. It can be
//! written down, and read back by another process. Over any stretch of time W no more becomes due than `limit + limit * W / 60 s`.
//!
//! Requests are *taken* at once. Tokens are *held* by estimate and *settled* by what was used: what is held counts against the bucket, and
//! only what was used empties it, so that an estimate that was too high costs nothing and lends nothing.

use super::clock::Moment;
use super::terms::Pace;
use crate::limits::RATE_DEBT_MAX;
use std::sync::atomic::{AtomicU64, Ordering};

/// What was used of a rate. Only one of two ways is used with it: [`Rate::take`], or [`Rate::hold`] and [`Rate::settle`].
#[derive(Debug, Default)]
pub struct Rate {
    /// When the bucket would be full again, nanoseconds since the Unix epoch; in the past: it is full.
    full_at: AtomicU64,
    /// What may be used by requests under way, and leases of the cores.
    held: AtomicU64,
}

/// How much more than a whole minute's worth may be owed, nanoseconds.
const DEBT: u64 = RATE_DEBT_MAX.as_nanos() as u64;

impl Rate {
    /// Takes so many, all or none.
    ///
    /// # Errors
    /// Nanoseconds until there are as many.
    pub fn take(&self, pace: Pace, count: u64, now: Moment) -> Result<(), u64> {
        let end = now.0.saturating_add(pace.burst());
        let taken = self.full_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, |full_at| {
            let then = full_at.max(now.0).saturating_add(pace.time_of(count));
            (then <= end).then_some(then)
        });
        taken.map(drop).map_err(|full_at| self.wait(pace, full_at, count, now))
    }

    /// Gives back what was taken in the same breath: later, time would have given it back already.
    pub fn give_back(&self, pace: Pace, count: u64) {
        let earlier = |full_at: u64| Some(full_at.saturating_sub(pace.time_of(count)));
        // It always has a value to write.
        let _ = self.full_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, earlier);
    }

    /// Holds so many, all or none.
    ///
    /// # Errors
    /// Nanoseconds until there are as many, if what is held is used as estimated.
    pub fn hold(&self, pace: Pace, count: u64, now: Moment) -> Result<(), u64> {
        loop {
            let (held, full_at) = (self.held.load(Ordering::Acquire), self.full_at.load(Ordering::Acquire));
            let wanted = held.saturating_add(count);
            if !fits(pace, full_at, wanted, now) {
                return Err(self.wait(pace, full_at, wanted, now));
            }
            if self.held.compare_exchange_weak(held, wanted, Ordering::AcqRel, Ordering::Acquire).is_err() {
                continue;
            }
            // What was settled meanwhile may have left `held` as it was; it cannot have left `full_at` so. It only grows.
            if fits(pace, self.full_at.load(Ordering::Acquire), wanted, now) {
                return Ok(());
            }
            self.held.fetch_sub(count, Ordering::AcqRel);
        }
    }

    /// Takes what was used, also beyond what was held, and releases what was held for it. At most a minute's worth can be owed.
    pub fn settle(&self, pace: Pace, used: u64, released: u64, now: Moment) {
        if used > 0 {
            let end = now.0.saturating_add(pace.burst()).saturating_add(DEBT);
            let later = |full_at: u64| {
                let then = full_at.max(now.0).saturating_add(pace.time_of(used)).min(end);
                Some(then.max(full_at))
            };
            // It always has a value to write.
            let _ = self.full_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
        }
        if released > 0 {
            self.held.fetch_sub(released, Ordering::AcqRel);
        }
    }

    /// How many there are at this moment.
    pub fn remaining(&self, pace: Pace, now: Moment) -> u64 {
        let owed = self.full_at.load(Ordering::Acquire).saturating_sub(now.0);
        let there = pace.count_in(pace.burst().saturating_sub(owed));
        there.saturating_sub(self.held.load(Ordering::Acquire))
    }

    /// Nanoseconds until the bucket is full, if nothing more is used but what is held.
    pub fn full_in(&self, pace: Pace, now: Moment) -> u64 {
        let owed = self.full_at.load(Ordering::Acquire).saturating_sub(now.0);
        owed.saturating_add(pace.time_of(self.held.load(Ordering::Acquire)))
    }

    /// What can be written down: when the bucket would be full again.
    pub fn full_at(&self) -> Moment {
        Moment(self.full_at.load(Ordering::Acquire))
    }

    /// What was written down. A moment farther ahead than could be owed is from a clock that was wrong, and is brought nearer: nobody is
    /// refused for ever.
    pub fn restore(&self, pace: Pace, full_at: Moment, now: Moment) {
        let end = now.0.saturating_add(pace.burst()).saturating_add(DEBT);
        self.full_at.fetch_max(full_at.0.min(end), Ordering::AcqRel);
    }

    /// Goes over to another pace. A slower one leaves in the bucket the same part of it, a faster one as many as before, and what is new
    /// only if that `is_full`: otherwise it has to flow in, so that a part that wanders between machines is not used twice.
    pub fn turn(&self, (from, to): (Pace, Pace), is_full: bool, now: Moment) {
        if to.limit() <= from.limit() {
            return;
        }
        let turned = |full_at: u64| {
            let owed = from.count_of(full_at.saturating_sub(now.0));
            let more = if is_full { 0 } else { to.limit() - from.limit() };
            Some(now.0.saturating_add(to.time_of(owed.saturating_add(more))))
        };
        // It always has a value to write.
        let _ = self.full_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, turned);
    }

    /// Whether nothing is owed and nothing held.
    pub fn is_full(&self, now: Moment) -> bool {
        self.held.load(Ordering::Acquire) == 0 && self.full_at.load(Ordering::Acquire) <= now.0
    }

    /// How long until so many fit; brings a moment nearer that no debt explains.
    fn wait(&self, pace: Pace, full_at: u64, count: u64, now: Moment) -> u64 {
        let end = now.0.saturating_add(pace.burst());
        let most = end.saturating_add(DEBT);
        if full_at > most {
            // Who loses this race has seen another value, and so will the next one.
            let _ = self.full_at.compare_exchange(full_at, most, Ordering::AcqRel, Ordering::Acquire);
        }
        let then = full_at.min(most).max(now.0).saturating_add(pace.time_of(count));
        then.saturating_sub(end)
    }
}

fn fits(pace: Pace, full_at: u64, count: u64, now: Moment) -> bool {
    full_at.max(now.0).saturating_add(pace.time_of(count)) <= now.0.saturating_add(pace.burst())
}
