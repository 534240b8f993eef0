//! Scores over a clock of our own: what fades, who leans on whom, and what is bounded.

use super::*;
use crate::domain::id::CredentialId;
use crate::domain::money::Money;
use crate::domain::token::Usage;
use crate::limits::{SCORE_MEMORY_HALF_LIFE, SCORE_TICK, TENANTS_OBSERVED_MAX};
use crate::routing::observed::{Sample, Verdict};
use crate::routing::score::Beta;

fn lane(provider: &str, model: &str, key: u128) -> LaneKey {
    let credential = Some(CredentialId::from_bits(key));
    LaneKey { provider: ProviderId::new(provider), model: Arc::from(model), credential }
}

fn sample(tenant: &str, verdict: Verdict, wait_ms: u32) -> Sample {
    Sample {
        tenant: TenantId::new(tenant),
        verdict,
        connect_us: None,
        first_byte_us: Some(wait_ms * 1_000),
        first_token_us: None,
        inter_token_us: None,
        total_us: wait_ms * 1_500,
        usage: Usage { input: 100, output: 100, ..Usage::default() },
        cost: Some(Money::from_pico(5_000)),
    }
}

fn seen(tenant: &str, verdict: Verdict, wait_ms: u32, count: usize) -> Observed {
    let mut seen = Observed::new();
    (0..count).for_each(|_| seen.record(&sample(tenant, verdict, wait_ms)));
    seen
}

fn mean(beta: Beta) -> f64 {
    beta.alpha / (beta.alpha + beta.beta)
}

fn table(keeper: &Scorekeeper, now: Instant) -> ScoreTable {
    keeper.table(&Alternatives::default(), now)
}

#[test]
fn of_two_lanes_the_fast_one_and_the_sound_one_earn_more() {
    let (mut keeper, now) = (Scorekeeper::default(), Instant::now());
    let (fast, slow, broken) = (lane("a", "m", 1), lane("b", "m", 2), lane("c", "m", 3));
    keeper.take(&fast, &seen("acme", Verdict::Good, 100, 300), now);
    keeper.take(&slow, &seen("acme", Verdict::Good, 400, 300), now);
    keeper.take(&broken, &seen("acme", Verdict::Good, 100, 150), now);
    keeper.take(&broken, &seen("acme", Verdict::Bad, 100, 150), now);
    let table = table(&keeper, now);
    let posterior = |lane| mean(table.score(lane).expect("scored").posterior);
    assert!(posterior(&fast) > 0.97, "{}", posterior(&fast));
    assert!((posterior(&slow) - 0.7).abs() < 0.03, "{}", posterior(&slow));
    assert!((posterior(&broken) - 0.5).abs() < 0.03, "{}", posterior(&broken));
    let score = table.score(&slow).expect("scored");
    assert!(!score.is_prior && score.error_rate == 0.0 && (score.samples - 300.0).abs() < 0.5, "{score:?}");
    let [p10, .., p99] = score.first_byte_us.expect("durations").at;
    assert!((392_000..=408_000).contains(&p10) && p10 <= p99, "{p10} {p99}");
    assert_eq!(score.work_cost.map(f64::round), Some(10.0), "5000 picodollars for 100 + 4 * 100 units");
    assert!((table.score(&broken).expect("scored").error_rate - 0.5).abs() < 1e-6);
}

#[test]
fn one_answer_of_a_minute_moves_neither_median_nor_posterior() {
    let (mut keeper, now) = (Scorekeeper::default(), Instant::now());
    let own = lane("a", "m", 1);
    keeper.take(&own, &seen("acme", Verdict::Good, 100, 199), now);
    let before = table(&keeper, now);
    keeper.take(&own, &seen("acme", Verdict::Good, 60_000, 1), now);
    let after = table(&keeper, now);
    let of = |table: &ScoreTable| {
        let score = table.score(&own).expect("scored").clone();
        (
            score.total_us.expect("durations").value(0.5),
            score.wait_us.expect("durations").value(0.5),
            mean(score.posterior),
        )
    };
    let (before, after) = (of(&before), of(&after));
    assert!(before.0.abs_diff(after.0) <= 3_000 && before.1.abs_diff(after.1) <= 2_000, "{before:?} {after:?}");
    assert!((before.2 - after.2).abs() < 0.005, "{before:?} {after:?}");
}

