//! The situations: what providers do to those who route to them.

use super::world::{Scenario, Truth, USUAL};

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "steady", scripts: &[slow_and_cheap, middling, fast_and_dear], seconds: 120.0, rate: 10.0 },
    Scenario { name: "brown-out", scripts: &[browns_out, middling, slow_and_cheap], seconds: 120.0, rate: 10.0 },
    Scenario { name: "flapping", scripts: &[flaps, middling, slow_and_cheap], seconds: 120.0, rate: 10.0 },
    Scenario { name: "quota", scripts: &[good_but_rationed, middling, slow_and_cheap], seconds: 120.0, rate: 10.0 },
    Scenario { name: "drift", scripts: &[slows_down, speeds_up, middling], seconds: 120.0, rate: 10.0 },
    Scenario {
        name: "cold start",
        scripts: &[dead, half_dead, slow_and_cheap, fast_and_dear, good, middling],
        seconds: 60.0,
        rate: 10.0,
    },
    Scenario { name: "price change", scripts: &[becomes_dear, becomes_cheap, middling], seconds: 120.0, rate: 10.0 },
];

fn slow_and_cheap(_: f64) -> Truth {
    Truth { median_ms: 1_100.0, price: 150.0, quality: 0.2, ..USUAL }
}

fn middling(_: f64) -> Truth {
    Truth { median_ms: 550.0, price: 420.0, quality: 0.9, ..USUAL }
}

fn fast_and_dear(_: f64) -> Truth {
    Truth { median_ms: 250.0, price: 900.0, quality: 0.6, ..USUAL }
}

fn good(_: f64) -> Truth {
    Truth { median_ms: 280.0, price: 200.0, quality: 0.4, ..USUAL }
}

fn browns_out(seconds: f64) -> Truth {
    match seconds {
        40.0..80.0 => Truth { median_ms: 1_700.0, fails: 0.35, fail_ms: 1_000.0, ..good(seconds) },
        _ => good(seconds),
    }
}

/// Down for six seconds of every seventeen.
fn flaps(seconds: f64) -> Truth {
    match seconds % 17.0 {
        11.0.. => Truth { fails: 1.0, fail_ms: 40.0, ..good(seconds) },
        _ => good(seconds),
    }
}

/// Takes half of what comes.
fn good_but_rationed(seconds: f64) -> Truth {
    Truth { quota: 50, ..good(seconds) }
}

fn slows_down(seconds: f64) -> Truth {
    Truth { median_ms: 250.0 + 10.0 * seconds, ..USUAL }
}

fn speeds_up(seconds: f64) -> Truth {
    Truth { median_ms: 1_450.0 - 10.0 * seconds, ..USUAL }
}

fn dead(_: f64) -> Truth {
    Truth { fails: 1.0, fail_ms: 300.0, price: 100.0, quality: 0.2, ..USUAL }
}

fn half_dead(_: f64) -> Truth {
    Truth { fails: 0.5, median_ms: 300.0, price: 120.0, quality: 0.3, ..USUAL }
}

fn becomes_dear(seconds: f64) -> Truth {
    Truth { price: if seconds < 60.0 { 150.0 } else { 1_500.0 }, ..USUAL }
}

fn becomes_cheap(seconds: f64) -> Truth {
    Truth { price: if seconds < 60.0 { 1_500.0 } else { 150.0 }, ..USUAL }
}
