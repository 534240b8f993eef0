//! What the kernel's books say of a process: its processor time, its resident memory, and its system calls by strace(1).

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process::{Background, ask};

/// How long strace is given to stop every thread of a process.
const ATTACH: Duration = Duration::from_millis(700);

/// User and system time of a process so far, clock ticks.
pub(crate) type Ticks = (u64, u64);

/// Processor time of something that was done so many times, microseconds each.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cost {
    /// In the program's own code.
    pub(crate) user: f64,
    /// In the kernel, on its behalf.
    pub(crate) system: f64,
}

/// User and system time of a process with all its threads: fields 14 and 15 of `/proc/PID/stat` (proc(5)).
pub(crate) fn cpu_time(id: u32) -> Result<Ticks> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).context("the proxy's times cannot be read")?;
    times_of(&stat).context("/proc/PID/stat has another form than proc(5) says")
}

fn times_of(stat: &str) -> Option<Ticks> {
    // The second field is the program's name in parentheses and may hold spaces; counting starts after it.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11).map(str::parse);
    Some((fields.next()?.ok()?, fields.next()?.ok()?))
}

// === impl Cost ===

impl Cost {
    /// What was used between two readings, shared out.
    pub(crate) fn between(before: Ticks, after: Ticks, count: f64) -> Cost {
        let each = |ticks: u64| ticks as f64 * tick_us() / count.max(1.0);
        Cost { user: each(after.0.saturating_sub(before.0)), system: each(after.1.saturating_sub(before.1)) }
    }

    /// User and system time together.
    pub(crate) fn total(self) -> f64 {
        self.user + self.system
    }
}

/// Microseconds of a clock tick: 10 000 wherever USER_HZ is Linux' usual 100.
pub(crate) fn tick_us() -> f64 {
    static TICK: OnceLock<f64> = OnceLock::new();
    *TICK.get_or_init(|| {
        let answer = ask(Command::new("getconf").arg("CLK_TCK")).ok();
        let per_second = answer.and_then(|ran| ran.output.trim().parse::<f64>().ok()).filter(|ticks| *ticks >= 1.0);
        1_000_000.0 / per_second.unwrap_or(100.0)
    })
}

/// Resident memory of a process, KiB.
pub(crate) fn resident_kib(id: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).context("the proxy's memory cannot be read")?;
    resident_of(&status).context("/proc/PID/status has another form than proc(5) says")
}

fn resident_of(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// System calls of a process while something is done: strace counts those of every thread, and slows all of them down.
///
/// # Errors
/// strace cannot be started or may not look at the process, or what is done fails.
pub(crate) fn calls_during(id: u32, folder: &Path, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let summary = folder.join("calls.txt");
    let mut command = Command::new("strace");
    command.args(["-c", "-f", "-q", "-p", &id.to_string(), "-o"]).arg(&summary);
    let mut tracer = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    thread::sleep(ATTACH);
    let attached = matches!(tracer.try_wait(), Ok(None));
    let done = if attached { work() } else { Ok(()) };
    // The summary is written when strace is interrupted; then the process runs on untouched.
    ask(Command::new("kill").args(["-INT", &tracer.id().to_string()])).ok();
    tracer.wait().ok();
    done?;
    ensure!(attached, "strace may not look at process {id}");
    let text = fs::read_to_string(&summary).context("strace left no summary")?;
    calls_of(&text).context("strace's summary has another form than strace(1) says")
}

/// The sum of the column of calls: share, seconds, microseconds a call, calls, errors if any, name.
fn calls_of(summary: &str) -> Option<f64> {
    let rows = summary.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let rows = rows
        .filter(|row| row.last() != Some(&"total") && row.first().is_some_and(|share| share.parse::<f64>().is_ok()));
    let calls: Vec<f64> = rows.map(|row| row.get(3).and_then(|calls| calls.parse().ok())).collect::<Option<_>>()?;
    (!calls.is_empty()).then(|| calls.iter().sum())
}

/// That a program still runs, and what it said where it does not.
pub(crate) fn alive(process: &mut Background, name: &str) -> Result<()> {
    ensure!(process.alive(), "{name} ended during the load:\n{}", process.output());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_the_name() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 100 0 0 0 123 45 0 0 20 0 3 0 100 1000 10 0";
        assert_eq!(times_of(stat), Some((123, 45)));
        assert_eq!(times_of("42 (short) S 1"), None);
    }

    #[test]
    fn memory_is_read() {
        assert_eq!(resident_of("Name:\tigris\nVmHWM:\t  900 kB\nVmRSS:\t   16384 kB\n"), Some(16_384.0));
        assert_eq!(resident_of("Name:\tkthreadd\n"), None, "a kernel thread has none");
    }

    #[test]
    fn calls_are_summed() {
        let summary = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 52.63    0.000010           0       123           read
 47.37    0.000009           1        77        12 epoll_wait
------ ----------- ----------- --------- --------- ----------------
100.00    0.000019           0       200        12 total
";
        assert_eq!(calls_of(summary), Some(200.0));
        assert_eq!(calls_of("strace: Process 1 attached\n"), None);
    }

    #[test]
    fn time_is_shared_out() {
        let cost = Cost::between((10, 20), (30, 50), 1_000.0);
        assert_eq!((cost.user / tick_us() * 1_000.0, cost.system / tick_us() * 1_000.0), (20.0, 30.0));
        assert!((cost.total() - cost.user - cost.system).abs() < 1e-9);
    }
}
