//! What a public path asks for, and in which dialect the client speaks there.
//!
//! Pure: method, path and query in, a [`Surface`] out. The dialect of a path is also the dialect of every error on it, so that a client's SDK
//! can read what we say even when nothing else is understood.

use super::fault::Fault;
use super::{forward, local};
use crate::dialects::Wire;
use crate::domain::endpoint::Endpoint;
use crate::domain::text::bounded;
use crate::http::head::Method;
use crate::report::exchange::Surface as Named;
use std::mem::discriminant;

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Surface {
    /// A model shall answer.
    Inquiry(Asked),
    /// A call that is carried to one provider as it is: stored objects (files, batches), and a provider's own API.
    Courier(Asked),
    /// Answered from the snapshot, with or without an access key.
    Local(local::Page),
    /// What a request would be routed to, answered here without asking anybody.
    Preview,
    /// Answered by the control plane.
    Control,
}

impl Surface {
    /// The name in figures and logs.
    pub fn name(&self) -> Named {
        match self {
            Self::Inquiry(asked) | Self::Courier(asked) => asked.name(),
            Self::Local(_) => Named::Pages,
            Self::Preview => Named::Preview,
            Self::Control => Named::Control,
        }
    }
}

/// A request that a model answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The client's dialect.
    pub wire: Wire,
    /// What is wanted.
    pub task: Task,
    /// The model, where the path names it (Gemini).
    pub model: Option<String>,
    /// How the answer is delivered, where the path says it (Gemini).
    pub delivery: Option<Delivery>,
}

/// What a model shall do.
#[derive(Clone, Debug, Eq)]
pub enum Task {
    /// Answer a conversation: the one task that is translated between all dialects.
    Generate,
    /// Count the tokens of a conversation.
    CountTokens,
    /// Continue a text (legacy).
    Completions,
    /// Vectors of texts.
    Embeddings,
    /// Vectors of texts, asked for in Gemini's own way: `embedContent` or `batchEmbedContents`.
    EmbedContent(&'static str),
    /// Judge content.
    Moderations,
    /// Make or change pictures: `generations`, `edits`, `variations`.
    Images(&'static str),
    /// Speak or listen: `speech`, `transcriptions`, `translations`.
    Audio(&'static str),
    /// Order documents by relevance.
    Rerank,
    /// Files and batches: like a raw call, to the provider that made the object.
    Object(RawCall),
    /// A provider's own API under our authentication; nothing is translated or added.
    Raw(RawCall),
    /// A realtime session over a WebSocket.
    Realtime,
}

impl PartialEq for Task {
    /// Tasks of two kinds, the usual case, are told apart where it is asked.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        discriminant(self) == discriminant(other) && self.holds_the_same(other)
    }
}

impl Task {
    /// Whether two of one kind are about the same.
    fn holds_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::EmbedContent(own), Self::EmbedContent(other))
            | (Self::Images(own), Self::Images(other))
            | (Self::Audio(own), Self::Audio(other)) => own == other,
            (Self::Object(own), Self::Object(other)) | (Self::Raw(own), Self::Raw(other)) => own == other,
            _ => true,
        }
    }

    /// What an access key's list of endpoints calls it.
    pub fn endpoint(&self) -> Endpoint {
        match self {
            Task::Generate | Task::CountTokens => Endpoint::Chat,
            Task::Completions => Endpoint::Completions,
            Task::Embeddings | Task::EmbedContent(_) => Endpoint::Embeddings,
            Task::Moderations => Endpoint::Moderations,
            Task::Images(_) => Endpoint::Images,
            Task::Audio(_) => Endpoint::Audio,
            Task::Rerank => Endpoint::Rerank,
            Task::Object(call) if call.target.starts_with("/batches") => Endpoint::Batches,
            Task::Object(_) => Endpoint::Files,
            Task::Raw(_) => Endpoint::Passthrough,
            Task::Realtime => Endpoint::Realtime,
        }
    }
}

