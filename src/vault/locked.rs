//! Memory for the keys at the top of the hierarchy, and a process that cannot be dumped (rule V12).
//!
//! A [`LockedKey`] is 32 bytes on a page of their own: `memfd_secret(2)` where the kernel offers it, which takes the page out
//! of the kernel's own view, and otherwise an anonymous page that is locked, left out of dumps and wiped in a forked child.
//! Every answer of the kernel is checked: advice that did not take is an error, never a silent loss.
//! This is the vault's only file with `unsafe`.

#![allow(unsafe_code)]

use super::error::VaultError;
use super::seal::KEY_BYTES;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use zeroize::Zeroize;

/// 32 secret bytes on their own locked page, wiped and unmapped on drop.
///
/// Invariant: `page` is the start of a live, readable and writable mapping of `bytes_mapped` bytes, at least [`KEY_BYTES`],
/// that nobody else knows of.
pub struct LockedKey {
    page: NonNull<[u8; KEY_BYTES]>,
    bytes_mapped: usize,
}

/// Makes memory dumps impossible: core size 0 and the process not dumpable, both read back (rule V12). Before that, whatever the process
/// makes from now on belongs to its owner alone: umask 077 (rule A1). Called before there are threads, because both are the process's.
///
/// # Errors
/// [`VaultError::Dumpable`] when the kernel refuses either.
pub fn harden_process() -> Result<(), VaultError> {
    // SAFETY: umask takes and returns a number and cannot fail.
    unsafe { libc::umask(0o077) };
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `none` is a valid `rlimit` for the whole call, which only reads it.
    if unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) } != 0 {
        return Err(VaultError::Dumpable(io::Error::last_os_error()));
    }
    // SAFETY: PR_SET_DUMPABLE takes integers only and touches no memory of ours.
    if unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) } != 0 {
        return Err(VaultError::Dumpable(io::Error::last_os_error()));
    }
    // SAFETY: as above; this one only reads a flag.
    match unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(VaultError::Dumpable(io::Error::other("the process is still dumpable"))),
    }
}

// === impl LockedKey ===

// SAFETY: the mapping is owned by this value alone and is plain memory, so it may move to another thread.
unsafe impl Send for LockedKey {}
// SAFETY: through `&LockedKey` the bytes are only read; writing takes `&mut`.
unsafe impl Sync for LockedKey {}

impl LockedKey {
    /// An all-zero key on a page of its own.
    ///
    /// # Errors
    /// [`VaultError::LockedMemory`] when neither kind of page can be had, usually because of `RLIMIT_MEMLOCK`.
    pub fn zeroed() -> Result<Self, VaultError> {
        Self::secret_page().or_else(|_| Self::locked_page()).map_err(VaultError::LockedMemory)
    }

    /// A key with these bytes; the caller wipes its own copy.
    ///
    /// # Errors
    /// As [`LockedKey::zeroed`]; [`VaultError::Malformed`] unless there are exactly 32 bytes.
    pub fn copy_of(bytes: &[u8]) -> Result<Self, VaultError> {
        let bytes: &[u8; KEY_BYTES] = bytes.try_into().map_err(|_| VaultError::Malformed)?;
        let mut key = Self::zeroed()?;
        key.expose_mut().copy_from_slice(bytes);
        Ok(key)
    }

