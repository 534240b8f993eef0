//! One provider as the gateway will use it: a built-in row, perhaps with another address, or the owner's own.
//!
//! Owned, because half of it may come from configuration. It holds no credential, opens nothing and resolves nothing; whether an
//! address may be contacted is decided where addresses are resolved (rule T5).

use super::catalogue::Catalogue;
use super::platform::Platform;
use super::quirks::{Quirks, Split};
use super::table::{self, Row};
use super::{Auth, Dialect};
use crate::chat::fault::FaultBook;
use crate::domain::id::ProviderId;
use crate::routing::resolve::Offer;

/// A provider, ready to be published.
#[derive(Clone, Debug)]
pub struct ProviderSpec {
    /// Canonical name of the row, or the owner's name for it.
    pub id: ProviderId,
    /// Other names clients and configuration may use.
    pub aliases: &'static [&'static str],
    /// What stands before the dialect's own paths; no slash at the end.
    pub base_url: String,
    /// Where the credential goes.
    pub auth: Auth,
    /// Whether it works without a credential (a server of one's own).
    pub keyless: bool,
    /// The wire format it speaks.
    pub dialect: Dialect,
    /// Path of its model list, after the base URL; `None` where it has none.
    pub models_path: Option<&'static str>,
    /// Where it departs from the plain shape.
    pub quirks: Quirks,
    /// How it words its failures.
    pub faults: FaultBook,
    /// The name under which the catalogue lists its models; `None` for a provider whose models we do not list.
    pub price_source: Option<&'static str>,
    /// Whether it is the owner's own rather than a built-in row.
    pub custom: bool,
    /// What its cloud needs beside address and key; nothing unless configuration says.
    pub platform: Platform,
}

/// Why a row cannot be used as configured.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The provider's address depends on the owner's account.
    #[error("provider \"{0}\" has no address of its own: set `base_url`")]
    BaseUrlMissing(&'static str),
}

impl ProviderSpec {
    /// A built-in provider, at its own address or at `base_url`.
    ///
    /// A row that stands for two companies takes on the other one's ways when the address is the other one's.
    ///
    /// # Errors
    /// [`SpecError::BaseUrlMissing`] when neither the row nor the caller names an address.
    pub fn built_in(row: &'static Row, base_url: Option<&str>) -> Result<Self, SpecError> {
        let base_url = base_url.or(row.base_url).ok_or(SpecError::BaseUrlMissing(row.id))?;
        let ways = flavour_at(row, base_url);
        Ok(Self {
            id: ProviderId::new(row.id),
            aliases: row.aliases,
            base_url: without_slash(base_url),
            auth: row.auth,
            keyless: row.keyless,
            dialect: row.dialect,
            models_path: row.models_path,
            quirks: ways.quirks,
            faults: ways.faults,
            price_source: ways.price_source,
            custom: false,
            platform: Platform::default(),
        })
    }

    /// A provider that no row knows, by the owner's name, in a dialect's plain form. Its credential is optional.
    pub fn custom(name: &str, dialect: Dialect, base_url: &str) -> Self {
        Self {
            id: ProviderId::new(name),
            aliases: &[],
            base_url: without_slash(base_url),
            auth: dialect.usual_auth(),
            keyless: true,
            dialect,
            models_path: (dialect == Dialect::OpenAi).then_some("/models"),
            quirks: Quirks::PLAIN,
            faults: FaultBook::PLAIN,
            price_source: None,
            custom: true,
            platform: Platform::default(),
        }
    }

    /// The field that carries a credential of this text: the provider's usual one, but `authorization` for the tokens of an identity service
    /// (OAuth, Entra) where a platform takes both. AWS's pairs of keys are in no field; they sign ([`super::signing`]).
    pub fn auth_for(&self, secret: &[u8]) -> Auth {
        let is_token = match self.dialect {
            Dialect::Anthropic => secret.starts_with(b"sk-ant-oat"),
            Dialect::Gemini => secret.starts_with(b"ya29."),
            Dialect::Azure => secret.starts_with(b"eyJ"),
            _ => false,
        };
        if is_token { Auth::Bearer } else { self.auth }
    }

