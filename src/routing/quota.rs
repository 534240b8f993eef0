//! What is left of a lane's quota: learnt from its provider's own fields, refilled by time, counted down by what we send.
//!
//! ```text
//!            answer with fields                    reset passes, next dispatch
//!  unknown ────────────────────▶ told ─────────────────────────────────────────▶ full again, if the limit is known
//!     ▲                          │  ▲                                                │
//!     └──────────────────────────┘  └────────────── answer to a later request ───────┘
//!       no answer for long enough
//! ```
//!
//! Between two answers every request that leaves is counted, so that a burst cannot overrun what the last answer left. An answer knows of
//! the requests up to its own; those sent after it are taken off what it says, and an answer to an earlier request than the last one learnt
//! is no news. What other cores send is not seen here: each core takes an equal share of what remains for its own, so that all together
//! stay below it; the last few requests of a quota, fewer than cores, are left unused. Nothing here reads a clock or fails.

mod fields;
mod memory;
#[cfg(test)]
#[path = "quota_tests.rs"]
mod tests;

pub use fields::Allowances;

use super::standing::Headroom;
use crate::limits;
use std::time::{Duration, Instant};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Requests.
    Requests,
    /// Tokens of prompt and answer together.
    Tokens,
    /// Tokens of the prompt.
    InputTokens,
    /// Tokens of the answer.
    OutputTokens,
}

/// Over what time it is counted, where the field's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A month, taken for 31 days.
    Month,
}

/// How what was used comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refill {
    /// Bit by bit; at the reset it is all there.
    Gradual,
    /// All at the reset.
    AtOnce,
}

/// One limit as an answer states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Of what.
    pub kind: Kind,
    /// Over what time.
    pub window: Option<Window>,
    /// How it comes back.
    pub refill: Refill,
    /// All of it.
    pub limit: Option<u64>,
    /// What is left.
    pub remaining: Option<u64>,
    /// Time until it is whole again.
    pub resets_in: Option<Duration>,
}

impl Allowance {
    /// Whether nothing is said of it.
    fn is_blank(&self) -> bool {
        self.limit.is_none() && self.remaining.is_none() && self.resets_in.is_none()
    }
}

/// What has been sent on a lane from the beginning; at the moment of one request, itself included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    requests: u64,
    tokens: u64,
}

/// How a lane is short of quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Whether nothing is left by the provider's own word; else so little that the cores together could overrun it.
    pub is_total: bool,
    /// When there is enough again.
    pub until: Instant,
}

/// What one core knows of one lane's quota.
#[derive(Debug, Default)]
pub struct Quota {
    sent: Sent,
    /// The latest request whose answer was learnt from.
    learnt: u64,
    /// One for every kind and window that the provider counts.
    buckets: Vec<Bucket>,
}

/// One limit, and what has become of it since.
#[derive(Debug)]
struct Bucket {
    kind: Kind,
    window: Option<Window>,
    refill: Refill,
    limit: Option<u64>,
    remaining: u64,
    /// What had been sent when `remaining` held.
    sent: Sent,
    learnt_at: Instant,
    resets_at: Option<Instant>,
    believed_until: Instant,
}

// === impl Quota ===

impl Quota {
    /// Whether nothing is known of it, or nothing any more.
    pub fn is_unknown(&self, now: Instant) -> bool {
        !self.buckets.iter().any(|bucket| bucket.is_believed(now))
    }

    /// A request with so many tokens leaves.
    pub fn dispatch(&mut self, tokens: u64, now: Instant) -> Sent {
        let before = self.sent;
        self.buckets.retain_mut(|bucket| bucket.renew(&before, now));
        self.sent = Sent { requests: before.requests + 1, tokens: before.tokens.saturating_add(tokens) };
        self.sent
    }

