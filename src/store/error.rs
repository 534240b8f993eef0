//! What can go wrong in the store, whose fault it is, and whether trying again helps.

use super::shared::ShareError;
use crate::vault::{Again, VaultError, Whose};
use std::io;
use std::path::PathBuf;

/// Why the store would not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the lock.
    #[error("another igris uses {}; stop it, or give this one its own --data-dir", .path.display())]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// The tables are of a newer build.
    #[error("{} was written by a newer igris (tables version {found}, this build knows {known}); run the newer one", .path.display())]
    TooNew {
        /// The database file.
        path: PathBuf,
        /// Version in the file.
        found: u32,
        /// Newest version this build knows.
        known: u32,
    },
    /// The tables are of an older build, and this call does not bring them up to date.
    #[error("{} was written by an older igris (tables version {found}, this build has {known}); start this one on it once, or use the older one", .path.display())]
    TooOld {
        /// The database file.
        path: PathBuf,
        /// Version in the file.
        found: u32,
        /// Newest version this build knows.
        known: u32,
    },
    /// A copy would go over a file.
    #[error("{} exists and is not overwritten; name a new file", .path.display())]
    Occupied {
        /// The file.
        path: PathBuf,
    },
    /// A SQLite file, but not one of ours.
    #[error("{} is a database of another program; give igris its own --data-dir", .path.display())]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// The file or its directory could not be used.
    #[error("cannot use {}: {cause}; check that it exists and belongs to the user igris runs as", .path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// A row that is not what was written.
    #[error("the store is damaged ({0}); restore it from a backup")]
    Damaged(String),
    /// Nothing there for this tenant. Also the answer when it belongs to another one (rule T1).
    #[error("there is no such {0} for this tenant; list them to see their ids")]
    NotFound(&'static str),
    /// The row has moved on since it was read.
    #[error("the {0} changed meanwhile; read it again and repeat")]
    Changed(&'static str),
    /// It may exist only once.
    #[error("such a {0} exists already")]
    Exists(&'static str),
    /// The file is one machine's copy of what several share, and was to be used as a store of its own.
    #[error("{} is a copy of an estate in a database; set [store] url to that database, or carry the estate over with `igris admin store copy`", .path.display())]
    Copy {
        /// The database file.
        path: PathBuf,
    },
    /// The file is the copy of another database than the configured one, or has an estate of its own.
    #[error(
        "the store in the data directory is of another estate than the database; give this machine an empty --data-dir, or carry the estate over with `igris admin store migrate`"
    )]
    OtherFleet,
    /// The database that machines share did not take a change.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The vault refused.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// SQLite refused: disk full, I/O error, damaged file.
    #[error("the store refused: {0}; check free space and the disk")]
    Database(#[from] rusqlite::Error),
}

impl StoreError {
    /// Who has to act.
    pub fn whose(&self) -> Whose {
        match self {
            Self::NotFound(_) | Self::Changed(_) | Self::Exists(_) | Self::Occupied { .. } => Whose::Client,
            Self::Vault(error) => error.whose(),
            _ => Whose::Operator,
        }
    }

    /// Whether the same call may succeed later.
    pub fn again(&self) -> Again {
        match self {
            Self::Changed(_) | Self::InUse { .. } | Self::Database(_) => Again::Later,
            Self::Share(error) => match error {
                ShareError::Refused(_) => Again::Never,
                ShareError::Behind | ShareError::Unreachable(_) | ShareError::Unknown(_) => Again::Later,
            },
            Self::Vault(error) => error.again(),
            _ => Again::Never,
        }
    }
}

/// A stored value of the wrong size or outside its range.
pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(what.to_owned())
}

/// SQLite's integers are signed: a count or an instant past 2^63 does not occur.
pub(super) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A stored count or instant, which is never negative.
pub(super) fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
