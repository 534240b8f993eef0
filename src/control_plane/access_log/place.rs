//! Where lines of the access log go: standard output, standard error, or a file of our own with mode 0600.

use crate::config::LogPlace;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// An open place.
pub(super) enum Writer {
    Stdout,
    Stderr,
    File { path: PathBuf, file: File },
}

impl Writer {
    /// Opens it; a file that exists is appended to.
    ///
    /// # Errors
    /// A sentence with a remedy.
    pub(super) fn open(place: &LogPlace) -> Result<Self, String> {
        Ok(match place {
            LogPlace::Stdout => Self::Stdout,
            LogPlace::Stderr => Self::Stderr,
            LogPlace::File(path) => {
                let file = appended(path).map_err(|error| {
                    format!("the access log {} cannot be opened ({error}); check path and permissions", path.display())
                })?;
                Self::File { path: path.clone(), file }
            }
        })
    }

    /// Opens the file at its path again; where that fails the old one goes on.
    pub(super) fn reopen(&mut self) {
        if let Self::File { path, file } = self
            && let Ok(fresh) = appended(path)
        {
            *file = fresh;
        }
    }

    /// Writes whole lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(lines),
            Self::File { file, .. } => file.write_all(lines),
        }
    }
}

fn appended(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}
