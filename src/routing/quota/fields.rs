//! Rate-limit fields of every provider, read into allowances.
//!
//! All vendors say the same three things (limit, what remains, when it resets) of a few resources, each in names of its own. A name is cut
//! into words; one of them is the statement, the others name resource and window, so that `x-ratelimit-remaining-req-minute`,
//! `anthropic-ratelimit-input-tokens-reset` and `ratelimit-limit` need no table of vendors. A name with a word that nobody here knows is
//! about something else (images, a project) and is left alone, as is a value that is no plain number. Total: no bytes break it.

use super::memory::Memory;
use super::{Allowance, Kind, Refill, Window};
use crate::chat::retry_hint;
use crate::domain::clock::UnixMillis;
use crate::limits;
use std::time::Duration;

/// What one answer says of its lane's limits; empty where it says nothing.
#[derive(Clone, Debug, Default)]
pub struct Allowances {
    /// Those of this answer, and blank ones of answers before.
    told: Vec<Allowance>,
    memory: Option<Box<Memory>>,
}

/// What a field states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement {
    /// All of it.
    Limit,
    /// What is left.
    Remaining,
    /// When it is whole again.
    Reset,
}

/// What one field came to.
#[derive(Clone, Copy, Debug)]
pub enum Stated {
    /// Nothing that is read here.
    Nothing,
    /// A figure of the allowance at this place.
    Figure {
        /// Which allowance.
        place: u8,
        /// What of it.
        what: Statement,
        /// The count, or the wait in microseconds.
        figure: u64,
    },
    /// To be read each time: it may be several figures, none, or a point in time.
    Unsteady,
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
    #[inline]
    pub fn read(&mut self, name: &str, value: &[u8], now: UnixMillis) {
        match self.memory.as_mut().and_then(|memory| memory.again(name, value)) {
            Some(Stated::Figure { place, what, figure }) => self.state(place, what, figure),
            Some(Stated::Nothing) => {}
            Some(Stated::Unsteady) => {
                self.read_anew(name, value, now);
            }
            None => self.read_changed(name, value, now),
        }
    }

    /// A figure of an allowance that is known.
    #[inline]
    fn state(&mut self, place: u8, what: Statement, figure: u64) {
        let Some(allowance) = self.told.get_mut(usize::from(place)) else { return };
        match what {
            Statement::Limit => allowance.limit = Some(figure),
            Statement::Remaining => allowance.remaining = Some(figure),
            Statement::Reset => allowance.resets_in = Some(Duration::from_micros(figure)),
        }
    }

    /// A field that says something else than in the answer before. What remains is what changes: of that only the number is read.
    #[inline(never)]
    fn read_changed(&mut self, name: &str, value: &[u8], now: UnixMillis) {
        let memory = self.memory.get_or_insert_default();
        if let Some(Stated::Figure { place, what: what @ (Statement::Limit | Statement::Remaining), .. }) =
            memory.is_next(name)
            && let Some(figure) = plain_number(value)
        {
            memory.note(name, value, Stated::Figure { place, what, figure });
            return self.state(place, what, figure);
        }
        let stated = self.read_anew(name, value, now);
        if let Some(memory) = &mut self.memory {
            memory.note(name, value, stated);
        }
    }

    #[cold]
    fn read_anew(&mut self, name: &str, value: &[u8], now: UnixMillis) -> Stated {
        let Ok(value) = std::str::from_utf8(value) else { return Stated::Unsteady };
        if name.len() > NAME_BYTES_MAX {
            return Stated::Unsteady;
        }
        let mut lower = [0; NAME_BYTES_MAX];
        let Some(lower) = lower.get_mut(..name.len()) else { return Stated::Unsteady };
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        match &*lower {
            b"ratelimit" => self.read_items(value, now),
            b"ratelimit-policy" => self.read_policies(value),
            name => return self.read_plain(name, value.trim(), now),
        }
        Stated::Unsteady
    }

    /// Whether there is a memory of fields, of this answer or an earlier one.
    pub fn remembers(&self) -> bool {
        self.memory.is_some()
    }

    /// Forgets what was read; the memory stays.
    pub fn clear(&mut self) {
        for allowance in &mut self.told {
            (allowance.limit, allowance.remaining, allowance.resets_in) = (None, None, None);
        }
        if let Some(memory) = &mut self.memory {
            memory.rewind();
        }
    }

    /// What is known, complete allowances alone: a limit without a word on what remains says nothing of now.
    pub fn told(&self) -> impl Iterator<Item = &Allowance> {
        self.told.iter().filter(|allowance| allowance.remaining.is_some() && allowance.limit != Some(0))
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.told().next().is_none()
    }

