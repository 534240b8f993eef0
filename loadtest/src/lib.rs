//! A load tester for LLM endpoints and gateways, and the strict simulated provider it measures them against.
//!
//! ```text
//! workload   what is sent and when: fixed before the first byte leaves     dialect   a question as a request, an answer as marks
//!     |                                                                       |      wire   HTTP/1.1 and events, bytes in, values out
//!     v                                                                       v
//! engine     one event loop a thread: planned instants in, one Done a request out  ->  Observer
//!     |
//!     v
//! measure    outcomes, histograms, seconds, goodput, the rig's own health  ->  report   terminal, JSON, HTML, files, exit codes
//! stats      intervals, pairs, differences                                     live     the same while it runs
//! overhead, search, compare, selftest, doctor: a question each, answered with the parts above
//! ```
//!
//! It shares no codec with any gateway: what one of them gets wrong, the other must not get wrong the same way. The
//! [`simulator`] refuses what the real service refuses and keeps a log of what truly happened; the tester counts latency from
//! the moment a request should have left, and can check every answer byte for byte.

#[cfg(feature = "certs")]
pub mod certs;
#[cfg(feature = "load")]
pub mod compare;
#[cfg(feature = "load")]
pub mod dialect;
#[cfg(feature = "load")]
pub mod doctor;
#[cfg(feature = "load")]
pub mod engine;
#[cfg(feature = "load")]
pub mod live;
#[cfg(feature = "load")]
pub mod measure;
#[cfg(feature = "load")]
pub mod overhead;
#[cfg(feature = "load")]
pub mod report;
#[cfg(feature = "load")]
pub mod search;
#[cfg(feature = "load")]
pub mod selftest;
pub mod simulator;
#[cfg(feature = "load")]
pub mod stats;
#[cfg(feature = "load")]
pub mod wire;
#[cfg(feature = "load")]
pub mod workload;

pub use simulator::{Simulator, Surface};
