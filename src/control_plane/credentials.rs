//! The provider keys of tenants: taken in, sealed, listed without their text, erased, and opened for a snapshot.
//!
//! The text of a key comes in once and never goes out: views carry a redacted form, fixed when the key came in. A tenant that
//! does not exist and a key of another tenant give the same answer (rule T1).

use super::supply::Ending;
use crate::domain::clock::UnixMillis;
use crate::domain::id::{CredentialId, ProviderId, TenantId};
use crate::domain::secret::Secret;
use crate::limits::{
    CREDENTIAL_RETRIES, CREDENTIAL_RETRIES_MAX, CREDENTIAL_TIMEOUT_MS, CREDENTIAL_TIMEOUT_MS_MAX,
    PROVIDER_KEY_BYTES_MAX,
};
use crate::providers::service_account::{self, NotAServiceAccount, ServiceAccount};
use crate::store::{CredentialRow, CredentialState, CredentialStep, NewCredential, Origin, Store, StoreError};
use crate::vault::entropy::random_bits;
use crate::vault::rotation::retired_digest;
use crate::vault::{Again, DataKey, Entropy, Keyring, Place, VaultError, Whose, open, seal};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::{Serialize, Serializer};
use std::collections::HashSet;
use std::sync::Arc;

/// The service, borrowed for one operation.
pub struct Credentials<'s> {
    store: &'s mut Store,
    keyring: &'s Keyring,
    entropy: &'s mut dyn Entropy,
    now: UnixMillis,
}

/// What an owner may set for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KeyConfig {
    /// Timeout of a whole exchange in milliseconds; in JSON `timeout`, in seconds.
    #[serde(rename = "timeout", serialize_with = "seconds")]
    pub timeout_ms: u32,
    /// Retries after the first attempt.
    pub max_retries: u32,
}

/// A key as shown: never its text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CredentialView {
    /// `key_…`
    pub id: String,
    /// Whose key it is.
    pub provider: String,
    /// `active`, or `revoked` when it was removed; of a rotation's keys the new one `pending`, `grace` or `active`, the old one `active`,
    /// `fallback`, `retired` or `erased`.
    pub status: &'static str,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// Redacted, `prefix…last4`.
    pub key: String,
    /// What the owner set.
    pub config: KeyConfig,
    /// Whole days since it came in.
    pub age_days: u64,
    /// Whether it is so old that it should be rotated.
    pub rotation_due: bool,
    /// The rotation that it takes part in, while that is not decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation_id: Option<String>,
    /// When it came in.
    #[serde(skip)]
    pub created: UnixMillis,
    /// What looks wrong without being refused; only on the answer to adding.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What became of the keys that configuration names.
#[derive(Debug, Default)]
pub struct Supplied {
    /// Those that are there.
    pub views: Vec<CredentialView>,
    /// What an owner should know of the others.
    pub notes: Vec<String>,
}

/// A living credential, opened for a snapshot. It may be sent to `base_url` only (rule T5).
#[derive(Debug)]
pub struct Opened<'a> {
    /// Whose it is.
    pub tenant: &'a TenantId,
    /// Which provider knows it.
    pub provider: &'a ProviderId,
    /// The one address it may be sent to.
    pub base_url: &'a str,
    /// Its id.
    pub id: CredentialId,
    /// Pending, active or retiring.
    pub state: CredentialState,
    /// Who brought it.
    pub origin: Origin,
    /// What the owner set.
    pub config: KeyConfig,
    /// The key; `None` when the caller said that it has no need of it.
    pub secret: Option<Arc<Secret>>,
}

/// What a caller of [`Credentials::open_living`] has of a credential already.
#[derive(Debug)]
pub enum Had {
    /// Nothing: it is to be opened.
    Nothing,
    /// Its secret, from the snapshot before.
    Secret(Arc<Secret>),
    /// What stands for it; the secret is not wanted.
    Enough,
}

