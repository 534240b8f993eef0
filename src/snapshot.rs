//! What control tells data: one immutable value, swapped whole.
//!
//! The control plane builds a [`Snapshot`] from configuration, store and resolver and publishes it; each core loads it once per exchange
//! and serves the whole exchange from it, also with the control plane dead. Its parts are shared (`Arc`) so that a new address list does
//! not rebuild a million access keys. It is the only place outside the vault where credentials lie unsealed (rule V12).

mod access;

pub use access::{AccessFilling, AccessKey, AccessTable, AccessTerms};

use crate::domain::cidr::Cidr;
use crate::domain::id::{CredentialId, ProviderId, TenantId};
use crate::domain::map::Map;
use crate::domain::protocol::ProviderHttp;
use crate::domain::secret::Secret;
use crate::domain::trace::Sampling;
use crate::providers::head::StandingHead;
use crate::providers::{Catalogue, ProviderSpec};
use crate::routing::policy::Policy;
use crate::routing::resolve::ModelTable;
use crate::routing::score::ScoreTable;
use crate::routing::terms::RoutingTerms;
use arc_swap::ArcSwap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The published snapshot, as both planes hold it.
pub type Published = Arc<ArcSwap<Snapshot>>;

/// Everything a core needs to serve.
pub struct Snapshot {
    /// Counts publications since start but those of scores alone; grows by one each time.
    pub generation: u64,
    /// The configuration this was built from.
    pub config: ConfigStamp,
    /// Who may ask.
    pub access: Arc<AccessTable>,
    /// Who may answer; a [`ProviderIx`] points in here.
    pub providers: Arc<[Provider]>,
    /// What clients may ask for.
    pub routes: Arc<RouteTable>,
    /// With which credentials.
    pub credentials: Arc<CredentialTable>,
    /// What is known of every lane.
    pub scores: Arc<ScoreTable>,
    /// How requests are served.
    pub settings: Arc<Settings>,
    /// When this process started.
    pub started: Instant,
    /// Certificates of the listener; `None` serves plain text.
    pub listener_tls: Option<Arc<rustls::ServerConfig>>,
}

/// Which configuration is live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigStamp {
    /// The file's own `version`.
    pub version: u64,
    /// Hex of the digest of its bytes.
    pub digest: String,
}

/// Per-exchange settings, straight from configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of a request body.
    pub body_bytes_max: u64,
    /// Bytes of a request head.
    pub head_bytes_max: usize,
    /// Fields in a request head.
    pub head_fields_max: usize,
    /// A request head must be complete by then.
    pub head_deadline: Duration,
    /// A request body must be complete by then.
    pub body_deadline: Duration,
    /// A TLS handshake with a client must end by then.
    pub tls_handshake: Duration,
    /// Idle time of a downstream connection.
    pub keep_alive_idle: Duration,
    /// Exchanges on one downstream connection.
    pub exchanges_per_connection: u32,
    /// First byte of a streamed answer.
    pub first_byte_streaming: Duration,
    /// First byte of any other answer.
    pub first_byte_unary: Duration,
    /// A client that does not read is cut after this long.
    pub client_stall: Duration,
    /// A whole exchange.
    pub exchange_deadline: Duration,
    /// Silence inside a stream.
    pub stream_silence: Duration,
    /// How the owner wants requests routed.
    pub routing: Arc<RoutingTerms>,
    /// Memory of the process above which no request is admitted, bytes; `None`: found from the machine.
    pub memory_bytes_max: Option<u64>,
    /// Exchanges that one core has under way at a time.
    pub exchanges_per_core_max: usize,
    /// Whether answers carry the `metadata` member.
    pub metadata: bool,
    /// Whether clients may speak HTTP/2 without TLS.
    pub http2_plain: bool,
    /// What is to be told of each exchange.
    pub telemetry: Telemetry,
    /// Peers whose word on where a request comes from is believed (rule H11).
    pub trusted_proxies: Vec<Cidr>,
    /// Where the control plane listens for forwarded requests.
    pub control_socket: PathBuf,
    /// Whether a wrong checksum in a text of the form of rule V9 says that it is no access key; not where an owner supplied such a text.
    pub checks_key_form: bool,
}

/// What is to be told of each exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// Whether a report is made of each.
    pub reports: bool,
    /// Which traces are recorded where no caller has decided; `None` where no spans of ours are: then trace context passes as it is.
    pub sampling: Option<Sampling>,
}

// ---- Providers ------------------------------------------------------------------------------------------------------------------

/// Index of a provider in this snapshot; meaningless in another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderIx(pub u16);

