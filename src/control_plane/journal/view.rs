//! A journal and the books over it, opened for reading: by a command, or by a running gateway for somebody who waits at its admin socket.

use super::proof::{self, Amounts, LedgerProof};
use super::scan::{ScanFault, Scanned, Wanted, each_close};
use crate::config::Config;
use crate::control_plane::{Control, ControlError, VaultPlace};
use crate::domain::id::TenantId;
use crate::ledger::Reader;
use crate::report::AttemptReport;
use crate::store::Store;
use crate::vault::LedgerKey;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is there to be read.
pub struct LedgerView {
    directory: PathBuf,
    store: Option<Store>,
    key: Option<Arc<LedgerKey>>,
    /// What could not be opened, and what that means.
    notes: Vec<String>,
}

impl LedgerView {
    /// Opens what a gateway with this configuration and data directory has, whether it runs or not. Without a store, or without its root
    /// key, there is less to verify, and the notes say so.
    ///
    /// # Errors
    /// There is no journal.
    pub fn open(config: Option<&Config>, data_dir: &Path) -> Result<Self, ControlError> {
        let own = config.and_then(|config| config.ledger.directory.clone());
        let directory = own.unwrap_or_else(|| data_dir.join("ledger"));
        if !directory.is_dir() {
            let what = format!("there is no journal in {}; name its --data-dir or --config", directory.display());
            return Err(ControlError::NotFound(what));
        }
        let place = VaultPlace::of(config, data_dir);
        let mut view = Self { directory, store: None, key: None, notes: Vec::new() };
        match Store::open_reading(&place.store) {
            Ok(mut store) => {
                match store.unlock_reading(&place.root) {
                    Ok(keyring) => view.key = keyring.audit_key().map(|key| Arc::new(key.ledger_key())),
                    Err(error) => view.note(format!("only checksums are verified, not the chain: {error}")),
                }
                view.store = Some(store);
            }
            Err(error) => view.note(format!("the journal is verified alone, without chain and sums: {error}")),
        }
        Ok(view)
    }

    fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// What could not be opened, and what that means.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Verifies everything that is there.
    ///
    /// # Errors
    /// It cannot be read at all; what is wrong in it is in the answer.
    pub fn verify(mut self) -> Result<LedgerProof, ControlError> {
        match &mut self.store {
            Some(store) => proof::verify(store, &self.directory, self.key),
            None => proof::verify_journal(&self.directory, self.key),
        }
    }

    /// What each tenant came to, by the sums of all time.
    ///
    /// # Errors
    /// As the store.
    pub fn tenants(mut self) -> Result<BTreeMap<TenantId, Amounts>, ControlError> {
        let mut tenants: BTreeMap<TenantId, Amounts> = BTreeMap::new();
        if let Some(store) = &mut self.store {
            store.admin().for_each_usage_day(|row| tenants.entry(row.tenant.clone()).or_default().add(&row))?;
        }
        Ok(tenants)
    }

    /// Shows every attempt that is wanted, once.
    ///
    /// # Errors
    /// [`ScanFault`].
    pub fn each_close(
        &self,
        wanted: &Wanted,
        each: &mut dyn FnMut(&str, u64, &AttemptReport) -> io::Result<()>,
    ) -> Result<Scanned, ScanFault> {
        each_close(&mut Reader::new(&self.directory, self.key.clone()), wanted, each)
    }
}

impl Control {
    /// The journal of this process and the books, opened once more for reading alone; `None` where there is no journal.
    ///
    /// # Errors
    /// The store cannot be opened again.
    pub fn ledger_view(&self) -> Result<Option<LedgerView>, ControlError> {
        let Some(directory) = self.ledger_directory() else { return Ok(None) };
        let store = Some(Store::open_reading(&self.place.store)?);
        let key = self.ledger_key().ok();
        Ok(Some(LedgerView { directory, store, key, notes: Vec::new() }))
    }
}
