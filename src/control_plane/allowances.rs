//! The allowances of access keys and tenants: made from their limits, kept across snapshots, written down, and read back at a start.
//!
//! A holder's counters live as long as the process and the holder; whatever its limits become, what was used stays. Money comes back from
//! the books, which every attempt is in: the hours of each period under way, and the total beside them. Rates come back from where they
//! were written down. After a kill at most what had not been ingested yet is missing, one [`INGEST_TICK`](crate::limits::INGEST_TICK).

use super::leases::{Desk, Leases};
use super::{Control, key_limits};
use crate::allowance::{
    Allowance, Ceiling, Counters, Holder, Moment, SteadyClock, Step, Terms, Whose, money_of, nano_of,
};
use crate::config;
use crate::domain::budget::{Budget, Cap, Period};
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, TenantId};
use crate::domain::money::Money;
use crate::limits::alerts::ALERT_LINGER;
use crate::limits::{CLOCK_STEP_NOTED, HOLDERS_GONE_MAX, RATES_KEPT_PER_TICK};
use crate::report::AttemptReport;
use crate::store::{BudgetOrigin, BudgetRow, HolderName, RateState, Store, StoreError, UsageFilter, UsageRow};
use crate::vault::Entropy;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// Every holder's allowance.
pub(super) struct Allowances {
    pub(super) clock: Arc<SteadyClock>,
    unlimited: Arc<Allowance>,
    pub(super) entries: HashMap<HolderName, Entry>,
    /// What this machine leases of limits that several share.
    pub(super) leases: Option<Leases>,
    /// Keys that a rotation made, each with the first of its line: what they use is counted as that one's.
    lines: HashMap<AccessKeyId, AccessKeyId>,
    /// Rates as they were written down, of holders that have not been met since the start.
    stored: HashMap<HolderName, RateState>,
    /// Whose money is still in the books alone.
    fresh: Vec<HolderName>,
    /// Whose counters have changed since they were written down.
    touched: BTreeSet<HolderName>,
    /// What the API set beside the limits, by whose it is.
    own: HashMap<HolderName, Vec<BudgetRow>>,
    /// Whose money moved, and when that was last known.
    pub(super) moved: BTreeMap<HolderName, Instant>,
    /// Counts builds of the access table: who is not met in one is gone.
    round: u64,
    /// Holders that were left when some were last forgotten.
    kept: usize,
    is_clock_behind: bool,
    trouble: Option<String>,
}

/// One holder.
pub(super) struct Entry {
    pub(super) holder: Arc<Holder>,
    /// What is leased of its limits.
    pub(super) desk: Desk,
    /// As snapshots carry it; of a tenant: for access keys without limits of their own.
    allowance: Arc<Allowance>,
    tenant: TenantId,
    round: u64,
    /// So many of its budgets are of its limits; those of the API stand behind them.
    of_limits: usize,
    /// Whether its money was read from the books.
    has_money: bool,
    /// For which budget, by its text, and which period's end it was said that the money is spent.
    noted: Vec<(String, Option<UnixMillis>)>,
}

/// How far one budget is spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spent {
    /// Who set it.
    pub(super) origin: BudgetOrigin,
    /// The budget.
    pub(super) budget: Budget,
    /// At which percentages to tell; `None`: at the usual ones.
    pub(super) alert_at: Option<Vec<u16>>,
    /// What was spent in the period under way.
    pub(super) spent: Money,
    /// When that period began.
    pub(super) started: UnixMillis,
    /// When it is over; `None`: never.
    pub(super) ends: Option<UnixMillis>,
}

/// What is left of an access key's or a tenant's limits, as shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AllowanceView {
    /// Requests left in this minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_remaining: Option<u64>,
    /// Tokens left in this minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_remaining: Option<u64>,
    /// Requests under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u32>,
    /// Money.
    pub budgets: Vec<BudgetView>,
}

/// What is left of a budget, as shown. Amounts are dollars.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BudgetView {
    /// `hour`, `day`, `week`, `month` or `total`.
    pub period: &'static str,
    /// `hard` or `soft`.
    pub cap: &'static str,
    /// What may be spent.
    pub limit: f64,
    /// What was.
    pub spent: f64,
    /// What is held for requests under way, and by the cores in advance.
    pub reserved: f64,
    /// When it begins anew, RFC 3339, UTC; `null`: never.
    pub resets_at: Option<String>,
}

// === impl Spent ===

