//! The one seam to the disk (and to what else comes from the kernel): everything that the ledger makes, syncs, cuts, removes and locks goes
//! through [`Disk`], so that a test can make each step fail ([`FaultyDisk`](super::FaultyDisk)).
//!
//! Directories are 0700 and files 0600, every descriptor is closed on exec, and a directory is synced after a name in it came, changed or
//! went (rule L10).

use super::map::{self, Map};
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a segment is written on: a file of a fixed size whose blocks are there.
///
/// One thread stores at a time. What was stored survives SIGKILL; whoever reads the file sees a record's word only after its bytes.
pub trait Paper: Send + Sync {
    /// Its size.
    fn bytes(&self) -> usize;
    /// Stores bytes that nobody looks at yet.
    fn store(&self, at: usize, bytes: &[u8]);
    /// Stores eight bytes at once, on a multiple of eight, after everything that was stored before.
    fn publish(&self, at: usize, word: u64);
    /// Makes what was stored survive power loss.
    ///
    /// # Errors
    /// The disk did not take it. Whether it ever will is not known: never ask the same file again and believe it (rule L8).
    fn sync(&self) -> io::Result<()>;
}

/// Everything else that the ledger wants of the kernel.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Makes a directory and those above it, where they are not there.
    ///
    /// # Errors
    /// The kernel's.
    fn make_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes an empty segment: all zero, with its blocks.
    ///
    /// # Errors
    /// The kernel's; nothing is left behind.
    fn make(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn Paper>>;
    /// Makes a file that only takes up space.
    ///
    /// # Errors
    /// The kernel's; nothing is left behind.
    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()>;
    /// Puts a whole file in its place, synced, at once or not at all.
    ///
    /// # Errors
    /// The kernel's; what was there before is as it was.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()>;
    /// Cuts a file to its first bytes, which are synced before the cut and the cut after, so that a shorter file is a durable one.
    ///
    /// # Errors
    /// The disk did not take it.
    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()>;
    /// Gives a file another name.
    ///
    /// # Errors
    /// The kernel's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file, or a directory with nothing in it.
    ///
    /// # Errors
    /// The kernel's; that it is not there is none.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, in order; none if it is not there.
    ///
    /// # Errors
    /// The kernel's.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// The bytes of a file from an offset on, at most `max`.
    ///
    /// # Errors
    /// The kernel's.
    fn read(&self, path: &Path, at: u64, max: usize) -> io::Result<Vec<u8>>;
    /// Locks a file, which it makes, for as long as what it answers lives. While another process has it, it waits, or answers `None`.
    ///
    /// # Errors
    /// The kernel's.
    fn lock(&self, path: &Path, wait: bool) -> io::Result<Option<File>>;
    /// What the kernel calls this run of the machine; zero where it does not say.
    fn boot(&self) -> [u8; 16];
    /// A number that no other process was given.
    fn unique(&self) -> u32;
}

/// The machine's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

impl OsDisk {
    /// Reads the bytes of a file from an offset on, at most `max`, over what `bytes` held before; answers how many there are. For who reads on and
    /// on: memory is taken once.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn read_into(&self, path: &Path, at: u64, max: usize, bytes: &mut Vec<u8>) -> io::Result<usize> {
        if bytes.len() < max {
            bytes.resize(max, 0);
        }
        read_full(&File::open(path)?, at, bytes.get_mut(..max).unwrap_or_default())
    }
}

/// Fills `bytes` from an offset of a file on, as far as the file goes.
fn read_full(file: &File, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

impl Disk for OsDisk {
    fn make_directory(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        sync_parent(path)
    }

    fn make(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn Paper>> {
        let size = usize::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let file = preallocated(path, bytes)?;
        let paper: Arc<dyn Paper> = match Map::over(&file, size) {
            Ok(map) => Arc::new(map),
            Err(_) => Arc::new(Written::over(file, size)),
        };
        Ok(paper)
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        preallocated(path, bytes).map(drop)
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let fresh = path.with_extension("new");
        let write = || {
            let mut file = private().create(true).truncate(true).write(true).open(&fresh)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&fresh, path)
        };
        write().inspect_err(|_| drop(fs::remove_file(&fresh)))?;
        sync_parent(path)
    }

    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.sync_data()?;
        file.set_len(bytes)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        sync_parent(to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync_parent(path),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn read(&self, path: &Path, at: u64, max: usize) -> io::Result<Vec<u8>> {
        let file = File::open(path)?;
        let left = file.metadata()?.len().saturating_sub(at);
        let mut bytes = vec![0; usize::try_from(left).unwrap_or(max).min(max)];
        let filled = read_full(&file, at, &mut bytes)?;
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn lock(&self, path: &Path, wait: bool) -> io::Result<Option<File>> {
        let file = private().create(true).truncate(false).write(true).open(path)?;
        if wait {
            return file.lock().map(|()| Some(file));
        }
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn boot(&self) -> [u8; 16] {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        u128::from_str_radix(&digits, 16).unwrap_or_default().to_be_bytes()
    }

    fn unique(&self) -> u32 {
        let text = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
        text.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or_else(std::process::id)
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// A new file of zeros that has its blocks, in a directory that says so.
fn preallocated(path: &Path, bytes: u64) -> io::Result<File> {
    let make = || {
        let file = private().create(true).truncate(true).read(true).write(true).open(path)?;
        if !map::allocate(&file, bytes)? {
            fill(&file, bytes)?;
        }
        // Its size and blocks are a matter of the filesystem's own journal; without this, power loss could leave an empty name.
        file.sync_all()?;
        sync_parent(path)?;
        Ok(file)
    };
    make().inspect_err(|_| drop(fs::remove_file(path)))
}

/// Blocks by writing them, where the filesystem knows no other way.
fn fill(mut file: &File, bytes: u64) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut file).map(drop)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Paper without a mapping, for filesystems that have none: a system call for each record.
pub(super) struct Written {
    file: File,
    bytes: usize,
    /// A store that was refused shows at the next sync.
    failed: AtomicBool,
}

impl Written {
    pub(super) fn over(file: File, bytes: usize) -> Self {
        Self { file, bytes, failed: AtomicBool::new(false) }
    }
}

impl Paper for Written {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn store(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.bytes, "a store stays inside of its segment");
        if self.file.write_all_at(bytes, at as u64).is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
    }

    fn publish(&self, at: usize, word: u64) {
        self.store(at, &word.to_le_bytes());
    }

    fn sync(&self) -> io::Result<()> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(io::Error::other("a record could not be written"));
        }
        self.file.sync_data()
    }
}
