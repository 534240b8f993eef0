//! What one holder leases of its limits on this machine: how much it wants by how fast it is used, what it lets go, and what it was given.
//!
//! ```text
//!   counters --used, held, wanted--> ask --(the database)--> take --granted, elsewhere--> counters
//! ```
//!
//! A lease is lowered here before it is told, so that nobody else is given what may still be spent here.

use crate::allowance::{Holder, Moment, Pace};
use crate::domain::budget::Period;
use crate::domain::limit::LimitKind;
use crate::fleet::share::{Mine, credit};
use crate::fleet::{Granted, LeaseAsk, PoolName, PoolNews, Quantity};
use crate::limits::fleet::{LEASE_HORIZON_TICKS, LEASE_TICK};
use crate::store::MachineLease;
use std::collections::HashMap;

/// What all holders know of the fleet.
#[derive(Debug, Default)]
pub(in crate::control_plane) struct House {
    /// Machines that live, as the last answer said; 0: nobody has ever said.
    pub(in crate::control_plane) peers: u64,
    /// Whether a round was answered, or lost, since this process began. Until then nothing is known of what was leased before.
    pub(in crate::control_plane) is_met: bool,
    /// Pools that somebody spoke of, also those of holders that were not met here.
    pub(in crate::control_plane) heard: HashMap<(Vec<u8>, Quantity), PoolNews>,
    /// What was leased when this machine last wrote it down: what it goes on with where the first round is lost.
    pub(in crate::control_plane) kept: HashMap<(Vec<u8>, i16), MachineLease>,
}

/// One holder's leases.
#[derive(Debug)]
pub(in crate::control_plane) struct Desk {
    name: Vec<u8>,
    lines: [Line; QUANTITIES.len()],
    /// Requests and tokens since the last look.
    counted: [u64; 2],
    looked: Option<Moment>,
}

/// One of its limits.
#[derive(Clone, Debug, Default)]
struct Line {
    /// The period that this is of, and when it ends; `None`: there is no limit.
    period: Option<(i64, i64)>,
    /// What the database knows of it.
    told: Option<Mine>,
    /// Whether it was given a lease: what it may use is no longer credit.
    is_leased: bool,
    /// Of what is spent: use in one tick. Of what flows: in a minute. Falls slowly.
    pace: u64,
    /// What was used at the last look.
    last: u64,
}

/// What a holder has of limits, in the order of its lines.
const QUANTITIES: [Quantity; 8] = [
    Quantity::Money(0),
    Quantity::Money(1),
    Quantity::Money(2),
    Quantity::Money(3),
    Quantity::Money(4),
    Quantity::Requests,
    Quantity::Tokens,
    Quantity::Places,
];

/// A limit as it is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    /// Refuses what is beyond it.
    Hard(u64),
    /// Only told: nothing is leased of it.
    Soft,
}

// === impl Desk ===

impl Desk {
    /// Of a holder by this name, as the tables write it.
    pub(in crate::control_plane) fn new(name: Vec<u8>) -> Self {
        Self { name, lines: Default::default(), counted: [0; 2], looked: None }
    }

    /// Takes in that an attempt was made.
    pub(in crate::control_plane) fn count(&mut self, tokens: u64) {
        self.counted[0] = self.counted[0].saturating_add(1);
        self.counted[1] = self.counted[1].saturating_add(tokens);
    }

