//! What may never happen, whatever the order: more admitted than a limit allows, something held for ever, a period that begins twice.

use super::*;
use crate::domain::budget::{Budget, Cap, Period};
use crate::domain::clock::UnixMillis;
use crate::domain::limit::LimitKind;
use crate::limits::{LEASE_IDLE, LEASES_ONE_IN, RATE_DEBT_MAX};
use proptest::prelude::*;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// 2026-11-26T10:31:50Z.
const NOW: Moment = Moment(1_795_689_110_000_000_000);
const SECOND: u64 = 1_000_000_000;

fn later(now: Moment, nanos: u64) -> Moment {
    Moment(now.0 + nanos)
}

fn holder(terms: Terms) -> Arc<Holder> {
    let clock = Arc::new(SteadyClock::new(NOW.millis(), Instant::now()));
    Arc::new(Holder { whose: Whose::AccessKey, terms, counters: Arc::new(Counters::new(NOW)), clock })
}

fn paced(requests: Option<u64>, tokens: Option<u64>) -> Terms {
    Terms { requests: requests.map(Pace::per_minute), tokens: tokens.map(Pace::per_minute), ..Terms::default() }
}

fn budget(nano: u64, period: Period, cap: Cap) -> Ceiling {
    Ceiling::new(Budget { amount: money_of(nano), period, cap })
}

fn capped(nano: u64) -> Terms {
    Terms { ceilings: Box::new([budget(nano, Period::Month, Cap::Hard)]), ..Terms::default() }
}

fn purses(holder: &Arc<Holder>, cores: u64) -> Vec<Purse> {
    (0..cores).map(|_| Purse::new(holder.clone(), cores)).collect()
}

// ---- Rates ------------------------------------------------------------------------------------------------------------------

#[test]
fn a_small_limit_is_exact_on_any_number_of_cores() {
    for limit in [1, 2, 7, 50] {
        let holder = holder(paced(Some(limit), None));
        let mut purses = purses(&holder, 4);
        let mut take = |turn: u64, now| purses[turn as usize % 4].take_request(now);
        let admitted = (0..2 * limit).filter(|turn| take(*turn, NOW).is_ok()).count() as u64;
        assert_eq!(admitted, limit);
        let Err(Refusal::Wait { kind: LimitKind::Requests, wait, .. }) = take(0, NOW) else {
            panic!("a minute's worth is used up")
        };
        let nanos = wait.as_nanos() as u64;
        assert!(nanos <= 60 * SECOND / limit + 1, "one becomes free after its share of a minute: {wait:?}");
        assert!(take(1, later(NOW, nanos - 1)).is_err() && take(2, later(NOW, nanos)).is_ok(), "{limit}");
    }
}

#[test]
fn what_is_left_and_when_it_is_full_again() {
    let holder = holder(paced(Some(60), Some(6_000)));
    let Holder { counters, terms, .. } = &*holder;
    let (requests, tokens) = (terms.requests.expect("set"), terms.tokens.expect("set"));
    let mut purse = Purse::new(holder.clone(), 1_000);
    for _ in 0..20 {
        purse.take_request(NOW).expect("there are 60");
    }
    assert_eq!(
        (counters.requests.remaining(requests, NOW), counters.requests.full_in(requests, NOW)),
        (40, 20 * SECOND)
    );
    assert_eq!(counters.requests.remaining(requests, later(NOW, 5 * SECOND)), 45);
    assert_eq!(purse.hold_tokens(1_000, NOW), Ok(1_000));
    assert_eq!(counters.tokens.remaining(tokens, NOW), 5_000, "what is held is not there");
    purse.settle_tokens(1_000, 100, NOW);
    assert_eq!((counters.tokens.remaining(tokens, NOW), counters.tokens.full_in(tokens, NOW)), (5_900, SECOND));
}

