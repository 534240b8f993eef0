//! TLS over a connection: rustls without sockets, and one face for plain and encrypted connections.
//!
//! TLS 1.2 and 1.3 only, certificates always verified, no early data, no key log (rule X6). The cryptography is aws-lc-rs, named on
//! every configuration: there is no process-wide default. Buffers are lent by the core's pool while bytes are on their way; rustls
//! itself keeps none. Waiting may be abandoned at any time, as on [`Conn`](crate::rt::Conn).
//!
//! ```text
//!   Conn.input --records--> Session --plain--> Stream.input        Stream.output --plain--> Session --records--> Conn.output
//! ```

mod config;
mod session;
mod stream;
mod transport;
mod validity;

use std::io;

pub use config::{ClientTrust, HTTP1, HTTP2, Roots, client_config, http1_only, per_core, server_config, server_name};
pub use rustls::pki_types::ServerName;
pub use rustls::{ClientConfig, ServerConfig};
pub use stream::Stream;
pub use transport::{Channel, Transport};
pub use validity::end_of;

/// Why there is no TLS connection, or no configuration for one.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The operator's: a PEM file that holds nothing of the kind, or is damaged.
    #[error("{what}: {why}; give a PEM file with {wanted}")]
    Pem {
        /// Which input.
        what: &'static str,
        /// What is wrong with it.
        why: String,
        /// What it should hold.
        wanted: &'static str,
    },
    /// The operator's: certificate and key do not make a usable pair. Whatever was served before stays (rule S4).
    #[error(
        "the certificate and its key do not fit together ({0}); give the chain, leaf first, and the key made for that leaf"
    )]
    BadPair(#[source] rustls::Error),
    /// The operator's: no certificate authority to trust.
    #[error(
        "there are no trusted certificate authorities ({0}); install the system's CA certificates or use the bundled ones"
    )]
    NoRoots(String),
    /// The operator's: a CA that cannot be trusted or a client verifier that cannot be built.
    #[error("the certificate authority is not usable ({0}); give CA certificates in PEM form")]
    BadAuthority(String),
    /// The operator's: a host that is neither a DNS name nor an address.
    #[error("`{0}` is no host name; give a DNS name or an IP address")]
    BadName(String),
    /// rustls does not accept the settings; a defect of this build.
    #[error("TLS settings were refused ({0}); this build cannot do TLS 1.2 and 1.3, use another one")]
    Settings(#[source] rustls::Error),
    /// The other side's or ours: no agreement, or a certificate that is not believed. Trying the same again does not help.
    #[error("the TLS handshake failed ({0}); check the certificate, the host name and the trusted authorities")]
    Handshake(#[source] rustls::Error),
    /// The other side hung up in the middle of the handshake. Nothing was sent: may be tried again.
    #[error("the connection ended during the TLS handshake; try again, and check that the port speaks TLS")]
    Ended,
    /// The connection failed underneath. Nothing was sent: may be tried again.
    #[error("the connection failed during the TLS handshake ({0}); try again")]
    Io(#[from] io::Error),
}
