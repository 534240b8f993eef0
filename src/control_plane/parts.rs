//! The parts of a snapshot that grow with the estate, rebuilt piece by piece: access keys and credentials.
//!
//! Whoever changes something in the store says what: one access key, one tenant's credentials. A publication then reads and copies only
//! that, so that its cost is the same beside ten keys and beside a million. The whole is read at the start, and when the wall clock ran
//! back over ends that were acted on.
//!
//! A part that is no longer published is freed here, on the control thread: a core that let go of it last would stand still for as long
//! as it takes to free a million keys.

use super::build::{self, Circumstances};
use super::supply::Means;
use super::{Control, ControlError};
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, TenantId};
use crate::limits::ACCESS_KEYS_TOUCHED_MAX;
use crate::snapshot::{AccessTable, CredentialTable, RouteTable, Snapshot};
use crate::store::StoreError;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// What was changed in the store and is not published yet.
#[derive(Default)]
pub(super) struct Touched {
    access: BTreeSet<AccessKeyId>,
    tenants: BTreeSet<TenantId>,
}

/// When access keys end.
#[derive(Default)]
pub(super) struct Ends {
    /// The next end, if there is one.
    next: Option<UnixMillis>,
    /// The ends up to here were acted on.
    past: UnixMillis,
}

/// Parts that are no longer published and that some core may still serve from.
#[derive(Default)]
pub(super) struct Retired {
    access: Vec<Arc<AccessTable>>,
    credentials: Vec<Arc<CredentialTable>>,
    routes: Vec<Arc<RouteTable>>,
}

// === impl Touched ===

impl Touched {
    pub(super) fn is_empty(&self) -> bool {
        self.access.is_empty() && self.tenants.is_empty()
    }

    /// The credentials of these tenants changed.
    pub(super) fn extend_tenants<'t>(&mut self, tenants: impl IntoIterator<Item = &'t TenantId>) {
        self.tenants.extend(tenants.into_iter().cloned());
    }

    pub(super) fn has_tenants(&self) -> bool {
        !self.tenants.is_empty()
    }
}

// === impl Retired ===

impl Retired {
    /// Takes over what of `before` is not in `after`.
    pub(super) fn take(&mut self, before: &Snapshot, after: &Snapshot) {
        if !Arc::ptr_eq(&before.access, &after.access) {
            self.access.push(before.access.clone());
        }
        if !Arc::ptr_eq(&before.credentials, &after.credentials) {
            self.credentials.push(before.credentials.clone());
        }
        if !Arc::ptr_eq(&before.routes, &after.routes) {
            self.routes.push(before.routes.clone());
        }
    }

    /// Frees what nobody serves from any more. What is counted once is held here alone, and nobody can take it up again.
    pub(super) fn free(&mut self) {
        self.access.retain(|part| Arc::strong_count(part) > 1);
        self.credentials.retain(|part| Arc::strong_count(part) > 1);
        self.routes.retain(|part| Arc::strong_count(part) > 1);
    }
}

// === impl Control ===

impl Control {
    /// An access key was made, changed or revoked in the store; the next publication looks at it again.
    pub(super) fn touch_access(&mut self, id: AccessKeyId) {
        self.touched.access.insert(id);
    }

    /// As [`Control::touch_access`], for many.
    pub(super) fn touch_access_keys(&mut self, ids: impl IntoIterator<Item = AccessKeyId>) {
        self.touched.access.extend(ids);
    }

    /// A tenant's credentials changed in the store, in number or in role; the next publication looks at that tenant again.
    pub(super) fn touch_credentials(&mut self, tenant: &TenantId) {
        self.touched.tenants.insert(tenant.clone());
    }

