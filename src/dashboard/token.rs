//! Texts that open something: the printed token, the id of a session, its word against forged requests. 256 random bits each, compared
//! in constant time, never stored.

use crate::domain::secret::Secret;
use crate::vault::{Entropy, VaultError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// 256 random bits as 43 letters that need no encoding in a URL, a cookie or a field.
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

    /// The text, for whoever shall have it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Constant time over texts of the right length (rule V11); the length is no secret.
    pub(super) fn is(&self, text: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(text).into()
    }

    /// As [`Token::is`].
    pub(super) fn is_secret(&self, text: &Secret) -> bool {
        self.is(text.expose())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

const TOKEN_BYTES: usize = 32;
