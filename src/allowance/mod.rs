//! How much an access key, or a tenant, may still do: counters that every core shares, from which each takes leases.
//!
//! ```text
//!   control plane: one Holder per access key or tenant with limits, kept while the process lives
//!        |  by Arc, in every snapshot: a new one forgets nothing
//!        v
//!   Counters (atomics, shared by all cores)  <-- lease, settle --  Purse (one core's own, a few of everything)  <-- an exchange
//! ```
//!
//! What a request may use is held before it is sent and settled when it is over (rule T7), so that an overrun is at most what requests
//! under way use beyond their estimates: nothing is admitted by a race. What the cores have taken and not used counts as used, so leases
//! refuse a little early and never late. `now` is an argument, on a clock that never goes back (rule L9).

mod clock;
mod membership;
mod part;
mod purse;
mod rate;
mod spending;
mod terms;

#[cfg(test)]
mod tests;

pub use clock::{Moment, SteadyClock, Step};
pub use membership::Membership;
pub use part::Parts;
pub use purse::{Purse, Refusal};
pub use rate::Rate;
pub use spending::{Bound, Short, Spending};
pub use terms::{Ceiling, Pace, Terms, money_of, nano_of};

use crate::domain::limit::LimitKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What one access key may still do: its own limits, and those of its tenant. Both must have room.
#[derive(Clone, Debug, Default)]
pub struct Allowance {
    own: Option<Arc<Holder>>,
    tenant: Option<Arc<Holder>>,
}

/// Whose limits they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// Those of one access key.
    AccessKey,
    /// Those of all access keys of a tenant together.
    Tenant,
}

/// Who has limits: the limits as they are now, and what was used of them so far.
#[derive(Debug)]
pub struct Holder {
    /// Whose limits they are.
    pub whose: Whose,
    /// The limits.
    pub terms: Terms,
    /// What was used of them; the same for every [`Holder`] of one access key or tenant, whatever its limits were.
    pub counters: Arc<Counters>,
    /// The clock they are kept by.
    pub clock: Arc<SteadyClock>,
}

/// What was used, by all cores.
#[derive(Debug)]
pub struct Counters {
    /// Names these counters within the process.
    pub serial: u64,
    /// Requests in a minute.
    pub requests: Rate,
    /// Tokens of both directions in a minute.
    pub tokens: Rate,
    /// Requests at a time.
    pub places: Places,
    /// Money.
    pub spending: Spending,
    /// This machine's part in the rates and places.
    pub parts: Parts,
}

/// Counts what is under way; exact.
#[derive(Debug, Default)]
pub struct Places(AtomicU32);

// === impl Allowance ===

impl Allowance {
    /// The limits of an access key and of its tenant, where there are any.
    pub fn new(own: Option<Arc<Holder>>, tenant: Option<Arc<Holder>>) -> Self {
        Self { own, tenant }
    }

    /// Whether there is no limit at all.
    pub fn is_unlimited(&self) -> bool {
        self.own.is_none() && self.tenant.is_none()
    }

    /// Who has limits, the access key before its tenant.
    pub fn holders(&self) -> [Option<&Arc<Holder>>; 2] {
        [self.own.as_ref(), self.tenant.as_ref()]
    }
}

// === impl Holder ===

impl Holder {
    /// Requests a minute on this machine.
    pub fn requests(&self) -> Option<Pace> {
        self.terms.requests.map(|pace| self.counters.parts.narrow(LimitKind::Requests, pace))
    }

    /// Tokens a minute on this machine.
    pub fn tokens(&self) -> Option<Pace> {
        self.terms.tokens.map(|pace| self.counters.parts.narrow(LimitKind::Tokens, pace))
    }

    /// Takes a place; whether it did, and what there are too few of.
    ///
    /// # Errors
    /// [`Bound::Budget`] stands for the limit itself.
    pub fn take_place(&self, now: Moment) -> Result<(), Bound> {
        let Some(limit) = self.terms.concurrent else { return Ok(()) };
        let Counters { places, parts, .. } = &*self.counters;
        let most =
            parts.most(LimitKind::Concurrent).map_or(limit, |most| u32::try_from(most).unwrap_or(u32::MAX).min(limit));
        if places.take(most) {
            return Ok(());
        }
        if most == limit {
            return Err(Bound::Budget);
        }
        parts.want(LimitKind::Concurrent, u64::from(most) + 1, now);
        Err(Bound::Lease)
    }
}

// === impl Whose ===

impl Whose {
    /// For messages to a client.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::AccessKey => "this access key",
            Self::Tenant => "this access key's tenant",
        }
    }
}

// === impl Counters ===

impl Counters {
    /// Nothing was used yet, on a machine that is alone.
    pub fn new(now: Moment) -> Self {
        Self::of_member(now, None)
    }

    /// Nothing was used yet; `member`: the machines that share the limits.
    pub fn of_member(now: Moment, member: Option<Arc<Membership>>) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        Self {
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            requests: Rate::default(),
            tokens: Rate::default(),
            places: Places::default(),
            spending: Spending::new(now),
            parts: Parts::new(member),
        }
    }
}

// === impl Places ===

impl Places {
    /// Takes a place if there are fewer than `limit` taken; whether it did.
    pub fn take(&self, limit: u32) -> bool {
        let more = |taken: u32| (taken < limit).then_some(taken.saturating_add(1));
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    /// Gives back a place that was taken.
    pub fn give_back(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }

    /// Places taken.
    pub fn taken(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}
