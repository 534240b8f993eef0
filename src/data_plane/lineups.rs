//! Who could serve a name for whom, worked out once and kept at hand by each core.
//!
//! What `plan` finds for a name depends on the snapshot, on the tenant, and on what the access key may ask for; a plain request adds nothing
//! to it. So it is kept, and shared without touching what cores share: a request that asks for the same again counts up one number of its own
//! core for each candidate, and allocates nothing. Bounded by [`LINEUPS_KEPT`]: a name that meets another at its place takes it. All of it
//! goes with the parts of the snapshot that it was made from, so no credential outlives its snapshot here (rule V12).

use super::plan::Candidate;
use crate::domain::id::TenantId;
use crate::domain::map::Seeded;
use crate::limits::{CANDIDATES_INLINE, LINEUPS_KEPT, PLAN_LISTS_KEPT};
use crate::routing::decision::Considered;
use crate::routing::score::ScoreTable;
use crate::snapshot::{AccessKey, AccessTerms, CredentialTable, Provider, RoutePolicy, RouteTable, Settings, Snapshot};
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::hash::BuildHasher;
use std::rc::Rc;
use std::sync::Arc;

/// Candidates, of which as many as most plans have need no memory of their own.
pub type Cast = SmallVec<[Rc<Candidate>; CANDIDATES_INLINE]>;

/// Everybody who could serve a name, as listed.
pub struct Lineup {
    /// Each target with each of its credentials, those of one target together.
    pub candidates: Cast,
    /// How they are to be ordered.
    pub by: RoutePolicy,
    /// Whether a request may name another policy.
    pub is_open: bool,
}

/// What one core keeps at hand.
#[derive(Default)]
pub struct Lineups {
    kept: RefCell<Kept>,
    seed: Seeded,
    scores: RefCell<Option<Arc<ScoreTable>>>,
    /// How often other scores have come.
    scored: Cell<u64>,
    /// Lists of candidates as they were seen, on their way from one plan to another.
    lists: RefCell<Vec<Vec<Considered>>>,
}

#[derive(Default)]
struct Kept {
    made_of: Option<Parts>,
    /// Empty until the first is kept; then one place for each remainder of a digest.
    slots: Vec<Option<Slot>>,
}

/// The parts of a snapshot that decide.
struct Parts {
    routes: Arc<RouteTable>,
    providers: Arc<[Provider]>,
    credentials: Arc<CredentialTable>,
    settings: Arc<Settings>,
}

struct Slot {
    tenant: TenantId,
    terms: Arc<AccessTerms>,
    model: Box<str>,
    lineup: Rc<Lineup>,
}

// === impl Parts ===

impl Parts {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            routes: snapshot.routes.clone(),
            providers: snapshot.providers.clone(),
            credentials: snapshot.credentials.clone(),
            settings: snapshot.settings.clone(),
        }
    }

    fn are_of(&self, snapshot: &Snapshot) -> bool {
        Arc::ptr_eq(&self.routes, &snapshot.routes)
            && Arc::ptr_eq(&self.providers, &snapshot.providers)
            && Arc::ptr_eq(&self.credentials, &snapshot.credentials)
            && Arc::ptr_eq(&self.settings, &snapshot.settings)
    }
}

// === impl Slot ===

impl Slot {
    fn is_for(&self, key: &AccessKey, model: &str) -> bool {
        *self.model == *model && Arc::ptr_eq(&self.terms, &key.terms) && self.tenant == key.tenant
    }
}

// === impl Lineups ===

impl Lineups {
    /// From now on this snapshot holds: what was made from other parts goes.
    pub fn adopt(&self, snapshot: &Snapshot) {
        let mut kept = self.kept.borrow_mut();
        if !kept.made_of.as_ref().is_some_and(|parts| parts.are_of(snapshot)) {
            *kept = Kept { made_of: Some(Parts::of(snapshot)), slots: Vec::new() };
        }
        let mut scores = self.scores.borrow_mut();
        if !scores.as_ref().is_some_and(|scores| Arc::ptr_eq(scores, &snapshot.scores)) {
            *scores = Some(snapshot.scores.clone());
            self.scored.set(self.scored.get() + 1);
        }
    }

    /// A number for the scores of a snapshot, another one for others; `None` if they are not those that hold on this core.
    pub fn scores(&self, snapshot: &Snapshot) -> Option<u64> {
        let scores = self.scores.borrow();
        scores.as_ref().is_some_and(|scores| Arc::ptr_eq(scores, &snapshot.scores)).then(|| self.scored.get())
    }

    /// A list of what an earlier plan saw, to be written over: nearly always of the same candidates.
    pub fn spare_list(&self) -> Vec<Considered> {
        self.lists.borrow_mut().pop().unwrap_or_default()
    }

    /// The same, emptied.
    pub fn empty_list(&self) -> Vec<Considered> {
        let mut list = self.spare_list();
        list.clear();
        list
    }

    /// Takes a list back that nobody looks at any more.
    pub fn return_list(&self, list: Vec<Considered>) {
        let mut lists = self.lists.borrow_mut();
        if list.capacity() > 0 && lists.len() < PLAN_LISTS_KEPT {
            lists.push(list);
        }
    }

