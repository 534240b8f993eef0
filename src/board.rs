//! What cores tell each other at once: which providers, credentials and lanes are halted, until when, and why; which breakers are open; and
//! which keys were refused.
//!
//! One immutable value behind an atomic pointer, like the snapshot, but written by whoever finds out. A core that trips a breaker or is told
//! to wait replaces the value; every other core sees it at its next request, also with the control plane dead. Writes are rare (a halt, a
//! probe, a recovery), reads are one atomic load per exchange. A probe is claimed by such a replacement, too, so of two cores that want it
//! exactly one gets it. Bounded by [`limits::HALTS_MAX`]: what has ended is forgotten first.

use crate::domain::id::{CredentialId, ProviderId};
use crate::limits;
use crate::routing::breaker::{Breaker, Cause};
use crate::routing::key_pause::KeyPause;
use crate::routing::lane::LaneKey;
use crate::routing::standing::{Standing, Why};
use crate::routing::terms::BreakerTerms;
use arc_swap::{ArcSwap, Cache, Guard};
use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

impl Scope {
    /// Whose it is, where the scope itself says.
    pub fn provider(&self) -> Option<&ProviderId> {
        match self {
            Self::Provider(provider) => Some(provider),
            Self::Lane(lane) => Some(&lane.provider),
            Self::Credential(_) => None,
        }
    }
}

/// One halt that ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// Why.
    pub why: Why,
    /// Until when.
    pub until: Instant,
}

/// Everything that is halted at one moment.
#[derive(Clone, Debug, Default)]
pub struct Halts {
    /// What was told to wait, or must.
    waits: HashMap<Scope, Halt>,
    /// Breakers that are not closed.
    breakers: HashMap<Scope, Breaker>,
    /// Keys that were refused: of a credential, or of one lane where only that was refused.
    keys: HashMap<Scope, KeyPause>,
    /// Providers that the owner halted.
    forced: HashSet<ProviderId>,
    /// How often the owner had a provider's failures forgotten.
    resets: HashMap<ProviderId, u64>,
    /// Whether anything is halted: kept apart, since every request asks.
    any: bool,
}

/// The board.
#[derive(Default)]
pub struct Board {
    halts: ArcSwap<Halts>,
    cores: AtomicUsize,
}

/// All halts in the hands of one core: the inner count is shared with other cores and moves once a change, the outer one is the core's own.
pub type Seen = Rc<Arc<Halts>>;

/// The board as one core looks at it again and again: it touches what cores share only when a halt has changed.
pub struct Watch {
    cache: Cache<Shared, Arc<Halts>>,
    seen: Seen,
}

/// Where the halts of a board are.
struct Shared(Arc<Board>);

impl Deref for Shared {
    type Target = ArcSwap<Halts>;

    fn deref(&self) -> &ArcSwap<Halts> {
        &self.0.halts
    }
}

// === impl Watch ===

impl Watch {
    /// All halts now.
    #[inline]
    pub fn look(&mut self) -> &Seen {
        let latest = self.cache.load();
        if !Arc::ptr_eq(latest, &self.seen) {
            self.seen = Rc::new(latest.clone());
        }
        &self.seen
    }
}

// === impl Halts ===

impl Halts {
    /// Whether nothing is halted.
    #[inline]
    pub fn is_empty(&self) -> bool {
        !self.any
    }

    /// How many scopes are halted.
    pub fn len(&self) -> usize {
        self.waits.len() + self.breakers.len() + self.keys.len() + self.forced.len()
    }

    /// The halt of one scope that ends by itself, ended or not.
    pub fn get(&self, scope: &Scope) -> Option<&Halt> {
        self.waits.get(scope)
    }

    /// Every halt that ends by itself.
    pub fn waits(&self) -> impl Iterator<Item = (&Scope, &Halt)> {
        self.waits.iter()
    }

    /// Whether any breaker is not closed.
    pub fn has_breakers(&self) -> bool {
        !self.breakers.is_empty()
    }

