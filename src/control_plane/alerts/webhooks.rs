//! Where alerts go: webhooks of the configuration, and those that tenants named.
//!
//! A tenant's webhook is https at a public address (rule T5); only the operator may send to this machine or network. Its secret is shown when
//! it is made and when it is rotated, and nowhere else; after a rotation both sign for a while.

use crate::config::BaseUrl;
use crate::control_plane::audit::Changed;
use crate::control_plane::operations::Deed;
use crate::control_plane::{Control, ControlError};
use crate::domain::alert::AlertKind;
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AlertId, MessageId, TenantId, WebhookId};
use crate::domain::secret::Secret;
use crate::limits::alerts::{
    WEBHOOK_OVERLAP, WEBHOOK_PAGE_ROWS, WEBHOOK_TESTS_WAITING_MAX, WEBHOOK_URL_BYTES_MAX, WEBHOOKS_PER_TENANT_MAX,
};
use crate::store::{DeliveryRow, DeliveryState, NewAlert, NewDelivery, StoreError, WebhookRow};
use crate::vault::entropy::random_bits;
use crate::vault::{VaultError, WebhookSecret};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// A webhook to make.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// Where it is.
    pub url: String,
    /// Sorts of alerts; empty: all.
    pub events: Vec<String>,
}

/// A webhook as shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WebhookView {
    /// `wh_…`, or `config:` and its name.
    pub id: String,
    /// Where it is.
    pub url: String,
    /// Sorts of alerts; empty: all.
    pub events: Vec<String>,
    /// RFC 3339, UTC; `null` for one of the configuration.
    pub created_at: Option<String>,
    /// Until when the secret before signs too, RFC 3339, UTC.
    pub former_secret_until: Option<String>,
}

/// A webhook that was made or rotated, with its secret: here and nowhere else.
pub struct MadeWebhook {
    /// The webhook.
    pub view: WebhookView,
    /// `whsec_…`
    pub secret: Secret,
}

/// A message to a webhook, as shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MessageView {
    /// `msg_…`, as it stands in `webhook-id`.
    pub id: String,
    /// The sort of alert, or `test`.
    #[serde(rename = "type")]
    pub event: String,
    /// `waiting`, `delivered` or `dead`.
    pub state: &'static str,
    /// Tries so far.
    pub attempts: u32,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC: when the next try is due; `null` when there is none.
    pub next_attempt_at: Option<String>,
    /// What came of the last try.
    pub outcome: String,
}

/// A receiver with all that sending takes.
pub(super) struct Receiver {
    pub(super) url: BaseUrl,
    pub(super) allow_private: bool,
    /// The newest first.
    pub(super) secrets: Vec<Arc<WebhookSecret>>,
}

/// The sort of a message that somebody asked for.
const TEST: &str = "test";

impl Control {
    /// The webhooks that get a tenant's alerts and that it may see: its own.
    ///
    /// # Errors
    /// No such tenant.
    pub fn webhooks(&self, tenant: &TenantId) -> Result<Vec<WebhookView>, ControlError> {
        if !self.store.has_tenant(tenant)? {
            return Err(StoreError::NotFound("tenant").into());
        }
        let rows = self.alerts.webhooks.get(tenant).map_or(&[][..], Vec::as_slice);
        Ok(rows.iter().map(|row| shown(row, self.now())).collect())
    }

    /// The webhooks of the configuration, for the operator.
    pub fn configured_webhooks(&self) -> Vec<WebhookView> {
        let view = |webhook: &crate::config::AlertWebhook| WebhookView {
            id: format!("config:{}", webhook.name),
            url: webhook.url.as_str().to_owned(),
            events: webhook.events.iter().map(|kind| kind.name().to_owned()).collect(),
            created_at: None,
            former_secret_until: None,
        };
        self.config.alerts.webhooks.iter().map(view).collect()
    }

