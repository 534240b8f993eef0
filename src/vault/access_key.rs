//! Access keys: what a client shows us, and the digest that is all we keep of it (rule V9).
//!
//! A key that Igris makes is `sk-igris-`, 43 base62 characters for 256 random bits, and 6 more that check the rest, so that a
//! typo or a scanner is answered without a lookup. An owner may bring any string of 20 characters or more: the digest
//! `HMAC-SHA-256(pepper, key)` alone decides (RFC 2104). A digest presented as a key is digested again, so it opens nothing.

use super::entropy::Entropy;
use super::error::VaultError;
use super::seal::KEY_BYTES;
use crate::domain::secret::Secret;
use aws_lc_rs::hmac;
use zeroize::{Zeroize, Zeroizing};

/// How every key made by Igris begins.
pub const ACCESS_KEY_PREFIX: &str = "sk-igris-";
/// Bytes of an access-key digest.
pub const DIGEST_BYTES: usize = 32;

/// The text of an access key, shown once and never again. It cannot print; reading it takes [`AccessKeyText::expose`].
#[derive(Debug)]
pub struct AccessKeyText(Secret);

/// The secret that makes digests useless to whoever steals the store. Versioned, wrapped by the master key.
pub struct Pepper {
    version: u32,
    key: hmac::Key,
}

// === impl AccessKeyText ===

impl AccessKeyText {
    /// A new key from 256 random bits.
    ///
    /// # Errors
    /// [`VaultError::NoEntropy`].
    pub fn make(entropy: &mut dyn Entropy) -> Result<Self, VaultError> {
        let mut bits = Zeroizing::new([0; 32]);
        entropy.fill(&mut bits[..])?;
        let mut text = Vec::with_capacity(ACCESS_KEY_BYTES);
        text.extend_from_slice(ACCESS_KEY_PREFIX.as_bytes());
        push_base62(&mut text, &mut bits[..], BODY_CHARS);
        let sum = checksum(&text);
        text.extend_from_slice(&sum);
        Ok(Self(Secret::take(text)))
    }

    /// A key that the owner brings. Length and characters are the caller's to check.
    pub fn supplied(text: Secret) -> Self {
        Self(text)
    }

    /// The text, ASCII when Igris made it.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    /// The last four characters, for display; fewer when the key holds other than ASCII there.
    pub fn last4(&self) -> String {
        let tail = self.expose().iter().rev().take(4).rev();
        tail.filter(|byte| byte.is_ascii_graphic()).map(|byte| char::from(*byte)).collect()
    }
}

/// Whether the text claims to be a key made by Igris.
pub fn looks_like(text: &[u8]) -> bool {
    text.starts_with(ACCESS_KEY_PREFIX.as_bytes())
}

/// Whether a text that [`looks_like`] one of ours has the right length, alphabet and checksum. Not a secret-dependent
/// decision: the checksum is public arithmetic over what the client sent.
pub fn checksum_ok(text: &[u8]) -> bool {
    let Some((body, sum)) = text.split_last_chunk::<CHECKSUM_CHARS>() else { return false };
    if text.len() != ACCESS_KEY_BYTES || !looks_like(text) || !body.iter().skip(ACCESS_KEY_PREFIX.len()).all(is_base62)
    {
        return false;
    }
    checksum(body) == *sum
}

/// Whether a text has the whole form of a key made by Igris and a checksum that is not its own: a typo, or a scanner's guess,
/// which can be answered without a lookup (rule V9) unless an owner supplied such a text.
pub fn is_mistyped(text: &[u8]) -> bool {
    let body = text.strip_prefix(ACCESS_KEY_PREFIX.as_bytes());
    let has_form = text.len() == ACCESS_KEY_BYTES && body.is_some_and(|body| body.iter().all(is_base62));
    has_form && !checksum_ok(text)
}

/// The digest under which an access key is known: `HMAC-SHA-256(pepper, key)`.
pub fn digest(pepper: &Pepper, key: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut digest = [0; DIGEST_BYTES];
    hmac::sign_to_buffer(&pepper.key, key, &mut digest).expect("a digest has the bytes of a tag");
    digest
}

// === impl Pepper ===

impl Pepper {
    /// A pepper from its 32 bytes; the caller wipes its own copy.
    pub fn new(version: u32, bytes: &[u8; KEY_BYTES]) -> Self {
        Self { version, key: hmac::Key::new(hmac::HMAC_SHA256, bytes) }
    }

    /// Which pepper this is; digests are stored beside it.
    pub fn version(&self) -> u32 {
        self.version
    }
}

impl std::fmt::Debug for Pepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pepper(version {}, …)", self.version)
    }
}

/// Writes a big-endian number as exactly so many base62 digits, by schoolbook division; the number is wiped on the way.
fn push_base62(text: &mut Vec<u8>, number: &mut [u8], chars: usize) {
    let mut digits = Zeroizing::new(Vec::with_capacity(chars));
    for _ in 0..chars {
        let mut remainder: u16 = 0;
        for byte in number.iter_mut() {
            // remainder < 62, so the sum stays below 62 * 256 and the quotient below 256.
            let value = (remainder << 8) | u16::from(*byte);
            *byte = u8::try_from(value / BASE).unwrap_or(u8::MAX);
            remainder = value % BASE;
        }
        digits.push(ALPHABET.get(usize::from(remainder)).copied().unwrap_or(b'0'));
    }
    text.extend(digits.iter().rev());
    number.zeroize();
}

