//! A provider as configured becomes a provider as published: its row, its origin, its TLS profile.
//!
//! Everything but the addresses is fixed when the configuration is applied; addresses come and go with the resolver.

use super::ControlError;
use crate::config::{self, BaseUrl};
use crate::domain::clock::UnixMillis;
use crate::domain::id::ProviderId;
use crate::domain::protocol::ProviderHttp;
use crate::limits::CONNECT_DEADLINE;
use crate::providers::catalogue::OwnPrice;
use crate::providers::head::StandingHead;
use crate::providers::{Catalogue, Dialect, Platform, ProviderSpec, Row, table};
use crate::snapshot::{self, Origin, TlsProfile};
use crate::tls::{self, ClientConfig, ClientTrust, Roots, ServerName};
use aws_lc_rs::digest::{SHA256, digest};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// A provider with all that publishing it takes.
pub(super) struct Configured {
    /// What the owner wrote, or the built-in row with nothing changed.
    pub(super) config: config::Provider,
    /// Whether the configuration names it; otherwise a tenant's key brought it in.
    pub(super) by_config: bool,
    /// Its row.
    pub(super) spec: Arc<ProviderSpec>,
    /// Where it is.
    pub(super) url: BaseUrl,
    /// Names it is known to serve.
    pub(super) models: Vec<Arc<str>>,
    origin_key: Arc<str>,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Whom to trust where its credentials are exchanged for tokens, if they are.
    token_trust: Option<Arc<ClientConfig>>,
}

/// TLS configurations by the extra authorities they trust: kept over reloads, so that sessions and pools survive them.
#[derive(Default)]
pub(super) struct Trusts {
    by_authority: HashMap<(Option<[u8; 32]>, ProviderHttp), Arc<ClientConfig>>,
}

// === impl Configured ===

impl Configured {
    /// Puts together what is known; `authority` is the content of the provider's own CA file.
    ///
    /// # Errors
    /// One sentence, naming the provider: no address, no dialect, a CA that is none.
    pub(super) fn new(
        config: config::Provider,
        authority: Option<&[u8]>,
        by_config: bool,
        trusts: &mut Trusts,
        catalogue: &Catalogue,
        now: UnixMillis,
    ) -> Result<Self, String> {
        let named = |error: &dyn std::fmt::Display| format!("provider `{}`: {error}", config.id);
        let url = url_of(&config).map_err(|error| named(&error))?;
        let spec = spec_of(&config, &url).map_err(|error| named(&error))?;
        let tls = match url.is_tls() {
            true => {
                let profile = trusts.provider(authority, config.http).map_err(|error| named(&error))?;
                Some((profile, tls::server_name(url.host()).map_err(|error| named(&error))?))
            }
            false => None,
        };
        let trust =
            authority.filter(|_| url.is_tls()).map_or_else(String::new, |pem| format!("#{}", short_digest(pem)));
        let scheme = if url.is_tls() { "https" } else { "http" };
        let versions = match config.http {
            ProviderHttp::One => "",
            ProviderHttp::Two => " 2",
            ProviderHttp::Auto => " auto",
        };
        let origin_key = Arc::from(format!("{scheme}://{}:{}{trust}{versions}", url.host(), url.port()));
        let models = Vec::new();
        let token_trust = match spec.dialect {
            Dialect::Vertex => Some(trusts.client(authority).map_err(|error| named(&error))?),
            _ => None,
        };
        let spec = Arc::new(spec);
        let mut configured = Self { spec, url, models, origin_key, tls, config, by_config, token_trust };
        configured.list_living(catalogue, now);
        Ok(configured)
    }

    /// Lists the models that it serves on the day of `now`.
    pub(super) fn list_living(&mut self, catalogue: &Catalogue, now: UnixMillis) {
        let own = self.config.models.iter().map(String::as_str);
        self.models = living_models(&self.spec, catalogue, now).chain(own).map(Arc::from).collect();
    }

    /// Whom to trust where a credential is exchanged for a token; `None` where none is.
    pub(super) fn token_trust(&self) -> Option<Arc<ClientConfig>> {
        self.token_trust.clone()
    }

    /// Unused connections that a core keeps: a handshake is worth one, and a shared connection stands anyway.
    fn ready(&self) -> usize {
        match (self.config.http, self.config.ready_connections) {
            (ProviderHttp::One, Some(asked)) => asked,
            (ProviderHttp::One, None) => usize::from(self.url.is_tls()),
            (ProviderHttp::Two | ProviderHttp::Auto, _) => 0,
        }
    }

    /// The published form, with these addresses.
    pub(super) fn publishable(&self, addresses: Vec<SocketAddr>) -> snapshot::Provider {
        let tls =
            self.tls.as_ref().map(|(config, name)| TlsProfile { config: config.clone(), server_name: name.clone() });
        let headers = self.config.headers.iter();
        snapshot::Provider {
            id: self.config.id.clone(),
            spec: self.spec.clone(),
            origin: Arc::new(Origin {
                key: self.origin_key.clone(),
                authority: Box::from(self.url.authority()),
                tls,
                http: self.config.http,
                ready: self.ready(),
                addresses,
            }),
            base_path: Box::from(self.url.path()),
            head: StandingHead::of(
                &self.spec,
                self.url.authority(),
                self.url.path(),
                headers.clone().map(|header| (&*header.name, &*header.value)),
            ),
            timeout: self.config.first_byte_timeout.or(self.config.timeout),
            connect_timeout: self.config.connect_timeout.unwrap_or(CONNECT_DEADLINE),
            headers: headers.map(|header| (Box::from(&*header.name), Box::from(&*header.value))).collect(),
            models: self.models.clone(),
            keyless: self.spec.keyless,
            configured: self.by_config,
        }
    }
}

