//! The dashboard and the load report in a real browser: `tests/browser/*.test.mjs`, run by node against Debian's chromium, one after the other.
//!
//! A test file finds what it needs in the environment: `IGRIS` and `IGRIS_LOAD` (programs), `CHROMIUM` (the browser),
//! `IGRIS_SCRATCH` (an empty folder of its own).

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::place::{Place, names_in};
use crate::steps::{Outcome, Steps};
use crate::{debian, process, rust, sdk};

const LIMIT: Duration = Duration::from_secs(300);

/// Runs the dashboard's tests where there are any and a browser can be had.
pub fn run(place: &Place, steps: &mut Steps) {
    steps.step("browser", || {
        let folder = place.root.join("tests/browser");
        let files: Vec<String> = names_in(&folder).into_iter().filter(|name| name.ends_with(".test.mjs")).collect();
        if files.is_empty() {
            return Ok(Outcome::Skipped("there are no dashboard tests (tests/browser/*.test.mjs)".to_owned()));
        }
        if let Err(why) = sdk::node_is_present() {
            return Ok(Outcome::Skipped(why));
        }
        let chromium = match debian::program("chromium", "chromium") {
            Ok(path) => path,
            Err(why) => return Ok(Outcome::Skipped(why)),
        };
        rust::build_programs(place)?;
        let scratch = place.scratch("browser");
        fs::remove_dir_all(&scratch).ok();
        fs::create_dir_all(&scratch)?;
        let mut command = Command::new("node");
        command.current_dir(&folder).args(["--test", "--test-concurrency=1", "--test-reporter=tap"]).args(&files);
        command.env("CHROMIUM", chromium).env("IGRIS_SCRATCH", &scratch);
        sdk::with_programs(place, &mut command);
        let outcome = Outcome::of(&process::run(&mut command, LIMIT)?);
        println!("pictures of every page: {}", scratch.join("pictures").display());
        Ok(outcome)
    });
}
