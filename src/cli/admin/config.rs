//! `igris admin config`, `reload` and `rollout`: which configuration runs, another one, and its trial.

use super::{Call, Shown, encoded};
use crate::control_plane::signature_path;
use crate::domain::secret::Secret;
use crate::limits::{CONFIG_BYTES_MAX, SIGNATURE_BYTES_MAX};
use anyhow::Context as _;
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// `igris admin reload`.
#[derive(Debug, Args)]
pub struct Reload {
    /// Try it for so long, as in 30s, instead of what it says itself; 0s: without a trial
    #[arg(long, value_name = "TIME")]
    pub watch: Option<String>,
}

/// `igris admin config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Replace it with this file; the signature beside it (FILE.minisig) goes along
    #[arg(long, value_name = "FILE")]
    pub put: Option<PathBuf>,
    /// Try it for so long, as in 30s, instead of what it says itself; 0s: without a trial
    #[arg(long, value_name = "TIME", requires = "put")]
    pub watch: Option<String>,
}

/// `igris admin rollout`.
#[derive(Debug, Args)]
pub struct RolloutArgs {
    /// accept: it stays, the trial is over | revert: the configuration before is live again
    #[arg(value_parser = PossibleValuesParser::new(["accept", "revert"]))]
    pub end: Option<String>,
}

pub(super) fn reload(args: &Reload) -> Call {
    Call { method: "POST", target: watched("/reload", args.watch.as_deref()), body: None, shown: Shown::Fields }
}

pub(super) fn rollout(args: &RolloutArgs) -> Call {
    let (method, target) = match &args.end {
        None => ("GET", "/rollout".to_owned()),
        Some(end) => ("POST", format!("/rollout/{end}")),
    };
    Call { method, target, body: None, shown: Shown::Fields }
}

pub(super) fn call(args: &ConfigArgs) -> anyhow::Result<Call> {
    let Some(path) = &args.put else {
        return Ok(Call { method: "GET", target: "/config".to_owned(), body: None, shown: Shown::Fields });
    };
    let config =
        read(path, CONFIG_BYTES_MAX).with_context(|| format!("cannot read {}; check the path", path.display()))?;
    let beside = signature_path(path);
    let body = match read(&beside, SIGNATURE_BYTES_MAX as u64) {
        Ok(signature) => {
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).context("the file or its signature is not UTF-8");
            let body = json!({ "config": text(config)?, "signature": text(signature)? }).to_string();
            ("application/json", Secret::take(body.into_bytes()))
        }
        Err(cause) if cause.kind() == ErrorKind::NotFound => ("application/toml", Secret::take(config)),
        Err(cause) => return Err(cause).context(format!("cannot read {}; check its permissions", beside.display())),
    };
    let target = watched("/config", args.watch.as_deref());
    Ok(Call { method: "PUT", target, body: Some(body), shown: Shown::Fields })
}

fn watched(path: &str, watch: Option<&str>) -> String {
    watch.map_or_else(|| path.to_owned(), |watch| format!("{path}?watch={}", encoded(watch)))
}

/// A larger file is cut short nowhere: it is refused.
fn read(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(std::io::Error::other(format!("it is larger than {most} bytes"))),
        false => Ok(bytes),
    }
}
