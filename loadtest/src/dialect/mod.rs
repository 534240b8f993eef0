//! A question in the words of a provider's interface, and what its answer's bytes mean for a clock.
//!
//! Nothing here has a socket or a clock: the engine sends what [`compose`] wrote and stamps what [`Reading::push`] saw.

mod anthropic;
mod bedrock;
mod cohere;
mod frames;
mod gemini;
mod head;
mod notes;
mod openai;
mod reading;
mod responses;
mod template;
mod text;
mod verify;

pub use reading::Reading;
pub use verify::{Expectation, without_metadata};

use crate::simulator::Surface;
use crate::workload::Ask;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The wire format of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// OpenAI Chat Completions: `/v1/chat/completions`.
    #[default]
    #[serde(rename = "openai")]
    OpenAi,
    /// OpenAI Responses: `/v1/responses`.
    Responses,
    /// Anthropic Messages: `/v1/messages`.
    Anthropic,
    /// Gemini generateContent: `/v1beta/models/…:generateContent` and `:streamGenerateContent?alt=sse`.
    Gemini,
    /// Amazon Bedrock Converse: `/model/…/converse` and `/converse-stream`, bearer key.
    Bedrock,
    /// Cohere Chat, version 2: `/v2/chat`.
    Cohere,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::OpenAi, Self::Responses, Self::Anthropic, Self::Gemini, Self::Bedrock, Self::Cohere];

    /// The name in flags, plans and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Responses => "responses",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Bedrock => "bedrock",
            Self::Cohere => "cohere",
        }
    }

    /// A model to ask for where none is named; the simulator has it.
    pub fn default_model(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Responses => "gpt-4o",
            Self::Anthropic => "claude-haiku-4-5",
            Self::Gemini => "gemini-2.5-flash-lite",
            Self::Bedrock => "amazon.nova-pro-v1:0",
            Self::Cohere => "command-a-03-2025",
        }
    }

    /// The surface of the simulator that serves it.
    pub fn surface(self) -> Surface {
        match self {
            Self::OpenAi | Self::Responses => Surface::OpenAi,
            Self::Anthropic => Surface::Anthropic,
            Self::Gemini => Surface::Gemini,
            Self::Bedrock => Surface::Bedrock,
            Self::Cohere => Surface::Cohere,
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no dialect {text:?}; type one of {names}")
        })
    }
}

/// Where a request is addressed to, as its head names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The value of `Host`.
    pub host: String,
    /// What the URL's path was, without a trailing slash: empty, a base such as `/v1`, or a whole path, which is used as it is.
    pub path: String,
}

/// Writes a whole HTTP/1.1 request, head and body, to the end of `out`.
pub fn compose(ask: &Ask, address: &Address, key: &str, out: &mut Vec<u8>) {
    let length_at = head::open(ask, address, key, out);
    match ask.dialect {
        Dialect::OpenAi => openai::write(ask, out),
        Dialect::Responses => responses::write(ask, out),
        Dialect::Anthropic => anthropic::write(ask, out),
        Dialect::Gemini => gemini::write(ask, out),
        Dialect::Bedrock => bedrock::write(ask, out),
        Dialect::Cohere => cohere::write(ask, out),
    }
    head::close(length_at, out);
}

/// What some bytes of an answer's body brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Events of a stream, its terminator included.
    pub events: u32,
    /// Of those, events that brought generated tokens on any channel: text, thought, a tool call's name or input.
    pub generated: u32,
}

/// What a whole answer was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// Input tokens as the answer states them.
    pub input_tokens: Option<u64>,
    /// Output tokens as the answer states them.
    pub output_tokens: Option<u64>,
    /// The text, where it was to be kept.
    pub text: String,
    /// Calls of tools.
    pub tool_calls: u32,
    /// The gateway's own words on price, where they are in the body: US dollars.
    pub cost_usd: Option<f64>,
}

/// Why an answer with status 200 is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A stream without its terminator, or a body that is not whole JSON.
    Truncated,
    /// An error inside a stream.
    StreamError(String),
    /// Not what the dialect says.
    Malformed(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Role, Turn};

    /// A question in one line.
    pub(super) fn ask(dialect: Dialect) -> Ask {
        Ask {
            index: 0,
            endpoint: 0,
            tenant: 0,
            share: 0,
            dialect,
            model: dialect.default_model().into(),
            stream: false,
            include_usage: false,
            system: None,
            turns: vec![Turn { role: Role::User, text: "Hello?".into() }],
            output_tokens: None,
            tools: 0,
            session: None,
        }
    }

    #[test]
    fn names_read_back() {
        for dialect in Dialect::ALL {
            assert_eq!(dialect.to_string().parse(), Ok(dialect));
            assert_eq!(serde_json::to_value(dialect).expect("a name"), dialect.name());
        }
        let reason = "grok".parse::<Dialect>().expect_err("no dialect");
        assert!(reason.contains("openai, responses, anthropic, gemini, bedrock, cohere"), "{reason}");
    }
}
