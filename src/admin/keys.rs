//! Provider keys over HTTP: the same operations for a tenant on the public API and for the operator on the admin socket.
//!
//! The text of a key comes in here and nowhere goes out: answers carry what the control plane shows, which is a redacted form.

use super::answer::{Outcome, Refusal, created, fine};
use super::members::Members;
use super::{Shared, locked};
use crate::config::unit;
use crate::control_plane::KeyConfig;
use crate::domain::id::{CredentialId, TenantId};
use serde_json::json;

/// Whose key, at which provider, and who asks.
pub struct Owner {
    /// Who, for the audit log.
    pub who: String,
    /// Whose.
    pub tenant: TenantId,
    /// The provider's name, or an alias of it.
    pub provider: String,
}

/// `POST …/keys`: `{"api_key":"sk-…","config":{"timeout":30,"max_retries":3}}`; 201 with the key as shown.
pub fn add(control: &Shared, owner: &Owner, body: &[u8]) -> Outcome {
    let mut members = Members::read(body)?;
    let config = key_config(&mut members)?;
    let secret = members.secret("api_key")?;
    members.end("`api_key` and `config`")?;
    let view = locked(control).add_credential(&owner.who, &owner.tenant, &owner.provider, secret, config)?;
    created(&view)
}

/// `GET …/keys`: this provider's keys of this tenant, erased ones as `revoked`.
pub fn list(control: &Shared, owner: &Owner) -> Outcome {
    let views = locked(control).credentials(&owner.tenant, Some(&owner.provider))?;
    fine(&json!({ "object": "list", "data": views }))
}

/// `GET …/keys/{id}`.
pub fn show(control: &Shared, owner: &Owner, id: &str) -> Outcome {
    fine(&locked(control).credential(&owner.tenant, &owner.provider, known(id)?)?)
}

/// `DELETE …/keys/{id}`: 200 with the key as it is now, `revoked`.
pub fn remove(control: &Shared, owner: &Owner, id: &str) -> Outcome {
    fine(&locked(control).remove_credential(&owner.who, &owner.tenant, &owner.provider, known(id)?)?)
}

/// An id that cannot be one of ours is one that does not exist.
pub(super) fn known(id: &str) -> Result<CredentialId, Refusal> {
    CredentialId::parse(id).ok_or_else(|| Refusal::no_such("provider key", "GET …/keys"))
}

/// `config`: what is not said has its default.
fn key_config(members: &mut Members<'_>) -> Result<KeyConfig, Refusal> {
    let (timeout_ms, max_retries) = limits(members)?;
    let default = KeyConfig::default();
    Ok(KeyConfig {
        timeout_ms: timeout_ms.unwrap_or(default.timeout_ms),
        max_retries: max_retries.unwrap_or(default.max_retries),
    })
}

/// `config`: `timeout` in seconds or as "30s", here in milliseconds, and `max_retries`; `None` where nothing is said.
pub(super) fn limits(members: &mut Members<'_>) -> Result<(Option<u32>, Option<u32>), Refusal> {
    let Some(mut given) = members.object("config")? else { return Ok((None, None)) };
    let timeout = match given.take::<Timeout>("timeout", TIMEOUT)? {
        Some(timeout) => Some(timeout.milliseconds().ok_or_else(|| given.wrong("timeout", TIMEOUT))?),
        None => None,
    };
    let retries = given.take("max_retries", "a whole number of 0 or more")?;
    given.end("`timeout` and `max_retries`")?;
    Ok((timeout, retries))
}

const TIMEOUT: &str = "a number of seconds above 0, or a duration such as \"30s\" or \"1500ms\"";

/// The two ways to write a duration.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Timeout {
    Seconds(f64),
    Text(String),
}

impl Timeout {
    /// Whole milliseconds, at least one; `None` for what is no duration. The upper bound is the control plane's.
    fn milliseconds(&self) -> Option<u32> {
        let milliseconds = match self {
            Self::Seconds(seconds) => seconds * 1_000.0,
            Self::Text(text) => unit::duration(text).ok()?.as_secs_f64() * 1_000.0,
        };
        let rounded = milliseconds.round();
        // A NaN is in no range.
        (1.0..=f64::from(u32::MAX)).contains(&rounded).then_some(rounded as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<(u32, u32), String> {
        let body = format!("{{\"config\":{text}}}");
        let config = Members::read(body.as_bytes()).and_then(|mut members| key_config(&mut members));
        config.map(|config| (config.timeout_ms, config.max_retries)).map_err(|refusal| format!("{refusal:?}"))
    }

    #[test]
    fn a_timeout_is_seconds_or_a_duration() {
        let default = KeyConfig::default();
        assert_eq!(config("{}"), Ok((default.timeout_ms, default.max_retries)));
        assert_eq!(config("null"), Ok((default.timeout_ms, default.max_retries)));
        assert_eq!(config(r#"{"timeout":30,"max_retries":0}"#), Ok((30_000, 0)));
        assert_eq!(config(r#"{"timeout":0.25}"#), Ok((250, default.max_retries)));
        assert_eq!(config(r#"{"timeout":"2m"}"#), Ok((120_000, default.max_retries)));
        for text in [
            r#"{"timeout":0}"#,
            r#"{"timeout":-1}"#,
            r#"{"timeout":1e99}"#,
            r#"{"timeout":"soon"}"#,
            r#"{"timeout":true}"#,
        ] {
            assert!(config(text).is_err_and(|refusal| refusal.contains("config.timeout")), "{text}");
        }
        assert!(config(r#"{"max_retries":-1}"#).is_err_and(|refusal| refusal.contains("config.max_retries")));
        assert!(config(r#"{"retries":1}"#).is_err_and(|refusal| refusal.contains("config.retries")));
    }
}
