//! What is remembered of a lane: everything fades, in two windows of different memory, and one view is made of both.
//!
//! The *brief* window fades within seconds and says how a busy lane is now; the *lasting* one fades within minutes and says what a quiet
//! lane was like. A view leans on the brief window as far as it has something in it. Fading costs nothing: instead of making old counts
//! smaller at every tick, new ones enter with a weight that grows, and all are divided by today's weight when read. Pure: `now` is an
//! argument and never runs backwards.

use super::observed::{Earned, Lap, Observed};
use super::score::Quantiles;
use super::spread::{COARSE, Distribution, FINE, Spread, bucket};
use crate::limits::{SCORE_HALF_LIFE, SCORE_MEMORY_HALF_LIFE};
use std::time::{Duration, Instant};

/// Attempts in the brief window at which a view is made of both windows in equal parts.
const BRIEF_EVEN: f64 = 20.0;
/// Half-lives after which counts are brought back to the present, long before they leave what a float holds exactly.
const REBASE_HALF_LIVES: f64 = 16.0;
/// A bucket with fewer counts than this, as of now, is taken as empty.
const NEGLIGIBLE: f64 = 1e-3;

/// Both windows over the figures of one lane, or of one tenant there.
#[derive(Clone, Debug)]
pub struct Memory<F> {
    brief: Window<F>,
    lasting: Window<F>,
}

/// Figures that fade.
#[derive(Clone, Debug)]
struct Window<F> {
    /// The instant at which a new count weighs one.
    since: Instant,
    half_life: Duration,
    figures: F,
}

/// Sums that can fade.
pub trait Fading: Default {
    /// What is taken in.
    type Seen<'s>;

    /// Adds with a weight.
    fn add(&mut self, seen: &Self::Seen<'_>, weight: f64);

    /// Multiplies everything.
    fn scale(&mut self, factor: f64);

    /// Attempts that say something of the provider.
    fn attempts(&self) -> f64;
}

/// What was observed, with its durations counted for the windows: both take in the same.
pub struct Counted<'o> {
    seen: &'o Observed,
    laps: [Vec<(usize, f64)>; Lap::ALL.len()],
}

/// How attempts ended, and how long clients waited: what a reward is made of.
#[derive(Clone, Debug, Default)]
pub struct Record {
    good: f64,
    limited: f64,
    bad: f64,
    waits: Spread,
}

/// The figures of a lane.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    record: Record,
    laps: [Spread; Lap::ALL.len()],
    input: f64,
    cached_input: f64,
    output: f64,
    /// Picodollars. A float, since it fades: it is a figure to compare by, and nobody is charged by it.
    cost: f64,
    priced_work: f64,
}

/// How attempts end, by share of all that say something, and how long clients wait.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// Attempts behind it, faded.
    pub samples: f64,
    /// Share that was answered.
    pub good: f64,
    /// Share that was sent away.
    pub limited: f64,
    /// Share that failed.
    pub bad: f64,
    /// How long clients wait for something to read.
    pub waits: Distribution,
}

/// What a lane looks like at a moment.
#[derive(Clone, Debug)]
pub struct View {
    /// Ends and waits.
    pub outlook: Outlook,
    /// Durations in the order of [`Lap::ALL`].
    pub laps: [Distribution; Lap::ALL.len()],
    /// Share of prompt tokens from the provider's cache.
    pub cache_hit_rate: Option<f64>,
    /// Generated tokens of an answer.
    pub output_tokens: Option<f64>,
    /// Picodollars for a unit of work.
    pub work_cost: Option<f64>,
}

// === impl Memory ===

impl<F: Fading> Memory<F> {
    /// Nothing remembered.
    pub fn new(now: Instant) -> Self {
        let window = |half_life| Window { since: now, half_life, figures: F::default() };
        Self { brief: window(SCORE_HALF_LIFE), lasting: window(SCORE_MEMORY_HALF_LIFE) }
    }

