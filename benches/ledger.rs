//! What the journal costs an exchange: an intent and a close, written, checksummed and chained, beside the parts of that.
//!
//! Run with `cargo bench --bench ledger`; say the machine and run twice, for a shared one moves by a tenth.

use criterion::{Criterion, criterion_group, criterion_main};
use igris::domain::clock::UnixMillis;
use igris::domain::id::{AccessKeyId, AttemptId, CredentialId, ProviderId, RequestId, TenantId};
use igris::domain::money::Money;
use igris::domain::token::{Usage, UsageSource};
use igris::ledger::{Durability, Journal, Ledger, LedgerPlan, Mark, Rates, Reader, record, segment};
use igris::limits::ledger::SEGMENT_BYTES_MAX;
use igris::report::{AttemptReport, Outcome};
use igris::routing::policy::Policy;
use igris::vault::LedgerKey;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn report() -> AttemptReport {
    AttemptReport {
        exchange: RequestId::from_bits(1),
        attempt: AttemptId::from_bits(2),
        last: true,
        tenant: TenantId::new("acme-production"),
        access_key: AccessKeyId::from_bits(3),
        provider: ProviderId::new("openai"),
        credential: Some(CredentialId::from_bits(4)),
        model: Arc::from("gpt-5-mini-2026-08-07"),
        policy: Policy::Thompson,
        outcome: Outcome::Completed,
        status: 200,
        key_refused: false,
        stream: true,
        usage: Usage { input: 1_200, output: 350, ..Usage::default() },
        usage_source: UsageSource::Provider,
        cost: Some(Money::from_pico(1_000_000_000)),
        price_version: 1,
        started: UnixMillis(1_795_689_110_000),
        connect_us: 0,
        tls_us: 0,
        first_byte_us: 210_000,
        first_token_us: 230_000,
        total_us: 4_000_000,
    }
}

/// A ledger in a directory of its own.
struct Place {
    directory: PathBuf,
    ledger: Arc<Ledger>,
}

impl Place {
    fn new(durability: Durability) -> Self {
        let directory = std::env::temp_dir().join(format!("igris-bench-ledger-{}-{durability:?}", std::process::id()));
        let plan = LedgerPlan {
            segment_bytes: SEGMENT_BYTES_MAX,
            reserve: 0,
            ..LedgerPlan::new(directory.clone(), Arc::new(LedgerKey::for_tests()), durability, 1)
        };
        let (ledger, _) = Ledger::open(plan).expect("the ledger opens");
        Self { directory, ledger }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.ledger.finish());
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// Writes attempts and answers how long that took, without the waits for the keeper when a whole segment is filled in milliseconds.
fn attempts(journal: &Journal, count: u64) -> Duration {
    let mut report = report();
    let mut spent = Duration::ZERO;
    let mut left = count;
    while left > 0 {
        while !journal.has_room(1) {
            std::thread::yield_now();
        }
        let batch = left.min(1_000);
        let begun = Instant::now();
        for _ in 0..batch {
            report.attempt = AttemptId::from_bits(report.attempt.bits() + 1);
            report.exchange = RequestId::from_bits(report.exchange.bits() + 1);
            if black_box(journal.has_room(8)) {
                journal.open(&report, 1_200, Some(Rates { input_pico: 250_000, output_pico: 2_000_000 }));
                journal.close(&report);
            }
        }
        spent += begun.elapsed();
        left -= batch;
    }
    spent
}

fn writing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ledger");
    for durability in [Durability::Process, Durability::Power] {
        let place = Place::new(durability);
        let journal = place.ledger.journal(0).expect("a pen");
        let name = format!("an attempt: room, intent and close, {durability:?}");
        group.bench_function(name, |bench| bench.iter_custom(|count| attempts(&journal, count)));
        if durability == Durability::Process {
            group.bench_function("whether there is room", |bench| bench.iter(|| journal.has_room(black_box(8))));
        }
    }
    group.finish();
}

fn parts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ledger, the parts");
    let (report, key) = (report(), LedgerKey::for_tests());
    let mut content = Vec::new();
    group.bench_function("a close's bytes", |bench| {
        bench.iter(|| {
            content.clear();
            record::write_close(black_box(&report), &mut content);
        });
    });
    group.bench_function("a close read", |bench| bench.iter(|| record::read(black_box(&content))));
    group.bench_function("its checksum", |bench| bench.iter(|| crc32c::crc32c(black_box(&content))));
    group.bench_function("its link", |bench| bench.iter(|| key.link(&[1; 16], black_box(&content))));
    group.finish();
}

fn reading(criterion: &mut Criterion) {
    let place = Place::new(Durability::Process);
    let journal = place.ledger.journal(0).expect("a pen");
    attempts(&journal, 5_000);
    let mark = Mark { attempt: AttemptId::from_bits(1), usage: Usage::default(), source: UsageSource::Estimated };
    journal.mark(&mark);
    let mut group = criterion.benchmark_group("ledger, 10 001 records");
    for (name, key) in [("read", None), ("read with the chain", Some(Arc::new(LedgerKey::for_tests())))] {
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let mut reader = Reader::new(&place.directory, key.clone());
                let mut count = 0;
                reader.read(&journal.lane(), 0, usize::MAX, &mut |_, _| count += 1).expect("it is whole");
                assert_eq!(count, 10_001);
            });
        });
    }
    group.finish();
    black_box(segment::HEAD_BYTES);
}

criterion_group!(benches, writing, parts, reading);
criterion_main!(benches);
