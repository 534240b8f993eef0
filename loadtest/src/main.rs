//! `igris-load`: measures a gateway under load, and plays the provider behind it.
//!
//! Exit codes: 0 fine, 1 something failed, 2 wrong usage, 3 an objective was missed, 4 the rig was not fit to measure, 5 a
//! regression, 6 the data cannot tell.

mod cli;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::Arguments::parse().execute()
}
