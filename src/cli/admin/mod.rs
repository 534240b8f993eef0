//! `igris admin …`: a client of the admin socket, one request for each command.
//!
//! With `--json` the API's answer goes to stdout unchanged; without it, a small table. A refusal goes to stderr as the sentence the API
//! gives, with exit code 1. Provider keys never pass through the arguments.

mod access_keys;
mod alerts;
mod audit;
mod budgets;
mod config;
mod costs;
mod decisions;
mod keys;
mod rotations;
mod store;
mod tenants;
mod upgrade;

pub(super) use audit::anchor;

use super::client::{self, Answer, Request};
use super::explain;
use super::print::{self, Column};
use super::replay::{self, ReplayArgs};
use super::{ADMIN_SOCKET_NAME, DATA_DIR_DEFAULT, EXIT_FAILURE, failed, name};
use crate::domain::secret::Secret;
use crate::limits::{CONTROL_DEADLINE, FEED_SILENCE, VAULT_PATIENCE};
use anyhow::Context as _;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// `igris admin`.
#[derive(Debug, Args)]
pub struct AdminArgs {
    /// What to ask
    #[command(subcommand)]
    pub verb: Verb,
    /// Admin socket of the gateway
    #[arg(long, global = true, value_name = "PATH", default_value_os_t = default_socket())]
    pub socket: PathBuf,
    /// Print the API's JSON unchanged
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to ask.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Build, configuration, snapshot, connections
    Status,
    /// Read the configuration file again; all or nothing
    Reload(config::Reload),
    /// Stop accepting; what is in flight may finish
    Drain,
    /// Hand over to a new process of a new binary; no request is refused or cut
    Upgrade(upgrade::Upgrade),
    /// Which configuration is running, or replace it with a file
    Config(config::ConfigArgs),
    /// Whether a configuration is on trial; or end that
    Rollout(config::RolloutArgs),
    /// Providers and how they do
    Providers,
    /// Breakers: list them, or halt a provider, let it be asked again, forget its failures
    Breakers {
        /// Whose breaker to move
        #[arg(value_parser = name, requires = "to")]
        provider: Option<String>,
        /// open: halt it until told otherwise | close: ask it again | reset: close, and forget what was counted
        #[arg(value_parser = PossibleValuesParser::new(["open", "close", "reset"]))]
        to: Option<String>,
    },
    /// Provider keys of a tenant
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Replace a provider key; the new one is read from stdin unless a file or variable is named
    Rotate(rotations::Rotate),
    /// Rotations of provider keys: list, show, cancel, complete
    Rotations(rotations::Rotations),
    /// Tenants
    #[command(subcommand)]
    Tenants(tenants::Tenants),
    /// Access keys of a tenant
    #[command(subcommand)]
    AccessKeys(access_keys::AccessKeys),
    /// What clients may ask for, and who serves it
    Routes,
    /// What is known of every lane: one model at one provider under one credential
    Scores,
    /// Requests, tokens and money
    Usage(costs::Usage),
    /// What it cost, told apart, with the time before; or what the month will come to
    Costs(costs::Costs),
    /// Budgets of tenants and access keys: list, show, set, remove
    Budgets(budgets::Budgets),
    /// What somebody should know: list, acknowledge; webhooks and their messages
    Alerts(alerts::Alerts),
    /// The journal of attempts, and what each tenant came to
    Ledger,
    /// Why a request was routed as it was: candidates, attempts, our own time
    Explain {
        /// `req_…`, from the header x-request-id
        #[arg(value_parser = name)]
        id: String,
    },
    /// The latest routing decisions
    Decisions(decisions::Decisions),
    /// What recorded decisions would have come to under another policy
    Replay(ReplayArgs),
    /// Who changed what, and whether the log of it holds together
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Copy the store to a new file; of no use without the root key
    Backup {
        /// Where to; the gateway writes it
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Carry the estate between this machine's file and a database that machines share; the gateway must be stopped
    Store(store::StoreArgs),
    /// Metrics in Prometheus text
    Metrics,
    /// Live feed of events; ends with Ctrl-C
    Events,
}

/// Whose thing it is.
#[derive(Debug, Args)]
pub struct Owner {
    /// Which tenant
    #[arg(long, default_value = "default", value_parser = name)]
    pub tenant: String,
}

/// A verb as a request, and how its answer is shown.
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) body: Option<(&'static str, Secret)>,
    pub(super) shown: Shown,
}

