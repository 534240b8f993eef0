//! What the control plane can say of itself: state, routes, figures, the latest events.

use super::events::Event;
use super::overload::Room;
use super::{ConfigSource, Control};
use crate::domain::clock::UnixMillis;
use crate::domain::id::{ProviderId, TenantId};
use crate::report::CoreGauges;
use crate::snapshot::{ProviderIx, Snapshot};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// Figures of the state that are read off at the moment of asking.
struct Gauges {
    connections: u64,
    exchanges: u64,
    requests: u64,
    streams: u64,
    refused: u64,
    reports_waiting: u64,
    uptime_seconds: u64,
}

impl Control {
    /// The state of process, configuration, snapshot, traffic and providers.
    pub fn status(&mut self) -> Value {
        let snapshot = self.published.load_full();
        let providers: Vec<Value> =
            snapshot.providers.iter().map(|provider| self.provider_status(&snapshot, provider)).collect();
        let gauges = self.gauges();
        let tenants = self.store.admin().tenant_count();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "driver": self.place.driver,
            "workers": self.place.workers,
            "uptime_seconds": gauges.uptime_seconds,
            "config": self.config_status(),
            "snapshot": { "generation": snapshot.generation },
            "connections": gauges.connections,
            "exchanges": gauges.exchanges,
            "streams": gauges.streams,
            "requests_total": gauges.requests,
            "requests_refused_total": gauges.refused,
            "overload": Room::read(&self.reports).to_json(),
            "halted": self.board.halts().len(),
            "rotations": self.rotation_status(),
            "reports_waiting": gauges.reports_waiting,
            "access_keys": snapshot.access.len(),
            "tenants": tenants.as_ref().copied().unwrap_or(0),
            "providers": providers,
            "ledger": self.ledger_status(),
            "store": { "path": self.place.store.display().to_string(), "ok": tenants.is_ok() && self.trouble.is_none() },
            "fleet": self.fleet_status(),
            "trouble": self.trouble,
        })
    }

    /// The live configuration: version, digest, source, and what takes effect only after a restart.
    pub fn config_status(&self) -> Value {
        let source = match &self.place.source {
            ConfigSource::File(path) => path.display().to_string(),
            ConfigSource::Environment => "environment".to_owned(),
        };
        let trust = self.standing.trust().map(|trust| {
            let keys: Vec<String> = trust.keys().iter().map(|key| key.id().to_string()).collect();
            json!({ "keys": keys, "threshold": trust.threshold() })
        });
        let identity = &self.config.identity;
        json!({
            "version": self.stamp.version,
            "digest": self.stamp.digest,
            "source": source,
            "config_id": identity.config_id,
            "expires_at": identity.expires_at.map(UnixMillis::to_rfc3339),
            "expired": self.has_expired(),
            "trust": trust,
            "rollout": self.rollout_status(),
            "warnings": self.warnings,
        })
    }

    /// Who serves which name, by which policy; the owner's entries first.
    pub fn routes(&self) -> Value {
        let snapshot = self.published.load();
        let name = |ix: &ProviderIx| snapshot.provider(*ix).map(|provider| provider.id.as_str().to_owned());
        let entries: Vec<Value> = self.config.models.iter().map(entry).collect();
        let listed = snapshot.routes.listed.iter().map(|model| {
            let providers: Vec<String> = model.providers.iter().filter_map(name).collect();
            json!({ "name": &*model.name, "providers": providers })
        });
        json!({ "generation": snapshot.generation, "entries": entries, "models": listed.collect::<Vec<_>>() })
    }

    /// A configured provider's figures since start, by its name or an alias; `None` when it is not configured.
    pub fn provider_stats(&self, name: &str) -> Option<Value> {
        let provider = self.configured_named(name)?;
        let id = &provider.config.id;
        let (posterior, breaker) = self.provider_posterior(id);
        Some(self.stats.provider(id.as_str(), &posterior, breaker))
    }

    /// Whether a tenant can know that a provider is here: the configuration names it, or the tenant has a key for it.
    pub fn is_visible(&self, tenant: &TenantId, name: &str) -> bool {
        let owns = |provider: &ProviderId| self.published.load().credentials.owns(tenant, provider);
        self.configured_named(name).is_some_and(|provider| provider.by_config || owns(&provider.config.id))
    }

    /// The latest events, oldest first.
    pub fn recent_events(&self) -> Vec<Event> {
        self.events.latest()
    }

    /// Those after number `last`, oldest first.
    pub fn events_after(&self, last: u64) -> Vec<Event> {
        self.events.after(last)
    }

    fn provider_status(&self, snapshot: &Snapshot, provider: &crate::snapshot::Provider) -> Value {
        let addresses: Vec<String> = provider.origin.addresses.iter().map(ToString::to_string).collect();
        let configured = self.configured.iter().find(|configured| configured.config.id == provider.id);
        json!({
            "name": provider.id.as_str(),
            "base_url": configured.map(|configured| configured.url.as_str()),
            "configured": configured.is_some_and(|configured| configured.by_config),
            "addresses": addresses,
            "credentials": snapshot.credentials.count(&provider.id),
            "keyless": provider.keyless,
            "models": provider.models.len(),
        })
    }

    fn gauges(&self) -> Gauges {
        let sum = |read: fn(&CoreGauges) -> &AtomicU64| {
            self.reports.iter().map(|core| read(&core.gauges).load(Ordering::Relaxed)).sum()
        };
        Gauges {
            connections: sum(|gauges| &gauges.connections),
            exchanges: sum(|gauges| &gauges.exchanges),
            requests: sum(|gauges| &gauges.exchanges_begun),
            streams: sum(|gauges| &gauges.streams),
            refused: sum(|gauges| &gauges.refused),
            reports_waiting: self.reports.iter().map(|core| core.waiting() as u64).sum(),
            uptime_seconds: self.started.elapsed().as_secs(),
        }
    }
}

fn entry(model: &crate::config::Model) -> Value {
    let target = |target: &crate::config::Target| json!({ "provider": target.provider.as_str(), "model": target.model, "weight": target.weight });
    let targets: Vec<Value> = model.targets.iter().map(target).collect();
    json!({ "name": model.name, "policy": model.policy.as_str(), "targets": targets })
}