    /// The breaker of a scope as it stands now.
    pub fn breaker(&self, scope: &Scope, now: Instant) -> Breaker {
        self.breakers.get(scope).copied().unwrap_or_default().at(now)
    }

    /// Every breaker that is not closed, as it stands now.
    pub fn breakers(&self, now: Instant) -> impl Iterator<Item = (&Scope, Breaker)> {
        self.breakers.iter().map(move |(scope, breaker)| (scope, breaker.at(now)))
    }

    /// Whether a request is finding out whether a lane lives.
    pub fn is_probed(&self, lane: &LaneKey, now: Instant) -> bool {
        scopes(lane).any(|scope| matches!(self.breaker(&scope, now), Breaker::Probing { .. }))
    }

    /// Whether no key was refused lately.
    pub fn keys_are_good(&self) -> bool {
        self.keys.is_empty()
    }

    /// The pause of a key that was refused, as it stands now.
    pub fn key(&self, scope: &Scope, now: Instant) -> Option<KeyPause> {
        self.keys.get(scope).map(|pause| pause.at(now))
    }

    /// Every key that was refused, as it stands now.
    pub fn keys(&self, now: Instant) -> impl Iterator<Item = (&Scope, KeyPause)> {
        self.keys.iter().map(move |(scope, pause)| (scope, pause.at(now)))
    }

    /// Whether a request is finding out whether a lane's key is good again.
    pub fn is_key_asked(&self, lane: &LaneKey, now: Instant) -> bool {
        scopes(lane).any(|scope| matches!(self.key(&scope, now), Some(KeyPause::Asked { .. })))
    }

    /// Whether the owner halted a provider.
    pub fn is_forced(&self, provider: &ProviderId) -> bool {
        self.forced.contains(provider)
    }

    /// Providers that the owner halted.
    pub fn forced(&self) -> impl Iterator<Item = &ProviderId> {
        self.forced.iter()
    }

    /// How often the owner had a provider's failures forgotten: what was counted before the last time counts no more.
    pub fn resets(&self, provider: &ProviderId) -> u64 {
        self.resets.get(provider).copied().unwrap_or(0)
    }

    /// How a lane stands. What holds longest speaks; the owner's word before everything.
    pub fn standing(&self, lane: &LaneKey, now: Instant) -> Standing {
        if self.is_empty() {
            return Standing::Free;
        }
        if self.is_forced(&lane.provider) {
            return Standing::Halted { why: Why::Forced, until: now + limits::HALT_FORCED };
        }
        let mut halted: Option<Halt> = None;
        let (mut probe, mut key_due) = (false, false);
        let mut hold = |why, until| {
            if now < until && halted.as_ref().is_none_or(|known| known.until < until) {
                halted = Some(Halt { why, until });
            }
        };
        for scope in scopes(lane) {
            if let Some(halt) = self.waits.get(&scope) {
                hold(halt.why, halt.until);
            }
            match self.breaker(&scope, now) {
                Breaker::Closed => {}
                Breaker::Open(opening) => hold(Why::Breaker, opening.until),
                Breaker::HalfOpen(_) => probe = true,
                Breaker::Probing { lost_at, .. } => hold(Why::Breaker, lost_at),
            }
            match self.key(&scope, now) {
                None => {}
                Some(KeyPause::Parked(pause)) => hold(Why::KeyRefused, pause.until),
                Some(KeyPause::Asked { lost_at, .. }) => hold(Why::KeyRefused, lost_at),
                Some(KeyPause::Due(_)) => key_due = true,
            }
        }
        match halted {
            Some(Halt { why, until }) => Standing::Halted { why, until },
            None if probe => Standing::Probe,
            None if key_due => Standing::KeyDue,
            None => Standing::Free,
        }
    }
}

/// Everything that a halt of a lane may hold for.
fn scopes(lane: &LaneKey) -> impl Iterator<Item = Scope> {
    let credential = lane.credential.map(Scope::Credential);
    [Some(Scope::Provider(lane.provider.clone())), credential, Some(Scope::Lane(lane.clone()))].into_iter().flatten()
}

// === impl Board ===

