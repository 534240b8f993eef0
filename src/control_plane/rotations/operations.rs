//! What the API can ask of rotations that exist, and what they make of the keys it shows.

use super::begin::takes_part;
use super::view::words;
use super::{Rotation, RotationView, Step, TooLate};
use crate::control_plane::{Control, ControlError, CredentialView};
use crate::domain::id::{CredentialId, RotationId, TenantId};
use crate::limits::ROTATIONS_LISTED_MAX;
use crate::store::RotationRow;
use std::collections::HashMap;
use std::time::Instant;

impl Control {
    /// One rotation of a tenant, open or over, with counts up to now.
    ///
    /// # Errors
    /// This tenant has none of this id at this provider (rules T1, V7).
    pub fn rotation(
        &mut self,
        tenant: &TenantId,
        provider: Option<&str>,
        id: RotationId,
    ) -> Result<RotationView, ControlError> {
        self.bring_up_to_date();
        let row = self.rotation_row(tenant, provider, id)?;
        self.view_of(&row).ok_or_else(|| ControlError::no_such("rotation"))
    }

    /// A tenant's rotations, oldest first, of one provider or of all; the newest when there are very many.
    ///
    /// # Errors
    /// No such tenant or provider.
    pub fn rotations(&mut self, tenant: &TenantId, provider: Option<&str>) -> Result<Vec<RotationView>, ControlError> {
        if !self.store.has_tenant(tenant)? {
            return Err(crate::store::StoreError::NotFound("tenant").into());
        }
        self.bring_up_to_date();
        let provider = provider.map(|name| self.known_provider(name)).transpose()?;
        let rows = self.store.rotations(tenant, provider.as_ref())?;
        let newest = rows.len().saturating_sub(ROTATIONS_LISTED_MAX);
        Ok(rows.iter().skip(newest).filter_map(|row| self.view_of(row)).collect())
    }

    /// Promotes the new key at once, whatever the evidence says.
    ///
    /// # Errors
    /// This tenant has no such rotation, or it is decided already.
    pub fn complete_rotation(
        &mut self,
        who: &str,
        tenant: &TenantId,
        provider: Option<&str>,
        id: RotationId,
    ) -> Result<RotationView, ControlError> {
        let lingering = self.lingering();
        self.decide(who, (tenant, provider, id), |rotation| rotation.complete(lingering))
    }

    /// Erases the new key; the old one serves on.
    ///
    /// # Errors
    /// This tenant has no such rotation, or it is decided already.
    pub fn cancel_rotation(
        &mut self,
        who: &str,
        tenant: &TenantId,
        provider: Option<&str>,
        id: RotationId,
    ) -> Result<RotationView, ControlError> {
        self.decide(who, (tenant, provider, id), Rotation::cancel)
    }

    fn decide(
        &mut self,
        who: &str,
        (tenant, provider, id): (&TenantId, Option<&str>, RotationId),
        wish: impl FnOnce(&Rotation) -> Result<(Step, Rotation), TooLate>,
    ) -> Result<RotationView, ControlError> {
        self.bring_up_to_date();
        let row = self.rotation_row(tenant, provider, id)?;
        let too_late = |why: TooLate| ControlError::Conflict(format!("{id}: {why}"));
        let Some(open) = self.rotations.open.get(&id) else {
            let cancelled = row.state == "cancelled";
            return Err(too_late(if cancelled { TooLate::Cancelled } else { TooLate::Completed }));
        };
        let (step, next) = wish(&open.rotation).map_err(too_late)?;
        self.take_step(who, id, step, next, (self.now(), Instant::now()))?;
        self.publish()?;
        self.rotation(tenant, provider, id)
    }

    /// Whether a key may be removed now. The rest of one that was replaced is erased on the way; then there is nothing more to do.
    ///
    /// # Errors
    /// It takes part in a rotation that is not decided.
    pub(in crate::control_plane) fn let_go(&mut self, who: &str, key: CredentialId) -> Result<bool, ControlError> {
        if let Some(rotation) = self.rotations.in_question(key) {
            return Err(takes_part(key, rotation));
        }
        let Some(id) = self.rotations.replaced(key) else { return Ok(false) };
        let finish = self.rotations.open.get(&id).and_then(|open| open.rotation.finish());
        let Some((step, next)) = finish else { return Ok(false) };
        self.take_step(who, id, step, next, (self.now(), Instant::now()))?;
        Ok(true)
    }

    /// Writes into views of a tenant's keys what its rotations make of them.
    pub(in crate::control_plane) fn mark_rotating(
        &self,
        tenant: &TenantId,
        views: &mut [CredentialView],
    ) -> Result<(), ControlError> {
        let mut known: HashMap<String, (&'static str, Option<String>)> = HashMap::new();
        for row in self.store.rotations(tenant, None)? {
            for (key, word) in [row.old, row.new].into_iter().zip(words(&row)) {
                let id = (self.rotations.in_question(key) == Some(row.id)).then(|| row.id.to_string());
                if word.is_some() || id.is_some() {
                    known.insert(key.to_string(), (word.unwrap_or("active"), id));
                }
            }
        }
        for view in views {
            if let Some((word, rotation)) = known.remove(&view.id) {
                (view.status, view.rotation_id) = (word, rotation);
            }
        }
        Ok(())
    }

    fn rotation_row(
        &self,
        tenant: &TenantId,
        provider: Option<&str>,
        id: RotationId,
    ) -> Result<RotationRow, ControlError> {
        let provider = provider.map(|name| self.known_provider(name)).transpose()?;
        let row = self.store.rotation(tenant, id)?;
        if provider.is_some_and(|provider| provider != row.provider) {
            return Err(ControlError::no_such("rotation"));
        }
        Ok(row)
    }

    fn view_of(&self, row: &RotationRow) -> Option<RotationView> {
        match self.rotations.open.get(&row.id) {
            Some(open) => Some(RotationView::of(&open.row, &open.rotation, open.grace_ends)),
            None => RotationView::of_row(row, self.now()),
        }
    }

    /// Reports and clocks first, so that what is shown and decided is of now.
    fn bring_up_to_date(&mut self) {
        // Reports that cannot be taken in now are said by the tick; the rotation itself can go on.
        let _ = self.ingest();
        self.look_at_clocks(self.now(), Instant::now());
    }
}
