//! The ledger journal: what says, through any crash, which attempts were made and what each of them used (rules L1 to L9).
//!
//! ```text
//! <data>/ledger/<run>/            one directory a process (a *run*), locked while the process lives
//!     <core>-<number>.seg         a *lane* is one core's chain of segments; only that core writes it
//!
//! journal   a core's pen -> segments in memory (map) -> files    upkeep   the thread: spares, sealing, syncing, the reserve
//! replay    runs that are over: cut, closed, finished            reader, verify, prune   what was written
//! disk      the one seam to the kernel, and FaultyDisk           segment, record, opens   bytes and meaning, pure
//! ```
//!
//! A core writes an *intent* before the first byte of an attempt leaves for the provider, *marks* while an answer streams, and exactly one
//! *close* before the last byte goes to the client. The control plane reads what was written, adds it to the books once, and keeps the
//! segments for as long as the owner wants. A run whose process is gone is replayed: attempts that are open are closed as interrupted.
//! Nothing here names a runtime; no text of a prompt or an answer is ever written (rule R1).

pub mod disk;
mod fault;
mod faulty;
mod journal;
mod keeper;
mod lane;
mod map;
mod opens;
mod prune;
mod reader;
pub mod record;
mod replay;
pub mod segment;
mod upkeep;
mod verify;

pub use disk::Disk;
pub use fault::LedgerFault;
pub use faulty::FaultyDisk;
pub use journal::{Journal, Position};
pub use keeper::{Durability, Ledger, LedgerPlan, LedgerStatus, Recovered};
pub use reader::{LaneName, Reader};
pub use record::{Entry, Intent, Mark, Rates};
pub use verify::{LaneReport, Problem, Verification, verify};

#[cfg(test)]
mod tests;
