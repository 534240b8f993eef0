//! The thread that keeps a journal going: spares, sealing, syncing, the reserve. It sleeps when there is nothing to do.
//!
//! ```text
//!   good ----- a sync fails ----> refused: the core goes on in a new segment; good again when a sync succeeds there
//!   good ----- no space --------> no space: the reserve is given up for a segment; good again when the reserve could be made
//! ```

use super::disk::Disk;
use super::keeper::RESERVE;
use super::lane::{Full, Lane, Shared, lock};
use super::segment::{HEAD_BYTES, Place, SYNCED_AT, place, synced_word};
use crate::limits::ledger::{RETRY, SYNC_DELAY};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// Starts it.
pub(super) fn start(shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("igris-ledger".to_owned()).spawn(move || Keeper::new(shared).run())
}

struct Keeper {
    shared: Arc<Shared>,
    reserve: PathBuf,
    has_reserve: bool,
    /// Segments whose sync failed, to be copied.
    failed: Vec<(Arc<Lane>, Full)>,
    /// When what could not be done is tried again.
    again: Option<Instant>,
}

impl Keeper {
    fn new(shared: Arc<Shared>) -> Self {
        // A thread knows itself only once it runs; until then the bell is silent, and the first round misses nothing.
        drop(shared.bell.thread.set(thread::current()));
        let reserve = shared.directory.join(RESERVE);
        Self { shared, reserve, has_reserve: false, failed: Vec::new(), again: None }
    }

    fn run(mut self) {
        loop {
            let ending = self.shared.ending.load(Ordering::SeqCst);
            let due = ending || self.again.is_none_or(|again| again <= Instant::now());
            if due {
                self.again = None;
                self.copy_failed();
            }
            let lanes = lock(&self.shared.lanes).clone();
            for lane in &lanes {
                self.seal_full(lane);
                if !ending {
                    self.make_spares(lane);
                }
                if lane.wants_sync() {
                    self.sync(lane);
                }
            }
            if ending {
                return;
            }
            // After the spares: they come first where there is little room.
            if due && self.again.is_none() {
                self.keep_reserve();
            }
            if lanes.iter().any(|lane| lane.wants_sync() && !is_stuck(lane)) {
                // Others join in meanwhile (rule L2).
                thread::park_timeout(SYNC_DELAY);
                continue;
            }
            self.sleep();
        }
    }

    /// Until somebody rings, or something is to be tried again.
    fn sleep(&mut self) {
        let bell = &self.shared.bell;
        bell.asleep.store(true, Ordering::SeqCst);
        // Looked at from here on: what came before was not rung for.
        let lanes = lock(&self.shared.lanes).clone();
        let is_needed = |lane: &Arc<Lane>| {
            !lane.full.is_empty()
                || (lane.wants_sync() && !is_stuck(lane))
                || (self.again.is_none() && lane.spares.len() < lane.spares_wanted.load(Ordering::SeqCst))
        };
        if lanes.iter().any(is_needed) || self.shared.ending.load(Ordering::SeqCst) {
            bell.asleep.store(false, Ordering::SeqCst);
            return;
        }
        match self.again {
            Some(again) => thread::park_timeout(again.saturating_duration_since(Instant::now())),
            None => thread::park(),
        }
        let woken_for_sync = !bell.asleep.swap(false, Ordering::SeqCst) && lanes.iter().any(|lane| lane.wants_sync());
        if woken_for_sync && !self.shared.ending.load(Ordering::SeqCst) {
            thread::park_timeout(SYNC_DELAY);
        }
    }

    fn later(&mut self) {
        self.again.get_or_insert_with(|| Instant::now() + RETRY);
    }

    // === Space ===

    fn make_spares(&mut self, lane: &Arc<Lane>) {
        while lane.spares.len() < lane.spares_wanted.load(Ordering::SeqCst) {
            match self.shared.make_segment(lane) {
                Ok(segment) => {
                    if let Err(segment) = lane.spares.push(segment) {
                        drop(self.shared.disk.remove(&segment.path));
                        return;
                    }
                }
                Err(error) => {
                    self.lacks_space("a segment cannot be made", &error);
                    if !self.give_up_reserve() {
                        return self.later();
                    }
                }
            }
        }
    }

    /// Makes the reserve if it is not there; only with it anything is admitted.
    fn keep_reserve(&mut self) {
        if !self.has_reserve && self.shared.reserve_bytes > 0 {
            match self.shared.disk.reserve(&self.reserve, self.shared.reserve_bytes) {
                Ok(()) => self.has_reserve = true,
                Err(error) => {
                    self.lacks_space("the reserve cannot be made", &error);
                    return self.later();
                }
            }
        }
        self.shared.no_space.store(false, Ordering::SeqCst);
    }

    /// Makes room for one more segment, so that what is open can close. `false` if nothing was left to give.
    fn give_up_reserve(&mut self) -> bool {
        self.later();
        std::mem::replace(&mut self.has_reserve, false) && self.shared.disk.remove(&self.reserve).is_ok()
    }

