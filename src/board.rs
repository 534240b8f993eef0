//! What cores tell each other at once: which providers, credentials and lanes are halted, until when, and why.
//!
//! One immutable value behind an atomic pointer, like the snapshot, but written by whoever finds out. A core that trips a breaker or is told
//! to wait replaces the value; every other core sees it at its next request, also with the control plane dead. Writes are rare (a halt, a
//! probe, a recovery), reads are one atomic load per exchange. Bounded by [`limits::HALTS_MAX`]: what has ended is forgotten first.

use crate::domain::id::{CredentialId, ProviderId};
use crate::limits;
use crate::routing::lane::LaneKey;
use crate::routing::standing::Why;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// What a halt holds for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Every lane of a provider.
    Provider(ProviderId),
    /// Every lane of a credential.
    Credential(CredentialId),
    /// One lane.
    Lane(LaneKey),
}

/// One halt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// Why.
    pub why: Why,
    /// Until when.
    pub until: Instant,
}

/// All halts at one moment.
pub type Halts = HashMap<Scope, Halt>;

/// The board.
#[derive(Default)]
pub struct Board {
    halts: ArcSwap<Halts>,
}

impl Board {
    /// All halts now.
    pub fn halts(&self) -> Arc<Halts> {
        self.halts.load_full()
    }

    /// Halts a scope, or changes its halt.
    pub fn halt(&self, scope: &Scope, halt: &Halt, now: Instant) {
        self.halts.rcu(|halts| {
            let mut halts: Halts = halts.as_ref().clone();
            if halts.len() >= limits::HALTS_MAX {
                halts.retain(|_, halt| now < halt.until);
            }
            if halts.len() < limits::HALTS_MAX || halts.contains_key(scope) {
                halts.insert(scope.clone(), halt.clone());
            }
            halts
        });
    }

    /// Lifts a halt.
    pub fn lift(&self, scope: &Scope) {
        if self.halts.load().contains_key(scope) {
            self.halts.rcu(|halts| {
                let mut halts: Halts = halts.as_ref().clone();
                halts.remove(scope);
                halts
            });
        }
    }
}
