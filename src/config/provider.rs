//! `[[providers]]`: whom we ask, where they are, and which key opens them.
//!
//! A name of the built-in table, or an alias of it, needs nothing more; any other name needs `dialect` and `base_url`. Base URLs obey
//! rule T5 and extra headers may not be ones that we make ourselves (rules H7, H10, H11).

use super::base_url::BaseUrl;
use super::leaf::{count, duration, model_name, name, one_of, path, text, truth};
use super::operation::{KeySource, key_source};
use super::platform::{self, Asked};
use super::problem::{Complaint, Findings, nearest, quoted, suggestion};
use super::read::{At, Leaf, Pairs, Typed};
use super::{Known, KnownProvider, raw};
use crate::domain::id::ProviderId;
use crate::domain::protocol::ProviderHttp;
use crate::limits;
use crate::providers::{Dialect, Platform};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// One provider as configured. What is `None` comes from the built-in row, or from `[server.limits]`.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The canonical name (`gemini` became `google`), or the operator's own.
    pub id: ProviderId,
    /// Whether the built-in table has a row of this name.
    pub built_in: bool,
    /// Which API it speaks, one of [`Known::dialects`]; always there unless built in.
    pub dialect: Option<String>,
    /// Where it is; always there unless built in.
    pub base_url: Option<BaseUrl>,
    /// Where its key is. Keys that came by the API live in the store.
    pub api_key: Option<KeySource>,
    /// For a whole attempt.
    pub timeout: Option<Duration>,
    /// For connecting, with TLS.
    pub connect_timeout: Option<Duration>,
    /// From the request's last byte to the answer's first, streaming or not.
    pub first_byte_timeout: Option<Duration>,
    /// Attempts after the first at this provider; the budget of rule Q2 stands above it.
    pub max_retries: Option<u32>,
    /// Whether addresses of [`super::Reach::Private`] may be connected to; also where the built-in row itself is on this machine.
    pub allow_private_address: bool,
    /// Fields added to every request.
    pub headers: Vec<ExtraHeader>,
    /// Models that it serves, for servers that no catalogue knows.
    pub models: Vec<String>,
    /// PEM file of certificate authorities trusted in addition for this provider.
    pub ca: Option<PathBuf>,
    /// Which HTTP it is spoken to in.
    pub http: ProviderHttp,
    /// Unused connections that each core keeps to it while it is in use.
    pub ready_connections: Option<usize>,
    /// API version, region and project, where the dialect uses them.
    pub platform: Platform,
}

/// A field added to every request to one provider. Its value may be a secret of a proxy in between and does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct ExtraHeader {
    /// Lower case.
    pub name: String,
    /// Visible ASCII with inner spaces.
    pub value: String,
}

impl fmt::Debug for ExtraHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExtraHeader({}: …)", self.name)
    }
}

const HTTP: &[(&str, ProviderHttp)] =
    &[("1.1", ProviderHttp::One), ("2", ProviderHttp::Two), ("auto", ProviderHttp::Auto)];

/// Fields that we make ourselves or that belong to one hop; also every name that begins with an entry ending in `-`.
const RESERVED_HEADERS: &[&str] = &[
    "accept",
    "accept-encoding",
    "anthropic-version",
    "api-key",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "idempotency-key",
    "keep-alive",
    "proxy-",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-amz-",
    "x-api-key",
    "x-forwarded-",
    "x-goog-api-key",
    "x-igris-",
    "x-request-id",
];

impl Provider {
    /// A built-in row with nothing changed.
    pub(super) fn built_in(row: &KnownProvider<'_>) -> Self {
        Self {
            id: ProviderId::new(row.name),
            built_in: true,
            dialect: None,
            base_url: None,
            api_key: None,
            timeout: None,
            connect_timeout: None,
            first_byte_timeout: None,
            max_retries: None,
            allow_private_address: is_private(row),
            headers: Vec::new(),
            models: Vec::new(),
            ca: None,
            http: ProviderHttp::default(),
            ready_connections: None,
            platform: Platform::default(),
        }
    }
}

