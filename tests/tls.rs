//! TLS on both sides: clients see the configured certificate, providers must show one that we trust, and a reload swaps it (rules S4, X6).

mod support;

use igris_load::Simulator;
use igris_load::certs::{Authority, Issued};
use igris_load::load::Expectation;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use support::{Client, Gateway, SOON, bare, chat, post, stream_of, wait_until};

fn authority(name: &str) -> (Authority, Issued) {
    let authority = Authority::new(name).expect("the crypto library makes keys");
    let issued = authority.issue(&["localhost", "127.0.0.1"]).expect("the crypto library signs");
    (authority, issued)
}

/// A client that trusts this authority alone; `Err` if the handshake fails.
fn try_connect(gateway: &Gateway, trusted: &Authority) -> std::io::Result<Client> {
    let mut roots = RootCertStore::empty();
    let cert = CertificateDer::from_pem_slice(trusted.cert_pem().as_bytes()).expect("our own PEM");
    roots.add(cert).expect("our own certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("defaults are usable").with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
    let tcp = TcpStream::connect(gateway.address())?;
    tcp.set_read_timeout(Some(Duration::from_secs(15)))?;
    let mut stream = StreamOwned::new(connection, tcp.try_clone()?);
    stream.flush()?;
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(Client::over(stream, tcp))
}

fn connect(gateway: &Gateway, trusted: &Authority) -> Client {
    try_connect(gateway, trusted).unwrap_or_else(|error| panic!("the handshake failed: {error}"))
}

fn replace_files(gateway: &Gateway, issued: &Issued) {
    std::fs::write(gateway.home().join("cert.pem"), &issued.cert_pem).expect("the home folder can be written to");
    std::fs::write(gateway.home().join("key.pem"), &issued.key_pem).expect("the home folder can be written to");
}

#[test]
fn clients_are_served_over_tls_and_a_reload_swaps_the_certificate() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let ((old, old_pair), (new, new_pair)) = (authority("old"), authority("new"));
    let builder = Gateway::builder().provider("openai", &simulator).tls();
    let gateway = builder.file("cert.pem", &old_pair.cert_pem).file("key.pem", &old_pair.key_pem).start();
    let mut client = connect(&gateway, &old);
    let body = chat("encrypted");
    for _ in 0..3 {
        let answer = client.ask(&post(&body));
        Expectation::new(body.as_bytes(), None).expect("good").check(&answer.body).expect("the same bytes");
    }
    client.send(&post(&stream_of("encrypted", "")));
    let stream = client.stream();
    assert!(stream.answer.whole && stream.answer.text().ends_with("data: [DONE]\n\n"));
    assert!(try_connect(&gateway, &new).is_err(), "another authority's certificate was expected and not shown");
    // A pair that does not belong together is refused, and the old one stays.
    std::fs::write(gateway.home().join("cert.pem"), &new_pair.cert_pem).expect("the home folder can be written to");
    gateway.signal("HUP");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(connect(&gateway, &old).ask(&bare("GET", "/v1/health", "")).status, 200, "{}", gateway.stderr());
    replace_files(&gateway, &new_pair);
    gateway.signal("HUP");
    wait_until(SOON, "the new certificate is shown", || try_connect(&gateway, &new).is_ok());
    assert!(try_connect(&gateway, &old).is_err(), "the old certificate is gone");
    assert_eq!(client.ask(&post(&body)).status, 200, "an established connection is untouched");
    assert_eq!(connect(&gateway, &new).ask(&post(&body)).status, 200);
}

#[test]
fn plain_text_on_a_tls_port_is_closed_and_hurts_nobody() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let (trusted, pair) = authority("own");
    let builder = Gateway::builder().provider("openai", &simulator).tls();
    let gateway = builder.file("cert.pem", &pair.cert_pem).file("key.pem", &pair.key_pem).start();
    let mut plain = Client::connect(gateway.address());
    plain.send(&post(&chat("plain")));
    let mut tls_alert = Vec::new();
    while !plain.closes_within(SOON) {
        tls_alert.extend(plain.read_bytes(1));
    }
    assert!(!String::from_utf8_lossy(&tls_alert).contains("HTTP/"), "no answer in plain text");
    assert_eq!(connect(&gateway, &trusted).ask(&post(&chat("x"))).status, 200);
    assert_eq!(simulator.truth().counts().requests, 1);
}

#[test]
fn a_client_that_never_finishes_its_handshake_is_closed() {
    let (trusted, pair) = authority("own");
    let builder = Gateway::builder().limits("tls_handshake_deadline = \"400ms\"").tls();
    let gateway = builder.file("cert.pem", &pair.cert_pem).file("key.pem", &pair.key_pem).start();
    let mut silent = Client::connect(gateway.address());
    silent.send(b"\x16\x03\x01");
    assert!(silent.closes_within(Duration::from_secs(3)), "the deadline of the handshake is configured");
    assert_eq!(connect(&gateway, &trusted).ask(&bare("GET", "/v1/health", "")).status, 200);
}

#[test]
fn a_provider_must_show_a_certificate_that_we_trust() {
    let ((own, pair), (stranger, _)) = (authority("own"), authority("stranger"));
    let simulator = Simulator::builder().tls(&pair.cert_pem, &pair.key_pem).start().expect("a loopback port");
    assert!(simulator.base_url().starts_with("https://"));
    let trusting = |ca: &str| {
        let builder = Gateway::builder().own_provider("encrypted", &simulator.base_url(), "ca = \"{home}/ca.pem\"");
        builder.file("ca.pem", ca).start()
    };
    let gateway = trusting(&own.cert_pem());
    let body = chat("encrypted upstream");
    for _ in 0..3 {
        let answer = gateway.chat(&body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        Expectation::new(body.as_bytes(), None).expect("good").check(&answer.body).expect("the same bytes");
    }
    let body = stream_of("encrypted upstream", r#","user":"sim:tokens=500""#);
    let stream = gateway.stream(&body);
    Expectation::new(body.as_bytes(), None).expect("good").check(&stream.answer.body).expect("the same events");
    assert_eq!(simulator.truth().connections_opened(), 1, "an encrypted connection is kept, too");
    let served = simulator.truth().counts().requests;
    let gateway = trusting(&stranger.cert_pem());
    gateway.chat(&chat("x")).must_be_fault(503, "all_providers_unavailable");
    assert_eq!(simulator.truth().counts().requests, served, "not a byte of the request was sent");
    let plain = Gateway::builder().own_provider("encrypted", &simulator.base_url(), "").start();
    plain.chat(&chat("x")).must_be_fault(503, "all_providers_unavailable");
    assert_eq!(simulator.truth().counts().requests, served, "nor without any authority of our own");
}

#[test]
fn an_encrypted_stream_that_is_cut_does_not_look_complete() {
    let (own, pair) = authority("own");
    let simulator = Simulator::builder().tls(&pair.cert_pem, &pair.key_pem).start().expect("a loopback port");
    let builder = Gateway::builder().own_provider("encrypted", &simulator.base_url(), "ca = \"{home}/ca.pem\"");
    let gateway = builder.file("ca.pem", &own.cert_pem()).start();
    let stream = gateway.stream(&stream_of("x", r#","user":"sim:fault=cut@3""#));
    assert!(!stream.answer.whole && stream.answer.text().contains("event: error"), "{}", stream.answer.text());
    assert_eq!(gateway.chat(&chat("x")).status, 200);
}