/// A call that is carried as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawCall {
    /// The client's method.
    pub method: Method,
    /// Path and query, to stand after the provider's base path.
    pub target: String,
    /// The provider, where the path names it.
    pub provider: Option<String>,
}

/// How an answer is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// In one piece.
    Whole,
    /// As server-sent events.
    Events,
    /// As one JSON array, element by element.
    Array,
}

impl Asked {
    /// A task of the OpenAI family.
    fn openai(task: Task) -> Self {
        Self { wire: Wire::Chat, task, model: None, delivery: None }
    }

    fn name(&self) -> Named {
        match (&self.task, self.wire) {
            (_, Wire::Gemini) => Named::Gemini,
            (Task::Generate, Wire::Responses) => Named::Responses,
            (Task::Generate, Wire::Messages) => Named::Messages,
            (Task::Generate, _) => Named::Chat,
            (Task::CountTokens, _) => Named::CountTokens,
            (Task::Completions, _) => Named::Completions,
            (Task::Embeddings | Task::EmbedContent(_), _) => Named::Embeddings,
            (Task::Moderations, _) => Named::Moderations,
            (Task::Images(_), _) => Named::Images,
            (Task::Audio(_), _) => Named::Audio,
            (Task::Rerank, _) => Named::Rerank,
            (Task::Object(call), _) if call.target.starts_with("/batches") => Named::Batches,
            (Task::Object(_), _) => Named::Files,
            (Task::Raw(_), _) => Named::Passthrough,
            (Task::Realtime, _) => Named::Realtime,
        }
    }

    /// A conversation in some dialect.
    fn generate(wire: Wire) -> Self {
        Self { wire, ..Self::openai(Task::Generate) }
    }
}

/// The dialect in which a client at this path understands errors.
pub fn face(path: &str) -> Wire {
    let path = path.strip_prefix("/v1/passthrough").unwrap_or(path);
    if path.starts_with("/v1/messages") || path.starts_with("/anthropic/") {
        Wire::Messages
    } else if path.starts_with("/v1beta/") || (path.starts_with("/v1/models/") && path.contains(':')) {
        Wire::Gemini
    } else {
        Wire::Chat
    }
}

/// Where a request is only planned.
const PREVIEW: &str = "/v1/routing/preview";

/// The surface at a path, for this method.
pub fn route(method: Method, path: &str, query: Option<&str>) -> Result<Surface, Fault> {
    // A provider's own path is its own to the last slash.
    if let Some(rest) = path.strip_prefix("/v1/passthrough/") {
        let (provider, _) = rest.split_once('/').unwrap_or((rest, ""));
        let target = with_query(rest.get(provider.len()..).unwrap_or_default(), query);
        let call = RawCall { method, target, provider: Some(provider.to_owned()) };
        return Ok(Surface::Courier(Asked::openai(Task::Raw(call))));
    }
    let path = if path.len() > 1 { path.strip_suffix('/').unwrap_or(path) } else { path };
    if let Some(asked) = inquiry(path, query) {
        return match method {
            Method::Post => Ok(Surface::Inquiry(asked)),
            _ => Err(Fault::MethodNotAllowed { allow: "POST" }),
        };
    }
    if let Some(page) = local::page(path) {
        return match method {
            Method::Get | Method::Head | Method::Options => Ok(Surface::Local(page)),
            _ => Err(Fault::MethodNotAllowed { allow: "GET, HEAD" }),
        };
    }
    match path {
        PREVIEW if method == Method::Post => Ok(Surface::Preview),
        PREVIEW => Err(Fault::MethodNotAllowed { allow: "POST" }),
        "/v1/realtime" if method == Method::Get => {
            let model = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("model=")));
            Ok(Surface::Courier(Asked { model: model.map(percent_decoded), ..Asked::openai(Task::Realtime) }))
        }
        "/v1/realtime" => Err(Fault::MethodNotAllowed { allow: "GET" }),
        _ if is_object(path) => {
            let target = with_query(path.strip_prefix("/v1").unwrap_or(path), query);
            Ok(Surface::Courier(Asked::openai(Task::Object(RawCall { method, target, provider: None }))))
        }
        _ if forward::is_control(path) => Ok(Surface::Control),
        _ => Err(Fault::UnknownPath { path: bounded(path, 128) }),
    }
}

