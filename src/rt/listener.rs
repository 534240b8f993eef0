//! Accepting connections, and stopping to.
//!
//! An accept in flight is never dropped: it may hold a socket (rule S6). It belongs to the [`Listener`] like a read to its
//! connection; [`Stop`] cancels it and waits for the same operation, and a socket that came anyway is handed out. Out of descriptors,
//! the listener closes one connection with the descriptor it kept spare, and backs off (rule O4).

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use monoio::io::Canceller;
use monoio::net::{ListenerOpts, TcpListener};

use super::{Conn, Driver, driver, task};
use crate::limits::ACCEPT_BACK_OFF;

type Accepted = io::Result<(Conn, SocketAddr)>;

/// Tells the listeners of a core to stop accepting. Clones are the same stop.
#[derive(Clone, Default)]
pub struct Stop(Rc<StopState>);

#[derive(Default)]
struct StopState {
    stopped: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Stop {
    /// A stop that has not been given.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Stops; for good.
    pub fn stop(&self) {
        self.0.stopped.set(true);
        for waker in self.0.waiting.take() {
            waker.wake();
        }
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.get()
    }

    /// Waits for the stop.
    pub async fn stopped(&self) {
        poll_fn(|cx| self.poll_stopped(cx)).await;
    }

    fn poll_stopped(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_stopped() {
            return Poll::Ready(());
        }
        let mut waiting = self.0.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// A listening TCP socket of this core.
pub struct Listener {
    local: SocketAddr,
    accepting: RefCell<Accepting>,
    /// Held so that there is a descriptor left to accept and close with.
    spare: RefCell<Option<File>>,
}

/// The accept in flight, and what cancels it.
struct Accepting {
    listener: Rc<TcpListener>,
    operation: Option<Pin<Box<dyn Future<Output = Accepted>>>>,
    canceller: Option<Canceller>,
}

impl Listener {
    /// Listens on `addr`. With `reuse_port` every core may have its own socket on the same address, and the kernel spreads
    /// connections over them.
    ///
    /// # Errors
    /// The kernel's: address in use, not ours, no permission.
    pub fn bind(addr: SocketAddr, reuse_port: bool) -> io::Result<Listener> {
        let options = ListenerOpts::new().reuse_addr(true).reuse_port(reuse_port).backlog(4096);
        Listener::new(TcpListener::bind_with_config(addr, &options)?)
    }

    /// Takes over a listening socket (passed at an upgrade, or bound for a test).
    ///
    /// # Errors
    /// The kernel's, when the socket cannot be registered with the driver.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<Listener> {
        listener.set_nonblocking(driver::current() == Some(Driver::Epoll))?;
        Listener::new(TcpListener::from_std(listener)?)
    }

    fn new(listener: TcpListener) -> io::Result<Listener> {
        let local = listener.local_addr()?;
        let accepting = Accepting { listener: Rc::new(listener), operation: None, canceller: None };
        Ok(Listener { local, accepting: RefCell::new(accepting), spare: RefCell::new(spare_descriptor()) })
    }

    /// The address it listens on; with its port, where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The next connection, or `None` once stopped. May be dropped: the operation stays with the listener.
    ///
    /// A stop still hands out the connection that was accepted in the same moment. One caller at a time.
    ///
    /// # Errors
    /// The kernel's for that one connection (reset before it was accepted); go on accepting. Running out of descriptors is handled
    /// here, by closing one connection and a pause.
    pub async fn accept(&self, stop: &Stop) -> Option<Accepted> {
        loop {
            match poll_fn(|cx| self.poll_accept(cx, stop)).await? {
                Err(error) if out_of_descriptors(&error) => {
                    // The next accept takes this one, and `keep` closes it unless others have closed some meanwhile.
                    if self.spare.take().is_none() {
                        task::sleep(ACCEPT_BACK_OFF).await;
                    }
                }
                Ok((conn, peer)) if self.restore_spare() => return Some(Ok((conn, peer))),
                Ok(refused) => {
                    drop(refused);
                    task::sleep(ACCEPT_BACK_OFF).await;
                    self.restore_spare();
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn poll_accept(&self, cx: &mut Context<'_>, stop: &Stop) -> Poll<Option<Accepted>> {
        let mut accepting = self.accepting.borrow_mut();
        if stop.poll_stopped(cx).is_ready() {
            if accepting.operation.is_none() {
                return Poll::Ready(None);
            }
            accepting.cancel();
        }
        accepting.poll(cx).map(|accepted| match accepted {
            Err(error) if stop.is_stopped() && error.raw_os_error() == Some(libc::ECANCELED) => None,
            accepted => Some(accepted),
        })
    }

    /// Whether the spare descriptor is there, or could be had again.
    fn restore_spare(&self) -> bool {
        let mut spare = self.spare.borrow_mut();
        if spare.is_none() {
            *spare = spare_descriptor();
        }
        spare.is_some()
    }
}

impl Accepting {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Accepted> {
        if self.operation.is_none() {
            let canceller = Canceller::new();
            let (listener, handle) = (self.listener.clone(), canceller.handle());
            self.operation = Some(Box::pin(async move {
                let (stream, peer) = listener.cancelable_accept(handle).await?;
                Ok((Conn::from_tcp(stream, peer)?, peer))
            }));
            self.canceller = Some(canceller);
        }
        let operation = self.operation.as_mut().expect("an accept was just started if there was none");
        let accepted = operation.as_mut().poll(cx);
        if accepted.is_ready() {
            self.operation = None;
            self.canceller = None;
        }
        accepted
    }

    /// Asks the kernel to give the operation up; it ends in its own time, perhaps with a socket.
    fn cancel(&mut self) {
        if let Some(canceller) = self.canceller.take() {
            canceller.cancel();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let accepting = self.accepting.get_mut();
        accepting.cancel();
        if let Some(operation) = accepting.operation.take()
            && driver::current().is_some()
        {
            // Waited for, so that a socket it may still bring is closed.
            task::spawn(async move { drop(operation.await) });
        }
    }
}

fn spare_descriptor() -> Option<File> {
    File::open("/dev/null").ok()
}

fn out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
