//! What can go wrong on purpose.
//!
//! A fault comes from a [`FaultRule`](super::FaultRule) of the server's [`Behaviour`](super::Behaviour), or from the request
//! itself: a `user` field or a last user message that starts with `sim:` carries directives such as
//! `sim:fault=429/2;tokens=40;latency=5ms`, so that a test which sees nothing but a gateway's public port can still choose what
//! its provider does.

use std::time::Duration;

/// One way in which a provider fails its client.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Answers with this status; without a body, with the one the provider sends for it.
    Status {
        /// The HTTP status.
        code: u16,
        /// Sent where the provider tells it: in `retry-after` and its kin, or in the body.
        retry_after: Option<Duration>,
        /// The exact body to send.
        body: Option<String>,
    },
    /// Answers with this status and more fields in its head.
    Reply {
        /// The HTTP status.
        code: u16,
        /// As for [`Fault::Status`].
        retry_after: Option<Duration>,
        /// Names in lower case with their values; a `content-type` replaces that of JSON.
        fields: Vec<(String, String)>,
        /// The exact body to send.
        body: Option<String>,
    },
    /// Answers with the status and body by which the provider says that the account has no money left.
    Quota,
    /// Sends the head and so many events (of a unary answer: nothing at all), then nothing more until the client leaves.
    Stall {
        /// Events sent first.
        after_events: u32,
    },
    /// Sends so many events and half of the next one, then closes without an end (of a unary answer: half its body).
    CutMidEvent {
        /// Whole events sent first.
        after_events: u32,
    },
    /// Sends so many events, then the first one after them whose text has a character of several bytes up to the middle of that character,
    /// then closes. Where there is none, half of the next event and half a character. Of a unary answer: its body up to such a place.
    CutInsideUtf8 {
        /// Whole events sent first.
        after_events: u32,
    },
    /// Sends so many events, then bytes that are no event, then closes; instead of a unary answer, something that is not HTTP.
    GarbageInStream {
        /// Whole events sent first.
        after_events: u32,
    },
    /// Resets the connection (RST) after so many bytes of the answer, head included.
    Reset {
        /// Bytes sent first.
        after_bytes: u64,
    },
    /// Sends so many events, then an error event, then closes; a unary answer becomes a 500.
    ErrorInStream {
        /// Whole events sent first.
        after_events: u32,
    },
    /// The same with an error of this type, such as `overloaded_error`, in place of the provider's usual one.
    ErrorOfKind {
        /// Whole events sent first.
        after_events: u32,
        /// The error's type: letters, digits, `_`, `-` and `.`.
        kind: String,
    },
    /// Waits before the first byte, then answers as usual.
    SlowFirstByte {
        /// The wait.
        delay: Duration,
    },
    /// Sends the head as usual, then waits, then goes on as usual.
    SlowFirstToken {
        /// The wait.
        delay: Duration,
    },
    /// Sends the whole answer in small pieces with a pause after each.
    Drip {
        /// Bytes of a piece.
        bytes: u32,
        /// The pause.
        every: Duration,
    },
    /// Sends something that is not HTTP, then closes.
    GarbageHead,
    /// Closes without a single byte.
    CloseBeforeResponse,
    /// Resets a reused connection as its next request arrives, unprocessed, as a provider does whose idle limit just ran out.
    /// The first request of a connection is served.
    StaleKeepAlive,
}

impl Fault {
    /// A bare status with the provider's body for it.
    pub fn status(code: u16) -> Self {
        Self::Status { code, retry_after: None, body: None }
    }

    /// The 429 that no waiting cures: the account has no money left.
    pub fn insufficient_quota() -> Self {
        Self::Quota
    }

