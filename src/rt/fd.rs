//! One flag on a descriptor: close on exec.
//!
//! The io_uring accept of monoio sets no flags, so an accepted socket would leak into any child process. This file holds `unsafe`
//! because the descriptor inside of monoio's stream is only to be had as a number, and `fcntl` takes numbers.
#![allow(unsafe_code)] // One fcntl through libc; it touches no memory of ours.

use std::io;
use std::os::fd::RawFd;

/// Sets close-on-exec.
pub(super) fn close_on_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_SETFD takes an integer and touches no memory; a wrong descriptor would be an error, not undefined behaviour.
    match unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