    /// Everyone who may ask, with what is known to have changed since `before`.
    pub(super) fn access_part(
        &mut self,
        before: &Arc<AccessTable>,
        notes: &mut Vec<String>,
    ) -> Result<Arc<AccessTable>, ControlError> {
        let pepper = self.keyring.pepper().map_err(StoreError::from)?.version();
        let many = self.touched.access.len() > ACCESS_KEYS_TOUCHED_MAX.max(before.len() / 4);
        if self.dirty.access || many || pepper != before.pepper.version() {
            return self.whole_access(notes);
        }
        if self.touched.access.is_empty() {
            return Ok(before.clone());
        }
        let now = self.now();
        let mut table = AccessTable::clone(before);
        let Self { store, touched, terms, ends, allowances, .. } = self;
        for id in &touched.access {
            let found = store.admin().lend_access_key(*id, now, |row| {
                let tenant = TenantId::new(row.tenant);
                let key = row.living.then(|| build::access_key(&row, tenant, pepper, terms, allowances));
                (row.digest, row.expires, key)
            })?;
            let Some((digest, expires, key)) = found else { continue };
            match key {
                Some(Some(key)) => {
                    ends.next = [ends.next, expires].into_iter().flatten().min();
                    table.insert(digest, Arc::new(key));
                }
                Some(None) => {
                    table.remove(&digest);
                    notes.push(format!("the access key {id} cannot be read and does not work; make it anew"));
                }
                None => drop(table.remove(&digest)),
            }
        }
        // Whoever is gone keeps its counters until the next time that all are read.
        self.allowances.settle(&mut self.store)?;
        Ok(Arc::new(table))
    }

    fn whole_access(&mut self, notes: &mut Vec<String>) -> Result<Arc<AccessTable>, ControlError> {
        // Freed first, so that the terms of the table before are not kept for it alone.
        self.retired.free();
        self.terms.forget_unused();
        let Self { store, keyring, entropy, terms, clock, allowances, config, .. } = self;
        let now = clock();
        allowances.begin(&config.tenants);
        let means = Means { store, keyring, entropy: &mut **entropy, now };
        let built = build::access_table(means, terms, allowances)?;
        allowances.end();
        allowances.settle(store)?;
        self.ends = Ends { next: self.store.admin().next_access_key_end(now)?, past: now };
        notes.extend(built.notes);
        Ok(Arc::new(built.part))
    }

    /// Every credential in use, with the tenants that are known to have changed since `before`. No secret that is in `before` is
    /// opened again.
    pub(super) fn credential_part(
        &mut self,
        before: &Arc<CredentialTable>,
        notes: &mut Vec<String>,
    ) -> Result<Arc<CredentialTable>, ControlError> {
        if !self.dirty.credentials && self.touched.tenants.is_empty() {
            return Ok(before.clone());
        }
        let (now, instant) = (self.now(), Instant::now());
        let Self { store, keyring, entropy, configured, tokens, touched, dirty, rotations, .. } = self;
        let mut table = if dirty.credentials { CredentialTable::default() } else { CredentialTable::clone(before) };
        let tenants: Vec<Option<&TenantId>> =
            if dirty.credentials { vec![None] } else { touched.tenants.iter().map(Some).collect() };
        let around = Circumstances { providers: &build::by_name(configured), before, rotations, instant };
        for of in tenants {
            let means = Means { store, keyring, entropy: &mut **entropy, now };
            notes.extend(build::credentials(means, of, &around, tokens, &mut table)?);
        }
        Ok(Arc::new(table))
    }

    /// Nothing is left to publish of these parts.
    pub(super) fn forget_touched(&mut self) {
        self.touched = Touched::default();
    }

    /// Lets the access keys go that ended by `now`. Each core refuses them by the clock already; this frees their places.
    pub(super) fn end_access_keys(&mut self, now: UnixMillis) -> Result<(), ControlError> {
        if now < self.ends.past {
            // The clock ran back: some that ended have not ended yet.
            self.dirty.access = true;
            return Ok(());
        }
        if self.ends.next.is_none_or(|end| end > now) {
            return Ok(());
        }
        let ended = self.store.admin().access_keys_ended(self.ends.past, now)?;
        let next = self.store.admin().next_access_key_end(now)?;
        self.touch_access_keys(ended);
        self.ends = Ends { next, past: now };
        Ok(())
    }
}