    /// The answer to the request that `sent` is of has come. Returns whether it was news.
    pub fn learn(&mut self, sent: &Sent, told: &Allowances, now: Instant) -> bool {
        if told.is_empty() || sent.requests < self.learnt {
            return false;
        }
        self.learnt = sent.requests;
        for allowance in told.told() {
            let bucket = Bucket::of(allowance, *sent, now);
            match self.buckets.iter_mut().find(|known| known.kind == bucket.kind && known.window == bucket.window) {
                Some(known) => *known = bucket,
                None => self.buckets.push(bucket),
            }
        }
        true
    }

    /// Whether there is room for a request with so many tokens, and so much beyond it that nobody need go first nor other cores hear of it
    /// ([`Quota::headroom`], [`Quota::shortage`]). A quick look that leaves out what time has brought back: no says nothing.
    #[inline]
    pub fn is_ample(&self, tokens: u64, cores: u64) -> bool {
        self.buckets.iter().all(|bucket| bucket.is_ample(&self.sent, tokens, cores))
    }

    /// What is left for a request with so many tokens, of the share that one of `cores` cores takes.
    pub fn headroom(&self, tokens: u64, cores: u64, now: Instant) -> Headroom {
        let mut headroom = Headroom::default();
        let mut fits_at = None;
        for bucket in self.buckets.iter().filter(|bucket| bucket.is_believed(now)) {
            let Some(left) = bucket.left(&self.sent, cores, now) else { continue };
            let need = bucket.need(tokens);
            headroom.fits = Some(headroom.fits.unwrap_or(true) && left >= need);
            if let Some(limit) = bucket.limit {
                let share = (left.saturating_mul(cores) as f64 / limit.max(1) as f64).min(1.0);
                headroom.share = Some(headroom.share.map_or(share, |least: f64| least.min(share)));
            }
            if left < need {
                let wanted = need.saturating_add(bucket.spent(&self.sent)).saturating_mul(cores);
                fits_at = fits_at.max(Some(bucket.holds_at(wanted)));
            }
            headroom.resets_at = [headroom.resets_at, bucket.resets_at].into_iter().flatten().min();
        }
        headroom.resets_at = fits_at.or(headroom.resets_at).filter(|at| *at > now);
        headroom
    }

    /// Whether other cores must know that little or nothing is left.
    pub fn shortage(&self, cores: u64, now: Instant) -> Option<Shortage> {
        let mut worst: Option<Shortage> = None;
        for bucket in self.buckets.iter().filter(|bucket| bucket.is_believed(now)) {
            let Some(level) = bucket.level(now) else { continue };
            let spent = bucket.spent(&self.sent).saturating_mul(cores);
            let floor = bucket.floor(cores);
            let is_total = level == 0;
            let wanted = if is_total && bucket.kind == Kind::Requests { 1 } else { floor.saturating_add(spent) };
            if level.saturating_sub(spent) < floor {
                let short = Shortage { is_total, until: bucket.holds_at(wanted) };
                let longer = |known: &Shortage| (known.is_total, known.until) < (short.is_total, short.until);
                if worst.as_ref().is_none_or(longer) {
                    worst = Some(short);
                }
            }
        }
        worst.filter(|short| short.until > now)
    }
}

/// `gone` of `span` parts of an amount, rounded down. Wide arithmetic costs a hundred instructions, and is seldom needed.
fn part(amount: u64, gone: u128, span: u128) -> u64 {
    if let (Ok(gone), Ok(span)) = (u64::try_from(gone), u64::try_from(span))
        && let Some(product) = amount.checked_mul(gone)
    {
        return product / span.max(1);
    }
    u64::try_from(u128::from(amount).saturating_mul(gone) / span.max(1)).unwrap_or(u64::MAX)
}

// === impl Bucket ===

impl Bucket {
    fn of(allowance: &Allowance, sent: Sent, now: Instant) -> Self {
        let Allowance { kind, window, refill, limit, remaining, resets_in } = *allowance;
        let remaining = remaining.unwrap_or_default().min(limit.unwrap_or(u64::MAX));
        let resets_in = resets_in.or(window.map(Window::length)).map(|wait| wait.min(limits::QUOTA_RESET_MAX));
        let resets_at = resets_in.map(|wait| now + wait);
        let believed_until = resets_at.unwrap_or(now) + limits::QUOTA_BELIEVED;
        Self { kind, window, refill, limit, remaining, sent, learnt_at: now, resets_at, believed_until }
    }