    /// Makes these a tenant's webhooks in place of all that it had. One with the same URL as before keeps its id and its secret, which is then
    /// not shown again.
    ///
    /// # Errors
    /// No such tenant, or a URL that a tenant may not name.
    pub fn replace_webhooks(
        &mut self,
        who: &str,
        tenant: &TenantId,
        new: &[NewWebhook],
    ) -> Result<(Vec<WebhookView>, Vec<MadeWebhook>), ControlError> {
        if new.len() > WEBHOOKS_PER_TENANT_MAX {
            return Err(ControlError::Invalid(format!("a tenant has at most {WEBHOOKS_PER_TENANT_MAX} webhooks")));
        }
        let before = self.webhooks(tenant)?;
        let (now, old) = (self.now(), self.alerts.webhooks.get(tenant).cloned().unwrap_or_default());
        let (mut rows, mut made): (Vec<WebhookRow>, Vec<WebhookId>) = (Vec::new(), Vec::new());
        for new in new {
            let (url, events) = (checked_url(&new.url)?, checked_events(&new.events)?);
            if rows.iter().any(|row| row.url == url) {
                return Err(ControlError::Invalid("two webhooks have the same `url`; keep one of them".to_owned()));
            }
            match old.iter().find(|row| row.url == url) {
                Some(row) => rows.push(WebhookRow { events, ..row.clone() }),
                None => {
                    let id = WebhookId::from_bits(random_bits(&mut *self.entropy).map_err(StoreError::from)?);
                    made.push(id);
                    let (tenant, former_until) = (tenant.clone(), None);
                    rows.push(WebhookRow { tenant, id, url, events, secret_version: 1, former_until, created: now });
                }
            }
        }
        let after: Vec<WebhookView> = rows.iter().map(|row| shown(row, now)).collect();
        self.change(Deed { who, tenant, what: "webhook.replace" }, |means| {
            for row in old.iter().filter(|row| !rows.iter().any(|kept| kept.id == row.id)) {
                means.store.remove_webhook(tenant, row.id)?;
            }
            rows.iter().try_for_each(|row| means.store.put_webhook(tenant, row))?;
            Ok(((), Changed::of(tenant.to_string()).before(&before).after(&after)))
        })?;
        let fresh = rows.iter().filter(|row| made.contains(&row.id)).map(|row| self.with_secret(row));
        let fresh = fresh.collect::<Result<Vec<_>, ControlError>>()?;
        self.alerts.webhooks.insert(tenant.clone(), rows);
        Ok((after, fresh))
    }

    /// Gives a webhook another secret; the one before signs too for a while.
    ///
    /// # Errors
    /// This tenant has no such webhook (rule T1).
    pub fn rotate_webhook(&mut self, who: &str, tenant: &TenantId, id: WebhookId) -> Result<MadeWebhook, ControlError> {
        let now = self.now();
        let overlap = u64::try_from(WEBHOOK_OVERLAP.as_millis()).unwrap_or(u64::MAX);
        let mut row = self.webhook_row(tenant, id)?.clone();
        row.secret_version = row.secret_version.saturating_add(1);
        row.former_until = Some(UnixMillis(now.0.saturating_add(overlap)));
        self.change(Deed { who, tenant, what: "webhook.rotate" }, |means| {
            means.store.put_webhook(tenant, &row)?;
            Ok(((), Changed::of(id.to_string()).after(&row.secret_version)))
        })?;
        let made = self.with_secret(&row)?;
        if let Some(kept) = self.alerts.webhooks.get_mut(tenant).into_iter().flatten().find(|kept| kept.id == id) {
            *kept = row;
        }
        Ok(made)
    }

    /// Takes a webhook away, with what waits for it.
    ///
    /// # Errors
    /// This tenant has no such webhook (rule T1).
    pub fn remove_webhook(&mut self, who: &str, tenant: &TenantId, id: WebhookId) -> Result<(), ControlError> {
        let before = shown(self.webhook_row(tenant, id)?, self.now());
        self.change(Deed { who, tenant, what: "webhook.remove" }, |means| {
            means.store.remove_webhook(tenant, id)?;
            Ok(((), Changed::of(id.to_string()).before(&before)))
        })?;
        if let Some(rows) = self.alerts.webhooks.get_mut(tenant) {
            rows.retain(|row| row.id != id);
        }
        Ok(())
    }

