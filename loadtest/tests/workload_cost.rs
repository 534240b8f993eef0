//! What an arrival costs on the tester's hot path: its instant, its draws, its words.
//!
//! The figures are printed, not judged, since they belong to a machine and a build:
//! `cargo test -p igris-load --release --test workload_cost -- --ignored --nocapture`.
#![cfg(feature = "load")]

use igris_load::workload::{Arrivals, Plan, Source};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::time::Duration;

const ARRIVALS: u64 = 200_000;

/// What this thread has used of a processor: other work on the machine is not in it.
fn thread_clock() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

#[test]
#[ignore = "prints figures, which mean something in a release build only"]
fn arrivals_cost_little() {
    let table = [
        ("closed, 200 bytes", "[arrivals]\nkind = \"closed\""),
        ("constant, 200 bytes", "[arrivals]\nkind = \"constant\"\nrate = 1000"),
        (
            "Poisson, lognormal lengths",
            "[arrivals]\nkind = \"poisson\"\nrate = 1000\n[[traffic]]\nprompt_tokens = \"lognormal:200,0.6\"\noutput_tokens = \"lognormal:200,0.6\"",
        ),
        (
            "Poisson, sessions, two shares",
            "[arrivals]\nkind = \"poisson\"\nrate = 1000\n[[traffic]]\nturns = \"geometric:3\"\n[[traffic]]\nmodel = \"b\"",
        ),
        (
            "Poisson, 4000 shared tokens",
            "[arrivals]\nkind = \"poisson\"\nrate = 1000\n[[traffic]]\nshared_prefix = 4000\nshared_prefixes = 50",
        ),
    ];
    for (name, text) in table {
        let plan = Plan { requests: Some(ARRIVALS), ..Plan::from_toml(text, name).expect(name) };
        assert!(plan.arrivals == Arrivals::Closed || plan.arrivals.is_open());
        let mut source = Source::new(&plan, 0, 1).expect(name);
        let began = thread_clock();
        let mut given = 0_u64;
        while let Some(arrival) = source.next_arrival() {
            given += 1;
            black_box(arrival);
        }
        let nanos = (thread_clock() - began).as_nanos() as f64 / given as f64;
        println!("{name:<32} {nanos:>7.0} ns an arrival, {given} of them");
    }
}
