//! A client that hangs up costs nothing more: the provider's connection is closed at once, and the gateway goes on (rule L5).

mod support;

use igris_load::Simulator;
use igris_load::simulator::{Behaviour, Fault, Outcome, When};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
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

/// The books have exactly so many attempts, and no more come.
fn must_be_booked(gateway: &Gateway, attempts: u64) {
    let booked = || gateway.page("/v1/tenants/default/usage").json()["attempts"].as_u64();
    wait_until(SOON, "the attempts are in the books", || booked() == Some(attempts));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(booked(), Some(attempts));
}

/// An address where nobody takes connections: its queue is full. The connections that fill it come along.
fn deaf_listener() -> (SocketAddr, Vec<TcpStream>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a loopback port");
    socket.listen(0).expect("it listens");
    let address = socket.local_addr().expect("bound").as_socket().expect("an IP address");
    let mut filling = Vec::new();
    while let Ok(connection) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        filling.push(connection);
    }
    filling.push(TcpStream::from(socket));
    (address, filling)
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
fn a_client_that_leaves_while_a_connection_is_made_is_not_kept() {
    let (provider, _filling) = deaf_listener();
    let gateway = Gateway::builder().own_provider("p1", &format!("http://{provider}/v1"), "").start();
    let mut client = gateway.client();
    client.send(&post(&chat("nobody picks up")));
    std::thread::sleep(Duration::from_millis(200));
    // The page of the admin socket is no exchange.
    assert_eq!(gateway.admin("/status").json()["exchanges"], 1, "it waits for a connection");
    let gone = Instant::now();
    drop(client);
    wait_until(SOON, "the exchange ends", || gateway.admin("/status").json()["exchanges"] == 0);
    let took = gone.elapsed();
    println!("while connecting: the exchange ended after {took:?}");
    assert!(took < PROMISED + SLACK, "{took:?}");
    must_be_booked(&gateway, 1);
}

#[test]
fn a_client_that_leaves_inside_a_unary_answer_ends_the_work() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
    let provider = listener.local_addr().expect("bound");
    let (begun, has_begun) = mpsc::channel();
    let half = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut room = [0; 8 * 1024];
        let read = stream.read(&mut room).expect("a request");
        assert!(read > 0);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"id\":";
        stream.write_all(head.as_bytes()).expect("sent");
        begun.send(()).expect("awaited");
        while stream.read(&mut room).is_ok_and(|read| read > 0) {}
        Instant::now()
    });
    let gateway = Gateway::builder().own_provider("p1", &format!("http://{provider}/v1"), "").start();
    let mut client = gateway.client();
    client.send(&post(&chat("half an answer")));
    has_begun.recv_timeout(SOON).expect("the provider is asked");
    std::thread::sleep(Duration::from_millis(50));
    let gone = Instant::now();
    drop(client);
    let took = half.join().expect("no panic") - gone;
    println!("inside a unary answer: the provider's connection was closed after {took:?}");
    assert!(took < PROMISED + SLACK, "{took:?}");
    must_be_booked(&gateway, 1);
}

#[test]
fn a_client_that_leaves_during_the_second_attempt_ends_that_one_and_both_are_counted_once() {
    let first = Simulator::builder().fault(Fault::status(500), When::Always).start().expect("a loopback port");
    let second = simulator();
    let gateway = Gateway::builder()
        .own_provider("p1", &first.base_url(), "")
        .own_provider("p2", &second.base_url(), "")
        .ordered(&["p1", "p2"])
        .start();
    let mut client = gateway.client();
    client.send(&post(&chat_of("any", "patience", r#","user":"sim:latency=8s""#)));
    assert!(second.truth().wait_arrived(1, SOON));
    hang_up(client, &second, 1, "during the second attempt");
    must_be_booked(&gateway, 2);
    assert_eq!(first.truth().counts().requests, 1);
}

#[test]
fn clients_that_leave_around_a_back_off_leave_books_that_balance() {
    // A provider that stands alone and fails is asked once more after up to 50 ms.
    let simulator = Simulator::builder().fault(Fault::status(500), When::Always).start().expect("a loopback port");
    let gateway = Gateway::before(&simulator);
    let rounds = 20;
    for round in 0..rounds {
        let before = simulator.truth().counts().requests;
        let mut client = gateway.client();
        client.send(&post(&chat("over soon")));
        assert!(simulator.truth().wait_arrived(before + 1, SOON));
        std::thread::sleep(Duration::from_millis(3 * round));
        drop(client);
        wait_until(SOON, "the exchange ends", || gateway.admin("/status").json()["exchanges"] == 0);
    }
    assert!(simulator.truth().wait_settled(SOON));
    // An attempt that was cut before its first byte had left is in the books and was never seen by the provider.
    let asked = simulator.truth().counts().requests;
    std::thread::sleep(Duration::from_millis(500));
    let booked = gateway.page("/v1/tenants/default/usage").json()["attempts"].as_u64().expect("a figure");
    assert!(rounds <= asked && asked <= booked && booked <= 2 * rounds, "{rounds} {asked} {booked}");
    must_be_booked(&gateway, booked);
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
