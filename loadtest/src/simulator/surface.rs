//! The surfaces a simulator can show: which provider's paths, keys, checks, words and heads a request meets.
//!
//! A surface is chosen by the path of a request among those the simulator was built with. Each lives in its own folder and
//! shares nothing with the others but the machinery: how a connection is served, how a fault is played, how it is logged.

use super::Site;
pub(super) use super::denial::{Denial, REQUEST_ID};
use super::members::Members;
use super::quota::Level;
pub(super) use super::script::{Script, Told, Work};
use super::truth::Truth;
use super::wire::Head;
use super::{anthropic, azure, bedrock, cohere, gemini, openai};
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// A provider whose wire format a simulator speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Surface {
    /// OpenAI: paths below `/v1`, bearer keys.
    OpenAi,
    /// One of the many that copy OpenAI's chat completions and models, and nothing of its younger interfaces.
    Compatible,
    /// Anthropic: `/v1/messages`, `x-api-key` or bearer keys.
    Anthropic,
    /// Azure's OpenAI: deployments below `/openai/deployments`, models below `/openai/v1`, `api-key`.
    Azure,
    /// Amazon's Bedrock: Converse below `/model`, bearer keys or signatures of version 4.
    Bedrock,
    /// Cohere's own interface, version 2: `/v2/chat` and its kin, bearer keys.
    Cohere,
    /// Google's Gemini: `/v1/models/…:generateContent` and its kin, also under `/v1beta`, `x-goog-api-key`.
    Gemini,
}

/// Every surface, in the order in which paths are claimed.
pub(super) const ALL: [Surface; 7] = [
    Surface::Azure,
    Surface::Bedrock,
    Surface::Cohere,
    Surface::Anthropic,
    Surface::Gemini,
    Surface::OpenAi,
    Surface::Compatible,
];

