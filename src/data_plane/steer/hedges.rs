//! What each tenant may still put on a second attempt, on this core (rule Q4).
//!
//! Two bounds. A share of requests: every request that could be hedged earns its tenant that part of a hedge, so that never more than the share
//! is hedged, from the first request on. A share of the spend: what went to attempts that lost, against all that was spent on such requests,
//! both fading with time; above it, hedges and races pause for a while.

use crate::domain::id::TenantId;
use crate::domain::map::Map;
use crate::limits;
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// All tenants' accounts.
#[derive(Default)]
pub struct HedgeBooks {
    accounts: RefCell<Map<TenantId, Account>>,
}

/// One tenant's.
struct Account {
    /// Hedges earned and not used.
    saved: f64,
    /// Picodollars that bought answers, faded.
    won: f64,
    /// Picodollars that bought nothing, faded.
    lost: f64,
    /// Attempts that lost, faded.
    losers: f64,
    /// When the three were faded last.
    at: Instant,
    paused_until: Option<Instant>,
}

/// Whether a tenant may gamble, and what changed by asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waste {
    /// Within its bound.
    Bearable,
    /// Just now beyond it: a pause begins.
    Pausing,
}

impl Account {
    fn new(now: Instant) -> Self {
        Self { saved: 0.0, won: 0.0, lost: 0.0, losers: 0.0, at: now, paused_until: None }
    }

    fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    fn fade(&mut self, now: Instant) {
        let halves = now.saturating_duration_since(self.at).as_secs_f64() / limits::WASTE_HALF_LIFE.as_secs_f64();
        let left = 0.5_f64.powf(halves);
        self.won *= left;
        self.lost *= left;
        self.losers *= left;
        self.at = now;
    }
}

impl HedgeBooks {
    /// A request came that could be hedged; `share_max` is what it earns.
    pub fn earn(&self, tenant: &TenantId, share_max: f64, now: Instant) {
        self.with(tenant, now, |account| account.saved = (account.saved + share_max).min(limits::HEDGES_SAVED_MAX));
    }

    /// Uses one hedge, if there is one and no pause.
    pub fn take(&self, tenant: &TenantId, now: Instant) -> bool {
        let taken = self.with(tenant, now, |account| {
            // Twenty times a twentieth is a hair below one.
            let may = !account.is_paused(now) && account.saved >= 1.0 - 1e-9;
            if may {
                account.saved = (account.saved - 1.0).max(0.0);
            }
            may
        });
        taken.unwrap_or(false)
    }

    /// Whether the tenant's hedges and races pause.
    pub fn is_paused(&self, tenant: &TenantId, now: Instant) -> bool {
        self.accounts.borrow().get(tenant).is_some_and(|account| account.is_paused(now))
    }

    /// Takes the bill of one request in that could have several attempts: picodollars, and how many lost.
    pub fn settle(
        &self,
        tenant: &TenantId,
        (won, lost): (i128, i128),
        losers: u32,
        waste_share_max: f64,
        now: Instant,
    ) -> Waste {
        let paused = self.with(tenant, now, |account| {
            account.fade(now);
            account.won += won as f64;
            account.lost += lost as f64;
            account.losers += f64::from(losers);
            let all = account.won + account.lost;
            let is_much = account.losers >= limits::WASTE_JUDGED_MIN && account.lost > waste_share_max * all;
            if !is_much || account.is_paused(now) {
                return false;
            }
            account.paused_until = Some(now + limits::WASTE_PAUSE);
            // After the pause it is judged by what comes then.
            (account.won, account.lost, account.losers) = (0.0, 0.0, 0.0);
            true
        });
        if paused.unwrap_or(false) { Waste::Pausing } else { Waste::Bearable }
    }

    /// `None` for a tenant that found no room in the books.
    fn with<T>(&self, tenant: &TenantId, now: Instant, work: impl FnOnce(&mut Account) -> T) -> Option<T> {
        let mut accounts = self.accounts.borrow_mut();
        if let Some(account) = accounts.get_mut(tenant) {
            return Some(work(account));
        }
        if accounts.len() >= limits::HEDGED_TENANTS_MAX {
            let idle = Duration::from_secs(limits::WASTE_PAUSE.as_secs() * 2);
            accounts.retain(|_, account| now.saturating_duration_since(account.at) < idle);
        }
        let room = accounts.len() < limits::HEDGED_TENANTS_MAX;
        room.then(|| work(accounts.entry(tenant.clone()).or_insert_with(|| Account::new(now))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name)
    }

    const SHARE: f64 = 0.05;

    #[test]
    fn never_more_than_the_share_is_hedged() {
        let (books, now, acme) = (HedgeBooks::default(), Instant::now(), tenant("acme"));
        let mut hedged = 0;
        for request in 1..=1_000 {
            books.earn(&acme, SHARE, now);
            hedged += u32::from(books.take(&acme, now));
            assert!(f64::from(hedged) <= SHARE * f64::from(request) + 1e-6, "{hedged} of {request}");
        }
        assert!((49..=50).contains(&hedged), "{hedged}");
        assert!(!books.take(&tenant("other"), now), "who asked for nothing has earned nothing");
    }

    #[test]
    fn what_was_saved_up_is_bounded() {
        let (books, now, acme) = (HedgeBooks::default(), Instant::now(), tenant("acme"));
        (0..10_000).for_each(|_| books.earn(&acme, SHARE, now));
        let used = (0..10_000).filter(|_| books.take(&acme, now)).count();
        assert_eq!(used, limits::HEDGES_SAVED_MAX as usize);
    }

    #[test]
    fn too_much_waste_pauses_and_ends() {
        let (books, now, acme) = (HedgeBooks::default(), Instant::now(), tenant("acme"));
        let bill = |lost, now| books.settle(&acme, (100, lost), 1, 0.30, now);
        for _ in 0..20 {
            assert_eq!(bill(40, now), Waste::Bearable);
        }
        books.earn(&acme, 1.0, now);
        books.earn(&acme, 1.0, now);
        assert!(books.take(&acme, now));
        let told = (0..20).filter(|_| bill(90, now) == Waste::Pausing).count();
        assert_eq!(told, 1, "once a pause");
        assert!(books.is_paused(&acme, now) && !books.take(&acme, now));
        assert!(!books.is_paused(&tenant("other"), now), "one tenant's waste is no other's");
        let later = now + limits::WASTE_PAUSE;
        assert!(!books.is_paused(&acme, later) && books.take(&acme, later));
    }

    #[test]
    fn one_dear_answer_decides_nothing() {
        let (books, now, acme) = (HedgeBooks::default(), Instant::now(), tenant("acme"));
        assert_eq!(books.settle(&acme, (1, 1_000), 1, 0.30, now), Waste::Bearable);
        let later = now + limits::WASTE_HALF_LIFE * 20;
        for _ in 0..4 {
            assert_eq!(books.settle(&acme, (100, 1), 1, 0.30, later), Waste::Bearable, "what is long ago has faded");
        }
    }
}
