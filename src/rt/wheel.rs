//! A hierarchical timing wheel: pure data, no clock.
//!
//! Time is a tick count given from outside. Entries live in one slab and hang in doubly linked lists by index, so linking,
//! unlinking and moving cost O(1) and allocate nothing once the slab is warm. An entry whose time moved *later* stays where it hangs
//! and is put right when its slot comes up: a connection that pushes its deadline on every exchange pays one store.
//!
//! ```text
//! level 0: 64 slots of 1 tick | level 1: 64 slots of 64 ticks | level 2: of 4096 | level 3: of 262144
//! ```

use std::task::Waker;

const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = 4;
/// Ticks ahead that the wheel can tell apart; later entries hang in the furthest slot and are put right when it comes up.
const REACH: u64 = (SLOTS as u64 - 1) << (BITS * (LEVELS as u32 - 1));
const NONE: u32 = u32::MAX;

/// Names an entry until it is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key(u32);

/// Where an entry hangs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Nowhere,
    /// Due, and not handed out yet.
    Ready,
    Slot {
        level: u8,
        slot: u8,
        comes_up: u64,
    },
}

struct Entry {
    /// The tick from which on the entry is due.
    due: u64,
    place: Place,
    before: u32,
    after: u32,
    waker: Option<Waker>,
}

pub(super) struct Wheel {
    entries: Vec<Entry>,
    vacant: Vec<u32>,
    heads: [[u32; SLOTS]; LEVELS],
    /// One bit per slot that has entries.
    occupied: [u64; LEVELS],
    /// The list of entries that are due.
    ready: u32,
    /// Everything due up to this tick has been handed out.
    now: u64,
}

