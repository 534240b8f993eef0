//! Raising an alert: the row, what goes with it and the messages to webhooks in one transaction, then an event for who listens.
//!
//! Machines of a fleet share alerts, and what was told of budgets: the transaction counts only if no other machine was faster, so that one of
//! them tells, once, and the others find it told. The messages are the machine's that told. What a machine has to say of itself, such as that
//! the database is gone, does not wait for the database: its messages go at once, and the alert joins the others later.

use crate::control_plane::{Control, ControlError};
use crate::domain::alert::AlertKind;
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AlertId, TenantId};
use crate::domain::text::bounded;
use crate::limits::LOG_TEXT_BYTES_MAX;
use crate::limits::alerts::TROUBLES_WAITING_MAX;
use crate::store::{NewAlert, ShareError, Store, StoreError};
use crate::vault::entropy::random_bits;
use serde_json::{Value, json};

/// An alert on its way.
#[derive(Clone, Debug)]
pub(in crate::control_plane) struct Raised {
    pub(in crate::control_plane) kind: AlertKind,
    pub(in crate::control_plane) tenant: TenantId,
    /// What it is about, the same for the same trouble.
    pub(in crate::control_plane) subject: String,
    pub(in crate::control_plane) sentence: String,
    /// Figures, an object.
    pub(in crate::control_plane) data: Value,
    /// Whether it is a state that ends.
    pub(in crate::control_plane) lasts: bool,
}

// === impl Control ===

impl Control {
    /// Writes an alert down with what `also` adds, and tells whoever listens.
    ///
    /// # Errors
    /// As the store; then nothing was written, and nobody was told.
    pub(in crate::control_plane) fn raise(
        &mut self,
        raised: Raised,
        now: UnixMillis,
        also: impl FnOnce(&mut Store) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let id = AlertId::from_bits(random_bits(&mut *self.entropy)?);
        let Raised { kind, tenant, subject, mut sentence, mut data, lasts } = raised;
        if let Some(machine) = self.machine() {
            if kind.is_of_one_machine() {
                sentence = format!("{machine}: {sentence}");
            }
            data["machine"] = machine.into();
        }
        let sentence = bounded(&sentence, 4 * LOG_TEXT_BYTES_MAX);
        let alert = NewAlert {
            id,
            tenant: tenant.clone(),
            kind: kind.name().to_owned(),
            subject,
            sentence: sentence.clone(),
            data: data.to_string(),
            created: now,
            lasts,
        };
        let messages = self.messages(kind, &alert, &data)?;
        let send = |store: &mut Store| messages.iter().try_for_each(|message| store.add_delivery(&tenant, message));
        let told = self.store.all_or_nothing(|store| {
            store.add_alert(&tenant, &alert)?;
            send(store)?;
            also(store)
        });
        match told {
            Err(StoreError::Share(ShareError::Unreachable(_) | ShareError::Unknown(_)))
                if kind.is_of_one_machine() && self.alerts.late.len() < TROUBLES_WAITING_MAX =>
            {
                self.store.all_or_nothing(send)?;
                self.alerts.late.push_back(alert);
            }
            told => told?,
        }
        let told = json!({ "id": id.to_string(), "type": kind.name(), "tenant": tenant.as_str(), "data": data });
        self.events.note_with(now, "alert", sentence, told);
        Ok(())
    }

    /// Has what was told while the database was gone join the alerts of all machines.
    ///
    /// # Errors
    /// As the store; what has not joined is tried again.
    pub(super) fn join_late_alerts(&mut self) -> Result<(), StoreError> {
        while let Some(alert) = self.alerts.late.front() {
            self.store.add_alert(&alert.tenant, alert)?;
            self.alerts.late.pop_front();
        }
        Ok(())
    }

    /// Notes that somebody has seen an alert.
    ///
    /// # Errors
    /// This tenant has none of this id (rule T1).
    pub fn acknowledge_alert(&mut self, who: &str, tenant: &TenantId, id: AlertId) -> Result<(), ControlError> {
        let now = self.now();
        let deed = crate::control_plane::operations::Deed { who, tenant, what: "alert.acknowledge" };
        self.change(deed, |means| {
            means.store.acknowledge_alert(tenant, id, who, now)?;
            Ok(((), id.to_string()))
        })
    }
}
