//! What the API can change: tenants, access keys, provider keys. Each is stored with its audit entry in one transaction, then
//! published at once, so that it holds on every core within a second (rule V10).

use super::AllowanceView;
use super::access::{Access, AccessKeyView, Terms};
use super::access_changes::check_some;
use super::audit::Changed;
use super::credentials::{CredentialView, Credentials, KeyConfig};
use super::supply::Means;
use super::{Control, ControlError, key_limits, means};
use crate::config::TENANT_DEFAULT;
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, CredentialId, ProviderId, TenantId};
use crate::domain::scope::Scopes;
use crate::domain::secret::Secret;
use crate::domain::text::bounded;
use crate::limits::NAME_CHARS_MAX;
use crate::providers::table;
use crate::store::{AuditEntry, Origin, StoreError};
use crate::vault::AccessKeyText;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// A tenant as shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TenantView {
    /// What paths and access keys call it.
    pub id: String,
    /// What people call it, where the configuration says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// Whether the configuration names it; then only the configuration can let it go.
    pub configured: bool,
    /// What is left of its limits, if it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<AllowanceView>,
}

/// An access key to make.
#[derive(Clone, Debug)]
pub struct NewAccess {
    /// The owner's name for it.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// How much, as configuration writes it.
    pub limits: Map<String, Value>,
    /// When it ends, if ever.
    pub expires: Option<UnixMillis>,
}

/// A change as the audit log names it.
#[derive(Clone, Copy)]
pub(super) struct Deed<'a> {
    pub(super) who: &'a str,
    pub(super) tenant: &'a TenantId,
    pub(super) what: &'a str,
}

// === Tenants ===

impl Control {
    /// The living tenants, by name.
    ///
    /// # Errors
    /// As the store.
    pub fn tenants(&mut self) -> Result<Vec<TenantView>, ControlError> {
        let stored = self.store.admin().tenants()?;
        let configured: HashMap<&TenantId, &crate::config::Tenant> =
            self.config.tenants.iter().map(|tenant| (&tenant.id, tenant)).collect();
        Ok(stored
            .into_iter()
            .map(|(id, created)| tenant_view(&id, created, configured.get(&id).copied(), self.allowance_of_tenant(&id)))
            .collect())
    }

    /// Makes a tenant. `who` did it, for the audit log: `uid:1000`, or an access key's id.
    ///
    /// # Errors
    /// It exists, or its id is no name.
    pub fn create_tenant(&mut self, who: &str, id: &str) -> Result<TenantView, ControlError> {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if id.is_empty() || id.len() > NAME_CHARS_MAX || !id.chars().all(fits) || id.starts_with('.') {
            let what =
                "a tenant's id has up to 128 letters, digits, `-`, `_` and `.`, and begins with none of the dots";
            return Err(ControlError::Invalid(what.to_owned()));
        }
        let tenant = TenantId::new(id);
        let deed = Deed { who, tenant: &tenant, what: "tenant.create" };
        let configured = self.config.tenants.iter().find(|known| known.id == tenant);
        let view = tenant_view(&tenant, self.now(), configured, self.allowance_of_tenant(&tenant));
        self.change(deed, |means| {
            let made = means.store.admin().ensure_tenant(&tenant, means.keyring, means.entropy, means.now)?;
            match made {
                true => Ok(((), Changed::of(id).after(&view))),
                false => Err(StoreError::Exists("tenant").into()),
            }
        })?;
        Ok(view)
    }

    /// Destroys a tenant with its keys: its data key is erased, so that nothing it sealed can ever be opened (rule V1).
    ///
    /// # Errors
    /// There is none, or the configuration names it.
    pub fn delete_tenant(&mut self, who: &str, tenant: &TenantId) -> Result<(), ControlError> {
        if tenant.as_str() == TENANT_DEFAULT || self.is_configured(tenant) {
            let what = "this tenant belongs to the configuration; remove it there first (`default` always stays)";
            return Err(ControlError::Conflict(what.to_owned()));
        }
        let view = self.tenants()?.into_iter().find(|view| view.id == tenant.as_str());
        let keys = self.change(Deed { who, tenant, what: "tenant.delete" }, |means| {
            let keys = means.store.access_keys(tenant)?;
            means.store.admin().destroy_tenant(tenant, means.now)?;
            Ok((keys, Changed::of(tenant.to_string()).before(&view)))
        })?;
        self.rotations.forget(tenant);
        self.allowances.forget_own(tenant);
        self.alerts.forget_tenant(tenant);
        self.touch_access_keys(keys.iter().filter(|key| key.revoked.is_none()).map(|key| key.id));
        self.touch_credentials(tenant);
        self.publish()?;
        Ok(())
    }

