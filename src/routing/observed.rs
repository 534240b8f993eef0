//! What attempts looked like: samples into histograms and counts, per lane.
//!
//! Pure. A core records here and hands the whole over; the control plane merges what all cores saw. Histograms have two significant
//! digits and grow as needed, so that one outlier costs a bucket and moves no percentile. Only answered attempts have durations that
//! say something of the provider; attempts that say nothing are counted and nothing else.

use super::spread::{COARSE, COARSE_BUCKETS, HDR, bucket, least};
use crate::domain::id::TenantId;
use crate::domain::map::Map;
use crate::domain::money::Money;
use crate::domain::token::Usage;
use crate::limits::TENANTS_OBSERVED_MAX;
use hdrhistogram::Histogram;

/// How an attempt speaks of its provider (rules Q7, T3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answered.
    Good,
    /// It sent work away: rate limit.
    Limited,
    /// It failed.
    Bad,
    /// It says nothing: the client's fault, the client's going, a key's own state, a lost race.
    Neutral,
    /// It was given up for being late, with the time that had passed by then: at least so long it would have taken. Says nothing else. Without
    /// it, a lane whose late attempts are given up would look as if it had none.
    Outrun,
}

/// A part of an attempt whose duration is kept in a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lap {
    /// Until a connection stood.
    Connect,
    /// From the request's first byte to the answer's.
    FirstByte,
    /// To the first content of a stream.
    FirstToken,
    /// Between two tokens.
    InterToken,
    /// The whole attempt.
    Total,
}

/// One closed attempt, as far as routing cares. Durations in microseconds; `None` where there was none.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Who asked.
    pub tenant: TenantId,
    /// How it speaks of its provider.
    pub verdict: Verdict,
    /// Until the connection stood; `None` for a reused one.
    pub connect_us: Option<u32>,
    /// From the request's first byte to the answer's.
    pub first_byte_us: Option<u32>,
    /// From the attempt's start to the first content of a stream.
    pub first_token_us: Option<u32>,
    /// Mean time between two tokens after the first.
    pub inter_token_us: Option<u32>,
    /// The whole attempt.
    pub total_us: u32,
    /// What it used; zeros where unknown.
    pub usage: Usage,
    /// What it cost.
    pub cost: Option<Money>,
}

/// What was seen of one lane since it was last handed over.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Until a connection stood, microseconds; of answered attempts, as all durations here.
    pub connect: Histogram<u32>,
    /// To the first byte, microseconds.
    pub first_byte: Histogram<u32>,
    /// To the first content of a stream, microseconds.
    pub first_token: Histogram<u32>,
    /// Between two tokens, microseconds.
    pub inter_token: Histogram<u32>,
    /// Whole attempts, microseconds.
    pub total: Histogram<u32>,
    /// Attempts that were answered.
    pub good: u64,
    /// Attempts that were sent away.
    pub limited: u64,
    /// Attempts that failed.
    pub bad: u64,
    /// Attempts that say nothing.
    pub neutral: u64,
    /// Sums over the answered ones.
    pub usage: Usage,
    /// What the answered ones with a known price cost.
    pub cost: Money,
    /// The work that [`Observed::cost`] paid for.
    pub priced_work: u64,
    /// How long clients waited for something to read, answered attempts.
    pub waits: Waits,
    /// The same by tenant, of as many as are kept apart; all of them are in the figures above.
    pub tenants: Map<TenantId, Earned>,
}

/// What the attempts of one tenant came to on one lane.
#[derive(Clone, Debug, Default)]
pub struct Earned {
    /// Attempts that were answered.
    pub good: u64,
    /// Attempts that were sent away.
    pub limited: u64,
    /// Attempts that failed.
    pub bad: u64,
    /// How long it waited for something to read, answered attempts.
    pub waits: Waits,
}

/// Counts of waiting times in buckets of [`COARSE`]; half a kilobyte.
#[derive(Clone, Debug)]
pub struct Waits([u16; COARSE_BUCKETS]);

/// One unit of work is a prompt token; a generated token is as much work as this many. Price lists charge four to five times as much
/// for one, so the cost of a unit hardly depends on how long prompts and answers happen to be.
const WORK_OF_OUTPUT: u64 = 4;

/// The work of an answer, in prompt tokens.
pub fn work(usage: &Usage) -> u64 {
    usage.output.saturating_mul(WORK_OF_OUTPUT).saturating_add(usage.input)
}

// === impl Lap ===

impl Lap {
    /// All of them, in the order in which they pass.
    pub const ALL: [Self; 5] = [Self::Connect, Self::FirstByte, Self::FirstToken, Self::InterToken, Self::Total];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::FirstByte => "first_byte",
            Self::FirstToken => "first_token",
            Self::InterToken => "inter_token",
            Self::Total => "total",
        }
    }
}

