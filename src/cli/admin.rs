//! `igris admin …`: a client of the admin socket, one request for each command.
//!
//! With `--json` the API's answer goes to stdout unchanged; without it, a small table. A refusal goes to stderr as the sentence the API
//! gives, with exit code 1. Provider keys never pass through the arguments.

use super::client::{self, Answer, Request};
use super::explain;
use super::print::{self, Column};
use super::replay::{self, ReplayArgs};
use super::secret_input::{self, SecretArgs};
use super::{ADMIN_SOCKET_NAME, DATA_DIR_DEFAULT, EXIT_FAILURE, failed, name};
use crate::domain::secret::Secret;
use crate::limits::{CONFIG_BYTES_MAX, CONTROL_DEADLINE, FEED_SILENCE};
use anyhow::{Context as _, anyhow};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
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
    Reload,
    /// Stop accepting; what is in flight may finish
    Drain,
    /// Which configuration is running, or replace it with a file
    Config {
        /// Replace it with this file
        #[arg(long, value_name = "FILE")]
        put: Option<PathBuf>,
    },
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
    Keys(Keys),
    /// Tenants
    #[command(subcommand)]
    Tenants(Tenants),
    /// Access keys of a tenant
    #[command(subcommand)]
    AccessKeys(AccessKeys),
    /// What clients may ask for, and who serves it
    Routes,
    /// What is known of every lane: one model at one provider under one credential
    Scores,
    /// Requests, tokens and money of a tenant
    Usage {
        /// Whose
        #[arg(long, default_value = "default", value_parser = name)]
        tenant: String,
        /// How far back: hour | day | week | month
        #[arg(long, default_value = "day", value_parser = PossibleValuesParser::new(["hour", "day", "week", "month"]))]
        period: String,
    },
    /// Why a request was routed as it was: candidates, attempts, our own time
    Explain {
        /// `req_…`, from the header x-request-id
        #[arg(value_parser = name)]
        id: String,
    },
    /// The latest routing decisions
    Decisions(Decisions),
    /// What recorded decisions would have come to under another policy
    Replay(ReplayArgs),
    /// Metrics in Prometheus text
    Metrics,
    /// Live feed of events; ends with Ctrl-C
    Events,
}

/// `igris admin keys`.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// List a provider's keys; never their text
    List {
        /// Whose key it is
        #[arg(value_parser = name)]
        provider: String,
        #[command(flatten)]
        owner: Owner,
    },
    /// Show one key
    Show {
        /// Whose key it is
        #[arg(value_parser = name)]
        provider: String,
        /// `key_…`
        #[arg(value_parser = name)]
        id: String,
        #[command(flatten)]
        owner: Owner,
    },
    /// Add a key, read from stdin unless a file or variable is named
    Add {
        /// Whose key it is
        #[arg(value_parser = name)]
        provider: String,
        #[command(flatten)]
        owner: Owner,
        #[command(flatten)]
        key: SecretArgs,
        /// Timeout of an exchange with this key, as in 30s
        #[arg(long)]
        timeout: Option<String>,
        /// Retries after the first attempt
        #[arg(long, value_name = "N")]
        max_retries: Option<u32>,
    },
    /// Erase a key
    Remove {
        /// Whose key it is
        #[arg(value_parser = name)]
        provider: String,
        /// `key_…`
        #[arg(value_parser = name)]
        id: String,
        #[command(flatten)]
        owner: Owner,
    },
}

/// `igris admin decisions`.
#[derive(Debug, Args)]
pub struct Decisions {
    /// Of this tenant alone
    #[arg(long, value_parser = name)]
    pub tenant: Option<String>,
    /// For this model alone, by the name asked for or a provider's
    #[arg(long)]
    pub model: Option<String>,
    /// That asked this provider
    #[arg(long, value_parser = name)]
    pub provider: Option<String>,
    /// With this status for the client
    #[arg(long)]
    pub status: Option<u16>,
    /// So many at most [default: 100; with --jsonl all]
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// One JSON object a line, the oldest first, to be kept and replayed
    #[arg(long)]
    pub jsonl: bool,
}

