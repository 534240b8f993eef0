//! `igris admin keys`.

use super::{Call, Owner, Shown};
use crate::cli::secret_input::{self, SecretArgs};
use crate::cli::{name, print};
use crate::domain::secret::Secret;
use clap::Subcommand;
use serde_json::{Map, Value};

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

/// The verb as a request.
pub(super) fn call(keys: &Keys) -> anyhow::Result<Call> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_goes_out_as_json_however_it_looks() {
        let key = Secret::copy_of("sk-\"\\é".as_bytes());
        let body = key_body(&key, Some("30s"), Some(2)).expect("a body");
        let body: Value = serde_json::from_slice(body.expose()).expect("JSON");
        assert_eq!(body, json!({ "api_key": "sk-\"\\é", "config": { "timeout": "30s", "max_retries": 2 } }));
    }
}