/// A record that did not open; the others did.
#[derive(Debug)]
pub struct Refused {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which one.
    pub id: CredentialId,
    /// Why.
    pub error: VaultError,
}

/// Why a key was not taken in, or not found.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// Nothing but white space.
    #[error("the provider key is empty; give its whole text")]
    Empty,
    /// Longer than any provider's keys.
    #[error("the provider key is longer than {PROVIDER_KEY_BYTES_MAX} bytes; give the key alone")]
    TooLong,
    /// A byte that cannot stand in a header (it would be an injection).
    #[error("the provider key holds a character that cannot be sent, at byte {at}; copy it again")]
    Character {
        /// Place of the first such byte, from 0, after trimming.
        at: usize,
    },
    /// It begins as a service account's file and is none.
    #[error("the provider key begins as a service account and is none: {0}")]
    Account(#[from] NotAServiceAccount),
    /// A timeout outside what an exchange may take.
    #[error("timeout must be between 1 ms and {CREDENTIAL_TIMEOUT_MS_MAX} ms")]
    Timeout,
    /// More retries than anyone needs.
    #[error("max_retries must be at most {CREDENTIAL_RETRIES_MAX}")]
    Retries,
    /// The store or the vault refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a key is stored with, beside its text.
#[derive(Clone, Copy)]
struct Terms<'a> {
    provider: &'a ProviderId,
    base_url: &'a str,
    config: KeyConfig,
    state: CredentialState,
    origin: Origin,
}

// === impl Credentials ===

impl<'s> Credentials<'s> {
    /// Borrows what an operation at `now` needs.
    pub fn new(store: &'s mut Store, keyring: &'s Keyring, entropy: &'s mut dyn Entropy, now: UnixMillis) -> Self {
        Self { store, keyring, entropy, now }
    }

    /// Takes in a key, in use from the next snapshot on. White space around it is dropped.
    ///
    /// # Errors
    /// [`CredentialError`]: the text or the config is refused, or there is no such tenant.
    pub fn add(
        &mut self,
        tenant: &TenantId,
        provider: &ProviderId,
        base_url: &str,
        secret: Secret,
        config: KeyConfig,
    ) -> Result<CredentialView, CredentialError> {
        let terms = Terms { provider, base_url, config, state: CredentialState::Active, origin: Origin::Api };
        self.insert(tenant, secret, terms)
    }

    /// Takes in a key that is not active until a rotation makes it so. Answers its id and what looks wrong about it.
    ///
    /// # Errors
    /// As [`Credentials::add`].
    pub fn add_pending(
        &mut self,
        tenant: &TenantId,
        provider: &ProviderId,
        base_url: &str,
        secret: Secret,
        config: KeyConfig,
        origin: Origin,
    ) -> Result<(CredentialId, Vec<String>), CredentialError> {
        let terms = Terms { provider, base_url, config, state: CredentialState::Pending, origin };
        let (row, warnings) = self.insert_row(tenant, secret, terms)?;
        Ok((row.id, warnings))
    }

