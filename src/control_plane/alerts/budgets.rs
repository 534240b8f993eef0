//! Budgets that the API sets, beside those of limits: all of them bind, so that the smallest wins, and none can widen another.
//!
//! A tenant sets its own, the operator sets any; neither touches what the other set. Like limits they survive restarts, reloads and
//! upgrades, and hold on every core with the next snapshot.

use super::thresholds::percent;
use crate::control_plane::allowances::Spent;
use crate::control_plane::audit::Changed;
use crate::control_plane::operations::Deed;
use crate::control_plane::{Control, ControlError, key_limits};
use crate::domain::budget::{Budget, Cap, Period};
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, TenantId};
use crate::domain::money::Money;
use crate::limits::BUDGETS_MAX;
use crate::limits::alerts::{ALERT_PERCENT_MAX, ALERT_THRESHOLDS_MAX};
use crate::store::{BudgetOrigin, BudgetRow, HolderName, StoreError};
use serde::Serialize;

/// A budget to set.
#[derive(Clone, Debug)]
pub struct NewBudget {
    /// Of one access key; `None`: of the whole tenant.
    pub access_key: Option<AccessKeyId>,
    /// How much, how often anew, and what happens at its end.
    pub budget: Budget,
    /// Whole percentages at which to tell; `None`: the usual ones.
    pub alert_at: Option<Vec<u16>>,
}

/// The budgets of one holder, as shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BudgetSheet {
    /// Whose.
    pub tenant: String,
    /// Of one access key; `null`: of the whole tenant.
    pub access_key: Option<String>,
    /// All that bind. The smallest wins.
    pub budgets: Vec<BudgetState>,
}

/// One budget, as shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BudgetState {
    /// `limits`, `operator` or `tenant`.
    pub set_by: &'static str,
    /// As configuration writes it.
    pub limit: String,
    /// Dollars.
    pub limit_usd: f64,
    /// `hour`, `day`, `week`, `month` or `total`.
    pub period: &'static str,
    /// Whether requests beyond it are refused.
    pub hard: bool,
    /// Whole percentages at which somebody is told.
    pub alert_at: Vec<u16>,
    /// Dollars in the period under way.
    pub spent_usd: f64,
    /// Dollars that are left.
    pub remaining_usd: f64,
    /// Share of the limit, in percent.
    pub percent: f64,
    /// RFC 3339, UTC.
    pub period_began: String,
    /// RFC 3339, UTC; `null`: never.
    pub resets_at: Option<String>,
}

impl BudgetState {
    /// `usual` are the thresholds of a budget that says none of its own.
    fn of(spent: Spent, usual: &[u16]) -> Self {
        let Spent { origin, budget, alert_at, spent, started, ends } = spent;
        let left = budget.amount.pico().saturating_sub(spent.pico()).max(0);
        Self {
            set_by: origin.name(),
            limit: budget.to_string(),
            limit_usd: budget.amount.to_usd(),
            period: budget.period.name(),
            hard: budget.cap == Cap::Hard,
            alert_at: alert_at.unwrap_or_else(|| usual.to_vec()),
            spent_usd: spent.to_usd(),
            remaining_usd: Money::from_pico(left).to_usd(),
            percent: percent(spent, budget.amount),
            period_began: started.to_rfc3339(),
            resets_at: ends.map(UnixMillis::to_rfc3339),
        }
    }
}

impl Control {
    /// The budgets of a tenant, or of one of its access keys.
    ///
    /// # Errors
    /// There is no such tenant or key (rule T1).
    pub fn budgets(&mut self, tenant: &TenantId, access_key: Option<AccessKeyId>) -> Result<BudgetSheet, ControlError> {
        let holder = self.budget_holder(tenant, access_key)?;
        Ok(self.sheet(tenant, &holder))
    }

    /// Every tenant and access key that has a budget, tenants first.
    pub fn all_budgets(&self) -> Vec<BudgetSheet> {
        let mut names: Vec<(HolderName, TenantId)> =
            self.allowances.all_budgeted().map(|(name, tenant)| (name.clone(), tenant.clone())).collect();
        names.sort_by(|one, other| {
            (matches!(one.0, HolderName::AccessKey(_)), &one.1, &one.0).cmp(&(
                matches!(other.0, HolderName::AccessKey(_)),
                &other.1,
                &other.0,
            ))
        });
        names.iter().map(|(name, tenant)| self.sheet(tenant, name)).collect()
    }

    /// Sets a budget in place of the one that the same origin set for the same period.
    ///
    /// # Errors
    /// There is no such tenant or key (rule T1), or it cannot be meant.
    pub fn set_budget(
        &mut self,
        who: &str,
        origin: BudgetOrigin,
        tenant: &TenantId,
        new: NewBudget,
    ) -> Result<BudgetSheet, ControlError> {
        let holder = self.budget_holder(tenant, new.access_key)?;
        let alert_at = checked_thresholds(new.alert_at.unwrap_or_else(|| self.config.alerts.thresholds.clone()))?;
        if new.budget.amount <= Money::ZERO {
            let what = "a budget must be more than $0; revoke the access keys to let nothing pass";
            return Err(ControlError::Invalid(what.to_owned()));
        }
        let now = self.now();
        let mut rows = self.allowances.own(&holder).to_vec();
        let same = |row: &BudgetRow| row.origin == origin && row.budget.period == new.budget.period;
        let created = rows.iter().find(|row| same(row)).map_or(now, |row| row.created);
        rows.retain(|row| !same(row));
        if rows.len() >= BUDGETS_MAX {
            let what = format!("there are {BUDGETS_MAX} budgets already; remove one first");
            return Err(ControlError::Conflict(what));
        }
        let (tenant_id, budget) = (tenant.clone(), new.budget);
        let row =
            BudgetRow { tenant: tenant_id, holder: holder.clone(), origin, budget, alert_at, created, updated: now };
        let before = self.sheet(tenant, &holder).marks();
        rows.push(row.clone());
        self.change(Deed { who, tenant, what: "budget.set" }, |means| {
            means.store.put_budget(tenant, &row)?;
            Ok(((), Changed::of(target(&holder)).before(&before).after(&format!("{} {}", origin.name(), budget))))
        })?;
        self.adopt_budgets(tenant, &holder, rows)?;
        Ok(self.sheet(tenant, &holder))
    }

