//! What remembering a decision costs an exchange: the clock's marks, the decision from its parts, and the queue to the control plane.
//!
//! `cargo bench --bench explain`. The queue is never emptied, so each push also drops the oldest: what happens at full load between two
//! ticks of the control plane.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use igris::data_plane::explain::{Outcome, Subject, decision};
use igris::data_plane::lineups::Cast;
use igris::data_plane::plan::Plan;
use igris::data_plane::timing::{Clock, Lap};
use igris::domain::clock::UnixMillis;
use igris::domain::id::{AccessKeyId, CredentialId, ProviderId, RequestId, TenantId};
use igris::domain::money::Money;
use igris::domain::scope::Scopes;
use igris::report::CoreReports;
use igris::routing::decision::{Attempted, Considered};
use igris::routing::lane::LaneKey;
use igris::routing::need::Need;
use igris::routing::policy::Policy;
use igris::routing::terms::Goal;
use igris::snapshot::AccessKey;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn lane(number: usize) -> LaneKey {
    let provider = ProviderId::new(&format!("provider-{number}"));
    LaneKey { provider, model: Arc::from("gpt-4o"), credential: Some(CredentialId::from_bits(number as u128)) }
}

fn plan(lanes: &[LaneKey]) -> Plan {
    let considered = |lane: &LaneKey| Considered {
        lane: lane.clone(),
        score: 0.5,
        cost: Some(Money::from_pico(1_000)),
        latency_us: Some(300_000),
        error_rate: Some(0.01),
        warm: false,
        key_role: None,
        rejection: None,
    };
    Plan {
        at: Instant::now(),
        candidates: Cast::new(),
        policy: Policy::Thompson,
        percentile: None,
        goal: Goal::Balanced,
        need: Need::default(),
        category: None,
        exploration: false,
        considered: lanes.iter().map(considered).collect(),
    }
}

fn attempt(lane: &LaneKey) -> Attempted {
    Attempted {
        lane: lane.clone(),
        outcome: "completed",
        status: 200,
        key_refused: false,
        connect_us: 0,
        tls_us: 0,
        first_byte_us: 300_000,
        first_token_us: 0,
        total_us: 400_000,
        cost: Some(Money::from_pico(1_000)),
    }
}

fn benches(criterion: &mut Criterion) {
    criterion.bench_function("explain/marks", |bencher| {
        bencher.iter(|| {
            let now = Instant::now();
            let mut clock = Clock::start(now, now, false);
            for lap in [Lap::Auth, Lap::Read, Lap::Parse, Lap::Plan] {
                clock.mark(lap, Instant::now());
            }
            black_box(clock.phases(now.elapsed(), Duration::ZERO, Duration::ZERO))
        });
    });
    let key = AccessKey {
        id: AccessKeyId::from_bits(1),
        tenant: TenantId::new("default"),
        scopes: Scopes::INFERENCE,
        expires_at: None,
        terms: Arc::default(),
        allowance: Arc::default(),
    };
    let subject = Subject { id: RequestId::from_bits(7), core: 0, at: UnixMillis(0), key: &key, model: "gpt-4o" };
    let reports = CoreReports::new(16);
    for count in [1, 4] {
        let lanes: Vec<LaneKey> = (0..count).map(lane).collect();
        criterion.bench_function(&format!("explain/decision, {count} candidates"), |bencher| {
            bencher.iter_batched(
                || plan(&lanes),
                |mut plan| {
                    let attempts = vec![attempt(&lanes[0])];
                    let outcome = Outcome { attempts, status: 200, ..Outcome::default() };
                    reports.push_decision(Box::new(decision(&subject, &mut plan, outcome)));
                },
                BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(all, benches);
criterion_main!(all);
