//! Listening sockets on their way from one process to the next: duplicates that a child inherits, and the numbers that tell it where.
//!
//! Closing a listening socket loses the connections that wait in it, so it is the same sockets that go on, with their queues.

use super::descriptor::adopt;
use super::message::{FORMAT, Offer, Offered, SocketKind};
use crate::limits::HANDOVER_SOCKETS_MAX;
use socket2::Socket;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// A listening socket with what its next owner must know of it.
#[derive(Debug)]
pub struct Passed {
    /// What is served there.
    pub kind: SocketKind,
    /// What it was bound for: an address or a path, as asked.
    pub asked: String,
    /// Whether it came from systemd and stays whatever the configuration says.
    pub lasting: bool,
    /// Device and inode of a Unix socket's name.
    pub file: Option<(u64, u64)>,
    /// The socket.
    pub socket: OwnedFd,
}

/// Duplicates that the next child inherits. To be dropped as soon as it runs, so that no other child does.
#[derive(Debug)]
pub struct Lent {
    /// Their numbers, for the child.
    pub offer: Offer,
    _held: Vec<Socket>,
}

impl Passed {
    /// The same socket under another descriptor.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        let (asked, socket) = (self.asked.clone(), self.socket.try_clone()?);
        Ok(Self { kind: self.kind, asked, lasting: self.lasting, file: self.file, socket })
    }
}

/// Duplicates the sockets for a child.
///
/// # Errors
/// No descriptor is left, or there are more than [`HANDOVER_SOCKETS_MAX`].
pub fn lend(sockets: &[Passed]) -> io::Result<Lent> {
    if sockets.len() > HANDOVER_SOCKETS_MAX {
        return Err(io::Error::other("there are more listening sockets than can be handed over"));
    }
    let (mut offered, mut held) = (Vec::with_capacity(sockets.len()), Vec::with_capacity(sockets.len()));
    for passed in sockets {
        let twin = Socket::from(passed.socket.try_clone()?);
        twin.set_cloexec(false)?;
        offered.push(Offered {
            kind: passed.kind,
            asked: passed.asked.clone(),
            lasting: passed.lasting,
            file: passed.file,
            descriptor: twin.as_raw_fd(),
        });
        held.push(twin);
    }
    Ok(Lent { offer: Offer { format: FORMAT, pid: std::process::id(), sockets: offered }, _held: held })
}

/// Takes the offered sockets over; every one must be inherited and listening.
///
/// # Errors
/// A descriptor that is not; those before it are closed again.
pub fn adopted(offer: Offer) -> io::Result<Vec<Passed>> {
    let take = |offered: Offered| {
        let socket = Socket::from(adopt(offered.descriptor)?);
        if !socket.is_listener()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an offered descriptor is no listening socket"));
        }
        let Offered { kind, asked, lasting, file, .. } = offered;
        Ok(Passed { kind, asked, lasting, file, socket: socket.into() })
    };
    offer.sockets.into_iter().map(take).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_lent_socket_is_the_same_socket_with_its_queue() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bound");
        let address = listener.local_addr().expect("an address");
        let waiting = TcpStream::connect(address).expect("queued");
        let asked = "127.0.0.1:0".to_owned();
        let passed = Passed { kind: SocketKind::Public, asked, lasting: false, file: None, socket: listener.into() };
        let lent = lend(&[passed.try_clone().expect("cloned")]).expect("lent");
        drop(passed);
        let Lent { offer, _held: held } = lent;
        // A child would have its own table of descriptors; here the lender must let go for the borrower to own it.
        held.into_iter().for_each(std::mem::forget);
        let [taken] = <[Passed; 1]>::try_from(adopted(offer).expect("adopted")).expect("one");
        let listener = TcpListener::from(taken.socket);
        assert_eq!(listener.local_addr().expect("an address"), address);
        let (_, peer) = listener.accept().expect("what waited in the queue");
        assert_eq!(peer, waiting.local_addr().expect("an address"));
    }

    #[test]
    fn what_does_not_listen_is_refused() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let (kind, asked) = (SocketKind::Admin, String::new());
        let Lent { offer, _held: held } =
            lend(&[Passed { kind, asked, lasting: false, file: None, socket: one.into() }]).expect("lent");
        held.into_iter().for_each(std::mem::forget);
        assert!(adopted(offer.clone()).is_err());
        assert!(adopted(offer).is_err(), "and it was closed");
    }
}
