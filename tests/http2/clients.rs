//! Clients that speak HTTP/2.

use crate::speaker::{Speaker, answer, collect, converse, upload};
use crate::support::{Gateway, SOON, bare, chat, chat_of, stream_of, wait_until};
use crate::{attempts, gateway_before};
use bytes::Bytes;
use h2::Reason;
use igris_load::Simulator;
use igris_load::certs::Authority;
use igris_load::dialect::Expectation;
use igris_load::simulator::Outcome;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::sync::Arc;
use std::time::Duration;

fn simulator() -> Simulator {
    Simulator::builder().start().expect("a loopback port")
}

fn must_fit(body: &str, answer: &[u8]) {
    Expectation::new(body.as_bytes(), None).expect("good").check(answer).expect("the same bytes");
}

#[test]
fn one_connection_carries_answers_streams_and_pages() {
    let simulator = simulator();
    let gateway = gateway_before(&simulator).start();
    converse(async {
        let client = Speaker::connect(gateway.address()).await;
        for _ in 0..3 {
            let body = chat("over frames");
            let said = client.post(&body).await;
            assert_eq!((said.status, said.broken), (200, None), "{}", said.text());
            assert_eq!(said.header("content-type"), Some("application/json"));
            for name in ["connection", "transfer-encoding", "keep-alive"] {
                assert_eq!(said.header(name), None, "{name} belongs to one connection");
            }
            must_fit(&body, &said.body);
            let body = stream_of("over frames", "");
            let said = client.post(&body).await;
            assert_eq!((said.status, said.broken), (200, None));
            assert!(said.text().ends_with("data: [DONE]\n\n"), "{}", said.text());
        }
        let page = client.bare("GET", "/v1/models", &[]).await;
        assert_eq!(page.status, 200, "{}", page.text());
        let head = client.bare("HEAD", "/v1/health", &[]).await;
        assert_eq!((head.status, head.body.len(), head.broken), (200, 0, None));
        assert_eq!(gateway.admin("/status").json()["connections"], 1, "streams are no connections");
    });
    assert_eq!(attempts(&gateway), Some(6));
    assert_eq!(gateway.chat(&chat("and HTTP/1.1 at the same port")).status, 200);
}

