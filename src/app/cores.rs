//! The data plane's threads: one for each core, with its sockets, its report queue and its share of the machine.

use super::listening::Listening;
use crate::board::Board;
use crate::data_plane::idempotency::Outcomes;
use crate::data_plane::per_core::PhaseSwitch;
use crate::data_plane::vitals::Vitals;
use crate::data_plane::worker::{self, Post};
use crate::ledger::Ledger;
use crate::limits;
use crate::report::CoreReports;
use crate::rt::{Driver, WorkerSpec, Workers};
use crate::snapshot::Published;
use std::sync::Arc;

/// What all cores have in common.
pub(super) struct Crew {
    pub(super) driver: Driver,
    pub(super) listening: Arc<Listening>,
    pub(super) published: Published,
    /// One for each core.
    pub(super) reports: Vec<Arc<CoreReports>>,
    /// Unless the owner wants none.
    pub(super) ledger: Option<Arc<Ledger>>,
    pub(super) board: Arc<Board>,
    pub(super) phase: PhaseSwitch,
    pub(super) connections_max: usize,
}

/// Starts a worker for each report queue.
pub(super) fn start(crew: Crew) -> anyhow::Result<Workers> {
    let cores = crew.reports.len();
    let descriptors_max = rlimit::Resource::NOFILE.get_soft().unwrap_or(u64::MAX);
    let vitals = Arc::new(Vitals::of_process(descriptors_max, cores));
    let outcomes = Arc::new(Outcomes::default());
    let workers = Workers::start(crew.driver, WorkerSpec::one_per_core(cores), move |index| {
        // A core that cannot write down what it does must do nothing.
        let journal = crew.ledger.as_ref().map(|ledger| ledger.journal(index.0).expect("a journal for the core"));
        worker::run(Post {
            index: index.0,
            listeners: crew.listening.of_core(index.0, cores),
            published: crew.published.clone(),
            reports: crew.reports[index.0].clone(),
            journal,
            board: crew.board.clone(),
            phase: crew.phase.clone(),
            vitals: vitals.clone(),
            outcomes: outcomes.clone(),
            connections_max: crew.connections_max,
        })
    })?;
    Ok(workers)
}

/// Connections a core may hold so that descriptors for providers and files remain: each may need one more upstream.
pub(super) fn descriptors_per_core(cores: usize) -> usize {
    let limit =
        rlimit::increase_nofile_limit(u64::MAX).map_or(1024, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let limit = limit.saturating_sub(limits::DESCRIPTORS_RESERVED);
    (limit / 2 / cores.max(1)).clamp(16, limits::CONNECTIONS_PER_CORE_MAX)
}
