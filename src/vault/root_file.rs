//! The root key as a file: written whole or not at all, and replaced so that a crash at any instant leaves a key that opens the store.
//!
//! ```text
//!  root.key      .next     .old      the store opens with      at the next start
//!  old           -         -         old                       (nothing to do)
//!  old           new       -         old                       .next is wiped: the attempt did not commit
//!  old           new       -         new                       the replacement is finished
//!  old           new       = old     new                       the same (both names are one file)
//!  new           -         old       new                       .old is wiped
//!  new           -         -         new                       (nothing to do)
//! ```
//!
//! Which key opens the store decides, never a time or a name. Where neither does, nothing is touched. A key that is out of use is
//! overwritten before its last name goes; a copy-on-write file system may keep the blocks all the same.

use super::entropy::Entropy;
use super::error::VaultError;
use super::root_key::{RootKey, RootSource};
use super::seal::KEY_BYTES;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// 64 digits, CR LF, and one to notice more.
pub(super) const TEXT_BYTES_MAX: usize = 2 * KEY_BYTES + 3;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// What [`RootSource::settle`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// No replacement was under way.
    Nothing,
    /// One had committed; the new key now has the file's name.
    Finished,
    /// One had not committed; its key is wiped.
    Undone,
}

impl RootSource {
    /// Ends a replacement of the file that was cut. `opens` says whether a key opens the store.
    ///
    /// # Errors
    /// [`VaultError::RootKeyIo`]; those of `opens`.
    pub fn settle(&self, opens: &mut dyn FnMut(&RootKey) -> Result<bool, VaultError>) -> Result<Settled, VaultError> {
        let Self::File(path) = self else { return Ok(Settled::Nothing) };
        let place = Place::of(path);
        if ![&place.part, &place.next, &place.old].into_iter().any(|path| exists(path)) {
            return Ok(Settled::Nothing);
        }
        // A file that cannot be read as a key opens nothing; whoever opens the store next says what is wrong with it.
        let current = self.load().ok().flatten();
        if current.map_or(Ok(false), |key| opens(&key))? {
            let undone = exists(&place.next) || exists(&place.part);
            place.clear().map_err(|cause| self.io(cause))?;
            return Ok(if undone { Settled::Undone } else { Settled::Finished });
        }
        let next = Self::File(place.next.clone()).load().ok().flatten();
        if next.map_or(Ok(false), |key| opens(&key))? {
            place.finish().map_err(|cause| self.io(cause))?;
            return Ok(Settled::Finished);
        }
        Ok(Settled::Nothing)
    }

    /// Makes the key that is to take the file's place, beside it and durable. Only under the store's lock, after [`RootSource::settle`].
    ///
    /// # Errors
    /// [`VaultError::RootKeyIo`], also for a source that is no file; [`VaultError::NoEntropy`]; [`VaultError::LockedMemory`].
    pub fn prepare(&self, entropy: &mut dyn Entropy) -> Result<RootKey, VaultError> {
        let Self::File(path) = self else { return Err(self.io(io::Error::from(io::ErrorKind::Unsupported))) };
        let key = RootKey::random(entropy)?;
        Place::of(path).write_next(key.bytes()).map_err(|cause| self.io(cause))?;
        Ok(key)
    }

    /// Gives the prepared key the file's name and wipes the one that had it. Only once the store is under the new key.
    ///
    /// # Errors
    /// [`VaultError::RootKeyIo`]; then [`RootSource::settle`] takes it up at the next start.
    pub fn replace(&self) -> Result<(), VaultError> {
        let Self::File(path) = self else { return Ok(()) };
        Place::of(path).finish().map_err(|cause| self.io(cause))
    }
}

/// The names around a root key.
struct Place {
    key: PathBuf,
    /// Being written.
    part: PathBuf,
    /// Whole, not yet in use.
    next: PathBuf,
    /// Out of use, not yet wiped.
    old: PathBuf,
}

