//! What about this machine will hurt a measurement: each finding with its figure, which result it touches, and what to type.
//!
//! [`examine`] looks and measures for a few seconds; the judgements are pure functions of the kernel's texts and of measured
//! waits, in [`machine`], [`quotas`] and [`waits`]. It changes nothing, and it needs no rights.

mod finding;
pub mod machine;
mod probes;
pub mod quotas;
pub mod waits;

pub use finding::{Diagnosis, Finding, Level};

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Looks at the machine for about this long, two seconds being enough for a p99 of its timers.
pub fn examine(time: Duration) -> Diagnosis {
    let before = Look::take();
    // The machine alone first: how busy it is without us. Then its timers, its loopback and its threads.
    std::thread::sleep(time / 4);
    let quiet = Look::take();
    let timers = probes::timer_lateness(time / 2);
    let loopback = probes::loopback_round_trips(time / 8);
    let wakes = probes::thread_wakes(time / 8);
    let clock = probes::clock_cost();
    let after = Look::take();
    let mut findings = Vec::new();
    findings.extend(of_the_machine(&before, &quiet, &after));
    findings.extend(of_its_limits(&before, &after));
    findings.extend([
        waits::clock(read("/sys/devices/system/clocksource/clocksource0/current_clocksource").as_deref(), clock),
        waits::timers(timers),
        waits::loopback(loopback),
        waits::wakes(wakes),
    ]);
    findings.extend(read("/proc/self/timerslack_ns").and_then(|text| waits::slack(&text)));
    Diagnosis { findings }
}

/// The texts that change while we look.
struct Look {
    stat: String,
    pages: String,
    throttling: String,
    processes: Vec<machine::Busy>,
}

impl Look {
    fn take() -> Self {
        Self {
            stat: read("/proc/stat").unwrap_or_default(),
            pages: read("/proc/vmstat").unwrap_or_default(),
            throttling: cgroup_texts("cpu.stat").concat(),
            processes: processes(),
        }
    }
}

fn of_the_machine(before: &Look, quiet: &Look, after: &Look) -> Vec<Finding> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut findings = vec![machine::cores(cores)];
    findings.push(machine::governor(&governors(), &read("/proc/cpuinfo").unwrap_or_default()));
    findings.extend(machine::turbo(
        read("/sys/devices/system/cpu/intel_pstate/no_turbo").as_deref(),
        read("/sys/devices/system/cpu/cpufreq/boost").as_deref(),
    ));
    findings.extend(machine::steal(&before.stat, &after.stat));
    findings.extend(machine::busy(&before.stat, &quiet.stat));
    findings.extend(machine::load_average(&read("/proc/loadavg").unwrap_or_default(), cores));
    findings.extend(machine::pressure(&read("/proc/pressure/cpu").unwrap_or_default()));
    findings.extend(machine::processes(&before.processes, &quiet.processes, &before.stat, &quiet.stat, cores));
    findings.extend(machine::memory(&read("/proc/meminfo").unwrap_or_default()));
    findings.extend(machine::swapping(&before.pages, &after.pages));
    findings
}

fn of_its_limits(before: &Look, after: &Look) -> Vec<Finding> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let mut findings = vec![quotas::open_files(limit.current, limit.maximum)];
    findings.extend(quotas::ports(
        &read("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default(),
        &read("/proc/net/sockstat").unwrap_or_default(),
    ));
    findings.extend(quotas::backlog(&read("/proc/sys/net/core/somaxconn").unwrap_or_default()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    findings.push(quotas::cpu_quota(&cgroup_texts("cpu.max"), &older_quota(), cores));
    findings.extend(quotas::throttled(&before.throttling, &after.throttling));
    findings
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The governor of each core that shows one.
fn governors() -> Vec<String> {
    let Ok(cores) = fs::read_dir("/sys/devices/system/cpu") else { return Vec::new() };
    cores.flatten().filter_map(|core| read(core.path().join("cpufreq/scaling_governor"))).collect()
}

/// A file of our own control group (version 2) and of all above it: each may set a limit.
fn cgroup_texts(file: &str) -> Vec<String> {
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let Some(own) = groups.lines().find_map(|line| line.strip_prefix("0::/")) else { return Vec::new() };
    let root = PathBuf::from("/sys/fs/cgroup");
    let own = root.join(own);
    own.ancestors()
        .take_while(|folder| folder.starts_with(&root))
        .filter_map(|folder| read(folder.join(file)))
        .collect()
}

/// Quota and period of version 1, where that is what there is.
fn older_quota() -> String {
    let quota = read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").unwrap_or_default();
    let period = read("/sys/fs/cgroup/cpu/cpu.cfs_period_us").unwrap_or_default();
    format!("{} {}", quota.trim(), period.trim())
}

/// Every process but ourselves with the CPU time it has used.
fn processes() -> Vec<machine::Busy> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let own = std::process::id().to_string();
    let others = entries.flatten().filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.bytes().all(|byte| byte.is_ascii_digit()) && *name != *own
    });
    others.filter_map(|entry| machine::Busy::parse(&read(entry.path().join("stat"))?)).collect()
}
