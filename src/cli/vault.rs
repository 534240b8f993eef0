//! `igris vault`: the key hierarchy of a data directory. Where a gateway runs on it, the gateway is asked over its admin socket; where
//! none does, the store is opened here, under its lock. Either way the same steps are taken, and no key is ever printed.

use super::admin;
use super::client::{self, Request};
use super::{ADMIN_SOCKET_NAME, DATA_DIR_DEFAULT, EXIT_FAILURE, failed, name, print};
use crate::config::Config;
use crate::control_plane::{self, ControlError, NewRoot, OfflineVault, Reader, VaultPlace};
use crate::domain::clock::UnixMillis;
use crate::domain::id::TenantId;
use crate::limits::VAULT_PATIENCE;
use crate::store::AuditHead;
use crate::vault::{RootSource, harden_process};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `igris vault`.
#[derive(Debug, Args)]
pub struct VaultArgs {
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
    /// Where state lives
    #[arg(long, global = true, value_name = "DIR", default_value = DATA_DIR_DEFAULT)]
    pub data_dir: PathBuf,
    /// Configuration that names store, root key and admin socket, if they lie elsewhere
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Ask the gateway behind this admin socket, and fail if there is none
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Go on where core dumps and other processes' looks into our memory cannot be forbidden
    #[arg(long, global = true)]
    pub insecure_dumps: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a root key and an empty hierarchy; refuses where there is one
    Init,
    /// Put everything under a new root key
    RotateRoot {
        /// File of the new root key, made if missing: where igris cannot replace the old one itself
        #[arg(long, value_name = "FILE")]
        new_root_key: Option<PathBuf>,
    },
    /// A new version of the master key; everything below it is wrapped anew
    RotateMaster,
    /// A new data key for one tenant; its provider keys are sealed anew
    RotateData {
        /// Whose
        #[arg(value_parser = name)]
        tenant: String,
    },
    /// Open every record, walk the audit log, check the file; exit code 1 on any finding
    Verify {
        /// Root key, instead of the configured one: to verify a backup
        #[arg(long, value_name = "FILE")]
        root_key: Option<PathBuf>,
        /// Store, instead of the configured one: to verify a backup
        #[arg(long, value_name = "FILE")]
        store: Option<PathBuf>,
        /// An anchor of the audit log from an earlier verification, which must still stand: ROW:DIGITS
        #[arg(long, value_name = "ANCHOR", value_parser = admin::anchor)]
        expect: Option<String>,
    },
    /// Copy the store to a new file; of no use without the root key
    Backup {
        /// Where to
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// What a command came to.
enum Done {
    /// An answer to show, and whether it is a success.
    Answer(Value, bool),
    /// The gateway refused, and that was said.
    Refused(ExitCode),
}

/// Carries out a command and answers the exit code.
pub fn run(args: &VaultArgs) -> ExitCode {
    let done = carry_out(args).and_then(|done| match done {
        Done::Refused(code) => Ok(code),
        Done::Answer(answer, success) => {
            show(answer, args.json)?;
            Ok(if success { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
        }
    });
    done.unwrap_or_else(|error| failed(&error))
}

fn carry_out(args: &VaultArgs) -> anyhow::Result<Done> {
    let config = args.config.as_deref().map(read_config).transpose()?;
    let mut place = VaultPlace::of(config.as_ref(), &args.data_dir);
    let configured = config.and_then(|config| config.admin.socket);
    let socket = args.socket.clone().or(configured).unwrap_or_else(|| args.data_dir.join(ADMIN_SOCKET_NAME));
    let elsewhere = match &args.verb {
        Verb::Verify { root_key, store, .. } => {
            root_key.iter().for_each(|path| place.root = RootSource::File(path.clone()));
            store.iter().for_each(|path| place.store.clone_from(path));
            root_key.is_some() || store.is_some()
        }
        _ => false,
    };
    if !elsewhere && client::answers(&socket) {
        return online(args, &socket);
    }
    if let Some(socket) = args.socket.as_ref().filter(|_| !elsewhere) {
        bail!("no gateway answers at {}; start it, or leave out --socket to work on the stopped one", socket.display());
    }
    // Asked before this process hides from /proc, which then says root of everybody.
    let uid = own_uid();
    match harden_process() {
        Err(error) if !args.insecure_dumps => Err(error.into()),
        _ => offline(&args.verb, &place, elsewhere, &format!("uid:{uid} offline")),
    }
}

/// With the gateway stopped.
/// The user that this process runs as, as `/proc` says while it is not hidden.
pub(super) fn own_uid() -> u32 {
    std::fs::metadata("/proc/self").map_or(u32::MAX, |process| process.uid())
}

fn offline(verb: &Verb, place: &VaultPlace, elsewhere: bool, who: &str) -> anyhow::Result<Done> {
    let now = UnixMillis::now();
    let open = || OfflineVault::open(place, who, now);
    match verb {
        Verb::Init => {
            OfflineVault::init(place, who, now)?;
            answer(&json!({ "store": place.store, "root_key": place.root.to_string() }))
        }
        Verb::RotateRoot { new_root_key } => answer(&open()?.rotate_root(&new_root(new_root_key.as_deref())?, now)?),
        Verb::RotateMaster => answer(&open()?.rotate_master(now)?),
        Verb::RotateData { tenant } => answer(&open()?.rotate_data(&TenantId::new(tenant), now)?),
        Verb::Verify { expect, .. } => {
            // A rotation that was cut is ended first, as a start would; who only reads could not.
            if !elsewhere {
                drop(open()?);
            }
            let anchor = expect.as_deref().and_then(AuditHead::parse);
            let report = Reader::open(place, now)?.verify(anchor)?;
            Ok(Done::Answer(serde_json::to_value(&report)?, report.whole))
        }
        Verb::Backup { file } => {
            open()?.back_up(file)?;
            answer(&json!({ "path": file, "bytes": std::fs::metadata(file)?.len() }))
        }
    }
}

/// Through the gateway that runs on the store.
fn online(args: &VaultArgs, socket: &Path) -> anyhow::Result<Done> {
    let (target, body) = match &args.verb {
        Verb::Init => {
            let what = format!("a gateway runs on {} and has its hierarchy already", args.data_dir.display());
            return Err(ControlError::Conflict(what).into());
        }
        Verb::RotateRoot { new_root_key } => {
            let file = new_root_key.as_deref().map(std::path::absolute).transpose()?;
            ("/vault/rotate-root".to_owned(), json!({ "new_root_key_file": file }))
        }
        Verb::RotateMaster => ("/vault/rotate-master".to_owned(), json!({})),
        Verb::RotateData { tenant } => (format!("/vault/rotate-data/{tenant}"), json!({})),
        Verb::Verify { expect, .. } => ("/vault/verify".to_owned(), json!({ "expect": expect })),
        Verb::Backup { file } => ("/backup".to_owned(), json!({ "path": std::path::absolute(file)? })),
    };
    let body = body.to_string();
    let request = Request { method: "POST", target: &target, body: Some(("application/json", body.as_bytes())) };
    let sent = client::send(socket, &request, Some(VAULT_PATIENCE))?;
    if !(200..300).contains(&sent.status) {
        return admin::refused(sent, args.json).map(Done::Refused);
    }
    let value: Value =
        serde_json::from_slice(&sent.whole()?).context("the answer is not JSON; are both igris of one version?")?;
    let success = value["whole"] != false;
    Ok(Done::Answer(value, success))
}

fn answer(value: &impl Serialize) -> anyhow::Result<Done> {
    Ok(Done::Answer(serde_json::to_value(value)?, true))
}

/// JSON, or names and values with each finding on a line of its own.
fn show(mut answer: Value, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        return Ok(writeln!(out, "{answer}")?);
    }
    let findings = answer.as_object_mut().and_then(|members| members.remove("findings"));
    writeln!(out, "{}", print::fields(&answer).trim_end())?;
    for finding in findings.iter().flat_map(|found| found.as_array().into_iter().flatten()).filter_map(Value::as_str) {
        writeln!(out, "finding: {}", print::safe(finding))?;
    }
    Ok(())
}

fn new_root(file: Option<&Path>) -> anyhow::Result<NewRoot> {
    Ok(match file {
        Some(path) => NewRoot::File(std::path::absolute(path)?),
        None => NewRoot::InPlace,
    })
}

pub(super) fn read_config(path: &Path) -> anyhow::Result<Config> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}; check the path"))?;
    let parsed = Config::parse_with_warnings(&name, &text, &control_plane::known());
    Ok(parsed.map_err(ControlError::from)?.0)
}
