//! A byte buffer that the kernel may fill: unread bytes, a start offset, and spare room.
//!
//! [`Buf`] is what connections read into and write from. Its memory is lent by the per-core pool (`pool.rs`) and goes back on drop,
//! so that a connection that waits owns next to nothing. A buffer that carried a credential is marked with [`Buf::secret`] and wiped
//! before anyone else sees its memory (rule V12).
//!
//! On epoll a read needs memory only while the kernel is asked, and all reads of a core are asked one after the other. So they land in one
//! block of the core, and a buffer takes memory of its own, no more than it needs, when bytes have come ([`Buf::landing`]).
//!
//! This file holds `unsafe` because monoio asks for two unsafe traits, which hand raw pointers to the kernel. The invariant they
//! rest on is on the type: `start <= vec.len()`, and the heap block moves only through `&mut Buf`, which nobody has while an
//! operation owns the buffer.
#![allow(unsafe_code)] // IoBuf and IoBufMut of monoio: pointers into a block that the operation owns until its completion (rule S6).

use std::cell::RefCell;
use std::io;

use monoio::buf::{IoBuf, IoBufMut};
use zeroize::Zeroize;

use super::driver::{self, Driver};
use super::pool;
use crate::limits::READ_BUFFER_BYTES;

/// Room that a buffer takes from the pool when it first needs any.
const FIRST_BYTES: usize = 4 * 1024;
/// Up to so many bytes that have landed are copied to a block that fits; with more, the block they lie in changes hands.
const LANDED_COPY_BYTES_MAX: usize = 4 * 1024;

thread_local! {
    /// Where the reads of this core land; empty but within a read.
    static LANDING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A growable byte buffer: bytes are appended at the end and consumed at the front.
///
/// An empty `Buf` that never held bytes owns no memory.
#[derive(Default)]
pub struct Buf {
    /// Invariant: `start <= vec.len()`; `vec[start..]` is the unread part.
    vec: Vec<u8>,
    start: usize,
    /// Wiped is what is forgotten, when it is forgotten: beyond `vec.len()` lies nothing of a secret buffer's.
    secret: bool,
    /// Whether the next read lands in the core's block; the buffer has no memory then.
    lands: bool,
}

impl Buf {
    /// An empty buffer without memory.
    pub const fn new() -> Buf {
        Buf { vec: Vec::new(), start: 0, secret: false, lands: false }
    }

    /// An empty buffer for one read of up to [`READ_BUFFER_BYTES`], which takes its memory when they have come.
    ///
    /// # Panics
    /// On any driver but epoll: another one keeps the pointer while it waits.
    pub(super) fn landing() -> Buf {
        assert_eq!(driver::current(), Some(Driver::Epoll), "reads land where they end before anything else runs");
        Buf { vec: Vec::new(), start: 0, secret: false, lands: true }
    }

    /// An empty buffer with room for at least `capacity` bytes, from this core's pool when it has one.
    pub fn lease(capacity: usize) -> Buf {
        Buf { vec: pool::take(capacity), start: 0, secret: false, lands: false }
    }

    /// The unread bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.vec[self.start..]
    }

    /// The unread bytes, to be changed in place (a TLS record is decrypted where it lies).
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.vec[self.start..]
    }

    /// How many bytes are unread.
    pub fn len(&self) -> usize {
        self.vec.len() - self.start
    }

    /// Whether nothing is unread.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the first `n` unread bytes (all of them if there are fewer).
    pub fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.len(), "consumed {n} of {} bytes", self.len());
        self.start += n.min(self.len());
        if self.start == self.vec.len() {
            self.clear();
        }
    }

    /// Forgets the bytes after the first `len` unread ones.
    pub fn truncate(&mut self, len: usize) {
        self.cut(self.start.saturating_add(len));
        if self.is_empty() {
            self.clear();
        }
    }

    /// Forgets everything; the memory stays.
    pub fn clear(&mut self) {
        self.cut(0);
        self.start = 0;
    }

    /// Forgets what lies behind the first `len` bytes of the block.
    fn cut(&mut self, len: usize) {
        if self.secret
            && let Some(beyond) = self.vec.get_mut(len..)
        {
            beyond.zeroize();
        }
        self.vec.truncate(len);
    }

    /// Appends bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.vec.extend_from_slice(bytes);
    }

    /// Bytes that can be appended without moving anything.
    pub fn spare(&self) -> usize {
        self.vec.capacity() - self.vec.len()
    }

    /// Bytes of memory the buffer holds.
    pub fn capacity(&self) -> usize {
        self.vec.capacity()
    }

    /// Makes room for `additional` bytes: moves the unread part to the front, or into a larger block.
    pub fn reserve(&mut self, additional: usize) {
        if self.spare() >= additional {
            return;
        }
        if self.start > 0 && self.vec.capacity() - self.len() >= additional {
            self.compact();
        } else {
            self.grow(additional);
        }
    }

    /// The unread bytes as a `Vec` that a writer may append to (and shorten or change as it likes).
    ///
    /// On a [secret](Buf::secret) buffer call [`reserve`](Buf::reserve) first, and wipe what is taken away again: what `Vec` leaves behind
    /// when it grows or is shortened is not wiped.
    pub fn vec_mut(&mut self) -> &mut Vec<u8> {
        if self.vec.capacity() == 0 {
            self.vec = pool::take(FIRST_BYTES);
        }
        self.compact();
        &mut self.vec
    }

    /// Appends `n` zero bytes and gives them out to be filled.
    pub fn append_zeroed(&mut self, n: usize) -> &mut [u8] {
        self.reserve(n);
        let end = self.vec.len();
        self.vec.resize(end + n, 0);
        &mut self.vec[end..]
    }

    /// Marks the buffer as one that carries a credential: its memory is wiped before it goes back to the pool (rule V12).
    ///
    /// The mark stays until the memory is given back, also through [`clear`](Buf::clear).
    pub fn secret(&mut self) {
        self.secret = true;
    }

    /// Gives the memory back to the pool if nothing is unread.
    pub fn release_if_empty(&mut self) {
        if self.is_empty() && self.vec.capacity() != 0 {
            *self = Buf::new();
        }
    }

    /// Moves the unread part into a smaller block of the pool if it fits there: for one that will be held while others wait for memory.
    pub fn shrink(&mut self) {
        let fits = pool::block_bytes(self.len());
        if fits < self.vec.capacity() && self.len() <= pool::SMALL_BYTES {
            let mut smaller = Buf::lease(self.len());
            smaller.vec.extend_from_slice(self.bytes());
            smaller.secret = self.secret;
            *self = smaller;
        }
    }

    fn compact(&mut self) {
        if self.start > 0 {
            let unread = self.len();
            self.vec.copy_within(self.start.., 0);
            self.cut(unread);
            self.start = 0;
        }
    }

    #[cold]
    fn grow(&mut self, additional: usize) {
        let wanted = self.len().saturating_add(additional).max(self.vec.capacity().saturating_mul(2)).max(FIRST_BYTES);
        let mut larger = Buf::lease(wanted);
        larger.vec.extend_from_slice(self.bytes());
        larger.secret = self.secret;
        *self = larger;
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        if self.vec.capacity() == 0 {
            return;
        }
        self.cut(0);
        pool::put(std::mem::take(&mut self.vec));
    }
}

