//! One configuration for all machines of a fleet.
//!
//! What one machine accepts (the file of a start or a reload, a push, one that passed its trial) is written into a shared table by the very
//! transaction that applies it. The others find it there and make it live by the way of a push: with signatures where keys are pinned,
//! and with all that it refers to read on their own machine. The access keys and provider keys that it brings were stored by who
//! accepted it and come as rows of the estate, so that nothing is stored a second time.
//!
//! | the text of a machine's file is | a start or a reload there |
//! |---|---|
//! | one that the fleet never had; signed: of a higher version | makes it the fleet's |
//! | the fleet's | changes nothing for the others; what it refers to is read again |
//! | one that the fleet has left behind; signed: of a lower version | serves the fleet's and says so; a push goes back deliberately |
//!
//! What only a new process can do stays as the machine's own file has it ([`keep_place`]). A configuration that cannot be live here leaves
//! this machine with what it has: it says so, and tries again with the next one and at its own reload. One that is on trial is its
//! machine's alone, and gives way to one that comes from the others. A sidecar, which has no file, takes no part.

use super::audit::config_mark;
use super::beginning::Beginning;
use super::inputs::{self, Inputs};
use super::reload::Estate;
use super::signed::{Admitted, Entry, Offer};
use super::supply::{self, Ending, Means};
use super::{ConfigSource, Control, ControlError};
use crate::config::Config;
use crate::domain::clock::UnixMillis;
use crate::store::{AuditEntry, FleetConfig, FleetConfigs, Store};
use serde_json::{Value, json};

/// How a text stands to those that the fleet had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It never had this one.
    New,
    /// It is the fleet's.
    Fleets,
    /// It has left it behind.
    Old,
}

/// Whose a configuration is that shall be live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bearing {
    /// This machine's, and it becomes the fleet's.
    New,
    /// This machine's, and nobody else need hear of it: there is nobody, they have it, or it is on trial.
    Own,
    /// The fleet's: what it brings was stored by another machine.
    Fleets,
}

/// Which configuration of a fleet it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) number: u64,
    pub(super) digest: String,
    version: u64,
    at: UnixMillis,
}

/// How this machine stands to the fleet's configuration.
#[derive(Default)]
pub(super) struct Fleetwide {
    /// The fleet's, as far as this machine has looked at it.
    pub(super) known: Option<Head>,
    /// Why it cannot be live here.
    pub(super) refused: Option<String>,
    /// A new file that is live here since a start without the database; it has still to be stored.
    pub(super) owed: Option<Entry>,
}

// === impl Word ===

impl Word {
    /// `version` is that of a signed text. Versions of signed texts grow, so that they say by themselves which is older.
    pub(super) fn of(fleet: &FleetConfigs, digest: &str, version: Option<u64>) -> Self {
        let Some(newest) = &fleet.newest else { return Self::New };
        let is_old = match version {
            Some(version) => newest.version > version,
            None => fleet.older.iter().any(|older| older == digest),
        };
        match (newest.digest == digest, is_old) {
            (true, _) => Self::Fleets,
            (false, true) => Self::Old,
            (false, false) => Self::New,
        }
    }
}

// === impl Head ===

impl Head {
    pub(super) fn of(config: &FleetConfig) -> Self {
        Self { number: config.number, digest: config.digest.clone(), version: config.version, at: config.at }
    }
}

/// The fleet's configuration as an offer, which is judged like any other.
pub(super) fn offer(newest: &FleetConfig) -> Offer {
    let name = format!("the fleet's configuration (number {})", newest.number);
    Offer { name, bytes: newest.text.clone().into_bytes(), signature: newest.signature.clone() }
}

/// What is said where a file is older than the fleet's configuration.
pub(super) fn left_behind(file: &str, newest: &FleetConfig) -> String {
    let (number, version) = (newest.number, newest.version);
    format!(
        "{file} is older than the configuration of the fleet (number {number}, version {version}), which is served; put that one \
         there, or push the old one to go back for all machines (`igris admin config --put`)"
    )
}

/// Leaves a machine what only a new process can change: it is as the machine's own file has it.
pub(super) fn keep_place(config: &mut Config, own: &Config) {
    let (server, mine) = (&mut config.server, own.server.clone());
    (server.listen, server.workers, server.io, server.tls) = (mine.listen, mine.workers, mine.io, mine.tls);
    (config.ledger.durability, config.ledger.directory) = (own.ledger.durability, own.ledger.directory.clone());
    (config.admin, config.store) = (own.admin.clone(), own.store.clone());
    config.root_key = own.root_key.clone();
}

impl Control {
    /// Whether this machine serves what a fleet serves.
    pub(super) fn follows(&self) -> bool {
        self.member.is_some() && matches!(self.place.source, ConfigSource::File(_))
    }

