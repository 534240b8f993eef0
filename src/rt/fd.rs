//! System calls on a descriptor that is only known by its number: close on exec, and writes that do not wait.
//!
//! The sockets of monoio give out their descriptor as a number, and its own writes go through two more futures, also where the kernel
//! takes the bytes at once. This file holds `unsafe` because these calls take a number, a pointer and a length.
//! What makes them sound: pointer and length come from one slice that outlives the call, and the call never waits, so the kernel keeps
//! no pointer (rule S6). A wrong number would be an error of ours, not undefined behaviour.
#![allow(unsafe_code)] // fcntl and send through libc; no pointer outlives its call.

use std::io;
use std::os::fd::RawFd;

/// Sets close-on-exec: the io_uring accept of monoio sets no flags, so an accepted socket would leak into any child process.
pub(super) fn close_on_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_SETFD takes an integer and touches no memory; a wrong descriptor would be an error, not undefined behaviour.
    match unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Writes what the kernel takes at once. `WouldBlock` when that is nothing.
pub(super) fn send_now(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads at most `len` bytes from the start of a live slice, and is done with them when the call returns.
    let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}
