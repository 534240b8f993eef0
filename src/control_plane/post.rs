//! One POST from the control plane: to a checked address (rule T5), over TLS or, on one's own machine, in plain text; bounded in time and size.
//!
//! A connection each: tokens are asked for about once an hour. The library's own buffers are not wiped; what they held lives for an hour at most.

use super::resolve::{Resolver, addresses_of};
use crate::config::BaseUrl;
use crate::domain::secret::Secret;
use crate::limits::{CONNECT_DEADLINE, TOKEN_ANSWER_BYTES_MAX, TOKEN_DEADLINE};
use crate::tls::{self, ClientConfig};
use axum::body::{Body, to_bytes};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// A form to send.
pub(super) struct Post {
    /// Where to.
    pub(super) url: BaseUrl,
    /// Whether it may be on this machine or network.
    pub(super) allow_private: bool,
    /// Whom to trust, where the URL is https.
    pub(super) trust: Arc<ClientConfig>,
    /// `application/x-www-form-urlencoded`.
    pub(super) form: Zeroizing<Vec<u8>>,
}

impl Post {
    /// Sends it; answers status and body.
    ///
    /// # Errors
    /// One part of a sentence that says how far it came, without a word of what was sent or answered.
    pub(super) async fn send(self, resolver: Option<&Resolver>) -> Result<(u16, Secret), String> {
        match tokio::time::timeout(TOKEN_DEADLINE, self.exchange(resolver)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("it did not answer within {} s", TOKEN_DEADLINE.as_secs())),
        }
    }

    async fn exchange(self, resolver: Option<&Resolver>) -> Result<(u16, Secret), String> {
        let connection = self.connect(resolver).await?;
        if !self.url.is_tls() {
            return self.ask(connection).await;
        }
        let name = tls::server_name(self.url.host()).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(self.trust.clone());
        let secured = connector.connect(name, connection).await;
        self.ask(secured.map_err(|error| format!("TLS failed ({error})"))?).await
    }

    async fn connect(&self, resolver: Option<&Resolver>) -> Result<TcpStream, String> {
        let addresses = addresses_of(&self.url, self.allow_private, resolver).await;
        let mut last = "its name leads nowhere, or where no provider may be".to_owned();
        for address in addresses {
            match tokio::time::timeout(CONNECT_DEADLINE, TcpStream::connect(address)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last = format!("it cannot be connected to ({})", error.kind()),
                Err(_) => last = "it cannot be connected to (too slow)".to_owned(),
            }
        }
        Err(last)
    }

    async fn ask(
        self,
        connection: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<(u16, Secret), String> {
        let broke = |error: hyper::Error| format!("the connection broke off ({error})");
        let path = if self.url.path().is_empty() { "/" } else { self.url.path() };
        let request = hyper::Request::post(path)
            .header("host", self.url.authority())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(Body::from(self.form.to_vec()))
            .map_err(|_| "its address cannot be asked".to_owned())?;
        let (mut sender, driver) = http1::handshake(TokioIo::new(connection)).await.map_err(broke)?;
        let driver = tokio::spawn(driver);
        let answered = sender.send_request(request).await;
        let read = match answered {
            Ok(answer) => {
                let status = answer.status().as_u16();
                let body = to_bytes(Body::new(answer.into_body()), TOKEN_ANSWER_BYTES_MAX).await;
                body.map(|body| (status, Secret::take(body.into())))
                    .map_err(|_| "its answer broke off or is too long".to_owned())
            }
            Err(error) => Err(broke(error)),
        };
        driver.abort();
        read
    }
}
