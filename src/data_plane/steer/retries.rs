//! Retry budgets of this core, one per tenant and provider (rule Q2).
//!
//! Each core counts its own first attempts and allows its own share, so that nothing is shared on the request path: over all cores the
//! share is the same, and the floor is divided between them.

use crate::board::Board;
use crate::domain::id::{ProviderId, TenantId};
use crate::domain::map::Map;
use crate::limits;
use crate::routing::retry_budget::{RetryBudget, floor_of};
use std::cell::{Cell, RefCell};
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
    by_tenant: Map<TenantId, Map<ProviderId, RetryBudget>>,
    count: usize,
    /// What those share that found no place of their own.
    others: Option<RetryBudget>,
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

    /// A first attempt of a tenant's goes to a provider.
    pub fn count_first(&self, tenant: &TenantId, provider: &ProviderId, now: Instant) {
        let mut budgets = self.budgets.borrow_mut();
        // Nearly always it is known: then this looks once.
        match budgets.by_tenant.get_mut(tenant).and_then(|providers| providers.get_mut(provider)) {
            Some(budget) => budget.count_first(now),
            None => budgets.budget(tenant, provider, now).count_first(now),
        }
    }

    /// Takes a retry out of the budget of a tenant and the provider that failed it, if there is one.
    pub fn take(&self, tenant: &TenantId, failed: &ProviderId, now: Instant) -> bool {
        let floor = floor_of(self.board.cores());
        self.allowed.get() && self.budgets.borrow_mut().budget(tenant, failed, now).take(floor, now)
    }
}

impl Budgets {
    fn budget(&mut self, tenant: &TenantId, provider: &ProviderId, now: Instant) -> &mut RetryBudget {
        let is_known = self.by_tenant.get(tenant).is_some_and(|providers| providers.contains_key(provider));
        if !is_known && !self.make_room(now) {
            return self.others.get_or_insert_with(|| RetryBudget::new(now));
        }
        self.count += usize::from(!is_known);
        if !self.by_tenant.contains_key(tenant) {
            self.by_tenant.insert(tenant.clone(), Map::default());
        }
        let providers = self.by_tenant.get_mut(tenant).expect("it is there, or was put there");
        if !is_known {
            providers.insert(provider.clone(), RetryBudget::new(now));
        }
        providers.get_mut(provider).expect("it is there, or was put there")
    }

    /// Whether another budget has room; idle ones go first.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.count >= limits::RETRY_BUDGETS_MAX {
            self.by_tenant.retain(|_, providers| {
                providers.retain(|_, budget| !budget.is_idle(now));
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
        (0..1_000).for_each(|_| retries.count_first(&a, &p, now));
        assert_eq!(
            (0..1_000).filter(|_| retries.take(&a, &p, now)).count(),
            170,
            "a fifth of the first attempts in all"
        );
        retries.allow(false);
        assert!(!retries.take(&b, &q, now), "nothing is repeated while load is shed");
        retries.allow(true);
        for number in 0..limits::RETRY_BUDGETS_MAX + 100 {
            retries.count_first(&TenantId::new(&number.to_string()), &p, now);
        }
        assert_eq!(retries.budgets.borrow().count, limits::RETRY_BUDGETS_MAX);
        assert!(retries.budgets.borrow().others.is_some());
    }
}
