//! What a configuration must show before it is parsed, and what it must say of itself after (rules C1 to C5).
//!
//! ```text
//!  bytes, read once --enough trusted keys?--> text --parse--> identity: line, version, expiry, fleet, next keys --> may be applied
//! ```
//!
//! Without a pinned key nothing is asked for. With one, every file, reload and push goes through [`Standing::admit`], and what is
//! accepted is written down by [`Entry::write`] in the transaction that applies it, before it is published (rule C3).

use super::reload::{parse_config, stamp};
use super::{Control, ControlError};
use crate::config::Config;
use crate::domain::clock::UnixMillis;
use crate::limits::{
    CLOCK_LEAP_NOTED, CLOCK_MARK_EVERY, CONFIG_BYTES_MAX, CONFIG_VERSION_LEAP_MAX, SIGNATURE_BYTES_MAX,
};
use crate::snapshot::ConfigStamp;
use crate::store::{Accepted, ConfigVersion, Store, StoredText, StoredTrust, TextState};
use crate::vault::signature::{PublicKey, SignatureError, Signatures, TrustSet, Verified};
use aws_lc_rs::digest::{SHA512, digest};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What the command line says of trust.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Who must have signed; `None`: nobody.
    pub pins: Option<TrustSet>,
    /// What this gateway's fleet is called. A configuration cannot say so itself: it is what is being judged.
    pub fleet: Option<String>,
}

/// A configuration as it came.
#[derive(Clone)]
pub struct Offer {
    /// What messages call it.
    pub name: String,
    /// The file, not yet looked into.
    pub bytes: Vec<u8>,
    /// The text of its `.minisig`.
    pub signature: Option<String>,
}

/// A configuration that may be applied.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) config: Config,
    pub(super) stamp: ConfigStamp,
    pub(super) warnings: Vec<String>,
    /// The file; `None` for the environment.
    pub(super) text: Option<String>,
    pub(super) signature: Option<String>,
    /// Its place among the accepted ones, where signatures are asked for.
    pub(super) version: Option<ConfigVersion>,
    /// Whom to trust once it is live.
    pub(super) trust: Option<TrustSet>,
}

/// What applying a configuration writes down.
#[derive(Default)]
pub(super) struct Entry {
    /// Who brought it, where it becomes the fleet's.
    pub(super) fleet: Option<String>,
    pub(super) text: Option<StoredText>,
    pub(super) version: Option<ConfigVersion>,
    pub(super) trust: Option<StoredTrust>,
}

/// Whom the gateway trusts, and the clock by which it judges.
#[derive(Debug, Default)]
pub(super) struct Standing {
    guard: Guard,
    in_force: Option<TrustSet>,
    clock: WallClock,
    /// Whether it was said that the live configuration has expired.
    told_expired: bool,
    /// Configurations refused since start.
    pub(super) refused: u64,
}

/// A wall clock that never runs backwards, also over restarts (rule L9).
#[derive(Debug, Default)]
struct WallClock {
    latest: UnixMillis,
    /// What the store knows.
    marked: UnixMillis,
    seen: Option<(UnixMillis, Instant)>,
}

// === impl Guard ===

impl Guard {
    /// From `--trust-key`, `--trust-threshold` and `--fleet-label`. A key is its 56 characters, or a file that holds it.
    ///
    /// # Errors
    /// [`ControlError::Config`] naming what cannot be used.
    pub fn read(keys: &[String], threshold: Option<usize>, fleet: Option<String>) -> Result<Self, ControlError> {
        let refused = |what: String| ControlError::Config(vec![what]);
        if keys.is_empty() && threshold.is_some() {
            return Err(refused("--trust-threshold counts keys and there are none; add --trust-key".to_owned()));
        }
        let read = keys.iter().map(|key| public_key(key).map_err(|error| refused(format!("--trust-key: {error}"))));
        let keys = read.collect::<Result<Vec<_>, _>>()?;
        let trust = (!keys.is_empty()).then(|| TrustSet::new(keys, threshold)).transpose();
        Ok(Self { pins: trust.map_err(|error| refused(format!("--trust-key: {error}")))?, fleet })
    }
}

/// A public key by its text, or by the path of a file with it.
///
/// # Errors
/// It is neither.
pub fn public_key(typed: &str) -> Result<PublicKey, SignatureError> {
    if let Ok(key) = PublicKey::parse(typed) {
        return Ok(key);
    }
    let mut text = String::new();
    let file = File::open(typed).map_err(|_| SignatureError::Key)?;
    file.take(SIGNATURE_BYTES_MAX as u64).read_to_string(&mut text).map_err(|_| SignatureError::Key)?;
    PublicKey::parse(&text)
}

// === impl Admitted ===

