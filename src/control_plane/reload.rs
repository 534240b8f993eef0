//! Another configuration, all or nothing (rule C6): read, parse, gather, build, store, publish. Whatever fails before the store is
//! written changes nothing; the store is written in one transaction.

use super::audit::config_mark;
use super::fleetwide::Bearing;
use super::inputs::{self, Inputs};
use super::providers;
use super::signed::{Admitted, Offer};
use super::start::configured;
use super::supply::{self, Ending};
use super::trial::Terms;
use super::{ConfigSource, Control, ControlError, Dirty, Live, build, known, means};
use crate::config::{Config, Problems, TenantLimits};
use crate::domain::clock::UnixMillis;
use crate::domain::id::TenantId;
use crate::limits::CONFIG_BYTES_MAX;
use crate::limits::fleet::CHANGE_TRIES;
use crate::snapshot::ConfigStamp;
use crate::store::{AuditEntry, Store};
use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// A change of configuration as it was asked for; the default reads again where the last one came from.
#[derive(Default)]
pub struct Change {
    /// A configuration that was pushed.
    pub pushed: Option<Offer>,
    /// How long to watch it, instead of what it says itself; zero: not at all.
    pub watch: Option<Duration>,
}

/// What becomes of keys and tenants where a configuration is put live.
pub(super) enum Estate<'a> {
    /// They are brought in step with it, and the audit log says who did what.
    Settled { who: &'a str, what: &'a str, ending: Ending },
    /// Another machine has done so.
    AsItIs,
}

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// Whether anything changed; the same content twice changes nothing.
    pub changed: bool,
    /// The live configuration's version.
    pub version: u64,
    /// Hex of the digest of its bytes.
    pub digest: String,
    /// The snapshot that holds it.
    pub generation: u64,
    /// What it probably does not mean, and what waits for a restart.
    pub warnings: Vec<String>,
}