#[test]
fn a_request_larger_than_a_minute_waits_for_a_full_bucket_and_then_passes() {
    let holder = holder(paced(None, Some(1_000)));
    let mut purse = Purse::new(holder.clone(), 2);
    assert_eq!(purse.hold_tokens(5_000, NOW), Ok(1_000));
    purse.settle_tokens(1_000, 5_000, NOW);
    let Err(Refusal::Wait { wait, .. }) = purse.hold_tokens(1, NOW) else { panic!("it is owed") };
    assert!(wait <= RATE_DEBT_MAX + Duration::from_secs(1), "no more than a minute's worth is owed: {wait:?}");
    assert!(purse.hold_tokens(5_000, later(NOW, 119 * SECOND)).is_err(), "not full yet");
    assert_eq!(purse.hold_tokens(5_000, later(NOW, 120 * SECOND)), Ok(1_000));
}

#[test]
fn an_estimate_that_was_too_high_lends_nothing() {
    let holder = holder(paced(None, Some(600)));
    let mut purse = Purse::new(holder, 1_000);
    assert_eq!(purse.hold_tokens(600, NOW), Ok(600));
    // A minute later the bucket would long be full: giving the estimate back must not fill it twice.
    let then = later(NOW, 60 * SECOND);
    purse.settle_tokens(600, 0, then);
    assert_eq!(purse.hold_tokens(600, then), Ok(600));
    purse.settle_tokens(600, 600, then);
    assert!(purse.hold_tokens(1, then).is_err());
}

#[test]
fn a_moment_from_a_clock_that_was_wrong_refuses_nobody_for_ever() {
    let pace = Pace::per_minute(10);
    let rate = Rate::default();
    rate.restore(pace, later(NOW, 1_000_000 * SECOND), NOW);
    let wait = rate.take(pace, 1, NOW).expect_err("it is brought near, not to nothing");
    assert!(Duration::from_nanos(wait) <= RATE_DEBT_MAX + Duration::from_secs(6), "{wait}");
    assert_eq!(rate.take(pace, 1, later(NOW, wait)), Ok(()));
    // What is read back is never more than what is known already.
    let rate = Rate::default();
    (0..10).for_each(|_| rate.take(pace, 1, NOW).expect("there are ten"));
    rate.restore(pace, NOW, NOW);
    assert!(rate.take(pace, 1, NOW).is_err());
}

#[test]
fn a_limit_that_changes_forgets_nothing() {
    let before = holder(paced(Some(10), None));
    let mut purse = Purse::new(before.clone(), 2);
    (0..10).for_each(|_| purse.take_request(NOW).expect("there are ten"));
    let Holder { counters, clock, .. } = &*before;
    let terms = paced(Some(1_000), None);
    let after = Arc::new(Holder { whose: Whose::AccessKey, terms, counters: counters.clone(), clock: clock.clone() });
    purse.adopt(&after, NOW);
    assert!(purse.take_request(NOW).is_err(), "a whole minute's worth is used");
    assert!(purse.take_request(later(NOW, 60 * SECOND / 1_000)).is_ok(), "and comes back at the new pace");
}

