//! What limits need to know of the machines that share them: whether what was leased still counts, and a bell for who needs more.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// This machine's part in a fleet, as all its holders of limits see it.
#[derive(Debug)]
pub struct Membership {
    began: Instant,
    /// Until when leases count, nanoseconds since `began`; [`NO_TERM`]: for ever.
    until: AtomicU64,
    /// Whether the last round of leases was lost.
    is_alone: AtomicBool,
    bell: AtomicBool,
    listener: Mutex<Option<Waker>>,
}

const NO_TERM: u64 = u64::MAX;

impl Membership {
    /// With leases that count until then; `None`: for ever.
    pub fn new(now: Instant, until: Option<Instant>) -> Self {
        let membership = Self {
            began: now,
            until: AtomicU64::new(NO_TERM),
            is_alone: AtomicBool::new(false),
            bell: AtomicBool::new(false),
            listener: Mutex::new(None),
        };
        membership.extend(until);
        membership
    }

    /// Leases count until then; `None`: for ever.
    pub fn extend(&self, until: Option<Instant>) {
        let nanos = until.map_or(NO_TERM, |until| nanos(self.began, until));
        self.until.store(nanos, Ordering::Release);
    }

    /// Whether no lease counts any more: the database was not reached for too long.
    pub fn is_over(&self, now: Instant) -> bool {
        let until = self.until.load(Ordering::Acquire);
        until != NO_TERM && nanos(self.began, now) >= until
    }

    /// Says whether the last round of leases was lost.
    pub fn set_alone(&self, is_alone: bool) {
        self.is_alone.store(is_alone, Ordering::Release);
    }

    /// Whether there is nobody to ask for more.
    pub fn is_alone(&self) -> bool {
        self.is_alone.load(Ordering::Acquire)
    }

    /// Somebody needs more than was leased. Cheap while the bell already rings.
    pub fn ring(&self) {
        if !self.bell.swap(true, Ordering::AcqRel)
            && let Some(waker) = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            waker.wake();
        }
    }

    /// Ready when the bell was rung since the last time.
    pub fn poll_rung(&self, context: &mut Context<'_>) -> Poll<()> {
        // First the waker, then the look: who rings in between finds it.
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        if self.bell.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
    }
}

fn nanos(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(NO_TERM - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_term_ends_and_is_extended() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let bound = Membership::new(now, Some(at(10)));
        assert_eq!((bound.is_over(at(9)), bound.is_over(at(10))), (false, true));
        bound.extend(Some(at(20)));
        assert_eq!((bound.is_over(at(19)), bound.is_over(at(21))), (false, true));
        assert!(!Membership::new(now, None).is_over(at(1_000_000)));
    }

    #[test]
    fn a_bell_is_heard_once_however_often_it_was_rung() {
        let member = Membership::new(Instant::now(), None);
        let mut context = Context::from_waker(Waker::noop());
        assert!(member.poll_rung(&mut context).is_pending());
        member.ring();
        member.ring();
        assert!(member.poll_rung(&mut context).is_ready() && member.poll_rung(&mut context).is_pending());
    }
}
