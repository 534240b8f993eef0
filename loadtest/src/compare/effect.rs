//! The difference between two sides by one metric, with its interval, its p value, and how small a one could have been seen.
//!
//! Latencies and rates are compared by ratio, on a logarithmic scale; shares by difference, in percentage points.

use super::metric::{Metric, Series};
use super::run::{Run, Slice, sums};
use crate::stats::{
    BEYOND_MIN, CONFIDENCE, Estimate, block_length, blocks, detectable_by_error, mean, shift_of_resamples, sorted,
    variance, welch, wilson,
};
use rand::SeedableRng as _;
use rand_pcg::Pcg64;
use statrs::distribution::{ContinuousCDF as _, Normal, StudentsT};

/// Resamples of one side at most, and at least.
const RESAMPLES: (usize, usize) = (200, 1000);
/// Values looked at over all resamples, about.
const WORK_MAX: usize = 200_000_000;
/// Seconds below which a run says nothing of how its seconds vary.
pub(super) const SECONDS_MIN: usize = 10;

/// A difference. Of latencies and rates in per cent of the first side; of shares in percentage points.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// The figure of the first side; of several runs their geometric mean (of shares their mean).
    pub a: f64,
    /// That of the second side.
    pub b: f64,
    /// By how much the second is larger.
    pub change: Estimate,
    /// How likely a difference as large would be if there were none.
    pub p: f64,
    /// The smallest difference that data like these show four times out of five.
    pub detectable: f64,
    /// What varied: `runs` or `seconds`.
    pub unit: &'static str,
}

/// The effect between two sides.
///
/// # Errors
/// Why nobody can tell, in words.
pub(super) fn between(a: &[Run], b: &[Run], metric: Metric, seed: u64) -> Result<Effect, String> {
    for run in a.iter().chain(b) {
        enough(run, metric)?;
    }
    match (a, b) {
        ([a], [b]) => within_runs(a, b, metric, seed),
        _ => between_runs(a, b, metric),
    }
}

/// Whether a run holds enough to know its figure.
fn enough(run: &Run, metric: Metric) -> Result<(), String> {
    let count = run.count(metric);
    if run.value(metric).is_none() {
        return Err(format!("{} did not measure it", run.name));
    }
    let Metric::Quantile(q, _) = metric else { return Ok(()) };
    let beyond = count as f64 * q.min(1.0 - q);
    if beyond >= BEYOND_MIN - 1e-6 {
        return Ok(());
    }
    let needed = (BEYOND_MIN / q.min(1.0 - q) - 1e-6).ceil();
    Err(format!(
        "{} holds {count} values, and needs {needed} for ten beyond this quantile: let it run longer",
        run.name
    ))
}

/// Runs are the unit: Welch's interval of the difference of their logarithms (of shares: of themselves).
fn between_runs(a: &[Run], b: &[Run], metric: Metric) -> Result<Effect, String> {
    let scale = Scale::of(metric);
    let side =
        |runs: &[Run]| -> Vec<f64> { runs.iter().filter_map(|run| run.value(metric)).map(|v| scale.down(v)).collect() };
    let (a, b) = (side(a), side(b));
    if a.iter().chain(&b).any(|value| !value.is_finite()) {
        return Err("one of its figures is zero, so that there is no ratio".into());
    }
    let (change, error, freedom) = match welch(&a, &b, CONFIDENCE) {
        Some(found) => found,
        None => one_against_many(&a, &b),
    };
    let p = two_sided(change.value, error, freedom);
    Ok(Effect {
        a: scale.up(mean(&a)),
        b: scale.up(mean(&b)),
        change: scale.change(change),
        p,
        detectable: scale.up_change(detectable_by_error(error, freedom, CONFIDENCE)),
        unit: "runs",
    })
}

/// One side has a single run: it is taken to vary like the runs of the other.
fn one_against_many(a: &[f64], b: &[f64]) -> (Estimate, f64, f64) {
    let many = if a.len() > b.len() { a } else { b };
    let freedom = many.len() as f64 - 1.0;
    let error = (variance(many) * (1.0 / a.len() as f64 + 1.0 / b.len() as f64)).sqrt();
    let value = mean(b) - mean(a);
    let point =
        StudentsT::new(0.0, 1.0, freedom).map_or(f64::INFINITY, |t| t.inverse_cdf(f64::midpoint(1.0, CONFIDENCE)));
    (Estimate { value, low: value - point * error, high: value + point * error }, error, freedom)
}