proptest! {
    /// No stretch of time admits more than a bucket and what flows in, beside what cores had in advance.
    #[test]
    fn no_stretch_of_time_admits_more_than_its_share(
        limit in 1_u64..100_000,
        cores in 1_u64..5,
        steps in proptest::collection::vec((0_u64..4, 0_u64..30_000_000, 1_u32..60), 1..120),
    ) {
        let holder = holder(paced(Some(limit), None));
        let mut purses = purses(&holder, cores);
        let mut now = NOW;
        let mut admitted: Vec<(Moment, u128)> = Vec::new();
        for (core, pause, asks) in steps {
            now = later(now, pause);
            let purse = &mut purses[(core % cores) as usize];
            admitted.push((now, (0..asks).filter(|_| purse.take_request(now).is_ok()).count() as u128));
        }
        let leased = cores * (limit / (LEASES_ONE_IN * cores)).max(1);
        for (place, (first, _)) in admitted.iter().enumerate() {
            let mut count = 0;
            for (last, more) in &admitted[place..] {
                count += more;
                let flown = u128::from(last.0 - first.0) * u128::from(limit) / u128::from(60 * SECOND);
                prop_assert!(count <= u128::from(limit) + flown + u128::from(leased) + 1, "{count} in {}", last.0 - first.0);
            }
        }
    }

    /// What is used stays within the bucket and what flows in, beside what requests use beyond their estimates; and nothing stays held.
    #[test]
    fn tokens_stay_within_their_share(
        limit in 100_u64..1_000_000,
        cores in 1_u64..5,
        steps in proptest::collection::vec((0_u64..4, 0_u64..200_000_000, 1_u64..5_000, 0_u64..6_000, any::<bool>()), 1..150),
    ) {
        let holder = holder(paced(None, Some(limit)));
        let mut purses = purses(&holder, cores);
        let (mut now, mut used, mut beyond) = (NOW, 0_u128, 0_u128);
        let mut open: Vec<(usize, u64)> = Vec::new();
        for (core, pause, estimate, use_of_it, ends) in steps {
            now = later(now, pause);
            let core = (core % cores) as usize;
            if let Ok(held) = purses[core].hold_tokens(estimate, now) {
                open.push((core, held));
            }
            if ends && let Some((core, held)) = open.pop() {
                purses[core].settle_tokens(held, use_of_it, now);
                used += u128::from(use_of_it);
                beyond += u128::from(use_of_it.saturating_sub(held));
            }
            let flown = u128::from(now.0 - NOW.0) * u128::from(limit) / u128::from(60 * SECOND);
            prop_assert!(used <= u128::from(limit) + flown + beyond + 1, "{used} of {limit} + {flown} + {beyond}");
        }
        for (core, held) in open {
            purses[core].settle_tokens(held, 0, now);
        }
        drop(purses);
        let (counters, pace) = (&holder.counters, Pace::per_minute(limit));
        prop_assert_eq!(counters.tokens.remaining(pace, later(now, 200 * SECOND)), limit, "nothing is held any more");
    }
}

// ---- Money ------------------------------------------------------------------------------------------------------------------

#[test]
fn a_budget_is_refused_before_it_is_overspent() {
    let holder = holder(capped(1_000));
    let mut purse = Purse::new(holder.clone(), 2);
    purse.hold_money(600, NOW).expect("there is as much");
    let short = purse.hold_money(500, NOW).expect_err("there is not");
    assert!(
        matches!(short, Refusal::Short(Short { place: 0, left, bound: Bound::Budget }) if left <= 400),
        "{short:?}"
    );
    purse.settle_money(600, 100, NOW);
    purse.hold_money(500, NOW).expect("what was not needed came back");
    purse.settle_money(500, 2_000, NOW);
    assert!(holder.counters.spending.check_spent(&holder.terms.ceilings, NOW).is_err(), "it was used all the same");
    assert!(purse.hold_money(0, NOW).is_err(), "not even for nothing");
    drop(purse);
    let spending = &holder.counters.spending;
    assert_eq!((spending.spent_in(Period::Month, NOW), spending.held()), (2_100, 0));
}

#[test]
fn soft_budgets_refuse_nobody() {
    let terms = Terms { ceilings: Box::new([budget(10, Period::Day, Cap::Soft)]), ..Terms::default() };
    let holder = holder(terms);
    let mut purse = Purse::new(holder.clone(), 1);
    purse.hold_money(1_000, NOW).expect("soft");
    purse.settle_money(1_000, 1_000, NOW);
    purse.hold_money(1_000, NOW).expect("soft");
    purse.settle_money(1_000, 0, NOW);
    purse.sweep(Instant::now());
    assert_eq!(holder.counters.spending.spent_in(Period::Day, NOW), 1_000);
}

