//! Limits and budgets on the request path: asked before work, settled after it.
//!
//! ```text
//!   enter: budgets not spent, a place, a request      right after authentication, before the body is read (rule T6)
//!   reserve: tokens and money by estimate             once there is a plan, which knows the price
//!   charge: what each attempt used                    also those that lost a race or failed
//!   drop: settled, and the place given back           however the exchange ends
//! ```
//!
//! A key without limits pays one branch. One with limits pays a look into this core's [`Leases`]; no lock, and other cores' memory only when
//! a lease is used up. What a request may cost is estimated from its prompt, the answer it allows and the dearest of the candidates that
//! may be asked; what it costs beyond that is settled all the same.

use super::ask::Ask;
use super::exchange::{Apart, Exchange};
use super::fault::Fault;
use super::per_core::Core;
use super::plan::{Candidate, Plan};
use super::surface::Task;
use crate::allowance::{Allowance, Bound, Holder, Membership, Moment, Purse, Refusal, Short, money_of, nano_of};
use crate::domain::limit::LimitKind;
use crate::domain::money::Money;
use crate::domain::token::Usage;
use crate::limits;
use crate::limits::fleet::{LEASE_LOOK, LEASE_WAIT};
use crate::metering::price;
use crate::metering::terms::Terms;
use crate::report::AttemptReport;
use crate::rt;
use crate::snapshot::AccessKey;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What this core has taken in advance, by holder.
pub struct Leases {
    purses: RefCell<HashMap<u64, Purse, BuildHasherDefault<SerialHasher>>>,
    cores: u64,
    swept: Cell<Option<Instant>>,
}

/// What one exchange was granted; settled and given back when dropped.
pub struct Grant {
    core: Rc<Core>,
    shares: [Option<Share>; 2],
    used_tokens: Cell<u64>,
    cost: Cell<Money>,
}

/// Its part of one holder's allowance.
struct Share {
    holder: Arc<Holder>,
    has_place: bool,
    has_request: bool,
    tokens: Cell<u64>,
    nano: Cell<u64>,
}

/// What a client may still do in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The limit.
    pub limit: u64,
    /// How many are left.
    pub remaining: u64,
    /// Until there are as many as the limit again.
    pub full_in: Duration,
}

// === impl Leases ===

impl Leases {
    /// None yet, on one of so many cores.
    pub fn new(cores: u64) -> Self {
        Self { purses: RefCell::default(), cores, swept: Cell::new(None) }
    }

    fn with<T>(&self, holder: &Arc<Holder>, now: Moment, work: impl FnOnce(&mut Purse) -> T) -> T {
        let mut purses = self.purses.borrow_mut();
        let purse = purses.entry(holder.counters.serial).or_insert_with(|| Purse::new(holder.clone(), self.cores));
        purse.adopt(holder, now);
        work(purse)
    }

    /// Tells what was used and gives back what was not needed; a few times a second.
    pub fn sweep_due(&self, now: Instant) {
        let due = self.swept.get().is_none_or(|at| now.saturating_duration_since(at) >= limits::LEASE_IDLE / 2);
        if due {
            self.swept.set(Some(now));
            self.purses.borrow_mut().retain(|_, purse| !purse.sweep(now));
        }
    }

    /// Gives everything back.
    pub fn clear(&self) {
        self.purses.borrow_mut().clear();
    }
}

/// Serial numbers spread by one multiplication (Fibonacci hashing): they are ours, and nobody can choose them.
#[derive(Default)]
pub struct SerialHasher(u64);

impl Hasher for SerialHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only numbers come here; anything else still hashes, if badly.
        bytes.iter().for_each(|byte| self.write_u64(self.0 ^ u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32);
    }
}

// === impl Grant ===

impl Grant {
    /// Asks for a place and a request. What is refused is still answered with what is left, so a grant comes with every refusal.
    pub fn enter(core: &Rc<Core>, allowance: &Allowance, is_free: bool, now: Instant) -> (Self, Option<Fault>) {
        let share = |holder: &Arc<Holder>| Share {
            holder: holder.clone(),
            has_place: false,
            has_request: false,
            tokens: Cell::new(0),
            nano: Cell::new(0),
        };
        let shares = allowance.holders().map(|holder| holder.map(share));
        let mut grant = Self { core: core.clone(), shares, used_tokens: Cell::new(0), cost: Cell::default() };
        let refused = grant.shares.iter_mut().flatten().find_map(|share| share.enter(core, is_free, now).err());
        if refused.is_some() {
            grant.step_back(now);
        }
        (grant, refused)
    }

