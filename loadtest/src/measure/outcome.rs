//! How a request ended: exactly one of these.

use serde::{Deserialize, Serialize};

/// The one outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// 200, whole, and as expected where that was checked.
    Ok,
    /// Whole, but not the bytes that were expected.
    Mismatch,
    /// 429.
    RateLimited,
    /// Another 4xx.
    Refused,
    /// 5xx.
    ServerError,
    /// Another status that is not 200.
    OtherStatus,
    /// No connection, or no TLS on it.
    ConnectFailed,
    /// Closed or reset before the answer began.
    Closed,
    /// Cut off inside the answer, or a stream without its terminator.
    Truncated,
    /// Not HTTP, or not its dialect.
    Malformed,
    /// An error inside a stream.
    StreamError,
    /// Not whole in time.
    Timeout,
    /// In flight or still waiting when the run was stopped.
    Abandoned,
}

impl Outcome {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 13] = [
        Self::Ok,
        Self::Mismatch,
        Self::RateLimited,
        Self::Refused,
        Self::ServerError,
        Self::OtherStatus,
        Self::ConnectFailed,
        Self::Closed,
        Self::Truncated,
        Self::Malformed,
        Self::StreamError,
        Self::Timeout,
        Self::Abandoned,
    ];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Mismatch => "mismatch",
            Self::RateLimited => "rate_limited",
            Self::Refused => "refused",
            Self::ServerError => "server_error",
            Self::OtherStatus => "other_status",
            Self::ConnectFailed => "connect_failed",
            Self::Closed => "closed",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::StreamError => "stream_error",
            Self::Timeout => "timeout",
            Self::Abandoned => "abandoned",
        }
    }

    /// The outcome that a status means.
    pub fn of_status(status: u16) -> Self {
        match status {
            200 => Self::Ok,
            429 => Self::RateLimited,
            400..500 => Self::Refused,
            500..600 => Self::ServerError,
            _ => Self::OtherStatus,
        }
    }
}