    /// Takes the passing of a reset in; false once nothing is known any more.
    fn renew(&mut self, sent: &Sent, now: Instant) -> bool {
        if self.resets_at.is_some_and(|at| at <= now) {
            let Some(limit) = self.limit else { return false };
            (self.remaining, self.sent, self.learnt_at, self.resets_at) = (limit, *sent, now, None);
        }
        self.is_believed(now)
    }

    fn is_believed(&self, now: Instant) -> bool {
        now < self.believed_until
    }

    fn is_ample(&self, sent: &Sent, tokens: u64, cores: u64) -> bool {
        // One more for each core: what is left is shared in whole requests and tokens.
        let taken = self.spent(sent).saturating_add(self.need(tokens).max(1)).saturating_mul(cores);
        let Some(left) = self.remaining.checked_sub(taken) else { return false };
        self.limit.is_none_or(|limit| left.saturating_mul(limits::QUOTA_LOW_PART) >= limit)
    }

    /// What is left of it as its provider counts, without what was sent since; `None` after a reset to an unknown limit.
    fn level(&self, now: Instant) -> Option<u64> {
        let Some(resets_at) = self.resets_at else { return Some(self.remaining) };
        if resets_at <= now {
            return self.limit;
        }
        let Some(limit) = self.limit.filter(|_| self.refill == Refill::Gradual) else { return Some(self.remaining) };
        let span = resets_at.saturating_duration_since(self.learnt_at).as_micros().max(1);
        let gone = now.saturating_duration_since(self.learnt_at).as_micros();
        let back = part(limit.saturating_sub(self.remaining), gone, span);
        Some(self.remaining.saturating_add(back).min(limit))
    }

    /// What this core may still send of it.
    fn left(&self, sent: &Sent, cores: u64, now: Instant) -> Option<u64> {
        // After a reset that no dispatch has taken in yet, nothing has been sent of the new allowance.
        let spent = if self.resets_at.is_some_and(|at| at <= now) { 0 } else { self.spent(sent) };
        self.level(now).map(|level| (level / cores.max(1)).saturating_sub(spent))
    }

    /// What this core has sent since.
    fn spent(&self, sent: &Sent) -> u64 {
        match self.kind {
            Kind::Requests => sent.requests.saturating_sub(self.sent.requests),
            Kind::Tokens | Kind::InputTokens => sent.tokens.saturating_sub(self.sent.tokens),
            // How long answers will be, nobody knows.
            Kind::OutputTokens => 0,
        }
    }

    /// What a request with so many tokens takes of it.
    fn need(&self, tokens: u64) -> u64 {
        match self.kind {
            Kind::Requests | Kind::OutputTokens => 1,
            Kind::Tokens | Kind::InputTokens => tokens.max(1),
        }
    }

    /// Less than this, and other cores must know.
    fn floor(&self, cores: u64) -> u64 {
        match self.kind {
            Kind::Requests => cores,
            _ => self.limit.map_or(cores, |limit| cores.max(limit / limits::QUOTA_LOW_PART)),
        }
    }

    /// When its provider will count so much as left; a guess where it does not say.
    fn holds_at(&self, wanted: u64) -> Instant {
        let Some(resets_at) = self.resets_at else { return self.believed_until };
        let Some(limit) = self.limit.filter(|limit| self.refill == Refill::Gradual && wanted < *limit) else {
            return resets_at;
        };
        let span = resets_at.saturating_duration_since(self.learnt_at).as_micros();
        let missing = u128::from(wanted.saturating_sub(self.remaining));
        let wait = span.saturating_mul(missing).div_ceil(u128::from(limit.saturating_sub(self.remaining)).max(1));
        self.learnt_at + Duration::from_micros(u64::try_from(wait.min(span)).unwrap_or_default())
    }
}

impl Window {
    fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Month => 31 * 86_400,
        })
    }
}
