//! What signs messages to a webhook, in the form of Standard Webhooks (<https://github.com/standard-webhooks/standard-webhooks>, spec 1.0.0,
//! read 2026-11-26): HMAC-SHA-256 over `id.timestamp.body`, shown as `v1,` and base64.
//!
//! The secret of a tenant's webhook is derived from the audit log's key, which is never replaced, and from whose it is, its id and a
//! version: it is in no table and cannot be read back, only shown when it is made. One of the configuration comes as its text.

use super::AuditKey;
use crate::domain::secret::Secret;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// What the text form starts with.
const PREFIX: &[u8] = b"whsec_";
/// Bytes of a secret, as the specification bounds them.
const BYTES_MIN: usize = 24;
const BYTES_MAX: usize = 64;

/// The open secret of one webhook. It signs; it does not print.
pub struct WebhookSecret(hmac::Key);

/// Why a text is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not `whsec_` and the base64 of 24 to 64 bytes; make one with `echo whsec_$(openssl rand -base64 32)`")]
pub struct NotAWebhookSecret;

// === impl AuditKey ===

impl AuditKey {
    /// The secret of a webhook of a tenant, with its text, which is to be shown once.
    pub fn webhook_secret(&self, tenant: &str, id: u128, version: u32) -> (WebhookSecret, Secret) {
        let fields: [&[u8]; 3] = [tenant.as_bytes(), &id.to_be_bytes(), &version.to_be_bytes()];
        let bytes = Zeroizing::new(self.bind(b"igris/webhook/v1", &fields));
        let mut text = Vec::with_capacity(64);
        text.extend_from_slice(PREFIX);
        text.extend_from_slice(Zeroizing::new(STANDARD.encode(*bytes)).as_bytes());
        (WebhookSecret::of(&*bytes), Secret::take(text))
    }
}

// === impl WebhookSecret ===

impl WebhookSecret {
    fn of(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// [`NotAWebhookSecret`].
    pub fn parse(text: &[u8]) -> Result<Self, NotAWebhookSecret> {
        let digits = text.strip_prefix(PREFIX).ok_or(NotAWebhookSecret)?;
        let bytes = Zeroizing::new(STANDARD.decode(digits).map_err(|_| NotAWebhookSecret)?);
        if (BYTES_MIN..=BYTES_MAX).contains(&bytes.len()) { Ok(Self::of(&bytes)) } else { Err(NotAWebhookSecret) }
    }

    /// The signature of a message, `v1,…`; `timestamp` is in whole seconds since the Unix epoch.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(id.as_bytes());
        context.update(b".");
        context.update(timestamp.to_string().as_bytes());
        context.update(b".");
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign().as_ref()))
    }
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::seal::KEY_BYTES;

    /// The example of the specification's own libraries.
    #[test]
    fn the_published_example_has_its_signature() {
        let secret = WebhookSecret::parse(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_derived_secret_is_its_text_and_nobody_elses() {
        let key = AuditKey::new(&[3; KEY_BYTES]);
        let (secret, text) = key.webhook_secret("acme", 7, 1);
        let read = WebhookSecret::parse(text.expose()).expect("a secret");
        let signature = secret.sign("msg_1", 1, b"{}");
        assert_eq!(signature, read.sign("msg_1", 1, b"{}"));
        for (tenant, id, version) in [("acme", 7, 2), ("acme", 8, 1), ("acm", 7, 1)] {
            assert_ne!(signature, key.webhook_secret(tenant, id, version).0.sign("msg_1", 1, b"{}"), "{tenant} {id}");
        }
        assert_eq!(format!("{secret:?}"), "WebhookSecret(…)");
    }

    #[test]
    fn what_is_too_short_or_no_base64_is_refused() {
        for text in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
            "whsec_c2hvcnQ=",
        ] {
            assert_eq!(WebhookSecret::parse(text.as_bytes()).err(), Some(NotAWebhookSecret), "{text}");
        }
    }
}