    /// Holds what the exchange may use.
    ///
    /// # Errors
    /// There is not so much left; then nothing is held.
    pub fn reserve(&self, estimate: &Estimate, now: Instant) -> Result<(), Fault> {
        self.shares.iter().flatten().try_for_each(|share| share.reserve(&self.core, estimate, now))
    }

    /// Takes in what an attempt used.
    pub fn charge(&self, report: &AttemptReport) {
        let tokens = report.usage.input.saturating_add(report.usage.output);
        self.used_tokens.set(self.used_tokens.get().saturating_add(tokens));
        self.cost.set(self.cost.get() + report.cost.unwrap_or_default());
    }

    /// Requests and tokens left, by the tighter of the limits.
    pub fn figures(&self, now: Instant) -> [Option<Figure>; 2] {
        let mut figures = [None, None];
        for share in self.shares.iter().flatten() {
            let Holder { terms, counters, clock, .. } = &*share.holder;
            let rates = [
                (terms.requests, share.holder.requests(), &counters.requests),
                (terms.tokens, share.holder.tokens(), &counters.tokens),
            ];
            for (figure, (limit, pace, rate)) in figures.iter_mut().zip(rates) {
                let (Some(limit), Some(pace)) = (limit, pace) else { continue };
                let at = clock.at(now);
                let full_in = Duration::from_nanos(rate.full_in(pace, at));
                let own = Figure { limit: limit.limit(), remaining: rate.remaining(pace, at), full_in };
                let is_tighter = |known: Figure| own.remaining < known.remaining;
                if figure.is_none_or(is_tighter) {
                    *figure = Some(own);
                }
            }
        }
        figures
    }

    /// Whether requests and tokens are limited.
    pub fn has_rates(&self) -> [bool; 2] {
        let any = |is: fn(&Holder) -> bool| self.shares.iter().flatten().any(|share| is(&share.holder));
        [any(|holder| holder.terms.requests.is_some()), any(|holder| holder.terms.tokens.is_some())]
    }

    /// Whether a soft budget is spent, as far as is known by now.
    pub fn is_over_soft(&self, now: Instant) -> bool {
        self.shares.iter().flatten().any(|share| {
            let Holder { terms, counters, clock, .. } = &*share.holder;
            let spending = &counters.spending;
            let is_over = |nano, period| spending.spent_in(period, clock.at(now)) >= nano;
            terms.ceilings.iter().any(|it| !it.is_hard() && is_over(it.nano, it.budget.period))
        })
    }

    /// What was taken for an exchange that is refused after all.
    fn step_back(&mut self, now: Instant) {
        for share in self.shares.iter_mut().flatten().filter(|share| share.has_request) {
            share.has_request = false;
            let at = share.holder.clock.at(now);
            self.core.leases.with(&share.holder, at, Purse::give_back_request);
        }
        self.leave();
    }

    fn leave(&mut self) {
        for share in self.shares.iter_mut().flatten().filter(|share| share.has_place) {
            share.has_place = false;
            share.holder.counters.places.give_back();
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.leave();
        let (used, cost) = (self.used_tokens.get(), nano_of(self.cost.get()));
        let now = rt::coarse_now();
        for share in self.shares.iter().flatten() {
            let (tokens, nano) = (share.tokens.get(), share.nano.get());
            if tokens > 0 || nano > 0 || used > 0 || cost > 0 {
                let at = share.holder.clock.at(now);
                self.core.leases.with(&share.holder, at, |purse| {
                    purse.settle_tokens(tokens, used, at);
                    purse.settle_money(nano, cost, at);
                });
            }
        }
    }
}

// === impl Share ===

impl Share {
    fn enter(&mut self, core: &Rc<Core>, is_free: bool, now: Instant) -> Result<(), Fault> {
        let Holder { whose, terms, counters, clock } = &*self.holder;
        let at = clock.at(now);
        if !is_free {
            if let Some(member) = counters.parts.member().filter(|member| member.is_over(now))
                && terms.is_binding()
            {
                return Err(Fault::LeaseOver { whose: whose.phrase(), waits: !member.is_alone() });
            }
            let spent = counters.spending.check_spent(&terms.ceilings, at);
            spent.map_err(|short| refused(core, &self.holder, Refusal::Short(short), 0, at))?;
        }
        if let Err(bound) = self.holder.take_place(at) {
            let (kind, limit) = (LimitKind::Concurrent, u64::from(terms.concurrent.unwrap_or_default()));
            if bound == Bound::Lease {
                return Err(unleased(&self.holder, kind, 1, at));
            }
            count(core, kind);
            return Err(Fault::LimitReached { what: kind.noun(), whose: whose.phrase(), limit, retry_after_s: 1 });
        }
        self.has_place = terms.concurrent.is_some();
        if !is_free {
            let taken = core.leases.with(&self.holder, at, |purse| purse.take_request(at));
            taken.map_err(|refusal| refused(core, &self.holder, refusal, 0, at))?;
            self.has_request = true;
        }
        Ok(())
    }

