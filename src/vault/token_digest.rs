//! What is kept of a token that people show to the admin socket: enough to know it again, not enough to show it.
//!
//! SHA-256 without a pepper: the digest stays in memory, and a token has 20 characters or more.

use crate::domain::secret::Secret;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};

/// The digest of a token.
pub struct TokenDigest(Digest);

impl TokenDigest {
    /// Of this text.
    pub fn of(text: &Secret) -> Self {
        Self(digest(&SHA256, text.expose()))
    }

    /// Whether both are of the same text; compared in constant time (rule V11).
    pub fn is(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.0.as_ref(), other.0.as_ref()).is_ok()
    }
}

impl std::fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_whole_text() {
        let of = |text: &str| TokenDigest::of(&Secret::copy_of(text.as_bytes()));
        assert!(of("igris-admin-0123456789").is(&of("igris-admin-0123456789")));
        for other in ["", "igris-admin-012345678", "igris-admin-01234567890", "Igris-admin-0123456789"] {
            assert!(!of("igris-admin-0123456789").is(&of(other)), "{other}");
        }
    }
}
