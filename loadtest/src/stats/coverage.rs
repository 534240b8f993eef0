//! Holds the methods to what they promise: known answers of small cases, and how often intervals cover the truth in 400 seeded
//! experiments each, heavy tails included. Constants are SciPy 1.17.1's unless another source is named.

use super::*;
use rand::{Rng as _, SeedableRng as _};
use rand_distr::{Distribution, LogNormal, Normal, StudentT};
use rand_pcg::Pcg64;

const EXPERIMENTS: u64 = 400;

/// The share of experiments whose interval covers the truth.
fn covered(truth: f64, experiment: impl Fn(&mut Pcg64) -> Option<Estimate>) -> f64 {
    let hits = (0..EXPERIMENTS).filter(|seed| {
        let mut rng = Pcg64::seed_from_u64(1000 + seed);
        experiment(&mut rng).is_some_and(|interval| interval.covers(truth))
    });
    hits.count() as f64 / EXPERIMENTS as f64
}

fn draw(rng: &mut Pcg64, n: usize, from: impl Distribution<f64>) -> Vec<f64> {
    from.sample_iter(rng).take(n).collect()
}

fn normal_noise() -> Normal<f64> {
    Normal::new(0.0, 1.0).expect("a spread above zero")
}

fn heavy() -> StudentT<f64> {
    StudentT::new(2.0).expect("freedom above zero")
}

fn latencies() -> LogNormal<f64> {
    LogNormal::new(0.0, 1.0).expect("a spread above zero")
}

/// 400 experiments at 95 % lie in this band in all but one of some 500 cases.
fn assert_honest(share: f64, what: &str) {
    assert!((0.915..=0.985).contains(&share), "{what}: {share}");
}

fn assert_close(found: Estimate, expected: [f64; 3]) {
    for (found, expected) in [found.value, found.low, found.high].iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }
}

/// `binomtest(k, n).proportion_ci(method="exact")` and `"wilson"`.
#[test]
fn shares_of_small_samples_are_those_of_scipy() {
    let exact = |k, n| clopper_pearson(k, n, 0.95).expect("a sample");
    assert_close(exact(3, 10), [0.3, 0.066_739_511_177_734_45, 0.652_452_850_060_008]);
    assert_close(exact(0, 300), [0.0, 0.0, 0.012_220_974_694_296_42]);
    assert_close(exact(7, 1000), [0.007, 0.002_818_858_759_618, 0.014_369_194_979_269_57]);
    assert_close(wilson(3, 10, 0.95).expect("a sample"), [0.3, 0.107_791_267_406_301_02, 0.603_221_852_538_854_6]);
    assert_eq!(exact(10, 10).high, 1.0);
    assert_eq!(wilson(0, 0, 0.95), None);
}

/// Depression scores before and after a tranquilizer, Hollander and Wolfe, table 3.1; also R's `wilcox.test` example.
const BEFORE: [f64; 9] = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30];
#[expect(clippy::approx_constant, reason = "a measured value, not a ratio of a circle")]
const AFTER: [f64; 9] = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29];
/// Permeability of membranes, Hollander and Wolfe, table 4.1.
const AT_TERM: [f64; 10] = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
const EARLY: [f64; 5] = [1.15, 0.88, 0.90, 0.74, 1.21];

#[test]
fn means_are_those_of_scipy() {
    let found = mean_interval(&BEFORE, 0.95).expect("nine values");
    assert_close(found, [1.766_666_666_666_667, 1.216_612_303_618_121_1, 2.316_721_029_715_212]);
    let (found, _, freedom) = welch(&BEFORE, &AFTER, 0.95).expect("nine values each");
    assert_close(found, [-0.431_888_888_888_888_5, -1.192_385_707_967_588_8, 0.328_607_930_189_811_7]);
    assert!((freedom - 15.795_035_582_541_257).abs() < 1e-9);
    assert_eq!(mean_interval(&[1.0], 0.95), None);
}

