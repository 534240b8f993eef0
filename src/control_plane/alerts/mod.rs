//! Alerts: what somebody must be told, once, over restarts: budgets that are nearly spent, spending and errors that are unusual, keys that
//! grow old, and trouble of the gateway's own.
//!
//! ```text
//! books, allowances, reminders --tick--> watch --raise--> alert + mark + messages, one transaction --> /events, webhooks
//! ```
//! What was told is written with the alert, so that a kill between the two tells nothing twice and forgets nothing. Nothing here refuses a
//! request: budgets do that by themselves (`allowances`).

mod budgets;
mod deliver;
mod raise;
mod thresholds;
mod trouble;
mod unusual;
mod view;
mod watch;
mod webhooks;

pub use budgets::{BudgetSheet, BudgetState, NewBudget};
pub use deliver::deliver_always;
pub(super) use trouble::Aged;
pub use view::{AlertQuery, AlertView};
pub use webhooks::{MadeWebhook, MessageView, NewWebhook, WebhookView};

use super::Control;
use crate::domain::budget::Period;
use crate::domain::clock::UnixMillis;
use crate::domain::id::{RotationId, TenantId};
use crate::limits::alerts::{ALERT_TICK, ALERTS_FORGOTTEN_EVERY, ALERTS_KEPT};
use crate::report::AttemptReport;
use crate::store::{BudgetMark, BudgetOrigin, HolderName, NewAlert, Store, StoreError, WebhookRow};
use std::collections::{HashMap, VecDeque};
use std::time::Instant;
use trouble::Troubles;
use watch::Watch;

/// Which budget: whose, by whom, how often anew.
type BudgetName = (HolderName, BudgetOrigin, Period);

/// What is known between two looks.
#[derive(Default)]
pub(super) struct Alerts {
    /// What was told of budgets in periods under way.
    marks: HashMap<BudgetName, Vec<BudgetMark>>,
    /// What tenants named, by whose they are.
    webhooks: HashMap<TenantId, Vec<WebhookRow>>,
    /// Hours that are unusual.
    watch: Watch,
    /// What else is wrong.
    troubles: Troubles,
    /// What was told while the database was gone, and is not among the alerts of all machines yet.
    late: VecDeque<NewAlert>,
    looked: Option<Instant>,
    forgot: Option<Instant>,
    trouble: Option<String>,
}

// === impl Alerts ===

impl Alerts {
    /// Goes on where the store says.
    ///
    /// # Errors
    /// As the store.
    pub(super) fn open(store: &mut Store, machine: Option<&str>, now: UnixMillis) -> Result<Self, StoreError> {
        let (watch, troubles) = (Watch::open(store, machine)?, Troubles::open(store)?);
        let mut alerts = Self { watch, troubles, ..Self::default() };
        for mark in store.admin().budget_marks(now)? {
            alerts.keep(mark);
        }
        alerts.reload_webhooks(store)?;
        Ok(alerts)
    }

    /// Takes in what other machines told, which is not told here again.
    ///
    /// # Errors
    /// As the store.
    pub(super) fn follow(&mut self, store: &mut Store, now: UnixMillis) -> Result<(), StoreError> {
        self.marks.clear();
        for mark in store.admin().budget_marks(now)? {
            self.keep(mark);
        }
        self.troubles.follow(store)?;
        self.watch.follow_others(store)
    }

    /// Reads the webhooks anew: another machine changed some.
    ///
    /// # Errors
    /// As the store; then nothing changed.
    pub(super) fn reload_webhooks(&mut self, store: &mut Store) -> Result<(), StoreError> {
        let rows = store.admin().webhooks()?;
        self.webhooks.clear();
        for row in rows {
            self.webhooks.entry(row.tenant.clone()).or_default().push(row);
        }
        Ok(())
    }

    /// A tenant is gone, and its things with it.
    pub(super) fn forget_tenant(&mut self, tenant: &TenantId) {
        self.webhooks.remove(tenant);
        self.watch.forget_tenant(tenant);
        self.troubles.forget_tenant(tenant);
        self.marks.retain(|_, marks| marks.iter().any(|mark| mark.tenant != *tenant));
    }

    /// Takes in an attempt.
    pub(super) fn count(&mut self, report: &AttemptReport) {
        self.watch.count(report);
    }

    /// Another process added to the books.
    pub(super) fn reread(&mut self) {
        self.watch.reread();
    }

    /// Takes in an event.
    pub(super) fn hear(&mut self, kind: &str, text: &str) {
        self.troubles.hear(kind, text, Instant::now());
    }

    /// Takes in that a rotation is held.
    pub(super) fn hear_held(&mut self, tenant: &TenantId, id: RotationId, why: &str) {
        self.troubles.hear_held(tenant, id, why, Instant::now());
    }

    fn keep(&mut self, mark: BudgetMark) {
        let marks = self.marks.entry((mark.holder.clone(), mark.origin, mark.period)).or_default();
        marks.retain(|known| known.started == mark.started && known.threshold != mark.threshold);
        marks.push(mark);
    }
}

// === impl Control ===

impl Control {
    /// Looks at what somebody may have to be told, if it is time, and forgets what is old.
    pub(super) fn watch_alerts(&mut self, now: UnixMillis, instant: Instant) {
        let recent = |last: Option<Instant>, every| {
            last.is_some_and(|last: Instant| instant.saturating_duration_since(last) < every)
        };
        if recent(self.alerts.looked, ALERT_TICK) {
            return;
        }
        self.alerts.looked = Some(instant);
        let mut outcome = self.watch_budgets(now, instant);
        outcome = outcome.and_then(|()| self.watch_unusual(now, instant));
        // What is wrong with this machine is told whatever becomes of the rest.
        outcome = outcome.and(self.tell_of_troubles(now)).and(self.join_late_alerts());
        if !recent(self.alerts.forgot, ALERTS_FORGOTTEN_EVERY) {
            self.alerts.forgot = Some(instant);
            outcome = outcome.and(self.forget_old_alerts(now));
        }
        // A machine that was faster, or a database that is gone, is no trouble of the books: it is told by the fleet, and looked at again.
        let outcome = outcome.or_else(|error| if matches!(error, StoreError::Share(_)) { Ok(()) } else { Err(error) });
        let trouble = outcome.err().map(|error| error.to_string());
        if trouble != self.alerts.trouble
            && let Some(sentence) = &trouble
        {
            self.note("ledger", format!("alerts cannot be written down: {sentence}"));
        }
        self.alerts.trouble = trouble;
    }

    /// Takes up what another process left in the store.
    ///
    /// # Errors
    /// As the store.
    pub(super) fn resume_alerts(&mut self) -> Result<(), StoreError> {
        let now = self.now();
        let machine = self.machine();
        self.alerts = Alerts::open(&mut self.store, machine.as_deref(), now)?;
        self.allowances.reload_own(&mut self.store)
    }

    fn forget_old_alerts(&mut self, now: UnixMillis) -> Result<(), StoreError> {
        let kept = u64::try_from(ALERTS_KEPT.as_millis()).unwrap_or(u64::MAX);
        let before = UnixMillis(now.0.saturating_sub(kept));
        self.store.admin().forget_alerts(before)?;
        self.store.admin().forget_deliveries(before)?;
        self.store.admin().forget_budget_marks(now)
    }
}
