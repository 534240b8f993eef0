//! Rows of the key hierarchy, and the steps that change it: first start, a new master key, a new root key (rules V1, V6).
//!
//! Each step is one transaction, stored before the key ring adopts it. A rotation of the master key may stop anywhere and be
//! taken up again: add the version, rewrap tenant by tenant, then drop the older versions once nothing uses them.

use super::error::{StoreError, from_sql, to_sql};
use super::{Admin, Store};
use crate::domain::clock::UnixMillis;
use crate::domain::id::TenantId;
use crate::limits::REWRAP_BATCH;
use crate::vault::keyring::{
    Keyring, KeyringRows, NewMasterKey, WrappedAuditKey, WrappedDataKey, WrappedMasterKey, WrappedPepper,
};
use crate::vault::{Entropy, RootKey, RootSource, Settled, VaultError};
use rusqlite::{Connection, OptionalExtension, params};

impl Store {
    /// Opens the key hierarchy, making root key and hierarchy on the first start, and ending a replacement of the root key's file that
    /// was cut.
    ///
    /// A root key without rows (the first start was cut between the two) is used; rows without their root key, or with another
    /// one, are refused and nothing is written.
    ///
    /// # Errors
    /// [`VaultError::RootKeyMissing`], [`VaultError::WrongRootKey`] and the other refusals of the vault.
    pub fn unlock(
        &mut self,
        source: &RootSource,
        entropy: &mut dyn Entropy,
        now: UnixMillis,
    ) -> Result<Keyring, StoreError> {
        self.settle_root(source)?;
        let root = match (source.load()?, self.keyring_rows()?) {
            (Some(root), Some(rows)) => {
                let mut keyring = Keyring::open(root, &rows)?;
                self.bind_audit(&mut keyring, entropy)?;
                return Ok(keyring);
            }
            (None, Some(_)) => return Err(source.missing().into()),
            (Some(root), None) => root,
            (None, None) => source.make(entropy)?,
        };
        let rows = Keyring::create(&root, entropy)?;
        let keyring = Keyring::open(root, &rows)?;
        self.audit_key = keyring.audit_key().cloned();
        self.all_or_nothing(|store| {
            store.insert_hierarchy(&rows, now)?;
            store.begin_audit_head()
        })?;
        Ok(keyring)
    }

    /// Opens the key hierarchy of a store that is only read: nothing is made, settled or migrated.
    ///
    /// # Errors
    /// As [`Store::unlock`]; [`StoreError::NotFound`] when the store has no hierarchy.
    pub fn unlock_reading(&mut self, source: &RootSource) -> Result<Keyring, StoreError> {
        let rows = self.keyring_rows()?.ok_or(StoreError::NotFound("key hierarchy"))?;
        let root = source.load()?.ok_or_else(|| source.missing())?;
        let keyring = Keyring::open(root, &rows)?;
        self.audit_key = keyring.audit_key().cloned();
        Ok(keyring)
    }

    /// Opens the hierarchy as it is stored now, with the root key of one that is open.
    ///
    /// # Errors
    /// [`VaultError::WrongRootKey`] when it was put under another root key; otherwise as [`Keyring::open`].
    pub fn unlock_again(&mut self, open: &Keyring) -> Result<Keyring, StoreError> {
        let rows = self.keyring_rows()?.ok_or(StoreError::NotFound("key hierarchy"))?;
        let keyring = open.reopened(&rows)?;
        self.audit_key = keyring.audit_key().cloned();
        Ok(keyring)
    }

    /// Hands an open hierarchy's audit key to a store that only reads.
    pub fn bind_reading(&mut self, keyring: &Keyring) {
        self.audit_key = keyring.audit_key().cloned();
    }

    /// Ends a replacement of the root key's file that was cut; the store says which key is the right one.
    ///
    /// # Errors
    /// [`VaultError::RootKeyIo`]; [`StoreError::Database`].
    pub fn settle_root(&self, source: &RootSource) -> Result<Settled, StoreError> {
        let Some(rows) = self.keyring_rows()? else { return Ok(Settled::Nothing) };
        Ok(source.settle(&mut |root| Keyring::opens(root, &rows.root_check))?)
    }

