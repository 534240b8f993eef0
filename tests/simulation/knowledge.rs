//! What a gateway would know of each lane: its breaker, which is the real one; its score by two decayed windows and its quota by the
//! provider's headers, which are plain stand-ins for `routing::scorekeeper` and `routing::quota`, so that thousands of runs take seconds.

use igris::routing::breaker::{Breaker, Cause, Tally};
use igris::routing::observed::Verdict;
use igris::routing::order::Weights;
use igris::routing::score::{Beta, Quantiles, Score};
use igris::routing::standing::{Headroom, Standing, Why};
use igris::routing::terms::{BreakerTerms, Goal};
use std::time::{Duration, Instant};

/// What is known of one lane. Seconds count from the start of the run.
pub struct Knowledge {
    /// As last published.
    pub score: Option<Score>,
    /// Attempts under way.
    pub in_flight: u32,
    brief: Window,
    lasting: Window,
    breaker: Breaker,
    tally: Tally,
    start: Instant,
    parked_until: f64,
    quota: Option<Quota>,
    /// Peak-sensitive moving average of the duration, seconds, and when it was last moved.
    pub ewma: f64,
    ewma_at: f64,
}

/// What the headers of the latest answer said, less what was sent since.
#[derive(Clone, Copy)]
struct Quota {
    limit: u32,
    left: u32,
    resets_at: f64,
}

/// Counts in bins that grow by a tenth, decayed.
struct Window {
    bins: [f64; BINS],
    good: f64,
    bad: f64,
    /// What was seen so many seconds ago weighs half.
    half_life: f64,
}

const BINS: usize = 96;
const BIN_GROWTH: f64 = 1.1;
const BIN_FIRST_SECONDS: f64 = 0.005;
/// Attempts in the brief window at which it counts as much as the lasting one.
const BRIEF_EVEN: f64 = 20.0;
const POSTERIOR_SAMPLES_MAX: f64 = 500.0;
const EWMA_SECONDS: f64 = 10.0;
/// Lot for the length of an opening, 0 to 1: always the middle.
const DRAW: f64 = 0.5;

impl Knowledge {
    /// Nothing known at the start of a run.
    pub fn new(start: Instant) -> Self {
        Self {
            score: None,
            in_flight: 0,
            brief: Window::new(15.0),
            lasting: Window::new(600.0),
            breaker: Breaker::Closed,
            tally: Tally::new(start),
            start,
            parked_until: 0.0,
            quota: None,
            ewma: 0.0,
            ewma_at: 0.0,
        }
    }

    fn at(&self, now: f64) -> Instant {
        self.start + Duration::from_secs_f64(now)
    }

    pub fn standing(&self, now: f64) -> Standing {
        let at = self.at(now);
        if now < self.parked_until {
            return Standing::Halted { why: Why::RateLimit, until: self.at(self.parked_until) };
        }
        match self.breaker.at(at) {
            Breaker::Closed => Standing::Free,
            Breaker::HalfOpen(_) => Standing::Probe,
            Breaker::Open(opening) => Standing::Halted { why: Why::Breaker, until: opening.until },
            Breaker::Probing { lost_at, .. } => Standing::Halted { why: Why::Breaker, until: lost_at },
        }
    }

    pub fn headroom(&self, now: f64) -> Headroom {
        let Some(quota) = self.quota.filter(|quota| now < quota.resets_at) else { return Headroom::default() };
        Headroom {
            share: Some(f64::from(quota.left) / f64::from(quota.limit)),
            fits: Some(quota.left > 0),
            resets_at: Some(self.at(quota.resets_at)),
        }
    }

    /// An attempt begins.
    pub fn begin(&mut self, now: f64) {
        self.in_flight += 1;
        if let Some(quota) = &mut self.quota {
            quota.left = quota.left.saturating_sub(1);
        }
        self.breaker = self.breaker.claimed(self.at(now)).unwrap_or(self.breaker);
    }

    /// An attempt was sent away until then.
    pub fn limited(&mut self, until: f64) {
        self.in_flight -= 1;
        self.parked_until = until;
        self.breaker = self.breaker.probe_dropped();
    }

