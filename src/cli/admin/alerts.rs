//! `igris admin alerts`.

use super::{Call, Owner, Shown, encoded};
use crate::cli::{name, print};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

/// `igris admin alerts`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Alerts {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: List,
}

/// What to do with alerts; without a word, list them.
#[derive(Debug, Subcommand)]
enum Verb {
    /// List them, the newest first
    List(List),
    /// Say that one was seen
    Ack {
        /// `al_…`
        #[arg(value_parser = name)]
        id: String,
        #[command(flatten)]
        owner: Owner,
    },
    /// Webhooks of the configuration
    Webhooks,
    /// Send a message that says nothing
    Test(Receiver),
    /// The latest messages to a webhook
    Messages(Receiver),
}

#[derive(Debug, Args)]
struct List {
    /// Of this tenant alone
    #[arg(long, value_parser = name)]
    tenant: Option<String>,
    /// Of this sort alone, as in budget_alert
    #[arg(long = "type", value_name = "TYPE", value_parser = name)]
    kind: Option<String>,
    /// open | acknowledged
    #[arg(long, value_parser = PossibleValuesParser::new(["open", "acknowledged"]))]
    state: Option<String>,
    /// So many at most [default: 100]
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
}

#[derive(Debug, Args)]
struct Receiver {
    /// Its name in the configuration, or `wh_…` of a tenant's own
    webhook: String,
    #[command(flatten)]
    owner: Owner,
}

/// The verb as a request.
pub(super) fn call(alerts: &Alerts) -> Call {
    match &alerts.verb {
        None => listed(&alerts.list),
        Some(Verb::List(list)) => listed(list),
        Some(Verb::Ack { id, owner }) => {
            let target = format!("/alerts/{id}/acknowledge?tenant={}", owner.tenant);
            Call { method: "POST", target, body: None, shown: Shown::Fields }
        }
        Some(Verb::Webhooks) => {
            let target = "/alerts/webhooks".to_owned();
            Call { method: "GET", target, body: None, shown: Shown::Table(print::WEBHOOKS) }
        }
        Some(Verb::Test(receiver)) => {
            Call { method: "POST", target: receiver.target("test"), body: None, shown: Shown::Fields }
        }
        Some(Verb::Messages(receiver)) => {
            let target = receiver.target("messages");
            Call { method: "GET", target, body: None, shown: Shown::Table(print::MESSAGES) }
        }
    }
}

impl Receiver {
    fn target(&self, word: &str) -> String {
        let own = self.webhook.starts_with("wh_");
        let id = if own { self.webhook.clone() } else { format!("config:{}", self.webhook) };
        format!("/alerts/webhooks/{}/{word}?tenant={}", encoded(&id), self.owner.tenant)
    }
}

fn listed(list: &List) -> Call {
    let List { tenant, kind, state, limit } = list;
    let limit = limit.map(|limit| limit.to_string());
    let members = [("tenant", tenant), ("type", kind), ("state", state), ("limit", &limit)];
    let members: Vec<String> =
        members.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?))).collect();
    let mark = if members.is_empty() { "" } else { "?" };
    let target = format!("/alerts{mark}{}", members.join("&"));
    Call { method: "GET", target, body: None, shown: Shown::Table(print::ALERTS) }
}
