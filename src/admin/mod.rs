//! The HTTP faces of the control plane: the admin socket for the operator, the internal socket for the data plane.
//!
//! Both are Unix sockets that answer known users only; both are thin: they read a request, call one operation of the control plane under
//! its lock, and write the answer. The lock is never held across a wait. Secrets come in and do not go out, but for the text of a new
//! access key, once.

mod access_keys;
mod admission;
mod again;
mod alerts;
mod answer;
mod audit;
mod budgets;
mod config;
mod costs;
mod decisions;
mod events;
mod hold;
mod keys;
mod ledger;
mod members;
mod query;
mod rotations;
mod routes;
mod serve;
mod socket;
pub mod tenant_api;
mod upgrade;
mod vault;
mod webhooks;

pub use admission::Admission;
pub use answer::Refusal;
pub use hold::{Held, Hold, gated};
pub use members::Members;
pub use query::Asked;
pub use routes::{Drain, metrics_router, note_visit, router, router_for};
pub use serve::{Ceiling, serve};
pub use socket::{AdminSocket, Keeper, Peer, adopt, bind};
pub use upgrade::{UpgradeAsk, UpgradeDesk, UpgradeOutcome, Upgraded};

use crate::control_plane::{Control, lock as locked};
use std::sync::{Arc, Mutex};

/// The control plane as its faces share it.
pub type Shared = Arc<Mutex<Control>>;

#[cfg(test)]
pub(crate) mod house;
#[cfg(test)]
mod tests;
