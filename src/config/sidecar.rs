//! The configuration of `igris serve` without a file: everything from the environment.
//!
//! Pure like parsing: the environment is a closure, and keys stay references. Faults name the variable instead of a line.

use super::access::{AccessKey, KeyLimits, TENANT_DEFAULT};
use super::base_url::BaseUrl;
use super::operation::KeySource;
use super::problem::{Complaint, Problems, of_environment};
use super::read::Typed;
use super::secrets::{AWS_KEY_ID, AWS_SECRET};
use super::{Config, Known, KnownProvider, Provider, platform};
use crate::domain::id::TenantId;
use crate::domain::scope::Scopes;
use crate::providers::{Dialect, Platform};

/// The variable that holds the access key.
pub const ACCESS_KEY_VARIABLE: &str = "IGRIS_API_KEY";

impl Config {
    /// Configures every known provider that has a key in one of its variables, the default listener and the default tenant.
    ///
    /// - `IGRIS_API_KEY`, when set, becomes the access key `default` with all scopes; otherwise there is none, and the caller makes one.
    /// - `IGRIS_<NAME>_BASE_URL`, with the canonical name in upper case and `_` for `-` and `.`, moves a provider (`IGRIS_OPENAI_BASE_URL`). Here
    ///   the operator's own shell speaks, so loopback and private addresses and plain http are allowed; the rest of rule T5 holds. A provider
    ///   with such a variable is configured even without a key, as servers of one's own often need none.
    ///
    /// - Clouds name the owner's place by the variables of their own tools: `AWS_REGION` or `AWS_DEFAULT_REGION`, `AZURE_OPENAI_ENDPOINT` with
    ///   `OPENAI_API_VERSION` for its older paths, `GOOGLE_CLOUD_PROJECT` with `GOOGLE_CLOUD_LOCATION`.
    ///
    /// A provider whose address is not known waits for one of these. An empty variable counts as unset.
    ///
    /// # Errors
    /// Every base URL that cannot be used, by the name of its variable.
    pub fn sidecar(env: &dyn Fn(&str) -> Option<String>, known: &Known<'_>) -> Result<Config, Problems> {
        let set = |name: &str| env(name).filter(|value| !value.trim().is_empty());
        let mut refused: Vec<(String, Complaint)> = Vec::new();
        let providers = known.providers.iter().filter_map(|row| provider(row, &set, &mut refused)).collect();
        if !refused.is_empty() {
            return Err(of_environment(refused));
        }
        let access_keys = set(ACCESS_KEY_VARIABLE).map(|_| owner_key()).into_iter().collect();
        Ok(Config { providers, access_keys, ..Config::default() })
    }
}

fn owner_key() -> AccessKey {
    AccessKey {
        name: "default".to_owned(),
        tenant: TenantId::new(TENANT_DEFAULT),
        key: KeySource::Env(ACCESS_KEY_VARIABLE.to_owned()),
        scopes: Scopes::ALL,
        limits: KeyLimits::default(),
        expires_at: None,
    }
}

fn provider(
    row: &KnownProvider<'_>,
    set: &dyn Fn(&str) -> Option<String>,
    refused: &mut Vec<(String, Complaint)>,
) -> Option<Provider> {
    let mut provider = Provider::built_in(row);
    provider.api_key = row.key_envs.iter().find_map(|name| key(name, set));
    let dialect = Dialect::parse(row.dialect);
    let variable = base_url_variable(row.name);
    let moved = set(&variable);
    if provider.api_key.is_none() && moved.is_none() {
        return None;
    }
    let place = Place::read(dialect, set);
    // What the operator writes for Igris may be private; what stands there for other tools may not.
    provider.allow_private_address |= moved.is_some();
    let allow_private = moved.is_some();
    if let Some((variable, text)) = moved.map(|text| (variable, text)).or(place.address) {
        match BaseUrl::parse(text.trim(), allow_private) {
            Ok(url) => provider.base_url = Some(url),
            Err(complaint) => refused.push((variable, complaint)),
        }
    }
    let mut read = |stated: Stated, reading: Reading| {
        let (variable, text) = stated?;
        reading(&Typed::Text(text.trim().to_owned())).map_err(|complaint| refused.push((variable, complaint))).ok()
    };
    let api_version = read(place.api_version, platform::version);
    let (region, project) = (read(place.region, platform::region), read(place.project, platform::project));
    let (region, base_url) = platform::completed(dialect, region, provider.base_url.take());
    let complete = dialect != Some(Dialect::Vertex) || (region.is_some() && project.is_some());
    if !complete && allow_private {
        let complaint = Complaint::new("is needed for Vertex, with GOOGLE_CLOUD_LOCATION", "set both");
        refused.push(("GOOGLE_CLOUD_PROJECT".to_owned(), complaint));
    }
    (provider.base_url, provider.platform) = (base_url, Platform { api_version, region, project });
    (complete && (provider.base_url.is_some() || row.base_url.is_some())).then_some(provider)
}

type Reading = fn(&Typed) -> Result<Box<str>, Complaint>;

/// A variable and what is in it.
type Stated = Option<(String, String)>;

/// What a cloud's own variables say.
#[derive(Default)]
struct Place {
    address: Stated,
    api_version: Stated,
    region: Stated,
    project: Stated,
}

impl Place {
    fn read(dialect: Option<Dialect>, set: &dyn Fn(&str) -> Option<String>) -> Self {
        let stated = |name: &str| set(name).map(|text| (name.to_owned(), text));
        match dialect {
            Some(Dialect::Azure) => {
                let api_version = stated("OPENAI_API_VERSION");
                let address = stated("AZURE_OPENAI_ENDPOINT").map(|(name, text)| {
                    let resource = text.trim().trim_end_matches('/').to_owned();
                    // Without a version the newer paths are meant, which need none.
                    let bare = resource.split("://").nth(1).is_some_and(|rest| !rest.contains('/'));
                    let newer = bare && api_version.is_none();
                    (name, if newer { format!("{resource}/openai/v1") } else { resource })
                });
                Self { address, api_version, ..Self::default() }
            }
            Some(Dialect::Bedrock) => {
                let region = stated("AWS_REGION").or_else(|| stated("AWS_DEFAULT_REGION"));
                Self { region, ..Self::default() }
            }
            Some(Dialect::Vertex) => {
                let (region, project) = (stated("GOOGLE_CLOUD_LOCATION"), stated("GOOGLE_CLOUD_PROJECT"));
                Self { region, project, ..Self::default() }
            }
            _ => Self::default(),
        }
    }
}

/// Where the key is that a variable announces: in it, in the file it names, or, for AWS, in it and its companion.
fn key(name: &str, set: &dyn Fn(&str) -> Option<String>) -> Option<KeySource> {
    let text = set(name)?;
    match name {
        GOOGLE_KEY_FILE => Some(KeySource::File(text.trim().into())),
        AWS_KEY_ID => set(AWS_SECRET).map(|_| KeySource::Env(name.to_owned())),
        _ => Some(KeySource::Env(name.to_owned())),
    }
}

/// The variable of Google's tools that names the file of a service account.
const GOOGLE_KEY_FILE: &str = "GOOGLE_APPLICATION_CREDENTIALS";

fn base_url_variable(provider: &str) -> String {
    format!("IGRIS_{}_BASE_URL", provider.to_ascii_uppercase().replace(['-', '.'], "_"))
}
