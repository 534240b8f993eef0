//! The parts of a snapshot, each from its facts: access keys, credentials, routes, settings.

use super::ControlError;
use super::access::Access;
use super::credentials::{Credentials, KeyConfig};
use super::key_limits;
use super::providers::Configured;
use super::supply::Means;
use super::token::{Tokens, Wanted};
use crate::config::{self, Config, Metadata, TENANT_DEFAULT};
use crate::domain::clock::UnixMillis;
use crate::domain::id::{CredentialId, ProviderId, TenantId};
use crate::limits::CREDENTIAL_TIMEOUT_MS;
use crate::providers::aliases::Aliases;
use crate::providers::signing::{AwsCredential, SigningError};
use crate::providers::{Catalogue, Dialect, ProviderSpec, service_account};
use crate::routing::resolve::{AUTO, ModelTable, Resolution, Resolver, Route, Routes, Target};
use crate::routing::semantic::Rule;
use crate::snapshot::{
    AccessKey, AccessTable, Credential, CredentialTable, ListedModel, ProviderIx, RoutePolicy, RouteTable, Settings,
};
use crate::store::{CredentialState, Origin, StoreError};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A part, and what an owner should know of what is not in it.
pub(super) struct Built<T> {
    pub(super) part: T,
    pub(super) notes: Vec<String>,
}

/// Every living access key by its digest; and when the next one ends.
pub(super) fn access_table(means: Means<'_>) -> Result<(Built<AccessTable>, Option<UnixMillis>), ControlError> {
    let Means { store, keyring, entropy, now } = means;
    let pepper = keyring.pepper().map_err(StoreError::from)?.clone();
    let count = usize::try_from(store.admin().access_key_count(now)?).unwrap_or(0);
    let mut keys = HashMap::with_capacity_and_hasher(count, Default::default());
    let (mut left_out, mut next_end) = (0_u64, None::<UnixMillis>);
    let mut tenant = TenantId::new("");
    Access::new(store, keyring, entropy, now).for_each_living(|row| {
        let allowed = key_limits::allowed(row.limits).filter(|_| row.pepper_version == pepper.version());
        let Some((models, providers)) = allowed else {
            left_out += 1;
            return Ok::<(), StoreError>(());
        };
        if tenant.as_str() != row.tenant {
            tenant = TenantId::new(row.tenant);
        }
        next_end = [next_end, row.expires].into_iter().flatten().min();
        let key = AccessKey {
            id: row.id,
            name: Arc::from(row.name),
            tenant: tenant.clone(),
            scopes: row.scopes,
            expires_at: row.expires.map(|end| end.0),
            models,
            providers,
        };
        keys.insert(row.digest, Arc::new(key));
        Ok(())
    })?;
    let notes =
        (left_out > 0).then(|| format!("{left_out} stored access keys cannot be read and do not work; make them anew"));
    Ok((Built { part: AccessTable { pepper, keys }, notes: notes.into_iter().collect() }, next_end))
}

