//! Connections that stand before they are needed: while a provider is in use, each core keeps a few unused ones to it, so that a request that
//! comes beside others, or after a while, meets neither a connect nor a handshake.
//!
//! Looked after by the core's tick and not by requests, which take what is there and open what is not. A provider that could not be
//! connected to is left alone for a while: finding out whether it is back is the business of requests and probes.

use super::per_core::{Core, Phase};
use super::upstream;
use crate::domain::pressure::Stage;
use crate::rt;
use crate::snapshot::{Origin, Provider};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Begins to open what is missing. Nothing while the process goes down, and nothing where room is short.
pub fn keep(core: &Rc<Core>, now: Instant) {
    if core.phase() != Phase::Serving || core.stage() >= Stage::Tight {
        return;
    }
    loop {
        let short = core.pools.borrow_mut().next_short(now);
        let Some(key) = short else { return };
        match current(core, &key) {
            Some((origin, timeout)) => rt::spawn(open(core.clone(), origin, timeout)),
            // Its provider is no longer there.
            None => core.pools.borrow_mut().forget(&key),
        }
    }
}

/// Where a pool's connections lead by now, and how long connecting may take.
fn current(core: &Core, key: &Arc<str>) -> Option<(Arc<Origin>, Duration)> {
    let leads_there = |provider: &&Provider| provider.origin.key == *key;
    let snapshot = core.snapshot();
    let provider = snapshot.providers.iter().find(leads_there)?;
    Some((provider.origin.clone(), provider.connect_timeout))
}

async fn open(core: Rc<Core>, origin: Arc<Origin>, timeout: Duration) {
    let opened = upstream::connect(&core, &origin, timeout, false).await;
    core.pools.borrow_mut().opened(&origin, opened.ok(), rt::coarse_now());
}