fn with_query(path: &str, query: Option<&str>) -> String {
    query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

fn is_object(path: &str) -> bool {
    ["/v1/files", "/v1/batches"]
        .iter()
        .any(|root| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn inquiry(path: &str, query: Option<&str>) -> Option<Asked> {
    Some(match path {
        "/v1/chat/completions" | "/v1/infer" => Asked::generate(Wire::Chat),
        "/v1/responses" => Asked::generate(Wire::Responses),
        "/v1/messages" => Asked::generate(Wire::Messages),
        "/v1/messages/count_tokens" => Asked { task: Task::CountTokens, ..Asked::generate(Wire::Messages) },
        "/v1/completions" => Asked::openai(Task::Completions),
        "/v1/embeddings" => Asked::openai(Task::Embeddings),
        "/v1/moderations" => Asked::openai(Task::Moderations),
        "/v1/rerank" | "/v2/rerank" => Asked::openai(Task::Rerank),
        "/v1/images/generations" => Asked::openai(Task::Images("generations")),
        "/v1/images/edits" => Asked::openai(Task::Images("edits")),
        "/v1/images/variations" => Asked::openai(Task::Images("variations")),
        "/v1/audio/speech" => Asked::openai(Task::Audio("speech")),
        "/v1/audio/transcriptions" => Asked::openai(Task::Audio("transcriptions")),
        "/v1/audio/translations" => Asked::openai(Task::Audio("translations")),
        _ => return gemini(path, query),
    })
}

/// `/v1/models/{model}:{method}` and `/v1beta/…`; the model may hold slashes and colons, so the last colon counts.
fn gemini(path: &str, query: Option<&str>) -> Option<Asked> {
    let rest = path.strip_prefix("/v1beta/models/").or_else(|| path.strip_prefix("/v1/models/"))?;
    let (model, method) = rest.rsplit_once(':')?;
    let sse = query.is_some_and(|query| query.split('&').any(|pair| pair == "alt=sse"));
    let (task, delivery) = match method {
        "generateContent" => (Task::Generate, Delivery::Whole),
        "streamGenerateContent" if sse => (Task::Generate, Delivery::Events),
        "streamGenerateContent" => (Task::Generate, Delivery::Array),
        "countTokens" => (Task::CountTokens, Delivery::Whole),
        "embedContent" => (Task::EmbedContent("embedContent"), Delivery::Whole),
        "batchEmbedContents" => (Task::EmbedContent("batchEmbedContents"), Delivery::Whole),
        _ => return None,
    };
    (!model.is_empty()).then(|| Asked {
        wire: Wire::Gemini,
        task,
        model: Some(percent_decoded(model)),
        delivery: Some(delivery),
    })
}

/// A model name out of a path. What does not decode stays as it is and is then simply unknown.
fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let decoded = match (byte, tail) {
            (b'%', [high, low, ..]) => std::str::from_utf8(&[*high, *low])
                .ok()
                .filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
                .and_then(|hex| u8::from_str_radix(hex, 16).ok()),
            _ => None,
        };
        out.push(decoded.unwrap_or(*byte));
        rest = tail.get(if decoded.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(method: Method, path: &str) -> Result<Surface, Fault> {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        route(method, path, query)
    }

    #[test]
    fn every_dialect_has_its_path() {
        let cases = [
            ("/v1/chat/completions", Wire::Chat),
            ("/v1/infer/", Wire::Chat),
            ("/v1/responses", Wire::Responses),
            ("/v1/messages?beta=true", Wire::Messages),
            ("/v1beta/models/gemini-pro-latest:generateContent", Wire::Gemini),
            ("/v1/models/a/b:c:generateContent", Wire::Gemini),
        ];
        for (path, wire) in cases {
            let Ok(Surface::Inquiry(asked)) = at(Method::Post, path) else { panic!("{path}") };
            assert_eq!((asked.wire, asked.task), (wire, Task::Generate), "{path}");
        }
        assert_eq!(at(Method::Get, "/v1/messages"), Err(Fault::MethodNotAllowed { allow: "POST" }));
    }

    #[test]
    fn every_task_has_the_endpoint_that_keys_are_held_to() {
        let endpoint = |method, path: &str| match at(method, path) {
            Ok(Surface::Inquiry(asked) | Surface::Courier(asked)) => asked.task.endpoint(),
            other => panic!("{path}: {other:?}"),
        };
        for (method, path, meant) in [
            (Method::Post, "/v1/infer", Endpoint::Chat),
            (Method::Post, "/v1/messages/count_tokens", Endpoint::Chat),
            (Method::Post, "/v1/completions", Endpoint::Completions),
            (Method::Post, "/v1beta/models/m:batchEmbedContents", Endpoint::Embeddings),
            (Method::Post, "/v1/moderations", Endpoint::Moderations),
            (Method::Post, "/v1/images/edits", Endpoint::Images),
            (Method::Post, "/v1/audio/speech", Endpoint::Audio),
            (Method::Post, "/v2/rerank", Endpoint::Rerank),
            (Method::Get, "/v1/files/f/content", Endpoint::Files),
            (Method::Post, "/v1/batches/b/cancel", Endpoint::Batches),
            (Method::Get, "/v1/realtime?model=m", Endpoint::Realtime),
            (Method::Get, "/v1/passthrough/openai/batches", Endpoint::Passthrough),
        ] {
            assert_eq!(endpoint(method, path), meant, "{path}");
        }
    }

    #[test]
    fn a_gemini_path_names_model_and_delivery() {
        let asked = |path: &str| match at(Method::Post, path) {
            Ok(Surface::Inquiry(asked)) => (asked.model.unwrap_or_default(), asked.delivery),
            other => panic!("{path}: {other:?}"),
        };
        let stream = "/v1beta/models/tuned%3Aone:streamGenerateContent";
        assert_eq!(asked(stream), ("tuned:one".to_owned(), Some(Delivery::Array)));
        assert_eq!(asked(&format!("{stream}?alt=sse&x=1")), ("tuned:one".to_owned(), Some(Delivery::Events)));
        assert_eq!(asked("/v1/models/m%zz:countTokens").0, "m%zz");
    }

    #[test]
    fn other_paths_find_their_way() {
        let carried = |method, path: &str| match at(method, path) {
            Ok(Surface::Courier(Asked { task: Task::Raw(call) | Task::Object(call), .. })) => call,
            other => panic!("{path}: {other:?}"),
        };
        let raw = carried(Method::Delete, "/v1/passthrough/openai/x?y=1");
        assert_eq!((raw.provider.as_deref(), raw.target.as_str()), (Some("openai"), "/x?y=1"));
        let object = carried(Method::Get, "/v1/files/f-1/content");
        assert_eq!((object.provider, object.target.as_str()), (None, "/files/f-1/content"));
        assert!(matches!(at(Method::Get, "/v1/filesystem"), Err(Fault::UnknownPath { .. })));
        assert!(matches!(at(Method::Get, "/v1/models/gpt-4o"), Ok(Surface::Local(_))));
        assert!(at(Method::Post, "/v1/models/m:unknown").is_err());
    }

    #[test]
    fn errors_speak_the_dialect_of_the_path() {
        for (path, wire) in [
            ("/v1/messages/count_tokens", Wire::Messages),
            ("/v1beta/models", Wire::Gemini),
            ("/v1/models/m:generateContent", Wire::Gemini),
            ("/v1/models", Wire::Chat),
            ("/nowhere", Wire::Chat),
        ] {
            assert_eq!(face(path), wire, "{path}");
        }
    }
}
