//! TLS configurations: whom we trust, what we show.
//!
//! Bytes in, configuration out; reading files is the caller's. A configuration is immutable: a certificate is replaced by publishing a
//! new one, established connections keep theirs (rule S4).

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::TlsError;
use crate::limits::TLS_SESSIONS_MAX;

/// HTTP/1.1 as it is named in the handshake (RFC 7301 §6).
pub const HTTP1: &[u8] = b"http/1.1";
/// HTTP/2 as it is named there (RFC 9113 §3.1).
pub const HTTP2: &[u8] = b"h2";

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

/// Which certificate authorities an upstream's certificate may come from, beside the extra ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Roots {
    /// Those of the operating system.
    #[default]
    System,
    /// Mozilla's list as it was when this binary was built.
    Bundled,
    /// None: only the extra ones.
    OnlyExtra,
}

/// Whom a connection to an upstream trusts, and what it offers.
#[derive(Debug, Clone, Default)]
pub struct ClientTrust {
    /// The authorities.
    pub roots: Roots,
    /// Contents of further CA files, PEM.
    pub extra_ca: Vec<Vec<u8>>,
    /// Protocols offered in order of preference (`http/1.1`); empty offers none.
    pub alpn: Vec<Vec<u8>>,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The configuration for connections to upstreams. Holds a session cache of its own; see [`per_core`].
///
/// # Errors
/// No trusted authority at all, or an extra one that is not a CA certificate.
pub fn client_config(trust: &ClientTrust) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)
        .map_err(TlsError::Settings)?
        .with_root_certificates(trusted_roots(trust)?)
        .with_no_client_auth();
    config.alpn_protocols.clone_from(&trust.alpn);
    config.resumption = Resumption::in_memory_sessions(TLS_SESSIONS_MAX);
    Ok(Arc::new(config))
}

/// The same trust with a session cache of its own, so that cores do not meet at its lock.
pub fn per_core(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut own = config.clone();
    own.resumption = Resumption::in_memory_sessions(TLS_SESSIONS_MAX);
    Arc::new(own)
}

/// The same for a connection that must speak HTTP/1.1, as one that is to be switched to another protocol must.
pub fn http1_only(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut own = config.clone();
    own.alpn_protocols = vec![HTTP1.to_vec()];
    Arc::new(own)
}

/// The configuration of a listener: certificate chain (leaf first) and key, and the authority that client certificates must come
/// from, if they are asked for. Sessions are resumed by tickets that only this configuration can open. Offers `http/1.1`, and
/// before it `h2` if that is wanted.
///
/// # Errors
/// A PEM that does not hold what it should, a key that is not the leaf's, an unusable authority.
pub fn server_config(
    cert_pem: &[u8],
    key_pem: &[u8],
    client_ca: Option<&[u8]>,
    http2: bool,
) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates("the server certificate", cert_pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| TlsError::Pem {
        what: "the server key",
        why: error.to_string(),
        wanted: "one private key (PKCS#8, PKCS#1 or SEC1, not encrypted)",
    })?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)
        .map_err(TlsError::Settings)?
        .with_client_cert_verifier(client_verifier(client_ca)?)
        .with_single_cert(chain, key)
        .map_err(TlsError::BadPair)?;
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Settings)?;
    if http2 {
        config.alpn_protocols.push(HTTP2.to_vec());
    }
    config.alpn_protocols.push(HTTP1.to_vec());
    Ok(Arc::new(config))
}

/// The name an upstream's certificate must be for: a DNS name, or an address.
///
/// # Errors
/// [`TlsError::BadName`].
pub fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(bare.to_owned()).map_err(|_| TlsError::BadName(host.chars().take(255).collect()))
}

fn client_verifier(client_ca: Option<&[u8]>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some(pem) = client_ca else {
        return Ok(Arc::new(NoClientAuth));
    };
    let mut roots = RootCertStore::empty();
    add_authorities(&mut roots, "the client CA", pem)?;
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| TlsError::BadAuthority(error.to_string()))
}

fn trusted_roots(trust: &ClientTrust) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let mut why = "none were given".to_owned();
    match trust.roots {
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            // Stores often hold a few odd certificates; those that cannot be used are passed over.
            roots.add_parsable_certificates(found.certs);
            why = found.errors.first().map_or_else(|| "the system has none".to_owned(), ToString::to_string);
        }
        Roots::Bundled => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Roots::OnlyExtra => {}
    }
    for pem in &trust.extra_ca {
        add_authorities(&mut roots, "an extra CA", pem)?;
    }
    if roots.is_empty() { Err(TlsError::NoRoots(why)) } else { Ok(roots) }
}

fn add_authorities(roots: &mut RootCertStore, what: &'static str, pem: &[u8]) -> Result<(), TlsError> {
    for certificate in certificates(what, pem)? {
        roots.add(certificate).map_err(|error| TlsError::BadAuthority(format!("{what}: {error}")))?;
    }
    Ok(())
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let refuse = |why: String| TlsError::Pem { what, why, wanted: "one or more certificates" };
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| refuse(error.to_string()))?;
    if found.is_empty() { Err(refuse("it holds no certificate".to_owned())) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_trusted_is_an_error_with_a_remedy() {
        let nobody = ClientTrust { roots: Roots::OnlyExtra, ..ClientTrust::default() };
        let error = client_config(&nobody).expect_err("no roots").to_string();
        assert!(error.contains("use the bundled ones"), "{error}");
        assert!(client_config(&ClientTrust { roots: Roots::Bundled, ..ClientTrust::default() }).is_ok());
    }

    #[test]
    fn a_file_of_the_wrong_kind_is_named() {
        let error = server_config(b"no pem here", b"", None, false).expect_err("no certificate").to_string();
        assert!(error.starts_with("the server certificate") && error.contains("give a PEM file"), "{error}");
    }

    #[test]
    fn names_and_addresses_are_server_names() {
        assert!(server_name("api.example.com").is_ok());
        assert!(matches!(server_name("[::1]"), Ok(ServerName::IpAddress(_))));
        assert!(matches!(server_name("127.0.0.1"), Ok(ServerName::IpAddress(_))));
        assert!(server_name("not a name").is_err() && server_name("").is_err());
    }
}