impl Board {
    /// All halts now.
    pub fn halts(&self) -> Arc<Halts> {
        self.halts.load_full()
    }

    /// All halts now, for a short look that leaves the shared count alone.
    pub fn look(&self) -> Guard<Arc<Halts>> {
        self.halts.load()
    }

    /// The same for a core that looks at every request.
    pub fn watch(self: &Arc<Self>) -> Watch {
        let mut cache = Cache::new(Shared(self.clone()));
        let seen = Rc::new(cache.load().clone());
        Watch { cache, seen }
    }

    /// A core takes part from now on.
    pub fn enrol(&self) {
        self.cores.fetch_add(1, Ordering::Relaxed);
    }

    /// How many cores take part.
    pub fn cores(&self) -> usize {
        self.cores.load(Ordering::Relaxed)
    }

    /// Halts a scope for a while, or changes its halt.
    pub fn halt(&self, scope: &Scope, halt: &Halt, now: Instant) {
        self.change(|halts| {
            if halts.has_room_for(scope, now) {
                halts.waits.insert(scope.clone(), halt.clone());
            }
        });
    }

    /// Lifts a halt that would have ended by itself.
    pub fn lift(&self, scope: &Scope) {
        if self.halts.load().waits.contains_key(scope) {
            self.change(|halts| {
                halts.waits.remove(scope);
            });
        }
    }

    /// Opens a breaker that is closed. `draw` is a number between 0 and 1.
    pub fn trip(&self, scope: &Scope, cause: Cause, terms: &BreakerTerms, draw: f64, now: Instant) {
        self.step(scope, now, |breaker| breaker.tripped(cause, terms, draw, now));
    }

    /// Claims the probe of a breaker; false unless it is half open and nobody else has the probe.
    pub fn claim(&self, scope: &Scope, now: Instant) -> bool {
        let mut claimed = false;
        self.step(scope, now, |breaker| {
            let probing = breaker.claimed(now);
            claimed = probing.is_some();
            probing.unwrap_or(breaker)
        });
        claimed
    }

    /// The probe of a breaker failed: open again, for longer.
    pub fn probe_failed(&self, scope: &Scope, terms: &BreakerTerms, draw: f64, now: Instant) {
        self.step(scope, now, |breaker| breaker.probe_failed(terms, draw, now));
    }

    /// The probe of a breaker came to nothing.
    pub fn probe_dropped(&self, scope: &Scope, now: Instant) {
        self.step(scope, now, Breaker::probe_dropped);
    }

    /// A scope takes connections again: a request may find out the rest.
    pub fn reachable(&self, scope: &Scope, now: Instant) {
        self.step(scope, now, |breaker| breaker.reachable(now));
    }

    /// Closes a breaker: somebody had an answer.
    pub fn close(&self, scope: &Scope, now: Instant) {
        self.step(scope, now, |_| Breaker::Closed);
    }

    /// A key was refused, at a question that was asked at `began`.
    pub fn key_refused(&self, scope: &Scope, began: Instant, now: Instant) {
        self.step_key(scope, now, |known| {
            Some(known.map_or_else(|| KeyPause::first(now), |pause| pause.refused(began, now)))
        });
    }

    /// Claims the right to find out whether a refused key is good again; false unless it is time and nobody else does.
    pub fn claim_key(&self, scope: &Scope, now: Instant) -> bool {
        let mut claimed = false;
        self.step_key(scope, now, |known| {
            let asked = known.and_then(|pause| pause.claimed(now));
            claimed = asked.is_some();
            asked.or(known)
        });
        claimed
    }

    /// That came to nothing.
    pub fn key_probe_dropped(&self, scope: &Scope, now: Instant) {
        self.step_key(scope, now, |known| known.map(KeyPause::probe_dropped));
    }

    /// A key was accepted, at a question that was asked at `began`.
    pub fn key_accepted(&self, scope: &Scope, began: Instant, now: Instant) {
        self.step_key(scope, now, |known| known.filter(|pause| !pause.ends_with(began)));
    }