impl Place {
    /// Behind a symbolic link: the file itself is replaced, and the link stays.
    fn of(path: &Path) -> Self {
        let key = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let beside = |suffix: &str| {
            let mut name = key.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        Self { part: beside(".next.part"), next: beside(".next"), old: beside(".old"), key }
    }

    fn write_next(&self, key: &[u8; KEY_BYTES]) -> io::Result<()> {
        wipe(&self.part)?;
        step()?;
        write_new(&self.part, key)?;
        step()?;
        fs::rename(&self.part, &self.next)?;
        step()?;
        sync_directory(&self.key)
    }

    fn finish(&self) -> io::Result<()> {
        step()?;
        if exists(&self.key) && !same_file(&self.key, &self.old) {
            wipe(&self.old)?;
            fs::hard_link(&self.key, &self.old)?;
            sync_directory(&self.key)?;
        }
        step()?;
        fs::rename(&self.next, &self.key)?;
        step()?;
        sync_directory(&self.key)?;
        self.clear()
    }

    /// Wipes whatever is not the key.
    fn clear(&self) -> io::Result<()> {
        wipe(&self.part)?;
        wipe(&self.next)?;
        step()?;
        match same_file(&self.key, &self.old) {
            // A second name of the key itself: only the name goes.
            true => fs::remove_file(&self.old)?,
            false => wipe(&self.old)?,
        }
        step()?;
        sync_directory(&self.key)
    }
}

/// Whole or not at all, and never over another: written beside, synced, then linked to its name.
pub(super) fn write_once(path: &Path, key: &[u8; KEY_BYTES]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = write_new(&beside, key).and_then(|()| fs::hard_link(&beside, path));
    let removed = fs::remove_file(&beside);
    written.and(removed)?;
    sync_directory(path)
}

fn write_new(path: &Path, key: &[u8; KEY_BYTES]) -> io::Result<()> {
    let mut text = Zeroizing::new(Vec::with_capacity(TEXT_BYTES_MAX));
    for byte in key {
        text.extend([hex_digit(byte >> 4), hex_digit(byte & 15)]);
    }
    text.push(b'\n');
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    file.write_all(&text)?;
    file.sync_all()
}

/// Overwrites a file, then removes it; one that is not there is wiped already.
fn wipe(path: &Path) -> io::Result<()> {
    if !exists(path) {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    let mut file = OpenOptions::new().write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&vec![b'0'; length.min(WIPED_BYTES_MAX)])?;
    file.sync_all()?;
    step()?;
    fs::remove_file(path)
}

/// A root key is shorter; what is longer is none, and its first bytes are enough.
const WIPED_BYTES_MAX: usize = 64 * 1024;

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn same_file(one: &Path, other: &Path) -> bool {
    let inode = |path: &Path| fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()));
    inode(one).is_some_and(|one| inode(other) == Some(one))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

fn hex_digit(nibble: u8) -> u8 {
    HEX.get(usize::from(nibble)).copied().unwrap_or(b'0')
}

/// A place where the process may be killed. Tests cut here, as many steps in as they like; otherwise it does nothing.
#[cfg(not(test))]
#[inline]
fn step() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
use cut::step;

/// Cuts a replacement at a given step, as a SIGKILL there would.
#[cfg(test)]
pub(crate) mod cut {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        static LEFT: Cell<u32> = const { Cell::new(u32::MAX) };
    }

    /// From now on, on this thread, the step after so many fails, and every later one.
    pub(crate) fn after(steps: u32) {
        LEFT.set(steps);
    }

    /// No more cuts; answers whether the last one was reached.
    pub(crate) fn end() -> bool {
        LEFT.replace(u32::MAX) == 0
    }

    pub(super) fn step() -> io::Result<()> {
        match LEFT.get() {
            u32::MAX => Ok(()),
            0 => Err(io::Error::other("cut by the test")),
            left => {
                LEFT.set(left.saturating_sub(1));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
#[path = "root_file_tests.rs"]
mod tests;
