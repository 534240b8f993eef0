//! Providers that speak HTTP/2.

use crate::attempts;
use crate::provider::{Manner, Provider};
use crate::support::{Builder, Gateway, SOON, chat, chat_of, stream_of, wait_until};
use h2::Reason;
use igris_load::Simulator;
use igris_load::certs::Authority;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use std::sync::atomic::Ordering;

fn before(provider: &Provider) -> Builder {
    Gateway::builder().own_provider("frames", &provider.base_url(), "http = \"2\"")
}

fn must_be_answered(gateway: &Gateway) {
    let answer = gateway.chat(&chat("over frames"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "Done.");
}

#[test]
fn answers_and_streams_come_over_one_connection() {
    let provider = Provider::start(Manner::Answer);
    let gateway = before(&provider).start();
    for _ in 0..5 {
        must_be_answered(&gateway);
        let stream = gateway.stream(&stream_of("over frames", ""));
        assert!(stream.answer.whole && stream.answer.text().ends_with("data: [DONE]\n\n"), "{}", stream.answer.text());
    }
    let large = chat(&"three times the window".repeat(15 * 1024));
    assert_eq!(gateway.chat(&large).status, 200);
    provider.must_be_content();
    assert_eq!((provider.connections(), provider.requests()), (1, 11));
    let largest = provider.seen.bodies.lock().expect("no panic").iter().map(Vec::len).max();
    assert!(largest.is_some_and(|bytes| bytes >= large.len() - 16), "{largest:?}");
    assert_eq!(attempts(&gateway), Some(11));
    assert_eq!(provider.resets(), [], "an answer that was whole is not given up");
}

#[test]
fn exchanges_share_a_connection_as_far_as_the_provider_allows() {
    // Those that come while a connection is being made wait for it. A worker has its own, and here is one.
    // Each answer takes long enough that on a machine with other work the last has come before the first is answered.
    for (streams, connections) in [(100, 1), (4, 8)] {
        let provider = Provider::start_with(Manner::Slowly(1_000), streams, None);
        let gateway = before(&provider).workers(1).start();
        std::thread::scope(|scope| {
            for _ in 0..30 {
                scope.spawn(|| must_be_answered(&gateway));
            }
        });
        provider.must_be_content();
        let most = provider.seen.most.load(Ordering::Relaxed);
        println!("{streams} streams a connection: {} connections, {most} at once", provider.connections());
        assert!(provider.connections() <= connections, "{} connections", provider.connections());
        assert!(most >= 15, "{most} at once");
        assert_eq!(attempts(&gateway), Some(30), "nothing was refused");
    }
}

#[test]
fn further_exchanges_wait_to_hear_how_many_the_provider_allows() {
    let provider = Provider::start_with(Manner::SaysLate(200), 4, None);
    let gateway = before(&provider).workers(1).start();
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| must_be_answered(&gateway));
        }
    });
    provider.must_be_content();
    // Taken for granted, a hundred would wait on the first connection for each other.
    assert!((3..=12).contains(&provider.connections()), "{} connections", provider.connections());
    assert_eq!((provider.requests(), attempts(&gateway)), (12, Some(12)), "nothing was refused");
}

#[test]
fn a_provider_that_says_goodbye_loses_nothing() {
    let provider = Provider::start(Manner::LeaveAfterEach);
    let gateway = before(&provider).start();
    for _ in 0..10 {
        must_be_answered(&gateway);
    }
    assert!(provider.connections() >= 5, "{} connections", provider.connections());
    provider.must_be_content();
}

#[test]
fn a_refused_stream_is_sent_again_and_both_are_in_the_books() {
    let provider = Provider::start(Manner::RefuseSome);
    let gateway = before(&provider).start();
    must_be_answered(&gateway);
    must_be_answered(&gateway);
    must_be_answered(&gateway);
    assert_eq!((provider.requests(), provider.connections()), (4, 2));
    assert_eq!(attempts(&gateway), Some(4));
}

