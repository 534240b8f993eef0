//! TLS over connections: the same promises as plain ones, a session taken up again, and every wrong peer refused.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use igris::rt::{self, Buf, Conn, Driver, Duplex, Listener, Stop};
use igris::tls::{self, ClientConfig, ClientTrust, Roots, ServerConfig, Stream, TlsError, Transport};

// Made with openssl for these tests, valid from 2020 to 2120; they open nothing.
const CA: &str = "-----BEGIN CERTIFICATE-----
MIIBZDCCAQmgAwIBAgIBATAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1pZ3JpcyB0
ZXN0IENBMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAYMRYwFAYD
VQQDDA1pZ3JpcyB0ZXN0IENBMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEdSPW
YtvAUMTppQ3R1KMh/7eXezIxSVUpxe7y9ZS2k9FekIAfzQC7bKQIKSC45FHN1un/
r++A9EVHIc4upLiOKqNCMEAwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMC
AgQwHQYDVR0OBBYEFCYkHiKBZ7rYe8z5ueEPFXvzJSguMAoGCCqGSM49BAMCA0kA
MEYCIQDZVbAVxeV1etMBvGzHbRU8kjivV99DW87qiTNN38nL/QIhAOFsUzL67z2a
dHU913J7L5uXkE7xEL5IxPlZhBJo7Inx
-----END CERTIFICATE-----";
const SERVER: &str = "-----BEGIN CERTIFICATE-----
MIIBrzCCAVWgAwIBAgIBAjAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1pZ3JpcyB0
ZXN0IENBMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAcMRowGAYD
VQQDDBFpZ3JpcyB0ZXN0IHNlcnZlcjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
BNVz395UwJ8uoedVgagrxKVm4rvJqgfS5Hp/ToYyhm29g16P/3jxHhvLILUB0gGb
UPx4ot22Ekpp7vHTytlWI1mjgYkwgYYwCQYDVR0TBAIwADAaBgNVHREEEzARggls
b2NhbGhvc3SHBH8AAAEwHQYDVR0lBBYwFAYIKwYBBQUHAwEGCCsGAQUFBwMCMB0G
A1UdDgQWBBTM0sGSzU2j2iU8Easle3OQ5qV30jAfBgNVHSMEGDAWgBQmJB4igWe6
2HvM+bnhDxV78yUoLjAKBggqhkjOPQQDAgNIADBFAiEA+07Mk0MZzOEajY2vPMEV
pe4zMQOxmX39BWKdG33tRHkCIEaTVe5tRotOpUecsLwqWQhyt74YY8Qe2ymbMDx/
YqtV
-----END CERTIFICATE-----";
const SERVER_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgujf78APd2Hb0aeql
B5h8vWl/Wo7L8shKLCecbI7X9sqhRANCAATVc9/eVMCfLqHnVYGoK8SlZuK7yaoH
0uR6f06GMoZtvYNej/948R4byyC1AdIBm1D8eKLdthJKae7x08rZViNZ
-----END PRIVATE KEY-----";
const CLIENT: &str = "-----BEGIN CERTIFICATE-----
MIIBrzCCAVWgAwIBAgIBAzAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1pZ3JpcyB0
ZXN0IENBMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAcMRowGAYD
VQQDDBFpZ3JpcyB0ZXN0IGNsaWVudDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
BPmb3w2BlCtNweDOE2LZTswCgXFSTGDiqUR/inrJSLLyLtSbF5xSPob4LZWcuqk7
zTcD62A59NcMAnuA3WKVe5CjgYkwgYYwCQYDVR0TBAIwADAaBgNVHREEEzARggls
b2NhbGhvc3SHBH8AAAEwHQYDVR0lBBYwFAYIKwYBBQUHAwEGCCsGAQUFBwMCMB0G
A1UdDgQWBBRQqFB8iy7ujTRhqiON+g4G8ReEczAfBgNVHSMEGDAWgBQmJB4igWe6
2HvM+bnhDxV78yUoLjAKBggqhkjOPQQDAgNIADBFAiBagi2mn/0+9nTuKDYLY25O
h16jpS1P0qBx5Mm4UXJR0QIhANDv1gww7vKq1GXqfi9vNN1X0cbz3cQPEfnuaIUu
XUzo
-----END CERTIFICATE-----";
const CLIENT_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgrsizctubFI8Tyj98
7wNNRIqduzb7EDYVxwXyY1JPmCehRANCAAT5m98NgZQrTcHgzhNi2U7MAoFxUkxg
4qlEf4p6yUiy8i7UmxecUj6G+C2VnLqpO803A+tgOfTXDAJ7gN1ilXuQ
-----END PRIVATE KEY-----";