impl Surface {
    /// The surface's name in flags, in the truth log and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Compatible => "compatible",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Azure => "azure",
            Self::Bedrock => "bedrock",
            Self::Cohere => "cohere",
        }
    }

    /// All that one simulator can speak at once: every one but [`Surface::Compatible`], which shares OpenAI's paths.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::OpenAi, Self::Anthropic, Self::Gemini, Self::Bedrock, Self::Cohere, Self::Azure].into_iter()
    }

    /// Reads a name.
    ///
    /// # Errors
    /// Returns a sentence that lists the names there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        ALL.into_iter().find(|surface| surface.name() == text).ok_or_else(|| {
            let names: Vec<_> = ALL.iter().map(|surface| surface.name()).collect();
            format!("unknown dialect {text:?}; there are {}", names.join(", "))
        })
    }

    /// The path below the origin that a client is configured with.
    pub(super) fn base(self, site: &Site) -> &str {
        match self {
            Self::OpenAi | Self::Compatible => site.prefixes.first().map_or("", String::as_str),
            Self::Anthropic | Self::Azure | Self::Bedrock | Self::Cohere | Self::Gemini => "",
        }
    }

    /// The models it has unless its builder says otherwise.
    pub(super) fn models(self) -> &'static [&'static str] {
        match self {
            Self::OpenAi | Self::Compatible => &[
                "gpt-4o",
                "gpt-4o-mini",
                "gpt-4.1",
                "gpt-5.6-sol",
                "gpt-5.6-terra",
                "text-embedding-3-small",
                "omni-moderation-latest",
                "gpt-image-1",
                "gpt-4o-mini-tts",
                "gpt-4o-transcribe",
            ],
            Self::Bedrock => {
                &["anthropic.claude-sonnet-4-5-20250929-v1:0", "us.anthropic.claude-opus-4-7", "amazon.nova-pro-v1:0"]
            }
            Self::Cohere => &[
                "command-a-03-2025",
                "command-a-reasoning-08-2025",
                "command-r7b-12-2024",
                "embed-v4.0",
                "rerank-v4.0-pro",
            ],
            Self::Azure => &["gpt-4o", "gpt-4.1", "text-embedding-3-small"],
            Self::Anthropic => &[
                "claude-opus-5-5",
                "claude-sonnet-5-5",
                "claude-haiku-5-5",
                "claude-fable-5-1",
                "claude-opus-4-7",
                "claude-sonnet-4-6",
                "claude-sonnet-4-5",
                "claude-haiku-4-5",
            ],
            Self::Gemini => &[
                "gemini-pro-latest",
                "gemini-flash-latest",
                "gemini-3.1-pro-preview",
                "gemini-3.5-flash",
                "gemini-3.8-flash",
                "gemini-2.5-pro",
                "gemini-2.5-flash",
                "gemini-2.5-flash-lite",
                "gemini-embedding-001",
            ],
        }
    }

    /// Whether a request is meant for this surface.
    pub(super) fn claims(self, site: &Site, head: &Head) -> bool {
        match self {
            Self::OpenAi | Self::Compatible => {
                site.prefixes.iter().any(|prefix| head.path().starts_with(prefix.as_str()))
            }
            Self::Anthropic => anthropic::claims(head),
            Self::Gemini => gemini::claims(head),
            Self::Azure => azure::claims(head),
            Self::Bedrock => bedrock::claims(head),
            Self::Cohere => cohere::claims(head),
        }
    }

    /// The credential a request shows, where this surface looks for it.
    pub(super) fn key(self, head: &Head) -> Option<&str> {
        match self {
            Self::OpenAi | Self::Compatible => bearer(head),
            Self::Anthropic => anthropic::key(head),
            Self::Gemini => gemini::key(head),
            Self::Azure => azure::key(head),
            Self::Bedrock => bedrock::key(head),
            Self::Cohere => bearer(head),
        }
    }

    /// Checks a request and says what it asks for.
    pub(super) fn read(self, call: &Call<'_>, seen: &mut Seen) -> Result<Asked, Denial> {
        match self {
            Self::OpenAi | Self::Compatible => openai::read(call, seen),
            Self::Anthropic => anthropic::read(call, seen),
            Self::Gemini => gemini::read(call, seen),
            Self::Azure => azure::read(call, seen),
            Self::Bedrock => bedrock::read(call, seen),
            Self::Cohere => cohere::read(call, seen),
        }
    }

    /// What this provider says with a status when nothing more precise is known.
    pub(super) fn failure(self, status: u16, retry_after: Option<Duration>) -> Denial {
        match self {
            Self::OpenAi | Self::Compatible => openai::failure(status, retry_after),
            Self::Anthropic => anthropic::failure(status, retry_after),
            Self::Gemini => gemini::failure(status, retry_after),
            Self::Azure => azure::failure(status, retry_after),
            Self::Bedrock => bedrock::failure(status, retry_after),
            Self::Cohere => cohere::failure(status, retry_after),
        }
    }

    /// What it says when no waiting helps because the account has no money left.
    pub(super) fn quota(self) -> Denial {
        match self {
            Self::OpenAi | Self::Compatible | Self::Azure => openai::quota(),
            Self::Anthropic => anthropic::quota(),
            Self::Gemini => gemini::quota(),
            Self::Bedrock => bedrock::quota(),
            Self::Cohere => cohere::quota(),
        }
    }

    /// What it says when a key has used up its tokens of a minute, where that differs from what it says of requests.
    pub(super) fn out_of_tokens(self, name: &str, model: &str, level: &Level, asked: u32) -> Option<String> {
        match self {
            Self::OpenAi | Self::Compatible => Some(openai::out_of_tokens(name, model, level, asked)),
            Self::Anthropic => Some(anthropic::out_of_tokens(level)),
            Self::Gemini | Self::Azure | Self::Bedrock | Self::Cohere => None,
        }
    }

    /// The event that breaks a stream, with an error of this type in place of the usual one.
    pub(super) fn broken_as(self, usual: &[u8], kind: &str) -> Vec<u8> {
        match self {
            Self::Bedrock => bedrock::breakdown(kind),
            _ => self.with_kind(usual, kind),
        }
    }

    /// The text of an error of this provider with another type in place of the usual one.
    pub(super) fn with_kind(self, usual: &[u8], kind: &str) -> Vec<u8> {
        let words: &[&str] = match self {
            Self::OpenAi | Self::Compatible | Self::Azure => &["server_error", "InternalServerError"],
            Self::Anthropic => &["overloaded_error", "api_error"],
            Self::Gemini => &["UNAVAILABLE", "INTERNAL"],
            Self::Cohere => &["ERROR"],
            // Its text names no type.
            Self::Bedrock => &[],
        };
        let Ok(text) = std::str::from_utf8(usual) else { return usual.to_vec() };
        let word = words.iter().find(|word| text.contains(**word));
        word.map_or_else(|| usual.to_vec(), |word| text.replacen(word, kind, 1).into_bytes())
    }

    /// What it says to bytes that are not HTTP.
    pub(super) fn malformed(self, reason: &str) -> Denial {
        match self {
            Self::OpenAi | Self::Compatible | Self::Azure => {
                openai::Refusal::invalid(None, "", format!("Bad request: {reason}")).into()
            }
            Self::Anthropic => anthropic::malformed(reason),
            Self::Gemini => gemini::malformed(reason),
            Self::Bedrock => bedrock::invalid(&format!("Bad request: {reason}")),
            Self::Cohere => cohere::invalid(&format!("bad request: {reason}")),
        }
    }

    /// Appends the fields that every answer of this provider carries.
    pub(super) fn head(self, out: &mut Vec<u8>, site: &Site, sequence: u64, took: Duration) {
        match self {
            Self::OpenAi | Self::Compatible => openai::head(out, site, sequence, took),
            Self::Anthropic => anthropic::head(out, site, sequence),
            Self::Azure => azure::head(out, site, sequence),
            Self::Bedrock => bedrock::head(out, site, sequence),
            Self::Cohere => cohere::head(out, site, sequence),
            // Google names no request in its heads and tells no limits.
            Self::Gemini => {}
        }
    }

    /// The id of a request, where errors repeat it.
    pub(super) fn request_id(self, site: &Site, sequence: u64) -> String {
        match self {
            Self::OpenAi | Self::Compatible => openai::request_id(site, sequence),
            Self::Anthropic => anthropic::request_id(site, sequence),
            Self::Azure => azure::request_id(site, sequence),
            Self::Bedrock => bedrock::request_id(site, sequence),
            Self::Cohere => cohere::request_id(site, sequence),
            Self::Gemini => String::new(),
        }
    }
}

