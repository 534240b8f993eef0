//! Comparisons of made-up runs whose truth is known.

use super::*;
use rand::SeedableRng as _;
use rand_distr::{Distribution as _, LogNormal};
use rand_pcg::Pcg64;

const TOLERANCE: Tolerance = Tolerance { percent: 5.0, points: 0.5 };

/// A run of so many seconds with 100 log-normal latencies each, some of them failed.
fn run(seed: u64, seconds: usize, median_us: f64, failed_each: u64) -> Run {
    let mut rng = Pcg64::seed_from_u64(seed);
    let law = LogNormal::new(median_us.ln(), 0.3).expect("a spread above zero");
    let slices = (0..seconds).map(|_| {
        let mut values: Vec<(f64, u64)> = (0..100).map(|_| (law.sample(&mut rng).round(), 1)).collect();
        values.sort_by(|first, second| first.0.total_cmp(&second.0));
        Slice {
            seconds: 1.0,
            ended: 100,
            ok: 100 - failed_each,
            good: 100 - failed_each,
            tokens: 1600,
            histograms: [values.clone(), values, Vec::new()],
        }
    });
    Run { name: format!("run-{seed}"), planned: 100 * seconds as u64, slices: slices.collect(), ..Run::default() }
}

fn verdict(a: &[Run], b: &[Run], metric: &str) -> Word {
    let metrics = [metric.parse().expect(metric)];
    compare(a, b, &metrics, TOLERANCE, 1).verdict
}

#[test]
fn known_changes_are_found_and_none_is_none() {
    let a = [run(1, 60, 1000.0, 0)];
    assert_eq!(verdict(&a, &[run(2, 60, 1200.0, 0)], "p50(e2e)"), Word::Worse);
    assert_eq!(verdict(&a, &[run(3, 60, 800.0, 0)], "p50(e2e)"), Word::Better);
    assert_eq!(verdict(&a, &[run(4, 60, 1000.0, 0)], "p50(e2e)"), Word::Same);
    assert_eq!(verdict(&a, &[run(5, 60, 1000.0, 3)], "error_rate"), Word::Worse);
    assert_eq!(verdict(&a, &[run(6, 60, 1000.0, 0)], "error_rate"), Word::Same);
    assert_eq!(verdict(&[run(7, 60, 1000.0, 3)], &a, "rate"), Word::Same, "3 % is within the tolerance");
}

#[test]
fn too_little_is_inconclusive_and_says_why() {
    let (a, b) = ([run(1, 12, 1000.0, 0)], [run(2, 12, 1000.0, 0)]);
    let found = compare(&a, &b, &["p99.9(e2e)".parse().expect("a metric")], TOLERANCE, 1);
    assert_eq!(found.verdict, Word::Inconclusive);
    assert!(found.lines[0].because.as_ref().is_some_and(|why| why.contains("10000")), "{found}");
    let found = compare(&[run(1, 5, 1000.0, 0)], &b, &["p50(e2e)".parse().expect("a metric")], TOLERANCE, 1);
    assert!(found.lines[0].because.as_ref().is_some_and(|why| why.contains("5 seconds")), "{found}");
    let narrow = Tolerance { percent: 0.01, points: 0.01 };
    let found = compare(&a, &b, &["p50(e2e)".parse().expect("a metric")], narrow, 1);
    assert_eq!(found.verdict, Word::Inconclusive, "{found}");
}

/// Sixty seconds of a hundred: the detectable change is about 2.8 standard errors of two medians.
#[test]
fn the_detectable_change_follows_from_the_spread() {
    let found = compare(
        &[run(1, 60, 1000.0, 0)],
        &[run(2, 60, 1000.0, 0)],
        &["p50(e2e)".parse().expect("a metric")],
        TOLERANCE,
        1,
    );
    // The standard error of the logarithm of a median: sqrt(pi / 2) * 0.3 / sqrt(6000), twice.
    let expected = 2.8 * (std::f64::consts::FRAC_PI_2 * 2.0 / 6000.0).sqrt() * 0.3 * 100.0;
    let detectable = found.lines[0].detectable.expect("it was measured");
    assert!((0.6 * expected..1.7 * expected).contains(&detectable), "{detectable} is not about {expected}");
}

/// Where runs differ among themselves, seconds of one run claim too much; runs do not.
#[test]
fn several_runs_are_their_own_unit() {
    let medians = [1000.0, 1100.0, 950.0, 1050.0];
    let side = |from: u64| -> Vec<Run> {
        medians.iter().enumerate().map(|(number, median)| run(from + number as u64, 20, *median, 0)).collect()
    };
    let (a, b) = (side(10), side(20));
    assert_eq!(
        verdict(&a[..1], &b[1..2], "p50(e2e)"),
        Word::Worse,
        "one run each: mistaken, and said to be so in the text"
    );
    let found = compare(&a, &b, &["p50(e2e)".parse().expect("a metric")], TOLERANCE, 1);
    assert_ne!(found.verdict, Word::Worse, "{found}");
    assert_eq!(found.lines[0].varied, Some("runs"));
    let slower: Vec<Run> =
        (0..4).map(|number| run(40 + number, 20, 1500.0 * medians[number as usize] / 1000.0, 0)).collect();
    assert_eq!(verdict(&a, &slower, "p50(e2e)"), Word::Worse);
    assert_eq!(verdict(&a, &slower[..1], "p50(e2e)"), Word::Worse, "one against many");
}

/// Without any difference, at 5 %, one experiment in twenty cries wolf; with several metrics and Holm it is no more than that.
#[test]
fn false_alarms_stay_rare() {
    let metrics: Vec<Metric> =
        ["p50(ttft)", "mean(ttft)", "mean(e2e)", "error_rate"].iter().map(|text| text.parse().expect(text)).collect();
    let none = Tolerance { percent: 0.0, points: 0.0 };
    let short = |seed| [run(seed, 12, 1000.0, 0)];
    let alarms = (0..24).filter(|seed| {
        let found = compare(&short(1000 + seed), &short(5000 + seed), &metrics, none, *seed);
        found.lines.iter().any(|line| matches!(line.verdict, Word::Worse | Word::Better))
    });
    let alarms = alarms.count();
    assert!(alarms <= 5, "{alarms} of 24");
}