/// Whose thing it is.
#[derive(Debug, Args)]
pub struct Owner {
    /// Which tenant
    #[arg(long, default_value = "default", value_parser = name)]
    pub tenant: String,
}

/// `igris admin tenants`.
#[derive(Debug, Subcommand)]
pub enum Tenants {
    /// List them
    List,
    /// Make one
    Add {
        /// Its id
        #[arg(value_parser = name)]
        id: String,
    },
    /// Destroy one with all its keys, for good
    Remove {
        /// Its id
        #[arg(value_parser = name)]
        id: String,
    },
}

/// `igris admin access-keys`.
#[derive(Debug, Subcommand)]
pub enum AccessKeys {
    /// List them; never their text
    List {
        #[command(flatten)]
        owner: Owner,
    },
    /// Make one; its text is shown once
    Add {
        #[command(flatten)]
        owner: Owner,
        /// What to call it
        #[arg(long)]
        name: String,
        /// What it may do; may be repeated [default: inference]
        #[arg(long = "scope", value_parser = PossibleValuesParser::new(["inference", "keys", "costs", "admin"]))]
        scopes: Vec<String>,
        /// When it ends, as in 2027-01-31T00:00:00Z
        #[arg(long, value_name = "INSTANT")]
        expires_at: Option<String>,
        /// Its limits as a JSON object, as in {"requests_per_minute":600}
        #[arg(long, value_name = "JSON")]
        limits: Option<String>,
    },
    /// Revoke one, for good
    Revoke {
        /// `ak_…`
        #[arg(value_parser = name)]
        id: String,
        #[command(flatten)]
        owner: Owner,
    },
}

