//! A closed attempt as the books count it: a few figures, and names that stay where they were read.
//!
//! The books see every attempt, so that what they look at takes no memory of its own, whether it comes from a queue or out of the journal.

use super::{AttemptReport, Outcome};
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, AttemptId, CredentialId};
use crate::domain::money::Money;
use crate::domain::token::{Usage, UsageSource};
use crate::routing::policy::Policy;

/// What the books need of a closed attempt; each member as in [`AttemptReport`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Brief<'a> {
    /// The attempt.
    pub attempt: AttemptId,
    /// Whether it was the exchange's last one.
    pub last: bool,
    /// Who asked.
    pub tenant: &'a str,
    /// With which access key.
    pub access_key: AccessKeyId,
    /// Who was asked.
    pub provider: &'a str,
    /// With which credential, if with any.
    pub credential: Option<CredentialId>,
    /// For which model.
    pub model: &'a str,
    /// The policy that chose it.
    pub policy: Policy,
    /// How it ended.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// Where that figure is from.
    pub usage_source: UsageSource,
    /// What it cost; `None` when the model's price is unknown.
    pub cost: Option<Money>,
    /// When it began.
    pub started: UnixMillis,
}

impl<'a> Brief<'a> {
    /// The same of a whole report.
    pub fn of(report: &'a AttemptReport) -> Self {
        Self {
            attempt: report.attempt,
            last: report.last,
            tenant: report.tenant.as_str(),
            access_key: report.access_key,
            provider: report.provider.as_str(),
            credential: report.credential,
            model: &report.model,
            policy: report.policy,
            outcome: report.outcome,
            usage: report.usage,
            usage_source: report.usage_source,
            cost: report.cost,
            started: report.started,
        }
    }
}
