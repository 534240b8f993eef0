//! Machines that share a limit, simulated: real counters, purses and desks, the database's own rules, and a day of trouble.
//!
//! What must hold, whatever the order (docs/fleet.md, "How far a budget may be overspent"):
//! spent <= budget + overruns + for each machine that was cut off its unspent lease or its credit.

use super::desk::{Desk, House};
use crate::allowance::{
    Bound, Ceiling, Counters, Holder, Membership, Moment, Pace, Purse, Refusal, Short, SteadyClock, Terms, Whose,
    money_of,
};
use crate::domain::budget::{Budget, Cap, Period};
use crate::fleet::share::{Decided, LeaseRow, Nature, Peer, Pool, credit};
use crate::fleet::{Granted, LeaseAsk, PoolName, PoolNews};
use crate::limits::fleet::{LEASE_TERM, LEASE_TERM_FLEET};
use crate::store::{HolderName, MachineLease};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// 2026-11-26T10:31:50Z.
const NOW: Moment = Moment(1_795_689_110_000_000_000);
const MILLI: u64 = 1_000_000;
const TICK: u64 = 500 * MILLI;
const CORES: u64 = 2;

fn id(machine: usize) -> [u8; 16] {
    [u8::try_from(machine).expect("few"); 16]
}

// ---- The database -----------------------------------------------------------------------------------------------------------

#[derive(Default)]
struct Database {
    /// Machines: seen, knows, peers, bound.
    machines: BTreeMap<[u8; 16], (i64, i64, u64, bool)>,
    pools: HashMap<PoolName, (i64, i64)>,
    leases: HashMap<(PoolName, [u8; 16]), LeaseRow>,
    /// What was given to others of leases whose machine was gone, once for each time it was.
    reclaimed: HashMap<(PoolName, [u8; 16], i64), u64>,
}

impl Database {
    fn round(
        &mut self,
        machine: [u8; 16],
        (knows, peers, bound): (i64, u64, bool),
        asks: &[LeaseAsk],
        seen: i64,
    ) -> (u64, Vec<Granted>, Vec<PoolNews>) {
        self.machines.insert(machine, (seen, knows, peers, bound));
        let lives = |last: i64| last > seen - LEASE_TERM_FLEET.as_millis() as i64;
        let others: HashMap<[u8; 16], Peer> = self
            .machines
            .iter()
            .filter(|(other, _)| **other != machine)
            .map(|(other, (seen, knows, peers, bound))| {
                (*other, Peer { lives: lives(*seen), seen: *seen, bound: *bound, knows: *knows, peers: *peers })
            })
            .collect();
        let mut grants = Vec::new();
        for ask in asks {
            let (closed, spilled) = self.pools.get(&ask.pool).copied().unwrap_or_default();
            let rows = || self.leases.iter().filter(|((pool, _), _)| *pool == ask.pool);
            let pool = Pool {
                closed,
                spilled,
                mine: rows().find(|((_, it), _)| *it == machine).map(|(_, row)| *row).unwrap_or_default(),
                others: rows().filter(|((_, it), _)| *it != machine).map(|((_, it), row)| (*it, *row)).collect(),
            };
            for (other, row) in &pool.others {
                let peer = others[other];
                if !peer.lives && !peer.bound {
                    self.reclaimed.insert((ask.pool.clone(), *other, peer.seen), row.granted);
                }
            }
            let Decided { given, used, elsewhere, closed, spilled, is_full } = ask.decide(&pool, &others, seen);
            self.pools.insert(ask.pool.clone(), (closed, spilled));
            let row = LeaseRow { used, granted: given.noted, want: ask.mine.want };
            self.leases.insert((ask.pool.clone(), machine), row);
            grants.push(Granted { may: given.may, elsewhere, is_full });
        }
        let news = self.pools.iter().map(|(pool, (closed, _))| {
            let used = self.leases.iter().filter(|((it, _), _)| it == pool).map(|(_, row)| row.used).sum();
            PoolNews { pool: pool.clone(), ends: i64::MAX, used, is_closed: *closed != 0 }
        });
        (1 + others.values().filter(|peer| peer.lives).count() as u64, grants, news.collect())
    }
}

// ---- A machine --------------------------------------------------------------------------------------------------------------

