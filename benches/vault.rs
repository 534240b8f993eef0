//! What the vault costs: a data key unwrapped, a credential sealed and opened again, and an access key known by its digest.
//!
//! Run with `cargo bench --bench vault`; say the machine and run twice, for a shared one moves by a tenth. Keys are unwrapped and credentials
//! opened when a snapshot is built; the digest is what every request pays.

use criterion::{Criterion, criterion_group, criterion_main};
use igris::domain::id::{CredentialId, ProviderId, TenantId};
use igris::domain::secret::Secret;
use igris::vault::access_key::{Pepper, digest};
use igris::vault::{Keyring, OsEntropy, Place, RootSource, open, seal};
use std::hint::black_box;

fn credentials(criterion: &mut Criterion) {
    let folder = std::env::temp_dir().join(format!("igris-bench-vault-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder of its own");
    let root = || RootSource::File(folder.join("root.key")).load().expect("read").expect("made");
    RootSource::File(folder.join("root.key")).make(&mut OsEntropy).expect("made");
    let rows = Keyring::create(&root(), &mut OsEntropy).expect("a keyring");
    let keyring = Keyring::open(root(), &rows).expect("opens");
    let (tenant, provider) = (TenantId::new("acme-production"), ProviderId::new("openai"));
    let wrapped = keyring.make_data_key(&tenant, 1, &mut OsEntropy).expect("a data key");
    let mut key = keyring.open_data_key(&tenant, &wrapped).expect("opens");
    let place = Place::credential(&tenant, &provider, "https://api.openai.com/v1", CredentialId::from_bits(77), 1, 1);
    let secret =
        Secret::copy_of(b"sk-proj-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefgh");
    let sealed = seal(&mut key, &place, &secret, &mut OsEntropy).expect("sealed");
    let mut group = criterion.benchmark_group("vault");
    group.bench_function("a tenant's data key unwrapped", |bench| {
        bench.iter(|| keyring.open_data_key(black_box(&tenant), black_box(&wrapped)).is_ok());
    });
    group.bench_function("a credential sealed", |bench| {
        bench.iter(|| seal(&mut key, black_box(&place), black_box(&secret), &mut OsEntropy).is_ok());
    });
    let key = keyring.open_data_key(&tenant, &wrapped).expect("opens");
    group.bench_function("a credential opened", |bench| {
        bench.iter(|| open(&key, black_box(&place), black_box(&sealed)).is_ok());
    });
    let pepper = Pepper::new(1, &[7; 32]);
    let shown = b"sk-igris-0123456789abcdefghijklmnopqrstuvwxyzABCDEFG012345";
    group.bench_function("an access key's digest", |bench| bench.iter(|| digest(&pepper, black_box(shown))));
    group.finish();
    drop(std::fs::remove_dir_all(&folder));
}

criterion_group!(benches, credentials);
criterion_main!(benches);
