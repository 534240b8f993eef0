//! The signatures that providers ask for in place of a plain key: digests and HMAC for AWS, RSA for Google's service accounts.
//!
//! Primitives only, over the one crypto provider (rule V13); what is signed stands with who asks for it (`providers::signing`, the
//! control plane's tokens). Keyed results are wiped when they are dropped, and no error can hold a key.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use zeroize::{Zeroize, Zeroizing};

/// SHA-256 of some bytes (FIPS 180-4).
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// SHA-1 of some bytes, as the WebSocket handshake wants it (RFC 6455 §4.2.2): a proof of understanding there, not of anything secret.
pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    let mut hash = [0; 20];
    hash.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref());
    hash
}

/// HMAC-SHA-256 of the parts, one after the other (RFC 2104).
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    let mut tag = Zeroizing::new([0; 32]);
    tag.copy_from_slice(context.sign().as_ref());
    tag
}

/// An RSA key that can sign. It does not print.
pub struct RsaKey(KeyPair);

/// The text is no RSA key that can sign: not PEM, not RSA, shorter than 2048 bits, or damaged. Its owner has to give another one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the private key is not an RSA key in PEM form; download the service account's key again")]
pub struct NotAnRsaKey;

impl RsaKey {
    /// Reads a private key in PEM form, PKCS#8 or PKCS#1 (RFC 7468 §10, RFC 8017 §A.1.2). The decoded copy is wiped.
    ///
    /// # Errors
    /// [`NotAnRsaKey`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, NotAnRsaKey> {
        let mut der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| NotAnRsaKey)?;
        let key = match &der {
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(NotAnRsaKey),
        };
        der.zeroize();
        key.map(Self).map_err(|_| NotAnRsaKey)
    }

    /// The signature RS256 of a message: PKCS#1 v1.5 with SHA-256 (RFC 7518 §3.3).
    ///
    /// # Errors
    /// [`NotAnRsaKey`], should the library refuse a key that it took.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, NotAnRsaKey> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).map_err(|_| NotAnRsaKey)?;
        Ok(signature)
    }
}

/// A fresh key of 2048 bits, PKCS#8 in PEM form, for tests here and elsewhere.
#[cfg(test)]
pub fn pem_of_a_new_key() -> String {
    tests::pem_of(&KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("a key"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    pub(super) fn pem_of(pair: &KeyPair) -> String {
        let der: Pkcs8V1Der<'static> = pair.as_der().expect("PKCS#8");
        let lines = STANDARD.encode(der.as_ref());
        format!("-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----\n")
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn digest_and_hmac_give_the_published_answers() {
        // FIPS 180-4, example of one block; RFC 4231, test case 2.
        assert_eq!(hex(&sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let tag = hmac_sha256(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(hex(&tag[..]), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn a_signature_is_believed_and_what_is_no_key_is_refused() {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let der: Pkcs8V1Der<'static> = pair.as_der().expect("PKCS#8");
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
        let signature = RsaKey::from_pem(pem.as_bytes()).expect("a key").sign(b"message").expect("signed");
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref());
        assert!(public.verify(b"message", &signature).is_ok());
        assert!(public.verify(b"massage", &signature).is_err());
        for text in ["", "sk-marker", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            assert_eq!(RsaKey::from_pem(text.as_bytes()).err(), Some(NotAnRsaKey), "{text}");
        }
    }
}
