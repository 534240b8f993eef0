//! What one core knows of its lanes: who is halted, how much quota is left, how many requests are out, what answers looked like.
//!
//! Asked by `plan` before candidates are ordered, told by `failover` how every attempt went. What other cores must know at once goes to the
//! board; what scores are made of goes to the control plane twice a second.

mod affinity;
mod health;
mod hedges;
mod keys;
mod lane;
mod observe;
mod quota;
mod retries;

use crate::board::{Board, Halt, Halts, Scope, Seen, Watch};
use crate::domain::id::ProviderId;
use crate::domain::token::Usage;
use crate::providers::prompt_cache::PromptCache;
use crate::report::CoreReports;
use crate::routing::lane::LaneKey;
use crate::routing::observed::Sample;
use crate::routing::quota::Sent;
use crate::routing::standing::{Headroom, Standing, Why};
use crate::routing::terms::RoutingTerms;
use affinity::Warmth;
use health::{Ended, Health, Probes};
use hedges::HedgeBooks;
pub use hedges::Waste;
use lane::{Lane, Lanes};
use observe::Observations;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

pub use health::Leave;
pub use keys::Refused;
pub use lane::Known;
pub use retries::Retries;

/// One core's knowledge.
pub struct Steering {
    board: Arc<Board>,
    watch: RefCell<Watch>,
    lanes: Lanes,
    observations: Observations,
    /// What each tenant may still put on a second attempt.
    pub hedges: HedgeBooks,
    warmth: Warmth,
    health: Health,
    rotating: keys::Rotating,
    /// What may be tried again.
    pub retries: Retries,
}

/// An attempt under way; counted out when dropped.
pub struct Permit {
    lane: Rc<Lane>,
    began: Instant,
    probes: Option<Probes>,
    /// What had been sent on the lane with this attempt.
    sent: Sent,
    /// Whether it was sent although the lane was known to be short of quota: then its answer says how that stands now.
    under_quota_halt: bool,
    reach: Reach,
}

/// Whether a connection stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reach {
    /// One did, as far as anybody said.
    #[default]
    Reached,
    /// Nobody took it: the whole provider's affair.
    Refused,
    /// There was no address to try.
    Unknown,
}

impl Permit {
    /// No connection stood; `is_resolved` says that there were addresses to try.
    pub fn mark_unreachable(&mut self, is_resolved: bool) {
        self.reach = if is_resolved { Reach::Refused } else { Reach::Unknown };
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.lane.in_flight.set(self.lane.in_flight.get().saturating_sub(1));
    }
}

impl Steering {
    /// Nothing known.
    pub fn new(board: Arc<Board>) -> Self {
        board.enrol();
        Self {
            lanes: Lanes::default(),
            observations: Observations::default(),
            hedges: HedgeBooks::default(),
            warmth: Warmth::default(),
            health: Health::new(board.clone()),
            rotating: keys::Rotating::default(),
            retries: Retries::new(board.clone()),
            watch: RefCell::new(board.watch()),
            board,
        }
    }

    /// From now on these terms hold.
    pub fn adopt(&self, terms: &RoutingTerms) {
        self.health.adopt(terms.breaker);
    }

    /// All halts at this moment; load them once per exchange.
    pub fn halts(&self) -> Seen {
        self.watch.borrow_mut().look().clone()
    }

    /// Whether nothing at all is halted at this moment.
    #[inline]
    pub fn is_calm(&self) -> bool {
        self.watch.borrow_mut().look().is_empty()
    }

    /// How a lane stands. A probe is nobody's yet: who asks for [`Steering::leave`] first has it.
    pub fn standing(&self, halts: &Halts, lane: &LaneKey, now: Instant) -> Standing {
        halts.standing(lane, now)
    }

    /// Whether a lane may be asked now. Where it is half open, or its key is to be tried again, this claims that probe, on every core, for
    /// the attempt that begins next. `key_failed` says that a key was refused in this exchange: then no other dead one is risked.
    pub fn leave(&self, lane: &LaneKey, key_failed: bool, now: Instant) -> Leave {
        self.waive();
        if self.is_calm() {
            return Leave::Granted;
        }
        let halts = self.halts();
        match halts.standing(lane, now) {
            Standing::Free => Leave::Granted,
            Standing::KeyDue if key_failed => Leave::Halted,
            Standing::Probe | Standing::KeyDue => match self.health.claim(&halts, lane, now) {
                Some(probes) => {
                    self.health.keep(lane, probes);
                    Leave::Granted
                }
                None => Leave::Probing,
            },
            Standing::Halted { why: Why::Forced, .. } => Leave::Forbidden,
            Standing::Halted { why: Why::Breaker, .. } if halts.is_probed(lane, now) => Leave::Probing,
            Standing::Halted { why: Why::KeyRefused, .. } if halts.is_key_asked(lane, now) => Leave::Probing,
            Standing::Halted { .. } => Leave::Halted,
        }
    }

