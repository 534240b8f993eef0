//! Who gets through: the name that was asked for, the session of a cookie, the token of a program, and whether a change comes from our
//! own page.
//!
//! A page elsewhere can make a browser send requests here. It cannot name us by another name (hosts), cannot make the cookie come along
//! (`SameSite=Strict`), cannot forge `Origin`, and does not know the session's word; a change needs all of these to be right.

use super::Door;
use super::sessions::{Holder, Seated};
use crate::admin::Refusal;
use crate::domain::role::Roles;
use crate::domain::secret::Secret;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What every change repeats of its session.
pub(super) const CSRF_FIELD: HeaderName = HeaderName::from_static("x-igris-csrf");
/// What browsers say of where a request comes from (<https://w3c.github.io/webappsec-fetch-metadata/>, read 2026-11-26).
const SITE_FIELD: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses to be called by a name that is not ours. Before everything else, for every path.
pub(super) async fn hosts(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    if host(request.headers()).is_some_and(|host| is_ours(host, &door.behind.hosts)) {
        return next.run(request).await;
    }
    let message = "The dashboard is not known by this name; use its address or `localhost`, or add the name to \
                   `dashboard_hosts` in [admin].";
    Refusal::new(421, "misdirected_request", message).into_response()
}

/// The one `Host` of a request, as it was sent.
fn host(fields: &HeaderMap) -> Option<&str> {
    let mut values = fields.get_all(header::HOST).iter();
    let host = values.next().filter(|_| values.next().is_none())?;
    host.to_str().ok()
}

/// A name can be made to lead here from anywhere; an address cannot, and neither can `localhost`.
fn is_ours(host: &str, names: &[String]) -> bool {
    if let Some(inside) = host.strip_prefix('[') {
        let Some((address, port)) = inside.split_once(']') else { return false };
        return address.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    port.is_none_or(is_port)
        && (name.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || names.iter().any(|ours| ours.eq_ignore_ascii_case(name)))
}

fn is_port(text: &str) -> bool {
    !text.starts_with('+') && text.parse::<u16>().is_ok()
}

/// Whether a request says that our own page made it. Browsers send `Origin` with everything but plain looking (Fetch §3.1).
pub(super) fn is_from_us(fields: &HeaderMap) -> bool {
    let mut origins = fields.get_all(header::ORIGIN).iter();
    let origin = origins.next().filter(|_| origins.next().is_none()).and_then(|origin| origin.to_str().ok());
    let authority = origin.and_then(|origin| origin.strip_prefix("http://").or(origin.strip_prefix("https://")));
    let site_fits = fields.get(SITE_FIELD).is_none_or(|site| site == "same-origin");
    site_fits && authority.is_some() && authority == host(fields)
}

/// Who asks, by cookie or by token.
pub(super) enum Caller {
    /// A page, with its session's id.
    Page(Seated, String),
    /// A program with a token: it looks, and changes things at the admin socket.
    Program(Holder),
}

impl Door {
    /// Who asks.
    ///
    /// # Errors
    /// 401 for nobody, the same for a wrong word and for none (rule V11); 429 after too many wrong ones.
    pub(super) fn caller(&self, fields: &HeaderMap, from: IpAddr) -> Result<Caller, Refusal> {
        if let Some((seated, id)) = self.seated(fields) {
            return Ok(Caller::Page(seated, id));
        }
        let shown = fields.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '));
        let text = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, text)| text.trim());
        match text {
            Some(text) => Ok(Caller::Program(self.holder(&Secret::copy_of(text.as_bytes()), from)?)),
            None => Err(signed_out()),
        }
    }

    /// The session of a request's cookie, and its id.
    pub(super) fn seated(&self, fields: &HeaderMap) -> Option<(Seated, String)> {
        let cookies = fields.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (now, mut sessions) = (Instant::now(), self.sessions());
        let mut ids = pairs.filter(|(name, _)| *name == self.cookie);
        ids.find_map(|(_, id)| Some((sessions.find(id, now)?, id.to_owned())))
    }

    /// Whose token this is. Wrong ones are counted, and bounded.
    ///
    /// # Errors
    /// 401 for a wrong one; 429 after too many.
    pub(super) fn holder(&self, shown: &Secret, from: IpAddr) -> Result<Holder, Refusal> {
        let now = Instant::now();
        self.turnstile().opens(from, now).map_err(too_many)?;
        // Both are compared, whatever the first one says.
        let (printed, named) = (self.token.is_secret(shown), self.behind.admission.holder(shown));
        match (printed, named) {
            (true, _) => Ok(Holder { name: None, roles: Roles::ALL }),
            (false, Some((name, roles))) => Ok(Holder { name: Some(name), roles }),
            (false, None) => {
                if self.turnstile().count(from, now) {
                    crate::admin::note_visit(&self.behind.control, format!("a wrong token was shown from {from}"));
                }
                Err(signed_out())
            }
        }
    }

    /// Whether a change may pass: from our own page, with its session's word.
    pub(super) fn check_change(&self, fields: &HeaderMap, id: &str) -> Result<(), Refusal> {
        let mut words = fields.get_all(CSRF_FIELD).iter();
        let word = words.next().filter(|_| words.next().is_none());
        let repeats = word.is_some_and(|word| self.sessions().repeats(id, word.as_bytes(), Instant::now()));
        if repeats && is_from_us(fields) {
            return Ok(());
        }
        let message = "This change does not come from the dashboard's own page; reload the page and try again.";
        Err(Refusal::new(403, "forged_request", message))
    }
}

pub(super) fn signed_out() -> Refusal {
    let message = "Sign in with the token that igris printed at start, or with one of [[admin.tokens]].";
    Refusal::new(401, "invalid_token", message)
}

fn too_many(left: Duration) -> Refusal {
    let seconds = left.as_secs().max(1);
    Refusal::new(429, "too_many_attempts", format!("Too many wrong tokens; try again in {seconds} s."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_localhost_and_our_names_are_us() {
        let names = ["igris.example".to_owned()];
        for host in
            ["127.0.0.1:8082", "10.1.2.3", "[::1]:8082", "[::1]", "localhost:9", "LocalHost", "Igris.Example:443"]
        {
            assert!(is_ours(host, &names), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "igris.example.evil",
            "127.0.0.1.evil.example",
            "localhost.evil",
            "127.0.0.1:x",
            "127.0.0.1:+1",
            "[::1",
            "[evil]:1",
            "[::1]x",
            "127.0.0.1:1:2",
            "2130706433x",
            "evil@127.0.0.1",
        ] {
            assert!(!is_ours(host, &names), "{host}");
        }
    }
}
