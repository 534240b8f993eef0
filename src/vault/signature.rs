//! Signatures of configurations in the form of minisign: Ed25519 over the file, and over a trusted comment beside it (rules C1, C5).
//!
//! Promises: of n trusted keys at least m must have signed exactly these bytes; a key counts once however often it signed; what an
//! unknown key signed counts for nothing; a signature of a trusted key that does not fit refuses the whole. Bytes are verified as they
//! were read, before anybody parses them (rule C2).
//!
//! A signature that `igris sign` made says in its trusted comment what it is for, and that must be true of the file. The stock tool
//! writes only a time there, which is taken as it is (`docs/decisions/009-minisign.md`).

use crate::limits::{SIGNATURE_BLOCKS_MAX, SIGNATURE_BYTES_MAX, TRUST_KEYS_MAX};
use aws_lc_rs::digest::{SHA512, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::Error as Fault;
use std::fmt;

/// The first word of a trusted comment that `igris sign` makes: what is signed is a configuration and nothing else.
pub const PURPOSE: &str = "igris-config-v1";
/// Trusted comments that begin so are ours, and one of another purpose is no signature of a configuration.
const OUR_COMMENTS: &str = "igris-";
/// Base64 of algorithm (2 bytes), key id (8) and Ed25519 key (32).
const KEY_CHARS: usize = 56;
const KEY_BYTES: usize = 42;
/// Algorithm and key id, before the key itself.
const ID_BYTES: std::ops::Range<usize> = 2..10;

/// Why signatures do not hold, or could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No public key. Never repeated: it may be a secret key by mistake (rule R1).
    #[error(
        "what was given is no minisign public key; give the 56 characters that begin with RW, or a file that holds them"
    )]
    Key,
    /// Too few or too many keys.
    #[error("there are {0} trusted keys; name 1 to {TRUST_KEYS_MAX}")]
    KeyCount(usize),
    /// The same key would count twice.
    #[error("the key {0} is named twice; name each key once")]
    KeyTwice(KeyId),
    /// More signatures wanted than there are keys, or none.
    #[error("{threshold} signatures of {keys} keys cannot be; ask for 1 to {keys}")]
    Threshold {
        /// Signatures wanted.
        threshold: usize,
        /// Trusted keys.
        keys: usize,
    },
    /// Not in minisign's form.
    #[error(
        "line {line} of the signature is not in minisign's form; sign the file again with `igris sign sign` or `minisign -S`"
    )]
    Form {
        /// Line, from 1.
        line: usize,
    },
    /// More than anybody needs.
    #[error(
        "the signature has more than {SIGNATURE_BYTES_MAX} bytes or {SIGNATURE_BLOCKS_MAX} signatures; sign the file anew"
    )]
    TooLong,
    /// A trusted key's signature over something else.
    #[error("the signature by key {0} does not fit: the file or the signature was changed; sign the file as it is now")]
    Bad(KeyId),
    /// A trusted key's signature that was made for something else.
    #[error("the signature by key {key} was made for something else ({what}); sign this file with `igris sign sign`")]
    Purpose {
        /// Who signed.
        key: KeyId,
        /// What differs.
        what: &'static str,
    },
    /// Not enough of the trusted keys.
    #[error("{valid} of the trusted keys signed and {threshold} must; sign with {}", .missing.join(" or "))]
    TooFew {
        /// Trusted keys that signed.
        valid: usize,
        /// How many must.
        threshold: usize,
        /// Trusted keys that did not, by id.
        missing: Vec<String>,
    },
}

/// What a public key is called: 16 hexadecimal digits, as the stock tool prints them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(u64);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

/// Who may sign.
#[derive(Clone, Debug)]
pub struct PublicKey {
    text: String,
    id: KeyId,
    key: minisign_verify::PublicKey,
}

/// n keys of which m must sign. Kept in the order of their texts, so that two sets of the same keys are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustSet {
    keys: Vec<PublicKey>,
    threshold: usize,
}

/// The signatures beside a file: blocks of four lines, one after another.
#[derive(Clone)]
pub struct Signatures {
    blocks: Vec<minisign_verify::Signature>,
}

