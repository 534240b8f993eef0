//! The rules of an order, one by one.

use super::*;
use crate::routing::score::Quantiles;
use crate::routing::standing::Why;

/// Durations around a median, microseconds.
fn around(median_us: u32) -> Quantiles {
    let at = [0.7, 0.85, 1.0, 1.2, 1.5, 1.8, 2.5].map(|factor| (f64::from(median_us) * factor) as u32);
    Quantiles { at }
}

/// A lane that was asked often.
fn score(median_ms: u32, error_rate: f64) -> Score {
    let (samples, good) = (200.0, 200.0 * (1.0 - error_rate));
    Score {
        samples,
        error_rate,
        first_byte_us: Some(around(median_ms * 1_000)),
        posterior: Beta { alpha: 1.0 + good, beta: 1.0 + samples - good },
        ..Score::default()
    }
}

/// Nothing known of one lane of its own target.
fn facts(target: usize) -> Facts<'static> {
    Facts {
        target,
        turn: Turn::Usual,
        behind: None,
        weight: 1,
        quality: None,
        lacks: None,
        context_window: None,
        score: None,
        posterior: Beta::default(),
        cost: None,
        standing: Standing::Free,
        headroom: Headroom::default(),
        in_flight: 0,
        warm: false,
        affinity_weight: 0,
    }
}

fn scored(target: usize, score: &Score, cents: i128) -> Facts<'_> {
    let cost = Some(Money::from_pico(cents * 10_000_000_000));
    Facts { score: Some(score), posterior: score.posterior, cost, ..facts(target) }
}

fn halted(why: Why, seconds: u64, now: Instant) -> Standing {
    Standing::Halted { why, until: now + Duration::from_secs(seconds) }
}

const NO_NEED: Need = Need {
    tools: false,
    vision: false,
    pdf: false,
    audio: false,
    json_schema: false,
    input_tokens: 1_000,
    output_tokens_max: None,
    prefix: None,
    prefix_tokens: 0,
    quality_min: None,
};

fn question(policy: Policy, now: Instant) -> Question<'static> {
    let goal = Goal::Balanced;
    Question { policy, goal, percentile: None, need: &NO_NEED, streaming: false, deadline: None, now }
}

fn places(ranking: &Ranking) -> Vec<usize> {
    ranking.lanes.iter().map(|lane| lane.place).collect()
}

fn ordered(question: &Question<'_>, facts: &[Facts<'_>]) -> Vec<usize> {
    places(&order(question, facts, &mut Rng::with_seed(1)).expect("somebody may be tried"))
}

/// How often each place comes first in a thousand draws.
fn firsts(question: &Question<'_>, facts: &[Facts<'_>]) -> Vec<u32> {
    let mut dice = Rng::with_seed(2);
    let mut firsts = vec![0; facts.len()];
    for _ in 0..1_000 {
        let ranking = order(question, facts, &mut dice).expect("somebody may be tried");
        firsts[ranking.lanes[0].place] += 1;
    }
    firsts
}

const ALL: [Policy; 7] = [
    Policy::Thompson,
    Policy::Latency,
    Policy::Cost,
    Policy::Quality,
    Policy::Weighted,
    Policy::Ordered,
    Policy::Hedged,
];

#[test]
fn at_a_cold_start_the_listed_order_holds() {
    let cold = [facts(0), facts(1), facts(2)];
    for policy in ALL.into_iter().filter(|policy| *policy != Policy::Weighted) {
        let question = question(policy, Instant::now());
        let mut dice = Rng::with_seed(3);
        for _ in 0..50 {
            let ranking = order(&question, &cold, &mut dice).expect("somebody may be tried");
            assert_eq!((places(&ranking), ranking.exploration), (vec![0, 1, 2], false), "{policy:?}");
        }
    }
}

