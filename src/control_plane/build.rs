//! The parts of a snapshot, each from its facts: access keys, credentials, routes, settings.

use super::ControlError;
use super::access::Access;
use super::allowances::Allowances;
use super::credentials::{Credentials, Had, KeyConfig, Opened};
use super::key_limits;
use super::providers::Configured;
use super::rotations::Rotations;
use super::supply::Means;
use super::token::{Tokens, Wanted};
use crate::allowance::Terms;
use crate::config::{self, Config, Metadata, TENANT_DEFAULT};
use crate::domain::clock::UnixMillis;
use crate::domain::id::{CredentialId, ProviderId, TenantId};
use crate::domain::protocol::ClientHttp2;
use crate::domain::secret::Secret;
use crate::domain::trace::Sampling;
use crate::limits::{ACCESS_TERMS_SHARED_MAX, CREDENTIAL_TIMEOUT_MS};
use crate::providers::aliases::Aliases;
use crate::providers::signing::{AwsCredential, SigningError};
use crate::providers::{Catalogue, Dialect, ProviderSpec, service_account};
use crate::routing::resolve::{AUTO, ModelTable, Resolution, Resolver, Route, Routes, Target};
use crate::routing::semantic::Rule;
use crate::snapshot::{
    AccessKey, AccessTable, AccessTerms, Credential, CredentialTable, ListedModel, ProviderIx, Role, RoutePolicy,
    RouteTable, Settings, Telemetry,
};
use crate::store::{AccessKeyRow, CredentialRow, CredentialState, Origin, StoreError};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A part, and what an owner should know of what is not in it.
pub(super) struct Built<T> {
    pub(super) part: T,
    pub(super) notes: Vec<String>,
}

/// What access keys may ask for, and how much, by how the store writes it: equal terms are one value in memory, and read once.
#[derive(Default)]
pub(super) struct TermsBook {
    /// `None`: it cannot be read.
    by_limits: HashMap<Box<str>, Option<(Arc<AccessTerms>, Terms)>>,
}

impl TermsBook {
    fn of(&mut self, limits: &str) -> Option<(Arc<AccessTerms>, Terms)> {
        if let Some(known) = self.by_limits.get(limits) {
            return known.clone();
        }
        let terms = key_limits::allowed(limits).zip(key_limits::terms(limits)).map(|(allowed, amounts)| {
            let key_limits::Allowed { models, providers, endpoints, sources } = allowed;
            (Arc::new(AccessTerms { models, providers, endpoints, sources }), amounts)
        });
        // An estate with more different terms than this shares little, and a book of all of them would only take room.
        if self.by_limits.len() < ACCESS_TERMS_SHARED_MAX {
            self.by_limits.insert(Box::from(limits), terms.clone());
        }
        terms
    }

    /// Lets the terms go that no key has.
    pub(super) fn forget_unused(&mut self) {
        self.by_limits.retain(|_, terms| terms.as_ref().is_some_and(|(terms, _)| Arc::strong_count(terms) > 1));
    }
}

/// An access key as published; `None` when its row cannot be read, or was made with a pepper that is no longer in use.
pub(super) fn access_key(
    row: &AccessKeyRow<'_>,
    tenant: TenantId,
    pepper_version: u32,
    book: &mut TermsBook,
    allowances: &mut Allowances,
) -> Option<AccessKey> {
    let (terms, amounts) = book.of(row.limits).filter(|_| row.pepper_version == pepper_version)?;
    let allowance = allowances.of_key(row.id, row.holder, &tenant, amounts);
    let (id, scopes, expires_at) = (row.id, row.scopes, row.expires.map(|end| end.0));
    Some(AccessKey { id, tenant, scopes, expires_at, terms, allowance })
}

