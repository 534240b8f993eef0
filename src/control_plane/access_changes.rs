//! Access keys that are looked at, changed and rotated, and what one access key may give to another.
//!
//! The operator on the admin socket may give anything. An access key with the scope `admin` gives no more than it has: no scope that it
//! lacks, no wider lists than its own, no later end. Otherwise a leaked or passing key could make itself a better one. Rates and budgets
//! are not compared, since a tenant's own bound all of its keys together.

use super::access::{Access, AccessKeyView, Changes};
use super::operations::Deed;
use super::supply::Means;
use super::{Control, ControlError, key_limits, means};
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, TenantId};
use crate::domain::scope::{Scope, Scopes};
use crate::vault::AccessKeyText;
use serde_json::{Map, Value};
use std::time::Duration;

/// The access key that asks for a change of others; none where the operator does.
#[derive(Clone, Debug)]
pub struct Grantor {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which one.
    pub key: AccessKeyId,
    /// What it may do.
    pub scopes: Scopes,
}

/// What shall be different about an access key: what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct Amendment {
    /// The owner's name for it.
    pub name: Option<String>,
    /// Its rights.
    pub scopes: Option<Scopes>,
    /// Members of its limits; a null takes one away. `Some(None)` takes all away.
    pub limits: Option<Option<Map<String, Value>>>,
    /// When it ends; `Some(None)`: never.
    pub expires: Option<Option<UnixMillis>>,
}

/// A key that took the place of another.
#[derive(Debug)]
pub struct RotatedAccess {
    /// The new key.
    pub view: AccessKeyView,
    /// Its text, here and nowhere else.
    pub text: AccessKeyText,
    /// When the old one ends.
    pub old_ends: UnixMillis,
}

/// What a key is to be given.
struct Gift<'a> {
    scopes: Option<Scopes>,
    limits: Option<&'a Map<String, Value>>,
    expires: Option<Option<UnixMillis>>,
}

impl Control {
    /// One access key of a tenant.
    ///
    /// # Errors
    /// This tenant has no such key (rule T1).
    pub fn access_key(&mut self, tenant: &TenantId, id: AccessKeyId) -> Result<AccessKeyView, ControlError> {
        let Means { store, keyring, entropy, now } = means(self);
        let mut view = Access::new(store, keyring, entropy, now).show(tenant, id)?;
        key_limits::without_mark(&mut view.limits);
        view.usage = self.allowance_of_key(id);
        Ok(view)
    }

    /// Changes an access key; its text stays.
    ///
    /// # Errors
    /// This tenant has no such key; it is revoked, rotated or of the configuration; terms that cannot be meant; more than `by` has.
    pub fn amend_access_key(
        &mut self,
        who: &str,
        by: Option<&Grantor>,
        tenant: &TenantId,
        id: AccessKeyId,
        amendment: Amendment,
    ) -> Result<AccessKeyView, ControlError> {
        let Amendment { name, scopes, limits, expires } = amendment;
        let Means { store, keyring, entropy, now } = means(self);
        let before = Access::new(store, keyring, entropy, now).limits(tenant, id)?;
        check_some(scopes)?;
        let limits = limits.map(|limits| match limits {
            None => Ok(Map::new()),
            Some(members) => key_limits::merged(before, members).map_err(ControlError::Invalid),
        });
        let limits = limits.transpose()?;
        self.check_gift(by, &Gift { scopes, limits: limits.as_ref(), expires })?;
        let changes = Changes { name, scopes, limits, expires };
        let view = self.change(Deed { who, tenant, what: "access_key.amend" }, |means| {
            let mut access = Access::new(means.store, means.keyring, means.entropy, means.now);
            Ok((access.amend(tenant, id, &changes)?, id.to_string()))
        })?;
        self.touch_access(id);
        self.publish()?;
        Ok(view)
    }

    /// Makes a key in the place of another, with the same terms; the old one ends after the overlap.
    ///
    /// # Errors
    /// This tenant has no such living key; it is rotated already, or of the configuration; it may do more than `by`.
    pub fn rotate_access_key(
        &mut self,
        who: &str,
        by: Option<&Grantor>,
        tenant: &TenantId,
        id: AccessKeyId,
        overlap: Duration,
    ) -> Result<RotatedAccess, ControlError> {
        if by.is_some() {
            // Its text is about to be shown to whoever asks.
            let old = self.store.access_key(tenant, id)?;
            let limits = serde_json::from_str(&old.limits).unwrap_or_default();
            let gift = Gift { scopes: Some(old.scopes), limits: Some(&limits), expires: Some(old.expires) };
            self.check_gift(by, &gift)?;
        }
        let rotated = self.change(Deed { who, tenant, what: "access_key.rotate" }, |means| {
            let mut access = Access::new(means.store, means.keyring, means.entropy, means.now);
            let rotated = access.rotate(tenant, id, overlap)?;
            Ok(((rotated, access.touched), id.to_string()))
        })?;
        let ((view, text, old_ends), touched) = rotated;
        self.touch_access_keys(touched);
        self.publish()?;
        Ok(RotatedAccess { view, text, old_ends })
    }

    /// Whether an access key may make one with these terms.
    ///
    /// # Errors
    /// [`ControlError::Ungranted`], naming what it lacks.
    pub fn check_grant(
        &self,
        by: Option<&Grantor>,
        scopes: Scopes,
        limits: &Map<String, Value>,
        expires: Option<UnixMillis>,
    ) -> Result<(), ControlError> {
        self.check_gift(by, &Gift { scopes: Some(scopes), limits: Some(limits), expires: Some(expires) })
    }

    fn check_gift(&self, by: Option<&Grantor>, gift: &Gift<'_>) -> Result<(), ControlError> {
        let Some(by) = by else { return Ok(()) };
        let lacks = |what: &str| {
            ControlError::Ungranted(format!("this access key cannot give {what} than it has itself; ask the operator"))
        };
        let missing = |scope: &Scope| gift.scopes.is_some_and(|scopes| scopes.has(*scope)) && !by.scopes.has(*scope);
        if let Some(scope) = Scope::ALL.into_iter().find(missing) {
            let name = scope.name();
            let what = format!("this access key cannot give the scope `{name}`, which it lacks; ask the operator");
            return Err(ControlError::Ungranted(what));
        }
        let own = self.store.access_key(&by.tenant, by.key)?;
        if let (Some(own), Some(wanted)) = (own.expires, gift.expires)
            && wanted.is_none_or(|end| end > own)
        {
            return Err(lacks("a later `expires_at`"));
        }
        match gift.limits.map(|limits| key_limits::check_within(&own.limits, limits)) {
            Some(Err(member)) => Err(lacks(&format!("wider `{member}`"))),
            _ => Ok(()),
        }
    }
}

/// A key without a scope could do nothing.
pub(super) fn check_some(scopes: Option<Scopes>) -> Result<(), ControlError> {
    match scopes {
        Some(Scopes::NONE) => {
            Err(ControlError::Invalid("an access key needs at least one scope; `inference` is the usual one".into()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "access_changes_tests.rs"]
mod tests;