    /// Takes in what was seen up to now.
    pub fn take(&mut self, seen: &F::Seen<'_>, now: Instant) {
        self.brief.take(seen, now);
        self.lasting.take(seen, now);
    }

    /// Attempts that are still remembered.
    pub fn weight(&self, now: Instant) -> f64 {
        self.lasting.figures.attempts() * self.lasting.present(now)
    }

    /// How much of a view is the brief window's.
    fn lean(&self, now: Instant) -> f64 {
        lean(self.brief.figures.attempts() * self.brief.present(now))
    }

    /// Attempts behind a view.
    fn samples(&self, now: Instant) -> f64 {
        let lean = self.lean(now);
        let brief = self.brief.figures.attempts() * self.brief.present(now);
        lean * brief + (1.0 - lean) * self.weight(now)
    }

    /// A ratio of two sums, from the windows that have any of the lower one.
    fn ratio(&self, lean: f64, sums: impl Fn(&F) -> (f64, f64)) -> Option<f64> {
        let ratio = |(upper, lower): (f64, f64)| (lower > 0.0).then(|| upper / lower);
        match (ratio(sums(&self.brief.figures)), ratio(sums(&self.lasting.figures))) {
            (Some(brief), Some(lasting)) => Some(lean * brief + (1.0 - lean) * lasting),
            (brief, lasting) => lasting.or(brief),
        }
    }

    /// One distribution of both windows. It has a lean of its own: a duration may be rare where attempts are not.
    fn distribution(&self, bits: u32, now: Instant, spread: impl Fn(&F) -> &Spread) -> Distribution {
        let (brief, lasting) = (spread(&self.brief.figures), spread(&self.lasting.figures));
        let lean = lean(brief.sum() * self.brief.present(now));
        let mut whole = Distribution::empty(bits);
        whole.mix_spread(brief, lean);
        whole.mix_spread(lasting, 1.0 - lean);
        whole
    }

    fn outlook(&self, now: Instant, record: impl Fn(&F) -> &Record) -> Outlook {
        let lean = self.lean(now);
        let share = |of: fn(&Record) -> f64| {
            self.ratio(lean, |figures| (of(record(figures)), record(figures).attempts())).unwrap_or(0.0)
        };
        Outlook {
            samples: self.samples(now),
            good: share(|record| record.good),
            limited: share(|record| record.limited),
            bad: share(|record| record.bad),
            waits: self.distribution(COARSE, now, |figures| &record(figures).waits),
        }
    }
}

impl Memory<Figures> {
    /// What the lane looks like now.
    pub fn view(&self, now: Instant) -> View {
        let lean = self.lean(now);
        let lap = |place: usize| self.distribution(FINE, now, move |figures| &figures.laps[place]);
        View {
            outlook: self.outlook(now, |figures| &figures.record),
            laps: std::array::from_fn(lap),
            cache_hit_rate: self.ratio(lean, |figures| (figures.cached_input, figures.input)),
            output_tokens: self.ratio(lean, |figures| (figures.output, figures.record.good)),
            work_cost: self.ratio(lean, |figures| (figures.cost, figures.priced_work)),
        }
    }
}

impl Memory<Record> {
    /// How the tenant's attempts go now.
    pub fn outlook_of_tenant(&self, now: Instant) -> Outlook {
        self.outlook(now, |record| record)
    }
}

fn lean(brief_attempts: f64) -> f64 {
    brief_attempts / (brief_attempts + BRIEF_EVEN)
}

// === impl Window ===

impl<F: Fading> Window<F> {
    fn take(&mut self, seen: &F::Seen<'_>, now: Instant) {
        if self.half_lives(now) > REBASE_HALF_LIVES {
            self.figures.scale(self.present(now));
            self.since = now;
        }
        self.figures.add(seen, self.half_lives(now).exp2());
    }

    /// What one of the counts is worth now.
    fn present(&self, now: Instant) -> f64 {
        (-self.half_lives(now)).exp2()
    }

