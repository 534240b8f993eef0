//! From reports to the books where there is no journal (`durability = "none"`): attempts become lines of the usage rollup, added once and
//! exactly. With a journal the books are filled from that alone (`journal.rs`), and reports are only shown to who wants to know.
//!
//! Reports are taken from the cores' queues, summed in memory, and added in one transaction with a number of their own. While the
//! store refuses, that batch is offered again with the same number and nothing more is taken: the queues fill and admission stops
//! (rule L4), rather than money being lost.

use crate::domain::id_hash::IdHash;
use crate::limits::HANDOVER_LINES_MAX;
use crate::report::brief::Brief;
use crate::report::{AttemptReport, CoreReports};
use crate::store::{Store, StoreError, UsageBatch, UsageRow};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
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
///
/// An attempt finds its line without taking memory: nearly always it is the one that the attempt before it was added to.
#[derive(Debug, Default)]
pub(super) struct Sums {
    lines: Vec<UsageRow>,
    /// The place of the line that was added to last.
    latest: usize,
    /// By the hash of what it is for, the places of lines.
    places: HashMap<u64, Vec<usize>, IdHash>,
    /// Keyed, since clients choose the names of models.
    hash: RandomState,
}

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
            self.refused = Some(sums.into_lines()).filter(|rows| !rows.is_empty());
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
            self.add(store, sums.into_lines())?;
        }
        Ok(taken)
    }

    /// Takes what waits and shows each report to `each`; the books are filled from elsewhere. Answers how many reports were taken.
    pub(super) fn show(queues: &[Arc<CoreReports>], mut each: impl FnMut(&AttemptReport)) -> usize {
        let mut taken = 0;
        for queue in queues {
            for _ in 0..queue.waiting() {
                if !queue.show(&mut each) {
                    break;
                }
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
    let (mut sums, mut taken) = (Sums::default(), 0);
    for queue in queues {
        for _ in 0..queue.waiting() {
            if sums.len() >= lines_max {
                return (sums, taken);
            }
            let is_shown = queue.show(|report| {
                each(report);
                sums.add(&Brief::of(report));
            });
            if !is_shown {
                break;
            }
            taken += 1;
        }
    }
    (sums, taken)
}

// === impl Sums ===

impl Sums {
    /// How many lines there are.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The lines.
    pub(super) fn lines(&self) -> &[UsageRow] {
        &self.lines
    }

    /// The lines, and nothing else.
    pub(super) fn into_lines(self) -> Vec<UsageRow> {
        self.lines
    }

    /// Adds an attempt to its line.
    pub(super) fn add(&mut self, attempt: &Brief<'_>) {
        if !self.lines.get(self.latest).is_some_and(|line| line.is_for(attempt)) {
            self.latest = self.place_of(attempt);
        }
        if let Some(line) = self.lines.get_mut(self.latest) {
            line.take(attempt);
        }
    }

    /// The place of an attempt's line, which is made if it is not there.
    fn place_of(&mut self, attempt: &Brief<'_>) -> usize {
        let (policy, hour) = (attempt.policy as u8, UsageRow::hour_of(attempt.started));
        let names = (attempt.tenant, attempt.provider, attempt.model);
        let hash = self.hash.hash_one((names, policy, hour, attempt.credential, attempt.access_key));
        let alike = self.places.entry(hash).or_default();
        let known = alike.iter().copied().find(|place| self.lines.get(*place).is_some_and(|line| line.is_for(attempt)));
        known.unwrap_or_else(|| {
            alike.push(self.lines.len());
            self.lines.push(UsageRow::empty_for(attempt));
            self.lines.len() - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::UnixMillis;
    use crate::domain::id::{AccessKeyId, AttemptId, CredentialId};
    use crate::domain::money::Money;
    use crate::domain::token::{Usage, UsageSource};
    use crate::report::Outcome;
    use crate::routing::policy::Policy;
    use std::collections::BTreeMap;

    #[test]
    fn sums_are_those_of_one_line_for_each_attempt() {
        let mut dice = fastrand::Rng::with_seed(5);
        let names = ["a", "b", "ab"];
        let (mut sums, mut plain) = (Sums::default(), BTreeMap::new());
        for number in 0..3_000u64 {
            let credential = u128::from(dice.u8(..3));
            let attempt = Brief {
                attempt: AttemptId::from_bits(number.into()),
                last: dice.bool(),
                tenant: names[dice.usize(..3)],
                access_key: AccessKeyId::from_bits(u128::from(dice.u8(1..3))),
                provider: names[dice.usize(..3)],
                credential: (credential > 0).then(|| CredentialId::from_bits(credential)),
                model: names[dice.usize(..3)],
                policy: Policy::ALL[dice.usize(..2)],
                outcome: if dice.bool() { Outcome::Completed } else { Outcome::Broken },
                usage: Usage { input: dice.u64(..9), ..Usage::default() },
                usage_source: UsageSource::Provider,
                cost: dice.bool().then(|| Money::from_pico(7)),
                started: UnixMillis(3_600_000 * dice.u64(..2)),
            };
            sums.add(&attempt);
            let mut line = UsageRow::empty_for(&attempt);
            let key = (format!("{line:?}"), ());
            line.take(&attempt);
            plain.entry(key).and_modify(|known: &mut UsageRow| known.add(&line)).or_insert(line);
        }
        assert_eq!(sums.len(), plain.len());
        let sorted = |lines: Vec<UsageRow>| {
            let mut lines: Vec<String> = lines.iter().map(|line| format!("{line:?}")).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(sums.into_lines()), sorted(plain.into_values().collect()));
    }
}