    /// Makes the keys that configuration names for this provider exactly these: known ones stay, with their ids; new ones are
    /// sealed; the others that configuration brought before are erased, if their end is now. Keys from the API are not touched, nor
    /// are those that take part in a rotation. A text that was rotated away is left out and noted.
    ///
    /// # Errors
    /// As [`Credentials::add`]; the texts are checked before anything changes.
    pub fn supply(
        &mut self,
        tenant: &TenantId,
        provider: &ProviderId,
        base_url: &str,
        secrets: Vec<Secret>,
        (config, ending): (KeyConfig, Ending),
    ) -> Result<Supplied, CredentialError> {
        config.check()?;
        let secrets: Vec<Secret> = secrets.iter().map(cleaned).collect::<Result<_, _>>()?;
        let mut before = self.supplied_before(tenant, provider)?;
        let rotating = self.rotating(tenant, provider)?;
        let mut supplied = Supplied::default();
        for secret in secrets {
            let same = |(row, known): &(CredentialRow, Secret)| {
                row.base_url == base_url
                    && row.state != CredentialState::Retiring
                    && verify_slices_are_equal(known.expose(), secret.expose()).is_ok()
            };
            if let Some(at) = before.iter().position(same) {
                let (mut row, _) = before.swap_remove(at);
                self.store.configure_credential(tenant, row.id, config.timeout_ms, config.max_retries)?;
                if row.origin == Origin::Rotated && !rotating.contains(&row.id) {
                    self.store.adopt_credential(tenant, row.id)?;
                }
                (row.timeout_ms, row.max_retries) = (config.timeout_ms, config.max_retries);
                supplied.views.push(CredentialView::of(&row, warnings(provider, secret.expose())));
            } else if self.is_retired(tenant, provider, &secret)? {
                supplied.notes.push(format!(
                    "the configuration still names a key of provider `{provider}` that was rotated away; it stays out of use: put the new key there or remove it"
                ));
            } else {
                let terms =
                    Terms { provider, base_url, config, state: CredentialState::Active, origin: Origin::Config };
                supplied.views.push(self.insert(tenant, secret, terms)?);
            }
        }
        let left = before.iter().filter(|(row, _)| row.origin == Origin::Config && !rotating.contains(&row.id));
        let left = left.filter(|_| ending == Ending::Now);
        let steps: Vec<_> = left.map(|(row, _)| revoked(row)).collect();
        if !steps.is_empty() {
            self.store.move_credentials(tenant, &steps, self.now)?;
        }
        Ok(supplied)
    }

    /// This tenant's keys, oldest first, of one provider or of all; erased ones stay listed as `revoked`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such tenant.
    pub fn list(
        &self,
        tenant: &TenantId,
        provider: Option<&ProviderId>,
    ) -> Result<Vec<CredentialView>, CredentialError> {
        if !self.store.has_tenant(tenant)? {
            return Err(StoreError::NotFound("tenant").into());
        }
        let rows = self.store.credentials(tenant, provider)?;
        Ok(rows.iter().map(|row| CredentialView::of(row, Vec::new())).collect())
    }

    /// One key of this tenant, erased ones too.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when this tenant has no such key.
    pub fn one(&self, tenant: &TenantId, id: CredentialId) -> Result<CredentialView, CredentialError> {
        Ok(CredentialView::of(&self.store.credential(tenant, id)?, Vec::new()))
    }

    /// Erases a key: its sealed record is overwritten, its row stays as `revoked`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when this tenant has no such living key.
    pub fn remove(&mut self, tenant: &TenantId, id: CredentialId) -> Result<CredentialView, CredentialError> {
        let row = self.store.credential(tenant, id)?;
        if row.state == CredentialState::Revoked {
            return Err(StoreError::NotFound("provider key").into());
        }
        self.store.move_credentials(tenant, &[revoked(&row)], self.now)?;
        Ok(CredentialView::of(&self.store.credential(tenant, id)?, Vec::new()))
    }

    /// Opens every living credential, tenant by tenant, of all tenants or of one; those that `had` knows stay closed. One that does
    /// not open is answered and not passed on: a damaged row of one tenant takes nobody else's keys out of service.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn open_living(
        &mut self,
        of: Option<&TenantId>,
        mut had: impl FnMut(&CredentialRow) -> Had,
        mut each: impl FnMut(Opened<'_>),
    ) -> Result<Vec<Refused>, StoreError> {
        let mut refused = Vec::new();
        let mut current: Option<(TenantId, u64, DataKey)> = None;
        let keyring = self.keyring;
        self.store.admin().for_each_credential(of, |tenant, wrapped, row| {
            let (id, generation) = (row.id, wrapped.generation);
            let mut open = || {
                let known = current.take().filter(|(of, number, _)| of == tenant && *number == generation);
                let key = match known {
                    Some((_, _, key)) => key,
                    None => keyring.open_data_key(tenant, wrapped)?,
                };
                let secret = open_row(&key, tenant, &row);
                current = Some((tenant.clone(), generation, key));
                secret
            };
            let secret = match had(&row) {
                Had::Nothing => match open() {
                    Ok(secret) => Some(Arc::new(secret)),
                    Err(error) => {
                        refused.push(Refused { tenant: tenant.clone(), id, error });
                        return Ok::<(), StoreError>(());
                    }
                },
                Had::Secret(secret) => Some(secret),
                Had::Enough => None,
            };
            each(Opened {
                tenant,
                provider: &row.provider,
                base_url: &row.base_url,
                id,
                state: row.state,
                origin: row.origin,
                config: KeyConfig { timeout_ms: row.timeout_ms, max_retries: row.max_retries },
                secret,
            });
            Ok(())
        })?;
        Ok(refused)
    }