impl Wheel {
    pub(super) const fn new() -> Wheel {
        Wheel {
            entries: Vec::new(),
            vacant: Vec::new(),
            heads: [[NONE; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            ready: NONE,
            now: 0,
        }
    }

    /// A new entry that hangs nowhere yet.
    pub(super) fn insert(&mut self) -> Key {
        let entry = Entry { due: 0, place: Place::Nowhere, before: NONE, after: NONE, waker: None };
        match self.vacant.pop() {
            Some(index) => {
                self.entries[index as usize] = entry;
                Key(index)
            }
            None => {
                let index = u32::try_from(self.entries.len()).expect("fewer deadlines than a u32 counts");
                self.entries.push(entry);
                Key(index)
            }
        }
    }

    /// Forgets an entry. Gives its waker out so that the caller drops it when the wheel is not borrowed.
    pub(super) fn remove(&mut self, key: Key) -> Option<Waker> {
        self.unlink(key.0);
        self.vacant.push(key.0);
        self.entries[key.0 as usize].waker.take()
    }

    /// Arms the entry: `waker` is handed out once tick `due` has come. Returns the waker it replaced, to be dropped outside.
    pub(super) fn arm(&mut self, key: Key, due: u64, waker: &Waker) -> Option<Waker> {
        self.set_due(key, due);
        let slot = &mut self.entries[key.0 as usize].waker;
        match slot {
            Some(known) if known.will_wake(waker) => None,
            _ => slot.replace(waker.clone()),
        }
    }

    /// Moves the time of an entry that is armed. Says whether it is.
    pub(super) fn postpone(&mut self, key: Key, due: u64) -> bool {
        let armed = self.entries[key.0 as usize].place != Place::Nowhere;
        if armed {
            self.set_due(key, due);
        }
        armed
    }

    fn set_due(&mut self, key: Key, due: u64) {
        let due = due.max(self.now + 1);
        self.entries[key.0 as usize].due = due;
        match self.entries[key.0 as usize].place {
            // Lazily: the slot comes up first and finds out.
            Place::Slot { comes_up, .. } if comes_up <= due => {}
            _ => {
                self.unlink(key.0);
                self.link(key.0);
            }
        }
    }

    /// The tick at which the wheel must be looked at next.
    pub(super) fn next(&self) -> Option<u64> {
        if self.ready != NONE { Some(self.now) } else { self.next_slot().map(|(_, _, comes_up)| comes_up) }
    }

    /// Hands out the waker of one entry that is due at tick `now`, if there is one. To be called until it gives `None`.
    pub(super) fn pop(&mut self, now: u64) -> Option<Waker> {
        loop {
            while self.ready != NONE {
                let index = self.ready;
                self.unlink(index);
                if let Some(waker) = self.entries[index as usize].waker.take() {
                    return Some(waker);
                }
            }
            match self.next_slot() {
                Some((level, slot, comes_up)) if comes_up <= now => self.empty_slot(level, slot, comes_up, now),
                _ => break,
            }
        }
        self.now = self.now.max(now);
        None
    }

    /// Puts every entry of a slot that came up where it belongs: among the ready, or into a finer slot.
    fn empty_slot(&mut self, level: usize, slot: usize, comes_up: u64, now: u64) {
        let mut index = std::mem::replace(&mut self.heads[level][slot], NONE);
        self.occupied[level] &= !(1 << slot);
        self.now = comes_up;
        while index != NONE {
            let after = self.entries[index as usize].after;
            if self.entries[index as usize].due <= now {
                self.entries[index as usize].place = Place::Ready;
                self.ready = self.push(index, self.ready);
            } else {
                self.link(index);
            }
            index = after;
        }
    }

    /// Whether no entry is armed.
    #[cfg(test)]
    fn is_idle(&self) -> bool {
        self.occupied == [0; LEVELS] && self.ready == NONE
    }

    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        (0..LEVELS).filter_map(|level| self.next_in(level)).min_by_key(|next| (next.2, std::cmp::Reverse(next.0)))
    }

    /// The first occupied slot of `level` in the order of time, and the tick it comes up.
    fn next_in(&self, level: usize) -> Option<(usize, usize, u64)> {
        if self.occupied[level] == 0 {
            return None;
        }
        let shift = BITS * level as u32;
        let current = self.now >> shift;
        let here = (current % SLOTS as u64) as u32;
        // `link` never uses the slot we stand in, so what hangs there came up together with the slot just emptied.
        let distance = u64::from(self.occupied[level].rotate_right(here).trailing_zeros());
        let slot = ((u64::from(here) + distance) % SLOTS as u64) as usize;
        Some((level, slot, (current + distance) << shift))
    }

    /// Hangs an entry into the lowest level on which its slot is less than a turn ahead.
    fn link(&mut self, index: u32) {
        let due = self.entries[index as usize].due.clamp(self.now + 1, self.now + REACH);
        let turns = |level: usize| (due >> (BITS * level as u32)) - (self.now >> (BITS * level as u32));
        let level = (0..LEVELS).find(|level| turns(*level) < SLOTS as u64).unwrap_or(LEVELS - 1);
        let shift = BITS * level as u32;
        let slot = ((due >> shift) % SLOTS as u64) as usize;
        self.entries[index as usize].place =
            Place::Slot { level: level as u8, slot: slot as u8, comes_up: (due >> shift) << shift };
        self.heads[level][slot] = self.push(index, self.heads[level][slot]);
        self.occupied[level] |= 1 << slot;
    }

    /// Puts an entry before the list that starts at `head`, and returns the new head.
    fn push(&mut self, index: u32, head: u32) -> u32 {
        if head != NONE {
            self.entries[head as usize].before = index;
        }
        let entry = &mut self.entries[index as usize];
        entry.before = NONE;
        entry.after = head;
        index
    }

    fn unlink(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        let place = std::mem::replace(&mut entry.place, Place::Nowhere);
        let (before, after) = (entry.before, entry.after);
        if place == Place::Nowhere {
            return;
        }
        if after != NONE {
            self.entries[after as usize].before = before;
        }
        if before != NONE {
            self.entries[before as usize].after = after;
            return;
        }
        match place {
            Place::Slot { level, slot, .. } => {
                self.heads[level as usize][slot as usize] = after;
                if after == NONE {
                    self.occupied[level as usize] &= !(1 << slot);
                }
            }
            _ => self.ready = after,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };
    use std::task::Wake;

    use super::*;

    struct Flag(AtomicU64);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flag() -> (Arc<Flag>, Waker) {
        let flag = Arc::new(Flag(AtomicU64::new(0)));
        (flag.clone(), flag.into())
    }

    fn run(wheel: &mut Wheel, now: u64) {
        while let Some(waker) = wheel.pop(now) {
            waker.wake();
        }
    }

    #[test]
    fn every_entry_fires_at_its_tick_and_not_before() {
        // A spread over all levels, armed while time goes on; a small generator so that a failure replays.
        let mut wheel = Wheel::new();
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut waiting: Vec<(u64, Arc<Flag>)> = Vec::new();
        let mut now = 0;
        for round in 0..6000u64 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let due = now + 1 + (state >> 33) % [60, 130, 5_000, 300_000][(state >> 20) as usize % 4];
            let (flag, waker) = flag();
            let key = wheel.insert();
            wheel.arm(key, due, &waker);
            waiting.push((due, flag));
            now += (state >> 50) % 3;
            run(&mut wheel, now);
            waiting.retain(|(due, flag)| {
                let fired = flag.0.load(Ordering::Relaxed);
                assert_eq!(fired, u64::from(*due <= now), "due {due} at {now}, round {round}");
                fired == 0
            });
        }
        while let Some(next) = wheel.next() {
            run(&mut wheel, next - 1);
            assert!(
                waiting.iter().all(|(due, flag)| (flag.0.load(Ordering::Relaxed) == 1) == (*due < next)),
                "at {next}"
            );
            run(&mut wheel, next);
        }
        assert!(waiting.iter().all(|(_, flag)| flag.0.load(Ordering::Relaxed) == 1));
        assert!(wheel.is_idle());
    }

    #[test]
    fn a_postponed_entry_fires_late_and_an_advanced_one_early() {
        let mut wheel = Wheel::new();
        let (late, late_waker) = flag();
        let (early, early_waker) = flag();
        let (a, b) = (wheel.insert(), wheel.insert());
        wheel.arm(a, 10, &late_waker);
        wheel.arm(b, 10_000, &early_waker);
        wheel.postpone(a, 500);
        wheel.postpone(b, 20);
        run(&mut wheel, 20);
        assert_eq!((late.0.load(Ordering::Relaxed), early.0.load(Ordering::Relaxed)), (0, 1));
        run(&mut wheel, 499);
        assert_eq!(late.0.load(Ordering::Relaxed), 0);
        run(&mut wheel, 500);
        assert_eq!(late.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_removed_entry_does_not_fire_and_its_place_is_used_again() {
        let mut wheel = Wheel::new();
        let (gone, waker) = flag();
        let key = wheel.insert();
        wheel.arm(key, 5, &waker);
        wheel.remove(key);
        run(&mut wheel, 100);
        assert_eq!(gone.0.load(Ordering::Relaxed), 0);
        assert_eq!(wheel.insert(), key);
        assert!(wheel.is_idle());
    }

    #[test]
    fn a_time_beyond_the_span_is_reached_in_turns() {
        let mut wheel = Wheel::new();
        let (far, waker) = flag();
        let key = wheel.insert();
        wheel.arm(key, 3 * REACH + 5, &waker);
        while let Some(next) = wheel.next().filter(|next| *next < 3 * REACH + 5) {
            run(&mut wheel, next);
            assert_eq!(far.0.load(Ordering::Relaxed), 0);
        }
        run(&mut wheel, 3 * REACH + 5);
        assert_eq!(far.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_long_sleep_of_the_ticker_fires_everything_once() {
        let mut wheel = Wheel::new();
        let flags: Vec<_> = (1..1000u64)
            .map(|n| {
                let (flag, waker) = flag();
                let key = wheel.insert();
                wheel.arm(key, n * 37, &waker);
                flag
            })
            .collect();
        run(&mut wheel, 1 << 40);
        assert!(flags.iter().all(|flag| flag.0.load(Ordering::Relaxed) == 1));
    }
}