    /// The limits, or how many machines there are, have changed: whatever is not leased is credit.
    pub(in crate::control_plane) fn set_out(&mut self, holder: &Holder, house: &House, now: Moment) {
        for (place, quantity) in QUANTITIES.into_iter().enumerate() {
            let limit = limit_of(holder, quantity);
            let line = &mut self.lines[place];
            let Some(limit) = limit else {
                *line = Line::default();
                unbind(holder, quantity);
                continue;
            };
            let period = period_of(quantity, now);
            if line.period != Some(period) {
                *line = Line { period: Some(period), pace: line.pace, ..Line::default() };
                // An hour that begins now has its mark moved by whoever looks first.
                own_in(holder, quantity, now);
            }
            let key = (self.name.clone(), quantity);
            let heard = house.heard.get(&key).filter(|news| news.pool.epoch == period.0);
            let credit = match limit {
                Limit::Soft => WHOLE,
                Limit::Hard(_) if house.peers == 0 || !house.is_met => 0,
                Limit::Hard(limit) => credit(limit, house.peers),
            };
            if let Quantity::Money(at) = quantity {
                holder.counters.spending.credit(Period::ALL[usize::from(at)], credit);
            }
            if line.is_leased {
                continue;
            }
            let kept =
                house.kept.get(&(key.0, quantity.to_sql())).filter(|kept| kept.epoch == period.0 && house.is_met);
            match (kept, limit) {
                (Some(kept), Limit::Hard(_)) => {
                    line.is_leased = true;
                    bind(holder, quantity, period.1, kept.most);
                    elsewhere(holder, quantity, period.1, kept.elsewhere);
                }
                (_, Limit::Hard(_)) if heard.is_some_and(|news| news.is_closed) && quantity.nature() == SPENT => {
                    bind(holder, quantity, period.1, 0);
                }
                _ => bind(holder, quantity, period.1, credit),
            }
            if let Some(news) = heard {
                elsewhere(holder, quantity, period.1, news.used);
            }
        }
    }

    /// What to ask for now; empty when nothing has changed since the last answer.
    pub(in crate::control_plane) fn asks(&mut self, holder: &Holder, house: &House, now: Moment) -> Vec<LeaseAsk> {
        if QUANTITIES
            .iter()
            .zip(&self.lines)
            .any(|(quantity, line)| line.period.is_some_and(|period| period != period_of(*quantity, now)))
        {
            self.set_out(holder, house, now);
        }
        let since = self.looked.map_or(TICK, |at| now.0.saturating_sub(at.0));
        // A pace is taken of a whole tick: rounds that somebody waits for are much closer.
        let since = (since >= TICK - TICK / 5).then_some(since);
        let counted = match since {
            Some(_) => {
                self.looked = Some(now);
                std::mem::take(&mut self.counted)
            }
            None => [0; 2],
        };
        let wanted = LimitKind::ALL.map(|kind| holder.counters.parts.take_wanted(kind));
        let mut asks = Vec::new();
        for (quantity, line) in QUANTITIES.into_iter().zip(&mut self.lines) {
            let (Some(limit), Some(period)) = (limit_of(holder, quantity), line.period) else { continue };
            let wanted = wanted[kind_of(quantity).place()];
            let ask = match quantity {
                Quantity::Money(at) => {
                    let heard = house.heard.get(&(self.name.clone(), quantity));
                    let is_closed = heard.is_some_and(|news| news.pool.epoch == period.0 && news.is_closed);
                    let of = Period::ALL[usize::from(at)];
                    line.ask_money(holder, of, (limit, wanted), (house, is_closed), (since, now))
                }
                Quantity::Requests => line.ask_flow(holder, quantity, (limit, wanted), (counted[0], since), house, now),
                Quantity::Tokens => line.ask_flow(holder, quantity, (limit, wanted), (counted[1], since), house, now),
                Quantity::Places => line.ask_places(holder, (limit, wanted), since.is_some(), house),
            };
            let Some((mine, is_full)) = ask else { continue };
            let pool = PoolName { holder: self.name.clone(), quantity, epoch: period.0 };
            let limit = if let Limit::Hard(limit) = limit { limit } else { WHOLE };
            asks.push(LeaseAsk { pool, ends: period.1, limit, mine, is_full });
        }
        asks
    }