impl Spent {
    /// Whether requests beyond the budget are refused.
    pub(super) fn is_hard(&self) -> bool {
        self.budget.cap == Cap::Hard
    }
}

// === impl Allowances ===

impl Allowances {
    /// None yet; what was written down is read back as holders are met. `shared`: several machines share the limits.
    ///
    /// # Errors
    /// As the store, and the system's random numbers.
    pub(super) fn open(
        store: &mut Store,
        entropy: &mut dyn Entropy,
        shared: Option<&config::Fleet>,
        now: UnixMillis,
    ) -> Result<Self, StoreError> {
        let leases = shared.map(|fleet| Leases::open(store, entropy, fleet, now)).transpose()?;
        let clock = Arc::new(SteadyClock::new(now, Instant::now()));
        let stored = store.admin().rates(Moment::from(now).0)?.into_iter().collect();
        let lines = store.admin().access_key_holders()?.into_iter().collect();
        let own = read_own(store)?;
        Ok(Self {
            clock,
            unlimited: Arc::default(),
            entries: HashMap::new(),
            leases,
            lines,
            stored,
            fresh: Vec::new(),
            touched: BTreeSet::new(),
            own,
            moved: BTreeMap::new(),
            round: 0,
            kept: 0,
            is_clock_behind: false,
            trouble: None,
        })
    }

    /// Before the access table is built: the limits of tenants.
    pub(super) fn begin(&mut self, tenants: &[config::Tenant]) {
        self.round += 1;
        for tenant in tenants {
            let terms = key_limits::tenant_terms(&tenant.limits);
            let name = HolderName::Tenant(tenant.id.clone());
            self.meet(&name, Whose::Tenant, &tenant.id, terms, None);
        }
        let others: Vec<TenantId> = self.own.keys().filter_map(tenant_of).cloned().collect();
        for tenant in others.iter().filter(|id| !tenants.iter().any(|tenant| tenant.id == **id)) {
            self.meet(&HolderName::Tenant(tenant.clone()), Whose::Tenant, tenant, Terms::default(), None);
        }
    }

    /// Takes in what the API now sets for a holder. A tenant's is met at once, since its access keys hang below it; those of access keys
    /// are met as they are published.
    pub(super) fn set_own(&mut self, name: &HolderName, tenant: &TenantId, limits: Terms, rows: Vec<BudgetRow>) {
        match rows.is_empty() {
            true => drop(self.own.remove(name)),
            false => drop(self.own.insert(name.clone(), rows)),
        }
        if tenant_of(name).is_some() {
            self.meet(name, Whose::Tenant, tenant, limits, None);
        }
        self.moved.insert(name.clone(), Instant::now());
    }

    /// What the API sets for a holder.
    pub(super) fn own(&self, name: &HolderName) -> &[BudgetRow] {
        self.own.get(name).map_or(&[], Vec::as_slice)
    }

    /// Everybody who has a budget, with whose tenant it is.
    pub(super) fn all_budgeted(&self) -> impl Iterator<Item = (&HolderName, &TenantId)> {
        let budgeted = self.entries.iter().filter(|(_, entry)| !entry.holder.terms.ceilings.is_empty());
        budgeted.map(|(name, entry)| (name, &entry.tenant))
    }

    /// Reads anew what the API sets: another process had the store.
    ///
    /// # Errors
    /// As the store; then nothing changed.
    pub(super) fn reload_own(&mut self, store: &mut Store) -> Result<(), StoreError> {
        self.own = read_own(store)?;
        Ok(())
    }

    /// A tenant is gone, and its budgets with it.
    pub(super) fn forget_own(&mut self, tenant: &TenantId) {
        self.own.retain(|_, rows| rows.iter().any(|row| row.tenant != *tenant));
    }

    /// The access keys whose line begins with this one, itself among them.
    pub(super) fn line_of(&self, first: AccessKeyId) -> Vec<AccessKeyId> {
        let later = self.lines.iter().filter(|(_, line)| **line == first).map(|(later, _)| *later);
        std::iter::once(first).chain(later).collect()
    }

    /// Whose money may have moved since a moment ago, with whose tenant it is.
    pub(super) fn moved(&mut self, now: Instant) -> Vec<(HolderName, TenantId)> {
        let tenant = |name: &HolderName| self.entries.get(name).map(|entry| entry.tenant.clone());
        let found = self.moved.keys().filter_map(|name| Some((name.clone(), tenant(name)?))).collect();
        self.moved.retain(|_, at| now.saturating_duration_since(*at) < ALERT_LINGER);
        found
    }