/// How an answer looks to a person.
pub(super) enum Shown {
    /// Rows of `data` by these columns.
    Table(&'static [Column]),
    /// Names and values.
    Fields,
    /// The same, of what may take minutes.
    Slow,
    /// As it is.
    Text,
    /// One line for each event, as they come.
    Feed,
    /// The owner's entries and the names that are served.
    Routes,
    /// Usage has sums by name below the total.
    Usage,
    /// As a page of its own says it.
    Page(fn(&Value) -> String),
    /// Budgets, one a line.
    Budgets,
    /// A decision as a report.
    Decision,
    /// Decisions, one a line.
    Decisions,
    /// Names and values; without `"whole": true` among them the command fails.
    Proof,
    /// This sentence; the answer has nothing to add.
    Done(String),
}

/// Carries out a command and answers the exit code.
pub fn run(args: &AdminArgs) -> ExitCode {
    let outcome = match &args.verb {
        Verb::Replay(replay) => replayed(args, replay),
        Verb::Store(store) => carried(args, store),
        verb => call(verb).and_then(|call| ask(args, &call)),
    };
    match outcome {
        Ok(code) => code,
        // `igris admin metrics | head` ends like any other filter.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn carried(args: &AdminArgs, store: &store::StoreArgs) -> anyhow::Result<ExitCode> {
    let answer = store::run(store)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{answer}")?;
    } else {
        writeln!(out, "{}", print::fields(&answer).trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn replayed(args: &AdminArgs, replay: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let text = replay::run(replay, &args.socket, args.json)?;
    writeln!(std::io::stdout().lock(), "{}", text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn ask(args: &AdminArgs, call: &Call) -> anyhow::Result<ExitCode> {
    let body = call.body.as_ref().map(|(content_type, bytes)| (*content_type, bytes.expose()));
    let patience = match (&args.verb, &call.shown) {
        (Verb::Upgrade(upgrade), _) => upgrade.patience(),
        (_, Shown::Feed) => FEED_SILENCE * 4,
        (_, Shown::Proof | Shown::Slow) => VAULT_PATIENCE,
        _ => CONTROL_DEADLINE + Duration::from_secs(1),
    };
    let request = Request { method: call.method, target: &call.target, body };
    let answer = client::send(&args.socket, &request, Some(patience))?;
    if !(200..300).contains(&answer.status) {
        return refused(answer, args.json);
    }
    if matches!(call.shown, Shown::Feed) {
        return feed(answer, args.json);
    }
    let bytes = answer.whole()?;
    let done = match call.shown {
        Shown::Proof if !is_whole(&bytes) => ExitCode::from(EXIT_FAILURE),
        _ => ExitCode::SUCCESS,
    };
    let mut out = std::io::stdout().lock();
    if args.json || matches!(call.shown, Shown::Text) {
        out.write_all(&bytes)?;
        if !bytes.ends_with(b"\n") && !bytes.is_empty() {
            out.write_all(b"\n")?;
        }
        return Ok(done);
    }
    let text = match &call.shown {
        Shown::Done(sentence) => sentence.clone(),
        shown => {
            let value =
                serde_json::from_slice(&bytes).context("the answer is not JSON; are both igris of one version?")?;
            match shown {
                Shown::Table(columns) => print::table(&value, columns),
                Shown::Routes => print::routes(&value),
                Shown::Usage => print::usage(&value),
                Shown::Page(page) => page(&value),
                Shown::Budgets => budgets::table(&value),
                Shown::Decision => explain::report(&value),
                Shown::Decisions => explain::decisions(&value),
                _ => print::fields(&value),
            }
        }
    };
    writeln!(out, "{}", text.trim_end())?;
    Ok(done)
}

fn is_whole(answer: &[u8]) -> bool {
    serde_json::from_slice::<Value>(answer).is_ok_and(|answer| answer["whole"] == true)
}

/// With `--json` the whole refusal is the answer; either way the sentence goes to stderr.
pub(super) fn refused(answer: Answer, json: bool) -> anyhow::Result<ExitCode> {
    let status = answer.status;
    let bytes = answer.whole()?;
    let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if json {
        println!("{}", String::from_utf8_lossy(&bytes).trim_end());
    }
    let sentence = value["error"]["message"].as_str().map(str::to_owned);
    let sentence = sentence.unwrap_or_else(|| format!("the gateway answered {status} without a reason; see its log"));
    eprintln!("igris: {}", print::safe(&sentence));
    for problem in value["problems"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        eprintln!("{}", print::safe(problem));
    }
    Ok(ExitCode::from(EXIT_FAILURE))
}

/// Events as they come: each `data:` line, whole or as a sentence.
fn feed(answer: Answer, json: bool) -> anyhow::Result<ExitCode> {
    let mut pending = Vec::new();
    answer.each(|piece| {
        pending.extend_from_slice(piece);
        let mut out = std::io::stdout().lock();
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let Some(data) = line.strip_prefix(b"data: ") else { continue };
            if json {
                out.write_all(data)?;
            } else {
                writeln!(out, "{}", print::event(&serde_json::from_slice(data).unwrap_or_default()))?;
            }
        }
        Ok(out.flush()?)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn call(verb: &Verb) -> anyhow::Result<Call> {
    let simple = |method, target: &str, shown| Ok(Call { method, target: target.to_owned(), body: None, shown });
    match verb {
        Verb::Status => simple("GET", "/status", Shown::Fields),
        Verb::Reload(reload) => Ok(config::reload(reload)),
        Verb::Drain => simple("POST", "/drain", Shown::Done("draining: what is in flight may finish".to_owned())),
        Verb::Config(args) => config::call(args),
        Verb::Rollout(args) => Ok(config::rollout(args)),
        Verb::Upgrade(upgrade) => upgrade::call(upgrade),
        Verb::Providers => simple("GET", "/providers", Shown::Table(print::PROVIDERS)),
        Verb::Breakers { provider: Some(provider), to: Some(to) } => {
            simple("POST", &format!("/breakers/{provider}/{to}"), Shown::Fields)
        }
        Verb::Breakers { .. } => simple("GET", "/breakers", Shown::Table(print::BREAKERS)),
        Verb::Keys(keys) => keys::call(keys),
        Verb::Rotate(rotate) => rotations::begin(rotate),
        Verb::Rotations(rotations) => Ok(rotations::call(rotations)),
        Verb::Tenants(tenants) => Ok(tenants::call(tenants)),
        Verb::AccessKeys(keys) => access_keys::call(keys),
        Verb::Routes => simple("GET", "/routes", Shown::Routes),
        Verb::Scores => simple("GET", "/scores", Shown::Table(print::SCORES)),
        Verb::Usage(usage) => Ok(costs::usage(usage)),
        Verb::Costs(costs) => Ok(costs::call(costs)),
        Verb::Budgets(budgets) => Ok(budgets::call(budgets)),
        Verb::Alerts(alerts) => Ok(alerts::call(alerts)),
        Verb::Ledger => simple("GET", "/ledger", Shown::Fields),
        Verb::Explain { id } => simple("GET", &format!("/decisions/{id}"), Shown::Decision),
        Verb::Decisions(decisions) => Ok(decisions::call(decisions)),
        Verb::Audit(audit) => Ok(audit::call(audit)),
        Verb::Backup { file } => Ok(audit::backup(file)?),
        // Carried out here, with no gateway to ask.
        Verb::Store(_) => simple("GET", "/status", Shown::Fields),
        Verb::Replay(_) => simple("GET", "/decisions?format=jsonl", Shown::Text),
        Verb::Metrics => simple("GET", "/metrics", Shown::Text),
        Verb::Events => simple("GET", "/events", Shown::Feed),
    }
}

/// A value as it may stand in a query (RFC 3986 §2.3).
pub(super) fn encoded(value: &str) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
        text
    })
}

fn default_socket() -> PathBuf {
    PathBuf::from(DATA_DIR_DEFAULT).join(ADMIN_SOCKET_NAME)
}

#[cfg(test)]
mod tests;