impl fmt::Display for Surface {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A request on its way through a surface's checks.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) site: &'a Site,
    pub(super) surface: Surface,
    pub(super) connection: u64,
    pub(super) head: &'a Head,
    /// The credential shown; empty if there is none.
    pub(super) key: &'a str,
    /// Whether that is accepted now: decided once, so that the log cannot say otherwise.
    pub(super) key_accepted: bool,
    pub(super) body: &'a [u8],
    /// The model, where the path names it and not the body.
    pub(super) model: Option<&'a str>,
    /// Words of an answer whose request does not say otherwise.
    pub(super) tokens: u32,
}

impl Call<'_> {
    pub(super) fn truth(&self) -> &Truth {
        &self.site.truth
    }

    /// The body, if it is one JSON object; what it shows of a careless sender is noted.
    pub(super) fn object(&self) -> Option<Value> {
        let members: Members = serde_json::from_slice(self.body).ok()?;
        for (rule, detail) in members.violations() {
            self.truth().violate(self.connection, rule, detail);
        }
        Some(Value::Object(members.0.into_iter().collect()))
    }

    /// Whether the body is declared as JSON.
    pub(super) fn says_json(&self) -> bool {
        let kind = self.head.field("content-type").and_then(|value| value.split(';').next()).unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("application/json")
    }
}

/// What the record of a request needs to know of its body, refused or not.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) model: Option<String>,
    pub(super) stream: bool,
}

/// What a request turned out to ask for.
pub(super) enum Asked {
    /// One JSON text that costs nothing and never fails, such as a list of models.
    Ready(String),
    /// A conversation over a WebSocket.
    Socket(Box<openai::realtime::Opening>),
    /// Work of a model: it takes its time, costs tokens, and may fail as planned.
    Work(Box<Work>),
}

/// The key of an `Authorization: Bearer` field.
pub(super) fn bearer(head: &Head) -> Option<&str> {
    let (scheme, key) = head.field("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}