/// A verb as a request, and how its answer is shown.
struct Call {
    method: &'static str,
    target: String,
    body: Option<(&'static str, Secret)>,
    shown: Shown,
}

/// How an answer looks to a person.
enum Shown {
    /// Rows of `data` by these columns.
    Table(&'static [Column]),
    /// Names and values.
    Fields,
    /// As it is.
    Text,
    /// One line for each event, as they come.
    Feed,
    /// The owner's entries and the names that are served.
    Routes,
    /// Usage has sums by name below the total.
    Usage,
    /// A decision as a report.
    Decision,
    /// Decisions, one a line.
    Decisions,
    /// This sentence; the answer has nothing to add.
    Done(String),
}

/// Carries out a command and answers the exit code.
pub fn run(args: &AdminArgs) -> ExitCode {
    let outcome = match &args.verb {
        Verb::Replay(replay) => replayed(args, replay),
        verb => call(verb).and_then(|call| ask(args, &call)),
    };
    match outcome {
        Ok(code) => code,
        // `igris admin metrics | head` ends like any other filter.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn replayed(args: &AdminArgs, replay: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let text = replay::run(replay, &args.socket, args.json)?;
    writeln!(std::io::stdout().lock(), "{}", text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn ask(args: &AdminArgs, call: &Call) -> anyhow::Result<ExitCode> {
    let body = call.body.as_ref().map(|(content_type, bytes)| (*content_type, bytes.expose()));
    let patience = match call.shown {
        Shown::Feed => FEED_SILENCE * 4,
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
    let mut out = std::io::stdout().lock();
    if args.json || matches!(call.shown, Shown::Text) {
        out.write_all(&bytes)?;
        if !bytes.ends_with(b"\n") && !bytes.is_empty() {
            out.write_all(b"\n")?;
        }
        return Ok(ExitCode::SUCCESS);
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
                Shown::Decision => explain::report(&value),
                Shown::Decisions => explain::decisions(&value),
                _ => print::fields(&value),
            }
        }
    };
    writeln!(out, "{}", text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// With `--json` the whole refusal is the answer; either way the sentence goes to stderr.
fn refused(answer: Answer, json: bool) -> anyhow::Result<ExitCode> {
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
        Verb::Reload => simple("POST", "/reload", Shown::Fields),
        Verb::Drain => simple("POST", "/drain", Shown::Done("draining: what is in flight may finish".to_owned())),
        Verb::Config { put: None } => simple("GET", "/config", Shown::Fields),
        Verb::Config { put: Some(path) } => {
            let bytes = std::fs::metadata(path).and_then(|metadata| match metadata.len() > CONFIG_BYTES_MAX {
                true => Err(std::io::Error::other(format!("it is larger than {CONFIG_BYTES_MAX} bytes"))),
                false => std::fs::read(path),
            });
            let bytes = bytes.with_context(|| format!("cannot read {}; check the path", path.display()))?;
            let body = Some(("application/toml", Secret::take(bytes)));
            Ok(Call { method: "PUT", target: "/config".to_owned(), body, shown: Shown::Fields })
        }
        Verb::Providers => simple("GET", "/providers", Shown::Table(print::PROVIDERS)),
        Verb::Breakers { provider: Some(provider), to: Some(to) } => {
            simple("POST", &format!("/breakers/{provider}/{to}"), Shown::Fields)
        }
        Verb::Breakers { .. } => simple("GET", "/breakers", Shown::Table(print::BREAKERS)),
        Verb::Keys(keys) => keys_call(keys),
        Verb::Tenants(tenants) => Ok(tenants_call(tenants)),
        Verb::AccessKeys(keys) => access_keys_call(keys),
        Verb::Routes => simple("GET", "/routes", Shown::Routes),
        Verb::Scores => simple("GET", "/scores", Shown::Table(print::SCORES)),
        Verb::Usage { tenant, period } => {
            simple("GET", &format!("/usage?tenant={tenant}&period={period}"), Shown::Usage)
        }
        Verb::Explain { id } => simple("GET", &format!("/decisions/{id}"), Shown::Decision),
        Verb::Decisions(decisions) => Ok(decisions_call(decisions)),
        Verb::Replay(_) => simple("GET", "/decisions?format=jsonl", Shown::Text),
        Verb::Metrics => simple("GET", "/metrics", Shown::Text),
        Verb::Events => simple("GET", "/events", Shown::Feed),
    }
}

fn decisions_call(wanted: &Decisions) -> Call {
    let Decisions { tenant, model, provider, status, limit, jsonl } = wanted;
    let members = [
        ("tenant", tenant.clone()),
        ("model", model.as_deref().map(encoded)),
        ("provider", provider.clone()),
        ("status", status.map(|status| status.to_string())),
        ("limit", limit.map(|limit| limit.to_string())),
        ("format", jsonl.then(|| "jsonl".to_owned())),
    ];
    let members: Vec<String> =
        members.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?))).collect();
    let shown = if *jsonl { Shown::Text } else { Shown::Decisions };
    let mark = if members.is_empty() { "" } else { "?" };
    Call { method: "GET", target: format!("/decisions{mark}{}", members.join("&")), body: None, shown }
}

/// A value as it may stand in a query (RFC 3986 §2.3).
fn encoded(value: &str) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
        text
    })
}

fn keys_call(keys: &Keys) -> anyhow::Result<Call> {
    let path = |provider: &str, id: &str, owner: &Owner| {
        let slash = if id.is_empty() { "" } else { "/" };
        format!("/providers/{provider}/keys{slash}{id}?tenant={}", owner.tenant)
    };
    Ok(match keys {
        Keys::List { provider, owner } => {
            let target = path(provider, "", owner);
            Call { method: "GET", target, body: None, shown: Shown::Table(print::KEYS) }
        }
        Keys::Show { provider, id, owner } => {
            Call { method: "GET", target: path(provider, id, owner), body: None, shown: Shown::Fields }
        }
        Keys::Add { provider, owner, key, timeout, max_retries } => {
            let target = path(provider, "", owner);
            let body =
                Some(("application/json", key_body(&secret_input::read(key)?, timeout.as_deref(), *max_retries)?));
            Call { method: "POST", target, body, shown: Shown::Fields }
        }
        Keys::Remove { provider, id, owner } => {
            let shown = Shown::Done(format!("{id} is erased"));
            Call { method: "DELETE", target: path(provider, id, owner), body: None, shown }
        }
    })
}

