//! Everything changes at once under steady load, and nobody notices: reloads, certificate swaps, upgrades of the binary, and an access key
//! revoked every second, which alone is refused, and only once it is revoked (rules V10, S2, S4, C6).
//!
//! The usual run is small. For the whole proof: `IGRIS_STORM_RATE=2000 IGRIS_STORM_SECONDS=60 IGRIS_STORM_RELOADS=20 IGRIS_STORM_SWAPS=5
//! IGRIS_STORM_UPGRADES=3 cargo test --release --test storm -- --nocapture`.

mod storm {
    pub mod load;
    pub mod operator;
}
mod support;

use igris_load::Simulator;
use igris_load::certs::Authority;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use storm::load::{Load, Victims};
use storm::operator::{Change, Operator};
use support::{Gateway, SOON};

fn number(name: &str, usual: u32) -> u32 {
    let name = format!("IGRIS_STORM_{name}");
    std::env::var(&name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
fn changes_under_load_fail_nobody_but_the_revoked() {
    let (rate, seconds) = (number("RATE", 100), number("SECONDS", 8));
    let changes = [
        (Change::Reload, number("RELOADS", 4)),
        (Change::Swap, number("SWAPS", 2)),
        (Change::Upgrade, number("UPGRADES", 1)),
        (Change::Revoke, seconds),
    ];
    println!("{rate} requests a second for {seconds} s; {changes:?}");
    let start = || Simulator::builder().threads(2).counters_only().latency(Duration::from_millis(2)).start();
    let (first, second) = (start().expect("a loopback port"), start().expect("a loopback port"));
    let authority = Authority::new("storm").expect("the crypto library makes keys");
    let issue = || authority.issue(&["localhost", "127.0.0.1"]).expect("the crypto library signs");
    let pair = issue();
    let gateway = Gateway::builder()
        .own_provider("p1", &first.base_url(), "")
        .own_provider("p2", &second.base_url(), "")
        .ordered(&["p1", "p2"])
        .workers(2)
        .tls()
        .file("cert.pem", &pair.cert_pem)
        .file("key.pem", &pair.key_pem)
        .start();
    let victims = Victims::default();
    let load = Load::new(gateway.address(), &authority, &victims, rate);
    let mut operator = Operator::new(&gateway, &victims);
    // The first is there before the first request.
    operator.make_victim();
    let stop = AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        let loading = scope.spawn(|| load.run(&stop));
        operator.work(&changes, Duration::from_secs(seconds.into()), &issue);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        loading.join().expect("no request failed")
    });
    println!("{outcome}");
    assert!(outcome.served > outcome.refused, "the load was carried: {outcome}");
    assert!(outcome.refused > 0, "revoked keys were shown, too");
    assert!(outcome.handshakes > u64::from(load.clients), "new connections saw the new certificates");
    for simulator in [&first, &second] {
        assert!(simulator.truth().wait_settled(SOON));
        assert_eq!(simulator.truth().counts().violations, 0);
    }
}
