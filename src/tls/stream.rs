//! An encrypted connection with the face of a plain one: input, output, fill, flush.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, ServerConfig};

use super::TlsError;
use super::session::{Buffers, Pass, Session};
use crate::limits::RELAY_BUFFER_BYTES;
use crate::rt::{Buf, Conn, Duplex};

/// How reading ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The peer said so (close_notify).
    Closed,
    /// The connection ended without; whatever came may be cut short (RFC 8446 §6.1).
    Cut,
    Failed(io::ErrorKind),
}

/// TLS over `D`. The same rules as for [`Conn`]: waiting may be abandoned, nothing is lost.
pub struct Stream<D = Conn> {
    io: D,
    session: Session,
    /// Plain bytes from the peer.
    input: Buf,
    /// Plain bytes to the peer.
    output: Buf,
    /// Bytes at the end of the input that no fill has reported yet: a flush or the handshake may bring some to light.
    unreported: usize,
    end: Option<End>,
    /// A broken session sends no more.
    broken: Option<io::ErrorKind>,
}

impl<D: Duplex> Stream<D> {
    /// The client's side. Call [`handshake`](Stream::handshake) next.
    ///
    /// # Errors
    /// [`TlsError::Handshake`], when the first message cannot be made.
    pub fn client(io: D, config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Stream<D>, TlsError> {
        let connection = UnbufferedClientConnection::new(config, name).map_err(TlsError::Handshake)?;
        Ok(Stream::new(io, Session::Client(connection)))
    }

    /// The server's side. Call [`handshake`](Stream::handshake) next.
    ///
    /// # Errors
    /// [`TlsError::Handshake`], when the configuration is not usable.
    pub fn server(io: D, config: Arc<ServerConfig>) -> Result<Stream<D>, TlsError> {
        let connection = UnbufferedServerConnection::new(config).map_err(TlsError::Handshake)?;
        Ok(Stream::new(io, Session::Server(connection)))
    }

    fn new(io: D, session: Session) -> Stream<D> {
        Stream { io, session, input: Buf::new(), output: Buf::new(), unreported: 0, end: None, broken: None }
    }

    /// Agrees on keys and checks who is there. Has no time limit of its own. May be dropped and called again.
    ///
    /// # Errors
    /// No agreement, a certificate that is not believed, or the connection ended. An alert was sent as far as it went.
    pub async fn handshake(&mut self) -> Result<(), TlsError> {
        poll_fn(|cx| self.poll_handshake(cx)).await
    }

    /// [`handshake`](Stream::handshake), one step.
    ///
    /// # Errors
    /// As there.
    pub fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TlsError>> {
        loop {
            if let Err(error) = self.read_records() {
                // The alert tells the peer why; if it does not leave at once, so be it.
                let _ = self.io.poll_flush(cx);
                return Poll::Ready(Err(TlsError::Handshake(error)));
            }
            ready!(self.io.poll_flush(cx))?;
            if !self.session.agreed().is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if self.end.is_some() || ready!(self.io.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(TlsError::Ended));
            }
        }
    }

