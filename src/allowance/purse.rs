//! What one core has taken in advance of one holder's counters: requests, tokens and money for the next few exchanges.
//!
//! ```text
//!   request:  lease --take, quick--> twice as large (up to its bound)        --slow--> half
//!   amounts:  balance --take--> an exchange --settle--> used (told later, in one go) + balance
//! ```
//!
//! While the balance lasts, an exchange touches no memory of other cores. A lease is small against its limit, over all cores together one
//! part in [`LEASES_ONE_IN`](crate::limits::LEASES_ONE_IN); limits too small for that are counted one by one, exactly. What is not needed for a
//! moment goes back.

use super::clock::Moment;
use super::spending::{Bound, Short};
use super::terms::{Ceiling, Pace};
use super::{Counters, Holder, Rate, Spending};
use crate::domain::limit::LimitKind;
use crate::limits::{LEASE_IDLE, LEASE_QUICK};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One core's part of one holder's allowance. What is in it goes back when it is dropped.
#[derive(Debug)]
pub struct Purse {
    holder: Arc<Holder>,
    cores: u64,
    requests: Lease,
    tokens: Pocket,
    money: Pocket,
    touched: Moment,
}

/// Why a holder may do no more for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There will be room by then.
    Wait {
        /// Of what there is none.
        kind: LimitKind,
        /// The limit.
        limit: u64,
        /// How long.
        wait: Duration,
        /// Whether it is the limit that is reached, or this machine's part of it.
        bound: Bound,
    },
    /// There is no money.
    Short(Short),
}

/// Requests taken in advance.
#[derive(Debug, Default)]
struct Lease {
    left: u64,
    size: u64,
    taken_at: Moment,
}

/// An amount held in advance.
#[derive(Debug, Default)]
struct Pocket {
    /// Held for nobody yet.
    balance: u64,
    /// Used, and still held.
    used: u64,
    size: u64,
    filled_at: Moment,
}

/// What a pocket is filled from.
trait Source {
    type Refusal;
    fn hold(&self, amount: u64, now: Moment) -> Result<(), Self::Refusal>;
    fn settle(&self, used: u64, released: u64, now: Moment);
}

/// What is said of a part that is nothing, nanoseconds: it may come with the next round.
const WAIT_FOR_PART: u64 = 1_000_000_000;

struct Tokens<'a>(&'a Rate, Pace);
struct Money<'a>(&'a Spending, &'a [Ceiling]);

// === impl Purse ===

impl Purse {
    /// An empty one, for one of so many cores.
    pub fn new(holder: Arc<Holder>, cores: u64) -> Self {
        let (requests, tokens, money) = Default::default();
        Self { holder, cores, requests, tokens, money, touched: Moment(0) }
    }

    /// The same with the limits as they are now.
    pub fn adopt(&mut self, holder: &Arc<Holder>, now: Moment) {
        self.touched = now;
        if !Arc::ptr_eq(&self.holder, holder) {
            // What was held by the old limits is given back by them.
            self.give_back(now);
            self.holder = holder.clone();
        }
    }

    /// Takes one request.
    ///
    /// # Errors
    /// [`Refusal::Wait`].
    pub fn take_request(&mut self, now: Moment) -> Result<(), Refusal> {
        let Some(pace) = self.holder.requests() else { return Ok(()) };
        let (lease, rate) = (&mut self.requests, &self.holder.counters.requests);
        let age = Duration::from_nanos(now.0.saturating_sub(lease.taken_at.0));
        // Later than that, time has filled the bucket again with what is in here.
        if lease.left > 0 && age <= LEASE_IDLE {
            lease.left -= 1;
            return Ok(());
        }
        lease.size = next_size(lease.size, 1, age, self.holder.terms.requests_leased_max(self.cores));
        (lease.left, lease.taken_at) = (0, now);
        if lease.size > 1 && rate.take(pace, lease.size, now).is_ok() {
            lease.left = lease.size - 1;
            return Ok(());
        }
        rate.take(pace, 1, now).map_err(|wait| self.late(LimitKind::Requests, pace, 1, (wait, now)))
    }