    fn half_lives(&self, now: Instant) -> f64 {
        now.saturating_duration_since(self.since).as_secs_f64() / self.half_life.as_secs_f64()
    }
}

// === impl Fading ===

impl Fading for Record {
    type Seen<'s> = Earned;

    fn add(&mut self, seen: &Earned, weight: f64) {
        let waits = seen.waits.counts().map(|(place, count)| (place, f64::from(count)));
        self.count([seen.good, seen.limited, seen.bad], waits, weight);
    }

    fn scale(&mut self, factor: f64) {
        [&mut self.good, &mut self.limited, &mut self.bad].into_iter().for_each(|count| *count *= factor);
        self.waits.scale(factor, NEGLIGIBLE);
    }

    fn attempts(&self) -> f64 {
        self.good + self.limited + self.bad
    }
}

impl Record {
    fn count(&mut self, ends: [u64; 3], waits: impl Iterator<Item = (usize, f64)>, weight: f64) {
        let sums = [&mut self.good, &mut self.limited, &mut self.bad];
        sums.into_iter().zip(ends).for_each(|(sum, count)| *sum += count as f64 * weight);
        waits.for_each(|(place, count)| self.waits.add(place, count * weight));
    }
}

impl<'o> Counted<'o> {
    /// Counts what was observed.
    pub fn new(seen: &'o Observed) -> Self {
        let laps = seen.laps().map(|lap| {
            let mut counts: Vec<(usize, f64)> = Vec::new();
            for (value, count) in Observed::durations(lap) {
                let place = bucket(value, FINE);
                match counts.last_mut() {
                    Some((last, sum)) if *last == place => *sum += f64::from(count),
                    _ => counts.push((place, f64::from(count))),
                }
            }
            counts
        });
        Self { seen, laps }
    }
}

impl Fading for Figures {
    type Seen<'s> = Counted<'s>;

    fn add(&mut self, counted: &Counted<'_>, weight: f64) {
        let seen = counted.seen;
        let waits = seen.waits.counts().map(|(place, count)| (place, f64::from(count)));
        self.record.count([seen.good, seen.limited, seen.bad], waits, weight);
        for (spread, counts) in self.laps.iter_mut().zip(&counted.laps) {
            counts.iter().for_each(|(place, count)| spread.add(*place, count * weight));
        }
        self.input += seen.usage.input as f64 * weight;
        self.cached_input += seen.usage.cached_input as f64 * weight;
        self.output += seen.usage.output as f64 * weight;
        self.cost += seen.cost.pico() as f64 * weight;
        self.priced_work += seen.priced_work as f64 * weight;
    }

    fn scale(&mut self, factor: f64) {
        self.record.scale(factor);
        self.laps.iter_mut().for_each(|spread| spread.scale(factor, NEGLIGIBLE));
        let sums = [&mut self.input, &mut self.cached_input, &mut self.output, &mut self.cost, &mut self.priced_work];
        sums.into_iter().for_each(|sum| *sum *= factor);
    }

    fn attempts(&self) -> f64 {
        self.record.attempts()
    }
}

// === impl View ===

impl View {
    /// Several views as one, by weight; `None` where none weighs anything.
    pub fn blend<'v>(parts: impl Iterator<Item = (f64, &'v View)> + Clone) -> Option<Self> {
        let whole: f64 = parts.clone().map(|(weight, _)| weight).sum();
        if whole <= 0.0 {
            return None;
        }
        let shares = parts.map(move |(weight, view)| (weight / whole, view));
        let outlooks = shares.clone().map(|(share, view)| (share, &view.outlook));
        let mean = |of: fn(&Outlook) -> f64| outlooks.clone().map(|(share, outlook)| share * of(outlook)).sum();
        let mix = |bits, of: &dyn Fn(&'v View) -> &'v Distribution| {
            mixed(bits, shares.clone().map(|(share, view)| (share, of(view))))
        };
        Some(Self {
            outlook: Outlook {
                samples: outlooks.clone().map(|(_, outlook)| outlook.samples).sum(),
                good: mean(|outlook| outlook.good),
                limited: mean(|outlook| outlook.limited),
                bad: mean(|outlook| outlook.bad),
                waits: mix(COARSE, &|view| &view.outlook.waits),
            },
            laps: std::array::from_fn(|place| mix(FINE, &move |view| &view.laps[place])),
            cache_hit_rate: mean_of(shares.clone().map(|(share, view)| (share, view.cache_hit_rate))),
            output_tokens: mean_of(shares.clone().map(|(share, view)| (share, view.output_tokens))),
            work_cost: mean_of(shares.map(|(share, view)| (share, view.work_cost))),
        })
    }

    /// Percentiles of a lap.
    pub fn quantiles(&self, lap: Lap) -> Option<Quantiles> {
        let place = Lap::ALL.iter().position(|known| *known == lap)?;
        self.laps[place].quantiles()
    }
}

