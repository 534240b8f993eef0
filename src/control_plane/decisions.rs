//! The latest decisions of every core, in memory: for explanations, and to be dumped for a replay.
//!
//! A ring per core that forgets the oldest, filled when somebody asks and with every tick. Nothing is stored: a decision explains what
//! happened a moment ago, the books are elsewhere.

use super::Control;
use crate::domain::id::{RequestId, TenantId};
use crate::report::CoreReports;
use crate::routing::decision::Decision;
use crate::routing::policy::Policy;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Which decisions are wanted; what is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct DecisionFilter {
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// By the name that was asked for, or of a lane that was asked.
    pub model: Option<String>,
    /// That asked this provider.
    pub provider: Option<String>,
    /// With this status for the client.
    pub status: Option<u16>,
    /// So many at most, the latest; `None` for all.
    pub limit: Option<usize>,
}

/// The latest decisions.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    /// By core; the oldest in front.
    rings: Vec<VecDeque<Box<Decision>>>,
}

impl DecisionFilter {
    fn fits(&self, decision: &Decision) -> bool {
        let asked = |fits: &dyn Fn(&str, &str) -> bool| {
            decision.attempts.iter().any(|attempt| fits(attempt.lane.provider.as_str(), &attempt.lane.model))
        };
        self.tenant.as_ref().is_none_or(|tenant| decision.tenant == *tenant)
            && self.model.as_ref().is_none_or(|name| *decision.model == **name || asked(&|_, model| model == name))
            && self.provider.as_ref().is_none_or(|name| asked(&|provider, _| provider == name))
            && self.status.is_none_or(|status| decision.status == status)
    }
}

impl Decisions {
    /// Takes what waits, shows each to `each`, and keeps the latest `kept` of each core.
    pub(super) fn take(&mut self, queues: &[Arc<CoreReports>], kept: usize, mut each: impl FnMut(&Decision)) {
        self.rings.resize_with(queues.len(), VecDeque::new);
        for (queue, ring) in queues.iter().zip(&mut self.rings) {
            // What a core pushes meanwhile waits for the next turn, so that a busy core cannot keep us here.
            for _ in 0..queue.decisions_waiting() {
                ring.extend(queue.pop_decision().inspect(|decision| each(decision)));
            }
            ring.drain(..ring.len().saturating_sub(kept)).for_each(|oldest| queue.forget_decision(oldest));
        }
    }

    /// One, by the exchange's id.
    pub(super) fn find(&self, id: RequestId) -> Option<&Decision> {
        self.rings.iter().flatten().map(|decision| &**decision).find(|decision| decision.id == id)
    }

    /// Those that are wanted, the latest first.
    pub(super) fn list(&self, filter: &DecisionFilter) -> Vec<&Decision> {
        let all = self.rings.iter().flatten().map(|decision| &**decision);
        let mut found: Vec<&Decision> = all.filter(|decision| filter.fits(decision)).collect();
        // Stable: within a millisecond a core's own order holds.
        found.sort_by_key(|decision| decision.at);
        found.reverse();
        found.truncate(filter.limit.unwrap_or(usize::MAX));
        found
    }
}

impl Control {
    /// The decision of an exchange, if it is still remembered.
    pub fn decision(&mut self, id: RequestId) -> Option<&Decision> {
        self.take_decisions();
        self.decisions.find(id)
    }

    /// The remembered decisions that fit, the latest first.
    pub fn decisions(&mut self, filter: &DecisionFilter) -> Vec<&Decision> {
        self.take_decisions();
        self.decisions.list(filter)
    }

    /// Takes in what the cores have decided.
    pub(super) fn take_decisions(&mut self) {
        let kept = self.published.load().settings.routing.decisions_kept;
        let Self { decisions, reports, series, .. } = self;
        decisions.take(reports, kept, |decision| series.weigh(decision));
    }

    /// Plans carried out since start, by policy.
    pub(super) fn decisions_by_policy(&self) -> [(Policy, u64); Policy::ALL.len()] {
        Policy::ALL.map(|policy| {
            let count = |core: &Arc<CoreReports>| core.gauges.decisions[policy as usize].load(Ordering::Relaxed);
            (policy, self.reports.iter().map(count).sum())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::UnixMillis;
    use crate::routing::record;

    fn decision(number: u128) -> Box<Decision> {
        Box::new(Decision {
            id: RequestId::from_bits(number),
            at: UnixMillis(number as u64),
            ..record::tests::sample()
        })
    }

    #[test]
    fn a_ring_forgets_the_oldest() {
        let queues = [Arc::new(CoreReports::new(4)), Arc::new(CoreReports::new(4))];
        let mut decisions = Decisions::default();
        for number in 0..5 {
            queues[0].push_decision(decision(number));
        }
        queues[1].push_decision(decision(2));
        decisions.take(&queues, 3, |_| {});
        assert!(decisions.find(RequestId::from_bits(1)).is_none());
        assert!(decisions.find(RequestId::from_bits(4)).is_some());
        let at: Vec<u64> = decisions.list(&DecisionFilter::default()).iter().map(|one| one.at.0).collect();
        assert_eq!(at, [4, 3, 2, 2]);
        // Fewer are kept from now on.
        decisions.take(&queues, 0, |_| {});
        assert!(decisions.list(&DecisionFilter::default()).is_empty());
    }

    #[test]
    fn a_filter_looks_at_what_was_asked_and_who_was() {
        let queues = [Arc::new(CoreReports::new(4))];
        queues[0].push_decision(decision(1));
        queues[0].push_decision(Box::new(Decision { tenant: TenantId::new("other"), status: 503, ..*decision(2) }));
        let mut decisions = Decisions::default();
        decisions.take(&queues, 8, |_| {});
        let all = DecisionFilter::default();
        let count = |filter: DecisionFilter| decisions.list(&filter).len();
        assert_eq!(count(DecisionFilter { tenant: Some(TenantId::new("acme")), ..all.clone() }), 1);
        assert_eq!(count(DecisionFilter { status: Some(503), ..all.clone() }), 1);
        for (model, found) in [("auto", 2), ("gpt-4o", 2), ("gpt", 0)] {
            assert_eq!(count(DecisionFilter { model: Some(model.to_owned()), ..all.clone() }), found, "{model}");
        }
        for (provider, found) in [("a", 2), ("c", 0)] {
            let filter = DecisionFilter { provider: Some(provider.to_owned()), ..all.clone() };
            assert_eq!(count(filter), found, "{provider}");
        }
        assert_eq!(count(DecisionFilter { limit: Some(1), ..all }), 1);
    }

    #[test]
    fn every_outcome_reads_back() {
        for outcome in super::super::stats::OUTCOMES {
            let mut decision = decision(1);
            decision.attempts[0].outcome = outcome.name();
            let value = record::write(&decision, record::View::Operator);
            assert_eq!(record::read(&value).map(|read| read.attempts[0].outcome), Ok(outcome.name()));
        }
    }
}
