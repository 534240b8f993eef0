//! The part of the public API that the control plane answers, behind the internal socket.
//!
//! The data plane has authenticated the request and says who asks in `x-igris-principal-…` fields, which no client can set. The
//! tenant comes from there alone: a path of another tenant answers exactly what a path that nothing serves answers (rule T1). The one
//! exception is the operator: a key of the tenant `default` with the scope `admin` may act for every tenant. `admin` contains the other
//! scopes.

use super::access_keys;
use super::again::again;
use super::alerts;
use super::answer::{Outcome, Refusal, fine};
use super::budgets;
use super::costs;
use super::decisions;
use super::keys::{self, Owner};
use super::query::{At, is_name};
use super::rotations;
use super::webhooks;
use super::{Shared, locked};
use crate::config::TENANT_DEFAULT;
use crate::control_plane::Grantor;
use crate::domain::id::{AccessKeyId, TenantId};
use crate::domain::scope::{Scope, Scopes};
use crate::routing::record::View;
use crate::store::BudgetOrigin;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use axum::middleware;
use axum::routing::get;
use serde_json::Value;

/// Who asks, by the data plane's word.
pub struct Principal {
    tenant: TenantId,
    /// The access key's id, for the audit log.
    key: AccessKeyId,
    scopes: Scopes,
}

/// The routes of the internal socket.
pub fn router(control: Shared) -> Router {
    Router::new()
        .route("/v1/tenants/{tenant}/providers/{provider}/keys", get(list_keys).post(add_key))
        .route(
            "/v1/tenants/{tenant}/providers/{provider}/keys/{id}",
            get(show_key).delete(remove_key).fallback(nothing),
        )
        .merge(rotations::tenant_routes())
        .merge(access_keys::tenant_routes())
        .merge(budgets::tenant_routes())
        .merge(alerts::tenant_routes())
        .merge(webhooks::tenant_routes())
        .merge(costs::tenant_routes())
        .route("/v1/providers/{provider}/stats", get(stats))
        .route("/v1/routing/decisions/{id}", get(decision))
        .fallback(nothing)
        .method_not_allowed_fallback(async || Refusal::wrong_method())
        .layer(middleware::from_fn_with_state(control.clone(), again))
        .with_state(control)
}

pub(super) async fn nothing(uri: Uri) -> Refusal {
    Refusal::no_such_path(uri.path())
}

type Place = At<(String, String)>;
type KeyPlace = At<(String, String, String)>;

async fn add_key(
    State(control): State<Shared>,
    asks: Principal,
    At((tenant, provider)): Place,
    uri: Uri,
    body: Bytes,
) -> Outcome {
    keys::add(&control, &asks.owner(&tenant, provider, &uri)?, &body)
}

async fn list_keys(State(control): State<Shared>, asks: Principal, At((tenant, provider)): Place, uri: Uri) -> Outcome {
    keys::list(&control, &asks.owner(&tenant, provider, &uri)?)
}

async fn show_key(
    State(control): State<Shared>,
    asks: Principal,
    At((tenant, provider, id)): KeyPlace,
    uri: Uri,
) -> Outcome {
    keys::show(&control, &asks.owner(&tenant, provider, &uri)?, &id)
}

async fn remove_key(
    State(control): State<Shared>,
    asks: Principal,
    At((tenant, provider, id)): KeyPlace,
    uri: Uri,
) -> Outcome {
    keys::remove(&control, &asks.owner(&tenant, provider, &uri)?, &id)
}

async fn stats(State(control): State<Shared>, asks: Principal, At(provider): At<String>) -> Outcome {
    asks.needs(Scope::Inference)?;
    let figures = {
        let control = locked(&control);
        let visible = asks.is_operators() || control.is_visible(&asks.tenant, &provider);
        control.provider_stats(&provider).filter(|_| visible)
    };
    let mut figures = figures.ok_or_else(|| Refusal::no_such("provider", "GET /v1/providers"))?;
    if let (false, Value::Object(figures)) = (asks.is_operators(), &mut figures) {
        figures.retain(|member, _| SHARED_FIGURES.contains(&member.as_str()));
    }
    fine(&figures)
}