/// What a signature says it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// Who says so.
    pub key: KeyId,
    /// The line of configurations.
    pub config_id: String,
    /// The version in that line.
    pub version: u64,
}

/// That enough trusted keys signed these bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The trusted keys that signed.
    pub signers: Vec<KeyId>,
    /// What those of `igris sign` say of the configuration, to be compared with what it says of itself.
    pub purposes: Vec<Purpose>,
}

// === impl KeyId ===

impl KeyId {
    /// Whether these are its eight bytes.
    pub fn is(self, bytes: &[u8]) -> bool {
        bytes == self.0.to_le_bytes()
    }
}

/// Who made a signature, by the second line of its block.
pub fn key_id_of(line: &str) -> Option<KeyId> {
    let bytes = STANDARD.decode(line).ok()?;
    Some(KeyId(u64::from_le_bytes(bytes.get(ID_BYTES)?.try_into().ok()?)))
}

// === impl PublicKey ===

impl PublicKey {
    /// Reads the 56 characters, or the text of a `.pub` file with a comment above them.
    ///
    /// # Errors
    /// [`SignatureError::Key`].
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let key = lines.find(|line| !line.starts_with("untrusted comment:")).unwrap_or_default();
        if key.len() != KEY_CHARS || lines.next().is_some() {
            return Err(SignatureError::Key);
        }
        let bytes = STANDARD.decode(key).map_err(|_| SignatureError::Key)?;
        let id = bytes.get(ID_BYTES).filter(|_| bytes.len() == KEY_BYTES && bytes.starts_with(b"Ed"));
        let id: [u8; 8] = id.and_then(|id| id.try_into().ok()).ok_or(SignatureError::Key)?;
        let parsed = minisign_verify::PublicKey::from_base64(key).map_err(|_| SignatureError::Key)?;
        Ok(Self { text: key.to_owned(), id: KeyId(u64::from_le_bytes(id)), key: parsed })
    }

    /// The 56 characters.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it is called.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The key without its id: who signs twice under two ids is still one.
    fn bare(&self) -> &str {
        // Ten bytes are thirteen characters and a third: from the fifteenth on there is only key.
        self.text.get(14..).unwrap_or_default()
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PublicKey {}

// === impl TrustSet ===

impl TrustSet {
    /// Trust in these keys; all of them must sign unless a threshold says fewer.
    ///
    /// # Errors
    /// [`SignatureError::KeyCount`], [`SignatureError::KeyTwice`], [`SignatureError::Threshold`].
    pub fn new(mut keys: Vec<PublicKey>, threshold: Option<usize>) -> Result<Self, SignatureError> {
        if keys.is_empty() || keys.len() > TRUST_KEYS_MAX {
            return Err(SignatureError::KeyCount(keys.len()));
        }
        keys.sort_by(|one, other| one.bare().cmp(other.bare()));
        for (one, next) in keys.iter().zip(keys.iter().skip(1)) {
            if one.bare() == next.bare() {
                return Err(SignatureError::KeyTwice(next.id));
            }
        }
        let threshold = threshold.unwrap_or(keys.len());
        if threshold == 0 || threshold > keys.len() {
            return Err(SignatureError::Threshold { threshold, keys: keys.len() });
        }
        keys.sort_by(|one, other| one.text.cmp(&other.text));
        Ok(Self { keys, threshold })
    }

    /// As a line for the store: the threshold, then the keys.
    pub fn line(&self) -> String {
        let keys: Vec<&str> = self.keys.iter().map(PublicKey::text).collect();
        format!("{} {}", self.threshold, keys.join(" "))
    }

    /// From such a line.
    ///
    /// # Errors
    /// It is none.
    pub fn from_line(line: &str) -> Result<Self, SignatureError> {
        let mut words = line.split(' ');
        let threshold = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let keys: Result<Vec<_>, _> = words.map(PublicKey::parse).collect();
        Self::new(keys?, Some(threshold))
    }

    /// The keys, in the order of their texts.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// How many must sign.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// Whether enough of the keys signed exactly these bytes.
    ///
    /// # Errors
    /// [`SignatureError::Bad`], [`SignatureError::Purpose`], [`SignatureError::TooFew`].
    pub fn verify(&self, bytes: &[u8], signatures: &Signatures) -> Result<Verified, SignatureError> {
        let mut verified = Verified { signers: Vec::new(), purposes: Vec::new() };
        for block in &signatures.blocks {
            let Some(key) = self.signer(bytes, block)? else { continue };
            verified.purposes.extend(purpose(key.id, block.trusted_comment(), bytes)?);
            if !verified.signers.contains(&key.id) {
                verified.signers.push(key.id);
            }
        }
        if verified.signers.len() < self.threshold {
            let absent = self.keys.iter().filter(|key| !verified.signers.contains(&key.id));
            let (valid, threshold) = (verified.signers.len(), self.threshold);
            let missing = absent.map(|key| key.id.to_string()).collect();
            return Err(SignatureError::TooFew { valid, threshold, missing });
        }
        Ok(verified)
    }

    /// Which trusted key made this signature; `None`: another one.
    fn signer(&self, bytes: &[u8], block: &minisign_verify::Signature) -> Result<Option<&PublicKey>, SignatureError> {
        let mut bad = None;
        for key in &self.keys {
            match key.key.verify(bytes, block, true) {
                Ok(()) => return Ok(Some(key)),
                Err(Fault::UnexpectedKeyId) => {}
                Err(_) => bad = Some(key.id),
            }
        }
        bad.map_or(Ok(None), |id| Err(SignatureError::Bad(id)))
    }
}

// === impl Signatures ===

impl Signatures {
    /// Reads the text of a `.minisig` file.
    ///
    /// # Errors
    /// [`SignatureError::Form`], [`SignatureError::TooLong`].
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        if text.len() > SIGNATURE_BYTES_MAX {
            return Err(SignatureError::TooLong);
        }
        let lines: Vec<&str> = text.lines().map(|line| line.trim_end_matches('\r')).collect();
        let (mut blocks, mut at) = (Vec::new(), 0_usize);
        while let Some(first) = lines.get(at) {
            if first.is_empty() {
                at = at.saturating_add(1);
                continue;
            }
            if blocks.len() >= SIGNATURE_BLOCKS_MAX {
                return Err(SignatureError::TooLong);
            }
            let end = at.saturating_add(4);
            let form = |line| SignatureError::Form { line };
            let four = lines.get(at..end).ok_or(form(lines.len()))?;
            if !first.starts_with("untrusted comment:") {
                return Err(form(at.saturating_add(1)));
            }
            let block = minisign_verify::Signature::decode(&four.join("\n"));
            blocks.push(block.map_err(|_| form(at.saturating_add(2)))?);
            at = end;
        }
        if blocks.is_empty() { Err(SignatureError::Form { line: 1 }) } else { Ok(Self { blocks }) }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.blocks.len()
    }
}

