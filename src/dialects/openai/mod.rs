//! OpenAI Chat Completions, towards clients and towards the many providers that took the format over.
//!
//! What a client may send is read whole, with the extensions that SDKs share; what each vendor takes differently is data in [`ways`], and
//! how vendors answer differently is evened out in one reader. Where both sides speak this format bytes pass, and [`clean`] makes the few
//! edits inside messages that a vendor needs.

mod calls;
pub mod clean;
mod finish;
mod heard;
mod member;
mod read_message;
mod read_part;
mod read_request;
mod read_response;
mod read_stream;
mod read_tool;
mod reasoning;
mod think;
mod usage;
pub mod ways;
mod write_messages;
mod write_parts;
mod write_request;
mod write_response;
mod write_stream;
mod write_thinking;
mod write_tools;

use super::{ClientSide, ProviderSide};

/// The format as clients speak it.
pub static CLIENT: ClientSide = ClientSide {
    read_request: read_request::read,
    write_response: write_response::write,
    write_error: write_response::error,
    stream_writer: write_stream::writer,
};

/// The format as providers speak it.
pub static PROVIDER: ProviderSide = ProviderSide {
    write_request: write_request::write,
    read_response: read_response::read,
    stream_reader: read_stream::reader,
};

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod provider_tests;
