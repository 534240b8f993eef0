//! The failures that this core has seen lately, and the probes that it has claimed.
//!
//! What is counted here stays here; what follows from it (a breaker opens, a probe failed, an answer closes it) goes to the board, where
//! every core sees it at its next request. Bounded by [`limits::TALLIES_MAX`]: a lane that failed nowhere lately has no tally.

use super::Reach;
use super::lane::Lane;
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
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// What one core knows of failures.
pub struct Health {
    board: Arc<Board>,
    terms: Cell<BreakerTerms>,
    lanes: RefCell<Map<LaneKey, Counted<Tally>>>,
    providers: RefCell<Map<ProviderId, Rc<ProviderCount>>>,
    /// A probe that was claimed for the attempt that is about to begin.
    leave: RefCell<Option<(LaneKey, Probes)>>,
    dice: RefCell<fastrand::Rng>,
}

/// What is counted of a provider as a whole; its lanes hold it.
pub type ProviderCount = RefCell<Counted<ProviderTally>>;

/// A tally, and after how many resets by the owner it was begun.
pub struct Counted<T> {
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
    #[inline]
    pub fn waive(&self) {
        if self.leave.borrow().is_some() {
            drop(self.leave.take());
        }
    }

    /// The probes that were kept for this lane. Those kept for another one are given back.
    pub fn take_kept(&self, lane: &LaneKey) -> Option<Probes> {
        if self.leave.borrow().is_none() {
            return None;
        }
        self.leave.take().filter(|(kept, _)| kept == lane).map(|(_, probes)| probes)
    }

    /// An attempt has ended; `probes` are those that it had claimed.
    pub fn close(
        &self,
        halts: &Halts,
        (lane, known): (&LaneKey, &Lane),
        probes: Option<Probes>,
        ended: &Ended<'_>,
        now: Instant,
    ) {
        match (ended.verdict, probes) {
            (Verdict::Bad, None) if ended.reach == Reach::Refused => self.unreachable(halts, lane, known, now),
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
                self.count(halts, lane, known, ended, now);
            }
        }
        if ended.verdict == Verdict::Good && halts.has_breakers() {
            self.close_older(halts, lane, ended.began, now);
        }
    }

    /// No connection to a provider stood.
    fn unreachable(&self, halts: &Halts, lane: &LaneKey, known: &Lane, now: Instant) {
        let Some(count) = self.provider_count(halts, &lane.provider, known, now) else { return };
        let opens = count.borrow_mut().tally.note_unreachable(&self.terms.get(), now);
        if opens {
            self.trip(&Scope::Provider(lane.provider.clone()), Cause::Unreachable, now);
        }
    }

    /// The count of a lane's provider, begun anew if the owner has had it forgotten; `None` when there is no room for another one.
    fn provider_count<'k>(
        &self,
        halts: &Halts,
        provider: &ProviderId,
        known: &'k Lane,
        now: Instant,
    ) -> Option<&'k ProviderCount> {
        if known.provider.get().is_none() {
            self.find_provider_count(provider, known, now);
        }
        let count = known.provider.get()?;
        let resets = halts.resets(provider);
        if count.borrow().resets != resets {
            count.replace(Counted { tally: ProviderTally::default(), resets });
        }
        Some(count)
    }

    /// Lets a lane hold its provider's count, if there is one or room for one.
    #[cold]
    #[inline(never)]
    fn find_provider_count(&self, provider: &ProviderId, known: &Lane, now: Instant) {
        let mut providers = self.providers.borrow_mut();
        if !providers.contains_key(provider) && providers.len() >= limits::TALLIES_MAX {
            providers.retain(|_, count| Rc::strong_count(count) > 1 || !count.borrow().tally.is_clean(now));
            if providers.len() >= limits::TALLIES_MAX {
                return;
            }
        }
        let new = || Rc::new(RefCell::new(Counted { tally: ProviderTally::default(), resets: 0 }));
        let count = providers.entry(provider.clone()).or_insert_with(new);
        known.provider.get_or_init(|| count.clone());
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

    fn count(&self, halts: &Halts, lane: &LaneKey, known: &Lane, ended: &Ended<'_>, now: Instant) {
        if !matches!(ended.verdict, Verdict::Good | Verdict::Bad) {
            return;
        }
        if ended.verdict == Verdict::Bad || !self.lanes.borrow().is_empty() {
            self.count_lane(halts.resets(&lane.provider), lane, ended.verdict, now);
        }
        let Some(count) = self.provider_count(halts, &lane.provider, known, now) else { return };
        let opens = count.borrow_mut().tally.note(ended.verdict, lane, ended.tenant, &self.terms.get(), now);
        if opens {
            self.trip(&Scope::Provider(lane.provider.clone()), Cause::Failures, now);
        }
    }

    /// Counts for one lane, where it or another one has failed lately.
    #[cold]
    #[inline(never)]
    fn count_lane(&self, resets: u64, lane: &LaneKey, verdict: Verdict, now: Instant) {
        let mut lanes = self.lanes.borrow_mut();
        if verdict != Verdict::Bad && !lanes.contains_key(lane) {
            return;
        }
        let tally = counted(&mut lanes, lane, resets, now);
        let opens = tally.is_some_and(|tally| tally.note(verdict, &self.terms.get(), now));
        let is_clean = verdict == Verdict::Good && lanes.get_mut(lane).is_some_and(|known| known.tally.is_clean(now));
        if opens || is_clean {
            lanes.remove(lane);
        }
        if opens {
            self.trip(&Scope::Lane(lane.clone()), Cause::Failures, now);
        }
    }

    #[cold]
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

/// The tally of a lane, begun anew if the owner has had it forgotten; `None` when there is no room for another one.
fn counted<'t>(
    tallies: &'t mut Map<LaneKey, Counted<Tally>>,
    lane: &LaneKey,
    resets: u64,
    now: Instant,
) -> Option<&'t mut Tally> {
    let new = || Counted { tally: Tally::new(now), resets };
    if !tallies.contains_key(lane) {
        if tallies.len() >= limits::TALLIES_MAX {
            tallies.retain(|_, counted| !counted.tally.is_clean(now));
        }
        if tallies.len() >= limits::TALLIES_MAX {
            return None;
        }
        tallies.insert(lane.clone(), new());
    }
    let counted = tallies.get_mut(lane)?;
    if counted.resets != resets {
        *counted = new();
    }
    Some(&mut counted.tally)
}
