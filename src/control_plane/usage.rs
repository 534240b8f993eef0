//! What a tenant used: exact sums over the hourly rollup.
//!
//! A period is the hour under way and as many whole hours before it as the period has, so that it is never shorter than its name;
//! `from` and `to` say which.

use crate::domain::clock::UnixMillis;
use crate::domain::id::TenantId;
use crate::domain::money::Money;
use crate::store::{Store, StoreError, UsageFilter, UsageRow};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// How far back to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsagePeriod {
    /// One hour.
    Hour,
    /// 24 hours.
    Day,
    /// 7 days.
    Week,
    /// 30 days.
    Month,
}

/// Sums of a period.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UsageAnswer {
    /// `hour`, `day`, `week` or `month`.
    pub period: &'static str,
    /// RFC 3339, UTC; the first instant counted.
    pub from: String,
    /// RFC 3339, UTC; now.
    pub to: String,
    /// Everything.
    #[serde(flatten)]
    pub total: UsageSum,
    /// By provider.
    pub by_provider: BTreeMap<String, UsageSum>,
    /// By the model that ran.
    pub by_model: BTreeMap<String, UsageSum>,
}

/// One sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UsageSum {
    /// Exchanges.
    pub requests: u64,
    /// Calls made to providers, each counted once.
    pub attempts: u64,
    /// Tokens in, cached ones among them.
    pub input_tokens: u64,
    /// Tokens out.
    pub output_tokens: u64,
    /// Money; a float of dollars in JSON only.
    #[serde(rename = "cost_usd", serialize_with = "dollars")]
    pub cost: Money,
}

// === impl UsagePeriod ===

impl UsagePeriod {
    /// Reads `hour`, `day`, `week` or `month`.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Hour, Self::Day, Self::Week, Self::Month].into_iter().find(|period| period.name() == name)
    }

    /// The name in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    const fn hours(self) -> u64 {
        match self {
            Self::Hour => 1,
            Self::Day => 24,
            Self::Week => 7 * 24,
            Self::Month => 30 * 24,
        }
    }
}

// === impl UsageSum ===

impl UsageSum {
    fn add(&mut self, row: &UsageRow) {
        self.requests = self.requests.saturating_add(row.requests);
        self.attempts = self.attempts.saturating_add(row.attempts);
        self.input_tokens = self.input_tokens.saturating_add(row.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(row.output_tokens);
        self.cost += row.cost;
    }
}

/// Sums a tenant's lines.
///
/// # Errors
/// [`StoreError::NotFound`] when there is no such tenant (rule T1).
pub(super) fn sum(
    store: &Store,
    tenant: &TenantId,
    period: UsagePeriod,
    now: UnixMillis,
) -> Result<UsageAnswer, StoreError> {
    if !store.has_tenant(tenant)? {
        return Err(StoreError::NotFound("tenant"));
    }
    let hour = UsageRow::hour_of(now);
    let hours = hour.saturating_sub(period.hours())..hour.saturating_add(1);
    let mut answer = UsageAnswer {
        period: period.name(),
        from: UnixMillis(hours.start * 3_600_000).to_rfc3339(),
        to: now.to_rfc3339(),
        total: UsageSum::default(),
        by_provider: BTreeMap::new(),
        by_model: BTreeMap::new(),
    };
    store.for_each_usage(tenant, &UsageFilter { hours }, |row| {
        answer.total.add(&row);
        answer.by_provider.entry(row.provider.as_str().to_owned()).or_default().add(&row);
        answer.by_model.entry(row.model.clone()).or_default().add(&row);
    })?;
    Ok(answer)
}

fn dollars<S: Serializer>(cost: &Money, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(cost.to_usd())
}
