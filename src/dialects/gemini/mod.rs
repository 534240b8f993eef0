//! Gemini `generateContent`, spoken by Google's models and by clients of Google's SDKs: both sides.
//!
//! The model and the operation stand in the address, so they are neither read nor written here. Providers' answers are
//! read by one shape for whole bodies and stream events, and clients' requests are read in camelCase, snake_case and
//! any mixture, as Google does. Sealed thinking travels in `thoughtSignature`, other makers' in an envelope of ours
//! (`seal`). Source: providers' pages and SDKs, 2026-11-23.

mod answer;
pub mod embeddings;
mod finish;
mod generation;
mod history;
mod media;
mod members;
mod parts;
mod read_config;
mod read_contents;
mod read_request;
mod read_response;
mod read_stream;
mod read_tools;
mod seal;
pub mod tap;
mod usage;
mod write_config;
mod write_contents;
mod write_request;
mod write_response;
mod write_stream;

use super::sse::EventReader;
use super::{ClientSide, ProviderSide, Setting, StreamWriter};
use crate::chat::fault::{FaultBook, FaultClass};
pub use history::has_unsealed_calls;
use write_stream::{Frame, Writer};

/// Towards Gemini models.
pub static PROVIDER: ProviderSide = ProviderSide {
    write_request: write_request::write,
    read_response: read_response::read,
    stream_reader: || Box::new(EventReader::new(read_stream::Decoder::default())),
};

/// Towards clients of Google's SDKs. The stream is one of server-sent events (`alt=sse`).
pub static CLIENT: ClientSide = ClientSide {
    read_request: read_request::read,
    write_response: write_response::write,
    write_error: write_response::error,
    stream_writer: |setting| Box::new(Writer::new(setting, Frame::Events)),
};

/// A stream writer for `:streamGenerateContent` without `alt=sse`: the answers as elements of one JSON array
/// (`application/json`).
pub fn array_stream_writer(setting: &Setting<'_>) -> Box<dyn StreamWriter> {
    Box::new(Writer::new(setting, Frame::Array { begun: false }))
}

/// How Google words its failures where it differs from the rest: a bad key and a foreign country are 400s, told by a
/// sentence.
pub const FAULTS: FaultBook = FaultBook {
    messages: &[
        ("api key expired", FaultClass::BadKey),
        ("enable billing", FaultClass::NoCredit),
        ("location is not supported", FaultClass::NoPermission),
        ("spend limit", FaultClass::RateLimit),
    ],
    codes: &[
        ("SERVICE_DISABLED", FaultClass::NoPermission),
        ("API_KEY_SERVICE_BLOCKED", FaultClass::NoPermission),
        ("API_KEY_HTTP_REFERRER_BLOCKED", FaultClass::NoPermission),
        ("API_KEY_IP_ADDRESS_BLOCKED", FaultClass::NoPermission),
        ("BILLING_DISABLED", FaultClass::NoCredit),
        // The free tier's day is over: waiting seconds does not help.
        ("quota_per_day", FaultClass::NoCredit),
    ],
    ..FaultBook::PLAIN
};

#[cfg(test)]
mod golden_tests;
