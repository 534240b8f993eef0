//! Two counts over the last ten seconds, for shares that must forget quickly.
//!
//! Pure; `now` is an argument and may not run backwards by more than the clock of the machine does. Ten slots of one second: what leaves
//! the window leaves it a second at a time.

use std::time::{Duration, Instant};

/// Slots of the window.
const SLOTS: usize = 10;
/// How long one slot counts.
const SLOT: Duration = Duration::from_secs(1);

/// Two counts that forget.
#[derive(Clone, Debug)]
pub struct Rolling {
    slots: [[u32; 2]; SLOTS],
    /// Sums of the slots.
    sums: [u32; 2],
    /// When the latest slot began.
    at: Instant,
    /// Which slot that is.
    latest: usize,
}

impl Rolling {
    /// How far the window reaches.
    pub const SPAN: Duration = Duration::from_secs(SLOTS as u64 * SLOT.as_secs());

    /// Nothing counted.
    pub fn new(now: Instant) -> Self {
        Self { slots: [[0; 2]; SLOTS], sums: [0; 2], at: now, latest: 0 }
    }

    /// Counts one of the first kind.
    pub fn count_first(&mut self, now: Instant) {
        self.count(0, now);
    }

    /// Counts one of the second kind.
    pub fn count_second(&mut self, now: Instant) {
        self.count(1, now);
    }

    /// Both counts within the window that ends now.
    pub fn sums(&mut self, now: Instant) -> (u32, u32) {
        self.turn(now);
        (self.sums[0], self.sums[1])
    }

    fn count(&mut self, kind: usize, now: Instant) {
        self.turn(now);
        let slot = &mut self.slots[self.latest][kind];
        // A slot that is full counts no further, and neither does the sum.
        if let Some(more) = slot.checked_add(1)
            && let Some(sum) = self.sums[kind].checked_add(1)
        {
            (*slot, self.sums[kind]) = (more, sum);
        }
    }

    /// Forgets the slots that have left the window.
    fn turn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs() / SLOT.as_secs();
        if passed >= SLOTS as u64 {
            *self = Self::new(now);
            return;
        }
        for _ in 0..passed {
            self.at += SLOT;
            self.latest = (self.latest + 1) % SLOTS;
            let [first, second] = std::mem::take(&mut self.slots[self.latest]);
            self.sums = [self.sums[0] - first, self.sums[1] - second];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_forgets_a_second_at_a_time() {
        let start = Instant::now();
        let mut counts = Rolling::new(start);
        for second in 0..10 {
            counts.count_first(start + Duration::from_secs(second));
            counts.count_second(start + Duration::from_millis(1_000 * second + 500));
        }
        assert_eq!(counts.sums(start + Duration::from_millis(9_999)), (10, 10));
        assert_eq!(counts.sums(start + Duration::from_secs(10)), (9, 9));
        assert_eq!(counts.sums(start + Duration::from_secs(15)), (4, 4));
        assert_eq!(counts.sums(start + Duration::from_secs(600)), (0, 0));
        counts.count_second(start + Duration::from_secs(601));
        assert_eq!(counts.sums(start + Duration::from_secs(610)), (0, 1));
    }

    #[test]
    fn a_clock_that_stands_still_or_steps_back_breaks_nothing() {
        let start = Instant::now() + Duration::from_secs(60);
        let mut counts = Rolling::new(start);
        counts.count_first(start);
        counts.count_first(start - Duration::from_secs(30));
        assert_eq!(counts.sums(start - Duration::from_secs(5)), (2, 0));
    }
}
