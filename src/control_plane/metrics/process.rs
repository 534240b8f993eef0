//! The process as Linux sees it, under the names that all exporters have in common
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>). What cannot be read is left out.

use super::families::{PROCESS_CPU, PROCESS_FDS, PROCESS_FDS_MAX, PROCESS_RSS, PROCESS_START, PROCESS_VIRTUAL};
use super::page::Page;
use std::fs;

/// Adds them to the page.
pub(super) fn add(page: &mut Page) {
    if let Some(state) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(state) {
        let tick = ticks_per_second();
        page.one(&PROCESS_CPU, state.cpu_ticks as f64 / tick);
        page.one(&PROCESS_VIRTUAL, state.virtual_bytes);
        if let Some(boot) = boot_seconds() {
            page.one(&PROCESS_START, boot + state.start_ticks as f64 / tick);
        }
    }
    if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_bytes) {
        page.one(&PROCESS_RSS, bytes);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is what reads this list.
        page.one(&PROCESS_FDS, (open.count() as u64).saturating_sub(1));
    }
    if let Ok(most) = rlimit::Resource::NOFILE.get_soft() {
        page.one(&PROCESS_FDS_MAX, most);
    }
}

struct State {
    cpu_ticks: u64,
    start_ticks: u64,
    virtual_bytes: u64,
}

/// Fields 14, 15, 22 and 23 of proc_pid_stat(5); the name in field 2 may hold anything but ends at the last parenthesis.
fn state(text: &str) -> Option<State> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(State { cpu_ticks: number(14)? + number(15)?, start_ticks: number(22)?, virtual_bytes: number(23)? })
}

fn boot_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// What the kernel shows times in: a hundredth of a second on every machine that Linux runs on.
fn ticks_per_second() -> f64 {
    100.0
}

/// `VmRSS` of proc_pid_status(5), which is in kibibytes whatever a page is.
fn resident_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_read_behind_any_name() {
        let text =
            "7 (a) b) c) S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 12345 8192000 321 18446744073709551615";
        let state = state(text).expect("read");
        assert_eq!((state.cpu_ticks, state.start_ticks, state.virtual_bytes), (300, 12_345, 8_192_000));
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t  12 kB\n"), Some(12_288));
    }

    #[test]
    fn this_process_has_them_all() {
        let mut page = Page::default();
        add(&mut page);
        assert_eq!(page.families.len(), 6);
    }
}