/// `{"api_key":…,"config":{…}}`, written into one piece of memory that is wiped.
fn key_body(key: &Secret, timeout: Option<&str>, max_retries: Option<u32>) -> anyhow::Result<Secret> {
    let mut config = Map::new();
    config.extend(timeout.map(|timeout| ("timeout".to_owned(), Value::from(timeout))));
    config.extend(max_retries.map(|retries| ("max_retries".to_owned(), Value::from(retries))));
    let config = Value::Object(config).to_string();
    // A key that needs escapes holds control characters and is refused there; six bytes for each is the most.
    let mut body = Vec::with_capacity(6 * key.len() + config.len() + 64);
    body.extend_from_slice(b"{\"api_key\":");
    serde_json::to_writer(&mut body, std::str::from_utf8(key.expose())?)?;
    body.extend_from_slice(b",\"config\":");
    body.extend_from_slice(config.as_bytes());
    body.push(b'}');
    Ok(Secret::take(body))
}

fn tenants_call(tenants: &Tenants) -> Call {
    match tenants {
        Tenants::List => {
            Call { method: "GET", target: "/tenants".to_owned(), body: None, shown: Shown::Table(print::TENANTS) }
        }
        Tenants::Add { id } => {
            let body = Some(("application/json", Secret::take(json!({ "id": id }).to_string().into_bytes())));
            Call { method: "POST", target: "/tenants".to_owned(), body, shown: Shown::Fields }
        }
        Tenants::Remove { id } => {
            let shown = Shown::Done(format!("{id} and its keys are destroyed"));
            Call { method: "DELETE", target: format!("/tenants/{id}"), body: None, shown }
        }
    }
}

fn access_keys_call(keys: &AccessKeys) -> anyhow::Result<Call> {
    Ok(match keys {
        AccessKeys::List { owner } => {
            let target = format!("/access-keys?tenant={}", owner.tenant);
            Call { method: "GET", target, body: None, shown: Shown::Table(print::ACCESS_KEYS) }
        }
        AccessKeys::Add { owner, name, scopes, expires_at, limits } => {
            let mut body = json!({ "name": name });
            if !scopes.is_empty() {
                body["scopes"] = json!(scopes);
            }
            if let Some(instant) = expires_at {
                body["expires_at"] = json!(instant);
            }
            if let Some(limits) = limits {
                body["limits"] = serde_json::from_str(limits).map_err(|_| {
                    anyhow!("--limits is not JSON; write an object, as in {{\"requests_per_minute\":600}}")
                })?;
            }
            let target = format!("/access-keys?tenant={}", owner.tenant);
            let body = Some(("application/json", Secret::take(body.to_string().into_bytes())));
            Call { method: "POST", target, body, shown: Shown::Fields }
        }
        AccessKeys::Revoke { id, owner } => {
            let target = format!("/access-keys/{id}?tenant={}", owner.tenant);
            Call { method: "DELETE", target, body: None, shown: Shown::Done(format!("{id} is revoked")) }
        }
    })
}