/// Seconds are the unit: each run's are drawn in blocks.
fn within_runs(a: &Run, b: &Run, metric: Metric, seed: u64) -> Result<Effect, String> {
    let scale = Scale::of(metric);
    let (Some(from), Some(to)) = (a.value(metric), b.value(metric)) else {
        return Err("it was not measured".into());
    };
    for run in [a, b] {
        if run.slices.len() < SECONDS_MIN {
            let (name, seconds) = (&run.name, run.slices.len());
            return Err(format!("{name} has {seconds} seconds, and needs {SECONDS_MIN} to show how they vary"));
        }
    }
    let (drawn_a, drawn_b) = (resampled(a, metric, seed), resampled(b, metric, seed ^ 0xb));
    let down = |drawn: Vec<f64>| -> Vec<f64> { drawn.into_iter().map(|value| scale.down(value)).collect() };
    let (drawn_a, drawn_b) = (down(drawn_a), down(drawn_b));
    let value = scale.down(to) - scale.down(from);
    if !value.is_finite() || drawn_a.iter().chain(&drawn_b).any(|value| !value.is_finite()) {
        return Err("one of its figures is zero, so that there is no ratio".into());
    }
    let (mut change, mut error) =
        shift_of_resamples(&drawn_a, &drawn_b, value, CONFIDENCE).ok_or("nothing was drawn")?;
    if metric.is_share() {
        // Where hardly anything failed, resamples hardly differ; counts alone say how sure that is.
        let counted = counted(a, b, metric).ok_or("no request ended")?;
        change.low = change.low.min(counted.low);
        change.high = change.high.max(counted.high);
        error = error.max(counted.half_width() / 1.96);
    }
    Ok(Effect {
        a: from,
        b: to,
        change: scale.change(change),
        p: two_sided(value, error, f64::INFINITY),
        detectable: scale.up_change(detectable_by_error(error, f64::INFINITY, CONFIDENCE)),
        unit: "seconds",
    })
}

/// The interval of a difference of shares from Wilson's of each (R. G. Newcombe, 1998, method 10), in percentage points.
fn counted(a: &Run, b: &Run, metric: Metric) -> Option<Estimate> {
    let share = |run: &Run| {
        let whole = run.whole();
        let part = if metric == Metric::Goodput { whole.good } else { whole.ended - whole.ok };
        wilson(part, whole.ended, CONFIDENCE)
    };
    let (a, b) = (share(a)?, share(b)?);
    let value = b.value - a.value;
    let below = ((b.value - b.low).powi(2) + (a.high - a.value).powi(2)).sqrt();
    let above = ((b.high - b.value).powi(2) + (a.value - a.low).powi(2)).sqrt();
    Some(Estimate { value, low: value - below, high: value + above }.scaled(100.0))
}

/// What other runs like this one would have measured.
fn resampled(run: &Run, metric: Metric, seed: u64) -> Vec<f64> {
    let mut rng = Pcg64::seed_from_u64(seed);
    let n = run.slices.len();
    let length = block_length(n);
    let Metric::Quantile(q, series) = metric else {
        let draws = (0..RESAMPLES.1).filter_map(|_| sum_of_blocks(run, metric, &mut rng, length));
        return draws.collect();
    };
    let dense = Dense::new(&run.slices, series);
    let resamples = (WORK_MAX / dense.size().max(1)).clamp(RESAMPLES.0, RESAMPLES.1);
    let mut counts = vec![0_u64; dense.values.len()];
    let mut draws = Vec::with_capacity(RESAMPLES.1);
    for _ in 0..resamples {
        counts.fill(0);
        blocks(&mut rng, n, length, |position| dense.add(position, &mut counts));
        draws.push(dense.quantile(&counts, q));
    }
    // Both sides need lists of one length; the order of draws means nothing, so they may be told again.
    draws.iter().copied().cycle().take(RESAMPLES.1).collect()
}

