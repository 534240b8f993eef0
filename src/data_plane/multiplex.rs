//! One client connection that speaks HTTP/2: each stream becomes a session of one exchange, on a task of its own.
//!
//! Deadlines are those of other connections: a head has its own, a connection without streams may idle, and a client that does not read is
//! given up by the exchange that waits for it. A connection ends by GOAWAY, so that no request of its client is lost: after its share of
//! exchanges, when it idles, when the process goes down or is short of room, and when its client makes us work for nothing (rule H22).

use super::per_core::{Core, Phase, SessionPlace};
use super::session;
use crate::domain::pressure::Stage;
use crate::http2::{Requests, ServerStream};
use crate::limits;
use crate::report::Held;
use crate::rt::{self, Deadline};
use crate::tls::Transport;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Serves one connection to its end. `room`: how many sessions this core may have; a stream beyond is refused.
pub async fn run(core: Rc<Core>, transport: Transport, peer: IpAddr, room: usize) {
    let _open = Held::one(&core.reports.gauges.connections);
    let _multiplexed = Held::one(&core.reports.gauges.connections_http2);
    let settings = core.snapshot().settings.clone();
    let place = core.enter_session();
    let opening = Requests::open(transport, settings.head_bytes_max);
    let opened = rt::with_deadline(Instant::now() + settings.head_deadline, unless_down(&core, &place, opening)).await;
    let Ok(Some(Ok(requests))) = opened else { return };
    let mut driver = Driver {
        core: core.clone(),
        place,
        requests,
        streams: Rc::new(Streams::new()),
        deadline: Deadline::new(),
        head_deadline: settings.head_deadline,
        idle: settings.head_deadline,
        leaving: None,
        thrown_out: false,
    };
    for served in 1.. {
        let Some(stream) = driver.next().await else { break };
        driver.idle = settings.keep_alive_idle;
        if served >= settings.exchanges_per_connection || !driver.persists() {
            driver.leave();
        }
        if core.session_count() >= room {
            stream.refuse();
            continue;
        }
        let open = driver.streams.enter();
        let core = core.clone();
        rt::spawn(async move {
            let _open = open;
            session::run_one(core, Transport::Shared(Box::new(stream)), peer).await;
        });
    }
    if core.phase() < Phase::Cutting {
        let _ = rt::with_deadline(Instant::now() + limits::DRAIN_DEADLINE, driver.requests.linger()).await;
    }
}

/// Waits for work unless the process goes down, when nobody has asked for anything yet.
async fn unless_down<T>(core: &Core, place: &SessionPlace, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    poll_fn(|cx| {
        place.park(cx.waker());
        if core.phase() >= Phase::Draining {
            return Poll::Ready(None);
        }
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

/// What drives a connection between two requests.
struct Driver {
    core: Rc<Core>,
    place: SessionPlace,
    requests: Requests,
    streams: Rc<Streams>,
    deadline: Deadline,
    head_deadline: Duration,
    /// How long nothing may be asked: at first as long as for a head.
    idle: Duration,
    /// Since when no further request is taken.
    leaving: Option<Instant>,
    thrown_out: bool,
}

impl Driver {
    /// The next request; `None` once the connection is over.
    async fn next(&mut self) -> Option<ServerStream> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<ServerStream>> {
        self.place.park(cx.waker());
        self.streams.park(cx.waker());
        loop {
            match self.core.phase() {
                Phase::Cutting => return Poll::Ready(None),
                Phase::Draining => self.leave(),
                Phase::Serving | Phase::Leaving => {}
            }
            if let Poll::Ready(next) = self.requests.poll_next(cx) {
                return Poll::Ready(next);
            }
            if self.requests.is_flooded() && !self.thrown_out {
                self.throw_out();
                continue;
            }
            let Some(due) = self.due() else {
                self.deadline.clear();
                return Poll::Pending;
            };
            self.deadline.at(due);
            if self.deadline.poll(cx).is_pending() {
                return Poll::Pending;
            }
            if self.thrown_out || (self.leaving.is_some() && self.streams.are_none()) {
                return Poll::Ready(None);
            }
            match self.requests.head_since() {
                Some(since) if due >= since + self.head_deadline => self.throw_out(),
                _ => self.leave(),
            }
        }
    }

    /// When something is to be done although nothing comes: a head that is late, a connection that idles, or one that should be gone.
    fn due(&self) -> Option<Instant> {
        if self.thrown_out {
            return self.leaving.map(|since| since + limits::DRAIN_DEADLINE);
        }
        let head = self.requests.head_since().map(|since| since + self.head_deadline);
        let idle_since = self.streams.are_none().then(|| self.streams.last_end.get());
        let idle = match self.leaving {
            Some(since) => idle_since.map(|idle| idle.max(since) + limits::DRAIN_DEADLINE),
            None => idle_since.map(|idle| idle + self.idle),
        };
        head.into_iter().chain(idle).min()
    }

    /// Whether the connection may take further requests: as for other connections (rules S1, O2).
    fn persists(&self) -> bool {
        self.core.phase() == Phase::Serving && self.core.stage() < Stage::Tight
    }

    fn leave(&mut self) {
        if self.leaving.is_none() {
            self.leaving = Some(Instant::now());
            self.requests.leave();
        }
    }

    /// Nothing of such a client is served any more.
    fn throw_out(&mut self) {
        self.thrown_out = true;
        self.leaving = Some(Instant::now());
        self.requests.throw_out();
    }
}

// ---- Streams ----------------------------------------------------------------------------------------------------------------

/// The streams of one connection that are being served.
struct Streams {
    count: Cell<usize>,
    last_end: Cell<Instant>,
    /// Whom to wake when there is none left.
    driver: RefCell<Option<Waker>>,
}

/// One of them, until it is dropped.
struct Open(Rc<Streams>);

impl Streams {
    fn new() -> Self {
        Self { count: Cell::new(0), last_end: Cell::new(Instant::now()), driver: RefCell::default() }
    }

    fn are_none(&self) -> bool {
        self.count.get() == 0
    }

    fn enter(self: &Rc<Self>) -> Open {
        self.count.set(self.count.get() + 1);
        Open(self.clone())
    }

    fn park(&self, waker: &Waker) {
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *driver = Some(waker.clone());
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get().saturating_sub(1));
        self.0.last_end.set(Instant::now());
        let driver = if self.0.are_none() { self.0.driver.borrow_mut().take() } else { None };
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}