    /// Whether a hierarchy was ever made here.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn has_hierarchy(&self) -> Result<bool, StoreError> {
        Ok(self.connection.query_row("SELECT EXISTS (SELECT 1 FROM vault)", [], |row| row.get(0))?)
    }

    /// Hands the key of the audit log to the log. A store that was made without one gets it here, with the log's head, in one
    /// transaction; a head that is missing beside a key is no older store, and stays missing.
    fn bind_audit(&mut self, keyring: &mut Keyring, entropy: &mut dyn Entropy) -> Result<(), StoreError> {
        if keyring.audit_key().is_none() {
            let new = keyring.next_audit_key(entropy)?;
            let (root_check, wrapped) = (new.root_check.clone(), new.wrapped.clone());
            keyring.adopt_audit_key(new);
            self.audit_key = keyring.audit_key().cloned();
            return self.all_or_nothing(|store| {
                store.change("UPDATE vault SET root_check = ?1", params![root_check])?;
                let write = store.write()?;
                insert_audit_key(&write, &wrapped)?;
                write.commit()?;
                store.begin_audit_head()
            });
        }
        self.audit_key = keyring.audit_key().cloned();
        Ok(())
    }

    fn keyring_rows(&self) -> Result<Option<KeyringRows>, StoreError> {
        let root_check = self.connection.query_row("SELECT root_check FROM vault", [], |row| row.get(0)).optional()?;
        let Some(root_check) = root_check else { return Ok(None) };
        let mut statement = self.connection.prepare_cached("SELECT version, record FROM kek_versions")?;
        let masters = statement
            .query_map([], |row| Ok(WrappedMasterKey { version: row.get(0)?, record: row.get(1)? }))?
            .collect::<Result<_, _>>()?;
        Ok(Some(KeyringRows { root_check, masters, peppers: self.pepper_rows()?, audit: self.audit_key_row()? }))
    }

    fn audit_key_row(&self) -> Result<Option<WrappedAuditKey>, StoreError> {
        let row = |row: &rusqlite::Row<'_>| Ok(WrappedAuditKey { kek_version: row.get(0)?, record: row.get(1)? });
        Ok(self.connection.query_row("SELECT kek_version, record FROM audit_key", [], row).optional()?)
    }

    fn pepper_rows(&self) -> Result<Vec<WrappedPepper>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT version, kek_version, record FROM peppers")?;
        let row = |row: &rusqlite::Row<'_>| {
            Ok(WrappedPepper { version: row.get(0)?, kek_version: row.get(1)?, record: row.get(2)? })
        };
        Ok(statement.query_map([], row)?.collect::<Result<_, _>>()?)
    }

    fn insert_hierarchy(&mut self, rows: &KeyringRows, now: UnixMillis) -> Result<(), StoreError> {
        let transaction = self.write()?;
        let oldest = rows.masters.iter().map(|row| row.version).min().unwrap_or(1);
        transaction.execute("INSERT INTO vault VALUES (1, ?1, ?2)", params![rows.root_check, oldest])?;
        for row in &rows.masters {
            insert_master(&transaction, row, now)?;
        }
        for row in &rows.peppers {
            let values = params![row.version, row.kek_version, row.record, to_sql(now.0)];
            transaction.execute("INSERT INTO peppers VALUES (?1, ?2, ?3, ?4)", values)?;
        }
        if let Some(row) = &rows.audit {
            insert_audit_key(&transaction, row)?;
        }
        transaction.commit()
    }
}

