//! The control plane: makes decisions slowly and publishes them as snapshots.
//!
//! [`Control`] holds store, vault and configuration and is the only writer of the published snapshot. Every change is stored first,
//! then published, then noted in the audit log. It blocks, briefly: it lives on the control thread, behind a lock that is never held
//! across an await. The data plane reads what it publishes and goes on with it should the control plane die.

pub mod access;
mod access_changes;
mod access_log;
mod alerts;
mod allowances;
mod analytics;
mod audit;
mod beginning;
mod breakers;
mod build;
pub mod carriage;
mod choice;
pub mod credentials;
mod decisions;
mod error;
mod events;
mod fleet;
mod fleetwide;
mod ingest;
mod inputs;
pub mod journal;
mod key_limits;
mod known;
mod learning;
mod leases;
mod metrics;
mod operations;
mod otlp;
mod overload;
mod parts;
mod post;
mod providers;
mod refused_keys;
pub mod reload;
mod reminders;
pub mod resolve;
mod rotations;
mod score_pages;
mod scores;
mod series;
mod signed;
mod start;
mod stats;
mod status;
mod succession;
mod supply;
mod teller;
mod texts;
mod ticks;
mod token;
mod trial;
mod vault;
mod wall;

#[cfg(test)]
mod tests;

pub use access::AccessKeyView;
pub use access_changes::{Amendment, Grantor, RotatedAccess};
pub use alerts::{
    AlertQuery, AlertView, BudgetSheet, BudgetState, MadeWebhook, MessageView, NewBudget, NewWebhook, WebhookView,
};
pub use allowances::{AllowanceView, BudgetView};
pub use analytics::{
    Analyst, Answered, Asker, Books, BooksOf, CostsAnswer, CostsQuestion, ForecastAnswer, UsageAnswer, UsagePeriod,
    Window, costs, forecast, usage,
};
pub use audit::AuditView;
pub use breakers::{BreakerMove, BreakerView};
pub use choice::{Chosen, Footing, choose};
pub use credentials::{CredentialView, KeyConfig};
pub use decisions::DecisionFilter;
pub use error::ControlError;
pub use events::Event;
pub use inputs::Environment;
pub use journal::proof::{Balance, LedgerProof, Problem};
pub use journal::scan::{ScanFault, Scanned, Wanted};
pub use journal::{JournalSeat, LedgerView};
pub use known::known;
pub use metrics::{FAMILIES, Family, Format, Kind, MetricsSheet};
pub use operations::{NewAccess, TenantView};
pub use reload::{Change, Reloaded, parse_config, read_config, sidecar_config};
pub use resolve::Resolver;
pub use rotations::{NewRotation, RotationView};
pub use score_pages::ScoreSheet;
pub use scores::score_due;
pub use signed::{Guard, Offer, public_key, signature_path};
pub use start::{Opened, Start};
pub use succession::PassedOn;
pub use teller::LedgerWatch;
pub use ticks::{every, exchange_due, lock, resolve_due, run};
pub use vault::{
    AuditProof, DataRotated, MasterRotated, NewRoot, OfflineVault, Reader, RootRotated, VaultPlace, VaultReport,
};

use crate::board::Board;
use crate::config::Config;
use crate::domain::clock::UnixMillis;
use crate::domain::id::ProviderId;
use crate::domain::pressure::Stage;
use crate::providers::aliases::Aliases;
use crate::providers::{Catalogue, table};
use crate::report::{AttemptReport, CoreReports};
use crate::snapshot::{ConfigStamp, Provider, Published, Snapshot};
use crate::store::{Adopted, Store};
use crate::vault::{Entropy, Keyring, LedgerKey, RootSource, WebhookSecret};
use alerts::Alerts;
use allowances::Allowances;
use analytics::Seats;
use build::TermsBook;
use decisions::Decisions;
use events::Events;
use ingest::Ingest;
use inputs::Listener;
use journal::JournalBooks;
use parts::{Ends, Retired, Touched};
use providers::{Configured, Trusts};
use reminders::Reminders;
use resolve::Names;
use rotations::Rotations;
use scores::SharedScores;
use signed::Standing;
use stats::Stats;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use supply::Means;
use teller::Teller;
use token::Tokens;
use trial::Trial;
use wall::Wall;