    /// There will be room after a wait, or at once if this machine gets a larger part.
    fn late(&self, kind: LimitKind, pace: Pace, amount: u64, (wait, now): (u64, Moment)) -> Refusal {
        let Holder { terms, counters, .. } = &*self.holder;
        let whole = if kind == LimitKind::Requests { terms.requests } else { terms.tokens };
        let limit = whole.map_or(0, Pace::limit);
        let bound = if pace.limit() < limit { Bound::Lease } else { Bound::Budget };
        if bound == Bound::Lease {
            counters.parts.want(kind, amount, now);
        }
        Refusal::Wait { kind, limit, wait: Duration::from_nanos(wait), bound }
    }

    /// Gives one back that was taken in the same breath.
    pub fn give_back_request(&mut self) {
        if let Some(pace) = self.holder.requests() {
            self.holder.counters.requests.give_back(pace, 1);
        }
    }

    /// Holds tokens; an estimate of more than a whole minute's worth waits for a full bucket. Answers how many are held.
    ///
    /// # Errors
    /// [`Refusal::Wait`].
    pub fn hold_tokens(&mut self, estimate: u64, now: Moment) -> Result<u64, Refusal> {
        let Holder { terms, counters, .. } = &*self.holder;
        let Some(pace) = self.holder.tokens() else { return Ok(0) };
        // A part that cannot grow now bounds an estimate as the limit does.
        let whole = terms.tokens.filter(|_| !counters.parts.is_dry(LimitKind::Tokens, now)).unwrap_or(pace);
        if whole.limit() == 0 {
            return Err(self.late(LimitKind::Tokens, pace, estimate, (WAIT_FOR_PART, now)));
        }
        let amount = estimate.min(whole.limit());
        let source = Tokens(&counters.tokens, pace);
        let taken = self.tokens.take(&source, amount, terms.tokens_leased_max(self.cores), now);
        taken.map(|()| amount).map_err(|wait| self.late(LimitKind::Tokens, pace, amount, (wait, now)))
    }

    /// Settles what [`Purse::hold_tokens`] held.
    pub fn settle_tokens(&mut self, held: u64, used: u64, now: Moment) {
        let terms = &self.holder.terms;
        if let Some(pace) = self.holder.tokens() {
            let source = Tokens(&self.holder.counters.tokens, pace);
            self.tokens.settle(&source, held, used, terms.tokens_leased_max(self.cores), now);
        } else if held > 0 {
            // The limit was taken away meanwhile.
            self.holder.counters.tokens.settle(Pace::per_minute(1), 0, held, now);
        }
    }

    /// Holds nanodollars.
    ///
    /// # Errors
    /// [`Refusal::Short`].
    pub fn hold_money(&mut self, nano: u64, now: Moment) -> Result<(), Refusal> {
        let terms = &self.holder.terms;
        let source = Money(&self.holder.counters.spending, &terms.ceilings);
        let taken = self.money.take(&source, nano, terms.money_leased_max(self.cores), now);
        let Counters { spending, parts, .. } = &*self.holder.counters;
        let low = parts.low();
        match taken {
            Ok(()) if low > 0 && spending.slack(&terms.ceilings, now) < low => {
                parts.want(LimitKind::Budget, nano, now);
                Ok(())
            }
            Ok(()) => Ok(()),
            Err(short) => {
                if short.bound == Bound::Lease {
                    parts.want(LimitKind::Budget, nano, now);
                }
                Err(Refusal::Short(short))
            }
        }
    }

    /// Settles what [`Purse::hold_money`] held.
    pub fn settle_money(&mut self, held: u64, cost: u64, now: Moment) {
        let terms = &self.holder.terms;
        let source = Money(&self.holder.counters.spending, &terms.ceilings);
        self.money.settle(&source, held, cost, terms.money_leased_max(self.cores), now);
    }