#[test]
fn the_same_dice_give_the_same_order() {
    let scores = [score(300, 0.02), score(320, 0.03), score(310, 0.01)];
    let lanes: Vec<Facts<'_>> = scores.iter().enumerate().map(|(at, score)| scored(at, score, 10)).collect();
    let question = question(Policy::Thompson, Instant::now());
    let run = || -> Vec<Ranking> {
        let mut dice = Rng::with_seed(9);
        (0..100).map(|_| order(&question, &lanes, &mut dice).expect("somebody may be tried")).collect()
    };
    let first = run();
    assert_eq!(first, run());
    assert!(first.iter().any(|ranking| ranking.exploration) && first.iter().any(|ranking| !ranking.exploration));
}

#[test]
fn what_a_model_cannot_do_is_final() {
    let now = Instant::now();
    let lanes = [Facts { lacks: Some(Rejection::NoTools), ..facts(0) }, facts(1)];
    for policy in ALL {
        let ranking = order(&question(policy, now), &lanes, &mut Rng::with_seed(1)).expect("one can");
        assert_eq!((places(&ranking), ranking.rejected), (vec![1], vec![(0, Rejection::NoTools)]));
        let refusal = order(&question(policy, now), &lanes[..1], &mut Rng::with_seed(1));
        assert_eq!(refusal, Err(Refusal::Unable(Rejection::NoTools)));
    }
    assert_eq!(order(&question(Policy::Thompson, now), &[], &mut Rng::with_seed(1)), Err(Refusal::Empty));
}

#[test]
fn a_prompt_that_may_be_too_long_is_asked_of_the_largest_window() {
    let window = |target, tokens| Facts {
        lacks: Some(Rejection::ContextTooLong),
        context_window: Some(tokens),
        ..facts(target)
    };
    let need = Need { input_tokens: 10_000, ..NO_NEED };
    let question = Question { need: &need, ..question(Policy::Ordered, Instant::now()) };
    assert_eq!(ordered(&question, &[window(0, 6_000), window(1, 8_000)]), [1], "the estimate may be wrong by half");
    assert_eq!(ordered(&question, &[window(0, 8_000), facts(1)]), [1], "somebody surely can");
    let refusal = order(&question, &[window(0, 4_000), window(1, 4_999)], &mut Rng::with_seed(1));
    assert_eq!(refusal, Err(Refusal::Unable(Rejection::ContextTooLong)));
}

#[test]
fn the_least_quality_holds_where_the_owner_ranks_anybody() {
    let need = Need { quality_min: Some(0.6), ..NO_NEED };
    let question = Question { need: &need, ..question(Policy::Ordered, Instant::now()) };
    assert_eq!(ordered(&question, &[facts(0), facts(1)]), [0, 1], "nobody is ranked");
    let ranked = |target, quality| Facts { quality: Some(quality), ..facts(target) };
    assert_eq!(ordered(&question, &[facts(0), ranked(1, 0.5), ranked(2, 0.6)]), [2]);
    let refusal = order(&question, &[ranked(0, 0.1)], &mut Rng::with_seed(1));
    assert_eq!(refusal, Err(Refusal::Unable(Rejection::QualityTooLow)));
}

#[test]
fn who_was_told_to_wait_or_is_short_goes_last_and_the_soonest_of_them_first() {
    let now = Instant::now();
    let short =
        |seconds| Headroom { fits: Some(false), share: Some(0.1), resets_at: Some(now + Duration::from_secs(seconds)) };
    let lanes = [
        Facts { standing: halted(Why::RateLimit, 30, now), ..facts(0) },
        Facts { headroom: short(20), ..facts(1) },
        Facts {
            headroom: Headroom { share: Some(0.001), resets_at: Some(now + Duration::from_secs(10)), fits: None },
            ..facts(2)
        },
        facts(3),
    ];
    for policy in ALL {
        let ranking = order(&question(policy, now), &lanes, &mut Rng::with_seed(1)).expect("all may be tried");
        assert_eq!((places(&ranking), ranking.last_resort), (vec![3, 2, 1, 0], false), "{policy:?}");
        assert_eq!(ranking.lanes[3].held_back, Some(Rejection::QuotaShort));
        assert_eq!(ordered(&question(policy, now), &lanes[..3]), [2, 1, 0], "shortest reset first when all are short");
    }
}