struct Machine {
    number: usize,
    member: Arc<Membership>,
    holder: Arc<Holder>,
    purses: Vec<Purse>,
    desk: Desk,
    house: House,
    knows: i64,
    is_cut: bool,
    /// Whether its leases have a term, and the last round that was answered.
    is_bound: bool,
    answered: Option<Moment>,
    /// Purse, what is held, what it will cost.
    under_way: Vec<(usize, u64, u64)>,
    /// What is in its books, by the period's begin.
    spent: HashMap<u64, u64>,
}

fn counters(member: &Arc<Membership>, terms: &Terms, now: Moment) -> Arc<Holder> {
    let clock = Arc::new(SteadyClock::new(NOW.millis(), Instant::now()));
    let counters = Arc::new(Counters::of_member(now, Some(member.clone())));
    Arc::new(Holder { whose: Whose::Tenant, terms: terms.clone(), counters, clock })
}

fn name() -> HolderName {
    HolderName::Tenant(crate::domain::id::TenantId::new("acme"))
}

impl Machine {
    fn new(number: usize, terms: &Terms, now: Moment) -> Self {
        let member = Arc::new(Membership::new(Instant::now(), None));
        let holder = counters(&member, terms, now);
        let (desk, house) = (Desk::new(name().to_sql()), House::default());
        let (under_way, spent) = Default::default();
        let mut machine = Self {
            number,
            member,
            holder,
            purses: Vec::new(),
            desk,
            house,
            knows: 0,
            is_cut: false,
            is_bound: false,
            answered: None,
            under_way,
            spent,
        };
        machine.start(terms, now);
        machine
    }

    /// A process begins: with the books and the leases that were written down.
    fn start(&mut self, terms: &Terms, now: Moment) {
        self.holder = counters(&self.member, terms, now);
        let begin = Period::Hour.start(now.millis()).0;
        let spent = self.spent.get(&begin).copied().unwrap_or(0);
        self.holder.counters.spending.restore(Period::Hour, spent, now);
        self.purses = (0..CORES).map(|_| Purse::new(self.holder.clone(), CORES)).collect();
        self.desk = Desk::new(name().to_sql());
        self.house.heard.clear();
        self.house.is_met = false;
        self.answered = None;
        self.desk.set_out(&self.holder, &self.house, now);
    }

    /// One round, as the control plane has it; whether another one is to follow at once.
    fn round(&mut self, database: &mut Database, now: Moment) -> bool {
        if self.is_cut {
            self.member.set_alone(true);
            if !std::mem::replace(&mut self.house.is_met, true) {
                self.desk.set_out(&self.holder, &self.house, now);
            }
            return false;
        }
        self.member.set_alone(false);
        let asks = self.desk.asks(&self.holder, &self.house, now);
        let spending = &self.holder.counters.spending;
        for ask in asks.iter().filter(|ask| ask.pool.quantity.nature() == Nature::Spent) {
            // It never says that it has less than it may still spend.
            let (granted, held) = (spending.granted(Period::Hour).unwrap_or(0), spending.held());
            assert!(ask.mine.used + ask.mine.have >= granted.max(ask.mine.used + held), "{ask:?}");
        }
        let seen = i64::try_from(now.millis().0).expect("a time");
        self.answered = Some(now);
        let me = (self.knows, self.house.peers, self.is_bound);
        let (machines, grants, news) = database.round(id(self.number), me, &asks, seen);
        self.knows = seen;
        let mut again = false;
        for (ask, granted) in asks.iter().zip(grants) {
            if let Some((lease, more)) = self.desk.take(&self.holder, (ask, granted), now) {
                again |= more;
                let (kind, (epoch, ends)) = (lease.quantity.to_sql(), lease.period);
                let kept =
                    MachineLease { holder: name(), kind, epoch, ends, most: lease.most, elsewhere: lease.elsewhere };
                self.house.kept.insert((name().to_sql(), kind), kept);
            }
        }
        for mut one in news {
            let (begin, end) = (Period::Hour.start(now.millis()).0, Period::Hour.end(now.millis()).expect("it ends").0);
            one.ends = if one.pool.epoch == begin as i64 { end as i64 } else { i64::MAX };
            self.desk.hear(&self.holder, &one);
            self.house.heard.insert((one.pool.holder.clone(), one.pool.quantity), one);
        }
        let is_first = !std::mem::replace(&mut self.house.is_met, true);
        if std::mem::replace(&mut self.house.peers, machines) != machines || is_first {
            self.desk.set_out(&self.holder, &self.house, now);
        }
        again
    }

