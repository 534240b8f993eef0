//! A tester that cannot keep up must say so: its stamp is not VALID when its figures are wrong.

use super::check::{Check, Figure};
use super::probe::{Row, plan, run, run_held};
use super::server::{Script, Server};
use super::{Extent, tail};
use crate::measure::Stamp;
use crate::stats::{quantile, sorted};
use crate::workload::{Arrivals, Span};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Requests a second.
const RATE: f64 = 200.0;
/// What the slowed tester wastes on each: more than there is time for.
const WASTE: Duration = Duration::from_millis(8);
/// The error of p99 from which VALID would be a lie.
const WRONG_SHARE: f64 = 0.5;
/// How long the server thinks.
const THINKS: Duration = Duration::from_millis(5);

/// A tester slowed on purpose, and one beside threads that take every core.
pub(super) fn check(extent: Extent) -> anyhow::Result<Check> {
    let server = Server::start(Script::fixed(THINKS))?;
    let mut plan = plan(&server.url(), Arrivals::Constant { rate: RATE }, 256);
    plan.duration = Some(Span(extent.seconds(2.0)));
    let slowed = run_held(&plan, WASTE)?;
    let remark = format!(
        "A tester that wastes {} ms on each of {RATE:.0} answers a second says {}.",
        WASTE.as_millis(),
        said(&slowed.stamp)
    );
    let caught =
        Figure::equal("a slowed tester is not VALID", "verdicts", 1, u64::from(!slowed.stamp.reasons().is_empty()));
    let crowd = Crowd::of(2 * thread::available_parallelism().map_or(1, usize::from));
    let server = Server::start(Script::fixed(THINKS))?;
    plan.endpoints[0].url = server.url();
    let crowded = run(&plan);
    drop(crowd);
    let (crowded, served) = (crowded?, tail(&server));
    let p99 = |times: Vec<f64>| quantile(&sorted(times), 0.99).unwrap_or(f64::NAN);
    let truth = p99(served.iter().map(|served| served.last as f64).collect());
    let off = p99(crowded.times(Row::e2e)) / truth - 1.0;
    let lied = crowded.stamp.reasons().is_empty() && off.abs() > WRONG_SHARE;
    let honest =
        Figure::equal("beside busy threads it does not lie", "verdicts", 1, u64::from(!lied && off.is_finite()));
    let other = format!(
        "Beside two busy threads a core its p99 was off by {:+.0} %, and it says {}.",
        off * 100.0,
        said(&crowded.stamp)
    );
    let claim = "A tester that could not keep up does not say VALID.";
    Ok(Check::new("starvation", claim, vec![caught, honest]).remark(remark).remark(other))
}

/// A stamp on one line: its word and what was found.
fn said(stamp: &Stamp) -> String {
    let checks: Vec<_> = stamp.reasons().iter().map(|reason| reason.check.as_str()).collect();
    if checks.is_empty() { stamp.word().into() } else { format!("{} ({})", stamp.word(), checks.join(", ")) }
}

/// Threads that do nothing as fast as they can, until dropped.
struct Crowd(Arc<AtomicBool>, Vec<thread::JoinHandle<()>>);

impl Crowd {
    fn of(count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let spin = |_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        let threads = (0..count.min(64)).map(spin).collect();
        Self(stop, threads)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        for thread in self.1.drain(..) {
            drop(thread.join());
        }
    }
}
