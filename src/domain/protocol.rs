//! Versions of HTTP that one side of the gateway may speak.

/// What a provider is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ProviderHttp {
    /// HTTP/1.1 alone.
    #[default]
    One,
    /// HTTP/2 alone: agreed on in the TLS handshake, or begun with where there is no TLS.
    Two,
    /// HTTP/2 where the TLS handshake agrees on it, else HTTP/1.1.
    Auto,
}

/// What clients may speak beside HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ClientHttp2 {
    /// HTTP/1.1 alone.
    Off,
    /// HTTP/2 where the TLS handshake agrees on it.
    #[default]
    Tls,
    /// The same, and without TLS for clients that begin with it.
    All,
}