    /// Judges a configuration by what the fleet has. In the place of a file that the fleet has left behind stands the fleet's.
    ///
    /// # Errors
    /// The fleet's is refused here; the store cannot be read.
    pub(super) fn among_others(
        &mut self,
        admitted: Admitted,
        is_pushed: bool,
        now: UnixMillis,
    ) -> Result<(Admitted, Bearing), ControlError> {
        if !self.follows() {
            return Ok((admitted, Bearing::Own));
        }
        let configs = self.store.admin().fleet_configs()?;
        let is_live = admitted.stamp == self.stamp;
        let version = admitted.version.as_ref().map(|version| version.version);
        match (Word::of(&configs, &admitted.stamp.digest, version), configs.newest) {
            (Word::New, _) if is_live && self.trial.is_on() => Ok((admitted, Bearing::Own)),
            (Word::Fleets, _) if is_live => Ok((admitted, Bearing::Own)),
            (Word::Fleets, _) => Ok((admitted, Bearing::Fleets)),
            (Word::Old, Some(newest)) if !is_pushed => {
                let mut fleets = self.standing.admit(offer(&newest), self.config.identity.config_id.as_deref(), now)?;
                keep_place(&mut fleets.config, &admitted.config);
                fleets.warnings.push(left_behind("the file", &newest));
                let bearing = if fleets.stamp == self.stamp { Bearing::Own } else { Bearing::Fleets };
                Ok((fleets, bearing))
            }
            (Word::New | Word::Old, _) => Ok((admitted, Bearing::New)),
        }
    }

    /// Makes live what another machine made the fleet's. What it brings is stored already. A trial here gives way.
    ///
    /// # Errors
    /// What refuses it; then nothing changed.
    pub(super) fn take_up(&mut self, admitted: Admitted, inputs: &Inputs) -> Result<Vec<String>, ControlError> {
        self.not_taken_back(&admitted.stamp)?;
        let now = self.now();
        let entry = self.standing.entry(&admitted, 0);
        let Admitted { config, stamp, mut warnings, trust, .. } = admitted;
        let (old, new) = (self.stamp.version, stamp.version);
        warnings.extend(self.put_live(config, stamp, inputs, Estate::AsItIs, |store| entry.write(store, now))?);
        self.standing.turn_to(trust);
        self.warnings.clone_from(&warnings);
        let why = "another machine changed the fleet's configuration";
        if let Some(version) = self.trial.give_way(false, why, now) {
            self.note("alarm", format!("the trial of configuration version {version} has ended undecided: {why}"));
        }
        self.note("config", format!("configuration version {new} of the fleet is live (it was {old})"));
        Ok(warnings)
    }

