//! What attempts looked like: samples into histograms and counts, per lane.
//!
//! Pure. A core records here and hands the whole over; the control plane merges what all cores saw. Histograms have two significant
//! digits and grow as needed, so that one outlier costs a bucket and moves no percentile.

use crate::domain::id::TenantId;
use crate::domain::money::Money;
use crate::domain::token::Usage;
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
    /// Until a connection stood, microseconds.
    pub connect: Histogram<u32>,
    /// To the first byte, microseconds.
    pub first_byte: Histogram<u32>,
    /// To the first content of a stream, microseconds.
    pub first_token: Histogram<u32>,
    /// Between two tokens, microseconds.
    pub inter_token: Histogram<u32>,
    /// Whole attempts that were answered, microseconds.
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
    /// What all of them cost.
    pub cost: Money,
}

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
        }
    }
}
