//! `igris admin access-keys`.

use super::{Call, Owner, Shown};
use crate::cli::{name, print};
use crate::domain::secret::Secret;
use crate::limits::ACCESS_KEY_OVERLAP_MINUTES_MAX;
use anyhow::anyhow;
use clap::builder::PossibleValuesParser;
use clap::{Subcommand, value_parser};
use serde_json::{Value, json};

const SCOPES: [&str; 4] = ["inference", "keys", "costs", "admin"];

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
        #[arg(long = "scope", value_parser = PossibleValuesParser::new(SCOPES))]
        scopes: Vec<String>,
        /// When it ends, as in 2027-01-31T00:00:00Z
        #[arg(long, value_name = "INSTANT")]
        expires_at: Option<String>,
        /// Its limits as a JSON object, as in {"requests_per_minute":600}
        #[arg(long, value_name = "JSON")]
        limits: Option<String>,
    },
    /// Show one; never its text
    Show {
        /// `ak_…`
        #[arg(value_parser = name)]
        id: String,
        #[command(flatten)]
        owner: Owner,
    },
    /// Change one; what is not named stays
    Update {
        /// `ak_…`
        #[arg(value_parser = name)]
        id: String,
        #[command(flatten)]
        owner: Owner,
        /// What to call it
        #[arg(long)]
        name: Option<String>,
        /// What it may do, all of it; may be repeated
        #[arg(long = "scope", value_parser = PossibleValuesParser::new(SCOPES))]
        scopes: Vec<String>,
        /// When it ends, as in 2027-01-31T00:00:00Z, or `never`
        #[arg(long, value_name = "INSTANT")]
        expires_at: Option<String>,
        /// Members of its limits as a JSON object, as in {"concurrent":8,"budget":null}; a null takes one away
        #[arg(long, value_name = "JSON")]
        limits: Option<String>,
    },
    /// Make one in the place of another, which goes on for a while; its text is shown once
    Rotate {
        /// `ak_…`
        #[arg(value_parser = name)]
        id: String,
        #[command(flatten)]
        owner: Owner,
        /// How long the old one goes on, up to a week [default: 15]
        #[arg(long, value_name = "MINUTES", value_parser = value_parser!(u64).range(..=ACCESS_KEY_OVERLAP_MINUTES_MAX))]
        overlap_minutes: Option<u64>,
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

/// The verb as a request.
pub(super) fn call(keys: &AccessKeys) -> anyhow::Result<Call> {
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
                body["limits"] = object(limits)?;
            }
            let target = format!("/access-keys?tenant={}", owner.tenant);
            Call { method: "POST", target, body: sent(&body), shown: Shown::Fields }
        }
        AccessKeys::Show { id, owner } => {
            let target = format!("/access-keys/{id}?tenant={}", owner.tenant);
            Call { method: "GET", target, body: None, shown: Shown::Fields }
        }
        AccessKeys::Update { id, owner, name, scopes, expires_at, limits } => {
            let mut body = json!({});
            if let Some(name) = name {
                body["name"] = json!(name);
            }
            if !scopes.is_empty() {
                body["scopes"] = json!(scopes);
            }
            if let Some(instant) = expires_at {
                body["expires_at"] = if instant == "never" { Value::Null } else { json!(instant) };
            }
            if let Some(limits) = limits {
                body["limits"] = object(limits)?;
            }
            let target = format!("/access-keys/{id}?tenant={}", owner.tenant);
            Call { method: "PATCH", target, body: sent(&body), shown: Shown::Fields }
        }
        AccessKeys::Rotate { id, owner, overlap_minutes } => {
            let body = overlap_minutes.map_or_else(|| json!({}), |minutes| json!({ "overlap_minutes": minutes }));
            let target = format!("/access-keys/{id}/rotate?tenant={}", owner.tenant);
            Call { method: "POST", target, body: sent(&body), shown: Shown::Fields }
        }
        AccessKeys::Revoke { id, owner } => {
            let target = format!("/access-keys/{id}?tenant={}", owner.tenant);
            Call { method: "DELETE", target, body: None, shown: Shown::Done(format!("{id} is revoked")) }
        }
    })
}

fn sent(body: &Value) -> Option<(&'static str, Secret)> {
    Some(("application/json", Secret::take(body.to_string().into_bytes())))
}

fn object(limits: &str) -> anyhow::Result<Value> {
    serde_json::from_str(limits)
        .map_err(|_| anyhow!("--limits is not JSON; write an object, as in {{\"requests_per_minute\":600}}"))
}