#[test]
fn each_period_begins_anew_at_its_own_time_and_only_then() {
    let spending = Spending::new(NOW);
    spending.settle(70, 0);
    let in_periods = |now| Period::ALL.map(|period| spending.spent_in(period, now));
    assert_eq!(in_periods(NOW), [70; 5]);
    // Past the hour.
    let next_hour = Moment::from(Period::Hour.end(NOW.millis()).expect("it ends"));
    assert_eq!(in_periods(Moment(next_hour.0 - 1_000_000)), [70; 5], "not a moment sooner");
    assert_eq!(in_periods(next_hour), [0, 70, 70, 70, 70]);
    spending.settle(5, 0);
    // Past the month, which begins on a Tuesday.
    let next_month = Moment::from(Period::Month.end(NOW.millis()).expect("it ends"));
    assert_eq!(in_periods(next_month), [0, 0, 0, 0, 75]);
    spending.settle(1, 0);
    assert_eq!(in_periods(next_month), [1, 1, 1, 1, 76]);
}

#[test]
fn what_is_held_over_the_end_of_a_period_belongs_to_the_new_one() {
    let terms = Terms { ceilings: Box::new([budget(100, Period::Hour, Cap::Hard)]), ..Terms::default() };
    let holder = holder(terms);
    let mut purse = Purse::new(holder.clone(), 1_000);
    purse.hold_money(80, NOW).expect("there is as much");
    let next = Moment::from(Period::Hour.end(NOW.millis()).expect("it ends"));
    assert!(purse.hold_money(30, next).is_err(), "80 are still held");
    purse.settle_money(80, 10, next);
    purse.hold_money(90, next).expect("10 are spent, in this hour");
    assert!(purse.hold_money(1, next).is_err(), "an estimate that was too high gives the new hour nothing");
}

#[test]
fn what_the_books_say_counts() {
    let spending = Spending::new(NOW);
    spending.settle(5, 0);
    spending.restore(Period::Day, 40, NOW);
    spending.settle(2, 0);
    assert_eq!((spending.spent_in(Period::Day, NOW), spending.spent_in(Period::Hour, NOW)), (42, 7));
}

proptest! {
    /// What is spent stays within the budget but for what requests cost beyond their estimates; no nanodollar is lost or held for ever.
    #[test]
    fn money_stays_within_its_budget(
        limit in 1_000_u64..10_000_000,
        cores in 1_u64..5,
        steps in proptest::collection::vec((0_u64..4, 0_u64..3, 0_u64..20_000, 0_u64..25_000), 1..200),
    ) {
        let holder = holder(capped(limit));
        let mut purses = purses(&holder, cores);
        let (mut now, mut spent, mut beyond) = (NOW, 0_u64, 0_u64);
        let mut open: Vec<(usize, u64)> = Vec::new();
        for (core, kind, estimate, cost) in steps {
            now = later(now, 7_000_000);
            let core = (core % cores) as usize;
            match kind {
                0 if !open.is_empty() => {
                    let (core, held) = open.swap_remove(cost as usize % open.len());
                    purses[core].settle_money(held, cost, now);
                    spent += cost;
                    beyond += cost.saturating_sub(held);
                }
                // A core that was idle for a while.
                1 => drop(std::mem::replace(&mut purses[core], Purse::new(holder.clone(), cores))),
                _ => open.extend(purses[core].hold_money(estimate, now).is_ok().then_some((core, estimate))),
            }
            let held: u64 = open.iter().map(|(_, held)| held).sum();
            prop_assert!(spent + held <= limit + beyond, "{spent} + {held} of {limit} + {beyond}");
        }
        for (core, held) in open {
            purses[core].settle_money(held, 0, now);
        }
        drop(purses);
        let spending = &holder.counters.spending;
        prop_assert_eq!((spending.spent_in(Period::Month, now), spending.held()), (spent, 0));
    }
}

// ---- Threads ----------------------------------------------------------------------------------------------------------------

/// Runs `work` on so many threads that begin together.
fn at_once<T: Send>(threads: u64, work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let go = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (go, work) = (&go, &work);
        let run = move |thread| {
            while !go.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
            work(thread)
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        go.store(true, Ordering::Release);
        running.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    })
}

