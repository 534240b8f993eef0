//! Access keys: made, registered, listed and revoked. Their text is shown once; after that only its digest exists.
//!
//! A key that configuration or the environment supplies is registered by its digest: doing it again changes nothing but the
//! terms. A revoked key stays revoked, also when a configuration still names it.

use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, TenantId};
use crate::domain::scope::Scopes;
use crate::domain::secret::Secret;
use crate::limits::{ACCESS_KEY_BYTES_MAX, ACCESS_KEY_CHARS_MIN, ACCESS_KEY_NAME_BYTES_MAX};
use crate::store::{AccessKeyRow, NewAccessKey, Store, StoreError, StoredAccessKey};
use crate::vault::access_key::{AccessKeyText, digest, looks_like};
use crate::vault::entropy::random_bits;
use crate::vault::{Again, Entropy, Keyring, Whose};
use serde::Serialize;
use serde_json::{Map, Value};

/// The service, borrowed for one operation.
pub struct Access<'s> {
    store: &'s mut Store,
    keyring: &'s Keyring,
    entropy: &'s mut dyn Entropy,
    now: UnixMillis,
}

/// What an access key is called and may do.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The owner's name for it.
    pub name: &'a str,
    /// Its rights.
    pub scopes: Scopes,
    /// Its limits, as configuration writes them; checked there.
    pub limits: &'a Map<String, Value>,
    /// When it ends, if ever.
    pub expires: Option<UnixMillis>,
}

/// An access key as shown: never its text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccessKeyView {
    /// `ak_…`
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// The owner's name for it.
    pub name: String,
    /// `active`, `expired` or `revoked`.
    pub status: &'static str,
    /// `…last4`.
    pub key: String,
    /// Names of its rights.
    pub scopes: Vec<&'static str>,
    /// Its limits.
    pub limits: Value,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
}

/// Why an access key was not made, registered or found.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Guessable.
    #[error("an access key must have {ACCESS_KEY_CHARS_MIN} characters or more; let igris make one")]
    TooShort,
    /// Longer than a header should be.
    #[error("an access key must have at most {ACCESS_KEY_BYTES_MAX} characters")]
    TooLong,
    /// A character that clients cannot send in a header.
    #[error("an access key may hold visible ASCII characters only")]
    Character,
    /// An unprintable or overlong name.
    #[error("an access key's name must be at most {ACCESS_KEY_NAME_BYTES_MAX} bytes without control characters")]
    Name,
    /// The end is in the past.
    #[error("the access key would have ended already; give a later end")]
    Expired,
    /// It was revoked, and stays so.
    #[error("this access key was revoked and cannot come back; use another one")]
    Revoked,
    /// One text cannot name two tenants.
    #[error("this access key belongs to another tenant; use another one")]
    OtherTenant,
    /// The store or the vault refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl Access ===

impl<'s> Access<'s> {
    /// Borrows what an operation at `now` needs.
    pub fn new(store: &'s mut Store, keyring: &'s Keyring, entropy: &'s mut dyn Entropy, now: UnixMillis) -> Self {
        Self { store, keyring, entropy, now }
    }

    /// Makes an access key. The text is in the answer and nowhere else.
    ///
    /// # Errors
    /// [`AccessError`]: refused terms, or no such tenant.
    pub fn make(
        &mut self,
        tenant: &TenantId,
        terms: &Terms<'_>,
    ) -> Result<(AccessKeyView, AccessKeyText), AccessError> {
        let text = AccessKeyText::make(self.entropy).map_err(StoreError::from)?;
        let view = self.insert(tenant, &text, terms)?;
        Ok((view, text))
    }

    /// Registers a key that the owner brings; one that is known already gets these terms.
    ///
    /// # Errors
    /// [`AccessError`]: refused text or terms, revoked before, another tenant's, or no such tenant.
    pub fn register(
        &mut self,
        tenant: &TenantId,
        text: Secret,
        terms: &Terms<'_>,
    ) -> Result<AccessKeyView, AccessError> {
        let text = AccessKeyText::supplied(checked(text)?);
        let Some(known) = self.known(&text)? else { return self.insert(tenant, &text, terms) };
        if known.tenant != *tenant {
            return Err(AccessError::OtherTenant);
        }
        if known.revoked.is_some() {
            return Err(AccessError::Revoked);
        }
        self.check(terms)?;
        let limits = Value::Object(terms.limits.clone()).to_string();
        let same = (known.name.as_str(), known.scopes, &known.limits, known.expires)
            == (terms.name, terms.scopes, &limits, terms.expires);
        if same {
            // A reload names every key again: one that stays as it is costs no write.
            return Ok(AccessKeyView::of(&known, self.now));
        }
        self.store.update_access_key(tenant, known.id, terms.name, terms.scopes, &limits, terms.expires)?;
        let now = StoredAccessKey {
            name: terms.name.to_owned(),
            scopes: terms.scopes,
            limits,
            expires: terms.expires,
            ..known
        };
        Ok(AccessKeyView::of(&now, self.now))
    }

