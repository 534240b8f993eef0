//! What the process uses of the machine: resident memory and file descriptors, read from `/proc` by whichever core finds them old.
//!
//! One reading every [`limits::VITALS_TICK`] serves all cores: who moves the time of the last reading on is the one who reads. A reading is
//! two system calls into a buffer on the stack. Where `/proc` cannot be read nothing is known, and nothing is held against anybody.

use super::overload::percent;
use crate::limits;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The process as its cores see it.
pub struct Vitals {
    started: Instant,
    statm: Option<File>,
    page_bytes: u64,
    memory_bytes_max: u64,
    descriptors_max: u64,
    cores: u64,
    /// When it was last read, milliseconds since `started`, plus one; 0 is never.
    read_at: AtomicU64,
    memory_bytes: AtomicU64,
    descriptors: AtomicU64,
}

impl Vitals {
    /// Of this process, which may open so many descriptors and works on so many cores.
    pub fn of_process(descriptors_max: u64, cores: usize) -> Self {
        Self {
            started: Instant::now(),
            statm: File::open("/proc/self/statm").ok(),
            page_bytes: page_bytes(),
            memory_bytes_max: memory_bytes_max(&|path| fs::read_to_string(path).ok()),
            descriptors_max,
            cores: cores.max(1) as u64,
            read_at: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
            descriptors: AtomicU64::new(0),
        }
    }

    /// Memory that the process should stay within unless its owner says otherwise: its control group's limit, else a share of the machine's.
    pub fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max
    }

    /// Cores that share the process's memory.
    pub fn cores(&self) -> u64 {
        self.cores
    }

    /// Reads anew if the last reading is old.
    pub fn refresh(&self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.started).as_millis();
        let now_ms = u64::try_from(elapsed).unwrap_or(u64::MAX - 1) + 1;
        let read_at = self.read_at.load(Ordering::Relaxed);
        let fresh = read_at != 0 && now_ms.saturating_sub(read_at) < limits::VITALS_TICK.as_millis() as u64;
        if fresh || self.read_at.compare_exchange(read_at, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let mut text = [0; 128];
        let read = self.statm.as_ref().and_then(|statm| statm.read_at(&mut text, 0).ok());
        if let Some(pages) = read.and_then(|length| resident_pages(text.get(..length)?)) {
            self.memory_bytes.store(pages.saturating_mul(self.page_bytes), Ordering::Relaxed);
        }
        if let Some(count) = open_descriptors() {
            self.descriptors.store(count, Ordering::Relaxed);
        }
    }

    /// Resident memory against `limit`, else against the process's own; percent.
    pub fn memory_percent(&self, limit: Option<u64>) -> u32 {
        percent(self.memory_bytes.load(Ordering::Relaxed), limit.unwrap_or(self.memory_bytes_max))
    }

    /// Open descriptors against how many there may be; percent.
    pub fn descriptors_percent(&self) -> u32 {
        percent(self.descriptors.load(Ordering::Relaxed), self.descriptors_max)
    }
}

