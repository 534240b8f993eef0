//! Rate-limit fields of every provider, read into allowances.
//!
//! All vendors say the same three things (limit, what remains, when it resets) of a few resources, each in names of its own. A name is cut
//! into words; one of them is the statement, the others name resource and window, so that `x-ratelimit-remaining-req-minute`,
//! `anthropic-ratelimit-input-tokens-reset` and `ratelimit-limit` need no table of vendors. A name with a word that nobody here knows is
//! about something else (images, a project) and is left alone, as is a value that is no plain number. Total: no bytes break it.

use super::{Allowance, Kind, Refill, Window};
use crate::chat::retry_hint;
use crate::domain::clock::UnixMillis;
use crate::limits;
use std::time::Duration;

/// What one answer says of its lane's limits; empty where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowances {
    told: Vec<Allowance>,
}

/// What a field states.
#[derive(Clone, Copy)]
enum Statement {
    Limit,
    Remaining,
    Reset,
}

/// Prefixes of rate-limit fields with the resource that they mean unless a word says otherwise, the longer of two first.
const FAMILIES: &[(&str, Kind)] = &[
    ("x-ratelimitbysize-", Kind::Tokens),
    ("ratelimitbysize-", Kind::Tokens),
    ("x-tokenlimit-", Kind::Tokens),
    ("x-ratelimit-", Kind::Requests),
    ("anthropic-ratelimit-", Kind::Requests),
    ("ratelimit-", Kind::Requests),
];

/// Vendors put a day's and a minute's allowance of two resources into one head at most; further ones are not read.
const ALLOWANCES_MAX: usize = 8;

impl Allowances {
    /// Reads one field of an answer's head; names compare without case. `now` is what absolute times are measured from.
    pub fn read(&mut self, name: &str, value: &[u8], now: UnixMillis) {
        let Ok(value) = std::str::from_utf8(value) else { return };
        if name.len() > NAME_BYTES_MAX {
            return;
        }
        let mut lower = [0; NAME_BYTES_MAX];
        let Some(lower) = lower.get_mut(..name.len()) else { return };
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        match &*lower {
            b"ratelimit" => self.read_items(value, now),
            b"ratelimit-policy" => self.read_policies(value),
            name => self.read_plain(name, value.trim(), now),
        }
    }

    /// Forgets what was read; the memory stays.
    pub fn clear(&mut self) {
        self.told.clear();
    }

    /// What is known, complete allowances alone: a limit without a word on what remains says nothing of now.
    pub fn told(&self) -> impl Iterator<Item = &Allowance> {
        self.told.iter().filter(|allowance| allowance.remaining.is_some() && allowance.limit != Some(0))
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.told().next().is_none()
    }

    fn read_plain(&mut self, name: &[u8], value: &str, now: UnixMillis) {
        let Some((words, usual)) =
            FAMILIES.iter().find_map(|(prefix, kind)| name.strip_prefix(prefix.as_bytes()).map(|words| (words, *kind)))
        else {
            return;
        };
        let Some((statement, kind, window, named)) = understand(words, usual) else { return };
        // Vendors that name the resource and no window refill all the time: OpenAI and its kin, Anthropic.
        let refill = if named && window.is_none() { Refill::Gradual } else { Refill::AtOnce };
        // The old draft puts the window's quota first and its policy after it: `100, 100;w=60`.
        let value = value.split([',', ';']).next().unwrap_or_default().trim();
        match statement {
            Statement::Limit => {
                if let (Some(limit), Some(allowance)) = (number(value), self.entry(kind, window, refill)) {
                    allowance.limit = Some(limit);
                }
            }
            Statement::Remaining => {
                if let (Some(left), Some(allowance)) = (number(value), self.entry(kind, window, refill)) {
                    allowance.remaining = Some(left);
                }
            }
            Statement::Reset => {
                if let (Some(wait), Some(allowance)) = (reset(value, now), self.entry(kind, window, refill)) {
                    allowance.resets_in = Some(wait);
                }
            }
        }
    }

    /// `"name";r=50;t=30`, a list of them: the draft `RateLimit` field. Which resource a policy counts is said nowhere but in its name.
    fn read_items(&mut self, value: &str, now: UnixMillis) {
        for item in value.split(',') {
            let (kind, parameters) = item_of(item);
            let Some(left) = parameter(parameters, "r").and_then(number) else { continue };
            let wait = parameter(parameters, "t").and_then(|text| reset(text, now));
            if let Some(allowance) = self.entry(kind, None, Refill::AtOnce) {
                allowance.remaining = Some(allowance.remaining.map_or(left, |known| known.min(left)));
                allowance.resets_in = wait.or(allowance.resets_in);
            }
        }
    }

