//! When a lane or a provider is left alone, and how it comes back.
//!
//! ```text
//!            too many failures                    its time is over                 one request takes it
//!  Closed ---------------------> Open ----------------------------> HalfOpen ---------------------------> Probing
//!    ^                             ^                                   ^                                   |  |  |
//!    |                             +---- the probe failed: for longer -|-----------------------------------+  |  |
//!    |                                                                 +---- it was lost, or says nothing ----+  |
//!    +------------------------------------------ an answer, of the probe or of anybody who asked since ----------+
//! ```
//!
//! Pure: `now` and randomness are arguments. Failures are counted where they are seen, by each core for itself ([`Tally`],
//! [`ProviderTally`]); the state is one for all ([`Breaker`], shared on the board). Only the provider's own faults count (rules Q7, T3): a
//! rate limit opens nothing, and what says nothing of the provider changes nothing.

use super::lane::LaneKey;
use super::observed::Verdict;
use super::rolling::Rolling;
use super::terms::BreakerTerms;
use crate::domain::id::TenantId;
use crate::limits;
use std::time::{Duration, Instant};

/// The state of one breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Breaker {
    /// Requests pass.
    #[default]
    Closed,
    /// None is to pass.
    Open(Opening),
    /// One may find out whether it lives.
    HalfOpen(Opening),
    /// One is finding out.
    Probing {
        /// What it is to end.
        opening: Opening,
        /// From then on it counts as lost.
        lost_at: Instant,
    },
}

/// Why and how long a breaker is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// What opened it.
    pub cause: Cause,
    /// When it opened, or opened again.
    pub since: Instant,
    /// When a probe may pass.
    pub until: Instant,
    /// How many probes have failed since it opened first.
    pub failed_probes: u32,
}

/// What opened a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Too many attempts failed.
    Failures,
    /// Nobody takes connections.
    Unreachable,
}

impl Cause {
    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::Unreachable => "unreachable",
        }
    }
}

// === impl Breaker ===

impl Breaker {
    /// The state once time has passed: an open one becomes half open, a probe that stays out is lost.
    #[must_use]
    pub fn at(self, now: Instant) -> Self {
        match self {
            Self::Open(opening) if now >= opening.until => Self::HalfOpen(opening),
            Self::Probing { opening, lost_at } if now >= lost_at => Self::HalfOpen(opening),
            other => other,
        }
    }

    /// Too many failures were seen. `draw` is a number between 0 and 1. Changes nothing but a closed breaker.
    #[must_use]
    pub fn tripped(self, cause: Cause, terms: &BreakerTerms, draw: f64, now: Instant) -> Self {
        match self {
            Self::Closed => Self::Open(Opening::new(cause, 0, terms, draw, now)),
            other => other.at(now),
        }
    }

    /// Lets one request pass, if the breaker is half open: the new state, with that request on its way.
    pub fn claimed(self, now: Instant) -> Option<Self> {
        match self.at(now) {
            Self::HalfOpen(opening) => Some(Self::Probing { opening, lost_at: now + limits::PROBE_LIFE }),
            _ => None,
        }
    }

    /// The probe failed: open again, for twice as long.
    #[must_use]
    pub fn probe_failed(self, terms: &BreakerTerms, draw: f64, now: Instant) -> Self {
        match self {
            Self::HalfOpen(opening) | Self::Probing { opening, .. } => {
                Self::Open(Opening::new(opening.cause, opening.failed_probes.saturating_add(1), terms, draw, now))
            }
            other => other,
        }
    }

    /// The probe came to nothing: the next request may be one.
    #[must_use]
    pub fn probe_dropped(self) -> Self {
        match self {
            Self::Probing { opening, .. } => Self::HalfOpen(opening),
            other => other,
        }
    }

    /// It is known to take connections again: a request may find out the rest.
    #[must_use]
    pub fn reachable(self, now: Instant) -> Self {
        match self {
            Self::Open(opening) => Self::HalfOpen(Opening { until: opening.until.min(now), ..opening }),
            other => other,
        }
    }

    /// Why and how long it is open, unless it is closed.
    pub fn opening(&self) -> Option<&Opening> {
        match self {
            Self::Closed => None,
            Self::Open(opening) | Self::HalfOpen(opening) | Self::Probing { opening, .. } => Some(opening),
        }
    }

    /// The stable word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open(_) => "open",
            Self::HalfOpen(_) => "half_open",
            Self::Probing { .. } => "probing",
        }
    }
}

impl Opening {
    /// Open from now on, twice as long for each probe that has failed, and up to a tenth longer by lot: who opened together does not
    /// probe together.
    fn new(cause: Cause, failed_probes: u32, terms: &BreakerTerms, draw: f64, now: Instant) -> Self {
        let longest = limits::BREAKER_OPEN_MAX.max(terms.open_for);
        let span = terms.open_for.saturating_mul(1 << failed_probes.min(16)).min(longest);
        let until = now + span + span.mul_f64(0.1 * draw.clamp(0.0, 1.0));
        Self { cause, since: now, until, failed_probes }
    }

