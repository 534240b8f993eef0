//! `cargo xtask pgo`: the gateway built by what a training run has shown of it, with link-time optimisation across all crates.
//!
//! Three builds' worth of time: one that counts, a training run (whole answers, streams and a translated dialect, on both I/O drivers), and one
//! that uses the counts. `llvm-profdata` must understand the compiler's counts, so it is tried on a program of one line before
//! anything long begins; where there is none, the task says which and is skipped. What comes out is `target/pgo/igris` with the loader beside it,
//! so that `--profile pgo --no-build` measures it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::load::Load;
use crate::parties::{self, Kind, Upstream, free_port};
use crate::place::{Place, names_in, on_path};
use crate::process::{self, ask};
use crate::{debian, rust};

const BUILD_LIMIT: Duration = Duration::from_secs(7_200);
/// Counts are written when a program ends in order.
const END_LIMIT: Duration = Duration::from_secs(60);

/// What the compiler says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Compiler {
    host: String,
    llvm_major: u32,
}

/// What the command line asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    profile: String,
    requests: u64,
    tool_only: bool,
}

/// Runs `cargo xtask pgo`.
///
/// # Errors
/// The options are wrong, a build fails, or the training run does.
pub(crate) fn run(place: &Place, words: &[&str]) -> Result<ExitCode> {
    let options = parse(words)?;
    let said = ask(Command::new("rustc").arg("-vV"))?.output;
    let compiler = compiler_of(&said).context("rustc -vV has another form")?;
    let folder = place.scratch("pgo");
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder)?;
    let tool = match tool(&compiler, &folder) {
        Ok(tool) => tool,
        Err(why) => {
            println!("pgo: skipped: {why:#}");
            return Ok(ExitCode::SUCCESS);
        }
    };
    println!("{} reads the counts of this compiler (LLVM {})", tool.display(), compiler.llvm_major);
    if options.tool_only {
        return Ok(ExitCode::SUCCESS);
    }

    let raw = folder.join("raw");
    let counting = built(place, &options, &compiler, "counting", &format!("-Cprofile-generate={}", raw.display()))?;
    train(place, &options, &counting, &folder)?;
    let merged = folder.join("merged.profdata");
    merge(&tool, &raw, &merged)?;
    let flags = format!("-Cprofile-use={}", merged.display());
    let used = built(place, &options, &compiler, "used", &flags)?;

    let out = place.target.join("pgo");
    fs::create_dir_all(&out)?;
    for program in ["igris", "igris-load"] {
        fs::copy(used.join(program), out.join(program)).with_context(|| format!("{program} was not built"))?;
    }
    println!("{}: measure it with `cargo xtask bench proxy --profile pgo --no-build`", out.join("igris").display());
    Ok(ExitCode::SUCCESS)
}

fn parse(words: &[&str]) -> Result<Options> {
    let mut options = Options { profile: "release".to_owned(), requests: 100_000, tool_only: false };
    let mut words = words.iter();
    while let Some(flag) = words.next() {
        if *flag == "--tool-only" {
            options.tool_only = true;
            continue;
        }
        let value = words.next().with_context(|| format!("{flag} needs a value"))?;
        match *flag {
            "--profile" => options.profile = (*value).to_owned(),
            "--requests" => options.requests = value.parse().with_context(|| format!("`{value}` is no number"))?,
            other => bail!("`pgo` has no option {other}"),
        }
    }
    ensure!(options.requests >= 1_000, "--requests must be at least 1000");
    Ok(options)
}

// ---- The tool ---------------------------------------------------------------------------------------------------------------

fn compiler_of(said: &str) -> Option<Compiler> {
    let line = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let llvm_major = line("LLVM version:")?.split('.').next()?.parse().ok()?;
    Some(Compiler { host: line("host:")?.to_owned(), llvm_major })
}

/// An `llvm-profdata` that reads what this compiler counts: the toolchain's own, else that of the same LLVM, else whatever is there.
fn tool(compiler: &Compiler, folder: &Path) -> Result<PathBuf> {
    let sysroot = ask(Command::new("rustc").args(["--print", "sysroot"]))?.output;
    let own = PathBuf::from(sysroot.trim()).join("lib/rustlib").join(&compiler.host).join("bin/llvm-profdata");
    let major = compiler.llvm_major;
    let versioned = format!("llvm-profdata-{major}");
    let package = match own.is_file() {
        true => None,
        false => debian::program(&versioned, &format!("llvm-{major}")).ok(),
    };
    let found = [Some(own).filter(|file| file.is_file()), package, on_path("llvm-profdata")];
    let mut tried = Vec::new();
    for tool in found.into_iter().flatten() {
        match try_out(&tool, folder) {
            Ok(()) => return Ok(tool),
            Err(why) => tried.push(format!("{}: {why:#}", tool.display())),
        }
    }
    bail!(
        "there is no llvm-profdata for LLVM {major}; take `rustup component add llvm-tools` or the Debian package llvm-{major}{}{}",
        if tried.is_empty() { "" } else { "\n" },
        tried.join("\n")
    )
}

