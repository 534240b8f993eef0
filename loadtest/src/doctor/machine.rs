//! Judgements on the machine itself: cores, clocking, what other guests and other processes take, memory. Pure: texts of the kernel in.

use super::{Finding, Level};

/// Cores that we may use.
pub fn cores(available: usize) -> Finding {
    let figure = format!("{available} usable");
    let finding = Finding::graded("cores", figure, 1.0 / available.max(1) as f64, 0.3, 2.0);
    finding.because(
        "Tester, target and whatever stands behind it take turns on them: latencies hold each other's CPU time.",
        "run the target on another machine, or pin both apart: taskset -c 0 TARGET; taskset -c 1 igris-load run --threads 1 ...",
    )
}

/// The frequency governors of the cores, one text each; `cpuinfo` tells a virtual machine, which shows none.
pub fn governor(governors: &[String], cpuinfo: &str) -> Finding {
    let guest =
        cpuinfo.lines().any(|line| line.starts_with("flags") && line.split(' ').any(|flag| flag == "hypervisor"));
    let slow = governors.iter().map(|text| text.trim()).find(|name| *name != "performance");
    match (governors.first(), slow) {
        (None, _) if guest => Finding::ok("frequency", "a virtual machine: its host decides"),
        (None, _) => Finding::ok("frequency", "no governor shown: the firmware decides"),
        (Some(_), None) => Finding::ok("frequency", "governor performance"),
        (Some(_), Some(name)) => Finding { level: Level::Warn, ..Finding::ok("frequency", format!("governor {name}")) }.because(
            "Cores slow down between requests: low rates show higher latencies and more CPU time a request than high rates.",
            "sudo cpupower frequency-set -g performance",
        ),
    }
}

/// Whether cores run faster for as long as they stay cool: `no_turbo` of Intel's driver, or `boost` of the others.
pub fn turbo(no_turbo: Option<&str>, boost: Option<&str>) -> Option<Finding> {
    let (on, remedy) = match (no_turbo.map(str::trim), boost.map(str::trim)) {
        (Some(text), _) => (text == "0", "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo"),
        (None, Some(text)) => (text == "1", "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost"),
        (None, None) => return None,
    };
    let level = if on { Level::Warn } else { Level::Ok };
    let finding = Finding { level, ..Finding::ok("turbo", if on { "on" } else { "off" }) };
    Some(finding.because("CPU time a request drifts with the temperature: compare runs only when interleaved.", remedy))
}

/// The first line of `/proc/stat`: ticks of all cores.
struct Ticks {
    all: f64,
    idle: f64,
    stolen: f64,
}

impl Ticks {
    fn parse(stat: &str) -> Option<Self> {
        let ticks: Vec<f64> = stat
            .lines()
            .next()?
            .strip_prefix("cpu ")?
            .split_whitespace()
            .filter_map(|text| text.parse().ok())
            .collect();
        // user nice system idle iowait irq softirq steal; guest time is within user.
        let all = ticks.get(..8)?.iter().sum();
        Some(Self { all, idle: ticks[3] + ticks[4], stolen: ticks[7] })
    }

    /// What passed between two looks; `None` where nothing did.
    fn between(before: &str, after: &str) -> Option<Self> {
        let (before, after) = (Self::parse(before)?, Self::parse(after)?);
        let passed =
            Self { all: after.all - before.all, idle: after.idle - before.idle, stolen: after.stolen - before.stolen };
        (passed.all > 0.0).then_some(passed)
    }
}

/// Time that the hypervisor gave to others while we had work, between two looks at `/proc/stat`.
pub fn steal(before: &str, after: &str) -> Option<Finding> {
    let passed = Ticks::between(before, after)?;
    let share = passed.stolen / passed.all;
    let finding = Finding::graded("steal", format!("{:.1} % of CPU time", share * 100.0), share, 0.01, 0.10);
    Some(finding.because(
        "Other guests of the host take our cores for milliseconds at a time: p99 and above are theirs.",
        "use a machine with dedicated cores, or repeat runs interleaved and take the best",
    ))
}

/// How busy the cores were while we slept, between two looks at `/proc/stat`.
pub fn busy(before: &str, after: &str) -> Option<Finding> {
    let passed = Ticks::between(before, after)?;
    let share = 1.0 - passed.idle / passed.all;
    let finding =
        Finding::graded("busy", format!("{:.0} % of all cores, without us", share * 100.0), share, 0.15, 0.60);
    Some(finding.because(
        "The tester and its target wait for a core: every latency, from p50 up.",
        "end what else runs (see processes below), or pin it elsewhere: taskset -cp CORES PID",
    ))
}