#[test]
fn threads_together_take_no_more_than_there_is() {
    for limit in [50, 100_000] {
        let (threads, asks) = (8, 3 * limit / 8);
        let holder = holder(paced(Some(limit), None));
        let admitted: u64 = at_once(threads, |_| {
            let mut purse = Purse::new(holder.clone(), threads);
            (0..asks).filter(|_| purse.take_request(NOW).is_ok()).count() as u64
        })
        .into_iter()
        .sum();
        // Leases that ended unused are the only thing missing.
        assert!(admitted <= limit && admitted >= limit - limit / LEASES_ONE_IN, "{admitted} of {limit}");
    }
}

#[test]
fn threads_together_spend_no_more_than_the_budget_and_what_they_could_not_foresee() {
    const LIMIT: u64 = 5_000_000;
    let holder = holder(capped(LIMIT));
    let sums = at_once(8, |thread| {
        let mut dice = fastrand::Rng::with_seed(7 + thread);
        let mut purse = Purse::new(holder.clone(), 8);
        let (mut spent, mut beyond, mut open) = (0, 0, Vec::new());
        for turn in 0..20_000_u64 {
            let now = later(NOW, turn * 1_000);
            let estimate = dice.u64(0..2_000);
            open.extend(purse.hold_money(estimate, now).is_ok().then_some(estimate));
            if open.len() > 3 {
                let held = open.swap_remove(dice.usize(..open.len()));
                let cost = if dice.u8(..) < 16 { held + dice.u64(0..500) } else { dice.u64(0..=held) };
                purse.settle_money(held, cost, now);
                spent += cost;
                beyond += cost.saturating_sub(held);
            }
        }
        // The clients of the others have gone: nothing came of it.
        open.into_iter().for_each(|held| purse.settle_money(held, 0, NOW));
        (spent, beyond)
    });
    let (spent, beyond) = sums.into_iter().fold((0, 0), |sum, own| (sum.0 + own.0, sum.1 + own.1));
    assert!(spent <= LIMIT + beyond, "{spent} of {LIMIT} + {beyond}");
    assert!(spent >= LIMIT - LIMIT / LEASES_ONE_IN - 8 * 5 * 2_000, "and no less than was held at the end: {spent}");
    let spending = &holder.counters.spending;
    assert_eq!((spending.spent_in(Period::Month, NOW), spending.held()), (spent, 0));
}

#[test]
fn threads_at_the_end_of_a_period_lose_nothing() {
    let end = Moment::from(Period::Hour.end(NOW.millis()).expect("it ends"));
    for _ in 0..50 {
        let spending = Spending::new(NOW);
        spending.settle(1_000, 0);
        at_once(4, |_| {
            spending.spent_in(Period::Hour, end);
            spending.settle(3, 0);
            spending.spent_in(Period::Hour, end)
        });
        // What is spent in the instant of turning may fall on either side of it.
        assert!(spending.spent_in(Period::Hour, end) <= 12, "the hour began once");
        assert_eq!(spending.spent_in(Period::Total, end), 1_012);
    }
}

#[test]
fn places_are_exact() {
    let places = Places::default();
    let most = at_once(8, |_| {
        let mut most = 0;
        for _ in 0..5_000 {
            if places.take(3) {
                most = most.max(places.taken());
                places.give_back();
            }
        }
        most
    });
    assert!(most.into_iter().all(|most| most <= 3));
    assert_eq!(places.taken(), 0);
}

// ---- Clock ------------------------------------------------------------------------------------------------------------------

#[test]
fn the_clock_follows_forward_and_never_goes_back() {
    let start = Instant::now();
    let clock = SteadyClock::new(NOW.millis(), start);
    let at = |seconds| start + Duration::from_secs(seconds);
    let wall = |seconds: i64| UnixMillis(NOW.millis().0.saturating_add_signed(seconds * 1_000));
    assert_eq!(clock.correct(wall(10), at(10)), Step::None);
    // Set back by an hour: it goes on as it was.
    assert_eq!(clock.correct(wall(-3_580), at(20)), Step::Behind(Duration::from_secs(3_600)));
    assert_eq!(clock.at(at(20)).millis(), wall(20));
    // Set forward by a day: it follows, once.
    assert_eq!(clock.correct(wall(86_430), at(30)), Step::Forward(Duration::from_secs(86_400)));
    assert_eq!(clock.correct(wall(86_440), at(40)), Step::None);
    // And back again: nobody waits for a day, since it runs on from there.
    assert_eq!(clock.correct(wall(50), at(50)), Step::Behind(Duration::from_secs(86_400)));
    assert_eq!(clock.at(at(50)).millis(), wall(86_450));
}

