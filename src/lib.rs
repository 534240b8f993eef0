//! Igris Overture: a gateway between an application and LLM providers.
//!
//! Two planes that never touch and one waist between them: `data_plane` serves requests from immutable snapshots, one thread per core;
//! `control_plane` makes decisions slowly and publishes them. `docs/ARCHITECTURE.md` has the plan, `tests/tidy.rs` keeps its arrows.

pub mod admin;
pub mod allowance;
pub mod app;
pub mod board;
pub mod chat;
pub mod cli;
pub mod config;
pub mod control_plane;
pub mod dashboard;
pub mod data_plane;
pub mod demo;
pub mod dialects;
pub mod domain;
pub mod export;
pub mod fleet;
pub mod handover;
pub mod http;
pub mod http2;
pub mod json;
pub mod ledger;
pub mod limits;
pub mod metering;
pub mod providers;
pub mod report;
pub mod routing;
pub mod rt;
pub mod snapshot;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod vault;
