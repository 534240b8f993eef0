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

/// Exchanges under way by tenant. As many entries as there are exchanges, at most.
#[derive(Default)]
pub struct Fairness {
    under_way: RefCell<Map<TenantId, u32>>,
    all: Cell<u32>,
}

/// An exchange's place on its core and in the report queue, for its tenant; given back when dropped.
pub struct Seat {
    core: Rc<Core>,
    tenant: TenantId,
}

impl Fairness {
    /// Whether a tenant may have one more at this stage.
    fn may_enter(&self, tenant: &TenantId, stage: Stage) -> bool {
        if stage < Stage::Tight {
            return true;
        }
        let under_way = self.under_way.borrow();
        let own = under_way.get(tenant).copied().unwrap_or_default();
        let tenants = under_way.len() + usize::from(own == 0);
        let share = (self.all.get() + 1).div_ceil(u32::try_from(tenants).unwrap_or(u32::MAX));
        own < share.max(limits::FAIR_PLACES_MIN)
    }

    fn enter(&self, tenant: &TenantId) {
        *self.under_way.borrow_mut().entry(tenant.clone()).or_default() += 1;
        self.all.set(self.all.get() + 1);
    }

    fn leave(&self, tenant: &TenantId) {
        let mut under_way = self.under_way.borrow_mut();
        if let Some(count) = under_way.get_mut(tenant) {
            *count -= 1;
            self.all.set(self.all.get() - 1);
            if *count == 0 {
                under_way.remove(tenant);
            }
        }
    }
}

impl Seat {
    /// A place for one more exchange of a tenant. Who is turned away has never been counted: its tries must not crowd out others.
    ///
    /// # Errors
    /// The core is short of room and the tenant has its share.
    pub fn take(core: &Rc<Core>, tenant: &TenantId) -> Result<Self, ShedReason> {
        if !core.fairness.may_enter(tenant, core.stage()) {
            return Err(ShedReason::Share);
        }
        core.fairness.enter(tenant);
        core.begin_exchange();
        Ok(Self { core: core.clone(), tenant: tenant.clone() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.core.fairness.leave(&self.tenant);
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
        let tenant = tenant(name);
        let mut admitted = 0;
        for _ in 0..asks {
            if fairness.may_enter(&tenant, stage) {
                fairness.enter(&tenant);
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
            fairness.leave(&tenant("noisy"));
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
    fn a_tenant_that_left_is_forgotten() {
        let fairness = Fairness::default();
        admit(&fairness, "a", 2, Stage::Calm);
        fairness.leave(&tenant("a"));
        fairness.leave(&tenant("a"));
        fairness.leave(&tenant("a"));
        assert!(fairness.under_way.borrow().is_empty() && fairness.all.get() == 0);
    }
}
