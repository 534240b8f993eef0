//! Access tokens for service accounts of Google Cloud: what a credential is exchanged for, kept fresh.
//!
//! [`Tokens`] is the memory and does no I/O: who needs a token, which one is held, when to ask again. The private key stays sealed in the
//! store; it is opened for one signature at a time. What is published is the token alone, and a credential without one is left out.
//!
//! ```text
//!            asked: ok                       four fifths of its life
//!   Wanted -------------> Held ------------------------------------> Held, due --- asked: ok ---> Held
//!     ^ | fails: a pause                                                 | fails: a pause, the token stays
//!     | +--+                       its life is over                      |
//!     +------------------------------------------------------------------+
//! ```
//!
//! Source: "OAuth 2.0 for server to server applications" (Google Identity), RFC 7523 §2.1; read 2026-11-23.

use crate::domain::clock::UnixMillis;
use crate::domain::id::{CredentialId, ProviderId, TenantId};
use crate::domain::secret::Secret;
use crate::domain::text::bounded;
use crate::limits::{PROVIDER_KEY_BYTES_MAX, TOKEN_DEADLINE, TOKEN_EXCHANGES_MAX, TOKEN_LIFE_MAX, TOKEN_PAUSE_MAX};
use crate::providers::service_account::{NotAServiceAccount, ServiceAccount};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// What tokens are asked to be good for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Seconds for which a claim may be exchanged; Google takes an hour at most.
const CLAIM_SECONDS: u64 = 3_600;
/// The life of a token whose answer does not say.
const LIFE_UNSTATED: Duration = Duration::from_secs(300);
/// The first pause after a failure.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// A credential that needs a token, by whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) id: CredentialId,
    pub(super) tenant: TenantId,
    pub(super) provider: ProviderId,
}

/// What is known of each credential that needs a token.
#[derive(Default)]
pub(super) struct Tokens {
    by_id: HashMap<CredentialId, Known>,
}

struct Known {
    wanted: Wanted,
    held: Option<Held>,
    /// When to ask, again or for the first time.
    due: Instant,
    /// Exchanges that failed in a row.
    failures: u32,
}

struct Held {
    token: Secret,
    ends: Instant,
}

/// A token as it was given.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) token: Secret,
    pub(super) life: Duration,
}

// === impl Tokens ===

impl Tokens {
    /// Keeps exactly these, of all tenants or of one; new ones are due at once, and the tokens of the others are wiped.
    pub(super) fn keep(&mut self, wanted: Vec<Wanted>, of: Option<&TenantId>, now: Instant) {
        let mut before = std::mem::take(&mut self.by_id);
        if let Some(of) = of {
            self.by_id = before.extract_if(|_, known| known.wanted.tenant != *of).collect();
        }
        for wanted in wanted {
            let id = wanted.id;
            let known = before.remove(&id).unwrap_or(Known { wanted, held: None, due: now, failures: 0 });
            self.by_id.insert(id, known);
        }
    }

    /// Whose credential this is, if it is one that is exchanged for tokens.
    pub(super) fn tenant_of(&self, id: CredentialId) -> Option<&TenantId> {
        self.by_id.get(&id).map(|known| &known.wanted.tenant)
    }

    /// A copy of the token that is held for a credential, if it still lives.
    pub(super) fn living(&self, id: CredentialId, now: Instant) -> Option<Secret> {
        let held = self.by_id.get(&id)?.held.as_ref().filter(|held| now < held.ends)?;
        Some(Secret::copy_of(held.token.expose()))
    }

    /// Those to ask for by now, each once until it is learned what came of it.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Wanted> {
        let due = self.by_id.values_mut().filter(|known| known.due <= now).take(TOKEN_EXCHANGES_MAX);
        let asked = due.map(|known| {
            known.due = now + 2 * TOKEN_DEADLINE;
            known.wanted.clone()
        });
        asked.collect()
    }

    /// Takes in a token.
    pub(super) fn learn(&mut self, id: CredentialId, fresh: Fresh, now: Instant) {
        let Some(known) = self.by_id.get_mut(&id) else { return };
        let life = fresh.life.min(TOKEN_LIFE_MAX);
        known.held = Some(Held { token: fresh.token, ends: now + life });
        (known.due, known.failures) = (now + life.mul_f64(0.8).max(PAUSE_MIN), 0);
    }

    /// Takes in that there was none; answers whether it is the first failure in a row.
    pub(super) fn fail(&mut self, id: CredentialId, now: Instant) -> bool {
        let Some(known) = self.by_id.get_mut(&id) else { return false };
        let pause = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(known.failures.min(16)));
        known.due = now + pause.min(TOKEN_PAUSE_MAX);
        known.failures = known.failures.saturating_add(1);
        known.failures == 1
    }

    /// Wipes the tokens whose life is over; answers whose they were.
    pub(super) fn end(&mut self, now: Instant) -> Vec<CredentialId> {
        let mut ended = Vec::new();
        for (id, known) in &mut self.by_id {
            if known.held.as_ref().is_some_and(|held| held.ends <= now) {
                known.held = None;
                ended.push(*id);
            }
        }
        ended
    }
}

// === Claims and answers ===