    fn lacks_space(&self, what: &str, error: &io::Error) {
        self.shared.note(what, error);
        self.shared.no_space.store(true, Ordering::SeqCst);
        self.shared.counts.full.fetch_add(1, Ordering::Relaxed);
    }

    // === Syncing ===

    /// Syncs what a lane has written and wakes who waits for it.
    fn sync(&mut self, lane: &Arc<Lane>) {
        let (segment, used, written) = {
            let current = lock(&lane.current);
            let Some(segment) = current.clone() else { return };
            (segment, lane.pen.used.load(Ordering::Acquire), lane.pen.written.load(Ordering::SeqCst))
        };
        if lane.failed.load(Ordering::SeqCst) > segment.number {
            // Its core has not left it yet; it does with its next call, and whoever waits is woken for it.
            return lane.wake_all();
        }
        // What was full when the current segment was looked at comes before it.
        self.seal_full(lane);
        match segment.paper.sync() {
            Ok(()) => {
                segment.paper.publish(SYNCED_AT, synced_word(u32::try_from(used).unwrap_or(0)));
                self.shared.counts.syncs.fetch_add(1, Ordering::Relaxed);
                lane.synced.fetch_max(written, Ordering::SeqCst);
                lane.refused.store(false, Ordering::SeqCst);
            }
            Err(error) => {
                self.failed(lane, "a segment cannot be synced", &error);
                lane.failed.store(segment.number + 1, Ordering::SeqCst);
            }
        }
        lane.wake_all();
    }

    fn failed(&self, lane: &Lane, what: &str, error: &io::Error) {
        self.shared.note(what, error);
        self.shared.counts.sync_failures.fetch_add(1, Ordering::Relaxed);
        lane.refused.store(true, Ordering::SeqCst);
    }

    /// Seals what is full: synced, then cut to what is used. A segment whose sync fails is copied, never asked again (rule L8).
    fn seal_full(&mut self, lane: &Arc<Lane>) {
        while let Some(full) = lane.full.pop() {
            if full.used == 0 {
                // A spare that came too late.
                drop(self.shared.disk.remove(&full.segment.path));
                continue;
            }
            if full.failed {
                self.copy(lane.clone(), full);
                continue;
            }
            match self.shared.disk.truncate(&full.segment.path, full.used) {
                Ok(()) => drop(self.shared.counts.syncs.fetch_add(1, Ordering::Relaxed)),
                Err(error) => {
                    self.failed(lane, "a full segment cannot be synced", &error);
                    self.copy(lane.clone(), full);
                }
            }
        }
    }

    fn copy_failed(&mut self) {
        for (lane, full) in std::mem::take(&mut self.failed) {
            self.copy(lane, full);
        }
    }

    /// Puts a synced copy in the place of a segment whose sync failed. Its content is in the kernel's memory still, and each record's
    /// checksum says whether that is so.
    fn copy(&mut self, lane: Arc<Lane>, full: Full) {
        let disk = &*self.shared.disk;
        let content = match whole(disk, &full) {
            Ok(content) => content,
            // There is nothing to copy; verification and replay say what is missing.
            Err(error) => return self.failed(&lane, "a segment that could not be synced cannot be read", &error),
        };
        match disk.replace(&full.segment.path, &content) {
            Ok(()) => {
                self.shared.counts.syncs.fetch_add(1, Ordering::Relaxed);
                if !lane.wants_sync() {
                    lane.refused.store(false, Ordering::SeqCst);
                }
            }
            Err(error) => {
                self.failed(&lane, "a segment that could not be synced cannot be copied", &error);
                self.failed.push((lane, full));
                self.later();
            }
        }
    }
}

/// Seals what the last pen of a lane left, at the end of the process.
///
/// # Errors
/// The disk took neither the file nor a copy of it.
pub(super) fn seal_last(shared: &Shared, full: &Full) -> io::Result<()> {
    let path = &full.segment.path;
    if !full.failed && shared.disk.truncate(path, full.used).is_ok() {
        return Ok(());
    }
    shared.disk.replace(path, &whole(&*shared.disk, full)?)
}

/// Whether only the core can help: its segment cannot be synced any more, and it has not left it.
fn is_stuck(lane: &Lane) -> bool {
    let current = lock(&lane.current);
    current.as_ref().is_some_and(|segment| lane.failed.load(Ordering::SeqCst) > segment.number)
}

/// The content of a full segment, if all of its records are what was written.
fn whole(disk: &dyn Disk, full: &Full) -> io::Result<Vec<u8>> {
    let used = usize::try_from(full.used).unwrap_or(usize::MAX);
    let content = disk.read(&full.segment.path, 0, used)?;
    let mut at = HEAD_BYTES;
    while at < content.len() {
        let Place::Record(frame) = place(&content[at..]) else { break };
        at += frame.bytes;
    }
    if at == used { Ok(content) } else { Err(io::Error::other("its content is lost")) }
}
