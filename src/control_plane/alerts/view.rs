//! Alerts as people and programs see them.

use crate::control_plane::{Control, ControlError};
use crate::domain::alert::AlertKind;
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AlertId, TenantId};
use crate::store::{AlertFilter, AlertRow, StoreError};
use serde::Serialize;
use serde_json::Value;

/// An alert as shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AlertView {
    /// From 1; later ones have greater numbers. For paging.
    pub sequence: u64,
    /// `al_…`
    pub id: String,
    /// `budget_alert`, `anomaly`, `key_age`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Whose.
    pub tenant: String,
    /// What it is about: an id, or a name.
    pub subject: String,
    /// `open`, or `acknowledged`.
    pub state: &'static str,
    /// Whether what it tells of still lasts.
    pub active: bool,
    /// One sentence.
    pub text: String,
    /// Figures.
    pub data: Value,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC; for what merely happened, when it did.
    pub resolved_at: Option<String>,
    /// RFC 3339, UTC.
    pub acknowledged_at: Option<String>,
    /// Who.
    pub acknowledged_by: Option<String>,
}

/// Which alerts somebody asks for.
#[derive(Clone, Debug, Default)]
pub struct AlertQuery {
    /// Only those before this number.
    pub before: Option<u64>,
    /// Only of this sort.
    pub kind: Option<String>,
    /// `open` or `acknowledged`.
    pub state: Option<String>,
    /// Only those that last, or that are over.
    pub active: Option<bool>,
    /// How many at most.
    pub most: u32,
}

impl From<AlertRow> for AlertView {
    fn from(row: AlertRow) -> Self {
        Self {
            sequence: row.sequence,
            id: row.id.to_string(),
            kind: row.kind,
            tenant: row.tenant.to_string(),
            subject: row.subject,
            state: if row.acknowledged.is_some() { "acknowledged" } else { "open" },
            active: row.resolved.is_none(),
            text: row.sentence,
            data: serde_json::from_str(&row.data).unwrap_or_default(),
            created_at: row.created.to_rfc3339(),
            resolved_at: row.resolved.map(UnixMillis::to_rfc3339),
            acknowledged_at: row.acknowledged.map(UnixMillis::to_rfc3339),
            acknowledged_by: row.acknowledged_by,
        }
    }
}

impl AlertQuery {
    fn filter(self) -> Result<AlertFilter, ControlError> {
        let Self { before, kind, state, active, most } = self;
        if kind.as_deref().is_some_and(|kind| AlertKind::parse(kind).is_none()) {
            return Err(ControlError::Invalid(format!("`type` must be one of {}", AlertKind::names())));
        }
        let acknowledged = match state.as_deref() {
            None => None,
            Some("open") => Some(false),
            Some("acknowledged") => Some(true),
            Some(_) => return Err(ControlError::Invalid("`state` must be open or acknowledged".to_owned())),
        };
        Ok(AlertFilter { before, kind, acknowledged, resolved: active.map(|active| !active), most })
    }
}

impl Control {
    /// Alerts, newest first: of one tenant, or of all.
    ///
    /// # Errors
    /// No such tenant, a filter that cannot be meant, or the store refuses.
    pub fn alerts(&mut self, tenant: Option<&TenantId>, query: AlertQuery) -> Result<Vec<AlertView>, ControlError> {
        let filter = query.filter()?;
        let rows = match tenant {
            Some(tenant) if !self.store.has_tenant(tenant)? => return Err(StoreError::NotFound("tenant").into()),
            Some(tenant) => self.store.alerts(tenant, &filter)?,
            None => self.store.admin().alerts(&filter)?,
        };
        Ok(rows.into_iter().map(AlertView::from).collect())
    }

    /// One alert of a tenant.
    ///
    /// # Errors
    /// This tenant has none of this id (rule T1).
    pub fn alert(&mut self, tenant: &TenantId, id: AlertId) -> Result<AlertView, ControlError> {
        Ok(self.store.alert(tenant, id)?.into())
    }
}
