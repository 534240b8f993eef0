//! The threads of a simulator: each has one event loop and accepts from the same listening socket.

use super::{Site, serve};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Running threads and the word that ends them.
pub(super) struct Threads {
    running: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Threads {
    pub(super) fn start(listener: &TcpListener, count: usize, site: &Arc<Site>) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut threads = Self { running: Vec::with_capacity(count), stop };
        for number in 0..count {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (listener, site, stopped) = (listener.try_clone()?, Arc::clone(site), stopped.clone());
            let name = format!("simulator-{number}");
            let thread = std::thread::Builder::new().name(name).spawn(move || {
                runtime.block_on(accept(listener, site, stopped));
                // Dropping the runtime closes every connection that is still open.
            })?;
            threads.running.push(thread);
        }
        Ok(threads)
    }

    /// Ends all threads and waits for them.
    pub(super) fn stop(&mut self) {
        self.stop.send_replace(true);
        for thread in self.running.drain(..) {
            // A thread that panicked has printed why; the others still need to be joined.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, site: Arc<Site>, mut stopped: watch::Receiver<bool>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => begin(stream, Arc::clone(&site)),
                // Out of descriptors: existing connections must end before a new one can begin.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
}

/// Begins to serve a connection. A plain one has no room for what an encrypted one needs: there may be ten thousand of them.
fn begin(stream: TcpStream, site: Arc<Site>) {
    // Events are small and must leave one by one.
    let _ = stream.set_nodelay(true);
    #[cfg(feature = "tls")]
    if let Some(acceptor) = site.tls.clone() {
        tokio::spawn(async move {
            // A failed handshake leaves no request; the client has its alert.
            if let Ok(stream) = acceptor.accept(stream).await {
                serve::connection(stream, site).await;
            }
        });
        return;
    }
    tokio::spawn(serve::connection(stream, site));
}