    /// Has a holder looked at again, since what was found could not be written down.
    pub(super) fn look_again(&mut self, name: HolderName, now: Instant) {
        self.moved.insert(name, now);
    }

    /// How far each budget of a holder is spent; empty where it has none.
    pub(super) fn spent(&self, name: &HolderName) -> Vec<Spent> {
        let Some(entry) = self.entries.get(name) else { return Vec::new() };
        let (Holder { terms, counters, .. }, now) = (&*entry.holder, self.clock.at(Instant::now()));
        let own = self.own(name);
        let spent = |(place, ceiling): (usize, &Ceiling)| {
            let row = place.checked_sub(entry.of_limits).and_then(|place| own.get(place));
            Spent {
                origin: row.map_or(BudgetOrigin::Limits, |row| row.origin),
                budget: ceiling.budget,
                alert_at: row.map(|row| row.alert_at.clone()),
                spent: money_of(counters.spending.spent_in(ceiling.budget.period, now)),
                started: ceiling.budget.period.start(now.millis()),
                ends: ceiling.resets_at(now),
            }
        };
        terms.ceilings.iter().enumerate().map(spent).collect()
    }

    /// Takes in what another process spent for us, which its counters had and ours have not.
    pub(super) fn count_elsewhere(&mut self, rows: &[UsageRow], now: Instant) {
        for row in rows.iter().filter(|row| row.cost > Money::ZERO) {
            for name in [self.holder_of(row.access_key), HolderName::Tenant(row.tenant.clone())] {
                if let Some(entry) = self.entries.get(&name).filter(|entry| entry.has_money) {
                    entry.holder.counters.spending.settle(nano_of(row.cost), 0);
                    if let Some(leases) = &mut self.leases {
                        leases.touch(&name);
                    }
                    self.moved.insert(name, now);
                }
            }
        }
    }

    /// What a snapshot carries for an access key with these limits; `first` is the first key of its line.
    pub(super) fn of_key(
        &mut self,
        id: AccessKeyId,
        first: AccessKeyId,
        tenant: &TenantId,
        terms: Terms,
    ) -> Arc<Allowance> {
        if id != first {
            self.lines.insert(id, first);
        }
        let above = self.entries.get(&HolderName::Tenant(tenant.clone()));
        let above = above.filter(|entry| entry.round == self.round && !entry.holder.terms.is_empty());
        let above = above.map(|entry| (entry.holder.clone(), entry.allowance.clone()));
        let (above, shared) = above.unzip();
        let own = self.meet(&HolderName::AccessKey(first), Whose::AccessKey, tenant, terms, above.as_ref());
        own.or(shared).unwrap_or_else(|| self.unlimited.clone())
    }

    /// After the whole is built: forgets who is gone.
    pub(super) fn end(&mut self) {
        let round = self.round;
        self.entries.retain(|_, entry| entry.round == round);
        self.kept = self.entries.len();
    }

    /// After keys of the access table were looked at: reads from the books what those that are new have spent. Holders that nobody
    /// serves for any more are forgotten when there are many.
    ///
    /// # Errors
    /// As the store; the next publication tries again.
    pub(super) fn settle(&mut self, store: &mut Store) -> Result<(), StoreError> {
        if self.entries.len() > 2 * self.kept + HOLDERS_GONE_MAX {
            // All keys of a line share the allowance of its first, so that the one that ended says nothing of the others.
            let is_met = |entry: &Entry| Arc::strong_count(&entry.allowance) > 1;
            self.entries.retain(|name, entry| matches!(name, HolderName::Tenant(_)) || is_met(entry));
            self.kept = self.entries.len();
        }
        self.read_books(store)
    }

    /// As whose an access key is counted.
    pub(super) fn holder_of(&self, id: AccessKeyId) -> HolderName {
        HolderName::AccessKey(self.lines.get(&id).copied().unwrap_or(id))
    }

