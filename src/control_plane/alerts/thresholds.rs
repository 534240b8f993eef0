//! Thresholds of budgets: told once in each period, in their order, and again when the budget was raised.

use super::raise::Raised;
use crate::control_plane::Control;
use crate::control_plane::allowances::Spent;
use crate::domain::alert::AlertKind;
use crate::domain::clock::UnixMillis;
use crate::domain::id::TenantId;
use crate::domain::money::Money;
use crate::store::{BudgetMark, HolderName, StoreError};
use serde_json::json;
use std::time::Instant;

impl Control {
    /// Tells of every threshold that was passed and not told of. A budget whose alert cannot be written down is looked at again.
    pub(super) fn watch_budgets(&mut self, now: UnixMillis, instant: Instant) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        for (holder, tenant) in self.allowances.moved(instant) {
            for spent in self.allowances.spent(&holder) {
                if let Err(error) = self.watch_budget(&holder, &tenant, &spent, now) {
                    self.allowances.look_again(holder.clone(), instant);
                    outcome = Err(error);
                    break;
                }
            }
        }
        outcome
    }

    fn watch_budget(
        &mut self,
        holder: &HolderName,
        tenant: &TenantId,
        spent: &Spent,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let Spent { origin, budget, alert_at, started, ends, .. } = spent;
        let at = alert_at.clone().unwrap_or_else(|| self.config.alerts.thresholds.clone());
        let known = self.alerts.marks.get(&(holder.clone(), *origin, budget.period));
        let told = known.map_or(&[][..], Vec::as_slice);
        let told: Vec<_> = told.iter().filter(|mark| mark.started == *started).collect();
        let told = |threshold: u16| told.iter().any(|mark| mark.threshold == threshold && mark.amount >= budget.amount);
        for threshold in due(spent.spent, budget.amount, &at, told) {
            let mark = BudgetMark {
                tenant: tenant.clone(),
                holder: holder.clone(),
                origin: *origin,
                period: budget.period,
                started: *started,
                ends: *ends,
                threshold,
                amount: budget.amount,
            };
            let raised = raised(holder, tenant, spent, threshold);
            self.raise(raised, now, |store| store.mark_budget(tenant, &mark))?;
            self.alerts.keep(mark);
        }
        Ok(())
    }
}

/// The thresholds to tell of now, rising. `told` says which were told of at this amount or a larger one.
pub(super) fn due(spent: Money, amount: Money, at: &[u16], told: impl Fn(u16) -> bool) -> Vec<u16> {
    let mut passed: Vec<u16> = at.iter().copied().filter(|threshold| has_passed(spent, amount, *threshold)).collect();
    passed.sort_unstable();
    passed.dedup();
    passed.retain(|threshold| !told(*threshold));
    passed
}

/// Whether so many percent of an amount are spent; exactly, without a float.
fn has_passed(spent: Money, amount: Money, threshold: u16) -> bool {
    spent.pico().saturating_mul(100) >= amount.pico().saturating_mul(i128::from(threshold))
}

/// Whole and tenths of percent for people; a budget of nothing is spent at once.
pub(super) fn percent(spent: Money, amount: Money) -> f64 {
    if amount <= Money::ZERO {
        return 100.0;
    }
    (spent.to_usd() / amount.to_usd() * 1_000.0).round() / 10.0
}

fn raised(holder: &HolderName, tenant: &TenantId, spent: &Spent, threshold: u16) -> Raised {
    let Spent { origin, budget, started, ends, .. } = spent;
    let whose = match holder {
        HolderName::AccessKey(id) => format!("access key {id} of tenant {tenant}"),
        HolderName::Tenant(_) => format!("tenant {tenant}"),
    };
    let money = spent.spent;
    let then = match (threshold >= 100, spent.is_hard()) {
        (true, true) => "; requests are refused with 402",
        (true, false) => "; requests go on, its cap is soft",
        _ => "",
    };
    let until = ends.map_or(String::new(), |end| format!(", which ends {}", end.to_rfc3339()));
    let sentence =
        format!("{threshold} % of the budget {budget} of {whose} are spent (${money}) in this period{until}{then}");
    let access_key = match holder {
        HolderName::AccessKey(id) => Some(id.to_string()),
        HolderName::Tenant(_) => None,
    };
    let data = json!({
        "scope": if access_key.is_some() { "access_key" } else { "tenant" },
        "access_key": access_key,
        "threshold_percent": threshold,
        "percent": percent(money, budget.amount),
        "spent_usd": money.to_usd(),
        "limit_usd": budget.amount.to_usd(),
        "limit": budget.to_string(),
        "period": budget.period.name(),
        "hard": spent.is_hard(),
        "set_by": origin.name(),
        "period_began": started.to_rfc3339(),
        "resets_at": ends.map(UnixMillis::to_rfc3339),
    });
    let subject = access_key.unwrap_or_else(|| tenant.to_string());
    Raised { kind: AlertKind::Budget, tenant: tenant.clone(), subject, sentence, data, lasts: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(text: &str) -> Money {
        Money::parse_usd(text).expect("an amount")
    }

    #[test]
    fn thresholds_are_told_in_order_and_to_the_picodollar() {
        let due = |spent, told: &[u16]| due(usd(spent), usd("10"), &[100, 75, 90, 75], |at| told.contains(&at));
        assert_eq!(due("7.499999999999", &[]), [0_u16; 0]);
        assert_eq!(due("7.5", &[]), [75]);
        assert_eq!(due("12", &[]), [75, 90, 100]);
        assert_eq!(due("12", &[75]), [90, 100]);
        assert_eq!(due("12", &[75, 90, 100]), [0_u16; 0]);
    }

    #[test]
    fn a_budget_of_nothing_is_spent() {
        assert_eq!(due(Money::ZERO, Money::ZERO, &[100], |_| false), [100]);
        assert_eq!((percent(Money::ZERO, Money::ZERO), percent(usd("1"), usd("3"))), (100.0, 33.3));
    }
}
