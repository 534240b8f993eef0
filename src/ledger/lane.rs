//! What the core that writes a lane and the keeper thread share: without a lock on anything that happens for each record.
//!
//! ```text
//!   core: store a record -> written -> wanted -> (ring)         keeper: sync the current segment -> synced -> wake who waits
//!   core: segment full   -> full queue, spare becomes current   keeper: seal it, make another spare
//! ```

use super::disk::{Disk, Paper};
use super::keeper::Durability;
use super::opens::Opens;
use super::segment::Trail;
use crate::domain::clock::UnixMillis;
use crate::limits::ledger::{SPARES_MAX, WAITING_MAX};
use crate::vault::LedgerKey;
use crossbeam_queue::ArrayQueue;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::thread::Thread;

/// A segment that this process made.
#[derive(Clone)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) paper: Arc<dyn Paper>,
}

/// A segment that nothing more is written to.
pub(super) struct Full {
    pub(super) segment: Segment,
    /// Bytes of it that are used.
    pub(super) used: u64,
    /// Whether a sync of it has failed: it is never asked again (rule L8).
    pub(super) failed: bool,
}

/// What a pen leaves when it is put down, for the next one on this lane.
pub(super) struct Rest {
    pub(super) segment: Segment,
    pub(super) at: usize,
    pub(super) trail: Trail,
    pub(super) opens: Opens,
}

/// What the core that writes a lane says with every record, on cache lines that nobody else writes.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct PenMarks {
    /// The last record that stands in the file.
    pub(super) written: AtomicU64,
    /// Bytes used of the current segment.
    pub(super) used: AtomicU64,
    /// Records since the start of the process.
    pub(super) records: AtomicU64,
    /// Their bytes.
    pub(super) bytes: AtomicU64,
}

impl PenMarks {
    /// A record of so many bytes stands in the file, up to `used`. Only the lane's core calls this.
    pub(super) fn wrote(&self, number: u64, used: u64, bytes: u64) {
        let add = |count: &AtomicU64, more| count.store(count.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        add(&self.records, 1);
        add(&self.bytes, bytes);
        self.used.store(used, Ordering::Release);
        // Whoever sees the number sees the record; what asks for a sync is ordered by `wanted`, which is stored after it.
        self.written.store(number, Ordering::Release);
    }
}

/// One core's chain of segments.
pub(super) struct Lane {
    pub(super) number: u32,
    pub(super) spares: ArrayQueue<Segment>,
    /// How many spares there shall be.
    pub(super) spares_wanted: AtomicUsize,
    pub(super) full: ArrayQueue<Full>,
    /// The segment that is written. Locked when one rolls into the next, and by the keeper for a moment.
    pub(super) current: Mutex<Option<Segment>>,
    /// What its core says with every record.
    pub(super) pen: PenMarks,
    /// The last record that shall be synced.
    pub(super) wanted: AtomicU64,
    /// The last record that is.
    pub(super) synced: AtomicU64,
    /// The number of the last segment whose sync failed, plus one.
    pub(super) failed: AtomicU64,
    /// Whether nothing is admitted until a sync succeeds in a new segment.
    pub(super) refused: AtomicBool,
    pub(super) waiting: ArrayQueue<Waker>,
    /// The number of the next segment that is made.
    pub(super) next_number: AtomicU64,
    pub(super) rest: Mutex<Option<Rest>>,
}

impl Lane {
    pub(super) fn new(number: u32) -> Self {
        Self {
            number,
            spares: ArrayQueue::new(SPARES_MAX),
            spares_wanted: AtomicUsize::new(1),
            full: ArrayQueue::new(2 * SPARES_MAX),
            current: Mutex::new(None),
            pen: PenMarks::default(),
            wanted: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            refused: AtomicBool::new(false),
            waiting: ArrayQueue::new(WAITING_MAX),
            next_number: AtomicU64::new(0),
            rest: Mutex::new(None),
        }
    }

    /// Whether the keeper has something to sync here.
    pub(super) fn wants_sync(&self) -> bool {
        self.wanted.load(Ordering::SeqCst) > self.synced.load(Ordering::SeqCst)
    }

    pub(super) fn wake_all(&self) {
        while let Some(waker) = self.waiting.pop() {
            waker.wake();
        }
    }
}

/// What all lanes of a process share.
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) key: Arc<LedgerKey>,
    pub(super) durability: Durability,
    pub(super) clock: fn() -> UnixMillis,
    pub(super) segment_bytes: u64,
    pub(super) reserve_bytes: u64,
    /// The run's name, and its directory.
    pub(super) run: String,
    pub(super) directory: PathBuf,
    pub(super) boot: [u8; 16],
    pub(super) lanes: Mutex<Vec<Arc<Lane>>>,
    pub(super) bell: Bell,
    pub(super) ending: AtomicBool,
    /// Whether a segment or the reserve could not be made: nothing is admitted.
    pub(super) no_space: AtomicBool,
    pub(super) counts: Counts,
    /// What the kernel said last, for a person.
    pub(super) word: Mutex<String>,
}

/// Counters since the start of the process.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) syncs: AtomicU64,
    pub(super) sync_failures: AtomicU64,
    pub(super) full: AtomicU64,
    /// Records for which there was no room in spite of everything.
    pub(super) lost: AtomicU64,
}

impl Shared {
    pub(super) fn segment_path(&self, lane: u32, number: u64) -> PathBuf {
        self.directory.join(segment_name(lane, number))
    }

    /// Makes the next segment of a lane.
    pub(super) fn make_segment(&self, lane: &Lane) -> std::io::Result<Segment> {
        let number = lane.next_number.fetch_add(1, Ordering::Relaxed);
        let path = self.segment_path(lane.number, number);
        let paper = self.disk.make(&path, self.segment_bytes)?;
        Ok(Segment { number, path, paper })
    }

    /// Keeps what the kernel said.
    pub(super) fn note(&self, what: &str, error: &std::io::Error) {
        *lock(&self.word) = format!("{what}: {error}");
    }
}

/// The name of a segment's file.
pub(super) fn segment_name(lane: u32, number: u64) -> String {
    format!("{lane}-{number}.seg")
}

/// Reads the name of a segment's file.
pub(super) fn segment_of(name: &str) -> Option<(u32, u64)> {
    let (lane, number) = name.strip_suffix(".seg")?.split_once('-')?;
    let (lane, number) = (lane.parse().ok()?, number.parse().ok()?);
    (segment_name(lane, number) == name).then_some((lane, number))
}

/// Wakes the keeper when it sleeps, and costs a look when it does not.
#[derive(Default)]
pub(super) struct Bell {
    pub(super) thread: OnceLock<Thread>,
    pub(super) asleep: AtomicBool,
}

impl Bell {
    /// Called after what the keeper shall see was stored.
    pub(super) fn ring(&self) {
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Ends a wait of any kind.
    pub(super) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// What is behind these locks is whole after each statement.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_segments_are_read_in_the_one_form_they_are_written() {
        assert_eq!(segment_of("3-17.seg"), Some((3, 17)));
        for other in ["3-017.seg", "3-17.seg.damaged", "-1-2.seg", "lock", "3.seg", "+3-1.seg", "3-17.new"] {
            assert_eq!(segment_of(other), None, "{other}");
        }
    }
}
