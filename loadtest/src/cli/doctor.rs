//! `igris-load doctor`.

use super::{Fault, Verdict};
use anyhow::Context as _;
use clap::Args;
use igris_load::doctor::{Level, examine};
use std::path::PathBuf;
use std::time::Duration;

/// Looks at this machine for a few seconds and says what will hurt a measurement: each line is ok, warn or BAD, with its figure,
/// which result it touches, and what to type. It changes nothing. Exit code 0, or 4 when something is bad.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  igris-load doctor\n  igris-load doctor --json | jq '.findings[] | select(.level != \"ok\")'"
)]
pub(super) struct DoctorArguments {
    /// Look for half a second in place of four: enough to see what is bad.
    #[arg(long)]
    quick: bool,
    /// Write the findings as JSON to this file; without a file, to standard output in place of the text.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
}

impl DoctorArguments {
    pub(super) fn execute(self) -> Result<Verdict, Fault> {
        let diagnosis = examine(Duration::from_millis(if self.quick { 500 } else { 4000 }));
        let json = format!("{:#}\n", diagnosis.to_json());
        match &self.json {
            Some(path) if path.as_os_str() == "-" => print!("{json}"),
            Some(path) => {
                print!("{diagnosis}");
                let written = std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()));
                written.map_err(Fault::Failure)?;
            }
            None => print!("{diagnosis}"),
        }
        Ok(if diagnosis.worst() == Level::Bad { Verdict::Invalid } else { Verdict::Fine })
    }
}
