//! A hash for ids of our own: they are random already, so their bits are taken as they are.
//!
//! For tables whose keys nobody outside chooses. Names, and whatever a client sends, want the standard library's keyed hash.

use std::hash::{BuildHasherDefault, Hasher};

/// Builds [`IdHasher`]s: `HashMap<AttemptId, _, IdHash>`.
pub type IdHash = BuildHasherDefault<IdHasher>;

/// Folds the words of an id into one.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    /// Whatever is no whole number, such as a text beside an id: byte by byte, and slower than it has to be.
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    /// Turned before the next word comes, so that equal words do not cancel each other, and so that a kind before an id counts.
    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.0 = self.0.rotate_left(5).wrapping_mul(SPREAD) ^ word;
    }

    #[inline]
    fn write_u128(&mut self, word: u128) {
        self.write_u64(word as u64);
        self.write_u64((word >> 64) as u64);
    }

    #[inline]
    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }
}

/// An odd number whose bits are mixed (the golden ratio's), so that also small numbers reach the high bits that tables look at.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{AccessKeyId, CredentialId};
    use std::collections::HashSet;
    use std::hash::{BuildHasher, Hash};

    #[derive(Hash)]
    enum Either {
        Key(AccessKeyId),
        Credential(CredentialId),
    }

    fn of(value: impl Hash) -> u64 {
        IdHash::default().hash_one(value)
    }

    #[test]
    fn ids_spread_and_kinds_differ() {
        let mut dice = fastrand::Rng::with_seed(3);
        let low: HashSet<u64> = (0..4_096).map(|_| of(AccessKeyId::from_bits(dice.u128(..))) % 65_536).collect();
        assert!(low.len() > 3_900, "{} of 4096 places", low.len());
        let counted: HashSet<u64> = (0..4_096u128).map(|number| of(AccessKeyId::from_bits(number))).collect();
        assert_eq!(counted.len(), 4_096, "numbers of tests, too");
        assert_ne!(of(Either::Key(AccessKeyId::from_bits(7))), of(Either::Credential(CredentialId::from_bits(7))));
    }
}
