//! The bytes that one core holds for bodies: requests kept for another attempt, answers collected before they leave (rule O1).
//!
//! A request body is asked for before it is read and refused where there is no room: by its length, or piece by piece where it has none.
//! An answer is counted as it grows and never refused: it has been paid for, and what it takes keeps further requests out.

use std::cell::Cell;
use std::rc::Rc;

/// One core's bytes for bodies.
#[derive(Default)]
pub struct Budget {
    held: Cell<u64>,
}

/// Bytes held, given back when dropped.
pub struct Hold {
    budget: Rc<Budget>,
    bytes: Cell<u64>,
}

impl Budget {
    /// Bytes held now.
    pub fn held(&self) -> u64 {
        self.held.get()
    }

    /// A hold of nothing, to grow.
    pub fn open(self: &Rc<Self>) -> Hold {
        Hold { budget: self.clone(), bytes: Cell::new(0) }
    }
}

impl Hold {
    /// Holds `bytes` more if all holds together then are no more than `max`; whether it does. One body alone is always let in: what a single
    /// request may be is another bound.
    #[must_use]
    pub fn grow(&self, bytes: u64, max: u64) -> bool {
        let (held, more) = (self.budget.held.get(), self.budget.held.get().saturating_add(bytes));
        if more > max && held > self.bytes.get() {
            return false;
        }
        self.count(bytes);
        true
    }

    /// Holds `bytes` more, whatever there is.
    pub fn count(&self, bytes: u64) {
        self.bytes.set(self.bytes.get().saturating_add(bytes));
        self.budget.held.set(self.budget.held.get().saturating_add(bytes));
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.held.set(self.budget.held.get().saturating_sub(self.bytes.get()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_add_up_to_the_bound_and_go_back() {
        let budget = Rc::new(Budget::default());
        let (first, second) = (budget.open(), budget.open());
        assert!(first.grow(60, 100));
        assert!(!second.grow(41, 100), "one above");
        assert!(second.grow(40, 100), "at it");
        assert!(second.grow(0, 100));
        assert!(!second.grow(1, 100));
        assert_eq!(budget.held(), 100);
        drop(first);
        assert_eq!(budget.held(), 40);
        assert!(second.grow(60, 100));
        drop(second);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn one_alone_is_let_in_and_answers_are_only_counted() {
        let budget = Rc::new(Budget::default());
        let alone = budget.open();
        assert!(alone.grow(500, 100) && alone.grow(1, 100), "nobody else is there to make room for");
        let next = budget.open();
        assert!(!next.grow(1, 100));
        next.count(7);
        assert_eq!(budget.held(), 508);
        drop((alone, next));
        assert_eq!(budget.held(), 0);
    }
}
