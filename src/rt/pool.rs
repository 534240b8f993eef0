//! The buffer pool of one core: free blocks in four sizes, lent to [`Buf`](super::Buf)s and given back on drop.
//!
//! Thread-local, so no lock and no sharing. Each size keeps a bounded number of bytes; what comes back beyond that, and blocks
//! larger than the largest size, are freed. The last block given back is lent first: it is the one still in the cache.

use std::cell::RefCell;

use crate::limits::POOLED_BYTES_PER_SIZE_MAX;

/// Bytes of the blocks, smallest first; each is four times the one before.
const SIZES: [usize; 4] = [1024, 4 * 1024, 16 * 1024, 64 * 1024];

/// Above this capacity a block is freed instead of kept.
const KEEP_BYTES_MAX: usize = 2 * SIZES[SIZES.len() - 1];

#[derive(Default)]
struct Shelf {
    blocks: Vec<Vec<u8>>,
    bytes: usize,
}

thread_local! {
    static SHELVES: RefCell<[Shelf; SIZES.len()]> = RefCell::default();
}

/// What a block has at least that is worth a copy to give back for a smaller one.
pub(super) const SMALL_BYTES: usize = SIZES[0];

/// Bytes of the block that has room for `capacity` bytes.
pub(super) fn block_bytes(capacity: usize) -> usize {
    SIZES.into_iter().find(|bytes| *bytes >= capacity).unwrap_or(capacity)
}

/// A block with room for at least `capacity` bytes.
pub(super) fn take(capacity: usize) -> Vec<u8> {
    let Some(size) = SIZES.iter().position(|bytes| *bytes >= capacity) else {
        return Vec::with_capacity(capacity);
    };
    let kept = SHELVES.try_with(|shelves| {
        let shelf = &mut shelves.borrow_mut()[size];
        let block = shelf.blocks.pop()?;
        shelf.bytes -= block.capacity();
        Some(block)
    });
    match kept {
        Ok(Some(block)) => block,
        // Also when the thread is ending and its pool is gone already.
        _ => Vec::with_capacity(SIZES[size]),
    }
}

/// Takes a block back, or frees it.
pub(super) fn put(mut block: Vec<u8>) {
    let capacity = block.capacity();
    let Some(size) = SIZES.iter().rposition(|bytes| *bytes <= capacity) else {
        return;
    };
    if capacity > KEEP_BYTES_MAX {
        return;
    }
    block.clear();
    let _ = SHELVES.try_with(|shelves| {
        let shelf = &mut shelves.borrow_mut()[size];
        if shelf.bytes + capacity <= POOLED_BYTES_PER_SIZE_MAX {
            shelf.bytes += capacity;
            shelf.blocks.push(block);
        }
    });
}

/// Bytes waiting in this core's pool.
pub fn pooled_bytes() -> usize {
    SHELVES.try_with(|shelves| shelves.borrow().iter().map(|shelf| shelf.bytes).sum()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_back_and_is_lent_again() {
        let block = take(3000);
        assert_eq!(block.capacity(), 4096);
        let address = block.as_ptr();
        put(block);
        assert_eq!(pooled_bytes(), 4096);
        let again = take(4096);
        assert_eq!(again.as_ptr(), address);
        assert_eq!(pooled_bytes(), 0);
    }

    #[test]
    fn oversized_and_surplus_blocks_are_freed() {
        put(Vec::with_capacity(KEEP_BYTES_MAX + 1));
        assert_eq!(pooled_bytes(), 0);
        for _ in 0..POOLED_BYTES_PER_SIZE_MAX / SIZES[3] + 5 {
            put(Vec::with_capacity(SIZES[3]));
        }
        assert_eq!(pooled_bytes(), POOLED_BYTES_PER_SIZE_MAX);
    }
}
