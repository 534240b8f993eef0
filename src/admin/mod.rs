//! The HTTP faces of the control plane: the admin socket for the operator, the internal socket for the data plane.
//!
//! Both are Unix sockets that answer known users only; both are thin: they read a request, call one operation of the control plane under
//! its lock, and write the answer. The lock is never held across a wait. Secrets come in and do not go out, but for the text of a new
//! access key, once.

mod answer;
mod decisions;
mod events;
mod keys;
mod members;
mod query;
mod routes;
mod serve;
mod socket;
pub mod tenant_api;

pub use answer::Refusal;
pub use routes::{Drain, metrics_router, read_router, router};
pub use serve::{Ceiling, serve};
pub use socket::{AdminSocket, Peer, bind};

use crate::control_plane::{Control, lock as locked};
use std::sync::{Arc, Mutex};

/// The control plane as its faces share it.
pub type Shared = Arc<Mutex<Control>>;

#[cfg(test)]
pub(crate) mod house;
#[cfg(test)]
mod tests;
