//! Access keys: made, registered, listed, changed, rotated and revoked. Their text is shown once; after that only its digest exists.
//!
//! A key that configuration or the environment supplies is registered by its digest: doing it again changes nothing but the
//! terms. A revoked key stays revoked, also when a configuration still names it.
//!
//! ```text
//!              rotate                  the overlap ends
//!   (active) ----------> (in overlap) ------------------> (expired)
//!      |                      |
//!      '------- revoke -------'---------> (revoked), for good
//! ```
//! A rotation makes a second key beside the first, each with a life of its own: revoking one does nothing to the other. A key whose
//! successor lives is not changed or rotated again; once that successor is revoked, it may be.

use super::AllowanceView;
use super::key_limits;
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
use std::time::Duration;

/// The service, borrowed for one operation.
pub struct Access<'s> {
    store: &'s mut Store,
    keyring: &'s Keyring,
    entropy: &'s mut dyn Entropy,
    now: UnixMillis,
    /// The keys that this service made or gave other terms: what must be published anew.
    pub(super) touched: Vec<AccessKeyId>,
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
    /// What is left of them, if it lives and has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<AllowanceView>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
    /// The key whose place it took, if a rotation made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub succeeds: Option<String>,
    /// The key that took its place, if it was rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub successor: Option<String>,
}