    /// What was held by an earlier try stays held.
    fn reserve(&self, core: &Rc<Core>, estimate: &Estimate, now: Instant) -> Result<(), Fault> {
        let at = self.holder.clock.at(now);
        let has_ceilings = !self.holder.terms.ceilings.is_empty();
        core.leases
            .with(&self.holder, at, |purse| {
                if self.tokens.get() == 0 {
                    self.tokens.set(purse.hold_tokens(estimate.tokens, at)?);
                }
                if has_ceilings && self.nano.get() == 0 {
                    purse.hold_money(estimate.nano, at)?;
                    self.nano.set(estimate.nano);
                }
                Ok(())
            })
            .map_err(|refusal| refused(core, &self.holder, refusal, estimate.nano, at))
    }
}

/// What a client hears.
fn refused(core: &Rc<Core>, holder: &Holder, refusal: Refusal, nano: u64, now: Moment) -> Fault {
    let whose = holder.whose.phrase();
    match refusal {
        Refusal::Wait { kind, limit, wait, bound } => {
            let seconds = (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1);
            if bound == Bound::Lease {
                return unleased(holder, kind, seconds, now);
            }
            count(core, kind);
            Fault::LimitReached { what: kind.noun(), whose, limit, retry_after_s: seconds }
        }
        Refusal::Short(Short { bound: Bound::Lease, .. }) => unleased(holder, LimitKind::Budget, 1, now),
        Refusal::Short(short) => {
            count(core, LimitKind::Budget);
            let ceiling = holder.terms.ceilings.get(short.place);
            Fault::BudgetExceeded {
                budget: ceiling.map(|ceiling| ceiling.budget.to_string()).unwrap_or_default(),
                whose,
                left: money_of(short.left),
                needed: money_of(nano),
                resets_at: ceiling.and_then(|ceiling| ceiling.resets_at(now)),
            }
        }
    }
}

/// There is room, but not in what this machine has leased. It is counted when nobody waits for more.
#[cold]
fn unleased(holder: &Holder, kind: LimitKind, retry_after_s: u64, now: Moment) -> Fault {
    let parts = &holder.counters.parts;
    let is_alone = parts.member().is_some_and(Membership::is_alone);
    Fault::LeaseUsed { kind, whose: holder.whose.phrase(), retry_after_s, is_alone, waits: !parts.is_dry(kind, now) }
}

fn count(core: &Core, kind: LimitKind) {
    core.reports.gauges.limited[kind.place()].fetch_add(1, Ordering::Relaxed);
}

// ---- What an exchange may use -----------------------------------------------------------------------------------------------

/// What an exchange may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Tokens of prompt and answer.
    pub tokens: u64,
    /// Nanodollars.
    pub nano: u64,
}

impl Estimate {
    /// By the prompt, the answer that the request allows, and what the candidates charge. What nobody can know beforehand, such as pictures
    /// and sound, counts nothing here and is settled afterwards.
    pub fn of(ask: &Ask, plan: &Plan) -> Self {
        let terms = Terms { service_tier: ask.service_tier, at: rt::wall(rt::coarse_now()) };
        let asked = plan.candidates.iter().take(limits::ATTEMPTS_MAX as usize);
        let each = asked.map(|candidate| Self::of_one(ask, plan, candidate, &terms));
        let is_together = ask.wishes.council.is_some() || ask.wishes.race.is_some();
        each.reduce(|one, other| match is_together {
            // All of them will be paid.
            true => Self { tokens: one.tokens.saturating_add(other.tokens), nano: one.nano.saturating_add(other.nano) },
            false => Self { tokens: one.tokens.max(other.tokens), nano: one.nano.max(other.nano) },
        })
        .unwrap_or_default()
    }

    fn of_one(ask: &Ask, plan: &Plan, candidate: &Candidate, terms: &Terms) -> Self {
        let answers = matches!(ask.task, Task::Generate | Task::Completions);
        let most = [plan.need.output_tokens_max, candidate.target.abilities.output_max].into_iter().flatten().min();
        let output = match plan.need.output_tokens_max {
            _ if !answers => 0,
            Some(_) => most.unwrap_or(limits::OUTPUT_TOKENS_GUESS),
            None => most.unwrap_or(u64::MAX).min(limits::OUTPUT_TOKENS_HELD),
        };
        let usage = Usage { input: plan.need.input_tokens, output, ..Usage::default() };
        let cost = candidate.target.price.as_ref().and_then(|list| price::cost(list, &usage, terms));
        Self { tokens: usage.input.saturating_add(output), nano: cost.map_or(0, |cost| nano_of(cost.total)) }
    }
}