#[test]
fn a_brown_out_shows_within_seconds_and_is_forgiven() {
    let (mut keeper, start) = (Scorekeeper::default(), Instant::now());
    let own = lane("a", "m", 1);
    let at = |tick: u32| start + SCORE_TICK * tick;
    let posterior = |keeper: &Scorekeeper, tick| mean(table(keeper, at(tick)).score(&own).expect("scored").posterior);
    (0..240).for_each(|tick| keeper.take(&own, &seen("acme", Verdict::Good, 100, 50), at(tick)));
    assert!(posterior(&keeper, 240) > 0.95);
    (240..260).for_each(|tick| keeper.take(&own, &seen("acme", Verdict::Bad, 100, 50), at(tick)));
    assert!(posterior(&keeper, 260) < 0.7, "after ten seconds: {}", posterior(&keeper, 260));
    (260..400).for_each(|tick| keeper.take(&own, &seen("acme", Verdict::Good, 100, 50), at(tick)));
    assert!(posterior(&keeper, 400) > 0.93, "a minute later: {}", posterior(&keeper, 400));
}

#[test]
fn a_silent_lane_fades_to_nothing_known_and_is_forgotten() {
    let (mut keeper, start) = (Scorekeeper::default(), Instant::now());
    let own = lane("a", "m", 1);
    keeper.take(&own, &seen("acme", Verdict::Bad, 100, 100), start);
    let mut last = 0.0;
    for half_lives in 0..8 {
        let now = start + SCORE_MEMORY_HALF_LIFE * half_lives;
        keeper.forget(now);
        let found = mean(table(&keeper, now).score(&own).expect("still scored").posterior);
        assert!(found > last, "{half_lives}: {found}");
        last = found;
    }
    assert!((0.25..=0.5).contains(&last), "nearly uniform: {last}");
    keeper.forget(start + SCORE_MEMORY_HALF_LIFE * 11);
    assert!(keeper.is_empty() && keeper.tenants == 0);
    assert_eq!(table(&keeper, start), ScoreTable::default());
}

#[test]
fn a_lane_leans_on_siblings_the_fewer_attempts_it_has() {
    let (mut keeper, now) = (Scorekeeper::default(), Instant::now());
    let (known, new, unasked) = (lane("a", "m", 1), lane("a", "m", 2), lane("a", "m", 3));
    keeper.take(&known, &seen("acme", Verdict::Good, 100, 1_000), now);
    let expected =
        |table: &ScoreTable, lane| table.score(lane).expect("scored").first_byte_us.expect("durations").value(0.5);
    let first = table(&keeper, now);
    let score = first.score(&unasked).expect("siblings");
    assert!(score.is_prior && score.samples == 0.0, "{score:?}");
    assert!((98_000..=102_000).contains(&expected(&first, &unasked)));
    assert!(score.posterior.alpha + score.posterior.beta <= 2.0 + SIBLING_SAMPLES + 1e-6, "only a hint");
    assert!(!first.score(&known).expect("its own").is_prior);

    keeper.take(&new, &seen("acme", Verdict::Good, 900, 3), now);
    let second = table(&keeper, now);
    assert!(second.score(&new).expect("scored").is_prior);
    assert!((98_000..=102_000).contains(&expected(&second, &new)), "{}", expected(&second, &new));
    keeper.take(&new, &seen("acme", Verdict::Good, 900, 50), now);
    let third = table(&keeper, now);
    assert!(!third.score(&new).expect("scored").is_prior);
    assert!((880_000..=920_000).contains(&expected(&third, &new)), "{}", expected(&third, &new));
    assert!((98_000..=102_000).contains(&expected(&third, &known)), "the sibling is not drawn along");
}

#[test]
fn an_unknown_model_is_expected_to_be_like_the_others_there_each_counting_the_same() {
    let (mut keeper, now) = (Scorekeeper::default(), Instant::now());
    keeper.take(&lane("a", "busy", 1), &seen("acme", Verdict::Bad, 100, 10_000), now);
    keeper.take(&lane("a", "quiet", 1), &seen("acme", Verdict::Good, 100, 50), now);
    keeper.take(&lane("b", "other", 2), &seen("acme", Verdict::Bad, 100, 50), now);
    let table = table(&keeper, now);
    let score = table.score(&lane("a", "new", 1)).expect("cousins");
    assert!(score.is_prior && (score.error_rate - 0.5).abs() < 1e-6, "{score:?}");
    assert!(score.posterior.alpha + score.posterior.beta <= 2.0 + COUSIN_SAMPLES + 1e-6);
    assert!(score.output_tokens.is_none() && score.work_cost.is_none() && score.connect_us.is_none());
    assert!(table.score(&lane("c", "new", 1)).is_none());
}