fn default_socket() -> PathBuf {
    PathBuf::from(DATA_DIR_DEFAULT).join(ADMIN_SOCKET_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn called(line: &str) -> Call {
        let cli = Cli::try_parse_from(line.split_whitespace()).expect(line);
        let Command::Admin(args) = cli.command else { panic!("not admin: {line}") };
        call(&args.verb).expect(line)
    }

    #[test]
    fn verbs_become_requests() {
        for (line, request) in [
            ("igris admin status", "GET /status"),
            ("igris admin reload --json", "POST /reload"),
            ("igris admin keys list openai --tenant acme", "GET /providers/openai/keys?tenant=acme"),
            ("igris admin keys remove openai key_1", "DELETE /providers/openai/keys/key_1?tenant=default"),
            ("igris admin tenants remove acme", "DELETE /tenants/acme"),
            ("igris admin access-keys revoke ak_1 --tenant acme", "DELETE /access-keys/ak_1?tenant=acme"),
            ("igris admin breakers", "GET /breakers"),
            ("igris admin breakers openai open", "POST /breakers/openai/open"),
            ("igris admin explain req_1", "GET /decisions/req_1"),
            ("igris admin decisions", "GET /decisions"),
            (
                "igris admin decisions --model a/b&c --status 200 --limit 5 --jsonl",
                "GET /decisions?model=a%2Fb%26c&status=200&limit=5&format=jsonl",
            ),
            ("igris admin scores --json", "GET /scores"),
            ("igris admin usage --period month", "GET /usage?tenant=default&period=month"),
        ] {
            let call = called(line);
            assert_eq!(format!("{} {}", call.method, call.target), request);
        }
        let call = called("igris admin access-keys add --name app --scope inference --scope costs");
        let (_, body) = call.body.expect("a body");
        let body: Value = serde_json::from_slice(body.expose()).expect("JSON");
        assert_eq!(body, json!({ "name": "app", "scopes": ["inference", "costs"] }));
    }

    fn args(line: &str, socket: &std::path::Path) -> AdminArgs {
        let cli = Cli::try_parse_from(line.split_whitespace()).expect(line);
        let Command::Admin(mut args) = cli.command else { panic!("not admin: {line}") };
        args.socket = socket.to_owned();
        args
    }

    #[test]
    fn commands_reach_a_real_gateway() {
        let (house, path, end) = crate::admin::house::House::in_thread();
        let key = path.with_file_name("provider.key");
        std::fs::write(&key, crate::admin::house::CANARY).expect("written");
        let good = [
            "igris admin status",
            "igris admin tenants add acme",
            "igris admin tenants list",
            "igris admin access-keys add --tenant acme --name app --limits {\"concurrent\":3}",
            "igris admin access-keys list --tenant acme --json",
            "igris admin keys list openai",
            "igris admin providers",
            "igris admin breakers",
            "igris admin breakers openai open --json",
            "igris admin breakers openai reset",
            "igris admin routes",
            "igris admin scores",
            "igris admin usage --tenant acme --period week",
            "igris admin decisions",
            "igris admin decisions --jsonl --tenant acme",
            "igris admin metrics",
            "igris admin config",
            "igris admin reload",
            "igris admin drain",
        ];
        for line in good {
            assert_eq!(format!("{:?}", run(&args(line, &path))), format!("{:?}", ExitCode::SUCCESS), "{line}");
        }
        let add = format!("igris admin keys add openai --tenant acme --timeout 9s --key-file {}", key.display());
        assert_eq!(format!("{:?}", run(&args(&add, &path))), format!("{:?}", ExitCode::SUCCESS));
        let acme = crate::domain::id::TenantId::new("acme");
        let stored = crate::control_plane::lock(&house).credentials(&acme, Some("openai")).expect("stored");
        assert_eq!(stored[0].config.timeout_ms, 9_000);
        for line in [
            "igris admin tenants add acme",
            "igris admin keys show openai key_1",
            "igris admin usage --tenant nobody",
            "igris admin explain req_1",
        ] {
            assert_eq!(
                format!("{:?}", run(&args(line, &path))),
                format!("{:?}", ExitCode::from(EXIT_FAILURE)),
                "{line}"
            );
        }
        end();
        let refused = ask(&args("igris admin status", &path), &called("igris admin status")).expect_err("nobody there");
        assert!(format!("{refused:#}").contains("start `igris serve`"), "{refused:#}");
    }

    #[test]
    fn nothing_in_the_arguments_reaches_another_path() {
        for line in [
            "igris admin keys list ../tenants",
            "igris admin keys list openai --tenant a&period=b",
            "igris admin tenants remove a/b",
            "igris admin breakers openai",
            "igris admin breakers openai explode",
            "igris admin keys add openai sk-in-the-arguments",
        ] {
            assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{line}");
        }
    }

    #[test]
    fn a_key_goes_out_as_json_however_it_looks() {
        let key = Secret::copy_of("sk-\"\\é".as_bytes());
        let body = key_body(&key, Some("30s"), Some(2)).expect("a body");
        let body: Value = serde_json::from_slice(body.expose()).expect("JSON");
        assert_eq!(body, json!({ "api_key": "sk-\"\\é", "config": { "timeout": "30s", "max_retries": 2 } }));
    }
}
