//! The key that chains the records of the ledger journal (rule L7): whoever can write the files still cannot make one that follows.
//!
//! Derived from the audit log's key, which is never replaced, so that a journal can be verified for as long as it is kept. It can link and
//! compare; it cannot print or leave.

use aws_lc_rs::hmac;

/// Bytes of a link: half of an HMAC-SHA-256 (RFC 2104 §5 allows it), 128 bits.
pub const LINK_BYTES: usize = 16;

/// Bytes of a whole HMAC-SHA-256.
const TAG_BYTES: usize = 32;

/// What chains one record to the one before it.
pub type Link = [u8; LINK_BYTES];

/// The open key of the ledger journal.
pub struct LedgerKey(hmac::Key);

impl LedgerKey {
    /// A key from its 32 bytes; the caller wipes its own copy.
    pub(super) fn new(bytes: &[u8; super::audit_key::BOND_BYTES]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// A key for tests, benches and fuzzing, which have no vault.
    pub fn for_tests() -> Self {
        Self::new(&[7; super::audit_key::BOND_BYTES])
    }

    /// The link of a record whose bytes follow those that `before` stands for.
    pub fn link(&self, before: &Link, record: &[u8]) -> Link {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(before);
        context.update(record);
        half(context.sign().as_ref())
    }

    /// The same of bytes that begin with the link before: in one piece, which costs a copy and a step of the digest less.
    pub fn link_joined(&self, joined: &[u8]) -> Link {
        let mut tag = [0; TAG_BYTES];
        // Into a buffer of ours: the context, 700 bytes, is not moved for it.
        let written = hmac::sign_to_buffer(&self.0, joined, &mut tag);
        half(written.expect("a tag of SHA-256 has 32 bytes"))
    }
}

fn half(tag: &[u8]) -> Link {
    tag.first_chunk().copied().expect("a tag of SHA-256 has 32 bytes")
}

impl std::fmt::Debug for LedgerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LedgerKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_one_piece_or_in_two_a_link_is_the_same() {
        let (key, before) = (LedgerKey::for_tests(), [3; LINK_BYTES]);
        for length in [0, 1, 39, 40, 55, 200, 1_000] {
            let record = vec![5; length];
            let joined = [&before[..], &record].concat();
            assert_eq!(key.link(&before, &record), key.link_joined(&joined), "{length}");
        }
        assert_ne!(key.link(&before, b"a"), key.link(&[4; LINK_BYTES], b"a"));
    }
}
