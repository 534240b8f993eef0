//! Budgets that the API set, and which of their thresholds were told of.
//!
//! A budget is a row by whose it is, who set it and its period; what the configuration allows is not in here. A mark is written with the
//! alert it stands for, so that neither is there without the other.

use super::error::{StoreError, damaged, from_sql, to_sql};
use super::{Admin, HolderName, Store};
use crate::domain::budget::{Budget, Cap, Period};
use crate::domain::clock::UnixMillis;
use crate::domain::id::TenantId;
use crate::domain::money::Money;
use rusqlite::{Row, params};

/// Who set a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BudgetOrigin {
    /// The limits of an access key or of a tenant, most often by configuration. Never in the table of budgets.
    Limits,
    /// Whoever runs the gateway, by its API.
    Operator,
    /// The tenant itself.
    Tenant,
}

/// A budget that the API set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetRow {
    /// Whose access keys it is about.
    pub tenant: TenantId,
    /// Whose money.
    pub holder: HolderName,
    /// Who set it.
    pub origin: BudgetOrigin,
    /// How much, how often anew, and what happens at its end.
    pub budget: Budget,
    /// At which whole percentages somebody is told, rising.
    pub alert_at: Vec<u16>,
    /// When it was first set.
    pub created: UnixMillis,
    /// When it was last set.
    pub updated: UnixMillis,
}

/// That a threshold was told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetMark {
    /// Whose tenant.
    pub tenant: TenantId,
    /// Whose money.
    pub holder: HolderName,
    /// Who set the budget.
    pub origin: BudgetOrigin,
    /// Its period.
    pub period: Period,
    /// When the period began.
    pub started: UnixMillis,
    /// When it is over; `None`: never.
    pub ends: Option<UnixMillis>,
    /// Percent.
    pub threshold: u16,
    /// The budget's amount when it was told.
    pub amount: Money,
}

// === impl BudgetOrigin ===

impl BudgetOrigin {
    /// The name in answers and in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limits => "limits",
            Self::Operator => "operator",
            Self::Tenant => "tenant",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Limits, Self::Operator, Self::Tenant].into_iter().find(|origin| origin.name() == name)
    }
}

// === impl Store ===

impl Store {
    /// Sets a budget in place of the one with the same holder, origin and period.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn put_budget(&mut self, tenant: &TenantId, row: &BudgetRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO budgets VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                   ON CONFLICT (tenant, holder, origin, period) DO UPDATE SET cap = excluded.cap,
                       amount_pico = excluded.amount_pico, alert_at = excluded.alert_at, updated = excluded.updated";
        self.change(
            sql,
            params![
                tenant.as_str(),
                row.holder.to_sql(),
                row.origin.name(),
                row.budget.period.name(),
                row.budget.cap.name(),
                row.budget.amount.pico().to_string(),
                row.alert_at.iter().map(u16::to_string).collect::<Vec<_>>().join(","),
                to_sql(row.created.0),
                to_sql(row.updated.0),
            ],
        )?;
        Ok(())
    }

    /// Takes away what one origin set for a holder: of one period, or all of it. Answers how many there were.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn remove_budgets(
        &mut self,
        tenant: &TenantId,
        holder: &HolderName,
        origin: BudgetOrigin,
        period: Option<Period>,
    ) -> Result<usize, StoreError> {
        let sql = "DELETE FROM budgets
                   WHERE tenant = ?1 AND holder = ?2 AND origin = ?3 AND (?4 IS NULL OR period = ?4)";
        let values = params![tenant.as_str(), holder.to_sql(), origin.name(), period.map(Period::name)];
        self.change(sql, values)
    }

    /// Writes down that a threshold was told of.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn mark_budget(&mut self, tenant: &TenantId, mark: &BudgetMark) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO budget_marks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        self.change(
            sql,
            params![
                tenant.as_str(),
                mark.holder.to_sql(),
                mark.origin.name(),
                mark.period.name(),
                to_sql(mark.started.0),
                mark.threshold,
                mark.amount.pico().to_string(),
                mark.ends.map(|end| to_sql(end.0)),
            ],
        )?;
        Ok(())
    }
}

// === impl Admin ===

