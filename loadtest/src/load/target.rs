//! Where the load goes: a URL taken apart and resolved once.

use anyhow::{Context as _, bail};
use std::net::{SocketAddr, ToSocketAddrs as _};

/// The address, host and path of a chat endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where to connect.
    pub addr: SocketAddr,
    /// The `Host` field's value.
    pub host: String,
    /// The request target.
    pub path: String,
}

impl Target {
    /// Reads `http://HOST[:PORT]`, with nothing after it, with a base path such as `/v1`, or with the whole path.
    ///
    /// # Errors
    /// The text is no plain `http` URL, or its host has no address.
    pub fn parse(url: &str) -> anyhow::Result<Self> {
        let Some(rest) = url.strip_prefix("http://") else {
            bail!(
                "{url:?} is not an http:// URL; the tester speaks plain HTTP only, so point it at a plaintext listener"
            );
        };
        let (host, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        if host.is_empty() || host.contains('@') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!("{url:?} is not a URL such as http://127.0.0.1:8081");
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let place = if has_port { host.to_owned() } else { format!("{host}:80") };
        let mut found = place.to_socket_addrs().with_context(|| format!("{host:?} has no address"))?;
        let addr = found.next().with_context(|| format!("{host:?} has no address"))?;
        let base = path.trim_end_matches('/');
        let path = match base {
            "" => "/v1/chat/completions".into(),
            base if base.ends_with("/v1") => format!("{base}/chat/completions"),
            whole => whole.to_owned(),
        };
        Ok(Self { addr, host: host.to_owned(), path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_bases_and_whole_paths_are_understood() {
        let path = |url: &str| Target::parse(url).expect(url).path;
        assert_eq!(path("http://127.0.0.1:8081"), "/v1/chat/completions");
        assert_eq!(path("http://127.0.0.1:8081/"), "/v1/chat/completions");
        assert_eq!(path("http://127.0.0.1:8081/v1"), "/v1/chat/completions");
        assert_eq!(path("http://127.0.0.1:8081/v1/infer"), "/v1/infer");
        assert_eq!(Target::parse("http://127.0.0.1").expect("port 80").addr.port(), 80);
        for wrong in ["https://127.0.0.1", "127.0.0.1:80", "http://", "http://a b/", "http://u@127.0.0.1/"] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }
}
