//! The beginning of a rotation: which key turns, whether the new one can be meant, and both written down at once.

use super::{Open, RotationView, Written, after};
use crate::control_plane::credentials::{Credentials, KeyConfig};
use crate::control_plane::supply::Means;
use crate::control_plane::{Control, ControlError, build, means};
use crate::domain::clock::UnixMillis;
use crate::domain::id::{CredentialId, ProviderId, RotationId, TenantId};
use crate::domain::secret::Secret;
use crate::limits::GRACE;
use crate::store::{AuditEntry, CredentialRow, CredentialState, Origin, RotationRow, StoreError};
use crate::vault::entropy::random_bits;
use crate::vault::rotation::Rotation;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use std::time::{Duration, Instant};

/// A rotation to begin.
#[derive(Debug)]
pub struct NewRotation {
    /// The text of the new key.
    pub new_key: Secret,
    /// How long both keys are in use: 1 minute to 24 hours.
    pub grace: Duration,
    /// Share of requests that try the new key first, 1 to 100.
    pub canary_percent: u8,
    /// Which key turns; without it, the only one there is.
    pub key_id: Option<CredentialId>,
    /// Whole-exchange timeout in milliseconds, where it differs from the old key's.
    pub timeout_ms: Option<u32>,
    /// Retries after the first attempt, where they differ from the old key's.
    pub max_retries: Option<u32>,
}

/// A new key, ready to be sealed.
struct Successor<'a> {
    provider: &'a ProviderId,
    base_url: &'a str,
    secret: Secret,
    config: KeyConfig,
    origin: Origin,
}

// === impl NewRotation ===

impl NewRotation {
    /// One with the usual grace, all traffic on the new key, and the old key's limits.
    pub fn to(new_key: Secret) -> Self {
        Self { new_key, grace: GRACE, canary_percent: 100, key_id: None, timeout_ms: None, max_retries: None }
    }
}

// === impl Control ===

impl Control {
    /// Begins to replace a provider key by another one; both are in use from now on. `who` did it, for the audit log.
    ///
    /// # Errors
    /// No such key, one that is rotating already, several keys and none named, or a text that cannot be meant.
    pub fn begin_rotation(
        &mut self,
        who: &str,
        tenant: &TenantId,
        provider: &str,
        asked: NewRotation,
    ) -> Result<RotationView, ControlError> {
        if !self.store.has_tenant(tenant)? {
            return Err(StoreError::NotFound("tenant").into());
        }
        let (now, instant) = (self.now(), Instant::now());
        // The grace begins now, not at the last look at the clocks.
        self.look_at_clocks(now, instant);
        let (provider, base_url) = self.provider_for_key(provider)?;
        let old = self.turning(tenant, &provider, asked.key_id)?;
        let rotation = Rotation::begin(asked.grace, asked.canary_percent)
            .map_err(|error| ControlError::Invalid(error.to_string()))?;
        self.must_be_free(&old, &base_url)?;
        self.must_be_meant(tenant, &provider, &old, &asked.new_key)?;
        let config = config_of(&old, &asked)?;
        let origin = if old.origin == Origin::Api { Origin::Api } else { Origin::Rotated };
        let successor = Successor { provider: &provider, base_url: &base_url, secret: asked.new_key, config, origin };
        let (row, grace_ends, warnings) = self.write_begin(who, tenant, &old, successor, &rotation, now)?;
        let mut view = RotationView::of(&row, &rotation, grace_ends);
        view.warnings = warnings;
        let (id, new, old, ends) = (row.id, row.new, row.old, grace_ends.to_rfc3339());
        let written = instant.saturating_duration_since(self.started);
        self.rotations.insert(Open { tenant: tenant.clone(), row, rotation, grace_ends, unwritten: false, written });
        self.touch_credentials(tenant);
        self.note(
            "rotation",
            format!("{id} of provider `{provider}`, tenant {tenant}, was begun by {who}: {new} is to replace {old}; its grace ends at {ends}"),
        );
        self.publish()?;
        Ok(view)
    }

    /// The key that turns: the one that is named; else the only active one; else the only one among them that the API brought.
    fn turning(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        named: Option<CredentialId>,
    ) -> Result<CredentialRow, ControlError> {
        let mut active = self.store.credentials(tenant, Some(provider))?;
        active.retain(|row| row.state == CredentialState::Active);
        if let Some(id) = named {
            let found = active.into_iter().find(|row| row.id == id);
            // The new key of a rotation is not active yet, and still no stranger.
            let busy = self.rotations.in_question(id).filter(|_| found.is_none());
            return match busy {
                Some(rotation) if self.is_of(rotation, tenant) => Err(takes_part(id, rotation)),
                _ => found.ok_or_else(|| ControlError::no_such("active provider key")),
            };
        }
        let mut of_api = active.iter().filter(|row| row.origin == Origin::Api);
        let chosen = match (active.as_slice(), of_api.next(), of_api.next()) {
            ([only], ..) => Some(only.clone()),
            (_, Some(only), None) => Some(only.clone()),
            _ => None,
        };
        chosen.ok_or_else(|| {
            if active.is_empty() {
                let what =
                    format!("this tenant has no active key of provider `{provider}` to rotate; add one to its keys");
                return ControlError::NotFound(what);
            }
            let ids: Vec<String> = active.iter().map(|row| row.id.to_string()).collect();
            ControlError::Invalid(format!(
                "this tenant has several keys of provider `{provider}`; name the one to replace in `key_id`: {}",
                ids.join(", ")
            ))
        })
    }

