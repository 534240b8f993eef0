//! Budgets over HTTP: the operator's on the admin socket for every tenant, a tenant's own on the public API.
//!
//! Both bind beside what limits say, and the smallest wins; a tenant removes only what it set itself.

use super::answer::{Outcome, Refusal, fine};
use super::members::Members;
use super::query::{Asked, At};
use super::routes::{Desk, listed, tenant};
use super::socket::Peer;
use super::tenant_api::Principal;
use super::{Shared, locked};
use crate::config::{Budget, Cap, Period, unit};
use crate::control_plane::NewBudget;
use crate::domain::id::{AccessKeyId, TenantId};
use crate::domain::money::Money;
use crate::domain::scope::Scope;
use crate::store::BudgetOrigin;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::Uri;
use axum::routing::get;
use serde_json::{Number, Value};

/// Who sets budgets, and whose.
struct Owner {
    who: String,
    origin: BudgetOrigin,
    tenant: TenantId,
}

/// The routes on the admin socket.
pub(super) fn routes() -> Router<Desk> {
    Router::new().route("/budgets", get(list_as_operator).post(set_as_operator).delete(remove_as_operator))
}

/// The routes behind the public API.
pub(super) fn tenant_routes() -> Router<Shared> {
    Router::new().route("/v1/tenants/{tenant}/budget", get(show_as_tenant).post(set_as_tenant).delete(remove_as_tenant))
}

// === What both do ===

fn show(control: &Shared, tenant: &TenantId, key: Option<AccessKeyId>) -> Outcome {
    fine(&locked(control).budgets(tenant, key)?)
}

/// `{"budget":"$50/month"}`, or in parts, with `alert_at` and `access_key`.
fn set(control: &Shared, owner: &Owner, body: &[u8]) -> Outcome {
    let new = new_budget(body)?;
    fine(&locked(control).set_budget(&owner.who, owner.origin, &owner.tenant, new)?)
}

fn remove(control: &Shared, owner: &Owner, key: Option<AccessKeyId>, period: Option<Period>) -> Outcome {
    fine(&locked(control).remove_budgets(&owner.who, owner.origin, &owner.tenant, key, period)?)
}

// === What a request says ===

const BUDGET: &str =
    "an amount and a period such as \"$50/month\", with ` soft` behind it if requests beyond it are to be served";
const MEMBERS: &str = "`budget` or `limit`, or `amount_usd` with `period`; and `hard`, `alert_at` and `access_key`";

fn new_budget(body: &[u8]) -> Result<NewBudget, Refusal> {
    let mut members = Members::read(body)?;
    let whole = match members.take::<Value>("budget", BUDGET)? {
        Some(value) => Some(value),
        None => members.take::<Value>("limit", BUDGET)?,
    };
    let amount = members.take::<Value>("amount_usd", AMOUNT)?;
    let period = members.take::<String>("period", PERIOD)?;
    let hard = members.take::<bool>("hard", "true or false")?;
    let alert_at = members.take::<Vec<u16>>("alert_at", "a list of whole percentages such as [75, 90, 100]")?;
    let key = members.take::<String>("access_key", "the id of an access key, `ak_…`")?;
    let mut budget = match (whole, amount) {
        (Some(whole), None) if period.is_none() => written(&whole).ok_or_else(|| members.wrong("budget", BUDGET))?,
        (None, Some(amount)) => {
            let amount = dollars(&amount).ok_or_else(|| members.wrong("amount_usd", AMOUNT))?;
            let period = period.as_deref().map_or(Some(Period::Month), Period::parse);
            let period = period.ok_or_else(|| members.wrong("period", PERIOD))?;
            Budget { amount, period, cap: Cap::Hard }
        }
        _ => return Err(Refusal::member("budget", format!("The body must have {MEMBERS}."))),
    };
    if let Some(hard) = hard {
        budget.cap = if hard { Cap::Hard } else { Cap::Soft };
    }
    members.end(MEMBERS)?;
    Ok(NewBudget { access_key: key.as_deref().map(known).transpose()?, budget, alert_at })
}

const AMOUNT: &str = "an amount of dollars such as 50 or \"12.50\"";
const PERIOD: &str = "hour, day, week, month or total";

/// `"$5/day soft"`, or `{"amount":"$5","period":"day","cap":"soft"}` as limits have it.
fn written(value: &Value) -> Option<Budget> {
    match value {
        Value::String(text) => unit::budget(text).ok(),
        Value::Object(parts) if parts.keys().all(|name| matches!(name.as_str(), "amount" | "period" | "cap")) => {
            let part = |name: &str| parts.get(name).and_then(Value::as_str);
            let cap = if parts.contains_key("cap") { part("cap").and_then(Cap::parse)? } else { Cap::Hard };
            let amount = unit::money(part("amount")?).ok()?;
            Some(Budget { amount, period: part("period").and_then(Period::parse)?, cap })
        }
        _ => None,
    }
}

/// A number as it was written, so that nothing is lost to a float that we could have read exactly.
fn dollars(value: &Value) -> Option<Money> {
    let text = match value {
        Value::String(text) => text.trim_start_matches('$').to_owned(),
        Value::Number(number) => Number::to_string(number),
        _ => return None,
    };
    Money::parse_usd(&text)
}