/// Where the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// A file, read again on reload.
    File(PathBuf),
    /// The environment: a sidecar.
    Environment,
}

/// The control plane's state. Callers share it as `Arc<Mutex<Control>>`.
pub struct Control {
    store: Store,
    keyring: Keyring,
    entropy: Box<dyn Entropy + Send>,
    env: Environment,
    clock: fn() -> UnixMillis,
    config: Config,
    stamp: ConfigStamp,
    warnings: Vec<String>,
    live: Live,
    /// Whose signatures a configuration needs.
    standing: Standing,
    place: Surroundings,
    reports: Vec<Arc<CoreReports>>,
    board: Arc<Board>,
    catalogue: Arc<Catalogue>,
    aliases: Aliases,
    trusts: Trusts,
    /// In the order of the published providers.
    configured: Vec<Configured>,
    names: Names,
    tokens: Tokens,
    published: Published,
    dirty: Dirty,
    touched: Touched,
    ends: Ends,
    retired: Retired,
    terms: TermsBook,
    /// The day for which retired models were left out, since the Unix epoch.
    routes_day: u64,
    started: Instant,
    events: Events,
    /// The breakers at the last look.
    watched: breakers::Watched,
    refused_keys: refused_keys::RefusedKeys,
    stats: Stats,
    series: series::Series,
    decisions: Decisions,
    scores: SharedScores,
    rotations: Rotations,
    reminders: Reminders,
    allowances: Allowances,
    alerts: Alerts,
    trial: Trial,
    ingest: Ingest,
    /// Unless the owner wants none.
    journal: Option<JournalBooks>,
    /// For questions about the books.
    seats: Seats,
    /// How much room each core had at the last look.
    stages: Vec<Stage>,
    /// What keeps going wrong, until it goes right.
    trouble: Option<String>,
    /// Whether another process has the store.
    rests: bool,
    /// This machine among others, where they share a store.
    member: Option<fleet::Member>,
    /// What news of other machines touched that does not hold here yet, since a step of it failed.
    news_owed: Adopted,
    fleetwide: fleetwide::Fleetwide,
    wall: Wall,
    /// Who is told of every attempt.
    observer: Option<Observer>,
    /// Traces, the access log, and what they have to say of themselves.
    teller: Teller,
}

/// Is told of every attempt once it is in the books.
pub type Observer = Box<dyn FnMut(&AttemptReport) + Send>;

/// What the live configuration refers to.
struct Live {
    fingerprint: [u8; 32],
    listener: Option<Listener>,
    odd_access_keys: bool,
    /// One list for each webhook of the configuration.
    webhook_secrets: Vec<Vec<Arc<WebhookSecret>>>,
}

impl Live {
    fn of(inputs: inputs::Inputs) -> Self {
        let inputs::Inputs { fingerprint, listener, odd_access_keys, webhook_secrets, .. } = inputs;
        Self { fingerprint, listener, odd_access_keys, webhook_secrets }
    }
}

/// What stays as it is while the process lives.
struct Surroundings {
    source: ConfigSource,
    store: PathBuf,
    root: RootSource,
    driver: String,
    workers: usize,
    control_socket: PathBuf,
}

/// The parts of the snapshot that no longer say what is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Dirty {
    access: bool,
    credentials: bool,
    providers: bool,
    routes: bool,
    settings: bool,
}

impl Dirty {
    const NONE: Self = Self { access: false, credentials: false, providers: false, routes: false, settings: false };
    const ALL: Self = Self { access: true, credentials: true, providers: true, routes: true, settings: true };
}

// === impl Control ===

impl Control {
    /// The published snapshot, for the data plane.
    pub fn published(&self) -> Published {
        self.published.clone()
    }

