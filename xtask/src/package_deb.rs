//! The Debian package: a tree of files with stated modes, packed by dpkg-deb so that the same input gives the same bytes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::package::{Options, PROGRAMS};
use crate::place::Place;
use crate::process::ask;

/// What comes from the repository as it is: from, to.
const FILES: [(&str, &str); 9] = [
    ("config/debian/igris.toml", "etc/igris/igris.toml"),
    ("config/systemd/igris.service", "usr/lib/systemd/system/igris.service"),
    ("config/systemd/igris.socket", "usr/lib/systemd/system/igris.socket"),
    ("config/systemd/igris.conf", "usr/lib/sysusers.d/igris.conf"),
    ("config/debian/copyright", "usr/share/doc/igris/copyright"),
    ("config/igris.toml", "usr/share/doc/igris/examples/igris.toml"),
    ("config/prometheus/alerts.yml", "usr/share/doc/igris/examples/alerts.yml"),
    ("config/grafana/igris.json", "usr/share/doc/igris/examples/grafana.json"),
    ("config/kubernetes/sidecar.yaml", "usr/share/doc/igris/examples/sidecar.yaml"),
];
/// Pages for whoever operates it, below `docs/`.
const PAGES: [&str; 15] = [
    "alerts.md",
    "api.md",
    "configuration.md",
    "costs.md",
    "dashboard.md",
    "fleet-scale.md",
    "fleet.md",
    "http2.md",
    "keys.md",
    "ledger.md",
    "metrics.md",
    "observability.md",
    "operations.md",
    "release.md",
    "signed-config.md",
];
/// What is compressed on the way, as Debian has it.
const COMPRESSED: [(&str, &str); 3] = [
    ("CHANGELOG.md", "usr/share/doc/igris/CHANGELOG.md.gz"),
    ("config/debian/igris.1", "usr/share/man/man1/igris.1.gz"),
    ("config/debian/igris-load.1", "usr/share/man/man1/igris-load.1.gz"),
];
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Makes `igris_VERSION_ARCHITECTURE.deb` of the programs that stand in the folder for what is made.
///
/// # Errors
/// A file is missing, or dpkg-deb, gzip or dpkg is.
pub fn make(place: &Place, options: &Options, version: &str, bill: &Path, epoch: u64) -> Result<()> {
    let tree = place.scratch("package-tree");
    fs::remove_dir_all(&tree).ok();
    for program in PROGRAMS {
        put(&options.out.join(program), &tree.join("usr/bin").join(program), 0o755)?;
    }
    for (from, to) in FILES {
        put(&place.root.join(from), &tree.join(to), 0o644)?;
    }
    for page in PAGES {
        put(&place.root.join("docs").join(page), &tree.join("usr/share/doc/igris").join(page), 0o644)?;
    }
    for (from, to) in COMPRESSED {
        compress(&place.root.join(from), &tree.join(to))?;
    }
    compress(bill, &tree.join("usr/share/doc/igris/igris.cdx.json.gz"))?;
    for script in SCRIPTS {
        put(&place.root.join("config/debian").join(script), &tree.join("DEBIAN").join(script), 0o755)?;
    }
    let architecture = architecture()?;
    let mut control = fs::read_to_string(place.root.join("config/debian/control"))?;
    let needs = needs(&PROGRAMS.map(|program| options.out.join(program)))?;
    let size = kibibytes(&tree)?.to_string();
    for (mark, value) in [("VERSION", version), ("ARCHITECTURE", &architecture), ("SIZE", &size)] {
        control = control.replace(&format!("@{mark}@"), value);
    }
    let control = control.replace("@DEPENDS@\n", &needs.map_or(String::new(), |needs| format!("Depends: {needs}\n")));
    ensure!(
        !control.split_whitespace().any(|word| word.starts_with('@')),
        "config/debian/control has a mark that nobody fills in:\n{control}"
    );
    write(&tree.join("DEBIAN/control"), &control)?;
    write(&tree.join("DEBIAN/conffiles"), "/etc/igris/igris.toml\n")?;
    write(&tree.join("DEBIAN/md5sums"), &digests(&tree)?)?;
    folders_open(&tree)?;
    let file = options.out.join(format!("igris_{version}_{architecture}.deb"));
    let compression: &[&str] = if options.quick { &["-Zgzip", "-z1"] } else { &["-Zxz"] };
    let mut pack = Command::new("dpkg-deb");
    pack.args(["--root-owner-group", "--uniform-compression"]).args(compression).arg("--build").arg(&tree).arg(&file);
    // With more threads the compressed blocks depend on their number.
    pack.env("SOURCE_DATE_EPOCH", epoch.to_string()).env("DPKG_DEB_THREADS_MAX", "1");
    let ran = ask(&mut pack).context("the package needs dpkg-deb (Debian: dpkg)")?;
    ensure!(ran.ok, "dpkg-deb fails: {}", ran.output);
    fs::remove_dir_all(&tree)?;
    Ok(())
}