    /// The lineup of a name, if it is at hand and of this very snapshot; else the one that `make` finds, which is kept if it may be.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn find<E>(
        &self,
        snapshot: &Snapshot,
        key: &AccessKey,
        model: &str,
        make: impl FnOnce() -> Result<Rc<Lineup>, E>,
    ) -> Result<Rc<Lineup>, E> {
        let place =
            self.seed.hash_one((key.tenant.as_str(), Arc::as_ptr(&key.terms).addr(), model)) as usize % LINEUPS_KEPT;
        let mut kept = self.kept.borrow_mut();
        // An exchange may have begun with an older snapshot than the core has by now.
        if !kept.made_of.as_ref().is_some_and(|parts| parts.are_of(snapshot)) {
            return make();
        }
        if let Some(Some(slot)) = kept.slots.get(place)
            && slot.is_for(key, model)
        {
            return Ok(slot.lineup.clone());
        }
        let mut lineup = make()?;
        let tenant = TenantId::new(key.tenant.as_str());
        // Nobody else has it yet.
        if let Some(lineup) = Rc::get_mut(&mut lineup) {
            let fresh = lineup.candidates.iter_mut().filter_map(Rc::get_mut);
            fresh.for_each(|candidate| candidate.settle_here(&tenant));
        }
        if kept.slots.is_empty() {
            kept.slots.resize_with(LINEUPS_KEPT, || None);
        }
        if let Some(slot) = kept.slots.get_mut(place) {
            let terms = key.terms.clone();
            *slot = Some(Slot { tenant, terms, model: model.into(), lineup: lineup.clone() });
        }
        Ok(lineup)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rota::tests::candidate;
    use super::*;
    use crate::allowance::Allowance;
    use crate::domain::id::AccessKeyId;
    use crate::domain::scope::Scopes;
    use crate::snapshot::Role;
    use std::cell::Cell;
    use std::convert::Infallible;

    fn key(tenant: &str, terms: &Arc<AccessTerms>) -> AccessKey {
        AccessKey {
            id: AccessKeyId::from_bits(1),
            tenant: TenantId::new(tenant),
            scopes: Scopes::INFERENCE,
            expires_at: None,
            terms: terms.clone(),
            allowance: Arc::new(Allowance::default()),
        }
    }

    /// A core's lineups, and how often one had to be made.
    #[derive(Default)]
    struct Desk {
        lineups: Lineups,
        made: Cell<u32>,
    }

    impl Desk {
        fn ask(&self, snapshot: &Snapshot, key: &AccessKey, model: &str) -> Rc<Lineup> {
            let make = || {
                self.made.set(self.made.get() + 1);
                let candidates = Cast::from_iter([candidate(0, u128::from(self.made.get()), Role::Usual)]);
                Ok::<_, Infallible>(Rc::new(Lineup { candidates, by: RoutePolicy::default(), is_open: true }))
            };
            match self.lineups.find(snapshot, key, model, make) {
                Ok(lineup) => lineup,
            }
        }
    }

    #[test]
    fn a_lineup_is_made_once_for_each_tenant_its_terms_and_the_name() {
        let (snapshot, desk) = (Snapshot::bare(), Desk::default());
        desk.lineups.adopt(&snapshot);
        let (one, other): (Arc<AccessTerms>, Arc<AccessTerms>) = Default::default();
        let first = desk.ask(&snapshot, &key("a", &one), "m");
        assert!(Rc::ptr_eq(&first, &desk.ask(&snapshot, &key("a", &one), "m")));
        assert_eq!(desk.made.get(), 1, "another key of the tenant with the same terms asks for the same");
        desk.ask(&snapshot, &key("b", &one), "m");
        desk.ask(&snapshot, &key("a", &other), "m");
        desk.ask(&snapshot, &key("a", &one), "n");
        assert_eq!(desk.made.get(), 4);
    }

    #[test]
    fn nothing_is_kept_beyond_its_snapshot_nor_taken_for_another_one() {
        let (before, after, desk) = (Snapshot::bare(), Snapshot::bare(), Desk::default());
        let terms = Arc::default();
        desk.lineups.adopt(&before);
        let lineup = Rc::downgrade(&desk.ask(&before, &key("a", &terms), "m"));
        assert!(lineup.upgrade().is_some());
        desk.lineups.adopt(&before.with_scores(Arc::default()));
        assert!(lineup.upgrade().is_some(), "scores alone change nobody who could serve");
        desk.lineups.adopt(&after);
        assert!(lineup.upgrade().is_none());
        desk.ask(&before, &key("a", &terms), "m");
        desk.ask(&before, &key("a", &terms), "m");
        assert_eq!(desk.made.get(), 3, "an exchange of the snapshot before finds for itself");
    }

    #[test]
    fn names_without_end_take_each_others_places() {
        let (snapshot, desk) = (Snapshot::bare(), Desk::default());
        desk.lineups.adopt(&snapshot);
        let key = key("a", &Arc::default());
        (0..3 * LINEUPS_KEPT).for_each(|number| drop(desk.ask(&snapshot, &key, &number.to_string())));
        let kept = desk.lineups.kept.borrow();
        assert_eq!(kept.slots.len(), LINEUPS_KEPT);
        assert!(kept.slots.iter().flatten().count() > LINEUPS_KEPT / 2);
    }
}
