//! Real clients against the gateway and the simulator: Python (pytest), JavaScript (node's own runner), and coding agents.
//!
//! Their packages are pinned in `tests/sdk/` and installed below `target/xtask/`, once per content of the pin files. The
//! tests start the gateway and the simulated providers themselves; all they need is where the programs are.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::place::{Place, on_path};
use crate::process::{self, ask};
use crate::steps::{Outcome, Steps};
use crate::{debian, rust};

const INSTALL_LIMIT: Duration = Duration::from_secs(600);
const TEST_LIMIT: Duration = Duration::from_secs(420);
/// Oldest node whose test runner and `fetch` the tests use.
const NODE_MIN: u32 = 20;

/// One set of Python packages and the test files that run on it.
struct PythonSet {
    name: &'static str,
    pins: &'static str,
    files: &'static [&'static str],
}

const PYTHON_SETS: [PythonSet; 3] = [
    PythonSet {
        name: "python",
        pins: "requirements.txt",
        files: &[
            "test_chat.py",
            "test_faults.py",
            "test_langchain.py",
            "test_samples.py",
            "test_dialects_chat.py",
            "test_dialects_responses.py",
            "test_dialects_messages.py",
            "test_dialects_gemini.py",
            "test_shapes.py",
        ],
    },
    PythonSet { name: "python, frameworks", pins: "requirements-frameworks.txt", files: &["test_frameworks.py"] },
    PythonSet {
        name: "python, openai 1.x",
        pins: "requirements-openai-1.txt",
        files: &["test_chat.py", "test_faults.py"],
    },
];

/// One set of JavaScript packages and the tests that run on it.
struct NodeSet {
    name: &'static str,
    /// Below `tests/sdk`: the pins and the tests.
    folder: &'static str,
    /// Files of the first set's folder that this one uses too.
    shared: &'static [&'static str],
    /// Scripts of its packages that answer `--version` when they can run on this machine: npm installs what it has, silently.
    programs: &'static [&'static str],
}

const NODE_SETS: [NodeSet; 2] = [
    NodeSet { name: "node", folder: "node", shared: &[], programs: &[] },
    NodeSet {
        name: "agents",
        folder: "agents",
        shared: &["stand.mjs"],
        programs: &[
            "node_modules/@anthropic-ai/claude-code/cli-wrapper.cjs",
            "node_modules/@openai/codex/bin/codex.js",
        ],
    },
];

/// Builds the programs and runs every client.
pub fn run(place: &Place, steps: &mut Steps) {
    let mut built = false;
    steps.step("sdk: programs", || {
        rust::build_programs(place)?;
        built = true;
        Ok(Outcome::Passed(Default::default()))
    });
    if !built {
        return;
    }
    for set in &PYTHON_SETS {
        steps.step(&format!("sdk: {}", set.name), || python(place, set));
    }
    for set in &NODE_SETS {
        steps.step(&format!("sdk: {}", set.name), || node(place, set));
    }
}

/// Where the programs are, for a test runner; loopback never goes through a proxy.
pub fn with_programs(place: &Place, command: &mut Command) {
    command.env("IGRIS", place.built("debug", "igris")).env("IGRIS_LOAD", place.built("debug", "igris-load"));
    command.env("NO_PROXY", "127.0.0.1,localhost").env("no_proxy", "127.0.0.1,localhost");
    let others =
        ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "GOOGLE_API_KEY", "GEMINI_API_KEY"];
    for name in ["OPENAI_API_KEY", "OPENAI_BASE_URL", "IGRIS_API_KEY"].into_iter().chain(others) {
        command.env_remove(name);
    }
}

/// Says why node tests cannot run, if they cannot.
///
/// # Errors
/// One sentence for a skipped step.
pub fn node_is_present() -> Result<(), String> {
    let version = ask(Command::new("node").arg("--version")).map_err(|_| "node is not installed".to_owned())?.output;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major >= NODE_MIN => Ok(()),
        _ => Err(format!("node {NODE_MIN} or newer is needed, and here is {}", version.trim())),
    }
}