    /// Sends a message that says nothing, to see whether it arrives. `webhook` is one of the tenant's own, or for the operator one of the
    /// configuration, by `config:` and its name.
    ///
    /// # Errors
    /// There is no such webhook (rule T1), or too many messages wait for it.
    pub fn test_webhook(&mut self, tenant: &TenantId, webhook: &str) -> Result<MessageView, ControlError> {
        let (now, name) = (self.now(), self.known_webhook(tenant, webhook)?);
        let waiting = self.store.deliveries(tenant, &name, WEBHOOK_TESTS_WAITING_MAX)?;
        let waits = |row: &&DeliveryRow| row.state == DeliveryState::Waiting;
        if waiting.iter().filter(waits).count() >= WEBHOOK_TESTS_WAITING_MAX as usize {
            let what =
                format!("{WEBHOOK_TESTS_WAITING_MAX} messages wait for this webhook already; see why it takes none");
            return Err(ControlError::Conflict(what));
        }
        let id = AlertId::from_bits(random_bits(&mut *self.entropy).map_err(StoreError::from)?);
        let sentence = "This is a test: nothing happened.";
        let body = body(&id.to_string(), TEST, tenant, now, sentence, &json!({}));
        let new = self.message(tenant, name, TEST, body, now)?;
        self.store.add_delivery(tenant, &new)?;
        let id = new.message.to_string();
        let found = self.messages_to(tenant, &new.webhook)?.into_iter().find(|message| message.id == id);
        found.ok_or_else(|| ControlError::no_such("message"))
    }

    /// The latest messages to a webhook, newest first.
    ///
    /// # Errors
    /// There is no such webhook (rule T1).
    pub fn webhook_messages(&self, tenant: &TenantId, webhook: &str) -> Result<Vec<MessageView>, ControlError> {
        let name = self.known_webhook(tenant, webhook)?;
        self.messages_to(tenant, &name)
    }

    fn messages_to(&self, tenant: &TenantId, name: &str) -> Result<Vec<MessageView>, ControlError> {
        let rows = self.store.deliveries(tenant, name, WEBHOOK_PAGE_ROWS)?;
        Ok(rows.into_iter().map(MessageView::from).collect())
    }

    /// The messages that an alert makes, one for each webhook that wants it. That a message was given up is told otherwise.
    pub(super) fn messages(
        &mut self,
        kind: AlertKind,
        alert: &NewAlert,
        data: &Value,
    ) -> Result<Vec<NewDelivery>, StoreError> {
        if kind == AlertKind::Webhook {
            return Ok(Vec::new());
        }
        let tenant = &alert.tenant;
        let configured = self.config.alerts.webhooks.iter().filter(|webhook| {
            (webhook.events.is_empty() || webhook.events.contains(&kind))
                && (webhook.tenants.is_empty() || webhook.tenants.contains(tenant))
        });
        let configured = configured.map(|webhook| format!("config:{}", webhook.name));
        let own = self.alerts.webhooks.get(tenant).into_iter().flatten();
        let own = own.filter(|row| row.events.is_empty() || row.events.iter().any(|event| event == kind.name()));
        let names: Vec<String> = configured.chain(own.map(|row| row.id.to_string())).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let body = body(&alert.id.to_string(), kind.name(), tenant, alert.created, &alert.sentence, data);
        names.into_iter().map(|name| self.message(tenant, name, kind.name(), body.clone(), alert.created)).collect()
    }

    fn message(
        &mut self,
        tenant: &TenantId,
        webhook: String,
        event: &str,
        body: String,
        created: UnixMillis,
    ) -> Result<NewDelivery, StoreError> {
        let message = MessageId::from_bits(random_bits(&mut *self.entropy)?);
        Ok(NewDelivery { message, tenant: tenant.clone(), webhook, event: event.to_owned(), body, created })
    }

