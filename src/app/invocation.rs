//! How this process was started, so that another one can be started the same way, and what it was given.

use crate::limits::HANDOVER_SOCKETS_MAX;
use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Set for a process that shall take over from the one that started it, over its standard input.
const TAKEOVER: &str = "IGRIS_TAKEOVER";
/// What systemd sets for one process and not for the next (sd_listen_fds(3), sd_watchdog_enabled(3)).
const OF_ONE_PROCESS: [&str; 5] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID", "WATCHDOG_PID"];

/// How `igris serve` was started.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The program, by the path under which it was found. What lies there when the next one starts is what starts.
    pub(super) binary: PathBuf,
    arguments: Vec<OsString>,
    /// Whether the process that started this one hands over to it.
    pub(super) takes_over: bool,
    /// The names of the sockets that systemd passed, from descriptor 3 on.
    pub(super) passed: Vec<String>,
}

impl Invocation {
    /// Of this process. To be called at its start, while its binary and its directory are where they were.
    ///
    /// # Errors
    /// The system does not say where the binary is.
    pub fn of_process() -> std::io::Result<Self> {
        let mut words = env::args_os();
        let name = words.next().unwrap_or_default();
        let exact = env::current_exe()?;
        let binary = found_as(&name, &exact, env::var_os("PATH").as_deref());
        let takes_over = env::var(TAKEOVER).is_ok_and(|value| value == "1");
        let passed = match env::var("LISTEN_PID").ok().and_then(|pid| pid.parse::<u32>().ok()) {
            Some(pid) if pid == std::process::id() && !takes_over => {
                let count = env::var("LISTEN_FDS").ok().and_then(|count| count.parse().ok()).unwrap_or(0);
                names(count, &env::var("LISTEN_FDNAMES").unwrap_or_default())
            }
            _ => Vec::new(),
        };
        Ok(Self { binary, arguments: words.collect(), takes_over, passed })
    }

    /// The next process: the same arguments, directory and environment, and `input` to speak over.
    pub(super) fn next(&self, binary: Option<&Path>, input: Stdio) -> Command {
        let mut command = Command::new(binary.unwrap_or(&self.binary));
        command.args(&self.arguments).env(TAKEOVER, "1").stdin(input);
        for name in OF_ONE_PROCESS {
            command.env_remove(name);
        }
        command
    }
}

/// The path under which a program was found: a link stays a link, so that another binary behind it is taken. Where that cannot be told, the
/// file itself.
fn found_as(name: &OsStr, exact: &Path, path: Option<&OsStr>) -> PathBuf {
    let same = |candidate: &Path| match (candidate.metadata(), exact.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    };
    let name = Path::new(name);
    let candidates: Vec<PathBuf> = if name.components().count() > 1 {
        std::path::absolute(name).into_iter().collect()
    } else {
        path.map(|path| env::split_paths(path).map(|directory| directory.join(name)).collect()).unwrap_or_default()
    };
    candidates.into_iter().find(|candidate| candidate.is_absolute() && same(candidate)).unwrap_or(exact.to_owned())
}

/// One name for each socket; those without one are called `unknown`, as systemd does.
fn names(count: usize, listed: &str) -> Vec<String> {
    let mut names = listed.split(':').filter(|_| !listed.is_empty());
    let name = |_| names.next().unwrap_or("unknown").to_owned();
    (0..count.min(HANDOVER_SOCKETS_MAX)).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_program_is_known_by_the_path_it_was_found_under() {
        let place = env::temp_dir().join(format!("igris-invocation-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&place);
        std::fs::create_dir(&place).expect("a directory");
        let exact = place.join("igris-1.0");
        std::fs::write(&exact, "").expect("written");
        symlink("igris-1.0", place.join("igris")).expect("linked");
        let link = place.join("igris");
        assert_eq!(found_as(link.as_os_str(), &exact, None), link, "a link is followed again each time");
        assert_eq!(found_as(OsStr::new("igris"), &exact, Some(place.as_os_str())), link);
        assert_eq!(found_as(OsStr::new("igris"), &exact, Some(OsStr::new("/nowhere"))), exact);
        assert_eq!(found_as(OsStr::new("/bin/sh"), &exact, None), exact, "a name that is another program's");
        let _ = std::fs::remove_dir_all(&place);
    }

    #[test]
    fn every_socket_has_a_name() {
        assert_eq!(names(3, "igris:admin"), ["igris", "admin", "unknown"]);
        assert_eq!(names(1, ""), ["unknown"]);
        assert_eq!(names(usize::MAX, "").len(), HANDOVER_SOCKETS_MAX);
        assert!(names(0, "igris").is_empty());
    }
}
