//! Gemini `generateContent`, spoken by Google's models and by clients of Google's SDKs: both sides.
//!
//! The model and the operation stand in the address, so they are neither read nor written here. Providers' answers are read by one shape for
//! whole bodies and stream events, and clients' requests are read in camelCase, snake_case and any mixture, as Google does. Sealed thinking
//! travels in `thoughtSignature`, other makers' in an envelope of ours (`seal`). Source: providers' pages and SDKs, 2026-11-23.

mod answer;
mod finish;
mod generation;
mod media;
mod parts;
mod read_response;
mod read_stream;
mod seal;
mod usage;
mod write_config;
mod write_contents;
mod write_request;

use super::ProviderSide;
use super::sse::EventReader;
use crate::chat::fault::{FaultBook, FaultClass};

/// Towards Gemini models.
pub static PROVIDER: ProviderSide = ProviderSide {
    write_request: write_request::write,
    read_response: read_response::read,
    stream_reader: || Box::new(EventReader::new(read_stream::Decoder::default())),
};

/// How Google words its failures where it differs from the rest: a bad key and a foreign country are 400s, told by a sentence.
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
    ],
    ..FaultBook::PLAIN
};

#[cfg(test)]
mod golden_tests;
