//! What a provider keeps between requests: stored responses, files, batches. The oldest goes when there are too many.

use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Things kept at most.
const KEPT_MAX: usize = 1000;

/// One kept thing.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// What its provider shows of it.
    pub(super) shown: Value,
    /// What belongs to it besides: the content of a file, the conversation before a response.
    pub(super) content: Vec<u8>,
}

/// Things by their ids, shared by all connections.
#[derive(Default)]
pub(super) struct Shelf(Mutex<VecDeque<(String, Kept)>>);

impl Shelf {
    /// Keeps a thing in place of one with the same id.
    pub(super) fn put(&self, id: &str, kept: Kept) {
        let mut all = self.lock();
        all.retain(|(known, _)| known != id);
        if all.len() == KEPT_MAX {
            all.pop_front();
        }
        all.push_back((id.to_owned(), kept));
    }

    pub(super) fn find(&self, id: &str) -> Option<Kept> {
        self.lock().iter().find(|(known, _)| known == id).map(|(_, kept)| kept.clone())
    }

    /// Takes a thing away; false if there was none.
    pub(super) fn remove(&self, id: &str) -> bool {
        let mut all = self.lock();
        let before = all.len();
        all.retain(|(known, _)| known != id);
        all.len() < before
    }

    /// Everything whose id starts so, oldest first.
    pub(super) fn starting(&self, start: &str) -> Vec<Kept> {
        self.lock().iter().filter(|(id, _)| id.starts_with(start)).map(|(_, kept)| kept.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(String, Kept)>> {
        // A panic elsewhere leaves things that are still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