/// `/proc/loadavg` against the cores.
pub fn load_average(loadavg: &str, cores: usize) -> Option<Finding> {
    let minute: f64 = loadavg.split_whitespace().next()?.parse().ok()?;
    let finding =
        Finding::graded("load", format!("{minute:.2} on {cores} cores"), minute / cores.max(1) as f64, 0.5, 1.5);
    Some(finding.because(
        "There was more to run than cores to run it within the last minute: every latency.",
        "wait until `uptime` shows less",
    ))
}

/// `/proc/pressure/cpu`: the share of the last ten seconds in which something was ready and had no core.
pub fn pressure(text: &str) -> Option<Finding> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    let share: f64 = line.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?.parse().ok()?;
    let finding = Finding::graded(
        "pressure",
        format!("{share:.0} % of the last 10 s something waited for a core"),
        share,
        10.0,
        60.0,
    );
    Some(finding.because(
        "Whoever waits may be the tester: lateness and every latency.",
        "end what else runs, or give the test cores of its own",
    ))
}

/// A process and the CPU time it has used.
#[derive(Clone, Debug, PartialEq)]
pub struct Busy {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Ticks of CPU time, user and system.
    pub ticks: f64,
}

impl Busy {
    /// Reads `/proc/PID/stat`. The name stands in parentheses and may hold anything, parentheses and spaces too.
    pub fn parse(stat: &str) -> Option<Self> {
        let (pid, rest) = stat.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        Some(Self { pid: pid.parse().ok()?, name: name.to_owned(), ticks: ticks(11)? + ticks(12)? })
    }
}

/// The busiest other processes between two looks; the two texts of `/proc/stat` say how long that was.
pub fn processes(
    before: &[Busy],
    after: &[Busy],
    stat_before: &str,
    stat_after: &str,
    cores: usize,
) -> Option<Finding> {
    let one_core = Ticks::between(stat_before, stat_after)?.all / cores.max(1) as f64;
    let used = |now: &Busy| {
        let known = before.iter().find(|then| then.pid == now.pid && then.name == now.name);
        now.ticks - known.map_or(0.0, |then| then.ticks)
    };
    let mut shares: Vec<_> =
        after.iter().map(|now| (used(now) / one_core, now)).filter(|(share, _)| *share > 0.05).collect();
    shares.sort_by(|left, right| right.0.total_cmp(&left.0));
    let Some(&(most, _)) = shares.first() else { return Some(Finding::ok("processes", "none above 5 % of a core")) };
    let named: Vec<_> = shares
        .iter()
        .take(3)
        .map(|(share, busy)| format!("{} ({}) {:.0} %", busy.name, busy.pid, share * 100.0))
        .collect();
    let finding = Finding::graded("processes", format!("{} of a core", named.join(", ")), most, 0.10, f64::INFINITY);
    Some(finding.because(
        "They share cores and caches with the test: spikes in p99 and above.",
        "stop them, unless they are your target",
    ))
}