/// What the programs need of the system: nothing when they are static, else the C library of at least the version whose symbols they name.
fn needs(programs: &[PathBuf]) -> Result<Option<String>> {
    let mut newest = None;
    for program in programs {
        let bytes = fs::read(program)?;
        if has_interpreter(&bytes)? {
            newest = newest.max(newest_symbol(&bytes));
        }
    }
    Ok(newest.map(|minor| format!("libc6 (>= 2.{minor}), libgcc-s1")))
}

/// The greatest N of all `GLIBC_2.N` that a program names.
fn newest_symbol(bytes: &[u8]) -> Option<u32> {
    let mark = b"GLIBC_2.";
    let names = bytes.windows(mark.len() + 2).filter_map(|window| window.strip_prefix(mark));
    let minor = |name: &[u8]| {
        let digits = name.iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(None, |sum, digit| Some(sum.unwrap_or(0) * 10 + u32::from(digit - b'0')))
    };
    names.filter_map(minor).max()
}

/// Whether an ELF file asks for a dynamic linker: one of its program headers is PT_INTERP (elf(5)).
fn has_interpreter(bytes: &[u8]) -> Result<bool> {
    const PT_INTERP: u32 = 3;
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        bail!("the program is no 64-bit little-endian ELF file");
    }
    let number = |at: usize, length: usize| -> Result<u64> {
        let field = bytes.get(at..at + length).context("the ELF file is cut short")?;
        Ok(field.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for row in 0..count {
        let at = usize::try_from(table + row * size)?;
        if number(at, 4)? == u64::from(PT_INTERP) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn architecture() -> Result<String> {
    let ran = ask(Command::new("dpkg").arg("--print-architecture"))?;
    ensure!(ran.ok, "dpkg does not say the architecture: {}", ran.output);
    Ok(ran.output.trim().to_owned())
}

fn put(from: &Path, to: &Path, mode: u32) -> Result<()> {
    fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
    fs::copy(from, to).with_context(|| format!("{} cannot be copied", from.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
    Ok(())
}

fn write(to: &Path, text: &str) -> Result<()> {
    fs::write(to, text)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o644))?;
    Ok(())
}

/// Without name and time in the head, so that it is a function of the content.
fn compress(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
    let source = fs::File::open(from).with_context(|| format!("{} cannot be read", from.display()))?;
    let packed = Command::new("gzip").args(["-9n"]).stdin(Stdio::from(source)).output().context("gzip is missing")?;
    ensure!(packed.status.success(), "gzip fails on {}", from.display());
    fs::write(to, packed.stdout)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o644))?;
    Ok(())
}

/// Every file below a folder, sorted, but for the package's own.
fn files(tree: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![tree.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            match path.is_dir() {
                true if path.ends_with("DEBIAN") => {}
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    Ok(found)
}

fn kibibytes(tree: &Path) -> Result<u64> {
    let sizes = files(tree)?.iter().map(|file| Ok(file.metadata()?.len().div_ceil(1024))).collect::<Result<Vec<u64>>>();
    Ok(sizes?.iter().sum())
}

/// What `dpkg --verify` compares with.
fn digests(tree: &Path) -> Result<String> {
    let files = files(tree)?;
    let names: Vec<&Path> = files.iter().filter_map(|file| file.strip_prefix(tree).ok()).collect();
    let ran = ask(Command::new("md5sum").current_dir(tree).arg("--").args(names))?;
    ensure!(ran.ok, "md5sum fails: {}", ran.output);
    let lines = ran.output.lines().filter(|line| !line.contains("  etc/"));
    Ok(lines.map(|line| format!("{line}\n")).collect())
}

/// Whatever the mask of the person who builds: folders are 0755.
fn folders_open(tree: &Path) -> Result<()> {
    let mut folders = vec![tree.to_path_buf()];
    while let Some(folder) = folders.pop() {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_an_interpreter_is_told_from_a_static_one() {
        let elf = |kind: u8| {
            let mut bytes = vec![0u8; 64 + 56];
            bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
            (bytes[32], bytes[54], bytes[56], bytes[64]) = (64, 56, 1, kind);
            bytes
        };
        assert!(has_interpreter(&elf(3)).expect("an ELF file"));
        assert!(!has_interpreter(&elf(1)).expect("an ELF file"));
        assert!(has_interpreter(b"#!/bin/sh").is_err());
        assert!(has_interpreter(&elf(1)[..66]).is_err(), "cut short");
        assert_eq!(newest_symbol(b"..GLIBC_2.4\0GLIBC_2.34\0GLIBC_2.28..GLIBC_PRIVATE"), Some(34));
        assert_eq!(newest_symbol(b"nothing of the kind"), None);
        let made = [std::env::current_exe().expect("a program")];
        // This test is a program itself, and dynamic on a usual host.
        if has_interpreter(&fs::read(&made[0]).expect("readable")).expect("an ELF file") {
            assert!(needs(&made).expect("readable").is_some_and(|needs| needs.starts_with("libc6 (>= 2.")));
        }
    }
}