/// The trusted comment of a signature that is made for a configuration (rule C1).
pub fn comment(config_id: &str, version: u64, bytes: &[u8]) -> String {
    format!("{PURPOSE} config_id={config_id} version={version} sha512={}", digest_of(bytes))
}

/// What a trusted comment says; nothing where it is not ours.
fn purpose(key: KeyId, comment: &str, bytes: &[u8]) -> Result<Option<Purpose>, SignatureError> {
    if !comment.starts_with(OUR_COMMENTS) {
        return Ok(None);
    }
    let other = |what| SignatureError::Purpose { key, what };
    let mut words = comment.split(' ');
    if words.next() != Some(PURPOSE) {
        return Err(other("it names another purpose"));
    }
    let mut value = |name: &str| words.next().and_then(|word| word.strip_prefix(name)?.strip_prefix('='));
    let (config_id, version, sha512) = (value("config_id"), value("version"), value("sha512"));
    let digits = version.filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
    let version = digits.and_then(|digits| digits.parse().ok());
    let (Some(config_id), Some(version), Some(sha512)) = (config_id, version, sha512) else {
        return Err(other("its comment cannot be read"));
    };
    if sha512 != digest_of(bytes) {
        return Err(other("its digest is of another file"));
    }
    Ok(Some(Purpose { key, config_id: config_id.to_owned(), version }))
}

/// SHA-512 in hexadecimal digits, as a trusted comment of ours ends.
pub fn digest_of(bytes: &[u8]) -> String {
    digest(&SHA512, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
