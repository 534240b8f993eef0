//! The control plane's first minute: directory, store, key hierarchy, configuration, first snapshot.

use super::breakers::Watched;
use super::decisions::Decisions;
use super::events::Events;
use super::ingest::Ingest;
use super::inputs::{self, Environment, Inputs};
use super::providers::{self, Configured, Trusts};
use super::resolve::Names;
use super::scores::SharedScores;
use super::stats::Stats;
use super::supply::{self, Means};
use super::token::Tokens;
use super::{ConfigSource, Control, ControlError, Dirty, Live, Surroundings, build, day_of};
use crate::board::Board;
use crate::config::{Config, KeySource, Store as StorePlace, TENANT_DEFAULT};
use crate::control_plane::access::{Access, Terms};
use crate::domain::clock::UnixMillis;
use crate::domain::id::TenantId;
use crate::domain::scope::Scopes;
use crate::providers::Catalogue;
use crate::providers::aliases::Aliases;
use crate::report::CoreReports;
use crate::snapshot::{AccessTable, ConfigStamp, CredentialTable, RouteTable, Snapshot};
use crate::store::{AuditEntry, Store, StoreError};
use crate::vault::{AccessKeyText, Entropy, Keyring, RootSource};
use arc_swap::ArcSwap;
use serde_json::Map;
use std::collections::HashMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// What the control plane is started with.
pub struct Start {
    /// The configuration.
    pub config: Config,
    /// Its version and digest: [`super::reload::stamp`].
    pub stamp: ConfigStamp,
    /// Where it is from, and will be read again.
    pub source: ConfigSource,
    /// Where state lies unless the configuration says otherwise.
    pub data_dir: PathBuf,
    /// The cores' return paths.
    pub reports: Vec<Arc<CoreReports>>,
    /// What the cores tell each other.
    pub board: Arc<Board>,
    /// How the data plane waits, for people.
    pub driver: String,
    /// Cores in use.
    pub workers: usize,
    /// Where the control plane listens for forwarded requests.
    pub control_socket: PathBuf,
    /// How variables are read.
    pub env: Environment,
    /// The wall clock; [`UnixMillis::now`] but in tests.
    pub clock: fn() -> UnixMillis,
    /// Randomness; [`crate::vault::OsEntropy`] but in tests.
    pub entropy: Box<dyn Entropy + Send>,
}

/// A control plane that has published its first snapshot.
pub struct Opened {
    /// The control plane.
    pub control: Control,
    /// An access key that was just made, to be shown once: no access key existed, and the configuration is the environment.
    pub minted: Option<AccessKeyText>,
}

impl Control {
    /// Opens store and key hierarchy, making them on the first start, applies the configuration and publishes.
    ///
    /// # Errors
    /// [`ControlError`]: what the configuration refers to cannot be read, the store is in use or sealed with another root key.
    pub fn open(start: Start) -> Result<Opened, ControlError> {
        let Start {
            config,
            stamp,
            source,
            data_dir,
            reports,
            board,
            driver,
            workers,
            control_socket,
            env,
            clock,
            mut entropy,
        } = start;
        let (now, started) = (clock(), Instant::now());
        make_private(&data_dir)?;
        let StorePlace::Sqlite(path) = &config.store;
        let store_path = path.clone().unwrap_or_else(|| data_dir.join("igris.db"));
        let catalogue = providers::catalogue(&config)?;
        let aliases = Aliases::built_in().map_err(|error| ControlError::BuiltIn(error.to_string()))?;
        let inputs = inputs::gather(&config, &env, None)?;
        let mut trusts = Trusts::default();
        let configured = configured(&config, &inputs, &mut trusts, &catalogue, now)?;
        let routes = build::route_table(&config.models, &configured, &catalogue, &aliases, now);
        let routes = routes.map_err(|error| ControlError::Config(vec![error]))?;
        let unserved = build::unserved_rules(&config.routing.rules, &routes);
        let mut store = Store::open(&store_path)?;
        let keyring = store.unlock(&root_source(&config, &data_dir), &mut *entropy, now)?;
        let means = Means { store: &mut store, keyring: &keyring, entropy: &mut *entropy, now };
        let version = stamp.version.to_string();
        let (who, what, target) = ("start", "config.load", stamp.digest.as_str());
        let audit = AuditEntry { at: now, tenant: None, who, what, target, before: "", after: &version };
        let notes = supply::apply(means, &config, &inputs, &configured, &audit)?;
        let minted = match &source {
            ConfigSource::Environment => {
                mint(Means { store: &mut store, keyring: &keyring, entropy: &mut *entropy, now })?
            }
            ConfigSource::File(_) => None,
        };
        let ingest = Ingest::open(&mut store)?;
        let first = first_snapshot(&config, &stamp, &keyring, routes, &control_socket, started)?;
        let mut control = Control {
            store,
            keyring,
            entropy,
            env,
            clock,
            config,
            stamp,
            warnings: Vec::new(),
            live: Live { fingerprint: inputs.fingerprint, listener: inputs.listener },
            place: Surroundings { source, store: store_path, driver, workers, control_socket },
            reports,
            board,
            catalogue,
            aliases,
            trusts,
            configured,
            names: Names::default(),
            tokens: Tokens::default(),
            published: Arc::new(ArcSwap::from_pointee(first)),
            dirty: Dirty { access: true, credentials: true, providers: true, routes: false, settings: true },
            next_end: None,
            routes_day: day_of(now),
            started,
            events: Events::default(),
            watched: Watched::default(),
            stats: Stats::default(),
            decisions: Decisions::default(),
            scores: SharedScores::default(),
            ingest,
            stages: Vec::new(),
            trouble: None,
            observer: None,
        };
        control.note_all("config", notes);
        control.note_all("config", unserved);
        control.publish()?;
        control.note("start", format!("igris {} serves from {}", env!("CARGO_PKG_VERSION"), data_dir.display()));
        Ok(Opened { control, minted })
    }
}

