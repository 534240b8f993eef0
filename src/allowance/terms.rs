//! Limits as the counters reckon with them.

use super::clock::Moment;
use crate::domain::budget::{Budget, Cap};
use crate::domain::money::Money;
use crate::limits::{LEASE_REQUESTS_MAX, LEASES_ONE_IN};

/// One minute, nanoseconds.
pub(super) const MINUTE: u64 = 60_000_000_000;

/// What one holder is limited to; `None` and empty mean no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Requests in a minute.
    pub requests: Option<Pace>,
    /// Tokens of both directions in a minute.
    pub tokens: Option<Pace>,
    /// Requests at a time.
    pub concurrent: Option<u32>,
    /// Money by period.
    pub ceilings: Box<[Ceiling]>,
}

/// So many a minute, as a bucket that holds a whole minute's worth and fills evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    limit: u64,
    /// Nanoseconds in which one more becomes free; rounded up, so that no more than the limit does.
    interval: u64,
}

/// One budget in the unit of the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// The budget.
    pub budget: Budget,
    /// Its amount, nanodollars.
    pub nano: u64,
}

// === impl Terms ===

impl Terms {
    /// Whether there is no limit.
    pub fn is_empty(&self) -> bool {
        self.requests.is_none() && self.tokens.is_none() && self.concurrent.is_none() && self.ceilings.is_empty()
    }

    /// Whether there is any limit beyond which requests are refused.
    pub fn is_binding(&self) -> bool {
        let is_paced = self.requests.is_some() || self.tokens.is_some() || self.concurrent.is_some();
        is_paced || self.ceilings.iter().any(Ceiling::is_hard)
    }

    /// Requests that one of so many cores may have taken and not used.
    pub(super) fn requests_leased_max(&self, cores: u64) -> u64 {
        self.requests.map_or(0, |pace| pace.limit / share(cores)).clamp(1, LEASE_REQUESTS_MAX)
    }

    /// Tokens that one of so many cores may hold and not need.
    pub(super) fn tokens_leased_max(&self, cores: u64) -> u64 {
        self.tokens.map_or(0, |pace| pace.limit / share(cores))
    }

    /// Nanodollars that one of so many cores may hold and not need: by the smallest budget.
    pub(super) fn money_leased_max(&self, cores: u64) -> u64 {
        self.ceilings.iter().map(|ceiling| ceiling.nano).min().unwrap_or(0) / share(cores)
    }
}

fn share(cores: u64) -> u64 {
    LEASES_ONE_IN.saturating_mul(cores.max(1))
}

// === impl Pace ===

impl Pace {
    /// So many in a minute, at least one. Above 60 milliards a minute it is that many and no more.
    pub fn per_minute(limit: u64) -> Self {
        let limit = limit.max(1);
        Self { limit, interval: MINUTE.div_ceil(limit) }
    }

    /// So many in a minute, where none at all is possible: a part of a limit.
    pub fn part(limit: u64) -> Self {
        Self { limit, interval: MINUTE.div_ceil(limit.max(1)) }
    }

    /// How many in a minute.
    pub const fn limit(self) -> u64 {
        self.limit
    }

    /// Time in which so many become free, nanoseconds.
    pub(super) const fn time_of(self, count: u64) -> u64 {
        self.interval.saturating_mul(count)
    }

    /// Time in which an empty bucket fills.
    pub(super) const fn burst(self) -> u64 {
        self.time_of(self.limit)
    }

    /// How many are owed who become free in this time, begun ones too.
    pub(super) const fn count_of(self, nanos: u64) -> u64 {
        nanos.div_ceil(self.interval)
    }

    /// How many become free in this time.
    pub(super) const fn count_in(self, nanos: u64) -> u64 {
        nanos / self.interval
    }
}

// === impl Ceiling ===

impl Ceiling {
    /// A budget; what is finer than a nanodollar is cut off.
    pub fn new(budget: Budget) -> Self {
        let nano = u64::try_from(budget.amount.pico().max(0) / PICO_PER_NANO).unwrap_or(u64::MAX);
        // Sums of two amounts must fit a signed counter.
        Self { budget, nano: nano.min(i64::MAX as u64 / 4) }
    }

    /// Whether requests beyond it are refused.
    pub fn is_hard(&self) -> bool {
        self.budget.cap == Cap::Hard
    }

    /// When it begins anew.
    pub fn resets_at(&self, now: Moment) -> Option<crate::domain::clock::UnixMillis> {
        self.budget.period.end(now.millis())
    }
}

const PICO_PER_NANO: i128 = 1_000;

/// An amount in nanodollars, rounded up: what was used is never made less.
pub fn nano_of(amount: Money) -> u64 {
    let pico = amount.pico().max(0);
    // `div_ceil` of signed numbers is not stable: the amount is not negative here.
    u64::try_from(pico / PICO_PER_NANO + i128::from(pico % PICO_PER_NANO > 0))
        .unwrap_or(u64::MAX)
        .min(i64::MAX as u64 / 4)
}

/// An amount of nanodollars as money.
pub fn money_of(nano: u64) -> Money {
    Money::from_pico(i128::from(nano) * PICO_PER_NANO)
}
