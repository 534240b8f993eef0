//! What can be wrong with a journal, and what then.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why the journal cannot be used, or not be believed.
#[derive(Debug, Error)]
pub enum LedgerFault {
    /// The kernel refused something.
    #[error("the ledger at {path} cannot be used: {cause}; check the disk and the owner of the directory")]
    File {
        /// Which file or directory.
        path: PathBuf,
        /// Its word.
        cause: io::Error,
    },
    /// A record in the middle of a segment is not what was written (rule L7).
    #[error(
        "segment {path} is damaged at byte {offset}: {what}; keep a copy, and start with --ledger-degraded to go on without what follows there"
    )]
    Damaged {
        /// Which segment.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// Another process begins or replays a run in the same directory.
    #[error("another process is just starting on {path}; wait until it is up, then start again")]
    Busy {
        /// Which directory.
        path: PathBuf,
    },
}

impl LedgerFault {
    /// A kernel's word on a path.
    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |cause| Self::File { path, cause }
    }
}