#[test]
fn an_idle_lease_goes_back() {
    let terms = Terms { tokens: Some(Pace::per_minute(1_000_000)), ..capped(1_000_000) };
    let holder = holder(terms);
    let start = Instant::now();
    let clock = &holder.clock;
    let mut purse = Purse::new(holder.clone(), 1);
    for _ in 0..10 {
        let now = clock.at(start);
        purse.adopt(&holder, now);
        purse.hold_money(100, now).expect("there is as much");
        purse.settle_money(100, 10, now);
        let held = purse.hold_tokens(100, now).expect("there are as many");
        purse.settle_tokens(held, 10, now);
    }
    let Counters { spending, tokens, .. } = &*holder.counters;
    assert!(spending.held() > 0, "it has some in advance by now");
    assert!(!purse.sweep(start), "it was used a moment ago");
    assert!(purse.sweep(start + LEASE_IDLE), "it was not used for a while");
    assert_eq!((spending.held(), spending.spent_in(Period::Month, clock.at(start))), (0, 100));
    let pace = Pace::per_minute(1_000_000);
    assert_eq!(tokens.remaining(pace, clock.at(start + LEASE_IDLE)), 1_000_000);
}

// ---- One of several machines ------------------------------------------------------------------------------------------------

fn of_member(terms: Terms) -> (Arc<Holder>, Arc<Membership>) {
    let member = Arc::new(Membership::new(Instant::now(), None));
    let clock = Arc::new(SteadyClock::new(NOW.millis(), Instant::now()));
    let counters = Arc::new(Counters::of_member(NOW, Some(member.clone())));
    (Arc::new(Holder { whose: Whose::AccessKey, terms, counters, clock }), member)
}

#[test]
fn a_machine_spends_as_far_as_it_was_granted_and_all_as_far_as_the_budget_goes() {
    let (holder, _) = of_member(capped(1_000));
    let Holder { counters, terms, .. } = &*holder;
    let (spending, period) = (&counters.spending, Period::Month);
    let ends = period.end(NOW.millis()).expect("it ends").0;
    spending.grant(period, ends, 300);
    let mut purse = Purse::new(holder.clone(), 1_000);
    purse.hold_money(300, NOW).expect("granted");
    let short = purse.hold_money(1, NOW).expect_err("not granted");
    assert_eq!(short, Refusal::Short(Short { place: 0, left: 0, bound: Bound::Lease }));
    assert_eq!(counters.parts.take_wanted(LimitKind::Budget), 1, "it is asked for");
    spending.grant(period, ends, 900);
    spending.elsewhere(period, ends, 500);
    counters.parts.set_low(400);
    assert_eq!((purse.hold_money(100, NOW), counters.parts.take_wanted(LimitKind::Budget)), (Ok(()), 0));
    assert_eq!((purse.hold_money(1, NOW), counters.parts.take_wanted(LimitKind::Budget)), (Ok(()), 0));
    assert_eq!((purse.hold_money(99, NOW), counters.parts.take_wanted(LimitKind::Budget)), (Ok(()), 0));
    counters.parts.set_low(401);
    assert!(purse.hold_money(0, NOW).is_ok(), "and it is asked for in time");
    assert_eq!(counters.parts.take_wanted(LimitKind::Budget), 1);
    purse.hold_money(0, NOW).expect("granted, and within the budget");
    let short = purse.hold_money(1, NOW).expect_err("others spent the rest");
    assert!(matches!(short, Refusal::Short(Short { bound: Bound::Budget, .. })), "{short:?}");
    purse.settle_money(500, 500, NOW);
    assert_eq!((spending.own_in(period, NOW), spending.spent_in(period, NOW)), (500, 1_000));
    assert!(spending.check_spent(&terms.ceilings, NOW).is_err());
}

