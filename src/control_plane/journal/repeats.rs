//! Which close of an attempt counts: the first. After a sync that failed, records are written again, with new numbers (rule L8).
//!
//! What is relied on: a record that is written again stands in the same lane, at most [`REPEAT_RECORDS_MAX`] records behind the one it
//! repeats. So nothing has to be written down for it: whether a close is a repeat follows from the journal alone, and whoever goes on in the
//! middle of a lane reads that many records before it first ([`Repeats::begin_of`]). The books, the proof and exports all ask here.

use crate::domain::id::AttemptId;
use crate::domain::id_hash::IdHash;
use crate::limits::books::REPEAT_RECORDS_MAX;
use std::collections::{HashMap, VecDeque};

/// The closes of one lane that may still be repeated.
#[derive(Debug, Default)]
pub struct Repeats {
    /// By attempt, the number of its last close.
    known: HashMap<u128, u64, IdHash>,
    /// In the order of their numbers.
    order: VecDeque<(u64, u128)>,
}

impl Repeats {
    /// After which record to begin to read, to know everything about those after number `after`.
    pub fn begin_of(after: u64) -> u64 {
        after.saturating_sub(REPEAT_RECORDS_MAX)
    }

    /// Takes in the close of an attempt that stands at `number`; false if it is a repeat.
    pub fn is_first(&mut self, number: u64, attempt: AttemptId) -> bool {
        while let Some((old, known)) = self.order.front().copied()
            && old.saturating_add(REPEAT_RECORDS_MAX) < number
        {
            self.order.pop_front();
            if self.known.get(&known) == Some(&old) {
                self.known.remove(&known);
            }
        }
        self.order.push_back((number, attempt.bits()));
        self.known.insert(attempt.bits(), number).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_close_counts_and_its_repeats_do_not() {
        let mut repeats = Repeats::default();
        let id = AttemptId::from_bits;
        assert!(repeats.is_first(1, id(7)) && repeats.is_first(2, id(8)));
        assert!(!repeats.is_first(3, id(7)), "written again");
        assert!(!repeats.is_first(3 + REPEAT_RECORDS_MAX, id(7)), "and once more, counted from the last one");
        assert!(repeats.known.len() == 1 && repeats.order.len() <= 2, "what lies too far back is forgotten");
        assert!(repeats.is_first(4 + 3 * REPEAT_RECORDS_MAX, id(7)), "by then it is none that we would write");
    }

    #[test]
    fn whoever_goes_on_in_the_middle_decides_as_who_read_it_all() {
        let mut dice = fastrand::Rng::with_seed(9);
        let records: Vec<AttemptId> = (0..2_000).map(|_| AttemptId::from_bits(u128::from(dice.u16(..900)))).collect();
        let numbered = || (1u64..).zip(&records);
        let mut whole = Repeats::default();
        let all: Vec<bool> = numbered().map(|(number, id)| whole.is_first(number * 97, *id)).collect();
        for after in [0, 97 * 300, 97 * 1_500] {
            let mut part = Repeats::default();
            for (number, id) in numbered().map(|(number, id)| (number * 97, id)) {
                if number > Repeats::begin_of(after) {
                    let first = part.is_first(number, *id);
                    let place = usize::try_from(number / 97).expect("small") - 1;
                    assert!(number <= after || first == all[place], "record {number} from {after} on");
                }
            }
        }
    }
}
