//! How the database is reached: its URL, encryption, and connections.
//!
//! Encrypted is verified: a connection that would take any certificate protects from nobody. Where the configuration says so it is
//! plain.

use super::FleetError;
use crate::domain::secret::Secret;
use crate::limits::fleet::CONNECT_DEADLINE;
use crate::tls::{ClientTrust, client_config};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use std::error::Error as _;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config, Connection, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Not at all.
    Off,
    /// With a certificate that is verified, for the name in the URL.
    Verified,
}

/// Where the database is, and as whom it is used.
#[derive(Debug)]
pub struct Place {
    /// `postgres://user:password@host:port/name`, without the parameters that are taken up here.
    pub url: Arc<Secret>,
    /// In the place of the URL's.
    pub password: Option<Secret>,
    /// Whether connections are encrypted.
    pub encryption: Encryption,
    /// A certificate authority of its own, PEM, beside which none counts.
    pub authority: Option<Vec<u8>>,
    /// Whether to listen, where the engine can.
    pub listens: bool,
}

/// Makes connections.
pub(super) struct Connector {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    /// Whether to listen, where the engine can.
    pub(super) listens: bool,
}

/// Has the database stop what it does on a connection.
#[derive(Clone)]
pub(super) struct Stopper {
    tls: Option<MakeRustlsConnect>,
}

/// A connection that listens.
pub(super) struct Listening {
    pub(super) client: Client,
    /// How far the estate is; there once the tables are.
    pub(super) look: Option<Statement>,
    /// One for each notification; it ends with the connection.
    pub(super) notes: mpsc::UnboundedReceiver<()>,
}

// === impl Connector ===

impl std::fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It holds a password.
        formatter.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl Connector {
    /// # Errors
    /// [`FleetError::Place`].
    pub(super) fn new(place: &Place) -> Result<Self, FleetError> {
        let fault = |what: String| FleetError::Place(what);
        let text = std::str::from_utf8(place.url.expose()).map_err(|_| fault("is not UTF-8".to_owned()))?;
        // The client's own words do not repeat the URL, which may hold a password.
        let mut config: Config =
            text.parse().map_err(|error| fault(format!("is not understood: {}", words(&error))))?;
        if let Some(password) = &place.password {
            config.password(password.expose());
        }
        let is_encrypted = place.encryption == Encryption::Verified;
        config.ssl_mode(if is_encrypted { SslMode::Require } else { SslMode::Disable });
        config.connect_timeout(CONNECT_DEADLINE);
        if config.get_application_name().is_none() {
            config.application_name("igris");
        }
        let tls = is_encrypted.then(|| {
            let roots =
                if place.authority.is_some() { crate::tls::Roots::OnlyExtra } else { crate::tls::Roots::System };
            let extra_ca = place.authority.iter().cloned().collect();
            client_config(&ClientTrust { roots, extra_ca, alpn: Vec::new() })
        });
        let tls = tls.transpose().map_err(|error| fault(format!("cannot be reached safely: {error}")))?;
        let tls = tls.map(|config| MakeRustlsConnect::new((*config).clone()));
        Ok(Self { config, tls, listens: place.listens })
    }

    /// What stops statements on its connections.
    pub(super) fn stopper(&self) -> Stopper {
        Stopper { tls: self.tls.clone() }
    }

    /// So many connections, made when they are needed, each until a deadline.
    ///
    /// # Errors
    /// [`FleetError::Place`].
    pub(super) fn pool(&self, most: usize, deadline: Duration) -> Result<Pool, FleetError> {
        let settings = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match &self.tls {
            Some(tls) => Manager::from_config(self.config.clone(), tls.clone(), settings),
            None => Manager::from_config(self.config.clone(), NoTls, settings),
        };
        let pool = Pool::builder(manager)
            .max_size(most)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(deadline))
            .wait_timeout(Some(deadline))
            .build();
        pool.map_err(|error| FleetError::Place(error.to_string()))
    }

    /// A connection whose notifications are passed on.
    ///
    /// # Errors
    /// Why there is none, in a sentence.
    pub(super) async fn listen(&self) -> Result<Listening, String> {
        let connected = async {
            match &self.tls {
                Some(tls) => {
                    let (client, connection) = self.config.connect(tls.clone()).await?;
                    Ok(Listening { client, look: None, notes: carry(connection) })
                }
                None => {
                    let (client, connection) = self.config.connect(NoTls).await?;
                    Ok(Listening { client, look: None, notes: carry(connection) })
                }
            }
        };
        match timeout(CONNECT_DEADLINE, connected).await {
            Ok(connected) => connected.map_err(|error: tokio_postgres::Error| words(&error)),
            Err(_) => Err("it does not answer in time".to_owned()),
        }
    }
}

// === impl Stopper ===

impl Stopper {
    /// Asks for it, over a connection of its own.
    ///
    /// # Errors
    /// It could not be asked for. Whether it was done is not said.
    pub(super) async fn stop(&self, token: CancelToken) -> Result<(), tokio_postgres::Error> {
        match &self.tls {
            Some(tls) => token.cancel_query(tls.clone()).await,
            None => token.cancel_query(NoTls).await,
        }
    }
}

/// Drives a connection until it ends.
fn carry<S, T>(mut connection: Connection<S, T>) -> mpsc::UnboundedReceiver<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (notes, noted) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            // Who listened is gone: so is the use of the connection.
            if matches!(message, AsyncMessage::Notification(_)) && notes.send(()).is_err() {
                break;
            }
        }
    });
    noted
}

/// What the server or the socket said, without the client's words around it.
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(said), _) => said.message().to_owned(),
        (None, Some(cause)) => cause.to_string(),
        (None, None) => error.to_string(),
    }
}
