//! The breaker in simulated time.

use super::*;
use crate::domain::id::{CredentialId, ProviderId};
use proptest::prelude::*;
use std::sync::Arc;

const SECOND: Duration = Duration::from_secs(1);
const TERMS: BreakerTerms = BreakerTerms { failures: 3, open_for: SECOND };

fn lane(model: &str) -> LaneKey {
    LaneKey { provider: ProviderId::new("p"), model: Arc::from(model), credential: Some(CredentialId::from_bits(1)) }
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name)
}

fn opened(now: Instant) -> Breaker {
    Breaker::Closed.tripped(Cause::Failures, &TERMS, 0.0, now)
}

#[test]
fn failures_in_a_row_open_and_an_answer_between_them_does_not() {
    let now = Instant::now();
    let mut tally = Tally::new(now);
    let said: Vec<bool> = [Verdict::Bad, Verdict::Bad, Verdict::Good, Verdict::Bad, Verdict::Bad, Verdict::Bad]
        .map(|verdict| tally.note(verdict, &TERMS, now))
        .to_vec();
    assert_eq!(said, [false, false, false, false, false, true]);
}

#[test]
fn a_rate_limit_and_what_says_nothing_never_open() {
    let now = Instant::now();
    let mut tally = Tally::new(now);
    for _ in 0..1_000 {
        assert!(!tally.note(Verdict::Limited, &TERMS, now) && !tally.note(Verdict::Neutral, &TERMS, now));
    }
    assert!(tally.is_clean(now));
}

#[test]
fn a_share_of_failures_opens_before_retries_run_out() {
    let start = Instant::now();
    let terms = BreakerTerms { failures: u32::MAX, ..TERMS };
    let mut tally = Tally::new(start);
    let mut attempts = 0;
    // Every fifth fails.
    let opened_after = (0..1_000u64).find(|number| {
        attempts += 1;
        let verdict = if number % 5 == 4 { Verdict::Bad } else { Verdict::Good };
        tally.note(verdict, &terms, start + Duration::from_millis(*number))
    });
    assert_eq!(opened_after, Some(39), "eight of forty");
    // Every tenth does not open it, however long.
    let mut tally = Tally::new(start);
    for number in 0..10_000u64 {
        let verdict = if number % 10 == 9 { Verdict::Bad } else { Verdict::Good };
        assert!(!tally.note(verdict, &terms, start + Duration::from_millis(number)), "{number}");
    }
}

#[test]
fn old_failures_are_forgotten() {
    let start = Instant::now();
    let terms = BreakerTerms { failures: u32::MAX, ..TERMS };
    let mut tally = Tally::new(start);
    for number in 0..100 {
        assert!(!tally.note(Verdict::Bad, &terms, start + 2 * number * SECOND), "one in two seconds: {number}");
    }
    tally.note(Verdict::Good, &terms, start + 220 * SECOND);
    assert!(tally.is_clean(start + 240 * SECOND));
}

#[test]
fn an_open_breaker_lets_one_probe_pass_when_its_time_is_over() {
    let now = Instant::now();
    let breaker = opened(now);
    assert_eq!(breaker.claimed(now + SECOND / 2), None);
    let later = now + SECOND;
    assert_eq!(breaker.at(later).as_str(), "half_open");
    let probing = breaker.claimed(later).expect("half open");
    assert_eq!(probing.claimed(later), None, "one is out already");
    assert_eq!(probing.probe_dropped().at(later).as_str(), "half_open");
    let lost = later + limits::PROBE_LIFE;
    assert_eq!(probing.claimed(lost - Duration::from_millis(1)), None);
    assert!(probing.claimed(lost).is_some(), "a probe that stays out is lost");
}

#[test]
fn each_failed_probe_doubles_the_time_up_to_a_bound() {
    let mut now = Instant::now();
    let mut breaker = opened(now);
    let mut spans = Vec::new();
    for _ in 0..12 {
        let until = breaker.opening().expect("open").until;
        spans.push((until - now).as_secs());
        now = until;
        breaker = breaker.claimed(now).expect("half open").probe_failed(&TERMS, 0.0, now);
    }
    assert_eq!(spans, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    let long = BreakerTerms { open_for: 600 * SECOND, ..TERMS };
    let opening = Opening::new(Cause::Failures, 3, &long, 0.0, now);
    assert_eq!(opening.left(now), 600 * SECOND, "what is configured holds");
}

#[test]
fn the_lot_makes_it_a_tenth_longer_at_most() {
    let now = Instant::now();
    let opening = Opening::new(Cause::Failures, 0, &TERMS, 1.0, now);
    assert_eq!(opening.left(now), Duration::from_millis(1_100));
    assert_eq!(Opening::new(Cause::Failures, 0, &TERMS, 7.0, now), opening);
}

#[test]
fn a_provider_is_halted_when_several_lanes_fail() {
    let now = Instant::now();
    let mut tally = ProviderTally::default();
    for _ in 0..10 {
        assert!(!tally.note(Verdict::Bad, &lane("a"), &tenant("t"), &TERMS, now), "one lane is its own affair");
    }
    assert!(tally.note(Verdict::Bad, &lane("b"), &tenant("t"), &TERMS, now));
    tally.note(Verdict::Good, &lane("c"), &tenant("t"), &TERMS, now);
    assert!(!tally.note(Verdict::Bad, &lane("a"), &tenant("t"), &TERMS, now), "any answer ends the row");
}

#[test]
fn a_tenant_alone_cannot_halt_a_provider_that_answers_others() {
    let now = Instant::now();
    let mut tally = ProviderTally::default();
    tally.note(Verdict::Good, &lane("a"), &tenant("other"), &TERMS, now);
    for model in ["a", "b", "c", "d"] {
        assert!(!tally.note(Verdict::Bad, &lane(model), &tenant("odd"), &TERMS, now + SECOND), "{model}");
    }
    assert!(tally.note(Verdict::Bad, &lane("a"), &tenant("third"), &TERMS, now + SECOND), "two tenants agree");
}

#[test]
fn connections_that_fail_are_the_providers_whole_affair() {
    let now = Instant::now();
    let mut tally = ProviderTally::default();
    assert_eq!([0, 1, 2].map(|_| tally.note_unreachable(&TERMS, now)), [false, false, true]);
    let mut tally = ProviderTally::default();
    for number in 0..20u32 {
        assert!(!tally.note_unreachable(&TERMS, now + 11 * number * SECOND), "far apart: {number}");
    }
    assert!(tally.is_clean(now + 600 * SECOND));
}

proptest! {
    /// Whatever happens in whatever order, at most one probe is out at a time and only an answer closes.
    #[test]
    fn one_probe_at_a_time(steps in proptest::collection::vec((0u8..5, 0u64..4_000), 1..200)) {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut out: Option<Instant> = None;
        for (what, millis) in steps {
            now += Duration::from_millis(millis);
            out = out.filter(|lost_at| now < *lost_at);
            match what {
                0 | 1 => if let Some(claimed) = breaker.claimed(now) {
                    prop_assert!(out.is_none(), "two probes at a time");
                    out = Some(now + limits::PROBE_LIFE);
                    breaker = claimed;
                },
                2 if out.take().is_some() => breaker = breaker.probe_failed(&TERMS, 0.5, now),
                3 if out.take().is_some() => breaker = breaker.probe_dropped(),
                _ => breaker = breaker.tripped(Cause::Failures, &TERMS, 0.5, now),
            }
            prop_assert!(breaker.opening().is_some(), "nobody answered");
        }
    }
}
