//! The key hierarchy on one screen: root key -> master keys (KEK, versioned) -> a data key (DEK) per tenant (rules V1, V6).
//!
//! The key ring holds the root and the master keys in locked memory and turns stored rows into keys and back. It writes
//! nothing: each change is a row that the caller stores first and adopts afterwards, so that a crash between the two loses
//! nothing. The newest master key wraps; older ones only unwrap, until no row uses them and the store drops them.

use super::access_key::Pepper;
use super::audit_key::AuditKey;
use super::entropy::Entropy;
use super::error::VaultError;
use super::locked::LockedKey;
use super::root_key::RootKey;
use super::seal::{KEY_BYTES, Place, open_with, seal_with};
use crate::domain::id::TenantId;
use crate::domain::secret::Secret;
use std::collections::BTreeMap;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Seals one data key may make (rule V2).
pub const SEALS_MAX: u64 = 1 << 32;

/// The open hierarchy.
#[derive(Debug)]
pub struct Keyring {
    root: RootKey,
    masters: BTreeMap<u32, LockedKey>,
    peppers: BTreeMap<u32, Arc<Pepper>>,
    /// `None` until a store that was made without it gets one.
    audit: Option<Arc<AuditKey>>,
}

/// A tenant's data key, open. It lives as long as one operation and is wiped after it.
pub struct DataKey {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    seals: u64,
}

/// A master key as stored: sealed under the root key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedMasterKey {
    /// From 1; the greatest is the one that wraps.
    pub version: u32,
    /// The sealed record.
    pub record: Vec<u8>,
}

/// A pepper as stored: sealed under a master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedPepper {
    /// From 1; new access keys use the greatest.
    pub version: u32,
    /// The master key that wraps it.
    pub kek_version: u32,
    /// The sealed record.
    pub record: Vec<u8>,
}

/// The key of the audit log as stored: sealed under a master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedAuditKey {
    /// The master key that wraps it.
    pub kek_version: u32,
    /// The sealed record.
    pub record: Vec<u8>,
}

/// A tenant's data key as stored: sealed under a master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedDataKey {
    /// Grows when the tenant gets a new data key.
    pub generation: u64,
    /// The master key that wraps it.
    pub kek_version: u32,
    /// The sealed record.
    pub record: Vec<u8>,
    /// How many records this data key has sealed.
    pub seals: u64,
}

/// Everything of the hierarchy above the tenants, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyringRows {
    /// A record under the root key: opens with the right root key only, and says whether there is a key of the audit log.
    pub root_check: Vec<u8>,
    /// All living master keys.
    pub masters: Vec<WrappedMasterKey>,
    /// All peppers.
    pub peppers: Vec<WrappedPepper>,
    /// The key of the audit log; absent in a store that was made without it.
    pub audit: Option<WrappedAuditKey>,
}

/// A master key that is not in use yet: store `wrapped`, then hand this to [`Keyring::adopt`].
#[derive(Debug)]
pub struct NewMasterKey {
    /// What to store.
    pub wrapped: WrappedMasterKey,
    key: LockedKey,
}

/// A key for an audit log that had none: store both records, then hand this to [`Keyring::adopt_audit_key`].
#[derive(Debug)]
pub struct NewAuditKey {
    /// The proof of the root key, which vouches for the audit key from now on.
    pub root_check: Vec<u8>,
    /// The audit key.
    pub wrapped: WrappedAuditKey,
    key: AuditKey,
}

/// What the proof of the root key holds when the hierarchy has a key of the audit log: erasing the key's row then shows.
const VOUCHED: &[u8] = b"audit";

// === impl Keyring ===

impl Keyring {
    /// The rows of a new hierarchy: one master key, one pepper, one key of the audit log.
    ///
    /// # Errors
    /// [`VaultError::NoEntropy`], [`VaultError::LockedMemory`].
    pub fn create(root: &RootKey, entropy: &mut dyn Entropy) -> Result<KeyringRows, VaultError> {
        let root_check = seal_with(root.bytes(), &Place::root_check(), VOUCHED, entropy)?;
        let master = NewMasterKey::make(root, 1, entropy)?;
        let mut pepper = Zeroizing::new([0; KEY_BYTES]);
        entropy.fill(&mut pepper[..])?;
        let record = seal_with(master.key.expose(), &Place::pepper(1, 1), &pepper[..], entropy)?;
        let peppers = vec![WrappedPepper { version: 1, kek_version: 1, record }];
        let (_, audit) = wrapped_audit_key(1, master.key.expose(), entropy)?;
        Ok(KeyringRows { root_check, masters: vec![master.wrapped], peppers, audit: Some(audit) })
    }

