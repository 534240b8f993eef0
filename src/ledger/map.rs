//! A segment's file in memory: storing a record is a copy, no system call, and what was stored survives SIGKILL, since the pages belong to
//! the file and not to the process.
//!
//! This file holds `unsafe` because memory that other processes may read while we write is no `&mut [u8]`: it is reached by raw pointers
//! inside of bounds that are checked. Its safe twin is [`Written`](super::disk::Written); what it gains is in decision 012.
#![allow(unsafe_code)] // pointers into the mapping, and one call that std does not offer; the argument stands at each block.

use super::disk::Paper;
use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// A preallocated file, mapped.
pub(super) struct Map {
    file: File,
    map: MmapRaw,
}

impl Map {
    /// Maps a file whose `bytes` bytes have their blocks, so that storing there never lacks space.
    ///
    /// # Errors
    /// The filesystem cannot map files.
    pub(super) fn over(file: &File, bytes: usize) -> io::Result<Self> {
        let map = MmapOptions::new().len(bytes).map_raw(file)?;
        Ok(Self { file: file.try_clone()?, map })
    }

    fn check(&self, at: usize, bytes: usize) {
        let end = at.checked_add(bytes).expect("an offset in a segment");
        assert!(end <= self.map.len(), "a store stays inside of its segment");
    }

    /// The word at a place that is a multiple of eight.
    fn word(&self, at: usize) -> &AtomicU64 {
        self.check(at, 8);
        assert!(at.is_multiple_of(8), "a word lies on its border");
        // SAFETY: the word is inside of the mapping (checked above), which lives as long as `self`; the mapping begins on a page, so a
        // multiple of eight is aligned for an AtomicU64; a word that is published is never reached by other than atomic access from this
        // process while it may change.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(at).cast::<u64>()) }
    }
}

impl Paper for Map {
    fn bytes(&self) -> usize {
        self.map.len()
    }

    fn store(&self, at: usize, bytes: &[u8]) {
        self.check(at, bytes.len());
        // SAFETY: the target is inside of the mapping (checked above) and cannot overlap with `bytes`, to which nobody has a reference
        // in the mapping: none is ever made of it. One thread stores into a segment at a time, and in this process no other one loads a
        // place before its word was published (contract of `Paper`).
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.map.as_mut_ptr().add(at), bytes.len()) }
    }

    fn publish(&self, at: usize, word: u64) {
        self.word(at).store(word.to_le(), Ordering::Release);
    }

    fn sync(&self) -> io::Result<()> {
        // Writes back what was stored through the mapping, too: both are the same pages.
        self.file.sync_data()
    }
}

/// Gives a file its blocks, so that no later store can lack them. `false` if the filesystem does not do that.
pub(super) fn allocate(file: &File, bytes: u64) -> io::Result<bool> {
    let bytes = libc::off_t::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the descriptor is open for as long as `file` is borrowed; the call touches no memory of ours.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes) } {
        0 => Ok(true),
        libc::EOPNOTSUPP | libc::EINVAL => Ok(false),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}
