//! The failures that this core has seen lately, and the probes that it has claimed.
//!
//! What is counted here stays here; what follows from it (a breaker opens, a probe failed, an answer closes it) goes to the board, where
//! every core sees it at its next request. Bounded by [`limits::TALLIES_MAX`]: a lane that failed nowhere lately has no tally.

use super::Reach;
use crate::board::{Board, Halts, Scope};
use crate::domain::id::{ProviderId, TenantId};
use crate::domain::map::Map;
use crate::limits;
use crate::routing::breaker::{Breaker, Cause, ProviderTally, Tally};
use crate::routing::key_pause::KeyPause;
use crate::routing::lane::LaneKey;
use crate::routing::observed::Verdict;
use crate::routing::terms::BreakerTerms;
use std::cell::{Cell, RefCell};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Instant;

/// What one core knows of failures.
pub struct Health {
    board: Arc<Board>,
    terms: Cell<BreakerTerms>,
    lanes: RefCell<Map<LaneKey, Counted<Tally>>>,
    providers: RefCell<Map<ProviderId, Counted<ProviderTally>>>,
    /// A probe that was claimed for the attempt that is about to begin.
    leave: RefCell<Option<(LaneKey, Probes)>>,
    dice: RefCell<fastrand::Rng>,
}

/// A tally, and after how many resets by the owner it was begun.
struct Counted<T> {
    tally: T,
    resets: u64,
}

/// Probes that one attempt has claimed; given back when dropped, so that a request that is cut holds up nobody.
pub struct Probes {
    board: Arc<Board>,
    /// Of breakers.
    scopes: Vec<Scope>,
    /// Of keys that were refused.
    keys: Vec<Scope>,
}

impl Probes {
    /// Whether no breaker waits for the outcome.
    pub fn is_empty(&self) -> bool {
        self.scopes.is_empty()
    }

    /// The breakers' scopes; from now on it is the caller's business what becomes of them.
    fn spend(mut self) -> Vec<Scope> {
        std::mem::take(&mut self.scopes)
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        let now = Instant::now();
        self.scopes.iter().for_each(|scope| self.board.probe_dropped(scope, now));
        // What was found out of a key is on the board by other ways; then this changes nothing.
        self.keys.iter().for_each(|scope| self.board.key_probe_dropped(scope, now));
    }
}

/// Whether a lane may be asked at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It may.
    Granted,
    /// It is halted: others first.
    Halted,
    /// Another request is finding out whether it lives: others first.
    Probing,
    /// The owner halted its provider: it is not to be asked at all.
    Forbidden,
}

impl Health {
    /// Nothing seen.
    pub fn new(board: Arc<Board>) -> Self {
        Self {
            board,
            terms: Cell::default(),
            lanes: RefCell::default(),
            providers: RefCell::default(),
            leave: RefCell::default(),
            dice: RefCell::new(fastrand::Rng::new()),
        }
    }

    /// From now on these terms hold.
    pub fn adopt(&self, terms: BreakerTerms) {
        self.terms.set(terms);
    }

    /// Claims what probes a lane needs; `None` when another request has one of them.
    pub fn claim(&self, halts: &Halts, lane: &LaneKey, now: Instant) -> Option<Probes> {
        let mut probes = Probes { board: self.board.clone(), scopes: Vec::new(), keys: Vec::new() };
        for scope in breaker_scopes(lane) {
            if matches!(halts.breaker(&scope, now), Breaker::HalfOpen(_)) {
                if !self.board.claim(&scope, now) {
                    return None;
                }
                probes.scopes.push(scope);
            }
        }
        for scope in key_scopes(lane) {
            if matches!(halts.key(&scope, now), Some(KeyPause::Due(_))) {
                if !self.board.claim_key(&scope, now) {
                    return None;
                }
                probes.keys.push(scope);
            }
        }
        Some(probes)
    }

    /// Keeps claimed probes for the attempt that begins next; an earlier claim that nothing came of is given back.
    pub fn keep(&self, lane: &LaneKey, probes: Probes) {
        self.leave.replace(Some((lane.clone(), probes)));
    }

    /// Gives back what was kept for an attempt that did not come.
    pub fn waive(&self) {
        self.leave.take();
    }

    /// The probes that were kept for this lane. Those kept for another one are given back.
    pub fn take_kept(&self, lane: &LaneKey) -> Option<Probes> {
        self.leave.take().filter(|(kept, _)| kept == lane).map(|(_, probes)| probes)
    }