    /// Rebuilds the parts that changed and publishes; answers the generation that is live. Without a change nothing is published.
    ///
    /// # Errors
    /// The store cannot be read; then the last snapshot stays, and the next call tries again.
    pub fn publish(&mut self) -> Result<u64, ControlError> {
        let old = self.published.load_full();
        if self.rests || self.dirty == Dirty::NONE && self.touched.is_empty() {
            return Ok(old.generation);
        }
        let mut notes = Vec::new();
        if self.dirty.credentials || self.dirty.providers || self.touched.has_tenants() {
            notes.extend(self.settle_providers()?);
        }
        let access = self.access_part(&old.access, &mut notes)?;
        let credentials = self.credential_part(&old.credentials, &mut notes)?;
        let dirty = self.dirty;
        let providers = if dirty.providers { self.build_providers() } else { old.providers.clone() };
        let routes = match dirty.routes {
            true => {
                let (models, now) = (&self.config.models, self.now());
                let built = build::route_table(models, &self.configured, &self.catalogue, &self.aliases, now);
                Arc::new(built.map_err(|error| ControlError::Config(vec![error]))?)
            }
            false => old.routes.clone(),
        };
        let settings = match dirty.settings {
            true => Arc::new(build::settings(&self.config, &self.place.control_socket, !self.live.odd_access_keys)),
            false => old.settings.clone(),
        };
        let generation = old.generation + 1;
        let new = Arc::new(Snapshot {
            generation,
            config: self.stamp.clone(),
            access,
            providers,
            routes,
            credentials,
            scores: old.scores.clone(),
            settings,
            started: self.started,
            listener_tls: self.live.listener.as_ref().map(|listener| listener.config.clone()),
        });
        self.retired.take(&old, &new);
        self.published.store(new);
        self.dirty = Dirty::NONE;
        self.forget_touched();
        self.note_all("credential", notes);
        Ok(generation)
    }

    /// Takes the cores' reports into the books and the figures; answers how many there were.
    ///
    /// # Errors
    /// The store refuses; nothing is lost, and the next call tries again.
    pub fn ingest(&mut self) -> Result<usize, ControlError> {
        self.take_in(true)
    }

    /// The same within a tick, which has less time where there is much.
    fn take_in(&mut self, is_awaited: bool) -> Result<usize, ControlError> {
        if self.rests {
            return Ok(0);
        }
        self.take_decisions();
        let Self {
            ingest,
            store,
            reports,
            stats,
            series,
            configured,
            catalogue,
            observer,
            rotations,
            trial,
            allowances,
            alerts,
            journal,
            config,
            ..
        } = self;
        let (mut unpriced, instant) = (Vec::new(), Instant::now());
        let mut each = |report: &AttemptReport| {
            rotations.count(report);
            trial.count(report, instant);
            allowances.touch(report);
            series.count(report);
            alerts.count(report);
            stats.count(report, is_listed(configured, catalogue, &report.provider, &report.model));
            if config.telemetry.metrics_tenant_label {
                stats.count_tenant(report);
            }
            if stats.count_unpriced(report) {
                let (provider, model) = (&report.provider, &report.model);
                unpriced.push(format!(
                    "provider `{provider}`: no price is known for an answer of {model}; its cost is null"
                ));
            }
            if let Some(observer) = observer {
                observer(report);
            }
        };
        let taken = match journal {
            Some(_) => Ok(Ingest::show(reports, &mut each)),
            None => ingest.take(store, reports, &mut each),
        };
        self.note_all("price", unpriced);
        self.ingest_journal(is_awaited)?;
        let taken = taken?;
        self.teller.booked(Instant::now());
        Ok(taken)
    }

