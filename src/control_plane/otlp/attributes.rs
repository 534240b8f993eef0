//! Attributes, and the words that OpenTelemetry has for what we know.

use super::proto::{Any, AnyValue, KeyValue, Resource, Scope};
use crate::config::Otlp;
use crate::control_plane::fleet::host;
use crate::report::exchange::Surface;

/// The conventions by which spans and metrics are named.
pub(super) const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";

/// Attributes that are being listed.
#[derive(Default)]
pub(super) struct Attributes(pub(super) Vec<KeyValue>);

impl Attributes {
    pub(super) fn text(&mut self, key: &str, value: impl Into<String>) -> &mut Self {
        self.push(key, Any::Text(value.into()))
    }

    pub(super) fn whole(&mut self, key: &str, value: u64) -> &mut Self {
        self.push(key, Any::Whole(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    pub(super) fn number(&mut self, key: &str, value: f64) -> &mut Self {
        self.push(key, Any::Number(value))
    }

    pub(super) fn truth(&mut self, key: &str, value: bool) -> &mut Self {
        self.push(key, Any::Truth(value))
    }

    fn push(&mut self, key: &str, value: Any) -> &mut Self {
        self.0.push(KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) });
        self
    }
}

/// Who tells: what the owner says, then what we know where the owner said nothing of it.
pub(super) fn resource(terms: &Otlp) -> Resource {
    let mut attributes = Attributes::default();
    for (name, value) in &terms.resource {
        attributes.text(name, value);
    }
    let own = [
        ("service.name", "igris".to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", format!("{}-{}", host(), std::process::id())),
    ];
    for (name, value) in own {
        if !terms.resource.iter().any(|(known, _)| known == name) {
            attributes.text(name, value);
        }
    }
    Resource { attributes: attributes.0 }
}

/// What makes the spans and metrics.
pub(super) fn scope() -> Scope {
    Scope { name: "igris".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}

/// The word for a provider (<https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/>, read 2026-11-26); its own name where
/// there is none.
pub(super) fn provider(name: &str) -> &str {
    match name {
        "google" => "gcp.gemini",
        "vertex" => "gcp.vertex_ai",
        "bedrock" => "aws.bedrock",
        "azure" => "azure.ai.openai",
        "mistral" => "mistral_ai",
        "xai" => "x_ai",
        other => other,
    }
}

/// The word for what a model was asked to do.
pub(super) fn operation(surface: Surface) -> &'static str {
    match surface {
        Surface::Chat | Surface::Responses | Surface::Messages => "chat",
        Surface::Gemini => "generate_content",
        Surface::Completions => "text_completion",
        Surface::Embeddings => "embeddings",
        other => other.as_str(),
    }
}