    /// What it can serve, for the resolver: the models the catalogue lists for it, and those that configuration adds.
    pub fn offer<'m>(&self, catalogue: &Catalogue, own_models: impl IntoIterator<Item = &'m str>) -> Offer {
        let mut own_models = own_models.into_iter().peekable();
        // Where we recommend none, the first one that its owner names.
        let recommended =
            self.price_source.and_then(|source| catalogue.recommended(source)).or(own_models.peek().copied());
        let listed =
            self.price_source.into_iter().flat_map(|source| catalogue.models_of(source)).map(|(model, _)| model);
        let split = |split: &Split| (split.prefix.to_owned(), split.provider.to_owned());
        Offer {
            provider: self.id.clone(),
            aliases: self.aliases.iter().map(|alias| alias.to_string()).collect(),
            models: listed.map(Box::from).chain(own_models.map(Box::from)).collect(),
            recommended: recommended.map(Box::from),
            custom: self.custom,
            splits: self.quirks.splits.iter().map(split).collect(),
        }
    }
}

/// The row whose ways hold at `base_url`: `row` itself, unless the address belongs to a row it splits into.
fn flavour_at(row: &'static Row, base_url: &str) -> &'static Row {
    let there = |split: &Split| table::find(split.provider).filter(|other| other.hosts.contains(&host_of(base_url)));
    row.quirks.splits.iter().find_map(there).unwrap_or(row)
}

/// The host of a URL, without port; empty when there is none.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

fn without_slash(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str) -> &'static Row {
        table::find(name).expect("a known row")
    }

    #[test]
    fn a_row_without_an_address_asks_for_one() {
        let missing = ProviderSpec::built_in(row("bedrock"), None).expect_err("no address");
        assert_eq!(missing, SpecError::BaseUrlMissing("bedrock"));
        let given = ProviderSpec::built_in(row("bedrock"), Some("https://bedrock-runtime.eu-west-1.amazonaws.com/"));
        assert_eq!(given.expect("an address").base_url, "https://bedrock-runtime.eu-west-1.amazonaws.com");
    }

    #[test]
    fn a_name_for_two_companies_follows_the_address() {
        let zai = ProviderSpec::built_in(row("zai"), None).expect("its own address");
        assert_eq!((zai.price_source, zai.faults.in_success), (Some("zai"), false));
        for url in ["https://api.minimax.io/v1", "https://api.minimaxi.com:443/v1"] {
            let minimax = ProviderSpec::built_in(row("zai"), Some(url)).expect("an address");
            assert_eq!((minimax.price_source, minimax.faults.in_success), (Some("minimax"), true));
            assert_eq!(minimax.id.as_str(), "zai");
        }
        let elsewhere = ProviderSpec::built_in(row("zai"), Some("http://127.0.0.1:9/v1")).expect("an address");
        assert_eq!(elsewhere.price_source, Some("zai"));
    }

    #[test]
    fn a_token_goes_where_tokens_go() {
        let built_in = |name: &str| ProviderSpec::built_in(row(name), Some("https://a.example")).expect("an address");
        for (name, secret, auth) in [
            ("anthropic", "sk-ant-api03-x", Auth::XApiKey),
            ("anthropic", "sk-ant-oat01-x", Auth::Bearer),
            ("google", "AIzax", Auth::XGoogApiKey),
            ("google", "ya29.x", Auth::Bearer),
            ("azure", "0123", Auth::ApiKey),
            ("azure", "eyJx.y.z", Auth::Bearer),
            ("minimax", "eyJx.y.z", Auth::Bearer),
            ("vertex", "ya29.x", Auth::Bearer),
        ] {
            assert_eq!(built_in(name).auth_for(secret.as_bytes()), auth, "{name} {secret}");
        }
    }

    #[test]
    fn a_custom_provider_speaks_its_dialect_plainly() {
        let spec = ProviderSpec::custom("local-vllm", Dialect::OpenAi, "http://127.0.0.1:8000/v1");
        assert_eq!((spec.auth, spec.quirks, spec.keyless), (Auth::Bearer, Quirks::PLAIN, true));
        assert_eq!(ProviderSpec::custom("own", Dialect::Anthropic, "https://a.example").auth, Auth::XApiKey);
    }
}