    /// Appends what comes next to the input; 0 is the end of the stream, see [`clean_eof`](Stream::clean_eof).
    ///
    /// # Errors
    /// The connection's, and `InvalidData` when the peer broke the protocol. The error comes again.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            let read = self.read_records();
            // What the protocol wants said leaves now if it can, else with the next flush or fill.
            let said = self.io.poll_flush(cx);
            if self.unreported > 0 {
                return Poll::Ready(Ok(std::mem::take(&mut self.unreported)));
            }
            match self.end {
                Some(End::Failed(kind)) => return Poll::Ready(Err(kind.into())),
                Some(End::Closed | End::Cut) => return Poll::Ready(Ok(0)),
                None => {}
            }
            if let Err(error) = read {
                return Poll::Ready(Err(self.fail(io::Error::new(io::ErrorKind::InvalidData, error))));
            }
            if let Poll::Ready(Err(error)) = said {
                return Poll::Ready(Err(self.fail(error)));
            }
            match ready!(self.io.poll_fill(cx)) {
                Ok(0) => self.end = Some(End::Cut),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(self.fail(error))),
            }
        }
    }

    /// [`poll_fill`](Stream::poll_fill) as a future. May be dropped at any time.
    ///
    /// # Errors
    /// As there.
    pub async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// Encrypts and writes all of the output.
    ///
    /// # Errors
    /// The connection's; `NotConnected` before the handshake; `InvalidData` when the peer broke the protocol.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(kind) = self.broken {
                return Poll::Ready(Err(kind.into()));
            }
            while !self.output.is_empty() && self.io.output().len() < RELAY_BUFFER_BYTES {
                self.seal_record()?;
            }
            ready!(self.io.poll_flush(cx))?;
            if self.output.is_empty() {
                self.output.release_if_empty();
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// [`poll_flush`](Stream::poll_flush) as a future. May be dropped at any time.
    ///
    /// # Errors
    /// As there.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Writes all of the output, then says that no more will come (close_notify). The connection underneath stays open.
    ///
    /// # Errors
    /// As for [`poll_flush`](Stream::poll_flush).
    pub async fn close_notify(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.pass(|session, buffers, _| session.close(buffers))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.broken = Some(io::ErrorKind::BrokenPipe);
        poll_fn(|cx| self.io.poll_flush(cx)).await
    }

    /// The plain bytes read and not consumed yet.
    pub fn input(&mut self) -> &mut Buf {
        &mut self.input
    }

    /// The input, moved out.
    pub fn take_input(&mut self) -> Buf {
        std::mem::take(&mut self.input)
    }

    /// The plain bytes that the next flush encrypts and writes.
    pub fn output(&mut self) -> &mut Buf {
        &mut self.output
    }

    /// What is underneath.
    pub fn io(&mut self) -> &mut D {
        &mut self.io
    }

    /// Whether reading ended and the peer said so. An end without is a cut stream: what had no length of its own may lack its tail.
    pub fn clean_eof(&self) -> bool {
        self.end == Some(End::Closed)
    }

    /// The protocol both sides speak inside, if they agreed on one.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.session.agreed().alpn_protocol()
    }

    /// Whether an earlier session was taken up again.
    pub fn resumed(&self) -> bool {
        self.session.agreed().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The version agreed on, once it is.
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.session.agreed().protocol_version()
    }

    /// The peer's verified certificates, leaf first; none from a client that was not asked.
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.session.agreed().peer_certificates()
    }

    fn read_records(&mut self) -> Result<(), rustls::Error> {
        if let Some(End::Closed | End::Failed(_)) = self.end {
            return Ok(());
        }
        self.pass(|session, buffers, _| session.read(buffers)).map(|_| ())
    }

    fn seal_record(&mut self) -> io::Result<()> {
        match self.pass(Session::seal) {
            Ok(pass) if pass.open => Ok(()),
            Ok(_) => Err(io::ErrorKind::NotConnected.into()),
            Err(error) => Err(self.fail(io::Error::new(io::ErrorKind::InvalidData, error))),
        }
    }

    /// Runs the session over the buffers and keeps what came to light.
    fn pass(
        &mut self,
        run: impl FnOnce(&mut Session, Buffers<'_>, &mut Buf) -> Result<Pass, rustls::Error>,
    ) -> Result<Pass, rustls::Error> {
        let before = self.input.len();
        let (records_in, records_out) = self.io.buffers();
        let buffers = Buffers { records_in, records_out, plain_in: &mut self.input };
        let pass = run(&mut self.session, buffers, &mut self.output);
        self.unreported += self.input.len() - before;
        match &pass {
            Ok(pass) if pass.peer_closed => self.end = Some(End::Closed),
            Ok(_) => {}
            Err(_) => self.broken = Some(io::ErrorKind::InvalidData),
        }
        pass
    }

    fn fail(&mut self, error: io::Error) -> io::Error {
        self.end = Some(End::Failed(error.kind()));
        error
    }
}

impl<D: Duplex> Duplex for Stream<D> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        Stream::poll_fill(self, cx)
    }

    fn input(&mut self) -> &mut Buf {
        &mut self.input
    }

    fn output(&mut self) -> &mut Buf {
        &mut self.output
    }

    fn buffers(&mut self) -> (&mut Buf, &mut Buf) {
        (&mut self.input, &mut self.output)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_flush(self, cx)
    }
}