    /// Tells what was used, and gives back what was not needed for a while. Whether nothing is left in it.
    pub fn sweep(&mut self, now: Instant) -> bool {
        let now = self.holder.clock.at(now);
        let is_idle = now.0.saturating_sub(self.touched.0) >= LEASE_IDLE.as_nanos() as u64;
        match is_idle {
            true => self.give_back(now),
            false => self.tell(now),
        }
        is_idle
    }

    fn tell(&mut self, now: Moment) {
        let Holder { terms, counters, .. } = &*self.holder;
        if let Some(pace) = self.holder.tokens() {
            self.tokens.tell(&Tokens(&counters.tokens, pace), now);
        }
        self.money.tell(&Money(&counters.spending, &terms.ceilings), now);
    }

    fn give_back(&mut self, now: Moment) {
        self.tell(now);
        let Holder { terms, counters, .. } = &*self.holder;
        if let Some(pace) = self.holder.tokens() {
            self.tokens.empty(&Tokens(&counters.tokens, pace), now);
        }
        self.money.empty(&Money(&counters.spending, &terms.ceilings), now);
        self.requests.left = 0;
    }
}

impl Drop for Purse {
    fn drop(&mut self) {
        self.give_back(self.touched);
    }
}

// === impl Pocket ===

impl Pocket {
    fn take<S: Source>(&mut self, source: &S, amount: u64, most: u64, now: Moment) -> Result<(), S::Refusal> {
        if amount > 0 && self.balance >= amount {
            self.balance -= amount;
            return Ok(());
        }
        self.tell(source, now);
        let missing = amount - self.balance.min(amount);
        let age = Duration::from_nanos(now.0.saturating_sub(self.filled_at.0));
        self.size = next_size(self.size, amount, age, most);
        self.filled_at = now;
        if self.size > 0 && source.hold(missing.saturating_add(self.size), now).is_ok() {
            self.balance = self.balance.saturating_sub(amount).saturating_add(self.size);
            return Ok(());
        }
        source.hold(missing, now)?;
        self.balance = self.balance.saturating_sub(amount);
        Ok(())
    }

    fn settle<S: Source>(&mut self, source: &S, held: u64, used: u64, most: u64, now: Moment) {
        let own = used.min(held);
        self.balance = self.balance.saturating_add(held - own);
        let from_balance = (used - own).min(self.balance);
        self.balance -= from_balance;
        self.used = self.used.saturating_add(own).saturating_add(from_balance);
        // More than was estimated: it was used all the same.
        let beyond = used - own - from_balance;
        let surplus = self.balance.saturating_sub(most);
        self.balance -= surplus;
        if beyond > 0 || surplus > 0 || most == 0 {
            let told = std::mem::take(&mut self.used);
            source.settle(told.saturating_add(beyond), told.saturating_add(surplus), now);
        }
    }

    /// Tells what was used.
    fn tell<S: Source>(&mut self, source: &S, now: Moment) {
        let used = std::mem::take(&mut self.used);
        if used > 0 {
            source.settle(used, used, now);
        }
    }

    /// Gives the balance back.
    fn empty<S: Source>(&mut self, source: &S, now: Moment) {
        source.settle(0, std::mem::take(&mut self.balance), now);
    }
}

/// How much to take in advance after the last lot lasted so long: what is needed often is taken in larger lots.
fn next_size(size: u64, amount: u64, lasted: Duration, most: u64) -> u64 {
    let next = if lasted <= LEASE_QUICK { size.saturating_mul(2).max(amount) } else { size / 2 };
    next.min(most)
}

// === impl Source ===

impl Source for Tokens<'_> {
    type Refusal = u64;

    fn hold(&self, amount: u64, now: Moment) -> Result<(), u64> {
        self.0.hold(self.1, amount, now)
    }

    fn settle(&self, used: u64, released: u64, now: Moment) {
        self.0.settle(self.1, used, released, now);
    }
}

impl Source for Money<'_> {
    type Refusal = Short;

    fn hold(&self, amount: u64, now: Moment) -> Result<(), Short> {
        self.0.hold(self.1, amount, now)
    }

    fn settle(&self, used: u64, released: u64, _now: Moment) {
        self.0.settle(used, released);
    }
}