    /// Reads a short name: `429`, `429/2` (retry after two seconds), `429-quota`, `stall`, `stall@3`, `cut@3`, `cut-utf8@3`, `reset@200`,
    /// `error@2`, `error@2:overloaded_error`, `slow@500ms`, `slow-token@2s`, `drip@10/5ms`, `garbage`, `garbage@2`, `close` or `stale`.
    ///
    /// # Errors
    /// Returns a sentence that names what was not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, argument) = text.split_once('@').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let number =
            |digits: &str| digits.parse::<u32>().map_err(|_| format!("{digits:?} is not a count in fault {text:?}"));
        let count = || argument.map_or(Ok(0), number);
        match name {
            "429-quota" => Ok(Self::insufficient_quota()),
            "stall" => Ok(Self::Stall { after_events: count()? }),
            "cut" => Ok(Self::CutMidEvent { after_events: count()? }),
            "cut-utf8" => Ok(Self::CutInsideUtf8 { after_events: count()? }),
            "reset" => Ok(Self::Reset { after_bytes: count()?.into() }),
            "error" => match argument.and_then(|rest| rest.split_once(':')) {
                Some((events, kind)) => Self::error_of_kind(number(events)?, kind),
                None => Ok(Self::ErrorInStream { after_events: count()? }),
            },
            "slow" => Ok(Self::SlowFirstByte { delay: duration(argument.unwrap_or("1s"))? }),
            "slow-token" => Ok(Self::SlowFirstToken { delay: duration(argument.unwrap_or("1s"))? }),
            "drip" => {
                let (bytes, every) = argument.and_then(|rest| rest.split_once('/')).unwrap_or(("1", "10ms"));
                Ok(Self::Drip { bytes: number(bytes)?.max(1), every: duration(every)? })
            }
            "garbage" if argument.is_some() => Ok(Self::GarbageInStream { after_events: count()? }),
            "garbage" => Ok(Self::GarbageHead),
            "close" => Ok(Self::CloseBeforeResponse),
            "stale" => Ok(Self::StaleKeepAlive),
            status => Self::parse_status(status).ok_or_else(|| format!("unknown fault {text:?}")),
        }
    }

    /// [`Fault::ErrorOfKind`], if the type is one.
    ///
    /// # Errors
    /// Returns a sentence that names the type.
    pub fn error_of_kind(after_events: u32, kind: &str) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if kind.is_empty() || kind.len() > 64 || !kind.bytes().all(fits) {
            return Err(format!("{kind:?} is not the type of an error; write one such as overloaded_error"));
        }
        Ok(Self::ErrorOfKind { after_events, kind: kind.to_owned() })
    }

    fn parse_status(text: &str) -> Option<Self> {
        let (code, wait) = text.split_once('/').map_or((text, None), |(code, wait)| (code, Some(wait)));
        let code = code.parse().ok().filter(|code| (400..600).contains(code))?;
        let retry_after = match wait {
            None => None,
            Some(seconds) => Some(Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?),
        };
        Some(Self::Status { code, retry_after, body: None })
    }

    /// The short name used in directives and in the truth log.
    pub fn name(&self) -> String {
        match self {
            Self::Status { code, .. } | Self::Reply { code, .. } => code.to_string(),
            Self::Quota => "429-quota".into(),
            Self::Stall { after_events } => format!("stall@{after_events}"),
            Self::CutMidEvent { after_events } => format!("cut@{after_events}"),
            Self::CutInsideUtf8 { after_events } => format!("cut-utf8@{after_events}"),
            Self::Reset { after_bytes } => format!("reset@{after_bytes}"),
            Self::ErrorInStream { after_events } => format!("error@{after_events}"),
            Self::ErrorOfKind { after_events, kind } => format!("error@{after_events}:{kind}"),
            Self::SlowFirstByte { delay } => format!("slow@{}ms", delay.as_millis()),
            Self::SlowFirstToken { delay } => format!("slow-token@{}ms", delay.as_millis()),
            Self::Drip { bytes, every } => format!("drip@{bytes}/{}us", every.as_micros()),
            Self::GarbageInStream { after_events } => format!("garbage@{after_events}"),
            Self::GarbageHead => "garbage".into(),
            Self::CloseBeforeResponse => "close".into(),
            Self::StaleKeepAlive => "stale".into(),
        }
    }

    /// Whether it shapes an answer instead of replacing it.
    pub(super) fn shapes(&self) -> bool {
        let slows = matches!(self, Self::SlowFirstByte { .. } | Self::SlowFirstToken { .. } | Self::Drip { .. });
        slows || matches!(self, Self::Reset { .. }) || self.stops_after().is_some()
    }

    /// Whole events that leave before the fault.
    pub(super) fn stops_after(&self) -> Option<u32> {
        match self {
            Self::Stall { after_events }
            | Self::CutMidEvent { after_events }
            | Self::CutInsideUtf8 { after_events }
            | Self::GarbageInStream { after_events }
            | Self::ErrorOfKind { after_events, .. }
            | Self::ErrorInStream { after_events } => Some(*after_events),
            _ => None,
        }
    }
}

