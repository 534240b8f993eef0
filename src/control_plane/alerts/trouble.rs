//! Trouble that is known already: alarms and books that cannot be kept, rotations that are held, provider keys that grow old.
//!
//! What the events tell of once and then forget is kept here as alerts, so that whoever does not watch learns of it.

use super::raise::Raised;
use crate::control_plane::Control;
use crate::domain::alert::AlertKind;
use crate::domain::clock::UnixMillis;
use crate::domain::id::{CredentialId, ProviderId, RotationId, TENANT_DEFAULT, TenantId};
use crate::limits::KEYS_REMINDED_MAX;
use crate::limits::alerts::{TROUBLE_QUIET, TROUBLES_WAITING_MAX};
use crate::store::{Store, StoreError};
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// What waits to be told, and what was.
#[derive(Default)]
pub(super) struct Troubles {
    waiting: VecDeque<Raised>,
    /// Sentences of a while ago, which are not told again.
    said: VecDeque<(String, Instant)>,
    /// Keys whose age was told, by the subject of their alerts.
    ages: BTreeMap<String, TenantId>,
}

/// A provider key that is to be rotated.
pub(in crate::control_plane) struct Aged<'a> {
    pub(in crate::control_plane) tenant: &'a TenantId,
    pub(in crate::control_plane) provider: &'a ProviderId,
    pub(in crate::control_plane) id: CredentialId,
    pub(in crate::control_plane) days: u64,
    pub(in crate::control_plane) too_old: bool,
}

// === impl Troubles ===

impl Troubles {
    /// Goes on with what was told.
    ///
    /// # Errors
    /// As the store.
    pub(super) fn open(store: &mut Store) -> Result<Self, StoreError> {
        let mut troubles = Self::default();
        troubles.follow(store)?;
        Ok(troubles)
    }

    /// Takes in whose age was told by others.
    ///
    /// # Errors
    /// As the store.
    pub(super) fn follow(&mut self, store: &mut Store) -> Result<(), StoreError> {
        let open = store.admin().open_alerts()?.into_iter().filter(|row| row.kind == AlertKind::KeyAge.name());
        self.ages = open.map(|row| (row.subject, row.tenant)).collect();
        Ok(())
    }

    /// An event was noted; some are alerts, too.
    pub(in crate::control_plane) fn hear(&mut self, kind: &str, text: &str, now: Instant) {
        let kind = match kind {
            "alarm" => AlertKind::Alarm,
            "ledger" => AlertKind::Ledger,
            _ => return,
        };
        let (tenant, sentence) = (TenantId::new(TENANT_DEFAULT), text.to_owned());
        let subject = kind.name().to_owned();
        self.wait(Raised { kind, tenant, subject, sentence, data: json!({}), lasts: false }, now);
    }

    /// A rotation is held.
    pub(in crate::control_plane) fn hear_held(&mut self, tenant: &TenantId, id: RotationId, why: &str, now: Instant) {
        let (tenant, subject, sentence) = (tenant.clone(), id.to_string(), why.to_owned());
        let data = json!({ "rotation": subject });
        self.wait(Raised { kind: AlertKind::Rotation, tenant, subject, sentence, data, lasts: false }, now);
    }

    /// The same sentence again, or one too many, is not told: the events have it.
    fn wait(&mut self, raised: Raised, now: Instant) {
        self.said.retain(|(_, at)| now.saturating_duration_since(*at) < TROUBLE_QUIET);
        if self.said.iter().any(|(said, _)| *said == raised.sentence) || self.waiting.len() >= TROUBLES_WAITING_MAX {
            return;
        }
        if self.said.len() >= TROUBLES_WAITING_MAX {
            self.said.pop_front();
        }
        self.said.push_back((raised.sentence.clone(), now));
        self.waiting.push_back(raised);
    }

    pub(super) fn forget_tenant(&mut self, tenant: &TenantId) {
        self.ages.retain(|_, of| of != tenant);
        self.waiting.retain(|raised| raised.tenant != *tenant);
    }
}

// === impl Control ===

impl Control {
    /// Tells of what waits.
    pub(super) fn tell_of_troubles(&mut self, now: UnixMillis) -> Result<(), StoreError> {
        while let Some(raised) = self.alerts.troubles.waiting.front().cloned() {
            self.raise(raised, now, |_| Ok(()))?;
            self.alerts.troubles.waiting.pop_front();
        }
        Ok(())
    }

    /// Tells once of each key that is due, and again when it is too old; an alert ends when its key was rotated or removed.
    pub(in crate::control_plane) fn tell_of_ages(
        &mut self,
        due: &[Aged<'_>],
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let over: Vec<(String, TenantId)> = {
            let still = |subject: &String| due.iter().any(|aged| aged.subject() == *subject);
            let ages = self.alerts.troubles.ages.iter().filter(|(subject, _)| !still(subject));
            ages.map(|(subject, tenant)| (subject.clone(), tenant.clone())).collect()
        };
        for (subject, tenant) in over {
            self.store.resolve_alerts(&tenant, AlertKind::KeyAge.name(), &subject, now)?;
            self.alerts.troubles.ages.remove(&subject);
        }
        let fresh = due.iter().filter(|aged| !self.alerts.troubles.ages.contains_key(&aged.subject()));
        let fresh: Vec<(String, TenantId, Raised)> =
            fresh.take(KEYS_REMINDED_MAX).map(|aged| (aged.subject(), aged.tenant.clone(), aged.raised())).collect();
        for (subject, tenant, raised) in fresh {
            self.raise(raised, now, |_| Ok(()))?;
            self.alerts.troubles.ages.insert(subject, tenant);
        }
        Ok(())
    }
}

// === impl Aged ===

impl Aged<'_> {
    fn subject(&self) -> String {
        format!("{}/{}", self.id, if self.too_old { "too_old" } else { "due" })
    }

    fn raised(&self) -> Raised {
        let Self { tenant, provider, id, days, too_old } = self;
        let what = if *too_old { "older than `rotation.max_age` allows" } else { "due for rotation" };
        let sentence = format!(
            "{id} of provider `{provider}`, tenant {tenant}, is {what}, {days} days after it was made; make a new key at the provider and rotate"
        );
        let data =
            json!({ "key": id.to_string(), "provider": provider.as_str(), "age_days": days, "too_old": too_old });
        let (tenant, subject) = ((*tenant).clone(), self.subject());
        Raised { kind: AlertKind::KeyAge, tenant, subject, sentence, data, lasts: true }
    }
}
