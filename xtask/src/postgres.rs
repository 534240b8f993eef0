//! What the fleet's tests stand on: PostgreSQL of Debian's packages, and the programs that make and part network namespaces.
//!
//! Tests start clusters of their own from the programs found here; no server of the machine is started, asked or changed. When
//! a part is missing and cannot be had, its step is counted as skipped with the reason, and the tests that need it say so too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::counts::Counts;
use crate::debian;
use crate::process::ask;
use crate::steps::{Outcome, Steps};

/// The variable in which tests read where `initdb`, `postgres` and `psql` are.
pub const VARIABLE: &str = "IGRIS_TEST_POSTGRES_BIN";

/// The package of Debian 12, and where it puts each version's programs.
const PACKAGE: &str = "postgresql-15";
const VERSIONS: &str = "/usr/lib/postgresql";
/// What `PACKAGE` reads before it makes a cluster of its own and starts it, which nobody asked for here.
const OWN_CLUSTER: &str = "/etc/postgresql-common/createcluster.conf";

/// Installs PostgreSQL when it is missing.
pub fn run(steps: &mut Steps) {
    steps.step("postgresql", || Ok(outcome(programs().map(|bin| println!("    {}", bin.display())))));
}

/// Installs `ip` and `nft` when they are missing, and tries whether this machine lets us make a namespace.
pub fn network(steps: &mut Steps) {
    steps.step("network namespaces", || Ok(outcome(namespaces())));
}

/// The folder with the programs, if PostgreSQL is there: the one that the environment names, or the newest version's.
pub fn bin() -> Option<PathBuf> {
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    named.filter(|folder| is_whole(folder)).or_else(|| newest(Path::new(VERSIONS)))
}

fn programs() -> Result<PathBuf, String> {
    if let Some(bin) = bin() {
        return Ok(bin);
    }
    debian::install("postgresql-common")?;
    if let Ok(text) = fs::read_to_string(OWN_CLUSTER) {
        fs::write(OWN_CLUSTER, without_own_cluster(&text)).map_err(|error| format!("{OWN_CLUSTER}: {error}"))?;
    }
    debian::install(PACKAGE)?;
    bin().ok_or_else(|| format!("there is no initdb below {VERSIONS} although package {PACKAGE} is installed"))
}

fn namespaces() -> Result<(), String> {
    debian::program("ip", "iproute2")?;
    debian::program("nft", "nftables")?;
    let name = format!("igris-{}-probe", std::process::id());
    let ip = |words: &[&str]| ask(Command::new("ip").args(words)).map_err(|error| format!("{error:#}"));
    let made = ip(&["netns", "add", &name])?;
    if !made.ok {
        return Err(format!("this machine lets us make no network namespace: {}", made.output.trim()));
    }
    let bridge = ip(&["-n", &name, "link", "add", "probe", "type", "bridge"]);
    ip(&["netns", "delete", &name])?;
    match bridge? {
        ran if ran.ok => Ok(()),
        ran => Err(format!("this machine lets us make no bridge: {}", ran.output.trim())),
    }
}

fn outcome(found: Result<(), String>) -> Outcome {
    match found {
        Ok(()) => Outcome::Passed(Counts::default()),
        Err(why) => Outcome::Skipped(why),
    }
}

/// The `bin` of the highest version that has all we start.
fn newest(versions: &Path) -> Option<PathBuf> {
    let folders = fs::read_dir(versions).ok()?.flatten();
    let numbered = folders.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())));
    let whole = numbered.map(|(version, folder)| (version, folder.join("bin"))).filter(|(_, bin)| is_whole(bin));
    whole.max_by_key(|(version, _)| *version).map(|(_, bin)| bin)
}

fn is_whole(bin: &Path) -> bool {
    ["initdb", "postgres", "psql"].iter().all(|program| bin.join(program).is_file())
}

/// The package's settings with its own cluster turned off, whatever they said of it.
fn without_own_cluster(text: &str) -> String {
    let says = |line: &&str| !line.trim_start_matches(['#', ' ']).starts_with("create_main_cluster");
    let kept = text.lines().filter(says).chain(["create_main_cluster = false"]);
    kept.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_version_is_taken() {
        let versions = std::env::temp_dir().join(format!("igris-xtask-postgres-{}", std::process::id()));
        for (version, programs) in [("9", 3), ("13", 3), ("15", 3), ("16", 2), ("common", 3)] {
            let bin = versions.join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            for program in ["initdb", "postgres", "psql"].iter().take(programs) {
                fs::write(bin.join(program), "").unwrap();
            }
        }
        let found = newest(&versions);
        fs::remove_dir_all(&versions).unwrap();
        assert_eq!(found, Some(versions.join("15/bin")));
        assert_eq!(newest(&versions), None);
    }

    #[test]
    fn the_packages_own_cluster_is_turned_off_once() {
        let text = "# Create a main cluster?\n#create_main_cluster = true\nstart_conf = 'auto'\n";
        let settled = "# Create a main cluster?\nstart_conf = 'auto'\ncreate_main_cluster = false\n";
        assert_eq!(without_own_cluster(text), settled);
        assert_eq!(without_own_cluster(settled), settled);
    }
}
