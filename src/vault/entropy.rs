//! Where random bytes come from: the operating system in the product, a replayable sequence in tests.
//!
//! Every salt, nonce, key and id of the vault is drawn through [`Entropy`], so that a test can pin a whole record byte by byte.

use super::error::VaultError;

/// A source of random bytes.
pub trait Entropy {
    /// Fills `bytes` wholly.
    ///
    /// # Errors
    /// [`VaultError::NoEntropy`] when the source cannot answer; `bytes` must then not be used.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), VaultError>;
}

/// The operating system's generator (`getrandom(2)`), the only source outside tests (rule V2).
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), VaultError> {
        getrandom::fill(bytes).map_err(|_| VaultError::NoEntropy)
    }
}

/// 128 random bits, as the house's ids need them (rule V7).
///
/// # Errors
/// As [`Entropy::fill`].
pub fn random_bits(entropy: &mut dyn Entropy) -> Result<u128, VaultError> {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes)?;
    Ok(u128::from_be_bytes(bytes))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Counts upward from a seed: never secret, always the same.
    pub(crate) struct Counting(pub(crate) u8);

    impl Entropy for Counting {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<(), VaultError> {
            for byte in bytes {
                *byte = self.0;
                self.0 = self.0.wrapping_add(1);
            }
            Ok(())
        }
    }

    #[test]
    fn the_system_does_not_repeat_itself() {
        let first = random_bits(&mut OsEntropy).expect("a random source");
        let second = random_bits(&mut OsEntropy).expect("a random source");
        assert_ne!(first, second);
    }
}