/// The CRC-32 of a key's text up to here, as six base62 digits.
fn checksum(text: &[u8]) -> [u8; CHECKSUM_CHARS] {
    let mut sum = crc32(text);
    let mut digits = [b'0'; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = usize::try_from(sum % 62).ok().and_then(|at| ALPHABET.get(at)).copied().unwrap_or(b'0');
        sum /= 62;
    }
    digits
}

/// CRC-32 as in ISO 3309 (reflected, polynomial 0xEDB88320): it finds typos and protects nothing.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        let [low, ..] = crc.to_le_bytes();
        (crc >> 8) ^ CRC_TABLE.get(usize::from(low ^ byte)).copied().unwrap_or(0)
    };
    !bytes.iter().fold(u32::MAX, step)
}

/// What each low byte does to the sum, worked out at compile time: a request's key is checked in tens of nanoseconds.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)] // Evaluated by the compiler, which checks both.
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

fn is_base62(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric()
}

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BASE: u16 = 62;
/// 62^43 > 2^256.
const BODY_CHARS: usize = 43;
/// 62^6 > 2^32.
const CHECKSUM_CHARS: usize = 6;
const ACCESS_KEY_BYTES: usize = ACCESS_KEY_PREFIX.len() + BODY_CHARS + CHECKSUM_CHARS;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::entropy::OsEntropy;
    use crate::vault::entropy::tests::Counting;

    #[test]
    fn the_checksum_is_crc_32() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_number_becomes_its_base62_digits() {
        let mut text = Vec::new();
        push_base62(&mut text, &mut 61_u32.to_be_bytes(), 2);
        push_base62(&mut text, &mut 62_u32.to_be_bytes(), 2);
        push_base62(&mut text, &mut u32::MAX.to_be_bytes(), 6);
        assert_eq!(text, b"0z104gfFC3");
        let sum = checksum(b"123456789");
        let mut same = Vec::new();
        push_base62(&mut same, &mut 0xCBF4_3926_u32.to_be_bytes(), CHECKSUM_CHARS);
        assert_eq!(same, sum);
    }

    #[test]
    fn made_keys_have_the_form_and_differ() {
        let first = AccessKeyText::make(&mut OsEntropy).expect("entropy");
        let second = AccessKeyText::make(&mut OsEntropy).expect("entropy");
        assert_ne!(first.expose(), second.expose());
        assert_eq!(first.expose().len(), 58);
        assert!(checksum_ok(first.expose()) && looks_like(first.expose()));
        assert_eq!(first.last4().as_bytes(), &first.expose()[54..]);
        assert_eq!(format!("{first:?}"), "AccessKeyText(Secret(…))");
    }

    #[test]
    fn only_what_begins_like_ours_looks_like_ours() {
        // How much of a supplied key is shown hangs on it: of a short one that is not ours, less than its last four characters.
        assert!(looks_like(b"sk-igris-") && looks_like(b"sk-igris-whatever-an-owner-brings"));
        for other in
            [&b""[..], b"sk-igris", b"SK-IGRIS-0123456789", b" sk-igris-0123456789", b"my-own-key-of-20-letters"]
        {
            assert!(!looks_like(other), "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn any_changed_character_breaks_the_checksum() {
        let key = AccessKeyText::make(&mut Counting(3)).expect("entropy");
        for place in 0..key.expose().len() {
            for other in [b'0', b'a', b'Z', b'-', 0xff] {
                let mut text = key.expose().to_vec();
                if text[place] != other {
                    text[place] = other;
                    assert!(!checksum_ok(&text), "byte {place} became {other}");
                }
            }
        }
        assert!(!checksum_ok(&key.expose()[..57]) && !checksum_ok(b"") && !checksum_ok(b"sk-igris-"));
    }

    #[test]
    fn rule_v9_only_a_whole_key_with_a_wrong_checksum_is_a_typo() {
        let key = AccessKeyText::make(&mut Counting(3)).expect("entropy");
        assert!(!is_mistyped(key.expose()));
        for place in ACCESS_KEY_PREFIX.len()..key.expose().len() {
            let mut text = key.expose().to_vec();
            text[place] = if text[place] == b'x' { b'y' } else { b'x' };
            assert!(is_mistyped(&text), "byte {place}");
        }
        // Owners may bring these: the digest alone decides.
        let dashed = [&key.expose()[..20], b"-", &key.expose()[21..]].concat();
        for supplied in [&key.expose()[..57], &dashed, b"sk-igris-my-own-key-of-20", b"something else entirely"] {
            assert!(!is_mistyped(supplied), "{}", String::from_utf8_lossy(supplied));
        }
    }

    #[test]
    fn the_digest_is_hmac_sha_256() {
        // RFC 4231 §4.2, its 20-byte key zero-padded to the same HMAC key block.
        let mut bytes = [0; 32];
        bytes[..20].fill(0x0b);
        let known = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        let hex: String = digest(&Pepper::new(1, &bytes), b"Hi There").iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, known);
    }

    #[test]
    fn a_digest_is_not_a_credential() {
        let pepper = Pepper::new(1, &[5; 32]);
        let stored = digest(&pepper, b"sk-some-key");
        assert_ne!(digest(&pepper, &stored), stored);
        assert_ne!(digest(&Pepper::new(2, &[6; 32]), b"sk-some-key"), stored);
    }
}
