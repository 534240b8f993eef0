//! AWS Bedrock Converse: one request and answer for every model that Bedrock serves, and a stream of binary frames.
//!
//! Providers only. The model's name stands in the path, so no body says it. Claude, Nova and OpenAI's models take what Converse has no
//! member for in `additionalModelRequestFields`, each by its own names; which of them a name means, `family` says. Nothing is
//! fetched for the client: pictures and documents are in the request, or in S3. Source: the service model of `bedrock-runtime` in botocore
//! 1.44.8 and the Converse pages of the Bedrock user guide, read 2026-11-26.

mod body;
mod family;
pub mod frames;
mod options;
mod read_response;
mod read_stream;
mod schema;
mod tools;
mod turns;
mod write_request;

use super::ProviderSide;

pub use read_stream::ConverseReader;

/// The side towards providers.
pub static PROVIDER: ProviderSide = ProviderSide {
    write_request: write_request::write_request,
    read_response: read_response::read_response,
    stream_reader: || Box::new(ConverseReader::new()),
};

#[cfg(test)]
mod golden_tests;
