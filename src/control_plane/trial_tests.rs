//! Trials by their figures alone: reports and instants in, a verdict out.

use super::*;
use crate::control_plane::reload::stamp;
use crate::domain::id::{AccessKeyId, AttemptId, ProviderId, RequestId, TenantId};
use crate::domain::token::{Usage, UsageSource};

/// Terms of 10 s, 5 % and ten requests.
const TERMS: Terms = Terms { watch: Duration::from_secs(10), error_rate: 0.05, requests_min: 10 };

fn report(outcome: Outcome, status: u16) -> AttemptReport {
    AttemptReport {
        exchange: RequestId::from_bits(1),
        attempt: AttemptId::from_bits(1),
        last: true,
        tenant: TenantId::new("default"),
        access_key: AccessKeyId::from_bits(1),
        provider: ProviderId::new("openai"),
        credential: None,
        model: "gpt-4o".into(),
        policy: crate::routing::policy::Policy::Ordered,
        outcome,
        status,
        key_refused: false,
        stream: false,
        usage: Usage::default(),
        usage_source: UsageSource::Unknown,
        cost: None,
        price_version: 0,
        started: UnixMillis(0),
        connect_us: 0,
        tls_us: 0,
        first_byte_us: 0,
        first_token_us: 0,
        total_us: 500_000,
    }
}

fn fallback() -> Fallback {
    let config = Config::default();
    let env: super::super::Environment = Box::new(|_| None);
    let inputs = inputs::gather(&config, &env, None).expect("nothing to read");
    Fallback { config, stamp: stamp(1, "before"), inputs, trust: None }
}

/// A trial and the instant that it began at, after `before` requests of which every `failing`th failed.
fn begun(before: u64, failing: u64) -> (Trial, Instant) {
    let (mut trial, start) = (Trial::default(), Instant::now() + Duration::from_secs(100));
    trial.sample(start - Duration::from_secs(5), 0);
    for number in 0..before {
        let fails = failing > 0 && number % failing == 0;
        trial.count(&one(fails), start - Duration::from_secs(4));
    }
    trial.begin(stamp(2, "new"), TERMS, fallback(), (start, Duration::ZERO));
    (trial, start)
}

fn one(fails: bool) -> AttemptReport {
    if fails { report(Outcome::Broken, 0) } else { report(Outcome::Completed, 200) }
}

fn feed(trial: &mut Trial, at: Instant, good: u64, bad: u64) {
    (0..good).for_each(|_| trial.count(&one(false), at));
    (0..bad).for_each(|_| trial.count(&one(true), at));
}

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[test]
fn it_fails_as_soon_as_enough_failed_and_stays_at_the_end() {
    let (mut trial, start) = begun(0, 0);
    feed(&mut trial, after(start, 1), 8, 1);
    assert_eq!(trial.verdict(after(start, 1)), Verdict::Wait, "nine requests prove nothing");
    feed(&mut trial, after(start, 1), 1, 0);
    assert!(matches!(trial.verdict(after(start, 1)), Verdict::Fails(why) if why.contains("1 of 10")));
    let (mut trial, start) = begun(0, 0);
    feed(&mut trial, after(start, 1), 95, 5);
    assert_eq!(trial.verdict(after(start, 9)), Verdict::Wait, "exactly the share that may fail");
    assert!(matches!(trial.verdict(after(start, 10)), Verdict::Stays(_)));
}

#[test]
fn what_failed_before_is_not_its_fault() {
    let (mut trial, start) = begun(100, 5);
    feed(&mut trial, after(start, 1), 76, 24);
    assert_eq!(trial.verdict(after(start, 1)), Verdict::Wait, "24 % after 20 %");
    feed(&mut trial, after(start, 1), 0, 3);
    assert!(matches!(trial.verdict(after(start, 1)), Verdict::Fails(_)), "26 % after 20 %");
}

