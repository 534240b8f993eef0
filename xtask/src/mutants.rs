//! `mutants`: what of the vault, rotation included, could be broken without a test noticing.
//!
//! `src/vault`, `src/domain` and `src/limits.rs` depend on nothing else of this repository. They are copied into a small crate of their own
//! under `target/`, so that each mutant builds in seconds, and `cargo mutants` runs there on the vault alone. Survivors are printed: each
//! asks for a test, or for a reason why nobody would notice. It takes the better part of an hour and is no part of `test`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::place::{Place, on_path};
use crate::process;
use crate::rust;

const INSTALL_LIMIT: Duration = Duration::from_secs(3_600);
const RUN_LIMIT: Duration = Duration::from_secs(6 * 3_600);
/// What the small crate consists of, below `src/`.
const PARTS: [&str; 4] = ["domain", "vault", "limits.rs", "limits"];

/// Assembles the crate and mutates it; `words` go on to `cargo mutants`.
///
/// # Errors
/// The tool cannot be installed, or the unchanged crate fails its tests.
pub fn run(place: &Place, words: &[&str]) -> Result<ExitCode> {
    let tool = tool(place)?;
    let folder = place.scratch("mutants");
    assemble(place, &folder)?;
    println!("==> a crate of {} in {}", PARTS.join(", "), folder.display());
    let mut command = Command::new(&tool);
    command.arg("mutants").current_dir(&folder).env("CARGO_TARGET_DIR", place.scratch("mutants-build"));
    // In place: the crate is a copy already, and its dependencies are then built once.
    command.args(["--in-place", "--no-shuffle", "--file", "src/vault/**", "--minimum-test-timeout", "60"]);
    command.arg("--output").arg(place.scratch("mutants-report")).args(words);
    let ran = process::run(&mut command, RUN_LIMIT)?;
    let survivors = place.scratch("mutants-report").join("mutants.out/missed.txt");
    let missed = fs::read_to_string(&survivors).unwrap_or_default();
    println!("\n{} survivors ({}):\n{missed}", missed.lines().count(), survivors.display());
    // The tool answers 2 for survivors and 3 for mutants that hang; both are findings and no failure of the run.
    ensure!(ran.ok || survivors.is_file(), "cargo mutants did not come to an end");
    Ok(ExitCode::SUCCESS)
}

/// The tool, from the search path or installed below `target/`.
fn tool(place: &Place) -> Result<PathBuf> {
    if let Some(found) = on_path("cargo-mutants") {
        return Ok(found);
    }
    let tools = place.target.join("tools");
    let program = tools.join("bin/cargo-mutants");
    if !program.is_file() {
        println!("==> cargo-mutants is not there; it is installed into {}", tools.display());
        let mut install = rust::cargo(place, &["install", "cargo-mutants", "--locked", "--root"]);
        let ran = process::run(install.arg(&tools), INSTALL_LIMIT)?;
        ensure!(ran.ok, "cargo-mutants cannot be installed; install it yourself and put it on the search path");
    }
    Ok(program)
}

/// Copies the parts and writes the manifest and the root of the crate.
fn assemble(place: &Place, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("{} cannot be emptied", folder.display()))?;
    }
    let source = folder.join("src");
    fs::create_dir_all(&source)?;
    let mut text = String::new();
    for part in PARTS {
        copy(&place.root.join("src").join(part), &source.join(part), &mut text)?;
    }
    fs::write(source.join("lib.rs"), "//! The vault alone.\n\npub mod domain;\npub mod limits;\npub mod vault;\n")?;
    let manifest = fs::read_to_string(place.root.join("Cargo.toml"))?;
    fs::write(folder.join("Cargo.toml"), manifest_of(&manifest, &text))?;
    fs::copy(place.root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(())
}

/// Copies a file or a folder and adds the text of its sources to `text`.
fn copy(from: &Path, to: &Path, text: &mut String) -> Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()), text)?;
        }
        return Ok(());
    }
    fs::copy(from, to).with_context(|| format!("{} cannot be copied", from.display()))?;
    if from.extension().is_some_and(|extension| extension == "rs") {
        text.push_str(&fs::read_to_string(from)?);
    }
    Ok(())
}

/// A manifest with the dependencies that the sources name, as the repository's own manifest has them.
fn manifest_of(whole: &str, sources: &str) -> String {
    let mut manifest = String::from(
        "[package]\nname = \"vault-alone\"\nversion = \"0.0.0\"\nedition = \"2024\"\npublish = false\n\n[workspace]\n",
    );
    let mut section = "";
    for line in whole.lines() {
        if line.starts_with('[') {
            section = line;
            if matches!(section, "[dependencies]" | "[dev-dependencies]") {
                manifest.push_str(&format!("\n{section}\n"));
            }
        }
        let Some((name, _)) = line.split_once(" = ").filter(|_| section.ends_with("dependencies]")) else { continue };
        let path = format!("{}::", name.replace('-', "_"));
        if !line.contains("path = ") && sources.contains(&path) {
            manifest.push_str(&format!("{line}\n"));
        }
    }
    manifest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_has_what_the_sources_name_and_nothing_else() {
        let whole = "[package]\nname = \"x\"\n\n[dependencies]\naws-lc-rs = \"1\"\naxum = \"0.8\"\nour = { path = \"our\" }\n\n\
                     [dev-dependencies]\nproptest = \"1\"\n\n[[bench]]\nname = \"http\"\n";
        let manifest = manifest_of(whole, "use aws_lc_rs::hmac;\nuse our::thing;\nproptest::proptest! {}\n");
        assert!(
            manifest.contains("\n[dependencies]\naws-lc-rs = \"1\"\n\n[dev-dependencies]\nproptest = \"1\"\n"),
            "{manifest}"
        );
        assert!(!manifest.contains("axum") && !manifest.contains("our") && !manifest.contains("http"), "{manifest}");
    }
}
