//! What ordering the lanes of one request costs, by policy and number of lanes.
//!
//! `cargo bench --bench routing`. Facts are warm: every lane has a score, prices differ, one in three is told to wait. A third of them are
//! second credentials of a target. State machine, command and noise with any figure.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use igris::domain::money::Money;
use igris::routing::need::Need;
use igris::routing::order::{Facts, Question, Turn, order};
use igris::routing::policy::Policy;
use igris::routing::score::{Beta, Quantiles, Score};
use igris::routing::standing::{Headroom, Standing, Why};
use igris::routing::terms::Goal;
use std::hint::black_box;
use std::time::{Duration, Instant};

const POLICIES: [Policy; 6] =
    [Policy::Thompson, Policy::Latency, Policy::Cost, Policy::Quality, Policy::Weighted, Policy::Ordered];

fn score(number: u32) -> Score {
    let at = [0.7, 0.85, 1.0, 1.2, 1.5, 1.8, 2.5].map(|factor| (f64::from(200_000 + 10_000 * number) * factor) as u32);
    Score {
        samples: 300.0,
        error_rate: 0.01,
        first_byte_us: Some(Quantiles { at }),
        posterior: Beta { alpha: 297.0, beta: 4.0 },
        ..Score::default()
    }
}

fn facts(place: usize, score: &Score, now: Instant) -> Facts<'_> {
    let until = now + Duration::from_secs(5);
    let standing = if place % 3 == 2 { Standing::Halted { why: Why::RateLimit, until } } else { Standing::Free };
    Facts {
        target: place * 2 / 3,
        turn: Turn::Usual,
        behind: None,
        weight: 1,
        quality: Some(0.5),
        lacks: None,
        context_window: None,
        score: Some(score),
        posterior: score.posterior,
        cost: Some(Money::from_pico(1_000_000_000 + 10_000_000 * place as i128)),
        standing,
        headroom: Headroom { share: Some(0.5), fits: Some(true), resets_at: Some(until) },
        in_flight: 3,
        warm: false,
        affinity_weight: (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
    }
}

fn orders(criterion: &mut Criterion) {
    let now = Instant::now();
    let need = Need { input_tokens: 3_000, prefix: Some(11), prefix_tokens: 2_000, ..Need::default() };
    let mut group = criterion.benchmark_group("order");
    for lanes in [3, 9, 30] {
        let scores: Vec<Score> = (0..lanes as u32).map(score).collect();
        let facts: Vec<Facts<'_>> = scores.iter().enumerate().map(|(place, score)| facts(place, score, now)).collect();
        for policy in POLICIES {
            let question = Question {
                policy,
                goal: Goal::Balanced,
                percentile: None,
                need: &need,
                streaming: false,
                deadline: None,
                now,
            };
            let mut dice = fastrand::Rng::with_seed(7);
            group.bench_with_input(BenchmarkId::new(policy.as_str(), lanes), &facts, |bencher, facts| {
                bencher.iter(|| order(black_box(&question), black_box(facts), &mut dice));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, orders);
criterion_main!(benches);