    /// Opens one living credential, for as long as it takes to sign something with it.
    ///
    /// # Errors
    /// [`StoreError`]: this tenant has no such credential, or it does not open.
    pub fn open_one(&self, tenant: &TenantId, id: CredentialId) -> Result<Secret, StoreError> {
        let key = self.keyring.open_data_key(tenant, &self.store.data_key(tenant)?)?;
        Ok(open_row(&key, tenant, &self.store.credential(tenant, id)?)?)
    }

    /// Gives a tenant a new data key and seals its living keys anew under it, all in one transaction (rule V6). Answers how many.
    ///
    /// # Errors
    /// [`StoreError`]; then the old data key is still the right one.
    pub fn rotate_data_key(&mut self, tenant: &TenantId) -> Result<usize, CredentialError> {
        let old = self.store.data_key(tenant)?;
        let old_key = self.keyring.open_data_key(tenant, &old).map_err(StoreError::from)?;
        let generation = old.generation.saturating_add(1);
        let mut new = self.keyring.make_data_key(tenant, generation, self.entropy).map_err(StoreError::from)?;
        let mut new_key = self.keyring.open_data_key(tenant, &new).map_err(StoreError::from)?;
        let mut rows = self.store.credentials(tenant, None)?;
        rows.retain(|row| row.record.is_some());
        for row in &mut rows {
            let secret = open_row(&old_key, tenant, row).map_err(StoreError::from)?;
            row.generation = row.generation.saturating_add(1);
            row.kek_version = new.kek_version;
            row.record =
                Some(seal(&mut new_key, &place(tenant, row), &secret, self.entropy).map_err(StoreError::from)?);
        }
        new.seals = new_key.seals();
        self.store.replace_data_key(tenant, &new, &rows)?;
        Ok(rows.len())
    }

    fn insert(
        &mut self,
        tenant: &TenantId,
        secret: Secret,
        terms: Terms<'_>,
    ) -> Result<CredentialView, CredentialError> {
        let (row, warnings) = self.insert_row(tenant, secret, terms)?;
        Ok(CredentialView::of(&row, warnings))
    }

    fn insert_row(
        &mut self,
        tenant: &TenantId,
        secret: Secret,
        terms: Terms<'_>,
    ) -> Result<(CredentialRow, Vec<String>), CredentialError> {
        terms.config.check()?;
        let secret = cleaned(&secret)?;
        let wrapped = self.store.data_key(tenant)?;
        let mut key = self.keyring.open_data_key(tenant, &wrapped).map_err(StoreError::from)?;
        let id = random_bits(self.entropy).map_err(StoreError::from)?;
        let mut row = CredentialRow {
            id: CredentialId::from_bits(id),
            provider: terms.provider.clone(),
            base_url: terms.base_url.to_owned(),
            state: terms.state,
            origin: terms.origin,
            generation: 1,
            kek_version: wrapped.kek_version,
            record: None,
            display: redacted(secret.expose()),
            timeout_ms: terms.config.timeout_ms,
            max_retries: terms.config.max_retries,
            created: self.now,
            retired: None,
        };
        row.record = Some(seal(&mut key, &place(tenant, &row), &secret, self.entropy).map_err(StoreError::from)?);
        let new = NewCredential { row: &row, data_key_generation: wrapped.generation, seals: key.seals() };
        self.store.insert_credential(tenant, &new)?;
        Ok((row, warnings(terms.provider, secret.expose())))
    }

