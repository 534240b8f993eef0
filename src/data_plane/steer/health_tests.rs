//! Cores that share a board: what one finds out the other knows, and what one has claimed the other leaves alone.

use super::*;
use crate::domain::id::{CredentialId, TenantId};
use crate::domain::token::Usage;
use crate::limits;
use crate::routing::breaker::Breaker;
use crate::routing::observed::Verdict;
use crate::routing::terms::BreakerTerms;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn lane(model: &str) -> LaneKey {
    LaneKey { provider: ProviderId::new("p"), model: Arc::from(model), credential: Some(CredentialId::from_bits(1)) }
}

fn sample(verdict: Verdict) -> Sample {
    Sample {
        tenant: TenantId::new("t"),
        verdict,
        connect_us: None,
        first_byte_us: None,
        first_token_us: None,
        inter_token_us: None,
        total_us: 1,
        usage: Usage::default(),
        cost: None,
    }
}

/// Two cores on one board whose breakers open for ten seconds after three failures.
fn cores() -> [Steering; 2] {
    let board = Arc::new(Board::default());
    let breaker = BreakerTerms { failures: 3, open_for: 10 * SECOND };
    let terms = RoutingTerms { breaker, ..RoutingTerms::default() };
    [(); 2].map(|()| {
        let core = Steering::new(board.clone());
        core.adopt(&terms);
        core
    })
}

/// One attempt that ends at `now`.
fn attempt(core: &Steering, model: &str, verdict: Verdict, now: Instant) {
    core.close(core.begin(&lane(model), &Known::default(), 1, now), &lane(model), &sample(verdict), now);
}

/// One attempt for which no connection stood.
fn unreachable(core: &Steering, model: &str, now: Instant) {
    let mut permit = core.begin(&lane(model), &Known::default(), 1, now);
    permit.mark_unreachable(true);
    core.close(permit, &lane(model), &sample(Verdict::Bad), now);
}

fn standing(core: &Steering, model: &str, now: Instant) -> Standing {
    core.standing(&core.halts(), &lane(model), now)
}

#[track_caller]
fn is_halted(core: &Steering, model: &str, now: Instant) {
    assert!(matches!(standing(core, model, now), Standing::Halted { why: Why::Breaker, .. }));
}

/// Asks long after a breaker opened by itself, so that the probe may pass.
fn after(open: Instant) -> Instant {
    open + 12 * SECOND
}

#[test]
fn an_outage_that_one_core_finds_is_known_to_the_other_at_once() {
    let ([one, other], now) = (cores(), Instant::now());
    for model in ["a", "b", "a"] {
        attempt(&one, model, Verdict::Bad, now);
    }
    is_halted(&other, "c", now);
    let [one, other] = cores();
    (0..3).for_each(|_| unreachable(&one, "a", now));
    is_halted(&other, "c", now);
    assert_eq!(other.leave(&lane("c"), false, now), Leave::Halted);
    other.reachable(&ProviderId::new("p"), now);
    assert_eq!(standing(&one, "a", now), Standing::Probe, "no lane was blamed for it");
    let [one, other] = cores();
    for _ in 0..9 {
        let mut permit = one.begin(&lane("a"), &Known::default(), 1, now);
        permit.mark_unreachable(false);
        one.close(permit, &lane("a"), &sample(Verdict::Bad), now);
    }
    assert!(other.halts().is_empty(), "a name that is still being looked up is no outage");
}

#[test]
fn one_lane_that_fails_is_no_outage() {
    let ([one, other], now) = (cores(), Instant::now());
    (0..3).for_each(|_| attempt(&one, "a", Verdict::Bad, now));
    is_halted(&other, "a", now);
    assert_eq!(standing(&other, "b", now), Standing::Free);
}

#[test]
fn one_probe_passes_on_one_core_and_its_answer_lets_all_pass() {
    let ([one, other], now) = (cores(), Instant::now());
    (0..3).for_each(|_| attempt(&one, "a", Verdict::Bad, now));
    let later = after(now);
    assert_eq!((standing(&one, "a", later), standing(&other, "a", later)), (Standing::Probe, Standing::Probe));
    assert_eq!(other.leave(&lane("a"), false, later), Leave::Granted);
    assert_eq!(one.leave(&lane("a"), false, later), Leave::Probing, "the other core has it");
    assert_eq!(other.leave(&lane("b"), false, later), Leave::Granted);
    assert_eq!(one.leave(&lane("a"), false, later), Leave::Granted, "the other core went elsewhere and gave it back");
    let probe = one.begin(&lane("a"), &Known::default(), 1, later);
    is_halted(&other, "a", later);
    one.close(probe, &lane("a"), &sample(Verdict::Good), later);
    assert_eq!(standing(&other, "a", later), Standing::Free);
    assert!(other.halts().is_empty());
}

