//! The time that limits are kept by: wall time that never goes back.
//!
//! It runs with the monotonic clock from where the wall clock stood at the start. A wall clock that is set forward is followed, so that
//! days and months begin when people expect them; one that is set back is not, so that nothing that was used is forgotten (rule L9). Until
//! the wall clock has caught up, periods end by this clock, each after its usual length.

use crate::domain::clock::UnixMillis;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A reading: nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

/// The clock.
#[derive(Debug)]
pub struct SteadyClock {
    started: Instant,
    /// The reading at `started`, nanoseconds since the Unix epoch.
    origin: AtomicU64,
}

/// How the wall clock stands to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// As far as it should.
    None,
    /// It was set forward, and is followed.
    Forward(Duration),
    /// It is behind, and is waited for.
    Behind(Duration),
}

/// Less than this is no step: two clocks are not read in one instant.
const TOLERANCE: Duration = Duration::from_millis(100);

// === impl Moment ===

impl Moment {
    /// As a label, in whole milliseconds.
    pub const fn millis(self) -> UnixMillis {
        UnixMillis(self.0 / 1_000_000)
    }
}

impl From<UnixMillis> for Moment {
    fn from(at: UnixMillis) -> Self {
        Self(at.0.saturating_mul(1_000_000))
    }
}

// === impl SteadyClock ===

impl SteadyClock {
    /// Begins at what the wall clock says.
    pub fn new(wall: UnixMillis, started: Instant) -> Self {
        Self { started, origin: AtomicU64::new(Moment::from(wall).0) }
    }

    /// The reading at an instant.
    pub fn at(&self, instant: Instant) -> Moment {
        let since = u64::try_from(instant.saturating_duration_since(self.started).as_nanos()).unwrap_or(u64::MAX);
        Moment(self.origin.load(Ordering::Relaxed).saturating_add(since))
    }

    /// Compares with the wall clock as it was at an instant, and follows it forward.
    pub fn correct(&self, wall: UnixMillis, instant: Instant) -> Step {
        let (here, there) = (self.at(instant).0, Moment::from(wall).0);
        let apart = Duration::from_nanos(here.abs_diff(there));
        match there.cmp(&here) {
            _ if apart < TOLERANCE => Step::None,
            std::cmp::Ordering::Greater => {
                self.origin.fetch_add(there - here, Ordering::Relaxed);
                Step::Forward(apart)
            }
            _ => Step::Behind(apart),
        }
    }
}
