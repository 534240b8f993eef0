//! Something that happens once, and that any number of tasks of this core wait for.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Closed at first, and open for good once that was said.
#[derive(Debug, Default)]
pub struct Latch {
    is_open: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Latch {
    /// Lets all go on that wait, in the order in which they came, and everybody who comes later.
    pub fn open(&self) {
        self.is_open.set(true);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.is_open.get()
    }

    /// Waits until it is open. May be abandoned.
    pub async fn opened(&self) {
        poll_fn(|cx| {
            if self.is_open.get() {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|known| known.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}