    /// Looks at the fleet's configuration, which may be another one by now, and makes it live unless it is. One that cannot be leaves this
    /// machine as it is.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn follow_config(&mut self) -> Result<(), ControlError> {
        if !self.follows() {
            return Ok(());
        }
        let Some(newest) = self.store.admin().fleet_configs()?.newest else { return Ok(()) };
        let head = Head::of(&newest);
        if self.fleetwide.known.as_ref() == Some(&head) {
            return Ok(());
        }
        let former = std::mem::replace(&mut self.fleetwide, Fleetwide { known: Some(head), ..Fleetwide::default() });
        if newest.digest == self.stamp.digest {
            return self.passed_elsewhere(&newest.digest);
        }
        if former.owed.is_some() {
            self.note("alarm", left_behind("the file that this machine started with", &newest));
        }
        if let Err(error) = self.take_up_newest(&newest) {
            let why = error.lines().first().cloned().unwrap_or_default();
            self.note(
                "alarm",
                format!(
                    "the fleet's configuration (number {}, version {}) cannot be served here and version {} stays: {why}; repair that and \
                     reload",
                    newest.number, newest.version, self.stamp.version
                ),
            );
            self.standing.refused = self.standing.refused.saturating_add(1);
            self.fleetwide.refused = Some(error.lines().join("\n"));
        }
        Ok(())
    }

    /// What is on trial here is everybody's by now.
    fn passed_elsewhere(&mut self, digest: &str) -> Result<(), ControlError> {
        let now = self.now();
        if self.trial.give_way(true, "another machine made it the fleet's", now).is_some() {
            self.store.all_or_nothing(|store| store.admin().confirm_config(digest))?;
        }
        Ok(())
    }

    fn take_up_newest(&mut self, newest: &FleetConfig) -> Result<(), ControlError> {
        let line = self.config.identity.config_id.as_deref();
        let mut admitted = self.standing.admit(offer(newest), line, self.now())?;
        keep_place(&mut admitted.config, &self.config);
        let inputs = inputs::gather(&admitted.config, &self.env, self.live.listener.as_ref())?;
        self.take_up(admitted, &inputs).map(drop)
    }

    /// After a change here: what the fleet's configuration is now, and that it is live if it is.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn look_at_fleet_config(&mut self) -> Result<(), ControlError> {
        if !self.follows() {
            return Ok(());
        }
        self.fleetwide.known = self.store.admin().fleet_configs()?.newest.as_ref().map(Head::of);
        if self.serves_fleets() {
            (self.fleetwide.refused, self.fleetwide.owed) = (None, None);
        }
        Ok(())
    }

    /// Whether one that is on trial here is to be everybody's once it has passed.
    pub(super) fn is_canary(&self) -> bool {
        self.follows() && self.fleetwide.refused.is_none()
    }

    /// One that was on trial here has passed: what it leaves out ends now, and all machines get it.
    ///
    /// # Errors
    /// As a change of configuration; then it is on trial still.
    pub(super) fn confirm_for_all(&mut self, who: &str, digest: &str) -> Result<(), ControlError> {
        let inputs = inputs::gather(&self.config, &self.env, self.live.listener.as_ref())?;
        let text = self.store.admin().config_history()?.live.filter(|live| live.digest == digest);
        let notes = self.settle_estate(&inputs, who, "config.confirm", |store, now| {
            store.admin().confirm_config(digest)?;
            text.map_or(Ok(()), |text| Ok(store.admin().put_fleet_config(&text, who, now)?))
        })?;
        self.note_all("config", notes);
        self.look_at_fleet_config()
    }

    /// Whether the store may be brought in step with what is live here: not where the fleet serves something else.
    pub(super) fn may_restore(&self) -> bool {
        !self.follows() || self.fleetwide.known.is_none() || self.serves_fleets()
    }

    fn serves_fleets(&self) -> bool {
        self.fleetwide.known.as_ref().is_some_and(|known| known.digest == self.stamp.digest)
    }

    /// Stores what a start without the database could not, once this machine knows all that was changed meanwhile. If another machine
    /// brought a configuration since, there is nothing to store: that one counts.
    pub(super) fn pay_owed(&mut self) {
        if self.fleetwide.owed.is_none() || !self.is_up_to_date() {
            return;
        }
        let Some(entry) = self.fleetwide.owed.take() else { return };
        match self.store_owed(&entry) {
            Ok(()) => self.note("config", "the configuration of this machine's file is the fleet's now"),
            Err(error) if error.is_behind() || error.is_alone() => self.fleetwide.owed = Some(entry),
            Err(error) => {
                self.note("alarm", format!("the configuration of this machine's file could not be stored: {error}"))
            }
        }
    }

    fn is_up_to_date(&self) -> bool {
        let generation = self.shared_generation();
        self.standing_of_fleet().is_some_and(|standing| standing.is_reachable && standing.generation == generation)
    }

    fn store_owed(&mut self, entry: &Entry) -> Result<(), ControlError> {
        let inputs = inputs::gather(&self.config, &self.env, self.live.listener.as_ref())?;
        let applied = self.settle_estate(&inputs, "start", "config.load", |store, now| entry.write(store, now))?;
        self.note_all("config", applied);
        self.look_at_fleet_config()
    }

    /// Brings the estate in step with the live configuration, which is everybody's from now on.
    ///
    /// # Errors
    /// The first refusal; then nothing changed.
    pub(super) fn settle_estate(
        &mut self,
        inputs: &Inputs,
        who: &str,
        what: &str,
        record: impl FnOnce(&mut Store, UnixMillis) -> Result<(), ControlError>,
    ) -> Result<Vec<String>, ControlError> {
        let now = self.now();
        let (mark, target) = (config_mark(&self.stamp), self.stamp.digest.clone());
        let audit = AuditEntry { at: now, tenant: None, who, what, target: &target, before: &mark, after: &mark };
        let Self { store, keyring, entropy, config, configured, .. } = self;
        let means = Means { store, keyring, entropy: &mut **entropy, now };
        let record = |store: &mut Store| record(store, now);
        let applied = supply::apply(means, config, inputs, configured, (Ending::Now, &audit), record)?;
        self.touch_access_keys(applied.touched);
        self.dirty.credentials = true;
        Ok(applied.notes)
    }

    /// Whether the fleet's configuration cannot be live here.
    pub(super) fn is_fleet_config_refused(&self) -> bool {
        self.fleetwide.refused.is_some()
    }

    /// The fleet's configuration and how this machine stands to it; null where there is none, and for a sidecar.
    pub(super) fn fleet_config_status(&self) -> Value {
        let Some(known) = self.fleetwide.known.as_ref().filter(|_| self.follows()) else { return Value::Null };
        let here = match &self.fleetwide {
            Fleetwide { refused: Some(_), .. } => "refused",
            Fleetwide { owed: Some(_), .. } => "not_stored",
            _ if self.serves_fleets() => "applied",
            _ if self.trial.is_on() => "on_trial",
            _ => "another",
        };
        json!({
            "number": known.number,
            "digest": known.digest,
            "version": known.version,
            "since": known.at.to_rfc3339(),
            "here": here,
            "trouble": self.fleetwide.refused,
        })
    }
}

impl Fleetwide {
    /// As a start leaves it. `is_owed`: its new file could not be stored.
    pub(super) fn begun(beginning: &mut Beginning, is_owed: bool) -> Self {
        let owed = is_owed.then(|| std::mem::take(&mut beginning.entry));
        Self { known: beginning.known.take(), refused: beginning.refused.take(), owed }
    }
}
