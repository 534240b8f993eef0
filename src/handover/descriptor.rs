//! Descriptors that came into the process with its start, and who is at the other end of a Unix socket.
//!
//! This file holds `unsafe` because an inherited descriptor is only a number until it is owned, and because the kernel's word on a peer
//! is had by a call that std does not offer yet.
#![allow(unsafe_code)] // fcntl, from_raw_fd and getsockopt; the argument stands at each block.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Who opened the other end, by the kernel's word (`SO_PEERCRED`, unix(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
}

/// Takes an inherited descriptor into ownership and sets its close-on-exec flag. To be called before other threads run.
///
/// # Errors
/// There is no such descriptor, it is one of the first three, or it is not an inherited one (or was adopted already): those, and only
/// those, are open without close-on-exec, since everything that this process opens itself has the flag from the start.
pub fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    if number <= libc::STDERR_FILENO {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a standard stream is not to be adopted"));
    }
    // SAFETY: F_GETFD takes no argument and touches no memory; a wrong descriptor is an error, not undefined behaviour.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the descriptor was not inherited"));
    }
    // SAFETY: F_SETFD takes an integer and touches no memory.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open (F_GETFD succeeded) and had no close-on-exec flag. Every value of this process that owns a
    // descriptor got it from a call that sets the flag, so none of them owns this one; and having set it, we never adopt it again.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Asks the kernel who opened the other end.
///
/// # Errors
/// The kernel's: not a connected Unix socket.
pub fn peer_of(socket: &impl AsFd) -> io::Result<Peer> {
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut bytes = libc::socklen_t::try_from(size_of::<libc::ucred>()).map_err(io::Error::other)?;
    // SAFETY: `found` and `bytes` are live for the call, and `bytes` says how large `found` is, so that the kernel writes no further.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut bytes,
        )
    };
    match done {
        0 => Ok(Peer { pid: found.pid, uid: found.uid }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;

    #[test]
    fn only_an_inherited_descriptor_is_adopted_and_only_once() {
        for number in [-1, 0, 2, 1_000_000] {
            assert!(adopt(number).is_err(), "{number}");
        }
        let own = File::open("/dev/null").expect("opened");
        assert!(adopt(own.as_raw_fd()).is_err(), "it has an owner");
        let passed = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a socket");
        passed.set_cloexec(false).expect("as a parent passes it");
        let number = passed.as_raw_fd();
        std::mem::forget(passed);
        let adopted = adopt(number).expect("inherited");
        assert_eq!(adopted.as_raw_fd(), number);
        assert!(adopt(number).is_err(), "it has an owner now");
    }

    #[test]
    fn the_peer_is_named_by_the_kernel() {
        let (one, _other) = UnixStream::pair().expect("a pair");
        let peer = peer_of(&one).expect("a peer");
        assert_eq!(u32::try_from(peer.pid), Ok(std::process::id()));
        assert_eq!(peer.uid, std::fs::metadata("/proc/self").expect("a process").uid());
        assert!(peer_of(&File::open("/dev/null").expect("opened")).is_err());
    }
}