#[test]
fn a_stream_that_breaks_off_is_cut_and_its_connection_stays() {
    let provider = Provider::start(Manner::BreakOff);
    let gateway = before(&provider).start();
    for _ in 0..2 {
        let stream = gateway.stream(&stream_of("x", ""));
        assert!(!stream.answer.whole && stream.answer.text().contains("event: error"), "{}", stream.answer.text());
    }
    assert_eq!((provider.requests(), provider.connections()), (2, 1), "what was read is not sent again");
}

#[test]
fn a_client_that_leaves_ends_the_providers_stream() {
    let provider = Provider::start(Manner::Endless);
    let gateway = before(&provider).start();
    for round in 1..=2 {
        let mut client = gateway.client();
        client.send(&crate::support::post(&stream_of("x", "")));
        client.read_bytes(300);
        drop(client);
        wait_until(SOON, "the stream is given up", || provider.resets().len() == round);
    }
    assert_eq!(provider.resets(), [Reason::CANCEL; 2]);
    assert_eq!(provider.connections(), 1);
    wait_until(SOON, "the attempts are in the books", || attempts(&gateway) == Some(2));
}

#[test]
fn an_answer_that_comes_before_the_request_is_read_counts() {
    let provider = Provider::start(Manner::Early);
    let gateway = before(&provider).start();
    let large = chat_of("gpt-4o", &"much of it ".repeat(30_000), "");
    let answer = gateway.chat(&large);
    assert_eq!(answer.status, 429, "{}", answer.text());
}

#[test]
fn tls_decides_where_either_may_be_spoken() {
    let authority = Authority::new("own").expect("the crypto library makes keys");
    let pair = authority.issue(&["localhost", "127.0.0.1"]).expect("the crypto library signs");
    let serving = |protocols: &[&[u8]]| {
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(pair.cert_pem.as_bytes()).map(|cert| cert.expect("PEM")).collect();
        let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).expect("PEM");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("defaults are usable").with_no_client_auth().with_single_cert(chain, key);
        let mut config = config.expect("a pair");
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config
    };
    let asking = |base_url: &str, http: &str| {
        let members = format!("ca = \"{{home}}/ca.pem\"\nhttp = \"{http}\"");
        let builder = Gateway::builder().own_provider("frames", base_url, &members);
        builder.file("ca.pem", &authority.cert_pem()).start()
    };
    let provider = Provider::start_with(Manner::Answer, 100, Some(serving(&[b"h2", b"http/1.1"])));
    let base_url = format!("https://{}/v1", provider.address);
    for http in ["2", "auto"] {
        let gateway = asking(&base_url, http);
        must_be_answered(&gateway);
        let stream = gateway.stream(&stream_of("frames in records", ""));
        assert!(stream.answer.whole, "{}", stream.answer.text());
    }
    provider.must_be_content();
    assert_eq!(provider.connections(), 2);
    // Who speaks HTTP/1.1 alone is asked so, or not at all.
    let simulator = Simulator::builder().tls(&pair.cert_pem, &pair.key_pem).start().expect("a loopback port");
    let gateway = asking(&simulator.base_url(), "auto");
    assert_eq!(gateway.chat(&chat("as ever")).status, 200);
    let gateway = asking(&simulator.base_url(), "2");
    gateway.chat(&chat("not at all")).must_be_fault(503, "all_providers_unavailable");
    assert_eq!(simulator.truth().counts().requests, 1);
}

#[test]
fn a_provider_that_speaks_no_http2_is_not_taken_for_one() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let gateway = Gateway::builder().own_provider("plain", &simulator.base_url(), "http = \"2\"").start();
    let answer = gateway.chat(&chat("hello"));
    assert!(answer.status >= 500, "{}", answer.text());
    wait_until(SOON, "the exchange ends", || gateway.admin("/status").json()["exchanges"] == 0);
}
