//! The surfaces a simulator can show: which provider's paths, keys, checks, words and heads a request meets.
//!
//! A surface is chosen by the path of a request among those the simulator was built with. Each lives in its own folder and
//! shares nothing with the others but the machinery: how a connection is served, how a fault is played, how it is logged.

use super::Site;
use super::fault::Directives;
use super::members::Members;
use super::truth::Truth;
use super::wire::Head;
use super::{anthropic, openai};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;
use std::time::Duration;

/// A provider whose wire format a simulator speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Surface {
    /// OpenAI: paths below `/v1`, bearer keys.
    OpenAi,
    /// Anthropic: `/v1/messages`, `x-api-key` or bearer keys.
    Anthropic,
}

/// Every surface, in the order in which paths are claimed.
const ALL: [Surface; 2] = [Surface::Anthropic, Surface::OpenAi];

impl Surface {
    /// The surface's name in flags, in the truth log and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
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
            Self::OpenAi => site.prefixes.first().map_or("", String::as_str),
            Self::Anthropic => "",
        }
    }

    /// The models it has unless its builder says otherwise.
    pub(super) fn models(self) -> &'static [&'static str] {
        match self {
            Self::OpenAi => &["gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-5.6-sol", "gpt-5.6-terra"],
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
        }
    }

    /// Whether a request is meant for this surface.
    pub(super) fn claims(self, site: &Site, head: &Head) -> bool {
        match self {
            Self::OpenAi => site.prefixes.iter().any(|prefix| head.path().starts_with(prefix.as_str())),
            Self::Anthropic => anthropic::claims(head),
        }
    }

    /// The credential a request shows, where this surface looks for it.
    pub(super) fn key(self, head: &Head) -> Option<&str> {
        match self {
            Self::OpenAi => bearer(head),
            Self::Anthropic => anthropic::key(head),
        }
    }

    /// Checks a request and says what it asks for.
    pub(super) fn read(self, call: &Call<'_>, seen: &mut Seen) -> Result<Asked, Denial> {
        match self {
            Self::OpenAi => openai::read(call, seen),
            Self::Anthropic => anthropic::read(call, seen),
        }
    }

    /// What this provider says with a status when nothing more precise is known.
    pub(super) fn failure(self, status: u16, retry_after: Option<Duration>) -> Denial {
        match self {
            Self::OpenAi => openai::failure(status, retry_after),
            Self::Anthropic => anthropic::failure(status, retry_after),
        }
    }

    /// What it says when no waiting helps because the account has no money left.
    pub(super) fn quota(self) -> Denial {
        match self {
            Self::OpenAi => openai::quota(),
            Self::Anthropic => anthropic::quota(),
        }
    }

    /// What it says to bytes that are not HTTP.
    pub(super) fn malformed(self, reason: &str) -> Denial {
        match self {
            Self::OpenAi => openai::Refusal::invalid(None, "", format!("Bad request: {reason}")).into(),
            Self::Anthropic => anthropic::malformed(reason),
        }
    }

    /// Appends the fields that every answer of this provider carries.
    pub(super) fn head(self, out: &mut Vec<u8>, site: &Site, sequence: u64, took: Duration) {
        match self {
            Self::OpenAi => openai::head(out, site, sequence, took),
            Self::Anthropic => anthropic::head(out, site, sequence),
        }
    }

    /// The id of a request, where errors repeat it.
    pub(super) fn request_id(self, site: &Site, sequence: u64) -> String {
        match self {
            Self::OpenAi => openai::request_id(site, sequence),
            Self::Anthropic => anthropic::request_id(site, sequence),
        }
    }
}

impl fmt::Display for Surface {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A request on its way through a surface's checks.
pub(super) struct Call<'a> {
    pub(super) site: &'a Site,
    pub(super) surface: Surface,
    pub(super) connection: u64,
    pub(super) head: &'a Head,
    /// The credential shown; empty if there is none.
    pub(super) key: &'a str,
    pub(super) body: &'a [u8],
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
    /// Work of a model: it takes its time, costs tokens, and may fail as planned.
    Work(Box<Work>),
}

/// Work that a model does for a request.
pub(super) struct Work {
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) prompt_tokens: u32,
    pub(super) directives: Directives,
    pub(super) script: Script,
}