    /// `"name";q=100;w=60`: the draft `RateLimit-Policy` field.
    fn read_policies(&mut self, value: &str) {
        for item in value.split(',') {
            let (kind, parameters) = item_of(item);
            let quota = parameter(parameters, "q").and_then(number);
            if let Some(allowance) = quota.and_then(|_| self.entry(kind, None, Refill::AtOnce)) {
                allowance.limit = quota;
            }
        }
    }

    fn entry(&mut self, kind: Kind, window: Option<Window>, refill: Refill) -> Option<&mut Allowance> {
        let known = self.told.iter().position(|allowance| allowance.kind == kind && allowance.window == window);
        if known.is_none() && self.told.len() < ALLOWANCES_MAX {
            self.told.push(Allowance { kind, window, refill, limit: None, remaining: None, resets_in: None });
        }
        match known {
            Some(place) => self.told.get_mut(place),
            None => self.told.last_mut().filter(|last| last.kind == kind && last.window == window),
        }
    }
}

/// Bytes of the longest name that can be one of these.
const NAME_BYTES_MAX: usize = 64;

/// What the words of a name say, if every one of them is known.
/// The last is whether requests or tokens are named.
fn understand(words: &[u8], usual: Kind) -> Option<(Statement, Kind, Option<Window>, bool)> {
    let (mut statement, mut kind, mut window, mut named) = (None, usual, None, false);
    for word in words.split(|byte| *byte == b'-') {
        named |= matches!(word, b"requests" | b"tokens");
        match word {
            b"limit" => statement = Some(Statement::Limit),
            b"remaining" => statement = Some(Statement::Remaining),
            b"reset" => statement = Some(Statement::Reset),
            b"requests" | b"request" | b"req" => kind = Kind::Requests,
            b"input" | b"prompt" => kind = Kind::InputTokens,
            b"output" | b"generated" => kind = Kind::OutputTokens,
            b"tokens" | b"token" if matches!(kind, Kind::InputTokens | Kind::OutputTokens) => {}
            b"tokens" | b"token" => kind = Kind::Tokens,
            b"second" => window = Some(Window::Second),
            b"minute" => window = Some(Window::Minute),
            b"hour" => window = Some(Window::Hour),
            b"day" => window = Some(Window::Day),
            b"month" => window = Some(Window::Month),
            _ => return None,
        }
    }
    Some((statement?, kind, window, named))
}

/// The resource that a policy's name tells, and its parameters.
fn item_of(item: &str) -> (Kind, &str) {
    let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
    let kind = if name.to_ascii_lowercase().contains("token") { Kind::Tokens } else { Kind::Requests };
    (kind, parameters)
}

fn parameter<'a>(parameters: &'a str, wanted: &str) -> Option<&'a str> {
    let mut pairs = parameters.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| name.trim() == wanted).map(|(_, value)| value.trim())
}

/// A plain number, fractions cut off; no sign, and nothing that a counter cannot mean.
fn number(text: &str) -> Option<u64> {
    let whole = text.split('.').next().unwrap_or_default();
    let plain = !whole.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    whole.parse().ok().filter(|number| plain && *number <= COUNT_MAX)
}

/// Far above any real limit, and a thousand times below where arithmetic could hurt.
const COUNT_MAX: u64 = 1 << 50;

/// The time until a reset: `6m0s`, `7.66s`, `20ms`, seconds, seconds or milliseconds since 1970, or RFC 3339. One that has passed is
/// at once.
fn reset(text: &str, now: UnixMillis) -> Option<Duration> {
    let until = |stamp: Duration| stamp.saturating_sub(Duration::from_millis(now.0));
    let wait = match (number(text), retry_hint::decimal(text, 1_000)) {
        (Some(stamp), _) if stamp >= MILLISECONDS_SINCE_1970 => until(Duration::from_millis(stamp)),
        (Some(stamp), _) if stamp >= SECONDS_SINCE_1970 => until(Duration::from_secs(stamp)),
        (_, Some(wait)) => wait,
        _ => retry_hint::duration(text).or_else(|| retry_hint::until_rfc3339(text, now)).or_else(|| passed(text))?,
    };
    Some(wait.min(limits::QUOTA_RESET_MAX))
}

/// A readable instant that is not to come.
fn passed(text: &str) -> Option<Duration> {
    retry_hint::until_rfc3339(text, UnixMillis(0)).map(|_| Duration::ZERO)
}

/// Numbers of seconds from here on are points in time: 2001, and 31 years as a wait.
const SECONDS_SINCE_1970: u64 = 1_000_000_000;
/// And from here on they are milliseconds.
const MILLISECONDS_SINCE_1970: u64 = 100_000_000_000;
