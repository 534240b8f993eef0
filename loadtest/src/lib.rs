//! A load tester for LLM gateways, and the strict simulated provider it measures them against.
//!
//! It shares no codec with any gateway: what one of them gets wrong, the other must not get wrong the same way. The
//! [`simulator`] refuses what the real service refuses and keeps a log of what truly happened; the tester counts latency from
//! the moment a request should have left, and can check every answer byte for byte.

#[cfg(feature = "certs")]
pub mod certs;
#[cfg(feature = "load")]
pub mod load;
pub mod simulator;

pub use simulator::{Simulator, Surface};
