//! The wall clock against the monotonic one: wall time is a label, and when it jumps somebody should know (rule L9).

use crate::domain::clock::UnixMillis;
use crate::limits::WALL_STEP_MAX;
use std::time::Instant;

/// The last look at both clocks.
#[derive(Debug, Default)]
pub(super) struct Wall {
    last: Option<(UnixMillis, Instant)>,
}

impl Wall {
    /// Looks at both, and says so when the wall clock went further than time did, or back.
    pub(super) fn look(&mut self, wall: UnixMillis, now: Instant) -> Option<String> {
        let (before, then) = self.last.replace((wall, now))?;
        let passed = i128::try_from(now.saturating_duration_since(then).as_millis()).unwrap_or(i128::MAX);
        let stepped = i128::from(wall.0) - i128::from(before.0) - passed;
        let most = i128::try_from(WALL_STEP_MAX.as_millis()).unwrap_or(i128::MAX);
        let seconds = stepped.unsigned_abs() / 1_000;
        match stepped {
            step if step > most => Some(format!(
                "the clock was set forward by {seconds} s; expiries and periods that lie between are due at once"
            )),
            step if step < -most => Some(format!(
                "the clock was set back by {seconds} s; expiries and periods come that much later, and usage counts for the earlier hour"
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_a_step_is_told_and_only_once() {
        let (start, mut wall) = (Instant::now(), Wall::default());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let label = |seconds: u64| UnixMillis(1_000_000_000_000 + seconds * 1_000);
        assert_eq!(wall.look(label(0), at(0)), None);
        assert_eq!(wall.look(label(3_600), at(3_600)), None, "an hour without a look is no step");
        assert_eq!(wall.look(label(3_660), at(3_600)), None, "sixty seconds are allowed");
        assert!(wall.look(label(3_721), at(3_600)).expect("a step").contains("forward by 61 s"));
        assert_eq!(wall.look(label(3_722), at(3_601)), None, "the new time is the time");
        assert!(wall.look(label(0), at(3_602)).expect("a step").contains("back by 3723 s"));
        assert_eq!(wall.look(label(1), at(3_603)), None);
    }
}
