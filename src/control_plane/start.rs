//! The control plane's first minute: directory, store, key hierarchy, configuration, first snapshot.

use super::alerts::Alerts;
use super::allowances::Allowances;
use super::analytics::Seats;
use super::beginning::{Around, Beginning, Prepared};
use super::breakers::Watched;
use super::build::TermsBook;
use super::choice::{Footing, Resumed};
use super::decisions::Decisions;
use super::events::Events;
use super::fleet::{self, Joined};
use super::fleetwide::{Bearing, Fleetwide};
use super::ingest::Ingest;
use super::inputs::{Environment, Inputs};
use super::parts::{Ends, Retired, Touched};
use super::providers::{Configured, Trusts};
use super::refused_keys::RefusedKeys;
use super::reminders::Reminders;
use super::resolve::Names;
use super::rotations::Rotations;
use super::scores::SharedScores;
use super::stats::Stats;
use super::supply::Means;
use super::teller::Teller;
use super::token::Tokens;
use super::trial::Trial;
use super::vault::VaultPlace;
use super::wall::Wall;
use super::{ConfigSource, Control, ControlError, Dirty, Live, Surroundings, build, day_of};
use crate::board::Board;
use crate::config::{Config, TENANT_DEFAULT};
use crate::control_plane::access::{Access, Terms};
use crate::domain::clock::UnixMillis;
use crate::domain::id::TenantId;
use crate::domain::scope::Scopes;
use crate::providers::Catalogue;
use crate::providers::aliases::Aliases;
use crate::report::CoreReports;
use crate::snapshot::{AccessTable, ConfigStamp, CredentialTable, RouteTable, Snapshot};
use crate::store::{Adopted, StoreError};
use crate::vault::{AccessKeyText, Entropy, Keyring};
use arc_swap::ArcSwap;
use serde_json::Map;
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
    /// What [`super::choose`] found out about it; the default where it asks for no signature and keeps no text.
    pub footing: Footing,
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
        Self::open_after(start, || Ok(()))
    }

    /// As [`Control::open`]; `ready` is called when everything that needs no store is read and good, and the store is opened only after
    /// it: another process may have it until then (rule S2).
    ///
    /// # Errors
    /// As there, and what `ready` answers.
    pub fn open_after(start: Start, ready: impl FnOnce() -> Result<(), ControlError>) -> Result<Opened, ControlError> {
        let Start {
            config,
            stamp,
            footing,
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
        let VaultPlace { store: store_path, root } = VaultPlace::of(Some(&config), &data_dir);
        let aliases = Aliases::built_in().map_err(|error| ControlError::BuiltIn(error.to_string()))?;
        let mut trusts = Trusts::default();
        let mut around = Around { env: &env, aliases: &aliases, trusts: &mut trusts, now };
        let mut beginning = Beginning::of((config, stamp), footing, &source, &mut around)?;
        ready()?;
        let Joined { mut store, member, keyring, notes: joined } =
            fleet::open(&beginning.prepared.config.store, &env, (&store_path, &root), (&mut *entropy, now))?;
        beginning.follows &= member.is_some();
        let applied = fleet::insist(&mut store, member.as_ref(), |store| {
            let means = Means { store, keyring: &keyring, entropy: &mut *entropy, now };
            beginning.settle(means, &mut around)
        });
        let is_owed = beginning.bearing == Bearing::New && applied.as_ref().is_err_and(ControlError::is_alone);
        let notes = fleet::unless_alone(applied)?;
        let fleetwide = Fleetwide::begun(&mut beginning, is_owed);
        let Beginning { prepared, standing, resumed, notes: found, .. } = beginning;
        let Prepared { config, stamp, inputs, catalogue, configured, routes, unserved } = prepared;
        let means = Means { store: &mut store, keyring: &keyring, entropy: &mut *entropy, now };
        let minted = mint(&source, means)?;
        let (rotations, unread) = Rotations::take_up(&mut store, now)?;
        let allowances = Allowances::open(&mut store, &mut *entropy, member.as_ref().map(|_| &config.fleet), now)?;
        let host = member.as_ref().map(|_| fleet::host());
        let (ingest, alerts) = (Ingest::open(&mut store)?, Alerts::open(&mut store, host.as_deref(), now)?);
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
            standing,
            live: Live::of(inputs),
            place: Surroundings { source, store: store_path, root, driver, workers, control_socket },
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
            touched: Touched::default(),
            ends: Ends::default(),
            retired: Retired::default(),
            terms: TermsBook::default(),
            routes_day: day_of(now),
            started,
            events: Events::default(),
            watched: Watched::default(),
            refused_keys: RefusedKeys::default(),
            stats: Stats::default(),
            series: Default::default(),
            decisions: Decisions::default(),
            scores: SharedScores::default(),
            rotations,
            allowances,
            alerts,
            reminders: Reminders::default(),
            trial: Trial::default(),
            ingest,
            journal: None,
            seats: Seats::default(),
            stages: Vec::new(),
            trouble: None,
            rests: false,
            member,
            news_owed: Adopted::default(),
            fleetwide,
            wall: Wall::default(),
            observer: None,
            teller: Teller::default(),
        };
        let said = [("alarm", [found, joined].concat()), ("config", notes), ("config", unserved), ("rotation", unread)];
        control.set_out(said, resumed, &data_dir)?;
        Ok(Opened { control, minted })
    }

    /// Publishes for the first time, and says what was found on the way there.
    fn set_out(
        &mut self,
        found: [(&'static str, Vec<String>); 4],
        resumed: Option<Resumed>,
        data_dir: &Path,
    ) -> Result<(), ControlError> {
        found.into_iter().for_each(|(kind, notes)| self.note_all(kind, notes));
        self.turn_teller();
        self.publish()?;
        if let Some(resumed) = resumed {
            self.resume_trial(resumed);
        }
        self.note("start", format!("igris {} serves from {}", env!("CARGO_PKG_VERSION"), data_dir.display()));
        self.note_audit_head();
        Ok(())
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
        access: Arc::new(AccessTable::new(pepper)),
        providers: Arc::new([]),
        routes: Arc::new(routes),
        credentials: Arc::new(CredentialTable::default()),
        scores: Arc::default(),
        settings: Arc::new(build::settings(config, control_socket, false)),
        started,
        listener_tls: None,
    })
}

/// An access key with every right, unless there is one already: nobody could use a gateway without any. A file says itself who may ask.
fn mint(source: &ConfigSource, means: Means<'_>) -> Result<Option<AccessKeyText>, ControlError> {
    let Means { store, keyring, entropy, now } = means;
    if matches!(source, ConfigSource::File(_)) || store.admin().has_access_key(now)? {
        return Ok(None);
    }
    let terms = Terms { name: "default", scopes: Scopes::ALL, limits: &Map::new(), expires: None };
    let (_, text) = Access::new(store, keyring, entropy, now).make(&TenantId::new(TENANT_DEFAULT), &terms)?;
    Ok(Some(text))
}

/// Makes a directory that belongs to its owner alone; one that exists stays as it is.
fn make_private(path: &Path) -> Result<(), ControlError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|cause| ControlError::File { path: path.to_owned(), cause })
}
