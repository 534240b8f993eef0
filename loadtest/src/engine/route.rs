//! Where requests go: the URLs of a plan taken apart, resolved once, and made ready to connect.

use super::trust;
use crate::dialect::Address;
use crate::workload::Endpoint;
use anyhow::{Context as _, bail};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

/// One endpoint, ready to connect to.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// Where to connect.
    pub(crate) addr: SocketAddr,
    /// What a request's head says of it.
    pub(crate) address: Address,
    /// How to encrypt, and whose certificate to expect; `None` for plain HTTP.
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// The parts of `http://HOST[:PORT][/PATH]`.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    encrypted: bool,
    /// Host and port as typed.
    authority: String,
    /// The host alone, without the brackets of an IPv6 address.
    host: String,
    port: u16,
    /// Without a trailing slash.
    path: String,
}

impl Route {
    /// Takes an endpoint's URL apart, finds its address, and reads whom to trust.
    ///
    /// # Errors
    /// The URL is none, its host has no address, or a certificate cannot be read.
    pub(crate) fn to(endpoint: &Endpoint) -> anyhow::Result<Self> {
        let parts = Parts::of(&endpoint.url)?;
        let found = (parts.host.as_str(), parts.port).to_socket_addrs();
        let found: Vec<SocketAddr> = found
            .with_context(|| format!("{:?} has no address: check the host's name in {:?}", parts.host, endpoint.url))?
            .collect();
        let addr = answering(&found).with_context(|| format!("{:?} has no address", parts.host))?;
        let tls = if parts.encrypted {
            let name = ServerName::try_from(parts.host.clone()).with_context(|| {
                format!("{:?} cannot stand in a certificate: use the server's DNS name", parts.host)
            })?;
            Some((trust::config(endpoint.ca.as_deref())?, name))
        } else {
            None
        };
        Ok(Self { addr, address: Address { host: parts.authority, path: parts.path }, tls })
    }
}

/// The one address, or the first of several that takes a connection now (`localhost` often has one that nobody listens on).
fn answering(found: &[SocketAddr]) -> Option<SocketAddr> {
    if let [only] = found {
        return Some(*only);
    }
    let alive = |addr: &&SocketAddr| TcpStream::connect_timeout(addr, PROBE_TIMEOUT).is_ok();
    found.iter().find(alive).or(found.first()).copied()
}

/// How long one of several addresses may take to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

impl Parts {
    fn of(url: &str) -> anyhow::Result<Self> {
        let wrong = || format!("{url:?} is not a URL such as http://127.0.0.1:8081 or https://api.example.com/v1");
        let (encrypted, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => bail!("{}: it must begin with http:// or https://", wrong()),
        };
        let (authority, path) = rest.find(['/', '?', '#']).map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            bail!("{url:?} holds a user's name or password: give the key with --key instead");
        }
        if path.contains('#')
            || !path.is_empty() && !path.starts_with('/')
            || !url.bytes().all(|byte| byte.is_ascii_graphic())
        {
            bail!("{}", wrong());
        }
        let (host, port) = split_port(authority).with_context(wrong)?;
        let port = match port {
            None if encrypted => 443,
            None => 80,
            Some(digits) => digits.parse().ok().filter(|port| *port != 0).with_context(|| {
                format!("{digits:?} is no port: {url:?} needs a number from 1 to 65535 behind its last colon")
            })?,
        };
        Ok(Self {
            encrypted,
            authority: authority.to_owned(),
            host: host.to_owned(),
            port,
            path: path.trim_end_matches('/').to_owned(),
        })
    }
}

/// Host without brackets, and the port's digits where there are some.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        let port = if port.is_empty() { None } else { Some(port.strip_prefix(':')?) };
        (host, port)
    } else {
        authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))
    };
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let table = [
            ("http://127.0.0.1:8081", false, "127.0.0.1:8081", "127.0.0.1", 8081, ""),
            ("http://127.0.0.1:8081/", false, "127.0.0.1:8081", "127.0.0.1", 8081, ""),
            ("http://127.0.0.1/v1/", false, "127.0.0.1", "127.0.0.1", 80, "/v1"),
            ("https://api.example.com/v1/infer", true, "api.example.com", "api.example.com", 443, "/v1/infer"),
            ("http://[::1]:90/v1?a=b", false, "[::1]:90", "::1", 90, "/v1?a=b"),
            ("https://[::1]", true, "[::1]", "::1", 443, ""),
        ];
        for (url, encrypted, authority, host, port, path) in table {
            let parts = Parts { encrypted, authority: authority.into(), host: host.into(), port, path: path.into() };
            assert_eq!(Parts::of(url).expect(url), parts, "{url}");
        }
    }

    #[test]
    fn wrong_urls_name_the_fix() {
        let table = [
            ("127.0.0.1:80", "must begin with http"),
            ("ftp://x", "must begin with http"),
            ("http://", "is not a URL such as"),
            ("http://:80", "is not a URL such as"),
            ("http://a b/", "is not a URL such as"),
            ("http://a/#b", "is not a URL such as"),
            ("http://a?b", "is not a URL such as"),
            ("http://[::1", "is not a URL such as"),
            ("http://u:p@127.0.0.1/", "--key"),
            ("http://a:x", "from 1 to 65535"),
            ("http://a:0", "from 1 to 65535"),
            ("http://a:65536", "from 1 to 65535"),
        ];
        for (url, words) in table {
            let said = Parts::of(url).expect_err(url).to_string();
            assert!(said.contains(words), "{url}: {said}");
        }
    }

    #[test]
    fn a_host_that_nobody_knows_is_named() {
        let endpoint = Endpoint { url: "http://nobody.invalid".into(), ..Endpoint::default() };
        let said = Route::to(&endpoint).expect_err("no such host").to_string();
        assert!(said.contains("nobody.invalid"), "{said}");
    }
}