    /// An attempt has ended; `probes` are those that it had claimed.
    pub fn close(&self, halts: &Halts, lane: &LaneKey, probes: Option<Probes>, ended: &Ended<'_>, now: Instant) {
        match (ended.verdict, probes) {
            (Verdict::Bad, None) if ended.reach == Reach::Refused => self.unreachable(halts, &lane.provider, now),
            (Verdict::Bad, probes) if ended.reach == Reach::Unknown => drop(probes),
            // Dropped: the next request may be the probe.
            (Verdict::Neutral, probes) => drop(probes),
            (Verdict::Bad, Some(probes)) => {
                let draw = self.dice.borrow_mut().f64();
                let scopes = probes.spend();
                scopes.iter().for_each(|scope| self.board.probe_failed(scope, &self.terms.get(), draw, now));
            }
            (_, probes) => {
                // A rate limit is an answer, too: the provider lives.
                let scopes = probes.map(Probes::spend).unwrap_or_default();
                scopes.iter().for_each(|scope| self.board.close(scope, now));
                self.count(halts, lane, ended, now);
            }
        }
        if ended.verdict == Verdict::Good && halts.has_breakers() {
            self.close_older(halts, lane, ended.began, now);
        }
    }

    /// No connection to a provider stood.
    fn unreachable(&self, halts: &Halts, provider: &ProviderId, now: Instant) {
        let resets = halts.resets(provider);
        let mut providers = self.providers.borrow_mut();
        let Some(tally) = counted(&mut providers, provider, resets, ProviderTally::default, |t| t.is_clean(now)) else {
            return;
        };
        if tally.note_unreachable(&self.terms.get(), now) {
            self.trip(&Scope::Provider(provider.clone()), Cause::Unreachable, now);
        }
    }

    /// An answer closes every breaker that was open already when the question was asked. An answer to an older question does not: a
    /// provider that fails every fifth request would never be left alone.
    fn close_older(&self, halts: &Halts, lane: &LaneKey, began: Instant, now: Instant) {
        for scope in breaker_scopes(lane) {
            if halts.breaker(&scope, now).opening().is_some_and(|opening| opening.since <= began) {
                self.board.close(&scope, now);
            }
        }
    }

    fn count(&self, halts: &Halts, lane: &LaneKey, ended: &Ended<'_>, now: Instant) {
        let (verdict, terms) = (ended.verdict, self.terms.get());
        if !matches!(verdict, Verdict::Good | Verdict::Bad) {
            return;
        }
        let resets = halts.resets(&lane.provider);
        let mut lanes = self.lanes.borrow_mut();
        if verdict == Verdict::Bad || lanes.contains_key(lane) {
            let tally = counted(&mut lanes, lane, resets, || Tally::new(now), |tally| tally.is_clean(now));
            let opens = tally.is_some_and(|tally| tally.note(verdict, &terms, now));
            let is_clean =
                verdict == Verdict::Good && lanes.get_mut(lane).is_some_and(|known| known.tally.is_clean(now));
            if opens || is_clean {
                lanes.remove(lane);
            }
            if opens {
                self.trip(&Scope::Lane(lane.clone()), Cause::Failures, now);
            }
        }
        let mut providers = self.providers.borrow_mut();
        let tally = counted(&mut providers, &lane.provider, resets, ProviderTally::default, |t| t.is_clean(now));
        if tally.is_some_and(|tally| tally.note(verdict, lane, ended.tenant, &terms, now)) {
            self.trip(&Scope::Provider(lane.provider.clone()), Cause::Failures, now);
        }
    }

    fn trip(&self, scope: &Scope, cause: Cause, now: Instant) {
        let draw = self.dice.borrow_mut().f64();
        self.board.trip(scope, cause, &self.terms.get(), draw, now);
    }
}

/// What is told of an attempt that has ended.
pub struct Ended<'a> {
    /// How it speaks of its provider.
    pub verdict: Verdict,
    /// Who asked.
    pub tenant: &'a TenantId,
    /// When it began.
    pub began: Instant,
    /// Whether a connection stood.
    pub reach: Reach,
}

/// The breakers that a lane stands behind.
fn breaker_scopes(lane: &LaneKey) -> [Scope; 2] {
    [Scope::Provider(lane.provider.clone()), Scope::Lane(lane.clone())]
}

/// What a lane's key may have been refused for: everything, or this model alone.
pub(super) fn key_scopes(lane: &LaneKey) -> impl Iterator<Item = Scope> {
    [lane.credential.map(Scope::Credential), Some(Scope::Lane(lane.clone()))].into_iter().flatten()
}

/// The tally of a key, begun anew if the owner has had it forgotten; `None` when there is no room for another one.
fn counted<'t, K: Clone + Eq + Hash, T>(
    tallies: &'t mut Map<K, Counted<T>>,
    key: &K,
    resets: u64,
    new: impl Fn() -> T,
    mut is_clean: impl FnMut(&mut T) -> bool,
) -> Option<&'t mut T> {
    if !tallies.contains_key(key) {
        if tallies.len() >= limits::TALLIES_MAX {
            tallies.retain(|_, counted| !is_clean(&mut counted.tally));
        }
        if tallies.len() >= limits::TALLIES_MAX {
            return None;
        }
        tallies.insert(key.clone(), Counted { tally: new(), resets });
    }
    let counted = tallies.get_mut(key)?;
    if counted.resets != resets {
        *counted = Counted { tally: new(), resets };
    }
    Some(&mut counted.tally)
}
