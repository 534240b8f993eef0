//! The books balance: whatever becomes of clients, providers and the process itself, what the providers saw is what the journal closed and
//! what the store added up, for each tenant and to the last unit (rules L1 to L8, L12).
//!
//! Tenants are told apart by the provider keys that they brought. One client in ten hangs up, one answer in ten fails, and the gateway is
//! killed every second or so, and several times in each run. The usual run is small; the whole proof is
//! `IGRIS_BALANCE=100000 cargo test --release --test balance -- --nocapture`. `IGRIS_SEED` throws the same dice again; it is printed.

mod balance {
    pub mod audit;
    pub mod clients;
    pub mod house;
}
mod support;

use balance::audit;
use balance::clients::Clients;
use balance::house::House;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use support::Builder;

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// What happens to the process while it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// SIGKILL, and a new one on the same state.
    Kill,
    /// A hand-over to another process.
    Upgrade,
}

/// Sends requests under blows, and then holds the books against each other.
fn run(requests: u64, blows: &[Blow], more: impl FnOnce(Builder) -> Builder) {
    let seed = number("IGRIS_SEED", fastrand::u64(..));
    let crowd = number("IGRIS_BALANCE_CLIENTS", 12);
    println!("IGRIS_SEED={seed} IGRIS_BALANCE={requests} IGRIS_BALANCE_CLIENTS={crowd}; {blows:?} in turn");
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut house = House::new(seed, more);
    let clients = Clients::new(seed, crowd, requests, house.gateway.address());
    let began = Instant::now();
    let mut struck = 0;
    std::thread::scope(|scope| {
        let crowd = scope.spawn(|| clients.run());
        for blow in blows.iter().cycle() {
            // By time, and by what was asked: a short run on a fast machine is struck as well.
            let until = Instant::now() + Duration::from_millis(dice.u64(700..2_500));
            let enough = clients.sums.sent.load(Ordering::Relaxed) + dice.u64(requests / 8..=requests / 3);
            let is_due = || Instant::now() >= until || clients.sums.sent.load(Ordering::Relaxed) >= enough;
            while !is_due() && !crowd.is_finished() {
                std::thread::sleep(Duration::from_millis(5));
            }
            if crowd.is_finished() {
                break;
            }
            match blow {
                Blow::Kill => house.gateway.restart(),
                Blow::Upgrade => {
                    let answer = house.gateway.upgrade("{}");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
            }
            struck += 1;
            clients.turn_to(house.gateway.address());
        }
        crowd.join().expect("no client panics");
    });
    println!("{struck} blows in {:.1} s; {:?}", began.elapsed().as_secs_f64(), clients.sums);
    assert!(struck > 0, "the run was too short to be struck");
    audit::balance(&mut house);
    // A slow machine loses many to the blows; nothing but answers shows that the rest was not trivial.
    let answered = clients.sums.answered.load(Ordering::Relaxed);
    assert!(answered * 5 > requests, "requests were answered: {answered} of {requests}");
}

fn requests(usual: u64) -> u64 {
    number("IGRIS_BALANCE", usual)
}

#[test]
fn the_books_balance_through_kills() {
    run(requests(1_500), &[Blow::Kill], |builder| builder);
}

#[test]
fn the_books_balance_where_power_loss_is_survived_and_processes_hand_over() {
    let durable = "[ledger]\ndurability = \"power\"\n";
    run(requests(1_500) / 2, &[Blow::Upgrade, Blow::Kill], |builder| builder.config_toml(durable));
}
