//! What a process does for its journal beside writing: its run, its lanes, replay of runs that are over, and what is pruned.
//!
//! The thread that makes, seals and syncs segments is [`upkeep`](super::upkeep)'s.

use super::disk::{Disk, OsDisk};
use super::lane::{Bell, Counts, Full, Lane, PenMarks, Shared, lock};
use super::replay::{self, Lane as Dead};
use super::{Journal, LedgerFault, upkeep};
use crate::domain::clock::UnixMillis;
use crate::limits::ledger::{RESERVE_BYTES, SEGMENT_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::vault::LedgerKey;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What a record survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// SIGKILL.
    Process,
    /// Power loss, too.
    Power,
}

/// What a ledger is opened with.
#[derive(Clone)]
pub struct LedgerPlan {
    /// The directory of all runs.
    pub directory: PathBuf,
    /// Chains the records.
    pub key: Arc<LedgerKey>,
    /// What records survive.
    pub durability: Durability,
    /// Lanes: one a core.
    pub cores: usize,
    /// Whether to go on without what follows a damaged record (`--ledger-degraded`).
    pub degraded: bool,
    /// Bytes that are kept free so that open attempts can always close (rule L8).
    pub reserve: u64,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The wall clock.
    pub clock: fn() -> UnixMillis,
}

impl LedgerPlan {
    /// A plan with the sizes of [`limits::ledger`](crate::limits::ledger), on the machine's own disk.
    pub fn new(directory: PathBuf, key: Arc<LedgerKey>, durability: Durability, cores: usize) -> Self {
        Self {
            directory,
            key,
            durability,
            cores,
            degraded: false,
            reserve: RESERVE_BYTES,
            segment_bytes: SEGMENT_BYTES,
            disk: Arc::new(OsDisk),
            clock: UnixMillis::now,
        }
    }
}

/// What was found of runs that are over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Runs that were closed.
    pub runs: usize,
    /// Attempts that were closed as interrupted.
    pub interrupted: u64,
    /// Bytes cut off torn ends.
    pub torn_bytes: u64,
    /// Segments put aside as damaged.
    pub quarantined: Vec<PathBuf>,
}

/// How the journal is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerStatus {
    /// Why nothing is admitted, if nothing is; one sentence.
    pub trouble: Option<String>,
    /// Records written by this process.
    pub records: u64,
    /// Bytes written by this process.
    pub bytes: u64,
    /// Syncs that succeeded.
    pub syncs: u64,
    /// Syncs that failed (rule L8).
    pub sync_failures: u64,
    /// Segments that could not be made for want of space.
    pub full: u64,
}

/// A process's journal.
pub struct Ledger {
    plan: LedgerPlan,
    shared: Arc<Shared>,
    keeper: Mutex<Option<JoinHandle<()>>>,
    /// Held for as long as the process lives: whoever can lock it may replay the run.
    lock: Mutex<Option<File>>,
}

/// Locked while a run begins or is replayed, so that nobody replays one that is just beginning.
const GATE: &str = "lock";
/// A run's lock.
pub(super) const RUN_LOCK: &str = "lock";
/// A run whose attempts are all closed.
pub(super) const FINISHED: &str = "finished";
/// The file that keeps space.
pub(super) const RESERVE: &str = "reserve";

