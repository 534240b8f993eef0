//! The header fields that the gateway reads, drops or rewrites, recognised once while parsing.
//!
//! A name is looked up by its length and its first and last byte in a table that the compiler builds, and compared eight bytes at a time;
//! everything else is [`KnownField::Other`] and is compared by nobody again.

use crate::http::syntax::lower;

macro_rules! known_fields {
    ($($variant:ident = $text:literal,)*) => {
        /// A header field by meaning. Names compare without case (RFC 9110 §5.1).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum KnownField {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// Any `x-igris-…`: ours, in both directions.
            Igris,
            /// Any `proxy-…`: hop-by-hop (rule H10).
            Proxy,
            /// Any `x-ratelimit…`, `x-tokenlimit-…`, `anthropic-ratelimit-…` or `ratelimit…`: kept on the way to the client.
            RateLimit,
            /// Any `x-forwarded-…`: not believed from clients (rule H11).
            XForwarded,
            /// A field that nobody here reads.
            Other,
        }

        const EXACT: &[(&str, KnownField)] = &[$(($text, KnownField::$variant),)*];
    };
}

known_fields! {
    Accept = "accept",
    AcceptEncoding = "accept-encoding",
    AnthropicBeta = "anthropic-beta",
    AnthropicVersion = "anthropic-version",
    ApiKey = "api-key",
    Authorization = "authorization",
    CacheControl = "cache-control",
    Connection = "connection",
    ContentDisposition = "content-disposition",
    ContentEncoding = "content-encoding",
    ContentLength = "content-length",
    ContentType = "content-type",
    Cookie = "cookie",
    Date = "date",
    Expect = "expect",
    Forwarded = "forwarded",
    Host = "host",
    Http2Settings = "http2-settings",
    IdempotencyKey = "idempotency-key",
    KeepAlive = "keep-alive",
    Location = "location",
    OpenaiOrganization = "openai-organization",
    OpenaiProcessingMs = "openai-processing-ms",
    OpenaiProject = "openai-project",
    OpenaiVersion = "openai-version",
    Origin = "origin",
    RequestId = "request-id",
    RetryAfter = "retry-after",
    RetryAfterMs = "retry-after-ms",
    Server = "server",
    SetCookie = "set-cookie",
    Te = "te",
    Traceparent = "traceparent",
    Tracestate = "tracestate",
    Trailer = "trailer",
    TransferEncoding = "transfer-encoding",
    Upgrade = "upgrade",
    UserAgent = "user-agent",
    Vary = "vary",
    Via = "via",
    WwwAuthenticate = "www-authenticate",
    XApiKey = "x-api-key",
    XGoogApiClient = "x-goog-api-client",
    XGoogApiKey = "x-goog-api-key",
    XRequestId = "x-request-id",
    XShouldRetry = "x-should-retry",
}

/// Names of this many bytes and more are compared by two overlapping words; shorter ones by one.
const WORD: usize = 8;
const SLOTS: usize = 256;
const EMPTY: u8 = u8::MAX;
static INDEX: [u8; SLOTS] = index();

impl KnownField {
    /// Recognises a field name, whatever its case.
    pub fn of(name: &[u8]) -> Self {
        let (Some(first), Some(last)) = (name.first(), name.last()) else { return Self::Other };
        exact(name, *first, *last).unwrap_or_else(|| of_family(name))
    }

    /// The field of exactly this name: a name that is found is a token without underscores.
    #[inline]
    pub(super) fn of_exact(name: &[u8]) -> Option<Self> {
        exact(name, *name.first()?, *name.last()?)
    }

    /// Its bit in a [`KnownSet`].
    const fn bit(self) -> u64 {
        1_u64.wrapping_shl(self as u32)
    }

    /// Whether the field ends at this hop whatever `Connection` says (rule H10; RFC 9110 §7.6.1).
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::Proxy
                | Self::Te
                | Self::Trailer
                | Self::TransferEncoding
                | Self::Upgrade
                | Self::Http2Settings
        )
    }

    /// Whether clients show their access key in it, and providers are shown their credential.
    pub fn is_credential(self) -> bool {
        matches!(self, Self::Authorization | Self::XApiKey | Self::XGoogApiKey | Self::ApiKey)
    }

    /// Whether `Connection` must not name it: framing, routing, credentials, and what we add ourselves (rule H7).
    pub(super) fn is_end_to_end_always(self) -> bool {
        let is_ours = matches!(self, Self::Igris | Self::XRequestId | Self::Via);
        let is_structure = matches!(self, Self::Host | Self::ContentLength | Self::TransferEncoding);
        is_ours || is_structure || self.is_credential()
    }
}

#[inline]
fn exact(name: &[u8], first: u8, last: u8) -> Option<KnownField> {
    let mut at = slot(name.len(), first, last);
    while let Some(&place) = INDEX.get(at) {
        let (text, known) = EXACT.get(usize::from(place))?;
        if is_same(name, text.as_bytes()) {
            return Some(*known);
        }
        at = at.wrapping_add(1) % SLOTS;
    }
    None
}