/// All entries as meant. Two entries of one name, also by alias, are refused.
pub(super) fn providers(raw: Vec<raw::Provider>, known: &Known<'_>, findings: &mut Findings) -> Vec<Provider> {
    let mut names: Vec<At<String>> = Vec::new();
    let mut meant = Vec::new();
    for entry in raw {
        let Some((name, provider)) = provider(entry, known, findings) else { continue };
        names.push(name);
        meant.push(provider);
    }
    findings.distinct("provider", &names);
    meant
}

fn provider(mut raw: raw::Provider, known: &Known<'_>, findings: &mut Findings) -> Option<(At<String>, Provider)> {
    let typed = findings.required(("`[[providers]]`", raw.at, "name", "\"openai\""), raw.name.take(), name);
    let row = typed.as_ref().and_then(|typed| known.find(&typed.value));
    let states_dialect = raw.dialect.is_some();
    let dialect = findings.value("dialect", raw.dialect.take(), |typed| dialect(typed, known));
    let spoken = dialect.as_deref().or(row.filter(|_| !states_dialect).map(|row| row.dialect));
    let asked = Asked::take(&mut raw);
    if let Some(typed) = &typed {
        let needs_address = raw.base_url.is_none() && !asked.gives_address(spoken);
        match row {
            Some(row) if needs_address => demand_address(typed.at, row, findings),
            Some(_) => {}
            None => demand_own_facts(typed, states_dialect, needs_address, known, findings),
        }
    }
    let stated = findings.value("allow_private_address", raw.allow_private_address, truth);
    let allow_private_address = stated.unwrap_or_else(|| raw.base_url.is_none() && row.is_some_and(is_private));
    let attempt = duration(Duration::from_millis(100), limits::EXCHANGE_DEADLINE_CEILING);
    let first_byte = duration(Duration::from_millis(100), limits::FIRST_BYTE_DEADLINE_CEILING);
    let connect = duration(Duration::from_millis(10), limits::CONNECT_DEADLINE_CEILING);
    let url = |typed: &Typed| BaseUrl::parse(&text(typed)?, allow_private_address);
    let base_url = findings.value("base_url", raw.base_url, url);
    let at = typed.as_ref().map_or(raw.at, |typed| typed.at);
    let (platform, base_url) = platform::meant(asked, at, spoken.and_then(Dialect::parse), base_url, findings);
    let api_key = raw.api_key.and_then(|key| key_source("api_key", key, false, findings));
    let canonical = row.map(|row| row.name.to_owned()).or(typed.as_ref().map(|typed| typed.value.clone()));
    let canonical = canonical.unwrap_or_default();
    let provider = Provider {
        id: ProviderId::new(&canonical),
        built_in: row.is_some(),
        dialect,
        base_url,
        api_key: api_key.map(|key| key.value),
        timeout: findings.value("timeout", raw.timeout, attempt),
        connect_timeout: findings.value("connect_timeout", raw.connect_timeout, connect),
        first_byte_timeout: findings.value("first_byte_timeout", raw.first_byte_timeout, first_byte),
        max_retries: findings.value("max_retries", raw.max_retries, count(0, 10)).map(|retries| retries as u32),
        allow_private_address,
        headers: headers(raw.headers.unwrap_or_default(), findings),
        models: models(raw.models, findings),
        ca: findings.value("ca", raw.ca, path),
        http: findings.value("http", raw.http, one_of(HTTP)).unwrap_or_default(),
        ready_connections: findings
            .value("ready_connections", raw.ready_connections, count(0, limits::READY_CONNECTIONS_MAX as u64))
            .map(|ready| ready as usize),
        platform,
    };
    typed.map(|typed| (At { value: canonical, at: typed.at }, provider))
}

/// Whether the built-in row itself is on this machine or network, as a local model server is.
fn is_private(row: &KnownProvider<'_>) -> bool {
    row.base_url.is_some_and(|url| BaseUrl::parse(url, false).is_err() && BaseUrl::parse(url, true).is_ok())
}

