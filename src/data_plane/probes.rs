//! Active probes, where configured: whether a provider that took no connections takes them again, without a request waiting for the answer.
//!
//! A connection with its TLS handshake and nothing else: no request, no credential, no tokens. One that stands makes the breaker half open at
//! once, and the next request finds out the rest. A provider that answers with errors is left to requests: a connection proves nothing there.
//! Runs on one core only; that core's findings are on the board for all.

use super::per_core::{Core, Phase};
use super::upstream;
use crate::board::Scope;
use crate::domain::id::ProviderId;
use crate::limits;
use crate::routing::breaker::{Breaker, Cause};
use crate::rt;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// When each provider was probed last, and whether that is still under way.
type Probed = Rc<RefCell<HashMap<ProviderId, Last>>>;

struct Last {
    at: Instant,
    under_way: bool,
}

/// Probes until the process goes down.
pub async fn run(core: Rc<Core>) {
    let probed = Probed::default();
    while core.phase() == Phase::Serving {
        rt::sleep(limits::PROBE_TICK).await;
        let interval = core.snapshot().settings.routing.probe_interval;
        let due = interval.map(|interval| due(&core, &probed, interval, Instant::now()));
        for provider in due.unwrap_or_default() {
            rt::spawn(probe(core.clone(), provider, probed.clone()));
        }
    }
}

/// The providers to be probed now; they count as under way from here on.
fn due(core: &Core, probed: &Probed, interval: Duration, now: Instant) -> Vec<ProviderId> {
    let halts = core.steer.halts();
    let unreachable = halts.breakers(now).filter_map(|(scope, breaker)| match (scope, breaker) {
        (Scope::Provider(provider), Breaker::Open(opening)) if opening.cause == Cause::Unreachable => Some(provider),
        _ => None,
    });
    let mut probed = probed.borrow_mut();
    probed.retain(|_, last| last.under_way || now.saturating_duration_since(last.at) < interval);
    let mut due = Vec::new();
    for provider in unreachable {
        let under_way = probed.values().filter(|last| last.under_way).count();
        if under_way < limits::PROBES_MAX && !probed.contains_key(provider) {
            probed.insert(provider.clone(), Last { at: now, under_way: true });
            due.push(provider.clone());
        }
    }
    due
}

async fn probe(core: Rc<Core>, id: ProviderId, probed: Probed) {
    let snapshot = core.snapshot();
    let provider = snapshot.provider_named(id.as_str()).and_then(|ix| snapshot.provider(ix));
    if let Some(provider) = provider
        && upstream::connect(&core, &provider.origin, provider.connect_timeout, false).await.is_ok()
    {
        core.steer.reachable(&id, Instant::now());
    }
    if let Some(last) = probed.borrow_mut().get_mut(&id) {
        last.under_way = false;
    }
}
