//! Whatever instant the process is killed at, it starts again and nothing that it said is untrue: what was acknowledged is there, what was
//! under way is wholly there or not at all (rules V8, C3, L10).
//!
//! A driver does things over the admin socket, one after the other, while the process is killed after a random while, sometimes again
//! before it is ready. After each restart every promise is checked. `IGRIS_CRASHES` says how often, `IGRIS_SEED` with which dice; both are
//! printed.

mod crash {
    pub mod book;
    pub mod driver;
    pub mod promises;
}
mod support;

use crash::book::Book;
use crash::driver::{Able, Driver};
use crash::promises;
use igris_load::Simulator;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::Gateway;

/// Kills in the usual run; the whole proof takes two hundred.
const CRASHES: u64 = 20;
/// The longest life between two kills: some dozen operations.
const LIFE_MS_MAX: u64 = 400;
/// One of so many restarts is killed again before it is ready.
const AGAIN: u32 = 4;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
fn what_was_acknowledged_survives_a_kill_at_any_instant() {
    let crashes = number("IGRIS_CRASHES").unwrap_or(CRASHES);
    let seed = number("IGRIS_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("IGRIS_CRASHES={crashes} IGRIS_SEED={seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let simulator = Simulator::builder().start().expect("a loopback port");
    let mut gateway = Gateway::builder().provider("openai", &simulator).start();
    let able = Able::of(&gateway);
    println!("{able:?}");
    let mut book = Book::default();
    Driver::new(&gateway, &mut book, able, fastrand::Rng::with_seed(dice.u64(..))).prepare();
    promises::check(&gateway, &simulator, &mut book, able);
    for crash in 1..=crashes {
        let (life, seed) = (Duration::from_millis(dice.u64(1..LIFE_MS_MAX)), dice.u64(..));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let mut driver = Driver::new(&gateway, &mut book, able, fastrand::Rng::with_seed(seed));
            let stop = &stop;
            let driving = scope.spawn(move || driver.drive(stop));
            std::thread::sleep(life);
            gateway.kill();
            stop.store(true, Ordering::Relaxed);
            driving.join().expect("no operation was answered wrongly");
        });
        promises::check_files(&gateway);
        let early = (dice.u32(..AGAIN) == 0).then(|| Duration::from_millis(dice.u64(1..100)));
        if let Some(after) = early {
            gateway.restart_and_kill(after);
        }
        println!("crash {crash}: {life:?} after the last, {:?} under way, again {early:?}", book.under_way);
        gateway.restart();
        promises::check(&gateway, &simulator, &mut book, able);
    }
    println!("{} operations were acknowledged, {} were cut off", book.acknowledged, book.cut_off);
    assert!(book.acknowledged > 0, "some operations come through between two kills");
    assert_eq!(simulator.truth().counts().violations, 0);
}
