//! The planned instants of a run, one after the other, in constant memory.
//!
//! A rhythm is a rate over time. Request number n leaves when that rate has added up to n; in a random rhythm, when it has added
//! up to the sum of n + 1 exponential draws of mean 1, which makes it a Poisson process of that rate, constant or not.

use super::draw::{Purpose, generator};
use super::trace::{Row, Rows};
use super::{Arrivals, Plan};
use rand_distr::{Distribution as _, Exp1};
use rand_pcg::Pcg64Mcg;
use std::time::Duration;

/// What is due, and when.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Due {
    /// Number of the request, or of the session, in its run.
    pub(super) index: u64,
    /// When, from the run's start; `None` in a closed loop.
    pub(super) at: Option<Duration>,
    /// What the trace says about it.
    pub(super) row: Option<Row>,
}

/// The instants that are still to come.
pub(super) struct Schedule {
    arrivals: Arrivals,
    end: Option<Duration>,
    index: u64,
    /// The generator of a random rhythm, and what its draws have added up to.
    gaps: Option<(Pcg64Mcg, f64)>,
    rows: Option<Rows>,
}

impl Schedule {
    /// The schedule of a plan.
    ///
    /// # Errors
    /// Its trace cannot be opened.
    pub(super) fn new(plan: &Plan) -> anyhow::Result<Self> {
        let random = match &plan.arrivals {
            Arrivals::Poisson { .. } => true,
            Arrivals::Ramp { poisson, .. } | Arrivals::Steps { poisson, .. } | Arrivals::Bursts { poisson, .. } => {
                *poisson
            }
            Arrivals::Closed | Arrivals::Constant { .. } | Arrivals::Trace { .. } => false,
        };
        let rows = match &plan.arrivals {
            Arrivals::Trace { file, speed } => Some(Rows::open(file, *speed)?),
            _ => None,
        };
        Ok(Self {
            arrivals: plan.arrivals.clone(),
            end: plan.end(),
            index: 0,
            gaps: random.then(|| (generator(plan.seed, Purpose::Gaps, 0, 0), 0.0)),
            rows,
        })
    }

    /// The number of the next one.
    pub(super) fn index(&self) -> u64 {
        self.index
    }

    /// Passes over the next one, which is another thread's.
    pub(super) fn skip(&mut self) {
        self.step();
        if let Some(rows) = &mut self.rows {
            let _ = rows.next_row();
        }
    }

    /// The next one; `None` at the end of the schedule.
    pub(super) fn take(&mut self) -> Option<Due> {
        let index = self.index;
        let passed = self.step();
        let mut row = None;
        let at = match &mut self.rows {
            Some(rows) => {
                // What is wrong with a row was told before the run; a file that has changed since ends here.
                row = rows.next_row().ok()?;
                Some(row.as_ref()?.at)
            }
            None if self.arrivals.is_open() => Some(instant(&self.arrivals, passed)?),
            None => None,
        };
        if let (Some(at), Some(end)) = (at, self.end)
            && at >= end
        {
            return None;
        }
        Some(Due { index, at, row })
    }

    /// What the rate must have added up to when the next one leaves.
    fn step(&mut self) -> f64 {
        let even = self.index as f64;
        self.index += 1;
        match &mut self.gaps {
            None => even,
            Some((generator, sum)) => {
                let gap: f64 = Exp1.sample(generator);
                *sum += gap;
                *sum
            }
        }
    }
}

/// When a rhythm's rate has added up to so many requests; `None` where it never does.
fn instant(arrivals: &Arrivals, requests: f64) -> Option<Duration> {
    let seconds = match arrivals {
        Arrivals::Closed | Arrivals::Trace { .. } => return None,
        Arrivals::Constant { rate } | Arrivals::Poisson { rate } => requests / rate,
        Arrivals::Ramp { from, to, over, .. } => ramp(*from, *to, over.0.as_secs_f64(), requests)?,
        Arrivals::Steps { rates, each, .. } => steps(rates, each.0.as_secs_f64(), requests)?,
        Arrivals::Bursts { rate, burst_rate, every, lasting, .. } => {
            let (every, lasting) = (every.0.as_secs_f64(), lasting.0.as_secs_f64());
            bursts([*rate, *burst_rate], every - lasting, lasting, requests)
        }
    };
    // Whole nanoseconds: the last bit of a platform's arithmetic is not part of a schedule.
    Duration::try_from_secs_f64(seconds).ok()
}

fn ramp(from: f64, to: f64, over: f64, requests: f64) -> Option<f64> {
    let whole = (from + to) / 2.0 * over;
    if requests > whole {
        return (to > 0.0).then(|| over + (requests - whole) / to);
    }
    if requests <= 0.0 {
        return Some(0.0);
    }
    // from x + slope x^2 / 2 = requests, in the form that does not subtract nearly equal numbers.
    let slope = (to - from) / over;
    let root = (from * from + 2.0 * slope * requests).max(0.0).sqrt();
    Some((2.0 * requests / (from + root)).min(over))
}