impl Admin<'_> {
    /// A new master key: stored, adopted, everything below it rewrapped, the older ones dropped. Traffic never stops.
    /// Answers how many data keys and peppers moved.
    ///
    /// # Errors
    /// Those of vault and database; whatever was done stays done, and [`Admin::finish_master_rotation`] takes it up.
    pub fn rotate_master_key(
        &mut self,
        keyring: &mut Keyring,
        entropy: &mut dyn Entropy,
        now: UnixMillis,
    ) -> Result<u64, StoreError> {
        self.add_master_key(keyring, entropy, now)?;
        self.finish_master_rotation(keyring, entropy)
    }

    /// The first step alone: the new version is stored and wraps from now on.
    ///
    /// # Errors
    /// Those of vault and database; then nothing changed.
    pub fn add_master_key(
        &mut self,
        keyring: &mut Keyring,
        entropy: &mut dyn Entropy,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let new = keyring.next_master(entropy)?;
        self.insert_master_key(&new, now)?;
        keyring.adopt(new);
        Ok(())
    }

    /// Stores a master key that the key ring adopts once the transaction around this call has ended.
    ///
    /// # Errors
    /// [`StoreError::Database`]; then nothing changed.
    pub fn insert_master_key(&mut self, new: &NewMasterKey, now: UnixMillis) -> Result<(), StoreError> {
        let transaction = self.store.write()?;
        insert_master(&transaction, &new.wrapped, now)?;
        transaction.commit()
    }

    /// Rewraps whatever still hangs below an older master key, then drops the older ones. Doing it twice does nothing twice.
    ///
    /// # Errors
    /// Those of vault and database; each finished batch stays.
    pub fn finish_master_rotation(
        &mut self,
        keyring: &mut Keyring,
        entropy: &mut dyn Entropy,
    ) -> Result<u64, StoreError> {
        let mut moved = 0;
        loop {
            match self.step_master_rotation(keyring, entropy)? {
                0 => return Ok(moved),
                some => moved += some,
            }
        }
    }

    /// One batch of [`Admin::finish_master_rotation`], a transaction of some milliseconds; answers how many records moved. With
    /// nothing left to move it drops the older master keys and answers 0.
    ///
    /// # Errors
    /// Those of vault and database; each finished batch stays.
    pub fn step_master_rotation(
        &mut self,
        keyring: &mut Keyring,
        entropy: &mut dyn Entropy,
    ) -> Result<u64, StoreError> {
        let moved = self.rewrap_peppers(keyring, entropy)? + self.rewrap_batch(keyring, entropy)?;
        if moved == 0 {
            self.drop_older_masters(keyring)?;
        }
        Ok(moved)
    }

    /// Puts the hierarchy under another root key in one transaction, and answers it open under that key. The old root key opens
    /// nothing afterwards.
    ///
    /// # Errors
    /// Those of vault and database; then the old root key is still the right one.
    pub fn rotate_root_key(
        &mut self,
        keyring: &Keyring,
        root: RootKey,
        entropy: &mut dyn Entropy,
    ) -> Result<Keyring, StoreError> {
        let (root_check, masters) = keyring.under(&root, entropy)?;
        let (peppers, audit) = (self.store.pepper_rows()?, self.store.audit_key_row()?);
        let rows = KeyringRows { root_check, masters, peppers, audit };
        let moved = Keyring::open(root, &rows)?;
        let transaction = self.store.write()?;
        transaction.execute("UPDATE vault SET root_check = ?1", params![rows.root_check])?;
        for row in &rows.masters {
            let values = params![row.record, row.version];
            let changed = transaction.execute("UPDATE kek_versions SET record = ?1 WHERE version = ?2", values)?;
            if changed != 1 {
                return Err(VaultError::UnknownMasterKey { version: row.version }.into());
            }
        }
        transaction.commit()?;
        self.store.flush_log()?;
        Ok(moved)
    }

    /// Every living tenant's wrapped data key, by name.
    ///
    /// # Errors
    /// Whatever `each` answers; [`StoreError::Database`].
    pub fn for_each_data_key<E: From<StoreError>>(
        &mut self,
        mut each: impl FnMut(&TenantId, &WrappedDataKey) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = "SELECT id, dek_generation, dek_kek_version, dek_record, dek_seals FROM tenants
                   WHERE destroyed IS NULL ORDER BY id";
        let mut statement = self.store.connection.prepare_cached(sql).map_err(StoreError::from)?;
        let mut rows = statement.query([]).map_err(StoreError::from)?;
        while let Some(row) = rows.next().map_err(StoreError::from)? {
            let (tenant, key) = data_key(row).map_err(StoreError::from)?;
            each(&tenant, &key)?;
        }
        Ok(())
    }

    fn rewrap_peppers(&mut self, keyring: &Keyring, entropy: &mut dyn Entropy) -> Result<u64, StoreError> {
        let mut moved = 0;
        let (rows, audit) = (self.store.pepper_rows()?, self.store.audit_key_row()?);
        let transaction = self.store.write()?;
        if let Some(new) = audit.map(|row| keyring.rewrap_audit_key(&row, entropy)).transpose()?.flatten() {
            transaction
                .execute("UPDATE audit_key SET kek_version = ?1, record = ?2", params![new.kek_version, new.record])?;
            moved += 1;
        }
        for row in &rows {
            if let Some(new) = keyring.rewrap_pepper(row, entropy)? {
                let values = params![new.kek_version, new.record, new.version];
                transaction.execute("UPDATE peppers SET kek_version = ?1, record = ?2 WHERE version = ?3", values)?;
                moved += 1;
            }
        }
        transaction.commit()?;
        Ok(moved)
    }

    fn rewrap_batch(&mut self, keyring: &Keyring, entropy: &mut dyn Entropy) -> Result<u64, StoreError> {
        let active = keyring.active_version()?;
        let transaction = self.store.write()?;
        let mut moved = 0;
        for (tenant, row) in older_data_keys(&transaction, active)? {
            if let Some(new) = keyring.rewrap_data_key(&tenant, &row, entropy)? {
                let values = params![new.kek_version, new.record, tenant.as_str()];
                transaction
                    .execute("UPDATE tenants SET dek_kek_version = ?1, dek_record = ?2 WHERE id = ?3", values)?;
                moved += 1;
            }
        }
        transaction.commit()?;
        Ok(moved)
    }

    /// One batch, as a crash would leave it.
    #[cfg(test)]
    pub(super) fn rewrap_batch_for_test(&mut self, keyring: &Keyring) -> u64 {
        self.rewrap_batch(keyring, &mut crate::vault::OsEntropy).expect("a batch")
    }

    /// Only when a scan finds no user; the foreign keys of the tables would refuse otherwise.
    fn drop_older_masters(&mut self, keyring: &mut Keyring) -> Result<(), StoreError> {
        let active = keyring.active_version()?;
        let transaction = self.store.write()?;
        let users: u64 = transaction.query_row(
            "SELECT (SELECT count(*) FROM tenants WHERE dek_kek_version < ?1)
                  + (SELECT count(*) FROM peppers WHERE kek_version < ?1)
                  + (SELECT count(*) FROM audit_key WHERE kek_version < ?1)",
            [active],
            |row| row.get::<_, i64>(0).map(from_sql),
        )?;
        if users > 0 {
            return Ok(());
        }
        transaction.execute("UPDATE vault SET kek_version_min = ?1", [active])?;
        let dropped = transaction.execute("DELETE FROM kek_versions WHERE version < ?1", [active])?;
        transaction.commit()?;
        keyring.forget_older()?;
        if dropped > 0 {
            self.store.flush_log()?;
        }
        Ok(())
    }
}