    /// Gives back what [`Steering::leave`] claimed for an attempt that does not come.
    pub fn waive(&self) {
        self.health.waive();
    }

    /// A provider takes connections again: one request may find out the rest.
    pub fn reachable(&self, provider: &ProviderId, now: Instant) {
        self.board.reachable(&Scope::Provider(provider.clone()), now);
    }

    /// Whether the cache of a lane is thought to hold a prefix: an answer from there used it within the cache's life.
    pub fn is_warm(&self, prefix: u64, lane: &LaneKey, now: Instant) -> bool {
        self.warmth.is_warm(prefix, lane, now)
    }

    /// A lane has answered a prompt with this prefix; `cache` says how its provider keeps prompts.
    pub fn warmed(&self, prefix: u64, lane: &LaneKey, cache: PromptCache, usage: &Usage, now: Instant) {
        self.warmth.warmed(prefix, lane, cache, usage, now);
    }

    /// What this core has sent on a lane: what is left of its quota for a request with so many tokens, as its provider's fields said, and
    /// how many attempts are under way.
    pub fn load(&self, key: &LaneKey, known: &Known, tokens: u64, now: Instant) -> (Headroom, u32) {
        let Some(lane) = self.lanes.known(key, known) else { return (Headroom::default(), 0) };
        (lane.quota.borrow().headroom(tokens, self.cores(), now), lane.in_flight.get())
    }

    /// How many attempts are under way on a lane, if its quota surely has room for a request with so many tokens.
    #[inline]
    pub fn with_room(&self, key: &LaneKey, known: &Known, tokens: u64) -> Option<u32> {
        let Some(lane) = self.lanes.known(key, known) else { return Some(0) };
        lane.quota.borrow().is_ample(tokens, self.cores()).then(|| lane.in_flight.get())
    }

    /// An attempt with a prompt of so many tokens begins. It is the probe of a lane that is half open, unless another attempt is.
    pub fn begin(&self, key: &LaneKey, known: &Known, tokens: u64, now: Instant) -> Permit {
        let is_calm = self.is_calm();
        let probes = self.health.take_kept(key).or_else(|| match is_calm {
            true => None,
            false => self.health.claim(&self.halts(), key, now),
        });
        let lane = self.lanes.entry(key, known, now).clone();
        lane.in_flight.set(lane.in_flight.get() + 1);
        let under_quota_halt = !is_calm && !lane.quota.borrow().is_unknown(now) && self.is_short(key, now);
        let sent = lane.quota.borrow_mut().dispatch(tokens, now);
        Permit { lane, began: now, probes, sent, under_quota_halt, reach: Reach::default() }
    }

    /// An attempt has ended.
    pub fn close(&self, mut permit: Permit, lane: &LaneKey, sample: &Sample, now: Instant) {
        let probes = permit.probes.take().filter(|probes| !probes.is_empty());
        let ended = Ended { verdict: sample.verdict, tenant: &sample.tenant, began: permit.began, reach: permit.reach };
        self.health.close(&self.halts(), (lane, &permit.lane), probes, &ended, now);
        self.observations.record(lane, &permit.lane.observed, sample);
    }

    /// A lane or a credential was told to wait: others go first until then, on every core. A longer wait that is known stands.
    pub fn park(&self, scope: &Scope, why: Why, until: Instant, now: Instant) {
        let longer = |halt: &Halt| now < halt.until && halt.until > until && halt.why == why;
        if !self.halts().get(scope).is_some_and(longer) {
            self.board.halt(scope, &Halt { why, until }, now);
        }
    }

    /// Hands what was observed to the control plane, if it is time.
    pub fn hand_over_due(&self, reports: &CoreReports, now: Instant) {
        self.observations.hand_over_due(reports, now);
    }

    /// Hands over what is left, at the end of this core.
    pub fn hand_over(&self, reports: &CoreReports) {
        self.observations.hand_over(reports);
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
