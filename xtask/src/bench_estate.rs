//! `bench estate`: what a large estate costs. Its parts are tests of the repository that print figures: the control plane alone at ten
//! thousand, a hundred thousand and a million access keys, and reloads of ten thousand tenants and a thousand routes under load.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::place::Place;
use crate::process;
use crate::rust;

const LIMIT: Duration = Duration::from_secs(1_800);
/// Access keys of the control plane's estates.
const KEYS: [&str; 3] = ["10000", "100000", "1000000"];

/// Runs the bench.
///
/// # Errors
/// An option, or a part that fails.
pub fn run(place: &Place, words: &[&str]) -> Result<ExitCode> {
    let profile = match words {
        [] => "fast",
        ["--profile", profile] => profile,
        _ => bail!("`bench estate` takes `--profile NAME` and nothing else"),
    };
    for keys in KEYS {
        println!("\n==> the control plane with {keys} access keys, 10000 tenants and 1000 routes");
        let words = ["test", "--locked", "--profile", profile, "--lib", "how_much_a_large_estate_costs"];
        let mut command = rust::cargo(place, &words);
        command.args(["--", "--ignored", "--nocapture"]).env("IGRIS_ESTATE_KEYS", keys);
        ensure!(process::run(&mut command, LIMIT)?.ok, "the figures were not taken");
    }
    println!("\n==> reloads under load, 100000 access keys, 10000 tenants, 1000 routes");
    let words =
        ["test", "--locked", "--profile", profile, "--test", "estate", "--", "--nocapture", "--test-threads", "1"];
    let mut command = rust::cargo(place, &words);
    let sizes = [("KEYS", "100000"), ("TENANTS", "10000"), ("ROUTES", "1000"), ("RATE", "1000"), ("SECONDS", "20")];
    command.envs(sizes.map(|(name, value)| (format!("IGRIS_ESTATE_{name}"), value)));
    ensure!(process::run(&mut command, LIMIT)?.ok, "the figures were not taken");
    Ok(ExitCode::SUCCESS)
}
