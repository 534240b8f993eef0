//! What the dialects cost on the tester's hot path: an event read, a request written.
//!
//! The figures are printed, not judged, since they belong to a machine and a build:
//! `cargo test -p igris-load --release --test dialect_cost -- --ignored --nocapture`.
#![cfg(feature = "load")]

mod wire;

use igris_load::Simulator;
use igris_load::dialect::{Address, Dialect, Reading, compose};
use igris_load::workload::{Ask, Role, Turn};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::time::Duration;
use wire::exchange;

const TOKENS: u32 = 1000;
const ROUNDS: u32 = 300;

fn ask(dialect: Dialect, stream: bool) -> Ask {
    let padding = "The quiet engine carries a letter between two cities. ".repeat(37);
    Ask {
        index: 0,
        endpoint: 0,
        tenant: 0,
        share: 0,
        dialect,
        model: dialect.default_model().into(),
        stream,
        include_usage: true,
        system: None,
        turns: vec![Turn { role: Role::User, text: format!("sim:tokens={TOKENS} {padding}").into() }],
        output_tokens: Some(2 * TOKENS),
        tools: 0,
        session: None,
    }
}

/// What this thread has used of a processor: other work on the machine is not in it.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

#[test]
#[ignore = "prints figures, which mean something in a release build only"]
fn events_and_requests_cost_little() {
    for dialect in Dialect::ALL {
        let simulator = Simulator::builder().dialect(dialect.surface()).start().expect("a loopback port");
        let address = Address { host: simulator.addr().to_string(), path: String::new() };
        let mut request = Vec::new();
        let key = "ABSKQmVkcm9ja0FQSUtleS0wMTIzNDU2Nzg5";
        let [stream, unary] = [true, false].map(|stream| {
            let ask = ask(dialect, stream);
            request.clear();
            compose(&ask, &address, key, &mut request);
            let line = request.iter().position(|byte| *byte == b'\n').expect("a request line") + 1;
            let request = [&request[..line], b"connection: close\r\n", &request[line..]].concat();
            (ask, exchange(&simulator, &request))
        });
        let cost = |rounds: u32, work: &mut dyn FnMut()| {
            let started = cpu_time();
            (0..rounds).for_each(|_| work());
            (cpu_time() - started).as_nanos() as f64 / f64::from(rounds)
        };
        let read = |(ask, reply): &(Ask, wire::Reply), piece: usize| {
            let kind = reply.field("content-type").unwrap_or_default();
            let mut reading = Reading::new(ask, reply.status, kind, false);
            let mut generated = 0;
            for bytes in reply.body.chunks(piece) {
                generated += reading.push(bytes).generated;
            }
            (generated, reading.finish().expect("a good answer"))
        };
        assert_eq!(read(&stream, 512).0, TOKENS, "{dialect}");
        let whole = cost(ROUNDS, &mut || drop(black_box(read(&stream, 16 * 1024))));
        let split = cost(ROUNDS, &mut || drop(black_box(read(&stream, 256))));
        let answer = cost(ROUNDS, &mut || drop(black_box(read(&unary, 16 * 1024))));
        let write = cost(100 * ROUNDS, &mut || {
            request.clear();
            compose(black_box(&unary.0), &address, key, &mut request);
        });
        let event = |nanos: f64| nanos / f64::from(TOKENS);
        println!(
            "{dialect:<9}  event {:>4.0} ns, in pieces of 256 bytes {:>4.0} ns ({} bytes each); whole answer of {} bytes \
             {:>6.0} ns; request of {} bytes {:>4.0} ns",
            event(whole),
            event(split),
            stream.1.body.len() / TOKENS as usize,
            unary.1.body.len(),
            answer,
            request.len(),
            write
        );
    }
}
