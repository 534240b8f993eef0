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
use super::reply::{FieldValue, field};
use crate::dialects::Wire;
use crate::domain::clock::UnixMillis;
use crate::rt;
use std::time::Duration;

/// The nouns of the two rates, in the order of [`Grant::figures`].
const NOUNS: [&str; 2] = ["requests", "tokens"];
/// The three fields of one rate.
const PARTS: [&str; 3] = ["limit", "remaining", "reset"];

/// Writes what is left.
pub fn write(out: &mut Vec<u8>, grant: &Grant, face: Wire) {
    let now = rt::coarse_now();
    for (noun, figure) in NOUNS.iter().zip(grant.figures(now)) {
        let Some(Figure { limit, remaining, full_in }) = figure else { continue };
        let [at_limit, at_remaining, at_reset] = PARTS.map(|part| Name { face, noun, part });
        line(out, &at_limit, limit);
        line(out, &at_remaining, remaining);
        match face {
            Wire::Messages => line(out, &at_reset, Instant3339(later(full_in))),
            _ => line(out, &at_reset, Go(full_in)),
        }
    }
    if grant.is_over_soft(now) {
        field(out, "x-igris-budget", b"exceeded");
    }
}

/// Writes the lines of a provider but for those that [`write()`] has written.
pub fn keep_others(out: &mut Vec<u8>, kept: &[u8], grant: &Grant, face: Wire) {
    let limited = grant.has_rates();
    if limited == [false; NOUNS.len()] {
        return out.extend_from_slice(kept);
    }
    // Lines are ours: lower case, one field each, each with its end.
    for line in kept.split_inclusive(|byte| *byte == b'\n') {
        let mut nouns = NOUNS.iter().zip(limited).filter(|(_, is_limited)| *is_limited);
        let is_ours = nouns.any(|(noun, _)| PARTS.iter().any(|part| Name { face, noun, part }.begins(line)));
        if !is_ours {
            out.extend_from_slice(line);
        }
    }
}

fn line(out: &mut Vec<u8>, name: &Name<'_>, value: impl FieldValue) {
    for piece in name.pieces() {
        out.extend_from_slice(piece.as_bytes());
    }
    out.extend_from_slice(b": ");
    value.append(out);
    out.extend_from_slice(b"\r\n");
}

/// The second in which the time is over.
fn later(wait: Duration) -> UnixMillis {
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    UnixMillis(rt::wall(rt::coarse_now()).0.saturating_add(millis).div_ceil(1_000).saturating_mul(1_000))
}

/// A field's name.
struct Name<'a> {
    face: Wire,
    noun: &'a str,
    part: &'a str,
}

impl<'a> Name<'a> {
    /// What it is written of.
    fn pieces(&self) -> [&'a str; 4] {
        let Self { face, noun, part } = *self;
        match face {
            Wire::Messages => ["anthropic-ratelimit-", noun, "-", part],
            _ => ["x-ratelimit-", part, "-", noun],
        }
    }

    /// Whether a line is a field of this name.
    fn begins(&self, line: &[u8]) -> bool {
        let behind = self.pieces().iter().try_fold(line, |line, piece| line.strip_prefix(piece.as_bytes()));
        behind.is_some_and(|behind| behind.first() == Some(&b':'))
    }
}

/// An instant as Anthropic writes it.
struct Instant3339(UnixMillis);

impl FieldValue for Instant3339 {
    fn append(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.to_rfc3339().as_bytes());
    }
}

/// A duration as OpenAI writes them: `120ms`, `1s`, `59.7s`, `6m0s`; rounded up to a millisecond.
struct Go(Duration);

impl FieldValue for Go {
    fn append(&self, out: &mut Vec<u8>) {
        let millis = u64::try_from(self.0.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        let (minutes, seconds, rest) = (millis / 60_000, millis / 1_000 % 60, millis % 1_000);
        match (minutes, seconds, rest) {
            (0, 0, _) => {
                rest.append(out);
                out.push(b'm');
            }
            (0, _, 0) => seconds.append(out),
            (0, _, _) => {
                seconds.append(out);
                out.push(b'.');
                let digits = [rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8);
                let shown = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
                out.extend_from_slice(&digits[..shown]);
            }
            _ => {
                minutes.append(out);
                out.push(b'm');
                seconds.append(out);
            }
        }
        out.push(b's');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &impl FieldValue) -> String {
        let mut out = Vec::new();
        value.append(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn durations_are_written_as_openai_writes_them() {
        for (millis, text) in
            [(0, "0ms"), (120, "120ms"), (1_000, "1s"), (8_640, "8.64s"), (59_007, "59.007s"), (360_000, "6m0s")]
        {
            assert_eq!(written(&Go(Duration::from_millis(millis))), text);
        }
        assert_eq!(written(&Go(Duration::from_nanos(1))), "1ms", "never too early");
    }

    #[test]
    fn names_are_those_of_the_dialect() {
        let name = |face| Name { face, noun: "tokens", part: "remaining" }.pieces().concat();
        assert_eq!(name(Wire::Chat), "x-ratelimit-remaining-tokens");
        assert_eq!(name(Wire::Gemini), "x-ratelimit-remaining-tokens");
        assert_eq!(name(Wire::Messages), "anthropic-ratelimit-tokens-remaining");
        let ours = Name { face: Wire::Chat, noun: "tokens", part: "limit" };
        assert!(ours.begins(b"x-ratelimit-limit-tokens: 7\r\n"));
        for other in [&b"x-ratelimit-limit-tokens-day: 7\r\n"[..], b"x-ratelimit-limit-requests: 7\r\n", b"x", b""] {
            assert!(!ours.begins(other));
        }
    }
}