fn on_both<F: Future<Output = ()>>(test: impl Fn() -> F) {
    rt::block_on(Driver::Epoll, test()).expect("epoll");
    if rt::resolve(rt::DriverChoice::IoUring).is_ok() {
        rt::block_on(Driver::IoUring, test()).expect("io_uring");
    } else {
        assert!(std::env::var_os("IGRIS_REQUIRE_IO_URING").is_none(), "io_uring is required here and does not work");
        eprintln!("io_uring does not work here: tested on epoll only");
    }
}

fn trusting() -> Arc<ClientConfig> {
    let trust = ClientTrust {
        roots: Roots::OnlyExtra,
        extra_ca: vec![CA.as_bytes().to_vec()],
        alpn: vec![b"http/1.1".to_vec()],
    };
    tls::client_config(&trust).expect("client configuration")
}

fn serving() -> Arc<ServerConfig> {
    tls::server_config(SERVER.as_bytes(), SERVER_KEY.as_bytes(), None, false).expect("server configuration")
}

async fn tcp_pair() -> (Conn, Conn) {
    let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false).expect("bind");
    let (a, b) = (Conn::connect(listener.local_addr()).await, listener.accept(&Stop::new()).await);
    (a.expect("connect"), b.expect("not stopped").expect("accept").0)
}

type Shaken = (Stream<Conn>, Result<(), TlsError>);

/// Both handshakes at once; the results may be errors.
async fn shake(client: Arc<ClientConfig>, server: Arc<ServerConfig>, name: &str) -> (Shaken, Shaken) {
    let (a, b) = tcp_pair().await;
    let mut client = Stream::client(a, client, tls::server_name(name).expect("name")).expect("client");
    let mut server = Stream::server(b, server).expect("server");
    let slot = Rc::new(RefCell::new(None));
    let result = slot.clone();
    rt::spawn(async move {
        let shaken = server.handshake().await;
        *result.borrow_mut() = Some((server, shaken));
    });
    let shaken = client.handshake().await;
    if shaken.is_err() {
        // Lets a server that still waits see the end.
        let _ = client.io().shutdown_write().await;
    }
    while slot.borrow().is_none() {
        rt::sleep(Duration::from_millis(1)).await;
    }
    let server = slot.borrow_mut().take().expect("the server is done");
    ((client, shaken), server)
}

async fn connected() -> (Stream<Conn>, Stream<Conn>) {
    let ((client, a), (server, b)) = shake(trusting(), serving(), "localhost").await;
    a.expect("client handshake");
    b.expect("server handshake");
    (client, server)
}

fn counter_bytes(from: u64, n: usize) -> Vec<u8> {
    (from..from + n as u64).map(|i| (i % 251) as u8).collect()
}

struct Lcg(u64);

impl Lcg {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }
}

#[test]
fn abandoned_waits_lose_no_byte() {
    const TOTAL: u64 = 1_000_000;
    const SEED: u64 = 11;
    on_both(|| async {
        let (mut reader, mut writer) = connected().await;
        rt::spawn(async move {
            let (mut random, mut sent) = (Lcg(SEED), 0);
            while sent < TOTAL {
                let n = (1 + random.below(40_000)).min(TOTAL - sent) as usize;
                writer.output().extend(&counter_bytes(sent, n));
                let _ = rt::race(std::future::ready(()), writer.flush()).await;
                if random.below(2) == 0 {
                    writer.flush().await.expect("flush");
                    rt::sleep(Duration::from_millis(1)).await;
                }
                sent += n as u64;
            }
            writer.close_notify().await.expect("close");
        });
        let (mut random, mut seen, mut abandoned) = (Lcg(SEED + 1), 0u64, 0);
        while !reader.clean_eof() {
            if random.below(2) == 0 {
                reader.fill().await.expect("fill");
            } else {
                let left = rt::race(std::future::ready(()), reader.fill()).await;
                abandoned += u32::from(matches!(left, rt::Either::Left(())));
            }
            let bytes = reader.take_input();
            assert!(bytes.bytes() == counter_bytes(seen, bytes.len()), "bytes differ after {seen}, seed {SEED}");
            seen += bytes.len() as u64;
        }
        assert_eq!(seen, TOTAL, "seed {SEED}");
        assert!(abandoned > 10, "the test abandoned only {abandoned} fills");
    });
}

