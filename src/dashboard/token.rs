//! The dashboard's token: 256 random bits, made at start, compared in constant time, never stored.

use crate::vault::{Entropy, VaultError};
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// What lets somebody look.
pub struct Token(Zeroizing<String>);

impl Token {
    /// Makes one.
    ///
    /// # Errors
    /// [`VaultError::NoEntropy`].
    pub fn make(entropy: &mut dyn Entropy) -> Result<Self, VaultError> {
        let mut bits = [0; TOKEN_BYTES];
        entropy.fill(&mut bits)?;
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(bits));
        bits.zeroize();
        Ok(Self(text))
    }

    /// The text, for the link that is printed once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A `Set-Cookie` value: for this host and session, not for scripts, not from other sites (RFC 6265bis §5.6).
    pub(super) fn cookie(&self) -> String {
        format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict", self.expose())
    }

    pub(super) fn is_in_cookie(&self, fields: &HeaderMap) -> bool {
        let cookies = fields.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.filter(|(name, _)| *name == COOKIE).any(|(_, value)| self.is(value))
    }

    pub(super) fn is_in_authorization(&self, fields: &HeaderMap) -> bool {
        let value = fields.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown =
            value.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        shown.is_some_and(|(_, text)| self.is(text.trim()))
    }

    /// The token's letters need no percent encoding.
    pub(super) fn is_in_query(&self, query: &str) -> bool {
        query.split('&').filter_map(|pair| pair.strip_prefix("token=")).any(|text| self.is(text))
    }

    /// Constant time over texts of the right length (rule V11); the length is no secret.
    fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

const COOKIE: &str = "igris_dashboard";
const TOKEN_BYTES: usize = 32;
