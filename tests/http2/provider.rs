//! A provider that speaks HTTP/2 and nothing else, and is strict about what it is sent.

use crate::support::SHORT_ANSWER;
use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

/// What it does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Answers.
    Answer,
    /// Answers after so many milliseconds.
    Slowly(u64),
    /// Says only after so many milliseconds how many streams it allows, and answers slowly.
    SaysLate(u64),
    /// Refuses the first stream of each connection but the first request of all, and answers the others.
    RefuseSome,
    /// Says goodbye after each request that it takes, and answers that one.
    LeaveAfterEach,
    /// Begins a stream of events and resets it.
    BreakOff,
    /// Begins a stream of events and never ends it.
    Endless,
    /// Answers before the request's body is read, and wants no more of it.
    Early,
}

/// What it saw.
#[derive(Default)]
pub struct Seen {
    pub connections: AtomicU64,
    pub requests: AtomicU64,
    /// The most streams at once.
    pub most: AtomicU64,
    pub under_way: AtomicU64,
    /// Reasons of resets by the other side.
    pub resets: Mutex<Vec<Reason>>,
    /// What it did not like.
    pub complaints: Mutex<Vec<String>>,
    pub bodies: Mutex<Vec<Vec<u8>>>,
}

/// The provider, until it is dropped.
pub struct Provider {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

/// The events of a streamed answer.
pub const EVENTS: &str = concat!(
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,",
    "\"delta\":{\"role\":\"assistant\",\"content\":\"Done.\"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,",
    "\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[],",
    "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\n",
    "data: [DONE]\n\n"
);

impl Provider {
    /// Without TLS, for clients that begin with HTTP/2.
    pub fn start(manner: Manner) -> Provider {
        Provider::start_with(manner, 100, None)
    }

    /// With this many streams a connection, and TLS if there is a configuration.
    pub fn start_with(manner: Manner, streams: u32, tls: Option<rustls::ServerConfig>) -> Provider {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Seen::default());
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (watched, tls) = (seen.clone(), tls.map(|config| tokio_rustls::TlsAcceptor::from(Arc::new(config))));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a socket");
                let work = async {
                    while let Ok((tcp, _)) = listener.accept().await {
                        watched.connections.fetch_add(1, Ordering::Relaxed);
                        let (watched, tls) = (watched.clone(), tls.clone());
                        tokio::spawn(async move {
                            match tls {
                                Some(tls) => {
                                    let Ok(stream) = tls.accept(tcp).await else { return };
                                    connection(stream, manner, streams, watched).await;
                                }
                                None => connection(tcp, manner, streams, watched).await,
                            }
                        });
                    }
                };
                tokio::select! { () = work => {}, _ = stopped => {} }
            });
        });
        Provider { address, seen, _stop: stop }
    }

    /// The base URL without TLS.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::Relaxed)
    }

    pub fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::Relaxed)
    }

    pub fn resets(&self) -> Vec<Reason> {
        self.seen.resets.lock().expect("no panic").clone()
    }

    /// Fails the test if it did not like what it was sent.
    pub fn must_be_content(&self) {
        let complaints = self.seen.complaints.lock().expect("no panic");
        assert!(complaints.is_empty(), "{complaints:?}");
    }
}

async fn connection(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    manner: Manner,
    streams: u32,
    seen: Arc<Seen>,
) {
    if let Manner::SaysLate(wait) = manner {
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    let mut builder = h2::server::Builder::new();
    let Ok(mut connection): Result<Connection<_, Bytes>, _> =
        builder.max_concurrent_streams(streams).handshake(io).await
    else {
        seen.complaints.lock().expect("no panic").push("no HTTP/2".to_owned());
        return;
    };
    let mut here = 0;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let all = seen.requests.fetch_add(1, Ordering::Relaxed);
        here += 1;
        if manner == Manner::RefuseSome && here == 2 && all == 1 {
            respond.send_reset(Reason::REFUSED_STREAM);
            continue;
        }
        if manner == Manner::LeaveAfterEach {
            connection.graceful_shutdown();
        }
        tokio::spawn(exchange(request, respond, manner, seen.clone()));
    }
}

async fn exchange(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, manner: Manner, seen: Arc<Seen>) {
    let now = seen.under_way.fetch_add(1, Ordering::Relaxed) + 1;
    seen.most.fetch_max(now, Ordering::Relaxed);
    inspect(&request, &seen);
    if manner == Manner::Early {
        let response = Response::builder().status(429).header("content-type", "application/json");
        let body = r#"{"error":{"message":"later","type":"rate_limit","code":"rate_limit"}}"#;
        let mut send = respond.send_response(response.body(()).expect("a head"), false).expect("open");
        let _ = send.send_data(Bytes::from_static(body.as_bytes()), true);
        seen.under_way.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    let mut stream = request.into_body();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        match piece {
            Ok(piece) => {
                let _ = stream.flow_control().release_capacity(piece.len());
                body.extend_from_slice(&piece);
            }
            Err(error) => {
                seen.resets.lock().expect("no panic").extend(error.reason());
                seen.under_way.fetch_sub(1, Ordering::Relaxed);
                return;
            }
        }
    }
    let streamed = String::from_utf8_lossy(&body).contains("\"stream\":true");
    seen.bodies.lock().expect("no panic").push(body);
    match manner {
        Manner::Slowly(wait) => tokio::time::sleep(Duration::from_millis(wait)).await,
        Manner::SaysLate(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        _ => {}
    }
    let media = if streamed { "text/event-stream" } else { "application/json" };
    let response = Response::builder().status(200).header("content-type", media).body(()).expect("a head");
    let Ok(mut send) = respond.send_response(response, false) else { return };
    if matches!(manner, Manner::BreakOff | Manner::Endless) {
        let first = EVENTS.split_inclusive("\n\n").next().expect("an event");
        let _ = send.send_data(Bytes::from_static(first.as_bytes()), false);
        if manner == Manner::BreakOff {
            tokio::time::sleep(Duration::from_millis(50)).await;
            send.send_reset(Reason::INTERNAL_ERROR);
        } else if let Ok(reason) = std::future::poll_fn(|cx| send.poll_reset(cx)).await {
            seen.resets.lock().expect("no panic").push(reason);
        }
    } else {
        // The end in a frame of its own, as many servers have it.
        let text = if streamed { EVENTS } else { SHORT_ANSWER };
        let _ = send.send_data(Bytes::from_static(text.as_bytes()), false);
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-trailer", http::HeaderValue::from_static("dropped"));
        let _ = send.send_trailers(trailers);
    }
    seen.under_way.fetch_sub(1, Ordering::Relaxed);
}

fn inspect(request: &Request<RecvStream>, seen: &Seen) {
    let complain = |what: String| seen.complaints.lock().expect("no panic").push(what);
    let (uri, headers) = (request.uri(), request.headers());
    if uri.authority().is_none() || uri.scheme().is_none() || uri.path() != "/v1/chat/completions" {
        complain(format!("the target is {uri}"));
    }
    for name in ["host", "connection", "transfer-encoding", "keep-alive", "te", "upgrade"] {
        if headers.contains_key(name) {
            complain(format!("there is a {name}"));
        }
    }
    for name in ["authorization", "content-length", "content-type", "user-agent", "x-request-id"] {
        if headers.get_all(name).iter().count() != 1 {
            complain(format!("there is not one {name}"));
        }
    }
}
