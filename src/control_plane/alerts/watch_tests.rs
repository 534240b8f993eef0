//! Weeks of hours in a simulated clock: steady, seasonal and quiet traffic says nothing; a burst and a fault do.

use super::*;
use crate::control_plane::alerts::unusual::{Standing, Terms};
use std::time::Duration;

const TERMS: Terms = Terms { raise_at: 6.0, cool_down: Duration::from_secs(6 * 3_600) };

fn usd(dollars: f64) -> Money {
    Money::from_pico((dollars * 1e12) as i128)
}

fn hour(hour: u64, dollars: f64, attempts: u64, failed: u64) -> HourSum {
    HourSum { hour, cost: usd(dollars), attempts, failed }
}

/// A working day's traffic with noise: busy by day, quiet at night, a tenth at weekends; now and then a quiet one has no line at all.
fn season(at: u64, noise: &mut fastrand::Rng) -> Option<HourSum> {
    let (of_day, day) = (at % 24, at / 24);
    let daily = if (8..20).contains(&of_day) { 10.0 } else { 1.0 };
    let weekly = if (day + 3) % 7 >= 5 { 0.1 } else { 1.0 };
    let dollars = daily * weekly * (0.7 + 0.6 * noise.f64());
    let attempts = (dollars * 20.0) as u64;
    (dollars > 2.0 || noise.u8(..) > 5)
        .then(|| hour(at, dollars, attempts, (attempts as f64 * 0.02 * noise.f64()) as u64))
}

/// Judges hour after hour as the control plane does; answers at which ones somebody was told.
fn told(hours: &[HourSum], measure: Measure) -> Vec<u64> {
    let (mut standing, mut told) = (Standing::default(), Vec::new());
    for now in hours {
        let past = Past::of(hours, now.hour);
        let found = past.score(measure, now, usd(1.0)).map_or(0.0, |found| found.score);
        let at = |minutes: u64| UnixMillis(now.hour * 3_600_000 + minutes * 60_000);
        if standing.step(found, false, TERMS, at(30)) == Turn::Raise {
            told.push(now.hour);
        }
        standing.step(found, true, TERMS, at(60));
    }
    told
}

fn weeks(seed: u64) -> Vec<HourSum> {
    let mut noise = fastrand::Rng::with_seed(seed);
    (480_000..480_000 + 6 * 7 * 24).filter_map(|at| season(at, &mut noise)).collect()
}

#[test]
fn six_weeks_of_seasons_say_nothing() {
    for seed in 0..20 {
        let hours = weeks(seed);
        assert_eq!(told(&hours, Measure::Spend), [0_u64; 0], "seed {seed}");
        assert_eq!(told(&hours, Measure::Errors), [0_u64; 0], "seed {seed}");
    }
}

#[test]
fn a_burst_is_told_once_in_its_first_hour_and_again_a_week_later() {
    for seed in 0..20 {
        let mut hours = weeks(seed);
        let start = 480_000 + 21 * 24 + 10;
        for now in hours.iter_mut().filter(|now| (start..start + 3).contains(&now.hour) || now.hour == start + 7 * 24) {
            now.cost = usd(200.0);
        }
        let first = hours.iter().find(|now| now.hour >= start).map(|now| now.hour).expect("an hour");
        let told = told(&hours, Measure::Spend);
        assert_eq!(told.first(), Some(&first), "seed {seed}: {told:?}");
        assert!(told.len() <= 2, "seed {seed}: {told:?}");
    }
}

#[test]
fn a_provider_that_begins_to_fail_is_told() {
    let mut hours = weeks(7);
    let now = hours.iter_mut().find(|now| now.hour >= 480_000 + 24 * 24 + 11).expect("an hour");
    (now.attempts, now.failed) = (200, 80);
    let start = now.hour;
    assert_eq!(told(&hours, Measure::Errors), [start]);
}

#[test]
fn without_a_week_nothing_is_unusual() {
    let hours: Vec<HourSum> = (100..267).map(|at| hour(at, if at == 266 { 500.0 } else { 1.0 }, 50, 0)).collect();
    assert_eq!(told(&hours, Measure::Spend), [0_u64; 0]);
    let more: Vec<HourSum> = (98..267).map(|at| hour(at, if at == 266 { 500.0 } else { 1.0 }, 50, 0)).collect();
    assert_eq!(told(&more, Measure::Spend), [266]);
}

#[test]
fn a_subject_reads_back_with_its_measure() {
    for subject in [Subject::AccessKey(AccessKeyId::from_bits(7)), Subject::Credential(CredentialId::from_bits(8))] {
        for measure in Measure::ALL {
            assert_eq!(Subject::parse(&subject.name(measure)), Some((subject, measure)));
        }
    }
    assert_eq!(Subject::parse("ak_1/spend"), None);
}