    /// Opens a stored hierarchy.
    ///
    /// # Errors
    /// [`VaultError::WrongRootKey`] when the root key is another one; [`VaultError::AuditKeyMissing`]; otherwise as
    /// [`super::seal::open`].
    pub fn open(root: RootKey, rows: &KeyringRows) -> Result<Self, VaultError> {
        let vouched = proven(&root, &rows.root_check)?;
        if vouched && rows.audit.is_none() {
            return Err(VaultError::AuditKeyMissing);
        }
        let mut masters = BTreeMap::new();
        for row in &rows.masters {
            let key = open_with(root.bytes(), &Place::master_key(row.version), &row.record)?;
            masters.insert(row.version, LockedKey::copy_of(key.expose())?);
        }
        let mut keyring = Self { root, masters, peppers: BTreeMap::new(), audit: None };
        for row in &rows.peppers {
            let pepper = Pepper::new(row.version, &*keyring.unwrap_pepper(row)?);
            keyring.peppers.insert(row.version, Arc::new(pepper));
        }
        if let Some(row) = &rows.audit {
            keyring.audit = Some(Arc::new(AuditKey::new(&*keyring.unwrap_audit_key(row)?)));
        }
        keyring.active()?;
        keyring.pepper()?;
        Ok(keyring)
    }

    /// The version of the master key that wraps now.
    ///
    /// # Errors
    /// [`VaultError::UnknownMasterKey`] when there is none, which [`Keyring::open`] rules out.
    pub fn active_version(&self) -> Result<u32, VaultError> {
        self.active().map(|(version, _)| version)
    }

    /// The pepper of new access keys.
    ///
    /// # Errors
    /// [`VaultError::UnknownPepper`] when there is none, which [`Keyring::open`] rules out.
    pub fn pepper(&self) -> Result<&Arc<Pepper>, VaultError> {
        self.peppers.values().next_back().ok_or(VaultError::UnknownPepper { version: 1 })
    }

    /// All peppers, newest first: a presented key is digested with each until one is known.
    pub fn peppers(&self) -> impl Iterator<Item = &Arc<Pepper>> {
        self.peppers.values().rev()
    }

    /// Whether a root key opens a stored hierarchy, by its proof alone.
    ///
    /// # Errors
    /// As [`super::seal::open`], but that a wrong key is an answer.
    pub fn opens(root: &RootKey, root_check: &[u8]) -> Result<bool, VaultError> {
        match proven(root, root_check) {
            Ok(_) => Ok(true),
            Err(VaultError::WrongRootKey) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Whether this is the root key that the hierarchy hangs below.
    pub fn is_under(&self, root: &RootKey) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.root.bytes(), root.bytes()).is_ok()
    }

    /// The hierarchy as others changed it, under the same root key.
    ///
    /// # Errors
    /// As [`Keyring::open`].
    pub fn reopened(&self, rows: &KeyringRows) -> Result<Self, VaultError> {
        Self::open(self.root.duplicate()?, rows)
    }

    /// The same hierarchy once more, in locked memory of its own: for reading the store beside its writer.
    ///
    /// # Errors
    /// [`VaultError::LockedMemory`].
    pub fn duplicate(&self) -> Result<Self, VaultError> {
        let copy = |(version, key): (&u32, &LockedKey)| Ok((*version, LockedKey::copy_of(key.expose())?));
        Ok(Self {
            root: self.root.duplicate()?,
            masters: self.masters.iter().map(copy).collect::<Result<_, VaultError>>()?,
            peppers: self.peppers.clone(),
            audit: self.audit.clone(),
        })
    }

    /// The key of the audit log.
    pub fn audit_key(&self) -> Option<&Arc<AuditKey>> {
        self.audit.as_ref()
    }

    /// A key for an audit log that has none, not yet in use.
    ///
    /// # Errors
    /// [`VaultError::NoEntropy`].
    pub fn next_audit_key(&self, entropy: &mut dyn Entropy) -> Result<NewAuditKey, VaultError> {
        let (version, master) = self.active()?;
        let (key, wrapped) = wrapped_audit_key(version, master.expose(), entropy)?;
        let root_check = seal_with(self.root.bytes(), &Place::root_check(), VOUCHED, entropy)?;
        Ok(NewAuditKey { root_check, wrapped, key })
    }

    /// Takes a stored audit key into use.
    pub fn adopt_audit_key(&mut self, new: NewAuditKey) {
        self.audit = Some(Arc::new(new.key));
    }