async fn decision(State(control): State<Shared>, asks: Principal, At(id): At<String>) -> Outcome {
    asks.needs(Scope::Inference)?;
    let is_operator = asks.is_operators() && asks.scopes.has(Scope::Admin);
    let view = if is_operator { View::Operator } else { View::Tenant };
    decisions::one(&control, &id, view, (!is_operator).then_some(&asks.tenant))
}

/// Figures are kept over all tenants. How fast and how sound a provider is concerns everybody who uses it; how much others ask and
/// pay, and what went wrong for them, does not (rule T3).
const SHARED_FIGURES: [&str; 7] = [
    "name",
    "latency_ms_mean",
    "latency_ms_p50",
    "latency_ms_p95",
    "latency_ms_p99",
    "error_rate",
    "circuit_breaker_state",
];

// === impl Principal ===

impl Principal {
    /// The tenant of a path, if this principal may act for it in this way. First whose it is, then whether the scope is there: a key
    /// without the scope learns nothing about other tenants either.
    pub(super) fn acts_for(&self, tenant: &str, scope: Scope, uri: &Uri) -> Result<TenantId, Refusal> {
        let operator = self.is_operators() && self.scopes.has(Scope::Admin);
        if self.tenant.as_str() != tenant && !(operator && is_name(tenant)) {
            return Err(Refusal::no_such_path(uri.path()));
        }
        self.needs(scope)?;
        Ok(TenantId::new(tenant))
    }

    /// Whether the key is of the operator's own tenant.
    fn is_operators(&self) -> bool {
        self.tenant.as_str() == TENANT_DEFAULT
    }

    /// Who asks, for the audit log.
    pub(super) fn who(&self) -> String {
        self.key.to_string()
    }

    /// As whom it sets budgets.
    pub(super) fn budget_origin(&self) -> BudgetOrigin {
        if self.is_operators() { BudgetOrigin::Operator } else { BudgetOrigin::Tenant }
    }

    pub(super) fn needs(&self, scope: Scope) -> Result<(), Refusal> {
        if self.scopes.has(scope) || self.scopes.has(Scope::Admin) {
            return Ok(());
        }
        let name = scope.name();
        let message = format!("This access key lacks the scope `{name}`; ask the operator for a key that has it.");
        Err(Refusal::new(403, "insufficient_scope", message))
    }

    pub(super) fn owner(&self, tenant: &str, provider: String, uri: &Uri) -> Result<Owner, Refusal> {
        Ok(Owner { who: self.key.to_string(), tenant: self.acts_for(tenant, Scope::Keys, uri)?, provider })
    }

    /// Whose access keys a path names, for an administrator of that tenant.
    pub(super) fn access_owner(&self, tenant: &str, uri: &Uri) -> Result<access_keys::Owner, Refusal> {
        let by = Grantor { tenant: self.tenant.clone(), key: self.key, scopes: self.scopes };
        let tenant = self.acts_for(tenant, Scope::Admin, uri)?;
        Ok(access_keys::Owner { who: self.key.to_string(), tenant, by: Some(by) })
    }

    fn read(fields: &HeaderMap) -> Option<Self> {
        let one = |name: &str| {
            let mut values = fields.get_all(name).iter();
            let value = values.next()?.to_str().ok()?;
            values.next().is_none().then_some(value)
        };
        let tenant = one("x-igris-principal-tenant").filter(|name| is_name(name))?;
        let key = AccessKeyId::parse(one("x-igris-principal-key")?)?;
        // An unknown scope is a newer data plane's: it grants nothing here.
        let scopes = one("x-igris-principal-scopes")?.split(',').filter_map(|name| Scope::parse(name.trim())).collect();
        Some(Self { tenant: TenantId::new(tenant), key, scopes })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Self::read(&parts.headers).ok_or_else(|| {
            Refusal::new(401, "invalid_api_key", "Nobody vouches for this request; send it to the public listener.")
        })
    }
}