/// Reads a configuration file once (rule C2).
///
/// # Errors
/// [`ControlError::Config`] with every problem.
pub fn read_config(path: &Path) -> Result<(Config, ConfigStamp, Vec<String>), ControlError> {
    let name = path.display().to_string();
    let unreadable = |cause| {
        ControlError::Config(vec![format!(
            "{name}: error: cannot be read ({cause}); check its path, permissions and that it is UTF-8"
        )])
    };
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(CONFIG_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    parse_config(&name, &text)
}

/// Parses the text of a configuration; `name` is for messages.
///
/// # Errors
/// [`ControlError::Config`] with every problem.
pub fn parse_config(name: &str, text: &str) -> Result<(Config, ConfigStamp, Vec<String>), ControlError> {
    if text.len() as u64 > CONFIG_BYTES_MAX {
        let line = format!("{name}: error: longer than {CONFIG_BYTES_MAX} bytes; split or shorten it");
        return Err(ControlError::Config(vec![line]));
    }
    let (config, warnings): (Config, Problems) = Config::parse_with_warnings(name, text, &known::known())?;
    let stamp = stamp(config.version, text);
    let warnings: Vec<String> = warnings.to_string().lines().map(str::to_owned).collect();
    Ok((config, stamp, warnings))
}

/// The tenants that have limits of their own, by name.
fn limited(config: &Config) -> BTreeMap<&TenantId, &TenantLimits> {
    let tenants = config.tenants.iter().map(|tenant| (&tenant.id, &tenant.limits));
    tenants.filter(|(_, limits)| **limits != TenantLimits::default()).collect()
}

/// What names a configuration: its version and the SHA-256 of its text.
pub fn stamp(version: u64, text: impl AsRef<[u8]>) -> ConfigStamp {
    let hash = digest(&SHA256, text.as_ref());
    ConfigStamp { version, digest: hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect() }
}

/// The configuration of a process without a file, from its environment.
///
/// # Errors
/// [`ControlError::Config`] naming the variables that cannot be used.
pub fn sidecar_config(env: &dyn Fn(&str) -> Option<String>) -> Result<(Config, ConfigStamp), ControlError> {
    let config = Config::sidecar(env, &known::known())?;
    let text: String = config.providers.iter().map(|provider| format!("{provider:?}\n")).collect();
    Ok((config, stamp(0, &text)))
}

impl Control {
    /// Applies a configuration: `text`, or the file (or environment) it came from, read again. Keys and certificates that it refers
    /// to are read again too, also when the text is the same. What the API made survives.
    ///
    /// # Errors
    /// [`ControlError::Config`] with every problem; then nothing changed.
    pub fn reload(&mut self, who: &str, text: Option<&str>) -> Result<Reloaded, ControlError> {
        let pushed = text.map(|text| Offer::pushed(text.as_bytes().to_vec(), None));
        self.change_config(who, Change { pushed, watch: None })
    }

    /// The same, with a signature where the configuration was pushed, and on trial where that is asked for.
    ///
    /// # Errors
    /// As [`Control::reload`]; [`ControlError::Conflict`] while another one is on trial.
    pub fn change_config(&mut self, who: &str, change: Change) -> Result<Reloaded, ControlError> {
        let from_file = change.pushed.is_none().then_some(change.watch);
        let mut done = self.try_change(who, change);
        for _ in 1..CHANGE_TRIES {
            match (&done, from_file) {
                // One that was pushed is made again by who pushed it.
                (Err(error), Some(watch)) if error.is_behind() && self.catch_up().is_ok() => {
                    done = self.try_change(who, Change { pushed: None, watch });
                }
                _ => break,
            }
        }
        if let Err(error) = &done
            && !error.is_behind()
        {
            self.standing.refused = self.standing.refused.saturating_add(1);
            self.note(
                "config",
                format!("a configuration was refused: {}", error.lines().first().map_or("", |line| line)),
            );
        }
        done
    }

    fn try_change(&mut self, who: &str, change: Change) -> Result<Reloaded, ControlError> {
        let now = self.now();
        let (mut admitted, bearing) = self.admitted(change.pushed, now)?;
        admitted.warnings.extend(self.waiting_for_restart(&admitted.config));
        let inputs = inputs::gather(&admitted.config, &self.env, self.live.listener.as_ref())?;
        let same = admitted.stamp == self.stamp;
        if same && inputs.fingerprint == self.live.fingerprint && bearing != Bearing::New {
            self.warnings.clone_from(&admitted.warnings);
            return Ok(self.reloaded(false, admitted.warnings));
        }
        self.not_while_on_trial(&admitted.stamp)?;
        if bearing == Bearing::Fleets {
            let warnings = self.take_up(admitted, &inputs)?;
            self.look_at_fleet_config()?;
            self.publish()?;
            return Ok(self.reloaded(true, warnings));
        }
        self.not_taken_back(&admitted.stamp)?;
        let terms = if same { None } else { Terms::of(&admitted.config, change.watch) };
        let trial = terms.map(|terms| self.fallback().map(|fallback| (terms, fallback))).transpose()?;
        let watch_ms = trial.as_ref().map_or(0, |(terms, _)| terms.watch_ms());
        let is_on_trial = trial.is_some() || self.trial.is_on();
        let mut entry = self.standing.entry(&admitted, watch_ms);
        entry.fleet = (bearing == Bearing::New && !is_on_trial).then(|| who.to_owned());
        let Admitted { config, stamp, mut warnings, trust, .. } = admitted;
        let (old, new) = (self.stamp.version, stamp.version);
        let ending = if is_on_trial && self.follows() { Ending::Later } else { Ending::Now };
        let estate = Estate::Settled { who, what: "config.put", ending };
        warnings.extend(self.put_live(config, stamp, &inputs, estate, |store| entry.write(store, now))?);
        self.standing.turn_to(trust);
        self.warnings.clone_from(&warnings);
        self.note("config", format!("configuration version {new} is live (it was {old})"));
        let published = self.publish();
        if let Some((terms, fallback)) = trial {
            self.begin_trial(terms, fallback);
        }
        published?;
        self.look_at_fleet_config()?;
        Ok(self.reloaded(true, warnings))
    }

    /// What was pushed, or what lies where the configuration came from, as far as it may be applied, and whose it is.
    fn admitted(&mut self, pushed: Option<Offer>, now: UnixMillis) -> Result<(Admitted, Bearing), ControlError> {
        let is_pushed = pushed.is_some();
        let offer = match (pushed, &self.place.source) {
            (Some(offer), _) => offer,
            (None, ConfigSource::File(path)) => Offer::read(path, self.standing.trust().is_some())?,
            (None, ConfigSource::Environment) => {
                let (config, stamp) = sidecar_config(&*self.env)?;
                return Ok((Admitted::unsigned(config, stamp), Bearing::Own));
            }
        };
        let admitted = self.standing.admit(offer, self.config.identity.config_id.as_deref(), now)?;
        self.among_others(admitted, is_pushed, now)
    }

    /// Writes a configuration into the store, with what `record` adds, all or nothing, and makes it the one that is published next.
    /// Answers what an owner should know.
    ///
    /// # Errors
    /// What refuses it; then nothing changed.
    pub(super) fn put_live(
        &mut self,
        config: Config,
        stamp: ConfigStamp,
        inputs: &Inputs,
        estate: Estate<'_>,
        record: impl FnOnce(&mut Store) -> Result<(), ControlError>,
    ) -> Result<Vec<String>, ControlError> {
        let now = self.now();
        let catalogue = providers::catalogue(&config)?;
        let configured = configured(&config, inputs, &mut self.trusts, &catalogue, now)?;
        let routes = build::route_table(&config.models, &configured, &catalogue, &self.aliases, now)
            .map_err(|error| ControlError::Config(vec![error]))?;
        let warnings = build::unserved_rules(&config.routing.rules, &routes);
        let (before, after) = (config_mark(&self.stamp), config_mark(&stamp));
        let supply::Applied { notes, touched } = match estate {
            Estate::Settled { who, what, ending } => {
                let target = &stamp.digest;
                let audit = AuditEntry { at: now, tenant: None, who, what, target, before: &before, after: &after };
                supply::apply(means(self), &config, inputs, &configured, (ending, &audit), record)?
            }
            Estate::AsItIs => {
                self.store.all_or_nothing(record)?;
                supply::Applied::default()
            }
        };
        // Access keys hang below the limits of their tenants.
        // Every key of a tenant carries its tenant's limits.
        let whole = self.dirty.access || limited(&self.config) != limited(&config);
        (self.config, self.configured, self.catalogue) = (config, configured, catalogue);
        let (listener, odd_access_keys) = (inputs.listener.clone(), inputs.odd_access_keys);
        let webhook_secrets = inputs.webhook_secrets.clone();
        self.live = Live { fingerprint: inputs.fingerprint, listener, odd_access_keys, webhook_secrets };
        (self.stamp, self.dirty) = (stamp, Dirty { access: whole, ..Dirty::ALL });
        self.touch_access_keys(touched);
        self.note_all("config", notes);
        self.turn_teller();
        Ok(warnings)
    }

    fn reloaded(&self, changed: bool, warnings: Vec<String>) -> Reloaded {
        Reloaded {
            changed,
            version: self.stamp.version,
            digest: self.stamp.digest.clone(),
            generation: self.published.load().generation,
            warnings,
        }
    }

    /// What another configuration says that only a new process can do.
    fn waiting_for_restart(&self, new: &Config) -> Vec<String> {
        let changed = only_at_a_start(&self.config, new);
        changed.map(|key| format!("`{key}` changed; restart igris for it to take effect")).collect()
    }
}

/// The keys that differ of those that are read at a start alone. Machines of a fleet keep their own ([`super::fleetwide::keep_place`]).
pub(super) fn only_at_a_start(old: &Config, new: &Config) -> impl Iterator<Item = &'static str> + use<> {
    let differs = [
        ("server.listen", old.server.listen != new.server.listen),
        ("server.workers", old.server.workers != new.server.workers),
        ("server.io", old.server.io != new.server.io),
        ("server.tls", old.server.tls.is_some() != new.server.tls.is_some()),
        ("admin", old.admin != new.admin),
        ("store.url", old.store != new.store),
        ("vault.root_key", old.root_key != new.root_key),
        ("ledger.durability", old.ledger.durability != new.ledger.durability),
        ("ledger.directory", old.ledger.directory != new.ledger.directory),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key)
}
