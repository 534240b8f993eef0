//! The TLS state machine between buffers: records in, records out, plain bytes in, plain bytes out. No sockets, no clock.
//!
//! rustls' unbuffered interface does the protocol; this file feeds it. Whatever the protocol itself wants to say (handshake flights,
//! key updates, alerts) is appended to the outgoing records and leaves with the next flush.

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus, WriteTraffic,
};
use rustls::{CommonState, Error};

use crate::rt::Buf;

/// Plain bytes that go into one record at most (RFC 8446 §5.1).
const RECORD_BYTES: usize = 16 * 1024;
/// Room a record needs beside its plain bytes; more than any cipher suite takes (RFC 8446 §5.2), checked by rustls.
const RECORD_OVERHEAD: usize = 256;

/// One side of a TLS session.
pub(super) enum Session {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// What is asked of the session once the records are read.
enum Wish<'a> {
    Nothing,
    /// Encrypt these bytes, one record of them.
    Seal(&'a mut Buf),
    /// Say that we are done.
    Close,
}

/// The buffers a session works between.
pub(super) struct Buffers<'a> {
    /// Records from the peer.
    pub(super) records_in: &'a mut Buf,
    /// Records to the peer.
    pub(super) records_out: &'a mut Buf,
    /// Plain bytes from the peer.
    pub(super) plain_in: &'a mut Buf,
}

/// What a pass over the records came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pass {
    /// The peer said that nothing more will come (close_notify).
    pub(super) peer_closed: bool,
    /// Application data may be sent, and the wish was granted.
    pub(super) open: bool,
}

impl Session {
    /// Reads every whole record there is, and answers what the protocol wants answered.
    ///
    /// # Errors
    /// The peer broke the protocol, or is not believed. The alert for it is among the outgoing records.
    pub(super) fn read(&mut self, buffers: Buffers<'_>) -> Result<Pass, Error> {
        self.pass(buffers, Wish::Nothing)
    }

    /// Encrypts up to one record of `plain` and consumes it, if application data may be sent yet.
    ///
    /// # Errors
    /// As for [`read`](Session::read), since records are read first; and a cipher used up.
    pub(super) fn seal(&mut self, buffers: Buffers<'_>, plain: &mut Buf) -> Result<Pass, Error> {
        self.pass(buffers, Wish::Seal(plain))
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// As for [`read`](Session::read).
    pub(super) fn close(&mut self, buffers: Buffers<'_>) -> Result<Pass, Error> {
        self.pass(buffers, Wish::Close)
    }

    /// What both sides agreed on.
    pub(super) fn agreed(&self) -> &CommonState {
        match self {
            Session::Client(connection) => connection,
            Session::Server(connection) => connection,
        }
    }

    fn pass(&mut self, buffers: Buffers<'_>, wish: Wish<'_>) -> Result<Pass, Error> {
        match self {
            Session::Client(connection) => pass(connection, buffers, wish),
            Session::Server(connection) => pass(connection, buffers, wish),
        }
    }
}

/// The one call in which the two sides of rustls differ by type.
trait Side {
    type Data;
    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    fn is_handshaking(&self) -> bool;
    fn wants_write(&self) -> bool;
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        self.process_tls_records(records)
    }

    fn is_handshaking(&self) -> bool {
        CommonState::is_handshaking(self)
    }

    fn wants_write(&self) -> bool {
        CommonState::wants_write(self)
    }
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        self.process_tls_records(records)
    }

    fn is_handshaking(&self) -> bool {
        CommonState::is_handshaking(self)
    }

    fn wants_write(&self) -> bool {
        CommonState::wants_write(self)
    }
}

/// What to do after one state.
enum Next {
    Again,
    PeerClosed,
    Stop { open: bool },
}

