//! The key hierarchy under change: a new root key, a new master key, a tenant's new data key; proof that everything opens; copies.
//!
//! A gateway that runs does this through [`Control`], a command with the gateway stopped through [`OfflineVault`]; both take the same
//! steps. Long reading (verification, copies) happens through a [`Reader`] of its own, which nobody waits for.
//!
//! ```text
//!  root key     prepared beside -> store under it (one transaction, with its audit row) -> the file takes its name, the old is wiped
//!  master key   version added (with its audit row) -> batches rewrapped, a tick each -> the older versions dropped
//! ```

use super::audit::Changed;
use super::credentials::{Credentials, Had};
use super::operations::Deed;
use super::{Control, ControlError};
use crate::config::{Config, KeySource, Store as StorePlace};
use crate::domain::clock::UnixMillis;
use crate::domain::id::TenantId;
use crate::limits::VAULT_FINDINGS_MAX;
use crate::store::{AuditEntry, AuditHead, Store, StoreError, StoredTrust};
use crate::vault::{Entropy, Keyring, OsEntropy, RootKey, RootSource, Settled, VaultError};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Where a store and its root key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultPlace {
    /// The database file.
    pub store: PathBuf,
    /// The root key.
    pub root: RootSource,
}

/// Where the new root key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewRoot {
    /// Igris makes it and puts it in the place of the old one, which must be a file.
    InPlace,
    /// This file, made if it is missing. Telling igris of it is the operator's part.
    File(PathBuf),
}

/// A root key was rotated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RootRotated {
    /// Where the root key is now.
    pub root_key: String,
    /// What is left to do before the next start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// A master key was rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MasterRotated {
    /// The version that wraps now.
    pub version: u32,
    /// Data keys, peppers and audit keys that were wrapped anew.
    pub rewrapped: u64,
}

/// A tenant's data key was rotated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DataRotated {
    /// Whose.
    pub tenant: String,
    /// Provider keys that were sealed anew.
    pub resealed: usize,
}

/// What opening everything came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VaultReport {
    /// Whether there is no finding.
    pub whole: bool,
    /// Living master keys; more than one while a rotation runs.
    pub master_keys: usize,
    /// Peppers of access keys.
    pub peppers: usize,
    /// Data keys that opened: living tenants.
    pub data_keys: u64,
    /// Provider keys that opened.
    pub credentials: u64,
    /// Living access keys.
    pub access_keys: u64,
    /// Rows of the audit log.
    pub audit_rows: u64,
    /// Where the audit log ends: keep it elsewhere, and give it to a later verification.
    pub audit_head: String,
    /// What does not open or hold together.
    pub findings: Vec<String>,
}

/// What the audit log's verification came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditProof {
    /// Whether every row follows from the one before and the log ends where its head says.
    pub whole: bool,
    /// Its rows; 0 when it does not hold together.
    pub rows: u64,
    /// Where it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<String>,
}

/// A store opened for reading beside its writer, with the keys to open its records.
pub struct Reader {
    store: Store,
    keyring: Keyring,
    now: UnixMillis,
}

/// The vault of a gateway that does not run.
pub struct OfflineVault {
    store: Store,
    keyring: Keyring,
    root: RootSource,
    who: String,
}

// === impl VaultPlace ===

impl VaultPlace {
    /// As a gateway with this configuration and data directory would have it.
    pub fn of(config: Option<&Config>, data_dir: &Path) -> Self {
        let store = config.and_then(|config| match &config.store {
            StorePlace::Sqlite(path) => path.clone(),
            StorePlace::Database(_) => None,
        });
        let root = match config.and_then(|config| config.root_key.as_ref()) {
            None => RootSource::File(data_dir.join("root.key")),
            Some(KeySource::File(path)) => RootSource::File(path.clone()),
            Some(KeySource::Env(name)) => RootSource::Env(name.clone()),
            Some(KeySource::Fd(fd)) => RootSource::Fd(*fd),
        };
        Self { store: store.unwrap_or_else(|| data_dir.join("igris.db")), root }
    }
}

// === impl Control ===

