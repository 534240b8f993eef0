//! The control plane between two processes: it lets the store go, rests, passes its last amounts on, or takes the store back (rule S3).
//!
//! ```text
//! keeps the store --release--> rests --reclaim--> keeps the store
//!                                |  part, then next_batch / batch_booked until the last exchange has ended
//! ```
//!
//! While it rests, nothing is read or written, nothing is published, and reports wait in the cores' queues. Decisions and observations of
//! that time are not passed on: they are worth less than money.

use super::audit::config_mark;
use super::ingest::Ingest;
use super::supply::Ending;
use super::{Control, ControlError, Dirty, inputs, means, supply};
use crate::domain::id::{AccessKeyId, CredentialId, ProviderId, TenantId};
use crate::domain::money::Money;
use crate::report::{AttemptReport, CoreReports};
use crate::store::{AuditEntry, Ingested, UsageBatch, UsageRow};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Amounts for another process to book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOn {
    /// Who counted them.
    pub source: String,
    /// Their number, from 1.
    pub number: u64,
    /// The lines, as [`Control::book`] reads them.
    pub lines: Vec<u8>,
}

/// A line between two processes; ids as hexadecimal digits, money in whole picodollars.
#[derive(Serialize, Deserialize)]
struct Line {
    tenant: String,
    hour: u64,
    provider: String,
    model: String,
    policy: String,
    credential: String,
    access_key: String,
    requests: u64,
    attempts: u64,
    failed: u64,
    estimated: u64,
    unpriced: u64,
    input_tokens: u64,
    output_tokens: u64,
    cached_tokens: u64,
    cost_pico: String,
}

impl From<&UsageRow> for Line {
    fn from(row: &UsageRow) -> Self {
        Self {
            tenant: row.tenant.as_str().to_owned(),
            hour: row.hour,
            provider: row.provider.as_str().to_owned(),
            model: row.model.clone(),
            policy: row.policy.clone(),
            credential: format!("{:x}", row.credential.bits()),
            access_key: format!("{:x}", row.access_key.bits()),
            requests: row.requests,
            attempts: row.attempts,
            failed: row.failed,
            estimated: row.estimated,
            unpriced: row.unpriced,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            cached_tokens: row.cached_tokens,
            cost_pico: row.cost.pico().to_string(),
        }
    }
}

impl Line {
    fn row(self) -> Option<UsageRow> {
        let bits = |digits: &str| u128::from_str_radix(digits, 16).ok();
        Some(UsageRow {
            tenant: TenantId::new(&self.tenant),
            hour: self.hour,
            provider: ProviderId::new(&self.provider),
            model: self.model,
            policy: self.policy,
            credential: CredentialId::from_bits(bits(&self.credential)?),
            access_key: AccessKeyId::from_bits(bits(&self.access_key)?),
            requests: self.requests,
            attempts: self.attempts,
            failed: self.failed,
            estimated: self.estimated,
            unpriced: self.unpriced,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            cached_tokens: self.cached_tokens,
            cost: Money::from_pico(self.cost_pico.parse().ok()?),
        })
    }
}

impl Control {
    /// Whether another process has the store.
    pub fn rests(&self) -> bool {
        self.rests
    }

    /// How full the fullest queue of reports is, in percent.
    pub fn fullest_queue_percent(&self) -> usize {
        let percent = |core: &std::sync::Arc<CoreReports>| core.waiting().saturating_mul(100) / core.room().max(1);
        self.reports.iter().map(percent).max().unwrap_or(0)
    }

    /// Writes down everything that is known, closes the store and rests. The audit log says who wanted it.
    ///
    /// # Errors
    /// The store refuses; then it is open as before, and nothing changed.
    pub fn release(&mut self, who: &str) -> Result<(), ControlError> {
        self.tick();
        self.ingest()?;
        let (at, version) = (self.now(), env!("CARGO_PKG_VERSION"));
        let audit =
            AuditEntry { at, tenant: None, who, what: "process.upgrade", target: "igris", before: version, after: "" };
        self.store.admin().append_audit(&audit)?;
        self.store.release()?;
        self.rests = true;
        self.rest_shipping(true);
        Ok(())
    }

