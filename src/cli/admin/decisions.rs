//! `igris admin decisions`.

use super::{Call, Shown, encoded};
use crate::cli::name;
use clap::Args;

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

/// The verb as a request.
pub(super) fn call(wanted: &Decisions) -> Call {
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
