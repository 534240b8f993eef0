//! Takes secrets out of text that others will see (rule R3): upstream error bodies, header values, reason phrases.
//!
//! A [`Scrubber`] knows the exact secrets of one attempt, with their common encodings, and the shapes that provider keys have.
//! What it finds becomes `[redacted]`; everything else passes byte for byte. It prefers to take too much over too little.
//! It sees one whole buffer at a time: a text that arrives in pieces is gathered (within its limit) before it is scrubbed.

use crate::domain::secret::Secret;
use memchr::memmem;
use std::borrow::Cow;
use std::ops::Range;

/// What stands where a secret was.
pub const REDACTED: &[u8] = b"[redacted]";
/// An exact secret shorter than this is left to the shapes: replacing every `key` or `ollama` would eat the message.
pub const EXACT_BYTES_MIN: usize = 8;

/// The secrets of one attempt, ready to be searched for.
#[derive(Debug, Default)]
pub struct Scrubber {
    needles: Vec<Secret>,
}

/// Scrubs token shapes only, for text that belongs to no attempt.
pub fn scrub(text: &[u8]) -> Cow<'_, [u8]> {
    Scrubber::default().scrub(text)
}

// === impl Scrubber ===

impl Scrubber {
    /// Knows these secrets and their base64, hexadecimal, percent-encoded and JSON-escaped forms. A secret of several parts joined by `:`, as
    /// AWS has them, is also known by its parts: none is ever sent with the others.
    pub fn new(secrets: &[&Secret]) -> Self {
        let mut needles = Vec::new();
        let whole = secrets.iter().map(|secret| secret.expose());
        let parts =
            whole.clone().filter(|secret| secret.contains(&b':')).flat_map(|secret| secret.split(|byte| *byte == b':'));
        for secret in whole.chain(parts).filter(|secret| secret.len() >= EXACT_BYTES_MIN) {
            needles.push(Secret::copy_of(secret));
            needles.extend([base64(secret, b"+/"), base64(secret, b"-_"), hex(secret, false), hex(secret, true)]);
            let escaped = [percent_encoded(secret), json_escaped(secret)];
            needles.extend(escaped.into_iter().filter(|form| form.expose() != secret));
        }
        Self { needles }
    }

    /// The text without its secrets; borrowed, and nothing allocated, when there are none.
    pub fn scrub<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let mut found: Vec<Range<usize>> = Vec::new();
        for needle in &self.needles {
            let needle = needle.expose();
            found.extend(memmem::find_iter(text, needle).map(|start| start..start.saturating_add(needle.len())));
        }
        shapes(text, &mut found);
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        found.sort_unstable_by_key(|range| range.start);
        Cow::Owned(without(text, &found))
    }
}

/// The text with each run of overlapping ranges replaced once. `found` is sorted by start.
fn without(text: &[u8], found: &[Range<usize>]) -> Vec<u8> {
    let mut clean = Vec::with_capacity(text.len());
    let mut end = 0;
    for range in found {
        if range.start >= end {
            clean.extend_from_slice(text.get(end..range.start).unwrap_or_default());
            clean.extend_from_slice(REDACTED);
        }
        end = end.max(range.end);
    }
    clean.extend_from_slice(text.get(end..).unwrap_or_default());
    clean
}

/// Finds what looks like a provider key, a bearer token or a key in a URL.
fn shapes(text: &[u8], found: &mut Vec<Range<usize>>) {
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let inside_word = at > 0 && text.get(at.wrapping_sub(1)).is_some_and(u8::is_ascii_alphanumeric);
        let Some(Range { start, end }) = shape_at(rest, inside_word) else {
            at = at.saturating_add(1);
            continue;
        };
        found.push(at.saturating_add(start)..at.saturating_add(end));
        at = at.saturating_add(end);
    }
}

/// The secret part of a shape that begins here, relative to here; never empty, so that the search moves on.
fn shape_at(rest: &[u8], inside_word: bool) -> Option<Range<usize>> {
    let first = rest.first()?;
    match first {
        b'k' | b'K' => key_parameter(rest),
        _ if inside_word => None,
        b'B' | b'b' => bearer(rest).or_else(|| prefixed(rest)),
        b'e' => json_web_token(rest).or_else(|| prefixed(rest)),
        b's' | b'x' | b'g' | b'A' | b't' | b'y' => prefixed(rest),
        _ => None,
    }
}

/// A known prefix and enough token characters behind it.
fn prefixed(rest: &[u8]) -> Option<Range<usize>> {
    PREFIXES.iter().find_map(|(prefix, more)| {
        let tail = rest.strip_prefix(*prefix)?;
        let run = run_of(tail, is_token_byte);
        (run >= *more).then(|| 0..prefix.len().saturating_add(run))
    })
}