    /// How many master keys live, the active one among them: more than one means that a rotation is not finished.
    pub fn master_count(&self) -> usize {
        self.masters.len()
    }

    /// The next master key, not yet in use.
    ///
    /// # Errors
    /// [`VaultError::VersionsSpent`], [`VaultError::NoEntropy`], [`VaultError::LockedMemory`].
    pub fn next_master(&self, entropy: &mut dyn Entropy) -> Result<NewMasterKey, VaultError> {
        let version = self.active_version()?.checked_add(1).ok_or(VaultError::VersionsSpent)?;
        NewMasterKey::make(&self.root, version, entropy)
    }

    /// Takes a stored master key into use: it wraps from now on.
    pub fn adopt(&mut self, new: NewMasterKey) {
        self.masters.insert(new.wrapped.version, new.key);
    }

    /// Forgets every master key older than the active one. Only after a scan found no row that uses them (rule V6).
    ///
    /// # Errors
    /// As [`Keyring::active_version`].
    pub fn forget_older(&mut self) -> Result<(), VaultError> {
        let active = self.active_version()?;
        self.masters.retain(|version, _| *version >= active);
        Ok(())
    }

    /// The rows of this hierarchy under another root key. Peppers and data keys hang below the master keys and stay as they are.
    ///
    /// # Errors
    /// [`VaultError::NoEntropy`].
    pub fn under(
        &self,
        root: &RootKey,
        entropy: &mut dyn Entropy,
    ) -> Result<(Vec<u8>, Vec<WrappedMasterKey>), VaultError> {
        let vouched = if self.audit.is_some() { VOUCHED } else { &[] };
        let root_check = seal_with(root.bytes(), &Place::root_check(), vouched, entropy)?;
        let mut masters = Vec::with_capacity(self.masters.len());
        for (version, key) in &self.masters {
            let record = seal_with(root.bytes(), &Place::master_key(*version), key.expose(), entropy)?;
            masters.push(WrappedMasterKey { version: *version, record });
        }
        Ok((root_check, masters))
    }

    /// A new data key for a tenant, as stored.
    ///
    /// # Errors
    /// [`VaultError::NoEntropy`].
    pub fn make_data_key(
        &self,
        tenant: &TenantId,
        generation: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<WrappedDataKey, VaultError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        entropy.fill(&mut bytes[..])?;
        self.wrap_data_key(tenant, generation, &bytes, 0, entropy)
    }

    /// Opens a tenant's data key.
    ///
    /// # Errors
    /// [`VaultError::UnknownMasterKey`]; otherwise as [`super::seal::open`].
    pub fn open_data_key(&self, tenant: &TenantId, row: &WrappedDataKey) -> Result<DataKey, VaultError> {
        let place = Place::data_key(tenant, row.generation, row.kek_version);
        let bytes = key_bytes(open_with(self.master(row.kek_version)?, &place, &row.record)?)?;
        Ok(DataKey { bytes, seals: row.seals })
    }

    /// The same data key under the active master key; `None` when it is there already.
    ///
    /// # Errors
    /// As [`Keyring::open_data_key`].
    pub fn rewrap_data_key(
        &self,
        tenant: &TenantId,
        row: &WrappedDataKey,
        entropy: &mut dyn Entropy,
    ) -> Result<Option<WrappedDataKey>, VaultError> {
        if row.kek_version == self.active_version()? {
            return Ok(None);
        }
        let key = self.open_data_key(tenant, row)?;
        self.wrap_data_key(tenant, row.generation, &key.bytes, row.seals, entropy).map(Some)
    }

    /// The same pepper under the active master key; `None` when it is there already.
    ///
    /// # Errors
    /// As [`super::seal::open`].
    pub fn rewrap_pepper(
        &self,
        row: &WrappedPepper,
        entropy: &mut dyn Entropy,
    ) -> Result<Option<WrappedPepper>, VaultError> {
        let (kek_version, master) = self.active()?;
        if row.kek_version == kek_version {
            return Ok(None);
        }
        let pepper = self.unwrap_pepper(row)?;
        let record = seal_with(master.expose(), &Place::pepper(row.version, kek_version), &pepper[..], entropy)?;
        Ok(Some(WrappedPepper { version: row.version, kek_version, record }))
    }