impl Control {
    /// Puts the hierarchy under a new root key. Traffic does not notice.
    ///
    /// # Errors
    /// The new key cannot be written or read, or is the one in use; then nothing changed.
    pub fn rotate_root(&mut self, who: &str, new: &NewRoot) -> Result<RootRotated, ControlError> {
        let now = self.now();
        let Self { store, keyring, entropy, place, .. } = self;
        let (moved, rotated) = rotate_root(store, keyring, &mut **entropy, &place.root, new, (who, now))?;
        self.keyring = moved;
        self.note("vault", format!("the root key was rotated by {who}; it is now in {}", rotated.root_key));
        if let Some(remedy) = &rotated.remedy {
            self.note("vault", remedy.clone());
        }
        Ok(rotated)
    }

    /// Begins a rotation of the master key: the new version wraps from now on. [`Control::step_master`] moves the rest.
    ///
    /// # Errors
    /// One is under way, or the store refuses; then nothing changed.
    pub fn begin_master(&mut self, who: &str) -> Result<u32, ControlError> {
        let now = self.now();
        begin_master(&mut self.store, &mut self.keyring, &mut *self.entropy, (who, now))?;
        let version = self.keyring.active_version().map_err(StoreError::from)?;
        self.note("vault", format!("master key version {version} wraps from now on, by {who}"));
        Ok(version)
    }

    /// One batch of a rotation of the master key that is under way, as every tick takes one; answers how many records moved. 0 when there
    /// is none, or it is finished.
    ///
    /// # Errors
    /// The store refuses; what is done stays, and the next step goes on.
    pub fn step_master(&mut self) -> Result<u64, ControlError> {
        if self.keyring.master_count() < 2 {
            return Ok(0);
        }
        let Self { store, keyring, entropy, .. } = self;
        let moved = store.admin().step_master_rotation(keyring, &mut **entropy)?;
        if self.keyring.master_count() < 2 {
            let version = self.keyring.active_version().map_err(StoreError::from)?;
            self.note("vault", format!("everything is wrapped by master key version {version}; the older one is gone"));
        }
        Ok(moved)
    }

    /// Gives a tenant a new data key and seals its provider keys anew.
    ///
    /// # Errors
    /// No such tenant, or the store refuses; then nothing changed.
    pub fn rotate_data(&mut self, who: &str, tenant: &TenantId) -> Result<DataRotated, ControlError> {
        let resealed = self.change(Deed { who, tenant, what: "vault.rotate_data" }, |means| {
            let before = means.store.data_key(tenant)?.generation;
            let mut credentials = Credentials::new(means.store, means.keyring, means.entropy, means.now);
            let resealed = credentials.rotate_data_key(tenant)?;
            Ok((resealed, generation_changed(tenant, before)))
        })?;
        Ok(DataRotated { tenant: tenant.to_string(), resealed })
    }

    /// Opens the store once more, for reading alone, as it is now.
    ///
    /// # Errors
    /// The store cannot be opened again, or there is no memory for the keys.
    pub fn reader(&mut self) -> Result<Reader, ControlError> {
        let mut store = Store::open_reading(&self.place.store)?;
        let keyring = self.keyring.duplicate().map_err(StoreError::from)?;
        store.bind_reading(&keyring);
        Ok(Reader { store, keyring, now: self.now() })
    }

    /// Notes that somebody takes a copy of the store away, before the copy is made.
    ///
    /// # Errors
    /// The store refuses.
    pub fn note_backup(&mut self, who: &str, to: &Path) -> Result<(), ControlError> {
        let target = to.display().to_string();
        append(&mut self.store, (who, self.clock), "store.backup", &target)?;
        self.note("vault", format!("a backup goes to {target}, by {who}"));
        Ok(())
    }
}

fn append(
    store: &mut Store,
    (who, clock): (&str, fn() -> UnixMillis),
    what: &str,
    target: &str,
) -> Result<(), StoreError> {
    let entry = AuditEntry { at: clock(), tenant: None, who, what, target, before: "", after: "" };
    store.admin().append_audit(&entry).map(drop)
}

fn generation_changed(tenant: &TenantId, before: u64) -> Changed {
    let after = before.saturating_add(1);
    Changed { target: tenant.to_string(), before: format!("generation {before}"), after: format!("generation {after}") }
}

