//! Judgements on measured waits: timers, loopback, threads, the clock. Pure: measured nanoseconds in.

use super::Finding;
use hdrhistogram::Histogram;

/// p50 and p99 in words, and the p99 in microseconds.
fn quantiles(measured: &Histogram<u64>) -> (String, f64) {
    let at = |quantile| measured.value_at_quantile(quantile) as f64 / 1e3;
    (format!("p50 {:.0} us, p99 {:.0} us of {}", at(0.5), at(0.99), measured.len()), at(0.99))
}

fn waited(check: &'static str, measured: Option<Histogram<u64>>, warn_us: f64, bad_us: f64) -> Finding {
    match measured.filter(|measured| !measured.is_empty()) {
        Some(measured) => {
            let (figure, p99) = quantiles(&measured);
            Finding::graded(check, figure, p99, warn_us, bad_us)
        }
        None => Finding::graded(check, "could not be measured", 1.0, 1.0, 2.0),
    }
}

/// How late a timer wakes us. The tester's own lateness cannot be better.
pub fn timers(measured: Option<Histogram<u64>>) -> Finding {
    waited("timers", measured, 250.0, 5000.0).because(
        "Requests leave so much later than planned; it is contained in TTFT and end to end, and stamps them DEGRADED when it shows.",
        "free a core (see busy), pin the tester: taskset -c N igris-load ..., or raise its priority: sudo chrt -r 10 igris-load ...",
    )
}

/// A round trip over loopback between two threads: the floor under every latency on this machine.
pub fn loopback(measured: Option<Histogram<u64>>) -> Finding {
    waited("loopback", measured, 500.0, 5000.0).because(
        "No latency measured over loopback here can be below it; its p99 is in everybody's p99.",
        "free a core, or turn deep sleep states off: sudo cpupower idle-set -D 10",
    )
}

/// How long a sleeping thread takes to run after another has woken it.
pub fn wakes(measured: Option<Histogram<u64>>) -> Finding {
    waited("wake-up", measured, 250.0, 5000.0).because(
        "Targets with thread pools pay it several times a request.",
        "free a core, or turn deep sleep states off: sudo cpupower idle-set -D 10",
    )
}

/// What the clock is read from, and what a reading costs in nanoseconds.
pub fn clock(source: Option<&str>, cost_ns: f64) -> Finding {
    let source = source.map_or("unknown source", str::trim);
    let finding = Finding::graded("clock", format!("{source}, {cost_ns:.0} ns a reading"), cost_ns, 250.0, 2500.0);
    finding.because(
        "Every request and every event reads it several times: events per CPU-second, in the tester and in most targets.",
        "echo tsc | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource (if it is listed beside it)",
    )
}

/// `/proc/self/timerslack_ns`: by how much the kernel may delay our timers to save power.
pub fn slack(text: &str) -> Option<Finding> {
    let nanos: f64 = text.trim().parse().ok()?;
    let finding = Finding::graded("timer slack", format!("{:.0} us", nanos / 1e3), nanos, 100e3, 10e6);
    Some(finding.because(
        "Sleeps of targets and of this tester end so much later.",
        "start it from a shell with the usual slack of 50 us",
    ))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn waits(micros: u64) -> Option<Histogram<u64>> {
        let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("a valid range");
        histogram.record_n(micros * 1000, 100).expect("in range");
        Some(histogram)
    }

    #[test]
    fn long_waits_are_worse_and_missing_ones_are_told() {
        let levels = [60, 300, 9000].map(|micros| timers(waits(micros)).level);
        assert_eq!(levels, [Level::Ok, Level::Warn, Level::Bad]);
        assert_eq!(loopback(waits(90)).level, Level::Ok);
        assert_eq!(wakes(waits(6000)).level, Level::Bad);
        let unknown = wakes(None);
        assert_eq!((unknown.level, unknown.figure.as_str()), (Level::Warn, "could not be measured"));
        assert!(timers(waits(60)).figure.starts_with("p50 60 us, p99 60 us of 100"));
    }

    #[test]
    fn slow_clocks_are_named() {
        assert_eq!(clock(Some("tsc\n"), 25.0), Finding::ok("clock", "tsc, 25 ns a reading"));
        assert_eq!(clock(Some("hpet"), 1200.0).level, Level::Warn);
        assert_eq!(slack("50000\n").map(|finding| finding.level), Some(Level::Ok));
        assert_eq!(slack(""), None);
    }
}