/// What a request asks of the simulator about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directives {
    /// `fault=…`, see [`Fault::parse`].
    pub fault: Option<Fault>,
    /// `tokens=N`: words of the answer.
    pub tokens: Option<u32>,
    /// `latency=5ms`.
    pub latency: Option<Duration>,
    /// `gap=2ms`: wait between events.
    pub gap: Option<Duration>,
    /// `split=N`: bytes of one write at most.
    pub write_bytes: Option<usize>,
    /// `cached=N`: prompt tokens reported as read from the cache.
    pub cached: u32,
    /// `written=N`: prompt tokens reported as written to the cache, where the provider reports such.
    pub written: u32,
    /// `reasoning=N`: completion tokens reported as thought, on top of the words.
    pub reasoning: u32,
    /// `preface=N`: words before the calls of tools, on every surface but chat completions.
    pub preface: u32,
    /// `block=1`: the provider's own filter refuses, on every surface but OpenAI's own chat completions.
    pub block: bool,
    /// `id=N`: the request's own number; its stamps are kept, see [`Simulator::stamps`](super::Simulator::stamps).
    pub id: Option<u64>,
}

impl Directives {
    /// The directives of the first text that has any.
    ///
    /// # Errors
    /// As for [`Directives::parse`].
    pub(super) fn first_of(texts: &[&str]) -> Result<Self, String> {
        let mut found = texts.iter().filter_map(|text| Self::parse(text).transpose());
        found.next().unwrap_or_else(|| Ok(Self::default()))
    }

    /// Reads directives if the text starts with `sim:`; they end at the first white space.
    ///
    /// # Errors
    /// Returns a sentence that names what was not understood.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let Some(rest) = text.strip_prefix("sim:") else { return Ok(None) };
        let mut found = Self::default();
        for pair in rest.split_whitespace().next().unwrap_or_default().split(';').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| format!("directive {pair:?} has no value"))?;
            let number = || value.parse::<u32>().map_err(|_| format!("directive {pair:?} needs a number"));
            match name {
                "fault" => found.fault = Some(Fault::parse(value)?),
                "id" => found.id = Some(value.parse().map_err(|_| format!("directive {pair:?} needs a number"))?),
                "tokens" => found.tokens = Some(number()?.min(TOKENS_MAX)),
                "latency" => found.latency = Some(duration(value)?),
                "gap" => found.gap = Some(duration(value)?),
                "split" => found.write_bytes = Some(number()?.max(1) as usize),
                "cached" => found.cached = number()?,
                "written" => found.written = number()?,
                "preface" => found.preface = number()?.min(TOKENS_MAX),
                "block" => found.block = number()? != 0,
                "reasoning" => found.reasoning = number()?.min(TOKENS_MAX),
                _ => return Err(format!("unknown directive {name:?}")),
            }
        }
        Ok(Some(found))
    }
}

/// Words of an answer at most.
pub const TOKENS_MAX: u32 = 1_000_000;

/// Reads `250us`, `5ms`, `1.5s` or `2m`.
///
/// # Errors
/// Returns a sentence that names the text.
pub fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(format!("{text:?} is not a duration such as 5ms or 2s")),
    };
    let seconds = number.parse::<f64>().map_err(|_| format!("{text:?} is not a duration such as 5ms or 2s"))? * scale;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("{text:?} is not a possible duration"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read_and_misspelt_ones_refused() {
        let found = Directives::parse("sim:fault=429/2;tokens=40;latency=5ms;split=3 hello").expect("known words");
        let found = found.expect("starts with sim:");
        let fault = Fault::Status { code: 429, retry_after: Some(Duration::from_secs(2)), body: None };
        assert_eq!(found.fault, Some(fault));
        assert_eq!(
            (found.tokens, found.latency, found.write_bytes),
            (Some(40), Some(Duration::from_millis(5)), Some(3))
        );
        assert_eq!(Directives::parse("simple words"), Ok(None));
        for wrong in ["sim:fault=428x", "sim:foo=1", "sim:tokens=many", "sim:gap=5", "sim:fault=200", "sim:tokens"] {
            assert!(Directives::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn fault_names_read_back() {
        for name in [
            "503",
            "429-quota",
            "stall@3",
            "cut@1",
            "cut-utf8@2",
            "reset@200",
            "error@2",
            "error@2:api_error",
            "slow@500ms",
            "slow-token@20ms",
            "drip@10/5000us",
            "garbage",
            "garbage@0",
            "close",
            "stale",
        ] {
            assert_eq!(Fault::parse(name).expect(name).name(), name);
        }
    }
}
