//! Many requests leave nothing behind: no error, no descriptor, no memory.

mod support;

use igris_load::Simulator;
use igris_load::dialect::Expectation;
use std::time::{Duration, Instant};
use support::{Client, Gateway, SOON, chat, post, stream_of, wait_until};

const CONNECTIONS: usize = 64;

/// Sends so many requests over 64 connections, every eighth a stream, and checks every answer.
fn storm(gateway: &Gateway, requests: usize) {
    let address = gateway.address();
    let one_client = |number: usize| {
        let mut client = Client::connect(address);
        for round in 0..requests / CONNECTIONS {
            let content = format!("client {number}, round {round}");
            let body = if round % 8 == 7 { stream_of(&content, "") } else { chat(&content) };
            let answer = client.ask(&post(&body));
            assert_eq!((answer.status, answer.whole), (200, true), "{}", answer.text());
            Expectation::new(body.as_bytes(), None).expect("good").check(&answer.body).expect("its own answer");
            client.received.clear();
        }
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS).map(|number| scope.spawn(move || one_client(number))).collect();
        for client in clients {
            client.join().expect("no request failed");
        }
    });
}

/// Established connections to a loopback port: the gateway's own to its provider, which it keeps on purpose.
fn connections_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux tells of its connections");
    let is_ours = |line: &&str| {
        let mut columns = line.split_whitespace().skip(2);
        let remote = columns.next().is_some_and(|remote| remote.ends_with(&format!(":{port:04X}")));
        remote && columns.next() == Some("01")
    };
    table.lines().filter(is_ours).count()
}

fn soak(requests: usize) {
    let simulator = Simulator::builder().counters_only().threads(2).start().expect("a loopback port");
    let gateway = Gateway::builder().provider("openai", &simulator).workers(2).start();
    let (at_start, sockets_at_start) = (gateway.descriptors(), gateway.sockets());
    // Warm: the pools have their connections, the allocator its arenas.
    storm(&gateway, CONNECTIONS * 16);
    std::thread::sleep(Duration::from_millis(500));
    let resident = gateway.resident_bytes();
    let began = Instant::now();
    storm(&gateway, requests);
    let took = began.elapsed();
    let kept = || connections_to(simulator.addr().port());
    let sessions = || gateway.sockets().saturating_sub(kept() + sockets_at_start);
    wait_until(SOON, "sockets are as many as at the start, but for kept connections", || sessions() <= 1);
    // Beside them the books come to need a few files, each once.
    let unexplained = || gateway.descriptors().saturating_sub(kept() + at_start);
    wait_until(SOON, "descriptors are as many as at the start, but for kept connections", || unexplained() <= 4);
    let grown = gateway.resident_bytes().saturating_sub(resident);
    println!(
        "{requests} requests in {took:?}; descriptors {at_start} -> {}, resident {} KiB + {} KiB",
        gateway.descriptors(),
        resident / 1024,
        grown / 1024
    );
    assert!(grown < 8 * 1024 * 1024, "resident memory grew by {} KiB", grown / 1024);
    assert!(simulator.truth().wait_settled(SOON));
    let counts = simulator.truth().counts();
    let sent = (CONNECTIONS * 16 + requests / CONNECTIONS * CONNECTIONS) as u64;
    assert_eq!((counts.requests, counts.completed), (sent, sent), "each request reached the provider once: {counts:?}");
    assert_eq!(counts.violations, 0);
    assert!(counts.connections_opened <= 2 * CONNECTIONS as u64, "connections are kept: {counts:?}");
}

#[test]
fn three_thousand_requests_leave_nothing_behind() {
    soak(3_008);
}

#[test]
#[ignore = "takes minutes in a debug build; run it with `cargo test --release --test soak -- --ignored`"]
fn fifty_thousand_requests_leave_nothing_behind() {
    soak(50_048);
}