    fn is_of(&self, rotation: RotationId, tenant: &TenantId) -> bool {
        self.rotations.open.get(&rotation).is_some_and(|open| open.tenant == *tenant)
    }

    fn must_be_free(&self, old: &CredentialRow, base_url: &str) -> Result<(), ControlError> {
        if let Some(rotation) = self.rotations.in_question(old.id) {
            return Err(takes_part(old.id, rotation));
        }
        if old.base_url != base_url {
            // Rule T5: what replaces it would go to another address than it did.
            let what = "this key was given for another address of its provider and is out of use; add the new key to the keys instead";
            return Err(ControlError::Conflict(what.to_owned()));
        }
        Ok(())
    }

    /// A new key that nobody would ever refuse because it cannot even be used must not be promoted for that.
    fn must_be_meant(
        &mut self,
        tenant: &TenantId,
        provider: &ProviderId,
        old: &CredentialRow,
        new: &Secret,
    ) -> Result<(), ControlError> {
        if let Some(configured) = self.configured_named(provider.as_str()) {
            let text = new.expose().trim_ascii();
            build::must_fit(&configured.spec, text)
                .map_err(|fault| ControlError::Invalid(format!("the new key cannot be used: {fault}")))?;
        }
        let Means { store, keyring, entropy, now } = means(self);
        let known = Credentials::new(store, keyring, entropy, now).open_one(tenant, old.id);
        let same = known.is_ok_and(|known| verify_slices_are_equal(known.expose(), new.expose().trim_ascii()).is_ok());
        if same {
            return Err(ControlError::Invalid("the new key is the old one; make another at the provider".to_owned()));
        }
        Ok(())
    }

    /// Sealed key, rotation and audit entry in one transaction.
    fn write_begin(
        &mut self,
        who: &str,
        tenant: &TenantId,
        old: &CredentialRow,
        successor: Successor<'_>,
        rotation: &Rotation,
        now: UnixMillis,
    ) -> Result<(RotationRow, UnixMillis, Vec<String>), ControlError> {
        let Means { store, keyring, entropy, .. } = means(self);
        let Successor { provider, base_url, secret, config, origin } = successor;
        let grace_ends = after(now, rotation.state().left());
        let written = Written { detail: rotation.detail(), grace_ends: grace_ends.0 };
        let detail = serde_json::to_string(&written).unwrap_or_default();
        let id = RotationId::from_bits(random_bits(entropy).map_err(StoreError::from)?);
        store.all_or_nothing(|store| {
            let mut credentials = Credentials::new(store, keyring, entropy, now);
            let (new, warnings) = credentials.add_pending(tenant, provider, base_url, secret, config, origin)?;
            let row = RotationRow {
                id,
                provider: provider.clone(),
                old: old.id,
                new,
                state: rotation.state().name().to_owned(),
                open: true,
                detail,
                created: now,
                deadline: grace_ends,
                updated: now,
            };
            store.begin_rotation(tenant, &row, &[])?;
            let (what, target, after) = ("rotation.begin", id.to_string(), row.state.as_str());
            let entry = AuditEntry { at: now, tenant: Some(tenant), who, what, target: &target, before: "", after };
            store.admin().append_audit(&entry)?;
            Ok((row, grace_ends, warnings))
        })
    }
}

/// The old key's limits where nothing else is said. Those of a key that configuration brought are its provider's.
fn config_of(old: &CredentialRow, asked: &NewRotation) -> Result<KeyConfig, ControlError> {
    if old.origin != Origin::Api && (asked.timeout_ms.is_some() || asked.max_retries.is_some()) {
        let what = "`config` is not possible here: the key is the configuration's, and its limits are those of its provider; set them there";
        return Err(ControlError::Invalid(what.to_owned()));
    }
    Ok(KeyConfig {
        timeout_ms: asked.timeout_ms.unwrap_or(old.timeout_ms),
        max_retries: asked.max_retries.unwrap_or(old.max_retries),
    })
}

pub(super) fn takes_part(key: CredentialId, rotation: RotationId) -> ControlError {
    ControlError::Conflict(format!("{key} takes part in {rotation}, which is not over; cancel or complete that first"))
}
