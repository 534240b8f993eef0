//! The configuration that a start makes live: what was chosen before the store was open ([`super::choice`]), with all that it refers to,
//! judged once more by what the fleet has by now.

use super::audit::config_mark;
use super::choice::{Beside, Footing, Origin, Resumed};
use super::fleetwide::{self, Bearing, Head, Word, keep_place};
use super::inputs::{self, Environment, Inputs};
use super::providers::{self, Configured, Trusts};
use super::signed::{Admitted, Entry, Standing, refuse_taken_back};
use super::start::configured;
use super::supply::{self, Applied, Ending, Means};
use super::{ConfigSource, ControlError, build};
use crate::config::Config;
use crate::domain::clock::UnixMillis;
use crate::providers::Catalogue;
use crate::providers::aliases::Aliases;
use crate::snapshot::{ConfigStamp, RouteTable};
use crate::store::{AuditEntry, FleetConfig, FleetConfigs, Store};
use std::sync::Arc;

/// A configuration with everything that it refers to, read and good.
pub(super) struct Prepared {
    pub(super) config: Config,
    pub(super) stamp: ConfigStamp,
    pub(super) inputs: Inputs,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) configured: Vec<Configured>,
    pub(super) routes: RouteTable,
    /// Rules whose model nobody serves.
    pub(super) unserved: Vec<String>,
}

/// What configurations are prepared with.
pub(super) struct Around<'a> {
    pub(super) env: &'a Environment,
    pub(super) aliases: &'a Aliases,
    pub(super) trusts: &'a mut Trusts,
    pub(super) now: UnixMillis,
}

/// The configuration of a start until it is live.
pub(super) struct Beginning {
    pub(super) prepared: Prepared,
    pub(super) standing: Standing,
    pub(super) entry: Entry,
    pub(super) resumed: Option<Resumed>,
    pub(super) origin: Origin,
    /// Whether this machine serves what a fleet serves.
    pub(super) follows: bool,
    /// The fleet's, as it was judged by.
    pub(super) known: Option<Head>,
    /// Why the fleet's cannot be live here.
    pub(super) refused: Option<String>,
    pub(super) bearing: Bearing,
    /// What an owner should hear of.
    pub(super) notes: Vec<String>,
}

// === impl Prepared ===

impl Prepared {
    /// Reads all of it.
    ///
    /// # Errors
    /// [`ControlError::Config`] with every fault.
    pub(super) fn of(config: Config, stamp: ConfigStamp, around: &mut Around<'_>) -> Result<Self, ControlError> {
        let catalogue = providers::catalogue(&config)?;
        let inputs = inputs::gather(&config, around.env, None)?;
        let configured = configured(&config, &inputs, around.trusts, &catalogue, around.now)?;
        let routes = build::route_table(&config.models, &configured, &catalogue, around.aliases, around.now)
            .map_err(|error| ControlError::Config(vec![error]))?;
        let unserved = build::unserved_rules(&config.routing.rules, &routes);
        Ok(Self { config, stamp, inputs, catalogue, configured, routes, unserved })
    }
}

// === impl Beginning ===

impl Beginning {
    /// Reads what was chosen. If that is the fleet's out of this machine's copy and cannot be had, the file stands in for it.
    ///
    /// # Errors
    /// [`ControlError::Config`] with every fault.
    pub(super) fn of(
        (config, stamp): (Config, ConfigStamp),
        footing: Footing,
        source: &ConfigSource,
        around: &mut Around<'_>,
    ) -> Result<Self, ControlError> {
        let Footing { mut standing, mut entry, resumed, origin, beside, mut notes } = footing;
        let prepared = match (Prepared::of(config, stamp, around), beside.map(|beside| *beside)) {
            (Err(_), Some(Beside { file, .. })) => {
                entry = standing.entry(&file, 0);
                standing.turn_to(file.trust);
                Prepared::of(file.config, file.stamp, around)?
            }
            (prepared, beside) => {
                notes.extend(beside.map(|beside| beside.note));
                prepared?
            }
        };
        let follows = matches!(source, ConfigSource::File(_));
        let (known, refused, bearing) = (None, None, Bearing::Own);
        Ok(Self { prepared, standing, entry, resumed, origin, follows, known, refused, bearing, notes })
    }