    /// The bytes themselves.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        // SAFETY: by the type's invariant the page is live and readable for as long as `self`; any bytes are a valid array.
        unsafe { self.page.as_ref() }
    }

    /// The bytes, to be filled.
    pub fn expose_mut(&mut self) -> &mut [u8; KEY_BYTES] {
        // SAFETY: as `expose`, and `&mut self` makes this the only reference.
        unsafe { self.page.as_mut() }
    }

    /// A page that even the kernel does not map. It is shared memory, so a forked child must not inherit it at all.
    fn secret_page() -> io::Result<Self> {
        // SAFETY: memfd_secret takes one flags word and returns a descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel has just given us this descriptor and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let bytes_mapped = page_bytes()?;
        let length = libc::off_t::try_from(bytes_mapped).map_err(io::Error::other)?;
        // SAFETY: plain call on a descriptor we own.
        if unsafe { libc::ftruncate(fd.as_raw_fd(), length) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let key = Self::map(libc::MAP_SHARED, fd.as_raw_fd(), bytes_mapped)?;
        key.advise(libc::MADV_DONTFORK)?;
        Ok(key)
    }

    /// An anonymous page, locked, out of dumps, empty in a child.
    fn locked_page() -> io::Result<Self> {
        let key = Self::map(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, page_bytes()?)?;
        // SAFETY: the range is exactly our own live mapping.
        if unsafe { libc::mlock(key.page.as_ptr().cast(), key.bytes_mapped) } != 0 {
            return Err(io::Error::last_os_error());
        }
        key.advise(libc::MADV_DONTDUMP)?;
        key.advise(libc::MADV_WIPEONFORK)?;
        Ok(key)
    }

    fn map(flags: libc::c_int, fd: libc::c_int, bytes_mapped: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: no address is asked for, so no existing mapping can be replaced; the result is checked before use.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes_mapped, protection, flags, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // A fresh mapping is zeroed, page-aligned and a page long: the invariant holds.
        NonNull::new(start.cast()).map(|page| Self { page, bytes_mapped }).ok_or_else(|| io::Error::other("page zero"))
    }

    fn advise(&self, advice: libc::c_int) -> io::Result<()> {
        // SAFETY: the range is exactly our own live mapping; none of the advices used here discards our bytes.
        match unsafe { libc::madvise(self.page.as_ptr().cast(), self.bytes_mapped, advice) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for LockedKey {
    fn drop(&mut self) {
        self.expose_mut().zeroize();
        // SAFETY: the mapping is ours and no reference to it outlives `self`. A failure would only leave a zeroed page behind.
        unsafe { libc::munmap(self.page.as_ptr().cast(), self.bytes_mapped) };
    }
}

impl std::fmt::Debug for LockedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LockedKey(…)")
    }
}

fn page_bytes() -> io::Result<usize> {
    // SAFETY: sysconf reads a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).ok().filter(|bytes| *bytes >= KEY_BYTES).ok_or_else(|| io::Error::other("unknown page size"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags_of(key: &LockedKey) -> String {
        let start = format!("{:x}-", key.page.as_ptr() as usize);
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("smaps");
        let lines: Vec<&str> = maps.lines().skip_while(|line| !line.starts_with(&start)).collect();
        lines.iter().find(|line| line.starts_with("VmFlags:")).expect("the mapping's flags").to_string()
    }

    #[test]
    fn a_locked_page_is_locked_left_out_of_dumps_and_wiped_on_fork() {
        let key = LockedKey::locked_page().expect("a locked page");
        let flags = flags_of(&key);
        for flag in [" lo", " dd", " wf"] {
            assert!(flags.contains(flag), "{flag} in {flags}");
        }
    }

    #[test]
    fn a_secret_page_is_locked_and_not_inherited_where_the_kernel_has_it() {
        let Ok(key) = LockedKey::secret_page() else { return };
        let flags = flags_of(&key);
        for flag in [" lo", " dd", " dc"] {
            assert!(flags.contains(flag), "{flag} in {flags}");
        }
    }

    #[test]
    fn a_key_keeps_its_bytes_and_does_not_print() {
        let key = LockedKey::copy_of(&[7; 32]).expect("locked memory");
        assert_eq!(key.expose(), &[7; 32]);
        assert_eq!(format!("{key:?}"), "LockedKey(…)");
        assert!(matches!(LockedKey::copy_of(&[7; 31]), Err(VaultError::Malformed)));
    }

    #[test]
    fn a_hardened_process_has_no_core_and_is_not_dumpable() {
        // In a child, so that the rest of the suite keeps its view of /proc.
        // SAFETY: the child makes system calls only and leaves by _exit.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork");
        if child == 0 {
            let mut core = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
            let hard = harden_process().is_ok();
            // SAFETY: `core` is ours and outlives the call; prctl reads one flag; _exit does not return.
            unsafe {
                libc::getrlimit(libc::RLIMIT_CORE, &mut core);
                let shut = core.rlim_max == 0 && libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) == 0;
                libc::_exit(if hard && shut { 0 } else { 1 });
            }
        }
        let mut status = -1;
        // SAFETY: `status` is ours; the pid is our own child.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0, "the child could not harden itself");
    }

    #[test]
    fn a_forked_child_sees_no_key() {
        let key = LockedKey::locked_page().map(|mut key| {
            key.expose_mut().fill(9);
            key
        });
        let key = key.expect("a locked page");
        // SAFETY: the child reads its own (wiped) copy of the page and leaves by _exit.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork");
        if child == 0 {
            let wiped = key.expose().iter().all(|byte| *byte == 0);
            // SAFETY: does not return.
            unsafe { libc::_exit(if wiped { 0 } else { 1 }) };
        }
        let mut status = -1;
        // SAFETY: `status` is ours; the pid is our own child.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0, "the child saw the key");
        assert_eq!(key.expose(), &[9; 32]);
    }
}
