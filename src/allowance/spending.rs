//! Money by period: what was spent, what is held for requests under way, and where each period began.
//!
//! ```text
//!   used in a period = spent - spent when it began + held            refused when that would be more than the budget
//!   a request:  hold(estimate) --> ... --> settle(cost, estimate)    spent += cost, then held -= estimate
//!   a period:   current --its end, first who looks--> turning --> current      (the mark becomes what is spent by then)
//! ```
//!
//! One sum serves all periods: each only remembers where in it it began. Whoever looks first after its end moves the mark; who looks in
//! that instant takes the new period for unspent. `spent` never falls, so that nobody gains by a race. What a request holds over the end
//! of a period belongs to the new one.
//!
//! Where several machines share the budgets, each period also has what this machine was granted of it, and what was spent elsewhere. Own
//! spending ends at the grant, and the sum of both at the budget. A new period begins with the credit: what may be spent before anything
//! was granted. On a machine that is alone the grant has no end.

use super::clock::Moment;
use super::terms::Ceiling;
use crate::domain::budget::Period;
use crate::domain::clock::UnixMillis;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// What was spent by one holder, nanodollars.
#[derive(Debug)]
pub struct Spending {
    /// Since these counters were made; never falls.
    spent: AtomicI64,
    /// For requests under way, and leases of the cores.
    held: AtomicI64,
    /// By [`Period`], in its order.
    marks: [Mark; Period::ALL.len()],
}

/// Where a period began.
#[derive(Debug)]
struct Mark {
    /// When it is over, milliseconds since the Unix epoch; [`TURNING`] while somebody moves the mark, [`NEVER`] for one that does not end.
    ends: AtomicU64,
    /// `spent` when it began.
    base: AtomicI64,
    /// How far this machine may spend in it.
    granted: AtomicI64,
    /// What other machines spent in it, as far as is known.
    elsewhere: AtomicI64,
    /// `granted` of the next one.
    credit: AtomicI64,
}

const TURNING: u64 = 0;
const NEVER: u64 = u64::MAX;

/// Why money is not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// Which of the ceilings is reached.
    pub place: usize,
    /// Nanodollars that are left below it.
    pub left: u64,
    /// What there is too little of.
    pub bound: Bound,
}

/// What an amount must stay within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The budget or limit itself, which all machines share.
    Budget,
    /// What this machine was granted of it.
    Lease,
}

// === impl Spending ===

impl Spending {
    /// Nothing was spent yet.
    pub fn new(now: Moment) -> Self {
        let mark = |period| Mark {
            ends: AtomicU64::new(end_of(period, now)),
            base: AtomicI64::new(0),
            granted: AtomicI64::new(i64::MAX),
            elsewhere: AtomicI64::new(0),
            credit: AtomicI64::new(i64::MAX),
        };
        Self { spent: AtomicI64::new(0), held: AtomicI64::new(0), marks: Period::ALL.map(mark) }
    }

    /// Holds an amount within all hard ceilings, or not at all. Where one is spent already, nothing is held, not even nothing.
    ///
    /// # Errors
    /// The first ceiling that is reached.
    pub fn hold(&self, ceilings: &[Ceiling], nano: u64, now: Moment) -> Result<(), Short> {
        let amount = signed(nano);
        loop {
            let held = self.held.load(Ordering::Acquire);
            let wanted = held.saturating_add(amount);
            self.check(ceilings, held, amount, now)?;
            if self.held.compare_exchange_weak(held, wanted, Ordering::SeqCst, Ordering::Acquire).is_err() {
                continue;
            }
            // What was settled meanwhile may have left `held` as it was; `spent` has grown then, and is looked at again.
            match self.check(ceilings, held, amount, now) {
                Ok(()) => return Ok(()),
                Err(_) => self.held.fetch_sub(amount, Ordering::AcqRel),
            };
        }
    }

    /// Whether any hard ceiling is spent, whatever is held.
    ///
    /// # Errors
    /// The first one that is.
    pub fn check_spent(&self, ceilings: &[Ceiling], now: Moment) -> Result<(), Short> {
        for (place, ceiling) in ceilings.iter().enumerate().filter(|(_, ceiling)| ceiling.is_hard()) {
            if self.spent_in(ceiling.budget.period, now) >= ceiling.nano {
                return Err(Short { place, left: 0, bound: Bound::Budget });
            }
        }
        Ok(())
    }

    /// Takes in what was spent, also beyond what was held, and releases what was held for it.
    pub fn settle(&self, spent: u64, released: u64) {
        if spent > 0 {
            self.spent.fetch_add(signed(spent), Ordering::AcqRel);
        }
        if released > 0 {
            self.held.fetch_sub(signed(released), Ordering::AcqRel);
        }
    }

    /// What was spent in the period that is under way, by all machines as far as is known; nanodollars.
    pub fn spent_in(&self, period: Period, now: Moment) -> u64 {
        let own = self.own_in(period, now);
        own.saturating_add(unsigned(self.marks[period as usize].elsewhere.load(Ordering::Acquire)))
    }

    /// What this machine spent in the period that is under way, nanodollars.
    pub fn own_in(&self, period: Period, now: Moment) -> u64 {
        let spent = self.spent.load(Ordering::Acquire);
        unsigned(spent.saturating_sub(self.base(period, now)))
    }