#[test]
fn rank_methods_are_those_of_the_book() {
    let differences: Vec<f64> = BEFORE.iter().zip(AFTER).map(|(before, after)| after - before).collect();
    // Hollander and Wolfe, examples 3.1 to 3.3: -0.46 with [-0.786, -0.010] at 96.1 %.
    assert_close(hodges_lehmann(&differences, 0.95).expect("nine pairs"), [-0.46, -0.786, -0.010]);
    assert_eq!(hodges_lehmann(&differences[..5], 0.95), None);
    let exact = mann_whitney(&AT_TERM, &EARLY).expect("two samples");
    assert_eq!(exact.u, 15.0);
    assert!((exact.p - 0.254_412_254_412_254_4).abs() < 1e-12, "{exact:?}");
    // `mannwhitneyu(d, c, method="asymptotic", use_continuity=True)`.
    let tied = mann_whitney(&[1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 5.0, 6.0], &[2.0, 4.0, 5.0, 6.0, 7.0, 8.0, 8.0]);
    let tied = tied.expect("two samples");
    assert_eq!(tied.u, 44.0);
    assert!((tied.p - 0.070_039_094_763_499_32).abs() < 1e-9, "{tied:?}");
    let shift = two_sample_shift(&AT_TERM, &EARLY, 0.95).expect("two samples");
    assert!((shift.value + 0.305).abs() < 1e-9 && shift.covers(0.0), "{shift:?}");
    assert_eq!(two_sample_shift(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0], 0.95), None);
}

/// The median of Walsh averages that are counted is that of Walsh averages that are written down.
#[test]
fn counting_averages_finds_the_same_as_listing_them() {
    for n in [7, 8, 60, 61] {
        let values = draw(&mut Pcg64::seed_from_u64(n), n as usize, heavy());
        let mut averages = Vec::new();
        for (at, first) in values.iter().enumerate() {
            averages.extend(values[at..].iter().map(|second| f64::midpoint(*first, *second)));
        }
        let averages = sorted(averages);
        let middle = averages.len() / 2;
        let expected = if averages.len() % 2 == 1 {
            averages[middle]
        } else {
            f64::midpoint(averages[middle - 1], averages[middle])
        };
        let found = hodges_lehmann(&values, 0.95).expect("enough pairs");
        assert!((found.value - expected).abs() < 1e-12, "{n}: {} is not {expected}", found.value);
    }
    let equal = hodges_lehmann(&[2.5; 100], 0.95).expect("enough pairs");
    assert_eq!((equal.value, equal.low, equal.high), (2.5, 2.5, 2.5));
}

#[test]
fn mean_and_rank_intervals_cover_the_truth() {
    assert_honest(covered(0.0, |rng| mean_interval(&draw(rng, 20, normal_noise()), 0.95)), "mean");
    assert_honest(covered(0.0, |rng| hodges_lehmann(&draw(rng, 30, heavy()), 0.95)), "few pairs, heavy tails");
    assert_honest(covered(0.0, |rng| hodges_lehmann(&draw(rng, 300, heavy()), 0.95)), "many pairs, heavy tails");
    let two = |rng: &mut Pcg64, n: usize| {
        let a = draw(rng, n, heavy());
        let b: Vec<f64> = draw(rng, n + 5, heavy()).iter().map(|value| value + 3.0).collect();
        two_sample_shift(&a, &b, 0.95)
    };
    assert_honest(covered(3.0, |rng| two(rng, 15)), "two small samples, heavy tails");
    assert_honest(covered(3.0, |rng| two(rng, 60)), "two samples, heavy tails");
    let welch = |rng: &mut Pcg64| {
        let narrow = draw(rng, 8, normal_noise());
        let wide: Vec<f64> = draw(rng, 5, normal_noise()).iter().map(|value| 4.0 * value + 1.0).collect();
        super::welch(&narrow, &wide, 0.95).map(|(interval, _, _)| interval)
    };
    assert_honest(covered(1.0, welch), "Welch");
}