fn steps(rates: &[f64], each: f64, requests: f64) -> Option<f64> {
    let mut left = requests;
    for (number, rate) in rates.iter().enumerate() {
        let within = rate * each;
        // A step holds the requests at its beginning and not those at its end.
        if left < within {
            return Some(number as f64 * each + left / rate);
        }
        left -= within;
    }
    None
}

fn bursts([rate, burst_rate]: [f64; 2], quiet: f64, lasting: f64, requests: f64) -> f64 {
    let before_burst = rate * quiet;
    let period = before_burst + burst_rate * lasting;
    let number = (requests / period).floor();
    let left = (requests - number * period).max(0.0);
    let within = if left < before_burst { left / rate } else { quiet + (left - before_burst) / burst_rate };
    number * (quiet + lasting) + within
}

#[cfg(test)]
mod tests {
    use super::super::Span;
    use super::*;

    fn times(plan: &Plan) -> Vec<f64> {
        let mut schedule = Schedule::new(plan).expect("no file");
        std::iter::from_fn(|| schedule.take()).map(|due| due.at.expect("open").as_secs_f64()).collect()
    }

    fn plan(arrivals: Arrivals, seconds: u64) -> Plan {
        Plan { arrivals, duration: Some(Span(Duration::from_secs(seconds))), ..Plan::default() }
    }

    fn within(times: &[f64], from: f64, to: f64) -> usize {
        times.iter().filter(|at| (from..to).contains(*at)).count()
    }

    #[test]
    fn constant_is_even() {
        assert_eq!(times(&plan(Arrivals::Constant { rate: 4.0 }, 1)), [0.0, 0.25, 0.5, 0.75]);
    }

    #[test]
    fn ramps_hold_their_area() {
        for (from, to) in [(0.0, 100.0), (100.0, 0.0), (50.0, 150.0), (30.0, 30.0)] {
            let ramp = Arrivals::Ramp { from, to, over: Span(Duration::from_secs(10)), poisson: false };
            let times = times(&plan(ramp, 10));
            let area = (from + to) / 2.0 * 10.0;
            assert!((times.len() as f64 - area).abs() <= 1.0, "{from}..{to}: {}", times.len());
            let first_half = (from + (to - from) / 4.0) * 5.0;
            assert!((within(&times, 0.0, 5.0) as f64 - first_half).abs() <= 1.0, "{from}..{to}");
            assert!(times.is_sorted());
        }
        let on = Arrivals::Ramp { from: 0.0, to: 10.0, over: Span(Duration::from_secs(2)), poisson: false };
        let times = times(&plan(on, 5));
        assert_eq!(within(&times, 3.0, 4.0), 10, "it stays where the ramp ends");
    }

    #[test]
    fn steps_and_bursts_keep_their_rates() {
        let rates = vec![10.0, 0.0, 20.0];
        let steps = Arrivals::Steps { rates, each: Span(Duration::from_secs(2)), poisson: false };
        let found = times(&Plan { arrivals: steps, ..Plan::default() });
        assert_eq!((found.len(), within(&found, 0.0, 2.0), within(&found, 2.0, 4.0)), (60, 20, 0));
        let bursts = Arrivals::bursts("10..100,every=5s,for=1s").expect("as documented");
        let found = times(&plan(bursts, 10));
        assert_eq!(found.len(), 280);
        assert_eq!((within(&found, 0.0, 4.0), within(&found, 4.0, 5.0), within(&found, 5.0, 9.0)), (40, 100, 40));
        let silent = Arrivals::bursts("0..100,every=5s,for=1s").expect("as documented");
        assert_eq!(times(&plan(silent, 10))[0], 4.0);
    }

    #[test]
    fn random_rhythms_are_poisson() {
        let times = times(&plan(Arrivals::Poisson { rate: 100.0 }, 200));
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((mean - 0.01).abs() < 3e-4 && (deviation / mean - 1.0).abs() < 0.03, "{mean} {deviation}");
        // Counts in seconds: variance over mean is 1.
        let counts: Vec<f64> = (0..200).map(|at| within(&times, f64::from(at), f64::from(at) + 1.0) as f64).collect();
        let mean = counts.iter().sum::<f64>() / 200.0;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 199.0;
        assert!((0.7..1.4).contains(&(variance / mean)), "{}", variance / mean);
    }

    #[test]
    fn a_random_ramp_has_the_same_area() {
        let ramp = Arrivals::Ramp { from: 0.0, to: 400.0, over: Span(Duration::from_secs(10)), poisson: true };
        let times = times(&plan(ramp, 10));
        assert!((1_850..2_150).contains(&times.len()), "{}", times.len());
        assert!((420..580).contains(&within(&times, 0.0, 5.0)), "{}", within(&times, 0.0, 5.0));
    }
}
