//! A client that hangs up costs nothing more: the provider's connection is closed at once, and the gateway goes on (rule L5).

mod support;

use igris_load::Simulator;
use igris_load::simulator::{Behaviour, Outcome};
use std::net::Shutdown;
use std::time::{Duration, Instant};
use support::{ACCESS_KEY, Client, Gateway, SOON, bearer, chat, chat_of, post, stream_of, wait_until};

/// What rule L5 allows.
const PROMISED: Duration = Duration::from_millis(100);
/// What a busy test machine may add to it.
const SLACK: Duration = Duration::from_millis(200);

fn simulator() -> Simulator {
    Simulator::builder().behaviour(Behaviour::default()).start().expect("a loopback port")
}

/// Hangs up and measures until the simulator has seen it.
fn hang_up(client: Client, simulator: &Simulator, ended: u64, what: &str) {
    let gone = Instant::now();
    drop(client);
    assert!(simulator.truth().wait_ended(ended, SOON), "{what}: the provider was never told");
    let took = gone.elapsed();
    println!("{what}: the provider's connection was closed after {took:?}");
    assert!(took < PROMISED + SLACK, "{what}: {took:?}");
    let record = simulator.truth().last().expect("a request arrived");
    assert!(matches!(record.outcome, Outcome::ClientClosed { .. }), "{what}: {:?}", record.outcome);
}

fn must_serve(gateway: &Gateway) {
    let answer = gateway.chat(&chat("and on"));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_client_that_leaves_before_its_request_is_whole_reaches_nobody() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let request = post(&chat("never finished"));
    for bytes in [1, 20, request.len() - 60, request.len() - 1] {
        let mut client = gateway.client();
        client.send(&request[..bytes]);
        std::thread::sleep(Duration::from_millis(20));
        drop(client);
    }
    must_serve(&gateway);
    assert_eq!(simulator.truth().counts().requests, 1, "only the whole request was passed on");
}

#[test]
fn a_client_that_leaves_while_it_waits_ends_the_work() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    for (round, members) in
        [r#","user":"sim:latency=8s""#, r#","stream":true,"user":"sim:latency=8s""#].into_iter().enumerate()
    {
        let mut client = gateway.client();
        client.send(&post(&chat_of("gpt-4o", "patience", members)));
        let round = 2 * round as u64 + 1;
        assert!(simulator.truth().wait_arrived(round, SOON));
        std::thread::sleep(Duration::from_millis(50));
        hang_up(client, &simulator, round, members);
        must_serve(&gateway);
        assert!(simulator.truth().wait_ended(round + 1, SOON));
    }
}

#[test]
fn a_client_that_leaves_mid_stream_ends_the_work() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let mut client = gateway.client();
    client.send(&post(&stream_of("on and on", r#","user":"sim:tokens=2000;gap=20ms""#)));
    client.read_bytes(3_000);
    hang_up(client, &simulator, 1, "mid stream");
    let record = simulator.truth().last().expect("a request arrived");
    assert!(record.events < 200, "{} events were made for nobody", record.events);
    must_serve(&gateway);
}

#[test]
fn a_client_that_leaves_inside_a_long_silence_ends_the_work() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let mut client = gateway.client();
    client.send(&post(&stream_of("silence", r#","user":"sim:fault=stall@3""#)));
    client.read_bytes(500);
    std::thread::sleep(Duration::from_millis(100));
    let gone = Instant::now();
    drop(client);
    assert!(simulator.truth().wait_ended(1, SOON), "the provider was never told");
    let took = gone.elapsed();
    println!("inside a silence: the provider's connection was closed after {took:?}");
    assert!(took < PROMISED + SLACK, "{took:?}");
    must_serve(&gateway);
}

#[test]
fn a_client_that_only_stops_sending_is_taken_for_gone() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let mut client = gateway.client();
    client.send(&post(&chat_of("gpt-4o", "half", r#","user":"sim:latency=8s""#)));
    assert!(simulator.truth().wait_arrived(1, SOON));
    client.finish_sending();
    assert!(simulator.truth().wait_ended(1, SOON));
    assert!(client.closes_within(SOON));
    must_serve(&gateway);
}

#[test]
fn a_client_that_does_not_read_is_cut_and_so_is_its_provider() {
    let simulator = simulator();
    let gateway = Gateway::builder().provider("openai", &simulator).limits("client_stall_deadline = \"500ms\"").start();
    let tcp = std::net::TcpStream::connect(gateway.address()).expect("it listens");
    let request = post(&stream_of("deaf", r#","user":"sim:tokens=900000""#));
    std::io::Write::write_all(&mut &tcp, &request).expect("it reads");
    assert!(simulator.truth().wait_ended(1, Duration::from_secs(20)), "a deaf client held its provider");
    must_serve(&gateway);
    let _ = tcp.shutdown(Shutdown::Both);
}

#[test]
fn many_clients_that_leave_at_once_leave_nothing_behind() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    must_serve(&gateway);
    let idle = gateway.descriptors();
    let clients: Vec<Client> = (0..40)
        .map(|number| {
            let mut client = gateway.client();
            let body = if number % 2 == 0 {
                stream_of("x", r#","user":"sim:tokens=500;gap=20ms""#)
            } else {
                chat_of("gpt-4o", "x", r#","user":"sim:latency=8s""#)
            };
            client.send(&support::post_with("/v1/chat/completions", &bearer(ACCESS_KEY), body.as_bytes()));
            client
        })
        .collect();
    assert!(simulator.truth().wait_arrived(41, SOON));
    drop(clients);
    assert!(simulator.truth().wait_ended(41, SOON), "{:?}", simulator.truth().counts());
    must_serve(&gateway);
    wait_until(SOON, "descriptors are given back", || gateway.descriptors() <= idle + 2);
}
