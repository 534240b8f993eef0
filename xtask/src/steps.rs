//! The list of steps: each is announced, timed and judged, and all are summed up at the end.
//!
//! The last line printed is `N passed, N failed, N skipped`: tests, counted over every runner. A step whose runner counts
//! no tests (format, lints, docs) appears in the table alone; it still decides the exit code.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::counts::Counts;

/// How a step ended.
pub enum Outcome {
    /// It ran and found nothing wrong.
    Passed(Counts),
    /// It ran and something is wrong; the counts may be known all the same.
    Failed(Counts, String),
    /// It could not run here: one sentence with the reason.
    Skipped(String),
}

struct Step {
    name: String,
    outcome: Outcome,
    time: Duration,
}

/// The steps done so far.
pub struct Steps {
    started: Instant,
    done: Vec<Step>,
}

impl Steps {
    /// An empty list; the clock starts now.
    pub fn new() -> Steps {
        Steps { started: Instant::now(), done: Vec::new() }
    }

    /// Runs one step. An error is a failed step, never the end of the run: later steps still have something to say.
    pub fn step(&mut self, name: &str, body: impl FnOnce() -> Result<Outcome>) {
        println!("\n==> {name}");
        let started = Instant::now();
        let outcome = body().unwrap_or_else(|error| Outcome::Failed(Counts::default(), format!("{error:#}")));
        let time = started.elapsed();
        println!("<== {name}: {} in {:.1} s", outcome.words(), time.as_secs_f64());
        self.done.push(Step { name: name.to_owned(), outcome, time });
    }

    /// Runs two lists of steps beside each other; the table shows one after the other.
    pub fn beside(&mut self, first: impl FnOnce(&mut Steps) + Send, second: impl FnOnce(&mut Steps) + Send) {
        let (mut other, mut own) = (Steps::new(), Steps::new());
        std::thread::scope(|scope| {
            scope.spawn(|| second(&mut other));
            first(&mut own);
        });
        self.done.extend(own.done.into_iter().chain(other.done));
    }

    /// Prints the table and the closing line; the exit code is 1 when any step failed.
    pub fn finish(self) -> ExitCode {
        let width = self.done.iter().map(|step| step.name.len()).max().unwrap_or(0);
        println!("\n{:=<1$}", "", width + 40);
        for step in &self.done {
            println!("{:<width$}  {:>7.1} s  {}", step.name, step.time.as_secs_f64(), step.outcome.words());
        }
        println!("{:<width$}  {:>7.1} s", "total", self.started.elapsed().as_secs_f64());
        println!("\n{}", self.closing_line());
        if self.failed() { ExitCode::from(1) } else { ExitCode::SUCCESS }
    }

    fn failed(&self) -> bool {
        self.done.iter().any(|step| matches!(step.outcome, Outcome::Failed(..)))
    }

    /// A failed step that counted no failed test adds one, so that the line never claims less than the exit code.
    fn closing_line(&self) -> String {
        let mut sum = Counts::default();
        for step in &self.done {
            match &step.outcome {
                Outcome::Passed(counts) => sum += *counts,
                Outcome::Failed(counts, _) => sum += Counts { failed: counts.failed.max(1), ..*counts },
                Outcome::Skipped(_) => sum.skipped += 1,
            }
        }
        format!("{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped)
    }
}

impl Outcome {
    /// Judges a run whose output holds a runner's summary.
    pub fn of(ran: &crate::process::Ran) -> Outcome {
        let counts = Counts::read(&ran.output);
        match ran.ok {
            true => Outcome::Passed(counts),
            false => Outcome::Failed(counts, "see its output above".to_owned()),
        }
    }

    fn words(&self) -> String {
        match self {
            Outcome::Passed(counts) if counts.is_empty() => "ok".to_owned(),
            Outcome::Passed(counts) => format!("ok ({counts})"),
            Outcome::Failed(counts, why) if counts.is_empty() => format!("FAILED: {why}"),
            Outcome::Failed(counts, why) => format!("FAILED ({counts}): {why}"),
            Outcome::Skipped(why) => format!("skipped: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_never_claims_less_than_the_exit_code() {
        let mut steps = Steps::new();
        steps.step("tests", || Ok(Outcome::Passed(Counts { passed: 7, failed: 0, skipped: 1 })));
        assert!(!steps.failed());
        steps.step("lint", || anyhow::bail!("a lint"));
        steps.step("browser", || Ok(Outcome::Skipped("no browser".to_owned())));
        assert!(steps.failed());
        assert_eq!(steps.closing_line(), "7 passed, 1 failed, 2 skipped");
    }
}
