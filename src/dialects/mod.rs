//! The wire formats: how each one says what `chat` means, in both directions.
//!
//! One folder a format, and no format knows another. A format that clients speak reads requests, and writes answers, streams and errors; one
//! that providers speak writes requests, and reads answers and streams. Pure: bytes and values in and out, no sockets, no clock, and nothing
//! off the wire makes it panic. Where both sides speak the same format none of this is used: bytes pass.

pub mod anthropic;
pub mod bedrock;
pub mod cohere;
pub mod gemini;
pub mod openai;
#[cfg(test)]
mod provider_goldens;
pub mod refrain;
pub mod responses;
pub mod sse;

use crate::chat::ability::Abilities;
use crate::chat::delta::Delta;
use crate::chat::request::{Refusal, Request};
use crate::chat::response::{Response, Unreadable};
use crate::chat::shown::Shown;
use crate::domain::token::Usage;

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
    /// OpenAI Chat Completions.
    Chat,
    /// OpenAI Responses.
    Responses,
    /// Anthropic Messages.
    Messages,
    /// Gemini generateContent.
    Gemini,
    /// AWS Bedrock Converse; providers only.
    Converse,
    /// Cohere chat, second version; providers only.
    Cohere,
}

impl Wire {
    /// Its side towards clients; `None` where only providers speak it.
    pub fn client_side(self) -> Option<&'static ClientSide> {
        match self {
            Self::Chat => Some(&openai::CLIENT),
            Self::Responses => Some(&responses::CLIENT),
            Self::Messages => Some(&anthropic::CLIENT),
            Self::Gemini => Some(&gemini::CLIENT),
            Self::Converse | Self::Cohere => None,
        }
    }

    /// Its side towards providers.
    pub fn provider_side(self) -> &'static ProviderSide {
        match self {
            Self::Chat => &openai::PROVIDER,
            Self::Responses => &responses::PROVIDER,
            Self::Messages => &anthropic::PROVIDER,
            Self::Gemini => &gemini::PROVIDER,
            Self::Converse => &bedrock::PROVIDER,
            Self::Cohere => &cohere::PROVIDER,
        }
    }
}

// ---- Towards a provider ---------------------------------------------------------------------------------------------------------

/// For whom a request is written.
#[derive(Clone, Copy, Debug)]
pub struct Aim<'a> {
    /// The model, by the provider's name.
    pub model: &'a str,
    /// What it can do.
    pub abilities: &'a Abilities,
    /// Canonical name of the provider's row (`mistral`, `kimi`, …), or the owner's name: for an OpenAI-shaped vendor's own ways.
    pub provider: &'a str,
}

/// A request as a provider gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The body, JSON.
    pub body: Vec<u8>,
    /// Members of the client's request that were left out on the way, by their inner names (`seed`, `logit_bias`).
    pub dropped: Vec<String>,
}

/// Writes a request for a provider.
///
/// # Errors
/// When the request means something that the format or the model cannot express.
pub type WriteRequest = fn(&Request, &Aim<'_>) -> Result<Written, Refusal>;

/// Reads a provider's whole answer, status 2xx and not an error in disguise.
///
/// # Errors
/// When it is not of the format.
pub type ReadResponse = fn(&[u8]) -> Result<Response, Unreadable>;

/// Where deltas go.
pub type Sink<'s> = &'s mut dyn FnMut(Delta<'_>);

/// Reads a provider's stream: raw body bytes in, deltas out. Any split of the bytes gives the same deltas.
pub trait StreamReader {
    /// Takes what one read brought.
    fn push(&mut self, bytes: &[u8], sink: Sink<'_>);

    /// Whether the format's own end has been seen (`[DONE]`, `message_stop`, a finish reason where nothing else ends it): a body that ends
    /// before that was cut.
    fn is_complete(&self) -> bool;
}

// ---- Towards a client -----------------------------------------------------------------------------------------------------------

/// Reads a client's request.
///
/// # Errors
/// When it is malformed, or means something that the inner language has no word for.
pub type ReadRequest = fn(&[u8]) -> Result<Request, Refusal>;

/// What an answer is written with, beside itself.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// An id of ours for the answer, without prefix: letters and digits. Writers put their format's prefix before it.
    pub id: &'a str,
    /// The model that ran: what `model` says.
    pub model: &'a str,
    /// Seconds since the Unix epoch.
    pub created: u64,
    /// Whether a Chat client asked for the usage event itself.
    pub usage_event: bool,
    /// The client's own request body, for members that its format echoes in answers.
    pub request: &'a [u8],
}

/// Writes a whole answer.
pub type WriteResponse = fn(&Response, &Setting<'_>, &mut Vec<u8>);

/// Writes the body of an error.
pub type WriteError = fn(&Shown<'_>, &mut Vec<u8>);

/// Writes a stream for a client: deltas in, bytes of the body out, whole events only.
pub trait StreamWriter {
    /// Writes one delta. `Usage`, `Ping` and `Error` deltas write nothing here; the caller keeps the first and sees to the last.
    fn write(&mut self, delta: &Delta<'_>, out: &mut Vec<u8>);

    /// Ends a stream that came to its proper end. `metadata` is the inside of the gateway's own `metadata` object, without braces, for the
    /// formats that show it; `None` shows none.
    fn finish(&mut self, usage: Option<&Usage>, metadata: Option<&[u8]>, out: &mut Vec<u8>);

    /// Ends a stream that broke off, in the form this format's clients raise on; never a clean end (rule H17).
    fn fail(&mut self, fault: &Shown<'_>, out: &mut Vec<u8>);
}

/// A format's whole side towards clients.
pub struct ClientSide {
    /// Its request reader.
    pub read_request: ReadRequest,
    /// Its answer writer.
    pub write_response: WriteResponse,
    /// Its error writer.
    pub write_error: WriteError,
    /// Makes a stream writer.
    pub stream_writer: fn(&Setting<'_>) -> Box<dyn StreamWriter>,
}

/// A format's whole side towards providers.
pub struct ProviderSide {
    /// Its request writer.
    pub write_request: WriteRequest,
    /// Its answer reader.
    pub read_response: ReadResponse,
    /// Makes a stream reader.
    pub stream_reader: fn() -> Box<dyn StreamReader>,
}
