//! The header fields that say what is left of an access key's limits, in the words that its client's SDK reads.
//!
//! ```text
//!   OpenAI     x-ratelimit-limit-requests: 600   x-ratelimit-remaining-requests: 599   x-ratelimit-reset-requests: 100ms
//!   Anthropic  anthropic-ratelimit-requests-limit: 600   …-remaining: 599   …-reset: 2026-11-26T10:31:51Z
//!   all        x-igris-budget: exceeded          a soft budget is spent
//! ```
//!
//! They replace a provider's fields of the same name: what binds this client is its own limit, not the one that the gateway shares. Fields of
//! a provider about what the key has no limit of pass. (OpenAI: <https://platform.openai.com/docs/guides/rate-limits>; Anthropic:
//! <https://docs.anthropic.com/en/api/rate-limits>; both read 2026-11-26.)

use super::allowance::{Figure, Grant};
use super::reply::field;
use crate::dialects::Wire;
use crate::domain::clock::UnixMillis;
use std::fmt;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// The nouns of the two rates, in the order of [`Grant::figures`].
const NOUNS: [&str; 2] = ["requests", "tokens"];
/// The three fields of one rate.
const PARTS: [&str; 3] = ["limit", "remaining", "reset"];

/// Writes what is left.
pub fn write(out: &mut Vec<u8>, grant: &Grant, face: Wire) {
    let now = Instant::now();
    for (noun, figure) in NOUNS.iter().zip(grant.figures(now)) {
        let Some(Figure { limit, remaining, full_in }) = figure else { continue };
        let [at_limit, at_remaining, at_reset] = PARTS.map(|part| Name { face, noun, part });
        line(out, &at_limit, limit);
        line(out, &at_remaining, remaining);
        match face {
            Wire::Messages => line(out, &at_reset, later(full_in).to_rfc3339()),
            _ => line(out, &at_reset, Go(full_in)),
        }
    }
    if grant.is_over_soft(now) {
        field(out, "x-igris-budget", b"exceeded");
    }
}

/// Writes the lines of a provider but for those that [`write()`] has written.
pub fn keep_others(out: &mut Vec<u8>, kept: &[u8], grant: &Grant, face: Wire) {
    let limited = NOUNS.iter().zip(grant.has_rates()).filter(|(_, is_limited)| *is_limited && !kept.is_empty());
    let ours: Vec<String> =
        limited.flat_map(|(noun, _)| PARTS.map(|part| format!("{}:", Name { face, noun, part }))).collect();
    // Lines are ours: lower case, one field each, each with its end.
    if ours.is_empty() {
        return out.extend_from_slice(kept);
    }
    for line in kept.split_inclusive(|byte| *byte == b'\n') {
        if !ours.iter().any(|name| line.starts_with(name.as_bytes())) {
            out.extend_from_slice(line);
        }
    }
}

fn line(out: &mut Vec<u8>, name: &Name<'_>, value: impl fmt::Display) {
    // Writing to a Vec does not fail.
    let _ = write!(out, "{name}: {value}\r\n");
}

/// The second in which the time is over.
fn later(wait: Duration) -> UnixMillis {
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    UnixMillis(UnixMillis::now().0.saturating_add(millis).div_ceil(1_000).saturating_mul(1_000))
}

/// A field's name.
struct Name<'a> {
    face: Wire,
    noun: &'a str,
    part: &'a str,
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { face, noun, part } = self;
        match face {
            Wire::Messages => write!(f, "anthropic-ratelimit-{noun}-{part}"),
            _ => write!(f, "x-ratelimit-{part}-{noun}"),
        }
    }
}

/// A duration as OpenAI writes them: `120ms`, `1s`, `59.7s`, `6m0s`; rounded up to a millisecond.
struct Go(Duration);

impl fmt::Display for Go {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_nanos().div_ceil(1_000_000);
        let (minutes, seconds, rest) = (millis / 60_000, millis / 1_000 % 60, millis % 1_000);
        match (minutes, seconds, rest) {
            (0, 0, _) => write!(f, "{rest}ms"),
            (0, _, 0) => write!(f, "{seconds}s"),
            (0, _, _) => write!(f, "{seconds}.{}s", format!("{rest:03}").trim_end_matches('0')),
            _ => write!(f, "{minutes}m{seconds}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_openai_writes_them() {
        for (millis, text) in
            [(0, "0ms"), (120, "120ms"), (1_000, "1s"), (8_640, "8.64s"), (59_007, "59.007s"), (360_000, "6m0s")]
        {
            assert_eq!(Go(Duration::from_millis(millis)).to_string(), text);
        }
        assert_eq!(Go(Duration::from_nanos(1)).to_string(), "1ms", "never too early");
    }

    #[test]
    fn names_are_those_of_the_dialect() {
        let name = |face| Name { face, noun: "tokens", part: "remaining" }.to_string();
        assert_eq!(name(Wire::Chat), "x-ratelimit-remaining-tokens");
        assert_eq!(name(Wire::Gemini), "x-ratelimit-remaining-tokens");
        assert_eq!(name(Wire::Messages), "anthropic-ratelimit-tokens-remaining");
    }
}