#[test]
fn a_probe_that_fails_halts_for_longer_and_one_that_is_cut_holds_up_nobody() {
    let ([one, other], now) = (cores(), Instant::now());
    (0..3).for_each(|_| attempt(&one, "a", Verdict::Bad, now));
    let later = after(now);
    assert_eq!(one.leave(&lane("a"), false, later), Leave::Granted);
    drop(one.begin(&lane("a"), &Known::default(), 1, later));
    assert_eq!(standing(&other, "a", later), Standing::Probe, "cut");
    assert_eq!(one.leave(&lane("a"), false, later), Leave::Granted);
    one.close(one.begin(&lane("a"), &Known::default(), 1, later), &lane("a"), &sample(Verdict::Neutral), later);
    assert_eq!(standing(&other, "a", later), Standing::Probe, "it said nothing");
    assert_eq!(one.leave(&lane("a"), false, later), Leave::Granted);
    one.close(one.begin(&lane("a"), &Known::default(), 1, later), &lane("a"), &sample(Verdict::Bad), later);
    is_halted(&other, "a", later + 19 * SECOND);
    assert_eq!(standing(&other, "a", later + 23 * SECOND), Standing::Probe);
}

#[test]
fn a_probe_that_stays_out_is_lost() {
    let ([one, other], now) = (cores(), Instant::now());
    (0..3).for_each(|_| attempt(&one, "a", Verdict::Bad, now));
    let later = after(now);
    assert_eq!(one.leave(&lane("a"), false, later), Leave::Granted);
    let _probe = one.begin(&lane("a"), &Known::default(), 1, later);
    is_halted(&other, "a", later);
    assert_eq!(other.leave(&lane("a"), false, later + limits::PROBE_LIFE), Leave::Granted);
}

#[test]
fn an_answer_to_an_older_question_closes_nothing_and_one_to_a_newer_does() {
    let ([one, other], now) = (cores(), Instant::now());
    let older = other.begin(&lane("a"), &Known::default(), 1, now);
    let opened = now + Duration::from_millis(2);
    (0..3).for_each(|_| attempt(&one, "a", Verdict::Bad, opened));
    other.close(older, &lane("a"), &sample(Verdict::Good), opened);
    is_halted(&other, "a", opened);
    // Asked although it is halted, since nobody else was left.
    attempt(&other, "a", Verdict::Good, opened + Duration::from_millis(2));
    assert_eq!(standing(&one, "a", opened), Standing::Free);
}

#[test]
fn an_answer_on_any_lane_lifts_the_providers_halt() {
    let ([one, other], now) = (cores(), Instant::now());
    (0..3).for_each(|_| unreachable(&one, "a", now));
    let later = after(now);
    assert_eq!(other.leave(&lane("z"), false, later), Leave::Granted);
    assert_eq!(one.leave(&lane("y"), false, later), Leave::Probing, "one probe for the whole provider");
    attempt(&other, "z", Verdict::Good, later);
    assert_eq!(standing(&one, "y", later), Standing::Free);
}

#[test]
fn what_the_owner_had_forgotten_counts_no_more() {
    let ([one, _], now) = (cores(), Instant::now());
    (0..2).for_each(|_| attempt(&one, "a", Verdict::Bad, now));
    one.board.release(&ProviderId::new("p"), true);
    (0..2).for_each(|_| attempt(&one, "a", Verdict::Bad, now));
    assert_eq!(standing(&one, "a", now), Standing::Free);
    attempt(&one, "a", Verdict::Bad, now);
    is_halted(&one, "a", now);
    one.board.force(&ProviderId::new("p"));
    assert_eq!(one.leave(&lane("a"), false, now), Leave::Forbidden);
}

#[test]
fn rate_limits_halt_by_another_way_and_open_nothing() {
    let ([one, other], now) = (cores(), Instant::now());
    (0..50).for_each(|_| attempt(&one, "a", Verdict::Limited, now));
    assert_eq!(standing(&other, "a", now), Standing::Free);
    one.park(&Scope::Credential(CredentialId::from_bits(1)), Why::RateLimit, now + SECOND, now);
    assert_eq!(standing(&other, "b", now), Standing::Halted { why: Why::RateLimit, until: now + SECOND });
    assert_eq!(other.halts().breaker(&Scope::Lane(lane("a")), now), Breaker::Closed);
}
