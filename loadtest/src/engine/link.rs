//! The bytes of one connection, plain or encrypted; never blocks.

use super::route::Route;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::ClientConnection;
use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

/// A connection's bytes.
#[derive(Debug)]
pub(super) enum Link {
    /// Over TCP alone.
    Plain(TcpStream),
    /// Over TLS.
    Tls(TcpStream, Box<ClientConnection>),
}

impl Link {
    /// Begins to connect; readiness shows as `token`.
    ///
    /// # Errors
    /// The system has no socket left, or no way to the address.
    pub(super) fn open(route: &Route, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut socket = TcpStream::connect(route.addr)?;
        socket.set_nodelay(true)?;
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        match &route.tls {
            None => Ok(Self::Plain(socket)),
            Some((config, name)) => {
                let session = ClientConnection::new(Arc::clone(config), name.clone()).map_err(io::Error::other)?;
                Ok(Self::Tls(socket, Box::new(session)))
            }
        }
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) | Self::Tls(socket, _) => socket,
        }
    }

    /// Whether the TCP connection stands.
    ///
    /// # Errors
    /// It was refused.
    pub(super) fn is_connected(&self) -> io::Result<bool> {
        if let Some(reason) = self.socket().take_error()? {
            return Err(reason);
        }
        match self.socket().peer_addr() {
            Ok(_) => Ok(true),
            Err(reason) if reason.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(reason) => Err(reason),
        }
    }

    /// Carries the handshake on and says whether it is done; at once for a plain connection.
    ///
    /// # Errors
    /// The other side is not to be trusted, or is gone.
    pub(super) fn shake_hands(&mut self) -> io::Result<bool> {
        let Self::Tls(socket, session) = self else { return Ok(true) };
        loop {
            while session.wants_write() {
                match session.write_tls(socket) {
                    Ok(_) => {}
                    Err(reason) if reason.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(reason) => return Err(reason),
                }
            }
            if !session.is_handshaking() {
                return Ok(true);
            }
            match session.read_tls(socket) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(reason) if reason.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(reason) => return Err(reason),
            }
            if let Err(reason) = session.process_new_packets() {
                // The other side may still want to hear why.
                let _ = session.write_tls(socket);
                return Err(io::Error::other(reason));
            }
        }
    }

    /// Reads some bytes; 0 is the end of the connection in good order.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there, and whatever broke the connection.
    pub(super) fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(room),
            Self::Tls(socket, session) => loop {
                match session.reader().read(room) {
                    Err(reason) if reason.kind() == io::ErrorKind::WouldBlock => {}
                    read => return read,
                }
                // An end here shows in the next round as an end in good order or not.
                session.read_tls(socket)?;
                session.process_new_packets().map_err(io::Error::other)?;
                // What TLS itself has to say may wait; it leaves with the next bytes of ours.
                let _ = flush(socket, session);
            },
        }
    }

    /// Whether a read that did not fill its room has read everything: then the next one can wait for the next event.
    pub(super) fn is_drained_by_short_read(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Sends bytes from the start of `bytes` and says how many are taken care of.
    ///
    /// # Errors
    /// `WouldBlock` when the system takes none now, and whatever broke the connection.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(socket, session) => {
                flush(socket, session)?;
                let taken = session.writer().write(bytes)?;
                match flush(socket, session) {
                    Err(reason) if reason.kind() != io::ErrorKind::WouldBlock => Err(reason),
                    _ => Ok(taken),
                }
            }
        }
    }

    /// Sends what is encrypted and has not left yet.
    ///
    /// # Errors
    /// As for [`Link::write`].
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(socket, session) => flush(socket, session),
        }
    }
}

fn flush(socket: &mut TcpStream, session: &mut ClientConnection) -> io::Result<()> {
    while session.wants_write() {
        session.write_tls(socket)?;
    }
    Ok(())
}