#[test]
fn quantile_intervals_cover_the_truth() {
    for q in [0.5, 0.9, 0.99] {
        let truth = super::normal(q).exp();
        let of = |rng: &mut Pcg64| quantile_interval(&sorted(draw(rng, 2000, latencies())), q, 0.95);
        assert_honest(covered(truth, of), &format!("quantile {q}"));
    }
}

#[test]
fn shares_cover_the_truth() {
    let hits = |rng: &mut Pcg64, n: u64, share: f64| (0..n).filter(|_| rng.random_bool(share)).count() as u64;
    assert_honest(covered(0.05, |rng| wilson(hits(rng, 400, 0.05), 400, 0.95)), "Wilson");
    let strict = covered(0.02, |rng| clopper_pearson(hits(rng, 400, 0.02), 400, 0.95));
    assert!(strict >= 0.93, "Clopper-Pearson: {strict}");
}

/// Provider latency is shared by both sides of a pair; the gateway adds 0.3.
#[test]
fn paired_quantile_shifts_cover_the_truth() {
    let mut hits = [0; 2];
    for seed in 0..EXPERIMENTS {
        let mut rng = Pcg64::seed_from_u64(seed);
        let a = draw(&mut rng, 120, latencies());
        let b: Vec<f64> = draw(&mut rng, 120, latencies()).iter().map(|value| value + 0.3).collect();
        for (hits, shift) in hits.iter_mut().zip(paired_shift(&a, &b, &[0.5, 0.9], 7, 0.95)) {
            *hits += u64::from(shift.is_some_and(|interval| interval.covers(0.3)));
        }
    }
    for hits in hits {
        let share = hits as f64 / EXPERIMENTS as f64;
        assert!((0.91..=0.99).contains(&share), "{share}");
    }
    let short = paired_shift(&[1.0; 900], &[2.0; 900], &[0.5, 0.99], 7, 0.95);
    assert_eq!(short[0], Some(Estimate { value: 1.0, low: 1.0, high: 1.0 }));
    assert_eq!(short[1], None, "nine values beyond a quantile are too few");
}

/// A series with memory: single draws promise too much, blocks do not.
#[test]
fn blocks_keep_the_memory_of_a_series() {
    let series = |rng: &mut Pcg64| {
        let mut state = 0.0;
        let noise = draw(rng, 600, normal_noise());
        let walk = noise.iter().map(|step| {
            state = 0.7 * state + step;
            state
        });
        walk.collect::<Vec<f64>>()
    };
    let with_blocks = covered(0.0, |rng| moving_blocks(&series(rng), 25, 150, (1, 0.95), mean));
    let without = covered(0.0, |rng| moving_blocks(&series(rng), 1, 150, (1, 0.95), mean));
    assert!((0.89..=0.98).contains(&with_blocks), "with blocks: {with_blocks}");
    assert!(without < 0.75, "without: {without}");
}

/// An effect of the size told is found four times out of five.
#[test]
fn the_detectable_effect_is_detected_as_often_as_promised() {
    let truth = (1.0_f64 / 40.0).sqrt() * (super::student(39.0, 0.975) + super::student(39.0, 0.8));
    let found = (0..EXPERIMENTS).filter(|seed| {
        let noise = draw(&mut Pcg64::seed_from_u64(*seed), 40, normal_noise());
        let values: Vec<f64> = noise.iter().map(|value| value + truth).collect();
        mean_interval(&values, 0.95).is_some_and(|interval| !interval.covers(0.0))
    });
    let share = found.count() as f64 / EXPERIMENTS as f64;
    assert!((0.74..=0.87).contains(&share), "power {share}");
    // t.ppf(.975, 8) + t.ppf(.8, 8) and norm.ppf(.975) + norm.ppf(.8).
    assert!((detectable_by_error(1.0, 8.0, 0.95) - 3.194_893_652_971_186).abs() < 1e-6);
    assert!((detectable_by_error(1.0, f64::INFINITY, 0.95) - 2.801_585_218_112_968_3).abs() < 1e-6);
    assert!(detectable(&[1.0], 0.95).is_none());
}
