//! A release: the programs, a Debian package, a bill of materials and checksums, each of them the same bytes when made again from one commit.
//!
//! The programs are linked statically where the host's target is glibc's, so that they run in an empty container and under any distribution. What
//! would differ from machine to machine is taken out: paths by remapping, times by `SOURCE_DATE_EPOCH`, versions by `--locked`.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::place::{Place, names_in};
use crate::process::{self, ask};
use crate::{package_deb, rust, sbom};

const BUILD_LIMIT: Duration = Duration::from_secs(7_200);
/// The programs of a release.
pub const PROGRAMS: [&str; 2] = ["igris", "igris-load"];
const PARTS: [&str; 4] = ["programs", "deb", "sbom", "sums"];
const SUMS: &str = "SHA256SUMS";

/// What was asked for.
pub struct Options {
    /// Build profile of the programs.
    pub profile: String,
    /// A folder with programs to take instead of building them.
    pub programs: Option<PathBuf>,
    /// Which of [`PARTS`] are made.
    pub parts: Vec<String>,
    /// A secret key in minisign's form, which signs the checksums.
    pub key: Option<PathBuf>,
    /// Where everything goes.
    pub out: PathBuf,
    /// Seconds since 1970 that stand for "now"; without them `SOURCE_DATE_EPOCH` and then the commit decide.
    pub epoch: Option<String>,
    /// Whether the Debian package is compressed in a moment rather than well.
    pub quick: bool,
}

