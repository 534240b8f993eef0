//! What limits cost an exchange: nothing but a branch without any, leases with them, shared counters when a lease is used up, and a refusal.
//!
//! Run with `cargo bench --bench allowance`; say the machine and run twice, for a shared one moves by a tenth.

use criterion::{Criterion, criterion_group, criterion_main};
use igris::allowance::{Allowance, Ceiling, Counters, Holder, Moment, Pace, Purse, SteadyClock, Terms, Whose};
use igris::domain::budget::{Budget, Cap, Period};
use igris::domain::clock::UnixMillis;
use igris::domain::money::Money;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Two cores, as the smallest server has.
const CORES: u64 = 2;

fn holder(per_minute: u64, dollars: &str) -> Arc<Holder> {
    let amount = Money::parse_usd(dollars).expect("an amount");
    let budget = |period| Ceiling::new(Budget { amount, period, cap: Cap::Hard });
    let terms = Terms {
        requests: Some(Pace::per_minute(per_minute)),
        tokens: Some(Pace::per_minute(per_minute.saturating_mul(1_000))),
        concurrent: Some(1_000),
        ceilings: Box::new([budget(Period::Day), budget(Period::Month)]),
    };
    let clock = Arc::new(SteadyClock::new(UnixMillis(1_795_689_110_000), Instant::now()));
    let counters = Arc::new(Counters::new(clock.at(Instant::now())));
    Arc::new(Holder { whose: Whose::AccessKey, terms, counters, clock })
}

/// Everything that one exchange asks of one holder, from its admission to its settlement.
fn exchange(purse: &mut Purse, holder: &Arc<Holder>, now: Moment) -> bool {
    purse.adopt(holder, now);
    if !holder.counters.places.take(1_000) {
        return false;
    }
    let admitted = purse.take_request(now).is_ok()
        && purse.hold_tokens(1_500, now).is_ok()
        && purse.hold_money(20_000, now).is_ok();
    if admitted {
        purse.settle_tokens(1_500, 900, now);
        purse.settle_money(20_000, 11_000, now);
    }
    holder.counters.places.give_back();
    admitted
}

fn check_and_settle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("allowance");
    let unlimited = Arc::new(Allowance::default());
    group.bench_function("without limits", |bench| bench.iter(|| black_box(&unlimited).is_unlimited()));
    // So much that it lasts for the whole run; leases are of the largest size.
    let holder = holder(6_000_000_000, "1000000000");
    let mut purse = Purse::new(holder.clone(), CORES);
    group.bench_function("with limits, clock included", |bench| {
        bench.iter(|| exchange(&mut purse, &holder, holder.clock.at(Instant::now())));
    });
    let now = holder.clock.at(Instant::now());
    group.bench_function("with limits", |bench| bench.iter(|| exchange(&mut purse, &holder, black_box(now))));
    let stop = Arc::new(AtomicBool::new(false));
    let other = {
        let (holder, stop) = (holder.clone(), stop.clone());
        std::thread::spawn(move || {
            let mut purse = Purse::new(holder.clone(), CORES);
            while !stop.load(Ordering::Relaxed) {
                exchange(&mut purse, &holder, now);
            }
        })
    };
    group.bench_function("with limits, another core at work", |bench| {
        bench.iter(|| exchange(&mut purse, &holder, black_box(now)));
    });
    stop.store(true, Ordering::Relaxed);
    other.join().expect("it only counts");
    group.finish();
}

fn without_leases(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("allowance, one by one");
    // A limit so small that nothing is taken in advance: every step meets the shared counters.
    let holder = holder(50, "0.001");
    let mut now = holder.clock.at(Instant::now());
    let mut purse = Purse::new(holder.clone(), CORES);
    group.bench_function("with limits", |bench| {
        bench.iter(|| {
            // A minute later there is room for one more.
            now = Moment(now.0 + 60_000_000_000);
            exchange(&mut purse, &holder, now)
        });
    });
    while exchange(&mut purse, &holder, now) {}
    group.bench_function("refused", |bench| bench.iter(|| exchange(&mut purse, &holder, black_box(now))));
    group.finish();
}

criterion_group!(benches, check_and_settle, without_leases);
criterion_main!(benches);