    /// Where a message goes; `None` when its webhook is gone.
    pub(super) fn receiver(&self, tenant: &TenantId, webhook: &str, now: UnixMillis) -> Option<Receiver> {
        if let Some(name) = webhook.strip_prefix("config:") {
            let place = self.config.alerts.webhooks.iter().position(|webhook| webhook.name == name)?;
            let (webhook, secrets) = (self.config.alerts.webhooks.get(place)?, self.live.webhook_secrets.get(place)?);
            let (url, allow_private) = (webhook.url.clone(), webhook.allow_private_address);
            return Some(Receiver { url, allow_private, secrets: secrets.clone() });
        }
        let row = self.webhook_row(tenant, WebhookId::parse(webhook)?).ok()?;
        let url = BaseUrl::parse(&row.url, false).ok()?;
        let former = row.former_until.is_some_and(|until| now < until).then(|| row.secret_version.saturating_sub(1));
        let versions = std::iter::once(row.secret_version).chain(former.filter(|version| *version > 0));
        let key = self.keyring.audit_key()?;
        let secret = |version| Arc::new(key.webhook_secret(tenant.as_str(), row.id.bits(), version).0);
        Some(Receiver { url, allow_private: false, secrets: versions.map(secret).collect() })
    }

    fn with_secret(&self, row: &WebhookRow) -> Result<MadeWebhook, ControlError> {
        let key = self.keyring.audit_key().ok_or(VaultError::AuditKeyMissing).map_err(StoreError::from)?;
        let (_, secret) = key.webhook_secret(row.tenant.as_str(), row.id.bits(), row.secret_version);
        Ok(MadeWebhook { view: shown(row, self.now()), secret })
    }

    fn webhook_row(&self, tenant: &TenantId, id: WebhookId) -> Result<&WebhookRow, ControlError> {
        let rows = self.alerts.webhooks.get(tenant).into_iter().flatten();
        let mut rows = rows.filter(|row| row.id == id);
        rows.next().ok_or_else(|| ControlError::no_such("webhook"))
    }

    fn known_webhook(&self, tenant: &TenantId, webhook: &str) -> Result<String, ControlError> {
        let configured = webhook.strip_prefix("config:");
        if configured.is_some_and(|name| self.config.alerts.webhooks.iter().any(|webhook| webhook.name == name)) {
            return Ok(webhook.to_owned());
        }
        let id = WebhookId::parse(webhook).ok_or_else(|| ControlError::no_such("webhook"))?;
        Ok(self.webhook_row(tenant, id)?.id.to_string())
    }
}

/// What is sent: the same for every webhook.
fn body(id: &str, event: &str, tenant: &TenantId, created: UnixMillis, sentence: &str, data: &Value) -> String {
    let tenant = tenant.as_str();
    let created = created.to_rfc3339();
    json!({ "id": id, "type": event, "tenant": tenant, "created": created, "text": sentence, "data": data }).to_string()
}

fn shown(row: &WebhookRow, now: UnixMillis) -> WebhookView {
    WebhookView {
        id: row.id.to_string(),
        url: row.url.clone(),
        events: row.events.clone(),
        created_at: Some(row.created.to_rfc3339()),
        former_secret_until: row.former_until.filter(|until| now < *until).map(UnixMillis::to_rfc3339),
    }
}

impl From<DeliveryRow> for MessageView {
    fn from(row: DeliveryRow) -> Self {
        Self {
            id: row.message.to_string(),
            event: row.event,
            state: row.state.name(),
            attempts: row.attempts,
            created_at: row.created.to_rfc3339(),
            next_attempt_at: (row.state == DeliveryState::Waiting).then(|| row.due.to_rfc3339()),
            outcome: row.outcome,
        }
    }
}

/// In its normal form; of a tenant's own choice, so always https at a public address (rule T5). What it leads to is checked at each try.
fn checked_url(url: &str) -> Result<String, ControlError> {
    if url.len() > WEBHOOK_URL_BYTES_MAX {
        return Err(ControlError::Invalid(format!("`url` is longer than {WEBHOOK_URL_BYTES_MAX} bytes")));
    }
    let refused = |complaint: crate::config::Complaint| {
        let what = format!("`url` {}; it must be https at a public address, without a query", complaint.what);
        ControlError::Invalid(what)
    };
    Ok(BaseUrl::parse(url, false).map_err(refused)?.as_str().to_owned())
}

fn checked_events(events: &[String]) -> Result<Vec<String>, ControlError> {
    match events.iter().find(|event| AlertKind::parse(event).is_none()) {
        Some(_) => Err(ControlError::Invalid(format!("`events` may hold {}", AlertKind::names()))),
        None => {
            let mut events = events.to_vec();
            events.sort_unstable();
            events.dedup();
            Ok(events)
        }
    }
}
