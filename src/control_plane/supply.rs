//! Brings the store in step with a configuration: its tenants, its access keys, its provider keys. One transaction.
//!
//! What the API made is not touched. An access key that left the configuration ends at once; when it comes back it lives again,
//! unless somebody revoked it through the API: that is for good.

use super::access::{Access, AccessError, Terms};
use super::credentials::{Credentials, KeyConfig};
use super::inputs::Inputs;
use super::providers::Configured;
use super::{ControlError, key_limits};
use crate::config::{Config, TENANT_DEFAULT};
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, ProviderId, TenantId};
use crate::domain::secret::Secret;
use crate::limits::{CREDENTIAL_RETRIES, CREDENTIAL_TIMEOUT_MS, CREDENTIAL_TIMEOUT_MS_MAX};
use crate::store::{AuditEntry, Origin, Store};
use crate::vault::{Entropy, Keyring};
use std::collections::HashSet;

/// The means of one operation on the store.
pub(super) struct Means<'a> {
    pub(super) store: &'a mut Store,
    pub(super) keyring: &'a Keyring,
    pub(super) entropy: &'a mut dyn Entropy,
    pub(super) now: UnixMillis,
}

/// When that ends which an earlier configuration brought and this one does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// At once.
    Now,
    /// Not by this: the configuration is on trial, and other machines serve the one before.
    Later,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Applied {
    /// What an owner should know.
    pub(super) notes: Vec<String>,
    /// The access keys that are new, have other terms or ended.
    pub(super) touched: Vec<AccessKeyId>,
}

/// Applies tenants, access keys and provider keys, notes it in the audit log and writes down what `record` adds, all or none.
///
/// # Errors
/// The first refusal; then nothing changed.
pub(super) fn apply(
    means: Means<'_>,
    config: &Config,
    inputs: &Inputs,
    providers: &[Configured],
    (ending, audit): (Ending, &AuditEntry<'_>),
    record: impl FnOnce(&mut Store) -> Result<(), ControlError>,
) -> Result<Applied, ControlError> {
    let Means { store, keyring, entropy, now } = means;
    store.all_or_nothing(|store| {
        let mut means = Means { store, keyring, entropy, now };
        means.tenants(config)?;
        let mut applied = means.access_keys(config, inputs, ending)?;
        applied.notes.extend(means.credentials(inputs, providers, ending)?);
        means.store.admin().append_audit(audit)?;
        record(means.store)?;
        Ok(applied)
    })
}

impl Means<'_> {
    /// The operator's own provider keys belong to `default`, so that tenant is always there.
    fn tenants(&mut self, config: &Config) -> Result<(), ControlError> {
        let default = TenantId::new(TENANT_DEFAULT);
        for tenant in config.tenants.iter().map(|tenant| &tenant.id).chain([&default]) {
            self.store.admin().ensure_tenant(tenant, self.keyring, self.entropy, self.now)?;
        }
        Ok(())
    }

    fn access_keys(&mut self, config: &Config, inputs: &Inputs, ending: Ending) -> Result<Applied, ControlError> {
        let (mut notes, mut touched) = (Vec::new(), Vec::new());
        let mut living: HashSet<String> = HashSet::with_capacity(config.access_keys.len());
        for (key, secret) in config.access_keys.iter().zip(&inputs.access_keys) {
            if key.expires_at.is_some_and(|end| end <= self.now) {
                notes.push(format!("the access key `{}` of the configuration has ended", key.name));
                continue;
            }
            let limits = key_limits::of_config(&key.limits);
            let terms = Terms { name: &key.name, scopes: key.scopes, limits: &limits, expires: key.expires_at };
            let text = Secret::copy_of(secret.expose());
            let mut access = Access::new(self.store, self.keyring, self.entropy, self.now);
            let registered = access.register(&key.tenant, text, &terms);
            touched.append(&mut access.touched);
            match registered {
                Ok(view) => {
                    living.insert(view.id);
                }
                Err(AccessError::Revoked) => {
                    notes.push(format!(
                        "the access key `{}` was revoked and stays so; remove it from the configuration",
                        key.name
                    ));
                }
                Err(error) => {
                    return Err(ControlError::Config(vec![format!("the access key `{}`: {error}", key.name)]));
                }
            }
        }
        if ending == Ending::Now {
            self.end_the_others(&living, &mut touched)?;
        }
        Ok(Applied { notes, touched })
    }

    /// Ends the access keys that an earlier configuration brought and this one does not name.
    fn end_the_others(&mut self, living: &HashSet<String>, touched: &mut Vec<AccessKeyId>) -> Result<(), ControlError> {
        for (tenant, id, limits) in self.store.admin().marked_access_keys(self.now)? {
            if key_limits::is_of_config(&limits) && !living.contains(&id.to_string()) {
                self.store.end_access_key(&tenant, id, self.now)?;
                touched.push(id);
            }
        }
        Ok(())
    }

    fn credentials(
        &mut self,
        inputs: &Inputs,
        providers: &[Configured],
        ending: Ending,
    ) -> Result<Vec<String>, ControlError> {
        let mut notes = Vec::new();
        let default = TenantId::new(TENANT_DEFAULT);
        let mut supplied: HashSet<ProviderId> = HashSet::new();
        for provider in providers {
            let Some(secret) = inputs.provider_keys.get(&provider.config.id) else { continue };
            let secrets = vec![Secret::copy_of(secret.expose())];
            let (id, base_url) = (&provider.config.id, provider.url.as_str());
            let mut credentials = Credentials::new(self.store, self.keyring, self.entropy, self.now);
            let done = credentials.supply(&default, id, base_url, secrets, (key_config(provider), ending))?;
            notes.extend(done.notes);
            supplied.insert(id.clone());
        }
        if ending == Ending::Later {
            return Ok(notes);
        }
        for row in self.store.credentials(&default, None)? {
            if row.origin == Origin::Config && row.record.is_some() && supplied.insert(row.provider.clone()) {
                let mut credentials = Credentials::new(self.store, self.keyring, self.entropy, self.now);
                let none = (KeyConfig::default(), ending);
                credentials.supply(&default, &row.provider, &row.base_url, Vec::new(), none)?;
            }
        }
        Ok(notes)
    }
}

fn key_config(provider: &Configured) -> KeyConfig {
    let timeout_ms = provider.config.timeout.map_or(CREDENTIAL_TIMEOUT_MS, |timeout| {
        u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).min(CREDENTIAL_TIMEOUT_MS_MAX)
    });
    KeyConfig { timeout_ms, max_retries: provider.config.max_retries.unwrap_or(CREDENTIAL_RETRIES) }
}
