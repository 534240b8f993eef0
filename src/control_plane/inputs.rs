//! What a configuration refers to and does not hold: keys behind variables and files, certificates, authorities.
//!
//! All of it is read before anything changes, and every fault is told at once (rule C6).

use super::ControlError;
use crate::config::{Config, Tls, secrets};
use crate::domain::clock::UnixMillis;
use crate::domain::id::ProviderId;
use crate::domain::protocol::ClientHttp2;
use crate::domain::secret::Secret;
use crate::limits::PEM_BYTES_MAX;
use crate::tls::{self, ServerConfig, server_config};
use crate::vault::WebhookSecret;
use crate::vault::access_key::is_mistyped;
use aws_lc_rs::digest::{Context, SHA256};
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// How a variable of the environment is read.
pub type Environment = Box<dyn Fn(&str) -> Option<String> + Send>;

/// Everything read.
pub(super) struct Inputs {
    /// The keys that configuration names, by provider.
    pub(super) provider_keys: HashMap<ProviderId, Secret>,
    /// One for each entry of `[[access_keys]]`, in their order.
    pub(super) access_keys: Vec<Secret>,
    /// Whether one of them has the form of a key made here and not its checksum: the owner's word counts, and it is looked up like any.
    pub(super) odd_access_keys: bool,
    /// Contents of the providers' own CA files.
    pub(super) authorities: HashMap<ProviderId, Vec<u8>>,
    /// The listener's certificates.
    pub(super) listener: Option<Listener>,
    /// What signs messages, for each entry of `[[alerts.webhooks]]` in their order; the newest secret first.
    pub(super) webhook_secrets: Vec<Vec<Arc<WebhookSecret>>>,
    /// Tells two sets of inputs apart. Made of secrets: it stays in memory and is never shown.
    pub(super) fingerprint: [u8; 32],
}

/// A usable pair of certificate and key.
#[derive(Clone)]
pub(super) struct Listener {
    /// What the listener shows.
    pub(super) config: Arc<ServerConfig>,
    /// Digest of the files.
    pub(super) fingerprint: [u8; 32],
}

/// Reads all of it. `before` is the listener's pair so far: files that are the same keep it, and with it the sessions.
///
/// # Errors
/// [`ControlError::Config`] with one line for each fault.
pub(super) fn gather(config: &Config, env: &Environment, before: Option<&Listener>) -> Result<Inputs, ControlError> {
    let mut faults = Vec::new();
    let mut whole = Context::new(&SHA256);
    let mut provider_keys = HashMap::new();
    let mut authorities = HashMap::new();
    for provider in &config.providers {
        if let Some(source) = &provider.api_key {
            match secrets::provider_key(source, &**env) {
                Ok(secret) => {
                    add(&mut whole, secret.expose());
                    provider_keys.insert(provider.id.clone(), secret);
                }
                Err(fault) => faults.push(format!("the key of provider `{}`: {fault}", provider.id)),
            }
        }
        if let Some(path) = &provider.ca {
            match pem(path) {
                Ok(content) => {
                    add(&mut whole, &content);
                    authorities.insert(provider.id.clone(), content.to_vec());
                }
                Err(fault) => faults.push(format!("the authorities of provider `{}`: {fault}", provider.id)),
            }
        }
    }
    let mut access_keys = Vec::with_capacity(config.access_keys.len());
    for key in &config.access_keys {
        match secrets::access_key(&key.key, &**env) {
            Ok(secret) => {
                add(&mut whole, secret.expose());
                access_keys.push(secret);
            }
            Err(fault) => faults.push(format!("the access key `{}`: {fault}", key.name)),
        }
    }
    let listener = config.server.tls.as_ref().and_then(|files| match listener(files, config.server.http2, before) {
        Ok(listener) => Some(listener),
        Err(fault) => {
            faults.push(format!("the listener's certificate: {fault}"));
            None
        }
    });
    add(&mut whole, listener.as_ref().map_or(&[], |listener| &listener.fingerprint));
    let mut webhook_secrets = Vec::with_capacity(config.alerts.webhooks.len());
    for webhook in &config.alerts.webhooks {
        let mut secrets = Vec::new();
        for source in std::iter::once(&webhook.secret).chain(&webhook.former_secret) {
            let fault = match secrets::text(source, &**env) {
                Ok(text) => {
                    add(&mut whole, text.expose());
                    match WebhookSecret::parse(text.expose()) {
                        Ok(secret) => {
                            secrets.push(Arc::new(secret));
                            continue;
                        }
                        Err(fault) => format!("what is in {source} {fault}"),
                    }
                }
                Err(fault) => fault.to_string(),
            };
            faults.push(format!("the secret of the webhook `{}`: {fault}", webhook.name));
        }
        webhook_secrets.push(secrets);
    }
    if !faults.is_empty() {
        return Err(ControlError::Config(faults));
    }
    let odd_access_keys = access_keys.iter().any(|key: &Secret| is_mistyped(key.expose().trim_ascii()));
    let fingerprint = finished(whole);
    Ok(Inputs { provider_keys, access_keys, odd_access_keys, authorities, listener, webhook_secrets, fingerprint })
}

fn listener(files: &Tls, http2: ClientHttp2, before: Option<&Listener>) -> Result<Listener, String> {
    let (cert, key) = (pem(&files.cert)?, pem(&files.key)?);
    let client_ca = files.client_ca.as_deref().map(pem).transpose()?;
    let mut context = Context::new(&SHA256);
    for content in [Some(&cert), Some(&key), client_ca.as_ref()] {
        add(&mut context, content.map_or(&[], |content| content.as_slice()));
    }
    let http2 = http2 != ClientHttp2::Off;
    add(&mut context, if http2 { b"h2" } else { b"" });
    let fingerprint = finished(context);
    if let Some(same) = before.filter(|before| before.fingerprint == fingerprint) {
        return Ok(same.clone());
    }
    // At a start there is no other pair; a reload keeps the better one.
    let ended = tls::end_of(&cert).filter(|end| before.is_some() && *end <= UnixMillis::now());
    if let Some(end) = ended {
        let place = files.cert.display();
        return Err(format!("{place} ended at {}; the pair so far stays, renew this one", end.to_rfc3339()));
    }
    let config = server_config(&cert, &key, client_ca.as_ref().map(|pem| pem.as_slice()), http2);
    Ok(Listener { config: config.map_err(|error| error.to_string())?, fingerprint })
}

/// A bounded file, wiped when it is done with: it may hold a private key.
fn pem(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let unreadable = |error| format!("{} could not be read: {error}; check path and permissions", path.display());
    let file = File::open(path).map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    if bytes > PEM_BYTES_MAX {
        return Err(format!("{} holds more than {PEM_BYTES_MAX} bytes; it is probably not PEM", path.display()));
    }
    // Never grown, so that no copy of a key is left behind.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(bytes).unwrap_or(0) + 1));
    file.take(PEM_BYTES_MAX).read_to_end(&mut content).map_err(unreadable)?;
    Ok(content)
}

fn add(context: &mut Context, part: &[u8]) {
    context.update(&(part.len() as u64).to_be_bytes());
    context.update(part);
}

fn finished(context: Context) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}