/// The second field of `statm` (proc(5)).
fn resident_pages(statm: &[u8]) -> Option<u64> {
    let field = statm.split(|byte| *byte == b' ').nth(1)?;
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// The size of `/proc/self/fd` is the number of descriptors since Linux 6.2, and 0 before; then nothing is known without a walk that would
/// take milliseconds at a hundred thousand of them.
fn open_descriptors() -> Option<u64> {
    fs::metadata("/proc/self/fd").ok().map(|folder| folder.len()).filter(|count| *count > 0)
}

/// Bytes of a page, from the C library's own word for it.
fn page_bytes() -> u64 {
    const USUAL: u64 = 4_096;
    // The auxiliary vector has it under the number 6 (getauxval(3)): pairs of words.
    let Ok(auxiliary) = fs::read("/proc/self/auxv") else { return USUAL };
    let word = |bytes: &[u8]| bytes.try_into().map(usize::from_ne_bytes).unwrap_or_default();
    let (size, page) = (size_of::<usize>(), 6);
    let mut pairs = auxiliary.chunks_exact(2 * size).map(|pair| (word(&pair[..size]), word(&pair[size..])));
    pairs.find(|(kind, _)| *kind == page).map_or(USUAL, |(_, bytes)| bytes as u64).max(1)
}

/// What `read` finds of a limit: the control group's, version 2 then 1, else a share of the machine's memory; without any, no limit.
fn memory_bytes_max(read: &dyn Fn(&str) -> Option<String>) -> u64 {
    let machine = read("/proc/meminfo").and_then(|text| total_bytes(&text)).unwrap_or(u64::MAX);
    let group = group_limit(read).filter(|limit| *limit < machine);
    group.unwrap_or(machine / 100 * limits::MEMORY_SHARE_PERCENT)
}

fn group_limit(read: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let groups = read("/proc/self/cgroup")?;
    let number = |path: &str| read(path).and_then(|text| text.trim().parse::<u64>().ok());
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let root = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        // In a container the group's own path may not be there: its root then is the group.
        let own = number(&format!("{}{}/{}", root.0, path.trim_end_matches('/'), root.1));
        own.or_else(|| number(&format!("{}/{}", root.0, root.1)))
    });
    limits.min()
}

/// `MemTotal` of meminfo.
fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit_of(files: &[(&str, &str)]) -> u64 {
        let files: Vec<(String, String)> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        memory_bytes_max(&|path| files.iter().find(|(known, _)| known == path).map(|(_, text)| text.clone()))
    }

    const MEMINFO: (&str, &str) = ("/proc/meminfo", "MemTotal:        1000 kB\nMemFree: 5 kB\n");

    #[test]
    fn the_limit_is_the_groups_where_it_has_one() {
        let share = 1_024_000 / 100 * limits::MEMORY_SHARE_PERCENT;
        assert_eq!(limit_of(&[MEMINFO]), share);
        let second = ("/proc/self/cgroup", "0::/app\n");
        assert_eq!(limit_of(&[MEMINFO, second, ("/sys/fs/cgroup/app/memory.max", "5000\n")]), 5_000);
        assert_eq!(limit_of(&[MEMINFO, second, ("/sys/fs/cgroup/memory.max", "6000\n")]), 6_000);
        assert_eq!(limit_of(&[MEMINFO, second, ("/sys/fs/cgroup/app/memory.max", "max\n")]), share);
        let first = ("/proc/self/cgroup", "5:cpu:/\n4:memory:/box\n");
        let own = "/sys/fs/cgroup/memory/box/memory.limit_in_bytes";
        assert_eq!(limit_of(&[MEMINFO, first, (own, "7000")]), 7_000);
        assert_eq!(limit_of(&[MEMINFO, first, (own, "9223372036854771712")]), share, "no limit in words of version 1");
        assert_eq!(limit_of(&[]), u64::MAX / 100 * limits::MEMORY_SHARE_PERCENT, "nothing known, nothing held against");
    }

    #[test]
    fn a_reading_is_of_this_process() {
        let vitals = Vitals::of_process(1_000_000, 1);
        let now = Instant::now();
        vitals.refresh(now);
        let bytes = vitals.memory_bytes.load(Ordering::Relaxed);
        assert!(bytes > 1024 * 1024, "{bytes}");
        assert_eq!(vitals.memory_percent(Some(bytes)), 100);
        assert!(vitals.memory_percent(Some(bytes * 2)) >= 49);
        // Read again only when it is old.
        vitals.memory_bytes.store(1, Ordering::Relaxed);
        vitals.refresh(now + limits::VITALS_TICK / 2);
        assert_eq!(vitals.memory_bytes.load(Ordering::Relaxed), 1);
        vitals.refresh(now + limits::VITALS_TICK * 2);
        assert!(vitals.memory_bytes.load(Ordering::Relaxed) > 1024 * 1024);
    }

    #[test]
    fn statm_is_read_or_not_believed() {
        assert_eq!(resident_pages(b"100 25 3 1 0 9 0\n"), Some(25));
        assert_eq!(resident_pages(b""), None);
        assert_eq!(resident_pages(b"100 x"), None);
    }
}
