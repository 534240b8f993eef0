//! One POST from the control plane: to a checked address (rule T5), over TLS or, on one's own machine, in plain text; bounded in time and size.
//!
//! A connection each: tokens are asked for about once an hour, and messages to webhooks are rare. The library's own buffers are not wiped;
//! what they held lives for an hour at most. No redirect is followed: where it leads was not checked.

use super::resolve::{Resolver, addresses_of};
use crate::config::BaseUrl;
use crate::domain::secret::Secret;
use crate::limits::{CONNECT_DEADLINE, TOKEN_ANSWER_BYTES_MAX, TOKEN_DEADLINE};
use crate::tls::{self, ClientConfig};
use axum::body::{Body, to_bytes};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// What to send: a form to a token server, or JSON to a webhook.
pub(super) struct Post {
    /// Where to.
    pub(super) url: BaseUrl,
    /// Whether it may be on this machine or network.
    pub(super) allow_private: bool,
    /// Whom to trust, where the URL is https.
    pub(super) trust: Arc<ClientConfig>,
    /// The type of the body.
    pub(super) content_type: &'static str,
    /// Further fields.
    pub(super) fields: Vec<(&'static str, String)>,
    /// The body.
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// How much of an answer is wanted.
#[derive(Clone, Copy)]
enum Wanted {
    /// Its body, within [`TOKEN_ANSWER_BYTES_MAX`].
    Body,
    /// Its status alone; the connection is dropped with what else may come.
    Status,
}

impl Post {
    /// A form.
    pub(super) fn form(url: BaseUrl, allow_private: bool, trust: Arc<ClientConfig>, form: Zeroizing<Vec<u8>>) -> Self {
        let content_type = "application/x-www-form-urlencoded";
        Self { url, allow_private, trust, content_type, fields: Vec::new(), body: form }
    }

    /// Sends it; answers the status alone. Whatever the receiver says beside it is not read.
    ///
    /// # Errors
    /// As [`Post::send`].
    pub(super) async fn deliver(self, resolver: Option<&Resolver>, deadline: Duration) -> Result<u16, String> {
        match tokio::time::timeout(deadline, self.exchange(resolver, Wanted::Status)).await {
            Ok(outcome) => outcome.map(|(status, _)| status),
            Err(_) => Err(format!("it did not answer within {} s", deadline.as_secs())),
        }
    }

    /// Sends it; answers status and body.
    ///
    /// # Errors
    /// One part of a sentence that says how far it came, without a word of what was sent or answered.
    pub(super) async fn send(self, resolver: Option<&Resolver>) -> Result<(u16, Secret), String> {
        match tokio::time::timeout(TOKEN_DEADLINE, self.exchange(resolver, Wanted::Body)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("it did not answer within {} s", TOKEN_DEADLINE.as_secs())),
        }
    }

    async fn exchange(self, resolver: Option<&Resolver>, wanted: Wanted) -> Result<(u16, Secret), String> {
        let connection = self.connect(resolver).await?;
        if !self.url.is_tls() {
            return self.ask(connection, wanted).await;
        }
        let name = tls::server_name(self.url.host()).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(self.trust.clone());
        let secured = connector.connect(name, connection).await;
        self.ask(secured.map_err(|error| format!("TLS failed ({error})"))?, wanted).await
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
        wanted: Wanted,
    ) -> Result<(u16, Secret), String> {
        let broke = |error: hyper::Error| format!("the connection broke off ({error})");
        let path = if self.url.path().is_empty() { "/" } else { self.url.path() };
        let request = hyper::Request::post(path)
            .header("host", self.url.authority())
            .header("content-type", self.content_type)
            .header("accept", "application/json");
        let request = self.fields.iter().fold(request, |request, (name, value)| request.header(*name, value));
        let request =
            request.body(Body::from(self.body.to_vec())).map_err(|_| "its address cannot be asked".to_owned())?;
        let (mut sender, driver) = http1::handshake(TokioIo::new(connection)).await.map_err(broke)?;
        let driver = tokio::spawn(driver);
        let answered = sender.send_request(request).await;
        let read = match answered {
            Ok(answer) => {
                let status = answer.status().as_u16();
                if let Wanted::Status = wanted {
                    driver.abort();
                    return Ok((status, Secret::take(Vec::new())));
                }
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