#[test]
fn a_second_connection_takes_the_session_up_again() {
    on_both(|| async {
        let (client_config, server_config) = (trusting(), serving());
        let other_core = tls::per_core(&client_config);
        for (config, resumed) in [(&client_config, false), (&client_config, true), (&other_core, false)] {
            let ((mut client, a), (mut server, b)) = shake(config.clone(), server_config.clone(), "localhost").await;
            a.expect("client handshake");
            b.expect("server handshake");
            assert_eq!((client.resumed(), server.resumed()), (resumed, resumed));
            assert_eq!((client.alpn(), server.alpn()), (Some(&b"http/1.1"[..]), Some(&b"http/1.1"[..])));
            assert_eq!(format!("{:?}", client.version()), "Some(TLSv1_3)");
            // The tickets come with the first answer.
            server.output().extend(b"hello");
            server.flush().await.expect("flush");
            client.fill().await.expect("fill");
            assert_eq!(client.input().bytes(), b"hello");
        }
    });
}

#[test]
fn an_end_without_goodbye_is_a_cut() {
    on_both(|| async {
        for polite in [true, false] {
            let (mut client, mut server) = connected().await;
            server.output().extend(b"half an answ");
            server.flush().await.expect("flush");
            if polite {
                server.close_notify().await.expect("close");
            }
            drop(server);
            while client.fill().await.expect("fill") != 0 {}
            assert_eq!(client.input().bytes(), b"half an answ");
            assert_eq!(client.clean_eof(), polite);
            assert_eq!(client.fill().await.expect("the end comes again"), 0);
        }
    });
}

#[test]
fn the_wrong_name_and_the_unknown_authority_are_refused_on_both_sides() {
    on_both(|| async {
        let ((_, wrong_name), (_, server)) = shake(trusting(), serving(), "example.com").await;
        let error = wrong_name.expect_err("the certificate is for localhost").to_string();
        assert!(error.contains("TLS handshake failed") && error.contains("check the certificate"), "{error}");
        let alert = server.expect_err("the client hung up").to_string();
        assert!(alert.contains("BadCertificate") || alert.contains("CertificateUnknown"), "no alert came: {alert}");
        let bundled = ClientTrust { roots: Roots::Bundled, ..ClientTrust::default() };
        let stranger = tls::client_config(&bundled).expect("configuration");
        let ((_, unknown), _) = shake(stranger, serving(), "localhost").await;
        assert!(matches!(unknown, Err(TlsError::Handshake(_))));
    });
}

#[test]
fn a_client_without_a_certificate_is_refused_where_one_is_asked_for() {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    on_both(|| async {
        let asking =
            tls::server_config(SERVER.as_bytes(), SERVER_KEY.as_bytes(), Some(CA.as_bytes()), false).expect("server");
        // In TLS 1.3 the client is done before the server has looked: the refusal comes with the first fill.
        let ((mut client, _), (_, refused)) = shake(trusting(), asking.clone(), "localhost").await;
        assert!(refused.is_err(), "nobody was authenticated");
        assert!(client.fill().await.is_err());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(CA.as_bytes()).expect("CA")).expect("root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let known = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(CLIENT.as_bytes()).expect("certificate")],
                PrivateKeyDer::from_pem_slice(CLIENT_KEY.as_bytes()).expect("key"),
            )
            .expect("pair");
        let ((_, a), (server, b)) = shake(Arc::new(known), asking, "127.0.0.1").await;
        a.and(b).expect("a client with a certificate is let in");
        assert_eq!(server.peer_certificates().map(<[_]>::len), Some(1));
    });
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused_with_a_remedy() {
    let error =
        tls::server_config(SERVER.as_bytes(), CLIENT_KEY.as_bytes(), None, false).expect_err("a bad pair").to_string();
    assert!(error.contains("do not fit together") && error.contains("leaf first"), "{error}");
    let error = tls::server_config(SERVER.as_bytes(), SERVER.as_bytes(), None, false).expect_err("no key").to_string();
    assert!(error.starts_with("the server key"), "{error}");
    let error =
        tls::server_config(SERVER.as_bytes(), SERVER_KEY.as_bytes(), Some(b""), false).expect_err("no CA").to_string();
    assert!(error.starts_with("the client CA"), "{error}");
}

