//! A table of access keys: built whole, asked, and changed by one key, at one thousand to a million keys; a table of
//! routes: built whole and asked, at one, a hundred and ten thousand; and what is published, taken up by a core and replaced.
//!
//! `cargo bench --bench snapshot`. The table before is dropped outside of what is timed, as the control plane does it. What the largest of
//! each takes of the machine's memory is said once, as the system sees it.

use arc_swap::{ArcSwap, Cache};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use igris::domain::id::{AccessKeyId, ProviderId, TenantId};
use igris::domain::scope::Scopes;
use igris::routing::resolve::{ModelTable, Offer, Resolver, Route, Routes, Target};
use igris::snapshot::{AccessKey, AccessTable, AccessTerms};
use igris::vault::access_key::Pepper;
use std::hint::black_box;
use std::sync::Arc;

struct Estate {
    keys: Vec<([u8; 32], Arc<AccessKey>)>,
    pepper: Arc<Pepper>,
}

fn estate(count: usize) -> Estate {
    let mut dice = fastrand::Rng::with_seed(7);
    let tenants: Vec<TenantId> = (0..10_000).map(|n| TenantId::new(&format!("t{n}"))).collect();
    let terms = Arc::new(AccessTerms::default());
    let key = |n: usize| {
        let digest = std::array::from_fn(|_| dice.u8(..));
        let key = AccessKey {
            id: AccessKeyId::from_bits(n as u128),
            tenant: tenants[n % tenants.len()].clone(),
            scopes: Scopes::INFERENCE,
            expires_at: None,
            terms: terms.clone(),
            allowance: Arc::default(),
        };
        (digest, Arc::new(key))
    };
    Estate { keys: (0..count).map(key).collect(), pepper: Arc::new(Pepper::new(1, &[7; 32])) }
}

fn whole(estate: &Estate) -> AccessTable {
    let mut filling = AccessTable::filling(estate.pepper.clone());
    estate.keys.iter().for_each(|(digest, key)| filling.add(*digest, key.clone()));
    filling.finish()
}

/// Entries of an owner, every name with two targets.
fn routes(count: usize) -> ModelTable {
    let target = |model: &str| Target { provider: "openai".into(), model: Some(model.to_owned()), weight: 1 };
    let route = |number: usize| Route {
        name: format!("team-{number}"),
        targets: vec![target("gpt-4o"), target("gpt-4o-mini")],
    };
    let offer = Offer {
        provider: ProviderId::new("openai"),
        aliases: Vec::new(),
        models: ["gpt-4o", "gpt-4o-mini"].map(Box::from).into(),
        recommended: None,
        custom: false,
        splits: Vec::new(),
    };
    let routes = Routes::new((0..count).map(route).collect()).expect("every name is another");
    ModelTable::new(Resolver::new(routes, Vec::new(), vec![offer]))
}

/// What this process has in memory, KiB; 0 where the system does not say.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Makes something, and says what it took.
fn weighed<T>(what: &str, make: impl FnOnce() -> T) -> T {
    let before = resident_kib();
    let made = make();
    println!("{what}: {} KiB", resident_kib().saturating_sub(before));
    made
}

fn route_benches(criterion: &mut Criterion) {
    for count in [1, 100, 10_000] {
        let table = weighed(&format!("table of {count} routes"), || routes(count));
        let names: Vec<String> = (0..count).map(|number| format!("team-{number}")).collect();
        let mut group = criterion.benchmark_group(format!("route table, {count} routes"));
        group.sample_size(10);
        group.bench_function("built whole", |bencher| bencher.iter_with_large_drop(|| routes(count)));
        let mut dice = fastrand::Rng::with_seed(1);
        group.bench_function("found", |bencher| {
            bencher.iter(|| black_box(table.find(&names[dice.usize(..count)])).is_some());
        });
        group.bench_function("not found", |bencher| bencher.iter(|| black_box(table.find("team-none")).is_none()));
        group.finish();
    }
}

fn benches(criterion: &mut Criterion) {
    for count in [1_000, 10_000, 100_000, 1_000_000] {
        let estate = weighed(&format!("{count} keys"), || estate(count));
        let mut group = criterion.benchmark_group(format!("access table, {count} keys"));
        group.sample_size(10);
        group.bench_function("built whole", |bencher| bencher.iter_with_large_drop(|| whole(&estate)));
        let table = weighed(&format!("table of {count} keys, without the keys"), || whole(&estate));
        let mut dice = fastrand::Rng::with_seed(1);
        group.bench_function("found", |bencher| {
            bencher.iter(|| black_box(table.find(&estate.keys[dice.usize(..count)].0)).is_some());
        });
        group.bench_function("not found", |bencher| {
            bencher.iter_batched_ref(
                || std::array::from_fn::<u8, 32, _>(|_| dice.u8(..)),
                |digest| black_box(table.find(digest)).is_none(),
                BatchSize::SmallInput,
            );
        });
        group.bench_function("one key changed", |bencher| {
            let mut next = 0;
            bencher.iter_with_large_drop(|| {
                next = (next + 1) % count;
                let (digest, key) = &estate.keys[next];
                let mut changed = table.clone();
                changed.insert(*digest, key.clone());
                changed
            });
        });
        group.finish();
    }
}

/// The way of a snapshot to its cores, with a small table in its place: it goes by pointer, whatever it holds.
fn published(criterion: &mut Criterion) {
    let estate = estate(1_000);
    let table = Arc::new(whole(&estate));
    let published = Arc::new(ArcSwap::new(table.clone()));
    let mut group = criterion.benchmark_group("what is published");
    let mut core = Cache::new(published.clone());
    group.bench_function("taken up by a core, unchanged", |bencher| bencher.iter(|| black_box(core.load().len())));
    group.bench_function("loaded without a cache", |bencher| bencher.iter(|| black_box(published.load().len())));
    group.bench_function("replaced", |bencher| bencher.iter(|| published.store(black_box(table.clone()))));
    group.bench_function("replaced, and taken up by a core", |bencher| {
        bencher.iter(|| {
            published.store(table.clone());
            black_box(core.load().len())
        });
    });
    group.finish();
}

criterion_group!(all, published, route_benches, benches);
criterion_main!(all);