impl Admitted {
    /// What the environment says: it has no file, and nothing to sign.
    pub(super) fn unsigned(config: Config, stamp: ConfigStamp) -> Self {
        Self { config, stamp, warnings: Vec::new(), text: None, signature: None, version: None, trust: None }
    }
}

// === impl Offer ===

impl Offer {
    /// What came over the admin socket.
    pub fn pushed(bytes: Vec<u8>, signature: Option<String>) -> Self {
        Self { name: "pushed configuration".to_owned(), bytes, signature }
    }

    /// Reads a file through one open descriptor, and where signatures are asked for the one beside it, if there is one (rule C2).
    ///
    /// # Errors
    /// [`ControlError::Config`]: it cannot be read, or is too large.
    pub(super) fn read(path: &Path, is_guarded: bool) -> Result<Self, ControlError> {
        let name = path.display().to_string();
        let bytes = bounded(path, CONFIG_BYTES_MAX).map_err(|cause| {
            let what = format!("{name}: error: cannot be read ({cause}); check its path and permissions");
            ControlError::Config(vec![what])
        })?;
        if !is_guarded {
            return Ok(Self { name, bytes, signature: None });
        }
        let beside = signature_path(path);
        let signature = match bounded(&beside, SIGNATURE_BYTES_MAX as u64) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => None,
            Err(cause) => {
                let beside = beside.display();
                return Err(ControlError::Config(vec![format!(
                    "{beside}: error: cannot be read ({cause}); check its permissions and that it is a signature"
                )]));
            }
        };
        Ok(Self { name, bytes, signature })
    }

    /// SHA-256 of the file in hexadecimal digits.
    pub(super) fn digest(&self) -> String {
        stamp(0, &self.bytes).digest
    }
}

/// Where the signature of a file is: `FILE.minisig`, as the stock tool has it.
pub fn signature_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".minisig");
    PathBuf::from(name)
}

/// One byte more than allowed shows that a file is too large.
fn bounded(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(std::io::Error::other(format!("it is larger than {most} bytes"))),
        false => Ok(bytes),
    }
}

// === impl Standing ===

impl Standing {
    /// By a guard, with the trust that grew from its pins and the latest wall time that the store knows.
    pub(super) fn new(guard: Guard, in_force: Option<TrustSet>, latest: UnixMillis) -> Self {
        let clock = WallClock { latest, marked: latest, seen: None };
        Self { guard, in_force, clock, told_expired: false, refused: 0 }
    }

    /// Whose signatures are asked for.
    pub(super) fn trust(&self) -> Option<&TrustSet> {
        self.in_force.as_ref()
    }

    /// Judges an offer. `live` is the line of the configuration that runs, which no other may replace; `now` is the wall clock.
    ///
    /// # Errors
    /// [`ControlError::Config`] with the rule that it breaks and what to do, or every problem of its text.
    pub(super) fn admit(&self, offer: Offer, live: Option<&str>, now: UnixMillis) -> Result<Admitted, ControlError> {
        let refused = |what: String| ControlError::Config(vec![format!("{}: error: {what}", offer.name)]);
        let signed = match &self.in_force {
            Some(trust) => Some((trust, verified(trust, &offer).map_err(refused)?)),
            None => None,
        };
        // Only now is anything looked into (rule C2).
        let not_text = |_| refused("is not UTF-8; write it as text".to_owned());
        let text = String::from_utf8(offer.bytes.clone()).map_err(not_text)?;
        let (config, stamp, mut warnings) = parse_config(&offer.name, &text)?;
        if let Some(fleet) = self.guard.fleet.as_ref().filter(|fleet| config.identity.not_for.contains(fleet)) {
            return Err(refused(format!(
                "`not_for` names this fleet, `{fleet}` (rule C1); sign one that is meant for it"
            )));
        }
        let (mut version, mut trust) = (None, None);
        if let Some((in_force, verified)) = signed {
            version = Some(self.identity(&config, &verified, &offer, live, now).map_err(refused)?);
            trust = Some(next_trust(in_force, &config, &offer).map_err(refused)?);
        } else if config.trust.is_some() {
            warnings.push(format!("{}: warning: `[trust]` does nothing without --trust-key", offer.name));
        }
        let Offer { signature, .. } = offer;
        Ok(Admitted { config, stamp, warnings, text: Some(text), signature, version, trust })
    }

