//! Why an operation of the control plane was refused, as its HTTP face needs it: status, stable code, one sentence with a remedy.

use super::access::AccessError;
use super::credentials::CredentialError;
use crate::config::Problems;
use crate::fleet::SumsError;
use crate::store::{ShareError, StoreError};
use crate::vault::{Again, Whose};
use std::io;
use std::path::PathBuf;

/// Why the control plane would not do it.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no such thing for this tenant (rule T1).
    #[error("{0}")]
    NotFound(String),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// It cannot be meant.
    #[error("{0}")]
    Invalid(String),
    /// An access key would give more than it has.
    #[error("{0}")]
    Ungranted(String),
    /// A configuration that cannot be applied; nothing changed (rule C6).
    #[error("{}", .0.join("\n"))]
    Config(Vec<String>),
    /// A file or directory that cannot be used.
    #[error("cannot use {}: {cause}; check that it exists and belongs to the user igris runs as", .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// An embedded table cannot be read, which the tests exclude.
    #[error("this build is damaged ({0}); install it again")]
    BuiltIn(String),
    /// An access key was refused.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A provider key was refused.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The process that runs does not hand over.
    #[error("{0}")]
    Handover(String),
    /// It cannot be answered now.
    #[error("{0}")]
    Busy(String),
    /// The books of all machines cannot be read.
    #[error(transparent)]
    Sums(#[from] SumsError),
    /// The store or the vault refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ControlError {
    /// The HTTP status that says so.
    pub fn status(&self) -> u16 {
        match self {
            Self::NotFound(_) => 404,
            Self::Conflict(_) | Self::Handover(_) => 409,
            Self::Invalid(_) => 400,
            Self::Busy(_) | Self::Sums(_) => 503,
            Self::Config(_) => 422,
            Self::File { .. } | Self::BuiltIn(_) => 500,
            Self::Access(AccessError::Store(error)) | Self::Credential(CredentialError::Store(error)) => {
                of_store(error)
            }
            Self::Access(
                AccessError::Revoked
                | AccessError::OtherTenant
                | AccessError::Configured
                | AccessError::Rotated
                | AccessError::Ended,
            ) => 409,
            Self::Ungranted(_) => 403,
            Self::Access(_) | Self::Credential(_) => 400,
            Self::Store(error) => of_store(error),
        }
    }

    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        if matches!(self, Self::Busy(_) | Self::Sums(SumsError::TooLong)) {
            return "overloaded";
        }
        match self.status() {
            404 => "not_found",
            403 => "insufficient_scope",
            409 => "conflict",
            400 => "invalid_request",
            422 => "invalid_config",
            503 => "store_unavailable",
            _ => "internal_error",
        }
    }

    /// Every problem of a refused configuration, one line each; otherwise the one sentence.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Config(lines) => lines.clone(),
            other => vec![other.to_string()],
        }
    }

    pub(super) fn no_such(what: &str) -> Self {
        Self::NotFound(format!("there is no such {what} for this tenant; list them to see their ids"))
    }
}

impl From<Problems> for ControlError {
    fn from(problems: Problems) -> Self {
        Self::Config(problems.to_string().lines().map(str::to_owned).collect())
    }
}

fn of_store(error: &StoreError) -> u16 {
    match error {
        StoreError::NotFound(_) => 404,
        StoreError::Changed(_) | StoreError::Exists(_) | StoreError::Occupied { .. } => 409,
        StoreError::Share(ShareError::Refused(_)) => 409,
        other if other.whose() == Whose::Client => 400,
        other if other.again() == Again::Later => 503,
        _ => 500,
    }
}