#[test]
fn an_open_breaker_stands_behind_everybody_and_leaves_nobody_out() {
    let now = Instant::now();
    let open = |target, seconds| Facts { standing: halted(Why::Breaker, seconds, now), ..facts(target) };
    let of = |lanes: &[Facts<'_>]| {
        order(&question(Policy::Thompson, now), lanes, &mut Rng::with_seed(1)).expect("some may be tried")
    };
    let one = of(&[open(0, 5), facts(1)]);
    assert_eq!((places(&one), one.lanes[1].held_back), (vec![1, 0], Some(Rejection::BreakerOpen)));
    let parked = Facts { standing: halted(Why::RateLimit, 60, now), ..facts(4) };
    let most = of(&[open(0, 5), open(1, 30), open(2, 10), facts(3), parked]);
    assert_eq!((places(&most), most.rejected), (vec![3, 4, 0, 2, 1], vec![]));
    let all = of(&[open(0, 30), open(1, 5)]);
    assert_eq!((places(&all), all.last_resort), (vec![1, 0], true));
    assert!(!of(&[facts(0)]).last_resort);
}

#[test]
fn what_the_owner_closed_is_not_tried() {
    let now = Instant::now();
    let closed = |target| Facts { standing: halted(Why::Forced, 60, now), ..facts(target) };
    let open = Facts { standing: halted(Why::Breaker, 60, now), ..facts(1) };
    assert_eq!(ordered(&question(Policy::Ordered, now), &[closed(0), open]), [1]);
    let refusal = order(&question(Policy::Ordered, now), &[closed(0), closed(1)], &mut Rng::with_seed(1));
    assert_eq!(refusal, Err(Refusal::Closed));
}

#[test]
fn credentials_of_one_target_stand_together() {
    let now = Instant::now();
    let (fast, slow) = (score(200, 0.0), score(900, 0.0));
    let lanes = [
        Facts { turn: Turn::Last, ..scored(0, &slow, 10) },
        scored(0, &slow, 10),
        scored(1, &fast, 10),
        Facts { standing: halted(Why::RateLimit, 9, now), ..scored(1, &fast, 10) },
        scored(1, &fast, 10),
    ];
    for policy in [Policy::Thompson, Policy::Latency, Policy::Cost, Policy::Quality, Policy::Hedged] {
        assert_eq!(ordered(&question(policy, now), &lanes), [2, 4, 1, 0, 3], "{policy:?}");
    }
    assert_eq!(ordered(&question(Policy::Ordered, now), &lanes), [1, 0, 2, 4, 3]);
}

#[test]
fn a_lane_that_fails_is_not_favoured_for_being_cheap_or_fast() {
    let (failing, sound) = (score(20, 0.5), score(2_000, 0.0));
    let lanes = [scored(0, &failing, 1), scored(1, &sound, 100)];
    for goal in [Goal::Balanced, Goal::Latency, Goal::Cost, Goal::Quality] {
        let question = Question { goal, ..question(Policy::Thompson, Instant::now()) };
        assert!(firsts(&question, &lanes)[0] < 10, "{goal:?}");
    }
}

#[test]
fn the_goal_decides_between_fast_and_cheap() {
    let (fast, cheap) = (score(200, 0.0), score(800, 0.0));
    let lanes = [scored(0, &fast, 40), scored(1, &cheap, 10)];
    let of = |goal| firsts(&Question { goal, ..question(Policy::Thompson, Instant::now()) }, &lanes);
    assert!(of(Goal::Latency)[0] > 950 && of(Goal::Cost)[1] > 950 && of(Goal::Balanced)[0] > 500);
    let good = [Facts { quality: Some(0.3), ..lanes[0] }, Facts { quality: Some(0.9), ..lanes[1] }];
    assert!(firsts(&Question { goal: Goal::Quality, ..question(Policy::Thompson, Instant::now()) }, &good)[1] > 950);
}