/// A configured provider.
pub struct Provider {
    /// Its name.
    pub id: ProviderId,
    /// Its row: dialect, authentication, quirks.
    pub spec: Arc<ProviderSpec>,
    /// Where it is.
    pub origin: Arc<Origin>,
    /// Path in front of the dialect's own paths, without trailing slash: `/v1`.
    pub base_path: Box<str>,
    /// What stands in the head of every request to it, the lines of `headers` included.
    pub head: StandingHead,
    /// First byte of an answer, unless the credential says otherwise.
    pub timeout: Option<Duration>,
    /// A connection must stand by then.
    pub connect_timeout: Duration,
    /// Extra fields for each request, checked when configured.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// Model names this provider is known to serve.
    pub models: Vec<Arc<str>>,
    /// Whether it is served without any credential (a local server).
    pub keyless: bool,
    /// Whether the configuration names it; otherwise a key that some tenant brought did.
    pub configured: bool,
}

/// One place to connect to. Pools are keyed by `key`, so that TLS profiles never mix.
pub struct Origin {
    /// Scheme, host, port and TLS profile in one string.
    pub key: Arc<str>,
    /// Value of the `Host` field.
    pub authority: Box<str>,
    /// TLS towards it, or plain text.
    pub tls: Option<TlsProfile>,
    /// Which HTTP it is spoken to in.
    pub http: ProviderHttp,
    /// Unused connections that a core keeps to it while it is in use, so that no request waits for a handshake.
    pub ready: usize,
    /// Checked addresses in order of preference; empty while resolution has never succeeded.
    pub addresses: Vec<SocketAddr>,
}

/// How to speak TLS to an origin.
pub struct TlsProfile {
    /// Roots, versions, session cache.
    pub config: Arc<rustls::ClientConfig>,
    /// Name the certificate must carry.
    pub server_name: rustls::pki_types::ServerName<'static>,
}

// ---- Credentials ----------------------------------------------------------------------------------------------------------------

/// Credentials by tenant and provider, in the order they are to be tried. A copy shares what is not changed in it.
#[derive(Clone)]
pub struct CredentialTable {
    /// Tenants in shards by their name, so that the change of one copies few others.
    by_tenant: [Arc<Map<TenantId, Arc<ByProvider>>>; TENANT_SHARDS],
    shared: Arc<ByProvider>,
}

type ByProvider = Map<ProviderId, Vec<Arc<Credential>>>;

/// With ten thousand tenants a shard holds some hundred and fifty.
const TENANT_SHARDS: usize = 64;

/// One unsealed provider key.
pub struct Credential {
    /// Its id.
    pub id: CredentialId,
    /// The key itself; shared, so that another role needs no second copy of it.
    pub secret: Arc<Secret>,
    /// First byte of an answer, if set for this key.
    pub timeout: Option<Duration>,
    /// Attempts beyond the first, if set for this key.
    pub max_retries: Option<u32>,
    /// When its turn comes among those of its provider.
    pub role: Role,
}

/// When the turn of a credential comes among those of its tenant and provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// As any other.
    #[default]
    Usual,
    /// The new one of a rotation in its grace: first, for so many of a hundred requests; otherwise after [`Role::Outgoing`].
    Fresh {
        /// Share of requests that try it first, 1 to 100.
        canary_percent: u8,
    },
    /// The old one of a rotation in its grace: next after the new one, at once when that is refused.
    Outgoing,
    /// Only when the others of its provider fail: the new one of a rotation that is held.
    Standby,
}

impl CredentialTable {
    /// Adds a credential of one tenant.
    pub fn insert(&mut self, tenant: &TenantId, provider: &ProviderId, credential: Arc<Credential>) {
        let tenants = Arc::make_mut(&mut self.by_tenant[shard_of(tenant)]);
        let providers = Arc::make_mut(tenants.entry(tenant.clone()).or_default());
        providers.entry(provider.clone()).or_default().push(credential);
    }

    /// Adds a credential of the operator, used for tenants that brought none for that provider.
    pub fn insert_shared(&mut self, provider: &ProviderId, credential: Arc<Credential>) {
        Arc::make_mut(&mut self.shared).entry(provider.clone()).or_default().push(credential);
    }

    /// Lets a tenant's credentials go.
    pub fn remove(&mut self, tenant: &TenantId) {
        let shard = &mut self.by_tenant[shard_of(tenant)];
        if shard.contains_key(tenant) {
            Arc::make_mut(shard).remove(tenant);
        }
    }

    /// Lets the operator's credentials go.
    pub fn remove_shared(&mut self) {
        self.shared = Arc::default();
    }

    /// All credentials of one tenant.
    pub fn of(&self, tenant: &TenantId) -> impl Iterator<Item = &Arc<Credential>> {
        self.by_tenant[shard_of(tenant)].get(tenant).into_iter().flat_map(|providers| providers.values().flatten())
    }

