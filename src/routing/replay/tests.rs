use super::*;
use crate::domain::clock::UnixMillis;
use crate::domain::id::RequestId;
use crate::routing::decision::{Attempted, Considered};
use crate::routing::need::Rejection;
use crate::routing::record::tests::sample;
use std::sync::Arc;

fn lane(provider: &str) -> LaneKey {
    LaneKey { provider: ProviderId::new(provider), model: Arc::from("m"), credential: None }
}

fn considered(provider: &str, cost: &str, latency_us: u32) -> Considered {
    Considered {
        lane: lane(provider),
        score: 0.0,
        cost: Money::parse_usd(cost),
        latency_us: Some(latency_us),
        error_rate: Some(0.0),
        warm: false,
        key_role: None,
        rejection: None,
    }
}

fn attempt(provider: &str, outcome: &'static str, status: u16, total_us: u32, cost: Option<&str>) -> Attempted {
    Attempted {
        lane: lane(provider),
        outcome,
        status,
        key_refused: false,
        connect_us: 0,
        tls_us: 0,
        first_byte_us: if outcome == "completed" { total_us / 2 } else { 0 },
        first_token_us: 0,
        total_us,
        cost: cost.and_then(Money::parse_usd),
    }
}

/// `dear` answers in 100 ms for 0.002, `cheap` in 400 ms for 0.001.
fn decision(number: u64, attempts: Vec<Attempted>) -> Decision {
    Decision {
        id: RequestId::from_bits(u128::from(number)),
        at: UnixMillis(number * 1_000),
        policy: Policy::Ordered,
        candidates: vec![considered("dear", "0.002", 50_000), considered("cheap", "0.001", 200_000)],
        attempts,
        ..sample()
    }
}

fn by_dear(number: u64) -> Decision {
    decision(number, vec![attempt("dear", "completed", 200, 100_000, Some("0.002"))])
}

fn by_cheap(number: u64) -> Decision {
    let failed = attempt("dear", "refused", 429, 10_000, None);
    decision(number, vec![failed, attempt("cheap", "completed", 200, 400_000, Some("0.001"))])
}

fn terms(policy: Policy) -> Terms {
    Terms {
        policy,
        goal: Goal::Balanced,
        percentile: None,
        quality: Vec::new(),
        order: Vec::new(),
        weights: Vec::new(),
        window: Duration::from_secs(600),
        seed: 7,
        origin: Instant::now(),
    }
}

#[test]
fn a_policy_that_decides_alike_gives_the_recorded_figures() {
    let facts: Vec<Decision> =
        (0..40).map(|number| if number % 4 == 0 { by_cheap(number) } else { by_dear(number) }).collect();
    let same = replay(&facts, &terms(Policy::Ordered));
    assert_eq!((same.judged, same.moved, same.without_evidence), (40, 0, 0));
    assert_eq!(same.recorded, same.replayed);
    assert_eq!((same.recorded.limited, same.recorded.failovers, same.recorded.errors), (10, 10, 0));
    // A failover's time counts from its beginning.
    assert_eq!(quantile(&same.recorded.whole_us, 1.0), 410_000);
}

#[test]
fn another_policy_is_judged_by_what_others_saw() {
    let facts: Vec<Decision> =
        (0..40).map(|number| if number % 4 == 0 { by_cheap(number) } else { by_dear(number) }).collect();
    let cheaper = replay(&facts, &terms(Policy::Cost));
    assert_eq!((cheaper.judged, cheaper.moved), (40, 40));
    assert_eq!(cheaper.replayed.cost, Money::parse_usd("0.04").expect("an amount"));
    assert_eq!((cheaper.replayed.limited, cheaper.replayed.failovers), (0, 0));
    assert_eq!(mean(&cheaper.replayed.whole_us), 400_000);
    let asked: Vec<(&str, (u64, u64))> =
        cheaper.first_asked.iter().map(|((provider, _), counts)| (provider.as_str(), *counts)).collect();
    assert_eq!(asked, [("cheap", (0, 40)), ("dear", (40, 0))]);
    // The same seed, the same figures.
    assert_eq!(replay(&facts, &terms(Policy::Thompson)), replay(&facts, &terms(Policy::Thompson)));
}