impl Ledger {
    /// Replays runs that are over and begins one of this process.
    ///
    /// # Errors
    /// [`LedgerFault`].
    pub fn open(plan: LedgerPlan) -> Result<(Arc<Self>, Recovered), LedgerFault> {
        let disk = plan.disk.clone();
        disk.make_directory(&plan.directory).map_err(LedgerFault::file(&plan.directory))?;
        let _gate = gate(&plan, true)?;
        let recovered = replay_free_runs(&plan, None)?;
        let (run, directory) = name_run(&plan)?;
        disk.make_directory(&directory).map_err(LedgerFault::file(&directory))?;
        let lock_path = directory.join(RUN_LOCK);
        let lock =
            disk.lock(&lock_path, false).map_err(LedgerFault::file(&lock_path))?.ok_or_else(|| busy(&directory))?;
        let shared = Arc::new(Shared {
            key: plan.key.clone(),
            durability: plan.durability,
            clock: plan.clock,
            segment_bytes: plan.segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX).next_multiple_of(8),
            reserve_bytes: plan.reserve,
            run,
            directory,
            boot: disk.boot(),
            disk,
            lanes: Mutex::new(Vec::new()),
            bell: Bell::default(),
            ending: AtomicBool::new(false),
            no_space: AtomicBool::new(false),
            counts: Counts::default(),
            word: Mutex::new(String::new()),
        });
        let keeper = Mutex::new(Some(upkeep::start(shared.clone()).map_err(LedgerFault::file(&plan.directory))?));
        Ok((Arc::new(Self { plan, shared, keeper, lock: Mutex::new(Some(lock)) }), recovered))
    }

    /// This process's run: the first part of its lanes' names.
    pub fn run(&self) -> &str {
        &self.shared.run
    }

    /// A pen for a core; a worker that starts anew asks for another one. What the one before left open was closed as interrupted when it was
    /// dropped; if it was not dropped, the new one has a lane of its own.
    ///
    /// # Errors
    /// No segment can be made.
    pub fn journal(&self, core: usize) -> Result<Journal, LedgerFault> {
        let number = u32::try_from(core).unwrap_or(u32::MAX);
        let mut lanes = lock(&self.shared.lanes);
        let known = lanes.iter().find(|lane| lane.number == number).cloned();
        if let Some(lane) = &known {
            let rest = lock(&lane.rest).take();
            if let Some(rest) = rest {
                return Ok(Journal::resume(self.shared.clone(), lane.clone(), rest));
            }
        }
        let number = match known {
            None => number,
            Some(_) => {
                let beyond = u32::try_from(self.plan.cores).unwrap_or(u32::MAX);
                lanes.iter().map(|lane| lane.number.saturating_add(1)).max().unwrap_or(0).max(beyond)
            }
        };
        let lane = Arc::new(Lane::new(number));
        let segment = self.shared.make_segment(&lane);
        let segment = segment.map_err(LedgerFault::file(self.shared.segment_path(number, 0)))?;
        lanes.push(lane.clone());
        drop(lanes);
        let journal = Journal::begin(self.shared.clone(), lane, segment);
        // Its spare is made while the first requests are written.
        self.shared.bell.ring();
        Ok(journal)
    }

    /// Closes the open attempts of runs whose process has gone since (rule L6); called by the control plane now and then.
    ///
    /// # Errors
    /// [`LedgerFault`].
    pub fn recover(&self) -> Result<Recovered, LedgerFault> {
        match gate(&self.plan, false)? {
            Some(_gate) => replay_free_runs(&self.plan, Some(&self.shared.run)),
            // Another process begins or replays just now; there will be another time.
            None => Ok(Recovered::default()),
        }
    }

    /// How it is.
    pub fn status(&self) -> LedgerStatus {
        let counts = &self.shared.counts;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let lanes = lock(&self.shared.lanes).clone();
        let sum = |read: fn(&PenMarks) -> &AtomicU64| lanes.iter().map(|lane| count(read(&lane.pen))).sum();
        LedgerStatus {
            trouble: self.trouble(),
            records: sum(|pen| &pen.records),
            bytes: sum(|pen| &pen.bytes),
            syncs: count(&counts.syncs),
            sync_failures: count(&counts.sync_failures),
            full: count(&counts.full),
        }
    }

    /// Records for which there was no room.
    #[cfg(test)]
    pub(super) fn shared_lost(&self) -> u64 {
        self.shared.counts.lost.load(Ordering::Relaxed)
    }

    fn trouble(&self) -> Option<String> {
        let word = lock(&self.shared.word).clone();
        let place = self.shared.directory.parent().unwrap_or(Path::new("")).display().to_string();
        let lost = self.shared.counts.lost.load(Ordering::Relaxed);
        if lost > 0 {
            return Some(format!(
                "{lost} records had no room in the ledger ({word}); make room at {place} and compare with the providers' bills"
            ));
        }
        if self.shared.no_space.load(Ordering::Relaxed) {
            return Some(format!(
                "there is no room for the ledger at {place} ({word}); make room, and requests are admitted again"
            ));
        }
        let refused = lock(&self.shared.lanes).iter().any(|lane| lane.refused.load(Ordering::Relaxed));
        refused.then(|| {
            format!("the disk does not take the ledger at {place} ({word}); requests are admitted again when a new segment is synced")
        })
    }

    /// Writes down and syncs everything, for the end of the process. Its run is finished if every pen has been dropped.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn finish(&self) -> Result<(), LedgerFault> {
        self.stop_keeper();
        let lanes = lock(&self.shared.lanes).clone();
        let mut finished = true;
        for lane in &lanes {
            let rest = lock(&lane.rest);
            match &*rest {
                Some(rest) => {
                    let failed = lane.failed.load(Ordering::SeqCst) > rest.segment.number;
                    let full = Full { segment: rest.segment.clone(), used: rest.at as u64, failed };
                    upkeep::seal_last(&self.shared, &full).map_err(LedgerFault::file(&rest.segment.path))?;
                }
                None => finished = false,
            }
            while let Some(spare) = lane.spares.pop() {
                self.shared.disk.remove(&spare.path).map_err(LedgerFault::file(&spare.path))?;
            }
        }
        if finished {
            replay::mark_finished(&*self.shared.disk, &self.shared.directory)?;
        }
        Ok(())
    }

    /// Removes sealed segments that were begun before an instant and are wholly in the books: `ingested` says the last record of a lane
    /// that is. Answers how many. Directories of finished runs with nothing left go, too.
    ///
    /// # Errors
    /// [`LedgerFault::File`].
    pub fn prune(&self, before: UnixMillis, ingested: &dyn Fn(&str) -> u64) -> Result<usize, LedgerFault> {
        super::prune::prune(&self.plan, &self.shared.run, before, ingested)
    }

    fn stop_keeper(&self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        self.shared.bell.wake();
        if let Some(thread) = lock(&self.keeper).take() {
            // A keeper that panicked has said so already.
            drop(thread.join());
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.stop_keeper();
        lock(&self.lock).take();
    }
}

