//! How a lane stands right now: free, halted, or open for one request that finds out; and how much of its quota is left.

use std::time::Instant;

/// Why a lane is halted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// Its breaker is open.
    Breaker,
    /// The owner opened it.
    Forced,
    /// The provider said 429.
    RateLimit,
    /// Its own headers say that nothing is left until they reset.
    Quota,
    /// Its own headers say that so little is left that the cores together could overrun it: others go first.
    QuotaLow,
    /// The account has no money left.
    NoCredit,
    /// The provider refused the key.
    KeyRefused,
}

impl Why {
    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Breaker => "breaker",
            Self::Forced => "forced",
            Self::RateLimit => "rate_limit",
            Self::Quota => "quota",
            Self::QuotaLow => "quota_low",
            Self::NoCredit => "no_credit",
            Self::KeyRefused => "key_refused",
        }
    }
}

/// How a lane stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may be asked.
    Free,
    /// Half open: one request may find out whether it lives.
    Probe,
    /// Its key was refused a while ago: one request may find out whether it is good again.
    KeyDue,
    /// It is not to be asked before `until`.
    Halted {
        /// Why.
        why: Why,
        /// Until when.
        until: Instant,
    },
}

/// What a provider's own headers say is left of a lane's quota.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Headroom {
    /// The smallest share left over its limits of requests and tokens, 0 to 1; `None` where nothing is known.
    pub share: Option<f64>,
    /// Whether this request fits what is left; `None` where nothing is known.
    pub fits: Option<bool>,
    /// When the shortest of them resets.
    pub resets_at: Option<Instant>,
}
