//! Which configuration a start serves: the file, unless the store knows that it was taken back or that a newer one was accepted.
//!
//! Decided before the store is taken, because the command line's other half (addresses, cores, certificates) follows from it. What is
//! decided here is written down, and judged once more by its version, when the control plane opens.
//!
//! | the file | what is served |
//! |---|---|
//! | was taken back after a failed trial | the newest good configuration of the store, loudly |
//! | is signed, and older than one that was accepted (by push) | that one, from the store |
//! | was on trial when the process ended | the file, and its trial begins again |
//! | is one that the fleet has left behind | the fleet's, with this machine's own place: [`super::fleetwide`] |
//! | anything else that is admitted | the file |

use super::ControlError;
use super::fleetwide::{self, Word, keep_place};
use super::signed::{Admitted, Entry, Guard, Offer, Standing};
use super::trial::Terms;
use crate::config::{Config, Store as StorePlace};
use crate::domain::clock::UnixMillis;
use crate::snapshot::ConfigStamp;
use crate::store::{ConfigHistory, Store, StoredText, TextState};
use crate::vault::signature::{SignatureError, TrustSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a start serves.
pub struct Chosen {
    /// The configuration.
    pub config: Config,
    /// Its version and digest.
    pub stamp: ConfigStamp,
    /// What it probably does not mean.
    pub warnings: Vec<String>,
    /// What the control plane has to know and to write down.
    pub footing: Footing,
}

/// What the control plane stands on from its first moment; the default asks for no signatures and keeps no text.
#[derive(Default)]
pub struct Footing {
    pub(super) standing: Standing,
    pub(super) entry: Entry,
    pub(super) resumed: Option<Resumed>,
    pub(super) origin: Origin,
    /// The file, where the fleet's stands in its place.
    pub(super) beside: Option<Box<Beside>>,
    pub(super) notes: Vec<String>,
}

/// A file that the fleet has left behind.
pub(super) struct Beside {
    pub(super) file: Admitted,
    /// What is said of it.
    pub(super) note: String,
}

/// Where a start has its configuration from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Origin {
    /// The file, or the environment.
    #[default]
    File,
    /// The store: it was live once, and is nobody's new wish.
    Store,
}

/// A trial that a restart interrupted.
pub(super) struct Resumed {
    pub(super) terms: Terms,
    /// What to go back to.
    pub(super) config: Config,
    pub(super) stamp: ConfigStamp,
    pub(super) trust: Option<TrustSet>,
}

/// Where the store lies unless the configuration says otherwise.
pub(super) fn store_path(config: &Config, data_dir: &Path) -> PathBuf {
    match &config.store {
        StorePlace::Sqlite(Some(path)) => path.clone(),
        // Of a database the copy lies here.
        StorePlace::Sqlite(None) | StorePlace::Database(_) => data_dir.join("igris.db"),
    }
}

/// Chooses between the file and what the store knows.
///
/// # Errors
/// [`ControlError::Config`]: neither may be served.
pub fn choose(path: &Path, data_dir: &Path, guard: Guard, now: UnixMillis) -> Result<Chosen, ControlError> {
    let pinned = guard.pins.is_some();
    let offer = Offer::read(path, pinned)?;
    // Where signatures count, what was accepted before lies where no configuration can move it: one that named another store would
    // begin without any past (rule C3).
    let own = data_dir.join("igris.db");
    let mut history = if pinned { Store::config_history_of(&own)? } else { ConfigHistory::default() };
    let in_force = guard.pins.as_ref().map(|pins| in_force(&history, pins)).transpose()?;
    let latest = history.latest.unwrap_or_default();
    let standing = Standing::new(guard, in_force, latest);
    // What was live before keys were pinned was accepted by nobody.
    history.live = history.live.filter(|live| !pinned || live.trust.is_some());
    let line = history.live.as_ref().and_then(|live| live.config_id.clone());
    let digest = offer.digest();
    let admitted = if pinned {
        // What was taken back may have expired since, or be signed by keys that are trusted no more: it is not going to be served.
        let is_back = history.reverted.iter().any(|reverted| reverted.digest == digest);
        if is_back { None } else { Some(standing.admit(offer, line.as_deref(), now)?) }
    } else {
        let admitted = standing.admit(offer, None, now)?;
        history = Store::config_history_of(&store_path(&admitted.config, data_dir))?;
        Some(admitted)
    };
    let chosen = Choosing { path, standing, history, now }.between(admitted, &digest)?;
    if pinned && absolute(&store_path(&chosen.config, data_dir)) != absolute(&own) {
        return Err(ControlError::Config(vec![format!(
            "{}: error: `store.url` leads out of the data directory (rule C3: with --trust-key the store may not be moved by \
             what it judges); remove it, or move --data-dir",
            path.display()
        )]));
    }
    Ok(chosen)
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The keys that grew from these pins. Pins that name exactly the keys in force begin anew from there.
fn in_force(history: &ConfigHistory, pins: &TrustSet) -> Result<TrustSet, ControlError> {
    let Some(stored) = &history.trust else { return Ok(pins.clone()) };
    if stored.in_force == pins.line() {
        return Ok(pins.clone());
    }
    let damaged = |error: SignatureError| ControlError::Config(vec![format!("the store's trusted keys: {error}")]);
    if stored.pins == pins.line() {
        return TrustSet::from_line(&stored.in_force).map_err(damaged);
    }
    let known = TrustSet::from_line(&stored.in_force).map_err(damaged)?;
    let ids: Vec<String> = known.keys().iter().map(|key| key.id().to_string()).collect();
    Err(ControlError::Config(vec![format!(
        "--trust-key: the store trusts {} of {} and was not pinned to what is given (rule C3); give those keys, or pin anew with \
         `igris sign repin`",
        known.threshold(),
        ids.join(", ")
    )]))
}

struct Choosing<'a> {
    path: &'a Path,
    standing: Standing,
    history: ConfigHistory,
    now: UnixMillis,
}

