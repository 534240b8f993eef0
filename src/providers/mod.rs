//! What we know of each provider, as data: where it lives, how it authenticates, what it words differently, what it charges.
//!
//! An OpenAI-shaped vendor is one row in `table`; a provider of the owner's own becomes the same [`ProviderSpec`] from configuration.
//! No I/O here: rows are constants, and the two embedded tables (`catalogue`, `aliases`) are parsed once at start, strictly.

pub mod aliases;
pub mod catalogue;
pub mod endpoint;
pub mod head;
pub mod platform;
pub mod prompt_cache;
pub mod quirks;
pub mod service_account;
pub mod signing;
pub mod spec;
pub mod table;

pub use catalogue::Catalogue;
pub use platform::Platform;
pub use quirks::{Quirks, Rewrite};
pub use spec::ProviderSpec;
pub use table::Row;

/// The wire format a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Chat completions and their kin: `…/chat/completions`.
    OpenAi,
    /// Messages: `…/v1/messages`.
    Anthropic,
    /// `…/v1beta/models/{model}:generateContent`.
    Gemini,
    /// Cohere's own second version: `…/v2/chat`.
    Cohere,
    /// OpenAI's format behind deployments and an `api-version`.
    Azure,
    /// Converse, with binary event streams.
    Bedrock,
    /// Gemini and raw predictions behind Google Cloud projects.
    Vertex,
}

impl Dialect {
    /// Every dialect there is a name for.
    pub const ALL: [Self; 7] =
        [Self::OpenAi, Self::Anthropic, Self::Gemini, Self::Cohere, Self::Azure, Self::Bedrock, Self::Vertex];

    /// The name that configuration uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Cohere => "cohere",
            Self::Azure => "azure",
            Self::Bedrock => "bedrock",
            Self::Vertex => "vertex",
        }
    }

    /// Reads the name that configuration uses.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.as_str() == name)
    }

    /// How providers of this dialect authenticate unless their row says otherwise.
    pub const fn usual_auth(self) -> Auth {
        match self {
            Self::OpenAi | Self::Cohere | Self::Bedrock | Self::Vertex => Auth::Bearer,
            Self::Anthropic => Auth::XApiKey,
            Self::Gemini => Auth::XGoogApiKey,
            Self::Azure => Auth::ApiKey,
        }
    }
}

/// The request field that carries the credential. Never a query parameter (rule R2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Auth {
    /// `authorization: Bearer …` (RFC 6750 §2.1).
    Bearer,
    /// `x-api-key: …`.
    XApiKey,
    /// `x-goog-api-key: …`.
    XGoogApiKey,
    /// `api-key: …`.
    ApiKey,
}

impl Auth {
    /// The field's name, in lower case.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Bearer => "authorization",
            Self::XApiKey => "x-api-key",
            Self::XGoogApiKey => "x-goog-api-key",
            Self::ApiKey => "api-key",
        }
    }

    /// What stands before the credential in the field's value.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer ",
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialect_names_read_back() {
        for dialect in Dialect::ALL {
            assert_eq!(Dialect::parse(dialect.as_str()), Some(dialect));
        }
        assert_eq!(Dialect::parse("OpenAI"), None);
    }
}