// === The steps ===

/// Prepares the new key, puts the store under it, and lets it take the old one's place.
fn rotate_root(
    store: &mut Store,
    keyring: &Keyring,
    entropy: &mut dyn Entropy,
    source: &RootSource,
    new: &NewRoot,
    (who, at): (&str, UnixMillis),
) -> Result<(Keyring, RootRotated), ControlError> {
    let (root, home) = new_root(store, keyring, entropy, source, new)?;
    let target = home.to_string();
    let moved = store.all_or_nothing(|store| {
        let moved = store.admin().rotate_root_key(keyring, root, entropy)?;
        let (what, before, after) = ("vault.rotate_root", "", "");
        store.admin().append_audit(&AuditEntry { at, tenant: None, who, what, target: &target, before, after })?;
        Ok::<_, StoreError>(moved)
    });
    let moved = match moved {
        Ok(moved) => moved,
        Err(error) => {
            // The attempt did not commit: what was prepared is of no use to anybody.
            if matches!(new, NewRoot::InPlace) {
                store.settle_root(source)?;
            }
            return Err(error.into());
        }
    };
    let remedy = match new {
        NewRoot::InPlace => source.replace().err().map(|error| {
            format!("the store is under the new root key, which still has the name of a passing file: {error}; the next start ends this")
        }),
        NewRoot::File(path) => (home != *source).then(|| remedy_of(source, path)),
    };
    Ok((moved, RootRotated { root_key: target, remedy }))
}

/// The new root key, durable, and where it will be.
fn new_root(
    store: &mut Store,
    keyring: &Keyring,
    entropy: &mut dyn Entropy,
    source: &RootSource,
    new: &NewRoot,
) -> Result<(RootKey, RootSource), ControlError> {
    match (new, source) {
        (NewRoot::InPlace, RootSource::File(_)) => {
            if store.settle_root(source)? == Settled::Finished {
                let what = "a rotation that was cut is finished now; check with igris vault verify, and repeat if you want another";
                return Err(ControlError::Conflict(what.to_owned()));
            }
            Ok((source.prepare(entropy).map_err(StoreError::from)?, source.clone()))
        }
        (NewRoot::InPlace, _) => Err(ControlError::Invalid(format!(
            "the root key comes from {source}, where igris cannot write; name a file for the new one with --new-root-key"
        ))),
        (NewRoot::File(path), _) => {
            let home = RootSource::File(path.clone());
            let root = match home.load().map_err(StoreError::from)? {
                Some(root) => root,
                None => home.make(entropy).map_err(StoreError::from)?,
            };
            if keyring.is_under(&root) {
                return Err(StoreError::from(VaultError::SameRootKey { source_name: home.to_string() }).into());
            }
            Ok((root, home))
        }
    }
}

/// What the operator changes, since only the operator can.
fn remedy_of(source: &RootSource, new: &Path) -> String {
    let new = new.display();
    match source {
        RootSource::File(old) => {
            format!(
                "before the next start put {new} in the place of {}, or set [vault] root_key = {{ file = \"{new}\" }}",
                old.display()
            )
        }
        RootSource::Env(name) => {
            format!("before the next start set {name} to the content of {new}, then remove that file")
        }
        RootSource::Fd(fd) => format!("before the next start let descriptor {fd} be opened from {new}"),
    }
}

fn begin_master(
    store: &mut Store,
    keyring: &mut Keyring,
    entropy: &mut dyn Entropy,
    (who, at): (&str, UnixMillis),
) -> Result<(), ControlError> {
    if keyring.master_count() > 1 {
        let what = "a rotation of the master key is under way; it ends by itself, see GET /events";
        return Err(ControlError::Conflict(what.to_owned()));
    }
    let old = keyring.active_version().map_err(StoreError::from)?.to_string();
    let new = keyring.next_master(entropy).map_err(StoreError::from)?;
    let version = new.wrapped.version.to_string();
    store.all_or_nothing(|store| {
        store.admin().insert_master_key(&new, at)?;
        let (what, target) = ("vault.rotate_master", "");
        store.admin().append_audit(&AuditEntry {
            at,
            tenant: None,
            who,
            what,
            target,
            before: &old,
            after: &version,
        })?;
        Ok::<_, StoreError>(())
    })?;
    keyring.adopt(new);
    Ok(())
}

