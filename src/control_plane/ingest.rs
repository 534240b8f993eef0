//! From reports to the books where there is no journal (`durability = "none"`): attempts become lines of the usage rollup, added once and
//! exactly. With a journal the books are filled from that alone (`journal.rs`), and reports are only shown to who wants to know.
//!
//! Reports are taken from the cores' queues, summed in memory, and added in one transaction with a number of their own. While the
//! store refuses, that batch is offered again with the same number and nothing more is taken: the queues fill and admission stops
//! (rule L4), rather than money being lost.

use crate::domain::id::{AccessKeyId, CredentialId, ProviderId, TenantId};
use crate::limits::HANDOVER_LINES_MAX;
use crate::report::{AttemptReport, CoreReports};
use crate::routing::policy::Policy;
use crate::store::{Store, StoreError, UsageBatch, UsageRow};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// The name of the source that has the store.
const SOURCE: &str = "reports";

/// The state between two batches.
#[derive(Debug, Default)]
pub(super) struct Ingest {
    /// The name of this source in the store.
    source: String,
    /// The number of the last batch that the store has.
    sequence: u64,
    /// A batch that the store did not take.
    refused: Option<Vec<UsageRow>>,
}

/// Lines to be added.
pub(super) type Sums = HashMap<Key, UsageRow>;

/// What a line of the rollup is for.
type Key = (TenantId, u64, ProviderId, Arc<str>, Policy, Option<CredentialId>, AccessKeyId);

impl Ingest {
    /// Goes on where the store says this source stopped.
    ///
    /// # Errors
    /// As the store.
    pub(super) fn open(store: &mut Store) -> Result<Self, StoreError> {
        let sequence = store.admin().usage_sequence(SOURCE)?.unwrap_or(0);
        Ok(Self { source: SOURCE.to_owned(), sequence, refused: None })
    }

    /// Counts from 1 under a name of its own from here on, because another process has the store and its numbers. What was refused
    /// before must have been added: its number is the old one's.
    pub(super) fn part(&mut self, source: String) {
        (self.source, self.sequence) = (source, 0);
    }

    /// Another process had the store and may have counted on under the same name: goes on where the store says. A name of our own
    /// nobody else uses.
    ///
    /// # Errors
    /// As the store.
    pub(super) fn resume(&mut self, store: &mut Store) -> Result<(), StoreError> {
        if !self.has_parted() {
            *self = Self::open(store)?;
        }
        Ok(())
    }

    /// Whether it counts under a name of its own.
    pub(super) fn has_parted(&self) -> bool {
        self.source != SOURCE
    }

    /// The name of this source.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// The next batch for another process to add, with its number: the same one until it is [`booked`](Self::booked). `None` when
    /// nothing waits.
    pub(super) fn next(
        &mut self,
        queues: &[Arc<CoreReports>],
        each: impl FnMut(&AttemptReport),
    ) -> Option<(u64, &[UsageRow])> {
        if self.refused.is_none() {
            let (sums, _) = collect(queues, HANDOVER_LINES_MAX, each);
            self.refused = Some(sums.into_values().collect()).filter(|rows: &Vec<_>| !rows.is_empty());
        }
        let sequence = self.sequence.saturating_add(1);
        self.refused.as_deref().map(|rows| (sequence, rows))
    }

    /// The last batch is in the books.
    pub(super) fn booked(&mut self) {
        if self.refused.take().is_some() {
            self.sequence = self.sequence.saturating_add(1);
        }
    }

    /// Takes what waits, shows each report to `each`, and adds it all to the store. Answers how many reports were taken.
    ///
    /// # Errors
    /// As the store; what was taken is kept and added by the next call.
    pub(super) fn take(
        &mut self,
        store: &mut Store,
        queues: &[Arc<CoreReports>],
        mut each: impl FnMut(&AttemptReport),
    ) -> Result<usize, StoreError> {
        if let Some(rows) = self.refused.take() {
            self.add(store, rows)?;
        }
        let (sums, taken) = collect(queues, usize::MAX, &mut each);
        if !sums.is_empty() {
            self.add(store, sums.into_values().collect())?;
        }
        Ok(taken)
    }

    /// Takes what waits and shows each report to `each`; the books are filled from elsewhere. Answers how many reports were taken.
    pub(super) fn show(queues: &[Arc<CoreReports>], mut each: impl FnMut(&AttemptReport)) -> usize {
        let mut taken = 0;
        for queue in queues {
            for _ in 0..queue.waiting() {
                let Some(report) = queue.pop() else { break };
                each(&report);
                taken += 1;
            }
        }
        taken
    }

    fn add(&mut self, store: &mut Store, rows: Vec<UsageRow>) -> Result<(), StoreError> {
        let sequence = self.sequence.saturating_add(1);
        match store.admin().add_usage(&UsageBatch { source: &self.source, sequence, rows: &rows }) {
            // Known: it was committed although the answer said otherwise.
            Ok(_) => {
                self.sequence = sequence;
                Ok(())
            }
            Err(error) => {
                self.refused = Some(rows);
                Err(error)
            }
        }
    }
}

/// Takes what waits, in sums of at most so many lines; what a core pushes meanwhile waits for the next turn, so that a busy core
/// cannot keep us here. Answers how many reports were taken, too.
fn collect(queues: &[Arc<CoreReports>], lines_max: usize, mut each: impl FnMut(&AttemptReport)) -> (Sums, usize) {
    let (mut sums, mut taken) = (HashMap::new(), 0);
    for queue in queues {
        for _ in 0..queue.waiting() {
            if sums.len() >= lines_max {
                return (sums, taken);
            }
            let Some(report) = queue.pop() else { break };
            each(&report);
            count(&mut sums, &report);
            taken += 1;
        }
    }
    (sums, taken)
}

/// Adds an attempt to its line.
pub(super) fn count(sums: &mut Sums, report: &AttemptReport) {
    let line = UsageRow::of(report);
    let key = (
        report.tenant.clone(),
        line.hour,
        report.provider.clone(),
        report.model.clone(),
        report.policy,
        report.credential,
        report.access_key,
    );
    match sums.entry(key) {
        Entry::Occupied(mut known) => known.get_mut().add(&line),
        Entry::Vacant(place) => drop(place.insert(line)),
    }
}