    /// A request begins: it waits a few rounds for a lease, as an exchange does.
    fn ask(&mut self, database: &mut Database, core: usize, estimate: u64, now: Moment) -> Result<(), Short> {
        let mut tries = 0;
        if self.is_bound && self.answered.is_none() {
            self.round(database, now);
        }
        let is_over = |at: Moment| now.0 - at.0 >= LEASE_TERM.as_nanos() as u64;
        if self.is_bound && self.answered.is_none_or(is_over) {
            return Err(Short { place: 0, left: 0, bound: Bound::Budget });
        }
        loop {
            match self.purses[core].hold_money(estimate, now) {
                Ok(()) => return Ok(()),
                Err(Refusal::Short(short)) if short.bound == Bound::Lease && tries < 4 => {
                    tries += 1;
                    self.round(database, now);
                }
                Err(Refusal::Short(short)) => return Err(short),
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    /// A request ends.
    fn end(&mut self, place: usize, now: Moment) -> u64 {
        let (core, held, cost) = self.under_way.remove(place);
        self.purses[core].settle_money(held, cost, now);
        *self.spent.entry(Period::Hour.start(now.millis()).0).or_default() += cost;
        cost
    }
}

// ---- Money ------------------------------------------------------------------------------------------------------------------

fn capped(nano: u64) -> Terms {
    let budget = Budget { amount: money_of(nano), period: Period::Hour, cap: Cap::Hard };
    Terms { ceilings: Box::new([Ceiling::new(budget)]), ..Terms::default() }
}

#[derive(Clone, Debug)]
enum Step {
    Ask {
        machine: usize,
        core: usize,
        estimate: u64,
        cost: u64,
    },
    End {
        machine: usize,
        place: usize,
    },
    Tick,
    Cut(usize),
    Heal(usize),
    Kill(usize),
    /// So many minutes go by.
    Sleep(u64),
}

fn calm(machines: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..machines, 0_usize..CORES as usize, 1_u64..2_000, 0_u64..2_200)
            .prop_map(|(machine, core, estimate, cost)| Step::Ask { machine, core, estimate, cost }),
        8 => (0..machines, 0_usize..50).prop_map(|(machine, place)| Step::End { machine, place }),
        2 => Just(Step::Tick),
    ]
}

fn stormy(machines: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => calm(machines),
        1 => (0..machines).prop_map(Step::Cut),
        1 => (0..machines).prop_map(Step::Heal),
        1 => (0..machines).prop_map(Step::Kill),
        1 => (1_u64..25).prop_map(Step::Sleep),
    ]
}

struct World {
    terms: Terms,
    limit: u64,
    now: Moment,
    database: Database,
    machines: Vec<Machine>,
    /// What was really spent, by the period's begin.
    spent: HashMap<u64, u64>,
    /// What requests cost beyond what was held for them.
    overrun: HashMap<u64, u64>,
    /// What may be spent beyond the budget because machines were out of reach.
    trouble: HashMap<u64, u64>,
    excused: HashSet<(u64, usize)>,
    refused: Vec<(u64, u64)>,
}

impl World {
    fn new(machines: usize, limit: u64) -> Self {
        let terms = capped(limit);
        let machines = (0..machines).map(|number| Machine::new(number, &terms, NOW)).collect();
        let (database, spent, overrun, trouble) = Default::default();
        let (excused, refused) = Default::default();
        let mut world = Self { terms, limit, now: NOW, database, machines, spent, overrun, trouble, excused, refused };
        (0..3).for_each(|_| world.tick());
        world
    }

    fn period(&self) -> u64 {
        Period::Hour.start(self.now.millis()).0
    }

    fn tick(&mut self) {
        self.pass(TICK);
        for machine in &mut self.machines {
            let mut rounds = 0;
            while machine.round(&mut self.database, self.now) && rounds < 4 {
                rounds += 1;
            }
        }
    }

