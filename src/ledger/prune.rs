//! Which segments go: sealed ones that are old enough, wholly in the books, and no replay would need.

use super::LedgerFault;
use super::keeper::{FINISHED, LedgerPlan, RUN_LOCK, runs};
use super::lane::{segment_name, segment_of};
use super::record::{self, Entry};
use super::segment::{HEAD_BYTES, Head, HeadState, Place, place};
use crate::domain::clock::UnixMillis;
use crate::limits::ledger::SEGMENT_BYTES_MAX;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// See [`Ledger::prune`](super::Ledger::prune).
pub(super) fn prune(
    plan: &LedgerPlan,
    own: &str,
    before: UnixMillis,
    ingested: &dyn Fn(&str) -> u64,
) -> Result<usize, LedgerFault> {
    let mut removed = 0;
    for run in runs(plan)? {
        let directory = plan.directory.join(&run);
        let names = plan.disk.list(&directory).map_err(LedgerFault::file(&directory))?;
        let is_finished = names.iter().any(|name| name == FINISHED);
        let mut lanes: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for (core, number) in names.iter().filter_map(|name| segment_of(name)) {
            lanes.entry(core).or_default().push(number);
        }
        for (core, numbers) in lanes {
            let lane = Lane { plan, directory: &directory, core, numbers, is_finished };
            for path in lane.removable(before, ingested(&format!("{run}/{core}")))? {
                plan.disk.remove(&path).map_err(LedgerFault::file(path))?;
                removed += 1;
            }
        }
        if is_finished && run != own {
            remove_if_empty(plan, &directory)?;
        }
    }
    Ok(removed)
}

/// A finished run's directory goes with its last segment; one that has something else in it stays for a person to look at.
fn remove_if_empty(plan: &LedgerPlan, directory: &Path) -> Result<(), LedgerFault> {
    let names = plan.disk.list(directory).map_err(LedgerFault::file(directory))?;
    if names.iter().all(|name| name == FINISHED || name == RUN_LOCK) {
        // The mark last: until then it is a finished run.
        for path in [directory.join(RUN_LOCK), directory.join(FINISHED), directory.to_owned()] {
            plan.disk.remove(&path).map_err(LedgerFault::file(path))?;
        }
    }
    Ok(())
}

struct Lane<'a> {
    plan: &'a LedgerPlan,
    directory: &'a Path,
    core: u32,
    numbers: Vec<u64>,
    is_finished: bool,
}

impl Lane<'_> {
    /// From the oldest on, up to the first that stays.
    fn removable(mut self, before: UnixMillis, ingested: u64) -> Result<Vec<PathBuf>, LedgerFault> {
        self.numbers.sort_unstable();
        let mut heads: Vec<Head> = Vec::new();
        for number in &self.numbers {
            match Head::read(&self.read(*number, HEAD_BYTES)?) {
                HeadState::Good(head) => heads.push(head),
                HeadState::Unused => {}
                // Damage is not to be tidied away.
                HeadState::Bad(_) => break,
            }
        }
        let floor = heads.last().map_or(0, |head| if self.is_finished { u64::MAX } else { head.floor });
        let mut paths = Vec::new();
        for (index, head) in heads.iter().enumerate() {
            let next = heads.get(index + 1);
            // It ended when the next one began; the very last one of a finished run has to be read.
            let (last, ended) = match next {
                Some(next) => (next.first.saturating_sub(1), next.started),
                None if self.is_finished => self.end_of(head)?,
                None => break,
            };
            if head.number >= floor || ended >= before || last > ingested {
                break;
            }
            paths.push(self.path(head.number));
        }
        Ok(paths)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(segment_name(self.core, number))
    }

    fn read(&self, number: u64, max: usize) -> Result<Vec<u8>, LedgerFault> {
        let path = self.path(number);
        self.plan.disk.read(&path, 0, max).map_err(LedgerFault::file(path))
    }

    /// The last record's number, and the latest time that a record names.
    fn end_of(&self, head: &Head) -> Result<(u64, UnixMillis), LedgerFault> {
        let bytes = self.read(head.number, usize::try_from(SEGMENT_BYTES_MAX).unwrap_or(usize::MAX))?;
        let (mut at, mut last, mut latest) = (HEAD_BYTES, head.first.saturating_sub(1), head.started);
        while let Place::Record(frame) = place(bytes.get(at..).unwrap_or_default()) {
            if let Some(Entry::Close(report)) = record::read(frame.content) {
                latest = latest.max(report.started);
            }
            (at, last) = (at + frame.bytes, frame.sequence);
        }
        // What ends in the middle is never gone through to the end, and stays.
        Ok(if at == bytes.len() { (last, latest) } else { (u64::MAX, latest) })
    }
}
