//! Whom to trust behind an https URL: the usual public roots, the machine's own, and a file of the plan's.

use anyhow::{Context as _, bail};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// A client's configuration for HTTP/1.1 over TLS 1.2 and 1.3; `ca` is a file of PEM certificates to trust besides.
///
/// # Errors
/// The file cannot be read, or holds no certificate.
pub(super) fn config(ca: Option<&str>) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // A machine's store may hold certificates that rustls does not take; those are nobody's fault here.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        let text = std::fs::read(path).with_context(|| format!("cannot read the certificates in {path:?}"))?;
        let mut found = 0;
        for cert in CertificateDer::pem_slice_iter(&text) {
            let cert = cert.with_context(|| format!("{path:?} is not a file of PEM certificates"))?;
            roots.add(cert).with_context(|| format!("a certificate in {path:?} cannot be trusted"))?;
            found += 1;
        }
        if found == 0 {
            bail!("{path:?} holds no certificate: it must be PEM, with lines such as -----BEGIN CERTIFICATE-----");
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS cannot be used")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