/// The providers that a configuration names, in its order.
///
/// # Errors
/// [`ControlError::Config`] with one line for each that cannot be used.
pub(super) fn configured(
    config: &Config,
    inputs: &Inputs,
    trusts: &mut Trusts,
    catalogue: &Catalogue,
    now: UnixMillis,
) -> Result<Vec<Configured>, ControlError> {
    let (mut usable, mut faults) = (Vec::with_capacity(config.providers.len()), Vec::new());
    for provider in &config.providers {
        let authority = inputs.authorities.get(&provider.id).map(Vec::as_slice);
        match Configured::new(provider.clone(), authority, true, trusts, catalogue, now) {
            Ok(provider) => usable.push(provider),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(usable) } else { Err(ControlError::Config(faults)) }
}

/// The snapshot that nobody sees: everything but its routes is filled in before `open` returns.
fn first_snapshot(
    config: &Config,
    stamp: &ConfigStamp,
    keyring: &Keyring,
    routes: RouteTable,
    control_socket: &Path,
    started: Instant,
) -> Result<Snapshot, ControlError> {
    let pepper = keyring.pepper().map_err(StoreError::from)?.clone();
    Ok(Snapshot {
        generation: 0,
        config: stamp.clone(),
        access: Arc::new(AccessTable { pepper, keys: HashMap::default() }),
        providers: Arc::new([]),
        routes: Arc::new(routes),
        credentials: Arc::new(CredentialTable::default()),
        scores: Arc::default(),
        settings: Arc::new(build::settings(config, control_socket)),
        started,
        listener_tls: None,
    })
}

/// An access key with every right, unless there is one already: nobody could use a gateway without any.
fn mint(means: Means<'_>) -> Result<Option<AccessKeyText>, ControlError> {
    let Means { store, keyring, entropy, now } = means;
    if store.admin().access_key_count(now)? > 0 {
        return Ok(None);
    }
    let terms = Terms { name: "default", scopes: Scopes::ALL, limits: &Map::new(), expires: None };
    let (_, text) = Access::new(store, keyring, entropy, now).make(&TenantId::new(TENANT_DEFAULT), &terms)?;
    Ok(Some(text))
}

fn root_source(config: &Config, data_dir: &Path) -> RootSource {
    match &config.root_key {
        None => RootSource::File(data_dir.join("root.key")),
        Some(KeySource::File(path)) => RootSource::File(path.clone()),
        Some(KeySource::Env(name)) => RootSource::Env(name.clone()),
        Some(KeySource::Fd(fd)) => RootSource::Fd(*fd),
    }
}

/// Makes a directory that belongs to its owner alone; one that exists stays as it is.
fn make_private(path: &Path) -> Result<(), ControlError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|cause| ControlError::File { path: path.to_owned(), cause })
}