fn sum_of_blocks(run: &Run, metric: Metric, rng: &mut Pcg64, length: usize) -> Option<f64> {
    let mut whole = Slice::default();
    let (mut sum, mut count) = (0.0, 0);
    blocks(rng, run.slices.len(), length, |position| {
        let slice = &run.slices[position];
        whole.seconds += slice.seconds;
        whole.ended += slice.ended;
        whole.ok += slice.ok;
        whole.good += slice.good;
        whole.tokens += slice.tokens;
        if let Metric::Mean(series) = metric {
            let (more, times) = sums(&slice.histograms[series as usize]);
            sum += more;
            count += times;
        }
    });
    match metric {
        Metric::Mean(_) => (count > 0).then(|| sum / count as f64),
        _ => whole.value(metric),
    }
}

/// Histograms of all seconds over one list of values.
struct Dense {
    values: Vec<f64>,
    slices: Vec<Vec<(u32, u64)>>,
}

impl Dense {
    fn new(slices: &[Slice], series: Series) -> Self {
        let histograms = || slices.iter().map(|slice| &slice.histograms[series as usize]);
        let mut values = sorted(histograms().flatten().map(|(value, _)| *value).collect());
        values.dedup();
        let place = |value: f64| values.partition_point(|known| *known < value) as u32;
        let slices =
            histograms().map(|one| one.iter().map(|(value, count)| (place(*value), *count)).collect()).collect();
        Self { slices, values }
    }

    fn size(&self) -> usize {
        self.values.len() + self.slices.iter().map(Vec::len).sum::<usize>()
    }

    fn add(&self, slice: usize, counts: &mut [u64]) {
        for (place, count) in &self.slices[slice] {
            counts[*place as usize] += count;
        }
    }

    fn quantile(&self, counts: &[u64], q: f64) -> f64 {
        let all: u64 = counts.iter().sum();
        let rank = ((q * all as f64).ceil() as u64).max(1);
        let mut reached = 0;
        let place = counts.iter().position(|count| {
            reached += count;
            reached >= rank
        });
        place.map_or(f64::NAN, |place| self.values[place])
    }
}

/// On which scale differences are taken.
#[derive(Clone, Copy)]
enum Scale {
    Ratio,
    Points,
}

impl Scale {
    fn of(metric: Metric) -> Self {
        if metric.is_share() { Self::Points } else { Self::Ratio }
    }

    fn down(self, figure: f64) -> f64 {
        match self {
            Self::Ratio => figure.ln(),
            Self::Points => figure,
        }
    }

    fn up(self, inner: f64) -> f64 {
        match self {
            Self::Ratio => inner.exp(),
            Self::Points => inner,
        }
    }

    /// A difference on the scale, as told: per cent, or points.
    fn up_change(self, inner: f64) -> f64 {
        match self {
            Self::Ratio => inner.exp_m1() * 100.0,
            Self::Points => inner,
        }
    }

    fn change(self, inner: Estimate) -> Estimate {
        Estimate {
            value: self.up_change(inner.value),
            low: self.up_change(inner.low),
            high: self.up_change(inner.high),
        }
    }
}

fn two_sided(value: f64, error: f64, freedom: f64) -> f64 {
    if error == 0.0 {
        return if value == 0.0 { 1.0 } else { 0.0 };
    }
    let off = (value / error).abs();
    let beyond = if freedom.is_finite() {
        StudentsT::new(0.0, 1.0, freedom).map_or(0.5, |t| t.sf(off))
    } else {
        Normal::standard().sf(off)
    };
    (2.0 * beyond).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_both_kinds_agree() {
        let slice = |from: u64| Slice {
            seconds: 1.0,
            ended: 10,
            ok: 10,
            histograms: [(from..from + 10).map(|value| (value as f64, 1)).collect(), Vec::new(), Vec::new()],
            ..Slice::default()
        };
        let run = Run { slices: vec![slice(0), slice(5), slice(10)], ..Run::default() };
        let dense = Dense::new(&run.slices, Series::Ttft);
        let mut counts = vec![0; dense.values.len()];
        (0..3).for_each(|position| dense.add(position, &mut counts));
        for q in [0.01, 0.5, 0.9, 0.99] {
            assert_eq!(Some(dense.quantile(&counts, q)), run.value(Metric::Quantile(q, Series::Ttft)), "{q}");
        }
    }
}