#[test]
fn what_nobody_saw_is_not_judged() {
    let facts: Vec<Decision> = (0..10).map(by_dear).collect();
    let unknown = replay(&facts, &terms(Policy::Cost));
    assert_eq!((unknown.judged, unknown.without_evidence), (0, 10));
    assert_eq!(unknown.recorded, Tally::default());
    // Evidence an hour away is none, either.
    let mut facts = facts;
    facts.push(by_cheap(3_700));
    assert_eq!(replay(&facts, &terms(Policy::Cost)).without_evidence, 10);
    let patient = Terms { window: Duration::from_secs(7_200), ..terms(Policy::Cost) };
    assert_eq!(replay(&facts, &patient).without_evidence, 0);
    let silent = [decision(1, Vec::new())];
    assert_eq!(replay(&silent, &terms(Policy::Cost)).unasked, 1);
}

#[test]
fn a_failure_goes_on_and_a_loss_does_not() {
    let mut facts = vec![by_cheap(1)];
    facts.push(decision(2, vec![attempt("dear", "timed_out", 0, 900_000, None)]));
    facts.push(decision(3, vec![attempt("dear", "refused", 503, 5_000, None)]));
    let ordered = replay(&facts, &terms(Policy::Ordered));
    // The second was lost; the third goes on to what the first one saw.
    assert_eq!((ordered.recorded.errors, ordered.replayed.errors), (2, 1));
    assert_eq!(ordered.replayed.failovers, 2);
}

#[test]
fn a_cost_is_that_of_the_request_and_not_of_the_one_it_is_drawn_from() {
    let mut large = by_dear(2);
    large.candidates[1].cost = Money::parse_usd("0.01");
    let mut drawn_from = by_cheap(1);
    drawn_from.attempts[1].cost = Money::parse_usd("0.0005");
    let to_cheap = Terms { order: vec![NamePattern::parse("cheap/*")], ..terms(Policy::Ordered) };
    let cheaper = replay(&[drawn_from, large], &to_cheap);
    // Half of what was expected, as it was then.
    assert_eq!(cheaper.replayed.cost, Money::parse_usd("0.0055").expect("an amount"));
}

#[test]
fn every_policy_has_its_order() {
    let facts: Vec<Decision> = (0..8).map(by_cheap).collect();
    let evidence = Evidence::of(&facts, Duration::from_secs(600));
    let first = |terms: &Terms| reorder(&facts[0], terms, &evidence, &mut fastrand::Rng::with_seed(1))[0];
    let pattern = NamePattern::parse;
    assert_eq!(first(&terms(Policy::Cost)), 1);
    assert_eq!(first(&terms(Policy::Latency)), 0);
    // What was seen says otherwise than what was expected: nobody saw a first byte of the other.
    let seen = Terms { percentile: Some(0.9), ..terms(Policy::Latency) };
    assert_eq!(first(&seen), 0);
    assert_eq!(first(&Terms { order: vec![pattern("cheap/*")], ..terms(Policy::Ordered) }), 1);
    assert_eq!(first(&Terms { weights: vec![(pattern("dear/*"), 0)], ..terms(Policy::Weighted) }), 1);
    let mut better = facts[0].clone();
    better.candidates[1].lane.model = Arc::from("best");
    let ranked = Terms { quality: vec![(pattern("best"), 0.9)], ..terms(Policy::Quality) };
    assert_eq!(reorder(&better, &ranked, &evidence, &mut fastrand::Rng::with_seed(1)), [1, 0]);
    better.candidates[0].rejection = Some(Rejection::BreakerOpen);
    let ordered =
        |decision: &Decision| reorder(decision, &terms(Policy::Ordered), &evidence, &mut fastrand::Rng::with_seed(1));
    assert_eq!(ordered(&better), [1, 0], "who was halted stays behind");
    better.candidates[0].rejection = Some(Rejection::NoTools);
    assert_eq!(ordered(&better), [1], "and who could not do it stays out");
}

#[test]
fn thompson_leans_to_what_earns_more() {
    let facts: Vec<Decision> = (0..60).map(by_cheap).collect();
    let evidence = Evidence::of(&facts, Duration::from_secs(600));
    let mut rng = fastrand::Rng::with_seed(3);
    let mut count = |goal| {
        let terms = Terms { goal, ..terms(Policy::Thompson) };
        (0..200).filter(|_| reorder(&facts[30], &terms, &evidence, &mut rng)[0] == 1).count()
    };
    let (thrifty, hasty) = (count(Goal::Cost), count(Goal::Latency));
    assert!(thrifty > 120 && hasty < 80, "{thrifty} {hasty}");
}