fn python(place: &Place, set: &PythonSet) -> Result<Outcome> {
    let folder = place.root.join("tests/sdk/python");
    if on_path("python3").is_none() {
        return Ok(Outcome::Skipped("python3 is not installed".to_owned()));
    }
    let pins = fs::read_to_string(folder.join(set.pins)).with_context(|| format!("{} cannot be read", set.pins))?;
    let venv = place.scratch(&format!("python-{}", digest(&pins)));
    if let Err(why) = install_python(&venv, &folder.join(set.pins), &[]) {
        return Ok(Outcome::Skipped(why));
    }
    let scratch = fresh(place.scratch("sdk-python"))?;
    let mut command = Command::new(venv.join("bin/python"));
    command.current_dir(&folder).args(["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "--tb=short"]);
    // The closing line with its `=` frame is what the counts are read from; `-q` alone leaves the frame out.
    command.args(["-v", "--color=no"]).args(set.files);
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("IGRIS_SCRATCH", scratch);
    with_programs(place, &mut command);
    Ok(Outcome::of(&process::run(&mut command, TEST_LIMIT)?))
}

/// Makes the virtual environment unless it is there and complete; `options` go to pip.
///
/// # Errors
/// One sentence for a skipped step.
pub fn install_python(venv: &Path, pins: &Path, options: &[&str]) -> Result<(), String> {
    let mark = venv.join("installed");
    if mark.is_file() {
        return Ok(());
    }
    fs::remove_dir_all(venv).ok();
    let make = |venv: &Path| ask(Command::new("python3").args(["-m", "venv"]).arg(venv)).is_ok_and(|ran| ran.ok);
    if !make(venv) {
        debian::install("python3-venv")?;
        fs::remove_dir_all(venv).ok();
        if !make(venv) {
            return Err("python3 cannot make a virtual environment".to_owned());
        }
    }
    let mut pip = Command::new(venv.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(options).arg("--requirement").arg(pins);
    succeeded(&mut pip, "pip could not install the pinned packages")?;
    fs::write(mark, "").map_err(|error| format!("{} cannot be written: {error}", venv.display()))
}

fn node(place: &Place, set: &NodeSet) -> Result<Outcome> {
    let folder = place.root.join("tests/sdk").join(set.folder);
    if let Err(why) = node_is_present() {
        return Ok(Outcome::Skipped(why));
    }
    if on_path("npm").is_none() {
        return Ok(Outcome::Skipped("npm is not installed".to_owned()));
    }
    let lock = fs::read_to_string(folder.join("package-lock.json")).context("package-lock.json cannot be read")?;
    let home = place.scratch(&format!("{}-{}", set.folder, digest(&lock)));
    if let Err(why) = install_node(&home, &folder).and_then(|()| all_run(&home, set.programs)) {
        return Ok(Outcome::Skipped(why));
    }
    // Modules are found upwards from the file that asks, so the tests are copied beside their packages.
    let mut files = Vec::new();
    for name in crate::place::names_in(&folder).into_iter().filter(|name| name.ends_with(".mjs")) {
        fs::copy(folder.join(&name), home.join(&name))?;
        files.extend(name.ends_with(".test.mjs").then_some(name));
    }
    for name in set.shared {
        fs::copy(place.root.join("tests/sdk/node").join(name), home.join(name))?;
    }
    let mut command = Command::new("node");
    command.current_dir(&home).args(["--test", "--test-reporter=tap", "--test-concurrency=1"]).args(&files);
    command.env("IGRIS_SCRATCH", fresh(place.scratch(&format!("sdk-{}", set.name)))?);
    command.env("IGRIS_SAMPLES", place.root.join("tests/sdk/samples"));
    with_programs(place, &mut command);
    Ok(Outcome::of(&process::run(&mut command, TEST_LIMIT)?))
}

/// Whether each of these scripts runs here.
fn all_run(home: &Path, programs: &[&str]) -> Result<(), String> {
    for program in programs {
        let mut node = Command::new("node");
        // What a program leaves behind in its home stays out of ours.
        node.current_dir(home).env("HOME", home).args([program, "--version"]);
        if !ask(&mut node).is_ok_and(|ran| ran.ok) {
            return Err(format!("{program} does not run on this machine"));
        }
    }
    Ok(())
}

fn install_node(home: &Path, folder: &Path) -> Result<(), String> {
    let mark = home.join("installed");
    if mark.is_file() {
        return Ok(());
    }
    fs::create_dir_all(home).map_err(|error| format!("{} cannot be made: {error}", home.display()))?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(folder.join(name), home.join(name)).map_err(|error| format!("{name} cannot be copied: {error}"))?;
    }
    let mut npm = Command::new("npm");
    npm.current_dir(home).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    succeeded(&mut npm, "npm could not install the pinned packages")?;
    fs::write(mark, "").map_err(|error| format!("{} cannot be written: {error}", home.display()))
}

fn succeeded(command: &mut Command, otherwise: &str) -> Result<(), String> {
    match process::run(command, INSTALL_LIMIT) {
        Ok(ran) if ran.ok => Ok(()),
        Ok(_) => Err(otherwise.to_owned()),
        Err(error) => Err(format!("{otherwise}: {error:#}")),
    }
}

/// An empty folder in place of whatever was there.
///
/// # Errors
/// It cannot be made.
pub fn fresh(folder: PathBuf) -> Result<PathBuf> {
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A name for a content: it changes when the pins do.
pub fn digest(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
