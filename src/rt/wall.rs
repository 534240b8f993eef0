//! Wall time by arithmetic: both clocks are read together now and then, and in between a monotonic instant says what the wall clock shows.

use crate::domain::clock::UnixMillis;
use crate::limits::WALL_READ_INTERVAL;
use std::cell::Cell;
use std::time::{Duration, Instant};

thread_local! {
    /// When both clocks of this core were read last, and what the wall clock showed: nanoseconds since the Unix epoch.
    static READ: Cell<Option<(Instant, u64)>> = const { Cell::new(None) };
}

/// Wall time at an instant that is about now. A wall clock that was set is believed within [`WALL_READ_INTERVAL`].
pub fn wall(at: Instant) -> UnixMillis {
    match READ.get().map(|(then, wall)| (at.checked_duration_since(then), wall)) {
        Some((Some(since), wall)) if since < WALL_READ_INTERVAL => UnixMillis((wall + nanos(since)) / NANOS_PER_MILLI),
        _ => read(at),
    }
}

const NANOS_PER_MILLI: u64 = 1_000_000;

#[cold]
fn read(at: Instant) -> UnixMillis {
    let (now, wall) = (Instant::now(), UnixMillis::now().0.saturating_mul(NANOS_PER_MILLI));
    READ.set(Some((now, wall)));
    UnixMillis(wall.saturating_sub(nanos(now.saturating_duration_since(at))) / NANOS_PER_MILLI)
}

/// A duration that is short.
fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_goes_on_with_the_other_one() {
        let now = Instant::now();
        let read = UnixMillis::now().0;
        let first = wall(now).0;
        assert!(first.abs_diff(read) <= 1_000, "{first} {read}");
        let later = wall(now + Duration::from_millis(40)).0;
        assert!((first + 39..=first + 41).contains(&later), "{first} {later}");
        // What lies before the reading makes another one, and is right as well.
        let earlier = wall(now.checked_sub(Duration::from_secs(5)).expect("it has been up for longer")).0;
        assert!(first.abs_diff(earlier + 5_000) <= 1_000, "{first} {earlier}");
    }
}