#[test]
fn thompson_tries_what_it_does_not_know_now_and_then() {
    let known = score(300, 0.02);
    let lanes = [scored(0, &known, 10), Facts { cost: Some(Money::from_pico(100_000_000_000)), ..facts(1) }];
    let firsts = firsts(&question(Policy::Thompson, Instant::now()), &lanes);
    assert!((10..450).contains(&firsts[1]), "{firsts:?}");
    let asked = [lanes[0], Facts { in_flight: 1, ..lanes[1] }];
    assert_eq!(self::firsts(&question(Policy::Thompson, Instant::now()), &asked)[1], 0, "one request finds out");
}

#[test]
fn a_posterior_of_rewards_does_not_pass_for_failures() {
    // Always answered, but slow and dear: its rewards are low, its answers are sure.
    let mut dear = score(900, 0.0);
    dear.posterior = Beta { alpha: 101.0, beta: 101.0 };
    let (failing, fine) = (score(900, 0.5), score(900, 0.0));
    let of = |score: &Score| {
        let lanes = [scored(0, score, 10), scored(1, &fine, 10)];
        order(&question(Policy::Thompson, Instant::now()), &lanes, &mut Rng::with_seed(4)).expect("both may be tried")
    };
    let expected = |ranking: &Ranking| ranking.lanes.iter().find(|lane| lane.place == 0).map(|lane| lane.expected);
    assert!(expected(&of(&dear)) > Some(0.95) && expected(&of(&failing)) < Some(0.3));
    // A tenant that fares worse there than others do.
    let lanes = [Facts { posterior: Beta { alpha: 20.0, beta: 60.0 }, ..scored(0, &dear, 10) }, scored(1, &fine, 10)];
    assert!(firsts(&question(Policy::Thompson, Instant::now()), &lanes)[0] < 50);
}

#[test]
fn latency_goes_by_the_percentile_asked_for_and_counts_failures() {
    let mut steady = score(300, 0.0);
    steady.first_byte_us = Some(Quantiles { at: [280, 290, 300, 310, 320, 330, 340].map(|ms| ms * 1_000) });
    let mut moody = score(200, 0.0);
    moody.first_byte_us = Some(Quantiles { at: [100, 150, 200, 400, 900, 2_000, 4_000].map(|ms| ms * 1_000) });
    let failing = score(150, 0.4);
    let lanes = [scored(0, &steady, 1), scored(1, &moody, 1), scored(2, &failing, 1)];
    let now = Instant::now();
    assert_eq!(ordered(&question(Policy::Latency, now), &lanes), [1, 0, 2]);
    let tail = Question { percentile: Some(0.95), ..question(Policy::Latency, now) };
    assert_eq!(ordered(&tail, &lanes)[0], 0);
    let deadline = Question { deadline: Some(Duration::from_millis(350)), ..question(Policy::Hedged, now) };
    assert_eq!(ordered(&deadline, &lanes)[0], 0, "the most sure to meet it");
}

#[test]
fn a_stream_is_measured_by_its_first_token() {
    let (mut chatty, mut terse) = (score(100, 0.0), score(200, 0.0));
    chatty.first_token_us = Some(around(900_000));
    terse.first_token_us = Some(around(300_000));
    let lanes = [scored(0, &chatty, 1), scored(1, &terse, 1)];
    let unary = question(Policy::Latency, Instant::now());
    assert_eq!(ordered(&unary, &lanes)[0], 0);
    assert_eq!(ordered(&Question { streaming: true, ..unary }, &lanes)[0], 1);
}

#[test]
fn latency_measures_an_unknown_lane_for_a_small_share() {
    let known = score(300, 0.0);
    let lanes = [scored(0, &known, 1), facts(1)];
    let question = question(Policy::Latency, Instant::now());
    let new = firsts(&question, &lanes)[1];
    assert!((60..140).contains(&new), "{new}");
    let faded = Score { samples: 0.2, ..score(900, 0.0) };
    let seldom = firsts(&question, &[lanes[0], scored(1, &faded, 1)])[1];
    assert!((5..40).contains(&seldom), "{seldom}");
    let urgent = Question { deadline: Some(Duration::from_secs(1)), ..question };
    assert_eq!(firsts(&urgent, &lanes)[1], 0, "not when there is no time for it");
}