// === impl Reader ===

impl Reader {
    /// Opens a store and its root key, of a gateway that may be running or of a backup. Nothing is written.
    ///
    /// # Errors
    /// There is no store or no hierarchy in it, or the root key is another one.
    pub fn open(place: &VaultPlace, now: UnixMillis) -> Result<Self, ControlError> {
        let mut store = Store::open_reading(&place.store)?;
        let keyring = store.unlock_reading(&place.root)?;
        Ok(Self { store, keyring, now })
    }

    /// Opens every record, walks the audit log and checks the file. With an anchor, also whether the row it names still stands.
    ///
    /// # Errors
    /// The store cannot be read at all; what does not open is a finding.
    pub fn verify(mut self, anchor: Option<AuditHead>) -> Result<VaultReport, ControlError> {
        let mut report = VaultReport {
            master_keys: self.keyring.master_count(),
            peppers: self.keyring.peppers().count(),
            ..VaultReport::default()
        };
        let mut findings = Vec::new();
        findings.extend(self.store.verify().err().map(|error| error.to_string()));
        let Self { store, keyring, now } = &mut self;
        store.admin().for_each_data_key(|tenant, wrapped| {
            match keyring.open_data_key(tenant, wrapped) {
                Ok(_) => report.data_keys += 1,
                Err(error) => findings.push(format!("the data key of tenant {tenant}: {error}")),
            }
            Ok::<(), StoreError>(())
        })?;
        let refused = Credentials::new(store, keyring, &mut OsEntropy, *now).open_living(
            None,
            |_| Had::Nothing,
            |_| report.credentials += 1,
        )?;
        findings.extend(refused.into_iter().map(|one| format!("{} of tenant {}: {}", one.id, one.tenant, one.error)));
        report.access_keys = store.admin().access_key_count(*now)?;
        match store.admin().verify_audit_to(anchor) {
            Ok(head) => (report.audit_rows, report.audit_head) = (head.sequence, head.to_string()),
            Err(error) => findings.push(error.to_string()),
        }
        let more = findings.len().saturating_sub(VAULT_FINDINGS_MAX);
        findings.truncate(VAULT_FINDINGS_MAX);
        if more > 0 {
            findings.push(format!("{more} more records do not open"));
        }
        (report.whole, report.findings) = (findings.is_empty(), findings);
        Ok(report)
    }