/// Everything that will be said in answer.
pub(super) enum Script {
    /// A chat answer whose events are written when their turn comes.
    Chat(openai::Answer<'static>),
    /// An answer written ahead.
    Told(Told),
}

/// An answer written ahead, whole or event by event.
#[derive(Default)]
pub(super) struct Told {
    /// Media type of the answer.
    pub(super) kind: &'static str,
    /// The unary body.
    pub(super) whole: Vec<u8>,
    /// The events of a stream, each with the completion tokens that have been produced once it has left.
    pub(super) events: Vec<(Vec<u8>, u32)>,
    /// Completion tokens of the whole answer.
    pub(super) completion_tokens: u32,
    /// What breaks the stream when the provider fails in the middle of it.
    pub(super) broken: Vec<u8>,
}

impl Told {
    /// A unary JSON answer.
    pub(super) fn json(whole: impl Into<Vec<u8>>, completion_tokens: u32) -> Self {
        Self { kind: "application/json", whole: whole.into(), completion_tokens, ..Self::default() }
    }
}

impl Script {
    pub(super) fn kind(&self, stream: bool) -> &'static str {
        match self {
            Self::Chat(_) if stream => "text/event-stream; charset=utf-8",
            Self::Chat(_) => "application/json",
            Self::Told(told) => told.kind,
        }
    }

    pub(super) fn unary(&self, out: &mut Vec<u8>) {
        match self {
            Self::Chat(answer) => answer.unary(out),
            Self::Told(told) => out.extend_from_slice(&told.whole),
        }
    }

    pub(super) fn events(&self) -> u32 {
        match self {
            Self::Chat(answer) => answer.events(),
            Self::Told(told) => told.events.len() as u32,
        }
    }

    pub(super) fn event(&self, index: u32, out: &mut Vec<u8>) {
        match self {
            Self::Chat(answer) => answer.event(index, out),
            Self::Told(told) => out.extend_from_slice(&told.events[index as usize].0),
        }
    }

    /// Completion tokens produced by the time so many events have left.
    pub(super) fn tokens_after(&self, events: u32) -> u32 {
        match self {
            Self::Chat(answer) => answer.tokens_after(events),
            Self::Told(told) => events.checked_sub(1).map_or(0, |last| told.events[last as usize].1),
        }
    }

    pub(super) fn completion_tokens(&self) -> u32 {
        match self {
            Self::Chat(answer) => answer.completion_tokens(),
            Self::Told(told) => told.completion_tokens,
        }
    }

    /// The error event that breaks its stream.
    pub(super) fn broken(&self, out: &mut Vec<u8>) {
        match self {
            Self::Chat(_) => out.extend_from_slice(openai::Refusal::for_status(500).event().as_bytes()),
            Self::Told(told) => out.extend_from_slice(&told.broken),
        }
    }
}

/// Where the id of the request goes in the body of an error.
pub(super) const REQUEST_ID: &str = "{request-id}";

/// An error answer in its surface's own shape.
#[derive(Debug)]
pub(super) struct Denial {
    pub(super) status: u16,
    /// A JSON text; see [`REQUEST_ID`].
    pub(super) body: String,
    /// Fields of the head that belong to this error, each a whole line without its end.
    pub(super) fields: Vec<String>,
}

impl Denial {
    pub(super) fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into(), fields: Vec::new() }
    }

    /// The body of this request's answer.
    pub(super) fn body_for(&self, surface: Surface, site: &Site, sequence: u64) -> Cow<'_, str> {
        if !self.body.contains(REQUEST_ID) {
            return Cow::Borrowed(&self.body);
        }
        Cow::Owned(self.body.replace(REQUEST_ID, &surface.request_id(site, sequence)))
    }

    /// The same with `retry-after` in whole seconds, if there is a wait.
    pub(super) fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.fields.extend(wait.map(|wait| format!("retry-after: {}", wait.as_secs_f64().ceil())));
        self
    }

    pub(super) fn write_fields(&self, out: &mut Vec<u8>) {
        for field in &self.fields {
            let _ = write!(out, "{field}\r\n");
        }
    }
}

/// The key of an `Authorization: Bearer` field.
pub(super) fn bearer(head: &Head) -> Option<&str> {
    let (scheme, key) = head.field("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}
