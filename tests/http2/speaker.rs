//! A client that speaks HTTP/2 by the `h2` crate: requests on one connection, and what came of them.

use crate::support::{ACCESS_KEY, SOON};
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// One connection.
pub struct Speaker {
    sender: SendRequest<Bytes>,
    /// Ends with the connection: its error, if it ended by one.
    pub driven: tokio::task::JoinHandle<Option<h2::Error>>,
}

/// What came of a request.
#[derive(Debug)]
pub struct Said {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Why the stream did not end, if it did not.
    pub broken: Option<Reason>,
}

impl Said {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Runs a test's conversation to its end, within reason.
pub fn converse<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async { tokio::time::timeout(SOON * 6, work).await.expect("a conversation ends") })
}

impl Speaker {
    /// Without TLS, by prior knowledge.
    pub async fn connect(address: SocketAddr) -> Speaker {
        Speaker::connect_with(address, |_| {}).await
    }

    /// The same with settings of one's own.
    pub async fn connect_with(address: SocketAddr, settings: impl FnOnce(&mut Builder)) -> Speaker {
        let tcp = TcpStream::connect(address).await.expect("it listens");
        tcp.set_nodelay(true).expect("a TCP socket");
        Speaker::over(tcp, settings).await
    }

    /// Over TLS that offers these protocols; what was agreed on comes along.
    pub async fn connect_tls(
        address: SocketAddr,
        config: rustls::ClientConfig,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(address).await?;
        let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }

    /// Over any connection.
    pub async fn over(
        io: impl AsyncRead + AsyncWrite + Unpin + 'static,
        settings: impl FnOnce(&mut Builder),
    ) -> Speaker {
        let mut builder = Builder::new();
        settings(&mut builder);
        let (sender, connection) = builder.handshake(io).await.expect("settings are sent");
        let driven = tokio::task::spawn_local(async move { connection.await.err() });
        Speaker { sender, driven }
    }

    /// Sends the head of a request with the access key that may everything; the rest is up to the caller.
    pub async fn begin(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        ends: bool,
    ) -> Result<(h2::client::ResponseFuture, SendStream<Bytes>), h2::Error> {
        let mut sender = self.sender.clone().ready().await?;
        let mut request = Request::builder().method(method).uri(format!("http://gateway{path}"));
        if !fields.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {ACCESS_KEY}"));
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        sender.send_request(request.body(()).expect("a request"), ends)
    }

    /// A POST of JSON, and its answer.
    pub async fn post(&self, body: &str) -> Said {
        self.post_with(&[("content-type", "application/json")], body).await
    }

    /// The same with these fields.
    pub async fn post_with(&self, fields: &[(&str, &str)], body: &str) -> Said {
        let (response, mut send) = self.begin("POST", "/v1/chat/completions", fields, false).await.expect("it is open");
        let sending = upload(&mut send, body.as_bytes());
        let (said, _) = tokio::join!(answer(response), sending);
        said
    }

    /// A request without a body.
    pub async fn bare(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Said {
        let (response, _) = self.begin(method, path, fields, true).await.expect("it is open");
        answer(response).await
    }
}

/// Sends a body as the window allows, and ends the stream.
pub async fn upload(send: &mut SendStream<Bytes>, mut body: &[u8]) -> Result<(), h2::Error> {
    while !body.is_empty() {
        send.reserve_capacity(body.len());
        while send.capacity() == 0 {
            match std::future::poll_fn(|cx| send.poll_capacity(cx)).await {
                Some(room) => drop(room?),
                None => return Ok(()),
            }
        }
        let here = send.capacity().min(body.len());
        send.send_data(Bytes::copy_from_slice(&body[..here]), false)?;
        body = &body[here..];
    }
    send.send_data(Bytes::new(), true)
}

/// Reads an answer to its end.
pub async fn answer(response: h2::client::ResponseFuture) -> Said {
    let response = match response.await {
        Ok(response) => response,
        Err(error) => {
            let broken = Some(error.reason().unwrap_or(Reason::INTERNAL_ERROR));
            return Said { status: 0, headers: HeaderMap::new(), body: Vec::new(), broken };
        }
    };
    let (head, mut stream) = response.into_parts();
    let (body, broken) = collect(&mut stream).await;
    Said { status: head.status.as_u16(), headers: head.headers, body, broken }
}

/// Reads what comes until it ends.
pub async fn collect(stream: &mut RecvStream) -> (Vec<u8>, Option<Reason>) {
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        match piece {
            Ok(piece) => {
                let _ = stream.flow_control().release_capacity(piece.len());
                body.extend_from_slice(&piece);
            }
            Err(error) => return (body, Some(error.reason().unwrap_or(Reason::INTERNAL_ERROR))),
        }
    }
    (body, None)
}