    /// The allowance of a holder with these limits; `None` where there are none. Its counters stay what they were.
    fn meet(
        &mut self,
        name: &HolderName,
        whose: Whose,
        tenant: &TenantId,
        mut terms: Terms,
        above: Option<&Arc<Holder>>,
    ) -> Option<Arc<Allowance>> {
        let of_limits = terms.ceilings.len();
        if let Some(rows) = self.own.get(name) {
            let own = rows.iter().map(|row| Ceiling::new(row.budget));
            terms.ceilings = terms.ceilings.iter().copied().chain(own).collect();
        }
        let now = self.clock.at(Instant::now());
        let is_limited = !terms.is_empty();
        if !self.entries.contains_key(name) {
            if !is_limited {
                return None;
            }
            let member = self.leases.as_ref().map(|leases| leases.membership.clone());
            let counters = Arc::new(Counters::of_member(now, member));
            if let Some(state) = self.stored.remove(name) {
                let rates = [
                    (terms.requests, &counters.requests, state.requests_full_at),
                    (terms.tokens, &counters.tokens, state.tokens_full_at),
                ];
                for (pace, rate, full_at) in rates {
                    pace.into_iter().for_each(|pace| rate.restore(pace, Moment(full_at), now));
                }
            }
            let holder = Arc::new(Holder { whose, terms: Terms::default(), counters, clock: self.clock.clone() });
            let (tenant, allowance) = (tenant.clone(), self.unlimited.clone());
            let (desk, noted) = (Desk::new(name.to_sql()), Vec::new());
            let entry = Entry { holder, desk, allowance, tenant, round: 0, of_limits, has_money: false, noted };
            self.entries.insert(name.clone(), entry);
        }
        let entry = self.entries.get_mut(name)?;
        (entry.round, entry.of_limits) = (self.round, of_limits);
        if entry.holder.terms != terms {
            let Holder { counters, clock, .. } = &*entry.holder;
            entry.holder = Arc::new(Holder { whose, terms, counters: counters.clone(), clock: clock.clone() });
            self.set_out_leases(name, now);
        }
        let entry = self.entries.get_mut(name)?;
        // While there is no budget nobody looks after the money: it is read anew when there is one.
        entry.has_money &= !entry.holder.terms.ceilings.is_empty();
        if !entry.has_money && !entry.holder.terms.ceilings.is_empty() {
            entry.has_money = true;
            self.fresh.push(name.clone());
        }
        if !is_limited {
            return None;
        }
        let pair = match whose {
            Whose::AccessKey => [Some(&entry.holder), above],
            Whose::Tenant => [None, Some(&entry.holder)],
        };
        let is_same = |(one, other): (Option<&Arc<Holder>>, Option<&Arc<Holder>>)| match (one, other) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        if !entry.allowance.holders().into_iter().zip(pair).all(is_same) {
            entry.allowance = Arc::new(Allowance::new(pair[0].cloned(), pair[1].cloned()));
        }
        Some(entry.allowance.clone())
    }

    /// Reads what the holders that are new have spent: the hours of every period under way, and their totals.
    fn read_books(&mut self, store: &mut Store) -> Result<(), StoreError> {
        /// So many tenants are read one by one; of more, everybody's lines are.
        const APART_MAX: usize = 16;
        let entries = &self.entries;
        self.fresh.retain(|name| entries.contains_key(name));
        if self.fresh.is_empty() {
            return Ok(());
        }
        let now = self.clock.at(Instant::now());
        let hours = Period::ALL.map(|period| {
            let end = period.end(now.millis()).map_or(u64::MAX, UsageRow::hour_of);
            UsageRow::hour_of(period.start(now.millis()))..end
        });
        let long = [Period::Week, Period::Month].map(|period| hours[period as usize].clone());
        let filter = UsageFilter { hours: long[0].start.min(long[1].start)..long[0].end.max(long[1].end) };
        let mut sums: HashMap<HolderName, [Money; Period::ALL.len()]> =
            self.fresh.iter().map(|name| (name.clone(), Default::default())).collect();
        let mut count = |row: UsageRow| {
            let first = self.lines.get(&row.access_key).copied().unwrap_or(row.access_key);
            for name in [HolderName::AccessKey(first), HolderName::Tenant(row.tenant)] {
                let Some(sums) = sums.get_mut(&name) else { continue };
                for (sum, hours) in sums.iter_mut().zip(&hours) {
                    if hours.contains(&row.hour) {
                        *sum += row.cost;
                    }
                }
            }
        };
        let tenants: HashSet<TenantId> =
            self.fresh.iter().filter_map(|name| Some(self.entries.get(name)?.tenant.clone())).collect();
        match tenants.len() <= APART_MAX {
            true => tenants.iter().try_for_each(|tenant| store.for_each_usage(tenant, &filter, &mut count))?,
            false => store.admin().for_each_usage(&filter, &mut count)?,
        }
        let mut totals: HashMap<HolderName, Money> = HashMap::new();
        for (later, first) in &self.lines {
            let first = HolderName::AccessKey(*first);
            if sums.contains_key(&first) {
                *totals.entry(first).or_default() += store.admin().spent_total(&HolderName::AccessKey(*later))?;
            }
        }
        for (name, mut sums) in sums {
            let later = totals.get(&name).copied().unwrap_or_default();
            sums[Period::Total as usize] = store.admin().spent_total(&name)? + later;
            let Some(entry) = self.entries.get(&name) else { continue };
            for (period, sum) in Period::ALL.into_iter().zip(sums) {
                entry.holder.counters.spending.restore(period, nano_of(sum), now);
            }
        }
        let instant = Instant::now();
        let fresh: Vec<HolderName> = self.fresh.drain(..).collect();
        if let Some(leases) = &mut self.leases {
            // What was spent before is told at once: a budget that is new binds all.
            fresh.iter().for_each(|name| leases.touch(name));
            leases.membership.ring();
        }
        self.moved.extend(fresh.into_iter().map(|name| (name, instant)));
        Ok(())
    }