#[test]
fn tenants_that_ask_often_have_a_posterior_of_their_own() {
    let (mut keeper, now) = (Scorekeeper::default(), Instant::now());
    let own = lane("a", "m", 1);
    keeper.take(&own, &seen("happy", Verdict::Good, 100, 400), now);
    keeper.take(&own, &seen("unhappy", Verdict::Bad, 100, 100), now);
    keeper.take(&own, &seen("rare", Verdict::Bad, 100, TENANT_SAMPLES_MIN as usize - 1), now);
    let table = table(&keeper, now);
    let score = table.score(&own).expect("scored");
    let of = |tenant: &str| mean(score.posterior_of(&TenantId::new(tenant)));
    assert!(of("happy") > 0.97 && of("unhappy") < 0.15, "{} {}", of("happy"), of("unhappy"));
    assert_eq!((of("rare"), of("unheard")), (mean(score.posterior), mean(score.posterior)));
    keeper.take(&own, &seen("rare", Verdict::Bad, 100, 1), now);
    assert!(keeper.table(&Alternatives::default(), now).score(&own).expect("scored").by_tenant.len() == 3);
}

#[test]
fn lanes_and_tenants_are_bounded_and_the_faded_make_room() {
    let (mut keeper, now) = (Scorekeeper::default(), Instant::now());
    let one = seen("acme", Verdict::Good, 100, 1);
    let numbered = |number: usize| lane("a", "m", number as u128);
    (0..LANES_MAX - 1).for_each(|number| keeper.take(&numbered(number), &one, now));
    assert_eq!((keeper.lanes.len(), keeper.unscored()), (LANES_MAX - 1, 0));
    keeper.take(&numbered(LANES_MAX - 1), &one, now);
    assert_eq!((keeper.lanes.len(), keeper.unscored()), (LANES_MAX, 0));
    keeper.take(&numbered(LANES_MAX), &one, now);
    keeper.take(&numbered(0), &one, now);
    assert_eq!((keeper.lanes.len(), keeper.unscored()), (LANES_MAX, 1), "a known lane goes on");
    let later = now + SCORE_MEMORY_HALF_LIFE * 5;
    keeper.forget(later);
    keeper.take(&numbered(LANES_MAX), &one, later);
    assert_eq!((keeper.lanes.len(), keeper.unscored()), (1, 1));

    let mut keeper = Scorekeeper::default();
    for batch in 0..TENANTS_SCORED_MAX / TENANTS_OBSERVED_MAX + 1 {
        let mut crowd = Observed::new();
        (0..TENANTS_OBSERVED_MAX)
            .for_each(|number| crowd.record(&sample(&format!("t{batch}-{number}"), Verdict::Good, 100)));
        keeper.take(&numbered(batch % 3), &crowd, now);
    }
    assert_eq!(keeper.tenants, TENANTS_SCORED_MAX);
    assert_eq!(keeper.lanes.values().map(|known| known.tenants.len()).sum::<usize>(), TENANTS_SCORED_MAX);
}

#[test]
fn what_says_nothing_of_a_provider_makes_no_lane() {
    let (mut keeper, now) = (Scorekeeper::default(), Instant::now());
    keeper.take(&lane("a", "no-such-model", 1), &seen("acme", Verdict::Neutral, 100, 9), now);
    assert!(keeper.is_empty() && keeper.unscored() == 0);
}

#[test]
fn what_others_saw_is_leant_on_while_little_was_seen_here() {
    let (mut keeper, now) = (Scorekeeper::default(), Instant::now());
    let (sound, broken) = (lane("a", "m", 1), lane("b", "m", 2));
    for lane in [&sound, &broken] {
        keeper.take(lane, &seen("acme", Verdict::Good, 100, 1), now);
    }
    let alone = mean(table(&keeper, now).score(&broken).expect("scored").posterior);
    keeper.take(&LaneKey::elsewhere(ProviderId::new("b"), Arc::from("m")), &seen("x", Verdict::Bad, 100, 400), now);
    keeper.take(&LaneKey::elsewhere(ProviderId::new("c"), Arc::from("m")), &seen("x", Verdict::Good, 1, 400), now);
    let warned = table(&keeper, now);
    let of = |table: &ScoreTable, lane: &LaneKey| mean(table.score(lane).expect("scored").posterior);
    assert!(of(&warned, &broken) < alone - 0.2 && warned.score(&broken).expect("scored").is_prior, "{alone}");
    assert!(warned.lanes.keys().all(|lane| !lane.is_elsewhere()), "nothing is sent there");
    // A lane that was never tried here: what others saw is what is known of it.
    let unknown = table(&keeper, now).siblings[&ProviderId::new("c")].by_model[&Arc::<str>::from("m")].clone();
    assert!(unknown.is_prior && mean(unknown.posterior) > 0.6, "{unknown:?}");
    // Others may stand nearer to a provider: nobody is measured against what they saw.
    assert!((of(&warned, &sound) - of(&table(&keeper, now), &sound)).abs() < 1e-9 && of(&warned, &sound) > 0.5);
    // What is seen here soon weighs more.
    keeper.take(&broken, &seen("acme", Verdict::Good, 100, 300), now);
    assert!(of(&table(&keeper, now), &broken) > 0.85, "{}", of(&table(&keeper, now), &broken));
}