fn pass<S: Side>(side: &mut S, buffers: Buffers<'_>, mut wish: Wish<'_>) -> Result<Pass, Error> {
    let Buffers { records_in, records_out, plain_in } = buffers;
    let mut peer_closed = false;
    loop {
        // A server may send before the client has finished; we do not, for then nobody is authenticated yet.
        let handshaking = side.is_handshaking();
        let UnbufferedStatus { mut discard, state } = side.process(records_in.bytes_mut());
        let next = match state {
            Ok(state) => act(state, &mut discard, records_out, plain_in, &mut wish, handshaking),
            Err(error) => Err(error),
        };
        records_in.consume(discard);
        match next {
            Ok(Next::Again) => {}
            Ok(Next::PeerClosed) => peer_closed = true,
            Ok(Next::Stop { open }) => return Ok(Pass { peer_closed, open }),
            Err(error) => {
                encode_alert(side, records_in, records_out);
                return Err(error);
            }
        }
    }
}

fn act<Data>(
    state: ConnectionState<'_, '_, Data>,
    discard: &mut usize,
    records_out: &mut Buf,
    plain_in: &mut Buf,
    wish: &mut Wish<'_>,
    handshaking: bool,
) -> Result<Next, Error> {
    match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                plain_in.extend(record.payload);
                *discard += record.discard;
            }
            Ok(Next::Again)
        }
        ConnectionState::EncodeTlsData(mut data) => encode(&mut data, records_out).map(|()| Next::Again),
        ConnectionState::TransmitTlsData(data) => {
            // The records stand in the output, in order; the flush is the stream's.
            data.done();
            Ok(Next::Again)
        }
        ConnectionState::PeerClosed => Ok(Next::PeerClosed),
        ConnectionState::WriteTraffic(_) if handshaking => Ok(Next::Stop { open: false }),
        ConnectionState::WriteTraffic(mut traffic) => {
            grant(&mut traffic, wish, records_out)?;
            Ok(Next::Stop { open: true })
        }
        ConnectionState::BlockedHandshake | ConnectionState::Closed => Ok(Next::Stop { open: false }),
        // Early data is never offered (rule X6).
        _ => Err(Error::General("a TLS state that was not asked for".into())),
    }
}

fn grant<Data>(traffic: &mut WriteTraffic<'_, Data>, wish: &mut Wish<'_>, out: &mut Buf) -> Result<(), Error> {
    match std::mem::replace(wish, Wish::Nothing) {
        Wish::Nothing => Ok(()),
        Wish::Close => append(out, RECORD_OVERHEAD, |room| traffic.queue_close_notify(room)),
        Wish::Seal(plain) => {
            let n = plain.len().min(RECORD_BYTES);
            append(out, n + RECORD_OVERHEAD, |room| traffic.encrypt(&plain.bytes()[..n], room))?;
            plain.consume(n);
            Ok(())
        }
    }
}

/// Lets `write` fill room at the end of `out`, more of it if it says so.
fn append(
    out: &mut Buf,
    room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), Error> {
    let before = out.len();
    let written = match write(out.append_zeroed(room)) {
        Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
            out.truncate(before);
            write(out.append_zeroed(required_size))
        }
        written => written,
    };
    out.truncate(before + written.as_ref().map_or(0, |n| *n));
    written.map(|_| ()).map_err(|_| Error::EncryptError)
}

fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, out: &mut Buf) -> Result<(), Error> {
    let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) = data.encode(&mut []) else {
        return Ok(());
    };
    let room = out.append_zeroed(required_size);
    data.encode(room)
        .map(|_| ())
        .map_err(|_| Error::General("a handshake record did not fit the room it asked for".into()))
}

/// After an error rustls holds an alert for the peer, perhaps behind other records.
fn encode_alert<S: Side>(side: &mut S, records_in: &mut Buf, records_out: &mut Buf) {
    // As long as there is something to send, rustls does not look at the records again.
    while side.wants_write() {
        match side.process(records_in.bytes_mut()).state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                if encode(&mut data, records_out).is_err() {
                    return;
                }
            }
            Ok(ConnectionState::ReadTraffic(mut traffic)) => while traffic.next_record().is_some() {},
            _ => return,
        }
    }
}
