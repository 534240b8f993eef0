//! The plan of a run: its form in a scenario file, in a report, and in memory.

use super::{Arrivals, Lengths, Span, Waits};
use crate::dialect::Dialect;
use crate::measure::Objective;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Everything that decides what a run sends, when, to whom, and how it is judged. Also the form of a scenario file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// A name for reports.
    pub name: String,
    /// Where requests go; the first unless a share names another.
    pub endpoints: Vec<Endpoint>,
    /// Who asks; requests take turns unless a share names one.
    pub tenants: Vec<Tenant>,
    /// The rhythm.
    pub arrivals: Arrivals,
    /// Requests at most, warm-up and every turn of a session included.
    pub requests: Option<u64>,
    /// How long requests are sent at most, warm-up included.
    pub duration: Option<Span>,
    /// Requests planned in this first part are sent but not counted.
    pub warm_up: Span,
    /// What is asked, in which shares.
    pub traffic: Vec<Share>,
    /// Decides everything that is drawn.
    pub seed: u64,
    /// Connections, and so requests in flight, at most.
    pub connections: usize,
    /// Threads of the tester, each with its share of connections and arrivals.
    pub threads: usize,
    /// How long one answer may take, from its send, connecting included.
    pub timeout: Span,
    /// Compare every answer with what the simulator must have sent.
    pub verify: bool,
    /// The model that answers, where the gateway maps the one asked for; for `verify`.
    pub verify_model: Option<String>,
    /// Whether the target is the simulator, or has it behind it: prompts then begin with `sim:tokens=N`, so that an answer has
    /// exactly the drawn number of tokens.
    pub simulator_hints: bool,
    /// What an answer must hold to count as good; in files as texts such as `ttft<500ms`.
    #[serde(with = "texts")]
    pub objectives: Vec<Objective>,
    /// A process whose CPU time and memory are watched.
    pub watch_pid: Option<u32>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            name: String::new(),
            endpoints: Vec::new(),
            tenants: Vec::new(),
            arrivals: Arrivals::Closed,
            requests: None,
            duration: None,
            warm_up: Span::default(),
            traffic: vec![Share::default()],
            seed: 1,
            connections: 1,
            threads: 1,
            timeout: Span(Duration::from_secs(30)),
            verify: false,
            verify_model: None,
            simulator_hints: false,
            objectives: Vec::new(),
            watch_pid: None,
        }
    }
}

/// Values in a file as the texts that people type.
mod texts {
    use serde::{Deserialize as _, Deserializer, Serializer, de};
    use std::fmt::Display;
    use std::str::FromStr;

    pub(super) fn serialize<T: Display, S: Serializer>(all: &[T], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(all.iter().map(T::to_string))
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| text.parse().map_err(de::Error::custom)).collect()
    }
}

/// One server under test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoint {
    /// A name for reports; its URL unless given.
    pub name: String,
    /// Origin, base or whole URL; `http://` or `https://`.
    pub url: String,
    /// A file of PEM certificates to trust besides the usual roots.
    pub ca: Option<String>,
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tenant {
    /// A name for reports.
    pub name: String,
    /// The access key shown; written down only by the name of its variable. [`DEFAULT_KEY`] unless given.
    #[serde(skip_serializing_if = "Secret::is_default")]
    pub key: Secret,
    /// How often it asks, beside the others; once a tenant has a weight, tenants are drawn (1 where not given) instead of taking turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

/// An access key. It is saved as the name of the environment variable it is read from, never as itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// The variable.
    pub env: String,
    /// The key, once read or typed.
    pub text: String,
}

/// The variable that holds the access key unless a plan names another.
pub const KEY_VARIABLE: &str = "IGRIS_LOAD_KEY";
/// What is shown where nobody said anything: a key for targets that take any, such as the simulator.
pub const DEFAULT_KEY: &str = "sk-load-0000000000000000";

impl Secret {
    /// The key that this variable holds; empty where it is not set.
    pub fn from_env(env: &str) -> Self {
        Self { env: env.to_owned(), text: std::env::var(env).unwrap_or_default() }
    }

    /// A key as typed.
    pub fn typed(text: &str) -> Self {
        Self { env: KEY_VARIABLE.into(), text: text.to_owned() }
    }

    fn is_default(&self) -> bool {
        self == &Self::default()
    }
}

impl Default for Secret {
    fn default() -> Self {
        Self { env: String::new(), text: DEFAULT_KEY.into() }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Secret({:?})", self.env)
    }
}

/// The form of a saved key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference {
    env: String,
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let env = if self.env.is_empty() { KEY_VARIABLE } else { &self.env };
        Reference { env: env.to_owned() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Reference { env } = Reference::deserialize(deserializer)?;
        Ok(Self::from_env(&env))
    }
}

/// A share of the traffic: what its requests have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Share {
    /// A name for reports; its model unless given.
    pub name: String,
    /// How often, beside the others.
    pub weight: f64,
    /// The wire format.
    pub dialect: Dialect,
    /// The model to ask for.
    pub model: String,
    /// Whether to ask for streams.
    pub stream: bool,
    /// Whether OpenAI streams shall end with their usage.
    pub include_usage: bool,
    /// Bytes of a prompt, about; `prompt_tokens` overrules it.
    pub prompt_bytes: u32,
    /// Tokens of a prompt, about: words of which models make one token each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<Lengths>,
    /// Tokens of an answer; none leaves it to the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<Lengths>,
    /// What stands above the conversation; empty for nothing.
    pub system: String,
    /// Tokens of a text that follows `system` and is the same in many requests, as documents are that many people ask about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_prefix: Option<Lengths>,
    /// How many such texts there are; one is drawn for each session.
    pub shared_prefixes: u32,
    /// A JSON file of conversations, as ShareGPT publishes them, whose questions are asked in place of made-up words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversations: Option<String>,
    /// Turns of a session: each carries what was asked and answered before. None is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<Lengths>,
    /// How long a person thinks between an answer and their next turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub think: Option<Waits>,
    /// Tools that are offered.
    pub tools: u32,
    /// The part of turns, 0 to 1, whose words ask the model to use a tool; the simulator does so.
    pub tool_use: f64,
    /// Names of the tenants that ask it; all of them unless given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// The name of the endpoint it goes to; the first unless given.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub endpoint: String,
}

impl Default for Share {
    fn default() -> Self {
        Self {
            name: String::new(),
            weight: 1.0,
            dialect: Dialect::OpenAi,
            model: "gpt-4o".into(),
            stream: false,
            include_usage: false,
            prompt_bytes: 200,
            prompt_tokens: None,
            output_tokens: None,
            system: "Answer in plain words.".into(),
            shared_prefix: None,
            shared_prefixes: 1,
            conversations: None,
            turns: None,
            think: None,
            tools: 0,
            tool_use: 0.0,
            tenants: Vec::new(),
            endpoint: String::new(),
        }
    }
}
