//! `igris admin budgets`.

use super::{Call, Owner, Shown};
use crate::cli::{name, print};
use crate::domain::secret::Secret;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// `igris admin budgets`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Budgets {
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What to do with budgets; without a word, list them.
#[derive(Debug, Subcommand)]
enum Verb {
    /// List every tenant and access key that has one
    List,
    /// Show those of a tenant, or of one access key
    Show(Holder),
    /// Set one, beside what limits say; the smallest wins
    Set {
        /// As in '$50/month', or '$5/day soft'
        budget: String,
        #[command(flatten)]
        holder: Holder,
        /// Percentages at which to tell, as in 75,90,100 [default: as configured]
        #[arg(long, value_name = "PERCENT", value_delimiter = ',')]
        alert_at: Vec<u16>,
    },
    /// Take away what was set here
    Remove {
        #[command(flatten)]
        holder: Holder,
        /// Of this period alone
        #[arg(long, value_parser = PossibleValuesParser::new(["hour", "day", "week", "month", "total"]))]
        period: Option<String>,
    },
}

/// Whose money.
#[derive(Debug, Args)]
struct Holder {
    #[command(flatten)]
    owner: Owner,
    /// Of one access key, `ak_…`
    #[arg(long, value_name = "ID", value_parser = name)]
    access_key: Option<String>,
}

/// The verb as a request.
pub(super) fn call(budgets: &Budgets) -> Call {
    match &budgets.verb {
        None | Some(Verb::List) => {
            Call { method: "GET", target: "/budgets".to_owned(), body: None, shown: Shown::Budgets }
        }
        Some(Verb::Show(holder)) => {
            Call { method: "GET", target: holder.target(None), body: None, shown: Shown::Budgets }
        }
        Some(Verb::Set { budget, holder, alert_at }) => {
            let mut body = json!({ "budget": budget });
            if let Some(id) = &holder.access_key {
                body["access_key"] = Value::from(id.as_str());
            }
            if !alert_at.is_empty() {
                body["alert_at"] = json!(alert_at);
            }
            let body = Some(("application/json", Secret::take(body.to_string().into_bytes())));
            let target = format!("/budgets?tenant={}", holder.owner.tenant);
            Call { method: "POST", target, body, shown: Shown::Budgets }
        }
        Some(Verb::Remove { holder, period }) => {
            Call { method: "DELETE", target: holder.target(period.as_deref()), body: None, shown: Shown::Budgets }
        }
    }
}

impl Holder {
    fn target(&self, period: Option<&str>) -> String {
        let members = [("access_key", self.access_key.as_deref()), ("period", period)];
        let members = members.into_iter().filter_map(|(name, value)| Some(format!("&{name}={}", value?)));
        format!("/budgets?tenant={}{}", self.owner.tenant, members.collect::<String>())
    }
}

/// Sheets of budgets as one table, a budget a line.
pub(super) fn table(answer: &Value) -> String {
    let one = std::slice::from_ref(answer);
    let sheets = answer["data"].as_array().map_or(one, Vec::as_slice);
    let mut rows = Vec::new();
    for sheet in sheets {
        for budget in sheet["budgets"].as_array().into_iter().flatten() {
            let mut row = budget.clone();
            row["tenant"] = sheet["tenant"].clone();
            row["access_key"] = sheet["access_key"].clone();
            rows.push(row);
        }
    }
    print::rows_of(&Value::Array(rows), print::BUDGETS)
}
