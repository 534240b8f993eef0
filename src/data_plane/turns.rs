//! Whose turn it is: the candidates of a plan in their order, but where a key failed another one of that provider and model first, what was
//! halted since the plan was made after the others, what its owner halted never, and a provider that stands alone once more.

use super::plan::Candidate;
use super::steer::{Leave, Steering};
use super::trail::Trail;
use crate::limits::CANDIDATES_INLINE;
use smallvec::SmallVec;
use std::rc::Rc;
use std::time::Instant;

/// The candidates that have not had their turn.
pub struct Turns<'p> {
    candidates: &'p [Rc<Candidate>],
    /// Places of those that wait.
    waiting: SmallVec<[usize; CANDIDATES_INLINE]>,
    /// Of a plan with one provider alone, who was asked last; nobody once it has been asked again.
    lone: Option<usize>,
    /// Whether that may be.
    may_repeat: bool,
}

/// A candidate's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its place in the plan.
    pub place: usize,
    /// Whether its provider was asked just now: then a moment shall pass first.
    pub again: bool,
}

impl<'p> Turns<'p> {
    /// Everybody. `may_repeat` says that a provider that stands alone may be asked twice.
    pub fn of(candidates: &'p [Rc<Candidate>], may_repeat: bool) -> Self {
        let first = candidates.first().map(|candidate| candidate.target.provider);
        let is_alone = candidates.iter().all(|candidate| Some(candidate.target.provider) == first);
        let waiting = (0..candidates.len()).collect();
        Self { candidates, waiting, lone: None, may_repeat: may_repeat && is_alone }
    }

    /// Who is next, its probe claimed where it is half open; `None` when nobody is left.
    pub fn next(&mut self, steer: &Steering, trail: &mut Trail, now: Instant) -> Option<Turn> {
        if trail.over {
            return None;
        }
        let Some(place) = self.choose(steer, trail, now) else { return self.lone_again(trail) };
        self.take(place);
        Some(Turn { place, again: false })
    }

    /// Whether a candidate has not had its turn.
    pub fn is_waiting(&self, place: usize) -> bool {
        self.waiting.contains(&place)
    }

    /// A candidate has its turn out of order.
    pub fn take(&mut self, place: usize) {
        self.waiting.retain(|waiting| *waiting != place);
        self.lone = self.may_repeat.then_some(place);
    }

    fn choose(&self, steer: &Steering, trail: &mut Trail, now: Instant) -> Option<usize> {
        let key_failed = trail.keys_refused() > 0;
        if trail.wants_sibling() {
            let is_open = |place: &usize| {
                let candidate = &self.candidates[*place];
                let may = trail.is_sibling(candidate) && !trail.rules_out(candidate);
                may && steer.leave(&candidate.lane, key_failed, now) == Leave::Granted
            };
            if let Some(place) = self.waiting.iter().copied().find(is_open) {
                return Some(place);
            }
        }
        let is_untouched = self.waiting.len() == self.candidates.len();
        let mut halted = None;
        for &place in &self.waiting {
            let candidate = &self.candidates[place];
            if trail.rules_out(candidate) {
                continue;
            }
            match steer.leave(&candidate.lane, key_failed, now) {
                Leave::Granted => return Some(place),
                // The plan knew that a moment ago, and put it first all the same.
                Leave::Halted if place == 0 && is_untouched => return Some(place),
                Leave::Halted | Leave::Probing => halted = halted.or(Some(place)),
                Leave::Forbidden => trail.note_forbidden(candidate),
            }
        }
        halted
    }

    fn lone_again(&mut self, trail: &Trail) -> Option<Turn> {
        let place = self.lone.take().filter(|_| trail.may_pass())?;
        self.may_repeat = false;
        Some(Turn { place, again: true })
    }
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
