//! What can go wrong in the vault, whose fault it is, and whether trying again helps.
//!
//! No variant can carry key material: places, versions and kernel codes only (rule R1).

use std::io;
use std::path::PathBuf;

/// Who has to act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The caller of the API asked for something that cannot be.
    Client,
    /// Igris itself.
    Gateway,
    /// Whoever runs Igris: files, permissions, limits, backups.
    Operator,
}

/// Whether the same call may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Not without a change.
    Never,
    /// After a while, as it is.
    Later,
}

/// Why the vault would not seal or open.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Too short, too long, or not starting as a record does.
    #[error("the sealed record is damaged; restore the store from a backup")]
    Malformed,
    /// A version or cipher suite of another build (rule V5).
    #[error(
        "the sealed record has version {version} and suite {suite}, which this build does not know; run the igris that wrote it"
    )]
    UnknownFormat {
        /// Version byte found.
        version: u8,
        /// Suite byte found.
        suite: u8,
    },
    /// The record is whole but belongs to another tenant, provider, id, generation or master key (rule V4).
    #[error("the sealed record was made for another place; restore the store from a backup")]
    Misplaced,
    /// The commitment does not fit the key (rule V3).
    #[error("the key does not fit the sealed record; check that store and root key belong together")]
    WrongKey,
    /// The authentication tag refuses.
    #[error("the sealed record was altered; restore the store from a backup")]
    Forged,
    /// The root key at hand is not the one the store was made with. Nothing was changed.
    #[error("this root key did not seal this store; give the root key that was used when the store was made")]
    WrongRootKey,
    /// The store holds sealed keys and their root key is gone. Nothing was changed.
    #[error(
        "the store is sealed but {source_name} holds no root key; restore it from a backup, or start with an empty data directory"
    )]
    RootKeyMissing {
        /// The file, variable or descriptor that was asked.
        source_name: String,
    },
    /// The root key's text is not 64 hexadecimal digits.
    #[error("{source_name} must hold 64 hexadecimal digits and nothing else")]
    RootKeyText {
        /// The file, variable or descriptor that was asked.
        source_name: String,
    },
    /// Others than the owner can read the root key.
    #[error("others can read the root key {} (mode {mode:04o}); run: chmod 0400 {}", .path.display(), .path.display())]
    RootKeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The root key could not be read or written.
    #[error("cannot use the root key from {source_name}: {cause}; check that it exists and that igris may read it")]
    RootKeyIo {
        /// The file, variable or descriptor that was asked.
        source_name: String,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// A record names a master key version that is gone or was never there.
    #[error("master key version {version} is not in the store; restore the store from a backup")]
    UnknownMasterKey {
        /// The version wanted.
        version: u32,
    },
    /// A pepper version is not there, or there is none at all.
    #[error("pepper version {version} is not in the store; restore the store from a backup")]
    UnknownPepper {
        /// The version wanted.
        version: u32,
    },
    /// The key of the audit log is gone although the root key vouches for it, or the hierarchy was not opened.
    #[error("the key of the audit log is not in the store; restore the store from a backup")]
    AuditKeyMissing,
    /// A key file that is to become the root key holds the one that is in use.
    #[error("{source_name} holds the root key that is in use; name another file for the new one")]
    SameRootKey {
        /// The file.
        source_name: String,
    },
    /// A data key has sealed as often as it may (rule V2).
    #[error("this tenant's data key has sealed 2^32 records; rotate the data key")]
    SealsSpent,
    /// No further version number exists.
    #[error("the master key's version number is at its end")]
    VersionsSpent,
    /// A plaintext or a field of the place is larger than a length prefix can say.
    #[error("the value is too long to be sealed")]
    TooLong,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes; try again")]
    NoEntropy,
    /// No memory that stays out of swap and dumps.
    #[error("cannot lock memory for keys: {0}; raise the locked-memory limit (ulimit -l, LimitMEMLOCK=)")]
    LockedMemory(io::Error),
    /// The process could be dumped (rule V12).
    #[error("cannot switch off memory dumps: {0}; allow prctl and setrlimit, or start with --insecure-dumps")]
    Dumpable(io::Error),
}

impl VaultError {
    /// Who has to act.
    pub fn whose(&self) -> Whose {
        match self {
            Self::TooLong => Whose::Client,
            Self::NoEntropy | Self::SealsSpent | Self::VersionsSpent => Whose::Gateway,
            _ => Whose::Operator,
        }
    }

    /// Whether the same call may succeed later.
    pub fn again(&self) -> Again {
        match self {
            Self::NoEntropy | Self::LockedMemory(_) => Again::Later,
            _ => Again::Never,
        }
    }
}
