//! From reports to the books: attempts become lines of the usage rollup, added once and exactly.
//!
//! Reports are taken from the cores' queues, summed in memory, and added in one transaction with a number of their own. While the
//! store refuses, that batch is offered again with the same number and nothing more is taken: the queues fill and admission stops
//! (rule L4), rather than money being lost.

use crate::domain::id::{AccessKeyId, CredentialId, ProviderId, TenantId};
use crate::report::{AttemptReport, CoreReports};
use crate::store::{Store, StoreError, UsageBatch, UsageRow};
use std::collections::HashMap;
use std::sync::Arc;

/// The name of this source in the store.
const SOURCE: &str = "reports";

/// The state between two batches.
#[derive(Debug, Default)]
pub(super) struct Ingest {
    /// The number of the last batch that the store has.
    sequence: u64,
    /// A batch that the store did not take.
    refused: Option<Vec<UsageRow>>,
}

/// What a line of the rollup is for.
type Key = (TenantId, u64, ProviderId, Arc<str>, Option<CredentialId>, AccessKeyId);

impl Ingest {
    /// Goes on where the store says this source stopped.
    ///
    /// # Errors
    /// As the store.
    pub(super) fn open(store: &mut Store) -> Result<Self, StoreError> {
        Ok(Self { sequence: store.admin().usage_sequence(SOURCE)?.unwrap_or(0), refused: None })
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
        let mut sums: HashMap<Key, UsageRow> = HashMap::new();
        let mut taken = 0;
        for queue in queues {
            // What a core pushes meanwhile waits for the next turn, so that a busy core cannot keep us here.
            for _ in 0..queue.waiting() {
                let Some(report) = queue.pop() else { break };
                each(&report);
                count(&mut sums, &report);
                taken += 1;
            }
        }
        if !sums.is_empty() {
            self.add(store, sums.into_values().collect())?;
        }
        Ok(taken)
    }

    fn add(&mut self, store: &mut Store, rows: Vec<UsageRow>) -> Result<(), StoreError> {
        let sequence = self.sequence.saturating_add(1);
        match store.admin().add_usage(&UsageBatch { source: SOURCE, sequence, rows: &rows }) {
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

fn count(sums: &mut HashMap<Key, UsageRow>, report: &AttemptReport) {
    let hour = UsageRow::hour_of(report.started);
    let key = (
        report.tenant.clone(),
        hour,
        report.provider.clone(),
        report.model.clone(),
        report.credential,
        report.access_key,
    );
    let row = sums.entry(key).or_insert_with(|| UsageRow {
        tenant: report.tenant.clone(),
        hour,
        provider: report.provider.clone(),
        model: report.model.to_string(),
        credential: report.credential.unwrap_or(CredentialId::from_bits(0)),
        access_key: report.access_key,
        requests: 0,
        attempts: 0,
        input_tokens: 0,
        output_tokens: 0,
        cached_tokens: 0,
        cost: Default::default(),
    });
    row.requests += u64::from(report.last);
    row.attempts += 1;
    row.input_tokens = row.input_tokens.saturating_add(report.usage.input);
    row.output_tokens = row.output_tokens.saturating_add(report.usage.output);
    row.cached_tokens = row.cached_tokens.saturating_add(report.usage.cached_input);
    row.cost += report.cost.unwrap_or_default();
}