/// Every living access key by its digest.
pub(super) fn access_table(
    means: Means<'_>,
    terms: &mut TermsBook,
    allowances: &mut Allowances,
) -> Result<Built<AccessTable>, ControlError> {
    let Means { store, keyring, entropy, now } = means;
    let pepper = keyring.pepper().map_err(StoreError::from)?.clone();
    let version = pepper.version();
    let mut filling = AccessTable::filling(pepper);
    let mut left_out = 0_u64;
    let mut tenants: HashMap<Box<str>, TenantId> = HashMap::new();
    Access::new(store, keyring, entropy, now).for_each_living(|row| {
        let tenant = match tenants.get(row.tenant) {
            Some(tenant) => tenant.clone(),
            None => tenants.entry(Box::from(row.tenant)).or_insert_with(|| TenantId::new(row.tenant)).clone(),
        };
        match access_key(&row, tenant, version, terms, allowances) {
            Some(key) => filling.add(row.digest, Arc::new(key)),
            None => left_out += 1,
        }
        Ok::<(), StoreError>(())
    })?;
    let notes =
        (left_out > 0).then(|| format!("{left_out} stored access keys cannot be read and do not work; make them anew"));
    Ok(Built { part: filling.finish(), notes: notes.into_iter().collect() })
}

/// The configured providers by their names.
pub(super) fn by_name(providers: &[Configured]) -> HashMap<&ProviderId, &Configured> {
    providers.iter().map(|provider| (&provider.config.id, provider)).collect()
}

/// What credentials are published by, beside the store.
pub(super) struct Circumstances<'a> {
    /// By their names.
    pub(super) providers: &'a HashMap<&'a ProviderId, &'a Configured>,
    /// What was published so far.
    pub(super) before: &'a CredentialTable,
    pub(super) rotations: &'a Rotations,
    pub(super) instant: Instant,
}

/// Puts into `table`, in place of what is there, every living credential whose provider is configured at the address it was sealed for;
/// of every tenant or of one. Those of configuration serve every tenant that has none of its own; in the operator's own tenant they
/// stand behind those of the API. Of a rotation's keys the new one stands before the old one; one that has been replaced is not there
/// any more. Answers what an owner should know of those that are left out.
///
/// A secret that is published already is taken from there and not opened again. A service account stands in the table with the token
/// that it was exchanged for, and not at all while there is none.
pub(super) fn credentials(
    means: Means<'_>,
    of: Option<&TenantId>,
    around: &Circumstances<'_>,
    tokens: &mut Tokens,
    table: &mut CredentialTable,
) -> Result<Vec<String>, ControlError> {
    let Means { store, keyring, entropy, now } = means;
    let default = TenantId::new(TENANT_DEFAULT);
    let secret = |credential: &Arc<Credential>| (credential.id, credential.secret.clone());
    let known: HashMap<CredentialId, Arc<Secret>> = match of {
        Some(tenant) => around.before.of(tenant).map(secret).collect(),
        None => around.before.all().map(secret).collect(),
    };
    let mut notes = Vec::new();
    let mut found = Vec::new();
    let mut wanted = Vec::new();
    let had = |row: &CredentialRow| had(row, around, &known, tokens);
    let refused = Credentials::new(store, keyring, entropy, now).open_living(of, had, |opened| {
        let Some(role) = role(around.rotations, opened.state, opened.id) else { return };
        let provider = match usable(&opened, around.providers) {
            Ok(provider) => provider,
            Err(note) => return notes.push(note),
        };
        let form =
            opened.secret.as_ref().map_or(Ok(Form::Exchanged), |secret| form_of(&provider.spec, secret.expose()));
        let secret = match (form, &opened.secret) {
            (Ok(Form::Shown), Some(secret)) => secret.clone(),
            (Ok(_), _) => {
                let (id, tenant, provider) = (opened.id, opened.tenant.clone(), opened.provider.clone());
                wanted.push(Wanted { id, tenant, provider });
                let Some(token) = tokens.living(opened.id, around.instant) else { return };
                Arc::new(token)
            }
            (Err(fault), _) => {
                notes.push(format!("{} of provider `{}` is left out: {fault}", opened.id, opened.provider));
                return;
            }
        };
        let shared = *opened.tenant == default && opened.origin != Origin::Api;
        let limits = (!shared).then_some(opened.config);
        let credential = Credential {
            id: opened.id,
            secret,
            timeout: limits.and_then(own_timeout),
            max_retries: limits.map_or(provider.config.max_retries, |limits| Some(limits.max_retries)),
            role,
        };
        let rank = rank(role, shared);
        found.push((rank, shared, opened.tenant.clone(), opened.provider.clone(), Arc::new(credential)));
    })?;
    tokens.keep(wanted, of, around.instant);
    notes.extend(refused.into_iter().map(|refused| format!("{} cannot be opened: {}", refused.id, refused.error)));
    // Stable: within a rank the oldest stays first.
    found.sort_by_key(|(rank, ..)| *rank);
    if let Some(tenant) = of {
        table.remove(tenant);
    }
    if of.is_none_or(|tenant| *tenant == default) {
        table.remove_shared();
    }
    for (_, shared, tenant, provider, credential) in found {
        if shared {
            table.insert_shared(&provider, credential.clone());
        }
        table.insert(&tenant, &provider, credential);
    }
    Ok(notes)
}