    /// The keys of this provider that take part in a rotation which has steps to take.
    fn rotating(&self, tenant: &TenantId, provider: &ProviderId) -> Result<HashSet<CredentialId>, StoreError> {
        let rotations = self.store.rotations(tenant, Some(provider))?;
        Ok(rotations.iter().filter(|row| row.open).flat_map(|row| [row.old, row.new]).collect())
    }

    fn is_retired(&self, tenant: &TenantId, provider: &ProviderId, secret: &Secret) -> Result<bool, StoreError> {
        let digest = retired_digest(self.keyring.pepper()?, provider, secret.expose());
        self.store.is_retired_key(tenant, provider, &digest)
    }

    /// The living keys that configuration brought for this provider, and those that took their place, opened.
    fn supplied_before(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
    ) -> Result<Vec<(CredentialRow, Secret)>, StoreError> {
        let key = self.keyring.open_data_key(tenant, &self.store.data_key(tenant)?)?;
        let rows = self.store.credentials(tenant, Some(provider))?;
        let ours = rows.into_iter().filter(|row| row.origin != Origin::Api && row.record.is_some());
        ours.map(|row| open_row(&key, tenant, &row).map(|secret| (row, secret)).map_err(StoreError::from)).collect()
    }
}

// === impl KeyConfig ===

impl KeyConfig {
    fn check(self) -> Result<(), CredentialError> {
        if self.timeout_ms == 0 || self.timeout_ms > CREDENTIAL_TIMEOUT_MS_MAX {
            return Err(CredentialError::Timeout);
        }
        if self.max_retries > CREDENTIAL_RETRIES_MAX {
            return Err(CredentialError::Retries);
        }
        Ok(())
    }
}

impl Default for KeyConfig {
    fn default() -> Self {
        Self { timeout_ms: CREDENTIAL_TIMEOUT_MS, max_retries: CREDENTIAL_RETRIES }
    }
}

// === impl CredentialView ===

impl CredentialView {
    fn of(row: &CredentialRow, warnings: Vec<String>) -> Self {
        Self {
            id: row.id.to_string(),
            provider: row.provider.to_string(),
            status: row.state.name(),
            created_at: row.created.to_rfc3339(),
            key: row.display.clone(),
            config: KeyConfig { timeout_ms: row.timeout_ms, max_retries: row.max_retries },
            age_days: 0,
            rotation_due: false,
            rotation_id: None,
            created: row.created,
            warnings,
        }
    }
}

// === impl CredentialError ===

impl CredentialError {
    /// Who has to act.
    pub fn whose(&self) -> Whose {
        match self {
            Self::Store(error) => error.whose(),
            _ => Whose::Client,
        }
    }

    /// Whether the same call may succeed later.
    pub fn again(&self) -> Again {
        match self {
            Self::Store(error) => error.again(),
            _ => Again::Never,
        }
    }
}

fn place<'a>(tenant: &'a TenantId, row: &'a CredentialRow) -> Place<'a> {
    Place::credential(tenant, &row.provider, &row.base_url, row.id, row.kek_version, row.generation)
}

fn open_row(key: &DataKey, tenant: &TenantId, row: &CredentialRow) -> Result<Secret, VaultError> {
    open(key, &place(tenant, row), row.record.as_deref().unwrap_or_default())
}

fn revoked(row: &CredentialRow) -> CredentialStep {
    CredentialStep { id: row.id, from: row.state, to: CredentialState::Revoked }
}

