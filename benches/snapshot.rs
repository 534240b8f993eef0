//! A table of access keys: built whole, asked, and changed by one key, at ten thousand, a hundred thousand and a million keys.
//!
//! `cargo bench --bench snapshot`. The table before is dropped outside of what is timed, as the control plane does it.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use igris::domain::id::{AccessKeyId, TenantId};
use igris::domain::scope::Scopes;
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

fn benches(criterion: &mut Criterion) {
    for count in [10_000, 100_000, 1_000_000] {
        let estate = estate(count);
        let mut group = criterion.benchmark_group(format!("access table, {count} keys"));
        group.sample_size(10);
        group.bench_function("built whole", |bencher| bencher.iter_with_large_drop(|| whole(&estate)));
        let table = whole(&estate);
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

criterion_group!(all, benches);
criterion_main!(all);
