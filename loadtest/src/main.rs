//! `igris-load`: measures a gateway under load, and plays the provider behind it.
//!
//! Exit codes: 0 fine, 1 something failed, 2 wrong usage.

mod cli;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::Arguments::parse().execute()
}
