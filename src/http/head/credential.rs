//! Which access key a client shows, and whether it shows exactly one (rule H21).
//!
//! Two keys in one request are refused even when equal: a front end and we might otherwise each believe a different one.
//! Keys in the URL are refused because URLs end up in logs, histories and `Referer` fields (RFC 6750 §5.3).

use super::KnownField;
use super::field::FieldTable;
use crate::http::syntax::hex_value;
use std::fmt;

/// What a request shows to authenticate itself. Anything but one usable key is a 401; `None` too, where a key is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Presented<'a> {
    /// No key at all.
    None,
    /// `Authorization: Bearer …` (RFC 6750 §2.1)
    Bearer(&'a [u8]),
    /// `x-api-key: …`, as Anthropic's clients send it
    XApiKey(&'a [u8]),
    /// `x-goog-api-key: …`, as Google's clients send it
    XGoogApiKey(&'a [u8]),
    /// `api-key: …`, as Azure's clients send it
    ApiKey(&'a [u8]),
    /// An `Authorization` of another scheme, or an empty key.
    Unusable,
    /// More than one key, of one kind or several.
    Conflict,
    /// A key in the query of the URL.
    InUrl,
}

impl<'a> Presented<'a> {
    /// The one usable key, whatever its kind.
    pub fn key(self) -> Option<&'a [u8]> {
        match self {
            Self::Bearer(key) | Self::XApiKey(key) | Self::XGoogApiKey(key) | Self::ApiKey(key) => Some(key),
            Self::None | Self::Unusable | Self::Conflict | Self::InUrl => None,
        }
    }

    pub(super) fn read(fields: &'a FieldTable, bytes: &'a [u8], query: Option<&[u8]>) -> Self {
        if query.is_some_and(has_key) {
            return Self::InUrl;
        }
        match fields.credentials(bytes) {
            (0 | 1, shown) => shown.map_or(Self::None, |(kind, value)| Self::of(kind, value)),
            _ => Self::Conflict,
        }
    }

    fn of(kind: KnownField, value: &'a [u8]) -> Self {
        match kind {
            _ if value.is_empty() => Self::Unusable,
            KnownField::Authorization => bearer(value).map_or(Self::Unusable, Self::Bearer),
            KnownField::XApiKey => Self::XApiKey(value),
            KnownField::XGoogApiKey => Self::XGoogApiKey(value),
            _ => Self::ApiKey(value),
        }
    }
}

/// Shows the kind, never the key (rule V12).
impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Bearer(_) => "Bearer(…)",
            Self::XApiKey(_) => "XApiKey(…)",
            Self::XGoogApiKey(_) => "XGoogApiKey(…)",
            Self::ApiKey(_) => "ApiKey(…)",
            Self::Unusable => "Unusable",
            Self::Conflict => "Conflict",
            Self::InUrl => "InUrl",
        })
    }
}

/// The key of a `Bearer` authorization (RFC 9110 §11.4: scheme, 1*SP, token68; the scheme without case).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (_, rest) = value.split_at_checked(6).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer"))?;
    let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
    let key = rest.get(blanks..)?;
    let whole = blanks > 0 && !key.is_empty() && !key.iter().any(|byte| matches!(byte, b' ' | b'\t' | b','));
    whole.then_some(key)
}

/// Query parameters that carry keys in the wild: Google's `key`, Azure's `api-key`, RFC 6750's `access_token`.
const KEY_PARAMETERS: [&[u8]; 5] = [b"key", b"api_key", b"api-key", b"apikey", b"access_token"];

fn has_key(query: &[u8]) -> bool {
    query.split(|byte| *byte == b'&').any(|pair| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        KEY_PARAMETERS.iter().any(|known| decodes_to(name, known))
    })
}

/// Compares a percent-encoded name without case, so that `k%65y` hides nothing.
fn decodes_to(encoded: &[u8], plain: &[u8]) -> bool {
    let mut rest = encoded;
    for wanted in plain {
        let (byte, tail) = match rest {
            [b'%', high, low, tail @ ..] => match (hex_value(*high), hex_value(*low)) {
                (Some(high), Some(low)) => (high.wrapping_shl(4) | low, tail),
                _ => return false,
            },
            [byte, tail @ ..] => (*byte, tail),
            [] => return false,
        };
        if !byte.eq_ignore_ascii_case(wanted) {
            return false;
        }
        rest = tail;
    }
    rest.is_empty()
}
