//! What a run measured: one outcome a request, histograms in constant memory, a row for every second, and the rig's health.
//!
//! Every figure is defined in `docs/load-metrics.md`. A [`Recorder`] sits in each thread of the engine; a [`Collector`] gathers
//! what they send each second; [`Measured`] is the whole at the end. [`run`] does all three.

mod collector;
mod interval;
mod measured;
mod outcome;
mod process;
mod recorder;
mod slo;
mod sparse;
pub mod stamp;
mod threshold;
mod timings;

pub use collector::{Collector, ROWS_MAX, run};
pub use interval::{Interval, Second};
pub use measured::{Measured, Watched};
pub use outcome::Outcome;
pub use process::Usage;
pub use recorder::{LABELS_MAX, Recorder};
pub use slo::Objective;
pub use sparse::Sparse;
pub use stamp::{Reason, Stamp, Weight};
pub(crate) use threshold::duration;
pub use threshold::{Judged, Threshold};
pub use timings::{Sums, Timings, add, histogram};