/// A built-in row may lack an address of its own.
fn demand_address(at: usize, row: &KnownProvider<'_>, findings: &mut Findings) {
    if row.base_url.is_none() {
        let what = format!("provider {} has no address of its own", quoted(row.name));
        findings.error(at, what, platform::address_remedy(row.dialect));
    }
}

/// A name that no built-in row has needs a dialect and a base URL; without either it is probably a slip of the pen.
fn demand_own_facts(
    name: &At<String>,
    states_dialect: bool,
    needs_address: bool,
    known: &Known<'_>,
    findings: &mut Findings,
) {
    let missing = [("dialect", !states_dialect), ("base_url", needs_address)];
    let missing: Vec<String> =
        missing.iter().filter(|(_, missing)| *missing).map(|(key, _)| format!("`{key}`")).collect();
    if missing.is_empty() {
        return;
    }
    let what = format!("provider {} is not built in and has no {}", quoted(&name.value), missing.join(" and no "));
    let remedy = match nearest(&name.value, known.provider_names()) {
        Some(word) => format!("did you mean `{word}`? A provider of your own needs `dialect` and `base_url`"),
        None => format!("add {}", missing.join(" and ")),
    };
    findings.error(name.at, what, remedy);
}

fn dialect(typed: &Typed, known: &Known<'_>) -> Result<String, Complaint> {
    let text = text(typed)?;
    if known.dialects.contains(&text.as_str()) {
        return Ok(text);
    }
    Err(Complaint::new(format!("is {}", quoted(&text)), suggestion(&text, known.dialects.iter().copied())))
}

fn models(leaves: Option<Vec<Leaf>>, findings: &mut Findings) -> Vec<String> {
    let models = findings.all("models", leaves.unwrap_or_default(), model_name);
    findings.distinct("model", &models);
    models.into_iter().map(|model| model.value).collect()
}

fn headers(pairs: Pairs, findings: &mut Findings) -> Vec<ExtraHeader> {
    if let Some((name, _)) = pairs.0.get(limits::EXTRA_HEADERS_MAX) {
        let what = format!("more than {} extra headers", limits::EXTRA_HEADERS_MAX);
        findings.error(name.at, what, "remove some");
    }
    let mut names: Vec<At<String>> = Vec::new();
    let mut meant = Vec::new();
    for (name, value) in pairs.0 {
        let lower = At { value: name.value.to_ascii_lowercase(), at: name.at };
        if let Err(complaint) = header_name(&lower.value) {
            findings.error(name.at, format!("the header {} {}", quoted(&name.value), complaint.what), complaint.remedy);
            continue;
        }
        if let Some(value) = findings.value(&lower.value, Some(value), header_value) {
            meant.push(ExtraHeader { name: lower.value.clone(), value });
        }
        names.push(lower);
    }
    findings.distinct("the header", &names);
    meant
}

/// A token without `_` (RFC 9110 §5.6.2, rule H11) that is not ours to make.
fn header_name(name: &str) -> Result<(), Complaint> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^`|~".contains(&byte);
    if name.is_empty() || name.len() > limits::NAME_CHARS_MAX || !name.bytes().all(fits) {
        return Err(Complaint::new("is no header name", "use letters, digits and `-`"));
    }
    let reserved = |entry: &&str| if entry.ends_with('-') { name.starts_with(*entry) } else { name == *entry };
    match RESERVED_HEADERS.iter().find(|entry| reserved(entry)) {
        Some(_) => Err(Complaint::new("is one that Igris sets itself", "remove it; credentials belong in `api_key`")),
        None => Ok(()),
    }
}

/// Visible ASCII with inner spaces (RFC 9110 §5.5). The value is never repeated: it may be a secret (rule R1).
fn header_value(typed: &Typed) -> Result<String, Complaint> {
    let value = text(typed)?;
    let fits = value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && value.trim() == value;
    if fits && value.len() <= limits::EXTRA_HEADER_BYTES_MAX {
        return Ok(value);
    }
    let remedy =
        format!("use at most {} visible ASCII characters, no space at either end", limits::EXTRA_HEADER_BYTES_MAX);
    Err(Complaint::new("has a value that headers cannot carry", remedy))
}