    /// Takes in what an ask came to. Answers what to write down, and whether something is to be told at once.
    pub(in crate::control_plane) fn take(
        &mut self,
        holder: &Holder,
        (ask, granted): (&LeaseAsk, Granted),
        now: Moment,
    ) -> Option<(MachineLeaseOf, bool)> {
        let (quantity, period) = (ask.pool.quantity, (ask.pool.epoch, ask.ends));
        let place = QUANTITIES.iter().position(|known| *known == quantity)?;
        let line = self.lines.get_mut(place).filter(|line| line.period == Some(period))?;
        let limit = limit_of(holder, quantity)?;
        line.told = Some(ask.mine);
        elsewhere(holder, quantity, period.1, granted.elsewhere);
        let Limit::Hard(limit) = limit else { return None };
        line.is_leased = true;
        let most = ask.mine.used.saturating_add(granted.may);
        if let (Quantity::Requests | Quantity::Tokens, Some(before)) = (quantity, share_of(holder, quantity)) {
            let rate = if quantity == Quantity::Requests { &holder.counters.requests } else { &holder.counters.tokens };
            rate.turn((Pace::part(before), Pace::part(most.min(limit))), granted.is_full, now);
        }
        bind(holder, quantity, period.1, most);
        if quantity.nature() == SPENT {
            // What requests under way hold is in it; half of the rest is enough to ask in time.
            holder.counters.parts.set_low(granted.may.saturating_sub(holder.counters.spending.held()) / 2);
        }
        if granted.may <= ask.mine.have && granted.may < ask.mine.want {
            let until = Moment(now.0.saturating_add(TICK));
            holder.counters.parts.set_dry(kind_of(quantity), until);
        }
        // What was let go is told at once, and what was half given is asked for again.
        let again = granted.may < ask.mine.have || (granted.may > ask.mine.have && granted.may < ask.mine.want);
        Some((MachineLeaseOf { quantity, period, most, elsewhere: granted.elsewhere }, again))
    }

    /// Takes in what is known of a pool.
    pub(in crate::control_plane) fn hear(&mut self, holder: &Holder, news: &PoolNews) {
        let Some(place) = QUANTITIES.iter().position(|known| *known == news.pool.quantity) else { return };
        let line = &self.lines[place];
        if line.period != Some((news.pool.epoch, news.ends)) || news.pool.quantity.nature() != SPENT {
            return;
        }
        let own = line.told.map_or(0, |told| told.used);
        elsewhere(holder, news.pool.quantity, news.ends, news.used.saturating_sub(own));
        let is_hard = matches!(limit_of(holder, news.pool.quantity), Some(Limit::Hard(_)));
        if news.is_closed && !line.is_leased && is_hard {
            bind(holder, news.pool.quantity, news.ends, 0);
        }
    }

    /// The database knows nothing of this machine: everything is told again.
    pub(in crate::control_plane) fn tell_anew(&mut self) {
        self.lines.iter_mut().for_each(|line| line.told = None);
    }

    /// Whether it has nothing in its hand and nothing to tell.
    pub(in crate::control_plane) fn is_idle(&self, holder: &Holder) -> bool {
        let is_quiet =
            |line: &Line| line.pace == 0 && line.told.is_none_or(|told| told.have <= told.want + told.want / 4);
        holder.counters.spending.held() == 0 && !holder.counters.parts.is_wanting() && self.lines.iter().all(is_quiet)
    }

    /// How many of its limits it has leases of.
    pub(in crate::control_plane) fn leased(&self) -> usize {
        self.lines.iter().filter(|line| line.is_leased).count()
    }
}

/// What is to be written down of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control_plane) struct MachineLeaseOf {
    pub(in crate::control_plane) quantity: Quantity,
    pub(in crate::control_plane) period: (i64, i64),
    pub(in crate::control_plane) most: u64,
    pub(in crate::control_plane) elsewhere: u64,
}

// === impl Line ===

