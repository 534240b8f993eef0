//! What can go wrong on purpose, and when; and the manners of a provider that is well.
//!
//! A fault comes from a [`FaultRule`] of the server's [`Behaviour`], or from the request itself: a `user` field or a last user
//! message that starts with `sim:` carries directives such as `sim:fault=429/2;tokens=40;latency=5ms`, so that a test which
//! sees nothing but a gateway's public port can still choose what its provider does.

use super::quota::Quota;
use super::text::mix;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// Waits before the first byte, then answers as usual.
    SlowFirstByte {
        /// The wait.
        delay: Duration,
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

    /// Reads `429`, `429/2` (retry after two seconds), `429-quota`, `stall`, `stall@3`, `cut@3`, `reset@200`, `error@2`,
    /// `slow@500ms`, `garbage`, `close` or `stale`.
    ///
    /// # Errors
    /// Returns a sentence that names what was not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, argument) = text.split_once('@').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let count = || match argument {
            None => Ok(0),
            Some(digits) => digits.parse::<u32>().map_err(|_| format!("{digits:?} is not a count in fault {text:?}")),
        };
        match name {
            "429-quota" => Ok(Self::insufficient_quota()),
            "stall" => Ok(Self::Stall { after_events: count()? }),
            "cut" => Ok(Self::CutMidEvent { after_events: count()? }),
            "reset" => Ok(Self::Reset { after_bytes: count()?.into() }),
            "error" => Ok(Self::ErrorInStream { after_events: count()? }),
            "slow" => Ok(Self::SlowFirstByte { delay: duration(argument.unwrap_or("1s"))? }),
            "garbage" => Ok(Self::GarbageHead),
            "close" => Ok(Self::CloseBeforeResponse),
            "stale" => Ok(Self::StaleKeepAlive),
            status => Self::parse_status(status).ok_or_else(|| format!("unknown fault {text:?}")),
        }
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
            Self::Status { code, .. } => code.to_string(),
            Self::Quota => "429-quota".into(),
            Self::Stall { after_events } => format!("stall@{after_events}"),
            Self::CutMidEvent { after_events } => format!("cut@{after_events}"),
            Self::Reset { after_bytes } => format!("reset@{after_bytes}"),
            Self::ErrorInStream { after_events } => format!("error@{after_events}"),
            Self::SlowFirstByte { delay } => format!("slow@{}ms", delay.as_millis()),
            Self::GarbageHead => "garbage".into(),
            Self::CloseBeforeResponse => "close".into(),
            Self::StaleKeepAlive => "stale".into(),
        }
    }
}

/// Which of the requests that a rule looks at it strikes; the first is number 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// All of them.
    Always,
    /// Each with this probability, drawn from the server's seed.
    Probability(f64),
    /// Only this one.
    Nth(u64),
    /// So many at the beginning.
    First(u64),
    /// Every so-many-th.
    Every(u64),
}

/// A fault, when it strikes, and whom. Clones share one count of requests.
#[derive(Clone, Debug)]
pub struct FaultRule {
    fault: Fault,
    when: When,
    model: Option<String>,
    key: Option<String>,
    looked_at: Arc<AtomicU64>,
}

impl FaultRule {
    /// A rule that looks at every chat request.
    pub fn new(fault: Fault, when: When) -> Self {
        Self { fault, when, model: None, key: None, looked_at: Arc::default() }
    }

    /// Looks only at requests for this model.
    #[must_use]
    pub fn for_model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Looks only at requests that show this key.
    #[must_use]
    pub fn for_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    fn strikes(&self, seed: u64, key: &str, model: &str) -> bool {
        let elsewhere = |scope: &Option<String>, found: &str| scope.as_deref().is_some_and(|wanted| wanted != found);
        if elsewhere(&self.model, model) || elsewhere(&self.key, key) {
            return false;
        }
        let number = self.looked_at.fetch_add(1, Ordering::Relaxed) + 1;
        match self.when {
            When::Always => true,
            When::Probability(share) => fraction(mix(seed, number)) < share,
            When::Nth(wanted) => number == wanted,
            When::First(count) => number <= count,
            When::Every(step) => step > 0 && number.is_multiple_of(step),
        }
    }
}

