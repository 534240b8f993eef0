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
use crate::domain::id::{ProviderId, TenantId};
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

/// Applies tenants, access keys and provider keys and notes it in the audit log, all or none. Answers what an owner should know.
///
/// # Errors
/// The first refusal; then nothing changed.
pub(super) fn apply(
    means: Means<'_>,
    config: &Config,
    inputs: &Inputs,
    providers: &[Configured],
    audit: &AuditEntry<'_>,
) -> Result<Vec<String>, ControlError> {
    let Means { store, keyring, entropy, now } = means;
    store.all_or_nothing(|store| {
        let mut means = Means { store, keyring, entropy, now };
        means.tenants(config)?;
        let notes = means.access_keys(config, inputs)?;
        means.credentials(inputs, providers)?;
        means.store.admin().append_audit(audit)?;
        Ok(notes)
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

    fn access_keys(&mut self, config: &Config, inputs: &Inputs) -> Result<Vec<String>, ControlError> {
        let mut notes = Vec::new();
        let mut living: HashSet<String> = HashSet::new();
        for (key, secret) in config.access_keys.iter().zip(&inputs.access_keys) {
            if key.expires_at.is_some_and(|end| end <= self.now) {
                notes.push(format!("the access key `{}` of the configuration has ended", key.name));
                continue;
            }
            let limits = key_limits::of_config(&key.limits);
            let terms = Terms { name: &key.name, scopes: key.scopes, limits: &limits, expires: key.expires_at };
            let text = Secret::copy_of(secret.expose());
            let mut access = Access::new(self.store, self.keyring, self.entropy, self.now);
            match access.register(&key.tenant, text, &terms) {
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
        self.end_the_others(&living)?;
        Ok(notes)
    }

    /// Ends the access keys that an earlier configuration brought and this one does not name.
    fn end_the_others(&mut self, living: &HashSet<String>) -> Result<(), ControlError> {
        for (tenant, _) in self.store.admin().tenants()? {
            for key in self.store.access_keys(&tenant)? {
                let over = key.revoked.is_some() || key.expires.is_some_and(|end| end <= self.now);
                if !over && key_limits::is_of_config(&key.limits) && !living.contains(&key.id.to_string()) {
                    let now = Some(self.now);
                    self.store.update_access_key(&tenant, key.id, &key.name, key.scopes, &key.limits, now)?;
                }
            }
        }
        Ok(())
    }

    fn credentials(&mut self, inputs: &Inputs, providers: &[Configured]) -> Result<(), ControlError> {
        let default = TenantId::new(TENANT_DEFAULT);
        let mut supplied: HashSet<ProviderId> = HashSet::new();
        for provider in providers {
            let Some(secret) = inputs.provider_keys.get(&provider.config.id) else { continue };
            let secrets = vec![Secret::copy_of(secret.expose())];
            self.supply(&default, &provider.config.id, provider.url.as_str(), secrets, key_config(provider))?;
            supplied.insert(provider.config.id.clone());
        }
        for row in self.store.credentials(&default, None)? {
            if row.origin == Origin::Config && row.record.is_some() && supplied.insert(row.provider.clone()) {
                self.supply(&default, &row.provider, &row.base_url, Vec::new(), KeyConfig::default())?;
            }
        }
        Ok(())
    }

    fn supply(
        &mut self,
        tenant: &TenantId,
        provider: &ProviderId,
        base_url: &str,
        secrets: Vec<Secret>,
        config: KeyConfig,
    ) -> Result<(), ControlError> {
        let mut credentials = Credentials::new(self.store, self.keyring, self.entropy, self.now);
        credentials.supply(tenant, provider, base_url, secrets, config)?;
        Ok(())
    }
}

fn key_config(provider: &Configured) -> KeyConfig {
    let timeout_ms = provider.config.timeout.map_or(CREDENTIAL_TIMEOUT_MS, |timeout| {
        u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).min(CREDENTIAL_TIMEOUT_MS_MAX)
    });
    KeyConfig { timeout_ms, max_retries: provider.config.max_retries.unwrap_or(CREDENTIAL_RETRIES) }
}