impl Line {
    /// `since`: nanoseconds since the last look.
    fn ask_money(
        &mut self,
        holder: &Holder,
        period: Period,
        (limit, wanted): (Limit, u64),
        (house, is_closed): (&House, bool),
        (since, now): (Option<u64>, Moment),
    ) -> Option<(Mine, bool)> {
        let spending = &holder.counters.spending;
        let used = spending.own_in(period, now);
        let Limit::Hard(limit) = limit else {
            let mine = Mine { used, have: 0, want: 0 };
            return (self.told != Some(mine) && (used > 0 || self.told.is_some())).then_some((mine, false));
        };
        if let Some(since) = since {
            let spent = used.saturating_sub(std::mem::replace(&mut self.last, used));
            self.pace = scaled(spent, TICK, since).max(self.pace - self.pace.div_ceil(4));
        }
        if self.pace.saturating_mul(LEASE_HORIZON_TICKS) < limit / 100_000 {
            self.pace = 0;
        }
        // As much as a machine without a lease may use, until there is little left: then by its pace.
        let credit = credit(limit, house.peers);
        let ahead = if is_closed { self.pace.saturating_mul(LEASE_HORIZON_TICKS).min(credit) } else { credit };
        let ahead = ahead.max(wanted.saturating_mul(2).min(limit));
        let want = spending.held().saturating_add(ahead);
        let (_, ends) = self.period?;
        let unspent = || spending.granted(period).unwrap_or(0).saturating_sub(spending.own_in(period, now));
        if self.is_leased && unspent() > want.saturating_add(want / 4) {
            bind(holder, Quantity::Money(period as u8), ends, used.saturating_add(want));
        }
        // Read after the grant was lowered: what was held under the old one is held for good.
        let (used, held) = (spending.own_in(period, now), spending.held());
        let have = spending.granted(period).unwrap_or(0).saturating_sub(used).max(held);
        let mine = Mine { used, have, want: want.max(held) };
        let is_touched = used > 0 || held > 0 || wanted > 0 || self.is_leased;
        (self.told != Some(mine) && (is_touched || self.told.is_some())).then_some((mine, false))
    }

    fn ask_flow(
        &mut self,
        holder: &Holder,
        quantity: Quantity,
        (limit, wanted): (Limit, u64),
        (count, since): (u64, Option<u64>),
        house: &House,
        now: Moment,
    ) -> Option<(Mine, bool)> {
        let Limit::Hard(limit) = limit else { return None };
        if let Some(since) = since {
            self.pace = scaled(count, 60_000_000_000, since).max(self.pace - self.pace.div_ceil(4));
        }
        let share = share_of(holder, quantity).unwrap_or(limit);
        let mut want = self.pace.saturating_add(self.pace / 2);
        if wanted > 0 {
            want = want.max(share.saturating_mul(2)).max(wanted);
        }
        let rate = if quantity == Quantity::Requests { &holder.counters.requests } else { &holder.counters.tokens };
        let is_full = rate.is_full(now);
        self.ask_part(holder, quantity, (limit, share, want, is_full), house)
    }

    fn ask_places(
        &mut self,
        holder: &Holder,
        (limit, wanted): (Limit, u64),
        is_tick: bool,
        house: &House,
    ) -> Option<(Mine, bool)> {
        let Limit::Hard(limit) = limit else { return None };
        let taken = u64::from(holder.counters.places.taken());
        self.pace = taken.max(if is_tick { self.pace - self.pace.div_ceil(64) } else { self.pace });
        let share = share_of(holder, Quantity::Places).unwrap_or(limit);
        let mut want = if self.pace > 0 { self.pace.saturating_add(self.pace / 2 + 1) } else { 0 };
        if wanted > 0 {
            want = want.max(share.saturating_mul(2)).max(wanted);
        }
        self.ask_part(holder, Quantity::Places, (limit, share, want, true), house)
    }

    /// A part of what flows: let go of what is not wanted, and ask when more is wanted, or less than was told.
    fn ask_part(
        &mut self,
        holder: &Holder,
        quantity: Quantity,
        (limit, share, want, is_full): (u64, u64, u64, bool),
        house: &House,
    ) -> Option<(Mine, bool)> {
        let floor = credit(limit, house.peers);
        let want = want.clamp(floor, limit.max(floor));
        if self.is_leased && want < share - share / 4 && is_full {
            bind(holder, quantity, i64::MAX, want);
        }
        let taken = if quantity == Quantity::Places { u64::from(holder.counters.places.taken()) } else { 0 };
        let have = share_of(holder, quantity).unwrap_or(limit).max(taken);
        let mine = Mine { used: 0, have, want };
        let is_due = match self.told {
            None => want > have || self.is_leased,
            Some(told) => {
                want > have
                    || told.have != have
                    || told.want.abs_diff(want) > told.want / 8
                    || (want == floor && told.want != floor)
            }
        };
        is_due.then_some((mine, is_full))
    }
}

