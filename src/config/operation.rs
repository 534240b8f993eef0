//! How the process is run: `[admin]`, `[vault]`, `[log]`, `[trust]`, and where secrets are.
//!
//! A path that is not given lies in the data directory, which only the command line knows; it stays `None` here. Secrets are references
//! ([`KeySource`]); a secret typed in their place is refused without being repeated (rule R1).

use super::admission::{self, AdminToken, AllowedUser};
use super::leaf::{count, one_of, path, socket_address, text};
use super::problem::{Complaint, Findings};
use super::raw;
use super::read::{At, Leaf, Typed};
use crate::limits;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// In this environment variable.
    Env(String),
    /// In this file.
    File(PathBuf),
    /// Behind this inherited file descriptor, 3 or above.
    Fd(i32),
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySource::Env(name) => write!(f, "environment variable {name}"),
            KeySource::File(path) => write!(f, "file {}", path.display()),
            KeySource::Fd(number) => write!(f, "file descriptor {number}"),
        }
    }
}

/// `[admin]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// The admin socket; `None` means `admin.sock` in the data directory.
    pub socket: Option<PathBuf>,
    /// TCP address of the dashboard; off when absent.
    pub dashboard: Option<SocketAddr>,
    /// Names under which the dashboard may be reached beside addresses and `localhost`, in small letters.
    pub dashboard_hosts: Vec<String>,
    /// TCP address that answers `GET /metrics` only; off when absent. The admin socket has it always.
    pub metrics: Option<SocketAddr>,
    /// Users who may connect to the admin socket beside the one we run as and root, who may do everything (rule A2).
    pub allowed_uids: Vec<AllowedUser>,
    /// What these users must show with a change, once there is one.
    pub tokens: Vec<AdminToken>,
}

/// `[log]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// The least severe lines that are written.
    pub level: LogLevel,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Severity of log lines, most severe first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What needs a person.
    Error,
    /// What may need one.
    Warn,
    /// What an operator wants to know.
    #[default]
    Info,
    /// What explains a behaviour.
    Debug,
    /// Everything.
    Trace,
}

/// `[trust]`: who may sign the next configuration (rule C5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Public keys in minisign form, 1 to 5, no two alike.
    pub keys: Vec<String>,
    /// How many of them must have signed.
    pub threshold: usize,
}

const LOG_FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
const LOG_LEVELS: &[(&str, LogLevel)] = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];
/// Base64 of algorithm (2 bytes), key id (8) and Ed25519 key (32).
const MINISIGN_KEY_CHARS: usize = 56;

/// `[admin]` as meant; its TCP addresses are added to `taken`, where no address may stand twice.
pub(super) fn admin(raw: Option<raw::Admin>, taken: &mut Vec<At<SocketAddr>>, findings: &mut Findings) -> Admin {
    let Some(raw) = raw else { return Admin::default() };
    let dashboard = findings.meant("dashboard", raw.dashboard, socket_address);
    let metrics = findings.meant("metrics", raw.metrics, socket_address);
    for (key, address) in [("dashboard", &dashboard), ("metrics", &metrics)] {
        let Some(address) = address else { continue };
        if !address.value.ip().is_loopback() {
            let what = format!("`{key}` listens beyond this machine, on {}", address.value);
            findings.warning(address.at, what, "use a loopback address unless a proxy with TLS stands before it");
        }
        taken.push(address.clone());
    }
    let allowed_uids = admission::users(raw.allowed_uids, findings);
    let tokens = admission::tokens(raw.tokens, findings);
    if !tokens.is_empty() && allowed_uids.is_empty() && dashboard.is_none() {
        let what = "`[[admin.tokens]]` is for users of `allowed_uids` and for the dashboard, and there is neither";
        findings.warning(raw.at, what, "list the users, or remove the tokens: our own user and root need none");
    }
    Admin {
        socket: findings.value("socket", raw.socket, path),
        dashboard: dashboard.map(|address| address.value),
        dashboard_hosts: dashboard_hosts(raw.dashboard_hosts, findings),
        metrics: metrics.map(|address| address.value),
        allowed_uids,
        tokens,
    }
}

/// Names of hosts. A browser sends what stands in the address bar, in small letters and without the dot at the end.
fn dashboard_hosts(raw: Option<Vec<Leaf>>, findings: &mut Findings) -> Vec<String> {
    let hosts = findings.all("dashboard_hosts", raw.unwrap_or_default(), host_name);
    findings.distinct("the host", &hosts);
    if let Some(extra) = hosts.get(limits::dashboard::HOSTS_MAX) {
        let what = format!("`dashboard_hosts` has more than {} names", limits::dashboard::HOSTS_MAX);
        findings.error(extra.at, what, "keep the names that people use");
    }
    hosts.into_iter().map(|host| host.value).collect()
}

