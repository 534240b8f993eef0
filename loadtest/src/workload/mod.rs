//! What is sent and when: a plan as typed, as saved with every result, and as the engine takes it, arrival by arrival.
//!
//! A plan is the whole truth of a run: the same plan and seed send the same requests at the same planned instants. It reads
//! and writes as TOML (a scenario file) and as JSON (inside a report, where no key is ever written).

mod arrivals;
mod conversations;
mod draw;
mod mix;
mod page;
mod plan;
mod scenario;
mod schedule;
mod source;
mod span;
mod spread;
mod trace;
mod validate;

pub use arrivals::Arrivals;
pub use plan::{DEFAULT_KEY, Endpoint, KEY_VARIABLE, Plan, Secret, Share, Tenant};
pub use source::{Arrival, Source};
pub use span::Span;
pub use spread::{Lengths, Waits};

use crate::dialect::Dialect;
use std::sync::Arc;

/// One question, whatever the dialect: a pure function of the plan, its seed and the arrival's number.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// Number of the request in its run, from 0.
    pub index: u64,
    /// Which of [`Plan::endpoints`] it goes to.
    pub endpoint: usize,
    /// Which of [`Plan::tenants`] asks.
    pub tenant: usize,
    /// Which of [`Plan::traffic`] it belongs to.
    pub share: usize,
    /// The wire format.
    pub dialect: Dialect,
    /// The model to ask for.
    pub model: Arc<str>,
    /// Whether to ask for a stream.
    pub stream: bool,
    /// Whether an OpenAI stream shall end with its usage.
    pub include_usage: bool,
    /// What stands above the conversation.
    pub system: Option<Arc<str>>,
    /// The conversation, oldest first; the last is what is asked.
    pub turns: Vec<Turn>,
    /// Tokens the answer may have; sent as the dialect's limit.
    pub output_tokens: Option<u32>,
    /// Tools that are offered, so many; 0 for none.
    pub tools: u32,
    /// The session it belongs to and its turn in it, from 0; where a share has sessions.
    pub session: Option<(u64, u32)>,
}

/// What stands in a conversation for an answer that had no words, such as one that only called tools.
pub const WORDLESS: &str = "(no words)";

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// The words.
    pub text: Arc<str>,
}

/// Who speaks in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The client's person.
    User,
    /// The model, earlier.
    Assistant,
}