    /// Whether a signed configuration is meant for us and for now.
    fn identity(
        &self,
        config: &Config,
        verified: &Verified,
        offer: &Offer,
        live: Option<&str>,
        now: UnixMillis,
    ) -> Result<ConfigVersion, String> {
        let identity = &config.identity;
        let Some(config_id) = identity.config_id.clone() else {
            return Err("a signed configuration has no `config_id` (rule C1); add one and sign it again".to_owned());
        };
        if config.version == 0 {
            return Err("a signed configuration has no `version` (rule C3); add one and sign it again".to_owned());
        }
        if let Some(live) = live.filter(|live| *live != config_id) {
            return Err(format!(
                "it is `{config_id}` and this gateway runs `{live}` (rule C3: versions count within one line); \
                 sign it as `{live}`, or pin anew with `igris sign repin`"
            ));
        }
        if let Some(other) = verified.purposes.iter().find(|p| p.config_id != config_id || p.version != config.version)
        {
            let (key, id, version) = (other.key, &other.config_id, other.version);
            return Err(format!(
                "key {key} signed `{id}` version {version} and the file says `{config_id}` version {} (rule C1); sign it again",
                config.version
            ));
        }
        let now = now.max(self.clock.latest);
        if let Some(end) = identity.expires_at.filter(|end| *end <= now) {
            return Err(format!(
                "it expired at {} and it is {} (rule C4); sign one with a later `expires_at`, or see to the clock",
                end.to_rfc3339(),
                now.to_rfc3339()
            ));
        }
        Ok(ConfigVersion { config_id, version: config.version, hash: sha512(&offer.bytes) })
    }

    /// From now on this is trusted.
    pub(super) fn turn_to(&mut self, trust: Option<TrustSet>) {
        if self.guard.pins.is_some() {
            self.in_force = trust;
        }
    }

    /// What applying an admitted configuration writes down; `watch_ms` above 0 makes it one on trial.
    pub(super) fn entry(&self, admitted: &Admitted, watch_ms: u64) -> Entry {
        let trust = admitted.trust.as_ref().map(TrustSet::line);
        let text = admitted.text.clone().map(|text| StoredText {
            digest: admitted.stamp.digest.clone(),
            config_id: admitted.config.identity.config_id.clone(),
            version: admitted.stamp.version,
            state: if watch_ms > 0 { TextState::Trial } else { TextState::Good },
            watch_ms,
            text,
            signature: admitted.signature.clone(),
            trust: trust.clone(),
        });
        let trust = trust.and_then(|line| self.stored(line));
        Entry { fleet: None, text, version: admitted.version.clone(), trust }
    }

    /// A trust as the store keeps it: with the pins that it grew from.
    pub(super) fn stored(&self, in_force: String) -> Option<StoredTrust> {
        let pins = self.guard.pins.as_ref()?.line();
        Some(StoredTrust { pins, in_force })
    }
}

/// Whether the trusted keys signed the bytes.
fn verified(trust: &TrustSet, offer: &Offer) -> Result<Verified, String> {
    let Some(text) = &offer.signature else {
        return Err(
            "it is not signed (rule C1: there is no .minisig beside it); sign it with `igris sign sign`".to_owned()
        );
    };
    let signatures = Signatures::parse(text).map_err(|error| format!("{error} (rule C1)"))?;
    trust.verify(&offer.bytes, &signatures).map_err(|error| format!("{error} (rule C5)"))
}

/// Whom to trust next; a change must be signed by those who come, too (rule C5).
fn next_trust(in_force: &TrustSet, config: &Config, offer: &Offer) -> Result<TrustSet, String> {
    let Some(stated) = &config.trust else { return Ok(in_force.clone()) };
    let keys = stated.keys.iter().map(|key| PublicKey::parse(key)).collect::<Result<Vec<_>, _>>();
    let next = keys.and_then(|keys| TrustSet::new(keys, Some(stated.threshold)));
    let next = next.map_err(|error| format!("`[trust]`: {error}"))?;
    if next != *in_force {
        verified(&next, offer).map_err(|error| {
            format!("it changes who is trusted, and those who come must sign it beside those who go: {error}")
        })?;
    }
    Ok(next)
}

fn sha512(bytes: &[u8]) -> [u8; 64] {
    let mut hash = [0; 64];
    hash.copy_from_slice(digest(&SHA512, bytes).as_ref());
    hash
}

// === impl Entry ===

impl Entry {
    /// Writes it down, or refuses for the version's sake (rule C3). What is live already needs no new acceptance.
    ///
    /// # Errors
    /// [`ControlError::Config`] naming the versions; as the store.
    pub(super) fn write(&self, store: &mut Store, now: UnixMillis) -> Result<(), ControlError> {
        let live = store.admin().live_config_digest()?;
        let is_live = self.text.as_ref().is_some_and(|text| live.as_ref() == Some(&text.digest));
        if let Some(offer) = self.version.as_ref().filter(|_| !is_live) {
            let verdict = store.admin().accept_config(offer, now)?;
            let newest = store.admin().newest_config(&offer.config_id)?.map_or(0, |newest| newest.version);
            refusal(verdict, offer, newest).map_or(Ok(()), |line| Err(ControlError::Config(vec![line])))?;
        }
        if let Some(trust) = &self.trust {
            store.admin().put_trust(trust, now)?;
            store.admin().mark_clock(now)?;
        }
        if let Some(text) = &self.text {
            store.admin().put_config_text(text, now)?;
            if let Some(who) = &self.fleet {
                store.admin().put_fleet_config(text, who, now)?;
            }
        }
        Ok(())
    }
}