#[test]
fn cost_puts_unknown_prices_and_failing_lanes_last() {
    let (good, bad) = (score(900, 0.0), score(100, 0.9));
    let lanes =
        [Facts { cost: None, ..scored(0, &good, 1) }, scored(1, &bad, 1), scored(2, &good, 9), scored(3, &good, 8)];
    assert_eq!(ordered(&question(Policy::Cost, Instant::now()), &lanes), [3, 2, 0, 1]);
}

#[test]
fn quality_goes_by_the_table_and_then_by_worth() {
    let (fast, slow) = (score(100, 0.0), score(900, 0.0));
    let lanes = [
        Facts { quality: Some(0.9), ..scored(0, &slow, 10) },
        Facts { quality: Some(0.4), ..scored(1, &fast, 1) },
        scored(2, &fast, 1),
        Facts { quality: Some(0.9), ..scored(3, &fast, 10) },
    ];
    assert_eq!(ordered(&question(Policy::Quality, Instant::now()), &lanes), [3, 0, 2, 1]);
}

#[test]
fn weights_are_shares_of_those_that_are_free() {
    let now = Instant::now();
    let weighing = |target, weight| Facts { weight, ..facts(target) };
    let lanes = [weighing(0, 1), weighing(1, 3), weighing(2, 0)];
    let shares = firsts(&question(Policy::Weighted, now), &lanes);
    assert!((200..300).contains(&shares[0]) && shares[2] == 0, "{shares:?}");
    let parked = [lanes[0], Facts { standing: halted(Why::RateLimit, 9, now), ..lanes[1] }, weighing(2, 1)];
    let shares = firsts(&question(Policy::Weighted, now), &parked);
    assert!((430..570).contains(&shares[0]) && shares[1] == 0, "{shares:?}");
}

#[test]
fn a_half_open_lane_that_was_the_best_gets_a_request_to_prove_itself() {
    let (sound, broke) = (score(600, 0.0), score(200, 0.95));
    let lanes = [scored(0, &sound, 10), Facts { standing: Standing::Probe, ..scored(1, &broke, 10) }];
    let now = Instant::now();
    for policy in [Policy::Thompson, Policy::Latency, Policy::Hedged] {
        let ranking = order(&question(policy, now), &lanes, &mut Rng::with_seed(1)).expect("all may be tried");
        assert_eq!((places(&ranking), ranking.exploration), (vec![1, 0], true), "{policy:?}");
        let urgent = Question { deadline: Some(Duration::from_secs(2)), ..question(policy, now) };
        assert_eq!(ordered(&urgent, &lanes)[0], 0, "{policy:?}");
    }
}

// ---- Affinity ----

fn long_prompt() -> Need {
    Need { input_tokens: 20_000, prefix: Some(7), prefix_tokens: 18_000, ..NO_NEED }
}

#[test]
fn a_prompt_with_a_known_beginning_keeps_to_one_of_equals() {
    let scores = [score(300, 0.0), score(305, 0.0), score(900, 0.0)];
    let mut lanes: Vec<Facts<'_>> = scores.iter().enumerate().map(|(at, score)| scored(at, score, 10)).collect();
    (lanes[0].affinity_weight, lanes[1].affinity_weight, lanes[2].affinity_weight) = (5, 9, 99);
    let need = long_prompt();
    for policy in [Policy::Thompson, Policy::Latency, Policy::Quality, Policy::Hedged] {
        let question = Question { need: &need, ..question(policy, Instant::now()) };
        let firsts = firsts(&question, &lanes);
        assert!(firsts[1] > 990, "{policy:?}: {firsts:?}");
    }
    let listed = Question { need: &need, ..question(Policy::Ordered, Instant::now()) };
    assert_eq!(ordered(&listed, &lanes), [0, 1, 2], "the owner's order stands");
    let cold = [Facts { affinity_weight: 1, ..facts(0) }, Facts { affinity_weight: 9, ..facts(1) }];
    assert_eq!(ordered(&Question { policy: Policy::Thompson, ..listed }, &cold), [0, 1], "nothing is known yet");
    let failing = score(300, 0.2);
    let cheap = [lanes[0], Facts { affinity_weight: 99, ..scored(1, &failing, 10) }];
    assert_eq!(ordered(&Question { policy: Policy::Cost, ..listed }, &cheap), [0, 1], "no cache is worth failures");
}