/// `Bearer`, white space (also as `%20`, `+` or an escaped tab), then everything up to white space or a quote.
fn bearer(rest: &[u8]) -> Option<Range<usize>> {
    let word = rest.get(..6)?;
    if !word.eq_ignore_ascii_case(b"bearer") {
        return None;
    }
    let tail = rest.get(6..)?;
    let gap = match tail {
        [b'%', b'2', b'0', ..] => 3,
        [b'+', ..] => 1,
        [b'\\', b't', ..] => 2,
        _ => run_of(tail, |byte| byte.is_ascii_whitespace()),
    };
    let run = run_of(tail.get(gap..)?, |byte| !byte.is_ascii_whitespace() && !matches!(byte, b'"' | b'\''));
    let start = gap.saturating_add(6);
    (gap > 0 && run > 0).then(|| start..start.saturating_add(run))
}

/// `eyJ…`, a dot, more, a dot, and the signature (RFC 7519 §3).
fn json_web_token(rest: &[u8]) -> Option<Range<usize>> {
    let head = run_of(rest.strip_prefix(b"eyJ")?, is_word_byte).saturating_add(3);
    let claims = run_of(rest.get(head..)?.strip_prefix(b".")?, is_word_byte);
    let second_dot = head.saturating_add(1).saturating_add(claims);
    let signature = run_of(rest.get(second_dot..)?.strip_prefix(b".")?, is_word_byte);
    (head > 3 && claims > 0).then(|| 0..second_dot.saturating_add(1).saturating_add(signature))
}

/// `key=` as in `?key=`, `&api_key=`: the value up to the next parameter, white space or quote.
fn key_parameter(rest: &[u8]) -> Option<Range<usize>> {
    let word = rest.get(..4)?;
    if !word.eq_ignore_ascii_case(b"key=") {
        return None;
    }
    let value = run_of(rest.get(4..)?, |byte| {
        !byte.is_ascii_whitespace() && !matches!(byte, b'&' | b'"' | b'\'' | b'<' | b'>' | b'#')
    });
    (value > 0).then(|| 4..value.saturating_add(4))
}

fn run_of(bytes: &[u8], part: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|byte| !part(*byte)).unwrap_or(bytes.len())
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn is_token_byte(byte: u8) -> bool {
    is_word_byte(byte) || matches!(byte, b'+' | b'/' | b'=')
}

/// Base64 without padding, so that it is also found inside a longer run (RFC 4648 §4, §5).
fn base64(bytes: &[u8], last_two: &[u8; 2]) -> Secret {
    let mut text = Vec::with_capacity(bytes.len().saturating_mul(2));
    for group in bytes.chunks(3) {
        let mut three = [0; 3];
        three.iter_mut().zip(group).for_each(|(slot, byte)| *slot = *byte);
        let [a, b, c] = three;
        let sextets = [a >> 2, ((a & 3) << 4) | (b >> 4), ((b & 15) << 2) | (c >> 6), c & 63];
        text.extend(sextets.iter().take(group.len().saturating_add(1)).map(|sextet| match sextet {
            0..=25 => b'A'.saturating_add(*sextet),
            26..=51 => b'a'.saturating_add(sextet.saturating_sub(26)),
            52..=61 => b'0'.saturating_add(sextet.saturating_sub(52)),
            62 => last_two[0],
            _ => last_two[1],
        }));
    }
    // The last character of a partial group depends on what follows the secret, so it is left out of the search.
    if !bytes.len().is_multiple_of(3) {
        text.pop();
    }
    Secret::take(text)
}

fn hex(bytes: &[u8], upper: bool) -> Secret {
    let mut text = Vec::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            let digit =
                if nibble < 10 { b'0'.saturating_add(nibble) } else { b'a'.saturating_add(nibble.saturating_sub(10)) };
            text.push(if upper { digit.to_ascii_uppercase() } else { digit });
        }
    }
    Secret::take(text)
}

/// RFC 3986 §2.1, everything but the unreserved characters.
fn percent_encoded(bytes: &[u8]) -> Secret {
    let mut text = Vec::with_capacity(bytes.len().saturating_mul(3));
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            text.push(*byte);
        } else {
            text.push(b'%');
            text.extend_from_slice(hex(&[*byte], true).expose());
        }
    }
    Secret::take(text)
}

