//! Usage, costs and forecasts over HTTP: for a tenant about itself, for the operator about one tenant or all of them.
//!
//! The control lock is held to book what was reported, and not while the books are added up. In a fleet they are those of all machines; the
//! operator may ask for those of this one with `scope=machine`.

use super::answer::{Outcome, Refusal, fine};
use super::query::{Asked, At, is_name};
use super::tenant_api::Principal;
use super::{Shared, locked};
use crate::config::unit;
use crate::control_plane::{self, Analyst, Asker, BooksOf, ControlError, CostsQuestion, UsagePeriod, Window};
use crate::domain::id::TenantId;
use crate::domain::scope::Scope;
use crate::limits::analytics::{ROWS_DEFAULT, ROWS_MAX, SKIP_MAX, SPAN_HOURS_MAX};
use crate::store::{Bucket, Dimension, UsageRow};
use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use axum::routing::get;

/// A tenant's own pages.
pub(super) fn tenant_routes() -> Router<Shared> {
    Router::new()
        .route("/v1/tenants/{tenant}/usage", get(tenant_usage))
        .route("/v1/tenants/{tenant}/costs", get(tenant_costs))
        .route("/v1/tenants/{tenant}/costs/forecast", get(tenant_forecast))
}

/// The operator's pages.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/usage", get(async |State(control): State<Shared>, uri: Uri| usage(control, None, &uri).await))
        .route("/costs", get(async |State(control): State<Shared>, uri: Uri| costs(control, None, &uri).await))
        .route(
            "/costs/forecast",
            get(async |State(control): State<Shared>, uri: Uri| forecast(control, None, &uri).await),
        )
}

async fn tenant_usage(State(control): State<Shared>, asks: Principal, At(tenant): At<String>, uri: Uri) -> Outcome {
    let tenant = asks.acts_for(&tenant, Scope::Costs, &uri)?;
    usage(control, Some(tenant), &uri).await
}

async fn tenant_costs(State(control): State<Shared>, asks: Principal, At(tenant): At<String>, uri: Uri) -> Outcome {
    let tenant = asks.acts_for(&tenant, Scope::Costs, &uri)?;
    costs(control, Some(tenant), &uri).await
}

async fn tenant_forecast(State(control): State<Shared>, asks: Principal, At(tenant): At<String>, uri: Uri) -> Outcome {
    let tenant = asks.acts_for(&tenant, Scope::Costs, &uri)?;
    forecast(control, Some(tenant), &uri).await
}

/// `own` is the tenant that asks about itself; without one the operator asks.
async fn usage(control: Shared, own: Option<TenantId>, uri: &Uri) -> Outcome {
    let mut asked = Asked::read(uri)?;
    let Whose { asker, books, known } = whose(own, &mut asked)?;
    let window = window(&control, &mut asked, UsagePeriod::Day)?;
    asked.end(&format!("{known}`period`, `from` and `to`"))?;
    let analyst = analyst(&control, books)?;
    fine(&analyst.ask(asker, move |books| control_plane::usage(books, window)).await?)
}

async fn costs(control: Shared, own: Option<TenantId>, uri: &Uri) -> Outcome {
    let mut asked = Asked::read(uri)?;
    let is_tenant = own.is_some();
    let Whose { asker, books, known } = whose(own, &mut asked)?;
    let window = window(&control, &mut asked, UsagePeriod::Month)?;
    let group_by = dimensions(&mut asked, is_tenant)?;
    let bucket = bucket(&mut asked)?;
    let limit = number(&mut asked, "limit", 1, ROWS_MAX)?.unwrap_or(ROWS_DEFAULT);
    let after = number(&mut asked, "after", 0, SKIP_MAX)?.unwrap_or(0);
    asked.end(&format!("{known}`period`, `from`, `to`, `group_by`, `bucket`, `limit` and `after`"))?;
    let question = CostsQuestion { window, group_by, bucket, limit, after };
    let analyst = analyst(&control, books)?;
    fine(&analyst.ask(asker, move |books| control_plane::costs(books, &question)).await?)
}

async fn forecast(control: Shared, own: Option<TenantId>, uri: &Uri) -> Outcome {
    let mut asked = Asked::read(uri)?;
    let Whose { asker, books, known } = whose(own, &mut asked)?;
    asked.end(if known.is_empty() { "no members" } else { "`tenant` and `scope`" })?;
    let analyst = analyst(&control, books)?;
    fine(&analyst.ask(asker, control_plane::forecast).await?)
}