/// Every living credential whose provider is configured at the address it was sealed for. Those of configuration serve every tenant
/// that has none of its own; in the operator's own tenant they stand behind those of the API.
///
/// A service account stands there with the token that it was exchanged for, and not at all while there is none.
pub(super) fn credential_table(
    means: Means<'_>,
    providers: &[Configured],
    tokens: &mut Tokens,
    instant: Instant,
) -> Result<Built<CredentialTable>, ControlError> {
    let Means { store, keyring, entropy, now } = means;
    let default = TenantId::new(TENANT_DEFAULT);
    let rows = store.credentials(&default, None)?;
    let by_config: HashSet<CredentialId> =
        rows.iter().filter(|row| row.origin == Origin::Config).map(|row| row.id).collect();
    let by_name: HashMap<&ProviderId, &Configured> =
        providers.iter().map(|provider| (&provider.config.id, provider)).collect();
    let mut notes = Vec::new();
    let mut found = Vec::new();
    let mut wanted = Vec::new();
    let refused = Credentials::new(store, keyring, entropy, now).open_all(|opened| {
        if opened.state == CredentialState::Pending {
            return;
        }
        let Some(provider) = by_name.get(opened.provider) else {
            notes.push(format!("{} is of provider `{}`, which is not configured", opened.id, opened.provider));
            return;
        };
        if provider.url.as_str() != opened.base_url {
            // Rule T5: a credential never goes to another address than the one it was given for.
            let (id, name) = (opened.id, opened.provider);
            notes.push(format!("{id} was given for another address of provider `{name}`; add the key again"));
            return;
        }
        let secret = match form_of(&provider.spec, opened.secret.expose()) {
            Ok(Form::Shown) => opened.secret,
            Ok(Form::Exchanged) => {
                let (id, tenant, provider) = (opened.id, opened.tenant.clone(), opened.provider.clone());
                wanted.push(Wanted { id, tenant, provider });
                let Some(token) = tokens.living(id, instant) else { return };
                token
            }
            Err(fault) => {
                notes.push(format!("{} of provider `{}` is left out: {fault}", opened.id, opened.provider));
                return;
            }
        };
        let shared = *opened.tenant == default && by_config.contains(&opened.id);
        let limits = (!shared).then_some(opened.config);
        let credential = Credential {
            id: opened.id,
            secret,
            timeout: limits.and_then(own_timeout),
            max_retries: limits.map_or(provider.config.max_retries, |limits| Some(limits.max_retries)),
            standby: opened.state == CredentialState::Retiring,
        };
        let retiring = credential.standby;
        found.push((retiring, shared, opened.tenant.clone(), opened.provider.clone(), Arc::new(credential)));
    })?;
    tokens.keep(wanted, instant);
    notes.extend(refused.into_iter().map(|refused| format!("{} cannot be opened: {}", refused.id, refused.error)));
    // Stable: within a rank the oldest stays first.
    found.sort_by_key(|(retiring, shared, ..)| (*retiring, *shared));
    let mut table = CredentialTable::default();
    for (_, shared, tenant, provider, credential) in found {
        if shared {
            table.insert_shared(&provider, credential.clone());
        }
        table.insert(&tenant, &provider, credential);
    }
    Ok(Built { part: table, notes })
}

/// How a credential is used.
enum Form {
    /// As it is, or to sign requests with.
    Shown,
    /// For a token.
    Exchanged,
}

/// How a provider takes a credential of this text.
///
/// # Errors
/// It cannot be meant for this provider; a part of a sentence that does not repeat it.
fn form_of(spec: &ProviderSpec, text: &[u8]) -> Result<Form, String> {
    match (spec.dialect, service_account::is_meant(text)) {
        (Dialect::Vertex, true) => Ok(Form::Exchanged),
        // The whole private key would be shown.
        (_, true) => Err("it is a service account, and this provider takes plain keys".to_owned()),
        (Dialect::Bedrock, false) => match AwsCredential::parse(text).map_err(|error| error.to_string())? {
            AwsCredential::Keys { .. } if spec.platform.region.is_none() => {
                Err(SigningError::RegionMissing.to_string())
            }
            _ => Ok(Form::Shown),
        },
        _ => Ok(Form::Shown),
    }
}

