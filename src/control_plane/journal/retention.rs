//! How long the journal is kept: `[ledger] keep`. Sums stay in the books for ever; what goes is the record of each single attempt.
//!
//! A segment goes when every record in it is older and in the books: in those of this machine, and where it is one of several also in those of
//! all machines, which must have said so (rule L11). What the books remember of a lane goes with its last segment.

use super::{Control, MARK_KEPT, SOURCE_PREFIX};
use crate::domain::clock::UnixMillis;
use crate::ledger::{LaneName, LedgerFault};
use crate::limits::books::PRUNE_TICK;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

/// What lies on the disk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OnDisk {
    pub(super) segments: u64,
    pub(super) bytes: u64,
}

impl OnDisk {
    /// Counts files; what cannot be read counts nothing, and the ledger says so itself.
    pub(super) fn of(directory: &Path) -> Self {
        let mut found = Self::default();
        let runs = fs::read_dir(directory).into_iter().flatten().flatten();
        for file in runs.filter_map(|run| fs::read_dir(run.path()).ok()).flatten().flatten() {
            if file.path().extension().is_some_and(|kind| kind == "seg") {
                found.segments += 1;
                found.bytes = found.bytes.saturating_add(file.metadata().map_or(0, |file| file.len()));
            }
        }
        found
    }
}

impl Control {
    /// Lets go what is older than the owner keeps it, now and then.
    pub(super) fn prune_journal(&mut self, now: UnixMillis, instant: Instant) {
        let Some(keep) = self.config.ledger.keep else { return };
        let Some(books) = &mut self.journal else { return };
        if books.pruned.is_some_and(|last| instant.saturating_duration_since(last) < PRUNE_TICK) {
            return;
        }
        books.pruned = Some(instant);
        let keep = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        let before = UnixMillis(now.0.saturating_sub(keep) / HOUR * HOUR);
        if let Err(why) = self.prune_before(before) {
            self.note("ledger", format!("old segments of the journal stay: {why}"));
        }
    }

    fn prune_before(&mut self, before: UnixMillis) -> Result<(), String> {
        let Some(books) = &mut self.journal else { return Ok(()) };
        let said = |fault: LedgerFault| fault.to_string();
        let known = books.lanes.present().map_err(said)?;
        let booked = books.booked(&mut self.store).map_err(|error| error.to_string())?;
        let booked = match &books.shipper {
            Some(shipper) => shipper.acknowledged_of(booked),
            None => booked,
        };
        // Before anything goes: whoever compares journal and books must know from where on both are whole.
        let mut admin = self.store.admin();
        let kept = admin.usage_sequence(MARK_KEPT).map_err(|error| error.to_string())?.unwrap_or(0);
        if before.0 > kept {
            admin.set_usage_mark(MARK_KEPT, before.0).map_err(|error| error.to_string())?;
        }
        let pruned = prune(&books.ledger, before, &booked).map_err(said)?;
        let left = books.lanes.present().map_err(said)?;
        let gone: Vec<LaneName> = known.into_iter().filter(|lane| left.binary_search(lane).is_err()).collect();
        books.lanes.drop_lanes(&gone);
        if let Some(shipper) = books.shipper.as_ref().filter(|_| !gone.is_empty()) {
            shipper.forget(&gone);
        }
        for lane in &gone {
            // At worst its name stays in the store.
            let _ = self.store.admin().forget_usage_source(&format!("{SOURCE_PREFIX}{lane}"));
        }
        books.look_at_disk();
        if pruned > 0 {
            let from = before.to_rfc3339();
            self.note("ledger", format!("{pruned} segments of the journal from before {from} are gone: [ledger] keep"));
        }
        Ok(())
    }
}

/// The one place that names how the ledger lets segments go. Answers how many went.
fn prune(
    ledger: &crate::ledger::Ledger,
    before: UnixMillis,
    booked: &BTreeMap<LaneName, u64>,
) -> Result<usize, LedgerFault> {
    ledger.prune(before, &|lane| booked.get(lane).copied().unwrap_or(0))
}

const HOUR: u64 = 3_600_000;
