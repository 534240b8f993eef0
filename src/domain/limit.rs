//! The sorts of limits that an access key or a tenant may have, as figures and messages name them.

/// What a request would have too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// Requests in a minute.
    Requests,
    /// Tokens in a minute.
    Tokens,
    /// Requests at a time.
    Concurrent,
    /// Money in a period.
    Budget,
}

impl LimitKind {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 4] = [Self::Requests, Self::Tokens, Self::Concurrent, Self::Budget];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Concurrent => "concurrent",
            Self::Budget => "budget",
        }
    }

    /// What it counts, for people, after a number.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Requests => "requests per minute",
            Self::Tokens => "tokens per minute",
            Self::Concurrent => "requests at a time",
            Self::Budget => "dollars",
        }
    }

    /// Its place in [`LimitKind::ALL`].
    pub const fn place(self) -> usize {
        self as usize
    }
}
