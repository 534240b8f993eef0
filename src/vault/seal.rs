//! Sealed records: AES-256-GCM under a key derived per record, committing to the key and bound to its place (rules V2 to V5).
//!
//! `magic(4) version(1) suite(1) kek_version(4) id(16) generation(8) salt(32) nonce(12) commitment(32) len(4) ciphertext tag(16)`,
//! integers big-endian. The working key and the commitment are the halves of
//! `HKDF-SHA-512(ikm = sealing key, salt, info = purpose, 64 bytes)` (RFC 5869). Opening compares the place, then the
//! commitment in constant time, and only then decrypts. Any changed byte, any other place, any unknown version is refused.

use super::entropy::Entropy;
use super::error::VaultError;
use super::keyring::DataKey;
use crate::domain::id::{CredentialId, ProviderId, TenantId};
use crate::domain::secret::Secret;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{constant_time, hkdf};
use zeroize::Zeroizing;

/// Bytes of any sealing key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a record beside the plaintext: the head and the tag.
pub const RECORD_OVERHEAD: usize = HEAD_BYTES + TAG_BYTES;

/// What a record holds. Part of the derivation and of the authenticated data, so that one kind never opens as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Nothing: it proves that the root key at hand is the right one.
    RootCheck,
    /// A master key, under the root key.
    MasterKey,
    /// A pepper of access-key digests, under a master key.
    Pepper,
    /// The key of the audit log, under a master key.
    AuditKey,
    /// A tenant's data key, under a master key.
    DataKey,
    /// A provider key, under a data key.
    ProviderKey,
}

/// Where a record belongs. A record opens in the place it was sealed for and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    purpose: Purpose,
    tenant: &'a str,
    provider: &'a str,
    base_url: &'a str,
    id: u128,
    kek_version: u32,
    generation: u64,
}

/// Seals a value under a tenant's data key, and counts the seal.
///
/// # Errors
/// [`VaultError::SealsSpent`] after 2^32 seals, [`VaultError::TooLong`] past 4 GiB, [`VaultError::NoEntropy`].
pub fn seal(
    key: &mut DataKey,
    place: &Place<'_>,
    plaintext: &Secret,
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, VaultError> {
    key.count_seal()?;
    seal_with(key.bytes(), place, plaintext.expose(), entropy)
}

/// Opens a record that was sealed for exactly this place under exactly this data key.
///
/// # Errors
/// [`VaultError::Malformed`], [`VaultError::UnknownFormat`], [`VaultError::Misplaced`], [`VaultError::WrongKey`],
/// [`VaultError::Forged`]: never a partial answer.
pub fn open(key: &DataKey, place: &Place<'_>, record: &[u8]) -> Result<Secret, VaultError> {
    open_with(key.bytes(), place, record)
}

// === impl Purpose ===

impl Purpose {
    /// The derivation's `info`, one per kind of record.
    fn info(self) -> &'static [u8] {
        match self {
            Self::RootCheck => b"igris/root-check/v1",
            Self::MasterKey => b"igris/master-key/v1",
            Self::Pepper => b"igris/pepper/v1",
            Self::AuditKey => b"igris/audit-key/v1",
            Self::DataKey => b"igris/data-key/v1",
            Self::ProviderKey => b"igris/provider-key/v1",
        }
    }
}

// === impl Place ===

