#![cfg(feature = "load")]
//! What is recorded takes no memory: ten million requests weigh what the first few hundred thousand do (one million where
//! nothing is optimised, which takes its time). Alone in its process, since it looks at the whole process' resident memory.

use igris_load::engine::{Done, Observer as _};
use igris_load::measure::{Collector, Outcome, Recorder, Usage};
use igris_load::workload::{Plan, Share, Source, Tenant};

/// Requests of each measured second.
const PER_SECOND: u64 = 50_000;
const REQUESTS: u64 = if cfg!(debug_assertions) { 1_000_000 } else { 10_000_000 };
/// After so many every bucket that there will be has been touched.
const FIRST: u64 = 300_000;

#[test]
fn all_requests_take_the_memory_of_the_first() {
    let plan = Plan { traffic: vec![Share::default(); 3], tenants: vec![Tenant::default(); 3], ..Plan::default() };
    let collector = Collector::start(&plan, |_| {}).expect("a thread");
    let mut recorder = Recorder::for_plan(&plan, collector.sender());
    let mut ask = Source::new(&plan, 0, 1).expect("a plan").next_arrival().expect("an arrival").ask;
    let mut record = |from: u64, to: u64| {
        for number in from..to {
            let planned = number * (1_000_000_000 / PER_SECOND);
            // Latencies from microseconds to a minute, so that every bucket is touched early.
            let digest = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let took = 10_000 + (digest >> 32) % (1_u64 << (14 + number % 22));
            (ask.share, ask.tenant) = ((number % 3) as usize, (number / 3 % 3) as usize);
            recorder.gap(true, took / 20);
            recorder.done(&Done {
                ask: &ask,
                counts: true,
                planned,
                sent: Some(planned + 500),
                first_byte: Some(planned + took / 2),
                first_token: Some(planned + took / 2),
                last_token: Some(planned + took),
                longest_gap: Some(took / 20),
                ended: planned + took,
                outcome: if number % 100 == 0 { Outcome::Timeout } else { Outcome::Ok },
                status: 200,
                reason: String::new(),
                events: 12,
                generated: 10,
                input_tokens: Some(20),
                output_tokens: Some(10),
                bytes_out: 300,
                bytes_in: 900,
                connect_ns: (number % 1000 == 0).then_some(40_000),
                overhead_us: Some(took / 1_000_000),
                verified: false,
            });
        }
    };
    record(0, FIRST);
    let resident = || Usage::of(std::process::id()).expect("this process").resident;
    let before = resident();
    record(FIRST, REQUESTS);
    let grown = resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more than {before}");
}
