//! Identifiers as distinct types, so that a `TenantId` never fits where a `CredentialId` goes (rule V7).
//!
//! Names chosen by people (tenants, providers) are shared strings; ids made by Igris are 128 random bits
//! written as a prefix and 26 characters of Crockford base32, which sort as bytes and survive copy and paste.

use std::fmt;
use std::sync::Arc;

/// Alphabet without `i l o u`, so that an id read aloud has one spelling (Crockford base32, lower case).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The tenant that exists when none is listed: the operator's own.
pub const TENANT_DEFAULT: &str = "default";

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps a name that was checked where it was read.
            pub fn new(name: &str) -> Self {
                Self(Arc::from(name))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u128);

        impl $name {
            /// What its text form starts with.
            pub const PREFIX: &'static str = $prefix;

            /// Wraps 128 bits that came from a random source.
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }

            /// The 128 bits.
            pub const fn bits(self) -> u128 {
                self.0
            }

            /// Appends the text form, as [`Display`](fmt::Display) shows it.
            #[inline]
            pub fn append(self, out: &mut Vec<u8>) {
                out.extend_from_slice($prefix.as_bytes());
                out.extend_from_slice(&encode(self.0));
            }

            /// Reads the text form; `None` unless it is exactly prefix and 26 characters.
            pub fn parse(text: &str) -> Option<Self> {
                decode(text.strip_prefix($prefix)?).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                let text = encode(self.0);
                f.write_str(std::str::from_utf8(&text).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

impl TenantId {
    /// Whether this is the operator's own tenant.
    pub fn is_default(&self) -> bool {
        self.as_str() == TENANT_DEFAULT
    }
}

name_id!(
    /// Who owns keys and pays: chosen by the operator (`default`) or made by Igris.
    TenantId
);
name_id!(
    /// A provider row, by its canonical name (`openai`) or the operator's (`local-vllm`).
    ProviderId
);
random_id!(
    /// What we show a provider: one stored provider key.
    CredentialId,
    "key_"
);
random_id!(
    /// What a client shows us: one access key, by its public id.
    AccessKeyId,
    "ak_"
);
random_id!(
    /// One rotation of a credential.
    RotationId,
    "rot_"
);
random_id!(
    /// Something that somebody was told about: one alert.
    AlertId,
    "al_"
);
random_id!(
    /// One place of a tenant's own that alerts are sent to.
    WebhookId,
    "wh_"
);
random_id!(
    /// One message to one webhook, the same at every try.
    MessageId,
    "msg_"
);
random_id!(
    /// One exchange: a request and its answer, as shown in `x-request-id`.
    RequestId,
    "req_"
);
random_id!(
    /// One try at one provider.
    AttemptId,
    "att_"
);

/// 26 characters, most significant first. Written out it is long, so that all who call it share it.
#[inline(never)]
pub fn encode(bits: u128) -> [u8; 26] {
    let mut text = [b'0'; 26];
    // Twelve digits are 60 bits: two machine words of them, and the two digits above.
    let (high, low) = text.split_at_mut(14);
    let (top, high) = high.split_at_mut(2);
    for (slots, part) in [(low, bits), (high, bits >> 60), (top, bits >> 120)] {
        let mut part = part as u64;
        for slot in slots.iter_mut().rev() {
            *slot = ALPHABET[(part & 31) as usize];
            part >>= 5;
        }
    }
    text
}

fn decode(text: &str) -> Option<u128> {
    if text.len() != 26 {
        return None;
    }
    let mut bits: u128 = 0;
    for byte in text.bytes() {
        let digit = ALPHABET.iter().position(|known| *known == byte)?;
        // 26 digits are 130 bits: the first digit may hold only the lowest three.
        if bits >> 123 != 0 {
            return None;
        }
        bits = (bits << 5) | digit as u128;
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_what_they_wrote() {
        for bits in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let id = CredentialId::from_bits(bits);
            assert_eq!(CredentialId::parse(&id.to_string()), Some(id));
            let mut out = Vec::new();
            id.append(&mut out);
            assert_eq!(out, id.to_string().as_bytes());
        }
    }

    #[test]
    fn foreign_and_overlong_ids_are_refused() {
        let id = CredentialId::from_bits(7).to_string();
        assert_eq!(RotationId::parse(&id), None);
        assert_eq!(CredentialId::parse(&format!("{id}0")), None);
        assert_eq!(CredentialId::parse("key_zzzzzzzzzzzzzzzzzzzzzzzzzz"), None);
        assert_eq!(CredentialId::parse("key_0000000000000000000000000U"), None);
    }
}