    /// How long a probe has to wait from now on.
    pub fn left(&self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }
}

// === Counting ===

/// What one core has seen of a lane that failed lately.
#[derive(Clone, Debug)]
pub struct Tally {
    in_a_row: u32,
    /// Answers, and failures.
    counts: Rolling,
}

impl Tally {
    /// Nothing seen.
    pub fn new(now: Instant) -> Self {
        Self { in_a_row: 0, counts: Rolling::new(now) }
    }

    /// Takes one attempt in; answers whether its breaker is to open.
    pub fn note(&mut self, verdict: Verdict, terms: &BreakerTerms, now: Instant) -> bool {
        match verdict {
            Verdict::Good => {
                self.in_a_row = 0;
                self.counts.count_first(now);
                false
            }
            Verdict::Bad => {
                self.in_a_row = self.in_a_row.saturating_add(1);
                self.counts.count_second(now);
                self.in_a_row >= terms.failures.max(1) || is_too_much(self.counts.sums(now))
            }
            Verdict::Limited | Verdict::Neutral | Verdict::Outrun => false,
        }
    }

    /// Whether no failure is left in it, so that nothing is lost with it.
    pub fn is_clean(&mut self, now: Instant) -> bool {
        self.in_a_row == 0 && self.counts.sums(now).1 == 0
    }
}

/// Whether that many failures among so many attempts are more than retries can make good.
fn is_too_much((good, bad): (u32, u32)) -> bool {
    bad >= limits::BREAKER_SHARE_FAILURES_MIN
        && bad.saturating_mul(limits::BREAKER_SHARE_ONE_IN) >= good.saturating_add(bad)
}

/// What one core has seen of a provider as a whole: the failures since its last answer.
///
/// Several lanes must fail, or connections: one model that is broken is a lane's affair. The failures of a single tenant count only while
/// nobody else is being answered there: it may have set timeouts that nobody can keep.
#[derive(Clone, Debug, Default)]
pub struct ProviderTally {
    unreachable: u32,
    failures: u32,
    lane: Option<LaneKey>,
    several_lanes: bool,
    tenant: Option<TenantId>,
    several_tenants: bool,
    latest: Option<Instant>,
    answered: Option<(TenantId, Instant)>,
}

impl ProviderTally {
    /// Takes one attempt in; answers whether the provider's breaker is to open.
    pub fn note(
        &mut self,
        verdict: Verdict,
        lane: &LaneKey,
        tenant: &TenantId,
        terms: &BreakerTerms,
        now: Instant,
    ) -> bool {
        match verdict {
            Verdict::Good => {
                match &mut self.answered {
                    // Nearly always: nobody has failed since, and it is the same tenant's again.
                    Some((known, at)) if self.failures == 0 && self.unreachable == 0 && known == tenant => *at = now,
                    _ => *self = Self { answered: Some((tenant.clone(), now)), ..Self::default() },
                }
                false
            }
            Verdict::Bad => {
                self.forget_old(now);
                self.failures = self.failures.saturating_add(1);
                self.several_lanes |= self.lane.get_or_insert_with(|| lane.clone()) != lane;
                self.several_tenants |= self.tenant.get_or_insert_with(|| tenant.clone()) != tenant;
                let others = self.answered.as_ref().is_some_and(|(answered, at)| {
                    answered != tenant && now.saturating_duration_since(*at) < Rolling::SPAN
                });
                self.failures >= terms.failures.max(1) && self.several_lanes && (self.several_tenants || !others)
            }
            Verdict::Limited | Verdict::Neutral | Verdict::Outrun => false,
        }
    }

    /// No connection stood; answers whether the provider's breaker is to open.
    pub fn note_unreachable(&mut self, terms: &BreakerTerms, now: Instant) -> bool {
        self.forget_old(now);
        self.unreachable = self.unreachable.saturating_add(1);
        self.unreachable >= terms.failures.max(1)
    }

    /// Whether nothing is left in it that could open the breaker, so that nothing is lost with it.
    pub fn is_clean(&self, now: Instant) -> bool {
        let recent = |at: Instant| now.saturating_duration_since(at) < Rolling::SPAN;
        !self.latest.is_some_and(recent) && !self.answered.as_ref().is_some_and(|(_, at)| recent(*at))
    }

    /// Failures far apart are no outage.
    fn forget_old(&mut self, now: Instant) {
        if self.latest.is_some_and(|latest| now.saturating_duration_since(latest) >= Rolling::SPAN) {
            *self = Self { answered: self.answered.take(), ..Self::default() };
        }
        self.latest = Some(now);
    }
}

// === How many may be ejected ===

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
