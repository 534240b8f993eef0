//! The command line: what was typed, checked and turned into a plan. One file for each command.

mod compare;
mod doctor;
mod mock;
mod outputs;
mod overhead;
mod plan;
mod report;
mod run;
mod search;
mod selftest;
mod signals;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Measures LLM endpoints and gateways under load, and plays the provider behind them.
#[derive(Debug, Parser)]
#[command(name = "igris-load", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send requests on a schedule or in a closed loop and report latencies, tokens and outcomes.
    Run(Box<run::RunArguments>),
    /// Tell what a gateway adds: pairs of requests, one direct and one through it.
    Overhead(Box<overhead::OverheadArguments>),
    /// Find the highest rate that meets an objective.
    Search(Box<search::SearchArguments>),
    /// Say whether one result is better than another, worse, the same, or nobody can tell.
    Compare(Box<compare::CompareArguments>),
    /// Render a result again: text, HTML, PNG and the rest.
    Report(Box<report::ReportArguments>),
    /// Be a strict simulated provider until interrupted.
    Mock(Box<mock::MockArguments>),
    /// Measure known truths and tell the tester's own error.
    Selftest(Box<selftest::SelftestArguments>),
    /// Say what about this machine will hurt a measurement.
    Doctor(Box<doctor::DoctorArguments>),
}

/// How a command ended, as its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 0.
    Fine,
    /// 1: requests failed.
    Failed,
    /// 3: an objective or threshold was not met.
    Missed,
    /// 4: the rig was not fit to measure; its figures mean nothing.
    Invalid,
    /// 5: worse than what it was compared with.
    Regression,
    /// 6: the data cannot tell.
    Inconclusive,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        Self::from(match verdict {
            Verdict::Fine => 0,
            Verdict::Failed => 1,
            Verdict::Missed => 3,
            Verdict::Invalid => 4,
            Verdict::Regression => 5,
            Verdict::Inconclusive => 6,
        })
    }
}

/// What went wrong and whose it is.
pub enum Fault {
    /// Exit code 2.
    Usage(anyhow::Error),
    /// Exit code 1.
    Failure(anyhow::Error),
}

impl Arguments {
    /// Does what was asked and says how it went.
    pub fn execute(self) -> ExitCode {
        let done = match self.command {
            Command::Run(arguments) => arguments.execute(),
            Command::Overhead(arguments) => arguments.execute(),
            Command::Search(arguments) => arguments.execute(),
            Command::Compare(arguments) => arguments.execute(),
            Command::Report(arguments) => arguments.execute(),
            Command::Mock(arguments) => arguments.execute(),
            Command::Selftest(arguments) => arguments.execute(),
            Command::Doctor(arguments) => arguments.execute(),
        };
        match done {
            Ok(verdict) => verdict.into(),
            Err(Fault::Usage(reason)) => complain(&reason, 2),
            Err(Fault::Failure(reason)) => complain(&reason, 1),
        }
    }
}

fn complain(reason: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("igris-load: {reason:#}");
    ExitCode::from(code)
}