// === impl Sample ===

impl Sample {
    /// How long a client had nothing to read, connecting aside: to the first content of a stream, to the first byte of anything else.
    /// Connecting is left out because it is the price of a cold pool, not of the provider.
    pub fn wait_us(&self) -> Option<u32> {
        let token = self.first_token_us.map(|token| token.saturating_sub(self.connect_us.unwrap_or(0)));
        token.or(self.first_byte_us)
    }
}

// === impl Observed ===

impl Default for Observed {
    fn default() -> Self {
        Self::new()
    }
}

impl Observed {
    /// Nothing seen.
    pub fn new() -> Self {
        let empty = || Histogram::new(2).expect("two significant digits are allowed");
        Self {
            connect: empty(),
            first_byte: empty(),
            first_token: empty(),
            inter_token: empty(),
            total: empty(),
            good: 0,
            limited: 0,
            bad: 0,
            neutral: 0,
            usage: Usage::default(),
            cost: Money::ZERO,
            priced_work: 0,
            waits: Waits::default(),
            tenants: Map::default(),
        }
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.attempts() == 0
    }

    /// Attempts in all.
    pub fn attempts(&self) -> u64 {
        self.good + self.limited + self.bad + self.neutral
    }

    /// Takes in one closed attempt. Allocates only for a duration beyond all before, and for a tenant's first attempt.
    pub fn record(&mut self, sample: &Sample) {
        match sample.verdict {
            Verdict::Good => self.good += 1,
            Verdict::Limited => self.limited += 1,
            Verdict::Bad => self.bad += 1,
            Verdict::Neutral => {
                self.neutral += 1;
                return;
            }
            Verdict::Outrun => {
                self.neutral += 1;
                for (histogram, micros) in
                    [(&mut self.first_token, sample.first_token_us), (&mut self.total, Some(sample.total_us))]
                {
                    let _ = micros.map(|micros| histogram.record(u64::from(micros)));
                }
                return;
            }
        }
        match self.tenants.get_mut(&sample.tenant) {
            Some(earned) => earned.record(sample),
            None => self.earned(&sample.tenant).into_iter().for_each(|earned| earned.record(sample)),
        }
        if sample.verdict != Verdict::Good {
            return;
        }
        let laps = [
            (&mut self.connect, sample.connect_us),
            (&mut self.first_byte, sample.first_byte_us),
            (&mut self.first_token, sample.first_token_us),
            (&mut self.inter_token, sample.inter_token_us),
            (&mut self.total, Some(sample.total_us)),
        ];
        for (histogram, micros) in laps {
            if let Some(micros) = micros {
                // It grows as needed; what 32 bits of microseconds hold always fits.
                let _ = histogram.record(u64::from(micros));
            }
        }
        if let Some(wait) = sample.wait_us() {
            self.waits.record(wait);
        }
        add_usage(&mut self.usage, &sample.usage);
        let work = work(&sample.usage);
        if let Some(cost) = sample.cost.filter(|_| work > 0) {
            self.cost += cost;
            self.priced_work = self.priced_work.saturating_add(work);
        }
    }

    /// Adds what was seen elsewhere, or before.
    pub fn merge(&mut self, other: &Self) {
        for (own, others) in self.laps_mut().into_iter().zip(other.laps()) {
            own.add(others).expect("a histogram that resizes takes any value");
        }
        self.good += other.good;
        self.limited += other.limited;
        self.bad += other.bad;
        self.neutral += other.neutral;
        add_usage(&mut self.usage, &other.usage);
        self.cost += other.cost;
        self.priced_work = self.priced_work.saturating_add(other.priced_work);
        self.waits.merge(&other.waits);
        for (tenant, earned) in &other.tenants {
            if let Some(own) = self.earned(tenant) {
                own.merge(earned);
            }
        }
    }

    /// Forgets everything but keeps the memory for the next use.
    pub fn clear(&mut self) {
        self.laps_mut().into_iter().for_each(Histogram::reset);
        (self.good, self.limited, self.bad, self.neutral) = (0, 0, 0, 0);
        (self.usage, self.cost, self.priced_work) = (Usage::default(), Money::ZERO, 0);
        self.waits = Waits::default();
        self.tenants.clear();
    }

    /// Adds durations of a lap, microseconds.
    pub fn record_lap(&mut self, lap: Lap, micros: u32, count: u64) {
        let place = Lap::ALL.iter().position(|known| *known == lap).unwrap_or_default();
        if let Some(durations) = self.laps_mut().into_iter().nth(place) {
            durations
                .record_n(u64::from(micros), u32::try_from(count).unwrap_or(u32::MAX))
                .expect("it grows as needed");
        }
    }

