//! The data plane: one thread per core, nothing shared but the snapshot and the core's own report queue.
//!
//! Requests fall straight down: `worker` accepts, `session` reads heads off one client connection, `exchange` names the phases of one
//! request in order, `failover` lets one provider after another try, `attempt` makes the try over a connection from `upstream`, `relay` and `stream` pass the answer on, and
//! `reply` is the only file that turns a fault into bytes. No lock, no database, no name resolution, no configuration here.

pub mod ask;
pub mod attempt;
pub mod downstream;
pub mod exchange;
pub mod failover;
pub mod fault;
pub mod forward;
pub mod local;
pub mod meter;
pub mod outbound;
pub mod per_core;
pub mod plan;
pub mod relay;
pub mod reply;
pub mod session;
pub mod splice_metadata;
pub mod stream;
pub mod upstream;
pub mod worker;