/// Whether a name is this one whatever its case; `text` is in lower case.
#[inline]
fn is_same(name: &[u8], text: &[u8]) -> bool {
    if name.len() != text.len() {
        return false;
    }
    let same = |a: &[u8; WORD], b: &[u8; WORD]| lower(u64::from_le_bytes(*a)) == u64::from_le_bytes(*b);
    let (Some(name_end), Some(text_end)) = (name.last_chunk::<WORD>(), text.last_chunk::<WORD>()) else {
        return name.eq_ignore_ascii_case(text);
    };
    let (names, texts) = (name.as_chunks::<WORD>().0, text.as_chunks::<WORD>().0);
    same(name_end, text_end) && names.iter().zip(texts).all(|(a, b)| same(a, b))
}

/// Some fields by meaning, asked in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KnownSet(u64);

impl KnownSet {
    /// The set of these.
    pub const fn of(fields: &[KnownField]) -> Self {
        let (mut bits, mut rest) = (0, fields);
        while let [first, more @ ..] = rest {
            bits |= first.bit();
            rest = more;
        }
        Self(bits)
    }

    /// Whether it holds this one.
    #[inline]
    pub const fn has(self, field: KnownField) -> bool {
        self.0 & field.bit() != 0
    }

    /// Whether both hold one.
    #[inline]
    pub(super) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    #[inline]
    pub(super) fn insert(&mut self, field: KnownField) {
        self.0 |= field.bit();
    }
}

/// Families share a prefix; its first and third byte tell which one it could be.
#[inline]
pub(super) fn of_family(name: &[u8]) -> KnownField {
    let [first, _, third, ..] = name else { return KnownField::Other };
    let (prefix, known) = match (first | 0x20, third | 0x20) {
        (b'x', b'i') => ("x-igris-", KnownField::Igris),
        // With and without a resource behind it: Mistral has `x-ratelimitbysize-…`, the draft has `ratelimit` itself.
        (b'x', b'r') => ("x-ratelimit", KnownField::RateLimit),
        (b'x', b't') => ("x-tokenlimit-", KnownField::RateLimit),
        (b'r', b't') => ("ratelimit", KnownField::RateLimit),
        (b'x', b'f') => ("x-forwarded-", KnownField::XForwarded),
        (b'p', b'o') => ("proxy-", KnownField::Proxy),
        (b'a', b't') => ("anthropic-ratelimit-", KnownField::RateLimit),
        _ => return KnownField::Other,
    };
    let starts = name.get(..prefix.len()).is_some_and(|head| is_same(head, prefix.as_bytes()));
    if starts { known } else { KnownField::Other }
}

#[allow(clippy::arithmetic_side_effects)] // A hash: three small factors below 2^32, wrapped into the table.
const fn slot(length: usize, first: u8, last: u8) -> usize {
    ((length % SLOTS) * 7 + (first | 0x20) as usize * 31 + (last | 0x20) as usize * 13) % SLOTS
}

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)] // Evaluated by the compiler; a mistake is a build error.
const fn index() -> [u8; SLOTS] {
    let mut table = [EMPTY; SLOTS];
    let mut entry = 0;
    while entry < EXACT.len() {
        let name = EXACT[entry].0.as_bytes();
        let mut at = slot(name.len(), name[0], name[name.len() - 1]);
        while table[at] != EMPTY {
            at = (at + 1) % SLOTS;
        }
        table[at] = entry as u8;
        entry += 1;
    }
    table
}

const _: () = assert!(EXACT.len() < SLOTS / 2, "probing needs empty slots to stop at");
const _: () = assert!((KnownField::Other as u32) < u64::BITS, "a set has a bit for each field");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_recognised_in_any_case() {
        for (text, known) in EXACT {
            assert_eq!(KnownField::of(text.as_bytes()), *known);
            assert_eq!(KnownField::of(text.to_ascii_uppercase().as_bytes()), *known);
            assert_eq!(KnownField::of(format!("{text}x").as_bytes()), KnownField::Other, "{text}x");
        }
    }

    #[test]
    fn families_are_recognised_by_their_prefix() {
        let cases = [
            ("X-Igris-Provider", KnownField::Igris),
            ("Proxy-Authorization", KnownField::Proxy),
            ("x-ratelimit-remaining-tokens", KnownField::RateLimit),
            ("anthropic-ratelimit-requests-limit", KnownField::RateLimit),
            ("x-ratelimitbysize-remaining-minute", KnownField::RateLimit),
            ("x-tokenlimit-remaining", KnownField::RateLimit),
            ("RateLimit", KnownField::RateLimit),
            ("ratelimit-policy", KnownField::RateLimit),
            ("retry-aft", KnownField::Other),
            ("X-Forwarded-For", KnownField::XForwarded),
            ("Forwarded", KnownField::Forwarded),
            ("forwarded-for", KnownField::Other),
            ("x-igris", KnownField::Other),
            ("", KnownField::Other),
        ];
        for (name, known) in cases {
            assert_eq!(KnownField::of(name.as_bytes()), known, "{name}");
        }
    }

    #[test]
    fn probing_is_short() {
        let longest = EXACT.iter().map(|(text, _)| {
            let name = text.as_bytes();
            let mut at = slot(name.len(), name[0], name[name.len() - 1]);
            let mut steps = 0;
            while EXACT[usize::from(INDEX[at])].0 != *text {
                at = (at + 1) % SLOTS;
                steps += 1;
            }
            steps
        });
        assert!(longest.max() <= Some(4));
    }
}