#[test]
fn a_warm_lane_stays_first_while_its_saving_is_worth_the_wait() {
    let need = long_prompt();
    let balanced = Question { need: &need, ..question(Policy::Thompson, Instant::now()) };
    let first = |wait_ms: u32, question: &Question<'_>, in_flight: u32| {
        let (warm, cold) = (score(wait_ms, 0.0), score(300, 0.0));
        let kept = Facts { warm: true, in_flight, ..scored(0, &warm, 4) };
        firsts(question, &[kept, Facts { affinity_weight: 9, ..scored(1, &cold, 10) }])
    };
    assert!(first(400, &balanced, 0)[0] > 990, "it costs less than half, for a third more time");
    assert!(first(3_000, &balanced, 0)[1] > 900, "ten times the time is not worth it");
    let hurried = Question { goal: Goal::Latency, ..balanced };
    assert!(first(600, &hurried, 0)[1] > 900, "nor is twice the time to one in a hurry");
    assert!(first(400, &balanced, 400)[1] > 900, "nor a queue");
    let thrifty = Question { policy: Policy::Cost, ..balanced };
    assert_eq!(first(900, &thrifty, 0)[0], 1_000);
}

#[test]
fn credentials_of_one_target_share_prompts_by_their_beginning() {
    let need = long_prompt();
    let question = Question { need: &need, ..question(Policy::Ordered, Instant::now()) };
    let lane = |affinity_weight, warm| Facts { affinity_weight, warm, ..facts(0) };
    assert_eq!(ordered(&question, &[lane(1, false), lane(9, false), lane(5, false)]), [1, 2, 0]);
    assert_eq!(ordered(&question, &[lane(1, false), lane(9, false), lane(5, true)]), [2, 1, 0]);
    let standby = Facts { turn: Turn::Last, ..lane(99, true) };
    assert_eq!(ordered(&question, &[standby, lane(1, false)]), [1, 0]);
}

#[test]
fn what_is_made_of_a_lone_lane_hangs_on_scores_and_on_little_else() {
    // `data_plane::lone` remembers it by: policy, goal, percentile, streaming, deadline, whether the lane is asked, whether it has a price.
    let (now, known) = (Instant::now(), score(300, 0.04));
    let long = Need { input_tokens: 70_000, prefix: Some(7), prefix_tokens: 60_000, tools: true, ..NO_NEED };
    let roomy = Headroom { share: Some(0.9), fits: Some(true), resets_at: Some(now + Duration::from_secs(9)) };
    let alone = |question: &Question<'_>, facts: Facts<'_>, seed| {
        let ranking = order(question, &[facts], &mut Rng::with_seed(seed)).expect("it may be tried");
        assert!(!ranking.exploration && ranking.rejected.is_empty());
        (ranking.lanes[0].score, ranking.lanes[0].latency_us, ranking.lanes[0].held_back)
    };
    for policy in ALL {
        for in_flight in [0, 1] {
            for base in [facts(0), scored(0, &known, 4)] {
                let plain = Facts { in_flight, ..base };
                let cost = base.cost.map(|_| Money::from_pico(77));
                let in_flight = in_flight * 9;
                let other = Facts { in_flight, cost, warm: true, affinity_weight: 5, headroom: roomy, ..base };
                let question = question(policy, now);
                let as_other = Question { need: &long, now: now + Duration::from_secs(1), ..question };
                assert_eq!(alone(&question, plain, 1), alone(&as_other, other, 2), "{policy:?}");
            }
        }
    }
}