    /// An attempt has ended.
    pub fn ended(&mut self, now: f64, good: bool, seconds: f64) {
        self.in_flight -= 1;
        self.brief.record(good, seconds);
        self.lasting.record(good, seconds);
        let (at, terms) = (self.at(now), BreakerTerms::default());
        self.breaker = match (self.breaker.at(at), good) {
            (Breaker::HalfOpen(_) | Breaker::Probing { .. }, true) => {
                self.tally = Tally::new(at);
                Breaker::Closed
            }
            (probed @ (Breaker::HalfOpen(_) | Breaker::Probing { .. }), false) => probed.probe_failed(&terms, DRAW, at),
            (open @ Breaker::Open(_), _) => open,
            (Breaker::Closed, _) => {
                let verdict = if good { Verdict::Good } else { Verdict::Bad };
                let opens = self.tally.note(verdict, &terms, at);
                if opens { Breaker::Closed.tripped(Cause::Failures, &terms, DRAW, at) } else { Breaker::Closed }
            }
        };
        // A failure counts as a very slow answer, as balancers with such an average do it.
        let felt = if good { seconds } else { seconds.max(5.0) };
        let kept = (-(now - self.ewma_at) / EWMA_SECONDS).exp();
        self.ewma = if felt > self.ewma { felt } else { self.ewma * kept + felt * (1.0 - kept) };
        self.ewma_at = now;
    }

    /// Headers of an answer.
    pub fn told(&mut self, limit: u32, left: u32, resets_at: f64) {
        if limit < u32::MAX {
            self.quota = Some(Quota { limit, left, resets_at });
        }
    }

    /// The control plane makes a score of what was seen up to now; so many seconds have passed since it last did.
    pub fn score_now(&mut self, seconds: f64) {
        if self.lasting.samples() > 0.0 {
            let lean = self.brief.samples() / (self.brief.samples() + BRIEF_EVEN);
            self.score = Some(self.brief.times(lean).plus(&self.lasting.times(1.0 - lean)).score());
            self.brief.fade(seconds);
            self.lasting.fade(seconds);
        }
    }

    /// The median duration, microseconds, if it is known well enough for others to be measured by it.
    pub fn reference(&self) -> Option<f64> {
        let score = self.score.as_ref().filter(|score| score.samples >= 5.0)?;
        score.first_byte_us.map(|known| f64::from(known.value(0.5)))
    }

    /// And a posterior of the rewards that the answers earned, against the fastest of all; `cheapness` is the price's part of it.
    pub fn reward(&mut self, fastest_us: Option<f64>, cheapness: f64) {
        let Some(score) = &mut self.score else { return };
        let own = score.first_byte_us.map(|known| f64::from(known.value(0.5)));
        let speed = fastest_us.zip(own).map_or(1.0, |(fastest, own)| (fastest / own).min(1.0));
        let weights = Weights::of(Goal::Balanced);
        let reward = weights.latency * speed + weights.cost * cheapness + weights.success;
        let won = (1.0 - score.error_rate) * reward;
        let samples = score.samples.min(POSTERIOR_SAMPLES_MAX);
        score.posterior = Beta { alpha: 1.0 + samples * won, beta: 1.0 + samples * (1.0 - won) };
    }
}

impl Window {
    fn new(half_life: f64) -> Self {
        Self { bins: [0.0; BINS], good: 0.0, bad: 0.0, half_life }
    }

    fn samples(&self) -> f64 {
        self.good + self.bad
    }

    fn record(&mut self, good: bool, seconds: f64) {
        if !good {
            self.bad += 1.0;
            return;
        }
        self.good += 1.0;
        let bin = ((seconds / BIN_FIRST_SECONDS).ln() / BIN_GROWTH.ln()).clamp(0.0, (BINS - 1) as f64);
        self.bins[bin as usize] += 1.0;
    }

    fn times(&self, factor: f64) -> Self {
        let Self { bins, good, bad, half_life } = self;
        Self { bins: bins.map(|bin| bin * factor), good: good * factor, bad: bad * factor, half_life: *half_life }
    }

    /// The shares of both; a window without anything adds nothing.
    fn plus(mut self, other: &Self) -> Self {
        self.bins.iter_mut().zip(other.bins).for_each(|(bin, more)| *bin += more);
        self.good += other.good;
        self.bad += other.bad;
        self
    }

    fn fade(&mut self, seconds: f64) {
        *self = self.times(0.5_f64.powf(seconds / self.half_life));
    }

    fn score(&self) -> Score {
        let samples = self.good + self.bad;
        Score {
            samples,
            error_rate: self.bad / samples,
            first_byte_us: (self.good > 0.0).then(|| self.quantiles()),
            ..Score::default()
        }
    }

    fn quantiles(&self) -> Quantiles {
        let mut at = [0; Quantiles::POINTS.len()];
        for (value, point) in at.iter_mut().zip(Quantiles::POINTS) {
            let mut left = point * self.good;
            let bin = self.bins.iter().position(|count| {
                left -= count;
                left <= 0.0
            });
            let middle = BIN_GROWTH.powf(bin.unwrap_or(BINS - 1) as f64 + 0.5);
            *value = (BIN_FIRST_SECONDS * middle * 1e6) as u32;
        }
        Quantiles { at }
    }
}
