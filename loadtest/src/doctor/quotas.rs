//! Judgements on limits: descriptors, ports, backlogs, CPU quotas. Pure: numbers and texts of the kernel in.

use super::{Finding, Level};

/// Descriptors a process may hold, soft and hard; `None` is no limit. The tester raises the soft limit to the hard one by itself.
pub fn open_files(soft: Option<u64>, hard: Option<u64>) -> Finding {
    let most = hard.unwrap_or(u64::MAX);
    let words = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let figure = format!("{} now, {} at most", words(soft), words(hard));
    let finding = Finding::graded("open files", figure, 1.0 / most.max(1) as f64, 1.0 / 4096.0, 1.0 / 256.0);
    finding.because(
        format!("No more than about {} connections fit: streams above that fail to connect, in the tester or in the target.", most.saturating_sub(32)),
        "ulimit -Hn 65536 as root, or LimitNOFILE=65536 in the service",
    )
}

/// The range of ports for outgoing connections, and how many of them rest in TIME_WAIT (`/proc/net/sockstat`).
pub fn ports(range: &str, sockstat: &str) -> Option<Finding> {
    let mut ends = range.split_whitespace().map(str::parse::<u32>);
    let (first, last) = (ends.next()?.ok()?, ends.next()?.ok()?);
    let ports = f64::from(last.saturating_sub(first) + 1);
    let tcp = sockstat.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let waiting = tcp
        .split_whitespace()
        .skip_while(|word| *word != "tw")
        .nth(1)
        .and_then(|text| text.parse::<f64>().ok())
        .unwrap_or(0.0);
    let figure = format!("{ports:.0} to leave from, {waiting:.0} in TIME_WAIT");
    let used = waiting / ports;
    let narrow = if ports < 10_000.0 { 0.5 } else { 0.0 };
    let finding = Finding::graded("ports", figure, used.max(narrow), 0.25, 0.9);
    Some(finding.because(
        "Targets that close connections use one port a request for a minute: connect_failed, and connections that open late.",
        "sudo sysctl net.ipv4.ip_local_port_range='10240 65535' net.ipv4.tcp_tw_reuse=1, and keep connections alive",
    ))
}

/// `somaxconn`: connections that may wait for a server's accept.
pub fn backlog(text: &str) -> Option<Finding> {
    let most: f64 = text.trim().parse().ok()?;
    let finding =
        Finding::graded("backlog", format!("somaxconn {most:.0}"), 1.0 / most.max(1.0), 1.0 / 1024.0, 1.0 / 16.0);
    Some(finding.because(
        "A burst of new connections overflows the target's queue and waits one second for its second try: connect and TTFT.",
        "sudo sysctl net.core.somaxconn=4096",
    ))
}

/// The CPU quota of our control groups: texts of `cpu.max` (version 2), and quota and period of version 1.
pub fn cpu_quota(limits: &[String], older: &str, cores: usize) -> Finding {
    let parse = |text: &str| {
        let (quota, period) = text.trim().split_once(' ')?;
        let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
        (quota > 0.0 && period > 0.0).then_some(quota / period)
    };
    let tightest = limits.iter().map(String::as_str).chain([older]).filter_map(parse).min_by(f64::total_cmp);
    let Some(quota) = tightest else { return Finding::ok("cpu quota", "none") };
    let level = match quota {
        _ if quota < 1.0 => Level::Bad,
        _ if quota < cores as f64 => Level::Warn,
        _ => Level::Ok,
    };
    Finding { level, ..Finding::ok("cpu quota", format!("{quota:.2} of {cores} cores")) }.because(
        "When it is used up all threads stand still until the next period, up to 100 ms: p99 and above, in steps.",
        "run the container without a CPU limit (docker run without --cpus; resources.limits.cpu unset)",
    )
}

/// How often the quota was used up between two looks at `cpu.stat`.
pub fn throttled(before: &str, after: &str) -> Option<Finding> {
    let count = |text: &str| {
        let counts: Vec<f64> =
            text.lines().filter_map(|line| line.strip_prefix("nr_throttled ")?.trim().parse().ok()).collect();
        (!counts.is_empty()).then(|| counts.iter().sum::<f64>())
    };
    let times = count(after)? - count(before)?;
    let finding = Finding::graded("throttling", format!("{times:.0} times while we looked"), times, 1.0, 1.0);
    Some(finding.because(
        "All threads stood still for the rest of a period: p99 and above.",
        "raise or remove the CPU limit of the container",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_count_by_the_hard_limit() {
        assert_eq!(open_files(Some(1024), Some(1_048_576)).level, Level::Ok);
        assert_eq!(open_files(None, None).level, Level::Ok);
        assert_eq!(open_files(Some(1024), Some(4096)).level, Level::Warn);
        let tight = open_files(Some(64), Some(64));
        assert_eq!(tight.level, Level::Bad);
        assert!(tight.effect.contains("32 connections"), "{}", tight.effect);
    }

    #[test]
    fn ports_run_out_by_time_wait() {
        let socks = |waiting: u32| format!("sockets: used 23\nTCP: inuse 1 orphan 0 tw {waiting} alloc 1 mem 2\n");
        let level = |range: &str, waiting| ports(range, &socks(waiting)).expect("a range").level;
        assert_eq!(level("32768\t60999\n", 10), Level::Ok);
        assert_eq!(level("32768\t60999\n", 10_000), Level::Warn);
        assert_eq!(level("32768\t60999\n", 28_000), Level::Bad);
        assert_eq!(level("60000 60999", 0), Level::Warn, "few to begin with");
        assert!(ports("", "").is_none());
    }

    #[test]
    fn backlogs_hold_a_burst() {
        let levels = ["4096\n", "1024", "128", "16"].map(|text| backlog(text).expect("a number").level);
        assert_eq!(levels, [Level::Ok, Level::Warn, Level::Warn, Level::Bad]);
    }

    #[test]
    fn the_tightest_quota_counts() {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        assert_eq!(cpu_quota(&texts(&["max 100000\n", "max 100000"]), " ", 4).figure, "none");
        let outer = cpu_quota(&texts(&["max 100000\n", "150000 100000\n"]), "", 4);
        assert_eq!((outer.level, outer.figure.as_str()), (Level::Warn, "1.50 of 4 cores"));
        assert_eq!(cpu_quota(&[], "50000 100000", 4).level, Level::Bad);
        assert_eq!(cpu_quota(&[], "-1 100000", 4).level, Level::Ok, "-1 is no quota");
        let count = |times: u32| format!("nr_periods 9\nnr_throttled {times}\n");
        assert_eq!(throttled(&count(4), &count(4)).expect("counts").level, Level::Ok);
        assert_eq!(throttled(&count(4), &count(5)).expect("counts").level, Level::Bad);
        assert!(throttled("", "").is_none());
    }
}