impl Admin<'_> {
    /// Every budget of the API, of living tenants.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn budgets(&mut self) -> Result<Vec<BudgetRow>, StoreError> {
        let mut statement = self.store.connection.prepare_cached("SELECT * FROM budgets")?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    /// Every mark of a period that is not over by `now`.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn budget_marks(&mut self, now: UnixMillis) -> Result<Vec<BudgetMark>, StoreError> {
        let sql = "SELECT * FROM budget_marks WHERE ends IS NULL OR ends > ?1";
        let mut statement = self.store.connection.prepare_cached(sql)?;
        let mut rows = statement.query([to_sql(now.0)])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(BudgetMark {
                tenant: TenantId::new(row.get_ref(0)?.as_str().map_err(|_| damaged("a tenant's name"))?),
                holder: holder(row, 1)?,
                origin: word(row, 2, BudgetOrigin::parse)?,
                period: word(row, 3, Period::parse)?,
                started: UnixMillis(from_sql(row.get(4)?)),
                threshold: row.get(5)?,
                amount: amount(row, 6)?,
                ends: row.get::<_, Option<i64>>(7)?.map(|end| UnixMillis(from_sql(end))),
            });
        }
        Ok(found)
    }

    /// Forgets the marks of periods that are over by `now`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn forget_budget_marks(&mut self, now: UnixMillis) -> Result<(), StoreError> {
        self.store.change("DELETE FROM budget_marks WHERE ends <= ?1", [to_sql(now.0)])?;
        Ok(())
    }
}

fn read(row: &Row<'_>) -> Result<BudgetRow, StoreError> {
    let thresholds = row.get_ref(6)?.as_str().map_err(|_| damaged("a budget's thresholds"))?;
    let thresholds = thresholds.split(',').filter(|part| !part.is_empty());
    let alert_at =
        thresholds.map(str::parse).collect::<Result<_, _>>().map_err(|_| damaged("a budget's thresholds"))?;
    Ok(BudgetRow {
        tenant: TenantId::new(row.get_ref(0)?.as_str().map_err(|_| damaged("a tenant's name"))?),
        holder: holder(row, 1)?,
        origin: word(row, 2, BudgetOrigin::parse)?,
        budget: Budget {
            period: word(row, 3, Period::parse)?,
            cap: word(row, 4, Cap::parse)?,
            amount: amount(row, 5)?,
        },
        alert_at,
        created: UnixMillis(from_sql(row.get(7)?)),
        updated: UnixMillis(from_sql(row.get(8)?)),
    })
}

fn holder(row: &Row<'_>, column: usize) -> Result<HolderName, StoreError> {
    let holder = row.get_ref(column)?.as_blob().ok().and_then(HolderName::from_sql);
    holder.ok_or_else(|| damaged("the holder of a budget"))
}

fn word<T>(row: &Row<'_>, column: usize, parse: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
    row.get_ref(column)?.as_str().ok().and_then(parse).ok_or_else(|| damaged("a budget's word"))
}

fn amount(row: &Row<'_>, column: usize) -> Result<Money, StoreError> {
    let pico = row.get_ref(column)?.as_str().ok().and_then(|text| text.parse().ok());
    pico.map(Money::from_pico).ok_or_else(|| damaged("a budget's amount"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::AccessKeyId;
    use crate::store::tests::Place;

    #[test]
    fn budgets_and_marks_come_back_and_marks_end_with_their_period() {
        let place = Place::new("budgets");
        let (mut store, _) = place.open();
        let tenant = TenantId::new("default");
        let holder = HolderName::AccessKey(AccessKeyId::from_bits(7));
        let budget = Budget { amount: Money::from_pico(5), period: Period::Day, cap: Cap::Soft };
        let (at, later) = (UnixMillis(1), UnixMillis(2));
        let (origin, alert_at) = (BudgetOrigin::Tenant, vec![50, 100]);
        let mut row = BudgetRow { tenant: tenant.clone(), holder, origin, budget, alert_at, created: at, updated: at };
        store.connection.execute("PRAGMA foreign_keys = OFF", []).expect("set");
        store.put_budget(&tenant, &row).expect("set");
        row.budget = Budget { amount: Money::from_pico(6), cap: Cap::Hard, ..budget };
        store.put_budget(&tenant, &BudgetRow { created: later, updated: later, ..row.clone() }).expect("set");
        assert_eq!(store.admin().budgets().expect("read"), [BudgetRow { updated: later, ..row.clone() }]);
        let mark = |threshold, ends| BudgetMark {
            tenant: tenant.clone(),
            holder: row.holder.clone(),
            origin,
            period: Period::Day,
            started: UnixMillis(0),
            ends,
            threshold,
            amount: Money::from_pico(6),
        };
        let (ending, lasting) = (mark(75, Some(UnixMillis(10))), mark(90, None));
        store.mark_budget(&tenant, &ending).expect("written");
        store.mark_budget(&tenant, &lasting).expect("written");
        assert_eq!(store.admin().budget_marks(UnixMillis(9)).expect("read"), [ending, lasting.clone()]);
        assert_eq!(store.admin().budget_marks(UnixMillis(10)).expect("read"), [lasting]);
        assert_eq!(store.remove_budgets(&tenant, &row.holder, BudgetOrigin::Operator, None).expect("done"), 0);
        assert_eq!(store.remove_budgets(&tenant, &row.holder, origin, Some(Period::Day)).expect("done"), 1);
        assert_eq!(store.admin().budgets().expect("read"), []);
    }
}