fn refusal(verdict: Accepted, offer: &ConfigVersion, newest: u64) -> Option<String> {
    let ConfigVersion { config_id, version, .. } = offer;
    let why = match verdict {
        Accepted::New | Accepted::Same => return None,
        Accepted::Older => format!("is older than version {newest}, which was accepted (rule C3)"),
        Accepted::Different => "was accepted with another content (rule C3)".to_owned(),
        Accepted::Leap => {
            let most = newest.saturating_add(CONFIG_VERSION_LEAP_MAX);
            return Some(format!(
                "error: version {version} of `{config_id}` leaps too far (rule C4); sign it as one above {newest} and up to {most}"
            ));
        }
    };
    Some(format!("error: version {version} of `{config_id}` {why}; sign it as a version above {newest}"))
}

// === impl WallClock ===

impl WallClock {
    /// Takes a reading; says so when the clock leapt.
    fn read(&mut self, now: UnixMillis, instant: Instant) -> Option<String> {
        let before = self.seen.replace((now, instant));
        self.latest = self.latest.max(now);
        let (then, at) = before?;
        let passed = u64::try_from(instant.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX);
        let expected = then.0.saturating_add(passed);
        let leap = now.0.abs_diff(expected);
        if u128::from(leap) <= CLOCK_LEAP_NOTED.as_millis() {
            return None;
        }
        let (way, seconds) = (if now.0 > expected { "forward" } else { "back" }, leap / 1_000);
        Some(format!("the wall clock was set {way} by {seconds} s; expiry goes by the latest time seen"))
    }
}

impl Control {
    /// Keeps the clock, and says once when the live configuration has expired: it goes on serving (rule C4).
    pub(super) fn watch_expiry(&mut self, now: UnixMillis, instant: Instant) {
        let leap = self.standing.clock.read(now, instant);
        if self.standing.trust().is_none() {
            return;
        }
        if let Some(leap) = leap {
            self.note("clock", leap);
        }
        let due = self.standing.clock.marked.0.saturating_add(CLOCK_MARK_EVERY.as_millis() as u64);
        let latest = self.standing.clock.latest;
        if latest.0 >= due && self.store.admin().mark_clock(latest).is_ok() {
            self.standing.clock.marked = latest;
        }
        let end = self.config.identity.expires_at.filter(|end| *end <= latest);
        if let Some(end) = end.filter(|_| !self.standing.told_expired) {
            self.note(
                "alarm",
                format!(
                    "the configuration expired at {}; it goes on serving, and no expired one will be loaded: sign and load a newer one",
                    end.to_rfc3339()
                ),
            );
        }
        self.standing.told_expired = end.is_some();
    }

    /// Whether the live configuration, being signed, has expired.
    pub(super) fn has_expired(&self) -> bool {
        self.standing.told_expired
    }

    /// Refuses what failed its trial before.
    ///
    /// # Errors
    /// [`ControlError::Config`] with the reason of then.
    pub(super) fn not_taken_back(&mut self, stamp: &ConfigStamp) -> Result<(), ControlError> {
        refuse_taken_back(&mut self.store, stamp)
    }
}

/// Refuses what failed its trial before.
///
/// # Errors
/// [`ControlError::Config`] with the reason of then.
pub(super) fn refuse_taken_back(store: &mut Store, stamp: &ConfigStamp) -> Result<(), ControlError> {
    match store.admin().reverted_config(&stamp.digest)? {
        Some(reverted) => Err(ControlError::Config(vec![format!(
            "error: this configuration, version {}, was taken back at {} ({}); repair it",
            reverted.version,
            reverted.at.to_rfc3339(),
            reverted.why
        )])),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_noticed_and_never_runs_back() {
        let (start, mut clock) = (Instant::now(), WallClock::default());
        let at = |seconds| start + std::time::Duration::from_secs(seconds);
        let wall = |seconds: u64| UnixMillis(1_800_000_000_000 + seconds * 1_000);
        assert_eq!(clock.read(wall(0), at(0)), None);
        assert_eq!(clock.read(wall(50), at(1)), None, "a step within a minute is no leap");
        assert!(clock.read(wall(200), at(2)).is_some_and(|said| said.contains("forward by 149 s")));
        assert!(clock.read(wall(0), at(3)).is_some_and(|said| said.contains("back by 201 s")));
        assert_eq!(clock.latest, wall(200));
        assert_eq!(clock.read(wall(10), at(13)), None);
    }
}
