//! What one core knows of its lanes: who is halted, how much quota is left, how many requests are out, what answers looked like.
//!
//! Asked by `plan` before candidates are ordered, told by `failover` how every attempt went. What other cores must know at once goes to the
//! board; what scores are made of goes to the control plane twice a second.

mod observe;

use crate::board::{Board, Halt, Halts, Scope};
use crate::domain::id::CredentialId;
use crate::routing::lane::LaneKey;
use crate::routing::observed::Sample;
use crate::routing::standing::{Headroom, Standing, Why};
use observe::Observations;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// One core's knowledge.
pub struct Steering {
    board: Arc<Board>,
    lanes: RefCell<HashMap<LaneKey, Rc<Lane>>>,
    observations: Observations,
}

/// What a core knows of one lane.
#[derive(Default)]
struct Lane {
    in_flight: Cell<u32>,
}

/// An attempt under way; counted out when dropped.
pub struct Permit {
    lane: Rc<Lane>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.lane.in_flight.set(self.lane.in_flight.get().saturating_sub(1));
    }
}

impl Steering {
    /// Nothing known.
    pub fn new(board: Arc<Board>) -> Self {
        Self { board, lanes: RefCell::default(), observations: Observations::default() }
    }

    /// All halts at this moment; load them once per exchange.
    pub fn halts(&self) -> Arc<Halts> {
        self.board.halts()
    }

    /// How a lane stands.
    pub fn standing(&self, halts: &Halts, lane: &LaneKey, now: Instant) -> Standing {
        let credential = lane.credential.map(Scope::Credential);
        let scopes = [Some(Scope::Provider(lane.provider.clone())), credential, Some(Scope::Lane(lane.clone()))];
        let halted = scopes.iter().flatten().filter_map(|scope| halts.get(scope)).filter(|halt| now < halt.until);
        match halted.max_by_key(|halt| halt.until) {
            Some(Halt { why, until }) => Standing::Halted { why: *why, until: *until },
            None => Standing::Free,
        }
    }

    /// What is left of a lane's quota, as its provider's headers said.
    pub fn headroom(&self, _lane: &LaneKey, _tokens: u64, _now: Instant) -> Headroom {
        Headroom::default()
    }

    /// Reads the rate-limit fields of an answer.
    pub fn learn_quota(&self, _lane: &LaneKey, _fields: &[(String, String)], _now: Instant) {}

    /// Whether the cache of a lane is thought to hold a prefix: an answer from there used it within the cache's life.
    pub fn is_warm(&self, _prefix: u64, _lane: &LaneKey, _now: Instant) -> bool {
        false
    }

    /// A lane has answered a prompt with this prefix.
    pub fn warmed(&self, _prefix: u64, _lane: &LaneKey, _now: Instant) {}

    /// Attempts under way on a lane, on this core.
    pub fn in_flight(&self, lane: &LaneKey) -> u32 {
        self.lanes.borrow().get(lane).map_or(0, |lane| lane.in_flight.get())
    }

    /// An attempt begins.
    pub fn begin(&self, lane: &LaneKey) -> Permit {
        let lane = self.lanes.borrow_mut().entry(lane.clone()).or_default().clone();
        lane.in_flight.set(lane.in_flight.get() + 1);
        Permit { lane }
    }

    /// An attempt has ended.
    pub fn close(&self, permit: Permit, lane: &LaneKey, sample: &Sample, _now: Instant) {
        drop(permit);
        self.observations.record(lane, sample);
    }

    /// A credential was told to wait: others go first until then, on every core.
    pub fn park(&self, credential: CredentialId, why: Why, until: Instant, now: Instant) {
        self.board.halt(&Scope::Credential(credential), &Halt { why, until }, now);
    }

    /// What was observed since the last call, for the control plane.
    pub fn hand_over(&self) -> Vec<(LaneKey, crate::routing::observed::Observed)> {
        self.observations.take()
    }
}
