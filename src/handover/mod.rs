//! One process hands its work to the next: listening sockets, the store and what is still to be booked (rules S2, S3).
//!
//! The old process starts the new one with one end of a socket pair as its standard input and duplicates of its listening sockets, and
//! both speak in [`Message`]s. At no time do two processes accept on one socket or have the store open, and until the new one serves,
//! whatever goes wrong takes everything back: see [`Step`].
//!
//! ```text
//!   old process                                                        new process
//!      | -- Offer: which sockets, under which descriptors ---------------> | reads configuration, keys, certificates
//!      | <---------------------------------------------------- Prepared -- | (nothing has changed so far)
//!      | closes the store; its cores go on from their last snapshot        |
//!      | -- StoreFree -----------------------------------------------------> opens the store, builds its snapshot
//!      | <------------------------------------------------------- Ready -- |
//!      | its cores stop accepting; connections wait in the sockets         |
//!      | -- Take ----------------------------------------------------------> accepts
//!      | <----------------------------------------------------- Serving -- |
//!      | finishes what it has                                              | is the gateway
//!      | -- Batch (numbered, until the last exchange has ended) -----------> books it once
//!      | <------------------------------------------------------ Booked -- |
//!      | -- Done, end of channel                                           |
//! ```
//!
//! Everything is pure or blocking and small: no runtime, no configuration, no store. `app` drives it.

mod channel;
mod descriptor;
mod message;
mod passed;
mod step;

pub use channel::{Channel, HandoverFault};
pub use descriptor::{Peer, adopt, peer_of};
pub use message::{Batch, FORMAT, Message, MessageFault, Offer, Offered, Prepared, SocketKind, decode, frame};
pub use passed::{Lent, Passed, adopted, lend};
pub use step::{Step, StepFault, Undo};