impl std::fmt::Debug for Buf {
    /// Sizes only: the content may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buf").field("len", &self.len()).field("capacity", &self.vec.capacity()).finish()
    }
}

impl io::Write for Buf {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// SAFETY: `read_ptr` points at the unread part, `bytes_init` is its length, all of it initialised since it lies below `vec.len()`
// and `start <= vec.len()`. Moving a `Buf` moves the `Vec` header, not the heap block, and the block is only reallocated through
// `&mut self`, which nobody has while the operation owns the buffer.
unsafe impl IoBuf for Buf {
    fn read_ptr(&self) -> *const u8 {
        self.bytes().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: `write_ptr` is the end of the initialised part and `bytes_total` the room up to the capacity of the same heap block, so
// the kernel writes inside it. The block is stable for the reasons given for `IoBuf`. Of a buffer that lands, both speak of the core's
// block, which has at least that room and is only touched here. On epoll, the one driver that gets such a buffer, an operation asks for the
// pointer, calls the kernel and declares what came, all within one poll: nothing runs between, so no other read writes there and the
// block does not move.
unsafe impl IoBufMut for Buf {
    fn write_ptr(&mut self) -> *mut u8 {
        if !self.lands {
            return self.vec.spare_capacity_mut().as_mut_ptr().cast();
        }
        LANDING.with_borrow_mut(|block| {
            if block.capacity() == 0 {
                *block = pool::take(READ_BUFFER_BYTES);
            }
            block.spare_capacity_mut().as_mut_ptr().cast()
        })
    }

    fn bytes_total(&mut self) -> usize {
        if self.lands { READ_BUFFER_BYTES } else { self.spare() }
    }

    /// `pos` counts from `write_ptr`: a read appends.
    unsafe fn set_init(&mut self, pos: usize) {
        if self.lands {
            self.lands = false;
            // SAFETY: the caller's promise is about the block that `write_ptr` gave out.
            self.vec = LANDING.with_borrow_mut(|block| unsafe { landed(block, pos) });
            return;
        }
        assert!(pos <= self.spare(), "the kernel reported more bytes than the buffer has room for");
        // SAFETY: the caller promises that `pos` bytes from `write_ptr` on are initialised, and they lie within the capacity
        // by the check above.
        unsafe { self.vec.set_len(self.vec.len() + pos) }
    }
}

/// Takes what has landed in an empty `block`.
///
/// # Safety
/// The first `count` bytes of the block are initialised.
unsafe fn landed(block: &mut Vec<u8>, count: usize) -> Vec<u8> {
    assert!(count <= block.capacity(), "the kernel reported more bytes than the block has room for");
    // SAFETY: they are initialised by the caller's promise, and lie within the capacity by the check above.
    unsafe { block.set_len(count) };
    match count {
        0 => Vec::new(),
        1..=LANDED_COPY_BYTES_MAX => {
            let mut fits = pool::take(count);
            fits.extend_from_slice(block);
            block.clear();
            fits
        }
        _ => std::mem::take(block),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_and_consumes_in_order() {
        let mut buf = Buf::new();
        assert_eq!(buf.capacity(), 0);
        buf.extend(b"hello ");
        buf.extend(b"world");
        buf.consume(6);
        assert_eq!(buf.bytes(), b"world");
        buf.vec_mut().extend_from_slice(b"!");
        assert_eq!(buf.bytes(), b"world!");
        buf.consume(6);
        assert!(buf.is_empty());
        buf.release_if_empty();
        assert_eq!(buf.capacity(), 0);
    }

    #[test]
    fn growing_keeps_the_unread_part_and_the_mark() {
        let mut buf = Buf::lease(1024);
        buf.secret();
        buf.extend(&[7; 1000]);
        buf.consume(900);
        buf.extend(&[8; 5000]);
        assert_eq!(&buf.bytes()[..100], &[7; 100]);
        assert_eq!(&buf.bytes()[100..], &[8; 5000][..]);
        assert!(buf.secret);
    }

    #[test]
    fn room_in_front_is_reused_before_growing() {
        let mut buf = Buf::lease(1024);
        let capacity = buf.capacity();
        buf.extend(&vec![1; capacity]);
        buf.consume(capacity - 10);
        buf.extend(&vec![2; capacity - 10]);
        assert_eq!(buf.capacity(), capacity);
        assert_eq!(&buf.bytes()[..11], &[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2]);
    }

    #[test]
    fn secret_memory_is_wiped_before_it_is_lent_again() {
        // Rule V12. The pool hands the last block back first, so the next lease sees the same memory.
        let mut buf = Buf::lease(1024);
        buf.secret();
        buf.extend(b"sk-very-secret");
        let block = buf.bytes().as_ptr();
        drop(buf);
        let mut again = Buf::lease(1024);
        assert_eq!(again.write_ptr().cast_const(), block);
        // SAFETY: these bytes were written and then wiped with zeroes, which is what this test looks at.
        unsafe { again.set_init(14) };
        assert_eq!(again.bytes(), &[0; 14]);
    }

    #[test]
    fn what_a_secret_buffer_forgets_is_wiped_at_once() {
        let remains = |forget: fn(&mut Buf)| {
            let mut buf = Buf::lease(1024);
            buf.secret();
            buf.extend(&[7; 64]);
            forget(&mut buf);
            let kept = buf.vec.len();
            // SAFETY: 64 bytes of the block were written above.
            unsafe { buf.vec.set_len(64) };
            buf.vec[kept..].to_vec()
        };
        let compacted = |buf: &mut Buf| {
            buf.consume(40);
            buf.vec_mut();
        };
        assert_eq!(remains(|buf| buf.consume(64)), [0; 64]);
        assert_eq!(remains(Buf::clear), [0; 64]);
        assert_eq!(remains(|buf| buf.truncate(40)), [0; 24]);
        assert_eq!(remains(compacted), [0; 40]);
    }

    #[test]
    fn what_lands_gets_memory_that_fits() {
        let read = |count: usize| {
            let mut buf = Buf { vec: Vec::new(), start: 0, secret: false, lands: true };
            assert_eq!((buf.capacity(), buf.bytes_total()), (0, READ_BUFFER_BYTES));
            // SAFETY: the bytes are written to the block, which has that room, before they are declared initialised.
            unsafe {
                buf.write_ptr().write_bytes(7, count);
                buf.set_init(count);
            }
            assert_eq!(buf.bytes(), vec![7; count]);
            buf.capacity()
        };
        let capacities = [0, 1, 1024, 1025, 4096, 4097, READ_BUFFER_BYTES, 9].map(read);
        assert_eq!(capacities, [0, 1024, 1024, 4096, 4096, READ_BUFFER_BYTES, READ_BUFFER_BYTES, 1024]);
    }

    #[test]
    fn set_init_appends_what_the_kernel_wrote() {
        let mut buf = Buf::lease(1024);
        buf.extend(b"ab");
        // SAFETY: one byte is written to the spare room before it is declared initialised.
        unsafe {
            buf.write_ptr().write(b'c');
            buf.set_init(1);
        }
        assert_eq!(buf.bytes(), b"abc");
    }
}
