//! TLS on both sides: clients see the configured certificate, providers must show one that we trust, and a reload swaps it (rules S4, X6).

mod support;

use igris_load::Simulator;
use igris_load::certs::{Authority, Issued};
use igris_load::dialect::Expectation;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use support::{Answer, Client, Gateway, SOON, bare, chat, chat_of, post, stream_of, wait_until};

fn authority(name: &str) -> (Authority, Issued) {
    let authority = Authority::new(name).expect("the crypto library makes keys");
    let issued = authority.issue(&["localhost", "127.0.0.1"]).expect("the crypto library signs");
    (authority, issued)
}

/// What a client trusts and remembers: the same value twice is the same client, with its session tickets.
fn trusting(trusted: &[&Authority]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for authority in trusted {
        let cert = CertificateDer::from_pem_slice(authority.cert_pem().as_bytes()).expect("our own PEM");
        roots.add(cert).expect("our own certificate");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(config.expect("defaults are usable").with_root_certificates(roots).with_no_client_auth())
}

/// A connection and how its handshake went; `Err` if it fails.
fn try_shake(gateway: &Gateway, config: &Arc<ClientConfig>) -> std::io::Result<(Client, Option<HandshakeKind>)> {
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(config.clone(), name).map_err(std::io::Error::other)?;
    let tcp = TcpStream::connect(gateway.address())?;
    tcp.set_read_timeout(Some(Duration::from_secs(15)))?;
    let mut stream = StreamOwned::new(connection, tcp.try_clone()?);
    stream.flush()?;
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    let kind = stream.conn.handshake_kind();
    Ok((Client::over(stream, tcp), kind))
}

/// A client that trusts this authority alone; `Err` if the handshake fails.
fn try_connect(gateway: &Gateway, trusted: &Authority) -> std::io::Result<Client> {
    try_shake(gateway, &trusting(&[trusted])).map(|(client, _)| client)
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
        let builder = Gateway::builder().own_provider(
            "encrypted",
            &simulator.base_url(),
            "ca = \"{home}/ca.pem\"\nready_connections = 0",
        );
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

/// Has the gateway read its files again; the answer's status.
fn reload(gateway: &Gateway) -> u16 {
    gateway.admin_ask("POST", "/reload", "").status
}

#[test]
fn swaps_under_load_fail_no_handshake_on_either_driver() {
    for driver in ["epoll", "auto"] {
        let simulator = Simulator::builder().start().expect("a loopback port");
        let (authority, first) = authority("own");
        let builder = Gateway::builder().provider("openai", &simulator).workers(2).io(driver).tls();
        let gateway = builder.file("cert.pem", &first.cert_pem).file("key.pem", &first.key_pem).start();
        let (over, served) = (AtomicBool::new(false), AtomicU32::new(0));
        let mut established = connect(&gateway, &authority);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    // Keeps its tickets: each connection tries to resume the last one's session, whichever pair that was under.
                    let config = trusting(&[&authority]);
                    while !over.load(Ordering::Relaxed) {
                        let (mut client, _) = try_shake(&gateway, &config).expect("a handshake");
                        assert_eq!(client.ask(&post(&chat("x"))).status, 200);
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for swap in 0..5 {
                let pair = authority.issue(&["localhost", &format!("n{swap}.example.com")]).expect("signed");
                replace_files(&gateway, &pair);
                assert_eq!(reload(&gateway), 200);
                assert_eq!(established.ask(&post(&chat("established"))).status, 200);
                let before = served.load(Ordering::Relaxed);
                wait_until(SOON, "clients come on", || served.load(Ordering::Relaxed) > before + 3);
            }
            over.store(true, Ordering::Relaxed);
        });
        println!("{driver}: {} connections over five swaps", served.load(Ordering::Relaxed));
    }
}

#[test]
fn a_pair_that_is_no_good_is_refused_with_its_reason_and_the_old_one_stays() {
    let ((own, pair), (_, other)) = (authority("own"), authority("other"));
    let builder = Gateway::builder().tls();
    let gateway = builder.file("cert.pem", &pair.cert_pem).file("key.pem", &pair.key_pem).start();
    let bad = [
        (pair.cert_pem.as_str(), other.key_pem.as_str(), "key"),
        ("garbage", pair.key_pem.as_str(), "certificate"),
        (pair.cert_pem.as_str(), "", "key"),
        (ENDED_CERT, ENDED_KEY, "ended"),
    ];
    for (cert, key, word) in bad {
        std::fs::write(gateway.home().join("cert.pem"), cert).expect("written");
        std::fs::write(gateway.home().join("key.pem"), key).expect("written");
        let answer = gateway.admin_ask("POST", "/reload", "");
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert!(answer.text().contains(word), "{}", answer.text());
        assert_eq!(connect(&gateway, &own).ask(&bare("GET", "/v1/health", "")).status, 200);
    }
}

#[test]
fn a_session_is_resumed_only_under_the_pair_it_began_with() {
    let (own, pair) = authority("own");
    let gateway = Gateway::builder().tls().file("cert.pem", &pair.cert_pem).file("key.pem", &pair.key_pem).start();
    let config = trusting(&[&own]);
    let shake = || {
        let (mut client, kind) = try_shake(&gateway, &config).expect("a handshake");
        assert_eq!(client.ask(&bare("GET", "/v1/health", "")).status, 200);
        kind.expect("a handshake has a kind")
    };
    assert_eq!(shake(), HandshakeKind::Full);
    assert_eq!(shake(), HandshakeKind::Resumed);
    replace_files(&gateway, &own.issue(&["localhost"]).expect("signed"));
    assert_eq!(reload(&gateway), 200);
    assert_eq!(shake(), HandshakeKind::Full, "an old ticket opens nothing and breaks nothing");
    assert_eq!(shake(), HandshakeKind::Resumed);
}

#[test]
fn a_client_authority_that_is_asked_for_later_cannot_be_walked_around_with_a_ticket() {
    let ((own, pair), (clients, _)) = (authority("own"), authority("clients"));
    let builder = Gateway::builder().tls().file("clients.pem", &clients.cert_pem());
    let gateway = builder.file("cert.pem", &pair.cert_pem).file("key.pem", &pair.key_pem).start();
    let config = trusting(&[&own]);
    let (mut established, _) = try_shake(&gateway, &config).expect("a handshake");
    assert_eq!(established.ask(&bare("GET", "/v1/health", "")).status, 200);
    let home = gateway.home().display().to_string();
    let key = format!("key = \"{home}/key.pem\" }}");
    let asked = format!("key = \"{home}/key.pem\", client_ca = \"{home}/clients.pem\" }}");
    assert!(gateway.config().contains(&key));
    gateway.write_config(&gateway.config().replace(&key, &asked));
    assert_eq!(reload(&gateway), 200);
    // In TLS 1.3 the client is done before the server has looked for its certificate.
    let outcome = try_shake(&gateway, &config).map_err(|error| error.to_string()).and_then(|(mut client, _)| {
        client.send(&bare("GET", "/v1/health", ""));
        client.try_answer()
    });
    assert!(outcome.is_err(), "{outcome:?}");
    assert_eq!(established.ask(&bare("GET", "/v1/health", "")).status, 200, "an established connection is untouched");
}

/// A pair that belongs together and ended with the year 2019. Its dates were changed after it was signed: nobody verifies it here.
const ENDED_CERT: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBBzCBrgIBBzAKBggqhkjOPQQDAjAQMQ4wDAYDVQQDDAVlbmRlZDAeFw0xOTAx\n\
MDEwMDAwMDBaFw0yMDAxMDEwMDAwMDBaMBAxDjAMBgNVBAMMBWVuZGVkMFkwEwYH\n\
KoZIzj0CAQYIKoZIzj0DAQcDQgAE8dpMpiDFu2T6lJ+oH8xezmFtYX32LaHigKt4\n\
HKlIXJ4b03ExuWmgWbFViXEXODx7blYcQ3ySdI58qF3zw7I5hzAKBggqhkjOPQQD\n\
AgNIADBFAiEAmNn0RNu9OsPhiNiTrbIFioPqzriI/wK6YdKafAjbxrQCIFVu7Kvm\n\
phbglbCn+5tJ5qFfvL11DI7jY5CfNazA8Sxy\n\
-----END CERTIFICATE-----\n";
const ENDED_KEY: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg1C2WoXjz4Y+NLMfi\n\
zwLNaWGSOSaqovvbAnfFuZgMF+GhRANCAATx2kymIMW7ZPqUn6gfzF7OYW1hffYt\n\
oeKAq3gcqUhcnhvTcTG5aaBZsVWJcRc4PHtuVhxDfJJ0jnyoXfPDsjmH\n\
-----END PRIVATE KEY-----\n";

/// What connecting and shaking hands took for the only attempt of an answer, microseconds.
fn connecting(gateway: &Gateway, answer: &Answer) -> (u64, u64) {
    let id = answer.header("x-request-id").expect("on every answer");
    let path = format!("/decisions/{id}");
    wait_until(SOON, "the decision is there", || gateway.admin(&path).status == 200);
    let decision = gateway.admin(&path).json();
    let micros = |name: &str| decision["attempts"][0][name].as_u64().expect("microseconds");
    (micros("connect_us"), micros("tls_us"))
}

/// Connections that the gateway has opened to its provider.
fn opened(gateway: &Gateway) -> u64 {
    let name = "igris_upstream_connections_total ";
    let text = gateway.admin("/metrics").text().to_owned();
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
}

/// A slow provider behind TLS, and a gateway of one worker with this line for it.
fn slow(line: &str) -> (Simulator, Gateway) {
    let (authority, pair) = authority("own");
    let simulator = Simulator::builder().tls(&pair.cert_pem, &pair.key_pem).latency(Duration::from_millis(400));
    let simulator = simulator.start().expect("a loopback port");
    let lines = format!("ca = \"{{home}}/ca.pem\"\n{line}");
    let builder = Gateway::builder().own_provider("p1", &simulator.base_url(), &lines);
    let gateway = builder.file("ca.pem", &authority.cert_pem()).ordered(&["p1"]).workers(1).start();
    (simulator, gateway)
}

fn any() -> String {
    chat_of("any", "hello", "")
}

#[test]
fn a_request_beside_others_meets_no_handshake() {
    let (_simulator, gateway) = slow("");
    assert_eq!(opened(&gateway), 0, "nobody has asked yet");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| gateway.chat(&any()));
        wait_until(SOON, "another connection is opened ahead", || opened(&gateway) == 2);
        let second = gateway.chat(&any());
        let (connect, tls) = connecting(&gateway, &first.join().expect("no panic"));
        assert!(0 < tls && tls < connect, "{tls} of {connect}");
        assert_eq!(connecting(&gateway, &second), (0, 0), "it stood already");
    });
    // The second one took the one that was ready, so there is a third; and with all of them unused, no fourth.
    wait_until(SOON, "the next is ready", || opened(&gateway) == 3);
    assert_eq!(connecting(&gateway, &gateway.chat(&any())), (0, 0));
    assert_eq!(opened(&gateway), 3);
}

#[test]
fn who_wants_none_ready_has_none() {
    let (_simulator, gateway) = slow("ready_connections = 0");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| gateway.chat(&any()));
        wait_until(SOON, "the first is under way", || opened(&gateway) == 1);
        let (_, tls) = connecting(&gateway, &gateway.chat(&any()));
        assert!(tls > 0, "nobody opened one ahead");
        first.join().expect("no panic");
    });
    assert_eq!(opened(&gateway), 2);
}

#[test]
fn a_provider_that_takes_nobody_is_not_asked_again_and_again() {
    let (simulator, gateway) = slow("ready_connections = 2");
    assert_eq!(gateway.chat(&any()).status, 200);
    wait_until(SOON, "two stand ready beside it", || opened(&gateway) == 3);
    simulator.stop();
    // The ones that stood are found closed, and each further try is refused; none of that is a connection.
    wait_until(SOON, "the closed ones are gone", || gateway.chat(&any()).status != 200);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(opened(&gateway), 3);
}