    /// The same audit key under the active master key; `None` when it is there already.
    ///
    /// # Errors
    /// As [`super::seal::open`].
    pub fn rewrap_audit_key(
        &self,
        row: &WrappedAuditKey,
        entropy: &mut dyn Entropy,
    ) -> Result<Option<WrappedAuditKey>, VaultError> {
        let (kek_version, master) = self.active()?;
        if row.kek_version == kek_version {
            return Ok(None);
        }
        let key = self.unwrap_audit_key(row)?;
        let record = seal_with(master.expose(), &Place::audit_key(kek_version), &key[..], entropy)?;
        Ok(Some(WrappedAuditKey { kek_version, record }))
    }

    fn wrap_data_key(
        &self,
        tenant: &TenantId,
        generation: u64,
        bytes: &[u8; KEY_BYTES],
        seals: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<WrappedDataKey, VaultError> {
        let (kek_version, master) = self.active()?;
        let record = seal_with(master.expose(), &Place::data_key(tenant, generation, kek_version), bytes, entropy)?;
        Ok(WrappedDataKey { generation, kek_version, record, seals })
    }

    fn unwrap_pepper(&self, row: &WrappedPepper) -> Result<Zeroizing<[u8; KEY_BYTES]>, VaultError> {
        let place = Place::pepper(row.version, row.kek_version);
        key_bytes(open_with(self.master(row.kek_version)?, &place, &row.record)?)
    }

    fn unwrap_audit_key(&self, row: &WrappedAuditKey) -> Result<Zeroizing<[u8; KEY_BYTES]>, VaultError> {
        key_bytes(open_with(self.master(row.kek_version)?, &Place::audit_key(row.kek_version), &row.record)?)
    }

    fn active(&self) -> Result<(u32, &LockedKey), VaultError> {
        let newest = self.masters.last_key_value().ok_or(VaultError::UnknownMasterKey { version: 1 })?;
        Ok((*newest.0, newest.1))
    }

    fn master(&self, version: u32) -> Result<&[u8; KEY_BYTES], VaultError> {
        self.masters.get(&version).map(LockedKey::expose).ok_or(VaultError::UnknownMasterKey { version })
    }
}

// === impl NewMasterKey ===

impl NewMasterKey {
    fn make(root: &RootKey, version: u32, entropy: &mut dyn Entropy) -> Result<Self, VaultError> {
        let mut key = LockedKey::zeroed()?;
        entropy.fill(key.expose_mut())?;
        let record = seal_with(root.bytes(), &Place::master_key(version), key.expose(), entropy)?;
        Ok(Self { wrapped: WrappedMasterKey { version, record }, key })
    }
}

// === impl DataKey ===

impl DataKey {
    /// How many records this key has sealed, with those of this life; the caller stores it with the record.
    pub fn seals(&self) -> u64 {
        self.seals
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }

    /// Counts before sealing, so that an error in between wastes a count and never a nonce.
    pub(super) fn count_seal(&mut self) -> Result<(), VaultError> {
        if self.seals >= SEALS_MAX {
            return Err(VaultError::SealsSpent);
        }
        self.seals = self.seals.saturating_add(1);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn of(bytes: [u8; KEY_BYTES], seals: u64) -> Self {
        Self { bytes: Zeroizing::new(bytes), seals }
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DataKey({} seals, …)", self.seals)
    }
}

/// Whether a root key's proof vouches for a key of the audit log; an error when it is another root key's.
fn proven(root: &RootKey, root_check: &[u8]) -> Result<bool, VaultError> {
    let proof = open_with(root.bytes(), &Place::root_check(), root_check).map_err(|error| match error {
        VaultError::WrongKey => VaultError::WrongRootKey,
        other => other,
    })?;
    Ok(proof.expose() == VOUCHED)
}

fn wrapped_audit_key(
    kek_version: u32,
    master: &[u8; KEY_BYTES],
    entropy: &mut dyn Entropy,
) -> Result<(AuditKey, WrappedAuditKey), VaultError> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    entropy.fill(&mut bytes[..])?;
    let record = seal_with(master, &Place::audit_key(kek_version), &bytes[..], entropy)?;
    Ok((AuditKey::new(&bytes), WrappedAuditKey { kek_version, record }))
}

fn key_bytes(opened: Secret) -> Result<Zeroizing<[u8; KEY_BYTES]>, VaultError> {
    let bytes: &[u8; KEY_BYTES] = opened.expose().try_into().map_err(|_| VaultError::Malformed)?;
    let mut kept = Zeroizing::new([0; KEY_BYTES]);
    kept.copy_from_slice(bytes);
    Ok(kept)
}

#[cfg(test)]
#[path = "keyring_tests.rs"]
mod tests;