impl<'a> Place<'a> {
    /// The proof of the root key.
    pub const fn root_check() -> Place<'static> {
        Place {
            purpose: Purpose::RootCheck,
            tenant: "",
            provider: "",
            base_url: "",
            id: 0,
            kek_version: 0,
            generation: 0,
        }
    }

    /// Master key of this version.
    pub const fn master_key(version: u32) -> Place<'static> {
        Place { purpose: Purpose::MasterKey, kek_version: version, ..Self::root_check() }
    }

    /// Pepper of this version, under that master key.
    pub const fn pepper(version: u32, kek_version: u32) -> Place<'static> {
        Place { purpose: Purpose::Pepper, kek_version, generation: version as u64, ..Self::root_check() }
    }

    /// The key of the audit log, under that master key.
    pub const fn audit_key(kek_version: u32) -> Place<'static> {
        Place { purpose: Purpose::AuditKey, kek_version, ..Self::root_check() }
    }

    /// A tenant's data key of this generation, under that master key.
    pub fn data_key(tenant: &'a TenantId, generation: u64, kek_version: u32) -> Self {
        Place { purpose: Purpose::DataKey, tenant: tenant.as_str(), kek_version, generation, ..Self::root_check() }
    }

    /// A credential. The base URL is part of the place: a key sealed for one address is never sent to another (rule T5).
    pub fn credential(
        tenant: &'a TenantId,
        provider: &'a ProviderId,
        base_url: &'a str,
        id: CredentialId,
        kek_version: u32,
        generation: u64,
    ) -> Self {
        Place {
            purpose: Purpose::ProviderKey,
            tenant: tenant.as_str(),
            provider: provider.as_str(),
            base_url,
            id: id.bits(),
            kek_version,
            generation,
        }
    }

    /// The authenticated data: each field behind its length, so that `ab|c` differs from `a|bc` (rule V4).
    fn aad(&self) -> Result<Vec<u8>, VaultError> {
        let mut aad = Vec::with_capacity(160);
        let fields: [&[u8]; 8] = [
            &[VERSION],
            self.purpose.info(),
            self.tenant.as_bytes(),
            self.provider.as_bytes(),
            self.base_url.as_bytes(),
            &self.id.to_be_bytes(),
            &self.kek_version.to_be_bytes(),
            &self.generation.to_be_bytes(),
        ];
        for field in fields {
            let len = u32::try_from(field.len()).map_err(|_| VaultError::TooLong)?;
            aad.extend_from_slice(&len.to_be_bytes());
            aad.extend_from_slice(field);
        }
        Ok(aad)
    }
}

// === sealing and opening under any key of the hierarchy ===

pub(super) fn seal_with(
    key: &[u8; KEY_BYTES],
    place: &Place<'_>,
    plaintext: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, VaultError> {
    let len = u32::try_from(plaintext.len()).map_err(|_| VaultError::TooLong)?;
    let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_BYTES]);
    entropy.fill(&mut salt)?;
    entropy.fill(&mut nonce)?;
    let working = WorkingKey::derive(key, &salt, place.purpose)?;
    let cipher = working.cipher()?;
    // The plaintext is encrypted where it lies, in a buffer that never grows: no second copy to wipe.
    let mut body = Zeroizing::new(Vec::with_capacity(plaintext.len()));
    body.extend_from_slice(plaintext);
    let tag = cipher
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place.aad()?), &mut body)
        .map_err(|_| VaultError::TooLong)?;
    let mut record = Vec::with_capacity(RECORD_OVERHEAD.saturating_add(body.len()));
    record.extend_from_slice(&MAGIC);
    record.extend_from_slice(&[VERSION, SUITE]);
    record.extend_from_slice(&place.kek_version.to_be_bytes());
    record.extend_from_slice(&place.id.to_be_bytes());
    record.extend_from_slice(&place.generation.to_be_bytes());
    record.extend_from_slice(&salt);
    record.extend_from_slice(&nonce);
    record.extend_from_slice(&working.commitment);
    record.extend_from_slice(&len.to_be_bytes());
    record.extend_from_slice(&body);
    record.extend_from_slice(tag.as_ref());
    Ok(record)
}

pub(super) fn open_with(key: &[u8; KEY_BYTES], place: &Place<'_>, record: &[u8]) -> Result<Secret, VaultError> {
    let record = Record::parse(record)?;
    if (record.kek_version, record.id, record.generation) != (place.kek_version, place.id, place.generation) {
        return Err(VaultError::Misplaced);
    }
    let working = WorkingKey::derive(key, record.salt, place.purpose)?;
    constant_time::verify_slices_are_equal(&working.commitment, record.commitment).map_err(|_| VaultError::WrongKey)?;
    let mut body = Zeroizing::new(record.body.to_vec());
    let nonce = Nonce::assume_unique_for_key(*record.nonce);
    let plain =
        working.cipher()?.open_in_place(nonce, Aad::from(place.aad()?), &mut body).map_err(|_| VaultError::Forged)?;
    Ok(Secret::copy_of(plain))
}

/// A record's parts, borrowed; nothing in it is trusted yet.
#[derive(Debug)]
pub struct Record<'a> {
    kek_version: u32,
    id: u128,
    generation: u64,
    salt: &'a [u8; SALT_BYTES],
    nonce: &'a [u8; NONCE_BYTES],
    commitment: &'a [u8; COMMITMENT_BYTES],
    /// Ciphertext and tag.
    body: &'a [u8],
}