/// Distributions by share; one that is empty leaves its share to the others.
fn mixed<'d>(bits: u32, parts: impl Iterator<Item = (f64, &'d Distribution)> + Clone) -> Distribution {
    let full = parts.filter(|(_, part)| !part.is_empty());
    let whole: f64 = full.clone().map(|(share, _)| share).sum();
    let mut mixed = Distribution::empty(bits);
    full.for_each(|(share, part)| mixed.mix_in(part, share / whole));
    mixed
}

/// The mean over those that have a value.
fn mean_of(parts: impl Iterator<Item = (f64, Option<f64>)>) -> Option<f64> {
    let (mut sum, mut whole) = (0.0, 0.0);
    for (share, value) in parts.filter_map(|(share, value)| Some((share, value?))) {
        sum += share * value;
        whole += share;
    }
    (whole > 0.0).then(|| sum / whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::TenantId;
    use crate::domain::money::Money;
    use crate::domain::token::Usage;
    use crate::routing::observed::{Sample, Verdict};

    fn seen(count: usize, verdict: Verdict, wait_ms: u32) -> Observed {
        let mut seen = Observed::new();
        let sample = Sample {
            tenant: TenantId::new("acme"),
            verdict,
            connect_us: None,
            first_byte_us: Some(wait_ms * 1_000),
            first_token_us: None,
            inter_token_us: None,
            total_us: wait_ms * 1_000,
            usage: Usage { input: 80, output: 5, cached_input: 20, ..Usage::default() },
            cost: Some(Money::from_pico(2_000)),
        };
        (0..count).for_each(|_| seen.record(&sample));
        seen
    }

    fn p50(memory: &Memory<Figures>, now: Instant) -> u32 {
        memory.view(now).quantiles(Lap::Total).expect("something").value(0.5)
    }

    #[test]
    fn a_busy_lane_is_what_it_is_now() {
        let start = Instant::now();
        let mut memory: Memory<Figures> = Memory::new(start);
        let tick = |number: u32| start + Duration::from_millis(500) * number;
        // Ten minutes at 100 a second, then half a minute at ten times the latency.
        (0..1_200).for_each(|number| memory.take(&Counted::new(&seen(50, Verdict::Good, 100)), tick(number)));
        assert!((98_000..=102_000).contains(&p50(&memory, tick(1_200))));
        (1_200..1_260).for_each(|number| memory.take(&Counted::new(&seen(50, Verdict::Good, 1_000)), tick(number)));
        assert!((980_000..=1_020_000).contains(&p50(&memory, tick(1_260))), "{}", p50(&memory, tick(1_260)));
        let view = memory.view(tick(1_260));
        assert!((view.cache_hit_rate.expect("known") - 0.25).abs() < 1e-6);
        assert!((view.output_tokens.expect("known") - 5.0).abs() < 1e-6);
        assert!((view.work_cost.expect("known") - 20.0).abs() < 1e-6, "2000 picodollars for 80 + 4 * 5 units");
    }

    #[test]
    fn a_quiet_lane_keeps_a_memory_that_fades() {
        let start = Instant::now();
        let mut memory: Memory<Figures> = Memory::new(start);
        memory.take(&Counted::new(&seen(100, Verdict::Good, 100)), start);
        memory.take(&Counted::new(&seen(100, Verdict::Bad, 100)), start);
        let mut last = f64::INFINITY;
        for half_lives in 0..12 {
            let now = start + SCORE_MEMORY_HALF_LIFE * half_lives;
            let view = memory.view(now);
            let expected = 200.0 / f64::from(1 << half_lives);
            assert!((memory.weight(now) - expected).abs() < 0.01, "{half_lives}: {}", memory.weight(now));
            assert!(view.outlook.samples < last, "{half_lives}");
            last = view.outlook.samples;
            assert!((view.outlook.good - 0.5).abs() < 1e-6 && (view.outlook.bad - 0.5).abs() < 1e-6, "{view:?}");
            assert!((98_000..=102_000).contains(&p50(&memory, now)), "shares do not fade");
        }
        // What comes after a long silence counts for what it is.
        let later = start + SCORE_MEMORY_HALF_LIFE * 40;
        memory.take(&Counted::new(&seen(10, Verdict::Good, 300)), later);
        assert!((memory.weight(later) - 10.0).abs() < 0.01);
        assert!((293_000..=307_000).contains(&p50(&memory, later)));
    }

    #[test]
    fn one_outlier_moves_neither_median_nor_outlook() {
        let start = Instant::now();
        let mut memory: Memory<Figures> = Memory::new(start);
        memory.take(&Counted::new(&seen(99, Verdict::Good, 100)), start);
        let before = p50(&memory, start);
        memory.take(&Counted::new(&seen(1, Verdict::Good, 60_000)), start);
        assert!(p50(&memory, start).abs_diff(before) <= 2_000);
        let outlook = memory.view(start).outlook;
        let median = outlook.waits.value(0.5).expect("something");
        assert!((90_000.0..=110_000.0).contains(&median), "{median}");
        assert!((outlook.good - 1.0).abs() < 1e-9);
    }

    #[test]
    fn tenants_fade_the_same_way() {
        let start = Instant::now();
        let mut memory: Memory<Record> = Memory::new(start);
        let acme = TenantId::new("acme");
        memory.take(&seen(30, Verdict::Good, 100).tenants[&acme], start);
        memory.take(&seen(10, Verdict::Limited, 100).tenants[&acme], start);
        let outlook = memory.outlook_of_tenant(start);
        assert!((outlook.samples - 40.0).abs() < 0.01 && (outlook.limited - 0.25).abs() < 1e-9, "{outlook:?}");
        let later = start + SCORE_MEMORY_HALF_LIFE;
        assert!((memory.weight(later) - 20.0).abs() < 0.01);
        assert!(memory.outlook_of_tenant(later).samples < 20.1);
    }

    #[test]
    fn a_blend_leaves_out_what_a_part_does_not_know() {
        let start = Instant::now();
        let view = |seen: &Observed| {
            let mut memory: Memory<Figures> = Memory::new(start);
            memory.take(&Counted::new(seen), start);
            memory.view(start)
        };
        let (good, bad) = (view(&seen(10, Verdict::Good, 100)), view(&seen(30, Verdict::Bad, 100)));
        let parts = [(1.0, &good), (3.0, &bad)];
        let blend = View::blend(parts.iter().copied()).expect("it weighs something");
        assert!((blend.outlook.bad - 0.75).abs() < 1e-9 && (blend.outlook.good - 0.25).abs() < 1e-9);
        assert!((blend.outlook.samples - 40.0).abs() < 0.01);
        let known = blend.quantiles(Lap::Total).expect("the good one knows").value(0.99);
        assert!((98_000..=102_000).contains(&known), "{known}");
        assert_eq!(blend.cache_hit_rate.map(|rate| (rate * 100.0).round()), Some(25.0));
        assert!(View::blend([(0.0, &good)].iter().copied()).is_none());
    }
}
