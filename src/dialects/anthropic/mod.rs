//! Anthropic Messages, both sides: what Claude's API, Vertex and Bedrock take and give, and what Anthropic's SDKs and Claude Code send and want.
//!
//! Promises: an assistant turn goes back with its signed thinking first; every tool call is answered in the message after it, or the request
//! is refused; usage is counted with the caches inside. Refuses what the format has no word for: sound, several answers, log probabilities.
//! What another maker sealed travels to clients of this format as the signature of a thinking block (see `foreign`).
//!
//! Sources: the Messages API reference and the official SDKs' types, read 2026-11-23.

mod foreign;
mod model;
mod outgoing;
mod read_request;
mod read_response;
mod read_stream;
mod read_turns;
mod schema;
pub mod tap;
mod usage;
mod walk;
mod write_blocks;
mod write_request;
mod write_response;
mod write_stream;
mod write_thinking;
mod write_tools;
mod write_turns;

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod request_tests;
#[cfg(test)]
mod tests;

use super::{ClientSide, ProviderSide};

pub use read_request::read_count_tokens;
pub use write_request::{write_for_bedrock_invoke, write_for_vertex};
pub use write_response::write_count_tokens;

/// Messages towards clients.
pub static CLIENT: ClientSide = ClientSide {
    read_request: read_request::read,
    write_response: write_response::write,
    write_error: write_response::write_error,
    stream_writer: write_stream::make,
};

/// Messages towards providers; Vertex and Bedrock have their own request writers, [`write_for_vertex`] and [`write_for_bedrock_invoke`].
pub static PROVIDER: ProviderSide = ProviderSide {
    write_request: write_request::write,
    read_response: read_response::read,
    stream_reader: read_stream::make,
};

/// The tool by which a model without structured output is made to answer in JSON: its input is the answer. The readers know it by this name.
const ANSWER_TOOL: &str = "igris_json_answer";

/// How the name of a function ends that stands for a free-text tool: its input is one text, `input`. The readers know it by this end.
const FREE_TEXT: &str = "__igris_text";