/// An id that cannot be one of ours is one that does not exist.
fn known(id: &str) -> Result<AccessKeyId, Refusal> {
    AccessKeyId::parse(id).ok_or_else(|| Refusal::no_such("access key", "GET …/access-keys"))
}

/// Takes `access_key` and `period`.
fn which(asked: &mut Asked) -> Result<(Option<AccessKeyId>, Option<Period>), Refusal> {
    let key = asked.take("access_key").as_deref().map(known).transpose()?;
    let period = match asked.take("period") {
        None => None,
        Some(word) => {
            let refused = || Refusal::member("period", format!("`period` must be {PERIOD}."));
            Some(Period::parse(&word).ok_or_else(refused)?)
        }
    };
    Ok((key, period))
}

// === The operator's routes ===

/// Without `tenant` everything that has a budget; with it that tenant's own, or with `access_key` one key's.
async fn list_as_operator(State(desk): State<Desk>, uri: Uri) -> Outcome {
    let mut asked = Asked::read(&uri)?;
    let Some(name) = asked.take("tenant") else {
        asked.end("`tenant` and `access_key`")?;
        return fine(&listed(locked(&desk.control).all_budgets()));
    };
    let key = asked.take("access_key").as_deref().map(known).transpose()?;
    asked.end("`tenant` and `access_key`")?;
    show(&desk.control, &TenantId::new(&name), key)
}

async fn set_as_operator(State(desk): State<Desk>, Extension(peer): Extension<Peer>, uri: Uri, body: Bytes) -> Outcome {
    let mut asked = Asked::read(&uri)?;
    let tenant = tenant(&mut asked)?;
    asked.end("`tenant`")?;
    set(&desk.control, &Owner { who: peer.to_string(), origin: BudgetOrigin::Operator, tenant }, &body)
}

async fn remove_as_operator(State(desk): State<Desk>, Extension(peer): Extension<Peer>, uri: Uri) -> Outcome {
    let mut asked = Asked::read(&uri)?;
    let tenant = tenant(&mut asked)?;
    let (key, period) = which(&mut asked)?;
    asked.end("`tenant`, `access_key` and `period`")?;
    remove(&desk.control, &Owner { who: peer.to_string(), origin: BudgetOrigin::Operator, tenant }, key, period)
}

// === A tenant's routes ===

async fn show_as_tenant(State(control): State<Shared>, asks: Principal, At(tenant): At<String>, uri: Uri) -> Outcome {
    let tenant = asks.acts_for(&tenant, Scope::Costs, &uri)?;
    let mut asked = Asked::read(&uri)?;
    let key = asked.take("access_key").as_deref().map(known).transpose()?;
    asked.end("`access_key`")?;
    show(&control, &tenant, key)
}

async fn set_as_tenant(
    State(control): State<Shared>,
    asks: Principal,
    At(tenant): At<String>,
    uri: Uri,
    body: Bytes,
) -> Outcome {
    let tenant = asks.acts_for(&tenant, Scope::Admin, &uri)?;
    Asked::read(&uri)?.end("nothing")?;
    set(&control, &Owner { who: asks.who(), origin: asks.budget_origin(), tenant }, &body)
}

async fn remove_as_tenant(State(control): State<Shared>, asks: Principal, At(tenant): At<String>, uri: Uri) -> Outcome {
    let tenant = asks.acts_for(&tenant, Scope::Admin, &uri)?;
    let mut asked = Asked::read(&uri)?;
    let (key, period) = which(&mut asked)?;
    asked.end("`access_key` and `period`")?;
    remove(&control, &Owner { who: asks.who(), origin: asks.budget_origin(), tenant }, key, period)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &str) -> String {
        match new_budget(body.as_bytes()) {
            Ok(new) => format!("{} {:?}", new.budget, new.alert_at),
            Err(refusal) => format!("{}", refusal.status()),
        }
    }

    #[test]
    fn a_budget_may_be_written_in_one_text_or_in_parts() {
        for (body, expected) in [
            (r#"{"budget":"$50/month"}"#, "$50/month None"),
            (r#"{"limit":"$5/day soft","alert_at":[50]}"#, "$5/day soft Some([50])"),
            (r#"{"budget":{"amount":"$5","period":"day","cap":"soft"},"hard":true}"#, "$5/day None"),
            (r#"{"amount_usd":12.5}"#, "$12.5/month None"),
            (r#"{"amount_usd":"12.50","period":"week","hard":false}"#, "$12.5/week soft None"),
            ("{}", "400"),
            (r#"{"budget":"$50"}"#, "400"),
            (r#"{"budget":"$50/day","period":"day"}"#, "400"),
            (r#"{"budget":"$50/day","amount_usd":5}"#, "400"),
            (r#"{"amount_usd":-5}"#, "400"),
            (r#"{"amount_usd":5,"period":"year"}"#, "400"),
            (r#"{"amount_usd":5,"alert_at":[-1]}"#, "400"),
            (r#"{"amount_usd":5,"cap":"hard"}"#, "400"),
            (r#"{"amount_usd":5,"access_key":"me"}"#, "404"),
        ] {
            assert_eq!(shown(body), expected, "{body}");
        }
    }
}
