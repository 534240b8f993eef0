//! This machine's part in the rates and places of one holder, where several machines share them, and what was asked for in vain.
//!
//! On a machine that is alone every part is the whole, and costs one load.

use super::clock::Moment;
use super::membership::Membership;
use super::terms::Pace;
use crate::domain::limit::LimitKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Parts, by [`LimitKind`]; that of money is in [`Spending`](super::Spending).
#[derive(Debug)]
pub struct Parts {
    member: Option<Arc<Membership>>,
    most: [AtomicU64; LimitKind::ALL.len()],
    wanted: [AtomicU64; LimitKind::ALL.len()],
    /// Nanodollars: a lease that has less left is asked for again, before anybody finds it used up. 0 on a machine that is alone.
    low: AtomicU64,
    /// Until when it is of no use to ask for more, a [`Moment`].
    dry: [AtomicU64; LimitKind::ALL.len()],
}

const WHOLE: u64 = u64::MAX;

impl Parts {
    /// The whole of everything, until a member of a fleet is told otherwise.
    pub(super) fn new(member: Option<Arc<Membership>>) -> Self {
        let each = |value: u64| [value; LimitKind::ALL.len()].map(AtomicU64::new);
        Self { member, most: each(WHOLE), wanted: each(0), low: AtomicU64::new(0), dry: each(0) }
    }

    /// The machines that share the limits; `None`: this one is alone.
    pub fn member(&self) -> Option<&Membership> {
        self.member.as_deref()
    }

    /// So many of a kind this machine may use; `None`: as many as the limit says.
    pub fn most(&self, kind: LimitKind) -> Option<u64> {
        let most = self.most[kind.place()].load(Ordering::Acquire);
        (most != WHOLE).then_some(most)
    }

    /// Says how many this machine may use.
    pub fn set(&self, kind: LimitKind, most: u64) {
        self.most[kind.place()].swap(most, Ordering::SeqCst);
    }

    /// The pace of this machine below that of the limit.
    pub(super) fn narrow(&self, kind: LimitKind, pace: Pace) -> Pace {
        let most = self.most[kind.place()].load(Ordering::Acquire);
        if most >= pace.limit() { pace } else { Pace::part(most) }
    }

    /// More is needed than this machine may use: whoever leases is told. Nothing happens while asking is of no use.
    #[cold]
    pub fn want(&self, kind: LimitKind, amount: u64, now: Moment) {
        if let Some(member) = &self.member
            && !self.is_dry(kind, now)
        {
            self.wanted[kind.place()].fetch_max(amount.max(1), Ordering::AcqRel);
            member.ring();
        }
    }

    /// Below how many nanodollars a lease is low.
    pub(super) fn low(&self) -> u64 {
        self.low.load(Ordering::Relaxed)
    }

    /// Says below how many nanodollars a lease is low.
    pub fn set_low(&self, nano: u64) {
        self.low.store(nano, Ordering::Relaxed);
    }

    /// What was wanted since this was last asked; 0: nothing.
    pub fn take_wanted(&self, kind: LimitKind) -> u64 {
        self.wanted[kind.place()].swap(0, Ordering::AcqRel)
    }

    /// Whether anything was wanted.
    pub fn is_wanting(&self) -> bool {
        self.wanted.iter().any(|wanted| wanted.load(Ordering::Acquire) > 0)
    }

    /// Until then it is of no use to ask for more.
    pub fn set_dry(&self, kind: LimitKind, until: Moment) {
        self.dry[kind.place()].store(until.0, Ordering::Release);
    }

    /// Whether it is of no use to ask for more.
    pub fn is_dry(&self, kind: LimitKind, now: Moment) -> bool {
        self.member().is_none_or(Membership::is_alone) || now.0 < self.dry[kind.place()].load(Ordering::Acquire)
    }
}