/// When the turn of a credential comes; `None`: it is not in use.
fn role(rotations: &Rotations, state: CredentialState, id: CredentialId) -> Option<Role> {
    match (state, rotations.role(id)) {
        (CredentialState::Retiring | CredentialState::Revoked, _) | (CredentialState::Pending, None) => None,
        (CredentialState::Active, None) => Some(Role::Usual),
        (_, role) => role,
    }
}

/// What is there of a credential without opening it.
fn had(
    row: &CredentialRow,
    around: &Circumstances<'_>,
    known: &HashMap<CredentialId, Arc<Secret>>,
    tokens: &Tokens,
) -> Had {
    let exchanges = |provider: &&Configured| provider.spec.dialect == Dialect::Vertex;
    match (tokens.tenant_of(row.id), around.providers.get(&row.provider)) {
        // What is published of a service account is a token and not its text.
        (Some(_), Some(provider)) if exchanges(provider) => Had::Enough,
        (Some(_), _) => Had::Nothing,
        // One that is not in use, or whose provider is not there or elsewhere, need not be opened to be left out.
        (None, None) => Had::Enough,
        (None, Some(provider)) if provider.url.as_str() != row.base_url => Had::Enough,
        (None, _) if role(around.rotations, row.state, row.id).is_none() => Had::Enough,
        (None, _) => known.get(&row.id).map_or(Had::Nothing, |secret| Had::Secret(secret.clone())),
    }
}

/// The provider that a credential may be shown to; otherwise why there is none.
fn usable<'p>(opened: &Opened<'_>, providers: &HashMap<&ProviderId, &'p Configured>) -> Result<&'p Configured, String> {
    let (id, name) = (opened.id, opened.provider);
    match providers.get(name) {
        None => Err(format!("{id} is of provider `{name}`, which is not configured")),
        // Rule T5: a credential never goes to another address than the one it was given for.
        Some(provider) if provider.url.as_str() != opened.base_url => {
            Err(format!("{id} was given for another address of provider `{name}`; add the key again"))
        }
        Some(provider) => Ok(provider),
    }
}

/// Standbys last, the shared ones behind a tenant's own, and of a rotation's keys the new one first.
const fn rank(role: Role, shared: bool) -> (bool, bool, u8) {
    match role {
        Role::Fresh { .. } => (false, shared, 0),
        Role::Outgoing => (false, shared, 1),
        Role::Usual => (false, shared, 2),
        Role::Standby => (true, shared, 3),
    }
}

/// Whether a provider can take a credential of this text at all.
///
/// # Errors
/// It cannot be meant for this provider; a part of a sentence that does not repeat it.
pub(super) fn must_fit(spec: &ProviderSpec, text: &[u8]) -> Result<(), String> {
    form_of(spec, text).map(drop)
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

/// What the data plane is to tell of each exchange.
fn telemetry(wanted: &config::Telemetry) -> Telemetry {
    let spans = wanted.otlp.as_ref().filter(|otlp| otlp.traces);
    let sampling = spans.map(|otlp| Sampling::of(otlp.sample));
    Telemetry { reports: spans.is_some() || wanted.access_log.is_some(), sampling }
}

/// How requests are served.
pub(super) fn settings(config: &Config, control_socket: &Path, checks_key_form: bool) -> Settings {
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
        http2_plain: config.server.http2 == ClientHttp2::All,
        telemetry: telemetry(&config.telemetry),
        trusted_proxies: config.server.trusted_proxies.clone(),
        control_socket: control_socket.to_owned(),
        checks_key_form,
    }
}
