#![cfg(feature = "load")]
//! `igris-load selftest` on whatever machine this is: what does not depend on its speed must hold, and the rest must be told as it was.

use serde_json::Value;
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_igris-load");

fn check<'a>(json: &'a Value, name: &str) -> &'a Value {
    let checks = json["checks"].as_array().expect("a list");
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no check {name}"))
}

fn figures(check: &Value) -> &Vec<Value> {
    check["figures"].as_array().expect("a list")
}

/// One run for all: it takes a while.
#[test]
fn known_truths_are_measured_and_told() {
    let output = Command::new(PROGRAM).args(["selftest", "--quick", "--json", "-"]).output().expect("the program");
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON alone on standard output");
    let passed = json["passed"].as_bool().expect("a verdict");
    assert_eq!(output.status.code(), Some(if passed { 0 } else { 4 }), "{json:#}");
    // Neither counting nor honesty depends on how busy this machine is.
    for name in ["outcomes", "tokens", "starvation"] {
        assert_eq!(check(&json, name)["passed"], true, "{:#}", check(&json, name));
    }
    let checks = json["checks"].as_array().expect("a list");
    let mut all = true;
    for check in checks {
        let mut every = true;
        for figure in figures(check) {
            let of = |part: &str| figure[part].as_f64().unwrap_or(f64::NAN);
            every &= figure["passed"].as_bool().expect("a verdict");
            assert!((of("measured") - of("truth") - of("error")).abs() < 1e-6, "{figure:#}");
        }
        assert_eq!(check["passed"], every, "{check:#}");
        all &= every;
    }
    assert_eq!(json["passed"], all);
    // Every request of the delays was read, and none was read shorter than it was.
    let delays = figures(check(&json, "delays"));
    assert_eq!(delays.len(), 18);
    for figure in delays {
        let (unit, error) = (figure["unit"].as_str().expect("a word"), figure["error"].as_f64().expect("a number"));
        assert!(
            if unit == "events" {
                error == 0.0
            } else {
                figure["what"].as_str().expect("text").contains("gap") || error > -50.0
            },
            "{figure:#}"
        );
    }
    assert!(json["own_error"]["p99_us"].is_number() && json["stamp"]["verdict"].is_string());
}

/// A stall of 167 ms is charged to those who should have been served in it, and a closed loop would not have seen it.
#[test]
fn the_stall_is_not_omitted() {
    let extent = igris_load::selftest::Extent { quick: true, seed: 1 };
    let check = igris_load::selftest::omission(extent).expect("loopback");
    for figure in check.figures.iter().filter(|figure| figure.what.contains("p99")) {
        assert!(figure.measured > 100_000.0, "{check}");
    }
    assert!(check.remarks[0].contains("closed loop"), "{check}");
}
