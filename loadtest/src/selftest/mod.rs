//! What the tester itself gets wrong, against known truths: fixed delays, a stall with a calculated answer, a server compared with
//! itself, an effect of known size, a tester without time, faults and tokens that the other side has counted.
//!
//! Truth is what a small scripted server wrote down while it did it, or the simulator's own log; never what the tester says.

mod check;
mod delays;
mod effects;
mod omission;
mod outcomes;
mod probe;
mod server;
mod starvation;

pub use check::{Check, Figure, OwnError, Selftest};

use std::time::Duration;

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// A third of the time and of the requests: enough to see what is broken, too little for a p99 to quote.
    pub quick: bool,
    /// Decides what is drawn.
    pub seed: u64,
}

impl Extent {
    fn seconds(self, whole: f64) -> Duration {
        Duration::from_secs_f64(if self.quick { whole / 3.0 } else { whole })
    }
}

/// Runs every check, telling each as it ends.
///
/// # Errors
/// A port, a thread or the engine could not be had: nothing was measured.
pub fn examine(extent: Extent, mut tell: impl FnMut(&Check)) -> anyhow::Result<Selftest> {
    let checks: [fn(Extent) -> anyhow::Result<Check>; 7] = [
        delays::check,
        omission::check,
        effects::null,
        effects::injected,
        starvation::check,
        outcomes::taxonomy,
        outcomes::tokens,
    ];
    let mut done = Vec::with_capacity(checks.len());
    for check in checks {
        let check = check(extent)?;
        tell(&check);
        done.push(check);
    }
    Ok(Selftest::of(done))
}

/// The check of coordinated omission alone.
///
/// # Errors
/// A port, a thread or the engine could not be had.
pub fn omission(extent: Extent) -> anyhow::Result<Check> {
    omission::check(extent)
}

/// What a server did, once it has written down its last answer: the tester may hold an answer a moment before the server notes it.
fn tail(server: &server::Server) -> Vec<server::Served> {
    let mut known = server.served();
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(2));
        let now = server.served();
        if now.len() == known.len() {
            return now;
        }
        known = now;
    }
    known
}