// ---- Waiting for a lease ----------------------------------------------------------------------------------------------------

/// How long an exchange waits for a lease: only where several machines share its limits, and only when it has used up what was leased.
struct Patience {
    until: Instant,
}

impl Patience {
    /// # Errors
    /// The fault, where waiting is of no use.
    async fn begin(core: &Rc<Core>, fault: Fault) -> Result<Self, Fault> {
        if may_wait(&fault) {
            core.reports.gauges.lease_waits.fetch_add(1, Ordering::Relaxed);
        }
        Self { until: rt::now() + LEASE_WAIT }.go_on(core, fault).await
    }

    /// # Errors
    /// The fault, where waiting is of no use, or it was long enough.
    async fn go_on(self, core: &Rc<Core>, fault: Fault) -> Result<Self, Fault> {
        if may_wait(&fault) && rt::now() < self.until {
            rt::sleep(LEASE_LOOK).await;
            return Ok(self);
        }
        if let Fault::LeaseUsed { kind, .. } = fault {
            count(core, kind);
        }
        if matches!(fault, Fault::LeaseUsed { .. } | Fault::LeaseOver { .. }) {
            core.reports.gauges.unleased.fetch_add(1, Ordering::Relaxed);
        }
        Err(fault)
    }
}

fn may_wait(fault: &Fault) -> bool {
    matches!(fault, Fault::LeaseUsed { waits: true, .. } | Fault::LeaseOver { waits: true, .. })
}

// ---- The exchange's part ----------------------------------------------------------------------------------------------------

impl Exchange<'_> {
    /// Asks the limits of a key and its tenant for one more exchange. Counting tokens costs nothing but a place.
    ///
    /// # Errors
    /// A limit is reached, or a budget spent.
    pub fn enter(&mut self, key: &AccessKey, task: &Task) -> Result<(), Fault> {
        if key.allowance.is_unlimited() {
            return Ok(());
        }
        self.enter_limited(&key.allowance, *task == Task::CountTokens, self.began)
    }

    /// The same where there are limits. `is_free` asks for nothing but a place.
    ///
    /// # Errors
    /// As [`Exchange::enter`].
    #[inline(never)]
    pub fn enter_limited(&mut self, allowance: &Allowance, is_free: bool, now: Instant) -> Result<(), Fault> {
        let (grant, refused) = Grant::enter(self.core, allowance, is_free, now);
        let grant = Rc::new(grant);
        self.books.charge_to(grant.clone());
        self.grant = Some(grant);
        refused.map_or(Ok(()), Err)
    }

    /// After [`Exchange::enter`] was refused: tries again for a moment where it was for want of a lease.
    ///
    /// # Errors
    /// As [`Exchange::enter`].
    #[cold]
    pub fn enter_later<'w>(
        &'w mut self,
        key: &'w AccessKey,
        task: &'w Task,
        fault: Fault,
    ) -> Apart<'w, Result<(), Fault>> {
        Box::pin(async move {
            let is_free = *task == Task::CountTokens;
            let mut patience = Patience::begin(self.core, fault).await?;
            loop {
                match self.enter_limited(&key.allowance, is_free, rt::now()) {
                    Ok(()) => return Ok(()),
                    Err(fault) => patience = patience.go_on(self.core, fault).await?,
                }
            }
        })
    }

    /// After [`Exchange::reserve_for`] was refused: tries again for a moment where it was for want of a lease.
    ///
    /// # Errors
    /// As [`Exchange::reserve_for`].
    #[cold]
    pub fn reserve_later<'w>(&'w self, ask: &'w Ask, plan: &'w Plan, fault: Fault) -> Apart<'w, Result<(), Fault>> {
        Box::pin(async move {
            let mut patience = Patience::begin(self.core, fault).await?;
            loop {
                match self.reserve_for(ask, plan) {
                    Ok(()) => return Ok(()),
                    Err(fault) => patience = patience.go_on(self.core, fault).await?,
                }
            }
        })
    }

    /// Holds the tokens and the money that an exchange may use.
    ///
    /// # Errors
    /// There is not so much left.
    pub fn reserve_for(&self, ask: &Ask, plan: &Plan) -> Result<(), Fault> {
        match &self.grant {
            Some(grant) if ask.task != Task::CountTokens => grant.reserve(&Estimate::of(ask, plan), rt::coarse_now()),
            _ => Ok(()),
        }
    }
}
