//! Another configuration, all or nothing (rule C6): read, parse, gather, build, store, publish. Whatever fails before the store is
//! written changes nothing; the store is written in one transaction.

use super::inputs;
use super::providers;
use super::start::configured;
use super::supply;
use super::{ConfigSource, Control, ControlError, Dirty, Live, build, known, means};
use crate::config::{Config, Durability, Problems};
use crate::limits::CONFIG_BYTES_MAX;
use crate::snapshot::ConfigStamp;
use crate::store::AuditEntry;
use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;
use std::fs::File;
use std::io::Read;
use std::path::Path;

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
    let mut warnings: Vec<String> = warnings.to_string().lines().map(str::to_owned).collect();
    warnings.extend(without_effect(&config).into_iter().map(|what| format!("{name}: warning: {what}")));
    Ok((config, stamp, warnings))
}

/// Settings that promise safety and do nothing in this version: an operator must not rely on them unawares.
fn without_effect(config: &Config) -> Vec<String> {
    let limited = config.access_keys.iter().filter(|key| {
        let limits = &key.limits;
        limits.requests_per_minute.is_some()
            || limits.tokens_per_minute.is_some()
            || limits.concurrent.is_some()
            || limits.budget.is_some()
    });
    let mut said: Vec<String> = limited
        .map(|key| format!("rates and budgets of access key `{}` are kept and not enforced by this version", key.name))
        .collect();
    if config.trust.is_some() {
        said.push("`trust` is kept and signatures are not checked by this version".to_owned());
    }
    if config.durability == Durability::Power {
        said.push("`durability = \"power\"` is kept and usage is not journaled by this version".to_owned());
    }
    said
}

/// What names a configuration: its version and the SHA-256 of its text.
pub fn stamp(version: u64, text: &str) -> ConfigStamp {
    let hash = digest(&SHA256, text.as_bytes());
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
        let done = self.try_reload(who, text);
        if let Err(error) = &done {
            self.note(
                "config",
                format!("a configuration was refused: {}", error.lines().first().map_or("", |line| line)),
            );
        }
        done
    }

    fn try_reload(&mut self, who: &str, text: Option<&str>) -> Result<Reloaded, ControlError> {
        let (config, stamp, mut warnings) = match (text, &self.place.source) {
            (Some(text), _) => parse_config("pushed configuration", text)?,
            (None, ConfigSource::File(path)) => read_config(path)?,
            (None, ConfigSource::Environment) => {
                let (config, stamp) = sidecar_config(&*self.env)?;
                (config, stamp, Vec::new())
            }
        };
        warnings.extend(self.waiting_for_restart(&config));
        let inputs = inputs::gather(&config, &self.env, self.live.listener.as_ref())?;
        if stamp == self.stamp && inputs.fingerprint == self.live.fingerprint {
            self.warnings.clone_from(&warnings);
            return Ok(self.reloaded(false, warnings));
        }
        let now = self.now();
        let catalogue = providers::catalogue(&config)?;
        let configured = configured(&config, &inputs, &mut self.trusts, &catalogue, now)?;
        let routes = build::route_table(&config.models, &configured, &catalogue, &self.aliases, now)
            .map_err(|error| ControlError::Config(vec![error]))?;
        warnings.extend(build::unserved_rules(&config.routing.rules, &routes));
        let (old, new) = (self.stamp.version.to_string(), stamp.version.to_string());
        let (what, target) = ("config.put", stamp.digest.as_str());
        let audit = AuditEntry { at: now, tenant: None, who, what, target, before: &old, after: &new };
        let notes = supply::apply(means(self), &config, &inputs, &configured, &audit)?;
        (self.config, self.configured, self.warnings) = (config, configured, warnings.clone());
        self.catalogue = catalogue;
        self.live = Live { fingerprint: inputs.fingerprint, listener: inputs.listener };
        (self.stamp, self.dirty) = (stamp, Dirty::ALL);
        self.publish()?;
        self.note_all("config", notes);
        self.note("config", format!("configuration version {new} is live (it was {old})"));
        Ok(self.reloaded(true, warnings))
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
        let old = &self.config;
        let differs = [
            ("server.listen", old.server.listen != new.server.listen),
            ("server.workers", old.server.workers != new.server.workers),
            ("server.io", old.server.io != new.server.io),
            ("server.tls", old.server.tls.is_some() != new.server.tls.is_some()),
            ("admin", old.admin != new.admin),
            ("store.url", old.store != new.store),
            ("vault.root_key", old.root_key != new.root_key),
        ];
        let changed = differs.into_iter().filter(|(_, differs)| *differs);
        changed.map(|(key, _)| format!("`{key}` changed; restart igris for it to take effect")).collect()
    }
}