/// What clients may ask for. An offer's place is its provider's place in `providers`.
///
/// # Errors
/// The owner's entry that cannot be used.
pub(super) fn route_table(
    models: &[config::Model],
    providers: &[Configured],
    catalogue: &Arc<Catalogue>,
    aliases: &Aliases,
    now: UnixMillis,
) -> Result<RouteTable, String> {
    let routes = Routes::new(models.iter().map(route).collect()).map_err(|error| error.to_string())?;
    let offer =
        |provider: &Configured| provider.spec.offer(catalogue, provider.config.models.iter().map(String::as_str));
    let offers = providers.iter().map(offer).collect();
    let table = ModelTable::new(Resolver::new(routes, aliases.in_force(catalogue, now), offers));
    let own: HashSet<&str> = models.iter().map(|model| model.name.as_str()).collect();
    let listed = table.names().into_iter().filter_map(|name| {
        let living =
            living_candidates(table.find(name)?, name, name == AUTO || own.contains(name), providers, catalogue, now);
        (!living.is_empty()).then(|| ListedModel { name: Arc::from(name), providers: living })
    });
    let listed = listed.collect();
    let policies =
        models.iter().map(|model| RoutePolicy { policy: model.policy, percentile: model.percentile }).collect();
    Ok(RouteTable { models: table, policies, catalogue: catalogue.clone(), listed })
}

/// Rules for `auto` whose model nobody serves: a request that one of them fits would not be answered.
pub(super) fn unserved_rules(rules: &[Rule], routes: &RouteTable) -> Vec<String> {
    let unserved = rules.iter().filter(|rule| routes.models.resolve(&rule.model).is_err());
    let said = |rule: &Rule| {
        let model = &rule.model;
        format!(
            "a rule for `auto` asks for `{model}`, which no configured provider serves; add a provider or another model"
        )
    };
    unserved.map(said).collect()
}

/// Who serves a name that may be shown: the owner's names and `auto` always are, others only where a provider still lists them.
fn living_candidates(
    resolution: &Resolution,
    name: &str,
    own: bool,
    providers: &[Configured],
    catalogue: &Catalogue,
    now: UnixMillis,
) -> Vec<ProviderIx> {
    let lists = |provider: &Configured| {
        let entry = provider.spec.price_source.and_then(|source| catalogue.lookup(source, name));
        provider.config.models.iter().any(|model| model == name) || entry.is_some_and(|entry| entry.is_living(now))
    };
    let mut living = Vec::new();
    for candidate in &resolution.candidates {
        let Ok(ix) = u16::try_from(candidate.offer).map(ProviderIx) else { continue };
        if (own || providers.get(candidate.offer).is_some_and(lists)) && !living.contains(&ix) {
            living.push(ix);
        }
    }
    living
}

fn route(model: &config::Model) -> Route {
    let target = |target: &config::Target| Target {
        provider: target.provider.as_str().to_owned(),
        model: target.model.clone(),
        weight: target.weight,
    };
    Route { name: model.name.clone(), targets: model.targets.iter().map(target).collect() }
}

/// What an owner set for one key; the usual figure stands for none, and then the kind of answer decides.
fn own_timeout(config: KeyConfig) -> Option<Duration> {
    (config.timeout_ms != CREDENTIAL_TIMEOUT_MS).then(|| Duration::from_millis(u64::from(config.timeout_ms)))
}

/// How requests are served.
pub(super) fn settings(config: &Config, control_socket: &Path) -> Settings {
    let limits = &config.server.limits;
    Settings {
        body_bytes_max: limits.body_bytes,
        head_bytes_max: limits.head_bytes,
        head_fields_max: limits.fields,
        head_deadline: limits.head_deadline,
        body_deadline: limits.body_deadline,
        tls_handshake: limits.tls_handshake_deadline,
        keep_alive_idle: limits.keep_alive_idle,
        exchanges_per_connection: limits.exchanges_per_connection,
        first_byte_streaming: limits.first_byte_streaming_deadline,
        first_byte_unary: limits.first_byte_unary_deadline,
        client_stall: limits.client_stall_deadline,
        exchange_deadline: limits.exchange_deadline,
        stream_silence: limits.stream_silence_deadline,
        routing: config.routing.clone(),
        memory_bytes_max: limits.memory_bytes,
        exchanges_per_core_max: limits.exchanges_per_core,
        metadata: config.server.metadata == Metadata::Auto,
        control_socket: control_socket.to_owned(),
    }
}