    /// Makes the store say what the configuration says, unless it is the fleet's word that counts and cannot be had here. It may be
    /// called again after news: everything is judged anew.
    ///
    /// # Errors
    /// The first refusal; then nothing changed in the store.
    pub(super) fn settle(&mut self, means: Means<'_>, around: &mut Around<'_>) -> Result<Applied, ControlError> {
        let Means { store, keyring, entropy, now } = means;
        if self.follows {
            let configs = store.admin().fleet_configs()?;
            self.bearing = self.judge(configs, store, around)?;
        }
        self.entry.fleet = (self.bearing == Bearing::New).then(|| "start".to_owned());
        let Self { entry, prepared: Prepared { config, stamp, inputs, configured, .. }, .. } = &*self;
        if self.bearing == Bearing::Fleets {
            // What the estate holds is what the fleet's own brought. Nothing of this one belongs there.
            store.all_or_nothing(|store| entry.write(store, now))?;
            return Ok(Applied::default());
        }
        let (version, what, target) = (config_mark(stamp), "config.load", stamp.digest.as_str());
        let audit = AuditEntry { at: now, tenant: None, who: "start", what, target, before: "", after: &version };
        let is_on_trial = self.follows && self.resumed.is_some();
        let ending = if is_on_trial { Ending::Later } else { Ending::Now };
        let means = Means { store, keyring, entropy, now };
        supply::apply(means, config, inputs, configured, (ending, &audit), |store| {
            entry.write(store, now)?;
            // It may have passed its trial on another machine.
            if self.follows && !is_on_trial {
                store.admin().confirm_config(&stamp.digest)?;
            }
            Ok(())
        })
    }

    fn judge(
        &mut self,
        configs: FleetConfigs,
        store: &mut Store,
        around: &mut Around<'_>,
    ) -> Result<Bearing, ControlError> {
        (self.known, self.refused) = (configs.newest.as_ref().map(Head::of), None);
        let version = self.entry.version.as_ref().map(|version| version.version);
        let word = Word::of(&configs, &self.prepared.stamp.digest, version);
        let Some(newest) = configs.newest else {
            return Ok(if self.resumed.is_some() { Bearing::Own } else { Bearing::New });
        };
        // One on trial goes on with it as long as what it would go back to is the fleet's.
        if self.resumed.as_ref().is_some_and(|resumed| resumed.stamp.digest == newest.digest) {
            return Ok(Bearing::Own);
        }
        // Or it passed on another machine, or the fleet has gone on.
        let was_on_trial = self.resumed.take().is_some();
        match (word, self.origin) {
            (Word::Fleets, _) => return Ok(Bearing::Own),
            (Word::New, Origin::File) if !was_on_trial => return Ok(Bearing::New),
            _ => {}
        }
        if let Err(error) = self.take(&newest, store, around) {
            let why = error.lines();
            self.notes.push(format!(
                "the fleet's configuration (number {}, version {}) cannot be served here: {}; repair that and reload",
                newest.number,
                newest.version,
                why.first().map_or("", String::as_str)
            ));
            self.refused = Some(why.join("\n"));
            return Ok(Bearing::Fleets);
        }
        Ok(Bearing::Own)
    }

    /// Puts the fleet's in the place of what was chosen.
    fn take(&mut self, newest: &FleetConfig, store: &mut Store, around: &mut Around<'_>) -> Result<(), ControlError> {
        let line = self.prepared.config.identity.config_id.as_deref();
        let mut admitted = self.standing.admit(fleetwide::offer(newest), line, around.now)?;
        refuse_taken_back(store, &admitted.stamp)?;
        keep_place(&mut admitted.config, &self.prepared.config);
        let entry = self.standing.entry(&admitted, 0);
        let Admitted { config, stamp, trust, .. } = admitted;
        self.prepared = Prepared::of(config, stamp, around)?;
        self.entry = entry;
        self.standing.turn_to(trust);
        if self.origin == Origin::File {
            self.notes.push(fleetwide::left_behind("the file", newest));
        }
        Ok(())
    }
}