#[test]
fn garbage_is_an_error_and_not_a_hang() {
    on_both(|| async {
        let (mut plain, b) = tcp_pair().await;
        let mut server = Stream::server(b, serving()).expect("server");
        plain.output().extend(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
        plain.flush().await.expect("flush");
        assert!(matches!(server.handshake().await, Err(TlsError::Handshake(_))));
        let (plain, b) = tcp_pair().await;
        let mut server = Stream::server(b, serving()).expect("server");
        drop(plain);
        assert!(matches!(server.handshake().await, Err(TlsError::Ended)));
        let (a, mut peer) = tcp_pair().await;
        let mut early = Stream::client(a, trusting(), tls::server_name("localhost").expect("name")).expect("client");
        early.output().extend(b"too early");
        assert_eq!(early.flush().await.expect_err("no keys yet").kind(), io::ErrorKind::NotConnected);
        peer.output().extend(b"bye");
    });
}

#[test]
fn an_unused_transport_tells_whether_it_is_alive() {
    on_both(|| async {
        let (client, server) = connected().await;
        let (mut client, mut server) = (Transport::from(client), Transport::from(server));
        for _ in 0..3 {
            assert!(client.is_idle() && client.is_filling(), "tickets are no message");
            rt::sleep(Duration::from_millis(5)).await;
        }
        server.output().extend(b"unasked");
        server.flush().await.expect("flush");
        rt::sleep(Duration::from_millis(5)).await;
        assert!(!client.is_idle(), "something came");
        assert_eq!(client.take_input().bytes(), b"unasked");
        assert!(client.is_idle(), "armed again");
        server.shutdown_write().await.expect("goodbye");
        rt::sleep(Duration::from_millis(5)).await;
        assert!(!client.is_idle() && client.clean_eof());
    });
}

// ---- Without sockets --------------------------------------------------------------------------------------------------------

type Wire = Rc<RefCell<VecDeque<u8>>>;

/// One end of a wire in memory that gives out a few bytes at a time.
struct Pipe {
    input: Buf,
    output: Buf,
    from: Wire,
    to: Wire,
    piece: usize,
}

impl Pipe {
    fn pair(piece: usize) -> (Pipe, Pipe) {
        let (east, west) = (Wire::default(), Wire::default());
        let end = |from: &Wire, to: &Wire| Pipe {
            input: Buf::new(),
            output: Buf::new(),
            from: from.clone(),
            to: to.clone(),
            piece,
        };
        (end(&east, &west), end(&west, &east))
    }
}

impl Duplex for Pipe {
    fn poll_fill(&mut self, _: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut from = self.from.borrow_mut();
        let n = from.len().min(self.piece);
        let bytes: Vec<u8> = from.drain(..n).collect();
        self.input.extend(&bytes);
        if n == 0 { Poll::Pending } else { Poll::Ready(Ok(n)) }
    }

    fn input(&mut self) -> &mut Buf {
        &mut self.input
    }

    fn output(&mut self) -> &mut Buf {
        &mut self.output
    }

    fn buffers(&mut self) -> (&mut Buf, &mut Buf) {
        (&mut self.input, &mut self.output)
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.to.borrow_mut().extend(self.output.bytes());
        self.output.clear();
        Poll::Ready(Ok(()))
    }
}

fn only_tls12() -> Arc<ClientConfig> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(CA.as_bytes()).expect("CA")).expect("root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS12]);
    Arc::new(config.expect("TLS 1.2").with_root_certificates(roots).with_no_client_auth())
}

#[test]
fn any_split_of_the_records_gives_the_same_bytes() {
    let cx = &mut Context::from_waker(Waker::noop());
    let twelve = only_tls12();
    let both = |piece| [(trusting(), piece), (twelve.clone(), piece)];
    for (config, piece) in [1, 2, 3, 7, 100, 5000, 100_000].into_iter().flat_map(both) {
        let (a, b) = Pipe::pair(piece);
        let mut client = Stream::client(a, config, tls::server_name("localhost").expect("name")).expect("client");
        let mut server = Stream::server(b, serving()).expect("server");
        let (mut client_done, mut server_done) = (false, false);
        for _ in 0..20_000 {
            client_done = client_done || matches!(client.poll_handshake(cx), Poll::Ready(Ok(())));
            server_done = server_done || matches!(server.poll_handshake(cx), Poll::Ready(Ok(())));
            if client_done && server_done {
                break;
            }
        }
        assert!(client_done && server_done, "no handshake in pieces of {piece}");
        let message = counter_bytes(3, 50_000);
        client.output().extend(&message);
        assert!(matches!(client.poll_flush(cx), Poll::Ready(Ok(()))));
        let mut reported = 0;
        while let Poll::Ready(n) = server.poll_fill(cx) {
            reported += n.expect("fill");
        }
        assert!(server.input().bytes() == message, "bytes differ in pieces of {piece}");
        assert_eq!(reported, message.len());
        // What a flush brings to light is reported by the next fill.
        server.output().extend(b"answer");
        assert!(matches!(server.poll_flush(cx), Poll::Ready(Ok(()))));
        client.output().extend(b"more");
        assert!(matches!(client.poll_flush(cx), Poll::Ready(Ok(()))));
        let mut answer = 0;
        while let Poll::Ready(n) = client.poll_fill(cx) {
            answer += n.expect("fill");
        }
        assert_eq!((answer, client.input().bytes()), (6, &b"answer"[..]));
    }
}