impl<'a> Record<'a> {
    /// Splits a record, refusing what is not exactly one.
    ///
    /// # Errors
    /// [`VaultError::Malformed`] or [`VaultError::UnknownFormat`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, VaultError> {
        let (magic, rest) = bytes.split_first_chunk::<4>().ok_or(VaultError::Malformed)?;
        let (&[version, suite], rest) = rest.split_first_chunk::<2>().ok_or(VaultError::Malformed)?;
        if *magic != MAGIC {
            return Err(VaultError::Malformed);
        }
        if (version, suite) != (VERSION, SUITE) {
            return Err(VaultError::UnknownFormat { version, suite });
        }
        let (kek_version, rest) = rest.split_first_chunk::<4>().ok_or(VaultError::Malformed)?;
        let (id, rest) = rest.split_first_chunk::<16>().ok_or(VaultError::Malformed)?;
        let (generation, rest) = rest.split_first_chunk::<8>().ok_or(VaultError::Malformed)?;
        let (salt, rest) = rest.split_first_chunk::<SALT_BYTES>().ok_or(VaultError::Malformed)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(VaultError::Malformed)?;
        let (commitment, rest) = rest.split_first_chunk::<COMMITMENT_BYTES>().ok_or(VaultError::Malformed)?;
        let (len, body) = rest.split_first_chunk::<4>().ok_or(VaultError::Malformed)?;
        let sealed = body.len().checked_sub(TAG_BYTES).ok_or(VaultError::Malformed)?;
        if u32::try_from(sealed).ok() != Some(u32::from_be_bytes(*len)) {
            return Err(VaultError::Malformed);
        }
        Ok(Self {
            kek_version: u32::from_be_bytes(*kek_version),
            id: u128::from_be_bytes(*id),
            generation: u64::from_be_bytes(*generation),
            salt,
            nonce,
            commitment,
            body,
        })
    }
}

/// What one record is encrypted with, and what proves which key that was.
struct WorkingKey {
    cipher_key: Zeroizing<[u8; KEY_BYTES]>,
    /// Stored in the clear: GCM alone lets one ciphertext open under two keys (rule V3).
    commitment: [u8; COMMITMENT_BYTES],
}

impl WorkingKey {
    fn derive(key: &[u8; KEY_BYTES], salt: &[u8; SALT_BYTES], purpose: Purpose) -> Result<Self, VaultError> {
        let mut okm = Zeroizing::new([0; OKM_BYTES]);
        let info = [purpose.info()];
        hkdf::Salt::new(hkdf::HKDF_SHA512, salt)
            .extract(key)
            .expand(&info, OkmLen)
            .and_then(|expanded| expanded.fill(&mut okm[..]))
            .map_err(|_| VaultError::TooLong)?;
        let mut cipher_key = Zeroizing::new([0; KEY_BYTES]);
        let mut commitment = [0; COMMITMENT_BYTES];
        let (first, last) = okm.split_at(KEY_BYTES);
        cipher_key.copy_from_slice(first);
        commitment.copy_from_slice(last);
        Ok(Self { cipher_key, commitment })
    }

    fn cipher(&self) -> Result<LessSafeKey, VaultError> {
        let key = UnboundKey::new(&AES_256_GCM, &self.cipher_key[..]).map_err(|_| VaultError::Malformed)?;
        Ok(LessSafeKey::new(key))
    }
}

/// Tells the derivation how much to give.
struct OkmLen;

impl hkdf::KeyType for OkmLen {
    fn len(&self) -> usize {
        OKM_BYTES
    }
}

const MAGIC: [u8; 4] = *b"IGSR";
const VERSION: u8 = 1;
/// HKDF-SHA-512 and AES-256-GCM with a stored commitment.
const SUITE: u8 = 1;
const SALT_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const COMMITMENT_BYTES: usize = 32;
const OKM_BYTES: usize = KEY_BYTES + COMMITMENT_BYTES;
const TAG_BYTES: usize = 16;
const HEAD_BYTES: usize = 4 + 1 + 1 + 4 + 16 + 8 + SALT_BYTES + NONCE_BYTES + COMMITMENT_BYTES + 4;

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