impl Choosing<'_> {
    fn between(mut self, file: Option<Admitted>, digest: &str) -> Result<Chosen, ControlError> {
        let path = self.path.display();
        if let Some(back) = self.history.reverted.iter().find(|reverted| reverted.digest == digest) {
            let at = back.at.to_rfc3339();
            let note = format!("{path} was taken back at {at} ({}); repair it and give it a higher version", back.why);
            return match self.history.good.clone() {
                Some(good) => self.stored(good, note, file.as_ref()),
                None => Err(ControlError::Config(vec![format!("{path}: error: {note}")])),
            };
        }
        let file = file.ok_or_else(|| ControlError::Invalid(format!("{path} was not judged; start again")))?;
        let newer = self.history.live.clone().filter(|live| {
            file.version.is_some() && live.version > file.stamp.version && live.digest != file.stamp.digest
        });
        if let Some(live) = newer {
            let (old, new) = (file.stamp.version, live.version);
            let note = format!("{path} is version {old} and version {new} was accepted; put that one there");
            return self.stored(live, note, Some(&file));
        }
        match self.fleets(&file) {
            Some((fleets, note)) => {
                let mut chosen = self.settled(fleets, Vec::new(), Origin::Store);
                chosen.footing.beside = Some(Box::new(Beside { file, note }));
                Ok(chosen)
            }
            None => Ok(self.settled(file, Vec::new(), Origin::File)),
        }
    }

    /// What the fleet serves, as far as this machine's copy knows, if it has left the file behind. What cannot be served of it is told
    /// once the copy is up to date.
    fn fleets(&mut self, file: &Admitted) -> Option<(Admitted, String)> {
        if !matches!(file.config.store, StorePlace::Database(_)) {
            return None;
        }
        let version = file.version.as_ref().map(|version| version.version);
        let word = Word::of(&self.history.fleet, &file.stamp.digest, version);
        let newest = self.history.fleet.newest.take().filter(|_| word == Word::Old)?;
        let line = file.config.identity.config_id.as_deref();
        let mut fleets = self.standing.admit(fleetwide::offer(&newest), line, self.now).ok()?;
        keep_place(&mut fleets.config, &file.config);
        let note = fleetwide::left_behind(&self.path.display().to_string(), &newest);
        Some((fleets, note))
    }

    /// Serves a text of the store, which must still hold. In a fleet the place of the machine is as its file has it.
    fn stored(self, text: StoredText, note: String, file: Option<&Admitted>) -> Result<Chosen, ControlError> {
        let name = format!("version {} from the store", text.version);
        let offer = Offer { name: name.clone(), bytes: text.text.into_bytes(), signature: text.signature };
        let mut admitted = self.standing.admit(offer, text.config_id.as_deref(), self.now)?;
        if let Some(file) = file.filter(|file| matches!(file.config.store, StorePlace::Database(_))) {
            keep_place(&mut admitted.config, &file.config);
        }
        let notes = vec![format!("{note}; serving {name}")];
        Ok(self.settled(admitted, notes, Origin::Store))
    }

    fn settled(self, admitted: Admitted, mut notes: Vec<String>, origin: Origin) -> Chosen {
        let on_trial = |live: &&StoredText| live.state == TextState::Trial && live.digest == admitted.stamp.digest;
        let resumed = self.history.live.as_ref().filter(on_trial).and_then(|live| {
            let watch = Duration::from_millis(live.watch_ms);
            let terms = Terms::of(&admitted.config, Some(watch))?;
            let resumed = self.resumed(terms);
            if resumed.is_none() {
                notes.push("the configuration was on trial, and there is none to go back to; it stays".to_owned());
            }
            resumed
        });
        if self.standing.trust().is_none() && self.history.trust.is_some() {
            notes.push("signatures are not asked for any more: --trust-key is missing".to_owned());
        }
        let entry = self.standing.entry(&admitted, 0);
        let mut standing = self.standing;
        standing.turn_to(admitted.trust);
        let Admitted { config, stamp, warnings, .. } = admitted;
        let footing = Footing { standing, entry, resumed, origin, beside: None, notes };
        Chosen { config, stamp, warnings, footing }
    }

    /// What to go back to; its own keys are trusted for it.
    fn resumed(&self, terms: Terms) -> Option<Resumed> {
        let good = self.history.good.as_ref()?;
        let trust = good.trust.as_deref().map(TrustSet::from_line).transpose().ok()?;
        let known = crate::control_plane::known();
        let config = Config::parse("the last good configuration", &good.text, &known).ok()?;
        let stamp = super::reload::stamp(good.version, &good.text);
        Some(Resumed { terms, config, stamp, trust })
    }
}
