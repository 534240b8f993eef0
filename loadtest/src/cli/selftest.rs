//! `igris-load selftest`.

use super::{Fault, Verdict};
use anyhow::Context as _;
use clap::Args;
use igris_load::selftest::{Extent, examine};
use std::path::PathBuf;

/// Measures known truths on loopback and prints the tester's own error: fixed delays, a stall whose latencies can be calculated, a
/// server compared with itself, an effect of known size, a tester without time, faults and tokens that the other side has counted.
/// Takes about 40 seconds, 15 with --quick. Exit code 0, or 4 when a check fails: then believe no figure from this machine as it is now.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  igris-load selftest\n  igris-load selftest --quick --json - | jq .own_error")]
pub(super) struct SelftestArguments {
    /// A third of the time and of the requests.
    #[arg(long)]
    quick: bool,
    /// Decides what is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the checks as JSON to this file; `-` is standard output, in place of the text.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl SelftestArguments {
    pub(super) fn execute(self) -> Result<Verdict, Fault> {
        let text = self.json.as_ref().is_none_or(|path| path.as_os_str() != "-");
        let extent = Extent { quick: self.quick, seed: self.seed };
        let tell = |check: &igris_load::selftest::Check| {
            if text {
                println!("{check}");
            }
        };
        let selftest = examine(extent, tell).map_err(Fault::Failure)?;
        let json = format!("{:#}\n", selftest.to_json());
        if text {
            print!("{selftest}");
        } else {
            print!("{json}");
        }
        if let Some(path) = self.json.as_ref().filter(|_| text) {
            let written = std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()));
            written.map_err(Fault::Failure)?;
        }
        Ok(if selftest.passed { Verdict::Fine } else { Verdict::Invalid })
    }
}
