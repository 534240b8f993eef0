//! The load tester: sends chat requests in a closed loop or on a fixed schedule, and tells what happened to every one.
//!
//! On a schedule, latency counts from the moment a request should have left, so a stalled target cannot hide behind a sender
//! that waited for it. Every request ends in exactly one outcome.

mod client;
mod prompt;
mod report;
mod run;
mod sse;
mod tally;
mod target;
mod verify;

pub use client::{Connection, Reading, Response, Trouble};
pub use prompt::Prompts;
pub use report::Report;
pub use run::{Plan, Shape, run};
pub use sse::Events;
pub use tally::{Ending, Tally};
pub use target::Target;
pub use verify::{Expectation, without_metadata};