#[test]
fn what_began_before_or_was_the_clients_fault_does_not_count() {
    let (mut trial, start) = begun(0, 0);
    // They took half a second and so began before.
    feed(&mut trial, start + Duration::from_millis(499), 0, 50);
    for (outcome, status) in [
        (Outcome::ClientGone, 200),
        (Outcome::Superseded, 0),
        (Outcome::Refused, 400),
        (Outcome::Refused, 413),
        (Outcome::Refused, 422),
    ] {
        (0..50).for_each(|_| trial.count(&report(outcome, status), after(start, 1)));
    }
    (0..50).for_each(|_| trial.count(&AttemptReport { last: false, ..one(true) }, after(start, 1)));
    let Verdict::Stays(why) = trial.verdict(after(start, 10)) else { panic!("nothing counted") };
    assert!(why.contains("0 of 0") && why.contains("too few"), "{why}");
}

#[test]
fn a_key_or_a_model_that_the_provider_refuses_is_the_configurations_fault() {
    for (outcome, status) in [
        (Outcome::Refused, 401),
        (Outcome::Refused, 404),
        (Outcome::Refused, 429),
        (Outcome::TimedOut, 0),
        (Outcome::Unreachable, 0),
    ] {
        let (mut trial, start) = begun(0, 0);
        (0..10).for_each(|_| trial.count(&report(outcome, status), after(start, 1)));
        assert!(matches!(trial.verdict(after(start, 1)), Verdict::Fails(_)), "{outcome:?} {status}");
    }
}

#[test]
fn exchanges_that_nobody_could_be_asked_for_count_from_the_start_of_the_trial() {
    let (mut trial, start) = begun(0, 0);
    trial.sample(start, 0);
    trial.sample(after(start, 1), 9);
    assert_eq!(trial.verdict(after(start, 1)), Verdict::Wait);
    trial.sample(after(start, 2), 10);
    assert!(matches!(trial.verdict(after(start, 2)), Verdict::Fails(_)));
    // Those before are part of the share before.
    let mut trial = Trial::default();
    trial.sample(start - Duration::from_secs(3), 0);
    trial.sample(start, 1_000);
    trial.begin(stamp(2, "new"), TERMS, fallback(), (start, Duration::ZERO));
    trial.sample(after(start, 1), 1_010);
    assert_eq!(trial.verdict(after(start, 1)), Verdict::Wait, "all failed before, too");
}

#[test]
fn a_resumed_trial_waits_until_the_process_has_settled() {
    let (mut trial, start) = (Trial::default(), Instant::now());
    trial.sample(start, 0);
    trial.begin(stamp(2, "new"), TERMS, fallback(), (start, ROLLOUT_SETTLE));
    feed(&mut trial, after(start, 1), 0, 20);
    trial.sample(after(start, 1), 20);
    assert_eq!(trial.verdict(after(start, 1)), Verdict::Wait);
    feed(&mut trial, after(start, 3), 0, 10);
    assert!(matches!(trial.verdict(after(start, 3)), Verdict::Fails(why) if why.contains("10 of 10")));
}

#[test]
fn the_past_is_bounded() {
    let (mut trial, start) = (Trial::default(), Instant::now());
    for tenth in 0..100_000 {
        trial.sample(start + Duration::from_millis(tenth * 100), 0);
    }
    let most = ROLLOUT_WATCH_CEILING.as_secs() as usize + 2;
    assert!(trial.past.len() <= most && trial.past.len() > most / 2, "{}", trial.past.len());
}

#[test]
fn a_watch_of_nothing_is_no_trial() {
    let mut config = Config::default();
    assert!(Terms::of(&config, None).is_none());
    assert_eq!(Terms::of(&config, Some(Duration::from_secs(3))).map(|terms| terms.watch_ms()), Some(3_000));
    config.rollout.watch = Some(Duration::from_secs(30));
    assert_eq!(Terms::of(&config, None).map(|terms| terms.watch_ms()), Some(30_000));
    assert!(Terms::of(&config, Some(Duration::ZERO)).is_none());
}
