//! Who may do what over the admin socket, in one table (rule A2). Looking is for everybody whom the socket lets in; what changes
//! something needs the roles of its row.
//!
//! Our own user and root have every role. Others have the roles that `allowed_uids` gives them; once there are `[[admin.tokens]]`, they
//! must show one with each change, and its roles decide. A session of the dashboard has the roles of the token that opened it. A change without a row needs every role, and fails a test.

use super::answer::Refusal;
use super::socket::Peer;
use crate::config::secrets::{self, SecretFault};
use crate::config::{Admin, AllowedUser};
use crate::domain::role::Roles;
use crate::domain::secret::Secret;
use crate::vault::TokenDigest;
use axum::Extension;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Method, path as it is routed, and the roles that are needed.
struct Row(&'static str, &'static str, Roles);

/// Every change, and what not everybody may see. A configuration that is pushed can name keys and where they are sent, so it needs both roles; one that is read again is
/// the file of whoever owns the process.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    Row("PUT",    "/config",                               Roles::ALL),
    Row("GET",    "/config/texts",                         Roles::OPERATE),
    Row("POST",   "/reload",                               Roles::OPERATE),
    Row("POST",   "/rollout/accept",                       Roles::OPERATE),
    Row("POST",   "/rollout/revert",                       Roles::OPERATE),
    Row("POST",   "/drain",                                Roles::OPERATE),
    Row("POST",   "/upgrade",                              Roles::OPERATE),
    Row("POST",   "/breakers/{provider}/{to}",             Roles::OPERATE),
    Row("POST",   "/tenants",                              Roles::KEYS),
    Row("DELETE", "/tenants/{tenant}",                     Roles::KEYS),
    Row("POST",   "/access-keys",                          Roles::KEYS),
    Row("PATCH",  "/access-keys/{id}",                     Roles::KEYS),
    Row("DELETE", "/access-keys/{id}",                     Roles::KEYS),
    Row("POST",   "/access-keys/{id}/rotate",              Roles::KEYS),
    Row("POST",   "/providers/{provider}/keys",            Roles::KEYS),
    Row("DELETE", "/providers/{provider}/keys/{id}",       Roles::KEYS),
    Row("POST",   "/providers/{provider}/keys/rotate",     Roles::KEYS),
    Row("POST",   "/rotations/{id}/cancel",                Roles::KEYS),
    Row("POST",   "/rotations/{id}/complete",              Roles::KEYS),
    Row("POST",   "/vault/rotate-root",                    Roles::KEYS),
    Row("POST",   "/vault/rotate-master",                  Roles::KEYS),
    Row("POST",   "/vault/rotate-data/{tenant}",           Roles::KEYS),
    Row("POST",   "/vault/verify",                         Roles::READ),
    Row("POST",   "/audit/verify",                         Roles::READ),
    Row("POST",   "/backup",                               Roles::KEYS),
    Row("POST",   "/budgets",                              Roles::KEYS),
    Row("DELETE", "/budgets",                              Roles::KEYS),
    Row("POST",   "/alerts/{id}/acknowledge",              Roles::OPERATE),
    Row("POST",   "/alerts/webhooks/{id}/test",            Roles::OPERATE),
];

/// The users and tokens that a socket admits.
#[derive(Debug, Default)]
pub struct Admission {
    users: Vec<AllowedUser>,
    tokens: Vec<Token>,
}

/// A token by its digest: its text is not kept.
#[derive(Debug)]
struct Token {
    name: Arc<str>,
    roles: Roles,
    digest: TokenDigest,
}

// === impl Admission ===