    /// The histograms in the order of [`Lap::ALL`].
    pub fn laps(&self) -> [&Histogram<u32>; Lap::ALL.len()] {
        [&self.connect, &self.first_byte, &self.first_token, &self.inter_token, &self.total]
    }

    /// The durations of a lap by bucket: its least value, and how many there are. Looks only between the least and the greatest.
    pub fn durations(lap: &Histogram<u32>) -> impl Iterator<Item = (u32, u32)> {
        let within = |value: u64| bucket(u32::try_from(value).unwrap_or(u32::MAX), HDR);
        let places = if lap.is_empty() { 0..0 } else { within(lap.min())..within(lap.max()) + 1 };
        places.filter_map(|place| {
            let value = least(place, HDR);
            let count = lap.count_at(value);
            (count > 0).then_some((u32::try_from(value).unwrap_or(u32::MAX), count))
        })
    }

    fn laps_mut(&mut self) -> [&mut Histogram<u32>; Lap::ALL.len()] {
        [&mut self.connect, &mut self.first_byte, &mut self.first_token, &mut self.inter_token, &mut self.total]
    }

    /// The place of a tenant, if there is one or room for one.
    #[inline(never)]
    fn earned(&mut self, tenant: &TenantId) -> Option<&mut Earned> {
        if self.tenants.len() >= TENANTS_OBSERVED_MAX {
            return self.tenants.get_mut(tenant);
        }
        // The id is cloned only where it is new.
        if !self.tenants.contains_key(tenant) {
            self.tenants.insert(tenant.clone(), Earned::default());
        }
        self.tenants.get_mut(tenant)
    }
}

fn add_usage(sum: &mut Usage, more: &Usage) {
    let pairs = [
        (&mut sum.input, more.input),
        (&mut sum.output, more.output),
        (&mut sum.cached_input, more.cached_input),
        (&mut sum.cache_write, more.cache_write),
        (&mut sum.cache_write_long, more.cache_write_long),
        (&mut sum.audio_input, more.audio_input),
        (&mut sum.audio_output, more.audio_output),
        (&mut sum.reasoning, more.reasoning),
    ];
    pairs.into_iter().for_each(|(sum, more)| *sum = sum.saturating_add(more));
}

// === impl Earned ===

impl Earned {
    fn record(&mut self, sample: &Sample) {
        match sample.verdict {
            Verdict::Good => self.good += 1,
            Verdict::Limited => self.limited += 1,
            Verdict::Bad => self.bad += 1,
            Verdict::Neutral | Verdict::Outrun => {}
        }
        if let Some(wait) = sample.wait_us().filter(|_| sample.verdict == Verdict::Good) {
            self.waits.record(wait);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.good += other.good;
        self.limited += other.limited;
        self.bad += other.bad;
        self.waits.merge(&other.waits);
    }
}

// === impl Waits ===

impl Default for Waits {
    fn default() -> Self {
        Self([0; COARSE_BUCKETS])
    }
}

impl Waits {
    fn record(&mut self, micros: u32) {
        let count = &mut self.0[bucket(micros, COARSE)];
        *count = count.saturating_add(1);
    }

    fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, more)| *sum = sum.saturating_add(more));
    }

    /// Adds to a bucket.
    pub fn add(&mut self, bucket: usize, count: u64) {
        if let Some(sum) = self.0.get_mut(bucket) {
            *sum = sum.saturating_add(u16::try_from(count).unwrap_or(u16::MAX));
        }
    }

    /// Buckets with something in them, and how much.
    pub fn counts(&self) -> impl Iterator<Item = (usize, u16)> {
        self.0.iter().copied().enumerate().filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(verdict: Verdict, first_byte_us: u32) -> Sample {
        Sample {
            tenant: TenantId::new("acme"),
            verdict,
            connect_us: Some(2_000),
            first_byte_us: Some(first_byte_us),
            first_token_us: None,
            inter_token_us: None,
            total_us: first_byte_us.saturating_mul(2),
            usage: Usage { input: 100, output: 10, cached_input: 40, ..Usage::default() },
            cost: Some(Money::from_pico(700)),
        }
    }

    #[test]
    fn only_answers_have_durations_and_cost() {
        let mut seen = Observed::new();
        assert!(seen.is_empty());
        for verdict in [Verdict::Neutral, Verdict::Limited, Verdict::Bad, Verdict::Good] {
            seen.record(&sample(verdict, 50_000));
            assert!(!seen.is_empty());
        }
        assert_eq!((seen.good, seen.limited, seen.bad, seen.neutral), (1, 1, 1, 1));
        assert_eq!(seen.laps().map(|lap| lap.len()), [1, 1, 0, 0, 1]);
        assert_eq!((seen.usage.input, seen.cost.pico(), seen.priced_work), (100, 700, 140));
        let earned = &seen.tenants[&TenantId::new("acme")];
        assert_eq!((earned.good, earned.limited, earned.bad, earned.waits.counts().count()), (1, 1, 1, 1));
        // An answer without a price, or without a known use, says nothing of what work costs.
        seen.record(&Sample { cost: None, ..sample(Verdict::Good, 1) });
        seen.record(&Sample { usage: Usage::default(), ..sample(Verdict::Good, 1) });
        assert_eq!((seen.good, seen.cost.pico(), seen.priced_work), (3, 700, 140));
    }

    #[test]
    fn an_attempt_that_was_given_up_for_being_late_leaves_its_time_and_nothing_else() {
        let mut seen = Observed::new();
        seen.record(&Sample { first_token_us: Some(90_000), ..sample(Verdict::Outrun, 50_000) });
        assert_eq!((seen.good, seen.bad, seen.neutral), (0, 0, 1));
        assert_eq!(seen.laps().map(|lap| lap.len()), [0, 0, 1, 0, 1]);
        assert!(seen.tenants.is_empty() && seen.cost == Money::ZERO);
    }

    #[test]
    fn a_stream_is_waited_for_until_its_first_content() {
        let unary = sample(Verdict::Good, 50_000);
        assert_eq!(unary.wait_us(), Some(50_000));
        assert_eq!(Sample { first_token_us: Some(82_000), ..unary }.wait_us(), Some(80_000));
    }

    #[test]
    fn merging_is_recording_everything_in_one_place() {
        let (mut left, mut right, mut whole) = (Observed::new(), Observed::new(), Observed::new());
        for number in 1..=200 {
            let sample = sample(if number % 7 == 0 { Verdict::Bad } else { Verdict::Good }, number * 1_000);
            if number % 2 == 0 { &mut left } else { &mut right }.record(&sample);
            whole.record(&sample);
        }
        left.merge(&right);
        assert_eq!(left.laps(), whole.laps());
        assert_eq!((left.good, left.bad, left.usage, left.cost), (whole.good, whole.bad, whole.usage, whole.cost));
        assert!(left.waits.counts().eq(whole.waits.counts()));
        left.clear();
        assert!(left.is_empty() && left.total.is_empty() && left.tenants.is_empty());
        left.merge(&whole);
        assert_eq!(left.laps(), whole.laps());
    }

    #[test]
    fn tenants_beyond_the_bound_are_in_the_sums_alone() {
        let mut seen = Observed::new();
        let as_tenant =
            |number: usize| Sample { tenant: TenantId::new(&number.to_string()), ..sample(Verdict::Good, 1_000) };
        for (number, kept) in [
            (TENANTS_OBSERVED_MAX - 2, TENANTS_OBSERVED_MAX - 1),
            (TENANTS_OBSERVED_MAX - 1, TENANTS_OBSERVED_MAX),
            (TENANTS_OBSERVED_MAX, TENANTS_OBSERVED_MAX),
        ] {
            for tenant in seen.tenants.len()..=number {
                seen.record(&as_tenant(tenant));
            }
            assert_eq!(seen.tenants.len(), kept);
        }
        seen.record(&as_tenant(0));
        assert_eq!(seen.tenants[&TenantId::new("0")].good, 2, "one with a place keeps it");
        assert_eq!(seen.good, TENANTS_OBSERVED_MAX as u64 + 2);
    }

    #[test]
    fn durations_are_those_of_the_histogram() {
        let mut lap: Histogram<u32> = Histogram::new(2).expect("two digits");
        assert_eq!(Observed::durations(&lap).count(), 0);
        for value in [0, 1, 127, 255, 256, 257, 100_000, 100_001, 59_999_999, u64::from(u32::MAX)] {
            lap.record(value).expect("it grows");
        }
        let found: Vec<(u32, u32)> = Observed::durations(&lap).collect();
        let steps = lap.iter_recorded().map(|step| {
            let least = lap.lowest_equivalent(step.value_iterated_to());
            (u32::try_from(least).expect("32 bits"), u32::try_from(step.count_since_last_iteration()).expect("few"))
        });
        assert_eq!(found, steps.collect::<Vec<_>>());
    }

    #[test]
    fn no_duration_is_too_long() {
        let mut seen = Observed::new();
        let longest = Sample { total_us: u32::MAX, ..sample(Verdict::Good, u32::MAX) };
        seen.record(&longest);
        assert_eq!((seen.total.len(), seen.first_byte.len(), seen.waits.counts().count()), (1, 1, 1));
    }
}