    /// Walks the audit log alone.
    ///
    /// # Errors
    /// The store cannot be read at all.
    pub fn verify_audit(mut self, anchor: Option<AuditHead>) -> Result<AuditProof, ControlError> {
        match self.store.admin().verify_audit_to(anchor) {
            Ok(head) => {
                Ok(AuditProof { whole: true, rows: head.sequence, head: Some(head.to_string()), finding: None })
            }
            Err(StoreError::Damaged(finding)) => {
                Ok(AuditProof { whole: false, rows: 0, head: None, finding: Some(finding) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Copies the store to a new file.
    ///
    /// # Errors
    /// There is a file of that name, or it cannot be written; then nothing is left of the attempt.
    pub fn back_up(self, to: &Path) -> Result<(), ControlError> {
        Ok(self.store.back_up(to)?)
    }
}

// === impl OfflineVault ===

impl OfflineVault {
    /// Makes root key and empty hierarchy. A root key that waits without a store is used.
    ///
    /// # Errors
    /// There is a hierarchy already; it is not touched.
    pub fn init(place: &VaultPlace, who: &str, now: UnixMillis) -> Result<Self, ControlError> {
        let store = Store::open(&place.store)?;
        if store.has_hierarchy()? {
            let what = format!("{} holds a key hierarchy already and stays as it is", place.store.display());
            return Err(ControlError::Conflict(what));
        }
        let mut vault = Self::unlocked(store, place, who, now)?;
        append(&mut vault.store, (&vault.who, UnixMillis::now), "vault.init", &place.root.to_string())?;
        Ok(vault)
    }

    /// Opens the hierarchy of a gateway that does not run. `who` does it, for the audit log.
    ///
    /// # Errors
    /// A gateway runs on this store; there is none; the root key is missing or another one. Then nothing was written.
    pub fn open(place: &VaultPlace, who: &str, now: UnixMillis) -> Result<Self, ControlError> {
        let none = || {
            let what =
                format!("there is no key hierarchy in {}; name its --data-dir or --config", place.store.display());
            ControlError::NotFound(what)
        };
        if !place.store.exists() {
            return Err(none());
        }
        let store = Store::open(&place.store)?;
        if !store.has_hierarchy()? {
            return Err(none());
        }
        Self::unlocked(store, place, who, now)
    }

    fn unlocked(mut store: Store, place: &VaultPlace, who: &str, now: UnixMillis) -> Result<Self, ControlError> {
        let keyring = store.unlock(&place.root, &mut OsEntropy, now)?;
        Ok(Self { store, keyring, root: place.root.clone(), who: who.to_owned() })
    }

    /// Pins the keys that must have signed a configuration anew, as one line of a trust set; the versions that were accepted stay.
    ///
    /// # Errors
    /// As the store; then nothing changed.
    pub fn repin(&mut self, line: &str, now: UnixMillis) -> Result<(), ControlError> {
        let Self { store, who, .. } = self;
        store.all_or_nothing(|store| {
            let mut admin = store.admin();
            let before = admin.config_history()?.trust.map_or(String::new(), |trust| trust.in_force);
            admin.repin(&StoredTrust { pins: line.to_owned(), in_force: line.to_owned() }, now)?;
            let (what, target) = ("config.repin", "trust");
            admin.append_audit(&AuditEntry {
                at: now,
                tenant: None,
                who,
                what,
                target,
                before: &before,
                after: line,
            })?;
            Ok(())
        })
    }

    /// As [`Control::rotate_root`].
    ///
    /// # Errors
    /// As there.
    pub fn rotate_root(&mut self, new: &NewRoot, now: UnixMillis) -> Result<RootRotated, ControlError> {
        let Self { store, keyring, root, who } = self;
        let (moved, rotated) = rotate_root(store, keyring, &mut OsEntropy, root, new, (who, now))?;
        self.keyring = moved;
        Ok(rotated)
    }

    /// A new master key, everything moved, the older one dropped; one that was cut is finished instead.
    ///
    /// # Errors
    /// The store refuses; what is done stays, and the same command goes on.
    pub fn rotate_master(&mut self, now: UnixMillis) -> Result<MasterRotated, ControlError> {
        let Self { store, keyring, who, .. } = self;
        if keyring.master_count() < 2 {
            begin_master(store, keyring, &mut OsEntropy, (who, now))?;
        }
        let rewrapped = store.admin().finish_master_rotation(keyring, &mut OsEntropy)?;
        Ok(MasterRotated { version: keyring.active_version().map_err(StoreError::from)?, rewrapped })
    }

    /// As [`Control::rotate_data`].
    ///
    /// # Errors
    /// As there.
    pub fn rotate_data(&mut self, tenant: &TenantId, now: UnixMillis) -> Result<DataRotated, ControlError> {
        let Self { store, keyring, who, .. } = self;
        let resealed = store.all_or_nothing(|store| {
            let changed = generation_changed(tenant, store.data_key(tenant)?.generation);
            let resealed = Credentials::new(store, keyring, &mut OsEntropy, now).rotate_data_key(tenant)?;
            let Changed { target, before, after } = &changed;
            let what = "vault.rotate_data";
            store.admin().append_audit(&AuditEntry {
                at: now,
                tenant: Some(tenant),
                who,
                what,
                target,
                before,
                after,
            })?;
            Ok::<_, ControlError>(resealed)
        })?;
        Ok(DataRotated { tenant: tenant.to_string(), resealed })
    }

    /// Copies the store to a new file, and notes that.
    ///
    /// # Errors
    /// As [`Reader::back_up`].
    pub fn back_up(&mut self, to: &Path) -> Result<(), ControlError> {
        append(&mut self.store, (&self.who, UnixMillis::now), "store.backup", &to.display().to_string())?;
        Ok(self.store.back_up(to)?)
    }
}

#[cfg(test)]
#[path = "vault_tests.rs"]
mod tests;