/// What shall be different about an access key; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The owner's name for it.
    pub name: Option<String>,
    /// Its rights.
    pub scopes: Option<Scopes>,
    /// All of its limits, checked.
    pub limits: Option<Map<String, Value>>,
    /// When it ends; `Some(None)`: never.
    pub expires: Option<Option<UnixMillis>>,
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
    /// Configuration writes its keys anew with each reload.
    #[error("the configuration supplies this access key and would undo the change; change it there and reload")]
    Configured,
    /// It was rotated.
    #[error("this access key was rotated; use its `successor` instead, or revoke that one first")]
    Rotated,
    /// It has ended.
    #[error("this access key has ended; make a new one")]
    Ended,
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
        Self { store, keyring, entropy, now, touched: Vec::new() }
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
        self.touched.push(known.id);
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

    /// One access key of this tenant.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when this tenant has no such key.
    pub fn show(&self, tenant: &TenantId, id: AccessKeyId) -> Result<AccessKeyView, AccessError> {
        Ok(AccessKeyView::of(&self.store.access_key(tenant, id)?, self.now))
    }

    /// The limits of an access key that the API may change, as stored.
    ///
    /// # Errors
    /// As [`Access::amend`].
    pub fn limits(&self, tenant: &TenantId, id: AccessKeyId) -> Result<Map<String, Value>, AccessError> {
        let stored = self.changeable(tenant, id)?.limits;
        Ok(serde_json::from_str(&stored).unwrap_or_default())
    }

    /// Changes an access key; its text stays.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when this tenant has no such key; revoked, rotated, configured; refused terms.
    pub fn amend(
        &mut self,
        tenant: &TenantId,
        id: AccessKeyId,
        changes: &Changes,
    ) -> Result<AccessKeyView, AccessError> {
        let before = self.changeable(tenant, id)?;
        let limits = changes.limits.as_ref().map(|limits| Value::Object(limits.clone()).to_string());
        let after = StoredAccessKey {
            name: changes.name.clone().unwrap_or(before.name),
            scopes: changes.scopes.unwrap_or(before.scopes),
            limits: limits.unwrap_or(before.limits),
            expires: changes.expires.unwrap_or(before.expires),
            ..before
        };
        self.check_name(&after.name)?;
        if changes.expires.flatten().is_some_and(|end| end <= self.now) {
            return Err(AccessError::Expired);
        }
        self.store.update_access_key(tenant, id, &after.name, after.scopes, &after.limits, after.expires)?;
        self.touched.push(id);
        Ok(AccessKeyView::of(&after, self.now))
    }

    /// Makes a key that takes the place of another with the same terms; the old one ends after the overlap, if it would not sooner. Both
    /// are counted as one. Answers the new key, its text, and the old one's end.
    ///
    /// # Errors
    /// As [`Access::amend`]; ended.
    pub fn rotate(
        &mut self,
        tenant: &TenantId,
        id: AccessKeyId,
        overlap: Duration,
    ) -> Result<(AccessKeyView, AccessKeyText, UnixMillis), AccessError> {
        let old = self.changeable(tenant, id)?;
        if old.expires.is_some_and(|end| end <= self.now) {
            return Err(AccessError::Ended);
        }
        let overlap = u64::try_from(overlap.as_millis()).unwrap_or(u64::MAX);
        let over = UnixMillis(self.now.0.saturating_add(overlap));
        let ends = old.expires.map_or(over, |end| end.min(over));
        let text = AccessKeyText::make(self.entropy).map_err(StoreError::from)?;
        let stored = StoredAccessKey {
            id: AccessKeyId::from_bits(random_bits(self.entropy).map_err(StoreError::from)?),
            last4: last4(&text),
            created: self.now,
            succeeds: Some(id),
            ..old
        };
        let pepper = self.keyring.pepper().map_err(StoreError::from)?;
        let digest = digest(pepper, text.expose());
        self.store.succeed_access_key(tenant, id, ends, &row(&stored, pepper.version(), &digest))?;
        self.touched.extend([id, stored.id]);
        Ok((AccessKeyView::of(&stored, self.now), text, ends))
    }

    /// A key that the API may change: living, not configuration's, and not one whose place another has taken.
    fn changeable(&self, tenant: &TenantId, id: AccessKeyId) -> Result<StoredAccessKey, AccessError> {
        let known = self.store.access_key(tenant, id)?;
        match known {
            known if known.revoked.is_some() => Err(AccessError::Revoked),
            known if key_limits::is_of_config(&known.limits) => Err(AccessError::Configured),
            known if known.successor.is_some() => Err(AccessError::Rotated),
            known => Ok(known),
        }
    }

    /// Revokes an access key, for good. It stops working with the next snapshot (rule V10).
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when this tenant has no such living key.
    pub fn revoke(&mut self, tenant: &TenantId, id: AccessKeyId) -> Result<(), AccessError> {
        Ok(self.store.revoke_access_key(tenant, id, self.now)?)
    }

    /// Every living access key, lent one at a time: for a snapshot, beside the peppers of the key ring.
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
            succeeds: None,
            successor: None,
        };
        let digest = digest(pepper, text.expose());
        self.store.insert_access_key(tenant, &row(&stored, pepper.version(), &digest))?;
        self.touched.push(stored.id);
        Ok(AccessKeyView::of(&stored, self.now))
    }

    fn check_name(&self, name: &str) -> Result<(), AccessError> {
        let fits = name.len() <= ACCESS_KEY_NAME_BYTES_MAX && !name.chars().any(char::is_control);
        if fits { Ok(()) } else { Err(AccessError::Name) }
    }

    fn check(&self, terms: &Terms<'_>) -> Result<(), AccessError> {
        self.check_name(terms.name)?;
        match terms.expires {
            Some(end) if end <= self.now => Err(AccessError::Expired),
            _ => Ok(()),
        }
    }
}

/// A key as the store takes it in.
fn row<'a>(key: &'a StoredAccessKey, pepper_version: u32, digest: &'a [u8; 32]) -> NewAccessKey<'a> {
    NewAccessKey {
        id: key.id,
        name: &key.name,
        pepper_version,
        digest,
        last4: &key.last4,
        scopes: key.scopes,
        limits: &key.limits,
        created: key.created,
        expires: key.expires,
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
            usage: None,
            created_at: key.created.to_rfc3339(),
            expires_at: key.expires.map(UnixMillis::to_rfc3339),
            revoked_at: key.revoked.map(UnixMillis::to_rfc3339),
            succeeds: key.succeeds.map(|id| id.to_string()),
            successor: key.successor.map(|id| id.to_string()),
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
