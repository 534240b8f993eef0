//! A disk for tests: the machine's own, which is full, does not sync, or tears a record, when it is told to.
//!
//! Part of the library so that tests of other crates' files can start a gateway on it; nothing in the gateway makes one.

use super::disk::{Disk, OsDisk, Paper, Written};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A disk with switches. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct FaultyDisk {
    faults: Arc<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    full: AtomicBool,
    /// Space that is left before it is full, in bytes, plus one; 0 for no bound.
    space: AtomicU64,
    failing_syncs: AtomicU64,
    /// Bytes that are still stored, plus one; 0 for no bound.
    tears_after: AtomicU64,
    unmapped: AtomicBool,
    boot: AtomicU64,
    syncs: AtomicU64,
    /// Changes of files that are still made, plus one; 0 for no bound.
    steps: AtomicU64,
}

impl FaultyDisk {
    /// A good one, for now.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is no space for another file from now on.
    pub fn set_full(&self, full: bool) {
        self.faults.full.store(full, Ordering::SeqCst);
    }

    /// So many bytes can be made into files before it is full; what is removed does not count.
    pub fn set_space(&self, bytes: u64) {
        self.faults.space.store(bytes.saturating_add(1), Ordering::SeqCst);
    }

    /// The next `count` syncs fail; `u64::MAX` for all of them, 0 for none any more.
    pub fn fail_syncs(&self, count: u64) {
        self.faults.failing_syncs.store(count, Ordering::SeqCst);
    }

    /// Syncs that were asked for since it was made, failed ones among them.
    pub fn syncs(&self) -> u64 {
        self.faults.syncs.load(Ordering::SeqCst)
    }

    /// After so many bytes of records nothing more is stored, as if the process had been killed there.
    pub fn tear_after(&self, bytes: u64) {
        self.faults.tears_after.store(bytes.saturating_add(1), Ordering::SeqCst);
    }

    /// Whether segments made from now on are written by system calls instead of through memory.
    pub fn set_unmapped(&self, unmapped: bool) {
        self.faults.unmapped.store(unmapped, Ordering::SeqCst);
    }

    /// After so many further changes of files none is made any more, as if the process had been killed there. `u64::MAX` for no bound.
    pub fn stop_after(&self, changes: u64) {
        self.faults.steps.store(changes.wrapping_add(1), Ordering::SeqCst);
    }

    /// Calls the machine's run by another name, as after power loss.
    pub fn reboot(&self) {
        self.faults.boot.fetch_add(1, Ordering::SeqCst);
    }
}

impl Faults {
    fn space_for(&self, bytes: u64) -> io::Result<()> {
        let full = || io::Error::from_raw_os_error(libc::ENOSPC);
        if self.full.load(Ordering::SeqCst) {
            return Err(full());
        }
        match self.space.load(Ordering::SeqCst) {
            0 => Ok(()),
            space if space > bytes => {
                self.space.fetch_sub(bytes, Ordering::SeqCst);
                Ok(())
            }
            _ => Err(full()),
        }
    }

    /// One change of a file.
    fn step(&self) -> io::Result<()> {
        let next = |left: u64| (left > 1).then(|| left - 1);
        match self.steps.load(Ordering::SeqCst) {
            0 => Ok(()),
            _ => match self.steps.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next) {
                Ok(_) => Ok(()),
                Err(_) => Err(io::Error::from_raw_os_error(libc::EIO)),
            },
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        let next = |left: u64| match left {
            0 => None,
            u64::MAX => Some(u64::MAX),
            left => Some(left - 1),
        };
        match self.failing_syncs.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next) {
            Ok(_) => Err(io::Error::from_raw_os_error(libc::EIO)),
            Err(_) => Ok(()),
        }
    }

    /// How many of `bytes` are stored.
    fn stored(&self, bytes: usize) -> usize {
        let left = self.tears_after.load(Ordering::SeqCst);
        if left == 0 {
            return bytes;
        }
        let stored = bytes.min(usize::try_from(left - 1).unwrap_or(usize::MAX));
        self.tears_after.store(left - stored as u64, Ordering::SeqCst);
        stored
    }
}

impl Disk for FaultyDisk {
    fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.faults.step()?;
        self.faults.space_for(0)?;
        OsDisk.make_directory(path)
    }

    fn make(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn Paper>> {
        self.faults.step()?;
        self.faults.space_for(bytes)?;
        let mut paper = OsDisk.make(path, bytes)?;
        if self.faults.unmapped.load(Ordering::SeqCst) {
            let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
            paper = Arc::new(Written::over(file, paper.bytes()));
        }
        Ok(Arc::new(FaultyPaper { paper, faults: self.faults.clone() }))
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.faults.step()?;
        self.faults.space_for(bytes)?;
        OsDisk.reserve(path, bytes)
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.faults.step()?;
        self.faults.space_for(content.len() as u64)?;
        self.faults.sync()?;
        OsDisk.replace(path, content)
    }

    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.faults.step()?;
        self.faults.sync()?;
        OsDisk.truncate(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.step()?;
        OsDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.faults.step()?;
        OsDisk.remove(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        OsDisk.list(path)
    }

    fn read(&self, path: &Path, at: u64, max: usize) -> io::Result<Vec<u8>> {
        OsDisk.read(path, at, max)
    }

    fn lock(&self, path: &Path, wait: bool) -> io::Result<Option<File>> {
        OsDisk.lock(path, wait)
    }

    fn boot(&self) -> [u8; 16] {
        let mut boot = OsDisk.boot();
        boot[15] = boot[15].wrapping_add(self.faults.boot.load(Ordering::SeqCst).to_le_bytes()[0]);
        boot
    }

    fn unique(&self) -> u32 {
        OsDisk.unique()
    }
}

struct FaultyPaper {
    paper: Arc<dyn Paper>,
    faults: Arc<Faults>,
}

impl Paper for FaultyPaper {
    fn bytes(&self) -> usize {
        self.paper.bytes()
    }

    fn store(&self, at: usize, bytes: &[u8]) {
        let stored = self.faults.stored(bytes.len());
        self.paper.store(at, &bytes[..stored]);
    }

    fn publish(&self, at: usize, word: u64) {
        // A word is stored whole or not at all: that is what the kernel's memory does.
        if self.faults.stored(8) == 8 {
            self.paper.publish(at, word);
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.sync()?;
        self.paper.sync()
    }
}
