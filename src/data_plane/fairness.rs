//! Fair shares among tenants while a core is short of room: who holds more than its share is turned away first, others go on being served.
//!
//! ```text
//!   share = max(limits::FAIR_PLACES_MIN, ceil((exchanges under way + this one) / tenants that have any under way, this one included))
//! ```
//!
//! While there is room nobody is held to a share, so a tenant alone may use the whole core. A share is reckoned from what is under way, not
//! from the places that there are: a core can be short of memory with most of its places free.

use super::per_core::Core;
use crate::domain::id::TenantId;
use crate::domain::map::Map;
use crate::domain::pressure::{ShedReason, Stage};
use crate::limits;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Exchanges under way by tenant.
#[derive(Default)]
pub struct Fairness {
    /// Tenants that were here lately, at most [`limits::FAIR_TENANTS_KEPT`] beside those that have exchanges under way.
    places: RefCell<Map<TenantId, Rc<Place>>>,
    /// Whose exchange came last: nearly always the next one is the same tenant's.
    latest: RefCell<Option<Rc<Place>>>,
    /// Tenants that have exchanges under way.
    tenants: Cell<u32>,
    all: Cell<u32>,
}

/// One tenant on one core. Its name is a copy of the core's own.
struct Place {
    tenant: TenantId,
    under_way: Cell<u32>,
}

/// An exchange's place on its core and in the report queue, for its tenant; given back when dropped.
pub struct Seat<'t> {
    core: &'t Core,
    place: Rc<Place>,
}

impl Fairness {
    #[inline]
    fn place(&self, tenant: &TenantId) -> Rc<Place> {
        match &*self.latest.borrow() {
            Some(latest) if latest.tenant == *tenant => return latest.clone(),
            _ => {}
        }
        let place = self.find(tenant);
        self.latest.replace(Some(place.clone()));
        place
    }

    #[inline(never)]
    fn find(&self, tenant: &TenantId) -> Rc<Place> {
        let mut places = self.places.borrow_mut();
        if let Some(place) = places.get(tenant) {
            return place.clone();
        }
        if places.len() >= limits::FAIR_TENANTS_KEPT {
            places.retain(|_, place| place.under_way.get() > 0);
        }
        let tenant = TenantId::new(tenant.as_str());
        let place = Rc::new(Place { tenant: tenant.clone(), under_way: Cell::new(0) });
        places.insert(tenant, place.clone());
        place
    }

    /// Whether a tenant may have one more at this stage.
    fn may_enter(&self, place: &Place, stage: Stage) -> bool {
        if stage < Stage::Tight {
            return true;
        }
        let own = place.under_way.get();
        let tenants = self.tenants.get() + u32::from(own == 0);
        let share = (self.all.get() + 1).div_ceil(tenants);
        own < share.max(limits::FAIR_PLACES_MIN)
    }

    fn enter(&self, place: &Place) {
        let own = place.under_way.get();
        self.tenants.set(self.tenants.get() + u32::from(own == 0));
        place.under_way.set(own + 1);
        self.all.set(self.all.get() + 1);
    }

    fn leave(&self, place: &Place) {
        let own = place.under_way.get() - 1;
        place.under_way.set(own);
        self.tenants.set(self.tenants.get() - u32::from(own == 0));
        self.all.set(self.all.get() - 1);
    }
}

impl<'t> Seat<'t> {
    /// A place for one more exchange of a tenant. Who is turned away has never been counted: its tries must not crowd out others.
    ///
    /// # Errors
    /// The core is short of room and the tenant has its share.
    pub fn take(core: &'t Core, tenant: &TenantId) -> Result<Self, ShedReason> {
        let place = core.fairness.place(tenant);
        if !core.fairness.may_enter(&place, core.stage()) {
            return Err(ShedReason::Share);
        }
        core.fairness.enter(&place);
        core.begin_exchange();
        Ok(Self { core, place })
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.core.fairness.leave(&self.place);
        self.core.end_exchange();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name)
    }

    /// Lets a tenant ask so often; how many it was let in.
    fn admit(fairness: &Fairness, name: &str, asks: u32, stage: Stage) -> u32 {
        let place = fairness.place(&tenant(name));
        let mut admitted = 0;
        for _ in 0..asks {
            if fairness.may_enter(&place, stage) {
                fairness.enter(&place);
                admitted += 1;
            }
        }
        admitted
    }

    #[test]
    fn while_there_is_room_nobody_is_counted() {
        let fairness = Fairness::default();
        assert_eq!(admit(&fairness, "noisy", 100, Stage::Calm), 100);
        assert_eq!(admit(&fairness, "quiet", 3, Stage::Calm), 3);
    }

    #[test]
    fn a_tenant_alone_may_use_all_there_is() {
        let fairness = Fairness::default();
        assert_eq!(admit(&fairness, "alone", 100, Stage::Tight), 100);
    }

    #[test]
    fn who_holds_more_than_its_share_waits_for_the_others() {
        let fairness = Fairness::default();
        admit(&fairness, "noisy", 80, Stage::Calm);
        assert_eq!(admit(&fairness, "quiet", 1, Stage::Tight), 1);
        assert_eq!(admit(&fairness, "noisy", 10, Stage::Tight), 0);
        assert_eq!(admit(&fairness, "quiet", 200, Stage::Tight), 80, "up to what the noisy one holds");
        // As the noisy one's end, the places go round.
        for _ in 0..40 {
            fairness.leave(&fairness.place(&tenant("noisy")));
        }
        assert_eq!(admit(&fairness, "noisy", 1, Stage::Tight), 1);
    }

    #[test]
    fn a_few_are_always_let_in() {
        let fairness = Fairness::default();
        for name in ["a", "b", "c", "d"] {
            assert_eq!(
                admit(&fairness, name, limits::FAIR_PLACES_MIN, Stage::Tight),
                limits::FAIR_PLACES_MIN,
                "{name}"
            );
        }
    }

    #[test]
    fn a_tenant_that_left_counts_no_more_and_is_forgotten_among_many() {
        let fairness = Fairness::default();
        admit(&fairness, "a", 2, Stage::Calm);
        fairness.leave(&fairness.place(&tenant("a")));
        fairness.leave(&fairness.place(&tenant("a")));
        assert_eq!((fairness.tenants.get(), fairness.all.get()), (0, 0));
        admit(&fairness, "stays", 1, Stage::Calm);
        for number in 0..2 * limits::FAIR_TENANTS_KEPT {
            fairness.place(&tenant(&number.to_string()));
        }
        assert!(fairness.places.borrow().len() <= limits::FAIR_TENANTS_KEPT);
        assert_eq!(fairness.place(&tenant("stays")).under_way.get(), 1, "who has exchanges under way is not forgotten");
    }
}
