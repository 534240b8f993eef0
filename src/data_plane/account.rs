//! Which accounts at providers a tenant reaches, and which providers it sees (rules T1 and T3).
//!
//! Tenants without a provider key of their own are served with the operator's. An answer of a model then shows nothing of others who use
//! the same account. What a provider *keeps* in the account does: files, batches, stored conversations, and whatever a passthrough can
//! ask for. So those are for the account's own tenant only: the operator's, or one that brought a key. A provider that only another
//! tenant's key brought in is, for everybody else, not there.

use super::ask::Ask;
use super::fault::Fault;
use super::surface::Task;
use crate::dialects::Wire;
use crate::domain::id::TenantId;
use crate::providers::table;
use crate::snapshot::{Provider, ProviderIx, Snapshot};

/// Whether a tenant can know that this provider is here.
pub fn is_visible(snapshot: &Snapshot, tenant: &TenantId, provider: &Provider) -> bool {
    provider.configured || snapshot.credentials.owns(tenant, &provider.id)
}

/// The provider of this name, or alias of a built-in one, as far as this tenant can know.
pub fn named(snapshot: &Snapshot, tenant: &TenantId, name: &str) -> Option<ProviderIx> {
    let canonical = table::find(name).map_or(name, |row| row.id);
    let ix = snapshot.provider_named(name).or_else(|| snapshot.provider_named(canonical))?;
    snapshot.provider(ix).filter(|provider| is_visible(snapshot, tenant, provider)).map(|_| ix)
}

/// Whether the account that a tenant's requests reach at this provider is its own.
pub fn is_own(snapshot: &Snapshot, tenant: &TenantId, provider: &Provider) -> bool {
    tenant.is_default() || snapshot.credentials.owns(tenant, &provider.id)
}

/// Whether a request reaches into what a provider keeps in an account.
pub fn reaches_account(ask: &Ask) -> bool {
    match ask.task {
        Task::Object(_) | Task::Raw(_) => true,
        Task::Generate => ask.stored && ask.wire == Wire::Responses,
        _ => false,
    }
}

/// What a tenant hears that has no account of its own at the provider that it would need one at.
pub fn not_own(provider: &Provider) -> Fault {
    Fault::AccountNotOwn { provider: provider.id.as_str().to_owned() }
}