fn insert_audit_key(transaction: &Connection, row: &WrappedAuditKey) -> Result<(), StoreError> {
    transaction.execute("INSERT INTO audit_key VALUES (1, ?1, ?2)", params![row.kek_version, row.record])?;
    Ok(())
}

fn older_data_keys(transaction: &Connection, active: u32) -> Result<Vec<(TenantId, WrappedDataKey)>, StoreError> {
    let mut statement = transaction.prepare_cached(
        "SELECT id, dek_generation, dek_kek_version, dek_record, dek_seals FROM tenants WHERE dek_kek_version < ?1 LIMIT ?2",
    )?;
    let rows = statement.query_map(params![active, REWRAP_BATCH], data_key)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn data_key(row: &rusqlite::Row<'_>) -> rusqlite::Result<(TenantId, WrappedDataKey)> {
    let key = WrappedDataKey {
        generation: from_sql(row.get(1)?),
        kek_version: row.get(2)?,
        record: row.get(3)?,
        seals: from_sql(row.get(4)?),
    };
    Ok((TenantId::new(row.get_ref(0)?.as_str()?), key))
}

fn insert_master(transaction: &Connection, row: &WrappedMasterKey, now: UnixMillis) -> Result<(), StoreError> {
    let values = params![row.version, row.record, to_sql(now.0)];
    transaction.execute("INSERT INTO kek_versions VALUES (?1, ?2, ?3)", values)?;
    Ok(())
}
