//! The head before on the same connection, for the next one to be compared with.
//!
//! A client's heads are alike, and so are a provider's: the same lines in the same order, of which a few have another value. What stands
//! where it stood is known, and is not read again. Nothing is taken on trust: a line counts as known only byte for byte, and whatever has
//! another shape is read as if there had been no head before.
//!
//! A client's head shows its access key: the copy is wiped (rule V12).

use crate::limits::KEPT_HEAD_BYTES_MAX;
use std::fmt;
use zeroize::Zeroize;

/// A head's bytes; empty while none is kept.
#[derive(Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    /// Whether a head came before: a connection that brings only one keeps nothing.
    again: bool,
}

impl Kept {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Keeps a head in place of the one before, unless it is the first on its connection, or a long one.
    pub fn keep(&mut self, head: &[u8]) {
        if !std::mem::replace(&mut self.again, true) || head.len() > KEPT_HEAD_BYTES_MAX {
            return self.forget();
        }
        if let Some(beyond) = self.bytes.get_mut(head.len()..) {
            beyond.zeroize();
        }
        self.bytes.clear();
        if self.bytes.capacity() < head.len() {
            // What a growing vector leaves behind is not wiped; the old one is, before it goes.
            self.wipe();
            self.bytes.reserve_exact(head.len().next_multiple_of(ROOM_BYTES));
        }
        self.bytes.extend_from_slice(head);
    }

    /// Keeps none.
    #[inline]
    pub fn forget(&mut self) {
        if !self.bytes.is_empty() {
            self.wipe();
        }
    }

    #[cold]
    fn wipe(&mut self) {
        self.bytes.zeroize();
    }
}

/// Heads that grow and shrink by a few digits fit the same memory.
const ROOM_BYTES: usize = 64;

impl Drop for Kept {
    fn drop(&mut self) {
        self.forget();
    }
}

/// Shows its size, never its content (rule V12).
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("len", &self.bytes.len()).finish()
    }
}