    /// How far this machine may spend in the period that was last looked at, nanodollars; `None`: as far as the budget goes.
    pub fn granted(&self, period: Period) -> Option<u64> {
        let granted = self.marks[period as usize].granted.load(Ordering::SeqCst);
        (granted != i64::MAX).then(|| unsigned(granted))
    }

    /// Says how far this machine may spend in the period that ends then, milliseconds since the Unix epoch (`u64::MAX`: never). Nothing, if that period is over. Holds that began under a higher grant stand: whoever lowers one reads
    /// [`Spending::held`] after it.
    pub fn grant(&self, period: Period, ends: u64, granted: u64) {
        let mark = &self.marks[period as usize];
        if mark.ends.load(Ordering::Acquire) != ends {
            return;
        }
        mark.granted.swap(signed(granted), Ordering::SeqCst);
        if mark.ends.load(Ordering::Acquire) != ends {
            // It ended in this very instant, and the next one began with its credit.
            mark.granted.store(mark.credit.load(Ordering::Acquire), Ordering::SeqCst);
        }
    }

    /// Nanodollars below the nearest grant that neither are spent nor held.
    pub fn slack(&self, ceilings: &[Ceiling], now: Moment) -> u64 {
        let held = self.held.load(Ordering::Acquire);
        let hard = ceilings.iter().filter(|ceiling| ceiling.is_hard()).map(|ceiling| ceiling.budget.period);
        let left = hard.map(|period| {
            let granted = self.marks[period as usize].granted.load(Ordering::Acquire);
            granted.saturating_sub(signed(self.own_in(period, now))).saturating_sub(held)
        });
        left.min().map_or(u64::MAX, unsigned)
    }

    /// There is no end to what this machine may spend in a period.
    pub fn release(&self, period: Period) {
        self.marks[period as usize].granted.store(i64::MAX, Ordering::SeqCst);
    }

    /// Says what others spent in the period that ends then.
    pub fn elsewhere(&self, period: Period, ends: u64, spent: u64) {
        let mark = &self.marks[period as usize];
        if mark.ends.load(Ordering::Acquire) == ends {
            mark.elsewhere.store(signed(spent), Ordering::Release);
        }
    }

    /// How far this machine may spend in a period before it was granted anything, nanodollars; the period under way is left as it is.
    pub fn credit(&self, period: Period, nano: u64) {
        self.marks[period as usize].credit.store(signed(nano), Ordering::Release);
    }

    /// What is held, nanodollars.
    pub fn held(&self) -> u64 {
        unsigned(self.held.load(Ordering::SeqCst))
    }

    /// Says what was spent in the period under way before these counters were made.
    pub fn restore(&self, period: Period, spent: u64, now: Moment) {
        let mark = &self.marks[period as usize];
        mark.base.store(self.spent.load(Ordering::Acquire).saturating_sub(signed(spent)), Ordering::Release);
        mark.ends.store(end_of(period, now), Ordering::Release);
    }

    fn check(&self, ceilings: &[Ceiling], held: i64, amount: i64, now: Moment) -> Result<(), Short> {
        for (place, ceiling) in ceilings.iter().enumerate().filter(|(_, ceiling)| ceiling.is_hard()) {
            let period = ceiling.budget.period;
            let own = signed(self.own_in(period, now));
            let mark = &self.marks[period as usize];
            let spent = own.saturating_add(mark.elsewhere.load(Ordering::Acquire));
            let most = signed(ceiling.nano);
            let wanted = held.saturating_add(amount);
            if spent >= most || spent.saturating_add(wanted) > most {
                let left = most.saturating_sub(spent).saturating_sub(held.max(0));
                return Err(Short { place, left: unsigned(left), bound: Bound::Budget });
            }
            let granted = mark.granted.load(Ordering::SeqCst);
            if own.saturating_add(wanted) > granted {
                let left = granted.saturating_sub(own).saturating_sub(held.max(0));
                return Err(Short { place, left: unsigned(left), bound: Bound::Lease });
            }
        }
        Ok(())
    }

    /// What was spent when the period under way began.
    fn base(&self, period: Period, now: Moment) -> i64 {
        let mark = &self.marks[period as usize];
        let ends = mark.ends.load(Ordering::Acquire);
        if ends != TURNING && now.millis().0 < ends {
            return mark.base.load(Ordering::Acquire);
        }
        let spent = self.spent.load(Ordering::Acquire);
        let is_mine =
            ends != TURNING && mark.ends.compare_exchange(ends, TURNING, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if is_mine {
            mark.base.store(spent, Ordering::Release);
            mark.granted.store(mark.credit.load(Ordering::Acquire), Ordering::SeqCst);
            mark.elsewhere.store(0, Ordering::Release);
            mark.ends.store(end_of(period, now), Ordering::Release);
        }
        spent
    }
}

fn end_of(period: Period, now: Moment) -> u64 {
    period.end(now.millis()).map_or(NEVER, |UnixMillis(end)| end)
}

/// Amounts are far below what a signed number holds: ceilings are cut, and costs come from token counts.
fn signed(nano: u64) -> i64 {
    i64::try_from(nano).unwrap_or(i64::MAX)
}

fn unsigned(nano: i64) -> u64 {
    u64::try_from(nano).unwrap_or(0)
}
