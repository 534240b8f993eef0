//! The OpenAI Responses format, for clients (Codex, the AI SDK's default, LangChain with reasoning) and for providers.
//!
//! A conversation is a list of items: messages, reasoning, calls, results. Nothing is stored here, so whatever points
//! to something stored is refused. A maker's sealed thinking travels in reasoning items, OpenAI's own as it is and
//! others marked as ours; a seal on a call itself travels in its `call_id`.

mod fields;
mod names;
mod object;
mod read_items;
mod read_parts;
mod read_request;
mod read_response;
mod read_stream;
mod read_tools;
mod read_usage;
mod seal;
pub mod tap;
mod write_input;
mod write_items;
mod write_request;
mod write_response;
mod write_stream;

use crate::dialects::sse::EventReader;
use crate::dialects::{ClientSide, ProviderSide};

/// The format towards clients.
pub static CLIENT: ClientSide = ClientSide {
    read_request: read_request::read_request,
    write_response: write_response::write_response,
    write_error: write_response::write_error,
    stream_writer: |setting| Box::new(write_stream::Writer::new(setting, None)),
};

/// The format towards providers.
pub static PROVIDER: ProviderSide = ProviderSide {
    write_request: write_request::write_request,
    read_response: read_response::read_response,
    stream_reader: || Box::new(EventReader::new(read_stream::Decoder::default())),
};

#[cfg(test)]
mod dump;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod order_tests;
#[cfg(test)]
mod provider_tests;
#[cfg(test)]
mod write_tests;
