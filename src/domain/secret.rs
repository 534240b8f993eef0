//! Bytes that must never be shown: zeroed on drop, no `Debug` content, no `Clone`, no serialisation (rule V12).

use std::fmt;
use zeroize::Zeroize;

/// A secret of fixed length. Reading it takes one visible word: [`Secret::expose`].
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes the bytes over; the source is wiped, and never reallocated, which would leave a copy behind.
    pub fn take(mut source: Vec<u8>) -> Self {
        let kept: Box<[u8]> = Box::from(source.as_slice());
        source.zeroize();
        Self(kept)
    }

    /// Copies bytes that the caller wipes or does not own.
    pub fn copy_of(source: &[u8]) -> Self {
        Self(Box::from(source))
    }

    /// The bytes themselves.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::copy_of(b"sk-marker");
        assert!(!format!("{secret:?}").contains("marker"));
        assert_eq!(secret.expose(), b"sk-marker");
    }
}