    /// From now on `observer` is told of every attempt.
    pub fn observe(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    /// The key of the ledger journal.
    ///
    /// # Errors
    /// The hierarchy has no audit key, which every open one has.
    pub fn ledger_key(&self) -> Result<Arc<LedgerKey>, crate::vault::VaultError> {
        let audit = self.keyring.audit_key().ok_or(crate::vault::VaultError::AuditKeyMissing)?;
        Ok(Arc::new(audit.ledger_key()))
    }

    /// The wall clock of this control plane.
    pub fn now(&self) -> UnixMillis {
        (self.clock)()
    }

    /// Brings the list of providers in step with configuration and stored keys, and the names with the list. A built-in provider that
    /// only a tenant's key needs comes after the configured ones, by name, and goes with its last key.
    fn settle_providers(&mut self) -> Result<Vec<String>, ControlError> {
        let named = self.store.admin().keyed_providers()?;
        let mut keyed: BTreeSet<&'static str> =
            named.iter().filter_map(|name| table::find(name)).map(|row| row.id).collect();
        keyed.retain(|name| !self.configured.iter().any(|own| own.by_config && own.config.id.as_str() == *name));
        let mut notes = Vec::new();
        let before: Vec<String> = self.brought_in().map(|provider| provider.config.id.to_string()).collect();
        if !before.iter().map(String::as_str).eq(keyed.iter().copied()) {
            self.configured.retain(|provider| provider.by_config);
            for row in keyed.into_iter().filter_map(table::find) {
                match self.bring_in(row) {
                    Ok(provider) => self.configured.push(provider),
                    Err(fault) => notes.push(fault),
                }
            }
            let after: Vec<String> = self.brought_in().map(|provider| provider.config.id.to_string()).collect();
            if before != after {
                (self.dirty.providers, self.dirty.routes, self.dirty.credentials) = (true, true, true);
            }
        }
        self.names.keep(self.configured.iter().map(|provider| provider.url.host()), Instant::now());
        Ok(notes)
    }

    fn brought_in(&self) -> impl Iterator<Item = &Configured> {
        self.configured.iter().filter(|provider| !provider.by_config)
    }

    /// A built-in provider that no configuration names.
    fn bring_in(&mut self, row: &'static crate::providers::Row) -> Result<Configured, String> {
        let now = self.now();
        Configured::new(providers::built_in(row), None, false, &mut self.trusts, &self.catalogue, now)
    }

    fn build_providers(&self) -> Arc<[Provider]> {
        let provider = |provider: &Configured| {
            provider.publishable(self.names.addresses(&provider.url, provider.config.allow_private_address))
        };
        self.configured.iter().map(provider).collect()
    }

    /// A configured provider by its name or a built-in alias.
    fn configured_named(&self, name: &str) -> Option<&Configured> {
        let canonical = table::find(name).map_or(name, |row| row.id);
        let named = |name: &str| self.configured.iter().find(|provider| provider.config.id.as_str() == name);
        named(name).or_else(|| named(canonical))
    }

    /// Notes who came to the dashboard, or tried to.
    pub fn note_visit(&mut self, text: String) {
        self.note("dashboard", text);
    }

    fn note(&mut self, kind: &'static str, text: impl AsRef<str>) {
        let now = self.now();
        self.alerts.hear(kind, text.as_ref());
        self.events.note(now, kind, text);
    }

    fn note_all(&mut self, kind: &'static str, notes: Vec<String>) {
        notes.into_iter().for_each(|text| self.note(kind, text));
    }
}

/// Whether a model is in a list of ours: the provider's own, or the price list.
fn is_listed(configured: &[Configured], catalogue: &Catalogue, provider: &ProviderId, model: &str) -> bool {
    configured.iter().find(|configured| configured.config.id == *provider).is_some_and(|provider| {
        let source = provider.spec.price_source;
        source.is_some_and(|source| catalogue.lookup(source, model).is_some())
            || provider.models.iter().any(|known| **known == *model)
    })
}

/// What an operation on the store needs.
fn means(control: &mut Control) -> Means<'_> {
    let now = control.now();
    Means { store: &mut control.store, keyring: &control.keyring, entropy: &mut *control.entropy, now }
}

/// Models retire at midnight, UTC.
fn day_of(now: UnixMillis) -> u64 {
    now.0 / 86_400_000
}