/// A built-in row with nothing changed, as a tenant's own key brings it in.
pub(super) fn built_in(row: &'static Row) -> config::Provider {
    let private = |url: &str| BaseUrl::parse(url, false).is_err() && BaseUrl::parse(url, true).is_ok();
    config::Provider {
        id: ProviderId::new(row.id),
        built_in: true,
        dialect: None,
        base_url: None,
        api_key: None,
        timeout: None,
        connect_timeout: None,
        first_byte_timeout: None,
        max_retries: None,
        allow_private_address: row.base_url.is_some_and(private),
        headers: Vec::new(),
        models: Vec::new(),
        ca: None,
        http: ProviderHttp::default(),
        ready_connections: None,
        platform: Platform::default(),
    }
}

/// The built-in catalogue with the owner's prices.
///
/// # Errors
/// The embedded lists are broken, which the tests exclude.
pub(super) fn catalogue(config: &config::Config) -> Result<Arc<Catalogue>, ControlError> {
    let built_in = Catalogue::built_in().map_err(|error| ControlError::BuiltIn(error.to_string()))?;
    let own = config.prices.iter().map(|own| {
        let configured = config.providers.iter().find(|provider| provider.id.as_str() == own.provider);
        let url = configured.and_then(|provider| provider.base_url.as_ref());
        // A row that stands for two companies charges by its address.
        let row = table::find(&own.provider).filter(|row| row.id == own.provider);
        let spec = row.and_then(|row| ProviderSpec::built_in(row, url.map(BaseUrl::as_str)).ok());
        let source = spec.and_then(|spec| spec.price_source).unwrap_or(&own.provider);
        OwnPrice { provider: source.to_owned(), ..own.clone() }
    });
    Ok(Arc::new(built_in.with_prices(own)))
}

fn url_of(config: &config::Provider) -> Result<BaseUrl, String> {
    if let Some(url) = &config.base_url {
        return Ok(url.clone());
    }
    let row = table::find(config.id.as_str()).and_then(|row| row.base_url);
    let url = row.ok_or("has no address of its own; configure it with `base_url`")?;
    BaseUrl::parse(url, config.allow_private_address).map_err(|complaint| format!("{url} {}", complaint.what))
}

fn spec_of(config: &config::Provider, url: &BaseUrl) -> Result<ProviderSpec, String> {
    let row = table::find(config.id.as_str()).filter(|_| config.built_in);
    let stated = config.dialect.as_deref().and_then(Dialect::parse);
    let dialect = stated.or(row.map(|row| row.dialect)).ok_or("has no `dialect`; configure one")?;
    let spec = match row {
        Some(row) if row.dialect == dialect => {
            ProviderSpec::built_in(row, Some(url.as_str())).map_err(|error| error.to_string())?
        }
        // Another endpoint of a known company: its names and prices hold, its quirks do not.
        Some(row) => ProviderSpec {
            aliases: row.aliases,
            price_source: row.price_source,
            keyless: row.keyless,
            custom: false,
            ..ProviderSpec::custom(row.id, dialect, url.as_str())
        },
        None => ProviderSpec::custom(config.id.as_str(), dialect, url.as_str()),
    };
    Ok(ProviderSpec { platform: config.platform.clone(), ..spec })
}

/// What the catalogue lists for it and the provider still serves.
fn living_models<'c>(
    spec: &ProviderSpec,
    catalogue: &'c Catalogue,
    now: UnixMillis,
) -> impl Iterator<Item = &'c str> + use<'c> {
    let listed = spec.price_source.into_iter().flat_map(|source| catalogue.models_of(source));
    listed.filter(move |(_, entry)| entry.is_living(now)).map(|(model, _)| model)
}

// === impl Trusts ===

impl Trusts {
    /// The configuration that trusts the system's authorities, else the bundled ones, and this one.
    pub(super) fn client(&mut self, authority: Option<&[u8]>) -> Result<Arc<ClientConfig>, tls::TlsError> {
        self.provider(authority, ProviderHttp::One)
    }

    /// The same, offering a provider these versions.
    pub(super) fn provider(
        &mut self,
        authority: Option<&[u8]>,
        http: ProviderHttp,
    ) -> Result<Arc<ClientConfig>, tls::TlsError> {
        let key = (authority.map(sha256), http);
        if let Some(known) = self.by_authority.get(&key) {
            return Ok(known.clone());
        }
        let trust = |roots| ClientTrust {
            roots,
            extra_ca: authority.map(<[u8]>::to_vec).into_iter().collect(),
            alpn: match http {
                ProviderHttp::One => vec![tls::HTTP1.to_vec()],
                ProviderHttp::Two => vec![tls::HTTP2.to_vec()],
                ProviderHttp::Auto => vec![tls::HTTP2.to_vec(), tls::HTTP1.to_vec()],
            },
        };
        // A machine without a certificate store, such as a bare container, gets Mozilla's list; a bad CA file fails both ways.
        let made = match tls::client_config(&trust(Roots::System)) {
            Err(tls::TlsError::NoRoots(_)) => tls::client_config(&trust(Roots::Bundled))?,
            made => made?,
        };
        self.by_authority.insert(key, made.clone());
        Ok(made)
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

fn short_digest(bytes: &[u8]) -> String {
    sha256(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