/// The body of the request that exchanges an account's signed claim for a token, as a form.
///
/// # Errors
/// The account's key does not sign.
pub(super) fn question(account: &ServiceAccount, now: UnixMillis) -> Result<Zeroizing<Vec<u8>>, NotAServiceAccount> {
    let issued = now.0 / 1_000;
    let mut header = json!({ "alg": "RS256", "typ": "JWT" });
    if let Some(id) = &account.private_key_id {
        header["kid"] = json!(id);
    }
    let claim = json!({
        "iss": account.client_email,
        "scope": SCOPE,
        "aud": account.token_uri,
        "iat": issued,
        "exp": issued + CLAIM_SECONDS,
    });
    let encoded = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encoded(header), encoded(claim));
    let signature = account.key()?.sign(signed.as_bytes()).map_err(|_| NotAServiceAccount::Key)?;
    let start = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
    let parts: [&[u8]; 4] =
        [start.as_bytes(), signed.as_bytes(), b".", &URL_SAFE_NO_PAD.encode(signature).into_bytes()];
    Ok(Zeroizing::new(parts.concat()))
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default, borrow)]
    access_token: Option<&'a str>,
    #[serde(default)]
    expires_in: Option<u64>,
    #[serde(default, borrow)]
    error: Option<&'a str>,
}

/// Reads what a token server answered.
///
/// # Errors
/// One part of a sentence, which holds the server's error code and no other word of the answer (rule R1).
pub(super) fn answer(status: u16, body: &[u8]) -> Result<Fresh, String> {
    let read: Option<Answer<'_>> = serde_json::from_slice(body).ok();
    if !(200..300).contains(&status) {
        let code = read.and_then(|answer| answer.error.map(|code| bounded(code, 64)));
        return Err(code.map_or(format!("it answered {status}"), |code| format!("it answered {status}, `{code}`")));
    }
    let Some(Answer { access_token: Some(token), expires_in, .. }) = read else {
        return Err("its answer holds no access token".to_owned());
    };
    let fits =
        !token.is_empty() && token.len() <= PROVIDER_KEY_BYTES_MAX && token.bytes().all(|b| b.is_ascii_graphic());
    if !fits {
        return Err("its access token cannot stand in a request".to_owned());
    }
    let life = expires_in.map_or(LIFE_UNSTATED, Duration::from_secs);
    Ok(Fresh { token: Secret::copy_of(token.as_bytes()), life })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn id() -> CredentialId {
        CredentialId::from_bits(7)
    }

    fn wanted() -> Wanted {
        Wanted { id: id(), tenant: TenantId::new("acme"), provider: ProviderId::new("vertex") }
    }

    fn fresh(text: &str, seconds: u64) -> Fresh {
        Fresh { token: Secret::copy_of(text.as_bytes()), life: Duration::from_secs(seconds) }
    }

    fn living(tokens: &Tokens, now: Instant) -> Option<String> {
        tokens.living(id(), now).map(|token| String::from_utf8_lossy(token.expose()).into_owned())
    }

    #[test]
    fn a_token_is_renewed_at_four_fifths_and_kept_until_it_ends() {
        let now = Instant::now();
        let mut tokens = Tokens::default();
        tokens.keep(vec![wanted()], None, now);
        assert_eq!(tokens.due(now), [wanted()]);
        assert!(tokens.due(now + TOKEN_DEADLINE).is_empty(), "it is being asked for");
        tokens.learn(id(), fresh("one", 100), now);
        assert_eq!(living(&tokens, now + 99 * SECOND).as_deref(), Some("one"));
        assert!(tokens.due(now + 79 * SECOND).is_empty());
        let later = now + 80 * SECOND;
        assert_eq!(tokens.due(later), [wanted()]);
        assert!(tokens.fail(id(), later) && !tokens.fail(id(), later), "the first failure is told");
        assert_eq!(living(&tokens, later).as_deref(), Some("one"), "the old one serves on");
        assert!(tokens.end(now + 99 * SECOND).is_empty());
        assert_eq!(tokens.end(now + 100 * SECOND), [id()]);
        assert_eq!((living(&tokens, later), tokens.end(now + 101 * SECOND)), (None, vec![]));
        tokens.learn(id(), fresh("two", u64::MAX), later);
        assert!(living(&tokens, later + TOKEN_LIFE_MAX - SECOND).is_some());
        assert!(living(&tokens, later + TOKEN_LIFE_MAX).is_none(), "no server is believed for ever");
        tokens.keep(vec![], None, later);
        assert_eq!(living(&tokens, later), None);
    }

    #[test]
    fn pauses_double_up_to_a_bound() {
        let now = Instant::now();
        let mut tokens = Tokens::default();
        tokens.keep(vec![wanted()], None, now);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = Duration::from_secs(pause);
            tokens.fail(id(), now);
            assert!(tokens.due(now + pause - Duration::from_millis(1)).is_empty(), "{pause:?}");
            assert_eq!(tokens.due(now + pause).len(), 1, "{pause:?}");
        }
    }

    #[test]
    fn answers_are_read_and_never_repeated() {
        let good =
            answer(200, br#"{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}"#).expect("a token");
        assert_eq!((good.token.expose(), good.life), (&b"ya29.x"[..], Duration::from_secs(3_599)));
        let refused = answer(400, br#"{"error":"invalid_grant","error_description":"marker"}"#).expect_err("refused");
        assert_eq!(refused, "it answered 400, `invalid_grant`");
        for (status, body) in [(500, "marker"), (200, "{}"), (200, r#"{"access_token":"a\nmarker"}"#), (200, "[marker")]
        {
            let fault = answer(status, body.as_bytes()).expect_err("no token");
            assert!(!fault.contains("marker"), "{fault}");
        }
    }
}
