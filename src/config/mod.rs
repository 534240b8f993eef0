//! Configuration: from the text of a file to what it means, or every reason why not.
//!
//! `read` gives TOML with positions, `raw` what was typed, this module what it means. Strict: an unknown key, a missing unit or a dangling
//! name refuses the whole file (rule C6). Parsing is pure: no file, no variable, no clock; secrets stay references until [`secrets`]
//! resolves them. Built-in providers are an argument ([`Known`]), so that nothing here depends on the provider table.

mod access;
mod admission;
mod alerts;
mod base_url;
mod bounds;
pub mod check;
mod cidr;
mod database;
mod fleet;
mod leaf;
mod ledger;
mod model;
mod operation;
mod platform;
mod price;
mod problem;
mod provider;
pub mod raw;
mod read;
mod rollout;
mod rotation;
mod routing;
pub mod secrets;
mod server;
mod sidecar;
mod telemetry;
pub mod unit;

pub use crate::domain::budget::{Budget, Cap, Period};
pub use crate::routing::policy::Policy;
pub use access::{AccessKey, KeyLimits, TENANT_DEFAULT, Tenant, TenantLimits};
pub use admission::{AdminToken, AllowedUser};
pub use alerts::{AlertWebhook, Alerts};
pub use base_url::{BaseUrl, Reach, reach};
pub use bounds::Limits;
pub use cidr::Cidr;
pub use database::{Database, Store, without_passwords};
pub use fleet::{Fleet, WithoutDatabase};
pub use ledger::{Durability, Ledger};
pub use model::{Model, Target};
pub use operation::{Admin, KeySource, Log, LogFormat, LogLevel, Trust};
pub use problem::{Complaint, Place, Problem, Problems, Severity};
pub use provider::{ExtraHeader, Provider};
pub use read::{At, Leaf, Typed};
pub use rollout::Rollout;
pub use rotation::Rotation;
pub use server::{Io, LISTEN_DEFAULT, Metadata, Server, Tls};
pub use sidecar::ACCESS_KEY_VARIABLE;
pub use telemetry::{AccessField, AccessLog, Always, LogPlace, Otlp, Redaction, Telemetry};

use crate::domain::clock::UnixMillis;
use crate::domain::id::TenantId;
use crate::limits;
use crate::providers::catalogue::OwnPrice;
use crate::routing::terms::RoutingTerms;
use problem::Findings;
use std::sync::Arc;

/// The format number that this version reads.
pub const FORMAT: u64 = 1;

/// A whole configuration as meant. Every reference in it holds: tenants, providers and names exist and are distinct.
#[derive(Clone, Debug)]
pub struct Config {
    /// Must grow with each signed file (rule C3); 0 unless stated.
    pub version: u64,
    /// What else a signed file says of itself.
    pub identity: Identity,
    /// `[server]`.
    pub server: Server,
    /// `[admin]`.
    pub admin: Admin,
    /// `[store]`.
    pub store: Store,
    /// `[vault] root_key`; `None` means `root.key` in the data directory.
    pub root_key: Option<KeySource>,
    /// `[fleet]`.
    pub fleet: Fleet,
    /// `[ledger]`.
    pub ledger: Ledger,
    /// `[log]`.
    pub log: Log,
    /// `[trust]`.
    pub trust: Option<Trust>,
    /// `[rollout]`.
    pub rollout: Rollout,
    /// `[rotation]`.
    pub rotation: Rotation,
    /// `[alerts]`.
    pub alerts: Alerts,
    /// `[telemetry]`.
    pub telemetry: Telemetry,
    /// `[routing]`, and what tenants have of their own.
    pub routing: Arc<RoutingTerms>,
    /// `[[providers]]`, distinct by canonical name.
    pub providers: Vec<Provider>,
    /// `[[models]]`, distinct by name, in the order of the file.
    pub models: Vec<Model>,
    /// `[[prices]]`, one for a model of a provider at most.
    pub prices: Vec<OwnPrice>,
    /// `[[tenants]]`, distinct by id; `default` alone when none is listed.
    pub tenants: Vec<Tenant>,
    /// `[[access_keys]]`, distinct by name and by secret.
    pub access_keys: Vec<AccessKey>,
}

/// What a signed file says of itself (rule C1). Checked against clock and store by who loads it, not here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Which line of versions the file belongs to.
    pub config_id: Option<String>,
    /// When it was made.
    pub issued_at: Option<UnixMillis>,
    /// When it must no longer be loaded (rule C4); later than `issued_at`.
    pub expires_at: Option<UnixMillis>,
    /// Labels of fleets that must refuse it.
    pub not_for: Vec<String>,
}

/// What is built in: the names that a file may use without explaining them.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The provider table.
    pub providers: &'a [KnownProvider<'a>],
    /// Names of the dialects that a provider may speak.
    pub dialects: &'a [&'a str],
}

/// One built-in provider by its names.
#[derive(Clone, Copy, Debug)]
pub struct KnownProvider<'a> {
    /// Canonical name.
    pub name: &'a str,
    /// Other names that mean the same.
    pub aliases: &'a [&'a str],
    /// Environment variables that may hold its key, in order of preference.
    pub key_envs: &'a [&'a str],
    /// The dialect it speaks.
    pub dialect: &'a str,
    /// Its address; `None` where that depends on the owner's account, so that the file must state it.
    pub base_url: Option<&'a str>,
}

// === impl Known ===