    /// Takes away what an origin set: of one period, or all of it.
    ///
    /// # Errors
    /// There is no such tenant or key (rule T1), or nothing that this origin set.
    pub fn remove_budgets(
        &mut self,
        who: &str,
        origin: BudgetOrigin,
        tenant: &TenantId,
        access_key: Option<AccessKeyId>,
        period: Option<Period>,
    ) -> Result<BudgetSheet, ControlError> {
        let holder = self.budget_holder(tenant, access_key)?;
        let before = self.sheet(tenant, &holder).marks();
        self.change(Deed { who, tenant, what: "budget.remove" }, |means| {
            match means.store.remove_budgets(tenant, &holder, origin, period)? {
                0 => {
                    let what = "there is no such budget that may be removed here; what limits and others set stays";
                    Err(ControlError::NotFound(what.to_owned()))
                }
                _ => Ok(((), Changed::of(target(&holder)).before(&before))),
            }
        })?;
        let mut rows = self.allowances.own(&holder).to_vec();
        rows.retain(|row| row.origin != origin || period.is_some_and(|period| row.budget.period != period));
        self.adopt_budgets(tenant, &holder, rows)?;
        Ok(self.sheet(tenant, &holder))
    }

    /// Makes the budgets hold: for a tenant, every one of its access keys carries them.
    pub(in crate::control_plane) fn adopt_budgets(
        &mut self,
        tenant: &TenantId,
        holder: &HolderName,
        rows: Vec<BudgetRow>,
    ) -> Result<(), ControlError> {
        // What is spent and not in the books yet would not be read back from there.
        self.ingest()?;
        let configured = self.config.tenants.iter().find(|known| known.id == *tenant);
        let limits = configured.map(|tenant| key_limits::tenant_terms(&tenant.limits)).unwrap_or_default();
        self.allowances.set_own(holder, tenant, limits, rows);
        let keys = match holder {
            HolderName::AccessKey(first) => self.allowances.line_of(*first),
            HolderName::Tenant(tenant) => {
                let keys = self.store.access_keys(tenant)?;
                keys.iter().filter(|key| key.revoked.is_none()).map(|key| key.id).collect()
            }
        };
        self.touch_access_keys(keys);
        self.publish()?;
        // Where nobody has a key, nothing was published; what was spent is shown all the same.
        self.allowances.settle(&mut self.store)?;
        Ok(())
    }

    /// Whose money a budget is about. Access keys of one line are counted as one.
    fn budget_holder(&self, tenant: &TenantId, access_key: Option<AccessKeyId>) -> Result<HolderName, ControlError> {
        match access_key {
            Some(id) => {
                let known = self.store.access_key(tenant, id)?;
                Ok(self.allowances.holder_of(known.id))
            }
            None if self.store.has_tenant(tenant)? => Ok(HolderName::Tenant(tenant.clone())),
            None => Err(StoreError::NotFound("tenant").into()),
        }
    }

    fn sheet(&self, tenant: &TenantId, holder: &HolderName) -> BudgetSheet {
        let access_key = match holder {
            HolderName::AccessKey(id) => Some(id.to_string()),
            HolderName::Tenant(_) => None,
        };
        let usual = &self.config.alerts.thresholds;
        let budgets = self.allowances.spent(holder).into_iter().map(|spent| BudgetState::of(spent, usual)).collect();
        BudgetSheet { tenant: tenant.to_string(), access_key, budgets }
    }
}

impl BudgetSheet {
    /// The budgets without what is spent of them, for the audit log.
    fn marks(&self) -> Vec<String> {
        self.budgets.iter().map(|budget| format!("{} {}", budget.set_by, budget.limit)).collect()
    }
}

fn target(holder: &HolderName) -> String {
    match holder {
        HolderName::AccessKey(id) => id.to_string(),
        HolderName::Tenant(tenant) => tenant.to_string(),
    }
}

fn checked_thresholds(mut at: Vec<u16>) -> Result<Vec<u16>, ControlError> {
    at.sort_unstable();
    at.dedup();
    let fits = at.len() <= ALERT_THRESHOLDS_MAX && at.iter().all(|at| (1..=ALERT_PERCENT_MAX).contains(at));
    if fits {
        return Ok(at);
    }
    Err(ControlError::Invalid(format!(
        "`alert_at` must be a list of at most {ALERT_THRESHOLDS_MAX} whole percentages from 1 to {ALERT_PERCENT_MAX}"
    )))
}
