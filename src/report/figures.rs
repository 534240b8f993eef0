//! Counts and durations of all exchanges of one core, read by the control plane at leisure.
//!
//! Only the core writes them, so a count is a load and a store, and no lock, no allocation and no shared cache line stands on the request
//! path. Durations go into log-linear buckets as HDR histograms of two digits have them: exact within 0.4 percent, and free to be merged.

use super::exchange::{CLASSES, Finish, Surface, Times, class};
use crate::routing::spread::{HDR, bucket, least};
use std::sync::atomic::{AtomicU64, Ordering};

/// Figures of one core since start, on cache lines that no other core writes.
#[repr(align(128))]
pub struct Figures {
    /// Exchanges by surface and class of the status.
    requests: [[AtomicU64; CLASSES.len()]; Surface::ALL.len()],
    /// Exchanges by how they ended.
    finishes: [AtomicU64; Finish::ALL.len()],
    /// Time that we added to answers of models.
    pub overhead: Durations,
    /// To the first byte of answers of models.
    pub first_byte: Durations,
    /// Whole exchanges that a model answered.
    pub total: Durations,
}

/// Durations by bucket, microseconds.
pub struct Durations {
    counts: Box<[Buckets]>,
    sum_us: AtomicU64,
}

/// Neighbouring buckets: whole cache lines, since what stands beside a list in memory is nobody's to say.
#[derive(Default)]
#[repr(align(128))]
struct Buckets([AtomicU64; BUCKETS]);

const BUCKETS: usize = 16;

impl Default for Figures {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            finishes: Default::default(),
            overhead: Durations::new(),
            first_byte: Durations::new(),
            total: Durations::new(),
        }
    }
}

impl Figures {
    /// Counts an exchange; `times` of one that a model answered.
    pub fn count(&self, surface: Surface, status: u16, finish: Finish, times: Option<&Times>) {
        add(&self.requests[surface as usize][class(status)], 1);
        add(&self.finishes[finish as usize], 1);
        if let Some(times) = times {
            self.overhead.record(times.overhead_us);
            self.total.record(times.total_us);
            if times.first_byte_us > 0 {
                self.first_byte.record(times.first_byte_us);
            }
        }
    }

    /// Exchanges of a surface, by class of the status.
    pub fn requests(&self, surface: Surface) -> [u64; CLASSES.len()] {
        self.requests[surface as usize].each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Exchanges by how they ended.
    pub fn finished(&self, finish: Finish) -> u64 {
        self.finishes[finish as usize].load(Ordering::Relaxed)
    }
}

impl Durations {
    fn new() -> Self {
        let counts = (0..=bucket(u32::MAX, HDR) / BUCKETS).map(|_| Buckets::default()).collect();
        Self { counts, sum_us: AtomicU64::new(0) }
    }

    /// Records one.
    pub fn record(&self, micros: u32) {
        let place = bucket(micros, HDR);
        add(&self.counts[place / BUCKETS].0[place % BUCKETS], 1);
        add(&self.sum_us, u64::from(micros));
    }

    /// The least value of each bucket that has any, with how many, and the sum of all.
    pub fn read(&self) -> (Vec<(u64, u64)>, u64) {
        let counts = self
            .counts
            .iter()
            .flat_map(|buckets| &buckets.0)
            .enumerate()
            .map(|(place, count)| (place, count.load(Ordering::Relaxed)));
        let some = counts.filter(|(_, count)| *count > 0).map(|(place, count)| (least(place, HDR), count));
        (some.collect(), self.sum_us.load(Ordering::Relaxed))
    }
}

/// Of a count that this thread alone writes.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_can_be_read() {
        let figures = Figures::default();
        let times = Times { overhead_us: 40, first_byte_us: 90_000, total_us: 100_000 };
        figures.count(Surface::Chat, 200, Finish::Completed, Some(&times));
        figures.count(Surface::Chat, 429, Finish::Refused, None);
        figures.count(Surface::Unknown, 0, Finish::ClientGone, Some(&Times::default()));
        assert_eq!(figures.requests(Surface::Chat), [0, 0, 1, 0, 1, 0]);
        assert_eq!(figures.requests(Surface::Unknown), [1, 0, 0, 0, 0, 0]);
        assert_eq!(Finish::ALL.map(|finish| figures.finished(finish)), [1, 1, 0, 0, 1]);
        let (counts, sum) = figures.overhead.read();
        assert_eq!((counts, sum), (vec![(0, 1), (40, 1)], 40));
        let (counts, sum) = figures.first_byte.read();
        assert!(counts.len() == 1 && (89_600..=90_000).contains(&counts[0].0) && sum == 90_000, "{counts:?}");
        figures.total.record(u32::MAX);
        assert_eq!(figures.total.read().0.last().map(|last| last.1), Some(1));
    }

    #[test]
    fn places_are_those_of_the_lists() {
        for (place, surface) in Surface::ALL.iter().enumerate() {
            assert_eq!(*surface as usize, place);
        }
        for (place, finish) in Finish::ALL.iter().enumerate() {
            assert_eq!(*finish as usize, place);
        }
        assert_eq!([0, 101, 200, 302, 404, 599, 600, 999].map(class), [0, 1, 2, 3, 4, 5, 0, 0]);
    }
}
