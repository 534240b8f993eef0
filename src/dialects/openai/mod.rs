//! OpenAI Chat Completions, towards clients and towards the many providers that took the format over.
//!
//! What a client may send is read whole, with the extensions that SDKs share; what each vendor takes differently is data in [`ways`], and
//! how vendors answer differently is evened out in one reader. Where both sides speak this format bytes pass, and [`clean`] makes the few
//! edits inside messages that a vendor needs.

mod member;
mod read_message;
mod read_part;
mod read_request;
mod read_tool;
mod reasoning;
mod write_response;
mod write_stream;

use super::ClientSide;

/// The format as clients speak it.
pub static CLIENT: ClientSide = ClientSide {
    read_request: read_request::read,
    write_response: write_response::write,
    write_error: write_response::error,
    stream_writer: write_stream::writer,
};

#[cfg(test)]
mod client_tests;