// ---- Limits and counters by quantity ----------------------------------------------------------------------------------------

const TICK: u64 = LEASE_TICK.as_nanos() as u64;
const SPENT: crate::fleet::share::Nature = crate::fleet::share::Nature::Spent;
/// More than any limit, and still a number that the tables hold.
const WHOLE: u64 = i64::MAX as u64;

fn kind_of(quantity: Quantity) -> LimitKind {
    match quantity {
        Quantity::Money(_) => LimitKind::Budget,
        Quantity::Requests => LimitKind::Requests,
        Quantity::Tokens => LimitKind::Tokens,
        Quantity::Places => LimitKind::Concurrent,
    }
}

/// So many in a stretch of time, as if it had gone on for another one.
fn scaled(count: u64, to: u64, from: u64) -> u64 {
    u64::try_from(u128::from(count) * u128::from(to) / u128::from(from.max(1))).unwrap_or(u64::MAX)
}

/// The least of a holder's limits of one quantity.
fn limit_of(holder: &Holder, quantity: Quantity) -> Option<Limit> {
    let terms = &holder.terms;
    match quantity {
        Quantity::Money(at) => {
            let of_period = || terms.ceilings.iter().filter(|it| it.budget.period as u8 == at);
            let hard = of_period().filter(|it| it.is_hard()).map(|it| it.nano).min();
            hard.map(Limit::Hard).or_else(|| of_period().next().map(|_| Limit::Soft))
        }
        Quantity::Requests => terms.requests.map(|pace| Limit::Hard(pace.limit())),
        Quantity::Tokens => terms.tokens.map(|pace| Limit::Hard(pace.limit())),
        Quantity::Places => terms.concurrent.map(|most| Limit::Hard(u64::from(most))),
    }
}

/// When the period under way began and ends; what flows has one that lasts.
fn period_of(quantity: Quantity, now: Moment) -> (i64, i64) {
    let Quantity::Money(at) = quantity else { return (0, i64::MAX) };
    let period = Period::ALL[usize::from(at)];
    let signed = |millis: u64| i64::try_from(millis).unwrap_or(i64::MAX);
    let end = period.end(now.millis()).map_or(i64::MAX, |end| signed(end.0));
    (signed(period.start(now.millis()).0), end)
}

/// A period's end as the counters have it.
fn end(ends: i64) -> u64 {
    if ends == i64::MAX { u64::MAX } else { u64::try_from(ends).unwrap_or(0) }
}

fn own_in(holder: &Holder, quantity: Quantity, now: Moment) -> u64 {
    match quantity {
        Quantity::Money(at) => holder.counters.spending.own_in(Period::ALL[usize::from(at)], now),
        _ => 0,
    }
}

fn share_of(holder: &Holder, quantity: Quantity) -> Option<u64> {
    holder.counters.parts.most(kind_of(quantity))
}

/// Says how far this machine may go.
fn bind(holder: &Holder, quantity: Quantity, ends: i64, most: u64) {
    match quantity {
        Quantity::Money(at) => holder.counters.spending.grant(Period::ALL[usize::from(at)], end(ends), most),
        _ => holder.counters.parts.set(kind_of(quantity), most),
    }
}

/// There is no such limit: nothing is bound by it.
fn unbind(holder: &Holder, quantity: Quantity) {
    match quantity {
        Quantity::Money(at) => {
            let period = Period::ALL[usize::from(at)];
            holder.counters.spending.credit(period, u64::MAX);
            holder.counters.spending.release(period);
        }
        _ => holder.counters.parts.set(kind_of(quantity), u64::MAX),
    }
}

fn elsewhere(holder: &Holder, quantity: Quantity, ends: i64, used: u64) {
    if let Quantity::Money(at) = quantity {
        holder.counters.spending.elsewhere(Period::ALL[usize::from(at)], end(ends), used);
    }
}