/// The key without white space around it, if it can stand in a header (RFC 9110 §5.5; inner spaces are typing errors). Of a service
/// account's file, what is needed.
fn cleaned(secret: &Secret) -> Result<Secret, CredentialError> {
    if service_account::is_meant(secret.expose()) {
        let account = service_account::essence(secret.expose())?;
        return if account.len() > PROVIDER_KEY_BYTES_MAX { Err(CredentialError::TooLong) } else { Ok(account) };
    }
    let text = secret.expose().trim_ascii();
    if text.is_empty() {
        return Err(CredentialError::Empty);
    }
    if text.len() > PROVIDER_KEY_BYTES_MAX {
        return Err(CredentialError::TooLong);
    }
    match text.iter().position(|byte| !byte.is_ascii_graphic()) {
        Some(at) => Err(CredentialError::Character { at }),
        None => Ok(Secret::copy_of(text)),
    }
}

/// `prefix…last4`: a known prefix only, and the end only when enough stays hidden. A service account shows whose it is.
fn redacted(key: &[u8]) -> String {
    if service_account::is_meant(key) {
        return ServiceAccount::parse(key).map_or("…".to_owned(), |account| account.client_email);
    }
    let prefix = known_prefix(key).map_or("", |(prefix, _)| prefix);
    let hidden = key.get(prefix.len()..).unwrap_or_default();
    let last4 = hidden.split_last_chunk::<4>().filter(|(rest, _)| rest.len() >= HIDDEN_BYTES_MIN).map(|(_, last)| last);
    let last4: String = last4.into_iter().flatten().map(|byte| char::from(*byte)).collect();
    format!("{prefix}…{last4}")
}

/// A sentence when the prefix is another provider's. Names that are not ours say nothing: an operator's own row may take any.
fn warnings(provider: &ProviderId, key: &[u8]) -> Vec<String> {
    let built_in = PREFIXES.iter().any(|(_, owners)| owners.contains(&provider.as_str()));
    match known_prefix(key) {
        Some((prefix, [])) => {
            vec![format!("this looks like an access key of Igris ({prefix}…), not like a provider's key")]
        }
        Some((prefix, owners)) if built_in && !owners.contains(&provider.as_str()) => {
            vec![format!("keys that begin with {prefix} are usually for {}, not for {provider}", owners.join(" or "))]
        }
        _ => Vec::new(),
    }
}

fn known_prefix(key: &[u8]) -> Option<(&'static str, &'static [&'static str])> {
    PREFIXES.iter().find(|(prefix, _)| key.starts_with(prefix.as_bytes())).copied()
}

/// Whole seconds as an integer, others as a float.
fn seconds<S: Serializer>(timeout_ms: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    if timeout_ms.is_multiple_of(1_000) {
        serializer.serialize_u32(timeout_ms / 1_000)
    } else {
        serializer.serialize_f64(f64::from(*timeout_ms) / 1_000.0)
    }
}

/// Characters of a key, beside prefix and end, below which the end is not shown.
const HIDDEN_BYTES_MIN: usize = 12;

/// Prefixes and who issues such keys, longer ones first (the providers' pages, 2026-11). No owner: Igris itself.
const PREFIXES: [(&str, &[&str]); 20] = [
    ("sk-igris-", &[]),
    ("sk-svcacct-", &["openai"]),
    ("sk-admin-", &["openai"]),
    ("sk-proj-", &["openai"]),
    ("sk-ant-", &["anthropic"]),
    ("sk-api-", &["minimax", "zai"]),
    ("sk-or-", &["openrouter"]),
    ("sk-sp-", &["qwen"]),
    ("sk-cp-", &["minimax", "zai"]),
    ("sk-", &["openai", "deepseek", "kimi", "qwen", "minimax", "zai"]),
    ("tgp_v1_", &["together"]),
    ("xai-", &["xai"]),
    ("gsk_", &["groq"]),
    ("AIza", &["google"]),
    ("ya29.", &["google", "vertex"]),
    ("AQ.", &["google"]),
    ("AKIA", &["bedrock"]),
    ("ASIA", &["bedrock"]),
    ("ABSK", &["bedrock"]),
    ("eyJ", &["minimax", "zai"]),
];

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