fn kib(meminfo: &str, name: &str) -> Option<f64> {
    let line = meminfo.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// `/proc/meminfo`: what is free for 10 000 connections and their target.
pub fn memory(meminfo: &str) -> Option<Finding> {
    let mib = kib(meminfo, "MemAvailable")? / 1024.0;
    let finding = Finding::graded("memory", format!("{mib:.0} MiB available"), 1024.0 / mib.max(1.0), 2.0, 8.0);
    Some(finding.because(
        "Near the end of memory the kernel reclaims pages in the middle of a request: p99 and above.",
        "end what holds memory, or lower --connections",
    ))
}

/// Pages swapped between two looks at `/proc/vmstat`.
pub fn swapping(before: &str, after: &str) -> Option<Finding> {
    let count = |text: &str| -> Option<f64> {
        let of = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        Some(of("pswpin ")? + of("pswpout ")?)
    };
    let pages = count(after)? - count(before)?;
    let finding = Finding::graded("swap", format!("{pages:.0} pages moved while we looked"), pages, 1.0, 100.0);
    Some(finding.because(
        "A request that touches a swapped page waits for the disk: milliseconds in p99 and above.",
        "sudo swapoff -a, or end what holds memory",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(user: u64, idle: u64, stolen: u64) -> String {
        format!("cpu  {user} 0 0 {idle} 0 0 0 {stolen} 0 0\ncpu0 {user} 0 0 {idle} 0 0 0 {stolen} 0 0\n")
    }

    fn level(finding: Option<Finding>) -> Level {
        let finding = finding.expect("these texts say something");
        assert_eq!(finding.level > Level::Ok, !finding.remedy.is_empty() && !finding.effect.is_empty(), "{finding:?}");
        finding.level
    }

    #[test]
    fn few_cores_are_to_mind_and_never_bad() {
        let levels = [1, 2, 3, 4, 64].map(|count| level(Some(cores(count))));
        assert_eq!(levels, [Level::Warn, Level::Warn, Level::Warn, Level::Ok, Level::Ok]);
    }

    #[test]
    fn governors_and_guests_are_told_apart() {
        let texts = |names: &[&str]| names.iter().map(|name| format!("{name}\n")).collect::<Vec<_>>();
        assert_eq!(governor(&texts(&["performance", "performance"]), "").level, Level::Ok);
        let mixed = governor(&texts(&["performance", "powersave"]), "");
        assert_eq!((mixed.level, mixed.figure.as_str()), (Level::Warn, "governor powersave"));
        assert!(governor(&[], "flags\t\t: fpu hypervisor sse").figure.contains("virtual"));
        assert!(governor(&[], "flags\t\t: fpu sse").figure.contains("firmware"));
        assert_eq!(level(turbo(Some("0\n"), None)), Level::Warn);
        assert_eq!(level(turbo(None, Some("0\n"))), Level::Ok);
        assert_eq!(turbo(None, None), None);
    }

    #[test]
    fn ticks_are_shares_of_what_passed() {
        let before = stat(1000, 1000, 1000);
        assert_eq!(level(steal(&before, &stat(1000, 1200, 1000))), Level::Ok);
        assert_eq!(level(steal(&before, &stat(1000, 1190, 1010))), Level::Warn);
        assert_eq!(level(steal(&before, &stat(1000, 1100, 1100))), Level::Bad);
        assert_eq!(level(busy(&before, &stat(1010, 1190, 1000))), Level::Ok);
        assert_eq!(level(busy(&before, &stat(1060, 1140, 1000))), Level::Warn);
        assert_eq!(level(busy(&before, &stat(1200, 1000, 1000))), Level::Bad);
        assert_eq!(steal(&before, &before), None, "no time passed");
        assert_eq!(busy("intr 5", "cpu 1 2"), None, "not what it should be");
    }

    #[test]
    fn load_and_pressure_count_by_core_and_by_time() {
        assert_eq!(level(load_average("0.50 0.1 0.1 1/9 5", 4)), Level::Ok);
        assert_eq!(level(load_average("2.00 0.1 0.1 1/9 5", 4)), Level::Warn);
        assert_eq!(level(load_average("2.00 0.1 0.1 1/9 5", 1)), Level::Bad);
        assert_eq!(level(pressure("some avg10=3.00 avg60=70 avg300=0 total=9\nfull avg10=0.00")), Level::Ok);
        assert_eq!(level(pressure("some avg10=72.55 avg60=0 avg300=0 total=9")), Level::Bad);
        assert_eq!(pressure(""), None);
    }

    #[test]
    fn busy_processes_are_named_the_busiest_first() {
        let line = |pid: u32, name: &str, user: u64| {
            format!("{pid} ({name}) S 1 1 1 0 -1 4194304 9 0 0 0 {user} 10 0 0 20 0 1 0 5 0 0")
        };
        let parse = |text: String| Busy::parse(&text).expect("a process");
        let before = [parse(line(7, "a (b) c", 100)), parse(line(8, "quiet", 5))];
        assert_eq!((before[0].name.as_str(), before[0].ticks), ("a (b) c", 110.0));
        let after = [parse(line(7, "a (b) c", 150)), parse(line(8, "quiet", 5)), parse(line(9, "new", 80))];
        let found = processes(&before, &after, &stat(0, 0, 0), &stat(100, 100, 0), 2).expect("time passed");
        assert_eq!(found.figure, "new (9) 90 %, a (b) c (7) 50 % of a core");
        assert_eq!(found.level, Level::Warn);
        let none = processes(&before, &before, &stat(0, 0, 0), &stat(100, 100, 0), 2).expect("time passed");
        assert_eq!(none.level, Level::Ok);
        assert_eq!(Busy::parse("7 (cut"), None);
    }

    #[test]
    fn little_memory_and_swapping_hurt() {
        assert_eq!(level(memory("MemTotal: 9 kB\nMemAvailable:    8388608 kB\n")), Level::Ok);
        assert_eq!(level(memory("MemAvailable: 400000 kB")), Level::Warn);
        assert_eq!(level(memory("MemAvailable: 90000 kB")), Level::Bad);
        let pages = |count: u64| format!("pgfault 7\npswpin {count}\npswpout 5\n");
        assert_eq!(level(swapping(&pages(3), &pages(3))), Level::Ok);
        assert_eq!(level(swapping(&pages(3), &pages(4))), Level::Warn);
        assert_eq!(level(swapping(&pages(3), &pages(300))), Level::Bad);
    }
}