/// How long a provider thinks before its first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Latency {
    /// Not at all.
    #[default]
    None,
    /// Always so long.
    Fixed(Duration),
    /// Log-normal with this median; `sigma` 0.5 puts the 99th percentile at 3.2 medians.
    LogNormal {
        /// Half of all waits are shorter.
        median: Duration,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
}

impl From<Duration> for Latency {
    fn from(fixed: Duration) -> Self {
        if fixed.is_zero() { Self::None } else { Self::Fixed(fixed) }
    }
}

impl Latency {
    /// The wait that belongs to a draw.
    pub fn draw(&self, seed: u64) -> Duration {
        match *self {
            Self::None => Duration::ZERO,
            Self::Fixed(wait) => wait,
            Self::LogNormal { median, sigma } => {
                // Box-Muller; the first fraction is kept away from zero for the logarithm.
                let (first, second) = (fraction(mix(seed, 1)).max(1e-12), fraction(mix(seed, 2)));
                let normal = (-2.0 * first.ln()).sqrt() * (std::f64::consts::TAU * second).cos();
                let seconds = (median.as_secs_f64() * (sigma * normal).exp()).min(600.0);
                Duration::try_from_secs_f64(seconds).unwrap_or(median)
            }
        }
    }
}

/// Everything about a simulated provider that may change while it runs.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Wait before the first byte.
    pub latency: Latency,
    /// Wait between two events of a stream; counted on a schedule, so that it does not drift.
    pub event_gap: Duration,
    /// Words of an answer whose request does not say otherwise.
    pub tokens: u32,
    /// Events that leave in one write when there is no gap.
    pub events_per_write: u32,
    /// Bytes of one write at most: cuts events anywhere.
    pub write_bytes: Option<usize>,
    /// How many requests a key may make of a model.
    pub quota: Option<Quota>,
    /// The first rule that strikes wins.
    pub faults: Vec<FaultRule>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            latency: Latency::None,
            event_gap: Duration::ZERO,
            tokens: 16,
            events_per_write: 1,
            write_bytes: None,
            quota: None,
            faults: Vec::new(),
        }
    }
}

impl Behaviour {
    /// The same behaviour with one more fault rule.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault, when: When) -> Self {
        self.faults.push(FaultRule::new(fault, when));
        self
    }

    pub(super) fn strike(&self, seed: u64, key: &str, model: &str) -> Option<Fault> {
        self.faults.iter().find(|rule| rule.strikes(seed, key, model)).map(|rule| rule.fault.clone())
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

/// Maps a digest to [0, 1).
fn fraction(digest: u64) -> f64 {
    (digest >> 11) as f64 / (1_u64 << 53) as f64
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
        for name in
            ["503", "429-quota", "stall@3", "cut@1", "reset@200", "error@2", "slow@500ms", "garbage", "close", "stale"]
        {
            assert_eq!(Fault::parse(name).expect(name).name(), name);
        }
    }

    #[test]
    fn rules_strike_when_they_say() {
        let struck = |when| {
            let rule = FaultRule::new(Fault::GarbageHead, when);
            (1..=1000).filter(|_| rule.strikes(7, "k", "m")).count()
        };
        assert_eq!(struck(When::Always), 1000);
        assert_eq!(struck(When::Nth(3)), 1);
        assert_eq!(struck(When::First(3)), 3);
        assert_eq!(struck(When::Every(10)), 100);
        assert!((200..300).contains(&struck(When::Probability(0.25))), "{}", struck(When::Probability(0.25)));
        let scoped = FaultRule::new(Fault::GarbageHead, When::Nth(1)).for_key("other");
        assert!(!scoped.strikes(7, "k", "m") && scoped.strikes(7, "other", "m"));
    }

    #[test]
    fn log_normal_waits_have_their_median() {
        let latency = Latency::LogNormal { median: Duration::from_millis(10), sigma: 0.5 };
        let mut waits: Vec<_> = (0..2001).map(|seed| latency.draw(mix(3, seed))).collect();
        waits.sort();
        assert!((9..=11).contains(&waits[1000].as_millis()), "{:?}", waits[1000]);
        assert!((25..=42).contains(&waits[1980].as_millis()), "{:?}", waits[1980]);
    }
}