/// With `/`, `"` and `\` escaped, as cautious JSON writers do (RFC 8259 §7).
fn json_escaped(bytes: &[u8]) -> Secret {
    let mut text = Vec::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        if matches!(byte, b'/' | b'"' | b'\\') {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    Secret::take(text)
}

/// Prefixes of provider keys and how many characters must follow before it counts as one (provider pages, 2026-11).
const PREFIXES: [(&[u8], usize); 10] = [
    (b"sk-", 8),
    (b"xai-", 8),
    (b"gsk_", 8),
    (b"AIza", 20),
    (b"AKIA", 12),
    (b"ASIA", 12),
    (b"ABSK", 16),
    (b"tgp_v1_", 8),
    (b"ya29.", 8),
    (b"ek_", 16),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> String {
        String::from_utf8(scrub(text.as_bytes()).into_owned()).expect("text stays text")
    }

    #[test]
    fn token_shapes_are_redacted() {
        for (text, clean) in [
            (
                "Incorrect API key provided: sk-proj-abcdEFGH1234. See docs",
                "Incorrect API key provided: [redacted]. See docs",
            ),
            ("sk-ant-api03-aaaaaaaa", "[redacted]"),
            ("{\"key\":\"AIzaSyA1234567890abcdefghijklmnopqrstu\"}", "{\"key\":\"[redacted]\"}"),
            ("xai-0123456789 gsk_0123456789", "[redacted] [redacted]"),
            ("AKIAIOSFODNN7EXAMPLE and ASIAIOSFODNN7EXAMPLE", "[redacted] and [redacted]"),
            ("eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJl!", "[redacted]!"),
            ("Authorization: bearer  abc.def", "Authorization: bearer  [redacted]"),
            ("GET /v1?key=abc123&alt=sse", "GET /v1?key=[redacted]&alt=sse"),
            ("?API_KEY=abc123 ", "?API_KEY=[redacted] "),
            ("Bearer sk-abcdefghijkl\"", "Bearer [redacted]\""),
        ] {
            assert_eq!(shown(text), clean);
        }
    }

    #[test]
    fn plain_text_is_lent_back() {
        for text in [
            "",
            "a task-management risk-assessment",
            "sk-short",
            "bearer",
            "Bearer ",
            "key=",
            "keyword",
            "eyJ",
            "eyJa.b",
            "AIza",
        ] {
            assert!(matches!(scrub(text.as_bytes()), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn an_exact_secret_is_found_in_its_encodings() {
        let secret = Secret::copy_of(b"p4ss/w0rd+marker\"x");
        let scrubber = Scrubber::new(&[&secret]);
        for form in [
            "p4ss/w0rd+marker\"x",
            "cDRzcy93MHJkK21hcmtlciJ4",
            "703473732f773072642b6d61726b65722278",
            "703473732F773072642B6D61726B65722278",
            "p4ss%2Fw0rd%2Bmarker%22x",
            "p4ss\\/w0rd+marker\\\"x",
        ] {
            let text = format!("before {form} after");
            assert_eq!(scrubber.scrub(text.as_bytes()), &b"before [redacted] after"[..], "{form}");
        }
        assert!(!format!("{scrubber:?}").contains("marker"));
    }

    #[test]
    fn a_short_secret_does_not_eat_the_message() {
        let pair = Scrubber::new(&[&Secret::copy_of(b"AKIA1:marker-secret:marker-token")]);
        assert_eq!(pair.scrub(b"x-amz-security-token:marker-token"), &b"x-amz-security-token:[redacted]"[..]);
        assert_eq!(pair.scrub(b"marker-secret"), &b"[redacted]"[..]);
        let scrubber = Scrubber::new(&[&Secret::copy_of(b"ollama")]);
        assert!(matches!(scrubber.scrub(b"ollama is not running"), Cow::Borrowed(_)));
    }

    #[test]
    fn overlapping_finds_become_one() {
        let scrubber = Scrubber::new(&[&Secret::copy_of(b"sk-abcdefgh"), &Secret::copy_of(b"abcdefghijkl")]);
        assert_eq!(scrubber.scrub(b"<sk-abcdefghijkl>"), &b"<[redacted]>"[..]);
    }

    proptest! {
        #[test]
        fn a_planted_secret_never_survives(before in ".{0,40}", after in ".{0,40}", secret in "[!-~]{8,60}") {
            let scrubber = Scrubber::new(&[&Secret::copy_of(secret.as_bytes())]);
            let text = format!("{before}{secret}{after}");
            let clean = scrubber.scrub(text.as_bytes());
            // The mark itself could complete a short secret made of its letters; those are not keys.
            prop_assume!(!"[redacted][redacted]".contains(&secret));
            prop_assert!(memmem::find(&clean, secret.as_bytes()).is_none());
        }

        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let once = scrub(&bytes).into_owned();
            prop_assert!(bytes.is_empty() || !once.is_empty());
        }
    }
}
