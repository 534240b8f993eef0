//! The OpenAI Responses format, for clients (Codex, the AI SDK's default, LangChain with reasoning) and for providers.
//!
//! A conversation is a list of items: messages, reasoning, calls, results. Nothing is stored here, so whatever points to something stored is
//! refused. A maker's sealed thinking travels in reasoning items, OpenAI's own as it is and others marked as ours; a seal on a call itself
//! travels in its `call_id`.

mod fields;
mod names;
mod object;
mod read_items;
mod read_parts;
mod read_request;
mod read_tools;
mod seal;
mod write_items;
mod write_response;
mod write_stream;

use crate::dialects::ClientSide;

/// The format towards clients.
pub static CLIENT: ClientSide = ClientSide {
    read_request: read_request::read_request,
    write_response: write_response::write_response,
    write_error: write_response::write_error,
    stream_writer: |setting| Box::new(write_stream::Writer::new(setting, None)),
};

#[cfg(test)]
mod dump;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod write_tests;