    fn is_configured(&self, tenant: &TenantId) -> bool {
        let mut named = self.config.tenants.iter().map(|tenant| &tenant.id);
        named.any(|id| id == tenant) || self.config.access_keys.iter().any(|key| key.tenant == *tenant)
    }
}

fn tenant_view(
    id: &TenantId,
    created: UnixMillis,
    configured: Option<&crate::config::Tenant>,
    usage: Option<AllowanceView>,
) -> TenantView {
    TenantView {
        id: id.to_string(),
        name: configured.and_then(|tenant| tenant.name.clone()),
        created_at: created.to_rfc3339(),
        configured: configured.is_some(),
        usage,
    }
}

// === Access keys ===

impl Control {
    /// A tenant's access keys, oldest first, ended and revoked ones among them.
    ///
    /// # Errors
    /// No such tenant, or the store refuses.
    pub fn access_keys(&mut self, tenant: &TenantId) -> Result<Vec<AccessKeyView>, ControlError> {
        let Means { store, keyring, entropy, now } = means(self);
        let mut views = Access::new(store, keyring, entropy, now).list(tenant)?;
        for view in &mut views {
            key_limits::without_mark(&mut view.limits);
            view.usage = AccessKeyId::parse(&view.id).and_then(|id| self.allowance_of_key(id));
        }
        Ok(views)
    }

    /// Makes an access key. Its text is in the answer and nowhere else.
    ///
    /// # Errors
    /// No such tenant, or terms that cannot be meant.
    pub fn make_access_key(
        &mut self,
        who: &str,
        tenant: &TenantId,
        new: NewAccess,
    ) -> Result<(AccessKeyView, AccessKeyText), ControlError> {
        check_some(Some(new.scopes))?;
        let limits = key_limits::of_api(new.limits).map_err(ControlError::Invalid)?;
        let terms = Terms { name: &new.name, scopes: new.scopes, limits: &limits, expires: new.expires };
        let (made, touched) = self.change(Deed { who, tenant, what: "access_key.make" }, |means| {
            let mut access = Access::new(means.store, means.keyring, means.entropy, means.now);
            let made = access.make(tenant, &terms)?;
            let changed = Changed::of(made.0.id.clone()).after(&made.0);
            Ok(((made, access.touched), changed))
        })?;
        self.touch_access_keys(touched);
        self.publish()?;
        Ok(made)
    }

    /// Revokes an access key, for good.
    ///
    /// # Errors
    /// This tenant has no such living key.
    pub fn revoke_access_key(&mut self, who: &str, tenant: &TenantId, id: AccessKeyId) -> Result<(), ControlError> {
        self.change(Deed { who, tenant, what: "access_key.revoke" }, |means| {
            Access::new(means.store, means.keyring, means.entropy, means.now).revoke(tenant, id)?;
            let gone = serde_json::json!({ "id": id.to_string(), "status": "revoked" });
            Ok(((), Changed::of(id.to_string()).after(&gone)))
        })?;
        self.touch_access(id);
        self.publish()?;
        Ok(())
    }
}

// === Provider keys ===

impl Control {
    /// Takes in a provider key, in use at once. A built-in provider that the configuration does not name is configured by it.
    ///
    /// # Errors
    /// No such tenant or provider, or a text that is no key.
    pub fn add_credential(
        &mut self,
        who: &str,
        tenant: &TenantId,
        provider: &str,
        secret: Secret,
        config: KeyConfig,
    ) -> Result<CredentialView, ControlError> {
        let (provider, base_url) = self.provider_for_key(provider)?;
        let view = self.change(Deed { who, tenant, what: "credential.add" }, |means| {
            let mut credentials = Credentials::new(means.store, means.keyring, means.entropy, means.now);
            let view = credentials.add(tenant, &provider, &base_url, secret, config)?;
            let changed = Changed::of(view.id.clone()).after(&view);
            Ok((view, changed))
        })?;
        self.touch_credentials(tenant);
        self.publish()?;
        Ok(view)
    }

    /// A tenant's provider keys, oldest first, of one provider or of all; removed ones stay listed as `revoked`, rotated ones as `erased`.
    ///
    /// # Errors
    /// No such tenant or provider.
    pub fn credentials(
        &mut self,
        tenant: &TenantId,
        provider: Option<&str>,
    ) -> Result<Vec<CredentialView>, ControlError> {
        let provider = provider.map(|name| self.known_provider(name)).transpose()?;
        let Means { store, keyring, entropy, now } = means(self);
        let mut views = Credentials::new(store, keyring, entropy, now).list(tenant, provider.as_ref())?;
        self.mark_rotating(tenant, &mut views)?;
        self.mark_ages(&mut views);
        Ok(views)
    }