/// Method, path and fields of a request, and the status that it gets.
type Refused = (&'static str, &'static str, &'static [(&'static str, &'static str)], u16);

#[test]
fn what_is_refused_over_one_protocol_is_refused_over_the_other() {
    let simulator = simulator();
    let gateway = gateway_before(&simulator).start();
    converse(async {
        let client = Speaker::connect(gateway.address()).await;
        let cases: [Refused; 8] = [
            ("GET", "/v1/models", &[("authorization", "Bearer nobody")], 401),
            ("GET", "/v1/models", &[("x-api-key", "another")], 401),
            ("GET", "/v1/models?key=sk-1", &[], 401),
            ("GET", "/v1/nowhere", &[], 404),
            ("GET", "/v1/../admin", &[], 400),
            ("BREW", "/v1/models", &[], 501),
            ("TRACE", "/v1/models", &[], 405),
            ("GET", "/v1/models", &[("expect", "tea")], 417),
        ];
        for (method, path, fields, status) in cases {
            let said = client.bare(method, path, fields).await;
            assert_eq!((said.status, said.broken), (status, None), "{method} {path} {fields:?}: {}", said.text());
        }
        let many: Vec<(String, &str)> = (0..120).map(|number| (format!("x-{number}"), "1")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(client.bare("GET", "/v1/models", &many).await.status, 431, "too many fields");
        let crumbs = vec![("cookie", "a=b"); 120];
        assert_eq!(client.bare("GET", "/v1/models", &crumbs).await.status, 431, "crumbs of cookies count");
        let encoded = client.post_with(&[("content-encoding", "gzip")], "x").await;
        assert_eq!(encoded.status, 415, "{}", encoded.text());
        assert_eq!(client.post(&chat("and on")).await.status, 200, "the connection lives");
    });
    assert_eq!(simulator.truth().counts().requests, 1);
}

#[test]
fn fifty_exchanges_at_once_share_a_connection() {
    let simulator = simulator();
    let gateway = gateway_before(&simulator).start();
    converse(async {
        let client = std::rc::Rc::new(Speaker::connect(gateway.address()).await);
        let tasks: Vec<_> = (0..50)
            .map(|number| {
                let client = client.clone();
                tokio::task::spawn_local(async move {
                    let members = r#","user":"sim:latency=300ms""#;
                    let body = match number % 2 {
                        0 => chat_of("gpt-4o", &format!("number {number}"), members),
                        _ => stream_of(&format!("number {number}"), r#","user":"sim:tokens=40;gap=10ms""#),
                    };
                    let said = client.post(&body).await;
                    assert_eq!((said.status, said.broken), (200, None), "{number}: {}", said.text());
                    if number % 2 == 0 {
                        must_fit(&body, &said.body);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
    });
    assert_eq!(simulator.truth().counts().requests, 50);
    assert_eq!(attempts(&gateway), Some(50));
}

#[test]
fn a_stream_that_is_given_up_is_a_client_that_is_gone_and_its_connection_stays() {
    let simulator = simulator();
    let gateway = gateway_before(&simulator).start();
    converse(async {
        let client = Speaker::connect(gateway.address()).await;
        let body = stream_of("on and on", r#","user":"sim:tokens=2000;gap=20ms""#);
        let (response, mut send) = client.begin("POST", "/v1/chat/completions", &[], false).await.expect("open");
        upload(&mut send, body.as_bytes()).await.expect("sent");
        let mut stream = response.await.expect("a head").into_body();
        let first = stream.data().await.expect("events").expect("events");
        assert!(!first.is_empty());
        send.send_reset(Reason::CANCEL);
        drop(stream);
        // The conversation goes on while the gateway is asked from outside.
        let said = client.post(&chat("and on")).await;
        assert_eq!(said.status, 200);
        // Before any answer is there.
        let body = chat_of("gpt-4o", "patience", r#","user":"sim:latency=8s""#);
        let (response, mut send) = client.begin("POST", "/v1/chat/completions", &[], false).await.expect("open");
        upload(&mut send, body.as_bytes()).await.expect("sent");
        tokio::time::sleep(Duration::from_millis(300)).await;
        send.send_reset(Reason::CANCEL);
        drop(response);
        assert_eq!(client.post(&chat("and on")).await.status, 200);
    });
    assert!(simulator.truth().wait_ended(4, Duration::from_secs(4)), "a provider was never told");
    let gone =
        simulator.truth().requests().iter().filter(|r| matches!(r.outcome, Outcome::ClientClosed { .. })).count();
    assert_eq!(gone, 2);
    wait_until(SOON, "the attempts are in the books", || attempts(&gateway) == Some(4));
}

#[test]
fn an_answer_that_is_cut_does_not_look_complete() {
    let simulator = simulator();
    let gateway = gateway_before(&simulator).start();
    converse(async {
        let client = Speaker::connect(gateway.address()).await;
        let said = client.post(&stream_of("x", r#","user":"sim:fault=cut@3""#)).await;
        assert!(said.text().contains("event: error"), "{}", said.text());
        assert!(said.broken.is_some(), "the stream is reset, not ended");
        assert_eq!(client.post(&chat("and on")).await.status, 200);
    });
}

#[test]
fn large_bodies_pass_small_windows_both_ways() {
    let simulator = simulator();
    let gateway = gateway_before(&simulator).start();
    converse(async {
        let client = Speaker::connect_with(gateway.address(), |builder| {
            builder.initial_window_size(512).initial_connection_window_size(65_535).max_frame_size(16_384);
        })
        .await;
        let body = chat(&"three times the window".repeat(15 * 1024));
        let said = client.post(&body).await;
        assert_eq!((said.status, said.broken), (200, None), "{}", said.text());
        let body = stream_of("long", r#","user":"sim:tokens=3000""#);
        let said = client.post(&body).await;
        assert!(said.text().ends_with("data: [DONE]\n\n"));
        assert!(said.body.len() > 200_000, "{}", said.body.len());
    });
    assert_eq!(simulator.truth().counts().requests, 2);
}

#[test]
fn trailers_and_lengths_of_a_request_are_understood() {
    let simulator = simulator();
    let gateway = gateway_before(&simulator).start();
    converse(async {
        let client = Speaker::connect(gateway.address()).await;
        let body = chat("with trailers");
        let (response, mut send) = client.begin("POST", "/v1/chat/completions", &[], false).await.expect("open");
        send.send_data(Bytes::copy_from_slice(body.as_bytes()), false).expect("sent");
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-trailer", http::HeaderValue::from_static("dropped"));
        send.send_trailers(trailers).expect("sent");
        let said = answer(response).await;
        assert_eq!(said.status, 200, "{}", said.text());
        must_fit(&body, &said.body);
        let length = body.len().to_string();
        assert_eq!(client.post_with(&[("content-length", &length)], &body).await.status, 200);
        let wrong = (body.len() + 1).to_string();
        let said = client.post_with(&[("content-length", &wrong)], &body).await;
        assert!(said.broken.is_some(), "a body shorter than it says: {said:?}");
        let said = client.post_with(&[("content-length", "99999999999")], "x").await;
        assert!(said.status == 413 || said.broken.is_some(), "{said:?}");
        assert_eq!(client.post(&body).await.status, 200);
    });
}

#[test]
fn a_process_that_goes_down_says_goodbye_and_finishes() {
    let simulator = simulator();
    let mut gateway = gateway_before(&simulator).start();
    converse(async {
        let client = Speaker::connect(gateway.address()).await;
        let idle = Speaker::connect(gateway.address()).await;
        assert_eq!(idle.bare("GET", "/v1/health", &[]).await.status, 200);
        let body = stream_of("to the end", r#","user":"sim:tokens=50;gap=20ms""#);
        let (response, mut send) = client.begin("POST", "/v1/chat/completions", &[], false).await.expect("open");
        upload(&mut send, body.as_bytes()).await.expect("sent");
        let mut stream = response.await.expect("a head").into_body();
        gateway.signal("TERM");
        let ended = tokio::time::timeout(SOON, idle.driven).await.expect("an idle connection ends");
        assert!(ended.expect("no panic").is_none(), "it ends in order");
        let (body, broken) = collect(&mut stream).await;
        assert!(broken.is_none() && String::from_utf8_lossy(&body).ends_with("data: [DONE]\n\n"));
        assert!(client.begin("GET", "/v1/health", &[], true).await.is_err(), "nothing more is taken");
    });
    assert!(gateway.wait(SOON).is_some_and(|status| status.success()));
}

#[test]
fn a_connection_ends_after_its_share_of_exchanges_and_when_it_idles() {
    let simulator = simulator();
    let limits = "exchanges_per_connection = 3\nkeep_alive_idle = \"400ms\"";
    let gateway = gateway_before(&simulator).limits(limits).start();
    converse(async {
        let client = Speaker::connect(gateway.address()).await;
        for _ in 0..3 {
            assert_eq!(client.post(&chat("one of three")).await.status, 200);
        }
        let ended = tokio::time::timeout(SOON, client.driven).await.expect("the connection ends");
        assert!(ended.expect("no panic").is_none());
        let client = Speaker::connect(gateway.address()).await;
        assert_eq!(client.post(&chat("one")).await.status, 200);
        let ended = tokio::time::timeout(SOON, client.driven).await.expect("an idle connection ends");
        assert!(ended.expect("no panic").is_none());
    });
    wait_until(SOON, "sessions are gone", || gateway.admin("/status").json()["connections"] == 0);
}

#[test]
fn tls_agrees_on_it_unless_it_is_off() {
    let simulator = simulator();
    let authority = Authority::new("own").expect("the crypto library makes keys");
    let pair = authority.issue(&["localhost", "127.0.0.1"]).expect("the crypto library signs");
    let start = |lines: &str| {
        let builder = Gateway::builder().provider("openai", &simulator).tls().server(lines);
        builder.file("cert.pem", &pair.cert_pem).file("key.pem", &pair.key_pem).start()
    };
    let offering = |protocols: &[&[u8]]| {
        let mut roots = rustls::RootCertStore::empty();
        let cert = CertificateDer::from_pem_slice(authority.cert_pem().as_bytes()).expect("our own PEM");
        roots.add(cert).expect("our own certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = config.expect("defaults are usable").with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config
    };
    let gateway = start("");
    converse(async {
        let both: &[&[u8]] = &[b"http/1.1", b"h2"];
        let stream = Speaker::connect_tls(gateway.address(), offering(both)).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        let client = Speaker::over(stream, |_| {}).await;
        let body = chat("frames in records");
        let said = client.post(&body).await;
        assert_eq!(said.status, 200, "{}", said.text());
        must_fit(&body, &said.body);
        let said = client.post(&stream_of("frames in records", r#","user":"sim:tokens=500""#)).await;
        assert!(said.broken.is_none() && said.text().ends_with("data: [DONE]\n\n"));
    });
    let gateway = start("http2 = \"off\"");
    converse(async {
        let both: &[&[u8]] = &[b"h2", b"http/1.1"];
        let stream = Speaker::connect_tls(gateway.address(), offering(both)).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
    });
}

#[test]
fn without_tls_it_is_served_only_where_the_owner_says_so() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let mut client = gateway.client();
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(client.answer().status, 505);
    // A preface that comes byte by byte is one; half of one is late like any head.
    let gateway = gateway_before(&simulator).limits("head_deadline = \"400ms\"").start();
    let mut client = gateway.client();
    client.send(b"PRI * HT");
    assert_eq!(client.answer().status, 408);
    for beginning in [b"P".as_slice(), b"PR"] {
        let mut client = gateway.client();
        client.send(beginning);
        std::thread::sleep(Duration::from_millis(50));
        let rest = match beginning {
            b"P" => b"OST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".as_slice(),
            _ => b"OPFIND / HTTP/1.1\r\nhost: x\r\n\r\n",
        };
        client.send(rest);
        assert!(matches!(client.answer().status, 401 | 501));
    }
    assert_eq!(gateway.ask(&bare("GET", "/v1/health", "")).status, 200);
}
