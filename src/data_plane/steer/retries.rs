//! Retry budgets of this core, one per tenant and provider (rule Q2).
//!
//! Each core counts its own first attempts and allows its own share, so that nothing is shared on the request path: over all cores the
//! share is the same, and the floor is divided between them.

use super::lane::Known;
use crate::board::Board;
use crate::domain::id::{ProviderId, TenantId};
use crate::domain::map::Map;
use crate::limits;
use crate::routing::retry_budget::{RetryBudget, floor_of};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// The budgets.
pub struct Retries {
    board: Arc<Board>,
    budgets: RefCell<Budgets>,
    /// False while the gateway sheds load: nothing is repeated then (rule Q2).
    allowed: Cell<bool>,
}

#[derive(Default)]
struct Budgets {
    by_tenant: Map<TenantId, Map<ProviderId, Rc<RefCell<RetryBudget>>>>,
    count: usize,
    /// What those share that found no place of their own.
    others: Option<Rc<RefCell<RetryBudget>>>,
}

impl Retries {
    /// Nothing attempted yet.
    pub fn new(board: Arc<Board>) -> Self {
        Self { board, budgets: RefCell::default(), allowed: Cell::new(true) }
    }

    /// Whether anything may be tried again: nothing is while load is shed.
    pub fn allow(&self, allowed: bool) {
        self.allowed.set(allowed);
    }

    /// A first attempt of a tenant's goes to a provider, on a lane that is held.
    #[inline]
    pub fn count_first(&self, tenant: &TenantId, provider: &ProviderId, known: &Known, now: Instant) {
        let budget = known.retries.get_or_init(|| self.budget(tenant, provider, now));
        budget.borrow_mut().count_first(now);
    }

    /// Takes a retry out of the budget of a tenant and the provider that failed it, if there is one.
    pub fn take(&self, tenant: &TenantId, failed: &ProviderId, now: Instant) -> bool {
        let floor = floor_of(self.board.cores());
        self.allowed.get() && self.budget(tenant, failed, now).borrow_mut().take(floor, now)
    }

    #[cold]
    #[inline(never)]
    fn budget(&self, tenant: &TenantId, provider: &ProviderId, now: Instant) -> Rc<RefCell<RetryBudget>> {
        self.budgets.borrow_mut().budget(tenant, provider, now)
    }
}

impl Budgets {
    fn budget(&mut self, tenant: &TenantId, provider: &ProviderId, now: Instant) -> Rc<RefCell<RetryBudget>> {
        let new = || Rc::new(RefCell::new(RetryBudget::new(now)));
        if let Some(budget) = self.by_tenant.get(tenant).and_then(|providers| providers.get(provider)) {
            return budget.clone();
        }
        if !self.make_room(now) {
            return self.others.get_or_insert_with(new).clone();
        }
        self.count += 1;
        self.by_tenant.entry(tenant.clone()).or_default().entry(provider.clone()).or_insert_with(new).clone()
    }

    /// Whether another budget has room; idle ones go first.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.count >= limits::RETRY_BUDGETS_MAX {
            self.by_tenant.retain(|_, providers| {
                providers.retain(|_, budget| Rc::strong_count(budget) > 1 || !budget.borrow_mut().is_idle(now));
                !providers.is_empty()
            });
            self.count = self.by_tenant.values().map(Map::len).sum();
        }
        self.count < limits::RETRY_BUDGETS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_apart_by_tenant_and_by_provider_and_bounded() {
        let (board, now) = (Arc::new(Board::default()), Instant::now());
        board.enrol();
        let retries = Retries::new(board);
        let (a, b) = (TenantId::new("a"), TenantId::new("b"));
        let (p, q) = (ProviderId::new("p"), ProviderId::new("q"));
        assert_eq!((0..100).filter(|_| retries.take(&a, &p, now)).count(), 30, "the floor of a lone core");
        assert!(retries.take(&a, &q, now) && retries.take(&b, &p, now));
        (0..1_000).for_each(|_| retries.count_first(&a, &p, &Known::default(), now));
        assert_eq!(
            (0..1_000).filter(|_| retries.take(&a, &p, now)).count(),
            170,
            "a fifth of the first attempts in all"
        );
        retries.allow(false);
        assert!(!retries.take(&b, &q, now), "nothing is repeated while load is shed");
        retries.allow(true);
        for number in 0..limits::RETRY_BUDGETS_MAX + 100 {
            retries.count_first(&TenantId::new(&number.to_string()), &p, &Known::default(), now);
        }
        assert_eq!(retries.budgets.borrow().count, limits::RETRY_BUDGETS_MAX);
        assert!(retries.budgets.borrow().others.is_some());
    }
}
