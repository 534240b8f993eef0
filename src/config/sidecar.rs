//! The configuration of `igris serve` without a file: everything from the environment.
//!
//! Pure like parsing: the environment is a closure, and keys stay references. Faults name the variable instead of a line.

use super::access::{AccessKey, KeyLimits, TENANT_DEFAULT};
use super::base_url::BaseUrl;
use super::operation::KeySource;
use super::problem::{Complaint, Problems, of_environment};
use super::{Config, Known, KnownProvider, Provider};
use crate::domain::id::TenantId;
use crate::domain::scope::Scopes;

/// The variable that holds the access key.
pub const ACCESS_KEY_VARIABLE: &str = "IGRIS_API_KEY";

impl Config {
    /// Configures every known provider that has a key in one of its variables, the default listener and the default tenant.
    ///
    /// - `IGRIS_API_KEY`, when set, becomes the access key `default` with all scopes; otherwise there is none, and the caller makes one.
    /// - `IGRIS_<NAME>_BASE_URL`, with the canonical name in upper case and `_` for `-` and `.`, moves a provider (`IGRIS_OPENAI_BASE_URL`). Here
    ///   the operator's own shell speaks, so loopback and private addresses and plain http are allowed; the rest of rule T5 holds. A provider
    ///   with such a variable is configured even without a key, as servers of one's own often need none.
    ///
    /// A provider whose row has no address waits for that variable; one whose dialect is not spoken is left out. An empty variable counts as
    /// unset.
    ///
    /// # Errors
    /// Every base URL that cannot be used, by the name of its variable.
    pub fn sidecar(env: &dyn Fn(&str) -> Option<String>, known: &Known<'_>) -> Result<Config, Problems> {
        let set = |name: &str| env(name).filter(|value| !value.trim().is_empty());
        let mut refused: Vec<(String, Complaint)> = Vec::new();
        let providers = known.providers.iter().filter_map(|row| provider(row, known, &set, &mut refused)).collect();
        if !refused.is_empty() {
            return Err(of_environment(refused));
        }
        let access_keys = set(ACCESS_KEY_VARIABLE).map(|_| owner_key()).into_iter().collect();
        Ok(Config { providers, access_keys, ..Config::default() })
    }
}

fn owner_key() -> AccessKey {
    AccessKey {
        name: "default".to_owned(),
        tenant: TenantId::new(TENANT_DEFAULT),
        key: KeySource::Env(ACCESS_KEY_VARIABLE.to_owned()),
        scopes: Scopes::ALL,
        limits: KeyLimits::default(),
        expires_at: None,
    }
}

fn provider(
    row: &KnownProvider<'_>,
    known: &Known<'_>,
    set: &dyn Fn(&str) -> Option<String>,
    refused: &mut Vec<(String, Complaint)>,
) -> Option<Provider> {
    if !known.dialects.contains(&row.dialect) {
        return None;
    }
    let variable = base_url_variable(row.name);
    let key = row.key_envs.iter().find(|name| set(name).is_some());
    let moved = set(&variable);
    if moved.is_none() && (key.is_none() || row.base_url.is_none()) {
        return None;
    }
    let mut provider = Provider::built_in(row);
    provider.api_key = key.map(|name| KeySource::Env((*name).to_owned()));
    if let Some(text) = moved {
        provider.allow_private_address = true;
        match BaseUrl::parse(text.trim(), true) {
            Ok(url) => provider.base_url = Some(url),
            Err(complaint) => refused.push((variable, complaint)),
        }
    }
    Some(provider)
}

fn base_url_variable(provider: &str) -> String {
    format!("IGRIS_{}_BASE_URL", provider.to_ascii_uppercase().replace(['-', '.'], "_"))
}