/// `cargo xtask package …`.
///
/// # Errors
/// A word that is no option; a part that cannot be made.
pub fn run(place: &Place, words: &[&str]) -> Result<ExitCode> {
    make(place, &parse(place, words)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the parts that were asked for.
///
/// # Errors
/// The programs do not build, or a tool is missing or fails.
pub fn make(place: &Place, options: &Options) -> Result<()> {
    let epoch = epoch(place, options.epoch.clone())?;
    let wanted = |part: &str| options.parts.iter().any(|other| other == part);
    fs::create_dir_all(&options.out)?;
    if wanted("programs") || wanted("deb") || options.key.is_some() {
        let folder = match &options.programs {
            Some(folder) => folder.clone(),
            None => build(place, &options.profile, epoch)?,
        };
        for program in PROGRAMS {
            let to = options.out.join(program);
            fs::copy(folder.join(program), &to).with_context(|| format!("{program} is not in {}", folder.display()))?;
            fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
        }
    }
    // The Debian package carries it, too.
    let version = version(place)?;
    let bill = options.out.join(format!("igris-{version}.cdx.json"));
    if wanted("sbom") || wanted("deb") {
        fs::write(&bill, sbom::bill(place, epoch)?)?;
    }
    if wanted("deb") {
        package_deb::make(place, options, &version, &bill, epoch)?;
    }
    if wanted("sums") {
        sums(options)?;
    }
    for name in names_in(&options.out) {
        println!("    {}", options.out.join(name).display());
    }
    Ok(())
}

fn parse(place: &Place, words: &[&str]) -> Result<Options> {
    let mut options = Options {
        profile: "release".to_owned(),
        programs: None,
        parts: PARTS.map(str::to_owned).to_vec(),
        key: None,
        out: place.target.join("package"),
        epoch: None,
        quick: false,
    };
    let mut words = words.iter();
    while let Some(flag) = words.next() {
        if *flag == "--quick" {
            options.quick = true;
            continue;
        }
        let value = words.next().with_context(|| format!("{flag} needs a value"))?;
        match *flag {
            "--profile" => options.profile = (*value).to_owned(),
            "--programs" => options.programs = Some(PathBuf::from(value)),
            "--parts" => options.parts = value.split(',').map(str::to_owned).collect(),
            "--key" => options.key = Some(PathBuf::from(value)),
            "--out" => options.out = PathBuf::from(value),
            other => bail!("`package` has no option {other}"),
        }
    }
    if let Some(part) = options.parts.iter().find(|part| !PARTS.contains(&part.as_str())) {
        bail!("there is no part `{part}`; there are {}", PARTS.join(", "));
    }
    ensure!(
        options.key.is_none() || options.parts.iter().any(|part| part == "sums"),
        "--key signs the checksums: add `sums` to --parts"
    );
    Ok(options)
}

/// The version of the workspace.
fn version(place: &Place) -> Result<String> {
    let manifest = fs::read_to_string(place.root.join("Cargo.toml"))?;
    let (_, section) = manifest.split_once("[workspace.package]").context("the workspace has a version")?;
    let line = section.lines().find_map(|line| line.strip_prefix("version = "));
    Ok(line.context("the workspace has a version")?.trim_matches('"').to_owned())
}

/// Seconds since 1970 that stand for "now" in everything that is made: as said, else `SOURCE_DATE_EPOCH`, else the commit's.
fn epoch(place: &Place, said: Option<String>) -> Result<u64> {
    if let Some(text) = said.or_else(|| env::var("SOURCE_DATE_EPOCH").ok()) {
        return text.parse().with_context(|| format!("SOURCE_DATE_EPOCH is `{text}` and no number of seconds"));
    }
    let mut git = Command::new("git");
    let ran = ask(git.current_dir(&place.root).args(["log", "-1", "--format=%ct"]))?;
    let said = ran.output.trim().parse().ok().filter(|_| ran.ok);
    said.context("there is no commit to take the time from; set SOURCE_DATE_EPOCH")
}

/// Builds the programs; the folder they are in.
fn build(place: &Place, profile: &str, epoch: u64) -> Result<PathBuf> {
    let host = ask(Command::new("rustc").arg("-vV"))?.output;
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc says its host")?.to_owned();
    let target = place.scratch("package-build");
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let places = [(Some(place.root.clone()), "/igris"), (home, "/cargo"), (Some(target.clone()), "/target")];
    // The last one that fits counts, so what lies inside another folder stands behind it.
    let (mut rust_flags, mut c_flags) = (Vec::new(), Vec::new());
    if host.ends_with("-linux-gnu") {
        rust_flags.push("-Ctarget-feature=+crt-static".to_owned());
    }
    for (from, to) in places.iter().filter_map(|(from, to)| Some((from.as_ref()?.display(), to))) {
        rust_flags.push(format!("--remap-path-prefix={from}={to}"));
        c_flags.push(format!("-ffile-prefix-map={from}={to}"));
    }
    // With a target of its own name the flags reach the programs alone, and neither build scripts nor macros.
    let words = ["build", "--profile", profile, "--locked", "--bin", "igris", "--bin", "igris-load", "--target", &host];
    let mut cargo = rust::cargo(place, &words);
    cargo.args(["--package", "igris-overture", "--package", "igris-load"]);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", rust_flags.join("\u{1f}")).env("CFLAGS", c_flags.join(" "));
    cargo.env("CARGO_TARGET_DIR", &target).env("CARGO_INCREMENTAL", "0");
    cargo.env("SOURCE_DATE_EPOCH", epoch.to_string());
    let ran = process::run(&mut cargo, BUILD_LIMIT)?;
    ensure!(ran.ok, "the programs do not build; linked statically they need libc.a (Debian: libc6-dev)");
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(target.join(host).join(folder))
}

/// Checksums of all that there is, and a signature over them by the program itself.
fn sums(options: &Options) -> Result<()> {
    let names = names_in(&options.out);
    let names: Vec<&String> = names.iter().filter(|name| !name.starts_with(SUMS)).collect();
    let mut tool = Command::new("sha256sum");
    let ran = ask(tool.current_dir(&options.out).arg("--").args(names))?;
    ensure!(ran.ok, "sha256sum fails: {}", ran.output);
    let file = options.out.join(SUMS);
    fs::write(&file, ran.output)?;
    let Some(key) = &options.key else { return Ok(()) };
    let key = absolute(key)?;
    // It says that a gateway would refuse such a file, which is as it should be: it is none.
    let mut igris = Command::new(absolute(&options.out.join("igris"))?);
    igris.current_dir(&options.out).args(["sign", "sign", SUMS, "--secret"]).arg(key);
    if env::var_os("IGRIS_SIGN_PASSWORD").is_some() {
        igris.args(["--password-env", "IGRIS_SIGN_PASSWORD"]);
    }
    let signed = igris.status().context("the program cannot be started to sign")?.success();
    ensure!(signed, "the checksums could not be signed");
    Ok(())
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("{} is not there", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused() {
        let place = Place { root: PathBuf::from("/r"), target: PathBuf::from("/t") };
        let usual = parse(&place, &[]).expect("good ones");
        assert_eq!((usual.profile.as_str(), usual.out), ("release", PathBuf::from("/t/package")));
        assert_eq!(usual.parts, PARTS);
        let some = parse(&place, &["--parts", "deb,sums", "--key", "k", "--quick"]).expect("good ones");
        assert!(some.quick && some.parts == ["deb", "sums"] && some.key.is_some());
        for words in [&["--parts", "rpm"][..], &["--out"], &["--speed", "1"], &["--parts", "deb", "--key", "k"]] {
            assert!(parse(&place, words).is_err(), "{words:?}");
        }
    }
}