impl<'a> Known<'a> {
    /// The canonical name for a name or alias.
    pub fn canonical(&self, name: &str) -> Option<&'a str> {
        self.find(name).map(|row| row.name)
    }

    /// The row for a name or alias.
    fn find(&self, name: &str) -> Option<&'a KnownProvider<'a>> {
        self.providers.iter().find(|row| row.name == name || row.aliases.contains(&name))
    }

    /// Canonical names, then aliases.
    pub(crate) fn provider_names(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        let rows = self.providers;
        rows.iter().map(|row| row.name).chain(rows.iter().flat_map(|row| row.aliases.iter().copied()))
    }
}

// === impl Config ===

/// What an empty file means.
impl Default for Config {
    fn default() -> Self {
        Self {
            version: 0,
            identity: Identity::default(),
            server: Server::default(),
            admin: Admin::default(),
            store: Store::Sqlite(None),
            root_key: None,
            fleet: Fleet::default(),
            ledger: Ledger::default(),
            log: Log::default(),
            trust: None,
            rollout: Rollout::default(),
            rotation: Rotation::default(),
            alerts: Alerts::default(),
            telemetry: Telemetry::default(),
            routing: Arc::new(RoutingTerms { decisions_kept: limits::DECISIONS_KEPT, ..RoutingTerms::default() }),
            providers: Vec::new(),
            models: Vec::new(),
            prices: Vec::new(),
            tenants: vec![Tenant { id: TenantId::new(TENANT_DEFAULT), name: None, limits: TenantLimits::default() }],
            access_keys: Vec::new(),
        }
    }
}

impl Config {
    /// Reads a whole file. `file_name` is only for messages.
    ///
    /// # Errors
    /// Every problem of the text, with line, column and remedy. Warnings stand among them, but alone they refuse nothing.
    pub fn parse(file_name: &str, text: &str, known: &Known<'_>) -> Result<Config, Problems> {
        Self::parse_with_warnings(file_name, text, known).map(|(config, _)| config)
    }

    /// The same, and beside a good configuration what it probably does not mean.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn parse_with_warnings(file_name: &str, text: &str, known: &Known<'_>) -> Result<(Config, Problems), Problems> {
        let mut findings = Findings::default();
        let meant = raw::Document::read_text(text, &mut findings).map(|raw| meant(raw, known, &mut findings));
        let problems = findings.placed(file_name, text);
        match meant {
            Some(config) if !problems.refuses() => Ok((config, problems)),
            _ => Err(problems),
        }
    }
}

/// Interprets every section, going on after each problem so that all are found.
fn meant(raw: raw::Document, known: &Known<'_>, findings: &mut Findings) -> Config {
    let version = findings.value("version", raw.version, leaf::count(0, i64::MAX as u64)).unwrap_or(0);
    findings.value("format", raw.format, leaf::count(FORMAT, FORMAT));
    let identity = identity(raw.config_id, (raw.issued_at, raw.expires_at), raw.not_for, findings);
    let (server, mut addresses) = server::server(raw.server, findings);
    let admin = operation::admin(raw.admin, &mut addresses, findings);
    findings.distinct("the address", &addresses);
    let providers = provider::providers(raw.providers.unwrap_or_default(), known, findings);
    let models = model::models(raw.models.unwrap_or_default(), &providers, known, findings);
    let prices = price::prices(raw.prices.unwrap_or_default(), &providers, known, findings);
    let mut routing = routing::routing(raw.routing, findings);
    let (tenants, listed, own_terms) = access::tenants(raw.tenants, findings);
    routing.tenants = routing::tenants(own_terms, &routing.usual, findings);
    let mut ids: Vec<&str> = tenants.iter().map(|tenant| tenant.id.as_str()).collect();
    ids.sort_unstable();
    let alerts = alerts::alerts(raw.alerts, &ids, findings);
    let referents = access::Referents { tenants: ids, providers: &providers, known };
    let access_keys = access::access_keys(raw.access_keys.unwrap_or_default(), &referents, findings);
    access::warn_unreferenced(&listed, &access_keys, findings);
    Config {
        version,
        identity,
        server,
        admin,
        store: database::store(raw.store, findings),
        root_key: operation::root_key(raw.vault, findings),
        fleet: fleet::fleet(raw.fleet, findings),
        ledger: ledger::ledger(raw.ledger, findings),
        log: operation::log(raw.log, findings),
        trust: operation::trust(raw.trust, findings),
        rollout: rollout::rollout(raw.rollout, findings),
        rotation: rotation::rotation(raw.rotation, findings),
        alerts,
        telemetry: telemetry::telemetry(raw.telemetry, findings),
        routing: Arc::new(routing),
        providers,
        models,
        prices,
        tenants,
        access_keys,
    }
}

fn identity(
    config_id: Option<Leaf>,
    (issued_at, expires_at): (Option<Leaf>, Option<Leaf>),
    not_for: Option<Vec<Leaf>>,
    findings: &mut Findings,
) -> Identity {
    let issued_at = findings.value("issued_at", issued_at, leaf::instant);
    let expires_at = findings.meant("expires_at", expires_at, leaf::instant);
    if let (Some(issued), Some(expires)) = (issued_at, &expires_at)
        && expires.value <= issued
    {
        findings.error(expires.at, "`expires_at` is not after `issued_at`", "write a later instant");
    }
    let not_for = findings.all("not_for", not_for.unwrap_or_default(), leaf::name);
    Identity {
        config_id: findings.value("config_id", config_id, leaf::name),
        issued_at,
        expires_at: expires_at.map(|expires| expires.value),
        not_for: not_for.into_iter().map(|label| label.value).collect(),
    }
}
