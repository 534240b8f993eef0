//! When requests that name themselves truly reached the provider and when their answers left it, for a tester that times both ends.
//!
//! A request names itself with the directive `sim:id=N` in its prompt, for a gateway keeps what a prompt says and drops head
//! fields it does not know. All instants are nanoseconds of `CLOCK_MONOTONIC`, which every process of one machine shares.
//! Memory is bounded: the oldest stamps make room for new ones.

use super::Site;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Stamps kept at most: 32 MiB once full.
pub const STAMPS_KEPT: usize = 1 << 20;
/// Stamps of one page over HTTP.
pub const PAGE_STAMPS: usize = 8192;
/// Where pages are asked for, with `?since=N`.
pub const STAMPS_PATH: &str = "/_mock/stamps";

/// What the provider's clock said of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The number it gave itself.
    pub id: u64,
    /// Its last byte had been read.
    pub received: u64,
    /// The first byte of its answer was about to be written.
    pub first: u64,
    /// The last byte of its answer was about to be written.
    pub last: u64,
}

impl Stamp {
    /// A request that has been read; it is kept once its answer has left.
    pub(super) fn new(id: u64, received: u64) -> Self {
        Self { id, received, first: 0, last: 0 }
    }

    /// A piece of its answer is about to be written.
    pub(super) fn leaves(&mut self) {
        self.last = now();
        if self.first == 0 {
            self.first = self.last;
        }
    }
}

/// The stamps of one simulator, in the order in which answers ended.
#[derive(Default)]
pub(super) struct Stamps(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    stamps: VecDeque<Stamp>,
    /// How many have made room.
    gone: u64,
}

impl Stamps {
    pub(super) fn keep(&self, stamp: Stamp) {
        let mut kept = self.lock();
        if kept.stamps.len() == STAMPS_KEPT {
            kept.stamps.pop_front();
            kept.gone += 1;
        }
        kept.stamps.push_back(stamp);
    }

    /// At most `most` stamps from number `since` on, counted from the simulator's start, and the number of the next one.
    pub(super) fn since(&self, since: u64, most: usize) -> (Vec<Stamp>, u64) {
        let kept = self.lock();
        let skip = usize::try_from(since.saturating_sub(kept.gone)).unwrap_or(usize::MAX).min(kept.stamps.len());
        let found: Vec<Stamp> = kept.stamps.iter().skip(skip).take(most).copied().collect();
        let next = kept.gone + (skip + found.len()) as u64;
        (found, next)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // A panic elsewhere leaves stamps that are still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[cfg(feature = "load")]
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Nanoseconds since the first call: nobody outside of this process can compare them, and nobody asks without the tester.
#[cfg(not(feature = "load"))]
pub fn now() -> u64 {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// The answer to a question for stamps: one page, oldest first, from the `since` of its target.
pub(super) fn page(site: &Site, target: &str) -> String {
    let since = target.split_once("since=").and_then(|(_, digits)| digits.parse().ok()).unwrap_or(0);
    let (stamps, next) = site.stamps.since(since, PAGE_STAMPS);
    written(&stamps, next)
}

/// `{"clock":…,"next":N,"stamps":[[id,received,first,last],…]}`.
fn written(stamps: &[Stamp], next: u64) -> String {
    let mut body = format!(r#"{{"clock":"CLOCK_MONOTONIC","next":{next},"stamps":["#);
    for (number, stamp) in stamps.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        let Stamp { id, received, first, last } = stamp;
        let _ = write!(body, "{comma}[{id},{received},{first},{last}]");
    }
    body.push_str("]}");
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room_and_numbers_go_on() {
        let stamps = Stamps::default();
        for id in 0..STAMPS_KEPT as u64 + 3 {
            stamps.keep(Stamp::new(id, 1));
        }
        let (found, next) = stamps.since(0, 2);
        assert_eq!((found[0].id, found[1].id, next), (3, 4, 5));
        let (found, next) = stamps.since(STAMPS_KEPT as u64 + 2, 10);
        assert_eq!((found.len(), next), (1, STAMPS_KEPT as u64 + 3));
        assert_eq!(stamps.since(next, 10), (Vec::new(), next));
    }

    #[test]
    fn the_first_piece_and_the_last_are_stamped() {
        let mut stamp = Stamp::new(7, now());
        stamp.leaves();
        let first = stamp.first;
        stamp.leaves();
        assert!(stamp.received <= first && stamp.first == first && stamp.last >= first);
        assert_eq!(
            written(&[Stamp { id: 1, received: 2, first: 3, last: 4 }], 9),
            r#"{"clock":"CLOCK_MONOTONIC","next":9,"stamps":[[1,2,3,4]]}"#
        );
    }
}