    /// Before anybody is served: the books have grown by what was found in the journal, so that all money is read again.
    ///
    /// # Errors
    /// As the store; the next publication tries again.
    pub(super) fn read_anew(&mut self, store: &mut Store) -> Result<(), StoreError> {
        let has_money = |entry: &&Entry| entry.has_money;
        self.fresh = self.entries.iter().filter(|(_, entry)| has_money(entry)).map(|(name, _)| name.clone()).collect();
        self.read_books(store)
    }

    /// Takes in what an attempt of another process cost, which came into the books while this one serves.
    pub(super) fn spend(&mut self, tenant: &TenantId, access_key: AccessKeyId, cost: Money) {
        for name in [self.holder_of(access_key), HolderName::Tenant(tenant.clone())] {
            // Who is still to be read from the books finds it there.
            let Some(entry) = self.entries.get(&name).filter(|entry| entry.has_money && !self.fresh.contains(&name))
            else {
                continue;
            };
            entry.holder.counters.spending.settle(nano_of(cost), 0);
            if let Some(leases) = &mut self.leases {
                leases.touch(&name);
            }
            self.touched.insert(name);
        }
    }

    /// Takes in that an attempt of an access key was made.
    pub(super) fn touch(&mut self, report: &AttemptReport) {
        let now = Instant::now();
        for name in [self.holder_of(report.access_key), HolderName::Tenant(report.tenant.clone())] {
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            if !entry.holder.terms.ceilings.is_empty() {
                self.moved.insert(name.clone(), now);
            }
            if let Some(leases) = &mut self.leases {
                entry.desk.count(report.usage.input.saturating_add(report.usage.output));
                leases.touch(&name);
            }
            self.touched.insert(name);
        }
    }

    /// Writes down the rates that changed, some at a time. Answers what an owner should know: which budgets are spent.
    fn keep(&mut self, store: &mut Store) -> Result<Vec<String>, StoreError> {
        let now = self.clock.at(Instant::now());
        let mut later = self.touched.iter().nth(RATES_KEPT_PER_TICK).cloned().map(|name| self.touched.split_off(&name));
        let names = std::mem::replace(&mut self.touched, later.take().unwrap_or_default());
        let has_rate = |terms: &Terms| terms.requests.is_some() || terms.tokens.is_some();
        let state = |name: &HolderName| {
            let Holder { terms, counters, .. } = &*self.entries.get(name)?.holder;
            let (requests, tokens) = (counters.requests.full_at().0, counters.tokens.full_at().0);
            has_rate(terms).then(|| (name.clone(), RateState { requests_full_at: requests, tokens_full_at: tokens }))
        };
        let states: Vec<(HolderName, RateState)> = names.iter().filter_map(state).collect();
        if !states.is_empty()
            && let Err(error) = store.admin().keep_rates(&states)
        {
            self.touched.extend(names);
            return Err(error);
        }
        let mut notes = Vec::new();
        for name in &names {
            if let Some(entry) = self.entries.get_mut(name) {
                entry.note_spent(name, now, &mut notes);
            }
        }
        Ok(notes)
    }

