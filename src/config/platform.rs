//! `api_version`, `region` and `project` of a provider: checked, refused where the dialect has no use for them, and joined with the address.
//!
//! A region gives Bedrock and Vertex their address, and their own hosts tell the region. Each value becomes a part of a host or of a path, so
//! its letters are few.

use super::base_url::BaseUrl;
use super::leaf::text;
use super::problem::{Complaint, Findings, quoted};
use super::raw;
use super::read::{Leaf, Typed};
use crate::limits::NAME_CHARS_MAX;
use crate::providers::platform::{address_in, region_at};
use crate::providers::{Dialect, Platform};

/// What was typed.
pub(super) struct Asked {
    api_version: Option<Leaf>,
    region: Option<Leaf>,
    project: Option<Leaf>,
}

impl Asked {
    /// Takes the three keys out of an entry.
    pub(super) fn take(raw: &mut raw::Provider) -> Self {
        Self { api_version: raw.api_version.take(), region: raw.region.take(), project: raw.project.take() }
    }

    /// Whether a region stands there that an address follows from.
    pub(super) fn gives_address(&self, dialect: Option<&str>) -> bool {
        let dialect = dialect.and_then(Dialect::parse);
        self.region.is_some() && dialect.is_some_and(|dialect| address_in(dialect, "").is_some())
    }
}

/// What to add where a built-in provider of this dialect has no address.
pub(super) fn address_remedy(dialect: &str) -> &'static str {
    match Dialect::parse(dialect) {
        Some(Dialect::Bedrock | Dialect::Vertex) => "add `region`, or `base_url` with another address of yours",
        _ => "add `base_url` with the address of your account",
    }
}

/// The three values and the address, each completed from the other. `at` is where the provider's name stands, for what is missing.
pub(super) fn meant(
    asked: Asked,
    at: usize,
    dialect: Option<Dialect>,
    base_url: Option<BaseUrl>,
    findings: &mut Findings,
) -> (Platform, Option<BaseUrl>) {
    let named = (asked.region.is_some(), asked.project.is_some());
    let mut used = |key, leaf, users: &[Dialect], reading: fn(&Typed) -> Result<Box<str>, Complaint>| {
        let value = findings.meant(key, leaf, reading)?;
        match dialect {
            Some(dialect) if !users.contains(&dialect) => {
                let what = format!("`{key}` means nothing to the dialect {}", quoted(dialect.as_str()));
                findings.error(value.at, what, "remove it");
                None
            }
            _ => Some(value.value),
        }
    };
    let api_version = used("api_version", asked.api_version, &[Dialect::Azure], version);
    let region = used("region", asked.region, &[Dialect::Bedrock, Dialect::Vertex], region);
    let project = used("project", asked.project, &[Dialect::Vertex], project);
    let (region, base_url) = completed(dialect, region, base_url);
    if dialect == Some(Dialect::Vertex) {
        let missing = [("region", region.is_none() && !named.0 && base_url.is_some()), ("project", !named.1)];
        for (key, _) in missing.into_iter().filter(|(_, missing)| *missing) {
            let what = format!("the dialect `vertex` needs a `{key}`, and this provider has none");
            findings.error(at, what, format!("add `{key}`, as Google Cloud calls it"));
        }
    }
    (Platform { api_version, region, project }, base_url)
}

/// A region out of the address, an address out of the region.
pub(super) fn completed(
    dialect: Option<Dialect>,
    region: Option<Box<str>>,
    base_url: Option<BaseUrl>,
) -> (Option<Box<str>>, Option<BaseUrl>) {
    let Some(dialect) = dialect else { return (region, base_url) };
    let told: Option<Box<str>> = base_url.as_ref().and_then(|url| region_at(dialect, url.host())).map(Box::from);
    // A signature for another region than the host's is refused; a path to another one may be meant.
    let region = if dialect == Dialect::Bedrock { told.or(region) } else { region.or(told) };
    let address = || region.as_deref().and_then(|region| address_in(dialect, region));
    let base_url = base_url.or_else(|| BaseUrl::parse(&address()?, false).ok());
    (region, base_url)
}

/// A region as clouds write it; it becomes a part of a host name.
pub(super) fn region(typed: &Typed) -> Result<Box<str>, Complaint> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let text = of_letters(typed, fits, "a region; write it as in \"eu-west-1\" or \"us-east5\"")?;
    if text.starts_with('-') || text.ends_with('-') || text.len() > 40 {
        return Err(Complaint::new(format!("is {}, which is no region", quoted(&text)), "write its id"));
    }
    Ok(text)
}

/// A project's id or number.
pub(super) fn project(typed: &Typed) -> Result<Box<str>, Complaint> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:".contains(&byte);
    let text = of_letters(typed, fits, "a project; write its id as in \"my-project-42\"")?;
    if !text.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Complaint::new(format!("is {}, which is no project", quoted(&text)), "write its id"));
    }
    Ok(text)
}

/// A version as Azure writes them: a date, with or without `-preview`, or a word.
pub(super) fn version(typed: &Typed) -> Result<Box<str>, Complaint> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    of_letters(typed, fits, "an API version; write it as in \"2024-10-21\"")
}

/// Text of these letters only; `kind` is what it should be, and how to write it.
fn of_letters(typed: &Typed, fits: impl Fn(u8) -> bool, kind: &'static str) -> Result<Box<str>, Complaint> {
    let text = text(typed)?;
    if text.len() <= NAME_CHARS_MAX && text.bytes().all(fits) {
        return Ok(text.into());
    }
    let (noun, remedy) = kind.split_once("; ").unwrap_or((kind, "write it otherwise"));
    Err(Complaint::new(format!("is {}, not {noun}", quoted(&text)), remedy))
}