    /// Forgets refused keys that nobody has asked since long ago: whoever does may find out like anybody else.
    pub fn forget_keys(&self, now: Instant) {
        let is_kept = |pause: &KeyPause| match pause.at(now) {
            KeyPause::Due(pause) => now < pause.until + limits::KEY_PAUSE_KEPT,
            _ => true,
        };
        if !self.halts.load().keys.values().all(is_kept) {
            self.change(|halts| halts.keys.retain(|_, pause| is_kept(pause)));
        }
    }

    /// Moves the pause of one key on. Nothing is written where nothing changes.
    fn step_key(&self, scope: &Scope, now: Instant, mut next: impl FnMut(Option<KeyPause>) -> Option<KeyPause>) {
        let known = self.halts.load().keys.get(scope).copied();
        if next(known) == known {
            return;
        }
        self.change(|halts| {
            let known = halts.keys.get(scope).copied();
            match next(known) {
                None => {
                    halts.keys.remove(scope);
                }
                Some(moved) if known.is_some() || halts.has_room_for_key(now) => {
                    halts.keys.insert(scope.clone(), moved);
                }
                Some(_) => {}
            }
        });
    }

    /// The owner halts a provider, until told otherwise.
    pub fn force(&self, provider: &ProviderId) {
        self.change(|halts| {
            halts.forced.insert(provider.clone());
        });
    }

    /// The owner lets a provider be asked again, at once: its own halt and all breakers of the provider end. With `forget`, what was
    /// counted against it so far counts no more.
    pub fn release(&self, provider: &ProviderId, forget: bool) {
        self.change(|halts| {
            halts.forced.remove(provider);
            halts.breakers.retain(|scope, _| scope.provider() != Some(provider));
            if forget {
                *halts.resets.entry(provider.clone()).or_default() += 1;
            }
        });
    }

    /// Moves one breaker on. A closed one has no entry, so nothing is written where nothing changes.
    fn step(&self, scope: &Scope, now: Instant, mut next: impl FnMut(Breaker) -> Breaker) {
        let known = self.halts.load().breakers.get(scope).copied().unwrap_or_default();
        if next(known) == known {
            return;
        }
        self.change(|halts| {
            let known = halts.breakers.get(scope).copied().unwrap_or_default();
            match next(known) {
                Breaker::Closed => {
                    halts.breakers.remove(scope);
                }
                moved if known != Breaker::Closed || halts.has_room_for(scope, now) => {
                    halts.breakers.insert(scope.clone(), moved);
                }
                _ => {}
            }
        });
    }

    /// Replaces the value by a changed one; tried again when another core was quicker.
    fn change(&self, mut change: impl FnMut(&mut Halts)) {
        self.halts.rcu(|halts| {
            let mut halts = halts.as_ref().clone();
            change(&mut halts);
            // Counted: `is_empty` answers from what is set here.
            let halted = halts.len();
            halts.any = halted > 0;
            halts
        });
    }
}

impl Halts {
    /// Whether another refused key may be remembered; those that nobody asks any more go first.
    fn has_room_for_key(&mut self, now: Instant) -> bool {
        if self.keys.len() >= limits::KEY_PAUSES_MAX {
            self.keys.retain(|_, pause| !matches!(pause.at(now), KeyPause::Due(_)));
        }
        self.keys.len() < limits::KEY_PAUSES_MAX
    }

    /// Whether another halt may be kept; what has ended goes first.
    fn has_room_for(&mut self, scope: &Scope, now: Instant) -> bool {
        let others = self.keys.len();
        if self.len() - others >= limits::HALTS_MAX {
            self.waits.retain(|_, halt| now < halt.until);
            // Nobody has asked for these since long ago: whoever does may find out like anybody else.
            let is_stale = |breaker: &Breaker| match breaker.at(now) {
                Breaker::HalfOpen(opening) => now > opening.until + limits::BREAKER_OPEN_MAX,
                _ => false,
            };
            self.breakers.retain(|_, breaker| !is_stale(breaker));
        }
        self.len() - others < limits::HALTS_MAX || self.waits.contains_key(scope)
    }
}

#[cfg(test)]
mod tests;
