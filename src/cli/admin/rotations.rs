//! `igris admin rotate` and `igris admin rotations`.

use super::{Call, Owner, Shown};
use crate::cli::secret_input::{self, SecretArgs};
use crate::cli::{name, print};
use crate::config::unit;
use crate::domain::secret::Secret;
use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

/// `igris admin rotate`.
#[derive(Debug, Args)]
pub struct Rotate {
    /// Whose key it is
    #[arg(value_parser = name)]
    provider: String,
    #[command(flatten)]
    owner: Owner,
    /// The key to replace, `key_…`; not needed where there is only one
    #[arg(long, value_name = "ID", value_parser = name)]
    key_id: Option<String>,
    /// How long both keys are in use, from 1m to 24h
    #[arg(long, value_name = "TIME", default_value = "15m")]
    grace: String,
    /// Percentage of requests that try the new key first
    #[arg(long, value_name = "PERCENT", default_value_t = 100)]
    canary: u8,
    #[command(flatten)]
    key: SecretArgs,
    /// Timeout of an exchange with the new key, as in 30s; else the old key's
    #[arg(long)]
    timeout: Option<String>,
    /// Retries after the first attempt with the new key; else the old key's
    #[arg(long, value_name = "N")]
    max_retries: Option<u32>,
}

/// `igris admin rotations`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Rotations {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: List,
}

/// What to do with rotations; without a word, list them.
#[derive(Debug, Subcommand)]
enum Verb {
    /// List them, oldest first
    List(List),
    /// Show one: state, time left, counts of both keys
    Show(One),
    /// Give the new key up; the old one serves on
    Cancel(One),
    /// Promote the new key at once
    Complete(One),
}

#[derive(Debug, Args)]
struct List {
    /// Of this provider alone
    #[arg(long, value_parser = name)]
    provider: Option<String>,
    #[command(flatten)]
    owner: Owner,
}

#[derive(Debug, Args)]
struct One {
    /// `rot_…`
    #[arg(value_parser = name)]
    id: String,
    #[command(flatten)]
    owner: Owner,
}

/// The beginning as a request. The new key never passes through the arguments.
pub(super) fn begin(rotate: &Rotate) -> anyhow::Result<Call> {
    let target = format!("/providers/{}/keys/rotate?tenant={}", rotate.provider, rotate.owner.tenant);
    let body = Some(("application/json", body(rotate, &secret_input::read(&rotate.key)?)?));
    Ok(Call { method: "POST", target, body, shown: Shown::Fields })
}

/// The verb as a request.
pub(super) fn call(rotations: &Rotations) -> Call {
    let (method, one, word) = match &rotations.verb {
        None => return listed(&rotations.list),
        Some(Verb::List(list)) => return listed(list),
        Some(Verb::Show(one)) => ("GET", one, ""),
        Some(Verb::Cancel(one)) => ("POST", one, "/cancel"),
        Some(Verb::Complete(one)) => ("POST", one, "/complete"),
    };
    let target = format!("/rotations/{}{word}?tenant={}", one.id, one.owner.tenant);
    Call { method, target, body: None, shown: Shown::Fields }
}

fn listed(list: &List) -> Call {
    let mut target = format!("/rotations?tenant={}", list.owner.tenant);
    if let Some(provider) = &list.provider {
        target.push_str(&format!("&provider={provider}"));
    }
    Call { method: "GET", target, body: None, shown: Shown::Table(print::ROTATIONS) }
}

/// The body of the request, written into one piece of memory that is wiped.
fn body(rotate: &Rotate, key: &Secret) -> anyhow::Result<Secret> {
    let grace = unit::duration(&rotate.grace)
        .map_err(|complaint| anyhow::anyhow!("--grace {}; {}, as in 15m", complaint.what, complaint.remedy))?;
    let mut config = Map::new();
    config.extend(rotate.timeout.as_ref().map(|timeout| ("timeout".to_owned(), Value::from(timeout.as_str()))));
    config.extend(rotate.max_retries.map(|retries| ("max_retries".to_owned(), Value::from(retries))));
    let mut rest = Map::new();
    rest.insert("grace_period_minutes".to_owned(), Value::from(grace.as_secs_f64() / 60.0));
    rest.insert("canary_percent".to_owned(), Value::from(rotate.canary));
    rest.extend(rotate.key_id.as_ref().map(|id| ("key_id".to_owned(), Value::from(id.as_str()))));
    if !config.is_empty() {
        rest.insert("config".to_owned(), Value::Object(config));
    }
    let rest = Value::Object(rest).to_string();
    let rest = rest.strip_prefix('{').context("an object begins with a brace")?;
    // A key that needs escapes holds control characters and is refused there; six bytes for each is the most.
    let mut body = Vec::with_capacity(6 * key.len() + rest.len() + 64);
    body.extend_from_slice(b"{\"new_api_key\":");
    serde_json::to_writer(&mut body, std::str::from_utf8(key.expose())?)?;
    body.push(b',');
    body.extend_from_slice(rest.as_bytes());
    Ok(Secret::take(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;
    use serde_json::json;

    fn rotate(line: &str) -> Rotate {
        let cli = Cli::try_parse_from(line.split_whitespace()).expect(line);
        let Command::Admin(args) = cli.command else { panic!("not admin: {line}") };
        let super::super::Verb::Rotate(rotate) = args.verb else { panic!("not rotate: {line}") };
        rotate
    }

    fn sent(line: &str) -> anyhow::Result<Value> {
        let body = body(&rotate(line), &Secret::copy_of(b"sk-\"x"))?;
        Ok(serde_json::from_slice(body.expose())?)
    }

    #[test]
    fn a_rotation_goes_out_as_json() {
        let usual = json!({ "new_api_key": "sk-\"x", "grace_period_minutes": 15.0, "canary_percent": 100 });
        assert_eq!(sent("igris admin rotate openai").expect("a body"), usual);
        let line = "igris admin rotate openai --key-id key_1 --grace 90s --canary 10 --timeout 5s --max-retries 2";
        let all = json!({ "new_api_key": "sk-\"x", "grace_period_minutes": 1.5, "canary_percent": 10, "key_id": "key_1",
            "config": { "timeout": "5s", "max_retries": 2 } });
        assert_eq!(sent(line).expect("a body"), all);
        let refused = sent("igris admin rotate openai --grace 15").expect_err("a bare number");
        assert!(refused.to_string().contains("15m"), "{refused}");
    }
}