fn host_name(typed: &Typed) -> Result<String, Complaint> {
    let name = text(typed)?;
    let fit = |label: &str| {
        let inside = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        !label.is_empty() && label.len() <= 63 && inside && !label.starts_with('-') && !label.ends_with('-')
    };
    if name.len() <= 253 && name.split('.').all(fit) {
        return Ok(name.to_ascii_lowercase());
    }
    Err(Complaint::new("is not the name of a host", "write a name such as \"igris.example\", without scheme and port"))
}

/// `[vault] root_key` as meant; `None` means `root.key` in the data directory, made on first start.
pub(super) fn root_key(raw: Option<raw::Vault>, findings: &mut Findings) -> Option<KeySource> {
    raw?.root_key.and_then(|reference| key_source("root_key", reference, true, findings)).map(|source| source.value)
}

/// `[log]` as meant.
pub(super) fn log(raw: Option<raw::Log>, findings: &mut Findings) -> Log {
    let Some(raw) = raw else { return Log::default() };
    Log {
        format: findings.value("format", raw.format, one_of(LOG_FORMATS)).unwrap_or_default(),
        level: findings.value("level", raw.level, one_of(LOG_LEVELS)).unwrap_or_default(),
    }
}

/// `[trust]` as meant.
pub(super) fn trust(raw: Option<raw::Trust>, findings: &mut Findings) -> Option<Trust> {
    let raw = raw?;
    let keys = findings.all("keys", raw.keys.unwrap_or_default(), minisign_key);
    findings.distinct("the key", &keys);
    if keys.is_empty() || keys.len() > limits::TRUST_KEYS_MAX {
        let what = format!("`[trust]` has {} usable keys", keys.len());
        findings.error(raw.at, what, format!("list 1 to {} public keys in `keys`", limits::TRUST_KEYS_MAX));
        return None;
    }
    let all = keys.len() as u64;
    let threshold = findings.value("threshold", raw.threshold, count(1, all)).unwrap_or(all) as usize;
    Some(Trust { keys: keys.into_iter().map(|key| key.value).collect(), threshold })
}

fn minisign_key(typed: &Typed) -> Result<String, Complaint> {
    let key = text(typed)?;
    let base64 = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/');
    if key.len() == MINISIGN_KEY_CHARS && base64 && key.starts_with("RW") {
        return Ok(key);
    }
    Err(Complaint::new(
        "holds what is not a minisign public key",
        "write the 56 characters that begin with RW, as `igris sign keygen` prints",
    ))
}

/// A reference to a secret: exactly one of `env`, `file` and, where a descriptor can be inherited, `fd`.
pub(super) fn key_source(
    key: &str,
    raw: raw::KeyReference,
    fd_allowed: bool,
    findings: &mut Findings,
) -> Option<At<KeySource>> {
    let typed = [raw.env.is_some(), raw.file.is_some(), raw.fd.is_some()].into_iter().filter(|typed| *typed).count();
    if typed != 1 {
        let what = format!("`{key}` names {} places", if typed == 0 { "no" } else { "several" });
        findings.error(
            raw.at,
            what,
            format!("write `{key} = {{ env = \"NAME\" }}` or `{key} = {{ file = \"PATH\" }}`"),
        );
        return None;
    }
    let env = findings.value("env", raw.env, variable_name).map(KeySource::Env);
    let file = findings.value("file", raw.file, path).map(KeySource::File);
    let fd = fd(key, raw.fd, fd_allowed, findings).map(KeySource::Fd);
    env.or(file).or(fd).map(|value| At { value, at: raw.at })
}

fn fd(key: &str, leaf: Option<Leaf>, allowed: bool, findings: &mut Findings) -> Option<i32> {
    let leaf = leaf?;
    if !allowed {
        findings.error(leaf.at, format!("`{key}` cannot come from a file descriptor"), "use `env` or `file`");
        return None;
    }
    // 0 to 2 are the standard streams.
    findings.value("fd", Some(leaf), count(3, i32::MAX as u64)).map(|number| number as i32)
}

/// A variable's name. Never repeated: a secret is what people type here by mistake (rule R1).
fn variable_name(typed: &Typed) -> Result<String, Complaint> {
    let name = text(typed)?;
    let fit = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if fit && name.len() <= limits::NAME_CHARS_MAX && !name.starts_with(|ch: char| ch.is_ascii_digit()) {
        return Ok(name);
    }
    Err(Complaint::new(
        "is not the name of an environment variable",
        "write the variable's name, such as \"OPENAI_API_KEY\", not the secret; if this was one, replace it",
    ))
}
