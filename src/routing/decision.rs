//! One decision, whole: what was asked for, who could have served it, why they stood in this order, and what came of it.
//!
//! Facts only, never text of a prompt or an answer (rule R1): enough to explain a decision, and to replay it under another policy.

use super::lane::LaneKey;
use super::need::{Need, Rejection};
use super::policy::Policy;
use super::terms::Goal;
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, RequestId, TenantId};
use crate::domain::money::Money;
use std::sync::Arc;

/// One decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The exchange.
    pub id: RequestId,
    /// Who asked.
    pub tenant: TenantId,
    /// With which access key.
    pub access_key: AccessKeyId,
    /// When it began.
    pub at: UnixMillis,
    /// On which core.
    pub core: usize,
    /// The model's name as asked for.
    pub model: Arc<str>,
    /// The category that a rule for `auto` found.
    pub category: Option<Sorted>,
    /// What ordered the candidates.
    pub policy: Policy,
    /// What the choice was to be good at.
    pub goal: Goal,
    /// What the request needed.
    pub need: Need,
    /// Whether the first candidate is not the one that looks best, so that something is learnt.
    pub exploration: bool,
    /// Every candidate, in the order in which they were to be tried; rejected ones last.
    pub candidates: Vec<Considered>,
    /// Attempts made, in order.
    pub attempts: Vec<Attempted>,
    /// Where our own time went.
    pub phases: Phases,
    /// The status that the client got.
    pub status: u16,
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Sorted {
    /// The category.
    pub category: Arc<str>,
    /// How sure that is, 0 to 1.
    pub confidence: f64,
}

/// One candidate as it was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Considered {
    /// Which lane.
    pub lane: LaneKey,
    /// What the policy made of it; more is better.
    pub score: f64,
    /// What it was expected to cost; `None` where no price is known.
    pub cost: Option<Money>,
    /// How long it was expected to take to the first byte, microseconds.
    pub latency_us: Option<u32>,
    /// Share of attempts that fail there, 0 to 1.
    pub error_rate: Option<f64>,
    /// Whether the prompt's beginning was thought to be in its cache.
    pub warm: bool,
    /// The part of its credential in a rotation: `fresh`, `outgoing` or `standby`.
    pub key_role: Option<&'static str>,
    /// Why it was not to be tried, if it was not.
    pub rejection: Option<Rejection>,
}

/// One attempt as it went. Durations in microseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempted {
    /// Which lane.
    pub lane: LaneKey,
    /// How it ended: `completed`, `refused`, …
    pub outcome: &'static str,
    /// The provider's status, 0 if none came.
    pub status: u16,
    /// Whether the provider refused the key; then another key of that provider went next, if there was one.
    pub key_refused: bool,
    /// Until the connection stood; 0 for a reused one.
    pub connect_us: u32,
    /// The part of it that TLS took.
    pub tls_us: u32,
    /// To the answer's first byte.
    pub first_byte_us: u32,
    /// To the first content of a stream; 0 if none came.
    pub first_token_us: u32,
    /// In all.
    pub total_us: u32,
    /// What it cost.
    pub cost: Option<Money>,
}

// === impl Considered ===

impl Considered {
    /// A lane of which nothing is said yet.
    pub fn of(lane: LaneKey) -> Self {
        let (score, cost, latency_us, error_rate) = (0.0, None, None, None);
        Self { lane, score, cost, latency_us, error_rate, warm: false, key_role: None, rejection: None }
    }
}

// === impl Decision ===

impl Decision {
    /// The candidate that was asked first; the one that was to be, if none was.
    pub fn chosen(&self) -> Option<&Considered> {
        let asked = self.attempts.first().map(|attempt| &attempt.lane);
        let asked = asked.and_then(|lane| self.candidates.iter().find(|candidate| candidate.lane == *lane));
        asked.or_else(|| self.candidates.first().filter(|candidate| candidate.rejection.is_none()))
    }

    /// What all attempts cost; `None` where no price is known of any.
    pub fn cost(&self) -> Option<Money> {
        let mut costs = self.attempts.iter().filter_map(|attempt| attempt.cost).peekable();
        costs.peek()?;
        Some(costs.sum())
    }

    /// To the first byte of the answer that the client got, from when its attempt began; `None` if there was none. Microseconds.
    pub fn first_byte_us(&self) -> Option<u32> {
        let answered = self.attempts.iter().rev().find(|attempt| attempt.outcome != "superseded");
        answered.map(|attempt| attempt.first_byte_us).filter(|us| *us > 0)
    }
}

/// Where the time of an exchange went that was our own, microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// From the first bytes of the head, as we saw them, to the parsed head.
    pub queue_us: u32,
    /// Finding the access key.
    pub auth_us: u32,
    /// Reading the body, the client's time included.
    pub read_us: u32,
    /// Understanding it.
    pub parse_us: u32,
    /// Ordering the candidates.
    pub plan_us: u32,
    /// All the rest of our own time: requests and answers written, passed on and translated.
    pub translate_us: u32,
    /// Sending the answer, the client's time included.
    pub flush_us: u32,
}
