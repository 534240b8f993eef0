//! The store's files: a directory and a database only their owner can read, and the lock that keeps a second writer out.
//!
//! The lock is a file beside the database, held by `flock(2)`: the kernel releases it however the process ends (rule S5).

use super::error::StoreError;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The held lock; dropping it lets the next one in.
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// The same open file under another descriptor, as a forked child has it.
    #[cfg(test)]
    pub(super) fn duplicate_for_test(&self) -> File {
        self.file.try_clone().expect("a descriptor")
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough while a forked child still has the descriptor. If this fails, closing is what is left.
        let _ = self.file.unlock();
    }
}

/// Makes directory and file when missing, takes the lock, and leaves the database readable by its owner only.
pub(super) fn prepare(path: &Path) -> Result<Lock, StoreError> {
    let directory = directory_of(path);
    let at = |place: &Path| {
        let path = place.to_owned();
        move |cause: io::Error| StoreError::File { path, cause }
    };
    if !directory.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(at(directory))?;
    }
    let lock = lock(path)?;
    // SQLite gives its log and index files the mode of the database, so making this one private makes all three private.
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).map_err(at(path))?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(at(path))?;
    for suffix in ["-wal", "-shm"] {
        let beside = beside(path, suffix);
        if beside.exists() {
            fs::set_permissions(&beside, Permissions::from_mode(0o600)).map_err(at(&beside))?;
        }
    }
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(at(directory))?;
    Ok(lock)
}

/// The directory that a file lies in.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn lock(path: &Path) -> Result<Lock, StoreError> {
    let lock_path = beside(path, ".lock");
    let failed = |cause| StoreError::File { path: lock_path.clone(), cause };
    let mut options = OpenOptions::new();
    let file = options.read(true).append(true).create(true).mode(0o600).open(&lock_path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { file }),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(cause)) => Err(failed(cause)),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
