//! The key that binds the audit log: whoever can rewrite the whole table still cannot make its rows follow from each other.
//!
//! 32 random bytes wrapped by the master key, as the peppers are. The key is never replaced, because every row would have to be bound
//! anew; it can bind and compare, and it cannot print or leave.

use super::seal::KEY_BYTES;
use aws_lc_rs::hmac;

/// Bytes of what binds a row.
pub const BOND_BYTES: usize = 32;

/// The open key of the audit log.
pub struct AuditKey(hmac::Key);

impl AuditKey {
    /// A key from its 32 bytes; the caller wipes its own copy.
    pub(super) fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// `HMAC-SHA-256(key, label | fields)`, each part behind its length, so that `ab|c` differs from `a|bc` (RFC 2104).
    pub fn bind(&self, label: &[u8], fields: &[&[u8]]) -> [u8; BOND_BYTES] {
        let mut context = hmac::Context::with_key(&self.0);
        self.add(&mut context, label, fields);
        let mut bond = [0; BOND_BYTES];
        for (slot, byte) in bond.iter_mut().zip(context.sign().as_ref()) {
            *slot = *byte;
        }
        bond
    }

    /// Whether a bond is the one of these parts; compared in constant time (rule V11).
    pub fn binds(&self, label: &[u8], fields: &[&[u8]], bond: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.bind(label, fields), bond).is_ok()
    }

    /// The key of the ledger journal, which lives as long as this one.
    pub fn ledger_key(&self) -> super::LedgerKey {
        super::LedgerKey::new(&self.bind(b"igris/ledger/v1", &[]))
    }

    fn add(&self, context: &mut hmac::Context, label: &[u8], fields: &[&[u8]]) {
        for part in std::iter::once(&label).chain(fields) {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part);
        }
    }
}

impl std::fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuditKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_parts_under_the_same_key_have_the_same_bond() {
        let (key, other) = (AuditKey::new(&[1; KEY_BYTES]), AuditKey::new(&[2; KEY_BYTES]));
        let bond = key.bind(b"row", &[b"ab", b"c"]);
        assert!(key.binds(b"row", &[b"ab", b"c"], &bond));
        for (label, fields) in [
            (&b"row"[..], [&b"a"[..], b"bc"]),
            (b"head", [b"ab", b"c"]),
            (b"ro", [b"wab", b"c"]),
            (b"row", [b"c", b"ab"]),
        ] {
            assert!(!key.binds(label, &fields, &bond), "{label:?} {fields:?}");
        }
        assert!(!other.binds(b"row", &[b"ab", b"c"], &bond));
        assert!(!key.binds(b"row", &[b"ab", b"c"], &bond[..31]), "a part of a bond is none");
        assert!(!format!("{key:?}").contains('1'));
    }
}
