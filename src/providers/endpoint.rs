//! Where a call goes, and in which wire format it is spoken there.
//!
//! Pure: a provider's row, an operation and a model in, the target after the provider's base path out. What comes from outside, a model's
//! name or the rest of a client's own path, is percent-encoded segment by segment and can never leave its place: no slash, query,
//! fragment or verb of its own, and no dot segments (RFC 3986 §3.3, §6.2.2.3). Every vendor's paths are from its API reference, read 2026-11-23.

use super::{Dialect, ProviderSpec};
use crate::dialects::Wire;
use std::fmt::Write;

/// The `api-version` of Azure's older paths where the configuration states none: the last one that is generally available.
const AZURE_API_VERSION: &str = "2024-10-21";
/// What the base URL of Azure's newer, unversioned paths ends in.
const AZURE_V1: &str = "/openai/v1";
/// Prefix of the names of Anthropic's models, wherever they are hosted.
const CLAUDE: &str = "claude";

/// What is asked of a provider. A `&str` is the rest of the client's own path without a slash before it: `generations`, `file-1/content`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// The next turn of a conversation; its path follows from the wire.
    Generate,
    /// How many tokens a conversation has; its path follows from the wire.
    CountTokens,
    /// Text completions as they were before chat.
    Completions,
    /// Vectors of texts.
    Embeddings,
    /// Vectors of texts in Gemini's own way: `embedContent`, `batchEmbedContents`.
    EmbedContent(&'a str),
    /// Judgements on content.
    Moderations,
    /// Texts in order of relevance.
    Rerank,
    /// A session over a WebSocket; the model stands in the query.
    Realtime,
    /// `generations`, `edits`, `variations`.
    Images(&'a str),
    /// `speech`, `transcriptions`, `translations`.
    Audio(&'a str),
    /// A stored answer, or what belongs to it: `resp_1`, `resp_1/cancel`.
    StoredResponse(&'a str),
    /// The list of files with nothing, else one of them.
    Files(&'a str),
    /// The list of batches with nothing, else one of them.
    Batches(&'a str),
}

/// The provider has no such endpoint, or the name cannot stand in its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotServed {
    /// Nothing to call for this operation in this dialect.
    #[error("this provider has no endpoint for that")]
    Operation,
    /// An empty name, or one of dots alone.
    #[error("the name cannot stand in a path")]
    Name,
    /// The configuration lacks the project or region that the path names.
    #[error("the provider's `project` or `region` is not configured")]
    Place,
}

/// Writes the target of a call after the provider's base path, query included. On an error `out` holds what it held before.
///
/// # Errors
/// [`NotServed`].
pub fn target(
    spec: &ProviderSpec,
    wire: Wire,
    operation: Operation<'_>,
    model: &str,
    stream: bool,
    out: &mut String,
) -> Result<(), NotServed> {
    let before = out.len();
    let call = Call { spec, wire, operation, model, stream };
    let written = match spec.dialect {
        Dialect::OpenAi => call.openai(out),
        Dialect::Azure => call.azure(out),
        Dialect::Anthropic => call.anthropic(out),
        Dialect::Gemini => call.gemini(out),
        Dialect::Vertex => call.vertex(out),
        Dialect::Bedrock => call.bedrock(out),
        Dialect::Cohere => call.cohere(out),
    };
    if written.is_err() {
        out.truncate(before);
    }
    written
}

/// The wire to speak to a provider when a client speaks `client`: the same where the provider speaks it natively, else the provider's own.
/// `endpoints` are the paths that the model is known to be served at; empty where nobody says.
pub fn wire(spec: &ProviderSpec, client: Wire, model: &str, endpoints: &[Box<str>]) -> Wire {
    match spec.dialect {
        Dialect::OpenAi => openai_wire(spec.quirks.responses, client, endpoints),
        Dialect::Azure => openai_wire(is_azure_v1(spec), client, endpoints),
        Dialect::Anthropic => Wire::Messages,
        Dialect::Gemini => Wire::Gemini,
        Dialect::Vertex if is_claude(model) => Wire::Messages,
        Dialect::Vertex => Wire::Gemini,
        Dialect::Bedrock => Wire::Converse,
        Dialect::Cohere => Wire::Cohere,
    }
}

/// The `anthropic_version` that a body of Messages states in place of `model` where the path names the model; `None` where the body does,
/// and the version stands in the head.
pub fn messages_version(spec: &ProviderSpec) -> Option<&'static str> {
    (spec.dialect == Dialect::Vertex).then_some("vertex-2023-10-16")
}

fn openai_wire(speaks_responses: bool, client: Wire, endpoints: &[Box<str>]) -> Wire {
    let served_at = |path: &str| endpoints.iter().any(|endpoint| &**endpoint == path);
    let (responses, chat) = (served_at("/v1/responses"), served_at("/v1/chat/completions"));
    match (speaks_responses, client) {
        // Some models are served there alone (OpenAI's `-pro` and `-codex`), whatever the client speaks.
        (true, _) if responses && !chat => Wire::Responses,
        (true, Wire::Responses) if responses || endpoints.is_empty() => Wire::Responses,
        _ => Wire::Chat,
    }
}

fn is_azure_v1(spec: &ProviderSpec) -> bool {
    spec.base_url.ends_with(AZURE_V1)
}

fn is_claude(model: &str) -> bool {
    model.starts_with(CLAUDE)
}

/// One call, while its target is written.
struct Call<'a> {
    spec: &'a ProviderSpec,
    wire: Wire,
    operation: Operation<'a>,
    model: &'a str,
    stream: bool,
}

impl Call<'_> {
    fn openai(&self, out: &mut String) -> Result<(), NotServed> {
        let (fixed, rest) = match self.operation {
            Operation::Generate if self.wire == Wire::Responses => ("/responses", ""),
            Operation::Generate => ("/chat/completions", ""),
            Operation::CountTokens if self.wire == Wire::Responses => ("/responses/input_tokens", ""),
            Operation::CountTokens => return Err(NotServed::Operation),
            Operation::Completions => ("/completions", ""),
            Operation::Realtime => {
                out.push_str("/realtime?model=");
                return push_segment(self.model, out);
            }
            Operation::Embeddings => ("/embeddings", ""),
            Operation::EmbedContent(_) => return Err(NotServed::Operation),
            Operation::Moderations => ("/moderations", ""),
            Operation::Rerank => ("/rerank", ""),
            Operation::Images(rest) => ("/images", stated(rest)?),
            Operation::Audio(rest) => ("/audio", stated(rest)?),
            Operation::StoredResponse(rest) => ("/responses", stated(rest)?),
            Operation::Files(rest) => ("/files", rest),
            Operation::Batches(rest) => ("/batches", rest),
        };
        out.push_str(fixed);
        push_rest(rest, out)
    }

    /// Newer resources answer as OpenAI does; older ones name the deployment in the path and a version in the query.
    fn azure(&self, out: &mut String) -> Result<(), NotServed> {
        if matches!(self.operation, Operation::Moderations | Operation::Rerank) {
            return Err(NotServed::Operation);
        }
        let version = self.spec.platform.api_version.as_deref();
        if is_azure_v1(self.spec) {
            self.openai(out)?;
            return version.map_or(Ok(()), |version| push_version(version, out));
        }
        if !self.spec.base_url.ends_with("/openai") {
            out.push_str("/openai");
        }
        // Files, batches and stored answers belong to the resource; all else to a deployment of one model.
        let of_resource =
            matches!(self.operation, Operation::Files(_) | Operation::Batches(_) | Operation::StoredResponse(_))
                || self.wire == Wire::Responses;
        if !of_resource {
            out.push_str("/deployments/");
            push_segment(self.model, out)?;
        }
        self.openai(out)?;
        push_version(version.unwrap_or(AZURE_API_VERSION), out)
    }

    fn anthropic(&self, out: &mut String) -> Result<(), NotServed> {
        let (fixed, rest) = match self.operation {
            Operation::Generate => ("/v1/messages", ""),
            Operation::CountTokens => ("/v1/messages/count_tokens", ""),
            Operation::Completions => ("/v1/complete", ""),
            Operation::Files(rest) => ("/v1/files", rest),
            Operation::Batches(rest) => ("/v1/messages/batches", rest),
            _ => return Err(NotServed::Operation),
        };
        out.push_str(fixed);
        push_rest(rest, out)
    }

    fn gemini(&self, out: &mut String) -> Result<(), NotServed> {
        out.push_str("/v1beta/models/");
        push_segment(self.model.strip_prefix("models/").unwrap_or(self.model), out)?;
        match self.operation {
            Operation::Embeddings => out.push_str(":batchEmbedContents"),
            Operation::EmbedContent(method) => {
                out.push(':');
                push_segment(method, out)?;
            }
            _ => out.push_str(self.gemini_verb()?),
        }
        Ok(())
    }

    fn gemini_verb(&self) -> Result<&'static str, NotServed> {
        match self.operation {
            Operation::Generate if self.stream => Ok(":streamGenerateContent?alt=sse"),
            Operation::Generate => Ok(":generateContent"),
            Operation::CountTokens => Ok(":countTokens"),
            _ => Err(NotServed::Operation),
        }
    }

    fn vertex(&self, out: &mut String) -> Result<(), NotServed> {
        let place = (self.spec.platform.project.as_deref(), self.spec.platform.region.as_deref());
        let (Some(project), Some(region)) = place else { return Err(NotServed::Place) };
        out.push_str("/v1/projects/");
        push_segment(project, out)?;
        out.push_str("/locations/");
        push_segment(region, out)?;
        out.push_str("/publishers/");
        let (publisher, model, verb) = match (is_claude(self.model), self.operation) {
            (true, Operation::Generate) if self.stream => ("anthropic", self.model, ":streamRawPredict"),
            (true, Operation::Generate) => ("anthropic", self.model, ":rawPredict"),
            // Which model is counted stands in the body.
            (true, Operation::CountTokens) => ("anthropic", "count-tokens", ":rawPredict"),
            (true, _) => return Err(NotServed::Operation),
            (false, _) => ("google", self.model, self.gemini_verb()?),
        };
        out.push_str(publisher);
        out.push_str("/models/");
        // Versions stand behind an `@`, which Google's own clients send as it is.
        push_encoded(model, b"-._~@", out)?;
        out.push_str(verb);
        Ok(())
    }

    fn bedrock(&self, out: &mut String) -> Result<(), NotServed> {
        let verb = match self.operation {
            Operation::Generate if self.stream => "/converse-stream",
            Operation::Generate => "/converse",
            Operation::CountTokens => "/count-tokens",
            _ => return Err(NotServed::Operation),
        };
        out.push_str("/model/");
        push_segment(self.model, out)?;
        out.push_str(verb);
        Ok(())
    }

    fn cohere(&self, out: &mut String) -> Result<(), NotServed> {
        out.push_str(match self.operation {
            Operation::Generate => "/v2/chat",
            Operation::Embeddings => "/v2/embed",
            Operation::Rerank => "/v2/rerank",
            _ => return Err(NotServed::Operation),
        });
        Ok(())
    }
}

/// A rest that must be there.
fn stated(rest: &str) -> Result<&str, NotServed> {
    if rest.is_empty() { Err(NotServed::Operation) } else { Ok(rest) }
}

fn push_version(version: &str, out: &mut String) -> Result<(), NotServed> {
    out.push_str(if out.contains('?') { "&api-version=" } else { "?api-version=" });
    push_segment(version, out)
}

/// The rest of a path, each of its segments in its place; nothing for an empty one.
fn push_rest(rest: &str, out: &mut String) -> Result<(), NotServed> {
    if rest.is_empty() {
        return Ok(());
    }
    for segment in rest.split('/') {
        out.push('/');
        push_segment(segment, out)?;
    }
    Ok(())
}

/// One segment: unreserved bytes as they are, all others percent-encoded. The colon is among these, since Google's paths end in `:verb`.
fn push_segment(text: &str, out: &mut String) -> Result<(), NotServed> {
    push_encoded(text, b"-._~", out)
}

/// A segment, with these marks as they are.
fn push_encoded(text: &str, plain_marks: &[u8], out: &mut String) -> Result<(), NotServed> {
    if text.bytes().all(|byte| byte == b'.') {
        return Err(NotServed::Name);
    }
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain_marks.contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