#[test]
fn a_period_begins_with_its_credit_and_what_is_said_of_another_one_is_not_taken() {
    let (holder, _) = of_member(capped(1_000));
    let (spending, period) = (&holder.counters.spending, Period::Month);
    let ends = period.end(NOW.millis()).expect("it ends").0;
    spending.credit(period, 40);
    spending.grant(period, ends, 700);
    spending.elsewhere(period, ends, 200);
    let next = Moment::from(UnixMillis(ends));
    assert_eq!((spending.spent_in(period, next), spending.granted(period)), (0, Some(40)));
    spending.grant(period, ends, 700);
    spending.elsewhere(period, ends, 200);
    assert_eq!((spending.spent_in(period, next), spending.granted(period)), (0, Some(40)), "that one is over");
    spending.release(period);
    assert_eq!(spending.granted(period), None);
}

#[test]
fn a_part_of_a_rate_refuses_for_want_of_a_lease_and_grows_empty_or_full() {
    let (holder, member) = of_member(paced(Some(60), None));
    let parts = &holder.counters.parts;
    parts.set(LimitKind::Requests, 2);
    let mut purse = Purse::new(holder.clone(), 1_000);
    let mut take = |now| purse.take_request(now);
    assert!(take(NOW).is_ok() && take(NOW).is_ok());
    let refused = take(NOW).expect_err("a part of two");
    assert!(matches!(refused, Refusal::Wait { limit: 60, bound: Bound::Lease, .. }), "{refused:?}");
    assert!(parts.is_wanting() && parts.take_wanted(LimitKind::Requests) == 1);
    let grow = |from, to, is_full| {
        holder.counters.requests.turn((Pace::part(from), Pace::part(to)), is_full, NOW);
        parts.set(LimitKind::Requests, to);
    };
    grow(2, 10, false);
    assert!(take(NOW).is_err() && take(later(NOW, 6 * SECOND)).is_ok(), "it flows in, ten a minute");
    grow(10, 15, true);
    assert_eq!(
        (0..10).filter(|_| take(NOW).is_ok()).count(),
        4,
        "five that nobody used, less the one of six seconds later"
    );
    // Asking is of no use: nobody is rung for.
    parts.take_wanted(LimitKind::Requests);
    parts.set_dry(LimitKind::Requests, later(NOW, SECOND));
    assert!(take(NOW).is_err() && !parts.is_wanting());
    member.set_alone(true);
    assert!(parts.is_dry(LimitKind::Requests, later(NOW, 2 * SECOND)), "nobody answers");
}

#[test]
fn an_estimate_beyond_a_part_waits_for_more_of_it_unless_there_is_none() {
    let (holder, _) = of_member(paced(None, Some(1_000)));
    let parts = &holder.counters.parts;
    parts.set(LimitKind::Tokens, 100);
    let mut purse = Purse::new(holder.clone(), 1_000);
    assert!(purse.hold_tokens(400, NOW).is_err());
    assert_eq!(parts.take_wanted(LimitKind::Tokens), 400);
    parts.set_dry(LimitKind::Tokens, later(NOW, SECOND));
    assert_eq!(purse.hold_tokens(400, NOW), Ok(100), "as an estimate beyond a minute's worth");
    parts.set(LimitKind::Tokens, 0);
    assert!(purse.hold_tokens(400, NOW).is_err(), "of nothing there is nothing");
}

#[test]
fn places_are_those_of_the_machine() {
    let (holder, _) = of_member(Terms { concurrent: Some(3), ..Terms::default() });
    holder.counters.parts.set(LimitKind::Concurrent, 1);
    assert_eq!((holder.take_place(NOW), holder.take_place(NOW)), (Ok(()), Err(Bound::Lease)));
    assert_eq!(holder.counters.parts.take_wanted(LimitKind::Concurrent), 2);
    holder.counters.parts.set(LimitKind::Concurrent, 9);
    assert_eq!([(); 3].map(|()| holder.take_place(NOW)), [Ok(()), Ok(()), Err(Bound::Budget)]);
}