/// The gate's lock; `None` while another process has it and nobody waits.
fn gate(plan: &LedgerPlan, wait: bool) -> Result<Option<File>, LedgerFault> {
    let path = plan.directory.join(GATE);
    plan.disk.lock(&path, wait).map_err(LedgerFault::file(path))
}

fn busy(path: &Path) -> LedgerFault {
    LedgerFault::Busy { path: path.to_owned() }
}

/// A name that sorts by time and that no run had before, whatever the clock says (rule L9).
fn name_run(plan: &LedgerPlan) -> Result<(String, PathBuf), LedgerFault> {
    let latest = runs(plan)?.iter().filter_map(|run| u64::from_str_radix(run.split('-').next()?, 16).ok()).max();
    let millis = (plan.clock)().0.max(latest.map_or(0, |latest| latest.saturating_add(1))) & 0xffff_ffff_ffff;
    let run = format!("{millis:012x}-{:08x}", plan.disk.unique());
    let directory = plan.directory.join(&run);
    Ok((run, directory))
}

/// The runs that there are, oldest first.
pub(super) fn runs(plan: &LedgerPlan) -> Result<Vec<String>, LedgerFault> {
    let mut runs = plan.disk.list(&plan.directory).map_err(LedgerFault::file(&plan.directory))?;
    runs.retain(|name| name != GATE && !name.starts_with('.') && plan.directory.join(name).is_dir());
    Ok(runs)
}

/// Replays each run that nobody holds and that is not finished.
fn replay_free_runs(plan: &LedgerPlan, own: Option<&str>) -> Result<Recovered, LedgerFault> {
    let mut recovered = Recovered::default();
    for run in runs(plan)?.iter().filter(|run| Some(run.as_str()) != own) {
        let directory = plan.directory.join(run);
        let names = plan.disk.list(&directory).map_err(LedgerFault::file(&directory))?;
        if names.iter().any(|name| name == FINISHED) {
            continue;
        }
        let path = directory.join(RUN_LOCK);
        let Some(_lock) = plan.disk.lock(&path, false).map_err(LedgerFault::file(&path))? else { continue };
        for lane in Dead::all_of(&directory, &names) {
            replay::replay(plan, &lane, &mut recovered)?;
        }
        replay::mark_finished(&*plan.disk, &directory)?;
        recovered.runs += 1;
    }
    Ok(recovered)
}
