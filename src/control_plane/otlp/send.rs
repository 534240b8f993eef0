//! One POST to a collector: bounded in time and in what is read of the answer, a connection each.

use super::proto::Answer;
use crate::config::BaseUrl;
use crate::control_plane::resolve::{Resolver, addresses_of};
use crate::limits::telemetry::EXPORT_ANSWER_BYTES_MAX;
use crate::tls::{self, ClientConfig};
use axum::body::{Body, to_bytes};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What to send.
pub(super) struct Send<'a> {
    pub(super) url: &'a BaseUrl,
    pub(super) path: &'a str,
    pub(super) headers: &'a [(String, String)],
    pub(super) trust: Option<&'a Arc<ClientConfig>>,
    pub(super) body: &'a [u8],
}

/// What came of it (<https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>).
pub(super) enum Sent {
    /// The collector has it, but for so many items.
    Taken { rejected: u64 },
    /// It will never take it.
    Refused,
    /// It may take it later, perhaps after this long.
    Later(Option<Duration>),
}

impl Send<'_> {
    /// Sends it.
    pub(super) async fn run(&self, resolver: Option<&Resolver>, deadline: Duration) -> Sent {
        match tokio::time::timeout(deadline, self.exchange(resolver)).await {
            Ok(Some(sent)) => sent,
            Ok(None) | Err(_) => Sent::Later(None),
        }
    }

    async fn exchange(&self, resolver: Option<&Resolver>) -> Option<Sent> {
        let mut connection = None;
        for address in addresses_of(self.url, true, resolver).await {
            connection = TcpStream::connect(address).await.ok();
            if connection.is_some() {
                break;
            }
        }
        let connection = connection?;
        if !self.url.is_tls() {
            return self.ask(connection).await;
        }
        let name = tls::server_name(self.url.host()).ok()?;
        let secured = TlsConnector::from(self.trust?.clone()).connect(name, connection).await;
        self.ask(secured.ok()?).await
    }

    async fn ask(&self, connection: impl AsyncRead + AsyncWrite + Unpin + std::marker::Send + 'static) -> Option<Sent> {
        let mut request = hyper::Request::post(format!("{}{}", self.url.path(), self.path))
            .header("host", self.url.authority())
            .header("content-type", "application/x-protobuf")
            .header("user-agent", concat!("igris/", env!("CARGO_PKG_VERSION")));
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(self.body.to_vec())).ok()?;
        let (mut sender, driver) = http1::handshake(TokioIo::new(connection)).await.ok()?;
        let driver = tokio::spawn(driver);
        let answered = sender.send_request(request).await;
        let sent = match answered {
            Ok(answer) => Some(read(answer).await),
            Err(_) => None,
        };
        driver.abort();
        sent
    }
}

async fn read(answer: hyper::Response<hyper::body::Incoming>) -> Sent {
    let status = answer.status().as_u16();
    let asked = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    match status {
        200..=299 => {
            let body = to_bytes(Body::new(answer.into_body()), EXPORT_ANSWER_BYTES_MAX).await.unwrap_or_default();
            let rejected = Answer::decode(body).ok().and_then(|answer| answer.partial_success);
            let rejected = rejected.map_or(0, |partial| u64::try_from(partial.rejected).unwrap_or(0));
            Sent::Taken { rejected }
        }
        429 | 502 | 503 | 504 => Sent::Later(asked.map(Duration::from_secs)),
        _ => Sent::Refused,
    }
}
