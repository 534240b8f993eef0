//! What one core knows of one lane, all of it in one place, and the hold on it that a candidate has.
//!
//! A lane is found by its name once, at the first attempt of whoever holds a [`Known`]; from then on nothing is hashed and no name compared.
//! A hold keeps its entry in the table, and holds are as few as the candidates that a core keeps at hand.

use super::health::ProviderCount;
use super::observe::Place;
use crate::domain::map::Map;
use crate::limits;
use crate::routing::lane::LaneKey;
use crate::routing::quota::Quota;
use crate::routing::retry_budget::RetryBudget;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Instant;

/// What a core knows of one lane.
#[derive(Default)]
pub struct Lane {
    /// Attempts under way.
    pub(super) in_flight: Cell<u32>,
    /// Where its samples are gathered.
    pub(super) observed: Cell<Place>,
    /// What is left of its quota.
    pub(super) quota: RefCell<Quota>,
    /// What its provider's failures are counted in.
    pub(super) provider: OnceCell<Rc<ProviderCount>>,
}

/// A hold on what a core knows of a lane, empty until it is first needed. The same name leads every hold to the same entry.
#[derive(Clone, Default)]
pub struct Known {
    pub(super) lane: OnceCell<Rc<Lane>>,
    /// What the tenant may repeat when the lane's provider fails.
    pub(super) retries: OnceCell<Rc<RefCell<RetryBudget>>>,
}

/// All lanes of a core, by name.
#[derive(Default)]
pub struct Lanes(RefCell<Map<LaneKey, Rc<Lane>>>);

// === impl Lanes ===

impl Lanes {
    /// What is known of a lane, if there is anything.
    #[inline]
    pub fn known<'k>(&self, key: &LaneKey, known: &'k Known) -> Option<&'k Lane> {
        if known.lane.get().is_none() {
            self.find(key, known);
        }
        known.lane.get().map(|lane| &**lane)
    }

    /// The entry of a lane, made where there was none.
    #[inline]
    pub fn entry<'k>(&self, key: &LaneKey, known: &'k Known, now: Instant) -> &'k Rc<Lane> {
        known.lane.get_or_init(|| self.enter(key, now))
    }

    #[cold]
    #[inline(never)]
    fn find(&self, key: &LaneKey, known: &Known) {
        if let Some(lane) = self.0.borrow().get(key) {
            known.lane.get_or_init(|| lane.clone());
        }
    }

    /// Of lanes beyond [`limits::LANES_MAX`] in use nothing is remembered.
    #[cold]
    #[inline(never)]
    fn enter(&self, key: &LaneKey, now: Instant) -> Rc<Lane> {
        let mut lanes = self.0.borrow_mut();
        if let Some(lane) = lanes.get(key) {
            return lane.clone();
        }
        if lanes.len() >= limits::LANES_MAX {
            lanes.retain(|_, lane| Rc::strong_count(lane) > 1 || !lane.quota.borrow().is_unknown(now));
        }
        if lanes.len() >= limits::LANES_MAX {
            return Rc::default();
        }
        lanes.entry(key.clone()).or_default().clone()
    }
}