impl Admission {
    /// Reads the tokens that a configuration names.
    ///
    /// # Errors
    /// [`SecretFault`] when one of them is not there, or short enough to be guessed.
    pub fn new(admin: &Admin, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, SecretFault> {
        let token = |token: &crate::config::AdminToken| {
            let text = secrets::access_key(&token.key, env)?;
            Ok(Token { name: token.name.as_str().into(), roles: token.roles, digest: TokenDigest::of(&text) })
        };
        Ok(Self {
            users: admin.allowed_uids.clone(),
            tokens: admin.tokens.iter().map(token).collect::<Result<_, _>>()?,
        })
    }

    /// Lets a change pass, or says why not. Answers the peer as the audit log names it.
    fn pass(&self, peer: Peer, shown: Option<Secret>, needed: Roles) -> Result<Peer, Refusal> {
        if let Some(roles) = peer.seat {
            return if roles.cover(needed) { Ok(peer) } else { Err(role_needed(needed)) };
        }
        // Whoever shows a token means it: a wrong one is refused also where none is needed.
        let token = shown.map(|text| self.token(&text).ok_or_else(wrong_token)).transpose()?;
        let peer = Peer { token: token.map(|token| token.name.clone()), ..peer };
        if peer.trusted || needed == Roles::READ {
            return Ok(peer);
        }
        let roles = match token {
            Some(token) => token.roles,
            None if !self.tokens.is_empty() => return Err(token_needed()),
            None => self.users.iter().find(|user| user.uid == peer.uid).map_or(Roles::READ, |user| user.roles),
        };
        if roles.cover(needed) { Ok(peer) } else { Err(role_needed(needed)) }
    }

    /// Whose token this is, and what it may do: for the dashboard's login.
    pub fn holder(&self, text: &Secret) -> Option<(Arc<str>, Roles)> {
        self.token(text).map(|token| (token.name.clone(), token.roles))
    }

    /// All tokens are compared, each in constant time (rule V11).
    fn token(&self, text: &Secret) -> Option<&Token> {
        let digest = TokenDigest::of(text);
        let known = |found, token: &'_ Token| if token.digest.is(&digest) { Some(token.name.clone()) } else { found };
        let name = self.tokens.iter().fold(None, known)?;
        self.tokens.iter().find(|token| token.name == name)
    }
}

/// Stands before every route of the admin socket.
pub(super) async fn admit(
    State(admission): State<Arc<Admission>>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    // A path that nothing serves is answered as such.
    let needed = path.map_or(Roles::READ, |path| needed(request.method(), path));
    match bearer(request.headers()).and_then(|shown| admission.pass(peer, shown, needed)) {
        Ok(peer) => {
            request.extensions_mut().insert(peer);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

fn needed(method: &Method, path: &str) -> Roles {
    let looks = matches!(*method, Method::GET | Method::HEAD);
    let word = if looks { "GET" } else { method.as_str() };
    let row = TABLE.iter().find(|row| row.0 == word && row.1 == path);
    row.map_or(if looks { Roles::READ } else { Roles::ALL }, |row| row.2)
}

/// `Authorization: Bearer …`, at most once (RFC 6750 §2.1).
fn bearer(fields: &HeaderMap) -> Result<Option<Secret>, Refusal> {
    let mut values = fields.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.as_bytes().strip_prefix(b"Bearer ").filter(|_| values.next().is_none());
    text.map(|text| Some(Secret::copy_of(text.trim_ascii()))).ok_or_else(wrong_token)
}

fn wrong_token() -> Refusal {
    Refusal::new(
        401,
        "invalid_token",
        "The token is not one of [[admin.tokens]]; send `Authorization: Bearer TOKEN` once, or none.",
    )
}

fn token_needed() -> Refusal {
    Refusal::new(
        401,
        "token_required",
        "A change by this user needs a token of [[admin.tokens]]; send `Authorization: Bearer TOKEN`.",
    )
}

fn role_needed(needed: Roles) -> Refusal {
    let names: Vec<&str> = needed.names().collect();
    let message = format!(
        "This needs the role {}; ask whoever runs igris to give it in `allowed_uids` or to a token.",
        names.join(" and ")
    );
    Refusal::new(403, "role_required", message)
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
