//! Cohere's second API: chat with a plan before its tool calls, embeddings, and what a rerank costs.
//!
//! Providers only. Cohere's plan (`tool_plan`) is text in the inner language, so that it survives clients that know nothing of plans and goes
//! back as a plan. Its rerank shape is the gateway's own and needs no translation. Source: the types of the official client, cohere 7.3.1
//! for Python, and docs.cohere.com, read 2026-11-26.

pub mod embeddings;
mod options;
mod read_response;
mod read_stream;
pub mod rerank;
mod write_request;

use super::ProviderSide;
use super::sse::EventReader;

/// The side towards providers.
pub static PROVIDER: ProviderSide = ProviderSide {
    write_request: write_request::write_request,
    read_response: read_response::read_response,
    stream_reader: || Box::new(EventReader::new(read_stream::Decoder::default())),
};

#[cfg(test)]
mod golden_tests;
