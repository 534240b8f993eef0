//! What a process costs, as the kernel counts it: processor time of all its threads and resident memory (proc(5)).

use std::fs;
use std::time::Duration;

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all its threads, those that ended included.
    pub cpu: Duration,
    /// Resident bytes now.
    pub resident: u64,
}

impl Usage {
    /// What a process has used so far; `None` once it is gone, or where there is no `/proc`.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let ticks = rustix::param::clock_ticks_per_second();
        Some(Self { cpu: cpu_time(&stat, ticks)?, resident: resident(&status)? })
    }
}

/// Fields 14 and 15 of `/proc/PID/stat`, after the name, which may hold spaces and brackets.
fn cpu_time(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_secs_f64(user.checked_add(system)? as f64 / ticks_per_second.max(1) as f64))
}

/// `VmRSS` of `/proc/PID/status`, which is in KiB.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_move_the_fields() {
        let stat = "12 (a) b) c) S 1 12 12 0 -1 4194560 100 0 0 0 250 50 7 7 20 0 3 0 100 1000 200";
        assert_eq!(cpu_time(stat, 100), Some(Duration::from_secs(3)));
        assert_eq!(cpu_time("12 (a) S", 100), None);
        assert_eq!(resident("Name: a\nVmRSS:\t    2048 kB\n"), Some(2048 * 1024));
        assert_eq!(resident("Name: a\n"), None);
    }

    #[test]
    fn this_process_is_there_and_no_process_zero() {
        let usage = Usage::of(std::process::id()).expect("a living process");
        assert!(usage.resident > 100_000, "{usage:?}");
        assert_eq!(Usage::of(0), None);
    }
}