    fn read_plain(&mut self, name: &[u8], value: &str, now: UnixMillis) -> Stated {
        let Some((words, usual)) =
            FAMILIES.iter().find_map(|(prefix, kind)| name.strip_prefix(prefix.as_bytes()).map(|words| (words, *kind)))
        else {
            return Stated::Nothing;
        };
        let Some((what, kind, window, named)) = understand(words, usual) else { return Stated::Nothing };
        // Vendors that name the resource and no window refill all the time: OpenAI and its kin, Anthropic.
        let refill = if named && window.is_none() { Refill::Gradual } else { Refill::AtOnce };
        // The old draft puts the window's quota first and its policy after it: `100, 100;w=60`.
        let value = value.split([',', ';']).next().unwrap_or_default().trim();
        let figure = match what {
            Statement::Limit | Statement::Remaining => number(value),
            Statement::Reset => reset(value, now).map(micros),
        };
        let Some(figure) = figure else { return Stated::Unsteady };
        let Some(place) = self.entry(kind, window, refill) else { return Stated::Unsteady };
        let Ok(place) = u8::try_from(place) else { return Stated::Unsteady };
        self.state(place, what, figure);
        if what == Statement::Reset && is_point_in_time(value, now) {
            return Stated::Unsteady;
        }
        Stated::Figure { place, what, figure }
    }

    /// `"name";r=50;t=30`, a list of them: the draft `RateLimit` field. Which resource a policy counts is said nowhere but in its name.
    fn read_items(&mut self, value: &str, now: UnixMillis) {
        for item in value.split(',') {
            let (kind, parameters) = item_of(item);
            let Some(left) = parameter(parameters, "r").and_then(number) else { continue };
            let wait = parameter(parameters, "t").and_then(|text| reset(text, now));
            if let Some(allowance) = self.entry(kind, None, Refill::AtOnce).and_then(|at| self.told.get_mut(at)) {
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
            let place = quota.and_then(|_| self.entry(kind, None, Refill::AtOnce));
            if let Some(allowance) = place.and_then(|at| self.told.get_mut(at)) {
                allowance.limit = quota;
            }
        }
    }

    /// Where an allowance is, made if there is room for it.
    fn entry(&mut self, kind: Kind, window: Option<Window>, refill: Refill) -> Option<usize> {
        let known = self.told.iter().position(|allowance| allowance.kind == kind && allowance.window == window);
        if let Some(place) = known {
            if let Some(blank) = self.told.get_mut(place).filter(|allowance| allowance.is_blank()) {
                blank.refill = refill;
            }
            return known;
        }
        if self.told.len() >= ALLOWANCES_MAX {
            // Those of earlier answers go; nobody may find by its old place what has moved.
            self.told.retain(|allowance| !allowance.is_blank());
            self.memory.iter_mut().for_each(|memory| memory.forget());
        }
        if self.told.len() >= ALLOWANCES_MAX {
            return None;
        }
        self.told.push(Allowance { kind, window, refill, limit: None, remaining: None, resets_in: None });
        Some(self.told.len() - 1)
    }
}

impl PartialEq for Allowances {
    /// Whether both say the same of now.
    fn eq(&self, other: &Self) -> bool {
        self.told().eq(other.told())
    }
}

impl Eq for Allowances {}

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

/// The same of the bytes of a field, if they are digits alone.
fn plain_number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > DIGITS_MAX {
        return None;
    }
    let digit = |sum: u64, byte: &u8| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0'));
    value.iter().try_fold(0, digit)
}

/// Digits of a number that is below [`COUNT_MAX`] in any case.
const DIGITS_MAX: usize = 15;

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

fn micros(wait: Duration) -> u64 {
    u64::try_from(wait.as_micros()).unwrap_or(u64::MAX)
}

/// Whether what a reset's text means depends on when it is read.
fn is_point_in_time(text: &str, now: UnixMillis) -> bool {
    number(text).is_some_and(|stamp| stamp >= SECONDS_SINCE_1970)
        || retry_hint::until_rfc3339(text, now).is_some()
        || passed(text).is_some()
}

/// A readable instant that is not to come.
fn passed(text: &str) -> Option<Duration> {
    retry_hint::until_rfc3339(text, UnixMillis(0)).map(|_| Duration::ZERO)
}

/// Numbers of seconds from here on are points in time: 2001, and 31 years as a wait.
const SECONDS_SINCE_1970: u64 = 1_000_000_000;
/// And from here on they are milliseconds.
const MILLISECONDS_SINCE_1970: u64 = 100_000_000_000;
