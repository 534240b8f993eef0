//! Prometheus's own opinion: `promtool check metrics` on a page that the tests have scraped, and `promtool check rules` on the alerts.

use std::fs::File;
use std::process::{Command, Stdio};

use crate::counts::Counts;
use crate::debian;
use crate::place::Place;
use crate::steps::{Outcome, Steps};

/// Where `tests/observability/scrapes.rs` leaves a page, below cargo's folder for what tests make.
const PAGE: &str = "tmp/metrics.prom";
/// The alert rules.
const RULES: &str = "config/prometheus/alerts.yml";

/// Runs both where promtool can be had.
pub fn run(place: &Place, steps: &mut Steps) {
    steps.step("promtool", || {
        let promtool = match debian::program("promtool", "prometheus") {
            Ok(path) => path,
            Err(why) => return Ok(Outcome::Skipped(why)),
        };
        let Ok(page) = File::open(place.target.join(PAGE)) else {
            return Ok(Outcome::Skipped("no test has scraped a page yet (tests/observability)".to_owned()));
        };
        let mut rules = Command::new(&promtool);
        rules.current_dir(&place.root).args(["check", "rules", RULES]);
        let mut metrics = Command::new(&promtool);
        metrics.args(["check", "metrics"]).stdin(Stdio::from(page));
        let mut passed = 0;
        for command in [&mut rules, &mut metrics] {
            let output = command.output()?;
            let said = [output.stdout, output.stderr].concat();
            println!("{}", String::from_utf8_lossy(&said));
            if !output.status.success() {
                let counts = Counts { passed, failed: 1, skipped: 0 };
                return Ok(Outcome::Failed(counts, "promtool finds fault".to_owned()));
            }
            passed += 1;
        }
        Ok(Outcome::Passed(Counts { passed, failed: 0, skipped: 0 }))
    });
}