/// Counts a program of one line and has the tool read it.
fn try_out(tool: &Path, folder: &Path) -> Result<()> {
    let (source, program, raw) = (folder.join("trial.rs"), folder.join("trial"), folder.join("trial-raw"));
    fs::remove_dir_all(&raw).ok();
    fs::write(&source, "fn main() { println!(\"{}\", std::env::args().count()); }\n")?;
    let mut compile = Command::new("rustc");
    compile.args(["-O", "--edition", "2024", "-o"]).arg(&program).arg(&source);
    let compiled = ask(compile.arg(format!("-Cprofile-generate={}", raw.display())))?;
    ensure!(compiled.ok, "rustc cannot build a program that counts:\n{}", compiled.output);
    ensure!(ask(&mut Command::new(&program))?.ok, "the program that counts does not run");
    merge(tool, &raw, &folder.join("trial.profdata"))
}

/// Puts all counts of a folder together.
fn merge(tool: &Path, raw: &Path, merged: &Path) -> Result<()> {
    let names = names_in(raw);
    let counts = names.iter().filter(|name| name.ends_with(".profraw")).map(|name| raw.join(name));
    let counts: Vec<PathBuf> = counts.collect();
    ensure!(!counts.is_empty(), "no counts were written to {}", raw.display());
    let ran = ask(Command::new(tool).args(["merge", "-o"]).arg(merged).args(&counts))?;
    ensure!(ran.ok, "the counts cannot be merged: {}", ran.output.trim());
    Ok(())
}

// ---- Builds and the training run --------------------------------------------------------------------------------------------

/// Builds the programs with a flag; the folder they are in.
fn built(place: &Place, options: &Options, compiler: &Compiler, name: &str, flags: &str) -> Result<PathBuf> {
    let target = place.scratch("pgo-builds").join(name);
    // With a target of its own name the flag reaches our crates alone, and neither build scripts nor macros.
    let words = ["build", "--profile", &options.profile, "--locked", "--bins", "--target", &compiler.host];
    let mut build = rust::cargo(place, &words);
    build.env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", flags);
    ensure!(process::run(&mut build, BUILD_LIMIT)?.ok, "the programs do not build with {flags}");
    let folder = if options.profile == "dev" { "debug" } else { &options.profile };
    Ok(target.join(&compiler.host).join(folder))
}

/// Whole answers, streams, and both in a dialect that is translated, on each driver.
fn train(place: &Place, options: &Options, programs: &Path, folder: &Path) -> Result<()> {
    // The programs stand where a profile of that name would have them.
    let trained = Place { root: place.root.clone(), target: programs.parent().unwrap_or(programs).to_path_buf() };
    let profile = programs.file_name().and_then(|name| name.to_str()).context("a folder with a name")?;
    for kind in [Kind::IoUring, Kind::Epoll] {
        let home = folder.join(kind.name().replace(' ', "-"));
        fs::create_dir_all(&home)?;
        let upstream = Upstream::plain(free_port()?);
        let provider = parties::start_mock(&trained, profile, &home, &upstream, &["--latency", "0ms"])?;
        for mut proxy in parties::start_proxies(&trained, profile, &home, &upstream, (&[kind], true))? {
            for (dialect, stream) in [("openai", false), ("openai", true), ("anthropic", false), ("anthropic", true)] {
                println!(
                    "    training: {}, {dialect}, {}",
                    kind.name(),
                    if stream { "streams" } else { "whole answers" }
                );
                let requests = if stream { options.requests / 50 } else { options.requests };
                let words = if stream { 200 } else { 64 };
                let load = Load { requests, stream, words, dialect, ..Load::usual(profile) };
                load.send(&trained, &home, &mut proxy)?;
            }
            proxy.process.end(END_LIMIT)?;
        }
        provider.end(END_LIMIT)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_says_its_host_and_llvm() {
        let said = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\nLLVM version: 22.1.2\n";
        let expected = Compiler { host: "x86_64-unknown-linux-gnu".to_owned(), llvm_major: 22 };
        assert_eq!(compiler_of(said), Some(expected));
        assert_eq!(compiler_of("rustc 1.95.0\n"), None);
    }

    #[test]
    fn options_are_read_or_refused() {
        let options = parse(&["--profile", "fast", "--tool-only"]).expect("good ones");
        assert_eq!((options.profile.as_str(), options.tool_only), ("fast", true));
        for words in [&["--requests", "1"][..], &["--requests"], &["--speed", "1"]] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