    fn view(&self, name: &HolderName) -> Option<AllowanceView> {
        let entry = self.entries.get(name).filter(|entry| !entry.holder.terms.is_empty())?;
        let Holder { terms, counters, .. } = &*entry.holder;
        let now = self.clock.at(Instant::now());
        let budget = |ceiling: &Ceiling| BudgetView {
            period: ceiling.budget.period.name(),
            cap: ceiling.budget.cap.name(),
            limit: ceiling.budget.amount.to_usd(),
            spent: money_of(counters.spending.spent_in(ceiling.budget.period, now)).to_usd(),
            reserved: money_of(counters.spending.held()).to_usd(),
            resets_at: ceiling.resets_at(now).map(UnixMillis::to_rfc3339),
        };
        Some(AllowanceView {
            requests_remaining: entry.holder.requests().map(|pace| counters.requests.remaining(pace, now)),
            tokens_remaining: entry.holder.tokens().map(|pace| counters.tokens.remaining(pace, now)),
            concurrent: terms.concurrent.map(|_| counters.places.taken()),
            budgets: terms.ceilings.iter().map(budget).collect(),
        })
    }

    /// Follows the wall clock forward. Answers what an owner should know of it (rule L9).
    fn follow(&mut self, wall: UnixMillis) -> Option<String> {
        let step = self.clock.correct(wall, Instant::now());
        let was_behind =
            std::mem::replace(&mut self.is_clock_behind, matches!(step, Step::Behind(by) if by > CLOCK_STEP_NOTED));
        match step {
            Step::Forward(by) if by > CLOCK_STEP_NOTED => {
                Some(format!("the clock was set forward by {} s; rates and budgets follow it", by.as_secs()))
            }
            Step::Behind(by) if by > CLOCK_STEP_NOTED && !was_behind => Some(format!(
                "the clock was set back by {} s; rates and budgets go on from where they were until it has caught up",
                by.as_secs()
            )),
            _ => None,
        }
    }
}

/// What the API sets, by whose it is.
fn read_own(store: &mut Store) -> Result<HashMap<HolderName, Vec<BudgetRow>>, StoreError> {
    let mut own: HashMap<HolderName, Vec<BudgetRow>> = HashMap::new();
    for row in store.admin().budgets()? {
        own.entry(row.holder.clone()).or_default().push(row);
    }
    Ok(own)
}

fn tenant_of(name: &HolderName) -> Option<&TenantId> {
    match name {
        HolderName::Tenant(tenant) => Some(tenant),
        HolderName::AccessKey(_) => None,
    }
}

// === impl Entry ===

impl Entry {
    /// Says once a period that a budget is spent.
    fn note_spent(&mut self, name: &HolderName, now: Moment, notes: &mut Vec<String>) {
        let Holder { terms, counters, .. } = &*self.holder;
        for ceiling in &terms.ceilings {
            if counters.spending.spent_in(ceiling.budget.period, now) < ceiling.nano {
                continue;
            }
            let (budget, end) = (ceiling.budget.to_string(), ceiling.resets_at(now));
            if self.noted.iter().any(|(known, at)| *known == budget && *at == end) {
                continue;
            }
            let whose = match name {
                HolderName::AccessKey(id) => format!("access key {id} of tenant {}", self.tenant),
                HolderName::Tenant(id) => format!("tenant {id}"),
            };
            let then = if ceiling.is_hard() { "requests are refused" } else { "requests go on, its cap is soft" };
            let until = end.map_or(String::new(), |end| format!(" until {}", end.to_rfc3339()));
            notes.push(format!("the budget {budget} of {whose} is spent{until}; {then}"));
            self.noted.retain(|(known, _)| *known != budget);
            self.noted.push((budget, end));
        }
    }
}

// === impl Control ===

impl Control {
    /// Writes down what was used, and follows the clock.
    pub(super) fn keep_allowances(&mut self, now: UnixMillis) {
        if let Some(sentence) = self.allowances.follow(now) {
            self.note("clock", sentence);
        }
        let trouble = match self.allowances.keep(&mut self.store) {
            Ok(notes) => {
                self.note_all("budget", notes);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        if trouble != self.allowances.trouble
            && let Some(sentence) = &trouble
        {
            self.note("ledger", format!("rates cannot be written down: {sentence}"));
        }
        self.allowances.trouble = trouble;
    }

    /// What is left of an access key's limits; `None` where it has none of its own.
    pub(super) fn allowance_of_key(&self, id: AccessKeyId) -> Option<AllowanceView> {
        self.allowances.view(&self.allowances.holder_of(id))
    }

    /// What is left of a tenant's limits; `None` where it has none.
    pub(super) fn allowance_of_tenant(&self, id: &TenantId) -> Option<AllowanceView> {
        self.allowances.view(&HolderName::Tenant(id.clone()))
    }
}