    /// Time goes by. What is held when a period begins is of the new one, and nobody was asked for it.
    fn pass(&mut self, nanos: u64) {
        let before = self.period();
        self.now = Moment(self.now.0 + nanos);
        if self.period() != before {
            let held: u64 = self.machines.iter().map(|machine| machine.holder.counters.spending.held()).sum();
            *self.trouble.entry(self.period()).or_default() += held;
        }
        let now = self.now;
        for machine in &self.machines {
            // Whoever looks first begins the period.
            machine.holder.counters.spending.own_in(Period::Hour, now);
        }
        for machine in &self.machines {
            // Nobody reserves credit for a machine that is out of reach: once a period.
            if machine.is_cut && !machine.is_bound && self.excused.insert((self.period(), machine.number)) {
                *self.trouble.entry(self.period()).or_default() += credit(self.limit, machine.house.peers);
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Ask { machine, core, estimate, cost } => {
                let machine = &mut self.machines[machine];
                match machine.ask(&mut self.database, core, estimate, self.now) {
                    Ok(()) => machine.under_way.push((core, estimate, cost)),
                    Err(short) => {
                        let held: u64 = self.machines.iter().map(|it| it.holder.counters.spending.held()).sum();
                        let spent = self.spent.get(&self.period()).copied().unwrap_or(0);
                        let free = self.limit.saturating_sub(spent + held).saturating_sub(estimate);
                        if short.bound == Bound::Lease {
                            self.refused.push((self.now.0, free));
                        }
                    }
                }
            }
            Step::End { machine, place } => {
                let machine = &mut self.machines[machine];
                if !machine.under_way.is_empty() {
                    let place = place % machine.under_way.len();
                    let (_, held, cost) = machine.under_way[place];
                    machine.end(place, self.now);
                    *self.spent.entry(self.period()).or_default() += cost;
                    *self.overrun.entry(self.period()).or_default() += cost.saturating_sub(held);
                }
            }
            Step::Tick => self.tick(),
            Step::Cut(machine) => self.machines[machine].is_cut = true,
            Step::Heal(machine) => self.machines[machine].is_cut = false,
            Step::Kill(machine) => {
                let (terms, now) = (self.terms.clone(), self.now);
                let machine = &mut self.machines[machine];
                machine.under_way.clear();
                machine.start(&terms, now);
            }
            Step::Sleep(minutes) => {
                for _ in 0..minutes {
                    self.pass(60_000 * MILLI - TICK);
                    self.tick();
                }
            }
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for (period, spent) in &self.spent {
            let reclaimed = self.database.reclaimed.iter().filter(|((pool, ..), _)| pool.epoch == *period as i64);
            let reclaimed: u64 = reclaimed.map(|(_, nano)| *nano).sum();
            let at = |map: &HashMap<u64, u64>| map.get(period).copied().unwrap_or(0);
            let most = self.limit + at(&self.overrun) + at(&self.trouble) + reclaimed;
            prop_assert!(
                *spent <= most,
                "{spent} of {} and {reclaimed} reclaimed, {} {}",
                self.limit,
                at(&self.overrun),
                at(&self.trouble)
            );
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Nobody is cut off: nothing is overspent but what requests cost beyond their estimates, and nobody is refused for want of a lease
    /// while a third of a budget is free that is large against what one request may cost.
    #[test]
    fn a_budget_of_machines_that_are_well_is_spent_and_not_overspent(
        machines in 1_usize..6,
        limit in 60_000_u64..200_000,
        steps in proptest::collection::vec(calm(6), 1..400),
    ) {
        let mut world = World::new(machines, limit);
        for step in &steps {
            let step = match step.clone() {
                Step::Ask { machine, core, estimate, cost } => Step::Ask { machine: machine % machines, core, estimate, cost },
                Step::End { machine, place } => Step::End { machine: machine % machines, place },
                other => other,
            };
            world.step(&step);
            world.check()?;
        }
        for (at, free) in &world.refused {
            prop_assert!(*free <= limit / 3, "refused at {at} with {free} of {limit} free");
        }
    }

    /// Machines are cut off, die, come back with what they wrote down, and periods end: the formula holds. Where leases have a term, only
    /// what was held when a period began is beyond it.
    #[test]
    fn whatever_happens_a_budget_is_overspent_by_no_more_than_leases_that_were_out_of_reach(
        machines in 1_usize..6,
        limit in 20_000_u64..200_000,
        is_bound in any::<bool>(),
        steps in proptest::collection::vec(stormy(6), 1..400),
    ) {
        let mut world = World::new(machines, limit);
        world.machines.iter_mut().for_each(|machine| machine.is_bound = is_bound);
        world.tick();
        for step in &steps {
            let step = match step.clone() {
                Step::Ask { machine, core, estimate, cost } => Step::Ask { machine: machine % machines, core, estimate, cost },
                Step::End { machine, place } => Step::End { machine: machine % machines, place },
                Step::Cut(machine) => Step::Cut(machine % machines),
                Step::Heal(machine) => Step::Heal(machine % machines),
                Step::Kill(machine) => Step::Kill(machine % machines),
                other => other,
            };
            world.step(&step);
            world.check()?;
        }
    }
}

#[test]
fn one_machine_spends_a_budget_to_its_end_and_so_do_three() {
    for machines in [1, 3] {
        let mut world = World::new(machines, 1_000_000);
        let mut refused = 0;
        for turn in 0..4_000 {
            let machine = turn % machines;
            world.step(&Step::Ask { machine, core: turn % 2, estimate: 1_000, cost: 500 });
            world.step(&Step::End { machine, place: 0 });
            if turn % 20 == 0 {
                world.tick();
            }
            refused += usize::from(!world.refused.is_empty());
        }
        world.check().expect("not overspent");
        let spent = world.spent[&world.period()];
        assert!(spent >= 980_000, "{machines} machines: {spent}, {refused}");
    }
}

#[test]
fn a_machine_that_takes_all_there_is_lets_the_next_one_have_some() {
    let mut world = World::new(2, 1_000_000);
    for turn in 0..400 {
        world.step(&Step::Ask { machine: 0, core: 0, estimate: 1_000, cost: 1_000 });
        world.step(&Step::End { machine: 0, place: 0 });
        if turn % 20 == 0 {
            world.tick();
        }
    }
    world.step(&Step::Ask { machine: 1, core: 0, estimate: 100_000, cost: 0 });
    assert_eq!(world.machines[1].under_way.len(), 1, "at once, although it had no lease");
}

#[test]
fn credit_is_kept_free_until_whoever_may_use_it_has_heard_that_there_is_none() {
    let mut world = World::new(3, 960_000);
    let take_all = |world: &mut World| {
        let before = world.machines[0].under_way.len();
        (0..1_000).for_each(|_| world.step(&Step::Ask { machine: 0, core: 0, estimate: 1_000, cost: 0 }));
        world.machines[0].under_way.len() - before
    };
    assert!((850..=880).contains(&take_all(&mut world)), "all but the credit of two");
    let (now, credit) = (world.now, 960_000 / 24);
    world.machines[1].purses[0].hold_money(credit, now).expect("it asks nobody");
    assert_eq!(take_all(&mut world), 0, "nor does the other one need to");
    (0..12).for_each(|_| world.tick());
    // The second has used its credit, and the third knows that there is none any more: its part is free.
    assert!((35..=40).contains(&take_all(&mut world)));
    let now = world.now;
    assert!(world.machines[2].purses[0].hold_money(credit, now).is_err());
    let held: u64 = world.machines.iter().map(|machine| machine.holder.counters.spending.held()).sum();
    assert!(held <= 960_000, "{held}");
}

#[test]
fn what_a_dead_machine_had_leased_is_spent_by_the_others() {
    let mut world = World::new(2, 1_000_000);
    world.step(&Step::Ask { machine: 0, core: 0, estimate: 400_000, cost: 0 });
    world.tick();
    world.step(&Step::Cut(0));
    let ask = Step::Ask { machine: 1, core: 0, estimate: 900_000, cost: 0 };
    world.step(&ask);
    assert!(world.machines[1].under_way.is_empty(), "it may still be spent");
    (0..40).for_each(|_| world.tick());
    world.step(&ask);
    assert_eq!(world.machines[1].under_way.len(), 1);
}

#[test]
fn without_the_database_a_machine_goes_on_with_what_it_has_and_no_further() {
    let mut world = World::new(3, 1_000_000);
    for _ in 0..40 {
        world.step(&Step::Ask { machine: 0, core: 0, estimate: 1_000, cost: 1_000 });
        world.step(&Step::End { machine: 0, place: 0 });
        world.tick();
    }
    (0..3).for_each(|machine| world.step(&Step::Cut(machine)));
    let before = world.spent[&world.period()];
    for _ in 0..2_000 {
        world.step(&Step::Ask { machine: 0, core: 0, estimate: 1_000, cost: 1_000 });
        world.step(&Step::End { machine: 0, place: 0 });
    }
    let alone = world.spent[&world.period()] - before;
    assert!((5_000..=43_000).contains(&alone), "seconds of its pace, at most one part in 24: {alone}");
    world.step(&Step::Kill(0));
    world.step(&Step::Ask { machine: 0, core: 0, estimate: 1_000, cost: 0 });
    assert!(world.machines[0].under_way.is_empty(), "a restart lends nothing");
    world.step(&Step::Ask { machine: 1, core: 0, estimate: 40_000, cost: 0 });
    assert_eq!(world.machines[1].under_way.len(), 1, "its credit: one part in 24");
}

// ---- Rates ------------------------------------------------------------------------------------------------------------------

fn paced(limit: u64) -> Terms {
    Terms { requests: Some(Pace::per_minute(limit)), ..Terms::default() }
}

/// Machines that take requests of one rate as fast as they may; answers when each was admitted, nanoseconds.
fn race(limit: u64, asks: &[(usize, u64)], machines: usize) -> Vec<u64> {
    let (terms, mut now) = (paced(limit), NOW);
    let mut database = Database::default();
    let mut all: Vec<Machine> = (0..machines).map(|number| Machine::new(number, &terms, now)).collect();
    let mut admitted = Vec::new();
    let mut tick = now.0;
    for number in (0..machines).chain(0..machines) {
        all[number].round(&mut database, now);
    }
    for (machine, pause) in asks {
        now = Moment(now.0 + pause * MILLI);
        if now.0 - tick >= TICK {
            tick = now.0;
            for machine in &mut all {
                let mut rounds = 0;
                while machine.round(&mut database, now) && rounds < 4 {
                    rounds += 1;
                }
            }
        }
        let machine = &mut all[machine % machines];
        let mut tries = 0;
        loop {
            match machine.purses[0].take_request(now) {
                Ok(()) => {
                    machine.desk.count(0);
                    admitted.push(now.0);
                    break;
                }
                Err(Refusal::Wait { bound: Bound::Lease, .. }) if tries < 2 => {
                    tries += 1;
                    machine.round(&mut database, now);
                }
                Err(_) => break,
            }
        }
    }
    admitted
}

#[test]
fn a_rate_follows_who_needs_it() {
    // One machine of three alone: a burst of nearly the whole minute, and then the whole pace.
    let asks: Vec<(usize, u64)> = (0..20_000).map(|_| (0, 10)).collect();
    let admitted = race(600, &asks, 3).len();
    assert!((2_300..=600 + 2_000).contains(&admitted), "200 s at 10 a second and a burst: {admitted}");
    // Then another one of them.
    let asks: Vec<(usize, u64)> = (0..20_000).map(|turn| (usize::from(turn > 10_000), 10)).collect();
    let admitted = race(600, &asks, 3).len();
    assert!((2_100..=600 + 2_000).contains(&admitted), "{admitted}");
}

#[test]
fn a_small_rate_is_not_refused_to_whoever_comes_first() {
    assert_eq!(race(3, &[(1, 0), (1, 1), (1, 1), (1, 1)], 3).len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However a rate wanders between machines, no stretch of time has more than a minute's worth and what flows in.
    #[test]
    fn a_rate_that_wanders_is_not_used_twice(
        machines in 1_usize..5,
        limit in 1_u64..2_000,
        asks in proptest::collection::vec((0_usize..5, 0_u64..120), 1..600),
    ) {
        let admitted = race(limit, &asks, machines);
        for first in (0..admitted.len()).step_by(7) {
            for last in (first..admitted.len()).step_by(5) {
                let (count, window) = ((last - first + 1) as u128, u128::from(admitted[last] - admitted[first]));
                let most = u128::from(limit) + u128::from(limit) * window / 60_000_000_000 + 1 + machines as u128;
                prop_assert!(count <= most, "{count} of {most} in {window} ns");
            }
        }
    }
}
