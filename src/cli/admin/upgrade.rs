//! `igris admin upgrade`: the gateway hands over to a new process, and the answer says who serves.

use super::{Call, Shown};
use crate::domain::secret::Secret;
use crate::limits::{HANDOVER_PATIENCE, HANDOVER_PATIENCE_MAX, HANDOVER_TAKE_DEADLINE};
use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// `igris admin upgrade`.
#[derive(Clone, Debug, Args)]
pub struct Upgrade {
    /// Start this program instead of the one at the running gateway's own path
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Seconds that the new process may take to read its configuration, and again to open the store
    #[arg(long, value_name = "SECONDS", default_value_t = HANDOVER_PATIENCE.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..=HANDOVER_PATIENCE_MAX.as_secs()))]
    timeout: u64,
}

impl Upgrade {
    /// How long the answer may take.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(2 * self.timeout) + HANDOVER_TAKE_DEADLINE * 2
    }
}

/// The request.
pub(super) fn call(upgrade: &Upgrade) -> anyhow::Result<Call> {
    let mut body = json!({ "timeout_ms": upgrade.timeout.saturating_mul(1_000) });
    if let Some(path) = &upgrade.binary {
        let path = path.canonicalize().with_context(|| format!("cannot use {}; check the path", path.display()))?;
        let path = path.to_str().with_context(|| format!("{} is not UTF-8; rename it", path.display()))?;
        body["binary"] = json!(path);
    }
    let body = Some(("application/json", Secret::take(body.to_string().into_bytes())));
    Ok(Call { method: "POST", target: "/upgrade".to_owned(), body, shown: Shown::Fields })
}