    /// This tenant's access keys, oldest first, revoked ones among them.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such tenant.
    pub fn list(&self, tenant: &TenantId) -> Result<Vec<AccessKeyView>, AccessError> {
        if !self.store.has_tenant(tenant)? {
            return Err(StoreError::NotFound("tenant").into());
        }
        Ok(self.store.access_keys(tenant)?.iter().map(|key| AccessKeyView::of(key, self.now)).collect())
    }

    /// Revokes an access key, for good. It stops working with the next snapshot (rule V10).
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when this tenant has no such living key.
    pub fn revoke(&mut self, tenant: &TenantId, id: AccessKeyId) -> Result<(), AccessError> {
        Ok(self.store.revoke_access_key(tenant, id, self.now)?)
    }

    /// Every living access key, lent one at a time, tenant by tenant: for a snapshot, beside the peppers of the key ring.
    ///
    /// # Errors
    /// Whatever `each` answers, or the store's.
    pub fn for_each_living<E: From<StoreError>>(
        &mut self,
        each: impl FnMut(AccessKeyRow<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.store.admin().for_each_access_key(self.now, each)
    }

    /// The stored key with this text, digested with every pepper: an older one may have made it.
    fn known(&mut self, text: &AccessKeyText) -> Result<Option<StoredAccessKey>, StoreError> {
        for pepper in self.keyring.peppers() {
            if let Some(known) = self.store.admin().access_key_by_digest(&digest(pepper, text.expose()))? {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }

    fn insert(
        &mut self,
        tenant: &TenantId,
        text: &AccessKeyText,
        terms: &Terms<'_>,
    ) -> Result<AccessKeyView, AccessError> {
        self.check(terms)?;
        let pepper = self.keyring.pepper().map_err(StoreError::from)?;
        let stored = StoredAccessKey {
            id: AccessKeyId::from_bits(random_bits(self.entropy).map_err(StoreError::from)?),
            tenant: tenant.clone(),
            name: terms.name.to_owned(),
            last4: last4(text),
            scopes: terms.scopes,
            limits: Value::Object(terms.limits.clone()).to_string(),
            created: self.now,
            expires: terms.expires,
            revoked: None,
        };
        let new = NewAccessKey {
            id: stored.id,
            name: &stored.name,
            pepper_version: pepper.version(),
            digest: &digest(pepper, text.expose()),
            last4: &stored.last4,
            scopes: stored.scopes,
            limits: &stored.limits,
            created: stored.created,
            expires: stored.expires,
        };
        self.store.insert_access_key(tenant, &new)?;
        Ok(AccessKeyView::of(&stored, self.now))
    }

    fn check(&self, terms: &Terms<'_>) -> Result<(), AccessError> {
        if terms.name.len() > ACCESS_KEY_NAME_BYTES_MAX || terms.name.chars().any(char::is_control) {
            return Err(AccessError::Name);
        }
        match terms.expires {
            Some(end) if end <= self.now => Err(AccessError::Expired),
            _ => Ok(()),
        }
    }
}

// === impl AccessKeyView ===

impl AccessKeyView {
    fn of(key: &StoredAccessKey, now: UnixMillis) -> Self {
        let status = match (key.revoked, key.expires) {
            (Some(_), _) => "revoked",
            (None, Some(end)) if end <= now => "expired",
            _ => "active",
        };
        Self {
            id: key.id.to_string(),
            tenant: key.tenant.to_string(),
            name: key.name.clone(),
            status,
            key: format!("…{}", key.last4),
            scopes: key.scopes.names().collect(),
            // Written by this file only; a row that is not JSON shows as its text rather than not at all.
            limits: serde_json::from_str(&key.limits).unwrap_or_else(|_| Value::String(key.limits.clone())),
            created_at: key.created.to_rfc3339(),
            expires_at: key.expires.map(UnixMillis::to_rfc3339),
            revoked_at: key.revoked.map(UnixMillis::to_rfc3339),
        }
    }
}

// === impl AccessError ===

impl AccessError {
    /// Who has to act.
    pub fn whose(&self) -> Whose {
        match self {
            Self::Store(error) => error.whose(),
            _ => Whose::Client,
        }
    }

    /// Whether the same call may succeed later.
    pub fn again(&self) -> Again {
        match self {
            Self::Store(error) => error.again(),
            _ => Again::Never,
        }
    }
}

/// Any visible ASCII text of the right length; white space around it is dropped, as config files and shells leave some.
fn checked(text: Secret) -> Result<Secret, AccessError> {
    let trimmed = text.expose().trim_ascii();
    if trimmed.len() < ACCESS_KEY_CHARS_MIN {
        return Err(AccessError::TooShort);
    }
    if trimmed.len() > ACCESS_KEY_BYTES_MAX {
        return Err(AccessError::TooLong);
    }
    if !trimmed.iter().all(u8::is_ascii_graphic) {
        return Err(AccessError::Character);
    }
    Ok(Secret::copy_of(trimmed))
}

/// Four characters of a made key hide nothing that matters; of a short supplied one they might, so two must do.
fn last4(text: &AccessKeyText) -> String {
    let last4 = text.last4();
    if looks_like(text.expose()) || text.expose().len() >= 2 * ACCESS_KEY_CHARS_MIN {
        return last4;
    }
    last4.chars().skip(2).collect()
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
