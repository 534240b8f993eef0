//! One client connection: heads read one after another, each handed to an exchange, until either side wants to stop.
//!
//! Pipelined requests are answered in order (rule H15); a connection goes on only when its parser stands exactly at a message border
//! (rule H14). A malformed head is answered once and the connection closed: nothing behind it can be trusted.

use super::downstream::{Arrival, Downstream};
use super::exchange::{self, Next};
use super::fault::Fault;
use super::multiplex;
use super::per_core::{Core, Phase};
use super::reply::{self, Stamp};
use crate::dialects::Wire;
use crate::http::head::{HeadFault, HeadLimits, Progress, RequestHead};
use crate::http2::{self, Preface};
use crate::report::Held;
use crate::rt;
use crate::tls::{self, Transport};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

/// What reading a head came to.
enum HeadRead {
    /// A whole head of so many bytes stands at the front of the input.
    Whole(usize),
    /// No head: the client wants to speak HTTP/2, and says so first.
    Preface,
    /// The client is gone or nothing was ever asked: close without a word.
    Silence,
    /// The head is broken or late: answer, then close.
    Broken(Fault),
}

/// Serves one client connection to its end. `room`: how many sessions this core may have.
pub async fn run(core: Rc<Core>, transport: Transport, peer: IpAddr, room: usize) {
    let multiplexed = match transport.alpn() {
        Some(tls::HTTP2) => Some(transport),
        _ => {
            let _open = Held::one(&core.reports.gauges.connections);
            let (exchanges, plain) = {
                let settings = &core.snapshot().settings;
                (settings.exchanges_per_connection, settings.http2_plain)
            };
            let may_switch = plain && !transport.is_tls();
            serve(&core, transport, peer, exchanges, may_switch).await
        }
    };
    if let Some(transport) = multiplexed {
        // Few connections come here, and the others should not carry its state.
        Box::pin(multiplex::run(core, transport, peer, room)).await;
    }
}

/// Serves what looks like a connection and has room for one exchange.
pub async fn run_one(core: Rc<Core>, transport: Transport, peer: IpAddr) {
    serve(&core, transport, peer, 1, false).await;
}

/// Serves so many exchanges. The connection comes back if its client wants to speak HTTP/2, where it may.
async fn serve(
    core: &Rc<Core>,
    transport: Transport,
    peer: IpAddr,
    exchanges: u32,
    may_switch: bool,
) -> Option<Transport> {
    let mut down = Downstream::new(core, transport, peer);
    let mut head = RequestHead::default();
    for served in 0..exchanges {
        let first = served == 0;
        let last = served + 1 == exchanges;
        match read_head(core, &mut down, &mut head, first, may_switch && first).await {
            HeadRead::Preface => return Some(down.into_transport()),
            HeadRead::Silence => return None,
            HeadRead::Broken(fault) => {
                Box::pin(refuse(core, &mut down, &fault)).await;
                return None;
            }
            HeadRead::Whole(length) => match exchange::serve(core, &mut down, &head, length, last).await {
                Next::Continue => {}
                Next::Close => {
                    down.linger().await;
                    return None;
                }
                Next::Abort => return None,
            },
        }
    }
    None
}

/// Reads one head. Between exchanges a connection may idle; once a byte is there the head has its own deadline, as a whole.
async fn read_head(
    core: &Core,
    down: &mut Downstream,
    head: &mut RequestHead,
    first: bool,
    may_switch: bool,
) -> HeadRead {
    let Terms { limits, patience, head_deadline } = terms(core, down, first);
    let mut deadline = rt::coarse_now() + patience;
    let mut begun = false;
    head.reset();
    loop {
        if !down.input().is_empty() {
            down.headed = rt::now();
            if !begun {
                begun = true;
                down.arrived = down.headed;
                deadline = if first { deadline } else { down.headed + head_deadline };
            }
            let bytes = down.input().bytes();
            let prefaced = if may_switch { http2::preface_in(bytes) } else { Preface::None };
            match head.parse(bytes, &limits) {
                _ if prefaced == Preface::Whole => return HeadRead::Preface,
                _ if prefaced == Preface::Begun => {}
                Ok(Progress::Complete { consumed }) => return HeadRead::Whole(consumed),
                Ok(Progress::Partial) => {}
                Err(fault) => return HeadRead::Broken(head_fault(&fault)),
            }
        }
        match down.arrive(deadline, !begun).await {
            Arrival::Bytes => {}
            Arrival::Late if begun => return HeadRead::Broken(late_head()),
            Arrival::Closed | Arrival::Drained | Arrival::Late => return HeadRead::Silence,
        }
    }
}

/// What a head may be, how long it is waited for, and how long it may take once it has begun.
struct Terms {
    limits: HeadLimits,
    patience: Duration,
    head_deadline: Duration,
}

/// The terms of the next head, by the snapshot that this core looked at last.
fn terms(core: &Core, down: &mut Downstream, first: bool) -> Terms {
    let current = core.latest();
    let settings = &current.settings;
    down.stall = settings.client_stall;
    Terms {
        limits: HeadLimits {
            head_bytes: settings.head_bytes_max,
            fields: settings.head_fields_max,
            ..HeadLimits::REQUEST
        },
        patience: if first { settings.head_deadline } else { settings.keep_alive_idle },
        head_deadline: settings.head_deadline,
    }
}

#[cold]
fn head_fault(fault: &HeadFault) -> Fault {
    Fault::Malformed { status: fault.status(), remedy: format!("Bad request: {fault}. {}", fault.remedy()).into() }
}

#[cold]
fn late_head() -> Fault {
    Fault::Malformed { status: 408, remedy: "The request head took too long to arrive; send it at once.".into() }
}

/// Answers a broken head and closes; whatever else the client sent is discarded.
async fn refuse(core: &Core, down: &mut Downstream, fault: &Fault) {
    core.reports.gauges.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let date = core.date(rt::wall(rt::coarse_now()));
    let request = core.request_id();
    let stamp =
        Stamp { request, face: Wire::Chat, date: &date, persist: false, head_only: false, receipt: None, grant: None };
    down.input().clear();
    reply::fault(down.output().vec_mut(), fault, stamp, 0);
    if core.phase() == Phase::Cutting || down.flush().await.is_err() {
        return;
    }
    down.linger().await;
}
