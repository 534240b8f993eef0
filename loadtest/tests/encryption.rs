#![cfg(all(feature = "tls", feature = "certs"))]
//! The simulator behind TLS answers a client that trusts its authority, and only that one.

use igris_load::Simulator;
use igris_load::certs::Authority;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

fn ask(simulator: &Simulator, authority: &Authority) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.cert_pem().as_bytes()).expect("PEM");
    roots.add(root).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = versions.expect("TLS 1.2 and 1.3").with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = StreamOwned::new(connection, TcpStream::connect(simulator.addr())?);
    stream.write_all(
        b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer k\r\nconnection: close\r\n\r\n",
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn only_the_right_authority_is_trusted() {
    let authority = Authority::new("test authority").expect("a key");
    let issued = authority.issue(&["localhost", "127.0.0.1"]).expect("a certificate");
    let simulator = Simulator::builder().tls(issued.cert_pem, issued.key_pem).start().expect("a loopback port");
    assert!(simulator.base_url().starts_with("https://127.0.0.1:"));
    assert!(ask(&simulator, &authority).expect("a whole answer").starts_with("HTTP/1.1 200 OK"));
    let stranger = Authority::new("another authority").expect("a key");
    assert!(ask(&simulator, &stranger).is_err());
    assert_eq!(simulator.truth().counts().requests, 1);
}

#[test]
fn unusable_certificates_are_refused_at_the_start() {
    let authority = Authority::new("test authority").expect("a key");
    let (one, other) =
        (authority.issue(&["a"]).expect("a certificate"), authority.issue(&["a"]).expect("a certificate"));
    assert!(Simulator::builder().tls(one.cert_pem.clone(), other.key_pem).start().is_err());
    assert!(Simulator::builder().tls(one.cert_pem, "no key").start().is_err());
}