    /// One provider key of a tenant.
    ///
    /// # Errors
    /// This tenant has no such key at this provider (rules T1, V7).
    pub fn credential(
        &mut self,
        tenant: &TenantId,
        provider: &str,
        id: CredentialId,
    ) -> Result<CredentialView, ControlError> {
        let id = id.to_string();
        let found = self.credentials(tenant, Some(provider))?.into_iter().find(|view| view.id == id);
        found.ok_or_else(|| ControlError::no_such("provider key"))
    }

    /// Erases a provider key; it is out of use at once.
    ///
    /// # Errors
    /// This tenant has no such living key at this provider, the configuration supplies it, or it takes part in a rotation.
    pub fn remove_credential(
        &mut self,
        who: &str,
        tenant: &TenantId,
        provider: &str,
        id: CredentialId,
    ) -> Result<CredentialView, ControlError> {
        let provider = self.known_provider(provider)?;
        let row = self.store.credential(tenant, id)?;
        if row.provider != provider {
            return Err(ControlError::no_such("provider key"));
        }
        if self.let_go(who, id)? {
            self.publish()?;
            return self.credential(tenant, provider.as_str(), id);
        }
        if row.origin == Origin::Config && row.record.is_some() {
            let what = "the configuration supplies this key and would bring it back; remove it there and reload";
            return Err(ControlError::Conflict(what.to_owned()));
        }
        let view = self.change(Deed { who, tenant, what: "credential.remove" }, |means| {
            let mut credentials = Credentials::new(means.store, means.keyring, means.entropy, means.now);
            let before = credentials.one(tenant, id)?;
            let view = credentials.remove(tenant, id)?;
            let changed = Changed::of(id.to_string()).before(&before).after(&view);
            Ok((view, changed))
        })?;
        self.touch_credentials(tenant);
        self.publish()?;
        Ok(view)
    }

    /// The canonical name of a provider, configured or built in.
    pub(super) fn known_provider(&self, name: &str) -> Result<ProviderId, ControlError> {
        if let Some(provider) = self.configured_named(name) {
            return Ok(provider.config.id.clone());
        }
        let row = table::find(name).ok_or_else(|| self.unknown_provider(name))?;
        Ok(ProviderId::new(row.id))
    }

    /// The canonical name of a provider that a key may be added for, and the address that the key may be sent to (rule T5).
    pub(super) fn provider_for_key(&mut self, name: &str) -> Result<(ProviderId, String), ControlError> {
        if let Some(provider) = self.configured_named(name) {
            return Ok((provider.config.id.clone(), provider.url.as_str().to_owned()));
        }
        let row = table::find(name).ok_or_else(|| self.unknown_provider(name))?;
        let provider = self.bring_in(row).map_err(ControlError::Invalid)?;
        Ok((provider.config.id.clone(), provider.url.as_str().to_owned()))
    }

    fn unknown_provider(&self, name: &str) -> ControlError {
        let own = self.configured.iter().map(|provider| provider.config.id.as_str());
        let rows = table::ROWS.iter().map(|row| row.id);
        let mut known: Vec<&str> = own.chain(rows).collect();
        known.sort_unstable();
        known.dedup();
        let name = bounded(name, NAME_CHARS_MAX);
        ControlError::NotFound(format!("there is no provider `{name}`; known are {}", known.join(", ")))
    }

    /// Makes a change and its audit entry, both or neither. `work` answers what it made and what it changed: its id alone, or also
    /// the object before and after.
    pub(super) fn change<T, C: Into<Changed>>(
        &mut self,
        deed: Deed<'_>,
        work: impl FnOnce(&mut Means<'_>) -> Result<(T, C), ControlError>,
    ) -> Result<T, ControlError> {
        let Deed { who, tenant, what } = deed;
        let Means { store, keyring, entropy, now } = means(self);
        let (made, target) = store.all_or_nothing(|store| {
            let (made, changed) = work(&mut Means { store, keyring, entropy, now })?;
            let Changed { target, before, after } = changed.into();
            let (before, after) = (before.as_str(), after.as_str());
            let entry = AuditEntry { at: now, tenant: Some(tenant), who, what, target: &target, before, after };
            store.admin().append_audit(&entry)?;
            Ok::<_, ControlError>((made, target))
        })?;
        let kind = what.split('.').next().map_or("change", kind_of);
        self.note(kind, format!("{what} {target} of tenant {tenant} by {who}"));
        Ok(made)
    }
}

fn kind_of(subject: &str) -> &'static str {
    match subject {
        "tenant" => "tenant",
        "access_key" => "access_key",
        "vault" => "vault",
        "budget" => "budget",
        "webhook" | "alert" => "alert",
        _ => "credential",
    }
}