/// Who asks about whom.
struct Whose {
    asker: Asker,
    books: BooksOf,
    /// What that adds to the words of a query.
    known: &'static str,
}

fn analyst(control: &Shared, books: BooksOf) -> Result<Analyst, ControlError> {
    Ok(locked(control).analyst()?.of(books))
}

fn whose(own: Option<TenantId>, asked: &mut Asked) -> Result<Whose, Refusal> {
    if let Some(tenant) = own {
        return Ok(Whose { asker: Asker::Tenant(tenant), books: BooksOf::Fleet, known: "" });
    }
    let books = match asked.take("scope").as_deref() {
        None => BooksOf::Fleet,
        Some("machine") => BooksOf::Machine,
        Some(_) => {
            let sentence =
                "`scope` must be `machine`; without it the books of all machines answer where there are several.";
            return Err(Refusal::member("scope", sentence));
        }
    };
    let tenant = asked.take("tenant");
    if tenant.as_deref().is_some_and(|name| !is_name(name)) {
        return Err(Refusal::member("tenant", "`tenant` must be the id of a tenant; see GET /tenants."));
    }
    let asker = Asker::Operator(tenant.map(|name| TenantId::new(&name)));
    Ok(Whose { asker, books, known: "`tenant`, `scope`, " })
}

/// `period`, or `from` and, unless it is now, `to`.
fn window(control: &Shared, asked: &mut Asked, unless_said: UsagePeriod) -> Result<Window, Refusal> {
    let instant = |name: &str, text: String| {
        unit::instant(&text).map_err(|_| {
            Refusal::member(name, format!("`{name}` must be an instant such as 2026-11-26T00:00:00Z (RFC 3339)."))
        })
    };
    let (from, to) = (asked.take("from"), asked.take("to"));
    let Some(from) = from else {
        if to.is_some() {
            return Err(Refusal::member("to", "`to` needs `from`."));
        }
        return Ok(Window::Last(asked.period(unless_said)?));
    };
    if asked.take("period").is_some() {
        return Err(Refusal::member("period", "`period` and `from` exclude each other; say one of them."));
    }
    let from = instant("from", from)?;
    let to = to.map(|text| instant("to", text)).transpose()?.unwrap_or_else(|| locked(control).now());
    if to <= from {
        return Err(Refusal::member("to", "`to` must be later than `from`; without it, it is now."));
    }
    if UsageRow::hour_of(to) - UsageRow::hour_of(from) > SPAN_HOURS_MAX {
        return Err(Refusal::member("from", "At most ten years are added up at a time; say a later `from`."));
    }
    Ok(Window::Between(from, to))
}

fn dimensions(asked: &mut Asked, is_tenant: bool) -> Result<Vec<Dimension>, Refusal> {
    let Some(text) = asked.take("group_by").filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for word in text.split(',') {
        let dimension = Dimension::parse(word).filter(|one| !(is_tenant && *one == Dimension::Tenant));
        match dimension {
            Some(dimension) if !found.contains(&dimension) => found.push(dimension),
            _ => {
                let all = Dimension::ALL.iter().filter(|one| !(is_tenant && **one == Dimension::Tenant));
                let all: Vec<&str> = all.map(|one| one.name()).collect();
                let message = format!("`group_by` must be some of {}, each once, with commas between.", all.join(", "));
                return Err(Refusal::member("group_by", message));
            }
        }
    }
    Ok(found)
}

fn bucket(asked: &mut Asked) -> Result<Option<Bucket>, Refusal> {
    let Some(word) = asked.take("bucket") else { return Ok(None) };
    let refused = || Refusal::member("bucket", "`bucket` must be hour, day, week or month.");
    Bucket::parse(&word).map(Some).ok_or_else(refused)
}

fn number(asked: &mut Asked, name: &str, least: u64, most: u64) -> Result<Option<u64>, Refusal> {
    let Some(text) = asked.take(name) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    let refused = || Refusal::member(name, format!("`{name}` must be a whole number from {least} to {most}."));
    number.map(Some).ok_or_else(refused)
}