    /// All credentials of all tenants, the operator's in their own tenant.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Credential>> {
        let tenants = self.by_tenant.iter().flat_map(|tenants| tenants.values());
        tenants.flat_map(|providers| providers.values().flatten())
    }

    /// How many different credentials there are for a provider, over all tenants.
    pub fn count(&self, provider: &ProviderId) -> usize {
        let tenants = self.by_tenant.iter().flat_map(|tenants| tenants.values());
        let own = tenants.filter_map(|providers| providers.get(provider));
        let all = own.chain(self.shared.get(provider)).flatten();
        all.map(|credential| credential.id).collect::<std::collections::HashSet<_>>().len()
    }

    /// Whether a tenant has credentials of its own for a provider.
    pub fn owns(&self, tenant: &TenantId, provider: &ProviderId) -> bool {
        self.by_tenant[shard_of(tenant)].get(tenant).is_some_and(|providers| providers.contains_key(provider))
    }

    /// What a tenant shows a provider: its own keys if it has any, else the operator's.
    pub fn find(&self, tenant: &TenantId, provider: &ProviderId) -> &[Arc<Credential>] {
        let own = self.by_tenant[shard_of(tenant)].get(tenant).and_then(|providers| providers.get(provider));
        own.or_else(|| self.shared.get(provider)).map_or(&[], Vec::as_slice)
    }
}

impl Default for CredentialTable {
    fn default() -> Self {
        let none: Arc<Map<TenantId, Arc<ByProvider>>> = Arc::default();
        Self { by_tenant: std::array::from_fn(|_| none.clone()), shared: Arc::default() }
    }
}

/// FNV-1a, 32 bits: short, and even enough over names that count up.
fn shard_of(tenant: &TenantId) -> usize {
    let hash =
        tenant.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash >> 16) as usize % TENANT_SHARDS
}

// ---- Routes ---------------------------------------------------------------------------------------------------------------------

/// What clients may ask for, resolved beforehand so that the request path makes one lookup.
#[derive(Default)]
pub struct RouteTable {
    /// Names to candidates. A candidate's `offer` is a [`ProviderIx`] of the same snapshot.
    pub models: ModelTable,
    /// How the owner's entry of each index orders its targets.
    pub policies: Vec<RoutePolicy>,
    /// List prices.
    pub catalogue: Arc<Catalogue>,
    /// Names to show in `GET /v1/models`, sorted.
    pub listed: Vec<ListedModel>,
}

/// How an entry orders its targets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RoutePolicy {
    /// By what.
    pub policy: Policy,
    /// The percentile that `latency` and `hedged` look at, 0 to 1; `None` is the usual one.
    pub percentile: Option<f64>,
}

/// A row of `GET /v1/models`.
#[derive(Clone, Debug)]
pub struct ListedModel {
    /// What to ask for.
    pub name: Arc<str>,
    /// Who may answer, in order of preference.
    pub providers: Vec<ProviderIx>,
}

impl Snapshot {
    /// The same with other scores. It is no new generation: what is served, by whom and for whom has not changed.
    pub fn with_scores(&self, scores: Arc<ScoreTable>) -> Self {
        Self {
            generation: self.generation,
            config: self.config.clone(),
            access: self.access.clone(),
            providers: self.providers.clone(),
            routes: self.routes.clone(),
            credentials: self.credentials.clone(),
            scores,
            settings: self.settings.clone(),
            started: self.started,
            listener_tls: self.listener_tls.clone(),
        }
    }

    /// The provider behind an index of this snapshot.
    pub fn provider(&self, ix: ProviderIx) -> Option<&Provider> {
        self.providers.get(usize::from(ix.0))
    }

    /// The index of a provider by its canonical name.
    pub fn provider_named(&self, name: &str) -> Option<ProviderIx> {
        let place = self.providers.iter().position(|provider| provider.id.as_str() == name)?;
        u16::try_from(place).ok().map(ProviderIx)
    }
}

#[cfg(test)]
impl Snapshot {
    /// One with nobody in it, for tests.
    pub(crate) fn bare() -> Self {
        let second = Duration::from_secs(1);
        let settings = Settings {
            body_bytes_max: 1 << 20,
            head_bytes_max: 1 << 14,
            head_fields_max: 64,
            head_deadline: second,
            body_deadline: second,
            tls_handshake: second,
            keep_alive_idle: second,
            exchanges_per_connection: 1_000,
            first_byte_streaming: second,
            first_byte_unary: second,
            client_stall: second,
            exchange_deadline: second,
            stream_silence: second,
            routing: Arc::default(),
            memory_bytes_max: None,
            exchanges_per_core_max: 1_000,
            metadata: true,
            http2_plain: false,
            telemetry: Telemetry::default(),
            trusted_proxies: Vec::new(),
            control_socket: PathBuf::new(),
            checks_key_form: true,
        };
        let pepper = crate::vault::access_key::Pepper::new(1, &[7; 32]);
        Self {
            generation: 1,
            config: ConfigStamp::default(),
            access: Arc::new(AccessTable::new(Arc::new(pepper))),
            providers: Arc::from([]),
            routes: Arc::default(),
            credentials: Arc::default(),
            scores: Arc::default(),
            settings: Arc::new(settings),
            started: Instant::now(),
            listener_tls: None,
        }
    }
}
