//! How good forecasts would have been: the model is put back to earlier days and asked what is known by now.
//!
//! Pure. Where there are three past months or more, month ends are foretold from their 6th, 11th, 16th, 21st and 26th day; otherwise weeks
//! from the day before them. Beside the model stands the naive run rate: what the period had cost so far, over its days so far, for all its
//! days; for weeks the week before.

use super::forecast::{Ahead, HISTORY_DAYS_LITTLE, PATHS_TRIED, outlook};
use crate::domain::budget::Period;
use crate::domain::clock::UnixMillis;

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Backtest {
    /// What was foretold: `month` or `week`.
    pub target: &'static str,
    /// How many forecasts were made.
    pub forecasts: usize,
    /// Mean absolute error in percent of what it came to.
    pub mape: f64,
    /// The same of the naive run rate.
    pub naive_mape: f64,
    /// How many outcomes in a hundred lay within the interval for 80 %.
    pub coverage_80: f64,
    /// The same for 95 %.
    pub coverage_95: f64,
}

/// One forecast to be checked, in days of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Trial {
    /// Where the period begins.
    begin: usize,
    /// The first day that is not known.
    origin: usize,
    /// Where the period ends.
    end: usize,
}

/// Puts the model to the test of its own past. `first_day` is that of the first amount, in days since the Unix epoch; every day is over.
/// `None` when there is too little to try it on.
pub fn backtest(daily: &[f64], first_day: u64) -> Option<Backtest> {
    let known = daily.iter().position(|cost| *cost > 0.0)? + HISTORY_DAYS_LITTLE;
    let mut trials = months(daily.len(), first_day, known);
    let target = if trials.len() < 3 * MONTH_ORIGINS.len() { "week" } else { "month" };
    if target == "week" {
        trials = weeks(daily.len(), known);
    }
    // The latest say most about the next one.
    trials.drain(..trials.len().saturating_sub(TRIALS_MAX));
    let mut found = Backtest { target, forecasts: 0, mape: 0.0, naive_mape: 0.0, coverage_80: 0.0, coverage_95: 0.0 };
    for trial in trials {
        found.check(daily, first_day, trial, target);
    }
    if found.forecasts == 0 {
        return None;
    }
    let count = found.forecasts as f64;
    for figure in [&mut found.mape, &mut found.naive_mape, &mut found.coverage_80, &mut found.coverage_95] {
        *figure *= 100.0 / count;
    }
    Some(found)
}

/// The weekday of a day since the Unix epoch, which was a Thursday; 0 is a Monday.
pub fn weekday(day: u64) -> usize {
    usize::try_from((day + 3) % 7).unwrap_or(0)
}

impl Backtest {
    fn check(&mut self, daily: &[f64], first_day: u64, trial: Trial, target: &str) {
        let Trial { begin, origin, end } = trial;
        let actual: f64 = daily[begin..end].iter().sum();
        let ahead = Ahead { first: 1.0, days: end - origin };
        let told = outlook(&daily[..origin], weekday(first_day), ahead, PATHS_TRIED);
        let Some(told) = told.filter(|_| actual > 0.0) else { return };
        let so_far: f64 = daily[begin..origin].iter().sum();
        let told = told.sum.above(so_far);
        let naive = match target {
            "week" => daily[origin - 7..origin].iter().sum(),
            _ => so_far / (origin - begin) as f64 * (end - begin) as f64,
        };
        let within = |(low, high): (f64, f64)| f64::from(u8::from(low <= actual && actual <= high));
        self.forecasts += 1;
        self.mape += (told.point - actual).abs() / actual;
        self.naive_mape += (naive - actual).abs() / actual;
        self.coverage_80 += within(told.most);
        self.coverage_95 += within(told.nearly_all);
    }
}

/// Calendar months that lie wholly in the history, from several of their days, with enough days known before.
fn months(days: usize, first_day: u64, known: usize) -> Vec<Trial> {
    let mut trials = Vec::new();
    let last = first_day + days as u64;
    let mut at = Period::Month.start(UnixMillis(first_day * DAY_MS));
    while let Some(end) = Period::Month.end(at).filter(|end| end.0 / DAY_MS <= last) {
        if at.0 / DAY_MS >= first_day {
            let place = |at: u64| usize::try_from(at / DAY_MS - first_day).unwrap_or(usize::MAX);
            let (begin, end) = (place(at.0), place(end.0));
            let trial = |day: &usize| Trial { begin, origin: begin + day, end };
            trials.extend(MONTH_ORIGINS.iter().map(trial).filter(|trial| trial.origin >= known));
        }
        at = end;
    }
    trials
}

fn weeks(days: usize, known: usize) -> Vec<Trial> {
    (known..days.saturating_sub(6)).step_by(7).map(|origin| Trial { begin: origin, origin, end: origin + 7 }).collect()
}

const DAY_MS: u64 = 86_400_000;
/// Whole days of a month that are over when it is foretold.
const MONTH_ORIGINS: [usize; 5] = [5, 10, 15, 20, 25];
/// Forecasts that are checked at most: five for each month of a year.
const TRIALS_MAX: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_those_of_the_calendar_and_leap_days_count() {
        // 2024-01-20 is day 19 742; February 2024 has 29 days.
        let trials = months(75, 19_742, 14);
        let begins: Vec<(usize, usize)> = trials.iter().map(|trial| (trial.begin, trial.end)).collect();
        assert_eq!(begins.first(), Some(&(12, 41)), "{trials:?}");
        assert!(trials.iter().all(|trial| trial.origin >= 14 && trial.origin < trial.end));
        assert_eq!(trials.len(), 10, "of February and of March: {trials:?}");
    }

    #[test]
    fn a_short_past_is_tried_by_weeks_and_none_is_not() {
        let found = backtest(&[1.0; 40], 20_500).expect("tried");
        assert_eq!((found.target, found.forecasts), ("week", 3));
        assert!(found.mape < 5.0 && found.coverage_95 > 99.0, "{found:?}");
        assert_eq!(backtest(&[1.0; 20], 20_500), None);
        assert_eq!(backtest(&[0.0; 200], 20_500), None);
        assert_eq!(weekday(20_783), 3, "2026-11-26 is a Thursday");
    }
}
