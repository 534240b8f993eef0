//! Which CPUs this process may use, and pinning a worker to one of them.
//!
//! This file holds `unsafe` because the affinity calls exist only in the C library; each block passes a local set and its size.
#![allow(unsafe_code)] // sched_getaffinity and sched_setaffinity through libc, no pointer outlives its call.

use std::{io, mem};

/// The CPUs this process is allowed to run on, ascending (cgroup and `taskset` limits included).
///
/// Falls back to `0..available_parallelism` where the kernel will not say (more CPUs than a fixed set holds).
pub fn allowed_cpus() -> Vec<usize> {
    // SAFETY: an all-zero `cpu_set_t` is a valid empty set (it is an array of integers).
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `set` is a live local of exactly the size we state; the kernel writes at most that much.
    let failed = unsafe { libc::sched_getaffinity(0, mem::size_of::<libc::cpu_set_t>(), &mut set) } != 0;
    if failed {
        return (0..std::thread::available_parallelism().map_or(1, usize::from)).collect();
    }
    // SAFETY: CPU_ISSET reads one bit of `set`; the index stays below CPU_SETSIZE, the number of bits it has.
    (0..libc::CPU_SETSIZE as usize).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect()
}

/// Pins the calling thread to `cpu`.
///
/// # Errors
/// The kernel's, when the CPU does not exist or is not allowed.
pub fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: an all-zero `cpu_set_t` is a valid empty set (it is an array of integers).
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: CPU_SET sets one bit of a live local; the index was checked against the number of bits.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the kernel only reads `set`, a live local of exactly the size we state; 0 names the calling thread.
    match unsafe { libc::sched_setaffinity(0, mem::size_of::<libc::cpu_set_t>(), &set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_sees_only_its_cpu() {
        let all = allowed_cpus();
        assert!(!all.is_empty());
        let last = *all.last().expect("a running thread has a CPU");
        let seen = std::thread::spawn(move || pin(last).map(|()| allowed_cpus())).join().expect("the thread ends");
        assert_eq!(seen.expect("an allowed CPU can be pinned to"), vec![last]);
    }

    #[test]
    fn an_impossible_cpu_is_an_error() {
        assert!(pin(usize::MAX).is_err());
    }
}