    /// Opens the store again and goes on: with the last configuration that was live here, which another process may have replaced in the
    /// store meanwhile, and with everything in the snapshot read anew.
    ///
    /// # Errors
    /// Another process has the store, or it cannot be opened; then it still rests.
    pub fn reclaim(&mut self) -> Result<(), ControlError> {
        if !self.rests {
            return Ok(());
        }
        let path = self.place.store.clone();
        self.store.take_back(&path)?;
        self.ingest.resume(&mut self.store)?;
        self.resume_journal();
        self.resume_alerts()?;
        self.resume_leases()?;
        self.rests = false;
        self.dirty = Dirty::ALL;
        if let Err(error) = self.restore_config() {
            self.note("config", format!("the configuration could not be put back wholly: {error}"));
        }
        self.publish()?;
        Ok(())
    }

    fn restore_config(&mut self) -> Result<(), ControlError> {
        self.follow_config()?;
        if !self.may_restore() {
            return Ok(());
        }
        let gathered = inputs::gather(&self.config, &self.env, self.live.listener.as_ref())?;
        let (config, configured) = (self.config.clone(), std::mem::take(&mut self.configured));
        let (at, version) = (self.now(), config_mark(&self.stamp));
        let digest = self.stamp.digest.clone();
        let (who, what, target) = ("upgrade", "config.restore", digest.as_str());
        let audit = AuditEntry { at, tenant: None, who, what, target, before: "", after: &version };
        let applied = supply::apply(means(self), &config, &gathered, &configured, (Ending::Now, &audit), |_| Ok(()));
        self.configured = configured;
        applied.map(drop)
    }

    /// From here on its amounts are a source of their own, numbered from 1: another process has the store for good.
    pub fn part(&mut self) {
        // A process id comes again, but not at the same millisecond.
        self.ingest.part(format!("handover/{}-{}", std::process::id(), self.now().0));
    }

    /// The name under which its amounts are passed on.
    pub fn passes_on_as(&self) -> String {
        self.ingest.source().to_owned()
    }

    /// The next amounts for the process that has the store; the same ones until they are booked. `None` when nothing waits, or nobody
    /// else has the store for good. With a journal there are none: the other process reads what this one writes.
    pub fn next_batch(&mut self) -> Option<PassedOn> {
        if !self.rests || !self.ingest.has_parted() {
            return None;
        }
        let Self { ingest, reports, observer, journal, .. } = self;
        let mut each = |report: &AttemptReport| {
            if let Some(observer) = observer {
                observer(report);
            }
        };
        if journal.is_some() {
            Ingest::show(reports, each);
            return None;
        }
        let source = ingest.source().to_owned();
        let next = ingest.next(reports, &mut each);
        let (number, rows) = next?;
        let lines: Vec<Line> = rows.iter().map(Line::from).collect();
        // Texts and numbers: they can always be written.
        Some(PassedOn { source, number, lines: serde_json::to_vec(&lines).unwrap_or_default() })
    }

    /// The last amounts are in the books.
    pub fn batch_booked(&mut self) {
        self.ingest.booked();
    }

    /// Books the amounts of a process that handed over; the same ones twice are booked once.
    ///
    /// # Errors
    /// Lines that are none, or the store refuses; then nothing was booked.
    pub fn book(&mut self, batch: &PassedOn) -> Result<(), ControlError> {
        let unreadable = || ControlError::Invalid("amounts of another process cannot be read".to_owned());
        let lines: Vec<Line> = serde_json::from_slice(&batch.lines).map_err(|_| unreadable())?;
        let rows: Option<Vec<UsageRow>> = lines.into_iter().map(Line::row).collect();
        let rows = rows.ok_or_else(unreadable)?;
        let batch = UsageBatch { source: &batch.source, sequence: batch.number, rows: &rows };
        if self.store.admin().add_usage(&batch)? == Ingested::Added {
            self.allowances.count_elsewhere(&rows, Instant::now());
            if self.has_journal() && !rows.is_empty() {
                self.mark_other_source()?;
            }
            self.alerts.reread();
        }
        Ok(())
    }

    /// There will be no more from this process.
    ///
    /// # Errors
    /// The store refuses; at worst its name stays.
    pub fn forget_source(&mut self, source: &str) -> Result<(), ControlError> {
        Ok(self.store.admin().forget_usage_source(source)?)
    }

    /// Says how a hand-over goes.
    pub fn note_handover(&mut self, text: impl AsRef<str>) {
        self.note("upgrade", text);
    }
}
