//! Kinds of task that an access key may be held to, by the names of configuration and API.

/// A kind of task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A model's answer to a conversation, in any dialect.
    Chat,
    /// Completions of a bare prompt.
    Completions,
    /// Vectors of texts.
    Embeddings,
    /// Judgement of texts and pictures.
    Moderations,
    /// Pictures.
    Images,
    /// Speech and transcripts.
    Audio,
    /// Order of documents.
    Rerank,
    /// Files that a provider keeps.
    Files,
    /// Work that a provider does later.
    Batches,
    /// A session over a WebSocket.
    Realtime,
    /// A provider's own API.
    Passthrough,
}

impl Endpoint {
    /// All of them, in the order they are written.
    pub const ALL: [Self; 11] = [
        Self::Chat,
        Self::Completions,
        Self::Embeddings,
        Self::Moderations,
        Self::Images,
        Self::Audio,
        Self::Rerank,
        Self::Files,
        Self::Batches,
        Self::Realtime,
        Self::Passthrough,
    ];

    /// The name in configuration and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Moderations => "moderations",
            Self::Images => "images",
            Self::Audio => "audio",
            Self::Rerank => "rerank",
            Self::Files => "files",
            Self::Batches => "batches",
            Self::Realtime => "realtime",
            Self::Passthrough => "passthrough",
        }
    }

    /// Reads a name; `None` when there is no such kind.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        assert!(Endpoint::ALL.into_iter().all(|kind| Endpoint::parse(kind.name()) == Some(kind)));
        assert_eq!(Endpoint::parse("everything"), None);
    }
}
